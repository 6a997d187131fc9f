/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/log_owners.h - whose the logs of a data directory are, by its catalog.
 *
 * For the start of a node, and for `felix log` beside a stopped one. Blocking; one thread.
 */
#ifndef FLX_NODE_LOG_OWNERS_H
#define FLX_NODE_LOG_OWNERS_H

#include "broker/log_name.h"
#include "metadata/store_logs.h"

typedef struct flx_log_owners flx_log_owners;

typedef enum flx_log_owner {
    FLX_LOG_OWNED,   /* a stream or cache of the catalog has it */
    FLX_LOG_DROPPED, /* that was deleted: the log goes at the next start */
    FLX_LOG_ORPHAN   /* the catalog knows nothing of it: it is left as it is */
} flx_log_owner;

/* As it is now. FLX_ERR_NOMEM, FLX_ERR_CORRUPT, FLX_ERR_IO. */
flx_status flx_log_owners_read(flx_catalog_store *store, flx_log_owners **ret_owners,
                               flx_error *reterr);
flx_log_owners *flx_log_owners_free(flx_log_owners *owners); /* NULL is fine. Returns NULL. */

flx_log_owner flx_log_owners_find(const flx_log_owners *owners, const char *name);
/* Whether any stream or cache of the catalog is durable. */
bool flx_log_owners_has_any(const flx_log_owners *owners);

/* The subject of the logs that something deleted had; borrows it. */
flx_log_subject flx_log_subject_of_dropped(const flx_dropped *dropped);

#endif /* FLX_NODE_LOG_OWNERS_H */
