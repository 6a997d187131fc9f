/* SPDX-License-Identifier: Apache-2.0 */
/* wire/utf8.h - strict UTF-8 (RFC 3629): no overlong forms, surrogates or values past U+10FFFF. */
#ifndef FLX_WIRE_UTF8_H
#define FLX_WIRE_UTF8_H

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `at` (1 .. 4), 0 when what is there is none. `at` is before `end`. */
size_t flx_utf8_char_bytes(const uint8_t *at, const uint8_t *end);

bool flx_utf8_is_valid(flx_slice text);

/* Writes one character (not a surrogate, at most 0x10FFFF) and returns the byte after it. */
uint8_t *flx_utf8_put(uint8_t *to, uint32_t character);

#endif /* FLX_WIRE_UTF8_H */
