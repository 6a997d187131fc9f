/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/loop.c - one thread's event loop over epoll.
 *
 *      run ──► wait ──► due timers ──► ready descriptors ──► tick hooks ──┐
 *               ▲                                                          │
 *               └──────────────────────────────────────────────────────────┘
 *
 * Why not libuv or libev: QUIC pacing and a 250 us batch delay need timers finer than their
 * millisecond, and the transport wants to send once a tick, after everything else of the tick.
 *
 * Timers are a 4-ary heap of (deadline, timer): connections move their timer with every packet,
 * mostly away from now, which is one comparison in a heap and a relink in a wheel; and a heap knows
 * its next deadline exactly. Millions of coarse deadlines belong in common/wheel, which needs one
 * timer here.
 *
 * Waking. `state` says what a waker has to do:
 *
 *      AWAKE  ── loop, about to sleep ──► ASLEEP        AWAKE/ASLEEP ── waker ──► WOKEN
 *      any    ── loop, after waiting ───► AWAKE         ASLEEP seen by the waker: it writes the eventfd
 *
 * All are read-modify-write operations on one word, so they have one order. A waker that comes
 * before the loop's AWAKE -> ASLEEP makes that exchange fail, and the loop does not sleep; one that
 * comes after sees ASLEEP and writes. Either way the loop's next exchange to AWAKE reads the
 * waker's (or a later) WOKEN with acquire, so what was posted before the wake is visible to the
 * hooks of that tick. While the loop is busy a wake costs one atomic exchange and no system call.
 * The eventfd is edge-triggered and never read: each write is an edge, 2^64 of them fit.
 *
 * Stale events. A callback may remove a watch whose event waits further down the same batch, and
 * free its memory. flx_loop_remove therefore blanks the watch in the rest of the batch (at most
 * LOOP_EVENTS_MAX entries, and only while a batch is being handed out).
 */
#include "common/loop.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/spin.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_EVENTS_MAX 256   /* descriptors a tick; the rest waits its turn in epoll's list */
#define LOOK_NS_MAX     25000 /* a look that took longer was not ours alone; it takes half a us */
#define HEAP_ARITY      4
#define HEAP_CAP_FIRST  64
#define HEAP_CAP_MAX    ((uint32_t)1 << 28)

enum { STATE_AWAKE, STATE_ASLEEP, STATE_WOKEN };

typedef struct heap_entry {
    uint64_t deadline_ns; /* a copy, so that sifting touches no timer it does not move */
    flx_timer *timer;
} heap_entry;

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): `state` has a cache line of its own */
struct flx_loop {
    int epoll_fd;
    int wake_fd;
    uint64_t now_ns;
    uint64_t busy_poll_ns;
    bool adaptive;
    bool bulk;       /* flx_loop_note_bulk, since the last wait */
    flx_spin spin;   /* with `adaptive` */
    bool has_pwait2; /* false after the kernel said ENOSYS */
    bool is_ticking;
    bool is_firing;

    heap_entry *heap; /* heap[1..heap_count]; [0] is unused */
    uint32_t heap_count;
    uint32_t heap_cap; /* entries allocated, [0] included */

    flx_tick_hook *hooks;
    flx_tick_hook *hook_next; /* while hooks run: the one to call next */

    int ready_next; /* ready[ready_next..ready_count) is still to be handed out */
    int ready_count;
    struct epoll_event ready[LOOP_EVENTS_MAX];

    _Alignas(64) _Atomic int state; /* written by other threads: a cache line of its own */
    _Atomic bool is_stopping;
};

/* --- timers: a 4-ary heap, children of i are 4i-2 .. 4i+1, numbered from 1 ------------------- */

static uint32_t heap_parent(uint32_t index)
{
    return (index + 2) / HEAP_ARITY;
}

static void heap_place(flx_loop *loop, uint32_t index, heap_entry entry)
{
    loop->heap[index] = entry;
    entry.timer->heap_index = index;
}

static void heap_sift_up(flx_loop *loop, uint32_t index, heap_entry entry)
{
    while (index > 1) {
        const uint32_t parent = heap_parent(index);
        if (loop->heap[parent].deadline_ns <= entry.deadline_ns) {
            break;
        }
        heap_place(loop, index, loop->heap[parent]);
        index = parent;
    }
    heap_place(loop, index, entry);
}

/* The child of `index` that is due first, 0 when it has none. */
static uint32_t heap_first_child(const flx_loop *loop, uint32_t index)
{
    const uint32_t first = index * HEAP_ARITY - 2;
    if (first > loop->heap_count) {
        return 0;
    }
    uint32_t best = first;
    for (uint32_t child = first + 1; child < first + HEAP_ARITY && child <= loop->heap_count;
         child++) {
        if (loop->heap[child].deadline_ns < loop->heap[best].deadline_ns) {
            best = child;
        }
    }
    return best;
}

static void heap_sift_down(flx_loop *loop, uint32_t index, heap_entry entry)
{
    for (;;) {
        const uint32_t child = heap_first_child(loop, index);
        if (child == 0 || loop->heap[child].deadline_ns >= entry.deadline_ns) {
            break;
        }
        heap_place(loop, index, loop->heap[child]);
        index = child;
    }
    heap_place(loop, index, entry);
}

/* Puts `entry` where it belongs, given that `index` is free. */
static void heap_settle(flx_loop *loop, uint32_t index, heap_entry entry)
{
    if (index > 1 && loop->heap[heap_parent(index)].deadline_ns > entry.deadline_ns) {
        heap_sift_up(loop, index, entry);
    } else {
        heap_sift_down(loop, index, entry);
    }
}

static bool heap_reserve(flx_loop *loop)
{
    if (loop->heap_count + 1 < loop->heap_cap) {
        return true;
    }
    const uint32_t cap = loop->heap_cap == 0 ? HEAP_CAP_FIRST : loop->heap_cap * 2;
    if (cap > HEAP_CAP_MAX) {
        return false;
    }
    heap_entry *heap = flx_realloc(loop->heap, cap * sizeof *heap);
    if (heap == NULL) {
        return false;
    }
    loop->heap = heap;
    loop->heap_cap = cap;
    return true;
}

flx_status flx_loop_timer_set(flx_loop *loop, flx_timer *timer, uint64_t deadline_ns)
{
    FLX_ASSERT(timer->fire != NULL);
    /* While timers fire, one that is set to the past waits for the next tick, or a callback that
     * re-arms itself would never let go. */
    if (loop->is_firing && deadline_ns <= loop->now_ns) {
        deadline_ns = loop->now_ns + 1;
    }
    const heap_entry entry = {deadline_ns, timer};
    if (timer->heap_index == 0) {
        if (!heap_reserve(loop)) {
            return FLX_ERR_NOMEM;
        }
        loop->heap_count++;
        timer->deadline_ns = deadline_ns;
        heap_sift_up(loop, loop->heap_count, entry);
        return FLX_OK;
    }
    FLX_ASSERT(timer->heap_index <= loop->heap_count);
    FLX_ASSERT(loop->heap[timer->heap_index].timer == timer);
    timer->deadline_ns = deadline_ns;
    heap_settle(loop, timer->heap_index, entry);
    return FLX_OK;
}

void flx_loop_timer_cancel(flx_loop *loop, flx_timer *timer)
{
    const uint32_t index = timer->heap_index;
    if (index == 0) {
        return;
    }
    FLX_ASSERT(index <= loop->heap_count && loop->heap[index].timer == timer);
    timer->heap_index = 0;
    const heap_entry last = loop->heap[loop->heap_count];
    loop->heap_count--;
    if (last.timer != timer) {
        heap_settle(loop, index, last);
    }
}

uint64_t flx_loop_next_deadline_ns(const flx_loop *loop)
{
    return loop->heap_count == 0 ? FLX_LOOP_NEVER : loop->heap[1].deadline_ns;
}

static void fire_due_timers(flx_loop *loop)
{
    loop->is_firing = true;
    while (flx_loop_next_deadline_ns(loop) <= loop->now_ns) {
        flx_timer *timer = loop->heap[1].timer;
        flx_loop_timer_cancel(loop, timer);
        timer->fire(timer->arg, loop->now_ns); /* may free the timer */
    }
    loop->is_firing = false;
}

/* --- descriptors ------------------------------------------------------------------------------ */

static flx_status watch_control(flx_loop *loop, int operation, flx_watch *watch, uint32_t events,
                                flx_error *reterr)
{
    struct epoll_event event = {.events = events, .data = {.ptr = watch}};
    if (epoll_ctl(loop->epoll_fd, operation, watch->fd, &event) != 0) {
        return flx_fail_errno(reterr, errno, "watch descriptor %d", watch->fd);
    }
    return FLX_OK;
}

flx_status flx_loop_add(flx_loop *loop, flx_watch *watch, uint32_t events, flx_error *reterr)
{
    FLX_ASSERT(!watch->added);
    FLX_ASSERT(watch->ready != NULL);
    const flx_status status = watch_control(loop, EPOLL_CTL_ADD, watch, events, reterr);
    watch->added = status == FLX_OK;
    return status;
}

flx_status flx_loop_change(flx_loop *loop, flx_watch *watch, uint32_t events, flx_error *reterr)
{
    FLX_ASSERT(watch->added);
    return watch_control(loop, EPOLL_CTL_MOD, watch, events, reterr);
}

void flx_loop_remove(flx_loop *loop, flx_watch *watch)
{
    if (!watch->added) {
        return;
    }
    watch->added = false;
    /* Fails only when the descriptor was closed before, and then epoll forgot it itself. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = loop->ready_next; i < loop->ready_count; i++) {
        if (loop->ready[i].data.ptr == watch) {
            loop->ready[i].data.ptr = NULL;
        }
    }
}

static void hand_out_ready(flx_loop *loop)
{
    while (loop->ready_next < loop->ready_count) {
        const struct epoll_event event = loop->ready[loop->ready_next++];
        flx_watch *watch = event.data.ptr;
        if (watch != NULL) { /* NULL: removed meanwhile, or the eventfd, which only ends the wait */
            watch->ready(watch->arg, event.events);
        }
    }
    loop->ready_next = 0;
    loop->ready_count = 0;
}

/* --- hooks ------------------------------------------------------------------------------------ */

void flx_loop_hook_add(flx_loop *loop, flx_tick_hook *hook)
{
    FLX_ASSERT(hook->tick != NULL);
    flx_tick_hook **end = &loop->hooks;
    while (*end != NULL) {
        FLX_ASSERT(*end != hook); /* added twice */
        end = &(*end)->next;
    }
    hook->next = NULL;
    *end = hook;
}

void flx_loop_hook_remove(flx_loop *loop, flx_tick_hook *hook)
{
    if (loop->hook_next == hook) {
        loop->hook_next = hook->next;
    }
    for (flx_tick_hook **at = &loop->hooks; *at != NULL; at = &(*at)->next) {
        if (*at == hook) {
            *at = hook->next;
            return;
        }
    }
}

static void run_hooks(flx_loop *loop)
{
    for (flx_tick_hook *hook = loop->hooks; hook != NULL; hook = loop->hook_next) {
        loop->hook_next = hook->next;
        hook->tick(hook->arg, loop->now_ns);
    }
    loop->hook_next = NULL;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int wait_ms(flx_loop *loop, uint64_t wait_ns)
{
    /* Rounded up: a loop that wakes too early spins until the deadline. */
    const uint64_t rounded = wait_ns / FLX_NS_PER_MS + (wait_ns % FLX_NS_PER_MS != 0);
    const int timeout = wait_ns == FLX_LOOP_NEVER ? -1 : rounded > INT_MAX ? INT_MAX : (int)rounded;
    return epoll_wait(loop->epoll_fd, loop->ready, LOOP_EVENTS_MAX, timeout);
}

/* One epoll call that waits at most wait_ns. -1 with errno as epoll_wait. */
static int wait_ns_at_most(flx_loop *loop, uint64_t wait_ns)
{
    if (wait_ns == 0 || !loop->has_pwait2) {
        return wait_ms(loop, wait_ns);
    }
    const struct timespec time = {.tv_sec = (time_t)(wait_ns / FLX_NS_PER_S),
                                  .tv_nsec = (long)(wait_ns % FLX_NS_PER_S)};
    const int count = epoll_pwait2(loop->epoll_fd, loop->ready, LOOP_EVENTS_MAX,
                                   wait_ns == FLX_LOOP_NEVER ? NULL : &time, NULL);
    if (count < 0 && errno == ENOSYS) {
        loop->has_pwait2 = false; /* Linux before 5.11, or a strict seccomp filter */
        return wait_ms(loop, wait_ns);
    }
    return count;
}

static bool was_woken(const flx_loop *loop)
{
    return atomic_load_explicit(&loop->state, memory_order_relaxed) == STATE_WOKEN;
}

/* Looks again and again without sleeping, for `budget_ns` at most. As epoll_wait. *ret_contended: one
 * look took so long that something else must have run here. */
static int wait_busily(flx_loop *loop, uint64_t now_ns, uint64_t deadline_ns, uint64_t budget_ns,
                       bool *ret_contended)
{
    const uint64_t end_ns = now_ns + budget_ns;
    int count = 0;
    while (count == 0 && now_ns < end_ns && now_ns < deadline_ns && !was_woken(loop)) {
        count = wait_ns_at_most(loop, 0);
        if (count == 0 && !loop->adaptive) {
            /* Whoever we wait for may want this processor: spinning through our time slice would
             * keep the answer from coming. Alone on it, this costs a third of a microsecond. With
             * `adaptive` the time is short and common/spin notices; and yielding would let work of
             * the lowest class have the processor, for milliseconds. */
            (void)sched_yield();
        }
        const uint64_t before_ns = now_ns;
        now_ns = flx_clock_monotonic_ns();
        if (now_ns - before_ns > LOOK_NS_MAX) {
            *ret_contended = true;
        }
    }
    return count;
}

/* Sleeps until an event, a wake or the deadline. As epoll_wait. */
static int wait_asleep(flx_loop *loop, uint64_t deadline_ns)
{
    int awake = STATE_AWAKE;
    uint64_t wait_ns = 0;
    /* Fails when WOKEN; ASLEEP already when a caller of flx_loop_step left it so. */
    if (atomic_compare_exchange_strong(&loop->state, &awake, STATE_ASLEEP) ||
        awake == STATE_ASLEEP) {
        const uint64_t now_ns = flx_clock_monotonic_ns();
        wait_ns = deadline_ns == FLX_LOOP_NEVER ? FLX_LOOP_NEVER
                  : deadline_ns > now_ns        ? deadline_ns - now_ns
                                                : 0;
    }
    return wait_ns_at_most(loop, wait_ns);
}

/* As long awake as is configured, then asleep. As epoll_wait. */
static int wait_plainly(flx_loop *loop, uint64_t deadline_ns)
{
    bool contended = false;
    int count = 0;
    if (loop->busy_poll_ns > 0) {
        count = wait_busily(loop, flx_clock_monotonic_ns(), deadline_ns, loop->busy_poll_ns,
                            &contended);
    }
    return count != 0 ? count : wait_asleep(loop, deadline_ns);
}

/* As long awake as the last waits say is worth it, then asleep. As epoll_wait. */
static int wait_adaptively(flx_loop *loop, uint64_t deadline_ns)
{
    const uint64_t begin_ns = flx_clock_monotonic_ns();
    const uint64_t budget_ns = flx_spin_budget_ns(&loop->spin);
    bool against = loop->bulk;
    int count = 0;
    loop->bulk = false;
    if (was_woken(loop)) { /* no wait at all, so nothing is learned */
        return wait_ns_at_most(loop, 0);
    }
    if (budget_ns > 0) {
        count = wait_busily(loop, begin_ns, deadline_ns, budget_ns, &against);
    }
    if (count == 0) {
        count = wait_asleep(loop, deadline_ns);
    }
    const int sys_errno = errno;
    flx_spin_note(&loop->spin, flx_clock_monotonic_ns() - begin_ns, against);
    errno = sys_errno;
    return count;
}

static flx_status wait_for_events(flx_loop *loop, uint64_t deadline_ns, flx_error *reterr)
{
    const uint64_t timer_ns = flx_loop_next_deadline_ns(loop);
    if (timer_ns < deadline_ns) {
        deadline_ns = timer_ns;
    }
    const int count = deadline_ns == 0 ? wait_ns_at_most(loop, 0)
                      : loop->adaptive ? wait_adaptively(loop, deadline_ns)
                                       : wait_plainly(loop, deadline_ns);
    const int sys_errno = errno;
    /* Acquire: what a waker wrote before its wake is visible from here on. */
    (void)atomic_exchange(&loop->state, STATE_AWAKE);
    if (count < 0 && sys_errno != EINTR) {
        return flx_fail_errno(reterr, sys_errno, "wait for events");
    }
    loop->ready_next = 0;
    loop->ready_count = count < 0 ? 0 : count;
    return FLX_OK;
}

static flx_status tick(flx_loop *loop, uint64_t deadline_ns, flx_error *reterr)
{
    FLX_ASSERT(!loop->is_ticking); /* a callback must not run its own loop */
    const flx_status status = wait_for_events(loop, deadline_ns, reterr);
    if (status != FLX_OK) {
        return status;
    }
    loop->is_ticking = true;
    loop->now_ns = flx_clock_monotonic_ns();
    fire_due_timers(loop);
    hand_out_ready(loop);
    run_hooks(loop);
    loop->is_ticking = false;
    return FLX_OK;
}

static void write_wake_fd(const flx_loop *loop)
{
    const uint64_t one = 1;
    /* EAGAIN would mean 2^64 wakes; EINTR cannot happen to a non-blocking eventfd. */
    (void)!write(loop->wake_fd, &one, sizeof one);
}

flx_status flx_loop_step(flx_loop *loop, uint64_t deadline_ns, flx_error *reterr)
{
    const flx_status status = tick(loop, deadline_ns, reterr);
    /* Between steps somebody else may wait on our descriptor, so we count as asleep. */
    int awake = STATE_AWAKE;
    if (!atomic_compare_exchange_strong(&loop->state, &awake, STATE_ASLEEP) &&
        awake == STATE_WOKEN) {
        write_wake_fd(loop);
    }
    return status;
}

flx_status flx_loop_run(flx_loop *loop, flx_error *reterr)
{
    flx_status status = FLX_OK;
    while (status == FLX_OK && !atomic_load_explicit(&loop->is_stopping, memory_order_acquire)) {
        status = tick(loop, FLX_LOOP_NEVER, reterr);
    }
    atomic_store(&loop->is_stopping, false);
    return status;
}

void flx_loop_wake(flx_loop *loop)
{
    if (atomic_exchange(&loop->state, STATE_WOKEN) == STATE_ASLEEP) {
        write_wake_fd(loop);
    }
}

void flx_loop_stop(flx_loop *loop)
{
    atomic_store_explicit(&loop->is_stopping, true, memory_order_release);
    flx_loop_wake(loop);
}

void flx_loop_note_bulk(flx_loop *loop)
{
    loop->bulk = true;
}

uint64_t flx_loop_now_ns(const flx_loop *loop)
{
    return loop->now_ns;
}

int flx_loop_fd(const flx_loop *loop)
{
    return loop->epoll_fd;
}

/* --- life ------------------------------------------------------------------------------------- */

static flx_status open_descriptors(flx_loop *loop, flx_error *reterr)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        return flx_fail_errno(reterr, errno, "create an epoll descriptor");
    }
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0) {
        return flx_fail_errno(reterr, errno, "create an eventfd");
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.ptr = NULL}};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0) {
        return flx_fail_errno(reterr, errno, "watch the eventfd");
    }
    return FLX_OK;
}

flx_status flx_loop_new(const flx_loop_options *options, flx_loop **ret_loop, flx_error *reterr)
{
    flx_loop *loop = flx_aligned_alloc(_Alignof(flx_loop), sizeof *loop);
    if (loop == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make an event loop");
    }
    *loop = (flx_loop){.epoll_fd = -1, .wake_fd = -1, .has_pwait2 = true};
    loop->busy_poll_ns = options == NULL ? 0 : options->busy_poll_us * FLX_NS_PER_US;
    loop->adaptive = options != NULL && options->adaptive && loop->busy_poll_ns == 0;
    atomic_init(&loop->state, STATE_ASLEEP); /* as between two steps */
    atomic_init(&loop->is_stopping, false);
    const flx_status status = open_descriptors(loop, reterr);
    if (status != FLX_OK) {
        (void)flx_loop_free(loop);
        return status;
    }
    loop->now_ns = flx_clock_monotonic_ns();
    *ret_loop = loop;
    return FLX_OK;
}

flx_loop *flx_loop_free(flx_loop *loop)
{
    if (loop == NULL) {
        return NULL;
    }
    FLX_ASSERT(!loop->is_ticking);
    if (loop->wake_fd >= 0) {
        (void)close(loop->wake_fd);
    }
    if (loop->epoll_fd >= 0) {
        (void)close(loop->epoll_fd);
    }
    flx_free(loop->heap);
    flx_free(loop);
    return NULL;
}
