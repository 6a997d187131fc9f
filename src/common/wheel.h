/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/wheel.h - deadlines by the million, of milliseconds: TTLs, idle times, redeliveries.
 *
 * A hierarchical timer wheel: adding, moving and cancelling cost a few instructions however many
 * there are, and memory is in the members. Time is given in, in milliseconds of any clock that
 * fits 48 bits (wall time does until the year 10889). What is due comes out in bounded batches, in
 * order of its millisecond. A wheel belongs to one thread.
 */
#ifndef FLX_COMMON_WHEEL_H
#define FLX_COMMON_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_WHEEL_LEVELS 8
#define FLX_WHEEL_SLOTS  64
#define FLX_WHEEL_NEVER  UINT64_MAX

/* One deadline. Lives in its owner; zero it before the first use. */
typedef struct flx_wheel_timer {
    struct flx_wheel_timer *next;
    struct flx_wheel_timer **link; /* what points here; NULL: not set */
    uint64_t due_ms;
} flx_wheel_timer;

typedef struct flx_wheel {
    uint64_t now_ms; /* everything before it was handed out */
    size_t count;
    uint64_t occupied[FLX_WHEEL_LEVELS]; /* a bit a slot */
    flx_wheel_timer *slots[FLX_WHEEL_LEVELS][FLX_WHEEL_SLOTS];
} flx_wheel;

/* An empty wheel, for deadlines from `now_ms` on. It owns nothing, so it needs no end. */
void flx_wheel_init(flx_wheel *wheel, uint64_t now_ms);

/* Sets a timer, or moves it when it is set. One of the past is due at the next advance; one beyond
 * 48 bits counts as the last millisecond of them. */
void flx_wheel_set(flx_wheel *wheel, flx_wheel_timer *timer, uint64_t due_ms);
/* Fine when it is not set. */
void flx_wheel_cancel(flx_wheel *wheel, flx_wheel_timer *timer);

static inline bool flx_wheel_is_set(const flx_wheel_timer *timer)
{
    return timer->link != NULL;
}

/*
 * Moves the time on and hands out what is due by `now_ms`: each timer is unset, then given to
 * `fire`, which may set and cancel anything (its own too) and may free the timer's owner.
 *
 * Does at most `limit` steps, a step being a timer handed out or moved to a finer level (each is
 * moved at most 7 times in its life); returns the number of steps done. When it equals `limit`,
 * there may be more to do now. Time that goes back is taken as standing still.
 */
size_t flx_wheel_advance(flx_wheel *wheel, uint64_t now_ms, size_t limit,
                         void (*fire)(void *arg, flx_wheel_timer *timer), void *arg);

/* When to call advance again: never late, maybe early (a whole level's slot begins then).
 * FLX_WHEEL_NEVER when nothing is set. */
uint64_t flx_wheel_next_ms(const flx_wheel *wheel);

#endif /* FLX_COMMON_WHEEL_H */
