/* SPDX-License-Identifier: Apache-2.0 */
/* Strict base64url: one text for each value (crypto README rule 2). */
#include "crypto/base64url.h"
#include "unit.h"

/* RFC 4648 section 10, without the padding. */
static void test_rfc_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *plain;
        const char *encoded;
    } rows[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},         {"foo", "Zm9v"},
                {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char encoded[16] = {0};
        uint8_t plain[16];
        size_t len = 99;
        assert_int_equal(flx_base64url_encode(slice_of(rows[i].plain), encoded),
                         strlen(rows[i].encoded));
        assert_string_equal(encoded, rows[i].encoded);
        assert_true(flx_base64url_decode(slice_of(rows[i].encoded), plain, sizeof plain, &len));
        assert_int_equal(len, strlen(rows[i].plain));
        assert_memory_equal(plain, rows[i].plain, len);
    }
}

static void test_url_alphabet(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0xfb, 0xff, 0xbf};
    char encoded[5] = {0};
    (void)flx_base64url_encode((flx_slice){bytes, sizeof bytes}, encoded);
    assert_string_equal(encoded, "-_-_");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *text;
    } rows[] = {
        {"padding", "Zg=="},
        {"length 4n+1", "Zm9vY"},
        {"one character", "Z"},
        {"standard plus", "+_-_"},
        {"standard slash", "/_-_"},
        {"white space", "Zm 9"},
        {"newline", "Zm9\n"},
        {"trailing bits, 1 byte", "Zh"},
        {"trailing bits, 2 bytes", "Zm9"},
        {"not ascii", "Zm9\xc3"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t out[16];
        size_t len = 0;
        if (flx_base64url_decode(slice_of(rows[i].text), out, sizeof out, &len)) {
            fail_msg("accepted: %s", rows[i].name);
        }
    }
}

static void test_no_room(void **state)
{
    (void)state;
    uint8_t out[2];
    size_t len = 0;
    assert_false(flx_base64url_decode(slice_of("Zm9v"), out, sizeof out, &len));
    assert_true(flx_base64url_decode(slice_of("Zm8"), out, sizeof out, &len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_vectors),
        cmocka_unit_test(test_url_alphabet),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
