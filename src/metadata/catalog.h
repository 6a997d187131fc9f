/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/catalog.h - what exists: tenants, namespaces, streams, caches, as one immutable snapshot.
 *
 * A snapshot is counted and never changes; a change makes a new one, which workers take over whole.
 * Each stream and cache has a dense `id` that stays its own for the life of the store and is never
 * used again, so that a worker can keep its state in arrays and resolve a name once a QUIC stream.
 * Lookups allocate nothing. Any thread may read and ref/unref.
 */
#ifndef FLX_METADATA_CATALOG_H
#define FLX_METADATA_CATALOG_H

#include "router/router.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_NAME_MAX 128 /* bytes of a tenant, namespace, stream or cache name */

typedef enum flx_ack_rule { /* what an answer to a write means, weakest first */
                            FLX_ACK_ACCEPTED = 0,
                            FLX_ACK_WRITTEN = 1,
                            FLX_ACK_SYNCED = 2,
                            FLX_ACK_QUORUM = 3
} flx_ack_rule;

typedef enum flx_fsync_rule {                     /* when a durable log is synced to the device */
                              FLX_FSYNC_NONE = 0, /* when the kernel likes */
                              FLX_FSYNC_PERIODIC = 1, /* fsync_ms after a write at the latest */
                              FLX_FSYNC_ON_COMMIT = 2 /* with every write */
} flx_fsync_rule;

/* What a write to a stream or cache is promised, and how that is kept (README.md, rule 4). */
typedef struct flx_promise {
    bool durable;
    flx_ack_rule ack;     /* ACCEPTED when not durable */
    flx_fsync_rule fsync; /* NONE when not durable */
    uint32_t fsync_ms;    /* PERIODIC: how late a sync may be; else 0 */
} flx_promise;

typedef enum flx_slow_policy { /* what happens to a subscriber the ring would overrun */
                               FLX_SLOW_LAG =
                                   0, /* told where to resume, or jumps forward; the default */
                               FLX_SLOW_DROP_NEW = 1,
                               FLX_SLOW_DROP_OLD = 2,
                               FLX_SLOW_BLOCK = 3 /* publishers of the shard wait, within a bound */
} flx_slow_policy;

typedef struct flx_stream_info {
    uint32_t id;
    uint32_t shards; /* 1 .. 1024 */
    char tenant[FLX_NAME_MAX + 1];
    char namespace_[FLX_NAME_MAX + 1];
    char name[FLX_NAME_MAX + 1];
    flx_routing routing;
    flx_promise promise;
    flx_slow_policy slow_policy;
    uint64_t retention_bytes;   /* of the stream; 0: none. Each shard keeps its even share. */
    uint64_t retention_age_s;   /* 0: none */
    uint64_t retention_records; /* as retention_bytes */
    /* Stored and echoed for the control-plane API; the broker does not act on them. */
    uint32_t replication_factor;
    char kind[8];        /* "Stream", "Queue", "Cache" */
    char consistency[8]; /* "Leader", "Quorum" */
    char delivery[12];   /* "AtMostOnce", "AtLeastOnce" */
    char region[64];
} flx_stream_info;

typedef struct flx_cache_info {
    uint32_t id;
    uint32_t shards;
    char tenant[FLX_NAME_MAX + 1];
    char namespace_[FLX_NAME_MAX + 1];
    char name[FLX_NAME_MAX + 1];
    char display_name[FLX_NAME_MAX + 1];
    flx_promise promise;
    uint32_t replication_factor;
    char consistency[8];
} flx_cache_info;

typedef struct flx_catalog flx_catalog;

/* Counted atomically: any thread. unref frees with the last one; NULL is fine, it returns NULL. */
flx_catalog *flx_catalog_ref(const flx_catalog *catalog);
flx_catalog *flx_catalog_unref(flx_catalog *catalog);

/* Grows by one with every change. */
uint64_t flx_catalog_version(const flx_catalog *catalog);

/* NULL when there is none. Valid as long as the snapshot. */
const flx_stream_info *flx_catalog_stream(const flx_catalog *catalog, flx_slice tenant,
                                          flx_slice namespace_, flx_slice name);
const flx_cache_info *flx_catalog_cache(const flx_catalog *catalog, flx_slice tenant,
                                        flx_slice namespace_, flx_slice name);
/* By position, 0 .. count-1, ordered by tenant, namespace, name. */
size_t flx_catalog_stream_count(const flx_catalog *catalog);
const flx_stream_info *flx_catalog_stream_at(const flx_catalog *catalog, size_t index);
size_t flx_catalog_cache_count(const flx_catalog *catalog);
const flx_cache_info *flx_catalog_cache_at(const flx_catalog *catalog, size_t index);
/* Whether the tenant (namespace_.len 0) or the namespace exists. */
bool flx_catalog_has_namespace(const flx_catalog *catalog, flx_slice tenant, flx_slice namespace_);

/* 1-128 of [A-Za-z0-9._-], starting alphanumeric. */
bool flx_name_is_valid(flx_slice name);

#endif /* FLX_METADATA_CATALOG_H */
