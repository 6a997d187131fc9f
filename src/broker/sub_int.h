/* SPDX-License-Identifier: Apache-2.0 */
/* broker/sub_int.h - a subscription: a position in a shard, and what a pull brings from there. */
#ifndef FLX_BROKER_SUB_INT_H
#define FLX_BROKER_SUB_INT_H

#include "broker/event.h"
#include "broker/job_int.h"
#include "broker/view_int.h"
#include "common/list.h"

typedef struct flx_history flx_history;
typedef struct flx_owned flx_owned;
typedef struct flx_watch flx_watch;

typedef enum flx_sub_state { FLX_SUB_RESOLVING, FLX_SUB_OPENING, FLX_SUB_LIVE } flx_sub_state;

#define FLX_NO_SKIP UINT64_MAX

typedef struct flx_sub {
    flx_list node;    /* in view.idle or view.active; an idle watch in its filter's list */
    flx_list opening; /* in peer.opening */
    flx_list of_peer; /* all of a peer */
    flx_view *view;
    flx_peer *peer;
    flx_lane *lane; /* its event stream; NULL before it is made */
    uint64_t handle;
    flx_event_form form;
    uint64_t cursor;    /* sequence of the next frame */
    uint64_t offset;    /* of the next record */
    uint64_t join;      /* frames from here on count against `capacity` */
    uint64_t skip_from; /* frames [skip_from, skip_to) are dropped; FLX_NO_SKIP: none */
    uint64_t skip_to;
    uint32_t capacity;           /* frames it may be behind */
    struct flx_history *history; /* reads the log until it meets the ring; NULL: reads the ring */
    uint8_t state;
    bool is_evicted; /* held publishers up for too long */
    bool has_asked_capacity;
    bool hears_lag;
    flx_watch *watch; /* NULL: it reads a stream */
} flx_sub;

typedef struct flx_sub_request {
    uint32_t id; /* may carry FLX_CACHE_LOG */
    uint32_t shard;
    uint32_t capacity;
    bool has_asked_capacity;
    bool hears_lag;
    bool has_id_wanted;
    uint64_t id_wanted;
    uint16_t flags; /* of its frames */
} flx_sub_request;

/* subscribe.c */
/* A subscription that waits for its start to be resolved. Within the limit of its connection. */
flx_status flx_sub_new(flx_peer *peer, const flx_sub_request *request, flx_sub **ret_sub);
/* References to the frames from job.first_sequence on, for the worker that asked. */
flx_status flx_frames_collect(flx_job *job, const flx_feed *feed);
/* From now on frames are posted to the worker that asked. */
void flx_owned_watch(flx_owned *owned, const flx_job *job);
void flx_subscribe_message(flx_lane *lane, const struct flx_msg_subscribe *subscribe);
bool flx_subscribe_job(flx_worker *worker, flx_job *job); /* on the owner; true: answered */
/* The subscriber's worker hears of frames from now on; the answer brings those from
 * first_sequence on. */
void flx_subscribe_register(flx_worker *worker, flx_owned *owned, flx_job *job);
void flx_subscribe_done(flx_worker *worker, flx_job *job);      /* back home */
void flx_subs_open_waiting(flx_worker *worker, flx_peer *peer); /* credit for streams is there */
void flx_sub_end(flx_worker *worker, flx_sub *sub);             /* frees it; its lane lives on */
void flx_sub_end_view(flx_worker *worker, flx_view *view);      /* the stream is gone */

/* delivery.c */
void flx_sub_pull(flx_worker *worker, flx_sub *sub);
void flx_sub_wake(flx_worker *worker, flx_view *view); /* new frames are there */
/* To the list it belongs on now: idle when it has read everything, otherwise it is pulled. */
void flx_sub_rest(flx_worker *worker, flx_sub *sub);

#endif /* FLX_BROKER_SUB_INT_H */
