/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many bytes does a core move over one QUIC stream, sending and receiving, and in how many
 * system calls? Figures per CPU second, because the two processes share what cores there are.
 *
 *     bench_quic_bulk [--mb 2000] [--payload 1452] [--chunk 65536] [--pin 1]
 *
 * --payload 0 starts at 1200 bytes a packet and probes up to 1444, as on a foreign path.
 */
#include "floor_quic.h"

typedef struct side {
    floor_quic f;
    flx_chunk *chunk;
    uint64_t total;
    uint64_t moved;
    uint64_t start_ns;
    double start_cpu_s;
} side;

static void report(const side *s, const char *what)
{
    const double wall_s = (double)(flx_clock_monotonic_ns() - s->start_ns) / 1e9;
    const double cpu_s = floor_cpu_s() - s->start_cpu_s;
    flx_quic_stats stats;
    flx_quic_endpoint_stats(s->f.endpoint, &stats);
    (void)printf("{\"bench\":\"quic_bulk_%s\",\"mb\":%.0f,\"mb_per_s\":%.0f,\"mb_per_cpu_s\":%.0f,"
                 "\"cpu_s_per_gb\":%.3f,\"packets_out\":%llu,\"send_calls\":%llu,"
                 "\"packets_in\":%llu,\"receive_calls\":%llu}\n",
                 what, (double)s->moved / 1e6, (double)s->moved / 1e6 / wall_s,
                 (double)s->moved / 1e6 / cpu_s, cpu_s * 1e9 / (double)s->moved,
                 (unsigned long long)stats.packets_out, (unsigned long long)stats.send_calls,
                 (unsigned long long)stats.packets_in, (unsigned long long)stats.receive_calls);
    (void)fflush(stdout);
}

static void begin(side *s)
{
    s->start_ns = flx_clock_monotonic_ns();
    s->start_cpu_s = floor_cpu_s();
}

static void on_accepted(void *arg, flx_quic_conn *conn)
{
    (void)conn;
    begin(arg);
}

static void on_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    side *s = arg;
    s->moved += data.len;
    flx_quic_stream_consume(stream, data.len);
    if (fin) {
        report(s, "receive");
        flx_quic_stream_finish(stream);
    }
}

static void on_connected(void *arg, flx_quic_conn *conn)
{
    flx_quic_stream *stream = NULL;
    begin(arg);
    FLOOR_CHECK(flx_quic_stream_open(conn, true, NULL, &stream, NULL) == FLX_OK);
    flx_quic_stream_want_pull(stream, true);
}

static void on_pull(void *arg, flx_quic_stream *stream)
{
    side *s = arg;
    const flx_range range = {flx_chunk_ref(s->chunk), 0, s->chunk->len};
    FLOOR_CHECK(flx_quic_stream_write_take(stream, range) == FLX_OK);
    s->moved += s->chunk->len;
    if (s->moved < s->total)
        return;
    flx_quic_stream_want_pull(stream, false);
    flx_quic_stream_finish(stream);
}

static void on_stream_closed(void *arg, flx_quic_stream *stream)
{
    side *s = arg;
    if (s->total == 0)
        return;
    report(s, "send");
    flx_quic_conn_close(flx_quic_stream_conn(stream), 0, "");
}

static void on_closed(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    (void)conn;
    (void)why;
    flx_loop_stop(((side *)arg)->f.loop);
}

int main(int argc, char **argv)
{
    static side s;
    const flx_quic_options options = {.udp_payload_max =
                                          (uint32_t)floor_option(argc, argv, "--payload", 1452)};
    const bool client = floor_quic_fork(&s.f);
    floor_pin(argc, argv, !client);
    if (!client) {
        const flx_quic_events events = {
            .connected = on_accepted, .stream_data = on_data, .closed = on_closed};
        floor_quic_serve(&s.f, NULL, &options, &events, &s);
    } else {
        const flx_quic_events events = {.connected = on_connected,
                                        .stream_pull = on_pull,
                                        .stream_closed = on_stream_closed,
                                        .closed = on_closed};
        const size_t len = floor_option(argc, argv, "--chunk", 65536);
        s.total = floor_option(argc, argv, "--mb", 2000) * 1000000;
        s.chunk = flx_chunk_new(len);
        FLOOR_CHECK(s.chunk != NULL);
        memset(s.chunk->data, 'x', len);
        s.chunk->len = (uint32_t)len;
        (void)floor_quic_dial(&s.f, NULL, &options, &events, &s);
        FLOOR_CHECK(flx_loop_run(s.f.loop, NULL) == FLX_OK);
    }
    floor_quic_end(&s.f);
    (void)flx_chunk_unref(s.chunk);
    return 0;
}
