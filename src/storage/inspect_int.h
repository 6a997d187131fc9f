/* SPDX-License-Identifier: Apache-2.0 */
/* storage/inspect_int.h - what looking and repairing share. */
#ifndef FLX_STORAGE_INSPECT_INT_H
#define FLX_STORAGE_INSPECT_INT_H

#include "storage/inspect.h"
#include "storage/register.h"

typedef struct flx_inspect_files {
    char directory[FLX_LOG_NAME_MAX + 8];
    uint64_t *bases; /* rising */
    size_t count;
    size_t cap;
    flx_registered entry; /* what the register says */
    bool is_gone;         /* it is registered, and nothing of it is there */
    bool has_state;
    flx_error state_error; /* why not */
    flx_log_state state;
    flx_log_epoch *epochs;
    uint8_t *bytes; /* of the state file */
    size_t len;
} flx_inspect_files;

/* Done also after a failure. */
flx_status flx_inspect_files_read(const flx_store *store, const char *name,
                                  flx_inspect_files *ret_files, flx_error *reterr);
void flx_inspect_files_done(flx_inspect_files *files);

#endif /* FLX_STORAGE_INSPECT_INT_H */
