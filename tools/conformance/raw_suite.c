/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_suite.c - the protocol frame by frame: the walk of an old client, then every kind of bad input
 * with the answer it must get (docs/spec/wire.md 2; the list is in docs/spec/conformance.md).
 */
#include "suite.h"
#include "wire/ack.h"
#include "wire/event.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/publish.h"
#include "wire/records.h"
#include "words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

check_result check_fail(check_suite *suite, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(suite->why, sizeof suite->why, format, args);
    va_end(args);
    return CHECK_FAIL;
}

check_result check_skip(check_suite *suite, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(suite->why, sizeof suite->why, format, args);
    va_end(args);
    return CHECK_SKIP;
}

static void send_auth(const check_suite *suite, raw_stream *stream, bool negotiate)
{
    flx_msg msg = {.type = FLX_MSG_AUTH};
    msg.auth.tenant_id = flx_slice_of(suite->target->tenant);
    msg.auth.token = flx_slice_of(suite->target->token);
    if (negotiate) {
        msg.auth.has_client_flags = true;
        msg.auth.client_flags =
            FLX_FLAGS_KNOWN & ~FLX_FLAG_EVENT_BATCH_PUBLISHER & ~FLX_FLAG_EVENT_BATCH_TIMESTAMPS;
        msg.auth.has_client_features = true;
        msg.auth.client_features = FLX_FEATURE_ERROR_CODES | FLX_FEATURE_UNSUPPORTED |
                                   FLX_FEATURE_SUBSCRIPTION_LAGGED | FLX_FEATURE_CACHE_CONDITIONAL;
    }
    raw_send_msg(stream, &msg);
}

/* A connection and an authenticated stream on it. */
static check_result begin(check_suite *suite, bool negotiate, raw_client **ret_client,
                          raw_stream **ret_stream)
{
    flx_error error;
    raw_frame frame;
    if (raw_connect(suite->target, NULL, ret_client, &error) != FLX_OK) {
        return check_fail(suite, "%s", error.message);
    }
    *ret_stream = raw_open(*ret_client, true);
    send_auth(suite, *ret_stream, negotiate);
    char got[200];
    const flx_msg_type want = negotiate ? FLX_MSG_AUTH_OK : FLX_MSG_OK;
    if (!next_msg(*ret_stream, want, &frame, got, sizeof got)) {
        return check_fail(suite, "auth: expected %s, got %s", flx_msg_name(want), got);
    }
    return CHECK_PASS;
}

#define BEGIN(negotiate)                                                                           \
    raw_client *client = NULL;                                                                     \
    raw_stream *stream = NULL;                                                                     \
    raw_frame frame;                                                                               \
    (void)frame;                                                                                   \
    check_result result = begin(suite, negotiate, &client, &stream);                               \
    if (result != CHECK_PASS) {                                                                    \
        goto done;                                                                                 \
    }

#define END()                                                                                      \
    done:                                                                                          \
    (void)raw_disconnect(client);                                                                  \
    return result

static void send_subscribe(const check_suite *suite, raw_stream *stream, const char *name)
{
    flx_msg msg = {.type = FLX_MSG_SUBSCRIBE};
    msg.subscribe.tenant_id = flx_slice_of(suite->target->tenant);
    msg.subscribe.namespace_ = flx_slice_of(suite->target->namespace_);
    msg.subscribe.stream = flx_slice_of(name);
    raw_send_msg(stream, &msg);
}

static void send_publish(const check_suite *suite, raw_stream *stream, const char *name,
                         const char *payload, uint64_t request_id)
{
    flx_msg msg = {.type = FLX_MSG_PUBLISH};
    msg.publish.tenant_id = flx_slice_of(suite->target->tenant);
    msg.publish.namespace_ = flx_slice_of(suite->target->namespace_);
    msg.publish.stream = flx_slice_of(name);
    msg.publish.payload = flx_slice_of(payload);
    if (request_id != 0) {
        msg.publish.has_request_id = true;
        msg.publish.request_id = request_id;
        msg.publish.has_ack = true;
        msg.publish.ack = FLX_ACK_PER_MESSAGE;
    }
    raw_send_msg(stream, &msg);
}

/* A binary acked batch of one record. */
static void send_batch(const check_suite *suite, raw_stream *stream, const char *name,
                       const char *payload, uint64_t request_id)
{
    uint8_t bytes[1024];
    uint8_t region[256];
    const uint8_t *region_end = flx_records_put(region, flx_slice_of(payload));
    const flx_publish batch = {
        .flags = FLX_FLAG_BINARY_PUBLISH_BATCH | FLX_FLAG_BINARY_PUBLISH_ACKED,
        .ack = FLX_ACK_PER_BATCH,
        .request_id = request_id,
        .tenant_id = flx_slice_of(suite->target->tenant),
        .namespace_ = flx_slice_of(suite->target->namespace_),
        .stream = flx_slice_of(name),
        .count = 1,
        .region = {region, (size_t)(region_end - region)},
    };
    uint8_t *end = flx_publish_head_encode(&batch, bytes);
    memcpy(end, region, batch.region.len);
    end += batch.region.len;
    raw_send_frame(stream, batch.flags, bytes, (size_t)(end - bytes));
}

/* ---- the walk of an old client ---------------------------------------------------------------- */

static check_result legacy_auth(check_suite *suite)
{
    BEGIN(false);
    END();
}

static check_result negotiated_auth(check_suite *suite)
{
    raw_client *client = NULL;
    check_result result = CHECK_PASS;
    flx_error error;
    raw_frame frame;
    const flx_status status = raw_connect(suite->target, "felix/1", &client, &error);
    EXPECT(status == FLX_OK, "with ALPN felix/1: %s", error.message);
    raw_stream *stream = raw_open(client, true);
    send_auth(suite, stream, true);
    EXPECT_MSG(stream, AUTH_OK);
    const uint16_t flags = frame.msg.auth_ok.server_flags;
    EXPECT((flags & 0x7D) == 0x7D, "server_flags 0x%04x lacks bits of 0x7D", flags);
    const uint32_t needed = FLX_FEATURE_CACHE_DELETE | FLX_FEATURE_STREAM_SHARDS |
                            FLX_FEATURE_CACHE_SHARDS | FLX_FEATURE_ERROR_CODES |
                            FLX_FEATURE_UNSUPPORTED;
    EXPECT((frame.msg.auth_ok.server_features & needed) == needed,
           "server_features 0x%08x lacks bits of the minimal set 0x%08x",
           frame.msg.auth_ok.server_features, needed);
    END();
}

static check_result foreign_alpn(check_suite *suite)
{
    raw_client *client = NULL;
    check_result result = CHECK_PASS;
    flx_error error;
    EXPECT(raw_connect(suite->target, "other/1", &client, &error) != FLX_OK,
           "a list without felix/1 was accepted");
    END();
}

static check_result publish_and_receive(check_suite *suite)
{
    BEGIN(false);
    raw_stream *subscribe = raw_open(client, true);
    send_auth(suite, subscribe, false);
    EXPECT_MSG(subscribe, OK);
    send_subscribe(suite, subscribe, suite->target->stream);
    raw_finish(subscribe); /* must not cancel the subscription */
    EXPECT_MSG(subscribe, SUBSCRIBED);
    const uint64_t id = frame.msg.subscribed.subscription_id;
    raw_stream *events = raw_accept(client);
    EXPECT(events != NULL, "no event stream was opened");
    EXPECT_MSG(events, EVENT_STREAM_HELLO);
    EXPECT(frame.msg.event_stream_hello.subscription_id == id, "the hello has another id");
    static const char *const payloads[] = {"alpha", "beta"};
    for (uint64_t i = 0; i < 2; i++) {
        send_publish(suite, stream, suite->target->stream, payloads[i], i + 1);
        EXPECT_MSG(stream, PUBLISH_OK);
        EXPECT(frame.msg.publish_ok.request_id == i + 1, "another request id was answered");
        EXPECT(!frame.msg.publish_ok.has_offset, "an offset nobody asked for");
    }
    for (size_t i = 0; i < 2;) {
        const raw_event event = raw_next(events, &frame);
        EXPECT(event == RAW_FRAME, "expected events, got %s", raw_event_name(event));
        flx_event_batch batch;
        EXPECT(frame.flags == FLX_FLAG_BINARY_EVENT_BATCH_SHARED &&
                   flx_event_batch_decode(frame.flags, frame.payload, &batch, &(flx_error){0}) ==
                       FLX_OK,
               "expected a plain shared batch, got flags 0x%04x", frame.flags);
        flx_event_iter iter;
        flx_event_record record;
        flx_event_iter_init(&iter, &batch);
        while (flx_event_iter_next(&iter, &record)) {
            EXPECT(i < 2 && flx_slice_is(record.payload, payloads[i]),
                   "event %zu is not what was published", i);
            i++;
        }
    }
    END();
}

static void send_cache(const check_suite *suite, raw_stream *stream, flx_msg_type type,
                       const char *key, const char *value)
{
    flx_msg msg = {.type = type};
    if (type == FLX_MSG_CACHE_PUT) {
        msg.cache_put.tenant_id = flx_slice_of(suite->target->tenant);
        msg.cache_put.namespace_ = flx_slice_of(suite->target->namespace_);
        msg.cache_put.cache = flx_slice_of(suite->target->cache);
        msg.cache_put.key = flx_slice_of(key);
        msg.cache_put.value = flx_slice_of(value);
        msg.cache_put.has_ttl_ms = true;
        msg.cache_put.ttl_ms = 100;
    } else {
        msg.cache_get.tenant_id = flx_slice_of(suite->target->tenant);
        msg.cache_get.namespace_ = flx_slice_of(suite->target->namespace_);
        msg.cache_get.cache = flx_slice_of(suite->target->cache);
        msg.cache_get.key = flx_slice_of(key);
    }
    raw_send_msg(stream, &msg);
}

static check_result cache_with_ttl(check_suite *suite)
{
    BEGIN(false);
    send_cache(suite, stream, FLX_MSG_CACHE_PUT, "conformance-raw", "v");
    EXPECT_MSG(stream, OK);
    send_cache(suite, stream, FLX_MSG_CACHE_GET, "conformance-raw", NULL);
    EXPECT_MSG(stream, CACHE_VALUE);
    EXPECT(frame.msg.cache_value.has_value && flx_slice_is(frame.msg.cache_value.value, "v"),
           "the value just put is not there");
    bool gone = false;
    for (int tries = 0; !gone && tries < 100; tries++) {
        raw_pause(client, 150);
        send_cache(suite, stream, FLX_MSG_CACHE_GET, "conformance-raw", NULL);
        EXPECT_MSG(stream, CACHE_VALUE);
        gone = !frame.msg.cache_value.has_value;
    }
    EXPECT(gone, "the TTL passed and the value is still there");
    END();
}

static check_result answers_in_request_order(check_suite *suite)
{
    BEGIN(true);
    for (uint64_t id = 100; id < 164; id++) { /* all at once: pipelined, JSON and binary mixed */
        const char *name = id % 7 == 3 ? suite->target->missing_stream : suite->target->stream;
        if (id % 2 == 0) {
            send_publish(suite, stream, name, "p", id);
        } else {
            send_batch(suite, stream, name, "p", id);
        }
    }
    for (uint64_t id = 100; id < 164; id++) {
        const raw_event event = raw_next(stream, &frame);
        EXPECT(event == RAW_FRAME, "request %llu: %s", (unsigned long long)id,
               raw_event_name(event));
        const bool refused = id % 7 == 3;
        uint64_t got = 0;
        bool ok = false;
        if (frame.flags != 0) {
            flx_publish_ack ack;
            EXPECT(flx_publish_ack_decode(frame.flags, frame.payload, &ack, NULL) == FLX_OK,
                   "not an ack: flags 0x%04x", frame.flags);
            got = ack.request_id;
            ok = ack.ok;
        } else if (frame.msg.type == FLX_MSG_PUBLISH_OK) {
            got = frame.msg.publish_ok.request_id;
            ok = true;
        } else if (frame.msg.type == FLX_MSG_PUBLISH_ERROR) {
            got = frame.msg.publish_error.request_id;
            EXPECT(flx_slice_is(frame.msg.publish_error.code, "not_found"),
                   "refused with another code");
        }
        EXPECT(got == id, "expected the answer to %llu, got %llu", (unsigned long long)id,
               (unsigned long long)got);
        EXPECT(ok != refused, "request %llu: %s", (unsigned long long)id,
               ok ? "accepted on a missing stream" : "refused");
    }
    END();
}

static check_result uni_publish(check_suite *suite)
{
    BEGIN(true);
    raw_stream *subscribe = raw_open(client, true);
    send_auth(suite, subscribe, true);
    EXPECT_MSG(subscribe, AUTH_OK);
    send_subscribe(suite, subscribe, suite->target->stream);
    EXPECT_MSG(subscribe, SUBSCRIBED);
    raw_stream *events = raw_accept(client);
    EXPECT_MSG(events, EVENT_STREAM_HELLO);
    raw_stream *publish = raw_open(client, false);
    send_auth(suite, publish, false);
    send_publish(suite, publish, suite->target->stream, "from a uni stream", 0);
    raw_finish(publish);
    const raw_event event = raw_next(events, &frame);
    EXPECT(event == RAW_FRAME && (frame.flags & FLX_FLAG_EVENT_BATCH_OFFSETS) != 0,
           "expected an event with offsets, got %s, flags 0x%04x", raw_event_name(event),
           event == RAW_FRAME ? frame.flags : 0);
    END();
}

/* ---- bad input -------------------------------------------------------------------------------- */

static check_result request_before_auth(check_suite *suite)
{
    BEGIN(false);
    raw_stream *early = raw_open(client, true);
    send_cache(suite, early, FLX_MSG_CACHE_GET, "k", NULL);
    EXPECT_MSG(early, ERROR);
    EXPECT_END(early);
    END();
}

static check_result second_auth(check_suite *suite)
{
    BEGIN(true);
    send_auth(suite, stream, true);
    EXPECT_CODE(stream, "invalid_request");
    EXPECT_END(stream);
    END();
}

static check_result refused_token(check_suite *suite)
{
    BEGIN(false);
    raw_stream *other = raw_open(client, true);
    flx_msg msg = {.type = FLX_MSG_AUTH};
    msg.auth.tenant_id = flx_slice_of(suite->target->tenant);
    msg.auth.token = flx_slice_of("not.a.token");
    msg.auth.has_client_flags = true;
    msg.auth.has_client_features = true;
    msg.auth.client_features = FLX_FEATURE_ERROR_CODES;
    raw_send_msg(other, &msg);
    EXPECT_CODE(other, "unauthenticated");
    EXPECT_END(other);
    END();
}

static check_result tenant_of_another(check_suite *suite)
{
    BEGIN(true);
    raw_send_json(stream,
                  "{\"type\":\"stream_shards\",\"tenant_id\":\"somebody-else\",\"namespace\":"
                  "\"default\",\"stream\":\"s\",\"request_id\":1}");
    EXPECT_CODE(stream, "forbidden");
    END();
}

static check_result unknown_flag_bit(check_suite *suite)
{
    BEGIN(true);
    raw_send_frame(stream, 0x8000, "skipped", 7);
    EXPECT_CODE(stream, "invalid_request");
    send_cache(suite, stream, FLX_MSG_CACHE_GET, "k", NULL);
    EXPECT_MSG(stream, CACHE_VALUE); /* it reads on behind the payload */
    END();
}

static check_result unknown_type(check_suite *suite)
{
    BEGIN(true);
    raw_send_json(stream, "{\"type\":\"teleport\",\"request_id\":7}");
    EXPECT_MSG(stream, UNSUPPORTED);
    EXPECT(flx_slice_is(frame.msg.unsupported.request_type, "teleport"), "another type was named");
    EXPECT(frame.msg.unsupported.has_request_id && frame.msg.unsupported.request_id == 7,
           "the request id was not echoed");
    send_cache(suite, stream, FLX_MSG_CACHE_GET, "k", NULL);
    EXPECT_MSG(stream, CACHE_VALUE);
    END();
}

static check_result unknown_type_of_an_old_client(check_suite *suite)
{
    BEGIN(false);
    raw_send_json(stream, "{\"type\":\"teleport\"}");
    EXPECT_END(stream);
    END();
}

static check_result extension_of_nobody(check_suite *suite)
{
    BEGIN(true);
    raw_send_json(stream,
                  "{\"type\":\"extension\",\"name\":\"x.y\",\"request_id\":3,\"body\":[1]}");
    EXPECT_MSG(stream, UNSUPPORTED);
    EXPECT(flx_slice_is(frame.msg.unsupported.extension, "x.y"), "the extension was not named");
    END();
}

/* Sends these bytes on an authenticated stream, which must end without an answer. */
static check_result ends_the_stream(check_suite *suite, const void *bytes, size_t len)
{
    BEGIN(true);
    raw_send(stream, bytes, len);
    EXPECT_END(stream);
    raw_stream *next = raw_open(client, true); /* the connection and the broker live on */
    send_auth(suite, next, true);
    EXPECT_MSG(next, AUTH_OK);
    END();
}

static check_result wrong_magic(check_suite *suite)
{
    return ends_the_stream(suite, "HTTP/1.1 GET /\r\n\r\n", 18);
}

static check_result wrong_version(check_suite *suite)
{
    static const uint8_t bytes[] = {'F', 'L', 'X', '1', 0, 2, 0, 0, 0, 0, 0, 0};
    return ends_the_stream(suite, bytes, sizeof bytes);
}

static check_result oversized_frame(check_suite *suite)
{
    static const uint8_t bytes[] = {'F', 'L', 'X', '1', 0, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF};
    return ends_the_stream(suite, bytes, sizeof bytes);
}

static check_result broken_json(check_suite *suite)
{
    static const uint8_t bytes[] = {'F', 'L', 'X', '1', 0,   1,   0,   0,  0,
                                    0,   0,   5,   '{', '"', 'a', '"', ':'};
    return ends_the_stream(suite, bytes, sizeof bytes);
}

static check_result zero_length_json(check_suite *suite)
{
    static const uint8_t bytes[] = {'F', 'L', 'X', '1', 0, 1, 0, 0, 0, 0, 0, 0};
    return ends_the_stream(suite, bytes, sizeof bytes);
}

static check_result message_of_a_server(check_suite *suite)
{
    BEGIN(true);
    raw_send_json(stream, "{\"type\":\"subscribed\",\"subscription_id\":1}");
    EXPECT_MSG(stream, ERROR);
    EXPECT_END(stream);
    END();
}

static check_result oversized_before_auth(check_suite *suite)
{
    BEGIN(false);
    raw_stream *big = raw_open(client, true);
    static const uint8_t header[] = {'F', 'L', 'X', '1', 0, 1, 0, 0, 0, 1, 0, 1};
    raw_send(big, header, sizeof header);
    EXPECT_END(big);
    END();
}

static check_result malformed_acked_batch(check_suite *suite)
{
    BEGIN(true);
    /* request id 42, ack mode 2, then a tenant that claims 65535 bytes. */
    static const uint8_t body[] = {0, 0, 0, 0, 0, 0, 0, 42, 2, 0xFF, 0xFF, 't'};
    raw_send_frame(stream, FLX_FLAG_BINARY_PUBLISH_BATCH | FLX_FLAG_BINARY_PUBLISH_ACKED, body,
                   sizeof body);
    const raw_event event = raw_next(stream, &frame);
    EXPECT(event == RAW_FRAME && frame.flags != 0, "expected a binary ack, got %s",
           raw_event_name(event));
    flx_publish_ack ack;
    EXPECT(flx_publish_ack_decode(frame.flags, frame.payload, &ack, NULL) == FLX_OK, "not an ack");
    EXPECT(!ack.ok && ack.request_id == 42, "request 42 was not refused");
    EXPECT(ack.code == FLX_CODE_INVALID_REQUEST, "code %u instead of invalid_request", ack.code);
    END();
}

static check_result ack_without_request_id(check_suite *suite)
{
    BEGIN(true);
    raw_send_json(stream, "{\"type\":\"publish\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                          "\"stream\":\"s\",\"payload\":\"\",\"ack\":\"per_message\"}");
    EXPECT_CODE(stream, "invalid_request");
    END();
}

static check_result cursor_in_future(check_suite *suite)
{
    BEGIN(true);
    flx_msg msg = {.type = FLX_MSG_SUBSCRIBE};
    msg.subscribe.tenant_id = flx_slice_of(suite->target->tenant);
    msg.subscribe.namespace_ = flx_slice_of(suite->target->namespace_);
    msg.subscribe.stream = flx_slice_of(suite->target->stream);
    msg.subscribe.has_start = true;
    msg.subscribe.start.kind = FLX_START_OFFSET;
    msg.subscribe.start.offset = UINT64_C(1) << 60;
    raw_send_msg(stream, &msg);
    EXPECT_MSG(stream, SUBSCRIBE_CURSOR_ERROR);
    EXPECT(frame.msg.subscribe_cursor_error.requested == UINT64_C(1) << 60,
           "the requested offset was not echoed");
    EXPECT(frame.msg.subscribe_cursor_error.available < UINT64_C(1) << 60, "no available offset");
    END();
}

static check_result silent_streams(check_suite *suite)
{
    BEGIN(true);
    /* As many silent streams as the broker allows; it answers the first one all the same. */
    size_t opened = 0;
    while (opened < 1024 && raw_open(client, true) != NULL) {
        opened++;
    }
    EXPECT(opened >= 512, "only %zu streams could be opened", opened);
    raw_pause(client, 20);
    send_cache(suite, stream, FLX_MSG_CACHE_GET, "k", NULL);
    EXPECT_MSG(stream, CACHE_VALUE);
    END();
}

const check raw_checks[] = {
    {"raw.legacy_auth", "auth without flags is answered ok", legacy_auth},
    {"raw.negotiated_auth", "auth_ok advertises what clients need, ALPN felix/1", negotiated_auth},
    {"raw.foreign_alpn", "a list without felix/1 fails the handshake", foreign_alpn},
    {"raw.publish_and_receive", "half-closed subscribe, hello, two acked publishes, two events",
     publish_and_receive},
    {"raw.cache_with_ttl", "cache_put without request_id is answered ok, then expires",
     cache_with_ttl},
    {"raw.answers_in_request_order", "64 pipelined publishes are answered in order",
     answers_in_request_order},
    {"raw.uni_publish", "a publish-only stream, and events with offsets", uni_publish},
    {"bad.request_before_auth", "an error, then the end of the stream", request_before_auth},
    {"bad.second_auth", "invalid_request, then the end", second_auth},
    {"bad.refused_token", "unauthenticated, then the end", refused_token},
    {"bad.tenant_of_another", "forbidden", tenant_of_another},
    {"bad.unknown_flag_bit", "invalid_request, and the stream goes on", unknown_flag_bit},
    {"bad.unknown_type", "unsupported, and the stream goes on", unknown_type},
    {"bad.unknown_type_of_an_old_client", "the end of the stream", unknown_type_of_an_old_client},
    {"bad.extension_of_nobody", "unsupported, with its name", extension_of_nobody},
    {"bad.wrong_magic", "the end of the stream, nothing else", wrong_magic},
    {"bad.wrong_version", "the end of the stream, nothing else", wrong_version},
    {"bad.oversized_frame", "the end of the stream from the header alone", oversized_frame},
    {"bad.broken_json", "the end of the stream", broken_json},
    {"bad.zero_length_json", "the end of the stream", zero_length_json},
    {"bad.message_of_a_server", "an error, then the end", message_of_a_server},
    {"bad.oversized_before_auth", "65,537 bytes before auth end the stream", oversized_before_auth},
    {"bad.malformed_acked_batch", "a failed ack for its request id", malformed_acked_batch},
    {"bad.ack_without_request_id", "invalid_request", ack_without_request_id},
    {"bad.cursor_in_future", "subscribe_cursor_error", cursor_in_future},
    {"bad.silent_streams", "a thousand silent streams hold nobody up", silent_streams},
    {NULL, NULL, NULL},
};
