/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/watch.c - a watch is a subscription to the changes of a cache shard, through a filter.
 *
 *     cache_watch ─► owner resolves the start ─► `cache_watch_started` ─► event stream: hello,
 *                                                [ snapshot.c: what was there ], cache_events
 *
 * Position, ring, lag and mirrors are a subscription's (subscribe.c). What is different:
 *
 *  - The form: a frame of the ring holds change records; a watch reads those its filter matches, as
 *    cache_event messages or as a batch (change_frames.h). They are written once for all watches of
 *    one filter that read this form.
 *  - Waking: an idle watch is not woken by a frame that holds nothing for it. Idle watches hang from
 *    their filters; new frames are looked at once, each record finds the filters that want it. An
 *    idle watch has therefore seen everything up to watchers.seen, whatever its cursor says.
 *  - Lag: always told, with the first offset it did not get. What the ring has lost is not history
 *    that may be skipped: who resumes below it is answered with `resnapshot` and what is there now.
 *    A watch that lags before its snapshot was whole resumes from 0, which is never kept, or whole.
 */
#include "broker/cache.h"
#include "broker/cache_state_int.h"
#include "broker/change_frames.h"
#include "broker/durable_int.h"
#include "broker/feed.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/sealed.h"
#include "broker/session_int.h"
#include "broker/shard.h"
#include "broker/snapshot_int.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/view_int.h"
#include "broker/watch_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/buffer.h"
#include "common/list.h"
#include "common/map.h"
#include "wire/message.h"
#include "wire/records.h"

#include <string.h>

/* ---- filters ---- */

static flx_slice filter_text(const flx_filter *filter)
{
    return (flx_slice){filter->text->data, filter->text->len};
}

static flx_slice filter_key(const void *item)
{
    return filter_text(item);
}

static bool has_prefix(flx_slice key, flx_slice prefix)
{
    return key.len >= prefix.len &&
           (prefix.len == 0 || memcmp(key.ptr, prefix.ptr, prefix.len) == 0);
}

static bool filter_matches(const flx_filter *filter, flx_slice key)
{
    const flx_slice text = filter_text(filter);
    return has_prefix(key, text) && (filter->is_prefix || key.len == text.len);
}

static flx_status watchers_get(flx_view *view, flx_watchers **ret_watchers)
{
    if (view->watchers == NULL) {
        flx_watchers *watchers = flx_calloc(1, sizeof *watchers);
        if (watchers == NULL) {
            return FLX_ERR_NOMEM;
        }
        flx_map_init(&watchers->keys, filter_key);
        flx_list_init(&watchers->prefixes);
        flx_list_init(&watchers->quiet);
        watchers->seen = view->feed->end;
        watchers->seen_offset = view->feed->next_offset;
        view->watchers = watchers;
    }
    *ret_watchers = view->watchers;
    return FLX_OK;
}

static flx_filter *filter_find(const flx_watchers *watchers, flx_slice text, bool is_prefix)
{
    if (!is_prefix) {
        return flx_map_get(&watchers->keys, text);
    }
    for (flx_list *node = watchers->prefixes.next; node != &watchers->prefixes; node = node->next) {
        flx_filter *filter = FLX_LIST_OWNER(node, flx_filter, node);
        if (filter->text->len == text.len && has_prefix(text, filter_text(filter))) {
            return filter;
        }
    }
    return NULL;
}

static flx_filter *filter_new(flx_watchers *watchers, flx_slice text, bool is_prefix)
{
    flx_filter *filter = flx_calloc(1, sizeof *filter);
    flx_chunk *chunk = flx_chunk_new(text.len == 0 ? 1 : text.len);
    if (filter == NULL || chunk == NULL) {
        flx_free(filter);
        flx_chunk_unref(chunk);
        return NULL;
    }
    if (text.len > 0) {
        memcpy(chunk->data, text.ptr, text.len);
    }
    chunk->len = (uint32_t)text.len;
    filter->text = chunk;
    filter->is_prefix = is_prefix;
    flx_list_init(&filter->idle);
    if (is_prefix) {
        flx_list_push_back(&watchers->prefixes, &filter->node);
    } else if (flx_map_put(&watchers->keys, filter, NULL) != FLX_OK) {
        flx_chunk_unref(chunk);
        flx_free(filter);
        return NULL;
    }
    return filter;
}

static void filter_unref(flx_watchers *watchers, flx_filter *filter)
{
    FLX_ASSERT(filter->refs > 0);
    if (--filter->refs > 0) {
        return;
    }
    if (filter->is_prefix) {
        flx_list_remove(&filter->node);
    } else {
        (void)flx_map_remove(&watchers->keys, filter_text(filter));
    }
    for (unsigned i = 0; i < FLX_CHANGE_FORMS; i++) {
        flx_variants_done(&filter->variants[i]);
    }
    flx_chunk_unref(filter->text);
    flx_free(filter);
}

/* ---- asking ---- */

typedef struct watch_request {
    flx_slice text;
    bool is_prefix;
    flx_watch_start start;
    uint64_t from_offset;
    uint32_t shard;
} watch_request;

/* What the message asks for; NULL, or why it cannot be. */
static const char *request_read(const struct flx_msg_cache_watch *msg, const flx_cache_info *info,
                                watch_request *request)
{
    if (msg->has_key == msg->has_prefix) {
        return "a watch names either a key or a prefix";
    }
    if (msg->retained && msg->has_from_offset) {
        return "a watch begins with what is there or at an offset, not both";
    }
    *request = (watch_request){
        .text = msg->has_key ? msg->key : msg->prefix,
        .is_prefix = msg->has_prefix,
        .start = msg->retained          ? FLX_WATCH_RETAINED
                 : msg->has_from_offset ? FLX_WATCH_OFFSET
                                        : FLX_WATCH_LIVE,
        .from_offset = msg->from_offset,
        .shard = msg->has_shard ? msg->shard : 0,
    };
    if (request->text.len > FLX_CACHE_KEY_MAX) {
        return "the key is too long";
    }
    if (msg->has_shard && msg->shard >= info->shards) {
        return "the cache has no such shard";
    }
    if (msg->has_prefix) {
        return msg->has_shard || info->shards == 1
                   ? NULL
                   : "keys of a prefix are on all shards: a watch of one names its shard";
    }
    const uint32_t shard = flx_route_shard(FLX_ROUTING_MODULO, msg->key, info->shards);
    if (msg->has_shard && msg->shard != shard) {
        return "the key is not on this shard";
    }
    request->shard = shard;
    return NULL;
}

static flx_status watch_new(flx_sub *sub, const watch_request *request)
{
    flx_watchers *watchers;
    flx_status status = watchers_get(sub->view, &watchers);
    if (status != FLX_OK) {
        return status;
    }
    flx_watch *watch = flx_calloc(1, sizeof *watch);
    flx_filter *filter = filter_find(watchers, request->text, request->is_prefix);
    if (watch != NULL && filter == NULL) {
        filter = filter_new(watchers, request->text, request->is_prefix);
    }
    if (watch == NULL || filter == NULL) {
        flx_free(watch);
        return FLX_ERR_NOMEM;
    }
    filter->refs++;
    watch->filter = filter;
    watch->sub = sub;
    sub->watch = watch;
    flx_stat_add(&sub->peer->worker->stats.watches, 1);
    return FLX_OK;
}

/* The subscription of a watch; what it got so far is undone when memory is out. */
static flx_status watch_sub_new(flx_lane *lane, const flx_cache_info *info,
                                const struct flx_msg_cache_watch *msg, const watch_request *request,
                                flx_sub **ret_sub)
{
    flx_worker *worker = lane->peer->worker;
    const flx_sub_request wanted = {
        .id = info->id | FLX_CACHE_LOG,
        .shard = request->shard,
        .capacity = worker->limits.shard_ring_frames, /* only the ring ends a watch */
        .hears_lag = true,
        .has_id_wanted = msg->has_subscription_id,
        .id_wanted = msg->subscription_id,
        .flags = lane->hears_batches ? FLX_FLAG_CHANGE_BATCH : 0,
    };
    flx_sub *sub;
    flx_status status = flx_slot_open_cache(worker, info);
    if (status == FLX_OK) {
        status = flx_sub_new(lane->peer, &wanted, &sub);
    }
    if (status != FLX_OK) {
        return status;
    }
    status = watch_new(sub, request);
    if (status != FLX_OK) {
        flx_sub_end(worker, sub);
        return status;
    }
    sub->watch->hears_progress = lane->hears_progress;
    *ret_sub = sub;
    return FLX_OK;
}

static flx_job *job_of(flx_worker *worker, const flx_lane *lane, const flx_cache_info *info,
                       const watch_request *request)
{
    flx_job *job = flx_job_new(worker, FLX_JOB_WATCH);
    if (job != NULL) {
        job->lane = lane->handle;
        job->id = info->id;
        job->shard = request->shard;
        job->start_kind = (uint8_t)request->start;
        job->offset = request->from_offset;
        job->catalog = flx_catalog_ref(worker->catalog);
        job->request.catalog = job->catalog;
        job->request.info = info;
        job->request.shard = request->shard;
        job->is_prefix = request->is_prefix;
        job->max_records = worker->limits.shard_ring_frames;
    }
    return job;
}

void flx_watch_message(flx_lane *lane, const struct flx_msg_cache_watch *msg)
{
    flx_peer *peer = lane->peer;
    flx_worker *worker = peer->worker;
    if (worker->is_draining) {
        flx_lane_error(lane, FLX_CODE_DRAINING, "the broker is shutting down");
        return;
    }
    const flx_cache_info *info =
        flx_session_cache(lane, msg->tenant_id, msg->namespace_, msg->cache, FLX_ACTION_CACHE_READ);
    if (info == NULL) {
        return;
    }
    watch_request request;
    const char *why = request_read(msg, info, &request);
    if (why != NULL) {
        flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, why);
        return;
    }
    if (peer->subscriptions >= worker->limits.subscriptions_max) {
        flx_lane_error(lane, FLX_CODE_LIMIT_EXCEEDED, "too many subscriptions on this connection");
        return;
    }
    flx_sub *sub = NULL;
    flx_job *job = job_of(worker, lane, info, &request);
    if (job == NULL || watch_sub_new(lane, info, msg, &request, &sub) != FLX_OK) {
        flx_job_drop(worker, job);
        flx_lane_error(lane, FLX_CODE_OVERLOADED, "out of memory");
        return;
    }
    job->sub = sub->handle;
    job->holder = flx_chunk_ref(sub->watch->filter->text);
    job->request.key = filter_text(sub->watch->filter);
    lane->has_job = true;
    flx_job_send(worker, job, flx_worker_owner(info->id, job->shard, worker->count));
}

/* ---- on the owner ---- */

/* Where the changes begin. The ring keeps them from now on. */
static flx_status start_resolve(flx_worker *worker, flx_owned *owned, flx_job *job)
{
    const flx_shard *shard = &owned->shard;
    const flx_journal *journal = owned->durable == NULL ? NULL : owned->durable->journal;
    owned->is_kept = true;
    flx_shard_seal(&owned->shard);
    flx_owned_announce(worker, owned);
    job->tail = shard->next_offset;
    const uint64_t asked = job->offset;
    if (job->start_kind != FLX_WATCH_OFFSET) {
        job->offset = job->tail;
    } else if (asked > job->tail) {
        return FLX_ERR_IN_FUTURE;
    } else if (asked < (journal == NULL ? flx_feed_oldest_offset(&shard->feed)
                                        : flx_journal_collapsed_below(journal))) {
        job->resnapshot = true; /* collapsed: only what is there now can be told */
        job->offset = job->tail;
    }
    job->is_counted = true;
    if (job->from != worker->index) {
        flx_owned_watch(owned, job);
    }
    return FLX_OK;
}

flx_job_step flx_watch_job(flx_worker *worker, flx_job *job)
{
    flx_cache_state *state;
    if (job->status != FLX_OK) {
        return FLX_STEP_DONE; /* its log failed while it waited */
    }
    job->status = flx_cache_state_get(worker, &job->request, &state);
    if (job->status == FLX_ERR_UNAVAILABLE) {
        job->status = FLX_OK;
        flx_durable_park(flx_cache_durable(worker, job->id, job->shard), job);
        return FLX_STEP_PARKED;
    }
    if (job->status == FLX_OK && !job->is_counted) {
        job->status = start_resolve(worker, state->owned, job);
    }
    if (job->status != FLX_OK) {
        return FLX_STEP_DONE;
    }
    if (job->start_kind == FLX_WATCH_RETAINED && !job->walk.is_done &&
        !flx_snapshot_count(worker, state->shard, job)) {
        return FLX_STEP_AGAIN;
    }
    flx_durable *durable = state->owned->durable;
    job->wait_end = job->offset;
    const bool is_at_tail = job->start_kind != FLX_WATCH_OFFSET || job->resnapshot;
    if (durable != NULL && is_at_tail && flx_cache_settle_shown(durable, job)) {
        return FLX_STEP_PARKED; /* what is before the start must not be lost any more */
    }
    if (job->status != FLX_OK) {
        return FLX_STEP_DONE;
    }
    flx_shard_seal(&state->owned->shard);
    flx_owned_announce(worker, state->owned);
    const flx_feed *feed = &state->owned->shard.feed;
    const bool is_in_ring =
        job->offset >= flx_feed_oldest_offset(feed) && job->offset <= feed->next_offset;
    job->is_durable = durable != NULL;
    if (!is_in_ring && durable == NULL) {
        job->status = FLX_ERR_AGAIN; /* the ring ran over its start while keys were counted */
        return FLX_STEP_DONE;
    }
    job->first_sequence = is_in_ring ? flx_feed_find(feed, job->offset) : feed->end;
    job->end_sequence = feed->end;
    job->tail = feed->next_offset;
    if (job->from != worker->index) {
        job->status = flx_frames_collect(job, feed);
    }
    return FLX_STEP_DONE;
}

/* ---- back home ---- */

void flx_watch_started(flx_lane *lane, flx_sub *sub, const flx_job *job)
{
    flx_watch *watch = sub->watch;
    watch->until = job->offset;
    watch->is_snapshot = job->start_kind == FLX_WATCH_RETAINED || job->resnapshot;
    flx_msg msg = {.type = FLX_MSG_CACHE_WATCH_STARTED};
    msg.cache_watch_started.subscription_id = sub->form.subscription_id;
    msg.cache_watch_started.resume_offset = job->offset;
    msg.cache_watch_started.resnapshot = job->resnapshot;
    msg.cache_watch_started.has_retained_count = job->start_kind == FLX_WATCH_RETAINED;
    msg.cache_watch_started.retained_count = job->found;
    flx_lane_send(lane, &msg);
}

flx_status flx_watch_ranges(flx_worker *worker, const flx_sub *sub, const flx_sealed *frame,
                            flx_range ret_ranges[2], size_t *ret_count, uint32_t *ret_records)
{
    flx_slice rest = flx_range_slice(&frame->region);
    flx_slice record;
    flx_status status = FLX_OK;
    flx_change_frames frames;
    flx_buffer_clear(&worker->events);
    flx_change_frames_begin(&frames, &worker->events, sub->form.flags, FLX_CHANGE_BATCH_CHANGES,
                            flx_sealed_end_offset(frame));
    for (uint64_t offset = frame->base_offset; status == FLX_OK && flx_records_next(&rest, &record);
         offset++) {
        flx_change change;
        const flx_status read = flx_change_read(record, &change, NULL);
        FLX_ASSERT(read == FLX_OK); /* our own bytes */
        if (offset < sub->offset || change.kind == FLX_CHANGE_KIND_COUNTER ||
            !filter_matches(sub->watch->filter, change.key)) {
            continue;
        }
        status = flx_change_frames_add(&frames, offset, &change);
    }
    flx_change_frames_end(&frames);
    flx_range range = {0};
    const flx_status taken = flx_events_take(worker, &range);
    status = status != FLX_OK ? status : taken;
    if (status != FLX_OK) {
        flx_chunk_unref(range.chunk);
        return status;
    }
    ret_ranges[0] = range;
    *ret_count = range.chunk == NULL ? 0 : 1;
    *ret_records = (uint32_t)frames.added;
    return FLX_OK;
}

uint64_t flx_watch_resume_from(const flx_sub *sub)
{
    return sub->watch->is_snapshot || sub->watch->must_restart ? 0 : sub->offset;
}

/* ---- waking ---- */

flx_list *flx_watch_idle_list(flx_sub *sub)
{
    sub->watch->is_idle = true;
    sub->view->watchers->idle++;
    flx_progress_idle(sub->view->watchers, sub->watch);
    return &sub->watch->filter->idle;
}

static void leave_idle(flx_sub *sub)
{
    FLX_ASSERT(sub->watch->is_idle && sub->view->watchers->idle > 0);
    sub->watch->is_idle = false;
    sub->view->watchers->idle--;
    flx_list_remove(&sub->watch->quiet);
    flx_list_remove(&sub->node);
    flx_list_push_back(&sub->view->active, &sub->node);
}

/* Its idle watches go on at this frame: nothing before it was for them. One that has read it already,
 * since it was sealed, stays. */
static void filter_wake(flx_worker *worker, flx_filter *filter, uint64_t sequence, uint64_t offset)
{
    FLX_LIST_EACH(node, &filter->idle)
    {
        flx_sub *sub = FLX_LIST_OWNER(node, flx_sub, node);
        if (sub->cursor <= sequence) {
            leave_idle(sub);
            sub->cursor = sequence;
            sub->offset = offset > sub->offset ? offset : sub->offset;
            worker->link.want_pull(sub->lane->link, true);
        }
    }
}

/* Calls for every idle watch of the view; `each` takes it out of its list. */
static void for_idle(flx_view *view, void (*each)(void *arg, flx_sub *sub), void *arg)
{
    flx_watchers *watchers = view->watchers;
    size_t cursor = 0;
    flx_filter *filter;
    while ((filter = flx_map_next(&watchers->keys, &cursor)) != NULL) {
        while (!flx_list_is_empty(&filter->idle)) {
            each(arg, FLX_LIST_OWNER(filter->idle.next, flx_sub, node));
        }
    }
    for (flx_list *node = watchers->prefixes.next; node != &watchers->prefixes; node = node->next) {
        filter = FLX_LIST_OWNER(node, flx_filter, node);
        while (!flx_list_is_empty(&filter->idle)) {
            each(arg, FLX_LIST_OWNER(filter->idle.next, flx_sub, node));
        }
    }
}

/* Frames went by that nobody looked at for it: it finds itself overrun when it is pulled. */
static void wake_overrun(void *arg, flx_sub *sub)
{
    const flx_worker *worker = arg;
    const flx_watchers *watchers = sub->view->watchers;
    leave_idle(sub);
    if (sub->cursor < watchers->seen) {
        sub->cursor = watchers->seen;
        if (sub->offset <
            watchers->seen_offset) { /* else it waits for what is not in the ring yet */
            sub->offset = watchers->seen_offset;
        }
    }
    worker->link.want_pull(sub->lane->link, true);
}

static void activate(void *arg, flx_sub *sub)
{
    (void)arg;
    leave_idle(sub);
}

static void wake_for(flx_worker *worker, flx_view *view, uint64_t sequence)
{
    const flx_watchers *watchers = view->watchers;
    const flx_sealed *frame = flx_feed_at(view->feed, sequence);
    flx_slice rest = flx_range_slice(&frame->region);
    flx_slice record;
    while (watchers->idle > 0 && flx_records_next(&rest, &record)) {
        flx_change change;
        if (flx_change_read(record, &change, NULL) != FLX_OK ||
            change.kind == FLX_CHANGE_KIND_COUNTER) {
            continue;
        }
        flx_filter *filter = flx_map_get(&watchers->keys, change.key);
        if (filter != NULL) {
            filter_wake(worker, filter, sequence, frame->base_offset);
        }
        for (flx_list *node = watchers->prefixes.next; node != &watchers->prefixes;
             node = node->next) {
            filter = FLX_LIST_OWNER(node, flx_filter, node);
            if (has_prefix(change.key, filter_text(filter))) {
                filter_wake(worker, filter, sequence, frame->base_offset);
            }
        }
    }
}

void flx_watch_wake(flx_worker *worker, flx_view *view)
{
    flx_watchers *watchers = view->watchers;
    const flx_feed *feed = view->feed;
    if (watchers->idle > 0 && watchers->seen < feed->first) {
        for_idle(view, wake_overrun, worker);
    }
    uint64_t sequence = watchers->seen > feed->first ? watchers->seen : feed->first;
    for (; sequence < feed->end && watchers->idle > 0; sequence++) {
        wake_for(worker, view, sequence);
    }
    watchers->seen = feed->end;
    watchers->seen_offset = feed->next_offset;
    flx_progress_moved(worker, watchers);
}

void flx_watch_activate_all(flx_view *view)
{
    for_idle(view, activate, NULL);
}

/* ---- the end ---- */

void flx_watch_free(flx_worker *worker, flx_sub *sub)
{
    flx_watch *watch = sub->watch;
    if (watch->is_idle) {
        leave_idle(sub);
    }
    flx_list_remove(&watch->paced);
    flx_chunk_unref(watch->page.chunk);
    filter_unref(sub->view->watchers, watch->filter);
    flx_stat_sub(&worker->stats.watches, 1);
    flx_free(watch);
    sub->watch = NULL;
}

void flx_watchers_done(flx_view *view)
{
    if (view->watchers != NULL) {
        FLX_ASSERT(view->watchers->keys.count == 0);
        FLX_ASSERT(flx_list_is_empty(&view->watchers->prefixes));
        FLX_ASSERT(flx_list_is_empty(&view->watchers->quiet));
        flx_list_remove(&view->watchers->due);
        flx_map_done(&view->watchers->keys);
        flx_free(view->watchers);
        view->watchers = NULL;
    }
}
