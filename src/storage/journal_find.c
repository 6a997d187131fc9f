/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_find.c - the first batch appended at or after a time.
 *
 * Times of batches never go back, so a search in the segments' last times, then in one index, then in one
 * block finds it. The last two happen on an I/O thread.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/journal_int.h"

#define FINDS_MAX 16u

typedef struct search {
    flx_io_job job;
    flx_journal *journal;
    flx_journal_find *find; /* NULL: canceled */
    uint64_t time_us;
    uint64_t segment;
    uint64_t segment_end;
    uint64_t from;
    uint64_t to;
    bool is_sealed;
    uint64_t offset; /* result */
} search;

static flx_status batch_look(void *arg, const flx_stored *stored, uint64_t position)
{
    (void)position;
    search *out = arg;
    if (stored->time_us < out->time_us) {
        return FLX_OK;
    }
    out->offset = stored->base_offset;
    return FLX_ERR_CANCELED; /* found: the scan may end */
}

static flx_status locate(search *out, flx_file *file, flx_error *reterr)
{
    flx_segment_index index;
    uint64_t next = 0;
    flx_status status = flx_segment_index_read(file, out->segment, &index, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_segment_index_find(&index, FLX_SEGMENT_BY_TIME, out->time_us, &out->from, &out->to,
                                    &next);
    if (status != FLX_OK) {
        (void)flx_fail(reterr, status, "the index points outside the data");
    }
    out->to = index.trailer.data_end; /* the first of a later block may be it */
    flx_segment_index_done(&index);
    return status;
}

static void search_run(flx_io_job *job)
{
    search *out = FLX_LIST_OWNER(job, search, job);
    flx_journal *journal = out->journal;
    char path[FLX_DISK_PATH_MAX];
    flx_segment_path(journal->directory, out->segment, path);
    flx_file *file = NULL;
    flx_segment_tally tally;
    flx_segment_tally_init(&tally, out->segment);
    job->status = journal->disk->ops->open(journal->disk, path, FLX_DISK_READ, &file, &job->error);
    if (job->status == FLX_OK && out->is_sealed) {
        job->status = locate(out, file, &job->error);
    }
    if (job->status == FLX_OK) {
        const flx_segment_scan scan = {
            .file = file,
            .file_bytes = out->to,
            .block_bytes = journal->options.block_bytes,
            .tag = journal->tag,
            .is_compacted = true,
            .joins = true,
            .each = batch_look,
            .arg = out,
        };
        tally.position = out->from;
        out->offset = out->segment_end;
        job->status = flx_segment_scan_run(&scan, &tally, &job->error);
        if (job->status == FLX_ERR_CANCELED) {
            job->status = FLX_OK;
        } else if (job->status == FLX_OK && tally.position < out->to) {
            job->status = flx_fail(&job->error, FLX_ERR_CORRUPT, "'%s' breaks off at byte %llu",
                                   path, (unsigned long long)tally.position);
        }
    }
    flx_segment_tally_done(&tally);
    (void)flx_disk_close(file);
}

static void search_done(flx_io_job *job)
{
    search *out = FLX_LIST_OWNER(job, search, job);
    flx_journal *journal = out->journal;
    flx_journal_find *find = out->find;
    journal->searching--;
    const uint64_t start = journal->record.start;
    const uint64_t visible = flx_journal_visible_end(journal);
    find->status = job->status;
    if (job->status == FLX_ERR_NOT_FOUND) { /* retention was faster */
        find->status = FLX_OK;
        out->offset = start;
    }
    if (find->status != FLX_OK) {
        find->error = job->error;
    }
    find->offset = out->offset < start ? start : out->offset;
    find->offset = find->offset > visible ? visible : find->offset;
    find->done(find);
    flx_free(out);
    flx_journal_pump(journal);
}

/* The first sealed segment whose newest record is not older than `time_us`; NULL: the active one. */
static const flx_sealed_segment *sealed_for(const flx_journal *journal, uint64_t time_us)
{
    size_t low = 0;
    size_t high = journal->sealed_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (journal->sealed[middle].time_last_us < time_us) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == journal->sealed_count ? NULL : &journal->sealed[low];
}

static void active_from(const flx_segment_tally *tally, search *out)
{
    out->from = FLX_SEGMENT_HEADER_BYTES;
    for (uint32_t i = 0; i < tally->mark_count && tally->marks[i].time_us < out->time_us; i++) {
        out->from = tally->marks[i].position;
    }
    out->to = tally->position;
    out->segment_end = tally->end;
}

static bool answer(flx_journal_find *find, flx_status status, uint64_t offset)
{
    find->status = status;
    find->offset = offset;
    if (status != FLX_OK) {
        (void)flx_fail(&find->error, status, "%s", flx_status_text(status));
    }
    return true;
}

bool flx_journal_find_begin(flx_journal *journal, flx_journal_find *find)
{
    FLX_ASSERT(journal->io != NULL);
    if (journal->is_closing) {
        return answer(find, FLX_ERR_CLOSED, 0);
    }
    const flx_sealed_segment *sealed = sealed_for(journal, find->time_us);
    if (sealed == NULL &&
        (journal->tally.batches == 0 || journal->tally.time_last_us < find->time_us)) {
        return answer(find, FLX_OK, flx_journal_visible_end(journal));
    }
    if (journal->searching >= FINDS_MAX) {
        return answer(find, FLX_ERR_AGAIN, 0);
    }
    search *out = flx_calloc(1, sizeof *out);
    if (out == NULL) {
        return answer(find, FLX_ERR_NOMEM, 0);
    }
    out->journal = journal;
    out->find = find;
    out->time_us = find->time_us;
    if (sealed != NULL) {
        out->is_sealed = true;
        out->segment = sealed->base;
        out->segment_end = sealed->end;
    } else {
        out->segment = journal->tally.base;
        active_from(&journal->tally, out);
    }
    out->job.kind = FLX_IO_CALL;
    out->job.run = search_run;
    out->job.done = search_done;
    journal->searching++;
    flx_io_submit(journal->io, &out->job);
    return false;
}
