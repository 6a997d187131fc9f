/* SPDX-License-Identifier: Apache-2.0 */
/* When looking again is worth it: what starts it, what ends it, what it may cost for nothing. */
#include "common/spin.h"
#include "common/xorshift.h"
#include "unit.h"

#define US UINT64_C(1000)

static void note(flx_spin *spin, int times, uint64_t waited_ns)
{
    for (int i = 0; i < times; i++) {
        flx_spin_note(spin, waited_ns, false);
    }
}

/* Waits until a trial begins; how many that took. */
static int until_trial(flx_spin *spin, uint64_t waited_ns)
{
    int waits = 0;
    while (spin->state != FLX_SPIN_IN_TRIAL) {
        flx_spin_note(spin, waited_ns, false);
        waits++;
        assert_true(waits < 100000);
    }
    return waits;
}

static flx_spin spinning(void)
{
    flx_spin spin = {0};
    (void)until_trial(&spin, 60 * US);
    note(&spin, FLX_SPIN_TRIAL, 10 * US);
    assert_int_equal(spin.state, FLX_SPIN_ON);
    return spin;
}

static void test_long_waits_are_slept_through(void **state)
{
    (void)state;
    flx_spin spin = {0};
    for (int i = 0; i < 10000; i++) {
        /* Fifteen short ones in a row are not enough either. */
        flx_spin_note(&spin, i % FLX_SPIN_STREAK == 0 ? 200 * US : 5 * US, false);
        assert_int_equal(flx_spin_budget_ns(&spin), 0);
    }
}

static void test_short_waits_lead_to_a_trial_and_a_good_one_to_spinning(void **state)
{
    (void)state;
    flx_spin spin = {0};
    assert_int_equal(until_trial(&spin, 60 * US), FLX_SPIN_STREAK);
    assert_true(flx_spin_budget_ns(&spin) > 60 * US);
    note(&spin, FLX_SPIN_TRIAL, 10 * US);
    note(&spin, 10000, 12 * US);
    assert_true(flx_spin_budget_ns(&spin) > 12 * US);
}

/* The other side sleeps at first, and needs the short waits that our spinning gives it to see that it
 * should not. If it never does, we stop. */
static void test_a_hope_is_given_time_and_not_more(void **state)
{
    (void)state;
    flx_spin spin = {0};
    (void)until_trial(&spin, 60 * US);
    note(&spin, FLX_SPIN_TRIAL + 100, 60 * US);
    assert_int_equal(spin.state, FLX_SPIN_ON);
    flx_spin other = spin;
    note(&other, 1000, 8 * US);
    assert_int_equal(other.state, FLX_SPIN_ON);
    for (int i = 0; i < FLX_SPIN_GRACE && spin.state == FLX_SPIN_ON; i++) {
        flx_spin_note(&spin, 60 * US, false);
    }
    assert_int_equal(spin.state, FLX_SPIN_SLEEP);
    assert_true(spin.pause > 0);
}

static void test_trials_in_vain_become_rare(void **state)
{
    (void)state;
    flx_spin spin = {0};
    int last = 0;
    for (int i = 0; i < 20; i++) {
        const int waits = until_trial(&spin, 90 * US);
        assert_true(waits >= last);
        last = waits;
        for (int trial = 0; spin.state == FLX_SPIN_IN_TRIAL; trial++) {
            assert_true(trial < FLX_SPIN_TRIAL);
            flx_spin_note(&spin, 90 * US, false);
        }
        assert_int_equal(spin.state, FLX_SPIN_SLEEP);
    }
    assert_int_equal(last, FLX_SPIN_PAUSE_MAX);
}

static void test_going_idle_ends_it_at_once(void **state)
{
    (void)state;
    flx_spin spin = spinning();
    note(&spin, 2 * FLX_SPIN_GRACE, 10 * US);
    note(&spin, 2, 1000000 * US); /* the time between keep-alives */
    assert_int_equal(flx_spin_budget_ns(&spin), 0);
    assert_int_equal(spin.pause, 0); /* it had paid, so it may be tried again soon */
}

static void test_who_keeps_others_from_their_work_stops(void **state)
{
    (void)state;
    flx_spin spin = spinning();
    for (int i = 0; i < 16; i++) {
        flx_spin_note(&spin, 10 * US, true);
    }
    assert_int_equal(spin.state, FLX_SPIN_SLEEP);
    for (int i = 0; i < 1000; i++) {
        flx_spin_note(&spin, 10 * US, true);
        assert_int_equal(flx_spin_budget_ns(&spin), 0);
    }
}

/* Whatever the waits are, a wait costs no more in spinning than going to sleep would have, but for the
 * few of a start. */
static void test_spinning_is_bounded_for_any_waits(void **state)
{
    (void)state;
    flx_spin spin = {0};
    uint64_t random = 88172645463325252U, spun_ns = 0;
    const uint64_t waits = 1000000;
    for (uint64_t i = 0; i < waits; i++) {
        const uint64_t around_ns = (i / 1000 % 20 + 1) * 10 * US; /* 10 to 200 us, in phases */
        const uint64_t waited_ns = flx_xorshift(&random) % (2 * around_ns);
        const uint64_t budget_ns = flx_spin_budget_ns(&spin);
        spun_ns += waited_ns < budget_ns ? waited_ns : budget_ns;
        flx_spin_note(&spin, waited_ns, false);
    }
    assert_true(spun_ns / waits < FLX_SPIN_PAYS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_waits_are_slept_through),
        cmocka_unit_test(test_short_waits_lead_to_a_trial_and_a_good_one_to_spinning),
        cmocka_unit_test(test_a_hope_is_given_time_and_not_more),
        cmocka_unit_test(test_trials_in_vain_become_rare),
        cmocka_unit_test(test_going_idle_ends_it_at_once),
        cmocka_unit_test(test_who_keeps_others_from_their_work_stops),
        cmocka_unit_test(test_spinning_is_bounded_for_any_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
