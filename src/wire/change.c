/* SPDX-License-Identifier: Apache-2.0 */
/* wire/change.c - the change record; its layout is drawn in the header. */
#include "wire/change.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"

size_t flx_change_bytes(const flx_change *change)
{
    const size_t tail = change->kind == FLX_CHANGE_KIND_PUT       ? change->value.len
                        : change->kind == FLX_CHANGE_KIND_COUNTER ? FLX_CHANGE_COUNT_BYTES
                                                                  : 0;
    return FLX_CHANGE_HEAD_BYTES + change->key.len + tail;
}

uint8_t *flx_change_write(uint8_t *to, const flx_change *change)
{
    FLX_ASSERT(change->key.len <= UINT32_MAX);
    to = flx_put_u8(to, change->kind);
    to = flx_put_u8(to, change->cause);
    to = flx_put_u16(to, 0);
    to = flx_put_u32(to, (uint32_t)change->key.len);
    to = flx_put_u64(to, change->kind == FLX_CHANGE_KIND_PUT ? change->expires_at_ms : 0);
    to = flx_put_bytes(to, change->key);
    if (change->kind == FLX_CHANGE_KIND_PUT) {
        to = flx_put_bytes(to, change->value);
    } else if (change->kind == FLX_CHANGE_KIND_COUNTER) {
        to = flx_put_u64(to, (uint64_t)change->sum);
    }
    return to;
}

/* Whether what stands behind the key, and what must be zero, fits the kind. */
static bool is_whole(const flx_change *change, uint16_t zero, size_t tail)
{
    switch (change->kind) {
    case FLX_CHANGE_KIND_PUT:
        return zero == 0 && change->cause == FLX_CHANGE_ASKED;
    case FLX_CHANGE_KIND_DELETE:
        return zero == 0 && change->cause <= FLX_CHANGE_EVICTED && change->expires_at_ms == 0 &&
               tail == 0;
    case FLX_CHANGE_KIND_COUNTER:
        return zero == 0 && change->cause == FLX_CHANGE_ASKED && change->expires_at_ms == 0 &&
               tail == FLX_CHANGE_COUNT_BYTES;
    default:
        return false;
    }
}

flx_status flx_change_read(flx_slice record, flx_change *ret_change, flx_error *reterr)
{
    flx_cursor cursor = flx_cursor_of(record);
    flx_change change = {0};
    change.kind = flx_cursor_u8(&cursor);
    change.cause = flx_cursor_u8(&cursor);
    const uint16_t zero = flx_cursor_u16(&cursor);
    const uint32_t key_len = flx_cursor_u32(&cursor);
    change.expires_at_ms = flx_cursor_u64(&cursor);
    change.key = flx_cursor_bytes(&cursor, key_len);
    const size_t tail = flx_cursor_left(&cursor);
    if (cursor.is_short || !is_whole(&change, zero, tail)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "not a change of a cache: kind %u, %zu bytes",
                        (unsigned)change.kind, record.len);
    }
    if (change.kind == FLX_CHANGE_KIND_PUT) {
        change.value = flx_cursor_bytes(&cursor, tail);
    } else if (change.kind == FLX_CHANGE_KIND_COUNTER) {
        change.sum = (int64_t)flx_cursor_u64(&cursor);
    }
    *ret_change = change;
    return FLX_OK;
}
