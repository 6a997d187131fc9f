/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/worker_link.c - events of the transport to the broker worker, and its actions back.
 *
 * Each lane and peer of the worker is the context of its stream and connection, so that neither side
 * looks anything up.
 */
#include "common/clock.h"
#include "node/worker_thread_int.h"

#define CLOSE_CODE_NORMAL 0

void flx_worker_thread_clock(flx_worker_thread *thread)
{
    const uint64_t now_ns = flx_loop_now_ns(thread->loop);
    if (now_ns != thread->clock_ns) {
        thread->clock_ns = now_ns;
        flx_worker_clock(thread->worker, now_ns, flx_clock_wall_us());
    }
}

/* ---- transport events to the worker ----------------------------------------------------------- */

static void on_connected(void *arg, flx_quic_conn *conn)
{
    flx_worker_thread *thread = arg;
    flx_worker_thread_clock(thread);
    uint8_t source[16];
    flx_quic_conn_source(conn, source);
    flx_peer *peer = NULL;
    const flx_status status = flx_worker_conn_opened(thread->worker, conn, source, &peer);
    if (status != FLX_OK) {
        flx_quic_conn_close(conn, CLOSE_CODE_NORMAL,
                            status == FLX_ERR_UNAVAILABLE ? "shutting down" : "out of memory");
        return;
    }
    flx_quic_conn_set_context(conn, peer);
    thread->peers_open++;
}

static void on_closed(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    flx_worker_thread *thread = arg;
    (void)why;
    flx_peer *peer = flx_quic_conn_context(conn);
    if (peer == NULL) {
        return; /* never reached the worker */
    }
    flx_worker_thread_clock(thread);
    flx_quic_conn_set_context(conn, NULL);
    flx_worker_conn_closed(thread->worker, peer);
    thread->peers_open--;
}

static void on_stream_opened(void *arg, flx_quic_conn *conn, flx_quic_stream *stream)
{
    flx_worker_thread *thread = arg;
    flx_peer *peer = flx_quic_conn_context(conn);
    if (peer == NULL) {
        return; /* the connection is being closed */
    }
    flx_worker_thread_clock(thread);
    flx_lane *lane = NULL;
    if (flx_worker_stream_opened(thread->worker, peer, stream,
                                 flx_quic_stream_is_bidirectional(stream), &lane) != FLX_OK) {
        flx_quic_stream_reset(stream, 0);
        flx_quic_stream_stop(stream, 0);
        return;
    }
    flx_quic_stream_set_context(stream, lane);
}

static void on_stream_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    flx_worker_thread *thread = arg;
    flx_lane *lane = flx_quic_stream_context(stream);
    if (lane != NULL) {
        flx_worker_thread_clock(thread);
        flx_worker_stream_data(thread->worker, lane, data, fin);
    }
}

static void on_stream_pull(void *arg, flx_quic_stream *stream)
{
    flx_worker_thread *thread = arg;
    flx_lane *lane = flx_quic_stream_context(stream);
    if (lane != NULL) {
        flx_worker_thread_clock(thread);
        flx_worker_stream_pull(thread->worker, lane);
    }
}

static void on_stream_reset(void *arg, flx_quic_stream *stream, uint64_t code)
{
    flx_worker_thread *thread = arg;
    flx_lane *lane = flx_quic_stream_context(stream);
    if (lane != NULL) {
        flx_worker_thread_clock(thread);
        flx_worker_stream_reset(thread->worker, lane, code);
    }
}

static void on_stream_stopped(void *arg, flx_quic_stream *stream, uint64_t code)
{
    flx_worker_thread *thread = arg;
    flx_lane *lane = flx_quic_stream_context(stream);
    if (lane != NULL) {
        flx_worker_thread_clock(thread);
        flx_worker_stream_stopped(thread->worker, lane, code);
    }
}

static void on_stream_closed(void *arg, flx_quic_stream *stream)
{
    flx_worker_thread *thread = arg;
    flx_lane *lane = flx_quic_stream_context(stream);
    if (lane != NULL) {
        flx_worker_thread_clock(thread);
        flx_quic_stream_set_context(stream, NULL);
        flx_worker_stream_closed(thread->worker, lane);
    }
}

static void on_streams_available(void *arg, flx_quic_conn *conn)
{
    flx_worker_thread *thread = arg;
    flx_peer *peer = flx_quic_conn_context(conn);
    if (peer != NULL) {
        flx_worker_thread_clock(thread);
        flx_worker_streams_available(thread->worker, peer);
    }
}

const flx_quic_events flx_worker_thread_events = {
    .connected = on_connected,
    .closed = on_closed,
    .stream_opened = on_stream_opened,
    .stream_data = on_stream_data,
    .stream_pull = on_stream_pull,
    .stream_reset = on_stream_reset,
    .stream_stopped = on_stream_stopped,
    .stream_closed = on_stream_closed,
    .streams_available = on_streams_available,
};

/* ---- worker actions to the transport ---------------------------------------------------------- */

static flx_status link_write_take(void *stream, flx_range range)
{
    return flx_quic_stream_write_take(stream, range);
}

static void link_finish(void *stream)
{
    flx_quic_stream_finish(stream);
}

static void link_reset(void *stream, uint64_t code)
{
    flx_quic_stream_reset(stream, code);
}

static void link_stop(void *stream, uint64_t code)
{
    flx_quic_stream_stop(stream, code);
}

static void link_consume(void *stream, size_t len)
{
    flx_quic_stream_consume(stream, len);
}

static void link_want_pull(void *stream, bool want)
{
    flx_quic_stream_want_pull(stream, want);
}

static size_t link_queued(const void *stream)
{
    return flx_quic_stream_queued(stream);
}

static flx_status link_open_uni(void *conn, flx_lane *lane, void **ret_stream)
{
    flx_quic_stream *stream = NULL;
    const flx_status status = flx_quic_stream_open(conn, false, lane, &stream, NULL);
    if (status == FLX_OK) {
        *ret_stream = stream;
    }
    return status;
}

static void link_conn_close(void *conn, uint64_t code, const char *reason)
{
    flx_quic_conn_close(conn, code, reason);
}

const flx_link_ops flx_worker_thread_ops = {
    .write_take = link_write_take,
    .finish = link_finish,
    .reset = link_reset,
    .stop = link_stop,
    .consume = link_consume,
    .want_pull = link_want_pull,
    .queued = link_queued,
    .open_uni = link_open_uni,
    .conn_close = link_conn_close,
};
