/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/ack.c - the binary publish ack.
 *
 *     u8 status (0 ok, 1 error), u64 request_id, u16 + message
 *     [0x0200] u16 code, u8 retry
 *     [0x0400] u16 + reason, u64 retry_after_ms
 *     [0x0080] u16 + node_id, u16 + addr, u64 generation
 *     [0x1000] u64 offset
 */
#include "wire/ack.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"
#include "wire/frame.h"
#include "wire/utf8.h"

#include <string.h>

enum {
    STATUS_OK = 0,
    STATUS_ERROR = 1,
    OWNER = FLX_FLAG_BINARY_PUBLISH_ACK_OWNER,
    CODE = FLX_FLAG_BINARY_PUBLISH_ACK_CODE,
    DETAIL = FLX_FLAG_BINARY_PUBLISH_ACK_DETAIL,
    OFFSET = FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET
};

static bool has(const flx_publish_ack *ack, unsigned part)
{
    return (ack->flags & part) != 0;
}

static flx_publish_ack read_ack(uint16_t flags, flx_cursor *cursor, uint8_t *ret_status)
{
    flx_publish_ack ack;
    memset(&ack, 0, sizeof ack);
    ack.flags = flags;
    *ret_status = flx_cursor_u8(cursor);
    ack.request_id = flx_cursor_u64(cursor);
    ack.message = flx_cursor_text(cursor);
    if (has(&ack, CODE)) {
        ack.code = flx_cursor_u16(cursor);
        ack.retry = flx_cursor_u8(cursor);
    }
    if (has(&ack, DETAIL)) {
        ack.reason = flx_cursor_text(cursor);
        ack.retry_after_ms = flx_cursor_u64(cursor);
    }
    if (has(&ack, OWNER)) {
        ack.node_id = flx_cursor_text(cursor);
        ack.addr = flx_cursor_text(cursor);
        ack.generation = flx_cursor_u64(cursor);
    }
    if (has(&ack, OFFSET)) {
        ack.offset = flx_cursor_u64(cursor);
    }
    return ack;
}

/* NULL, or what is wrong with the parts taken together. */
static const char *fault_of(const flx_publish_ack *ack)
{
    if ((ack->flags & FLX_FLAG_BINARY_PUBLISH_ACK) == 0 ||
        !flx_flags_valid(ack->flags, FLX_DIR_BROKER)) {
        return "flags that do not go together";
    }
    if (ack->ok && (ack->message.len > 0 || has(ack, CODE))) {
        return "a success with a message or a code";
    }
    if (!ack->ok && has(ack, OFFSET)) {
        return "a failure with an offset";
    }
    if (has(ack, CODE) && ack->code == 0) {
        return "code 0";
    }
    if (!flx_utf8_is_valid(ack->message) || !flx_utf8_is_valid(ack->reason) ||
        !flx_utf8_is_valid(ack->node_id) || !flx_utf8_is_valid(ack->addr)) {
        return "text that is not UTF-8";
    }
    return NULL;
}

flx_status flx_publish_ack_decode(uint16_t flags, flx_slice payload, flx_publish_ack *ret_ack,
                                  flx_error *reterr)
{
    flx_cursor cursor = flx_cursor_of(payload);
    uint8_t status;
    flx_publish_ack ack = read_ack(flags, &cursor, &status);
    if (!flx_cursor_is_done(&cursor)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "publish ack: %s",
                        cursor.is_short ? "short body" : "bytes left over");
    }
    if (status > STATUS_ERROR) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "publish ack: status %u", status);
    }
    ack.ok = status == STATUS_OK;
    const char *fault = fault_of(&ack);
    if (fault != NULL) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "publish ack: %s", fault);
    }
    *ret_ack = ack;
    return FLX_OK;
}

size_t flx_publish_ack_bytes(const flx_publish_ack *ack)
{
    size_t bytes = 1 + 8 + 2 + ack->message.len;
    bytes += has(ack, CODE) ? 2 + 1 : 0;
    bytes += has(ack, DETAIL) ? 2 + ack->reason.len + 8 : 0;
    bytes += has(ack, OWNER) ? 2 + ack->node_id.len + 2 + ack->addr.len + 8 : 0;
    bytes += has(ack, OFFSET) ? 8 : 0;
    return bytes;
}

uint8_t *flx_publish_ack_encode(const flx_publish_ack *ack, uint8_t *to)
{
    FLX_ASSERT(fault_of(ack) == NULL);
    FLX_ASSERT(ack->message.len <= FLX_PUBLISH_ACK_TEXT_MAX);
    FLX_ASSERT(ack->reason.len <= FLX_PUBLISH_ACK_TEXT_MAX);
    FLX_ASSERT(ack->node_id.len <= FLX_PUBLISH_ACK_TEXT_MAX);
    FLX_ASSERT(ack->addr.len <= FLX_PUBLISH_ACK_TEXT_MAX);
    uint8_t *const start = to;
    to = flx_put_u8(to, ack->ok ? STATUS_OK : STATUS_ERROR);
    to = flx_put_u64(to, ack->request_id);
    to = flx_put_text(to, ack->message);
    if (has(ack, CODE)) {
        to = flx_put_u16(to, ack->code);
        to = flx_put_u8(to, ack->retry);
    }
    if (has(ack, DETAIL)) {
        to = flx_put_text(to, ack->reason);
        to = flx_put_u64(to, ack->retry_after_ms);
    }
    if (has(ack, OWNER)) {
        to = flx_put_text(to, ack->node_id);
        to = flx_put_text(to, ack->addr);
        to = flx_put_u64(to, ack->generation);
    }
    if (has(ack, OFFSET)) {
        to = flx_put_u64(to, ack->offset);
    }
    FLX_ASSERT((size_t)(to - start) == flx_publish_ack_bytes(ack));
    return to;
}

/* Written out, because it is the answer to nearly every publish; test_ack holds it to the general form. */
uint8_t *flx_publish_ack_ok_frame(uint64_t request_id, const uint64_t *offset, uint8_t *to)
{
    const bool has_offset = offset != NULL;
    const uint16_t flags = (uint16_t)(FLX_FLAG_BINARY_PUBLISH_ACK | (has_offset ? OFFSET : 0));
    flx_frame_header_encode(flags, 1 + 8 + 2 + (has_offset ? 8 : 0), to);
    to = flx_put_u8(to + FLX_FRAME_HEADER_BYTES, STATUS_OK);
    to = flx_put_u64(to, request_id);
    to = flx_put_u16(to, 0); /* no message */
    return has_offset ? flx_put_u64(to, *offset) : to;
}
