/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions: where they begin, what they carry, how they end, and what becomes of slow ones.
 * Everything runs on the owner's worker and, as a second row, on another one.
 */
#include "broker_expect.h"
#include "broker_harness.h"
#include "unit.h"
#include "wire/event.h"

#include <stdio.h>

#define OFFSETS 0x27
#define LAGGED  FLX_FEATURE_SUBSCRIPTION_LAGGED

static hx *at(const place *where, flx_worker_limits limits)
{
    return hx_new(&(hx_options){.workers = where->workers, .limits = limits});
}

static hx_stream *publisher(hx *h, const place *where)
{
    hx_stream *s = hx_open(hx_connect(h, where->publisher), true);
    hx_auth(s);
    return s;
}

static void publish(hx_stream *s, const char *stream, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%u", i);
        hx_publish(s, stream, 0, NULL, text, 1);
        assert_true(hx_run(hx_of(s))); /* a frame each */
    }
}

static void test_starts(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){0});
        hx_stream *p = publisher(h, &places[i]);
        hx_conn *conn = hx_connect(h, places[i].subscriber);
        publish(p, "demo", 0, 3);
        hx_stream *latest = hx_subscribe(conn, "demo", "", OFFSETS, 0);
        publish(p, "demo", 3, 2);
        hx_stream *earliest = hx_subscribe(conn, "demo", ",\"start\":\"earliest\"", OFFSETS, 0);
        hx_stream *offset = hx_subscribe(conn, "demo", ",\"start\":{\"offset\":2}", OFFSETS, 0);
        hx_stream *tail = hx_subscribe(conn, "demo", ",\"start\":{\"offset\":5}", OFFSETS, 0);
        publish(p, "demo", 5, 2);
        expect(latest, 3, 4);
        expect(earliest, 0, 7);
        expect(offset, 2, 5);
        expect(tail, 5, 2);
        expect_nothing(earliest);
        hx_free(h);
    }
}

static void test_start_inside_a_frame(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){0});
        hx_stream *p = publisher(h, &places[i]);
        hx_publish(p, "demo", 0, NULL, "x", 5);
        assert_true(hx_run(h));
        hx_stream *events = hx_subscribe(hx_connect(h, places[i].subscriber), "demo",
                                         ",\"start\":{\"offset\":3}", OFFSETS, 0);
        const hx_event first = hx_next_event(events);
        assert_int_equal(first.offset, 3);
        assert_string_equal(first.text, "x+3");
        assert_string_equal(hx_next_event(events).text, "x+4");
        expect_nothing(events);
        hx_free(h);
    }
}

static void test_too_old(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){.shard_ring_frames = 4});
        publish(publisher(h, &places[i]), "demo", 0, 10);
        hx_stream *s = hx_open(hx_connect(h, places[i].subscriber), true);
        hx_auth(s);
        hx_json(s, "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                   "\"stream\":\"demo\",\"start\":{\"offset\":2}}");
        hx_fin(s);
        assert_true(hx_run(h));
        assert_string_equal(hx_read_json(s), "{\"type\":\"subscribe_cursor_error\",\"reason\":"
                                             "\"too_old\",\"requested\":2,\"available\":6}");
        assert_true(hx_is_finished(s));
        hx_free(h);
    }
}

static void test_small_publishes_of_a_tick_are_one_frame(void **state)
{
    (void)state;
    hx *h = at(&places[0], (flx_worker_limits){0});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *events = hx_subscribe(conn, "demo", "", OFFSETS, 0);
    hx_stream *a = publisher(h, &places[0]);
    hx_stream *b = publisher(h, &places[0]);
    for (int i = 0; i < 50; i++) {
        hx_publish(i % 2 == 0 ? a : b, "demo", 0, NULL, "x", 1);
    }
    assert_true(hx_run(h));
    const hx_got got = hx_read(events);
    flx_event_batch batch;
    assert_int_equal(
        flx_event_batch_decode(got.flags, (flx_slice){got.payload, got.len}, &batch, NULL), FLX_OK);
    assert_int_equal(batch.count, 50);
    hx_free(h);
}

static void test_variants(void **state)
{
    (void)state;
    static const struct {
        uint16_t offered, sent;
    } cases[] = {{0x7, 0x4},       {0x27, 0x24},     {0x2, 0x2}, {0x22, 0x22}, {0x4024, 0x4024},
                 {0x2024, 0x2024}, {0x6026, 0x6024}, {0x0, 0x0}, {0x19, 0x0}};
    hx *h = hx_new(&(hx_options){.workers = 2, .record_publishers = true});
    hx_conn *conn = hx_connect(h, 1);
    hx_stream *events[9];
    for (size_t i = 0; i < 9; i++) {
        events[i] = hx_subscribe(conn, "demo", ",\"subscription_id\":77", cases[i].offered, 0);
        assert_non_null(events[i]);
    }
    hx_stream *p = publisher(h, &places[1]);
    hx_publish(p, "demo", 0, NULL, "hello", 2);
    assert_true(hx_run(h));
    for (size_t i = 0; i < 9; i++) {
        const hx_got got = hx_read(events[i]);
        assert_true(got.is_frame);
        assert_int_equal(got.flags, cases[i].sent);
        if (got.flags == 0) {
            assert_string_equal((const char *)got.payload,
                                "{\"type\":\"event_batch\",\"tenant_id\":\"t1\",\"namespace\":"
                                "\"default\",\"stream\":\"demo\",\"payloads\":[\"aGVsbG8=\","
                                "\"aGVsbG8rMQ==\"]}");
            continue;
        }
        flx_event_batch batch;
        assert_int_equal(
            flx_event_batch_decode(got.flags, (flx_slice){got.payload, got.len}, &batch, NULL),
            FLX_OK);
        flx_event_iter iter;
        flx_event_record record;
        flx_event_iter_init(&iter, &batch);
        assert_true(flx_event_iter_next(&iter, &record));
        assert_memory_equal(record.payload.ptr, "hello", 5);
        assert_int_equal(record.timestamp_us,
                         (got.flags & 0x4000) != 0 ? UINT64_C(1700000000000000) : 0);
        assert_int_equal(batch.publisher.len, (got.flags & 0x2000) != 0 ? 8 : 0);
    }
    hx_free(h);
}

static void test_ids(void **state)
{
    (void)state;
    hx *h = at(&places[0], (flx_worker_limits){0});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *s = hx_open(conn, true);
    hx_auth(s);
    static const char *const asked[] = {",\"subscription_id\":3", ",\"subscription_id\":3", "",
                                        ",\"queue_capacity\":9"};
    static const char *const answers[] = {"\"subscription_id\":3}", "\"subscription_id\":4}",
                                          "\"subscription_id\":5}",
                                          "\"subscription_id\":6,\"queue_capacity\":9}"};
    for (size_t i = 0; i < 4; i++) {
        hx_json(s,
                "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                "\"stream\":\"demo\"%s}",
                asked[i]);
        assert_true(hx_run(h));
        assert_non_null(strstr(hx_read_json(s), answers[i]));
    }
    hx_free(h);
}

static void test_ways_to_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){0});
        hx_conn *conn = hx_connect(h, places[i].subscriber);
        const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(h, places[i].subscriber));
        hx_stream *first = hx_subscribe(conn, "demo", "", OFFSETS, 0);
        hx_stream *second = hx_subscribe(conn, "demo", "", OFFSETS, 0);
        hx_stream *p = publisher(h, &places[i]);
        hx_stop(first);
        publish(p, "demo", 0, 1);
        assert_int_equal(flx_stat_get(&stats->subscriptions), 1);
        expect(second, 0, 1);
        expect_nothing(first);
        hx_disconnect(conn);
        publish(p, "demo", 1, 1);
        assert_int_equal(flx_stat_get(&stats->subscriptions), 0);
        /* And again, after the window was dropped. */
        hx_stream *third = hx_subscribe(hx_connect(h, places[i].subscriber), "demo",
                                        ",\"start\":\"earliest\"", OFFSETS, 0);
        publish(p, "demo", 2, 1);
        expect(third, 0, 3);
        hx_free(h);
    }
}

static void test_waits_for_stream_credit(void **state)
{
    (void)state;
    hx *h = at(&places[2], (flx_worker_limits){0});
    hx_conn *conn = hx_connect(h, 1);
    hx_conn_credit(conn, 0);
    assert_null(hx_subscribe(conn, "demo", "", OFFSETS, 0));
    publish(publisher(h, &places[2]), "demo", 0, 2);
    hx_conn_credit(conn, 1);
    assert_true(hx_run(h));
    hx_stream *events = hx_accept(conn);
    assert_non_null(strstr(hx_read_json(events), "event_stream_hello"));
    expect(events, 0, 2);
    hx_conn_credit(conn, 0);
    assert_null(hx_subscribe(conn, "demo", "", OFFSETS, 0)); /* ends with its connection */
    hx_free(h);
}

static void test_subscription_limit(void **state)
{
    (void)state;
    hx *h = at(&places[0], (flx_worker_limits){.subscriptions_max = 2});
    hx_conn *conn = hx_connect(h, 0);
    assert_non_null(hx_subscribe(conn, "demo", "", OFFSETS, 0));
    assert_non_null(hx_subscribe(conn, "demo", "", OFFSETS, 0));
    assert_null(hx_subscribe(conn, "demo", "", OFFSETS, 0));
    hx_free(h);
}

/* ---- slow subscribers; the ring holds 8 frames ---- */

static void test_lag_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){.shard_ring_frames = 8});
        hx_stream *p = publisher(h, &places[i]);
        hx_conn *conn = hx_connect(h, places[i].subscriber);
        hx_stream *slow = hx_subscribe(conn, "demo", "", OFFSETS, LAGGED);
        hx_stream *quick = hx_subscribe(conn, "demo", "", OFFSETS, LAGGED);
        publish(p, "demo", 0, 3);
        hx_stall(slow, true);
        publish(p, "demo", 3, 20);
        hx_stall(slow, false);
        assert_true(hx_run(h));
        expect(slow, 0, 3);
        const hx_event told = hx_next_event(slow);
        assert_true(told.is_lagged);
        assert_int_equal(told.offset, 15);
        assert_true(hx_is_finished(slow));
        hx_stream *again =
            hx_subscribe(conn, "demo", ",\"start\":{\"offset\":15}", OFFSETS, LAGGED);
        expect(again, 15, 8);
        expect(quick, 0, 23);
        hx_free(h);
    }
}

static void test_who_cannot_hear_jumps(void **state)
{
    (void)state;
    static const char *const streams[] = {"demo", "oldest", "newest"};
    for (size_t i = 0; i < PLACES; i++) {
        for (size_t j = 0; j < 3; j++) {
            hx *h = at(&places[i], (flx_worker_limits){.shard_ring_frames = 8});
            hx_stream *p = publisher(h, &places[i]);
            hx_stream *slow = hx_subscribe(hx_connect(h, places[i].subscriber), streams[j], "",
                                           OFFSETS, j == 0 ? 0 : LAGGED);
            hx_stall(slow, true);
            publish(p, streams[j], 0, 20);
            hx_stall(slow, false);
            assert_true(hx_run(h));
            publish(p, streams[j], 20, 2);
            expect(slow, 12, 10);
            expect_nothing(slow);
            hx_free(h);
        }
    }
}

static void test_queue_capacity(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){0});
        hx_stream *p = publisher(h, &places[i]);
        hx_conn *conn = hx_connect(h, places[i].subscriber);
        static const char cap[] = ",\"queue_capacity\":4";
        hx_stream *newest = hx_subscribe(conn, "newest", cap, OFFSETS, LAGGED);
        hx_stream *oldest = hx_subscribe(conn, "oldest", cap, OFFSETS, LAGGED);
        hx_stream *told = hx_subscribe(conn, "demo", cap, OFFSETS, LAGGED);
        hx_stall(newest, true);
        hx_stall(oldest, true);
        hx_stall(told, true);
        publish(p, "newest", 0, 10);
        publish(p, "oldest", 0, 10);
        publish(p, "demo", 0, 10);
        hx_stall(newest, false);
        hx_stall(oldest, false);
        hx_stall(told, false);
        assert_true(hx_run(h));
        publish(p, "newest", 10, 1);
        publish(p, "oldest", 10, 1);
        expect(newest, 0, 4); /* the ones that came when the queue was full are gone */
        expect(newest, 10, 1);
        expect(oldest, 6, 5);
        expect(told, 0, 4);
        assert_int_equal(hx_next_event(told).offset, 4); /* it is all still there */
        const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(h, places[i].subscriber));
        assert_int_equal(flx_stat_get(&stats->dropped[FLX_DROP_SLOW_DROP_NEW]), 6);
        assert_int_equal(flx_stat_get(&stats->dropped[FLX_DROP_SLOW_DROP_OLD]), 6);
        hx_free(h);
    }
}

static void test_history_does_not_count_against_the_queue(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){0});
        publish(publisher(h, &places[i]), "demo", 0, 20);
        hx_stream *events =
            hx_subscribe(hx_connect(h, places[i].subscriber), "demo",
                         ",\"start\":\"earliest\",\"queue_capacity\":2", OFFSETS, LAGGED);
        expect(events, 0, 20);
        hx_free(h);
    }
}

static void test_block_holds_publishers(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){0});
        hx_conn *conn = hx_connect(h, places[i].subscriber);
        hx_stream *p = publisher(h, &places[i]);
        hx_stream *slow = hx_subscribe(conn, "wait", ",\"queue_capacity\":4", OFFSETS, LAGGED);
        hx_stall(slow, true);
        for (uint32_t id = 1; id <= 12; id++) {
            char text[16];
            (void)snprintf(text, sizeof text, "%u", id - 1);
            hx_publish(p, "wait", id, NULL, text, 1);
            (void)hx_run(h);
        }
        uint32_t acks = 0;
        while (hx_read(p).is_frame) {
            acks++;
        }
        assert_in_range(acks, 4, 6); /* what the queue holds, and what was on its way */
        hx_stall(slow, false);
        assert_true(hx_run(h));
        expect(slow, 0, 12); /* nothing was lost */
        while (hx_read(p).is_frame) {
            acks++;
        }
        assert_int_equal(acks, 12);
        hx_free(h);
    }
}

static void test_block_has_a_bound(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        hx *h = at(&places[i], (flx_worker_limits){0});
        hx_stream *p = publisher(h, &places[i]);
        hx_stream *slow = hx_subscribe(hx_connect(h, places[i].subscriber), "wait",
                                       ",\"queue_capacity\":4", OFFSETS, LAGGED);
        hx_stall(slow, true);
        for (uint32_t id = 1; id <= 12; id++) {
            hx_publish(p, "wait", id, NULL, "x", 1);
            (void)hx_run(h);
        }
        hx_advance_ms(h, 2000);
        (void)hx_run(h);
        uint32_t acks = 0;
        while (hx_read(p).is_frame) {
            acks++;
        }
        assert_int_equal(acks, 12);
        hx_stall(slow, false);
        assert_true(hx_run(h));
        hx_event event;
        while ((event = hx_next_event(slow)).is_event) {
        }
        assert_true(event.is_lagged);
        hx_free(h);
    }
}

static void test_many_subscribers_get_the_same(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 4});
    hx_stream *events[200];
    for (uint32_t i = 0; i < 200; i++) {
        events[i] = hx_subscribe(hx_connect(h, i % 4), "demo", "", OFFSETS, 0);
    }
    publish(publisher(h, &places[0]), "demo", 0, 5);
    for (uint32_t i = 0; i < 200; i++) {
        expect(events[i], 0, 5);
        expect_nothing(events[i]);
    }
    hx_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_start_inside_a_frame),
        cmocka_unit_test(test_too_old),
        cmocka_unit_test(test_small_publishes_of_a_tick_are_one_frame),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_ways_to_end),
        cmocka_unit_test(test_waits_for_stream_credit),
        cmocka_unit_test(test_subscription_limit),
        cmocka_unit_test(test_lag_is_told),
        cmocka_unit_test(test_who_cannot_hear_jumps),
        cmocka_unit_test(test_queue_capacity),
        cmocka_unit_test(test_history_does_not_count_against_the_queue),
        cmocka_unit_test(test_block_holds_publishers),
        cmocka_unit_test(test_block_has_a_bound),
        cmocka_unit_test(test_many_subscribers_get_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
