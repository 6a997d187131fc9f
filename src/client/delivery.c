/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a decoded batch to the application: called back at once, or queued.
 *
 * The queue holds batches, not messages: a batch costs one entry and one reference to the chunk its
 * frame lies in, whatever it carries. With FLX_FULL_WAIT the entries need no bound of their own:
 * each stands for bytes of QUIC window that are not given back before it is taken.
 */
#include "client/subscriber_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <string.h>
#include <unistd.h>

#define ARRIVALS_BYTES 65536U
#define QUEUE_CAP_MIN  64U

void flx_subscriber_signal(flx_subscriber *subscriber)
{
    (void)pthread_cond_broadcast(&subscriber->changed);
    if (subscriber->fd >= 0 && !subscriber->fd_is_set) {
        const uint64_t one = 1;
        subscriber->fd_is_set = write(subscriber->fd, &one, sizeof(one)) == sizeof(one);
    }
}

uint8_t *flx_subscriber_room(flx_subscriber *subscriber, size_t len)
{
    flx_chunk *chunk = subscriber->arrivals;
    if (chunk != NULL && flx_chunk_room(chunk) < len && chunk->cap >= len &&
        flx_chunk_is_sole(chunk))
        chunk->len = 0; /* all that was in it has been released */
    if (chunk == NULL || flx_chunk_room(chunk) < len) {
        chunk = flx_chunk_new(len > ARRIVALS_BYTES ? len : ARRIVALS_BYTES);
        if (chunk == NULL)
            return NULL;
        (void)flx_chunk_unref(subscriber->arrivals);
        subscriber->arrivals = chunk;
    }
    uint8_t *at = chunk->data + chunk->len;
    chunk->len += (uint32_t)len;
    return at;
}

void flx_subscriber_over(flx_subscriber *subscriber, const flx_error *why)
{
    (void)pthread_mutex_lock(&subscriber->mutex);
    const bool was_over = subscriber->over;
    if (!was_over) {
        subscriber->over = true;
        subscriber->why = *why;
        flx_subscriber_signal(subscriber);
    }
    (void)pthread_mutex_unlock(&subscriber->mutex);
    if (was_over)
        return;
    for (uint32_t i = 0; i < subscriber->shard_count; i++)
        flx_shard_stop(&subscriber->shards[i]);
    flx_loop_timer_cancel(subscriber->member.client->loop, &subscriber->timer);
    if (!subscriber->member.freed && subscriber->options.end_fn != NULL)
        subscriber->options.end_fn(subscriber->options.arg, why);
}

/* ---- window ---- */

void flx_subscriber_new_epoch(flx_shard_sub *sub)
{
    (void)pthread_mutex_lock(&sub->subscriber->mutex);
    sub->epoch++;
    sub->credit = 0;
    (void)pthread_mutex_unlock(&sub->subscriber->mutex);
}

void flx_subscriber_give_credit(flx_subscriber *subscriber)
{
    for (uint32_t i = 0; i < subscriber->shard_count; i++) {
        flx_shard_sub *sub = &subscriber->shards[i];
        (void)pthread_mutex_lock(&subscriber->mutex);
        const size_t credit = sub->credit;
        sub->credit = 0;
        subscriber->credit -= credit < subscriber->credit ? credit : subscriber->credit;
        (void)pthread_mutex_unlock(&subscriber->mutex);
        flx_reader_consume(&sub->reader, credit);
    }
}

/* ---- the queue ---- */

static bool grow_queue(flx_subscriber *subscriber)
{
    const uint64_t cap = subscriber->queue_cap == 0 ? QUEUE_CAP_MIN : subscriber->queue_cap * 2;
    flx_queued *queue = flx_calloc(cap, sizeof(*queue));
    if (queue == NULL)
        return false;
    for (uint64_t at = subscriber->queue_first; at < subscriber->queue_next; at++)
        queue[at & (cap - 1)] = subscriber->queue[at & (subscriber->queue_cap - 1)];
    flx_free(subscriber->queue);
    subscriber->queue = queue;
    subscriber->queue_cap = cap;
    return true;
}

/* Lock held. */
static bool push(flx_subscriber *subscriber, const flx_queued *entry)
{
    if (subscriber->queue_next - subscriber->queue_first == subscriber->queue_cap &&
        !grow_queue(subscriber))
        return false;
    subscriber->queue[subscriber->queue_next & (subscriber->queue_cap - 1)] = *entry;
    subscriber->queue_next++;
    subscriber->queue_bytes += entry->bytes;
    flx_subscriber_signal(subscriber);
    return true;
}

static void count_gap(flx_subscriber *subscriber, flx_gap gap)
{
    subscriber->stats.gaps++;
    if (gap.end > gap.from)
        subscriber->stats.missed += gap.end - gap.from;
}

/* Lock held. */
static bool push_gap(flx_shard_sub *sub, flx_gap gap, bool has_offset)
{
    const flx_queued entry = {
        .shard = sub->shard, .epoch = sub->epoch, .has_offset = has_offset, .gap = gap};
    if (!push(sub->subscriber, &entry))
        return false;
    count_gap(sub->subscriber, gap);
    return true;
}

/* Remembers what FLX_FULL_DROP drops until there is room to tell. Lock held. */
static void note_dropped(flx_shard_sub *sub, const flx_event_batch *batch, uint32_t skip)
{
    const bool numbered = (batch->flags & FLX_FLAG_EVENT_BATCH_OFFSETS) != 0;
    flx_gap *gap = &sub->dropped;
    if (gap->reason == FLX_GAP_NONE)
        *gap = (flx_gap){FLX_GAP_DROPPED, numbered ? batch->base_offset + skip : 0,
                         numbered ? batch->base_offset + skip : 0};
    gap->end = numbered ? batch->base_offset + batch->count : gap->end + (batch->count - skip);
}

static bool is_full(const flx_subscriber *subscriber, size_t bytes)
{
    return subscriber->options.full == FLX_FULL_DROP && subscriber->queue_bytes > 0 &&
           subscriber->queue_bytes + bytes > subscriber->options.queue_bytes_max;
}

/* The bytes of a batch in memory that can be counted: where they are, or copied once. */
static flx_chunk *hold_bytes(flx_subscriber *subscriber, flx_event_batch *batch, flx_chunk *chunk)
{
    if (chunk != NULL)
        return flx_chunk_ref(chunk);
    uint8_t *at = flx_subscriber_room(subscriber, batch->region.len + batch->publisher.len);
    if (at == NULL)
        return NULL;
    if (batch->region.len > 0)
        memcpy(at, batch->region.ptr, batch->region.len);
    if (batch->publisher.len > 0)
        memcpy(at + batch->region.len, batch->publisher.ptr, batch->publisher.len);
    batch->region.ptr = at;
    batch->publisher.ptr = at + batch->region.len;
    return flx_chunk_ref(subscriber->arrivals);
}

static flx_queued make_entry(const flx_shard_sub *sub, const flx_event_batch *batch, uint32_t skip,
                             size_t credit)
{
    flx_queued entry = {.left = batch->count - skip,
                        .shard = sub->shard,
                        .epoch = sub->epoch,
                        .has_offset = (batch->flags & FLX_FLAG_EVENT_BATCH_OFFSETS) != 0,
                        .credit = credit,
                        .bytes = batch->region.len + batch->publisher.len,
                        .publisher = batch->publisher};
    flx_event_record passed;
    flx_event_iter_init(&entry.iter, batch);
    for (uint32_t i = 0; i < skip; i++)
        (void)flx_event_iter_next(&entry.iter, &passed);
    return entry;
}

static void count_batch(flx_subscriber *subscriber, const flx_event_batch *batch, uint32_t skip)
{
    const size_t heads =
        (size_t)batch->count * ((batch->flags & FLX_FLAG_EVENT_BATCH_TIMESTAMPS) != 0 ? 12U : 4U);
    subscriber->stats.received += batch->count - skip;
    subscriber->stats.bytes += batch->region.len - heads;
    subscriber->stats.frames++;
}

/* False: no memory. Lock held. */
static bool enqueue(flx_shard_sub *sub, const flx_event_batch *batch, flx_chunk *chunk,
                    uint32_t skip, size_t credit)
{
    flx_subscriber *subscriber = sub->subscriber;
    flx_event_batch kept = *batch;
    if (is_full(subscriber, batch->region.len)) {
        note_dropped(sub, batch, skip);
        return true;
    }
    if (sub->dropped.reason != FLX_GAP_NONE) {
        if (!push_gap(sub, sub->dropped, (batch->flags & FLX_FLAG_EVENT_BATCH_OFFSETS) != 0))
            return false;
        sub->dropped.reason = FLX_GAP_NONE;
    }
    flx_chunk *held = hold_bytes(subscriber, &kept, chunk);
    if (held == NULL)
        return false;
    flx_queued entry = make_entry(sub, &kept, skip, credit);
    entry.chunk = held;
    if (!push(subscriber, &entry)) {
        (void)flx_chunk_unref(held);
        return false;
    }
    count_batch(subscriber, batch, skip);
    return true;
}

/* ---- callbacks ---- */

static void set_position(flx_shard_sub *sub, bool numbered, uint64_t next)
{
    if (!numbered)
        return;
    sub->has_position = true;
    sub->position = next;
}

/* What waits in the queue comes before: then the position moves with that, and later again. */
void flx_subscriber_move(flx_shard_sub *sub, uint64_t next)
{
    flx_subscriber *subscriber = sub->subscriber;
    (void)pthread_mutex_lock(&subscriber->mutex);
    set_position(sub, subscriber->queue_first == subscriber->queue_next, next);
    (void)pthread_mutex_unlock(&subscriber->mutex);
}

static void call_back(flx_shard_sub *sub, const flx_event_batch *batch, uint32_t skip,
                      size_t credit)
{
    flx_subscriber *subscriber = sub->subscriber;
    flx_queued entry = make_entry(sub, batch, skip, credit);
    flx_event_record record;
    while (entry.left-- > 0 && !subscriber->member.ended &&
           flx_event_iter_next(&entry.iter, &record)) {
        const flx_message message = {.kind = FLX_MESSAGE_RECORD,
                                     .shard = sub->shard,
                                     .has_offset = entry.has_offset,
                                     .offset = entry.has_offset ? record.offset : 0,
                                     .timestamp_us = record.timestamp_us,
                                     .payload = record.payload,
                                     .publisher = batch->publisher};
        subscriber->options.message_fn(subscriber->options.arg, &message);
    }
    (void)pthread_mutex_lock(&subscriber->mutex);
    count_batch(subscriber, batch, skip);
    set_position(sub, entry.has_offset, batch->base_offset + batch->count);
    (void)pthread_mutex_unlock(&subscriber->mutex);
    flx_reader_consume(&sub->reader, credit);
}

void flx_subscriber_deliver_gap(flx_shard_sub *sub, flx_gap gap)
{
    flx_subscriber *subscriber = sub->subscriber;
    if (gap.reason == FLX_GAP_NONE || subscriber->member.ended)
        return;
    const bool numbered = gap.reason != FLX_GAP_UNKNOWN;
    (void)pthread_mutex_lock(&subscriber->mutex);
    if (subscriber->options.message_fn == NULL) {
        (void)push_gap(sub, gap, numbered); /* without memory the next gap in offsets tells */
        (void)pthread_mutex_unlock(&subscriber->mutex);
        return;
    }
    count_gap(subscriber, gap);
    if (gap.reason == FLX_GAP_WATCH_READY)
        set_position(sub, true, gap.end);
    (void)pthread_mutex_unlock(&subscriber->mutex);
    const flx_message message = {.kind = FLX_MESSAGE_GAP,
                                 .shard = sub->shard,
                                 .has_offset = numbered,
                                 .gap_reason = gap.reason,
                                 .offset = gap.from,
                                 .gap_end = gap.end};
    subscriber->options.message_fn(subscriber->options.arg, &message);
}

void flx_subscriber_deliver(flx_shard_sub *sub, const flx_event_batch *batch, flx_chunk *chunk,
                            size_t credit)
{
    const bool numbered = (batch->flags & FLX_FLAG_EVENT_BATCH_OFFSETS) != 0;
    uint32_t skip;
    const flx_gap gap = flx_resume_events(
        &sub->resume, numbered ? &batch->base_offset : NULL,
        (batch->flags & FLX_FLAG_EVENT_BATCH_SKIPPED) != 0 ? batch->skipped_before : 0,
        batch->count, &skip);
    flx_subscriber_deliver_gap(sub, gap);
    flx_subscriber_hand_over(sub, batch, chunk, skip, credit);
}

void flx_subscriber_hand_over(flx_shard_sub *sub, const flx_event_batch *batch, flx_chunk *chunk,
                              uint32_t skip, size_t credit)
{
    flx_subscriber *subscriber = sub->subscriber;
    if (subscriber->member.ended || skip == batch->count) {
        flx_reader_consume(&sub->reader, credit);
        return;
    }
    if (subscriber->options.message_fn != NULL) {
        call_back(sub, batch, skip, credit);
        return;
    }
    const bool waits = subscriber->options.full == FLX_FULL_WAIT;
    (void)pthread_mutex_lock(&subscriber->mutex);
    const bool queued = enqueue(sub, batch, chunk, skip, waits ? credit : 0);
    (void)pthread_mutex_unlock(&subscriber->mutex);
    if (!waits)
        flx_reader_consume(&sub->reader, credit);
    if (!queued) {
        flx_error error;
        (void)flx_fail(&error, FLX_ERR_NOMEM, "queue of a subscriber");
        flx_subscriber_over(subscriber, &error);
    }
}
