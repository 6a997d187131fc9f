/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_block.c - where a block lies; reading and checking it.
 *
 *      offset ─► sealed segment? its index ─┐
 *             └► active: the tally ─────────┴─► [from, to) of the file ─► one read ─► every batch checked
 *
 * A block is checked once, when it is read; who shares it later does not check it again. It ends before
 * the first batch that is not visible. Corruption is the answer only to who needs what is broken: whole
 * batches in front of it are served.
 */
#include "common/alloc.h"
#include "common/error.h"
#include "storage/journal_int.h"
#include "storage/read_cache.h"

#include <inttypes.h>

/* ---- where ---- */

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
static void active_locate(flx_span *span)
{
    const flx_journal *journal = span->journal;
    flx_segment_tally_block(&journal->tally, span->offset, &span->from, &span->to);
    FLX_LIST_EACH(node, &journal->blocks)
    {
        const flx_block *block = FLX_LIST_OWNER(node, flx_block, in_journal);
        const uint64_t behind = block->position + block->chunk->len;
        if (block->next == span->offset && block->segment == span->segment && behind > span->from &&
            behind < span->to) {
            span->from = behind;
        }
    }
}

void flx_span_init(flx_span *span, const flx_journal *journal, uint64_t offset)
{
    *span = (flx_span){
        .journal = journal,
        .offset = offset,
        .visible = flx_journal_visible_end(journal),
    };
    const flx_sealed_segment *sealed = sealed_of(journal, offset);
    if (sealed != NULL) {
        span->is_sealed = true;
        span->segment = sealed->base;
    } else {
        span->segment = journal->tally.base;
        active_locate(span);
    }
}

flx_status flx_span_locate(flx_span *span, const flx_segment_index *index, flx_error *reterr)
{
    const flx_status status = flx_segment_index_find(index, FLX_SEGMENT_BY_OFFSET, span->offset,
                                                     &span->from, &span->to, &span->block_end);
    return status == FLX_OK ? status
                            : flx_fail(reterr, status, "the index points outside the data");
}

/* ---- reading ---- */

/* Checks the batches of the chunk; its len becomes what is whole and visible. */
static flx_status block_check(flx_span *span, flx_error *reterr)
{
    flx_chunk *chunk = span->chunk;
    flx_slice rest = {chunk->data, chunk->len};
    flx_stored stored;
    size_t len = 0;
    bool is_whole = true;
    uint32_t count = 0;
    while (rest.len > 0) {
        const flx_status decoded = flx_stored_decode(rest, span->journal->tag, &stored, &len);
        is_whole = decoded == FLX_OK &&
                   (count == 0 || stored.base_offset - stored.skipped_before == span->next);
        if (!is_whole || flx_stored_end(&stored) > span->visible) {
            break;
        }
        span->first = count == 0 ? stored.base_offset - stored.skipped_before : span->first;
        span->next = flx_stored_end(&stored);
        rest.ptr += len;
        rest.len -= len;
        count++;
    }
    chunk->len = (uint32_t)(rest.ptr - chunk->data);
    if (rest.len == 0 && span->block_end > span->next) {
        span->next = span->block_end; /* compaction took what was in between */
        span->first = count == 0 ? span->offset : span->first;
    }
    if (is_whole || span->next > span->offset) {
        return FLX_OK;
    }
    return flx_fail(reterr, FLX_ERR_CORRUPT,
                    "byte %" PRIu64 " (offset %" PRIu64
                    ") is no whole batch; see `felix log verify`",
                    span->from + chunk->len, count == 0 ? span->offset : span->next);
}

static flx_status chunk_make(flx_span *span, flx_error *reterr)
{
    const uint64_t len = span->to - span->from;
    if (len > (uint64_t)FLX_STORED_BYTES_MAX + span->journal->options.block_bytes) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "its index is damaged");
    }
    span->chunk = flx_chunk_new(len > 0 ? (size_t)len : 1);
    if (span->chunk == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "read a block");
    }
    span->chunk->len = (uint32_t)len;
    return FLX_OK;
}

flx_status flx_span_read(flx_span *span, flx_file *file, flx_error *reterr)
{
    flx_status status = chunk_make(span, reterr);
    if (status == FLX_OK) {
        status = flx_disk_read_all(file, span->chunk->data, span->chunk->len, span->from, reterr);
    }
    if (status == FLX_OK) {
        status = block_check(span, reterr);
    }
    if (status != FLX_OK) {
        span->chunk = flx_chunk_unref(span->chunk);
    }
    return status;
}

bool flx_span_read_now(flx_span *span, flx_file *file)
{
    if (chunk_make(span, NULL) == FLX_OK &&
        file->disk->ops->read_now(file, span->chunk->data, span->chunk->len, span->from) &&
        block_check(span, NULL) == FLX_OK && span->next > span->offset) {
        return true;
    }
    span->chunk = flx_chunk_unref(span->chunk);
    return false;
}
