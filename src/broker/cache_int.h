/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_int.h - the entry, and the three parts of a cache that meet in it.
 *
 *      allocation:  [ deadline 24, only with an expiry ] entry 40 | key | value, its flx_range, or nothing
 *
 *      cache.c          what a put, get or delete does; expiry and eviction
 *      cache_entry.c    how an entry is made, enters the structures and leaves them
 *      cache_list.c     all entries of a prefix, a page at a time
 *      cache_pool.c     pools and shards, and their figures
 *      cache_restore.c  entries made from what the log has
 *      cache_index.c    key -> entry of one shard
 *      cache_policy.c   who must go when the pool is full
 */
#ifndef FLX_BROKER_CACHE_INT_H
#define FLX_BROKER_CACHE_INT_H

#include "broker/cache.h"
#include "common/assert.h"
#include "common/hash.h"
#include "common/list.h"
#include "common/wheel.h"
#include "wire/change.h"

#include <string.h>

#define CACHE_USES_MAX 3 /* two bits */

typedef struct cache_entry {
    flx_list queue; /* in one of the policy's */
    uint64_t version;
    uint32_t hash;
    uint32_t shard; /* index into the pool's shards */
    uint32_t value_len;
    unsigned key_len : 17;
    unsigned uses : 2; /* reads since it came or was last passed over, at most CACHE_USES_MAX */
    unsigned is_main : 1;
    unsigned has_expiry : 1; /* a flx_wheel_timer lies in front */
    unsigned has_chunk : 1;  /* a flx_range lies where the value would be */
    unsigned
        is_away : 1; /* the value is in the log only; in no queue, value_len still says how long */
    uint8_t bytes[];
} cache_entry;

/* 24 + 40 + at most 8 + 15 of the allocator leave 9 and more for the index: see CACHE.md, rule 5. */
static_assert(sizeof(cache_entry) == 40, "an entry is 40 bytes");
static_assert(sizeof(flx_wheel_timer) == 24, "a deadline is 24 bytes");
static_assert(FLX_CACHE_KEY_MAX < 1 << 17, "a key's length fits its bits");

#define CACHE_HEAP_HEADER 8

/* What malloc takes for a request: glibc's rule, close enough for others. */
static inline size_t cache_heap_bytes(size_t size)
{
    const size_t rounded = (size + CACHE_HEAP_HEADER + 15) & ~(size_t)15;
    return rounded < 32 ? 32 : rounded;
}

static inline flx_slice cache_entry_key(const cache_entry *entry)
{
    return (flx_slice){entry->bytes, entry->key_len};
}

static inline uint32_t cache_hash(flx_slice key)
{
    return (uint32_t)(flx_hash(key) >> 32);
}

static inline flx_wheel_timer *cache_entry_deadline(cache_entry *entry)
{
    FLX_DEBUG_ASSERT(entry->has_expiry);
    return (flx_wheel_timer *)(void *)entry - 1;
}

static inline cache_entry *cache_entry_of(flx_wheel_timer *deadline)
{
    return (cache_entry *)(void *)(deadline + 1);
}

static inline uint64_t cache_entry_expires_at_ms(const cache_entry *entry)
{
    return entry->has_expiry ? ((const flx_wheel_timer *)(const void *)entry - 1)->due_ms : 0;
}

static inline bool cache_entry_is_expired(const cache_entry *entry, uint64_t now_us)
{
    return entry->has_expiry && cache_entry_expires_at_ms(entry) <= now_us / 1000;
}

/* What malloc is asked for. */
size_t cache_entry_size(bool has_expiry, size_t key_len, bool has_chunk, size_t value_len);
/* What the entry costs on the heap, its chunk included. */
size_t cache_entry_cost(const cache_entry *entry);

/* What the put of an entry takes in the log. */
static inline size_t cache_entry_record_bytes(const cache_entry *entry)
{
    return sizeof(uint32_t) + FLX_CHANGE_HEAD_BYTES + entry->key_len + entry->value_len;
}

/* Where the value lies that has a chunk. */
static inline flx_range cache_entry_range(const cache_entry *entry)
{
    flx_range range;
    memcpy(&range, entry->bytes + entry->key_len, sizeof range); /* keys end anywhere */
    return range;
}

/* As it is shown to the outside; borrows from the entry. */
static inline flx_cache_item cache_entry_item(const cache_entry *entry)
{
    flx_cache_item item = {.key = cache_entry_key(entry),
                           .value = {entry->bytes + entry->key_len, entry->value_len},
                           .version = entry->version,
                           .expires_at_ms = cache_entry_expires_at_ms(entry),
                           .is_away = entry->is_away};
    if (entry->is_away) {
        item.value.ptr = NULL;
    } else if (entry->has_chunk) {
        const flx_range range = cache_entry_range(entry);
        item.value = flx_range_slice(&range);
        item.chunk = range.chunk;
    }
    return item;
}

void cache_entry_free(cache_entry *entry);

/* --- index -------------------------------------------------------------------------------------- */

#define CACHE_SEGMENT_SLOTS 512 /* a segment larger than this is split in two */

typedef struct cache_segment {
    uint16_t cap;   /* slots, a power of two, 8 .. CACHE_SEGMENT_SLOTS */
    uint16_t count; /* entries */
    uint16_t used;  /* entries and graves */
    uint8_t depth;  /* how many leading bits of the hash all its entries share */
    uint8_t reserved;
    cache_entry **entries; /* both in this allocation, behind the header */
    uint8_t *tags;
} cache_segment;

typedef struct cache_index {
    cache_segment **directory; /* 1 << depth pointers by the leading bits; NULL while empty */
    uint32_t depth;
    uint32_t count; /* entries */
    size_t bytes;   /* of heap */
} cache_index;

void cache_index_done(cache_index *index);
cache_entry *cache_index_find(const cache_index *index, uint32_t hash, flx_slice key);
/* Makes room for one entry of this hash; false when memory is out (nothing changed). */
bool cache_index_reserve(cache_index *index, uint32_t hash);
/* After cache_index_reserve; the key is not in. */
void cache_index_insert(cache_index *index, cache_entry *entry);
/* `entry` takes the place of `old`, which has the same key. */
void cache_index_replace(cache_index *index, const cache_entry *old, cache_entry *entry);
void cache_index_remove(cache_index *index, const cache_entry *entry);
/* Some entry; NULL when empty. Calling it and removing what it gives empties the index in linear time
 * (`*from` is the caller's, 0 at first). */
cache_entry *cache_index_any(const cache_index *index, uint64_t *from);
/* The segment that holds this hash, and the first hash after it (up to 2^32). */
const cache_segment *cache_index_segment(const cache_index *index, uint32_t hash,
                                         uint64_t *ret_end);

/* --- policy ------------------------------------------------------------------------------------- */

typedef struct cache_policy {
    flx_list small; /* newest in front */
    flx_list main;
    uint64_t small_bytes;
    uint64_t small_bytes_target;
    uint32_t small_count;
    uint32_t main_count;

    uint32_t *ghosts; /* NULL until the first eviction, or when memory was out */
    uint32_t ghost_cap;
    uint32_t ghost_clock; /* how many were put in */
} cache_policy;

void cache_policy_init(cache_policy *policy, uint64_t bytes_max);
void cache_policy_done(cache_policy *policy);
size_t cache_policy_bytes(const cache_policy *policy);

void cache_policy_admit(cache_policy *policy, cache_entry *entry);
/* `entry` takes the place of `old` in its queue. */
void cache_policy_replace(cache_policy *policy, cache_entry *old, cache_entry *entry);
void cache_policy_forget(cache_policy *policy, cache_entry *entry);
/* Picks who goes, never `keep`; it stays in its queue for the caller to remove. NULL: nobody is left. */
cache_entry *cache_policy_victim(cache_policy *policy, const cache_entry *keep);

static inline void cache_policy_touch(cache_entry *entry)
{
    if (entry->uses < CACHE_USES_MAX) { /* the popular ones' cache lines stay clean */
        entry->uses++;
    }
}

/* --- pools and shards ---------------------------------------------------------------------------- */

struct flx_cache_pool {
    uint64_t bytes_max;
    uint64_t entry_bytes; /* of all entries and indexes; the policy counts its own */
    uint64_t away_bytes;  /* of entries that are away: nothing can evict them further */
    uint32_t value_bytes_max;
    uint32_t shard_cap;
    flx_cache_shard **shards; /* NULL where a number is free */
    uint64_t last_version;
    cache_entry *parked; /* removed, handed out until the next call */
    flx_cache_stats stats;
    cache_policy policy;
    flx_wheel wheel;
};

struct flx_cache_shard {
    flx_cache_pool *pool;
    uint32_t number; /* in pool->shards */
    cache_index index;
    uint64_t record_bytes;
    flx_cache_stats stats;
    flx_change_log log; /* without functions: none */
};

/* An entry of a write, in no structure yet; NULL when memory is out. */
cache_entry *cache_entry_new(const flx_cache_shard *shard, const flx_cache_write *write,
                             uint32_t hash);
/* The same key without its value, which the log has. */
cache_entry *cache_entry_new_away(const flx_cache_shard *shard, flx_slice key, uint32_t value_len,
                                  uint64_t version, uint64_t expiry_ms);

/* Makes room in the index for one entry of this hash; false when memory is out. */
bool cache_reserve(flx_cache_shard *shard, uint32_t hash);
/* Into all structures, after cache_reserve; out of all; and one in place of another, which is freed. */
void cache_link(flx_cache_shard *shard, cache_entry *entry);
void cache_unlink(flx_cache_shard *shard, cache_entry *entry);
void cache_exchange(flx_cache_shard *shard, cache_entry *old, cache_entry *entry);
void cache_set_deadline(flx_cache_pool *pool, cache_entry *entry); /* if it has one */
/* Frees what was handed out last. */
void cache_unpark(flx_cache_pool *pool);

static inline uint64_t cache_bytes_used(const flx_cache_pool *pool)
{
    return pool->entry_bytes + cache_policy_bytes(&pool->policy);
}

/* Evicts until the budget holds; `keep` was just written and stays (NULL: nothing does). */
void cache_make_room(flx_cache_pool *pool, const cache_entry *keep);

#endif /* FLX_BROKER_CACHE_INT_H */
