/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/chunk.h - counted, append-only memory that frames are written to once and shared from.
 *
 *     +--------+-----------------------------+-----------+
 *     | header | bytes written (never change)|   room    |
 *     +--------+-----------------------------+-----------+
 *              0                            len         cap
 *
 * One owner appends; anybody who holds a reference may read what was written before the reference
 * reached them (a mailbox orders the two). Readers hold flx_range values: a chunk and two positions.
 * Adjacent ranges of one chunk merge, so a subscriber that is sent many small frames in a row costs
 * one range. The count is atomic: a reference may be dropped on any thread.
 */
#ifndef FLX_COMMON_CHUNK_H
#define FLX_COMMON_CHUNK_H

#include <felix/slice.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct flx_chunk {
    _Atomic uint32_t refs;
    uint32_t cap; /* bytes in data */
    uint32_t len; /* bytes written; only the owner moves it */
    uint32_t reserved;
    uint8_t data[];
} flx_chunk;

/* Bytes [start, end) of a chunk. Whoever stores one owns one reference to the chunk. */
typedef struct flx_range {
    flx_chunk *chunk;
    uint32_t start;
    uint32_t end;
} flx_range;

/* A chunk with one reference and room for `cap` bytes (1 .. 1 GiB); NULL when memory is out. */
flx_chunk *flx_chunk_new(size_t cap);

static inline flx_chunk *flx_chunk_ref(flx_chunk *chunk)
{
    atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
    return chunk;
}

/* Drops one reference, frees on the last. NULL is fine. Always returns NULL. */
flx_chunk *flx_chunk_unref(flx_chunk *chunk);

/* Whether the caller's reference is the only one, so that the chunk may be written again. */
static inline bool flx_chunk_is_sole(const flx_chunk *chunk)
{
    return atomic_load_explicit(&chunk->refs, memory_order_acquire) == 1;
}

static inline size_t flx_chunk_room(const flx_chunk *chunk)
{
    return (size_t)(chunk->cap - chunk->len);
}

static inline flx_slice flx_range_slice(const flx_range *range)
{
    return (flx_slice){range->chunk->data + range->start, (size_t)(range->end - range->start)};
}

static inline uint32_t flx_range_len(const flx_range *range)
{
    return range->end - range->start;
}

#endif /* FLX_COMMON_CHUNK_H */
