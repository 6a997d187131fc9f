/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/loop.h - a thread's event loop: file descriptors, nanosecond timers, wake-ups.
 *
 * One tick is: wait (epoll_pwait2, or poll without sleeping while busy polling) - due timers -
 * ready descriptors - wake-ups - the tick hooks, in the order they were added. Work done in a tick
 * is collected and sent once, by a tick hook: that is where packets are built.
 *
 * Threads: a loop belongs to the thread that runs it; only flx_loop_wake and flx_loop_stop may be
 * called from others. Callbacks may add, change and remove anything, themselves included.
 */
#ifndef FLX_COMMON_LOOP_H
#define FLX_COMMON_LOOP_H

#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

#define FLX_LOOP_NEVER UINT64_MAX

typedef struct flx_loop flx_loop;

/* Readiness of one descriptor. Lives in its owner; zero it before the first use. */
typedef struct flx_watch {
    void (*ready)(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP */
    void *arg;
    int fd;
    bool added; /* the loop's */
} flx_watch;

/* One deadline. Lives in its owner; zero it before the first use. Fires once per set. */
typedef struct flx_timer {
    void (*fire)(void *arg, uint64_t now_ns);
    void *arg;
    uint64_t deadline_ns;
    uint32_t heap_index; /* the loop's; 0 = not set */
} flx_timer;

/* Called at the end of every tick, until removed. Lives in its owner. */
typedef struct flx_tick_hook {
    void (*tick)(void *arg, uint64_t now_ns);
    void *arg;
    struct flx_tick_hook *next; /* the loop's */
} flx_tick_hook;

typedef struct flx_loop_options {
    uint32_t busy_poll_us; /* how long to look again before sleeping; 0: see `adaptive` */
    bool adaptive; /* look again for a moment where that costs less than sleeping: common/spin */
} flx_loop_options;

/* `options` NULL: defaults. FLX_ERR_IO (no descriptor left), FLX_ERR_NOMEM. */
flx_status flx_loop_new(const flx_loop_options *options, flx_loop **ret_loop, flx_error *reterr);
/* Not from a callback of it. Watches, timers and hooks are their owners' and are left as they are.
 * NULL is fine. Always returns NULL. */
flx_loop *flx_loop_free(flx_loop *loop);

/*
 * Borrows `watch` until it is removed. `events` are EPOLLIN, EPOLLOUT, ... of epoll_ctl(2), level
 * triggered unless they say EPOLLET. FLX_ERR_IO: the kernel does not watch such a descriptor.
 */
flx_status flx_loop_add(flx_loop *loop, flx_watch *watch, uint32_t events, flx_error *reterr);
flx_status flx_loop_change(flx_loop *loop, flx_watch *watch, uint32_t events, flx_error *reterr);
/* Before its descriptor is closed; events of it that wait in this tick are dropped. Twice is fine. */
void flx_loop_remove(flx_loop *loop, flx_watch *watch);

/* Sets or moves a timer. Fails only when the heap cannot grow. A past deadline fires next tick. */
flx_status flx_loop_timer_set(flx_loop *loop, flx_timer *timer, uint64_t deadline_ns);
void flx_loop_timer_cancel(flx_loop *loop, flx_timer *timer);

/* Borrows `hook` until it is removed, and calls it after those that were added before it. */
void flx_loop_hook_add(flx_loop *loop, flx_tick_hook *hook);
void flx_loop_hook_remove(flx_loop *loop, flx_tick_hook *hook);

/* The time this tick began, monotonic. Cheap; use it instead of the clock inside callbacks. */
uint64_t flx_loop_now_ns(const flx_loop *loop);

/* Runs until flx_loop_stop. FLX_ERR_IO: waiting failed. */
flx_status flx_loop_run(flx_loop *loop, flx_error *reterr);
/* One tick that waits until `deadline_ns` at the most (0: does not wait; FLX_LOOP_NEVER: no bound). */
flx_status flx_loop_step(flx_loop *loop, uint64_t deadline_ns, flx_error *reterr);

/* This tick had much to do at once: with `adaptive`, waiting for such work is done asleep, because
 * the longer it waits the more of it shares a tick. In a callback. */
void flx_loop_note_bulk(flx_loop *loop);

/* Makes a waiting loop tick soon. Any thread; many calls before the tick are one. */
void flx_loop_wake(flx_loop *loop);
void flx_loop_stop(flx_loop *loop); /* any thread */

/* For a foreign loop: poll this descriptor for reading, wait no longer than the next deadline
 * (monotonic ns, FLX_LOOP_NEVER when there is none), then flx_loop_step(loop, 0, ...). */
int flx_loop_fd(const flx_loop *loop);
uint64_t flx_loop_next_deadline_ns(const flx_loop *loop);

#endif /* FLX_COMMON_LOOP_H */
