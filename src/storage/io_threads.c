/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/io_threads.c - an executor of a few threads that block in the kernel for the worker.
 *
 *      worker ── submit ──► waiting ──► a thread: execute ──► finished ── eventfd ──► worker: done
 *
 * Two lists under one lock. The eventfd is written by the thread that finds `finished` empty, so a
 * burst of completions costs one wake-up; the worker takes the whole list at once.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/io_int.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void *thread_main(void *arg)
{
    flx_io_pool *pool = arg;
    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        flx_list *node = flx_list_pop_front(&pool->waiting);
        if (node == NULL) {
            if (pool->stop) {
                break;
            }
            (void)pthread_cond_wait(&pool->submitted, &pool->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&pool->lock);
        flx_io_execute(FLX_LIST_OWNER(node, flx_io_job, node));
        (void)pthread_mutex_lock(&pool->lock);
        const bool is_first = flx_list_is_empty(&pool->finished);
        flx_list_push_back(&pool->finished, node);
        if (is_first) {
            const uint64_t one = 1;
            (void)!write(pool->event, &one, sizeof one); /* fails only when it is readable anyway */
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals belong to the program's own thread: these start with all of them blocked. */
static bool start_thread(flx_io_pool *pool)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool is_started =
        pthread_create(&pool->threads[pool->thread_count], NULL, thread_main, pool) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return is_started;
}

flx_status flx_io_pool_init(flx_io_pool *pool, uint32_t threads, flx_error *reterr)
{
    pool->threads = flx_calloc(threads, sizeof pool->threads[0]);
    if (pool->threads == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "start I/O threads");
    }
    pool->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pool->event < 0) {
        const int sys_errno = errno;
        flx_free(pool->threads);
        return flx_fail_errno(reterr, sys_errno, "make an eventfd");
    }
    flx_list_init(&pool->waiting);
    flx_list_init(&pool->finished);
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->submitted, NULL);
    pool->stop = false;
    pool->thread_count = 0;
    while (pool->thread_count < threads && start_thread(pool)) {
        pool->thread_count++;
    }
    if (pool->thread_count == 0) {
        flx_io_pool_done(pool);
        return flx_fail(reterr, FLX_ERR_IO, "start an I/O thread");
    }
    return FLX_OK;
}

void flx_io_pool_done(flx_io_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    (void)pthread_cond_broadcast(&pool->submitted);
    (void)pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&pool->submitted);
    (void)pthread_mutex_destroy(&pool->lock);
    (void)close(pool->event);
    flx_free(pool->threads);
}

void flx_io_pool_submit(flx_io_pool *pool, flx_io_job *job)
{
    (void)pthread_mutex_lock(&pool->lock);
    flx_list_push_back(&pool->waiting, &job->node);
    (void)pthread_cond_signal(&pool->submitted);
    (void)pthread_mutex_unlock(&pool->lock);
}

void flx_io_pool_deliver(flx_io_pool *pool, flx_io *io)
{
    uint64_t count = 0;
    (void)!read(pool->event, &count, sizeof count); /* nothing there: somebody was faster */
    flx_list finished;
    flx_list_init(&finished);
    (void)pthread_mutex_lock(&pool->lock);
    flx_list_splice_back(&finished, &pool->finished);
    (void)pthread_mutex_unlock(&pool->lock);
    for (flx_list *node; (node = flx_list_pop_front(&finished)) != NULL;) {
        flx_io_deliver(io, FLX_LIST_OWNER(node, flx_io_job, node));
    }
}

/* ---- the executor --------------------------------------------------------------------------- */

typedef struct io_threads {
    flx_io base;
    flx_io_pool pool;
    flx_loop *loop; /* NULL: only drain delivers */
    flx_watch watch;
} io_threads;

static io_threads *threads_of(flx_io *io)
{
    return (io_threads *)(void *)io; /* base is the first member */
}

static void threads_submit(flx_io *io, flx_io_job *job)
{
    flx_io_pool_submit(&threads_of(io)->pool, job);
}

static void threads_wait(flx_io *io)
{
    struct pollfd event = {.fd = threads_of(io)->pool.event, .events = POLLIN};
    (void)poll(&event, 1, -1);
    flx_io_pool_deliver(&threads_of(io)->pool, io);
}

static void threads_ready(void *arg, uint32_t events)
{
    (void)events;
    flx_io *io = arg;
    flx_io_pool_deliver(&threads_of(io)->pool, io);
}

static void threads_free(flx_io *io)
{
    io_threads *threads = threads_of(io);
    if (threads->loop != NULL) {
        flx_loop_remove(threads->loop, &threads->watch);
    }
    flx_io_pool_done(&threads->pool);
    flx_free(threads);
}

static const flx_io_ops threads_ops = {"threads", threads_submit, threads_wait, threads_free};

flx_status flx_io_threads_new(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                              flx_error *reterr)
{
    const uint32_t count = options == NULL || options->threads == 0 ? 2 : options->threads;
    io_threads *threads = flx_calloc(1, sizeof *threads);
    if (threads == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make an executor");
    }
    threads->base.ops = &threads_ops;
    flx_status status = flx_io_pool_init(&threads->pool, count, reterr);
    if (status != FLX_OK) {
        flx_free(threads);
        return status;
    }
    threads->loop = loop;
    threads->watch = (flx_watch){threads_ready, threads, threads->pool.event, false};
    status = loop == NULL ? FLX_OK : flx_loop_add(loop, &threads->watch, EPOLLIN, reterr);
    if (status != FLX_OK) {
        flx_io_pool_done(&threads->pool);
        flx_free(threads);
        return status;
    }
    *ret_io = &threads->base;
    return FLX_OK;
}
