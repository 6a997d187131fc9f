/* SPDX-License-Identifier: Apache-2.0 */
/* client/places.c - see the header. */
#include "client/places.h"

#include "client/client_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "router/router.h"

#include <string.h>

#define USED_ENOUGH 32U   /* requests after which asking, and maybe a connection, is worth it */
#define SHARDS_MAX  1024U /* more than a broker's cache has: not split */

void flx_places_init(flx_places *places, flx_member *member, const flx_scoped_name *name)
{
    memset(places, 0, sizeof(*places));
    flx_seat_init(&places->all.seat, member, name, FLX_PLACEMENT_CACHE, 0);
}

/* Out of memory: all keys stay together, on any connection. */
static void split(flx_places *places, uint32_t count)
{
    const flx_seat *seat = &places->all.seat;
    flx_place *shards = flx_calloc(count, sizeof(*shards));
    if (shards == NULL)
        return;
    for (uint32_t i = 0; i < count; i++) {
        flx_seat_init(&shards[i].seat, seat->member, seat->name, FLX_PLACEMENT_CACHE, i);
        shards[i].seat.knows_shards = true;
        shards[i].used = USED_ENOUGH / 2;
    }
    places->shards = shards;
    places->shard_count = count;
    flx_seat_leave(&places->all.seat);
}

static flx_slice key_of(const flx_ask *ask)
{
    flx_slice bytes = {ask->frame->data + FLX_OP_FRAME_AT, ask->frame->len - FLX_OP_FRAME_AT};
    flx_operation_head head;
    flx_operation operation = {0};
    const bool is_whole = flx_operations_next(&bytes, &head) &&
                          flx_operation_decode(&head, &operation, NULL) == FLX_OK;
    FLX_ASSERT(is_whole); /* our own bytes */
    return operation.key;
}

flx_place *flx_places_find(flx_places *places, const flx_ask *ask)
{
    const uint32_t shards = places->all.seat.shards;
    if (places->shards == NULL && shards > 1 && shards <= SHARDS_MAX)
        split(places, shards);
    if (places->shards == NULL)
        return &places->all;
    return &places->shards[flx_route_shard(FLX_ROUTING_MODULO, key_of(ask), places->shard_count)];
}

flx_uplink *flx_place_wanted(flx_place *place)
{
    if (place->used < USED_ENOUGH) {
        place->used++;
        return place->at;
    }
    if (flx_seat_may_do_better(&place->seat))
        flx_seat_leave(&place->seat);
    flx_uplink *uplink = flx_seat_take(&place->seat);
    if (uplink != NULL)
        return place->seat.is_placed ? uplink : NULL;
    return place->at != NULL && flx_uplink_is_up(place->at) ? place->at : NULL;
}

static void leave(flx_place *place, flx_asks *asks)
{
    FLX_ASSERT(place->pending == 0 && place->held.count == 0);
    if (place->is_moving)
        TAILQ_REMOVE(&asks->moves, place, moves);
    place->is_moving = false;
    flx_seat_leave(&place->seat);
}

void flx_places_leave(flx_places *places, flx_asks *asks)
{
    leave(&places->all, asks);
    for (uint32_t i = 0; i < places->shard_count; i++)
        leave(&places->shards[i], asks);
}

void flx_places_done(flx_places *places)
{
    flx_free(places->shards);
    places->shards = NULL;
    places->shard_count = 0;
}
