/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/client.h - a client of one Felix broker or cluster: connections, identity, the loop.
 *
 * A client keeps its connections up: it dials, authenticates, and after a loss dials again with
 * growing, jittered pauses, for as long as it lives. Publishers, subscribers and caches are opened
 * on it and outlive a lost connection.
 *
 * There is one core and three ways to run it:
 *
 *  - Blocking calls. The library runs its loop in a thread of its own. Any thread may call
 *    anything; calls with a timeout_ms wait for the broker.
 *  - Callbacks. The same thread calls back. A callback may call everything that does not wait;
 *    a waiting call from a callback answers FLX_ERR_INVALID, because it would wait for itself.
 *  - A foreign loop (options.foreign_loop). The library starts no thread: poll flx_client_fd() for
 *    reading, no longer than flx_client_next_timeout_us(), then call flx_client_process(), which is
 *    where callbacks run. One thread at a time may use such a client and what was opened on it.
 *    Waiting calls drive that loop themselves until they have an answer, so small programs can mix
 *    both; callbacks may run inside them.
 *
 * Names: a stream or cache is `name`, `namespace/name` or `tenant/namespace/name`; what is left
 * out comes from the options.
 */
#ifndef FELIX_CLIENT_H
#define FELIX_CLIENT_H

#include <felix/export.h>
#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flx_client flx_client; /* opaque; see flx_client_new() */

#define FLX_WAIT_FOREVER UINT32_MAX /* as a timeout_ms */
#define FLX_PORT_DEFAULT 5000

/*
 * Gives the token for the next authentication. Writes at most `cap` bytes to `buffer`, no
 * terminator, and returns the length; 0 means there is none now, and the connection attempt fails.
 * Called on the loop thread at every (re)connect and must not block for long.
 */
typedef size_t (*flx_token_fn)(void *arg, char *buffer, size_t cap);

typedef enum flx_client_state {
    FLX_CLIENT_CONNECTING = 0, /* the first attempt is under way, or the next after a loss */
    FLX_CLIENT_CONNECTED = 1,  /* the broker has accepted the token */
    FLX_CLIENT_WAITING = 2,    /* lost or refused; dials again after a pause */
    FLX_CLIENT_CLOSED = 3      /* flx_client_free() was called */
} flx_client_state;

/* `error` (valid during the call) says why for WAITING and is NULL otherwise. Loop thread. */
typedef void (*flx_state_fn)(void *arg, flx_client_state state, const flx_error *error);

/* Start from FLX_CLIENT_OPTIONS_INIT; zero and NULL mean the default written beside a field. All
 * text is copied. */
typedef struct flx_client_options {
    size_t struct_size;            /* sizeof(flx_client_options) */
    const char *addresses;         /* "host:port, [::1]:5000, host"; tried in turn; required */
    const char *tenant;            /* who authenticates; required */
    const char *default_namespace; /* "default" */
    const char *token;             /* one of these three, in this order; none: an empty token */
    const char *token_file;        /* read again at every (re)connect, so it may be renewed */
    flx_token_fn token_fn;
    void *token_arg;
    const char *ca_file;          /* PEM, who signed the broker's certificate; NULL: the system's */
    const char *cert_file;        /* client certificate, when the broker asks for one */
    const char *key_file;         /* its key */
    const char *server_name;      /* in the certificate; NULL: the host of the address dialled */
    bool offer_alpn;              /* "felix/1"; brokers before 0.6 refuse clients that offer it */
    bool foreign_loop;            /* no thread, see above */
    uint32_t connections;         /* 1; publishers, subscribers and caches are spread over them */
    uint32_t cache_streams;       /* 16 a connection: cache requests under way at once, where the
                                   * broker does not take many on one stream */
    uint32_t cache_queue_max;     /* 4096 waiting for a stream, then FLX_ERR_AGAIN */
    uint32_t connect_timeout_ms;  /* 10000: one attempt, authentication included */
    uint32_t request_timeout_ms;  /* 30000: an answer of the broker to anything */
    uint32_t backoff_min_ms;      /* 50: the first pause, doubled up to the maximum */
    uint32_t backoff_max_ms;      /* 5000; half of every pause is random */
    uint32_t idle_timeout_ms;     /* 30000 */
    uint32_t keepalive_ms;        /* 5000 */
    uint32_t stream_window_bytes; /* 4 MiB: received and not consumed, one subscription */
    uint32_t conn_window_bytes;   /* 256 MiB: the same, a whole connection */
    uint32_t udp_payload_max;     /* 0: path MTU discovery; above: fixed, for loopback and jumbo */
    uint32_t busy_poll_us;        /* 0; above: the loop thread spins so long before it sleeps */
    flx_state_fn state_fn;        /* NULL: not wanted */
    void *state_arg;
    bool cache_json; /* cache requests in JSON, one at a time on a stream, whatever is offered */
    /*
     * Placement. A broker has workers, a stream's shard belongs to one of them, and a connection ends
     * at one. Where the broker tells (it does when it is ours), a publisher of a stream with one
     * shard, the first subscribers and watches of each shard, and a cache that is used (after 32
     * requests) take a connection that ends at the shard's worker, which is made when there is none: a
     * message then never changes threads in the broker. When such a connection cannot be had, any
     * other one serves. One cache's requests of a shard so use one connection; with `no_placement`
     * they are spread over all of `connections`.
     */
    uint32_t placed_connections_max; /* 16 beside `connections`; 64 together at the most */
    bool no_placement;               /* stay on `connections`, by turn */
    /* Without busy_poll_us the loop thread still looks again for at most 100 us before it sleeps, while
     * answers come so soon that this costs less than sleeping and waking. Set: it sleeps at once. */
    bool no_adaptive_poll;
} flx_client_options;

#ifdef __cplusplus
static inline flx_client_options flx_client_options_init()
{
    flx_client_options options = flx_client_options();
    options.struct_size = sizeof(options);
    return options;
}
#define FLX_CLIENT_OPTIONS_INIT flx_client_options_init()
#else
#define FLX_CLIENT_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .struct_size = sizeof(flx_client_options)                                                  \
    }
#endif

/*
 * Makes a client and starts to connect; it returns before that has happened. Nothing is sent but
 * from the loop, so with foreign_loop the first flx_client_process() dials.
 *
 * FLX_ERR_INVALID  an option is wrong; the message says which
 * FLX_ERR_IO       a file (CA, certificate) cannot be read, or no thread or socket is to be had
 * FLX_ERR_NOMEM
 */
FLX_API flx_status flx_client_new(const flx_client_options *options, flx_client **ret_client,
                                  flx_error *reterr);

/*
 * flx_client_new() and flx_client_wait_connected() in one; nothing is left behind on failure.
 * Statuses of both.
 */
FLX_API flx_status flx_client_connect(const flx_client_options *options, uint32_t timeout_ms,
                                      flx_client **ret_client, flx_error *reterr);

/*
 * Waits until a connection is up and the broker has accepted the token.
 *
 * FLX_ERR_UNAUTHENTICATED, FLX_ERR_DENIED  the broker refused the token; returned at once
 * FLX_ERR_UNTRUSTED                        the broker's certificate is not to be trusted; at once
 * FLX_ERR_INVALID                          called from a callback
 * FLX_ERR_UNAVAILABLE                      not within timeout_ms; the message has the last cause
 * FLX_ERR_CLOSED                           the client was freed meanwhile
 */
FLX_API flx_status flx_client_wait_connected(flx_client *client, uint32_t timeout_ms,
                                             flx_error *reterr);

/*
 * Ends everything: connections are closed without waiting, callbacks still owed are called with
 * FLX_ERR_CANCELED or FLX_ERR_UNKNOWN_OUTCOME, and none runs after it returned. Publishers,
 * subscribers and caches that still exist answer FLX_ERR_CLOSED from here on and are freed by their
 * own functions, before or after. From a callback it ends the client as soon as that returned. NULL
 * is fine. Always returns NULL.
 */
FLX_API flx_client *flx_client_free(flx_client *client);

/* The state of the first connection. Any thread. */
FLX_API flx_client_state flx_client_get_state(const flx_client *client);

/*
 * How many shards a stream has (0: the broker does not know it). Waits; see flx_client_stream_shards_async
 * for callbacks.
 *
 * FLX_ERR_UNSUPPORTED  the broker does not tell; treat it as one shard
 * FLX_ERR_DENIED, FLX_ERR_TIMEOUT, FLX_ERR_UNAVAILABLE, FLX_ERR_CLOSED, FLX_ERR_INVALID
 */
FLX_API flx_status flx_client_stream_shards(flx_client *client, const char *stream,
                                            uint32_t timeout_ms, uint32_t *ret_shards,
                                            flx_error *reterr);

/* `error` is NULL on success. Called exactly once, on the loop thread. */
typedef void (*flx_shards_fn)(void *arg, uint32_t shards, const flx_error *error);

/* The same without waiting. FLX_ERR_INVALID, FLX_ERR_NOMEM, FLX_ERR_CLOSED: `done` is not called. */
FLX_API flx_status flx_client_stream_shards_async(flx_client *client, const char *stream,
                                                  flx_shards_fn done, void *arg, flx_error *reterr);

/* What the broker offered when it last accepted the token: docs/spec/wire.md 2 and 5. All 0
 * before that. */
typedef struct flx_server_info {
    size_t struct_size; /* set by the caller: sizeof(flx_server_info) */
    uint16_t flags;
    uint16_t listener_count; /* ports announced, 0: only the one dialled */
    uint32_t features;
    uint32_t features_hi;
    uint32_t publish_window;  /* batches under way a stream, 0: not said */
    uint64_t smoothed_rtt_ns; /* of the first connection */
    uint64_t connects;        /* times a connection came up, since the client exists */
    char peer[64];            /* address and port of the first connection */
    char cipher[32];
} flx_server_info;
FLX_API void flx_client_server_info(const flx_client *client, flx_server_info *ret_info);

/* The foreign loop; only with options.foreign_loop. */
FLX_API int flx_client_fd(const flx_client *client); /* -1 without foreign_loop */
/* Microseconds until flx_client_process() is due without the descriptor, INT64_MAX for never. */
FLX_API int64_t flx_client_next_timeout_us(const flx_client *client);
/* Does what is due and returns; never waits. FLX_ERR_INVALID without foreign_loop; FLX_ERR_IO. */
FLX_API flx_status flx_client_process(flx_client *client, flx_error *reterr);

/* The version of the library, "0.1.0". */
FLX_API const char *flx_version(void);

#ifdef __cplusplus
}
#endif

#endif /* FELIX_CLIENT_H */
