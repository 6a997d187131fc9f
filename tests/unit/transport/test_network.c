/* SPDX-License-Identifier: Apache-2.0 */
/* What a network does to packets, and what strangers make of them: every byte arrives all the same. */
#include "relay.h"

#define BULK ((size_t)400 * 1000)

/* --- loss, order, copies ---------------------------------------------------------------------- */

typedef struct check {
    uint64_t bytes;
    uint64_t wrong;
    bool fin;
} check;

/* Byte `at` of the pattern everybody sends. */
static uint8_t pattern(uint64_t at)
{
    return (uint8_t)((at * 2654435761U) >> 13);
}

static void check_bytes(check *c, flx_slice data, bool fin)
{
    for (size_t i = 0; i < data.len; i++)
        c->wrong += data.ptr[i] != pattern(c->bytes + i);
    c->bytes += data.len;
    c->fin = c->fin || fin;
}

static void on_client_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    rig *r = arg;
    check_bytes(r->data, data, fin);
    flx_quic_stream_consume(stream, data.len);
}

/* The echoing server, which looks at what it gets as well. */
static check at_server;
static void on_server_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    check_bytes(&at_server, data, fin);
    rig_on_echo(arg, stream, data, fin);
}

static flx_quic_stream *write_pattern(flx_quic_conn *conn, uint64_t from, size_t len,
                                      flx_quic_stream *stream)
{
    if (stream == NULL)
        assert_int_equal(flx_quic_stream_open(conn, true, NULL, &stream, NULL), FLX_OK);
    for (size_t at = 0; at < len;) {
        uint8_t piece[7777];
        const size_t n = len - at < sizeof piece ? len - at : sizeof piece;
        for (size_t i = 0; i < n; i++)
            piece[i] = pattern(from + at + i);
        assert_int_equal(rig_write(stream, piece, n), FLX_OK);
        at += n;
    }
    return stream;
}

typedef struct weather {
    const char *name;
    unsigned loss, swaps, copies;
    unsigned updates; /* of the keys, from each side, while the bytes flow */
} weather;

static const weather weathers[] = {
    {.name = "fair, keys change", .updates = 3},
    {.name = "every third one swapped", .swaps = 33},
    {.name = "every fifth one twice", .copies = 20},
    {.name = "a twentieth lost, a tenth swapped", .loss = 5, .swaps = 10},
    {.name = "all at once, keys change", .loss = 3, .swaps = 20, .copies = 10, .updates = 3},
};

/* `updates` from each side. One is done when packets with the new keys were acknowledged, so little
 * pieces keep the echo going. Returns what was written in all. */
static uint64_t change_keys(rig *r, rig_conn *c, unsigned updates, flx_quic_stream *stream,
                            uint64_t sent)
{
    unsigned of_client = 0;
    unsigned of_server = 0;
    while ((of_client < updates || of_server < updates) && !c->closed) {
        if (of_client < updates && flx_quic_conn_update_keys(c->conn) == FLX_OK)
            of_client++;
        if (of_server < updates && flx_quic_conn_update_keys(r->server_conn) == FLX_OK)
            of_server++;
        if (((const check *)r->data)->bytes == sent) {
            (void)write_pattern(c->conn, sent, 20, stream);
            sent += 20;
        }
        assert_true(sent < BULK);
        rig_step(r);
    }
    return sent;
}

static void sail(const weather *w, unsigned seed)
{
    rig r;
    rig_conn c;
    relay x;
    check at_client = {0};
    rig_start(&r, NULL, NULL);
    relay_start(&x, &r, seed);
    x.loss = w->loss;
    x.swaps = w->swaps;
    x.copies = w->copies;
    r.data = &at_client;
    r.server->events.stream_data = on_server_data;
    r.client->events.stream_data = on_client_data;
    at_server = (check){0};
    rig_connect(&r, &c);

    flx_quic_stream *stream = write_pattern(c.conn, 0, BULK / 2, NULL);
    uint64_t sent = change_keys(&r, &c, w->updates, stream, BULK / 2);
    RIG_UNTIL(&r, at_client.bytes >= BULK / 2 || c.closed);
    (void)write_pattern(c.conn, sent, (size_t)(BULK - sent), stream);
    flx_quic_stream_finish(stream);
    RIG_UNTIL(&r, (at_client.fin && at_server.fin) || c.closed);

    assert_false(c.closed);
    assert_int_equal(at_server.bytes, BULK);
    assert_int_equal(at_server.wrong, 0);
    assert_int_equal(at_client.bytes, BULK);
    assert_int_equal(at_client.wrong, 0);
    assert_int_equal(x.lost > 0, w->loss > 0);
    assert_int_equal(x.swapped > 0, w->swaps > 0);
    assert_int_equal(x.copied > 0, w->copies > 0);
    relay_stop(&x);
    rig_stop(&r);
}

static void test_weather(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof weathers / sizeof weathers[0]; i++) {
        print_message("  %s\n", weathers[i].name);
        sail(&weathers[i], (unsigned)i + 1);
    }
}

/* --- a ClientHello of several datagrams --------------------------------------------------------- */

static int big_extension(gnutls_session_t session, gnutls_buffer_t extension)
{
    static const uint8_t padding[2700];
    (void)session;
    return gnutls_buffer_append_data(extension, padding, sizeof padding) < 0 ? -1
                                                                             : (int)sizeof padding;
}

static int no_extension(gnutls_session_t session, const unsigned char *data, size_t len)
{
    (void)session, (void)data, (void)len;
    return 0;
}

typedef struct hello {
    const char *name;
    unsigned order[3]; /* of the first three datagrams to the server, 1..3; 0: that one is lost */
} hello;

static const hello hellos[] = {
    {"in order", {1, 2, 3}},         {"backwards", {3, 2, 1}},
    {"the middle first", {2, 1, 3}}, {"the first is lost", {2, 3, 0}},
    {"the last is lost", {1, 2, 0}},
};

typedef struct hello_run {
    const hello *h;
    unsigned count;
    size_t len[3];
    uint8_t bytes[3][RELAY_BYTES];
} hello_run;

static bool collect_hello(relay *x, bool to_server, uint8_t *bytes, size_t len)
{
    hello_run *run = x->arg;
    if (!to_server || run->count == 3)
        return false;
    memcpy(run->bytes[run->count], bytes, len);
    run->len[run->count++] = len;
    for (unsigned i = 0; run->count == 3 && i < 3; i++)
        if (run->h->order[i] > 0)
            relay_pass(x, true, run->bytes[run->h->order[i] - 1], run->len[run->h->order[i] - 1]);
    return true;
}

static void test_split_client_hello(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        rig r;
        rig_conn c;
        relay x;
        hello_run run = {.h = &hellos[i]};
        print_message("  %s\n", hellos[i].name);
        rig_start(&r, NULL, NULL);
        relay_start(&x, &r, 1);
        x.edit = collect_hello;
        x.arg = &run;
        rig_dial(&r, &c, "localhost", FLX_QUIC_ALPN);
        assert_int_equal(
            gnutls_session_ext_register(c.conn->tls, "padding for a test", 0xff99, GNUTLS_EXT_TLS,
                                        no_extension, big_extension, NULL, NULL, NULL,
                                        GNUTLS_EXT_FLAG_CLIENT_HELLO | GNUTLS_EXT_FLAG_TLS),
            0);
        RIG_UNTIL(&r, c.connected || c.closed);
        assert_true(c.connected);
        assert_int_equal(run.count, 3);
        flx_quic_stats stats;
        flx_quic_endpoint_stats(r.server, &stats);
        assert_int_equal(stats.retries_sent, hellos[i].order[0] != 1);
        relay_stop(&x);
        rig_stop(&r);
    }
}

/* --- Retry tokens -------------------------------------------------------------------------------- */

typedef enum forgery { GENUINE, ONE_BIT, STALE, FOREIGN_SECRET, FOREIGN_ADDRESS } forgery;

static const struct token_row {
    const char *name;
    uint64_t age_s;
    forgery how;
    bool good;
} token_rows[] = {
    {"as it came", 0, GENUINE, true},
    {"one bit is wrong", 0, ONE_BIT, false},
    {"made by ourselves, nine seconds old", RETRY_TOKEN_SECONDS - 1, STALE, true},
    {"eleven seconds old", RETRY_TOKEN_SECONDS + 1, STALE, false},
    {"of another server", 0, FOREIGN_SECRET, false},
    {"of another address", 0, FOREIGN_ADDRESS, false},
};

typedef struct token_run {
    const struct token_row *row;
    struct sockaddr_storage server;
    socklen_t server_len;
    unsigned edited;
    ngtcp2_cid original;
} token_run;

static void rewrite_token(relay *x, token_run *run, const ngtcp2_pkt_hd *hd)
{
    struct sockaddr_in from = {0};
    socklen_t from_len = sizeof from;
    uint8_t secret[32];
    memcpy(secret, x->r->secret, sizeof secret);
    if (run->row->how == FOREIGN_SECRET)
        secret[31] ^= 1;
    assert_int_equal(getsockname(x->back.watch.fd, (struct sockaddr *)&from, &from_len), 0);
    const uint64_t then_ns = (flx_clock_wall_us() - run->row->age_s * 1000000) * FLX_NS_PER_US;
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
    assert_int_equal(ngtcp2_crypto_generate_retry_token(token, secret, sizeof secret, hd->version,
                                                        (struct sockaddr *)&from, from_len,
                                                        &hd->dcid, &run->original, then_ns),
                     hd->token.len);
    memcpy(hd->token.base, token, hd->token.len);
}

/* The header is authenticated with keys of the id in it, so the packet itself would not survive a new
 * token: what counts is what the server says to it. A token that is let in meets a broken packet. */
static bool edit_token(relay *x, bool to_server, uint8_t *bytes, size_t len)
{
    token_run *run = x->arg;
    ngtcp2_pkt_hd hd;
    if (!to_server || ngtcp2_accept(&hd, bytes, len) != 0)
        return false;
    if (hd.token.len == 0) {
        run->original = hd.dcid;
        return false;
    }
    run->edited++;
    if (run->row->how == ONE_BIT)
        hd.token.base[hd.token.len / 2] ^= 1;
    else if (run->row->how == FOREIGN_ADDRESS && run->edited == 1)
        relay_rebind(x, &run->server, run->server_len);
    else if (run->row->how == STALE || run->row->how == FOREIGN_SECRET)
        rewrite_token(x, run, &hd);
    return false;
}

static void test_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof token_rows / sizeof token_rows[0]; i++) {
        rig r;
        rig_conn c;
        relay x;
        token_run run = {.row = &token_rows[i]};
        print_message("  %s\n", run.row->name);
        rig_start(&r, &(flx_quic_options){.retry_above = 1},
                  &(flx_quic_options){.handshake_timeout_ms = 500});
        (void)atomic_fetch_add(&r.group->half_open, 1);
        run.server = r.address;
        run.server_len = r.address_len;
        relay_start(&x, &r, 1);
        x.edit = edit_token;
        x.arg = &run;
        rig_dial(&r, &c, "localhost", NULL);
        RIG_UNTIL(&r, c.connected || c.closed);
        assert_true(run.edited > 0);
        if (run.row->how == GENUINE)
            assert_true(c.connected);
        if (!run.row->good) {
            assert_int_equal(c.why.kind, FLX_QUIC_CLOSE_HANDSHAKE);
            assert_int_equal(c.why.code, 0x0b); /* INVALID_TOKEN */
        } else if (c.closed) {
            assert_int_not_equal(c.why.code, 0x0b);
        }
        (void)atomic_fetch_sub(&r.group->half_open, 1);
        relay_stop(&x);
        rig_stop(&r);
    }
}

/* --- the client's address changes ---------------------------------------------------------------- */

#define WORKERS 3

static struct {
    flx_quic_group *group;
    flx_quic_endpoint *endpoints[WORKERS];
    uint64_t bytes[WORKERS];
    uint16_t port[WORKERS]; /* the peer's, at the last data */
} workers;

static void on_worker_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    const size_t i = (size_t)((flx_quic_endpoint **)arg - workers.endpoints);
    const flx_quic_conn *conn = flx_quic_stream_conn(stream);
    struct sockaddr_in peer;
    (void)fin;
    memcpy(&peer, flx_quic_conn_peer(conn), sizeof peer);
    workers.bytes[i] += data.len;
    workers.port[i] = peer.sin_port;
    flx_quic_stream_consume(stream, data.len);
}

static void workers_start(rig *r)
{
    static const flx_quic_events events = {.stream_data = on_worker_data};
    memset(&workers, 0, sizeof workers);
    assert_int_equal(flx_quic_group_new(WORKERS, r->secret, NULL, &workers.group, NULL), FLX_OK);
    rig_loopback(&r->address, &r->address_len);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(flx_quic_listen(r->loop, workers.group, i, (struct sockaddr *)&r->address,
                                         r->address_len, r->server_credentials, &events,
                                         &workers.endpoints[i], &workers.endpoints[i], NULL),
                         FLX_OK);
        flx_quic_endpoint_address(workers.endpoints[0], &r->address, &r->address_len);
    }
}

static unsigned worker_of_bytes(uint64_t bytes)
{
    for (unsigned i = 0; i < WORKERS; i++)
        if (workers.bytes[i] == bytes)
            return i;
    return WORKERS;
}

static void test_rebinding(void **state)
{
    (void)state;
    rig r;
    rig_conn c;
    relay x;
    flx_quic_stream *stream = NULL;
    static const uint8_t piece[5000];
    rig_start(&r, NULL, NULL);
    workers_start(&r);
    const struct sockaddr_storage server = r.address;
    const socklen_t server_len = r.address_len;
    relay_start(&x, &r, 1);
    rig_dial(&r, &c, "localhost", NULL);
    RIG_UNTIL(&r, c.connected || c.closed);
    assert_true(c.connected);
    assert_int_equal(flx_quic_stream_open(c.conn, true, NULL, &stream, NULL), FLX_OK);
    assert_int_equal(rig_write(stream, piece, sizeof piece), FLX_OK);
    RIG_UNTIL(&r, worker_of_bytes(sizeof piece) < WORKERS);
    const unsigned home = worker_of_bytes(sizeof piece);

    for (unsigned moves = 1; moves <= 4; moves++) {
        struct sockaddr_in from = {0};
        socklen_t from_len = sizeof from;
        relay_rebind(&x, &server, server_len);
        assert_int_equal(getsockname(x.back.watch.fd, (struct sockaddr *)&from, &from_len), 0);
        assert_int_equal(rig_write(stream, piece, sizeof piece), FLX_OK);
        RIG_UNTIL(&r, workers.bytes[home] == (moves + 1) * sizeof piece || c.closed);
        assert_false(c.closed);
        /* The path is validated, and what is written next comes over it. */
        rig_idle(&r, 5);
        assert_int_equal(rig_write(stream, piece, 1), FLX_OK);
        RIG_UNTIL(&r, workers.bytes[home] == (moves + 1) * sizeof piece + 1);
        workers.bytes[home]--;
        assert_int_equal(workers.port[home], from.sin_port);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        flx_quic_stats stats;
        flx_quic_endpoint_stats(workers.endpoints[i], &stats);
        assert_int_equal(stats.strays, 0);
        assert_int_equal(stats.connections, i == home);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        workers.endpoints[i] = flx_quic_endpoint_free(workers.endpoints[i]);
    workers.group = flx_quic_group_free(workers.group);
    relay_stop(&x);
    rig_stop(&r);
}

/* --- a long way ------------------------------------------------------------------------------- */

#define FAR_NS (UINT64_C(60) * FLX_NS_PER_MS) /* each way: an eighth of both is more than 10 ms */

typedef struct far_packet {
    uint64_t due_ns;
    bool to_server;
    size_t len;
    uint8_t bytes[RELAY_BYTES];
} far_packet;

/* Datagrams on their way, oldest first; a ring. */
typedef struct far_way {
    relay x;
    flx_timer timer;
    far_packet *packets;
    unsigned head, tail;
} far_way;

enum { FAR_PACKETS = 256 };

static void far_arm(far_way *way)
{
    if (way->head != way->tail)
        (void)flx_loop_timer_set(way->x.r->loop, &way->timer,
                                 way->packets[way->head % FAR_PACKETS].due_ns);
}

static void far_arrived(void *arg, uint64_t now_ns)
{
    far_way *way = arg;
    for (; way->head != way->tail && way->packets[way->head % FAR_PACKETS].due_ns <= now_ns;
         way->head++) {
        far_packet *packet = &way->packets[way->head % FAR_PACKETS];
        relay_pass(&way->x, packet->to_server, packet->bytes, packet->len);
    }
    far_arm(way);
}

static bool far_sent(relay *x, bool to_server, uint8_t *bytes, size_t len)
{
    far_way *way = x->arg;
    far_packet *packet = &way->packets[way->tail % FAR_PACKETS];
    assert_true(way->tail - way->head < FAR_PACKETS);
    way->tail++;
    packet->due_ns = flx_clock_monotonic_ns() + FAR_NS;
    packet->to_server = to_server;
    packet->len = len;
    memcpy(packet->bytes, bytes, len);
    far_arm(way);
    return true;
}

/* Over a long round trip ngtcp2's own delay is longer than ours. Whoever waits, waits asleep: a
 * deadline that has passed and lets nothing leave would keep the loop turning (README rule 24). */
static void test_acknowledgements_wait_asleep(void **state)
{
    (void)state;
    enum { MESSAGES = 5 };
    rig r;
    rig_conn c;
    far_way way = {.timer = {.fire = far_arrived, .arg = &way}};
    flx_quic_stream *stream = NULL;
    unsigned turns = 0;
    way.packets = calloc(FAR_PACKETS, sizeof *way.packets);
    assert_non_null(way.packets);
    rig_start(&r, NULL, NULL);
    relay_start(&way.x, &r, 1);
    way.x.edit = far_sent;
    way.x.arg = &way;
    rig_connect(&r, &c);
    assert_int_equal(flx_quic_stream_open(c.conn, false, NULL, &stream, NULL), FLX_OK);
    for (unsigned i = 0; i <= MESSAGES; i++) {
        if (i == 1)
            turns = 0; /* the first one's acknowledgement tells the rest of the handshake */
        assert_int_equal(rig_write(stream, "hello", 5), FLX_OK);
        for (; r.server_bytes < 5 * (i + 1) || c.conn->unacked > 0; turns++)
            rig_step(&r);
    }
    assert_in_range(turns, 1, 40 * MESSAGES); /* asleep it is about ten a message */
    flx_loop_timer_cancel(r.loop, &way.timer);
    relay_stop(&way.x);
    rig_stop(&r);
    free(way.packets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weather),
        cmocka_unit_test(test_acknowledgements_wait_asleep),
        cmocka_unit_test(test_split_client_hello),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_rebinding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
