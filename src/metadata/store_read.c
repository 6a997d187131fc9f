/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/store_read.c - what the store is asked: pages, the change log, waits, the snapshot.
 *
 * Nothing here changes the file. Every answer is made under the lock, so a feed's snapshot and the
 * number to go on from belong together, and the catalog's snapshot is built once a version.
 */
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "metadata/catalog_builder.h"
#include "metadata/store.h"
#include "metadata/store_int.h"

#include <time.h>

#define LAST_TENANT "~" /* sorts after every name */

/* ---- lists ---- */

static flx_status visit_rows(flx_catalog_store *store, flx_kind kind, sqlite3_stmt *stmt,
                             size_t limit, flx_status (*visit)(void *arg, const flx_entry *entry),
                             void *arg, bool *ret_more, flx_error *reterr)
{
    flx_status status = FLX_OK;
    bool more = false;
    size_t count = 0;
    int code = sqlite3_step(stmt);
    while (status == FLX_OK && code == SQLITE_ROW && !more) {
        flx_entry entry;
        more = count++ == limit;
        if (!more) {
            status = flx_store_db_read_entry(&store->db, stmt, kind, &entry, reterr);
        }
        if (status == FLX_OK && !more) {
            status = visit(arg, &entry);
            code = status == FLX_OK ? sqlite3_step(stmt) : code;
        }
    }
    if (status == FLX_OK && code != SQLITE_DONE && code != SQLITE_ROW) {
        status = flx_store_db_fail(&store->db, "list", reterr);
    }
    *ret_more = more;
    return status;
}

static flx_status list_locked(flx_catalog_store *store, flx_kind kind, const flx_key *where,
                              const flx_key *after, size_t limit,
                              flx_status (*visit)(void *arg, const flx_entry *entry), void *arg,
                              bool *ret_more, flx_error *reterr)
{
    sqlite3_stmt *stmt = store->db.of_kind[kind][FLX_SQL_LIST];
    const flx_key *low = after != NULL ? after : where; /* a prefix sorts before all it begins */
    const flx_slice last = {(const uint8_t *)LAST_TENANT, sizeof LAST_TENANT - 1};
    flx_store_db_bind_text(stmt, 1, low->tenant);
    flx_store_db_bind_text(stmt, 2, low->namespace_);
    flx_store_db_bind_text(stmt, 3, low->name);
    flx_store_db_bind_text(stmt, 4, where->tenant);
    flx_store_db_bind_text(stmt, 5, where->namespace_);
    flx_store_db_bind_text(stmt, 6, where->tenant.len > 0 ? where->tenant : last);
    /* One more than wanted tells whether there is more. */
    (void)sqlite3_bind_int64(stmt, 7, limit == SIZE_MAX ? -1 : (sqlite3_int64)limit + 1);
    const flx_status status = visit_rows(store, kind, stmt, limit, visit, arg, ret_more, reterr);
    flx_store_db_reset(stmt);
    return status;
}

flx_status flx_catalog_store_list(flx_catalog_store *store, flx_kind kind, const flx_key *where,
                                  const flx_key *after, size_t limit,
                                  flx_status (*visit)(void *arg, const flx_entry *entry), void *arg,
                                  bool *ret_more, flx_error *reterr)
{
    FLX_ASSERT(limit > 0 && limit <= FLX_STORE_PAGE_MAX);
    /* The tenant of a list of tenants would be a name to begin after. */
    FLX_ASSERT(kind != FLX_KIND_TENANT || where->tenant.len == 0);
    flx_store_lock(store);
    const flx_status status =
        list_locked(store, kind, where, after, limit, visit, arg, ret_more, reterr);
    flx_store_unlock(store);
    return status;
}

static flx_slice column_slice(sqlite3_stmt *stmt, int column)
{
    const uint8_t *text = sqlite3_column_text(stmt, column);
    return (flx_slice){text, (size_t)sqlite3_column_bytes(stmt, column)};
}

static flx_status visit_changes(flx_catalog_store *store, sqlite3_stmt *stmt,
                                flx_status (*visit)(void *arg, const flx_change *change), void *arg,
                                uint64_t *next_seq, flx_error *reterr)
{
    flx_status status = FLX_OK;
    int code = sqlite3_step(stmt);
    while (status == FLX_OK && code == SQLITE_ROW) {
        const flx_change change = {.seq = (uint64_t)sqlite3_column_int64(stmt, 0),
                                   .op = column_slice(stmt, 1),
                                   .key = column_slice(stmt, 2),
                                   .object = column_slice(stmt, 3)};
        if (change.op.ptr == NULL || change.key.ptr == NULL) {
            return flx_fail(reterr, FLX_ERR_NOMEM, "catalog '%s': out of memory", store->db.path);
        }
        status = visit(arg, &change);
        *next_seq = change.seq + 1;
        code = status == FLX_OK ? sqlite3_step(stmt) : code;
    }
    if (status == FLX_OK && code != SQLITE_DONE) {
        status = flx_store_db_fail(&store->db, "list changes", reterr);
    }
    return status;
}

flx_status flx_catalog_store_changes(flx_catalog_store *store, flx_kind kind, uint64_t since,
                                     size_t limit,
                                     flx_status (*visit)(void *arg, const flx_change *change),
                                     void *arg, uint64_t *ret_next_seq, flx_error *reterr)
{
    FLX_ASSERT(limit > 0 && limit <= FLX_STORE_PAGE_MAX);
    flx_store_lock(store);
    sqlite3_stmt *stmt = store->db.one[FLX_SQL_CHANGE_LIST];
    uint64_t next_seq = store->marks.next_seq[kind];
    (void)sqlite3_bind_int64(stmt, 1, kind);
    (void)sqlite3_bind_int64(stmt, 2, since > INT64_MAX ? INT64_MAX : (sqlite3_int64)since);
    (void)sqlite3_bind_int64(stmt, 3, (sqlite3_int64)limit);
    const flx_status status = visit_changes(store, stmt, visit, arg, &next_seq, reterr);
    flx_store_db_reset(stmt);
    flx_store_unlock(store);
    if (status == FLX_OK) {
        *ret_next_seq = next_seq;
    }
    return status;
}

flx_status flx_catalog_store_feed_snapshot(flx_catalog_store *store, flx_kind kind,
                                           flx_status (*visit)(void *arg, const flx_entry *entry),
                                           void *arg, uint64_t *ret_next_seq, flx_error *reterr)
{
    const flx_key everywhere = {0};
    bool more = false;
    flx_store_lock(store);
    const flx_status status =
        list_locked(store, kind, &everywhere, NULL, SIZE_MAX, visit, arg, &more, reterr);
    if (status == FLX_OK) {
        *ret_next_seq = store->marks.next_seq[kind];
    }
    flx_store_unlock(store);
    return status;
}

void flx_catalog_store_wait(flx_catalog_store *store, flx_kind kind, uint64_t since,
                            uint32_t wait_ms)
{
    const uint64_t deadline = flx_clock_monotonic_ns() + wait_ms * FLX_NS_PER_MS;
    const struct timespec until = {.tv_sec = (time_t)(deadline / FLX_NS_PER_S),
                                   .tv_nsec = (long)(deadline % FLX_NS_PER_S)};
    flx_store_lock(store);
    int code = 0;
    while (code == 0 && !store->waking && store->marks.next_seq[kind] <= since) {
        code = pthread_cond_timedwait(&store->grown, &store->lock, &until);
    }
    flx_store_unlock(store);
}

void flx_catalog_store_wake_all(flx_catalog_store *store)
{
    flx_store_lock(store);
    store->waking = true;
    (void)pthread_cond_broadcast(&store->grown);
    flx_store_unlock(store);
}

/* ---- the snapshot ---- */

typedef struct snapshot_build {
    flx_catalog_builder *builder;
    flx_error *reterr;
} snapshot_build;

static flx_status add_to_snapshot(void *arg, const flx_entry *entry)
{
    const snapshot_build *build = arg;
    if (entry->kind == FLX_KIND_STREAM) {
        return flx_catalog_builder_stream(build->builder, &entry->stream, build->reterr);
    }
    if (entry->kind == FLX_KIND_CACHE) {
        return flx_catalog_builder_cache(build->builder, &entry->cache, build->reterr);
    }
    const flx_key key = flx_entry_key(entry);
    return flx_catalog_builder_namespace(build->builder, key.tenant, key.namespace_, build->reterr);
}

static flx_status build_snapshot(flx_catalog_store *store, flx_error *reterr)
{
    static const flx_kind kinds[] = {FLX_KIND_TENANT, FLX_KIND_NAMESPACE, FLX_KIND_STREAM,
                                     FLX_KIND_CACHE};
    const flx_key everywhere = {0};
    const snapshot_build build = {flx_catalog_builder_new(), reterr};
    if (build.builder == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "catalog: out of memory");
    }
    flx_status status = FLX_OK;
    for (size_t i = 0; status == FLX_OK && i < sizeof kinds / sizeof kinds[0]; i++) {
        bool more = false;
        status = list_locked(store, kinds[i], &everywhere, NULL, SIZE_MAX, add_to_snapshot,
                             (void *)(uintptr_t)&build, &more, reterr);
    }
    if (status == FLX_OK) {
        status = flx_catalog_builder_finish(build.builder, store->marks.version, &store->snapshot,
                                            reterr);
    }
    (void)flx_catalog_builder_free(build.builder);
    return status;
}

flx_status flx_catalog_store_snapshot(flx_catalog_store *store, flx_catalog **ret_catalog,
                                      flx_error *reterr)
{
    flx_status status = FLX_OK;
    flx_store_lock(store);
    if (store->snapshot == NULL) {
        status = build_snapshot(store, reterr);
    }
    if (status == FLX_OK) {
        *ret_catalog = flx_catalog_ref(store->snapshot);
    }
    flx_store_unlock(store);
    return status;
}
