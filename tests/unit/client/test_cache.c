/* SPDX-License-Identifier: Apache-2.0 */
/* The cache calls against a broker: what each answers, and what a lost or silent broker makes of it. */
#include "rig.h"

#include <stdio.h>

/* Each row of the table at the end runs with one of these: JSON, or operation frames. */
static const mock_rules in_json = {0};
static const mock_rules in_frames = {.operation_window = 64};
static const mock_rules in_frames_backwards = {.operation_window = 64, .answers_backwards = true};

static void start(rig *r, void **state)
{
    rig_start_with(r, *state);
}

/* The rules of the row, changed. */
static mock_rules rules_of(void **state)
{
    mock_rules rules;
    memcpy(&rules, *state, sizeof(rules));
    return rules;
}

static void put_get_delete(void **state)
{
    rig r = {0};
    start(&r, state);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));

    RIG_OK(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
    assert_false(entry.found); /* a miss is no failure */

    RIG_OK(flx_cache_put(cache, flx_slice_of("k"), flx_slice_of("value"), 1000, RIG_WAIT_MS, err));
    RIG_OK(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
    assert_true(entry.found);
    assert_true(entry.has_version);
    rig_check_text(entry.value, "value");

    flx_cache_entry second;
    flx_cache_entry_keep(&entry, &second);
    flx_cache_entry_release(&entry);
    flx_cache_entry_release(&entry); /* twice is fine */
    rig_check_text(second.value, "value");
    flx_cache_entry_release(&second);

    RIG_OK(flx_cache_delete(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
    rig_check_text(entry.value, "value");
    flx_cache_entry_release(&entry);
    RIG_OK(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
    assert_false(entry.found);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

static void conditions(void **state)
{
    rig r = {0};
    start(&r, state);
    flx_cache *cache;
    bool applied;
    uint64_t first;
    uint64_t version;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    const flx_slice key = flx_slice_of("k");

    RIG_OK(flx_cache_put_if(cache, key, flx_slice_of("a"), FLX_TTL_NONE, FLX_VERSION_ABSENT,
                            RIG_WAIT_MS, &applied, &first, err));
    assert_true(applied);
    RIG_OK(flx_cache_put_if(cache, key, flx_slice_of("b"), FLX_TTL_NONE, FLX_VERSION_ABSENT,
                            RIG_WAIT_MS, &applied, &version, err));
    assert_false(applied);
    assert_int_equal(version, first); /* what is there */
    RIG_OK(flx_cache_put_if(cache, key, flx_slice_of("c"), FLX_TTL_NONE, first, RIG_WAIT_MS,
                            &applied, &version, err));
    assert_true(applied);
    RIG_OK(flx_cache_delete_if(cache, key, first, RIG_WAIT_MS, &applied, NULL, err));
    assert_false(applied);
    RIG_OK(flx_cache_delete_if(cache, key, version, RIG_WAIT_MS, &applied, NULL, err));
    assert_true(applied);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

typedef struct counter {
    _Atomic int ok, failed;
    _Atomic int last;
} counter;

static void count(void *arg, const flx_cache_result *result)
{
    counter *c = arg;
    c->last = result->status;
    if (result->status == FLX_OK)
        c->ok++;
    else
        c->failed++;
}

static void many_at_once(void **state)
{
    rig r = {0};
    start(&r, state);
    flx_cache *cache;
    counter c = {0};
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (int i = 0; i < 500; i++)
        RIG_OK(flx_cache_put_async(cache, flx_slice_of(i % 2 ? "a" : "b"), flx_slice_of("v"),
                                   FLX_TTL_NONE, count, &c, err));
    while (c.ok + c.failed < 500)
        usleep(1000);
    assert_int_equal(c.ok, 500);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

static void unknown_cache(void **state)
{
    mock_rules rules = rules_of(state);
    rules.stream_unknown = true;
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    flx_cache_entry entry;
    flx_error error;
    RIG_OK(flx_cache_new(r.client, "t1/default/none", &cache, err));
    assert_int_equal(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, &error),
                     FLX_ERR_NOT_FOUND);
    assert_int_equal(error.code, 3);
    assert_int_equal(error.retry, FLX_RETRY_AFTER);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* A read that got no answer timed out; a write that got none may have happened. */
static void silence(void **state)
{
    mock_rules rules = rules_of(state);
    rules.cache_silent = true;
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    assert_int_equal(flx_cache_get(cache, flx_slice_of("k"), 50, &entry, NULL), FLX_ERR_TIMEOUT);
    assert_int_equal(
        flx_cache_put(cache, flx_slice_of("k"), flx_slice_of("v"), FLX_TTL_NONE, 50, NULL),
        FLX_ERR_UNKNOWN_OUTCOME);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* After the loss a get is asked again by itself. */
static void get_survives_a_lost_connection(void **state)
{
    rig r = {0};
    start(&r, state);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (int i = 0; i < 5; i++) {
        mock_broker_kick(r.broker);
        RIG_OK(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
        assert_false(entry.found);
    }
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

static void what_is_not_offered(void **state)
{
    (void)state;
    const mock_rules rules = {.features_withheld = 0xffffffff};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    bool applied;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    RIG_OK(
        flx_cache_put(cache, flx_slice_of("k"), flx_slice_of("v"), FLX_TTL_NONE, RIG_WAIT_MS, err));
    assert_int_equal(flx_cache_delete(cache, flx_slice_of("k"), RIG_WAIT_MS, NULL, NULL),
                     FLX_ERR_UNSUPPORTED);
    assert_int_equal(
        flx_cache_delete_if(cache, flx_slice_of("k"), 1, RIG_WAIT_MS, &applied, NULL, NULL),
        FLX_ERR_UNSUPPORTED);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

static void keys_that_are_none(void **state)
{
    rig r = {0};
    start(&r, state);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    assert_int_equal(flx_cache_get(cache, flx_slice_of(""), 1, &entry, NULL), FLX_ERR_INVALID);
    assert_int_equal(flx_cache_get(cache, flx_slice_of("\xff"), 1, &entry, NULL), FLX_ERR_INVALID);
    assert_int_equal(flx_cache_get(cache, (flx_slice){(const uint8_t *)"a\0b", 3}, 1, &entry, NULL),
                     FLX_ERR_INVALID);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* Callbacks still owed come before free returns. */
static void free_with_requests_under_way(void **state)
{
    mock_rules rules = rules_of(state);
    rules.cache_silent = true;
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    counter c = {0};
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (int i = 0; i < 40; i++)
        RIG_OK(flx_cache_get_async(cache, flx_slice_of("k"), count, &c, err));
    cache = flx_cache_free(cache);
    assert_int_equal(c.failed, 40);
    rig_stop(&r);
}

/* ---- only in frames ---- */

static void wait_for(const counter *c, int count)
{
    while (c->ok + c->failed < count)
        usleep(1000);
}

/* What is asked in one turn of the loop shares frames; one connection, one channel. */
static void frames_are_shared(void **state)
{
    rig r = {0};
    start(&r, state);
    flx_cache *first;
    flx_cache *second;
    counter c = {0};
    RIG_OK(flx_cache_new(r.client, "primary", &first, err));
    RIG_OK(flx_cache_new(r.client, "other", &second, err));
    RIG_OK(
        flx_cache_put(first, flx_slice_of("k"), flx_slice_of("v"), FLX_TTL_NONE, RIG_WAIT_MS, err));
    const mock_counts before = mock_broker_counts(r.broker);
    for (int i = 0; i < 500; i++)
        RIG_OK(flx_cache_get_async(i % 2 ? first : second, flx_slice_of("k"), count, &c, err));
    wait_for(&c, 500);
    assert_int_equal(c.ok, 500);
    const mock_counts after = mock_broker_counts(r.broker);
    assert_int_equal(after.cache_requests - before.cache_requests, 500);
    assert_in_range(after.operation_frames - before.operation_frames, 500 / 64, 400);
    assert_in_range(after.auths, 3,
                    4); /* the probe's, one channel's, and of who asks for a place */
    first = flx_cache_free(first);
    second = flx_cache_free(second);
    rig_stop(&r);
}

/* An answer that never comes holds up nobody: later requests go through another channel. */
static void one_overdue_answer(void **state)
{
    rig r = {0};
    start(&r, state);
    flx_cache *cache;
    flx_cache_entry entry;
    counter c = {0};
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    RIG_OK(flx_cache_get_async(cache, flx_slice_of("silent"), count, &c, err));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(flx_cache_get(cache, flx_slice_of("silent"), 20, &entry, NULL),
                         FLX_ERR_TIMEOUT);
        assert_int_equal(
            flx_cache_put(cache, flx_slice_of("silent"), flx_slice_of("v"), FLX_TTL_NONE, 20, NULL),
            FLX_ERR_UNKNOWN_OUTCOME);
        RIG_OK(flx_cache_put(cache, flx_slice_of("k"), flx_slice_of("v"), FLX_TTL_NONE, RIG_WAIT_MS,
                             err));
        RIG_OK(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
        rig_check_text(entry.value, "v");
        flx_cache_entry_release(&entry);
    }
    assert_int_equal(c.ok + c.failed, 0); /* its own time is not over */
    cache = flx_cache_free(cache);
    assert_int_equal(c.failed, 1);
    rig_stop(&r);
}

/* After the connection is lost reads are asked again, writes are not. */
static void a_lost_connection(void **state)
{
    mock_rules rules = rules_of(state);
    rules.cache_silent = true;
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    counter reads = {0};
    counter writes = {0};
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (int i = 0; i < 10; i++) {
        RIG_OK(flx_cache_get_async(cache, flx_slice_of("k"), count, &reads, err));
        RIG_OK(flx_cache_put_async(cache, flx_slice_of("k"), flx_slice_of("v"), FLX_TTL_NONE, count,
                                   &writes, err));
    }
    while (mock_broker_counts(r.broker).cache_requests < 20)
        usleep(1000);
    rules.cache_silent = false;
    mock_broker_set(r.broker, &rules);
    mock_broker_kick(r.broker);
    wait_for(&reads, 10);
    wait_for(&writes, 10);
    assert_int_equal(reads.ok, 10);
    assert_int_equal(writes.failed, 10);
    assert_int_equal(writes.last, FLX_ERR_UNKNOWN_OUTCOME);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* A value larger than the frames others share leaves from where it lies. */
static void large_values(void **state)
{
    static char bytes[200000];
    static const size_t sizes[] = {0, 1, 8192, 20000, 65536, 200000};
    rig r = {0};
    start(&r, state);
    flx_cache *cache;
    flx_cache_entry entry;
    memset(bytes, 'v', sizeof(bytes));
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const flx_slice value = {(const uint8_t *)bytes, sizes[i]};
        RIG_OK(flx_cache_put(cache, flx_slice_of("k"), value, FLX_TTL_NONE, RIG_WAIT_MS, err));
        RIG_OK(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
        assert_int_equal(entry.value.len, sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(entry.value.ptr, bytes, sizes[i]) == 0);
        flx_cache_entry_release(&entry);
    }
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* More caches than a channel has names for. */
static void many_caches(void **state)
{
    enum { CACHES = 150 };
    rig r = {0};
    start(&r, state);
    flx_cache *caches[CACHES];
    flx_cache_entry entry;
    for (int i = 0; i < CACHES; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "cache-%d", i);
        RIG_OK(flx_cache_new(r.client, name, &caches[i], err));
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < CACHES; i++)
            RIG_OK(flx_cache_get(caches[i], flx_slice_of("k"), RIG_WAIT_MS, &entry, err));
    for (int i = 0; i < CACHES; i++)
        caches[i] = flx_cache_free(caches[i]);
    rig_stop(&r);
}

static void what_is_not_served(void **state)
{
    mock_rules rules = rules_of(state);
    rules.operations_unserved = true;
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    assert_int_equal(flx_cache_get(cache, flx_slice_of("k"), RIG_WAIT_MS, &entry, NULL),
                     FLX_ERR_UNSUPPORTED);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* A client may insist on version 1. */
static void json_by_choice(void **state)
{
    rig r = {0};
    r.broker = mock_broker_start();
    mock_broker_set(r.broker, *state);
    flx_client_options options = rig_options(&r);
    options.cache_json = true;
    RIG_OK(flx_client_connect(&options, RIG_WAIT_MS, &r.client, err));
    flx_cache *cache;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    RIG_OK(
        flx_cache_put(cache, flx_slice_of("k"), flx_slice_of("v"), FLX_TTL_NONE, RIG_WAIT_MS, err));
    assert_int_equal(mock_broker_counts(r.broker).operation_frames, 0);
    assert_int_equal(mock_broker_counts(r.broker).cache_requests, 1);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

#define ROW(test, rules)                                                                           \
    {                                                                                              \
        .name = #test " " #rules, .test_func = (test),                                             \
        .initial_state = (void *)(uintptr_t) & (rules)                                             \
    }
#define IN_BOTH(test) ROW(test, in_json), ROW(test, in_frames), ROW(test, in_frames_backwards)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(put_get_delete),
        IN_BOTH(conditions),
        IN_BOTH(many_at_once),
        IN_BOTH(unknown_cache),
        IN_BOTH(silence),
        IN_BOTH(get_survives_a_lost_connection),
        ROW(what_is_not_offered, in_json),
        IN_BOTH(keys_that_are_none),
        IN_BOTH(free_with_requests_under_way),
        ROW(frames_are_shared, in_frames),
        ROW(one_overdue_answer, in_frames),
        ROW(a_lost_connection, in_frames),
        ROW(large_values, in_frames),
        ROW(many_caches, in_frames),
        ROW(what_is_not_served, in_frames),
        ROW(json_by_choice, in_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
