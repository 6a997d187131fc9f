/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/cache.h - get, put and delete in one cache, and its counters. Hearing of changes is watch.h.
 *
 * Requests run side by side on a pool of QUIC streams, one at a time on each (the protocol's rule),
 * and the rest waits in a bounded queue. Two requests for one key that are under way together have no
 * order; wait for the first, or use the _if calls.
 *
 * A miss is not a failure: get answers FLX_OK with found == false. FLX_ERR_NOT_FOUND means that the
 * cache itself is unknown.
 *
 * A get that loses its connection is asked again. A put or delete that had left is not: it ends
 * with FLX_ERR_UNKNOWN_OUTCOME.
 *
 * Threads: any thread may call any function (client.h has the exception, the foreign loop);
 * callbacks run on the client's loop thread.
 */
#ifndef FELIX_CACHE_H
#define FELIX_CACHE_H

#include <felix/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flx_cache flx_cache; /* opaque; see flx_cache_new() */

/* What is under a key. Counted: valid until flx_cache_entry_release(). */
typedef struct flx_cache_entry {
    bool found;
    bool has_version;
    uint64_t version; /* changes with every put; for the _if calls */
    flx_slice value;  /* empty when not found; may be empty when found */
    void *hold;       /* the library's */
} flx_cache_entry;

/* How a cache request ended. */
typedef struct flx_cache_result {
    flx_status status;
    bool applied; /* put_if, delete_if: the condition held */
    const flx_cache_entry
        *entry;             /* get: the value; delete: what was removed; *_if: the version now.
                                     Borrowed during the call: flx_cache_entry_keep() */
    const flx_error *error; /* NULL when FLX_OK */
} flx_cache_result;
typedef void (*flx_cache_fn)(void *arg, const flx_cache_result *result);

#define FLX_TTL_NONE UINT64_C(0) /* as a ttl_ms: never expires */

/* As the condition of put_if: only if there is nothing under the key. */
#define FLX_VERSION_ABSENT UINT64_MAX

/*
 * Opens a cache by name (client.h). Talks to nobody. Uses `client` until freed.
 * FLX_ERR_INVALID  not a cache name
 * FLX_ERR_CLOSED, FLX_ERR_NOMEM
 */
FLX_API flx_status flx_cache_new(flx_client *client, const char *name, flx_cache **ret_cache,
                                 flx_error *reterr);
/* Requests under way end with FLX_ERR_CANCELED or FLX_ERR_UNKNOWN_OUTCOME. NULL is fine. Always returns NULL. */
FLX_API flx_cache *flx_cache_free(flx_cache *cache);

/*
 * The waiting calls. Keys are UTF-8 text without NUL, 1 to 65535 bytes; they and values are copied. Each can answer
 *
 * FLX_ERR_NOT_FOUND        the cache is unknown
 * FLX_ERR_DENIED           the token does not allow it
 * FLX_ERR_AGAIN            too many requests wait already, or the broker is overloaded
 * FLX_ERR_TIMEOUT          no answer in time (a get, or a write that had not left)
 * FLX_ERR_UNKNOWN_OUTCOME  a write had left and no answer came
 * FLX_ERR_UNSUPPORTED      the broker does not offer it
 * FLX_ERR_TOO_LARGE, FLX_ERR_INVALID, FLX_ERR_UNAVAILABLE, FLX_ERR_CLOSED, FLX_ERR_NOMEM
 */
FLX_API flx_status flx_cache_get(flx_cache *cache, flx_slice key, uint32_t timeout_ms,
                                 flx_cache_entry *ret_entry, flx_error *reterr);
FLX_API flx_status flx_cache_put(flx_cache *cache, flx_slice key, flx_slice value, uint64_t ttl_ms,
                                 uint32_t timeout_ms, flx_error *reterr);
/* *ret_removed (may be NULL) is what was there; the caller releases it. */
FLX_API flx_status flx_cache_delete(flx_cache *cache, flx_slice key, uint32_t timeout_ms,
                                    flx_cache_entry *ret_removed, flx_error *reterr);
/*
 * Puts only if the key is at `version` (FLX_VERSION_ABSENT: is not there). *ret_applied says
 * whether; *ret_version (may be NULL) is the new version, or, if not applied, the one that is there (0: none).
 */
FLX_API flx_status flx_cache_put_if(flx_cache *cache, flx_slice key, flx_slice value,
                                    uint64_t ttl_ms, uint64_t version, uint32_t timeout_ms,
                                    bool *ret_applied, uint64_t *ret_version, flx_error *reterr);
FLX_API flx_status flx_cache_delete_if(flx_cache *cache, flx_slice key, uint64_t version,
                                       uint32_t timeout_ms, bool *ret_applied,
                                       uint64_t *ret_version, flx_error *reterr);

/*
 * The same with a callback, called exactly once if and only if the call returns FLX_OK. They time
 * out after the client's request_timeout_ms.
 */
FLX_API flx_status flx_cache_get_async(flx_cache *cache, flx_slice key, flx_cache_fn done,
                                       void *arg, flx_error *reterr);
FLX_API flx_status flx_cache_put_async(flx_cache *cache, flx_slice key, flx_slice value,
                                       uint64_t ttl_ms, flx_cache_fn done, void *arg,
                                       flx_error *reterr);
FLX_API flx_status flx_cache_delete_async(flx_cache *cache, flx_slice key, flx_cache_fn done,
                                          void *arg, flx_error *reterr);
FLX_API flx_status flx_cache_put_if_async(flx_cache *cache, flx_slice key, flx_slice value,
                                          uint64_t ttl_ms, uint64_t version, flx_cache_fn done,
                                          void *arg, flx_error *reterr);
FLX_API flx_status flx_cache_delete_if_async(flx_cache *cache, flx_slice key, uint64_t version,
                                             flx_cache_fn done, void *arg, flx_error *reterr);

/* How a counter request ended. */
typedef struct flx_counter_result {
    flx_status status;
    bool found;             /* false: the counter was never written */
    int64_t value;          /* the sum now */
    const flx_error *error; /* NULL when FLX_OK */
} flx_counter_result;
typedef void (*flx_counter_fn)(void *arg, const flx_counter_result *result);

/*
 * Counters: sums that are added to, apart from values under the same key; they do not expire. An add
 * whose connection was lost ends with FLX_ERR_UNKNOWN_OUTCOME; adding again may count twice. An add
 * that would leave 64 bits is FLX_ERR_INVALID.
 */
FLX_API flx_status flx_counter_add(flx_cache *cache, flx_slice key, int64_t delta,
                                   uint32_t timeout_ms, int64_t *ret_value, flx_error *reterr);
/* *ret_found false: it was never written. */
FLX_API flx_status flx_counter_get(flx_cache *cache, flx_slice key, uint32_t timeout_ms,
                                   bool *ret_found, int64_t *ret_value, flx_error *reterr);
FLX_API flx_status flx_counter_add_async(flx_cache *cache, flx_slice key, int64_t delta,
                                         flx_counter_fn done, void *arg, flx_error *reterr);
FLX_API flx_status flx_counter_get_async(flx_cache *cache, flx_slice key, flx_counter_fn done,
                                         void *arg, flx_error *reterr);

/* A second counted view. It cannot fail: the bytes are shared. */
FLX_API void flx_cache_entry_keep(const flx_cache_entry *entry, flx_cache_entry *ret_entry);
/* Gives the bytes back and clears the entry. Twice and NULL are fine. Any thread. */
FLX_API void flx_cache_entry_release(flx_cache_entry *entry);

#ifdef __cplusplus
}
#endif

#endif /* FELIX_CACHE_H */
