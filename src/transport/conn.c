/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: its life, and what ngtcp2 calls back.
 *
 *     CONN_HANDSHAKE --completed--> CONN_OPEN --ending, hook--> CONN_LINGER --3 PTO--> freed
 *            |                                       ^
 *            +---------------- ending, hook ---------+
 *
 * Nothing is torn down inside a callback. Whoever finds that a connection is over (a read, a timer,
 * the owner) notes how (flx_conn_end, the first note counts), and the tick hook does the rest in
 * flx_conn_finish: CONNECTION_CLOSE, stream_closed for each stream, closed, and the memory. So every
 * callback may close or reset anything, itself included, and no pointer dies under its user.
 *
 * A closed connection lingers as a stub: its ids and its last packet, which is said again to a peer
 * that has not heard it, ever more rarely. Stubs are bounded; the oldest goes first.
 */
#include "common/alloc.h"
#include "common/clock.h"
#include "common/error.h"
#include "transport/quic_int.h"

#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdio.h>
#include <string.h>

#define ALERT_UNEXPECTED_MESSAGE 10

void flx_conn_mark_dirty(flx_quic_conn *conn)
{
    if (conn->dirty || conn->state == CONN_LINGER)
        return;
    conn->dirty = true;
    TAILQ_INSERT_TAIL(&conn->endpoint->dirty, conn, dirty_link);
    flx_endpoint_dirty(conn->endpoint);
}

/* --- ngtcp2's callbacks: the connection ----------------------------------------------------- */

static ngtcp2_conn *ref_get(ngtcp2_crypto_conn_ref *ref)
{
    return ((flx_quic_conn *)ref->user_data)->qc;
}

static void on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
    (void)ctx;
    (void)gnutls_rnd(GNUTLS_RND_NONCE, dest, len);
}

/* A server reads no TLS message after the handshake; a client may be sent tickets, which it does not
 * use. So neither needs its session any more. */
static int on_crypto_data(ngtcp2_conn *qc, ngtcp2_crypto_level level, uint64_t offset,
                          const uint8_t *data, size_t len, void *user_data)
{
    const flx_quic_conn *conn = user_data;
    if (level != NGTCP2_CRYPTO_LEVEL_APPLICATION && conn->tls != NULL)
        return ngtcp2_crypto_recv_crypto_data_cb(qc, level, offset, data, len, user_data);
    if (!conn->server)
        return 0;
    ngtcp2_conn_set_tls_alert(qc, ALERT_UNEXPECTED_MESSAGE);
    return NGTCP2_ERR_CRYPTO;
}

static int on_new_cid(ngtcp2_conn *qc, ngtcp2_cid *id, uint8_t *token, size_t len, void *user_data)
{
    (void)qc;
    flx_quic_conn *conn = user_data;
    flx_quic_endpoint *endpoint = conn->endpoint;
    FLX_ASSERT(len == CID_LEN);
    flx_endpoint_new_cid(endpoint, id);
    if (ngtcp2_crypto_generate_stateless_reset_token(token, endpoint->reset_secret,
                                                     sizeof endpoint->reset_secret, id) != 0 ||
        !flx_cidmap_put(&endpoint->cids, id->data, id->datalen, conn))
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int on_remove_cid(ngtcp2_conn *qc, const ngtcp2_cid *id, void *user_data)
{
    (void)qc;
    flx_quic_conn *conn = user_data;
    flx_cidmap_remove(&conn->endpoint->cids, id->data, id->datalen);
    return 0;
}

/* Which reset tokens of the peer count now: a stateless reset carries nothing else to know it by. */
static int on_dcid_status(ngtcp2_conn *qc, int type, uint64_t seq, const ngtcp2_cid *id,
                          const uint8_t *token, void *user_data)
{
    (void)qc;
    (void)seq;
    (void)id;
    flx_quic_conn *conn = user_data;
    cidmap *tokens = &conn->endpoint->tokens;
    if (token == NULL)
        return 0;
    if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_DEACTIVATE)
        flx_cidmap_remove(tokens, token, NGTCP2_STATELESS_RESET_TOKENLEN);
    else if (!flx_cidmap_put(tokens, token, NGTCP2_STATELESS_RESET_TOKENLEN, conn))
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static bool copy_certificate(flx_quic_conn *conn)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(conn->tls, &count);
    if (!conn->server || chain == NULL || count == 0)
        return true;
    conn->peer_certificate = flx_alloc(chain[0].size);
    if (conn->peer_certificate == NULL)
        return false;
    memcpy(conn->peer_certificate, chain[0].data, chain[0].size);
    conn->peer_certificate_len = chain[0].size;
    return true;
}

/* Our interval, but never so long that the peer's idle timeout could pass between two. */
static void start_keepalive(flx_quic_conn *conn)
{
    const ngtcp2_transport_params *peer = ngtcp2_conn_get_remote_transport_params(conn->qc);
    const flx_quic_options *o = &conn->endpoint->options;
    uint64_t idle_ns = o->idle_timeout_ms * FLX_NS_PER_MS;
    if (o->keepalive_ms == UINT32_MAX)
        return;
    if (peer != NULL && peer->max_idle_timeout > 0 && peer->max_idle_timeout < idle_ns)
        idle_ns = peer->max_idle_timeout;
    uint64_t every_ns = o->keepalive_ms * FLX_NS_PER_MS;
    if (every_ns > idle_ns / 2)
        every_ns = idle_ns / 2;
    ngtcp2_conn_set_keep_alive_timeout(conn->qc, every_ns);
}

static int on_handshake_completed(ngtcp2_conn *qc, void *user_data)
{
    (void)qc;
    flx_quic_conn *conn = user_data;
    conn->completed = true;
    conn->state = CONN_OPEN;
    conn->cipher = gnutls_cipher_get_name(gnutls_cipher_get(conn->tls));
    conn->drop_tls = conn->server;
    flx_conn_half_open_done(conn);
    STAT_ADD(conn->endpoint, handshakes, 1);
    start_keepalive(conn);
    return copy_certificate(conn) ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_handshake_confirmed(ngtcp2_conn *qc, void *user_data)
{
    (void)qc;
    flx_quic_conn *conn = user_data;
    conn->confirmed = true;
    conn->drop_tls = true;
    return 0;
}

static int on_stateless_reset(ngtcp2_conn *qc, const ngtcp2_pkt_stateless_reset *reset,
                              void *user_data)
{
    (void)qc;
    (void)reset;
    ((flx_quic_conn *)user_data)->got_reset = true;
    return 0;
}

static int on_more_streams(ngtcp2_conn *qc, uint64_t max, void *user_data)
{
    (void)qc;
    (void)max;
    ((flx_quic_conn *)user_data)->streams_came = true;
    return 0;
}

/* --- ngtcp2's callbacks: streams ------------------------------------------------------------ */

static void tell_connected(flx_quic_conn *conn)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    if (!conn->completed || conn->told_connected || conn->ending)
        return;
    conn->told_connected = true;
    if (endpoint->events.connected != NULL)
        endpoint->events.connected(endpoint->arg, conn);
}

static int on_stream_open(ngtcp2_conn *qc, int64_t id, void *user_data)
{
    flx_quic_conn *conn = user_data;
    flx_quic_endpoint *endpoint = conn->endpoint;
    flx_quic_stream *stream = flx_stream_new(conn, id, false);
    if (stream == NULL)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    (void)ngtcp2_conn_set_stream_user_data(qc, id, stream);
    tell_connected(conn);
    if (!conn->ending && endpoint->events.stream_opened != NULL)
        endpoint->events.stream_opened(endpoint->arg, conn, stream);
    return 0;
}

/* What nobody will read is given back at once, or the connection's window would leak. */
static void give_back(flx_quic_stream *stream, size_t len)
{
    stream->delivered += len;
    flx_quic_stream_consume(stream, len);
}

static int on_stream_data(ngtcp2_conn *qc, uint32_t flags, int64_t id, uint64_t offset,
                          const uint8_t *data, size_t len, void *user_data, void *stream_user_data)
{
    (void)qc;
    (void)id;
    (void)offset;
    flx_quic_conn *conn = user_data;
    flx_quic_endpoint *endpoint = conn->endpoint;
    flx_quic_stream *stream = stream_user_data;
    if (stream == NULL || conn->ending)
        return 0;
    const bool fin = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
    tell_connected(conn);
    if (stream->stop || endpoint->events.stream_data == NULL) {
        give_back(stream, len);
    } else {
        stream->delivered += len;
        endpoint->events.stream_data(endpoint->arg, stream, (flx_slice){data, len}, fin);
    }
    if (fin)
        flx_stream_read_done(stream);
    return 0;
}

static int on_acked(ngtcp2_conn *qc, int64_t id, uint64_t offset, uint64_t len, void *user_data,
                    void *stream_user_data)
{
    (void)qc;
    (void)id;
    (void)user_data;
    if (stream_user_data != NULL)
        flx_stream_acked(stream_user_data, offset + len);
    return 0;
}

static int on_stream_close(ngtcp2_conn *qc, uint32_t flags, int64_t id, uint64_t code,
                           void *user_data, void *stream_user_data)
{
    flx_quic_conn *conn = user_data;
    flx_quic_stream *stream = stream_user_data;
    if (stream == NULL)
        return 0;
    /* Of a STOP_SENDING ngtcp2 says no more than this: the send side ended, and neither by our FIN nor
     * by our reset. */
    if ((flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) != 0 && stream->writable &&
        !stream->fin_sent && !stream->reset)
        flx_stream_stopped(stream, code);
    if (!stream->local && ngtcp2_is_bidi_stream(id) != 0)
        ngtcp2_conn_extend_max_streams_bidi(qc, 1);
    else if (!stream->local)
        ngtcp2_conn_extend_max_streams_uni(qc, 1);
    ngtcp2_conn_extend_max_offset(qc, stream->delivered - stream->consumed);
    conn->lost += ngtcp2_conn_get_stream_loss_count(qc, id);
    flx_stream_end(stream);
    return 0;
}

static int on_stream_reset(ngtcp2_conn *qc, int64_t id, uint64_t final_size, uint64_t code,
                           void *user_data, void *stream_user_data)
{
    (void)qc;
    (void)id;
    (void)final_size;
    flx_quic_conn *conn = user_data;
    flx_quic_endpoint *endpoint = conn->endpoint;
    flx_quic_stream *stream = stream_user_data;
    if (stream == NULL)
        return 0;
    if (!conn->ending && endpoint->events.stream_reset != NULL)
        endpoint->events.stream_reset(endpoint->arg, stream, code);
    flx_stream_read_done(stream);
    return 0;
}

static int on_stream_window(ngtcp2_conn *qc, int64_t id, uint64_t max, void *user_data,
                            void *stream_user_data)
{
    (void)qc;
    (void)id;
    (void)max;
    (void)user_data;
    flx_quic_stream *stream = stream_user_data;
    if (stream == NULL)
        return 0;
    stream->blocked = false; /* README rule 6 */
    flx_stream_schedule(stream);
    return 0;
}

static ngtcp2_callbacks callbacks_of(bool server)
{
    ngtcp2_callbacks c = {0};
    if (server) {
        c.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    } else {
        c.client_initial = ngtcp2_crypto_client_initial_cb;
        c.recv_retry = ngtcp2_crypto_recv_retry_cb;
    }
    flx_aead_callbacks(&c);
    c.rand = on_rand;
    c.recv_crypto_data = on_crypto_data;
    c.get_new_connection_id = on_new_cid;
    c.remove_connection_id = on_remove_cid;
    c.dcid_status = on_dcid_status;
    c.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    c.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    c.handshake_completed = on_handshake_completed;
    c.handshake_confirmed = on_handshake_confirmed;
    c.recv_stateless_reset = on_stateless_reset;
    c.extend_max_local_streams_bidi = on_more_streams;
    c.extend_max_local_streams_uni = on_more_streams;
    c.stream_open = on_stream_open;
    c.recv_stream_data = on_stream_data;
    c.acked_stream_data_offset = on_acked;
    c.stream_close = on_stream_close;
    c.stream_reset = on_stream_reset;
    c.extend_max_stream_data = on_stream_window;
    return c;
}

/* --- making one ----------------------------------------------------------------------------- */

static void settings_of(const flx_quic_options *o, ngtcp2_settings *settings)
{
    ngtcp2_settings_default(settings);
    settings->initial_ts = flx_clock_monotonic_ns();
    settings->cc_algo = o->bbr ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
    settings->handshake_timeout = o->handshake_timeout_ms * FLX_NS_PER_MS;
    if (o->udp_payload_max != 0) { /* README rule 8 */
        settings->max_tx_udp_payload_size = o->udp_payload_max;
        settings->no_tx_udp_payload_size_shaping = 1;
        settings->no_pmtud = 1;
    }
}

static void params_of(const flx_quic_options *o, ngtcp2_transport_params *params)
{
    ngtcp2_transport_params_default(params);
    params->initial_max_data = o->conn_window_bytes;
    params->initial_max_stream_data_bidi_local = o->stream_window_bytes;
    params->initial_max_stream_data_bidi_remote = o->stream_window_bytes;
    params->initial_max_stream_data_uni = o->stream_window_bytes;
    params->initial_max_streams_bidi = o->streams_bidi;
    params->initial_max_streams_uni = o->streams_uni;
    params->max_idle_timeout = o->idle_timeout_ms * FLX_NS_PER_MS;
    params->active_connection_id_limit = NGTCP2_DEFAULT_ACTIVE_CONNECTION_ID_LIMIT;
}

static void on_timer(void *arg, uint64_t now_ns)
{
    flx_quic_conn *conn = arg;
    if (conn->state == CONN_LINGER) {
        flx_conn_forget_linger(conn);
        return;
    }
    conn->endpoint->in_tick = true;
    const uint64_t expiry_ns = flx_conn_expiry_ns(conn);
    if (expiry_ns > now_ns)
        flx_conn_arm(conn, expiry_ns); /* set early on purpose, see there */
    else
        flx_conn_mark_dirty(conn);
}

static flx_quic_conn *conn_alloc(flx_quic_endpoint *endpoint, udp_socket *socket, bool server)
{
    flx_quic_conn *conn = flx_calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    conn->endpoint = endpoint;
    conn->socket = socket;
    conn->server = server;
    conn->ids_unsure = true; /* until it is made */
    conn->ref = (ngtcp2_crypto_conn_ref){.get_conn = ref_get, .user_data = conn};
    conn->ack_due_ns = UINT64_MAX;
    conn->timer.fire = on_timer;
    conn->timer.arg = conn;
    TAILQ_INIT(&conn->streams);
    TAILQ_INIT(&conn->ready);
    TAILQ_INIT(&conn->pull);
    TAILQ_INIT(&conn->ops);
    TAILQ_INIT(&conn->dead);
    TAILQ_INIT(&conn->keys);
    TAILQ_INSERT_TAIL(&endpoint->conns, conn, all_link);
    STAT_ADD(endpoint, connections, 1);
    return conn;
}

flx_status flx_conn_accept(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                           const ngtcp2_pkt_hd *hd, const ngtcp2_cid *original_dcid,
                           const uint8_t source[16], flx_quic_conn **ret_conn)
{
    flx_quic_conn *conn = conn_alloc(endpoint, socket, true);
    if (conn == NULL)
        return FLX_ERR_NOMEM;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid scid;
    settings_of(&endpoint->options, &settings);
    params_of(&endpoint->options, &params);
    flx_endpoint_new_cid(endpoint, &scid);
    settings.ack_thresh = flx_acks_packets(&scid);
    memcpy(conn->source, source, sizeof conn->source);
    params.original_dcid = hd->dcid;
    if (original_dcid != NULL) { /* after a Retry */
        params.original_dcid = *original_dcid;
        params.retry_scid = hd->dcid;
        params.retry_scid_present = 1;
        settings.token = hd->token;
    }
    params.stateless_reset_token_present = 1;
    const ngtcp2_callbacks callbacks = callbacks_of(true);
    if (ngtcp2_crypto_generate_stateless_reset_token(params.stateless_reset_token,
                                                     endpoint->reset_secret,
                                                     sizeof endpoint->reset_secret, &scid) != 0)
        goto fail;
    if (ngtcp2_conn_server_new(&conn->qc, &hd->scid, &scid, path, hd->version, &callbacks,
                               &settings, &params, &endpoint->nodes.mem, conn) != 0) {
        conn->qc = NULL; /* on failure it points to freed memory */
        goto fail;
    }
    conn->initial_dcid.len = (uint8_t)hd->dcid.datalen;
    memcpy(conn->initial_dcid.bytes, hd->dcid.data, hd->dcid.datalen);
    if (!flx_cidmap_put(&endpoint->cids, scid.data, scid.datalen, conn) ||
        !flx_cidmap_put(&endpoint->cids, hd->dcid.data, hd->dcid.datalen, conn) ||
        !flx_tls_start(conn, NULL, NULL))
        goto fail;
    conn->ids_unsure = false;
    conn->counted = true;
    conn->half_open = true;
    (void)atomic_fetch_add(&endpoint->group->half_open, 1);
    *ret_conn = conn;
    return FLX_OK;

fail:
    flx_conn_free(conn);
    return FLX_ERR_NOMEM;
}

static bool client_start(flx_quic_conn *conn, const struct sockaddr *address, socklen_t len,
                         const char *alpn, flx_quic_worker worker)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid scid;
    ngtcp2_cid dcid = {.datalen = 16};
    ngtcp2_path_storage path;
    settings_of(&endpoint->options, &settings);
    params_of(&endpoint->options, &params);
    flx_endpoint_new_cid(endpoint, &scid);
    settings.ack_thresh = flx_acks_packets(&scid);
    (void)gnutls_rnd(GNUTLS_RND_NONCE, dcid.data, dcid.datalen);
    if (worker.count > 0) /* README rule 27 */
        dcid.data[0] = flx_steer_byte(dcid.data[0], worker.count, worker.index);
    ngtcp2_path_storage_init(&path, (const struct sockaddr *)&conn->socket->local,
                             conn->socket->local_len, address, len, NULL);
    const ngtcp2_callbacks callbacks = callbacks_of(false);
    if (ngtcp2_conn_client_new(&conn->qc, &dcid, &scid, &path.path, NGTCP2_PROTO_VER_V1, &callbacks,
                               &settings, &params, &endpoint->nodes.mem, conn) != 0) {
        conn->qc = NULL; /* on failure it points to freed memory */
        return false;
    }
    return flx_cidmap_put(&endpoint->cids, scid.data, scid.datalen, conn) &&
           flx_tls_start(conn, conn->server_name, alpn);
}

/* The socket of a family, opened when first needed: one serves any number of connections. */
static flx_status client_socket(flx_quic_endpoint *endpoint, sa_family_t family,
                                udp_socket **ret_socket, flx_error *reterr)
{
    udp_socket *socket = &endpoint->sockets[family == AF_INET6 ? 1 : 0];
    if (socket->fd < 0) {
        struct sockaddr_storage any = {.ss_family = family};
        const socklen_t len =
            family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        flx_status status =
            flx_udp_open(socket, (const struct sockaddr *)&any, len,
                         endpoint->options.socket_buffer_bytes, FLX_UDP_ALONE, reterr);
        if (status == FLX_OK)
            status = flx_endpoint_watch(endpoint, socket, reterr);
        if (status != FLX_OK)
            return status;
    }
    *ret_socket = socket;
    return FLX_OK;
}

flx_status flx_quic_connect(flx_quic_endpoint *endpoint, const struct sockaddr *address,
                            socklen_t address_len, const char *server_name, const char *alpn,
                            void *context, flx_quic_conn **ret_conn, flx_error *reterr)
{
    return flx_quic_connect_worker(endpoint, address, address_len, server_name, alpn,
                                   (flx_quic_worker){0}, context, ret_conn, reterr);
}

flx_status flx_quic_connect_worker(flx_quic_endpoint *endpoint, const struct sockaddr *address,
                                   socklen_t address_len, const char *server_name, const char *alpn,
                                   flx_quic_worker worker, void *context, flx_quic_conn **ret_conn,
                                   flx_error *reterr)
{
    FLX_ASSERT(endpoint->group == NULL);
    udp_socket *socket = NULL;
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
        return flx_fail(reterr, FLX_ERR_INVALID, "the address is not IPv4 or IPv6");
    if (alpn != NULL && (strlen(alpn) == 0 || strlen(alpn) > 255))
        return flx_fail(reterr, FLX_ERR_INVALID, "an ALPN id has 1..255 bytes");
    const flx_status status = client_socket(endpoint, address->sa_family, &socket, reterr);
    if (status != FLX_OK)
        return status;

    flx_quic_conn *conn = conn_alloc(endpoint, socket, false);
    if (conn == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for a connection");
    conn->context = context;
    flx_source_of(address, conn->source);
    conn->server_name = flx_strdup(server_name);
    if (conn->server_name == NULL || !client_start(conn, address, address_len, alpn, worker)) {
        flx_conn_free(conn);
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for a connection");
    }
    conn->ids_unsure = false;
    flx_conn_mark_dirty(conn);
    *ret_conn = conn;
    return FLX_OK;
}

/* --- reading -------------------------------------------------------------------------------- */

static void tell_streams(flx_quic_conn *conn)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    const bool tell = conn->streams_came && conn->want_streams && !conn->ending;
    conn->streams_came = false;
    if (!tell)
        return;
    conn->want_streams = false;
    if (endpoint->events.streams_available != NULL)
        endpoint->events.streams_available(endpoint->arg, conn);
}

void flx_conn_read(flx_quic_conn *conn, const ngtcp2_path *path, const uint8_t *packet, size_t len,
                   uint64_t now_ns)
{
    const ngtcp2_pkt_info info = {0};
    if (conn->ending)
        return;
    const int rv = ngtcp2_conn_read_pkt(conn->qc, path, &info, packet, len, now_ns);
    if (rv != 0)
        flx_conn_end_liberr(conn, rv);
    if (flx_mem_starved())
        flx_conn_end_liberr(conn, NGTCP2_ERR_NOMEM);
    tell_connected(conn);
    tell_streams(conn);
    flx_conn_mark_dirty(conn);
}

uint32_t flx_quic_conn_worker(const flx_quic_conn *conn, uint32_t count)
{
    FLX_ASSERT(!conn->server && count > 0);
    return ngtcp2_conn_get_dcid(conn->qc)->data[0] % count;
}

/* --- the owner's calls ----------------------------------------------------------------------- */

void flx_quic_conn_close(flx_quic_conn *conn, uint64_t code, const char *reason)
{
    flx_conn_end(conn, FLX_QUIC_CLOSE_LOCAL, true, code, true, reason != NULL ? reason : "");
}

void flx_quic_conn_set_context(flx_quic_conn *conn, void *context)
{
    conn->context = context;
}

void *flx_quic_conn_context(const flx_quic_conn *conn)
{
    return conn->context;
}

const struct sockaddr *flx_quic_conn_peer(const flx_quic_conn *conn)
{
    return ngtcp2_conn_get_path(conn->qc)->remote.addr;
}

void flx_quic_conn_source(const flx_quic_conn *conn, uint8_t ret_source[16])
{
    memcpy(ret_source, conn->source, 16);
}

flx_slice flx_quic_conn_peer_certificate(const flx_quic_conn *conn)
{
    return (flx_slice){conn->peer_certificate, conn->peer_certificate_len};
}

void flx_quic_conn_info_get(const flx_quic_conn *conn, flx_quic_conn_info *ret_info)
{
    ngtcp2_conn_stat stat;
    ngtcp2_conn_get_conn_stat(conn->qc, &stat);
    *ret_info = (flx_quic_conn_info){
        .smoothed_rtt_ns = stat.smoothed_rtt,
        .congestion_window_bytes = stat.cwnd,
        .bytes_in_flight = stat.bytes_in_flight,
        .packets_lost = conn->lost,
        .queued_bytes = conn->queued,
        .unacked_bytes = conn->unacked,
        .udp_payload_bytes = (uint32_t)ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->qc),
        .cipher = conn->cipher,
    };
    const flx_quic_stream *stream;
    for (stream = TAILQ_FIRST(&conn->streams); stream != NULL;
         stream = TAILQ_NEXT(stream, all_link))
        ret_info->packets_lost += ngtcp2_conn_get_stream_loss_count(conn->qc, stream->id);
}

flx_status flx_quic_conn_update_keys(flx_quic_conn *conn)
{
    if (conn->state != CONN_OPEN || conn->ending || !(conn->server || conn->confirmed))
        return FLX_ERR_AGAIN; /* ngtcp2 would abort: README rule 10 */
    const int rv = ngtcp2_conn_initiate_key_update(conn->qc, flx_clock_monotonic_ns());
    flx_conn_mark_dirty(conn);
    return rv == 0 ? FLX_OK : FLX_ERR_AGAIN;
}
