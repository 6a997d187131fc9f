/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_room.c - zeros ready behind the tail, so that a sync has only records to write.
 *
 *      | header | batches ... | staged | room: zeros on the disk | being made |
 *                             ^ position                         ^ from       ^ to
 *
 * A write that makes a file longer, or fills blocks that were only set aside, changes the file system's own
 * tables, and its sync must commit those too: on ext4 twice the time of a sync that writes records
 * over blocks of zeros (docs/performance.md, P6). So while commits are small, an I/O thread writes
 * zeros ahead of them, a step at a time: as much as the segment has already, up to `room_bytes`. A log
 * that is hardly used has none, and bulk, whose syncs are long anyway, does not pay twice.
 *
 *   - A write never enters what is being made: it waits, and the maker stops after the piece it is at.
 *   - The maker syncs with an open file of its own. The kernel tells of a failed write-back once for each
 *     open file: had they one between them, it could hear of lost batches and the commit would not.
 *   - A crash leaves zeros behind the last batch. Opening tells them from a torn tail (recovery.c).
 *   - No room for room is no failure: the log goes on without until the next segment.
 */
#include "common/assert.h"
#include "storage/journal_int.h"

#define PIECE_BYTES ((size_t)128 << 10) /* a write that waits for the maker waits for this much */
#define PAGE_BYTES  UINT64_C(4096)
#define STEP_MIN_OF 16 /* the first step is a sixteenth of the largest, and so is a small commit */

/* Never written to: all of it is the kernel's one page of zeros. */
static uint8_t zeros[PIECE_BYTES];

/* On an I/O thread. Sees of the journal only what does not change while it is out. */
static void room_run(flx_io_job *job)
{
    flx_room_job *room = FLX_LIST_OWNER(job, flx_room_job, job);
    const flx_journal *journal = room->journal;
    const flx_disk_ops *ops = journal->disk->ops;
    char path[FLX_DISK_PATH_MAX];
    flx_segment_path(journal->directory, room->base, path);
    flx_file *file = NULL;
    job->status = ops->open(journal->disk, path, FLX_DISK_WRITE, &file, &job->error);
    room->was_opened = job->status == FLX_OK;
    while (job->status == FLX_OK && room->made < room->to &&
           !atomic_load_explicit(&room->is_waited_for, memory_order_relaxed)) {
        const uint64_t left = room->to - room->made;
        const size_t len = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        job->status = flx_disk_write(file, zeros, len, room->made, &job->error);
        if (job->status == FLX_OK) {
            job->status = ops->sync(file, &job->error);
        }
        room->made += job->status == FLX_OK ? len : 0;
    }
    (void)flx_disk_close(file);
}

static void room_done(flx_io_job *job)
{
    flx_room_job *room = FLX_LIST_OWNER(job, flx_room_job, job);
    flx_journal *journal = room->journal;
    room->is_out = false;
    if (room->made > room->from) {
        journal->room_end = room->made;
    }
    if (job->status != FLX_OK && room->was_opened && job->status != FLX_ERR_AGAIN) {
        flx_journal_fail(journal, &job->error); /* README.md, rule 3 */
    } else if (job->status != FLX_OK) {
        journal->has_no_room = true;
    }
    flx_journal_pump(journal);
}

/* Where the next step of room would be; false: none is wanted. */
static bool next_step(const flx_journal *journal, uint64_t *ret_from, uint64_t *ret_to)
{
    const flx_journal_options *options = &journal->options;
    const uint64_t step_max = options->room_bytes;
    const uint64_t position = journal->tally.position;
    const uint64_t step = position < step_max ? position : step_max;
    if (options->sync != FLX_JOURNAL_SYNC_ON_COMMIT || options->room_bytes == FLX_JOURNAL_NO_ROOM ||
        step < step_max / STEP_MIN_OF || journal->commit_bytes > (int64_t)(step_max / STEP_MIN_OF)) {
        return false;
    }
    const uint64_t tail = position + journal->stage.bytes;
    const uint64_t behind = (tail + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    const uint64_t from = journal->room_end > behind ? journal->room_end : behind;
    uint64_t to = from + step;
    to = to > options->segment_bytes ? options->segment_bytes : to;
    *ret_from = from;
    *ret_to = to;
    return from - tail < step / 2 && from < to;
}

void flx_journal_room_start(flx_journal *journal)
{
    flx_room_job *room = &journal->room;
    if (room->is_out || journal->is_rolling || journal->is_closing || journal->has_no_room ||
        !next_step(journal, &room->from, &room->to)) {
        return;
    }
    room->journal = journal;
    room->base = journal->tally.base;
    room->made = room->from;
    room->is_out = true;
    atomic_store_explicit(&room->is_waited_for, false, memory_order_relaxed);
    room->job.kind = FLX_IO_CALL;
    room->job.run = room_run;
    room->job.done = room_done;
    flx_io_submit(journal->io, &room->job);
}

bool flx_journal_room_holds(flx_journal *journal)
{
    flx_room_job *room = &journal->room;
    if (!room->is_out || journal->tally.position + journal->stage.bytes <= room->from) {
        return false;
    }
    atomic_store_explicit(&room->is_waited_for, true, memory_order_relaxed);
    return true;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* On an I/O thread. Without a sync: zeros that come back do no harm. */
static void trim_run(flx_io_job *job)
{
    const flx_room_job *room = FLX_LIST_OWNER(job, flx_room_job, job);
    flx_file *file = room->journal->active;
    (void)file->disk->ops->truncate(file, room->from, NULL);
}

static void trim_done(flx_io_job *job)
{
    flx_room_job *room = FLX_LIST_OWNER(job, flx_room_job, job);
    room->is_out = false;
    room->journal->room_end = 0;
    flx_journal_pump(room->journal);
}

bool flx_journal_room_trim(flx_journal *journal)
{
    flx_room_job *room = &journal->room;
    if (room->is_out || journal->room_end <= journal->tally.position ||
        journal->state != FLX_JOURNAL_OPEN) {
        return room->is_out;
    }
    room->from = journal->tally.position;
    room->is_out = true;
    room->job.run = trim_run;
    room->job.done = trim_done;
    flx_io_submit(journal->io, &room->job);
    return true;
}
