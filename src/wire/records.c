/* SPDX-License-Identifier: Apache-2.0 */
/* wire/records.c - walking a record region, checked once and then trusted. */
#include "wire/records.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"

flx_status flx_records_check(flx_slice region, uint32_t count, flx_error *reterr)
{
    flx_cursor cursor = flx_cursor_of(region);
    for (uint32_t i = 0; i < count && !cursor.is_short; i++) {
        const uint32_t len = flx_cursor_u32(&cursor);
        (void)flx_cursor_bytes(&cursor, len);
    }
    if (cursor.is_short) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "records: fewer than %u", count);
    }
    if (cursor.at != cursor.end) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "records: bytes after %u", count);
    }
    return FLX_OK;
}

bool flx_records_next(flx_slice *region, flx_slice *ret_payload)
{
    if (region->len == 0) {
        return false;
    }
    FLX_ASSERT(region->len >= FLX_RECORD_HEAD_BYTES);
    const uint32_t len = flx_get_u32(region->ptr);
    FLX_ASSERT(region->len - FLX_RECORD_HEAD_BYTES >= len);
    ret_payload->ptr = region->ptr + FLX_RECORD_HEAD_BYTES;
    ret_payload->len = len;
    region->ptr += FLX_RECORD_HEAD_BYTES + len;
    region->len -= FLX_RECORD_HEAD_BYTES + len;
    return true;
}

uint8_t *flx_records_put(uint8_t *to, flx_slice payload)
{
    FLX_ASSERT(payload.len <= UINT32_MAX);
    return flx_put_bytes(flx_put_u32(to, (uint32_t)payload.len), payload);
}
