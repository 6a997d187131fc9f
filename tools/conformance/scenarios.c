/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenarios.c - the client scenarios, run with libfelix against the broker under test.
 *
 * The ids are those of the published catalogue, so that results can be compared between clients.
 * What a single node without a durable log cannot show is listed with its reason, not left out.
 */
#include "common/clock.h"
#include "words.h"

#include <felix/cache.h>
#include <felix/client.h>
#include <felix/publisher.h>
#include <felix/subscriber.h>
#include <felix/watch.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDS 500

#define EXPECT_OK(call)                                                                            \
    do {                                                                                           \
        if ((call) != FLX_OK) {                                                                    \
            result = check_fail(suite, "%s", error.message);                                       \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* What most scenarios need; freed by END in the order of dependence. */
#define BEGIN                                                                                      \
    flx_error error = {0};                                                                         \
    flx_client *client = NULL;                                                                     \
    flx_publisher *publisher = NULL;                                                               \
    flx_subscriber *subscriber = NULL;                                                             \
    flx_cache *cache = NULL;                                                                       \
    flx_cache_watch *watch = NULL;                                                                 \
    check_result result = CHECK_PASS;                                                              \
    const uint32_t wait_ms = suite->target->wait_ms;                                               \
    (void)wait_ms;                                                                                 \
    EXPECT_OK(connect_as(suite, suite->target->token, &client, &error));

#define END                                                                                        \
    done:                                                                                          \
    watch = flx_cache_watch_free(watch);                                                           \
    cache = flx_cache_free(cache);                                                                 \
    subscriber = flx_subscriber_free(subscriber);                                                  \
    publisher = flx_publisher_free(publisher);                                                     \
    client = flx_client_free(client);                                                              \
    return result;

static flx_status connect_as(const check_suite *suite, const char *token, flx_client **ret_client,
                             flx_error *reterr)
{
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    options.addresses = suite->target->address;
    options.tenant = suite->target->tenant;
    options.default_namespace = suite->target->namespace_;
    options.token = token;
    options.ca_file = suite->target->ca_file;
    options.server_name = suite->target->server_name;
    options.request_timeout_ms = suite->target->wait_ms;
    return flx_client_connect(&options, suite->target->wait_ms, ret_client, reterr);
}

static flx_status subscribe(check_suite *suite, flx_client *client, const char *stream,
                            flx_from from, uint64_t offset, flx_subscriber **ret_subscriber,
                            flx_error *reterr)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    options.from = from;
    options.offset = offset;
    options.not_found_ms = 1;
    const flx_status status = flx_subscriber_new(client, stream, &options, ret_subscriber, reterr);
    return status != FLX_OK ? status
                            : flx_subscriber_wait(*ret_subscriber, suite->target->wait_ms, reterr);
}

/* The next record; notices are an error where a scenario does not expect them. */
static flx_status receive(check_suite *suite, flx_subscriber *subscriber, flx_message *ret_message,
                          flx_error *reterr)
{
    return flx_subscriber_receive(subscriber, suite->target->wait_ms, ret_message, reterr);
}

/* ---- streams ---------------------------------------------------------------------------------- */

static check_result pubsub_roundtrip(check_suite *suite)
{
    BEGIN
    EXPECT_OK(
        subscribe(suite, client, suite->target->stream, FLX_FROM_LATEST, 0, &subscriber, &error));
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, NULL, &publisher, &error));
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    static const size_t sizes[] = {0, 1, 255, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        EXPECT_OK(flx_publisher_publish_wait(publisher, NULL, (flx_slice){bytes, sizes[i]}, wait_ms,
                                             NULL, &error));
        flx_message message;
        EXPECT_OK(receive(suite, subscriber, &message, &error));
        const bool same = message.payload.len == sizes[i] &&
                          (sizes[i] == 0 || memcmp(message.payload.ptr, bytes, sizes[i]) == 0);
        flx_message_release(&message);
        EXPECT(same, "a payload of %zu bytes came back changed", sizes[i]);
    }
    END
}

static check_result pubsub_order(check_suite *suite)
{
    BEGIN
    long last[7] = {-1, -1, -1, -1, -1, -1, -1};
    EXPECT_OK(subscribe(suite, client, suite->target->sharded_stream, FLX_FROM_LATEST, 0,
                        &subscriber, &error));
    EXPECT_OK(flx_publisher_new(client, suite->target->sharded_stream, NULL, &publisher, &error));
    for (int i = 0; i < RECORDS; i++) {
        char payload[32];
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i % 7);
        (void)snprintf(payload, sizeof payload, "%d %d", i % 7, i);
        const flx_slice key_slice = flx_slice_of(key);
        EXPECT_OK(flx_publisher_publish(publisher, &key_slice, flx_slice_of(payload), NULL, NULL,
                                        &error));
    }
    EXPECT_OK(flx_publisher_flush(publisher, wait_ms, &error));
    for (int i = 0; i < RECORDS; i++) {
        flx_message message;
        EXPECT_OK(receive(suite, subscriber, &message, &error));
        char payload[32] = {0};
        memcpy(payload, message.payload.ptr, message.payload.len < 31 ? message.payload.len : 31);
        flx_message_release(&message);
        char *rest = payload;
        const long key = strtol(payload, &rest, 10);
        EXPECT(rest != payload && key >= 0 && key < 7, "an unknown payload '%s'", payload);
        const long number = strtol(rest, NULL, 10);
        EXPECT(number > last[key], "key k%ld: %ld came after %ld", key, number, last[key]);
        last[key] = number;
    }
    END
}

static check_result pubsub_offsets(check_suite *suite)
{
    BEGIN
    EXPECT_OK(
        subscribe(suite, client, suite->target->stream, FLX_FROM_LATEST, 0, &subscriber, &error));
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, NULL, &publisher, &error));
    for (int i = 0; i < RECORDS; i++) {
        EXPECT_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), NULL, NULL, &error));
    }
    uint64_t expected = 0;
    for (int i = 0; i < RECORDS; i++) {
        flx_message message;
        EXPECT_OK(receive(suite, subscriber, &message, &error));
        const flx_message copy = message;
        flx_message_release(&message);
        EXPECT(copy.kind == FLX_MESSAGE_RECORD && copy.has_offset, "an event without offset");
        EXPECT(i == 0 || copy.offset == expected, "offset %llu instead of %llu",
               (unsigned long long)copy.offset, (unsigned long long)expected);
        expected = copy.offset + 1;
    }
    END
}

static check_result pubsub_resume(check_suite *suite)
{
    BEGIN
    uint64_t first = 0;
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, NULL, &publisher, &error));
    EXPECT_OK(
        subscribe(suite, client, suite->target->stream, FLX_FROM_LATEST, 0, &subscriber, &error));
    for (int i = 0; i < 20; i++) {
        char payload[32];
        (void)snprintf(payload, sizeof payload, "resume %d", i);
        EXPECT_OK(flx_publisher_publish_wait(publisher, NULL, flx_slice_of(payload), wait_ms, NULL,
                                             &error));
        flx_message message;
        EXPECT_OK(receive(suite, subscriber, &message, &error));
        first = i == 0 ? message.offset : first;
        flx_message_release(&message);
    }
    subscriber = flx_subscriber_free(subscriber);
    EXPECT_OK(subscribe(suite, client, suite->target->stream, FLX_FROM_OFFSET, first + 10,
                        &subscriber, &error));
    for (int i = 10; i < 20; i++) {
        char payload[32];
        (void)snprintf(payload, sizeof payload, "resume %d", i);
        flx_message message;
        EXPECT_OK(receive(suite, subscriber, &message, &error));
        const bool same = flx_slice_is(message.payload, payload);
        flx_message_release(&message);
        EXPECT(same, "record %d is not where it was", i);
    }
    END
}

static check_result pubsub_earliest(check_suite *suite)
{
    BEGIN
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, NULL, &publisher, &error));
    EXPECT_OK(
        flx_publisher_publish_wait(publisher, NULL, flx_slice_of("kept"), wait_ms, NULL, &error));
    EXPECT_OK(
        subscribe(suite, client, suite->target->stream, FLX_FROM_EARLIEST, 0, &subscriber, &error));
    flx_message message;
    EXPECT_OK(receive(suite, subscriber, &message, &error));
    flx_message_release(&message);
    END
}

static check_result ack_none(check_suite *suite)
{
    BEGIN
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    options.acks = FLX_ACKS_NONE;
    EXPECT_OK(
        subscribe(suite, client, suite->target->stream, FLX_FROM_LATEST, 0, &subscriber, &error));
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, &options, &publisher, &error));
    EXPECT_OK(
        flx_publisher_publish_wait(publisher, NULL, flx_slice_of("sent"), wait_ms, NULL, &error));
    flx_message message;
    EXPECT_OK(receive(suite, subscriber, &message, &error));
    flx_message_release(&message);
    END
}

static check_result ack_per_message(check_suite *suite)
{
    BEGIN
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    options.acks = FLX_ACKS_PER_MESSAGE;
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, &options, &publisher, &error));
    for (int i = 0; i < RECORDS; i++) {
        EXPECT_OK(
            flx_publisher_publish(publisher, NULL, flx_slice_of("acked"), NULL, NULL, &error));
    }
    EXPECT_OK(flx_publisher_flush(publisher, wait_ms, &error));
    flx_publisher_stats stats = {.struct_size = sizeof stats};
    flx_publisher_get_stats(publisher, &stats);
    EXPECT(stats.acked == RECORDS, "%llu of %d were acknowledged", (unsigned long long)stats.acked,
           RECORDS);
    END
}

static check_result sharded_every_shard(check_suite *suite)
{
    BEGIN
    uint32_t shards = 0;
    bool seen[1024] = {false};
    uint32_t seen_count = 0;
    EXPECT_OK(
        flx_client_stream_shards(client, suite->target->sharded_stream, wait_ms, &shards, &error));
    EXPECT(shards > 1 && shards <= 1024, "'%s' has %u shards", suite->target->sharded_stream,
           shards);
    EXPECT_OK(subscribe(suite, client, suite->target->sharded_stream, FLX_FROM_LATEST, 0,
                        &subscriber, &error));
    EXPECT_OK(flx_publisher_new(client, suite->target->sharded_stream, NULL, &publisher, &error));
    const int records = (int)shards * 32;
    for (int i = 0; i < records; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "customer-%d", i);
        const flx_slice key_slice = flx_slice_of(key);
        EXPECT_OK(
            flx_publisher_publish(publisher, &key_slice, flx_slice_of("x"), NULL, NULL, &error));
    }
    for (int i = 0; i < records; i++) {
        flx_message message;
        EXPECT_OK(receive(suite, subscriber, &message, &error));
        const uint32_t shard = message.shard;
        flx_message_release(&message);
        EXPECT(shard < shards, "a record of shard %u", shard);
        seen_count += !seen[shard];
        seen[shard] = true;
    }
    EXPECT(seen_count == shards, "records came from %u of %u shards", seen_count, shards);
    END
}

static check_result sharded_count(check_suite *suite)
{
    BEGIN
    uint32_t shards = 99;
    EXPECT_OK(
        flx_client_stream_shards(client, suite->target->missing_stream, wait_ms, &shards, &error));
    EXPECT(shards == 0, "an unknown stream has %u shards", shards);
    END
}

/* ---- cache ------------------------------------------------------------------------------------ */

static check_result cache_put_get(check_suite *suite)
{
    BEGIN
    flx_cache_entry entry = {0};
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(flx_cache_put(cache, flx_slice_of("conformance"), flx_slice_of("value"), 0, wait_ms,
                            &error));
    EXPECT_OK(flx_cache_get(cache, flx_slice_of("conformance"), wait_ms, &entry, &error));
    const bool same = entry.found && flx_slice_is(entry.value, "value");
    flx_cache_entry_release(&entry);
    EXPECT(same, "another value came back");
    END
}

static check_result cache_miss(check_suite *suite)
{
    BEGIN
    flx_cache_entry entry = {0};
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(flx_cache_get(cache, flx_slice_of("conformance-absent"), wait_ms, &entry, &error));
    EXPECT(!entry.found, "an absent key was found");
    END
}

static check_result cache_delete(check_suite *suite)
{
    BEGIN
    flx_cache_entry entry = {0};
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(flx_cache_put(cache, flx_slice_of("conformance-del"), flx_slice_of("old"), 0, wait_ms,
                            &error));
    EXPECT_OK(flx_cache_delete(cache, flx_slice_of("conformance-del"), wait_ms, &entry, &error));
    const bool same = entry.found && flx_slice_is(entry.value, "old");
    flx_cache_entry_release(&entry);
    EXPECT(same, "the removed value did not come back");
    EXPECT_OK(flx_cache_get(cache, flx_slice_of("conformance-del"), wait_ms, &entry, &error));
    EXPECT(!entry.found, "the key is still there");
    END
}

static check_result cache_ttl(check_suite *suite)
{
    BEGIN
    flx_cache_entry entry = {0};
    bool gone = false;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(flx_cache_put(cache, flx_slice_of("conformance-ttl"), flx_slice_of("v"), 100, wait_ms,
                            &error));
    for (int tries = 0; !gone && tries < 200; tries++) {
        (void)usleep(50000);
        EXPECT_OK(flx_cache_get(cache, flx_slice_of("conformance-ttl"), wait_ms, &entry, &error));
        gone = !entry.found;
        flx_cache_entry_release(&entry);
    }
    EXPECT(gone, "the TTL passed and the value is still there");
    END
}

/* ---- errors and the life of a client ------------------------------------------------------------ */

static check_result error_unknown_stream(check_suite *suite)
{
    BEGIN
    EXPECT_OK(flx_publisher_new(client, suite->target->missing_stream, NULL, &publisher, &error));
    const flx_status status =
        flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"), wait_ms, NULL, &error);
    EXPECT(status == FLX_ERR_NOT_FOUND && error.code == 3, "status %s, code %u",
           flx_status_name(status), error.code);
    END
}

static check_result error_unauthorized(check_suite *suite)
{
    if (suite->target->refused_token == NULL) {
        return check_skip(suite, "needs --refused-token-file, a token without permissions");
    }
    flx_error error = {0};
    flx_client *client = NULL;
    flx_publisher *publisher = NULL;
    check_result result = CHECK_PASS;
    EXPECT_OK(connect_as(suite, suite->target->refused_token, &client, &error));
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, NULL, &publisher, &error));
    const flx_status status = flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"),
                                                         suite->target->wait_ms, NULL, &error);
    EXPECT(status == FLX_ERR_DENIED && error.code == 2, "status %s, code %u",
           flx_status_name(status), error.code);
done:
    publisher = flx_publisher_free(publisher);
    client = flx_client_free(client);
    return result;
}

static check_result error_bad_offset(check_suite *suite)
{
    BEGIN
    const flx_status status = subscribe(suite, client, suite->target->stream, FLX_FROM_OFFSET,
                                        UINT64_C(1) << 60, &subscriber, &error);
    EXPECT(status == FLX_ERR_IN_FUTURE, "status %s", flx_status_name(status));
    END
}

static check_result terminal_not_retried(check_suite *suite)
{
    BEGIN
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    options.retry_timeout_ms = 2000;
    EXPECT_OK(flx_publisher_new(client, "somebody-else/default/x", &options, &publisher, &error));
    const flx_status status =
        flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"), wait_ms, NULL, &error);
    flx_publisher_stats stats = {.struct_size = sizeof stats};
    flx_publisher_get_stats(publisher, &stats);
    EXPECT(status == FLX_ERR_DENIED, "status %s", flx_status_name(status));
    EXPECT(stats.retried == 0, "sent again %llu times", (unsigned long long)stats.retried);
    END
}

typedef struct client_caller {
    flx_cache *cache;
    uint32_t wait_ms;
    int number;
    _Atomic int *failures;
} client_caller;

static void *call_concurrently(void *arg)
{
    const client_caller *caller = arg;
    for (int i = 0; i < 50; i++) {
        char key[32];
        char value[32];
        (void)snprintf(key, sizeof key, "conformance-%d-%d", caller->number, i);
        (void)snprintf(value, sizeof value, "%d", caller->number * 1000 + i);
        flx_cache_entry entry = {0};
        const bool ok = flx_cache_put(caller->cache, flx_slice_of(key), flx_slice_of(value), 60000,
                                      caller->wait_ms, NULL) == FLX_OK &&
                        flx_cache_get(caller->cache, flx_slice_of(key), caller->wait_ms, &entry,
                                      NULL) == FLX_OK &&
                        entry.found && flx_slice_is(entry.value, value);
        flx_cache_entry_release(&entry);
        if (!ok) {
            (void)atomic_fetch_add(caller->failures, 1);
        }
    }
    return NULL;
}

static check_result concurrent_calls(check_suite *suite)
{
    BEGIN
    pthread_t threads[8];
    client_caller callers[8];
    _Atomic int failures = 0;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    for (int i = 0; i < 8; i++) {
        callers[i] = (client_caller){cache, wait_ms, i, &failures};
        EXPECT(pthread_create(&threads[i], NULL, call_concurrently, &callers[i]) == 0,
               "no thread to be had");
    }
    for (int i = 0; i < 8; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    EXPECT(failures == 0, "%d of 400 calls from 8 threads failed", (int)failures);
    END
}

static check_result close_is_idempotent(check_suite *suite)
{
    BEGIN
    EXPECT_OK(flx_publisher_new(client, suite->target->stream, NULL, &publisher, &error));
    client = flx_client_free(client);
    client = flx_client_free(client);
    EXPECT(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), NULL, NULL, NULL) ==
               FLX_ERR_CLOSED,
           "a publisher of a closed client takes messages");
    END
}

static check_result subscription_ends_cleanly(check_suite *suite)
{
    BEGIN
    for (int i = 0; i < 20; i++) {
        EXPECT_OK(subscribe(suite, client, suite->target->stream, FLX_FROM_LATEST, 0, &subscriber,
                            &error));
        subscriber = flx_subscriber_free(subscriber);
    }
    END
}

/* ---- watches and counters ---------------------------------------------------------------------- */

static flx_status watch_prefix(check_suite *suite, flx_client *client, const char *prefix,
                               flx_watch_from from, uint64_t offset, flx_cache_watch **ret_watch,
                               flx_error *reterr)
{
    flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    options.prefix = flx_slice_of(prefix);
    options.shard = 0;
    options.from = from;
    options.offset = offset;
    const flx_status status =
        flx_cache_watch_new(client, suite->target->cache, &options, ret_watch, reterr);
    return status == FLX_OK ? flx_cache_watch_wait(*ret_watch, suite->target->wait_ms, reterr)
                            : status;
}

/* The next change, which must be this one; a delete has the value "". Its offset. */
static bool is_next(check_suite *suite, flx_cache_watch *watch, flx_cache_change_kind kind,
                    const char *key, const char *value, uint64_t *ret_offset)
{
    flx_cache_change change;
    if (flx_cache_watch_receive(watch, suite->target->wait_ms, &change, NULL) != FLX_OK) {
        return false;
    }
    const bool is_it =
        change.kind == kind && flx_slice_is(change.key, key) && flx_slice_is(change.value, value);
    *ret_offset = change.offset;
    flx_cache_change_release(&change);
    return is_it;
}

static check_result watch_delivers(check_suite *suite)
{
    BEGIN
    uint64_t offset = 0;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(watch_prefix(suite, client, "cw/", FLX_WATCH_FROM_LIVE, 0, &watch, &error));
    EXPECT_OK(
        flx_cache_put(cache, flx_slice_of("other"), flx_slice_of("no"), 60000, wait_ms, &error));
    EXPECT_OK(
        flx_cache_put(cache, flx_slice_of("cw/1"), flx_slice_of("one"), 60000, wait_ms, &error));
    EXPECT_OK(flx_cache_delete(cache, flx_slice_of("cw/1"), wait_ms, NULL, &error));
    EXPECT(is_next(suite, watch, FLX_CACHE_CHANGE_PUT, "cw/1", "one", &offset),
           "the put did not come, or something else did");
    EXPECT(is_next(suite, watch, FLX_CACHE_CHANGE_DELETE, "cw/1", "", &offset),
           "the delete did not come as a change without a value");
    END
}

static check_result watch_resumes(check_suite *suite)
{
    BEGIN
    uint64_t first = 0;
    uint64_t second = 0;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(watch_prefix(suite, client, "cr/", FLX_WATCH_FROM_LIVE, 0, &watch, &error));
    EXPECT_OK(
        flx_cache_put(cache, flx_slice_of("cr/1"), flx_slice_of("one"), 60000, wait_ms, &error));
    EXPECT_OK(
        flx_cache_put(cache, flx_slice_of("cr/2"), flx_slice_of("two"), 60000, wait_ms, &error));
    EXPECT(is_next(suite, watch, FLX_CACHE_CHANGE_PUT, "cr/1", "one", &first) &&
               is_next(suite, watch, FLX_CACHE_CHANGE_PUT, "cr/2", "two", &second),
           "the puts did not come");
    watch = flx_cache_watch_free(watch);
    EXPECT_OK(watch_prefix(suite, client, "cr/", FLX_WATCH_FROM_OFFSET, second, &watch, &error));
    EXPECT(is_next(suite, watch, FLX_CACHE_CHANGE_PUT, "cr/2", "two", &first) && first == second,
           "a watch from an offset begins elsewhere");
    END
}

static check_result watch_cursor(check_suite *suite)
{
    BEGIN
    const flx_status status =
        watch_prefix(suite, client, "", FLX_WATCH_FROM_OFFSET, UINT64_C(1) << 62, &watch, &error);
    EXPECT(status == FLX_ERR_IN_FUTURE, "an offset of the future is answered with %s",
           flx_status_name(status));
    END
}

static check_result watch_retained(check_suite *suite)
{
    BEGIN
    uint64_t offset = 0;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(
        flx_cache_put(cache, flx_slice_of("ct/1"), flx_slice_of("old"), 60000, wait_ms, &error));
    EXPECT_OK(
        flx_cache_put(cache, flx_slice_of("ct/1"), flx_slice_of("newest"), 60000, wait_ms, &error));
    EXPECT_OK(watch_prefix(suite, client, "ct/", FLX_WATCH_FROM_RETAINED, 0, &watch, &error));
    EXPECT(is_next(suite, watch, FLX_CACHE_CHANGE_PUT, "ct/1", "newest", &offset) &&
               is_next(suite, watch, FLX_CACHE_CHANGE_READY, "", "", &offset),
           "what was there did not come first, or did not end");
    EXPECT_OK(flx_cache_delete(cache, flx_slice_of("ct/1"), wait_ms, NULL, &error));
    EXPECT(is_next(suite, watch, FLX_CACHE_CHANGE_DELETE, "ct/1", "", &offset),
           "the change after it did not come");
    END
}

#define LAG_PUTS        96 /* by default a shard keeps 64 MiB of changes */
#define LAG_VALUE_BYTES (UINT32_C(1) << 20)

/* A watcher that does not read while more is written than a broker keeps for it. One that keeps all
 * of it passes too: nothing was missing. */
static check_result watch_lag(check_suite *suite)
{
    BEGIN
    static uint8_t value[LAG_VALUE_BYTES];
    uint32_t changes = 0;
    bool is_told = false;
    bool is_newest = false;
    flx_cache_change change;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(watch_prefix(suite, client, "cl/", FLX_WATCH_FROM_LIVE, 0, &watch, &error));
    for (uint32_t i = 0; i < LAG_PUTS; i++) {
        value[0] = (uint8_t)i;
        EXPECT_OK(flx_cache_put(cache, flx_slice_of("cl/1"), (flx_slice){value, sizeof value},
                                60000, wait_ms, &error));
    }
    while (!is_newest && flx_cache_watch_receive(watch, wait_ms, &change, NULL) == FLX_OK) {
        const bool is_put = change.kind == FLX_CACHE_CHANGE_PUT;
        is_told = is_told || change.kind == FLX_CACHE_CHANGE_RESET;
        changes += is_put ? 1 : 0;
        is_newest = is_put && change.value.len > 0 && change.value.ptr[0] == LAG_PUTS - 1;
        flx_cache_change_release(&change);
    }
    EXPECT_OK(flx_cache_delete(cache, flx_slice_of("cl/1"), wait_ms, NULL, &error));
    EXPECT(is_newest, "the newest value never came");
    EXPECT(is_told || changes == LAG_PUTS, "%u of %u changes came, and nothing was said", changes,
           LAG_PUTS);
    END
}

static check_result counter_sum(check_suite *suite)
{
    BEGIN
    int64_t before = 0;
    int64_t after = 0;
    bool found = false;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(flx_counter_add(cache, flx_slice_of("conformance"), 5, wait_ms, &before, &error));
    EXPECT_OK(flx_counter_add(cache, flx_slice_of("conformance"), -7, wait_ms, &after, &error));
    EXPECT(after == before - 7, "%lld and -7 make %lld", (long long)before, (long long)after);
    EXPECT_OK(
        flx_counter_get(cache, flx_slice_of("conformance"), wait_ms, &found, &before, &error));
    EXPECT(found && before == after, "a get answers something else than the last add");
    END
}

static check_result counter_absent(check_suite *suite)
{
    BEGIN
    int64_t value = 0;
    bool found = true;
    EXPECT_OK(flx_cache_new(client, suite->target->cache, &cache, &error));
    EXPECT_OK(
        flx_counter_get(cache, flx_slice_of("conformance-none"), wait_ms, &found, &value, &error));
    EXPECT(!found, "a counter never written is %lld", (long long)value);
    END
}

const check scenario_checks[] = {
    {"pubsub.roundtrip", "published bytes arrive unchanged", pubsub_roundtrip},
    {"pubsub.order", "per-key order", pubsub_order},
    {"pubsub.offsets_are_contiguous", "offsets without gaps", pubsub_offsets},
    {"pubsub.resume_from_offset", "a start at an offset is exact", pubsub_resume},
    {"pubsub.start_earliest", "earliest replays what is kept", pubsub_earliest},
    {"ack.none_does_not_wait_for_the_broker", "fire and forget", ack_none},
    {"ack.per_message_means_the_broker_accepted_it", "every message is answered", ack_per_message},
    {"sharded.delivers_every_shard", "all shards are read", sharded_every_shard},
    {"sharded.reports_the_shard_count", "unknown = 0", sharded_count},
    {"cache.put_get", "a value comes back", cache_put_get},
    {"cache.miss_is_absent", "null, not an error", cache_miss},
    {"cache.delete_returns_previous", "the removed value", cache_delete},
    {"cache.ttl_expires", "gone after its time", cache_ttl},
    {"counter.add_returns_sum", "sums, down as well as up", counter_sum},
    {"counter.get_absent_is_none", "never written is not 0", counter_absent},
    {"watch.delivers_changes_for_the_filter", "and no others", watch_delivers},
    {"watch.deletes_arrive_as_changes_without_values", "a put and its delete", watch_delivers},
    {"watch.resumes_from_an_offset", "exactly there", watch_resumes},
    {"watch.retained_delivers_state_before_changes", "then READY, then changes", watch_retained},
    {"watch.lag_is_reported_rather_than_silent", "all changes, or a RESET and the newest",
     watch_lag},
    {"error.bad_watch_offset_is_typed", "subscribe_cursor_error", watch_cursor},
    {"error.unknown_stream_is_typed", "not_found, by code", error_unknown_stream},
    {"error.unauthorized_is_typed", "forbidden, by code", error_unauthorized},
    {"error.bad_offset_is_typed", "subscribe_cursor_error", error_bad_offset},
    {"retry.terminal_failures_are_not_retried", "forbidden is reported once", terminal_not_retried},
    {"client.concurrent_calls", "eight threads, one client", concurrent_calls},
    {"client.close_is_idempotent", "free twice, then calls are refused", close_is_idempotent},
    {"client.subscription_ends_cleanly", "subscribe and end, twenty times",
     subscription_ends_cleanly},
    {NULL, NULL, NULL},
};

#define NEEDS_LOG     "needs a durable log"
#define NEEDS_CLUSTER "needs several brokers"
#define NEEDS_FAULTS  "needs a control endpoint that breaks links"

const skipped skipped_scenarios[] = {
    {"queue.*", NEEDS_LOG},
    {"commit.*", NEEDS_LOG},
    {"reconnect.*", "needs a broker that may be stopped; tests/integration does it"},
    {"redirect.*", NEEDS_CLUSTER},
    {"error.shard_unavailable_is_retryable", NEEDS_CLUSTER},
    {"error.quorum_timeout_is_outcome_unknown", NEEDS_CLUSTER},
    {"retry.ambiguous_outcomes_are_not_silently_retried", NEEDS_FAULTS},
    {"fault.*", NEEDS_FAULTS},
    {NULL, NULL},
};
