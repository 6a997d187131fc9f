/* SPDX-License-Identifier: Apache-2.0 */
/* client/pool.c - see the header. */
#include "client/pool.h"

static bool is_better(const flx_berth *a, const flx_berth *b)
{
    if (a->state != b->state)
        return a->state > b->state;
    return a->seats < b->seats;
}

size_t flx_pool_choose(const flx_berth *berths, size_t count, size_t free_from)
{
    size_t best = FLX_BERTH_NONE;
    for (size_t i = 0; i < count; i++) {
        if (berths[i].state == FLX_BERTH_ABROAD ||
            (i < free_from && berths[i].state == FLX_BERTH_FREE))
            continue;
        if (best == FLX_BERTH_NONE || is_better(&berths[i], &berths[best]))
            best = i;
    }
    return best;
}
