/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node of three workers and clients that let it advise them: publishers and subscribers end at
 * the worker that owns their shard, nothing crosses between workers any more, many subscribers
 * still use all of them, and whoever does not take part is served as before.
 */
#include "broker/worker.h"
#include "client/client_int.h"
#include "metadata/entry.h"
#include "metadata/rules.h"
#include "rig.h"

#include <felix/felix.h>

#include <stdatomic.h>

#define WAIT_MS 60000 /* only guards against a hang */
#define WORKERS 3
#define STREAMS 6
#define ROUNDS  50

static const char *name_of(int stream)
{
    static const char *const names[STREAMS] = {"s0", "s1", "s2", "s3", "s4", "s5"};
    return names[stream];
}

static void create_streams(const rig *r)
{
    for (int i = 0; i < STREAMS; i++) {
        flx_entry entry = {.kind = FLX_KIND_STREAM};
        flx_stream_info_init(&entry.stream, FLX_DEV_TENANT, FLX_DEV_NAMESPACE, name_of(i));
        OK(flx_catalog_store_create(r->node->store, &entry, 1, NULL, err));
    }
}

static uint32_t owner_of(const rig *r, const char *stream)
{
    flx_catalog *catalog = NULL;
    OK(flx_catalog_store_snapshot(r->node->store, &catalog, err));
    const flx_stream_info *info =
        flx_catalog_stream(catalog, flx_slice_of(FLX_DEV_TENANT), flx_slice_of(FLX_DEV_NAMESPACE),
                           flx_slice_of(stream));
    assert_non_null(info);
    const uint32_t owner = flx_worker_owner(info->id, 0, r->node->worker_count);
    catalog = flx_catalog_unref(catalog);
    return owner;
}

static uint64_t connections_at(const rig *r, uint32_t worker)
{
    return flx_stat_get(&flx_worker_thread_stats(r->node->workers[worker])->connections);
}

static uint64_t subscriptions_at(const rig *r, uint32_t worker)
{
    return flx_stat_get(&flx_worker_thread_stats(r->node->workers[worker])->subscriptions);
}

/* A connection that is closed is heard of a moment later. */
static void wait_for_no_subscription(const rig *r)
{
    for (int i = 0; i < WAIT_MS; i++) {
        uint64_t left = 0;
        for (uint32_t worker = 0; worker < r->node->worker_count; worker++)
            left += subscriptions_at(r, worker);
        if (left == 0)
            return;
        (void)usleep(1000);
    }
    fail_msg("subscriptions are left");
}

static uint64_t all_connections(const rig *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->node->worker_count; i++)
        sum += connections_at(r, i);
    return sum;
}

/* Between workers, so far. */
static uint64_t mails(const rig *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->node->worker_count; i++)
        sum += flx_stat_get(&flx_worker_thread_stats(r->node->workers[i])->mails_in);
    return sum;
}

static flx_client *connect_client(const rig *r, uint32_t placed_max, bool no_placement)
{
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    flx_client *client = NULL;
    options.addresses = r->facts.quic_address;
    options.tenant = r->facts.tenant;
    options.token_file = r->facts.token_file;
    options.ca_file = r->facts.ca_file;
    options.server_name = "localhost";
    options.placed_connections_max = placed_max;
    options.no_placement = no_placement;
    options.backoff_max_ms = 200;
    OK(flx_client_connect(&options, WAIT_MS, &client, err));
    return client;
}

typedef struct pair { /* one publisher and one subscriber, a client each */
    flx_client *clients[2];
    flx_publisher *publisher;
    flx_subscriber *subscriber;
} pair;

static void pair_open(pair *p, const rig *r, const char *stream)
{
    for (int i = 0; i < 2; i++)
        p->clients[i] = connect_client(r, 0, false);
    OK(flx_subscriber_new(p->clients[0], stream, NULL, &p->subscriber, err));
    OK(flx_subscriber_wait(p->subscriber, WAIT_MS, err));
    OK(flx_publisher_new(p->clients[1], stream, NULL, &p->publisher, err));
    OK(flx_publisher_publish_wait(p->publisher, NULL, flx_slice_of("first"), WAIT_MS, NULL, err));
}

static void pair_receive(pair *p)
{
    flx_message message = {0};
    OK(flx_subscriber_receive(p->subscriber, WAIT_MS, &message, err));
    assert_int_equal(message.kind, FLX_MESSAGE_RECORD);
    flx_message_release(&message);
}

static void pair_play(pair *p, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        OK(flx_publisher_publish_wait(p->publisher, NULL, flx_slice_of("x"), WAIT_MS, NULL, err));
        pair_receive(p);
    }
}

static void pair_close(pair *p)
{
    p->publisher = flx_publisher_free(p->publisher);
    p->subscriber = flx_subscriber_free(p->subscriber);
    for (int i = 0; i < 2; i++)
        p->clients[i] = flx_client_free(p->clients[i]);
}

static void test_publisher_and_subscriber_land_on_the_owner(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "3");
    create_streams(&r);
    uint32_t owners = 0; /* bits */
    for (int i = 0; i < STREAMS; i++) {
        const uint32_t owner = owner_of(&r, name_of(i));
        pair p = {0};
        pair_open(&p, &r, name_of(i));
        pair_receive(&p);
        for (uint32_t worker = 0; worker < WORKERS; worker++)
            assert_int_equal(subscriptions_at(&r, worker), worker == owner);
        assert_true(connections_at(&r, owner) >= 2); /* one of each client */
        const uint64_t crossed = mails(&r);
        pair_play(&p, ROUNDS);
        assert_true(mails(&r) - crossed < ROUNDS / 2); /* none of them; few are about addresses */
        pair_close(&p);
        wait_for_no_subscription(&r);
        owners |= 1U << owner;
    }
    assert_int_equal(owners, (1U << WORKERS) - 1); /* so each worker was the owner once */
    rig_stop(&r);
}

static void test_a_crowd_uses_all_workers(void **state)
{
    (void)state;
    enum { CROWD = 60 };
    rig r;
    flx_subscriber *subscribers[CROWD];
    rig_start(&r, "3");
    create_streams(&r);
    flx_client *client = connect_client(&r, 0, false);
    for (int i = 0; i < CROWD; i++)
        OK(flx_subscriber_new(client, name_of(0), NULL, &subscribers[i], err));
    for (int i = 0; i < CROWD; i++)
        OK(flx_subscriber_wait(subscribers[i], WAIT_MS, err));
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        assert_true(subscriptions_at(&r, worker) >= (CROWD - FLX_SEATS_NEAR) / WORKERS);
    assert_true(all_connections(&r) <= WORKERS + 1);
    for (int i = 0; i < CROWD; i++)
        subscribers[i] = flx_subscriber_free(subscribers[i]);
    client = flx_client_free(client);
    rig_stop(&r);
}

/* Publishers to streams of all workers through a client that may have `most` connections. */
static void publish_everywhere(const rig *r, uint32_t placed_max, bool no_placement, uint64_t most)
{
    flx_client *client = connect_client(r, placed_max, no_placement);
    flx_publisher *publishers[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        OK(flx_publisher_new(client, name_of(i), NULL, &publishers[i], err));
        OK(flx_publisher_publish_wait(publishers[i], NULL, flx_slice_of("x"), WAIT_MS, NULL, err));
    }
    assert_true(all_connections(r) <= most);
    for (int i = 0; i < STREAMS; i++)
        publishers[i] = flx_publisher_free(publishers[i]);
    client = flx_client_free(client);
}

static void test_the_pool_has_bounds_and_a_switch(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t placed_max;
        bool off;
        uint64_t most;
    } rows[] = {{"as it is", 0, false, WORKERS}, {"one more", 1, false, 2}, {"off", 0, true, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig r;
        print_message("  %s\n", rows[i].name);
        rig_start(&r, "3");
        create_streams(&r);
        publish_everywhere(&r, rows[i].placed_max, rows[i].off, rows[i].most);
        rig_stop(&r);
    }
}

/* The broker takes no second connection from here: everything goes over the first one. */
static void test_a_connection_that_cannot_be_had_is_done_without(void **state)
{
    (void)state;
    const flx_config_preset presets[] = {{"workers", "3"}, {"max_connections_per_ip", "1"}};
    rig r;
    rig_start_with(&r, presets, 2);
    create_streams(&r);
    publish_everywhere(&r, 0, false, 1);
    rig_stop(&r);
}

static void defeat(void *arg)
{
    flx_client *client = arg;
    flx_placer_defeat(&client->placer);
}

/* Connections end elsewhere than where they are sent, as behind a balancer: nobody asks again. */
static void test_where_steering_fails_the_first_connection_serves(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "3");
    create_streams(&r);
    flx_client *client = connect_client(&r, 0, false);
    assert_true(flx_client_call(client, defeat, client));
    for (int i = 0; i < STREAMS; i++) {
        flx_publisher *publisher = NULL;
        OK(flx_publisher_new(client, name_of(i), NULL, &publisher, err));
        OK(flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"), WAIT_MS, NULL, err));
        publisher = flx_publisher_free(publisher);
    }
    assert_int_equal(all_connections(&r), 1);
    client = flx_client_free(client);
    rig_stop(&r);
}

/* A restart with another number of workers: everybody comes back, and ends at the owner of now. */
static void test_another_number_of_workers_is_learned(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "3");
    create_streams(&r);
    pair p = {0};
    pair_open(&p, &r, name_of(1));
    pair_receive(&p);
    char address[80];
    (void)snprintf(address, sizeof address, "%s", r.facts.quic_address);
    r.node = flx_node_free(r.node);
    r.config = flx_config_set_free(r.config);
    const flx_config_preset presets[] = {{"workers", "2"}, {"quic_bind", address}};
    r.config = rig_config(&r.dir, presets, 2);
    const flx_node_options options = {.config = r.config, .log = r.log, .embedded = true};
    OK(flx_node_start(&options, &r.node, err));
    flx_node_facts_get(r.node, &r.facts);
    assert_string_equal(r.facts.quic_address, address);

    /* What was published before the subscriber is back it does not see: it reads from the end. */
    OK(flx_publisher_publish_wait(p.publisher, NULL, flx_slice_of("x"), WAIT_MS, NULL, err));
    const uint32_t owner = owner_of(&r, name_of(1));
    while (subscriptions_at(&r, 0) + subscriptions_at(&r, 1) == 0)
        (void)usleep(1000);
    assert_int_equal(subscriptions_at(&r, owner), 1);
    const uint64_t crossed = mails(&r);
    for (int i = 0; i < ROUNDS; i++)
        OK(flx_publisher_publish_wait(p.publisher, NULL, flx_slice_of("x"), WAIT_MS, NULL, err));
    assert_true(mails(&r) - crossed < ROUNDS / 2);
    pair_close(&p);
    rig_stop(&r);
}

/* ---- caches ---- */

#define KEYS   40
#define WARMUP 400 /* enough requests of each shard that it asks for its place, and has it */

static flx_cache *cache_open(const rig *r, flx_client *client, const char *name, uint32_t shards)
{
    flx_entry entry = {.kind = FLX_KIND_CACHE};
    flx_cache *cache = NULL;
    flx_cache_info_init(&entry.cache, FLX_DEV_TENANT, FLX_DEV_NAMESPACE, name);
    entry.cache.shards = shards;
    OK(flx_catalog_store_create(r->node->store, &entry, 1, NULL, err));
    OK(flx_cache_new(client, name, &cache, err));
    return cache;
}

static flx_slice key_of(int i, char text_of[16])
{
    (void)snprintf(text_of, 16, "k%d", i % KEYS);
    return flx_slice_of(text_of);
}

static void cache_play(flx_cache *cache, int requests)
{
    char key[16];
    for (int i = 0; i < requests; i++) {
        flx_cache_entry entry = {0};
        OK(flx_cache_put(cache, key_of(i, key), flx_slice_of("v"), FLX_TTL_NONE, WAIT_MS, err));
        OK(flx_cache_get(cache, key_of(i, key), WAIT_MS, &entry, err));
        assert_true(entry.found);
        flx_cache_entry_release(&entry);
    }
}

/* Mails for 2 * ROUNDS requests, once the cache is used. */
static uint64_t crossings(const rig *r, flx_cache *cache)
{
    cache_play(cache, WARMUP);
    const uint64_t before = mails(r);
    cache_play(cache, ROUNDS);
    return mails(r) - before;
}

static const struct cache_row {
    const char *name;
    uint32_t shards;
    bool json;
} cache_rows[] = {{"one shard", 1, false},
                  {"one shard, JSON", 1, true},
                  {"seven shards", 7, false},
                  {"seven shards, JSON", 7, true}};

static void test_requests_of_a_cache_land_on_the_owner(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "3");
    for (size_t i = 0; i < sizeof cache_rows / sizeof cache_rows[0]; i++) {
        const struct cache_row *row = &cache_rows[i];
        char name[8];
        (void)snprintf(name, sizeof name, "c%zu", i);
        print_message("  %s\n", row->name);
        flx_client *client = connect_client(&r, 0, false);
        client->options.cache_json = row->json; /* before anything is asked */
        flx_cache *cache = cache_open(&r, client, name, row->shards);
        assert_true(crossings(&r, cache) < ROUNDS / 2); /* few, and about addresses */
        cache = flx_cache_free(cache);
        client = flx_client_free(client);
    }
    rig_stop(&r);
}

static void test_a_cache_that_is_hardly_used_stays_at_home(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "3");
    flx_client *client = connect_client(&r, 0, false);
    for (int i = 0; i < STREAMS; i++) { /* some of them have their owner elsewhere */
        flx_cache *cache = cache_open(&r, client, name_of(i), 1);
        cache_play(cache, 3);
        cache = flx_cache_free(cache);
    }
    assert_int_equal(all_connections(&r), 1);
    client = flx_client_free(client);
    rig_stop(&r);
}

static void test_caches_keep_to_the_bounds_and_the_switch(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "3");
    flx_client *client = connect_client(&r, 0, true);
    flx_cache *cache = cache_open(&r, client, "off", 7);
    assert_true(crossings(&r, cache) > ROUNDS / 2);
    assert_int_equal(all_connections(&r), 1);
    cache = flx_cache_free(cache);
    client = flx_client_free(client);
    client = connect_client(&r, 1, false);
    cache = cache_open(&r, client, "one-more", 7);
    cache_play(cache, WARMUP);
    assert_true(all_connections(&r) <= 3); /* with the one that was just closed */
    cache = flx_cache_free(cache);
    client = flx_client_free(client);
    rig_stop(&r);
}

/* A few watches are served by the owner of what they watch; many use all workers. */
static void test_watches_are_placed_too(void **state)
{
    (void)state;
    enum { CROWD = 60 };
    rig r;
    flx_cache_watch *watches[CROWD];
    rig_start(&r, "3");
    flx_client *client = connect_client(&r, 0, false);
    flx_client *other = connect_client(&r, 0, false);
    flx_cache *cache = cache_open(&r, client, "watched", 7);
    flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    options.key = flx_slice_of("k1");
    OK(flx_cache_watch_new(other, "watched", &options, &watches[0], err));
    OK(flx_cache_watch_wait(watches[0], WAIT_MS, err));
    cache_play(cache, WARMUP);
    const uint64_t before = mails(&r);
    for (int i = 0; i < ROUNDS; i++)
        OK(flx_cache_put(cache, flx_slice_of("k1"), flx_slice_of("v"), FLX_TTL_NONE, WAIT_MS, err));
    assert_true(mails(&r) - before < ROUNDS / 2);
    for (int i = 1; i < CROWD; i++)
        OK(flx_cache_watch_new(other, "watched", &options, &watches[i], err));
    for (int i = 1; i < CROWD; i++)
        OK(flx_cache_watch_wait(watches[i], WAIT_MS, err));
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        assert_true(subscriptions_at(&r, worker) >= (CROWD - FLX_SEATS_NEAR) / WORKERS);
    for (int i = 0; i < CROWD; i++)
        watches[i] = flx_cache_watch_free(watches[i]);
    cache = flx_cache_free(cache);
    other = flx_client_free(other);
    client = flx_client_free(client);
    rig_stop(&r);
}

typedef struct tally {
    _Atomic int answered;
    _Atomic int failed;
} tally;

static void count_put(void *arg, const flx_cache_result *result)
{
    tally *t = arg;
    atomic_fetch_add(&t->failed, result->status != FLX_OK);
    atomic_fetch_add(&t->answered, 1);
}

/* Puts to one key, hundreds under way while its place changes: the last one asked is the last done. */
static void test_requests_for_a_key_keep_their_order(void **state)
{
    (void)state;
    enum { PUTS = 600 };
    rig r;
    rig_start(&r, "3");
    for (int i = 0; i < STREAMS; i++) {
        flx_client *client = connect_client(&r, 0, false);
        flx_cache *cache = cache_open(&r, client, name_of(i), 1 + (uint32_t)i);
        tally t = {0};
        char value[16];
        for (int put = 0; put < PUTS; put++) {
            (void)snprintf(value, sizeof value, "%d", put);
            OK(flx_cache_put_async(cache, flx_slice_of("key"), flx_slice_of(value), FLX_TTL_NONE,
                                   count_put, &t, err));
            if (put % 8 == 0)
                (void)usleep(100);
        }
        while (atomic_load(&t.answered) < PUTS)
            (void)usleep(1000);
        assert_int_equal(atomic_load(&t.failed), 0);
        flx_cache_entry entry = {0};
        OK(flx_cache_get(cache, flx_slice_of("key"), WAIT_MS, &entry, err));
        assert_int_equal(entry.value.len, strlen(value));
        assert_memory_equal(entry.value.ptr, value, entry.value.len);
        flx_cache_entry_release(&entry);
        cache = flx_cache_free(cache);
        client = flx_client_free(client);
    }
    rig_stop(&r);
}

/* The connection made for a cache is lost: its reads are asked again, over the one that is left. */
static void close_placed(void *arg)
{
    flx_client *client = arg;
    for (uint32_t i = client->options.connections; i < client->uplink_count; i++)
        if (client->uplinks[i].conn != NULL)
            flx_quic_conn_close(client->uplinks[i].conn, 0, "");
}

static void test_a_lost_connection_is_done_without(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "3");
    flx_client *client = connect_client(&r, 0, false);
    flx_cache *cache = cache_open(&r, client, "lost", 7);
    tally t = {0};
    int asked = 0;
    cache_play(cache, WARMUP);
    for (int round = 0; round < 10; round++) {
        char key[16];
        for (int i = 0; i < KEYS; i++, asked++)
            OK(flx_cache_get_async(cache, key_of(i, key), count_put, &t, err));
        assert_true(flx_client_call(client, close_placed, client));
        cache_play(cache, 1);
    }
    while (atomic_load(&t.answered) < asked)
        (void)usleep(1000);
    assert_int_equal(atomic_load(&t.failed), 0);
    for (int i = 0; i < 1000 && all_connections(&r) < 3;
         i++) /* and has them again, after a pause */
        cache_play(cache, KEYS);
    assert_int_equal(all_connections(&r), 3);
    cache = flx_cache_free(cache);
    client = flx_client_free(client);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_of_a_cache_land_on_the_owner),
        cmocka_unit_test(test_a_cache_that_is_hardly_used_stays_at_home),
        cmocka_unit_test(test_caches_keep_to_the_bounds_and_the_switch),
        cmocka_unit_test(test_watches_are_placed_too),
        cmocka_unit_test(test_requests_for_a_key_keep_their_order),
        cmocka_unit_test(test_a_lost_connection_is_done_without),
        cmocka_unit_test(test_publisher_and_subscriber_land_on_the_owner),
        cmocka_unit_test(test_a_crowd_uses_all_workers),
        cmocka_unit_test(test_the_pool_has_bounds_and_a_switch),
        cmocka_unit_test(test_a_connection_that_cannot_be_had_is_done_without),
        cmocka_unit_test(test_where_steering_fails_the_first_connection_serves),
        cmocka_unit_test(test_another_number_of_workers_is_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
