/* SPDX-License-Identifier: Apache-2.0 */
/* client/ask_slots.c - see the header. */
#include "client/ask_slots.h"

#include "client/ask_lines.h"
#include "client/client_int.h"
#include "client/refusal.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#define REOPEN_NS (50 * FLX_NS_PER_MS) /* before a channel that failed is opened again */
/* As the probe: nothing of these streams has times or publishers. */
#define CHANNEL_BITS                                                                               \
    (FLX_FLAGS_KNOWN & ~(FLX_FLAG_EVENT_BATCH_TIMESTAMPS | FLX_FLAG_EVENT_BATCH_PUBLISHER))

static void slot_ready(flx_channel *channel);
static void slot_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg);
static void slot_lost(flx_channel *channel, const flx_error *error, bool refused);
static const flx_channel_ops slot_ops = {
    .ready = slot_ready, .received = slot_received, .lost = slot_lost};

/* All slots there are, one behind the other; after NULL the first one. */
flx_ask_slot *flx_ask_slot_next(const flx_asks *asks, flx_ask_slot *slot)
{
    if (slot != NULL && !slot->is_last)
        return slot + 1;
    for (uint32_t i = slot != NULL ? slot->uplink + 1 : 0; i < asks->port_count; i++)
        if (asks->ports[i].slots != NULL)
            return asks->ports[i].slots;
    return NULL;
}

/* The asks on it have been taken off. */
void flx_ask_slot_close(flx_ask_slot *slot)
{
    flx_op_pipe_done(&slot->pipe);
    flx_channel_close(&slot->channel);
}

/* Takes an ask that was sent and not answered in time off its slot, which is not used on: in JSON a
 * late answer would meet the next request. */
void flx_ask_slot_leave(flx_ask *ask)
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
        flx_ask_slot_close(slot);
}

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
    flx_asks *asks = &slot->client->asks;
    flx_error error;
    flx_status status;
    flx_ask_unlink(asks, ask);
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
        flx_ask_requeue(asks, ask);
        flx_channel_fail(&slot->channel, &error);
    } else {
        flx_ask_finish(ask, NULL, &error);
    }
}

static bool is_kept(const flx_client *client, uint32_t uplink)
{
    return uplink < client->options.connections;
}

/* Who waits first for this slot's connection: those that may use no other, then the others. */
static flx_ask *next_for(const flx_ask_slot *slot)
{
    const flx_asks *asks = &slot->client->asks;
    flx_ask *ask = asks->ports[slot->uplink].line.first;
    return ask == NULL && is_kept(slot->client, slot->uplink) ? asks->common.first : ask;
}

/* What waits for this connection, and at most `limit` of the others; what is put in one go leaves in
 * one frame. */
static void feed(flx_ask_slot *slot, size_t limit)
{
    flx_ask *ask;
    while ((ask = next_for(slot)) != NULL && may_send(slot, ask)) {
        if (ask->queue == &slot->client->asks.common && limit-- == 0)
            break;
        send_ask(slot, ask);
    }
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
    if (channel->offer.operation_window > 0 && !slot->client->options.cache_json)
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
    flx_ask_finish(ask, is_fine ? &msg : NULL, is_fine ? NULL : &error);
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
        flx_ask_slot_close(slot);
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
        flx_ask_slot_close(slot); /* not asked for, or maybe about to be finished */
    }
    if (ask == NULL)
        return;
    ask->slot = NULL;
    if (frame != NULL) {
        (void)flx_fail(&error, FLX_ERR_PROTOCOL, "a request was answered with a binary frame");
        flx_ask_finish(ask, NULL, &error);
    } else {
        flx_ask_finish(ask, refused ? NULL : msg, refused ? &error : NULL);
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
        flx_ask_requeue(&client->asks, ask);
        return;
    }
    flx_error unknown;
    (void)flx_fail(&unknown, FLX_ERR_UNKNOWN_OUTCOME, "sent, then %.180s", error->message);
    flx_ask_finish(ask, NULL, &unknown);
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
    if (!had_asks && refused && (ask = next_for(slot)) != NULL) {
        flx_ask_unlink(&client->asks, ask);
        flx_ask_finish(ask, NULL, error);
    }
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

/* All connections have their share of what waits for any, one after the other; then who has room. */
void flx_ask_slots_feed(flx_client *client)
{
    flx_asks *asks = &client->asks;
    const uint32_t kept = client->options.connections;
    const size_t share = (asks->common.count + kept - 1) / kept;
    asks->turn = asks->turn + 1 < kept ? asks->turn + 1 : 0;
    for (size_t i = 0; i < kept && asks->common.first != NULL; i++) {
        const flx_ask_port *port = &asks->ports[(asks->turn + i) % kept];
        if (port->slots != NULL)
            feed(&port->slots[0], share);
    }
    for (flx_ask_slot *slot = flx_ask_slot_next(asks, NULL); slot != NULL && asks->waiting > 0;
         slot = flx_ask_slot_next(asks, slot))
        feed(slot, SIZE_MAX);
}

static bool takes_operations(const flx_client *client, uint32_t uplink)
{
    return client->uplinks[uplink].offer.operation_window > 0 && !client->options.cache_json;
}

/* Whether operations of a connection have a channel, or will have one in a moment. */
static bool has_pipe(const flx_client *client, uint32_t uplink)
{
    const flx_ask_port *port = &client->asks.ports[uplink];
    for (size_t i = 0; i < client->options.cache_streams; i++) {
        const flx_ask_slot *slot = &port->slots[i];
        if (flx_channel_is_open(&slot->channel) &&
            (!slot->channel.ready || (slot->pipe.window > 0 && !slot->pipe.is_overdue)))
            return true;
    }
    return false;
}

static bool has_slots(flx_client *client, uint32_t uplink)
{
    flx_ask_port *port = &client->asks.ports[uplink];
    const uint32_t count = client->options.cache_streams;
    if (port->slots != NULL)
        return true;
    port->slots = flx_calloc(count, sizeof(*port->slots));
    if (port->slots == NULL) { /* what waits has its timeouts; the next tick tries again */
        (void)flx_loop_timer_set(client->loop, &client->asks.timer,
                                 flx_loop_now_ns(client->loop) + REOPEN_NS);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        port->slots[i].client = client;
        port->slots[i].uplink = uplink;
        port->slots[i].is_last = i + 1 == count;
    }
    return true;
}

static size_t opening_at(const flx_client *client, uint32_t uplink)
{
    const flx_ask_port *port = &client->asks.ports[uplink];
    size_t opening = 0;
    for (uint32_t i = 0; port->slots != NULL && i < client->options.cache_streams; i++)
        opening +=
            flx_channel_is_open(&port->slots[i].channel) && !port->slots[i].channel.ready ? 1 : 0;
    return opening;
}

/* Begins to open one channel of a connection for `ask`: one for all operations, in JSON one a
 * request. False: it has what it needs, or cannot. */
static bool open_one(flx_client *client, uint32_t uplink, uint32_t slot, const flx_ask *ask,
                     uint64_t now_ns)
{
    if (!flx_uplink_is_up(&client->uplinks[uplink]) || !has_slots(client, uplink))
        return false;
    flx_ask_slot *at = &client->asks.ports[uplink].slots[slot];
    if (flx_channel_is_open(&at->channel))
        return false;
    if (ask->name != NULL && takes_operations(client, uplink) && has_pipe(client, uplink))
        return false;
    return open_slot(client, at, now_ns);
}

static void open_for_line(flx_client *client, uint32_t uplink, uint64_t now_ns)
{
    const flx_ask_queue *line = &client->asks.ports[uplink].line;
    if (line->first == NULL)
        return;
    size_t opening = opening_at(client, uplink);
    for (uint32_t slot = 0; slot < client->options.cache_streams && opening < line->count; slot++)
        opening += open_one(client, uplink, slot, line->first, now_ns) ? 1 : 0;
}

static void open_for_common(flx_client *client, uint64_t now_ns)
{
    const flx_ask_queue *common = &client->asks.common;
    const uint32_t kept = client->options.connections;
    size_t opening = 0;
    for (uint32_t uplink = 0; uplink < kept; uplink++)
        opening += opening_at(client, uplink);
    for (uint32_t i = 0; i < kept * client->options.cache_streams && opening < common->count; i++)
        opening += open_one(client, i % kept, i / kept, common->first, now_ns) ? 1 : 0;
}

void flx_ask_slots_open(flx_client *client)
{
    const uint64_t now_ns = flx_loop_now_ns(client->loop);
    for (uint32_t i = 0; i < client->asks.port_count; i++)
        open_for_line(client, i, now_ns);
    if (client->asks.common.first != NULL)
        open_for_common(client, now_ns);
}
