/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/seats.h - which worker a client should end at, for what it means to do with a shard.
 *
 * Advice, given to clients that ask (PLACEMENT, docs/spec/extensions.md 1.4). A publish and a cache
 * request cost least on the shard's owner. So does a subscriber or a watch, while there are few: a
 * delivery to another worker costs a message between threads and mostly a wake-up, about what the
 * owner needs to serve FLX_SEATS_NEAR of them itself. With more of them the owner would become the
 * longest way, so the others are dealt out to all workers in turn. Requests of a cache are the same
 * with a larger number: what many send at a time crosses in batches, and packets, parsing and answers
 * are the most of their cost, which other workers can take.
 *
 * How many there are is counted in a table that all workers of a node share, by hash: two shards in
 * one place spread earlier than they need to. Counted are subscriptions, watches and the streams on
 * which a cache is open for operations, and for a few seconds the advice that was given, or a thousand subscribers that ask at once would all be sent to the owner.
 *
 * Threads: any; the counters are atomic and touched when a subscription comes or goes.
 */
#ifndef FLX_BROKER_SEATS_H
#define FLX_BROKER_SEATS_H

#include "wire/operation.h"

#include <felix/status.h>

#include <stdint.h>

#define FLX_SEATS_NEAR          16
#define FLX_SEATS_NEAR_REQUESTS 16
#define FLX_SEATS_RECENT_S      4 /* how long advice counts as a subscriber */

/* Beside the id of a cache: its requests, of whatever shard. */
#define FLX_SEATS_REQUESTS (UINT32_C(1) << 30)

typedef struct flx_seats flx_seats;

flx_status flx_seats_new(flx_seats **ret_seats, flx_error *reterr);
flx_seats *flx_seats_free(flx_seats *seats);

/* The decision by itself: `there` subscribers are there or on their way, `turn` were dealt out. */
uint32_t flx_seats_choose(flx_placement_kind kind, uint32_t owner, uint32_t workers, uint32_t there,
                          uint32_t turn);

/* The same with what is known, remembered for the next one. `seats` NULL: nothing is. */
uint32_t flx_seats_advise(flx_seats *seats, flx_placement_kind kind, uint32_t id, uint32_t shard,
                          uint32_t owner, uint32_t workers, uint64_t now_ns);

/* A subscription (or what else is counted) came or went. NULL is fine. */
void flx_seats_came(flx_seats *seats, uint32_t id, uint32_t shard);
void flx_seats_went(flx_seats *seats, uint32_t id, uint32_t shard);

#endif /* FLX_BROKER_SEATS_H */
