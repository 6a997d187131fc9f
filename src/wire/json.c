/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/json.c - the pull parser.
 *
 * A string is passed over once, eight bytes at a time: a word in which no byte is a quote, a
 * backslash, a control character or outside ASCII needs no closer look. Only a string that has
 * escapes is gone through a second time, to take them off in place; what they stand for is always
 * shorter than they are.
 */
#include "wire/json.h"

#include "common/assert.h"
#include "wire/base64.h"
#include "wire/utf8.h"

#include <string.h>

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

static bool fail(flx_json *json, const char *error)
{
    if (json->error == NULL) {
        json->error = error;
    }
    return false;
}

void flx_json_init(flx_json *json, uint8_t *text, size_t len)
{
    static uint8_t nothing[1];
    json->at = text != NULL ? text : nothing;
    json->end = json->at + len;
    json->error = NULL;
    json->depth = 0;
}

static void pass_space(flx_json *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t')) {
        json->at++;
    }
}

bool flx_json_finish(flx_json *json)
{
    pass_space(json);
    return json->at == json->end ? true : fail(json, "text after the end");
}

uint8_t flx_json_peek(flx_json *json)
{
    pass_space(json);
    return json->at < json->end ? *json->at : 0;
}

/* ---- strings ---- */

/* The first byte from `at` on that a string scan must look at; `end` when there is none. */
static uint8_t *find_special(uint8_t *at, const uint8_t *end)
{
    while ((size_t)(end - at) >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        /* A borrow can mark bytes above a true hit, never below it: the lowest mark is exact. */
        const uint64_t quote = word ^ (ONES * '"');
        const uint64_t slash = word ^ (ONES * '\\');
        const uint64_t marks = (((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) |
                                ((word - ONES * 0x20) & ~word) | word) &
                               HIGHS;
        if (marks != 0) {
            return at + (__builtin_ctzll(marks) >> 3);
        }
        at += sizeof word;
    }
    while (at < end && *at != '"' && *at != '\\' && *at >= 0x20 && *at < 0x80) {
        at++;
    }
    return at;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Four hex digits at `at`; -1 when they are not there. */
static int32_t hex_unit(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4) {
        return -1;
    }
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

/*
 * Reads the escape whose backslash is at `at`. Returns its bytes, 0 when it is none. A surrogate is
 * taken with its other half or not at all.
 */
static size_t read_escape(const uint8_t *at, const uint8_t *end, uint32_t *ret_character)
{
    if (end - at < 2) {
        return 0;
    }
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter = at[1] != 0 ? strchr(letters, at[1]) : NULL;
    if (letter != NULL) {
        *ret_character = (uint8_t)meanings[letter - letters];
        return 2;
    }
    const int32_t unit = at[1] == 'u' ? hex_unit(at + 2, end) : -1;
    if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) {
        return 0;
    }
    if (unit < 0xD800 || unit > 0xDFFF) {
        *ret_character = (uint32_t)unit;
        return 6;
    }
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u') {
        return 0;
    }
    const int32_t low = hex_unit(at + 8, end);
    if (low < 0xDC00 || low > 0xDFFF) {
        return 0;
    }
    *ret_character = 0x10000 + (((uint32_t)unit - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    return 12;
}

/* Passes over a string and checks it. *ret_text is what stands between the quotes. */
static bool scan_string(flx_json *json, flx_slice *ret_text, bool *ret_escaped)
{
    if (flx_json_peek(json) != '"') {
        return fail(json, "a string is expected");
    }
    uint8_t *const start = json->at + 1;
    uint8_t *at = start;
    *ret_escaped = false;
    for (;;) {
        at = find_special(at, json->end);
        if (at == json->end) {
            return fail(json, "a string does not end");
        }
        size_t bytes;
        if (*at == '"') {
            break;
        }
        if (*at == '\\') {
            uint32_t character;
            *ret_escaped = true;
            bytes = read_escape(at, json->end, &character);
        } else {
            bytes = *at < 0x20 ? 0 : flx_utf8_char_bytes(at, json->end);
        }
        if (bytes == 0) {
            return fail(json, "a string has a bad escape, a control character or bad UTF-8");
        }
        at += bytes;
    }
    ret_text->ptr = start;
    ret_text->len = (size_t)(at - start);
    json->at = at + 1;
    return true;
}

/* Takes the escapes off a checked text. `to` may be text.ptr. Returns the bytes left. */
static size_t unescape(flx_slice text, uint8_t *to)
{
    const uint8_t *at = text.ptr;
    const uint8_t *const end = text.ptr + text.len;
    uint8_t *const start = to;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        uint32_t character = 0;
        const size_t bytes = read_escape(at, end, &character);
        FLX_ASSERT(bytes > 0); /* scan_string saw it */
        to = flx_utf8_put(to, character);
        at += bytes;
    }
    FLX_ASSERT((size_t)(to - start) <= text.len);
    return (size_t)(to - start);
}

bool flx_json_string(flx_json *json, flx_slice *ret_text)
{
    bool escaped;
    uint8_t *const start = json->at;
    if (!scan_string(json, ret_text, &escaped)) {
        return false;
    }
    if (escaped) {
        uint8_t *to = start + (ret_text->ptr - start); /* the same bytes, writable */
        ret_text->len = unescape(*ret_text, to);
    }
    return true;
}

/*
 * Most base64 has no escapes: its end is the next quote, and the decoder itself refuses every other
 * byte. Anything else goes the long way, and the decoder judges what is left.
 */
bool flx_json_base64(flx_json *json, flx_slice *ret_bytes)
{
    if (flx_json_peek(json) != '"') {
        return fail(json, "a base64 string is expected");
    }
    uint8_t *const start = json->at + 1;
    uint8_t *const quote = memchr(start, '"', (size_t)(json->end - start));
    flx_slice text = {start, quote != NULL ? (size_t)(quote - start) : 0};
    if (quote != NULL && memchr(start, '\\', text.len) == NULL) {
        json->at = quote + 1;
    } else if (!flx_json_string(json, &text)) {
        return false;
    }
    ret_bytes->ptr = start;
    return flx_base64_decode(text, start, &ret_bytes->len) ? true : fail(json, "bad base64");
}

/* ---- objects and arrays ---- */

static bool enter(flx_json *json, uint8_t bracket, const char *error)
{
    if (flx_json_peek(json) != bracket) {
        return fail(json, error);
    }
    if (json->depth == FLX_JSON_DEPTH_MAX) {
        return fail(json, "nested too deep");
    }
    json->depth++;
    json->at++;
    return true;
}

/* Between two values: the closing bracket, or the comma before the next value. */
static flx_json_step next(flx_json *json, bool first, uint8_t bracket)
{
    const uint8_t byte = flx_json_peek(json);
    if (byte == bracket) {
        json->at++;
        json->depth--;
        return FLX_JSON_END;
    }
    if (first) {
        return FLX_JSON_ITEM;
    }
    if (byte != ',') {
        (void)fail(json, "a comma or the end is expected");
        return FLX_JSON_ERROR;
    }
    json->at++;
    return FLX_JSON_ITEM;
}

bool flx_json_object_begin(flx_json *json)
{
    return enter(json, '{', "an object is expected");
}

flx_json_step flx_json_member(flx_json *json, bool first, flx_slice *ret_key)
{
    const flx_json_step step = next(json, first, '}');
    if (step != FLX_JSON_ITEM) {
        return step;
    }
    bool escaped;
    if (!scan_string(json, ret_key, &escaped)) {
        return FLX_JSON_ERROR;
    }
    if (escaped) {
        const bool fits = ret_key->len <= sizeof json->key;
        ret_key->len = fits ? unescape(*ret_key, json->key) : 0;
        ret_key->ptr = json->key;
    }
    if (flx_json_peek(json) != ':') {
        (void)fail(json, "a colon is expected");
        return FLX_JSON_ERROR;
    }
    json->at++;
    return FLX_JSON_ITEM;
}

bool flx_json_array_begin(flx_json *json)
{
    return enter(json, '[', "an array is expected");
}

flx_json_step flx_json_element(flx_json *json, bool first)
{
    return next(json, first, ']');
}

/* ---- words and numbers ---- */

static bool take_word(flx_json *json, const char *word, size_t len)
{
    pass_space(json);
    if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0) {
        return false;
    }
    json->at += len;
    return true;
}

bool flx_json_take_null(flx_json *json)
{
    return flx_json_peek(json) == 'n' && take_word(json, "null", 4);
}

bool flx_json_bool(flx_json *json, bool *ret_value)
{
    if (take_word(json, "true", 4)) {
        *ret_value = true;
        return true;
    }
    if (take_word(json, "false", 5)) {
        *ret_value = false;
        return true;
    }
    return fail(json, "true or false is expected");
}

static bool at_digit(const flx_json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

/* Digits without a leading zero, no fraction, no exponent. */
static bool read_whole(flx_json *json, uint64_t *ret_value)
{
    if (!at_digit(json)) {
        return fail(json, "a whole number is expected");
    }
    const uint8_t *const start = json->at;
    uint64_t value = 0;
    for (; at_digit(json); json->at++) {
        const uint64_t digit = (uint64_t)(*json->at - '0');
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return fail(json, "a number is out of range");
        }
    }
    if (*start == '0' && json->at - start > 1) {
        return fail(json, "a number begins with zero");
    }
    if (json->at < json->end && (*json->at == '.' || (*json->at | 0x20) == 'e')) {
        return fail(json, "a number is not whole");
    }
    *ret_value = value;
    return true;
}

bool flx_json_u64(flx_json *json, uint64_t *ret_value)
{
    pass_space(json);
    return read_whole(json, ret_value);
}

bool flx_json_i64(flx_json *json, int64_t *ret_value)
{
    const bool negative = flx_json_peek(json) == '-';
    uint64_t value;
    json->at += negative ? 1 : 0;
    if (!read_whole(json, &value)) {
        return false;
    }
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return fail(json, "a number is out of range");
    }
    *ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* ---- skipping ---- */

static bool pass_digits(flx_json *json)
{
    if (!at_digit(json)) {
        return fail(json, "a digit is expected");
    }
    while (at_digit(json)) {
        json->at++;
    }
    return true;
}

static bool skip_number(flx_json *json)
{
    json->at += *json->at == '-' ? 1 : 0;
    if (json->at < json->end && *json->at == '0') {
        json->at++;
        if (at_digit(json)) {
            return fail(json, "a number begins with zero");
        }
    } else if (!pass_digits(json)) {
        return false;
    }
    if (json->at < json->end && *json->at == '.') {
        json->at++;
        if (!pass_digits(json)) {
            return false;
        }
    }
    if (json->at < json->end && (*json->at | 0x20) == 'e') {
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) {
            json->at++;
        }
        return pass_digits(json);
    }
    return true;
}

static bool skip_object(flx_json *json)
{
    if (!flx_json_object_begin(json)) {
        return false;
    }
    for (bool first = true;; first = false) {
        flx_slice key;
        const flx_json_step step = flx_json_member(json, first, &key);
        if (step != FLX_JSON_ITEM) {
            return step == FLX_JSON_END;
        }
        if (!flx_json_skip(json, NULL)) {
            return false;
        }
    }
}

static bool skip_array(flx_json *json)
{
    if (!flx_json_array_begin(json)) {
        return false;
    }
    for (bool first = true;; first = false) {
        const flx_json_step step = flx_json_element(json, first);
        if (step != FLX_JSON_ITEM) {
            return step == FLX_JSON_END;
        }
        if (!flx_json_skip(json, NULL)) {
            return false;
        }
    }
}

/* Recursion is bounded by FLX_JSON_DEPTH_MAX in enter(). */
static bool skip_value(flx_json *json, uint8_t first_byte)
{
    flx_slice text;
    bool flag;
    switch (first_byte) {
    case '"':
        return scan_string(json, &text, &flag);
    case '{':
        return skip_object(json);
    case '[':
        return skip_array(json);
    case 't':
    case 'f':
        return flx_json_bool(json, &flag);
    case 'n':
        return flx_json_take_null(json) ? true : fail(json, "null is expected");
    default:
        if (first_byte == '-' || (first_byte >= '0' && first_byte <= '9')) {
            return skip_number(json);
        }
        return fail(json, "a value is expected");
    }
}

bool flx_json_skip(flx_json *json, flx_slice *ret_raw)
{
    const uint8_t first_byte = flx_json_peek(json);
    uint8_t *const start = json->at;
    if (!skip_value(json, first_byte)) {
        return false;
    }
    if (ret_raw != NULL) {
        ret_raw->ptr = start;
        ret_raw->len = (size_t)(json->at - start);
    }
    return true;
}
