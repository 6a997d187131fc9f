/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: order of a tick, timers against a model, stale events, wake-ups, foreign use. */
#include "common/alloc.h"
#include "common/clock.h"
#include "common/loop.h"
#include "unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMER_COUNT 300
#define MODEL_STEPS 20000
#define WAKERS      3
#define WAKES       5000

static flx_loop *loop_of(const flx_loop_options *options)
{
    flx_loop *loop = NULL;
    flx_error error;
    assert_int_equal(flx_loop_new(options, &loop, &error), FLX_OK);
    return loop;
}

static void step(flx_loop *loop, uint64_t deadline_ns)
{
    flx_error error;
    assert_int_equal(flx_loop_step(loop, deadline_ns, &error), FLX_OK);
}

/* --- the order of one tick ---------------------------------------------------------------------- */

static char order[16];

static void note(char letter)
{
    const size_t len = strlen(order);
    assert_true(len + 1 < sizeof order);
    order[len] = letter;
    order[len + 1] = '\0';
}

static void note_timer(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    note(*(const char *)arg);
}

static void note_ready(void *arg, uint32_t events)
{
    assert_int_equal(events, EPOLLIN);
    note(*(const char *)arg);
}

static void test_timers_then_descriptors_then_hooks(void **state)
{
    (void)state;
    char t[] = "t", r[] = "r", h[] = "h", i[] = "i";
    order[0] = '\0';
    flx_loop *loop = loop_of(NULL);
    flx_error error;
    flx_watch watch = {.ready = note_ready, .arg = r, .fd = eventfd(1, EFD_CLOEXEC)};
    flx_tick_hook first = {.tick = note_timer, .arg = h};
    flx_tick_hook second = {.tick = note_timer, .arg = i};
    flx_timer timer = {.fire = note_timer, .arg = t};
    flx_loop_hook_add(loop, &first);
    flx_loop_hook_add(loop, &second);
    assert_int_equal(flx_loop_add(loop, &watch, EPOLLIN, &error), FLX_OK);
    assert_int_equal(flx_loop_timer_set(loop, &timer, 1), FLX_OK);
    step(loop, 0);
    assert_string_equal(order, "trhi");
    flx_loop_hook_remove(loop, &first);
    assert_int_equal(flx_loop_change(loop, &watch, 0, &error), FLX_OK);
    step(loop, 0);
    assert_string_equal(order, "trhii");
    flx_loop_remove(loop, &watch);
    flx_loop_remove(loop, &watch); /* twice is fine */
    (void)close(watch.fd);
    (void)flx_loop_free(loop);
}

static void test_a_descriptor_that_cannot_be_watched(void **state)
{
    (void)state;
    flx_loop *loop = loop_of(NULL);
    flx_error error = {0};
    flx_watch watch = {.ready = note_ready, .fd = -1};
    assert_int_equal(flx_loop_add(loop, &watch, EPOLLIN, &error), FLX_ERR_IO);
    assert_int_equal(error.sys_errno, EBADF);
    assert_false(watch.added);
    (void)flx_loop_free(loop);
}

/* --- timers ------------------------------------------------------------------------------------- */

typedef struct model_timer {
    flx_timer timer;
    uint64_t set_ns;     /* what the model thinks, 0: not set */
    uint64_t *latest_ns; /* the deadline that fired last, shared: they must not go back */
    uint32_t fired;
} model_timer;

static void fire_model(void *arg, uint64_t now_ns)
{
    model_timer *self = arg;
    assert_true(self->set_ns != 0 && self->set_ns <= now_ns);
    assert_true(self->set_ns >= *self->latest_ns);
    *self->latest_ns = self->set_ns;
    self->set_ns = 0;
    self->fired++;
}

static uint64_t earliest(const model_timer *timers)
{
    uint64_t best = FLX_LOOP_NEVER;
    for (size_t i = 0; i < TIMER_COUNT; i++) {
        if (timers[i].set_ns != 0 && timers[i].set_ns < best) {
            best = timers[i].set_ns;
        }
    }
    return best;
}

/* Random sets, moves and cancels against a plain array; then all are due and fire in order. */
static void test_timers_follow_the_model(void **state)
{
    (void)state;
    static model_timer timers[TIMER_COUNT];
    flx_loop *loop = loop_of(NULL);
    uint64_t latest_ns = 0;
    srandom(7);
    for (size_t i = 0; i < TIMER_COUNT; i++) {
        timers[i] = (model_timer){.timer = {.fire = fire_model, .arg = &timers[i]},
                                  .latest_ns = &latest_ns};
    }
    for (int i = 0; i < MODEL_STEPS; i++) {
        model_timer *timer = &timers[(size_t)random() % TIMER_COUNT];
        if (random() % 3 == 0) {
            flx_loop_timer_cancel(loop, &timer->timer);
            timer->set_ns = 0;
        } else {
            timer->set_ns = 1 + (uint64_t)random() % 100000;
            assert_int_equal(flx_loop_timer_set(loop, &timer->timer, timer->set_ns), FLX_OK);
        }
        assert_int_equal(timer->timer.heap_index != 0, timer->set_ns != 0);
        if (i % 64 == 0) {
            assert_int_equal(flx_loop_next_deadline_ns(loop), earliest(timers));
        }
    }
    step(loop, 0); /* 100 us after boot is long past */
    assert_int_equal(earliest(timers), FLX_LOOP_NEVER);
    assert_int_equal(flx_loop_next_deadline_ns(loop), FLX_LOOP_NEVER);
    (void)flx_loop_free(loop);
}

typedef struct rearm {
    flx_loop *loop;
    flx_timer timer;
    flx_timer other;
    int fired;
} rearm;

static void fire_and_rearm(void *arg, uint64_t now_ns)
{
    rearm *self = arg;
    (void)now_ns;
    self->fired++;
    assert_int_equal(flx_loop_timer_set(self->loop, &self->timer, 0), FLX_OK);
    flx_loop_timer_cancel(self->loop, &self->other); /* due in the same tick: must not fire */
}

static void fire_never(void *arg, uint64_t now_ns)
{
    (void)arg;
    (void)now_ns;
    fail_msg("a cancelled timer fired");
}

/* A timer set to the past by its own callback fires once a tick, not for ever in one. */
static void test_rearming_fires_once_a_tick(void **state)
{
    (void)state;
    rearm self = {.loop = loop_of(NULL)};
    self.timer = (flx_timer){.fire = fire_and_rearm, .arg = &self};
    self.other = (flx_timer){.fire = fire_never};
    assert_int_equal(flx_loop_timer_set(self.loop, &self.timer, 1), FLX_OK);
    assert_int_equal(flx_loop_timer_set(self.loop, &self.other, 2), FLX_OK);
    for (int i = 1; i <= 3; i++) {
        step(self.loop, 0);
        assert_int_equal(self.fired, i);
    }
    (void)flx_loop_free(self.loop);
}

static void count_fire(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    (*(int *)arg)++;
}

/* Sleeping: the step returns because the timer is due, and not before it is. */
static void test_a_timer_ends_the_wait(void **state)
{
    flx_loop *loop = loop_of(*state);
    int fired = 0;
    flx_timer timer = {.fire = count_fire, .arg = &fired};
    const uint64_t deadline_ns = flx_clock_monotonic_ns() + 300 * FLX_NS_PER_US;
    assert_int_equal(flx_loop_timer_set(loop, &timer, deadline_ns), FLX_OK);
    while (fired == 0) {
        step(loop, FLX_LOOP_NEVER);
    }
    assert_true(flx_loop_now_ns(loop) >= deadline_ns);
    (void)flx_loop_free(loop);
}

/* --- stale events ------------------------------------------------------------------------------- */

#define PEERS 8

typedef struct peer {
    flx_watch watch;
    struct crowd *crowd;
    size_t index;
} peer;

typedef struct crowd {
    flx_loop *loop;
    peer *peers[PEERS];
    int calls;
} crowd;

/* Whoever is called first removes and frees all others, which are ready in the same batch. */
static void remove_others(void *arg, uint32_t events)
{
    peer *self = arg;
    crowd *all = self->crowd;
    (void)events;
    all->calls++;
    for (size_t i = 0; i < PEERS; i++) {
        if (i != self->index) {
            flx_loop_remove(all->loop, &all->peers[i]->watch);
            (void)close(all->peers[i]->watch.fd);
            free(all->peers[i]); /* a stale callback would be a use after free */
            all->peers[i] = NULL;
        }
    }
}

static void test_removed_watch_is_not_called_from_the_same_batch(void **state)
{
    (void)state;
    crowd all = {.loop = loop_of(NULL)};
    flx_error error;
    for (size_t i = 0; i < PEERS; i++) {
        peer *one = calloc(1, sizeof *one);
        assert_non_null(one);
        one->watch = (flx_watch){.ready = remove_others, .arg = one};
        one->watch.fd = eventfd(1, EFD_CLOEXEC);
        one->crowd = &all;
        one->index = i;
        all.peers[i] = one;
        assert_int_equal(flx_loop_add(all.loop, &one->watch, EPOLLIN, &error), FLX_OK);
    }
    step(all.loop, 0);
    assert_int_equal(all.calls, 1);
    for (size_t i = 0; i < PEERS; i++) {
        if (all.peers[i] != NULL) {
            (void)close(all.peers[i]->watch.fd);
            free(all.peers[i]);
        }
    }
    (void)flx_loop_free(all.loop);
}

/* --- hooks that remove hooks -------------------------------------------------------------------- */

typedef struct hook_pair {
    flx_loop *loop;
    flx_tick_hook first, second, third;
    int second_calls, third_calls;
} hook_pair;

static void remove_two(void *arg, uint64_t now_ns)
{
    hook_pair *self = arg;
    (void)now_ns;
    flx_loop_hook_remove(self->loop, &self->second);
    flx_loop_hook_remove(self->loop, &self->first);
}

static void test_hooks_may_remove_hooks(void **state)
{
    (void)state;
    hook_pair self = {.loop = loop_of(NULL)};
    self.first = (flx_tick_hook){.tick = remove_two, .arg = &self};
    self.second = (flx_tick_hook){.tick = count_fire, .arg = &self.second_calls};
    self.third = (flx_tick_hook){.tick = count_fire, .arg = &self.third_calls};
    flx_loop_hook_add(self.loop, &self.first);
    flx_loop_hook_add(self.loop, &self.second);
    flx_loop_hook_add(self.loop, &self.third);
    step(self.loop, 0);
    step(self.loop, 0);
    assert_int_equal(self.second_calls, 0);
    assert_int_equal(self.third_calls, 2);
    (void)flx_loop_free(self.loop);
}

/* --- waking ------------------------------------------------------------------------------------- */

typedef struct waking {
    flx_loop *loop;
    _Atomic int posted;
    int seen;
} waking;

static void take_posted(void *arg, uint64_t now_ns)
{
    waking *self = arg;
    (void)now_ns;
    self->seen = atomic_load_explicit(&self->posted, memory_order_relaxed);
    if (self->seen == WAKERS * WAKES) {
        flx_loop_stop(self->loop);
    }
}

static void *post_and_wake(void *arg)
{
    waking *self = arg;
    for (int i = 0; i < WAKES; i++) {
        (void)atomic_fetch_add_explicit(&self->posted, 1, memory_order_relaxed);
        flx_loop_wake(self->loop);
    }
    return NULL;
}

/* What was posted before a wake is seen by a later tick, also when the loop just fell asleep. */
static void test_no_wake_is_lost(void **state)
{
    waking self = {.loop = loop_of(*state)};
    flx_tick_hook hook = {.tick = take_posted, .arg = &self};
    flx_loop_hook_add(self.loop, &hook);
    pthread_t threads[WAKERS];
    for (int i = 0; i < WAKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_and_wake, &self), 0);
    }
    flx_error error;
    assert_int_equal(flx_loop_run(self.loop, &error), FLX_OK);
    assert_int_equal(self.seen, WAKERS * WAKES);
    for (int i = 0; i < WAKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)flx_loop_free(self.loop);
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void wake_self(void *arg, uint64_t now_ns)
{
    (void)now_ns;
    flx_loop_wake(arg);
}

/* A foreign loop polls our descriptor: a wake makes it readable, a step makes it quiet again. */
static void test_foreign_loop(void **state)
{
    (void)state;
    flx_loop *loop = loop_of(NULL);
    const int fd = flx_loop_fd(loop);
    assert_false(is_readable(fd));
    for (int i = 0; i < 3; i++) {
        flx_loop_wake(loop);
        flx_loop_wake(loop);
        assert_true(is_readable(fd));
        step(loop, 0);
        assert_false(is_readable(fd));
    }
    flx_tick_hook hook = {.tick = wake_self, .arg = loop}; /* woken during its own step */
    flx_loop_hook_add(loop, &hook);
    step(loop, 0);
    assert_true(is_readable(fd));
    flx_loop_hook_remove(loop, &hook);
    step(loop, 0);
    assert_false(is_readable(fd));
    (void)flx_loop_free(loop);
}

/* --- a world that fails -------------------------------------------------------------------------- */

static void test_every_failed_allocation(void **state)
{
    (void)state;
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        static flx_timer timers[200];
        memset(timers, 0, sizeof timers);
        flx_loop *loop = NULL;
        flx_error error;
        flx_alloc_fail_nth(nth);
        flx_status status = flx_loop_new(NULL, &loop, &error);
        for (size_t i = 0; status == FLX_OK && i < 200; i++) {
            timers[i].fire = fire_never;
            status = flx_loop_timer_set(loop, &timers[i], FLX_LOOP_NEVER - i);
        }
        has_failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        assert_int_equal(status, has_failed ? FLX_ERR_NOMEM : FLX_OK);
        assert_null(flx_loop_free(loop));
    }
}

/* Makes epoll_pwait2 answer ENOSYS for the rest of the process, as kernels before 5.11 do. */
static bool forbid_pwait2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* seccomp_data.nr */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = COUNT(code), .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a child, because the filter cannot be taken back. Exit code 0: the timer fired in time. */
static void test_works_without_epoll_pwait2(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        flx_loop *loop = NULL;
        flx_error error;
        int fired = 0;
        flx_timer timer = {.fire = count_fire, .arg = &fired};
        if (!forbid_pwait2() || flx_loop_new(NULL, &loop, &error) != FLX_OK) {
            _exit(2);
        }
        const uint64_t deadline_ns = flx_clock_monotonic_ns() + FLX_NS_PER_MS;
        if (flx_loop_timer_set(loop, &timer, deadline_ns) != FLX_OK) {
            _exit(3);
        }
        while (fired == 0) {
            if (flx_loop_step(loop, FLX_LOOP_NEVER, &error) != FLX_OK) {
                _exit(4);
            }
        }
        _exit(flx_loop_now_ns(loop) >= deadline_ns ? 0 : 5);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    static flx_loop_options sleeping, busy = {.busy_poll_us = 200}, adapting = {.adaptive = true};
    void *const sleeps = &sleeping, *const polls = &busy, *const adapts = &adapting;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_then_descriptors_then_hooks),
        cmocka_unit_test(test_a_descriptor_that_cannot_be_watched),
        cmocka_unit_test(test_timers_follow_the_model),
        cmocka_unit_test(test_rearming_fires_once_a_tick),
        {"a timer ends the sleep", test_a_timer_ends_the_wait, NULL, NULL, sleeps},
        {"a timer ends the busy polling", test_a_timer_ends_the_wait, NULL, NULL, polls},
        {"a timer ends the wait, adaptive", test_a_timer_ends_the_wait, NULL, NULL, adapts},
        cmocka_unit_test(test_removed_watch_is_not_called_from_the_same_batch),
        cmocka_unit_test(test_hooks_may_remove_hooks),
        {"no wake is lost, sleeping", test_no_wake_is_lost, NULL, NULL, sleeps},
        {"no wake is lost, busy polling", test_no_wake_is_lost, NULL, NULL, polls},
        {"no wake is lost, adaptive", test_no_wake_is_lost, NULL, NULL, adapts},
        cmocka_unit_test(test_foreign_loop),
        cmocka_unit_test(test_every_failed_allocation),
        cmocka_unit_test(test_works_without_epoll_pwait2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
