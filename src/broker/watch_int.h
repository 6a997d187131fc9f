/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/watch_int.h - watches: subscriptions to the changes of a key or a prefix of a cache.
 *
 *     view ── watchers ── filters (one a key or prefix) ── watches that have seen everything so far
 */
#ifndef FLX_BROKER_WATCH_INT_H
#define FLX_BROKER_WATCH_INT_H

#include "broker/cache.h"
#include "broker/change_frames.h"
#include "broker/job_int.h"
#include "broker/view_int.h"
#include "common/list.h"
#include "common/map.h"
#include "wire/message.h"

typedef struct flx_sub flx_sub;

typedef enum flx_watch_start {
    FLX_WATCH_LIVE,
    FLX_WATCH_OFFSET,
    FLX_WATCH_RETAINED /* what is there, then every change */
} flx_watch_start;

/* What watches of a cache shard ask for: one key, or all that begin with a prefix. Shared by all
 * that ask the same, so that a change is written once for them. */
typedef struct flx_filter {
    flx_list node;   /* prefixes: in watchers.prefixes */
    flx_list idle;   /* watches that have seen every change so far */
    flx_chunk *text; /* the key or prefix */
    uint32_t refs;
    bool is_prefix;
    flx_variants variants[FLX_CHANGE_FORMS]; /* by flx_change_form_index */
} flx_filter;

/* The watches of a cache shard on this worker. */
typedef struct flx_watchers {
    flx_map keys;      /* filters of one key, by it */
    flx_list prefixes; /* filters */
    uint32_t idle;     /* watches in all idle lists */
    uint64_t seen;     /* frames before this sequence have been looked at for idle ones */
    uint64_t seen_offset;
    flx_list quiet;       /* idle watches that hear progress; those of this round are behind */
    flx_list due;         /* in worker.progress_due */
    uint64_t due_ns;      /* linked: when the next round begins, or did */
    uint64_t told_offset; /* where a round that has begun found the shard */
    uint32_t round;
    bool is_in_round;
} flx_watchers;

/* What a watch is beside a subscription. */
typedef struct flx_watch {
    struct flx_sub *sub;
    flx_filter *filter;
    bool is_snapshot; /* reading what was there; changes come after it */
    bool is_idle;     /* in its filter's list */
    bool is_asked;    /* a PAGE job is out */
    bool has_page;
    bool must_restart;     /* an event was too large for any frame: only a new snapshot helps */
    uint8_t asks_left;     /* pages that may be asked for in this pull */
    uint64_t until;        /* entries of this version or later come as changes */
    flx_cache_cursor walk; /* pages before it were read */
    flx_range page;        /* events; chunk NULL: it has none. Owned. */
    flx_list paced;        /* in worker.paced_subs */
    flx_list quiet;        /* in watchers.quiet */
    uint32_t round;        /* of notices it was last looked at in */
    bool hears_progress;
} flx_watch;

void flx_watch_message(flx_lane *lane, const struct flx_msg_cache_watch *msg);
flx_job_step flx_watch_job(flx_worker *worker, flx_job *job); /* on the owner */
void flx_watch_started(flx_lane *lane, flx_sub *sub, const flx_job *job);
void flx_watch_free(flx_worker *worker, flx_sub *sub);
/* Where a watch that cannot go on takes up again without a gap. */
uint64_t flx_watch_resume_from(const flx_sub *sub);
/* Where an idle watch stands; it counts as idle from then on. */
flx_list *flx_watch_idle_list(flx_sub *sub);
void flx_watch_wake(flx_worker *worker, flx_view *view);
void flx_watch_activate_all(flx_view *view); /* before the view ends: into view.active */
void flx_watchers_done(flx_view *view);

/* The changes of a frame that the watch asked for, from its offset on: 0 or 1 range.
 * FLX_ERR_NOMEM, FLX_ERR_TOO_LARGE. */
flx_status flx_watch_ranges(flx_worker *worker, const flx_sub *sub, const flx_sealed *frame,
                            flx_range ret_ranges[2], size_t *ret_count, uint32_t *ret_records);

/* watch_progress.c: how far an idle watch has heard of nothing. */
void flx_progress_idle(flx_watchers *watchers, flx_watch *watch); /* may be told from now on */
void flx_progress_moved(flx_worker *worker, flx_watchers *watchers);
void flx_progress_tick(flx_worker *worker);
uint64_t flx_progress_deadline_ns(const flx_worker *worker);
/* An idle watch is pulled for nothing else. False: the stream broke. */
bool flx_progress_tell(flx_worker *worker, flx_sub *sub);

#endif /* FLX_BROKER_WATCH_INT_H */
