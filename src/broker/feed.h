/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/feed.h - the bounded ring of recent frames of one shard, as one worker has it.
 *
 *     first                                     end
 *       |  frame | frame | frame | frame | frame |          sequence numbers, +1 a frame
 *                   ^cursor      ^cursor         ^cursor    subscriptions read anywhere
 *
 * The owner of the shard keeps one (its replay ring, and what its own subscribers read); each
 * other worker that has subscribers keeps a window of it with the same sequence numbers, fed by
 * mails. Pushing past a bound drops the oldest frame, whoever still wanted it: a cursor below
 * `first` was overrun. Frames are references; the bytes are shared with everybody.
 *
 * Threads: one worker.
 */
#ifndef FLX_BROKER_FEED_H
#define FLX_BROKER_FEED_H

#include "broker/sealed.h"

#include <felix/status.h>

typedef struct flx_feed {
    flx_sealed *frames; /* [sequence & (cap - 1)] */
    uint32_t cap;       /* power of two, 0 before the first frame */
    uint32_t frames_max;
    uint64_t bytes_max;
    uint64_t bytes;
    uint64_t first;       /* sequence of the oldest frame kept */
    uint64_t end;         /* sequence of the next frame */
    uint64_t next_offset; /* offset behind the newest frame */
} flx_feed;

void flx_feed_init(flx_feed *feed, uint32_t frames_max, uint64_t bytes_max);
void flx_feed_done(flx_feed *feed);

/* Takes the frame's references. Bounds are kept by dropping from the front; when memory for the
 * ring is out it does not grow, and drops instead. */
void flx_feed_push_take(flx_feed *feed, const flx_sealed *frame);
/* Takes the frame's references, which must end where the oldest one begins. Past a bound of frames
 * the frame is dropped and the answer false. */
bool flx_feed_push_front_take(flx_feed *feed, const flx_sealed *frame);
/* Drops the oldest frame; there must be one. Returns its bytes. */
uint64_t flx_feed_pop(flx_feed *feed);

static inline bool flx_feed_is_empty(const flx_feed *feed)
{
    return feed->first == feed->end;
}

static inline const flx_sealed *flx_feed_at(const flx_feed *feed, uint64_t sequence)
{
    return &feed->frames[sequence & (feed->cap - 1)];
}

/* Offset of the oldest record kept; next_offset when there is none. */
uint64_t flx_feed_oldest_offset(const flx_feed *feed);
/* Sequence of the frame that holds `offset`, which must be kept, or be next_offset (then `end`). */
uint64_t flx_feed_find(const flx_feed *feed, uint64_t offset);

#endif /* FLX_BROKER_FEED_H */
