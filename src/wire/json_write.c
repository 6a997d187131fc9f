/* SPDX-License-Identifier: Apache-2.0 */
/* wire/json_write.c - values as compact JSON: the short escapes where there are, \u00xx otherwise. */
#include "wire/base64.h"
#include "wire/json.h"

#include <string.h>

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Bytes from the front of `text` that need no escape. */
static size_t plain_len(flx_slice text)
{
    size_t i = 0;
    for (; text.len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, text.ptr + i, sizeof word);
        const uint64_t quote = word ^ (ONES * '"');
        const uint64_t slash = word ^ (ONES * '\\');
        const uint64_t marks =
            ((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) | ((word - ONES * 0x20) & ~word);
        if ((marks & HIGHS) != 0) {
            break; /* somewhere in these eight, or a borrow: look closer */
        }
    }
    while (i < text.len && text.ptr[i] >= 0x20 && text.ptr[i] != '"' && text.ptr[i] != '\\') {
        i++;
    }
    return i;
}

static void put_escape(flx_writer *writer, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char bytes[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    char text[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    size_t len = sizeof text;
    const char *found = byte != 0 ? strchr(bytes, byte) : NULL;
    if (found != NULL) {
        text[1] = letters[found - bytes];
        len = 2;
    }
    flx_writer_put(writer, text, len);
}

void flx_json_put_string(flx_writer *writer, flx_slice text)
{
    flx_writer_put(writer, "\"", 1);
    while (text.len > 0) {
        const size_t plain = plain_len(text);
        flx_writer_put(writer, text.ptr, plain);
        text.ptr += plain;
        text.len -= plain;
        if (text.len > 0) {
            put_escape(writer, text.ptr[0]);
            text.ptr++;
            text.len--;
        }
    }
    flx_writer_put(writer, "\"", 1);
}

void flx_json_put_base64(flx_writer *writer, flx_slice bytes)
{
    uint8_t *to = flx_writer_take(writer, flx_base64_encoded_len(bytes.len) + 2);
    if (to != NULL) {
        *to++ = '"';
        to = flx_base64_encode(bytes, to);
        *to = '"';
    }
}

void flx_json_put_u64(flx_writer *writer, uint64_t value)
{
    char digits[20];
    char *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    flx_writer_put(writer, at, (size_t)(digits + sizeof digits - at));
}

void flx_json_put_i64(flx_writer *writer, int64_t value)
{
    if (value < 0) {
        flx_writer_put(writer, "-", 1);
    }
    flx_json_put_u64(writer, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}
