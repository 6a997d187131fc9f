/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/snapshot.c - what a cache held at an offset, read a page at a time.
 *
 * A watch that begins with what is there has a point R: the offset behind the last change before
 * it. Its snapshot is read while changes go on, at the pace of its reader, from the shard itself:
 *
 *     pages  walk the keys in the order of their hash, and pass over every entry of version >= R
 *     then   the changes from R on, out of the ring
 *
 * An entry of an older version that is met, whenever that is, is what the key held at R. One that
 * was changed since is passed over, and comes with the changes. So nothing is copied at the start
 * and nothing is missed, for as long as the ring still begins at or before R; when it does not any
 * more the watch has lagged, like any other.
 *
 * A page is made by the shard's owner and asked for as a job, here or on another worker; it is kept
 * for a while, because watches that begin together read the same ones.
 *
 * How many keys there are at R is counted before the watch is answered, in the same steps. A key
 * that changes meanwhile may go uncounted; each that was counted comes, in the snapshot or as a
 * change, so the count is never more than the events.
 */
#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/cache_state_int.h"
#include "broker/change_frames.h"
#include "broker/durable_int.h"
#include "broker/handles_int.h"
#include "broker/job_int.h"
#include "broker/lane_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/snapshot_int.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/watch_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/buffer.h"
#include "common/list.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <string.h>

#define PAGE_BYTES      (32u << 10) /* a page is full with the entry that reaches this */
#define PAGE_ENTRIES    1024
#define PAGE_KEPT_BYTES (128u << 10) /* a larger one is not kept for others */
#define EVENTS_KEPT     (1u << 20)   /* of the buffer between uses */

/* ---- events ---- */

flx_status flx_events_take(flx_worker *worker, flx_range *ret_range)
{
    const flx_slice bytes = flx_buffer_slice(&worker->events);
    flx_range range = {0};
    const bool is_kept = bytes.len == 0 || flx_scratch_copy(&worker->scratch, bytes, &range);
    flx_buffer_clear(&worker->events);
    if (worker->events.cap > EVENTS_KEPT) {
        flx_buffer_done(&worker->events);
        flx_buffer_init(&worker->events, FLX_CHANGE_FRAMES_BYTES_MAX);
    }
    if (!is_kept) {
        return FLX_ERR_NOMEM;
    }
    *ret_range = range;
    return FLX_OK;
}

/* ---- on the owner ---- */

typedef struct page_maker {
    flx_worker *worker;
    flx_slice key; /* what is asked for */
    bool is_prefix;
    uint64_t until;
    uint64_t found;
    flx_change_frames frames;
    flx_away *away; /* PAGE: values to be read from the log */
    uint64_t away_bytes;
    flx_status status;
} page_maker;

static bool page_wants(const page_maker *maker, const flx_cache_item *item)
{
    return item->version < maker->until && (maker->is_prefix || item->key.len == maker->key.len);
}

static bool page_add(void *arg, const flx_cache_item *item)
{
    page_maker *maker = arg;
    if (!page_wants(maker, item)) {
        return true;
    }
    if (item->is_away) {
        maker->away_bytes += item->key.len + item->value.len;
        if (!flx_away_add(&maker->away, &maker->frames, item->version)) {
            maker->status = FLX_ERR_NOMEM;
            return false;
        }
        return maker->worker->events.len + maker->away_bytes < PAGE_BYTES;
    }
    const flx_change put = {.kind = FLX_CHANGE_KIND_PUT,
                            .key = item->key,
                            .value = item->value,
                            .expires_at_ms = item->expires_at_ms};
    const flx_status status = flx_change_frames_add(&maker->frames, item->version, &put);
    if (status == FLX_ERR_TOO_LARGE) { /* no client could have it; a get answers the same */
        flx_stat_add(&maker->worker->stats.dropped[FLX_DROP_TOO_LARGE], 1);
        return true;
    }
    if (status != FLX_OK) {
        maker->status = status;
        return false;
    }
    return maker->worker->events.len + maker->away_bytes < PAGE_BYTES;
}

static bool page_count(void *arg, const flx_cache_item *item)
{
    page_maker *maker = arg;
    maker->found += page_wants(maker, item) ? 1 : 0;
    return true;
}

/* Walks on from job->walk. A key's own place is known; the keys of a prefix are anywhere. */
static void walk(flx_worker *worker, const flx_cache_shard *shard, const flx_job *job,
                 uint32_t limit, bool (*each)(void *arg, const flx_cache_item *item),
                 page_maker *maker, flx_cache_cursor *walk)
{
    *maker = (page_maker){.worker = worker,
                          .key = job->request.key,
                          .is_prefix = job->is_prefix,
                          .until = job->offset};
    flx_change_frames_begin(&maker->frames, &worker->events, job->form, FLX_CHANGE_BATCH_SNAPSHOT,
                            job->offset);
    flx_cache_item item;
    if (job->is_prefix) {
        (void)flx_cache_shard_list(shard, job->request.key, worker->wall_us, limit, walk, each,
                                   maker);
        return;
    }
    if (flx_cache_shard_peek(shard, job->request.key, worker->wall_us, &item)) {
        (void)each(maker, &item);
    }
    walk->is_done = true;
}

bool flx_snapshot_count(flx_worker *worker, const flx_cache_shard *shard, flx_job *job)
{
    page_maker maker;
    if (job->is_prefix && job->request.key.len == 0) { /* all there are: none has changed since R */
        flx_cache_stats stats;
        flx_cache_shard_stats(shard, &stats);
        job->found = stats.entries;
        job->walk.is_done = true;
        return true;
    }
    walk(worker, shard, job, UINT32_MAX, page_count, &maker, &job->walk);
    job->found += maker.found;
    return job->walk.is_done;
}

static flx_page *page_place(flx_worker *worker, const flx_job *job)
{
    uint64_t mix = job->id * UINT64_C(31) + job->shard;
    mix = (mix ^ job->offset) * UINT64_C(0x9e3779b97f4a7c15) + job->walk.next;
    mix = mix * UINT64_C(0x9e3779b97f4a7c15) + job->request.key.len + job->form;
    return &worker->pages[(mix ^ (mix >> 32)) % FLX_PAGES];
}

static bool page_is_of(const flx_page *page, const flx_job *job)
{
    return page->filter != NULL && page->id == job->id && page->shard == job->shard &&
           page->until == job->offset && page->from == job->walk.next &&
           page->is_prefix == job->is_prefix && page->form == job->form &&
           page->filter->len == job->request.key.len &&
           memcmp(page->filter->data, job->request.key.ptr, job->request.key.len) == 0;
}

static void page_drop(flx_page *page)
{
    flx_chunk_unref(page->filter);
    flx_chunk_unref(page->events.chunk);
    *page = (flx_page){0};
}

static void page_keep(flx_page *page, const flx_job *job, flx_cache_cursor next)
{
    page_drop(page);
    if (job->value.chunk != NULL && flx_range_len(&job->value) > PAGE_KEPT_BYTES) {
        return;
    }
    *page = (flx_page){.filter = flx_chunk_ref(job->holder),
                       .events = job->value,
                       .id = job->id,
                       .shard = job->shard,
                       .is_prefix = job->is_prefix,
                       .form = job->form,
                       .until = job->offset,
                       .from = job->walk.next,
                       .next = next};
    if (page->events.chunk != NULL) {
        flx_chunk_ref(page->events.chunk);
    }
}

/* The page is whole: it may leave when nothing it says can be lost. */
static flx_job_step page_end(flx_worker *worker, flx_job *job, flx_page *page)
{
    flx_durable *durable = flx_cache_durable(worker, job->id, job->shard);
    if (job->status == FLX_OK && durable != NULL && flx_cache_settle_shown(durable, job)) {
        return FLX_STEP_PARKED;
    }
    if (job->status == FLX_OK) {
        page_keep(page, job, job->page_next);
        job->walk = job->page_next;
    }
    return FLX_STEP_DONE;
}

flx_job_step flx_snapshot_job(flx_worker *worker, flx_job *job)
{
    const flx_cache_state *state = flx_cache_state_find(worker, job->id, job->shard);
    flx_page *page = page_place(worker, job);
    if (job->status != FLX_OK) {
        return FLX_STEP_DONE; /* its log failed, or could not be read */
    }
    if (state == NULL) {
        job->status = FLX_ERR_NOT_FOUND;
        return FLX_STEP_DONE;
    }
    if (job->step == FLX_CACHE_SERVED) {
        return page_end(worker, job, page);
    }
    if (page_is_of(page, job)) {
        job->value = page->events;
        if (job->value.chunk != NULL) {
            flx_chunk_ref(job->value.chunk);
        }
        job->walk = page->next;
        return FLX_STEP_DONE;
    }
    page_maker maker;
    job->page_next = job->walk;
    flx_buffer_clear(&worker->events);
    walk(worker, state->shard, job, PAGE_ENTRIES, page_add, &maker, &job->page_next);
    flx_change_frames_end(&maker.frames);
    const flx_status taken = flx_events_take(worker, &job->value);
    job->status = maker.status != FLX_OK ? maker.status : taken;
    job->step = FLX_CACHE_SERVED;
    job->wait_end = state->delete_end; /* what the page does not have is gone */
    if (maker.away != NULL && job->status == FLX_OK) {
        flx_away_begin(state->owned->durable, maker.away, job);
        return FLX_STEP_PARKED;
    }
    flx_away_free(maker.away);
    return page_end(worker, job, page);
}

/* ---- the reader ---- */

/* Asks for the next page; here at once, elsewhere for later. */
static void ask(flx_worker *worker, flx_sub *sub)
{
    flx_watch *watch = sub->watch;
    flx_job *job = flx_job_new(worker, FLX_JOB_PAGE);
    if (job == NULL) {
        return; /* again with the next pull */
    }
    const flx_chunk *text = watch->filter->text;
    job->sub = sub->handle;
    job->id = sub->view->id & ~FLX_CACHE_LOG;
    job->shard = sub->view->shard;
    job->holder = flx_chunk_ref(watch->filter->text);
    job->request.key = (flx_slice){text->data, text->len};
    job->is_prefix = watch->filter->is_prefix;
    job->form = sub->form.flags;
    job->offset = watch->until;
    job->walk = watch->walk;
    watch->is_asked = true;
    flx_job_send(worker, job, flx_log_owner(worker, sub->view->id, sub->view->shard));
}

void flx_snapshot_done(flx_worker *worker, flx_job *job)
{
    flx_sub *sub = flx_handles_get(&worker->handles, job->sub);
    if (sub == NULL) {
        return;
    }
    flx_watch *watch = sub->watch;
    watch->is_asked = false;
    if (job->status == FLX_OK) {
        FLX_ASSERT(!watch->has_page);
        watch->has_page = true;
        watch->page = job->value; /* changes hands */
        watch->walk = job->walk;
        job->value.chunk = NULL;
    }
    if (job->status == FLX_ERR_IO || job->status == FLX_ERR_CORRUPT) {
        flx_lane_break(sub->lane); /* what follows cannot be read: a clean end would be a lie */
        flx_sub_end(worker, sub);
        return;
    }
    /* Memory was out: asked again. The cache is gone: so is the watch, with the next catalog. */
    if (job->status != FLX_ERR_NOT_FOUND) {
        worker->link.want_pull(sub->lane->link, true);
    }
}

/* All that was there has been told. Batches say so; the count of JSON is no more than a promise. */
static flx_page_step snapshot_end(flx_worker *worker, flx_sub *sub, flx_range *ret_range)
{
    flx_watch *watch = sub->watch;
    if (sub->form.flags != FLX_FLAG_CHANGE_BATCH) {
        watch->is_snapshot = false;
        return FLX_PAGE_END;
    }
    uint8_t *to = flx_scratch_reserve(&worker->scratch, FLX_CHANGE_MARK_BYTES);
    if (to == NULL) {
        return FLX_PAGE_WAIT; /* the transport asks again */
    }
    (void)flx_change_mark_put(to, watch->until);
    *ret_range = flx_scratch_commit(&worker->scratch, FLX_CHANGE_MARK_BYTES);
    watch->is_snapshot = false;
    return FLX_PAGE_READ;
}

flx_page_step flx_snapshot_next(flx_worker *worker, flx_sub *sub, flx_range *ret_range)
{
    flx_watch *watch = sub->watch;
    if (!watch->has_page && watch->walk.is_done) {
        return snapshot_end(worker, sub, ret_range);
    }
    if (!watch->has_page && !watch->is_asked && watch->asks_left > 0) {
        watch->asks_left--;
        ask(worker, sub);
    }
    if (watch->has_page) {
        *ret_range = watch->page;
        watch->page.chunk = NULL;
        watch->has_page = false;
        return FLX_PAGE_READ;
    }
    worker->link.want_pull(sub->lane->link, false);
    if (!watch->is_asked && !flx_list_is_linked(&watch->paced)) {
        flx_list_push_back(&worker->paced_subs, &watch->paced);
    }
    return FLX_PAGE_WAIT;
}

void flx_snapshots_tick(flx_worker *worker)
{
    flx_list *node;
    while ((node = flx_list_pop_front(&worker->paced_subs)) != NULL) {
        const flx_watch *watch = FLX_LIST_OWNER(node, flx_watch, paced);
        worker->link.want_pull(watch->sub->lane->link, true);
    }
}

void flx_snapshots_done(flx_worker *worker)
{
    for (int i = 0; i < FLX_PAGES; i++) {
        page_drop(&worker->pages[i]);
    }
    flx_buffer_done(&worker->events);
}
