/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/operations.c - operation frames: many small requests, each answered when it is done.
 * docs/spec/extensions.md 1.
 *
 *     frame ─► operation ─► name of its handle ─► request ─┬─ owned here: served, answer appended
 *                                                          └─ elsewhere: entry of that worker's batch
 *     tick  ─► batches ─► owners serve them ─► parts (ranges of whole frames, by lane) ─► lanes
 *
 * One operation costs no allocation and no message of its own: answers are written one behind the
 * other into the chunk they leave from (op_answers.c), and what other workers must do travels a batch
 * at a time, there and back (op_batch.c).
 */
#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/lane_int.h"
#include "broker/op_answers_int.h"
#include "broker/op_batch_int.h"
#include "broker/operations_int.h"
#include "broker/sealed.h"
#include "broker/seats.h"
#include "broker/session_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "router/router.h"
#include "wire/bytes.h"
#include "wire/frame.h"

#include <string.h>

#define NAMES_FIRST 4

/* What OPEN made: names, and what they meant in the catalog of that epoch. */
typedef struct flx_op_name {
    flx_object object; /* slices into text */
    uint64_t epoch;
    const flx_cache_info *cache;   /* NULL: not there, or a stream */
    const flx_stream_info *stream; /* NULL: not there, or a cache */
    bool may_read;
    bool may_write;
    uint32_t seat; /* of a cache: the id it is counted under (seats.h) */
    uint8_t text[];
} flx_op_name;

/* ---- names ---- */

/* Looks the name up again when the catalog is another than it was. */
static void name_resolve(const flx_worker *worker, flx_op_name *name)
{
    if (name->epoch == worker->catalog_epoch) {
        return;
    }
    const flx_object *object = &name->object;
    name->epoch = worker->catalog_epoch;
    name->cache = NULL;
    name->stream = NULL;
    if (object->kind == FLX_OBJECT_CACHE) {
        name->cache =
            flx_catalog_cache(worker->catalog, object->tenant, object->namespace_, object->name);
    } else {
        name->stream =
            flx_catalog_stream(worker->catalog, object->tenant, object->namespace_, object->name);
    }
}

static flx_op_name *name_new(const flx_object *object)
{
    const size_t len = object->tenant.len + object->namespace_.len + object->name.len;
    flx_op_name *name = flx_calloc(1, sizeof *name + len);
    if (name == NULL) {
        return NULL;
    }
    uint8_t *to = name->text;
    name->object.kind = object->kind;
    name->object.tenant = (flx_slice){to, object->tenant.len};
    to = flx_put_bytes(to, object->tenant);
    name->object.namespace_ = (flx_slice){to, object->namespace_.len};
    to = flx_put_bytes(to, object->namespace_);
    name->object.name = (flx_slice){to, object->name.len};
    (void)flx_put_bytes(to, object->name);
    return name;
}

/* Makes `handle` stand for the name, which is taken. False: memory is out. */
static bool name_put(flx_lane *lane, uint16_t handle, flx_op_name *name)
{
    if (handle >= lane->name_cap) {
        unsigned cap = lane->name_cap == 0 ? NAMES_FIRST : lane->name_cap;
        while (cap <= handle) {
            cap *= 2;
        }
        flx_op_name **names = flx_realloc(lane->names, cap * sizeof(void *));
        if (names == NULL) {
            flx_free(name);
            return false;
        }
        memset(&names[lane->name_cap], 0, (cap - lane->name_cap) * sizeof(void *));
        lane->names = names;
        lane->name_cap = (uint16_t)cap;
    }
    FLX_ASSERT(lane->names[handle] == NULL);
    lane->names[handle] = name;
    return true;
}

static void name_drop(flx_lane *lane, uint16_t handle)
{
    flx_op_name *name = handle < lane->name_cap ? lane->names[handle] : NULL;
    if (name != NULL) {
        if (name->seat != 0) {
            flx_seats_went(lane->peer->worker->seats, name->seat, 0);
        }
        flx_free(name);
        lane->names[handle] = NULL;
    }
}

static flx_object object_of(const flx_operation *operation, bool is_cache)
{
    return (flx_object){.kind = is_cache ? FLX_OBJECT_CACHE : FLX_OBJECT_STREAM,
                        .tenant = operation->tenant,
                        .namespace_ = operation->namespace_,
                        .name = operation->name};
}

/* A longer name is in no catalog, and is not kept. */
static bool names_fit(const flx_operation *operation)
{
    return operation->tenant.len <= FLX_NAME_MAX && operation->namespace_.len <= FLX_NAME_MAX &&
           operation->name.len <= FLX_NAME_MAX;
}

static const char *not_there(bool is_cache)
{
    return is_cache ? "cache not found" : "stream not found";
}

/* Makes the handle stand for what the operation names. A name that is refused is kept all the same,
 * so that what is asked by it is refused alike; one that can never be there is not. */
static flx_op_refusal open_name(flx_lane *lane, const flx_operation *operation,
                                const flx_op_name **ret_name)
{
    const bool is_cache = operation->kind == FLX_OPERATION_CACHE;
    const flx_object object = object_of(operation, is_cache);
    if (operation->handle > FLX_OPERATION_HANDLE_MAX) {
        return (flx_op_refusal){FLX_CODE_INVALID_REQUEST, "a handle above 255"};
    }
    name_drop(lane, operation->handle);
    if (!names_fit(operation)) {
        return (flx_op_refusal){FLX_CODE_NOT_FOUND, not_there(is_cache)};
    }
    flx_op_name *name = name_new(&object);
    if (name == NULL || !name_put(lane, operation->handle, name)) {
        return flx_op_no_memory();
    }
    name->may_read = flx_session_allows(
        lane, &object, is_cache ? FLX_ACTION_CACHE_READ : FLX_ACTION_STREAM_SUBSCRIBE);
    name->may_write = flx_session_allows(
        lane, &object, is_cache ? FLX_ACTION_CACHE_WRITE : FLX_ACTION_STREAM_PUBLISH);
    name->epoch = lane->peer->worker->catalog_epoch - 1;
    name_resolve(lane->peer->worker, name);
    if (!name->may_read && !name->may_write) {
        return (flx_op_refusal){FLX_CODE_FORBIDDEN, "permission denied"};
    }
    if (name->cache == NULL && name->stream == NULL) {
        return (flx_op_refusal){FLX_CODE_NOT_FOUND, not_there(is_cache)};
    }
    if (name->cache != NULL) {
        name->seat = name->cache->id | FLX_SEATS_REQUESTS;
        flx_seats_came(lane->peer->worker->seats, name->seat, 0);
    }
    *ret_name = name;
    return (flx_op_refusal){0};
}

static void run_open(flx_op_output *output, flx_lane *lane, const flx_operation *operation)
{
    const flx_op_name *name = NULL;
    const flx_op_refusal refusal = open_name(lane, operation, &name);
    if (refusal.status != 0) {
        flx_op_answer_failure(output, operation->opcode, operation->id, refusal);
        return;
    }
    flx_operation_answer answer = {.opcode = operation->opcode, .id = operation->id};
    if (name->cache != NULL) {
        answer.shards = name->cache->shards;
    } else {
        answer.shards = name->stream->shards;
        answer.routing = name->stream->routing == FLX_ROUTING_JUMP_HASH ? 1 : 0;
    }
    flx_op_answer_success(output, &answer);
}

/* ---- placement ---- */

static bool is_of_cache(const flx_operation *placement)
{
    return placement->kind == FLX_PLACEMENT_CACHE || placement->kind == FLX_PLACEMENT_WATCH;
}

/* The shard that is asked about, and the id of what it is of. */
static flx_op_refusal placement_target(const flx_worker *worker, const flx_operation *operation,
                                       uint32_t *ret_id, uint32_t *ret_shard)
{
    const bool is_cache = is_of_cache(operation);
    flx_routing routing = FLX_ROUTING_MODULO;
    uint32_t shards = 0;
    if (is_cache) {
        const flx_cache_info *info = flx_catalog_cache(worker->catalog, operation->tenant,
                                                       operation->namespace_, operation->name);
        *ret_id = info == NULL ? 0 : info->id;
        shards = info == NULL ? 0 : info->shards;
    } else {
        const flx_stream_info *info = flx_catalog_stream(worker->catalog, operation->tenant,
                                                         operation->namespace_, operation->name);
        *ret_id = info == NULL ? 0 : info->id;
        shards = info == NULL ? 0 : info->shards;
        routing = info == NULL ? routing : (flx_routing)info->routing;
    }
    if (shards == 0) {
        return (flx_op_refusal){FLX_CODE_NOT_FOUND, not_there(is_cache)};
    }
    *ret_shard = (operation->flags & FLX_OPERATION_KEYED) != 0
                     ? flx_route_shard(routing, operation->key, shards)
                     : operation->shard;
    if (*ret_shard >= shards) {
        return (flx_op_refusal){FLX_CODE_INVALID_REQUEST, "no such shard"};
    }
    return (flx_op_refusal){0};
}

static bool placement_is_allowed(const flx_lane *lane, const flx_operation *operation)
{
    const flx_object object = object_of(operation, is_of_cache(operation));
    switch ((flx_placement_kind)operation->kind) {
    case FLX_PLACEMENT_PUBLISH:
        return flx_session_allows(lane, &object, FLX_ACTION_STREAM_PUBLISH);
    case FLX_PLACEMENT_SUBSCRIBE:
        return flx_session_allows(lane, &object, FLX_ACTION_STREAM_SUBSCRIBE);
    case FLX_PLACEMENT_CACHE:
        return flx_session_allows(lane, &object, FLX_ACTION_CACHE_READ) ||
               flx_session_allows(lane, &object, FLX_ACTION_CACHE_WRITE);
    case FLX_PLACEMENT_WATCH:
        return flx_session_allows(lane, &object, FLX_ACTION_CACHE_READ);
    }
    FLX_UNREACHABLE();
}

static void run_placement(flx_op_output *output, const flx_lane *lane,
                          const flx_operation *operation)
{
    const flx_worker *worker = output->worker;
    uint32_t id = 0;
    uint32_t shard = 0;
    const flx_op_refusal refusal = placement_is_allowed(lane, operation)
                                       ? placement_target(worker, operation, &id, &shard)
                                       : (flx_op_refusal){FLX_CODE_FORBIDDEN, "permission denied"};
    if (refusal.status != 0) {
        flx_op_answer_failure(output, operation->opcode, operation->id, refusal);
        return;
    }
    const flx_operation_answer answer = {
        .opcode = operation->opcode,
        .id = operation->id,
        .workers = (uint16_t)worker->count,
        .worker =
            (uint16_t)flx_worker_placement(worker, (flx_placement_kind)operation->kind, id, shard)};
    flx_op_answer_success(output, &answer);
}

/* ---- the cache ---- */

/* What the operation asks of a cache, its target left open. */
static flx_cache_request request_of(const flx_worker *worker, const flx_operation *operation,
                                    flx_chunk *chunk)
{
    flx_cache_request request = {.key = operation->key};
    bool is_put = false;
    switch (operation->opcode) {
    case FLX_OPCODE_CACHE_GET:
        request.op = FLX_CACHE_OP_GET;
        break;
    case FLX_OPCODE_CACHE_DELETE:
        request.op = FLX_CACHE_OP_DELETE;
        break;
    case FLX_OPCODE_CACHE_DELETE_IF:
        request.op = FLX_CACHE_OP_DELETE_VERSION;
        request.version = operation->version;
        break;
    case FLX_OPCODE_CACHE_PUT:
        request.op = FLX_CACHE_OP_PUT;
        is_put = true;
        break;
    case FLX_OPCODE_CACHE_PUT_IF: {
        const bool has_version = (operation->flags & FLX_OPERATION_VERSION) != 0;
        request.op = has_version ? FLX_CACHE_OP_PUT_VERSION : FLX_CACHE_OP_PUT_ABSENT;
        request.version = operation->version;
        is_put = true;
        break;
    }
    case FLX_OPCODE_COUNTER_ADD:
        request.op = FLX_CACHE_OP_COUNTER_ADD;
        request.delta = (int64_t)operation->delta;
        break;
    case FLX_OPCODE_COUNTER_GET:
        request.op = FLX_CACHE_OP_COUNTER_GET;
        break;
    default:
        FLX_UNREACHABLE();
    }
    if (is_put) {
        request.value = operation->value;
        request.chunk = operation->value.len >= FLX_CACHE_CHUNK_BYTES ? chunk : NULL;
        request.expires_at_ms = flx_cache_expiry_ms(
            worker, (operation->flags & FLX_OPERATION_TTL) != 0 ? operation->ttl_ms : UINT64_MAX);
    }
    return request;
}

/* The cache of the operation's handle, if it may be used so. */
static flx_op_refusal cache_of(const flx_lane *lane, const flx_operation *operation,
                               const flx_cache_info **ret_info)
{
    flx_op_name *name = operation->handle < lane->name_cap ? lane->names[operation->handle] : NULL;
    const bool is_read =
        operation->opcode == FLX_OPCODE_CACHE_GET || operation->opcode == FLX_OPCODE_COUNTER_GET;
    if (operation->handle > FLX_OPERATION_HANDLE_MAX) {
        return (flx_op_refusal){FLX_CODE_INVALID_REQUEST, "a handle above 255"};
    }
    if (name == NULL) {
        return (flx_op_refusal){FLX_CODE_NOT_FOUND, "the handle is not open"};
    }
    name_resolve(lane->peer->worker, name);
    if (name->object.kind != FLX_OBJECT_CACHE) {
        return (flx_op_refusal){FLX_CODE_INVALID_REQUEST, "the handle is of a stream"};
    }
    if (is_read ? !name->may_read : !name->may_write) {
        return (flx_op_refusal){FLX_CODE_FORBIDDEN, "permission denied"};
    }
    if (name->cache == NULL) {
        return (flx_op_refusal){FLX_CODE_NOT_FOUND, not_there(true)};
    }
    if (operation->key.len > FLX_CACHE_KEY_MAX) {
        return (flx_op_refusal){FLX_CODE_INVALID_REQUEST, "the key is too long"};
    }
    *ret_info = name->cache;
    return (flx_op_refusal){0};
}

static void run_cache(flx_op_output *output, flx_lane *lane, const flx_operation *operation,
                      flx_chunk *chunk)
{
    flx_worker *worker = output->worker;
    const flx_cache_info *info = NULL;
    const flx_op_refusal refusal = cache_of(lane, operation, &info);
    if (refusal.status != 0) {
        flx_op_answer_failure(output, operation->opcode, operation->id, refusal);
        return;
    }
    flx_cache_request request = request_of(worker, operation, chunk);
    flx_cache_request_aim(worker, info, &request);
    const uint32_t owner = flx_worker_owner(info->id, request.shard, worker->count);
    if (owner == worker->index && !info->promise.durable) {
        flx_cache_reply reply;
        flx_cache_serve(worker, &request, &reply);
        flx_op_answer_reply(output, operation->opcode, operation->id, &reply);
    } else if (!flx_op_batch_send(output, lane, operation, owner, &request)) {
        flx_op_answer_failure(output, operation->opcode, operation->id, flx_op_no_memory());
    }
}

/* ---- frames ---- */

static void run_operation(flx_op_output *output, flx_lane *lane, const flx_operation_head *head,
                          flx_chunk *chunk)
{
    flx_operation operation;
    const flx_status status = flx_operation_decode(head, &operation, NULL);
    if (status == FLX_ERR_UNSUPPORTED) {
        flx_op_answer_failure(output, head->opcode, head->id,
                              (flx_op_refusal){FLX_OPERATION_UNSUPPORTED, "unknown operation"});
        return;
    }
    if (status != FLX_OK) {
        flx_op_answer_failure(output, head->opcode, head->id,
                              (flx_op_refusal){FLX_CODE_INVALID_REQUEST, "a malformed operation"});
        return;
    }
    if (output->worker->is_draining) {
        flx_op_answer_failure(output, head->opcode, head->id,
                              (flx_op_refusal){FLX_CODE_DRAINING, "the broker is shutting down"});
        return;
    }
    switch (head->opcode) {
    case FLX_OPCODE_OPEN:
        run_open(output, lane, &operation);
        break;
    case FLX_OPCODE_PLACEMENT:
        run_placement(output, lane, &operation);
        break;
    case FLX_OPCODE_CACHE_GET:
    case FLX_OPCODE_CACHE_PUT:
    case FLX_OPCODE_CACHE_DELETE:
    case FLX_OPCODE_CACHE_PUT_IF:
    case FLX_OPCODE_CACHE_DELETE_IF:
    case FLX_OPCODE_COUNTER_ADD:
    case FLX_OPCODE_COUNTER_GET:
        run_cache(output, lane, &operation, chunk);
        break;
    default: /* groups, as their JSON forms */
        flx_op_answer_failure(output, head->opcode, head->id,
                              (flx_op_refusal){FLX_OPERATION_UNSUPPORTED, "not served"});
        break;
    }
}

/* What a frame is left at: answers that nobody reads, or that others owe (rule 25). */
static bool may_go_on(const flx_lane *lane)
{
    const flx_worker *worker = lane->peer->worker;
    return lane->state == FLX_LANE_OPEN && !lane->out_full && !worker->is_congested &&
           lane->ops_out < worker->limits.operation_window;
}

/* Takes operations off the front of `rest` and does them. A write that fails ends the lane, and with
 * it the bytes that are read here. */
static void run_operations(flx_lane *lane, flx_slice *rest, flx_chunk *chunk)
{
    flx_op_output output = {.worker = lane->peer->worker, .lane = lane};
    flx_operation_head head;
    while (may_go_on(lane) && flx_operations_next(rest, &head)) {
        run_operation(&output, lane, &head, chunk);
    }
    flx_op_output_flush(&output);
}

/* Keeps what is left of a frame; it goes on when the lane runs. */
static void keep_rest(flx_lane *lane, flx_slice rest, flx_chunk *chunk)
{
    if (rest.len == 0 || lane->state != FLX_LANE_OPEN) {
        return;
    }
    if (chunk != NULL) {
        lane->ops_chunk = flx_chunk_ref(chunk);
    } else { /* they lie in bytes that are only lent */
        lane->ops_chunk = flx_chunk_new(rest.len);
        if (lane->ops_chunk == NULL) {
            flx_lane_break(lane);
            return;
        }
        memcpy(lane->ops_chunk->data, rest.ptr, rest.len);
        lane->ops_chunk->len = (uint32_t)rest.len;
        rest.ptr = lane->ops_chunk->data;
    }
    lane->ops_rest = rest;
    flx_worker_mark_lane(lane->peer->worker, lane); /* or it waits, and for what */
}

void flx_operations_frame(flx_lane *lane, const flx_frame *frame)
{
    flx_slice rest = frame->payload;
    uint32_t count;
    if (flx_operations_check(rest, lane->peer->worker->limits.operation_window, &count, NULL) !=
        FLX_OK) {
        flx_lane_break(lane);
        return;
    }
    run_operations(lane, &rest, frame->chunk);
    keep_rest(lane, rest, frame->chunk);
}

void flx_operations_resume(flx_lane *lane)
{
    if (lane->ops_rest.len == 0 || !may_go_on(lane)) {
        return;
    }
    flx_chunk *chunk = lane->ops_chunk;
    flx_slice rest = lane->ops_rest;
    lane->ops_chunk = NULL;
    lane->ops_rest = (flx_slice){NULL, 0};
    run_operations(lane, &rest, chunk);
    keep_rest(lane, rest, chunk);
    flx_chunk_unref(chunk);
}

void flx_operations_drop_rest(flx_lane *lane)
{
    lane->ops_chunk = flx_chunk_unref(lane->ops_chunk);
    lane->ops_rest = (flx_slice){NULL, 0};
}

/* ---- life ---- */

void flx_operations_lane_done(flx_lane *lane)
{
    flx_operations_drop_rest(lane);
    for (uint16_t handle = 0; handle < lane->name_cap; handle++) {
        name_drop(lane, handle);
    }
    flx_free(lane->names);
    lane->names = NULL;
    lane->name_cap = 0;
}
