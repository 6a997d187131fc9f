/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/base64.h - standard base64 (RFC 4648 4) in its one canonical form: `=` padding, no line
 * breaks, unused bits zero. So decoding and encoding again gives the same text. Pure.
 */
#ifndef FLX_WIRE_BASE64_H
#define FLX_WIRE_BASE64_H

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters for `len` bytes. */
static inline size_t flx_base64_encoded_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Writes flx_base64_encoded_len(bytes.len) characters and returns the byte after them. */
uint8_t *flx_base64_encode(flx_slice bytes, uint8_t *to);

/* Decodes `text` to `to`, which may be text.ptr itself (the result is shorter) and has room for
 * text.len / 4 * 3 bytes. False: not canonical base64; `to` is then partly written. */
bool flx_base64_decode(flx_slice text, uint8_t *to, size_t *ret_len);

#endif /* FLX_WIRE_BASE64_H */
