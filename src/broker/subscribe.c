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
 * number. What it missed is found out when it pulls again: README.md, rule 7, lists what each policy
 * then does. A watch of a cache is a subscription too; watch.c has what is its own.
 */
#include "broker/worker_int.h"
#include "common/alloc.h"

#include <string.h>

#define NO_SKIP       UINT64_MAX
#define PROPOSED_KEPT (UINT64_MAX / 2) /* ids a client proposes below this move ours behind them */
#define VARIANT_BYTES (8u << 20)       /* of rewritten frames a view keeps, and one more frame */

/* What every pull does is one piece of code, and what only readers of a log do stands beside it: left
 * to itself the compiler shares them, and a delivery costs two fifths more (make bench-check). */
#define HOT  static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline))

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
    sub->skip_from = NO_SKIP;
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

static void to_idle_or_pull(flx_worker *worker, flx_sub *sub)
{
    flx_list_remove(&sub->node);
    const bool is_behind = sub->history != NULL || sub->cursor != sub->view->feed->end ||
                           (sub->watch != NULL && sub->watch->is_snapshot);
    flx_list *list = is_behind            ? &sub->view->active
                     : sub->watch != NULL ? flx_watch_idle_list(sub)
                                          : &sub->view->idle;
    flx_list_push_back(list, &sub->node);
    worker->link.want_pull(sub->lane->link, is_behind);
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
        to_idle_or_pull(worker, sub);
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

/* ---- delivery ---- */

/* What a pull gathers: adjacent ranges become one. */
typedef struct outflow {
    flx_lane *lane;
    flx_range range; /* chunk NULL: empty */
    uint64_t bytes;
} outflow;

static void outflow_flush(outflow *out)
{
    if (out->range.chunk != NULL) {
        flx_lane_write(out->lane, out->range);
        out->range.chunk = NULL;
    }
}

static void outflow_take(outflow *out, flx_range range)
{
    out->bytes += flx_range_len(&range);
    if (out->range.chunk == range.chunk && out->range.end == range.start) {
        out->range.end = range.end;
        flx_chunk_unref(range.chunk);
        return;
    }
    outflow_flush(out);
    out->range = range;
}

static uint64_t offset_at(const flx_feed *feed, uint64_t sequence)
{
    return sequence == feed->end ? feed->next_offset : flx_feed_at(feed, sequence)->base_offset;
}

/* Goes on at a later frame; what lies between is lost to this subscriber. */
static void jump(flx_worker *worker, flx_sub *sub, uint64_t sequence, flx_drop drop)
{
    const uint64_t offset = offset_at(sub->view->feed, sequence);
    FLX_ASSERT(offset >= sub->offset);
    flx_stat_add(&worker->stats.dropped[drop], offset - sub->offset);
    flx_stat_add(&worker->stats.lagged, 1);
    sub->cursor = sequence;
    sub->offset = offset;
    sub->join = sequence > sub->join ? sequence : sub->join;
    sub->skip_from = NO_SKIP;
    sub->is_evicted = false;
}

/* The last word to a subscriber that can hear it. */
static void tell_lag(flx_worker *worker, flx_sub *sub, uint64_t oldest, outflow *out)
{
    flx_lane *lane = sub->lane;
    const uint64_t kept = sub->offset > oldest ? sub->offset : oldest;
    flx_msg msg;
    if (sub->watch != NULL) {
        msg.type = FLX_MSG_CACHE_WATCH_LAGGED;
        msg.cache_watch_lagged.resume_from = flx_watch_resume_from(sub);
    } else {
        msg.type = FLX_MSG_SUBSCRIPTION_LAGGED;
        msg.subscription_lagged.subscription_id = sub->form.subscription_id;
        msg.subscription_lagged.resume_from = kept;
    }
    flx_stat_add(&worker->stats.lagged, 1);
    flx_stat_add(&worker->stats.dropped[FLX_DROP_SLOW_LAG], kept - sub->offset);
    outflow_flush(out);
    flx_lane_send(lane, &msg);
    flx_lane_close(lane);
    flx_sub_end(worker, sub);
}

static flx_drop drop_reason(const flx_sub *sub)
{
    return sub->view->policy == FLX_SLOW_DROP_NEW   ? FLX_DROP_SLOW_DROP_NEW
           : sub->view->policy == FLX_SLOW_DROP_OLD ? FLX_DROP_SLOW_DROP_OLD
                                                    : FLX_DROP_SLOW_LAG;
}

static bool is_told(const flx_sub *sub)
{
    return sub->hears_lag &&
           (sub->view->policy == FLX_SLOW_LAG || sub->view->policy == FLX_SLOW_BLOCK);
}

/* More than `capacity` live frames behind: what of them is given up. */
static void over_capacity(flx_worker *worker, flx_sub *sub)
{
    const flx_feed *feed = sub->view->feed;
    if (sub->view->policy == FLX_SLOW_DROP_NEW || is_told(sub)) {
        const uint64_t live = sub->cursor > sub->join ? sub->cursor : sub->join;
        sub->skip_from = live + sub->capacity; /* deliver what was queued first */
        sub->skip_to = feed->end;
        return;
    }
    jump(worker, sub, feed->end - sub->capacity, drop_reason(sub));
}

/* Whether what the ring cannot give it is read from the log: under the policies that lose nothing
 * on purpose. */
static bool has_log(const flx_sub *sub)
{
    return sub->view->is_durable &&
           (sub->view->policy == FLX_SLOW_LAG || sub->view->policy == FLX_SLOW_BLOCK);
}

/* Overrun, or was waited for long enough: the log has what the ring lets go of. */
static void leave_ring(flx_worker *worker, flx_sub *sub)
{
    if (flx_history_begin(sub) == FLX_OK) {
        flx_stat_add(&worker->stats.lagged, 1);
        sub->is_evicted = false;
    }
}

/* Whether the subscription goes on at its cursor. False: it was told and is gone. */
HOT bool settle_position(flx_worker *worker, flx_sub *sub, outflow *out)
{
    const flx_feed *feed = sub->view->feed;
    const uint64_t behind = feed->end - sub->cursor;
    if (behind > flx_stat_get(&worker->stats.slowest_lag)) {
        flx_stat_set(&worker->stats.slowest_lag, behind);
    }
    const bool is_overrun = sub->cursor < feed->first;
    if ((is_overrun || sub->is_evicted) && has_log(sub)) {
        leave_ring(worker, sub);
        return true;
    }
    if (is_overrun || sub->is_evicted || sub->cursor == sub->skip_from) {
        if (is_told(sub)) {
            tell_lag(worker, sub, flx_feed_oldest_offset(feed), out);
            return false;
        }
        const uint64_t next = sub->is_evicted                 ? feed->end
                              : sub->cursor == sub->skip_from ? sub->skip_to
                                                              : feed->first;
        jump(worker, sub, next > feed->first ? next : feed->first, drop_reason(sub));
        return true;
    }
    const uint64_t live = sub->cursor > sub->join ? sub->cursor : sub->join;
    if (sub->skip_from == NO_SKIP && feed->end - live > sub->capacity && !has_log(sub)) {
        over_capacity(worker, sub);
    }
    return true;
}

/* Names for JSON events: of the catalog as it is now. */
static void form_names(flx_worker *worker, flx_sub *sub)
{
    const flx_stream_info *info = flx_slot_get(worker, sub->view->id)->info;
    sub->form.tenant = (flx_slice){(const uint8_t *)info->tenant, strlen(info->tenant)};
    sub->form.namespace_ = (flx_slice){(const uint8_t *)info->namespace_, strlen(info->namespace_)};
    sub->form.stream = (flx_slice){(const uint8_t *)info->name, strlen(info->name)};
}

static void variant_drop(flx_variants *variants, flx_variant *variant)
{
    for (uint8_t i = 0; i < variant->count; i++) {
        flx_chunk_unref(variant->ranges[i].chunk);
    }
    FLX_ASSERT(variants->bytes >= variant->bytes);
    variants->bytes -= variant->bytes;
    variant->bytes = 0;
    variant->count = 0;
    variant->is_made = false;
}

static void variants_drop_all(flx_variants *variants)
{
    for (uint32_t i = 0; variants->at != NULL && i < FLX_VARIANTS; i++) {
        variant_drop(variants, &variants->at[i]);
    }
    FLX_ASSERT(variants->bytes == 0);
}

void flx_variants_done(flx_variants *variants)
{
    variants_drop_all(variants);
    flx_free(variants->at);
    variants->at = NULL;
}

void flx_view_done(flx_view *view)
{
    flx_variants_done(&view->variants);
    flx_watchers_done(view);
}

/* Whether a whole frame of this form is worth keeping for others: a watch's when its filter has
 * several, a subscription's when its form is nobody's own. */
static flx_variants *variants_of(const flx_sub *sub)
{
    if (sub->history != NULL) {
        return NULL;
    }
    if (sub->watch != NULL) {
        return sub->watch->filter->refs > 1 ? &sub->watch->filter->variants : NULL;
    }
    if ((sub->form.flags & FLX_FLAG_BINARY_EVENT_BATCH_SHARED) == 0 ||
        sub->form.flags == FLX_EVENT_PRIMARY_FLAGS) {
        return NULL;
    }
    return &sub->view->variants;
}

static flx_variant *variant_place(const flx_sub *sub, flx_variants *variants)
{
    if (variants->at == NULL) {
        variants->at = flx_calloc(FLX_VARIANTS, sizeof *variants->at);
    }
    return variants->at == NULL ? NULL : &variants->at[sub->cursor % FLX_VARIANTS];
}

/* The frame in the subscription's form. */
static flx_status ranges_make(flx_worker *worker, const flx_sub *sub, const flx_sealed *frame,
                              uint32_t skip, flx_range ret_ranges[2], size_t *ret_count,
                              uint32_t *ret_records)
{
    if (sub->watch != NULL) {
        return flx_watch_ranges(worker, sub, frame, ret_ranges, ret_count, ret_records);
    }
    *ret_records = frame->count - skip;
    return flx_event_ranges(frame, &sub->form, skip, &worker->scratch, ret_ranges, ret_count);
}

/* Rewrites a frame for all who read it at about the same time. They keep its bytes when the ring has
 * let go of them, so together they are bounded: past that only this one stays. */
static flx_status variant_make(flx_worker *worker, const flx_sub *sub, const flx_sealed *frame,
                               flx_variants *variants, flx_variant *variant)
{
    size_t count = 0;
    variant_drop(variants, variant);
    const flx_status status =
        ranges_make(worker, sub, frame, 0, variant->ranges, &count, &variant->records);
    if (status != FLX_OK) {
        return status;
    }
    uint32_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += flx_range_len(&variant->ranges[i]);
    }
    if (variants->bytes + bytes > VARIANT_BYTES) {
        variants_drop_all(variants); /* this one is not counted yet, and has no ranges to drop */
    }
    variant->sequence = sub->cursor;
    variant->flags = sub->form.flags;
    variant->is_made = true;
    variant->count = (uint8_t)count;
    variant->bytes = bytes;
    variants->bytes += bytes;
    return FLX_OK;
}

/* The same, made once for all who read it at about the same time. */
static flx_status frame_ranges(flx_worker *worker, flx_sub *sub, const flx_sealed *frame,
                               uint32_t skip, flx_range ret_ranges[2], size_t *ret_count,
                               uint32_t *ret_records)
{
    flx_variants *variants = skip > 0 ? NULL : variants_of(sub);
    flx_variant *variant = variants == NULL ? NULL : variant_place(sub, variants);
    if (variant == NULL) {
        return ranges_make(worker, sub, frame, skip, ret_ranges, ret_count, ret_records);
    }
    if (!variant->is_made || variant->sequence != sub->cursor ||
        variant->flags != sub->form.flags) {
        const flx_status status = variant_make(worker, sub, frame, variants, variant);
        if (status != FLX_OK) {
            return status;
        }
    }
    for (uint8_t i = 0; i < variant->count; i++) {
        ret_ranges[i] = variant->ranges[i];
        flx_chunk_ref(ret_ranges[i].chunk);
    }
    *ret_count = variant->count;
    *ret_records = variant->records;
    return FLX_OK;
}

/* The frame is too large in this form: times and base64 add bytes. Its offsets show the gap; a watch
 * is told when it is settled next. */
static void pass_over(flx_worker *worker, flx_sub *sub, const flx_sealed *frame)
{
    const uint64_t end = flx_sealed_end_offset(frame);
    flx_stat_add(&worker->stats.dropped[FLX_DROP_TOO_LARGE], end - sub->offset);
    if (sub->watch != NULL) {
        sub->watch->must_restart = true;
        sub->is_evicted = true;
        return;
    }
    sub->offset = end;
}

/* Sends the frame, of the ring or of the log, from sub.offset on. FLX_ERR_NOMEM: nothing was sent;
 * FLX_ERR_TOO_LARGE: it does not fit this form. */
HOT flx_status send_frame(flx_worker *worker, flx_sub *sub, const flx_sealed *frame, outflow *out)
{
    FLX_DEBUG_ASSERT(sub->offset >= frame->base_offset);
    const uint32_t skip = (uint32_t)(sub->offset - frame->base_offset);
    const bool is_primary = sub->form.flags == FLX_EVENT_PRIMARY_FLAGS && skip == 0;
    uint32_t records = frame->count - skip;
    if (is_primary && frame->joined && out->range.chunk == frame->head.chunk &&
        out->range.end == frame->head.start) {
        out->range.end = frame->region.end; /* the common case touches no count */
        out->bytes += flx_sealed_bytes(frame);
    } else {
        if (sub->form.flags == 0 && sub->watch == NULL) {
            form_names(worker, sub);
        }
        flx_range ranges[2];
        size_t count = 0;
        const flx_status status = frame_ranges(worker, sub, frame, skip, ranges, &count, &records);
        if (status != FLX_OK) {
            return status;
        }
        for (size_t i = 0; i < count; i++) {
            outflow_take(out, ranges[i]);
        }
    }
    flx_stat_add(&worker->stats.delivered_frames, 1);
    flx_stat_add(&worker->stats.delivered_records, records);
    sub->offset = flx_sealed_end_offset(frame);
    return FLX_OK;
}

/* Passed over or sent; false: no memory, try again when the transport asks again. */
HOT bool deliver(flx_worker *worker, flx_sub *sub, const flx_sealed *frame, outflow *out)
{
    const flx_status status = send_frame(worker, sub, frame, out);
    if (status != FLX_OK && status != FLX_ERR_NOMEM) {
        pass_over(worker, sub, frame);
    }
    return status != FLX_ERR_NOMEM;
}

/* A part of what was there when the watch began; false: the next one has to be waited for. */
static bool deliver_page(flx_worker *worker, flx_sub *sub, outflow *out)
{
    flx_range page;
    const flx_page_step step = flx_snapshot_next(worker, sub, &page);
    if (step == FLX_PAGE_READ && page.chunk != NULL) {
        flx_stat_add(&worker->stats.delivered_frames, 1);
        outflow_take(out, page);
    }
    return step != FLX_PAGE_WAIT;
}

/* How long the first frame of a hand-over waited; history was not waited for. */
static void time_delivery(flx_worker *worker, const flx_sub *sub)
{
    const flx_feed *feed = sub->view->feed;
    if (sub->cursor >= sub->join && sub->cursor < feed->end && sub->cursor >= feed->first) {
        const uint64_t wall_us = flx_feed_at(feed, sub->cursor)->wall_us;
        const uint64_t time_us = worker->wall_us > wall_us ? worker->wall_us - wall_us : 0;
        flx_histogram_add(&worker->stats.delivery_time, time_us, 1);
    }
}

/* How a pull ends. */
typedef enum pull_end {
    PULL_MORE,      /* not yet, or for want of room: the transport asks again */
    PULL_LATER,     /* for want of memory, or of a page: the same */
    PULL_CAUGHT_UP, /* until a frame enters the ring */
    PULL_AHEAD,     /* the same, with a position the ring has not reached */
    PULL_WAITS,     /* until a block of the log is here */
    PULL_GONE       /* the subscription was told its last word */
} pull_end;

/* What was there comes before what changed since, wherever that is read from. */
static bool is_before_changes(const flx_sub *sub)
{
    return sub->watch != NULL && sub->watch->is_snapshot && (has_log(sub) || sub->history != NULL);
}

HOT pull_end pull_ring(flx_worker *worker, flx_sub *sub, outflow *out)
{
    if (is_before_changes(sub)) {
        return deliver_page(worker, sub, out) ? PULL_MORE : PULL_LATER;
    }
    if (!settle_position(worker, sub, out)) {
        return PULL_GONE;
    }
    const flx_feed *feed = sub->view->feed;
    if (sub->watch != NULL && sub->watch->is_snapshot) {
        return deliver_page(worker, sub, out) ? PULL_MORE : PULL_LATER;
    }
    if (sub->history != NULL || sub->cursor == sub->skip_from) {
        return PULL_MORE;
    }
    if (sub->cursor == feed->end) {
        return PULL_CAUGHT_UP;
    }
    if (sub->cursor < feed->first) {
        return PULL_LATER; /* no memory to leave the ring */
    }
    const flx_sealed *frame = flx_feed_at(feed, sub->cursor);
    if (!deliver(worker, sub, frame, out)) {
        return PULL_LATER;
    }
    if (sub->offset == flx_sealed_end_offset(frame)) { /* else a watch that begins anew */
        sub->cursor++;
    }
    return PULL_MORE;
}

/* The records it wants next are gone: retention was faster than it reads. */
static pull_end history_lost(flx_worker *worker, flx_sub *sub, uint64_t available, outflow *out)
{
    if (is_told(sub)) {
        tell_lag(worker, sub, available, out);
        return PULL_GONE;
    }
    FLX_ASSERT(available > sub->offset);
    flx_stat_add(&worker->stats.dropped[FLX_DROP_SLOW_LAG], available - sub->offset);
    flx_stat_add(&worker->stats.lagged, 1);
    sub->offset = available;
    return PULL_MORE;
}

COLD pull_end pull_history(flx_worker *worker, flx_sub *sub, outflow *out)
{
    const flx_sealed *frame = NULL;
    uint64_t available = 0;
    switch (flx_history_next(worker, sub, &frame, &available)) {
    case FLX_HISTORY_JOINED:
        return PULL_MORE;
    case FLX_HISTORY_FRAME:
        if (!deliver(worker, sub, frame, out)) {
            return PULL_LATER;
        }
        flx_history_took(sub);
        return PULL_MORE;
    case FLX_HISTORY_ASKED:
        return PULL_WAITS;
    case FLX_HISTORY_AHEAD:
        return PULL_AHEAD;
    case FLX_HISTORY_TOO_OLD:
        return history_lost(worker, sub, available, out);
    case FLX_HISTORY_NO_MEMORY:
        return PULL_LATER;
    case FLX_HISTORY_FAILED:
        break;
    }
    outflow_flush(out);
    flx_lane *lane = sub->lane;
    flx_lane_break(lane); /* what follows cannot be read: a clean end would be a lie */
    flx_sub_end(worker, sub);
    return PULL_GONE;
}

void flx_sub_pull(flx_worker *worker, flx_sub *sub)
{
    flx_lane *lane = sub->lane;
    if (sub->state != FLX_SUB_LIVE || lane->state == FLX_LANE_CLOSING) {
        worker->link.want_pull(lane->link, false); /* was reset: its end is on the way */
        return;
    }
    if (sub->watch != NULL && sub->watch->is_idle) {
        if (!flx_progress_tell(worker, sub)) {
            flx_sub_end(worker, sub);
        }
        return;
    }
    const size_t queued = worker->link.queued(lane->link);
    const uint64_t room =
        queued < worker->limits.pull_bytes ? worker->limits.pull_bytes - queued : 0;
    outflow out = {.lane = lane};
    pull_end end = PULL_MORE;
    if (room > 0 && sub->history == NULL) {
        time_delivery(worker, sub);
    }
    if (sub->watch != NULL) {
        sub->watch->asks_left = FLX_PAGES_A_PULL;
    }
    while (end == PULL_MORE && out.bytes < room) {
        end = sub->history != NULL && !is_before_changes(sub) ? pull_history(worker, sub, &out)
                                                              : pull_ring(worker, sub, &out);
    }
    if (end == PULL_GONE) {
        return;
    }
    outflow_flush(&out);
    flx_stat_add(&worker->stats.delivered_bytes, out.bytes);
    if (lane->state == FLX_LANE_CLOSING) {
        flx_sub_end(worker, sub); /* a write failed and the stream was reset */
    } else if (end == PULL_CAUGHT_UP) {
        to_idle_or_pull(worker, sub);
    } else if (end == PULL_AHEAD) {
        flx_list_remove(&sub->node);
        flx_list_push_back(sub->watch != NULL ? flx_watch_idle_list(sub) : &sub->view->idle,
                           &sub->node);
        worker->link.want_pull(lane->link, false);
    } else if (end == PULL_WAITS) {
        worker->link.want_pull(lane->link, false);
    }
}

void flx_sub_wake(flx_worker *worker, flx_view *view)
{
    if (view->watchers != NULL) {
        flx_watch_wake(worker, view);
        return;
    }
    for (flx_list *node = view->idle.next; node != &view->idle; node = node->next) {
        const flx_sub *sub = FLX_LIST_OWNER(node, flx_sub, node);
        worker->link.want_pull(sub->lane->link, true);
    }
    flx_list_splice_back(&view->active, &view->idle);
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
        variants_drop_all(&view->variants);
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
