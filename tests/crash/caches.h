/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caches.h - the durable cache the node is killed under: writers, counters, a watch that lives on.
 *
 * A key has one request under way at a time, so it is known what it may hold: what was acknowledged last, or
 * what was on its way when the node was killed. Which of the two, a watch from what is there (`retained`)
 * tells after each start; another watch lives as long as the cache, resumes by itself, and what it folds must
 * equal the cache whenever all is quiet. Expiries are moments: a value is not shown behind its own.
 *
 * Threads: as streams.h.
 */
#ifndef FLX_CRASH_CACHES_H
#define FLX_CRASH_CACHES_H

#include <felix/felix.h>

#include <pthread.h>

#define CACHE_NAME     "crash-cache"
#define CACHE_BODY     "\"durable\":true,\"shards\":2"
#define CACHE_SHARDS   2
#define CACHE_KEYS     200
#define CACHE_COUNTERS 4

/* What lies under a key. */
typedef struct cache_value {
    uint64_t number;  /* 0: nothing; the bytes follow from it */
    uint64_t gone_ms; /* wall clock: not shown behind it; 0: never goes */
} cache_value;

typedef struct cache_key {
    cache_value is;   /* acknowledged last */
    cache_value new_; /* under way, or on its way when the node was killed */
    bool is_open;     /* new_ counts */
    bool is_out;      /* a request is under way */
    uint64_t folded;  /* number, as the watch has it */
    uint32_t shard;   /* of that */
    uint64_t listed;  /* number, as the listing after a start has it */
} cache_key;

typedef struct cache_counter {
    int64_t sum;
    int64_t delta; /* under way, or was when the node was killed; 0: nothing */
    bool is_out;
} cache_counter;

typedef struct caches {
    pthread_mutex_t lock;
    uint64_t random;
    uint64_t last_number;
    cache_key keys[CACHE_KEYS];
    cache_counter counters[CACHE_COUNTERS];
    flx_cache *cache;
    flx_cache_watch *watch;   /* steady */
    flx_cache_watch *listing; /* what is there, after a start */
    uint64_t listing_ms;      /* when it was asked for */
    bool is_listed[CACHE_SHARDS];
    uint32_t listed[CACHE_SHARDS];      /* keys */
    uint64_t next_offset[CACHE_SHARDS]; /* of the steady watch */
    uint32_t out;
    uint32_t session_ops;
    uint64_t acked;
    uint64_t unanswered;
    uint64_t changes; /* the steady watch has heard */
    uint64_t resets;
    bool is_broken;
    char why[256];
} caches;

void caches_init(caches *all, uint64_t seed);
void caches_done(caches *all);
/* The cache was made anew. */
void caches_begin(caches *all);
flx_status caches_open(caches *all, flx_client *client, flx_client *steady, flx_error *reterr);
void caches_close(caches *all, bool forever);

/* Whether everything that is there was told and is what it may be. Reads counters the first time. */
bool caches_are_settled(caches *all);
/* Random requests, as many as fit; only once they are settled. */
void caches_feed(caches *all);
/* Nothing is under way, and the steady watch equals the cache. */
bool caches_are_quiet(caches *all);
/* For sabotage: one more value for key 0, acknowledged; the shard it is in. */
flx_status caches_put_last(caches *all, uint32_t *ret_shard, flx_error *reterr);
const char *caches_why(caches *all, char *buffer, size_t cap);
void caches_explain(caches *all);

#endif /* FLX_CRASH_CACHES_H */
