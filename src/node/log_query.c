/* SPDX-License-Identifier: Apache-2.0 */
/* node/log_query.c - one lock around a few rows; see the header. */
#include "node/log_query.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"

#include <pthread.h>
#include <time.h>

struct flx_log_query {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    uint32_t id;
    uint32_t shards;
    uint32_t waited_for; /* workers that have not let go */
    bool has_asker;
    flx_log_figures rows[]; /* [shard]; state NULL: nobody answered */
};

flx_log_query *flx_log_query_new(uint32_t log_id, uint32_t shards, uint32_t answerers)
{
    flx_log_query *query = flx_calloc(1, sizeof *query + shards * sizeof query->rows[0]);
    if (query == NULL) {
        return NULL;
    }
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&query->lock, NULL);
    (void)pthread_cond_init(&query->answered, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    query->id = log_id;
    query->shards = shards;
    query->waited_for = answerers;
    query->has_asker = true;
    return query;
}

static void query_free(flx_log_query *query)
{
    (void)pthread_cond_destroy(&query->answered);
    (void)pthread_mutex_destroy(&query->lock);
    flx_free(query);
}

/* Unlocks; the last one turns the light off. */
static void let_go(flx_log_query *query)
{
    const bool is_last = query->waited_for == 0 && !query->has_asker;
    if (query->waited_for == 0) {
        (void)pthread_cond_signal(&query->answered);
    }
    (void)pthread_mutex_unlock(&query->lock);
    if (is_last) {
        query_free(query);
    }
}

void flx_log_query_answer(flx_log_query *query, flx_worker *worker)
{
    (void)pthread_mutex_lock(&query->lock);
    for (uint32_t shard = 0; shard < query->shards; shard++) {
        (void)flx_worker_log_figures(worker, query->id, shard, &query->rows[shard]);
    }
    FLX_ASSERT(query->waited_for > 0);
    query->waited_for--;
    let_go(query);
}

void flx_log_query_skip(flx_log_query *query)
{
    (void)pthread_mutex_lock(&query->lock);
    FLX_ASSERT(query->waited_for > 0);
    query->waited_for--;
    let_go(query);
}

static bool set_cache(json_t *json, const flx_log_figures *row)
{
    json_t *cache =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "entries", (json_int_t)row->entries,
                  "counters", (json_int_t)row->counters, "memory_bytes",
                  (json_int_t)row->memory_bytes, "values_on_disk_only", (json_int_t)row->away,
                  "bytes_on_disk_only", (json_int_t)row->away_bytes, "live_bytes",
                  (json_int_t)row->live_bytes, "compaction", row->compaction);
    return json_object_set_new(json, "cache", cache) == 0;
}

static json_t *row_json(const flx_log_figures *row, uint32_t shard)
{
    json_t *json =
        json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "shard", (json_int_t)shard, "state",
                  row->state, "head", (json_int_t)row->head, "tail", (json_int_t)row->tail, "bytes",
                  (json_int_t)row->bytes, "segments", (json_int_t)row->segments, "pending_bytes",
                  (json_int_t)row->pending_bytes);
    json_t *sync = row->has_synced ? json_integer((json_int_t)row->last_sync_ms) : json_null();
    if (json == NULL || json_object_set_new(json, "last_sync_ms_ago", sync) != 0 ||
        (row->is_cache && !set_cache(json, row))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *flx_log_query_wait(flx_log_query *query, uint32_t wait_ms)
{
    const uint64_t end_ns = flx_clock_monotonic_ns() + wait_ms * FLX_NS_PER_MS;
    const struct timespec end = {.tv_sec = (time_t)(end_ns / FLX_NS_PER_S),
                                 .tv_nsec = (long)(end_ns % FLX_NS_PER_S)};
    (void)pthread_mutex_lock(&query->lock);
    while (query->waited_for > 0 &&
           pthread_cond_timedwait(&query->answered, &query->lock, &end) == 0) {
    }
    json_t *rows = json_array();
    for (uint32_t shard = 0; rows != NULL && shard < query->shards; shard++) {
        if (query->rows[shard].state != NULL) {
            (void)json_array_append_new(rows, row_json(&query->rows[shard], shard));
        }
    }
    query->has_asker = false;
    let_go(query);
    return rows;
}
