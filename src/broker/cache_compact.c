/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_compact.c - when and how the log of a cache is rid of what is not there any more.
 *
 *     too long ──► GATHERING ──► SORTING ──► WAITING ──► RUNNING ──► done
 *                  offsets of    on an I/O   until all   one run of sealed segments after
 *                  what is       thread      is synced   another, on an I/O thread
 *                  there, some a tick
 *
 * What is kept are the newest records of keys and counters. Every key that is changed while offsets are
 * gathered has its newest record behind `below`, where nothing is taken away. That record may replace
 * one that is acknowledged, so nothing is taken before all that was appended by then is synced: a crash
 * in between would lose both (CACHE.md, rule 21).
 *
 * Deletes are not kept. They go with, or after, the older records of their key, because segments are
 * rewritten from the first one on, and each rewrite is whole or not at all.
 *
 * The list of offsets costs 8 bytes an entry while this goes on. Without memory for it, or after a
 * failure, the next try is when the log has grown by half.
 */
#include "broker/cache.h"
#include "broker/cache_state_int.h"
#include "broker/counter.h"
#include "broker/durable_int.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/list.h"

#include <stdlib.h>

#define FLOOR_BYTES    (UINT64_C(1) << 20) /* a shorter log is left alone */
#define LIVE_FACTOR    4                   /* and one of less than so many times what is there */
#define GATHER_ENTRIES 4096                /* a tick */
#define KEEP_FIRST     1024

typedef enum phase { GATHERING, SORTING, WAITING, RUNNING } phase;

typedef struct flx_cache_compaction {
    flx_cache_state *state; /* NULL: the cache is gone, and this ends with what is under way */
    phase phase;
    uint64_t below;    /* offset: segments that end here or before are compacted */
    uint64_t safe_end; /* offset: to be synced first */
    uint64_t *keep;
    size_t keep_count;
    size_t keep_cap;
    bool is_out_of_memory;
    flx_cache_cursor cursor;
    flx_io_job sort;
    flx_journal_errand errand;
} flx_cache_compaction;

static void compaction_free(flx_cache_compaction *self)
{
    flx_free(self->keep);
    flx_free(self);
}

static void end(flx_cache_compaction *self)
{
    flx_cache_state *state = self->state;
    if (state != NULL) {
        flx_journal_marks marks;
        flx_journal_get_marks(state->owned->durable->journal, &marks);
        state->compacted_bytes = marks.bytes;
        state->compaction = NULL;
    }
    compaction_free(self);
}

/* ---- gathering ---- */

static bool keep_add(flx_cache_compaction *self, uint64_t offset)
{
    if (offset >= self->below) {
        return true;
    }
    if (self->keep_count == self->keep_cap) {
        const size_t cap = self->keep_cap == 0 ? KEEP_FIRST : self->keep_cap * 2;
        uint64_t *keep = flx_realloc(self->keep, cap * sizeof keep[0]);
        if (keep == NULL) {
            self->is_out_of_memory = true;
            return false;
        }
        self->keep = keep;
        self->keep_cap = cap;
    }
    self->keep[self->keep_count++] = offset;
    return true;
}

static bool keep_item(void *arg, const flx_cache_item *item)
{
    return keep_add(arg, item->version);
}

static int by_offset(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right ? 1 : 0;
}

/* On an I/O thread, where it may take its time, and qsort may allocate. */
static void run_sort(flx_io_job *job)
{
    const flx_cache_compaction *self = FLX_LIST_OWNER(job, flx_cache_compaction, sort);
    if (self->keep_count > 1) {
        qsort(self->keep, self->keep_count, sizeof self->keep[0], by_offset);
    }
    job->status = FLX_OK;
}

static void on_sorted(flx_io_job *job)
{
    flx_cache_compaction *self = FLX_LIST_OWNER(job, flx_cache_compaction, sort);
    self->phase = WAITING;
    if (self->state == NULL) {
        end(self);
    } else {
        flx_durable_moved(self->state->owned->durable);
    }
}

/* Some more entries; when it has all of them they are sorted. */
static void gather(flx_cache_compaction *self)
{
    flx_cache_state *state = self->state;
    flx_owned *owned = state->owned;
    uint64_t offset;
    size_t walk = 0;
    /* No time: what has expired counts until its delete is written. */
    (void)flx_cache_shard_list(state->shard, (flx_slice){NULL, 0}, 0, GATHER_ENTRIES, &self->cursor,
                               keep_item, self);
    if (self->cursor.is_done && !self->is_out_of_memory) {
        (void)keep_add(self, 0); /* the beginning of the log */
        while (flx_counters_next(&state->counters, &walk, &offset) && keep_add(self, offset)) {
        }
    }
    if (self->is_out_of_memory) {
        end(self);
    } else if (!self->cursor.is_done) {
        flx_durable_moved(owned->durable); /* in the next tick */
    } else {
        self->safe_end = owned->shard.next_offset;
        state->old_reads = state->reads;
        state->round++;
        self->phase = SORTING;
        self->sort = (flx_io_job){.kind = FLX_IO_CALL, .run = run_sort, .done = on_sorted};
        flx_io_submit(state->worker->io, &self->sort);
    }
}

/* ---- running ---- */

static void on_run(flx_journal_errand *errand)
{
    flx_cache_compaction *self = errand->arg;
    const flx_cache_state *state = self->state;
    self->phase = WAITING;
    if (state == NULL) {
        end(self);
        return;
    }
    flx_durable *durable = state->owned->durable;
    flx_durable_moved(durable);
    if (errand->status == FLX_OK) {
        flx_stat_add(&state->worker->stats.log_compactions, 1);
        return; /* and on with the next run of segments */
    }
    if (errand->status == FLX_ERR_CORRUPT || errand->status == FLX_ERR_IO) {
        flx_durable_tell(durable, FLX_LOG_UNREAD, &errand->error);
    }
    end(self); /* FLX_ERR_CONFLICT: nothing is left to do */
}

static void run(flx_cache_compaction *self)
{
    flx_cache_state *state = self->state;
    flx_journal *journal = state->owned->durable->journal;
    if (flx_journal_synced(journal) < self->safe_end) {
        flx_journal_sync_soon(journal); /* with some rules nobody else asks for it */
        flx_durable_staged(state->owned->durable);
        return; /* looked at again when the log moves */
    }
    if (state->old_reads > 0) {
        return; /* the same */
    }
    self->phase = RUNNING;
    self->errand = (flx_journal_errand){.done = on_run, .arg = self};
    flx_journal_compact_begin(journal, self->below, self->keep, self->keep_count, &self->errand);
}

/* ---- when ---- */

static bool is_too_long(const flx_cache_state *state)
{
    flx_journal_marks marks;
    flx_journal_get_marks(state->owned->durable->journal, &marks);
    const uint64_t live = flx_cache_shard_record_bytes(state->shard) + state->counters.record_bytes;
    /* Batches have heads, and short records weigh less than those: what compaction left is a measure. */
    return marks.bytes > FLOOR_BYTES && marks.bytes > LIVE_FACTOR * live &&
           marks.bytes > state->compacted_bytes + state->compacted_bytes / 2 &&
           flx_journal_sealed_end(state->owned->durable->journal) > marks.start;
}

static void begin(flx_cache_state *state)
{
    flx_cache_compaction *self = flx_calloc(1, sizeof *self);
    if (self != NULL) { /* else when the log moves again */
        self->state = state;
        self->below = flx_journal_sealed_end(state->owned->durable->journal);
        state->compaction = self;
        gather(self);
    }
}

void flx_cache_compact_look(flx_durable *durable)
{
    flx_cache_state *state = durable->owned->cache;
    if (state == NULL || durable->state != FLX_DURABLE_OPEN) {
        return;
    }
    if (state->compaction == NULL) {
        if (is_too_long(state)) {
            begin(state);
        }
        return;
    }
    switch (state->compaction->phase) {
    case GATHERING:
        gather(state->compaction);
        return;
    case WAITING:
        run(state->compaction);
        return;
    case SORTING:
    case RUNNING:
        return;
    }
    FLX_UNREACHABLE();
}

const char *flx_cache_compaction_word(const flx_cache_state *state)
{
    static const char *const words[] = {"gathering", "sorting", "waiting", "running"};
    return state->compaction == NULL ? "idle" : words[state->compaction->phase];
}

void flx_cache_state_stop(flx_cache_state *state)
{
    flx_cache_compaction *self = state->compaction;
    if (self == NULL) {
        return;
    }
    state->compaction = NULL;
    self->state = NULL;
    if (self->phase == GATHERING || self->phase == WAITING) {
        compaction_free(self);
    }
}

bool flx_cache_may_be_collapsed(const flx_durable *durable, uint64_t offset)
{
    if (offset < flx_journal_collapsed_below(durable->journal)) {
        return true;
    }
    /* Files change before the mark does: what is read meanwhile may be of either. */
    const flx_cache_state *state = durable->owned == NULL ? NULL : durable->owned->cache;
    const flx_cache_compaction *self = state == NULL ? NULL : state->compaction;
    return self != NULL && self->phase == RUNNING && offset < self->below;
}
