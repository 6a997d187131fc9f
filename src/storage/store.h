/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/store.h - a data directory: its identity, its lock, its logs by name.
 *
 *     DIR/lock                   held while a node or a tool that writes has it open
 *     DIR/store                  16 random bytes, made with the directory: which disk this is
 *     DIR/register/NAME.log      this log was made here (register.h)
 *     DIR/logs/NAME/state        epochs, checkpoint, start (format.h)
 *     DIR/logs/NAME/OFFSET.seg   segments, named by their first offset, 20 digits
 *     DIR/trash/                 deleted logs whose files are being removed
 *     DIR/aside/                 what `felix log repair` took out, never deleted by us
 *
 * A node that remembers the id of its store notices an emptied or swapped disk. Everything here
 * blocks: call it before the workers run, on an I/O thread, or in a tool.
 *
 * Threads: an open store is read only and may be used by any thread; two threads must not create,
 * open or remove the same log at once.
 */
#ifndef FLX_STORAGE_STORE_H
#define FLX_STORAGE_STORE_H

#include "storage/disk.h"
#include "storage/format.h"

#define FLX_LOG_NAME_MAX 128 /* bytes of a log's name: [a-z0-9._-], not beginning with '.' */

typedef struct flx_store flx_store;

typedef enum flx_store_how {
    FLX_STORE_CREATE,   /* made when the directory is empty */
    FLX_STORE_EXISTING, /* FLX_ERR_NOT_FOUND when there is none */
    FLX_STORE_LOOK      /* the same, for reading only: no lock, nothing is changed */
} flx_store_how;

/*
 * Takes the lock and reads the identity; also finishes deletions a crash interrupted. Borrows `disk`
 * until the store is freed. `now_us` dates a new one.
 *
 * FLX_ERR_NOT_FOUND  nothing there (FLX_STORE_EXISTING)
 * FLX_ERR_CONFLICT   another process has it open
 * FLX_ERR_CORRUPT    DIR/store is damaged, or missing beside logs, or DIR/register is missing
 * FLX_ERR_IO, FLX_ERR_AGAIN, FLX_ERR_NOMEM
 */
flx_status flx_store_open(flx_disk *disk, flx_store_how how, uint64_t now_us, flx_store **ret_store,
                          flx_error *reterr);
/* Its journals must be freed. NULL is fine. Always returns NULL. */
flx_store *flx_store_free(flx_store *store);

flx_disk *flx_store_disk(const flx_store *store);
/* FLX_DISK_ID_BYTES. */
const uint8_t *flx_store_id(const flx_store *store);

/* Sixteen random bytes. */
void flx_disk_id_make(uint8_t ret_id[FLX_DISK_ID_BYTES]);

bool flx_log_name_is_valid(const char *name);

/* Calls `each` with the name of every log that is there or should be, in order of names. */
flx_status flx_store_list(const flx_store *store, flx_status (*each)(void *arg, const char *name),
                          void *arg, flx_error *reterr);

/* Whether files of the log are there. FLX_ERR_IO, FLX_ERR_NOMEM. */
flx_status flx_store_has(const flx_store *store, const char *name, bool *ret_has,
                         flx_error *reterr);

/*
 * Deletes a log: taken from the register, renamed into the trash and that synced, so that it is gone as
 * a whole from here on, then its files are removed. No journal of it may be open. After a crash it is
 * whole, or not there. FLX_ERR_NOT_FOUND: it was not there; it is not registered any more.
 * FLX_ERR_IO after the rename is not reported: the next open goes on.
 */
flx_status flx_store_remove(flx_store *store, const char *name, flx_error *reterr);

#endif /* FLX_STORAGE_STORE_H */
