/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/buffer.h - bytes that grow, up to a bound.
 *
 * Doubles from 256 bytes up to `max` and refuses what would pass it. Lives in its owner. After a
 * failure the content is as before. No locks: a buffer belongs to one thread.
 */
#ifndef FLX_COMMON_BUFFER_H
#define FLX_COMMON_BUFFER_H

#include <felix/export.h>
#include <felix/slice.h>
#include <felix/status.h>

#include <stddef.h>
#include <stdint.h>

typedef struct flx_buffer {
    uint8_t *data; /* NULL until the first byte */
    size_t len;
    size_t cap;
    size_t max; /* len never passes it */
} flx_buffer;

/* Nothing is allocated yet. */
void flx_buffer_init(flx_buffer *buffer, size_t max);
void flx_buffer_done(flx_buffer *buffer);

static inline flx_slice flx_buffer_slice(const flx_buffer *buffer)
{
    return (flx_slice){buffer->data, buffer->len};
}

static inline void flx_buffer_clear(flx_buffer *buffer)
{
    buffer->len = 0;
}

/*
 * Makes room for `len` bytes behind the content; *ret_room is where they go, until the next call.
 * Add what was written to buffer->len.
 *
 * FLX_ERR_TOO_LARGE  the content would pass max
 * FLX_ERR_NOMEM
 */
flx_status flx_buffer_reserve(flx_buffer *buffer, size_t len, uint8_t **ret_room);

/* Copies bytes behind the content. Fails as flx_buffer_reserve. */
flx_status flx_buffer_append(flx_buffer *buffer, const void *bytes, size_t len);
flx_status flx_buffer_append_text(flx_buffer *buffer, const char *text);
/* Formats behind the content, without a terminator. Fails as flx_buffer_reserve. */
flx_status flx_buffer_printf(flx_buffer *buffer, const char *format, ...) FLX_PRINTF(2, 3);

/* Drops `len` bytes (<= buffer->len) from the front; the rest moves. */
void flx_buffer_consume(flx_buffer *buffer, size_t len);

/* Ends the content with a 0 that does not count and returns it as text; NULL when that fails. */
const char *flx_buffer_text(flx_buffer *buffer);

#endif /* FLX_COMMON_BUFFER_H */
