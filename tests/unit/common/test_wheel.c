/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel against a plain array, at small and at large distances, in bounded steps. */
#include "common/wheel.h"
#include "unit.h"

#define TIMERS     500
#define STEPS      40000
#define STEP_LIMIT 20

typedef struct model_timer {
    flx_wheel_timer timer; /* first: a timer is its owner */
    uint64_t due_ms;       /* what the model thinks; 0: not set */
} model_timer;

typedef struct model {
    flx_wheel wheel;
    model_timer timers[TIMERS];
    uint64_t now_ms;
    uint64_t latest_ms; /* due time handed out last */
    size_t fired;
} model;

static void fire(void *arg, flx_wheel_timer *timer)
{
    model *all = arg;
    model_timer *mine = (model_timer *)(void *)timer;
    assert_true(mine->due_ms != 0);
    assert_true(mine->due_ms <= all->now_ms);    /* never early */
    assert_true(mine->due_ms >= all->latest_ms); /* in order */
    all->latest_ms = mine->due_ms;
    mine->due_ms = 0;
    all->fired++;
}

static uint64_t random_distance(void)
{
    /* From this very millisecond to years away, each magnitude as likely. */
    const unsigned bits = (unsigned)random() % 38;
    return ((uint64_t)random() << 31 | (uint64_t)random()) & ((UINT64_C(1) << bits) - 1);
}

static uint64_t earliest(const model *all)
{
    uint64_t best = FLX_WHEEL_NEVER;
    for (size_t i = 0; i < TIMERS; i++) {
        if (all->timers[i].due_ms != 0 && all->timers[i].due_ms < best) {
            best = all->timers[i].due_ms;
        }
    }
    return best;
}

/* Moves the time on in bounded steps and checks that all that is due came out, and nothing else. */
static void advance(model *all, uint64_t now_ms)
{
    all->now_ms = now_ms;
    all->latest_ms = 0;
    while (flx_wheel_advance(&all->wheel, now_ms, STEP_LIMIT, fire, all) == STEP_LIMIT) {
    }
    assert_true(earliest(all) > now_ms);
}

static void test_follows_the_model(void **state)
{
    (void)state;
    static model all;
    memset(&all, 0, sizeof all);
    srandom(3);
    all.now_ms = UINT64_C(1700000000000);
    flx_wheel_init(&all.wheel, all.now_ms);
    size_t set = 0;
    for (int i = 0; i < STEPS; i++) {
        model_timer *timer = &all.timers[(size_t)random() % TIMERS];
        if (random() % 4 == 0) {
            flx_wheel_cancel(&all.wheel, &timer->timer);
            timer->due_ms = 0;
        } else {
            timer->due_ms = all.now_ms + random_distance();
            flx_wheel_set(&all.wheel, &timer->timer, timer->due_ms);
            set++;
        }
        assert_int_equal(flx_wheel_is_set(&timer->timer), timer->due_ms != 0);
        if (i % 5 == 0) {
            /* Sometimes exactly to the next thing to do, which is never late. */
            const uint64_t next_ms = flx_wheel_next_ms(&all.wheel);
            assert_true(next_ms <= earliest(&all));
            advance(&all, i % 15 == 0 && next_ms != FLX_WHEEL_NEVER && next_ms > all.now_ms
                              ? next_ms
                              : all.now_ms + random_distance() % 100000);
        }
    }
    assert_true(all.fired > 1000 && set > all.fired);
    size_t left = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        left += all.timers[i].due_ms != 0;
    }
    assert_int_equal(all.wheel.count, left);
    advance(&all, (UINT64_C(1) << 48) - 1);
    assert_int_equal(all.wheel.count, 0);
    assert_int_equal(flx_wheel_next_ms(&all.wheel), FLX_WHEEL_NEVER);
}

static size_t fired_count;

static void count(void *arg, flx_wheel_timer *timer)
{
    (void)arg;
    (void)timer;
    fired_count++;
}

static void test_edges(void **state)
{
    (void)state;
    static flx_wheel wheel;
    flx_wheel_init(&wheel, 1000);
    flx_wheel_timer past = {0}, now = {0}, never = {0};
    flx_wheel_set(&wheel, &past, 5);
    flx_wheel_set(&wheel, &now, 1000);
    flx_wheel_set(&wheel, &never, UINT64_MAX); /* the last millisecond there is */
    fired_count = 0;
    assert_int_equal(flx_wheel_next_ms(&wheel), 1000);
    assert_int_equal(flx_wheel_advance(&wheel, 900, 10, count, NULL), 0); /* time never goes back */
    assert_int_equal(flx_wheel_advance(&wheel, 1000, 1, count, NULL), 1);
    assert_int_equal(flx_wheel_advance(&wheel, 1000, 10, count, NULL), 1);
    assert_int_equal(fired_count, 2);
    assert_true(flx_wheel_is_set(&never));
    flx_wheel_cancel(&wheel, &never);
    flx_wheel_cancel(&wheel, &never); /* twice is fine */
    assert_int_equal(flx_wheel_advance(&wheel, UINT64_MAX, 10, count, NULL), 0);
    flx_wheel_set(&wheel, &past, UINT64_MAX);
    assert_int_equal(flx_wheel_advance(&wheel, UINT64_MAX, 10, count, NULL), 1);
}

typedef struct pair {
    flx_wheel wheel;
    flx_wheel_timer one, two;
    int fired;
} pair;

static void fire_and_change(void *arg, flx_wheel_timer *timer)
{
    pair *self = arg;
    self->fired++;
    flx_wheel_cancel(&self->wheel, timer == &self->one ? &self->two : &self->one);
    flx_wheel_set(&self->wheel, timer, self->wheel.now_ms + 10);
}

/* A callback may cancel one that is due in the same millisecond, and set itself again. */
static void test_callbacks_change_the_wheel(void **state)
{
    (void)state;
    static pair self;
    flx_wheel_init(&self.wheel, 0);
    flx_wheel_set(&self.wheel, &self.one, 100);
    flx_wheel_set(&self.wheel, &self.two, 100);
    (void)flx_wheel_advance(&self.wheel, 100, 100, fire_and_change, &self);
    assert_int_equal(self.fired, 1);
    assert_int_equal(self.wheel.count, 1);
    (void)flx_wheel_advance(&self.wheel, 135, 100, fire_and_change, &self);
    assert_int_equal(self.fired, 4); /* at 110, 120 and 130 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows_the_model),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_callbacks_change_the_wheel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
