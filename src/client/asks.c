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

/* The asks on it have been taken off. */
static void close_slot(flx_ask_slot *slot)
{
    flx_op_pipe_done(&slot->pipe);
    flx_channel_close(&slot->channel);
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
        close_slot(&asks->slots[i]);
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
    asks->waiting--;
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
    asks->waiting++;
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
    asks->waiting++;
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

/* Takes an ask that was sent and not answered in time off its slot, which is not used on: in JSON a
 * late answer would meet the next request. */
static void leave_slot(flx_ask *ask)
{
    flx_ask_slot *slot = ask->slot;
    ask->slot = NULL;
    if (slot->ask == ask) {
        slot->ask = NULL;
    } else {
        flx_op_pipe_abandon(&slot->pipe, ask);
        slot->pipe.is_overdue = true;
    }
    if (slot->ask == NULL && slot->pipe.live == 0)
        close_slot(slot);
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
        leave_slot(ask);
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

/* The operation as the JSON message a channel without operations takes. */
static flx_status send_as_json(flx_channel *channel, const flx_ask *ask, flx_error *reterr)
{
    flx_slice bytes = {ask->frame->data + FLX_OP_FRAME_AT, ask->frame->len - FLX_OP_FRAME_AT};
    flx_operation_head head;
    flx_operation operation;
    flx_msg msg;
    FLX_ASSERT(flx_operations_next(&bytes, &head));
    const flx_status status = flx_operation_decode(&head, &operation, reterr);
    if (status != FLX_OK)
        return status;
    flx_op_to_msg(&operation, &msg);
    flx_cache_msg_set_target(&msg, ask->name, ask->id);
    return flx_channel_send(channel, &msg, reterr);
}

static flx_status send_json(flx_ask_slot *slot, const flx_ask *ask, flx_error *reterr)
{
    if (!is_offered(ask, &slot->channel))
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED, "the broker does not offer this request");
    if (ask->name != NULL)
        return send_as_json(&slot->channel, ask, reterr);
    const flx_range range = {flx_chunk_ref(ask->frame), 0, ask->frame->len};
    const flx_status status = flx_channel_write_take(&slot->channel, range);
    return status == FLX_OK ? FLX_OK : flx_fail(reterr, status, "write a request");
}

/* Whether the channel is at fault, and not the request. */
static bool is_of_channel(flx_status status)
{
    return status != FLX_ERR_UNSUPPORTED && status != FLX_ERR_TOO_LARGE;
}

static bool takes_operation(const flx_ask_slot *slot, const flx_ask *ask)
{
    return ask->name != NULL && slot->pipe.window > 0;
}

/* One request in JSON, or operations up to the window: not both at a time, so that an `error`, which
 * may end the stream, ends only what it is about. */
static bool may_send(const flx_ask_slot *slot, const flx_ask *ask)
{
    if (!slot->channel.ready || slot->ask != NULL)
        return false;
    return takes_operation(slot, ask) ? flx_op_pipe_has_room(&slot->pipe) : slot->pipe.out == 0;
}

/* Puts the ask on the channel, or ends it. */
static void send_ask(flx_ask_slot *slot, flx_ask *ask)
{
    flx_error error;
    flx_status status;
    unlink_ask(&slot->client->asks, ask);
    ask->slot = slot;
    if (takes_operation(slot, ask)) {
        status = flx_op_pipe_put(&slot->pipe, &slot->channel, ask);
        if (status != FLX_OK)
            (void)flx_fail(&error, status, "write a request");
    } else {
        slot->ask = ask;
        status = send_json(slot, ask, &error);
        if (status != FLX_OK)
            slot->ask = NULL;
    }
    if (status == FLX_OK)
        return;
    ask->slot = NULL;
    if (is_of_channel(status)) {
        push_front(&slot->client->asks, ask);
        flx_channel_fail(&slot->channel, &error);
    } else {
        finish(ask, NULL, &error);
    }
}

/* At most `limit` of what waits; what is put in one go leaves in one frame. */
static void feed(flx_ask_slot *slot, size_t limit)
{
    flx_asks *asks = &slot->client->asks;
    for (; limit > 0 && asks->first != NULL && may_send(slot, asks->first); limit--)
        send_ask(slot, asks->first);
    if (!slot->channel.ready)
        return;
    const flx_status status = flx_op_pipe_flush(&slot->pipe, &slot->channel);
    if (status != FLX_OK) {
        flx_error error;
        (void)flx_fail(&error, status, "write requests");
        flx_channel_fail(&slot->channel, &error);
    }
}

static void slot_ready(flx_channel *channel)
{
    flx_ask_slot *slot = channel->owner;
    if (channel->offer.operation_window > 0)
        (void)flx_op_pipe_init(&slot->pipe, channel->offer.operation_window);
    feed(slot, SIZE_MAX);
}

static void operation_answered(flx_ask_slot *slot, const flx_operation_head *head)
{
    flx_operation_answer answer;
    flx_ask *ask;
    flx_error error;
    flx_msg msg;
    if (flx_operation_answer_decode(head, &answer, &error) != FLX_OK ||
        !flx_op_pipe_answered(&slot->pipe, head->id, &ask)) {
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "an answer that nothing was asked for");
        flx_channel_fail(&slot->channel, &error);
        return;
    }
    if (ask == NULL)
        return;
    ask->slot = NULL;
    const bool is_fine = flx_op_answer_to_msg(&answer, &msg, &error);
    finish(ask, is_fine ? &msg : NULL, is_fine ? NULL : &error);
}

static void slot_operations(flx_ask_slot *slot, const flx_frame *frame)
{
    flx_error error;
    uint32_t count;
    flx_slice rest = frame->payload;
    flx_operation_head head;
    if (flx_operations_check(rest, UINT32_MAX, &count, &error) != FLX_OK) {
        flx_channel_fail(&slot->channel, &error);
        return;
    }
    /* A callback may end the channel, and with it the chunk this lies in. */
    flx_chunk *chunk = frame->chunk != NULL ? flx_chunk_ref(frame->chunk) : NULL;
    while (flx_channel_is_open(&slot->channel) && flx_operations_next(&rest, &head))
        operation_answered(slot, &head);
    (void)flx_chunk_unref(chunk);
    if (slot->pipe.is_overdue && slot->pipe.live == 0)
        close_slot(slot);
}

static void slot_json(flx_ask_slot *slot, const flx_frame *frame, flx_msg *msg)
{
    flx_ask *ask = slot->ask;
    flx_error error;
    slot->ask = NULL;
    const bool refused = msg != NULL && flx_refusal_from_msg(msg, &error);
    if (frame != NULL || ask == NULL || (refused && msg->type != FLX_MSG_UNSUPPORTED)) {
        if (slot->pipe.live > 0) { /* not asked for, and others wait here: they hear it */
            (void)flx_fail(&error, FLX_ERR_PROTOCOL, "an answer that nothing was asked for");
            flx_channel_fail(&slot->channel, &error);
            return;
        }
        close_slot(slot); /* not asked for, or maybe about to be finished */
    }
    if (ask == NULL)
        return;
    ask->slot = NULL;
    if (frame != NULL) {
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "a request was answered with a binary frame");
        finish(ask, NULL, &error);
    } else {
        finish(ask, refused ? NULL : msg, refused ? &error : NULL);
    }
}

static void slot_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg)
{
    flx_ask_slot *slot = channel->owner;
    if (frame != NULL && frame->flags == FLX_FLAG_OPERATIONS)
        slot_operations(slot, frame);
    else
        slot_json(slot, frame, msg);
    if (flx_channel_is_open(channel))
        feed(slot, SIZE_MAX);
    else
        flx_loop_wake(slot->client->loop); /* another channel for what waits */
}

/* The channel is gone: what only reads is asked again, what may have been done is said to be so. */
static void ask_lost(flx_client *client, flx_ask *ask, const flx_error *error)
{
    ask->slot = NULL;
    if (ask->is_read) {
        push_front(&client->asks, ask);
        return;
    }
    flx_error unknown;
    (void)flx_fail(&unknown, FLX_ERR_UNKNOWN_OUTCOME, "sent, then %.180s", error->message);
    finish(ask, NULL, &unknown);
}

static void slot_lost(flx_channel *channel, const flx_error *error, bool refused)
{
    flx_ask_slot *slot = channel->owner;
    flx_client *client = slot->client;
    const bool had_asks = slot->ask != NULL || slot->pipe.live > 0;
    slot->not_before_ns = flx_loop_now_ns(client->loop) + REOPEN_NS;
    (void)flx_loop_timer_set(client->loop, &client->asks.timer, slot->not_before_ns);
    flx_ask *ask = slot->ask;
    slot->ask = NULL;
    if (ask != NULL)
        ask_lost(client, ask, error);
    while ((ask = flx_op_pipe_take(&slot->pipe)) != NULL)
        ask_lost(client, ask, error);
    flx_op_pipe_done(&slot->pipe);
    /* The token is refused while the connection stands: what waits would wait in vain. */
    if (!had_asks && refused && client->asks.first != NULL) {
        ask = client->asks.first;
        unlink_ask(&client->asks, ask);
        finish(ask, NULL, error);
    }
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

/* All connections have their share of what waits, one after the other; then who has room. */
static void feed_slots(flx_client *client)
{
    flx_asks *asks = &client->asks;
    const size_t share =
        (asks->waiting + client->options.connections - 1) / client->options.connections;
    asks->turn = asks->turn + 1 < client->options.connections ? asks->turn + 1 : 0;
    for (size_t i = 0; i < client->options.connections && asks->first != NULL; i++)
        feed(&asks->slots[(asks->turn + i) % client->options.connections], share);
    for (size_t i = 0; i < asks->slot_count && asks->first != NULL; i++)
        feed(&asks->slots[i], SIZE_MAX);
}

/* Whether operations of a connection have a channel, or will have one in a moment. */
static bool has_pipe(const flx_client *client, size_t uplink)
{
    const flx_asks *asks = &client->asks;
    for (size_t i = uplink; i < asks->slot_count; i += client->options.connections) {
        const flx_ask_slot *slot = &asks->slots[i];
        if (flx_channel_is_open(&slot->channel) &&
            (!slot->channel.ready || (slot->pipe.window > 0 && !slot->pipe.is_overdue)))
            return true;
    }
    return false;
}

/* Channels for what waits: for operations one a connection, in JSON one a request. */
static void open_slots(flx_client *client)
{
    flx_asks *asks = &client->asks;
    const uint64_t now_ns = flx_loop_now_ns(client->loop);
    size_t opening = 0;
    for (size_t i = 0; i < asks->slot_count; i++)
        opening += flx_channel_is_open(&asks->slots[i].channel) && !asks->slots[i].channel.ready;
    for (size_t i = 0; i < asks->slot_count && opening < asks->waiting; i++) {
        const size_t uplink = i % client->options.connections;
        if (flx_channel_is_open(&asks->slots[i].channel))
            continue;
        if (asks->first->name != NULL && client->uplinks[uplink].offer.operation_window > 0 &&
            has_pipe(client, uplink))
            continue;
        opening += open_slot(client, &asks->slots[i], now_ns);
    }
}

void flx_asks_service(flx_client *client)
{
    flx_asks *asks = &client->asks;
    take_arrivals(client);
    if (asks->first == NULL)
        return;
    fail_hopeless(client);

    feed_slots(client);
    if (asks->first != NULL)
        open_slots(client);
}

/* ---- ending ---- */

static void cancel_sent(flx_ask *ask, const flx_error *why)
{
    flx_error unknown = *why;
    if (!ask->is_read)
        (void)flx_fail(&unknown, FLX_ERR_UNKNOWN_OUTCOME, "sent, then %.180s", why->message);
    ask->slot = NULL;
    finish(ask, NULL, &unknown);
}

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
        if (ask != NULL && (owner == NULL || ask->owner == owner)) {
            slot->ask = NULL;
            close_slot(slot);
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
}
