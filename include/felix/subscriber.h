/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/subscriber.h - receive the messages of one stream.
 *
 * A subscriber reads one shard or all of them, each from a start of its own choosing, and goes on
 * where it was after a lost connection: it knows the next offset of every shard. What cannot be had
 * any more (overrun, expired, a broker that restarted with an empty memory) is told in its place among the
 * messages, as a FLX_MESSAGE_GAP; nothing goes missing silently when the broker numbers its messages.
 *
 * Two ways to take them, chosen when it is made:
 *
 *  - message_fn set: called on the loop thread for each message, which borrows the bytes as they
 *    were received; no copy is made of a frame that arrived whole.
 *  - otherwise a queue: flx_subscriber_receive() with a timeout, or without waiting whenever
 *    flx_subscriber_fd() is readable. Messages are counted views of the frames received.
 *
 * A slow reader holds the broker back by default: what is not received is not acknowledged to QUIC,
 * at most stream_window_bytes a shard are in memory, and the broker's policy for slow subscribers
 * decides the rest. With FLX_FULL_DROP the newest are dropped here and told as a gap.
 *
 * Threads: any thread may call any function (client.h has the exception, the foreign loop).
 */
#ifndef FELIX_SUBSCRIBER_H
#define FELIX_SUBSCRIBER_H

#include <felix/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flx_subscriber flx_subscriber; /* opaque; see flx_subscriber_new() */

typedef enum flx_message_kind {
    FLX_MESSAGE_RECORD = 0, /* a message of the stream */
    FLX_MESSAGE_GAP = 1     /* messages that will not come: see gap_* */
} flx_message_kind;

typedef enum flx_gap_reason {
    FLX_GAP_NONE = 0,
    FLX_GAP_LAGGED = 1,  /* too slow: the broker's ring ran over this subscription */
    FLX_GAP_TOO_OLD = 2, /* the start, or where we were, is no longer kept */
    FLX_GAP_RESET = 3, /* the broker starts below where we were: it lost its memory; goes on live */
    FLX_GAP_MISSING = 4, /* offsets jumped; the broker dropped them without a word */
    FLX_GAP_DROPPED =
        5, /* dropped here, FLX_FULL_DROP; without offsets gap_end - offset is how many */
    FLX_GAP_UNKNOWN = 6 /* reconnected to a broker that does not number messages */
} flx_gap_reason;

/*
 * One message, or a notice in its place. What it points to is valid while it is held: in a
 * message_fn during the call, from flx_subscriber_receive() until flx_message_release().
 */
typedef struct flx_message {
    flx_message_kind kind;
    uint32_t shard;
    bool has_offset;           /* false: the broker does not number them for us */
    flx_gap_reason gap_reason; /* GAP only */
    uint64_t offset;           /* RECORD: its own. GAP: the first one missed */
    uint64_t gap_end; /* GAP: the first one that comes again; equal to offset: none is missed */
    uint64_t timestamp_us; /* since 1970, the broker's; 0: not asked for or not told */
    flx_slice payload;
    flx_slice publisher; /* who sent it; empty: not asked for or not told */
    void *hold;          /* the library's; NULL: nothing to release */
} flx_message;

/* Borrows the message during the call. Loop thread. */
typedef void (*flx_message_fn)(void *arg, const flx_message *message);
/* The subscription has ended for good (denied, unknown stream, unsupported): the last call. */
typedef void (*flx_end_fn)(void *arg, const flx_error *error);

typedef enum flx_from {
    FLX_FROM_LATEST = 0, /* what is published from now on; default */
    FLX_FROM_EARLIEST = 1,
    FLX_FROM_OFFSET = 2, /* options.offset, inclusive */
    FLX_FROM_TIME = 3    /* what the broker took at options.time_us or later. One that cannot find a
                            time starts at the earliest: compare timestamp_us where that matters */
} flx_from;

typedef enum flx_full {
    FLX_FULL_WAIT = 0, /* hold the broker back; default */
    FLX_FULL_DROP = 1  /* drop the newest, tell a gap */
} flx_full;

#define FLX_SHARD_ALL UINT32_MAX

/* Start from FLX_SUBSCRIBER_OPTIONS_INIT; zero and NULL mean the default written beside a field. */
typedef struct flx_subscriber_options {
    size_t struct_size; /* sizeof(flx_subscriber_options) */
    uint32_t shard;     /* 0 .. or FLX_SHARD_ALL, which FLX_SUBSCRIBER_OPTIONS_INIT sets */
    flx_from from;
    uint64_t offset;          /* for FLX_FROM_OFFSET; of every shard subscribed */
    flx_full full;            /* what happens when the queue is full */
    uint32_t queue_bytes_max; /* 4 MiB received and not taken, all shards; with FLX_FULL_WAIT each
                                 shard is bound by the client's stream_window_bytes instead */
    uint32_t
        broker_queue; /* 0: the broker's default; what it queues for us, where it lets us ask */
    bool timestamps;  /* ask for the time of each message; costs the broker a copy */
    bool publishers;  /* ask who sent it */
    bool no_resume;   /* end with an error instead of subscribing again after a loss */
    uint32_t not_found_ms; /* 5000: how long an unknown stream is asked for again before it ends */
    flx_message_fn message_fn; /* NULL: the queue */
    flx_end_fn end_fn;         /* NULL: not wanted */
    void *arg;                 /* of both */
    uint64_t time_us;          /* for FLX_FROM_TIME; microseconds since 1970 */
} flx_subscriber_options;

#ifdef __cplusplus
static inline flx_subscriber_options flx_subscriber_options_init()
{
    flx_subscriber_options options = flx_subscriber_options();
    options.struct_size = sizeof(options);
    options.shard = FLX_SHARD_ALL;
    return options;
}
#define FLX_SUBSCRIBER_OPTIONS_INIT flx_subscriber_options_init()
#else
#define FLX_SUBSCRIBER_OPTIONS_INIT                                                                \
    {                                                                                              \
        .struct_size = sizeof(flx_subscriber_options), .shard = FLX_SHARD_ALL                      \
    }
#endif

/*
 * Subscribes to `stream`; returns before the broker has answered, see flx_subscriber_wait().
 *
 * Uses `client` until the subscriber is freed; copies `stream` and `options` (NULL: defaults).
 *
 * FLX_ERR_INVALID  `stream` is not a stream name, or an option is wrong
 * FLX_ERR_CLOSED   the client was freed
 * FLX_ERR_NOMEM
 */
FLX_API flx_status flx_subscriber_new(flx_client *client, const char *stream,
                                      const flx_subscriber_options *options,
                                      flx_subscriber **ret_subscriber, flx_error *reterr);

/*
 * Ends the subscription and frees it; never waits for the broker. Messages still held stay valid
 * until released. No callback runs after it returned, except that from its own message_fn the call
 * under way is the last. NULL is fine. Always returns NULL.
 */
FLX_API flx_subscriber *flx_subscriber_free(flx_subscriber *subscriber);

/*
 * Waits until every shard is subscribed, so that what is published from here on will be received.
 *
 * FLX_ERR_TIMEOUT, or why the subscription ended: FLX_ERR_DENIED, FLX_ERR_NOT_FOUND,
 * FLX_ERR_IN_FUTURE, FLX_ERR_UNSUPPORTED, ...; FLX_ERR_CLOSED; FLX_ERR_INVALID from a callback
 */
FLX_API flx_status flx_subscriber_wait(flx_subscriber *subscriber, uint32_t timeout_ms,
                                       flx_error *reterr);

/*
 * Takes the next message or notice. The caller releases it.
 *
 * FLX_ERR_AGAIN    none within timeout_ms (0: none now)
 * FLX_ERR_INVALID  it has a message_fn, or this waits and was called from a callback
 * FLX_ERR_CLOSED   the client was freed and the queue is empty
 * and why the subscription ended, once the queue is empty
 */
FLX_API flx_status flx_subscriber_receive(flx_subscriber *subscriber, uint32_t timeout_ms,
                                          flx_message *ret_message, flx_error *reterr);

/* The same for up to `cap` messages with one lock; waits for the first one only. */
FLX_API flx_status flx_subscriber_receive_many(flx_subscriber *subscriber, uint32_t timeout_ms,
                                               flx_message *ret_messages, size_t cap,
                                               size_t *ret_count, flx_error *reterr);

/* Readable while there may be something to receive; -1 with a message_fn. Poll it, do not read it. It
 * belongs to the subscriber. */
FLX_API int flx_subscriber_fd(flx_subscriber *subscriber);

/* The next offset of a shard, where a later subscription would go on (FLX_FROM_OFFSET). False: not
 * known. */
FLX_API bool flx_subscriber_position(flx_subscriber *subscriber, uint32_t shard,
                                     uint64_t *ret_next_offset);

/*
 * Makes a counted view of a message that a callback only borrows, or a second one of a received
 * message. Copies the bytes where they are only borrowed. FLX_ERR_NOMEM.
 */
FLX_API flx_status flx_message_keep(const flx_message *message, flx_message *ret_message,
                                    flx_error *reterr);

/* Gives the bytes back and clears the message. Once for each received or kept message; twice and
 * NULL are fine. Any thread, also after the subscriber is gone. */
FLX_API void flx_message_release(flx_message *message);

typedef struct flx_subscriber_stats {
    size_t struct_size; /* set by the caller: sizeof(flx_subscriber_stats) */
    uint64_t received;  /* messages */
    uint64_t bytes;     /* payload */
    uint64_t frames;
    uint64_t gaps;        /* notices */
    uint64_t missed;      /* messages those notices stand for, where known */
    uint64_t resumes;     /* shards subscribed again after a loss */
    uint32_t queue_bytes; /* received and not taken, now */
    uint32_t shards;      /* subscribed now */
} flx_subscriber_stats;
FLX_API void flx_subscriber_get_stats(flx_subscriber *subscriber, flx_subscriber_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif /* FELIX_SUBSCRIBER_H */
