/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/io.h - how a worker has disk work done without waiting for it.
 *
 * One executor belongs to one worker. A job lives in its owner, is submitted on the worker's thread,
 * runs elsewhere, and comes back on the worker's thread: `done` is called exactly once, from the
 * loop (never from inside flx_io_submit), also for a job that fails and also when the executor is
 * drained at shutdown. Submitting never fails and allocates nothing: the number of jobs is bounded
 * by their owners (a log has one write, one errand and a bounded number of reads on the way).
 *
 * Jobs run in any order and at the same time; who needs an order waits for `done`.
 *
 *      flx_io_new           io_uring when a probe of the kernel allows, else threads
 *      flx_io_threads_new   a few threads of its own
 *      flx_io_uring_new     write and fdatasync linked in one system call; FLX_IO_CALL by threads
 *      flx_io_manual_new    nothing runs until it is told to: tests choose the order; tools
 *
 * Threads: everything here on the worker's thread, except `run`.
 */
#ifndef FLX_STORAGE_IO_H
#define FLX_STORAGE_IO_H

#include "common/list.h"
#include "storage/disk.h"

typedef enum flx_io_kind {
    FLX_IO_WRITE, /* iov at `offset` of `file`, then fdatasync when `sync` says so */
    FLX_IO_SYNC,  /* fdatasync of `file` */
    FLX_IO_CALL   /* run(job), which may block and sets `status` and `error` */
} flx_io_kind;

typedef struct flx_io_job {
    flx_io_kind kind;
    bool sync;
    bool wrote;              /* result of a write with sync: the write itself was whole */
    uint32_t iov_count;      /* at most FLX_IO_IOV_MAX */
    flx_file *file;          /* borrowed until done */
    const struct iovec *iov; /* borrowed until done, as is what it points to; left unchanged */
    uint64_t offset;         /* bytes into the file */
    void (*run)(struct flx_io_job *job);
    void (*done)(struct flx_io_job *job); /* may submit the job again, or free what holds it */
    flx_status status;                    /* result */
    flx_error error;                      /* why, unless status is FLX_OK */
    flx_list node;                        /* the executor's */
} flx_io_job;

#define FLX_IO_IOV_MAX 512

typedef struct flx_io flx_io;
typedef struct flx_loop flx_loop; /* common/loop.h */

typedef struct flx_io_options {
    uint32_t threads;   /* 0: 2 */
    bool without_uring; /* threads only */
} flx_io_options;

/* Borrows `loop` until freed. `options` NULL: defaults. FLX_ERR_NOMEM, FLX_ERR_IO (no descriptor
 * or thread left). */
flx_status flx_io_new(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                      flx_error *reterr);
flx_status flx_io_threads_new(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                              flx_error *reterr);
/* And FLX_ERR_UNSUPPORTED: the kernel, or what it is allowed to do, has no io_uring with what is
 * needed. */
flx_status flx_io_uring_new(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                            flx_error *reterr);

/* Takes the job until its `done` is called. */
void flx_io_submit(flx_io *io, flx_io_job *job);
/* Jobs whose `done` was not called yet. */
size_t flx_io_in_flight(const flx_io *io);
/* Blocks until every job is done, those included that `done` submits. For shutdown. */
void flx_io_drain(flx_io *io);
/* Nothing may be in flight. NULL is fine. Always returns NULL. */
flx_io *flx_io_free(flx_io *io);
/* "io_uring", "threads" or "manual", for the operator. */
const char *flx_io_name(const flx_io *io);

/* An executor without threads. FLX_ERR_NOMEM. */
flx_status flx_io_manual_new(flx_io **ret_io, flx_error *reterr);
/* Runs the waiting job at `index` (0: the one submitted first) and calls its `done`; false when fewer
 * wait. */
bool flx_io_manual_step(flx_io *io, size_t index);

#endif /* FLX_STORAGE_IO_H */
