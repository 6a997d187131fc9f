/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: a queue of ranges downward, windows upward.
 *
 *        first          send (send_skip bytes into it)            count
 *          v              v                                          v
 *     +---------+---------+---------+---------+--------------------------+
 *     | in packets, wait for the    | queued, not yet in a packet        |
 *     | acknowledgement             |                                    |
 *     +---------+---------+---------+---------+--------------------------+
 *     base ... acked ...        sent                                    end     (stream offsets)
 *
 * ngtcp2 keeps pointers into the chunks until it reports the bytes acknowledged, so a range that
 * has bytes in packets is kept until then, or until ngtcp2 has forgotten the stream: also when the
 * stream was reset, because a lost packet is looked at before it is dropped.
 *
 * What an owner asks of a stream inside a callback (reset, stop, write) is noted and handed to
 * ngtcp2 in the flush pass, so nothing can pull a stream away from under ngtcp2's own feet.
 */
#include "common/alloc.h"
#include "common/error.h"
#include "transport/quic_int.h"

#define RANGES_FIRST 4

flx_quic_stream *flx_stream_new(flx_quic_conn *conn, int64_t id, bool local)
{
    flx_quic_stream *stream = flx_calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    stream->conn = conn;
    stream->id = id;
    stream->local = local;
    stream->writable = local || ngtcp2_is_bidi_stream(id) != 0;
    TAILQ_INSERT_TAIL(&conn->streams, stream, all_link);
    return stream;
}

/* --- the ring of ranges --------------------------------------------------------------------- */

static flx_range *range_at(const flx_quic_stream *stream, uint32_t index)
{
    return &stream->ranges[(stream->first + index) & (stream->cap - 1)];
}

static bool ring_grow(flx_quic_stream *stream)
{
    const uint32_t cap = stream->cap == 0 ? RANGES_FIRST : stream->cap * 2;
    flx_range *wider = flx_alloc(cap * sizeof *wider);
    if (wider == NULL)
        return false;
    for (uint32_t i = 0; i < stream->count; i++)
        wider[i] = *range_at(stream, i);
    flx_free(stream->ranges);
    stream->ranges = wider;
    stream->cap = cap;
    stream->first = 0;
    return true;
}

/* An idle stream keeps no ring: ten thousand of them are mostly idle. */
static void ring_release(flx_quic_stream *stream)
{
    if (stream->count > 0 || stream->cap <= RANGES_FIRST)
        return;
    flx_free(stream->ranges);
    stream->ranges = NULL;
    stream->cap = stream->first = 0;
}

/* Extends the last range when `range` continues it. */
static bool ring_merge(flx_quic_stream *stream, flx_range range)
{
    if (stream->count == 0)
        return false;
    flx_range *last = range_at(stream, stream->count - 1);
    if (last->chunk != range.chunk || last->end != range.start)
        return false;
    if (stream->send == stream->count) { /* all of it is in packets: the new part is not */
        stream->send--;
        stream->send_skip = flx_range_len(last);
    }
    last->end = range.end;
    (void)flx_chunk_unref(range.chunk);
    return true;
}

static bool ring_push(flx_quic_stream *stream, flx_range range)
{
    if (ring_merge(stream, range))
        return true;
    if (stream->count == stream->cap && !ring_grow(stream))
        return false;
    stream->count++;
    *range_at(stream, stream->count - 1) = range;
    return true;
}

size_t flx_stream_gather(const flx_quic_stream *stream, ngtcp2_vec *vec, size_t bytes_max,
                         bool *ret_all)
{
    size_t used = 0;
    size_t bytes = 0;
    uint32_t skip = stream->send_skip;
    uint32_t i = stream->send;
    for (; i < stream->count && used < GATHER_MAX && bytes < bytes_max; i++) {
        const flx_range *range = range_at(stream, i);
        const size_t len = flx_range_len(range) - skip;
        /* ngtcp2's vectors are not const, but it only reads them. */
        vec[used++] = (ngtcp2_vec){range->chunk->data + range->start + skip, len};
        bytes += len;
        skip = 0;
    }
    *ret_all = i == stream->count;
    return used;
}

void flx_stream_sent(flx_quic_stream *stream, size_t len)
{
    FLX_ASSERT(len <= stream->end - stream->sent);
    stream->sent += len;
    stream->conn->queued -= len;
    stream->conn->unacked += len;
    while (len > 0) {
        const uint32_t left = flx_range_len(range_at(stream, stream->send)) - stream->send_skip;
        if (len < left) {
            stream->send_skip += (uint32_t)len;
            return;
        }
        len -= left;
        stream->send++;
        stream->send_skip = 0;
    }
}

void flx_stream_acked(flx_quic_stream *stream, uint64_t offset)
{
    FLX_ASSERT(offset >= stream->acked && offset <= stream->sent);
    stream->conn->unacked -= offset - stream->acked;
    stream->acked = offset;
    while (stream->send > 0) {
        const flx_range *range = range_at(stream, 0);
        if (stream->base + flx_range_len(range) > offset)
            return;
        stream->base += flx_range_len(range);
        (void)flx_chunk_unref(range->chunk);
        stream->first = (stream->first + 1) & (stream->cap - 1);
        stream->count--;
        stream->send--;
    }
    ring_release(stream);
}

static void drop_queued(flx_quic_stream *stream)
{
    uint32_t keep = stream->send;
    if (stream->send_skip > 0) { /* its first part is in packets */
        flx_range *split = range_at(stream, keep++);
        split->end = split->start + stream->send_skip;
    }
    while (stream->count > keep)
        (void)flx_chunk_unref(range_at(stream, --stream->count)->chunk);
    stream->send = stream->count;
    stream->send_skip = 0;
    stream->conn->queued -= stream->end - stream->sent;
    stream->end = stream->sent;
    stream->fin = false;
}

void flx_stream_free(flx_quic_stream *stream)
{
    for (uint32_t i = 0; i < stream->count; i++)
        (void)flx_chunk_unref(range_at(stream, i)->chunk);
    flx_free(stream->ranges);
    flx_free(stream);
}

/* --- where the flush pass looks for it ------------------------------------------------------- */

static void ready_set(flx_quic_stream *stream, bool on)
{
    if (stream->in_ready == on)
        return;
    stream->in_ready = on;
    if (on)
        TAILQ_INSERT_TAIL(&stream->conn->ready, stream, ready_link);
    else
        TAILQ_REMOVE(&stream->conn->ready, stream, ready_link);
}

static void pull_set(flx_quic_stream *stream, bool on)
{
    if (stream->in_pull == on)
        return;
    stream->in_pull = on;
    if (on) {
        TAILQ_INSERT_TAIL(&stream->conn->pull, stream, pull_link);
        stream->conn->pull_count++;
    } else {
        TAILQ_REMOVE(&stream->conn->pull, stream, pull_link);
        stream->conn->pull_count--;
    }
}

void flx_stream_schedule(flx_quic_stream *stream)
{
    const bool open = stream->writable && !stream->closed;
    const bool data = stream->end > stream->sent;
    const bool fin = stream->fin && !stream->fin_sent && !data;
    ready_set(stream, open && ((data && !stream->blocked) || fin));
    const uint64_t sendable = stream->in_ready ? stream->end - stream->sent : 0;
    stream->conn->sendable += sendable - stream->sendable;
    stream->sendable = sendable;
    pull_set(stream, open && stream->want_pull && !stream->fin && !stream->blocked);
}

static void op_note(flx_quic_stream *stream)
{
    if (!stream->in_ops) {
        stream->in_ops = true;
        TAILQ_INSERT_TAIL(&stream->conn->ops, stream, op_link);
    }
    flx_conn_mark_dirty(stream->conn);
}

/* --- two gaps of ngtcp2 0.12.1 ---------------------------------------------------------------
 *
 * A STOP_SENDING is reported by no callback: we learn it when a write is refused, or when the stream
 * closes with a code (README rule 11).
 *
 * A one-way stream of the peer is never closed, because its close waits for a FIN of ours to be
 * acknowledged (README rule 12). Where ngtcp2 is linked statically its own close can be called;
 * elsewhere we forget the stream by ourselves, and ngtcp2 keeps a stub of some 200 bytes until the
 * connection ends, which is why their number is bounded.
 */
struct ngtcp2_strm;
extern struct ngtcp2_strm *ngtcp2_conn_find_stream(ngtcp2_conn *conn, int64_t id)
    __attribute__((weak));
extern int ngtcp2_conn_close_stream(ngtcp2_conn *conn, struct ngtcp2_strm *strm)
    __attribute__((weak));
static atomic_bool soft_close;

void flx_stream_soft_close_for_tests(bool on)
{
    atomic_store(&soft_close, on);
}

static bool hard_close_works(void)
{
    return ngtcp2_conn_find_stream != NULL && ngtcp2_conn_close_stream != NULL &&
           flx_ngtcp2_known() && !atomic_load_explicit(&soft_close, memory_order_relaxed);
}

static int close_remote_uni(flx_quic_conn *conn, flx_quic_stream *stream)
{
    if (hard_close_works()) { /* calls on_stream_close */
        struct ngtcp2_strm *strm = ngtcp2_conn_find_stream(conn->qc, stream->id);
        return strm != NULL ? ngtcp2_conn_close_stream(conn->qc, strm) : 0;
    }
    (void)ngtcp2_conn_set_stream_user_data(conn->qc, stream->id, NULL);
    ngtcp2_conn_extend_max_offset(conn->qc, stream->delivered - stream->consumed);
    if (++conn->ghosts <= UNI_GHOSTS_MAX)
        ngtcp2_conn_extend_max_streams_uni(conn->qc, 1);
    flx_stream_end(stream);
    return 0;
}

void flx_stream_read_done(flx_quic_stream *stream)
{
    if (stream->local || ngtcp2_is_bidi_stream(stream->id) != 0 || stream->closed)
        return;
    stream->read_done = true;
    op_note(stream);
}

void flx_stream_stopped(flx_quic_stream *stream, uint64_t code)
{
    flx_quic_conn *conn = stream->conn;
    const flx_quic_endpoint *endpoint = conn->endpoint;
    if (stream->told_stopped || stream->closed)
        return;
    stream->told_stopped = true;
    drop_queued(stream);
    stream->writable = false;
    flx_stream_schedule(stream);
    if (!conn->ending && endpoint->events.stream_stopped != NULL)
        endpoint->events.stream_stopped(endpoint->arg, stream, code);
}

void flx_stream_stop_seen(flx_quic_stream *stream)
{
    drop_queued(stream);
    stream->writable = false;
    stream->stopped = true;
    op_note(stream);
}

static void op_apply(flx_quic_conn *conn, flx_quic_stream *stream)
{
    int rv = 0;
    if (stream->reset)
        rv = ngtcp2_conn_shutdown_stream_write(conn->qc, stream->id, stream->reset_code);
    if (rv == 0 && stream->stop && !stream->stop_done) {
        stream->stop_done = true;
        rv = ngtcp2_conn_shutdown_stream_read(conn->qc, stream->id, stream->stop_code);
    }
    if (rv == 0 && stream->stopped)
        flx_stream_stopped(stream, 0);
    if (rv == 0 && stream->read_done && !stream->closed)
        rv = close_remote_uni(conn, stream);
    if (rv != 0 && rv != NGTCP2_ERR_STREAM_NOT_FOUND)
        flx_conn_end_liberr(conn, rv);
}

void flx_stream_apply_ops(flx_quic_conn *conn)
{
    flx_quic_stream *stream;
    while ((stream = TAILQ_FIRST(&conn->ops)) != NULL) {
        TAILQ_REMOVE(&conn->ops, stream, op_link);
        stream->in_ops = false;
        op_apply(conn, stream);
    }
}

void flx_stream_end(flx_quic_stream *stream)
{
    flx_quic_conn *conn = stream->conn;
    flx_quic_endpoint *endpoint = conn->endpoint;
    FLX_ASSERT(!stream->closed);
    drop_queued(stream);
    conn->unacked -= stream->sent - stream->acked;
    stream->acked = stream->sent;
    stream->closed = true;
    flx_stream_schedule(stream);
    if (stream->in_ops)
        TAILQ_REMOVE(&conn->ops, stream, op_link);
    TAILQ_REMOVE(&conn->streams, stream, all_link);
    TAILQ_INSERT_TAIL(&conn->dead, stream, all_link);
    if (endpoint->events.stream_closed != NULL)
        endpoint->events.stream_closed(endpoint->arg, stream);
    flx_conn_mark_dirty(conn); /* the tick frees it */
}

/* --- the owner's calls ----------------------------------------------------------------------- */

flx_status flx_quic_stream_open(flx_quic_conn *conn, bool bidirectional, void *context,
                                flx_quic_stream **ret_stream, flx_error *reterr)
{
    if (conn->state != CONN_OPEN || conn->ending)
        return flx_fail(reterr, FLX_ERR_CLOSED, "the connection is not open");
    flx_quic_stream *stream = flx_stream_new(conn, -1, true);
    if (stream == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for a stream");
    stream->context = context;
    const int rv = bidirectional ? ngtcp2_conn_open_bidi_stream(conn->qc, &stream->id, stream)
                                 : ngtcp2_conn_open_uni_stream(conn->qc, &stream->id, stream);
    if (rv == 0) {
        *ret_stream = stream;
        return FLX_OK;
    }
    TAILQ_REMOVE(&conn->streams, stream, all_link);
    flx_stream_free(stream);
    if (rv == NGTCP2_ERR_STREAM_ID_BLOCKED) {
        conn->want_streams = true;
        return flx_fail(reterr, FLX_ERR_AGAIN, "the peer allows no more streams now");
    }
    return flx_fail(reterr, rv == NGTCP2_ERR_NOMEM ? FLX_ERR_NOMEM : FLX_ERR_INTERNAL,
                    "open a stream: %s", ngtcp2_strerror(rv));
}

void flx_quic_stream_set_context(flx_quic_stream *stream, void *context)
{
    stream->context = context;
}

void *flx_quic_stream_context(const flx_quic_stream *stream)
{
    return stream->context;
}

flx_quic_conn *flx_quic_stream_conn(const flx_quic_stream *stream)
{
    return stream->conn;
}

int64_t flx_quic_stream_id(const flx_quic_stream *stream)
{
    return stream->id;
}

bool flx_quic_stream_is_bidirectional(const flx_quic_stream *stream)
{
    return ngtcp2_is_bidi_stream(stream->id) != 0;
}

static bool takes_bytes(const flx_quic_stream *stream)
{
    return stream->writable && !stream->closed && !stream->fin && !stream->conn->ending;
}

flx_status flx_quic_stream_write_take(flx_quic_stream *stream, flx_range range)
{
    FLX_ASSERT(range.start <= range.end && range.end <= range.chunk->cap);
    const uint32_t len = flx_range_len(&range);
    if (!takes_bytes(stream)) {
        (void)flx_chunk_unref(range.chunk);
        return FLX_ERR_CLOSED;
    }
    if (len == 0) {
        (void)flx_chunk_unref(range.chunk);
        return FLX_OK;
    }
    if (!ring_push(stream, range)) {
        (void)flx_chunk_unref(range.chunk);
        return FLX_ERR_NOMEM;
    }
    stream->end += len;
    stream->conn->queued += len;
    flx_stream_schedule(stream);
    flx_conn_mark_dirty(stream->conn);
    return FLX_OK;
}

void flx_quic_stream_finish(flx_quic_stream *stream)
{
    if (!takes_bytes(stream))
        return;
    stream->fin = true;
    flx_stream_schedule(stream);
    flx_conn_mark_dirty(stream->conn);
}

void flx_quic_stream_reset(flx_quic_stream *stream, uint64_t code)
{
    if (stream->closed || stream->reset || !(stream->writable || stream->fin_sent))
        return;
    if (!stream->local && ngtcp2_is_bidi_stream(stream->id) == 0)
        return; /* the peer's one-way stream has no send side of ours */
    drop_queued(stream);
    stream->writable = false;
    stream->reset = true;
    stream->reset_code = code;
    flx_stream_schedule(stream);
    op_note(stream);
}

void flx_quic_stream_stop(flx_quic_stream *stream, uint64_t code)
{
    if (stream->closed || stream->stop)
        return;
    if (stream->local && ngtcp2_is_bidi_stream(stream->id) == 0)
        return; /* nothing to read on it */
    stream->stop = true;
    stream->stop_code = code;
    op_note(stream);
}

size_t flx_quic_stream_queued(const flx_quic_stream *stream)
{
    return (size_t)(stream->end - stream->sent);
}

size_t flx_quic_stream_held(const flx_quic_stream *stream)
{
    return (size_t)(stream->end - stream->acked);
}

void flx_quic_stream_want_pull(flx_quic_stream *stream, bool want)
{
    stream->want_pull = want;
    flx_stream_schedule(stream);
    if (stream->in_pull)
        flx_conn_mark_dirty(stream->conn);
}

void flx_quic_stream_consume(flx_quic_stream *stream, size_t len)
{
    flx_quic_conn *conn = stream->conn;
    FLX_ASSERT(len <= stream->delivered - stream->consumed);
    if (len == 0)
        return;
    stream->consumed += len;
    if (stream->closed || conn->qc == NULL)
        return;
    if (ngtcp2_conn_extend_max_stream_offset(conn->qc, stream->id, len) != 0)
        flx_conn_end_liberr(conn, NGTCP2_ERR_NOMEM);
    ngtcp2_conn_extend_max_offset(conn->qc, len);
    flx_conn_mark_dirty(conn);
}
