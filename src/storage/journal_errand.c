/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_errand.c - changes of a log's state file, one at a time.
 *
 * An errand says what the state file is to say next; an I/O thread replaces the file (written, synced,
 * renamed, directory synced), and only then is it so for the journal and for who asked. What a crash
 * leaves is the old file or the new one, and either is true:
 *
 *      checkpoint   the old one promises less than there is
 *      retain       the new one first, then the segments go; leftovers are removed at the next opening
 *      epoch        nothing was appended with it yet
 *      promise      nothing was answered yet
 *      compact      the files first, each by a rename; collapsed_below before them (journal_compact.c)
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"
#include "storage/journal_int.h"

#include <string.h>

/* ---- records -------------------------------------------------------------------------------- */

static flx_status record_copy(const flx_journal_record *from, flx_journal_record *ret_to)
{
    const uint32_t cap = from->epoch_count + 1; /* an errand adds one at the most */
    flx_log_epoch *epochs = flx_calloc(cap, sizeof epochs[0]);
    if (epochs == NULL) {
        return FLX_ERR_NOMEM;
    }
    memcpy(epochs, from->epochs, from->epoch_count * sizeof epochs[0]);
    *ret_to = *from;
    ret_to->epochs = epochs;
    ret_to->epoch_cap = cap;
    return FLX_OK;
}

void flx_journal_record_done(flx_journal_record *record)
{
    flx_free(record->epochs);
    record->epochs = NULL;
}

flx_status flx_journal_record_encode(const flx_journal *journal, const flx_journal_record *record,
                                     uint8_t **ret_bytes, size_t *ret_len)
{
    flx_log_state state = {
        .promised_epoch = record->promised,
        .checkpoint_epoch = record->checkpoint_epoch,
        .checkpoint_end = record->checkpoint_end,
        .start_offset = record->start,
        .collapsed_below = record->collapsed_below,
        .epochs = record->epochs,
        .epoch_count = record->epoch_count,
        .label = flx_slice_of(journal->label),
    };
    memcpy(state.store_id, flx_store_id(journal->store), FLX_DISK_ID_BYTES);
    memcpy(state.log_id, journal->log_id, FLX_DISK_ID_BYTES);
    const size_t len = flx_log_state_bytes(&state);
    uint8_t *bytes = flx_alloc(len);
    if (bytes == NULL) {
        return FLX_ERR_NOMEM;
    }
    flx_log_state_encode(&state, bytes);
    *ret_bytes = bytes;
    *ret_len = len;
    return FLX_OK;
}

/* Of the history only what is below the start and not the newest of that is of no use any more. */
static void epochs_trim(flx_journal_record *record)
{
    uint32_t drop = 0;
    while (drop + 1 < record->epoch_count &&
           record->epochs[drop + 1].first_offset <= record->start) {
        drop++;
    }
    record->epoch_count -= drop;
    memmove(record->epochs, record->epochs + drop, record->epoch_count * sizeof record->epochs[0]);
}

/* ---- retention ------------------------------------------------------------------------------ */

/* How many of the oldest sealed segments are to go, and what is left. Readers of what is not yet
 * visible still need it, whatever the bounds say. */
static size_t retain_count(const flx_journal *journal)
{
    const flx_journal_options *options = &journal->options;
    uint64_t bytes = journal->sealed_bytes + journal->tally.position;
    uint64_t records = journal->sealed_records + journal->tally.records;
    const uint64_t visible = flx_journal_visible_end(journal);
    size_t count = 0;
    for (; count < journal->sealed_count; count++) {
        const flx_sealed_segment *segment = &journal->sealed[count];
        bytes -= segment->bytes;
        records -= segment->records;
        const bool is_over =
            (options->retain_bytes > 0 && bytes >= options->retain_bytes) ||
            (options->retain_records > 0 && records >= options->retain_records) ||
            (options->retain_age_ms > 0 &&
             segment->time_last_us + options->retain_age_ms * 1000 < journal->now_us);
        if (!is_over || segment->end > visible) {
            break;
        }
    }
    return count;
}

bool flx_journal_retain_wants(const flx_journal *journal)
{
    return retain_count(journal) > 0;
}

static flx_status retain_prepare(flx_journal *journal, flx_errand_job *out)
{
    const size_t count = retain_count(journal);
    if (count == 0) {
        return FLX_ERR_CONFLICT;
    }
    out->gone = flx_calloc(count, sizeof out->gone[0]);
    if (out->gone == NULL) {
        return FLX_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        out->gone[i] = journal->sealed[i].base;
    }
    out->gone_count = count;
    out->next.start = journal->sealed[count - 1].end;
    epochs_trim(&out->next);
    return FLX_OK;
}

static void retain_commit(flx_journal *journal, const flx_errand_job *out)
{
    for (size_t i = 0; i < out->gone_count; i++) {
        FLX_ASSERT(journal->sealed[i].base == out->gone[i]);
        journal->sealed_bytes -= journal->sealed[i].bytes;
        journal->sealed_records -= journal->sealed[i].records;
    }
    journal->sealed_count -= out->gone_count;
    memmove(journal->sealed, journal->sealed + out->gone_count,
            journal->sealed_count * sizeof journal->sealed[0]);
    flx_journal_blocks_drop(journal, 0, journal->record.start);
}

/* ---- the errand on its way ------------------------------------------------------------------ */

bool flx_journal_errand_is_out(const flx_journal *journal)
{
    return journal->errand_job.errand != NULL;
}

void flx_journal_errand_push(flx_journal *journal, flx_journal_errand *errand, flx_errand_what what)
{
    if (flx_list_is_linked(&errand->node) || journal->errand_job.errand == errand) {
        FLX_ASSERT(errand == &journal->checkpoint || errand == &journal->retain);
        return; /* ours is already waiting, or on its way and made again when it is due again */
    }
    errand->what = (uint8_t)what;
    errand->journal = journal;
    errand->status = FLX_OK;
    flx_list_push_back(&journal->errands, &errand->node);
}

static flx_status prepare(flx_journal *journal, flx_errand_job *out)
{
    flx_journal_record *next = &out->next;
    flx_journal_errand *errand = out->errand;
    if (journal->state == FLX_JOURNAL_FAILED) {
        return FLX_ERR_IO;
    }
    switch ((flx_errand_what)errand->what) {
    case ERRAND_CHECKPOINT:
        next->checkpoint_end = journal->synced;
        next->checkpoint_epoch = flx_journal_epoch(journal);
        return FLX_OK;
    case ERRAND_RETAIN:
        return retain_prepare(journal, out);
    case ERRAND_PROMISE:
        if (errand->number < next->promised) {
            return FLX_ERR_CONFLICT;
        }
        next->promised = errand->number;
        return FLX_OK;
    case ERRAND_EPOCH:
        if (errand->number <= flx_journal_epoch(journal) || errand->number < next->promised ||
            next->epoch_count == FLX_LOG_STATE_EPOCHS_MAX) {
            return FLX_ERR_CONFLICT;
        }
        next->promised = errand->number;
        next->epochs[next->epoch_count] = (flx_log_epoch){errand->number, journal->end};
        next->epoch_count++;
        return FLX_OK;
    case ERRAND_COMPACT:
        return flx_journal_compact_prepare(journal, out);
    }
    FLX_UNREACHABLE();
}

/* On an I/O thread. */
static void errand_run(flx_io_job *job)
{
    flx_errand_job *out = FLX_LIST_OWNER(job, flx_errand_job, job);
    flx_journal *journal = out->journal;
    if (out->compaction != NULL) {
        job->status = flx_journal_compact_rewrite(out->compaction, &job->error);
    }
    if (job->status == FLX_OK) {
        job->status = flx_disk_replace(journal->disk, journal->directory, "state", out->bytes,
                                       out->len, &job->error);
    }
    if (job->status == FLX_OK && out->compaction != NULL) {
        job->status = flx_journal_compact_replace(out->compaction, &job->error);
    }
    for (size_t i = 0; i < out->gone_count && job->status == FLX_OK; i++) {
        char path[FLX_DISK_PATH_MAX];
        flx_segment_path(journal->directory, out->gone[i], path);
        (void)journal->disk->ops->unlink(journal->disk, path,
                                         NULL); /* else the next opening does */
    }
}

/* The executor has cleared the status of a job when it runs: a refusal waits beside it. */
static void refused_run(flx_io_job *job)
{
    const flx_errand_job *out = FLX_LIST_OWNER(job, flx_errand_job, job);
    job->status = flx_fail(&job->error, out->refusal, "log '%s': %s", out->journal->name,
                           out->refusal == FLX_ERR_IO ? "it has failed before"
                                                      : flx_status_text(out->refusal));
}

static void errand_commit(flx_journal *journal, flx_errand_job *out)
{
    const uint32_t epoch_cap = out->next.epoch_cap;
    flx_journal_record_done(&journal->record);
    journal->record = out->next;
    journal->record.epoch_cap = epoch_cap;
    out->next.epochs = NULL;
    if (out->errand->what == ERRAND_RETAIN) {
        retain_commit(journal, out);
    } else if (out->errand->what == ERRAND_COMPACT) {
        flx_journal_compact_commit(journal, out);
    }
    if (out->errand->what != ERRAND_CHECKPOINT) {
        journal->moved = true;
    }
}

static void errand_done(flx_io_job *job)
{
    flx_errand_job *out = FLX_LIST_OWNER(job, flx_errand_job, job);
    flx_journal *journal = out->journal;
    flx_journal_errand *errand = out->errand;
    errand->status = job->status;
    if (job->status == FLX_OK) {
        errand_commit(journal, out);
    } else {
        errand->error = job->error;
        /* No room, no memory and refusals come before or instead of a change; anything else means
         * that the disk does not do what it says. */
        if (job->status == FLX_ERR_IO && out->refusal == FLX_OK) {
            flx_journal_fail(journal, &job->error);
        }
    }
    if (errand->what == ERRAND_EPOCH) {
        journal->is_changing_epoch = false;
    }
    out->compaction = flx_journal_compact_free(out->compaction);
    flx_journal_record_done(&out->next);
    flx_free(out->bytes);
    flx_free(out->gone);
    out->bytes = NULL;
    out->gone = NULL;
    out->gone_count = 0;
    out->errand = NULL;
    if (errand->done != NULL) {
        errand->done(errand); /* which may begin another */
    }
    flx_journal_pump(journal);
}

void flx_journal_errand_start(flx_journal *journal)
{
    flx_errand_job *out = &journal->errand_job;
    if (out->errand != NULL || flx_list_is_empty(&journal->errands)) {
        return;
    }
    flx_list *node = flx_list_pop_front(&journal->errands);
    out->errand = FLX_LIST_OWNER(node, flx_journal_errand, node);
    out->journal = journal;
    out->refusal = record_copy(&journal->record, &out->next);
    if (out->refusal == FLX_OK) {
        out->refusal = prepare(journal, out);
    }
    if (out->refusal == FLX_OK) {
        out->refusal = flx_journal_record_encode(journal, &out->next, &out->bytes, &out->len);
    }
    out->job.kind = FLX_IO_CALL;
    out->job.run = out->refusal == FLX_OK ? errand_run : refused_run;
    out->job.done = errand_done;
    flx_io_submit(journal->io, &out->job);
}

/* ---- what the broker asks for --------------------------------------------------------------- */

void flx_journal_epoch_begin(flx_journal *journal, uint64_t epoch, flx_journal_errand *errand)
{
    errand->number = epoch;
    journal->is_changing_epoch = true;
    flx_journal_errand_push(journal, errand, ERRAND_EPOCH);
    flx_journal_errand_start(journal);
}

void flx_journal_promise_begin(flx_journal *journal, uint64_t epoch, flx_journal_errand *errand)
{
    errand->number = epoch;
    flx_journal_errand_push(journal, errand, ERRAND_PROMISE);
    flx_journal_errand_start(journal);
}

uint64_t flx_journal_promised(const flx_journal *journal)
{
    return journal->record.promised;
}

size_t flx_journal_epochs(const flx_journal *journal, flx_log_epoch *epochs, size_t cap)
{
    const flx_journal_record *record = &journal->record;
    for (size_t i = 0; i < record->epoch_count && i < cap; i++) {
        epochs[i] = record->epochs[record->epoch_count - 1 - i];
    }
    return record->epoch_count;
}
