/* SPDX-License-Identifier: Apache-2.0 */
/* spin.c - see the header. */
#include "common/spin.h"

#include "common/assert.h"

#define MEAN_OF          32 /* a new wait counts a thirty-second part of the moving mean */
#define WAIT_COUNTED_MAX (4 * FLX_SPIN_TRY) /* a few such end it, one does not */

uint64_t flx_spin_budget_ns(const flx_spin *spin)
{
    switch (spin->state) {
    case FLX_SPIN_SLEEP:
        return 0;
    case FLX_SPIN_IN_TRIAL:
    case FLX_SPIN_ON:
        return FLX_SPIN_TRY;
    }
    FLX_UNREACHABLE();
}

static void give_up(flx_spin *spin)
{
    const uint32_t longer = spin->pause == 0 ? FLX_SPIN_STREAK : spin->pause * 2;
    const bool paid = spin->state == FLX_SPIN_ON && spin->streak >= 2 * FLX_SPIN_GRACE;
    const uint32_t pause = paid ? 0 : longer > FLX_SPIN_PAUSE_MAX ? FLX_SPIN_PAUSE_MAX : longer;
    *spin = (flx_spin){.pause = pause, .left = pause};
}

static void move(flx_spin *spin, flx_spin_state state, uint64_t mean_ns)
{
    spin->state = state;
    spin->streak = 0;
    spin->mean_ns = mean_ns;
}

void flx_spin_note(flx_spin *spin, uint64_t waited_ns, bool against)
{
    const uint64_t counted_ns = against                        ? 2 * FLX_SPIN_TRY
                                : waited_ns > WAIT_COUNTED_MAX ? WAIT_COUNTED_MAX
                                                               : waited_ns;
    switch (spin->state) {
    case FLX_SPIN_SLEEP:
        spin->left -= spin->left > 0;
        spin->streak = counted_ns <= FLX_SPIN_TRY ? spin->streak + 1 : 0;
        if (spin->streak >= FLX_SPIN_STREAK && spin->left == 0)
            move(spin, FLX_SPIN_IN_TRIAL, 0);
        return;
    case FLX_SPIN_IN_TRIAL:
        spin->mean_ns += counted_ns;
        spin->streak++;
        if (spin->mean_ns > FLX_SPIN_TRIAL * FLX_SPIN_HOPE)
            give_up(spin);
        else if (spin->streak == FLX_SPIN_TRIAL)
            move(spin, FLX_SPIN_ON, spin->mean_ns / FLX_SPIN_TRIAL);
        return;
    case FLX_SPIN_ON:
        spin->streak += spin->streak < 2 * FLX_SPIN_GRACE;
        spin->mean_ns += counted_ns / MEAN_OF - spin->mean_ns / MEAN_OF;
        if (spin->mean_ns > (spin->streak < FLX_SPIN_GRACE ? FLX_SPIN_HOPE : FLX_SPIN_PAYS))
            give_up(spin);
        return;
    }
}
