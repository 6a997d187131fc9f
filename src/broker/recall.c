/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/recall.c - which producers a durable shard knew before the start: they are in its log.
 *
 * It is read back once, when the first idempotent publish arrives, from the last
 * `producer_memory_bytes` of what was there when the log was opened; publishes of that form are held
 * meanwhile (README.md, rule 21). A recall that failed is begun again by a publish a second later.
 */
#include "broker/durable_int.h"
#include "broker/sealed.h"
#include "broker/shard.h"
#include "broker/worker_int.h"

#define RETRY_NS UINT64_C(1000000000)

static void recall_stop(flx_durable *durable, flx_recall_state state)
{
    durable->recall = (uint8_t)state;
    durable->recall_failed_ns = durable->worker->now_ns;
}

static flx_status recall_block(flx_durable *durable, flx_slice block)
{
    flx_shard *shard = &durable->owned->shard;
    flx_stored stored;
    while (flx_stored_next(&block, &stored)) {
        if (stored.producer_id == 0 || stored.base_offset >= durable->recall_end) {
            continue;
        }
        const flx_status status =
            flx_producers_restore(shard->producers, stored.producer_id, stored.sequence,
                                  flx_region_digest(stored.region), stored.base_offset);
        if (status != FLX_OK) {
            return status;
        }
    }
    return FLX_OK;
}

/* One block was read; true: read on. */
static bool recall_take(flx_durable *durable)
{
    flx_journal_read *read = &durable->recall_read;
    if (read->status == FLX_ERR_TOO_OLD) { /* retention was here meanwhile */
        read->offset = flx_journal_start(durable->journal);
        return true;
    }
    if (read->status != FLX_OK) {
        recall_stop(durable, FLX_RECALL_FAILED);
        return false;
    }
    if (read->range.chunk == NULL) {
        recall_stop(durable, FLX_RECALL_DONE);
        return false;
    }
    const flx_status status = recall_block(durable, flx_range_slice(&read->range));
    read->range.chunk = flx_chunk_unref(read->range.chunk);
    if (status != FLX_OK) {
        recall_stop(durable, FLX_RECALL_FAILED);
        return false;
    }
    read->offset = read->next;
    if (read->offset >= durable->recall_end) {
        recall_stop(durable, FLX_RECALL_DONE);
        return false;
    }
    return true;
}

static void recall_go(flx_durable *durable)
{
    while (flx_journal_read_begin(durable->journal, &durable->recall_read)) {
        if (!recall_take(durable)) {
            return;
        }
    }
}

/* From a completion. */
static void on_recalled(flx_journal_read *read)
{
    flx_durable *durable = read->arg;
    if (durable->state != FLX_DURABLE_CLOSING && recall_take(durable)) {
        recall_go(durable);
    } else if (read->range.chunk != NULL) {
        read->range.chunk = flx_chunk_unref(read->range.chunk);
    }
}

static void recall_begin(flx_durable *durable)
{
    flx_shard *shard = &durable->owned->shard;
    flx_journal_marks marks;
    flx_journal_get_marks(durable->journal, &marks);
    if (shard->producers == NULL && (shard->producers = flx_producers_new()) == NULL) {
        recall_stop(durable, FLX_RECALL_FAILED);
        return;
    }
    if (marks.start >= durable->recovered_end) {
        recall_stop(durable, FLX_RECALL_DONE);
        return;
    }
    uint64_t records = durable->recovered_end - marks.start;
    const uint64_t budget = durable->worker->limits.producer_memory_bytes;
    if (marks.bytes > budget) { /* about the last of them: sizes vary */
        records = (uint64_t)((double)records * ((double)budget / (double)marks.bytes)) + 1;
    }
    durable->recall = FLX_RECALL_RUNNING;
    durable->recall_end = durable->recovered_end;
    durable->recall_read = (flx_journal_read){
        .offset = records >= durable->recovered_end - marks.start
                      ? marks.start
                      : durable->recovered_end - records,
        .done = on_recalled,
        .arg = durable,
    };
    recall_go(durable);
}

bool flx_recall_is_running(flx_durable *durable)
{
    if (durable->recall == FLX_RECALL_NONE ||
        (durable->recall == FLX_RECALL_FAILED &&
         durable->worker->now_ns - durable->recall_failed_ns >= RETRY_NS)) {
        recall_begin(durable);
    }
    return durable->recall == FLX_RECALL_RUNNING;
}
