/* SPDX-License-Identifier: Apache-2.0 */
/* node/log_owners.c - every name the catalog gives to a log, sorted; see the header. */
#include "node/log_owners.h"

#include "common/alloc.h"
#include "common/error.h"

#include <stdlib.h>
#include <string.h>

typedef struct owned_log {
    char *name;
    flx_log_owner owner;
} owned_log;

struct flx_log_owners {
    owned_log *logs; /* by name */
    size_t count;
    size_t cap;
};

static flx_status add(flx_log_owners *owners, const flx_log_subject *subject, uint32_t shards,
                      flx_log_owner owner)
{
    for (uint32_t shard = 0; shard < shards; shard++) {
        if (owners->count == owners->cap) {
            const size_t cap = owners->cap == 0 ? 64 : owners->cap * 2;
            owned_log *grown = flx_realloc(owners->logs, cap * sizeof grown[0]);
            if (grown == NULL) {
                return FLX_ERR_NOMEM;
            }
            owners->logs = grown;
            owners->cap = cap;
        }
        flx_log_named named;
        flx_log_name(subject, shard, &named);
        char *name = flx_strdup(named.name);
        if (name == NULL) {
            return FLX_ERR_NOMEM;
        }
        owners->logs[owners->count++] = (owned_log){name, owner};
    }
    return FLX_OK;
}

flx_log_subject flx_log_subject_of_dropped(const flx_dropped *dropped)
{
    return (flx_log_subject){dropped->kind == FLX_KIND_CACHE, dropped->id, dropped->tenant,
                             dropped->namespace_, dropped->name};
}

static flx_status add_dropped(void *arg, const flx_dropped *dropped)
{
    const flx_log_subject subject = flx_log_subject_of_dropped(dropped);
    return add(arg, &subject, dropped->shards, FLX_LOG_DROPPED);
}

static flx_status add_catalog(flx_log_owners *owners, const flx_catalog *catalog)
{
    flx_status status = FLX_OK;
    for (size_t i = 0; i < flx_catalog_stream_count(catalog) && status == FLX_OK; i++) {
        const flx_stream_info *info = flx_catalog_stream_at(catalog, i);
        const flx_log_subject subject = {false, info->id, info->tenant, info->namespace_,
                                         info->name};
        status = add(owners, &subject, info->promise.durable ? info->shards : 0, FLX_LOG_OWNED);
    }
    for (size_t i = 0; i < flx_catalog_cache_count(catalog) && status == FLX_OK; i++) {
        const flx_cache_info *info = flx_catalog_cache_at(catalog, i);
        const flx_log_subject subject = {true, info->id, info->tenant, info->namespace_,
                                         info->name};
        status = add(owners, &subject, info->promise.durable ? info->shards : 0, FLX_LOG_OWNED);
    }
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const owned_log *)a)->name, ((const owned_log *)b)->name);
}

flx_status flx_log_owners_read(flx_catalog_store *store, flx_log_owners **ret_owners,
                               flx_error *reterr)
{
    flx_catalog *catalog = NULL;
    flx_log_owners *owners = flx_calloc(1, sizeof *owners);
    if (owners == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "look for owners of logs");
    }
    flx_status status = flx_catalog_store_snapshot(store, &catalog, reterr);
    if (status == FLX_OK) {
        status = add_catalog(owners, catalog);
        catalog = flx_catalog_unref(catalog);
        status = status == FLX_OK ? flx_catalog_store_dropped(store, add_dropped, owners, reterr)
                                  : status;
    }
    if (status == FLX_ERR_NOMEM) {
        (void)flx_fail(reterr, status, "look for owners of logs");
    }
    if (status != FLX_OK) {
        (void)flx_log_owners_free(owners);
        return status;
    }
    if (owners->count > 1) {
        qsort(owners->logs, owners->count, sizeof owners->logs[0], by_name);
    }
    *ret_owners = owners;
    return FLX_OK;
}

flx_log_owners *flx_log_owners_free(flx_log_owners *owners)
{
    if (owners != NULL) {
        for (size_t i = 0; i < owners->count; i++) {
            flx_free(owners->logs[i].name);
        }
        flx_free(owners->logs);
        flx_free(owners);
    }
    return NULL;
}

static int name_to_log(const void *name, const void *log)
{
    return strcmp(name, ((const owned_log *)log)->name);
}

flx_log_owner flx_log_owners_find(const flx_log_owners *owners, const char *name)
{
    const owned_log *found = owners->count == 0 ? NULL
                                                : bsearch(name, owners->logs, owners->count,
                                                          sizeof owners->logs[0], name_to_log);
    return found == NULL ? FLX_LOG_ORPHAN : found->owner;
}

bool flx_log_owners_has_any(const flx_log_owners *owners)
{
    for (size_t i = 0; i < owners->count; i++) {
        if (owners->logs[i].owner == FLX_LOG_OWNED) {
            return true;
        }
    }
    return false;
}
