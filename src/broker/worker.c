/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/worker.c - the life of a worker: connections, jobs, mails, and the end of a tick.
 *
 * A tick ends in an order that lets each step see what the one before made:
 *   mails that waited - what the disk has done - publishes a slow reader held - lanes with input or
 *   answers - cache entries expired - frames sealed, readers woken - logs written - credits and
 *   progress posted. The transport's flush pass comes after it and
 *   pulls from the readers that were woken, so what arrived in a tick leaves in it.
 */
#include "broker/admission_int.h"
#include "broker/cache.h"
#include "broker/cache_state_int.h"
#include "broker/durable_int.h"
#include "broker/handles_int.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/mail_int.h"
#include "broker/op_batch_int.h"
#include "broker/publish_int.h"
#include "broker/query_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/session_int.h"
#include "broker/snapshot_int.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/watch_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/list.h"

#include <string.h>

#define JOBS_KEPT       256
#define ARENA_BYTES_MAX (64u << 20)
#define AUTH_CLOSE_CODE 1
#define LANE_ROUNDS_MAX 8 /* a tick: the rest is done in the next */
#define SECOND_NS       UINT64_C(1000000000)

uint32_t flx_worker_owner(uint32_t id, uint32_t shard, uint32_t count)
{
    /* Shards of one stream go to different workers; streams begin at different ones. */
    uint64_t hash = id * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    return (uint32_t)(((hash >> 32) + shard) % count);
}

const char *flx_drop_name(flx_drop drop)
{
    static const char *const names[] = {
#define FLX_DROP_NAME(name, text) [FLX_DROP_##name] = (text),
        FLX_DROP_MAP(FLX_DROP_NAME)
#undef FLX_DROP_NAME
    };
    FLX_ASSERT((unsigned)drop < FLX_DROP_COUNT);
    return names[drop];
}

uint32_t flx_worker_placement(const flx_worker *worker, flx_placement_kind kind, uint32_t id,
                              uint32_t shard)
{
    const uint32_t owner = flx_worker_owner(id, shard, worker->count);
    if (kind == FLX_PLACEMENT_CACHE) {
        return flx_seats_advise(worker->seats, kind, id | FLX_SEATS_REQUESTS, 0, owner,
                                worker->count, worker->now_ns);
    }
    return flx_seats_advise(worker->seats, kind,
                            kind == FLX_PLACEMENT_WATCH ? id | FLX_CACHE_LOG : id, shard, owner,
                            worker->count, worker->now_ns);
}

/* ---- life ---- */

#define DEFAULT(field, value)                                                                      \
    do {                                                                                           \
        if (limits->field == 0) {                                                                  \
            limits->field = (value);                                                               \
        }                                                                                          \
    } while (0)

static void limits_default(flx_worker_limits *limits)
{
    DEFAULT(frame_bytes_max, 16u << 20);
    DEFAULT(preauth_frame_bytes_max, 64u << 10);
    DEFAULT(preauth_streams_max, 16);
    DEFAULT(auth_timeout_ms, 30000);
    DEFAULT(publish_window, 256);
    DEFAULT(subscriptions_max, 4096);
    DEFAULT(identity_publish_bytes, 16u << 20);
    DEFAULT(conn_publish_bytes, 64u << 20);
    DEFAULT(process_publish_bytes, 64u << 20);
    DEFAULT(tenant_burst_ms, 1000);
    DEFAULT(shard_ring_frames, 16384);
    DEFAULT(shard_ring_bytes, 64u << 20);
    DEFAULT(ring_bytes, 512u << 20);
    DEFAULT(queue_capacity_max, 4096);
    DEFAULT(block_ms, 2000);
    DEFAULT(outbox_mails, 4096);
    DEFAULT(pull_bytes, 256u << 10);
    DEFAULT(frame_events_max, 64);
    DEFAULT(frame_gather_bytes, 64u << 10);
    DEFAULT(cache_bytes, 256u << 20);
    DEFAULT(log_segment_bytes, 256u << 20);
    DEFAULT(log_pending_bytes, 64u << 20);
    DEFAULT(log_read_cache_bytes, 64u << 20);
    DEFAULT(log_opens_max, 4);
    DEFAULT(producer_memory_bytes, 64u << 20);
    DEFAULT(counter_bytes, 64u << 20);
    DEFAULT(operation_window, 1024);
}

static bool link_is_whole(const flx_link_ops *link)
{
    return link->write_take != NULL && link->finish != NULL && link->reset != NULL &&
           link->stop != NULL && link->consume != NULL && link->want_pull != NULL &&
           link->queued != NULL && link->open_uni != NULL && link->conn_close != NULL;
}

static void lists_init(flx_worker *worker)
{
    flx_list_init(&worker->peers);
    flx_list_init(&worker->silent_peers);
    flx_list_init(&worker->dirty_lanes);
    flx_list_init(&worker->stalled_lanes);
    flx_list_init(&worker->dirty_shards);
    flx_list_init(&worker->warm_shards);
    flx_list_init(&worker->held_shards);
    flx_list_init(&worker->late_shards);
    flx_list_init(&worker->warm_mirrors);
    flx_list_init(&worker->block_mirrors);
    flx_list_init(&worker->durables);
    flx_list_init(&worker->unopened_logs);
    flx_list_init(&worker->moved_logs);
    flx_list_init(&worker->staged_logs);
    flx_list_init(&worker->paced_subs);
    flx_list_init(&worker->progress_due);
}

flx_status flx_worker_new(const flx_worker_options *options, flx_worker **ret_worker,
                          flx_error *reterr)
{
    if (options->count == 0 || options->count > FLX_WORKERS_MAX ||
        options->index >= options->count || (options->count > 1 && options->post == NULL) ||
        !link_is_whole(&options->link) || options->catalog == NULL || options->verifier == NULL ||
        (options->logs != NULL && options->io == NULL)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "worker %u of %u: options are incomplete",
                        (unsigned)options->index, (unsigned)options->count);
    }
    flx_worker *worker = flx_calloc(1, sizeof *worker);
    if (worker == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory");
    }
    lists_init(worker);
    worker->index = options->index;
    worker->count = options->count;
    worker->link = options->link;
    worker->post = options->post;
    worker->post_arg = options->post_arg;
    worker->verifier = options->verifier;
    worker->seats = options->seats;
    worker->catalog = flx_catalog_ref(options->catalog);
    worker->limits = options->limits;
    worker->listener_ports = options->listener_ports;
    worker->listener_port_count = options->listener_port_count;
    worker->record_publishers = options->record_publishers;
    worker->random = options->seed ^ (UINT64_C(0x9e3779b97f4a7c15) * (options->index + 1));
    limits_default(&worker->limits);
    worker->ring_bytes_max = worker->limits.ring_bytes / worker->count;
    worker->publish_bytes_max = worker->limits.process_publish_bytes / worker->count;
    worker->logs = options->logs;
    worker->io = options->io;
    worker->log_news = options->log_news;
    worker->log_news_arg = options->log_news_arg;
    if (worker->logs != NULL) {
        const flx_status status = flx_read_cache_new(
            worker->limits.log_read_cache_bytes / worker->count, &worker->read_cache);
        if (status != FLX_OK) {
            flx_catalog_unref(worker->catalog);
            flx_free(worker);
            return flx_fail(reterr, status, "out of memory");
        }
        flx_stat_set(&worker->stats.logs_opening, 1); /* until the first tick has looked */
    }
    flx_scratch_init(&worker->scratch);
    flx_scratch_init(&worker->transit);
    flx_arena_init(&worker->arena, ARENA_BYTES_MAX);
    flx_streams_index(worker);
    *ret_worker = worker;
    return FLX_OK;
}

flx_worker *flx_worker_free(flx_worker *worker)
{
    if (worker == NULL) {
        return NULL;
    }
    FLX_ASSERT(flx_list_is_empty(&worker->peers));
    while (worker->long_jobs != NULL) {
        flx_job *job = worker->long_jobs;
        worker->long_jobs = job->next_free;
        flx_job_drop(worker, job);
    }
    flx_streams_done(worker);
    flx_operations_worker_done(worker);
    flx_caches_done(worker);
    flx_snapshots_done(worker);
    flx_durables_done(worker);
    flx_outbox_done(worker);
    while (worker->free_jobs != NULL) {
        flx_job *job = worker->free_jobs;
        worker->free_jobs = job->next_free;
        flx_free(job);
    }
    flx_handles_done(&worker->handles);
    flx_scratch_done(&worker->scratch);
    flx_scratch_done(&worker->transit);
    flx_arena_done(&worker->arena);
    flx_free(worker->buckets);
    flx_free(worker->sources);
    flx_free(worker->infos);
    flx_catalog_unref(worker->catalog);
    flx_free(worker);
    return NULL;
}

void flx_worker_clock(flx_worker *worker, uint64_t now_ns, uint64_t wall_us)
{
    worker->now_ns = now_ns > worker->now_ns ? now_ns : worker->now_ns;
    /* Times of records never go back, whatever the wall clock does. */
    worker->wall_us = wall_us > worker->wall_us ? wall_us : worker->wall_us;
}

uint64_t flx_worker_random(flx_worker *worker)
{
    /* splitmix64: unpredictability is not needed, only that ids do not meet. */
    uint64_t z = worker->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

const flx_worker_stats *flx_worker_stats_of(const flx_worker *worker)
{
    return &worker->stats;
}

/* ---- connections ---- */

flx_status flx_worker_conn_opened(flx_worker *worker, void *link_conn, const uint8_t source[16],
                                  flx_peer **ret_peer)
{
    if (worker->is_draining) {
        return FLX_ERR_UNAVAILABLE;
    }
    flx_peer *peer = flx_calloc(1, sizeof *peer);
    if (peer == NULL) {
        return FLX_ERR_NOMEM;
    }
    peer->worker = worker;
    peer->link = link_conn;
    peer->opened_ns = worker->now_ns;
    peer->next_subscription_id = 1;
    memcpy(peer->source, source, sizeof peer->source);
    flx_list_init(&peer->lanes);
    flx_list_init(&peer->waiting);
    flx_list_init(&peer->identities);
    flx_list_init(&peer->opening);
    flx_list_init(&peer->subs);
    flx_list_push_back(&worker->peers, &peer->node);
    flx_list_push_back(&worker->silent_peers, &peer->silent);
    flx_stat_add(&worker->stats.connections, 1);
    flx_stat_add(&worker->stats.connections_total, 1);
    *ret_peer = peer;
    return FLX_OK;
}

void flx_worker_conn_closed(flx_worker *worker, flx_peer *peer)
{
    while (!flx_list_is_empty(&peer->subs)) { /* those without an open stream */
        flx_sub_end(worker, FLX_LIST_OWNER(peer->subs.next, flx_sub, of_peer));
    }
    while (!flx_list_is_empty(&peer->lanes)) {
        flx_lane_free(FLX_LIST_OWNER(peer->lanes.next, flx_lane, node));
    }
    FLX_ASSERT(flx_list_is_empty(&peer->identities) && peer->subscriptions == 0);
    if (peer->is_authenticated) {
        flx_source_change(worker, peer->source, false, false);
    }
    flx_list_remove(&peer->silent);
    flx_list_remove(&peer->node);
    flx_stat_sub(&worker->stats.connections, 1);
    flx_free(peer);
}

void flx_worker_streams_available(flx_worker *worker, flx_peer *peer)
{
    flx_subs_open_waiting(worker, peer);
}

static void conn_close(flx_worker *worker, flx_peer *peer, uint64_t code, const char *reason)
{
    if (!peer->is_closing) {
        peer->is_closing = true;
        flx_list_remove(&peer->silent);
        worker->link.conn_close(peer->link, code, reason);
    }
}

static uint64_t auth_timeout_ns(const flx_worker *worker)
{
    return (uint64_t)worker->limits.auth_timeout_ms * (SECOND_NS / 1000);
}

/* Connections on which nobody authenticated in time. One from an address that has an authenticated
 * connection is a client's pool warming up: it is asked again later. */
static void close_silent(flx_worker *worker)
{
    while (worker->limits.auth_timeout_ms != UINT32_MAX &&
           !flx_list_is_empty(&worker->silent_peers)) {
        flx_peer *peer = FLX_LIST_OWNER(worker->silent_peers.next, flx_peer, silent);
        if (worker->now_ns - peer->opened_ns < auth_timeout_ns(worker)) {
            break;
        }
        flx_list_remove(&peer->silent);
        if (peer->is_authenticated) {
            continue;
        }
        if (flx_source_is_known(worker, peer->source)) {
            peer->opened_ns = worker->now_ns;
            flx_list_push_back(&worker->silent_peers, &peer->silent);
        } else {
            flx_stat_add(&worker->stats.auth_timeouts, 1);
            conn_close(worker, peer, AUTH_CLOSE_CODE, "authentication timeout");
        }
    }
}

/* ---- jobs ---- */

flx_job *flx_job_new(flx_worker *worker, flx_job_kind kind)
{
    flx_job *job = worker->free_jobs;
    if (job != NULL) {
        worker->free_jobs = job->next_free;
        worker->free_job_count--;
    } else if ((job = flx_alloc(sizeof *job)) == NULL) {
        return NULL;
    }
    memset(job, 0, sizeof *job);
    job->kind = (uint8_t)kind;
    job->from = (uint8_t)worker->index;
    return job;
}

static void job_release(flx_job *job)
{
    for (size_t i = 0; i < job->frame_count; i++) {
        if (job->frames[i].count > 0) { /* 0: it changed hands */
            flx_sealed_unref(&job->frames[i]);
        }
    }
    flx_free(job->frames);
    flx_chunk_unref(job->holder);
    flx_chunk_unref(job->value.chunk);
    flx_op_batch_free(job->batch);
    if (job->catalog != NULL) {
        flx_catalog_unref(job->catalog);
    }
}

void flx_job_drop(flx_worker *worker, flx_job *job)
{
    if (job == NULL) {
        return;
    }
    job_release(job);
    if (worker->free_job_count < JOBS_KEPT) {
        job->next_free = worker->free_jobs;
        worker->free_jobs = job;
        worker->free_job_count++;
    } else {
        flx_free(job);
    }
}

static flx_job_step job_run(flx_worker *worker, flx_job *job)
{
    switch ((flx_job_kind)job->kind) {
    case FLX_JOB_SUBSCRIBE:
        return flx_subscribe_job(worker, job) ? FLX_STEP_DONE : FLX_STEP_PARKED;
    case FLX_JOB_READ:
    case FLX_JOB_TIME:
    case FLX_JOB_HISTORY:
        return flx_query_job(worker, job) ? FLX_STEP_DONE : FLX_STEP_PARKED;
    case FLX_JOB_CACHE:
        return flx_cache_job(worker, job) ? FLX_STEP_DONE : FLX_STEP_PARKED;
    case FLX_JOB_OPERATIONS:
        return flx_operations_job(worker, job) ? FLX_STEP_DONE : FLX_STEP_PARKED;
    case FLX_JOB_WATCH:
        return flx_watch_job(worker, job);
    case FLX_JOB_PAGE:
        return flx_snapshot_job(worker, job);
    }
    FLX_UNREACHABLE();
}

void flx_job_finish(flx_worker *worker, flx_job *job)
{
    if (job->from == worker->index) {
        flx_session_job_done(worker, job);
        return;
    }
    const flx_mail answer = {.kind = FLX_MAIL_JOB_DONE, .from = (uint8_t)worker->index, .job = job};
    flx_outbox_post(worker, job->from, &answer);
}

void flx_job_again(flx_worker *worker, flx_job *job)
{
    job->next_free = NULL;
    *(worker->long_jobs != NULL ? &worker->long_job_last->next_free : &worker->long_jobs) = job;
    worker->long_job_last = job;
}

void flx_job_serve(flx_worker *worker, flx_job *job)
{
    switch (job_run(worker, job)) {
    case FLX_STEP_DONE:
        flx_job_finish(worker, job);
        return;
    case FLX_STEP_AGAIN:
        flx_job_again(worker, job);
        return;
    case FLX_STEP_PARKED:
        return;
    }
    FLX_UNREACHABLE();
}

static void run_long_jobs(flx_worker *worker)
{
    flx_job *job = worker->long_jobs;
    worker->long_jobs = NULL;
    while (job != NULL) {
        flx_job *next = job->next_free;
        flx_job_serve(worker, job);
        job = next;
    }
}

void flx_job_ready(flx_worker *worker, flx_job *job)
{
    job->next_free = NULL;
    *(worker->ready_last != NULL ? &worker->ready_last->next_free : &worker->ready_first) = job;
    worker->ready_last = job;
}

void flx_job_send(flx_worker *worker, flx_job *job, uint32_t owner)
{
    worker->jobs_out++;
    if (owner == worker->index) {
        flx_job_serve(worker, job);
        return;
    }
    const flx_mail mail = {.kind = FLX_MAIL_JOB, .from = (uint8_t)worker->index, .job = job};
    flx_outbox_post(worker, owner, &mail);
}

/* ---- mails ---- */

void flx_worker_mail(flx_worker *worker, const void *mail)
{
    flx_mail copy;
    memcpy(&copy, mail, sizeof copy);
    FLX_ASSERT(copy.from < worker->count && copy.from != worker->index);
    flx_stat_add(&worker->stats.mails_in, 1);
    switch ((flx_mail_kind)copy.kind) {
    case FLX_MAIL_PUBLISH:
        flx_publish_mail(worker, &copy);
        break;
    case FLX_MAIL_PUBLISHED:
        flx_publish_answered(worker, &copy);
        break;
    case FLX_MAIL_CREDIT:
        flx_publish_credit(worker, &copy);
        break;
    case FLX_MAIL_FRAME:
        flx_streams_frame(worker, &copy);
        break;
    case FLX_MAIL_UNWATCH:
        flx_streams_unwatch(worker, &copy);
        break;
    case FLX_MAIL_PROGRESS:
        flx_streams_progress(worker, &copy);
        break;
    case FLX_MAIL_EVICT:
        flx_streams_evict(worker, &copy);
        break;
    case FLX_MAIL_JOB:
        flx_job_serve(worker, copy.job);
        break;
    case FLX_MAIL_JOB_DONE:
        flx_session_job_done(worker, copy.job);
        break;
    case FLX_MAIL_SOURCE:
        flx_source_change(worker, copy.source, true, copy.flag != 0);
        break;
    }
}

void flx_worker_mail_discard(const void *mail)
{
    flx_mail copy;
    memcpy(&copy, mail, sizeof copy);
    if (copy.kind == FLX_MAIL_PUBLISH) {
        flx_chunk_unref(copy.publish.region.chunk);
        flx_chunk_unref(copy.publish.publisher);
    } else if (copy.kind == FLX_MAIL_FRAME) {
        flx_sealed_unref(&copy.frame.frame);
    } else if (copy.kind == FLX_MAIL_JOB || copy.kind == FLX_MAIL_JOB_DONE) {
        job_release(copy.job);
        flx_free(copy.job);
    }
}

/* ---- what the world changes ---- */

void flx_worker_set_catalog(flx_worker *worker, flx_catalog *catalog)
{
    flx_operations_post(worker); /* what a batch points to is of the catalog it refers to */
    flx_catalog *old = worker->catalog;
    worker->catalog = flx_catalog_ref(catalog);
    worker->catalog_epoch++;
    flx_streams_refresh(worker);
    flx_catalog_unref(old);
    if (worker->has_opened_logs) {
        flx_durables_open_all(worker); /* a log is made with its stream, not at a later start */
    }
}

void flx_worker_set_keys(flx_worker *worker, flx_keyset *keyset)
{
    flx_verifier_set_keys(worker->verifier, keyset);
}

void flx_worker_drain(flx_worker *worker)
{
    worker->is_draining = true;
}

bool flx_worker_is_drained(const flx_worker *worker)
{
    return worker->is_draining && worker->answers_out == 0 && worker->jobs_out == 0 &&
           worker->outbox_count == 0 && flx_list_is_empty(&worker->held_shards) &&
           flx_list_is_empty(&worker->dirty_lanes) && flx_list_is_empty(&worker->dirty_shards) &&
           flx_list_is_empty(&worker->late_shards) && worker->long_jobs == NULL;
}

void flx_worker_close_all(flx_worker *worker)
{
    FLX_LIST_EACH(node, &worker->peers)
    {
        conn_close(worker, FLX_LIST_OWNER(node, flx_peer, node), 0, "shutting down");
    }
}

/* ---- the end of a tick ---- */

void flx_worker_mark_lane(flx_worker *worker, flx_lane *lane)
{
    if (!flx_list_is_linked(&lane->dirty)) {
        flx_list_push_back(&worker->dirty_lanes, &lane->dirty);
    }
}

static void run_lanes(flx_worker *worker)
{
    for (int round = 0; round < LANE_ROUNDS_MAX && !flx_list_is_empty(&worker->dirty_lanes);
         round++) {
        flx_list now;
        flx_list_init(&now);
        flx_list_splice_back(&now, &worker->dirty_lanes);
        flx_list *node;
        while ((node = flx_list_pop_front(&now)) != NULL) {
            flx_lane_run(FLX_LIST_OWNER(node, flx_lane, dirty));
        }
    }
}

static void post_credits(flx_worker *worker)
{
    for (uint32_t to = 0; to < worker->count; to++) {
        if (worker->credit[to] > 0) {
            const flx_mail mail = {.kind = FLX_MAIL_CREDIT,
                                   .from = (uint8_t)worker->index,
                                   .value = worker->credit[to]};
            worker->credit[to] = 0;
            flx_outbox_post(worker, to, &mail);
        }
    }
}

void flx_worker_tick(flx_worker *worker)
{
    flx_outbox_flush(worker);
    flx_durables_moved(worker);
    if (worker->outbox_count == 0) {
        flx_streams_post_late(worker);
    }
    flx_publish_retry_held(worker);
    run_lanes(worker);
    run_long_jobs(worker);
    flx_caches_tick(worker);
    flx_operations_post(worker);
    flx_streams_tick(worker);
    flx_durables_write(worker);
    flx_snapshots_tick(worker);
    flx_progress_tick(worker);
    post_credits(worker);
    flx_streams_report(worker);
    close_silent(worker);
    if (worker->now_ns - worker->lag_since_ns >= SECOND_NS) {
        worker->lag_since_ns = worker->now_ns;
        flx_stat_set(&worker->stats.slowest_lag, 0);
        flx_durables_rearm(worker);
    }
}

/* About once a second; soon, when a pass left some that are due. */
static uint64_t expiry_deadline_ns(const flx_worker *worker)
{
    const uint64_t next_ms =
        worker->cache_pool == NULL ? UINT64_MAX : flx_cache_pool_next_expiry_ms(worker->cache_pool);
    if (next_ms == UINT64_MAX) {
        return FLX_WORKER_NEVER;
    }
    return worker->now_ns + (next_ms <= worker->wall_us / 1000 ? SECOND_NS / 100 : SECOND_NS);
}

uint64_t flx_worker_deadline_ns(const flx_worker *worker)
{
    if (worker->outbox_count > 0 || !flx_list_is_empty(&worker->dirty_lanes) ||
        !flx_list_is_empty(&worker->dirty_shards) || !flx_list_is_empty(&worker->late_shards) ||
        !flx_list_is_empty(&worker->paced_subs) || worker->long_jobs != NULL) {
        return 0;
    }
    uint64_t deadline = flx_durables_deadline_ns(worker);
    if (worker->limits.auth_timeout_ms != UINT32_MAX && !flx_list_is_empty(&worker->silent_peers)) {
        const flx_peer *peer = FLX_LIST_OWNER(worker->silent_peers.next, flx_peer, silent);
        const uint64_t due = peer->opened_ns + auth_timeout_ns(worker);
        deadline = due < deadline ? due : deadline;
    }
    if (!flx_list_is_empty(&worker->held_shards)) {
        const uint64_t soon = worker->now_ns + SECOND_NS / 1000;
        deadline = soon < deadline ? soon : deadline;
    }
    const uint64_t progress = flx_progress_deadline_ns(worker);
    deadline = progress < deadline ? progress : deadline;
    const uint64_t expiry = expiry_deadline_ns(worker);
    return expiry < deadline ? expiry : deadline;
}
