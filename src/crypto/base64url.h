/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/base64url.h - RFC 4648 section 5 without padding, and strict: one text for each value.
 *
 * Refused: '=', white space, '+', '/', a length of 4n+1, and trailing bits that are not zero.
 * Pure, any thread.
 */
#ifndef FLX_CRYPTO_BASE64URL_H
#define FLX_CRYPTO_BASE64URL_H

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline size_t flx_base64url_encoded_len(size_t len)
{
    return len / 3 * 4 + (len % 3 == 0 ? 0 : len % 3 + 1);
}

static inline size_t flx_base64url_decoded_len(size_t len)
{
    return len / 4 * 3 + (len % 4 == 0 ? 0 : len % 4 - 1);
}

/* Writes flx_base64url_encoded_len(bytes.len) characters, no terminator, and returns how many. */
size_t flx_base64url_encode(flx_slice bytes, char *ret_text);

/* Writes flx_base64url_decoded_len(text.len) bytes, at most `cap`. False: not base64url, or no room. */
bool flx_base64url_decode(flx_slice text, uint8_t *ret_bytes, size_t cap, size_t *ret_len);

#endif /* FLX_CRYPTO_BASE64URL_H */
