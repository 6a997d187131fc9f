/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams the broker opens: whose they are, and their frames one by one.
 *
 * Window is given back for what the application has taken, so an unread subscription stops its
 * broker. A frame larger than half the window could never arrive that way: its bytes are given
 * back as they are gathered, and the frame's own size (at most 16 MiB) bounds them instead.
 */
#include "client/client_int.h"
#include "client/refusal.h"
#include "client/subscriber_int.h"
#include "client/subscription.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <string.h>

bool flx_incoming_open(flx_uplink *uplink, flx_quic_stream *stream)
{
    flx_incoming *incoming = flx_calloc(1, sizeof(*incoming));
    if (incoming == NULL)
        return false;
    incoming->kind = FLX_STREAM_INCOMING;
    incoming->uplink = uplink;
    incoming->stream = stream;
    flx_frame_reader_init(&incoming->reader, FLX_FRAME_BYTES_MAX);
    incoming->next = uplink->incomings;
    if (uplink->incomings != NULL)
        uplink->incomings->prev = incoming;
    uplink->incomings = incoming;
    flx_quic_stream_set_context(stream, &incoming->kind);
    return true;
}

static void destroy(flx_incoming *incoming)
{
    flx_frame_reader_done(&incoming->reader);
    flx_free(incoming->held);
    flx_free(incoming);
}

/* Takes it off every list; frees it unless its data are being handed out up the stack. */
static void forget(flx_incoming *incoming)
{
    if (incoming->closed)
        return;
    incoming->closed = true;
    if (incoming->prev != NULL)
        incoming->prev->next = incoming->next;
    else
        incoming->uplink->incomings = incoming->next;
    if (incoming->next != NULL)
        incoming->next->prev = incoming->prev;
    if (incoming->reader_of != NULL)
        incoming->reader_of->incoming = NULL;
    incoming->reader_of = NULL;
    flx_quic_stream_set_context(incoming->stream, NULL);
    incoming->stream = NULL;
    if (!incoming->busy)
        destroy(incoming);
}

/* Stops the stream and forgets it. */
static void incoming_close(flx_incoming *incoming)
{
    if (incoming->closed)
        return;
    flx_quic_stream_stop(incoming->stream, 0);
    forget(incoming);
}

void flx_incoming_drop_all(flx_uplink *uplink)
{
    while (uplink->incomings != NULL)
        forget(uplink->incomings);
}

void flx_incoming_gone(flx_incoming *incoming, const flx_error *why)
{
    flx_reader *reader = incoming->reader_of;
    forget(incoming);
    if (reader != NULL)
        reader->ops->lost(reader, why);
}

/* ---- whose it is ---- */

static void bind_to(flx_incoming *incoming, flx_reader *reader)
{
    incoming->reader_of = reader;
    reader->incoming = incoming;
    reader->ops->bound(reader);
}

static flx_reader *find_reader(const flx_uplink *uplink, uint64_t id)
{
    for (flx_reader *reader = uplink->readers; reader != NULL; reader = reader->next)
        if (reader->id == id && reader->incoming == NULL)
            return reader;
    return NULL;
}

/* The first frame. False: it is not one that can begin an event stream. */
static bool read_hello(flx_incoming *incoming, const flx_frame *frame)
{
    flx_arena *arena = &incoming->uplink->client->arena;
    flx_msg msg;
    flx_arena_reset(arena);
    if (frame->flags != 0 ||
        flx_msg_decode(arena, frame->json, frame->payload.len, &msg, NULL) != FLX_OK ||
        msg.type != FLX_MSG_EVENT_STREAM_HELLO)
        return false;
    incoming->has_id = true;
    incoming->id = msg.event_stream_hello.subscription_id;
    flx_quic_stream_consume(incoming->stream, FLX_FRAME_HEADER_BYTES + frame->payload.len);
    flx_reader *reader = find_reader(incoming->uplink, incoming->id);
    if (reader != NULL)
        bind_to(incoming, reader);
    return true;
}

/* ---- its frames ---- */

/* Gives back window early for a frame that would not fit into it. */
static void credit_early(flx_incoming *incoming)
{
    const flx_frame_reader *reader = &incoming->reader;
    const uint32_t window = incoming->uplink->client->options.stream_window_bytes;
    if (reader->header_have < FLX_FRAME_HEADER_BYTES || reader->payload_len < window / 2)
        return;
    const size_t have = FLX_FRAME_HEADER_BYTES + (size_t)reader->payload_have;
    if (have > incoming->credited) {
        flx_quic_stream_consume(incoming->stream, have - incoming->credited);
        incoming->credited = have;
    }
}

static void hand_out(flx_incoming *incoming, const flx_frame *frame)
{
    const size_t bytes = FLX_FRAME_HEADER_BYTES + frame->payload.len;
    FLX_ASSERT(incoming->credited <= bytes);
    const size_t credit = bytes - incoming->credited;
    incoming->credited = 0;
    flx_reader *reader = incoming->reader_of;
    reader->ops->frame(reader, frame, credit);
}

static void fail(flx_incoming *incoming, const flx_error *why)
{
    flx_reader *reader = incoming->reader_of;
    incoming_close(incoming);
    if (reader != NULL)
        reader->ops->lost(reader, why);
}

static bool hold(flx_incoming *incoming, flx_slice data)
{
    const size_t need = incoming->held_len + data.len;
    if (need > incoming->held_cap) {
        uint8_t *memory = flx_realloc(incoming->held, need * 2);
        if (memory == NULL)
            return false;
        incoming->held = memory;
        incoming->held_cap = need * 2;
    }
    if (data.len > 0)
        memcpy(incoming->held + incoming->held_len, data.ptr, data.len);
    incoming->held_len += data.len;
    return true;
}

/* Reads on until the data or the stream end, or until it is not known whose the rest is. */
static void read_frames(flx_incoming *incoming, flx_slice *data)
{
    flx_error error;
    while (!incoming->closed && (incoming->reader_of != NULL || !incoming->has_id)) {
        flx_frame frame;
        const flx_frame_step step = flx_frame_reader_next(&incoming->reader, data, &frame, &error);
        if (step == FLX_FRAME_MORE) {
            credit_early(incoming);
            return;
        }
        if (step == FLX_FRAME_READY && incoming->has_id) {
            hand_out(incoming, &frame);
            continue;
        }
        if (step == FLX_FRAME_READY && read_hello(incoming, &frame))
            continue;
        if (step != FLX_FRAME_FAILED)
            (void)flx_fail(&error, FLX_ERR_PROTOCOL, "an event stream with frame flags 0x%04x",
                           frame.flags);
        fail(incoming, &error);
    }
}

void flx_incoming_data(flx_incoming *incoming, flx_slice data, bool fin)
{
    flx_error error;
    incoming->busy = true;
    read_frames(incoming, &data);
    if (!incoming->closed && data.len > 0 && !hold(incoming, data)) {
        (void)flx_fail(&error, FLX_ERR_NOMEM, "events before their subscription");
        fail(incoming, &error);
    }
    incoming->busy = false;
    if (incoming->closed) {
        destroy(incoming);
        return;
    }
    if (fin && incoming->reader_of != NULL) {
        (void)flx_fail(&error, FLX_ERR_CLOSED, "the broker ended the subscription");
        fail(incoming, &error);
    }
}

/* ---- readers ---- */

void flx_reader_list(flx_reader *reader, flx_uplink *uplink)
{
    FLX_ASSERT(reader->uplink == NULL);
    reader->id = UINT64_MAX; /* none yet */
    reader->uplink = uplink;
    reader->prev = NULL;
    reader->next = uplink->readers;
    if (uplink->readers != NULL)
        uplink->readers->prev = reader;
    uplink->readers = reader;
}

void flx_reader_unlist(flx_reader *reader)
{
    if (reader->incoming != NULL)
        incoming_close(reader->incoming);
    if (reader->uplink == NULL)
        return;
    if (reader->prev != NULL)
        reader->prev->next = reader->next;
    else
        reader->uplink->readers = reader->next;
    if (reader->next != NULL)
        reader->next->prev = reader->prev;
    reader->prev = reader->next = NULL;
    reader->uplink = NULL;
}

void flx_reader_consume(flx_reader *reader, size_t credit)
{
    if (credit > 0 && reader->incoming != NULL)
        flx_quic_stream_consume(reader->incoming->stream, credit);
}

void flx_reader_named(flx_reader *reader, uint64_t id)
{
    const bool is_other = id != reader->id;
    flx_incoming *incoming = reader->uplink->incomings;
    reader->id = id;
    if (!is_other || reader->incoming != NULL)
        return;
    while (incoming != NULL &&
           (!incoming->has_id || incoming->reader_of != NULL || incoming->id != id))
        incoming = incoming->next;
    if (incoming == NULL)
        return;
    bind_to(incoming, reader);
    uint8_t *held = incoming->held;
    const flx_slice data = {held, incoming->held_len};
    incoming->held = NULL;
    incoming->held_len = incoming->held_cap = 0;
    flx_incoming_data(incoming, data, false);
    flx_free(held);
}
