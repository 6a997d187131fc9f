/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/clock.h - the two clocks. Deciding code never calls these: it is given the time. Any thread.
 */
#ifndef FLX_COMMON_CLOCK_H
#define FLX_COMMON_CLOCK_H

#include <stdint.h>

#define FLX_NS_PER_US UINT64_C(1000)
#define FLX_NS_PER_MS UINT64_C(1000000)
#define FLX_NS_PER_S  UINT64_C(1000000000)

uint64_t flx_clock_monotonic_ns(void); /* for deadlines; starts anywhere */
uint64_t flx_clock_wall_us(void);      /* microseconds since 1970, for record times and expiry */

#endif /* FLX_COMMON_CLOCK_H */
