/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential backoff with equal jitter; see the header. */
#include "client/backoff.h"

#include "common/assert.h"

uint32_t flx_backoff_next_ms(flx_backoff *backoff, uint64_t random)
{
    FLX_ASSERT(backoff->min_ms > 0 && backoff->min_ms <= backoff->max_ms);
    const uint32_t shift = backoff->attempts < 31 ? backoff->attempts : 31;
    uint64_t ceiling = (uint64_t)backoff->min_ms << shift;
    if (ceiling > backoff->max_ms)
        ceiling = backoff->max_ms;
    backoff->attempts = shift + 1;
    return (uint32_t)(ceiling / 2 + random % (ceiling - ceiling / 2 + 1));
}

void flx_backoff_reset(flx_backoff *backoff)
{
    backoff->attempts = 0;
}
