/* SPDX-License-Identifier: Apache-2.0 */
/* broker/feed.c - the ring of recent frames; the drawing is in the header. */
#include "broker/feed.h"

#include "common/alloc.h"
#include "common/assert.h"

#include <string.h>

#define FEED_CAP_FIRST 8

void flx_feed_init(flx_feed *feed, uint32_t frames_max, uint64_t bytes_max)
{
    FLX_ASSERT(frames_max > 0 && bytes_max > 0);
    memset(feed, 0, sizeof *feed);
    feed->frames_max = frames_max;
    feed->bytes_max = bytes_max;
}

void flx_feed_done(flx_feed *feed)
{
    while (!flx_feed_is_empty(feed)) {
        (void)flx_feed_pop(feed);
    }
    flx_free(feed->frames);
    feed->frames = NULL;
    feed->cap = 0;
}

/* Doubles the ring; false when it is as large as it may get or memory is out. */
static bool feed_grow(flx_feed *feed)
{
    const uint32_t cap = feed->cap == 0 ? FEED_CAP_FIRST : feed->cap * 2;
    if (feed->cap >= feed->frames_max) {
        return false;
    }
    flx_sealed *frames = flx_alloc(cap * sizeof *frames);
    if (frames == NULL) {
        return false;
    }
    for (uint64_t sequence = feed->first; sequence < feed->end; sequence++) {
        frames[sequence & (cap - 1)] = *flx_feed_at(feed, sequence);
    }
    flx_free(feed->frames);
    feed->frames = frames;
    feed->cap = cap;
    return true;
}

uint64_t flx_feed_pop(flx_feed *feed)
{
    FLX_ASSERT(!flx_feed_is_empty(feed));
    const flx_sealed *frame = flx_feed_at(feed, feed->first);
    const uint64_t bytes = flx_sealed_bytes(frame);
    flx_sealed_unref(frame);
    feed->first++;
    FLX_ASSERT(feed->bytes >= bytes);
    feed->bytes -= bytes;
    return bytes;
}

void flx_feed_push_take(flx_feed *feed, const flx_sealed *frame)
{
    FLX_ASSERT(frame->count > 0);
    FLX_ASSERT(flx_feed_is_empty(feed) || frame->base_offset == feed->next_offset);
    const uint64_t bytes = flx_sealed_bytes(frame);

    while (!flx_feed_is_empty(feed) &&
           (feed->end - feed->first >= feed->frames_max || feed->bytes + bytes > feed->bytes_max)) {
        (void)flx_feed_pop(feed);
    }
    feed->next_offset = flx_sealed_end_offset(frame);
    if (feed->end - feed->first == feed->cap && !feed_grow(feed)) {
        if (feed->cap == 0) { /* not even a ring: nobody will read this frame */
            flx_sealed_unref(frame);
            feed->first = ++feed->end;
            return;
        }
        (void)flx_feed_pop(feed);
    }
    feed->frames[feed->end & (feed->cap - 1)] = *frame;
    feed->end++;
    feed->bytes += bytes;
}

bool flx_feed_push_front_take(flx_feed *feed, const flx_sealed *frame)
{
    FLX_ASSERT(feed->first > 0);
    FLX_ASSERT(flx_sealed_end_offset(frame) == flx_feed_oldest_offset(feed));
    const uint64_t bytes = flx_sealed_bytes(frame);
    const bool is_full = feed->end - feed->first >= feed->frames_max ||
                         feed->bytes + bytes > feed->bytes_max ||
                         (feed->end - feed->first == feed->cap && !feed_grow(feed));
    if (is_full) {
        flx_sealed_unref(frame);
        return false;
    }
    feed->first--;
    feed->frames[feed->first & (feed->cap - 1)] = *frame;
    feed->bytes += bytes;
    return true;
}

uint64_t flx_feed_oldest_offset(const flx_feed *feed)
{
    return flx_feed_is_empty(feed) ? feed->next_offset
                                   : flx_feed_at(feed, feed->first)->base_offset;
}

uint64_t flx_feed_find(const flx_feed *feed, uint64_t offset)
{
    FLX_ASSERT(offset >= flx_feed_oldest_offset(feed) && offset <= feed->next_offset);
    uint64_t low = feed->first;
    uint64_t high = feed->end;
    while (low < high) { /* the first frame that ends behind `offset` */
        const uint64_t middle = low + (high - low) / 2;
        if (flx_sealed_end_offset(flx_feed_at(feed, middle)) > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}
