/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_restore.c - entries made from what the log has: all of them when it was opened, and the
 * value of one that was read back.
 */
#include "broker/cache_int.h"

/* An entry of the put at `offset`: with its value while there is room. */
static cache_entry *restored_entry(const flx_cache_shard *shard, const flx_change *change,
                                   uint64_t offset)
{
    const flx_cache_pool *pool = shard->pool;
    const size_t size =
        cache_entry_size(change->expires_at_ms != 0, change->key.len, false, change->value.len);
    if (cache_bytes_used(pool) + size > pool->bytes_max) {
        return cache_entry_new_away(shard, change->key, (uint32_t)change->value.len, offset,
                                    change->expires_at_ms);
    }
    const flx_cache_write write = {
        .key = change->key, .value = change->value, .expires_at_ms = change->expires_at_ms};
    cache_entry *entry = cache_entry_new(shard, &write, cache_hash(change->key));
    if (entry != NULL) {
        entry->version = offset;
    }
    return entry;
}

static flx_status restore_put(flx_cache_shard *shard, cache_entry *old, const flx_change *change,
                              uint64_t offset)
{
    cache_entry *entry = restored_entry(shard, change, offset);
    if (entry == NULL) {
        return FLX_ERR_NOMEM;
    }
    if (old != NULL) {
        cache_exchange(shard, old, entry);
        return FLX_OK;
    }
    if (!cache_reserve(shard, entry->hash)) {
        cache_entry_free(entry);
        return FLX_ERR_NOMEM;
    }
    cache_link(shard, entry);
    return FLX_OK;
}

flx_status flx_cache_shard_restore(flx_cache_shard *shard, const flx_change *change,
                                   uint64_t offset)
{
    cache_unpark(shard->pool);
    cache_entry *old = cache_index_find(&shard->index, cache_hash(change->key), change->key);
    if (change->kind == FLX_CHANGE_KIND_PUT) {
        return restore_put(shard, old, change, offset);
    }
    if (old != NULL) {
        cache_unlink(shard, old);
        cache_entry_free(old);
    }
    return FLX_OK;
}

void flx_cache_shard_bring(flx_cache_shard *shard, flx_slice key, uint64_t version, flx_slice value,
                           flx_chunk *chunk)
{
    cache_unpark(shard->pool);
    const uint32_t hash = cache_hash(key);
    cache_entry *old = cache_index_find(&shard->index, hash, key);
    if (old == NULL || !old->is_away || old->version != version) {
        return;
    }
    const flx_cache_write write = {.key = key,
                                   .value = value,
                                   .chunk = chunk,
                                   .expires_at_ms = cache_entry_expires_at_ms(old)};
    cache_entry *entry = cache_entry_new(shard, &write, hash);
    if (entry != NULL) { /* else it stays away */
        entry->version = version;
        cache_exchange(shard, old, entry);
        cache_make_room(shard->pool, entry);
    }
}
