/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/inspect.c - reading a log that nobody has open, and saying all that is wrong with it.
 *
 * Where recovery stops at the first thing it cannot explain, this goes on with the next segment: who
 * has a broken disk wants to know how much is left.
 */
#include "storage/inspect.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/inspect_int.h"
#include "storage/segment.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (256u << 10)

/* ---- what there is -------------------------------------------------------------------------- */

static flx_status base_found(void *arg, const flx_disk_entry *entry)
{
    flx_inspect_files *files = arg;
    uint64_t base = 0;
    if (!flx_segment_name_parse(entry->name, &base)) {
        return FLX_OK;
    }
    if (files->count == files->cap) {
        const size_t cap = files->cap == 0 ? 64 : files->cap * 2;
        uint64_t *grown = flx_realloc(files->bases, cap * sizeof grown[0]);
        if (grown == NULL) {
            return FLX_ERR_NOMEM;
        }
        files->bases = grown;
        files->cap = cap;
    }
    files->bases[files->count] = base;
    files->count++;
    return FLX_OK;
}

static int by_base(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static flx_status state_load(flx_disk *disk, flx_inspect_files *files, flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/state", files->directory);
    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, path, FLX_DISK_READ, &file, reterr);
    if (status == FLX_OK) {
        status = disk->ops->read(file, files->bytes, FLX_LOG_STATE_BYTES_MAX + 1, 0, &files->len,
                                 reterr);
        (void)flx_disk_close(file);
    }
    if (status == FLX_OK) {
        status = flx_log_state_decode((flx_slice){files->bytes, files->len}, files->epochs,
                                      &files->state, reterr);
    }
    files->has_state = status == FLX_OK;
    return status;
}

flx_status flx_inspect_files_read(const flx_store *store, const char *name,
                                  flx_inspect_files *ret_files, flx_error *reterr)
{
    flx_inspect_files *files = ret_files;
    *files = (flx_inspect_files){0};
    if (!flx_log_name_is_valid(name)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "'%s' is no name of a log", name);
    }
    (void)snprintf(files->directory, sizeof files->directory, "logs/%s", name);
    files->bytes = flx_alloc(FLX_LOG_STATE_BYTES_MAX + 1);
    files->epochs = flx_calloc(FLX_LOG_STATE_EPOCHS_MAX, sizeof files->epochs[0]);
    if (files->bytes == NULL || files->epochs == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "inspect log '%s'", name);
    }
    flx_disk *disk = flx_store_disk(store);
    const flx_status status = disk->ops->list(disk, files->directory, base_found, files, reterr);
    if (status != FLX_OK) {
        return status == FLX_ERR_NOMEM ? flx_fail(reterr, status, "inspect log '%s'", name)
                                       : status;
    }
    if (files->count > 1) {
        qsort(files->bases, files->count, sizeof files->bases[0], by_base);
    }
    const flx_status loaded = state_load(disk, files, &files->state_error);
    return loaded == FLX_ERR_IO || loaded == FLX_ERR_NOMEM
               ? flx_fail(reterr, loaded, "%s", files->state_error.message)
               : FLX_OK;
}

void flx_inspect_files_done(flx_inspect_files *files)
{
    flx_free(files->bases);
    flx_free(files->bytes);
    flx_free(files->epochs);
}

/* ---- problems ------------------------------------------------------------------------------- */

typedef struct inspection {
    const flx_store *store;
    const flx_inspect_visit *visit;
    flx_inspect_summary *summary;
    flx_inspect_files *files;
    uint64_t chain; /* where the next segment must begin */
    uint64_t segment;
    bool is_broken; /* a problem that is not harmless was met */
} inspection;

static FLX_PRINTF(6, 7) void problem(inspection *run, bool is_harmless, uint64_t segment,
                                     uint64_t position, uint64_t offset, const char *format, ...)
{
    char file[FLX_DISK_PATH_MAX];
    char what[200];
    va_list args;
    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was started above */
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    flx_segment_path(run->files->directory, segment, file);
    const flx_inspect_problem told = {file, position, offset, what, is_harmless};
    run->summary->problems += !is_harmless;
    run->summary->harmless += is_harmless;
    run->is_broken = run->is_broken || !is_harmless;
    if (run->visit->problem != NULL) {
        run->visit->problem(run->visit->arg, &told);
    }
}

/* ---- one segment ---------------------------------------------------------------------------- */

static flx_status batch_seen(void *arg, const flx_stored *stored, uint64_t position)
{
    inspection *run = arg;
    return run->visit->batch == NULL
               ? FLX_OK
               : run->visit->batch(run->visit->arg, stored, run->segment, position);
}

/* A break in the last segment, when it is not sealed: torn, or damage, by the same evidence as at
 * recovery (README.md, rule 6). */
static flx_status tail_judge(inspection *run, const flx_segment_scan *scan,
                             const flx_segment_tally *tally, flx_error *reterr)
{
    uint64_t proven = 0;
    uint64_t torn_end = 0;
    flx_status status = flx_segment_blank_from(scan, tally, &torn_end, reterr);
    if (status == FLX_OK && tally->position < torn_end) {
        status = flx_segment_look_beyond(scan, tally, &proven, reterr);
    }
    proven = tally->synced_below > proven ? tally->synced_below : proven;
    proven = run->files->state.checkpoint_end > proven ? run->files->state.checkpoint_end : proven;
    if (status != FLX_OK) {
        return status;
    }
    if (tally->end < proven) {
        problem(run, false, tally->base, tally->position, tally->end,
                "records below %" PRIu64 " were synced and are not whole", proven);
    } else if (tally->position < torn_end) {
        problem(run, true, tally->base, tally->position, tally->end,
                "a torn tail of %" PRIu64 " bytes, never acknowledged: cut when it is opened",
                torn_end - tally->position);
    }
    return FLX_OK;
}

static flx_status segment_scan(inspection *run, flx_file *file, const flx_segment_header *header,
                               bool is_last, flx_error *reterr)
{
    flx_segment_trailer trailer;
    uint64_t file_bytes = 0;
    flx_error why;
    flx_status status =
        flx_segment_footer_read(file, header->base_offset, &trailer, &file_bytes, &why);
    if (status != FLX_OK && status != FLX_ERR_CORRUPT) {
        return flx_fail(reterr, status, "%s", why.message);
    }
    const bool is_sealed = status == FLX_OK;
    const flx_segment_scan scan = {
        .file = file,
        .file_bytes = is_sealed ? trailer.data_end : file_bytes,
        .block_bytes = BLOCK_BYTES,
        .tag = flx_stored_tag(header->log_id),
        .is_compacted = header->is_compacted,
        .each = batch_seen,
        .arg = run,
    };
    flx_segment_tally tally;
    flx_segment_tally_init(&tally, header->base_offset);
    status = flx_segment_scan_run(&scan, &tally, reterr);
    if (status == FLX_OK && is_sealed) {
        const bool is_whole = tally.position == trailer.data_end &&
                              tally.records == trailer.records &&
                              (tally.end == trailer.end_offset || header->is_compacted);
        if (!is_whole) {
            problem(run, false, tally.base, tally.position, tally.end,
                    "no whole batch here, in a sealed segment that ends with offset %" PRIu64,
                    trailer.end_offset);
        } else {
            tally.end = trailer.end_offset;
        }
    } else if (status == FLX_OK && is_last) {
        status = tail_judge(run, &scan, &tally, reterr);
    } else if (status == FLX_OK) {
        const uint64_t next = run->files->bases[run->summary->segments];
        const bool reaches = tally.end == next || (header->is_compacted && tally.end < next);
        problem(run, reaches, tally.base, tally.position, tally.end, "%s",
                reaches ? "the footer is damaged: made again when it is opened"
                        : "no whole batch here, and no footer");
        tally.end = reaches ? next : tally.end;
    }
    const flx_inspect_segment seen = {
        .base = tally.base,
        .end = tally.end,
        .file_bytes = file_bytes,
        .records = tally.records,
        .batches = tally.batches,
        .time_first_us = tally.time_first_us,
        .time_last_us = tally.time_last_us,
        .is_sealed = is_sealed,
        .is_compacted = header->is_compacted,
    };
    run->chain = run->is_broken ? UINT64_MAX : tally.end;
    run->summary->bytes += file_bytes;
    if (!run->is_broken || run->summary->problems == 1) {
        run->summary->end =
            run->is_broken && run->summary->end > tally.end ? run->summary->end : tally.end;
    }
    flx_segment_tally_done(&tally);
    if (status == FLX_OK && run->visit->segment != NULL) {
        run->visit->segment(run->visit->arg, &seen);
    }
    return status;
}

static flx_status segment_inspect(inspection *run, size_t index, flx_error *reterr)
{
    const uint64_t base = run->files->bases[index];
    const bool is_last = index + 1 == run->files->count;
    run->segment = base;
    run->summary->segments++;
    if (run->chain != UINT64_MAX && base > run->chain) {
        problem(run, false, run->chain, 0, run->chain,
                "missing: the next segment begins with %" PRIu64, base);
    }
    flx_file *file = NULL;
    flx_segment_header header;
    flx_error why;
    flx_status status = flx_segment_open(flx_store_disk(run->store), run->files->directory, base,
                                         flx_store_id(run->store),
                                         run->files->has_state ? run->files->state.log_id : NULL,
                                         FLX_DISK_READ, &file, &header, &why);
    if (status == FLX_ERR_CORRUPT || status == FLX_ERR_UNSUPPORTED) {
        problem(run, false, base, 0, base, "%s", why.message);
        run->chain = UINT64_MAX;
        return FLX_OK;
    }
    if (status != FLX_OK) {
        return flx_fail(reterr, status, "%s", why.message);
    }
    status = segment_scan(run, file, &header, is_last, reterr);
    (void)flx_disk_close(file);
    return status;
}

static void summary_begin(const flx_inspect_files *files, flx_inspect_summary *summary)
{
    *summary = (flx_inspect_summary){.has_state = files->has_state};
    if (files->has_state) {
        const flx_log_state *state = &files->state;
        memcpy(summary->label, state->label.ptr, state->label.len);
        summary->start = state->start_offset;
        summary->checkpoint_end = state->checkpoint_end;
        summary->collapsed_below = state->collapsed_below;
        summary->promised = state->promised_epoch;
        summary->epoch = state->epochs[state->epoch_count - 1].epoch;
        summary->end = state->start_offset;
    }
}

flx_status flx_inspect_log(const flx_store *store, const char *name, const flx_inspect_visit *visit,
                           flx_inspect_summary *ret_summary, flx_error *reterr)
{
    flx_inspect_files files;
    inspection run = {.store = store, .visit = visit, .summary = ret_summary, .files = &files};
    flx_status status = flx_inspect_files_read(store, name, &files, reterr);
    if (status == FLX_OK) {
        summary_begin(&files, ret_summary);
        run.chain = ret_summary->start;
        if (!files.has_state) {
            ret_summary->problems++;
            run.is_broken = true;
            run.chain = UINT64_MAX;
            char path[FLX_DISK_PATH_MAX];
            (void)snprintf(path, sizeof path, "%s/state", files.directory);
            const flx_inspect_problem told = {path, 0, 0, files.state_error.message, false};
            if (visit->problem != NULL) {
                visit->problem(visit->arg, &told);
            }
        } else if (files.count == 0 && ret_summary->checkpoint_end > 0) {
            problem(&run, false, ret_summary->start, 0, ret_summary->start, "no segment is there");
        }
    }
    for (size_t i = 0; i < files.count && status == FLX_OK; i++) {
        const bool is_below_start = files.has_state && i + 1 < files.count &&
                                    files.bases[i + 1] <= files.state.start_offset;
        if (is_below_start) {
            ret_summary->segments++; /* on its way out */
            continue;
        }
        if (run.chain == ret_summary->start && files.bases[i] <= run.chain) {
            run.chain = files.bases[i];
        }
        status = segment_inspect(&run, i, reterr);
    }
    flx_inspect_files_done(&files);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "log '%s'", name);
    }
    return status;
}

flx_status flx_inspect_glance(const flx_store *store, const char *name,
                              flx_inspect_summary *ret_summary, flx_error *reterr)
{
    flx_inspect_files files;
    flx_status status = flx_inspect_files_read(store, name, &files, reterr);
    if (status == FLX_OK) {
        summary_begin(&files, ret_summary);
        ret_summary->segments = (uint32_t)files.count;
        ret_summary->problems = !files.has_state;
        ret_summary->end = ret_summary->checkpoint_end;
    }
    for (size_t i = 0; i < files.count && status == FLX_OK; i++) {
        char path[FLX_DISK_PATH_MAX];
        flx_segment_path(files.directory, files.bases[i], path);
        flx_disk *disk = flx_store_disk(store);
        flx_file *file = NULL;
        uint64_t bytes = 0;
        status = disk->ops->open(disk, path, FLX_DISK_READ, &file, reterr);
        if (status == FLX_OK) {
            status = disk->ops->size(file, &bytes, reterr);
        }
        file = flx_disk_close(file);
        ret_summary->bytes += bytes;
    }
    flx_inspect_files_done(&files);
    return status;
}
