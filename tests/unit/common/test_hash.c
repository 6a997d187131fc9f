/* SPDX-License-Identifier: Apache-2.0 */
/* The keyed hash, README.md rule 7. */
#include "common/hash.h"
#include "unit.h"

static void test_hash_is_keyed(void **state)
{
    (void)state;
    const flx_slice text = {(const uint8_t *)"felix", 5};
    assert_int_not_equal(flx_hash_seed(), 0);
    flx_hash_seed_set(1);
    const uint64_t first = flx_hash(text);
    flx_hash_seed_set(2);
    assert_int_not_equal(flx_hash(text), first);
    flx_hash_seed_set(1);
    assert_int_equal(flx_hash(text), first);
    assert_int_equal(flx_hash((flx_slice){NULL, 0}), flx_hash((flx_slice){text.ptr, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hash_is_keyed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
