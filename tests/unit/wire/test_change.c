/* SPDX-License-Identifier: Apache-2.0 */
/* The change record of a cache: its bytes, each reason to refuse one, and round trips. */
#include "unit.h"
#include "wire/change.h"

static void bytes_are_fixed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        flx_change change;
        size_t len;
        const char *bytes;
    } rows[] = {
        {"put",
         {.kind = FLX_CHANGE_KIND_PUT,
          .key = {(const uint8_t *)"k", 1},
          .value = {(const uint8_t *)"vw", 2},
          .expires_at_ms = 0x0102030405060708},
         19,
         "\1\0\0\0\0\0\0\1\1\2\3\4\5\6\7\10kvw"},
        {"put of nothing", {.kind = FLX_CHANGE_KIND_PUT}, 16, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"delete",
         {.kind = FLX_CHANGE_KIND_DELETE,
          .cause = FLX_CHANGE_EVICTED,
          .key = {(const uint8_t *)"k", 1}},
         17,
         "\2\2\0\0\0\0\0\1\0\0\0\0\0\0\0\0k"},
        {"counter",
         {.kind = FLX_CHANGE_KIND_COUNTER, .key = {(const uint8_t *)"k", 1}, .sum = -2},
         25,
         "\3\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0k\xff\xff\xff\xff\xff\xff\xff\xfe"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[64];
        print_message("%s\n", rows[i].name);
        assert_int_equal(flx_change_bytes(&rows[i].change), rows[i].len);
        assert_ptr_equal(flx_change_write(out, &rows[i].change), out + rows[i].len);
        assert_memory_equal(out, rows[i].bytes, rows[i].len);
        flx_change read;
        assert_int_equal(flx_change_read((flx_slice){out, rows[i].len}, &read, NULL), FLX_OK);
        assert_int_equal(read.kind, rows[i].change.kind);
        assert_int_equal(read.cause, rows[i].change.cause);
        assert_int_equal(read.key.len, rows[i].change.key.len);
        assert_int_equal(read.value.len, rows[i].change.value.len);
        assert_int_equal(read.expires_at_ms, rows[i].change.expires_at_ms);
        assert_int_equal(read.sum, rows[i].change.sum);
    }
}

static void malformed_records(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t len;
        const char *bytes;
    } rows[] = {
        {"empty", 0, ""},
        {"cut head", 15, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"kind 0", 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"kind of a later version", 16, "\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"key past the end", 17, "\1\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0k"},
        {"key of 4 GiB", 17, "\1\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0k"},
        {"a put with a cause", 16, "\1\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"what must be zero", 16, "\1\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"a delete with a value", 17, "\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0v"},
        {"a delete that expires", 16, "\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"},
        {"an unknown cause", 16, "\2\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"a counter cut", 23, "\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"a counter too long", 25, "\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        flx_change change = {.kind = 77};
        flx_error error;
        print_message("%s\n", rows[i].name);
        assert_int_equal(flx_change_read((flx_slice){(const uint8_t *)rows[i].bytes, rows[i].len},
                                         &change, &error),
                         FLX_ERR_PROTOCOL);
        assert_int_equal(change.kind, 77);
        assert_true(error.message[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_fixed),
        cmocka_unit_test(malformed_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
