/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker a client is sent to: the decision alone, and with what is remembered. */
#include "broker/seats.h"
#include "common/clock.h"
#include "unit.h"

#define WORKERS 4
#define OWNER   2

static void publishers_go_to_the_owner(void **state)
{
    (void)state;
    for (uint32_t there = 0; there < 3000; there += 7) {
        assert_int_equal(flx_seats_choose(FLX_PLACEMENT_PUBLISH, OWNER, WORKERS, there, there + 1),
                         OWNER);
    }
}

static void each_kind_has_its_number(void **state)
{
    (void)state;
    static const struct {
        flx_placement_kind kind;
        uint32_t near;
    } rows[] = {{FLX_PLACEMENT_SUBSCRIBE, FLX_SEATS_NEAR},
                {FLX_PLACEMENT_WATCH, FLX_SEATS_NEAR},
                {FLX_PLACEMENT_CACHE, FLX_SEATS_NEAR_REQUESTS}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(flx_seats_choose(rows[i].kind, OWNER, WORKERS, rows[i].near - 1, 0),
                         OWNER);
        assert_int_equal(flx_seats_choose(rows[i].kind, OWNER, WORKERS, rows[i].near, 0),
                         OWNER + 1);
    }
}

static void few_subscribers_stay_near_and_many_use_all_workers(void **state)
{
    (void)state;
    uint32_t used[WORKERS] = {0};
    for (uint32_t there = 0; there < FLX_SEATS_NEAR; there++) {
        assert_int_equal(flx_seats_choose(FLX_PLACEMENT_SUBSCRIBE, OWNER, WORKERS, there, there),
                         OWNER);
    }
    /* The first that does not stay begins beside the owner, which has work already. */
    assert_int_equal(flx_seats_choose(FLX_PLACEMENT_SUBSCRIBE, OWNER, WORKERS, FLX_SEATS_NEAR, 0),
                     OWNER + 1);
    for (uint32_t turn = 0; turn < 10 * WORKERS; turn++) {
        used[flx_seats_choose(FLX_PLACEMENT_SUBSCRIBE, OWNER, WORKERS, 1000, turn)]++;
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_int_equal(used[i], 10);
    }
    assert_int_equal(flx_seats_choose(FLX_PLACEMENT_SUBSCRIBE, 0, 1, 1000, UINT32_MAX), 0);
    assert_int_equal(flx_seats_choose(FLX_PLACEMENT_SUBSCRIBE, 3, 4, 1000, UINT32_MAX), 3);
}

static uint32_t advise(flx_seats *seats, uint32_t shard, uint64_t second)
{
    return flx_seats_advise(seats, FLX_PLACEMENT_SUBSCRIBE, 7, shard, OWNER, WORKERS,
                            second * FLX_NS_PER_S);
}

/* A thousand that ask before one of them has subscribed are not all sent to one place. */
static void a_crowd_that_asks_at_once_is_spread(void **state)
{
    (void)state;
    flx_seats *seats = NULL;
    uint32_t used[WORKERS] = {0};
    assert_int_equal(flx_seats_new(&seats, NULL), FLX_OK);
    for (int i = 0; i < 1000; i++) {
        used[advise(seats, 0, 100)]++;
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_true(used[i] >= 1000 / WORKERS - FLX_SEATS_NEAR);
    }
    seats = flx_seats_free(seats);
}

static void advice_is_forgotten_and_subscriptions_are_not(void **state)
{
    (void)state;
    flx_seats *seats = NULL;
    assert_int_equal(flx_seats_new(&seats, NULL), FLX_OK);
    for (int i = 0; i < FLX_SEATS_NEAR; i++) {
        assert_int_equal(advise(seats, 0, 100), OWNER);
    }
    assert_int_not_equal(advise(seats, 0, 100), OWNER);
    assert_int_equal(advise(seats, 1, 100), OWNER);                      /* another shard */
    assert_int_equal(advise(seats, 0, 100 + FLX_SEATS_RECENT_S), OWNER); /* nobody came */
    for (int i = 0; i < FLX_SEATS_NEAR; i++) {
        flx_seats_came(seats, 7, 0);
    }
    assert_int_not_equal(advise(seats, 0, 200), OWNER);
    flx_seats_went(seats, 7, 0);
    assert_int_equal(advise(seats, 0, 300), OWNER);
    seats = flx_seats_free(seats);
}

static void without_a_table_everybody_is_sent_to_the_owner(void **state)
{
    (void)state;
    flx_seats_came(NULL, 7, 0);
    flx_seats_went(NULL, 7, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(advise(NULL, 0, 1), OWNER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publishers_go_to_the_owner),
        cmocka_unit_test(each_kind_has_its_number),
        cmocka_unit_test(few_subscribers_stay_near_and_many_use_all_workers),
        cmocka_unit_test(a_crowd_that_asks_at_once_is_spread),
        cmocka_unit_test(advice_is_forgotten_and_subscriptions_are_not),
        cmocka_unit_test(without_a_table_everybody_is_sent_to_the_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
