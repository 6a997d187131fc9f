/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/subscription.h - one shard of a subscriber, and the streams the broker opens for it. Loop
 * thread, but for the fields the subscriber's lock guards.
 *
 *     WAITING -> ASKING (auth, subscribe) -> RUNNING -> WAITING ...        until the subscriber ends
 *      ^    |       |  refused, lost            | lost, lagged, moved
 *      |    |       +---------------------------+--> WAITING
 *      |    v
 *     FINDING (the offset of a time, resume.h)
 *
 * An event stream says in its first frame whose it is, and may do so before `subscribed` arrives;
 * if the broker chose an id of its own, what comes meanwhile is held, within the stream's window.
 */
#ifndef FLX_CLIENT_SUBSCRIPTION_H
#define FLX_CLIENT_SUBSCRIPTION_H

#include "client/backoff.h"
#include "client/channel.h"
#include "client/resume.h"
#include "client/seat.h"
#include "client/watch_resume.h"

typedef struct flx_shard_sub flx_shard_sub;
typedef struct flx_incoming flx_incoming;
typedef struct flx_reader flx_reader;

/* What an event stream belongs to: one shard of a subscriber, or of a watch (watch_int.h). Its first
 * member. */
typedef struct flx_reader_ops {
    /* One frame of its event stream; `credit` bytes of window belong to it. */
    void (*frame)(flx_reader *reader, const flx_frame *frame, size_t credit);
    void (*lost)(flx_reader *reader, const flx_error *why); /* its event stream is gone */
    void (*bound)(flx_reader *reader);                      /* to a new event stream */
} flx_reader_ops;

struct flx_reader {
    const flx_reader_ops *ops;
    uint64_t id; /* the subscription's, on its connection; UINT64_MAX: none yet */
    flx_incoming *incoming;
    flx_uplink *uplink; /* that it is listed on; NULL: none */
    flx_reader *prev, *next;
};

/* From asking on, an event stream may come for it. */
void flx_reader_list(flx_reader *reader, flx_uplink *uplink);
/* Closes its event stream and takes it off the list. Fine when it is on none. */
void flx_reader_unlist(flx_reader *reader);
/* The broker gave it an id: whatever waits under it belongs to it. */
void flx_reader_named(flx_reader *reader, uint64_t id);
/* Gives window back, when its event stream is still there. */
void flx_reader_consume(flx_reader *reader, size_t credit);

typedef enum flx_shard_state {
    FLX_SHARD_WAITING,
    FLX_SHARD_FINDING,
    FLX_SHARD_ASKING,
    FLX_SHARD_RUNNING
} flx_shard_state;

struct flx_shard_sub {
    flx_reader reader;
    flx_subscriber *subscriber;
    uint32_t shard;
    flx_shard_state state;
    flx_channel channel;
    flx_seat seat;
    flx_resume resume;
    flx_watch_resume watch_resume; /* instead, when the subscriber watches a cache */
    bool hears_batches;            /* of changes: negotiated on the channel that asked */
    flx_backoff backoff;
    uint64_t due_ns;             /* WAITING: when to ask. ASKING: when to give up */
    uint64_t not_found_since_ns; /* 0: the stream is known */
    bool counted;                /* in subscriber->started */

    uint32_t epoch; /* of the event stream, so that late credit finds the right one */
    size_t credit;  /* bytes taken by the application, to be consumed */
    bool has_position;
    uint64_t position; /* next offset as the application sees it */
    flx_gap dropped;   /* FLX_FULL_DROP: not told yet */
};

/* A stream the broker opened. */
struct flx_incoming {
    flx_stream_kind kind;
    bool has_id;
    bool busy;   /* its data are being handed out */
    bool closed; /* free it when no longer busy */
    flx_uplink *uplink;
    flx_quic_stream *stream;
    flx_frame_reader reader;
    uint64_t id;
    flx_reader *reader_of; /* whose it is; NULL: not known yet */
    size_t credited;       /* bytes of the frame being read that are consumed already */
    uint8_t *held;         /* data before its subscription was known */
    size_t held_len, held_cap;
    flx_incoming *prev, *next;
};

/* Tries what is due. Returns when it is due again without an event; UINT64_MAX: an event tells. */
uint64_t flx_shard_service(flx_shard_sub *sub, uint64_t now_ns);
/* Lets go of channel and event stream. */
void flx_shard_stop(flx_shard_sub *sub);
extern const flx_reader_ops flx_shard_ops;
/* The broker agreed, under this id. `resumed`: it had run before. */
void flx_shard_run(flx_shard_sub *sub, uint64_t id, bool resumed);
void flx_shard_ask_again(flx_shard_sub *sub, uint64_t due_ns);

/* incoming.c. False: no memory, the stream is not taken. */
bool flx_incoming_open(flx_uplink *uplink, flx_quic_stream *stream);
void flx_incoming_data(flx_incoming *incoming, flx_slice data, bool fin);
void flx_incoming_gone(flx_incoming *incoming, const flx_error *why);
void flx_incoming_drop_all(flx_uplink *uplink);

#endif /* FLX_CLIENT_SUBSCRIPTION_H */
