/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/segment.c - making, sealing and looking up segments, and what a tally knows.
 */
#include "storage/segment.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- tally ---------------------------------------------------------------------------------- */

void flx_segment_tally_init(flx_segment_tally *tally, uint64_t base)
{
    *tally = (flx_segment_tally){
        .base = base,
        .end = base,
        .position = FLX_SEGMENT_HEADER_BYTES,
    };
}

void flx_segment_tally_done(flx_segment_tally *tally)
{
    flx_free(tally->marks);
    tally->marks = NULL;
    tally->mark_count = 0;
    tally->mark_cap = 0;
}

flx_status flx_segment_tally_reserve(flx_segment_tally *tally, uint64_t batches, uint64_t bytes,
                                     uint32_t block_bytes)
{
    const uint64_t blocks = bytes / block_bytes + 1;
    const uint64_t need = tally->mark_count + (batches < blocks ? batches : blocks) + 1;
    if (need <= tally->mark_cap) {
        return FLX_OK;
    }
    uint64_t cap = tally->mark_cap == 0 ? 4 : (uint64_t)tally->mark_cap * 2;
    cap = cap < need ? need : cap;
    flx_segment_mark *grown = flx_realloc(tally->marks, (size_t)cap * sizeof grown[0]);
    if (grown == NULL) {
        return FLX_ERR_NOMEM;
    }
    tally->marks = grown;
    tally->mark_cap = (uint32_t)cap;
    return FLX_OK;
}

void flx_segment_tally_add(flx_segment_tally *tally, const flx_stored *stored, uint64_t bytes,
                           uint32_t block_bytes)
{
    FLX_ASSERT(stored->base_offset - stored->skipped_before == tally->end);
    const flx_segment_mark *last =
        tally->mark_count == 0 ? NULL : &tally->marks[tally->mark_count - 1];
    if (last == NULL || tally->position - last->position >= block_bytes) {
        FLX_ASSERT(tally->marks != NULL && tally->mark_count < tally->mark_cap);
        tally->marks[tally->mark_count] =
            (flx_segment_mark){stored->base_offset, stored->time_us, tally->position};
        tally->mark_count++;
    }
    tally->time_first_us = tally->batches == 0 ? stored->time_us : tally->time_first_us;
    tally->time_last_us = stored->time_us;
    tally->epoch_last = stored->epoch;
    if (stored->synced_below > tally->synced_below) {
        tally->synced_below = stored->synced_below;
    }
    tally->records += stored->count;
    tally->batches++;
    tally->end = flx_stored_end(stored);
    tally->position += bytes;
}

void flx_segment_tally_block(const flx_segment_tally *tally, uint64_t offset, uint64_t *ret_from,
                             uint64_t *ret_to)
{
    uint32_t low = 0; /* the answer is in [low, high): the last mark at or below offset */
    uint32_t high = tally->mark_count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (tally->marks[middle].offset <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *ret_from = tally->mark_count == 0 ? tally->position : tally->marks[low].position;
    *ret_to = low + 1 < tally->mark_count ? tally->marks[low + 1].position : tally->position;
}

/* ---- names and headers ---------------------------------------------------------------------- */

void flx_segment_path(const char *directory, uint64_t base, char path[FLX_DISK_PATH_MAX])
{
    const int len = snprintf(path, FLX_DISK_PATH_MAX, "%s/%020" PRIu64 ".seg", directory, base);
    FLX_ASSERT(len > 0 && len < FLX_DISK_PATH_MAX - 8); /* ".tmp" fits too */
}

bool flx_segment_name_parse(const char *name, uint64_t *ret_base)
{
    uint64_t base = 0;
    for (int i = 0; i < 20; i++) {
        const char digit = name[i];
        if (digit < '0' || digit > '9' || base > (UINT64_MAX - (uint64_t)(digit - '0')) / 10) {
            return false;
        }
        base = base * 10 + (uint64_t)(digit - '0');
    }
    *ret_base = base;
    return strcmp(name + 20, ".seg") == 0;
}

flx_status flx_segment_create(flx_disk *disk, const char *directory,
                              const flx_segment_header *header, flx_file **ret_file,
                              flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    char temporary[FLX_DISK_PATH_MAX + 8];
    flx_segment_path(directory, header->base_offset, path);
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", path);

    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, temporary, FLX_DISK_CREATE, &file, reterr);
    if (status != FLX_OK) {
        return status;
    }
    uint8_t bytes[FLX_SEGMENT_HEADER_BYTES];
    flx_segment_header_encode(header, bytes);
    status = flx_disk_write(file, bytes, sizeof bytes, 0, reterr);
    if (status == FLX_OK) {
        status = disk->ops->sync(file, reterr);
    }
    if (status == FLX_OK) {
        status = disk->ops->rename(disk, temporary, path, reterr);
    }
    if (status == FLX_OK) {
        status = disk->ops->sync_dir(disk, directory, reterr);
    }
    if (status != FLX_OK) {
        (void)flx_disk_close(file);
        flx_error_prefix(reterr, "make '%s'", path);
        return status;
    }
    *ret_file = file;
    return FLX_OK;
}

static flx_status header_check(const flx_segment_header *header, uint64_t base,
                               const uint8_t *store_id, const uint8_t *log_id, flx_error *reterr)
{
    if (memcmp(header->store_id, store_id, FLX_DISK_ID_BYTES) != 0) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "it belongs to another store");
    }
    if (log_id != NULL && memcmp(header->log_id, log_id, FLX_DISK_ID_BYTES) != 0) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "it belongs to another log");
    }
    if (header->base_offset != base) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "it begins with offset %" PRIu64,
                        header->base_offset);
    }
    return FLX_OK;
}

flx_status flx_segment_open(flx_disk *disk, const char *directory, uint64_t base,
                            const uint8_t *store_id, const uint8_t *log_id, flx_disk_open_how how,
                            flx_file **ret_file, flx_segment_header *ret_header, flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    flx_segment_path(directory, base, path);
    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, path, how, &file, reterr);
    if (status != FLX_OK) {
        return status;
    }
    uint8_t bytes[FLX_SEGMENT_HEADER_BYTES];
    status = flx_disk_read_all(file, bytes, sizeof bytes, 0, reterr);
    if (status == FLX_OK) {
        status = flx_segment_header_decode((flx_slice){bytes, sizeof bytes}, ret_header, reterr);
    }
    if (status == FLX_OK) {
        status = header_check(ret_header, base, store_id, log_id, reterr);
    }
    if (status != FLX_OK) {
        (void)flx_disk_close(file);
        flx_error_prefix(reterr, "'%s'", path);
        return status;
    }
    *ret_file = file;
    return FLX_OK;
}

/* ---- footers -------------------------------------------------------------------------------- */

flx_status flx_segment_seal(flx_file *file, const flx_segment_tally *tally, flx_error *reterr)
{
    const size_t index_len = (size_t)tally->mark_count * FLX_SEGMENT_MARK_BYTES;
    uint8_t *footer = flx_alloc(index_len + FLX_SEGMENT_TRAILER_BYTES);
    if (footer == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "seal a segment");
    }
    for (uint32_t i = 0; i < tally->mark_count; i++) {
        flx_segment_mark_encode(&tally->marks[i], footer + (size_t)i * FLX_SEGMENT_MARK_BYTES);
    }
    const flx_segment_trailer trailer = {
        .base_offset = tally->base,
        .end_offset = tally->end,
        .records = tally->records,
        .batches = tally->batches,
        .time_first_us = tally->time_first_us,
        .time_last_us = tally->time_last_us,
        .epoch_last = tally->epoch_last,
        .data_end = tally->position,
        .mark_count = tally->mark_count,
    };
    flx_segment_trailer_encode(&trailer, (flx_slice){footer, index_len}, footer + index_len);
    const size_t len = index_len + FLX_SEGMENT_TRAILER_BYTES;
    const flx_disk_ops *ops = file->disk->ops;
    /* Cut first: what a failed write or an older footer left behind must not follow the trailer. */
    flx_status status = ops->truncate(file, tally->position, reterr);
    if (status == FLX_OK) {
        /* A whole footer is believed without reading the batches: they must be there before it. */
        status = ops->sync(file, reterr);
    }
    if (status == FLX_OK) {
        status = flx_disk_write(file, footer, len, tally->position, reterr);
    }
    if (status == FLX_OK) {
        status = ops->sync(file, reterr);
    }
    flx_free(footer);
    return status;
}

/* The whole footer, checked, with the marks in front; the caller frees it. */
static flx_status footer_load(flx_file *file, uint64_t base, flx_segment_trailer *ret_trailer,
                              uint64_t *ret_file_bytes, uint8_t **ret_footer, flx_error *reterr)
{
    uint64_t size = 0;
    flx_status status = file->disk->ops->size(file, &size, reterr);
    if (status != FLX_OK) {
        return status;
    }
    *ret_file_bytes = size;
    uint8_t last[FLX_SEGMENT_TRAILER_BYTES];
    if (size < sizeof last + FLX_SEGMENT_HEADER_BYTES) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "no footer");
    }
    status = flx_disk_read_all(file, last, sizeof last, size - sizeof last, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (flx_segment_trailer_peek((flx_slice){last, sizeof last}, size, ret_trailer) != FLX_OK ||
        ret_trailer->base_offset != base) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "no footer");
    }
    const size_t len = (size_t)(size - ret_trailer->data_end);
    uint8_t *footer = flx_alloc(len);
    if (footer == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "read a footer");
    }
    status = flx_disk_read_all(file, footer, len, ret_trailer->data_end, reterr);
    if (status == FLX_OK && flx_segment_trailer_check((flx_slice){footer, len}) != FLX_OK) {
        status = flx_fail(reterr, FLX_ERR_CORRUPT, "the checksum of the footer is wrong");
    }
    if (status != FLX_OK) {
        flx_free(footer);
        return status;
    }
    *ret_footer = footer;
    return FLX_OK;
}

flx_status flx_segment_footer_read(flx_file *file, uint64_t base, flx_segment_trailer *ret_trailer,
                                   uint64_t *ret_file_bytes, flx_error *reterr)
{
    flx_segment_trailer trailer;
    uint8_t *footer = NULL;
    const flx_status status = footer_load(file, base, &trailer, ret_file_bytes, &footer, reterr);
    if (status == FLX_OK) {
        *ret_trailer = trailer;
        flx_free(footer);
    }
    return status;
}

flx_status flx_segment_index_read(flx_file *file, uint64_t base, flx_segment_index *ret_index,
                                  flx_error *reterr)
{
    flx_segment_index index;
    uint64_t file_bytes = 0;
    const flx_status status =
        footer_load(file, base, &index.trailer, &file_bytes, &index.marks, reterr);
    if (status == FLX_OK) {
        *ret_index = index;
    }
    return status;
}

void flx_segment_index_done(flx_segment_index *index)
{
    flx_free(index->marks);
    index->marks = NULL;
}

static flx_segment_mark mark_at(const flx_segment_index *index, uint32_t number)
{
    flx_segment_mark mark;
    flx_segment_mark_decode(index->marks + (size_t)number * FLX_SEGMENT_MARK_BYTES, &mark);
    return mark;
}

flx_status flx_segment_index_find(const flx_segment_index *index, flx_segment_by by, uint64_t key,
                                  uint64_t *ret_from, uint64_t *ret_to, uint64_t *ret_next)
{
    const flx_segment_trailer *trailer = &index->trailer;
    uint32_t low = 0;
    uint32_t high = trailer->mark_count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        const flx_segment_mark mark = mark_at(index, middle);
        if (by == FLX_SEGMENT_BY_OFFSET ? mark.offset <= key : mark.time_us < key) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const uint64_t from = low > 0 ? mark_at(index, low).position : FLX_SEGMENT_HEADER_BYTES;
    uint64_t to = trailer->data_end;
    uint64_t next = trailer->end_offset;
    if (high < trailer->mark_count) {
        const flx_segment_mark mark = mark_at(index, high);
        to = mark.position;
        next = mark.offset;
    }
    if (from < FLX_SEGMENT_HEADER_BYTES || from > to || to > trailer->data_end) {
        return FLX_ERR_CORRUPT;
    }
    *ret_from = from;
    *ret_to = to;
    *ret_next = next;
    return FLX_OK;
}
