/* SPDX-License-Identifier: Apache-2.0 */
/* broker/scratch.c - chunks for outgoing bytes, written again when free. */
#include "broker/scratch.h"

#include "common/assert.h"
#include "wire/frame.h"

#include <string.h>

#define LIKELY_MESSAGE_BYTES 1024 /* most are encoded at once; larger ones are measured by trying */

void flx_scratch_init(flx_scratch *scratch)
{
    memset(scratch, 0, sizeof *scratch);
}

void flx_scratch_done(flx_scratch *scratch)
{
    scratch->chunk = flx_chunk_unref(scratch->chunk);
    while (scratch->count > 0) {
        flx_chunk_unref(scratch->retired[scratch->oldest]);
        scratch->oldest = (scratch->oldest + 1) % FLX_SCRATCH_KEPT;
        scratch->count--;
    }
}

/* The oldest retired chunk when its readers are done. */
static flx_chunk *reuse(flx_scratch *scratch, size_t len)
{
    if (scratch->count == 0) {
        return NULL;
    }
    flx_chunk *chunk = scratch->retired[scratch->oldest];
    if (!flx_chunk_is_sole(chunk) || chunk->cap < len) {
        return NULL;
    }
    scratch->oldest = (scratch->oldest + 1) % FLX_SCRATCH_KEPT;
    scratch->count--;
    chunk->len = 0;
    return chunk;
}

static void retire(flx_scratch *scratch, flx_chunk *chunk)
{
    if (chunk == NULL) {
        return;
    }
    if (chunk->cap != FLX_SCRATCH_CHUNK_BYTES || scratch->count == FLX_SCRATCH_KEPT) {
        flx_chunk_unref(chunk); /* lives on until its readers are done */
        return;
    }
    scratch->retired[(scratch->oldest + scratch->count) % FLX_SCRATCH_KEPT] = chunk;
    scratch->count++;
}

uint8_t *flx_scratch_reserve(flx_scratch *scratch, size_t len)
{
    if (scratch->chunk != NULL && flx_chunk_is_sole(scratch->chunk) && scratch->chunk->cap >= len) {
        scratch->chunk->len = 0; /* all was sent and acknowledged: from the front again */
    }
    if (scratch->chunk == NULL || flx_chunk_room(scratch->chunk) < len) {
        flx_chunk *chunk = reuse(scratch, len);
        if (chunk == NULL) {
            chunk = flx_chunk_new(len > FLX_SCRATCH_CHUNK_BYTES ? len : FLX_SCRATCH_CHUNK_BYTES);
        }
        if (chunk == NULL) {
            return NULL;
        }
        retire(scratch, scratch->chunk);
        scratch->chunk = chunk;
    }
    return scratch->chunk->data + scratch->chunk->len;
}

flx_range flx_scratch_commit(flx_scratch *scratch, size_t len)
{
    flx_chunk *chunk = scratch->chunk;
    FLX_ASSERT(chunk != NULL && len <= flx_chunk_room(chunk));
    const uint32_t start = chunk->len;
    chunk->len += (uint32_t)len;
    return (flx_range){flx_chunk_ref(chunk), start, chunk->len};
}

bool flx_scratch_copy(flx_scratch *scratch, flx_slice bytes, flx_range *ret_range)
{
    uint8_t *to = flx_scratch_reserve(scratch, bytes.len);
    if (to == NULL) {
        return false;
    }
    memcpy(to, bytes.ptr, bytes.len);
    *ret_range = flx_scratch_commit(scratch, bytes.len);
    return true;
}

flx_status flx_scratch_message(flx_scratch *scratch, const flx_msg *msg, flx_range *ret_range)
{
    size_t room = LIKELY_MESSAGE_BYTES;
    while (true) {
        uint8_t *to = flx_scratch_reserve(scratch, room);
        if (to == NULL) {
            return FLX_ERR_NOMEM;
        }
        flx_writer writer;
        flx_writer_init(&writer, to, room);
        flx_msg_encode_frame(msg, &writer);
        if (writer.len > FLX_FRAME_BYTES_MAX + FLX_FRAME_HEADER_BYTES) {
            return FLX_ERR_TOO_LARGE;
        }
        if (flx_writer_fits(&writer)) {
            *ret_range = flx_scratch_commit(scratch, writer.len);
            return FLX_OK;
        }
        FLX_ASSERT(room == LIKELY_MESSAGE_BYTES); /* the second time it is what was needed */
        room = writer.len;
    }
}
