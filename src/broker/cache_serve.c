/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_serve.c - a request to one key, on the worker that owns its shard, and the caches
 * that worker has.
 *
 * Requests come as JSON messages (query_cache.c) and as operations (operations.c); here they are
 * one type. The reply is borrowed: it points into the cache until the next call.
 */
#include "broker/worker_int.h"
#include "common/alloc.h"

#include <string.h>

#define CACHES_CAP_FIRST 64
#define EXPIRE_STEPS     256 /* a tick */

/* ---- asking ---- */

void flx_cache_request_aim(const flx_worker *worker, const flx_cache_info *info,
                           flx_cache_request *request)
{
    request->catalog = worker->catalog;
    request->info = info;
    request->shard = flx_route_shard(FLX_ROUTING_MODULO, request->key, info->shards);
}

uint64_t flx_cache_expiry_ms(const flx_worker *worker, uint64_t ttl_ms)
{
    const uint64_t now_ms = worker->wall_us / 1000;
    return ttl_ms > UINT64_MAX - now_ms ? 0 : now_ms + ttl_ms;
}

flx_chunk *flx_cache_request_keep(flx_worker *worker, flx_cache_request *request)
{
    if (request->chunk != NULL && request->value.len >= FLX_CACHE_CHUNK_BYTES) {
        return flx_chunk_ref(request->chunk); /* key and value came in it together */
    }
    const size_t len = request->key.len + request->value.len;
    uint8_t *to = flx_scratch_reserve(&worker->transit, len);
    if (to == NULL) {
        return NULL;
    }
    if (request->key.len > 0) {
        memcpy(to, request->key.ptr, request->key.len);
    }
    if (request->value.len > 0) {
        memcpy(to + request->key.len, request->value.ptr, request->value.len);
    }
    request->key.ptr = to;
    request->value.ptr = to + request->key.len;
    request->chunk = flx_scratch_commit(&worker->transit, len).chunk;
    return request->chunk;
}

flx_code flx_cache_refusal(flx_status status, const char **ret_message)
{
    switch (status) {
    case FLX_ERR_TOO_LARGE:
        *ret_message = "the value is too large";
        return FLX_CODE_INVALID_REQUEST;
    case FLX_ERR_NOT_FOUND:
        *ret_message = "cache not found";
        return FLX_CODE_NOT_FOUND;
    default:
        *ret_message = "out of memory";
        return FLX_CODE_OVERLOADED;
    }
}

/* ---- on the owner ---- */

static flx_slice text_slice(const char *text)
{
    return (flx_slice){(const uint8_t *)text, strlen(text)};
}

/* Whether the cache is (still, or already) there: a request of a worker that has not heard of a
 * deletion must not bring the cache back. */
static bool cache_is_there(const flx_worker *worker, const flx_cache_request *request)
{
    const flx_cache_info *info = request->info;
    const flx_catalog *catalog = worker->catalog;
    if (request->catalog == catalog ||
        flx_catalog_version(request->catalog) > flx_catalog_version(catalog)) {
        return true;
    }
    const flx_cache_info *here = flx_catalog_cache(
        catalog, text_slice(info->tenant), text_slice(info->namespace_), text_slice(info->name));
    return here != NULL && here->id == info->id;
}

static flx_status slot_get(flx_worker *worker, const flx_cache_request *request,
                           flx_cache_slot **ret_slot)
{
    const uint32_t id = request->info->id;
    uint32_t cap = worker->cache_cap == 0 ? CACHES_CAP_FIRST : worker->cache_cap;
    while (cap <= id) {
        cap *= 2;
    }
    if (cap != worker->cache_cap) {
        flx_cache_slot **caches = flx_realloc(worker->caches, cap * sizeof(void *));
        if (caches == NULL) {
            return FLX_ERR_NOMEM;
        }
        memset(&caches[worker->cache_cap], 0, (cap - worker->cache_cap) * sizeof(void *));
        worker->caches = caches;
        worker->cache_cap = cap;
    }
    if (worker->caches[id] == NULL) {
        if (!cache_is_there(worker, request)) {
            return FLX_ERR_NOT_FOUND;
        }
        const uint32_t shards = request->info->shards;
        flx_cache_slot *slot = flx_calloc(1, sizeof *slot + shards * sizeof(void *));
        if (slot == NULL) {
            return FLX_ERR_NOMEM;
        }
        slot->shard_count = shards;
        worker->caches[id] = slot;
    }
    *ret_slot = worker->caches[id];
    return FLX_OK;
}

static flx_status shard_get(flx_worker *worker, const flx_cache_request *request,
                            flx_cache_shard **ret_shard)
{
    flx_cache_slot *slot;
    if (worker->cache_pool == NULL) {
        const flx_cache_options options = {.bytes_max = worker->limits.cache_bytes / worker->count};
        if (flx_cache_pool_new(&options, worker->wall_us, &worker->cache_pool, NULL) != FLX_OK) {
            return FLX_ERR_NOMEM;
        }
    }
    const flx_status status = slot_get(worker, request, &slot);
    if (status != FLX_OK) {
        return status;
    }
    if (request->shard >= slot->shard_count) {
        return FLX_ERR_NOT_FOUND;
    }
    flx_cache_shard **shard = &slot->shards[request->shard];
    if (*shard == NULL && flx_cache_shard_new(worker->cache_pool, shard, NULL) != FLX_OK) {
        return FLX_ERR_NOMEM;
    }
    *ret_shard = *shard;
    return FLX_OK;
}

static void reply_item(const flx_cache_item *item, flx_cache_reply *reply)
{
    reply->has_value = true;
    reply->version = item->version;
    reply->value = item->value;
    reply->chunk = item->chunk;
}

static void serve_put(flx_worker *worker, flx_cache_shard *shard, const flx_cache_request *request,
                      flx_cache_reply *reply)
{
    const flx_cache_write write = {
        .key = request->key,
        .value = request->value,
        .chunk = request->chunk,
        .expires_at_ms = request->expires_at_ms,
        .condition = request->op == FLX_CACHE_OP_PUT          ? FLX_CACHE_ALWAYS
                     : request->op == FLX_CACHE_OP_PUT_ABSENT ? FLX_CACHE_IF_ABSENT
                                                              : FLX_CACHE_IF_VERSION,
        .version = request->version,
    };
    flx_cache_outcome outcome;
    reply->status = flx_cache_shard_put(shard, &write, worker->wall_us, &outcome, NULL);
    if (reply->status == FLX_OK) {
        reply->applied = outcome.applied;
        reply->version = outcome.version;
    }
}

void flx_cache_serve(flx_worker *worker, const flx_cache_request *request, flx_cache_reply *reply)
{
    flx_cache_shard *shard;
    flx_cache_item item;
    *reply = (flx_cache_reply){0};
    reply->status = shard_get(worker, request, &shard);
    if (reply->status != FLX_OK) {
        return;
    }
    switch ((flx_cache_op)request->op) {
    case FLX_CACHE_OP_GET:
        flx_stat_add(&worker->stats.cache_gets, 1);
        if (flx_cache_shard_get(shard, request->key, worker->wall_us, &item)) {
            flx_stat_add(&worker->stats.cache_hits, 1);
            reply_item(&item, reply);
        }
        return;
    case FLX_CACHE_OP_DELETE:
        reply->applied = flx_cache_shard_delete(shard, request->key, worker->wall_us, &item);
        if (reply->applied) {
            reply_item(&item, reply);
        }
        break;
    case FLX_CACHE_OP_DELETE_VERSION: {
        const flx_cache_outcome outcome =
            flx_cache_shard_delete_if(shard, request->key, request->version, worker->wall_us);
        reply->applied = outcome.applied;
        reply->version = outcome.version;
        break;
    }
    case FLX_CACHE_OP_PUT:
    case FLX_CACHE_OP_PUT_ABSENT:
    case FLX_CACHE_OP_PUT_VERSION:
        serve_put(worker, shard, request, reply);
        break;
    }
    flx_stat_add(&worker->stats.cache_writes, reply->applied ? 1 : 0);
}

/* ---- life ---- */

static void slot_free(flx_worker *worker, uint32_t id)
{
    flx_cache_slot *slot = worker->caches[id];
    for (uint32_t shard = 0; shard < slot->shard_count; shard++) {
        if (slot->shards[shard] != NULL) {
            flx_cache_shard_free(slot->shards[shard]);
        }
    }
    flx_free(slot);
    worker->caches[id] = NULL;
}

void flx_caches_tick(flx_worker *worker)
{
    if (worker->cache_pool == NULL) {
        return;
    }
    if (flx_cache_pool_next_expiry_ms(worker->cache_pool) <= worker->wall_us / 1000) {
        (void)flx_cache_pool_expire(worker->cache_pool, worker->wall_us, EXPIRE_STEPS);
    }
    flx_cache_stats stats;
    flx_cache_pool_stats(worker->cache_pool, &stats);
    flx_stat_set(&worker->stats.cache_entries, stats.entries);
    flx_stat_set(&worker->stats.cache_bytes, stats.bytes);
}

void flx_caches_refresh(flx_worker *worker)
{
    for (uint32_t id = 0; id < worker->cache_cap; id++) {
        if (worker->caches[id] != NULL) {
            worker->caches[id]->is_there = false;
        }
    }
    const size_t count = flx_catalog_cache_count(worker->catalog);
    for (size_t i = 0; i < count; i++) {
        const flx_cache_info *info = flx_catalog_cache_at(worker->catalog, i);
        flx_cache_slot *slot = info->id < worker->cache_cap ? worker->caches[info->id] : NULL;
        if (slot != NULL && slot->shard_count == info->shards) {
            slot->is_there = true;
        }
    }
    for (uint32_t id = 0; id < worker->cache_cap; id++) {
        if (worker->caches[id] != NULL && !worker->caches[id]->is_there) {
            slot_free(worker, id);
        }
    }
}

void flx_caches_done(flx_worker *worker)
{
    for (uint32_t id = 0; id < worker->cache_cap; id++) {
        if (worker->caches[id] != NULL) {
            slot_free(worker, id);
        }
    }
    flx_free(worker->caches);
    if (worker->cache_pool != NULL) {
        flx_cache_pool_free(worker->cache_pool);
    }
}
