/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as events of a loop. */
#include "common/signals.h"
#include "unit.h"

#include <unistd.h>

static int received[8];
static size_t count;

static void receive(void *arg, int number)
{
    assert_true(count < 8);
    received[count++] = number;
    if (number == SIGTERM) {
        flx_signals_stop(arg); /* from within is fine */
    }
}

static void test_signals_arrive_on_the_loop(void **state)
{
    (void)state;
    flx_loop *loop = NULL;
    flx_error error;
    flx_signals signals;
    sigset_t blocked;
    flx_signals_block(&blocked);
    assert_int_equal(sigismember(&blocked, SIGTERM), 1);
    assert_int_equal(flx_loop_new(NULL, &loop, &error), FLX_OK);
    assert_int_equal(flx_signals_start(&signals, loop, receive, &signals, &error), FLX_OK);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_int_equal(flx_loop_step(loop, FLX_LOOP_NEVER, &error), FLX_OK);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(flx_loop_step(loop, FLX_LOOP_NEVER, &error), FLX_OK);
    assert_int_equal(count, 2);
    assert_int_equal(received[0], SIGHUP);
    assert_int_equal(received[1], SIGTERM);
    flx_signals_stop(&signals); /* twice is fine */
    (void)flx_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signals_arrive_on_the_loop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
