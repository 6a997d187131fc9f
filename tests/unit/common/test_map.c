/* SPDX-License-Identifier: Apache-2.0 */
/* The hash map: against a plain array, and when memory is out; README.md rules 1 and 2. */
#include "common/alloc.h"
#include "common/map.h"
#include "unit.h"

#include <stdio.h>

#define ITEMS 2000
#define STEPS 100000

typedef struct item {
    char name[24];
    bool is_in;
    uint32_t seen;
} item;

static flx_slice name_of(const void *one)
{
    const char *name = ((const item *)one)->name;
    return flx_slice_of(name);
}

static item *make_items(void)
{
    item *items = calloc(ITEMS, sizeof *items);
    assert_non_null(items);
    for (int i = 1; i < ITEMS; i++) { /* the first one's name is empty: a key like any other */
        (void)snprintf(items[i].name, sizeof items[i].name, "item-%d", i);
    }
    return items;
}

static void test_follows_the_model(void **state)
{
    (void)state;
    item *items = make_items();
    flx_map map;
    flx_map_init(&map, name_of);
    assert_null(flx_map_get(&map, name_of(&items[0])));
    srandom(5);
    size_t count = 0;
    for (int i = 0; i < STEPS; i++) {
        item *one = &items[(size_t)random() % ITEMS];
        void *old = &map;
        switch (random() % 3) {
        case 0:
            assert_int_equal(flx_map_put(&map, one, &old), FLX_OK);
            assert_ptr_equal(old, one->is_in ? one : NULL);
            count += !one->is_in;
            one->is_in = true;
            break;
        case 1:
            assert_ptr_equal(flx_map_remove(&map, name_of(one)), one->is_in ? one : NULL);
            count -= one->is_in;
            one->is_in = false;
            break;
        default:
            assert_ptr_equal(flx_map_get(&map, name_of(one)), one->is_in ? one : NULL);
        }
        assert_int_equal(map.count, count);
    }
    size_t cursor = 0;
    for (item *one = NULL; (one = flx_map_next(&map, &cursor)) != NULL;) {
        assert_true(one->is_in);
        one->seen++;
    }
    cursor = 0;
    for (item *one = NULL; (one = flx_map_pop(&map, &cursor)) != NULL;) {
        assert_int_equal(one->seen, 1);
        memset(one, 0x55, sizeof *one); /* as good as freed */
        count--;
    }
    assert_int_equal(count, 0);
    assert_int_equal(map.count, 0);
    flx_map_done(&map);
    free(items);
}

static void test_another_item_takes_the_key_over(void **state)
{
    (void)state;
    item one = {.name = "same"}, two = {.name = "same"};
    void *old = NULL;
    flx_map map;
    flx_map_init(&map, name_of);
    assert_int_equal(flx_map_put(&map, &one, NULL), FLX_OK);
    assert_int_equal(flx_map_put(&map, &two, &old), FLX_OK);
    assert_ptr_equal(old, &one);
    assert_ptr_equal(flx_map_get(&map, name_of(&one)), &two);
    assert_int_equal(map.count, 1);
    flx_map_done(&map);
}

static void test_every_failed_allocation(void **state)
{
    (void)state;
    item *items = make_items();
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        flx_map map;
        flx_map_init(&map, name_of);
        flx_alloc_fail_nth(nth);
        flx_status status = FLX_OK;
        size_t in = 0;
        while (status == FLX_OK && in < ITEMS) {
            status = flx_map_put(&map, &items[in], NULL);
            in += status == FLX_OK;
        }
        has_failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        assert_int_equal(status, has_failed ? FLX_ERR_NOMEM : FLX_OK);
        assert_int_equal(map.count, in);
        for (size_t i = 0; i < in; i++) { /* the map is as before */
            assert_ptr_equal(flx_map_get(&map, name_of(&items[i])), &items[i]);
        }
        flx_map_done(&map);
    }
    free(items);
}

static void test_reserve_makes_puts_safe(void **state)
{
    (void)state;
    item *items = make_items();
    flx_map map;
    flx_map_init(&map, name_of);
    assert_int_equal(flx_map_reserve(&map, ITEMS), FLX_OK);
    flx_alloc_fail_nth(1);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_int_equal(flx_map_put(&map, &items[i], NULL), FLX_OK);
    }
    flx_alloc_fail_nth(0);
    flx_map_done(&map);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows_the_model),
        cmocka_unit_test(test_another_item_takes_the_key_over),
        cmocka_unit_test(test_every_failed_allocation),
        cmocka_unit_test(test_reserve_makes_puts_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
