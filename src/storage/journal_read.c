/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_read.c - blocks for readers: who reads, who waits, what is on its way.
 *
 *      read_begin ── a block answers ────────────────────────────────► at once
 *          ├── the operating system has it in memory ──► block ──────► at once
 *          └── waits ── fetch on an I/O thread ──► block ──► all who wait for what it holds
 *
 * A worker copies a block itself when that needs no disk, as far as its turn lets it
 * (flx_read_cache_begin_turn): handing a quarter of a megabyte to another thread and waking up twice
 * costs more than the copy, and moves the bytes to another processor's cache. Otherwise, and the first
 * time in a segment, a thread opens the segment, reads its index and then the block, in one go.
 *
 * Who keeps a segment open must forget it when retention removes it or compaction puts another in its
 * place: that is where its blocks are dropped too (flx_journal_blocks_drop). A fetch on its way then
 * counts as stale. The position in the active segment comes from the tally, which the worker has.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/journal_int.h"
#include "storage/open_segment.h"
#include "storage/read_cache.h"

#define FETCHES_MAX 4u

typedef struct fetch {
    flx_io_job job;
    flx_list node; /* of journal->fetches */
    flx_journal *journal;
    bool is_stale; /* blocks were dropped meanwhile: whoever waits asks again */
    flx_span span;
    flx_open_segment *open; /* of a sealed one; held. NULL before the job: it opens it */
} fetch;

/* ---- on an I/O thread ----------------------------------------------------------------------- */

static flx_status sealed_read(fetch *out, const char *path, flx_error *reterr)
{
    flx_status status = FLX_OK;
    if (out->open == NULL) {
        status =
            flx_open_segment_new(out->journal->disk, path, out->span.segment, &out->open, reterr);
    }
    if (status == FLX_OK) {
        status = flx_span_locate(&out->span, &out->open->index, reterr);
    }
    return status == FLX_OK ? flx_span_read(&out->span, out->open->file, reterr) : status;
}

/* Through a descriptor of its own: the journal's is closed when it rolls. */
static flx_status active_read(fetch *out, const char *path, flx_error *reterr)
{
    flx_disk *disk = out->journal->disk;
    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, path, FLX_DISK_READ, &file, reterr);
    if (status == FLX_OK) {
        status = flx_span_read(&out->span, file, reterr);
    }
    (void)flx_disk_close(file);
    return status;
}

static void fetch_run(flx_io_job *job)
{
    fetch *out = FLX_LIST_OWNER(job, fetch, job);
    char path[FLX_DISK_PATH_MAX];
    flx_segment_path(out->journal->directory, out->span.segment, path);
    job->status = out->span.is_sealed ? sealed_read(out, path, &job->error)
                                      : active_read(out, path, &job->error);
    if (job->status != FLX_OK) {
        flx_error_prefix(&job->error, "'%s'", path);
    }
}

/* ---- fetches -------------------------------------------------------------------------------- */

static void fetch_done(flx_io_job *job);

static bool fetch_start(flx_journal *journal, uint64_t offset)
{
    fetch *out = flx_calloc(1, sizeof *out);
    if (out == NULL) {
        return false;
    }
    out->journal = journal;
    flx_span_init(&out->span, journal, offset);
    if (out->span.is_sealed) {
        out->open = flx_open_segment_of(&journal->segments, out->span.segment);
    }
    if (out->open != NULL) {
        flx_open_segment_hold(out->open);
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
        if (FLX_LIST_OWNER(node, fetch, node)->span.offset == offset) {
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

static flx_block *block_keep(flx_journal *journal, flx_span *span);

/* The file a span is in, when the worker has it open; NULL: it has not, or cannot say where. */
static flx_file *span_file(flx_journal *journal, flx_span *span)
{
    if (!span->is_sealed) {
        return journal->active;
    }
    const flx_open_segment *open = flx_open_segment_of(&journal->segments, span->segment);
    return open != NULL && flx_span_locate(span, &open->index, NULL) == FLX_OK ? open->file : NULL;
}

/* Reads a block without the disk; false: it has to be waited for. */
static bool block_now(flx_journal *journal, uint64_t offset)
{
    flx_read_cache *cache = journal->cache;
    if (cache == NULL || cache->now_left == 0 || is_fetching(journal, offset)) {
        return false;
    }
    flx_span span;
    flx_span_init(&span, journal, offset);
    flx_file *file = span_file(journal, &span);
    const uint64_t len = span.to - span.from;
    if (file == NULL || len > cache->now_left) {
        return false;
    }
    cache->now_left -= len;
    journal->is_cold = !flx_span_read_now(&span, file);
    if (journal->is_cold) {
        return false;
    }
    const bool is_kept = block_keep(journal, &span) != NULL;
    cache->stats.misses += is_kept;
    cache->stats.now += is_kept;
    (void)flx_chunk_unref(span.chunk);
    return is_kept;
}

/* As flx_journal_read_begin, of what needs no waiting. */
static bool begin_now(flx_journal *journal, flx_journal_read *read)
{
    if (answer_now(journal, read)) {
        if (read->range.chunk != NULL && journal->cache != NULL) {
            journal->cache->stats.hits++;
        }
        return true;
    }
    return block_now(journal, read->offset) && answer_now(journal, read);
}

/* Where blocks come from the disk, the next one is worth having before it is asked for, once a reader
 * came as far as this one. Elsewhere it is there when it is asked for, and not sooner: its bytes are then
 * still in the processor's cache when packets are made of them. */
static void read_ahead(flx_journal *journal, uint64_t offset)
{
    if (journal->cache == NULL || !journal->is_cold || journal->fetching >= FETCHES_MAX / 2 ||
        offset >= flx_journal_visible_end(journal) || offset >= journal->tally.base ||
        offset < journal->record.start || block_of(journal, offset) != NULL ||
        is_fetching(journal, offset) || block_now(journal, offset)) {
        return; /* in the active segment blocks still grow */
    }
    (void)fetch_start(journal, offset);
}

bool flx_journal_read_begin(flx_journal *journal, flx_journal_read *read)
{
    FLX_ASSERT(journal->io != NULL && read->journal == NULL);
    if (begin_now(journal, read)) {
        if (read->range.chunk != NULL) {
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
        } else if (ended != NULL && ended->span.offset == read->offset) {
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

/* Takes the chunk over; NULL: no memory. */
static flx_block *block_keep(flx_journal *journal, flx_span *span)
{
    flx_block *block = flx_block_new(span->chunk);
    if (block == NULL) {
        return NULL;
    }
    span->chunk = NULL;
    block->first = span->first;
    block->next = span->next;
    block->segment = span->segment;
    block->position = span->from;
    flx_list_push_front(&journal->blocks, &block->in_journal);
    if (journal->cache != NULL) {
        flx_read_cache_put(journal->cache, block);
    }
    return block;
}

/* The segment it opened is kept for the next, unless it may be another by now. */
static void open_keep(flx_journal *journal, const fetch *out)
{
    flx_open_segment *open = out->open;
    if (open != NULL && open->cache == NULL && journal->cache != NULL && !out->is_stale &&
        !journal->is_closing && out->job.status == FLX_OK &&
        flx_open_segment_of(&journal->segments, open->base) == NULL) {
        flx_open_segment_keep(open, journal->cache, &journal->segments);
    }
}

static void fetch_done(flx_io_job *job)
{
    fetch *out = FLX_LIST_OWNER(job, fetch, job);
    flx_span *span = &out->span;
    flx_journal *journal = out->journal;
    flx_list_remove(&out->node);
    journal->fetching--;
    if (job->status == FLX_ERR_NOT_FOUND) {
        job->status = FLX_ERR_TOO_OLD; /* retention was faster */
        /* Or compaction, whose result is about to be known: then who waits asks again. */
        out->is_stale = out->is_stale || journal->errand_job.compaction != NULL;
    }
    open_keep(journal, out);
    flx_block *block = NULL;
    if (job->status == FLX_OK && !out->is_stale && span->next > span->offset &&
        block_of(journal, span->offset) == NULL) {
        block = block_keep(journal, span);
        if (block == NULL) {
            job->status = flx_fail(&job->error, FLX_ERR_NOMEM, "keep a block");
        }
    }
    serve(journal, out->is_stale || block != NULL ? NULL : out);
    if (block != NULL && journal->cache == NULL) {
        (void)flx_block_free(block); /* it was for those who waited */
    }
    (void)flx_chunk_unref(span->chunk);
    (void)flx_open_segment_release(out->open);
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
    FLX_LIST_EACH(node, &journal->segments)
    {
        flx_open_segment *open = FLX_LIST_OWNER(node, flx_open_segment, in_journal);
        if (open->base < to && open->index.trailer.end_offset > from) {
            flx_open_segment_drop(open);
        }
    }
    FLX_LIST_EACH(node, &journal->fetches)
    {
        FLX_LIST_OWNER(node, fetch, node)->is_stale = true;
    }
}
