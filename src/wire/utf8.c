/* SPDX-License-Identifier: Apache-2.0 */
/* wire/utf8.c - UTF-8 checked by the table of RFC 3629 4, plain ASCII eight bytes at a time. */
#include "wire/utf8.h"

#include "common/assert.h"

#include <string.h>

static bool is_tail(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The first continuation byte decides about overlong forms, surrogates and the upper end. */
static bool second_fits(uint8_t lead, uint8_t second)
{
    switch (lead) {
    case 0xE0:
        return second >= 0xA0 && second <= 0xBF;
    case 0xED:
        return second >= 0x80 && second <= 0x9F;
    case 0xF0:
        return second >= 0x90 && second <= 0xBF;
    case 0xF4:
        return second >= 0x80 && second <= 0x8F;
    default:
        return is_tail(second);
    }
}

static size_t bytes_of_lead(uint8_t lead)
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        return 3;
    }
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

size_t flx_utf8_char_bytes(const uint8_t *at, const uint8_t *end)
{
    FLX_DEBUG_ASSERT(at < end);
    const size_t count = bytes_of_lead(at[0]);
    if (count <= 1) {
        return count;
    }
    if ((size_t)(end - at) < count || !second_fits(at[0], at[1])) {
        return 0;
    }
    for (size_t i = 2; i < count; i++) {
        if (!is_tail(at[i])) {
            return 0;
        }
    }
    return count;
}

static uint64_t word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint32_t half_at(const uint8_t *at)
{
    uint32_t half;
    memcpy(&half, at, sizeof half);
    return half;
}

/* The last word or half overlaps the one before it, so that no bytes are left over. */
static bool is_ascii(flx_slice text)
{
    const uint8_t *at = text.ptr;
    const size_t len = text.len;
    if (len >= sizeof(uint64_t)) {
        uint64_t all = word_at(at + len - sizeof(uint64_t));
        for (size_t i = 0; i + sizeof(uint64_t) <= len; i += sizeof(uint64_t)) {
            all |= word_at(at + i);
        }
        return (all & UINT64_C(0x8080808080808080)) == 0;
    }
    if (len >= sizeof(uint32_t)) {
        return ((half_at(at) | half_at(at + len - sizeof(uint32_t))) & UINT32_C(0x80808080)) == 0;
    }
    return len == 0 || ((at[0] | at[len / 2] | at[len - 1]) & 0x80) == 0;
}

bool flx_utf8_is_valid(flx_slice text)
{
    if (is_ascii(text)) {
        return true;
    }
    const uint8_t *const end = text.ptr + text.len;
    for (const uint8_t *at = text.ptr; at < end;) {
        const size_t count = flx_utf8_char_bytes(at, end);
        if (count == 0) {
            return false;
        }
        at += count;
    }
    return true;
}

uint8_t *flx_utf8_put(uint8_t *to, uint32_t character)
{
    FLX_ASSERT(character <= 0x10FFFF);
    FLX_ASSERT(character < 0xD800 || character > 0xDFFF);
    if (character < 0x80) {
        *to++ = (uint8_t)character;
    } else if (character < 0x800) {
        *to++ = (uint8_t)(0xC0 | (character >> 6));
        *to++ = (uint8_t)(0x80 | (character & 0x3F));
    } else if (character < 0x10000) {
        *to++ = (uint8_t)(0xE0 | (character >> 12));
        *to++ = (uint8_t)(0x80 | ((character >> 6) & 0x3F));
        *to++ = (uint8_t)(0x80 | (character & 0x3F));
    } else {
        *to++ = (uint8_t)(0xF0 | (character >> 18));
        *to++ = (uint8_t)(0x80 | ((character >> 12) & 0x3F));
        *to++ = (uint8_t)(0x80 | ((character >> 6) & 0x3F));
        *to++ = (uint8_t)(0x80 | (character & 0x3F));
    }
    return to;
}
