/* SPDX-License-Identifier: Apache-2.0 */
/* broker/durable_figures.c - what a durable shard holds, for people who ask. */
#include "broker/cache_state_int.h"
#include "broker/durable_int.h"
#include "broker/streams_int.h"
#include "broker/worker_int.h"
#include "common/clock.h"

static const char *state_word(const flx_durable *durable)
{
    switch ((flx_durable_state)durable->state) {
    case FLX_DURABLE_OPENING:
        return "opening";
    case FLX_DURABLE_LOADING:
        return "loading";
    case FLX_DURABLE_BROKEN:
        return durable->journal == NULL ? "damaged" : "failed";
    case FLX_DURABLE_OPEN:
    case FLX_DURABLE_CLOSING: /* nobody can ask any more */
        return durable->is_full ? "full" : "open";
    }
    FLX_UNREACHABLE();
}

static void log_figures(const flx_durable *durable, flx_log_figures *figures)
{
    const uint64_t now_ns = durable->worker->now_ns;
    flx_journal_marks marks;
    flx_journal_get_marks(durable->journal, &marks);
    figures->head = marks.start;
    figures->tail = marks.end;
    figures->bytes = marks.bytes;
    figures->segments = marks.segments;
    figures->pending_bytes = marks.pending_bytes;
    figures->has_synced = marks.last_sync_ns > 0;
    figures->last_sync_ms =
        now_ns > marks.last_sync_ns ? (now_ns - marks.last_sync_ns) / FLX_NS_PER_MS : 0;
}

static void cache_figures(const flx_cache_state *state, flx_log_figures *figures)
{
    flx_cache_stats stats;
    flx_cache_shard_stats(state->shard, &stats);
    figures->is_cache = true;
    figures->entries = stats.entries;
    figures->counters = state->counters.map.count;
    figures->memory_bytes = stats.bytes;
    figures->away = stats.away;
    figures->away_bytes = stats.away_value_bytes;
    figures->live_bytes = flx_cache_shard_record_bytes(state->shard) + state->counters.record_bytes;
    figures->compaction = flx_cache_compaction_word(state);
}

bool flx_worker_log_figures(flx_worker *worker, uint32_t id, uint32_t shard,
                            flx_log_figures *ret_figures)
{
    const flx_slot *slot = flx_slot_get(worker, id);
    const flx_owned *owned = slot == NULL || shard >= slot->shard_count ? NULL : slot->owned[shard];
    if (owned == NULL || owned->durable == NULL) {
        return false;
    }
    const flx_durable *durable = owned->durable;
    *ret_figures = (flx_log_figures){.state = state_word(durable)};
    if (durable->journal != NULL) {
        log_figures(durable, ret_figures);
    }
    if (owned->cache != NULL) {
        cache_figures(owned->cache, ret_figures);
    }
    return true;
}
