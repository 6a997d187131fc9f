/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/frame.c - headers, and frames found in a stream.
 *
 * What a header announces is a claim of the peer's. Memory follows what has arrived: the chunk a
 * payload is gathered in begins at GATHER_BYTES_MIN and, each time it is full, grows by
 * GATHER_FACTOR up to the announced length. So a peer that announces 16 MiB and sends nothing costs
 * 1 KiB, and one that sends them all costs a third of them copied once more. Who has just sent a
 * frame is believed to send another like it: its chunk begins at that length, up to
 * GATHER_BYTES_PROVEN, and nothing is copied twice. The chunk is kept for the next frame unless it
 * is large or somebody holds a reference to it.
 */
#include "wire/frame.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"
#include "wire/flags.h"

#include <string.h>

#define GATHER_BYTES_MIN    1024
#define GATHER_FACTOR       4
#define GATHER_BYTES_KEPT   65536  /* a larger chunk is given back after its frame */
#define GATHER_BYTES_PROVEN 262144 /* how far the last frame's length is believed */

flx_frame_check flx_frame_header_decode(flx_slice bytes, uint32_t payload_max,
                                        flx_frame_header *ret_header)
{
    static const uint8_t magic[4] = {'F', 'L', 'X', '1'};
    if (bytes.len >= sizeof magic ? flx_get_u32(bytes.ptr) != FLX_FRAME_MAGIC
                                  : bytes.len > 0 && memcmp(bytes.ptr, magic, bytes.len) != 0) {
        return FLX_FRAME_CHECK_BAD_MAGIC;
    }
    if (bytes.len < 6) {
        return FLX_FRAME_CHECK_MORE;
    }
    if (flx_get_u16(bytes.ptr + 4) != FLX_FRAME_VERSION) {
        return FLX_FRAME_CHECK_BAD_VERSION;
    }
    if (bytes.len < FLX_FRAME_HEADER_BYTES) {
        return FLX_FRAME_CHECK_MORE;
    }
    ret_header->flags = flx_get_u16(bytes.ptr + 6);
    ret_header->len = flx_get_u32(bytes.ptr + 8);
    return ret_header->len > payload_max ? FLX_FRAME_CHECK_TOO_LARGE : FLX_FRAME_CHECK_OK;
}

void flx_frame_header_encode(uint16_t flags, uint32_t len,
                             uint8_t ret_bytes[FLX_FRAME_HEADER_BYTES])
{
    uint8_t *at = flx_put_u32(ret_bytes, FLX_FRAME_MAGIC);
    at = flx_put_u16(at, FLX_FRAME_VERSION);
    at = flx_put_u16(at, flags);
    at = flx_put_u32(at, len);
    FLX_ASSERT(at == ret_bytes + FLX_FRAME_HEADER_BYTES);
}

void flx_frame_reader_init(flx_frame_reader *reader, uint32_t payload_max)
{
    memset(reader, 0, sizeof *reader);
    reader->payload_max = payload_max;
    reader->flags_known = FLX_FLAGS_KNOWN;
}

void flx_frame_reader_done(flx_frame_reader *reader)
{
    reader->chunk = flx_chunk_unref(reader->chunk);
}

void flx_frame_reader_limit(flx_frame_reader *reader, uint32_t payload_max)
{
    reader->payload_max = payload_max;
}

void flx_frame_reader_allow_extension(flx_frame_reader *reader)
{
    reader->flags_known |= FLX_FLAG_OPERATIONS;
}

bool flx_frame_reader_is_idle(const flx_frame_reader *reader)
{
    return !reader->failed && reader->header_have == 0;
}

static flx_frame_step reader_fail(flx_frame_reader *reader, flx_error *reterr, flx_status status,
                                  const char *why)
{
    reader->failed = true;
    (void)flx_fail(reterr, status, "frame: %s", why);
    return FLX_FRAME_FAILED;
}

static void advance(flx_slice *input, size_t len)
{
    FLX_ASSERT(len <= input->len);
    input->ptr += len;
    input->len -= len;
}

/* The least of what is there and what is wanted. */
static size_t available(const flx_slice *input, size_t wanted)
{
    return input->len < wanted ? input->len : wanted;
}

/* Judges the header as far as it is there. READY: complete and fine. */
static flx_frame_step judge_header(flx_frame_reader *reader, flx_slice bytes, flx_error *reterr)
{
    flx_frame_header header;
    switch (flx_frame_header_decode(bytes, reader->payload_max, &header)) {
    case FLX_FRAME_CHECK_MORE:
        return FLX_FRAME_MORE;
    case FLX_FRAME_CHECK_BAD_MAGIC:
        return reader_fail(reader, reterr, FLX_ERR_PROTOCOL, "bad magic");
    case FLX_FRAME_CHECK_BAD_VERSION:
        return reader_fail(reader, reterr, FLX_ERR_PROTOCOL, "unknown version");
    case FLX_FRAME_CHECK_TOO_LARGE:
        return reader_fail(reader, reterr, FLX_ERR_TOO_LARGE, "payload above the limit");
    case FLX_FRAME_CHECK_OK:
        break;
    }
    reader->flags = header.flags;
    reader->payload_len = header.len;
    reader->payload_have = 0;
    reader->skipping = (header.flags & ~reader->flags_known) != 0;
    return FLX_FRAME_READY;
}

/* Gives the chunk back if it cannot or should not serve the next frame. */
static void recycle_chunk(flx_frame_reader *reader)
{
    flx_chunk *chunk = reader->chunk;
    if (chunk == NULL) {
        return;
    }
    if (!flx_chunk_is_sole(chunk) || chunk->cap > GATHER_BYTES_KEPT) {
        reader->chunk = flx_chunk_unref(chunk);
        return;
    }
    chunk->len = 0;
}

/* What there is of the header, taken off the input. One that came in one piece is not kept. */
static flx_slice header_bytes(flx_frame_reader *reader, flx_slice *input)
{
    const uint8_t *from = input->ptr;
    if (reader->header_have == 0) {
        recycle_chunk(reader);
        if (input->len >= FLX_FRAME_HEADER_BYTES) {
            reader->header_have = FLX_FRAME_HEADER_BYTES;
            advance(input, FLX_FRAME_HEADER_BYTES);
            return (flx_slice){from, FLX_FRAME_HEADER_BYTES};
        }
    }
    const size_t wanted = (size_t)(FLX_FRAME_HEADER_BYTES - reader->header_have);
    const size_t len = available(input, wanted);
    if (len > 0) {
        memcpy(reader->header + reader->header_have, from, len);
        reader->header_have = (uint8_t)(reader->header_have + len);
        advance(input, len);
    }
    return (flx_slice){reader->header, reader->header_have};
}

static flx_frame_step take_header(flx_frame_reader *reader, flx_slice *input, flx_frame *ret_frame,
                                  flx_error *reterr)
{
    const flx_slice bytes = header_bytes(reader, input);
    const flx_frame_step step = judge_header(reader, bytes, reterr);
    if (step != FLX_FRAME_READY || !reader->skipping) {
        return step;
    }
    memset(ret_frame, 0, sizeof *ret_frame);
    ret_frame->flags = reader->flags;
    ret_frame->payload.len = reader->payload_len;
    return FLX_FRAME_REFUSED;
}

/* Sees to it that the chunk has room for more, if the frame needs more. */
static bool make_room(flx_frame_reader *reader, size_t arriving)
{
    flx_chunk *old = reader->chunk;
    size_t needed = reader->payload_have + arriving;
    if (reader->payload_have == 0) {
        const uint32_t proven = reader->proven_len;
        const uint32_t likely = proven < reader->payload_len ? proven : reader->payload_len;
        needed = needed < likely ? likely : needed;
    }
    if (old != NULL && old->cap >= needed) {
        return true;
    }
    size_t cap = old != NULL ? (size_t)old->cap * GATHER_FACTOR : GATHER_BYTES_MIN;
    cap = cap < needed ? needed : cap;
    if (cap > GATHER_BYTES_KEPT && cap > reader->payload_len) {
        cap = reader->payload_len; /* one that is kept may have room for a larger next frame */
    }
    flx_chunk *chunk = flx_chunk_new(cap);
    if (chunk == NULL) {
        return false;
    }
    if (reader->payload_have > 0) {
        FLX_ASSERT(old != NULL);
        memcpy(chunk->data, old->data, reader->payload_have);
    }
    chunk->len = reader->payload_have;
    (void)flx_chunk_unref(old);
    reader->chunk = chunk;
    return true;
}

static flx_frame_step deliver(flx_frame_reader *reader, flx_slice payload, flx_chunk *chunk,
                              flx_frame *ret_frame)
{
    ret_frame->flags = reader->flags;
    ret_frame->payload = payload;
    ret_frame->json = chunk != NULL && reader->flags == 0 ? chunk->data : NULL;
    ret_frame->chunk = chunk;
    reader->header_have = 0; /* the next call begins a frame */
    return FLX_FRAME_READY;
}

static flx_frame_step skip_payload(flx_frame_reader *reader, flx_slice *input)
{
    const size_t len = available(input, reader->payload_len - reader->payload_have);
    advance(input, len);
    reader->payload_have += (uint32_t)len;
    if (reader->payload_have < reader->payload_len) {
        return FLX_FRAME_MORE;
    }
    reader->skipping = false;
    reader->header_have = 0;
    return FLX_FRAME_READY; /* nothing to hand on: go on with the next header */
}

static flx_frame_step take_payload(flx_frame_reader *reader, flx_slice *input, flx_frame *ret_frame,
                                   flx_error *reterr)
{
    const size_t len = available(input, reader->payload_len - reader->payload_have);
    const bool whole = reader->payload_have == 0 && len == reader->payload_len;
    if (whole && reader->flags != 0) {
        const flx_slice payload = {input->ptr, len};
        advance(input, len);
        return deliver(reader, payload, NULL, ret_frame);
    }
    if (!whole && len == 0) {
        return FLX_FRAME_MORE;
    }
    if (!make_room(reader, len)) {
        return reader_fail(reader, reterr, FLX_ERR_NOMEM, "no memory for the payload");
    }
    flx_chunk *chunk = reader->chunk;
    if (len > 0) {
        memcpy(chunk->data + reader->payload_have, input->ptr, len);
        advance(input, len);
    }
    reader->payload_have += (uint32_t)len;
    chunk->len = reader->payload_have;
    if (reader->payload_have < reader->payload_len) {
        return FLX_FRAME_MORE;
    }
    const uint32_t len_now = reader->payload_len;
    reader->proven_len = len_now < GATHER_BYTES_PROVEN ? len_now : GATHER_BYTES_PROVEN;
    const flx_slice payload = {chunk->data, len_now};
    return deliver(reader, payload, chunk, ret_frame);
}

flx_frame_step flx_frame_reader_next(flx_frame_reader *reader, flx_slice *input,
                                     flx_frame *ret_frame, flx_error *reterr)
{
    if (reader->failed) {
        return reader_fail(reader, reterr, FLX_ERR_PROTOCOL, "the stream has failed before");
    }
    if (reader->header_have == FLX_FRAME_HEADER_BYTES && reader->skipping) {
        if (skip_payload(reader, input) == FLX_FRAME_MORE) {
            return FLX_FRAME_MORE;
        }
    }
    if (reader->header_have < FLX_FRAME_HEADER_BYTES) {
        const flx_frame_step step = take_header(reader, input, ret_frame, reterr);
        if (step != FLX_FRAME_READY) {
            return step;
        }
    }
    return take_payload(reader, input, ret_frame, reterr);
}
