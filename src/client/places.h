/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/places.h - to which connection the requests of one cache go, shard by shard. Loop thread.
 *
 * Requests begin on whatever connection has room. A cache that is used asks for the best place
 * (seat.h); once its connection is up, the requests of that shard go there, and only there. They
 * change over when those that left before are answered: the later ones wait for that in `held`, so
 * two requests for one key do not overtake each other on the way.
 *
 * With the first answer comes the number of shards. If there are several, every shard has a place of
 * its own from then on, and asks for itself when it is used. A cache that was made anew with another
 * number of shards is still served, over connections that may cost more.
 */
#ifndef FLX_CLIENT_PLACES_H
#define FLX_CLIENT_PLACES_H

#include "client/asks.h"
#include "client/seat.h"

#include <sys/queue.h>

struct flx_place {
    flx_seat seat;
    flx_uplink *at;     /* its requests go here; NULL: to any connection that is kept up */
    uint32_t used;      /* requests so far, until it asks */
    uint32_t pending;   /* requests on their way, not answered */
    flx_ask_queue held; /* behind these, to go elsewhere; not empty: in the list of moves */
    bool is_moving;
    TAILQ_ENTRY(flx_place) moves;
};

struct flx_places {
    flx_place all;     /* of all keys, until several shards are known */
    flx_place *shards; /* NULL until then */
    uint32_t shard_count;
};

/* Borrows member and name until left for good. */
void flx_places_init(flx_places *places, flx_member *member, const flx_scoped_name *name);
/* The place of the key this ask is about. */
flx_place *flx_places_find(flx_places *places, const flx_ask *ask);
/* Where requests should go now: place->at, or elsewhere. Asks the broker when it is time. */
flx_uplink *flx_place_wanted(flx_place *place);
/* Whether nothing is on its way that a request of this place could overtake. */
static inline bool flx_place_may_move(const flx_place *place, const flx_places *places)
{
    return place->pending == 0 && (place == &places->all || places->all.pending == 0);
}
/* No request of them is left. */
void flx_places_leave(flx_places *places, flx_asks *asks);
void flx_places_done(flx_places *places);

#endif /* FLX_CLIENT_PLACES_H */
