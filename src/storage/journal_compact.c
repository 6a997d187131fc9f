/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_compact.c - sealed segments written again without the records nobody needs.
 *
 *      before   | 0 .. 99          | 100 .. 199       |       two segments
 *      after    | 7, 31..33, 180, 181                 |       one, which covers 0 .. 199 all the same
 *
 * Offsets stay: every run of neighbours that are kept becomes a batch with the head of the batch they
 * were in, and skipped_before says how many offsets right below it are gone. What a crash leaves:
 *
 *      1. the new segment under a name of its own, synced     a leftover, removed at the next opening
 *      2. collapsed_below in the state file, synced           watchers are sent to a snapshot too early
 *      3. renamed over the first segment, directory synced    the others begin below its end: leftovers
 *      4. the others removed                                  done
 *
 * A batch with columns, or one that is neither data nor of a cache, is kept or left whole: what its
 * parts mean is not known here.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/journal_int.h"
#include "wire/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct flx_compaction {
    flx_journal *journal; /* read on the I/O thread: what does not change while attached */
    uint64_t *bases;      /* of the segments, rising */
    size_t count;
    uint64_t end; /* of the last one */
    const uint64_t *keep;
    size_t keep_count;
    size_t keep_next; /* the first that is not below what was looked at */
    flx_segment_header header;
    flx_segment_tally tally; /* of the new segment */
    uint64_t time_last_us;   /* of the old ones */
    flx_file *file;
    char temporary[FLX_DISK_PATH_MAX];
    uint64_t bytes; /* of the new file */
    flx_error *reterr;
};

/* ---- which ---------------------------------------------------------------------------------- */

static size_t keep_below(const uint64_t *keep, size_t count, uint64_t offset)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (keep[middle] < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_worth_it(const flx_journal_errand *errand, const flx_sealed_segment *segment)
{
    const size_t kept = keep_below(errand->keep, errand->keep_count, segment->end) -
                        keep_below(errand->keep, errand->keep_count, segment->base);
    return kept < segment->records;
}

/* The first run of segments in which something can go, as long as they have together what one errand
 * should read. */
static size_t choose(const flx_journal *journal, const flx_journal_errand *errand,
                     size_t *ret_first)
{
    size_t first = 0;
    while (first < journal->sealed_count && journal->sealed[first].end <= errand->number &&
           !is_worth_it(errand, &journal->sealed[first])) {
        first++;
    }
    uint64_t bytes = 0;
    size_t count = 0;
    while (first + count < journal->sealed_count) {
        const flx_sealed_segment *segment = &journal->sealed[first + count];
        bytes += segment->bytes;
        if (segment->end > errand->number ||
            (count > 0 && bytes > 4 * journal->options.segment_bytes)) {
            break;
        }
        count++;
    }
    *ret_first = first;
    return count;
}

flx_status flx_journal_compact_prepare(flx_journal *journal, flx_errand_job *out)
{
    const flx_journal_errand *errand = out->errand;
    size_t first = 0;
    const size_t count = choose(journal, errand, &first);
    if (count == 0) {
        return FLX_ERR_CONFLICT;
    }
    flx_compaction *compaction = flx_calloc(1, sizeof *compaction);
    uint64_t *bases = flx_calloc(count, sizeof bases[0]);
    if (compaction == NULL || bases == NULL) {
        flx_free(compaction);
        flx_free(bases);
        return FLX_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        bases[i] = journal->sealed[first + i].base;
    }
    const flx_sealed_segment *last = &journal->sealed[first + count - 1];
    compaction->journal = journal;
    compaction->bases = bases;
    compaction->count = count;
    compaction->end = last->end;
    compaction->time_last_us = last->time_last_us;
    compaction->keep = errand->keep;
    compaction->keep_count = errand->keep_count;
    compaction->keep_next = keep_below(errand->keep, errand->keep_count, bases[0]);
    compaction->header = (flx_segment_header){
        .base_offset = bases[0],
        .epoch = flx_journal_epoch(journal),
        .created_us = journal->now_us,
        .is_compacted = true,
    };
    memcpy(compaction->header.store_id, flx_store_id(journal->store), FLX_DISK_ID_BYTES);
    memcpy(compaction->header.log_id, journal->log_id, FLX_DISK_ID_BYTES);
    flx_segment_tally_init(&compaction->tally, bases[0]);
    out->compaction = compaction;
    if (compaction->end > out->next.collapsed_below) {
        out->next.collapsed_below = compaction->end;
    }
    return FLX_OK;
}

/* ---- rewriting ------------------------------------------------------------------------------ */

/* Writes `count` records of `from` that begin at `region`, with the head they had. */
static flx_status run_write(flx_compaction *compaction, const flx_stored *from, uint64_t base,
                            uint32_t count, flx_slice region)
{
    flx_segment_tally *tally = &compaction->tally;
    flx_stored stored = *from;
    stored.base_offset = base;
    stored.skipped_before = base - tally->end;
    stored.count = count;
    stored.region = region;
    const size_t bytes = flx_stored_bytes(&stored);
    const uint32_t block_bytes = compaction->journal->options.block_bytes;
    uint8_t *buffer = flx_alloc(bytes);
    if (buffer == NULL || flx_segment_tally_reserve(tally, 1, bytes, block_bytes) != FLX_OK) {
        flx_free(buffer);
        return flx_fail(compaction->reterr, FLX_ERR_NOMEM, "compact a segment");
    }
    uint8_t *at = flx_stored_head_encode(&stored, buffer);
    if (region.len > 0) {
        memcpy(at, region.ptr, region.len);
    }
    (void)flx_stored_columns_encode(&stored, at + region.len);
    const flx_status status =
        flx_disk_write(compaction->file, buffer, bytes, tally->position, compaction->reterr);
    flx_free(buffer);
    if (status == FLX_OK) {
        flx_segment_tally_add(tally, &stored, bytes, block_bytes);
    }
    return status;
}

static bool is_kept(flx_compaction *compaction, uint64_t offset)
{
    while (compaction->keep_next < compaction->keep_count &&
           compaction->keep[compaction->keep_next] < offset) {
        compaction->keep_next++;
    }
    return compaction->keep_next < compaction->keep_count &&
           compaction->keep[compaction->keep_next] == offset;
}

static bool is_indivisible(const flx_stored *stored)
{
    return (stored->kind != FLX_STORED_DATA && stored->kind != FLX_STORED_CACHE) ||
           stored->compression != FLX_COMPRESSION_NONE || flx_stored_columns_bytes(stored) > 0;
}

static flx_status batch_rewrite(void *arg, const flx_stored *stored, uint64_t position)
{
    (void)position;
    flx_compaction *compaction = arg;
    if (is_indivisible(stored)) {
        const bool is_control = stored->kind != FLX_STORED_DATA && stored->kind != FLX_STORED_CACHE;
        const bool has_any =
            keep_below(compaction->keep, compaction->keep_count, flx_stored_end(stored)) >
            keep_below(compaction->keep, compaction->keep_count, stored->base_offset);
        return is_control || has_any ? run_write(compaction, stored, stored->base_offset,
                                                 stored->count, stored->region)
                                     : FLX_OK;
    }
    flx_slice rest = stored->region;
    flx_slice run = {rest.ptr, 0};
    uint32_t run_count = 0;
    for (uint32_t i = 0; i <= stored->count; i++) {
        const uint64_t offset = stored->base_offset + i;
        const uint8_t *begin = rest.ptr;
        flx_slice payload;
        const bool is_there = i < stored->count && flx_records_next(&rest, &payload);
        if (is_there && is_kept(compaction, offset)) {
            run.ptr = run_count == 0 ? begin : run.ptr;
            run_count++;
            run.len = (size_t)(rest.ptr - run.ptr);
            continue;
        }
        if (run_count > 0) {
            const flx_status status =
                run_write(compaction, stored, offset - run_count, run_count, run);
            if (status != FLX_OK) {
                return status;
            }
            run_count = 0;
        }
    }
    return FLX_OK;
}

static flx_status segment_rewrite(flx_compaction *compaction, uint64_t base, flx_error *reterr)
{
    flx_journal *journal = compaction->journal;
    flx_file *file = NULL;
    flx_segment_header header;
    flx_segment_trailer trailer;
    uint64_t file_bytes = 0;
    flx_status status =
        flx_segment_open(journal->disk, journal->directory, base, flx_store_id(journal->store),
                         journal->log_id, FLX_DISK_READ, &file, &header, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_segment_footer_read(file, base, &trailer, &file_bytes, reterr);
    if (status == FLX_OK) {
        const flx_segment_scan scan = {
            .file = file,
            .file_bytes = trailer.data_end,
            .block_bytes = journal->options.block_bytes,
            .tag = journal->tag,
            .is_compacted = header.is_compacted,
            .each = batch_rewrite,
            .arg = compaction,
        };
        flx_segment_tally old;
        flx_segment_tally_init(&old, base);
        status = flx_segment_scan_run(&scan, &old, reterr);
        if (status == FLX_OK && old.position < trailer.data_end) {
            status = flx_fail(reterr, FLX_ERR_CORRUPT,
                              "compact '%s': segment %" PRIu64 " breaks off at byte %" PRIu64,
                              journal->name, base, old.position);
        }
        flx_segment_tally_done(&old);
    }
    (void)flx_disk_close(file);
    return status;
}

flx_status flx_journal_compact_rewrite(flx_compaction *compaction, flx_error *reterr)
{
    flx_journal *journal = compaction->journal;
    compaction->reterr = reterr;
    (void)snprintf(compaction->temporary, sizeof compaction->temporary, "%s/%020" PRIu64 ".tmp",
                   journal->directory, compaction->bases[0]);
    flx_status status = journal->disk->ops->open(journal->disk, compaction->temporary,
                                                 FLX_DISK_CREATE, &compaction->file, reterr);
    if (status != FLX_OK) {
        return status;
    }
    uint8_t bytes[FLX_SEGMENT_HEADER_BYTES];
    flx_segment_header_encode(&compaction->header, bytes);
    status = flx_disk_write(compaction->file, bytes, sizeof bytes, 0, reterr);
    for (size_t i = 0; i < compaction->count && status == FLX_OK; i++) {
        status = segment_rewrite(compaction, compaction->bases[i], reterr);
    }
    if (status == FLX_OK) {
        compaction->tally.end = compaction->end;
        compaction->tally.time_last_us = compaction->time_last_us;
        status = flx_segment_seal(compaction->file, &compaction->tally, reterr);
    }
    if (status == FLX_OK) {
        status = journal->disk->ops->size(compaction->file, &compaction->bytes, reterr);
    }
    compaction->file = flx_disk_close(compaction->file);
    if (status != FLX_OK) {
        (void)journal->disk->ops->unlink(journal->disk, compaction->temporary, NULL);
    }
    return status;
}

flx_status flx_journal_compact_replace(flx_compaction *compaction, flx_error *reterr)
{
    flx_journal *journal = compaction->journal;
    const flx_disk_ops *ops = journal->disk->ops;
    char path[FLX_DISK_PATH_MAX];
    flx_segment_path(journal->directory, compaction->bases[0], path);
    flx_status status = ops->rename(journal->disk, compaction->temporary, path, reterr);
    if (status == FLX_OK) {
        status = ops->sync_dir(journal->disk, journal->directory, reterr);
    }
    for (size_t i = 1; i < compaction->count && status == FLX_OK; i++) {
        flx_segment_path(journal->directory, compaction->bases[i], path);
        (void)ops->unlink(journal->disk, path, NULL); /* else the next opening does */
    }
    return status;
}

void flx_journal_compact_commit(flx_journal *journal, flx_errand_job *out)
{
    const flx_compaction *compaction = out->compaction;
    size_t first = 0;
    while (journal->sealed[first].base != compaction->bases[0]) {
        first++;
        FLX_ASSERT(first < journal->sealed_count);
    }
    for (size_t i = 0; i < compaction->count; i++) {
        journal->sealed_bytes -= journal->sealed[first + i].bytes;
        journal->sealed_records -= journal->sealed[first + i].records;
    }
    journal->sealed[first] = (flx_sealed_segment){
        .base = compaction->tally.base,
        .end = compaction->end,
        .records = compaction->tally.records,
        .time_last_us = compaction->time_last_us,
        .bytes = compaction->bytes,
        .is_compacted = true,
    };
    journal->sealed_bytes += compaction->bytes;
    journal->sealed_records += compaction->tally.records;
    const size_t gone = compaction->count - 1;
    journal->sealed_count -= gone;
    memmove(journal->sealed + first + 1, journal->sealed + first + 1 + gone,
            (journal->sealed_count - first - 1) * sizeof journal->sealed[0]);
    flx_journal_blocks_drop(journal, compaction->tally.base, compaction->end);
}

flx_compaction *flx_journal_compact_free(flx_compaction *compaction)
{
    if (compaction != NULL) {
        flx_segment_tally_done(&compaction->tally);
        flx_free(compaction->bases);
        flx_free(compaction);
    }
    return NULL;
}

void flx_journal_compact_begin(flx_journal *journal, uint64_t below, const uint64_t *keep,
                               size_t keep_count, flx_journal_errand *errand)
{
    errand->number = below;
    errand->keep = keep;
    errand->keep_count = keep_count;
    flx_journal_errand_push(journal, errand, ERRAND_COMPACT);
    flx_journal_errand_start(journal);
}
