/* SPDX-License-Identifier: Apache-2.0 */
/* Several workers on one port: ids, kernel steering, strays; and the table behind them. */
#include "rig.h"

#define WORKERS 3

typedef struct workers {
    rig r; /* client, credentials and loop; its own server is not used */
    flx_quic_group *group;
    flx_quic_endpoint *endpoints[WORKERS];
    unsigned accepted[WORKERS];
    uint64_t bytes[WORKERS];
    unsigned posted;
    bool mailbox_full;
} workers;

typedef struct worker_arg {
    workers *w;
    unsigned index;
} worker_arg;

static worker_arg args[WORKERS];

static void on_accept(void *arg, flx_quic_conn *conn)
{
    (void)conn;
    const worker_arg *a = arg;
    a->w->accepted[a->index]++;
}

static void on_data(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    const worker_arg *a = arg;
    a->w->bytes[a->index] += data.len;
    flx_quic_stream_consume(stream, data.len);
    if (fin)
        flx_quic_stream_finish(stream);
}

static bool post(void *arg, uint32_t index, flx_chunk *packets)
{
    workers *w = arg;
    w->posted++;
    if (w->mailbox_full)
        return false;
    flx_quic_endpoint_receive_stray(w->endpoints[index], packets);
    return true;
}

static void workers_start(workers *w)
{
    static const flx_quic_events events = {.connected = on_accept, .stream_data = on_data};
    flx_error error;
    memset(w, 0, sizeof *w);
    rig_start(&w->r, NULL, NULL);
    assert_int_equal(flx_quic_group_new(WORKERS, w->r.secret, NULL, &w->group, &error), FLX_OK);
    rig_loopback(&w->r.address, &w->r.address_len);
    for (unsigned i = 0; i < WORKERS; i++) {
        args[i] = (worker_arg){w, i};
        assert_int_equal(flx_quic_listen(w->r.loop, w->group, i, (struct sockaddr *)&w->r.address,
                                         w->r.address_len, w->r.server_credentials, &events,
                                         &args[i], &w->endpoints[i], &error),
                         FLX_OK);
        flx_quic_endpoint_set_post(w->endpoints[i], post, w);
        if (i == 0)
            flx_quic_endpoint_address(w->endpoints[0], &w->r.address, &w->r.address_len);
    }
}

static void workers_stop(workers *w)
{
    for (unsigned i = 0; i < WORKERS; i++)
        w->endpoints[i] = flx_quic_endpoint_free(w->endpoints[i]);
    w->group = flx_quic_group_free(w->group);
    rig_stop(&w->r);
}

static uint64_t strays(const workers *w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        flx_quic_stats stats;
        flx_quic_endpoint_stats(w->endpoints[i], &stats);
        sum += stats.strays;
    }
    return sum;
}

/* Connections spread over the workers by their ids, and each packet finds its worker. */
static void test_kernel_steers(void **state)
{
    (void)state;
    enum { CONNS = 30 };
    workers w;
    rig_conn c[CONNS];
    static uint8_t bytes[20000];
    workers_start(&w);
    for (int i = 0; i < CONNS; i++) {
        rig_dial(&w.r, &c[i], "localhost", NULL);
        RIG_UNTIL(&w.r, c[i].connected || c[i].closed);
        assert_true(c[i].connected);
        flx_quic_stream *stream = NULL;
        assert_int_equal(flx_quic_stream_open(c[i].conn, true, NULL, &stream, NULL), FLX_OK);
        assert_int_equal(rig_write(stream, bytes, sizeof bytes), FLX_OK);
    }
    RIG_UNTIL(&w.r, w.bytes[0] + w.bytes[1] + w.bytes[2] == CONNS * sizeof bytes);
    unsigned sum = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_true(w.accepted[i] > 0); /* one in 190,000 runs it is not so */
        sum += w.accepted[i];
    }
    assert_int_equal(sum, CONNS);
    assert_int_equal(strays(&w), 0);
    workers_stop(&w);
}

/* A client that knows how many workers there are chooses which of them accepts (rule 27). */
static void test_client_chooses_its_worker(void **state)
{
    (void)state;
    enum { ROUNDS = 4 };
    workers w;
    rig_conn c[WORKERS * ROUNDS];
    workers_start(&w);
    for (unsigned i = 0; i < WORKERS * ROUNDS; i++) {
        const flx_quic_worker want = {.count = WORKERS, .index = i % WORKERS};
        rig_dial_worker(&w.r, &c[i], "localhost", NULL, want);
        RIG_UNTIL(&w.r, c[i].connected || c[i].closed);
        assert_true(c[i].connected);
        assert_int_equal(flx_quic_conn_worker(c[i].conn, WORKERS), want.index);
    }
    RIG_UNTIL(&w.r, w.accepted[0] + w.accepted[1] + w.accepted[2] == WORKERS * ROUNDS);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(w.accepted[i], ROUNDS);
    workers_stop(&w);
}

static void test_every_first_byte_steers(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= FLX_QUIC_WORKERS_MAX; count++)
        for (uint32_t index = 0; index < count; index++)
            for (unsigned random = 0; random < 256; random += 5)
                assert_int_equal(flx_steer_byte((uint8_t)random, count, index) % count, index);
}

/* Packets that come to the wrong worker are handed to the right one; lost when that is full. */
static void test_strays(void **state)
{
    (void)state;
    workers w;
    rig_conn c;
    flx_quic_stream *stream = NULL;
    static uint8_t bytes[100000];
    workers_start(&w);
    /* Take the kernel's rule away: all goes by its own hash, mostly to the wrong one. */
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(flx_steer_attach(w.endpoints[i]->sockets[0].fd, 1, NULL), FLX_OK);
    for (int i = 0; i < 10; i++) {
        rig_dial(&w.r, &c, "localhost", NULL);
        RIG_UNTIL(&w.r, c.connected || c.closed);
        assert_true(c.connected);
        assert_int_equal(flx_quic_stream_open(c.conn, true, NULL, &stream, NULL), FLX_OK);
        assert_int_equal(rig_write(stream, bytes, sizeof bytes), FLX_OK);
        RIG_UNTIL(&w.r, w.bytes[0] + w.bytes[1] + w.bytes[2] == (unsigned)(i + 1) * sizeof bytes);
    }
    assert_true(strays(&w) > 100);
    assert_true(w.posted > 0 && w.posted < strays(&w)); /* several a message */

    w.mailbox_full = true;
    rig_dial(&w.r, &c, "localhost", NULL);
    rig_idle(&w.r, 10);
    w.mailbox_full = false;
    RIG_UNTIL(&w.r, c.connected || c.closed);
    assert_true(c.connected); /* the retransmission got through */
    workers_stop(&w);
}

static void test_ids_are_ours(void **state)
{
    (void)state;
    flx_quic_endpoint endpoint = {0};
    for (uint32_t count = 1; count <= 255; count += 7) {
        endpoint.count = count;
        for (endpoint.index = 0; endpoint.index < count; endpoint.index++) {
            uint32_t index = 999;
            ngtcp2_cid id;
            uint8_t packet[20] = {0x40};
            flx_endpoint_new_cid(&endpoint, &id);
            memcpy(packet + 1, id.data, id.datalen);
            assert_true(flx_steer_index(packet, sizeof packet, count, &index));
            assert_int_equal(index, endpoint.index);
            packet[0] = 0xc0;
            memcpy(packet + 6, id.data, id.datalen);
            assert_true(flx_steer_index(packet, sizeof packet, count, &index));
            assert_int_equal(index, endpoint.index);
        }
    }
    uint32_t index;
    assert_false(flx_steer_index((const uint8_t *)"", 0, 2, &index));
    assert_false(flx_steer_index((const uint8_t *)"\x40", 1, 2, &index));
    assert_false(flx_steer_index((const uint8_t *)"\xc0\0\0\0\1\x08", 6, 2, &index));
}

/* The table of connection ids against a plain list. */
static void test_cidmap(void **state)
{
    (void)state;
    enum { IDS = 3000 };
    static bool there[IDS];
    static char owners[4]; /* addresses only */
    cidmap map;
    unsigned seed = 5;
    flx_cidmap_init(&map, 42);
    assert_null(flx_cidmap_get(&map, (const uint8_t *)"x", 1));
    for (int step = 0; step < 60000; step++) {
        seed = seed * 1103515245U + 12345U;
        const uint32_t n = (seed >> 8) % IDS;
        flx_quic_conn *owner = (flx_quic_conn *)(void *)&owners[n % 4];
        uint8_t id[20] = {0};
        memcpy(id, &n, sizeof n);
        const size_t len = 4 + n % 17;
        assert_ptr_equal(flx_cidmap_get(&map, id, len), there[n] ? owner : NULL);
        if ((seed >> 24) % 3 == 0) {
            flx_cidmap_remove(&map, id, len);
            there[n] = false;
        } else {
            assert_true(flx_cidmap_put(&map, id, len, owner));
            there[n] = true;
        }
    }
    flx_cidmap_remove_conn(&map, (flx_quic_conn *)(void *)&owners[1]);
    uint32_t count = 0;
    for (uint32_t n = 0; n < IDS; n++) {
        uint8_t id[20] = {0};
        memcpy(id, &n, sizeof n);
        const bool expected = there[n] && n % 4 != 1;
        assert_int_equal(flx_cidmap_get(&map, id, 4 + n % 17) != NULL, expected);
        count += expected;
    }
    assert_int_equal(map.count, count);
    flx_cidmap_done(&map);
}

/* A second node on the same port is refused, though the sockets of a group share it. */
static void test_busy_port_of_a_group(void **state)
{
    (void)state;
    static const flx_quic_events events = {0};
    workers w;
    flx_quic_group *group = NULL;
    flx_quic_endpoint *second = NULL;
    flx_error error;
    workers_start(&w);
    assert_int_equal(flx_quic_group_new(2, w.r.secret, NULL, &group, &error), FLX_OK);
    assert_int_equal(flx_quic_listen(w.r.loop, group, 0, (struct sockaddr *)&w.r.address,
                                     w.r.address_len, w.r.server_credentials, &events, NULL,
                                     &second, &error),
                     FLX_ERR_CONFLICT);
    assert_null(flx_quic_group_free(group));
    workers_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernel_steers),
        cmocka_unit_test(test_client_chooses_its_worker),
        cmocka_unit_test(test_every_first_byte_steers),
        cmocka_unit_test(test_strays),
        cmocka_unit_test(test_ids_are_ours),
        cmocka_unit_test(test_cidmap),
        cmocka_unit_test(test_busy_port_of_a_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
