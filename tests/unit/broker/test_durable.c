/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable streams: what an ack waits for, what a restart finds, how history and live join, and what
 * becomes of all that when the disk is late, full, broken or lost its power. README.md, rules 18 to 24.
 * The disk is simulated, and jobs complete when and in which order a test says.
 */
#include "broker_expect.h"
#include "broker_rig.h"
#include "common/alloc.h"
#include "wire/ack.h"
#include "wire/code.h"
#include "wire/event.h"

#include <stdio.h>

#define OFFSETS 0x27
#define LAGGED  FLX_FEATURE_SUBSCRIPTION_LAGGED

static hx_stream *publisher(hx *h, uint32_t worker)
{
    hx_stream *s = hx_open(hx_connect(h, worker), true);
    hx_auth_as(s,
               OFFSETS | FLX_FLAG_BINARY_PUBLISH_ACK | FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET |
                   FLX_FLAG_BINARY_PUBLISH_ACK_CODE | FLX_FLAG_BINARY_PUBLISH_ACK_DETAIL,
               FLX_FEATURE_ERROR_CODES | FLX_FEATURE_PUBLISH_PIPELINE);
    return s;
}

/* The next ack of a publisher: its offset, or -1 - code; -100: there is none yet. */
static int64_t next_ack(hx_stream *s, uint64_t request_id)
{
    const hx_got got = hx_read(s);
    if (!got.is_frame) {
        return -100;
    }
    flx_publish_ack ack;
    assert_int_equal(
        flx_publish_ack_decode(got.flags, (flx_slice){got.payload, got.len}, &ack, NULL), FLX_OK);
    assert_int_equal(ack.request_id, request_id);
    return ack.message.len == 0 && ack.code == 0 ? (int64_t)ack.offset : -1 - (int64_t)ack.code;
}

static void publish(hx_stream *s, const char *stream, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)i);
        hx_publish(s, stream, i + 1, NULL, text, 1);
        assert_true(hx_run(hx_of(s)));
    }
}

static void expect_acks(hx_stream *s, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        assert_int_equal(next_ack(s, i + 1), i);
    }
    assert_int_equal(next_ack(s, 0), -100);
}

static uint64_t stat(hx *h, uint32_t workers, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < workers; i++) {
        const char *stats = (const char *)flx_worker_stats_of(hx_worker(h, i));
        sum += flx_stat_get((const _Atomic uint64_t *)(const void *)(stats + offset));
    }
    return sum;
}
#define STAT(h, workers, field) stat(h, workers, offsetof(flx_worker_stats, field))

/* ---- rule 18: an ack means what the stream says ---- */

static void an_ack_waits_for_its_mark(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, true, (flx_worker_limits){0});
        run_io(r); /* logs are open */
        hx_stream *p = publisher(r->h, places[i].publisher);
        hx_stream *events =
            hx_subscribe(hx_connect(r->h, places[i].subscriber), "logged", "", OFFSETS, 0);
        publish(p, "logged", 0, 3);
        assert_int_equal(next_ack(p, 0), -100); /* nothing is on the disk */
        expect_nothing(events);
        assert_true(STAT(r->h, places[i].workers, publish_bytes) > 0); /* and it is charged */
        run_io(r);
        expect_acks(p, 0, 3);
        expect(events, 0, 3);
        assert_int_equal(STAT(r->h, places[i].workers, publish_bytes), 0);
        rig_free(r);
    }
}

static void accepted_does_not_wait(void **state)
{
    (void)state;
    rig *r = rig_new(2, true, (flx_worker_limits){0});
    run_io(r);
    hx_stream *p = publisher(r->h, 0);
    hx_stream *events = hx_subscribe(hx_connect(r->h, 1), "accepted", "", OFFSETS, 0);
    publish(p, "accepted", 0, 3);
    expect_acks(p, 0, 3);
    expect_nothing(events); /* readers wait: what they saw must not be taken back */
    run_io(r);
    expect(events, 0, 3);
    rig_free(r);
}

static void many_acks_share_a_sync(void **state)
{
    (void)state;
    rig *r = rig_new(1, true, (flx_worker_limits){0});
    run_io(r);
    hx_stream *p = publisher(r->h, 0);
    const uint64_t before = sim_disk_changes(r->sim);
    for (uint64_t i = 0; i < 200; i++) {
        hx_publish(p, "logged", i + 1, NULL, "x", 1);
    }
    run_io(r);
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(next_ack(p, i + 1), i);
    }
    /* One write and one sync, whatever came in the tick. */
    assert_int_equal(sim_disk_changes(r->sim) - before, 2);
    rig_free(r);
}

/* ---- rule 19: what was acknowledged is there after a restart ---- */

static void a_restart_keeps_all(void **state)
{
    (void)state;
    static const char *const streams[] = {"logged", "written", "accepted", "kept"};
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false, (flx_worker_limits){0});
        hx_stream *p = publisher(r->h, places[i].publisher);
        for (size_t s = 0; s < 4; s++) {
            publish(p, streams[s], 0, 20);
            expect_acks(p, 0, 20);
        }
        restart(r);
        hx_conn *conn = hx_connect(r->h, places[i].subscriber);
        p = publisher(r->h, places[i].publisher);
        for (size_t s = 0; s < 4; s++) {
            hx_stream *all = hx_subscribe(conn, streams[s], ",\"start\":\"earliest\"", OFFSETS, 0);
            hx_stream *some =
                hx_subscribe(conn, streams[s], ",\"start\":{\"offset\":15}", OFFSETS, 0);
            hx_stream *live = hx_subscribe(conn, streams[s], "", OFFSETS, 0);
            publish(p, streams[s], 20, 5);
            expect_acks(p, 20, 5);
            expect(all, 0, 25);
            expect(some, 15, 10);
            expect(live, 20, 5);
            expect_nothing(all);
        }
        rig_free(r);
    }
}

static void a_crash_loses_nothing_acknowledged(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        const uint32_t workers = (uint32_t)(seed % 3 + 1);
        rig *r = rig_new(workers, true, (flx_worker_limits){0});
        run_io(r);
        uint64_t acked = 0;
        uint64_t next = 0;
        for (int life = 0; life < 4; life++) {
            hx_stream *p = publisher(r->h, (uint32_t)seed % workers);
            const uint64_t begin = next;
            for (uint64_t n = 0; n < 3 + (seed * 7 + (uint64_t)life) % 5; n++) {
                publish(p, "logged", next++, 1);
                for (uint64_t jobs = (seed + n * 3) % 4; jobs > 0; jobs--) {
                    (void)hx_io(r->h, (uint32_t)(seed + n) % workers, (size_t)n % 2);
                }
                assert_true(hx_run(r->h));
            }
            for (uint64_t n = begin;; n++) {
                const int64_t ack = next_ack(p, n + 1);
                if (ack == -100) {
                    break;
                }
                assert_int_equal(ack, n);
                acked = n + 1;
            }
            crash(r, (sim_crash_mode)(seed % 3), seed + (uint64_t)life);
            run_io(r);
            hx_stream *all =
                hx_subscribe(hx_connect(r->h, 0), "logged", ",\"start\":\"earliest\"", OFFSETS, 0);
            run_io(r);
            if (all == NULL) {
                fail_msg("seed %llu: no subscription", (unsigned long long)seed);
            }
            uint64_t seen = 0;
            for (hx_event event = hx_next_event(all); event.is_event; event = hx_next_event(all)) {
                assert_int_equal(event.offset, seen);
                assert_int_equal(strtoull(event.text, NULL, 10), seen);
                seen++;
            }
            if (seen < acked || seen > next) {
                fail_msg("seed %llu: %llu acknowledged, %llu there", (unsigned long long)seed,
                         (unsigned long long)acked, (unsigned long long)seen);
            }
            next = seen; /* what was not acknowledged may be there or not */
            acked = seen;
        }
        rig_free(r);
    }
}

/* ---- rule 20: history and live join ---- */

static void a_slow_reader_loses_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false,
                         (flx_worker_limits){.shard_ring_frames = 4, .pull_bytes = 4096});
        hx_stream *p = publisher(r->h, places[i].publisher);
        hx_conn *conn = hx_connect(r->h, places[i].subscriber);
        hx_stream *slow = hx_subscribe(conn, "logged", ",\"queue_capacity\":2", OFFSETS, LAGGED);
        hx_stream *fast = hx_subscribe(conn, "logged", "", OFFSETS, LAGGED);
        hx_stall(slow, true);
        publish(p, "logged", 0, 300); /* the ring keeps four of them */
        hx_stream *late = hx_subscribe(conn, "logged", ",\"start\":\"earliest\"", OFFSETS, LAGGED);
        hx_stall(slow, false);
        assert_true(hx_run(r->h));
        publish(p, "logged", 300, 10);
        expect(fast, 0, 310);
        expect(slow, 0, 310);
        expect(late, 0, 310);
        assert_int_equal(STAT(r->h, places[i].workers, dropped[FLX_DROP_SLOW_LAG]), 0);
        rig_free(r);
    }
}

static void positions_that_are_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false,
                         (flx_worker_limits){.shard_ring_frames = 4, .log_segment_bytes = 4096});
        hx_stream *p = publisher(r->h, places[i].publisher);
        publish(p, "bounded", 0, 400);
        hx_advance_ms(r->h, 20000);
        assert_true(hx_run(r->h));
        hx_conn *conn = hx_connect(r->h, places[i].subscriber);
        static const struct {
            uint64_t offset;
            const char *answer;
        } rows[] = {{0, "\"reason\":\"too_old\",\"requested\":0,\"available\":"},
                    {401, "\"reason\":\"in_future\",\"requested\":401,\"available\":400}"}};
        uint64_t oldest = 0;
        for (size_t row = 0; row < 2; row++) {
            hx_stream *s = hx_open(conn, true);
            hx_auth(s);
            hx_json(s,
                    "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                    "\"stream\":\"bounded\",\"start\":{\"offset\":%u}}",
                    (unsigned)rows[row].offset);
            assert_true(hx_run(r->h));
            const char *answer = strstr(hx_read_json(s), rows[row].answer);
            assert_non_null(answer);
            if (row == 0) {
                oldest = strtoull(answer + strlen(rows[0].answer), NULL, 10);
            }
        }
        assert_true(oldest > 0 && oldest <= 360); /* rule 23: whole segments above the bound */
        hx_stream *all = hx_subscribe(conn, "bounded", ",\"start\":\"earliest\"", OFFSETS, 0);
        expect(all, oldest, 400 - oldest);
        hx_stream *tail = hx_subscribe(conn, "bounded", ",\"start\":{\"offset\":400}", OFFSETS, 0);
        publish(p, "bounded", 400, 1);
        expect(tail, 400, 1);
        rig_free(r);
    }
}

static void reading_a_part_and_finding_a_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false, (flx_worker_limits){.shard_ring_frames = 4});
        hx_stream *p = publisher(r->h, places[i].publisher);
        publish(p, "logged", 0, 20);
        hx_advance_ms(r->h, 1000);
        const uint64_t later_us = hx_wall_us(r->h);
        publish(p, "logged", 20, 20);
        hx_stream *s = hx_open(hx_connect(r->h, places[i].subscriber), true);
        hx_auth(s);
        hx_json(s, "{\"type\":\"stream_read\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                   "\"stream\":\"logged\",\"shard\":0,\"from\":5,\"max_records\":3,"
                   "\"request_id\":1}");
        assert_true(hx_run(r->h));
        const char *answer = hx_read_json(s);
        assert_non_null(strstr(answer, "\"offset\":5,"));
        assert_non_null(strstr(answer, "\"offset\":7,"));
        assert_null(strstr(answer, "\"offset\":8,"));
        assert_non_null(strstr(answer, "\"next_offset\":8"));
        hx_json(s,
                "{\"type\":\"offset_for_time\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                "\"stream\":\"logged\",\"shard\":0,\"at_micros\":%llu,\"request_id\":2}",
                (unsigned long long)later_us);
        hx_json(s,
                "{\"type\":\"offset_for_time\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                "\"stream\":\"logged\",\"shard\":0,\"at_micros\":%llu,\"request_id\":3}",
                (unsigned long long)later_us + 1);
        assert_true(hx_run(r->h));
        assert_non_null(strstr(hx_read_json(s), "\"offset\":20"));
        assert_null(strstr(hx_read_json(s), "\"offset\":")); /* nothing so new yet */
        rig_free(r);
    }
}

static void what_waits_for_a_log_to_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, true, (flx_worker_limits){0});
        assert_true(STAT(r->h, places[i].workers, logs_opening) > 0);
        hx_stream *p = publisher(r->h, places[i].publisher);
        publish(p, "logged", 0, 3);
        hx_stream *s = hx_open(hx_connect(r->h, places[i].subscriber), true);
        hx_auth(s);
        hx_json(s, "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                   "\"stream\":\"logged\",\"start\":\"earliest\"}");
        assert_true(hx_run(r->h));
        assert_string_equal(hx_read_json(s), "");
        assert_int_equal(next_ack(p, 0), -100);
        run_io(r);
        assert_int_equal(STAT(r->h, places[i].workers, logs_opening), 0);
        assert_non_null(strstr(hx_read_json(s), "\"subscribed\""));
        expect_acks(p, 0, 3);
        rig_free(r);
    }
}

static void under_block_the_slow_are_let_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false,
                         (flx_worker_limits){.shard_ring_frames = 8, .block_ms = 100});
        hx_stream *p = publisher(r->h, places[i].publisher);
        hx_stream *slow = hx_subscribe(hx_connect(r->h, places[i].subscriber), "kept",
                                       ",\"queue_capacity\":2", OFFSETS, LAGGED);
        hx_stall(slow, true);
        for (uint64_t n = 0; n < 40; n++) {
            publish(p, "kept", n, 1);
            hx_advance_ms(r->h, 150); /* more than a publisher waits */
            assert_true(hx_run(r->h));
        }
        expect_acks(p, 0, 40);
        hx_stall(slow, false);
        assert_true(hx_run(r->h));
        expect(slow, 0, 40);
        rig_free(r);
    }
}

/* ---- rule 21: producers are remembered ---- */

static const char *idempotent(hx_stream *s, uint64_t producer, uint64_t sequence, const char *text)
{
    hx_json(s,
            "{\"type\":\"publish_idempotent\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
            "\"stream\":\"logged\",\"payloads\":[\"%s\"],\"producer_id\":%llu,\"sequence\":%llu,"
            "\"request_id\":%llu}",
            text, (unsigned long long)producer, (unsigned long long)sequence,
            (unsigned long long)sequence + 1);
    assert_true(hx_run(hx_of(s)));
    return hx_read_json(s);
}

static void producers_survive_a_restart(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false, (flx_worker_limits){0});
        hx_stream *p = publisher(r->h, places[i].publisher);
        for (uint64_t n = 0; n < 100; n++) {
            assert_non_null(strstr(idempotent(p, 7, n, "QUJD"), "\"publish_ok\""));
        }
        restart(r);
        p = publisher(r->h, places[i].publisher);
        char expected[64];
        (void)snprintf(expected, sizeof expected, "\"offset\":%u", 99u);
        const char *again = idempotent(p, 7, 99, "QUJD");
        assert_non_null(strstr(again, "\"publish_ok\"")); /* answered again, not appended again */
        assert_non_null(strstr(again, expected));
        assert_non_null(strstr(idempotent(p, 7, 100, "QUJD"), "\"offset\":100"));
        assert_non_null(strstr(idempotent(p, 7, 102, "QUJD"), "sequence_gap"));
        assert_non_null(strstr(idempotent(p, 7, 3, "QUJD"), "sequence_expired"));
        assert_non_null(strstr(idempotent(p, 8, 5, "QUJD"), "unknown_producer"));
        rig_free(r);
    }
}

/* What lies further back than producer_memory_bytes is not read: who was silent that long is told, and may
 * begin again; nothing is appended twice. */
static void producers_too_far_back_are_unknown(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r =
            rig_new(places[i].workers, false, (flx_worker_limits){.producer_memory_bytes = 4096});
        hx_stream *p = publisher(r->h, places[i].publisher);
        assert_non_null(strstr(idempotent(p, 7, 0, "QUJD"), "\"offset\":0"));
        for (uint64_t n = 0; n < 200; n++) {
            assert_non_null(strstr(idempotent(p, 8, n, "QUJD"), "\"publish_ok\""));
        }
        assert_non_null(
            strstr(idempotent(p, 7, 1, "QUJD"), "\"offset\":201")); /* it is known yet */
        for (uint64_t n = 200; n < 400; n++) {
            assert_non_null(strstr(idempotent(p, 8, n, "QUJD"), "\"publish_ok\""));
        }
        restart(r);
        p = publisher(r->h, places[i].publisher);
        assert_non_null(strstr(idempotent(p, 7, 1, "QUJD"), "unknown_producer"));
        assert_non_null(strstr(idempotent(p, 7, 2, "QUJD"), "unknown_producer"));
        assert_non_null(strstr(idempotent(p, 8, 399, "QUJD"), "\"offset\":401")); /* known */
        assert_non_null(strstr(idempotent(p, 8, 400, "QUJD"), "\"offset\":402"));
        rig_free(r);
    }
}

/* ---- rule 22: when the disk does not play along ---- */

static void a_full_disk_refuses_until_there_is_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false, (flx_worker_limits){0});
        hx_stream *p = publisher(r->h, places[i].publisher);
        hx_stream *q = publisher(r->h, places[i].publisher);
        publish(p, "logged", 0, 5);
        expect_acks(p, 0, 5);
        (void)hx_log_news(r->h);
        sim_disk_set_room(r->sim, sim_disk_bytes(r->sim) + 10);
        publish(p, "logged", 5, 1);
        assert_int_equal(next_ack(p, 6), -100); /* taken; there may be room in a moment */
        assert_string_equal(hx_log_news(r->h), "full t1/default/logged/0\n");
        publish(q, "logged", 6, 1);
        assert_int_equal(next_ack(q, 7), -1 - FLX_CODE_OVERLOADED);
        hx_stream *all = hx_subscribe(hx_connect(r->h, places[i].subscriber), "logged",
                                      ",\"start\":\"earliest\"", OFFSETS, 0);
        expect(all, 0, 5); /* reading goes on */
        hx_advance_ms(r->h, 1100);
        assert_true(hx_run(r->h));
        hx_advance_ms(r->h, 1100);
        assert_true(hx_run(r->h));
        assert_int_equal(next_ack(p, 6), -1 - FLX_CODE_UNACKNOWLEDGED);
        sim_disk_set_room(r->sim, UINT64_MAX);
        hx_advance_ms(r->h, 1100);
        assert_true(hx_run(r->h));
        assert_string_equal(hx_log_news(r->h), "room t1/default/logged/0\n");
        publish(p, "logged", 6, 3);
        expect_acks(p, 6, 3);
        expect(all, 5, 4);
        assert_int_equal(STAT(r->h, places[i].workers, publish_bytes), 0);
        rig_free(r);
    }
}

static void a_failed_sync_stops_the_shard(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false, (flx_worker_limits){0});
        hx_stream *p = publisher(r->h, places[i].publisher);
        publish(p, "logged", 0, 5);
        expect_acks(p, 0, 5);
        (void)hx_log_news(r->h);
        sim_disk_fail_sync(r->sim, 1);
        publish(p, "logged", 5, 2);
        assert_int_equal(next_ack(p, 6), -1 - FLX_CODE_STORAGE);
        assert_int_equal(next_ack(p, 7), -1 - FLX_CODE_STORAGE);
        assert_string_equal(hx_log_news(r->h), "failed t1/default/logged/0\n");
        assert_int_equal(STAT(r->h, places[i].workers, logs_broken), 1);
        publish(p, "written", 7, 1); /* the others serve on */
        assert_int_equal(next_ack(p, 8), 0);
        hx_stream *all = hx_subscribe(hx_connect(r->h, places[i].subscriber), "logged",
                                      ",\"start\":\"earliest\"", OFFSETS, 0);
        expect(all, 0, 5);
        expect_nothing(all);
        restart(r); /* reads back what the disk has */
        p = publisher(r->h, places[i].publisher);
        publish(p, "logged", 5, 1);
        assert_true(next_ack(p, 6) >= 5);
        rig_free(r);
    }
}

static char segment_path[256];
static void find_segment(void *arg, const char *path, size_t len)
{
    (void)len;
    if (strstr(path, arg) != NULL && strstr(path, ".seg") != NULL) {
        (void)snprintf(segment_path, sizeof segment_path, "%s", path);
    }
}

static void a_damaged_log_refuses_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, false, (flx_worker_limits){0});
        hx_stream *p = publisher(r->h, places[i].publisher);
        publish(p, "logged", 0, 20);
        hx_advance_ms(r->h, 2000);
        assert_true(hx_run(r->h)); /* a checkpoint */
        hx_free(r->h);
        sim_disk_each(r->sim, find_segment, "logged-10-0");
        sim_disk_flip(r->sim, segment_path, 8 * 300);
        start(r);
        assert_non_null(strstr(hx_log_news(r->h), "damaged t1/default/logged/0\n"));
        p = publisher(r->h, places[i].publisher);
        publish(p, "logged", 20, 1);
        assert_int_equal(next_ack(p, 21), -1 - FLX_CODE_STORAGE);
        hx_stream *s = hx_open(hx_connect(r->h, places[i].subscriber), true);
        hx_auth_as(s, OFFSETS, FLX_FEATURE_ERROR_CODES);
        hx_json(s, "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                   "\"stream\":\"logged\"}");
        assert_true(hx_run(r->h));
        assert_non_null(strstr(hx_read_json(s), "\"code\":\"storage\""));
        publish(p, "written", 0, 1);
        assert_int_equal(next_ack(p, 1), 0);
        rig_free(r);
    }
}

/* ---- rule 24: a log is made with its stream and goes with it ---- */

static void count_segments(void *arg, const char *path, size_t len)
{
    (void)len;
    *(int *)arg += strstr(path, "logged-10-0") != NULL;
}

static void count_new_logs(void *arg, const char *path, size_t len)
{
    (void)len;
    *(int *)arg +=
        strstr(path, "logged-") != NULL && strstr(path, "-10-0") == NULL && strstr(path, ".seg");
}

static void a_deleted_stream_begins_anew(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        rig *r = rig_new(places[i].workers, true, (flx_worker_limits){0});
        run_io(r);
        hx_stream *p = publisher(r->h, places[i].publisher);
        hx_stream *events =
            hx_subscribe(hx_connect(r->h, places[i].subscriber), "logged", "", OFFSETS, 0);
        publish(p, "logged", 0, 5);
        run_io(r);
        expect_acks(p, 0, 5);
        expect(events, 0, 5);
        publish(p, "logged", 5, 1); /* on its way to the disk */
        hx_renew_durable(r->h);
        run_io(r);
        assert_int_equal(next_ack(p, 6), -1 - FLX_CODE_NOT_FOUND);
        assert_true(hx_is_finished(events));
        int left = 0;
        sim_disk_each(r->sim, count_segments, &left);
        assert_int_equal(left, 0);
        int made = 0;
        sim_disk_each(r->sim, count_new_logs, &made);
        assert_int_equal(made, 1); /* of the new one, and nobody has published to it yet */
        publish(p, "logged", 0, 2);
        run_io(r);
        expect_acks(p, 0, 2);
        rig_free(r);
    }
}

/* ---- what a PATCH changes, on a live log ---- */

/* The policies a catalog allows, two by two, with publishes at every stage: in memory, on their way to the
 * disk, and written. An ack means what the stream says when it is given. */
static void a_policy_changes_under_waiting_acks(void **state)
{
    (void)state;
    static const hx_policy synced = {"written", FLX_ACK_SYNCED, FLX_FSYNC_ON_COMMIT, 0, 0};
    static const hx_policy weaker[] = {
        {"written", FLX_ACK_WRITTEN, FLX_FSYNC_NONE, 0, 0},
        {"written", FLX_ACK_WRITTEN, FLX_FSYNC_PERIODIC, 60000, 0},
        {"written", FLX_ACK_WRITTEN, FLX_FSYNC_ON_COMMIT, 0, 0},
        {"written", FLX_ACK_ACCEPTED, FLX_FSYNC_PERIODIC, 60000, 0},
    };
    for (size_t i = 0; i < PLACES; i++) {
        for (size_t w = 0; w < COUNT(weaker); w++) {
            const uint32_t workers = places[i].workers;
            const bool is_accepted = weaker[w].ack == FLX_ACK_ACCEPTED;
            rig *r = rig_new(workers, true, (flx_worker_limits){0});
            run_io(r);
            hx_set_policy(r->h, &weaker[w]);
            assert_true(hx_run(r->h));
            hx_stream *p = publisher(r->h, places[i].publisher);
            hx_stream *events =
                hx_subscribe(hx_connect(r->h, places[i].subscriber), "written", "", OFFSETS, 0);
            /* Written, and never synced by itself. */
            publish(p, "written", 0, 1);
            run_io(r);
            expect_acks(p, 0, 1);
            expect(events, 0, 1);
            /* One on its way, and one behind it or not: the stronger rule holds for both. */
            const uint64_t count = 1 + w % 2;
            publish(p, "written", 1, count);
            hx_set_policy(r->h, &synced);
            assert_true(hx_run(r->h));
            if (is_accepted) {
                expect_acks(p, 1, count); /* were given when they came */
                publish(p, "written", 1 + count, 1);
            } /* else no later write brings their sync */
            assert_int_equal(next_ack(p, 0), -100);
            run_io(r);
            hx_advance_ms(r->h, 2); /* a sync of its own is due at once */
            run_io(r);
            expect_acks(p, is_accepted ? 1 + count : 1, is_accepted ? 1 : count);
            const uint64_t next = 1 + count + is_accepted;
            expect(events, 1, next - 1);
            /* Back: what waits for its sync is answered as soon as the weaker rule holds. */
            publish(p, "written", next, 2);
            assert_int_equal(next_ack(p, 0), -100);
            hx_set_policy(r->h, &weaker[w]);
            assert_true(hx_run(r->h));
            if (!is_accepted) {
                assert_int_equal(next_ack(p, 0), -100);
                run_io(r);
            }
            expect_acks(p, next, 2);
            /* Nobody is left waiting, and what was told to be synced survives the power cut. */
            hx_set_policy(r->h, &synced);
            publish(p, "written", next + 2, 1);
            run_io(r);
            expect_acks(p, next + 2, 1);
            assert_int_equal(STAT(r->h, workers, publish_bytes), 0);
            crash(r, SIM_LOSE, 1);
            run_io(r);
            hx_stream *all = hx_subscribe(hx_connect(r->h, places[i].subscriber), "written",
                                          ",\"start\":\"earliest\"", OFFSETS, 0);
            run_io(r);
            expect(all, 0, next + 3);
            rig_free(r);
        }
    }
}

/* While an I/O thread opens the log with what was promised before. */
static void a_policy_changes_while_the_log_is_opened(void **state)
{
    (void)state;
    static const hx_policy synced = {"written", FLX_ACK_SYNCED, FLX_FSYNC_ON_COMMIT, 0, 0};
    for (size_t i = 0; i < PLACES; i++) {
        const uint32_t workers = places[i].workers;
        rig *r = rig_new(workers, true, (flx_worker_limits){0});
        hx_set_policy(r->h, &synced);
        assert_true(hx_run(r->h));
        hx_stream *p = publisher(r->h, places[i].publisher);
        publish(p, "written", 0, 3);
        assert_int_equal(next_ack(p, 0), -100);
        run_io(r);
        expect_acks(p, 0, 3);
        crash(r, SIM_LOSE, 1);
        run_io(r);
        hx_stream *all = hx_subscribe(hx_connect(r->h, places[i].subscriber), "written",
                                      ",\"start\":\"earliest\"", OFFSETS, 0);
        run_io(r);
        expect(all, 0, 3);
        rig_free(r);
    }
}

static void a_bound_may_be_set_and_lifted(void **state)
{
    (void)state;
    static const hx_policy bounded = {"logged", FLX_ACK_SYNCED, FLX_FSYNC_ON_COMMIT, 0, 100};
    static const hx_policy lifted = {"logged", FLX_ACK_SYNCED, FLX_FSYNC_ON_COMMIT, 0, 0};
    for (size_t i = 0; i < PLACES; i++) {
        const uint32_t workers = places[i].workers;
        rig *r = rig_new(workers, false, (flx_worker_limits){.log_segment_bytes = 2048});
        hx_stream *p = publisher(r->h, places[i].publisher);
        hx_conn *conn = hx_connect(r->h, places[i].subscriber);
        const uint64_t others = STAT(r->h, workers, log_records);
        publish(p, "logged", 0, 300);
        expect_acks(p, 0, 300);
        assert_int_equal(STAT(r->h, workers, log_records) - others, 300);
        hx_set_policy(r->h, &bounded); /* nothing is published that would bring it */
        assert_true(hx_run(r->h));
        hx_advance_ms(r->h, 1100);
        assert_true(hx_run(r->h));
        const uint64_t kept = STAT(r->h, workers, log_records) - others;
        assert_in_range(kept, 100, 200); /* whole segments */
        hx_stream *all = hx_subscribe(conn, "logged", ",\"start\":\"earliest\"", OFFSETS, 0);
        expect(all, 300 - kept, kept);
        hx_set_policy(r->h, &lifted);
        publish(p, "logged", 300, 300);
        expect_acks(p, 300, 300);
        hx_advance_ms(r->h, 1100);
        assert_true(hx_run(r->h));
        assert_int_equal(STAT(r->h, workers, log_records) - others, kept + 300);
        rig_free(r);
    }
}

/* Whatever allocation fails while a durable stream is written and read: nothing is lost that was
 * acknowledged, and nothing stays charged (rule 14). */
static void lost_memory_loses_no_record(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 400; nth += nth < 60 ? 1 : 7) {
        rig *r = rig_new(2, false, (flx_worker_limits){.shard_ring_frames = 4});
        hx_stream *p = publisher(r->h, 0);
        publish(p, "logged", 0, 20);
        expect_acks(p, 0, 20);
        hx_conn *conn = hx_connect(r->h, (uint32_t)nth % 2);
        hx_stream *q = publisher(r->h, (uint32_t)nth % 2);
        hx_stream *s = hx_open(conn, true);
        hx_auth(s);
        flx_alloc_fail_nth(nth);
        hx_json(s, "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                   "\"stream\":\"logged\",\"start\":\"earliest\"}");
        for (uint64_t i = 0; i < 5; i++) {
            hx_publish(q, "logged", i + 1, NULL, "y", 1);
            (void)hx_run(r->h);
        }
        const bool did_fail = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        assert_true(hx_run(r->h));
        hx_advance_ms(r->h, 1500);
        assert_true(hx_run(r->h));
        assert_int_equal(STAT(r->h, 2, publish_bytes), 0);
        restart(r);
        hx_stream *all =
            hx_subscribe(hx_connect(r->h, 0), "logged", ",\"start\":\"earliest\"", OFFSETS, 0);
        expect(all, 0, 20);
        rig_free(r);
        if (!did_fail) {
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ack_waits_for_its_mark),
        cmocka_unit_test(accepted_does_not_wait),
        cmocka_unit_test(many_acks_share_a_sync),
        cmocka_unit_test(a_restart_keeps_all),
        cmocka_unit_test(a_crash_loses_nothing_acknowledged),
        cmocka_unit_test(a_slow_reader_loses_nothing),
        cmocka_unit_test(positions_that_are_none),
        cmocka_unit_test(reading_a_part_and_finding_a_time),
        cmocka_unit_test(what_waits_for_a_log_to_open),
        cmocka_unit_test(under_block_the_slow_are_let_go),
        cmocka_unit_test(producers_survive_a_restart),
        cmocka_unit_test(producers_too_far_back_are_unknown),
        cmocka_unit_test(a_full_disk_refuses_until_there_is_room),
        cmocka_unit_test(a_failed_sync_stops_the_shard),
        cmocka_unit_test(a_damaged_log_refuses_alone),
        cmocka_unit_test(a_deleted_stream_begins_anew),
        cmocka_unit_test(a_policy_changes_under_waiting_acks),
        cmocka_unit_test(a_policy_changes_while_the_log_is_opened),
        cmocka_unit_test(a_bound_may_be_set_and_lifted),
        cmocka_unit_test(lost_memory_loses_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
