/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_stage.c - batches between append and write.
 *
 *      batches   [b0][b1][b2][b3]                     what each is, in order
 *      pieces    [ head+region, head+region ][ head ][ region ][ head+region ]   what they are made of
 *                  b0             b1            b2      b2        b3
 *
 * Small batches are encoded side by side into one chunk and are one piece, so a burst of them costs
 * one entry of the vectored write. A large region is not copied: its chunk is referenced until the
 * write is done. A batch begins a piece of its own unless it is wholly inside the last one, so every
 * write can end where a batch does.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "storage/journal_int.h"

#include <string.h>

#define COPY_BYTES      2048u /* a smaller region is cheaper to copy than to point to */
#define CHUNK_BYTES_MIN 4096u
#define CHUNK_BYTES_MAX (128u << 10)
#define WRITE_BYTES_MAX (8u << 20) /* of one write, unless a single batch has more */

void flx_stage_done(flx_stage *stage)
{
    for (size_t i = 0; i < stage->piece_count; i++) {
        (void)flx_chunk_unref(stage->pieces[stage->piece_first + i].chunk);
    }
    (void)flx_chunk_unref(stage->chunk);
    flx_free(stage->batches);
    flx_free(stage->pieces);
    *stage = (flx_stage){0};
}

/* Room for `more` behind the `count` of `size` bytes each that begin at `first`. */
static bool grow(void **items, size_t size, size_t *first, size_t count, size_t *cap, size_t more)
{
    if (*first + count + more <= *cap) {
        return true;
    }
    if (*first > 0) {
        memmove(*items, (uint8_t *)*items + *first * size, count * size);
        *first = 0;
    }
    if (count + more <= *cap / 2 + *cap / 4) {
        return true; /* moving made room, and enough of it not to move again soon */
    }
    size_t wanted = *cap == 0 ? 16 : *cap * 2;
    wanted = wanted < count + more ? count + more : wanted;
    void *grown = flx_realloc(*items, wanted * size);
    if (grown == NULL) {
        return count + more <= *cap;
    }
    *items = grown;
    *cap = wanted;
    return true;
}

/* A chunk with room for `len` bytes, the one in use or a new one. */
static bool chunk_reserve(flx_stage *stage, size_t len)
{
    flx_chunk *chunk = stage->chunk;
    if (chunk != NULL && flx_chunk_is_sole(chunk)) {
        chunk->len = 0; /* everything in it is written */
    }
    if (chunk != NULL && flx_chunk_room(chunk) >= len) {
        return true;
    }
    size_t cap = chunk == NULL ? CHUNK_BYTES_MIN : (size_t)chunk->cap * 2;
    cap = cap > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : cap;
    cap = cap < len ? len : cap;
    flx_chunk *made = flx_chunk_new(cap);
    if (made == NULL) {
        return false;
    }
    (void)flx_chunk_unref(chunk);
    stage->chunk = made;
    return true;
}

static void piece_add(flx_stage *stage, flx_chunk *chunk, size_t start, size_t len)
{
    FLX_ASSERT(stage->piece_first + stage->piece_count < stage->piece_cap);
    stage->pieces[stage->piece_first + stage->piece_count] =
        (flx_range){flx_chunk_ref(chunk), (uint32_t)start, (uint32_t)(start + len)};
    stage->piece_count++;
}

/* Makes [start, start + len) of the stage's chunk part of the last piece, if it adjoins and is not on
 * its way already. */
static bool piece_merge(flx_stage *stage, size_t start, size_t len)
{
    if (stage->piece_count == stage->writing_pieces) {
        return false;
    }
    flx_range *last = &stage->pieces[stage->piece_first + stage->piece_count - 1];
    if (last->chunk != stage->chunk || last->end != start) {
        return false;
    }
    last->end += (uint32_t)len;
    return true;
}

flx_status flx_stage_push(flx_stage *stage, const flx_stored *stored, flx_chunk *holder)
{
    const bool is_copied = holder == NULL || stored->region.len < COPY_BYTES;
    const size_t bytes = flx_stored_bytes(stored);
    const size_t len = is_copied ? bytes : bytes - stored->region.len;
    if (!grow((void **)&stage->batches, sizeof stage->batches[0], &stage->batch_first,
              stage->batch_count, &stage->batch_cap, 1) ||
        !grow((void **)&stage->pieces, sizeof stage->pieces[0], &stage->piece_first,
              stage->piece_count, &stage->piece_cap, 3) ||
        !chunk_reserve(stage, len)) {
        return FLX_ERR_NOMEM;
    }
    flx_chunk *chunk = stage->chunk;
    const size_t pieces_before = stage->piece_count;
    const size_t start = chunk->len;
    uint8_t *at = flx_stored_head_encode(stored, chunk->data + start);
    const size_t head_len = (size_t)(at - (chunk->data + start));
    if (is_copied) {
        if (stored->region.len > 0) {
            memcpy(at, stored->region.ptr, stored->region.len);
        }
        (void)flx_stored_columns_encode(stored, at + stored->region.len);
        if (!piece_merge(stage, start, len)) {
            piece_add(stage, chunk, start, len);
        }
    } else {
        (void)flx_stored_columns_encode(stored, at);
        piece_add(stage, chunk, start, head_len);
        piece_add(stage, holder, (size_t)(stored->region.ptr - holder->data), stored->region.len);
        if (len > head_len) {
            piece_add(stage, chunk, start + head_len, len - head_len);
        }
    }
    chunk->len += (uint32_t)len;
    stage->batches[stage->batch_first + stage->batch_count] = (flx_staged){
        .base_offset = stored->base_offset,
        .time_us = stored->time_us,
        .epoch = stored->epoch,
        .synced_below = stored->synced_below,
        .count = stored->count,
        .bytes = (uint32_t)bytes,
        .pieces = (uint32_t)(stage->piece_count - pieces_before),
    };
    stage->batch_count++;
    stage->bytes += bytes;
    return FLX_OK;
}

size_t flx_stage_take(flx_stage *stage, struct iovec *iov, size_t iov_cap)
{
    FLX_ASSERT(stage->batch_count > 0 && iov_cap >= 3);
    size_t batches = 0;
    size_t pieces = 0;
    uint64_t bytes = 0;
    for (; batches < stage->batch_count; batches++) {
        const flx_staged *batch = &stage->batches[stage->batch_first + batches];
        const bool is_over = pieces + batch->pieces > iov_cap || bytes >= WRITE_BYTES_MAX;
        if (is_over && batch->pieces > 0) {
            break;
        }
        pieces += batch->pieces;
        bytes += batch->bytes;
    }
    for (size_t i = 0; i < pieces; i++) {
        const flx_range *piece = &stage->pieces[stage->piece_first + i];
        iov[i] = (struct iovec){piece->chunk->data + piece->start, flx_range_len(piece)};
    }
    stage->writing_batches = batches;
    stage->writing_pieces = pieces;
    stage->writing_bytes = bytes;
    return pieces;
}

void flx_stage_written(flx_stage *stage, void (*each)(void *arg, const flx_staged *batch),
                       void *arg)
{
    for (size_t i = 0; i < stage->writing_batches; i++) {
        each(arg, &stage->batches[stage->batch_first + i]);
    }
    for (size_t i = 0; i < stage->writing_pieces; i++) {
        (void)flx_chunk_unref(stage->pieces[stage->piece_first + i].chunk);
    }
    stage->batch_first += stage->writing_batches;
    stage->batch_count -= stage->writing_batches;
    stage->piece_first += stage->writing_pieces;
    stage->piece_count -= stage->writing_pieces;
    stage->bytes -= stage->writing_bytes;
    stage->writing_batches = 0;
    stage->writing_pieces = 0;
    stage->writing_bytes = 0;
}
