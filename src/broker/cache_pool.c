/* SPDX-License-Identifier: Apache-2.0 */
/* broker/cache_pool.c - pools and shards of the cache: how they begin and end, and their figures. */
#include "broker/cache_int.h"
#include "common/alloc.h"
#include "common/error.h"

#define POOL_BYTES_DEFAULT  (UINT64_C(256) << 20)
#define POOL_BYTES_MIN      (UINT64_C(64) << 10)
#define VALUE_BYTES_DEFAULT ((uint32_t)16 << 20)
#define SHARDS_FIRST        16
#define SHARDS_MAX          ((uint32_t)1 << 24)

flx_status flx_cache_pool_new(const flx_cache_options *options, uint64_t now_us,
                              flx_cache_pool **ret_pool, flx_error *reterr)
{
    flx_cache_options given = {0};
    if (options != NULL) {
        given = *options;
    }
    flx_cache_pool *pool = flx_calloc(1, sizeof *pool);
    if (pool == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make a cache pool");
    }
    pool->bytes_max = given.bytes_max == 0 ? POOL_BYTES_DEFAULT : given.bytes_max;
    if (pool->bytes_max < POOL_BYTES_MIN) {
        pool->bytes_max = POOL_BYTES_MIN;
    }
    pool->value_bytes_max =
        given.value_bytes_max == 0 ? VALUE_BYTES_DEFAULT : given.value_bytes_max;
    if (pool->value_bytes_max > FLX_CACHE_VALUE_MAX) {
        pool->value_bytes_max = FLX_CACHE_VALUE_MAX;
    }
    pool->last_version = now_us;
    cache_policy_init(&pool->policy, pool->bytes_max);
    flx_wheel_init(&pool->wheel, now_us / 1000);
    *ret_pool = pool;
    return FLX_OK;
}

flx_cache_pool *flx_cache_pool_free(flx_cache_pool *pool)
{
    if (pool == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < pool->shard_cap; i++) {
        FLX_ASSERT(pool->shards[i] == NULL); /* shards go first */
    }
    cache_unpark(pool);
    FLX_ASSERT(pool->entry_bytes == 0 && pool->wheel.count == 0);
    cache_policy_done(&pool->policy);
    flx_free(pool->shards);
    flx_free(pool);
    return NULL;
}

/* A free number in pool->shards; false when memory is out. */
static bool take_number(flx_cache_pool *pool, uint32_t *ret_number)
{
    for (uint32_t i = 0; i < pool->shard_cap; i++) {
        if (pool->shards[i] == NULL) {
            *ret_number = i;
            return true;
        }
    }
    const uint32_t cap = pool->shard_cap == 0 ? SHARDS_FIRST : pool->shard_cap * 2;
    flx_cache_shard **shards =
        cap > SHARDS_MAX ? NULL : flx_realloc(pool->shards, cap * sizeof(flx_cache_shard *));
    if (shards == NULL) {
        return false;
    }
    for (uint32_t i = pool->shard_cap; i < cap; i++) {
        shards[i] = NULL;
    }
    *ret_number = pool->shard_cap;
    pool->shards = shards;
    pool->shard_cap = cap;
    return true;
}

flx_status flx_cache_shard_new(flx_cache_pool *pool, const flx_change_log *log,
                               flx_cache_shard **ret_shard, flx_error *reterr)
{
    uint32_t number = 0;
    flx_cache_shard *shard = flx_calloc(1, sizeof *shard);
    if (shard == NULL || !take_number(pool, &number)) {
        flx_free(shard);
        return flx_fail(reterr, FLX_ERR_NOMEM, "make a cache shard");
    }
    shard->pool = pool;
    shard->number = number;
    if (log != NULL) {
        shard->log = *log;
    }
    pool->shards[number] = shard;
    *ret_shard = shard;
    return FLX_OK;
}

bool flx_cache_shard_clear(flx_cache_shard *shard, uint32_t limit)
{
    cache_unpark(shard->pool);
    uint64_t from = 0;
    for (uint32_t i = 0; i < limit; i++) {
        cache_entry *entry = cache_index_any(&shard->index, &from);
        if (entry == NULL) {
            break;
        }
        cache_unlink(shard, entry);
        cache_entry_free(entry);
    }
    return shard->index.count == 0;
}

flx_cache_shard *flx_cache_shard_free(flx_cache_shard *shard)
{
    if (shard == NULL) {
        return NULL;
    }
    while (!flx_cache_shard_clear(shard, UINT32_MAX)) {
    }
    shard->pool->entry_bytes -= shard->index.bytes; /* reserved for a put that failed */
    cache_index_done(&shard->index);
    shard->pool->shards[shard->number] = NULL;
    flx_free(shard);
    return NULL;
}

/* --- figures ------------------------------------------------------------------------------------- */

uint64_t flx_cache_pool_next_expiry_ms(const flx_cache_pool *pool)
{
    return flx_wheel_next_ms(&pool->wheel);
}

void flx_cache_pool_stats(const flx_cache_pool *pool, flx_cache_stats *ret_stats)
{
    *ret_stats = pool->stats;
    ret_stats->bytes = cache_bytes_used(pool);
    ret_stats->bytes_max = pool->bytes_max;
}

void flx_cache_shard_stats(const flx_cache_shard *shard, flx_cache_stats *ret_stats)
{
    *ret_stats = shard->stats;
    ret_stats->bytes += shard->index.bytes;
    ret_stats->bytes_max = shard->pool->bytes_max;
}

uint64_t flx_cache_shard_record_bytes(const flx_cache_shard *shard)
{
    return shard->record_bytes;
}
