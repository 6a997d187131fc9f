/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node of three workers and its clients in one process, everything at once: publishers, subscribers,
 * caches, watches, streams that come and go, keys and certificates read again, scrapes, and a drain in the
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
#define WRITERS    2
#define WRITES     300 /* of each writer to the spread cache */
#define SPREAD     "spread"

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

/* ---- operations, many under way, on shards of all workers ---- */

static void create_spread_cache(const rig *r)
{
    flx_entry entry = {.kind = FLX_KIND_CACHE};
    flx_cache_info_init(&entry.cache, FLX_DEV_TENANT, FLX_DEV_NAMESPACE, SPREAD);
    entry.cache.shards = SHARDS;
    if (streams_are_durable) {
        entry.cache.promise = flx_promise_durable(FLX_ACK_SYNCED);
    }
    TRY(flx_catalog_store_create(r->node->store, &entry, 1, NULL, err));
}

typedef struct writer {
    const rig *r;
    uint32_t index;
    _Atomic uint32_t done;
} writer;

static void on_done(void *arg, const flx_cache_result *result)
{
    writer *w = arg;
    if (result->status != FLX_OK) {
        (void)fprintf(stderr, "operation: %s\n", result->error->message);
        (void)atomic_fetch_add(&failures, 1);
    }
    (void)atomic_fetch_add(&w->done, 1);
}

static void on_counted(void *arg, const flx_counter_result *result)
{
    writer *w = arg;
    if (result->status != FLX_OK)
        (void)atomic_fetch_add(&failures, 1);
    (void)atomic_fetch_add(&w->done, 1);
}

static void wait_for(_Atomic uint32_t *done, uint32_t count)
{
    for (int i = 0; i < WAIT_MS && atomic_load(done) < count; i++)
        (void)usleep(1000);
    if (atomic_load(done) != count)
        (void)atomic_fetch_add(&failures, 1);
}

/* Every key is written once and read back; all writers add to one counter. */
static void *write_spread(void *arg)
{
    writer *w = arg;
    flx_client *client = connect_client(w->r);
    flx_cache *cache = NULL;
    TRY(flx_cache_new(client, SPREAD, &cache, err));
    for (uint32_t i = 0; i < WRITES; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%u-%u", w->index, i);
        TRY(flx_cache_put_async(cache, flx_slice_of(key), flx_slice_of(key), FLX_TTL_NONE, on_done,
                                w, err));
        TRY(flx_counter_add_async(cache, flx_slice_of("sum"), 1, on_counted, w, err));
        TRY(flx_cache_get_async(cache, flx_slice_of(key), on_done, w, err));
    }
    wait_for(&w->done, 3 * WRITES);
    for (uint32_t i = 0; i < WRITES; i += 7) {
        char key[16];
        flx_cache_entry entry = {0};
        (void)snprintf(key, sizeof key, "%u-%u", w->index, i);
        TRY(flx_cache_get(cache, flx_slice_of(key), WAIT_MS, &entry, err));
        if (!entry.found || entry.value.len != strlen(key) ||
            memcmp(entry.value.ptr, key, entry.value.len) != 0)
            (void)atomic_fetch_add(&failures, 1);
        flx_cache_entry_release(&entry);
    }
    (void)flx_cache_free(cache);
    (void)flx_client_free(client);
    return NULL;
}

typedef struct watcher {
    flx_client *client;
    flx_cache_watch *watch;
    bool is_seen[WRITERS][WRITES]; /* the client's loop thread */
    _Atomic uint32_t seen;
} watcher;

static void on_change(void *arg, const flx_cache_change *change)
{
    watcher *w = arg;
    char key[16] = "";
    unsigned writer_index = 0;
    unsigned i = 0;
    if (change->kind != FLX_CACHE_CHANGE_PUT || change->key.len >= sizeof key)
        return;
    memcpy(key, change->key.ptr, change->key.len);
    if (sscanf(key, "%u-%u", &writer_index, &i) != 2 || writer_index >= WRITERS || i >= WRITES) {
        (void)atomic_fetch_add(&failures, 1);
    } else if (!w->is_seen[writer_index][i]) {
        w->is_seen[writer_index][i] = true;
        (void)atomic_fetch_add(&w->seen, 1);
    }
}

static void watcher_open(watcher *w, const rig *r)
{
    memset(w, 0, sizeof *w);
    w->client = connect_client(r);
    flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    options.from = FLX_WATCH_FROM_RETAINED;
    options.change_fn = on_change;
    options.arg = w;
    TRY(flx_cache_watch_new(w->client, SPREAD, &options, &w->watch, err));
    TRY(flx_cache_watch_wait(w->watch, WAIT_MS, err));
}

static void watcher_close(watcher *w)
{
    wait_for(&w->seen, WRITERS * WRITES);
    (void)flx_cache_watch_free(w->watch);
    (void)flx_client_free(w->client);
}

static void check_sum(const rig *r)
{
    flx_client *client = connect_client(r);
    flx_cache *cache = NULL;
    bool found = false;
    int64_t sum = 0;
    TRY(flx_cache_new(client, SPREAD, &cache, err));
    TRY(flx_counter_get(cache, flx_slice_of("sum"), WAIT_MS, &found, &sum, err));
    if (!found || sum != WRITERS * WRITES)
        (void)atomic_fetch_add(&failures, 1);
    (void)flx_cache_free(cache);
    (void)flx_client_free(client);
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
    create_spread_cache(&r);
    pthread_t node;
    start_thread(&node, run_node, &r);

    reader readers[READERS];
    pthread_t threads[PUBLISHERS + READERS + WRITERS + 3];
    size_t count = 0;
    static watcher watchers[READERS]; /* on connections of their own: other workers */
    writer writers[WRITERS];
    for (size_t i = 0; i < READERS; i++)
        watcher_open(&watchers[i], &r);
    for (size_t i = 0; i < READERS; i++) {
        reader_open(&readers[i], &r);
        start_thread(&threads[count++], read_all, &readers[i]);
    }
    for (size_t i = 0; i < PUBLISHERS; i++)
        start_thread(&threads[count++], publish, &r);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (writer){.r = &r, .index = i};
        start_thread(&threads[count++], write_spread, &writers[i]);
    }
    start_thread(&threads[count++], use_cache, &r);
    start_thread(&threads[count++], change_catalog, &r);
    start_thread(&threads[count++], scrape, &r);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < READERS; i++)
        watcher_close(&watchers[i]);
    check_sum(&r);
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
