/* SPDX-License-Identifier: Apache-2.0 */
/* broker/snapshot_int.h - what was in a cache before the changes a watch hears, a page at a time. */
#ifndef FLX_BROKER_SNAPSHOT_INT_H
#define FLX_BROKER_SNAPSHOT_INT_H

#include "broker/cache.h"
#include "broker/change_frames.h"
#include "broker/job_int.h"
#include "common/buffer.h"
#include "wire/message.h"

typedef struct flx_sub flx_sub;

#define FLX_PAGES        32
#define FLX_PAGES_A_PULL 4 /* then others have their turn */

/* A part of a snapshot, kept for the other watches that began at the same offset. */
typedef struct flx_page {
    flx_chunk *filter; /* its text; NULL: free */
    flx_range events;  /* chunk NULL: there are none */
    uint32_t id;
    uint32_t shard;
    bool is_prefix;
    flx_change_form form;
    uint64_t until;
    uint64_t from; /* flx_cache_cursor.next in */
    flx_cache_cursor next;
} flx_page;

typedef enum flx_page_step { FLX_PAGE_READ, FLX_PAGE_WAIT, FLX_PAGE_END } flx_page_step;

/* The next part of a watch's snapshot: READ with a range (chunk NULL: an empty part). */
flx_page_step flx_snapshot_next(flx_worker *worker, flx_sub *sub, flx_range *ret_range);
flx_job_step flx_snapshot_job(flx_worker *worker, flx_job *job); /* a PAGE, on the owner */
void flx_snapshot_done(flx_worker *worker, flx_job *job);        /* back home */
/* Counts on; true: all that job.key asks for, of versions before job.offset, is in job.found. */
bool flx_snapshot_count(flx_worker *worker, const flx_cache_shard *shard, flx_job *job);
void flx_snapshots_tick(flx_worker *worker);
void flx_snapshots_done(flx_worker *worker);

/* What worker.events holds, as a range (chunk NULL: nothing); empties it. FLX_ERR_NOMEM. */
flx_status flx_events_take(flx_worker *worker, flx_range *ret_range);

#endif /* FLX_BROKER_SNAPSHOT_INT_H */
