/* SPDX-License-Identifier: Apache-2.0 */
/* storage/io_int.h - what the executors share. */
#ifndef FLX_STORAGE_IO_INT_H
#define FLX_STORAGE_IO_INT_H

#include "common/loop.h"
#include "storage/io.h"

#include <pthread.h>

typedef struct flx_io_ops {
    const char *name;
    void (*submit)(flx_io *io, flx_io_job *job);
    void (*wait)(flx_io *io); /* blocks until something is done, then delivers it */
    void (*free)(flx_io *io);
} flx_io_ops;

struct flx_io {
    const flx_io_ops *ops;
    size_t in_flight;
};

/* Does a job here and now, blocking. Not its `done`. */
void flx_io_execute(flx_io_job *job);
/* Hands a finished job back. */
void flx_io_deliver(flx_io *io, flx_io_job *job);

/* Threads that execute jobs and say so through an eventfd. */
typedef struct flx_io_pool {
    pthread_mutex_t lock; /* of all below, except what says otherwise */
    pthread_cond_t submitted;
    flx_list waiting;
    flx_list finished;
    bool stop;
    int event; /* readable when `finished` is not empty; fixed */
    uint32_t thread_count;
    pthread_t *threads; /* the owner's */
} flx_io_pool;

flx_status flx_io_pool_init(flx_io_pool *pool, uint32_t threads, flx_error *reterr);
void flx_io_pool_done(flx_io_pool *pool);
void flx_io_pool_submit(flx_io_pool *pool, flx_io_job *job);
/* Delivers what is finished, after the event was readable. */
void flx_io_pool_deliver(flx_io_pool *pool, flx_io *io);

#endif /* FLX_STORAGE_IO_INT_H */
