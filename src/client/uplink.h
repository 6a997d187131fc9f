/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/uplink.h - one connection that is kept up. Loop thread.
 *
 *             +--------------------------------- pause over ----------------------+
 *             v                                                                   |
 *   IDLE -> RESOLVING -> DIALING -> PROBING -> UP                                 |
 *             |            |          |         |  lost                           |
 *             +------------+----------+---------+------------------> PAUSED ------+
 *                                                                 (any) -> CLOSED
 *
 * Probing opens one channel and closes it when auth_ok has come: that is what "connected" means. A
 * pause begins after each failure; the next attempt takes the next address.
 *
 * The first `connections` of a client are kept up. The others are made for a worker of the broker
 * when a seat wants one (seat.h), and are idle again after a failure or a while without seats.
 */
#ifndef FLX_CLIENT_UPLINK_H
#define FLX_CLIENT_UPLINK_H

#include "client/addresses.h"
#include "client/backoff.h"
#include "client/channel.h"
#include "common/loop.h"

#include <felix/client.h>

typedef struct flx_incoming flx_incoming;
typedef struct flx_reader flx_reader;

typedef enum flx_uplink_state {
    FLX_UPLINK_IDLE,
    FLX_UPLINK_RESOLVING,
    FLX_UPLINK_DIALING,
    FLX_UPLINK_PROBING,
    FLX_UPLINK_UP,
    FLX_UPLINK_PAUSED,
    FLX_UPLINK_CLOSED
} flx_uplink_state;

struct flx_uplink {
    flx_client *client;
    uint32_t index;
    flx_uplink_state state;
    flx_quic_worker worker; /* of the broker it is to end at; count 0: any */
    uint32_t seats;         /* publishers and subscribers that use it, see seat.h */
    size_t address_at;      /* which address is tried */
    uint32_t failures;      /* in a row */
    uint32_t losses;        /* connections and attempts that ended: seats on them are void */
    flx_address address;
    flx_resolved resolved;
    flx_resolve *resolve;
    flx_quic_conn *conn;
    flx_channel probe;
    flx_timer timer; /* of the attempt, or of the pause */
    flx_backoff backoff;
    flx_offer offer;     /* of the probe */
    flx_error lost;      /* why the connection is going, for its streams */
    uint32_t unanswered; /* publishes, where the broker counts them per connection */
    uint64_t next_subscription_id;
    flx_reader *readers;     /* what event streams may belong to, see subscription.h */
    flx_incoming *incomings; /* streams the broker opened */
};

void flx_uplink_init(flx_uplink *uplink, flx_client *client, uint32_t index);
/* Begins to connect; fine in any state but CLOSED. */
void flx_uplink_start(flx_uplink *uplink);
void flx_uplink_close(flx_uplink *uplink);
static inline bool flx_uplink_is_up(const flx_uplink *uplink)
{
    return uplink->state == FLX_UPLINK_UP;
}
/* An attempt is under way: it will be up, or paused. */
static inline bool flx_uplink_is_coming(const flx_uplink *uplink)
{
    return uplink->state == FLX_UPLINK_RESOLVING || uplink->state == FLX_UPLINK_DIALING ||
           uplink->state == FLX_UPLINK_PROBING;
}
/* Nobody sits on it any more: one that was made for a worker ends after a while. */
void flx_uplink_rest(flx_uplink *uplink);
/* The resolver woke the loop. */
void flx_uplink_poll(flx_uplink *uplink);

extern const flx_quic_events flx_uplink_events; /* the endpoint's; its arg is the client */

#endif /* FLX_CLIENT_UPLINK_H */
