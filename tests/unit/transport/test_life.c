/* SPDX-License-Identifier: Apache-2.0 */
/* How connections end, how many there may be, and what strangers get. */
#include "common/alloc.h"
#include "rig.h"

#include <fcntl.h>
#include <unistd.h>

static void test_close_by_client(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    rig_start(&r, NULL, NULL);
    rig_connect(&r, &c);
    flx_quic_conn_close(c.conn, 7, "enough");
    flx_quic_conn_close(c.conn, 8, "the first counts");
    assert_false(c.closed); /* at the end of the tick, never inside the call */
    RIG_UNTIL(&r, c.closed && r.ended == 1);
    assert_int_equal(c.why.kind, FLX_QUIC_CLOSE_LOCAL);
    assert_int_equal(r.server_why.kind, FLX_QUIC_CLOSE_PEER);
    assert_true(r.server_why.application);
    assert_int_equal(r.server_why.code, 7);
    assert_string_equal(r.server_why.reason, "enough");
    rig_stop(&r);
}

/* Everything at once from inside a callback, the stream's own end included. */
static void on_data_suicide(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    (void)arg;
    (void)fin;
    flx_quic_conn *conn = flx_quic_stream_conn(stream);
    flx_quic_stream *other = NULL;
    assert_int_equal(flx_quic_stream_open(conn, true, NULL, &other, NULL), FLX_OK);
    assert_int_equal(rig_write(other, "bye", 3), FLX_OK);
    flx_quic_stream_consume(stream, data.len);
    flx_quic_stream_reset(stream, 1);
    flx_quic_stream_stop(stream, 2);
    flx_quic_conn_close(conn, 3, "");
    assert_int_equal(rig_write(other, "late", 4), FLX_ERR_CLOSED);
    assert_int_equal(flx_quic_stream_open(conn, true, NULL, &other, NULL), FLX_ERR_CLOSED);
}

static void test_close_in_callback(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    flx_quic_stream *stream = NULL;
    rig_start(&r, NULL, NULL);
    r.server->events.stream_data = on_data_suicide;
    rig_connect(&r, &c);
    assert_int_equal(flx_quic_stream_open(c.conn, true, NULL, &stream, NULL), FLX_OK);
    assert_int_equal(rig_write(stream, "x", 1), FLX_OK);
    RIG_UNTIL(&r, c.closed && r.ended == 1);
    assert_int_equal(c.why.code, 3);
    assert_int_equal(r.streams_closed, 2);
    rig_stop(&r);
}

static void test_refused_port(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    rig_start(&r, NULL, &(flx_quic_options){.handshake_timeout_ms = 300});
    rig_unlisten(&r);
    rig_dial(&r, &c, "localhost", NULL);
    RIG_UNTIL(&r, c.closed);
    assert_int_equal(c.why.kind, FLX_QUIC_CLOSE_HANDSHAKE);
    rig_listen(&r, NULL);
    rig_stop(&r);
}

static void test_idle_timeout(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    const flx_quic_options silent = {.idle_timeout_ms = 200, .keepalive_ms = UINT32_MAX};
    rig_start(&r, &silent, &silent);
    rig_connect(&r, &c);
    RIG_UNTIL(&r, c.closed && r.ended == 1);
    assert_int_equal(c.why.kind, FLX_QUIC_CLOSE_IDLE);
    assert_int_equal(r.server_why.kind, FLX_QUIC_CLOSE_IDLE);
    rig_stop(&r);
}

/* A keep-alive is sent often enough even when the peer's idle timeout is shorter than our interval. */
static void test_keepalive(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    rig_start(&r, &(flx_quic_options){.idle_timeout_ms = 1000, .keepalive_ms = UINT32_MAX},
              &(flx_quic_options){.keepalive_ms = 5000});
    rig_connect(&r, &c);
    const uint64_t until_ns = flx_clock_monotonic_ns() + 2500 * FLX_NS_PER_MS;
    while (flx_clock_monotonic_ns() < until_ns)
        rig_step(&r);
    assert_false(c.closed);
    assert_int_equal(r.ended, 0);
    rig_stop(&r);
}

static void dial_expect(rig *r, rig_conn *c, uint64_t code)
{
    rig_dial(r, c, "localhost", NULL);
    RIG_UNTIL(r, c->connected || c->closed);
    if (code == 0) {
        assert_true(c->connected);
        return;
    }
    assert_true(c->closed);
    assert_int_equal(c->why.kind, FLX_QUIC_CLOSE_HANDSHAKE);
    assert_int_equal(c->why.code, code);
}

static void test_caps(void **state)
{
    (void)state;
    rig r;
    rig_conn c[4];
    flx_quic_stats stats;
    rig_start(&r, &(flx_quic_options){.connections_per_source_max = 2}, NULL);
    dial_expect(&r, &c[0], 0);
    dial_expect(&r, &c[1], 0);
    dial_expect(&r, &c[2], NGTCP2_CONNECTION_REFUSED);
    flx_quic_conn_close(c[0].conn, 0, "");
    RIG_UNTIL(&r, r.ended == 1); /* its place is free again */
    dial_expect(&r, &c[2], 0);
    flx_quic_endpoint_stats(r.server, &stats);
    assert_int_equal(stats.refused_source_limit, 1);
    assert_int_equal(stats.connections, 2);
    rig_stop(&r);

    rig_start(&r, &(flx_quic_options){.connections_max = 1}, NULL);
    dial_expect(&r, &c[0], 0);
    dial_expect(&r, &c[1], NGTCP2_CONNECTION_REFUSED);
    flx_quic_endpoint_stats(r.server, &stats);
    assert_int_equal(stats.refused_total_limit, 1);
    rig_stop(&r);

    rig_start(&r, NULL, NULL);
    dial_expect(&r, &c[0], 0);
    flx_quic_endpoint_refuse_new(r.server);
    dial_expect(&r, &c[1], NGTCP2_CONNECTION_REFUSED);
    assert_false(c[0].closed);
    rig_stop(&r);
}

/* Counts per source: mapped IPv4 is IPv4, and the table survives growth and removal. */
static void test_sources(void **state)
{
    (void)state;
    flx_quic_group *group = NULL;
    const uint8_t secret[32] = {3};
    uint8_t a[16];
    uint8_t b[16];
    const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    v6.sin6_addr.s6_addr[12] = 10;
    v6.sin6_addr.s6_addr[15] = 1;
    flx_source_of((const struct sockaddr *)&v4, a);
    flx_source_of((const struct sockaddr *)&v6, b);
    assert_memory_equal(a, b, 16);

    assert_int_equal(flx_quic_group_new(1, secret,
                                        &(flx_quic_options){.connections_per_source_max = 2},
                                        &group, NULL),
                     FLX_OK);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            memcpy(a, &i, sizeof i);
            assert_int_equal(flx_group_admit(group, a), ADMIT_OK);
            assert_int_equal(flx_group_admit(group, a), ADMIT_OK);
            assert_int_equal(flx_group_admit(group, a), ADMIT_SOURCE);
        }
        for (uint32_t i = 0; i < 1000; i++) {
            memcpy(a, &i, sizeof i);
            flx_group_leave(group, a);
            flx_group_leave(group, a);
        }
        assert_int_equal(group->sources_count, 0);
        assert_int_equal(atomic_load(&group->connections), 0);
    }
    assert_null(flx_quic_group_free(group));
}

static void test_retry(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    flx_quic_stats stats;
    rig_start(&r, &(flx_quic_options){.retry_above = 1}, NULL);
    (void)atomic_fetch_add(&r.group->half_open, 1); /* somebody else's half-open handshake */
    rig_connect(&r, &c);
    flx_quic_endpoint_stats(r.server, &stats);
    assert_int_equal(stats.retries_sent, 1);
    assert_int_equal(atomic_load(&r.group->half_open), 1);
    (void)atomic_fetch_sub(&r.group->half_open, 1);
    rig_stop(&r);
}

/* A server that came back with the same secret ends what it does not remember; with another it
 * cannot. */
static void test_stateless_reset(void **state)
{
    (void)state;
    for (int same = 1; same >= 0; same--) {
        rig r;
        rig_conn c;
        flx_quic_stream *stream = NULL;
        rig_start(&r, NULL,
                  &(flx_quic_options){.idle_timeout_ms = 1500, .keepalive_ms = UINT32_MAX});
        rig_connect(&r, &c);
        rig_idle(&r, 5);
        /* It dies without a word: nothing it sends while it is freed gets out. */
        r.server->tx->blocked = true;
        rig_unlisten(&r);
        if (same == 0)
            r.secret[0] ^= 1;
        rig_listen(&r, NULL);
        assert_int_equal(flx_quic_stream_open(c.conn, true, NULL, &stream, NULL), FLX_OK);
        assert_int_equal(rig_write(stream, "still there?", 12), FLX_OK);
        RIG_UNTIL(&r, c.closed);
        assert_int_equal(c.why.kind, same ? FLX_QUIC_CLOSE_RESET : FLX_QUIC_CLOSE_IDLE);
        rig_stop(&r);
    }
}

/* --- strangers -------------------------------------------------------------------------------- */

typedef struct stranger {
    int fd;
    uint8_t answer[2048];
    ssize_t answer_len;
} stranger;

static void stranger_start(stranger *s, rig *r)
{
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(connect(s->fd, (struct sockaddr *)&r->address, r->address_len), 0);
}

static bool stranger_says(stranger *s, rig *r, const void *bytes, size_t len)
{
    assert_int_equal(send(s->fd, bytes, len, 0), (ssize_t)len);
    rig_idle(r, 3);
    s->answer_len = recv(s->fd, s->answer, sizeof s->answer, 0);
    return s->answer_len > 0;
}

static void test_strangers(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    stranger s;
    uint8_t packet[1400];
    rig_start(&r, NULL, NULL);
    stranger_start(&s, &r);

    memset(packet, 0, sizeof packet);
    packet[0] = 0xc0;
    packet[1] = 0x1a; /* version 0x1a2a3a4a */
    packet[2] = 0x2a;
    packet[3] = 0x3a;
    packet[4] = 0x4a;
    packet[5] = 8;
    packet[14] = 0;
    assert_false(stranger_says(&s, &r, packet, 1199)); /* too small to be answered */
    assert_true(stranger_says(&s, &r, packet, 1200));  /* Version Negotiation, QUIC v1 only */
    assert_int_equal(s.answer_len, 1 + 4 + 1 + 1 + 8 + 4);
    assert_int_equal(s.answer[s.answer_len - 1], 1);

    memset(packet, 0x40, sizeof packet); /* a short header of nobody */
    assert_true(stranger_says(&s, &r, packet, 1200));
    assert_true(s.answer_len >= 21 && s.answer_len < 100);
    assert_true(stranger_says(&s, &r, packet, 30));
    assert_true(s.answer_len < 30); /* shorter than what it answers */
    assert_false(stranger_says(&s, &r, packet, 20));

    unsigned seed = 11;
    for (int i = 0; i < 300; i++) { /* noise of all lengths and first bytes */
        for (size_t k = 0; k < sizeof packet; k++) {
            seed = seed * 1103515245U + 12345U;
            packet[k] = (uint8_t)(seed >> 16);
        }
        if (i % 3 == 0) { /* of version 1, with an id of a legal length */
            packet[0] |= 0xc0;
            memcpy(packet + 1, "\0\0\0\1\x08", 5);
            packet[14] = 8;
        }
        (void)send(s.fd, packet, (size_t)(i * 13) % sizeof packet, 0);
        if (i % 16 == 0)
            rig_idle(&r, 1);
    }
    rig_connect(&r, &c); /* still at work */
    flx_quic_stats stats;
    flx_quic_endpoint_stats(r.server, &stats);
    assert_true(stats.dropped > 0);
    assert_int_equal(stats.connections, 1);
    (void)close(s.fd);
    rig_stop(&r);
}

static void test_busy_port(void **state)
{
    (void)state;
    rig r;
    flx_quic_group *group = NULL;
    flx_quic_endpoint *second = NULL;
    flx_error error;
    rig_start(&r, NULL, NULL);
    assert_int_equal(flx_quic_group_new(1, r.secret, NULL, &group, &error), FLX_OK);
    assert_int_equal(flx_quic_listen(r.loop, group, 0, (struct sockaddr *)&r.address, r.address_len,
                                     r.server_credentials, &r.server_events, &r, &second, &error),
                     FLX_ERR_CONFLICT);
    assert_int_equal(error.status, FLX_ERR_CONFLICT);
    assert_null(flx_quic_group_free(group));
    rig_stop(&r);
}

/* Bound to any address, answers leave from the one that was dialled; [::] serves IPv4 as well. */
static void test_any_address(void **state)
{
    static const struct {
        bool six;
        const char *dial;
    } rows[] = {{false, "127.0.0.1"}, {false, "127.0.0.2"}, {true, "127.0.0.3"}, {true, "::1"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig r;
        rig_conn c;
        flx_error error;
        static uint8_t bytes[50000];
        flx_quic_stream *stream = NULL;
        struct sockaddr_in to = {.sin_family = AF_INET};
        struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
        rig_start(&r, NULL, NULL);
        rig_unlisten(&r);
        memset(&r.address, 0, sizeof r.address);
        r.address.ss_family = rows[i].six ? AF_INET6 : AF_INET;
        r.address_len = rows[i].six ? sizeof to6 : sizeof to;
        rig_listen(&r, NULL);
        to6.sin6_port = to.sin_port = rows[i].six ? ((struct sockaddr_in6 *)&r.address)->sin6_port
                                                  : ((struct sockaddr_in *)&r.address)->sin_port;
        const bool dial_six = inet_pton(AF_INET, rows[i].dial, &to.sin_addr) != 1;
        if (dial_six)
            assert_int_equal(inet_pton(AF_INET6, rows[i].dial, &to6.sin6_addr), 1);
        memset(&c, 0, sizeof c);
        assert_int_equal(
            flx_quic_connect(r.client, dial_six ? (struct sockaddr *)&to6 : (struct sockaddr *)&to,
                             dial_six ? sizeof to6 : sizeof to, "localhost", NULL, &c, &c.conn,
                             &error),
            FLX_OK);
        RIG_UNTIL(&r, c.connected || c.closed);
        if (!c.connected)
            fail_msg("%s: %s", rows[i].dial, c.why.reason);
        assert_int_equal(flx_quic_stream_open(c.conn, true, NULL, &stream, NULL), FLX_OK);
        assert_int_equal(rig_write(stream, bytes, sizeof bytes), FLX_OK);
        RIG_UNTIL(&r, r.server_bytes == sizeof bytes && flx_quic_stream_held(stream) == 0);
        rig_stop(&r);
    }
}

/* A socket without GSO sends the same packets one by one. */
static void test_without_gso(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    flx_quic_stream *stream = NULL;
    static uint8_t bytes[300000];
    rig_start(&r, NULL, NULL);
    rig_connect(&r, &c);
    r.server->sockets[0].gso = r.client->sockets[0].gso = false;
    assert_int_equal(flx_quic_stream_open(c.conn, true, NULL, &stream, NULL), FLX_OK);
    assert_int_equal(rig_write(stream, bytes, sizeof bytes), FLX_OK);
    RIG_UNTIL(&r, r.server_bytes == sizeof bytes);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_by_client), cmocka_unit_test(test_close_in_callback),
        cmocka_unit_test(test_refused_port),    cmocka_unit_test(test_idle_timeout),
        cmocka_unit_test(test_keepalive),       cmocka_unit_test(test_caps),
        cmocka_unit_test(test_sources),         cmocka_unit_test(test_retry),
        cmocka_unit_test(test_stateless_reset), cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_busy_port),       cmocka_unit_test(test_without_gso),
        cmocka_unit_test(test_any_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
