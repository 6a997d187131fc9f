/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/watch.h - hear every change of a cache: of one key, or of all keys with a prefix.
 *
 * Folding what arrives, put or delete by key, gives the cache: each change comes once and in order of
 * its shard. What cannot be had any more (the watch fell behind, the broker restarted with an empty
 * memory) is told in its place as a FLX_CACHE_CHANGE_RESET: forget all keys of that shard, what is there now
 * follows. A watch goes on where it was after a lost connection.
 *
 * Two ways to take changes, chosen when it is made, as with a subscriber:
 *
 *  - change_fn set: called on the loop thread for each, which borrows the bytes.
 *  - otherwise a queue: flx_cache_watch_receive() with a timeout, or without waiting whenever
 *    flx_cache_watch_fd() is readable.
 *
 * A slow reader holds the broker back: what is not received is not acknowledged to QUIC, at most
 * stream_window_bytes a shard are in memory; how far behind it may be is the broker's, and then it
 * is a RESET.
 *
 * Threads: any thread may call any function (client.h has the exception, the foreign loop).
 */
#ifndef FELIX_WATCH_H
#define FELIX_WATCH_H

#include <felix/client.h>
#include <felix/subscriber.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flx_cache_watch flx_cache_watch; /* opaque; see flx_cache_watch_new() */

typedef enum flx_cache_change_kind {
    FLX_CACHE_CHANGE_PUT = 0,
    FLX_CACHE_CHANGE_DELETE = 1, /* also: expired, evicted */
    FLX_CACHE_CHANGE_RESET = 2,  /* keys of this shard are void; those that are there follow */
    FLX_CACHE_CHANGE_READY = 3 /* with FLX_WATCH_FROM_RETAINED: all that was there has been told */
} flx_cache_change_kind;

/* One change, or a notice in its place. What it points to is valid while it is held: in a change_fn
 * during the call, from flx_cache_watch_receive() until flx_cache_change_release(). */
typedef struct flx_cache_change {
    flx_cache_change_kind kind;
    uint32_t shard;
    bool is_retained; /* PUT: was there when the watch began (again) */
    uint64_t offset;  /* PUT, DELETE: its place among the changes of the shard; of a PUT also the
                               version it gave the key */
    uint64_t expires_at_ms; /* PUT: since 1970; 0: never */
    flx_slice key;
    flx_slice value; /* PUT */
    void *hold;      /* the library's; NULL: nothing to release */
} flx_cache_change;

/* Borrows the change during the call. Loop thread. */
typedef void (*flx_cache_change_fn)(void *arg, const flx_cache_change *change);

typedef enum flx_watch_from {
    FLX_WATCH_FROM_LIVE = 0,     /* changes from now on; default */
    FLX_WATCH_FROM_RETAINED = 1, /* what is there, READY, then every change */
    FLX_WATCH_FROM_OFFSET = 2    /* options.offset, inclusive; RESET when it is not kept any more */
} flx_watch_from;

/* Start from FLX_CACHE_WATCH_OPTIONS_INIT; zero and NULL mean the default written beside a field. */
typedef struct flx_cache_watch_options {
    size_t struct_size; /* sizeof(flx_cache_watch_options) */
    flx_slice key;      /* ptr set: this key only */
    flx_slice prefix;   /* otherwise all that begin so; empty: everything */
    uint32_t shard;     /* 0 .. or FLX_SHARD_ALL, which the INIT sets. A key is on one shard */
    flx_watch_from from;
    uint64_t offset;       /* for FLX_WATCH_FROM_OFFSET; of every shard watched */
    bool no_resume;        /* end with an error instead of watching again after a loss */
    uint32_t not_found_ms; /* 5000: how long an unknown cache is asked for again before it ends */
    flx_cache_change_fn change_fn; /* NULL: the queue */
    flx_end_fn end_fn;             /* NULL: not wanted */
    void *arg;                     /* of both */
} flx_cache_watch_options;

#ifdef __cplusplus
static inline flx_cache_watch_options flx_cache_watch_options_init()
{
    flx_cache_watch_options options = flx_cache_watch_options();
    options.struct_size = sizeof(options);
    options.shard = FLX_SHARD_ALL;
    return options;
}
#define FLX_CACHE_WATCH_OPTIONS_INIT flx_cache_watch_options_init()
#else
#define FLX_CACHE_WATCH_OPTIONS_INIT                                                               \
    {                                                                                              \
        .struct_size = sizeof(flx_cache_watch_options), .shard = FLX_SHARD_ALL                     \
    }
#endif

/*
 * Watches `cache`; returns before the broker has answered, see flx_cache_watch_wait().
 *
 * Uses `client` until the watch is freed; copies `cache` and `options` (NULL: defaults).
 *
 * FLX_ERR_INVALID  `cache` is not a cache name, the key no key, or an option is wrong
 * FLX_ERR_CLOSED   the client was freed
 * FLX_ERR_NOMEM
 */
FLX_API flx_status flx_cache_watch_new(flx_client *client, const char *cache,
                                       const flx_cache_watch_options *options,
                                       flx_cache_watch **ret_watch, flx_error *reterr);

/*
 * Ends the watch and frees it; never waits for the broker. Changes still held stay valid until
 * released. No callback runs after it returned, except that from its own change_fn the call under way
 * is the last. NULL is fine. Always returns NULL.
 */
FLX_API flx_cache_watch *flx_cache_watch_free(flx_cache_watch *watch);

/*
 * Waits until every shard is watched, so that what is written from here on will be heard.
 *
 * FLX_ERR_TIMEOUT, or why the watch ended: FLX_ERR_DENIED, FLX_ERR_NOT_FOUND, FLX_ERR_IN_FUTURE,
 * FLX_ERR_UNSUPPORTED, ...; FLX_ERR_CLOSED; FLX_ERR_INVALID from a callback
 */
FLX_API flx_status flx_cache_watch_wait(flx_cache_watch *watch, uint32_t timeout_ms,
                                        flx_error *reterr);

/* How many shards it watches; 0: not known yet. */
FLX_API uint32_t flx_cache_watch_shards(flx_cache_watch *watch);

/*
 * Takes the next change or notice. The caller releases it.
 *
 * FLX_ERR_AGAIN    none within timeout_ms (0: none now)
 * FLX_ERR_INVALID  it has a change_fn, or this waits and was called from a callback
 * FLX_ERR_CLOSED   the client was freed and the queue is empty
 * and why the watch ended, once the queue is empty
 */
FLX_API flx_status flx_cache_watch_receive(flx_cache_watch *watch, uint32_t timeout_ms,
                                           flx_cache_change *ret_change, flx_error *reterr);

/* Readable while there may be something to receive; -1 with a change_fn. Poll it, do not read it. It
 * belongs to the watch. */
FLX_API int flx_cache_watch_fd(flx_cache_watch *watch);

/* Where a later watch of this shard would go on (FLX_WATCH_FROM_OFFSET). False: not known, or not all
 * that was there at the beginning has been told. */
FLX_API bool flx_cache_watch_position(flx_cache_watch *watch, uint32_t shard,
                                      uint64_t *ret_next_offset);

/* Makes a counted view of a change that a callback only borrows, or a second one of a received one.
 * Copies the bytes where they are only borrowed. FLX_ERR_NOMEM. */
FLX_API flx_status flx_cache_change_keep(const flx_cache_change *change,
                                         flx_cache_change *ret_change, flx_error *reterr);

/* Gives the bytes back and clears the change. Twice and NULL are fine. Any thread. */
FLX_API void flx_cache_change_release(flx_cache_change *change);

#ifdef __cplusplus
}
#endif

#endif /* FELIX_WATCH_H */
