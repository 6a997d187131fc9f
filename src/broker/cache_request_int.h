/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_request_int.h - a request to one key of a cache, and what became of it.
 *
 * JSON (query_cache.c) and operation frames (operations.c) both make one, and cache_serve.c serves it
 * on the worker that owns the shard.
 */
#ifndef FLX_BROKER_CACHE_REQUEST_INT_H
#define FLX_BROKER_CACHE_REQUEST_INT_H

#include "broker/worker.h"

typedef enum flx_cache_op {
    FLX_CACHE_OP_GET,
    FLX_CACHE_OP_PUT,
    FLX_CACHE_OP_DELETE,
    FLX_CACHE_OP_PUT_ABSENT,
    FLX_CACHE_OP_PUT_VERSION,
    FLX_CACHE_OP_DELETE_VERSION,
    FLX_CACHE_OP_COUNTER_ADD,
    FLX_CACHE_OP_COUNTER_GET
} flx_cache_op;

/* A request to one key of a cache, whatever form it came in. */
typedef struct flx_cache_request {
    uint8_t op; /* flx_cache_op */
    uint32_t shard;
    const flx_cache_info *info; /* of `catalog` */
    const flx_catalog *catalog; /* borrowed: whoever keeps the request has a reference */
    flx_slice key;
    flx_slice value;
    flx_chunk *chunk; /* what the value lies in, borrowed; NULL: bytes that must be copied */
    uint64_t version;
    uint64_t expires_at_ms; /* 0: never */
    int64_t delta;          /* COUNTER_ADD */
} flx_cache_request;

/* How far a request to a durable cache is. */
typedef enum flx_cache_step {
    FLX_CACHE_NEW,
    FLX_CACHE_SERVED, /* the answer may have to wait */
} flx_cache_step;

/* What became of it. `value` is the cache's own, until the next call on it. */
typedef struct flx_cache_reply {
    flx_status status;
    bool has_value; /* of a get or delete; of a counter: in `sum` */
    bool applied;   /* of a write */
    uint64_t version;
    flx_slice value;
    flx_chunk *chunk; /* what the value lies in; NULL: copy it */
    int64_t sum;
    /* Durable caches. */
    bool is_parked;    /* nothing was done: the log is not open yet */
    bool is_away;      /* the value is to be read from the record at `version` */
    uint64_t wait_end; /* the answer may leave when all below this offset is safe; 0: now */
} flx_cache_reply;

/* Fills in where the request goes: info, catalog, shard. */
void flx_cache_request_aim(const flx_worker *worker, const flx_cache_info *info,
                           flx_cache_request *request);
/* Makes key and value outlive their frame. The caller owns the reference; NULL: memory is out. */
flx_chunk *flx_cache_request_keep(flx_worker *worker, flx_cache_request *request);
uint64_t flx_cache_expiry_ms(const flx_worker *worker, uint64_t ttl_ms); /* UINT64_MAX: never */
void flx_cache_serve(flx_worker *worker, const flx_cache_request *request, flx_cache_reply *reply);
flx_code flx_cache_refusal(flx_status status, const char **ret_message);

#endif /* FLX_BROKER_CACHE_REQUEST_INT_H */
