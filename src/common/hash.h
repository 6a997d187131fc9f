/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/hash.h - one keyed hash for tables of names that foreigners choose.
 *
 * XXH3 with a seed drawn once a process from the kernel, so nobody outside can aim at one bucket.
 * Never for anything that leaves the process: placement has its own, fixed hash (router).
 */
#ifndef FLX_COMMON_HASH_H
#define FLX_COMMON_HASH_H

#include <felix/slice.h>

#include <stdint.h>

/* Any thread. */
uint64_t flx_hash(flx_slice bytes);

/* The seed itself, for hot tables that call xxhash directly. Any thread. */
uint64_t flx_hash_seed(void);

/* Fixes the seed, for simulations that must replay. Before the first hash, or tables get lost. */
void flx_hash_seed_set(uint64_t seed);

#endif /* FLX_COMMON_HASH_H */
