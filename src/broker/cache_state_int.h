/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_state_int.h - a shard of a cache: values and counters above the log of their changes.
 *
 *     changes.c        makes it, and writes each change into its ring or log
 *     cache_log.c      of a durable one: makes the index from the log, reads back what memory let go
 *     cache_compact.c  keeps that log in proportion to what it says
 */
#ifndef FLX_BROKER_CACHE_STATE_INT_H
#define FLX_BROKER_CACHE_STATE_INT_H

#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/change_frames.h"
#include "broker/counter.h"

typedef struct flx_durable flx_durable;
typedef struct flx_job flx_job;
typedef struct flx_owned flx_owned;

typedef struct flx_cache_state {
    flx_worker *worker;
    flx_owned *owned;
    flx_cache_shard *shard;
    flx_counters counters;
    /* Durable (cache_log.c): */
    uint64_t delete_end;         /* offset behind the last delete somebody asked for */
    uint64_t counter_end;        /* offset behind the last change of a counter */
    struct flx_cache_load *load; /* while LOADING */
    struct flx_cache_compaction *compaction;
    uint64_t
        compacted_bytes; /* of the log when it was compacted last; 0: not since it was opened */
    uint32_t reads;      /* of values that are away, on their way */
    uint32_t old_reads;  /* those begun before the last gathering for a compaction ended */
    uint32_t round;      /* gatherings that ended */
    bool is_loaded;      /* the index is whole */
} flx_cache_state;

/* changes.c */
/* The cache shard of a request, made at the first use. FLX_ERR_NOT_FOUND, FLX_ERR_NOMEM;
 * FLX_ERR_UNAVAILABLE: its log is not open yet (park the job); or why the log never will be. */
flx_status flx_cache_state_get(flx_worker *worker, const flx_cache_request *request,
                               flx_cache_state **ret_state);
/* Its log; NULL: memory is all it has, or it is gone. */
flx_durable *flx_cache_durable(flx_worker *worker, uint32_t id, uint32_t shard);
/* NULL: there is none. */
flx_cache_state *flx_cache_state_find(flx_worker *worker, uint32_t id, uint32_t shard);
flx_status flx_cache_state_new(flx_worker *worker, flx_owned *owned);
flx_cache_state *flx_cache_state_free(flx_cache_state *state);
void flx_caches_tick(flx_worker *worker);
void flx_caches_done(flx_worker *worker);

/* cache_log.c */
void flx_cache_load_begin(flx_durable *durable); /* OPEN so far; LOADING from here on */
void flx_cache_load_go(flx_durable *durable);    /* a tick: goes on */
void flx_cache_load_cancel(flx_durable *durable);
/* Keeps the answer until all below job.wait_end is as safe as an answer says; false: it is. The job is
 * served again. */
bool flx_cache_settle(flx_durable *durable, flx_job *job);
/* The same, and until readers may see it also where answers do not wait. */
bool flx_cache_settle_shown(flx_durable *durable, flx_job *job);
/* Reads the value of the put at offset `version` into job.value, or says in job.status why not; the
 * job is served again in the next tick. */
void flx_cache_fetch(flx_durable *durable, flx_job *job, uint64_t version);
/* The same for an entry of the job's batch, which flx_op_batch_fetched is given: now or later. */
void flx_cache_fetch_entry(flx_durable *durable, flx_job *job, uint32_t entry, uint64_t version);
/* The values of a page that are in the log only. Adding makes it (NULL at first), to write frames as
 * `form` does; false: no memory. */
typedef struct flx_away flx_away;
bool flx_away_add(flx_away **away, const flx_change_frames *form, uint64_t version);
flx_away *flx_away_free(flx_away *away);
/* Takes `away`: appends its events to job.value, then the job is served again. */
void flx_away_begin(flx_durable *durable, flx_away *away, flx_job *job);
/* A read that must find what was there when it began: compaction waits for it. */
uint32_t flx_cache_read_hold(flx_cache_state *state);
void flx_cache_read_release(flx_cache_state *state, uint32_t round);

/* cache_compact.c */
/* Whether what was read from `offset` on may not be every change. */
bool flx_cache_may_be_collapsed(const flx_durable *durable, uint64_t offset);
void flx_cache_compact_look(flx_durable *durable); /* a tick in which its log moved */
void flx_cache_state_stop(flx_cache_state *state); /* before its log is closed */
const char *flx_cache_compaction_word(const flx_cache_state *state); /* "idle", ... */

#endif /* FLX_BROKER_CACHE_STATE_INT_H */
