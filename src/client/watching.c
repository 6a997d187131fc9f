/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch as a subscriber: its messages, and its changes as records.
 *
 * Whatever form changes arrive in, they become what a subscriber delivers, so that queue, window and
 * callbacks are those of a subscriber: records with a u64 in front, where the offset of the change
 * stands (a subscriber's batch has the time there), and the change as logs keep it behind it.
 *
 *     u64 offset | u32 length | the change (wire/change.h)
 *
 * A batch of them is numbered when they are changes, so that it moves the position: by where it ends,
 * since what it passes over was not for this watch. What was there before is not numbered.
 */
#include "client/client_int.h"
#include "client/subscriber_int.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/bytes.h"
#include "wire/change.h"
#include "wire/change_batch.h"
#include "wire/records.h"

#include <string.h>

#define OFFSET_BYTES 8

void flx_watching_ask(flx_shard_sub *sub, flx_channel *channel, uint64_t id)
{
    const flx_subscriber *subscriber = sub->subscriber;
    const flx_watching *watching = subscriber->watching;
    const flx_watch_resume *resume = &sub->watch_resume;
    const flx_slice filter = {watching->text, watching->len};
    const bool is_retained = resume->from == FLX_WATCH_FROM_RETAINED;
    const uint32_t needed =
        FLX_FEATURE_CACHE_WATCH | (is_retained ? FLX_FEATURE_CACHE_WATCH_RETAINED : 0);
    flx_error error;
    if ((channel->offer.features & needed) != needed) {
        (void)flx_fail(&error, FLX_ERR_UNSUPPORTED, "the broker does not offer watches of caches");
        flx_subscriber_over(sub->subscriber, &error);
        return;
    }
    sub->hears_batches = (channel->offer.features & FLX_FEATURE_EXTENDED) != 0 &&
                         (channel->offer.features_hi & FLX_FEATURE_HI_WATCH_BATCHES) != 0;
    flx_msg msg = {.type = FLX_MSG_CACHE_WATCH};
    msg.cache_watch.tenant_id = flx_slice_of(subscriber->name.tenant);
    msg.cache_watch.namespace_ = flx_slice_of(subscriber->name.namespace_);
    msg.cache_watch.cache = flx_slice_of(subscriber->name.name);
    msg.cache_watch.has_key = watching->is_key;
    msg.cache_watch.key = filter;
    msg.cache_watch.has_prefix = !watching->is_key;
    msg.cache_watch.prefix = filter;
    msg.cache_watch.has_shard = !watching->is_key; /* a key's is the broker's to know */
    msg.cache_watch.shard = sub->shard;
    msg.cache_watch.retained = is_retained;
    msg.cache_watch.has_from_offset = resume->from == FLX_WATCH_FROM_OFFSET;
    msg.cache_watch.from_offset = resume->next;
    msg.cache_watch.has_subscription_id = true;
    msg.cache_watch.subscription_id = id;
    if (flx_channel_send(channel, &msg, &error) != FLX_OK) {
        flx_channel_fail(channel, &error);
        return;
    }
    flx_channel_finish(channel);
}

/* `at`: where the watch is. */
static void tell(flx_shard_sub *sub, flx_gap_reason reason, uint64_t at)
{
    if (!sub->subscriber->over)
        flx_subscriber_deliver_gap(sub, (flx_gap){reason, at, at});
}

static void started(flx_shard_sub *sub, const struct flx_msg_cache_watch_started *answer)
{
    const bool again = sub->watch_resume.has_started;
    const flx_watch_news news =
        flx_watch_resume_started(&sub->watch_resume, answer->resume_offset, answer->resnapshot,
                                 answer->has_retained_count ? &answer->retained_count : NULL);
    if (flx_watch_resume_is_placed(&sub->watch_resume)) {
        sub->resume.has_next = true; /* where the position begins */
        sub->resume.next = answer->resume_offset;
    }
    if (news.is_reset)
        tell(sub, FLX_GAP_WATCH_RESET, answer->resume_offset);
    if (news.is_ready)
        tell(sub, FLX_GAP_WATCH_READY, answer->resume_offset);
    if (!sub->subscriber->member.ended && sub->state == FLX_SHARD_ASKING)
        flx_shard_run(sub, answer->subscription_id, again);
}

static void refused(flx_shard_sub *sub, const struct flx_msg_subscribe_cursor_error *answer)
{
    flx_error error;
    if (flx_watch_resume_in_future(&sub->watch_resume)) {
        flx_shard_ask_again(sub, 0);
        return;
    }
    (void)flx_fail(&error, FLX_ERR_IN_FUTURE, "offset %llu is in the future (available: %llu)",
                   (unsigned long long)answer->requested, (unsigned long long)answer->available);
    flx_subscriber_over(sub->subscriber, &error);
}

bool flx_watching_answered(flx_shard_sub *sub, const flx_msg *msg)
{
    if (msg->type == FLX_MSG_CACHE_WATCH_STARTED)
        started(sub, &msg->cache_watch_started);
    else if (msg->type == FLX_MSG_SUBSCRIBE_CURSOR_ERROR)
        refused(sub, &msg->subscribe_cursor_error);
    else
        return false;
    return true;
}

/* ---- changes ---- */

static size_t record_bytes(const flx_change *change)
{
    return OFFSET_BYTES + flx_record_bytes(flx_change_bytes(change));
}

static uint8_t *record_put(uint8_t *to, uint64_t offset, const flx_change *change)
{
    to = flx_put_u64(to, offset);
    to = flx_put_u32(to, (uint32_t)flx_change_bytes(change));
    return flx_change_write(to, change);
}

/* Room for records; NULL: there is no memory, and the watch is over. */
static uint8_t *room_for(flx_subscriber *subscriber, size_t len)
{
    uint8_t *at = flx_subscriber_room(subscriber, len);
    flx_error error;
    if (at == NULL) {
        (void)flx_fail(&error, FLX_ERR_NOMEM, "changes of %zu bytes", len);
        flx_subscriber_over(subscriber, &error);
    }
    return at;
}

/* `count` records of the subscriber's arrivals. Changes move the position to `end`. */
static void deliver(flx_shard_sub *sub, flx_slice records, uint32_t count, bool is_retained,
                    uint64_t end, size_t credit)
{
    flx_event_batch batch = {.flags = FLX_FLAG_BINARY_EVENT_BATCH_SHARED |
                                      FLX_FLAG_EVENT_BATCH_TIMESTAMPS,
                             .count = count,
                             .region = records};
    if (!is_retained) {
        batch.flags |= FLX_FLAG_EVENT_BATCH_OFFSETS;
        batch.base_offset = end - count;
    }
    flx_subscriber_hand_over(sub, &batch, sub->subscriber->arrivals, 0, credit);
}

static void deliver_event(flx_shard_sub *sub, const struct flx_msg_cache_event *event,
                          bool is_retained, size_t credit)
{
    const flx_change change = {.kind =
                                   event->has_value ? FLX_CHANGE_KIND_PUT : FLX_CHANGE_KIND_DELETE,
                               .key = event->key,
                               .value = event->has_value ? event->value : (flx_slice){NULL, 0},
                               .expires_at_ms = event->has_value ? event->expires_at_millis : 0};
    const size_t len = record_bytes(&change);
    uint8_t *at = room_for(sub->subscriber, len);
    if (at == NULL)
        return;
    (void)record_put(at, event->offset, &change);
    deliver(sub, (flx_slice){at, len}, 1, is_retained, event->offset + 1, credit);
}

static void take_event(flx_shard_sub *sub, const struct flx_msg_cache_event *event, size_t credit)
{
    flx_backoff_reset(&sub->backoff); /* it really runs */
    const flx_watch_news news = flx_watch_resume_event(&sub->watch_resume, event->offset);
    if (news.is_skipped) {
        flx_reader_consume(&sub->reader, credit);
        return;
    }
    if (news.is_ready && !news.is_retained)
        tell(sub, FLX_GAP_WATCH_READY, event->offset);
    deliver_event(sub, event, news.is_retained, credit);
    if (news.is_ready && news.is_retained)
        tell(sub, FLX_GAP_WATCH_READY, sub->watch_resume.next);
}

static void take_progress(flx_shard_sub *sub, uint64_t resume_from, size_t credit)
{
    const flx_watch_news news = flx_watch_resume_progress(&sub->watch_resume, resume_from);
    flx_reader_consume(&sub->reader, credit);
    if (news.is_ready)
        tell(sub, FLX_GAP_WATCH_READY, resume_from);
    if (!news.is_skipped)
        flx_subscriber_move(sub, resume_from);
}

/* ---- batches ---- */

/* Hands over what of the batch is at `from` or later. False: there is nothing. */
static bool deliver_batch(flx_shard_sub *sub, const flx_change_batch *batch, uint64_t from,
                          size_t credit)
{
    const bool is_retained = batch->kind == FLX_CHANGE_BATCH_SNAPSHOT;
    flx_change_batch rest = *batch;
    flx_change_batch wanted = rest; /* from the first record on that is not known */
    flx_change change;
    uint64_t offset;
    size_t len = 0;
    while (flx_change_batch_next(&rest, &offset, &change)) {
        if (is_retained || offset >= from)
            len += record_bytes(&change);
        else
            wanted = rest;
    }
    if (wanted.count == 0)
        return false;
    const uint32_t count = wanted.count;
    uint8_t *at = room_for(sub->subscriber, len);
    if (at == NULL)
        return true;
    uint8_t *to = at;
    while (flx_change_batch_next(&wanted, &offset, &change))
        to = record_put(to, offset, &change);
    FLX_ASSERT(to == at + len);
    deliver(sub, (flx_slice){at, len}, count, is_retained, batch->end, credit);
    return true;
}

static void take_changes(flx_shard_sub *sub, const flx_change_batch *batch, size_t credit)
{
    const uint64_t from = sub->watch_resume.next;
    const flx_watch_news news = flx_watch_resume_progress(&sub->watch_resume, batch->end);
    if (news.is_skipped) {
        flx_reader_consume(&sub->reader, credit);
        return;
    }
    if (news.is_ready)
        tell(sub, FLX_GAP_WATCH_READY, from);
    if (!deliver_batch(sub, batch, from, credit)) {
        flx_reader_consume(&sub->reader, credit);
        flx_subscriber_move(sub, batch->end);
    }
}

flx_status flx_watching_frame(flx_shard_sub *sub, const flx_frame *frame, size_t credit,
                              flx_error *reterr)
{
    flx_change_batch batch;
    if (frame->flags != FLX_FLAG_CHANGE_BATCH)
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "a watch was sent a frame with flags 0x%04x",
                        frame->flags);
    const flx_status status = flx_change_batch_decode(frame->payload, &batch, reterr);
    if (status != FLX_OK)
        return status;
    if (batch.kind == FLX_CHANGE_BATCH_CHANGES)
        take_changes(sub, &batch, credit);
    else if (!flx_watch_resume_takes_snapshot(&sub->watch_resume, batch.end))
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "a snapshot at %llu that nobody waits for",
                        (unsigned long long)batch.end);
    else if (!deliver_batch(sub, &batch, 0, credit))
        flx_reader_consume(&sub->reader, credit);
    flx_backoff_reset(&sub->backoff); /* it really runs */
    return FLX_OK;
}

bool flx_watching_received(flx_shard_sub *sub, const flx_msg *msg, size_t credit)
{
    if (msg->type == FLX_MSG_CACHE_EVENT) {
        take_event(sub, &msg->cache_event, credit);
    } else if (msg->type == FLX_MSG_CACHE_WATCH_PROGRESS) {
        take_progress(sub, msg->cache_watch_progress.resume_from, credit);
    } else if (msg->type == FLX_MSG_CACHE_WATCH_LAGGED) {
        flx_watch_resume_lagged(&sub->watch_resume, msg->cache_watch_lagged.resume_from);
        flx_shard_ask_again(sub, 0);
    } else if (msg->type == FLX_MSG_EVENT || msg->type == FLX_MSG_EVENT_BATCH) {
        flx_error error; /* no change, and nothing may take it for one */
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "a watch was sent %s", flx_msg_name(msg->type));
        sub->reader.ops->lost(&sub->reader, &error);
    } else {
        return false;
    }
    return true;
}

void flx_watching_read(const flx_message *message, flx_cache_change *ret_change)
{
    flx_change change;
    *ret_change = (flx_cache_change){.shard = message->shard, .hold = message->hold};
    if (message->kind == FLX_MESSAGE_GAP) {
        ret_change->kind = message->gap_reason == FLX_GAP_WATCH_READY ? FLX_CACHE_CHANGE_READY
                                                                      : FLX_CACHE_CHANGE_RESET;
        ret_change->offset = message->offset;
        return;
    }
    ret_change->is_retained = !message->has_offset;
    ret_change->offset = message->timestamp_us;
    const flx_status status = flx_change_read(message->payload, &change, NULL);
    FLX_ASSERT(status == FLX_OK); /* our own bytes */
    ret_change->kind =
        change.kind == FLX_CHANGE_KIND_PUT ? FLX_CACHE_CHANGE_PUT : FLX_CACHE_CHANGE_DELETE;
    ret_change->key = change.key;
    ret_change->value = change.value;
    ret_change->expires_at_ms = change.expires_at_ms;
}
