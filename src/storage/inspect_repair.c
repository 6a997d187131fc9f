/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/inspect_repair.c - a damaged log is cut back to its first damage; nothing is deleted.
 *
 * Order: everything that will not be served is in DIR/aside and synced before the log changes. A crash in
 * between leaves a log that is as damaged as before, and a second repair goes on.
 *
 * A loss is accepted the same way: the directory is moved aside as a whole, then the register forgets the
 * log. In between it is gone and registered, which is as damaged as before.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/inspect_int.h"
#include "storage/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COPY_BYTES ((size_t)1 << 20)

/* Where the first damage is. */
typedef struct place {
    bool is_found;
    uint64_t position;
    uint64_t offset;
} place;

static void remember_first(void *arg, const flx_inspect_problem *problem)
{
    place *first = arg;
    if (!problem->is_harmless && !first->is_found) {
        *first = (place){true, problem->position, problem->offset};
    }
}

static flx_status copy(flx_disk *disk, const char *from, const char *to, flx_error *reterr)
{
    flx_file *in = NULL;
    flx_file *out = NULL;
    uint8_t *bytes = flx_alloc(COPY_BYTES);
    flx_status status = bytes == NULL ? flx_fail(reterr, FLX_ERR_NOMEM, "copy '%s'", from)
                                      : disk->ops->open(disk, from, FLX_DISK_READ, &in, reterr);
    if (status == FLX_OK) {
        status = disk->ops->open(disk, to, FLX_DISK_CREATE, &out, reterr);
    }
    size_t len = COPY_BYTES;
    for (uint64_t at = 0; status == FLX_OK && len == COPY_BYTES; at += len) {
        status = disk->ops->read(in, bytes, COPY_BYTES, at, &len, reterr);
        if (status == FLX_OK && len > 0) {
            status = flx_disk_write(out, bytes, len, at, reterr);
        }
    }
    if (status == FLX_OK) {
        status = disk->ops->sync(out, reterr);
    }
    (void)flx_disk_close(in);
    (void)flx_disk_close(out);
    flx_free(bytes);
    return status;
}

/* DIR/aside, and a name in it that nothing has. */
static flx_status aside_name(flx_disk *disk, const char *name, char aside[FLX_DISK_PATH_MAX],
                             flx_error *reterr)
{
    uint8_t id[FLX_DISK_ID_BYTES];
    flx_disk_id_make(id);
    (void)snprintf(aside, FLX_DISK_PATH_MAX, "aside/%s.%02x%02x%02x%02x%02x%02x", name, id[0],
                   id[1], id[2], id[3], id[4], id[5]);
    const flx_status status = disk->ops->make_dir(disk, "aside", reterr);
    return status == FLX_OK ? disk->ops->sync_dir(disk, "", reterr) : status;
}

static flx_status aside_make(flx_disk *disk, const char *name, char aside[FLX_DISK_PATH_MAX],
                             flx_error *reterr)
{
    flx_status status = aside_name(disk, name, aside, reterr);
    if (status == FLX_OK) {
        status = disk->ops->make_dir(disk, aside, reterr);
    }
    return status == FLX_OK ? disk->ops->sync_dir(disk, "aside", reterr) : status;
}

static flx_status segment_cut(flx_disk *disk, const char *path, uint64_t position,
                              flx_error *reterr)
{
    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, path, FLX_DISK_WRITE, &file, reterr);
    if (status == FLX_OK) {
        status = disk->ops->truncate(file, position, reterr);
    }
    if (status == FLX_OK) {
        status = disk->ops->sync(file, reterr);
    }
    (void)flx_disk_close(file);
    return status;
}

static flx_status state_take_back(flx_disk *disk, flx_inspect_files *files, uint64_t end,
                                  flx_error *reterr)
{
    flx_log_state *state = &files->state;
    state->checkpoint_end = end;
    state->start_offset = state->start_offset < end ? state->start_offset : end;
    uint8_t *bytes = flx_alloc(flx_log_state_bytes(state));
    if (bytes == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "repair a log");
    }
    flx_log_state_encode(state, bytes);
    const flx_status status = flx_disk_replace(disk, files->directory, "state", bytes,
                                               flx_log_state_bytes(state), reterr);
    flx_free(bytes);
    return status;
}

/* Copies all that is at or behind the damage, then lets the log end there. */
static flx_status cut_back(flx_disk *disk, flx_inspect_files *files, const place *first,
                           const char *aside, flx_error *reterr)
{
    flx_status status = FLX_OK;
    for (int pass = 0; pass < 2 && status == FLX_OK; pass++) {
        for (size_t i = 0; i < files->count && status == FLX_OK; i++) {
            const bool is_behind = files->bases[i] >= first->offset;
            const bool is_cut =
                !is_behind && (i + 1 == files->count || files->bases[i + 1] > first->offset);
            char from[FLX_DISK_PATH_MAX];
            char to[FLX_DISK_PATH_MAX];
            flx_segment_path(files->directory, files->bases[i], from);
            flx_segment_path(aside, files->bases[i], to);
            if (pass == 0 && (is_behind || is_cut)) {
                status = copy(disk, from, to, reterr);
            } else if (pass == 1 && is_behind) {
                status = disk->ops->unlink(disk, from, reterr);
            } else if (pass == 1 && is_cut && first->position > 0) {
                status = segment_cut(disk, from, first->position, reterr);
            }
        }
        if (status == FLX_OK && pass == 0) {
            status = disk->ops->sync_dir(disk, aside, reterr);
            if (status == FLX_OK) {
                status = state_take_back(disk, files, first->offset, reterr);
            }
        }
    }
    return status == FLX_OK ? disk->ops->sync_dir(disk, files->directory, reterr) : status;
}

flx_status flx_inspect_repair(flx_store *store, const char *name, uint64_t *ret_end,
                              char ret_aside[FLX_DISK_PATH_MAX], flx_error *reterr)
{
    place first = {0};
    const flx_inspect_visit visit = {.problem = remember_first, .arg = &first};
    flx_inspect_summary summary;
    flx_status status = flx_inspect_log(store, name, &visit, &summary, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (!first.is_found) {
        return flx_fail(reterr, FLX_ERR_CONFLICT, "log '%s' is not damaged", name);
    }
    if (!summary.has_state) {
        return flx_fail(reterr, FLX_ERR_CORRUPT,
                        "log '%s' %s: put it back from a backup, or give it up with "
                        "--accept-loss",
                        name, summary.is_gone ? "is gone" : "has no readable state");
    }
    flx_inspect_files files;
    status = flx_inspect_files_read(store, name, &files, reterr);
    flx_disk *disk = flx_store_disk(store);
    if (status == FLX_OK) {
        status = aside_make(disk, name, ret_aside, reterr);
    }
    if (status == FLX_OK) {
        status = cut_back(disk, &files, &first, ret_aside, reterr);
    }
    if (status == FLX_OK && (files.count == 0 || files.bases[0] >= first.offset)) {
        status = flx_register_remove(store, name, reterr); /* no segment is left to be missed */
    }
    flx_inspect_files_done(&files);
    if (status == FLX_OK) {
        *ret_end = first.offset;
    }
    return status;
}

/* One rename, synced on both sides. */
static flx_status move_aside(flx_disk *disk, const char *name, char aside[FLX_DISK_PATH_MAX],
                             flx_error *reterr)
{
    char from[FLX_DISK_PATH_MAX];
    (void)snprintf(from, sizeof from, "logs/%s", name);
    flx_status status = aside_name(disk, name, aside, reterr);
    if (status == FLX_OK) {
        status = disk->ops->rename(disk, from, aside, reterr);
    }
    if (status == FLX_OK) {
        status = disk->ops->sync_dir(disk, "aside", reterr);
    }
    return status == FLX_OK ? disk->ops->sync_dir(disk, "logs", reterr) : status;
}

flx_status flx_inspect_forget(flx_store *store, const char *name, char ret_aside[FLX_DISK_PATH_MAX],
                              flx_error *reterr)
{
    const flx_inspect_visit visit = {.arg = NULL};
    flx_inspect_summary summary;
    flx_status status = flx_inspect_log(store, name, &visit, &summary, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (summary.problems == 0) {
        return flx_fail(reterr, FLX_ERR_CONFLICT, "log '%s' is not damaged", name);
    }
    ret_aside[0] = '\0';
    if (!summary.is_gone) {
        status = move_aside(flx_store_disk(store), name, ret_aside, reterr);
    }
    return status == FLX_OK ? flx_register_remove(store, name, reterr) : status;
}
