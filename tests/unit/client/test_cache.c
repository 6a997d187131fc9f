/* SPDX-License-Identifier: Apache-2.0 */
/* The cache calls against a broker: what each answers, and what a lost or silent broker makes of it. */
#include "rig.h"

static void put_get_delete(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));

    RIG_OK(flx_cache_get(cache, rig_slice("k"), RIG_WAIT_MS, &entry, err));
    assert_false(entry.found); /* a miss is no failure */

    RIG_OK(flx_cache_put(cache, rig_slice("k"), rig_slice("value"), 1000, RIG_WAIT_MS, err));
    RIG_OK(flx_cache_get(cache, rig_slice("k"), RIG_WAIT_MS, &entry, err));
    assert_true(entry.found);
    assert_true(entry.has_version);
    rig_check_text(entry.value, "value");

    flx_cache_entry second;
    flx_cache_entry_keep(&entry, &second);
    flx_cache_entry_release(&entry);
    flx_cache_entry_release(&entry); /* twice is fine */
    rig_check_text(second.value, "value");
    flx_cache_entry_release(&second);

    RIG_OK(flx_cache_delete(cache, rig_slice("k"), RIG_WAIT_MS, &entry, err));
    rig_check_text(entry.value, "value");
    flx_cache_entry_release(&entry);
    RIG_OK(flx_cache_get(cache, rig_slice("k"), RIG_WAIT_MS, &entry, err));
    assert_false(entry.found);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

static void conditions(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_cache *cache;
    bool applied;
    uint64_t first;
    uint64_t version;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    const flx_slice key = rig_slice("k");

    RIG_OK(flx_cache_put_if(cache, key, rig_slice("a"), FLX_TTL_NONE, FLX_VERSION_ABSENT,
                            RIG_WAIT_MS, &applied, &first, err));
    assert_true(applied);
    RIG_OK(flx_cache_put_if(cache, key, rig_slice("b"), FLX_TTL_NONE, FLX_VERSION_ABSENT,
                            RIG_WAIT_MS, &applied, &version, err));
    assert_false(applied);
    assert_int_equal(version, first); /* what is there */
    RIG_OK(flx_cache_put_if(cache, key, rig_slice("c"), FLX_TTL_NONE, first, RIG_WAIT_MS, &applied,
                            &version, err));
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
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_cache *cache;
    counter c = {0};
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (int i = 0; i < 500; i++)
        RIG_OK(flx_cache_put_async(cache, rig_slice(i % 2 ? "a" : "b"), rig_slice("v"),
                                   FLX_TTL_NONE, count, &c, err));
    while (c.ok + c.failed < 500)
        usleep(1000);
    assert_int_equal(c.ok, 500);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

static void unknown_cache(void **state)
{
    (void)state;
    const mock_rules rules = {.stream_unknown = true};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    flx_cache_entry entry;
    flx_error error;
    RIG_OK(flx_cache_new(r.client, "t1/default/none", &cache, err));
    assert_int_equal(flx_cache_get(cache, rig_slice("k"), RIG_WAIT_MS, &entry, &error),
                     FLX_ERR_NOT_FOUND);
    assert_int_equal(error.code, 3);
    assert_int_equal(error.retry, FLX_RETRY_AFTER);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* A read that got no answer timed out; a write that got none may have happened. */
static void silence(void **state)
{
    (void)state;
    const mock_rules rules = {.cache_silent = true};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    assert_int_equal(flx_cache_get(cache, rig_slice("k"), 50, &entry, NULL), FLX_ERR_TIMEOUT);
    assert_int_equal(flx_cache_put(cache, rig_slice("k"), rig_slice("v"), FLX_TTL_NONE, 50, NULL),
                     FLX_ERR_UNKNOWN_OUTCOME);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* After the loss a get is asked again by itself. */
static void get_survives_a_lost_connection(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (int i = 0; i < 5; i++) {
        mock_broker_kick(r.broker);
        RIG_OK(flx_cache_get(cache, rig_slice("k"), RIG_WAIT_MS, &entry, err));
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
    RIG_OK(flx_cache_put(cache, rig_slice("k"), rig_slice("v"), FLX_TTL_NONE, RIG_WAIT_MS, err));
    assert_int_equal(flx_cache_delete(cache, rig_slice("k"), RIG_WAIT_MS, NULL, NULL),
                     FLX_ERR_UNSUPPORTED);
    assert_int_equal(
        flx_cache_delete_if(cache, rig_slice("k"), 1, RIG_WAIT_MS, &applied, NULL, NULL),
        FLX_ERR_UNSUPPORTED);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

static void keys_that_are_none(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_cache *cache;
    flx_cache_entry entry;
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    assert_int_equal(flx_cache_get(cache, rig_slice(""), 1, &entry, NULL), FLX_ERR_INVALID);
    assert_int_equal(flx_cache_get(cache, rig_slice("\xff"), 1, &entry, NULL), FLX_ERR_INVALID);
    assert_int_equal(flx_cache_get(cache, (flx_slice){(const uint8_t *)"a\0b", 3}, 1, &entry, NULL),
                     FLX_ERR_INVALID);
    cache = flx_cache_free(cache);
    rig_stop(&r);
}

/* Callbacks still owed come before free returns. */
static void free_with_requests_under_way(void **state)
{
    (void)state;
    const mock_rules rules = {.cache_silent = true};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_cache *cache;
    counter c = {0};
    RIG_OK(flx_cache_new(r.client, "primary", &cache, err));
    for (int i = 0; i < 40; i++)
        RIG_OK(flx_cache_get_async(cache, rig_slice("k"), count, &c, err));
    cache = flx_cache_free(cache);
    assert_int_equal(c.failed, 40);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_get_delete),
        cmocka_unit_test(conditions),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(unknown_cache),
        cmocka_unit_test(silence),
        cmocka_unit_test(get_survives_a_lost_connection),
        cmocka_unit_test(what_is_not_offered),
        cmocka_unit_test(keys_that_are_none),
        cmocka_unit_test(free_with_requests_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
