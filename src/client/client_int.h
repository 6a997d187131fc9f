/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/client_int.h - the client as its own files see it: the loop, the way onto it, and the list
 * of what was opened on it.
 *
 * Everything but the fields marked "any thread" belongs to the loop thread. Other threads get there
 * with a task (an intrusive node, so posting allocates nothing and cannot fail for want of room) or
 * with flx_client_call(), which waits for it.
 */
#ifndef FLX_CLIENT_CLIENT_INT_H
#define FLX_CLIENT_CLIENT_INT_H

#include "client/addresses.h"
#include "client/asks.h"
#include "client/names.h"
#include "client/seat.h"
#include "client/uplink.h"
#include "common/loop.h"
#include "transport/quic.h"

#include <felix/client.h>

#include <pthread.h>
#include <stdatomic.h>

#define FLX_CONNECTIONS_MAX 64
#define FLX_TOKEN_BYTES_MAX 32768 /* an unauthenticated frame is at most 64 KiB */

/* Work for the loop thread. Zero it, set run. Queued at most once at a time. */
typedef struct flx_client_task {
    void (*run)(struct flx_client_task *task);
    struct flx_client_task *next;
    bool queued;
} flx_client_task;

typedef struct flx_member flx_member;
typedef struct flx_member_ops {
    void (*service)(flx_member *member);                   /* its task ran */
    void (*up)(flx_member *member);                        /* its uplink is usable (again) */
    void (*end)(flx_member *member, const flx_error *why); /* the client ends: call back everything
                                                              still owed, take no more */
    void (*destroy)(flx_member *member);                   /* nobody uses it any more; any thread */
} flx_member_ops;

/* A publisher, subscriber or cache: first member of each. */
struct flx_member {
    const flx_member_ops *ops;
    flx_client *client; /* a reference */
    flx_uplink *uplink; /* dealt out by turn; a seat may know a better one */
    flx_client_task task;
    flx_member *prev, *next;
    _Atomic bool poked; /* its task is queued, or about to be */
    bool attached;
    bool ended; /* end was called */
    bool freed; /* its handle was freed: destroy at the next tick */
};

struct flx_client {
    flx_client_options options; /* its text points to `texts` */
    char *texts[9];
    flx_addresses addresses;
    flx_loop *loop;
    flx_credentials *credentials;
    flx_quic_endpoint *endpoint;
    flx_tick_hook hook;
    _Atomic uint32_t refs; /* the handle, and one a member */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    flx_client_task *tasks, **tasks_end;
    bool closing; /* freed by its owner: nothing new is opened */
    bool stopped; /* the loop has run its last task */
    flx_client_state state;
    flx_error error;     /* why WAITING */
    bool error_is_final; /* trying again will not help */
    flx_server_info info;

    pthread_t thread;
    bool has_thread;   /* own loop, thread started */
    bool detached;     /* freed from a callback: the thread ends by itself */
    uint32_t stepping; /* foreign loop: inside flx_client_process or a waiting call */

    flx_client_task start;
    flx_client_task stop;
    flx_member *members;
    flx_member *graveyard; /* freed, destroyed at the next tick (linked by next) */
    flx_uplink uplinks[FLX_CONNECTIONS_MAX];
    uint32_t uplink_count;        /* options.connections, and those for workers of the broker */
    _Atomic uint32_t uplink_next; /* any thread: members are dealt out in turn */
    flx_asks asks;
    flx_placer placer;
    flx_arena arena;    /* of the message being read */
    flx_chunk *scratch; /* what small frames are written to */
    uint64_t random;    /* for jitter and ids; xorshift, no secret depends on it */
};

/* --- core.c --- */

flx_client *flx_client_ref(flx_client *client);
void flx_client_unref(flx_client *client);

/* Queues the task and wakes the loop. False: the loop has ended, it will not run. Any thread. */
bool flx_client_post(flx_client *client, flx_client_task *task);
/* Runs it on the loop thread and waits; inline when there already. False: the loop has ended. */
bool flx_client_call(flx_client *client, void (*run)(void *arg), void *arg);
bool flx_client_is_on_loop(const flx_client *client);
/* FLX_ERR_INVALID when a waiting call would wait for itself. */
flx_status flx_client_may_wait(flx_client *client, flx_error *reterr);
/*
 * Waits on `cond` (CLOCK_MONOTONIC, see flx_cond_init) until `deadline_ns`; drives a foreign loop
 * instead. `mutex` is held on entry and return. False: the deadline has passed.
 */
bool flx_client_wait(flx_client *client, pthread_mutex_t *mutex, pthread_cond_t *cond,
                     uint64_t deadline_ns);
void flx_cond_init(pthread_cond_t *cond);
/* FLX_WAIT_FOREVER: FLX_LOOP_NEVER. */
uint64_t flx_deadline_ns(uint32_t timeout_ms);

/* One tick of a foreign loop, and the end of the client when a callback freed it. */
flx_status flx_client_step(flx_client *client, uint64_t deadline_ns, flx_error *reterr);
void flx_client_end(flx_client *client);
void flx_client_tick(void *arg, uint64_t now_ns);
void *flx_client_thread(void *arg);
void flx_client_set_state(flx_client *client, flx_client_state state, const flx_error *error,
                          bool final);
uint64_t flx_client_random(flx_client *client);

/* Puts a member on the client: takes a reference, deals out an uplink. Any thread. FLX_ERR_CLOSED. */
flx_status flx_member_init(flx_member *member, const flx_member_ops *ops, flx_client *client,
                           flx_error *reterr);
/* Ends it (on the loop thread, waiting for that), then destroys it when nothing is on its stack. */
void flx_member_free(flx_member *member);
/* Has the loop call ops->service. Any thread. */
void flx_member_poke(flx_member *member);

/* --- shards.c --- */

/* Asks how many shards a stream or cache has: `type` is FLX_MSG_STREAM_SHARDS or _CACHE_SHARDS.
 * `owner` for flx_asks_cancel. FLX_ERR_UNSUPPORTED comes to `done` when the broker does not tell. */
flx_status flx_ask_shards(flx_client *client, flx_msg_type type, const flx_scoped_name *name,
                          void *owner, uint64_t timeout_ns, flx_shards_fn done, void *arg,
                          flx_error *reterr);

/* --- identity.c --- */

/* The token to authenticate with now: up to `cap` bytes, not terminated. */
flx_status flx_client_token(flx_client *client, char *buffer, size_t cap, size_t *ret_len,
                            flx_error *reterr);

#endif /* FLX_CLIENT_CLIENT_INT_H */
