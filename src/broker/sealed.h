/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/sealed.h - one event frame as it is kept and shared: where its bytes are, what they hold.
 *
 *     joined:    head.chunk  [ envelope 12 | base_offset 8 | count 4 ][ u32 len, payload | ... ]
 *                            head.start                               head.end        region.end
 *     otherwise: head in one chunk, region in another (a large publish that was not copied)
 *
 * The head is that of the primary variant (shared, with offsets), which is what nearly every
 * subscriber reads: one range when joined, and adjacent to the frame before it. Other variants
 * put a head of their own before the same region (event.h).
 *
 * A frame owns one reference to region.chunk, and one to head.chunk when it is not joined.
 * Threads: a value; its references may be dropped on any thread.
 */
#ifndef FLX_BROKER_SEALED_H
#define FLX_BROKER_SEALED_H

#include "common/chunk.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct flx_sealed {
    flx_range head;
    flx_range region;
    uint64_t base_offset;
    uint64_t wall_us;     /* append time of every record in it */
    flx_chunk *publisher; /* its bytes are the name; NULL: not recorded. Owned. */
    uint32_t count;       /* records, at least 1 */
    bool joined;
} flx_sealed;

static inline uint64_t flx_sealed_bytes(const flx_sealed *frame)
{
    return (uint64_t)flx_range_len(&frame->head) + flx_range_len(&frame->region);
}

static inline uint64_t flx_sealed_end_offset(const flx_sealed *frame)
{
    return frame->base_offset + frame->count;
}

/* One more set of references for a copy of the value. */
static inline void flx_sealed_ref(const flx_sealed *frame)
{
    flx_chunk_ref(frame->region.chunk);
    if (!frame->joined) {
        flx_chunk_ref(frame->head.chunk);
    }
    if (frame->publisher != NULL) {
        flx_chunk_ref(frame->publisher);
    }
}

static inline void flx_sealed_unref(const flx_sealed *frame)
{
    if (!frame->joined) {
        flx_chunk_unref(frame->head.chunk);
    }
    flx_chunk_unref(frame->region.chunk);
    flx_chunk_unref(frame->publisher);
}

#endif /* FLX_BROKER_SEALED_H */
