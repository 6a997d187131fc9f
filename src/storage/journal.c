/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal.c - the life of a journal, its marks, appending, and what happens next.
 *
 * Everything that can bring something on its way calls the pump: a tick, and the end of each job. The
 * pump looks at the state as it is and starts what may start, so that no order of completions needs
 * code of its own:
 *
 *      write or roll   one at a time, when something is staged
 *      sync            beside it, when one is due
 *      room            beside both, ahead of the writes (journal_room.c)
 *      errand          beside all, one at a time (journal_errand.c)
 *      the end         when all of these are quiet
 *
 *      OPEN ──no room──► FULL ──written──► OPEN        CLOSED is said by is_closing; the state it was
 *        └──failure──► FAILED (for good)               closed in is kept for those who ask
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "storage/journal_int.h"

#include <string.h>

#define RETAIN_PERIOD_NS (10 * FLX_NS_PER_S)

/* ---- marks ---------------------------------------------------------------------------------- */

uint64_t flx_journal_end(const flx_journal *journal)
{
    return journal->end;
}

uint64_t flx_journal_written(const flx_journal *journal)
{
    return journal->written;
}

uint64_t flx_journal_synced(const flx_journal *journal)
{
    return journal->synced;
}

uint64_t flx_journal_start(const flx_journal *journal)
{
    return journal->record.start;
}

uint64_t flx_journal_collapsed_below(const flx_journal *journal)
{
    return journal->record.collapsed_below;
}

static uint64_t visible_by_policy(const flx_journal *journal)
{
    switch (journal->options.visible) {
    case FLX_JOURNAL_VISIBLE_BY_SYNC:
        return journal->options.sync == FLX_JOURNAL_SYNC_ON_COMMIT ? journal->synced
                                                                   : journal->written;
    case FLX_JOURNAL_VISIBLE_WRITTEN:
        return journal->written;
    case FLX_JOURNAL_VISIBLE_GIVEN:
        return journal->visible_given < journal->written ? journal->visible_given
                                                         : journal->written;
    }
    FLX_UNREACHABLE();
}

uint64_t flx_journal_visible_end(const flx_journal *journal)
{
    const uint64_t visible = visible_by_policy(journal);
    return visible > journal->visible_floor ? visible : journal->visible_floor;
}

void flx_journal_set_policy(flx_journal *journal, const flx_journal_options *options)
{
    flx_journal_options *own = &journal->options;
    journal->visible_floor = flx_journal_visible_end(journal);
    own->sync = options->sync;
    own->sync_period_ms =
        options->sync_period_ms == 0 ? own->sync_period_ms : options->sync_period_ms;
    own->visible = options->visible;
    own->retain_bytes = options->retain_bytes;
    own->retain_age_ms = options->retain_age_ms;
    own->retain_records = options->retain_records;
    if (own->sync != FLX_JOURNAL_SYNC_NONE) {
        flx_journal_sync_soon(journal); /* no write may follow to bring one */
    }
    flx_journal_due(&journal->retain_due_ns, journal->now_ns);
}

void flx_journal_sync_soon(flx_journal *journal)
{
    if (journal->synced < journal->written) {
        flx_journal_due(&journal->sync_due_ns, journal->now_ns);
    }
}

void flx_journal_set_visible(flx_journal *journal, uint64_t offset)
{
    if (offset > journal->visible_given) {
        journal->visible_given = offset;
    }
}

uint64_t flx_journal_epoch(const flx_journal *journal)
{
    FLX_ASSERT(journal->record.epoch_count > 0);
    return journal->record.epochs[journal->record.epoch_count - 1].epoch;
}

const char *flx_journal_label(const flx_journal *journal)
{
    return journal->label;
}

void flx_journal_get_marks(const flx_journal *journal, flx_journal_marks *ret_marks)
{
    *ret_marks = (flx_journal_marks){
        .start = journal->record.start,
        .synced = journal->synced,
        .written = journal->written,
        .visible = flx_journal_visible_end(journal),
        .end = journal->end,
        .collapsed_below = journal->record.collapsed_below,
        .bytes = journal->sealed_bytes + journal->tally.position,
        .segments = (uint32_t)journal->sealed_count + 1,
        .pending_bytes = journal->stage.bytes,
        .last_sync_ns = journal->last_sync_ns,
        .epoch = flx_journal_epoch(journal),
        .writes = journal->writes,
        .write_bytes = journal->write_bytes,
        .syncs = journal->syncs,
    };
}

flx_journal_state flx_journal_state_of(const flx_journal *journal)
{
    return journal->is_closing ? FLX_JOURNAL_CLOSED : journal->state;
}

const flx_error *flx_journal_error(const flx_journal *journal)
{
    return journal->state == FLX_JOURNAL_OPEN ? NULL : &journal->error;
}

uint64_t flx_journal_sealed_end(const flx_journal *journal)
{
    return journal->tally.base;
}

/* ---- states --------------------------------------------------------------------------------- */

void flx_journal_due(uint64_t *due_ns, uint64_t at_ns)
{
    *due_ns = at_ns < *due_ns ? at_ns : *due_ns;
}

void flx_journal_fail(flx_journal *journal, const flx_error *error)
{
    if (journal->state != FLX_JOURNAL_FAILED) {
        journal->state = FLX_JOURNAL_FAILED;
        journal->error = *error;
        flx_error_prefix(&journal->error, "log '%s'", journal->name);
        journal->moved = true;
    }
}

void flx_journal_is_full(flx_journal *journal, const flx_error *error)
{
    if (journal->state == FLX_JOURNAL_OPEN) {
        journal->state = FLX_JOURNAL_FULL;
        journal->error = *error;
        flx_error_prefix(&journal->error, "log '%s'", journal->name);
        journal->moved = true;
    }
    journal->retry_due_ns = journal->now_ns + FLX_NS_PER_S;
}

/* ---- sealed segments ------------------------------------------------------------------------ */

flx_status flx_journal_sealed_reserve(flx_journal *journal)
{
    if (journal->sealed_count < journal->sealed_cap) {
        return FLX_OK;
    }
    const size_t cap = journal->sealed_cap == 0 ? 8 : journal->sealed_cap * 2;
    flx_sealed_segment *grown = flx_realloc(journal->sealed, cap * sizeof grown[0]);
    if (grown == NULL) {
        return FLX_ERR_NOMEM;
    }
    journal->sealed = grown;
    journal->sealed_cap = cap;
    return FLX_OK;
}

void flx_journal_sealed_add(flx_journal *journal, const flx_segment_tally *tally,
                            uint64_t file_bytes, bool is_compacted)
{
    FLX_ASSERT(journal->sealed_count < journal->sealed_cap);
    journal->sealed[journal->sealed_count] = (flx_sealed_segment){
        .base = tally->base,
        .end = tally->end,
        .records = tally->records,
        .time_last_us = tally->time_last_us,
        .bytes = file_bytes,
        .is_compacted = is_compacted,
    };
    journal->sealed_count++;
    journal->sealed_bytes += file_bytes;
    journal->sealed_records += tally->records;
}

/* ---- appending ------------------------------------------------------------------------------ */

static flx_status append_refused(const flx_journal *journal, size_t bytes, flx_error *reterr)
{
    if (journal->is_closing) {
        return flx_fail(reterr, FLX_ERR_CLOSED, "log '%s' is being closed", journal->name);
    }
    if (journal->state != FLX_JOURNAL_OPEN) {
        if (reterr != NULL) {
            *reterr = journal->error;
        }
        return journal->state == FLX_JOURNAL_FULL ? FLX_ERR_AGAIN : FLX_ERR_IO;
    }
    if (journal->is_changing_epoch) {
        return flx_fail(reterr, FLX_ERR_AGAIN, "log '%s' is changing its leader", journal->name);
    }
    if (bytes > FLX_STORED_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "log '%s': a batch of %zu bytes", journal->name,
                        bytes);
    }
    if (journal->stage.bytes + bytes > journal->options.pending_bytes_max &&
        journal->stage.batch_count > 0) {
        return flx_fail(reterr, FLX_ERR_AGAIN, "log '%s': %llu bytes wait for the disk",
                        journal->name, (unsigned long long)journal->stage.bytes);
    }
    return FLX_OK;
}

flx_status flx_journal_append(flx_journal *journal, const flx_journal_batch *batch,
                              uint64_t *ret_offset, flx_error *reterr)
{
    FLX_ASSERT(journal->io != NULL);
    FLX_ASSERT(batch->count > 0);
    flx_stored stored = {
        .tag = journal->tag,
        .kind = batch->kind,
        .count = batch->count,
        .base_offset = journal->end,
        .time_us = batch->time_us < journal->last_time_us ? journal->last_time_us : batch->time_us,
        .epoch = flx_journal_epoch(journal),
        .synced_below = journal->synced,
        .producer_id = batch->producer_id,
        .sequence = batch->sequence,
        .producer_epoch = batch->producer_epoch,
        .publisher = batch->publisher,
        .region = batch->region,
    };
    if (stored.publisher.len > FLX_STORED_PUBLISHER_MAX) {
        stored.publisher.len = FLX_STORED_PUBLISHER_MAX;
    }
    memcpy(stored.columns, batch->columns, sizeof stored.columns);
    flx_status status = append_refused(journal, flx_stored_bytes(&stored), reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_stage_push(&journal->stage, &stored, batch->holder);
    if (status != FLX_OK) {
        return flx_fail(reterr, status, "log '%s': stage a batch", journal->name);
    }
    *ret_offset = journal->end;
    journal->end += batch->count;
    journal->last_time_us = stored.time_us;
    FLX_ASSERT(journal->end > *ret_offset); /* offsets never wrap */
    return FLX_OK;
}

/* ---- what happens next ---------------------------------------------------------------------- */

static bool is_quiet(const flx_journal *journal)
{
    return !journal->is_writing && !journal->is_rolling && !journal->is_syncing &&
           !journal->room.is_out && !flx_journal_errand_is_out(journal) &&
           flx_list_is_empty(&journal->errands) && journal->fetching == 0 &&
           journal->searching == 0;
}

static void start_write_or_roll(flx_journal *journal)
{
    if (journal->is_writing || journal->is_rolling || journal->stage.batch_count == 0 ||
        flx_journal_room_holds(journal)) {
        return;
    }
    if (journal->tally.position < journal->options.segment_bytes || journal->tally.batches == 0) {
        flx_journal_write_start(journal);
    } else if (!journal->is_syncing && !journal->room.is_out) {
        flx_journal_roll_start(journal);
    }
}

static void start_last_things(flx_journal *journal)
{
    if (journal->state == FLX_JOURNAL_OPEN && journal->synced < journal->end) {
        if (!journal->is_writing && !journal->is_rolling && !journal->is_syncing &&
            journal->stage.batch_count == 0) {
            flx_journal_sync_start(journal);
        }
    } else if (flx_journal_room_trim(journal)) {
        return;
    } else if (journal->state == FLX_JOURNAL_OPEN &&
               journal->synced > journal->record.checkpoint_end &&
               journal->checkpoint.status == FLX_OK) {
        flx_journal_errand_push(journal, &journal->checkpoint, ERRAND_CHECKPOINT);
    }
}

static void start_all(flx_journal *journal)
{
    if (journal->state == FLX_JOURNAL_OPEN) {
        start_write_or_roll(journal);
        flx_journal_room_start(journal);
    }
    if (journal->is_closing) {
        start_last_things(journal);
    }
    flx_journal_errand_start(journal);
}

void flx_journal_pump(flx_journal *journal)
{
    if (journal->in_pump) {
        return; /* called by `moved`: the loop below looks again */
    }
    journal->in_pump = true;
    start_all(journal);
    while (journal->moved) {
        journal->moved = false;
        if (journal->events.moved != NULL) {
            journal->events.moved(journal->events.arg, journal);
        }
        start_all(journal);
    }
    journal->in_pump = false;
    if (journal->is_closing && journal->closed != NULL && is_quiet(journal)) {
        void (*const closed)(void *arg, flx_journal *journal) = journal->closed;
        journal->closed = NULL;
        closed(journal->closed_arg, journal); /* which may free it */
    }
}

/* Takes a deadline that is over away; whether it was. */
static bool is_due(uint64_t *due_ns, uint64_t now_ns)
{
    if (*due_ns > now_ns) {
        return false;
    }
    *due_ns = FLX_JOURNAL_NEVER;
    return true;
}

void flx_journal_tick(flx_journal *journal, uint64_t now_ns, uint64_t now_us)
{
    journal->now_ns = now_ns;
    journal->now_us = now_us;
    if (is_due(&journal->retry_due_ns, now_ns) && journal->state == FLX_JOURNAL_FULL &&
        !journal->is_writing && !journal->is_rolling) {
        journal->retry_due_ns = now_ns + FLX_NS_PER_S;
        start_write_or_roll(journal);
    }
    if (journal->state == FLX_JOURNAL_OPEN && journal->sync_due_ns <= now_ns &&
        !journal->is_syncing && !journal->is_rolling) {
        flx_journal_sync_start(journal);
    }
    if (is_due(&journal->checkpoint_due_ns, now_ns)) {
        flx_journal_errand_push(journal, &journal->checkpoint, ERRAND_CHECKPOINT);
    }
    if (is_due(&journal->retain_due_ns, now_ns)) {
        if (journal->options.retain_age_ms > 0) {
            journal->retain_due_ns = now_ns + RETAIN_PERIOD_NS;
        }
        if (flx_journal_retain_wants(journal)) {
            flx_journal_errand_push(journal, &journal->retain, ERRAND_RETAIN);
        }
    }
    flx_journal_pump(journal);
}

uint64_t flx_journal_deadline_ns(const flx_journal *journal)
{
    if (journal->is_closing || journal->state == FLX_JOURNAL_FAILED) {
        return FLX_JOURNAL_NEVER;
    }
    uint64_t due_ns = journal->retry_due_ns;
    /* While a sync is on its way the next one is not due: its end brings a tick's work by itself. */
    flx_journal_due(&due_ns, journal->is_syncing || journal->is_rolling ? FLX_JOURNAL_NEVER
                                                                        : journal->sync_due_ns);
    flx_journal_due(&due_ns, journal->checkpoint_due_ns);
    flx_journal_due(&due_ns, journal->retain_due_ns);
    return due_ns;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void opening_run(flx_io_job *job)
{
    flx_journal_opening *opening = FLX_LIST_OWNER(job, flx_journal_opening, job);
    opening->status =
        flx_journal_open(opening->store, opening->name, opening->may_create, &opening->options,
                         opening->now_us, &opening->journal, &opening->report, &opening->error);
    job->status = opening->status;
}

static void opening_done(flx_io_job *job)
{
    flx_journal_opening *opening = FLX_LIST_OWNER(job, flx_journal_opening, job);
    opening->opened(opening);
}

void flx_journal_open_begin(flx_journal_opening *opening, flx_io *io)
{
    opening->job.kind = FLX_IO_CALL;
    opening->job.run = opening_run;
    opening->job.done = opening_done;
    opening->journal = NULL;
    flx_io_submit(io, &opening->job);
}

void flx_journal_attach(flx_journal *journal, flx_io *io, flx_read_cache *cache,
                        const flx_journal_events *events)
{
    FLX_ASSERT(journal->io == NULL);
    journal->io = io;
    journal->cache = cache;
    if (events != NULL) {
        journal->events = *events;
    }
}

void flx_journal_close(flx_journal *journal, void (*closed)(void *arg, flx_journal *journal),
                       void *arg)
{
    FLX_ASSERT(journal->io != NULL && !journal->is_closing && closed != NULL);
    journal->is_closing = true;
    journal->closed = closed;
    journal->closed_arg = arg;
    journal->checkpoint.status = FLX_OK;
    flx_journal_reads_close(journal);
    /* Through a job, so that `closed` always comes from a completion. */
    if (journal->state != FLX_JOURNAL_FAILED && !journal->is_syncing && !journal->is_rolling) {
        flx_journal_sync_start(journal);
    } else if (is_quiet(journal)) {
        flx_journal_errand_push(journal, &journal->checkpoint, ERRAND_CHECKPOINT);
        flx_journal_errand_start(journal);
    }
}

flx_journal *flx_journal_free(flx_journal *journal)
{
    if (journal == NULL) {
        return NULL;
    }
    FLX_ASSERT(journal->io == NULL || (journal->is_closing && journal->closed == NULL));
    flx_journal_blocks_drop(journal, 0, UINT64_MAX);
    flx_stage_done(&journal->stage);
    flx_segment_tally_done(&journal->tally);
    flx_journal_record_done(&journal->record);
    (void)flx_disk_close(journal->active);
    flx_free(journal->iov);
    flx_free(journal->sealed);
    flx_free(journal->label);
    flx_free(journal);
    return NULL;
}
