/* SPDX-License-Identifier: Apache-2.0 */
/* common/hash.c - XXH3 under a seed of the process. */
#define XXH_INLINE_ALL
#include "common/hash.h"

#include "common/assert.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

static _Atomic uint64_t process_seed; /* 0: not drawn yet */

uint64_t flx_hash_seed(void)
{
    uint64_t current = atomic_load_explicit(&process_seed, memory_order_relaxed);
    if (current != 0) {
        return current;
    }
    uint64_t drawn = 0;
    while (drawn == 0) {
        /* Eight bytes come whole once the kernel's pool is ready, and getrandom waits for that. */
        if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn) {
            drawn = 0;
        }
    }
    /* Two threads may draw at once; the first to store wins for both. */
    return atomic_compare_exchange_strong(&process_seed, &current, drawn) ? drawn : current;
}

void flx_hash_seed_set(uint64_t seed)
{
    FLX_ASSERT(seed != 0);
    atomic_store(&process_seed, seed);
}

uint64_t flx_hash(flx_slice bytes)
{
    return XXH3_64bits_withSeed(bytes.ptr, bytes.len, flx_hash_seed());
}
