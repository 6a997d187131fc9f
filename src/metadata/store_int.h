/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/store_int.h - the store's inside: store.c changes and store_read.c answers; store_db.c has
 * the file and its statements, store_rows.c the rows.
 *
 * Everything here runs with the store's lock held, or before anybody else knows the store.
 */
#ifndef FLX_METADATA_STORE_INT_H
#define FLX_METADATA_STORE_INT_H

#include "metadata/entry.h"
#include "metadata/store.h"

#include <pthread.h>
#include <sqlite3.h>

typedef enum flx_store_sql { /* statements of a kind */
                             FLX_SQL_GET,
                             FLX_SQL_INSERT,
                             FLX_SQL_UPDATE,
                             FLX_SQL_DELETE,
                             FLX_SQL_LIST,
                             FLX_SQL_COUNT,
                             FLX_SQL_KIND_COUNT
} flx_store_sql;

typedef enum flx_store_sql_one { /* statements there is one of */
                                 FLX_SQL_BEGIN,
                                 FLX_SQL_COMMIT,
                                 FLX_SQL_ROLLBACK,
                                 FLX_SQL_STATE_GET,
                                 FLX_SQL_STATE_SET,
                                 FLX_SQL_FEED_GET,
                                 FLX_SQL_FEED_SET,
                                 FLX_SQL_CHANGE_ADD,
                                 FLX_SQL_CHANGE_PRUNE,
                                 FLX_SQL_CHANGE_LIST,
                                 FLX_SQL_DROPPED_ADD,
                                 FLX_SQL_DROPPED_LIST,
                                 FLX_SQL_DROPPED_REMOVE,
                                 FLX_SQL_LOG_STORE_GET,
                                 FLX_SQL_LOG_STORE_SET,
                                 FLX_SQL_LOG_STORE_FORGET,
                                 FLX_SQL_ONE_COUNT
} flx_store_sql_one;

/* What a transaction moves; copied at its begin, taken over when the commit is on disk. */
typedef struct flx_store_marks {
    uint64_t version;
    uint64_t next_seq[FLX_KIND_COUNT];
    uint64_t count[FLX_KIND_COUNT];
} flx_store_marks;

typedef struct flx_store_db {
    sqlite3 *db;
    sqlite3_stmt *of_kind[FLX_KIND_COUNT][FLX_SQL_KIND_COUNT];
    sqlite3_stmt *one[FLX_SQL_ONE_COUNT];
    char path[512];
} flx_store_db;

struct flx_catalog_store {
    pthread_mutex_t lock;
    pthread_cond_t grown; /* a change log grew, or waits end */
    flx_store_db db;
    flx_store_marks marks; /* as they are on disk */
    flx_catalog *snapshot; /* of marks.version; NULL until somebody asks */
    flx_abilities abilities;
    uint32_t change_rows_max;
    uint32_t entries_max;
    void (*changed)(void *arg, uint64_t version);
    void *arg;
    bool failed; /* a sync failed; nothing is written any more */
    bool waking; /* no wait waits any more */
};

void flx_store_lock(flx_catalog_store *store);
void flx_store_unlock(flx_catalog_store *store);

/* ---- store_db.c ---- */

/* Opens and checks the file, brings its schema up to date, prepares the statements, reads the
 * marks. On failure nothing stays open. */
flx_status flx_store_db_open(flx_store_db *db, const char *directory, bool only_looks,
                             uint32_t busy_timeout_ms, flx_store_marks *ret_marks,
                             flx_error *reterr);
void flx_store_db_close(flx_store_db *db);

/* The error of the last SQLite call on `db`, in our words: "catalog '...': disk I/O error". */
flx_status flx_store_db_fail(const flx_store_db *db, const char *what, flx_error *reterr);

/* Runs a statement that answers no row. */
flx_status flx_store_db_run(const flx_store_db *db, flx_store_sql_one sql, flx_error *reterr);

/* Gets a statement ready for the next use: no row pending, nothing bound. */
void flx_store_db_reset(sqlite3_stmt *stmt);

/* ---- store_rows.c ---- */

/* Borrows the bytes until the statement is reset. */
void flx_store_db_bind_text(sqlite3_stmt *stmt, int position, flx_slice text);
/* The key at positions 1 .. as many parts as the kind has. */
void flx_store_db_bind_key(sqlite3_stmt *stmt, flx_kind kind, const flx_key *key);
/* All columns of an entry but its id, in the order of the INSERT and UPDATE statements. */
void flx_store_db_bind_entry(sqlite3_stmt *stmt, const flx_entry *entry);
/* The row a GET or LIST statement stands on. FLX_ERR_CORRUPT when it cannot be one of ours. */
flx_status flx_store_db_read_entry(const flx_store_db *db, sqlite3_stmt *stmt, flx_kind kind,
                                   flx_entry *ret_entry, flx_error *reterr);

/* ---- store_logs.c ---- */

/* Part of the transaction that deletes `entry`. */
flx_status flx_store_db_drop_logs(const flx_store_db *db, const flx_entry *entry,
                                  flx_error *reterr);

#endif /* FLX_METADATA_STORE_INT_H */
