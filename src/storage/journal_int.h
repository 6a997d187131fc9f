/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/journal_int.h - the inside of a journal, shared by the files that are it:
 *
 *      journal.c          life, marks, append, what happens next (the pump)
 *      journal_stage.c    batches in memory between append and write
 *      journal_write.c    writes, syncs, rolling to a new segment
 *      journal_room.c     zeros ready behind the tail, so that syncs are short
 *      journal_errand.c   changes of the state file: checkpoint, epoch, promise, retention
 *      journal_compact.c  rewriting sealed segments with holes
 *      journal_read.c     who reads, who waits, what is on its way
 *      journal_block.c    where a block lies; reading and checking it
 *      recovery.c         what opening finds on the disk
 */
#ifndef FLX_STORAGE_JOURNAL_INT_H
#define FLX_STORAGE_JOURNAL_INT_H

#include "storage/journal.h"
#include "storage/segment.h"

#include <stdatomic.h>

/* A sealed segment as its footer says. */
typedef struct flx_sealed_segment {
    uint64_t base;
    uint64_t end;
    uint64_t records;
    uint64_t time_last_us;
    uint64_t bytes; /* of the file */
    bool is_compacted;
} flx_sealed_segment;

/* The state file's content, as the disk has it. */
typedef struct flx_journal_record {
    uint64_t promised;
    uint64_t checkpoint_epoch;
    uint64_t checkpoint_end;
    uint64_t start;
    uint64_t collapsed_below;
    flx_log_epoch *epochs; /* epoch_count, room for epoch_cap */
    uint32_t epoch_count;
    uint32_t epoch_cap;
} flx_journal_record;

/* One batch between append and write. */
typedef struct flx_staged {
    uint64_t base_offset;
    uint64_t time_us;
    uint64_t epoch;
    uint64_t synced_below;
    uint32_t count;
    uint32_t bytes;
    uint32_t pieces; /* it added to the list of pieces, 0 when it was merged into the last one */
} flx_staged;

typedef struct flx_stage {
    flx_staged *batches; /* [batch_first, batch_first + batch_count) */
    size_t batch_first;
    size_t batch_count;
    size_t batch_cap;
    flx_range *pieces; /* [piece_first, ...): what the batches' bytes are, in order; owned */
    size_t piece_first;
    size_t piece_count;
    size_t piece_cap;
    flx_chunk *chunk; /* where heads and small regions are written; NULL before the first */
    uint64_t bytes;   /* of all batches */
    /* Of these, being written: the first ones. */
    size_t writing_batches;
    size_t writing_pieces;
    uint64_t writing_bytes;
} flx_stage;

typedef enum flx_errand_what {
    ERRAND_CHECKPOINT,
    ERRAND_RETAIN,
    ERRAND_EPOCH,
    ERRAND_PROMISE,
    ERRAND_COMPACT
} flx_errand_what;

/* The errand that is on its way. */
typedef struct flx_errand_job {
    flx_io_job job;
    flx_journal *journal;
    flx_journal_errand *errand; /* NULL: none is on its way */
    flx_journal_record next;    /* what the state file will say; owned while on its way */
    uint8_t *bytes;             /* encoded */
    size_t len;
    uint64_t *gone; /* bases of segments to remove when the state says so */
    size_t gone_count;
    struct flx_compaction *compaction; /* of ERRAND_COMPACT; owned */
    flx_status refusal;                /* FLX_OK: it was begun */
} flx_errand_job;

/* Zeros being written behind the tail, or cut off at the end. */
typedef struct flx_room_job {
    flx_io_job job;
    flx_journal *journal;
    bool is_out;
    bool was_opened;            /* result: what failed was not the opening */
    _Atomic bool is_waited_for; /* a write wants to go on: stop soon */
    uint64_t base;              /* of the segment */
    uint64_t from;              /* bytes into it */
    uint64_t to;
    uint64_t made; /* result: as far as it came */
} flx_room_job;

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): members stand by what they are about */
struct flx_journal {
    flx_store *store;
    flx_disk *disk;
    flx_io *io; /* NULL until attached */
    flx_read_cache *cache;
    flx_journal_events events;
    flx_journal_options options; /* defaults filled in; label is ours */
    char name[FLX_LOG_NAME_MAX + 1];
    char directory[FLX_LOG_NAME_MAX + 8]; /* "logs/NAME" */
    char *label;
    uint8_t log_id[FLX_DISK_ID_BYTES];
    uint32_t tag;
    uint64_t now_ns; /* of the last tick */
    uint64_t now_us;

    flx_journal_state state;
    flx_error error; /* of FULL and FAILED */

    uint64_t end;
    uint64_t written;
    uint64_t synced;
    uint64_t visible_given;
    uint64_t visible_floor; /* was visible under the policy before */
    uint64_t last_time_us;  /* of the newest batch appended */
    uint64_t last_sync_ns;
    uint64_t writes; /* this and the next two: since it was opened, for figures */
    uint64_t write_bytes;
    uint64_t syncs;

    flx_sealed_segment *sealed; /* rising, without gaps between */
    size_t sealed_count;
    size_t sealed_cap;
    uint64_t sealed_bytes;
    uint64_t sealed_records;
    flx_file *active;
    flx_segment_tally tally; /* of the active segment: what is written */

    flx_stage stage;

    flx_journal_record record; /* what the state file says */
    bool is_changing_epoch;    /* appends wait for it */

    flx_io_job write_job;
    struct iovec *iov;
    size_t iov_cap;
    bool is_writing; /* write_job is on its way */

    flx_room_job room;
    uint64_t room_end;     /* of the file: zeros from the tail up to here; no more than that: none */
    int64_t commit_bytes;  /* of the last writes, a moving mean */
    bool has_no_room;      /* in this segment: the disk had none for it */

    flx_io_job sync_job; /* of SYNC_PERIODIC, and at the end */
    bool is_syncing;
    uint64_t syncing_end; /* what the sync covers */

    flx_io_job roll_job;
    bool is_rolling;
    flx_segment_header roll_header;
    flx_file *roll_file; /* result */

    flx_list errands; /* waiting */
    flx_errand_job errand_job;
    flx_journal_errand checkpoint; /* its own */
    flx_journal_errand retain;

    uint64_t sync_due_ns;
    uint64_t retry_due_ns;
    uint64_t checkpoint_due_ns;
    uint64_t retain_due_ns;

    flx_list reads;     /* waiting flx_journal_read */
    flx_list fetches;   /* on their way */
    flx_list blocks;    /* kept in the cache */
    flx_list segments;  /* sealed ones that are open for reading, kept in the cache */
    bool is_cold;       /* the last look found that a block needs the disk: read ahead */
    uint32_t fetching;  /* of them */
    uint32_t searching; /* jobs of finds on their way */

    bool is_closing;
    bool in_pump;
    bool moved; /* `moved` is to be called */
    void (*closed)(void *arg, flx_journal *journal);
    void *closed_arg;
};

/* ---- journal.c ------------------------------------------------------------------------------ */

/* Decides what goes to the disk next, as far as nothing is in the way; at the end of every
 * completion. Calls `moved` and `closed`, so the journal may be gone afterwards. */
void flx_journal_pump(flx_journal *journal);
void flx_journal_fail(flx_journal *journal, const flx_error *error);
void flx_journal_is_full(flx_journal *journal, const flx_error *error);
/* Earliest of two deadlines wins. */
void flx_journal_due(uint64_t *due_ns, uint64_t at_ns);
/* The epoch batches are appended with. */
uint64_t flx_journal_epoch(const flx_journal *journal);
/* Room for one more sealed segment. FLX_ERR_NOMEM. */
flx_status flx_journal_sealed_reserve(flx_journal *journal);
/* Adds the tally as a sealed segment; room was reserved. */
void flx_journal_sealed_add(flx_journal *journal, const flx_segment_tally *tally,
                            uint64_t file_bytes, bool is_compacted);

/* ---- journal_stage.c ------------------------------------------------------------------------ */

void flx_stage_done(flx_stage *stage);
/* Encodes the batch behind what is staged. FLX_ERR_NOMEM: as before. */
flx_status flx_stage_push(flx_stage *stage, const flx_stored *stored, flx_chunk *holder);
/* Chooses what the next write takes, and fills `iov` with it. At least one batch is staged. Returns
 * the number of pieces. */
size_t flx_stage_take(flx_stage *stage, struct iovec *iov, size_t iov_cap);
/* The write is done: hands each batch to `each`, then drops them. */
void flx_stage_written(flx_stage *stage, void (*each)(void *arg, const flx_staged *batch),
                       void *arg);

/* ---- journal_write.c ------------------------------------------------------------------------ */

void flx_journal_write_start(flx_journal *journal);
void flx_journal_sync_start(flx_journal *journal);
void flx_journal_roll_start(flx_journal *journal);

/* ---- journal_room.c ------------------------------------------------------------------------- */

/* The next step of room, if one is wanted. */
void flx_journal_room_start(flx_journal *journal);
/* Whether what is staged must wait because it would reach into what is being made. */
bool flx_journal_room_holds(flx_journal *journal);
/* At the end: cuts off what was not used. False: nothing is to be done or waited for. */
bool flx_journal_room_trim(flx_journal *journal);

/* ---- journal_errand.c ----------------------------------------------------------------------- */

void flx_journal_errand_push(flx_journal *journal, flx_journal_errand *errand,
                             flx_errand_what what);
void flx_journal_errand_start(flx_journal *journal); /* the next one, if any waits */
bool flx_journal_errand_is_out(const flx_journal *journal);
void flx_journal_record_done(flx_journal_record *record);
/* Encodes a record as the state file of the log; the caller frees it. */
flx_status flx_journal_record_encode(const flx_journal *journal, const flx_journal_record *record,
                                     uint8_t **ret_bytes, size_t *ret_len);
/* Whether retention has something to take away. */
bool flx_journal_retain_wants(const flx_journal *journal);

/* ---- journal_compact.c ---------------------------------------------------------------------- */

typedef struct flx_compaction flx_compaction;

/* Chooses the segments and notes what follows in out->next. FLX_ERR_CONFLICT, FLX_ERR_NOMEM. */
flx_status flx_journal_compact_prepare(flx_journal *journal, flx_errand_job *out);
/* Writes the new segment beside the old ones. On an I/O thread. */
flx_status flx_journal_compact_rewrite(flx_compaction *compaction, flx_error *reterr);
/* Puts it in their place. On an I/O thread. */
flx_status flx_journal_compact_replace(flx_compaction *compaction, flx_error *reterr);
void flx_journal_compact_commit(flx_journal *journal, flx_errand_job *out);
flx_compaction *flx_journal_compact_free(flx_compaction *compaction);

/* ---- journal_block.c ------------------------------------------------------------------------ */

/* Where a block lies, and what reading it brought. */
typedef struct flx_span {
    const flx_journal *journal;
    uint64_t offset;  /* wanted */
    uint64_t visible; /* when it began: what is above is not served */
    uint64_t segment; /* base offset */
    bool is_sealed;   /* then the index says where it lies */
    uint64_t from;    /* positions in the file */
    uint64_t to;
    uint64_t
        block_end;    /* of a sealed one: offset the next block begins with, or the segment ends */
    flx_chunk *chunk; /* result; owned */
    uint64_t first;   /* result: offsets [first, next) */
    uint64_t next;
} flx_span;

/* Which segment `offset` is in, and where when it is the active one. */
void flx_span_init(flx_span *span, const flx_journal *journal, uint64_t offset);
/* Where in a sealed one. FLX_ERR_CORRUPT. */
flx_status flx_span_locate(flx_span *span, const flx_segment_index *index, flx_error *reterr);
/* Reads it and checks every batch. Blocking. FLX_ERR_CORRUPT, FLX_ERR_IO, FLX_ERR_NOMEM. */
flx_status flx_span_read(flx_span *span, flx_file *file, flx_error *reterr);
/* The same without the disk; false: nothing was read, or it is not whole. */
bool flx_span_read_now(flx_span *span, flx_file *file);

/* ---- journal_read.c ------------------------------------------------------------------------- */

/* Answers reads that can be answered without the disk now (closing, failure). */
void flx_journal_reads_close(flx_journal *journal);
/* Blocks between two offsets are not as they were. */
void flx_journal_blocks_drop(flx_journal *journal, uint64_t from, uint64_t to);

#endif /* FLX_STORAGE_JOURNAL_INT_H */
