/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/worker_thread.h - one core's thread: a loop, a UDP socket, a broker worker, a mailbox.
 *
 * This is the only place where the pure worker meets the world: transport events become worker
 * events, worker actions become transport calls, mails travel through the mailbox. The order in
 * a tick is: packets and timers - mails - flx_worker_tick - the endpoint's flush pass.
 *
 * Threads: new, start, join and free belong to the node's thread; the set_* and drain calls may come
 * from any thread and are carried out in the worker's next tick.
 */
#ifndef FLX_NODE_WORKER_THREAD_H
#define FLX_NODE_WORKER_THREAD_H

#include "authz/token.h"
#include "broker/worker.h"
#include "metadata/catalog.h"
#include "node/log_query.h"
#include "transport/quic.h"

typedef struct flx_worker_thread flx_worker_thread;

typedef struct flx_worker_thread_options {
    uint32_t index;
    uint32_t count;
    uint32_t busy_poll_us;
    bool adaptive_poll;
    int cpu; /* the processor its thread is bound to; -1: to none */
    flx_quic_group *group;
    flx_credentials *credentials; /* borrowed until freed */
    const struct sockaddr *address;
    socklen_t address_len;
    const char *issuer;   /* of tokens */
    const char *audience; /* of tokens */
    flx_keyset *keys;     /* a reference is taken */
    flx_catalog *catalog; /* a reference is taken */
    const flx_worker_limits *limits;
    flx_store *logs;        /* borrowed until freed; NULL: no durable streams */
    flx_status logs_status; /* as of flx_worker_options */
    bool without_uring;
    uint32_t io_threads;
    void (*log_news)(void *arg, const flx_log_news *news); /* on the worker's thread */
    void *log_news_arg;
    flx_seats *seats; /* of all workers; borrowed until freed */
    uint64_t seed;
    flx_worker_thread *const *peers; /* all threads of the node by index; read once they all run */
} flx_worker_thread_options;

/* Binds the socket; nothing runs yet. FLX_ERR_CONFLICT: the address is in use. */
flx_status flx_worker_thread_new(const flx_worker_thread_options *options,
                                 flx_worker_thread **ret_thread, flx_error *reterr);
flx_status flx_worker_thread_start(flx_worker_thread *thread, flx_error *reterr);
/* Ends the loop and waits for the thread. Connections still open are closed. */
void flx_worker_thread_stop(flx_worker_thread *thread);
flx_worker_thread *flx_worker_thread_free(flx_worker_thread *thread);

void flx_worker_thread_address(const flx_worker_thread *thread,
                               struct sockaddr_storage *ret_address, socklen_t *ret_len);

/* Each gives the worker one reference. */
void flx_worker_thread_set_catalog(flx_worker_thread *thread, const flx_catalog *catalog);
/* Returns when the worker has taken over a catalog of that version or a later one, when it does not
 * run, or after 2 s. Not from the worker's own thread. */
void flx_worker_thread_await_catalog(const flx_worker_thread *thread, uint64_t version);
void flx_worker_thread_set_keys(flx_worker_thread *thread, flx_keyset *keys);

/* Has the worker fill in what is its own; takes one answerer of the query. */
void flx_worker_thread_ask_logs(flx_worker_thread *thread, flx_log_query *query);

/* No new connections and no new work. */
void flx_worker_thread_drain(flx_worker_thread *thread);
bool flx_worker_thread_is_drained(const flx_worker_thread *thread);
/* Closes what is open, with a reason the clients see. */
void flx_worker_thread_close_all(flx_worker_thread *thread);
bool flx_worker_thread_is_closed(const flx_worker_thread *thread);

const flx_worker_stats *flx_worker_thread_stats(const flx_worker_thread *thread);
void flx_worker_thread_quic_stats(const flx_worker_thread *thread, flx_quic_stats *ret_stats);
/* When its loop last ticked, monotonic ns: /live compares. */
uint64_t flx_worker_thread_last_tick_ns(const flx_worker_thread *thread);
/* Makes the loop tick, so that a healthy idle worker shows life. */
void flx_worker_thread_poke(flx_worker_thread *thread);

#endif /* FLX_NODE_WORKER_THREAD_H */
