/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How connections end: the note (flx_conn_end and what ngtcp2's errors mean), and the last steps in
 * the tick hook (flx_conn_finish): CONNECTION_CLOSE, events, memory, and the stub that lingers. The
 * reasons for doing it in two steps stand in conn.c.
 */
#include "common/alloc.h"
#include "transport/quic_int.h"

#include <stdio.h>
#include <string.h>

/* --- how it ends ---------------------------------------------------------------------------- */

static void copy_printable(char *dest, size_t cap, const uint8_t *text, size_t len)
{
    size_t n = 0;
    for (; n < len && n + 1 < cap; n++)
        dest[n] = text[n] >= 0x20 && text[n] < 0x7f ? (char)text[n] : '?';
    dest[n] = '\0';
}

static flx_quic_close_kind kind_of(const flx_quic_conn *conn, flx_quic_close_kind kind)
{
    return conn->completed ? kind : FLX_QUIC_CLOSE_HANDSHAKE;
}

void flx_conn_end(flx_quic_conn *conn, flx_quic_close_kind kind, bool application, uint64_t code,
                  bool send_close, const char *reason)
{
    if (conn->ending || conn->state == CONN_LINGER)
        return;
    const size_t len = strlen(reason);
    conn->ending = true;
    conn->send_close = send_close;
    conn->why.kind = kind;
    conn->why.application = application;
    conn->why.code = code;
    copy_printable(conn->why.reason, sizeof conn->why.reason, (const uint8_t *)reason, len);
    flx_conn_mark_dirty(conn);
}

static void end_by_peer(flx_quic_conn *conn)
{
    if (conn->got_reset) {
        flx_conn_end(conn, kind_of(conn, FLX_QUIC_CLOSE_RESET), false, 0, false,
                     "stateless reset: the peer does not know the connection");
        return;
    }
    ngtcp2_connection_close_error error;
    char reason[sizeof conn->why.reason] = "";
    ngtcp2_conn_get_connection_close_error(conn->qc, &error);
    const bool application = error.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION;
    copy_printable(reason, sizeof reason, error.reason, error.reasonlen);
    if (error.reasonlen == 0 && !application && error.error_code >= NGTCP2_CRYPTO_ERROR &&
        error.error_code <= NGTCP2_CRYPTO_ERROR + 0xff)
        flx_tls_alert_text((uint8_t)(error.error_code & 0xff), reason, sizeof reason);
    else if (error.reasonlen == 0 && !application && error.error_code == NGTCP2_CONNECTION_REFUSED)
        (void)snprintf(reason, sizeof reason, "connection refused");
    flx_conn_end(conn, kind_of(conn, FLX_QUIC_CLOSE_PEER), application, error.error_code, false,
                 reason);
}

static void end_by_tls(flx_quic_conn *conn)
{
    const uint8_t alert = ngtcp2_conn_get_tls_alert(conn->qc);
    char reason[sizeof conn->why.reason] = "";
    if (conn->tls_reason != NULL)
        (void)snprintf(reason, sizeof reason, "%s", conn->tls_reason);
    else
        flx_tls_alert_text(alert, reason, sizeof reason);
    flx_conn_end(conn, kind_of(conn, FLX_QUIC_CLOSE_TRANSPORT), false, NGTCP2_CRYPTO_ERROR | alert,
                 true, reason);
}

void flx_conn_end_liberr(flx_quic_conn *conn, int liberr)
{
    switch (liberr) {
    case NGTCP2_ERR_DRAINING:
        end_by_peer(conn);
        return;
    case NGTCP2_ERR_CRYPTO:
        end_by_tls(conn);
        return;
    case NGTCP2_ERR_IDLE_CLOSE:
        flx_conn_end(conn, kind_of(conn, FLX_QUIC_CLOSE_IDLE), false, 0, false, "idle timeout");
        return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        flx_conn_end(conn, FLX_QUIC_CLOSE_HANDSHAKE, false, 0, false, "handshake timed out");
        return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        flx_conn_end(conn, FLX_QUIC_CLOSE_HANDSHAKE, false, 0, false,
                     "the server does not speak QUIC version 1");
        return;
    case NGTCP2_ERR_RETRY:
        conn->wants_retry = conn->server;
        /* fallthrough */
    case NGTCP2_ERR_DROP_CONN:
        flx_conn_end(conn, FLX_QUIC_CLOSE_HANDSHAKE, false, 0, false, "unusable first packet");
        return;
    default:
        conn->ids_unsure = conn->ids_unsure || ngtcp2_err_is_fatal(liberr) != 0;
        flx_conn_end(conn, kind_of(conn, FLX_QUIC_CLOSE_TRANSPORT), false,
                     ngtcp2_err_infer_quic_transport_error_code(liberr), true,
                     ngtcp2_strerror(liberr));
    }
}

void flx_conn_half_open_done(flx_quic_conn *conn)
{
    if (conn->half_open)
        (void)atomic_fetch_sub(&conn->endpoint->group->half_open, 1);
    conn->half_open = false;
}

/* --- the end -------------------------------------------------------------------------------- */

static void free_dead_streams(flx_quic_conn *conn)
{
    flx_quic_stream *stream;
    while ((stream = TAILQ_FIRST(&conn->dead)) != NULL) {
        TAILQ_REMOVE(&conn->dead, stream, all_link);
        flx_stream_free(stream);
    }
}

void flx_conn_after_tick(flx_quic_conn *conn)
{
    free_dead_streams(conn);
    if (conn->drop_tls) {
        conn->drop_tls = false;
        flx_tls_release(conn);
    }
}

/* The last packet, sent now and kept for a peer that speaks on. */
static void write_close(flx_quic_conn *conn, uint64_t now_ns)
{
    ngtcp2_connection_close_error error;
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info;
    uint8_t *reason = (uint8_t *)conn->why.reason;
    const size_t reason_len = strlen(conn->why.reason);
    uint8_t *room = flx_udp_tx_room(conn->endpoint, conn->socket);
    if (room == NULL)
        return;
    ngtcp2_connection_close_error_default(&error);
    if (conn->why.application)
        ngtcp2_connection_close_error_set_application_error(&error, conn->why.code, reason,
                                                            reason_len);
    else
        ngtcp2_connection_close_error_set_transport_error(&error, conn->why.code, reason,
                                                          reason_len);
    ngtcp2_path_storage_zero(&path);
    const ngtcp2_ssize n = ngtcp2_conn_write_connection_close(
        conn->qc, &path.path, &info, room, ngtcp2_conn_get_max_tx_udp_payload_size(conn->qc),
        &error, now_ns);
    if (n <= 0)
        return;
    conn->close_packet = flx_alloc((size_t)n);
    if (conn->close_packet != NULL) {
        memcpy(conn->close_packet, room, (size_t)n);
        conn->close_packet_len = (uint16_t)n;
    }
    flx_udp_tx_commit(conn->endpoint, path.path.local.addr, path.path.remote.addr,
                      path.path.remote.addrlen, (size_t)n, (size_t)n);
}

static void forget_tokens(flx_quic_conn *conn)
{
    const size_t count = ngtcp2_conn_get_num_active_dcid(conn->qc);
    ngtcp2_cid_token active[NGTCP2_DEFAULT_ACTIVE_CONNECTION_ID_LIMIT + 8];
    if (count > sizeof active / sizeof active[0])
        return;
    const size_t got = ngtcp2_conn_get_active_dcid(conn->qc, active);
    for (size_t i = 0; i < got; i++)
        if (active[i].token_present != 0 && flx_cidmap_get(&conn->endpoint->tokens, active[i].token,
                                                           NGTCP2_STATELESS_RESET_TOKENLEN) == conn)
            flx_cidmap_remove(&conn->endpoint->tokens, active[i].token,
                              NGTCP2_STATELESS_RESET_TOKENLEN);
}

/* The connection's ids: kept for the stub's life, or forgotten now (`keep` NULL). */
static uint32_t collect_ids(flx_quic_conn *conn, cid *keep, uint32_t cap)
{
    ngtcp2_cid ids[32];
    uint32_t count = 0;
    cidmap *map = &conn->endpoint->cids;
    const size_t have = ngtcp2_conn_get_num_scid(conn->qc);
    FLX_ASSERT(have <= sizeof ids / sizeof ids[0]); /* ngtcp2 issues at most eight, and retires */
    const size_t got = ngtcp2_conn_get_scid(conn->qc, ids);
    for (size_t i = 0; i < got; i++) {
        if (keep == NULL)
            flx_cidmap_remove(map, ids[i].data, ids[i].datalen);
        else if (count < cap) {
            keep[count].len = (uint8_t)ids[i].datalen;
            memcpy(keep[count++].bytes, ids[i].data, ids[i].datalen);
        }
    }
    if (conn->initial_dcid.len > 0 && keep == NULL)
        flx_cidmap_remove(map, conn->initial_dcid.bytes, conn->initial_dcid.len);
    return count;
}

static void forget_ids(flx_quic_conn *conn)
{
    if (conn->qc != NULL) {
        forget_tokens(conn);
        (void)collect_ids(conn, NULL, 0);
    }
    if (conn->ids_unsure) {
        flx_cidmap_remove_conn(&conn->endpoint->cids, conn);
        flx_cidmap_remove_conn(&conn->endpoint->tokens, conn);
    }
}

static void release_library(flx_quic_conn *conn)
{
    flx_tls_release(conn);
    if (conn->qc != NULL) {
        ngtcp2_conn *qc = conn->qc;
        ngtcp2_conn_del(qc);
        conn->qc = NULL;
    }
    FLX_ASSERT(TAILQ_EMPTY(&conn->keys));
    flx_free(conn->peer_certificate);
    conn->peer_certificate = NULL;
    conn->peer_certificate_len = 0;
    flx_free(conn->tls_reason);
    conn->tls_reason = NULL;
}

void flx_conn_free(flx_quic_conn *conn)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    flx_loop_timer_cancel(endpoint->loop, &conn->timer);
    if (conn->dirty)
        TAILQ_REMOVE(&endpoint->dirty, conn, dirty_link);
    forget_ids(conn);
    if (conn->state == CONN_LINGER) {
        TAILQ_REMOVE(&endpoint->linger, conn, all_link);
    } else {
        TAILQ_REMOVE(&endpoint->conns, conn, all_link);
        STAT_ADD(endpoint, connections, UINT32_MAX);
    }
    release_library(conn);
    flx_free(conn->close_packet);
    flx_free(conn->linger_cids);
    flx_free(conn);
}

void flx_conn_forget_linger(flx_quic_conn *conn)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    FLX_ASSERT(conn->state == CONN_LINGER);
    for (uint32_t i = 0; i < conn->linger_cid_count; i++)
        flx_cidmap_remove(&endpoint->cids, conn->linger_cids[i].bytes, conn->linger_cids[i].len);
    if (conn->initial_dcid.len > 0)
        flx_cidmap_remove(&endpoint->cids, conn->initial_dcid.bytes, conn->initial_dcid.len);
    endpoint->linger_count--;
    flx_conn_free(conn);
}

/* Makes a stub of it. False: no memory, or not worth one. */
static bool linger(flx_quic_conn *conn, uint64_t now_ns)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    const bool closed_by_peer = conn->why.kind == FLX_QUIC_CLOSE_PEER;
    if (endpoint->freeing || conn->ids_unsure || (conn->close_packet == NULL && !closed_by_peer))
        return false;
    const uint64_t until_ns = now_ns + 3 * ngtcp2_conn_get_pto(conn->qc);
    const uint32_t cap = (uint32_t)ngtcp2_conn_get_num_scid(conn->qc);
    conn->linger_cids = flx_alloc((cap + 1) * sizeof *conn->linger_cids);
    flx_loop_timer_cancel(endpoint->loop, &conn->timer);
    if (conn->linger_cids == NULL ||
        flx_loop_timer_set(endpoint->loop, &conn->timer, until_ns) != FLX_OK)
        return false;
    conn->linger_cid_count = collect_ids(conn, conn->linger_cids, cap);
    forget_tokens(conn);
    release_library(conn);
    TAILQ_REMOVE(&endpoint->conns, conn, all_link);
    STAT_ADD(endpoint, connections, UINT32_MAX);
    conn->state = CONN_LINGER;
    TAILQ_INSERT_TAIL(&endpoint->linger, conn, all_link);
    if (++endpoint->linger_count > LINGER_MAX)
        flx_conn_forget_linger(TAILQ_FIRST(&endpoint->linger));
    return true;
}

/* A packet for a stub: say the end again, at the 1st, 2nd, 4th, 8th ... */
void flx_conn_linger_hit(flx_quic_conn *conn, udp_socket *socket, const ngtcp2_path *path)
{
    const uint32_t hits = ++conn->linger_hits;
    if (conn->close_packet == NULL || (hits & (hits - 1)) != 0)
        return;
    uint8_t *room = flx_udp_tx_room(conn->endpoint, socket);
    if (room == NULL)
        return;
    memcpy(room, conn->close_packet, conn->close_packet_len);
    flx_udp_tx_commit(conn->endpoint, path->local.addr, path->remote.addr, path->remote.addrlen,
                      conn->close_packet_len, conn->close_packet_len);
}

static void leave_group(flx_quic_conn *conn)
{
    flx_conn_half_open_done(conn);
    if (conn->counted)
        flx_group_leave(conn->endpoint->group, conn->source);
    conn->counted = false;
}

void flx_conn_finish(flx_quic_conn *conn, uint64_t now_ns)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    flx_quic_stream *stream;
    flx_quic_conn_info info;
    FLX_ASSERT(conn->ending && conn->state != CONN_LINGER);
    if (conn->send_close)
        write_close(conn, now_ns);
    flx_quic_conn_info_get(conn, &info);
    STAT_ADD(endpoint, packets_lost, info.packets_lost);
    if (!conn->completed)
        STAT_ADD(endpoint, handshake_failures, 1);
    leave_group(conn);

    while ((stream = TAILQ_FIRST(&conn->streams)) != NULL)
        flx_stream_end(stream);
    /* A server's owner never heard of a connection whose handshake failed. */
    if (endpoint->events.closed != NULL && (conn->told_connected || !conn->server))
        endpoint->events.closed(endpoint->arg, conn, &conn->why);

    if (conn->dirty) {
        conn->dirty = false;
        TAILQ_REMOVE(&endpoint->dirty, conn, dirty_link);
    }
    const bool stub = linger(conn, now_ns);
    if (!stub) { /* ngtcp2 first: it may look at ranges until it is gone */
        forget_ids(conn);
        release_library(conn);
    }
    free_dead_streams(conn);
    if (!stub)
        flx_conn_free(conn);
}
