/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/query.c - requests that change nothing: shard counts and owners, producer ids, history of
 * the replay ring.
 */
#include "broker/durable_int.h"
#include "broker/feed.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/query_int.h"
#include "broker/sealed.h"
#include "broker/session_int.h"
#include "broker/shard.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/slice.h"
#include "wire/message.h"
#include "wire/records.h"

#include <string.h>

#define READ_RECORDS_MAX 10000 /* of one answer */
#define READ_BYTES_MAX   (4u << 20)

static bool tenant_is_mine(flx_lane *lane, flx_slice tenant)
{
    const flx_slice mine = flx_grants_tenant(lane->identity->grants);
    if (flx_slice_equal(mine, tenant)) {
        return true;
    }
    flx_lane_error(lane, FLX_CODE_FORBIDDEN, "permission denied");
    flx_lane_close(lane);
    return false;
}

static void stream_shards(flx_lane *lane, const struct flx_msg_stream_shards *request)
{
    if (!tenant_is_mine(lane, request->tenant_id)) {
        return;
    }
    const flx_stream_info *info = flx_catalog_stream(
        lane->peer->worker->catalog, request->tenant_id, request->namespace_, request->stream);
    flx_msg msg = {.type = FLX_MSG_STREAM_SHARDS_VIEW};
    msg.stream_shards_view.shards = info == NULL ? 0 : info->shards;
    msg.stream_shards_view.request_id = request->request_id;
    msg.stream_shards_view.has_routing = info != NULL && info->routing == FLX_ROUTING_JUMP_HASH;
    msg.stream_shards_view.routing = FLX_ROUTING_JUMP_HASH;
    flx_lane_send(lane, &msg);
}

static void cache_shards(flx_lane *lane, const struct flx_msg_cache_shards *request)
{
    if (!tenant_is_mine(lane, request->tenant_id)) {
        return;
    }
    const flx_cache_info *info = flx_catalog_cache(lane->peer->worker->catalog, request->tenant_id,
                                                   request->namespace_, request->cache);
    flx_msg msg = {.type = FLX_MSG_CACHE_SHARDS_VIEW};
    msg.cache_shards_view.shards = info == NULL ? 0 : info->shards;
    msg.cache_shards_view.request_id = request->request_id;
    flx_lane_send(lane, &msg);
}

static uint32_t shards_of(const flx_worker *worker, const struct flx_msg_shard_owners *request)
{
    if (request->kind == FLX_OWNER_KIND_STREAM) {
        const flx_stream_info *info = flx_catalog_stream(worker->catalog, request->tenant_id,
                                                         request->namespace_, request->name);
        return info == NULL ? 0 : info->shards;
    }
    const flx_cache_info *info =
        flx_catalog_cache(worker->catalog, request->tenant_id, request->namespace_, request->name);
    return info == NULL ? 0 : info->shards;
}

/* One node owns everything: an entry a shard, without a node id, in generation 0. */
static void shard_owners(flx_lane *lane, const struct flx_msg_shard_owners *request)
{
    flx_worker *worker = lane->peer->worker;
    if (!tenant_is_mine(lane, request->tenant_id)) {
        return;
    }
    const uint32_t shards = shards_of(worker, request);
    if (shards == 0) {
        flx_lane_error(lane, FLX_CODE_NOT_FOUND,
                       request->kind == FLX_OWNER_KIND_STREAM ? "stream not found"
                                                              : "cache not found");
        return;
    }
    flx_msg_owner *owners = flx_arena_alloc(&worker->arena, shards * sizeof *owners);
    if (owners == NULL) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    memset(owners, 0, shards * sizeof *owners);
    for (uint32_t shard = 0; shard < shards; shard++) {
        owners[shard].shard = shard;
    }
    flx_msg msg = {.type = FLX_MSG_SHARD_OWNERS_VIEW};
    msg.shard_owners_view.request_id = request->request_id;
    msg.shard_owners_view.owners = owners;
    msg.shard_owners_view.owners_count = shards;
    flx_lane_send(lane, &msg);
}

static void producer_init(flx_lane *lane, uint64_t request_id)
{
    flx_msg msg = {.type = FLX_MSG_PRODUCER_INIT_OK};
    msg.producer_init_ok.request_id = request_id;
    msg.producer_init_ok.producer_id = flx_worker_random(lane->peer->worker);
    flx_lane_send(lane, &msg);
}

/* ---- history ---- */

static flx_job *history_job(flx_lane *lane, flx_job_kind kind, const flx_stream_info *info,
                            uint32_t shard, uint64_t request_id)
{
    if (shard >= info->shards) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the stream has no such shard");
        return NULL;
    }
    flx_job *job = flx_job_new(lane->peer->worker, kind);
    if (job == NULL) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return NULL;
    }
    job->lane = lane->handle;
    job->id = info->id;
    job->shard = shard;
    job->request_id = request_id;
    return job;
}

static void history_send(flx_lane *lane, flx_job *job)
{
    flx_worker *worker = lane->peer->worker;
    lane->has_job = true;
    flx_job_send(worker, job, flx_worker_owner(job->id, job->shard, worker->count));
}

static void offset_for_time(flx_lane *lane, const struct flx_msg_offset_for_time *request)
{
    const flx_stream_info *info = flx_session_stream(lane, request->tenant_id, request->namespace_,
                                                     request->stream, FLX_ACTION_STREAM_SUBSCRIBE);
    flx_job *job = info == NULL
                       ? NULL
                       : history_job(lane, FLX_JOB_TIME, info, request->shard, request->request_id);
    if (job != NULL) {
        job->offset = request->at_micros;
        history_send(lane, job);
    }
}

static void stream_read(flx_lane *lane, const struct flx_msg_stream_read *request)
{
    const flx_stream_info *info = flx_session_stream(lane, request->tenant_id, request->namespace_,
                                                     request->stream, FLX_ACTION_STREAM_SUBSCRIBE);
    flx_job *job = info == NULL
                       ? NULL
                       : history_job(lane, FLX_JOB_READ, info, request->shard, request->request_id);
    if (job != NULL) {
        job->offset = request->from;
        job->end = request->has_end ? request->end : UINT64_MAX;
        job->max_records = request->has_max_records && request->max_records < READ_RECORDS_MAX
                               ? request->max_records
                               : READ_RECORDS_MAX;
        job->max_bytes = request->has_max_bytes && request->max_bytes < READ_BYTES_MAX
                             ? request->max_bytes
                             : READ_BYTES_MAX;
        history_send(lane, job);
    }
}

void flx_query_message(flx_lane *lane, const flx_msg *msg)
{
    switch (msg->type) {
    case FLX_MSG_STREAM_SHARDS:
        stream_shards(lane, &msg->stream_shards);
        break;
    case FLX_MSG_CACHE_SHARDS:
        cache_shards(lane, &msg->cache_shards);
        break;
    case FLX_MSG_SHARD_OWNERS:
        shard_owners(lane, &msg->shard_owners);
        break;
    case FLX_MSG_PRODUCER_INIT:
        producer_init(lane, msg->producer_init.request_id);
        break;
    case FLX_MSG_OFFSET_FOR_TIME:
        offset_for_time(lane, &msg->offset_for_time);
        break;
    case FLX_MSG_STREAM_READ:
        stream_read(lane, &msg->stream_read);
        break;
    default:
        FLX_UNREACHABLE();
    }
}

/* References to the frames that hold what a read asks for. */
static flx_status read_collect(flx_job *job, const flx_feed *feed)
{
    const uint64_t first = flx_feed_find(feed, job->offset);
    uint64_t end = first;
    uint64_t bytes = 0;
    uint64_t records = 0;
    while (end < feed->end && bytes < job->max_bytes && records < job->max_records &&
           flx_feed_at(feed, end)->base_offset < job->end) {
        bytes += flx_range_len(&flx_feed_at(feed, end)->region);
        records += flx_feed_at(feed, end)->count;
        end++;
    }
    if (end == first) {
        return FLX_OK;
    }
    job->frames = flx_alloc((size_t)(end - first) * sizeof *job->frames);
    if (job->frames == NULL) {
        return FLX_ERR_NOMEM;
    }
    for (uint64_t sequence = first; sequence < end; sequence++) {
        job->frames[job->frame_count] = *flx_feed_at(feed, sequence);
        flx_sealed_ref(&job->frames[job->frame_count++]);
    }
    return FLX_OK;
}

bool flx_query_job(flx_worker *worker, flx_job *job)
{
    flx_owned *owned;
    job->status = flx_owned_get(worker, job->id, job->shard, &owned);
    if (job->status != FLX_OK) {
        return true;
    }
    if (owned->durable != NULL) {
        return flx_durable_job(worker, owned, job);
    }
    flx_shard *shard = &owned->shard;
    if (job->kind == FLX_JOB_TIME) {
        job->has_value = flx_shard_offset_for_time(shard, job->offset, &job->offset);
        flx_owned_announce(worker, owned);
        return true;
    }
    job->status = flx_shard_resolve(shard, FLX_SHARD_START_OFFSET, job->offset, &job->tail);
    flx_owned_announce(worker, owned);
    if (job->status == FLX_OK) {
        job->status = read_collect(job, &shard->feed);
    }
    return true;
}

static void records_answer(flx_lane *lane, const flx_job *job)
{
    flx_worker *worker = lane->peer->worker;
    flx_arena_reset(&worker->arena);
    flx_msg_record *records =
        flx_arena_alloc(&worker->arena, (job->max_records + 1) * sizeof *records);
    if (records == NULL) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    uint64_t next = job->offset;
    uint64_t bytes = 0;
    size_t count = 0;
    for (size_t i = 0; i < job->frame_count; i++) {
        const flx_sealed *frame = &job->frames[i];
        flx_slice rest = flx_range_slice(&frame->region);
        flx_slice payload;
        for (uint64_t offset = frame->base_offset; flx_records_next(&rest, &payload); offset++) {
            /* At least one record, whatever its size. */
            const bool fits =
                count < job->max_records && (count == 0 || bytes + payload.len <= job->max_bytes);
            if (offset < job->offset || offset >= job->end || offset != next || !fits) {
                continue;
            }
            flx_msg_record *record = &records[count++];
            memset(record, 0, sizeof *record);
            record->offset = offset;
            record->payload = payload;
            record->timestamp_micros = frame->wall_us;
            if (frame->publisher != NULL) {
                record->has_publisher = true;
                record->publisher = (flx_slice){frame->publisher->data, frame->publisher->len};
            }
            bytes += payload.len;
            next = offset + 1;
        }
    }
    flx_msg msg = {.type = FLX_MSG_STREAM_RECORDS};
    msg.stream_records.records = records;
    msg.stream_records.records_count = count;
    msg.stream_records.next_offset = next;
    msg.stream_records.request_id = job->request_id;
    if (!flx_lane_send_if_fits(lane, &msg)) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the record does not fit an answer");
    }
}

void flx_query_done(flx_lane *lane, flx_job *job)
{
    switch (job->status) {
    case FLX_OK:
        break;
    case FLX_ERR_TOO_OLD:
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST,
                       "the offset is before the oldest record kept");
        return;
    case FLX_ERR_IN_FUTURE:
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the offset is after the newest record");
        return;
    case FLX_ERR_NOT_FOUND:
        flx_lane_error(lane, FLX_CODE_NOT_FOUND, "stream not found");
        return;
    case FLX_ERR_CORRUPT:
    case FLX_ERR_IO:
    case FLX_ERR_UNSUPPORTED:
        flx_lane_error(lane, FLX_CODE_STORAGE, "the log of the shard cannot be read");
        return;
    default:
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    if (job->kind == FLX_JOB_READ) {
        records_answer(lane, job);
        return;
    }
    flx_msg msg = {.type = FLX_MSG_OFFSET_VALUE};
    msg.offset_value.has_offset = job->has_value;
    msg.offset_value.offset = job->offset;
    msg.offset_value.request_id = job->request_id;
    flx_lane_send(lane, &msg);
}
