/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/seat.h - on which connection a publisher, a subscriber of one shard, or the requests of a
 * cache's shard cost least. Loop thread.
 *
 * A broker's worker owns shards; a connection ends at one worker; what a connection does with
 * shards of other workers crosses between their threads. A seat asks the broker once which worker
 * is the best one (PLACEMENT, docs/spec/extensions.md 1.4), and takes a connection that ends there,
 * making one when there is none and room for it.
 *
 *      NONE --ask--> ASKING --answer--> WAITING --its connection is up--> TAKEN
 *       ^               | no answer,       | cannot be made                 |
 *       |               v not offered      v                                |
 *       |             TAKEN, at home     TAKEN, at home                     |
 *       +-------------------------- channel lost: leave --------------------+
 *
 * Home is the connection dealt out by turn: any connection serves everything, so whatever goes
 * wrong here costs speed and nothing else (README rule 13).
 */
#ifndef FLX_CLIENT_SEAT_H
#define FLX_CLIENT_SEAT_H

#include "client/channel.h"
#include "client/names.h"
#include "common/loop.h"
#include "wire/operation.h"

typedef struct flx_member flx_member;
typedef struct flx_client flx_client;
typedef struct flx_seat flx_seat;

typedef enum flx_seat_state {
    FLX_SEAT_NONE,
    FLX_SEAT_ASKING,
    FLX_SEAT_WAITING,
    FLX_SEAT_TAKEN
} flx_seat_state;

struct flx_seat {
    flx_member *member;          /* poked when there is news */
    const flx_scoped_name *name; /* NULL: nothing to ask for, it sits at home */
    flx_placement_kind kind;
    uint32_t shard;
    flx_slice key;     /* of a watch: instead of the shard; borrowed, empty: none */
    bool knows_shards; /* a cache's: `shard` is one of several, their number is not asked for */
    bool is_placed;    /* WAITING, TAKEN: on a connection to the worker of the answer */
    uint32_t shards;   /* as the last answer said; 0: not known */
    flx_seat_state state;
    flx_uplink *uplink; /* WAITING, TAKEN */
    uint32_t losses;    /* TAKEN: of the uplink, when it was */
    uint32_t id;        /* ASKING: of the question; 0: not sent yet */
    uint8_t owed;       /* ASKING: answers that have not come */
    bool anywhere;      /* answered: no worker is better than another, or none can be had */
    flx_quic_worker answer;
    flx_seat *prev, *next; /* ASKING: in the placer's list */
};

/* Borrows member and name until left for good. `name` NULL: at home, always. */
void flx_seat_init(flx_seat *seat, flx_member *member, const flx_scoped_name *name,
                   flx_placement_kind kind, uint32_t shard);
/* The connection to open a channel on now; NULL: not yet, the member is poked when it is time. */
flx_uplink *flx_seat_take(flx_seat *seat);
/* It sits at home because asking failed, and that was a while ago: leave it, and take again. */
bool flx_seat_may_do_better(const flx_seat *seat);
/* The channel is gone, or nothing is wanted any more. The next take chooses again. */
void flx_seat_leave(flx_seat *seat);

/* Whoever asks for all seats of a client: one stream, opened while there are questions. */
typedef struct flx_placer {
    flx_client *client;
    flx_channel channel;
    flx_timer timer;
    flx_seat *first, *last; /* ASKING; those that were sent come first */
    uint32_t next_id;
    uint32_t sent;          /* operations without an answer */
    uint64_t not_before_ns; /* a connection could not be made: nobody asks until then */
    bool is_defeated;       /* connections end elsewhere than where they were sent: nobody asks */
} flx_placer;

void flx_placer_init(flx_placer *placer, flx_client *client);
/* Each tick: sends what was asked in it. */
void flx_placer_service(flx_placer *placer);
/* The first connection has come up (again): what was learned about the broker before is void. */
void flx_placer_begin(flx_placer *placer);
/* No answer, or no connection: everybody stays at home for a while. */
void flx_placer_give_up(flx_placer *placer);
/* A connection ended at another worker than the one it was sent to, as behind a balancer: everybody
 * stays at home until the first connection comes up again. */
void flx_placer_defeat(flx_placer *placer);
void flx_placer_done(flx_placer *placer);

#endif /* FLX_CLIENT_SEAT_H */
