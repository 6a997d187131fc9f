/* SPDX-License-Identifier: Apache-2.0 */
/* wire/change_batch.c - batches of changes; their layout is drawn in the header. */
#include "wire/change_batch.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"
#include "wire/utf8.h"

enum { PUT = 0x01, DELETE = 0x02, PUT_EXPIRING = 0x81 };

static uint8_t kind_of(const flx_change *change)
{
    FLX_ASSERT(change->kind == FLX_CHANGE_KIND_PUT || change->kind == FLX_CHANGE_KIND_DELETE);
    return change->kind == FLX_CHANGE_KIND_DELETE ? DELETE
           : change->expires_at_ms > 0            ? PUT_EXPIRING
                                                  : PUT;
}

size_t flx_change_batch_record_bytes(uint64_t end, uint64_t offset, const flx_change *change)
{
    FLX_ASSERT(offset < end);
    size_t bytes =
        1 + flx_varint_bytes(end - offset) + flx_varint_bytes(change->key.len) + change->key.len;
    if (change->kind == FLX_CHANGE_KIND_PUT) {
        bytes += flx_varint_bytes(change->value.len) + change->value.len;
        bytes += change->expires_at_ms > 0 ? sizeof change->expires_at_ms : 0;
    }
    return bytes;
}

uint8_t *flx_change_batch_record_put(uint8_t *to, uint64_t end, uint64_t offset,
                                     const flx_change *change)
{
    const uint8_t kind = kind_of(change);
    to = flx_put_u8(to, kind);
    to = flx_put_varint(to, end - offset);
    to = flx_put_varint(to, change->key.len);
    to = flx_put_bytes(to, change->key);
    if (kind == PUT_EXPIRING) {
        to = flx_put_u64(to, change->expires_at_ms);
    }
    if (kind != DELETE) {
        to = flx_put_varint(to, change->value.len);
        to = flx_put_bytes(to, change->value);
    }
    return to;
}

uint8_t *flx_change_batch_head_put(uint8_t *to, flx_change_batch_kind kind, uint64_t end,
                                   uint32_t count)
{
    return flx_put_u32(flx_put_u64(flx_put_u8(to, (uint8_t)kind), end), count);
}

/* A length that is not there reads as a cursor that is short. */
static flx_slice read_text(flx_cursor *cursor)
{
    const uint64_t len = flx_cursor_varint(cursor);
    return flx_cursor_bytes(cursor, len > SIZE_MAX ? SIZE_MAX : (size_t)len);
}

/* One record; false: its kind or expiry is not one. What is missing shows in the cursor. */
static bool read_record(flx_cursor *cursor, uint64_t *ret_distance, flx_change *ret_change)
{
    const uint8_t kind = flx_cursor_u8(cursor);
    flx_change change = {.kind = kind == DELETE ? FLX_CHANGE_KIND_DELETE : FLX_CHANGE_KIND_PUT};
    *ret_distance = flx_cursor_varint(cursor);
    change.key = read_text(cursor);
    if (kind == PUT_EXPIRING) {
        change.expires_at_ms = flx_cursor_u64(cursor);
    }
    if (kind != DELETE) {
        change.value = read_text(cursor);
    }
    *ret_change = change;
    return (kind == PUT || kind == DELETE || kind == PUT_EXPIRING) &&
           (kind != PUT_EXPIRING || change.expires_at_ms > 0);
}

/* NULL, or what is wrong with it. */
static const char *check_records(const flx_change_batch *batch)
{
    flx_cursor cursor = flx_cursor_of(batch->records);
    uint64_t before = UINT64_MAX; /* distance of the record before */
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t distance;
        flx_change change;
        const bool is_one = read_record(&cursor, &distance, &change);
        if (cursor.is_short) {
            return "short body";
        }
        if (!is_one ||
            (batch->kind == FLX_CHANGE_BATCH_SNAPSHOT && change.kind == FLX_CHANGE_KIND_DELETE)) {
            return "an unknown kind of record";
        }
        if (distance == 0 || distance > batch->end) {
            return "an offset out of range";
        }
        if (batch->kind == FLX_CHANGE_BATCH_CHANGES && distance >= before) {
            return "offsets out of order";
        }
        if (!flx_utf8_is_valid(change.key)) {
            return "a key that is not UTF-8";
        }
        before = distance;
    }
    return flx_cursor_is_done(&cursor) ? NULL : "bytes left over";
}

flx_status flx_change_batch_decode(flx_slice payload, flx_change_batch *ret_batch,
                                   flx_error *reterr)
{
    flx_cursor cursor = flx_cursor_of(payload);
    flx_change_batch batch;
    batch.kind = flx_cursor_u8(&cursor);
    batch.end = flx_cursor_u64(&cursor);
    batch.count = flx_cursor_u32(&cursor);
    batch.records = (flx_slice){cursor.at, flx_cursor_left(&cursor)};
    const char *why = cursor.is_short                          ? "short body"
                      : batch.kind > FLX_CHANGE_BATCH_SNAPSHOT ? "an unknown kind of batch"
                                                               : check_records(&batch);
    if (why != NULL) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "changes: %s", why);
    }
    *ret_batch = batch;
    return FLX_OK;
}

bool flx_change_batch_next(flx_change_batch *batch, uint64_t *ret_offset, flx_change *ret_change)
{
    if (batch->count == 0) {
        return false;
    }
    uint64_t distance;
    flx_cursor cursor = flx_cursor_of(batch->records);
    const bool is_one = read_record(&cursor, &distance, ret_change);
    FLX_ASSERT(is_one && !cursor.is_short); /* it was decoded */
    batch->records = (flx_slice){cursor.at, flx_cursor_left(&cursor)};
    batch->count--;
    *ret_offset = batch->end - distance;
    return true;
}
