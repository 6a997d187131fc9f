/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/durable_read.c - what asks the log of a shard: where a reader begins, blocks of history,
 * stream_read and offset_for_time.
 *
 *     job ─► log opening? parked ─► read begun ─┬─► answered at once (the block was in memory)
 *                                               └─► completion ─► ready ─► the next tick answers
 *
 * A block is handed on by reference, to other workers too: its bytes are read from the disk once.
 */
#include "broker/cache_state_int.h"
#include "broker/durable_int.h"
#include "broker/feed.h"
#include "broker/job_int.h"
#include "broker/sealed.h"
#include "broker/shard.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"

#include <string.h>

#define FRAMES_FIRST 16

/* One read on its way. */
typedef struct log_read {
    flx_journal_read read;
    flx_journal_find find;
    flx_durable *durable;
    flx_job *job;
    uint64_t bytes; /* READ: collected so far */
    uint64_t records;
    size_t frame_cap;
} log_read;

/* ---- where a reader begins ---- */

/* The offset a subscribe means; *ret_available when there is no such record (any more, or yet). */
static flx_status resolve(const flx_owned *owned, flx_job *job)
{
    const uint64_t start = flx_journal_start(owned->durable->journal);
    const uint64_t live = owned->shard.feed.next_offset;
    switch (job->start) {
    case FLX_SHARD_START_LATEST:
        job->offset = live;
        return FLX_OK;
    case FLX_SHARD_START_EARLIEST:
        job->offset = start < live ? start : live;
        return FLX_OK;
    case FLX_SHARD_START_OFFSET:
        break;
    }
    if (job->offset < start) {
        job->tail = start;
        return FLX_ERR_TOO_OLD;
    }
    /* A publisher knows offsets that readers cannot see yet: they are fine to wait for. */
    if (job->offset > owned->shard.next_offset) {
        job->tail = owned->shard.next_offset;
        return FLX_ERR_IN_FUTURE;
    }
    return FLX_OK;
}

/*
 * Registers the reader first: from here on its worker gets every frame that enters the ring. What lies
 * before the ring it reads from the log, up to where the two meet (history.c).
 */
static void subscribe(flx_worker *worker, flx_owned *owned, flx_job *job)
{
    const flx_feed *feed = &owned->shard.feed;
    job->is_durable = true;
    job->status = resolve(owned, job);
    if (job->status != FLX_OK) {
        return;
    }
    const bool is_in_ring =
        job->offset >= flx_feed_oldest_offset(feed) && job->offset <= feed->next_offset;
    job->first_sequence = is_in_ring ? flx_feed_find(feed, job->offset) : feed->end;
    flx_subscribe_register(worker, owned, job);
}

/* ---- reads ---- */

static void answered(log_read *read)
{
    flx_job *job = read->job;
    flx_durable *durable = read->durable;
    flx_free(read);
    flx_job_ready(durable->worker, job);
}

/* A failure that the operator should know of. */
static void tell_failure(const flx_durable *durable, flx_status status, const flx_error *error)
{
    if (status == FLX_ERR_CORRUPT || status == FLX_ERR_IO) {
        flx_durable_tell(durable, FLX_LOG_UNREAD, error);
    }
}

/* Takes the block over. */
static void history_take(log_read *read)
{
    flx_job *job = read->job;
    const flx_journal *journal = read->durable->journal;
    const bool is_collapsed =
        read->durable->is_cache && flx_cache_may_be_collapsed(read->durable, job->offset);
    job->status = read->read.status;
    job->value = read->read.range;
    job->offset = read->read.next;
    job->tail = flx_journal_start(journal);
    if (job->status == FLX_OK && is_collapsed) { /* it is not every change any more */
        flx_chunk_unref(job->value.chunk);
        job->value.chunk = NULL;
        job->status = FLX_ERR_TOO_OLD;
    }
    if (job->status == FLX_OK) {
        flx_stat_add(&read->durable->worker->stats.log_blocks_read, 1);
    } else {
        job->value.chunk = NULL;
        tell_failure(read->durable, job->status, &read->read.error);
    }
}

/* The name in a chunk of its own, shared with the frame before when it is the same. */
static bool publisher_of(const flx_job *job, flx_slice name, flx_chunk **ret_publisher)
{
    *ret_publisher = NULL;
    if (name.len == 0) {
        return true;
    }
    flx_chunk *last = job->frame_count > 0 ? job->frames[job->frame_count - 1].publisher : NULL;
    if (last != NULL && last->len == name.len && memcmp(last->data, name.ptr, name.len) == 0) {
        *ret_publisher = flx_chunk_ref(last);
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

static bool frames_reserve(log_read *read)
{
    flx_job *job = read->job;
    if (job->frame_count < read->frame_cap) {
        return true;
    }
    const size_t cap = read->frame_cap == 0 ? FRAMES_FIRST : read->frame_cap * 2;
    flx_sealed *frames = flx_realloc(job->frames, cap * sizeof *frames);
    if (frames == NULL) {
        return false;
    }
    job->frames = frames;
    read->frame_cap = cap;
    return true;
}

static bool wants_more(const log_read *read, uint64_t offset)
{
    const flx_job *job = read->job;
    return offset < job->end && read->bytes < job->max_bytes && read->records < job->max_records;
}

/* References to the batches of one block that the read asks for. */
static flx_status collect_block(log_read *read)
{
    flx_job *job = read->job;
    const flx_range block = read->read.range;
    flx_slice rest = flx_range_slice(&block);
    flx_stored stored;
    while (flx_stored_next(&rest, &stored)) {
        if (stored.kind != FLX_STORED_DATA || flx_stored_end(&stored) <= job->offset) {
            continue;
        }
        if (!wants_more(read, stored.base_offset)) {
            break;
        }
        const uint32_t at = (uint32_t)(stored.region.ptr - block.chunk->data);
        flx_sealed frame = {
            .region = {block.chunk, at, at + (uint32_t)stored.region.len},
            .base_offset = stored.base_offset,
            .wall_us = stored.time_us,
            .count = stored.count,
            .joined = true, /* it has no head */
        };
        if (!frames_reserve(read) || !publisher_of(job, stored.publisher, &frame.publisher)) {
            return FLX_ERR_NOMEM;
        }
        flx_chunk_ref(block.chunk);
        job->frames[job->frame_count++] = frame;
        read->bytes += stored.region.len;
        read->records += stored.count;
    }
    return FLX_OK;
}

/* One block of a stream_read; true: it wants another one. */
static bool collect_take(log_read *read)
{
    flx_job *job = read->job;
    flx_journal_read *block = &read->read;
    job->status = block->status;
    if (job->status != FLX_OK) {
        job->tail = flx_journal_start(read->durable->journal);
        tell_failure(read->durable, job->status, &block->error);
        return false;
    }
    if (block->range.chunk == NULL) {
        return false; /* the end of what readers may see */
    }
    flx_stat_add(&read->durable->worker->stats.log_blocks_read, 1);
    job->status = collect_block(read);
    block->range.chunk = flx_chunk_unref(block->range.chunk);
    block->offset = block->next;
    return job->status == FLX_OK && wants_more(read, block->next);
}

static void time_take(log_read *read)
{
    flx_job *job = read->job;
    job->status = read->find.status;
    if (job->status == FLX_OK) {
        job->offset = read->find.offset;
        job->has_value = job->offset < flx_journal_visible_end(read->durable->journal);
    } else {
        tell_failure(read->durable, job->status, &read->find.error);
    }
}

static void on_history(flx_journal_read *done)
{
    log_read *read = done->arg;
    history_take(read);
    answered(read);
}

static bool collect_go(log_read *read)
{
    while (flx_journal_read_begin(read->durable->journal, &read->read)) {
        if (!collect_take(read)) {
            return true;
        }
    }
    return false;
}

static void on_collected(flx_journal_read *done)
{
    log_read *read = done->arg;
    if (!collect_take(read) || collect_go(read)) {
        answered(read);
    }
}

static void on_found(flx_journal_find *done)
{
    log_read *read = done->arg;
    time_take(read);
    answered(read);
}

/* True: the answer is there. */
static bool begin(flx_durable *durable, log_read *read)
{
    flx_job *job = read->job;
    if (job->kind == FLX_JOB_TIME) {
        read->find = (flx_journal_find){.time_us = job->offset, .done = on_found, .arg = read};
        if (!flx_journal_find_begin(durable->journal, &read->find)) {
            return false;
        }
        time_take(read);
        return true;
    }
    read->read.offset = job->offset;
    read->read.arg = read;
    if (job->kind == FLX_JOB_READ) {
        read->read.done = on_collected;
        return collect_go(read);
    }
    read->read.done = on_history;
    if (!flx_journal_read_begin(durable->journal, &read->read)) {
        return false;
    }
    history_take(read);
    return true;
}

static bool read_job(flx_owned *owned, flx_job *job)
{
    if (job->kind == FLX_JOB_READ && job->offset > owned->shard.next_offset) {
        job->tail = owned->shard.next_offset;
        job->status = FLX_ERR_IN_FUTURE;
        return true;
    }
    if (job->kind == FLX_JOB_READ &&
        job->offset > flx_journal_visible_end(owned->durable->journal)) {
        job->status = FLX_OK; /* it is there, but readers may not see it yet */
        return true;
    }
    log_read *read = flx_calloc(1, sizeof *read);
    if (read == NULL) {
        job->status = FLX_ERR_NOMEM;
        return true;
    }
    read->durable = owned->durable;
    read->job = job;
    if (!begin(owned->durable, read)) {
        return false;
    }
    flx_free(read);
    return true;
}

bool flx_durable_job(flx_worker *worker, flx_owned *owned, flx_job *job)
{
    flx_durable *durable = owned->durable;
    if (durable->state == FLX_DURABLE_OPENING || durable->state == FLX_DURABLE_LOADING) {
        flx_durable_park(durable, job);
        return false;
    }
    if (durable->journal == NULL) {
        job->status = durable->status;
        return true;
    }
    if (job->kind == FLX_JOB_SUBSCRIBE) {
        subscribe(worker, owned, job);
        return true;
    }
    return read_job(owned, job);
}
