/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long does a small message take there and back over our QUIC transport, one in flight, between
 * two processes and with nothing above it? The broker's latency goals are multiples of this.
 *
 *     bench_quic_pingpong [--count 20000] [--size 100] [--busy-us 0] [--pin 1]
 */
#include "floor_quic.h"

#define WARM_UP 500

typedef struct side {
    floor_quic f;
    flx_chunk *message;
    flx_quic_stream *stream;
    uint64_t *samples;
    size_t size;
    size_t count;
    size_t done;
    size_t got;
    uint64_t sent_ns;
    double cpu_s;
} side;

static void say(side *s, flx_quic_stream *stream)
{
    const flx_range range = {flx_chunk_ref(s->message), 0, (uint32_t)s->size};
    s->sent_ns = flx_clock_monotonic_ns();
    FLOOR_CHECK(flx_quic_stream_write_take(stream, range) == FLX_OK);
}

static void on_connected(void *arg, flx_quic_conn *conn)
{
    side *s = arg;
    FLOOR_CHECK(flx_quic_stream_open(conn, true, NULL, &s->stream, NULL) == FLX_OK);
    say(s, s->stream);
}

static bool whole(side *s, flx_quic_stream *stream, size_t len)
{
    flx_quic_stream_consume(stream, len);
    s->got += len;
    if (s->got < s->size)
        return false;
    s->got -= s->size;
    return true;
}

static void on_echo(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    (void)fin;
    if (whole(arg, stream, data.len))
        say(arg, stream);
}

static void on_answer(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    (void)fin;
    side *s = arg;
    if (!whole(s, stream, data.len))
        return;
    if (s->done >= WARM_UP)
        s->samples[s->done - WARM_UP] = flx_clock_monotonic_ns() - s->sent_ns;
    else if (s->done == WARM_UP - 1)
        s->cpu_s = floor_cpu_s();
    if (++s->done == s->count + WARM_UP)
        flx_quic_conn_close(flx_quic_stream_conn(stream), 0, "");
    else
        say(s, stream);
}

static void on_closed(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    (void)conn;
    (void)why;
    flx_loop_stop(((side *)arg)->f.loop);
}

int main(int argc, char **argv)
{
    const flx_loop_options loop = {.busy_poll_us =
                                       (uint32_t)floor_option(argc, argv, "--busy-us", 0)};
    static side s;
    const bool client = floor_quic_fork(&s.f);
    floor_pin(argc, argv, !client);
    s.size = floor_option(argc, argv, "--size", 100);
    s.count = floor_option(argc, argv, "--count", 20000);
    FLOOR_CHECK(s.size > 0 && s.size <= 1 << 20 && s.count > 0);
    s.message = flx_chunk_new(s.size);
    FLOOR_CHECK(s.message != NULL);
    memset(s.message->data, 'x', s.size);
    s.message->len = (uint32_t)s.size;
    if (!client) {
        const flx_quic_events events = {.stream_data = on_echo, .closed = on_closed};
        floor_quic_serve(&s.f, &loop, NULL, &events, &s);
    } else {
        const flx_quic_events events = {
            .connected = on_connected, .stream_data = on_answer, .closed = on_closed};
        s.samples = calloc(s.count, sizeof *s.samples);
        FLOOR_CHECK(s.samples != NULL);
        (void)floor_quic_dial(&s.f, &loop, NULL, &events, &s);
        FLOOR_CHECK(flx_loop_run(s.f.loop, NULL) == FLX_OK);
        FLOOR_CHECK(s.done == s.count + WARM_UP);
        floor_report(loop.busy_poll_us > 0 ? "quic_pingpong_busy" : "quic_pingpong", s.samples,
                     s.count, floor_cpu_s() - s.cpu_s);
        free(s.samples);
    }
    floor_quic_end(&s.f);
    (void)flx_chunk_unref(s.message);
    return 0;
}
