/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that belong to no connection here: newcomers, leftovers of a former life, strays of other
 * workers, noise. What is answered is answered without state and never with more bytes than came.
 *
 *     long header    another version            -> Version Negotiation (ours is QUIC v1 only)
 *                    Initial, full or refusing  -> CONNECTION_REFUSED
 *                    Initial, many half open    -> Retry; with a good token of ours it gets in
 *                    Initial                    -> a connection
 *     short header   known reset token          -> its connection is over
 *                    otherwise, a server        -> stateless reset, rate-limited
 *
 * GRO merges packets of one pair of addresses, and a client may have several connections behind one
 * socket: then the kernel steers the merged message by its first packet and the others stray. They
 * are collected a receive pass and handed to their worker as one chunk of records.
 */
#include "common/alloc.h"
#include "common/clock.h"
#include "transport/quic_int.h"

#include <string.h>

#define INITIAL_DATAGRAM_MIN 1200
#define RESET_MIN            (NGTCP2_STATELESS_RESET_TOKENLEN + 5)
#define RESET_MAX            (NGTCP2_STATELESS_RESET_TOKENLEN + 22)
#define NO_TOKEN             0
#define INVALID_TOKEN        0x0b

/* --- answers without state ------------------------------------------------------------------- */

static void answer(flx_quic_endpoint *endpoint, const ngtcp2_path *path, ngtcp2_ssize len)
{
    if (len > 0)
        flx_udp_tx_commit(endpoint, path->local.addr, path->remote.addr, path->remote.addrlen,
                          (size_t)len, (size_t)len);
}

static void send_version_negotiation(flx_quic_endpoint *endpoint, udp_socket *socket,
                                     const ngtcp2_path *path, const ngtcp2_version_cid *vc)
{
    const uint32_t versions[] = {NGTCP2_PROTO_VER_V1};
    uint8_t random = 0;
    uint8_t *room = flx_udp_tx_room(endpoint, socket);
    if (room == NULL)
        return;
    (void)gnutls_rnd(GNUTLS_RND_NONCE, &random, sizeof random);
    answer(endpoint, path,
           ngtcp2_pkt_write_version_negotiation(room, INITIAL_DATAGRAM_MIN, random, vc->scid,
                                                vc->scidlen, vc->dcid, vc->dcidlen, versions, 1));
}

static void refuse(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                   const ngtcp2_pkt_hd *hd, uint64_t code, const char *reason)
{
    uint8_t *room = flx_udp_tx_room(endpoint, socket);
    if (room == NULL)
        return;
    answer(endpoint, path,
           ngtcp2_crypto_write_connection_close(room, INITIAL_DATAGRAM_MIN, hd->version, &hd->scid,
                                                &hd->dcid, code, (const uint8_t *)reason,
                                                strlen(reason)));
}

/* Retry tokens are bound to the clock on the wall: every worker and the next start must read it. */
static uint64_t token_time_ns(void)
{
    return flx_clock_wall_us() * FLX_NS_PER_US;
}

static void send_retry(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                       const ngtcp2_pkt_hd *hd)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
    ngtcp2_cid scid;
    uint8_t *room = flx_udp_tx_room(endpoint, socket);
    if (room == NULL)
        return;
    flx_endpoint_new_cid(endpoint, &scid);
    const ngtcp2_ssize token_len = ngtcp2_crypto_generate_retry_token(
        token, endpoint->group->secret, sizeof endpoint->group->secret, hd->version,
        path->remote.addr, path->remote.addrlen, &scid, &hd->dcid, token_time_ns());
    if (token_len < 0)
        return;
    answer(endpoint, path,
           ngtcp2_crypto_write_retry(room, INITIAL_DATAGRAM_MIN, hd->version, &hd->scid, &scid,
                                     &hd->dcid, token, (size_t)token_len));
    STAT_ADD(endpoint, retries_sent, 1);
}

/* A budget a second, so that noise cannot make us speak without end. */
static bool reset_allowed(flx_quic_endpoint *endpoint, uint64_t now_ns)
{
    if (now_ns - endpoint->reset_window_ns >= FLX_NS_PER_S) {
        endpoint->reset_window_ns = now_ns;
        endpoint->reset_window_count = 0;
    }
    return endpoint->reset_window_count++ < RESETS_PER_SECOND;
}

static void send_reset(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                       const ngtcp2_version_cid *vc, size_t packet_len, uint64_t now_ns)
{
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
    uint8_t random[RESET_MAX];
    ngtcp2_cid id;
    /* Shorter than what it answers, or two of us would answer each other for ever. */
    if (packet_len <= RESET_MIN || !reset_allowed(endpoint, now_ns))
        return;
    const size_t len = packet_len - 1 < RESET_MAX ? packet_len - 1 : RESET_MAX;
    uint8_t *room = flx_udp_tx_room(endpoint, socket);
    if (room == NULL)
        return;
    ngtcp2_cid_init(&id, vc->dcid, vc->dcidlen);
    if (ngtcp2_crypto_generate_stateless_reset_token(token, endpoint->reset_secret,
                                                     sizeof endpoint->reset_secret, &id) != 0)
        return;
    (void)gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random);
    answer(endpoint, path,
           ngtcp2_pkt_write_stateless_reset(room, len, token, random, len - sizeof token));
    STAT_ADD(endpoint, resets_sent, 1);
}

/* --- newcomers ------------------------------------------------------------------------------- */

typedef enum verdict { LET_IN, LET_IN_VALIDATED, ASK_RETRY, BAD_TOKEN } verdict;

static verdict judge_token(flx_quic_endpoint *endpoint, const ngtcp2_path *path,
                           const ngtcp2_pkt_hd *hd, ngtcp2_cid *ret_original)
{
    if (hd->token.len > NO_TOKEN && hd->token.base[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY) {
        const int rv = ngtcp2_crypto_verify_retry_token(
            ret_original, hd->token.base, hd->token.len, endpoint->group->secret,
            sizeof endpoint->group->secret, hd->version, path->remote.addr, path->remote.addrlen,
            &hd->dcid, RETRY_TOKEN_SECONDS * FLX_NS_PER_S, token_time_ns());
        return rv == 0 ? LET_IN_VALIDATED : BAD_TOKEN;
    }
    const uint32_t half_open = atomic_load(&endpoint->group->half_open);
    return half_open >= endpoint->group->options.retry_above ? ASK_RETRY : LET_IN;
}

/* Takes a place under the caps and makes the connection. */
static void let_in(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                   const ngtcp2_pkt_hd *hd, const ngtcp2_cid *original, const uint8_t *packet,
                   size_t len, uint64_t now_ns)
{
    uint8_t source[16];
    flx_quic_conn *conn = NULL;
    flx_source_of(path->remote.addr, source);
    const admission admitted = flx_group_admit(endpoint->group, source);
    if (admitted == ADMIT_TOTAL)
        STAT_ADD(endpoint, refused_total_limit, 1);
    if (admitted == ADMIT_SOURCE)
        STAT_ADD(endpoint, refused_source_limit, 1);
    if (admitted != ADMIT_OK) {
        refuse(endpoint, socket, path, hd, NGTCP2_CONNECTION_REFUSED,
               admitted == ADMIT_SOURCE ? "too many connections from this address"
                                        : "too many connections");
        return;
    }
    if (flx_conn_accept(endpoint, socket, path, hd, original, source, &conn) != FLX_OK) {
        flx_group_leave(endpoint->group, source);
        STAT_ADD(endpoint, dropped, 1);
        return;
    }
    flx_conn_read(conn, path, packet, len, now_ns);
    /* A later part of a ClientHello came first: ngtcp2 keeps it only for a validated address. */
    if (conn->wants_retry)
        send_retry(endpoint, socket, path, hd);
}

static void newcomer(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                     const uint8_t *packet, size_t len, uint64_t now_ns)
{
    ngtcp2_pkt_hd hd;
    ngtcp2_cid original;
    if (len < INITIAL_DATAGRAM_MIN || ngtcp2_accept(&hd, packet, len) != 0) {
        STAT_ADD(endpoint, dropped, 1);
        return;
    }
    if (endpoint->refusing) {
        refuse(endpoint, socket, path, &hd, NGTCP2_CONNECTION_REFUSED, "shutting down");
        return;
    }
    switch (judge_token(endpoint, path, &hd, &original)) {
    case BAD_TOKEN:
        refuse(endpoint, socket, path, &hd, INVALID_TOKEN, "stale address token");
        return;
    case ASK_RETRY:
        send_retry(endpoint, socket, path, &hd);
        return;
    case LET_IN:
        let_in(endpoint, socket, path, &hd, NULL, packet, len, now_ns);
        return;
    case LET_IN_VALIDATED:
        let_in(endpoint, socket, path, &hd, &original, packet, len, now_ns);
        return;
    }
}

/* --- strays ---------------------------------------------------------------------------------- */

typedef struct stray_head {
    uint32_t len;
    socklen_t local_len;
    socklen_t remote_len;
    struct sockaddr_in6 local; /* holds an IPv4 address as well */
    struct sockaddr_in6 remote;
} stray_head;

void flx_quic_endpoint_set_post(flx_quic_endpoint *endpoint,
                                bool (*post)(void *arg, uint32_t index, flx_chunk *packets),
                                void *arg)
{
    endpoint->post = post;
    endpoint->post_arg = arg;
}

static void post_one(flx_quic_endpoint *endpoint, uint32_t index)
{
    flx_chunk *packets = endpoint->strays[index];
    endpoint->strays[index] = NULL;
    if (packets != NULL && !endpoint->post(endpoint->post_arg, index, packets)) {
        STAT_ADD(endpoint, dropped, 1); /* its mailbox is full: the network loses packets too */
        (void)flx_chunk_unref(packets);
    }
}

void flx_endpoint_post_strays(flx_quic_endpoint *endpoint)
{
    for (uint32_t i = 0; endpoint->strays != NULL && i < endpoint->count; i++)
        post_one(endpoint, i);
}

/* The chunk that collects for worker `index`, with room for `need` bytes. */
static flx_chunk *stray_chunk(flx_quic_endpoint *endpoint, uint32_t index, size_t need)
{
    if (endpoint->strays == NULL)
        endpoint->strays = flx_calloc(endpoint->count, sizeof(flx_chunk *));
    if (endpoint->strays == NULL)
        return NULL;
    if (endpoint->strays[index] != NULL && flx_chunk_room(endpoint->strays[index]) < need)
        post_one(endpoint, index);
    if (endpoint->strays[index] == NULL)
        endpoint->strays[index] =
            flx_chunk_new(need > STRAY_CHUNK_BYTES ? need : STRAY_CHUNK_BYTES);
    return endpoint->strays[index];
}

/* Keeps a stray for its worker. False: not one, or it cannot be handed over. */
static bool keep_stray(flx_quic_endpoint *endpoint, const ngtcp2_path *path, const uint8_t *packet,
                       size_t len)
{
    uint32_t index;
    if (endpoint->count == 1 || !flx_steer_index(packet, len, endpoint->count, &index) ||
        index == endpoint->index)
        return false;
    STAT_ADD(endpoint, strays, 1);
    if (endpoint->post == NULL)
        return true; /* lost: to answer would end a connection that lives elsewhere */

    stray_head head = {
        .len = (uint32_t)len, .local_len = path->local.addrlen, .remote_len = path->remote.addrlen};
    flx_chunk *chunk = stray_chunk(endpoint, index, sizeof head + len);
    if (chunk == NULL || head.local_len > sizeof head.local ||
        head.remote_len > sizeof head.remote) {
        STAT_ADD(endpoint, dropped, 1);
        return true;
    }
    memcpy(&head.local, path->local.addr, head.local_len);
    memcpy(&head.remote, path->remote.addr, head.remote_len);
    memcpy(chunk->data + chunk->len, &head, sizeof head);
    memcpy(chunk->data + chunk->len + sizeof head, packet, len);
    chunk->len += (uint32_t)(sizeof head + len);
    return true;
}

void flx_quic_endpoint_receive_stray(flx_quic_endpoint *endpoint, flx_chunk *packets)
{
    const uint64_t now_ns = flx_clock_monotonic_ns();
    for (size_t at = 0; at < packets->len;) {
        stray_head head;
        FLX_ASSERT(at + sizeof head <= packets->len);
        memcpy(&head, packets->data + at, sizeof head);
        at += sizeof head;
        FLX_ASSERT(at + head.len <= packets->len);
        const ngtcp2_path path = {
            .local = {(struct sockaddr *)&head.local, head.local_len},
            .remote = {(struct sockaddr *)&head.remote, head.remote_len},
        };
        flx_endpoint_datagram(endpoint, &endpoint->sockets[0], &path, packets->data + at, head.len,
                              now_ns);
        at += head.len;
    }
    (void)flx_chunk_unref(packets);
    /* Answers without a connection wait for the hook as well. */
    flx_endpoint_dirty(endpoint);
}

/* --- the door -------------------------------------------------------------------------------- */

static void unknown_short(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                          const uint8_t *packet, size_t len, const ngtcp2_version_cid *vc,
                          uint64_t now_ns)
{
    flx_quic_conn *conn = NULL;
    if (len >= RESET_MIN)
        conn = flx_cidmap_get(&endpoint->tokens, packet + len - NGTCP2_STATELESS_RESET_TOKENLEN,
                              NGTCP2_STATELESS_RESET_TOKENLEN);
    if (conn != NULL)
        flx_conn_read(conn, path, packet, len, now_ns);
    else if (endpoint->group != NULL)
        send_reset(endpoint, socket, path, vc, len, now_ns);
    else
        STAT_ADD(endpoint, dropped, 1);
}

void flx_endpoint_unknown(flx_quic_endpoint *endpoint, udp_socket *socket, const ngtcp2_path *path,
                          const uint8_t *packet, size_t len, const ngtcp2_version_cid *vc,
                          uint64_t now_ns)
{
    if (keep_stray(endpoint, path, packet, len))
        return;
    if ((packet[0] & 0x80) == 0) {
        unknown_short(endpoint, socket, path, packet, len, vc, now_ns);
    } else if (endpoint->group == NULL || vc->version == 0) {
        STAT_ADD(endpoint, dropped, 1);
    } else if (vc->version != NGTCP2_PROTO_VER_V1) {
        if (len >= INITIAL_DATAGRAM_MIN)
            send_version_negotiation(endpoint, socket, path, vc);
        else
            STAT_ADD(endpoint, dropped, 1);
    } else {
        newcomer(endpoint, socket, path, packet, len, now_ns);
    }
}
