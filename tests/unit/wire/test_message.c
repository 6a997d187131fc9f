/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: what input may look like, each reason to refuse it, unknown types, limits, memory. */
#include "common/alloc.h"
#include "unit.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <stdio.h>

#define ARENA_BYTES (8 << 20)

/* Decodes a copy that ends where the text ends. The copy lives until the next call. */
static flx_status decode_bytes(flx_arena *arena, const char *text, size_t len, flx_msg *ret_msg,
                               flx_error *reterr)
{
    static uint8_t *copy;
    free(copy);
    copy = NULL;
    if (text == NULL) {
        return FLX_OK;
    }
    copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    return flx_msg_decode(arena, copy, len, ret_msg, reterr);
}

static flx_status decode(flx_arena *arena, const char *text, flx_msg *ret_msg, flx_error *reterr)
{
    return decode_bytes(arena, text, strlen(text), ret_msg, reterr);
}

static int with_arena(void **state)
{
    static flx_arena arena;
    flx_arena_init(&arena, ARENA_BYTES);
    *state = &arena;
    return 0;
}

static int without_arena(void **state)
{
    (void)decode_bytes(NULL, NULL, 0, NULL, NULL);
    flx_arena_done(*state);
    return 0;
}

#define GET "\"tenant_id\":\"t\",\"namespace\":\"n\",\"cache\":\"c\",\"key\":\"k\""

#define KEY_FIRST "\"key\":\"\\u006b\",\"cache\":\"c\",\"namespace\":\"n\",\"tenant_id\":\"t\""

static void input_in_any_shape(void **state)
{
    static const char *const rows[] = {
        "{\"type\":\"cache_get\"," GET ",\"request_id\":7}",
        "{\"request_id\":7," GET ",\"type\":\"cache_get\"}",
        "{" GET ",\"type\":\"cache_get\",\"request_id\":7}",
        "  {\n\"type\" :\t\"cache_get\" , " GET " ,\"request_id\": 7 }\r\n",
        "{\"type\":\"cache_get\",\"new\":{\"type\":\"x\",\"a\":[1,2.5,{}]}," GET
        ",\"request_id\":7,\"zzz\":null}",
        "{\"t\\u0079pe\":\"cache_get\"," GET ",\"request_id\":7}",
        "{\"type\":\"cache\\u005fget\"," GET ",\"request_id\":7}",
        "{\"type\":\"cache_get\",\"request\\u005fid\":7," GET "}",
        "{\"type\":\"cache_get\"," KEY_FIRST ",\"request_id\":7}",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_msg msg;
        flx_error error;
        if (decode(*state, rows[i], &msg, &error) != FLX_OK) {
            fail_msg("%s: %s", rows[i], error.message);
        }
        assert_int_equal(msg.type, FLX_MSG_CACHE_GET);
        assert_true(flx_slice_is(msg.cache_get.tenant_id, "t") &&
                    flx_slice_is(msg.cache_get.namespace_, "n"));
        assert_true(flx_slice_is(msg.cache_get.cache, "c") && flx_slice_is(msg.cache_get.key, "k"));
        assert_true(msg.cache_get.has_request_id && msg.cache_get.request_id == 7);
    }
}

static void absent_and_null_are_the_same(void **state)
{
    static const char *const rows[] = {
        "{\"type\":\"subscribe\",\"tenant_id\":\"t\",\"namespace\":\"n\",\"stream\":\"s\"}",
        "{\"type\":\"subscribe\",\"tenant_id\":\"t\",\"namespace\":\"n\",\"stream\":\"s\","
        "\"subscription_id\":null,\"start\":null,\"shard\":null,\"queue_capacity\":null}",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_msg msg;
        assert_int_equal(decode(*state, rows[i], &msg, NULL), FLX_OK);
        assert_false(msg.subscribe.has_subscription_id || msg.subscribe.has_start);
        assert_false(msg.subscribe.has_shard || msg.subscribe.has_queue_capacity);
    }
    flx_msg msg;
    assert_int_equal(decode(*state, "{\"type\":\"cache_value\"," GET "}", &msg, NULL), FLX_OK);
    assert_false(msg.cache_value.has_value);
    assert_int_equal(decode(*state, "{\"type\":\"cache_put\"," GET ",\"value\":\"\"}", &msg, NULL),
                     FLX_OK);
    assert_false(msg.cache_put.has_ttl_ms);
    assert_int_equal(
        decode(*state, "{\"type\":\"extension\",\"name\":\"x\",\"body\":null}", &msg, NULL),
        FLX_OK);
    assert_false(msg.extension.has_body);
    assert_int_equal(decode(*state,
                            "{\"type\":\"auth_ok\",\"server_flags\":1,\"listener_ports\":null}",
                            &msg, NULL),
                     FLX_OK);
    assert_int_equal(msg.auth_ok.listener_ports_count, 0);
}

static void defaults(void **state)
{
    flx_msg msg;
    assert_int_equal(
        decode(*state, "{\"type\":\"cache_event\",\"key\":\"k\",\"offset\":3}", &msg, NULL),
        FLX_OK);
    assert_false(msg.cache_event.has_value);
    assert_int_equal(msg.cache_event.expires_at_millis, 0);
    assert_int_equal(decode(*state,
                            "{\"type\":\"cache_watch_started\",\"subscription_id\":1,"
                            "\"resume_offset\":2}",
                            &msg, NULL),
                     FLX_OK);
    assert_false(msg.cache_watch_started.resnapshot);
    assert_int_equal(decode(*state,
                            "{\"type\":\"commit\",\"tenant_id\":\"t\",\"namespace\":\"n\","
                            "\"stream\":\"s\",\"entity_key\":\"\",\"event\":\"\","
                            "\"request_id\":1}",
                            &msg, NULL),
                     FLX_OK);
    assert_int_equal(msg.commit.changes_count, 0);
}

static void values_are_taken_out_of_their_dress(void **state)
{
    flx_msg msg;
    assert_int_equal(
        decode(*state,
               "{\"type\":\"publish\",\"tenant_id\":\"t\\u0000\",\"namespace\":\"\\ud834\\udd1e\","
               "\"stream\":\"a\\/b\",\"payload\":\"AAEC\\/w==\",\"key\":\"\",\"ack\":"
               "\"per_batch\"}",
               &msg, NULL),
        FLX_OK);
    assert_int_equal(msg.publish.tenant_id.len, 2);
    assert_true(flx_slice_is(msg.publish.namespace_, "\xf0\x9d\x84\x9e"));
    assert_true(flx_slice_is(msg.publish.stream, "a/b"));
    assert_int_equal(msg.publish.payload.len, 4);
    assert_memory_equal(msg.publish.payload.ptr, "\x00\x01\x02\xff", 4);
    assert_true(msg.publish.has_key && msg.publish.key.len == 0);
    assert_true(msg.publish.has_ack && msg.publish.ack == FLX_ACK_PER_BATCH);
    assert_int_equal(decode(*state,
                            "{\"type\":\"extension\",\"name\":\"x\",\"body\": {\"a\" : [1]} }",
                            &msg, NULL),
                     FLX_OK);
    assert_true(flx_slice_is(msg.extension.body, "{\"a\" : [1]}")); /* as it came */
}

#define STREAM "\"tenant_id\":\"t\",\"namespace\":\"n\",\"stream\":\"s\""
#define REFUSED(reason)                                                                            \
    "{\"type\":\"publish_refused\",\"request_id\":1,\"message\":\"m\",\"reason\":" reason "}"
#define COMMIT(changes)                                                                            \
    "{\"type\":\"commit\"," STREAM ",\"entity_key\":\"\",\"event\":\"\",\"request_id\":1,"         \
    "\"changes\":" changes "}"

static void refused_input(void **state)
{
    static const struct {
        const char *text;
        const char *why; /* part of the message */
    } rows[] = {
        {"", "an object is expected"},
        {"null", "an object is expected"},
        {"[]", "an object is expected"},
        {"{}", "no type"},
        {"{\"request_id\":1}", "no type"},
        {"{\"type\":1}", "not a string"},
        {"{\"type\":null}", "not a string"},
        {"{\"type\":\"ok\"", "a comma or the end"},
        {"{\"type\":\"ok\"}{", "text after the end"},
        {"{\"type\":\"ok\"} x", "text after the end"},
        {"{\"type\":\"ok\",}", "a string is expected"},
        {"{\"type\":\"ok\",\"type\":\"ok\"}", "'type': there twice"},
        {"{\"a\":1,\"type\":\"ok\",\"type\":\"ok\"}", "'type': there twice"},
        {"{\"type\":\"ok\",\"x\":\"\xff\"}", "bad UTF-8"},
        {"{\"type\":\"cache_ok\"}", "'request_id': missing"},
        {"{\"type\":\"cache_ok\",\"request_id\":null}", "'request_id': a whole number"},
        {"{\"type\":\"cache_ok\",\"request_id\":\"1\"}", "a whole number is expected"},
        {"{\"type\":\"cache_ok\",\"request_id\":-1}", "a whole number is expected"},
        {"{\"type\":\"cache_ok\",\"request_id\":1.0}", "not whole"},
        {"{\"type\":\"cache_ok\",\"request_id\":18446744073709551616}", "out of range"},
        {"{\"type\":\"cache_ok\",\"request_id\":1,\"request_id\":1}", "'request_id': there twice"},
        {"{\"type\":\"auth\",\"token\":\"x\"}", "'tenant_id': missing"},
        {"{\"type\":\"auth\",\"tenant_id\":\"t\",\"token\":null}", "'token': a string"},
        {"{\"type\":\"auth\",\"tenant_id\":\"t\",\"token\":\"\",\"client_flags\":65536}",
         "'client_flags': a number is out of range"},
        {"{\"type\":\"auth\",\"tenant_id\":\"t\",\"token\":\"\",\"client_features\":4294967296}",
         "'client_features': a number is out of range"},
        {"{\"type\":\"auth_ok\",\"server_flags\":1,\"listener_ports\":[1,65536]}", "out of range"},
        {"{\"type\":\"auth_ok\",\"server_flags\":1,\"listener_ports\":[1,]}", "a whole number"},
        {"{\"type\":\"auth_ok\",\"server_flags\":1,\"listener_ports\":1}", "an array is expected"},
        {"{\"type\":\"auth_ok\",\"server_flags\":1,\"listener_ports\":[1", "a comma or the end"},
        {"{\"type\":\"error\",\"message\":\"m\",\"detail\":1}", "an object is expected"},
        {"{\"type\":\"error\",\"message\":\"m\",\"detail\":{\"reason\":1}}", "'reason': a string"},
        {"{\"type\":\"publish\"," STREAM ",\"payload\":\"a\"}", "'payload': bad base64"},
        {"{\"type\":\"publish\"," STREAM ",\"payload\":\"\",\"ack\":\"maybe\"}", "its words"},
        {"{\"type\":\"publish\"," STREAM ",\"payload\":\"\",\"ack\":1}", "a string is expected"},
        {"{\"type\":\"publish_batch\"," STREAM ",\"payloads\":[\"YQ==\",null]}", "base64 string"},
        {"{\"type\":\"publish_batch\"," STREAM ",\"payloads\":null}", "an array is expected"},
        {"{\"type\":\"counter_value\",\"value\":9223372036854775808,\"request_id\":1}",
         "out of range"},
        {"{\"type\":\"group_position\",\"offset\":1,\"moved\":0,\"request_id\":1}",
         "true or false"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":\"now\"}", "its cases"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":1}", "a string is expected"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":{}}", "an empty case"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":{\"latest\":1}}", "its cases"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":\"offset\"}", "its cases"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":{\"offset\":\"1\"}}", "a whole number"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":{\"offset\":1,\"x\":2}}", "more than one"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":{\"offset\":1", "a comma or the end"},
        {"{\"type\":\"subscribe\"," STREAM ",\"start\":{1}}", "a string is expected"},
        {"{\"type\":\"cache_put_if\"," GET ",\"value\":\"\",\"condition\":\"there\","
         "\"request_id\":1}",
         "its cases"},
        {"{\"type\":\"cache_put_if\"," GET ",\"value\":\"\",\"condition\":7,\"request_id\":1}",
         "a string is expected"},
        {"{\"type\":\"cache_put_if\"," GET ",\"value\":\"\",\"condition\":{\"absent\":1},"
         "\"request_id\":1}",
         "its cases"},
        {REFUSED("1"), "a string is expected"},
        {REFUSED("\"sequence_gap\""), "its cases"},
        {REFUSED("{\"unknown_producer\":1}"), "its cases"},
        {REFUSED("{\"sequence_gap\":1}"), "an object is expected"},
        {REFUSED("{\"sequence_gap\":{}}"), "missing"},
        {REFUSED("{\"sequence_gap\":{\"tail\":1}}"), "missing"},
        {REFUSED("{\"sequence_gap\":{\"expected\":1,\"expected\":2}}"), "there twice"},
        {REFUSED("{\"sequence_gap\":{\"expected\":\"1\"}}"), "a whole number"},
        {REFUSED("{\"sequence_gap\":{\"x\":tru}}"), "true or false"},
        {REFUSED("{\"sequence_gap\":{\"expected\":1"), "a comma or the end"},
        {REFUSED("{\"sequence_gap\":{\"expected\":1},\"x\":1}"), "more than one"},
        {REFUSED("{\"not_leader\":1}"), "an object is expected"},
        {REFUSED("{\"not_leader\":{}}"), "missing"},
        {REFUSED("{\"not_leader\":{\"addr\":\"a\"}}"), "missing"},
        {REFUSED("{\"not_leader\":{\"node_id\":1}}"), "a string is expected"},
        {REFUSED("{\"not_leader\":{\"node_id\":\"n\",\"node_id\":\"n\"}}"), "there twice"},
        {REFUSED("{\"not_leader\":{\"node_id\":\"n\",\"addr\":\"a\",\"addr\":\"a\"}}"),
         "there twice"},
        {REFUSED("{\"not_leader\":{\"node_id\":\"n\""), "a comma or the end"},
        {COMMIT("{}"), "an array is expected"},
        {COMMIT("[1]"), "an object is expected"},
        {COMMIT("[{\"op\":\"move\",\"key\":\"k\"}]"), "its words"},
        {COMMIT("[{\"op\":\"put\",\"key\":\"k\"}]"), "a put has a value"},
        {COMMIT("[{\"op\":\"delete\",\"key\":\"k\",\"value\":\"\"}]"), "a put has a value"},
        {COMMIT("[{\"op\":\"delete\"}]"), "'key': missing"},
        {"{\"type\":\"extension\",\"name\":\"x\",\"body\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}",
         "nested too deep"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_msg msg;
        flx_error error = {0};
        const flx_status status = decode(*state, rows[i].text, &msg, &error);
        if (status != FLX_ERR_PROTOCOL || strstr(error.message, rows[i].why) == NULL) {
            fail_msg("%s: %d %s", rows[i].text, (int)status, error.message);
        }
        assert_int_equal(decode(*state, rows[i].text, &msg, NULL), FLX_ERR_PROTOCOL);
    }
}

static void refusals_tolerate_new_members(void **state)
{
    flx_msg msg;
    assert_int_equal(
        decode(*state, REFUSED("{\"sequence_gap\":{\"new\":1,\"expected\":4}}"), &msg, NULL),
        FLX_OK);
    assert_int_equal(msg.publish_refused.reason.expected, 4);
    assert_int_equal(
        decode(*state, REFUSED("{\"not_leader\":{\"new\":{},\"node_id\":\"n\",\"addr\":null}}"),
               &msg, NULL),
        FLX_OK);
    assert_false(msg.publish_refused.reason.has_addr);
    assert_int_equal(decode(*state, REFUSED("{\"not_leader\":{\"new\":tru}}"), &msg, NULL),
                     FLX_ERR_PROTOCOL);
}

static void unknown_types_can_be_answered(void **state)
{
    static const struct {
        const char *text;
        const char *type;
        bool has_request_id;
        uint64_t request_id;
    } rows[] = {
        {"{\"type\":\"rename\"}", "rename", false, 0},
        {"{\"type\":\"rename\",\"request_id\":9}", "rename", true, 9},
        {"{\"request_id\":18446744073709551615,\"x\":{\"request_id\":1},\"type\":\"rename\"}",
         "rename", true, UINT64_MAX},
        {"{\"type\":\"rename\",\"request_id\":-9}", "rename", false, 0},
        {"{\"type\":\"rename\",\"request_id\":\"9\"}", "rename", false, 0},
        {"{\"type\":\"rename\",\"request_id\":null}", "rename", false, 0},
        {"{\"type\":\"re\\u006eame\"}", "rename", false, 0},
        {"{\"type\":\"\"}", "", false, 0},
        {"{\"type\":\"OK\"}", "OK", false, 0},
        {"{\"type\":\"unknown\"}", "unknown", false, 0},
        {"{\"type\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_msg msg;
        flx_error error;
        assert_int_equal(decode(*state, rows[i].text, &msg, &error), FLX_ERR_UNSUPPORTED);
        assert_int_equal(msg.type, FLX_MSG_UNKNOWN);
        assert_true(flx_slice_is(msg.unknown.type_name, rows[i].type));
        assert_int_equal(msg.unknown.has_request_id, rows[i].has_request_id);
        assert_true(!rows[i].has_request_id || msg.unknown.request_id == rows[i].request_id);
    }
    flx_msg msg;
    assert_int_equal(decode(*state, "{\"type\":\"rename\",\"x\":}", &msg, NULL), FLX_ERR_PROTOCOL);
    assert_int_equal(decode(*state, "{\"type\":\"rename\"} 1", &msg, NULL), FLX_ERR_PROTOCOL);
}

static void every_name_finds_its_type(void **state)
{
    (void)state;
    for (int type = FLX_MSG_UNKNOWN + 1; type < FLX_MSG_TYPE_END; type++) {
        const char *name = flx_msg_name((flx_msg_type)type);
        const flx_slice slice = flx_slice_of(name);
        if (flx_msg_find(slice) != (flx_msg_type)type) {
            fail_msg("%s", name);
        }
    }
    assert_string_equal(flx_msg_name(FLX_MSG_UNKNOWN), "unknown");
    assert_int_equal(flx_msg_find((flx_slice){NULL, 0}), FLX_MSG_UNKNOWN);
}

static void each_side_has_its_messages(void **state)
{
    (void)state;
    assert_true(flx_msg_may_send(FLX_MSG_PUBLISH, FLX_DIR_CLIENT));
    assert_false(flx_msg_may_send(FLX_MSG_PUBLISH, FLX_DIR_BROKER));
    assert_false(flx_msg_may_send(FLX_MSG_ERROR, FLX_DIR_CLIENT));
    assert_true(flx_msg_may_send(FLX_MSG_EXTENSION, FLX_DIR_CLIENT));
    assert_true(flx_msg_may_send(FLX_MSG_EXTENSION, FLX_DIR_BROKER));
    assert_int_equal(flx_msg_sender(FLX_MSG_UNKNOWN), FLX_DIR_BOTH);
}

/* ---- limits and memory ---- */

/* {"type":"publish_batch",..., "payloads":["","",...]} with `count` items. */
static size_t make_batch(char *text, size_t count)
{
    static const char head[] = "{\"type\":\"publish_batch\"," STREAM ",\"payloads\":[";
    memcpy(text, head, sizeof head - 1);
    size_t len = sizeof head - 1;
    for (size_t i = 0; i < count; i++) {
        memcpy(text + len, i == 0 ? "\"\"" : ",\"\"", 3);
        len += i == 0 ? 2 : 3;
    }
    memcpy(text + len, "]}", 2);
    return len + 2;
}

static void lists_are_bounded(void **state)
{
    flx_arena *arena = *state;
    char *text = malloc((FLX_MSG_LIST_COUNT_MAX + 1) * 3 + 200);
    assert_non_null(text);
    flx_msg msg;
    size_t len = make_batch(text, FLX_MSG_LIST_COUNT_MAX);
    assert_int_equal(decode_bytes(arena, text, len, &msg, NULL), FLX_OK);
    assert_int_equal(msg.publish_batch.payloads_count, FLX_MSG_LIST_COUNT_MAX);
    len = make_batch(text, FLX_MSG_LIST_COUNT_MAX + 1);
    flx_arena_reset(arena);
    assert_int_equal(decode_bytes(arena, text, len, &msg, NULL), FLX_ERR_TOO_LARGE);

    flx_arena small;
    flx_arena_init(&small, 4096);
    len = make_batch(text, 200);
    assert_int_equal(decode_bytes(&small, text, len, &msg, NULL), FLX_ERR_TOO_LARGE);
    flx_arena_reset(&small);
    len = make_batch(text, 100);
    assert_int_equal(decode_bytes(&small, text, len, &msg, NULL), FLX_OK);
    flx_arena_done(&small);
    free(text);
}

static void steady_state_allocates_nothing(void **state)
{
    flx_arena *arena = *state;
    char text[4096];
    uint8_t out[4096];
    uint64_t before = 0;
    for (int i = 0; i < 20; i++) {
        flx_msg msg;
        flx_writer writer;
        if (i == 5) { /* the arena has found its size */
            before = flx_alloc_count();
        }
        const size_t len = make_batch(text, 300);
        flx_arena_reset(arena);
        assert_int_equal(flx_msg_decode(arena, (uint8_t *)text, len, &msg, NULL), FLX_OK);
        flx_writer_init(&writer, out, sizeof out);
        flx_msg_encode_frame(&msg, &writer);
        assert_true(flx_writer_fits(&writer));
    }
    assert_true(flx_alloc_count() == before);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    char text[4096];
    int failures = 0;
    for (uint64_t nth = 1;; nth++) {
        flx_arena arena;
        flx_msg msg;
        flx_chunk *chunk = NULL;
        flx_range range = {NULL, 0, 0};
        const size_t len = make_batch(text, 500);
        flx_arena_init(&arena, ARENA_BYTES);
        flx_alloc_fail_nth(nth);
        flx_status status = flx_msg_decode(&arena, (uint8_t *)text, len, &msg, NULL);
        if (status == FLX_OK) {
            status = flx_msg_append_frame(&msg, &chunk, 100, &range, NULL);
        }
        const int failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        (void)flx_chunk_unref(range.chunk);
        (void)flx_chunk_unref(chunk);
        flx_arena_done(&arena);
        if (!failed) {
            assert_int_equal(status, FLX_OK);
            break;
        }
        assert_int_equal(status, FLX_ERR_NOMEM);
        failures++;
    }
    assert_in_range(failures, 3, 20);
}

static void frames_are_appended_to_a_chunk(void **state)
{
    (void)state;
    flx_chunk *chunk = NULL;
    flx_range ranges[3];
    flx_msg msg = {.type = FLX_MSG_CACHE_OK};
    msg.cache_ok.request_id = 5;
    const size_t bytes = flx_msg_frame_bytes(&msg);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(flx_msg_append_frame(&msg, &chunk, 2 * bytes, &ranges[i], NULL), FLX_OK);
        assert_int_equal(flx_range_len(&ranges[i]), bytes);
    }
    assert_ptr_equal(ranges[0].chunk, ranges[1].chunk); /* two fit ... */
    assert_int_equal(ranges[1].start, bytes);
    assert_ptr_not_equal(ranges[1].chunk, ranges[2].chunk); /* ... the third begins a new one */
    assert_ptr_equal(ranges[2].chunk, chunk);
    assert_int_equal(chunk->len, bytes);
    const flx_slice first = flx_range_slice(&ranges[0]);
    const flx_slice third = flx_range_slice(&ranges[2]);
    assert_memory_equal(first.ptr, third.ptr, bytes);
    for (size_t i = 0; i < 3; i++) {
        (void)flx_chunk_unref(ranges[i].chunk);
    }
    (void)flx_chunk_unref(chunk);
}

static void frame_above_the_limit_is_not_made(void **state)
{
    (void)state;
    uint8_t *payload = calloc(1, 13 << 20);
    assert_non_null(payload);
    flx_chunk *chunk = NULL;
    flx_range range;
    flx_msg msg = {.type = FLX_MSG_CACHE_VALUE};
    memset(&msg.cache_value, 0, sizeof msg.cache_value);
    msg.cache_value.has_value = true;
    msg.cache_value.value = (flx_slice){payload, 13 << 20};
    assert_int_equal(flx_msg_append_frame(&msg, &chunk, 100, &range, NULL), FLX_ERR_TOO_LARGE);
    assert_null(chunk);
    free(payload);
}

static void frame_that_does_not_fit_is_only_counted(void **state)
{
    (void)state;
    flx_msg msg = {.type = FLX_MSG_CACHE_OK};
    msg.cache_ok.request_id = 5;
    const size_t bytes = flx_msg_frame_bytes(&msg);
    for (size_t cap = 0; cap < bytes; cap++) {
        uint8_t *out = malloc(cap + 1);
        assert_non_null(out);
        flx_writer writer;
        flx_writer_init(&writer, out, cap);
        flx_msg_encode_frame(&msg, &writer);
        assert_false(flx_writer_fits(&writer));
        assert_int_equal(writer.len, bytes);
        free(out);
    }
}

static void arena_keeps_what_it_gave(void **state)
{
    (void)state;
    flx_arena arena;
    flx_arena_init(&arena, 10000);
    uint8_t *first = flx_arena_alloc(&arena, 100);
    assert_non_null(first);
    memset(first, 1, 100);
    assert_ptr_equal(flx_arena_extend(&arena, first, 100, 200), first); /* in place */
    uint8_t *second = flx_arena_alloc(&arena, 100);
    assert_non_null(second);
    memset(second, 2, 100);
    uint8_t *moved = flx_arena_extend(&arena, first, 200, 3000); /* not the newest any more */
    assert_non_null(moved);
    assert_ptr_not_equal(moved, first);
    assert_int_equal(moved[99], 1);
    assert_int_equal(second[0], 2);
    assert_int_equal((uintptr_t)moved % 16, 0);
    assert_null(flx_arena_alloc(&arena, 10001));
    assert_true(arena.at_bound);
    assert_null(flx_arena_alloc(&arena, 9000));
    assert_true(arena.at_bound);
    flx_arena_reset(&arena);
    assert_in_range(arena.bytes, 3000, 10000);
    flx_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_in_any_shape),
        cmocka_unit_test(absent_and_null_are_the_same),
        cmocka_unit_test(defaults),
        cmocka_unit_test(values_are_taken_out_of_their_dress),
        cmocka_unit_test(refused_input),
        cmocka_unit_test(refusals_tolerate_new_members),
        cmocka_unit_test(unknown_types_can_be_answered),
        cmocka_unit_test(every_name_finds_its_type),
        cmocka_unit_test(each_side_has_its_messages),
        cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(steady_state_allocates_nothing),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(frames_are_appended_to_a_chunk),
        cmocka_unit_test(frame_above_the_limit_is_not_made),
        cmocka_unit_test(frame_that_does_not_fit_is_only_counted),
        cmocka_unit_test(arena_keeps_what_it_gave),
    };
    return cmocka_run_group_tests(tests, with_arena, without_arena);
}
