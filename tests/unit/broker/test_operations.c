/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operation frames (docs/spec/extensions.md 1): who may send them, what each is answered, how many
 * may be under way, and that it is all the same when other workers own the keys.
 */
#include "broker/lane_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "operations_rig.h"
#include "unit.h"
#include "wire/flags.h"
#include "wire/message.h"
#include "wire/operation.h"

#include <stdio.h>

/* A stream that negotiated, with handle 1 for "primary" and 2 for "cached" (4 shards). */
static hx_stream *client(hx *h, uint32_t worker)
{
    hx_stream *s = hx_open(hx_connect(h, worker), true);
    hx_auth_hi(s, 0x7fff, ALL_FEATURES, HI);
    add_open(1, FLX_OPERATION_CACHE, "t1", "primary");
    add_open(2, FLX_OPERATION_CACHE, "t1", "cached");
    send_added(s);
    assert_int_equal(run(h, s), 2);
    assert_int_equal(answers[1001].status, 0);
    assert_int_equal(answers[1001].shards, 1);
    assert_int_equal(answers[1002].shards, 4);
    return s;
}

/* ---- negotiation ---- */

static void test_only_who_offers_it_hears_of_it(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t features;
        uint32_t hi;
        bool offered;
    } rows[] = {
        {"nothing", 0, 0, false},
        {"an ordinary client", ALL_FEATURES & ~FLX_FEATURE_EXTENDED, 0, false},
        {"the marker, and INSPECT", ALL_FEATURES, FLX_FEATURE_HI_INSPECT, false},
        {"the bit without the marker", ALL_FEATURES & ~FLX_FEATURE_EXTENDED, HI, false},
        {"both", FLX_FEATURE_EXTENDED, HI, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        hx *h = hx_new(&(hx_options){.workers = 1});
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_json(s,
                "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\",\"client_flags\":1,"
                "\"client_features\":%u,\"client_features_hi\":%u}",
                hx_token(h), rows[i].features, rows[i].hi);
        assert_true(hx_run(h));
        const char *ok = hx_read_json(s);
        const bool told = strstr(ok, "\"server_features_hi\":2147483648") != NULL &&
                          strstr(ok, "\"operation_window\":1024}") != NULL;
        if (told != rows[i].offered || (strstr(ok, "_hi") != NULL) != rows[i].offered) {
            fail_msg("%s: %s", rows[i].name, ok);
        }
        add_open(1, FLX_OPERATION_CACHE, "t1", "primary");
        send_added(s);
        assert_true(hx_run(h));
        if (rows[i].offered) {
            memset(answers, 0, sizeof answers);
            assert_int_equal(read_answers(s), 1);
        } else { /* as ever: refused, and the stream goes on */
            assert_non_null(strstr(hx_read_json(s), "unsupported frame flags"));
            hx_json(s, "{\"type\":\"cache_shards\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                       "\"cache\":\"primary\",\"request_id\":7}");
            assert_true(hx_run(h));
            assert_non_null(strstr(hx_read_json(s), "\"shards\":1"));
        }
        hx_free(h);
    }
}

static void test_an_operator_may_switch_it_off(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.limits = {.operation_window = UINT32_MAX}});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth_hi(s, 0x7fff, ALL_FEATURES, HI);
    add_open(1, FLX_OPERATION_CACHE, "t1", "primary");
    send_added(s);
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "unsupported frame flags"));
    hx_free(h);
}

static void test_before_auth_and_on_one_way_streams(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 1});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *s = hx_open(conn, true);
    add_get(1, 1, "k");
    send_added(s);
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "unsupported frame flags"));
    hx_stream *one_way = hx_open(conn, false);
    hx_auth_hi(one_way, 0x7fff, ALL_FEATURES, HI);
    add_get(1, 1, "k");
    send_added(one_way);
    assert_true(hx_run(h));
    assert_true(hx_is_stopped(one_way));
    hx_free(h);
}

/* ---- the cache ---- */

/* One frame, everything in it, on one, two and four workers: all that JSON can do. */
static void test_all_cache_operations(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        hx_stream *s = client(h, workers - 1);
        for (uint16_t handle = 1; handle <= 2; handle++) {
            add_get(handle, 1, "k");
            add_put(handle, 2, "k", slice_of("one"));
            add_get(handle, 3, "k");
            add(&(flx_operation){.opcode = FLX_OPCODE_CACHE_PUT_IF,
                                 .handle = handle,
                                 .id = 4,
                                 .key = slice_of("k"),
                                 .value = slice_of("two")});
            add(&(flx_operation){.opcode = FLX_OPCODE_CACHE_DELETE,
                                 .handle = handle,
                                 .id = 5,
                                 .key = slice_of("k")});
            add(&(flx_operation){.opcode = FLX_OPCODE_CACHE_PUT_IF,
                                 .handle = handle,
                                 .id = 6,
                                 .key = slice_of("k"),
                                 .value = slice_of("three")});
            add_get(handle, 7, "k");
            add_put(handle, 8, "", slice_of(""));
            add_get(handle, 9, "");
            send_added(s);
            assert_int_equal(run(h, s), 9);
            assert_int_equal(answers[1].flags, 0);
            assert_int_equal(answers[2].status, 0);
            assert_int_equal(answers[3].flags, FLX_OPERATION_FOUND);
            assert_memory_equal(answers[3].value, "one", 3);
            assert_int_equal(answers[4].flags,
                             FLX_OPERATION_VERSIONED); /* not applied: it is there */
            assert_int_equal(answers[4].version, answers[3].version);
            assert_memory_equal(answers[5].value, "one", 3);
            assert_int_equal(answers[6].flags, FLX_OPERATION_APPLIED | FLX_OPERATION_VERSIONED);
            assert_memory_equal(answers[7].value, "three", 5);
            assert_int_equal(answers[9].flags, FLX_OPERATION_FOUND);
            assert_int_equal(answers[9].value_len, 0);
            const uint64_t version = answers[7].version;

            const flx_operation put_if = {.opcode = FLX_OPCODE_CACHE_PUT_IF,
                                          .flags = FLX_OPERATION_VERSION | FLX_OPERATION_TTL,
                                          .handle = handle,
                                          .id = 1,
                                          .ttl_ms = 50,
                                          .version = version,
                                          .key = slice_of("k"),
                                          .value = slice_of("four")};
            flx_operation again = put_if; /* the version has moved on by then */
            again.id = 2;
            flx_operation delete_if = {.opcode = FLX_OPCODE_CACHE_DELETE_IF,
                                       .handle = handle,
                                       .id = 3,
                                       .version = version,
                                       .key = slice_of("k")};
            add(&put_if);
            add(&again);
            add(&delete_if);
            send_added(s);
            assert_int_equal(run(h, s), 3);
            assert_int_equal(answers[1].flags, FLX_OPERATION_APPLIED | FLX_OPERATION_VERSIONED);
            assert_int_equal(answers[2].flags, FLX_OPERATION_VERSIONED);
            assert_int_equal(answers[3].flags, FLX_OPERATION_VERSIONED);
            hx_advance_ms(h, 100);
            add_get(handle, 1, "k");
            send_added(s);
            assert_int_equal(run(h, s), 1);
            assert_int_equal(answers[1].flags, 0); /* expired */
        }
        hx_free(h);
    }
}

/* JSON and operations are two faces of one cache. */
static void test_json_sees_what_operations_wrote(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    hx_stream *s = client(h, 0);
    add_put(2, 1, "k", slice_of("cached"));
    send_added(s);
    assert_int_equal(run(h, s), 1);
    hx_json(s, "{\"type\":\"cache_get\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
               "\"cache\":\"cached\",\"key\":\"k\",\"request_id\":9}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "\"value\":\"Y2FjaGVk\",\"request_id\":9"));
    hx_free(h);
}

/* Small values are copied, large ones shared; a batch is split where it is full. */
static void test_many_in_one_frame_and_large_values(void **state)
{
    (void)state;
    static uint8_t bytes[100000];
    static const size_t sizes[] = {0, 1, 256, 4095, 4096, 70000, 100000};
    memset(bytes, 'v', sizeof bytes);
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        hx_stream *s = client(h, 0);
        for (uint32_t i = 0; i < COUNT(sizes); i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "size-%u", i);
            add_put(2, i, key, (flx_slice){bytes, sizes[i]});
        }
        send_added(s);
        assert_int_equal(run(h, s), COUNT(sizes));
        for (uint32_t i = 0; i < 1000; i++) { /* 1000 of the 1024 that one frame may have */
            char key[16];
            (void)snprintf(key, sizeof key, "size-%u", i % (uint32_t)COUNT(sizes));
            add_get(2, i, key);
        }
        send_added(s);
        uint32_t count = run(h, s);
        for (int i = 0; i < 1000 && count < 1000; i++) {
            assert_true(hx_run(h));
            count += read_answers(s);
        }
        assert_int_equal(count, 1000);
        for (uint32_t i = 0; i < 1000; i++) {
            assert_true(answers[i].came);
            assert_int_equal(answers[i].value_len, sizes[i % COUNT(sizes)]);
            assert_true(answers[i].value_len == 0 || answers[i].value[0] == 'v');
        }
        hx_free(h);
    }
}

/* What comes in one frame leaves in one, as far as a chunk goes. */
/* Who asks for much and reads nothing is not served on, not even within a frame (rule 25); nothing is
 * lost or done twice when it reads again, and what was sent after the frame comes after it. */
static void test_answers_that_nobody_reads(void **state)
{
    (void)state;
    enum { VALUE = 600 * 1000, GETS = 64 };
    static uint8_t value[VALUE];
    for (uint32_t workers = 1; workers <= 4; workers += 3) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        hx_stream *s = client(h, 0);
        add_put(1, 1, "k", (flx_slice){value, VALUE});
        send_added(s);
        assert_int_equal(run(h, s), 1);
        hx_stall(s, true);
        for (uint32_t id = 1; id <= GETS; id++) {
            add_get(1, id, "k");
        }
        add_put(1, GETS + 1, "k", slice_of("small"));
        send_added(s);
        add_get(1, GETS + 2, "k");
        send_added(s);
        hx_run(h);
        if (workers == 1) {
            assert_in_range(hx_queued(s), VALUE, FLX_LANE_OUT_BYTES_MAX + VALUE + 65536);
        }
        hx_stall(s, false);
        assert_int_equal(run(h, s), GETS + 2);
        for (uint32_t id = 1; id <= GETS; id++) {
            assert_int_equal(answers[id].value_len, VALUE);
        }
        assert_int_equal(answers[GETS + 2].value_len, 5);
        hx_free(h);
    }
}

/* The rest of a frame that waits goes with its stream. */
static void test_the_end_while_a_frame_waits(void **state)
{
    (void)state;
    static uint8_t value[600 * 1000];
    for (int how = 0; how < 3; how++) {
        hx *h = hx_new(&(hx_options){.workers = 1});
        hx_stream *s = client(h, 0);
        hx_conn *other = hx_connect(h, 0);
        add_put(1, 1, "k", (flx_slice){value, sizeof value});
        send_added(s);
        assert_int_equal(run(h, s), 1);
        hx_stall(s, true);
        for (uint32_t id = 1; id <= 16; id++) {
            add_get(1, id, "k");
        }
        add_put(1, 17, "k", slice_of("last"));
        send_added(s);
        hx_run(h);
        if (how == 0) {
            hx_reset(s); /* it sends no more; what it asked for is done when it reads */
            hx_stall(s, false);
        } else if (how == 1) {
            hx_stop(s); /* it reads no more: nothing holds the rest up */
        } else {
            hx_fin(s);
            hx_run(h);
            assert_false(hx_is_finished(s));
            hx_stall(s, false);
        }
        assert_true(hx_run(h));
        hx_stream *after = hx_open(other, true);
        hx_auth_hi(after, 0x7fff, ALL_FEATURES, HI);
        add_open(1, FLX_OPERATION_CACHE, "t1", "primary");
        add_get(1, 2, "k");
        send_added(after);
        assert_int_equal(run(h, after), 2);
        assert_int_equal(answers[2].value_len, 4);
        hx_free(h);
    }
}

static void test_answers_share_frames(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 1});
    hx_stream *s = client(h, 0);
    for (uint32_t i = 0; i < 200; i++) {
        add_get(1, i, "nothing");
    }
    send_added(s);
    assert_int_equal(run(h, s), 200);
    assert_int_equal(answer_frames, 1);
    hx_free(h);
}

/* ---- handles ---- */

static void test_handles(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    hx_stream *s = client(h, 0);
    add_get(3, 1, "k");                                /* not opened */
    add_get(256, 2, "k");                              /* cannot be */
    add_open(255, FLX_OPERATION_STREAM, "t1", "demo"); /* 1255 */
    add_get(255, 3, "k");                              /* of a stream */
    add_open(7, FLX_OPERATION_CACHE, "t2", "primary"); /* 1007: another tenant */
    add_get(7, 4, "k");
    add_open(8, FLX_OPERATION_CACHE, "t1", "nowhere"); /* 1008: no such cache */
    add_get(8, 5, "k");
    add_put(1, 6, "which", slice_of("primary"));
    add_open(1, FLX_OPERATION_CACHE, "t1", "cached"); /* 1001: names another one from here on */
    add_get(1, 7, "which");
    send_added(s);
    assert_int_equal(run(h, s), 11);
    assert_int_equal(answers[1].status, FLX_CODE_NOT_FOUND);
    assert_int_equal(answers[2].status, FLX_CODE_INVALID_REQUEST);
    assert_int_equal(answers[1255].status, 0);
    assert_int_equal(answers[3].status, FLX_CODE_INVALID_REQUEST);
    assert_int_equal(answers[1007].status, FLX_CODE_FORBIDDEN);
    assert_int_equal(answers[4].status, FLX_CODE_FORBIDDEN);
    assert_int_equal(answers[1008].status, FLX_CODE_NOT_FOUND);
    assert_int_equal(answers[1008].retry, FLX_RETRY_AFTER);
    assert_int_equal(answers[5].status, FLX_CODE_NOT_FOUND);
    assert_int_equal(answers[6].status, 0);
    assert_int_equal(answers[7].flags, 0);
    hx_free(h);
}

/* A handle is a name: it works again when the cache is there again. */
static void test_the_catalog_changes(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    hx_stream *s = client(h, 0);
    static const uint16_t expected[] = {0, FLX_CODE_NOT_FOUND, 0};
    for (uint32_t i = 0; i < COUNT(expected); i++) {
        hx_set_catalog(h, expected[i] == 0);
        add_put(1, i, "k", slice_of("v"));
        send_added(s);
        assert_int_equal(run(h, s), 1);
        assert_int_equal(answers[i].status, expected[i]);
    }
    add_get(1, 3, "k"); /* a batch is under way while the catalog goes */
    hx_frame(s, OPS, request, request_len);
    request_len = 0;
    hx_set_catalog(h, false);
    assert_int_equal(run(h, s), 1);
    hx_free(h);
}

static void test_a_token_that_allows_nothing(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 1});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_json(s,
            "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\",\"client_flags\":1,"
            "\"client_features\":%u,\"client_features_hi\":%u}",
            hx_token_bare(h), ALL_FEATURES, HI);
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "auth_ok"));
    add_open(1, FLX_OPERATION_CACHE, "t1", "primary");
    add_get(1, 1, "k");
    add(&(flx_operation){.opcode = FLX_OPCODE_PLACEMENT,
                         .id = 2,
                         .kind = FLX_PLACEMENT_CACHE,
                         .tenant = slice_of("t1"),
                         .namespace_ = slice_of("default"),
                         .name = slice_of("primary")});
    send_added(s);
    assert_int_equal(run(h, s), 3);
    assert_int_equal(answers[1001].status, FLX_CODE_FORBIDDEN);
    assert_int_equal(answers[1].status, FLX_CODE_FORBIDDEN);
    assert_int_equal(answers[2].status, FLX_CODE_FORBIDDEN);
    assert_false(hx_is_finished(s)); /* others are on their way on it */
    hx_free(h);
}

/* ---- placement ---- */

static void test_placement(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 4});
    hx_stream *s = client(h, 0);
    static const struct {
        uint8_t kind;
        uint8_t flags;
        uint32_t shard;
        const char *name;
        const char *key;
        uint16_t status;
    } rows[] = {
        {FLX_PLACEMENT_PUBLISH, 0, 0, "demo", "", 0},
        {FLX_PLACEMENT_SUBSCRIBE, 0, 3, "wide", "", 0},
        {FLX_PLACEMENT_SUBSCRIBE, 0, 4, "wide", "", FLX_CODE_INVALID_REQUEST},
        {FLX_PLACEMENT_PUBLISH, FLX_OPERATION_KEYED, 99, "wide", "\xff", 0},
        {FLX_PLACEMENT_CACHE, FLX_OPERATION_KEYED, 0, "cached", "k", 0},
        {FLX_PLACEMENT_CACHE, 0, 0, "demo", "", FLX_CODE_NOT_FOUND},
        {FLX_PLACEMENT_WATCH, FLX_OPERATION_KEYED, 0, "cached", "k", 0},
        {FLX_PLACEMENT_WATCH, 0, 0, "demo", "", FLX_CODE_NOT_FOUND},
        {FLX_PLACEMENT_PUBLISH, 0, 0, "primary", "", FLX_CODE_NOT_FOUND},
    };
    for (uint32_t i = 0; i < COUNT(rows); i++) {
        add(&(flx_operation){.opcode = FLX_OPCODE_PLACEMENT,
                             .flags = rows[i].flags,
                             .id = i,
                             .kind = rows[i].kind,
                             .shard = rows[i].shard,
                             .tenant = slice_of("t1"),
                             .namespace_ = slice_of("default"),
                             .name = slice_of(rows[i].name),
                             .key = slice_of(rows[i].key)});
    }
    send_added(s);
    assert_int_equal(run(h, s), COUNT(rows));
    for (uint32_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(answers[i].status, rows[i].status);
        assert_int_equal(answers[i].workers, rows[i].status == 0 ? 4 : 0);
        assert_in_range(answers[i].worker, 0, 3);
    }
    hx_free(h);
}

/* ---- bad input ---- */

/* What is wrong with one operation is said of that one; its neighbours are served. */
static void test_one_bad_operation_spoils_no_other(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        uint16_t status;
    } rows[] = {
        {"\0\0\0\0\x7f\0\0\1\0\0\0\2", 12, FLX_OPERATION_UNSUPPORTED},    /* unknown opcode */
        {"\0\0\0\1\x10\1\0\1\0\0\0\2k", 13, FLX_CODE_INVALID_REQUEST},    /* a flag it has not */
        {"\0\0\0\1\x10\0\0\1\0\0\0\2\xff", 13, FLX_CODE_INVALID_REQUEST}, /* not UTF-8 */
        {"\0\0\0\4\x11\0\0\1\0\0\0\2\0\0\0\1", 16, FLX_CODE_INVALID_REQUEST}, /* key past the end */
        {"\0\0\0\7\x39\0\0\1\0\0\0\2\0\0\0\0\0\1g", 19, FLX_OPERATION_UNSUPPORTED}, /* group */
    };
    hx *h = hx_new(&(hx_options){.workers = 2});
    hx_stream *s = client(h, 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        add_put(1, 1, "k", slice_of("v"));
        memcpy(request + request_len, rows[i].bytes, rows[i].len);
        request_len += rows[i].len;
        add_get(1, 3, "k");
        send_added(s);
        assert_int_equal(run(h, s), 3);
        assert_int_equal(answers[1].status, 0);
        assert_int_equal(answers[2].status, rows[i].status);
        assert_int_equal(answers[3].flags, FLX_OPERATION_FOUND);
    }
    hx_free(h);
}

static void test_broken_frames_reset_the_stream(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
    } rows[] = {
        {"nothing", "", 0},
        {"half a head", "\0\0\0\0\x10", 5},
        {"a length past the end", "\0\0\0\1\x11\0\0\1\0\0\0\1k\0\0\0\2\x10\0\0\1\0\0\0\2k", 26},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        hx *h = hx_new(&(hx_options){.workers = 1});
        hx_stream *s = client(h, 0);
        hx_frame(s, OPS, rows[i].bytes, rows[i].len);
        assert_true(hx_run(h));
        if (!hx_is_reset(s)) {
            fail_msg("%s", rows[i].name);
        }
        assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 0))->cache_writes), 0);
        hx_free(h);
    }
    hx *h = hx_new(&(hx_options){.workers = 1, .limits = {.operation_window = 4}});
    hx_stream *s = client(h, 0);
    for (uint32_t i = 0; i < 5; i++) {
        add_get(1, i, "k");
    }
    send_added(s); /* one more than the window */
    assert_true(hx_run(h));
    assert_true(hx_is_reset(s));
    hx_free(h);
}

/* The flag stands alone. */
static void test_other_flags_beside_it(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 1});
    hx_stream *s = client(h, 0);
    hx_frame(s, OPS | FLX_FLAG_BINARY_PUBLISH_BATCH, "x", 1);
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "invalid_request"));
    add_get(1, 1, "k");
    send_added(s);
    assert_int_equal(run(h, s), 1); /* and it goes on */
    hx_free(h);
}

static void test_drain(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 1});
    hx_stream *s = client(h, 0);
    flx_worker_drain(hx_worker(h, 0));
    add_get(1, 1, "k");
    send_added(s);
    assert_int_equal(run(h, s), 1);
    assert_int_equal(answers[1].status, FLX_CODE_DRAINING);
    assert_int_equal(answers[1].retry, FLX_RETRY_NOW);
    hx_free(h);
}

/* ---- many under way ---- */

static uint32_t worker_without(uint32_t workers, uint32_t id)
{
    return (flx_worker_owner(id, 0, workers) + 1) % workers;
}

/* Mailboxes of one mail and a client that sends far more than the window without reading: it is held
 * back, everything is answered once, in the end nothing is out. */
static void test_a_flood_through_small_mailboxes(void **state)
{
    (void)state;
    enum { FRAMES = 40, EACH = 64 };
    hx *h = hx_new(&(hx_options){.workers = 4, .mailbox = 1, .limits = {.operation_window = EACH}});
    hx_stream *s = client(h, worker_without(4, 1));
    for (uint32_t f = 0; f < FRAMES; f++) {
        for (uint32_t i = 0; i < EACH; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "key-%u", i);
            if (f % 2 == 0) {
                add_put(2, f * EACH + i, key, slice_of("value"));
            } else {
                add_get(2, f * EACH + i, key);
            }
        }
        send_added(s);
    }
    assert_true(hx_unconsumed(s) > 0); /* held back before the first answer */
    uint32_t count = run(h, s);
    for (int i = 0; i < 1000 && count < FRAMES * EACH; i++) {
        assert_true(hx_run(h));
        count += read_answers(s);
    }
    assert_int_equal(count, FRAMES * EACH);
    for (uint32_t id = 0; id < FRAMES * EACH; id++) {
        assert_int_equal(answers[id].status, 0);
        if (id / EACH % 2 == 1) {
            assert_memory_equal(answers[id].value, "value", 5); /* in the order they were sent */
        }
    }
    assert_int_equal(hx_unconsumed(s), 0);
    hx_free(h);
}

/* Operations of a tick for one worker are one mail there and one back. */
static void test_one_mail_a_worker_and_tick(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    const uint32_t home = worker_without(2, 1);
    hx_stream *s = client(h, home);
    const uint64_t before = flx_stat_get(&flx_worker_stats_of(hx_worker(h, home))->mails_out);
    for (uint32_t i = 0; i < 200; i++) {
        add_get(1, i, "k");
    }
    send_added(s);
    assert_int_equal(run(h, s), 200);
    assert_int_equal(answer_frames, 1);
    const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(h, home));
    assert_int_equal(flx_stat_get(&stats->mails_out) - before, 1);
    hx_free(h);
}

/* The client's FIN and the end of its connection while other workers still answer. */
static void test_the_end_while_answers_are_out(void **state)
{
    (void)state;
    for (int disconnects = 0; disconnects < 2; disconnects++) {
        hx *h = hx_new(&(hx_options){.workers = 2});
        hx_conn *conn = hx_connect(h, worker_without(2, 1));
        hx_stream *s = hx_open(conn, true);
        hx_auth_hi(s, 0x7fff, ALL_FEATURES, HI);
        add_open(1, FLX_OPERATION_CACHE, "t1", "primary");
        add_get(1, 1, "k");
        send_added(s);
        if (disconnects == 1) {
            hx_disconnect(conn);
            assert_true(hx_run(h));
        } else {
            hx_fin(s);
            assert_int_equal(run(h, s), 2);
            assert_true(hx_is_finished(s));
        }
        assert_int_equal(hx_worker(h, worker_without(2, 1))->jobs_out, 0);
        hx_free(h);
    }
}

/* A steady flow allocates nothing. */
static void test_a_flow_allocates_nothing(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        hx_stream *s = client(h, workers == 1 ? 0 : worker_without(2, 1));
        uint64_t allocated = 0;
        for (int round = 0; round < 8; round++) {
            const uint64_t before = flx_alloc_count();
            for (uint32_t i = 0; i < 64; i++) {
                add_get(1, i, "k");
            }
            add_put(1, 64, "k", slice_of("a value"));
            send_added(s);
            assert_int_equal(run(h, s), 65);
            allocated = flx_alloc_count() - before;
        }
        assert_in_range(allocated, 0, 4); /* the harness keeps what it sends */
        hx_free(h);
    }
}

/* The Nth allocation fails, for every N: each operation is answered or its stream reset. */
static void test_memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static uint8_t large[5000];
    for (uint64_t nth = 1; nth < 2000; nth++) {
        hx *h = hx_new(&(hx_options){.workers = 2, .mailbox = 1});
        hx_stream *s = client(h, worker_without(2, 1));
        flx_alloc_fail_nth(nth);
        add_open(9, FLX_OPERATION_CACHE, "t1", "cached");
        for (uint32_t i = 0; i < 300; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i / 2);
            if (i % 2 == 0) {
                add_put(i % 4 == 0 ? 1 : 9, i, key, (flx_slice){large, i % 3 == 0 ? 5000 : 5});
            } else {
                add_get(i % 4 == 1 ? 1 : 9, i, key);
            }
        }
        send_added(s);
        (void)hx_run(h);
        const bool failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        if (!hx_is_reset(s)) {
            uint32_t count = run(h, s);
            for (int i = 0; i < 100 && count < 301 && !hx_is_reset(s); i++) {
                (void)hx_run(h);
                count += read_answers(s);
            }
            if (count != 301 && !hx_is_reset(s)) {
                fail_msg("allocation %llu: %u answers", (unsigned long long)nth, count);
            }
        }
        hx_free(h);
        if (!failed) {
            assert_true(nth > 10);
            return;
        }
    }
    fail_msg("the run never came to its end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_who_offers_it_hears_of_it),
        cmocka_unit_test(test_an_operator_may_switch_it_off),
        cmocka_unit_test(test_before_auth_and_on_one_way_streams),
        cmocka_unit_test(test_all_cache_operations),
        cmocka_unit_test(test_json_sees_what_operations_wrote),
        cmocka_unit_test(test_many_in_one_frame_and_large_values),
        cmocka_unit_test(test_answers_that_nobody_reads),
        cmocka_unit_test(test_the_end_while_a_frame_waits),
        cmocka_unit_test(test_answers_share_frames),
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_the_catalog_changes),
        cmocka_unit_test(test_a_token_that_allows_nothing),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_one_bad_operation_spoils_no_other),
        cmocka_unit_test(test_broken_frames_reset_the_stream),
        cmocka_unit_test(test_other_flags_beside_it),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_a_flood_through_small_mailboxes),
        cmocka_unit_test(test_one_mail_a_worker_and_tick),
        cmocka_unit_test(test_the_end_while_answers_are_out),
        cmocka_unit_test(test_a_flow_allocates_nothing),
        cmocka_unit_test(test_memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
