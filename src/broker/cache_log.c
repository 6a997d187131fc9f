/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_log.c - caches whose changes are on disk: made again from the log, read back from it.
 *
 *     opened ──► LOADING: block after block, each change restored ──► OPEN
 *     get of a value that is away ──► the record at its version ──► the answer, and into memory
 *
 * An index is made from the whole log, of which compaction keeps a bounded multiple of what is there.
 * Blocks are read and checked on I/O threads; what one holds is taken in at once, some hundred changes.
 *
 * The first record of a log is none of the cache's: offset 0 belongs to the beginning of epoch 1, so
 * that versions, which are offsets, begin with 1 and 0 can mean that there is no entry.
 */
#include "broker/cache.h"
#include "broker/cache_state_int.h"
#include "broker/change_frames.h"
#include "broker/counter.h"
#include "broker/durable_int.h"
#include "broker/job_int.h"
#include "broker/op_batch_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/shard.h"
#include "broker/snapshot_int.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/buffer.h"
#include "common/error.h"
#include "wire/records.h"

#include <inttypes.h>
#include <string.h>

#define LOAD_BLOCKS 8 /* taken in at a time when they are there at once */

/* ---- making the index ---- */

typedef struct flx_cache_load {
    flx_durable *durable;
    flx_journal_read read;
    uint64_t end;    /* offset: everything below was there when the log was opened */
    bool is_reading; /* `done` will come */
} flx_cache_load;

static flx_status restore(flx_cache_state *state, flx_slice record, uint64_t offset,
                          flx_error *reterr)
{
    flx_change change;
    flx_status status = flx_change_read(record, &change, reterr);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "record %" PRIu64, offset);
        return FLX_ERR_CORRUPT;
    }
    status = change.kind == FLX_CHANGE_KIND_COUNTER
                 ? flx_counters_restore(&state->counters, change.key, change.sum, offset)
                 : flx_cache_shard_restore(state->shard, &change, offset);
    return status == FLX_OK ? FLX_OK
                            : flx_fail(reterr, status, "no memory for the keys of the cache");
}

static flx_status restore_block(const flx_cache_load *load, flx_error *reterr)
{
    flx_cache_state *state = load->durable->owned->cache;
    flx_slice block = flx_range_slice(&load->read.range);
    flx_stored stored;
    while (flx_stored_next(&block, &stored)) {
        uint64_t offset = stored.base_offset;
        flx_slice records = stored.region;
        flx_slice record;
        while (stored.kind == FLX_STORED_CACHE && flx_records_next(&records, &record)) {
            const bool is_new = offset >= load->read.offset;
            const flx_status status = is_new ? restore(state, record, offset, reterr) : FLX_OK;
            if (status != FLX_OK) {
                return status;
            }
            offset++;
        }
    }
    return FLX_OK;
}

/* Offset 0, which is nobody's version. */
static flx_status begin_log(flx_durable *durable, flx_error *reterr)
{
    static const uint8_t empty_record[sizeof(uint32_t)] = {0};
    const flx_journal_batch batch = {
        .kind = FLX_STORED_EPOCH,
        .count = 1,
        .region = {empty_record, sizeof empty_record},
        .time_us = durable->worker->wall_us,
    };
    uint64_t offset;
    const flx_status status = flx_journal_append(durable->journal, &batch, &offset, reterr);
    if (status == FLX_OK) {
        flx_shard_begin_at(&durable->owned->shard, offset + 1);
        flx_durable_staged(durable);
    }
    return status;
}

static void load_end(flx_durable *durable, flx_status status, flx_error *error)
{
    flx_cache_state *state = durable->owned->cache;
    if (status == FLX_OK && flx_journal_end(durable->journal) == 0) {
        status = begin_log(durable, error);
    }
    if (state != NULL) {
        flx_free(state->load);
        state->load = NULL;
        state->is_loaded = status == FLX_OK;
    }
    flx_durable_loaded(durable, status, error);
}

/* One block is here; true: read on. */
static bool load_take(flx_cache_load *load)
{
    flx_journal_read *read = &load->read;
    flx_error error = read->error;
    flx_status status = read->status;
    if (status == FLX_OK) {
        if (read->range.chunk != NULL) {
            status = restore_block(load, &error);
            read->range.chunk = flx_chunk_unref(read->range.chunk);
        }
        read->offset = read->next;
    }
    if (status != FLX_OK || read->offset >= load->end) {
        load_end(load->durable, status, &error);
        return false;
    }
    return true;
}

/* From a completion. */
static void on_loaded(flx_journal_read *read)
{
    flx_cache_load *load = read->arg;
    flx_durable *durable = load->durable;
    load->is_reading = false;
    if (load_take(load)) {
        flx_cache_load_go(durable);
    }
}

void flx_cache_load_go(flx_durable *durable)
{
    flx_cache_load *load = durable->owned->cache->load;
    for (int i = 0; i < LOAD_BLOCKS && !load->is_reading; i++) {
        const uint64_t offset = load->read.offset;
        load->is_reading = !flx_journal_read_begin(durable->journal, &load->read);
        if (!load->is_reading && !load_take(load)) {
            return;
        }
        if (!load->is_reading && load->read.offset == offset) {
            return; /* what is left was just written again, and is seen when it is synced */
        }
    }
    if (!load->is_reading) {
        flx_durable_moved(durable); /* others have their turn */
    }
}

void flx_cache_load_begin(flx_durable *durable)
{
    flx_error error = {0};
    flx_status status = flx_cache_state_new(durable->worker, durable->owned);
    flx_cache_state *state = durable->owned->cache;
    flx_cache_load *load = status == FLX_OK ? flx_calloc(1, sizeof *load) : NULL;
    if (load == NULL) {
        status = flx_fail(&error, FLX_ERR_NOMEM, "no memory for the keys of the cache");
        load_end(durable, status, &error);
        return;
    }
    load->durable = durable;
    load->end = durable->recovered_end;
    load->read.offset = flx_journal_start(durable->journal);
    load->read.done = on_loaded;
    load->read.arg = load;
    state->load = load;
    if (load->read.offset >= load->end) {
        load_end(durable, FLX_OK, &error);
    } else {
        flx_cache_load_go(durable);
    }
}

void flx_cache_load_cancel(flx_durable *durable)
{
    flx_cache_state *state = durable->owned->cache;
    if (state != NULL && state->load != NULL) {
        flx_journal_read_cancel(&state->load->read);
        flx_free(state->load);
        state->load = NULL;
    }
}

/* ---- values that are away ---- */

#define NO_ENTRY UINT32_MAX

typedef struct fetch {
    flx_journal_read read;
    flx_durable *durable;
    uint64_t offset; /* of the record */
    flx_job *job;
    uint32_t entry; /* of the job's batch that it is for; NO_ENTRY: there is none */
    uint32_t id;
    uint32_t shard;
    uint32_t round;
} fetch;

uint32_t flx_cache_read_hold(flx_cache_state *state)
{
    state->reads++;
    return state->round;
}

void flx_cache_read_release(flx_cache_state *state, uint32_t round)
{
    FLX_ASSERT(state->reads > 0);
    state->reads--;
    if (round != state->round) {
        FLX_ASSERT(state->old_reads > 0);
        state->old_reads--;
    }
}

/* The put at an offset, in a block that should have it. */
static flx_status find_put(const flx_range *block, uint64_t offset, flx_change *ret_change)
{
    flx_slice rest = flx_range_slice(block);
    flx_stored stored;
    while (flx_stored_next(&rest, &stored)) {
        if (stored.kind != FLX_STORED_CACHE || offset < stored.base_offset ||
            offset >= flx_stored_end(&stored)) {
            continue;
        }
        flx_slice records = stored.region;
        flx_slice record = {NULL, 0};
        for (uint64_t at = stored.base_offset; at <= offset; at++) {
            if (!flx_records_next(&records, &record)) {
                return FLX_ERR_CORRUPT;
            }
        }
        return flx_change_read(record, ret_change, NULL) == FLX_OK &&
                       ret_change->kind == FLX_CHANGE_KIND_PUT
                   ? FLX_OK
                   : FLX_ERR_CORRUPT;
    }
    return FLX_ERR_CORRUPT;
}

/* The value as something the answer can keep; from now on in memory too. */
static flx_status fetch_take(const fetch *self, const flx_range *block, flx_range *ret_value)
{
    flx_worker *worker = self->durable->worker;
    flx_change change;
    const flx_status status = find_put(block, self->offset, &change);
    if (status != FLX_OK) {
        return status;
    }
    if (change.value.len >= FLX_CACHE_CHUNK_BYTES) {
        const uint32_t start = (uint32_t)(change.value.ptr - block->chunk->data);
        *ret_value =
            (flx_range){flx_chunk_ref(block->chunk), start, start + (uint32_t)change.value.len};
    } else if (change.value.len > 0 &&
               !flx_scratch_copy(&worker->transit, change.value, ret_value)) {
        return FLX_ERR_NOMEM;
    }
    const flx_cache_state *state = flx_cache_state_find(worker, self->id, self->shard);
    if (state != NULL) {
        flx_cache_shard_bring(state->shard, change.key, self->offset, change.value, block->chunk);
    }
    return FLX_OK;
}

/* Takes the value. */
static void fetch_tell(flx_worker *worker, flx_job *job, uint32_t entry, flx_status status,
                       flx_range value)
{
    if (entry != NO_ENTRY) {
        flx_op_batch_fetched(worker, job, entry, status, value);
        return;
    }
    job->status = status;
    job->value = value;
    flx_job_again(worker, job);
}

static void fetch_end(fetch *self)
{
    flx_worker *worker = self->durable->worker;
    flx_cache_state *state = flx_cache_state_find(worker, self->id, self->shard);
    flx_range value = {NULL, 0, 0};
    flx_status status = self->read.status;
    if (status == FLX_OK) {
        status = self->read.range.chunk == NULL ? FLX_ERR_CORRUPT
                                                : fetch_take(self, &self->read.range, &value);
    }
    if (self->read.status == FLX_OK) {
        flx_chunk_unref(self->read.range.chunk);
        flx_stat_add(&worker->stats.log_blocks_read, 1);
    }
    if (status == FLX_ERR_CORRUPT || status == FLX_ERR_IO) {
        flx_durable_tell(self->durable, FLX_LOG_UNREAD, &self->read.error);
    }
    if (state != NULL) {
        flx_cache_read_release(state, self->round);
    }
    fetch_tell(worker, self->job, self->entry, status, value);
    flx_free(self);
}

/* From a completion. */
static void on_fetched(flx_journal_read *read)
{
    fetch_end(read->arg);
}

static void fetch_begin(flx_durable *durable, flx_job *job, uint32_t entry, uint64_t version)
{
    fetch *self = flx_calloc(1, sizeof *self);
    if (self == NULL) {
        fetch_tell(durable->worker, job, entry, FLX_ERR_NOMEM, (flx_range){NULL, 0, 0});
        return;
    }
    self->durable = durable;
    self->offset = version;
    self->job = job;
    self->entry = entry;
    self->id = durable->owned->view.id & ~FLX_CACHE_LOG;
    self->shard = durable->owned->view.shard;
    self->read.offset = version;
    self->read.done = on_fetched;
    self->read.arg = self;
    self->round = flx_cache_read_hold(durable->owned->cache);
    if (flx_journal_read_begin(durable->journal, &self->read)) {
        fetch_end(self);
    }
}

void flx_cache_fetch(flx_durable *durable, flx_job *job, uint64_t version)
{
    fetch_begin(durable, job, NO_ENTRY, version);
}

void flx_cache_fetch_entry(flx_durable *durable, flx_job *job, uint32_t entry, uint64_t version)
{
    fetch_begin(durable, job, entry, version);
}

/* ---- a page of them ---- */

#define AWAY_FIRST 32

struct flx_away {
    flx_journal_read read;
    flx_durable *durable;
    flx_job *job;
    uint64_t *versions;
    uint32_t count;
    uint32_t cap;
    uint32_t next;
    uint32_t id;
    uint32_t shard;
    uint32_t round;
    flx_buffer events;
    flx_change_frames frames; /* in `events` */
};

bool flx_away_add(flx_away **away, const flx_change_frames *form, uint64_t version)
{
    flx_away *self = *away;
    if (self == NULL) {
        self = flx_calloc(1, sizeof *self);
        if (self == NULL) {
            return false;
        }
        *away = self;
        flx_buffer_init(&self->events, FLX_CHANGE_FRAMES_BYTES_MAX);
        flx_change_frames_begin(&self->frames, &self->events, form->form, form->kind, form->end);
    }
    if (self->count == self->cap) {
        const uint32_t cap = self->cap == 0 ? AWAY_FIRST : self->cap * 2;
        uint64_t *versions = flx_realloc(self->versions, cap * sizeof versions[0]);
        if (versions == NULL) {
            return false;
        }
        self->versions = versions;
        self->cap = cap;
    }
    /* In order, so that those of one block are read one behind the other. */
    uint32_t at = self->count++;
    for (; at > 0 && self->versions[at - 1] > version; at--) {
        self->versions[at] = self->versions[at - 1];
    }
    self->versions[at] = version;
    return true;
}

flx_away *flx_away_free(flx_away *away)
{
    if (away != NULL) {
        flx_buffer_done(&away->events);
        flx_free(away->versions);
        flx_free(away);
    }
    return NULL;
}

/* What the log had, behind what memory had. */
static flx_status away_join(flx_worker *worker, flx_away *away)
{
    flx_job *job = away->job;
    const flx_slice first =
        job->value.chunk == NULL ? (flx_slice){NULL, 0} : flx_range_slice(&job->value);
    flx_change_frames_end(&away->frames);
    const flx_slice rest = flx_buffer_slice(&away->events);
    if (rest.len == 0) {
        return FLX_OK;
    }
    uint8_t *to = flx_scratch_reserve(&worker->scratch, first.len + rest.len);
    if (to == NULL) {
        return FLX_ERR_NOMEM;
    }
    if (first.len > 0) {
        memcpy(to, first.ptr, first.len);
    }
    memcpy(to + first.len, rest.ptr, rest.len);
    flx_chunk_unref(job->value.chunk);
    job->value = flx_scratch_commit(&worker->scratch, first.len + rest.len);
    return FLX_OK;
}

static void away_end(flx_away *away)
{
    flx_worker *worker = away->durable->worker;
    flx_job *job = away->job;
    flx_cache_state *state = flx_cache_state_find(worker, away->id, away->shard);
    if (state != NULL) {
        flx_cache_read_release(state, away->round);
    }
    if (job->status == FLX_OK) {
        job->status = away_join(worker, away);
    } else if (job->status == FLX_ERR_CORRUPT || job->status == FLX_ERR_IO) {
        flx_durable_tell(away->durable, FLX_LOG_UNREAD, &away->read.error);
    }
    flx_away_free(away);
    flx_job_again(worker, job);
}

/* The events of all values that are wanted of this block, which has the next one. */
static flx_status away_take(flx_away *away, const flx_range *block)
{
    flx_worker *worker = away->durable->worker;
    bool is_first = true;
    for (; away->next < away->count; away->next++, is_first = false) {
        flx_change change;
        const uint64_t version = away->versions[away->next];
        const flx_status found = find_put(block, version, &change);
        if (found != FLX_OK) {
            return is_first ? found : FLX_OK; /* in another block */
        }
        const flx_status status = flx_change_frames_add(&away->frames, version, &change);
        if (status == FLX_ERR_TOO_LARGE) { /* no client could have it; a get answers the same */
            flx_stat_add(&worker->stats.dropped[FLX_DROP_TOO_LARGE], 1);
        } else if (status != FLX_OK) {
            return status;
        }
    }
    return FLX_OK;
}

/* One block is here; true: it was the last one. */
static bool away_read(flx_away *away)
{
    flx_job *job = away->job;
    flx_journal_read *read = &away->read;
    job->status = read->status;
    if (job->status == FLX_OK) {
        flx_stat_add(&away->durable->worker->stats.log_blocks_read, 1);
        job->status = read->range.chunk == NULL ? FLX_ERR_CORRUPT : away_take(away, &read->range);
        read->range.chunk = flx_chunk_unref(read->range.chunk);
    }
    if (job->status != FLX_OK || away->next == away->count) {
        away_end(away);
        return true;
    }
    return false;
}

static void away_go(flx_away *away)
{
    do {
        away->read.offset = away->versions[away->next];
    } while (flx_journal_read_begin(away->durable->journal, &away->read) && !away_read(away));
}

/* From a completion. */
static void on_away(flx_journal_read *read)
{
    flx_away *away = read->arg;
    if (!away_read(away)) {
        away_go(away);
    }
}

void flx_away_begin(flx_durable *durable, flx_away *away, flx_job *job)
{
    away->durable = durable;
    away->job = job;
    away->id = job->id;
    away->shard = job->shard;
    away->round = flx_cache_read_hold(durable->owned->cache);
    away->read.done = on_away;
    away->read.arg = away;
    away_go(away);
}
