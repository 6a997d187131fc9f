/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An endpoint: UDP sockets on a loop, the connections behind them, and the rhythm of a tick.
 *
 *     readable -> a few recvmmsg -> every packet to its connection -> connections are dirty
 *     timer    -> its connection is dirty
 *     owner    -> writes, closes, consumes -> its connection is dirty
 *     hook     -> each dirty connection: end it, or one flush pass; then one send for all
 *
 * A connection that used its share of a pass stays dirty, and a deadline in the past keeps the loop
 * from sleeping. The same deadline serves writes that come from outside our own callbacks, where no
 * hook of this tick may follow.
 */
#include "common/alloc.h"
#include "common/clock.h"
#include "common/error.h"
#include "transport/quic_int.h"

#include <string.h>
#include <sys/epoll.h>

#define RECEIVES_MAX     2 /* calls a tick while they come back full */
#define TICK_PACKETS_FEW 3 /* in and out; more is bulk (flx_loop_note_bulk) */

/* --- receive -------------------------------------------------------------------------------- */

void flx_endpoint_datagram(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                           const uint8_t *packet, size_t len, uint64_t now_ns)
{
    ngtcp2_version_cid vc;
    STAT_ADD(endpoint, packets_in, 1);
    endpoint->tick_packets++;
    STAT_ADD(endpoint, bytes_in, len);
    if (len == 0)
        return;
    const int rv = ngtcp2_pkt_decode_version_cid(&vc, packet, len, CID_LEN);
    if (rv != 0 && rv != NGTCP2_ERR_VERSION_NEGOTIATION) {
        STAT_ADD(endpoint, dropped, 1);
        return;
    }
    flx_quic_conn *conn = NULL;
    if (vc.dcidlen > 0 && vc.dcidlen <= NGTCP2_MAX_CIDLEN)
        conn = flx_cidmap_get(&endpoint->cids, vc.dcid, vc.dcidlen);
    if (conn == NULL)
        flx_endpoint_unknown(endpoint, socket, path, packet, len, &vc, now_ns);
    else if (conn->state == CONN_LINGER)
        flx_conn_linger_hit(conn, socket, path);
    else
        flx_conn_read(conn, path, packet, len, now_ns);
}

/* Splits what GRO merged. */
static void receive_message(flx_quic_endpoint *endpoint, udp_socket *socket, int index,
                            uint64_t now_ns)
{
    udp_rx *rx = endpoint->rx;
    struct sockaddr_storage local;
    socklen_t local_len;
    const size_t segment = flx_udp_message(socket, rx, index, &local, &local_len);
    const uint8_t *at = rx->bytes[index];
    size_t left = rx->messages[index].msg_len;
    /* A client's path is the one it dialled from, whatever address the kernel chose. */
    if (endpoint->group == NULL)
        memcpy(&local, &socket->local, sizeof local);
    const ngtcp2_path path = {
        .local = {(struct sockaddr *)&local, local_len},
        .remote = {(struct sockaddr *)&rx->from[index], rx->messages[index].msg_hdr.msg_namelen},
    };
    while (left > 0) {
        const size_t len = left < segment ? left : segment;
        flx_endpoint_datagram(endpoint, socket, &path, at, len, now_ns);
        at += len;
        left -= len;
    }
}

static void receive(flx_quic_endpoint *endpoint, udp_socket *socket)
{
    for (int calls = 0; calls < RECEIVES_MAX; calls++) {
        const int count = flx_udp_receive(socket, endpoint->rx);
        STAT_ADD(endpoint, receive_calls, 1);
        const uint64_t now_ns = flx_clock_monotonic_ns();
        for (int i = 0; i < count; i++)
            receive_message(endpoint, socket, i, now_ns);
        if (count < UDP_RX_MESSAGES)
            break;
    }
    flx_endpoint_post_strays(endpoint);
}

static void on_ready(void *arg, uint32_t events)
{
    udp_socket *socket = arg;
    flx_quic_endpoint *endpoint = socket->endpoint;
    endpoint->in_tick = true;
    if ((events & EPOLLOUT) != 0)
        (void)flx_udp_tx_send(endpoint);
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        receive(endpoint, socket);
}

flx_status flx_endpoint_watch(flx_quic_endpoint *endpoint, udp_socket *socket, flx_error *reterr)
{
    socket->endpoint = endpoint;
    socket->watch = (flx_watch){.ready = on_ready, .arg = socket, .fd = socket->fd};
    const flx_status status = flx_loop_add(endpoint->loop, &socket->watch, EPOLLIN, reterr);
    if (status != FLX_OK)
        flx_udp_close(socket);
    return status;
}

/* --- the tick ------------------------------------------------------------------------------- */

static void on_again(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    flx_quic_endpoint *endpoint = arg;
    endpoint->again_set = false;
}

static void come_again(flx_quic_endpoint *endpoint)
{
    if (endpoint->again_set)
        return;
    endpoint->again_set = flx_loop_timer_set(endpoint->loop, &endpoint->again,
                                             flx_loop_now_ns(endpoint->loop)) == FLX_OK;
}

void flx_endpoint_dirty(flx_quic_endpoint *endpoint)
{
    if (!endpoint->in_tick)
        come_again(endpoint);
}

static void clean(flx_quic_endpoint *endpoint, flx_quic_conn *conn)
{
    if (conn->dirty)
        TAILQ_REMOVE(&endpoint->dirty, conn, dirty_link);
    conn->dirty = false;
}

/* One dirty connection. */
static void serve(flx_quic_endpoint *endpoint, flx_quic_conn *conn)
{
    const uint64_t now_ns = flx_clock_monotonic_ns();
    clean(endpoint, conn);
    const bool done = conn->ending || flx_conn_flush(conn, now_ns);
    if (conn->ending) {
        flx_conn_finish(conn, now_ns);
        return;
    }
    /* Pulling marks it dirty, and all of that has been looked at: only what is left counts. */
    clean(endpoint, conn);
    flx_conn_after_tick(conn);
    if (!done || !TAILQ_EMPTY(&conn->ops))
        flx_conn_mark_dirty(conn);
}

static void on_tick(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    flx_quic_endpoint *endpoint = arg;
    endpoint->in_tick = true;
    const flx_quic_conn *last = TAILQ_LAST(&endpoint->dirty, conn_list);
    while (!endpoint->tx->blocked && !TAILQ_EMPTY(&endpoint->dirty)) {
        flx_quic_conn *conn = TAILQ_FIRST(&endpoint->dirty);
        const bool was_last = conn == last;
        serve(endpoint, conn);
        if (was_last)
            break;
    }
    if (!endpoint->tx->blocked)
        (void)flx_udp_tx_send(endpoint);
    endpoint->in_tick = false;
    if (endpoint->tick_packets > TICK_PACKETS_FEW)
        flx_loop_note_bulk(endpoint->loop);
    endpoint->tick_packets = 0;
    if (!TAILQ_EMPTY(&endpoint->dirty) && !endpoint->tx->blocked) {
        come_again(endpoint);
    } else if (endpoint->again_set) {
        flx_loop_timer_cancel(endpoint->loop, &endpoint->again);
        endpoint->again_set = false;
    }
}

/* --- making and ending one ------------------------------------------------------------------- */

static flx_status endpoint_new(flx_loop *loop, const flx_quic_options *options,
                               flx_credentials *credentials, const flx_quic_events *events,
                               void *arg, flx_quic_endpoint **ret_endpoint, flx_error *reterr)
{
    flx_status status = flx_tls_init(reterr);
    if (status != FLX_OK)
        return status;
    flx_quic_endpoint *endpoint = flx_calloc(1, sizeof *endpoint);
    if (endpoint == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for an endpoint");
    endpoint->rx = flx_alloc(sizeof *endpoint->rx);
    endpoint->tx = flx_alloc(sizeof *endpoint->tx);
    if (endpoint->rx == NULL || endpoint->tx == NULL) {
        flx_free(endpoint->rx);
        flx_free(endpoint->tx);
        flx_free(endpoint);
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for an endpoint");
    }
    flx_udp_rx_init(endpoint->rx);
    flx_nodes_init(&endpoint->nodes);
    endpoint->tx->count = endpoint->tx->first = 0;
    endpoint->tx->used = 0;
    endpoint->tx->blocked = false;
    endpoint->tx->socket = NULL;
    endpoint->loop = loop;
    endpoint->count = 1;
    endpoint->options = *options;
    endpoint->credentials = credentials;
    endpoint->events = *events;
    endpoint->arg = arg;
    endpoint->sockets[0].fd = endpoint->sockets[1].fd = -1;
    endpoint->hook = (flx_tick_hook){.tick = on_tick, .arg = endpoint};
    endpoint->again = (flx_timer){.fire = on_again, .arg = endpoint};
    TAILQ_INIT(&endpoint->conns);
    TAILQ_INIT(&endpoint->dirty);
    TAILQ_INIT(&endpoint->linger);
    uint64_t seed = 0;
    (void)gnutls_rnd(GNUTLS_RND_NONCE, &seed, sizeof seed);
    flx_cidmap_init(&endpoint->cids, seed);
    flx_cidmap_init(&endpoint->tokens, seed);
    flx_loop_hook_add(loop, &endpoint->hook);
    *ret_endpoint = endpoint;
    return FLX_OK;
}

flx_status flx_quic_client(flx_loop *loop, const flx_quic_options *options,
                           flx_credentials *credentials, const flx_quic_events *events, void *arg,
                           flx_quic_endpoint **ret_endpoint, flx_error *reterr)
{
    const flx_quic_options resolved = flx_quic_options_resolve(options);
    if (resolved.udp_payload_max != 0 &&
        (resolved.udp_payload_max < 1200 || resolved.udp_payload_max > GSO_BYTES_MAX))
        return flx_fail(reterr, FLX_ERR_INVALID, "UDP payload of %u bytes is not in 1200..65000",
                        resolved.udp_payload_max);
    flx_quic_endpoint *endpoint = NULL;
    const flx_status status =
        endpoint_new(loop, &resolved, credentials, events, arg, &endpoint, reterr);
    if (endpoint == NULL)
        return status;
    (void)gnutls_rnd(GNUTLS_RND_RANDOM, endpoint->reset_secret, sizeof endpoint->reset_secret);
    *ret_endpoint = endpoint;
    return FLX_OK;
}

static flx_status listen_socket(flx_quic_endpoint *endpoint, const struct sockaddr *address,
                                socklen_t address_len, flx_error *reterr)
{
    udp_socket *socket = &endpoint->sockets[0];
    flx_udp_share share = FLX_UDP_ALONE;
    if (endpoint->count > 1)
        share = endpoint->index == 0 ? FLX_UDP_FIRST : FLX_UDP_JOIN;
    flx_status status = flx_udp_open(socket, address, address_len,
                                     endpoint->options.socket_buffer_bytes, share, reterr);
    /* The kernel takes the program once the group exists, which the second socket made it do. */
    if (status == FLX_OK && endpoint->count > 1 && endpoint->index == endpoint->count - 1)
        status = flx_steer_attach(socket->fd, endpoint->count, reterr);
    if (status == FLX_OK)
        status = flx_endpoint_watch(endpoint, socket, reterr);
    return status;
}

flx_status flx_quic_listen(flx_loop *loop, flx_quic_group *group, uint32_t index,
                           const struct sockaddr *address, socklen_t address_len,
                           flx_credentials *credentials, const flx_quic_events *events, void *arg,
                           flx_quic_endpoint **ret_endpoint, flx_error *reterr)
{
    FLX_ASSERT(index < group->count);
    flx_quic_endpoint *endpoint = NULL;
    flx_status status =
        endpoint_new(loop, &group->options, credentials, events, arg, &endpoint, reterr);
    if (endpoint == NULL)
        return status;
    endpoint->group = group;
    endpoint->index = index;
    endpoint->count = group->count;
    memcpy(endpoint->reset_secret, group->secret, sizeof endpoint->reset_secret);
    (void)atomic_fetch_add(&group->endpoints, 1);
    status = listen_socket(endpoint, address, address_len, reterr);
    if (status != FLX_OK) {
        (void)flx_quic_endpoint_free(endpoint);
        return status;
    }
    *ret_endpoint = endpoint;
    return FLX_OK;
}

static void close_all(flx_quic_endpoint *endpoint)
{
    flx_quic_conn *conn;
    endpoint->in_tick = true;
    endpoint->freeing = true;
    while ((conn = TAILQ_FIRST(&endpoint->conns)) != NULL) {
        flx_conn_end(conn, FLX_QUIC_CLOSE_LOCAL, true, 0, true, "shutting down");
        flx_conn_finish(conn, flx_clock_monotonic_ns());
    }
    while ((conn = TAILQ_FIRST(&endpoint->linger)) != NULL)
        flx_conn_forget_linger(conn);
    if (!endpoint->tx->blocked)
        (void)flx_udp_tx_send(endpoint);
}

static void drop_strays(flx_quic_endpoint *endpoint)
{
    for (uint32_t i = 0; endpoint->strays != NULL && i < endpoint->count; i++)
        (void)flx_chunk_unref(endpoint->strays[i]);
    flx_free(endpoint->strays);
}

flx_quic_endpoint *flx_quic_endpoint_free(flx_quic_endpoint *endpoint)
{
    if (endpoint == NULL)
        return NULL;
    FLX_ASSERT(!endpoint->freeing);
    close_all(endpoint);
    for (int i = 0; i < 2; i++) {
        if (endpoint->sockets[i].watch.added)
            flx_loop_remove(endpoint->loop, &endpoint->sockets[i].watch);
        flx_udp_close(&endpoint->sockets[i]);
    }
    flx_loop_timer_cancel(endpoint->loop, &endpoint->again);
    flx_loop_hook_remove(endpoint->loop, &endpoint->hook);
    FLX_ASSERT(endpoint->cids.count == 0);
    flx_cidmap_done(&endpoint->cids);
    flx_cidmap_done(&endpoint->tokens);
    flx_nodes_done(&endpoint->nodes);
    drop_strays(endpoint);
    if (endpoint->group != NULL)
        (void)atomic_fetch_sub(&endpoint->group->endpoints, 1);
    explicit_bzero(endpoint->reset_secret, sizeof endpoint->reset_secret);
    flx_free(endpoint->rx);
    flx_free(endpoint->tx);
    flx_free(endpoint);
    return NULL;
}

void flx_quic_endpoint_address(const flx_quic_endpoint *endpoint,
                               struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
    const udp_socket *socket = &endpoint->sockets[endpoint->sockets[0].fd >= 0 ? 0 : 1];
    memcpy(ret_address, &socket->local, sizeof *ret_address);
    *ret_len = socket->fd >= 0 ? socket->local_len : 0;
}

void flx_quic_endpoint_refuse_new(flx_quic_endpoint *endpoint)
{
    endpoint->refusing = true;
}

void flx_quic_endpoint_stats(const flx_quic_endpoint *endpoint, flx_quic_stats *ret_stats)
{
#define COPY(field)                                                                                \
    ret_stats->field = atomic_load_explicit(&endpoint->stats.field, memory_order_relaxed)
    COPY(packets_in);
    COPY(packets_out);
    COPY(bytes_in);
    COPY(bytes_out);
    COPY(send_calls);
    COPY(receive_calls);
    COPY(handshakes);
    COPY(handshake_failures);
    COPY(refused_total_limit);
    COPY(refused_source_limit);
    COPY(retries_sent);
    COPY(resets_sent);
    COPY(strays);
    COPY(packets_lost);
    COPY(dropped);
    COPY(connections);
#undef COPY
}
