/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache.c - what a put, a get and a delete do.
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

#include <string.h>

#define ENTRY_PART_MAX 4 /* one entry may take this part of the pool */
#define AWAY_PART_NUM  3 /* keys of values that are away may take 3/4 of the pool */
#define AWAY_PART_DEN  4

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
        cache_unlink(shard, entry);
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
    cache_entry_free(entry);
    shard->stats.expirations++;
    shard->pool->stats.expirations++;
    return true;
}

/* The living entry of a key, NULL when there is none; removes one that has expired. */
static cache_entry *find_living(flx_cache_shard *shard, uint32_t hash, flx_slice key,
                                uint64_t now_us)
{
    cache_entry *entry = cache_index_find(&shard->index, hash, key);
    if (entry != NULL && cache_entry_is_expired(entry, now_us)) {
        (void)expire_entry(shard, entry);
        return NULL;
    }
    return entry;
}

/* Gives up the value of an entry whose record can be read back. False: not now. */
static bool send_away(flx_cache_shard *shard, cache_entry *entry)
{
    if (entry->version >= shard->log.kept_end(shard->log.arg)) {
        return false;
    }
    cache_entry *away = cache_entry_new_away(shard, cache_entry_key(entry), entry->value_len,
                                             entry->version, cache_entry_expires_at_ms(entry));
    if (away == NULL) {
        return false;
    }
    cache_exchange(shard, entry, away);
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
        cache_entry_free(victim);
    }
    shard->stats.evictions++;
    shard->pool->stats.evictions++;
    return true;
}

/* Evicts until the budget holds; `keep` was just written and stays. The work is in proportion to the
 * bytes that were written: every entry evicted makes room for as many. When a log refuses to hear of
 * it the budget does not hold until the next put. */
void cache_make_room(flx_cache_pool *pool, const cache_entry *keep)
{
    while (cache_bytes_used(pool) > pool->bytes_max) {
        cache_entry *victim = cache_policy_victim(&pool->policy, keep);
        if (victim == NULL || !evict(pool->shards[victim->shard], victim)) {
            return;
        }
    }
}

/* --- reading and removing ----------------------------------------------------------------------- */

bool flx_cache_shard_get(flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                         flx_cache_item *ret_item)
{
    cache_unpark(shard->pool);
    cache_entry *entry = find_living(shard, cache_hash(key), key, now_us);
    if (entry == NULL) {
        shard->stats.misses++;
        shard->pool->stats.misses++;
        return false;
    }
    shard->stats.hits++;
    shard->pool->stats.hits++;
    cache_policy_touch(entry);
    *ret_item = cache_entry_item(entry);
    return true;
}

bool flx_cache_shard_peek(const flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                          flx_cache_item *ret_item)
{
    cache_unpark(shard->pool);
    const cache_entry *entry = cache_index_find(&shard->index, cache_hash(key), key);
    if (entry == NULL || cache_entry_is_expired(entry, now_us)) {
        return false;
    }
    *ret_item = cache_entry_item(entry);
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
    cache_unpark(shard->pool);
    cache_entry *entry = find_living(shard, cache_hash(key), key, now_us);
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
        *ret_item = cache_entry_item(entry);
    }
    return FLX_OK;
}

flx_status flx_cache_shard_delete_if(flx_cache_shard *shard, flx_slice key, uint64_t version,
                                     uint64_t now_us, flx_cache_outcome *ret_outcome)
{
    cache_unpark(shard->pool);
    cache_entry *entry = find_living(shard, cache_hash(key), key, now_us);
    if (entry == NULL || entry->version != version) {
        *ret_outcome = (flx_cache_outcome){false, entry == NULL ? 0 : entry->version};
        return FLX_OK;
    }
    const flx_status status = remove_entry(shard, entry, FLX_CHANGE_ASKED);
    if (status != FLX_OK) {
        return status;
    }
    cache_entry_free(entry);
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
        cache_heap_bytes(cache_entry_size(has_expiry, write->key.len, false, write->value.len)) !=
            cache_entry_cost(entry)) {
        return false;
    }
    if (write->value.len > 0) {
        memmove(entry->bytes + entry->key_len, write->value.ptr, write->value.len);
    }
    shard->record_bytes -= cache_entry_record_bytes(entry);
    entry->value_len = (uint32_t)write->value.len;
    shard->record_bytes += cache_entry_record_bytes(entry);
    if (has_expiry) {
        flx_wheel_set(&shard->pool->wheel, cache_entry_deadline(entry), write->expires_at_ms);
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
    cache_entry *entry = cache_entry_new(shard, write, hash);
    if (entry == NULL) {
        return NULL;
    }
    if (old != NULL) {
        cache_exchange(shard, old, entry);
        return entry;
    }
    if (!cache_reserve(shard, hash)) {
        cache_entry_free(entry);
        return NULL;
    }
    cache_link(shard, entry);
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
    const flx_cache_item item =
        cache_entry_item(entry); /* the write may borrow from what is gone now */
    const flx_change change = {.kind = FLX_CHANGE_KIND_PUT,
                               .key = item.key,
                               .value = item.value,
                               .expires_at_ms = item.expires_at_ms};
    entry->version = log_append(shard, &change, now_us);
    *ret_outcome = (flx_cache_outcome){true, entry->version};
    cache_make_room(shard->pool, entry);
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
        cache_unlink(shard, entry);
        cache_entry_free(entry);
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
    cache_unpark(pool);
    const uint32_t hash = cache_hash(write->key);
    cache_entry *entry = cache_index_find(&shard->index, hash, write->key);
    /* One that has expired counts as absent, and its place is taken as any other's. */
    const cache_entry *living =
        entry != NULL && cache_entry_is_expired(entry, now_us) ? NULL : entry;
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

/* --- time ---------------------------------------------------------------------------------------- */

static void expire_due(void *arg, flx_wheel_timer *deadline)
{
    flx_cache_pool *pool = arg;
    cache_entry *entry = cache_entry_of(deadline);
    if (!expire_entry(pool->shards[entry->shard], entry)) {
        cache_set_deadline(pool,
                           entry); /* it is due again at once, within the same bound of steps */
    }
}

bool flx_cache_pool_expire(flx_cache_pool *pool, uint64_t now_us, uint32_t limit)
{
    cache_unpark(pool);
    return flx_wheel_advance(&pool->wheel, now_us / 1000, limit, expire_due, pool) == limit;
}

void flx_cache_pool_trim(flx_cache_pool *pool)
{
    cache_unpark(pool);
    cache_make_room(pool, NULL);
}
