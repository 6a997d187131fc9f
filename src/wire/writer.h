/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/writer.h - bytes written to memory of a fixed size.
 *
 * When the room ends the writer stops writing but keeps counting: `len` is then what would have
 * been needed, and flx_writer_fits() is false. So an encoder has no error paths of its own, and a
 * writer of no room measures.
 */
#ifndef FLX_WIRE_WRITER_H
#define FLX_WIRE_WRITER_H

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct flx_writer {
    uint8_t *data; /* borrowed; may be NULL when cap is 0 */
    size_t cap;
    size_t len; /* bytes written, or needed when above cap */
} flx_writer;

static inline void flx_writer_init(flx_writer *writer, uint8_t *data, size_t cap)
{
    writer->data = data;
    writer->cap = cap;
    writer->len = 0;
}

static inline bool flx_writer_fits(const flx_writer *writer)
{
    return writer->len <= writer->cap;
}

/* Room for the next `len` bytes, counted as written; NULL when they do not fit. */
static inline uint8_t *flx_writer_take(flx_writer *writer, size_t len)
{
    const size_t at = writer->len;
    writer->len += len;
    return writer->len <= writer->cap ? writer->data + at : NULL;
}

static inline void flx_writer_put(flx_writer *writer, const void *bytes, size_t len)
{
    uint8_t *to = flx_writer_take(writer, len);
    if (to != NULL && len > 0) {
        memcpy(to, bytes, len);
    }
}

#endif /* FLX_WIRE_WRITER_H */
