/* SPDX-License-Identifier: Apache-2.0 */
/* node/worker_thread_int.h - a worker's thread, and the link between its broker worker and its endpoint. */
#ifndef FLX_NODE_WORKER_THREAD_INT_H
#define FLX_NODE_WORKER_THREAD_INT_H

#include "broker/worker.h"
#include "common/loop.h"
#include "common/mailbox.h"
#include "node/worker_thread.h"
#include "transport/quic.h"

#include <pthread.h>
#include <stdatomic.h>

struct flx_worker_thread {
    flx_worker_thread_options options;
    flx_loop *loop;
    flx_mailbox *mails;
    flx_mailbox *orders;
    flx_verifier *verifier;
    flx_io *io; /* NULL: no logs */
    flx_worker *worker;
    flx_quic_endpoint *endpoint;
    flx_tick_hook hook;
    flx_timer deadline;
    uint64_t clock_ns; /* the tick the worker was last told of */
    uint64_t peers_open;
    bool closing;
    _Atomic bool running;
    bool ended; /* its thread is gone, and others may be: nothing is posted any more */
    pthread_t thread;
    _Atomic uint64_t last_tick_ns;
    _Atomic uint64_t catalog_version; /* of the newest it was given and took over */
    _Atomic bool drained;
    _Atomic bool closed;
};

/* worker_link.c */
/* The worker's clock moves once a tick, before the first event of it. */
void flx_worker_thread_clock(flx_worker_thread *thread);
extern const flx_quic_events flx_worker_thread_events; /* what happened, to the worker */
extern const flx_link_ops flx_worker_thread_ops;       /* what it wants, to the transport */

#endif /* FLX_NODE_WORKER_THREAD_INT_H */
