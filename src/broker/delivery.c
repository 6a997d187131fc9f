/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/delivery.c - what a subscription is given when its stream has room.
 *
 *     pull ─► settled where it stands (told, jumped, or back to the log) ─► frames of the ring, in its form
 *                                                                      └─► blocks of the log (history.c)
 *
 * What a slow one missed is found out here, when it pulls again: README.md, rule 7, lists what each
 * policy then does. A frame in another than its primary form is made once for all who read it at
 * about the same time, and kept with the view (variants).
 */
#include "broker/event.h"
#include "broker/feed.h"
#include "broker/history_int.h"
#include "broker/lane_int.h"
#include "broker/sealed.h"
#include "broker/snapshot_int.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/view_int.h"
#include "broker/watch_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/inline.h"
#include "common/list.h"
#include "common/slice.h"
#include "wire/message.h"

#include <string.h>

#define VARIANT_BYTES (8u << 20) /* of rewritten frames a view keeps, and one more frame */

/* What a pull gathers: adjacent ranges become one. */
typedef struct outflow {
    flx_lane *lane;
    flx_range range; /* chunk NULL: empty */
    uint64_t bytes;
    uint64_t room; /* for as many; a frame that does not fit may go past it */
    uint64_t frames;
    uint64_t records;
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
    sub->skip_from = FLX_NO_SKIP;
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
FLX_HOT bool settle_position(flx_worker *worker, flx_sub *sub, outflow *out)
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
    if (sub->skip_from == FLX_NO_SKIP && feed->end - live > sub->capacity && !has_log(sub)) {
        over_capacity(worker, sub);
    }
    return true;
}

/* Names for JSON events: of the catalog as it is now. */
static void form_names(flx_worker *worker, flx_sub *sub)
{
    const flx_stream_info *info = flx_slot_get(worker, sub->view->id)->info;
    sub->form.tenant = flx_slice_of(info->tenant);
    sub->form.namespace_ = flx_slice_of(info->namespace_);
    sub->form.stream = flx_slice_of(info->name);
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

void flx_variants_clear(flx_variants *variants)
{
    for (uint32_t i = 0; variants->at != NULL && i < FLX_VARIANTS; i++) {
        variant_drop(variants, &variants->at[i]);
    }
    FLX_ASSERT(variants->bytes == 0);
}

void flx_variants_done(flx_variants *variants)
{
    flx_variants_clear(variants);
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
        flx_filter *filter = sub->watch->filter;
        return filter->refs > 1 ? &filter->variants[flx_change_form_index(sub->form.flags)] : NULL;
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
        flx_variants_clear(variants); /* this one is not counted yet, and has no ranges to drop */
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
FLX_HOT flx_status send_frame(flx_worker *worker, flx_sub *sub, const flx_sealed *frame,
                              outflow *out)
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
    out->frames++;
    out->records += records;
    sub->offset = flx_sealed_end_offset(frame);
    return FLX_OK;
}

/* Passed over or sent; false: no memory, try again when the transport asks again. */
FLX_HOT bool deliver(flx_worker *worker, flx_sub *sub, const flx_sealed *frame, outflow *out)
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

/* Frames of a stream up to `end`. The ring does not move while one reads, and who reads only gets
 * nearer: where it stands was settled for all of them. */
FLX_HOT pull_end pull_run(flx_worker *worker, flx_sub *sub, uint64_t end, outflow *out)
{
    const flx_feed *feed = sub->view->feed;
    do {
        if (!deliver(worker, sub, flx_feed_at(feed, sub->cursor), out)) {
            return PULL_LATER;
        }
        sub->cursor++;
    } while (sub->cursor != end && out->bytes < out->room);
    return PULL_MORE;
}

FLX_HOT pull_end pull_ring(flx_worker *worker, flx_sub *sub, outflow *out)
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
    if (sub->watch == NULL) {
        return pull_run(worker, sub, sub->skip_from < feed->end ? sub->skip_from : feed->end, out);
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

FLX_COLD pull_end pull_history(flx_worker *worker, flx_sub *sub, outflow *out)
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

void flx_sub_rest(flx_worker *worker, flx_sub *sub)
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
    outflow out = {.lane = lane};
    out.room = queued < worker->limits.pull_bytes ? worker->limits.pull_bytes - queued : 0;
    pull_end end = PULL_MORE;
    if (out.room > 0 && sub->history == NULL) {
        time_delivery(worker, sub);
    }
    if (sub->watch != NULL) {
        sub->watch->asks_left = FLX_PAGES_A_PULL;
    }
    while (end == PULL_MORE && out.bytes < out.room) {
        end = sub->history != NULL && !is_before_changes(sub) ? pull_history(worker, sub, &out)
                                                              : pull_ring(worker, sub, &out);
    }
    flx_stat_add(&worker->stats.delivered_frames, out.frames);
    flx_stat_add(&worker->stats.delivered_records, out.records);
    flx_stat_add(&worker->stats.delivered_bytes, out.bytes);
    if (end == PULL_GONE) {
        return;
    }
    outflow_flush(&out);
    if (lane->state == FLX_LANE_CLOSING) {
        flx_sub_end(worker, sub); /* a write failed and the stream was reset */
    } else if (end == PULL_CAUGHT_UP) {
        flx_sub_rest(worker, sub);
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
