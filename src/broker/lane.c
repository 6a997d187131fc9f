/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/lane.c - one QUIC stream of a client: bytes in, frames to the session, answers out.
 *
 * Bytes are read as they come, without a copy, while the lane may read (flx_lane_may_read lists
 * what forbids it). What may not be read yet waits in the backlog and is not given back to the
 * transport's windows, so the client stops by itself: that is the only back-pressure there is.
 */
#include "broker/answers_int.h"
#include "broker/handles_int.h"
#include "broker/lane_int.h"
#include "broker/operations_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/session_int.h"
#include "broker/sub_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/list.h"
#include "common/slice.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <string.h>

bool flx_lane_may_read(const flx_lane *lane)
{
    const flx_worker *worker = lane->peer->worker;
    return (lane->state == FLX_LANE_NEW || lane->state == FLX_LANE_OPEN) && !lane->has_job &&
           !lane->is_last && !lane->out_full && lane->held == 0 && !worker->is_congested &&
           lane->ops_out < worker->limits.operation_window && lane->ops_rest.len == 0 &&
           flx_answers_has_room(lane);
}

/* Room for `len` more bytes behind the backlog. What was read is only closed up when it is more than
 * what is left, so that a byte is moved once on average however often the lane reads a little. */
static bool backlog_reserve(flx_lane *lane, size_t len)
{
    const size_t needed = lane->backlog_len + len;
    if (lane->backlog_cap - lane->backlog_start >= needed) {
        return true;
    }
    if (lane->backlog_start > lane->backlog_len && lane->backlog_cap >= needed) {
        memmove(lane->backlog, lane->backlog + lane->backlog_start, lane->backlog_len);
        lane->backlog_start = 0;
        return true;
    }
    size_t cap = lane->backlog_cap == 0 ? 4096 : lane->backlog_cap;
    while (cap < needed + needed / 2) {
        cap *= 2;
    }
    uint8_t *backlog = flx_alloc(cap);
    if (backlog == NULL) {
        return false;
    }
    if (lane->backlog_len > 0) {
        memcpy(backlog, lane->backlog + lane->backlog_start, lane->backlog_len);
    }
    flx_free(lane->backlog);
    lane->backlog = backlog;
    lane->backlog_cap = cap;
    lane->backlog_start = 0;
    return true;
}

/* What a connection may leave unread before anything on it authenticated. */
static uint64_t preauth_bytes_max(const flx_worker *worker)
{
    return (uint64_t)worker->limits.preauth_streams_max *
           (worker->limits.preauth_frame_bytes_max + FLX_FRAME_HEADER_BYTES);
}

/* Keeps bytes for later; they stay unconsumed, so the windows bound them. Strangers have less. */
static bool backlog_append(flx_lane *lane, flx_slice data)
{
    flx_peer *peer = lane->peer;
    if (!peer->is_authenticated &&
        peer->backlog_bytes + data.len > preauth_bytes_max(peer->worker)) {
        return false;
    }
    if (!backlog_reserve(lane, data.len)) {
        return false;
    }
    memcpy(lane->backlog + lane->backlog_start + lane->backlog_len, data.ptr, data.len);
    lane->backlog_len += data.len;
    peer->backlog_bytes += data.len;
    return true;
}

static void refused_frame(flx_lane *lane)
{
    if (lane->kind == FLX_LANE_PUBLISH) {
        flx_lane_break(lane); /* nobody hears answers of a one-way stream */
        return;
    }
    flx_lane_error(lane, FLX_CODE_INVALID_REQUEST, "unsupported frame flags");
}

/* Reads frames as long as it may; returns how many bytes it took. */
static size_t lane_process(flx_lane *lane, flx_slice data)
{
    flx_slice rest = data;
    while (true) {
        if (!flx_answers_has_room(lane)) {
            flx_answers_write(lane);
        }
        if (!flx_lane_may_read(lane)) {
            break;
        }
        flx_frame frame;
        const flx_frame_step step = flx_frame_reader_next(&lane->reader, &rest, &frame, NULL);
        if (step == FLX_FRAME_MORE) {
            break;
        }
        if (step == FLX_FRAME_FAILED) {
            flx_lane_break(lane);
        } else if (step == FLX_FRAME_REFUSED) {
            refused_frame(lane);
        } else {
            flx_session_frame(lane, &frame);
        }
    }
    return lane->state == FLX_LANE_CLOSING ? data.len : data.len - rest.len;
}

static void lane_consumed(flx_lane *lane, size_t len)
{
    if (len > 0) {
        lane->peer->worker->link.consume(lane->link, len);
    }
}

static void backlog_free(flx_lane *lane)
{
    FLX_ASSERT(lane->peer->backlog_bytes >= lane->backlog_len);
    lane->peer->backlog_bytes -= lane->backlog_len;
    flx_free(lane->backlog);
    lane->backlog = NULL;
    lane->backlog_start = 0;
    lane->backlog_cap = 0;
    lane->backlog_len = 0;
}

/* Reads a part of what waits; a lane that could read on has its turn again after the others. */
static void lane_read_backlog(flx_lane *lane)
{
    const size_t len = lane->backlog_len;
    const size_t part = len < FLX_LANE_READ_BYTES ? len : FLX_LANE_READ_BYTES;
    const size_t taken = lane_process(lane, (flx_slice){lane->backlog + lane->backlog_start, part});
    FLX_ASSERT(lane->backlog_len == len || lane->backlog_len == 0);
    if (lane->backlog_len == 0) {
        return; /* closed on the way: given back already */
    }
    if (taken == len) {
        backlog_free(lane);
    } else {
        lane->backlog_start += taken;
        lane->backlog_len -= taken;
        lane->peer->backlog_bytes -= taken;
    }
    lane_consumed(lane, taken);
    if (lane->backlog_len > 0 && taken == part) {
        flx_worker_mark_lane(lane->peer->worker, lane);
    }
}

void flx_lane_run(flx_lane *lane)
{
    flx_worker *worker = lane->peer->worker;
    flx_answers_write(lane);
    if (lane->ops_rest.len > 0) {
        flx_operations_resume(lane);
    }
    if (lane->backlog_len > 0 && flx_lane_may_read(lane)) {
        lane_read_backlog(lane);
        flx_answers_write(lane);
    }
    if ((lane->backlog_len > 0 || lane->ops_rest.len > 0) && worker->is_congested &&
        !flx_list_is_linked(&lane->dirty)) {
        flx_list_push_back(&worker->stalled_lanes, &lane->dirty);
    }
    flx_lane_settle(lane);
}

void flx_worker_stream_data(flx_worker *worker, flx_lane *lane, flx_slice data, bool fin)
{
    FLX_ASSERT(lane->kind != FLX_LANE_EVENTS || data.len == 0);
    lane->fin = lane->fin || fin;
    if (lane->state == FLX_LANE_CLOSING) {
        lane_consumed(lane, data.len);
        return;
    }
    size_t taken = 0;
    if (lane->backlog_len == 0) {
        taken = lane_process(lane, data);
        lane_consumed(lane, taken);
    }
    if (taken < data.len && lane->state != FLX_LANE_CLOSING) {
        const flx_slice rest = {data.ptr + taken, data.len - taken};
        if (!backlog_append(lane, rest)) {
            flx_lane_break(lane);
            lane_consumed(lane, rest.len);
        } else {
            flx_worker_mark_lane(worker, lane);
        }
    }
    if (fin || lane->is_last || lane->answers.head != lane->answers.tail) {
        flx_worker_mark_lane(worker, lane);
    }
}

void flx_lane_write(flx_lane *lane, flx_range range)
{
    const flx_link_ops *link = &lane->peer->worker->link;
    if (lane->link == NULL || lane->fin_sent || lane->kind == FLX_LANE_PUBLISH) {
        flx_chunk_unref(range.chunk);
        return;
    }
    if (link->write_take(lane->link, range) == FLX_ERR_NOMEM) {
        flx_lane_break(lane); /* a hole in the answers would be worse */
        return;
    }
    if (!lane->out_full && lane->kind == FLX_LANE_CONTROL &&
        link->queued(lane->link) > FLX_LANE_OUT_BYTES_MAX) {
        lane->out_full = true; /* asks and does not read */
        link->want_pull(lane->link, true);
    }
}

bool flx_lane_send_if_fits(flx_lane *lane, const flx_msg *msg)
{
    flx_range range;
    const flx_status status = flx_scratch_message(&lane->peer->worker->scratch, msg, &range);
    if (status == FLX_OK) {
        flx_lane_write(lane, range);
    } else if (status == FLX_ERR_NOMEM) {
        flx_lane_break(lane);
    }
    return status != FLX_ERR_TOO_LARGE;
}

void flx_lane_send(flx_lane *lane, const flx_msg *msg)
{
    if (!flx_lane_send_if_fits(lane, msg)) {
        flx_lane_break(lane); /* an answer is missing: better the stream than the order */
    }
}

void flx_lane_error_detail(flx_lane *lane, flx_code code, const char *message, const char *reason,
                           uint64_t retry_after_ms)
{
    flx_stat_add(&lane->peer->worker->stats.errors[code], 1);
    flx_msg msg = {.type = FLX_MSG_ERROR};
    msg.error.message = flx_slice_of(message);
    if ((lane->features & FLX_FEATURE_ERROR_CODES) != 0) {
        msg.error.has_code = true;
        msg.error.code = flx_code_slice((uint16_t)code);
        msg.error.has_retry = true;
        msg.error.retry = flx_retry_slice(flx_code_retry((uint16_t)code));
        if (reason != NULL) {
            msg.error.has_detail = true;
            msg.error.detail.has_reason = true;
            msg.error.detail.reason = flx_slice_of(reason);
            msg.error.detail.has_retry_after_ms = retry_after_ms > 0;
            msg.error.detail.retry_after_ms = retry_after_ms;
        }
    }
    flx_lane_send(lane, &msg);
}

void flx_lane_error(flx_lane *lane, flx_code code, const char *message)
{
    flx_lane_error_detail(lane, code, message, NULL, 0);
}

/* Leaves the group of streams that are read before their auth, and lets the next one in. */
static void lane_leave_new(flx_lane *lane)
{
    flx_peer *peer = lane->peer;
    if (lane->state != FLX_LANE_NEW) {
        return;
    }
    FLX_ASSERT(peer->unauthenticated > 0);
    peer->unauthenticated--;
    if (!flx_list_is_empty(&peer->waiting)) {
        flx_lane *next = FLX_LIST_OWNER(peer->waiting.next, flx_lane, wait);
        flx_list_remove(&next->wait);
        next->state = FLX_LANE_NEW;
        peer->unauthenticated++;
        flx_worker_mark_lane(peer->worker, next);
    }
}

/* From here on nothing of it is read; what waited is given back. */
static void lane_to_closing(flx_lane *lane)
{
    lane_leave_new(lane);
    flx_list_remove(&lane->wait);
    lane->state = FLX_LANE_CLOSING;
    flx_operations_drop_rest(lane);
    const size_t len = lane->backlog_len;
    backlog_free(lane);
    lane_consumed(lane, len);
}

void flx_lane_authenticated(flx_lane *lane)
{
    lane_leave_new(lane);
    lane->state = FLX_LANE_OPEN;
    flx_frame_reader_limit(&lane->reader, lane->peer->worker->limits.frame_bytes_max);
}

static void lane_finish(flx_lane *lane)
{
    if (!lane->fin_sent && lane->kind != FLX_LANE_PUBLISH && lane->link != NULL) {
        lane->fin_sent = true;
        lane->peer->worker->link.finish(lane->link);
    }
}

void flx_lane_close(flx_lane *lane)
{
    if (lane->state == FLX_LANE_CLOSING) {
        return;
    }
    lane_to_closing(lane);
    lane_finish(lane);
    if (!lane->fin && lane->kind != FLX_LANE_EVENTS) {
        lane->peer->worker->link.stop(lane->link, 0);
    }
}

void flx_lane_break(flx_lane *lane)
{
    flx_worker *worker = lane->peer->worker;
    if (lane->state == FLX_LANE_CLOSING && lane->fin_sent) {
        return;
    }
    flx_stat_add(&worker->stats.protocol_errors, 1);
    const bool was_closing = lane->state == FLX_LANE_CLOSING;
    if (!was_closing) {
        lane_to_closing(lane);
    }
    if (lane->kind != FLX_LANE_PUBLISH && lane->link != NULL) {
        lane->fin_sent = true;
        worker->link.reset(lane->link, FLX_LANE_CLOSE_CODE);
    }
    if (!lane->fin && !was_closing && lane->kind != FLX_LANE_EVENTS) {
        worker->link.stop(lane->link, FLX_LANE_CLOSE_CODE);
    }
}

void flx_lane_settle(flx_lane *lane)
{
    if (lane->kind == FLX_LANE_EVENTS || lane->state == FLX_LANE_CLOSING || lane->has_job ||
        lane->answers.head != lane->answers.tail || lane->held > 0 || lane->ops_out > 0 ||
        lane->ops_rest.len > 0) {
        return;
    }
    if (lane->is_last) {
        flx_lane_close(lane);
    } else if (lane->fin && lane->backlog_len == 0) {
        if (!flx_frame_reader_is_idle(&lane->reader)) {
            flx_lane_break(lane); /* ended inside a frame */
        } else {
            flx_lane_close(lane);
        }
    }
}

static flx_status lane_new(flx_worker *worker, flx_peer *peer, void *link, flx_lane_kind kind,
                           flx_lane **ret_lane)
{
    flx_lane *lane = flx_calloc(1, sizeof *lane);
    if (lane == NULL) {
        return FLX_ERR_NOMEM;
    }
    lane->peer = peer;
    lane->link = link;
    lane->kind = (uint8_t)kind;
    lane->flags = FLX_FLAGS_ORIGINAL_V1;
    flx_frame_reader_init(&lane->reader, worker->limits.preauth_frame_bytes_max);
    if (kind != FLX_LANE_EVENTS &&
        flx_handles_put(&worker->handles, lane, &lane->handle) != FLX_OK) {
        flx_free(lane);
        return FLX_ERR_NOMEM;
    }
    flx_list_push_back(&peer->lanes, &lane->node);
    flx_stat_add(&worker->stats.lanes, 1);
    *ret_lane = lane;
    return FLX_OK;
}

flx_status flx_worker_stream_opened(flx_worker *worker, flx_peer *peer, void *link_stream,
                                    bool bidirectional, flx_lane **ret_lane)
{
    flx_lane *lane;
    const flx_lane_kind kind = bidirectional ? FLX_LANE_CONTROL : FLX_LANE_PUBLISH;
    const flx_status status = lane_new(worker, peer, link_stream, kind, &lane);
    if (status != FLX_OK) {
        return status;
    }
    if (peer->unauthenticated < worker->limits.preauth_streams_max) {
        lane->state = FLX_LANE_NEW;
        peer->unauthenticated++;
    } else {
        lane->state = FLX_LANE_WAITING;
        flx_list_push_back(&peer->waiting, &lane->wait);
    }
    *ret_lane = lane;
    return FLX_OK;
}

flx_status flx_lane_new_events(flx_peer *peer, struct flx_sub *sub, flx_lane **ret_lane)
{
    const flx_status status = lane_new(peer->worker, peer, NULL, FLX_LANE_EVENTS, ret_lane);
    if (status == FLX_OK) {
        (*ret_lane)->state = FLX_LANE_OPEN;
        (*ret_lane)->sub = sub;
    }
    return status;
}

static void identity_unref(flx_lane *lane)
{
    flx_identity *identity = lane->identity;
    lane->identity = NULL;
    if (identity == NULL || --identity->refs > 0 || identity->publish_bytes > 0) {
        return;
    }
    flx_list_remove(&identity->node);
    flx_grants_unref(identity->grants);
    flx_chunk_unref(identity->publisher);
    flx_free(identity);
}

void flx_lane_free(flx_lane *lane)
{
    flx_worker *worker = lane->peer->worker;
    lane_leave_new(lane);
    flx_list_remove(&lane->node);
    flx_list_remove(&lane->wait);
    flx_list_remove(&lane->dirty);
    flx_answers_done(lane);
    flx_operations_lane_done(lane);
    identity_unref(lane);
    if (lane->handle != 0) {
        flx_handles_drop(&worker->handles, lane->handle);
    }
    flx_frame_reader_done(&lane->reader);
    backlog_free(lane);
    flx_stat_sub(&worker->stats.lanes, 1);
    flx_free(lane);
}

void flx_worker_stream_pull(flx_worker *worker, flx_lane *lane)
{
    if (lane->kind == FLX_LANE_EVENTS) {
        if (lane->sub != NULL) {
            flx_sub_pull(worker, lane->sub);
        } else {
            worker->link.want_pull(lane->link, false);
        }
        return;
    }
    worker->link.want_pull(lane->link, false);
    lane->out_full = false;
    flx_worker_mark_lane(worker, lane);
}

void flx_worker_stream_reset(flx_worker *worker, flx_lane *lane, uint64_t code)
{
    (void)code;
    lane->fin = true; /* nothing more comes; half a frame is thrown away */
    if (lane->state != FLX_LANE_CLOSING && lane->kind != FLX_LANE_EVENTS) {
        flx_frame_reader_done(&lane->reader);
        flx_frame_reader_init(&lane->reader, worker->limits.frame_bytes_max);
        const size_t len = lane->backlog_len;
        backlog_free(lane);
        lane_consumed(lane, len);
        flx_worker_mark_lane(worker, lane);
    }
}

void flx_worker_stream_stopped(flx_worker *worker, flx_lane *lane, uint64_t code)
{
    (void)code;
    if (lane->kind == FLX_LANE_EVENTS && lane->sub != NULL) {
        flx_sub_end(worker, lane->sub); /* how a client ends a subscription */
    }
    if (!lane->fin_sent && lane->link != NULL && lane->kind != FLX_LANE_PUBLISH) {
        lane->fin_sent = true;
        worker->link.reset(lane->link, 0);
    }
    if (lane->kind == FLX_LANE_CONTROL) {
        lane->out_full = false; /* nothing will ever be pulled again */
        flx_worker_mark_lane(worker, lane);
    }
}

void flx_worker_stream_closed(flx_worker *worker, flx_lane *lane)
{
    if (lane->sub != NULL) {
        lane->sub->lane = NULL;
        flx_sub_end(worker, lane->sub);
    }
    lane->link = NULL;
    flx_lane_free(lane);
}
