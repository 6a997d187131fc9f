/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/publish.c - the binary publish batch.
 *
 *     [0x0008] u64 request_id, u8 ack mode
 *     [0x0100] u64 producer_id, u64 sequence
 *     [0x0040] u16 key_len, key
 *              u16 + tenant, u16 + namespace, u16 + stream, u32 count, region
 */
#include "wire/publish.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"
#include "wire/records.h"
#include "wire/utf8.h"

#include <string.h>

#define NAME_BYTES_MAX 65535

static flx_publish read_head(uint16_t flags, flx_cursor *cursor, uint8_t *ret_ack)
{
    flx_publish publish;
    memset(&publish, 0, sizeof publish);
    publish.flags = flags;
    *ret_ack = FLX_ACK_NONE;
    if (flx_publish_is_acked(&publish)) {
        publish.request_id = flx_cursor_u64(cursor);
        *ret_ack = flx_cursor_u8(cursor);
    }
    if (flx_publish_is_idempotent(&publish)) {
        publish.producer_id = flx_cursor_u64(cursor);
        publish.sequence = flx_cursor_u64(cursor);
    }
    if (flx_publish_is_keyed(&publish)) {
        publish.key = flx_cursor_text(cursor);
    }
    publish.tenant_id = flx_cursor_text(cursor);
    publish.namespace_ = flx_cursor_text(cursor);
    publish.stream = flx_cursor_text(cursor);
    publish.count = flx_cursor_u32(cursor);
    publish.region.ptr = cursor->at;
    publish.region.len = flx_cursor_left(cursor);
    return publish;
}

static bool ack_is_valid(const flx_publish *publish, uint8_t ack)
{
    if (!flx_publish_is_acked(publish)) {
        return ack == FLX_ACK_NONE;
    }
    if (flx_publish_is_idempotent(publish)) {
        return ack == FLX_ACK_PER_BATCH;
    }
    return ack == FLX_ACK_PER_MESSAGE || ack == FLX_ACK_PER_BATCH;
}

flx_status flx_publish_decode(uint16_t flags, flx_slice payload, flx_publish *ret_publish,
                              flx_error *reterr)
{
    if (flags == 0 || !flx_flags_valid(flags, FLX_DIR_CLIENT)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "publish: flags 0x%04x", flags);
    }
    flx_cursor cursor = flx_cursor_of(payload);
    uint8_t ack;
    flx_publish publish = read_head(flags, &cursor, &ack);
    if (cursor.is_short) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "publish: short body");
    }
    if (!ack_is_valid(&publish, ack)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "publish: ack mode %u", ack);
    }
    publish.ack = (flx_ack_mode)ack;
    if (!flx_utf8_is_valid(publish.tenant_id) || !flx_utf8_is_valid(publish.namespace_) ||
        !flx_utf8_is_valid(publish.stream)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "publish: a name is not UTF-8");
    }
    const flx_status status = flx_records_check(publish.region, publish.count, reterr);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "publish");
        return status;
    }
    *ret_publish = publish;
    return FLX_OK;
}

bool flx_publish_request_id(uint16_t flags, flx_slice payload, uint64_t *ret_request_id)
{
    const unsigned both = FLX_FLAG_BINARY_PUBLISH_BATCH | FLX_FLAG_BINARY_PUBLISH_ACKED;
    if ((flags & both) != both || payload.len < sizeof *ret_request_id) {
        return false;
    }
    *ret_request_id = flx_get_u64(payload.ptr);
    return true;
}

size_t flx_publish_head_bytes(const flx_publish *publish)
{
    size_t bytes = 2 + publish->tenant_id.len + 2 + publish->namespace_.len + 2 +
                   publish->stream.len + sizeof publish->count;
    bytes += flx_publish_is_acked(publish) ? 8 + 1 : 0;
    bytes += flx_publish_is_idempotent(publish) ? 8 + 8 : 0;
    bytes += flx_publish_is_keyed(publish) ? 2 + publish->key.len : 0;
    return bytes;
}

uint8_t *flx_publish_head_encode(const flx_publish *publish, uint8_t *to)
{
    FLX_ASSERT(publish->flags != 0 && flx_flags_valid(publish->flags, FLX_DIR_CLIENT));
    FLX_ASSERT(ack_is_valid(publish, (uint8_t)publish->ack));
    FLX_ASSERT(publish->key.len <= NAME_BYTES_MAX);
    FLX_ASSERT(publish->tenant_id.len <= NAME_BYTES_MAX);
    FLX_ASSERT(publish->namespace_.len <= NAME_BYTES_MAX);
    FLX_ASSERT(publish->stream.len <= NAME_BYTES_MAX);
    uint8_t *const start = to;
    if (flx_publish_is_acked(publish)) {
        to = flx_put_u64(to, publish->request_id);
        to = flx_put_u8(to, (uint8_t)publish->ack);
    }
    if (flx_publish_is_idempotent(publish)) {
        to = flx_put_u64(to, publish->producer_id);
        to = flx_put_u64(to, publish->sequence);
    }
    if (flx_publish_is_keyed(publish)) {
        to = flx_put_text(to, publish->key);
    }
    to = flx_put_text(to, publish->tenant_id);
    to = flx_put_text(to, publish->namespace_);
    to = flx_put_text(to, publish->stream);
    to = flx_put_u32(to, publish->count);
    FLX_ASSERT((size_t)(to - start) == flx_publish_head_bytes(publish));
    return to;
}
