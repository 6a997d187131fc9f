/* SPDX-License-Identifier: Apache-2.0 */
/* common/clock.c - the two clocks of the kernel. */
#include "common/clock.h"

#include <time.h>

uint64_t flx_clock_monotonic_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * FLX_NS_PER_S + (uint64_t)time.tv_nsec;
}

uint64_t flx_clock_wall_us(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000) + (uint64_t)time.tv_nsec / 1000;
}
