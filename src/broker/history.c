/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/history.c - a subscription that reads the log until it meets the ring.
 *
 *       log    | block | block | block | block |
 *                  ^sub.offset      ring  | frame | frame | frame | frame |
 *                  └────────── reads ──────► joins here               ^live
 *
 * The subscription was registered before its first block is asked for, so frames enter the ring all
 * the while and none is missed; it joins where its next offset lies in the ring, so none comes twice.
 * Where exactly the ring begins by then does not matter: when the ring has moved on, it reads on.
 *
 * Blocks come from the worker that owns the log, one at a time and the next one ahead, as references.
 * They are asked for when the reader's stream has room, so a slow reader costs two blocks at most.
 */
#include "broker/event.h"
#include "broker/feed.h"
#include "broker/handles_int.h"
#include "broker/history_int.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"

#include <string.h>

#define COPY_BYTES 4096 /* a region up to this is copied behind its head: one range, not two */

typedef struct flx_history {
    flx_range block; /* being delivered; owned. chunk NULL: none */
    flx_slice rest;  /* of it, from the frame below on */
    flx_range ahead; /* the block after it; owned */
    uint64_t next;   /* offset to ask for */
    uint64_t asked;  /* offset that was asked for last */
    bool is_asked;
    bool is_at_end; /* the log had nothing at `next` that readers may see */
    flx_status status;
    uint64_t available; /* TOO_OLD: the oldest record kept */
    flx_sealed frame;   /* at the front of `rest`; count 0: not made. Owned */
    size_t frame_bytes; /* of it in `rest` */
} flx_history;

flx_status flx_history_begin(flx_sub *sub)
{
    FLX_ASSERT(sub->history == NULL);
    sub->history = flx_calloc(1, sizeof *sub->history);
    if (sub->history == NULL) {
        return FLX_ERR_NOMEM;
    }
    sub->history->next = sub->offset;
    return FLX_OK;
}

static void frame_drop(flx_history *history)
{
    if (history->frame.count > 0) {
        flx_sealed_unref(&history->frame);
        history->frame.count = 0;
        history->frame.publisher = NULL;
    }
}

static void blocks_drop(flx_history *history)
{
    frame_drop(history);
    history->block.chunk = flx_chunk_unref(history->block.chunk);
    history->ahead.chunk = flx_chunk_unref(history->ahead.chunk);
    history->rest = (flx_slice){NULL, 0};
}

flx_history *flx_history_free(flx_history *history)
{
    if (history != NULL) {
        blocks_drop(history);
        flx_free(history);
    }
    return NULL;
}

/* ---- frames ---- */

/* The name, when this subscriber reads names. */
static bool publisher_make(const flx_sub *sub, flx_slice name, flx_chunk **ret_publisher)
{
    *ret_publisher = NULL;
    if (name.len == 0 || (sub->form.flags & FLX_FLAG_EVENT_BATCH_PUBLISHER) == 0) {
        return true;
    }
    flx_chunk *chunk = flx_chunk_new(name.len);
    if (chunk == NULL) {
        return false;
    }
    memcpy(chunk->data, name.ptr, name.len);
    chunk->len = (uint32_t)name.len;
    *ret_publisher = chunk;
    return true;
}

/* A batch of the log as the frame it was when it was live. Others than the primary form make a head of
 * their own, but a frame has one. */
static bool frame_make(flx_worker *worker, const flx_sub *sub, const flx_stored *stored)
{
    flx_history *history = sub->history;
    const uint32_t region_len = (uint32_t)stored->region.len;
    const bool is_copied = region_len <= COPY_BYTES && sub->form.flags == FLX_EVENT_PRIMARY_FLAGS;
    const size_t len = FLX_EVENT_PRIMARY_BYTES + (is_copied ? region_len : 0);
    flx_chunk *publisher;
    if (!publisher_make(sub, stored->publisher, &publisher)) {
        return false;
    }
    uint8_t *to = flx_scratch_reserve(&worker->scratch, len);
    if (to == NULL) {
        flx_chunk_unref(publisher);
        return false;
    }
    flx_event_primary_put(to, stored->base_offset, stored->count, region_len);
    if (is_copied) {
        memcpy(to + FLX_EVENT_PRIMARY_BYTES, stored->region.ptr, region_len);
    }
    const flx_range made = flx_scratch_commit(&worker->scratch, len);
    const uint32_t head_end = made.start + FLX_EVENT_PRIMARY_BYTES;
    const uint32_t at = (uint32_t)(stored->region.ptr - history->block.chunk->data);
    history->frame = (flx_sealed){
        .head = {made.chunk, made.start, head_end},
        .base_offset = stored->base_offset,
        .wall_us = stored->time_us,
        .publisher = publisher,
        .count = stored->count,
        .joined = is_copied,
    };
    if (is_copied) {
        history->frame.region = (flx_range){made.chunk, head_end, made.end};
    } else {
        history->frame.region =
            (flx_range){flx_chunk_ref(history->block.chunk), at, at + region_len};
    }
    return true;
}

typedef enum front { FRONT_FRAME, FRONT_EMPTY, FRONT_NO_MEMORY } front;

/* Makes the first frame of the block that holds something for the subscriber. */
static front front_make(flx_worker *worker, flx_sub *sub)
{
    const flx_stored_kind wanted = sub->watch != NULL ? FLX_STORED_CACHE : FLX_STORED_DATA;
    flx_history *history = sub->history;
    flx_slice rest = history->rest;
    flx_stored stored;
    while (history->frame.count == 0) {
        if (!flx_stored_next(&rest, &stored)) {
            return FRONT_EMPTY;
        }
        const size_t bytes = history->rest.len - rest.len;
        if (stored.kind != wanted || flx_stored_end(&stored) <= sub->offset) {
            history->rest = rest;
            continue;
        }
        if (!frame_make(worker, sub, &stored)) {
            return FRONT_NO_MEMORY;
        }
        history->frame_bytes = bytes;
    }
    if (sub->watch != NULL && sub->offset < history->frame.base_offset) {
        sub->offset = history->frame.base_offset; /* what lies between is no change */
    }
    return FRONT_FRAME;
}

void flx_history_took(flx_sub *sub)
{
    flx_history *history = sub->history;
    FLX_ASSERT(history->frame.count > 0);
    frame_drop(history);
    history->rest.ptr += history->frame_bytes;
    history->rest.len -= history->frame_bytes;
}

/* ---- blocks ---- */

/* False: memory is out. */
static bool ask(flx_worker *worker, const flx_sub *sub)
{
    flx_history *history = sub->history;
    flx_job *job = flx_job_new(worker, FLX_JOB_HISTORY);
    if (job == NULL) {
        return false;
    }
    job->sub = sub->handle;
    job->id = sub->view->id;
    job->shard = sub->view->shard;
    job->offset = history->next;
    job->end = history->next;
    history->asked = history->next;
    history->is_asked = true;
    flx_job_send(worker, job, flx_log_owner(worker, job->id, job->shard));
    return true;
}

void flx_history_done(flx_worker *worker, flx_job *job)
{
    const flx_sub *sub = flx_handles_get(&worker->handles, job->sub);
    flx_history *history = sub == NULL ? NULL : sub->history;
    if (history == NULL || !history->is_asked || history->asked != job->end) {
        return; /* or it asked in an earlier history, which has met the ring since */
    }
    history->is_asked = false;
    history->status = job->status == FLX_ERR_IN_FUTURE ? FLX_OK : job->status;
    history->available = job->tail;
    history->is_at_end = job->value.chunk == NULL;
    if (job->value.chunk != NULL) {
        flx_range *place = history->block.chunk == NULL ? &history->block : &history->ahead;
        FLX_ASSERT(place->chunk == NULL);
        *place = job->value;
        job->value.chunk = NULL; /* changed hands */
        history->next = job->offset;
        if (place == &history->block) {
            history->rest = flx_range_slice(&history->block);
        }
    }
    if (sub->state == FLX_SUB_LIVE) {
        worker->link.want_pull(sub->lane->link, true);
    }
}

/* The block is delivered: the next one takes its place. */
static void block_turn(flx_history *history)
{
    frame_drop(history);
    flx_chunk_unref(history->block.chunk);
    history->block = history->ahead;
    history->ahead.chunk = NULL;
    history->rest =
        history->block.chunk == NULL ? (flx_slice){NULL, 0} : flx_range_slice(&history->block);
}

/* ---- the way to the ring ---- */

static bool join(flx_sub *sub)
{
    const flx_feed *feed = sub->view->feed;
    if (sub->offset < flx_feed_oldest_offset(feed) || sub->offset > feed->next_offset) {
        return false;
    }
    sub->cursor = flx_feed_find(feed, sub->offset);
    sub->join = feed->end;
    sub->skip_from = FLX_NO_SKIP;
    sub->history = flx_history_free(sub->history);
    return true;
}

/* Nothing is left to deliver: what now? */
static flx_history_step at_a_loss(flx_worker *worker, flx_sub *sub)
{
    flx_history *history = sub->history;
    if (history->is_asked) {
        return FLX_HISTORY_ASKED;
    }
    if (history->status == FLX_ERR_NOMEM) {
        history->status = FLX_OK;
        return FLX_HISTORY_NO_MEMORY;
    }
    if (history->status == FLX_ERR_TOO_OLD) {
        history->status = FLX_OK;
        history->next = history->available;
        return FLX_HISTORY_TOO_OLD;
    }
    if (history->status != FLX_OK) {
        return FLX_HISTORY_FAILED;
    }
    if (sub->offset > sub->view->feed->next_offset) {
        return FLX_HISTORY_AHEAD; /* what the log shows already enters the ring a moment later */
    }
    if (worker->is_draining) {
        return FLX_HISTORY_ASKED; /* not waited for, and not begun */
    }
    history->next = sub->offset;
    return ask(worker, sub) ? FLX_HISTORY_ASKED : FLX_HISTORY_NO_MEMORY;
}

/* Whether to ask for the block after the one that is delivered. */
static bool wants_ahead(const flx_worker *worker, const flx_sub *sub)
{
    const flx_history *history = sub->history;
    return history->block.chunk != NULL && history->ahead.chunk == NULL && !history->is_asked &&
           !history->is_at_end && history->status == FLX_OK && !worker->is_draining &&
           history->next < flx_feed_oldest_offset(sub->view->feed);
}

flx_history_step flx_history_next(flx_worker *worker, flx_sub *sub, const flx_sealed **ret_frame,
                                  uint64_t *ret_available)
{
    flx_history *history = sub->history;
    while (true) {
        if (wants_ahead(worker, sub)) {
            (void)ask(worker, sub); /* without memory: when there is nothing else to do */
        }
        if (history->block.chunk != NULL) {
            switch (front_make(worker, sub)) {
            case FRONT_FRAME:
                *ret_frame = &history->frame;
                return FLX_HISTORY_FRAME;
            case FRONT_NO_MEMORY:
                return FLX_HISTORY_NO_MEMORY;
            case FRONT_EMPTY:
                block_turn(history);
                break;
            }
        }
        if (join(sub)) {
            return FLX_HISTORY_JOINED;
        }
        if (history->block.chunk != NULL) {
            continue;
        }
        const flx_history_step step = at_a_loss(worker, sub);
        *ret_available = history->available;
        if (step != FLX_HISTORY_ASKED || history->is_asked || worker->is_draining) {
            return step;
        }
        /* It was answered at once: with a block, or with why there is none. */
    }
}
