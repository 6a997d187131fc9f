/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/bytes.h - big-endian integers, and a cursor over foreign bytes that fails once and for all.
 *
 * A decoder takes what it needs from the cursor and asks at the end whether all of it was there:
 * past the first short read everything reads as zero and empty. Pure; any thread.
 */
#ifndef FLX_WIRE_BYTES_H
#define FLX_WIRE_BYTES_H

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t flx_get_u16(const uint8_t *from)
{
    return (uint16_t)((from[0] << 8) | from[1]);
}

static inline uint32_t flx_get_u32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t flx_get_u64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Each put returns the byte after what it wrote. */
static inline uint8_t *flx_put_u8(uint8_t *to, uint8_t value)
{
    *to = value;
    return to + 1;
}

static inline uint8_t *flx_put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
    return to + 2;
}

static inline uint8_t *flx_put_u32(uint8_t *to, uint32_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    memcpy(to, &value, sizeof value);
    return to + sizeof value;
}

static inline uint8_t *flx_put_u64(uint8_t *to, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(to, &value, sizeof value);
    return to + sizeof value;
}

static inline uint8_t *flx_put_bytes(uint8_t *to, flx_slice bytes)
{
    if (bytes.len > 0) {
        memcpy(to, bytes.ptr, bytes.len);
    }
    return to + bytes.len;
}

/* Seven bits a byte, the lowest first; the top bit says that more follow. */
static inline size_t flx_varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    while (value >= 0x80) {
        value >>= 7;
        bytes++;
    }
    return bytes;
}

static inline uint8_t *flx_put_varint(uint8_t *to, uint64_t value)
{
    while (value >= 0x80) {
        to = flx_put_u8(to, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    return flx_put_u8(to, (uint8_t)value);
}

/* A u16 length and that many bytes; the caller has checked that they are at most 65535. */
static inline uint8_t *flx_put_text(uint8_t *to, flx_slice text)
{
    return flx_put_bytes(flx_put_u16(to, (uint16_t)text.len), text);
}

typedef struct flx_cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool is_short; /* something was asked for that was not there */
} flx_cursor;

static inline flx_cursor flx_cursor_of(flx_slice bytes)
{
    static const uint8_t nothing = 0; /* so that no arithmetic meets a NULL */
    const uint8_t *at = bytes.ptr != NULL ? bytes.ptr : &nothing;
    const flx_cursor cursor = {at, at + bytes.len, false};
    return cursor;
}

static inline size_t flx_cursor_left(const flx_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

/* The next `len` bytes; empty when they are not all there. */
static inline flx_slice flx_cursor_bytes(flx_cursor *cursor, size_t len)
{
    flx_slice bytes = {cursor->at, 0};
    if (cursor->is_short || flx_cursor_left(cursor) < len) {
        cursor->is_short = true;
        return bytes;
    }
    bytes.len = len;
    cursor->at += len;
    return bytes;
}

static inline uint8_t flx_cursor_u8(flx_cursor *cursor)
{
    const flx_slice bytes = flx_cursor_bytes(cursor, 1);
    return bytes.len == 1 ? bytes.ptr[0] : 0;
}

static inline uint16_t flx_cursor_u16(flx_cursor *cursor)
{
    const flx_slice bytes = flx_cursor_bytes(cursor, 2);
    return bytes.len == 2 ? flx_get_u16(bytes.ptr) : 0;
}

static inline uint32_t flx_cursor_u32(flx_cursor *cursor)
{
    const flx_slice bytes = flx_cursor_bytes(cursor, 4);
    return bytes.len == 4 ? flx_get_u32(bytes.ptr) : 0;
}

static inline uint64_t flx_cursor_u64(flx_cursor *cursor)
{
    const flx_slice bytes = flx_cursor_bytes(cursor, 8);
    return bytes.len == 8 ? flx_get_u64(bytes.ptr) : 0;
}

/* One that is not as short as it could be, or is above 64 bits, counts as not there. */
static inline uint64_t flx_cursor_varint(flx_cursor *cursor)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t byte = flx_cursor_u8(cursor);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            const bool is_longer = byte == 0 && shift > 0;
            const bool is_above = shift == 63 && byte > 1;
            cursor->is_short = cursor->is_short || is_longer || is_above;
            return cursor->is_short ? 0 : value;
        }
    }
    cursor->is_short = true;
    return 0;
}

/* A u16 length and that many bytes. */
static inline flx_slice flx_cursor_text(flx_cursor *cursor)
{
    const uint16_t len = flx_cursor_u16(cursor);
    return flx_cursor_bytes(cursor, len);
}

/* Whether all that was asked for was there and nothing is left. */
static inline bool flx_cursor_is_done(const flx_cursor *cursor)
{
    return !cursor->is_short && cursor->at == cursor->end;
}

#endif /* FLX_WIRE_BYTES_H */
