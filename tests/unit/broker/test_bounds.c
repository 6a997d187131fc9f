/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that ignore the rules of good behaviour: they pipeline where they should wait, never read,
 * say nothing, or say it in 1,024 streams. Memory and the work for them stay bounded, others are
 * served, and what is answered is answered in order (README.md, rules 6 to 10 and 13).
 */
#include "broker/cache_state_int.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "broker_harness.h"
#include "common/alloc.h"
#include "metadata/catalog_builder.h"
#include "router/router.h"
#include "unit.h"
#include "wire/ack.h"
#include "wire/flags.h"

#include <stdio.h>

#define OF_DEMO    "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"demo\""
#define OF_PRIMARY "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"primary\""
#define OFFSETS    0x27
#define TIMES      0x4027
#define ALL        0x3f7f
#define KIB        ((size_t)1024)

static uint32_t owner_of_demo(void)
{
    return flx_worker_owner(1, 0, 2);
}

static uint64_t dropped(hx *h, uint32_t worker, flx_drop reason)
{
    return flx_stat_get(&flx_worker_stats_of(hx_worker(h, worker))->dropped[reason]);
}

/* ---- what waits to be read ---- */

/* Each answer lets one more request in. That this ends is the point: were the backlog closed up after
 * each, it would move a hundred gigabytes. */
static void test_cache_requests_that_do_not_wait(void **state)
{
    (void)state;
    enum { REQUESTS = 50000 };
    hx *h = hx_new(&(hx_options){.workers = 2});
    hx_stream *s = hx_open(hx_connect(h, 1 - flx_worker_owner(1, 0, 2)), true);
    hx_auth(s);
    for (int i = 0; i < REQUESTS; i++) {
        hx_json(s, "{\"type\":\"cache_get\"," OF_PRIMARY ",\"key\":\"k\",\"request_id\":%d}", i);
    }
    for (int answered = 0; answered < REQUESTS;) {
        (void)hx_run(h);
        const char *answer = hx_read_json(s);
        assert_string_not_equal(answer, "");
        for (; answer[0] != '\0'; answer = hx_read_json(s), answered++) {
            char id[32];
            (void)snprintf(id, sizeof id, "\"request_id\":%d}", answered);
            assert_non_null(strstr(answer, id)); /* one at a time, in their order */
        }
    }
    assert_int_equal(hx_unconsumed(s), 0);
    hx_free(h);
}

static void test_backlogs_are_read_in_turns(void **state)
{
    (void)state;
    static uint8_t frame[2048];
    hx *h = hx_new(&(hx_options){.workers = 2});
    const uint32_t here = owner_of_demo();
    const uint32_t cache_owner = flx_worker_owner(1, 0, 2);
    assert_int_equal(here, cache_owner); /* so the job below goes away with "cached" */
    hx_stream *s = hx_open(hx_connect(h, here), true);
    hx_auth(s);
    const char *key = "k";
    const char *const keys[] = {"k", "l", "m", "n", "o"};
    for (size_t i = 0; i < 5; i++) {
        const uint32_t shard =
            flx_route_shard(FLX_ROUTING_MODULO, (flx_slice){(const uint8_t *)keys[i], 1}, 4);
        key = flx_worker_owner(2, shard, 2) != here ? keys[i] : key;
    }
    hx_json(s,
            "{\"type\":\"cache_get\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":"
            "\"cached\",\"key\":\"%s\"}",
            key);
    const size_t len = hx_publish_frame(frame, sizeof frame, "demo", 0, 1024, 1);
    for (size_t sent = 0; sent < 6 * KIB * KIB; sent += len) {
        hx_send(s, frame, len); /* waits behind the cache's answer */
    }
    const size_t before = hx_unconsumed(s);
    while (hx_unconsumed(s) == before) {
        hx_step(h);
    }
    assert_true(hx_unconsumed(s) > 3 * KIB * KIB); /* a tick takes a part */
    assert_int_equal(flx_worker_deadline_ns(hx_worker(h, here)), 0);
    assert_true(hx_run(h));
    assert_int_equal(hx_unconsumed(s), 0);
    hx_free(h);
}

static void test_strangers_may_leave_little(void **state)
{
    (void)state;
    static uint8_t bytes[1400];
    hx *h = hx_new(&(hx_options){0});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *streams[17];
    for (size_t i = 0; i < 17; i++) {
        streams[i] = hx_open(conn, true);
    }
    for (size_t sent = 0; sent < 4 * KIB * KIB && !hx_is_reset(streams[16]); sent += sizeof bytes) {
        hx_send(streams[16], bytes, sizeof bytes);
        assert_true(hx_unconsumed(streams[16]) <= 16 * (64 * KIB + 12));
    }
    assert_true(hx_is_reset(streams[16]));
    assert_int_equal(hx_unconsumed(streams[16]), 0);

    hx_conn *known = hx_connect(h, 0);
    hx_auth(hx_open(known, true));
    for (size_t i = 0; i < 17; i++) {
        streams[i] = hx_open(known, true);
    }
    for (size_t sent = 0; sent < 4 * KIB * KIB; sent += sizeof bytes) {
        hx_send(streams[16], bytes, sizeof bytes); /* the windows bound it, as everything */
    }
    assert_false(hx_is_reset(streams[16]));
    hx_free(h);
}

/* Nobody else notices them, and their time ends. */
static void test_1024_streams_that_say_nothing(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_conn *silent = hx_connect_from(h, 0, 1);
    for (int i = 0; i < 1024; i++) {
        (void)hx_open(silent, i % 2 == 0);
    }
    hx_stream *s = hx_open(hx_connect_from(h, 0, 2), true);
    hx_auth(s);
    hx_publish(s, "demo", 1, NULL, "served", 1);
    assert_true(hx_run(h));
    assert_true(hx_read(s).is_frame);
    assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 0))->lanes), 1025);
    hx_advance_ms(h, 30000);
    assert_true(hx_run(h));
    assert_int_equal(hx_conn_closed(silent), 1 + 1); /* authentication timeout */
    assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 0))->lanes), 1);
    hx_free(h);
}

/* ---- what is not read by them ---- */

static void test_a_publisher_that_never_reads_its_acks(void **state)
{
    (void)state;
    enum { PUBLISHES = 100000 };
    for (uint32_t workers = 1; workers <= 2; workers++) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        const uint32_t place = workers == 1 ? 0 : 1 - owner_of_demo();
        hx_stream *s = hx_open(hx_connect(h, place), true);
        hx_auth_as(s, ALL, 0);
        hx_stall(s, true);
        for (uint32_t id = 1; id <= PUBLISHES; id++) {
            hx_publish(s, "demo", id, NULL, "x", 1);
            if (id % 1000 == 0) {
                (void)hx_run(h);
            }
        }
        (void)hx_run(h);
        assert_in_range(hx_queued(s), 1, 2 * KIB * KIB); /* then it is not read on */
        assert_true(hx_unconsumed(s) > KIB * KIB);
        hx_stall(s, false);
        for (uint32_t id = 1; id <= PUBLISHES;) {
            (void)hx_run(h);
            hx_got got = hx_read(s);
            assert_true(got.is_frame);
            for (; got.is_frame; got = hx_read(s), id++) {
                flx_publish_ack ack;
                assert_int_equal(flx_publish_ack_decode(
                                     got.flags, (flx_slice){got.payload, got.len}, &ack, NULL),
                                 FLX_OK);
                assert_int_equal(ack.request_id, id);
                assert_int_equal(ack.offset, id - 1);
            }
        }
        hx_free(h);
    }
}

/* ---- between workers ---- */

static void test_frames_that_find_no_room_come_later(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2, .mailbox = 4, .limits = {.outbox_mails = 2}});
    const uint32_t owner = owner_of_demo();
    hx_conn *conn = hx_connect(h, 1 - owner);
    hx_stream *events = hx_subscribe(conn, "demo", "", OFFSETS, 0);
    hx_stream *p = hx_open(hx_connect(h, owner), true);
    hx_auth(p);
    assert_true(hx_run(h));
    for (uint32_t i = 0; i < 50; i++) {
        hx_publish(p, "demo", 0, NULL, "x", 1);
        flx_worker_tick(hx_worker(h, owner)); /* and nobody takes the mails */
    }
    assert_int_equal(flx_worker_deadline_ns(hx_worker(h, owner)), 0);
    assert_true(hx_run(h));
    uint64_t next = 0;
    for (hx_event event = hx_next_event(events); event.is_event; event = hx_next_event(events)) {
        assert_int_equal(event.offset, next++);
    }
    assert_in_range(next, 7, 50); /* what was read: the rest of the bytes wait in the backlog */
    assert_int_equal(next,
                     flx_stat_get(&flx_worker_stats_of(hx_worker(h, owner))->published_records));
    assert_int_equal(next, 50);
    hx_free(h);
}

static void test_windows_of_other_workers_shards_are_bounded(void **state)
{
    (void)state;
    static uint8_t frame[20000];
    static const char *const streams[] = {"demo", "newest", "oldest"};
    const uint64_t bound = 64 * KIB;
    hx *h = hx_new(&(hx_options){.workers = 2, .limits = {.ring_bytes = 2 * bound}});
    hx_stream *p = hx_open(hx_connect(h, 0), true);
    hx_auth(p);
    for (uint32_t w = 0; w < 2; w++) {
        hx_conn *conn = hx_connect(h, w);
        for (size_t i = 0; i < 3; i++) {
            hx_stall(hx_subscribe(conn, streams[i], "", OFFSETS, 0), true);
        }
    }
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 3; i++) {
            hx_send(p, frame, hx_publish_frame(frame, sizeof frame, streams[i], 0, 10000, 1));
            (void)hx_run(h);
        }
        for (uint32_t w = 0; w < 2; w++) {
            assert_true(hx_worker(h, w)->ring_bytes <= bound);
            assert_true(hx_worker(h, w)->mirror_bytes <= bound);
        }
    }
    assert_true(hx_worker(h, 0)->mirror_bytes + hx_worker(h, 1)->mirror_bytes > 0);
    hx_free(h);
}

static void test_without_memory_for_the_outbox(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2, .mailbox = 1});
    const uint32_t away = 1 - owner_of_demo();
    hx_stream *s = hx_open(hx_connect(h, away), true);
    hx_auth_as(s, ALL, FLX_FEATURE_ERROR_CODES);
    hx_stream *cache = hx_open(hx_connect(h, away), true);
    hx_auth_as(cache, ALL, FLX_FEATURE_ERROR_CODES);
    hx_publish(s, "demo", 1, NULL, "warm", 1);
    assert_true(hx_run(h));
    assert_true(hx_read(s).is_frame);

    hx_publish(s, "demo", 0, NULL, "first", 1); /* fills the mailbox */
    flx_alloc_fail_nth(1);
    hx_publish(s, "demo", 0, NULL, "lost", 1);
    flx_alloc_fail_nth(1);
    hx_publish(s, "demo", 2, NULL, "refused", 1);
    flx_alloc_fail_nth(2); /* the job is the first */
    hx_json(cache, "{\"type\":\"cache_get\"," OF_PRIMARY ",\"key\":\"k\",\"request_id\":3}");
    flx_alloc_fail_nth(0);
    assert_true(hx_run(h));
    assert_int_equal(dropped(h, away, FLX_DROP_NOMEM), 1);
    const hx_got refused = hx_read(s);
    flx_publish_ack ack;
    assert_int_equal(flx_publish_ack_decode(refused.flags,
                                            (flx_slice){refused.payload, refused.len}, &ack, NULL),
                     FLX_OK);
    assert_int_equal(ack.request_id, 2);
    assert_int_equal(ack.code, FLX_CODE_OVERLOADED);
    assert_non_null(strstr(hx_read_json(cache), "\"code\":\"overloaded\""));
    assert_int_equal(hx_worker(h, away)->publish_bytes, 0); /* nothing stays charged */
    assert_int_equal(hx_worker(h, away)->jobs_out, 0);
    hx_free(h);
}

/* A worker that has not heard of a deletion must not bring the cache back on its owner. */
static void test_a_deleted_cache_stays_deleted(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    const uint32_t owner = flx_worker_owner(1, 0, 2);
    hx_stream *s = hx_open(hx_connect(h, 1 - owner), true);
    hx_auth_as(s, ALL, FLX_FEATURE_ERROR_CODES);
    flx_catalog *old = flx_catalog_ref(hx_worker(h, 1 - owner)->catalog);
    hx_set_catalog(h, false);
    flx_worker_set_catalog(hx_worker(h, 1 - owner), old);
    flx_catalog_unref(old);
    hx_json(s, "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"k\",\"value\":\"dg==\"}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "\"code\":\"not_found\""));
    assert_null(flx_cache_state_find(hx_worker(h, owner), 1, 0));
    hx_free(h);
}

/* ---- memory that readers keep ---- */

static flx_owned *owned_demo(hx *h)
{
    flx_owned *owned = NULL;
    assert_int_equal(flx_owned_get(hx_worker(h, 0), 1, 0, &owned), FLX_OK);
    return owned;
}

static void send_in_pieces(hx_stream *s, const uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len; at += 1400) {
        hx_send(s, bytes + at, len - at < 1400 ? len - at : 1400);
    }
}

static void test_rewritten_frames_are_bounded(void **state)
{
    (void)state;
    const size_t size = 1100 * KIB;
    uint8_t *frame = malloc(size);
    hx *h = hx_new(&(hx_options){.limits = {.shard_ring_bytes = 2 * KIB * KIB}});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *events = hx_subscribe(conn, "demo", "", TIMES, 0);
    hx_stream *p = hx_open(conn, true);
    hx_auth(p);
    const size_t len = hx_publish_frame(frame, size, "demo", 0, 1024 * KIB, 1);
    for (uint64_t i = 0; i < 16; i++) {
        send_in_pieces(p, frame, len);
        assert_true(hx_run(h));
        assert_int_equal(hx_next_event(events).offset, i);
        assert_true(owned_demo(h)->view.variants.bytes < 10 * KIB * KIB);
    }
    assert_true(owned_demo(h)->view.variants.bytes > 0);
    hx_stop(events);
    assert_int_equal(owned_demo(h)->view.variants.bytes, 0); /* nobody reads: nothing is kept */
    hx_free(h);
    free(frame);
}

/* A ring counts the region, so it must not keep a chunk that is much larger. */
static void test_a_small_batch_in_a_large_chunk_is_copied(void **state)
{
    (void)state;
    static uint8_t frame[64000];
    hx *h = hx_new(&(hx_options){0});
    hx_stream *p = hx_open(hx_connect(h, 0), true);
    hx_auth(p);
    send_in_pieces(p, frame, hx_publish_frame(frame, sizeof frame, "gone", 0, 60000, 1));
    send_in_pieces(p, frame, hx_publish_frame(frame, sizeof frame, "demo", 0, 5000, 1));
    send_in_pieces(p, frame, hx_publish_frame(frame, sizeof frame, "demo", 0, 60000, 1));
    assert_true(hx_run(h));
    const flx_feed *feed = &owned_demo(h)->shard.feed;
    assert_int_equal(feed->end, 2);
    assert_true(flx_feed_at(feed, 0)->joined);
    assert_false(flx_feed_at(feed, 1)->joined);
    hx_free(h);
}

/* ---- block ---- */

/* A reader that takes a little just before its time is over does not begin a new time. */
static void test_a_publish_waits_once(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_stream *slow = hx_subscribe(hx_connect(h, 0), "wait", ",\"queue_capacity\":4", OFFSETS, 0);
    hx_stream *p = hx_open(hx_connect(h, 0), true);
    hx_auth(p);
    hx_stall(slow, true);
    for (uint32_t id = 1; id <= 40; id++) {
        hx_publish(p, "wait", id, NULL, "x", 1);
        (void)hx_run(h);
    }
    hx_advance_ms(h, 1999);
    hx_stall(slow, false);
    hx_step(h);
    hx_stall(slow, true);
    (void)hx_run(h);
    uint32_t acks = 0;
    while (hx_read(p).is_frame) {
        acks++;
    }
    assert_in_range(acks, 5, 20); /* a few more, and it holds again */
    hx_advance_ms(h, 1);
    (void)hx_run(h);
    while (hx_read(p).is_frame) {
        acks++;
    }
    assert_int_equal(acks, 40);
    hx_free(h);
}

static void test_held_unacked_publishes_are_charged(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.limits = {.process_publish_bytes = 40}});
    hx_stream *slow = hx_subscribe(hx_connect(h, 0), "wait", ",\"queue_capacity\":1", OFFSETS, 0);
    hx_conn *conn = hx_connect(h, 0);
    hx_stall(slow, true);
    for (int i = 0; i < 12; i++) { /* each on a stream of its own: one that waits is not read on */
        hx_stream *p = hx_open(conn, true);
        hx_auth(p);
        hx_publish(p, "wait", 0, NULL, "0123456789", 1);
        (void)hx_run(h);
        assert_true(hx_worker(h, 0)->publish_bytes <= 40);
    }
    assert_true(hx_worker(h, 0)->publish_bytes > 0);
    const uint64_t lost = dropped(h, 0, FLX_DROP_OVERLOADED);
    assert_in_range(lost, 6, 10);
    hx_stall(slow, false);
    assert_true(hx_run(h));
    assert_int_equal(hx_worker(h, 0)->publish_bytes, 0);
    uint64_t seen = 0;
    while (hx_next_event(slow).is_event) {
        seen++;
    }
    assert_int_equal(seen + lost, 12);
    hx_free(h);
}

/* The stream goes while un-acked publishes wait at it: refused, counted, nothing stays charged. */
static void test_a_stream_that_goes_with_publishes_waiting(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *slow = hx_subscribe(conn, "wait", ",\"queue_capacity\":1", OFFSETS, 0);
    hx_stall(slow, true);
    hx_stream *p = hx_open(conn, true);
    hx_stream *q = hx_open(conn, true);
    hx_auth(p);
    hx_auth_as(q, ALL, 0);
    for (int i = 0; i < 4; i++) {
        hx_publish(p, "wait", 0, NULL, "x", 1);
        (void)hx_run(h);
    }
    hx_publish(q, "wait", 7, NULL, "x", 1);
    (void)hx_run(h);
    assert_true(hx_worker(h, 0)->publish_bytes > 0);
    flx_catalog *empty = NULL;
    flx_catalog_builder *builder = flx_catalog_builder_new();
    assert_int_equal(flx_catalog_builder_finish(builder, 99, &empty, NULL), FLX_OK);
    flx_catalog_builder_free(builder);
    flx_worker_set_catalog(hx_worker(h, 0), empty);
    flx_catalog_unref(empty);
    hx_stall(slow, false);
    assert_true(hx_run(h));
    const hx_got got = hx_read(q);
    flx_publish_ack ack;
    assert_int_equal(
        flx_publish_ack_decode(got.flags, (flx_slice){got.payload, got.len}, &ack, NULL), FLX_OK);
    assert_int_equal(ack.code, FLX_CODE_NOT_FOUND);
    assert_int_equal(hx_worker(h, 0)->publish_bytes, 0);
    assert_true(dropped(h, 0, FLX_DROP_REFUSED) > 0);
    hx_free(h);
}

/* ---- subscriptions ---- */

static void test_credit_for_one_stream_opens_one(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_conn *conn = hx_connect(h, 0);
    hx_conn_credit(conn, 0);
    for (int i = 0; i < 50; i++) {
        assert_null(hx_subscribe(conn, "demo", "", OFFSETS, 0)); /* `subscribed`, no stream yet */
    }
    for (int i = 0; i < 50; i++) {
        hx_conn_credit(conn, 1);
        assert_true(hx_run(h));
        hx_stream *events = hx_accept(conn);
        assert_non_null(events);
        char hello[80];
        (void)snprintf(hello, sizeof hello, "\"subscription_id\":%d}", i + 1);
        assert_non_null(strstr(hx_read_json(events), hello)); /* first come, first opened */
        assert_null(hx_accept(conn));
    }
    hx_free(h);
}

static void test_ids_at_the_end_of_their_range(void **state)
{
    (void)state;
    static const char *const proposed[] = {",\"subscription_id\":9223372036854775806",
                                           ",\"subscription_id\":9223372036854775807", "", ""};
    static const char *const given[] = {"9223372036854775806", "9223372036854775807",
                                        "9223372036854775808", "9223372036854775809"};
    hx *h = hx_new(&(hx_options){0});
    hx_conn *conn = hx_connect(h, 0);
    for (size_t i = 0; i < 4; i++) {
        hx_stream *s = hx_open(conn, true);
        hx_auth(s);
        hx_json(s, "{\"type\":\"subscribe\"," OF_DEMO "%s}", proposed[i]);
        assert_true(hx_run(h));
        assert_non_null(strstr(hx_read_json(s), given[i]));
    }
    hx_free(h);
}

/* ---- times ---- */

static uint64_t count_of(const flx_histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < FLX_HISTOGRAM_BUCKETS; i++) {
        count += flx_stat_get(&histogram->buckets[i]);
    }
    return count;
}

static void test_times_are_counted(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    const uint32_t away = 1 - owner_of_demo();
    hx_conn *conn = hx_connect(h, away);
    hx_stream *events = hx_subscribe(conn, "demo", "", OFFSETS, 0);
    hx_stream *p = hx_open(conn, true);
    hx_auth(p);
    for (uint64_t id = 1; id <= 5; id++) {
        hx_publish(p, "demo", id, NULL, "x", 1);
    }
    hx_step(h); /* to the owner, perhaps not yet back */
    hx_stall(events, true);
    hx_advance_ms(h, 3);
    assert_true(hx_run(h));
    hx_stall(events, false);
    assert_true(hx_run(h));
    const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(h, away));
    assert_int_equal(count_of(&stats->publish_time), 5);
    assert_int_equal(count_of(&stats->delivery_time), 1); /* one hand-over of five */
    hx_free(h);

    static const struct {
        uint64_t us;
        unsigned bucket;
    } cases[] = {{0, 0},     {1, 0},     {2, 1},
                 {3, 2},     {4, 2},     {5, 3},
                 {1024, 10}, {1025, 11}, {UINT64_MAX, FLX_HISTOGRAM_BUCKETS - 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(flx_histogram_bucket(cases[i].us), cases[i].bucket);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_requests_that_do_not_wait),
        cmocka_unit_test(test_backlogs_are_read_in_turns),
        cmocka_unit_test(test_strangers_may_leave_little),
        cmocka_unit_test(test_1024_streams_that_say_nothing),
        cmocka_unit_test(test_a_publisher_that_never_reads_its_acks),
        cmocka_unit_test(test_frames_that_find_no_room_come_later),
        cmocka_unit_test(test_windows_of_other_workers_shards_are_bounded),
        cmocka_unit_test(test_without_memory_for_the_outbox),
        cmocka_unit_test(test_a_deleted_cache_stays_deleted),
        cmocka_unit_test(test_rewritten_frames_are_bounded),
        cmocka_unit_test(test_a_small_batch_in_a_large_chunk_is_copied),
        cmocka_unit_test(test_a_publish_waits_once),
        cmocka_unit_test(test_held_unacked_publishes_are_charged),
        cmocka_unit_test(test_a_stream_that_goes_with_publishes_waiting),
        cmocka_unit_test(test_credit_for_one_stream_opens_one),
        cmocka_unit_test(test_ids_at_the_end_of_their_range),
        cmocka_unit_test(test_times_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
