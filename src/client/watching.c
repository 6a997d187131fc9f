/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch as a subscriber: its messages, and its changes as records.
 *
 * A change becomes one record of what a subscriber delivers, so that queue, window and callbacks are
 * those of a subscriber:
 *
 *     u8 is_retained | u64 offset | the change (wire/change.h)
 *
 * A retained one is not numbered, because its offset is not where the watch is.
 */
#include "client/client_int.h"
#include "client/subscriber_int.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/bytes.h"
#include "wire/change.h"
#include "wire/records.h"

#include <string.h>

#define HEAD_BYTES 9

void flx_watching_ask(flx_shard_sub *sub, flx_channel *channel)
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
    msg.cache_watch.subscription_id = sub->reader.id;
    if (flx_channel_send(channel, &msg, &error) != FLX_OK) {
        flx_channel_fail(channel, &error);
        return;
    }
    flx_channel_finish(channel);
}

static void tell(flx_shard_sub *sub, flx_gap_reason reason)
{
    const uint64_t at = sub->watch_resume.next;
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
        tell(sub, FLX_GAP_WATCH_RESET);
    if (news.is_ready)
        tell(sub, FLX_GAP_WATCH_READY);
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

static void deliver(flx_shard_sub *sub, const struct flx_msg_cache_event *event, bool is_retained,
                    size_t credit)
{
    flx_subscriber *subscriber = sub->subscriber;
    const flx_change change = {.kind =
                                   event->has_value ? FLX_CHANGE_KIND_PUT : FLX_CHANGE_KIND_DELETE,
                               .key = event->key,
                               .value = event->has_value ? event->value : (flx_slice){NULL, 0},
                               .expires_at_ms = event->has_value ? event->expires_at_millis : 0};
    const size_t len = HEAD_BYTES + flx_change_bytes(&change);
    uint8_t *at = flx_subscriber_room(subscriber, flx_record_bytes(len));
    flx_error error;
    if (at == NULL) {
        (void)flx_fail(&error, FLX_ERR_NOMEM, "a change of %zu bytes", len);
        flx_subscriber_over(subscriber, &error);
        return;
    }
    uint8_t *to = flx_put_u32(at, (uint32_t)len);
    to = flx_put_u8(to, is_retained);
    to = flx_put_u64(to, event->offset);
    (void)flx_change_write(to, &change);
    flx_event_batch batch = {.flags = FLX_FLAG_BINARY_EVENT_BATCH_SHARED,
                             .count = 1,
                             .region = {at, flx_record_bytes(len)}};
    if (!is_retained) {
        batch.flags |= FLX_FLAG_EVENT_BATCH_OFFSETS;
        batch.base_offset = event->offset;
    }
    flx_subscriber_hand_over(sub, &batch, subscriber->arrivals, 0, credit);
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
        tell(sub, FLX_GAP_WATCH_READY);
    deliver(sub, event, news.is_retained, credit);
    if (news.is_ready && news.is_retained)
        tell(sub, FLX_GAP_WATCH_READY);
}

static void take_progress(flx_shard_sub *sub, uint64_t resume_from, size_t credit)
{
    const flx_watch_news news = flx_watch_resume_progress(&sub->watch_resume, resume_from);
    flx_reader_consume(&sub->reader, credit);
    if (news.is_ready)
        tell(sub, FLX_GAP_WATCH_READY);
    if (!news.is_skipped)
        flx_subscriber_move(sub, resume_from);
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
    } else {
        return false;
    }
    return true;
}

void flx_watching_read(const flx_message *message, flx_cache_change *ret_change)
{
    flx_cursor cursor = flx_cursor_of(message->payload);
    flx_change change;
    *ret_change = (flx_cache_change){.shard = message->shard, .hold = message->hold};
    if (message->kind == FLX_MESSAGE_GAP) {
        ret_change->kind = message->gap_reason == FLX_GAP_WATCH_READY ? FLX_CACHE_CHANGE_READY
                                                                      : FLX_CACHE_CHANGE_RESET;
        ret_change->offset = message->offset;
        return;
    }
    ret_change->is_retained = flx_cursor_u8(&cursor) != 0;
    ret_change->offset = flx_cursor_u64(&cursor);
    const flx_slice record = {cursor.at, flx_cursor_left(&cursor)};
    const flx_status status = flx_change_read(record, &change, NULL);
    FLX_ASSERT(status == FLX_OK); /* our own bytes */
    ret_change->kind =
        change.kind == FLX_CHANGE_KIND_PUT ? FLX_CACHE_CHANGE_PUT : FLX_CACHE_CHANGE_DELETE;
    ret_change->key = change.key;
    ret_change->value = change.value;
    ret_change->expires_at_ms = change.expires_at_ms;
}
