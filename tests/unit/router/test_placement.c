/* SPDX-License-Identifier: Apache-2.0 */
/* Scores every control plane agrees on (docs/spec/wire.md 8.3). */
#include "router/placement.h"
#include "unit.h"

static uint64_t score(flx_owner_kind kind, const char *node)
{
    const uint64_t seed =
        flx_placement_seed(slice_of("t1"), slice_of("default"), slice_of("orders"), 0, kind);
    return flx_placement_score(seed, slice_of(node));
}

static void known_scores(void **state)
{
    (void)state;
    assert_true(score(FLX_OWNER_KIND_STREAM, "broker-0") == UINT64_C(0x314a70a97f2c4d81));
    assert_true(score(FLX_OWNER_KIND_STREAM, "broker-1") == UINT64_C(0x157d3e5a92cb7296));
    assert_true(score(FLX_OWNER_KIND_STREAM, "broker-2") == UINT64_C(0x9a5241145883f43b));
    assert_true(score(FLX_OWNER_KIND_CACHE, "broker-0") == UINT64_C(0x5ec32f1a6c38d768));
    assert_true(score(FLX_OWNER_KIND_CACHE, "broker-1") == UINT64_C(0xd3f688b31268dd62));
    assert_true(score(FLX_OWNER_KIND_CACHE, "broker-2") == UINT64_C(0xf70d0c4c8c04c6cc));
}

static void fields_do_not_run_into_each_other(void **state)
{
    (void)state;
    const flx_owner_kind kind = FLX_OWNER_KIND_STREAM;
    assert_true(flx_placement_seed(slice_of("ab"), slice_of("c"), slice_of("d"), 0, kind) !=
                flx_placement_seed(slice_of("a"), slice_of("bc"), slice_of("d"), 0, kind));
    assert_true(flx_placement_seed(slice_of("a"), slice_of("b"), slice_of("c"), 0, kind) !=
                flx_placement_seed(slice_of("a"), slice_of("b"), slice_of("c"), 1, kind));
}

static void order_is_by_score_then_by_id(void **state)
{
    (void)state;
    assert_true(flx_placement_before(2, slice_of("b"), 1, slice_of("a")));
    assert_false(flx_placement_before(1, slice_of("a"), 2, slice_of("b")));
    assert_true(flx_placement_before(1, slice_of("a"), 1, slice_of("b")));
    assert_false(flx_placement_before(1, slice_of("b"), 1, slice_of("a")));
    assert_true(flx_placement_before(1, slice_of("a"), 1, slice_of("ab")));
    assert_false(flx_placement_before(1, slice_of("a"), 1, slice_of("a")));
    assert_true(flx_placement_before(1, (flx_slice){NULL, 0}, 1, slice_of("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_scores),
        cmocka_unit_test(fields_do_not_run_into_each_other),
        cmocka_unit_test(order_is_by_score_then_by_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
