/* SPDX-License-Identifier: Apache-2.0 */
/*
 * router/placement.h - how much a node wants a shard: rendezvous hashing. docs/spec/wire.md 8.3.
 *
 * Every control plane computes the same scores, and a node that leaves moves only its own shards.
 * The highest score leads; load bounds and zones are the control plane's to apply. Pure; any thread.
 */
#ifndef FLX_ROUTER_PLACEMENT_H
#define FLX_ROUTER_PLACEMENT_H

#include "wire/enums.h"

#include <felix/slice.h>

#include <stdbool.h>
#include <stdint.h>

/* The shard's half of a score. A cache of the same name is placed on its own. */
uint64_t flx_placement_seed(flx_slice tenant_id, flx_slice namespace_, flx_slice name,
                            uint32_t shard, flx_owner_kind kind);

/* The score of one node for that shard. */
uint64_t flx_placement_score(uint64_t seed, flx_slice node_id);

/* Whether node `a` goes before node `b`: by score, ties by the smaller node id. */
bool flx_placement_before(uint64_t score_a, flx_slice node_a, uint64_t score_b, flx_slice node_b);

#endif /* FLX_ROUTER_PLACEMENT_H */
