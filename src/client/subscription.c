/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shard: ask, run, and after whatever ended it ask again from where it was (resume.h).
 */
#include "client/subscription.h"

#include "client/client_int.h"
#include "client/refusal.h"
#include "client/subscriber_int.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/event.h"
#include "wire/records.h"

#include <string.h>

/* ---- leaving ---- */

void flx_shard_stop(flx_shard_sub *sub)
{
    flx_channel_close(&sub->channel);
    flx_reader_unlist(&sub->reader);
    sub->state = FLX_SHARD_WAITING;
    flx_seat_leave(&sub->seat);
}

static uint64_t now_of(const flx_shard_sub *sub)
{
    return flx_loop_now_ns(sub->subscriber->member.client->loop);
}

/* Back to WAITING, to ask again at `due_ns`. */
void flx_shard_ask_again(flx_shard_sub *sub, uint64_t due_ns)
{
    flx_shard_stop(sub);
    sub->due_ns = due_ns;
    if (!sub->subscriber->member.ended)
        flx_member_poke(&sub->subscriber->member);
}

static void pause_shard(flx_shard_sub *sub, uint32_t least_ms)
{
    flx_client *client = sub->subscriber->member.client;
    uint32_t pause_ms = flx_backoff_next_ms(&sub->backoff, flx_client_random(client));
    if (pause_ms < least_ms)
        pause_ms = least_ms;
    flx_shard_ask_again(sub, now_of(sub) + pause_ms * FLX_NS_PER_MS);
}

/* An unknown stream may only not be known yet: the broker's catalog arrives by itself. */
static bool is_patient(flx_shard_sub *sub, const flx_error *error)
{
    const uint64_t patience_ns = sub->subscriber->options.not_found_ms * FLX_NS_PER_MS;
    if (error->status != FLX_ERR_NOT_FOUND)
        return error->retry != FLX_RETRY_FATAL;
    if (sub->not_found_since_ns == 0)
        sub->not_found_since_ns = now_of(sub);
    return now_of(sub) - sub->not_found_since_ns < patience_ns;
}

/* The broker said no. */
static void refused_by(flx_shard_sub *sub, const flx_error *error)
{
    flx_subscriber *subscriber = sub->subscriber;
    if (!is_patient(sub, error)) {
        flx_subscriber_over(subscriber, error);
        return;
    }
    (void)pthread_mutex_lock(&subscriber->mutex);
    subscriber->why = *error;
    (void)pthread_mutex_unlock(&subscriber->mutex);
    pause_shard(sub, error->retry_after_ms);
}

static void shard_lost(flx_reader *reader, const flx_error *why)
{
    flx_shard_sub *sub = (flx_shard_sub *)reader; /* its first member */
    flx_subscriber *subscriber = sub->subscriber;
    if (subscriber->over)
        return;
    if (subscriber->options.no_resume && (sub->resume.started || sub->watch_resume.has_started)) {
        flx_subscriber_over(subscriber, why);
        return;
    }
    if (subscriber->watching != NULL)
        flx_watch_resume_lost(&sub->watch_resume);
    else
        flx_resume_lost(&sub->resume);
    pause_shard(sub, 0);
}

/* ---- finding a time ---- */

static void offset_answered(flx_ask *asked, flx_msg *msg, const flx_error *error)
{
    flx_shard_sub *sub = asked->user[0];
    flx_error wrong;
    if (sub->subscriber->member.ended || sub->subscriber->over)
        return;
    sub->state = FLX_SHARD_WAITING;
    if (error == NULL && msg->type != FLX_MSG_OFFSET_VALUE) {
        (void)flx_fail(&wrong, FLX_ERR_PROTOCOL, "a question for an offset was answered with %s",
                       flx_msg_name(msg->type));
        flx_subscriber_over(sub->subscriber, &wrong);
        return;
    }
    if (error != NULL && error->status != FLX_ERR_UNSUPPORTED) {
        refused_by(sub, error);
        return;
    }
    if (error != NULL)
        flx_resume_cannot_find(&sub->resume);
    else
        flx_resume_found(&sub->resume,
                         msg->offset_value.has_offset ? &msg->offset_value.offset : NULL);
    flx_shard_ask_again(sub, 0);
}

static flx_status ask_offset(flx_shard_sub *sub)
{
    const flx_subscriber *subscriber = sub->subscriber;
    flx_ask *asking;
    const flx_status status = flx_ask_new(subscriber->member.client, &asking, NULL);
    if (status != FLX_OK)
        return status;
    asking->answered = offset_answered;
    asking->features = FLX_FEATURE_RECORD_TIMESTAMPS;
    asking->is_read = true;
    asking->owner = &sub->subscriber->member;
    asking->timeout_ns = UINT64_MAX; /* waiting for a connection is no failure */
    asking->user[0] = sub;
    const flx_msg msg = {
        .type = FLX_MSG_OFFSET_FOR_TIME,
        .offset_for_time = {.tenant_id = flx_slice_of(subscriber->name.tenant),
                            .namespace_ = flx_slice_of(subscriber->name.namespace_),
                            .stream = flx_slice_of(subscriber->name.name),
                            .shard = sub->shard,
                            .at_micros = subscriber->options.time_us,
                            .request_id = asking->id}};
    return flx_ask_send(asking, &msg, NULL);
}

static void find(flx_shard_sub *sub)
{
    sub->state = FLX_SHARD_FINDING;
    if (ask_offset(sub) != FLX_OK)
        pause_shard(sub, 0);
}

/* ---- asking ---- */

static void channel_ready(flx_channel *channel)
{
    flx_shard_sub *sub = channel->owner;
    flx_subscriber *subscriber = sub->subscriber;
    const flx_start start = flx_resume_start(&sub->resume);
    flx_error error;
    const uint64_t id = channel->uplink->next_subscription_id++;
    if (subscriber->watching != NULL) {
        flx_watching_ask(sub, channel, id);
        return;
    }
    sub->reader.id = id;
    const bool may_size = (channel->offer.features & FLX_FEATURE_SUBSCRIBE_QUEUE) != 0;
    const flx_msg msg = {
        .type = FLX_MSG_SUBSCRIBE,
        .subscribe = {.tenant_id = flx_slice_of(subscriber->name.tenant),
                      .namespace_ = flx_slice_of(subscriber->name.namespace_),
                      .stream = flx_slice_of(subscriber->name.name),
                      .has_subscription_id = true,
                      .subscription_id = sub->reader.id,
                      .has_start = true,
                      .start = start,
                      .has_shard = true,
                      .shard = sub->shard,
                      .has_queue_capacity = may_size && subscriber->options.broker_queue > 0,
                      .queue_capacity = subscriber->options.broker_queue}};
    if (flx_channel_send(channel, &msg, &error) != FLX_OK) {
        flx_channel_fail(channel, &error);
        return;
    }
    flx_channel_finish(channel);
}

void flx_shard_run(flx_shard_sub *sub, uint64_t id, bool resumed)
{
    flx_subscriber *subscriber = sub->subscriber;
    sub->state = FLX_SHARD_RUNNING;
    sub->not_found_since_ns = 0;
    flx_channel_close(&sub->channel);

    (void)pthread_mutex_lock(&subscriber->mutex);
    subscriber->stats.resumes += resumed;
    subscriber->started += !sub->counted;
    sub->counted = true;
    if (!sub->has_position && sub->resume.has_next) {
        sub->has_position = true;
        sub->position = sub->resume.next;
    }
    (void)pthread_cond_broadcast(&subscriber->changed);
    (void)pthread_mutex_unlock(&subscriber->mutex);
    flx_reader_named(&sub->reader, id);
}

static void subscribed(flx_shard_sub *sub, const flx_msg *msg)
{
    const struct flx_msg_subscribed *answer = &msg->subscribed;
    const bool again = sub->resume.started;
    const flx_gap gap = flx_resume_subscribed(
        &sub->resume, answer->has_start_offset ? &answer->start_offset : NULL);
    if (flx_resume_wants_offset(&sub->resume)) {
        flx_shard_ask_again(sub, 0);
        return;
    }
    flx_subscriber_deliver_gap(sub, gap);
    if (!sub->subscriber->member.ended && sub->state == FLX_SHARD_ASKING)
        flx_shard_run(sub, answer->subscription_id, again);
}

static void cursor_refused(flx_shard_sub *sub, const flx_msg *msg)
{
    const flx_cursor_reason reason = msg->subscribe_cursor_error.reason;
    const uint64_t available = msg->subscribe_cursor_error.available;
    flx_gap gap;
    flx_error error;
    if (flx_resume_cursor_error(&sub->resume, reason, available, &gap)) {
        flx_shard_ask_again(sub, 0);
        flx_subscriber_deliver_gap(sub, gap);
        return;
    }
    const bool old = reason == FLX_CURSOR_TOO_OLD;
    (void)flx_fail(&error, old ? FLX_ERR_TOO_OLD : FLX_ERR_IN_FUTURE,
                   "shard %u: offset %llu is %s (available: %llu)", sub->shard,
                   (unsigned long long)msg->subscribe_cursor_error.requested,
                   old ? "no longer kept" : "in the future", (unsigned long long)available);
    flx_subscriber_over(sub->subscriber, &error);
}

static void channel_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg)
{
    flx_shard_sub *sub = channel->owner;
    flx_error error;
    if (frame != NULL || sub->state != FLX_SHARD_ASKING) {
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "subscribe was answered with a binary frame");
        flx_channel_fail(channel, &error);
    } else if (sub->subscriber->watching != NULL && flx_watching_answered(sub, msg)) {
        return;
    } else if (msg->type == FLX_MSG_SUBSCRIBED) {
        subscribed(sub, msg);
    } else if (msg->type == FLX_MSG_SUBSCRIBE_CURSOR_ERROR) {
        cursor_refused(sub, msg);
    } else if (flx_refusal_from_msg(msg, &error)) {
        refused_by(sub, &error);
    } else {
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "subscribe was answered with %s",
                       flx_msg_name(msg->type));
        flx_channel_fail(channel, &error);
    }
}

static void channel_lost(flx_channel *channel, const flx_error *error, bool refused)
{
    flx_shard_sub *sub = channel->owner;
    if (sub->state != FLX_SHARD_ASKING)
        return;
    if (refused)
        refused_by(sub, error);
    else
        shard_lost(&sub->reader, error);
}

static const flx_channel_ops channel_ops = {
    .ready = channel_ready, .received = channel_received, .lost = channel_lost};

static uint16_t flags_of(const flx_subscriber *subscriber)
{
    unsigned flags = FLX_FLAGS_KNOWN;
    if (!subscriber->options.timestamps)
        flags &= ~(unsigned)FLX_FLAG_EVENT_BATCH_TIMESTAMPS;
    if (!subscriber->options.publishers)
        flags &= ~(unsigned)FLX_FLAG_EVENT_BATCH_PUBLISHER;
    return (uint16_t)flags;
}

static void ask(flx_shard_sub *sub, flx_uplink *uplink, uint64_t now_ns)
{
    flx_subscriber *subscriber = sub->subscriber;
    flx_error error;
    if (flx_channel_open(&sub->channel, uplink, &channel_ops, sub, flags_of(subscriber), &error) !=
        FLX_OK) {
        pause_shard(sub, 0);
        return;
    }
    sub->state = FLX_SHARD_ASKING;
    sub->due_ns = now_ns + subscriber->member.client->options.request_timeout_ms * FLX_NS_PER_MS;
    flx_reader_list(&sub->reader, uplink);
}

uint64_t flx_shard_service(flx_shard_sub *sub, uint64_t now_ns)
{
    flx_error error;
    if (sub->state == FLX_SHARD_RUNNING || sub->state == FLX_SHARD_FINDING)
        return UINT64_MAX;
    if (sub->state == FLX_SHARD_ASKING) {
        if (now_ns < sub->due_ns)
            return sub->due_ns;
        (void)flx_fail(&error, FLX_ERR_TIMEOUT, "no answer to subscribe");
        flx_channel_fail(&sub->channel, &error);
        return sub->due_ns;
    }
    if (now_ns < sub->due_ns)
        return sub->due_ns;
    if (flx_resume_wants_offset(&sub->resume)) {
        find(sub);
        return sub->state == FLX_SHARD_FINDING ? UINT64_MAX : sub->due_ns;
    }
    flx_uplink *uplink = flx_seat_take(&sub->seat);
    if (uplink == NULL)
        return UINT64_MAX;
    ask(sub, uplink, now_ns);
    return sub->due_ns;
}

/* ---- events ---- */

/* JSON events have no region of records; one is made, so that there is one way to deliver. */
static void deliver_json(flx_shard_sub *sub, const flx_slice *payloads, size_t count,
                         const uint64_t *base, size_t credit)
{
    flx_subscriber *subscriber = sub->subscriber;
    flx_error error;
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += flx_record_bytes(payloads[i].len);
    uint8_t *at = flx_subscriber_room(subscriber, len);
    if (at == NULL) {
        (void)flx_fail(&error, FLX_ERR_NOMEM, "%zu bytes of events", len);
        flx_subscriber_over(subscriber, &error);
        return;
    }
    uint8_t *to = at;
    for (size_t i = 0; i < count; i++)
        to = flx_records_put(to, payloads[i]);
    flx_event_batch batch = {
        .flags = FLX_FLAG_BINARY_EVENT_BATCH_SHARED, .count = (uint32_t)count, .region = {at, len}};
    if (base != NULL) {
        batch.flags |= FLX_FLAG_EVENT_BATCH_OFFSETS;
        batch.base_offset = *base;
    }
    flx_subscriber_deliver(sub, &batch, subscriber->arrivals, credit);
}

static void receive_msg(flx_shard_sub *sub, flx_msg *msg, size_t credit)
{
    flx_error error;
    switch (msg->type) {
    case FLX_MSG_EVENT:
        deliver_json(sub, &msg->event.payload, 1, msg->event.has_offset ? &msg->event.offset : NULL,
                     credit);
        return;
    case FLX_MSG_EVENT_BATCH:
        deliver_json(sub, msg->event_batch.payloads, msg->event_batch.payloads_count,
                     msg->event_batch.has_base_offset ? &msg->event_batch.base_offset : NULL,
                     credit);
        return;
    case FLX_MSG_SUBSCRIPTION_LAGGED: {
        const flx_gap gap = flx_resume_lagged(&sub->resume, msg->subscription_lagged.resume_from);
        flx_shard_ask_again(sub, 0);
        flx_subscriber_deliver_gap(sub, gap);
        return;
    }
    case FLX_MSG_SHARD_MOVED:
        flx_resume_moved(&sub->resume,
                         msg->shard_moved.has_resume_from ? &msg->shard_moved.resume_from : NULL);
        pause_shard(sub, 0);
        return;
    default:
        flx_reader_consume(&sub->reader, credit);
        if (flx_refusal_from_msg(msg, &error))
            shard_lost(&sub->reader, &error);
        return;
    }
}

static void receive_json(flx_shard_sub *sub, const flx_frame *frame, size_t credit)
{
    flx_arena *arena = &sub->subscriber->member.client->arena;
    flx_msg msg;
    flx_error error;
    flx_arena_reset(arena);
    const flx_status status = flx_msg_decode(arena, frame->json, frame->payload.len, &msg, &error);
    if (status == FLX_ERR_UNSUPPORTED)
        flx_reader_consume(&sub->reader, credit);
    else if (status != FLX_OK)
        shard_lost(&sub->reader, &error);
    else if (sub->subscriber->watching == NULL || !flx_watching_received(sub, &msg, credit))
        receive_msg(sub, &msg, credit);
}

static void shard_frame(flx_reader *reader, const flx_frame *frame, size_t credit)
{
    flx_shard_sub *sub = (flx_shard_sub *)reader;
    flx_event_batch batch;
    flx_error error;
    if (frame->flags == 0) {
        receive_json(sub, frame, credit);
        return;
    }
    if (sub->subscriber->watching != NULL) {
        if (flx_watching_frame(sub, frame, credit, &error) != FLX_OK)
            shard_lost(&sub->reader, &error);
        return;
    }
    if (flx_event_batch_decode(frame->flags, frame->payload, &batch, &error) != FLX_OK) {
        shard_lost(&sub->reader, &error);
        return;
    }
    flx_backoff_reset(&sub->backoff); /* it really runs */
    flx_subscriber_deliver(sub, &batch, frame->chunk, credit);
}

static void shard_bound(flx_reader *reader)
{
    flx_shard_sub *sub = (flx_shard_sub *)reader;
    if (sub->hears_batches)
        flx_frame_reader_allow_extension(&reader->incoming->reader);
    flx_subscriber_new_epoch(sub);
}

const flx_reader_ops flx_shard_ops = {
    .frame = shard_frame, .lost = shard_lost, .bound = shard_bound};
