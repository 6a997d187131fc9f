/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/changes.c - cache shards above the log of their changes.
 *
 *     cache_put, counter_add, expiry, eviction
 *        │
 *        ▼
 *     flx_cache_shard, flx_counters ── flx_change_log ──► flx_owned: the shard whose records they are
 *                                      reserve, append     ring, mirrors, readers, as a stream's
 *
 * This is the only place that knows both sides. A cache that nobody ever watched keeps no records:
 * its changes only count offsets, which are the versions. From the first watch on the ring keeps
 * them, also while nobody watches, so that a watch can be taken up again where it was.
 *
 * In memory the first offset of a shard is the time it was made at, in microseconds, so that what a
 * client remembers of a process that is gone, versions and offsets, is always older than anything
 * that is here.
 */
#include "broker/cache.h"
#include "broker/cache_request_int.h"
#include "broker/cache_state_int.h"
#include "broker/counter.h"
#include "broker/durable_int.h"
#include "broker/shard.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/slice.h"

#include <string.h>

#define EXPIRE_STEPS 1024 /* a tick */

/* ---- the log below ---- */

static flx_status changes_reserve(void *arg, size_t key_len, size_t value_len)
{
    const flx_cache_state *state = arg;
    flx_durable *durable = state->owned->durable;
    if (durable != NULL) {
        const flx_status status =
            state->is_loaded ? flx_durable_prepare(durable) : FLX_ERR_UNAVAILABLE;
        if (status != FLX_OK) {
            return status;
        }
    } else if (!state->owned->is_kept) {
        return FLX_OK;
    }
    return flx_shard_reserve(&state->owned->shard, FLX_CHANGE_HEAD_BYTES + key_len + value_len);
}

static uint64_t changes_append(void *arg, const flx_change *change)
{
    flx_cache_state *state = arg;
    flx_owned *owned = state->owned;
    if (owned->durable == NULL && !owned->is_kept) {
        return flx_shard_pass(&owned->shard);
    }
    uint64_t offset;
    uint8_t *to =
        flx_shard_place(&owned->shard, flx_change_bytes(change), state->worker->wall_us, &offset);
    (void)flx_change_write(to, change);
    flx_owned_mark(state->worker, owned);
    if (owned->durable != NULL) {
        flx_durable_staged(owned->durable);
        if (change->kind == FLX_CHANGE_KIND_COUNTER) {
            state->counter_end = offset + 1;
        } else if (change->kind == FLX_CHANGE_KIND_DELETE && change->cause == FLX_CHANGE_ASKED) {
            state->delete_end = offset + 1;
        }
    }
    return offset;
}

static uint64_t changes_kept_end(void *arg)
{
    const flx_cache_state *state = arg;
    return flx_journal_visible_end(state->owned->durable->journal);
}

/* ---- shards ---- */

/* Whether the cache is (still, or already) there: a request of a worker that has not heard of a
 * deletion must not bring the cache back. */
static bool cache_is_there(const flx_worker *worker, const flx_cache_request *request)
{
    const flx_cache_info *info = request->info;
    const flx_catalog *catalog = worker->catalog;
    if (request->catalog == catalog ||
        flx_catalog_version(request->catalog) > flx_catalog_version(catalog)) {
        return true;
    }
    const flx_cache_info *here =
        flx_catalog_cache(catalog, flx_slice_of(info->tenant), flx_slice_of(info->namespace_),
                          flx_slice_of(info->name));
    return here != NULL && here->id == info->id;
}

static flx_status pool_get(flx_worker *worker)
{
    if (worker->cache_pool != NULL) {
        return FLX_OK;
    }
    const flx_cache_options options = {.bytes_max = worker->limits.cache_bytes / worker->count};
    worker->counters.bytes_max = worker->limits.counter_bytes / worker->count;
    return flx_cache_pool_new(&options, worker->wall_us, &worker->cache_pool, NULL);
}

flx_status flx_cache_state_new(flx_worker *worker, flx_owned *owned)
{
    flx_cache_state *state = flx_calloc(1, sizeof *state);
    if (state == NULL || pool_get(worker) != FLX_OK) {
        flx_free(state);
        return FLX_ERR_NOMEM;
    }
    const flx_change_log log = {.reserve = changes_reserve,
                                .append = changes_append,
                                .arg = state,
                                .kept_end = owned->durable == NULL ? NULL : changes_kept_end};
    state->worker = worker;
    state->owned = owned;
    if (flx_cache_shard_new(worker->cache_pool, &log, &state->shard, NULL) != FLX_OK) {
        flx_free(state);
        return FLX_ERR_NOMEM;
    }
    flx_counters_init(&state->counters, &worker->counters, &log);
    owned->cache = state;
    return FLX_OK;
}

flx_status flx_cache_state_get(flx_worker *worker, const flx_cache_request *request,
                               flx_cache_state **ret_state)
{
    flx_owned *owned = NULL;
    flx_status status = FLX_OK;
    const uint32_t id = request->info->id | FLX_CACHE_LOG;
    if (flx_slot_get(worker, id) == NULL) {
        status = cache_is_there(worker, request) ? flx_slot_open_cache(worker, request->info)
                                                 : FLX_ERR_NOT_FOUND;
    }
    if (status == FLX_OK) {
        status = flx_owned_get(worker, id, request->shard, &owned);
    }
    if (status == FLX_OK && owned->cache == NULL && owned->durable == NULL) {
        status = flx_cache_state_new(worker, owned);
    }
    if (status == FLX_OK && owned->durable != NULL &&
        (owned->cache == NULL || !owned->cache->is_loaded)) {
        status = owned->durable->state == FLX_DURABLE_BROKEN ? owned->durable->status
                                                             : FLX_ERR_UNAVAILABLE;
    }
    if (status == FLX_OK) {
        *ret_state = owned->cache;
    }
    return status;
}

flx_cache_state *flx_cache_state_find(flx_worker *worker, uint32_t id, uint32_t shard)
{
    const flx_slot *slot = flx_slot_get(worker, id | FLX_CACHE_LOG);
    const flx_owned *owned = slot == NULL || shard >= slot->shard_count ? NULL : slot->owned[shard];
    return owned == NULL ? NULL : owned->cache;
}

flx_durable *flx_cache_durable(flx_worker *worker, uint32_t id, uint32_t shard)
{
    const flx_slot *slot = flx_slot_get(worker, id | FLX_CACHE_LOG);
    const flx_owned *owned = slot == NULL || shard >= slot->shard_count ? NULL : slot->owned[shard];
    return owned == NULL ? NULL : owned->durable;
}

flx_cache_state *flx_cache_state_free(flx_cache_state *state)
{
    if (state != NULL) {
        flx_counters_done(&state->counters);
        flx_cache_shard_free(state->shard);
        flx_free(state);
    }
    return NULL;
}

void flx_caches_tick(flx_worker *worker)
{
    if (worker->cache_pool == NULL) {
        return;
    }
    if (flx_cache_pool_next_expiry_ms(worker->cache_pool) <= worker->wall_us / 1000) {
        (void)flx_cache_pool_expire(worker->cache_pool, worker->wall_us, EXPIRE_STEPS);
    }
    flx_cache_stats stats;
    flx_cache_pool_stats(worker->cache_pool, &stats);
    flx_stat_set(&worker->stats.cache_entries, stats.entries);
    flx_stat_set(&worker->stats.cache_bytes, stats.bytes);
    flx_stat_set(&worker->stats.cache_away, stats.away);
    flx_stat_set(&worker->stats.cache_evictions, stats.evictions);
    flx_stat_set(&worker->stats.cache_expirations, stats.expirations);
    flx_stat_set(&worker->stats.counters, worker->counters.count);
}

void flx_caches_done(flx_worker *worker)
{
    if (worker->cache_pool != NULL) {
        flx_cache_pool_free(worker->cache_pool);
    }
}
