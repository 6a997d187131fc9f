/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/durable.c - the life of a durable shard's log, and who waits for it.
 *
 *      OPENING ──opened──► OPEN ──write or sync failed──► BROKEN
 *         └──────damaged───────────────────────────────────┘ │
 *                     the shard goes: CLOSING ◄──────────────┘
 *
 * What completes on the disk only leaves a mark (worker.moved_logs); the next tick looks at it, shows
 * frames to readers, then answers the publishes they hold. So nothing of a worker runs between two
 * ticks, and one tick's completions are handled in the order of their offsets.
 *
 * Answers wait here, in the order of their offsets, with their budgets charged: what has not reached
 * the disk counts against its publisher, which is what bounds it (README.md, rule 18).
 */
#include "broker/answers_int.h"
#include "broker/backing.h"
#include "broker/cache.h"
#include "broker/cache_state_int.h"
#include "broker/durable_int.h"
#include "broker/job_int.h"
#include "broker/mail_int.h"
#include "broker/publish_int.h"
#include "broker/shard.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/list.h"
#include "common/slice.h"
#include "common/wheel.h"

#include <stdio.h>
#include <string.h>

#define WAITERS_FIRST       16
#define CACHE_SEGMENT_BYTES (UINT64_C(2) << 20)
#define CACHE_BLOCK_BYTES   (32u << 10)
#define MS_NS               UINT64_C(1000000)
#define SEGMENT_BYTES_MIN   (UINT64_C(1) << 20)
#define WHEEL_STEPS         4096
#define READ_NOW_BYTES      (UINT64_C(1) << 20) /* a tick: some 150 us */
#define FULL_GRACE_NS       (2000 * MS_NS) /* a full disk may be cleared before publishers are told */

void flx_durable_tell(const flx_durable *durable, flx_log_news_kind kind, const flx_error *error)
{
    const flx_worker *worker = durable->worker;
    if (worker->log_news == NULL) {
        return;
    }
    const flx_log_news news = {
        .kind = kind,
        .label = durable->named.label,
        .name = durable->named.name,
        .report = &durable->opening.report,
        .error = error,
    };
    worker->log_news(worker->log_news_arg, &news);
}

/* ---- waiting publishes ---- */

static flx_waiter *waiter_at(const flx_durable *durable, uint32_t number)
{
    return &durable->waiters[number & (durable->waiter_cap - 1)];
}

static flx_status waiters_reserve(flx_durable *durable)
{
    if (durable->waiter_end - durable->waiter_first < durable->waiter_cap) {
        return FLX_OK;
    }
    const uint32_t cap = durable->waiter_cap == 0 ? WAITERS_FIRST : durable->waiter_cap * 2;
    flx_waiter *waiters = flx_alloc(cap * sizeof waiters[0]);
    if (waiters == NULL) {
        return FLX_ERR_NOMEM;
    }
    for (uint32_t number = durable->waiter_first; number != durable->waiter_end; number++) {
        waiters[number & (cap - 1)] = *waiter_at(durable, number);
    }
    flx_free(durable->waiters);
    durable->waiters = waiters;
    durable->waiter_cap = cap;
    return FLX_OK;
}

uint64_t flx_durable_ack_mark(const flx_durable *durable)
{
    switch ((flx_ack_rule)durable->ack) {
    case FLX_ACK_ACCEPTED:
        return flx_journal_end(durable->journal);
    case FLX_ACK_WRITTEN:
        return flx_journal_written(durable->journal);
    case FLX_ACK_SYNCED:
    case FLX_ACK_QUORUM: /* refused on one machine; the leader's own part of it */
        return flx_journal_synced(durable->journal);
    }
    FLX_UNREACHABLE();
}

bool flx_durable_wait(flx_durable *durable, const flx_asker *asker, uint64_t offset)
{
    /* Of a batch sent twice only the first offset is known: what came after it is waited for too. */
    const uint64_t end = durable->owned->shard.next_offset;
    if (durable->ack == FLX_ACK_ACCEPTED || flx_durable_ack_mark(durable) >= end) {
        return false;
    }
    FLX_ASSERT(durable->waiter_end - durable->waiter_first < durable->waiter_cap);
    *waiter_at(durable, durable->waiter_end++) = (flx_waiter){*asker, end, offset};
    return true;
}

static void answer_waiters(flx_durable *durable)
{
    const uint64_t mark = flx_durable_ack_mark(durable);
    while (durable->waiter_first != durable->waiter_end) {
        const flx_waiter waiter = *waiter_at(durable, durable->waiter_first);
        if (waiter.end > mark) {
            break;
        }
        durable->waiter_first++;
        const flx_outcome outcome = {.kind = FLX_ANSWER_OK, .value = waiter.offset};
        flx_publish_reply(durable->worker, &waiter.asker, &outcome);
    }
}

/* What waiting jobs wait for: of a cache that answers at once only where a watch begins is waited for. */
static uint64_t settle_mark(const flx_durable *durable)
{
    return durable->ack == FLX_ACK_ACCEPTED ? flx_journal_visible_end(durable->journal)
                                            : flx_durable_ack_mark(durable);
}

static flx_job *settling_pop(flx_durable *durable)
{
    flx_job *job = durable->settling_first;
    durable->settling_first = job->next_free;
    if (durable->settling_first == NULL) {
        durable->settling_last = NULL;
    }
    return job;
}

/* Jobs of a cache whose answers are safe, or never will be. */
static void answer_settling(flx_durable *durable)
{
    while (durable->settling_first != NULL) {
        const uint64_t end = durable->settling_first->wait_end;
        if (end > settle_mark(durable) && durable->state == FLX_DURABLE_OPEN) {
            return;
        }
        flx_job_serve(durable->worker, settling_pop(durable)); /* finds out which of both */
    }
}

/* They are not served again: what they asked for did not happen, or nobody can say. */
static void fail_settling(flx_durable *durable, flx_status status)
{
    while (durable->settling_first != NULL) {
        flx_job *job = settling_pop(durable);
        job->status = status;
        flx_job_ready(durable->worker, job);
    }
}

bool flx_cache_settle(flx_durable *durable, flx_job *job)
{
    const bool is_at_once = durable->ack == FLX_ACK_ACCEPTED && durable->state == FLX_DURABLE_OPEN;
    return !is_at_once && flx_cache_settle_shown(durable, job);
}

bool flx_cache_settle_shown(flx_durable *durable, flx_job *job)
{
    if (settle_mark(durable) >= job->wait_end) {
        return false;
    }
    if (durable->state != FLX_DURABLE_OPEN) {
        job->status = durable->status;
        return false;
    }
    job->next_free = NULL;
    *(durable->settling_last != NULL ? &durable->settling_last->next_free
                                     : &durable->settling_first) = job;
    durable->settling_last = job;
    return true;
}

static void fail_waiters(flx_durable *durable, flx_status status)
{
    fail_settling(durable, status);
    while (durable->waiter_first != durable->waiter_end) {
        const flx_waiter waiter = *waiter_at(durable, durable->waiter_first++);
        flx_publish_failed(durable->worker, &waiter.asker, status);
    }
}

/* ---- opening ---- */

static void name_log(flx_durable *durable, const flx_slot *slot, uint32_t shard)
{
    const flx_cache_info *cache = slot->durable_cache;
    const flx_stream_info *stream = slot->info;
    const flx_log_subject subject =
        cache != NULL
            ? (flx_log_subject){true, cache->id, cache->tenant, cache->namespace_, cache->name}
            : (flx_log_subject){false, stream->id, stream->tenant, stream->namespace_,
                                stream->name};
    flx_log_name(&subject, shard, &durable->named);
}

/* A stream's bounds are of the whole; each shard keeps its share. */
static uint64_t share(uint64_t bound, uint32_t shards)
{
    return bound == 0 ? 0 : bound / shards + (bound % shards != 0);
}

static flx_journal_options options_of(const flx_worker *worker, const flx_stream_info *info)
{
    flx_journal_options options = {
        .segment_bytes = worker->limits.log_segment_bytes,
        .pending_bytes_max = worker->limits.log_pending_bytes,
        .retain_bytes = share(info->retention_bytes, info->shards),
        .retain_age_ms =
            info->retention_age_s > UINT64_MAX / 1000 ? 0 : info->retention_age_s * 1000,
        .retain_records = share(info->retention_records, info->shards),
    };
    /* Only whole segments go, so a small bound needs small segments. */
    if (options.retain_bytes > 0 && options.retain_bytes / 4 < options.segment_bytes) {
        options.segment_bytes = options.retain_bytes / 4 > SEGMENT_BYTES_MIN
                                    ? options.retain_bytes / 4
                                    : SEGMENT_BYTES_MIN;
    }
    return options;
}

/* A cache keeps everything, and is rid of what is old by compaction, which takes sealed segments: small
 * ones. A value is read alone, so blocks are small too. */
static flx_journal_options options_of_cache(const flx_worker *worker)
{
    const uint64_t segment_bytes = worker->limits.log_segment_bytes;
    return (flx_journal_options){
        .segment_bytes = segment_bytes < CACHE_SEGMENT_BYTES ? segment_bytes : CACHE_SEGMENT_BYTES,
        .block_bytes = CACHE_BLOCK_BYTES,
        .pending_bytes_max = worker->limits.log_pending_bytes,
    };
}

/* What the catalog says of it now. */
static void take_policy(flx_durable *durable, const flx_slot *slot)
{
    const flx_cache_info *cache = slot->durable_cache;
    const flx_promise *promise = cache != NULL ? &cache->promise : &slot->info->promise;
    flx_journal_options *options = &durable->options;
    *options =
        cache != NULL ? options_of_cache(durable->worker) : options_of(durable->worker, slot->info);
    options->label = durable->named.label;
    options->sync = promise->fsync == FLX_FSYNC_ON_COMMIT  ? FLX_JOURNAL_SYNC_ON_COMMIT
                    : promise->fsync == FLX_FSYNC_PERIODIC ? FLX_JOURNAL_SYNC_PERIODIC
                                                           : FLX_JOURNAL_SYNC_NONE;
    options->sync_period_ms = promise->fsync_ms;
    options->visible =
        promise->ack >= FLX_ACK_SYNCED ? FLX_JOURNAL_VISIBLE_BY_SYNC : FLX_JOURNAL_VISIBLE_WRITTEN;
    durable->ack = (uint8_t)promise->ack;
}

static void durable_free(flx_durable *durable)
{
    flx_list_remove(&durable->node);
    flx_list_remove(&durable->queued);
    flx_list_remove(&durable->moved);
    flx_list_remove(&durable->staged);
    flx_wheel_cancel(&durable->worker->log_wheel, &durable->timer);
    flx_free(durable->waiters);
    flx_free(durable);
}

void flx_durable_moved(flx_durable *durable)
{
    if (durable->state != FLX_DURABLE_CLOSING && !flx_list_is_linked(&durable->moved)) {
        flx_list_push_back(&durable->worker->moved_logs, &durable->moved);
    }
}

/* From a completion. */
static void on_moved(void *arg, flx_journal *journal)
{
    (void)journal;
    flx_durable_moved(arg);
}

static void end_of_log(flx_durable *durable);
static void open_more(flx_worker *worker);

/* From a completion. */
static void on_opened(flx_journal_opening *opening)
{
    flx_durable *durable = opening->arg;
    flx_worker *worker = durable->worker;
    worker->opening_count--;
    durable->journal = opening->journal;
    open_more(worker);
    if (durable->state == FLX_DURABLE_CLOSING) { /* it was not waited for */
        flx_stat_sub(&worker->stats.logs_opening, 1);
        durable->journal = flx_journal_free(durable->journal);
        end_of_log(durable);
        return;
    }
    if (opening->status != FLX_OK) {
        flx_durable_loaded(durable, opening->status, &opening->error);
        return;
    }
    const flx_journal_events events = {on_moved, durable};
    flx_journal_attach(durable->journal, worker->io, worker->read_cache, &events);
    flx_journal_set_policy(durable->journal, &durable->options); /* a catalog came meanwhile */
    flx_backing_init(&durable->backing, &durable->owned->shard, durable->journal,
                     durable->is_cache ? FLX_STORED_CACHE : FLX_STORED_DATA);
    durable->recovered_end = flx_journal_end(durable->journal);
    durable->visible_seen = flx_journal_visible_end(durable->journal);
    flx_stat_add(&worker->stats.logs, 1);
    flx_stat_add(&worker->stats.log_cut_bytes, opening->report.cut_bytes);
    if (durable->is_cache) {
        durable->state = FLX_DURABLE_LOADING;
        flx_cache_load_begin(durable);
    } else {
        flx_durable_loaded(durable, FLX_OK, NULL);
    }
}

void flx_durable_loaded(flx_durable *durable, flx_status status, const flx_error *error)
{
    flx_worker *worker = durable->worker;
    flx_stat_sub(&worker->stats.logs_opening, 1);
    if (status == FLX_OK) {
        durable->state = FLX_DURABLE_OPEN;
        flx_durable_tell(durable, FLX_LOG_OPENED, NULL);
    } else {
        durable->state = FLX_DURABLE_BROKEN;
        durable->status = status;
        flx_stat_add(&worker->stats.logs_broken, 1);
        flx_durable_tell(durable, FLX_LOG_DAMAGED, error);
    }
    flx_durable_moved(durable); /* who waited goes on in the next tick */
}

static void open_more(flx_worker *worker)
{
    while (worker->opening_count < worker->limits.log_opens_max &&
           !flx_list_is_empty(&worker->unopened_logs)) {
        flx_durable *durable = FLX_LIST_OWNER(worker->unopened_logs.next, flx_durable, queued);
        flx_list_remove(&durable->queued);
        worker->opening_count++;
        durable->opening.now_us = worker->wall_us;
        durable->opening.options = durable->options;
        flx_journal_open_begin(&durable->opening, worker->io);
    }
}

flx_status flx_durable_new(flx_worker *worker, flx_owned *owned, const flx_slot *slot,
                           uint32_t shard)
{
    flx_durable *durable = flx_calloc(1, sizeof *durable);
    if (durable == NULL) {
        return FLX_ERR_NOMEM;
    }
    durable->worker = worker;
    durable->owned = owned;
    durable->is_cache = slot->has_cache;
    name_log(durable, slot, shard);
    flx_list_push_back(&worker->durables, &durable->node);
    owned->durable = durable;
    if (worker->logs == NULL) {
        durable->state = FLX_DURABLE_BROKEN;
        durable->status = worker->logs_status;
        return FLX_OK;
    }
    durable->opening = (flx_journal_opening){
        .store = worker->logs,
        .name = durable->named.name,
        .may_create = true,
        .opened = on_opened,
        .arg = durable,
    };
    take_policy(durable, slot);
    flx_stat_add(&worker->stats.logs_opening, 1);
    flx_list_push_back(&worker->unopened_logs, &durable->queued);
    open_more(worker);
    return FLX_OK;
}

static void open_caches(flx_worker *worker)
{
    const size_t count = flx_catalog_cache_count(worker->catalog);
    for (size_t i = 0; i < count; i++) {
        const flx_cache_info *info = flx_catalog_cache_at(worker->catalog, i);
        for (uint32_t shard = 0; info->promise.durable && shard < info->shards; shard++) {
            flx_owned *owned;
            if (flx_worker_owner(info->id, shard, worker->count) == worker->index &&
                flx_slot_open_cache(worker, info) == FLX_OK) {
                (void)flx_owned_get(worker, info->id | FLX_CACHE_LOG, shard, &owned);
            }
        }
    }
}

void flx_durables_open_all(flx_worker *worker)
{
    open_caches(worker);
    const size_t count = flx_catalog_stream_count(worker->catalog);
    for (size_t i = 0; i < count; i++) {
        const flx_stream_info *info = flx_catalog_stream_at(worker->catalog, i);
        for (uint32_t shard = 0; info->promise.durable && shard < info->shards; shard++) {
            flx_owned *owned;
            if (flx_worker_owner(info->id, shard, worker->count) == worker->index) {
                (void)flx_owned_get(worker, info->id, shard, &owned); /* or at its first use */
            }
        }
    }
}

void flx_durable_update(flx_durable *durable, const flx_slot *slot)
{
    take_policy(durable, slot);
    if (durable->journal != NULL) {
        flx_journal_set_policy(durable->journal, &durable->options);
        flx_durable_moved(durable); /* a weaker ack may hold already */
    }
}

void flx_durable_park(flx_durable *durable, flx_job *job)
{
    job->next_free = NULL;
    *(durable->parked_last != NULL ? &durable->parked_last->next_free : &durable->parked_first) =
        job;
    durable->parked_last = job;
}

/* The log is open, or never will be. */
static void serve_parked(flx_durable *durable)
{
    flx_job *job = durable->parked_first;
    durable->parked_first = NULL;
    durable->parked_last = NULL;
    while (job != NULL) {
        flx_job *next = job->next_free;
        flx_job_serve(durable->worker, job);
        job = next;
    }
}

bool flx_durable_holds(flx_durable *durable, uint8_t form)
{
    if (durable->state == FLX_DURABLE_OPENING || durable->state == FLX_DURABLE_LOADING) {
        return true;
    }
    if (durable->state != FLX_DURABLE_OPEN || form != FLX_PUBLISH_IDEMPOTENT) {
        return false;
    }
    return flx_recall_is_running(durable);
}

/* ---- appending ---- */

flx_status flx_durable_prepare(flx_durable *durable)
{
    FLX_ASSERT(durable->state != FLX_DURABLE_OPENING); /* publishes are held then */
    FLX_ASSERT(durable->state != FLX_DURABLE_LOADING);
    if (durable->state != FLX_DURABLE_OPEN) {
        return durable->status;
    }
    const flx_status status = waiters_reserve(durable);
    return status == FLX_OK ? flx_backing_prepare(&durable->backing) : status;
}

flx_status flx_durable_prepare_idempotent(flx_durable *durable)
{
    const flx_status status = flx_durable_prepare(durable);
    return status == FLX_OK && durable->recall != FLX_RECALL_DONE ? FLX_ERR_NOMEM : status;
}

void flx_durable_staged(flx_durable *durable)
{
    if (!flx_list_is_linked(&durable->staged)) {
        flx_list_push_back(&durable->worker->staged_logs, &durable->staged);
    }
}

/* ---- what moved ---- */

static void arm(flx_durable *durable)
{
    flx_wheel *wheel = &durable->worker->log_wheel;
    const uint64_t due_ns = flx_journal_deadline_ns(durable->journal);
    if (due_ns == FLX_JOURNAL_NEVER) {
        flx_wheel_cancel(wheel, &durable->timer);
    } else {
        flx_wheel_set(wheel, &durable->timer, due_ns / MS_NS + 1);
    }
}

static void stat_move(_Atomic uint64_t *stat, uint64_t *counted, uint64_t now)
{
    flx_stat_add(stat, now - *counted); /* wraps when it became less, and so does the sum */
    *counted = now;
}

/* What this log adds to the figures of the worker. */
static void count_marks(flx_durable *durable, const flx_journal_marks *marks)
{
    flx_worker_stats *stats = &durable->worker->stats;
    flx_durable_counts *counted = &durable->counted;
    stat_move(&stats->log_bytes, &counted->bytes, marks->bytes);
    stat_move(&stats->log_records, &counted->records, marks->end - marks->start);
    stat_move(&stats->log_segments, &counted->segments, marks->segments);
    stat_move(&stats->log_pending_bytes, &counted->pending_bytes, marks->pending_bytes);
}

static void look_at_marks(flx_durable *durable)
{
    flx_worker_stats *stats = &durable->worker->stats;
    flx_durable_counts *counted = &durable->counted;
    flx_journal_marks marks;
    flx_journal_get_marks(durable->journal, &marks);
    count_marks(durable, &marks);
    stat_move(&stats->log_writes, &counted->writes, marks.writes);
    stat_move(&stats->log_write_bytes, &counted->write_bytes, marks.write_bytes);
    stat_move(&stats->log_syncs, &counted->syncs, marks.syncs);
}

static void look_at_state(flx_durable *durable)
{
    flx_worker *worker = durable->worker;
    const flx_journal_state state = flx_journal_state_of(durable->journal);
    if (state == FLX_JOURNAL_FAILED && durable->state == FLX_DURABLE_LOADING) {
        flx_cache_load_cancel(durable);
        flx_durable_loaded(durable, FLX_ERR_IO, flx_journal_error(durable->journal));
    } else if (state == FLX_JOURNAL_FAILED && durable->state == FLX_DURABLE_OPEN) {
        durable->state = FLX_DURABLE_BROKEN;
        durable->status = FLX_ERR_IO;
        flx_stat_add(&worker->stats.logs_broken, 1);
        flx_stat_add(&worker->stats.log_failures, 1);
        flx_durable_tell(durable, FLX_LOG_FAILED, flx_journal_error(durable->journal));
    } else if (state == FLX_JOURNAL_FULL && !durable->is_full) {
        durable->is_full = true;
        durable->full_since_ns = worker->now_ns;
        flx_stat_add(&worker->stats.logs_full, 1);
        flx_stat_add(&worker->stats.log_full_total, 1);
        flx_durable_tell(durable, FLX_LOG_FULL, flx_journal_error(durable->journal));
    } else if (state == FLX_JOURNAL_OPEN && durable->is_full) {
        durable->is_full = false;
        flx_stat_sub(&worker->stats.logs_full, 1);
        flx_durable_tell(durable, FLX_LOG_ROOM, NULL);
    }
}

/* How long it took until readers may see what was written, from when the write began. */
static void time_commit(flx_durable *durable)
{
    const uint64_t visible = flx_journal_visible_end(durable->journal);
    if (visible == durable->visible_seen) {
        return;
    }
    flx_worker *worker = durable->worker;
    flx_histogram_add(&worker->stats.commit_time, (worker->now_ns - durable->write_began_ns) / 1000,
                      1);
    durable->visible_seen = visible;
    /* What was staged meanwhile is written now. */
    durable->write_began_ns = visible == flx_journal_end(durable->journal) ? 0 : worker->now_ns;
}

static void look(flx_durable *durable)
{
    if (durable->state == FLX_DURABLE_LOADING) {
        flx_cache_load_go(durable);
    }
    if (durable->state != FLX_DURABLE_LOADING) {
        serve_parked(durable);
    }
    if (durable->journal == NULL) {
        return;
    }
    look_at_state(durable);
    look_at_marks(durable);
    if (flx_backing_release(&durable->backing)) {
        flx_owned_announce(durable->worker, durable->owned);
    }
    time_commit(durable);
    answer_waiters(durable);
    answer_settling(durable);
    if (durable->is_cache && durable->worker->cache_pool != NULL) {
        flx_cache_pool_trim(durable->worker->cache_pool); /* more can be read back now */
        flx_cache_compact_look(durable);
    }
    if (durable->state == FLX_DURABLE_BROKEN) {
        fail_waiters(durable, durable->status);
    } else if (durable->backing.handed != durable->backing.end) {
        (void)flx_backing_hand(&durable->backing);
        flx_durable_staged(durable);
    }
    arm(durable);
}

static void finish_ready(flx_worker *worker)
{
    flx_job *job = worker->ready_first;
    worker->ready_first = NULL;
    worker->ready_last = NULL;
    while (job != NULL) {
        flx_job *next = job->next_free;
        flx_job_finish(worker, job);
        job = next;
    }
}

/* A new turn of reading begins; what the last one did is counted. */
static void turn_reads(flx_worker *worker)
{
    flx_read_cache_stats reads;
    flx_read_cache_begin_turn(worker->read_cache, READ_NOW_BYTES);
    flx_read_cache_get_stats(worker->read_cache, &reads);
    flx_stat_set(&worker->stats.log_block_fetches, reads.misses);
    flx_stat_set(&worker->stats.log_read_cache, reads.bytes);
}

void flx_durables_moved(flx_worker *worker)
{
    if (worker->logs == NULL) {
        return;
    }
    if (!worker->has_opened_logs) {
        worker->has_opened_logs = true;
        flx_stat_sub(&worker->stats.logs_opening, 1); /* stood for this look */
        flx_wheel_init(&worker->log_wheel, worker->now_ns / MS_NS);
        flx_durables_open_all(worker);
    }
    flx_list now;
    flx_list_init(&now);
    flx_list_splice_back(&now, &worker->moved_logs);
    flx_list *node;
    while ((node = flx_list_pop_front(&now)) != NULL) {
        look(FLX_LIST_OWNER(node, flx_durable, moved));
    }
    finish_ready(worker);
    turn_reads(worker);
}

static void write_log(flx_durable *durable)
{
    const flx_worker *worker = durable->worker;
    if (durable->write_began_ns == 0) {
        durable->write_began_ns = worker->now_ns;
    }
    flx_journal_tick(durable->journal, worker->now_ns, worker->wall_us);
    arm(durable);
    if (durable->is_full && worker->now_ns - durable->full_since_ns >= FULL_GRACE_NS) {
        fail_waiters(durable, FLX_ERR_AGAIN); /* it is written when there is room, or never */
    }
}

static void on_due(void *arg, flx_wheel_timer *timer)
{
    (void)arg;
    flx_durable *durable = FLX_LIST_OWNER(timer, flx_durable, timer);
    flx_durable_staged(durable); /* with those that have something to write */
}

void flx_durables_write(flx_worker *worker)
{
    if (worker->logs == NULL) {
        return;
    }
    if (worker->log_wheel.count > 0) {
        (void)flx_wheel_advance(&worker->log_wheel, worker->now_ns / MS_NS, WHEEL_STEPS, on_due,
                                NULL);
    }
    flx_list now;
    flx_list_init(&now);
    flx_list_splice_back(&now, &worker->staged_logs);
    flx_list *node;
    while ((node = flx_list_pop_front(&now)) != NULL) {
        flx_durable *durable = FLX_LIST_OWNER(node, flx_durable, staged);
        if (durable->journal != NULL && durable->state != FLX_DURABLE_CLOSING) {
            write_log(durable);
        }
    }
}

uint64_t flx_durables_deadline_ns(const flx_worker *worker)
{
    if (worker->logs == NULL) {
        return FLX_WORKER_NEVER;
    }
    if (!worker->has_opened_logs || !flx_list_is_empty(&worker->moved_logs) ||
        !flx_list_is_empty(&worker->staged_logs) || worker->ready_first != NULL) {
        return 0;
    }
    return worker->log_wheel.count == 0 ? FLX_WORKER_NEVER
                                        : flx_wheel_next_ms(&worker->log_wheel) * MS_NS;
}

void flx_durables_rearm(flx_worker *worker)
{
    FLX_LIST_EACH(node, &worker->durables)
    {
        flx_durable *durable = FLX_LIST_OWNER(node, flx_durable, node);
        if (durable->journal != NULL && durable->state != FLX_DURABLE_CLOSING) {
            look_at_marks(durable);
            arm(durable);
        }
    }
}

/* ---- the end ---- */

static void run_remove(flx_io_job *job)
{
    flx_durable *durable = FLX_LIST_OWNER(job, flx_durable, remove_job);
    job->status = flx_store_remove(durable->worker->logs, durable->named.name, &job->error);
}

static void on_removed(flx_io_job *job)
{
    flx_durable *durable = FLX_LIST_OWNER(job, flx_durable, remove_job);
    if (job->status == FLX_OK) {
        flx_durable_tell(durable, FLX_LOG_REMOVED, NULL);
    } else if (job->status != FLX_ERR_NOT_FOUND) {
        flx_durable_tell(durable, FLX_LOG_LEFT, &job->error);
    }
    durable_free(durable);
}

/* Nothing of it is open any more. */
static void end_of_log(flx_durable *durable)
{
    if (!durable->is_removed || durable->worker->logs == NULL) {
        durable_free(durable);
        return;
    }
    durable->remove_job = (flx_io_job){.kind = FLX_IO_CALL, .run = run_remove, .done = on_removed};
    flx_io_submit(durable->worker->io, &durable->remove_job);
}

static void on_closed(void *arg, flx_journal *journal)
{
    flx_durable *durable = arg;
    durable->journal = flx_journal_free(journal);
    end_of_log(durable);
}

static void drop_parked(flx_durable *durable)
{
    for (flx_job *job = durable->parked_first; job != NULL;) {
        flx_job *next = job->next_free;
        if (job->kind == FLX_JOB_OPERATIONS) { /* it may have others for shards that are there */
            flx_job_again(durable->worker, job);
        } else {
            job->status = FLX_ERR_NOT_FOUND;
            flx_job_ready(durable->worker, job);
        }
        job = next;
    }
    durable->parked_first = NULL;
    durable->parked_last = NULL;
}

void flx_durable_release(flx_durable *durable, bool is_removed)
{
    flx_worker *worker = durable->worker;
    const bool is_opening =
        durable->state == FLX_DURABLE_OPENING && !flx_list_is_linked(&durable->queued);
    if (flx_list_is_linked(&durable->queued)) {
        flx_list_remove(&durable->queued);
        flx_stat_sub(&worker->stats.logs_opening, 1);
    }
    if (durable->state == FLX_DURABLE_LOADING) {
        flx_cache_load_cancel(durable);
        flx_stat_sub(&worker->stats.logs_opening, 1);
    }
    if (durable->owned->cache != NULL) {
        flx_cache_state_stop(durable->owned->cache);
    }
    if (durable->state == FLX_DURABLE_OPEN && !is_removed) { /* what was accepted is written */
        flx_shard_seal(&durable->owned->shard);
        (void)flx_backing_hand(&durable->backing);
    }
    if (durable->state == FLX_DURABLE_BROKEN && worker->logs != NULL) {
        flx_stat_sub(&worker->stats.logs_broken, 1);
    }
    if (durable->is_full) {
        flx_stat_sub(&worker->stats.logs_full, 1);
    }
    durable->state = FLX_DURABLE_CLOSING;
    durable->is_removed = is_removed;
    durable->owned = NULL;
    flx_list_remove(&durable->moved);
    flx_list_remove(&durable->staged);
    flx_wheel_cancel(&worker->log_wheel, &durable->timer);
    fail_waiters(durable, FLX_ERR_NOT_FOUND);
    drop_parked(durable);
    flx_backing_done(&durable->backing);
    if (durable->journal != NULL) {
        flx_stat_sub(&worker->stats.logs, 1);
        count_marks(durable, &(flx_journal_marks){0});
        flx_journal_read_cancel(&durable->recall_read);
        flx_journal_close(durable->journal, on_closed, durable);
    } else if (!is_opening) {
        end_of_log(durable);
    }
}

void flx_durables_done(flx_worker *worker)
{
    if (worker->io != NULL) {
        flx_io_drain(worker->io);
    }
    FLX_ASSERT(flx_list_is_empty(&worker->durables));
    for (flx_job *job = worker->ready_first; job != NULL;) {
        flx_job *next = job->next_free;
        flx_job_drop(worker, job);
        job = next;
    }
    worker->ready_first = NULL;
    worker->ready_last = NULL;
    for (flx_job *job = worker->long_jobs; job != NULL;) { /* whose reads ended last of all */
        flx_job *next = job->next_free;
        flx_job_drop(worker, job);
        job = next;
    }
    worker->long_jobs = NULL;
    worker->read_cache = flx_read_cache_free(worker->read_cache);
}
