/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields that are truncated, oversized, empty, out of range or there twice, and the answer to each. A
 * message that is none ends its stream (docs/spec/wire.md 2); a message that asks for something that
 * cannot be is answered, and the stream goes on. Strangers and their tokens stand at the end.
 */
#include "broker_harness.h"
#include "unit.h"
#include "wire/ack.h"
#include "wire/code.h"
#include "wire/flags.h"

#include <stdio.h>

#define OF_DEMO    "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"demo\""
#define OF_PRIMARY "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"primary\""
#define SUBSCRIBE  "{\"type\":\"subscribe\"," OF_DEMO
#define PUBLISH    "{\"type\":\"publish\"," OF_DEMO ",\"ack\":\"per_message\""
#define READ       "{\"type\":\"stream_read\"," OF_DEMO ",\"shard\":0,\"request_id\":5"
#define BROKEN     "" /* the answer is the end of the stream */

typedef struct row {
    const char *name;
    const char *json;
    const char *answer;
} row;

static const row rows[] = {
    {"no bytes at all", "", BROKEN},
    {"white space", " ", BROKEN},
    {"no type", "{}", BROKEN},
    {"not an object", "[]", BROKEN},
    {"not UTF-8", "{\"type\":\"\xff\"}", BROKEN},
    {"cut in the middle", SUBSCRIBE, BROKEN},
    {"something behind it", SUBSCRIBE "}{}", BROKEN},
    {"a type that is a number", "{\"type\":5}", BROKEN},
    {"a field twice", SUBSCRIBE ",\"stream\":\"wide\"}", BROKEN},
    {"the type twice", "{\"type\":\"subscribe\",\"type\":\"auth\"," OF_DEMO "}", BROKEN},
    {"an unknown field, twice", SUBSCRIBE ",\"x\":1,\"x\":2}", "\"subscribed\""},
    {"a negative number", SUBSCRIBE ",\"shard\":-1}", BROKEN},
    {"a number above its type", SUBSCRIBE ",\"shard\":4294967296}", BROKEN},
    {"a number above 64 bits", SUBSCRIBE ",\"subscription_id\":18446744073709551616}", BROKEN},
    {"a fraction", PUBLISH ",\"payload\":\"YQ==\",\"request_id\":1.5}", BROKEN},
    {"the largest id", SUBSCRIBE ",\"subscription_id\":18446744073709551615}",
     "\"subscription_id\":18446744073709551615}"},
    {"a shard out of range", SUBSCRIBE ",\"shard\":4294967295}", "\"code\":\"invalid_request\""},
    {"a word there is not", SUBSCRIBE ",\"start\":\"yesterday\"}", BROKEN},
    {"an ack there is not",
     "{\"type\":\"publish\"," OF_DEMO ",\"ack\":\"often\",\"payload\":\"\",\"request_id\":1}",
     BROKEN},
    {"no room in the queue", SUBSCRIBE ",\"queue_capacity\":0}", "\"queue_capacity\":1}"},
    {"an empty stream",
     "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"\"}",
     "\"code\":\"forbidden\""},
    {"an empty tenant",
     "{\"type\":\"subscribe\",\"tenant_id\":\"\",\"namespace\":\"default\",\"stream\":\"demo\"}",
     "\"code\":\"forbidden\""},
    {"an empty namespace",
     "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"\",\"stream\":\"demo\"}",
     "\"code\":\"forbidden\""},
    {"a name with a NUL behind it",
     "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":"
     "\"demo\\u0000\"}",
     "\"code\":\"not_found\""},
    {"an empty payload is one", PUBLISH ",\"payload\":\"\",\"request_id\":1}", "\"publish_ok\""},
    {"no payload", PUBLISH ",\"request_id\":1}", BROKEN},
    {"null instead of a payload", PUBLISH ",\"payload\":null,\"request_id\":1}", BROKEN},
    {"base64 with a strange letter", PUBLISH ",\"payload\":\"!AAA\",\"request_id\":1}", BROKEN},
    {"base64 without its padding", PUBLISH ",\"payload\":\"YQ\",\"request_id\":1}", BROKEN},
    {"a batch of nothing",
     "{\"type\":\"publish_batch\"," OF_DEMO
     ",\"payloads\":[],\"ack\":\"per_batch\",\"request_id\":1}",
     "{\"type\":\"publish_ok\",\"request_id\":1}"},
    {"an empty key and value",
     "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"\",\"value\":\"\"}", "{\"type\":\"ok\"}"},
    {"no time to live",
     "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"k\",\"value\":\"\",\"ttl_ms\":0}",
     "{\"type\":\"ok\"}"},
    {"the longest time to live",
     "{\"type\":\"cache_put\"," OF_PRIMARY
     ",\"key\":\"k\",\"value\":\"\",\"ttl_ms\":18446744073709551615}",
     "{\"type\":\"ok\"}"},
    {"no records wanted", READ ",\"from\":0,\"max_records\":0}", "\"records\":[]"},
    {"an end before the beginning", READ ",\"from\":0,\"end\":0}", "\"records\":[]"},
    {"the last offset there can be", READ ",\"from\":18446744073709551615}",
     "\"code\":\"invalid_request\""},
    {"another tenant's stream",
     "{\"type\":\"stream_shards\",\"tenant_id\":\"t2\",\"namespace\":\"default\",\"stream\":"
     "\"demo\",\"request_id\":1}",
     "\"code\":\"forbidden\""},
    {"another tenant's cache",
     "{\"type\":\"cache_get\",\"tenant_id\":\"t2\",\"namespace\":\"default\",\"cache\":"
     "\"primary\",\"key\":\"k\"}",
     "\"code\":\"forbidden\""},
};

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        hx *h = hx_new(&(hx_options){0});
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_auth_as(s, FLX_FLAGS_ORIGINAL_V1, FLX_FEATURE_ERROR_CODES);
        hx_json(s, "%s", rows[i].json);
        assert_true(hx_run(h));
        const bool is_broken = rows[i].answer[0] == '\0';
        const char *answer = hx_read_json(s);
        assert_non_null(strstr(answer, rows[i].answer));
        assert_int_equal(hx_is_reset(s), is_broken);
        assert_true(!is_broken || answer[0] == '\0');
        assert_int_equal(hx_unconsumed(s), 0);
        hx_free(h);
    }
}

/* ---- binary ---- */

#define ACKED (FLX_FLAG_BINARY_PUBLISH_BATCH | FLX_FLAG_BINARY_PUBLISH_ACKED)

static size_t acked_batch(uint8_t to[256])
{
    uint8_t frame[256];
    const size_t len = hx_publish_frame(frame, sizeof frame, "demo", 9, 8, 2);
    memcpy(to, frame + 12, len - 12);
    return len - 12;
}

/* The batch as it should be, and each length of it that is too short. */
static void test_a_batch_cut_anywhere(void **state)
{
    (void)state;
    uint8_t batch[256];
    const size_t whole = acked_batch(batch);
    for (size_t len = 0; len <= whole; len++) {
        hx *h = hx_new(&(hx_options){0});
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_auth_as(s, 0x3f7f, FLX_FEATURE_ERROR_CODES);
        hx_frame(s, ACKED, batch, len);
        assert_true(hx_run(h));
        const hx_got got = hx_read(s);
        assert_true(got.is_frame);
        if (got.flags == 0) { /* too short for its id */
            assert_true(len < whole);
            assert_non_null(strstr((const char *)got.payload, "\"code\":\"invalid_request\""));
        } else {
            flx_publish_ack ack;
            assert_int_equal(
                flx_publish_ack_decode(got.flags, (flx_slice){got.payload, got.len}, &ack, NULL),
                FLX_OK);
            assert_int_equal(ack.request_id, 9);
            assert_int_equal(ack.ok, len == whole);
            assert_true(len == whole || ack.code == FLX_CODE_INVALID_REQUEST);
        }
        assert_false(hx_is_reset(s)); /* the envelope was right: the stream goes on */
        hx_free(h);
    }
}

/* Any one byte of the batch changed: refused on its id, or appended as it is; never worse. */
static void test_a_batch_with_one_byte_changed(void **state)
{
    (void)state;
    uint8_t batch[256];
    const size_t whole = acked_batch(batch);
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    for (size_t at = 0; at < whole; at++) {
        hx *h = hx_new(&(hx_options){0});
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_auth_as(s, 0x3f7f, FLX_FEATURE_ERROR_CODES);
        for (size_t i = 0; i < sizeof values; i++) {
            uint8_t changed[256];
            memcpy(changed, batch, whole);
            changed[at] = values[i];
            hx_frame(s, ACKED, changed, whole);
        }
        assert_true(hx_run(h));
        assert_int_equal(hx_unconsumed(s), 0);
        hx_free(h);
    }
}

static void test_frames_of_no_length(void **state)
{
    (void)state;
    static const uint16_t flags[] = {FLX_FLAG_BINARY_PUBLISH_BATCH, ACKED,
                                     FLX_FLAG_BINARY_PUBLISH_ACK, FLX_FLAG_BINARY_EVENT_BATCH,
                                     0x8000};
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth_as(s, 0x3f7f, FLX_FEATURE_ERROR_CODES);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        hx_frame(s, flags[i], NULL, 0);
        assert_true(hx_run(h));
        assert_non_null(strstr(hx_read_json(s), "\"code\":\"invalid_request\""));
    }
    assert_false(hx_is_reset(s));
    hx_free(h);
}

static void test_a_key_that_is_too_long(void **state)
{
    (void)state;
    static char key[70000];
    memset(key, 'k', sizeof key - 1);
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth_as(s, FLX_FLAGS_ORIGINAL_V1, FLX_FEATURE_ERROR_CODES);
    hx_json(s, "{\"type\":\"cache_get\"," OF_PRIMARY ",\"key\":\"%s\"}", key);
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "the key is too long\",\"code\":\"invalid_request\""));
    assert_false(hx_is_finished(s));
    hx_free(h);
}

/* ---- one-way streams: nobody hears an answer ---- */

static void test_bad_input_ends_a_one_way_stream(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t flags;
        const char *payload;
    } cases[] = {
        {"a request", 0, "{\"type\":\"stream_shards\"," OF_DEMO ",\"request_id\":1}"},
        {"what is no JSON", 0, "nonsense"},
        {"an unknown type", 0, "{\"type\":\"levitate\"}"},
        {"a batch that is none", FLX_FLAG_BINARY_PUBLISH_BATCH, "x"},
        {"unknown flags", 0x8000, "x"},
        {"flags that no client sends", FLX_FLAG_BINARY_PUBLISH_ACK, "x"},
        {"a second auth", 0, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"x\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("  %s\n", cases[i].name);
        hx *h = hx_new(&(hx_options){0});
        hx_stream *s = hx_open(hx_connect(h, 0), false);
        hx_auth(s);
        hx_frame(s, cases[i].flags, cases[i].payload, strlen(cases[i].payload));
        assert_true(hx_run(h));
        assert_true(hx_is_stopped(s));
        assert_int_equal(hx_bytes_out(s), 0);
        hx_publish(s, "demo", 0, NULL, "late", 1); /* was under way */
        assert_true(hx_run(h));
        assert_int_equal(hx_unconsumed(s), 0);
        assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 0))->published_records), 0);
        hx_free(h);
    }
}

static void test_what_a_one_way_stream_may_not_publish_is_counted(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), false);
    hx_json(s, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\"}", hx_token_bare(h));
    hx_publish(s, "demo", 0, NULL, "x", 3);
    assert_true(hx_run(h));
    assert_true(hx_is_stopped(s));
    const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(h, 0));
    assert_int_equal(flx_stat_get(&stats->dropped[FLX_DROP_REFUSED]), 3);
    hx_free(h);
}

/* ---- tokens ---- */

static void expect_refused(hx *h, const char *tenant, const char *token)
{
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_json(s,
            "{\"type\":\"auth\",\"tenant_id\":\"%s\",\"token\":\"%s\",\"client_flags\":7,"
            "\"client_features\":%u}",
            tenant, token, FLX_FEATURE_ERROR_CODES);
    hx_publish(s, "demo", 1, NULL, "x", 1); /* did not wait for the answer */
    assert_true(hx_run(h));
    assert_non_null(strstr(hx_read_json(s), "\"code\":\"unauthenticated\",\"retry\":\"fatal\""));
    assert_true(hx_is_finished(s));
    assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 0))->published_records), 0);
}

static void test_tokens(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    char token[2048];
    (void)snprintf(token, sizeof token, "%s", hx_token(h));
    const size_t len = strlen(token);
    token[len / 2] = token[len / 2] == 'A' ? 'B' : 'A';
    expect_refused(h, "t1", token); /* tampered */
    token[len / 2] = '.';
    expect_refused(h, "t1", token);
    (void)snprintf(token, sizeof token, "%s", hx_token(h));
    token[len - 1] = '\0';
    expect_refused(h, "t1", token); /* cut */
    expect_refused(h, "t2", hx_token(h));
    expect_refused(h, "", hx_token(h));
    expect_refused(h, "t1", hx_token_other(h));
    hx_auth(hx_open(hx_connect(h, 0), true)); /* remembered from here on */
    hx_advance_ms(h, UINT64_C(86400000) + 61000);
    expect_refused(h, "t1", hx_token(h)); /* expired, leeway and all */
    hx_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_a_batch_cut_anywhere),
        cmocka_unit_test(test_a_batch_with_one_byte_changed),
        cmocka_unit_test(test_frames_of_no_length),
        cmocka_unit_test(test_a_key_that_is_too_long),
        cmocka_unit_test(test_bad_input_ends_a_one_way_stream),
        cmocka_unit_test(test_what_a_one_way_stream_may_not_publish_is_counted),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
