/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/streams.c - the shards of a worker: those it owns, and windows of those it reads.
 *
 * A shard of a cache is one too: its records are the changes (changes.c), its readers the watches.
 * Slots are an array by id, one for streams and one for caches, shards arrays within, so finding one costs two indexings however
 * many streams there are. Memory of all rings together is bounded per worker: past the bound the
 * shard that was appended to least recently gives up its oldest frame.
 */
#include "broker/cache_state_int.h"
#include "broker/durable_int.h"
#include "broker/feed.h"
#include "broker/job_int.h"
#include "broker/mail_int.h"
#include "broker/publish_int.h"
#include "broker/sealed.h"
#include "broker/shard.h"
#include "broker/streams_int.h"
#include "broker/sub_int.h"
#include "broker/view_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/list.h"

#include <string.h>

#define SLOTS_CAP_FIRST 64

static uint32_t plain_id(uint32_t id)
{
    return id & ~FLX_CACHE_LOG;
}

static flx_slots *slots_of(flx_worker *worker, uint32_t id)
{
    return (id & FLX_CACHE_LOG) != 0 ? &worker->caches : &worker->streams;
}

uint32_t flx_log_owner(const flx_worker *worker, uint32_t id, uint32_t shard)
{
    return flx_worker_owner(plain_id(id), shard, worker->count);
}

flx_slot *flx_slot_get(flx_worker *worker, uint32_t id)
{
    const flx_slots *slots = slots_of(worker, id);
    flx_slot *slot = plain_id(id) < slots->cap ? slots->at[plain_id(id)] : NULL;
    return slot != NULL && (slot->info != NULL || slot->has_cache) ? slot : NULL;
}

void flx_streams_index(flx_worker *worker)
{
    const size_t count = flx_catalog_stream_count(worker->catalog);
    uint32_t cap = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t id = flx_catalog_stream_at(worker->catalog, i)->id;
        cap = id >= cap ? id + 1 : cap;
    }
    flx_free(worker->infos);
    worker->infos = flx_calloc(cap, sizeof(void *));
    worker->info_cap = worker->infos == NULL ? 0 : cap;
    for (size_t i = 0; i < count && worker->infos != NULL; i++) {
        const flx_stream_info *info = flx_catalog_stream_at(worker->catalog, i);
        worker->infos[info->id] = info;
    }
}

static const flx_stream_info *info_by_id(const flx_worker *worker, uint32_t id)
{
    if (worker->infos != NULL) {
        return id < worker->info_cap ? worker->infos[id] : NULL;
    }
    const size_t count = flx_catalog_stream_count(worker->catalog); /* memory was out: search */
    for (size_t i = 0; i < count; i++) {
        const flx_stream_info *info = flx_catalog_stream_at(worker->catalog, i);
        if (info->id == id) {
            return info;
        }
    }
    return NULL;
}

static flx_status slots_reserve(flx_slots *slots, uint32_t id)
{
    uint32_t cap = slots->cap == 0 ? SLOTS_CAP_FIRST : slots->cap;
    while (cap <= id) {
        cap *= 2;
    }
    if (cap == slots->cap) {
        return FLX_OK;
    }
    flx_slot **at = flx_realloc(slots->at, cap * sizeof(void *));
    if (at == NULL) {
        return FLX_ERR_NOMEM;
    }
    memset(&at[slots->cap], 0, (cap - slots->cap) * sizeof(void *));
    slots->at = at;
    slots->cap = cap;
    return FLX_OK;
}

static void slot_free(flx_slot *slot)
{
    flx_free(slot->owned);
    flx_free(slot->mirrors);
    flx_free(slot->durable_cache);
    flx_free(slot);
}

/* A slot of so many shards, where there was none. */
static flx_status slot_add(flx_worker *worker, uint32_t id, uint32_t shards, flx_slot **ret_slot)
{
    flx_slots *slots = slots_of(worker, id);
    if (slots_reserve(slots, plain_id(id)) != FLX_OK) {
        return FLX_ERR_NOMEM;
    }
    flx_slot *slot = flx_calloc(1, sizeof *slot);
    if (slot == NULL) {
        return FLX_ERR_NOMEM;
    }
    slot->shard_count = shards;
    slot->owned = flx_calloc(shards, sizeof(void *));
    slot->mirrors = flx_calloc(shards, sizeof(void *));
    if (slot->owned == NULL || slot->mirrors == NULL) {
        slot_free(slot);
        return FLX_ERR_NOMEM;
    }
    FLX_ASSERT(slots->at[plain_id(id)] == NULL);
    slots->at[plain_id(id)] = slot;
    *ret_slot = slot;
    return FLX_OK;
}

/* The slot, made at its first use. Of a cache it must be there: flx_slot_open_cache. */
static flx_status slot_make(flx_worker *worker, uint32_t id, flx_slot **ret_slot)
{
    flx_slot *slot = flx_slot_get(worker, id);
    if (slot != NULL) {
        *ret_slot = slot;
        return FLX_OK;
    }
    const flx_stream_info *info = (id & FLX_CACHE_LOG) == 0 ? info_by_id(worker, id) : NULL;
    if (info == NULL) {
        return FLX_ERR_NOT_FOUND;
    }
    const flx_status status = slot_add(worker, id, info->shards, ret_slot);
    if (status == FLX_OK) {
        (*ret_slot)->info = info;
    }
    return status;
}

flx_status flx_slot_open_cache(flx_worker *worker, const flx_cache_info *info)
{
    flx_slot *slot;
    if (flx_slot_get(worker, info->id | FLX_CACHE_LOG) != NULL) {
        return FLX_OK;
    }
    flx_cache_info *copy = NULL;
    if (info->promise.durable) {
        copy = flx_alloc(sizeof *copy);
        if (copy == NULL) {
            return FLX_ERR_NOMEM;
        }
        *copy = *info;
    }
    const flx_status status = slot_add(worker, info->id | FLX_CACHE_LOG, info->shards, &slot);
    if (status != FLX_OK) {
        flx_free(copy);
        return status;
    }
    slot->has_cache = true;
    slot->durable_cache = copy;
    return FLX_OK;
}

static bool slot_is_durable(const flx_slot *slot)
{
    return slot->has_cache ? slot->durable_cache != NULL : slot->info->promise.durable;
}

static void view_init(flx_view *view, flx_feed *feed, const flx_slot *slot, uint32_t id,
                      uint32_t shard)
{
    view->feed = feed;
    view->id = id;
    view->shard = shard;
    view->policy = (uint8_t)(slot->has_cache ? FLX_SLOW_LAG : slot->info->slow_policy);
    view->is_durable = slot_is_durable(slot);
    view->capacity_min = UINT32_MAX;
    flx_list_init(&view->idle);
    flx_list_init(&view->active);
}

static void owned_free(flx_worker *worker, flx_owned *owned, bool is_removed)
{
    if (owned->durable != NULL) {
        flx_durable_release(owned->durable, is_removed);
        owned->durable = NULL;
    }
    for (flx_held *held = owned->held_first; held != NULL;) {
        flx_held *next = held->next;
        flx_publish_gone(worker, &held->mail);
        flx_free(held);
        held = next;
    }
    flx_list_remove(&owned->dirty);
    flx_list_remove(&owned->warm);
    flx_list_remove(&owned->held_node);
    flx_list_remove(&owned->late_node);
    worker->ring_bytes -= owned->ring_bytes;
    flx_view_done(&owned->view);
    flx_cache_state_free(owned->cache);
    flx_shard_done(&owned->shard);
    flx_stat_sub(&worker->stats.shards, 1);
    flx_free(owned->progress);
    flx_free(owned);
}

/* The shard and its log; NULL: memory is out. */
static flx_owned *owned_new(flx_worker *worker, const flx_slot *slot, uint32_t id, uint32_t shard)
{
    flx_owned *owned = flx_calloc(1, sizeof *owned);
    if (owned == NULL) {
        return NULL;
    }
    if (!slot->has_cache && slot->info->slow_policy == FLX_SLOW_BLOCK) {
        owned->progress = flx_calloc(worker->count, sizeof *owned->progress);
        if (owned->progress == NULL) {
            goto free_owned;
        }
    }
    const flx_shard_bounds bounds = {
        .ring_frames = worker->limits.shard_ring_frames,
        .ring_bytes = worker->limits.shard_ring_bytes,
        .gather_events = worker->limits.frame_events_max,
        .gather_bytes = worker->limits.frame_gather_bytes,
    };
    flx_shard_init(&owned->shard, &bounds);
    view_init(&owned->view, &owned->shard.feed, slot, id, shard);
    if (slot_is_durable(slot) && flx_durable_new(worker, owned, slot, shard) != FLX_OK) {
        goto done_shard;
    }
    if (slot->has_cache && owned->durable == NULL) {
        /* Versions are offsets, and go on above those of the process before, which memory lost. */
        flx_shard_begin_at(&owned->shard, worker->wall_us);
    }
    return owned;

done_shard:
    flx_shard_done(&owned->shard);
free_owned:
    flx_free(owned->progress);
    flx_free(owned);
    return NULL;
}

flx_status flx_owned_get(flx_worker *worker, uint32_t id, uint32_t shard, flx_owned **ret_owned)
{
    flx_slot *slot;
    const flx_status status = slot_make(worker, id, &slot);
    if (status != FLX_OK) {
        return status;
    }
    if (shard >= slot->shard_count) {
        return FLX_ERR_NOT_FOUND;
    }
    FLX_ASSERT(flx_log_owner(worker, id, shard) == worker->index);
    if (slot->owned[shard] == NULL) {
        slot->owned[shard] = owned_new(worker, slot, id, shard);
        if (slot->owned[shard] == NULL) {
            return FLX_ERR_NOMEM;
        }
        flx_stat_add(&worker->stats.shards, 1);
    }
    *ret_owned = slot->owned[shard];
    return FLX_OK;
}

flx_status flx_mirror_get(flx_worker *worker, uint32_t id, uint32_t shard, flx_mirror **ret_mirror)
{
    flx_slot *slot;
    const flx_status status = slot_make(worker, id, &slot);
    if (status != FLX_OK) {
        return status;
    }
    if (shard >= slot->shard_count) {
        return FLX_ERR_NOT_FOUND; /* a cache made anew, of another width */
    }
    if (slot->mirrors[shard] == NULL) {
        flx_mirror *mirror = flx_calloc(1, sizeof *mirror);
        if (mirror == NULL) {
            return FLX_ERR_NOMEM;
        }
        flx_feed_init(&mirror->feed, worker->limits.shard_ring_frames,
                      worker->limits.shard_ring_bytes);
        view_init(&mirror->view, &mirror->feed, slot, id, shard);
        if (mirror->view.policy == FLX_SLOW_BLOCK) {
            flx_list_push_back(&worker->block_mirrors, &mirror->node);
        }
        slot->mirrors[shard] = mirror;
    }
    *ret_mirror = slot->mirrors[shard];
    return FLX_OK;
}

static void mirror_free(flx_worker *worker, flx_slot *slot, uint32_t shard)
{
    flx_mirror *mirror = slot->mirrors[shard];
    FLX_ASSERT(mirror->view.count == 0 && worker->mirror_bytes >= mirror->bytes);
    worker->mirror_bytes -= mirror->bytes;
    flx_list_remove(&mirror->warm);
    flx_list_remove(&mirror->node);
    flx_view_done(&mirror->view);
    flx_feed_done(&mirror->feed);
    flx_free(mirror);
    slot->mirrors[shard] = NULL;
}

void flx_mirror_release(flx_worker *worker, uint32_t id, uint32_t shard)
{
    flx_slot *slot = slots_of(worker, id)->at[plain_id(id)];
    if (slot->mirrors[shard]->view.count > 0) {
        return;
    }
    mirror_free(worker, slot, shard);
    const flx_mail mail = {
        .kind = FLX_MAIL_UNWATCH, .from = (uint8_t)worker->index, .id = id, .shard = shard};
    flx_outbox_post(worker, flx_log_owner(worker, id, shard), &mail);
}

/* ---- frames out ---- */

static bool post_frame(flx_worker *worker, const flx_owned *owned, uint32_t to, uint64_t sequence)
{
    flx_mail mail = {.kind = FLX_MAIL_FRAME,
                     .from = (uint8_t)worker->index,
                     .id = owned->view.id,
                     .shard = owned->view.shard};
    mail.frame.sequence = sequence;
    mail.frame.frame = *flx_feed_at(&owned->shard.feed, sequence);
    flx_sealed_ref(&mail.frame.frame);
    const bool is_posted = flx_outbox_post_frame(worker, to, &mail);
    if (!is_posted) {
        flx_sealed_unref(&mail.frame.frame);
    }
    return is_posted;
}

/* Remembers that a worker misses frames from `sequence` on: the ring keeps them meanwhile. */
static void post_later(flx_worker *worker, flx_owned *owned, uint32_t to, uint64_t sequence)
{
    if (owned->late == 0 || sequence < owned->late_from) {
        owned->late_from = sequence;
    }
    owned->late |= UINT64_C(1) << to;
    if (!flx_list_is_linked(&owned->late_node)) {
        flx_list_push_back(&worker->late_shards, &owned->late_node);
    }
}

/* Frames [sequence, end) to one worker, or as many as there is room for. */
static void post_frames(flx_worker *worker, flx_owned *owned, uint32_t to, uint64_t sequence)
{
    for (; sequence < owned->shard.feed.end; sequence++) {
        if (!post_frame(worker, owned, to, sequence)) {
            post_later(worker, owned, to, sequence);
            return;
        }
    }
}

void flx_streams_post_late(flx_worker *worker)
{
    flx_list now;
    flx_list_init(&now);
    flx_list_splice_back(&now, &worker->late_shards);
    flx_list *node;
    while ((node = flx_list_pop_front(&now)) != NULL) {
        flx_owned *owned = FLX_LIST_OWNER(node, flx_owned, late_node);
        const uint64_t oldest = owned->shard.feed.first;
        const uint64_t from = owned->late_from > oldest ? owned->late_from : oldest;
        uint64_t left = owned->late & owned->watchers;
        owned->late = 0;
        for (; left != 0; left &= left - 1) {
            /* Some of it may be there already; a mirror passes over what it has. */
            post_frames(worker, owned, (uint32_t)__builtin_ctzll(left), from);
        }
    }
}

static void ring_trim(flx_worker *worker)
{
    while (worker->ring_bytes > worker->ring_bytes_max) {
        flx_owned *coldest = NULL;
        for (flx_list *node = worker->warm_shards.next; node != &worker->warm_shards;
             node = node->next) {
            flx_owned *owned = FLX_LIST_OWNER(node, flx_owned, warm);
            if (!flx_feed_is_empty(&owned->shard.feed)) {
                coldest = owned;
                break;
            }
        }
        if (coldest == NULL) {
            break;
        }
        const uint64_t bytes = flx_feed_pop(&coldest->shard.feed);
        coldest->ring_bytes -= bytes;
        worker->ring_bytes -= bytes;
        if (flx_feed_is_empty(&coldest->shard.feed)) { /* do not look at it again and again */
            flx_list_remove(&coldest->warm);
        }
    }
}

void flx_owned_announce(flx_worker *worker, flx_owned *owned)
{
    flx_feed *feed = &owned->shard.feed;
    if (owned->announced == feed->end) {
        return;
    }
    const uint64_t sequence = owned->announced > feed->first ? owned->announced : feed->first;
    for (uint64_t left = owned->watchers & ~owned->late; left != 0; left &= left - 1) {
        post_frames(worker, owned, (uint32_t)__builtin_ctzll(left), sequence);
    }
    owned->announced = feed->end;
    worker->ring_bytes += feed->bytes;
    worker->ring_bytes -= owned->ring_bytes;
    owned->ring_bytes = feed->bytes;
    flx_list_remove(&owned->warm);
    flx_list_push_back(&worker->warm_shards, &owned->warm);
    ring_trim(worker);
    flx_stat_set(&worker->stats.ring_bytes, worker->ring_bytes);
    flx_sub_wake(worker, &owned->view);
}

void flx_owned_mark(flx_worker *worker, flx_owned *owned)
{
    if (!flx_list_is_linked(&owned->dirty)) {
        flx_list_push_back(&worker->dirty_shards, &owned->dirty);
    }
}

void flx_owned_touch(flx_worker *worker, flx_owned *owned)
{
    flx_owned_announce(worker, owned); /* what the append sealed */
    if (owned->durable != NULL) {
        flx_durable_staged(owned->durable);
    }
    if (owned->shard.open_count > 0) {
        flx_owned_mark(worker, owned);
    }
}

void flx_streams_tick(flx_worker *worker)
{
    while (!flx_list_is_empty(&worker->dirty_shards)) {
        flx_owned *owned = FLX_LIST_OWNER(worker->dirty_shards.next, flx_owned, dirty);
        flx_list_remove(&owned->dirty);
        flx_shard_seal(&owned->shard);
        flx_owned_announce(worker, owned);
    }
}

/* ---- frames in ---- */

/* Frames were lost on the way: readers below `sequence` find themselves overrun. */
static void mirror_restart(flx_mirror *mirror, uint64_t sequence, uint64_t offset)
{
    while (!flx_feed_is_empty(&mirror->feed)) {
        (void)flx_feed_pop(&mirror->feed);
    }
    mirror->feed.first = sequence;
    mirror->feed.end = sequence;
    mirror->feed.next_offset = offset;
}

/* Counts what a mirror holds now. Past the bound of all mirrors the coldest give up frames; their
 * owners may have dropped them already, so they are memory of this worker's. */
static void mirror_count(flx_worker *worker, flx_mirror *mirror)
{
    worker->mirror_bytes += mirror->feed.bytes;
    worker->mirror_bytes -= mirror->bytes;
    mirror->bytes = mirror->feed.bytes;
    flx_list_remove(&mirror->warm);
    flx_list_push_back(&worker->warm_mirrors, &mirror->warm);
    while (worker->mirror_bytes > worker->ring_bytes_max) {
        flx_list *node = flx_list_first(&worker->warm_mirrors);
        flx_mirror *coldest = FLX_LIST_OWNER(node, flx_mirror, warm);
        if (flx_feed_is_empty(&coldest->feed)) {
            flx_list_remove(node);
            continue;
        }
        if (coldest == mirror && mirror->feed.end - mirror->feed.first == 1) {
            break; /* the frame its readers are about to be woken for */
        }
        const uint64_t bytes = flx_feed_pop(&coldest->feed);
        coldest->bytes -= bytes;
        worker->mirror_bytes -= bytes;
    }
}

void flx_streams_frame(flx_worker *worker, const flx_mail *mail)
{
    const flx_sealed *frame = &mail->frame.frame;
    const flx_slot *slot = flx_slot_get(worker, mail->id);
    flx_mirror *mirror =
        slot == NULL || mail->shard >= slot->shard_count ? NULL : slot->mirrors[mail->shard];
    if (mirror == NULL || !mirror->is_started) {
        flx_sealed_unref(frame); /* nobody reads it here (any more) */
        return;
    }
    if (mail->frame.sequence < mirror->feed.end) {
        flx_sealed_unref(frame); /* came with a subscribe already */
        return;
    }
    if (mail->frame.sequence != mirror->feed.end) {
        mirror_restart(mirror, mail->frame.sequence, frame->base_offset);
    }
    flx_feed_push_take(&mirror->feed, frame);
    mirror_count(worker, mirror);
    flx_sub_wake(worker, &mirror->view);
}

/* Hands the frame over: the job keeps a mark instead of a reference. */
static flx_sealed job_take(flx_job *job, size_t index)
{
    const flx_sealed frame = job->frames[index];
    job->frames[index].count = 0;
    return frame;
}

static void mirror_take(flx_mirror *mirror, flx_job *job)
{
    flx_feed *feed = &mirror->feed;
    const uint64_t first = job->first_sequence;
    if (!mirror->is_started || feed->end != job->end_sequence) {
        mirror_restart(mirror, first,
                       job->frame_count > 0 ? job->frames[0].base_offset : job->tail);
        for (size_t i = 0; i < job->frame_count; i++) {
            const flx_sealed frame = job_take(job, i);
            flx_feed_push_take(feed, &frame);
        }
        mirror->is_started = true;
        return;
    }
    while (feed->first > first) { /* history in front of what is here */
        const flx_sealed frame = job_take(job, (size_t)(feed->first - 1 - first));
        if (!flx_feed_push_front_take(feed, &frame)) {
            break; /* more than this ring may hold: the reader starts where it begins */
        }
    }
}

void flx_mirror_join(flx_worker *worker, flx_mirror *mirror, flx_job *job)
{
    const uint64_t end = mirror->feed.end;
    mirror_take(mirror, job);
    mirror_count(worker, mirror);
    if (mirror->feed.end != end) {
        flx_sub_wake(worker, &mirror->view); /* it brought frames that were late */
    }
}

/* The shard of a mail when it is owned here and exists. */
static flx_owned *owned_find(flx_worker *worker, const flx_mail *mail)
{
    const flx_slot *slot = flx_slot_get(worker, mail->id);
    return slot == NULL || mail->shard >= slot->shard_count ? NULL : slot->owned[mail->shard];
}

void flx_streams_unwatch(flx_worker *worker, const flx_mail *mail)
{
    flx_owned *owned = owned_find(worker, mail);
    if (owned != NULL) {
        owned->watchers &= ~(UINT64_C(1) << mail->from);
    }
}

void flx_streams_progress(flx_worker *worker, const flx_mail *mail)
{
    flx_owned *owned = owned_find(worker, mail);
    if (owned != NULL && owned->progress != NULL) {
        owned->progress[mail->from] = mail->value;
    }
}

void flx_streams_evict(flx_worker *worker, const flx_mail *mail)
{
    const flx_slot *slot = flx_slot_get(worker, mail->id);
    flx_mirror *mirror =
        slot == NULL || mail->shard >= slot->shard_count ? NULL : slot->mirrors[mail->shard];
    if (mirror != NULL) {
        flx_view_evict(worker, &mirror->view, mail->value);
        mirror->reported = 0; /* say where the others are */
    }
}

void flx_streams_report(flx_worker *worker)
{
    for (flx_list *node = worker->block_mirrors.next; node != &worker->block_mirrors;
         node = node->next) {
        flx_mirror *mirror = FLX_LIST_OWNER(node, flx_mirror, node);
        const uint64_t allowance = mirror->is_started ? flx_view_allowance(&mirror->view) : 0;
        if (!mirror->is_started || allowance == mirror->reported) {
            continue;
        }
        mirror->reported = allowance;
        const flx_mail mail = {.kind = FLX_MAIL_PROGRESS,
                               .from = (uint8_t)worker->index,
                               .id = mirror->view.id,
                               .shard = mirror->view.shard,
                               .value = allowance};
        flx_outbox_post(worker, flx_log_owner(worker, mail.id, mail.shard), &mail);
    }
}

/* ---- streams and caches that go ---- */

static void slot_end(flx_worker *worker, flx_slot *slot, bool is_removed)
{
    for (uint32_t shard = 0; shard < slot->shard_count; shard++) {
        if (slot->owned[shard] != NULL) {
            flx_sub_end_view(worker, &slot->owned[shard]->view);
            FLX_ASSERT(slot->owned[shard]->view.count == 0);
            owned_free(worker, slot->owned[shard], is_removed);
            slot->owned[shard] = NULL;
        }
        if (slot->mirrors[shard] != NULL) {
            flx_sub_end_view(worker, &slot->mirrors[shard]->view);
            if (slot->mirrors[shard] != NULL) {
                mirror_free(worker, slot, shard);
            }
        }
    }
}

/* What a patch may change of a stream or cache that is in use. */
static void slot_update(flx_slot *slot)
{
    for (uint32_t shard = 0; slot_is_durable(slot) && shard < slot->shard_count; shard++) {
        if (slot->owned[shard] != NULL) {
            flx_durable_update(slot->owned[shard]->durable, slot);
        }
    }
}

static void slots_forget(const flx_slots *slots)
{
    for (uint32_t id = 0; id < slots->cap; id++) {
        if (slots->at[id] != NULL) {
            slots->at[id]->info = NULL;
            slots->at[id]->has_cache = false;
        }
    }
}

/* The slot of this width, when there is one. */
static flx_slot *slot_of_width(const flx_slots *slots, uint32_t id, uint32_t shards)
{
    flx_slot *slot = id < slots->cap ? slots->at[id] : NULL;
    return slot != NULL && slot->shard_count == shards ? slot : NULL;
}

/* Ends what the catalog does not have any more; `is_removed`: and so do the logs below. */
static void slots_end(flx_worker *worker, flx_slots *slots, bool is_removed)
{
    for (uint32_t id = 0; id < slots->cap; id++) {
        flx_slot *slot = slots->at[id];
        if (slot != NULL && slot->info == NULL && !slot->has_cache) {
            slot_end(worker, slot, is_removed);
            slot_free(slot);
            slots->at[id] = NULL;
        }
    }
}

void flx_streams_refresh(flx_worker *worker)
{
    flx_streams_index(worker);
    slots_forget(&worker->streams);
    slots_forget(&worker->caches);
    const flx_catalog *catalog = worker->catalog;
    for (size_t i = 0; i < flx_catalog_stream_count(catalog); i++) {
        const flx_stream_info *info = flx_catalog_stream_at(catalog, i);
        flx_slot *slot = slot_of_width(&worker->streams, info->id, info->shards);
        if (slot != NULL) {
            slot->info = info;
            slot_update(slot);
        }
    }
    for (size_t i = 0; i < flx_catalog_cache_count(catalog); i++) {
        const flx_cache_info *info = flx_catalog_cache_at(catalog, i);
        flx_slot *slot = slot_of_width(&worker->caches, info->id, info->shards);
        if (slot != NULL) {
            slot->has_cache = true;
            if (slot->durable_cache != NULL) {
                slot->durable_cache->promise = info->promise;
            }
            slot_update(slot);
        }
    }
    slots_end(worker, &worker->streams, true);
    slots_end(worker, &worker->caches, true);
}

static void slots_done(flx_worker *worker, flx_slots *slots)
{
    slots_forget(slots);
    slots_end(worker, slots, false);
    flx_free(slots->at);
    *slots = (flx_slots){0};
}

void flx_streams_done(flx_worker *worker)
{
    slots_done(worker, &worker->streams);
    slots_done(worker, &worker->caches);
}
