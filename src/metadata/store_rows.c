/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/store_rows.c - entries as rows of a table: bound to statements, read back and checked.
 *
 * Positions and columns follow the statements of store_db.c.
 */
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"
#include "metadata/store_int.h"

#include <string.h>

void flx_store_db_bind_text(sqlite3_stmt *stmt, int position, flx_slice text)
{
    /* "" and not NULL for an empty text. SQLite borrows: every caller steps before it returns. */
    const char *bytes = text.len == 0 ? "" : (const char *)text.ptr;
    const int code = sqlite3_bind_text(stmt, position, bytes, (int)text.len, SQLITE_STATIC);
    FLX_ASSERT(code == SQLITE_OK); /* a static text needs no memory */
}

static void bind_words(sqlite3_stmt *stmt, int position, const char *text)
{
    flx_store_db_bind_text(stmt, position, flx_slice_of(text));
}

static void bind_number(sqlite3_stmt *stmt, int position, uint64_t value)
{
    FLX_ASSERT(value <= INT64_MAX); /* the rules of an entry say so */
    const int code = sqlite3_bind_int64(stmt, position, (sqlite3_int64)value);
    FLX_ASSERT(code == SQLITE_OK);
}

void flx_store_db_bind_key(sqlite3_stmt *stmt, flx_kind kind, const flx_key *key)
{
    flx_store_db_bind_text(stmt, 1, key->tenant);
    if (kind != FLX_KIND_TENANT) {
        flx_store_db_bind_text(stmt, 2, key->namespace_);
    }
    if (kind == FLX_KIND_STREAM || kind == FLX_KIND_CACHE) {
        flx_store_db_bind_text(stmt, 3, key->name);
    }
}

static void bind_stream(sqlite3_stmt *stmt, const flx_stream_info *stream)
{
    bind_number(stmt, 4, stream->shards);
    bind_number(stmt, 5, stream->replication_factor);
    bind_number(stmt, 6, (uint64_t)stream->routing);
    bind_number(stmt, 7, (uint64_t)stream->promise.ack);
    bind_number(stmt, 8, (uint64_t)stream->slow_policy);
    bind_number(stmt, 9, stream->promise.durable ? 1 : 0);
    bind_number(stmt, 10, stream->retention_bytes);
    bind_number(stmt, 11, stream->retention_age_s);
    bind_words(stmt, 12, stream->kind);
    bind_words(stmt, 13, stream->consistency);
    bind_words(stmt, 14, stream->delivery);
    bind_words(stmt, 15, stream->region);
    bind_number(stmt, 16, (uint64_t)stream->promise.fsync);
    bind_number(stmt, 17, stream->promise.fsync_ms);
    bind_number(stmt, 18, stream->retention_records);
}

void flx_store_db_bind_entry(sqlite3_stmt *stmt, const flx_entry *entry)
{
    const flx_key key = flx_entry_key(entry);
    flx_store_db_bind_key(stmt, entry->kind, &key);
    switch (entry->kind) {
    case FLX_KIND_TENANT:
        bind_words(stmt, 2, entry->tenant.display_name);
        return;
    case FLX_KIND_NAMESPACE:
        bind_words(stmt, 3, entry->namespace_.display_name);
        return;
    case FLX_KIND_STREAM:
        bind_stream(stmt, &entry->stream);
        return;
    case FLX_KIND_CACHE:
        bind_words(stmt, 4, entry->cache.display_name);
        bind_number(stmt, 5, entry->cache.shards);
        bind_number(stmt, 6, entry->cache.replication_factor);
        bind_words(stmt, 7, entry->cache.consistency);
        bind_number(stmt, 8, entry->cache.promise.durable ? 1 : 0);
        bind_number(stmt, 9, (uint64_t)entry->cache.promise.ack);
        bind_number(stmt, 10, (uint64_t)entry->cache.promise.fsync);
        bind_number(stmt, 11, entry->cache.promise.fsync_ms);
        return;
    case FLX_KIND_COUNT:
        break;
    }
    FLX_UNREACHABLE();
}

/* A row being read; one column that cannot be ours spoils it. */
typedef struct row {
    sqlite3_stmt *stmt;
    int column;
    bool bad;
    bool no_memory;
} row;

static void take_text(row *from, char *field, size_t size)
{
    const int column = from->column++;
    const char *text = (const char *)sqlite3_column_text(from->stmt, column);
    const size_t len = (size_t)sqlite3_column_bytes(from->stmt, column);
    if (text == NULL) { /* no column is NULL, so there was no memory */
        from->no_memory = true;
    } else if (len >= size || strlen(text) != len) {
        from->bad = true;
    } else {
        memcpy(field, text, len + 1);
    }
}

static uint64_t take_number(row *from, uint64_t max)
{
    const sqlite3_int64 value = sqlite3_column_int64(from->stmt, from->column++);
    if (value < 0 || (uint64_t)value > max) {
        from->bad = true;
        return 0;
    }
    return (uint64_t)value;
}

static void take_stream(row *from, flx_stream_info *stream, uint32_t id)
{
    stream->id = id;
    take_text(from, stream->tenant, sizeof stream->tenant);
    take_text(from, stream->namespace_, sizeof stream->namespace_);
    take_text(from, stream->name, sizeof stream->name);
    stream->shards = (uint32_t)take_number(from, UINT32_MAX);
    stream->replication_factor = (uint32_t)take_number(from, UINT32_MAX);
    stream->routing = (flx_routing)take_number(from, FLX_ROUTING_JUMP_HASH);
    stream->promise.ack = (flx_ack_rule)take_number(from, FLX_ACK_QUORUM);
    stream->slow_policy = (flx_slow_policy)take_number(from, FLX_SLOW_BLOCK);
    stream->promise.durable = take_number(from, 1) == 1;
    stream->retention_bytes = take_number(from, INT64_MAX);
    stream->retention_age_s = take_number(from, INT64_MAX);
    take_text(from, stream->kind, sizeof stream->kind);
    take_text(from, stream->consistency, sizeof stream->consistency);
    take_text(from, stream->delivery, sizeof stream->delivery);
    take_text(from, stream->region, sizeof stream->region);
    stream->promise.fsync = (flx_fsync_rule)take_number(from, FLX_FSYNC_ON_COMMIT);
    stream->promise.fsync_ms = (uint32_t)take_number(from, FLX_FSYNC_MS_MAX);
    stream->retention_records = take_number(from, INT64_MAX);
}

static void take_cache(row *from, flx_cache_info *cache, uint32_t id)
{
    cache->id = id;
    take_text(from, cache->tenant, sizeof cache->tenant);
    take_text(from, cache->namespace_, sizeof cache->namespace_);
    take_text(from, cache->name, sizeof cache->name);
    take_text(from, cache->display_name, sizeof cache->display_name);
    cache->shards = (uint32_t)take_number(from, UINT32_MAX);
    cache->replication_factor = (uint32_t)take_number(from, UINT32_MAX);
    take_text(from, cache->consistency, sizeof cache->consistency);
    cache->promise.durable = take_number(from, 1) == 1;
    cache->promise.ack = (flx_ack_rule)take_number(from, FLX_ACK_QUORUM);
    cache->promise.fsync = (flx_fsync_rule)take_number(from, FLX_FSYNC_ON_COMMIT);
    cache->promise.fsync_ms = (uint32_t)take_number(from, FLX_FSYNC_MS_MAX);
}

flx_status flx_store_db_read_entry(const flx_store_db *db, sqlite3_stmt *stmt, flx_kind kind,
                                   flx_entry *ret_entry, flx_error *reterr)
{
    flx_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.kind = kind;
    row from = {.stmt = stmt};
    const uint32_t id = (uint32_t)take_number(&from, UINT32_MAX);
    if (kind == FLX_KIND_TENANT) {
        take_text(&from, entry.tenant.tenant, sizeof entry.tenant.tenant);
        take_text(&from, entry.tenant.display_name, sizeof entry.tenant.display_name);
    } else if (kind == FLX_KIND_NAMESPACE) {
        take_text(&from, entry.namespace_.tenant, sizeof entry.namespace_.tenant);
        take_text(&from, entry.namespace_.namespace_, sizeof entry.namespace_.namespace_);
        take_text(&from, entry.namespace_.display_name, sizeof entry.namespace_.display_name);
    } else if (kind == FLX_KIND_STREAM) {
        take_stream(&from, &entry.stream, id);
    } else {
        take_cache(&from, &entry.cache, id);
    }
    if (from.no_memory) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "catalog '%s': out of memory", db->path);
    }
    /* Checked twice from two sides: the rules held when it was written. */
    flx_error cause = {0};
    if (from.bad || flx_entry_check(&entry, NULL, &cause) != FLX_OK) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "catalog '%s': a %s row is damaged%s%s", db->path,
                        flx_kind_name(kind), from.bad ? "" : ": ", cause.message);
    }
    *ret_entry = entry;
    return FLX_OK;
}
