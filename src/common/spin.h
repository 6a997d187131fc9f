/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/spin.h - is it worth looking again for a moment before going to sleep?
 *
 * Going to sleep and being woken costs tens of microseconds, of which more than half is processor
 * time of ours and of whoever wakes us. When the next event comes sooner than that, looking again and
 * again is cheaper and much faster. This decides when, from how long the last waits lasted: pure, no
 * clock. common/loop asks it.
 *
 *              waits were short                  8 waits, spinning,
 *      SLEEP  ------------------->  TRIAL   ---  their mean is small  --->  SPIN
 *        ^                            |                                      |
 *        +------- it is not ----------+<------- the mean has grown ----------+
 *
 * A trial is needed because two sides that both sleep make each other's waits long: only a spinning
 * one sees how short they can be. After a trial in vain the next is further away, twice as far each
 * time; so what is spun for nothing is bounded, and a loop whose waits are long never spins.
 */
#ifndef FLX_COMMON_SPIN_H
#define FLX_COMMON_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds. */
#define FLX_SPIN_TRY UINT64_C(100000) /* waits up to this long could become short ones */
#define FLX_SPIN_HOPE                                                                              \
    UINT64_C(75000) /* a mean that may still fall: maybe the other side sleeps yet */
#define FLX_SPIN_PAYS UINT64_C(25000) /* a mean wait under this is worth spinning through */
/* Waits. */
#define FLX_SPIN_STREAK    16             /* up to TRY in a row, before a trial */
#define FLX_SPIN_TRIAL     8              /* in a trial */
#define FLX_SPIN_GRACE     256            /* after it, in which HOPE is good enough */
#define FLX_SPIN_PAUSE_MAX UINT32_C(8192) /* between two trials, at the most */

typedef enum flx_spin_state { FLX_SPIN_SLEEP, FLX_SPIN_IN_TRIAL, FLX_SPIN_ON } flx_spin_state;

/* All zero: sleeping, nothing known. */
typedef struct flx_spin {
    flx_spin_state state;
    uint32_t streak;  /* SLEEP: waits up to TRY in a row; else: waits in this state */
    uint32_t pause;   /* SLEEP: waits that the last trial in vain keeps the next one away */
    uint32_t left;    /* SLEEP: how many of those are still to come */
    uint64_t mean_ns; /* TRIAL: the sum so far; SPIN: moving mean */
} flx_spin;

/* How long the wait that comes now may be spun through. */
uint64_t flx_spin_budget_ns(const flx_spin *spin);

/*
 * A wait is over that lasted `waited_ns`, asleep or not. `against`: sleeping is better whatever that
 * says: something else wants this processor, or the longer we sleep the more work shares a tick.
 */
void flx_spin_note(flx_spin *spin, uint64_t waited_ns, bool against);

#endif /* FLX_COMMON_SPIN_H */
