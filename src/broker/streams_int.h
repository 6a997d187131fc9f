/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/streams_int.h - the shards of streams and caches: those owned here, and windows of others'.
 *
 *     slot, by id ─┬─ owned, by shard ── shard, its ring, its view; the log or the cache behind it
 *                  └─ mirror, by shard ── a window of the owner's ring, and its view
 */
#ifndef FLX_BROKER_STREAMS_INT_H
#define FLX_BROKER_STREAMS_INT_H

#include "broker/shard.h"
#include "broker/view_int.h"
#include "common/list.h"

typedef struct flx_durable flx_durable;
typedef struct flx_job flx_job;
typedef struct flx_mail flx_mail;

struct flx_cache_state; /* cache_state_int.h */
struct flx_held;        /* publish_int.h */

/* A shard owned here. */
typedef struct flx_owned {
    flx_shard shard;
    flx_view view;
    uint64_t announced;          /* sequence up to which other workers and readers were told */
    uint64_t watchers;           /* bit w: worker w has subscribers */
    uint64_t late;               /* bit w: frames from late_from on did not fit its outbox */
    uint64_t late_from;          /* sequence */
    flx_list late_node;          /* in worker.late_shards */
    uint64_t *progress;          /* `block`: by worker, its readers' allowance */
    flx_list dirty;              /* in worker.dirty_shards */
    flx_list warm;               /* in worker.warm_shards, coldest first */
    flx_list held_node;          /* in worker.held_shards */
    struct flx_held *held_first; /* publishes that wait for a slow reader */
    struct flx_held *held_last;
    uint32_t held_count;
    uint64_t held_bytes;
    uint64_t ring_bytes;           /* as counted in worker.ring_bytes */
    flx_durable *durable;          /* NULL: memory is all there is */
    struct flx_cache_state *cache; /* what the log of a cache is about; NULL: a stream, or unused */
    bool is_kept; /* cache: somebody watches or did, so the ring keeps the changes */
} flx_owned;

/* A window of a shard owned elsewhere. */
typedef struct flx_mirror {
    flx_feed feed;
    flx_view view;
    bool is_started;   /* the first subscribe was answered: sequence numbers are right */
    uint64_t reported; /* last PROGRESS */
    flx_list node;     /* in worker.block_mirrors */
    flx_list warm;     /* in worker.warm_mirrors */
    uint64_t bytes;    /* as counted in worker.mirror_bytes */
} flx_mirror;

/* A stream or a cache of the catalog. */
typedef struct flx_slot {
    const flx_stream_info *info;   /* stream: of worker.catalog; NULL: not there (any more) */
    bool has_cache;                /* a cache that is there */
    flx_cache_info *durable_cache; /* what it is, when it is durable; a copy */
    uint32_t shard_count;          /* of the arrays */
    flx_owned **owned;             /* [shard], NULL: elsewhere or unused */
    flx_mirror **mirrors;          /* [shard], NULL: nobody here reads it */
} flx_slot;

typedef struct flx_slots { /* [id] of the catalog */
    flx_slot **at;
    uint32_t cap;
} flx_slots;

/* An `id` may carry FLX_CACHE_LOG. */
uint32_t flx_log_owner(const flx_worker *worker, uint32_t id, uint32_t shard);
flx_slot *flx_slot_get(flx_worker *worker, uint32_t id); /* NULL: no such stream or cache */
/* The slot of a cache, made at the first use; one of a stream is made by the calls below. */
flx_status flx_slot_open_cache(flx_worker *worker, const flx_cache_info *info);
/* The shard, made at the first use. FLX_ERR_NOT_FOUND: the stream is gone; FLX_ERR_NOMEM. */
flx_status flx_owned_get(flx_worker *worker, uint32_t id, uint32_t shard, flx_owned **ret_owned);
flx_status flx_mirror_get(flx_worker *worker, uint32_t id, uint32_t shard, flx_mirror **ret_mirror);
void flx_mirror_release(flx_worker *worker, uint32_t id, uint32_t shard);
/* Tells readers here and elsewhere about frames sealed since. */
void flx_owned_announce(flx_worker *worker, flx_owned *owned);
void flx_owned_touch(flx_worker *worker, flx_owned *owned);
/* Has it announced at the end of the tick. */
void flx_owned_mark(flx_worker *worker, flx_owned *owned);
void flx_streams_tick(flx_worker *worker);
void flx_streams_frame(flx_worker *worker, const flx_mail *mail);
void flx_streams_report(flx_worker *worker); /* PROGRESS of `block` mirrors */
/* Posts what did not fit an outbox, as far as the rings still have it. */
void flx_streams_post_late(flx_worker *worker);
/* Joins what a subscribe brought to what is here. Takes frames it marks with a count of 0. */
void flx_mirror_join(flx_worker *worker, flx_mirror *mirror, flx_job *job);
void flx_streams_unwatch(flx_worker *worker, const flx_mail *mail);
void flx_streams_progress(flx_worker *worker, const flx_mail *mail);
void flx_streams_evict(flx_worker *worker, const flx_mail *mail);
void flx_streams_index(flx_worker *worker);   /* streams of the catalog by id */
void flx_streams_refresh(flx_worker *worker); /* after a catalog swap */
void flx_streams_done(flx_worker *worker);

#endif /* FLX_BROKER_STREAMS_INT_H */
