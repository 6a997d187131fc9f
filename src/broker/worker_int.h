/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/worker_int.h - the worker itself: what its parts share.
 *
 *     worker ── peers ── lanes (lane_int.h) ── answers (answers_int.h), the job waited for (job_int.h)
 *        │          └─── identities (tokens seen on the connection), subscriptions (sub_int.h)
 *        ├── slots by stream or cache id (streams_int.h) ── shards owned here ── logs (durable_int.h),
 *        │          │                                            caches (cache_state_int.h)
 *        │          └─── views of shards owned elsewhere (view_int.h)
 *        └── outbox by worker (mail_int.h)
 */
#ifndef FLX_BROKER_WORKER_INT_H
#define FLX_BROKER_WORKER_INT_H

#include "broker/admission_int.h"
#include "broker/cache.h"
#include "broker/counter.h"
#include "broker/handles_int.h"
#include "broker/mail_int.h"
#include "broker/scratch.h"
#include "broker/snapshot_int.h"
#include "broker/streams_int.h"
#include "broker/worker.h"
#include "common/buffer.h"
#include "common/list.h"
#include "common/wheel.h"
#include "wire/message.h"

/* The batch of operations that waits for a log to be opened, and which one. */
typedef struct flx_op_stall {
    const flx_job *job; /* NULL: none does */
    uint32_t id;
    uint32_t shard;
} flx_op_stall;

struct flx_worker {
    uint32_t index;
    uint32_t count;
    flx_link_ops link;
    bool (*post)(void *arg, uint32_t to, const void *mail, size_t len);
    void *post_arg;
    flx_verifier *verifier;
    flx_seats *seats; /* NULL: not counted */
    flx_catalog *catalog;
    uint64_t catalog_epoch; /* +1 with each catalog */
    flx_worker_limits limits;
    const uint16_t *listener_ports;
    size_t listener_port_count;
    uint64_t now_ns;
    uint64_t wall_us;
    uint64_t random;
    flx_list peers; /* oldest first */
    flx_handles handles;
    flx_slots streams;
    flx_slots caches;
    const flx_stream_info **infos; /* [stream id] of `catalog`; NULL: memory was out */
    uint32_t info_cap;
    uint64_t lag_since_ns; /* since when stats.slowest_lag counts */
    flx_list dirty_lanes;
    flx_list stalled_lanes; /* not read until the outboxes are empty */
    flx_list dirty_shards;
    flx_list warm_shards;
    flx_list held_shards;
    flx_list late_shards;   /* frames of them did not fit an outbox */
    flx_list warm_mirrors;  /* coldest first */
    uint64_t mirror_bytes;  /* of all mirrors; bounded as ring_bytes is */
    flx_list block_mirrors; /* mirrors whose owner waits for our readers */
    flx_list silent_peers;  /* not authenticated, longest first */
    uint64_t ring_bytes;
    uint64_t ring_bytes_max;
    uint64_t publish_bytes;
    uint64_t publish_bytes_max;
    uint64_t credit[FLX_WORKERS_MAX]; /* bytes to give back at the end of the tick */
    flx_outbox outbox[FLX_WORKERS_MAX];
    uint32_t outbox_count; /* mails in all of them */
    uint32_t jobs_out;     /* answers awaited */
    uint32_t answers_out;
    flx_job *free_jobs;
    uint32_t opening_count; /* logs on their way to be open */
    uint32_t free_job_count;
    flx_scratch scratch; /* answers and heads */
    flx_scratch transit; /* regions on their way to another worker, and decoded JSON publishes */
    flx_arena arena;
    flx_bucket *buckets;
    uint32_t bucket_count;
    flx_source *sources; /* open addressing; address all zero with no counts: free */
    uint32_t source_cap;
    uint32_t source_count;
    flx_store *logs;        /* NULL: no durable streams here */
    flx_status logs_status; /* what their shards answer then */
    flx_io *io;
    flx_read_cache *read_cache;
    void (*log_news)(void *arg, const flx_log_news *news);
    void *log_news_arg;
    flx_list durables;      /* all, those that are closing too */
    flx_list unopened_logs; /* wait for their turn */
    flx_list moved_logs;    /* a mark moved, or the state changed */
    flx_list staged_logs;   /* to be written at the end of the tick */
    flx_wheel log_wheel;    /* when a journal is due, in ms of now_ns */
    flx_job *ready_first;   /* jobs whose log was read: finished in the next tick */
    flx_job *ready_last;
    flx_cache_pool *cache_pool; /* NULL until a cache is used */
    flx_counter_budget counters;
    flx_job *long_jobs;     /* those that go on in the next tick, oldest first */
    flx_job *long_job_last; /* of them */
    flx_list paced_subs;    /* watches that have read their share of a snapshot in this tick */
    flx_list progress_due;  /* watchers of shards that moved, in the order of due_ns */
    flx_buffer events;      /* where events of a watch are written before their size is known */
    flx_page pages[FLX_PAGES];
    struct flx_op_batch *batches[FLX_WORKERS_MAX]; /* [owner], being filled; NULL: none */
    struct flx_op_batch *free_batches;
    flx_op_stall op_stalls[FLX_WORKERS_MAX]; /* [home]: its other batches wait behind that one */
    uint32_t batch_count;                    /* in `batches` */
    uint32_t free_batch_count;
    flx_chunk *frame_chunk; /* of the JSON frame being handled; borrowed */
    bool is_congested;      /* a mailbox is full and mails wait: publishers are not read */
    bool is_draining;
    bool has_opened_logs; /* the catalog was gone through once */
    bool record_publishers;
    flx_worker_stats stats;
};

void flx_worker_mark_lane(flx_worker *worker, flx_lane *lane);
uint64_t flx_worker_random(flx_worker *worker);

#endif /* FLX_BROKER_WORKER_INT_H */
