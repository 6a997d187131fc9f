/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/job_int.h - requests that wait for one answer, local or of another worker.
 *
 *     new ─► send ─► serve, on the owner ─┬─ again: goes on in the next tick ─► serve
 *                                         ├─ parked at a log ─► serve, or ready
 *                                         └─ finish ─► back home, to who asked
 */
#ifndef FLX_BROKER_JOB_INT_H
#define FLX_BROKER_JOB_INT_H

#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/change_frames.h"
#include "broker/shard.h"
#include "broker/worker.h"

typedef enum flx_job_kind {
    FLX_JOB_SUBSCRIBE,
    FLX_JOB_READ,
    FLX_JOB_TIME,
    FLX_JOB_CACHE,
    FLX_JOB_HISTORY,    /* a block of a log */
    FLX_JOB_OPERATIONS, /* a batch of them; its lanes are in its entries */
    FLX_JOB_WATCH,      /* may take several ticks on the owner */
    FLX_JOB_PAGE        /* of a snapshot */
} flx_job_kind;

struct flx_op_batch; /* operations_int.h */

typedef struct flx_job {
    struct flx_job *next_free; /* or the next one parked at a log */
    uint8_t kind;              /* flx_job_kind */
    uint8_t from;              /* worker that asks */
    uint8_t start_kind;        /* WATCH: flx_watch_start */
    bool has_request_id;
    bool has_value;       /* time: in `offset` */
    bool is_prefix;       /* WATCH, PAGE: request.key is the beginning of keys */
    bool is_counted;      /* WATCH: its start is fixed, and keys are being counted */
    bool resnapshot;      /* WATCH: the offset asked for is not kept any more */
    flx_change_form form; /* PAGE */
    uint64_t lane;        /* handle of the lane that waits */
    uint64_t sub;         /* handle of the subscription: SUBSCRIBE, WATCH, PAGE */
    uint64_t request_id;
    uint32_t id; /* of the stream or cache */
    uint32_t shard;
    uint32_t max_records;
    flx_shard_start start;
    uint64_t offset; /* in: start, from, time, PAGE: where the changes begin; out: start resolved,
                        found, next */
    uint64_t end;    /* READ: exclusive bound */
    uint64_t max_bytes;
    flx_status status;
    /* Frames on their way to the one who asked: owned. */
    flx_sealed *frames;
    size_t frame_count;
    uint64_t first_sequence;
    uint64_t end_sequence;
    uint64_t tail;
    bool is_durable;       /* SUBSCRIBE: the shard has a log, and `tail` is where live begins */
    uint64_t found;        /* WATCH: keys there at the start */
    flx_cache_cursor walk; /* WATCH: counted up to here; PAGE: in and out */
    /* CACHE, WATCH, PAGE. What `request` points to lies in `holder` once the job left its frame. */
    flx_cache_request request;
    flx_cache_reply reply;
    flx_chunk *holder;
    flx_range value; /* of the answer, or a block of a log; owned when its chunk is set */
    flx_catalog *catalog;
    struct flx_op_batch *batch; /* OPERATIONS: owned */
    uint8_t step;               /* CACHE, PAGE, OPERATIONS: flx_cache_step */
    flx_cache_cursor page_next; /* PAGE: where the next one begins */
    uint64_t wait_end;          /* while it waits for a mark: of the log it waits for */
} flx_job;

/* What running a job on its owner came to. */
typedef enum flx_job_step {
    FLX_STEP_DONE,
    FLX_STEP_AGAIN, /* it goes on in the next tick */
    FLX_STEP_PARKED /* it waits for a log, and comes back by flx_job_serve or flx_job_ready */
} flx_job_step;

flx_job *flx_job_new(flx_worker *worker, flx_job_kind kind);
void flx_job_drop(flx_worker *worker, flx_job *job); /* with all it carries */
/* Hands a job to the owner of its shard, or runs it here; the answer comes through flx_session_job_done. */
void flx_job_send(flx_worker *worker, flx_job *job, uint32_t owner);
/* Runs it on the owner; the answer goes out when it is there. */
void flx_job_serve(flx_worker *worker, flx_job *job);
/* Hands the answer to who asked, here or on another worker. */
void flx_job_finish(flx_worker *worker, flx_job *job);
/* The job goes on, here, in the next tick. */
void flx_job_again(flx_worker *worker, flx_job *job);
/* The answer of a job that was parked is there: goes out in the next tick. */
void flx_job_ready(flx_worker *worker, flx_job *job);

#endif /* FLX_BROKER_JOB_INT_H */
