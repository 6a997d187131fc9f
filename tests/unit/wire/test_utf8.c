/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: no byte of a text is passed over, and what RFC 3629 forbids is refused (README.md rule 3). */
#include "unit.h"
#include "wire/utf8.h"

/* A copy of its own exact size, so that reading past it is seen. */
static bool is_valid(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    const bool valid = flx_utf8_is_valid((flx_slice){copy, len});
    free(copy);
    return valid;
}

/* Words are looked at, and overlap: any length, and the odd one out at any place. */
static void every_byte_is_looked_at(void **state)
{
    (void)state;
    char text[40];
    for (size_t len = 0; len < sizeof text; len++) {
        memset(text, 'a', sizeof text);
        assert_true(is_valid(text, len));
        for (size_t at = 0; at < len; at++) {
            text[at] = '\x80';
            assert_false(is_valid(text, len));
            text[at] = '\x7f';
            assert_true(is_valid(text, len));
            text[at] = 'a';
        }
        for (size_t at = 0; at + 1 < len; at++) {
            memcpy(text + at, "\xC3\xA9", 2);
            assert_true(is_valid(text, len));
            memset(text + at, 'a', 2);
        }
    }
    assert_true(flx_utf8_is_valid((flx_slice){NULL, 0}));
}

static void what_is_forbidden_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *text;
        bool valid;
    } rows[] = {
        {"two bytes, the first", "\xC2\x80", true},
        {"three bytes, the last", "\xEF\xBF\xBF", true},
        {"four bytes, the last", "\xF4\x8F\xBF\xBF", true},
        {"overlong, two bytes", "\xC1\xBF", false},
        {"overlong, three bytes", "\xE0\x9F\xBF", false},
        {"overlong, four bytes", "\xF0\x8F\xBF\xBF", false},
        {"surrogate", "\xED\xA0\x80", false},
        {"past U+10FFFF", "\xF4\x90\x80\x80", false},
        {"no such lead", "\xF5\x80\x80\x80", false},
        {"cut after the lead", "\xE2", false},
        {"cut before the last", "\xE2\x82", false},
        {"third byte is none", "\xE2\x82g", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (is_valid(rows[i].text, strlen(rows[i].text)) != rows[i].valid) {
            fail_msg("%s", rows[i].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_looked_at),
        cmocka_unit_test(what_is_forbidden_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
