/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/xorshift.h - numbers that are spread well and are the same in every run with the same start:
 * jitter, ids that shall not meet, random walks of tests. No secret may depend on them. Pure.
 */
#ifndef FLX_COMMON_XORSHIFT_H
#define FLX_COMMON_XORSHIFT_H

#include <stdint.h>

/* The next number; *state is any number but 0, and stays so. */
static inline uint64_t flx_xorshift(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif /* FLX_COMMON_XORSHIFT_H */
