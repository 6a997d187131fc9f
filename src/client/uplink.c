/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping one connection up; the drawing is in the header.
 *
 * Only the first uplink chooses among the addresses. The others go where it is: to the same host,
 * to the ports the broker announced, and they wait for it after a loss, so that all of a client
 * talks to one broker.
 */
#include "client/uplink.h"

#include "client/client_int.h"
#include "client/subscription.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/sockaddr.h"
#include "wire/flags.h"

#include <stdio.h>
#include <string.h>

#define REST_MS 10000 /* a connection for a worker without seats is kept so long */

/* What every channel of ours can read (docs/spec/wire.md 2); times, publishers only for who asks. */
#define PROBE_FLAGS                                                                                \
    (FLX_FLAGS_KNOWN & ~(FLX_FLAG_EVENT_BATCH_TIMESTAMPS | FLX_FLAG_EVENT_BATCH_PUBLISHER))

static void move(flx_uplink *uplink, flx_uplink_state to)
{
    static const uint8_t allowed[] = {
        [FLX_UPLINK_IDLE] = 1U << FLX_UPLINK_RESOLVING | 1U << FLX_UPLINK_PAUSED,
        [FLX_UPLINK_RESOLVING] = 1U << FLX_UPLINK_DIALING | 1U << FLX_UPLINK_PAUSED,
        [FLX_UPLINK_DIALING] = 1U << FLX_UPLINK_PROBING | 1U << FLX_UPLINK_PAUSED,
        [FLX_UPLINK_PROBING] = 1U << FLX_UPLINK_UP | 1U << FLX_UPLINK_PAUSED,
        [FLX_UPLINK_UP] = 1U << FLX_UPLINK_PAUSED,
        [FLX_UPLINK_PAUSED] = 1U << FLX_UPLINK_RESOLVING | 1U << FLX_UPLINK_IDLE,
        [FLX_UPLINK_CLOSED] = 0,
    };
    FLX_ASSERT((allowed[uplink->state] >> to & 1U) != 0 || to == FLX_UPLINK_CLOSED);
    uplink->losses += to == FLX_UPLINK_PAUSED ? 1 : 0;
    uplink->state = to;
}

static void probe_ready(flx_channel *channel);
static void probe_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg);
static void probe_lost(flx_channel *channel, const flx_error *error, bool refused);
static const flx_channel_ops probe_ops = {
    .ready = probe_ready, .received = probe_received, .lost = probe_lost};

static void timer_fired(void *arg, uint64_t now_ns);

void flx_uplink_init(flx_uplink *uplink, flx_client *client, uint32_t index)
{
    memset(uplink, 0, sizeof(*uplink));
    uplink->client = client;
    uplink->index = index;
    uplink->timer = (flx_timer){.fire = timer_fired, .arg = uplink};
    uplink->backoff = (flx_backoff){.min_ms = client->options.backoff_min_ms,
                                    .max_ms = client->options.backoff_max_ms};
    uplink->next_subscription_id = 1;
}

static void set_timer(flx_uplink *uplink, uint64_t ms)
{
    flx_loop *loop = uplink->client->loop;
    /* The heap grew for this timer once and keeps its room, so only the first set can fail. */
    (void)flx_loop_timer_set(loop, &uplink->timer, flx_loop_now_ns(loop) + ms * FLX_NS_PER_MS);
}

/* They look in the next tick, one by one: what they do may call back and free others. */
static void tell_members(flx_uplink *uplink)
{
    for (flx_member *member = uplink->client->members; member != NULL; member = member->next)
        if (member->uplink == uplink || uplink->seats > 0)
            flx_member_poke(member);
    flx_loop_wake(uplink->client->loop); /* for the asks */
}

/* Whether trying again, with the same certificate and token, is unlikely to help. */
static bool is_final(const flx_error *error)
{
    return error->status == FLX_ERR_UNAUTHENTICATED || error->status == FLX_ERR_DENIED ||
           error->status == FLX_ERR_INVALID || error->status == FLX_ERR_UNTRUSTED ||
           error->status == FLX_ERR_UNSUPPORTED;
}

static void drop_attempt(flx_uplink *uplink)
{
    uplink->resolve = flx_resolve_drop(uplink->resolve);
    flx_channel_close(&uplink->probe);
    if (uplink->conn != NULL) {
        flx_quic_conn_set_context(uplink->conn, NULL);
        flx_quic_conn_close(uplink->conn, 0, "");
        uplink->conn = NULL;
    }
}

static bool is_for_a_worker(const flx_uplink *uplink)
{
    return uplink->index >= uplink->client->options.connections;
}

/* One that is not kept up: free for another worker. */
static void let_go(flx_uplink *uplink)
{
    flx_client *client = uplink->client;
    const bool was_coming = flx_uplink_is_coming(uplink);
    drop_attempt(uplink);
    flx_loop_timer_cancel(client->loop, &uplink->timer);
    move(uplink, FLX_UPLINK_PAUSED);
    move(uplink, FLX_UPLINK_IDLE);
    uplink->unanswered = 0;
    if (was_coming)
        flx_placer_give_up(&client->placer); /* it would fail again at once */
    tell_members(uplink);
}

/* Ends an attempt or a connection and begins the pause. */
static void pause_uplink(flx_uplink *uplink, const flx_error *error)
{
    flx_client *client = uplink->client;
    if (uplink->state == FLX_UPLINK_PAUSED || uplink->state == FLX_UPLINK_CLOSED)
        return;
    if (is_for_a_worker(uplink)) {
        let_go(uplink);
        return;
    }
    drop_attempt(uplink);
    move(uplink, FLX_UPLINK_PAUSED);
    uplink->failures++;
    uplink->address_at++;
    uplink->unanswered = 0;
    set_timer(uplink, flx_backoff_next_ms(&uplink->backoff, flx_client_random(client)));
    if (uplink->index == 0)
        flx_client_set_state(client, FLX_CLIENT_WAITING, error, is_final(error));
    if (is_final(error))
        tell_members(uplink); /* what waits would wait in vain */
}

/* ---- dialling ---- */

static void dial(flx_uplink *uplink)
{
    flx_client *client = uplink->client;
    flx_error error;
    const char *name =
        client->options.server_name != NULL ? client->options.server_name : uplink->address.host;
    move(uplink, FLX_UPLINK_DIALING);
    const flx_status status = flx_quic_connect_worker(
        client->endpoint, (const struct sockaddr *)&uplink->resolved.address, uplink->resolved.len,
        name, client->options.offer_alpn ? FLX_QUIC_ALPN : NULL, uplink->worker, uplink,
        &uplink->conn, &error);
    if (status != FLX_OK) {
        uplink->conn = NULL;
        pause_uplink(uplink, &error);
    }
}

static void wake_loop(void *arg)
{
    flx_loop_wake(arg);
}

static void follow_first(flx_uplink *uplink)
{
    const flx_uplink *first = &uplink->client->uplinks[0];
    uplink->address = first->address;
    uplink->resolved = first->resolved;
    if (first->offer.port_count > 0 && uplink->worker.count == 0)
        flx_sockaddr_set_port(&uplink->resolved.address,
                              first->offer.ports[uplink->index % first->offer.port_count]);
    dial(uplink);
}

static void resolve(flx_uplink *uplink)
{
    flx_client *client = uplink->client;
    flx_error error;
    uplink->address = client->addresses.items[uplink->address_at % client->addresses.count];
    if (flx_address_is_numeric(&uplink->address, &uplink->resolved)) {
        dial(uplink);
        return;
    }
    if (flx_resolve_start(&uplink->address, wake_loop, client->loop, &uplink->resolve, &error) !=
        FLX_OK)
        pause_uplink(uplink, &error);
}

void flx_uplink_start(flx_uplink *uplink)
{
    flx_client *client = uplink->client;
    if (client->closing || (uplink->state != FLX_UPLINK_IDLE && uplink->state != FLX_UPLINK_PAUSED))
        return;
    if (uplink->index > 0 && !flx_uplink_is_up(&client->uplinks[0])) {
        if (uplink->state == FLX_UPLINK_PAUSED)
            move(uplink, FLX_UPLINK_IDLE); /* the first one starts it when it is up again */
        return;
    }
    move(uplink, FLX_UPLINK_RESOLVING);
    set_timer(uplink, client->options.connect_timeout_ms);
    if (uplink->index > 0) {
        follow_first(uplink);
        return;
    }
    flx_client_set_state(client, FLX_CLIENT_CONNECTING, NULL, false);
    resolve(uplink);
}

void flx_uplink_poll(flx_uplink *uplink)
{
    flx_error error;
    if (uplink->state != FLX_UPLINK_RESOLVING || uplink->resolve == NULL)
        return;
    const flx_status status = flx_resolve_poll(uplink->resolve, &uplink->resolved, &error);
    if (status == FLX_ERR_AGAIN)
        return;
    uplink->resolve = flx_resolve_drop(uplink->resolve);
    if (status == FLX_OK)
        dial(uplink);
    else
        pause_uplink(uplink, &error);
}

static void timer_fired(void *arg, uint64_t now_ns)
{
    flx_uplink *uplink = arg;
    flx_error error;
    (void)now_ns;
    if (flx_uplink_is_up(uplink)) {
        if (uplink->seats == 0)
            let_go(uplink);
        return;
    }
    if (uplink->state == FLX_UPLINK_PAUSED) {
        flx_uplink_start(uplink);
        return;
    }
    (void)flx_fail(&error, FLX_ERR_TIMEOUT, "%s:%u: no answer in %u ms", uplink->address.host,
                   uplink->address.port, uplink->client->options.connect_timeout_ms);
    pause_uplink(uplink, &error);
}

void flx_uplink_rest(flx_uplink *uplink)
{
    if (is_for_a_worker(uplink) && flx_uplink_is_up(uplink))
        set_timer(uplink, REST_MS);
}

void flx_uplink_close(flx_uplink *uplink)
{
    if (uplink->client == NULL || uplink->state == FLX_UPLINK_CLOSED)
        return;
    flx_incoming_drop_all(uplink);
    drop_attempt(uplink);
    flx_loop_timer_cancel(uplink->client->loop, &uplink->timer);
    move(uplink, FLX_UPLINK_CLOSED);
}

/* ---- probing ---- */

static void describe_peer(const flx_uplink *uplink, char *text, size_t size)
{
    flx_sockaddr_text(flx_quic_conn_peer(uplink->conn), text, size);
}

static void publish_info(flx_uplink *uplink)
{
    flx_client *client = uplink->client;
    flx_quic_conn_info conn = {0};
    flx_quic_conn_info_get(uplink->conn, &conn);
    flx_server_info info = {.flags = uplink->offer.flags,
                            .listener_count = (uint16_t)uplink->offer.port_count,
                            .features = uplink->offer.features,
                            .features_hi = uplink->offer.features_hi,
                            .publish_window = uplink->offer.publish_window,
                            .smoothed_rtt_ns = conn.smoothed_rtt_ns};
    describe_peer(uplink, info.peer, sizeof(info.peer));
    if (conn.cipher != NULL)
        (void)snprintf(info.cipher, sizeof(info.cipher), "%s", conn.cipher);
    (void)pthread_mutex_lock(&client->mutex);
    info.connects = client->info.connects + 1;
    client->info = info;
    (void)pthread_mutex_unlock(&client->mutex);
}

static void probe_ready(flx_channel *channel)
{
    flx_uplink *uplink = channel->owner;
    flx_client *client = uplink->client;
    uplink->offer = channel->offer;
    flx_channel_close(channel);
    move(uplink, FLX_UPLINK_UP);
    flx_loop_timer_cancel(client->loop, &uplink->timer);
    flx_backoff_reset(&uplink->backoff);
    uplink->failures = 0;
    if (uplink->index == 0) {
        flx_placer_begin(&client->placer);
        publish_info(uplink);
        for (uint32_t i = 1; i < client->options.connections; i++)
            flx_uplink_start(&client->uplinks[i]);
        flx_client_set_state(client, FLX_CLIENT_CONNECTED, NULL, false);
    }
    tell_members(uplink);
}

static void probe_received(flx_channel *channel, const flx_frame *frame, flx_msg *msg)
{
    (void)channel; /* closed when ready, so nothing comes */
    (void)frame;
    (void)msg;
}

static void probe_lost(flx_channel *channel, const flx_error *error, bool refused)
{
    (void)refused;
    if (error->status == FLX_ERR_UNAVAILABLE && error->code == 0)
        return; /* the connection itself is ending: `closed` follows and knows why */
    pause_uplink(channel->owner, error);
}

/* ---- the endpoint's events ---- */

static void connected(void *arg, flx_quic_conn *conn)
{
    flx_uplink *uplink = flx_quic_conn_context(conn);
    flx_error error;
    (void)arg;
    if (uplink == NULL)
        return;
    const flx_quic_worker worker = uplink->worker;
    if (worker.count > 0 && flx_quic_conn_worker(conn, worker.count) != worker.index) {
        flx_placer_defeat(&uplink->client->placer);
        let_go(uplink);
        return;
    }
    move(uplink, FLX_UPLINK_PROBING);
    if (flx_channel_open(&uplink->probe, uplink, &probe_ops, uplink, PROBE_FLAGS, &error) != FLX_OK)
        pause_uplink(uplink, &error);
}

/* TLS alerts (RFC 9001 4.8) that say something about certificates or protocols. */
static bool is_trust_failure(const flx_quic_close *why)
{
    static const uint8_t alerts[] = {42, 43, 44, 45, 46, 48, 116, 120};
    if (why->application || why->code < 0x100)
        return false;
    for (size_t i = 0; i < sizeof(alerts); i++)
        if (why->code == 0x100U + alerts[i])
            return true;
    return false;
}

static void closed(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    static const char *const kinds[] = {"closed here",       "closed by the broker",
                                        "idle for too long", "reset: the broker forgot us",
                                        "handshake failed",  "protocol failure"};
    flx_uplink *uplink = flx_quic_conn_context(conn);
    flx_error error;
    (void)arg;
    if (uplink == NULL || uplink->conn != conn)
        return;
    uplink->conn = NULL; /* gone with this call */
    (void)flx_fail(&error, is_trust_failure(why) ? FLX_ERR_UNTRUSTED : FLX_ERR_UNAVAILABLE,
                   "%s:%u: connection %s%s%s", uplink->address.host, uplink->address.port,
                   kinds[why->kind], why->reason[0] != '\0' ? ": " : "", why->reason);
    pause_uplink(uplink, &error);
}

static void stream_opened(void *arg, flx_quic_conn *conn, flx_quic_stream *stream)
{
    flx_uplink *uplink = flx_quic_conn_context(conn);
    (void)arg;
    if (uplink == NULL || flx_quic_stream_is_bidirectional(stream) ||
        !flx_incoming_open(uplink, stream)) {
        flx_quic_stream_stop(stream, 0); /* the broker opens only event streams */
        if (flx_quic_stream_is_bidirectional(stream))
            flx_quic_stream_reset(stream, 0);
    }
}

static void stream_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    flx_stream_kind *kind = flx_quic_stream_context(stream);
    (void)arg;
    if (kind == NULL)
        flx_quic_stream_consume(stream, data.len); /* let go of, but the window is shared */
    else if (*kind == FLX_STREAM_CHANNEL)
        flx_channel_data((flx_channel *)kind, data, fin);
    else
        flx_incoming_data((flx_incoming *)kind, data, fin);
}

static void stream_reset(void *arg, flx_quic_stream *stream, uint64_t code)
{
    flx_stream_kind *kind = flx_quic_stream_context(stream);
    flx_error error;
    (void)arg;
    (void)code;
    if (kind == NULL)
        return;
    (void)flx_fail(&error, FLX_ERR_CLOSED, "the broker reset the stream");
    if (*kind == FLX_STREAM_CHANNEL)
        flx_channel_fail((flx_channel *)kind, &error);
    else
        flx_incoming_gone((flx_incoming *)kind, &error);
}

/* The broker reads no more of it; its answers may still come, and the end of them tells. */
static void stream_stopped(void *arg, flx_quic_stream *stream, uint64_t code)
{
    (void)arg;
    (void)stream;
    (void)code;
}

static void stream_closed(void *arg, flx_quic_stream *stream)
{
    flx_stream_kind *kind = flx_quic_stream_context(stream);
    flx_error error;
    (void)arg;
    if (kind == NULL)
        return;
    (void)flx_fail(&error, FLX_ERR_UNAVAILABLE, "the connection was lost");
    if (*kind == FLX_STREAM_CHANNEL)
        flx_channel_gone((flx_channel *)kind, &error);
    else
        flx_incoming_gone((flx_incoming *)kind, &error);
}

static void stream_pull(void *arg, flx_quic_stream *stream)
{
    flx_stream_kind *kind = flx_quic_stream_context(stream);
    (void)arg;
    if (kind == NULL || *kind != FLX_STREAM_CHANNEL)
        return;
    flx_channel *channel = (flx_channel *)kind;
    if (channel->ops->pull != NULL)
        channel->ops->pull(channel);
}

static void streams_available(void *arg, flx_quic_conn *conn)
{
    flx_uplink *uplink = flx_quic_conn_context(conn);
    (void)arg;
    if (uplink != NULL && flx_uplink_is_up(uplink))
        tell_members(uplink);
}

const flx_quic_events flx_uplink_events = {.connected = connected,
                                           .closed = closed,
                                           .stream_opened = stream_opened,
                                           .stream_data = stream_data,
                                           .stream_pull = stream_pull,
                                           .stream_reset = stream_reset,
                                           .stream_stopped = stream_stopped,
                                           .stream_closed = stream_closed,
                                           .streams_available = streams_available};
