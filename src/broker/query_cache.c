/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/query_cache.c - cache messages to the shard of their key and back.
 *
 * Strictly one request at a time on a stream: the lane reads on when the answer is written. Keys go
 * to shards by modulo of their hash, as clients compute it. What a request does is cache_serve.c's
 * business; the same requests in binary, many at a time, are operations.c.
 */
#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/cache_state_int.h"
#include "broker/durable_int.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/query_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/session_int.h"
#include "broker/worker_int.h"
#include "common/assert.h"
#include "common/slice.h"
#include "wire/flags.h"
#include "wire/message.h"

#include <string.h>

/* ---- asking ---- */

/* Whose names they are, and what its words are besides the request. */
typedef struct asking {
    flx_slice tenant, namespace_, cache;
    flx_action action;
    bool has_request_id;
    uint64_t request_id;
} asking;

#define TAKE_KEY(message)                                                                          \
    do {                                                                                           \
        ask->tenant = (message).tenant_id;                                                         \
        ask->namespace_ = (message).namespace_;                                                    \
        ask->cache = (message).cache;                                                              \
        ask->request_id = (message).request_id;                                                    \
        request->key = (message).key;                                                              \
    } while (0)

static void request_read(const flx_worker *worker, const flx_msg *msg, asking *ask,
                         flx_cache_request *request)
{
    uint64_t ttl_ms = UINT64_MAX;
    *ask = (asking){.action = FLX_ACTION_CACHE_WRITE, .has_request_id = true};
    *request = (flx_cache_request){.chunk = worker->frame_chunk};
    switch (msg->type) {
    case FLX_MSG_CACHE_GET:
        TAKE_KEY(msg->cache_get);
        request->op = FLX_CACHE_OP_GET;
        ask->action = FLX_ACTION_CACHE_READ;
        ask->has_request_id = msg->cache_get.has_request_id;
        break;
    case FLX_MSG_CACHE_PUT:
        TAKE_KEY(msg->cache_put);
        request->op = FLX_CACHE_OP_PUT;
        request->value = msg->cache_put.value;
        ask->has_request_id = msg->cache_put.has_request_id;
        ttl_ms = msg->cache_put.has_ttl_ms ? msg->cache_put.ttl_ms : UINT64_MAX;
        break;
    case FLX_MSG_CACHE_DELETE:
        TAKE_KEY(msg->cache_delete);
        request->op = FLX_CACHE_OP_DELETE;
        ask->has_request_id = msg->cache_delete.has_request_id;
        break;
    case FLX_MSG_CACHE_PUT_IF:
        TAKE_KEY(msg->cache_put_if);
        request->op = msg->cache_put_if.condition.kind == FLX_CONDITION_ABSENT
                          ? FLX_CACHE_OP_PUT_ABSENT
                          : FLX_CACHE_OP_PUT_VERSION;
        request->version = msg->cache_put_if.condition.version;
        request->value = msg->cache_put_if.value;
        ttl_ms = msg->cache_put_if.has_ttl_ms ? msg->cache_put_if.ttl_ms : UINT64_MAX;
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
        ask->action = FLX_ACTION_CACHE_READ;
        break;
    default:
        FLX_UNREACHABLE();
    }
    request->expires_at_ms = flx_cache_expiry_ms(worker, ttl_ms);
}

void flx_cache_message(flx_lane *lane, const flx_msg *msg)
{
    flx_worker *worker = lane->peer->worker;
    asking ask;
    flx_cache_request request;
    request_read(worker, msg, &ask, &request);
    if (worker->is_draining) {
        flx_lane_error(lane, FLX_CODE_DRAINING, "the broker is shutting down");
        return;
    }
    const flx_cache_info *info =
        flx_session_cache(lane, ask.tenant, ask.namespace_, ask.cache, ask.action);
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
    flx_cache_request_aim(worker, info, &request);
    const uint32_t owner = flx_worker_owner(info->id, request.shard, worker->count);
    if ((owner != worker->index || info->promise.durable) &&
        (job->holder = flx_cache_request_keep(worker, &request)) == NULL) {
        flx_job_drop(worker, job);
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    job->lane = lane->handle;
    job->has_request_id = ask.has_request_id;
    job->request_id = ask.request_id;
    job->catalog = flx_catalog_ref(worker->catalog);
    job->request = request;
    lane->has_job = true;
    flx_job_send(worker, job, owner);
}

/* ---- on the owner ---- */

/* The reply's value as something the answer can keep. */
static void keep_value(flx_worker *worker, flx_job *job)
{
    const flx_slice value = job->reply.value;
    flx_chunk *chunk = job->reply.chunk;
    if (chunk != NULL) {
        const uint32_t start = (uint32_t)(value.ptr - chunk->data);
        job->value = (flx_range){flx_chunk_ref(chunk), start, start + (uint32_t)value.len};
    } else if (value.len > 0 && !flx_scratch_copy(&worker->transit, value, &job->value)) {
        job->status = FLX_ERR_NOMEM;
    }
}

/* Everything is done but the answer: it leaves when what it says is safe. */
static bool settled(flx_worker *worker, flx_job *job)
{
    if (job->status != FLX_OK || job->wait_end == 0) {
        return true;
    }
    flx_durable *durable = flx_cache_durable(worker, job->request.info->id, job->request.shard);
    if (durable == NULL) {
        job->status = FLX_ERR_NOT_FOUND; /* deleted meanwhile */
        return true;
    }
    return !flx_cache_settle(durable, job);
}

bool flx_cache_job(flx_worker *worker, flx_job *job)
{
    if (job->step == FLX_CACHE_SERVED) {
        return settled(worker, job);
    }
    const flx_cache_request *request = &job->request;
    flx_cache_serve(worker, request, &job->reply);
    if (job->reply.is_parked) {
        flx_durable_park(flx_cache_durable(worker, request->info->id, request->shard), job);
        return false;
    }
    job->step = FLX_CACHE_SERVED;
    job->status = job->reply.status;
    job->wait_end = job->reply.wait_end;
    if (job->reply.is_away) {
        flx_cache_fetch(flx_cache_durable(worker, request->info->id, request->shard), job,
                        job->reply.version);
        return false;
    }
    keep_value(worker, job);
    return settled(worker, job);
}

/* ---- back home ---- */

static void answer_value(flx_lane *lane, const flx_job *job)
{
    flx_msg msg = {.type = FLX_MSG_CACHE_VALUE};
    msg.cache_value.tenant_id = flx_slice_of(job->request.info->tenant);
    msg.cache_value.namespace_ = flx_slice_of(job->request.info->namespace_);
    msg.cache_value.cache = flx_slice_of(job->request.info->name);
    msg.cache_value.key = job->request.key;
    msg.cache_value.has_value = job->reply.has_value;
    if (job->value.chunk != NULL) {
        msg.cache_value.value = flx_range_slice(&job->value);
    }
    msg.cache_value.has_request_id = job->has_request_id;
    msg.cache_value.request_id = job->request_id;
    msg.cache_value.has_version = job->reply.has_value && job->request.op == FLX_CACHE_OP_GET &&
                                  (lane->features & FLX_FEATURE_CACHE_CONDITIONAL) != 0;
    msg.cache_value.version = job->reply.version;
    if (!flx_lane_send_if_fits(lane, &msg)) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the value does not fit an answer");
    }
}

static void answer_counter(flx_lane *lane, const flx_job *job)
{
    flx_msg msg = {.type = FLX_MSG_COUNTER_VALUE};
    msg.counter_value.has_value = job->reply.has_value;
    msg.counter_value.value = job->reply.sum;
    msg.counter_value.request_id = job->request_id;
    flx_lane_send(lane, &msg);
}

void flx_cache_answer(flx_lane *lane, flx_job *job)
{
    if (job->status != FLX_OK) {
        const char *message;
        const flx_code code = flx_cache_refusal(job->status, &message);
        flx_lane_error(lane, code, message);
        return;
    }
    if (job->request.op == FLX_CACHE_OP_GET || job->request.op == FLX_CACHE_OP_DELETE) {
        answer_value(lane, job);
        return;
    }
    if (job->request.op == FLX_CACHE_OP_COUNTER_ADD ||
        job->request.op == FLX_CACHE_OP_COUNTER_GET) {
        answer_counter(lane, job);
        return;
    }
    flx_msg msg = {.type = FLX_MSG_OK};
    if (job->request.op != FLX_CACHE_OP_PUT) {
        msg.type = FLX_MSG_CACHE_CONDITION_RESULT;
        msg.cache_condition_result.applied = job->reply.applied;
        msg.cache_condition_result.has_version = job->reply.version != 0;
        msg.cache_condition_result.version = job->reply.version;
        msg.cache_condition_result.request_id = job->request_id;
    } else if (job->has_request_id) {
        msg.type = FLX_MSG_CACHE_OK;
        msg.cache_ok.request_id = job->request_id;
    }
    flx_lane_send(lane, &msg);
}
