/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/op_batch.c - operations on shards that other workers own, and those that wait for a log.
 *
 *     home   request ─► entry of the owner's batch; at the end of the tick the batch goes there as a job
 *     owner  serves entry by entry ─► parts: ranges of whole frames, by lane ─► waits for the logs that
 *            the answers rest on
 *     home   hands each part to its lane, and keeps the batch for the next
 *
 * The owner writes the bytes that leave, so that home only hands them on.
 *
 * Entries take effect in their order, and those of one home worker's batches in the order of the batches:
 * that is the order of one client's operations on one key. A value that is in the log only holds nothing
 * up: its entry has had its effect, and the answer is written when the batch has all its values. A log that
 * is still being opened holds up the batch that needs it, before it has any effect, and those that come
 * from the same home behind it.
 */
#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/cache_state_int.h"
#include "broker/durable_int.h"
#include "broker/handles_int.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/op_answers_int.h"
#include "broker/op_batch_int.h"
#include "broker/sealed.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"

#define BATCH_ENTRIES 256
#define BATCH_PARTS   (2 * BATCH_ENTRIES) /* an answer ends one frame and has one range besides */

/* An operation on its way to the owner. */
typedef struct op_entry {
    uint64_t lane;
    uint32_t id;
    uint8_t opcode;
    bool is_away;   /* its value comes from the log: the reply waits in what follows */
    bool has_value; /* as the reply says, like `applied` and `version` */
    bool applied;
    uint64_t version;
    flx_status status; /* of the value */
    flx_range value;   /* owned */
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

struct flx_op_batch {
    struct flx_op_batch *next_free;
    flx_job *job; /* that it will travel with; NULL: it does, or is free */
    uint32_t entry_count;
    uint32_t part_count;
    uint32_t served;     /* entries, on the owner */
    uint32_t away_count; /* entries whose answer waits for a value */
    uint32_t fetching;   /* of them, on their way */
    bool is_waiting;     /* for the last of these */
    uint32_t wait_count;
    op_wait waits[BATCH_ENTRIES];
    op_entry entries[BATCH_ENTRIES];
    op_part parts[BATCH_PARTS];
};

/* ---- home ---- */

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
    batch->away_count = 0;
    batch->fetching = 0;
    batch->is_waiting = false;
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
        flx_chunk_unref(batch->entries[i].value.chunk);
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

bool flx_op_batch_send(flx_op_output *output, flx_lane *lane, const flx_operation *operation,
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
        flx_op_output_flush(
            output); /* what cannot be posted is answered at once, by another output */
        batch_post(worker, owner);
    }
    return true;
}

/* ---- on the owner ---- */

void flx_op_batch_answer(flx_op_batch *batch, uint64_t lane, flx_range range, uint32_t count)
{
    FLX_ASSERT(batch->part_count < BATCH_PARTS);
    batch->parts[batch->part_count++] = (op_part){lane, range, count};
}

static void note_wait(flx_op_batch *batch, const flx_cache_request *request, uint64_t end)
{
    for (uint32_t i = batch->wait_count; i-- > 0;) {
        op_wait *wait = &batch->waits[i];
        if (wait->id == request->info->id && wait->shard == request->shard) {
            wait->end = end > wait->end ? end : wait->end;
            return;
        }
    }
    batch->waits[batch->wait_count++] = (op_wait){request->info->id, request->shard, end};
}

/* Asks for the value of the batch's next entry, which has had its effect. */
static void fetch_value(flx_durable *durable, flx_job *job, const flx_cache_reply *reply)
{
    flx_op_batch *batch = job->batch;
    const uint32_t number = batch->served;
    op_entry *entry = &batch->entries[number];
    entry->is_away = true;
    entry->has_value = reply->has_value;
    entry->applied = reply->applied;
    entry->version = reply->version;
    batch->away_count++;
    batch->fetching++;
    flx_cache_fetch_entry(durable, job, number, reply->version);
}

void flx_op_batch_fetched(flx_worker *worker, flx_job *job, uint32_t entry, flx_status status,
                          flx_range value)
{
    flx_op_batch *batch = job->batch;
    FLX_ASSERT(batch->fetching > 0 && batch->entries[entry].is_away);
    batch->entries[entry].status = status;
    batch->entries[entry].value = value;
    batch->fetching--;
    if (batch->fetching == 0 && batch->is_waiting) {
        batch->is_waiting = false;
        flx_job_again(worker, job);
    }
}

/* Answers are for this lane from now on. */
static void turn_to(flx_op_output *output, uint64_t lane)
{
    if (output->handle != lane) {
        flx_op_output_flush(output);
        output->handle = lane;
    }
}

/* The answers that had to wait for values, which are here now. */
static void answer_fetched(flx_op_output *output)
{
    flx_op_batch *batch = output->batch;
    for (uint32_t i = 0; i < batch->entry_count && batch->away_count > 0; i++) {
        op_entry *entry = &batch->entries[i];
        if (!entry->is_away) {
            continue;
        }
        const flx_slice value =
            entry->value.chunk == NULL ? (flx_slice){NULL, 0} : flx_range_slice(&entry->value);
        const flx_cache_reply reply = {
            .status = entry->status,
            .has_value = entry->has_value,
            .applied = entry->applied,
            .version = entry->version,
            .value = value,
            .chunk = value.len < FLX_CACHE_CHUNK_BYTES ? NULL : entry->value.chunk,
        };
        turn_to(output, entry->lane);
        flx_op_answer_reply(output, entry->opcode, entry->id, &reply);
        entry->value.chunk = flx_chunk_unref(entry->value.chunk);
        entry->is_away = false;
        batch->away_count--;
    }
}

/* Whether a batch of the same home waits for a log to be opened: then this one waits behind it. */
static bool is_behind(flx_worker *worker, flx_job *job)
{
    flx_op_stall *stall = &worker->op_stalls[job->from];
    flx_durable *durable =
        stall->job == NULL ? NULL : flx_cache_durable(worker, stall->id, stall->shard);
    if (durable == NULL || stall->job == job || !flx_durable_holds(durable, FLX_PUBLISH_PLAIN)) {
        stall->job = NULL;
        return false;
    }
    flx_durable_park(durable, job);
    return true;
}

/* Its log is being opened. */
static void stall(flx_worker *worker, flx_job *job, const flx_cache_request *request)
{
    worker->op_stalls[job->from] = (flx_op_stall){job, request->info->id, request->shard};
    flx_durable_park(flx_cache_durable(worker, request->info->id, request->shard), job);
}

/* The first operation whose log is still being opened; NULL: there is none. */
static const flx_cache_request *first_unopened(flx_worker *worker, const flx_op_batch *batch)
{
    if (flx_stat_get(&worker->stats.logs_opening) == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        const flx_cache_request *request = &batch->entries[i].request;
        flx_durable *durable = flx_cache_durable(worker, request->info->id, request->shard);
        if (durable != NULL && flx_durable_holds(durable, FLX_PUBLISH_PLAIN)) {
            return request;
        }
    }
    return NULL;
}

/* Holds the batch back before it has any effect: in the middle, with values on their way, it could not be
 * parked, and the batches behind it would overtake what is left of it. */
static bool has_to_stall(flx_worker *worker, flx_job *job)
{
    if (job->batch->served > 0 || job->status != FLX_OK) {
        return false;
    }
    if (is_behind(worker, job)) {
        return true;
    }
    const flx_cache_request *request = first_unopened(worker, job->batch);
    if (request != NULL) {
        stall(worker, job, request);
    }
    return request != NULL;
}

/* Serves entry by entry; false: one has to wait, and the job comes again. */
static bool serve_entries(flx_worker *worker, flx_job *job, flx_op_output *output)
{
    flx_op_batch *batch = job->batch;
    for (; batch->served < batch->entry_count; batch->served++) {
        const op_entry *entry = &batch->entries[batch->served];
        const flx_cache_request *request = &entry->request;
        flx_cache_reply reply;
        flx_cache_serve(worker, request, &reply);
        if (reply.is_parked && batch->fetching > 0) {
            batch->is_waiting = true; /* its log is made only now; a parked job holds nothing */
            return false;
        }
        if (reply.is_parked) {
            stall(worker, job, request);
            return false;
        }
        if (reply.wait_end > 0) {
            note_wait(batch, request, reply.wait_end);
        }
        turn_to(output, entry->lane);
        if (reply.is_away) {
            flx_op_output_flush(output); /* the scratch is others' meanwhile */
            fetch_value(flx_cache_durable(worker, request->info->id, request->shard), job, &reply);
        } else {
            flx_op_answer_reply(output, entry->opcode, entry->id, &reply);
        }
    }
    return true;
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
    flx_op_output output = {.worker = worker, .batch = batch};
    if (has_to_stall(worker, job)) {
        return false;
    }
    const bool is_served = job->status != FLX_OK || serve_entries(worker, job, &output);
    flx_op_output_flush(&output);
    if (!is_served) {
        return false;
    }
    if (batch->fetching > 0) {
        batch->is_waiting = true;
        return false;
    }
    answer_fetched(&output);
    flx_op_output_flush(&output);
    if (!batch_settled(worker, job)) {
        return false;
    }
    if (job->status != FLX_OK) {
        parts_drop(batch); /* nobody hears of what may be lost: all of it is answered as failed */
        return true;
    }
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        flx_chunk_unref(batch->entries[i].holder);
    }
    batch->entry_count = 0;
    return true;
}

/* ---- back home ---- */

/* Answers what has no answer: there was no memory to send it, or its log failed. */
static void batch_lost(flx_worker *worker, const flx_op_batch *batch, flx_status status)
{
    flx_op_refusal refusal;
    refusal.status = (uint16_t)flx_cache_refusal(status, &refusal.message);
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        const op_entry *entry = &batch->entries[i];
        flx_op_output output = {.worker = worker,
                                .lane = flx_handles_get(&worker->handles, entry->lane)};
        if (output.lane != NULL) {
            output.lane->ops_out--;
            flx_worker_mark_lane(worker, output.lane);
            flx_op_answer_failure(&output, entry->opcode, entry->id, refusal);
            flx_op_output_flush(&output);
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
