/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache.h - the in-memory cache: keys to their newest values, within a budget of bytes.
 *
 *      worker ── flx_cache_pool: budget, eviction queues, deadlines     one a worker
 *                  ├── flx_cache_shard: index key -> entry              one a shard of a cache
 *                  └── flx_cache_shard ...
 *
 * All shards of a worker share the pool's budget: whoever is used least gives way, whichever cache
 * it is in. Pure: no clock, no I/O; the time is an argument (wall clock, because expiry is absolute).
 * A pool and its shards belong to one thread.
 *
 * What a call hands out (flx_cache_item) is borrowed until the next call on the same pool, whichever
 * shard it goes to. An item with a chunk can be kept longer: take a reference to the chunk.
 *
 * The ideas are in cache.c, the rules and limits in CACHE.md.
 */
#ifndef FLX_BROKER_CACHE_H
#define FLX_BROKER_CACHE_H

#include "common/chunk.h"
#include "wire/change.h"

#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

#define FLX_CACHE_KEY_MAX   65536               /* bytes; the empty key is a key */
#define FLX_CACHE_VALUE_MAX ((uint32_t)1 << 30) /* bytes, above every configured limit */
#define FLX_CACHE_CHUNK_BYTES                                                                      \
    4096                         /* values from here on lie in a chunk and are sent without copy */
#define FLX_CACHE_ENTRY_BYTES 96 /* the most an entry costs beside its key and value, on average */

typedef struct flx_cache_pool flx_cache_pool;
typedef struct flx_cache_shard flx_cache_shard;

/* Zero means the default written beside a field. */
typedef struct flx_cache_options {
    uint64_t bytes_max;       /* 256 MiB of entries, index and history; at least 64 KiB */
    uint32_t value_bytes_max; /* 16 MiB; at most bytes_max / 4 counts in any case */
} flx_cache_options;

/* `now_us` is the wall clock; versions start there. FLX_ERR_NOMEM. */
flx_status flx_cache_pool_new(const flx_cache_options *options, uint64_t now_us,
                              flx_cache_pool **ret_pool, flx_error *reterr);
/* Only after all its shards are freed. */
flx_cache_pool *flx_cache_pool_free(flx_cache_pool *pool);

/*
 * What lies below a shard: the log that every change of it becomes a record of, in the order in
 * which they take effect. A shard does not know whether memory or a disk keeps the log; the offset
 * of a record is the version of what it wrote. Without a log versions come from the wall clock.
 */
typedef struct flx_change_log {
    /* Room for a record with this key and value, so that the next append cannot fail. Any error
     * refuses the change, and nothing happened. */
    flx_status (*reserve)(void *arg, size_t key_len, size_t value_len);
    /* Writes the record; returns its offset, which grows. */
    uint64_t (*append)(void *arg, const flx_change *change);
    void *arg;
    /* Set when a record can be read back: then an eviction drops the value only, is no change, and the
     * entry is `away` from then on. Records at or behind what it answers cannot be read yet. */
    uint64_t (*kept_end)(void *arg);
} flx_change_log;

/* Copies `log` (NULL: none), whose arg must outlive the shard. FLX_ERR_NOMEM. */
flx_status flx_cache_shard_new(flx_cache_pool *pool, const flx_change_log *log,
                               flx_cache_shard **ret_shard, flx_error *reterr);
/* Frees what is left in it, in one go; empty a large one with flx_cache_shard_clear before. Neither
 * is a change: the shard is gone, with its log. */
flx_cache_shard *flx_cache_shard_free(flx_cache_shard *shard);
/* Removes at most `limit` entries; true when the shard is empty. */
bool flx_cache_shard_clear(flx_cache_shard *shard, uint32_t limit);

/* One entry as it is read. Borrowed until the next call on the pool. */
typedef struct flx_cache_item {
    flx_slice key;
    flx_slice value;
    flx_chunk *chunk; /* what the value lies in, the value being chunk bytes; NULL: inline */
    uint64_t version;
    uint64_t expires_at_ms; /* 0: never */
    bool is_away; /* the value is in the record at offset `version` only: value.ptr is NULL */
} flx_cache_item;

/* False: not there, or expired (and then removed). A hit counts for staying. */
bool flx_cache_shard_get(flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                         flx_cache_item *ret_item);

/* The same without a trace: nothing is counted or removed. */
bool flx_cache_shard_peek(const flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                          flx_cache_item *ret_item);

/*
 * A change the log holds already, as it is read back when the log is opened: in the order of offsets,
 * on a shard that was empty before. Values stay in memory while the pool has room. FLX_ERR_NOMEM.
 */
flx_status flx_cache_shard_restore(flx_cache_shard *shard, const flx_change *change,
                                   uint64_t offset);

/* The value of an entry that is away was read back, and may stay; nothing when the entry is another by
 * now. Copies, or takes a reference to the chunk, as a put. */
void flx_cache_shard_bring(flx_cache_shard *shard, flx_slice key, uint64_t version, flx_slice value,
                           flx_chunk *chunk);

/* Bytes of the records that hold what is there now: what compaction would leave. */
uint64_t flx_cache_shard_record_bytes(const flx_cache_shard *shard);

/* Removes the key; ret_item (may be NULL) gets what was removed. FLX_ERR_NOT_FOUND: it was not
 * there; or what the log answered. */
flx_status flx_cache_shard_delete(flx_cache_shard *shard, flx_slice key, uint64_t now_us,
                                  flx_cache_item *ret_item);

typedef enum flx_cache_condition {
    FLX_CACHE_ALWAYS,
    FLX_CACHE_IF_ABSENT,
    FLX_CACHE_IF_VERSION /* the entry is there with exactly this version */
} flx_cache_condition;

typedef struct flx_cache_write {
    flx_slice key;    /* copied */
    flx_slice value;  /* copied, unless `chunk` is given and worth keeping */
    flx_chunk *chunk; /* what `value` lies in, or NULL. A reference is taken when value is at least
                               FLX_CACHE_CHUNK_BYTES and half of the chunk; copied otherwise */
    uint64_t expires_at_ms; /* wall clock; 0: never */
    flx_cache_condition condition;
    uint64_t version; /* of FLX_CACHE_IF_VERSION */
} flx_cache_write;

typedef struct flx_cache_outcome {
    bool applied;     /* false: the condition did not hold, nothing changed */
    uint64_t version; /* applied: the new one; otherwise the one that is there, 0: no entry */
} flx_cache_outcome;

/*
 * Writes one key; both value and expiry are replaced. Other entries may be evicted to make room.
 * An expiry that has passed leaves the key absent, and counts as applied.
 *
 * FLX_ERR_TOO_LARGE    the key or the value is above its limit
 * FLX_ERR_UNAVAILABLE  the key is new, and keys whose values are away take what the pool may give them
 * FLX_ERR_NOMEM, or what the log answered: the entry that was there is still there
 */
flx_status flx_cache_shard_put(flx_cache_shard *shard, const flx_cache_write *write,
                               uint64_t now_us, flx_cache_outcome *ret_outcome, flx_error *reterr);

/* Removes the key if it is there with exactly this version; outcome.version is 0 when applied.
 * Otherwise FLX_OK, or what the log answered. */
flx_status flx_cache_shard_delete_if(flx_cache_shard *shard, flx_slice key, uint64_t version,
                                     uint64_t now_us, flx_cache_outcome *ret_outcome);

/* Where a listing goes on. Begins with {0}. */
typedef struct flx_cache_cursor {
    uint64_t next; /* the hash to go on with */
    bool is_done;
} flx_cache_cursor;

/*
 * Lists keys that begin with `prefix`, in the order of their hash: `each` is called for about
 * `limit` of them (keys whose hashes are equal are not torn apart), or until it answers false: that
 * it has enough. It must not call the pool.
 * Returns how many. A call looks at a bounded number of entries, so a page may be short or empty
 * before the end: go on until cursor->is_done. A key that is there during the whole listing is
 * listed exactly once, whatever is written meanwhile; one that comes or goes, at most once.
 */
uint32_t flx_cache_shard_list(const flx_cache_shard *shard, flx_slice prefix, uint64_t now_us,
                              uint32_t limit, flx_cache_cursor *cursor,
                              bool (*each)(void *arg, const flx_cache_item *item), void *arg);

/* Removes expired entries, in at most `limit` steps; true: there may be more to do now. Reads never
 * show an expired entry in any case; this gives its memory back, and lets who watches hear of it. */
bool flx_cache_pool_expire(flx_cache_pool *pool, uint64_t now_us, uint32_t limit);
/* Evicts until the budget holds: values whose records could not be read back before. */
void flx_cache_pool_trim(flx_cache_pool *pool);
/* When to call it again, in ms of the wall clock; UINT64_MAX: nothing has an expiry. */
uint64_t flx_cache_pool_next_expiry_ms(const flx_cache_pool *pool);

typedef struct flx_cache_stats {
    uint64_t entries;
    uint64_t bytes;     /* of the heap, as accounted against bytes_max */
    uint64_t bytes_max; /* of the pool; for a shard the same */
    uint64_t hits;
    uint64_t misses;
    uint64_t writes; /* applied puts and deletes */
    uint64_t evictions;
    uint64_t away;             /* entries whose value is in the log only */
    uint64_t away_value_bytes; /* of those values */
    uint64_t expirations;
} flx_cache_stats;
void flx_cache_pool_stats(const flx_cache_pool *pool, flx_cache_stats *ret_stats);
void flx_cache_shard_stats(const flx_cache_shard *shard, flx_cache_stats *ret_stats);

#endif /* FLX_BROKER_CACHE_H */
