/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/backing.h - what lies between a durable shard and its readers: the log.
 *
 *     append -> shard: the offset is claimed, the frame gathered        (shard.h)
 *       seal -> pending: |  the log has it  |  waits for room in the log  |
 *               first ---+--- handed -------+---------------------------- end
 *                 | the log's mark passes the frame
 *                 v
 *               feed: what readers see                                  (feed.h)
 *
 * A frame is one batch of the log, so that replay sends what live delivery sent. The order never
 * changes: frames enter the log, and then the feed, as they were sealed.
 *
 * Pure: the journal below does no I/O of its own either. Threads: the owner's worker.
 */
#ifndef FLX_BROKER_BACKING_H
#define FLX_BROKER_BACKING_H

#include "broker/shard.h"
#include "storage/journal.h"

/* A frame nobody has seen yet. */
typedef struct flx_pending_frame {
    flx_sealed frame; /* owned */
    uint64_t producer_id;
    uint64_t sequence;
} flx_pending_frame;

typedef struct flx_backing {
    flx_shard *shard;
    flx_journal *journal;
    uint8_t kind;            /* flx_stored_kind of its batches */
    flx_pending_frame *ring; /* [number & (cap - 1)] */
    uint32_t cap;            /* power of two, 0 before the first */
    uint32_t first;          /* numbers count up and wrap: oldest frame not released */
    uint32_t handed;         /* first frame the journal has not taken */
    uint32_t end;
} flx_backing;

/*
 * Puts an opened journal (borrowed until done) below an empty shard, which goes on at its end.
 * Frames the shard seals come here from now on.
 */
void flx_backing_init(flx_backing *backing, flx_shard *shard, flx_journal *journal,
                      flx_stored_kind kind);
/* Drops what was not released; what the journal took it keeps. */
void flx_backing_done(flx_backing *backing);

/*
 * Asked before each append, so that the append and what it seals cannot fail on account of the log.
 *
 * FLX_ERR_AGAIN  too much waits for the disk, or the disk is full
 * FLX_ERR_IO     the log failed
 * FLX_ERR_NOMEM
 */
flx_status flx_backing_prepare(flx_backing *backing);

/* Hands on what waits for room in the log; true: everything is handed. */
bool flx_backing_hand(flx_backing *backing);

/* Moves what the log lets readers see into the feed; true: something moved. */
bool flx_backing_release(flx_backing *backing);

#endif /* FLX_BROKER_BACKING_H */
