/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an idle connection holds: N connections from one process to a server in another, and the
 * resident memory of both, a while after the last handshake, over N.
 *
 *     bench_idle_conns [--conns 2000] [--streams 1] [--wait-ms 1500] [--payload 0]
 *
 * --streams 1 opens one stream each, with one small message there and back, as a subscription does.
 */
#include "floor_quic.h"

typedef struct side {
    floor_quic f;
    flx_quic_options options;
    flx_chunk *message;
    flx_timer timer;
    uint64_t conns;
    uint64_t streams;
    uint64_t wait_ns;
    uint64_t dialled;
    uint64_t connected;
    uint64_t answered;
    double cpu_before_s;
} side;

static uint64_t resident_kb(pid_t pid)
{
    char path[64];
    char line[256];
    unsigned long long kb = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    FLOOR_CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtoull(line + 6, NULL, 10);
    (void)fclose(file);
    return kb;
}

/* --- the server ------------------------------------------------------------------------------ */

static void on_echo(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    side *s = arg;
    (void)fin;
    flx_quic_stream_consume(stream, data.len);
    const flx_range range = {flx_chunk_ref(s->message), 0, s->message->len};
    FLOOR_CHECK(flx_quic_stream_write_take(stream, range) == FLX_OK);
}

static void on_stop(int signal)
{
    (void)signal;
    _exit(0);
}

/* --- the client ------------------------------------------------------------------------------ */

static void report(const side *s, const char *what, uint64_t before_kb, uint64_t after_kb)
{
    (void)printf("{\"bench\":\"idle_conns_%s\",\"conns\":%llu,\"streams\":%llu,"
                 "\"before_kb\":%llu,\"after_kb\":%llu,\"kib_each\":%.2f}\n",
                 what, (unsigned long long)s->conns, (unsigned long long)s->streams,
                 (unsigned long long)before_kb, (unsigned long long)after_kb,
                 (double)(after_kb - before_kb) / (double)s->conns);
}

static uint64_t server_before_kb;
static uint64_t client_before_kb;

static void on_waited(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    side *s = arg;
    report(s, "server", server_before_kb, resident_kb(s->f.child));
    report(s, "client", client_before_kb, resident_kb(getpid()));
    (void)printf("{\"bench\":\"idle_conns_connect\",\"client_cpu_us_each\":%.1f}\n",
                 (floor_cpu_s() - s->cpu_before_s) * 1e6 / (double)s->conns);
    (void)fflush(stdout);
    flx_loop_stop(s->f.loop);
}

static void all_there(side *s)
{
    const uint64_t due_ns = flx_clock_monotonic_ns() + s->wait_ns;
    FLOOR_CHECK(flx_loop_timer_set(s->f.loop, &s->timer, due_ns) == FLX_OK);
}

static void dial(side *s)
{
    flx_quic_conn *conn = NULL;
    s->dialled++;
    FLOOR_CHECK(flx_quic_connect(s->f.endpoint, (struct sockaddr *)&s->f.address, s->f.address_len,
                                 "localhost", NULL, NULL, &conn, NULL) == FLX_OK);
}

static void on_connected(void *arg, flx_quic_conn *conn)
{
    side *s = arg;
    /* The first one warms up: what a process keeps for good is not counted. */
    if (s->connected++ == 0) {
        server_before_kb = resident_kb(s->f.child);
        client_before_kb = resident_kb(getpid());
        s->cpu_before_s = floor_cpu_s();
    }
    for (uint64_t i = 0; i < s->streams; i++) {
        flx_quic_stream *stream = NULL;
        const flx_range range = {flx_chunk_ref(s->message), 0, s->message->len};
        FLOOR_CHECK(flx_quic_stream_open(conn, true, NULL, &stream, NULL) == FLX_OK);
        FLOOR_CHECK(flx_quic_stream_write_take(stream, range) == FLX_OK);
    }
    if (s->dialled < s->conns + 1)
        dial(s);
    else if (s->streams == 0 && s->connected == s->conns + 1)
        all_there(s);
}

static void on_answer(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    side *s = arg;
    (void)fin;
    flx_quic_stream_consume(stream, data.len);
    s->answered += data.len;
    if (s->answered == (s->conns + 1) * s->streams * s->message->len)
        all_there(s);
}

static void on_closed(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    (void)arg;
    (void)conn;
    if (why->kind != FLX_QUIC_CLOSE_LOCAL) {
        (void)fprintf(stderr, "a connection ended: %s\n", why->reason);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static side s;
    s.conns = floor_option(argc, argv, "--conns", 2000);
    s.streams = floor_option(argc, argv, "--streams", 1);
    s.wait_ns = floor_option(argc, argv, "--wait-ms", 1500) * 1000000;
    s.options = (flx_quic_options){
        .udp_payload_max = (uint32_t)floor_option(argc, argv, "--payload", 0),
        .connections_max = UINT32_MAX,
        .connections_per_source_max = UINT32_MAX,
        .retry_above = UINT32_MAX,
        .idle_timeout_ms = 120000,
        .keepalive_ms = 60000,
    };
    s.message = flx_chunk_new(64);
    FLOOR_CHECK(s.conns > 0 && s.message != NULL);
    memset(s.message->data, 'x', 64);
    s.message->len = 64;
    if (!floor_quic_fork(&s.f)) {
        const flx_quic_events events = {.stream_data = on_echo};
        (void)signal(SIGTERM, on_stop);
        floor_quic_serve(&s.f, NULL, &s.options, &events, &s);
        return 0;
    }
    const flx_quic_events events = {
        .connected = on_connected, .stream_data = on_answer, .closed = on_closed};
    s.timer = (flx_timer){.fire = on_waited, .arg = &s};
    s.dialled = 1;
    (void)floor_quic_dial(&s.f, NULL, &s.options, &events, &s);
    FLOOR_CHECK(flx_loop_run(s.f.loop, NULL) == FLX_OK);
    (void)kill(s.f.child, SIGTERM);
    floor_quic_end(&s.f);
    (void)flx_chunk_unref(s.message);
    return 0;
}
