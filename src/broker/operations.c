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
 * other into the chunk they leave from, and what other workers must do travels a batch at a time,
 * there and back. The owner writes the bytes that leave, so that home only hands them on.
 */
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "wire/bytes.h"

#include <string.h>

#define BATCH_ENTRIES 256
#define BATCH_PARTS   (2 * BATCH_ENTRIES) /* an answer ends one frame and has one range besides */
#define BATCH_LOGS    8 /* logs that answers of one batch may wait for at a time */
#define NAMES_FIRST   4
#define ANSWER_HEAD   (FLX_OPERATION_HEAD_BYTES + sizeof(uint64_t)) /* with a version */

/* What OPEN made: names, and what they meant in the catalog of that epoch. */
typedef struct flx_op_name {
    flx_object object; /* slices into text */
    uint64_t epoch;
    const flx_cache_info *cache;   /* NULL: not there, or a stream */
    const flx_stream_info *stream; /* NULL: not there, or a cache */
    bool may_read;
    bool may_write;
    uint8_t text[];
} flx_op_name;

/* An operation on its way to the owner. */
typedef struct op_entry {
    uint64_t lane;
    uint32_t id;
    uint8_t opcode;
    flx_chunk *holder; /* of the request's bytes; owned */
    flx_cache_request request;
} op_entry;

/* Answers on their way home: bytes for one lane. */
typedef struct op_part {
    uint64_t lane;
    flx_range range; /* owned; without a chunk: memory was out, the answers are lost */
    uint32_t count;  /* operations answered */
} op_part;

/* The log of a durable cache that answers of a batch wait for. */
typedef struct op_wait {
    uint32_t id;
    uint32_t shard;
    uint64_t end;
} op_wait;

typedef struct flx_op_batch {
    struct flx_op_batch *next_free;
    flx_job *job; /* that it will travel with; NULL: it does, or is free */
    uint32_t entry_count;
    uint32_t part_count;
    uint32_t served; /* entries, on the owner */
    uint32_t wait_count;
    op_wait waits[BATCH_LOGS];
    op_entry entries[BATCH_ENTRIES];
    op_part parts[BATCH_PARTS];
} flx_op_batch;

/* Why an operation is not done. */
typedef struct op_refusal {
    uint16_t status; /* of the answer; 0: it is done */
    const char *message;
} op_refusal;

static const op_refusal no_memory = {FLX_CODE_OVERLOADED, "out of memory"};

/* ---- writing answers ---- */

/* A frame of answers being written, at the end of the worker's scratch. It goes to the lane, or to
 * the batch as a part of the lane with that handle. */
typedef struct op_output {
    flx_worker *worker;
    flx_lane *lane;
    flx_op_batch *batch; /* NULL: to the lane */
    uint64_t handle;
    uint8_t *frame; /* NULL: none is begun */
    size_t len;     /* with its header */
    size_t cap;
    uint32_t count;
} op_output;

static void output_range(op_output *output, flx_range range, uint32_t count)
{
    flx_op_batch *batch = output->batch;
    if (batch != NULL) {
        FLX_ASSERT(batch->part_count < BATCH_PARTS);
        batch->parts[batch->part_count++] = (op_part){output->handle, range, count};
    } else if (range.chunk != NULL) {
        flx_lane_write(output->lane, range);
    } else {
        flx_lane_break(output->lane);
    }
}

static void output_flush(op_output *output)
{
    if (output->frame == NULL) {
        return;
    }
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)(output->len - FLX_FRAME_HEADER_BYTES),
                            output->frame);
    output->frame = NULL;
    output_range(output, flx_scratch_commit(&output->worker->scratch, output->len), output->count);
    output->count = 0;
}

/* Room for one answer of `len` bytes, counted as written; NULL: memory is out, and it is lost. */
static uint8_t *output_take(op_output *output, size_t len)
{
    if (output->frame != NULL && output->cap - output->len < len) {
        output_flush(output);
    }
    if (output->frame == NULL) {
        flx_scratch *scratch = &output->worker->scratch;
        output->frame = flx_scratch_reserve(scratch, FLX_FRAME_HEADER_BYTES + len);
        if (output->frame == NULL) {
            output_range(output, (flx_range){NULL, 0, 0}, 1);
            return NULL;
        }
        output->len = FLX_FRAME_HEADER_BYTES;
        output->cap = flx_chunk_room(scratch->chunk);
    }
    uint8_t *to = output->frame + output->len;
    output->len += len;
    output->count++;
    return to;
}

static void answer_failure(op_output *output, uint8_t opcode, uint32_t id, op_refusal refusal)
{
    const bool is_code = refusal.status != FLX_OPERATION_UNSUPPORTED;
    const flx_operation_answer answer = {
        .opcode = opcode,
        .status = refusal.status,
        .id = id,
        .retry = (uint8_t)(is_code ? flx_code_retry(refusal.status) : FLX_RETRY_FATAL),
        .message = {(const uint8_t *)refusal.message, strlen(refusal.message)},
    };
    if (is_code) {
        flx_stat_add(&output->worker->stats.errors[refusal.status], 1);
    }
    uint8_t *to = output_take(output, flx_operation_answer_bytes(&answer));
    if (to != NULL) {
        (void)flx_operation_answer_encode(&answer, to);
    }
}

static void answer_success(op_output *output, const flx_operation_answer *answer)
{
    uint8_t *to = output_take(output, flx_operation_answer_bytes(answer));
    if (to != NULL) {
        (void)flx_operation_answer_encode(answer, to);
    }
}

/* A value that is sent from where it lies: a frame of its own, head and value one behind the other. */
static void answer_shared_value(op_output *output, uint8_t opcode, uint32_t id,
                                const flx_cache_reply *reply)
{
    const size_t len = sizeof(uint64_t) + reply->value.len;
    const flx_operation_head head = {
        .opcode = opcode, .flags = FLX_OPERATION_FOUND, .id = id, .body = {NULL, len}};
    output_flush(output);
    uint8_t *to =
        flx_scratch_reserve(&output->worker->scratch, FLX_FRAME_HEADER_BYTES + ANSWER_HEAD);
    if (to == NULL) {
        output_range(output, (flx_range){NULL, 0, 0}, 1);
        return;
    }
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)(FLX_OPERATION_HEAD_BYTES + len), to);
    (void)flx_put_u64(flx_operation_head_put(to + FLX_FRAME_HEADER_BYTES, &head), reply->version);
    const uint32_t start = (uint32_t)(reply->value.ptr - reply->chunk->data);
    const flx_range value = {flx_chunk_ref(reply->chunk), start,
                             start + (uint32_t)reply->value.len};
    output_range(output,
                 flx_scratch_commit(&output->worker->scratch, FLX_FRAME_HEADER_BYTES + ANSWER_HEAD),
                 1);
    output_range(output, value, 0);
}

/* What most operations are: a hit, copied once, behind the others. */
static void answer_value(op_output *output, uint8_t opcode, uint32_t id,
                         const flx_cache_reply *reply)
{
    const size_t len = reply->has_value ? sizeof(uint64_t) + reply->value.len : 0;
    const flx_operation_head head = {.opcode = opcode,
                                     .flags = reply->has_value ? FLX_OPERATION_FOUND : 0,
                                     .id = id,
                                     .body = {NULL, len}};
    if (len > FLX_FRAME_BYTES_MAX - FLX_OPERATION_HEAD_BYTES) {
        answer_failure(output, opcode, id,
                       (op_refusal){FLX_CODE_INVALID_REQUEST, "the value does not fit an answer"});
        return;
    }
    if (reply->chunk != NULL) {
        answer_shared_value(output, opcode, id, reply);
        return;
    }
    uint8_t *to = output_take(output, FLX_OPERATION_HEAD_BYTES + len);
    if (to != NULL) {
        to = flx_operation_head_put(to, &head);
        if (reply->has_value) {
            (void)flx_put_bytes(flx_put_u64(to, reply->version), reply->value);
        }
    }
}

static void answer_reply(op_output *output, uint8_t opcode, uint32_t id,
                         const flx_cache_reply *reply)
{
    if (reply->status != FLX_OK) {
        op_refusal refusal;
        refusal.status = (uint16_t)flx_cache_refusal(reply->status, &refusal.message);
        answer_failure(output, opcode, id, refusal);
        return;
    }
    if (opcode == FLX_OPCODE_CACHE_GET || opcode == FLX_OPCODE_CACHE_DELETE) {
        answer_value(output, opcode, id, reply);
        return;
    }
    flx_operation_answer answer = {.opcode = opcode, .id = id, .version = reply->version};
    if (opcode == FLX_OPCODE_COUNTER_ADD || opcode == FLX_OPCODE_COUNTER_GET) {
        answer.flags = reply->has_value ? FLX_OPERATION_FOUND : 0;
        answer.counter = (uint64_t)reply->sum;
    } else if (opcode != FLX_OPCODE_CACHE_PUT) {
        answer.flags = (uint8_t)((reply->applied ? FLX_OPERATION_APPLIED : 0) |
                                 (reply->version != 0 ? FLX_OPERATION_VERSIONED : 0));
    }
    answer_success(output, &answer);
}

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
    flx_free(lane->names[handle]);
    lane->names[handle] = name;
    return true;
}

static void name_drop(flx_lane *lane, uint16_t handle)
{
    if (handle < lane->name_cap) {
        flx_free(lane->names[handle]);
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
static op_refusal open_name(flx_lane *lane, const flx_operation *operation,
                            const flx_op_name **ret_name)
{
    const bool is_cache = operation->kind == FLX_OPERATION_CACHE;
    const flx_object object = object_of(operation, is_cache);
    if (operation->handle > FLX_OPERATION_HANDLE_MAX) {
        return (op_refusal){FLX_CODE_INVALID_REQUEST, "a handle above 255"};
    }
    name_drop(lane, operation->handle);
    if (!names_fit(operation)) {
        return (op_refusal){FLX_CODE_NOT_FOUND, not_there(is_cache)};
    }
    flx_op_name *name = name_new(&object);
    if (name == NULL || !name_put(lane, operation->handle, name)) {
        return no_memory;
    }
    name->may_read = flx_session_allows(
        lane, &object, is_cache ? FLX_ACTION_CACHE_READ : FLX_ACTION_STREAM_SUBSCRIBE);
    name->may_write = flx_session_allows(
        lane, &object, is_cache ? FLX_ACTION_CACHE_WRITE : FLX_ACTION_STREAM_PUBLISH);
    name->epoch = lane->peer->worker->catalog_epoch - 1;
    name_resolve(lane->peer->worker, name);
    if (!name->may_read && !name->may_write) {
        return (op_refusal){FLX_CODE_FORBIDDEN, "permission denied"};
    }
    if (name->cache == NULL && name->stream == NULL) {
        return (op_refusal){FLX_CODE_NOT_FOUND, not_there(is_cache)};
    }
    *ret_name = name;
    return (op_refusal){0};
}

static void run_open(op_output *output, flx_lane *lane, const flx_operation *operation)
{
    const flx_op_name *name = NULL;
    const op_refusal refusal = open_name(lane, operation, &name);
    if (refusal.status != 0) {
        answer_failure(output, operation->opcode, operation->id, refusal);
        return;
    }
    flx_operation_answer answer = {.opcode = operation->opcode, .id = operation->id};
    if (name->cache != NULL) {
        answer.shards = name->cache->shards;
    } else {
        answer.shards = name->stream->shards;
        answer.routing = name->stream->routing == FLX_ROUTING_JUMP_HASH ? 1 : 0;
    }
    answer_success(output, &answer);
}

/* ---- placement ---- */

/* The shard that is asked about, and the id of what it is of. */
static op_refusal placement_target(const flx_worker *worker, const flx_operation *operation,
                                   uint32_t *ret_id, uint32_t *ret_shard)
{
    const bool is_cache = operation->kind == FLX_PLACEMENT_CACHE;
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
        return (op_refusal){FLX_CODE_NOT_FOUND, not_there(is_cache)};
    }
    *ret_shard = (operation->flags & FLX_OPERATION_KEYED) != 0
                     ? flx_route_shard(routing, operation->key, shards)
                     : operation->shard;
    if (*ret_shard >= shards) {
        return (op_refusal){FLX_CODE_INVALID_REQUEST, "no such shard"};
    }
    return (op_refusal){0};
}

static bool placement_is_allowed(const flx_lane *lane, const flx_operation *operation)
{
    const flx_object object = object_of(operation, operation->kind == FLX_PLACEMENT_CACHE);
    switch ((flx_placement_kind)operation->kind) {
    case FLX_PLACEMENT_PUBLISH:
        return flx_session_allows(lane, &object, FLX_ACTION_STREAM_PUBLISH);
    case FLX_PLACEMENT_SUBSCRIBE:
        return flx_session_allows(lane, &object, FLX_ACTION_STREAM_SUBSCRIBE);
    case FLX_PLACEMENT_CACHE:
        return flx_session_allows(lane, &object, FLX_ACTION_CACHE_READ) ||
               flx_session_allows(lane, &object, FLX_ACTION_CACHE_WRITE);
    }
    FLX_UNREACHABLE();
}

static void run_placement(op_output *output, const flx_lane *lane, const flx_operation *operation)
{
    const flx_worker *worker = output->worker;
    uint32_t id = 0;
    uint32_t shard = 0;
    const op_refusal refusal = placement_is_allowed(lane, operation)
                                   ? placement_target(worker, operation, &id, &shard)
                                   : (op_refusal){FLX_CODE_FORBIDDEN, "permission denied"};
    if (refusal.status != 0) {
        answer_failure(output, operation->opcode, operation->id, refusal);
        return;
    }
    const flx_operation_answer answer = {
        .opcode = operation->opcode,
        .id = operation->id,
        .workers = (uint16_t)worker->count,
        .worker =
            (uint16_t)flx_worker_placement(worker, (flx_placement_kind)operation->kind, id, shard)};
    answer_success(output, &answer);
}

/* ---- batches ---- */

/* The batch for that worker, with all it needs to leave; NULL: memory is out. */
static flx_op_batch *batch_of(flx_worker *worker, uint32_t owner)
{
    if (worker->batches[owner] != NULL) {
        return worker->batches[owner];
    }
    flx_op_batch *batch = worker->free_batches;
    flx_job *job = flx_job_new(worker, FLX_JOB_OPERATIONS);
    if (job == NULL) {
        return NULL;
    }
    if (batch != NULL) {
        worker->free_batches = batch->next_free;
        worker->free_batch_count--;
    } else if ((batch = flx_alloc(sizeof *batch)) == NULL) {
        flx_job_drop(worker, job);
        return NULL;
    }
    batch->entry_count = 0;
    batch->part_count = 0;
    batch->served = 0;
    batch->wait_count = 0;
    batch->job = job;
    worker->batches[owner] = batch;
    worker->batch_count++;
    return batch;
}

void flx_op_batch_free(flx_op_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        flx_chunk_unref(batch->entries[i].holder);
    }
    for (uint32_t i = 0; i < batch->part_count; i++) {
        flx_chunk_unref(batch->parts[i].range.chunk);
    }
    flx_free(batch->job);
    flx_free(batch);
}

static void batch_post(flx_worker *worker, uint32_t owner)
{
    flx_op_batch *batch = worker->batches[owner];
    flx_job *job = batch->job;
    batch->job = NULL;
    worker->batches[owner] = NULL;
    worker->batch_count--;
    job->catalog = flx_catalog_ref(worker->catalog);
    job->batch = batch;
    flx_job_send(worker, job, owner);
}

void flx_operations_post(flx_worker *worker)
{
    for (uint32_t owner = 0; owner < worker->count && worker->batch_count > 0; owner++) {
        if (worker->batches[owner] != NULL) {
            batch_post(worker, owner);
        }
    }
}

/* Hands a request to the worker that owns its shard. False: memory is out. */
static bool send_elsewhere(op_output *output, flx_lane *lane, const flx_operation *operation,
                           uint32_t owner, flx_cache_request *request)
{
    flx_worker *worker = lane->peer->worker;
    flx_op_batch *batch = batch_of(worker, owner);
    flx_chunk *holder = batch == NULL ? NULL : flx_cache_request_keep(worker, request);
    if (holder == NULL) {
        return false;
    }
    batch->entries[batch->entry_count++] = (op_entry){.lane = lane->handle,
                                                      .id = operation->id,
                                                      .opcode = operation->opcode,
                                                      .holder = holder,
                                                      .request = *request};
    lane->ops_out++;
    if (batch->entry_count == BATCH_ENTRIES) {
        output_flush(output); /* what cannot be posted is answered at once, by another output */
        batch_post(worker, owner);
    }
    return true;
}

/* Whether there is room to note what the answer of a request waits for. */
static bool has_wait_room(const flx_op_batch *batch, const flx_cache_request *request)
{
    for (uint32_t i = 0; i < batch->wait_count; i++) {
        if (batch->waits[i].id == request->info->id && batch->waits[i].shard == request->shard) {
            return true;
        }
    }
    return batch->wait_count < BATCH_LOGS;
}

static void note_wait(flx_op_batch *batch, const flx_cache_request *request, uint64_t end)
{
    for (uint32_t i = 0; i < batch->wait_count; i++) {
        op_wait *wait = &batch->waits[i];
        if (wait->id == request->info->id && wait->shard == request->shard) {
            wait->end = end > wait->end ? end : wait->end;
            return;
        }
    }
    FLX_ASSERT(batch->wait_count < BATCH_LOGS);
    batch->waits[batch->wait_count++] = (op_wait){request->info->id, request->shard, end};
}

/* The reply of a value that was read from the log meanwhile. */
static void reply_fetched(const flx_job *job, flx_cache_reply *reply)
{
    *reply = job->reply;
    reply->status = job->status;
    reply->value = job->value.chunk == NULL ? (flx_slice){NULL, 0} : flx_range_slice(&job->value);
    reply->chunk = reply->value.len < FLX_CACHE_CHUNK_BYTES ? NULL : job->value.chunk;
}

typedef enum serve_step { SERVE_ANSWERED, SERVE_PARKED, SERVE_WAITS_FIRST } serve_step;

/* Serves the batch's next entry, or goes on with it. */
static serve_step serve_next(flx_worker *worker, flx_job *job, op_output *output)
{
    flx_op_batch *batch = job->batch;
    const op_entry *entry = &batch->entries[batch->served];
    const flx_cache_request *request = &entry->request;
    flx_cache_reply reply;
    if (request->info->promise.durable && !has_wait_room(batch, request)) {
        return SERVE_WAITS_FIRST;
    }
    if (job->step == FLX_CACHE_SERVED) {
        reply_fetched(job, &reply);
        job->step = FLX_CACHE_NEW;
        job->status = FLX_OK;
    } else {
        flx_cache_serve(worker, request, &reply);
        if (reply.is_parked || reply.is_away) {
            flx_durable *durable = flx_cache_durable(worker, request->info->id, request->shard);
            output_flush(output); /* the scratch is others' meanwhile */
            if (reply.is_parked) {
                flx_durable_park(durable, job);
            } else {
                job->reply = reply;
                job->step = FLX_CACHE_SERVED;
                flx_cache_fetch(durable, job, reply.version);
            }
            return SERVE_PARKED;
        }
    }
    if (reply.wait_end > 0) {
        note_wait(batch, request, reply.wait_end);
    }
    answer_reply(output, entry->opcode, entry->id, &reply);
    job->value.chunk = flx_chunk_unref(job->value.chunk);
    batch->served++;
    return SERVE_ANSWERED;
}

/* True: all that the answers rest on is safe, or job.status says that it will not be. */
static bool batch_settled(flx_worker *worker, flx_job *job)
{
    flx_op_batch *batch = job->batch;
    while (batch->wait_count > 0 && job->status == FLX_OK) {
        const op_wait *wait = &batch->waits[batch->wait_count - 1];
        flx_durable *durable = flx_cache_durable(worker, wait->id, wait->shard);
        job->wait_end = wait->end;
        if (durable == NULL) {
            job->status = FLX_ERR_NOT_FOUND; /* deleted meanwhile */
        } else if (flx_cache_settle(durable, job)) {
            return false;
        } else {
            batch->wait_count--;
        }
    }
    return true;
}

static void parts_drop(flx_op_batch *batch)
{
    for (uint32_t i = 0; i < batch->part_count; i++) {
        flx_chunk_unref(batch->parts[i].range.chunk);
    }
    batch->part_count = 0;
}

bool flx_operations_job(flx_worker *worker, flx_job *job)
{
    flx_op_batch *batch = job->batch;
    op_output output = {.worker = worker, .batch = batch};
    if (job->step == FLX_CACHE_NEW && job->status != FLX_OK) {
        parts_drop(batch); /* nobody hears of what may be lost: all of it is answered as failed */
        return true;
    }
    while (batch->served < batch->entry_count) {
        const op_entry *entry = &batch->entries[batch->served];
        if (output.handle != entry->lane) {
            output_flush(&output);
            output.handle = entry->lane;
        }
        switch (serve_next(worker, job, &output)) {
        case SERVE_ANSWERED:
            break;
        case SERVE_PARKED:
            return false;
        case SERVE_WAITS_FIRST:
            output_flush(&output);
            if (!batch_settled(worker, job)) {
                return false;
            }
            if (job->status != FLX_OK) {
                parts_drop(batch);
                return true;
            }
            break;
        }
    }
    output_flush(&output);
    if (!batch_settled(worker, job)) {
        return false;
    }
    if (job->status != FLX_OK) {
        parts_drop(batch);
        return true;
    }
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        flx_chunk_unref(batch->entries[i].holder);
    }
    batch->entry_count = 0;
    return true;
}

/* Answers what has no answer: there was no memory to send it, or its log failed. */
static void batch_lost(flx_worker *worker, const flx_op_batch *batch, flx_status status)
{
    op_refusal refusal;
    refusal.status = (uint16_t)flx_cache_refusal(status, &refusal.message);
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        const op_entry *entry = &batch->entries[i];
        op_output output = {.worker = worker,
                            .lane = flx_handles_get(&worker->handles, entry->lane)};
        if (output.lane != NULL) {
            output.lane->ops_out--;
            flx_worker_mark_lane(worker, output.lane);
            answer_failure(&output, entry->opcode, entry->id, refusal);
            output_flush(&output);
        }
    }
}

void flx_operations_done(flx_worker *worker, flx_job *job)
{
    flx_op_batch *batch = job->batch;
    if (job->status != FLX_OK) {
        batch_lost(worker, batch, job->status);
        return;
    }
    for (uint32_t i = 0; i < batch->part_count; i++) {
        op_part *part = &batch->parts[i];
        flx_lane *lane = flx_handles_get(&worker->handles, part->lane);
        if (lane == NULL) {
            flx_chunk_unref(part->range.chunk);
            continue;
        }
        FLX_ASSERT(lane->ops_out >= part->count);
        lane->ops_out -= part->count;
        flx_worker_mark_lane(worker, lane); /* reads on, or ends */
        if (part->range.chunk != NULL) {
            flx_lane_write(lane, part->range);
        } else {
            flx_lane_break(lane); /* a hole in the answers would be worse */
        }
    }
    batch->part_count = 0;
    if (worker->free_batch_count < 2 * worker->count) {
        batch->next_free = worker->free_batches;
        worker->free_batches = batch;
        worker->free_batch_count++;
        job->batch = NULL;
    }
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
static op_refusal cache_of(const flx_lane *lane, const flx_operation *operation,
                           const flx_cache_info **ret_info)
{
    flx_op_name *name = operation->handle < lane->name_cap ? lane->names[operation->handle] : NULL;
    const bool is_read =
        operation->opcode == FLX_OPCODE_CACHE_GET || operation->opcode == FLX_OPCODE_COUNTER_GET;
    if (operation->handle > FLX_OPERATION_HANDLE_MAX) {
        return (op_refusal){FLX_CODE_INVALID_REQUEST, "a handle above 255"};
    }
    if (name == NULL) {
        return (op_refusal){FLX_CODE_NOT_FOUND, "the handle is not open"};
    }
    name_resolve(lane->peer->worker, name);
    if (name->object.kind != FLX_OBJECT_CACHE) {
        return (op_refusal){FLX_CODE_INVALID_REQUEST, "the handle is of a stream"};
    }
    if (is_read ? !name->may_read : !name->may_write) {
        return (op_refusal){FLX_CODE_FORBIDDEN, "permission denied"};
    }
    if (name->cache == NULL) {
        return (op_refusal){FLX_CODE_NOT_FOUND, not_there(true)};
    }
    if (operation->key.len > FLX_CACHE_KEY_MAX) {
        return (op_refusal){FLX_CODE_INVALID_REQUEST, "the key is too long"};
    }
    *ret_info = name->cache;
    return (op_refusal){0};
}

static void run_cache(op_output *output, flx_lane *lane, const flx_operation *operation,
                      flx_chunk *chunk)
{
    flx_worker *worker = output->worker;
    const flx_cache_info *info = NULL;
    const op_refusal refusal = cache_of(lane, operation, &info);
    if (refusal.status != 0) {
        answer_failure(output, operation->opcode, operation->id, refusal);
        return;
    }
    flx_cache_request request = request_of(worker, operation, chunk);
    flx_cache_request_aim(worker, info, &request);
    const uint32_t owner = flx_worker_owner(info->id, request.shard, worker->count);
    if (owner == worker->index && !info->promise.durable) {
        flx_cache_reply reply;
        flx_cache_serve(worker, &request, &reply);
        answer_reply(output, operation->opcode, operation->id, &reply);
    } else if (!send_elsewhere(output, lane, operation, owner, &request)) {
        answer_failure(output, operation->opcode, operation->id, no_memory);
    }
}

/* ---- frames ---- */

static void run_operation(op_output *output, flx_lane *lane, const flx_operation_head *head,
                          flx_chunk *chunk)
{
    flx_operation operation;
    const flx_status status = flx_operation_decode(head, &operation, NULL);
    if (status == FLX_ERR_UNSUPPORTED) {
        answer_failure(output, head->opcode, head->id,
                       (op_refusal){FLX_OPERATION_UNSUPPORTED, "unknown operation"});
        return;
    }
    if (status != FLX_OK) {
        answer_failure(output, head->opcode, head->id,
                       (op_refusal){FLX_CODE_INVALID_REQUEST, "a malformed operation"});
        return;
    }
    if (output->worker->is_draining) {
        answer_failure(output, head->opcode, head->id,
                       (op_refusal){FLX_CODE_DRAINING, "the broker is shutting down"});
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
        answer_failure(output, head->opcode, head->id,
                       (op_refusal){FLX_OPERATION_UNSUPPORTED, "not served"});
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
    op_output output = {.worker = lane->peer->worker, .lane = lane};
    flx_operation_head head;
    while (may_go_on(lane) && flx_operations_next(rest, &head)) {
        run_operation(&output, lane, &head, chunk);
    }
    output_flush(&output);
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
    for (uint32_t handle = 0; handle < lane->name_cap; handle++) {
        flx_free(lane->names[handle]);
    }
    flx_free(lane->names);
    lane->names = NULL;
    lane->name_cap = 0;
}

void flx_operations_worker_done(flx_worker *worker)
{
    for (uint32_t owner = 0; owner < worker->count; owner++) {
        flx_op_batch_free(worker->batches[owner]);
        worker->batches[owner] = NULL;
    }
    while (worker->free_batches != NULL) {
        flx_op_batch *batch = worker->free_batches;
        worker->free_batches = batch->next_free;
        flx_op_batch_free(batch); /* empty */
    }
}
