/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/shard.h - one shard of a stream in memory: dense offsets, and frames gathered per tick.
 *
 * An append copies the record region behind what the tick brought before, so that many small
 * publishes leave as one event frame:
 *
 *     chunk  | sealed frame | [24 B kept free][region][region][region] ...room... |
 *                             ^open_at: the head is written when the frame is sealed
 *
 * A region of FLX_SHARD_SHARE_BYTES or more that is most of a counted chunk is referenced instead.
 * Sealing (at the end of a tick, or at a bound) fills in the head and pushes the frame into the feed,
 * which is what readers see; an offset is claimed, and may be acknowledged, at the append.
 *
 * Pure: no I/O, no clock. Threads: the owner's worker.
 */
#ifndef FLX_BROKER_SHARD_H
#define FLX_BROKER_SHARD_H

#include "broker/feed.h"
#include "broker/producer.h"

#include <felix/slice.h>
#include <felix/status.h>

#define FLX_SHARD_SHARE_BYTES 4096

/* Who takes sealed frames when readers may not see them at once (backing.h). Takes the frame's
 * references; cannot fail. `producer_id` 0: no idempotent publish. */
typedef struct flx_shard_sink {
    void (*take)(void *arg, const flx_sealed *frame, uint64_t producer_id, uint64_t sequence);
    void *arg;
} flx_shard_sink;

/* Whether a region is worth keeping where it lies. It keeps the whole chunk, which bounds only count
 * as the region, so it must be most of it. */
static inline bool flx_shard_may_share(const flx_chunk *holder, size_t len)
{
    return holder != NULL && len >= FLX_SHARD_SHARE_BYTES && len >= holder->cap / 2;
}

/* One publish: `count` records as `u32 length, payload` one after the other, already checked. */
typedef struct flx_batch {
    flx_slice region;
    flx_chunk *holder;    /* the chunk the region lies in; NULL when it must be copied. Borrowed. */
    flx_chunk *publisher; /* borrowed; NULL: not recorded */
    uint32_t count;       /* at least 1 */
} flx_batch;

typedef struct flx_shard_bounds {
    uint32_t ring_frames;
    uint64_t ring_bytes;
    uint32_t gather_events; /* records gathered in one frame, unless a single batch has more */
    uint32_t gather_bytes;
} flx_shard_bounds;

typedef struct flx_shard {
    flx_feed feed;
    uint64_t next_offset;      /* of the next record; feed.next_offset plus what is open */
    flx_chunk *chunk;          /* where frames are written; NULL before the first */
    uint32_t chunk_next_bytes; /* capacity of the next one: grows with use */
    uint32_t open_at;          /* head of the open frame in `chunk` */
    uint32_t open_count;       /* records in it; 0: none is open */
    uint64_t open_wall_us;
    flx_chunk *open_publisher; /* owned while a frame is open */
    flx_shard_sink sink;       /* take NULL: frames go into the feed when they are sealed */
    uint64_t producer_id;      /* of the batch that is appended now, for the sink; 0: none */
    uint64_t sequence;
    uint32_t gather_events;
    uint32_t gather_bytes;
    flx_producers *producers; /* NULL until an idempotent publish */
} flx_shard;

void flx_shard_init(flx_shard *shard, const flx_shard_bounds *bounds);
void flx_shard_done(flx_shard *shard);
/* Gives the first record this offset instead of 0. Before the first append. */
void flx_shard_begin_at(flx_shard *shard, uint64_t offset);

/*
 * Appends the batch at next_offset, wholly or not at all. *ret_offset: of its first record.
 * May seal frames. FLX_ERR_NOMEM.
 */
flx_status flx_shard_append(flx_shard *shard, const flx_batch *batch, uint64_t wall_us,
                            uint64_t *ret_offset);
/* The same in a frame of its own, of which the sink is told who sent it. */
flx_status flx_shard_append_from(flx_shard *shard, const flx_batch *batch, uint64_t producer_id,
                                 uint64_t sequence, uint64_t wall_us, uint64_t *ret_offset);
/*
 * An append in two steps, for one record that is written where it will lie: after a reserve of its
 * bytes the next place cannot fail. It answers where the payload goes, which is to be filled in
 * before anything else is asked of the shard. A reserve may seal. FLX_ERR_NOMEM.
 */
flx_status flx_shard_reserve(flx_shard *shard, size_t payload_len);
uint8_t *flx_shard_place(flx_shard *shard, size_t payload_len, uint64_t wall_us,
                         uint64_t *ret_offset);
/* Gives away one offset without keeping a record: nobody ever read this shard. */
uint64_t flx_shard_pass(flx_shard *shard);
/* Makes what is open readable. Nothing to do is fine. */
void flx_shard_seal(flx_shard *shard);

typedef enum flx_shard_start {
    FLX_SHARD_START_LATEST,
    FLX_SHARD_START_EARLIEST,
    FLX_SHARD_START_OFFSET
} flx_shard_start;

/*
 * Where a reader begins: *ret_offset, after sealing. FLX_ERR_TOO_OLD / FLX_ERR_IN_FUTURE with
 * *ret_offset the oldest offset kept / the tail.
 */
flx_status flx_shard_resolve(flx_shard *shard, flx_shard_start start, uint64_t offset,
                             uint64_t *ret_offset);

/* Offset of the first record appended at or after `wall_us`; false when there is none yet. */
bool flx_shard_offset_for_time(flx_shard *shard, uint64_t wall_us, uint64_t *ret_offset);

#endif /* FLX_BROKER_SHARD_H */
