/* SPDX-License-Identifier: Apache-2.0 */
/* A stream that authenticates itself; see the header. */
#include "client/channel.h"

#include "client/client_int.h"
#include "client/refusal.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"

#include <string.h>

#define SCRATCH_BYTES 16384U

/* Everything whose answers this library reads. A broker may send what goes with an offered bit, so
 * a bit that is not read here is not offered. */
#define FEATURES_OFFERED                                                                           \
    (FLX_FEATURE_REDIRECT | FLX_FEATURE_CACHE_DELETE | FLX_FEATURE_STREAM_SHARDS |                 \
     FLX_FEATURE_CACHE_SHARDS | FLX_FEATURE_ERROR_CODES | FLX_FEATURE_SHARD_MOVED |                \
     FLX_FEATURE_UNSUPPORTED | FLX_FEATURE_PUBLISH_PIPELINE | FLX_FEATURE_STREAM_PUBLISH_WINDOW |  \
     FLX_FEATURE_SUBSCRIPTION_LAGGED | FLX_FEATURE_CACHE_CONDITIONAL |                             \
     FLX_FEATURE_SUBSCRIBE_QUEUE | FLX_FEATURE_EXTENDED)
#define FEATURES_HI_OFFERED                                                                        \
    (FLX_FEATURE_HI_OPERATIONS | FLX_FEATURE_HI_WATCH_PROGRESS | FLX_FEATURE_HI_WATCH_BATCHES)

/* The token passes through memory of its own, which is wiped. The frame lives until QUIC has it
 * acknowledged. */
static flx_status send_auth(flx_channel *channel, uint16_t flags, flx_error *reterr)
{
    flx_client *client = channel->uplink->client;
    char *token = flx_alloc(FLX_TOKEN_BYTES_MAX);
    size_t len = 0;
    if (token == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a token");
    flx_status status = flx_client_token(client, token, FLX_TOKEN_BYTES_MAX, &len, reterr);
    if (status == FLX_OK) {
        const char *tenant = client->options.tenant;
        const flx_msg msg = {.type = FLX_MSG_AUTH,
                             .auth = {.tenant_id = flx_slice_of(tenant),
                                      .token = {(const uint8_t *)token, len},
                                      .has_client_flags = true,
                                      .client_flags = flags,
                                      .has_client_features = true,
                                      .client_features = FEATURES_OFFERED,
                                      .has_client_features_hi = true,
                                      .client_features_hi = FEATURES_HI_OFFERED}};
        status = flx_channel_send(channel, &msg, reterr);
    }
    explicit_bzero(token, FLX_TOKEN_BYTES_MAX);
    flx_free(token);
    return status;
}

flx_status flx_channel_open(flx_channel *channel, flx_uplink *uplink, const flx_channel_ops *ops,
                            void *owner, uint16_t flags, flx_error *reterr)
{
    FLX_ASSERT(channel->stream == NULL);
    if (uplink->conn == NULL)
        return flx_fail(reterr, FLX_ERR_UNAVAILABLE, "no connection");
    memset(channel, 0, sizeof(*channel));
    channel->kind = FLX_STREAM_CHANNEL;
    channel->ops = ops;
    channel->owner = owner;
    channel->uplink = uplink;
    flx_status status =
        flx_quic_stream_open(uplink->conn, true, &channel->kind, &channel->stream, reterr);
    if (status != FLX_OK) {
        channel->stream = NULL;
        return status;
    }
    flx_frame_reader_init(&channel->reader, FLX_FRAME_BYTES_MAX);
    status = send_auth(channel, flags, reterr);
    if (status != FLX_OK)
        flx_channel_close(channel);
    return status;
}

flx_status flx_channel_write_take(flx_channel *channel, flx_range range)
{
    FLX_ASSERT(channel->stream != NULL);
    return flx_quic_stream_write_take(channel->stream, range);
}

flx_status flx_channel_send(flx_channel *channel, const flx_msg *msg, flx_error *reterr)
{
    flx_range range;
    flx_status status =
        flx_msg_append_frame(msg, &channel->uplink->client->scratch, SCRATCH_BYTES, &range, reterr);
    if (status != FLX_OK)
        return status;
    status = flx_channel_write_take(channel, range);
    if (status != FLX_OK)
        return flx_fail(reterr, status, "write to a stream");
    return FLX_OK;
}

void flx_channel_finish(flx_channel *channel)
{
    FLX_ASSERT(channel->stream != NULL);
    flx_quic_stream_finish(channel->stream);
}

static void forget(flx_channel *channel)
{
    flx_quic_stream_set_context(channel->stream, NULL);
    channel->stream = NULL;
    channel->ready = false;
    flx_frame_reader_done(&channel->reader);
}

void flx_channel_close(flx_channel *channel)
{
    if (channel->stream == NULL)
        return;
    /* What was written still leaves: FIN, not RESET. */
    flx_quic_stream_finish(channel->stream);
    flx_quic_stream_stop(channel->stream, 0);
    forget(channel);
}

static void tell_lost(flx_channel *channel, bool was_ready, const flx_error *why)
{
    const flx_error error = channel->has_error ? channel->error : *why;
    channel->ops->lost(channel, &error, !was_ready && channel->has_error);
}

void flx_channel_fail(flx_channel *channel, const flx_error *why)
{
    if (channel->stream == NULL)
        return;
    const bool was_ready = channel->ready;
    flx_channel_close(channel);
    tell_lost(channel, was_ready, why);
}

void flx_channel_gone(flx_channel *channel, const flx_error *why)
{
    if (channel->stream == NULL)
        return;
    const bool was_ready = channel->ready;
    forget(channel);
    tell_lost(channel, was_ready, why);
}

/* ---- receiving ---- */

static void take_offer(flx_channel *channel, const flx_msg *msg)
{
    flx_offer *offer = &channel->offer;
    offer->flags = msg->auth_ok.server_flags;
    offer->features = msg->auth_ok.has_server_features ? msg->auth_ok.server_features : 0;
    offer->features_hi = msg->auth_ok.has_server_features_hi ? msg->auth_ok.server_features_hi : 0;
    offer->publish_window = msg->auth_ok.has_publish_window ? msg->auth_ok.publish_window : 0;
    offer->operation_window = (offer->features & FLX_FEATURE_EXTENDED) != 0 &&
                                      (offer->features_hi & FLX_FEATURE_HI_OPERATIONS) != 0 &&
                                      msg->auth_ok.has_operation_window
                                  ? msg->auth_ok.operation_window
                                  : 0;
    if (offer->operation_window > 0)
        flx_frame_reader_allow_extension(&channel->reader);
    offer->port_count = 0;
    for (size_t i = 0; i < msg->auth_ok.listener_ports_count && i < 16; i++)
        offer->ports[offer->port_count++] = msg->auth_ok.listener_ports[i];
}

static void fail_channel(flx_channel *channel, flx_status status, const char *what)
{
    flx_error why;
    (void)flx_fail(&why, status, "%s", what);
    flx_channel_fail(channel, &why);
}

/* The answer to auth. A refusal without a code is still a refusal of the token. */
static void authenticated(flx_channel *channel, flx_msg *msg)
{
    if (msg->type == FLX_MSG_AUTH_OK || msg->type == FLX_MSG_OK) {
        if (msg->type == FLX_MSG_AUTH_OK)
            take_offer(channel, msg);
        else
            channel->offer = (flx_offer){.flags = FLX_FLAGS_ORIGINAL_V1};
        channel->ready = true;
        channel->ops->ready(channel);
        return;
    }
    if (!flx_refusal_from_msg(msg, &channel->error)) {
        fail_channel(channel, FLX_ERR_PROTOCOL, "auth was answered with something else");
        return;
    }
    channel->has_error = true;
    if (channel->error.code == 0)
        channel->error.status = FLX_ERR_UNAUTHENTICATED;
    flx_channel_fail(channel, &channel->error);
}

static void receive_json(flx_channel *channel, const flx_frame *frame)
{
    flx_arena *arena = &channel->uplink->client->arena;
    flx_msg msg;
    flx_error error;
    flx_arena_reset(arena);
    const flx_status status = flx_msg_decode(arena, frame->json, frame->payload.len, &msg, &error);
    if (status == FLX_ERR_UNSUPPORTED)
        return; /* a newer broker's extra; nothing of ours waits for it */
    if (status != FLX_OK) {
        flx_channel_fail(channel, &error);
        return;
    }
    if (!channel->ready) {
        authenticated(channel, &msg);
        return;
    }
    if (msg.type == FLX_MSG_ERROR)
        channel->has_error = flx_refusal_from_msg(&msg, &channel->error);
    channel->ops->received(channel, NULL, &msg);
}

static void receive_frame(flx_channel *channel, const flx_frame *frame)
{
    if (frame->flags == 0)
        receive_json(channel, frame);
    else if (!channel->ready)
        fail_channel(channel, FLX_ERR_PROTOCOL, "a binary frame before auth_ok");
    else
        channel->ops->received(channel, frame, NULL);
}

void flx_channel_data(flx_channel *channel, flx_slice data, bool fin)
{
    flx_error error;
    flx_quic_stream_consume(channel->stream, data.len);
    while (channel->stream != NULL) {
        flx_frame frame;
        const flx_frame_step step = flx_frame_reader_next(&channel->reader, &data, &frame, &error);
        if (step == FLX_FRAME_MORE)
            break;
        if (step == FLX_FRAME_READY) {
            receive_frame(channel, &frame);
            continue;
        }
        if (step == FLX_FRAME_REFUSED)
            (void)flx_fail(&error, FLX_ERR_PROTOCOL, "unknown frame flags 0x%04x", frame.flags);
        flx_channel_fail(channel, &error);
    }
    if (fin && channel->stream != NULL)
        fail_channel(channel, FLX_ERR_CLOSED, "the broker finished the stream");
}
