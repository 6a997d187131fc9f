/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/subscribe.c - a subscription is a position in a ring of frames.
 *
 *     subscribe ─► owner resolves the start ─► `subscribed` ─► event stream: hello, then frames
 *
 *     idle:   has read everything; the next frame wakes it (one flag in the transport)
 *     active: is behind; the transport pulls when its stream has room
 *
 * Nothing is done for a subscriber that is behind when a frame arrives, so a stalled one costs a
 * number. A watch of a cache is a subscription too; watch.c has what is its own. This file makes and ends
 * subscriptions; what a pull brings is delivery.c.
 */
#include "broker/durable_int.h"
#include "broker/event.h"
#include "broker/feed.h"
#include "broker/handles_int.h"
#include "broker/history_int.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/sealed.h"
#include "broker/session_int.h"
#include "broker/shard.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/view_int.h"
#include "broker/watch_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/list.h"
#include "wire/flags.h"
#include "wire/message.h"

#include <string.h>

#define PROPOSED_KEPT (UINT64_MAX / 2) /* ids a client proposes below this move ours behind them */

static bool is_mirrored(const flx_worker *worker, const flx_view *view)
{
    return flx_log_owner(worker, view->id, view->shard) != worker->index;
}

/* ---- asking ---- */

static bool id_is_taken(const flx_peer *peer, uint64_t id)
{
    for (const flx_list *node = peer->subs.next; node != &peer->subs; node = node->next) {
        if (((const flx_sub *)(const void *)((const char *)node - offsetof(flx_sub, of_peer)))
                ->form.subscription_id == id) {
            return true;
        }
    }
    return false;
}

static uint64_t choose_id(flx_peer *peer, const flx_sub_request *request)
{
    const uint64_t wanted = request->id_wanted;
    if (request->has_id_wanted && !id_is_taken(peer, wanted)) {
        if (wanted >= peer->next_subscription_id && wanted < PROPOSED_KEPT) {
            peer->next_subscription_id = wanted + 1; /* ours stay apart */
        }
        return wanted;
    }
    uint64_t id = peer->next_subscription_id++;
    while (id >= PROPOSED_KEPT && id_is_taken(peer, id)) { /* below, ours were never theirs */
        id = peer->next_subscription_id++;
    }
    return id;
}

static uint32_t choose_capacity(const flx_worker *worker, const struct flx_msg_subscribe *subscribe)
{
    if (!subscribe->has_queue_capacity) {
        return worker->limits.shard_ring_frames;
    }
    const uint32_t asked = subscribe->queue_capacity == 0 ? 1 : subscribe->queue_capacity;
    return asked < worker->limits.queue_capacity_max ? asked : worker->limits.queue_capacity_max;
}

/* The view the subscription will read, with the subscription counted. */
static flx_status view_get(flx_worker *worker, uint32_t id, uint32_t shard, flx_view **ret_view)
{
    if (flx_log_owner(worker, id, shard) == worker->index) {
        flx_owned *owned;
        const flx_status status = flx_owned_get(worker, id, shard, &owned);
        if (status == FLX_OK) {
            *ret_view = &owned->view;
        }
        return status;
    }
    flx_mirror *mirror;
    const flx_status status = flx_mirror_get(worker, id, shard, &mirror);
    if (status == FLX_OK) {
        *ret_view = &mirror->view;
    }
    return status;
}

flx_status flx_sub_new(flx_peer *peer, const flx_sub_request *request, flx_sub **ret_sub)
{
    flx_worker *worker = peer->worker;
    flx_view *view;
    flx_sub *sub = flx_calloc(1, sizeof *sub);
    if (sub == NULL || flx_handles_put(&worker->handles, sub, &sub->handle) != FLX_OK) {
        flx_free(sub);
        return FLX_ERR_NOMEM;
    }
    const flx_status status = view_get(worker, request->id, request->shard, &view);
    if (status != FLX_OK) {
        flx_handles_drop(&worker->handles, sub->handle);
        flx_free(sub);
        return status;
    }
    sub->view = view;
    sub->peer = peer;
    sub->form.flags = request->flags;
    sub->form.subscription_id = choose_id(peer, request);
    sub->capacity = request->capacity;
    sub->has_asked_capacity = request->has_asked_capacity;
    sub->hears_lag = request->hears_lag;
    sub->skip_from = FLX_NO_SKIP;
    sub->state = FLX_SUB_RESOLVING;
    view->count++;
    if (sub->capacity < view->capacity_min) {
        view->capacity_min = sub->capacity;
    }
    flx_list_push_back(&view->active, &sub->node);
    flx_list_push_back(&peer->subs, &sub->of_peer);
    peer->subscriptions++;
    flx_stat_add(&worker->stats.subscriptions, 1);
    flx_seats_came(worker->seats, view->id, view->shard);
    *ret_sub = sub;
    return FLX_OK;
}

static flx_sub_request request_of(const flx_lane *lane, const flx_stream_info *info, uint32_t shard,
                                  const struct flx_msg_subscribe *subscribe)
{
    const uint16_t flags = flx_event_flags(lane->flags);
    return (flx_sub_request){
        .id = info->id,
        .shard = shard,
        .capacity = choose_capacity(lane->peer->worker, subscribe),
        .has_asked_capacity = subscribe->has_queue_capacity,
        .hears_lag = (lane->features & FLX_FEATURE_SUBSCRIPTION_LAGGED) != 0 &&
                     (flags & FLX_FLAG_EVENT_BATCH_OFFSETS) != 0,
        .has_id_wanted = subscribe->has_subscription_id,
        .id_wanted = subscribe->subscription_id,
        .flags = flags,
    };
}

void flx_subscribe_message(flx_lane *lane, const struct flx_msg_subscribe *subscribe)
{
    flx_peer *peer = lane->peer;
    flx_worker *worker = peer->worker;
    if (worker->is_draining) {
        flx_lane_error(lane, FLX_CODE_DRAINING, "the broker is shutting down");
        return;
    }
    const flx_stream_info *info =
        flx_session_stream(lane, subscribe->tenant_id, subscribe->namespace_, subscribe->stream,
                           FLX_ACTION_STREAM_SUBSCRIBE);
    if (info == NULL) {
        return;
    }
    const uint32_t shard = subscribe->has_shard ? subscribe->shard : 0;
    if (shard >= info->shards) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "the stream has no such shard");
        return;
    }
    if (peer->subscriptions >= worker->limits.subscriptions_max) {
        flx_lane_error(lane, FLX_CODE_LIMIT_EXCEEDED, "too many subscriptions on this connection");
        return;
    }
    flx_sub *sub = NULL;
    const flx_sub_request request = request_of(lane, info, shard, subscribe);
    flx_job *job = flx_job_new(worker, FLX_JOB_SUBSCRIBE);
    if (job == NULL || flx_sub_new(peer, &request, &sub) != FLX_OK) {
        flx_job_drop(worker, job);
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    const flx_start start = subscribe->has_start ? subscribe->start : (flx_start){0};
    job->lane = lane->handle;
    job->sub = sub->handle;
    job->id = info->id;
    job->shard = shard;
    job->start = start.kind == FLX_START_LATEST     ? FLX_SHARD_START_LATEST
                 : start.kind == FLX_START_EARLIEST ? FLX_SHARD_START_EARLIEST
                                                    : FLX_SHARD_START_OFFSET;
    job->offset = start.offset;
    job->max_records = sub->capacity;
    lane->has_job = true;
    flx_job_send(worker, job, flx_worker_owner(info->id, shard, worker->count));
}

/* ---- on the owner ---- */

flx_status flx_frames_collect(flx_job *job, const flx_feed *feed)
{
    const size_t count = (size_t)(feed->end - job->first_sequence);
    if (count == 0) {
        return FLX_OK;
    }
    job->frames = flx_alloc(count * sizeof *job->frames);
    if (job->frames == NULL) {
        return FLX_ERR_NOMEM;
    }
    job->frame_count = count;
    for (size_t i = 0; i < count; i++) {
        job->frames[i] = *flx_feed_at(feed, job->first_sequence + i);
        flx_sealed_ref(&job->frames[i]);
    }
    return FLX_OK;
}

void flx_owned_watch(flx_owned *owned, const flx_job *job)
{
    const uint64_t bit = UINT64_C(1) << job->from;
    if ((owned->watchers & bit) == 0) {
        owned->watchers |= bit;
        if (owned->progress != NULL) { /* until it reports */
            owned->progress[job->from] = owned->shard.feed.end + job->max_records;
        }
    }
}

void flx_subscribe_register(flx_worker *worker, flx_owned *owned, flx_job *job)
{
    const flx_feed *feed = &owned->shard.feed;
    job->tail = feed->next_offset;
    job->end_sequence = feed->end;
    if (job->from == worker->index) {
        return;
    }
    job->status = flx_frames_collect(job, feed);
    if (job->status == FLX_OK) {
        flx_owned_watch(owned, job);
    }
}

bool flx_subscribe_job(flx_worker *worker, flx_job *job)
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
    job->status = flx_shard_resolve(shard, job->start, job->offset, &job->tail);
    flx_owned_announce(worker, owned); /* resolving seals */
    if (job->status == FLX_OK) {
        job->offset = job->tail;
        job->first_sequence = flx_feed_find(&shard->feed, job->offset);
        flx_subscribe_register(worker, owned, job);
    } /* otherwise tail is what is available */
    return true;
}

/* ---- back home ---- */

static void cursor_error(flx_lane *lane, const flx_job *job)
{
    flx_msg msg = {.type = FLX_MSG_SUBSCRIBE_CURSOR_ERROR};
    msg.subscribe_cursor_error.reason =
        job->status == FLX_ERR_TOO_OLD ? FLX_CURSOR_TOO_OLD : FLX_CURSOR_IN_FUTURE;
    msg.subscribe_cursor_error.requested = job->offset;
    msg.subscribe_cursor_error.available = job->tail;
    flx_lane_send(lane, &msg);
}

static void not_found(flx_lane *lane, const flx_job *job)
{
    flx_lane_error(lane, FLX_CODE_NOT_FOUND,
                   job->kind == FLX_JOB_WATCH ? "cache not found" : "stream not found");
}

static void subscribe_failed(flx_lane *lane, const flx_job *job)
{
    if (job->status == FLX_ERR_TOO_OLD || job->status == FLX_ERR_IN_FUTURE) {
        cursor_error(lane, job);
    } else if (job->status == FLX_ERR_NOT_FOUND) {
        not_found(lane, job);
    } else if (job->status == FLX_ERR_AGAIN) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED,
                       "the cache changed too fast for its keys to be counted");
    } else if (job->status == FLX_ERR_NOMEM) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
    } else {
        flx_lane_error(lane, FLX_CODE_STORAGE, "the log of the shard cannot be read");
    }
}

static void send_hello(flx_sub *sub)
{
    flx_msg msg = {.type = FLX_MSG_EVENT_STREAM_HELLO};
    msg.event_stream_hello.subscription_id = sub->form.subscription_id;
    flx_lane_send(sub->lane, &msg);
}

/* Opens the event stream, or leaves the subscription waiting for credit. */
static void try_open(flx_worker *worker, flx_sub *sub)
{
    flx_list_remove(&sub->opening);
    flx_status status = FLX_OK;
    if (sub->lane == NULL) {
        status = flx_lane_new_events(sub->peer, sub, &sub->lane);
    }
    if (status == FLX_OK) {
        status = worker->link.open_uni(sub->peer->link, sub->lane, &sub->lane->link);
    }
    if (status == FLX_OK) {
        sub->state = FLX_SUB_LIVE;
        send_hello(sub);
        flx_sub_rest(worker, sub);
    } else if (status == FLX_ERR_AGAIN) {
        flx_list_push_back(&sub->peer->opening, &sub->opening);
    } else {
        flx_sub_end(worker, sub); /* the connection is ending, or memory is out */
    }
}

void flx_subs_open_waiting(flx_worker *worker, flx_peer *peer)
{
    flx_list waiting;
    flx_list_init(&waiting);
    flx_list_splice_back(&waiting, &peer->opening);
    while (!flx_list_is_empty(&waiting) && flx_list_is_empty(&peer->opening)) {
        try_open(worker, FLX_LIST_OWNER(waiting.next, flx_sub, opening));
    }
    /* The credit is used up: who could not open stands in front of those that were not asked. */
    flx_list_splice_back(&peer->opening, &waiting);
}

/* Whether the next record is in the ring, or will be the first that enters it. */
static bool is_in_ring(const flx_sub *sub)
{
    const flx_feed *feed = sub->view->feed;
    return sub->cursor >= feed->first && sub->offset >= flx_feed_oldest_offset(feed) &&
           sub->offset <= feed->next_offset;
}

static void subscribed(flx_lane *lane, const flx_sub *sub, const flx_job *job)
{
    flx_msg msg = {.type = FLX_MSG_SUBSCRIBED};
    if (job->is_durable && (lane->flags & FLX_FLAG_EVENT_BATCH_OFFSETS) != 0) {
        msg.subscribed.has_start_offset = true;
        msg.subscribed.start_offset = job->offset;
        msg.subscribed.has_live_offset = true;
        msg.subscribed.live_offset = job->tail;
    }
    msg.subscribed.subscription_id = sub->form.subscription_id;
    msg.subscribed.has_queue_capacity = sub->has_asked_capacity;
    msg.subscribed.queue_capacity = sub->capacity;
    flx_lane_send(lane, &msg);
}

void flx_subscribe_done(flx_worker *worker, flx_job *job)
{
    flx_lane *lane = flx_handles_get(&worker->handles, job->lane);
    flx_sub *sub = flx_handles_get(&worker->handles, job->sub);
    if (sub == NULL) { /* the stream went away meanwhile, or the connection */
        if (lane != NULL) {
            not_found(lane, job);
        }
        return;
    }
    if (lane == NULL || job->status != FLX_OK) {
        if (lane != NULL) {
            subscribe_failed(lane, job);
        }
        flx_sub_end(worker, sub);
        return;
    }
    if (is_mirrored(worker, sub->view)) {
        flx_mirror_join(worker, FLX_LIST_OWNER(sub->view, flx_mirror, view), job);
    }
    sub->cursor = job->first_sequence;
    sub->offset = job->offset;
    sub->join = job->end_sequence;
    if (job->is_durable && !is_in_ring(sub) && flx_history_begin(sub) != FLX_OK) {
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        flx_sub_end(worker, sub);
        return;
    }
    sub->state = FLX_SUB_OPENING;
    if (sub->watch != NULL) {
        flx_watch_started(lane, sub, job);
    } else {
        subscribed(lane, sub, job);
    }
    try_open(worker, sub);
}

/* ---- block ---- */

/* Whether a reader keeps the ring from taking more: by frames, or, when bytes are the tighter bound,
 * by standing in the oldest quarter of a ring that is nearly full. */
static uint64_t sub_allowance(const flx_view *view, const flx_sub *sub)
{
    const flx_feed *feed = view->feed;
    const bool is_full = feed->bytes > feed->bytes_max / 4 * 3;
    if (is_full && sub->cursor < feed->first + (feed->end - feed->first) / 4) {
        return 0;
    }
    const uint64_t live = sub->cursor > sub->join ? sub->cursor : sub->join;
    return live + sub->capacity;
}

uint64_t flx_view_allowance(const flx_view *view)
{
    if (view->count == 0) {
        return UINT64_MAX;
    }
    uint64_t allowance = view->feed->end + view->capacity_min;
    for (flx_list *node = view->active.next; node != &view->active; node = node->next) {
        const flx_sub *sub = FLX_LIST_OWNER(node, flx_sub, node);
        const bool counts =
            sub->state != FLX_SUB_RESOLVING && !sub->is_evicted && sub->history == NULL;
        const uint64_t theirs = counts ? sub_allowance(view, sub) : UINT64_MAX;
        allowance = theirs < allowance ? theirs : allowance;
    }
    return allowance;
}

void flx_view_evict(flx_worker *worker, flx_view *view, uint64_t sequence)
{
    (void)worker;
    for (flx_list *node = view->active.next; node != &view->active; node = node->next) {
        flx_sub *sub = FLX_LIST_OWNER(node, flx_sub, node);
        if (sub->state != FLX_SUB_RESOLVING && sub->history == NULL &&
            sub_allowance(view, sub) < sequence) {
            sub->is_evicted = true;
        }
    }
}

/* ---- the end ---- */

void flx_sub_end(flx_worker *worker, flx_sub *sub)
{
    flx_view *view = sub->view;
    if (sub->watch != NULL) {
        flx_watch_free(worker, sub);
    }
    flx_list_remove(&sub->node);
    flx_list_remove(&sub->opening);
    flx_list_remove(&sub->of_peer);
    FLX_ASSERT(view->count > 0 && sub->peer->subscriptions > 0);
    view->count--;
    sub->peer->subscriptions--;
    if (sub->lane != NULL) {
        sub->lane->sub = NULL;
        if (sub->lane->link == NULL) {
            flx_lane_free(sub->lane); /* never opened: nobody will tell us it closed */
        }
    }
    flx_handles_drop(&worker->handles, sub->handle);
    flx_stat_sub(&worker->stats.subscriptions, 1);
    sub->history = flx_history_free(sub->history);
    flx_seats_went(worker->seats, view->id, view->shard);
    flx_free(sub);
    if (view->count == 0) {
        flx_variants_clear(&view->variants);
    }
    if (is_mirrored(worker, view)) {
        flx_mirror_release(worker, view->id, view->shard);
    }
}

void flx_sub_end_view(flx_worker *worker, flx_view *view)
{
    view->count++; /* keeps the view while its readers go */
    if (view->watchers != NULL) {
        flx_watch_activate_all(view);
    }
    flx_list_splice_back(&view->active, &view->idle);
    while (!flx_list_is_empty(&view->active)) {
        flx_sub *sub = FLX_LIST_OWNER(view->active.next, flx_sub, node);
        flx_lane *lane = sub->lane;
        const bool is_open = lane != NULL && lane->link != NULL;
        flx_sub_end(worker, sub);
        if (is_open) {
            flx_lane_close(lane);
        }
    }
    view->count--;
}
