/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/store_logs.h - what the catalog remembers for the disk below it.
 *
 *   - which store of logs it belongs to, so that a disk that was emptied or swapped is noticed;
 *   - which durable streams and caches were deleted, until their logs are gone: the note is part of the
 *     transaction that deletes, so a crash right behind it leaves no log that nobody knows of.
 *
 * Neither is a change: no version, no line in a change log. Statuses and threads as in store.h.
 */
#ifndef FLX_METADATA_STORE_LOGS_H
#define FLX_METADATA_STORE_LOGS_H

#include "metadata/store.h"

#define FLX_LOG_STORE_ID_BYTES 16

/* *ret_is_known false: it has not been said yet. */
flx_status flx_catalog_store_get_log_store(flx_catalog_store *store, bool *ret_is_known,
                                           uint8_t ret_id[FLX_LOG_STORE_ID_BYTES],
                                           flx_error *reterr);
/* NULL forgets it: the next one that is opened is taken. */
flx_status flx_catalog_store_set_log_store(flx_catalog_store *store, const uint8_t *id,
                                           flx_error *reterr);

/* A durable stream (FLX_KIND_STREAM) or cache (FLX_KIND_CACHE) that is no more. */
typedef struct flx_dropped {
    flx_kind kind;
    uint32_t id;
    uint32_t shards;
    char tenant[FLX_NAME_MAX + 1];
    char namespace_[FLX_NAME_MAX + 1];
    char name[FLX_NAME_MAX + 1];
    uint64_t dropped_at_ms; /* since 1970 */
} flx_dropped;

/* Hands all of them to `visit`, which must not call the store, as long as it answers FLX_OK. */
flx_status flx_catalog_store_dropped(flx_catalog_store *store,
                                     flx_status (*visit)(void *arg, const flx_dropped *dropped),
                                     void *arg, flx_error *reterr);
/* Its logs are gone: it is forgotten. */
flx_status flx_catalog_store_dropped_done(flx_catalog_store *store, flx_kind kind, uint32_t id,
                                          flx_error *reterr);

#endif /* FLX_METADATA_STORE_LOGS_H */
