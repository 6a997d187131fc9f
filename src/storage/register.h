/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/register.h - which logs a store has made: DIR/register/NAME.log, one small file each.
 *
 * It is written before a log takes its first record and removed before the log is deleted, so a log that
 * is registered and not there was lost, and is not made anew (README.md, rule 14). An entry says that a
 * log was made even when its bytes are damaged; the log then mends it.
 *
 * Blocking. Threads: as the store.
 */
#ifndef FLX_STORAGE_REGISTER_H
#define FLX_STORAGE_REGISTER_H

#include "storage/store.h"

#define FLX_REGISTER_DIRECTORY "register"

typedef struct flx_registered {
    bool is_there;
    bool is_readable; /* log_id says which one it was */
    uint8_t log_id[FLX_DISK_ID_BYTES];
} flx_registered;

/* FLX_ERR_IO. */
flx_status flx_register_look(const flx_store *store, const char *name, flx_registered *ret_entry,
                             flx_error *reterr);

/* On disk when it returns, or, after an error, perhaps. FLX_ERR_IO, FLX_ERR_AGAIN. */
flx_status flx_register_add(const flx_store *store, const char *name,
                            const uint8_t log_id[FLX_DISK_ID_BYTES], uint64_t now_us,
                            flx_error *reterr);

/* Gone from the disk when it returns; was not there: fine. FLX_ERR_IO. */
flx_status flx_register_remove(const flx_store *store, const char *name, flx_error *reterr);

/* Whether a file of the register is the entry of a log, whose name is then written out. */
bool flx_register_name_parse(const char *file, char ret_name[FLX_LOG_NAME_MAX + 1]);

#endif /* FLX_STORAGE_REGISTER_H */
