/* SPDX-License-Identifier: Apache-2.0 */
/* router/router.h - which shard a key belongs to. Pure; any thread. docs/spec/wire.md 8. */
#ifndef FLX_ROUTER_ROUTER_H
#define FLX_ROUTER_ROUTER_H

#include "wire/enums.h" /* flx_routing: FLX_ROUTING_MODULO, FLX_ROUTING_JUMP_HASH */

#include <felix/slice.h>

#include <stdbool.h>
#include <stdint.h>

/* FNV-1a 64 and the finalizer over it. */
uint64_t flx_route_hash(flx_slice key);

/* The shard of a keyed publish: 0 .. shards-1. `shards` is at least 1. Unkeyed publishes go to 0. */
uint32_t flx_route_shard(flx_routing routing, flx_slice key, uint32_t shards);

#endif /* FLX_ROUTER_ROUTER_H */
