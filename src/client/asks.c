/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests with one answer; the walk is in the header. Other threads touch only the list of
 * arrivals, the count and the spares.
 */
#include "client/asks.h"

#include "client/client_int.h"
#include "client/refusal.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#include <string.h>

#define FRAME_BYTES 512U /* of a small request; its chunk is used again */
#define SPARE_MAX   256U
#define REOPEN_NS   (50 * FLX_NS_PER_MS) /* before a channel that failed is opened again */
/* As the probe: nothing of these streams has times or publishers. */
#define CHANNEL_BITS                                                                               \
    (FLX_FLAGS_KNOWN & ~(FLX_FLAG_EVENT_BATCH_TIMESTAMPS | FLX_FLAG_EVENT_BATCH_PUBLISHER))

static void slot_ready(flx_channel *channel);
static void slot_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg);
static void slot_lost(flx_channel *channel, const flx_error *error, bool refused);
static const flx_channel_ops slot_ops = {
    .ready = slot_ready, .received = slot_received, .lost = slot_lost};
static void ask_timed_out(void *arg, uint64_t now_ns);
static void look_again(void *arg, uint64_t now_ns);

flx_status flx_asks_init(flx_asks *asks, flx_client *client, flx_error *reterr)
{
    memset(asks, 0, sizeof(*asks));
    asks->arrivals_end = &asks->arrivals;
    asks->next_id = 1;
    asks->timer = (flx_timer){.fire = look_again, .arg = client};
    asks->slot_count = (size_t)client->options.connections * client->options.cache_streams;
    asks->slots = flx_calloc(asks->slot_count, sizeof(*asks->slots));
    if (asks->slots == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "%zu request streams", asks->slot_count);
    for (size_t i = 0; i < asks->slot_count; i++) {
        asks->slots[i].client = client;
        asks->slots[i].uplink = (uint32_t)(i % client->options.connections);
    }
    (void)pthread_mutex_init(&asks->mutex, NULL);
    return FLX_OK;
}

static void free_ask(flx_ask *ask)
{
    (void)flx_chunk_unref(ask->frame);
    flx_free(ask);
}

void flx_asks_done(flx_asks *asks)
{
    if (asks->slots == NULL)
        return;
    FLX_ASSERT(asks->first == NULL && asks->arrivals == NULL);
    for (size_t i = 0; i < asks->slot_count; i++)
        flx_channel_close(&asks->slots[i].channel);
    (void)pthread_mutex_lock(&asks->mutex);
    while (asks->spare != NULL) {
        flx_ask *ask = asks->spare;
        asks->spare = ask->next;
        free_ask(ask);
    }
    flx_free(asks->slots);
    asks->slots = NULL; /* from here on nothing is kept for later */
    asks->slot_count = 0;
    (void)pthread_mutex_unlock(&asks->mutex);
}

/* ---- making (any thread) ---- */

static flx_ask *take_spare(flx_asks *asks)
{
    flx_ask *ask = asks->spare;
    if (ask == NULL)
        return NULL;
    asks->spare = ask->next;
    asks->spare_count--;
    flx_chunk *frame = ask->frame;
    if (frame != NULL && flx_chunk_is_sole(frame))
        frame->len = 0;
    else
        frame = flx_chunk_unref(frame);
    memset(ask, 0, sizeof(*ask));
    ask->frame = frame;
    return ask;
}

flx_status flx_ask_new(flx_client *client, flx_ask **ret_ask, flx_error *reterr)
{
    flx_asks *asks = &client->asks;
    flx_ask *ask = NULL;
    uint64_t id = 0;

    (void)pthread_mutex_lock(&asks->mutex);
    const bool full = asks->count >= client->options.cache_queue_max + asks->slot_count;
    if (!full) {
        asks->count++;
        id = asks->next_id++;
        ask = take_spare(asks);
    }
    (void)pthread_mutex_unlock(&asks->mutex);
    if (full)
        return flx_fail(reterr, FLX_ERR_AGAIN, "%u requests wait already",
                        client->options.cache_queue_max);
    if (ask == NULL)
        ask = flx_calloc(1, sizeof(*ask));
    if (ask == NULL) {
        (void)pthread_mutex_lock(&asks->mutex);
        asks->count--;
        (void)pthread_mutex_unlock(&asks->mutex);
        return flx_fail(reterr, FLX_ERR_NOMEM, "a request");
    }
    ask->id = id;
    ask->client = client;
    *ret_ask = ask;
    return FLX_OK;
}

flx_status flx_ask_encode(flx_ask *ask, const flx_msg *msg, flx_error *reterr)
{
    flx_range range;
    const flx_status status = flx_msg_append_frame(msg, &ask->frame, FRAME_BYTES, &range, reterr);
    if (status != FLX_OK)
        return status;
    FLX_ASSERT(range.chunk == ask->frame && range.start == 0);
    (void)flx_chunk_unref(range.chunk);
    return FLX_OK;
}

void flx_ask_discard(flx_ask *ask)
{
    flx_asks *asks = &ask->client->asks;
    (void)pthread_mutex_lock(&asks->mutex);
    asks->count--;
    const bool keep =
        asks->spare_count < SPARE_MAX && (ask->frame == NULL || ask->frame->cap <= 2 * FRAME_BYTES);
    if (keep) {
        ask->next = asks->spare;
        asks->spare = ask;
        asks->spare_count++;
    }
    (void)pthread_mutex_unlock(&asks->mutex);
    if (!keep)
        free_ask(ask);
}

flx_status flx_ask_submit(flx_ask *ask, flx_error *reterr)
{
    flx_client *client = ask->client;
    flx_asks *asks = &client->asks;
    ask->arriving = NULL;
    (void)pthread_mutex_lock(&client->mutex);
    const bool closing = client->closing;
    if (!closing) {
        (void)pthread_mutex_lock(&asks->mutex);
        const bool was_empty = asks->arrivals == NULL;
        *asks->arrivals_end = ask;
        asks->arrivals_end = &ask->arriving;
        (void)pthread_mutex_unlock(&asks->mutex);
        if (was_empty)
            flx_loop_wake(client->loop); /* under the client's lock, as in flx_client_post */
    }
    (void)pthread_mutex_unlock(&client->mutex);
    if (closing)
        return flx_fail(reterr, FLX_ERR_CLOSED, "the client was freed");
    return FLX_OK;
}

/* ---- the queue (loop thread) ---- */

static void unlink_ask(flx_asks *asks, flx_ask *ask)
{
    if (ask->prev != NULL)
        ask->prev->next = ask->next;
    else
        asks->first = ask->next;
    if (ask->next != NULL)
        ask->next->prev = ask->prev;
    else
        asks->last = ask->prev;
    ask->prev = ask->next = NULL;
}

static void push_back(flx_asks *asks, flx_ask *ask)
{
    ask->prev = asks->last;
    ask->next = NULL;
    if (asks->last != NULL)
        asks->last->next = ask;
    else
        asks->first = ask;
    asks->last = ask;
}

static void push_front(flx_asks *asks, flx_ask *ask)
{
    ask->prev = NULL;
    ask->next = asks->first;
    if (asks->first != NULL)
        asks->first->prev = ask;
    else
        asks->last = ask;
    asks->first = ask;
}

/* Answers an ask that is in no list and no slot any more, and gives it back. */
static void finish(flx_ask *ask, flx_msg *msg, const flx_error *error)
{
    flx_loop_timer_cancel(ask->client->loop, &ask->timer);
    ask->answered(ask, msg, error);
    flx_ask_discard(ask);
}

static void take_arrivals(flx_client *client)
{
    flx_asks *asks = &client->asks;
    (void)pthread_mutex_lock(&asks->mutex);
    flx_ask *list = asks->arrivals;
    asks->arrivals = NULL;
    asks->arrivals_end = &asks->arrivals;
    (void)pthread_mutex_unlock(&asks->mutex);

    while (list != NULL) {
        flx_ask *ask = list;
        list = ask->arriving;
        ask->timer = (flx_timer){.fire = ask_timed_out, .arg = ask};
        flx_status status = FLX_OK;
        if (ask->timeout_ns != UINT64_MAX)
            status = flx_loop_timer_set(client->loop, &ask->timer,
                                        flx_loop_now_ns(client->loop) + ask->timeout_ns);
        if (status == FLX_OK) {
            push_back(asks, ask);
            continue;
        }
        flx_error error;
        (void)flx_fail(&error, FLX_ERR_NOMEM, "the timer of a request");
        finish(ask, NULL, &error);
    }
}

static void ask_timed_out(void *arg, uint64_t now_ns)
{
    flx_ask *ask = arg;
    flx_client *client = ask->client;
    flx_error error;
    (void)now_ns;
    if (ask->slot == NULL) {
        unlink_ask(&client->asks, ask);
        (void)flx_fail(&error, FLX_ERR_TIMEOUT, "not sent in time%s%.160s",
                       client->state == FLX_CLIENT_WAITING ? ": " : "",
                       client->state == FLX_CLIENT_WAITING ? client->error.message : "");
    } else {
        flx_ask_slot *slot = ask->slot;
        slot->ask = NULL;
        ask->slot = NULL;
        flx_channel_close(&slot->channel); /* its late answer must not meet the next request */
        (void)flx_fail(&error, ask->is_read ? FLX_ERR_TIMEOUT : FLX_ERR_UNKNOWN_OUTCOME,
                       "sent, no answer in time");
    }
    finish(ask, NULL, &error);
}

/* ---- slots ---- */

static bool is_offered(const flx_ask *ask, const flx_channel *channel)
{
    return (ask->features & ~channel->offer.features) == 0;
}

/* Puts the ask on the channel; false: it ended instead. */
static bool send_ask(flx_ask_slot *slot, flx_ask *ask)
{
    flx_error error;
    unlink_ask(&slot->client->asks, ask);
    if (!is_offered(ask, &slot->channel)) {
        (void)flx_fail(&error, FLX_ERR_UNSUPPORTED, "the broker does not offer this request");
        finish(ask, NULL, &error);
        return false;
    }
    const flx_range range = {flx_chunk_ref(ask->frame), 0, ask->frame->len};
    slot->ask = ask;
    ask->slot = slot;
    const flx_status status = flx_channel_write_take(&slot->channel, range);
    if (status == FLX_OK)
        return true;
    (void)flx_fail(&error, status, "write a request");
    slot->ask = NULL;
    ask->slot = NULL;
    push_front(&slot->client->asks, ask);
    flx_channel_fail(&slot->channel, &error);
    return false;
}

static void feed(flx_ask_slot *slot)
{
    flx_asks *asks = &slot->client->asks;
    while (asks->first != NULL && slot->ask == NULL && slot->channel.ready)
        (void)send_ask(slot, asks->first);
}

static void slot_ready(flx_channel *channel)
{
    feed(channel->owner);
}

static void slot_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg)
{
    flx_ask_slot *slot = channel->owner;
    flx_ask *ask = slot->ask;
    flx_error error;
    slot->ask = NULL;
    const bool refused = msg != NULL && flx_refusal_from_msg(msg, &error);
    if (frame != NULL || ask == NULL || (refused && msg->type != FLX_MSG_UNSUPPORTED))
        flx_channel_close(channel); /* not asked for, or maybe about to be finished */
    if (ask == NULL)
        return;
    ask->slot = NULL;
    if (frame != NULL) {
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "a request was answered with a binary frame");
        finish(ask, NULL, &error);
    } else {
        finish(ask, refused ? NULL : msg, refused ? &error : NULL);
    }
    if (flx_channel_is_open(channel))
        feed(slot);
    else
        flx_loop_wake(slot->client->loop); /* another channel for what waits */
}

static void slot_lost(flx_channel *channel, const flx_error *error, bool refused)
{
    flx_ask_slot *slot = channel->owner;
    flx_client *client = slot->client;
    flx_ask *ask = slot->ask;
    slot->ask = NULL;
    slot->not_before_ns = flx_loop_now_ns(client->loop) + REOPEN_NS;
    (void)flx_loop_timer_set(client->loop, &client->asks.timer, slot->not_before_ns);
    if (ask == NULL) {
        /* The token is refused while the connection stands: what waits would wait in vain. */
        if (refused && client->asks.first != NULL) {
            flx_ask *first = client->asks.first;
            unlink_ask(&client->asks, first);
            finish(first, NULL, error);
        }
        return;
    }
    ask->slot = NULL;
    if (ask->is_read) {
        push_front(&client->asks, ask);
        return;
    }
    flx_error unknown;
    (void)flx_fail(&unknown, FLX_ERR_UNKNOWN_OUTCOME, "sent, then %.180s", error->message);
    finish(ask, NULL, &unknown);
}

static void look_again(void *arg, uint64_t now_ns)
{
    (void)arg; /* the tick this timer made does it */
    (void)now_ns;
}

/* Opens a channel for a slot; what waits will be fed when it is ready. */
static bool open_slot(flx_client *client, flx_ask_slot *slot, uint64_t now_ns)
{
    flx_uplink *uplink = &client->uplinks[slot->uplink];
    flx_error error;
    if (!flx_uplink_is_up(uplink) || now_ns < slot->not_before_ns)
        return false;
    if (flx_channel_open(&slot->channel, uplink, &slot_ops, slot, CHANNEL_BITS, &error) == FLX_OK)
        return true;
    slot->not_before_ns = now_ns + REOPEN_NS;
    (void)flx_loop_timer_set(client->loop, &client->asks.timer, slot->not_before_ns);
    return false;
}

/* No connection, and no hope for one without somebody's help. */
static void fail_hopeless(flx_client *client)
{
    while (client->asks.first != NULL && client->state == FLX_CLIENT_WAITING &&
           client->error_is_final) {
        flx_ask *ask = client->asks.first;
        const flx_error error = client->error;
        unlink_ask(&client->asks, ask);
        finish(ask, NULL, &error);
    }
}

void flx_asks_service(flx_client *client)
{
    flx_asks *asks = &client->asks;
    take_arrivals(client);
    if (asks->first == NULL)
        return;
    fail_hopeless(client);

    const uint64_t now_ns = flx_loop_now_ns(client->loop);
    size_t opening = 0;
    size_t waiting = 0;
    for (size_t i = 0; i < asks->slot_count && asks->first != NULL; i++) {
        feed(&asks->slots[i]);
        opening += flx_channel_is_open(&asks->slots[i].channel) && !asks->slots[i].channel.ready;
    }
    for (const flx_ask *ask = asks->first; ask != NULL && waiting < asks->slot_count;
         ask = ask->next)
        waiting++;
    for (size_t i = 0; i < asks->slot_count && opening < waiting; i++)
        if (!flx_channel_is_open(&asks->slots[i].channel))
            opening += open_slot(client, &asks->slots[i], now_ns);
}

/* ---- ending ---- */

void flx_asks_cancel(flx_client *client, void *owner, const flx_error *why)
{
    flx_asks *asks = &client->asks;
    flx_ask *next;
    if (asks->slots == NULL)
        return;
    take_arrivals(client);
    for (flx_ask *ask = asks->first; ask != NULL; ask = next) {
        next = ask->next;
        if (owner != NULL && ask->owner != owner)
            continue;
        unlink_ask(asks, ask);
        finish(ask, NULL, why);
        next = asks->first; /* the callback may have changed the list */
    }
    for (size_t i = 0; i < asks->slot_count; i++) {
        flx_ask_slot *slot = &asks->slots[i];
        flx_ask *ask = slot->ask;
        if (ask == NULL || (owner != NULL && ask->owner != owner))
            continue;
        flx_error unknown = *why;
        if (!ask->is_read)
            (void)flx_fail(&unknown, FLX_ERR_UNKNOWN_OUTCOME, "sent, then %.180s", why->message);
        slot->ask = NULL;
        ask->slot = NULL;
        flx_channel_close(&slot->channel);
        finish(ask, NULL, &unknown);
    }
}
