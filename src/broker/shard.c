/* SPDX-License-Identifier: Apache-2.0 */
/* broker/shard.c - appending and sealing; the shape is drawn in the header. */
#include "broker/shard.h"

#include "broker/event.h"
#include "common/assert.h"
#include "common/inline.h"
#include "wire/bytes.h"
#include "wire/records.h"

#include <string.h>

#define CHUNK_BYTES_FIRST 2048 /* a stream that says little keeps little */
#define CHUNK_BYTES_MAX   (256u << 10)

void flx_shard_init(flx_shard *shard, const flx_shard_bounds *bounds)
{
    memset(shard, 0, sizeof *shard);
    flx_feed_init(&shard->feed, bounds->ring_frames, bounds->ring_bytes);
    shard->chunk_next_bytes = CHUNK_BYTES_FIRST;
    shard->gather_events = bounds->gather_events;
    shard->gather_bytes = bounds->gather_bytes;
}

void flx_shard_done(flx_shard *shard)
{
    flx_feed_done(&shard->feed);
    shard->chunk = flx_chunk_unref(shard->chunk);
    shard->open_publisher = flx_chunk_unref(shard->open_publisher);
    shard->producers = flx_producers_free(shard->producers);
}

void flx_shard_begin_at(flx_shard *shard, uint64_t offset)
{
    FLX_ASSERT(shard->open_count == 0 && flx_feed_is_empty(&shard->feed));
    shard->next_offset = offset;
    shard->feed.next_offset = offset;
}

/* Makes sure `need` bytes fit behind chunk->len. No frame may be open. */
FLX_HOT flx_status chunk_reserve(flx_shard *shard, size_t need)
{
    FLX_ASSERT(shard->open_count == 0);
    if (shard->chunk != NULL && flx_chunk_room(shard->chunk) >= need) {
        return FLX_OK;
    }
    const size_t cap = need > shard->chunk_next_bytes ? need : shard->chunk_next_bytes;
    flx_chunk *chunk = flx_chunk_new(cap);
    if (chunk == NULL) {
        return FLX_ERR_NOMEM;
    }
    flx_chunk_unref(shard->chunk);
    shard->chunk = chunk;
    if (shard->chunk_next_bytes < CHUNK_BYTES_MAX) {
        shard->chunk_next_bytes *= 2;
    }
    return FLX_OK;
}

/* A sealed frame goes where readers find it, or to who shows it to them later. */
static void frame_out(flx_shard *shard, const flx_sealed *frame)
{
    if (shard->sink.take != NULL) {
        shard->sink.take(shard->sink.arg, frame, shard->producer_id, shard->sequence);
        return;
    }
    flx_feed_push_take(&shard->feed, frame);
}

FLX_HOT uint32_t open_bytes(const flx_shard *shard)
{
    return shard->chunk->len - shard->open_at - FLX_EVENT_PRIMARY_BYTES;
}

void flx_shard_seal(flx_shard *shard)
{
    if (shard->open_count == 0) {
        return;
    }
    const uint32_t region_at = shard->open_at + FLX_EVENT_PRIMARY_BYTES;
    const flx_sealed frame = {
        .head = {shard->chunk, shard->open_at, region_at},
        .region = {flx_chunk_ref(shard->chunk), region_at, shard->chunk->len},
        .base_offset = shard->next_offset - shard->open_count,
        .wall_us = shard->open_wall_us,
        .publisher = shard->open_publisher, /* changes hands */
        .count = shard->open_count,
        .joined = true,
    };
    flx_event_primary_put(shard->chunk->data + shard->open_at, frame.base_offset, frame.count,
                          flx_range_len(&frame.region));
    shard->open_count = 0;
    shard->open_publisher = NULL;
    frame_out(shard, &frame);
    FLX_ASSERT(shard->sink.take != NULL || shard->feed.next_offset == shard->next_offset);
}

/* Whether two publishers are one: the same token makes the same chunk, another stream's differs. */
static bool same_publisher(const flx_chunk *a, const flx_chunk *b)
{
    if (a == b) {
        return true;
    }
    return a != NULL && b != NULL && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* Whether `count` records in `len` bytes belong behind what is open. */
FLX_HOT bool open_takes(const flx_shard *shard, uint32_t count, size_t len,
                        const flx_chunk *publisher)
{
    return shard->open_count > 0 && shard->open_count + count <= shard->gather_events &&
           open_bytes(shard) + len <= shard->gather_bytes && flx_chunk_room(shard->chunk) >= len &&
           same_publisher(shard->open_publisher, publisher);
}

/* A frame of its own whose region stays where the transport put it. */
FLX_COLD flx_status append_shared(flx_shard *shard, const flx_batch *batch, uint64_t wall_us)
{
    const flx_status status = chunk_reserve(shard, FLX_EVENT_PRIMARY_BYTES);
    if (status != FLX_OK) {
        return status;
    }
    flx_chunk *chunk = shard->chunk;
    const uint32_t start = (uint32_t)(batch->region.ptr - batch->holder->data);
    const uint32_t len = (uint32_t)batch->region.len;
    FLX_ASSERT(start + len <= batch->holder->len);

    flx_event_primary_put(chunk->data + chunk->len, shard->next_offset, batch->count, len);
    const flx_sealed frame = {
        .head = {flx_chunk_ref(chunk), chunk->len, chunk->len + FLX_EVENT_PRIMARY_BYTES},
        .region = {flx_chunk_ref(batch->holder), start, start + len},
        .base_offset = shard->next_offset,
        .wall_us = wall_us,
        .publisher = batch->publisher == NULL ? NULL : flx_chunk_ref(batch->publisher),
        .count = batch->count,
        .joined = false,
    };
    chunk->len += FLX_EVENT_PRIMARY_BYTES;
    shard->next_offset += batch->count;
    frame_out(shard, &frame);
    return FLX_OK;
}

/* `len` bytes of the open frame, which is opened when there is none; the room is there. */
FLX_HOT uint8_t *open_extend(flx_shard *shard, uint32_t count, size_t len, uint64_t wall_us,
                             flx_chunk *publisher)
{
    flx_chunk *chunk = shard->chunk;
    if (shard->open_count == 0) {
        shard->open_at = chunk->len;
        chunk->len += FLX_EVENT_PRIMARY_BYTES;
        shard->open_wall_us = wall_us;
        shard->open_publisher = publisher == NULL ? NULL : flx_chunk_ref(publisher);
    }
    uint8_t *to = chunk->data + chunk->len;
    FLX_ASSERT(flx_chunk_room(chunk) >= len);
    chunk->len += (uint32_t)len;
    shard->open_count += count;
    shard->next_offset += count;
    return to;
}

static flx_status append_copied(flx_shard *shard, const flx_batch *batch, uint64_t wall_us)
{
    if (shard->open_count == 0) {
        const flx_status status = chunk_reserve(shard, FLX_EVENT_PRIMARY_BYTES + batch->region.len);
        if (status != FLX_OK) {
            return status;
        }
    }
    memcpy(open_extend(shard, batch->count, batch->region.len, wall_us, batch->publisher),
           batch->region.ptr, batch->region.len);
    return FLX_OK;
}

flx_status flx_shard_append(flx_shard *shard, const flx_batch *batch, uint64_t wall_us,
                            uint64_t *ret_offset)
{
    FLX_ASSERT(batch->count > 0);
    FLX_ASSERT(batch->region.len >= (size_t)4 * batch->count);
    FLX_ASSERT(batch->region.len <= UINT32_MAX / 2);

    const uint64_t offset = shard->next_offset;
    if (!open_takes(shard, batch->count, batch->region.len, batch->publisher)) {
        flx_shard_seal(shard);
    }
    const bool is_shared =
        shard->open_count == 0 && flx_shard_may_share(batch->holder, batch->region.len);
    const flx_status status =
        is_shared ? append_shared(shard, batch, wall_us) : append_copied(shard, batch, wall_us);
    if (status != FLX_OK) {
        return status;
    }
    FLX_ASSERT(shard->next_offset > offset); /* offsets never wrap */
    *ret_offset = offset;
    return FLX_OK;
}

flx_status flx_shard_append_from(flx_shard *shard, const flx_batch *batch, uint64_t producer_id,
                                 uint64_t sequence, uint64_t wall_us, uint64_t *ret_offset)
{
    flx_shard_seal(shard);
    shard->producer_id = producer_id;
    shard->sequence = sequence;
    const flx_status status = flx_shard_append(shard, batch, wall_us, ret_offset);
    flx_shard_seal(shard);
    shard->producer_id = 0;
    return status;
}

flx_status flx_shard_reserve(flx_shard *shard, size_t payload_len)
{
    const size_t len = flx_record_bytes(payload_len);
    if (open_takes(shard, 1, len, NULL)) {
        return FLX_OK;
    }
    flx_shard_seal(shard);
    return chunk_reserve(shard, FLX_EVENT_PRIMARY_BYTES + len);
}

uint8_t *flx_shard_place(flx_shard *shard, size_t payload_len, uint64_t wall_us,
                         uint64_t *ret_offset)
{
    const size_t len = flx_record_bytes(payload_len);
    FLX_ASSERT(len <= UINT32_MAX / 2);
    *ret_offset = shard->next_offset;
    uint8_t *to = open_extend(shard, 1, len, wall_us, NULL);
    return flx_put_u32(to, (uint32_t)payload_len);
}

uint64_t flx_shard_pass(flx_shard *shard)
{
    FLX_ASSERT(shard->open_count == 0 && flx_feed_is_empty(&shard->feed));
    const uint64_t offset = shard->next_offset++;
    shard->feed.next_offset = shard->next_offset;
    return offset;
}

flx_status flx_shard_resolve(flx_shard *shard, flx_shard_start start, uint64_t offset,
                             uint64_t *ret_offset)
{
    flx_shard_seal(shard);
    const uint64_t oldest = flx_feed_oldest_offset(&shard->feed);
    if (start == FLX_SHARD_START_OFFSET && offset < oldest) {
        *ret_offset = oldest;
        return FLX_ERR_TOO_OLD;
    }
    if (start == FLX_SHARD_START_OFFSET && offset > shard->next_offset) {
        *ret_offset = shard->next_offset;
        return FLX_ERR_IN_FUTURE;
    }
    *ret_offset = start == FLX_SHARD_START_LATEST     ? shard->next_offset
                  : start == FLX_SHARD_START_EARLIEST ? oldest
                                                      : offset;
    return FLX_OK;
}

bool flx_shard_offset_for_time(flx_shard *shard, uint64_t wall_us, uint64_t *ret_offset)
{
    flx_shard_seal(shard);
    const flx_feed *feed = &shard->feed;
    uint64_t low = feed->first;
    uint64_t high = feed->end;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (flx_feed_at(feed, middle)->wall_us >= wall_us) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if (low == feed->end) {
        return false;
    }
    *ret_offset = flx_feed_at(feed, low)->base_offset;
    return true;
}
