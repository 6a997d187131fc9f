/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes there and back: echo, windows, pull, many streams, reset and stop. */
#include "rig.h"

#define BULK (3 * 1024 * 1024)

/* What one test's client saw; the rig's `data`. */
typedef struct seen {
    uint64_t bytes;
    uint64_t wrong; /* bytes that were not what was sent */
    unsigned fins;
    unsigned closed;
    unsigned opened;
    unsigned resets;
    unsigned stops;
    unsigned available;
    unsigned pulls;
    uint64_t code;
    bool hold; /* do not consume */
    uint64_t held;
    uint64_t pulled;
    uint64_t pull_total;
    flx_quic_stream *stream;
} seen;

static uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 9));
}

static seen *seen_of(void *arg)
{
    return ((rig *)arg)->data;
}

static void on_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    seen *s = seen_of(arg);
    for (size_t i = 0; i < data.len; i++)
        s->wrong += data.ptr[i] != pattern(s->bytes + i);
    s->bytes += data.len;
    s->fins += fin;
    if (s->hold)
        s->held += data.len;
    else
        flx_quic_stream_consume(stream, data.len);
}

static void on_closed(void *arg, flx_quic_stream *stream)
{
    (void)stream;
    seen_of(arg)->closed++;
}

static void on_opened(void *arg, flx_quic_conn *conn, flx_quic_stream *stream)
{
    (void)conn;
    seen_of(arg)->opened++;
    seen_of(arg)->stream = stream;
}

static void on_reset(void *arg, flx_quic_stream *stream, uint64_t code)
{
    (void)stream;
    seen_of(arg)->resets++;
    seen_of(arg)->code = code;
}

static void on_stopped(void *arg, flx_quic_stream *stream, uint64_t code)
{
    seen *s = seen_of(arg);
    s->stops++;
    s->code = code;
    assert_int_equal(rig_write(stream, "x", 1), FLX_ERR_CLOSED);
}

static void on_available(void *arg, flx_quic_conn *conn)
{
    (void)conn;
    seen_of(arg)->available++;
}

/* Writes the pattern up to pull_total, a chunk a call, then stops wanting. */
static void on_pull(void *arg, flx_quic_stream *stream)
{
    uint8_t bytes[20000];
    seen *s = seen_of(arg);
    size_t len = sizeof bytes;
    s->pulls++;
    if (s->pull_total - s->pulled < len)
        len = (size_t)(s->pull_total - s->pulled);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(s->pulled + i);
    s->pulled += len;
    assert_int_equal(rig_write(stream, bytes, len), FLX_OK);
    if (s->pulled == s->pull_total) {
        flx_quic_stream_want_pull(stream, false);
        flx_quic_stream_finish(stream);
    }
}

static void begin(rig *r, rig_conn *c, seen *s, const flx_quic_options *server,
                  const flx_quic_options *client)
{
    flx_error error;
    rig_start(r, server, client);
    memset(s, 0, sizeof *s);
    r->data = s;
    r->client = flx_quic_endpoint_free(r->client);
    r->client_events.stream_data = on_data;
    r->client_events.stream_closed = on_closed;
    r->client_events.stream_opened = on_opened;
    r->client_events.stream_reset = on_reset;
    r->client_events.stream_stopped = on_stopped;
    r->client_events.stream_pull = on_pull;
    r->client_events.streams_available = on_available;
    assert_int_equal(flx_quic_client(r->loop, client, r->client_credentials, &r->client_events, r,
                                     &r->client, &error),
                     FLX_OK);
    rig_connect(r, c);
}

static flx_quic_stream *open_stream(rig_conn *c, bool bidirectional)
{
    flx_quic_stream *stream = NULL;
    flx_error error;
    assert_int_equal(flx_quic_stream_open(c->conn, bidirectional, NULL, &stream, &error), FLX_OK);
    return stream;
}

/* Random pieces of one big chunk and of small ones, some adjacent (they merge), some not. */
static void write_pieces(flx_quic_stream *stream, uint64_t total, unsigned seed)
{
    const flx_range whole = rig_range("", 0);
    (void)flx_chunk_unref(whole.chunk);
    flx_chunk *big = flx_chunk_new(total);
    assert_non_null(big);
    for (uint64_t i = 0; i < total; i++)
        big->data[i] = pattern(i);
    big->len = (uint32_t)total;
    for (uint32_t at = 0; at < total;) {
        seed = seed * 1103515245U + 12345U;
        uint32_t len = 1 + (seed >> 16) % 9000;
        if (len > total - at)
            len = (uint32_t)(total - at);
        if ((seed & 0x400) != 0)
            assert_int_equal(
                flx_quic_stream_write_take(stream, (flx_range){flx_chunk_ref(big), at, at + len}),
                FLX_OK);
        else
            assert_int_equal(rig_write(stream, big->data + at, len), FLX_OK);
        at += len;
    }
    (void)flx_chunk_unref(big);
}

static void test_echo(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    begin(&r, &c, &s, NULL, NULL);
    flx_quic_stream *stream = open_stream(&c, true);
    write_pieces(stream, BULK, 1);
    flx_quic_stream_finish(stream);
    assert_int_equal(rig_write(stream, "x", 1), FLX_ERR_CLOSED);
    RIG_UNTIL(&r, s.closed == 1);
    assert_int_equal(s.bytes, BULK);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(s.fins, 1);
    RIG_UNTIL(&r, r.streams_closed == 1);

    flx_quic_conn_info info;
    flx_quic_conn_info_get(c.conn, &info);
    assert_int_equal(info.queued_bytes, 0);
    assert_int_equal(info.unacked_bytes, 0);
    assert_string_equal(info.cipher, "AES-128-GCM");
    rig_stop(&r);
}

/* Large fixed packets, as an operator declares for loopback. */
static void test_echo_jumbo(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    const flx_quic_options jumbo = {.udp_payload_max = 4096};
    begin(&r, &c, &s, &jumbo, &jumbo);
    flx_quic_stream *stream = open_stream(&c, true);
    write_pieces(stream, BULK, 5);
    flx_quic_stream_finish(stream);
    RIG_UNTIL(&r, s.closed == 1);
    assert_int_equal(s.bytes, BULK);
    assert_int_equal(s.wrong, 0);
    flx_quic_conn_info info;
    flx_quic_conn_info_get(c.conn, &info);
    assert_int_equal(info.udp_payload_bytes, 4096);
    rig_stop(&r);
}

/* A reader that consumes nothing stops the peer within the window; consuming resumes it. */
static void test_backpressure(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    const uint32_t window = 64 * 1024;
    begin(&r, &c, &s, NULL, &(flx_quic_options){.stream_window_bytes = window});
    s.hold = true;
    flx_quic_stream *stream = open_stream(&c, true);
    write_pieces(stream, 10 * window, 2);
    flx_quic_stream_finish(stream);
    RIG_UNTIL(&r, s.bytes >= window);
    rig_idle(&r, 10);
    assert_int_equal(s.bytes, window);
    while (s.fins == 0) {
        if (s.held > 0)
            flx_quic_stream_consume(stream, s.held);
        s.held = 0;
        rig_step(&r);
        assert_true(s.held <= window);
    }
    assert_int_equal(s.bytes, 10 * window);
    assert_int_equal(s.wrong, 0);
    rig_stop(&r);
}

/* The connection's window binds all streams together, and does not leak with streams that end. */
static void test_connection_window(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    const uint32_t window = 64 * 1024;
    begin(&r, &c, &s, NULL, &(flx_quic_options){.conn_window_bytes = window});
    s.hold = true;
    for (int i = 0; i < 8; i++) { /* each leaves a quarter of the window unconsumed and ends */
        flx_quic_stream *stream = open_stream(&c, true);
        write_pieces(stream, window / 4, 3);
        flx_quic_stream_finish(stream);
        RIG_UNTIL(&r, s.closed == (unsigned)i + 1);
    }
    assert_int_equal(s.bytes, 2 * window);
    rig_stop(&r);
}

static void test_pull(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    begin(&r, &c, &s, NULL, NULL);
    s.pull_total = BULK;
    flx_quic_stream *stream = open_stream(&c, true);
    flx_quic_stream_want_pull(stream, true);
    size_t queued_max = 0;
    while (s.closed == 0) {
        if (s.pulled < s.pull_total && flx_quic_stream_queued(stream) > queued_max)
            queued_max = flx_quic_stream_queued(stream);
        rig_step(&r);
    }
    assert_true(s.pulls >= BULK / 20000);
    assert_int_equal(s.bytes, BULK);
    assert_int_equal(s.wrong, 0);
    assert_true(queued_max <= PULL_LOW_BYTES + 20000); /* a position, not a queue */
    rig_stop(&r);
}

/* A stream whose peer does not read must not keep the others from being pulled. */
static void test_pull_beside_a_stalled_stream(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    begin(&r, &c, &s, &(flx_quic_options){.stream_window_bytes = 32 * 1024}, NULL);
    r.server->events.stream_data = NULL; /* nobody reads on the server: give_back would consume */
    s.pull_total = 300000;
    flx_quic_stream *stalled = open_stream(&c, false);
    stalled->blocked = true; /* as after STREAM_DATA_BLOCKED */
    write_pieces(stalled, 200000, 4);
    flx_quic_stream *pulled = open_stream(&c, false);
    flx_quic_stream_want_pull(pulled, true);
    RIG_UNTIL(&r, s.pulled == s.pull_total);
    assert_int_equal(flx_quic_stream_queued(stalled), 200000);
    rig_stop(&r);
}

/* More streams than the peer allows at once: AGAIN, then credit comes back as streams end. */
static void test_many_streams(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    flx_error error;
    flx_quic_stream *stream = NULL;
    begin(&r, &c, &s, &(flx_quic_options){.streams_bidi = 8}, NULL);
    unsigned opened = 0;
    const unsigned wanted = 100;
    while (s.closed < wanted) {
        while (opened < wanted) {
            const flx_status status = flx_quic_stream_open(c.conn, true, NULL, &stream, &error);
            if (status == FLX_ERR_AGAIN)
                break;
            assert_int_equal(status, FLX_OK);
            opened++;
            assert_true(opened - s.closed <= 8 + 8);
            assert_int_equal(rig_write(stream, "ping", 4), FLX_OK);
            flx_quic_stream_finish(stream);
        }
        rig_step(&r);
    }
    assert_int_equal(s.bytes, 4 * wanted);
    assert_true(s.available > 0);
    RIG_UNTIL(&r, r.streams_closed == wanted);
    rig_stop(&r);
}

/* One-way streams of the peer end and give their credit back, with and without ngtcp2's close. */
static void test_uni_credit(void **state)
{
    (void)state;
    for (int soft = 0; soft < 2; soft++) {
        rig r;
        rig_conn c;
        seen s;
        flx_error error;
        flx_quic_stream *stream = NULL;
        flx_stream_soft_close_for_tests(soft == 1);
        begin(&r, &c, &s, &(flx_quic_options){.streams_uni = 4}, NULL);
        for (unsigned opened = 0; opened < 50;) {
            if (flx_quic_stream_open(c.conn, false, NULL, &stream, &error) == FLX_OK) {
                opened++;
                assert_int_equal(rig_write(stream, "publish", 7), FLX_OK);
                if (opened % 3 == 0)
                    flx_quic_stream_reset(stream, 5);
                else
                    flx_quic_stream_finish(stream);
            } else {
                rig_step(&r);
            }
        }
        /* The server never heard of those that were reset before a byte left: 50 / 3 of them. */
        RIG_UNTIL(&r, r.streams_closed == 34 && s.closed == 50);
        rig_stop(&r);
    }
    flx_stream_soft_close_for_tests(false);
}

/* A one-way stream of ours that the peer stops while nothing is queued: told within a round trip. */
static void test_stop_of_an_idle_stream(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    begin(&r, &c, &s, NULL, NULL);
    flx_quic_stream *stream = open_stream(&c, false);
    assert_int_equal(rig_write(stream, "hello", 5), FLX_OK);
    RIG_UNTIL(&r, r.server_bytes == 5 && flx_quic_stream_held(stream) == 0);
    flx_quic_stream_stop(r.server_stream, 42);
    RIG_UNTIL(&r, s.closed == 1);
    assert_int_equal(s.stops, 1);
    assert_int_equal(s.code, 42);
    rig_stop(&r);
}

/* Many small streams share packets. */
static void test_streams_share_packets(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    begin(&r, &c, &s, NULL, NULL);
    flx_quic_stats before;
    flx_quic_stats after;
    rig_idle(&r, 5);
    flx_quic_endpoint_stats(r.client, &before);
    for (int i = 0; i < 200; i++) {
        flx_quic_stream *stream = open_stream(&c, false);
        assert_int_equal(rig_write(stream, "announce", 8), FLX_OK);
        flx_quic_stream_finish(stream);
    }
    RIG_UNTIL(&r, s.closed == 200 && r.streams_closed == 200);
    flx_quic_endpoint_stats(r.client, &after);
    assert_true(after.packets_out - before.packets_out < 40);
    assert_int_equal(r.server_bytes, 1600);
    rig_stop(&r);
}

static void test_server_opens(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    flx_quic_stream *stream = NULL;
    begin(&r, &c, &s, NULL, NULL);
    assert_int_equal(flx_quic_stream_open(r.server_conn, false, NULL, &stream, NULL), FLX_OK);
    write_pieces(stream, 100000, 6);
    flx_quic_stream_finish(stream);
    RIG_UNTIL(&r, s.fins == 1);
    assert_int_equal(s.opened, 1);
    assert_int_equal(s.bytes, 100000);
    assert_int_equal(s.wrong, 0);
    RIG_UNTIL(&r, s.closed == 1);
    rig_stop(&r);
}

static void test_empty_stream(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    begin(&r, &c, &s, NULL, NULL);
    flx_quic_stream_finish(open_stream(&c, true)); /* only a FIN */
    RIG_UNTIL(&r, s.closed == 1);
    assert_int_equal(s.fins, 1);
    assert_int_equal(s.bytes, 0);
    rig_stop(&r);
}

/* The server resets its side and stops ours: both are told, and the queue is dropped. */
static void test_reset_and_stop(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    begin(&r, &c, &s, NULL, NULL);
    flx_quic_stream *stream = open_stream(&c, true);
    write_pieces(stream, BULK, 7);
    RIG_UNTIL(&r, r.server_stream != NULL);
    flx_quic_stream_reset(r.server_stream, 41);
    flx_quic_stream_stop(r.server_stream, 42);
    flx_quic_stream_reset(r.server_stream, 43); /* the first counts */
    RIG_UNTIL(&r, s.closed == 1);
    assert_int_equal(s.resets, 1);
    assert_int_equal(s.stops, 1);
    RIG_UNTIL(&r, r.streams_closed == 1);
    flx_quic_conn_info info;
    flx_quic_conn_info_get(c.conn, &info);
    assert_int_equal(info.queued_bytes, 0);
    assert_int_equal(info.unacked_bytes, 0);

    /* The connection goes on. */
    s.bytes = 0;
    stream = open_stream(&c, true);
    write_pieces(stream, 5000, 8);
    flx_quic_stream_finish(stream);
    RIG_UNTIL(&r, s.closed == 2);
    assert_int_equal(s.bytes, 5000);
    assert_int_equal(s.wrong, 0);
    rig_stop(&r);
}

static void test_key_update(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    seen s;
    for (int off = 0; off < 2; off++) {
        flx_aead_disable_for_tests(off == 1);
        begin(&r, &c, &s, NULL, NULL);
        flx_quic_stream *stream = open_stream(&c, true);
        write_pieces(stream, 200000, 9);
        RIG_UNTIL(&r, s.bytes == 200000);
        assert_int_equal(flx_quic_conn_update_keys(c.conn), FLX_OK);
        s.bytes = 0;
        write_pieces(stream, 200000, 9);
        flx_quic_stream_finish(stream);
        RIG_UNTIL(&r, s.closed == 1);
        assert_int_equal(s.bytes, 200000);
        assert_int_equal(s.wrong, 0);
        rig_stop(&r);
    }
    flx_aead_disable_for_tests(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),           cmocka_unit_test(test_echo_jumbo),
        cmocka_unit_test(test_backpressure),   cmocka_unit_test(test_connection_window),
        cmocka_unit_test(test_pull),           cmocka_unit_test(test_pull_beside_a_stalled_stream),
        cmocka_unit_test(test_many_streams),   cmocka_unit_test(test_streams_share_packets),
        cmocka_unit_test(test_uni_credit),     cmocka_unit_test(test_stop_of_an_idle_stream),
        cmocka_unit_test(test_server_opens),   cmocka_unit_test(test_empty_stream),
        cmocka_unit_test(test_reset_and_stop), cmocka_unit_test(test_key_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
