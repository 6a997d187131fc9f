/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/publisher_int.h - a publisher: its callers on one side (publisher.c), the loop on the
 * other (pump.c), the pending frames under one lock between them.
 */
#ifndef FLX_CLIENT_PUBLISHER_INT_H
#define FLX_CLIENT_PUBLISHER_INT_H

#include "client/backoff.h"
#include "client/client_int.h"
#include "client/names.h"
#include "client/pending.h"

#include <felix/publisher.h>

/* How one frame ended, for the callbacks of its messages. */
typedef struct flx_frame_end {
    uint64_t id; /* 0: none is ending */
    flx_status status;
    bool has_offset;
    uint64_t offset;
    const flx_error *error;
} flx_frame_end;

struct flx_publisher {
    flx_member member;
    flx_scoped_name name;
    flx_publisher_options options;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    flx_pending pending;
    bool closed;
    bool room_wanted;   /* call room_fn when there is room */
    uint32_t waiting;   /* threads that want room */
    uint32_t flushing;  /* threads that want all to have ended */
    uint64_t flush_end; /* wake them when all below this id has; UINT64_MAX: nobody */
    size_t held_bytes;  /* ACKS_NONE: handed over and not yet acknowledged by QUIC */
    flx_publisher_stats stats;

    flx_channel channel; /* the loop's from here on */
    flx_seat seat;
    flx_backoff backoff;
    uint64_t reopen_ns;
    flx_timer timer;
    uint32_t counted; /* frames of ours in channel.uplink->unanswered */
    flx_frame_end ending;
    flx_error refusal; /* the last one */
};

extern const flx_member_ops flx_publisher_ops;
void flx_publisher_timer_fired(void *arg, uint64_t now_ns);

#endif /* FLX_CLIENT_PUBLISHER_INT_H */
