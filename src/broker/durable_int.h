/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/durable_int.h - the log of a shard owned here, and who waits for it (README.md, rules 18 to 22).
 *
 *     OPENING ─► (a cache: LOADING) ─► OPEN ─► BROKEN        any of them ─► CLOSING
 */
#ifndef FLX_BROKER_DURABLE_INT_H
#define FLX_BROKER_DURABLE_INT_H

#include "broker/backing.h"
#include "broker/log_name.h"
#include "broker/worker.h"
#include "common/list.h"
#include "common/wheel.h"
#include "storage/journal.h"

typedef struct flx_job flx_job;
typedef struct flx_owned flx_owned;
typedef struct flx_slot flx_slot;

/* Who waits for the end of a publish, here or on another worker. */
typedef struct flx_asker {
    uint64_t lane;
    uint32_t number; /* of the answer */
    uint32_t bytes;  /* charged until it is known */
    uint32_t count;  /* records */
    uint8_t from;    /* worker */
    bool is_acked;
} flx_asker;

/* A publish that is in the log and waits for its mark. */
typedef struct flx_waiter {
    flx_asker asker;
    uint64_t end; /* answered when the mark of the ack rule is here */
    uint64_t offset;
} flx_waiter;

typedef enum flx_durable_state {
    FLX_DURABLE_OPENING, /* publishes are held, jobs parked */
    FLX_DURABLE_LOADING, /* the same: a cache's index is being made from the log */
    FLX_DURABLE_OPEN,
    FLX_DURABLE_BROKEN, /* could not be opened, or failed; nothing is taken */
    FLX_DURABLE_CLOSING /* its shard is gone */
} flx_durable_state;

typedef enum flx_recall_state {
    FLX_RECALL_NONE,
    FLX_RECALL_RUNNING,
    FLX_RECALL_DONE,
    FLX_RECALL_FAILED
} flx_recall_state;

/* What of the worker's figures is this log's. */
typedef struct flx_durable_counts {
    uint64_t bytes;
    uint64_t records;
    uint64_t segments;
    uint64_t pending_bytes;
    uint64_t writes; /* these only rise: what a log that goes has done stays counted */
    uint64_t write_bytes;
    uint64_t syncs;
} flx_durable_counts;

/* The log of a shard owned here, and who waits for it. */
typedef struct flx_durable {
    flx_worker *worker;
    struct flx_owned *owned; /* NULL while CLOSING */
    flx_journal *journal;    /* NULL: not open */
    flx_backing backing;
    flx_journal_options options; /* as the catalog has it now */
    flx_journal_opening
        opening; /* an I/O thread's until it is done, with the options of its begin */
    flx_log_named named;
    uint8_t state;  /* flx_durable_state */
    uint8_t ack;    /* flx_ack_rule */
    uint8_t recall; /* flx_recall_state */
    bool is_cache;
    uint64_t full_since_ns;
    bool is_full;        /* as was told */
    bool is_removed;     /* CLOSING: the files go too */
    flx_status status;   /* BROKEN: why */
    flx_waiter *waiters; /* a ring, [number & (waiter_cap - 1)] */
    uint32_t waiter_cap;
    uint32_t waiter_first;
    uint32_t waiter_end;
    flx_job *parked_first; /* until it is open */
    flx_job *parked_last;
    flx_job *settling_first; /* jobs of a cache that wait for a mark, oldest first */
    flx_job *settling_last;
    flx_list node;          /* in worker.durables */
    flx_list queued;        /* in worker.unopened_logs */
    flx_list moved;         /* in worker.moved_logs */
    flx_list staged;        /* in worker.staged_logs: has something to write */
    flx_wheel_timer timer;  /* in worker.log_wheel: its journal is due */
    uint64_t recovered_end; /* offset: what is below was there when it was opened */
    uint64_t recall_end;    /* offset */
    uint64_t recall_failed_ns;
    flx_journal_read recall_read;
    flx_io_job remove_job;
    uint64_t visible_seen; /* for the histogram of commits */
    flx_durable_counts counted;
    uint64_t write_began_ns; /* 0: nothing is on its way */
} flx_durable;

/* durable.c */
flx_status flx_durable_new(flx_worker *worker, flx_owned *owned, const flx_slot *slot,
                           uint32_t shard);
/* The shard goes; the log is closed, and removed when the stream is gone too. Answers who waits. */
void flx_durable_release(flx_durable *durable, bool is_removed);
/* Opens the logs of all durable shards of the catalog that are owned here. */
void flx_durables_open_all(flx_worker *worker);
void flx_durables_moved(flx_worker *worker); /* begins a tick */
void flx_durables_write(flx_worker *worker); /* ends a tick */
uint64_t flx_durables_deadline_ns(const flx_worker *worker);
/* Once a second: an errand of a journal that ended may have set a deadline nobody was told of. */
void flx_durables_rearm(flx_worker *worker);
void flx_durables_done(flx_worker *worker);
/* Whether a publish of this form must wait for the log to open, or for the producers in it. */
bool flx_durable_holds(flx_durable *durable, uint8_t form);
/* Before an append: FLX_OK, FLX_ERR_AGAIN (no room), FLX_ERR_IO, FLX_ERR_CORRUPT, FLX_ERR_NOMEM. */
flx_status flx_durable_prepare(flx_durable *durable);
/* The same, and what the log knows of producers was read: FLX_ERR_NOMEM when it could not be. */
flx_status flx_durable_prepare_idempotent(flx_durable *durable);
/* Something was sealed, and is to be written at the end of the tick. */
void flx_durable_staged(flx_durable *durable);
/* Keeps the answer until the ack rule of the stream holds; false: it holds already. */
bool flx_durable_wait(flx_durable *durable, const flx_asker *asker, uint64_t offset);
/* The job waits for the log to open; flx_job_serve is called again then. */
void flx_durable_park(flx_durable *durable, flx_job *job);
/* Everything below it is as safe as an ack says. */
uint64_t flx_durable_ack_mark(const flx_durable *durable);
/* Has it looked at in the next tick. */
void flx_durable_moved(flx_durable *durable);
/* A cache's index is whole, or could not be made: `status`, and why. */
void flx_durable_loaded(flx_durable *durable, flx_status status, const flx_error *error);
void flx_durable_update(flx_durable *durable, const flx_slot *slot); /* a new catalog */
void flx_durable_tell(const flx_durable *durable, flx_log_news_kind kind, const flx_error *error);

/* recall.c: begins it when it is due. Of an OPEN log. */
bool flx_recall_is_running(flx_durable *durable);

/* durable_read.c: what asks the log of a shard owned here. True: the job is answered. */
bool flx_durable_job(flx_worker *worker, flx_owned *owned, flx_job *job);

#endif /* FLX_BROKER_DURABLE_INT_H */
