/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The callers' side of a subscriber, and its life on the loop: how many shards, which of them is
 * due, and the window the application has given back.
 */
#include "client/refusal.h"
#include "client/subscriber_int.h"
#include "client/waiter.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SHARDS_MAX 65536U

/* ---- making ---- */

static flx_status read_options(const flx_subscriber_options *from, flx_subscriber_options *options,
                               flx_error *reterr)
{
    const flx_subscriber_options defaults = FLX_SUBSCRIBER_OPTIONS_INIT;
    *options = defaults;
    if (from != NULL) {
        if (from->struct_size < sizeof(size_t) || from->struct_size > sizeof(*options))
            return flx_fail(reterr, FLX_ERR_INVALID,
                            "options.struct_size is not one of this library");
        memcpy(options, from, from->struct_size);
    }
    if (options->queue_bytes_max == 0)
        options->queue_bytes_max = 4U << 20;
    if (options->not_found_ms == 0)
        options->not_found_ms = 5000;
    if (options->from > FLX_FROM_TIME || options->full > FLX_FULL_DROP)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.from or options.full is no such value");
    if (options->shard != FLX_SHARD_ALL && options->shard >= SHARDS_MAX)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.shard is above %u", SHARDS_MAX - 1);
    return FLX_OK;
}

/* Loop thread, or before the loop knows the subscriber. `first` is the number of shards[0]. */
static flx_status make_shards(flx_subscriber *subscriber, uint32_t first, uint32_t count,
                              flx_error *reterr)
{
    const flx_client_options *options = &subscriber->member.client->options;
    const flx_watching *watching = subscriber->watching;
    flx_shard_sub *shards = flx_calloc(count, sizeof(*shards));
    if (shards == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "%u shards", count);
    for (uint32_t i = 0; i < count; i++) {
        shards[i].reader.ops = &flx_shard_ops;
        shards[i].subscriber = subscriber;
        shards[i].shard = first + i;
        shards[i].backoff =
            (flx_backoff){.min_ms = options->backoff_min_ms, .max_ms = options->backoff_max_ms};
        flx_seat_init(&shards[i].seat, &subscriber->member, &subscriber->name,
                      watching != NULL ? FLX_PLACEMENT_WATCH : FLX_PLACEMENT_SUBSCRIBE, first + i);
        if (watching != NULL && watching->is_key)
            shards[i].seat.key = (flx_slice){watching->text, watching->len};
        flx_resume_init(&shards[i].resume, subscriber->options.from, subscriber->options.offset);
        if (subscriber->watching != NULL)
            flx_watch_resume_init(&shards[i].watch_resume, subscriber->watching->from,
                                  subscriber->options.offset);
        if (subscriber->options.from == FLX_FROM_OFFSET) {
            shards[i].has_position = true;
            shards[i].position = subscriber->options.offset;
        }
    }
    (void)pthread_mutex_lock(&subscriber->mutex);
    subscriber->shards = shards;
    subscriber->shard_count = count;
    (void)pthread_mutex_unlock(&subscriber->mutex);
    return FLX_OK;
}

static void free_memory(flx_subscriber *subscriber)
{
    for (uint64_t at = subscriber->queue_first; at < subscriber->queue_next; at++)
        (void)flx_chunk_unref(subscriber->queue[at & (subscriber->queue_cap - 1)].chunk);
    flx_free(subscriber->queue);
    flx_free(subscriber->shards);
    flx_free(subscriber->watching);
    (void)flx_chunk_unref(subscriber->arrivals);
    if (subscriber->fd >= 0)
        (void)close(subscriber->fd);
    (void)pthread_cond_destroy(&subscriber->changed);
    (void)pthread_mutex_destroy(&subscriber->mutex);
    flx_free(subscriber);
}

static const char *kind_of(const flx_subscriber *subscriber)
{
    return subscriber->watching != NULL ? "cache" : "stream";
}

static flx_status fill(flx_subscriber *subscriber, flx_client *client, const char *name,
                       const flx_subscriber_options *options, flx_error *reterr)
{
    flx_status status = read_options(options, &subscriber->options, reterr);
    if (status != FLX_OK)
        return status;
    return flx_scoped_name_parse(name, client->options.tenant, client->options.default_namespace,
                                 kind_of(subscriber), &subscriber->name, reterr);
}

flx_status flx_subscriber_new(flx_client *client, const char *stream,
                              const flx_subscriber_options *options,
                              flx_subscriber **ret_subscriber, flx_error *reterr)
{
    return flx_subscriber_make(client, stream, options, NULL, ret_subscriber, reterr);
}

flx_status flx_subscriber_make(flx_client *client, const char *name,
                               const flx_subscriber_options *options, flx_watching *watching,
                               flx_subscriber **ret_subscriber, flx_error *reterr)
{
    flx_subscriber *subscriber = flx_calloc(1, sizeof(*subscriber));
    if (subscriber == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a subscriber");
    subscriber->fd = -1;
    (void)pthread_mutex_init(&subscriber->mutex, NULL);
    flx_cond_init(&subscriber->changed);
    subscriber->timer = (flx_timer){.fire = flx_subscriber_timer_fired, .arg = subscriber};
    subscriber->backoff = (flx_backoff){.min_ms = client->options.backoff_min_ms,
                                        .max_ms = client->options.backoff_max_ms};
    subscriber->watching = watching;
    flx_status status = fill(subscriber, client, name, options, reterr);
    if (status == FLX_OK)
        status = flx_member_init(&subscriber->member, &flx_subscriber_ops, client, reterr);
    if (status != FLX_OK) {
        subscriber->watching = NULL; /* the caller's again */
        free_memory(subscriber);
        return status;
    }
    if (subscriber->options.shard != FLX_SHARD_ALL)
        status = make_shards(subscriber, subscriber->options.shard, 1, reterr);
    if (status != FLX_OK) {
        subscriber->watching = NULL;
        flx_member_free(&subscriber->member);
        return status;
    }
    flx_member_poke(&subscriber->member);
    *ret_subscriber = subscriber;
    return FLX_OK;
}

flx_subscriber *flx_subscriber_free(flx_subscriber *subscriber)
{
    if (subscriber != NULL)
        flx_member_free(&subscriber->member);
    return NULL;
}

/* ---- on the loop ---- */

static void retry_shards(flx_subscriber *subscriber, uint64_t now_ns)
{
    const uint32_t pause_ms =
        flx_backoff_next_ms(&subscriber->backoff, flx_client_random(subscriber->member.client));
    subscriber->ask_due_ns = now_ns + pause_ms * FLX_NS_PER_MS;
    flx_member_poke(&subscriber->member);
}

/* 0 shards: the broker does not know the stream, or not yet. */
static void stream_unknown(flx_subscriber *subscriber, uint64_t now_ns)
{
    flx_error error;
    if (subscriber->not_found_since_ns == 0)
        subscriber->not_found_since_ns = now_ns;
    if (now_ns - subscriber->not_found_since_ns <
        subscriber->options.not_found_ms * FLX_NS_PER_MS) {
        retry_shards(subscriber, now_ns);
        return;
    }
    (void)flx_fail(&error, FLX_ERR_NOT_FOUND, "no %s '%s/%s/%s'", kind_of(subscriber),
                   subscriber->name.tenant, subscriber->name.namespace_, subscriber->name.name);
    flx_subscriber_over(subscriber, &error);
}

static void shards_answered(void *arg, uint32_t shards, const flx_error *error)
{
    flx_subscriber *subscriber = arg;
    const uint64_t now_ns = flx_loop_now_ns(subscriber->member.client->loop);
    flx_error failure;
    subscriber->asking_shards = false;
    if (subscriber->member.ended || subscriber->over)
        return;
    if (error != NULL && error->status == FLX_ERR_UNSUPPORTED) {
        shards = 1; /* a broker that does not tell has one */
    } else if (error != NULL) {
        const bool lasting = error->retry == FLX_RETRY_FATAL ||
                             error->status == FLX_ERR_UNAUTHENTICATED ||
                             error->status == FLX_ERR_DENIED || error->status == FLX_ERR_INVALID;
        if (lasting)
            flx_subscriber_over(subscriber, error);
        else
            retry_shards(subscriber, now_ns);
        return;
    }
    if (shards == 0) {
        stream_unknown(subscriber, now_ns);
        return;
    }
    flx_status status = FLX_OK;
    if (shards > SHARDS_MAX)
        status =
            flx_fail(&failure, FLX_ERR_PROTOCOL, "a %s of %u shards", kind_of(subscriber), shards);
    else
        status = make_shards(subscriber, 0, shards, &failure);
    if (status != FLX_OK)
        flx_subscriber_over(subscriber, &failure);
    else
        flx_member_poke(&subscriber->member);
}

/* Asks for the number of shards while it is not known. Returns when to look again. */
static uint64_t learn_shards(flx_subscriber *subscriber, uint64_t now_ns)
{
    flx_client *client = subscriber->member.client;
    if (subscriber->asking_shards)
        return UINT64_MAX;
    if (now_ns < subscriber->ask_due_ns)
        return subscriber->ask_due_ns;
    subscriber->asking_shards = true;
    /* Waiting for a connection is no failure: the request waits with the subscriber. */
    const flx_msg_type type =
        subscriber->watching != NULL ? FLX_MSG_CACHE_SHARDS : FLX_MSG_STREAM_SHARDS;
    if (flx_ask_shards(client, type, &subscriber->name, &subscriber->member, UINT64_MAX,
                       shards_answered, subscriber, NULL) == FLX_OK)
        return UINT64_MAX;
    subscriber->asking_shards = false;
    subscriber->ask_due_ns = now_ns + client->options.backoff_max_ms * FLX_NS_PER_MS;
    return subscriber->ask_due_ns;
}

/* No connection, and no hope for one without somebody's help. */
static bool is_hopeless(flx_subscriber *subscriber)
{
    const flx_client *client = subscriber->member.client;
    if (client->state != FLX_CLIENT_WAITING || !client->error_is_final || subscriber->started > 0)
        return false; /* who has run before goes on hoping: a token is renewed, a CA replaced */
    const flx_error error = client->error;
    flx_subscriber_over(subscriber, &error);
    return true;
}

static void subscriber_service(flx_member *member)
{
    flx_subscriber *subscriber = (flx_subscriber *)member; /* its first field */
    flx_loop *loop = member->client->loop;
    const uint64_t now_ns = flx_loop_now_ns(loop);
    uint64_t due_ns = UINT64_MAX;
    if (subscriber->over || is_hopeless(subscriber))
        return;
    if (subscriber->shard_count == 0)
        due_ns = learn_shards(subscriber, now_ns);
    flx_subscriber_give_credit(subscriber);
    for (uint32_t i = 0; i < subscriber->shard_count && !subscriber->over; i++) {
        const uint64_t at_ns = flx_shard_service(&subscriber->shards[i], now_ns);
        due_ns = at_ns < due_ns ? at_ns : due_ns;
    }
    if (subscriber->over || member->ended || due_ns == UINT64_MAX)
        return;
    (void)flx_loop_timer_set(loop, &subscriber->timer, due_ns);
}

void flx_subscriber_timer_fired(void *arg, uint64_t now_ns)
{
    flx_subscriber *subscriber = arg;
    (void)now_ns;
    subscriber_service(&subscriber->member);
}

static void subscriber_end(flx_member *member, const flx_error *why)
{
    flx_subscriber *subscriber = (flx_subscriber *)member;
    flx_error closed = *why;
    closed.status = FLX_ERR_CLOSED;
    flx_asks_cancel(member->client, member, why);
    flx_subscriber_over(subscriber, &closed);
}

static void subscriber_destroy(flx_member *member)
{
    free_memory((flx_subscriber *)member);
}

const flx_member_ops flx_subscriber_ops = {
    .service = subscriber_service, .end = subscriber_end, .destroy = subscriber_destroy};

/* ---- receiving ---- */

flx_status flx_subscriber_wait(flx_subscriber *subscriber, uint32_t timeout_ms, flx_error *reterr)
{
    flx_client *client = subscriber->member.client;
    flx_status status = flx_client_may_wait(client, reterr);
    if (status != FLX_OK)
        return status;
    const uint64_t deadline_ns = flx_deadline_ns(timeout_ms);
    (void)pthread_mutex_lock(&subscriber->mutex);
    while (!subscriber->over &&
           (subscriber->shard_count == 0 || subscriber->started < subscriber->shard_count)) {
        if (!flx_client_wait(client, &subscriber->mutex, &subscriber->changed, deadline_ns)) {
            const bool refused = subscriber->why.status != FLX_OK;
            status =
                flx_fail(reterr, FLX_ERR_TIMEOUT, "not subscribed in %u ms%s%.160s", timeout_ms,
                         refused ? ": " : "", refused ? subscriber->why.message : "");
            break;
        }
    }
    if (status == FLX_OK && subscriber->over) {
        status = subscriber->why.status;
        if (reterr != NULL)
            *reterr = subscriber->why;
    }
    (void)pthread_mutex_unlock(&subscriber->mutex);
    return status;
}

/* All of an entry is taken: its window goes back. Lock held. */
static void pop(flx_subscriber *subscriber, flx_queued *entry)
{
    const uint32_t index = entry->shard - subscriber->shards[0].shard;
    flx_shard_sub *sub = &subscriber->shards[index];
    subscriber->queue_bytes -= entry->bytes;
    if (sub->epoch == entry->epoch) {
        sub->credit += entry->credit;
        subscriber->credit += entry->credit;
    }
    (void)flx_chunk_unref(entry->chunk);
    subscriber->queue_first++;
}

static flx_message make_gap(const flx_queued *entry)
{
    return (flx_message){.kind = FLX_MESSAGE_GAP,
                         .shard = entry->shard,
                         .has_offset = entry->has_offset,
                         .gap_reason = entry->gap.reason,
                         .offset = entry->gap.from,
                         .gap_end = entry->gap.end};
}

/* Where the subscriber is behind this record. A watch has the offset of a change in front of it, and
 * behind the last one of a batch it is where that ends (watching.c). */
static uint64_t next_of(const flx_subscriber *subscriber, const flx_queued *entry,
                        const flx_event_record *record)
{
    const bool is_inside = subscriber->watching != NULL && entry->left > 1;
    return is_inside ? record->timestamp_us + 1 : record->offset + 1;
}

/* The next message, which must be there. Lock held. */
static flx_message take_one(flx_subscriber *subscriber)
{
    flx_queued *entry = &subscriber->queue[subscriber->queue_first & (subscriber->queue_cap - 1)];
    flx_event_record record;
    if (entry->chunk == NULL) {
        const flx_message gap = make_gap(entry);
        if (entry->gap.reason == FLX_GAP_WATCH_READY) {
            flx_shard_sub *sub = &subscriber->shards[entry->shard - subscriber->shards[0].shard];
            sub->has_position = true;
            sub->position = entry->gap.end;
        }
        pop(subscriber, entry);
        return gap;
    }
    const bool there = flx_event_iter_next(&entry->iter, &record);
    FLX_ASSERT(there && entry->left > 0); /* the region was checked when it was decoded */
    const flx_message message = {.kind = FLX_MESSAGE_RECORD,
                                 .shard = entry->shard,
                                 .has_offset = entry->has_offset,
                                 .offset = entry->has_offset ? record.offset : 0,
                                 .timestamp_us = record.timestamp_us,
                                 .payload = record.payload,
                                 .publisher = entry->publisher,
                                 .hold = flx_chunk_ref(entry->chunk)};
    if (entry->has_offset) {
        flx_shard_sub *sub = &subscriber->shards[entry->shard - subscriber->shards[0].shard];
        sub->has_position = true;
        sub->position = next_of(subscriber, entry, &record);
    }
    if (--entry->left == 0)
        pop(subscriber, entry);
    return message;
}

static void clear_fd(flx_subscriber *subscriber)
{
    uint64_t count;
    if (subscriber->fd < 0 || !subscriber->fd_is_set || subscriber->over ||
        subscriber->queue_first < subscriber->queue_next)
        return; /* stays readable when it is over */
    subscriber->fd_is_set = read(subscriber->fd, &count, sizeof(count)) != sizeof(count);
}

/* Waits for the queue to have something. Lock held. */
static flx_status wait_filled(flx_subscriber *subscriber, uint32_t timeout_ms, flx_error *reterr)
{
    flx_client *client = subscriber->member.client;
    const uint64_t deadline_ns = timeout_ms > 0 ? flx_deadline_ns(timeout_ms) : 0;
    while (subscriber->queue_first == subscriber->queue_next) {
        if (subscriber->over) {
            if (reterr != NULL)
                *reterr = subscriber->why;
            return subscriber->why.status;
        }
        if (timeout_ms == 0 ||
            !flx_client_wait(client, &subscriber->mutex, &subscriber->changed, deadline_ns))
            return flx_fail(reterr, FLX_ERR_AGAIN, "no message in %u ms", timeout_ms);
    }
    return FLX_OK;
}

flx_status flx_subscriber_receive_many(flx_subscriber *subscriber, uint32_t timeout_ms,
                                       flx_message *ret_messages, size_t cap, size_t *ret_count,
                                       flx_error *reterr)
{
    flx_client *client = subscriber->member.client;
    if (subscriber->options.message_fn != NULL)
        return flx_fail(reterr, FLX_ERR_INVALID, "the subscriber has a message_fn");
    if (cap == 0)
        return flx_fail(reterr, FLX_ERR_INVALID, "room for no message");
    flx_status status = timeout_ms > 0 ? flx_client_may_wait(client, reterr) : FLX_OK;
    if (status != FLX_OK)
        return status;

    size_t count = 0;
    (void)pthread_mutex_lock(&subscriber->mutex);
    status = wait_filled(subscriber, timeout_ms, reterr);
    while (status == FLX_OK && count < cap && subscriber->queue_first < subscriber->queue_next)
        ret_messages[count++] = take_one(subscriber);
    clear_fd(subscriber);
    const bool poke = subscriber->credit >= client->options.stream_window_bytes / 8;
    (void)pthread_mutex_unlock(&subscriber->mutex);
    if (poke)
        flx_member_poke(&subscriber->member);
    if (status == FLX_OK)
        *ret_count = count;
    return status;
}

flx_status flx_subscriber_receive(flx_subscriber *subscriber, uint32_t timeout_ms,
                                  flx_message *ret_message, flx_error *reterr)
{
    size_t count;
    return flx_subscriber_receive_many(subscriber, timeout_ms, ret_message, 1, &count, reterr);
}

int flx_subscriber_fd(flx_subscriber *subscriber)
{
    if (subscriber->options.message_fn != NULL)
        return -1;
    (void)pthread_mutex_lock(&subscriber->mutex);
    if (subscriber->fd < 0) {
        subscriber->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (subscriber->over || subscriber->queue_first < subscriber->queue_next)
            flx_subscriber_signal(subscriber);
    }
    const int fd = subscriber->fd;
    (void)pthread_mutex_unlock(&subscriber->mutex);
    return fd;
}

bool flx_subscriber_position(flx_subscriber *subscriber, uint32_t shard, uint64_t *ret_next_offset)
{
    bool known = false;
    (void)pthread_mutex_lock(&subscriber->mutex);
    if (subscriber->shard_count > 0 && shard >= subscriber->shards[0].shard &&
        shard - subscriber->shards[0].shard < subscriber->shard_count) {
        const flx_shard_sub *sub = &subscriber->shards[shard - subscriber->shards[0].shard];
        known = sub->has_position;
        if (known)
            *ret_next_offset = sub->position;
    }
    (void)pthread_mutex_unlock(&subscriber->mutex);
    return known;
}

/* ---- messages ---- */

static flx_status copy_message(const flx_message *message, flx_message *ret_message,
                               flx_error *reterr)
{
    const size_t len = message->payload.len + message->publisher.len;
    *ret_message = *message;
    if (len == 0)
        return FLX_OK;
    flx_chunk *chunk = flx_chunk_new(len);
    if (chunk == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a message of %zu bytes", len);
    if (message->payload.len > 0)
        memcpy(chunk->data, message->payload.ptr, message->payload.len);
    if (message->publisher.len > 0)
        memcpy(chunk->data + message->payload.len, message->publisher.ptr, message->publisher.len);
    chunk->len = (uint32_t)len;
    ret_message->payload.ptr = chunk->data;
    ret_message->publisher.ptr = chunk->data + message->payload.len;
    ret_message->hold = chunk;
    return FLX_OK;
}

flx_status flx_message_keep(const flx_message *message, flx_message *ret_message, flx_error *reterr)
{
    if (message->hold == NULL)
        return copy_message(message, ret_message, reterr);
    *ret_message = *message;
    (void)flx_chunk_ref(message->hold);
    return FLX_OK;
}

void flx_message_release(flx_message *message)
{
    if (message == NULL)
        return;
    (void)flx_chunk_unref(message->hold);
    memset(message, 0, sizeof(*message));
}

void flx_subscriber_get_stats(flx_subscriber *subscriber, flx_subscriber_stats *ret_stats)
{
    const size_t size = ret_stats->struct_size;
    (void)pthread_mutex_lock(&subscriber->mutex);
    flx_subscriber_stats stats = subscriber->stats;
    stats.queue_bytes = (uint32_t)subscriber->queue_bytes;
    stats.shards = subscriber->started;
    (void)pthread_mutex_unlock(&subscriber->mutex);
    stats.struct_size = size;
    memcpy(ret_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
}
