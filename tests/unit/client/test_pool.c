/* SPDX-License-Identifier: Apache-2.0 */
/* Which connection a seat gets. */
#include "client/pool.h"
#include "unit.h"

#define THERE  FLX_BERTH_THERE
#define COMING FLX_BERTH_COMING
#define ABROAD FLX_BERTH_ABROAD
#define FREE   FLX_BERTH_FREE

static void the_best_berth_is_chosen(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        flx_berth berths[4];
        size_t free_from, chosen;
    } rows[] = {
        {"one that is there", {{ABROAD, 0}, {FREE, 0}, {THERE, 9}, {COMING, 0}}, 1, 2},
        {"the emptiest of them", {{THERE, 3}, {THERE, 1}, {THERE, 2}, {FREE, 0}}, 1, 1},
        {"the first of two alike", {{ABROAD, 0}, {THERE, 1}, {THERE, 1}, {FREE, 0}}, 1, 1},
        {"the first connection itself", {{THERE, 5}, {FREE, 0}, {FREE, 0}, {FREE, 0}}, 1, 0},
        {"one under way before a new one", {{ABROAD, 0}, {FREE, 0}, {COMING, 4}, {FREE, 0}}, 1, 2},
        {"a new one", {{ABROAD, 0}, {ABROAD, 1}, {FREE, 0}, {FREE, 0}}, 1, 2},
        {"not in a place that is kept up", {{ABROAD, 0}, {FREE, 0}, {ABROAD, 0}, {FREE, 0}}, 2, 3},
        {"none left", {{ABROAD, 0}, {ABROAD, 0}, {ABROAD, 7}, {ABROAD, 0}}, 1, FLX_BERTH_NONE},
        {"no extra ones allowed",
         {{ABROAD, 0}, {FREE, 0}, {FREE, 0}, {FREE, 0}},
         4,
         FLX_BERTH_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        assert_int_equal(flx_pool_choose(rows[i].berths, 4, rows[i].free_from), rows[i].chosen);
    }
    assert_int_equal(flx_pool_choose(rows[0].berths, 0, 0), FLX_BERTH_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_best_berth_is_chosen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
