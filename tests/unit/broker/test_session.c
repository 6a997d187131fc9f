/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client stream may say and what it hears: docs/spec/wire.md 1 (before authentication) and
 * 2 (broken input), row by row, and the negotiation.
 */
#include "broker_harness.h"
#include "unit.h"
#include "wire/flags.h"

#include <stdio.h>

#define CODES       FLX_FEATURE_ERROR_CODES
#define UNSUPPORTED FLX_FEATURE_UNSUPPORTED
#define OF_DEMO     "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"demo\""
#define OF_PRIMARY  "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"primary\""

static hx *one(void)
{
    return hx_new(&(hx_options){0});
}

/* ---- broken input: JSON ---- */

typedef enum ending { STAYS, FINISHED, RESET } ending;

typedef struct row {
    const char *name;
    bool authenticated;
    uint32_t features;
    const char *json;
    const char *answer; /* "" for none */
    ending ending;
} row;

static const row rows[] = {
    {"not json", true, CODES, "{nonsense", "", RESET},
    {"a field is missing", true, CODES, "{\"type\":\"subscribe\"}", "", RESET},
    {"unknown type, offered UNSUPPORTED", true, UNSUPPORTED,
     "{\"type\":\"levitate\",\"request_id\":4}",
     "{\"type\":\"unsupported\",\"request_type\":\"levitate\",\"request_id\":4}", STAYS},
    {"unknown type, not offered", true, CODES, "{\"type\":\"levitate\"}", "", FINISHED},
    {"extension", true, UNSUPPORTED, "{\"type\":\"extension\",\"name\":\"x\",\"request_id\":5}",
     "{\"type\":\"unsupported\",\"request_type\":\"extension\",\"extension\":\"x\",\"request_id\":"
     "5}",
     STAYS},
    {"a queue", true, UNSUPPORTED,
     "{\"type\":\"group_describe\"," OF_DEMO ",\"shard\":0,\"group\":\"g\",\"request_id\":6}",
     "{\"type\":\"unsupported\",\"request_type\":\"group_describe\",\"request_id\":6}", STAYS},
    {"topology on one node", true, UNSUPPORTED, "{\"type\":\"topology\"}",
     "{\"type\":\"unsupported\",\"request_type\":\"topology\"}", STAYS},
    {"what only a server sends", true, CODES, "{\"type\":\"ok\"}",
     "{\"type\":\"error\",\"message\":\"unexpected message type\",\"code\":\"invalid_request\","
     "\"retry\":\"fatal\"}",
     FINISHED},
    {"a client's error", true, CODES, "{\"type\":\"error\",\"message\":\"m\"}", "", FINISHED},
    {"a request before auth", false, 0, "{\"type\":\"topology\"}",
     "{\"type\":\"error\",\"message\":\"auth required\"}", FINISHED},
    {"an unknown request before auth", false, 0, "{\"type\":\"levitate\"}",
     "{\"type\":\"error\",\"message\":\"auth required\"}", FINISHED},
    {"a second auth", true, CODES, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"x\"}",
     "{\"type\":\"error\",\"message\":\"already authenticated\",\"code\":\"invalid_request\","
     "\"retry\":\"fatal\"}",
     FINISHED},
    {"another tenant", true, CODES,
     "{\"type\":\"subscribe\",\"tenant_id\":\"t2\",\"namespace\":\"default\",\"stream\":\"demo\"}",
     "{\"type\":\"error\",\"message\":\"permission denied\",\"code\":\"forbidden\",\"retry\":"
     "\"fatal\"}",
     FINISHED},
    {"an unknown cache", true, CODES,
     "{\"type\":\"cache_get\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"no\","
     "\"key\":\"k\"}",
     "{\"type\":\"error\",\"message\":\"cache not found\",\"code\":\"not_found\",\"retry\":"
     "\"retry_after\"}",
     FINISHED},
    {"publish to an unknown stream", true, CODES,
     "{\"type\":\"publish\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"no\","
     "\"payload\":\"\",\"request_id\":1,\"ack\":\"per_batch\"}",
     "{\"type\":\"publish_error\",\"request_id\":1,\"message\":\"stream not found\",\"code\":"
     "\"not_found\",\"retry\":\"retry_after\"}",
     STAYS},
    {"the same to a client without codes", true, 0,
     "{\"type\":\"publish\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"no\","
     "\"payload\":\"\",\"request_id\":1,\"ack\":\"per_batch\"}",
     "{\"type\":\"publish_error\",\"request_id\":1,\"message\":\"stream not found\"}", STAYS},
    {"acked publish elsewhere", true, CODES,
     "{\"type\":\"publish\",\"tenant_id\":\"t2\",\"namespace\":\"default\",\"stream\":\"demo\","
     "\"payload\":\"\",\"request_id\":1,\"ack\":\"per_batch\"}",
     "{\"type\":\"publish_error\",\"request_id\":1,\"message\":\"permission denied\",\"code\":"
     "\"forbidden\",\"retry\":\"fatal\"}",
     FINISHED},
    {"an ack mode without request id", true, CODES,
     "{\"type\":\"publish\"," OF_DEMO ",\"payload\":\"\",\"ack\":\"per_batch\"}",
     "{\"type\":\"error\",\"message\":\"missing "
     "request_id\",\"code\":\"invalid_request\",\"retry\":"
     "\"fatal\"}",
     STAYS},
    {"a shard there is not", true, CODES, "{\"type\":\"subscribe\"," OF_DEMO ",\"shard\":1}",
     "{\"type\":\"error\",\"message\":\"the stream has no such "
     "shard\",\"code\":\"invalid_request\","
     "\"retry\":\"fatal\"}",
     STAYS},
    {"an offset in the future", true, CODES,
     "{\"type\":\"subscribe\"," OF_DEMO ",\"start\":{\"offset\":9}}",
     "{\"type\":\"subscribe_cursor_error\",\"reason\":\"in_future\",\"requested\":9,\"available\":"
     "0}",
     STAYS},
};

static void check_ending(const hx_stream *s, ending expected)
{
    assert_int_equal(hx_is_reset(s), expected == RESET);
    assert_int_equal(hx_is_finished(s), expected == FINISHED);
    assert_int_equal(hx_is_stopped(s), expected != STAYS);
    assert_int_equal(hx_unconsumed(s), 0);
}

static void test_bad_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        hx *h = one();
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        if (rows[i].authenticated) {
            hx_auth_as(s, FLX_FLAGS_ORIGINAL_V1, rows[i].features);
        }
        hx_json(s, "%s", rows[i].json);
        assert_true(hx_run(h));
        assert_string_equal(hx_read_json(s), rows[i].answer);
        assert_string_equal(hx_read_json(s), "");
        check_ending(s, rows[i].ending);
        hx_free(h);
    }
}

/* ---- broken input: frames ---- */

static void test_broken_envelopes_reset_the_stream(void **state)
{
    (void)state;
    static const char *const broken[] = {"FLX2\0\1\0\0\0\0\0\2{}", "FLX1\0\2\0\0\0\0\0\2{}",
                                         "FLX1\0\1\0\0\1\0\0\1{}"};
    for (size_t i = 0; i < 3; i++) {
        hx *h = one();
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_auth(s);
        hx_send(s, broken[i], 14);
        assert_true(hx_run(h));
        assert_true(hx_is_reset(s));
        assert_true(hx_is_stopped(s));
        hx_free(h);
    }
}

static void test_unknown_flags_are_answered_and_skipped(void **state)
{
    (void)state;
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    hx_frame(s, 0x8000, "skip me", 7);
    hx_json(s, "{\"type\":\"stream_shards\"," OF_DEMO ",\"request_id\":1}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "unsupported frame flags"));
    assert_string_equal(hx_read_json(s),
                        "{\"type\":\"stream_shards_view\",\"shards\":1,\"request_id\":1}");
    hx_free(h);
}

static void test_malformed_batch_is_answered_on_its_id(void **state)
{
    (void)state;
    static const uint8_t acked[] = {0, 0, 0, 0, 0, 0, 0, 9, 2, 0, 99};
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    hx_frame(s, FLX_FLAG_BINARY_PUBLISH_BATCH | FLX_FLAG_BINARY_PUBLISH_ACKED, acked, sizeof acked);
    hx_frame(s, FLX_FLAG_BINARY_PUBLISH_BATCH, acked, sizeof acked);
    hx_frame(s, FLX_FLAG_BINARY_PUBLISH_ACK, acked, sizeof acked); /* only brokers send it */
    assert_true(hx_run(h));
    /* Messages other than answers are not held back behind answers. */
    assert_non_null(strstr(hx_read_json(s), "malformed publish batch"));
    assert_non_null(strstr(hx_read_json(s), "no client sends"));
    const hx_got ack = hx_read(s);
    assert_int_equal(ack.flags, FLX_FLAG_BINARY_PUBLISH_ACK);
    assert_int_equal(ack.payload[0], 1);
    assert_int_equal(ack.payload[8], 9);
    hx_free(h);
}

static void test_half_a_frame_at_the_end_resets(void **state)
{
    (void)state;
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    hx_send(s, "FLX1\0\1\0\0", 8);
    hx_fin(s);
    assert_true(hx_run(h));
    assert_true(hx_is_reset(s));
    hx_free(h);
}

static void test_bytes_may_come_one_by_one(void **state)
{
    (void)state;
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    char frame[2048];
    const int len =
        snprintf(frame + 12, sizeof frame - 12,
                 "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\"}", hx_token(h));
    memcpy(frame, "FLX1\0\1\0\0\0\0", 10);
    frame[10] = (char)(len >> 8);
    frame[11] = (char)len;
    for (int i = 0; i < len + 12; i++) {
        hx_send(s, frame + i, 1);
    }
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s), "{\"type\":\"ok\"}");
    hx_fin(s);
    assert_true(hx_run(h));
    assert_true(hx_is_finished(s));
    hx_free(h);
}

/* ---- authentication and negotiation ---- */

static void test_refused_tokens(void **state)
{
    (void)state;
    hx *h = one();
    const char *tokens[] = {"nonsense", hx_token_other(h), ""};
    for (size_t i = 0; i < 3; i++) {
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_json(s,
                "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\",\"client_flags\":7,"
                "\"client_features\":%u}",
                tokens[i], CODES);
        assert_true(hx_run(h));
        assert_non_null(
            strstr(hx_read_json(s), "\"code\":\"unauthenticated\",\"retry\":\"fatal\""));
        assert_true(hx_is_finished(s));
    }
    assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 0))->auth_failed), 3);
    hx_free(h);
}

static void test_negotiation(void **state)
{
    (void)state;
    static const uint16_t ports[] = {5000, 5002};
    hx *h = hx_new(&(hx_options){.listener_ports = ports, .listener_port_count = 2});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_json(s,
            "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\",\"client_flags\":255,"
            "\"client_features\":%u}",
            hx_token(h), FLX_FEATURE_PUBLISH_PIPELINE);
    assert_true(hx_run(h));
    const char *answer = hx_read_json(s);
    /* 0x7fff without owner hints, skipped offsets and publishers. */
    assert_non_null(strstr(answer, "{\"type\":\"auth_ok\",\"server_flags\":22399,"));
    assert_non_null(strstr(answer, "\"listener_ports\":[5000,5002],\"publish_window\":256}"));
    assert_null(strstr(answer, "server_features_hi"));
    hx_free(h);
}

/* ---- before authentication ---- */

static void test_large_frame_before_auth_ends_the_stream(void **state)
{
    (void)state;
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_send(s, "FLX1\0\1\0\0\0\1\0\1", 12); /* 65,537 bytes announced */
    assert_true(hx_run(h));
    assert_true(hx_is_reset(s));
    hx_free(h);
}

static void test_sixteen_unauthenticated_streams_are_read(void **state)
{
    (void)state;
    hx *h = one();
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *s[18];
    for (size_t i = 0; i < 18; i++) {
        s[i] = hx_open(conn, true);
    }
    hx_json(s[17], "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\"}", hx_token(h));
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s[17]), "");
    assert_true(hx_unconsumed(s[17]) > 0); /* it waits, it is not refused */
    hx_auth(s[0]);
    assert_string_equal(hx_read_json(s[17]), ""); /* number 16 came in, 17 not yet */
    hx_reset(s[1]);
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s[17]), "{\"type\":\"ok\"}");
    assert_int_equal(hx_unconsumed(s[17]), 0);
    hx_free(h);
}

static void test_silent_connections_are_closed(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    hx_conn *silent = hx_connect_from(h, 0, 1);
    hx_conn *pool = hx_connect_from(h, 1, 2); /* its client has another one, over there */
    hx_auth(hx_open(hx_connect_from(h, 0, 2), true));
    hx_advance_ms(h, 29999);
    assert_true(hx_run(h));
    assert_int_equal(hx_conn_closed(silent), 0);
    assert_int_equal(flx_worker_deadline_ns(hx_worker(h, 0)), UINT64_C(31000000000));
    hx_advance_ms(h, 1);
    assert_true(hx_run(h));
    assert_int_equal(hx_conn_closed(silent), 1 + 1);
    assert_int_equal(hx_conn_closed(pool), 0);
    hx_free(h);
}

static void test_exemption_ends_with_the_other_connection(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2});
    hx_conn *pool = hx_connect_from(h, 1, 2);
    hx_conn *other = hx_connect_from(h, 0, 2);
    hx_auth(hx_open(other, true));
    hx_disconnect(other);
    assert_true(hx_run(h));
    hx_advance_ms(h, 30000);
    assert_true(hx_run(h));
    assert_int_equal(hx_conn_closed(pool), 2);
    hx_free(h);
}

/* ---- one-way streams ---- */

static void test_one_way_stream_publishes_and_hears_nothing(void **state)
{
    (void)state;
    hx *h = one();
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *events = hx_subscribe(conn, "demo", "", 0x27, 0);
    hx_stream *s = hx_open(conn, false);
    hx_auth(s);
    hx_publish(s, "demo", 0, NULL, "one way", 1);
    hx_publish(s, "demo", 7, NULL, "asks in vain", 1);
    assert_true(hx_run(h));
    assert_string_equal(hx_next_event(events).text, "one way");
    assert_string_equal(hx_next_event(events).text, "asks in vain");
    assert_int_equal(hx_bytes_out(s), 0);
    hx_json(s, "{\"type\":\"topology\"}");
    assert_true(hx_run(h));
    assert_true(hx_is_stopped(s));
    hx_free(h);
}

/* ---- queries ---- */

static void test_queries(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"type\":\"stream_shards\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":"
         "\"no\",\"request_id\":1}",
         "{\"type\":\"stream_shards_view\",\"shards\":0,\"request_id\":1}"},
        {"{\"type\":\"cache_shards\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":"
         "\"cached\",\"request_id\":2}",
         "{\"type\":\"cache_shards_view\",\"shards\":4,\"request_id\":2}"},
        {"{\"type\":\"shard_owners\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"name\":"
         "\"demo\","
         "\"kind\":\"stream\",\"request_id\":3}",
         "{\"type\":\"shard_owners_view\",\"request_id\":3,\"owners\":[{\"shard\":0,\"generation\":"
         "0}]}"},
        {"{\"type\":\"offset_for_time\"," OF_DEMO ",\"shard\":0,\"at_micros\":0,\"request_id\":4}",
         "{\"type\":\"offset_value\",\"request_id\":4}"},
        {"{\"type\":\"stream_read\"," OF_DEMO ",\"shard\":0,\"from\":0,\"request_id\":5}",
         "{\"type\":\"stream_records\",\"records\":[],\"next_offset\":0,\"request_id\":5}"},
    };
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hx_json(s, "%s", cases[i][0]);
        assert_true(hx_run(h));
        assert_string_equal(hx_read_json(s), cases[i][1]);
    }
    hx_json(s, "{\"type\":\"shard_owners\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"name\":"
               "\"no\",\"kind\":\"cache\",\"request_id\":3}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "cache not found"));
    hx_free(h);
}

static void test_reading_history(void **state)
{
    (void)state;
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    hx_publish(s, "demo", 0, NULL, "a", 3);
    assert_true(hx_run(h));
    hx_advance_ms(h, 10);
    hx_publish(s, "demo", 0, NULL, "b", 1);
    assert_true(hx_run(h));
    hx_json(s, "{\"type\":\"stream_read\"," OF_DEMO
               ",\"shard\":0,\"from\":1,\"end\":3,\"request_id\":1}");
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s),
                        "{\"type\":\"stream_records\",\"records\":[{\"offset\":1,\"payload\":"
                        "\"YSsx\",\"timestamp_micros\":1700000000000000},{\"offset\":2,\"payload\":"
                        "\"YSsy\",\"timestamp_micros\":1700000000000000}],\"next_offset\":3,"
                        "\"request_id\":1}");
    hx_json(s, "{\"type\":\"stream_read\"," OF_DEMO
               ",\"shard\":0,\"from\":0,\"max_records\":1,\"request_id\":2}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "\"next_offset\":1,"));
    hx_json(s, "{\"type\":\"stream_read\"," OF_DEMO ",\"shard\":0,\"from\":9,\"request_id\":3}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "after the newest record"));
    hx_json(s,
            "{\"type\":\"offset_for_time\"," OF_DEMO
            ",\"shard\":0,\"at_micros\":%llu,\"request_id\":4}",
            (unsigned long long)hx_wall_us(h));
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s),
                        "{\"type\":\"offset_value\",\"offset\":3,\"request_id\":4}");
    hx_free(h);
}

/* ---- cache ---- */

static void test_cache_conditions(void **state)
{
    (void)state;
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth_as(s, 7, FLX_FEATURE_CACHE_CONDITIONAL);
    hx_json(s, "{\"type\":\"cache_put_if\"," OF_PRIMARY
               ",\"key\":\"k\",\"value\":\"YQ==\",\"condition\":\"absent\",\"request_id\":1}");
    assert_true(hx_run(h));
    const char *answer = hx_read_json(s);
    assert_non_null(strstr(answer, "\"applied\":true,\"version\":"));
    const unsigned long long version =
        strtoull(strstr(answer, "\"version\":") + strlen("\"version\":"), NULL, 10);
    hx_json(s, "{\"type\":\"cache_put_if\"," OF_PRIMARY
               ",\"key\":\"k\",\"value\":\"YQ==\",\"condition\":\"absent\",\"request_id\":2}");
    hx_json(s, "{\"type\":\"cache_get\"," OF_PRIMARY ",\"key\":\"k\",\"request_id\":3}");
    hx_json(s,
            "{\"type\":\"cache_delete_if\"," OF_PRIMARY
            ",\"key\":\"k\",\"version\":%llu,\"request_id\":4}",
            version);
    hx_json(s, "{\"type\":\"cache_delete\"," OF_PRIMARY ",\"key\":\"k\",\"request_id\":5}");
    hx_json(s, "{\"type\":\"cache_put\"," OF_PRIMARY
               ",\"key\":\"k\",\"value\":\"YQ==\",\"ttl_ms\":null,\"request_id\":6}");
    hx_json(s, "{\"type\":\"cache_delete\"," OF_PRIMARY ",\"key\":\"k\"}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "\"applied\":false,\"version\":"));
    char expected[256];
    (void)snprintf(expected, sizeof expected,
                   "\"value\":\"YQ==\",\"request_id\":3,\"version\":%llu}", version);
    assert_non_null(strstr(hx_read_json(s), expected));
    assert_non_null(strstr(hx_read_json(s), "\"applied\":true"));
    assert_non_null(strstr(hx_read_json(s), "\"value\":null,\"request_id\":5}"));
    assert_string_equal(hx_read_json(s), "{\"type\":\"cache_ok\",\"request_id\":6}");
    assert_non_null(strstr(hx_read_json(s), "\"value\":\"YQ==\"}"));
    hx_free(h);
}

/* ---- back-pressure and drain ---- */

static void test_answers_nobody_reads_stop_the_reading(void **state)
{
    (void)state;
    hx *h = one();
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    hx_stall(s, true);
    for (int i = 0; i < 20000; i++) {
        hx_json(s, "{\"type\":\"stream_shards\"," OF_DEMO ",\"request_id\":1}");
    }
    assert_true(hx_queued(s) < (2u << 20));
    assert_true(hx_unconsumed(s) > 0);
    hx_stall(s, false);
    assert_true(hx_run(h));
    assert_int_equal(hx_unconsumed(s), 0);
    for (int i = 0; i < 20000; i++) {
        assert_true(hx_read(s).is_frame);
    }
    hx_free(h);
}

static void test_drain(void **state)
{
    (void)state;
    hx *h = one();
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *s = hx_open(conn, true);
    hx_auth_as(s, 7, CODES);
    hx_publish(s, "demo", 1, NULL, "before", 1);
    flx_worker_drain(hx_worker(h, 0));
    assert_false(flx_worker_is_drained(hx_worker(h, 0)));
    hx_publish(s, "demo", 2, NULL, "after", 1);
    assert_true(hx_run(h));
    assert_true(flx_worker_is_drained(hx_worker(h, 0)));
    assert_int_equal(hx_read(s).payload[0], 0);
    assert_int_equal(hx_read(s).payload[0], 1);
    assert_null(hx_connect(h, 0));
    hx_stream *late = hx_open(conn, true);
    hx_json(late, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"x\",\"client_features\":%u}",
            CODES);
    hx_stream *deaf = hx_open(conn, true);
    hx_json(deaf, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"x\"}");
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(late), "\"code\":\"draining\",\"retry\":\"retry\""));
    assert_string_equal(hx_read_json(deaf), "");
    flx_worker_close_all(hx_worker(h, 0));
    assert_int_equal(hx_conn_closed(conn), 0 + 1);
    hx_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_broken_envelopes_reset_the_stream),
        cmocka_unit_test(test_unknown_flags_are_answered_and_skipped),
        cmocka_unit_test(test_malformed_batch_is_answered_on_its_id),
        cmocka_unit_test(test_half_a_frame_at_the_end_resets),
        cmocka_unit_test(test_bytes_may_come_one_by_one),
        cmocka_unit_test(test_refused_tokens),
        cmocka_unit_test(test_negotiation),
        cmocka_unit_test(test_large_frame_before_auth_ends_the_stream),
        cmocka_unit_test(test_sixteen_unauthenticated_streams_are_read),
        cmocka_unit_test(test_silent_connections_are_closed),
        cmocka_unit_test(test_exemption_ends_with_the_other_connection),
        cmocka_unit_test(test_one_way_stream_publishes_and_hears_nothing),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_reading_history),
        cmocka_unit_test(test_cache_conditions),
        cmocka_unit_test(test_answers_nobody_reads_stop_the_reading),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
