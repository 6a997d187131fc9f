/* SPDX-License-Identifier: Apache-2.0 */
/* broker/seats.c - see the header. */
#include "broker/seats.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#include <stdatomic.h>

#define PLACES 4096U /* a power of two */

typedef struct place {
    _Atomic uint32_t subscribers;
    _Atomic uint32_t turn;
    _Atomic uint64_t recent; /* second << 32 | advice given in the FLX_SEATS_RECENT_S from then */
} place;

struct flx_seats {
    place places[PLACES];
};

flx_status flx_seats_new(flx_seats **ret_seats, flx_error *reterr)
{
    flx_seats *seats = flx_calloc(1, sizeof *seats);
    if (seats == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "count seats: out of memory");
    }
    *ret_seats = seats;
    return FLX_OK;
}

flx_seats *flx_seats_free(flx_seats *seats)
{
    flx_free(seats);
    return NULL;
}

static place *place_of(flx_seats *seats, uint32_t id, uint32_t shard)
{
    uint64_t hash = ((uint64_t)id << 32 | shard) * UINT64_C(0x9e3779b97f4a7c15);
    return &seats->places[(hash >> 40) & (PLACES - 1)];
}

/* How many the owner serves before the others help. */
static uint32_t near_of(flx_placement_kind kind)
{
    switch (kind) {
    case FLX_PLACEMENT_PUBLISH:
        return UINT32_MAX;
    case FLX_PLACEMENT_CACHE:
        return FLX_SEATS_NEAR_REQUESTS;
    case FLX_PLACEMENT_SUBSCRIBE:
    case FLX_PLACEMENT_WATCH:
        return FLX_SEATS_NEAR;
    }
    FLX_UNREACHABLE();
}

uint32_t flx_seats_choose(flx_placement_kind kind, uint32_t owner, uint32_t workers, uint32_t there,
                          uint32_t turn)
{
    FLX_ASSERT(owner < workers);
    if (there < near_of(kind)) {
        return owner;
    }
    return (uint32_t)(((uint64_t)owner + 1 + turn) % workers);
}

/* Notes one more piece of advice and says how many there were lately before it. */
static uint32_t note_advice(place *at, uint64_t now_ns)
{
    const uint64_t second = now_ns / FLX_NS_PER_S & UINT32_MAX;
    uint64_t word = atomic_load_explicit(&at->recent, memory_order_relaxed);
    for (;;) {
        const bool is_old = second - (word >> 32) >= FLX_SEATS_RECENT_S; /* also when it wrapped */
        const uint32_t given = is_old ? 0 : (uint32_t)word;
        const uint64_t next = is_old ? second << 32 | 1 : given < UINT32_MAX ? word + 1 : word;
        if (atomic_compare_exchange_weak_explicit(&at->recent, &word, next, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return given;
        }
    }
}

uint32_t flx_seats_advise(flx_seats *seats, flx_placement_kind kind, uint32_t id, uint32_t shard,
                          uint32_t owner, uint32_t workers, uint64_t now_ns)
{
    if (kind == FLX_PLACEMENT_PUBLISH || seats == NULL) {
        return owner;
    }
    place *at = place_of(seats, id, shard);
    const uint32_t lately = note_advice(at, now_ns);
    const uint32_t now = atomic_load_explicit(&at->subscribers, memory_order_relaxed);
    const uint32_t there = lately > now ? lately : now;
    const uint32_t turn =
        there < near_of(kind) ? 0 : atomic_fetch_add_explicit(&at->turn, 1, memory_order_relaxed);
    return flx_seats_choose(kind, owner, workers, there, turn);
}

void flx_seats_came(flx_seats *seats, uint32_t id, uint32_t shard)
{
    if (seats != NULL) {
        (void)atomic_fetch_add_explicit(&place_of(seats, id, shard)->subscribers, 1,
                                        memory_order_relaxed);
    }
}

void flx_seats_went(flx_seats *seats, uint32_t id, uint32_t shard)
{
    if (seats != NULL) {
        const uint32_t before = atomic_fetch_sub_explicit(&place_of(seats, id, shard)->subscribers,
                                                          1, memory_order_relaxed);
        FLX_DEBUG_ASSERT(before > 0);
        (void)before;
    }
}
