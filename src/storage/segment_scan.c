/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/segment_scan.c - reading a segment from front to back, and looking beyond a break.
 *
 * A scan goes on while the next batch is exactly the one that must come: whole, its CRC right, its
 * offset the one after the last, its epoch not lower. Anything else is a break. What a break means
 * is not decided here (README.md, rules 5 and 6); but batches beyond it, if any are whole, remember
 * what was synced when they were appended, and that is evidence.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/segment.h"

#define WINDOW_BYTES ((size_t)1 << 20)

/* A piece of the file in memory; grows to the largest batch met. */
typedef struct window {
    const flx_segment_scan *scan;
    uint8_t *bytes;
    size_t cap;
    size_t len;
    uint64_t at; /* position of bytes[0] */
} window;

static flx_status window_init(window *view, const flx_segment_scan *scan, flx_error *reterr)
{
    *view = (window){.scan = scan, .bytes = flx_alloc(WINDOW_BYTES), .cap = WINDOW_BYTES};
    return view->bytes != NULL ? FLX_OK : flx_fail(reterr, FLX_ERR_NOMEM, "read a segment");
}

/* The bytes at `position`, at least `need` of them unless the file ends before. */
static flx_status window_get(window *view, uint64_t position, size_t need, flx_slice *ret_bytes,
                             flx_error *reterr)
{
    const uint64_t left = view->scan->file_bytes - position;
    need = need > left ? (size_t)left : need;
    if (position < view->at || position + need > view->at + view->len) {
        if (need > view->cap) {
            uint8_t *grown = flx_realloc(view->bytes, need);
            if (grown == NULL) {
                return flx_fail(reterr, FLX_ERR_NOMEM, "read a segment");
            }
            view->bytes = grown;
            view->cap = need;
        }
        const size_t want = left < view->cap ? (size_t)left : view->cap;
        view->len = 0;
        flx_file *file = view->scan->file;
        const flx_status status =
            file->disk->ops->read(file, view->bytes, want, position, &view->len, reterr);
        if (status != FLX_OK) {
            return status;
        }
        view->at = position;
    }
    const size_t skip = (size_t)(position - view->at);
    *ret_bytes = (flx_slice){view->bytes + skip, view->len - skip};
    return FLX_OK;
}

/* FLX_ERR_CORRUPT without a message: no batch lies at `position`. */
static flx_status batch_at(window *view, uint64_t position, flx_stored *ret_stored, size_t *ret_len,
                           flx_error *reterr)
{
    size_t need = FLX_STORED_HEAD_BYTES;
    for (;;) {
        flx_slice bytes;
        const flx_status status = window_get(view, position, need, &bytes, reterr);
        if (status != FLX_OK) {
            return status;
        }
        const flx_status decoded = flx_stored_decode(bytes, view->scan->tag, ret_stored, ret_len);
        if (decoded != FLX_ERR_AGAIN) {
            return decoded;
        }
        if (*ret_len > view->scan->file_bytes - position || bytes.len < need) {
            return FLX_ERR_CORRUPT; /* it says that it ends behind the file */
        }
        need = *ret_len;
    }
}

static bool is_next(const flx_segment_scan *scan, const flx_segment_tally *tally,
                    const flx_stored *stored)
{
    const bool is_first = scan->joins && tally->batches == 0;
    return (is_first || stored->base_offset - stored->skipped_before == tally->end) &&
           (stored->skipped_before == 0 || scan->is_compacted) &&
           stored->epoch >= tally->epoch_last;
}

static flx_status scan_batches(const flx_segment_scan *scan, window *view, flx_segment_tally *tally,
                               flx_error *reterr)
{
    while (tally->position < scan->file_bytes) {
        flx_stored stored;
        size_t len = 0;
        flx_status status = batch_at(view, tally->position, &stored, &len, reterr);
        if (status == FLX_ERR_CORRUPT || (status == FLX_OK && !is_next(scan, tally, &stored))) {
            return FLX_OK; /* a break */
        }
        if (status == FLX_OK) {
            tally->end = stored.base_offset - stored.skipped_before; /* unless it joins, it is so */
            status = flx_segment_tally_reserve(tally, 1, len, scan->block_bytes);
            if (status != FLX_OK) {
                return flx_fail(reterr, status, "read a segment");
            }
            if (scan->each != NULL) {
                status = scan->each(scan->arg, &stored, tally->position);
            }
        }
        if (status != FLX_OK) {
            return status;
        }
        flx_segment_tally_add(tally, &stored, len, scan->block_bytes);
    }
    return FLX_OK;
}

flx_status flx_segment_scan_run(const flx_segment_scan *scan, flx_segment_tally *tally,
                                flx_error *reterr)
{
    window view;
    flx_status status = window_init(&view, scan, reterr);
    if (status == FLX_OK) {
        status = scan_batches(scan, &view, tally, reterr);
    }
    flx_free(view.bytes);
    return status;
}

/* Tries every tag behind the break; `probe` has a window of its own, so that a candidate that claims
 * to be long does not move the search. */
static flx_status search(window *view, window *probe, const flx_segment_tally *tally,
                         uint64_t *ret_synced_below, flx_error *reterr)
{
    const flx_segment_scan *scan = view->scan;
    uint64_t proven = 0;
    for (uint64_t position = tally->position + 1; position < scan->file_bytes;) {
        flx_slice bytes;
        flx_status status = window_get(view, position, FLX_STORED_HEAD_BYTES, &bytes, reterr);
        if (status != FLX_OK) {
            return status;
        }
        const size_t found = flx_stored_seek_tag(bytes, scan->tag, 0);
        if (found == bytes.len) {
            /* A tag may begin in the last bytes of this piece. */
            position +=
                bytes.len > FLX_STORED_HEAD_BYTES ? bytes.len - FLX_STORED_HEAD_BYTES + 1 : 1;
            continue;
        }
        flx_stored stored;
        size_t len = 1;
        status = batch_at(probe, position + found, &stored, &len, reterr);
        if (status != FLX_OK && status != FLX_ERR_CORRUPT) {
            return status;
        }
        const bool is_later = status == FLX_OK && stored.base_offset >= tally->end;
        if (is_later && stored.synced_below > proven) {
            proven = stored.synced_below;
        }
        position += found + (is_later ? len : 1);
    }
    *ret_synced_below = proven;
    return FLX_OK;
}

flx_status flx_segment_look_beyond(const flx_segment_scan *scan, const flx_segment_tally *tally,
                                   uint64_t *ret_synced_below, flx_error *reterr)
{
    window view = {0};
    window probe = {0};
    flx_status status = window_init(&view, scan, reterr);
    if (status == FLX_OK) {
        status = window_init(&probe, scan, reterr);
    }
    if (status == FLX_OK) {
        status = search(&view, &probe, tally, ret_synced_below, reterr);
    }
    flx_free(view.bytes);
    flx_free(probe.bytes);
    return status;
}

flx_status flx_segment_blank_from(const flx_segment_scan *scan, const flx_segment_tally *tally,
                                  uint64_t *ret_position, flx_error *reterr)
{
    window view;
    flx_status status = window_init(&view, scan, reterr);
    uint64_t blank_from = tally->position;
    for (uint64_t at = tally->position; at < scan->file_bytes && status == FLX_OK;) {
        flx_slice bytes = {NULL, 0};
        status = window_get(&view, at, WINDOW_BYTES, &bytes, reterr);
        if (status == FLX_OK && bytes.len == 0) {
            status = flx_fail(reterr, FLX_ERR_IO, "a segment became shorter while it was read");
        }
        for (size_t i = bytes.len; status == FLX_OK && i > 0; i--) {
            if (bytes.ptr[i - 1] != 0) {
                blank_from = at + i;
                break;
            }
        }
        at += bytes.len;
    }
    flx_free(view.bytes);
    if (status == FLX_OK) {
        *ret_position = blank_from;
    }
    return status;
}
