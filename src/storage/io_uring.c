/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/io_uring.c - writes and syncs by the kernel's ring, calls by a few threads.
 *
 *      submit ──► ring: write ──linked──► fdatasync ──► completion ──► worker: done
 *             └─► pool: run(job) ──────────────────────► eventfd ───────┘
 *
 * A linked pair costs one system call, and the sync begins without a thread of ours waking up between; the
 * worker waits for the ring's own descriptor and reads completions from memory. Of a pair only the
 * last completion is wanted, else the worker would wake for the write, and again for the sync: kernels
 * that can (5.17) leave the first out when the write went well, and say only that when it did not. A
 * write that comes back short breaks the link, and the sync is canceled: the job is then done again
 * by the pool, blocking, from its beginning, which knows how to go on after short writes. So is a
 * job on a disk that has no descriptor. The ring is no larger than what may be in flight; what finds it
 * full waits in a list.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/io_int.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RING_ENTRIES 256u

typedef struct io_uring_executor {
    flx_io base;
    struct io_uring ring;
    flx_io_pool pool;
    flx_loop *loop; /* NULL: only drain delivers */
    flx_watch pool_watch;
    flx_watch ring_watch;
    bool skips; /* a pair is one completion: the sync's, or that of the write that failed */
    uint32_t in_ring;
    flx_list waiting; /* for room in the ring */
} io_uring_executor;

static io_uring_executor *uring_of(flx_io *io)
{
    return (io_uring_executor *)(void *)io; /* base is the first member */
}

static uint64_t job_bytes(const flx_io_job *job)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < job->iov_count; i++) {
        bytes += job->iov[i].iov_len;
    }
    return bytes;
}

/* The two completions of a pair are told apart by the lowest bit of the pointer. */
#define IS_SYNC ((uintptr_t)1)

static void queue(io_uring_executor *uring, flx_io_job *job)
{
    job->status = FLX_OK;
    job->wrote = false;
    const bool writes = job->kind == FLX_IO_WRITE;
    if (writes) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
        io_uring_prep_writev(sqe, job->file->fd, job->iov, job->iov_count, job->offset);
        io_uring_sqe_set_data(sqe, job);
        if (job->sync) {
            io_uring_sqe_set_flags(
                sqe, IOSQE_IO_LINK | (uring->skips ? IOSQE_CQE_SKIP_SUCCESS : 0u));
        }
    }
    if (!writes || job->sync) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
        io_uring_prep_fsync(sqe, job->file->fd, IORING_FSYNC_DATASYNC);
        io_uring_sqe_set_data(sqe, (void *)((uintptr_t)job | IS_SYNC));
    }
    uring->in_ring += 2; /* counted as if each were a pair */
}

/* Hands what fits to the kernel. When it cannot take it now, the next completion tries again. */
static void push(io_uring_executor *uring)
{
    while (uring->in_ring + 2 <= RING_ENTRIES && !flx_list_is_empty(&uring->waiting)) {
        flx_list *node = flx_list_pop_front(&uring->waiting);
        queue(uring, FLX_LIST_OWNER(node, flx_io_job, node));
    }
    int sent = -EINTR;
    for (int tries = 0; sent < 0 && tries < 1000; tries++) {
        sent = io_uring_submit(&uring->ring);
        FLX_ASSERT(sent >= 0 || sent == -EINTR || sent == -EAGAIN || sent == -EBUSY);
    }
}

static void uring_submit(flx_io *io, flx_io_job *job)
{
    io_uring_executor *uring = uring_of(io);
    if (job->kind == FLX_IO_CALL || job->file->fd < 0) {
        flx_io_pool_submit(&uring->pool, job);
        return;
    }
    flx_list_push_back(&uring->waiting, &job->node);
    push(uring);
}

static void fail(flx_io_job *job, int sys_errno, const char *what)
{
    job->status = flx_fail_errno(&job->error, sys_errno, "%s", what);
    if (sys_errno == ENOSPC || sys_errno == EDQUOT) {
        job->status = FLX_ERR_AGAIN;
        job->error.status = FLX_ERR_AGAIN;
    }
}

/* One completion of the ring. True: the job is done, or goes to the pool. */
static bool complete(const io_uring_executor *uring, flx_io_job *job, bool is_sync, int result,
                     bool *ret_again)
{
    if (!is_sync) {
        job->wrote = result >= 0 && (uint64_t)result == job_bytes(job);
        /* Short, or interrupted: the pool writes all of it once more. */
        *ret_again = !job->wrote && (result >= 0 || result == -EINTR || result == -EAGAIN);
        if (!job->wrote && !*ret_again) {
            fail(job, -result, "write");
        }
        return !job->sync || uring->skips;
    }
    if (job->kind == FLX_IO_WRITE && !job->wrote && !uring->skips) {
        *ret_again = job->status == FLX_OK; /* its write was short; the sync was canceled */
        return true;
    }
    job->wrote = job->kind == FLX_IO_WRITE; /* the sync was begun, so the write is whole */
    if (result < 0) {
        fail(job, -result, "sync");
        job->status = FLX_ERR_IO; /* never a matter of trying again */
        job->error.status = FLX_ERR_IO;
    }
    return true;
}

static void deliver_ring(io_uring_executor *uring)
{
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
        const uintptr_t data = (uintptr_t)io_uring_cqe_get_data(cqe);
        const int result = cqe->res;
        io_uring_cqe_seen(&uring->ring, cqe);
        flx_io_job *job = (flx_io_job *)(data & ~IS_SYNC); // NOLINT(performance-no-int-to-ptr)
        bool again = false;
        if (!complete(uring, job, (data & IS_SYNC) != 0, result, &again)) {
            continue;
        }
        uring->in_ring -= 2;
        if (again) {
            flx_io_pool_submit(&uring->pool, job);
        } else {
            flx_io_deliver(&uring->base, job);
        }
    }
    if (!flx_list_is_empty(&uring->waiting)) {
        push(uring);
    }
}

static void ring_ready(void *arg, uint32_t events)
{
    (void)events;
    deliver_ring(arg);
}

static void pool_ready(void *arg, uint32_t events)
{
    (void)events;
    io_uring_executor *uring = arg;
    flx_io_pool_deliver(&uring->pool, &uring->base);
}

static void uring_wait(flx_io *io)
{
    io_uring_executor *uring = uring_of(io);
    struct pollfd events[2] = {{.fd = uring->ring.ring_fd, .events = POLLIN},
                               {.fd = uring->pool.event, .events = POLLIN}};
    (void)poll(events, 2, -1);
    deliver_ring(uring);
    flx_io_pool_deliver(&uring->pool, io);
}

static void uring_free(flx_io *io)
{
    io_uring_executor *uring = uring_of(io);
    if (uring->loop != NULL) {
        flx_loop_remove(uring->loop, &uring->pool_watch);
        flx_loop_remove(uring->loop, &uring->ring_watch);
    }
    flx_io_pool_done(&uring->pool);
    io_uring_queue_exit(&uring->ring);
    flx_free(uring);
}

static const flx_io_ops uring_ops = {"io_uring", uring_submit, uring_wait, uring_free};

/* Whether the kernel has the operations, and lets this process have a ring. */
static bool ring_open(struct io_uring *ring)
{
    if (io_uring_queue_init(RING_ENTRIES, ring, 0) != 0) {
        return false;
    }
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    const bool is_good = probe != NULL && io_uring_opcode_supported(probe, IORING_OP_WRITEV) &&
                         io_uring_opcode_supported(probe, IORING_OP_FSYNC);
    if (probe != NULL) {
        io_uring_free_probe(probe);
    }
    if (!is_good) {
        io_uring_queue_exit(ring);
    }
    return is_good;
}

static flx_status watch_both(io_uring_executor *uring, flx_loop *loop, flx_error *reterr)
{
    uring->pool_watch = (flx_watch){pool_ready, uring, uring->pool.event, false};
    uring->ring_watch = (flx_watch){ring_ready, uring, uring->ring.ring_fd, false};
    if (loop == NULL) {
        return FLX_OK;
    }
    flx_status status = flx_loop_add(loop, &uring->pool_watch, EPOLLIN, reterr);
    if (status == FLX_OK) {
        status = flx_loop_add(loop, &uring->ring_watch, EPOLLIN, reterr);
        if (status != FLX_OK) {
            flx_loop_remove(loop, &uring->pool_watch);
        }
    }
    return status;
}

flx_status flx_io_uring_new(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                            flx_error *reterr)
{
    const uint32_t threads = options == NULL || options->threads == 0 ? 2 : options->threads;
    io_uring_executor *uring = flx_calloc(1, sizeof *uring);
    if (uring == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make an executor");
    }
    uring->base.ops = &uring_ops;
    flx_list_init(&uring->waiting);
    if (!ring_open(&uring->ring)) {
        flx_free(uring);
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED, "the kernel gives no io_uring");
    }
    uring->skips = (uring->ring.features & IORING_FEAT_CQE_SKIP) != 0;
    flx_status status = flx_io_pool_init(&uring->pool, threads, reterr);
    if (status != FLX_OK) {
        goto close_ring;
    }
    status = watch_both(uring, loop, reterr);
    if (status == FLX_OK) {
        uring->loop = loop;
        *ret_io = &uring->base;
        return FLX_OK;
    }
    flx_io_pool_done(&uring->pool);
close_ring:
    io_uring_queue_exit(&uring->ring);
    flx_free(uring);
    return status;
}
