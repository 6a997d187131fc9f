/* SPDX-License-Identifier: Apache-2.0 */
/* broker/backing.c - frames on their way into the log and out of it; the drawing is in the header. */
#include "broker/backing.h"

#include "common/alloc.h"
#include "common/assert.h"

#include <string.h>

#define RING_CAP_FIRST 8
#define SEALS_MAX      3 /* of one append: what was open, a frame of its own, and the tick's last */

static flx_pending_frame *frame_at(const flx_backing *backing, uint32_t number)
{
    return &backing->ring[number & (backing->cap - 1)];
}

static flx_status ring_reserve(flx_backing *backing)
{
    if (backing->cap - (backing->end - backing->first) >= SEALS_MAX) {
        return FLX_OK;
    }
    const uint32_t cap = backing->cap == 0 ? RING_CAP_FIRST : backing->cap * 2;
    flx_pending_frame *ring = flx_alloc(cap * sizeof ring[0]);
    if (ring == NULL) {
        return FLX_ERR_NOMEM;
    }
    for (uint32_t number = backing->first; number != backing->end; number++) {
        ring[number & (cap - 1)] = *frame_at(backing, number);
    }
    flx_free(backing->ring);
    backing->ring = ring;
    backing->cap = cap;
    return FLX_OK;
}

/* The shard sealed a frame; prepare made room for it. */
static void take(void *arg, const flx_sealed *frame, uint64_t producer_id, uint64_t sequence)
{
    flx_backing *backing = arg;
    FLX_ASSERT(backing->end - backing->first < backing->cap);
    *frame_at(backing, backing->end++) = (flx_pending_frame){*frame, producer_id, sequence};
    (void)flx_backing_hand(backing);
}

void flx_backing_init(flx_backing *backing, flx_shard *shard, flx_journal *journal,
                      flx_stored_kind kind)
{
    memset(backing, 0, sizeof *backing);
    backing->shard = shard;
    backing->journal = journal;
    backing->kind = (uint8_t)kind;
    flx_shard_begin_at(shard, flx_journal_end(journal));
    shard->sink = (flx_shard_sink){take, backing};
}

void flx_backing_done(flx_backing *backing)
{
    if (backing->shard == NULL) {
        return;
    }
    for (; backing->first != backing->end; backing->first++) {
        flx_sealed_unref(&frame_at(backing, backing->first)->frame);
    }
    flx_free(backing->ring);
    backing->ring = NULL;
    backing->cap = 0;
}

flx_status flx_backing_prepare(flx_backing *backing)
{
    switch (flx_journal_state_of(backing->journal)) {
    case FLX_JOURNAL_OPEN:
        break;
    case FLX_JOURNAL_FULL:
        return FLX_ERR_AGAIN;
    case FLX_JOURNAL_FAILED:
    case FLX_JOURNAL_CLOSED:
        return FLX_ERR_IO;
    }
    if (backing->handed != backing->end) {
        return FLX_ERR_AGAIN; /* what came before has no room yet */
    }
    return ring_reserve(backing);
}

bool flx_backing_hand(flx_backing *backing)
{
    while (backing->handed != backing->end) {
        const flx_pending_frame *pending = frame_at(backing, backing->handed);
        const flx_sealed *frame = &pending->frame;
        const flx_journal_batch batch = {
            .kind = backing->kind,
            .count = frame->count,
            .region = flx_range_slice(&frame->region),
            .holder = frame->region.chunk,
            .time_us = frame->wall_us,
            .publisher = frame->publisher == NULL
                             ? (flx_slice){NULL, 0}
                             : (flx_slice){frame->publisher->data, frame->publisher->len},
            .producer_id = pending->producer_id,
            .sequence = pending->sequence,
        };
        uint64_t offset = 0;
        if (flx_journal_append(backing->journal, &batch, &offset, NULL) != FLX_OK) {
            return false; /* again when there is room; a log that failed drops it in the end */
        }
        FLX_ASSERT(offset == frame->base_offset); /* nobody else appends to it */
        backing->handed++;
    }
    return true;
}

bool flx_backing_release(flx_backing *backing)
{
    const uint64_t visible = flx_journal_visible_end(backing->journal);
    const uint32_t first = backing->first;
    while (backing->first != backing->handed) {
        const flx_sealed *frame = &frame_at(backing, backing->first)->frame;
        if (flx_sealed_end_offset(frame) > visible) {
            break;
        }
        flx_feed_push_take(&backing->shard->feed, frame);
        backing->first++;
    }
    return backing->first != first;
}
