/* SPDX-License-Identifier: Apache-2.0 */
/* router/hash.h - FNV-1a 64 and the finalizer behind it, shared by routing and placement. Pure. */
#ifndef FLX_ROUTER_HASH_H
#define FLX_ROUTER_HASH_H

#include <felix/slice.h>

#include <stddef.h>
#include <stdint.h>

#define FLX_HASH_FNV1A_BASIS UINT64_C(0xcbf29ce484222325)
#define FLX_HASH_FNV1A_PRIME UINT64_C(0x100000001b3)

/* Goes on from `hash`; begin with FLX_HASH_FNV1A_BASIS. */
static inline uint64_t flx_hash_fnv1a(uint64_t hash, flx_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        hash = (hash ^ bytes.ptr[i]) * FLX_HASH_FNV1A_PRIME;
    }
    return hash;
}

static inline uint64_t flx_hash_finalize(uint64_t hash)
{
    hash ^= hash >> 30;
    hash *= UINT64_C(0xbf58476d1ce4e5b9);
    hash ^= hash >> 27;
    hash *= UINT64_C(0x94d049bb133111eb);
    hash ^= hash >> 31;
    return hash;
}

#endif /* FLX_ROUTER_HASH_H */
