/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers every client computes too: hashes and shards (docs/spec/wire.md 8). */
#include "router/router.h"
#include "unit.h"

#include <stdio.h>

static void hash_of_known_keys(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint64_t hash;
    } rows[] = {
        {"", UINT64_C(0xf52a15e9a9b5e89b)},
        {"a", UINT64_C(0x02c0bdbf481420f8)},
        {"key", UINT64_C(0x487eb6f7e0ea7e7c)},
        {"user:42", UINT64_C(0xd68cb863fc5e0c34)},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(flx_route_hash(slice_of(rows[i].key)) == rows[i].hash);
    }
}

static void numbered_keys_spread_as_written(void **state)
{
    (void)state;
    static const struct {
        flx_routing routing;
        uint32_t shards;
        const char *prefix;
        size_t count;
        uint32_t chosen[12];
    } rows[] = {
        {FLX_ROUTING_MODULO, 12, "k", 12, {6, 10, 10, 5, 2, 7, 4, 4, 6, 9, 3, 6}},
        {FLX_ROUTING_MODULO, 8, "customer-", 8, {0, 3, 6, 3, 2, 3, 4, 6}},
        {FLX_ROUTING_JUMP_HASH, 8, "customer-", 8, {3, 0, 5, 2, 2, 4, 7, 2}},
        {FLX_ROUTING_JUMP_HASH, 12, "k", 12, {3, 4, 4, 8, 2, 0, 3, 11, 3, 7, 9, 5}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t k = 0; k < rows[i].count; k++) {
            char key[32];
            (void)snprintf(key, sizeof key, "%s%zu", rows[i].prefix, k);
            assert_int_equal(flx_route_shard(rows[i].routing, slice_of(key), rows[i].shards),
                             rows[i].chosen[k]);
        }
    }
}

static void widths_of_known_keys(void **state)
{
    (void)state;
    static const uint32_t widths[] = {2, 4, 8, 12, 16};
    static const struct {
        flx_routing routing;
        const char *key;
        uint32_t chosen[5];
    } rows[] = {
        {FLX_ROUTING_MODULO, "", {1, 3, 3, 3, 11}},
        {FLX_ROUTING_MODULO, "a", {0, 0, 0, 4, 8}},
        {FLX_ROUTING_MODULO, "user:42", {0, 0, 4, 0, 4}},
        {FLX_ROUTING_MODULO, "key", {0, 0, 4, 0, 12}},
        {FLX_ROUTING_JUMP_HASH, "", {0, 0, 5, 11, 11}},
        {FLX_ROUTING_JUMP_HASH, "a", {1, 1, 1, 9, 9}},
        {FLX_ROUTING_JUMP_HASH, "user:42", {1, 2, 6, 6, 6}},
        {FLX_ROUTING_JUMP_HASH, "key", {1, 1, 6, 6, 6}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t w = 0; w < COUNT(widths); w++) {
            assert_int_equal(flx_route_shard(rows[i].routing, slice_of(rows[i].key), widths[w]),
                             rows[i].chosen[w]);
        }
    }
}

/* Growing from n to n+1 shards moves a key to the new shard or not at all. */
static void jump_moves_only_to_the_new_shard(void **state)
{
    (void)state;
    for (int k = 0; k < 200; k++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%d", k);
        uint32_t before = 0;
        for (uint32_t shards = 2; shards <= 64; shards++) {
            const uint32_t now = flx_route_shard(FLX_ROUTING_JUMP_HASH, slice_of(key), shards);
            assert_true(now == before || now == shards - 1);
            before = now;
        }
    }
}

static void one_shard_takes_all(void **state)
{
    (void)state;
    assert_int_equal(flx_route_shard(FLX_ROUTING_MODULO, slice_of("any"), 1), 0);
    assert_int_equal(flx_route_shard(FLX_ROUTING_JUMP_HASH, slice_of("any"), 1), 0);
}

static void widest_is_in_range(void **state)
{
    (void)state;
    for (int k = 0; k < 100; k++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", k);
        assert_true(flx_route_shard(FLX_ROUTING_JUMP_HASH, slice_of(key), UINT32_MAX) < UINT32_MAX);
        assert_true(flx_route_shard(FLX_ROUTING_MODULO, slice_of(key), UINT32_MAX) < UINT32_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_of_known_keys),   cmocka_unit_test(numbered_keys_spread_as_written),
        cmocka_unit_test(widths_of_known_keys), cmocka_unit_test(jump_moves_only_to_the_new_shard),
        cmocka_unit_test(one_shard_takes_all),  cmocka_unit_test(widest_is_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
