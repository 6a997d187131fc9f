/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/lane_int.h - a connection: its tokens, and its QUIC streams with what is owed on each.
 *
 *     peer ─┬─ lanes ── answers in request order, the job waited for, names that OPEN made
 *           ├─ identities (tokens seen on the connection)
 *           └─ subscriptions
 */
#ifndef FLX_BROKER_LANE_INT_H
#define FLX_BROKER_LANE_INT_H

#include "broker/answers_int.h"
#include "broker/worker.h"
#include "common/list.h"
#include "wire/frame.h"
#include "wire/message.h"

typedef struct flx_sub flx_sub;

#define FLX_LANE_CLOSE_CODE    1            /* RESET_STREAM and STOP_SENDING after broken input */
#define FLX_LANE_OUT_BYTES_MAX (1u << 20)   /* answers unsent at which a lane is not read on */
#define FLX_LANE_READ_BYTES    (256u << 10) /* of a backlog at once; then others have their turn */

/* A name resolved once: what hot publishes compare with instead of looking up. */
typedef struct flx_route {
    const flx_stream_info *info; /* NULL: none */
    uint64_t epoch;              /* worker.catalog_epoch it was resolved in */
    uint32_t tenant_len, namespace_len, name_len;
} flx_route;

typedef struct flx_identity { /* one token on one connection */
    flx_list node;
    flx_grants *grants;
    flx_chunk *publisher; /* its subject */
    uint32_t refs;        /* lanes */
    uint64_t publish_bytes;
    uint32_t bucket; /* index + 1 in worker.buckets, 0: not looked up */
} flx_identity;

struct flx_peer {
    flx_list node;
    flx_list silent; /* in worker.silent_peers */
    flx_worker *worker;
    void *link;
    uint8_t source[16];
    flx_list lanes;
    flx_list waiting; /* lanes that may not be read yet: too many are unauthenticated */
    flx_list identities;
    flx_list opening;         /* subscriptions that wait for a stream of theirs */
    flx_list subs;            /* all of them */
    uint32_t unauthenticated; /* lanes being read before their auth */
    uint32_t subscriptions;
    uint64_t next_subscription_id;
    uint64_t publish_bytes;
    uint64_t backlog_bytes; /* of all lanes */
    uint64_t opened_ns;
    bool is_authenticated;
    bool is_closing;
};

typedef enum flx_lane_kind { FLX_LANE_CONTROL, FLX_LANE_PUBLISH, FLX_LANE_EVENTS } flx_lane_kind;

typedef enum flx_lane_state {
    FLX_LANE_WAITING, /* unauthenticated and not read */
    FLX_LANE_NEW,     /* read, not authenticated */
    FLX_LANE_OPEN,
    FLX_LANE_CLOSING /* said its last word; what arrives is thrown away */
} flx_lane_state;

struct flx_op_name; /* operations_int.h */

struct flx_lane {
    flx_peer *peer;
    void *link;      /* NULL: an event stream that is not open */
    uint64_t handle; /* 0: none (event streams) */
    flx_list node;   /* in peer.lanes */
    flx_list wait;   /* in peer.waiting */
    flx_list dirty;  /* in worker.dirty_lanes: answers to write, or input to read on with */
    uint8_t kind;
    uint8_t state;
    bool fin; /* the client said its last byte */
    bool fin_sent;
    bool out_full;        /* waits for pull before it reads on */
    bool has_operations;  /* negotiated */
    bool hears_progress;  /* negotiated: of the watches it asks for */
    bool hears_batches;   /* the same: of changes */
    bool is_last;         /* closes when what it owes is written */
    uint32_t held;        /* un-acked publishes of it that wait at a `block` shard */
    uint16_t flags;       /* negotiated: client's */
    uint32_t features;    /* client's */
    uint32_t ops_out;     /* operations other workers have not answered */
    flx_slice ops_rest;   /* of an operation frame, not done yet; the lane is not read meanwhile */
    flx_chunk *ops_chunk; /* what it lies in; owned */
    uint16_t name_cap;
    struct flx_op_name **names; /* [handle], what OPEN made; NULL: not opened */
    flx_frame_reader reader;
    uint8_t *backlog; /* bytes that arrived and may not be read yet; not consumed */
    size_t backlog_start, backlog_len, backlog_cap; /* [start, start + len) of [0, cap) */
    flx_identity *identity;
    flx_route route;
    flx_answers answers;
    bool has_job;        /* a job that carries the handle is out */
    struct flx_sub *sub; /* EVENTS */
};

/* lane.c: input, output and the ending of a stream. */
void flx_lane_run(flx_lane *lane); /* reads on with what waits */
bool flx_lane_may_read(const flx_lane *lane);
void flx_lane_write(flx_lane *lane, flx_range range);
void flx_lane_send(flx_lane *lane, const flx_msg *msg);
/* For what carries values: false when it is more than a frame may hold, and nothing was sent. */
bool flx_lane_send_if_fits(flx_lane *lane, const flx_msg *msg);
/* `error`, with code, retry and detail when the client reads them. */
void flx_lane_error(flx_lane *lane, flx_code code, const char *message);
void flx_lane_error_detail(flx_lane *lane, flx_code code, const char *message, const char *reason,
                           uint64_t retry_after_ms);
void flx_lane_close(flx_lane *lane);  /* finishes our side and reads no more */
void flx_lane_break(flx_lane *lane);  /* resets and stops: broken input */
void flx_lane_settle(flx_lane *lane); /* finishes when the client did and nothing is owed */
void flx_lane_free(flx_lane *lane);
void flx_lane_authenticated(flx_lane *lane);
/* An event stream that is not open yet: link is NULL. FLX_ERR_NOMEM. */
flx_status flx_lane_new_events(flx_peer *peer, struct flx_sub *sub, flx_lane **ret_lane);

#endif /* FLX_BROKER_LANE_INT_H */
