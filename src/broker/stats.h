/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/stats.h - what a worker counts. Written by its thread with relaxed stores, read by any
 * thread; the node adds the workers up and exports them.
 */
#ifndef FLX_BROKER_STATS_H
#define FLX_BROKER_STATS_H

#include <stdatomic.h>
#include <stdint.h>

/* Why records or publishes were dropped; the label of felix_dropped_total{reason}. */
#define FLX_DROP_MAP(X)                                                                            \
    X(SLOW_DROP_NEW, "slow_drop_new") /* records a subscriber missed */                            \
    X(SLOW_DROP_OLD, "slow_drop_old")                                                              \
    X(SLOW_LAG, "slow_lag")                                                                        \
    X(OVERLOADED, "overloaded") /* un-acked publishes over a budget, in records */                 \
    X(TENANT_QUOTA, "tenant_quota")                                                                \
    X(REFUSED, "refused") /* un-acked: unknown stream, no permission, draining */                  \
    X(NOMEM, "no_memory")                                                                          \
    X(TOO_LARGE, "too_large") /* records that fit no frame in the form a subscriber reads */

typedef enum flx_drop {
#define FLX_DROP_ENUM(name, text) FLX_DROP_##name,
    FLX_DROP_MAP(FLX_DROP_ENUM)
#undef FLX_DROP_ENUM
        FLX_DROP_COUNT
} flx_drop;

#define FLX_STATS_CODES 16 /* wire error codes 0..15 */

/* Times by powers of two: bucket b counts what took up to 2^b microseconds and more than half of it;
 * the last one what took longer than all others. */
#define FLX_HISTOGRAM_BUCKETS 26 /* up to 16.8 s */

typedef struct flx_histogram {
    _Atomic uint64_t buckets[FLX_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_us;
} flx_histogram;

typedef struct flx_worker_stats {
    _Atomic uint64_t connections; /* gauges: now */
    _Atomic uint64_t lanes;
    _Atomic uint64_t subscriptions;
    _Atomic uint64_t shards;
    _Atomic uint64_t ring_bytes;
    _Atomic uint64_t publish_bytes; /* accepted and not answered */
    _Atomic uint64_t outbox_mails;
    _Atomic uint64_t cache_entries;
    _Atomic uint64_t cache_bytes;
    _Atomic uint64_t logs; /* of durable shards: open, to be opened, refusing, without room */
    _Atomic uint64_t logs_opening;
    _Atomic uint64_t logs_broken;
    _Atomic uint64_t logs_full;
    _Atomic uint64_t log_bytes; /* on disk */
    _Atomic uint64_t log_records;
    _Atomic uint64_t log_segments;
    _Atomic uint64_t log_pending_bytes; /* appended and not written */
    _Atomic uint64_t counters;
    _Atomic uint64_t watches;     /* of the subscriptions */
    _Atomic uint64_t slowest_lag; /* frames the slowest subscriber seen this second is behind */
    _Atomic uint64_t connections_total; /* counters */
    _Atomic uint64_t auth_ok;
    _Atomic uint64_t auth_failed;
    _Atomic uint64_t auth_timeouts;
    _Atomic uint64_t published_batches;
    _Atomic uint64_t published_records;
    _Atomic uint64_t published_bytes;
    _Atomic uint64_t delivered_frames;
    _Atomic uint64_t delivered_records;
    _Atomic uint64_t delivered_bytes;
    _Atomic uint64_t acks;
    _Atomic uint64_t lagged; /* subscriptions ended or moved because they fell behind */
    _Atomic uint64_t cache_gets;
    _Atomic uint64_t cache_hits;
    _Atomic uint64_t cache_writes;
    _Atomic uint64_t log_failures;      /* writes or syncs that stopped a log */
    _Atomic uint64_t log_full_total;    /* times a log found no room */
    _Atomic uint64_t log_writes;        /* of batches, of all logs */
    _Atomic uint64_t log_write_bytes;   /* in them */
    _Atomic uint64_t log_syncs;         /* that answered for them */
    _Atomic uint64_t log_cut_bytes;     /* of torn tails, at opening */
    _Atomic uint64_t log_blocks_read;   /* for subscribers and reads */
    _Atomic uint64_t log_block_fetches; /* of those, read from the disk */
    _Atomic uint64_t log_read_cache;    /* bytes of them that are kept now */
    _Atomic uint64_t log_compactions;   /* runs of segments of caches, each made one */
    _Atomic uint64_t cache_away;        /* entries whose value is in the log only */
    _Atomic uint64_t cache_evictions;
    _Atomic uint64_t cache_expirations;
    _Atomic uint64_t counter_adds;
    _Atomic uint64_t mails_in;
    _Atomic uint64_t mails_out;
    _Atomic uint64_t protocol_errors;         /* streams ended for broken frames or messages */
    _Atomic uint64_t errors[FLX_STATS_CODES]; /* answers by error code */
    _Atomic uint64_t dropped[FLX_DROP_COUNT]; /* records */
    flx_histogram publish_time;  /* from the arrival of an acked publish to its answer */
    flx_histogram commit_time;   /* from the write of a log to the mark its readers go by */
    flx_histogram delivery_time; /* from the append of a frame to its hand-over, one a hand-over */
} flx_worker_stats;

/* One writer: a relaxed load and store is enough, and costs what a plain one does. */
static inline void flx_stat_add(_Atomic uint64_t *stat, uint64_t value)
{
    atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

static inline void flx_stat_sub(_Atomic uint64_t *stat, uint64_t value)
{
    atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) - value,
                          memory_order_relaxed);
}

static inline void flx_stat_set(_Atomic uint64_t *stat, uint64_t value)
{
    atomic_store_explicit(stat, value, memory_order_relaxed);
}

static inline uint64_t flx_stat_get(const _Atomic uint64_t *stat)
{
    return atomic_load_explicit(stat, memory_order_relaxed);
}

/* Of `time_us`. */
static inline unsigned flx_histogram_bucket(uint64_t time_us)
{
    const unsigned bits = time_us <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(time_us - 1);
    return bits < FLX_HISTOGRAM_BUCKETS ? bits : FLX_HISTOGRAM_BUCKETS - 1;
}

/* `count` times that were all the same. */
static inline void flx_histogram_add(flx_histogram *histogram, uint64_t time_us, uint64_t count)
{
    flx_stat_add(&histogram->buckets[flx_histogram_bucket(time_us)], count);
    flx_stat_add(&histogram->sum_us, time_us * count);
}

/* "slow_lag"; static memory. */
const char *flx_drop_name(flx_drop drop);

#endif /* FLX_BROKER_STATS_H */
