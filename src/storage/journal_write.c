/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_write.c - what goes to the disk: writes, syncs, and the roll to a new segment.
 *
 * The order that makes acknowledgements true (README.md, rules 1 to 4):
 *
 *      write ──► written         one at a time, always right behind the last good one
 *      sync  ──► synced          covers what was written when it began
 *      roll:     footer, sync of the old segment; new segment under another name, synced, renamed,
 *                directory synced; only then the first write into it
 *
 * A write that found no room is made again at the same place, so what it left half done is written
 * over. Any other failure ends the journal: after a failed sync the kernel may have dropped the dirty
 * pages and call the next sync fine, and only reading the disk again tells what is there.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "storage/journal_int.h"

#include <string.h>

#define IOV_CAP_MIN     8u
#define COMMITS_OF_MEAN 8

static flx_journal *journal_of_write(flx_io_job *job)
{
    return FLX_LIST_OWNER(job, flx_journal, write_job);
}

static void synced_up_to(flx_journal *journal, uint64_t offset)
{
    FLX_ASSERT(offset >= journal->synced && offset <= journal->written);
    journal->synced = offset;
    journal->last_sync_ns = journal->now_ns;
    if (offset > journal->record.checkpoint_end) {
        /* Put off by every sync: while appends go on, later batches prove what was synced. */
        journal->checkpoint_due_ns =
            journal->now_ns + journal->options.checkpoint_ms * FLX_NS_PER_MS;
    }
}

/* ---- write ---------------------------------------------------------------------------------- */

static void batch_written(void *arg, const flx_staged *batch)
{
    flx_journal *journal = arg;
    const flx_stored stored = {
        .count = batch->count,
        .base_offset = batch->base_offset,
        .time_us = batch->time_us,
        .epoch = batch->epoch,
        .synced_below = batch->synced_below,
    };
    flx_segment_tally_add(&journal->tally, &stored, batch->bytes, journal->options.block_bytes);
}

static void write_done(flx_io_job *job)
{
    flx_journal *journal = journal_of_write(job);
    journal->is_writing = false;
    if (job->status == FLX_OK) {
        journal->writes++;
        journal->write_bytes += journal->stage.writing_bytes;
        journal->syncs += job->sync;
        flx_stage_written(&journal->stage, batch_written, journal);
        journal->written = journal->tally.end;
        journal->state = FLX_JOURNAL_OPEN; /* it may have been full */
        if (job->sync) {
            synced_up_to(journal, journal->written);
        } else if (journal->options.sync == FLX_JOURNAL_SYNC_PERIODIC) {
            flx_journal_due(&journal->sync_due_ns,
                            journal->now_ns + journal->options.sync_period_ms * FLX_NS_PER_MS);
        } else if (journal->options.sync == FLX_JOURNAL_SYNC_ON_COMMIT) {
            flx_journal_due(&journal->sync_due_ns, journal->now_ns); /* the rule came meanwhile */
        }
        journal->moved = true;
    } else {
        journal->stage.writing_batches = 0; /* taken again, or never */
        journal->stage.writing_pieces = 0;
        journal->stage.writing_bytes = 0;
        if (job->status == FLX_ERR_AGAIN && !job->wrote) {
            flx_journal_is_full(journal, &job->error);
        } else {
            flx_journal_fail(journal, &job->error);
        }
    }
    flx_journal_pump(journal);
}

/* Room for the pieces of a write; without memory a few pieces at a time go too. */
static bool iov_reserve(flx_journal *journal)
{
    size_t wanted =
        journal->stage.piece_count < FLX_IO_IOV_MAX ? journal->stage.piece_count : FLX_IO_IOV_MAX;
    wanted = wanted < IOV_CAP_MIN ? IOV_CAP_MIN : wanted;
    if (wanted > journal->iov_cap) {
        struct iovec *grown = flx_realloc(journal->iov, wanted * sizeof grown[0]);
        if (grown != NULL) {
            journal->iov = grown;
            journal->iov_cap = wanted;
        }
    }
    return journal->iov_cap >= IOV_CAP_MIN;
}

void flx_journal_write_start(flx_journal *journal)
{
    FLX_ASSERT(!journal->is_writing && !journal->is_rolling);
    if (!iov_reserve(journal) ||
        flx_segment_tally_reserve(&journal->tally, journal->stage.batch_count, journal->stage.bytes,
                                  journal->options.block_bytes) != FLX_OK) {
        flx_journal_due(&journal->retry_due_ns, journal->now_ns + FLX_NS_PER_S);
        return;
    }
    flx_io_job *job = &journal->write_job;
    job->kind = FLX_IO_WRITE;
    job->file = journal->active;
    job->iov = journal->iov;
    job->iov_count = (uint32_t)flx_stage_take(&journal->stage, journal->iov, journal->iov_cap);
    job->offset = journal->tally.position;
    journal->commit_bytes += (int64_t)(journal->stage.writing_bytes) / COMMITS_OF_MEAN -
                             journal->commit_bytes / COMMITS_OF_MEAN;
    job->sync = journal->options.sync == FLX_JOURNAL_SYNC_ON_COMMIT || journal->is_closing;
    job->done = write_done;
    journal->is_writing = true;
    flx_io_submit(journal->io, job);
}

/* ---- sync ----------------------------------------------------------------------------------- */

static void sync_done(flx_io_job *job)
{
    flx_journal *journal = FLX_LIST_OWNER(job, flx_journal, sync_job);
    journal->is_syncing = false;
    if (job->status != FLX_OK) {
        flx_journal_fail(journal, &job->error);
    } else if (journal->syncing_end > journal->synced) {
        journal->syncs++;
        synced_up_to(journal, journal->syncing_end);
        journal->moved = true;
    }
    flx_journal_pump(journal);
}

void flx_journal_sync_start(flx_journal *journal)
{
    FLX_ASSERT(!journal->is_syncing && !journal->is_rolling);
    flx_io_job *job = &journal->sync_job;
    job->kind = FLX_IO_SYNC;
    job->file = journal->active;
    job->done = sync_done;
    journal->is_syncing = true;
    journal->syncing_end = journal->written;
    journal->sync_due_ns = FLX_JOURNAL_NEVER;
    flx_io_submit(journal->io, job);
}

/* ---- roll ----------------------------------------------------------------------------------- */

/* On an I/O thread: the worker only reads what this reads, and changes nothing until it is done. */
static void roll_run(flx_io_job *job)
{
    flx_journal *journal = FLX_LIST_OWNER(job, flx_journal, roll_job);
    job->status = flx_segment_seal(journal->active, &journal->tally, &job->error);
    if (job->status == FLX_OK) {
        job->status = flx_segment_create(journal->disk, journal->directory, &journal->roll_header,
                                         &journal->roll_file, &job->error);
    }
}

static void roll_done(flx_io_job *job)
{
    flx_journal *journal = FLX_LIST_OWNER(job, flx_journal, roll_job);
    journal->is_rolling = false;
    if (job->status == FLX_OK) {
        const uint64_t footer_bytes = (uint64_t)journal->tally.mark_count * FLX_SEGMENT_MARK_BYTES +
                                      FLX_SEGMENT_TRAILER_BYTES;
        flx_journal_sealed_add(journal, &journal->tally, journal->tally.position + footer_bytes,
                               false);
        (void)flx_disk_close(journal->active);
        journal->active = journal->roll_file;
        journal->roll_file = NULL;
        flx_segment_tally_done(&journal->tally);
        flx_segment_tally_init(&journal->tally, journal->roll_header.base_offset);
        journal->room_end = 0;
        journal->has_no_room = false;
        journal->state = FLX_JOURNAL_OPEN;
        synced_up_to(journal, journal->written); /* sealing synced the rest */
        journal->retain_due_ns = journal->now_ns;
        flx_journal_errand_push(journal, &journal->checkpoint, ERRAND_CHECKPOINT);
        journal->moved = true;
    } else if (job->status == FLX_ERR_AGAIN || job->status == FLX_ERR_NOMEM) {
        flx_journal_is_full(journal, &job->error);
    } else {
        flx_journal_fail(journal, &job->error);
    }
    flx_journal_pump(journal);
}

void flx_journal_roll_start(flx_journal *journal)
{
    FLX_ASSERT(!journal->is_writing && !journal->is_syncing && !journal->is_rolling);
    if (flx_journal_sealed_reserve(journal) != FLX_OK) {
        flx_journal_due(&journal->retry_due_ns, journal->now_ns + FLX_NS_PER_S);
        return;
    }
    journal->roll_header = (flx_segment_header){
        .base_offset = journal->tally.end,
        .epoch = flx_journal_epoch(journal),
        .created_us = journal->now_us,
    };
    memcpy(journal->roll_header.store_id, flx_store_id(journal->store), FLX_DISK_ID_BYTES);
    memcpy(journal->roll_header.log_id, journal->log_id, FLX_DISK_ID_BYTES);
    flx_io_job *job = &journal->roll_job;
    job->kind = FLX_IO_CALL;
    job->run = roll_run;
    job->done = roll_done;
    journal->is_rolling = true;
    flx_io_submit(journal->io, job);
}
