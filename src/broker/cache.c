/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache.c - what a put, a get and a delete do.
 *
 * An entry is one allocation with its key and value in it (cache_int.h draws it); a value of a page
 * or more lies in a counted chunk instead, so that it can be sent while it is replaced. Each entry
 * stands in three structures, its shard's index, the pool's eviction queues and, with an expiry, the
 * pool's timer wheel; link_entry and unlink_entry are the only places that enter and leave all three.
 *
 * A put builds the new entry wholly before it touches the old one, so that a failed allocation
 * changes nothing. A value that fits the old allocation is overwritten in place. Room is made after
 * the write, and never by evicting what was just written: for the length of a put the pool may stand
 * above its budget by one entry.
 *
 * What delete hands out must live until the next call: it is parked in pool->parked, unlinked.
 */
#include "broker/cache.h"

#include "broker/cache_int.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/hash.h"

#include <string.h>

#define POOL_BYTES_DEFAULT  (UINT64_C(256) << 20)
#define POOL_BYTES_MIN      (UINT64_C(64) << 10)
#define VALUE_BYTES_DEFAULT ((uint32_t)16 << 20)
#define ENTRY_PART_MAX      4 /* one entry may take this part of the pool */
#define SHARDS_FIRST        16
#define SHARDS_MAX          ((uint32_t)1 << 24)
#define LIST_SEGMENTS_MAX   8 /* segments a page looks at */
#define AWAY_PART_NUM       3 /* keys of values that are away may take 3/4 of the pool */
#define AWAY_PART_DEN       4

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

static uint32_t hash_of(flx_slice key)
{
    return (uint32_t)(flx_hash(key) >> 32);
}

/* --- entries ------------------------------------------------------------------------------------ */

static flx_wheel_timer *deadline_of(cache_entry *entry)
{
    FLX_DEBUG_ASSERT(entry->has_expiry);
    return (flx_wheel_timer *)(void *)entry - 1;
}

static cache_entry *entry_of(flx_wheel_timer *deadline)
{
    return (cache_entry *)(void *)(deadline + 1);
}

static uint64_t expires_at_ms(const cache_entry *entry)
{
    return entry->has_expiry ? ((const flx_wheel_timer *)(const void *)entry - 1)->due_ms : 0;
}

static bool is_expired(const cache_entry *entry, uint64_t now_us)
{
    return entry->has_expiry && expires_at_ms(entry) <= now_us / 1000;
}

static flx_range range_of(const cache_entry *entry)
{
    flx_range range;
    memcpy(&range, entry->bytes + entry->key_len, sizeof range); /* keys end anywhere */
    return range;
}

/* What malloc is asked for. */
static size_t entry_size(bool has_expiry, size_t key_len, bool has_chunk, size_t value_len)
{
    return (has_expiry ? sizeof(flx_wheel_timer) : 0) + sizeof(cache_entry) + key_len +
           (has_chunk ? sizeof(flx_range) : value_len);
}

size_t cache_entry_cost(const cache_entry *entry)
{
    const size_t cost =
        cache_heap_bytes(entry_size(entry->has_expiry, entry->key_len, entry->has_chunk,
                                    entry->is_away ? 0 : entry->value_len));
    return entry->has_chunk
               ? cost + cache_heap_bytes(sizeof(flx_chunk) + range_of(entry).chunk->cap)
               : cost;
}

static void entry_free(cache_entry *entry)
{
    if (entry->has_chunk) {
        (void)flx_chunk_unref(range_of(entry).chunk);
    }
    flx_free(entry->has_expiry ? (void *)deadline_of(entry) : (void *)entry);
}

static flx_cache_item item_of(const cache_entry *entry)
{
    flx_cache_item item = {.key = cache_entry_key(entry),
                           .value = {entry->bytes + entry->key_len, entry->value_len},
                           .version = entry->version,
                           .expires_at_ms = expires_at_ms(entry),
                           .is_away = entry->is_away};
    if (entry->is_away) {
        item.value.ptr = NULL;
    } else if (entry->has_chunk) {
        const flx_range range = range_of(entry);
        item.value = flx_range_slice(&range);
        item.chunk = range.chunk;
    }
    return item;
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
    return entry_of(deadline);
}

/* Builds the entry of a write, in no structure yet; NULL when memory is out. */
static cache_entry *entry_new(const flx_cache_shard *shard, const flx_cache_write *write,
                              uint32_t hash)
{
    const bool has_expiry = write->expires_at_ms != 0;
    const bool has_chunk = write->value.len >= FLX_CACHE_CHUNK_BYTES;
    flx_range range = {0};
    if (has_chunk && !hold_value(write, &range)) {
        return NULL;
    }
    cache_entry *entry = entry_alloc(
        entry_size(has_expiry, write->key.len, has_chunk, write->value.len), write->expires_at_ms);
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

/* The same key without its value, which the log has. */
static cache_entry *entry_new_away(const flx_cache_shard *shard, flx_slice key, uint32_t value_len,
                                   uint64_t version, uint64_t expiry_ms)
{
    const bool has_expiry = expiry_ms != 0;
    cache_entry *entry = entry_alloc(entry_size(has_expiry, key.len, false, 0), expiry_ms);
    if (entry != NULL) {
        *entry = (cache_entry){.version = version,
                               .hash = hash_of(key),
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

/* What the put of an entry takes in the log. */
static size_t record_bytes(const cache_entry *entry)
{
    return sizeof(uint32_t) + FLX_CHANGE_HEAD_BYTES + entry->key_len + entry->value_len;
}

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
    shard->record_bytes += record_bytes(entry);
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
    FLX_ASSERT(shard->record_bytes >= record_bytes(entry));
    shard->record_bytes -= record_bytes(entry);
    shard->pool->entry_bytes -= cost;
    shard->stats.bytes -= cost;
    shard->stats.entries--;
    shard->pool->stats.entries--;
}

static void set_deadline(flx_cache_pool *pool, cache_entry *entry)
{
    if (entry->has_expiry) {
        flx_wheel_set(&pool->wheel, deadline_of(entry), expires_at_ms(entry));
    }
}

static void cancel_deadline(flx_cache_pool *pool, cache_entry *entry)
{
    if (entry->has_expiry) {
        flx_wheel_cancel(&pool->wheel, deadline_of(entry));
    }
}

/* Adds to the pool what an index grew by. */
static bool index_reserve(flx_cache_shard *shard, uint32_t hash)
{
    const size_t before = shard->index.bytes;
    const bool has_room = cache_index_reserve(&shard->index, hash);
    shard->pool->entry_bytes += shard->index.bytes - before; /* wraps back when it shrank */
    return has_room;
}

static void link_entry(flx_cache_shard *shard, cache_entry *entry)
{
    cache_index_insert(&shard->index, entry);
    if (!entry->is_away) {
        cache_policy_admit(&shard->pool->policy, entry);
    }
    set_deadline(shard->pool, entry);
    count_in(shard, entry);
}

static void unlink_entry(flx_cache_shard *shard, cache_entry *entry)
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

static void exchange_entry(flx_cache_shard *shard, cache_entry *old, cache_entry *entry)
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
    set_deadline(shard->pool, entry);
    count_out(shard, old);
    count_in(shard, entry);
    entry_free(old);
}

static void unpark(flx_cache_pool *pool)
{
    if (pool->parked != NULL) {
        entry_free(pool->parked);
        pool->parked = NULL;
    }
}

/* --- the log below -------------------------------------------------------------------------------- */

static flx_status log_reserve(const flx_cache_shard *shard, size_t key_len, size_t value_len)
{
    return shard->log.reserve == NULL ? FLX_OK
                                      : shard->log.reserve(shard->log.arg, key_len, value_len);
}

/* Versions only grow, and without a log run ahead of the clock no further than the writes do. */
static uint64_t log_append(flx_cache_shard *shard, const flx_change *change, uint64_t now_us)
{
    flx_cache_pool *pool = shard->pool;
    if (shard->log.append != NULL) {
        return shard->log.append(shard->log.arg, change);
    }
    pool->last_version = now_us > pool->last_version ? now_us : pool->last_version + 1;
    return pool->last_version;
}

/* Removes an entry from everything and says so below; the memory is still the caller's to free.
 * FLX_OK, or what the log answered: then the entry stays. */
static flx_status remove_entry(flx_cache_shard *shard, cache_entry *entry, flx_change_cause cause)
{
    const flx_slice key = cache_entry_key(entry);
    const flx_status status = log_reserve(shard, key.len, 0);
    if (status == FLX_OK) {
        const flx_change change = {
            .kind = FLX_CHANGE_KIND_DELETE, .cause = (uint8_t)cause, .key = key};
        (void)log_append(shard, &change, 0);
        unlink_entry(shard, entry);
    }
    return status;
}

/* Removes an entry whose time has come. False: the log refused, and it stays to be tried again;
 * nobody is shown it meanwhile. */
static bool expire_entry(flx_cache_shard *shard, cache_entry *entry)
{
    if (remove_entry(shard, entry, FLX_CHANGE_EXPIRED) != FLX_OK) {
        return false;
    }
    entry_free(entry);
    shard->stats.expirations++;
    shard->pool->stats.expirations++;
    return true;
}

/* The living entry of a key, NULL when there is none; removes one that has expired. */
static cache_entry *find_living(flx_cache_shard *shard, uint32_t hash, flx_slice key,
                                uint64_t now_us)
{
    cache_entry *entry = cache_index_find(&shard->index, hash, key);
    if (entry != NULL && is_expired(entry, now_us)) {
        (void)expire_entry(shard, entry);
        return NULL;
    }
    return entry;
}

static uint64_t bytes_used(const flx_cache_pool *pool)
{
    return pool->entry_bytes + cache_policy_bytes(&pool->policy);
}

/* Gives up the value of an entry whose record can be read back. False: not now. */
static bool send_away(flx_cache_shard *shard, cache_entry *entry)
{
    if (entry->version >= shard->log.kept_end(shard->log.arg)) {
        return false;
    }
    cache_entry *away = entry_new_away(shard, cache_entry_key(entry), entry->value_len,
                                       entry->version, expires_at_ms(entry));
    if (away == NULL) {
        return false;
    }
    exchange_entry(shard, entry, away);
    return true;
}

/* Evicts one entry. False: the log does not let it go now. */
static bool evict(flx_cache_shard *shard, cache_entry *victim)
{
    if (shard->log.kept_end != NULL) {
        if (!send_away(shard, victim)) {
            return false;
        }
    } else {
        if (remove_entry(shard, victim, FLX_CHANGE_EVICTED) != FLX_OK) {
            return false;
        }
        entry_free(victim);
    }
    shard->stats.evictions++;
    shard->pool->stats.evictions++;
    return true;
}

/* Evicts until the budget holds; `keep` was just written and stays. The work is in proportion to the
 * bytes that were written: every entry evicted makes room for as many. When a log refuses to hear of
 * it the budget does not hold until the next put. */
static void make_room(flx_cache_pool *pool, const cache_entry *keep)
{
    while (bytes_used(pool) > pool->bytes_max) {
        cache_entry *victim = cache_policy_victim(&pool->policy, keep);
        if (victim == NULL || !evict(pool->shards[victim->shard], victim)) {
            return;
        }
    }
}

/* --- pools and shards --------------------------------------------------------------------------- */

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
    unpark(pool);
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
    unpark(shard->pool);
    uint64_t from = 0;
    for (uint32_t i = 0; i < limit; i++) {
        cache_entry *entry = cache_index_any(&shard->index, &from);
        if (entry == NULL) {
            break;
        }
        unlink_entry(shard, entry);
        entry_free(entry);
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

/* --- reading and removing ----------------------------------------------------------------------- */

bool flx_cache_shard_get(flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                         flx_cache_item *ret_item)
{
    unpark(shard->pool);
    cache_entry *entry = find_living(shard, hash_of(key), key, now_us);
    if (entry == NULL) {
        shard->stats.misses++;
        shard->pool->stats.misses++;
        return false;
    }
    shard->stats.hits++;
    shard->pool->stats.hits++;
    cache_policy_touch(entry);
    *ret_item = item_of(entry);
    return true;
}

bool flx_cache_shard_peek(const flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                          flx_cache_item *ret_item)
{
    unpark(shard->pool);
    const cache_entry *entry = cache_index_find(&shard->index, hash_of(key), key);
    if (entry == NULL || is_expired(entry, now_us)) {
        return false;
    }
    *ret_item = item_of(entry);
    return true;
}

static void count_write(flx_cache_shard *shard)
{
    shard->stats.writes++;
    shard->pool->stats.writes++;
}

flx_status flx_cache_shard_delete(flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                                  flx_cache_item *ret_item)
{
    unpark(shard->pool);
    cache_entry *entry = find_living(shard, hash_of(key), key, now_us);
    if (entry == NULL) {
        return FLX_ERR_NOT_FOUND;
    }
    const flx_status status = remove_entry(shard, entry, FLX_CHANGE_ASKED);
    if (status != FLX_OK) {
        return status;
    }
    count_write(shard);
    shard->pool->parked = entry;
    if (ret_item != NULL) {
        *ret_item = item_of(entry);
    }
    return FLX_OK;
}

flx_status flx_cache_shard_delete_if(flx_cache_shard *shard, flx_slice key, uint64_t version,
                                     uint64_t now_us, flx_cache_outcome *ret_outcome)
{
    unpark(shard->pool);
    cache_entry *entry = find_living(shard, hash_of(key), key, now_us);
    if (entry == NULL || entry->version != version) {
        *ret_outcome = (flx_cache_outcome){false, entry == NULL ? 0 : entry->version};
        return FLX_OK;
    }
    const flx_status status = remove_entry(shard, entry, FLX_CHANGE_ASKED);
    if (status != FLX_OK) {
        return status;
    }
    entry_free(entry);
    count_write(shard);
    *ret_outcome = (flx_cache_outcome){true, 0};
    return FLX_OK;
}

/* --- writing ------------------------------------------------------------------------------------ */

static flx_status check_sizes(const flx_cache_pool *pool, const flx_cache_write *write,
                              flx_error *reterr)
{
    if (write->key.len > FLX_CACHE_KEY_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a cache key of %zu bytes, %d are allowed",
                        write->key.len, FLX_CACHE_KEY_MAX);
    }
    const uint64_t share = pool->bytes_max / ENTRY_PART_MAX;
    const uint64_t max = pool->value_bytes_max < share ? pool->value_bytes_max : share;
    if (write->value.len > max || write->key.len + write->value.len > share) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a cache value of %zu bytes, %llu are allowed",
                        write->value.len, (unsigned long long)max);
    }
    return FLX_OK;
}

static bool is_condition_met(const flx_cache_write *write, const cache_entry *entry)
{
    switch (write->condition) {
    case FLX_CACHE_ALWAYS:
        return true;
    case FLX_CACHE_IF_ABSENT:
        return entry == NULL;
    case FLX_CACHE_IF_VERSION:
        return entry != NULL && entry->version == write->version;
    }
    FLX_UNREACHABLE();
}

/* Whether another key of this log would leave too little of the pool for values. */
static bool is_full_of_keys(const flx_cache_shard *shard)
{
    const flx_cache_pool *pool = shard->pool;
    return shard->log.kept_end != NULL &&
           pool->away_bytes > pool->bytes_max / AWAY_PART_DEN * AWAY_PART_NUM;
}

/* Overwrites the value where it is, when it fits the allocation and costs the same. */
static bool overwrite(flx_cache_shard *shard, cache_entry *entry, const flx_cache_write *write)
{
    const bool has_expiry = write->expires_at_ms != 0;
    if (entry->is_away || entry->has_chunk || write->value.len >= FLX_CACHE_CHUNK_BYTES ||
        entry->has_expiry != has_expiry ||
        cache_heap_bytes(entry_size(has_expiry, write->key.len, false, write->value.len)) !=
            cache_entry_cost(entry)) {
        return false;
    }
    if (write->value.len > 0) {
        memmove(entry->bytes + entry->key_len, write->value.ptr, write->value.len);
    }
    shard->record_bytes -= record_bytes(entry);
    entry->value_len = (uint32_t)write->value.len;
    shard->record_bytes += record_bytes(entry);
    if (has_expiry) {
        flx_wheel_set(&shard->pool->wheel, deadline_of(entry), write->expires_at_ms);
    }
    return true;
}

/* Stores the write in place of `old` (NULL: as a new entry); NULL when memory is out. */
static cache_entry *store(flx_cache_shard *shard, cache_entry *old, const flx_cache_write *write,
                          uint32_t hash)
{
    if (old != NULL && overwrite(shard, old, write)) {
        return old;
    }
    cache_entry *entry = entry_new(shard, write, hash);
    if (entry == NULL) {
        return NULL;
    }
    if (old != NULL) {
        exchange_entry(shard, old, entry);
        return entry;
    }
    if (!index_reserve(shard, hash)) {
        entry_free(entry);
        return NULL;
    }
    link_entry(shard, entry);
    return entry;
}

/* Stores the write in place of `entry`; the log has room for it. */
static flx_status put_stored(flx_cache_shard *shard, cache_entry *entry,
                             const flx_cache_write *write, uint32_t hash, uint64_t now_us,
                             flx_cache_outcome *ret_outcome, flx_error *reterr)
{
    if (entry != NULL) {
        cache_policy_touch(entry); /* a write says as much about a key as a read */
    }
    entry = store(shard, entry, write, hash);
    if (entry == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "store a cache value of %zu bytes",
                        write->value.len);
    }
    const flx_cache_item item = item_of(entry); /* the write may borrow from what is gone now */
    const flx_change change = {.kind = FLX_CHANGE_KIND_PUT,
                               .key = item.key,
                               .value = item.value,
                               .expires_at_ms = item.expires_at_ms};
    entry->version = log_append(shard, &change, now_us);
    *ret_outcome = (flx_cache_outcome){true, entry->version};
    make_room(shard->pool, entry);
    return FLX_OK;
}

/* Written and expired at once: a delete, whether there was something or not; the log has room. */
static void put_expired(flx_cache_shard *shard, cache_entry *entry, flx_slice key, uint64_t now_us,
                        flx_cache_outcome *ret_outcome)
{
    const flx_change change = {
        .kind = FLX_CHANGE_KIND_DELETE, .cause = FLX_CHANGE_EXPIRED, .key = key};
    *ret_outcome = (flx_cache_outcome){true, log_append(shard, &change, now_us)};
    if (entry != NULL) {
        unlink_entry(shard, entry);
        entry_free(entry);
        shard->stats.expirations++;
        shard->pool->stats.expirations++;
    }
}

flx_status flx_cache_shard_put(flx_cache_shard *shard, const flx_cache_write *write,
                               uint64_t now_us, flx_cache_outcome *ret_outcome, flx_error *reterr)
{
    flx_cache_pool *pool = shard->pool;
    flx_status status = check_sizes(pool, write, reterr);
    if (status != FLX_OK) {
        return status;
    }
    unpark(pool);
    const uint32_t hash = hash_of(write->key);
    cache_entry *entry = cache_index_find(&shard->index, hash, write->key);
    /* One that has expired counts as absent, and its place is taken as any other's. */
    const cache_entry *living = entry != NULL && is_expired(entry, now_us) ? NULL : entry;
    if (!is_condition_met(write, living)) {
        *ret_outcome = (flx_cache_outcome){false, living == NULL ? 0 : living->version};
        return FLX_OK;
    }
    if (entry == NULL && is_full_of_keys(shard)) {
        return flx_fail(reterr, FLX_ERR_UNAVAILABLE, "no room for more keys");
    }
    const bool is_late = write->expires_at_ms != 0 && write->expires_at_ms <= now_us / 1000;
    status = log_reserve(shard, write->key.len, is_late ? 0 : write->value.len);
    if (status != FLX_OK) {
        return flx_fail(reterr, status, "log a cache value of %zu bytes", write->value.len);
    }
    if (!is_late) {
        status = put_stored(shard, entry, write, hash, now_us, ret_outcome, reterr);
    } else {
        put_expired(shard, entry, write->key, now_us, ret_outcome);
    }
    if (status == FLX_OK) {
        count_write(shard);
    }
    return status;
}

/* --- what the log has -------------------------------------------------------------------------------- */

/* An entry of the put at `offset`: with its value while there is room. */
static cache_entry *restored_entry(const flx_cache_shard *shard, const flx_change *change,
                                   uint64_t offset)
{
    const flx_cache_pool *pool = shard->pool;
    const size_t size =
        entry_size(change->expires_at_ms != 0, change->key.len, false, change->value.len);
    if (bytes_used(pool) + size > pool->bytes_max) {
        return entry_new_away(shard, change->key, (uint32_t)change->value.len, offset,
                              change->expires_at_ms);
    }
    const flx_cache_write write = {
        .key = change->key, .value = change->value, .expires_at_ms = change->expires_at_ms};
    cache_entry *entry = entry_new(shard, &write, hash_of(change->key));
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
        exchange_entry(shard, old, entry);
        return FLX_OK;
    }
    if (!index_reserve(shard, entry->hash)) {
        entry_free(entry);
        return FLX_ERR_NOMEM;
    }
    link_entry(shard, entry);
    return FLX_OK;
}

flx_status flx_cache_shard_restore(flx_cache_shard *shard, const flx_change *change,
                                   uint64_t offset)
{
    unpark(shard->pool);
    cache_entry *old = cache_index_find(&shard->index, hash_of(change->key), change->key);
    if (change->kind == FLX_CHANGE_KIND_PUT) {
        return restore_put(shard, old, change, offset);
    }
    if (old != NULL) {
        unlink_entry(shard, old);
        entry_free(old);
    }
    return FLX_OK;
}

void flx_cache_shard_bring(flx_cache_shard *shard, flx_slice key, uint64_t version, flx_slice value,
                           flx_chunk *chunk)
{
    unpark(shard->pool);
    const uint32_t hash = hash_of(key);
    cache_entry *old = cache_index_find(&shard->index, hash, key);
    if (old == NULL || !old->is_away || old->version != version) {
        return;
    }
    const flx_cache_write write = {
        .key = key, .value = value, .chunk = chunk, .expires_at_ms = expires_at_ms(old)};
    cache_entry *entry = entry_new(shard, &write, hash);
    if (entry != NULL) { /* else it stays away */
        entry->version = version;
        exchange_entry(shard, old, entry);
        make_room(shard->pool, entry);
    }
}

uint64_t flx_cache_shard_record_bytes(const flx_cache_shard *shard)
{
    return shard->record_bytes;
}

/* --- listing ------------------------------------------------------------------------------------ */

static bool has_prefix(const cache_entry *entry, flx_slice prefix)
{
    return entry->key_len >= prefix.len &&
           (prefix.len == 0 || memcmp(entry->bytes, prefix.ptr, prefix.len) == 0);
}

/* The entries of a segment that are listed, by hash. Shell sort: qsort may allocate. */
static uint32_t gather(const cache_segment *segment, flx_slice prefix, uint64_t from,
                       uint64_t now_us, const cache_entry *found[CACHE_SEGMENT_SLOTS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < segment->cap; i++) {
        const cache_entry *entry = (segment->tags[i] & 0x80) != 0 ? segment->entries[i] : NULL;
        if (entry != NULL && entry->hash >= from && !is_expired(entry, now_us) &&
            has_prefix(entry, prefix)) {
            found[count++] = entry;
        }
    }
    static const uint32_t gaps[] = {132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        const uint32_t gap = gaps[g];
        for (uint32_t i = gap; i < count; i++) {
            const cache_entry *entry = found[i];
            uint32_t j = i;
            for (; j >= gap && found[j - gap]->hash > entry->hash; j -= gap) {
                found[j] = found[j - gap];
            }
            found[j] = entry;
        }
    }
    return count;
}

uint32_t flx_cache_shard_list(const flx_cache_shard *shard, flx_slice prefix, uint64_t now_us,
                              uint32_t limit, flx_cache_cursor *cursor,
                              bool (*each)(void *arg, const flx_cache_item *item), void *arg)
{
    const cache_entry *found[CACHE_SEGMENT_SLOTS];
    uint32_t listed = 0;
    bool has_enough = limit == 0;
    unpark(shard->pool);
    for (int i = 0; i < LIST_SEGMENTS_MAX && !has_enough && !cursor->is_done; i++) {
        uint64_t end = (uint64_t)UINT32_MAX + 1;
        uint32_t count = 0;
        if (shard->index.count > 0) {
            const cache_segment *segment =
                cache_index_segment(&shard->index, (uint32_t)cursor->next, &end);
            count = gather(segment, prefix, cursor->next, now_us, found);
        }
        for (uint32_t j = 0; j < count; j++) {
            if (has_enough && found[j]->hash != found[j - 1]->hash) {
                cursor->next = found[j]->hash;
                return listed;
            }
            const flx_cache_item item = item_of(found[j]);
            const bool goes_on = each(arg, &item);
            listed++;
            has_enough = has_enough || !goes_on || listed >= limit;
        }
        cursor->next = end;
        cursor->is_done = end > UINT32_MAX;
    }
    return listed;
}

/* --- time and figures --------------------------------------------------------------------------- */

static void expire_due(void *arg, flx_wheel_timer *deadline)
{
    flx_cache_pool *pool = arg;
    cache_entry *entry = entry_of(deadline);
    if (!expire_entry(pool->shards[entry->shard], entry)) {
        set_deadline(pool, entry); /* it is due again at once, within the same bound of steps */
    }
}

bool flx_cache_pool_expire(flx_cache_pool *pool, uint64_t now_us, uint32_t limit)
{
    unpark(pool);
    return flx_wheel_advance(&pool->wheel, now_us / 1000, limit, expire_due, pool) == limit;
}

void flx_cache_pool_trim(flx_cache_pool *pool)
{
    unpark(pool);
    make_room(pool, NULL);
}

uint64_t flx_cache_pool_next_expiry_ms(const flx_cache_pool *pool)
{
    return flx_wheel_next_ms(&pool->wheel);
}

void flx_cache_pool_stats(const flx_cache_pool *pool, flx_cache_stats *ret_stats)
{
    *ret_stats = pool->stats;
    ret_stats->bytes = bytes_used(pool);
    ret_stats->bytes_max = pool->bytes_max;
}

void flx_cache_shard_stats(const flx_cache_shard *shard, flx_cache_stats *ret_stats)
{
    *ret_stats = shard->stats;
    ret_stats->bytes += shard->index.bytes;
    ret_stats->bytes_max = shard->pool->bytes_max;
}
