/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/publisher.h - send messages to one stream.
 *
 * Messages are written once, into the frame that will carry them, and frames leave as soon as the
 * loop gets to them: while it is busy they grow, so batches form by themselves and nobody waits
 * (linger_us waits longer for fuller ones). Frames follow each other without waiting for
 * acknowledgements, as far as the broker's publish window and inflight_bytes_max allow; past that
 * a call answers FLX_ERR_AGAIN, so who outruns the broker learns it here and not from a growing
 * heap.
 *
 * What an acknowledgement means is the stream's policy (accepted, written, synced, quorum). What is
 * sent and lost with its connection before the answer came is reported as FLX_ERR_UNKNOWN_OUTCOME
 * and never sent again by itself; what had not left yet waits for the next connection.
 *
 * Order: the messages of one publisher reach the broker in the order of the calls.
 *
 * Threads: any thread may call any function (client.h has the exception, the foreign loop);
 * callbacks run on the client's loop thread.
 */
#ifndef FELIX_PUBLISHER_H
#define FELIX_PUBLISHER_H

#include <felix/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flx_publisher flx_publisher; /* opaque; see flx_publisher_new() */

typedef enum flx_acks {
    FLX_ACKS_PER_BATCH = 0,   /* one answer a frame, whatever it carries; default */
    FLX_ACKS_PER_MESSAGE = 1, /* every message is a frame of its own, refused or accepted alone */
    FLX_ACKS_NONE = 2         /* no answer: done means handed to the transport */
} flx_acks;

/* How one message, or one batch, ended. */
typedef struct flx_publish_result {
    flx_status status; /* FLX_OK: acknowledged. FLX_ERR_UNKNOWN_OUTCOME: sent, never answered */
    bool has_offset;
    uint64_t offset;        /* of this message; of the first one for a batch */
    const flx_error *error; /* NULL when FLX_OK; valid during the call */
} flx_publish_result;
typedef void (*flx_publish_fn)(void *arg, const flx_publish_result *result);

/* Start from FLX_PUBLISHER_OPTIONS_INIT; zero and NULL mean the default written beside a field. */
typedef struct flx_publisher_options {
    size_t struct_size; /* sizeof(flx_publisher_options) */
    flx_acks acks;
    uint32_t batch_count_max; /* 1024 messages in a frame that the library fills */
    uint32_t batch_bytes_max; /* 64 KiB of payload in it; a single larger message is fine */
    uint32_t linger_us;       /* 0: leaves with the next tick; how long a frame may wait to fill */
    uint32_t inflight_bytes_max;   /* 16 MiB accepted and not yet acknowledged */
    uint32_t inflight_count_max;   /* 65536 messages or batches with a callback, likewise */
    uint32_t inflight_batches_max; /* 1024, at most 65536; the broker's window may allow fewer */
    uint32_t block_ms;             /* 0: how long a call waits for room before FLX_ERR_AGAIN */
    uint32_t unsent_timeout_ms;    /* 30000 without a connection, then FLX_ERR_TIMEOUT */
    uint32_t retry_timeout_ms;     /* 0: a refusal is reported. Above: what the broker refused with
                                      "nothing happened, try again" is sent again for so long; the
                                      order is then kept within a batch only */
    void (*room_fn)(void *arg);    /* called once there is room again after FLX_ERR_AGAIN */
    void *room_arg;
} flx_publisher_options;

#ifdef __cplusplus
static inline flx_publisher_options flx_publisher_options_init()
{
    flx_publisher_options options = flx_publisher_options();
    options.struct_size = sizeof(options);
    return options;
}
#define FLX_PUBLISHER_OPTIONS_INIT flx_publisher_options_init()
#else
#define FLX_PUBLISHER_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .struct_size = sizeof(flx_publisher_options)                                               \
    }
#endif

/*
 * Opens `stream` for publishing. Talks to nobody: an unknown stream or a missing right shows in the
 * first results.
 *
 * Uses `client` until the publisher is freed; copies `stream` and `options` (NULL: defaults).
 *
 * FLX_ERR_INVALID  `stream` is not a stream name, or an option is wrong
 * FLX_ERR_CLOSED   the client was freed
 * FLX_ERR_NOMEM
 */
FLX_API flx_status flx_publisher_new(flx_client *client, const char *stream,
                                     const flx_publisher_options *options,
                                     flx_publisher **ret_publisher, flx_error *reterr);

/*
 * Fails what has not left with FLX_ERR_CANCELED and what is not answered with
 * FLX_ERR_UNKNOWN_OUTCOME, then frees; flush first for anything else. NULL is fine. Always returns
 * NULL.
 */
FLX_API flx_publisher *flx_publisher_free(flx_publisher *publisher);

/*
 * Sends one message. `key` NULL: unkeyed (shard 0); otherwise messages of equal keys keep to one shard; an empty
 * key is a key. Copies both. `done` (may be NULL) is called exactly once if and only if this
 * returns FLX_OK.
 *
 * FLX_ERR_AGAIN      an inflight bound is reached (and was for block_ms); room_fn will be called
 * FLX_ERR_TOO_LARGE  the frame would exceed 16 MiB, or the key 65535 bytes
 * FLX_ERR_CLOSED     the client was freed
 * FLX_ERR_NOMEM
 */
FLX_API flx_status flx_publisher_publish(flx_publisher *publisher, const flx_slice *key,
                                         flx_slice payload, flx_publish_fn done, void *arg,
                                         flx_error *reterr);

/*
 * Sends `count` (at least 1) messages as one frame: they lie side by side in one shard, and are
 * acknowledged or refused together. `done` is called once for all. Statuses as above.
 */
FLX_API flx_status flx_publisher_publish_batch(flx_publisher *publisher, const flx_slice *key,
                                               const flx_slice *payloads, size_t count,
                                               flx_publish_fn done, void *arg, flx_error *reterr);

/*
 * Sends one message and waits for its answer, room included. *ret_offset (may be NULL) is UINT64_MAX when the
 * broker did not tell one.
 *
 * FLX_ERR_TIMEOUT          not answered in time; it may still arrive
 * FLX_ERR_UNKNOWN_OUTCOME  the connection was lost before the answer
 * and what the broker refused with: FLX_ERR_DENIED, FLX_ERR_NOT_FOUND, FLX_ERR_AGAIN (overloaded), ...
 */
FLX_API flx_status flx_publisher_publish_wait(flx_publisher *publisher, const flx_slice *key,
                                              flx_slice payload, uint32_t timeout_ms,
                                              uint64_t *ret_offset, flx_error *reterr);

/*
 * Sends what lingers, then waits until all that was accepted before the call has ended one way or
 * the other. With timeout_ms 0 it only sends.
 *
 * FLX_ERR_TIMEOUT  something is still under way (not with timeout_ms 0)
 * FLX_ERR_CLOSED, FLX_ERR_INVALID (from a callback)
 */
FLX_API flx_status flx_publisher_flush(flx_publisher *publisher, uint32_t timeout_ms,
                                       flx_error *reterr);

typedef struct flx_publisher_stats {
    size_t struct_size;      /* set by the caller: sizeof(flx_publisher_stats) */
    uint64_t accepted;       /* messages taken by publish calls */
    uint64_t acked;          /* messages the broker acknowledged; handed over with FLX_ACKS_NONE */
    uint64_t failed;         /* messages that ended otherwise, refusals and unknown outcomes */
    uint64_t batches;        /* frames written */
    uint64_t bytes;          /* payload taken */
    uint64_t retried;        /* frames sent again after a refusal */
    uint32_t inflight_bytes; /* now */
    uint32_t inflight_batches;
} flx_publisher_stats;
/* A consistent copy. Any thread. */
FLX_API void flx_publisher_get_stats(flx_publisher *publisher, flx_publisher_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif /* FELIX_PUBLISHER_H */
