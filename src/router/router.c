/* SPDX-License-Identifier: Apache-2.0 */
/*
 * router/router.c - key to shard.
 *
 * FNV-1a alone is weak in its low bits, where modulo looks; the finalizer spreads every input bit
 * over the word. Clients compute the same numbers, so none of this can ever change.
 */
#include "router/router.h"

#include "common/assert.h"
#include "router/hash.h"

uint64_t flx_route_hash(flx_slice key)
{
    return flx_hash_finalize(flx_hash_fnv1a(FLX_HASH_FNV1A_BASIS, key));
}

/*
 * Jump consistent hash: walks the bucket counts at which the key would move, and stops at the last
 * one below `shards`. About ln(shards) steps. The double has 53 bits and the quotient fewer, so
 * every machine that rounds as IEEE 754 says walks the same way.
 */
static uint32_t jump(uint64_t hash, uint32_t shards)
{
    int64_t bucket = -1;
    int64_t next = 0;
    while (next < (int64_t)shards) {
        bucket = next;
        hash = hash * UINT64_C(2862933555777941757) + 1;
        const double scale = (double)(INT64_C(1) << 31) / (double)((hash >> 33) + 1);
        next = (int64_t)((double)(bucket + 1) * scale);
    }
    FLX_ASSERT(bucket >= 0 && bucket < (int64_t)shards);
    return (uint32_t)bucket;
}

uint32_t flx_route_shard(flx_routing routing, flx_slice key, uint32_t shards)
{
    FLX_ASSERT(shards >= 1);
    if (shards == 1) {
        return 0;
    }
    const uint64_t hash = flx_route_hash(key);
    switch (routing) {
    case FLX_ROUTING_MODULO:
        return (uint32_t)(hash % shards);
    case FLX_ROUTING_JUMP_HASH:
        return jump(hash, shards);
    }
    FLX_UNREACHABLE();
}
