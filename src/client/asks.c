/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests with one answer; the walk is in the header. Other threads touch only the list of
 * arrivals, the count and the spares.
 */
#include "client/asks.h"

#include "client/ask_lines.h"
#include "client/ask_slots.h"
#include "client/client_int.h"
#include "client/places.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#include <string.h>

#define FRAME_BYTES 512U /* of a small request; its chunk is used again */
#define SPARE_MAX   256U

static void ask_timed_out(void *arg, uint64_t now_ns);
static void look_again(void *arg, uint64_t now_ns);

flx_status flx_asks_init(flx_asks *asks, flx_client *client, flx_error *reterr)
{
    memset(asks, 0, sizeof(*asks));
    asks->arrivals_end = &asks->arrivals;
    asks->next_id = 1;
    asks->timer = (flx_timer){.fire = look_again, .arg = client};
    TAILQ_INIT(&asks->moves);
    asks->ports = flx_calloc(client->uplink_count, sizeof(*asks->ports));
    if (asks->ports == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "requests of %u connections", client->uplink_count);
    asks->port_count = client->uplink_count;
    (void)pthread_mutex_init(&asks->mutex, NULL);
    return FLX_OK;
}

/* How many requests can be under way where they travel in JSON. */
static size_t in_json_at_most(const flx_client *client)
{
    return (size_t)client->options.connections * client->options.cache_streams;
}

static void free_ask(flx_ask *ask)
{
    (void)flx_chunk_unref(ask->frame);
    flx_free(ask);
}

void flx_asks_done(flx_asks *asks)
{
    if (asks->ports == NULL)
        return;
    FLX_ASSERT(asks->waiting == 0 && asks->arrivals == NULL);
    for (flx_ask_slot *slot = flx_ask_slot_next(asks, NULL); slot != NULL;
         slot = flx_ask_slot_next(asks, slot))
        flx_ask_slot_close(slot);
    (void)pthread_mutex_lock(&asks->mutex);
    while (asks->spare != NULL) {
        flx_ask *ask = asks->spare;
        asks->spare = ask->next;
        free_ask(ask);
    }
    for (uint32_t i = 0; i < asks->port_count; i++)
        flx_free(asks->ports[i].slots);
    flx_free(asks->ports);
    asks->ports = NULL; /* from here on nothing is kept for later */
    asks->port_count = 0;
    (void)pthread_mutex_unlock(&asks->mutex);
}

/* ---- making (any thread) ---- */

uint64_t flx_asks_next_serial(flx_asks *asks)
{
    (void)pthread_mutex_lock(&asks->mutex);
    const uint64_t serial = ++asks->last_serial;
    (void)pthread_mutex_unlock(&asks->mutex);
    return serial;
}

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
    const bool full = asks->count >= client->options.cache_queue_max + in_json_at_most(client);
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

static flx_status encode(flx_ask *ask, const flx_msg *msg, flx_error *reterr)
{
    flx_range range;
    const flx_status status = flx_msg_append_frame(msg, &ask->frame, FRAME_BYTES, &range, reterr);
    if (status != FLX_OK)
        return status;
    FLX_ASSERT(range.chunk == ask->frame && range.start == 0);
    (void)flx_chunk_unref(range.chunk);
    return FLX_OK;
}

flx_status flx_ask_encode_operation(flx_ask *ask, const flx_operation *operation, flx_error *reterr)
{
    const size_t len = FLX_OP_FRAME_AT + flx_operation_bytes(operation);
    if (len > FLX_FRAME_BYTES_MAX)
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a request of %zu bytes", len);
    if (ask->frame != NULL && ask->frame->cap < len)
        ask->frame = flx_chunk_unref(ask->frame);
    if (ask->frame == NULL)
        ask->frame = flx_chunk_new(len > FRAME_BYTES ? len : FRAME_BYTES);
    if (ask->frame == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a request of %zu bytes", len);
    (void)flx_operation_encode(operation, ask->frame->data + FLX_OP_FRAME_AT);
    ask->frame->len = (uint32_t)len;
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

flx_status flx_ask_send(flx_ask *ask, const flx_msg *msg, flx_error *reterr)
{
    flx_status status = encode(ask, msg, reterr);
    if (status == FLX_OK)
        status = flx_ask_submit(ask, reterr);
    if (status != FLX_OK)
        flx_ask_discard(ask);
    return status;
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
            flx_ask_enqueue(asks, ask);
            continue;
        }
        flx_error error;
        (void)flx_fail(&error, FLX_ERR_NOMEM, "the timer of a request");
        flx_ask_finish(ask, NULL, &error);
    }
}

static void ask_timed_out(void *arg, uint64_t now_ns)
{
    flx_ask *ask = arg;
    flx_client *client = ask->client;
    flx_error error;
    (void)now_ns;
    if (ask->slot == NULL) {
        flx_ask_unlink(&client->asks, ask);
        (void)flx_fail(&error, FLX_ERR_TIMEOUT, "not sent in time%s%.160s",
                       client->state == FLX_CLIENT_WAITING ? ": " : "",
                       client->state == FLX_CLIENT_WAITING ? client->error.message : "");
    } else {
        flx_ask_slot_leave(ask);
        (void)flx_fail(&error, ask->is_read ? FLX_ERR_TIMEOUT : FLX_ERR_UNKNOWN_OUTCOME,
                       "sent, no answer in time");
    }
    flx_ask_finish(ask, NULL, &error);
}

static void look_again(void *arg, uint64_t now_ns)
{
    (void)arg; /* the tick this timer made does it */
    (void)now_ns;
}

/* No connection, and no hope for one without somebody's help. */
static void fail_hopeless(flx_client *client)
{
    while (client->asks.common.first != NULL && client->state == FLX_CLIENT_WAITING &&
           client->error_is_final) {
        flx_ask *ask = client->asks.common.first;
        const flx_error error = client->error;
        flx_ask_unlink(&client->asks, ask);
        flx_ask_finish(ask, NULL, &error);
    }
}

void flx_asks_service(flx_client *client)
{
    flx_asks *asks = &client->asks;
    take_arrivals(client);
    if (asks->waiting == 0)
        return;
    flx_asks_settle(client);
    fail_hopeless(client);

    flx_ask_slots_feed(client);
    if (asks->waiting > 0)
        flx_ask_slots_open(client);
}

/* ---- ending ---- */

static void cancel_sent(flx_ask *ask, const flx_error *why)
{
    flx_error unknown = *why;
    if (!ask->is_read)
        (void)flx_fail(&unknown, FLX_ERR_UNKNOWN_OUTCOME, "sent, then %.180s", why->message);
    ask->slot = NULL;
    flx_ask_finish(ask, NULL, &unknown);
}

/* Ends those that wait in one line. True: there were some, and a callback may have changed lists. */
static bool cancel_waiting(flx_asks *asks, flx_ask_queue *queue, const void *owner,
                           const flx_error *why)
{
    flx_ask *next;
    bool any = false;
    for (flx_ask *ask = queue->first; ask != NULL; ask = next) {
        next = ask->next;
        if (owner != NULL && ask->owner != owner)
            continue;
        flx_ask_unlink(asks, ask);
        flx_ask_finish(ask, NULL, why);
        next = queue->first; /* the callback may have changed the list */
        any = true;
    }
    return any;
}

static void cancel_slot(flx_ask_slot *slot, const void *owner, const flx_error *why)
{
    flx_ask *ask = slot->ask;
    if (ask != NULL && (owner == NULL || ask->owner == owner)) {
        slot->ask = NULL;
        flx_ask_slot_close(slot);
        cancel_sent(ask, why);
    }
    for (uint32_t id = 0; id < slot->pipe.window && slot->pipe.live > 0; id++) {
        ask = slot->pipe.places[id].ask;
        if (ask != NULL && (owner == NULL || ask->owner == owner)) {
            flx_op_pipe_abandon(&slot->pipe, ask);
            cancel_sent(ask, why);
        }
    }
}

void flx_asks_cancel(flx_client *client, void *owner, const flx_error *why)
{
    flx_asks *asks = &client->asks;
    if (asks->ports == NULL)
        return;
    take_arrivals(client);
    flx_place *place = TAILQ_FIRST(&asks->moves);
    while (place != NULL)
        place = cancel_waiting(asks, &place->held, owner, why) ? TAILQ_FIRST(&asks->moves)
                                                               : TAILQ_NEXT(place, moves);
    (void)cancel_waiting(asks, &asks->common, owner, why);
    for (uint32_t i = 0; i < asks->port_count; i++)
        (void)cancel_waiting(asks, &asks->ports[i].line, owner, why);
    for (flx_ask_slot *slot = flx_ask_slot_next(asks, NULL); slot != NULL;
         slot = flx_ask_slot_next(asks, slot))
        cancel_slot(slot, owner, why);
}
