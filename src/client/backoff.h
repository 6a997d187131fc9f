/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/backoff.h - pauses between attempts: doubled from min to max, half of each random, so that the clients
 * of a broker that restarted do not come back in step. Pure.
 */
#ifndef FLX_CLIENT_BACKOFF_H
#define FLX_CLIENT_BACKOFF_H

#include <stdint.h>

typedef struct flx_backoff {
    uint32_t min_ms;
    uint32_t max_ms;
    uint32_t attempts; /* failures in a row */
} flx_backoff;

/* The next pause, in [ceiling/2, ceiling] with ceiling = min(max, min * 2^attempts). */
uint32_t flx_backoff_next_ms(flx_backoff *backoff, uint64_t random);
void flx_backoff_reset(flx_backoff *backoff);

#endif /* FLX_CLIENT_BACKOFF_H */
