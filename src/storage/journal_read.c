/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_read.c - blocks for readers.
 *
 *      read_begin ── a block answers ──► at once
 *          └── none ──► waits ── fetch on an I/O thread ──► block ──► all who wait for what it holds
 *
 * A fetch opens the segment, asks its index where the block lies, reads it in one go, checks every
 * batch and ends before the first that is not visible. Segments are opened for each fetch and closed
 * again: a few microseconds for a quarter of a megabyte, and in return nothing has to be remembered
 * when retention removes one or compaction replaces it. The position in the active segment comes
 * from the tally, which the worker has.
 *
 * Corruption is the answer only to who needs what is broken: whole batches in front of it are served.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/journal_int.h"
#include "storage/read_cache.h"

#include <inttypes.h>
#include <string.h>

#define FETCHES_MAX 4u

typedef struct fetch {
    flx_io_job job;
    flx_list node; /* of journal->fetches */
    flx_journal *journal;
    uint64_t offset;  /* wanted */
    uint64_t visible; /* when it began */
    uint64_t segment; /* base offset */
    uint64_t
        block_end; /* of a sealed one: offset the next block begins with, or the segment ends */
    bool is_sealed;
    bool is_stale; /* blocks were dropped meanwhile: whoever waits asks again */
    uint64_t from; /* positions in the file; of a sealed one from its index */
    uint64_t to;
    flx_chunk *chunk; /* result */
    uint64_t first;   /* result: offsets [first, next) */
    uint64_t next;
} fetch;

/* ---- on an I/O thread ----------------------------------------------------------------------- */

static flx_status sealed_locate(fetch *out, flx_file *file, flx_error *reterr)
{
    uint8_t last[FLX_SEGMENT_TRAILER_BYTES];
    uint64_t size = 0;
    flx_segment_trailer trailer;
    flx_status status = file->disk->ops->size(file, &size, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (size < sizeof last) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "its footer is gone");
    }
    status = flx_disk_read_all(file, last, sizeof last, size - sizeof last, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (flx_segment_trailer_peek((flx_slice){last, sizeof last}, size, &trailer) != FLX_OK) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "its footer is damaged");
    }
    return flx_segment_locate(file, &trailer, FLX_SEGMENT_BY_OFFSET, out->offset, &out->from,
                              &out->to, &out->block_end, reterr);
}

/* Checks the batches of the chunk; its len becomes what is whole and visible. */
static flx_status block_check(fetch *out, flx_error *reterr)
{
    flx_chunk *chunk = out->chunk;
    flx_slice rest = {chunk->data, chunk->len};
    flx_stored stored;
    size_t len = 0;
    bool is_whole = true;
    uint32_t count = 0;
    while (rest.len > 0) {
        const flx_status decoded = flx_stored_decode(rest, out->journal->tag, &stored, &len);
        is_whole = decoded == FLX_OK &&
                   (count == 0 || stored.base_offset - stored.skipped_before == out->next);
        if (!is_whole || flx_stored_end(&stored) > out->visible) {
            break;
        }
        out->first = count == 0 ? stored.base_offset - stored.skipped_before : out->first;
        out->next = flx_stored_end(&stored);
        rest.ptr += len;
        rest.len -= len;
        count++;
    }
    chunk->len = (uint32_t)(rest.ptr - chunk->data);
    if (rest.len == 0 && out->block_end > out->next) {
        out->next = out->block_end; /* compaction took what was in between */
        out->first = count == 0 ? out->offset : out->first;
    }
    if (is_whole || out->next > out->offset) {
        return FLX_OK;
    }
    return flx_fail(reterr, FLX_ERR_CORRUPT,
                    "byte %" PRIu64 " (offset %" PRIu64
                    ") is no whole batch; see `felix log verify`",
                    out->from + chunk->len, count == 0 ? out->offset : out->next);
}

static flx_status block_read(fetch *out, flx_file *file, flx_error *reterr)
{
    const uint64_t len = out->to - out->from;
    if (len > (uint64_t)FLX_STORED_BYTES_MAX + out->journal->options.block_bytes) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "its index is damaged");
    }
    out->chunk = flx_chunk_new(len > 0 ? (size_t)len : 1);
    if (out->chunk == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "read a block");
    }
    const flx_status status =
        flx_disk_read_all(file, out->chunk->data, (size_t)len, out->from, reterr);
    if (status != FLX_OK) {
        return status;
    }
    out->chunk->len = (uint32_t)len;
    return block_check(out, reterr);
}

static void fetch_run(flx_io_job *job)
{
    fetch *out = FLX_LIST_OWNER(job, fetch, job);
    flx_journal *journal = out->journal;
    char path[FLX_DISK_PATH_MAX];
    flx_segment_path(journal->directory, out->segment, path);
    flx_file *file = NULL;
    job->status = journal->disk->ops->open(journal->disk, path, FLX_DISK_READ, &file, &job->error);
    if (job->status == FLX_OK && out->is_sealed) {
        job->status = sealed_locate(out, file, &job->error);
    }
    if (job->status == FLX_OK) {
        job->status = block_read(out, file, &job->error);
    }
    (void)flx_disk_close(file);
    if (job->status != FLX_OK) {
        flx_error_prefix(&job->error, "'%s'", path);
        out->chunk = flx_chunk_unref(out->chunk);
    }
}

/* ---- fetches -------------------------------------------------------------------------------- */

/* The sealed segment that holds `offset`; NULL: it is in the active one. */
static const flx_sealed_segment *sealed_of(const flx_journal *journal, uint64_t offset)
{
    size_t low = 0;
    size_t high = journal->sealed_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (journal->sealed[middle].end <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == journal->sealed_count ? NULL : &journal->sealed[low];
}

/* Where in the active segment: behind a block that ends right there, else where its block begins. */
static void active_locate(const flx_journal *journal, fetch *out)
{
    flx_segment_tally_block(&journal->tally, out->offset, &out->from, &out->to);
    FLX_LIST_EACH(node, &journal->blocks)
    {
        const flx_block *block = FLX_LIST_OWNER(node, flx_block, in_journal);
        const uint64_t behind = block->position + block->chunk->len;
        if (block->next == out->offset && block->segment == out->segment && behind > out->from &&
            behind < out->to) {
            out->from = behind;
        }
    }
}

static void fetch_done(flx_io_job *job);

static bool fetch_start(flx_journal *journal, uint64_t offset)
{
    fetch *out = flx_calloc(1, sizeof *out);
    if (out == NULL) {
        return false;
    }
    out->journal = journal;
    out->offset = offset;
    out->visible = flx_journal_visible_end(journal);
    const flx_sealed_segment *sealed = sealed_of(journal, offset);
    if (sealed != NULL) {
        out->is_sealed = true;
        out->segment = sealed->base;
    } else {
        out->segment = journal->tally.base;
        active_locate(journal, out);
    }
    out->job.kind = FLX_IO_CALL;
    out->job.run = fetch_run;
    out->job.done = fetch_done;
    flx_list_push_back(&journal->fetches, &out->node);
    journal->fetching++;
    if (journal->cache != NULL) {
        journal->cache->stats.misses++;
    }
    flx_io_submit(journal->io, &out->job);
    return true;
}

static bool is_fetching(const flx_journal *journal, uint64_t offset)
{
    FLX_LIST_EACH(node, &journal->fetches)
    {
        if (FLX_LIST_OWNER(node, fetch, node)->offset == offset) {
            return true;
        }
    }
    return false;
}

/* ---- answers -------------------------------------------------------------------------------- */

static flx_block *block_of(const flx_journal *journal, uint64_t offset)
{
    FLX_LIST_EACH(node, &journal->blocks)
    {
        flx_block *block = FLX_LIST_OWNER(node, flx_block, in_journal);
        if (block->first <= offset && offset < block->next) {
            return block;
        }
    }
    return NULL;
}

static void answer_from(flx_journal_read *read, flx_block *block)
{
    flx_slice rest = {block->chunk->data, block->chunk->len};
    flx_stored stored;
    uint32_t start = 0;
    while (flx_stored_next(&rest, &stored) && flx_stored_end(&stored) <= read->offset) {
        start = (uint32_t)(rest.ptr - block->chunk->data);
    }
    read->status = FLX_OK;
    read->next = block->next;
    read->range = (flx_range){NULL, 0, 0};
    if (start < block->chunk->len) {
        read->range = (flx_range){flx_chunk_ref(block->chunk), start, block->chunk->len};
    }
    flx_read_cache_touch(block);
}

static bool answer(flx_journal_read *read, flx_status status)
{
    read->status = status;
    if (status != FLX_OK) {
        (void)flx_fail(&read->error, status, "%s", flx_status_text(status));
    }
    return true;
}

/* What can be said without the disk; false: a block is needed. */
static bool answer_now(flx_journal *journal, flx_journal_read *read)
{
    const uint64_t visible = flx_journal_visible_end(journal);
    read->range = (flx_range){NULL, 0, 0};
    read->next = read->offset;
    if (journal->is_closing) {
        return answer(read, FLX_ERR_CLOSED);
    }
    if (read->offset < journal->record.start) {
        return answer(read, FLX_ERR_TOO_OLD);
    }
    if (read->offset >= visible) {
        return answer(read, read->offset == visible ? FLX_OK : FLX_ERR_IN_FUTURE);
    }
    flx_block *block = block_of(journal, read->offset);
    if (block == NULL) {
        return false;
    }
    answer_from(read, block);
    return true;
}

/* The next block is worth having before it is asked for, once a reader came as far as this one. */
static void read_ahead(flx_journal *journal, uint64_t offset)
{
    if (journal->cache == NULL || journal->fetching >= FETCHES_MAX / 2 ||
        offset >= flx_journal_visible_end(journal) || offset >= journal->tally.base ||
        offset < journal->record.start || block_of(journal, offset) != NULL ||
        is_fetching(journal, offset)) {
        return; /* in the active segment blocks still grow */
    }
    (void)fetch_start(journal, offset);
}

/* Has a fetch on its way for a read that waits, as far as the bound lets it. False: no memory. */
static bool fetch_for(flx_journal *journal, const flx_journal_read *read)
{
    if (is_fetching(journal, read->offset)) {
        if (journal->cache != NULL) {
            journal->cache->stats.joined++;
        }
        return true;
    }
    return journal->fetching >= FETCHES_MAX || fetch_start(journal, read->offset);
}

bool flx_journal_read_begin(flx_journal *journal, flx_journal_read *read)
{
    FLX_ASSERT(journal->io != NULL && read->journal == NULL);
    if (answer_now(journal, read)) {
        if (read->range.chunk != NULL) {
            if (journal->cache != NULL) {
                journal->cache->stats.hits++;
            }
            read_ahead(journal, read->next);
        }
        return true;
    }
    if (!fetch_for(journal, read)) {
        return answer(read, FLX_ERR_NOMEM);
    }
    read->journal = journal;
    flx_list_push_back(&journal->reads, &read->node);
    return false;
}

void flx_journal_read_cancel(flx_journal_read *read)
{
    flx_list_remove(&read->node);
    read->journal = NULL;
}

static void read_finish(flx_journal_read *read)
{
    read->journal = NULL;
    read->done(read); /* may read again */
}

/* Looks again at everybody who waits; `ended` (NULL: none) brought nothing, or failed, for who wanted just
 * that. */
static void serve(flx_journal *journal, const fetch *ended)
{
    flx_list waiting;
    flx_list_init(&waiting);
    flx_list_splice_back(&waiting, &journal->reads);
    for (flx_list *node; (node = flx_list_pop_front(&waiting)) != NULL;) {
        flx_journal_read *read = FLX_LIST_OWNER(node, flx_journal_read, node);
        if (answer_now(journal, read)) {
            const uint64_t next = read->next;
            const bool has_more = read->range.chunk != NULL;
            read_finish(read);
            if (has_more && !journal->is_closing) {
                read_ahead(journal, next);
            }
        } else if (ended != NULL && ended->offset == read->offset) {
            read->status = ended->job.status;
            read->error = ended->job.error;
            read_finish(read);
        } else if (!fetch_for(journal, read)) {
            (void)answer(read, FLX_ERR_NOMEM);
            read_finish(read);
        } else {
            flx_list_push_back(&journal->reads, &read->node);
        }
    }
}

static flx_block *block_keep(flx_journal *journal, fetch *out)
{
    flx_block *block = flx_block_new(out->chunk);
    if (block == NULL) {
        out->job.status = flx_fail(&out->job.error, FLX_ERR_NOMEM, "keep a block");
        return NULL;
    }
    out->chunk = NULL;
    block->first = out->first;
    block->next = out->next;
    block->segment = out->segment;
    block->position = out->from;
    flx_list_push_front(&journal->blocks, &block->in_journal);
    if (journal->cache != NULL) {
        flx_read_cache_put(journal->cache, block);
    }
    return block;
}

static void fetch_done(flx_io_job *job)
{
    fetch *out = FLX_LIST_OWNER(job, fetch, job);
    flx_journal *journal = out->journal;
    flx_list_remove(&out->node);
    journal->fetching--;
    if (job->status == FLX_ERR_NOT_FOUND) {
        job->status = FLX_ERR_TOO_OLD; /* retention was faster */
        /* Or compaction, whose result is about to be known: then who waits asks again. */
        out->is_stale = out->is_stale || journal->errand_job.compaction != NULL;
    }
    flx_block *block = NULL;
    if (job->status == FLX_OK && !out->is_stale && out->next > out->offset &&
        block_of(journal, out->offset) == NULL) {
        block = block_keep(journal, out);
    }
    serve(journal, out->is_stale || block != NULL ? NULL : out);
    if (block != NULL && journal->cache == NULL) {
        (void)flx_block_free(block); /* it was for those who waited */
    }
    (void)flx_chunk_unref(out->chunk);
    flx_free(out);
    flx_journal_pump(journal);
}

void flx_journal_reads_close(flx_journal *journal)
{
    serve(journal, NULL); /* closing is an answer */
}

void flx_journal_blocks_drop(flx_journal *journal, uint64_t from, uint64_t to)
{
    FLX_LIST_EACH(node, &journal->blocks)
    {
        flx_block *block = FLX_LIST_OWNER(node, flx_block, in_journal);
        if (block->first < to && block->next > from) {
            (void)flx_block_free(block);
        }
    }
    FLX_LIST_EACH(node, &journal->fetches)
    {
        FLX_LIST_OWNER(node, fetch, node)->is_stale = true;
    }
}
