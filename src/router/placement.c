/* SPDX-License-Identifier: Apache-2.0 */
/* router/placement.c - scores. A byte that no UTF-8 text holds ends each field, so that two lists of
 * names never hash alike by running into each other. */
#include "router/placement.h"

#include "router/hash.h"

#include <string.h>

static uint64_t add_field(uint64_t hash, flx_slice field)
{
    static const uint8_t end = 0xff;
    const flx_slice mark = {&end, 1};
    return flx_hash_fnv1a(flx_hash_fnv1a(hash, field), mark);
}

uint64_t flx_placement_seed(flx_slice tenant_id, flx_slice namespace_, flx_slice name,
                            uint32_t shard, flx_owner_kind kind)
{
    const uint8_t number[4] = {(uint8_t)(shard >> 24), (uint8_t)(shard >> 16),
                               (uint8_t)(shard >> 8), (uint8_t)shard};
    uint64_t hash = add_field(FLX_HASH_FNV1A_BASIS, tenant_id);
    hash = add_field(hash, namespace_);
    hash = add_field(hash, name);
    hash = add_field(hash, (flx_slice){number, sizeof number});
    if (kind == FLX_OWNER_KIND_CACHE) {
        hash = add_field(hash, (flx_slice){(const uint8_t *)"cache", 5});
    }
    return flx_hash_finalize(hash);
}

uint64_t flx_placement_score(uint64_t seed, flx_slice node_id)
{
    const uint64_t node = flx_hash_finalize(add_field(FLX_HASH_FNV1A_BASIS, node_id));
    const uint64_t turned = (node << 32) | (node >> 32);
    return flx_hash_finalize((seed * UINT64_C(0x9e3779b97f4a7c15)) ^ turned);
}

bool flx_placement_before(uint64_t score_a, flx_slice node_a, uint64_t score_b, flx_slice node_b)
{
    if (score_a != score_b) {
        return score_a > score_b;
    }
    const size_t len = node_a.len < node_b.len ? node_a.len : node_b.len;
    const int order = len > 0 ? memcmp(node_a.ptr, node_b.ptr, len) : 0;
    return order != 0 ? order < 0 : node_a.len < node_b.len;
}
