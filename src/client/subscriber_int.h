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

struct flx_subscriber {
    flx_member member;
    flx_scoped_name name;
    flx_subscriber_options options;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    flx_queued *queue; /* ring, power of two */
    uint64_t queue_cap, queue_first, queue_next;
    size_t queue_bytes;
    bool over; /* has ended; `why` says how */
    flx_error why;
    uint32_t started;     /* shards subscribed at least once */
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

extern const flx_member_ops flx_subscriber_ops;
void flx_subscriber_timer_fired(void *arg, uint64_t now_ns);

/* delivery.c; loop thread, no lock held */
void flx_subscriber_new_epoch(flx_shard_sub *sub);
/* `chunk` holds the batch's bytes, or NULL: they are only borrowed. */
void flx_subscriber_deliver(flx_shard_sub *sub, const flx_event_batch *batch, flx_chunk *chunk,
                            size_t credit);
void flx_subscriber_deliver_gap(flx_shard_sub *sub, flx_gap gap);
void flx_subscriber_give_credit(flx_subscriber *subscriber);
/* Ends the subscription for good. */
void flx_subscriber_over(flx_subscriber *subscriber, const flx_error *why);
/* Room for `len` bytes in arrivals; NULL: no memory. */
uint8_t *flx_subscriber_room(flx_subscriber *subscriber, size_t len);
/* Wakes who waits for messages. Lock held. */
void flx_subscriber_signal(flx_subscriber *subscriber);

#endif /* FLX_CLIENT_SUBSCRIBER_INT_H */
