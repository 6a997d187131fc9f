/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flush pass of one connection: packets from its ready streams, in batches for GSO.
 *
 * Streams with something to send stand in a list and take turns packet by packet; small ones share
 * a packet. Before each packet, streams that want to be pulled are asked for more while little is
 * queued and the path has room: never while a packet is half built, because the owner may call
 * anything from there (README rule 5).
 *
 * A batch is packets of one size and one path; the last may be shorter. After two batches the
 * connection waits for the next tick, which comes at once: acknowledgements must be read in between.
 */
#include "common/clock.h"
#include "transport/quic_int.h"

#include <string.h>

typedef struct batch {
    uint8_t *start;
    size_t len;
    size_t segment; /* size of its packets, 0: empty */
    uint32_t packets;
    ngtcp2_path_storage path;
} batch;

static bool may_send_data(const flx_quic_conn *conn)
{
    return conn->state == CONN_OPEN && conn->unacked < conn->endpoint->options.unacked_bytes_max;
}

/* --- pull ----------------------------------------------------------------------------------- */

/* Asks one stream. One that gave nothing sleeps until its owner wants again or the peer's window
 * opens. */
static void pull_one(flx_quic_conn *conn, flx_quic_stream *stream)
{
    flx_quic_endpoint *endpoint = conn->endpoint;
    const uint64_t end = stream->end;
    TAILQ_REMOVE(&conn->pull, stream, pull_link);
    TAILQ_INSERT_TAIL(&conn->pull, stream, pull_link);
    endpoint->events.stream_pull(endpoint->arg, stream);
    if (stream->in_pull && stream->end == end) {
        TAILQ_REMOVE(&conn->pull, stream, pull_link);
        stream->in_pull = false;
        conn->pull_count--;
    }
}

static void pull_streams(flx_quic_conn *conn)
{
    if (conn->pull_count == 0 || conn->sendable >= PULL_LOW_BYTES || !may_send_data(conn) ||
        conn->endpoint->events.stream_pull == NULL)
        return;
    if (ngtcp2_conn_get_max_data_left(conn->qc) <= conn->sendable ||
        ngtcp2_conn_get_cwnd_left(conn->qc) == 0)
        return;
    for (uint32_t turns = conn->pull_count; turns > 0; turns--) {
        flx_quic_stream *stream = TAILQ_FIRST(&conn->pull);
        if (stream == NULL || conn->sendable >= PULL_LOW_BYTES || conn->ending)
            return;
        pull_one(conn, stream);
    }
}

/* --- one packet ----------------------------------------------------------------------------- */

/* What ngtcp2 took of a stream's data; the stream goes to the end of the line. */
static void note_sent(flx_quic_conn *conn, flx_quic_stream *stream, size_t len, bool with_fin)
{
    flx_stream_sent(stream, len);
    if (with_fin && stream->sent == stream->end)
        stream->fin_sent = true;
    TAILQ_REMOVE(&conn->ready, stream, ready_link);
    TAILQ_INSERT_TAIL(&conn->ready, stream, ready_link);
    flx_stream_schedule(stream);
}

/* A stream that cannot send now. False: the error is the connection's. */
static bool note_refused(flx_quic_stream *stream, ngtcp2_ssize error)
{
    switch (error) {
    case NGTCP2_ERR_STREAM_DATA_BLOCKED:
        stream->blocked = true;
        break;
    case NGTCP2_ERR_STREAM_SHUT_WR: /* a STOP_SENDING came; a packet may be half built, so later */
    case NGTCP2_ERR_STREAM_NOT_FOUND:
        flx_stream_stop_seen(stream);
        break;
    default:
        return false;
    }
    flx_stream_schedule(stream);
    return true;
}

/*
 * Builds one packet of up to `cap` bytes at `dest`, from as many streams as fit. Returns its length,
 * 0 when there is nothing to send or the path has no room, or ngtcp2's error. *ret_carried: it holds
 * stream bytes, so whatever else waits had its turn in it or before it.
 */
static ngtcp2_ssize build_packet(flx_quic_conn *conn, uint8_t *dest, size_t cap, ngtcp2_path *path,
                                 uint64_t now_ns, bool *ret_carried)
{
    ngtcp2_pkt_info info = {0};
    *ret_carried = false;
    for (;;) {
        ngtcp2_vec vec[GATHER_MAX];
        ngtcp2_ssize taken = -1;
        size_t used = 0;
        bool all = false;
        uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
        if (!flx_nodes_ready(&conn->endpoint->nodes))
            return NGTCP2_ERR_NOMEM;
        flx_quic_stream *stream = may_send_data(conn) ? TAILQ_FIRST(&conn->ready) : NULL;
        if (stream != NULL) {
            used = flx_stream_gather(stream, vec, cap, &all);
            /* The last one closes the packet in the same call. */
            if (TAILQ_NEXT(stream, ready_link) != NULL || !all)
                flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
            if (stream->fin && all)
                flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
        }
        const ngtcp2_ssize n =
            ngtcp2_conn_writev_stream(conn->qc, path, &info, dest, cap, &taken, flags,
                                      stream != NULL ? stream->id : -1, vec, used, now_ns);
        if (stream != NULL && taken >= 0) {
            note_sent(conn, stream, (size_t)taken, (flags & NGTCP2_WRITE_STREAM_FLAG_FIN) != 0);
            *ret_carried = true;
        }
        if (n == NGTCP2_ERR_WRITE_MORE)
            continue;
        if (n < 0 && stream != NULL && note_refused(stream, n))
            continue;
        return n;
    }
}

/* --- batches -------------------------------------------------------------------------------- */

static void batch_commit(flx_quic_conn *conn, batch *b)
{
    if (b->len > 0)
        flx_udp_tx_commit(conn->endpoint, b->path.path.local.addr, b->path.path.remote.addr,
                          b->path.path.remote.addrlen, b->len, b->segment);
    b->start += b->len;
    b->len = 0;
    b->segment = 0;
    b->packets = 0;
}

/*
 * Adds the packet of `len` bytes that was built at the end of the batch. True: the batch was sent
 * and the next packet needs a new one. A packet that is larger than the batch's first, or goes
 * elsewhere, was built behind the batch and becomes a batch of its own.
 */
static bool batch_add(flx_quic_conn *conn, batch *b, size_t len, const ngtcp2_path *path,
                      size_t cap)
{
    const bool fits =
        b->segment == 0 || (len <= b->segment && ngtcp2_path_eq(&b->path.path, path) != 0);
    if (!fits)
        batch_commit(conn, b);
    if (b->segment == 0) {
        b->segment = len;
        ngtcp2_path_copy(&b->path.path, path);
    }
    b->len += len;
    b->packets++;
    if (len == b->segment && b->packets < GSO_SEGMENTS_MAX && fits && b->len + cap <= GSO_BYTES_MAX)
        return false;
    batch_commit(conn, b);
    return true;
}

typedef enum fill { FILL_DONE, FILL_FULL, FILL_FAILED } fill;

/* Packets until one batch went out or there is nothing left. */
static fill fill_batch(flx_quic_conn *conn, uint8_t *room, uint64_t now_ns, bool *sent)
{
    const size_t cap = ngtcp2_conn_get_max_tx_udp_payload_size(conn->qc); /* README rule 2 */
    const size_t full = ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->qc);
    bool carried;
    ngtcp2_path_storage path;
    batch b = {.start = room};
    ngtcp2_path_storage_zero(&b.path);
    ngtcp2_path_storage_zero(&path);
    for (;;) {
        pull_streams(conn);
        if (conn->ending)
            break;
        const ngtcp2_ssize n =
            build_packet(conn, b.start + b.len, cap, &path.path, now_ns, &carried);
        if (n < 0) {
            batch_commit(conn, &b);
            flx_conn_end_liberr(conn, (int)n);
            return FILL_FAILED;
        }
        if (n == 0)
            break;
        *sent = true;
        const bool closed = batch_add(conn, &b, (size_t)n, &path.path, cap);
        /* Nothing was left out of a packet with this much room: do not ask for another. */
        if (carried && (size_t)n + PACKET_SLACK < full && TAILQ_EMPTY(&conn->ready) &&
            conn->pull_count == 0)
            break;
        if (closed)
            return FILL_FULL;
    }
    batch_commit(conn, &b);
    return FILL_DONE;
}

/* --- the pass ------------------------------------------------------------------------------- */

void flx_conn_arm(flx_quic_conn *conn, uint64_t expiry_ns)
{
    /* A timer that fires early only looks again, and most deadlines move later with every packet:
     * so it is moved only when the new one is earlier. */
    if (conn->timer.heap_index != 0 && conn->timer.deadline_ns <= expiry_ns)
        return;
    if (expiry_ns == UINT64_MAX)
        return;
    if (flx_loop_timer_set(conn->endpoint->loop, &conn->timer, expiry_ns) != FLX_OK)
        flx_conn_end(conn, FLX_QUIC_CLOSE_TRANSPORT, false, NGTCP2_INTERNAL_ERROR, true,
                     "no memory for a timer");
}

static bool write_batches(flx_quic_conn *conn, uint64_t now_ns, bool *sent, bool *more)
{
    for (int batches = 0; batches < FLUSH_BATCHES_MAX; batches++) {
        uint8_t *room = flx_udp_tx_room(conn->endpoint, conn->socket);
        if (room == NULL)
            return false;
        switch (fill_batch(conn, room, now_ns, sent)) {
        case FILL_DONE:
            return true;
        case FILL_FAILED:
            return true;
        case FILL_FULL:
            break;
        }
    }
    *more = true;
    return true;
}

/* Packets of this pass; false: come back next tick. */
static bool write_all(flx_quic_conn *conn, uint64_t now_ns, bool *sent)
{
    bool more = false;
    flx_acks_begin(conn, !TAILQ_EMPTY(&conn->ready) || conn->pull_count > 0);
    bool room = write_batches(conn, now_ns, sent, &more);
    flx_acks_end(conn, now_ns);
    if (room && !more && !conn->ending && flx_acks_are_near(conn, now_ns)) {
        flx_acks_begin(conn, true);
        room = write_batches(conn, now_ns, sent, &more);
        flx_acks_end(conn, now_ns);
    }
    return room && !more;
}

bool flx_conn_flush(flx_quic_conn *conn, uint64_t now_ns)
{
    bool sent = false;
    if (conn->endpoint->tx->blocked)
        return false;

    /* Lost packets, delayed acknowledgements, pacing: whatever is due. It must come first, because
     * it also ends a pacing pause that is over, which would look like a deadline below. */
    const int rv = ngtcp2_conn_handle_expiry(conn->qc, now_ns);
    if (rv != 0) {
        flx_conn_end_liberr(conn, rv);
        return true;
    }
    flx_stream_apply_ops(conn);
    if (conn->ending)
        return true;
    const bool done = write_all(conn, now_ns, &sent);
    const uint64_t expiry_ns = flx_conn_expiry_ns(conn);
    if (flx_mem_starved())
        flx_conn_end_liberr(conn, NGTCP2_ERR_NOMEM);
    if (conn->ending)
        return true;

    /* The deadline is read before the pacing of this pass is set (README rule 7): a connection with
     * nothing left to send need not be woken to hear that it may send. */
    flx_conn_arm(conn, expiry_ns);
    if (sent && conn->completed) /* README rule 1 */
        ngtcp2_conn_update_pkt_tx_time(conn->qc, now_ns);
    return done;
}
