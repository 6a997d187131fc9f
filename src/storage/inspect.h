/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/inspect.h - a log looked at from outside: what `felix log` does on a data directory.
 *
 * Looking changes nothing and goes on where opening would refuse, so that it can say everything that is
 * wrong. Repairing moves what cannot be served into DIR/aside and never deletes. Blocking.
 */
#ifndef FLX_STORAGE_INSPECT_H
#define FLX_STORAGE_INSPECT_H

#include "storage/store.h"

typedef struct flx_inspect_segment {
    uint64_t base;
    uint64_t end; /* of what is whole */
    uint64_t file_bytes;
    uint64_t records;
    uint64_t batches;
    uint64_t time_first_us;
    uint64_t time_last_us;
    bool is_sealed;
    bool is_compacted;
} flx_inspect_segment;

typedef struct flx_inspect_problem {
    const char *file;  /* valid during the call, as is `what` */
    uint64_t position; /* bytes into it */
    uint64_t offset;   /* where in the log */
    const char *what;
    bool is_harmless; /* opening the log mends it by itself: a torn tail, a footer */
} flx_inspect_problem;

/* Each may be NULL. */
typedef struct flx_inspect_visit {
    void (*segment)(void *arg, const flx_inspect_segment *segment);
    /* An answer other than FLX_OK ends the inspection with it. */
    flx_status (*batch)(void *arg, const flx_stored *stored, uint64_t segment, uint64_t position);
    void (*problem)(void *arg, const flx_inspect_problem *problem);
    void *arg;
} flx_inspect_visit;

typedef struct flx_inspect_summary {
    char label[FLX_LOG_STATE_LABEL_MAX + 1];
    bool is_gone; /* the store has made it, and nothing of it is there */
    bool has_state;
    uint64_t start;
    uint64_t end; /* of the first unbroken stretch */
    uint64_t checkpoint_end;
    uint64_t collapsed_below;
    uint64_t epoch;
    uint64_t promised;
    uint64_t bytes;
    uint32_t segments;
    uint32_t problems; /* without the harmless ones */
    uint32_t harmless;
} flx_inspect_summary;

/* Every batch of every segment is read and checked. FLX_ERR_NOT_FOUND, FLX_ERR_IO, FLX_ERR_NOMEM; damage
 * is told, not answered. */
flx_status flx_inspect_log(const flx_store *store, const char *name, const flx_inspect_visit *visit,
                           flx_inspect_summary *ret_summary, flx_error *reterr);
/* Only what the state and the footers say, for a list. */
flx_status flx_inspect_glance(const flx_store *store, const char *name,
                              flx_inspect_summary *ret_summary, flx_error *reterr);

/*
 * Makes a damaged log serve again up to the first damage: the segment it is in is copied to DIR/aside and cut,
 * later segments are moved there, and the checkpoint is taken back to what is left. The store must be
 * open for changing. *ret_end is the new end; *ret_aside the directory below DIR.
 *
 * FLX_ERR_CONFLICT  there is nothing to repair
 * FLX_ERR_CORRUPT   the state is damaged or missing: only a backup helps, or flx_inspect_forget
 */
flx_status flx_inspect_repair(flx_store *store, const char *name, uint64_t *ret_end,
                              char ret_aside[FLX_DISK_PATH_MAX], flx_error *reterr);

/*
 * Accepts the loss of a log that is damaged or gone: what is there of it is moved to DIR/aside, and the
 * store forgets that it made it, so that the next opening makes it anew, empty. *ret_aside is empty when
 * nothing was there. FLX_ERR_CONFLICT: the log is whole. FLX_ERR_NOT_FOUND, FLX_ERR_IO.
 */
flx_status flx_inspect_forget(flx_store *store, const char *name, char ret_aside[FLX_DISK_PATH_MAX],
                              flx_error *reterr);

#endif /* FLX_STORAGE_INSPECT_H */
