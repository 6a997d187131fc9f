/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/format.c - batches, the stored unit. docs/spec/disk.md 3 draws them.
 *
 * A batch must be found out as broken whatever happened to it, and a broken one must not send the
 * reader astray: the length comes first and is bounded, the tag makes a run of zeros or a piece of
 * another log fail without a CRC over megabytes, and every part's length is inside what
 * the CRC covers. So a decoder checks: length, tag, CRC, and only then believes the parts.
 */
#include "storage/format.h"

#include "common/assert.h"
#include "storage/crc.h"
#include "wire/bytes.h"

#define VERSION 1

enum {
    AT_LENGTH = 0,
    AT_CRC = 4,
    AT_TAG = 8,
    AT_VERSION = 12,
    AT_KIND = 13,
    AT_COMPRESSION = 14,
    AT_COLUMNS = 15,
    AT_PUBLISHER_LEN = 16, /* and three bytes of zero */
    AT_COUNT = 20,
    AT_REGION_LEN = 24,
    AT_COLUMNS_LEN = 28,
    AT_BASE_OFFSET = 32,
    AT_SKIPPED = 40,
    AT_TIME = 48,
    AT_EPOCH = 56,
    AT_SYNCED_BELOW = 64,
    AT_PRODUCER_ID = 72,
    AT_SEQUENCE = 80,
    AT_PRODUCER_EPOCH = 88,
    AT_PUBLISHER = 92
};

static_assert(AT_PUBLISHER == FLX_STORED_HEAD_BYTES, "docs/spec/disk.md 3");
static_assert(AT_TAG == FLX_STORED_CRC_FROM, "the CRC covers all that is behind it");

uint32_t flx_stored_tag(const uint8_t log_id[FLX_DISK_ID_BYTES])
{
    return flx_crc32c((flx_slice){log_id, FLX_DISK_ID_BYTES});
}

static flx_slice slice(const uint8_t *ptr, size_t len)
{
    return (flx_slice){ptr, len};
}

size_t flx_stored_columns_bytes(const flx_stored *stored)
{
    size_t bytes = 0;
    for (size_t i = 0; i < FLX_COLUMN_COUNT; i++) {
        if (stored->columns[i].ptr != NULL) {
            bytes += 4 + stored->columns[i].len;
        }
    }
    return bytes;
}

size_t flx_stored_bytes(const flx_stored *stored)
{
    return FLX_STORED_HEAD_BYTES + stored->publisher.len + stored->region.len +
           flx_stored_columns_bytes(stored);
}

static uint8_t columns_present(const flx_stored *stored)
{
    unsigned present = 0;
    for (unsigned i = 0; i < FLX_COLUMN_COUNT; i++) {
        present |= stored->columns[i].ptr != NULL ? 1u << i : 0u;
    }
    return (uint8_t)present;
}

uint8_t *flx_stored_head_encode(const flx_stored *stored, uint8_t *to)
{
    const size_t bytes = flx_stored_bytes(stored);
    FLX_ASSERT(bytes <= FLX_STORED_BYTES_MAX);
    FLX_ASSERT(stored->count > 0 && stored->epoch > 0);
    FLX_ASSERT(stored->publisher.len <= FLX_STORED_PUBLISHER_MAX);

    (void)flx_put_u32(to + AT_LENGTH, (uint32_t)(bytes - AT_CRC));
    (void)flx_put_u32(to + AT_TAG, stored->tag);
    to[AT_VERSION] = VERSION;
    to[AT_KIND] = stored->kind;
    to[AT_COMPRESSION] = stored->compression;
    to[AT_COLUMNS] = columns_present(stored);
    (void)flx_put_u32(to + AT_PUBLISHER_LEN, (uint32_t)stored->publisher.len << 24);
    (void)flx_put_u32(to + AT_COUNT, stored->count);
    (void)flx_put_u32(to + AT_REGION_LEN, (uint32_t)stored->region.len);
    (void)flx_put_u64(to + AT_BASE_OFFSET, stored->base_offset);
    (void)flx_put_u64(to + AT_SKIPPED, stored->skipped_before);
    (void)flx_put_u64(to + AT_TIME, stored->time_us);
    (void)flx_put_u64(to + AT_EPOCH, stored->epoch);
    (void)flx_put_u64(to + AT_SYNCED_BELOW, stored->synced_below);
    (void)flx_put_u64(to + AT_PRODUCER_ID, stored->producer_id);
    (void)flx_put_u64(to + AT_SEQUENCE, stored->sequence);
    (void)flx_put_u32(to + AT_PRODUCER_EPOCH, stored->producer_epoch);
    (void)flx_put_u32(to + AT_COLUMNS_LEN, (uint32_t)flx_stored_columns_bytes(stored));
    uint8_t *const end = flx_put_bytes(to + AT_PUBLISHER, stored->publisher);

    uint32_t crc = flx_crc32c(slice(to + AT_TAG, (size_t)(end - (to + AT_TAG))));
    crc = flx_crc32c_add(crc, stored->region);
    for (size_t i = 0; i < FLX_COLUMN_COUNT; i++) {
        if (stored->columns[i].ptr != NULL) {
            uint8_t len[4];
            (void)flx_put_u32(len, (uint32_t)stored->columns[i].len);
            crc = flx_crc32c_add(flx_crc32c_add(crc, slice(len, sizeof len)), stored->columns[i]);
        }
    }
    (void)flx_put_u32(to + AT_CRC, crc);
    return end;
}

uint8_t *flx_stored_columns_encode(const flx_stored *stored, uint8_t *to)
{
    for (size_t i = 0; i < FLX_COLUMN_COUNT; i++) {
        if (stored->columns[i].ptr != NULL) {
            to = flx_put_u32(to, (uint32_t)stored->columns[i].len);
            to = flx_put_bytes(to, stored->columns[i]);
        }
    }
    return to;
}

/* Columns fill their room exactly; each that is present has a length that fits. */
static bool columns_decode(flx_slice bytes, uint8_t present, flx_stored *stored)
{
    flx_cursor cursor = flx_cursor_of(bytes);
    for (unsigned i = 0; i < FLX_COLUMN_COUNT; i++) {
        stored->columns[i] = slice(NULL, 0);
        if ((present & (1u << i)) != 0) {
            stored->columns[i] = flx_cursor_bytes(&cursor, flx_cursor_u32(&cursor));
        }
    }
    return present < 1u << FLX_COLUMN_COUNT && flx_cursor_is_done(&cursor);
}

/* The parts of a batch of `len` bytes whose CRC is right, or is trusted to be. */
static bool parts_decode(const uint8_t *at, size_t len, flx_stored *stored)
{
    const size_t publisher_len = flx_get_u32(at + AT_PUBLISHER_LEN) >> 24;
    const size_t region_len = flx_get_u32(at + AT_REGION_LEN);
    const size_t columns_len = flx_get_u32(at + AT_COLUMNS_LEN);
    if (at[AT_VERSION] != VERSION ||
        FLX_STORED_HEAD_BYTES + publisher_len + region_len + columns_len != len) {
        return false;
    }
    stored->tag = flx_get_u32(at + AT_TAG);
    stored->kind = at[AT_KIND];
    stored->compression = at[AT_COMPRESSION];
    stored->count = flx_get_u32(at + AT_COUNT);
    stored->base_offset = flx_get_u64(at + AT_BASE_OFFSET);
    stored->skipped_before = flx_get_u64(at + AT_SKIPPED);
    stored->time_us = flx_get_u64(at + AT_TIME);
    stored->epoch = flx_get_u64(at + AT_EPOCH);
    stored->synced_below = flx_get_u64(at + AT_SYNCED_BELOW);
    stored->producer_id = flx_get_u64(at + AT_PRODUCER_ID);
    stored->sequence = flx_get_u64(at + AT_SEQUENCE);
    stored->producer_epoch = flx_get_u32(at + AT_PRODUCER_EPOCH);
    stored->publisher = slice(at + AT_PUBLISHER, publisher_len);
    stored->region = slice(stored->publisher.ptr + publisher_len, region_len);
    return stored->count > 0 && stored->epoch > 0 &&
           stored->base_offset <= UINT64_MAX - stored->count &&
           stored->skipped_before <= stored->base_offset &&
           stored->synced_below <= stored->base_offset &&
           columns_decode(slice(stored->region.ptr + region_len, columns_len), at[AT_COLUMNS],
                          stored);
}

/* The length a head claims; 0 when it cannot be one. */
static size_t length_claimed(const uint8_t *at)
{
    const uint64_t len = (uint64_t)flx_get_u32(at + AT_LENGTH) + AT_CRC;
    return len < FLX_STORED_HEAD_BYTES || len > FLX_STORED_BYTES_MAX ? 0 : (size_t)len;
}

flx_status flx_stored_decode(flx_slice bytes, uint32_t tag, flx_stored *ret_stored, size_t *ret_len)
{
    if (bytes.len < FLX_STORED_HEAD_BYTES) {
        *ret_len = FLX_STORED_HEAD_BYTES;
        return FLX_ERR_AGAIN;
    }
    const uint8_t *at = bytes.ptr;
    const size_t len = length_claimed(at);
    if (len == 0 || flx_get_u32(at + AT_TAG) != tag) {
        return FLX_ERR_CORRUPT;
    }
    *ret_len = len;
    if (len > bytes.len) {
        return FLX_ERR_AGAIN;
    }
    flx_stored stored;
    if (flx_crc32c(slice(at + AT_TAG, len - AT_TAG)) != flx_get_u32(at + AT_CRC) ||
        !parts_decode(at, len, &stored)) {
        return FLX_ERR_CORRUPT;
    }
    *ret_stored = stored;
    return FLX_OK;
}

bool flx_stored_next(flx_slice *bytes, flx_stored *ret_stored)
{
    const size_t len = bytes->len < FLX_STORED_HEAD_BYTES ? 0 : length_claimed(bytes->ptr);
    if (len == 0 || len > bytes->len || !parts_decode(bytes->ptr, len, ret_stored)) {
        bytes->len = 0;
        return false;
    }
    bytes->ptr += len;
    bytes->len -= len;
    return true;
}

size_t flx_stored_seek_tag(flx_slice bytes, uint32_t tag, size_t from)
{
    uint8_t wanted[4];
    (void)flx_put_u32(wanted, tag);
    if (from + AT_TAG >= bytes.len) {
        return bytes.len;
    }
    const uint8_t *begin = bytes.ptr + from + AT_TAG;
    const uint8_t *found = memmem(begin, bytes.len - from - AT_TAG, wanted, sizeof wanted);
    return found == NULL ? bytes.len : (size_t)(found - bytes.ptr) - AT_TAG;
}
