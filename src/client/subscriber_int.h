/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/subscriber_int.h - a subscriber: its shards on the loop (subscription.c), the delivery to
 * callback or queue (delivery.c), its callers (subscriber.c).
 */
#ifndef FLX_CLIENT_SUBSCRIBER_INT_H
#define FLX_CLIENT_SUBSCRIBER_INT_H

#include "client/client_int.h"
#include "client/names.h"
#include "client/subscription.h"
#include "wire/event.h"

#include <felix/subscriber.h>
#include <felix/watch.h>

/* A received batch that is being taken record by record, or a notice. */
typedef struct flx_queued {
    flx_chunk *chunk; /* holds its bytes; NULL: a notice */
    flx_event_iter iter;
    uint32_t left; /* records not taken */
    uint32_t shard;
    uint32_t epoch;
    bool has_offset;
    size_t credit; /* window to give back when all are taken */
    size_t bytes;  /* of the frame, for the bound */
    flx_slice publisher;
    flx_gap gap;
} flx_queued;

/* What a subscriber that is a watch asks for: watch.c, watching.c. */
typedef struct flx_watching {
    bool is_key; /* otherwise a prefix */
    flx_watch_from from;
    size_t len;
    uint8_t text[];
} flx_watching;

/* The notices of a watch, as reasons of gaps; not to be met by other subscribers. */
#define FLX_GAP_WATCH_RESET ((flx_gap_reason)1000)
#define FLX_GAP_WATCH_READY ((flx_gap_reason)1001)

struct flx_subscriber {
    flx_member member;
    flx_scoped_name name;
    flx_subscriber_options options;
    flx_watching *watching; /* NULL: it reads a stream. Owned. */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    flx_queued *queue; /* ring, power of two */
    uint64_t queue_cap, queue_first, queue_next;
    size_t queue_bytes;
    bool over;        /* has ended; `why` says how */
    flx_error why;    /* before that: the refusal it does not give in to, status FLX_OK: none yet */
    uint32_t started; /* shards subscribed at least once */
    uint32_t shard_count; /* 0: not known yet */
    int fd;               /* eventfd, -1 until asked for */
    bool fd_is_set;
    size_t credit; /* sum over the shards, to poke seldom */
    flx_subscriber_stats stats;

    flx_shard_sub
        *shards; /* the array is set once, under the lock; its loop fields are the loop's */
    bool asking_shards;
    uint64_t ask_due_ns;
    uint64_t not_found_since_ns;
    flx_backoff backoff;
    flx_timer timer;
    flx_chunk *arrivals; /* what frames in the transport's buffers are copied to */
};

/* flx_subscriber_new, or with `watching` (taken when FLX_OK) a watch of the cache `name`. */
flx_status flx_subscriber_make(flx_client *client, const char *name,
                               const flx_subscriber_options *options, flx_watching *watching,
                               flx_subscriber **ret_subscriber, flx_error *reterr);

/* watching.c: the messages of a watch */
/* Asks for it under `id`. Its event stream is read from the answer on: what comes first of it may be
 * what was there or may be a change, and only the answer says which. */
void flx_watching_ask(flx_shard_sub *sub, flx_channel *channel, uint64_t id);
/* True: it was one. */
bool flx_watching_answered(flx_shard_sub *sub, const flx_msg *msg);
bool flx_watching_received(flx_shard_sub *sub, const flx_msg *msg, size_t credit);
/* A frame that is not JSON. FLX_ERR_PROTOCOL: none a watch may get; nothing was taken. */
flx_status flx_watching_frame(flx_shard_sub *sub, const flx_frame *frame, size_t credit,
                              flx_error *reterr);
/* A change out of what is delivered for it. */
void flx_watching_read(const flx_message *message, flx_cache_change *ret_change);

extern const flx_member_ops flx_subscriber_ops;
void flx_subscriber_timer_fired(void *arg, uint64_t now_ns);

/* delivery.c; loop thread, no lock held */
void flx_subscriber_new_epoch(flx_shard_sub *sub);
/* `chunk` holds the batch's bytes, or NULL: they are only borrowed. */
void flx_subscriber_deliver(flx_shard_sub *sub, const flx_event_batch *batch, flx_chunk *chunk,
                            size_t credit);
void flx_subscriber_deliver_gap(flx_shard_sub *sub, flx_gap gap);
/* The same as deliver for a batch that is known to be what comes next. */
void flx_subscriber_hand_over(flx_shard_sub *sub, const flx_event_batch *batch, flx_chunk *chunk,
                              uint32_t skip, size_t credit);
/* Nothing came, and the next record is at `next` or later. */
void flx_subscriber_move(flx_shard_sub *sub, uint64_t next);
void flx_subscriber_give_credit(flx_subscriber *subscriber);
/* Ends the subscription for good. */
void flx_subscriber_over(flx_subscriber *subscriber, const flx_error *why);
/* Room for `len` bytes in arrivals; NULL: no memory. */
uint8_t *flx_subscriber_room(flx_subscriber *subscriber, size_t len);
/* Wakes who waits for messages. Lock held. */
void flx_subscriber_signal(flx_subscriber *subscriber);

#endif /* FLX_CLIENT_SUBSCRIBER_INT_H */
