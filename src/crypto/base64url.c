/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/base64url.c - strict RFC 4648 section 5.
 *
 * Strict, because a signature covers text: were two texts allowed for one value, a token could be
 * changed without its meaning changing, and remembered tokens or logs would see two where there
 * is one.
 */
#include "crypto/base64url.h"

#include "common/assert.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static_assert(sizeof alphabet == 65, "64 characters and a terminator");

/* 0 .. 63, or 64 for a character outside the alphabet. */
static uint32_t value_of(uint8_t character)
{
    if (character >= 'A' && character <= 'Z') {
        return character - (uint32_t)'A';
    }
    if (character >= 'a' && character <= 'z') {
        return character - (uint32_t)'a' + 26;
    }
    if (character >= '0' && character <= '9') {
        return character - (uint32_t)'0' + 52;
    }
    if (character == '-') {
        return 62;
    }
    return character == '_' ? 63 : 64;
}

size_t flx_base64url_encode(flx_slice bytes, char *ret_text)
{
    size_t at = 0;
    uint32_t bits = 0;
    uint32_t bit_count = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        bits = (bits << 8) | bytes.ptr[i];
        bit_count += 8;
        while (bit_count >= 6) {
            bit_count -= 6;
            ret_text[at++] = alphabet[(bits >> bit_count) & 63];
        }
    }
    if (bit_count > 0) {
        ret_text[at++] = alphabet[(bits << (6 - bit_count)) & 63];
    }
    FLX_ASSERT(at == flx_base64url_encoded_len(bytes.len));
    return at;
}

bool flx_base64url_decode(flx_slice text, uint8_t *ret_bytes, size_t cap, size_t *ret_len)
{
    if (text.len % 4 == 1 || flx_base64url_decoded_len(text.len) > cap) {
        return false;
    }
    size_t at = 0;
    uint32_t bits = 0;
    uint32_t bit_count = 0;
    for (size_t i = 0; i < text.len; i++) {
        const uint32_t value = value_of(text.ptr[i]);
        if (value > 63) {
            return false;
        }
        bits = (bits << 6) | value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            ret_bytes[at++] = (uint8_t)(bits >> bit_count);
        }
    }
    if ((bits & ((1U << bit_count) - 1)) != 0) {
        return false; /* bits that belong to no byte would make a second spelling */
    }
    FLX_ASSERT(at == flx_base64url_decoded_len(text.len));
    *ret_len = at;
    return true;
}
