/* SPDX-License-Identifier: Apache-2.0 */
/* Many connections: what they leave behind, and workers on threads of their own. */
#include "common/mailbox.h"
#include "rig.h"

#include <malloc.h>
#include <pthread.h>

/* --- what connections leave behind -------------------------------------------------------------- */

extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes != NULL)
        return __sanitizer_get_current_allocated_bytes();
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void come_and_go(rig *r, unsigned rounds, unsigned together)
{
    rig_conn c[10];
    assert_true(together <= sizeof c / sizeof c[0]);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < together; i++)
            rig_dial(r, &c[i], "localhost", FLX_QUIC_ALPN);
        for (unsigned i = 0; i < together; i++) {
            flx_quic_stream *stream = NULL;
            RIG_UNTIL(r, c[i].connected || c[i].closed);
            assert_true(c[i].connected);
            assert_int_equal(flx_quic_stream_open(c[i].conn, i % 2 == 0, NULL, &stream, NULL),
                             FLX_OK);
            assert_int_equal(rig_write(stream, "hello", 5), FLX_OK);
        }
        RIG_UNTIL(r, r->server_bytes >= UINT64_C(5) * together);
        r->server_bytes = 0;
        for (unsigned i = 0; i < together; i++)
            flx_quic_conn_close(c[i].conn, 0, "");
        for (unsigned i = 0; i < together; i++)
            RIG_UNTIL(r, c[i].closed);
    }
    /* Stubs of the dead linger for three probe timeouts. */
    RIG_UNTIL(r, r->server->linger_count == 0 && r->client->linger_count == 0 &&
                     TAILQ_EMPTY(&r->server->conns));
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, NULL, NULL);
    come_and_go(&r, 10, 10); /* tables and pools find their size */
    const size_t before = heap_bytes();
    come_and_go(&r, 100, 10);
    const size_t after = heap_bytes();
    assert_int_equal(r.accepted, 1100);
    assert_int_equal(r.ended, 1100);
    assert_int_equal(r.server->cids.count, 0);
    assert_int_equal(r.client->tokens.count, 0);
    assert_true(after < before + (size_t)32 * 1024);
    rig_stop(&r);
}

/* What both sides of idle connections hold (README rules 17, 21, 23). */
static void test_what_one_holds(void **state)
{
    (void)state;
    enum { CONNECTIONS = 100 };
    static rig_conn c[CONNECTIONS];
    rig r;
    rig_start(&r, NULL, NULL);
    come_and_go(&r, 10, 10);
    const size_t before = heap_bytes();
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        flx_quic_stream *stream = NULL;
        rig_dial(&r, &c[i], "localhost", NULL);
        RIG_UNTIL(&r, c[i].connected || c[i].closed);
        assert_true(c[i].connected);
        assert_int_equal(flx_quic_stream_open(c[i].conn, true, NULL, &stream, NULL), FLX_OK);
        assert_int_equal(rig_write(stream, "hello", 5), FLX_OK);
    }
    RIG_UNTIL(&r, r.server_bytes >= (uint64_t)CONNECTIONS * 5);
    rig_idle(&r, 5);
    size_t each = (heap_bytes() - before) / CONNECTIONS / 2;
    print_message("  %zu bytes a side and connection\n", each);
#ifdef __SANITIZE_THREAD__
    each -= each / 8; /* its allocator has coarse size classes */
#endif
    assert_true(each < (size_t)(flx_aead_available() ? 28 : 40) * 1024);
    rig_stop(&r);
}

/* --- ngtcp2's memory ------------------------------------------------------------------------------ */

static void test_pools(void **state)
{
    (void)state;
    /* Whole nodes of sixteen bytes or nothing: README rule 21. */
    const struct {
        size_t asked;
        size_t given;
    } rows[] = {{12160, 1520}, {8192, 1024}, {7168, 896}, {1024, 128}, {128, 16},
                {16, 16},      {136, 136},   {100, 100},  {0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(flx_pool_block_bytes(rows[i].asked), rows[i].given);
}

/* What packets of one connection needed serves the next one, and is given back whole: rule 26. */
static void test_nodes_are_shared(void **state)
{
    (void)state;
    static rig_conn c[2];
    static uint8_t bytes[200 * 1000];
    rig r;
    rig_start(&r, NULL, NULL);
    node_pool *pool = &r.client->nodes.pools[FLX_NODES_PACKET];
    uint32_t most[2];
    for (unsigned i = 0; i < 2; i++) {
        flx_quic_stream *stream = NULL;
        rig_dial(&r, &c[i], "localhost", NULL);
        RIG_UNTIL(&r, c[i].connected || c[i].closed);
        assert_int_equal(flx_quic_stream_open(c[i].conn, false, NULL, &stream, NULL), FLX_OK);
        r.server_bytes = 0;
        assert_int_equal(rig_write(stream, bytes, sizeof bytes), FLX_OK);
        RIG_UNTIL(&r, r.server_bytes >= sizeof bytes && c[i].conn->unacked == 0);
        most[i] = pool->free_count + pool->used_count;
        assert_true(pool->is_shared);
        assert_in_range(pool->used_count, 0, 40); /* a few control frames of idle connections */
    }
    assert_int_equal(most[1], most[0]);
    for (unsigned i = 0; i < 2; i++) {
        flx_quic_conn_close(c[i].conn, 0, "");
        RIG_UNTIL(&r, c[i].closed);
    }
    RIG_UNTIL(&r, r.client->linger_count == 0);
    assert_int_equal(pool->used_count, 0);
    assert_int_equal(r.client->nodes.pools[FLX_NODES_STREAM].used_count, 0);
    rig_stop(&r);
}

/* One-way messages, a tick each: several share an acknowledgement, and the last is not forgotten. */
static void test_acknowledgements_wait(void **state)
{
    (void)state;
    enum { MESSAGES = 90 };
    rig_conn c;
    rig r;
    flx_quic_stream *stream = NULL;
    flx_quic_stats before;
    flx_quic_stats after;
    rig_start(&r, NULL, NULL);
    rig_dial(&r, &c, "localhost", NULL);
    RIG_UNTIL(&r, c.connected || c.closed);
    assert_int_equal(flx_quic_stream_open(c.conn, false, NULL, &stream, NULL), FLX_OK);
    assert_int_equal(rig_write(stream, "hello", 5), FLX_OK);
    RIG_UNTIL(&r, r.server_bytes == 5 && c.conn->unacked == 0);
    rig_idle(&r, 50); /* whatever the handshake still had to say */
    flx_quic_endpoint_stats(r.server, &before);
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        assert_int_equal(rig_write(stream, "hello", 5), FLX_OK);
        RIG_UNTIL(&r, r.server_bytes == 5 + 5 * i);
    }
    RIG_UNTIL(&r, c.conn->unacked == 0);
    flx_quic_endpoint_stats(r.server, &after);
    /* Each one for itself would be 90; on a machine that stalls, the time limit makes a few more. */
    assert_in_range(after.packets_out - before.packets_out, MESSAGES / 10, MESSAGES / 2);
    rig_stop(&r);
}

/* The block that must not fail does not, and says so once; the reserve has an end, and comes back. */
static void test_reserve(void **state)
{
    (void)state;
    enum { SENT_POOL_BLOCK = 920 };
    void *blocks[64];
    unsigned count = 0;
    assert_false(flx_mem_starved());
    for (; count < 64; count++) {
        flx_alloc_fail_nth(1);
        blocks[count] = flx_ngtcp2_mem.malloc(SENT_POOL_BLOCK, NULL);
        assert_true(flx_alloc_failed());
        assert_true(flx_mem_starved());
        assert_false(flx_mem_starved());
        if (blocks[count] == NULL)
            break;
        memset(blocks[count], 1, SENT_POOL_BLOCK);
    }
    assert_in_range(count, 1, 63);
    for (unsigned i = 0; i < count; i++)
        flx_ngtcp2_mem.free(blocks[i], NULL);
    flx_alloc_fail_nth(1);
    blocks[0] = flx_ngtcp2_mem.malloc(SENT_POOL_BLOCK, NULL);
    assert_non_null(blocks[0]);
    assert_true(flx_mem_starved());
    flx_ngtcp2_mem.free(blocks[0], NULL);
    flx_alloc_fail_nth(1);
    assert_null(flx_ngtcp2_mem.malloc(SENT_POOL_BLOCK + 1, NULL));
    assert_false(flx_mem_starved());
    flx_alloc_fail_nth(0);
}

/* --- workers on threads --------------------------------------------------------------------------- */

#define WORKERS  3
#define CONNS    24
#define MESSAGES 40

typedef struct worker {
    struct workers *all;
    pthread_t thread;
    flx_loop *loop;
    flx_mailbox *mailbox;
    flx_tick_hook hook;
    flx_quic_endpoint *endpoint;
} worker;

typedef struct mail {
    flx_chunk *strays; /* NULL: stop */
} mail;

typedef struct workers {
    rig r; /* the client's side, on the test's thread */
    flx_quic_group *group;
    worker worker[WORKERS];
    uint64_t echoed;
    bool wrong;
} workers;

static bool post(void *arg, uint32_t index, flx_chunk *packets)
{
    const worker *from = arg;
    const mail letter = {packets};
    return flx_mailbox_push(from->all->worker[index].mailbox, &letter, sizeof letter);
}

static void deliver(void *arg, const void *message)
{
    const worker *w = arg;
    mail letter;
    memcpy(&letter, message, sizeof letter);
    if (letter.strays == NULL)
        flx_loop_stop(w->loop);
    else
        flx_quic_endpoint_receive_stray(w->endpoint, letter.strays);
}

static void on_mail(void *arg, uint64_t now_ns)
{
    worker *w = arg;
    (void)now_ns;
    (void)flx_mailbox_drain(w->mailbox, 64, deliver, w);
}

static void on_echo(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    (void)arg;
    if (data.len > 0)
        (void)rig_write(stream, data.ptr, data.len);
    if (fin)
        flx_quic_stream_finish(stream);
    flx_quic_stream_consume(stream, data.len);
}

static void *run(void *arg)
{
    const worker *w = arg;
    return (void *)(uintptr_t)(flx_loop_run(w->loop, NULL) == FLX_OK);
}

static void workers_start(workers *w)
{
    static const flx_quic_events events = {.stream_data = on_echo};
    memset(w, 0, sizeof *w);
    rig_start(&w->r, NULL, NULL);
    rig_unlisten(&w->r);
    rig_loopback(&w->r.address, &w->r.address_len);
    assert_int_equal(flx_quic_group_new(WORKERS, w->r.secret, NULL, &w->group, NULL), FLX_OK);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker *one = &w->worker[i];
        one->all = w;
        assert_int_equal(flx_loop_new(NULL, &one->loop, NULL), FLX_OK);
        assert_int_equal(flx_mailbox_new(64, one->loop, &one->mailbox, NULL), FLX_OK);
        one->hook = (flx_tick_hook){.tick = on_mail, .arg = one};
        flx_loop_hook_add(one->loop, &one->hook);
        assert_int_equal(flx_quic_listen(one->loop, w->group, i, (struct sockaddr *)&w->r.address,
                                         w->r.address_len, w->r.server_credentials, &events, one,
                                         &one->endpoint, NULL),
                         FLX_OK);
        flx_quic_endpoint_set_post(one->endpoint, post, one);
        flx_quic_endpoint_address(w->worker[0].endpoint, &w->r.address, &w->r.address_len);
    }
}

static void workers_stop(workers *w)
{
    const mail stop = {NULL};
    for (unsigned i = 0; i < WORKERS; i++)
        assert_true(flx_mailbox_push(w->worker[i].mailbox, &stop, sizeof stop));
    for (unsigned i = 0; i < WORKERS; i++) {
        void *good = NULL;
        assert_int_equal(pthread_join(w->worker[i].thread, &good), 0);
        assert_non_null(good);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        worker *one = &w->worker[i];
        on_mail(one, 0); /* strays of the last tick */
        one->endpoint = flx_quic_endpoint_free(one->endpoint);
        flx_loop_hook_remove(one->loop, &one->hook);
        one->mailbox = flx_mailbox_free(one->mailbox);
        one->loop = flx_loop_free(one->loop);
    }
    w->group = flx_quic_group_free(w->group);
    w->r.client = flx_quic_endpoint_free(w->r.client);
    w->r.server_credentials = flx_credentials_free(w->r.server_credentials);
    w->r.client_credentials = flx_credentials_free(w->r.client_credentials);
    w->r.loop = flx_loop_free(w->r.loop);
    pki_stop(&w->r.pki);
}

static void on_answer(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    (void)fin;
    workers *w = (workers *)arg; /* the rig is its first member */
    for (size_t i = 0; i < data.len; i++)
        w->wrong = w->wrong || data.ptr[i] != (uint8_t)flx_quic_stream_id(stream);
    w->echoed += data.len;
    flx_quic_stream_consume(stream, data.len);
}

/* Half of the packets come to the wrong worker (the kernel's rule is taken away), while certificates
 * are loaded again and statistics are read: what other threads may do. */
static void test_threads(void **state)
{
    (void)state;
    for (int stray = 0; stray < 2; stray++) {
        static workers w;
        static rig_conn c[CONNS];
        uint8_t bytes[900];
        workers_start(&w);
        if (stray == 1)
            assert_int_equal(flx_steer_attach(w.worker[0].endpoint->sockets[0].fd, 1, NULL),
                             FLX_OK);
        w.r.client->events.stream_data = on_answer;
        for (unsigned i = 0; i < WORKERS; i++)
            assert_int_equal(pthread_create(&w.worker[i].thread, NULL, run, &w.worker[i]), 0);
        for (unsigned i = 0; i < CONNS; i++)
            rig_dial(&w.r, &c[i], "localhost", NULL);
        for (unsigned i = 0; i < CONNS; i++) {
            RIG_UNTIL(&w.r, c[i].connected || c[i].closed);
            assert_true(c[i].connected);
        }
        for (unsigned n = 0; n < MESSAGES; n++) {
            for (unsigned i = 0; i < CONNS; i++) {
                flx_quic_stream *stream = NULL;
                assert_int_equal(flx_quic_stream_open(c[i].conn, true, NULL, &stream, NULL),
                                 FLX_OK);
                memset(bytes, (int)(flx_quic_stream_id(stream) & 0xff), sizeof bytes);
                assert_int_equal(rig_write(stream, bytes, sizeof bytes), FLX_OK);
                flx_quic_stream_finish(stream);
            }
            rig_step(&w.r);
            bool changed = true;
            assert_int_equal(flx_credentials_reload(w.r.server_credentials, &changed, NULL),
                             FLX_OK);
            assert_false(changed);
        }
        RIG_UNTIL(&w.r, w.echoed == (uint64_t)CONNS * MESSAGES * sizeof bytes);
        assert_false(w.wrong);
        uint64_t strays = 0;
        for (unsigned i = 0; i < WORKERS; i++) {
            flx_quic_stats stats;
            flx_quic_endpoint_stats(w.worker[i].endpoint, &stats);
            strays += stats.strays;
        }
        assert_int_equal(strays > 0, stray == 1);
        workers_stop(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_what_one_holds),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_nodes_are_shared),
        cmocka_unit_test(test_acknowledgements_wait),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
