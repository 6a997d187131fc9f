/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/query_cache.c - cache messages to the shard of their key and back.
 *
 * Strictly one request at a time on a stream: the lane reads on when the answer is written. Keys go
 * to shards by modulo of their hash, as clients compute it.
 */
#include "broker/worker_int.h"
#include "common/alloc.h"

#include <string.h>

#define CACHES_CAP_FIRST 64
#define EXPIRE_STEPS     256 /* a tick */

/* ---- asking ---- */

typedef struct cache_request {
    flx_slice tenant, namespace_, cache, key, value;
    flx_cache_op op;
    flx_action action;
    bool has_request_id;
    uint64_t request_id;
    uint64_t version;
    uint64_t ttl_ms; /* UINT64_MAX: none */
} cache_request;

#define TAKE_KEY(message)                                                                          \
    do {                                                                                           \
        request->tenant = (message).tenant_id;                                                     \
        request->namespace_ = (message).namespace_;                                                \
        request->cache = (message).cache;                                                          \
        request->key = (message).key;                                                              \
        request->request_id = (message).request_id;                                                \
    } while (0)

static void request_read(const flx_msg *msg, cache_request *request)
{
    *request = (cache_request){
        .action = FLX_ACTION_CACHE_WRITE, .has_request_id = true, .ttl_ms = UINT64_MAX};
    switch (msg->type) {
    case FLX_MSG_CACHE_GET:
        TAKE_KEY(msg->cache_get);
        request->op = FLX_CACHE_OP_GET;
        request->action = FLX_ACTION_CACHE_READ;
        request->has_request_id = msg->cache_get.has_request_id;
        break;
    case FLX_MSG_CACHE_PUT:
        TAKE_KEY(msg->cache_put);
        request->op = FLX_CACHE_OP_PUT;
        request->value = msg->cache_put.value;
        request->has_request_id = msg->cache_put.has_request_id;
        request->ttl_ms = msg->cache_put.has_ttl_ms ? msg->cache_put.ttl_ms : UINT64_MAX;
        break;
    case FLX_MSG_CACHE_DELETE:
        TAKE_KEY(msg->cache_delete);
        request->op = FLX_CACHE_OP_DELETE;
        request->has_request_id = msg->cache_delete.has_request_id;
        break;
    case FLX_MSG_CACHE_PUT_IF:
        TAKE_KEY(msg->cache_put_if);
        request->op = msg->cache_put_if.condition.kind == FLX_CONDITION_ABSENT
                          ? FLX_CACHE_OP_PUT_ABSENT
                          : FLX_CACHE_OP_PUT_VERSION;
        request->version = msg->cache_put_if.condition.version;
        request->value = msg->cache_put_if.value;
        request->ttl_ms = msg->cache_put_if.has_ttl_ms ? msg->cache_put_if.ttl_ms : UINT64_MAX;
        break;
    case FLX_MSG_CACHE_DELETE_IF:
        TAKE_KEY(msg->cache_delete_if);
        request->op = FLX_CACHE_OP_DELETE_VERSION;
        request->version = msg->cache_delete_if.version;
        break;
    default:
        FLX_UNREACHABLE();
    }
}

/* Key and value as bytes that outlive the frame. */
static bool job_keep(flx_worker *worker, flx_job *job)
{
    if (worker->frame_chunk != NULL && job->data.len >= FLX_CACHE_CHUNK_BYTES) {
        job->holder = flx_chunk_ref(worker->frame_chunk);
        return true;
    }
    const size_t len = job->key.len + job->data.len;
    uint8_t *to = flx_scratch_reserve(&worker->transit, len);
    if (to == NULL) {
        return false;
    }
    memcpy(to, job->key.ptr, job->key.len);
    if (job->data.len > 0) {
        memcpy(to + job->key.len, job->data.ptr, job->data.len);
    }
    job->holder = flx_scratch_commit(&worker->transit, len).chunk;
    job->key.ptr = to;
    job->data.ptr = to + job->key.len;
    return true;
}

static void job_fill(flx_worker *worker, flx_job *job, const flx_lane *lane,
                     const flx_cache_info *info, const cache_request *request)
{
    const uint64_t now_ms = worker->wall_us / 1000;
    job->lane = lane->handle;
    job->op = (uint8_t)request->op;
    job->has_request_id = request->has_request_id;
    job->request_id = request->request_id;
    job->id = info->id;
    job->shard = flx_route_shard(FLX_ROUTING_MODULO, request->key, info->shards);
    job->version = request->version;
    job->ttl_ms = request->ttl_ms > UINT64_MAX - now_ms ? 0 : now_ms + request->ttl_ms;
    job->key = request->key;
    job->data = request->value;
    job->catalog = flx_catalog_ref(worker->catalog);
    job->cache = info;
}

void flx_cache_request(flx_lane *lane, const flx_msg *msg)
{
    flx_worker *worker = lane->peer->worker;
    cache_request request;
    request_read(msg, &request);
    if (worker->is_draining) {
        flx_lane_error(lane, FLX_CODE_DRAINING, "the broker is shutting down");
        return;
    }
    const flx_cache_info *info =
        flx_session_cache(lane, request.tenant, request.namespace_, request.cache, request.action);
    if (info == NULL) {
        return;
    }
    if (request.key.len > FLX_CACHE_KEY_MAX) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the key is too long");
        return;
    }
    flx_job *job = flx_job_new(worker, FLX_JOB_CACHE);
    if (job == NULL) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    job_fill(worker, job, lane, info, &request);
    const uint32_t owner = flx_worker_owner(info->id, job->shard, worker->count);
    if (owner != worker->index && !job_keep(worker, job)) {
        flx_job_drop(worker, job);
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    lane->has_job = true;
    flx_job_send(worker, job, owner);
}

/* ---- on the owner ---- */

static flx_slice text_slice(const char *text)
{
    return (flx_slice){(const uint8_t *)text, strlen(text)};
}

/* Whether the cache of a job is (still, or already) there: a job of a worker that has not heard of a
 * deletion must not bring the cache back. */
static bool cache_is_there(const flx_worker *worker, const flx_job *job)
{
    const flx_cache_info *info = job->cache;
    const flx_catalog *catalog = worker->catalog;
    if (job->catalog == catalog ||
        flx_catalog_version(job->catalog) > flx_catalog_version(catalog)) {
        return true;
    }
    const flx_cache_info *here = flx_catalog_cache(
        catalog, text_slice(info->tenant), text_slice(info->namespace_), text_slice(info->name));
    return here != NULL && here->id == info->id;
}

static flx_status slot_get(flx_worker *worker, const flx_job *job, flx_cache_slot **ret_slot)
{
    uint32_t cap = worker->cache_cap == 0 ? CACHES_CAP_FIRST : worker->cache_cap;
    while (cap <= job->id) {
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
    if (worker->caches[job->id] == NULL) {
        if (!cache_is_there(worker, job)) {
            return FLX_ERR_NOT_FOUND;
        }
        const uint32_t shards = job->cache->shards;
        flx_cache_slot *slot = flx_calloc(1, sizeof *slot + shards * sizeof(void *));
        if (slot == NULL) {
            return FLX_ERR_NOMEM;
        }
        slot->shard_count = shards;
        worker->caches[job->id] = slot;
    }
    *ret_slot = worker->caches[job->id];
    return FLX_OK;
}

static flx_status shard_get(flx_worker *worker, const flx_job *job, flx_cache_shard **ret_shard)
{
    flx_cache_slot *slot;
    if (worker->cache_pool == NULL) {
        const flx_cache_options options = {.bytes_max = worker->limits.cache_bytes / worker->count};
        if (flx_cache_pool_new(&options, worker->wall_us, &worker->cache_pool, NULL) != FLX_OK) {
            return FLX_ERR_NOMEM;
        }
    }
    const flx_status status = slot_get(worker, job, &slot);
    if (status != FLX_OK) {
        return status;
    }
    if (job->shard >= slot->shard_count) {
        return FLX_ERR_NOT_FOUND;
    }
    flx_cache_shard **shard = &slot->shards[job->shard];
    if (*shard == NULL && flx_cache_shard_new(worker->cache_pool, shard, NULL) != FLX_OK) {
        return FLX_ERR_NOMEM;
    }
    *ret_shard = *shard;
    return FLX_OK;
}

/* The item's value as something the answer can keep. */
static void keep_value(flx_worker *worker, flx_job *job, const flx_cache_item *item)
{
    job->has_value = true;
    job->version = item->version;
    if (item->chunk != NULL) {
        const uint32_t start = (uint32_t)(item->value.ptr - item->chunk->data);
        job->value =
            (flx_range){flx_chunk_ref(item->chunk), start, start + (uint32_t)item->value.len};
    } else if (item->value.len > 0 &&
               !flx_scratch_copy(&worker->transit, item->value, &job->value)) {
        job->status = FLX_ERR_NOMEM;
    }
}

static void serve_put(flx_worker *worker, flx_cache_shard *shard, flx_job *job)
{
    const flx_cache_write write = {
        .key = job->key,
        .value = job->data,
        .chunk = job->holder != NULL                      ? job->holder
                 : job->data.len >= FLX_CACHE_CHUNK_BYTES ? worker->frame_chunk
                                                          : NULL,
        .expires_at_ms = job->ttl_ms,
        .condition = job->op == FLX_CACHE_OP_PUT          ? FLX_CACHE_ALWAYS
                     : job->op == FLX_CACHE_OP_PUT_ABSENT ? FLX_CACHE_IF_ABSENT
                                                          : FLX_CACHE_IF_VERSION,
        .version = job->version,
    };
    flx_cache_outcome outcome;
    job->status = flx_cache_shard_put(shard, &write, worker->wall_us, &outcome, NULL);
    if (job->status == FLX_OK) {
        job->applied = outcome.applied;
        job->version = outcome.version;
        flx_stat_add(&worker->stats.cache_writes, outcome.applied ? 1 : 0);
    }
}

void flx_cache_serve(flx_worker *worker, flx_job *job)
{
    flx_cache_shard *shard;
    job->status = shard_get(worker, job, &shard);
    if (job->status != FLX_OK) {
        return;
    }
    flx_cache_item item;
    if (job->op == FLX_CACHE_OP_GET) {
        flx_stat_add(&worker->stats.cache_gets, 1);
        if (flx_cache_shard_get(shard, job->key, worker->wall_us, &item)) {
            flx_stat_add(&worker->stats.cache_hits, 1);
            keep_value(worker, job, &item);
        }
    } else if (job->op == FLX_CACHE_OP_DELETE) {
        if (flx_cache_shard_delete(shard, job->key, worker->wall_us, &item)) {
            flx_stat_add(&worker->stats.cache_writes, 1);
            keep_value(worker, job, &item);
        }
    } else if (job->op == FLX_CACHE_OP_DELETE_VERSION) {
        const flx_cache_outcome outcome =
            flx_cache_shard_delete_if(shard, job->key, job->version, worker->wall_us);
        job->applied = outcome.applied;
        job->version = outcome.version;
    } else {
        serve_put(worker, shard, job);
    }
}

/* ---- back home ---- */

static void answer_value(flx_lane *lane, const flx_job *job)
{
    flx_msg msg = {.type = FLX_MSG_CACHE_VALUE};
    msg.cache_value.tenant_id = text_slice(job->cache->tenant);
    msg.cache_value.namespace_ = text_slice(job->cache->namespace_);
    msg.cache_value.cache = text_slice(job->cache->name);
    msg.cache_value.key = job->key;
    msg.cache_value.has_value = job->has_value;
    if (job->value.chunk != NULL) {
        msg.cache_value.value = flx_range_slice(&job->value);
    }
    msg.cache_value.has_request_id = job->has_request_id;
    msg.cache_value.request_id = job->request_id;
    msg.cache_value.has_version = job->has_value && job->op == FLX_CACHE_OP_GET &&
                                  (lane->features & FLX_FEATURE_CACHE_CONDITIONAL) != 0;
    msg.cache_value.version = job->version;
    if (!flx_lane_send_if_fits(lane, &msg)) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the value does not fit an answer");
    }
}

static void answer_error(flx_lane *lane, flx_status status)
{
    if (status == FLX_ERR_TOO_LARGE) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the value is too large");
    } else if (status == FLX_ERR_NOT_FOUND) {
        flx_lane_error(lane, FLX_CODE_NOT_FOUND, "cache not found");
    } else {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
    }
}

void flx_cache_answer(flx_lane *lane, flx_job *job)
{
    if (job->status != FLX_OK) {
        answer_error(lane, job->status);
        return;
    }
    if (job->op == FLX_CACHE_OP_GET || job->op == FLX_CACHE_OP_DELETE) {
        answer_value(lane, job);
        return;
    }
    flx_msg msg = {.type = FLX_MSG_OK};
    if (job->op != FLX_CACHE_OP_PUT) {
        msg.type = FLX_MSG_CACHE_CONDITION_RESULT;
        msg.cache_condition_result.applied = job->applied;
        msg.cache_condition_result.has_version = job->version != 0;
        msg.cache_condition_result.version = job->version;
        msg.cache_condition_result.request_id = job->request_id;
    } else if (job->has_request_id) {
        msg.type = FLX_MSG_CACHE_OK;
        msg.cache_ok.request_id = job->request_id;
    }
    flx_lane_send(lane, &msg);
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
