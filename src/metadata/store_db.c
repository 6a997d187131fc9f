/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/store_db.c - the file: its marks, its schema, its statements.
 *
 * A file is looked at before anything is written to it: it must be empty or carry our application
 * id, pass SQLite's own check, and be of a schema we know. Only then is it locked for this process
 * (locking_mode EXCLUSIVE: two nodes on one data directory is a mistake that must not go unseen)
 * and switched to WAL. A migration and its row in `migrations` are one transaction.
 */
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "metadata/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x464c5843 /* "FLXC" */

static const char *const migrations[] = {
    /* 1: tenants, namespaces, streams, caches and their change logs */
    ("CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 0), version INTEGER NOT NULL) STRICT;"
     "INSERT INTO state VALUES(0, 0);"
     "CREATE TABLE feeds(kind INTEGER PRIMARY KEY, next_seq INTEGER NOT NULL) STRICT;"
     "INSERT INTO feeds VALUES(0, 1), (1, 1), (2, 1), (3, 1);"
     "CREATE TABLE changes(kind INTEGER NOT NULL REFERENCES feeds, seq INTEGER NOT NULL,"
     "  op TEXT NOT NULL, key TEXT NOT NULL, object TEXT, PRIMARY KEY(kind, seq))"
     "  STRICT, WITHOUT ROWID;"
     "CREATE TABLE tenants(tenant TEXT PRIMARY KEY, display_name TEXT NOT NULL)"
     "  STRICT, WITHOUT ROWID;"
     "CREATE TABLE namespaces(tenant TEXT NOT NULL REFERENCES tenants, namespace TEXT NOT NULL,"
     "  display_name TEXT NOT NULL, PRIMARY KEY(tenant, namespace)) STRICT, WITHOUT ROWID;"
     "CREATE TABLE streams(id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL,"
     "  namespace TEXT NOT NULL, name TEXT NOT NULL, shards INTEGER NOT NULL,"
     "  replication_factor INTEGER NOT NULL, routing INTEGER NOT NULL, ack INTEGER NOT NULL,"
     "  slow_policy INTEGER NOT NULL, durable INTEGER NOT NULL, retention_bytes INTEGER NOT NULL,"
     "  retention_age_s INTEGER NOT NULL, kind TEXT NOT NULL, consistency TEXT NOT NULL,"
     "  delivery TEXT NOT NULL, region TEXT NOT NULL, UNIQUE(tenant, namespace, name),"
     "  FOREIGN KEY(tenant, namespace) REFERENCES namespaces) STRICT;"
     "CREATE TABLE caches(id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL,"
     "  namespace TEXT NOT NULL, name TEXT NOT NULL, display_name TEXT NOT NULL,"
     "  shards INTEGER NOT NULL, replication_factor INTEGER NOT NULL, consistency TEXT NOT NULL,"
     "  UNIQUE(tenant, namespace, name), FOREIGN KEY(tenant, namespace) REFERENCES namespaces)"
     "  STRICT;"),
    /* 2: streams that are durable; before it there were none */
    ("ALTER TABLE streams ADD COLUMN fsync INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE streams ADD COLUMN fsync_ms INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE streams ADD COLUMN retention_records INTEGER NOT NULL DEFAULT 0;"),
    /* 3: caches that are durable */
    ("ALTER TABLE caches ADD COLUMN durable INTEGER NOT NULL DEFAULT 0;"),
    /* 4: the store of logs this catalog belongs to, and deleted entries whose logs may be there yet */
    ("CREATE TABLE log_store(id INTEGER PRIMARY KEY CHECK(id = 0), store_id BLOB NOT NULL) STRICT;"
     "CREATE TABLE dropped(kind INTEGER NOT NULL, id INTEGER NOT NULL, shards INTEGER NOT NULL,"
     "  tenant TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,"
     "  dropped_at_ms INTEGER NOT NULL, PRIMARY KEY(kind, id)) STRICT, WITHOUT ROWID;"),
    /* 5: what an answer of a cache means; those that were durable answered when it was synced */
    ("ALTER TABLE caches ADD COLUMN ack INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE caches ADD COLUMN fsync INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE caches ADD COLUMN fsync_ms INTEGER NOT NULL DEFAULT 0;"
     "UPDATE caches SET ack = 2, fsync = 2 WHERE durable = 1;"),
};

#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof migrations[0]))

/* The columns of a kind: its key first, then the rest; ids stand apart (the store gives them). */
#define STREAM_COLUMNS                                                                             \
    "tenant, namespace, name, shards, replication_factor, routing, ack, slow_policy, durable, "    \
    "retention_bytes, retention_age_s, kind, consistency, delivery, region, fsync, fsync_ms, "     \
    "retention_records"
#define CACHE_COLUMNS                                                                              \
    "tenant, namespace, name, display_name, shards, replication_factor, consistency, durable, "    \
    "ack, fsync, fsync_ms"

/* LIST: 1-3 the key to begin after, 4-5 tenant and namespace ('' = any), 6 the last tenant to look
 * at (so that the index scan ends), 7 how many. */
#define LIST_WHERE "(?4 = '' OR tenant = ?4) AND tenant <= ?6"

static const char *const sql_of_kind[FLX_KIND_COUNT][FLX_SQL_KIND_COUNT] = {
    [FLX_KIND_TENANT] =
        {
            [FLX_SQL_GET] = ("SELECT 0, tenant, display_name FROM tenants WHERE tenant = ?1"),
            [FLX_SQL_INSERT] = ("INSERT INTO tenants(tenant, display_name) VALUES(?1, ?2)"),
            [FLX_SQL_UPDATE] = ("UPDATE tenants SET display_name = ?2 WHERE tenant = ?1"),
            [FLX_SQL_DELETE] = ("DELETE FROM tenants WHERE tenant = ?1"),
            [FLX_SQL_LIST] =
                ("SELECT 0, tenant, display_name FROM tenants WHERE tenant > ?1 AND "
                 "?2 = ?2 AND ?3 = ?3 AND ?5 = ?5 AND " LIST_WHERE " ORDER BY tenant LIMIT ?7"),
            [FLX_SQL_COUNT] = ("SELECT count(*) FROM tenants"),
        },
    [FLX_KIND_NAMESPACE] =
        {
            [FLX_SQL_GET] = ("SELECT 0, tenant, namespace, display_name FROM namespaces "
                             "WHERE tenant = ?1 AND namespace = ?2"),
            [FLX_SQL_INSERT] = ("INSERT INTO namespaces(tenant, namespace, display_name) "
                                "VALUES(?1, ?2, ?3)"),
            [FLX_SQL_UPDATE] = ("UPDATE namespaces SET display_name = ?3 "
                                "WHERE tenant = ?1 AND namespace = ?2"),
            [FLX_SQL_DELETE] = ("DELETE FROM namespaces WHERE tenant = ?1 AND namespace = ?2"),
            [FLX_SQL_LIST] = ("SELECT 0, tenant, namespace, display_name FROM namespaces "
                              "WHERE (tenant, namespace) > (?1, ?2) AND ?3 = ?3 AND ?5 = ?5 "
                              "AND " LIST_WHERE " ORDER BY tenant, namespace LIMIT ?7"),
            [FLX_SQL_COUNT] = ("SELECT count(*) FROM namespaces"),
        },
    [FLX_KIND_STREAM] =
        {
            [FLX_SQL_GET] = ("SELECT id, " STREAM_COLUMNS " FROM streams "
                             "WHERE tenant = ?1 AND namespace = ?2 AND name = ?3"),
            [FLX_SQL_INSERT] = ("INSERT INTO streams(" STREAM_COLUMNS ") VALUES(?1, ?2, ?3, ?4, "
                                "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, "
                                "?18)"),
            [FLX_SQL_UPDATE] = ("UPDATE streams SET shards = ?4, replication_factor = ?5, "
                                "routing = ?6, ack = ?7, slow_policy = ?8, durable = ?9, "
                                "retention_bytes = ?10, retention_age_s = ?11, kind = ?12, "
                                "consistency = ?13, delivery = ?14, region = ?15, fsync = ?16, "
                                "fsync_ms = ?17, retention_records = ?18 "
                                "WHERE tenant = ?1 AND namespace = ?2 AND name = ?3"),
            [FLX_SQL_DELETE] =
                ("DELETE FROM streams WHERE tenant = ?1 AND namespace = ?2 AND name = ?3"),
            [FLX_SQL_LIST] = ("SELECT id, " STREAM_COLUMNS " FROM streams "
                              "WHERE (tenant, namespace, name) > (?1, ?2, ?3) AND "
                              "(?5 = '' OR namespace = ?5) AND " LIST_WHERE
                              " ORDER BY tenant, namespace, name LIMIT ?7"),
            [FLX_SQL_COUNT] = ("SELECT count(*) FROM streams"),
        },
    [FLX_KIND_CACHE] =
        {
            [FLX_SQL_GET] = ("SELECT id, " CACHE_COLUMNS " FROM caches "
                             "WHERE tenant = ?1 AND namespace = ?2 AND name = ?3"),
            [FLX_SQL_INSERT] = ("INSERT INTO caches(" CACHE_COLUMNS ") "
                                "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"),
            [FLX_SQL_UPDATE] = ("UPDATE caches SET display_name = ?4, shards = ?5, "
                                "replication_factor = ?6, consistency = ?7, durable = ?8, "
                                "ack = ?9, fsync = ?10, fsync_ms = ?11 "
                                "WHERE tenant = ?1 AND namespace = ?2 AND name = ?3"),
            [FLX_SQL_DELETE] =
                ("DELETE FROM caches WHERE tenant = ?1 AND namespace = ?2 AND name = ?3"),
            [FLX_SQL_LIST] = ("SELECT id, " CACHE_COLUMNS " FROM caches "
                              "WHERE (tenant, namespace, name) > (?1, ?2, ?3) AND "
                              "(?5 = '' OR namespace = ?5) AND " LIST_WHERE
                              " ORDER BY tenant, namespace, name LIMIT ?7"),
            [FLX_SQL_COUNT] = ("SELECT count(*) FROM caches"),
        },
};

static const char *const sql_one[FLX_SQL_ONE_COUNT] = {
    [FLX_SQL_BEGIN] = ("BEGIN IMMEDIATE"),
    [FLX_SQL_COMMIT] = ("COMMIT"),
    [FLX_SQL_ROLLBACK] = ("ROLLBACK"),
    [FLX_SQL_STATE_GET] = ("SELECT version FROM state WHERE id = 0"),
    [FLX_SQL_STATE_SET] = ("UPDATE state SET version = ?1 WHERE id = 0"),
    [FLX_SQL_FEED_GET] = ("SELECT next_seq FROM feeds WHERE kind = ?1"),
    [FLX_SQL_FEED_SET] = ("UPDATE feeds SET next_seq = ?2 WHERE kind = ?1"),
    [FLX_SQL_CHANGE_ADD] = ("INSERT INTO changes(kind, seq, op, key, object) "
                            "VALUES(?1, ?2, ?3, ?4, ?5)"),
    [FLX_SQL_CHANGE_PRUNE] = ("DELETE FROM changes WHERE kind = ?1 AND seq < ?2"),
    [FLX_SQL_CHANGE_LIST] = ("SELECT seq, op, key, object FROM changes "
                             "WHERE kind = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3"),
    [FLX_SQL_DROPPED_ADD] = ("INSERT INTO dropped(tenant, namespace, name, kind, id, shards, "
                             "dropped_at_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
    [FLX_SQL_DROPPED_LIST] = ("SELECT kind, id, shards, tenant, namespace, name, dropped_at_ms "
                              "FROM dropped ORDER BY kind, id"),
    [FLX_SQL_DROPPED_REMOVE] = ("DELETE FROM dropped WHERE kind = ?1 AND id = ?2"),
    [FLX_SQL_LOG_STORE_GET] = ("SELECT store_id FROM log_store"),
    [FLX_SQL_LOG_STORE_SET] = ("INSERT OR REPLACE INTO log_store(id, store_id) VALUES(0, ?1)"),
    [FLX_SQL_LOG_STORE_FORGET] = ("DELETE FROM log_store"),
};

flx_status flx_store_db_fail(const flx_store_db *db, const char *what, flx_error *reterr)
{
    const int code = db->db == NULL ? SQLITE_NOMEM : sqlite3_errcode(db->db);
    const char *text = sqlite3_errstr(code);
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return flx_fail(reterr, FLX_ERR_NOMEM, "catalog '%s': %s: out of memory", db->path, what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return flx_fail(reterr, FLX_ERR_UNAVAILABLE,
                        "catalog '%s': %s: another process is using it", db->path, what);
    case SQLITE_NOTADB:
        return flx_fail(reterr, FLX_ERR_CORRUPT,
                        "catalog '%s': not a database; it was left as it is", db->path);
    case SQLITE_CORRUPT:
        return flx_fail(reterr, FLX_ERR_CORRUPT, "catalog '%s': %s: damaged: %s", db->path, what,
                        text);
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_TOOBIG:
        return flx_fail(reterr, FLX_ERR_IO, "catalog '%s': %s: %s", db->path, what, text);
    default:
        return flx_fail(reterr, FLX_ERR_INTERNAL, "catalog '%s': %s: %s", db->path, what, text);
    }
}

void flx_store_db_reset(sqlite3_stmt *stmt)
{
    (void)sqlite3_reset(stmt); /* repeats the error of the step, which was handled */
    (void)sqlite3_clear_bindings(stmt);
}

flx_status flx_store_db_run(const flx_store_db *db, flx_store_sql_one sql, flx_error *reterr)
{
    sqlite3_stmt *stmt = db->one[sql];
    const int code = sqlite3_step(stmt);
    flx_status status = FLX_OK;
    if (code != SQLITE_DONE) {
        status = flx_store_db_fail(db, "write", reterr);
    }
    flx_store_db_reset(stmt);
    return status;
}

/* ---- opening ---- */

static flx_status run_text(const flx_store_db *db, const char *sql, const char *what,
                           flx_error *reterr)
{
    return sqlite3_exec(db->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? FLX_OK
               : flx_store_db_fail(db, what, reterr);
}

/* The first column of the first row, as a number. */
static flx_status ask_number(const flx_store_db *db, const char *sql, int64_t *ret_value,
                             flx_error *reterr)
{
    sqlite3_stmt *stmt = NULL;
    flx_status status = FLX_OK;
    if (sqlite3_prepare_v2(db->db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        *ret_value = sqlite3_column_int64(stmt, 0);
    } else {
        status = flx_store_db_fail(db, "read", reterr);
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

/* Makes the file before SQLite does, so that it is never readable by others, not for a moment. */
static flx_status make_file(const flx_store_db *db, const char *directory, flx_error *reterr)
{
    const int file = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        return flx_fail_errno(reterr, errno, "open '%s'", db->path);
    }
    flx_status status = FLX_OK;
    struct stat info;
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = flx_fail(reterr, FLX_ERR_IO, "open '%s': not a regular file", db->path);
    } else if ((info.st_mode & 077) != 0 && fchmod(file, 0600) != 0) {
        status = flx_fail_errno(reterr, errno, "chmod '%s'", db->path);
    }
    (void)close(file);
    return status == FLX_OK ? flx_dir_sync(directory, reterr) : status;
}

/* Only reads. *ret_version: the schema it has, 0 for a new file. */
static flx_status look_at(const flx_store_db *db, int *ret_version, flx_error *reterr)
{
    int64_t id = 0;
    int64_t tables = 0;
    flx_status status = ask_number(db, "PRAGMA application_id", &id, reterr);
    if (status == FLX_OK) {
        status = ask_number(db, "SELECT count(*) FROM sqlite_schema", &tables, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    if (id == 0 && tables == 0) {
        *ret_version = 0;
        return FLX_OK;
    }
    if (id != APPLICATION_ID) {
        return flx_fail(reterr, FLX_ERR_CORRUPT,
                        "catalog '%s': a database, but not a Felix catalog; it was left as it is",
                        db->path);
    }
    int64_t version = 0;
    status = ask_number(db, "SELECT coalesce(max(version), 0) FROM migrations", &version, reterr);
    if (status == FLX_OK && (version < 1 || version > SCHEMA_VERSION)) {
        status = flx_fail(reterr, FLX_ERR_UNSUPPORTED,
                          "catalog '%s': schema %lld, this Felix knows 1..%d; it was left as it is",
                          db->path, (long long)version, SCHEMA_VERSION);
    }
    *ret_version = (int)version;
    return status;
}

static flx_status check_sound(const flx_store_db *db, flx_error *reterr)
{
    sqlite3_stmt *stmt = NULL;
    flx_status status = FLX_OK;
    if (sqlite3_prepare_v2(db->db, "PRAGMA quick_check(1)", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        status = flx_store_db_fail(db, "check", reterr);
    } else {
        const char *answer = (const char *)sqlite3_column_text(stmt, 0);
        if (answer == NULL) {
            status = flx_fail(reterr, FLX_ERR_NOMEM, "catalog '%s': out of memory", db->path);
        } else if (strcmp(answer, "ok") != 0) {
            status =
                flx_fail(reterr, FLX_ERR_CORRUPT,
                         "catalog '%s': damaged: %.120s; it was left as it is", db->path, answer);
        }
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

/* One step of the schema, whole or not at all. */
static flx_status migrate_one(const flx_store_db *db, int version, flx_error *reterr)
{
    char mark[160];
    (void)snprintf(mark, sizeof mark, "INSERT INTO migrations VALUES(%d, %llu)", version,
                   (unsigned long long)(flx_clock_wall_us() / 1000));
    flx_status status = run_text(db, "BEGIN IMMEDIATE", "begin migration", reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (version == 1) {
        char first[256];
        (void)snprintf(first, sizeof first,
                       "PRAGMA application_id = %d; CREATE TABLE migrations(version INTEGER "
                       "PRIMARY KEY, applied_at_ms INTEGER NOT NULL) STRICT",
                       APPLICATION_ID);
        status = run_text(db, first, "migrate", reterr);
    }
    if (status == FLX_OK) {
        status = run_text(db, migrations[version - 1], "migrate", reterr);
    }
    if (status == FLX_OK) {
        status = run_text(db, mark, "migrate", reterr);
    }
    if (status == FLX_OK) {
        status = run_text(db, "COMMIT", "commit migration", reterr);
    }
    if (status != FLX_OK) {
        (void)run_text(db, "ROLLBACK", "roll back", NULL);
    }
    return status;
}

static flx_status set_up(const flx_store_db *db, flx_error *reterr)
{
    int version = 0;
    /* EXCLUSIVE and then a write transaction: from here on the file is this process's. */
    flx_status status = run_text(db, "PRAGMA locking_mode = EXCLUSIVE", "lock", reterr);
    if (status == FLX_OK) {
        status = look_at(db, &version, reterr);
    }
    if (status == FLX_OK) {
        status = check_sound(db, reterr);
    }
    if (status == FLX_OK) {
        status = run_text(db,
                          "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                          "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
                          "PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 1048576;"
                          "BEGIN IMMEDIATE; COMMIT",
                          "lock", reterr);
    }
    while (status == FLX_OK && version < SCHEMA_VERSION) {
        status = migrate_one(db, ++version, reterr);
    }
    return status;
}

static flx_status prepare_all(flx_store_db *db, flx_error *reterr)
{
    for (size_t kind = 0; kind < FLX_KIND_COUNT; kind++) {
        for (size_t i = 0; i < FLX_SQL_KIND_COUNT; i++) {
            if (sqlite3_prepare_v3(db->db, sql_of_kind[kind][i], -1, SQLITE_PREPARE_PERSISTENT,
                                   &db->of_kind[kind][i], NULL) != SQLITE_OK) {
                return flx_store_db_fail(db, "prepare", reterr);
            }
        }
    }
    for (size_t i = 0; i < FLX_SQL_ONE_COUNT; i++) {
        if (sqlite3_prepare_v3(db->db, sql_one[i], -1, SQLITE_PREPARE_PERSISTENT, &db->one[i],
                               NULL) != SQLITE_OK) {
            return flx_store_db_fail(db, "prepare", reterr);
        }
    }
    return FLX_OK;
}

static flx_status read_number(const flx_store_db *db, sqlite3_stmt *stmt, uint64_t *ret_value,
                              flx_error *reterr)
{
    const int code = sqlite3_step(stmt);
    flx_status status = FLX_OK;
    if (code == SQLITE_ROW && sqlite3_column_int64(stmt, 0) >= 0) {
        *ret_value = (uint64_t)sqlite3_column_int64(stmt, 0);
    } else if (code == SQLITE_ROW || code == SQLITE_DONE) {
        status =
            flx_fail(reterr, FLX_ERR_CORRUPT, "catalog '%s': its counters are damaged", db->path);
    } else {
        status = flx_store_db_fail(db, "read", reterr);
    }
    flx_store_db_reset(stmt);
    return status;
}

static flx_status read_marks(const flx_store_db *db, flx_store_marks *marks, flx_error *reterr)
{
    flx_status status = read_number(db, db->one[FLX_SQL_STATE_GET], &marks->version, reterr);
    for (size_t kind = 0; status == FLX_OK && kind < FLX_KIND_COUNT; kind++) {
        (void)sqlite3_bind_int64(db->one[FLX_SQL_FEED_GET], 1, (sqlite3_int64)kind);
        status = read_number(db, db->one[FLX_SQL_FEED_GET], &marks->next_seq[kind], reterr);
        if (status == FLX_OK) {
            status = read_number(db, db->of_kind[kind][FLX_SQL_COUNT], &marks->count[kind], reterr);
        }
    }
    return status;
}

/* Of a file that is only looked at: nothing is locked, and nothing brought up to date. */
static flx_status set_up_to_look(const flx_store_db *db, flx_error *reterr)
{
    int version = 0;
    flx_status status = look_at(db, &version, reterr);
    if (status == FLX_OK) {
        status = run_text(db, "PRAGMA query_only = ON", "look", reterr);
    }
    if (status == FLX_OK && version < SCHEMA_VERSION) {
        status = flx_fail(reterr, FLX_ERR_UNSUPPORTED,
                          "catalog '%s': of an older Felix; the next start brings it up to date",
                          db->path);
    }
    return status;
}

flx_status flx_store_db_open(flx_store_db *db, const char *directory, bool only_looks,
                             uint32_t busy_timeout_ms, flx_store_marks *ret_marks,
                             flx_error *reterr)
{
    memset(db, 0, sizeof *db);
    const int len = snprintf(db->path, sizeof db->path, "%s/%s", directory, FLX_STORE_FILE);
    if (len < 0 || (size_t)len >= sizeof db->path) {
        return flx_fail(reterr, FLX_ERR_INVALID, "data directory: its path is too long");
    }
    flx_status status = only_looks ? FLX_OK : make_file(db, directory, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (sqlite3_open_v2(db->path, &db->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                            SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK) {
        status = flx_store_db_fail(db, "open", reterr);
    }
    if (status == FLX_OK) {
        (void)sqlite3_busy_timeout(db->db, (int)busy_timeout_ms);
        (void)sqlite3_db_config(db->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        status = only_looks ? set_up_to_look(db, reterr) : set_up(db, reterr);
    }
    if (status == FLX_OK) {
        status = prepare_all(db, reterr);
    }
    if (status == FLX_OK) {
        status = read_marks(db, ret_marks, reterr);
    }
    if (status != FLX_OK) {
        flx_store_db_close(db);
    }
    return status;
}

void flx_store_db_close(flx_store_db *db)
{
    for (size_t kind = 0; kind < FLX_KIND_COUNT; kind++) {
        for (size_t i = 0; i < FLX_SQL_KIND_COUNT; i++) {
            (void)sqlite3_finalize(db->of_kind[kind][i]);
            db->of_kind[kind][i] = NULL;
        }
    }
    for (size_t i = 0; i < FLX_SQL_ONE_COUNT; i++) {
        (void)sqlite3_finalize(db->one[i]);
        db->one[i] = NULL;
    }
    const int code = sqlite3_close(db->db);
    FLX_ASSERT(code == SQLITE_OK); /* no statement is left open */
    db->db = NULL;
}
