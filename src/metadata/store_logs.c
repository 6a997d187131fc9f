/* SPDX-License-Identifier: Apache-2.0 */
/* metadata/store_logs.c - the two tables the disk below the catalog is checked against; see the header. */
#include "metadata/store_logs.h"

#include "common/clock.h"
#include "common/error.h"
#include "metadata/store_int.h"

#include <string.h>

/* ---- deleted entries ------------------------------------------------------------------------ */

flx_status flx_store_db_drop_logs(const flx_store_db *db, const flx_entry *entry, flx_error *reterr)
{
    const bool is_stream = entry->kind == FLX_KIND_STREAM;
    const bool is_durable = is_stream
                                ? entry->stream.promise.durable
                                : entry->kind == FLX_KIND_CACHE && entry->cache.promise.durable;
    if (!is_durable) {
        return FLX_OK;
    }
    const flx_key key = flx_entry_key(entry);
    sqlite3_stmt *stmt = db->one[FLX_SQL_DROPPED_ADD];
    flx_store_db_bind_key(stmt, entry->kind, &key);
    (void)sqlite3_bind_int64(stmt, 4, entry->kind);
    (void)sqlite3_bind_int64(stmt, 5, is_stream ? entry->stream.id : entry->cache.id);
    (void)sqlite3_bind_int64(stmt, 6, is_stream ? entry->stream.shards : entry->cache.shards);
    (void)sqlite3_bind_int64(stmt, 7, (sqlite3_int64)(flx_clock_wall_us() / 1000));
    return flx_store_db_run(db, FLX_SQL_DROPPED_ADD, reterr);
}

static bool copy_text(sqlite3_stmt *stmt, int column, char *to, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    const size_t len = (size_t)sqlite3_column_bytes(stmt, column);
    if (text == NULL || len >= size) {
        return false;
    }
    memcpy(to, text, len + 1);
    return true;
}

static flx_status read_dropped(const flx_store_db *db, sqlite3_stmt *stmt, flx_dropped *ret_dropped,
                               flx_error *reterr)
{
    const sqlite3_int64 kind = sqlite3_column_int64(stmt, 0);
    flx_dropped dropped = {
        .kind = kind == FLX_KIND_STREAM ? FLX_KIND_STREAM : FLX_KIND_CACHE,
        .id = (uint32_t)sqlite3_column_int64(stmt, 1),
        .shards = (uint32_t)sqlite3_column_int64(stmt, 2),
        .dropped_at_ms = (uint64_t)sqlite3_column_int64(stmt, 6),
    };
    if ((kind != FLX_KIND_STREAM && kind != FLX_KIND_CACHE) ||
        !copy_text(stmt, 3, dropped.tenant, sizeof dropped.tenant) ||
        !copy_text(stmt, 4, dropped.namespace_, sizeof dropped.namespace_) ||
        !copy_text(stmt, 5, dropped.name, sizeof dropped.name)) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "catalog '%s': a row of deleted logs is damaged",
                        db->path);
    }
    *ret_dropped = dropped;
    return FLX_OK;
}

flx_status flx_catalog_store_dropped(flx_catalog_store *store,
                                     flx_status (*visit)(void *arg, const flx_dropped *dropped),
                                     void *arg, flx_error *reterr)
{
    flx_store_lock(store);
    sqlite3_stmt *stmt = store->db.one[FLX_SQL_DROPPED_LIST];
    flx_status status = FLX_OK;
    int code = SQLITE_DONE;
    while (status == FLX_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        flx_dropped dropped;
        status = read_dropped(&store->db, stmt, &dropped, reterr);
        status = status == FLX_OK ? visit(arg, &dropped) : status;
    }
    if (status == FLX_OK && code != SQLITE_DONE) {
        status = flx_store_db_fail(&store->db, "list deleted logs", reterr);
    }
    flx_store_db_reset(stmt);
    flx_store_unlock(store);
    return status;
}

/* One statement is a transaction of its own. */
static flx_status run_alone(flx_catalog_store *store, flx_store_sql_one sql, flx_error *reterr)
{
    if (store->failed) {
        flx_store_db_reset(store->db.one[sql]);
        return flx_fail(reterr, FLX_ERR_IO, "catalog '%s': an earlier sync failed", store->db.path);
    }
    return flx_store_db_run(&store->db, sql, reterr);
}

flx_status flx_catalog_store_dropped_done(flx_catalog_store *store, flx_kind kind, uint32_t id,
                                          flx_error *reterr)
{
    flx_store_lock(store);
    sqlite3_stmt *stmt = store->db.one[FLX_SQL_DROPPED_REMOVE];
    (void)sqlite3_bind_int64(stmt, 1, kind);
    (void)sqlite3_bind_int64(stmt, 2, id);
    const flx_status status = run_alone(store, FLX_SQL_DROPPED_REMOVE, reterr);
    flx_store_unlock(store);
    return status;
}

/* ---- the store of logs ---------------------------------------------------------------------- */

flx_status flx_catalog_store_get_log_store(flx_catalog_store *store, bool *ret_is_known,
                                           uint8_t ret_id[FLX_LOG_STORE_ID_BYTES],
                                           flx_error *reterr)
{
    flx_store_lock(store);
    sqlite3_stmt *stmt = store->db.one[FLX_SQL_LOG_STORE_GET];
    const int code = sqlite3_step(stmt);
    flx_status status = FLX_OK;
    *ret_is_known = code == SQLITE_ROW;
    if (code == SQLITE_ROW) {
        const void *id = sqlite3_column_blob(stmt, 0);
        if (id == NULL || sqlite3_column_bytes(stmt, 0) != FLX_LOG_STORE_ID_BYTES) {
            status = flx_fail(reterr, FLX_ERR_CORRUPT,
                              "catalog '%s': the id of its logs is damaged", store->db.path);
        } else {
            memcpy(ret_id, id, FLX_LOG_STORE_ID_BYTES);
        }
    } else if (code != SQLITE_DONE) {
        status = flx_store_db_fail(&store->db, "read", reterr);
    }
    flx_store_db_reset(stmt);
    flx_store_unlock(store);
    return status;
}

flx_status flx_catalog_store_set_log_store(flx_catalog_store *store, const uint8_t *id,
                                           flx_error *reterr)
{
    flx_store_lock(store);
    flx_store_sql_one sql = FLX_SQL_LOG_STORE_FORGET;
    if (id != NULL) {
        sql = FLX_SQL_LOG_STORE_SET;
        (void)sqlite3_bind_blob(store->db.one[sql], 1, id, FLX_LOG_STORE_ID_BYTES, SQLITE_STATIC);
    }
    const flx_status status = run_alone(store, sql, reterr);
    flx_store_unlock(store);
    return status;
}
