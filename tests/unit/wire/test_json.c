/* SPDX-License-Identifier: Apache-2.0 */
/* The strict parser: what it takes, what it refuses, and that writing gives back what was read. */
#include "unit.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/utf8.h"

#include <stdio.h>

/* A copy with nothing behind it, so that reading past the end is seen. */
static uint8_t *copy_of(const char *text, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    return copy;
}

static bool is_accepted(const char *text, size_t len)
{
    uint8_t *copy = copy_of(text, len);
    flx_json json;
    flx_slice raw;
    flx_json_init(&json, copy, len);
    const bool fine = flx_json_skip(&json, &raw) && flx_json_finish(&json);
    assert_true(fine == (json.error == NULL));
    assert_memory_equal(copy, text, len); /* skipping changes nothing */
    free(copy);
    return fine;
}

static void grammar(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool accepted;
    } rows[] = {
        {"{}", true},
        {" { } ", true},
        {"[]", true},
        {"[1,2]", true},
        {"{\"a\":1,\"b\":[true,false,null,\"x\",{}]}", true},
        {"\t\r\n 1", true},
        {"0", true},
        {"-0", true},
        {"10", true},
        {"-1.5e+10", true},
        {"1E5", true},
        {"0.0", true},
        {"123456789012345678901234567890", true},
        {"", false},
        {" ", false},
        {"{", false},
        {"[", false},
        {"}", false},
        {"[1", false},
        {"[1,", false},
        {"[1,]", false},
        {"[,1]", false},
        {"[1 2]", false},
        {"{\"a\"}", false},
        {"{\"a\":}", false},
        {"{\"a\":1,}", false},
        {"{,}", false},
        {"{a:1}", false},
        {"{\"a\" 1}", false},
        {"{1:1}", false},
        {"[1}", false},
        {"{\"a\":1]", false},
        {"1 1", false},
        {"01", false},
        {"-", false},
        {"-01", false},
        {"+1", false},
        {".5", false},
        {"1.", false},
        {"1e", false},
        {"1e+", false},
        {"tru", false},
        {"nul", false},
        {"nan", false},
        {"Infinity", false},
        {"True", false},
        {"'a'", false},
        {"\"", false},
        {"\"a", false},
        {"/* */1", false},
        {"\xef\xbb\xbf{}", false}, /* a byte order mark */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (is_accepted(rows[i].text, strlen(rows[i].text)) != rows[i].accepted) {
            fail_msg("%s", rows[i].text);
        }
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[2 * (FLX_JSON_DEPTH_MAX + 1)];
    for (size_t depth = 1; depth <= FLX_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(is_accepted(text, 2 * depth), depth <= FLX_JSON_DEPTH_MAX);
    }
}

static void strings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *value; /* NULL: refused */
        size_t len;
    } rows[] = {
        {"\"\"", "", 0},
        {"\"plain\"", "plain", 5},
        {"\"longer than one word of eight\"", "longer than one word of eight", 29},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac", 6},
        {"\"\\ud834\\udd1e\"", "\xf0\x9d\x84\x9e", 4},
        {"\"12345678\\n\"", "12345678\n", 9},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e\"", "\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e", 9},
        {"\"\x7f\"", "\x7f", 1},
        {"\"\\x\"", NULL, 0},
        {"\"\\", NULL, 0},
        {"\"\\u12\"", NULL, 0},
        {"\"\\u12", NULL, 0},
        {"\"\\u12g4\"", NULL, 0},
        {"\"\\ud834\"", NULL, 0},
        {"\"\\ud834x\"", NULL, 0},
        {"\"\\ud834\\n12345\"", NULL, 0},
        {"\"\\ud834\\u0041\"", NULL, 0},
        {"\"\\ud834\\ud834\"", NULL, 0},
        {"\"\\udd1e\"", NULL, 0},
        {"\"a\nb\"", NULL, 0},
        {"\"1234567\x1f\"", NULL, 0},
        {"\"\x80\"", NULL, 0},
        {"\"\xc0\xaf\"", NULL, 0},
        {"\"\xe0\x80\x80\"", NULL, 0},
        {"\"\xed\xa0\x80\"", NULL, 0},
        {"\"\xf4\x90\x80\x80\"", NULL, 0},
        {"\"\xf8\x88\x80\x80\x80\"", NULL, 0},
        {"\"\xe2\x82\"", NULL, 0},
        {"\"\xe2\x82", NULL, 0},
        {"1", NULL, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const size_t len = strlen(rows[i].text);
        uint8_t *copy = copy_of(rows[i].text, len);
        flx_json json;
        flx_slice value;
        flx_json_init(&json, copy, len);
        const bool fine = flx_json_string(&json, &value) && flx_json_finish(&json);
        if (fine != (rows[i].value != NULL)) {
            fail_msg("%s", rows[i].text);
        }
        if (fine) {
            assert_int_equal(value.len, rows[i].len);
            assert_memory_equal(value.ptr, rows[i].value, rows[i].len);
        }
        free(copy);
        assert_int_equal(is_accepted(rows[i].text, len),
                         rows[i].value != NULL || rows[i].text[0] == '1');
    }
}

/* Each place of a special byte inside a word, and each end of text, is seen. */
static void every_alignment_of_a_string(void **state)
{
    (void)state;
    static const char specials[] = {'"', '\\', '\n', (char)0x80, 0x1f, 0x00};
    for (size_t len = 0; len < 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t s = 0; s < sizeof specials; s++) {
                char text[64];
                memset(text, 'x', sizeof text);
                text[0] = '"';
                text[1 + at] = specials[s];
                text[1 + len] = '"';
                uint8_t *copy = copy_of(text, len + 2);
                flx_json json;
                flx_slice value;
                flx_json_init(&json, copy, len + 2);
                const bool fine = flx_json_string(&json, &value);
                assert_int_equal(fine, specials[s] == '"');
                assert_true(!fine || value.len == at);
                free(copy);
            }
        }
    }
}

static void whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_u64;
        uint64_t u64;
        bool is_i64;
        int64_t i64;
    } rows[] = {
        {"0", true, 0, true, 0},
        {"7", true, 7, true, 7},
        {" 42 ", true, 42, true, 42},
        {"-1", false, 0, true, -1},
        {"-0", false, 0, true, 0},
        {"9223372036854775807", true, INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", true, (uint64_t)INT64_MAX + 1, false, 0},
        {"-9223372036854775808", false, 0, true, INT64_MIN},
        {"-9223372036854775809", false, 0, false, 0},
        {"18446744073709551615", true, UINT64_MAX, false, 0},
        {"18446744073709551616", false, 0, false, 0},
        {"99999999999999999999", false, 0, false, 0},
        {"00", false, 0, false, 0},
        {"01", false, 0, false, 0},
        {"1.0", false, 0, false, 0},
        {"1e3", false, 0, false, 0},
        {"1E3", false, 0, false, 0},
        {"\"1\"", false, 0, false, 0},
        {"-", false, 0, false, 0},
        {"", false, 0, false, 0},
        {"null", false, 0, false, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t *copy = copy_of(rows[i].text, strlen(rows[i].text));
        flx_json json;
        uint64_t u64 = 0;
        int64_t i64 = 0;
        flx_json_init(&json, copy, strlen(rows[i].text));
        assert_int_equal(flx_json_u64(&json, &u64) && flx_json_finish(&json), rows[i].is_u64);
        assert_true(!rows[i].is_u64 || u64 == rows[i].u64);
        flx_json_init(&json, copy, strlen(rows[i].text));
        assert_int_equal(flx_json_i64(&json, &i64) && flx_json_finish(&json), rows[i].is_i64);
        assert_true(!rows[i].is_i64 || i64 == rows[i].i64);
        free(copy);
    }
}

static void base64_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *value; /* NULL: refused */
    } rows[] = {
        {"\"\"", ""},
        {"\"Zg==\"", "f"},
        {"\"Zm8=\"", "fo"},
        {"\"Zm9v\"", "foo"},
        {"\"Zm9vYmFy\"", "foobar"},
        {"\"Zm9\\u0076YmFy\"", "foobar"}, /* escapes are JSON's, base64 never sees them */
        {"\"Pz8\\/\"", "???"},
        {"\"Zm9vYmF\"", NULL},
        {"\"Zg\"", NULL},
        {"\"Zg=\"", NULL},
        {"\"Zg===\"", NULL},
        {"\"Zh==\"", NULL}, /* stray bits */
        {"\"Zm9=\"", NULL},
        {"\"=m9v\"", NULL},
        {"\"Z===\"", NULL},
        {"\"Zg==Zg==\"", NULL},
        {"\"Zm9-\"", NULL},
        {"\"Zm9_\"", NULL},
        {"\"Zm 9\"", NULL},
        {"\"Zm9\nv\"", NULL},
        {"\"Zm9v", NULL},
        {"\"Zm9v\\\"", NULL},
        {"null", NULL},
        {"1", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const size_t len = strlen(rows[i].text);
        uint8_t *copy = copy_of(rows[i].text, len);
        flx_json json;
        flx_slice value;
        flx_json_init(&json, copy, len);
        const bool fine = flx_json_base64(&json, &value) && flx_json_finish(&json);
        if (fine != (rows[i].value != NULL)) {
            fail_msg("%s", rows[i].text);
        }
        if (fine) {
            assert_int_equal(value.len, strlen(rows[i].value));
            assert_memory_equal(value.ptr, rows[i].value, value.len);
        }
        free(copy);
    }
}

/* Every byte in every place of the last two blocks: accepted only where the alphabet has it. */
static void base64_is_canonical(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 8; at++) {
            uint8_t text[8] = {'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'};
            uint8_t bytes[6];
            uint8_t again[8];
            size_t len = 0;
            text[at] = (uint8_t)byte;
            if (flx_base64_decode((flx_slice){text, sizeof text}, bytes, &len)) {
                assert_ptr_equal(flx_base64_encode((flx_slice){bytes, len}, again), again + 8);
                assert_memory_equal(again, text, sizeof text);
            }
        }
    }
}

static void keys_with_escapes(void **state)
{
    (void)state;
    uint8_t text[] =
        "{\"t\\u0079pe\":1,\"" /* the next key has escapes and is too long to be ours */
        "\\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "\":2,\"b\":3}";
    flx_json json;
    flx_slice key;
    uint64_t value;
    flx_json_init(&json, text, sizeof text - 1);
    assert_true(flx_json_object_begin(&json));
    assert_int_equal(flx_json_member(&json, true, &key), FLX_JSON_ITEM);
    assert_int_equal(key.len, 4);
    assert_memory_equal(key.ptr, "type", 4);
    assert_true(flx_json_u64(&json, &value));
    assert_int_equal(flx_json_member(&json, false, &key), FLX_JSON_ITEM);
    assert_int_equal(key.len, 0);
    assert_true(flx_json_u64(&json, &value));
    assert_int_equal(flx_json_member(&json, false, &key), FLX_JSON_ITEM);
    assert_memory_equal(key.ptr, "b", 1);
    assert_true(flx_json_u64(&json, &value));
    assert_int_equal(flx_json_member(&json, false, &key), FLX_JSON_END);
    assert_true(flx_json_finish(&json));
}

static void empty_text_has_no_memory(void **state)
{
    (void)state;
    flx_json json;
    flx_json_init(&json, NULL, 0);
    assert_int_equal(flx_json_peek(&json), 0);
    assert_false(flx_json_skip(&json, NULL));
}

/* Any UTF-8 text survives writing and reading, every single byte value included. */
static void written_strings_read_back(void **state)
{
    (void)state;
    for (uint32_t character = 0; character < 0x11000; character += character < 0x200 ? 1 : 251) {
        if (character >= 0xD800 && character <= 0xDFFF) {
            continue;
        }
        uint8_t text[32];
        uint8_t out[128];
        memset(text, 'y', sizeof text);
        const size_t lead = character % 12;
        const size_t len = (size_t)(flx_utf8_put(text + lead, character) - text) + character % 7;
        flx_writer writer;
        flx_writer_init(&writer, out, sizeof out);
        flx_json_put_string(&writer, (flx_slice){text, len});
        assert_true(flx_writer_fits(&writer));
        flx_json json;
        flx_slice back;
        flx_json_init(&json, out, writer.len);
        assert_true(flx_json_string(&json, &back));
        assert_true(flx_json_finish(&json));
        assert_int_equal(back.len, len);
        assert_memory_equal(back.ptr, text, len);
    }
}

static void escapes_are_the_shortest(void **state)
{
    (void)state;
    static const uint8_t text[] = "\"\\/\b\f\n\r\t\x01\x1f\x7f";
    static const char want[] = "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"";
    uint8_t out[64];
    flx_writer writer;
    flx_writer_init(&writer, out, sizeof out);
    flx_json_put_string(&writer, (flx_slice){text, sizeof text - 1});
    assert_int_equal(writer.len, sizeof want - 1);
    assert_memory_equal(out, want, writer.len);
}

static void writer_counts_past_its_end(void **state)
{
    (void)state;
    uint8_t out[4] = {1, 2, 3, 4};
    flx_writer writer;
    flx_writer_init(&writer, out, 2);
    flx_json_put_u64(&writer, UINT64_MAX);
    flx_json_put_i64(&writer, INT64_MIN);
    flx_json_put_base64(&writer, (flx_slice){out, 4});
    assert_int_equal(writer.len, 20 + 20 + 10);
    assert_false(flx_writer_fits(&writer));
    assert_int_equal(out[2], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammar),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(strings),
        cmocka_unit_test(every_alignment_of_a_string),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(base64_values),
        cmocka_unit_test(base64_is_canonical),
        cmocka_unit_test(keys_with_escapes),
        cmocka_unit_test(empty_text_has_no_memory),
        cmocka_unit_test(written_strings_read_back),
        cmocka_unit_test(escapes_are_the_shortest),
        cmocka_unit_test(writer_counts_past_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
