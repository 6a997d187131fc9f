/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/wheel.c - eight levels of 64 slots; a level's slot is as long as the whole level below.
 *
 *      level 0   64 slots of 1 ms
 *      level 1   64 slots of 64 ms
 *      level 2   64 slots of 4.1 s      ... level 7: 64 slots of 139 years
 *
 * Where a timer goes: write now and its due time in base 64; the highest digit in which they differ
 * is the level, and due's digit there is the slot. So a timer of level k agrees with now in all
 * digits above k and is larger in digit k, and from that follow
 *
 *   1. slots never wrap around; all of level k-1 is due before anything of level k;
 *   2. the earliest slot is the lowest bit of the lowest level that has one;
 *   3. when now reaches the start of a slot of level k > 0, its timers move to lower levels.
 *
 * The third is work that must be bounded too, so it is done one timer a step: `now_ms` stands at the
 * slot's start until the slot is empty, and while it does, that slot (the only one whose number is
 * now's own digit on a level above 0) goes first. Timers that are set meanwhile differ from now in a
 * lower digit, so nothing is added to a slot that is being emptied.
 */
#include "common/wheel.h"

#include "common/assert.h"

#include <string.h>

#define DIGIT_BITS 6
#define TIME_MAX   ((UINT64_C(1) << (DIGIT_BITS * FLX_WHEEL_LEVELS)) - 1)

static_assert(FLX_WHEEL_SLOTS == 1 << DIGIT_BITS, "a slot is a digit");

typedef struct place {
    unsigned level;
    unsigned slot;
} place;

static unsigned digit_of(uint64_t time_ms, unsigned level)
{
    return (unsigned)(time_ms >> (level * DIGIT_BITS)) & (FLX_WHEEL_SLOTS - 1);
}

static place place_of(uint64_t now_ms, uint64_t due_ms)
{
    const uint64_t difference = now_ms ^ due_ms;
    const unsigned top_bit = difference == 0 ? 0 : 63 - (unsigned)__builtin_clzll(difference);
    const unsigned level = top_bit / DIGIT_BITS;
    return (place){level, digit_of(due_ms, level)};
}

static void link_in(flx_wheel *wheel, flx_wheel_timer *timer)
{
    const uint64_t due_ms = timer->due_ms < wheel->now_ms ? wheel->now_ms : timer->due_ms;
    const place at = place_of(wheel->now_ms, due_ms);
    FLX_ASSERT(at.level < FLX_WHEEL_LEVELS);
    flx_wheel_timer **head = &wheel->slots[at.level][at.slot];
    timer->next = *head;
    timer->link = head;
    if (timer->next != NULL) {
        timer->next->link = &timer->next;
    }
    *head = timer;
    wheel->occupied[at.level] |= UINT64_C(1) << at.slot;
    wheel->count++;
}

/* Clears the bit of the slot whose head `link` is, when it is one. */
static void note_empty(flx_wheel *wheel, flx_wheel_timer **link)
{
    flx_wheel_timer **first = &wheel->slots[0][0];
    /* As integers: `link` may point into a timer, which is no part of the array. */
    const uintptr_t offset = (uintptr_t)link - (uintptr_t)first;
    if ((uintptr_t)link >= (uintptr_t)first && offset < sizeof wheel->slots) {
        const size_t index = offset / sizeof(flx_wheel_timer *);
        wheel->occupied[index / FLX_WHEEL_SLOTS] &= ~(UINT64_C(1) << (index % FLX_WHEEL_SLOTS));
    }
}

void flx_wheel_init(flx_wheel *wheel, uint64_t now_ms)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->now_ms = now_ms > TIME_MAX ? TIME_MAX : now_ms;
}

void flx_wheel_cancel(flx_wheel *wheel, flx_wheel_timer *timer)
{
    if (timer->link == NULL) {
        return;
    }
    FLX_ASSERT(*timer->link == timer && wheel->count > 0);
    *timer->link = timer->next;
    if (timer->next != NULL) {
        timer->next->link = timer->link;
    } else {
        note_empty(wheel, timer->link);
    }
    timer->next = NULL;
    timer->link = NULL;
    wheel->count--;
}

void flx_wheel_set(flx_wheel *wheel, flx_wheel_timer *timer, uint64_t due_ms)
{
    flx_wheel_cancel(wheel, timer);
    timer->due_ms = due_ms > TIME_MAX ? TIME_MAX : due_ms;
    link_in(wheel, timer);
}

/* When a slot begins: now's digits above its level, then its own, then zeros. */
static uint64_t start_of(const flx_wheel *wheel, place at)
{
    const unsigned shift = at.level * DIGIT_BITS;
    const uint64_t above = wheel->now_ms >> shift >> DIGIT_BITS << DIGIT_BITS;
    return (above | at.slot) << shift;
}

/* The slot that must be emptied next; there is one. */
static place first_slot(const flx_wheel *wheel)
{
    for (unsigned level = FLX_WHEEL_LEVELS - 1; level > 0; level--) {
        const unsigned digit = digit_of(wheel->now_ms, level);
        if ((wheel->occupied[level] >> digit & 1) != 0) {
            return (place){level, digit};
        }
    }
    unsigned level = 0;
    while (wheel->occupied[level] == 0) {
        level++;
        FLX_ASSERT(level < FLX_WHEEL_LEVELS);
    }
    return (place){level, (unsigned)__builtin_ctzll(wheel->occupied[level])};
}

uint64_t flx_wheel_next_ms(const flx_wheel *wheel)
{
    return wheel->count == 0 ? FLX_WHEEL_NEVER : start_of(wheel, first_slot(wheel));
}

size_t flx_wheel_advance(flx_wheel *wheel, uint64_t now_ms, size_t limit,
                         void (*fire)(void *arg, flx_wheel_timer *timer), void *arg)
{
    now_ms = now_ms > TIME_MAX ? TIME_MAX : now_ms;
    size_t steps = 0;
    while (steps < limit && wheel->count > 0) {
        const place at = first_slot(wheel);
        const uint64_t start_ms = start_of(wheel, at);
        if (start_ms > now_ms) {
            break;
        }
        FLX_ASSERT(start_ms >= wheel->now_ms || at.level > 0);
        if (start_ms > wheel->now_ms) {
            wheel->now_ms = start_ms;
        }
        flx_wheel_timer *timer = wheel->slots[at.level][at.slot];
        flx_wheel_cancel(wheel, timer);
        if (at.level == 0) {
            fire(arg, timer);
        } else {
            link_in(wheel, timer);
        }
        steps++;
    }
    /* With steps to spare everything that begins by now_ms is out, so time may jump there. */
    if (steps < limit && now_ms > wheel->now_ms) {
        wheel->now_ms = now_ms;
    }
    return steps;
}
