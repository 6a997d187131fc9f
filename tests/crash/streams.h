/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streams.h - the durable streams the node is killed under: who publishes to them and who reads.
 *
 * Each kind of stream there is has one slot. A session (one life of the node) opens publishers anew; readers are
 * opened anew too, or live as long as the stream and resume by themselves. Both tell the slot's ledger.
 *
 * Threads: the loops of clients call back; everything else is the main thread. `lock` guards the ledgers.
 */
#ifndef FLX_CRASH_STREAMS_H
#define FLX_CRASH_STREAMS_H

#include "ledger.h"

#include <felix/felix.h>

#include <pthread.h>

#define STREAM_SLOTS       5
#define STREAM_LANES_MAX   8
#define STREAM_IDEMPOTENT  4 /* the slot of producer.c */
#define STREAM_BATCH_MAX   64
#define STREAM_PAYLOAD_MAX 20000u

typedef struct stream_kind {
    const char *name;
    const char *body; /* of its creation, behind the name */
    uint32_t shards;
    uint32_t lanes;     /* a shard */
    uint32_t batch_max; /* messages */
    uint32_t payload_min;
    uint32_t payload_max;
    uint32_t out_max;       /* batches without an answer, a lane */
    uint32_t session_bytes; /* what a session publishes at the most */
    bool is_retained;       /* loses its beginning */
    bool is_steady;         /* its readers outlive the node */
} stream_kind;
extern const stream_kind stream_kinds[STREAM_SLOTS];

struct stream_slot;
typedef struct stream_lane {
    struct stream_slot *slot;
    ledger_lane *lane;
    char key[24];
    uint32_t out;
    bool is_acked; /* something, in this session */
} stream_lane;

typedef struct stream_slot {
    const stream_kind *kind;
    struct streams *all;
    ledger book;
    stream_lane lanes[STREAM_LANES_MAX];
    uint32_t lane_count;
    flx_publisher *publisher;
    flx_subscriber *readers[LEDGER_SHARDS_MAX];
    uint64_t session_bytes;
} stream_slot;

typedef struct streams {
    pthread_mutex_t lock;
    uint64_t random;
    stream_slot slots[STREAM_SLOTS];
    ledger_counts before; /* of the streams that were deleted */
} streams;

void streams_init(streams *all, uint64_t seed);
void streams_done(streams *all);

/* The streams were made anew: ledgers without a word. */
void streams_begin(streams *all);
/* Opens what a session needs on `client`, and on `steady` readers that have none yet. */
flx_status streams_open(streams *all, flx_client *client, flx_client *steady, flx_error *reterr);
/* The node is gone; `forever` closes the steady readers too. */
void streams_close(streams *all, bool forever);

/* One batch for each lane that has no acknowledgement in this session yet and nothing under way. */
void streams_open_lanes(streams *all);
/* As much as windows and the session's bytes allow. */
void streams_feed(streams *all);
/* Whether every lane was acknowledged in this session, and all that ever was has been read. */
bool streams_are_even(streams *all);
bool streams_are_quiet(streams *all); /* nothing under way, all read */
/* Reads everything from the front once more and compares it with what was read before. */
flx_status streams_read_again(streams *all, flx_client *client, flx_error *reterr);
/* What broke the rules; NULL: nothing. */
const char *streams_why(streams *all, char *buffer, size_t cap);
/* Which lanes wait for what, for a failure's message. */
void streams_explain(streams *all);
ledger_counts streams_counts(streams *all);

/* For sabotage. Sends the first message of slot 0 a second time; the answer is waited for. */
flx_status streams_forge(streams *all, flx_error *reterr);
/* Stops reading slot 0 and publishes one more batch to it. */
void streams_publish_unread(streams *all);
/* Nothing is under way. */
bool streams_are_answered(streams *all);

#endif /* FLX_CRASH_STREAMS_H */
