/* SPDX-License-Identifier: Apache-2.0 */
/* storage/io.c - the choice of an executor, what all of them do, and the one that waits to be told. */
#include "storage/io.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/io_int.h"

void flx_io_execute(flx_io_job *job)
{
    job->status = FLX_OK;
    job->wrote = false;
    if (job->kind == FLX_IO_CALL) {
        job->run(job);
        return;
    }
    const flx_disk_ops *ops = job->file->disk->ops;
    if (job->kind == FLX_IO_WRITE) {
        job->status = ops->write(job->file, job->iov, job->iov_count, job->offset, &job->error);
        job->wrote = job->status == FLX_OK;
    }
    if (job->status == FLX_OK && (job->kind == FLX_IO_SYNC || job->sync)) {
        job->status = ops->sync(job->file, &job->error);
    }
}

void flx_io_deliver(flx_io *io, flx_io_job *job)
{
    FLX_ASSERT(io->in_flight > 0);
    io->in_flight--;
    job->done(job);
}

void flx_io_submit(flx_io *io, flx_io_job *job)
{
    FLX_ASSERT(!flx_list_is_linked(&job->node));
    FLX_ASSERT(job->iov_count <= FLX_IO_IOV_MAX);
    io->in_flight++;
    io->ops->submit(io, job);
}

size_t flx_io_in_flight(const flx_io *io)
{
    return io->in_flight;
}

void flx_io_drain(flx_io *io)
{
    while (io->in_flight > 0) {
        io->ops->wait(io);
    }
}

flx_io *flx_io_free(flx_io *io)
{
    if (io != NULL) {
        FLX_ASSERT(io->in_flight == 0);
        io->ops->free(io);
    }
    return NULL;
}

const char *flx_io_name(const flx_io *io)
{
    return io->ops->name;
}

flx_status flx_io_new(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                      flx_error *reterr)
{
    if (options == NULL || !options->without_uring) {
        const flx_status status = flx_io_uring_new(loop, options, ret_io, reterr);
        if (status != FLX_ERR_UNSUPPORTED) {
            return status;
        }
    }
    return flx_io_threads_new(loop, options, ret_io, reterr);
}

/* ---- manual --------------------------------------------------------------------------------- */

typedef struct io_manual {
    flx_io base;
    flx_list waiting;
} io_manual;

static io_manual *manual_of(flx_io *io)
{
    return (io_manual *)(void *)io; /* base is the first member */
}

static void manual_submit(flx_io *io, flx_io_job *job)
{
    flx_list_push_back(&manual_of(io)->waiting, &job->node);
}

bool flx_io_manual_step(flx_io *io, size_t index)
{
    flx_list *head = &manual_of(io)->waiting;
    flx_list *node = head->next;
    for (; node != head && index > 0; index--) {
        node = node->next;
    }
    if (node == head) {
        return false;
    }
    flx_io_job *job = FLX_LIST_OWNER(node, flx_io_job, node);
    flx_list_remove(node);
    flx_io_execute(job);
    flx_io_deliver(io, job);
    return true;
}

static void manual_wait(flx_io *io)
{
    const bool had_one = flx_io_manual_step(io, 0);
    FLX_ASSERT(had_one);
}

static void manual_free(flx_io *io)
{
    flx_free(manual_of(io));
}

static const flx_io_ops manual_ops = {"manual", manual_submit, manual_wait, manual_free};

flx_status flx_io_manual_new(flx_io **ret_io, flx_error *reterr)
{
    io_manual *manual = flx_calloc(1, sizeof *manual);
    if (manual == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make an executor");
    }
    manual->base.ops = &manual_ops;
    flx_list_init(&manual->waiting);
    *ret_io = &manual->base;
    return FLX_OK;
}
