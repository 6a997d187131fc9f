/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal.h - one durable log: append, group commit, marks, reading, retention.
 *
 * (It is called a journal because flx_log is what prints lines for the operator.)
 *
 *        start          synced       written      staged    end
 *          |              |            |            |        |      offsets
 *          +--- sealed ---+-- active --+--- in one write ----+ in memory, for the next write
 *
 * A journal belongs to one worker and is a state machine over an executor (storage/io.h): an append
 * takes its offset at once and only stages the batch; one vectored write takes everything that is
 * staged; completions move the marks. At most one write is on its way, so what comes meanwhile is
 * the next one and many appends share a write and a sync. README.md has the rules by number.
 *
 *      recovery   flx_journal_open          blocking; by flx_journal_opening on an I/O thread
 *      a publish  flx_journal_append        -> offset; the ack waits for a mark
 *      tick end   flx_journal_tick          writes what is staged, does what is due
 *      later      events.moved              a mark moved or the state changed: send the acks
 *      goodbye    flx_journal_close         writes and syncs the rest, checkpoint, then `closed`
 *
 * Times are given, never read: now_ns monotonic, time_us since 1970.
 *
 * Threads: the worker's, except flx_journal_open, which may run anywhere before flx_journal_attach.
 */
#ifndef FLX_STORAGE_JOURNAL_H
#define FLX_STORAGE_JOURNAL_H

#include "common/chunk.h"
#include "storage/format.h"
#include "storage/io.h"
#include "storage/store.h"

#define FLX_JOURNAL_NEVER   UINT64_MAX
#define FLX_JOURNAL_NO_ROOM UINT32_MAX

typedef struct flx_journal flx_journal;
typedef struct flx_read_cache flx_read_cache;

typedef enum flx_journal_sync {
    FLX_JOURNAL_SYNC_ON_COMMIT, /* every write is followed by fdatasync */
    FLX_JOURNAL_SYNC_PERIODIC,  /* a sync sync_period_ms after the first write it covers */
    FLX_JOURNAL_SYNC_NONE       /* when the kernel likes; still at roll, epoch and close */
} flx_journal_sync;

/* What readers may see. */
typedef enum flx_journal_visible {
    FLX_JOURNAL_VISIBLE_BY_SYNC, /* synced with ON_COMMIT, else written */
    FLX_JOURNAL_VISIBLE_WRITTEN,
    FLX_JOURNAL_VISIBLE_GIVEN /* what flx_journal_set_visible said last (replication) */
} flx_journal_visible;

/* Zero means the default written beside a field. */
typedef struct flx_journal_options {
    const char *label;       /* for people: "tenant/namespace/stream/0"; copied, when it is made */
    flx_journal_sync sync;   /* ON_COMMIT */
    uint32_t sync_period_ms; /* 250 */
    flx_journal_visible visible;
    uint64_t segment_bytes; /* 256 MiB: a segment that has as much is sealed */
    uint32_t block_bytes;   /* 256 KiB: how far apart the marks of an index are, and what a read
                                 brings; a reading reader costs about two of them */
    uint64_t
        pending_bytes_max;   /* 64 MiB staged or being written; then appends answer FLX_ERR_AGAIN */
    uint64_t retain_bytes;   /* 0: no bound. Whole sealed segments go, oldest first, */
    uint64_t retain_age_ms;  /* 0: no bound    while what is left is still above or the newest */
    uint64_t retain_records; /* 0: no bound    record of the segment is older */
    uint32_t room_bytes;     /* 1 MiB: zeros written ahead of small commits, at the most; only with
                                ON_COMMIT. FLX_JOURNAL_NO_ROOM: none */
    uint32_t checkpoint_ms;  /* 1000: how long after a sync the checkpoint follows */
} flx_journal_options;

/* What opening found and did, for the operator's log and for metrics. */
typedef struct flx_journal_report {
    bool created;
    uint32_t segments;
    uint64_t bytes;
    uint64_t start;
    uint64_t end;
    uint64_t scanned_bytes;   /* of the active segment */
    uint64_t cut_bytes;       /* a torn tail; 0: there was none */
    uint64_t cut_at;          /* offset the cut left as the end */
    uint32_t footers_rebuilt; /* of sealed segments, scanned because the footer was damaged */
    uint32_t leftovers;       /* files a crash left half made or half deleted */
    char cut_file[FLX_DISK_PATH_MAX]; /* path of the segment that was cut */
} flx_journal_report;

/*
 * Opens a log of a store, or makes it when it is not there and `may_create`. Blocking. Borrows the
 * store until freed; copies name and options. *ret_report is filled also when opening fails.
 *
 * FLX_ERR_NOT_FOUND    it is not there, and may not be made
 * FLX_ERR_CORRUPT      damaged: the end is below the checkpoint, a checksum broke below what was
 *                      synced, a segment is missing, or files of another store or log are in it.
 *                      The message says file, position and offset, and which command to run next
 * FLX_ERR_UNSUPPORTED  made by a later version
 * FLX_ERR_INVALID      no name of a log
 * FLX_ERR_IO, FLX_ERR_AGAIN (no room), FLX_ERR_NOMEM
 */
flx_status flx_journal_open(flx_store *store, const char *name, bool may_create,
                            const flx_journal_options *options, uint64_t now_us,
                            flx_journal **ret_journal, flx_journal_report *ret_report,
                            flx_error *reterr);

/* The same on an I/O thread. Lives in its owner, zeroed; set the inputs, then submit. The results are
 * there when `opened` is called, on the worker's thread. */
typedef struct flx_journal_opening {
    flx_store *store;
    const char *name; /* borrowed until opened, as are the texts of the options */
    bool may_create;
    flx_journal_options options;
    uint64_t now_us;
    void (*opened)(struct flx_journal_opening *opening);
    void *arg;
    flx_status status;    /* result, as flx_journal_open answers */
    flx_journal *journal; /* result; the caller's */
    flx_journal_report report;
    flx_error error;
    flx_io_job job;
} flx_journal_opening;

void flx_journal_open_begin(flx_journal_opening *opening, flx_io *io);

typedef enum flx_journal_state {
    FLX_JOURNAL_OPEN,
    FLX_JOURNAL_FULL, /* the disk has no room: appends answer FLX_ERR_AGAIN, reads go on, and what is
                           staged is written again every second until it fits */
    FLX_JOURNAL_FAILED, /* a write or sync failed: nothing moves any more until it is opened again */
    FLX_JOURNAL_CLOSED
} flx_journal_state;

typedef struct flx_journal_events {
    /* A mark moved or the state changed. From a completion, never from inside a call. May append and
     * tick; must not free. */
    void (*moved)(void *arg, flx_journal *journal);
    void *arg;
} flx_journal_events;

/* Other rules from now on: sync, sync_period_ms, visible, retain_*; the rest of `options` is not
 * looked at. What readers may see never gets less. */
void flx_journal_set_policy(flx_journal *journal, const flx_journal_options *options);

/* Gives an opened journal its executor; before anything below. Borrows `io`, and `cache` (NULL: reads
 * are not shared) until closed. */
void flx_journal_attach(flx_journal *journal, flx_io *io, flx_read_cache *cache,
                        const flx_journal_events *events);

/*
 * Begins the end: staged batches are written and synced, the checkpoint follows, then `closed` is
 * called once, from a completion. Reads that wait answer FLX_ERR_CLOSED. With a failed disk it
 * comes too, and the rest is lost. The journal may be freed in it.
 */
void flx_journal_close(flx_journal *journal, void (*closed)(void *arg, flx_journal *journal),
                       void *arg);
/* Closed, or never attached. NULL is fine. Always returns NULL. */
flx_journal *flx_journal_free(flx_journal *journal);

typedef struct flx_journal_batch {
    uint8_t kind;        /* flx_stored_kind */
    uint32_t count;      /* at least 1 */
    flx_slice region;    /* `count` records, checked (wire/records.h) */
    flx_chunk *holder;   /* the chunk region lies in: referenced until written. NULL: copied */
    uint64_t time_us;    /* earlier than that of the last batch counts as the same */
    flx_slice publisher; /* copied; at most FLX_STORED_PUBLISHER_MAX bytes, the rest is cut */
    uint64_t producer_id;
    uint64_t sequence;
    uint32_t producer_epoch;
    flx_slice columns[FLX_COLUMN_COUNT]; /* copied; ptr NULL: not there */
} flx_journal_batch;

/*
 * Takes the batch to the end of the log, wholly or not at all; *ret_offset: of its first record.
 * Nothing is written yet.
 *
 * FLX_ERR_AGAIN      pending_bytes_max is reached, or the disk is full (flx_journal_state_of)
 * FLX_ERR_IO         failed before (the error of then)
 * FLX_ERR_CLOSED     being closed
 * FLX_ERR_TOO_LARGE  more than FLX_STORED_BYTES_MAX
 * FLX_ERR_NOMEM
 */
flx_status flx_journal_append(flx_journal *journal, const flx_journal_batch *batch,
                              uint64_t *ret_offset, flx_error *reterr);

/* Writes what is staged, unless a write is on its way (then it follows it by itself), and does what
 * is due: periodic sync, retry on a full disk, checkpoint, retention. At the end of a tick that
 * appended, and when the deadline is over. */
void flx_journal_tick(flx_journal *journal, uint64_t now_ns, uint64_t now_us);
/* A sync of what is written is due now, whatever the rule. */
void flx_journal_sync_soon(flx_journal *journal);
/* When a tick is due at the latest; FLX_JOURNAL_NEVER: only when something is appended. */
uint64_t flx_journal_deadline_ns(const flx_journal *journal);

flx_journal_state flx_journal_state_of(const flx_journal *journal);
/* Why it is FULL or FAILED; NULL when it is neither. */
const flx_error *flx_journal_error(const flx_journal *journal);

/* Marks are offsets: everything below has that property. Each only rises. */
typedef struct flx_journal_marks {
    uint64_t start;           /* the lowest record kept */
    uint64_t synced;          /* survives a power cut */
    uint64_t written;         /* handed to the operating system: survives a crash of the process */
    uint64_t visible;         /* readers may have it */
    uint64_t end;             /* appended */
    uint64_t collapsed_below; /* compaction took records away below it: history from before is no
                                 longer every change (a watch needs a new snapshot) */
    uint64_t bytes;           /* on disk */
    uint32_t segments;
    uint64_t pending_bytes;
    uint64_t last_sync_ns; /* when the last good sync was noticed; 0: never */
    uint64_t epoch;
    uint64_t writes; /* since it was opened, as are the next two: of batches that went well */
    uint64_t write_bytes;
    uint64_t syncs; /* one that followed a write, or a periodic one */
} flx_journal_marks;

void flx_journal_get_marks(const flx_journal *journal, flx_journal_marks *ret_marks);
uint64_t flx_journal_end(const flx_journal *journal);
uint64_t flx_journal_written(const flx_journal *journal);
uint64_t flx_journal_synced(const flx_journal *journal);
uint64_t flx_journal_visible_end(const flx_journal *journal);
uint64_t flx_journal_start(const flx_journal *journal);
uint64_t flx_journal_collapsed_below(const flx_journal *journal);
const char *flx_journal_label(const flx_journal *journal);

/* With FLX_JOURNAL_VISIBLE_GIVEN: readers may see what is below `offset`, once it is written. */
void flx_journal_set_visible(flx_journal *journal, uint64_t offset);

/*
 * One read. Lives in its owner, zeroed before the first use; one at a time. It brings one block: whole
 * batches, checked, of which the first holds `offset`, or is the first behind it when compaction took
 * that away. All who read the same block get the same bytes.
 */
typedef struct flx_journal_read {
    uint64_t offset; /* wanted */
    /* Called when it was not answered at once; from a completion. May read again. */
    void (*done)(struct flx_journal_read *read);
    void *arg;
    flx_status status; /* FLX_OK, FLX_ERR_TOO_OLD, FLX_ERR_IN_FUTURE, FLX_ERR_CORRUPT, FLX_ERR_IO,
                          FLX_ERR_NOMEM, FLX_ERR_CLOSED */
    flx_range range;   /* the caller's reference when not empty; walk it with flx_stored_next */
    uint64_t next; /* read on from here. The same as `offset` at the end of what is visible (wait
                          for `moved`); behind it with an empty range where compaction took all */
    flx_error error;
    flx_list node;        /* the journal's from here on */
    flx_journal *journal; /* NULL: not waiting */
} flx_journal_read;

/* True: answered at once, `done` is not called. False: it will be, once. */
bool flx_journal_read_begin(flx_journal *journal, flx_journal_read *read);
/* `done` is not called any more. Not waiting is fine. */
void flx_journal_read_cancel(flx_journal_read *read);

/* The first batch appended at or after a time. Lives in its owner until `done`. */
typedef struct flx_journal_find {
    uint64_t time_us; /* wanted */
    void (*done)(struct flx_journal_find *find);
    void *arg;
    flx_status status; /* as of a read; FLX_ERR_AGAIN: too many at once */
    uint64_t offset;   /* result; the end of what is visible when there is none yet */
    flx_error error;
} flx_journal_find;

bool flx_journal_find_begin(flx_journal *journal, flx_journal_find *find);

/* Blocks of the journals of one worker, newest use first, at most `bytes_max` of them. FLX_ERR_NOMEM. */
flx_status flx_read_cache_new(uint64_t bytes_max, flx_read_cache **ret_cache);
/* Its journals must be closed. NULL is fine. Always returns NULL. */
flx_read_cache *flx_read_cache_free(flx_read_cache *cache);

/*
 * Allows the worker to copy as many bytes of blocks itself until the next turn, where that needs no
 * disk: what the operating system has in memory is then read without another thread. It bounds how
 * long a turn takes. 0, as at first: every block is read on an I/O thread.
 */
void flx_read_cache_begin_turn(flx_read_cache *cache, uint64_t bytes);

typedef struct flx_read_cache_stats {
    uint64_t hits;
    uint64_t misses; /* blocks read from their file */
    uint64_t now;    /* of them, by the worker itself */
    uint64_t joined; /* reads that waited for a block somebody else had asked for */
    uint64_t bytes;  /* kept now */
} flx_read_cache_stats;
void flx_read_cache_get_stats(const flx_read_cache *cache, flx_read_cache_stats *ret_stats);

/*
 * One change of the log's own state at a time, each synced before its `done`: the epoch, the promise,
 * where it starts, compaction. Lives in its owner; zeroed.
 */
typedef struct flx_journal_errand {
    void (*done)(struct flx_journal_errand *errand); /* from a completion */
    void *arg;
    flx_status status;
    flx_error error;
    flx_list node;
    flx_journal *journal;
    uint8_t what; /* the journal's from here on */
    uint64_t number;
    const uint64_t *keep;
    size_t keep_count;
} flx_journal_errand;

/* Batches from `end` on are of `epoch`, which is above every epoch before (FLX_ERR_CONFLICT
 * otherwise). Until `done` is called, appends answer FLX_ERR_AGAIN. */
void flx_journal_epoch_begin(flx_journal *journal, uint64_t epoch, flx_journal_errand *errand);
/* Never to follow a leader below `epoch` again. FLX_ERR_CONFLICT: more was promised before. */
void flx_journal_promise_begin(flx_journal *journal, uint64_t epoch, flx_journal_errand *errand);
uint64_t flx_journal_promised(const flx_journal *journal);
/* Which leader's history: fills up to `cap` entries from the newest back, returns how many there are. */
size_t flx_journal_epochs(const flx_journal *journal, flx_log_epoch *epochs, size_t cap);

/*
 * Compaction: of the sealed segments that end at or below `below`, keeps the records whose offsets are
 * in `keep` (rising; borrowed until done) and takes away the others. Offsets stay: what is left has
 * skipped_before. Readers and appends go on. FLX_ERR_CONFLICT: nothing to do there.
 */
void flx_journal_compact_begin(flx_journal *journal, uint64_t below, const uint64_t *keep,
                               size_t keep_count, flx_journal_errand *errand);
/* The end of the newest sealed segment: what compaction can reach. */
uint64_t flx_journal_sealed_end(const flx_journal *journal);

#endif /* FLX_STORAGE_JOURNAL_H */
