/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/event.c - event batches.
 *
 *     [0x0002] u64 subscription_id
 *     [0x0020] u64 base_offset
 *     [0x0800] u64 skipped_before
 *     [0x2000] u8 + publisher
 *              u32 count, then per record: [0x4000] u64 time, u32 len, payload
 */
#include "wire/event.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"
#include "wire/frame.h"
#include "wire/records.h"
#include "wire/utf8.h"

#include <string.h>

#define STAMP_BYTES 8

enum {
    LEGACY = FLX_FLAG_BINARY_EVENT_BATCH,
    SHARED = FLX_FLAG_BINARY_EVENT_BATCH_SHARED,
    OFFSETS = FLX_FLAG_EVENT_BATCH_OFFSETS,
    SKIPPED = FLX_FLAG_EVENT_BATCH_SKIPPED,
    PUBLISHER = FLX_FLAG_EVENT_BATCH_PUBLISHER,
    STAMPS = FLX_FLAG_EVENT_BATCH_TIMESTAMPS
};

static bool flags_are_valid(uint16_t flags)
{
    return (flags & (LEGACY | SHARED)) != 0 && flx_flags_valid(flags, FLX_DIR_BROKER);
}

size_t flx_event_head_bytes(const flx_event_batch *batch)
{
    size_t bytes = sizeof batch->count;
    bytes += (batch->flags & LEGACY) != 0 ? 8 : 0;
    bytes += (batch->flags & OFFSETS) != 0 ? 8 : 0;
    bytes += (batch->flags & SKIPPED) != 0 ? 8 : 0;
    bytes += (batch->flags & PUBLISHER) != 0 ? 1 + batch->publisher.len : 0;
    return bytes;
}

uint8_t *flx_event_head_encode(const flx_event_batch *batch, uint8_t *to)
{
    FLX_ASSERT(flags_are_valid(batch->flags));
    uint8_t *const start = to;
    if ((batch->flags & LEGACY) != 0) {
        to = flx_put_u64(to, batch->subscription_id);
    }
    if ((batch->flags & OFFSETS) != 0) {
        to = flx_put_u64(to, batch->base_offset);
    }
    if ((batch->flags & SKIPPED) != 0) {
        to = flx_put_u64(to, batch->skipped_before);
    }
    if ((batch->flags & PUBLISHER) != 0) {
        FLX_ASSERT(batch->publisher.len <= FLX_EVENT_PUBLISHER_BYTES_MAX);
        to = flx_put_u8(to, (uint8_t)batch->publisher.len);
        to = flx_put_bytes(to, batch->publisher);
    }
    to = flx_put_u32(to, batch->count);
    FLX_ASSERT((size_t)(to - start) == flx_event_head_bytes(batch));
    return to;
}

uint8_t *flx_event_frame_head_encode(const flx_event_batch *batch, uint8_t *to)
{
    const size_t len = flx_event_head_bytes(batch) + batch->region.len;
    FLX_ASSERT(len <= UINT32_MAX);
    flx_frame_header_encode(batch->flags, (uint32_t)len, to);
    return flx_event_head_encode(batch, to + FLX_FRAME_HEADER_BYTES);
}

uint8_t *flx_event_region_stamp(flx_slice region, uint64_t timestamp_us, uint8_t *to)
{
    flx_slice payload;
    while (flx_records_next(&region, &payload)) {
        to = flx_records_put(flx_put_u64(to, timestamp_us), payload);
    }
    return to;
}

static flx_event_batch read_head(uint16_t flags, flx_cursor *cursor)
{
    flx_event_batch batch;
    memset(&batch, 0, sizeof batch);
    batch.flags = flags;
    if ((flags & LEGACY) != 0) {
        batch.subscription_id = flx_cursor_u64(cursor);
    }
    if ((flags & OFFSETS) != 0) {
        batch.base_offset = flx_cursor_u64(cursor);
    }
    if ((flags & SKIPPED) != 0) {
        batch.skipped_before = flx_cursor_u64(cursor);
    }
    if ((flags & PUBLISHER) != 0) {
        batch.publisher = flx_cursor_bytes(cursor, flx_cursor_u8(cursor));
    }
    batch.count = flx_cursor_u32(cursor);
    batch.region.ptr = cursor->at;
    batch.region.len = flx_cursor_left(cursor);
    return batch;
}

static bool pass_records(const flx_event_batch *batch, flx_cursor *cursor)
{
    const bool stamped = (batch->flags & STAMPS) != 0;
    for (uint32_t i = 0; i < batch->count && !cursor->is_short; i++) {
        if (stamped) {
            (void)flx_cursor_u64(cursor);
        }
        const uint32_t len = flx_cursor_u32(cursor);
        (void)flx_cursor_bytes(cursor, len);
    }
    return flx_cursor_is_done(cursor);
}

flx_status flx_event_batch_decode(uint16_t flags, flx_slice payload, flx_event_batch *ret_batch,
                                  flx_error *reterr)
{
    if (!flags_are_valid(flags)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "events: flags 0x%04x", flags);
    }
    flx_cursor cursor = flx_cursor_of(payload);
    const flx_event_batch batch = read_head(flags, &cursor);
    if (cursor.is_short || !pass_records(&batch, &cursor)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "events: %s",
                        cursor.is_short ? "short body" : "bytes left over");
    }
    if (!flx_utf8_is_valid(batch.publisher)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "events: the publisher is not UTF-8");
    }
    if (batch.base_offset > UINT64_MAX - batch.count || batch.skipped_before > batch.base_offset) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "events: offsets out of range");
    }
    *ret_batch = batch;
    return FLX_OK;
}

void flx_event_iter_init(flx_event_iter *iter, const flx_event_batch *batch)
{
    iter->rest = batch->region;
    iter->offset = batch->base_offset;
    iter->stamped = (batch->flags & STAMPS) != 0;
}

bool flx_event_iter_next(flx_event_iter *iter, flx_event_record *ret_record)
{
    if (iter->rest.len == 0) {
        return false;
    }
    ret_record->timestamp_us = 0;
    if (iter->stamped) {
        FLX_ASSERT(iter->rest.len >= STAMP_BYTES);
        ret_record->timestamp_us = flx_get_u64(iter->rest.ptr);
        iter->rest.ptr += STAMP_BYTES;
        iter->rest.len -= STAMP_BYTES;
    }
    ret_record->offset = iter->offset++;
    return flx_records_next(&iter->rest, &ret_record->payload);
}
