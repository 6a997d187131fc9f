/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node of three workers and its clients in one process, everything at once: publishers, subscribers,
 * a cache, streams that come and go, keys and certificates read again, scrapes, and a drain in the
 * middle of it. Under the thread sanitizer this is the proof that workers share what they say and
 * nothing else; without it, that every record arrives once and in order.
 */
#include "http/client.h"
#include "metadata/entry.h"
#include "metadata/rules.h"
#include "rig.h"

#include <felix/felix.h>

#include <pthread.h>
#include <signal.h>

#define WAIT_MS    60000 /* only guards against a hang */
#define PUBLISHERS 2
#define READERS    3
#define RECORDS    1500 /* of each publisher */
#define SHARDS     4
#define KEYS       16

/* Whether streams have logs: publishes then wait for I/O threads, and readers may read the past. */
static bool streams_are_durable;

/* cmocka's checks jump, which only the main thread may: others count what went wrong. */
static _Atomic int failures;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        flx_error try_error_ = {0};                                                                \
        flx_error *const err = &try_error_;                                                        \
        if ((call) != FLX_OK) {                                                                    \
            (void)fprintf(stderr, "%s: %s\n", #call, try_error_.message);                          \
            (void)atomic_fetch_add(&failures, 1);                                                  \
        }                                                                                          \
    } while (0)

static flx_client *connect_client(const rig *r)
{
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    options.addresses = r->facts.quic_address;
    options.tenant = r->facts.tenant;
    options.token_file = r->facts.token_file;
    options.ca_file = r->facts.ca_file;
    options.server_name = "localhost";
    flx_client *client = NULL;
    TRY(flx_client_connect(&options, WAIT_MS, &client, err));
    return client;
}

static void create_stream(const rig *r, const char *name, uint32_t shards)
{
    flx_entry entry = {.kind = FLX_KIND_STREAM};
    flx_stream_info_init(&entry.stream, FLX_DEV_TENANT, FLX_DEV_NAMESPACE, name);
    entry.stream.shards = shards;
    if (streams_are_durable) {
        entry.stream.promise.durable = true;
        entry.stream.promise.ack = FLX_ACK_SYNCED;
        entry.stream.promise.fsync = FLX_FSYNC_ON_COMMIT;
    }
    TRY(flx_catalog_store_create(r->node->store, &entry, 1, NULL, err));
}

/* ---- the parts that run at once ---- */

static void *publish(void *arg)
{
    const rig *r = arg;
    flx_client *client = connect_client(r);
    flx_publisher *publisher = NULL;
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    options.block_ms = WAIT_MS;
    options.batch_count_max = 16;
    TRY(flx_publisher_new(client, "wide", &options, &publisher, err));
    for (uint32_t i = 0; i < RECORDS; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%u", i % KEYS);
        const flx_slice key_slice = flx_slice_of(key);
        TRY(flx_publisher_publish(publisher, &key_slice, flx_slice_of("payload"), NULL, NULL, err));
    }
    TRY(flx_publisher_flush(publisher, WAIT_MS, err));
    flx_publisher_stats stats = {.struct_size = sizeof stats};
    flx_publisher_get_stats(publisher, &stats);
    if (stats.acked != RECORDS)
        (void)atomic_fetch_add(&failures, 1);
    (void)flx_publisher_free(publisher);
    (void)flx_client_free(client);
    return NULL;
}

typedef struct reader {
    flx_client *client;
    flx_subscriber *subscriber;
} reader;

static void reader_open(reader *rd, const rig *r)
{
    rd->client = connect_client(r);
    TRY(flx_subscriber_new(rd->client, "wide", NULL, &rd->subscriber, err));
    TRY(flx_subscriber_wait(rd->subscriber, WAIT_MS, err));
}

/* Every record of every shard, dense. */
static void *read_all(void *arg)
{
    reader *rd = arg;
    uint64_t next[SHARDS] = {0};
    for (uint32_t i = 0; i < PUBLISHERS * RECORDS && atomic_load(&failures) == 0; i++) {
        flx_message message = {0};
        TRY(flx_subscriber_receive(rd->subscriber, WAIT_MS, &message, err));
        if (message.kind != FLX_MESSAGE_RECORD || message.shard >= SHARDS ||
            message.offset != next[message.shard]++) {
            (void)fprintf(stderr, "record %u: kind %d shard %u offset %llu\n", i, (int)message.kind,
                          message.shard, (unsigned long long)message.offset);
            (void)atomic_fetch_add(&failures, 1);
        }
        flx_message_release(&message);
    }
    (void)flx_subscriber_free(rd->subscriber);
    (void)flx_client_free(rd->client);
    return NULL;
}

static void *use_cache(void *arg)
{
    const rig *r = arg;
    flx_client *client = connect_client(r);
    flx_cache *cache = NULL;
    TRY(flx_cache_new(client, FLX_DEV_CACHE, &cache, err));
    for (unsigned i = 0; i < 200; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%u", i % 32);
        flx_cache_entry entry = {0};
        TRY(flx_cache_put(cache, flx_slice_of(key), flx_slice_of(key), i % 3 == 0 ? 1 : 0, WAIT_MS,
                          err));
        TRY(flx_cache_get(cache, flx_slice_of(key), WAIT_MS, &entry, err));
        flx_cache_entry_release(&entry);
        if (i % 5 == 0) {
            TRY(flx_cache_delete(cache, flx_slice_of(key), WAIT_MS, &entry, err));
            flx_cache_entry_release(&entry);
        }
    }
    (void)flx_cache_free(cache);
    (void)flx_client_free(client);
    return NULL;
}

/* A stream is there for clients as soon as its creation returned, on whatever worker they are. */
static void *change_catalog(void *arg)
{
    const rig *r = arg;
    flx_client *client = connect_client(r);
    for (unsigned i = 0; i < 25; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "short-%u", i);
        create_stream(r, name, 1 + i % 3);
        flx_publisher *publisher = NULL;
        TRY(flx_publisher_new(client, name, NULL, &publisher, err));
        uint64_t offset = 1;
        TRY(flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"), WAIT_MS, &offset, err));
        if (offset != 0)
            (void)atomic_fetch_add(&failures, 1);
        (void)flx_publisher_free(publisher);
        const flx_key key = {flx_slice_of(FLX_DEV_TENANT), flx_slice_of(FLX_DEV_NAMESPACE),
                             flx_slice_of(name)};
        TRY(flx_catalog_store_delete(r->node->store, FLX_KIND_STREAM, &key, err));
    }
    (void)flx_client_free(client);
    return NULL;
}

static void get(flx_http_client *client, const char *url)
{
    const flx_http_call call = {.method = "GET", .url = url};
    flx_http_answer answer = {0};
    TRY(flx_http_client_call(client, &call, &answer, err));
    if (answer.status != 200)
        (void)atomic_fetch_add(&failures, 1);
    flx_http_answer_done(&answer);
}

static void *scrape(void *arg)
{
    const rig *r = arg;
    flx_http_client *client = NULL;
    const flx_http_client_options options = {
        .ca_file = r->facts.ca_file, .loopback_http = true, .timeout_ms = WAIT_MS};
    TRY(flx_http_client_new(&options, &client, err));
    char url[128];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(url, sizeof url, "http://%s/metrics", r->facts.health_address);
        get(client, url);
        (void)snprintf(url, sizeof url, "http://%s/live", r->facts.health_address);
        get(client, url);
        (void)kill(getpid(), SIGHUP); /* keys and certificates, read by the node's thread */
    }
    (void)flx_http_client_free(client);
    return NULL;
}

static void *run_node(void *arg)
{
    const rig *r = arg;
    TRY(flx_node_run(r->node, err));
    return NULL;
}

static atomic_bool is_publishing; /* the one into the drain */

/* Publishes until the node drains. What was accepted before is answered, nothing waits for ever. */
static void *publish_into_the_drain(void *arg)
{
    const rig *r = arg;
    flx_client *client = connect_client(r);
    flx_publisher *publisher = NULL;
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    options.unsent_timeout_ms = 100; /* nobody comes back */
    TRY(flx_publisher_new(client, "wide", &options, &publisher, err));
    flx_status status = FLX_OK;
    for (int i = 0; i < 200000 && status == FLX_OK; i++) {
        status =
            flx_publisher_publish_wait(publisher, NULL, flx_slice_of("last"), WAIT_MS, NULL, NULL);
        atomic_store(&is_publishing, true);
    }
    if (status == FLX_OK)
        (void)atomic_fetch_add(&failures, 1);
    (void)flx_publisher_free(publisher);
    (void)flx_client_free(client);
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*main)(void *arg), void *arg)
{
    assert_int_equal(pthread_create(thread, NULL, main, arg), 0);
}

static void everything_at_once(void)
{
    rig r;
    atomic_store(&failures, 0);
    OK(flx_http_client_init(err));
    rig_start(&r, "3");
    create_stream(&r, "wide", SHARDS);
    pthread_t node;
    start_thread(&node, run_node, &r);

    reader readers[READERS];
    pthread_t threads[PUBLISHERS + READERS + 3];
    size_t count = 0;
    for (size_t i = 0; i < READERS; i++) {
        reader_open(&readers[i], &r);
        start_thread(&threads[count++], read_all, &readers[i]);
    }
    for (size_t i = 0; i < PUBLISHERS; i++)
        start_thread(&threads[count++], publish, &r);
    start_thread(&threads[count++], use_cache, &r);
    start_thread(&threads[count++], change_catalog, &r);
    start_thread(&threads[count++], scrape, &r);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&failures), 0);

    pthread_t late;
    atomic_store(&is_publishing, false);
    start_thread(&late, publish_into_the_drain, &r);
    while (!atomic_load(&is_publishing))
        (void)usleep(1000);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(pthread_join(node, NULL), 0);
    assert_int_equal(pthread_join(late, NULL), 0);
    assert_int_equal(atomic_load(&failures), 0);
    rig_stop(&r);
}

static void test_everything_at_once(void **state)
{
    (void)state;
    streams_are_durable = false;
    everything_at_once();
}

static void test_everything_at_once_on_the_disk(void **state)
{
    (void)state;
    streams_are_durable = true;
    everything_at_once();
}

/* Ends with clients connected and subscribed on every worker: what closing them makes workers tell
 * each other must not reach a mailbox that is gone. */
static void test_a_node_ends_with_its_clients_open(void **state)
{
    (void)state;
    rig r;
    atomic_store(&failures, 0);
    rig_start(&r, "3");
    create_stream(&r, "wide", SHARDS);
    reader readers[8];
    for (size_t i = 0; i < 8; i++)
        reader_open(&readers[i], &r);
    rig_stop(&r);
    for (size_t i = 0; i < 8; i++) {
        (void)flx_subscriber_free(readers[i].subscriber);
        (void)flx_client_free(readers[i].client);
    }
    assert_int_equal(atomic_load(&failures), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_at_once),
        cmocka_unit_test(test_everything_at_once_on_the_disk),
        cmocka_unit_test(test_a_node_ends_with_its_clients_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
