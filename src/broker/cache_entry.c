/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_entry.c - how an entry is made, enters the structures and leaves them.
 *
 * An entry is one allocation with its key and value in it (cache_int.h draws it); a value of a page
 * or more lies in a counted chunk instead, so that it can be sent while it is replaced. Each entry
 * stands in three structures, its shard's index, the pool's eviction queues and, with an expiry, the
 * pool's timer wheel; cache_link, cache_unlink and cache_exchange are the only places that enter and
 * leave all three.
 */
#include "broker/cache_int.h"
#include "common/alloc.h"

#include <string.h>

/* --- making one ---------------------------------------------------------------------------------- */

size_t cache_entry_size(bool has_expiry, size_t key_len, bool has_chunk, size_t value_len)
{
    return (has_expiry ? sizeof(flx_wheel_timer) : 0) + sizeof(cache_entry) + key_len +
           (has_chunk ? sizeof(flx_range) : value_len);
}

size_t cache_entry_cost(const cache_entry *entry)
{
    const size_t cost =
        cache_heap_bytes(cache_entry_size(entry->has_expiry, entry->key_len, entry->has_chunk,
                                          entry->is_away ? 0 : entry->value_len));
    return entry->has_chunk
               ? cost + cache_heap_bytes(sizeof(flx_chunk) + cache_entry_range(entry).chunk->cap)
               : cost;
}

void cache_entry_free(cache_entry *entry)
{
    if (entry->has_chunk) {
        (void)flx_chunk_unref(cache_entry_range(entry).chunk);
    }
    flx_free(entry->has_expiry ? (void *)cache_entry_deadline(entry) : (void *)entry);
}

/* A range over the value: the caller's chunk when that is worth keeping, or a copy. Holds one
 * reference. False when memory is out. */
static bool hold_value(const flx_cache_write *write, flx_range *ret_range)
{
    flx_chunk *chunk = write->chunk;
    uint32_t start = 0;
    if (chunk != NULL && write->value.len >= chunk->cap / 2) {
        FLX_ASSERT(write->value.ptr >= chunk->data);
        FLX_ASSERT(write->value.ptr + write->value.len <= chunk->data + chunk->len);
        start = (uint32_t)(write->value.ptr - chunk->data);
        (void)flx_chunk_ref(chunk);
    } else {
        chunk = flx_chunk_new(write->value.len);
        if (chunk == NULL) {
            return false;
        }
        memcpy(chunk->data, write->value.ptr, write->value.len);
        chunk->len = (uint32_t)write->value.len;
    }
    *ret_range = (flx_range){chunk, start, start + (uint32_t)write->value.len};
    return true;
}

/* The allocation of an entry, its deadline set; NULL when memory is out. */
static cache_entry *entry_alloc(size_t size, uint64_t expiry_ms)
{
    /* The allocator's rounding is ours to use: a value that grows into it is overwritten in place. */
    uint8_t *memory = flx_alloc(cache_heap_bytes(size) - CACHE_HEAP_HEADER);
    if (memory == NULL || expiry_ms == 0) {
        return (cache_entry *)(void *)memory;
    }
    flx_wheel_timer *deadline = (flx_wheel_timer *)(void *)memory;
    *deadline = (flx_wheel_timer){.due_ms = expiry_ms};
    return cache_entry_of(deadline);
}

cache_entry *cache_entry_new(const flx_cache_shard *shard, const flx_cache_write *write,
                             uint32_t hash)
{
    const bool has_expiry = write->expires_at_ms != 0;
    const bool has_chunk = write->value.len >= FLX_CACHE_CHUNK_BYTES;
    flx_range range = {0};
    if (has_chunk && !hold_value(write, &range)) {
        return NULL;
    }
    cache_entry *entry =
        entry_alloc(cache_entry_size(has_expiry, write->key.len, has_chunk, write->value.len),
                    write->expires_at_ms);
    if (entry == NULL) {
        (void)flx_chunk_unref(range.chunk);
        return NULL;
    }
    *entry = (cache_entry){.hash = hash,
                           .shard = shard->number,
                           .value_len = (uint32_t)write->value.len,
                           .key_len = write->key.len & 0x1ffff,
                           .has_expiry = has_expiry,
                           .has_chunk = has_chunk};
    if (write->key.len > 0) {
        memcpy(entry->bytes, write->key.ptr, write->key.len);
    }
    if (has_chunk) {
        memcpy(entry->bytes + write->key.len, &range, sizeof range);
    } else if (write->value.len > 0) {
        memcpy(entry->bytes + write->key.len, write->value.ptr, write->value.len);
    }
    return entry;
}

cache_entry *cache_entry_new_away(const flx_cache_shard *shard, flx_slice key, uint32_t value_len,
                                  uint64_t version, uint64_t expiry_ms)
{
    const bool has_expiry = expiry_ms != 0;
    cache_entry *entry = entry_alloc(cache_entry_size(has_expiry, key.len, false, 0), expiry_ms);
    if (entry != NULL) {
        *entry = (cache_entry){.version = version,
                               .hash = cache_hash(key),
                               .shard = shard->number,
                               .value_len = value_len,
                               .key_len = key.len & 0x1ffff,
                               .has_expiry = has_expiry,
                               .is_away = true};
        if (key.len > 0) {
            memcpy(entry->bytes, key.ptr, key.len);
        }
    }
    return entry;
}

/* --- entering and leaving the structures --------------------------------------------------------- */

static void count_in(flx_cache_shard *shard, const cache_entry *entry)
{
    const size_t cost = cache_entry_cost(entry);
    if (entry->is_away) {
        shard->pool->away_bytes += cost;
        shard->stats.away++;
        shard->stats.away_value_bytes += entry->value_len;
        shard->pool->stats.away++;
        shard->pool->stats.away_value_bytes += entry->value_len;
    }
    shard->record_bytes += cache_entry_record_bytes(entry);
    shard->pool->entry_bytes += cost;
    shard->stats.bytes += cost;
    shard->stats.entries++;
    shard->pool->stats.entries++;
}

static void count_out(flx_cache_shard *shard, const cache_entry *entry)
{
    const size_t cost = cache_entry_cost(entry);
    FLX_ASSERT(shard->pool->entry_bytes >= cost && shard->stats.bytes >= cost);
    FLX_ASSERT(shard->stats.entries > 0 && shard->pool->stats.entries > 0);
    if (entry->is_away) {
        FLX_ASSERT(shard->pool->away_bytes >= cost && shard->stats.away > 0);
        shard->pool->away_bytes -= cost;
        shard->stats.away--;
        shard->stats.away_value_bytes -= entry->value_len;
        shard->pool->stats.away--;
        shard->pool->stats.away_value_bytes -= entry->value_len;
    }
    FLX_ASSERT(shard->record_bytes >= cache_entry_record_bytes(entry));
    shard->record_bytes -= cache_entry_record_bytes(entry);
    shard->pool->entry_bytes -= cost;
    shard->stats.bytes -= cost;
    shard->stats.entries--;
    shard->pool->stats.entries--;
}

void cache_set_deadline(flx_cache_pool *pool, cache_entry *entry)
{
    if (entry->has_expiry) {
        flx_wheel_set(&pool->wheel, cache_entry_deadline(entry), cache_entry_expires_at_ms(entry));
    }
}

static void cancel_deadline(flx_cache_pool *pool, cache_entry *entry)
{
    if (entry->has_expiry) {
        flx_wheel_cancel(&pool->wheel, cache_entry_deadline(entry));
    }
}

/* Adds to the pool what an index grew by. */
bool cache_reserve(flx_cache_shard *shard, uint32_t hash)
{
    const size_t before = shard->index.bytes;
    const bool has_room = cache_index_reserve(&shard->index, hash);
    shard->pool->entry_bytes += shard->index.bytes - before; /* wraps back when it shrank */
    return has_room;
}

void cache_link(flx_cache_shard *shard, cache_entry *entry)
{
    cache_index_insert(&shard->index, entry);
    if (!entry->is_away) {
        cache_policy_admit(&shard->pool->policy, entry);
    }
    cache_set_deadline(shard->pool, entry);
    count_in(shard, entry);
}

void cache_unlink(flx_cache_shard *shard, cache_entry *entry)
{
    flx_cache_pool *pool = shard->pool;
    cache_index_remove(&shard->index, entry);
    if (!entry->is_away) {
        cache_policy_forget(&pool->policy, entry);
    }
    cancel_deadline(pool, entry);
    count_out(shard, entry);
    if (shard->index.count == 0) { /* a cache that ran empty costs nothing */
        pool->entry_bytes -= shard->index.bytes;
        cache_index_done(&shard->index);
    }
}

void cache_exchange(flx_cache_shard *shard, cache_entry *old, cache_entry *entry)
{
    cache_policy *policy = &shard->pool->policy;
    cache_index_replace(&shard->index, old, entry);
    if (old->is_away && !entry->is_away) {
        cache_policy_admit(policy, entry);
    } else if (!old->is_away && entry->is_away) {
        cache_policy_forget(policy, old);
    } else if (!entry->is_away) {
        cache_policy_replace(policy, old, entry);
    }
    cancel_deadline(shard->pool, old);
    cache_set_deadline(shard->pool, entry);
    count_out(shard, old);
    count_in(shard, entry);
    cache_entry_free(old);
}

void cache_unpark(flx_cache_pool *pool)
{
    if (pool->parked != NULL) {
        cache_entry_free(pool->parked);
        pool->parked = NULL;
    }
}
