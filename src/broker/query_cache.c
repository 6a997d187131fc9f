/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/query_cache.c - cache messages to the shard of their key and back.
 *
 * Strictly one request at a time on a stream: the lane reads on when the answer is written. Keys go
 * to shards by modulo of their hash, as clients compute it.
 */
#include "broker/worker_int.h"

#include <string.h>

/* ---- asking ---- */

typedef struct cache_request {
    flx_slice tenant, namespace_, cache, key, value;
    flx_cache_op op;
    flx_action action;
    bool has_request_id;
    uint64_t request_id;
    uint64_t version;
    uint64_t ttl_ms; /* UINT64_MAX: none */
    int64_t delta;   /* COUNTER_ADD */
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
    case FLX_MSG_COUNTER_ADD:
        TAKE_KEY(msg->counter_add);
        request->op = FLX_CACHE_OP_COUNTER_ADD;
        request->delta = msg->counter_add.delta;
        break;
    case FLX_MSG_COUNTER_GET:
        TAKE_KEY(msg->counter_get);
        request->op = FLX_CACHE_OP_COUNTER_GET;
        request->action = FLX_ACTION_CACHE_READ;
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
    job->sum = request->delta;
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

static void serve_get(flx_worker *worker, flx_cache_shard *shard, flx_job *job)
{
    flx_cache_item item;
    flx_stat_add(&worker->stats.cache_gets, 1);
    if (flx_cache_shard_get(shard, job->key, worker->wall_us, &item)) {
        flx_stat_add(&worker->stats.cache_hits, 1);
        keep_value(worker, job, &item);
    }
}

static void serve_delete(flx_worker *worker, flx_cache_shard *shard, flx_job *job)
{
    flx_cache_item item;
    job->status = flx_cache_shard_delete(shard, job->key, worker->wall_us, &item);
    if (job->status == FLX_OK) {
        flx_stat_add(&worker->stats.cache_writes, 1);
        keep_value(worker, job, &item);
    } else if (job->status == FLX_ERR_NOT_FOUND) {
        job->status = FLX_OK; /* a miss is no failure */
    }
}

static void serve_delete_if(flx_worker *worker, flx_cache_shard *shard, flx_job *job)
{
    flx_cache_outcome outcome;
    job->status =
        flx_cache_shard_delete_if(shard, job->key, job->version, worker->wall_us, &outcome);
    if (job->status == FLX_OK) {
        job->applied = outcome.applied;
        job->version = outcome.version;
        flx_stat_add(&worker->stats.cache_writes, outcome.applied ? 1 : 0);
    }
}

static void serve_counter(flx_worker *worker, flx_counters *counters, flx_job *job)
{
    if (job->op == FLX_CACHE_OP_COUNTER_GET) {
        job->has_value = flx_counters_get(counters, job->key, &job->sum);
        return;
    }
    job->status = flx_counters_add(counters, job->key, job->sum, &job->sum);
    job->has_value = job->status == FLX_OK;
    flx_stat_add(&worker->stats.counter_adds, job->has_value ? 1 : 0);
}

void flx_cache_serve(flx_worker *worker, flx_job *job)
{
    flx_cache_state *state;
    job->status = flx_cache_state_get(worker, job, &state);
    if (job->status != FLX_OK) {
        return;
    }
    switch ((flx_cache_op)job->op) {
    case FLX_CACHE_OP_GET:
        serve_get(worker, state->shard, job);
        break;
    case FLX_CACHE_OP_DELETE:
        serve_delete(worker, state->shard, job);
        break;
    case FLX_CACHE_OP_DELETE_VERSION:
        serve_delete_if(worker, state->shard, job);
        break;
    case FLX_CACHE_OP_PUT:
    case FLX_CACHE_OP_PUT_ABSENT:
    case FLX_CACHE_OP_PUT_VERSION:
        serve_put(worker, state->shard, job);
        break;
    case FLX_CACHE_OP_COUNTER_ADD:
    case FLX_CACHE_OP_COUNTER_GET:
        serve_counter(worker, &state->counters, job);
        break;
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
    if (flx_msg_frame_bytes(&msg) > FLX_FRAME_BYTES_MAX + FLX_FRAME_HEADER_BYTES) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the value does not fit an answer");
        return;
    }
    flx_lane_send(lane, &msg);
}

static void answer_error(flx_lane *lane, flx_status status)
{
    if (status == FLX_ERR_TOO_LARGE) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the value is too large");
    } else if (status == FLX_ERR_NOT_FOUND) {
        flx_lane_error(lane, FLX_CODE_NOT_FOUND, "cache not found");
    } else if (status == FLX_ERR_CONFLICT) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the counter would leave 64 bits");
    } else if (status == FLX_ERR_AGAIN) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "there is no room for more counters");
    } else {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
    }
}

static void answer_counter(flx_lane *lane, const flx_job *job)
{
    flx_msg msg = {.type = FLX_MSG_COUNTER_VALUE};
    msg.counter_value.has_value = job->has_value;
    msg.counter_value.value = job->sum;
    msg.counter_value.request_id = job->request_id;
    flx_lane_send(lane, &msg);
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
    if (job->op == FLX_CACHE_OP_COUNTER_ADD || job->op == FLX_CACHE_OP_COUNTER_GET) {
        answer_counter(lane, job);
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
