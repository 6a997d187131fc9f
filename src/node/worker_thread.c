/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/worker_thread.c - the adaptor between transport, broker worker and the other threads.
 *
 *     UDP -> flx_quic_endpoint -> on_* -> flx_worker -> link_* -> flx_quic_stream -> UDP   (worker_link.c)
 *                                     ^  |
 *        mails of other workers ------+  +-----> post -> mailbox of another thread
 *
 * Mails and orders (new catalog, drain, stray packets) use two mailboxes: orders are few and must
 * not wait behind a full data path.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/mailbox.h"
#include "node/worker_thread_int.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CATALOG_STEP_US    100
#define CATALOG_WAIT_STEPS 20000 /* 2 s: a worker that is stuck does not hold the catalog up */
#define MAILS_MAX          8192  /* waiting for one worker; past that senders keep an outbox */
#define MAILS_A_TICK       4096
#define ORDERS_MAX         256

typedef enum order_kind {
    ORDER_CATALOG, /* carries a flx_catalog reference */
    ORDER_KEYS,    /* carries a flx_keyset reference */
    ORDER_LOGS,    /* carries one answer of a flx_log_query */
    ORDER_DRAIN,
    ORDER_CLOSE_ALL,
    ORDER_STRAY /* carries a flx_chunk of packets */
} order_kind;

typedef struct order {
    order_kind kind;
    void *object;
} order;

/* ---- between threads ---------------------------------------------------------------------- */

static bool post_mail(void *arg, uint32_t to, const void *mail, size_t len)
{
    const flx_worker_thread *thread = arg;
    FLX_ASSERT(to < thread->options.count);
    if (thread->ended) {
        return false; /* the worker keeps it, and drops it when it is freed */
    }
    return flx_mailbox_push(thread->options.peers[to]->mails, mail, len);
}

static bool give_order(flx_worker_thread *thread, order_kind kind, void *object)
{
    const order item = {.kind = kind, .object = object};
    return flx_mailbox_push(thread->orders, &item, sizeof item);
}

static bool post_stray(void *arg, uint32_t to, flx_chunk *packets)
{
    const flx_worker_thread *thread = arg;
    return to < thread->options.count && !thread->ended &&
           give_order(thread->options.peers[to], ORDER_STRAY, packets);
}

static void deliver_mail(void *arg, const void *mail)
{
    flx_worker_thread *thread = arg;
    flx_worker_mail(thread->worker, mail);
}

static void discard_mail(void *arg, const void *mail)
{
    (void)arg;
    flx_worker_mail_discard(mail);
}

static void carry_out(void *arg, const void *message)
{
    flx_worker_thread *thread = arg;
    const order *item = message;
    switch (item->kind) {
    case ORDER_CATALOG:
        flx_worker_set_catalog(thread->worker, item->object);
        atomic_store_explicit(&thread->catalog_version, flx_catalog_version(item->object),
                              memory_order_release);
        (void)flx_catalog_unref(item->object);
        return;
    case ORDER_KEYS:
        flx_worker_set_keys(thread->worker, item->object);
        (void)flx_keyset_unref(item->object);
        return;
    case ORDER_LOGS:
        flx_log_query_answer(item->object, thread->worker);
        return;
    case ORDER_DRAIN:
        flx_quic_endpoint_refuse_new(thread->endpoint);
        flx_worker_drain(thread->worker);
        return;
    case ORDER_CLOSE_ALL:
        thread->closing = true;
        flx_worker_close_all(thread->worker);
        return;
    case ORDER_STRAY:
        flx_quic_endpoint_receive_stray(thread->endpoint, item->object);
        return;
    }
    FLX_UNREACHABLE();
}

static void discard_order(void *arg, const void *message)
{
    (void)arg;
    const order *item = message;
    switch (item->kind) {
    case ORDER_CATALOG:
        (void)flx_catalog_unref(item->object);
        return;
    case ORDER_KEYS:
        (void)flx_keyset_unref(item->object);
        return;
    case ORDER_LOGS:
        flx_log_query_skip(item->object);
        return;
    case ORDER_STRAY:
        (void)flx_chunk_unref(item->object);
        return;
    case ORDER_DRAIN:
    case ORDER_CLOSE_ALL:
        return;
    }
    FLX_UNREACHABLE();
}

/* ---- the tick ----------------------------------------------------------------------------- */

/* Only so that the loop wakes: the tick hook does the work. */
static void on_deadline(void *arg, uint64_t now_ns)
{
    (void)arg;
    (void)now_ns;
}

static void set_deadline(flx_worker_thread *thread, uint64_t now_ns)
{
    const uint64_t due_ns = flx_worker_deadline_ns(thread->worker);
    if (due_ns == FLX_WORKER_NEVER) {
        flx_loop_timer_cancel(thread->loop, &thread->deadline);
        return;
    }
    /* Work at once means the next tick, not this one: packets are read in between. */
    (void)flx_loop_timer_set(thread->loop, &thread->deadline, due_ns < now_ns ? now_ns : due_ns);
}

static void on_tick(void *arg, uint64_t now_ns)
{
    flx_worker_thread *thread = arg;
    flx_worker_thread_clock(thread);
    (void)flx_mailbox_drain(thread->orders, ORDERS_MAX, carry_out, thread);
    const size_t mails = flx_mailbox_drain(thread->mails, MAILS_A_TICK, deliver_mail, thread);
    flx_worker_tick(thread->worker);
    if (mails == MAILS_A_TICK) {
        flx_loop_wake(thread->loop); /* there may be more; packets get their turn first */
    }
    set_deadline(thread, now_ns);
    atomic_store_explicit(&thread->last_tick_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&thread->drained, flx_worker_is_drained(thread->worker),
                          memory_order_release);
    atomic_store_explicit(&thread->closed, thread->closing && thread->peers_open == 0,
                          memory_order_release);
}

/* ---- life --------------------------------------------------------------------------------- */

static flx_status make_worker(flx_worker_thread *thread, flx_error *reterr)
{
    const flx_worker_thread_options *options = &thread->options;
    const flx_verifier_options verifier = {
        .issuer = options->issuer, .audience = options->audience, .leeway_s = 60};
    flx_status status = flx_verifier_new(&verifier, options->keys, &thread->verifier, reterr);
    if (status == FLX_OK && options->logs != NULL) {
        const flx_io_options io = {.threads = options->io_threads,
                                   .without_uring = options->without_uring};
        status = flx_io_new(thread->loop, &io, &thread->io, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    const flx_worker_options worker = {
        .index = options->index,
        .count = options->count,
        .link = flx_worker_thread_ops,
        .post = post_mail,
        .post_arg = thread,
        .verifier = thread->verifier,
        .seats = options->seats,
        .catalog = options->catalog,
        .seed = options->seed,
        .limits = *options->limits,
        .logs = options->logs,
        .io = thread->io,
        .log_news = options->log_news,
        .log_news_arg = options->log_news_arg,
    };
    return flx_worker_new(&worker, &thread->worker, reterr);
}

static flx_status make_endpoint(flx_worker_thread *thread, flx_error *reterr)
{
    const flx_worker_thread_options *options = &thread->options;
    /* The worker's hook comes before the endpoint's: frames are sealed, then packets are built. */
    thread->hook = (flx_tick_hook){.tick = on_tick, .arg = thread};
    flx_loop_hook_add(thread->loop, &thread->hook);
    thread->deadline = (flx_timer){.fire = on_deadline, .arg = thread};
    const flx_status status = flx_quic_listen(
        thread->loop, options->group, options->index, options->address, options->address_len,
        options->credentials, &flx_worker_thread_events, thread, &thread->endpoint, reterr);
    if (status == FLX_OK) {
        flx_quic_endpoint_set_post(thread->endpoint, post_stray, thread);
    }
    return status;
}

flx_status flx_worker_thread_new(const flx_worker_thread_options *options,
                                 flx_worker_thread **ret_thread, flx_error *reterr)
{
    flx_worker_thread *thread = flx_calloc(1, sizeof *thread);
    if (thread == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "start worker %u: out of memory", options->index);
    }
    thread->options = *options;
    const flx_loop_options loop = {.busy_poll_us = options->busy_poll_us,
                                   .adaptive = options->adaptive_poll};
    flx_status status = flx_loop_new(&loop, &thread->loop, reterr);
    if (status == FLX_OK) {
        status = flx_mailbox_new(MAILS_MAX, thread->loop, &thread->mails, reterr);
    }
    if (status == FLX_OK) {
        status = flx_mailbox_new(ORDERS_MAX, thread->loop, &thread->orders, reterr);
    }
    if (status == FLX_OK) {
        status = make_worker(thread, reterr);
    }
    if (status == FLX_OK) {
        status = make_endpoint(thread, reterr);
    }
    if (status != FLX_OK) {
        (void)flx_worker_thread_free(thread);
        return status;
    }
    *ret_thread = thread;
    return FLX_OK;
}

static void *thread_main(void *arg)
{
    flx_worker_thread *thread = arg;
    char name[16];
    (void)snprintf(name, sizeof name, "worker-%u", thread->options.index);
    (void)pthread_setname_np(pthread_self(), name);
    flx_error error;
    const flx_status status = flx_loop_run(thread->loop, &error);
    FLX_ASSERT(status == FLX_OK); /* epoll_wait fails only on bugs of ours */
    return NULL;
}

/* Bound from its first instruction on, so that what the thread touches first is near to it. */
static int create_thread(flx_worker_thread *thread)
{
    pthread_attr_t attributes;
    cpu_set_t only;
    int failed = pthread_attr_init(&attributes);
    if (failed != 0) {
        return failed;
    }
    if (thread->options.cpu >= 0) {
        CPU_ZERO(&only);
        CPU_SET((size_t)thread->options.cpu, &only);
        failed = pthread_attr_setaffinity_np(&attributes, sizeof only, &only);
    }
    if (failed == 0) {
        failed = pthread_create(&thread->thread, &attributes, thread_main, thread);
    }
    (void)pthread_attr_destroy(&attributes);
    return failed;
}

flx_status flx_worker_thread_start(flx_worker_thread *thread, flx_error *reterr)
{
    FLX_ASSERT(!thread->running);
    atomic_store(&thread->last_tick_ns, flx_clock_monotonic_ns());
    const int failed = create_thread(thread);
    if (failed != 0 && thread->options.cpu >= 0) {
        return flx_fail_errno(reterr, failed, "start worker %u on processor %d (worker_cpus)",
                              thread->options.index, thread->options.cpu);
    }
    if (failed != 0) {
        return flx_fail_errno(reterr, failed, "start the thread of worker %u",
                              thread->options.index);
    }
    thread->running = true;
    flx_loop_wake(thread->loop); /* the first tick opens the logs: do not wait for a client */
    return FLX_OK;
}

void flx_worker_thread_stop(flx_worker_thread *thread)
{
    if (thread != NULL && thread->running) {
        flx_loop_stop(thread->loop);
        (void)pthread_join(thread->thread, NULL);
        thread->running = false;
    }
    if (thread != NULL) {
        thread->ended = true;
    }
}

flx_worker_thread *flx_worker_thread_free(flx_worker_thread *thread)
{
    if (thread == NULL) {
        return NULL;
    }
    FLX_ASSERT(!thread->running);
    thread->endpoint =
        flx_quic_endpoint_free(thread->endpoint);     /* tells the worker of each close */
    thread->worker = flx_worker_free(thread->worker); /* its logs are closed by then */
    thread->io = flx_io_free(thread->io);
    thread->verifier = flx_verifier_free(thread->verifier);
    if (thread->mails != NULL) {
        while (flx_mailbox_drain(thread->mails, MAILS_MAX, discard_mail, NULL) > 0) {
        }
        thread->mails = flx_mailbox_free(thread->mails);
    }
    if (thread->orders != NULL) {
        while (flx_mailbox_drain(thread->orders, ORDERS_MAX, discard_order, NULL) > 0) {
        }
        thread->orders = flx_mailbox_free(thread->orders);
    }
    thread->loop = flx_loop_free(thread->loop);
    flx_free(thread);
    return NULL;
}

/* ---- what others ask of it ------------------------------------------------------------------ */

void flx_worker_thread_address(const flx_worker_thread *thread,
                               struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
    flx_quic_endpoint_address(thread->endpoint, ret_address, ret_len);
}

/* Orders are rare and the box is deep; a full one means a stuck worker, and waiting is right. */
static void insist(flx_worker_thread *thread, order_kind kind, void *object)
{
    while (!give_order(thread, kind, object)) {
        (void)usleep(1000);
    }
}

void flx_worker_thread_set_catalog(flx_worker_thread *thread, const flx_catalog *catalog)
{
    insist(thread, ORDER_CATALOG, flx_catalog_ref(catalog));
}

void flx_worker_thread_await_catalog(const flx_worker_thread *thread, uint64_t version)
{
    for (int step = 0; step < CATALOG_WAIT_STEPS && thread->running; step++) {
        if (atomic_load_explicit(&thread->catalog_version, memory_order_acquire) >= version) {
            return;
        }
        (void)usleep(CATALOG_STEP_US);
    }
}

void flx_worker_thread_set_keys(flx_worker_thread *thread, flx_keyset *keys)
{
    insist(thread, ORDER_KEYS, flx_keyset_ref(keys));
}

void flx_worker_thread_ask_logs(flx_worker_thread *thread, flx_log_query *query)
{
    insist(thread, ORDER_LOGS, query);
}

void flx_worker_thread_drain(flx_worker_thread *thread)
{
    insist(thread, ORDER_DRAIN, NULL);
}

bool flx_worker_thread_is_drained(const flx_worker_thread *thread)
{
    return atomic_load_explicit(&thread->drained, memory_order_acquire);
}

void flx_worker_thread_close_all(flx_worker_thread *thread)
{
    insist(thread, ORDER_CLOSE_ALL, NULL);
}

bool flx_worker_thread_is_closed(const flx_worker_thread *thread)
{
    return atomic_load_explicit(&thread->closed, memory_order_acquire);
}

const flx_worker_stats *flx_worker_thread_stats(const flx_worker_thread *thread)
{
    return flx_worker_stats_of(thread->worker);
}

void flx_worker_thread_quic_stats(const flx_worker_thread *thread, flx_quic_stats *ret_stats)
{
    flx_quic_endpoint_stats(thread->endpoint, ret_stats);
}

uint64_t flx_worker_thread_last_tick_ns(const flx_worker_thread *thread)
{
    return atomic_load_explicit(&thread->last_tick_ns, memory_order_relaxed);
}

void flx_worker_thread_poke(flx_worker_thread *thread)
{
    flx_loop_wake(thread->loop);
}
