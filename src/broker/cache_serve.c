/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_serve.c - a request to one key, on the worker that owns its shard.
 *
 * Requests come as JSON messages (query_cache.c) and as operations (operations.c); here they are
 * one type. The reply is borrowed: it points into the cache until the next call.
 */
#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/cache_state_int.h"
#include "broker/counter.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/worker_int.h"
#include "common/assert.h"

#include <string.h>

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
    case FLX_ERR_CONFLICT:
        *ret_message = "the counter would leave 64 bits";
        return FLX_CODE_INVALID_REQUEST;
    case FLX_ERR_AGAIN:
        *ret_message = "the disk has no room, or too much waits for it";
        return FLX_CODE_OVERLOADED;
    case FLX_ERR_UNAVAILABLE:
        *ret_message = "there is no room for more keys";
        return FLX_CODE_OVERLOADED;
    case FLX_ERR_IO:
    case FLX_ERR_CORRUPT:
    case FLX_ERR_UNSUPPORTED:
    case FLX_ERR_CLOSED:
        *ret_message = "the log of the cache is damaged, or failed";
        return FLX_CODE_STORAGE;
    default:
        *ret_message = "out of memory";
        return FLX_CODE_OVERLOADED;
    }
}

/* ---- on the owner ---- */

static void reply_item(const flx_cache_item *item, flx_cache_reply *reply)
{
    reply->has_value = true;
    reply->version = item->version;
    reply->value = item->value;
    reply->chunk = item->chunk;
    reply->is_away = item->is_away;
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

static void serve_get(flx_worker *worker, flx_cache_shard *shard, flx_slice key,
                      flx_cache_reply *reply)
{
    flx_cache_item item;
    flx_stat_add(&worker->stats.cache_gets, 1);
    if (flx_cache_shard_get(shard, key, worker->wall_us, &item)) {
        flx_stat_add(&worker->stats.cache_hits, 1);
        reply_item(&item, reply);
    }
}

static void serve_delete(flx_worker *worker, flx_cache_shard *shard, flx_slice key,
                         flx_cache_reply *reply)
{
    flx_cache_item item;
    const flx_status status = flx_cache_shard_delete(shard, key, worker->wall_us, &item);
    if (status == FLX_OK) {
        reply->applied = true;
        reply_item(&item, reply);
    }
    reply->status = status == FLX_ERR_NOT_FOUND ? FLX_OK : status; /* a miss is no failure */
}

static void serve_delete_if(flx_worker *worker, flx_cache_shard *shard,
                            const flx_cache_request *request, flx_cache_reply *reply)
{
    flx_cache_outcome outcome = {0};
    reply->status =
        flx_cache_shard_delete_if(shard, request->key, request->version, worker->wall_us, &outcome);
    reply->applied = outcome.applied;
    reply->version = outcome.version;
}

/* What the answer says is safe when all below this is: what was written, or what was found; that
 * nothing is there rests on every delete before (CACHE.md, rule 18). */
static uint64_t wait_end(const flx_cache_state *state, const flx_cache_request *request,
                         const flx_cache_reply *reply)
{
    switch ((flx_cache_op)request->op) {
    case FLX_CACHE_OP_COUNTER_ADD:
    case FLX_CACHE_OP_COUNTER_GET:
        return state->counter_end;
    case FLX_CACHE_OP_DELETE:
    case FLX_CACHE_OP_DELETE_VERSION:
        return reply->applied || reply->version == 0 ? state->delete_end : reply->version + 1;
    case FLX_CACHE_OP_GET:
    case FLX_CACHE_OP_PUT:
    case FLX_CACHE_OP_PUT_ABSENT:
    case FLX_CACHE_OP_PUT_VERSION:
        return reply->version == 0 ? state->delete_end : reply->version + 1;
    }
    FLX_UNREACHABLE();
}

static void serve(flx_worker *worker, flx_cache_state *state, const flx_cache_request *request,
                  flx_cache_reply *reply)
{
    switch ((flx_cache_op)request->op) {
    case FLX_CACHE_OP_GET:
        serve_get(worker, state->shard, request->key, reply);
        return;
    case FLX_CACHE_OP_DELETE:
        serve_delete(worker, state->shard, request->key, reply);
        break;
    case FLX_CACHE_OP_DELETE_VERSION:
        serve_delete_if(worker, state->shard, request, reply);
        break;
    case FLX_CACHE_OP_PUT:
    case FLX_CACHE_OP_PUT_ABSENT:
    case FLX_CACHE_OP_PUT_VERSION:
        serve_put(worker, state->shard, request, reply);
        break;
    case FLX_CACHE_OP_COUNTER_ADD:
        reply->status =
            flx_counters_add(&state->counters, request->key, request->delta, &reply->sum);
        reply->has_value = reply->status == FLX_OK;
        flx_stat_add(&worker->stats.counter_adds, reply->has_value ? 1 : 0);
        return;
    case FLX_CACHE_OP_COUNTER_GET:
        reply->has_value = flx_counters_get(&state->counters, request->key, &reply->sum);
        return;
    }
    flx_stat_add(&worker->stats.cache_writes, reply->applied ? 1 : 0);
}

void flx_cache_serve(flx_worker *worker, const flx_cache_request *request, flx_cache_reply *reply)
{
    flx_cache_state *state;
    *reply = (flx_cache_reply){0};
    reply->status = flx_cache_state_get(worker, request, &state);
    if (reply->status == FLX_ERR_UNAVAILABLE) {
        reply->is_parked = true;
    }
    if (reply->status != FLX_OK) {
        return;
    }
    serve(worker, state, request, reply);
    if (state->owned->durable != NULL && reply->status == FLX_OK) {
        reply->wait_end = wait_end(state, request, reply);
    }
}
