/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/asks.h - requests that have one answer: cache operations and one-shot questions.
 *
 * Every connection has up to cache_streams channels for them, opened when they are wanted. Where the
 * broker offers operation frames (docs/spec/extensions.md 1) one channel of a connection carries all
 * its cache requests, as many at a time as the broker grants; else a channel carries one request at a
 * time, in JSON. The rest waits, bounded: in one line for any connection that is kept up, or where the
 * cache has found its place (places.h) in the line of that connection. A channel that brought an `error` is not used
 * again: a broker may be about to finish it. One on which an answer is overdue is given nothing new,
 * and closed when nobody waits on it any more.
 *
 *     queue -> channel (sent) -> answer | timeout | channel lost
 *                                                    +-- safe to ask again: back to the queue's front
 *                                                    +-- otherwise FLX_ERR_UNKNOWN_OUTCOME
 */
#ifndef FLX_CLIENT_ASKS_H
#define FLX_CLIENT_ASKS_H

#include "client/channel.h"
#include "client/names.h"
#include "client/operations.h"
#include "common/loop.h"

#include <felix/client.h>

#include <pthread.h>
#include <sys/queue.h>

typedef struct flx_ask flx_ask;
typedef struct flx_ask_slot flx_ask_slot;
typedef struct flx_place flx_place; /* places.h */
typedef struct flx_places flx_places;

typedef struct flx_ask_queue {
    flx_ask *first, *last;
    size_t count;
} flx_ask_queue;

/* Exactly once, on the loop thread; one of `msg` and `error` is NULL. */
typedef void (*flx_ask_fn)(flx_ask *ask, flx_msg *msg, const flx_error *error);

/* One request. Zero it but for what the maker sets. It frees itself after `answered`. */
struct flx_ask {
    flx_ask_fn answered;
    void *owner;      /* for flx_asks_cancel */
    void *user[4];    /* the maker's */
    flx_chunk *frame; /* the ask owns this reference: the whole JSON frame, or with `name` the
                        * operation behind FLX_OP_FRAME_AT free bytes */
    const flx_scoped_name *name; /* of the cache an operation is about; NULL: a JSON request */
    uint64_t serial;             /* of that cache, not 0 */
    uint64_t id;                 /* request_id in JSON */
    uint32_t op_id;    /* its place in the slot's pipe, while it is sent as an operation */
    uint32_t features; /* the broker must have them all */
    bool is_read;      /* may be asked again when its channel is lost */
    uint64_t timeout_ns;

    flx_client *client;
    flx_timer timer;
    flx_places *places;   /* of its cache; NULL: any connection will do */
    flx_place *place;     /* counted there as pending */
    flx_ask_slot *slot;   /* NULL: waits */
    flx_ask_queue *queue; /* it waits in; NULL: sent */
    flx_ask *prev, *next;
    flx_ask *arriving; /* link of the list other threads fill */
};

struct flx_ask_slot {
    flx_channel channel;
    flx_ask *ask; /* sent in JSON, not answered */
    flx_op_pipe pipe;
    flx_client *client;
    uint32_t uplink;
    bool is_last;           /* of its connection */
    uint64_t not_before_ns; /* after a failure to open */
};

/* What one connection has for them. */
typedef struct flx_ask_port {
    flx_ask_slot *slots; /* cache_streams; NULL: none was wanted so far */
    flx_ask_queue line;  /* waiting, to leave here and nowhere else */
} flx_ask_port;

typedef struct flx_asks {
    flx_ask_port *ports; /* one an uplink */
    uint32_t port_count;
    flx_ask_queue common; /* waiting, for any of the connections that are kept up */
    size_t waiting;       /* in it and in the ports' lines */
    TAILQ_HEAD(flx_place_list, flx_place) moves;
    size_t turn;     /* which connection is fed first */
    flx_timer timer; /* looks at slots again after a failure */

    pthread_mutex_t mutex; /* guards what follows */
    flx_ask *arrivals, **arrivals_end;
    uint32_t count; /* arrived and not answered */
    uint64_t next_id;
    uint64_t last_serial;
    flx_ask *spare; /* freed asks to use again, linked by next */
    uint32_t spare_count;
} flx_asks;

flx_status flx_asks_init(flx_asks *asks, flx_client *client, flx_error *reterr);
void flx_asks_done(flx_asks *asks);
/* A number for a cache, by which channels tell caches apart. Any thread. */
uint64_t flx_asks_next_serial(flx_asks *asks);

/* An ask with its id; not yet submitted. FLX_ERR_AGAIN: the queue is full; NOMEM. Any thread. */
flx_status flx_ask_new(flx_client *client, flx_ask **ret_ask, flx_error *reterr);
/* Encodes a cache operation; handle and id are its channel's business. FLX_ERR_TOO_LARGE,
 * FLX_ERR_NOMEM. Any thread. */
flx_status flx_ask_encode_operation(flx_ask *ask, const flx_operation *operation,
                                    flx_error *reterr);
/* Hands it to the loop. FLX_ERR_CLOSED: not taken, the caller discards it. Any thread. */
flx_status flx_ask_submit(flx_ask *ask, flx_error *reterr);
void flx_ask_discard(flx_ask *ask);
/* Takes it: encodes the message as its frame and submits it, or discards it. FLX_ERR_TOO_LARGE,
 * FLX_ERR_NOMEM, FLX_ERR_CLOSED. Any thread. */
flx_status flx_ask_send(flx_ask *ask, const flx_msg *msg, flx_error *reterr);

/* cache.c: the names and the id of one of the five cache messages. */
void flx_cache_msg_set_target(flx_msg *msg, const flx_scoped_name *name, uint64_t request_id);

/* Loop thread: takes arrivals and moves what can move. */
void flx_asks_service(flx_client *client);
/* Ends all asks of an owner (NULL: of everybody) with CANCELED, or UNKNOWN_OUTCOME when sent. */
void flx_asks_cancel(flx_client *client, void *owner, const flx_error *why);

#endif /* FLX_CLIENT_ASKS_H */
