/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/store.c - opening, and the changes of the embedded store, each one transaction.
 *
 *     begin ─► rows, change log, marks of the transaction ─► commit ─► marks of the store
 *         └─► anything failed: roll back, the store's marks never moved
 *
 * A commit that fails in its fdatasync leaves the file unknown: the kernel may have dropped the
 * dirty pages and call the next sync fine. The store then takes no more writes until it is opened
 * again, and opening reads back what is there (README.md, rule 6).
 */
#include "metadata/store.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/json.h"
#include "metadata/store_int.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

/* A change in the making. */
typedef struct transaction {
    flx_catalog_store *store;
    flx_store_marks marks;
    bool touched[FLX_KIND_COUNT];
} transaction;

static flx_status make_locks(flx_catalog_store *store, flx_error *reterr)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "store: out of memory");
    }
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    const int cond = pthread_cond_init(&store->grown, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    if (cond != 0) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "store: out of memory");
    }
    if (pthread_mutex_init(&store->lock, NULL) != 0) {
        (void)pthread_cond_destroy(&store->grown);
        return flx_fail(reterr, FLX_ERR_NOMEM, "store: out of memory");
    }
    return FLX_OK;
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value == 0 ? standard : value;
}

flx_status flx_catalog_store_open(const flx_catalog_store_options *options,
                                  flx_catalog_store **ret_store, flx_error *reterr)
{
    flx_catalog_store *store = flx_calloc(1, sizeof *store);
    if (store == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "store: out of memory");
    }
    store->abilities = options->abilities;
    store->change_rows_max = or_default(options->change_rows_max, FLX_STORE_CHANGE_ROWS);
    store->entries_max = or_default(options->entries_max, FLX_STORE_ENTRIES_MAX);
    store->changed = options->changed;
    store->arg = options->arg;
    flx_status status = make_locks(store, reterr);
    if (status != FLX_OK) {
        flx_free(store);
        return status;
    }
    status = flx_store_db_open(&store->db, options->directory, options->only_looks,
                               or_default(options->busy_timeout_ms, FLX_STORE_BUSY_TIMEOUT_MS),
                               &store->marks, reterr);
    if (status != FLX_OK) {
        (void)pthread_mutex_destroy(&store->lock);
        (void)pthread_cond_destroy(&store->grown);
        flx_free(store);
        return status;
    }
    *ret_store = store;
    return FLX_OK;
}

flx_catalog_store *flx_catalog_store_close(flx_catalog_store *store)
{
    if (store != NULL) {
        flx_store_db_close(&store->db);
        (void)flx_catalog_unref(store->snapshot);
        (void)pthread_mutex_destroy(&store->lock);
        (void)pthread_cond_destroy(&store->grown);
        flx_free(store);
    }
    return NULL;
}

const flx_abilities *flx_catalog_store_abilities(const flx_catalog_store *store)
{
    return &store->abilities;
}

void flx_store_lock(flx_catalog_store *store)
{
    const int code = pthread_mutex_lock(&store->lock);
    FLX_ASSERT(code == 0);
}

void flx_store_unlock(flx_catalog_store *store)
{
    const int code = pthread_mutex_unlock(&store->lock);
    FLX_ASSERT(code == 0);
}

/* ---- transactions ---- */

/* Takes the lock, which transaction_end gives back; after a failure it is not held. */
static flx_status transaction_begin(flx_catalog_store *store, transaction *txn, flx_error *reterr)
{
    flx_store_lock(store);
    memset(txn, 0, sizeof *txn);
    txn->store = store;
    txn->marks = store->marks;
    const flx_status status =
        store->failed ? flx_fail(reterr, FLX_ERR_IO,
                                 "catalog '%s': an earlier sync failed; it takes changes again "
                                 "after a restart",
                                 store->db.path)
                      : flx_store_db_run(&store->db, FLX_SQL_BEGIN, reterr);
    if (status != FLX_OK) {
        flx_store_unlock(store);
    }
    return status;
}

static void transaction_roll_back(const transaction *txn)
{
    /* SQLite has already done it after some errors; a second one is then refused, and fine. */
    if (sqlite3_get_autocommit(txn->store->db.db) == 0) {
        (void)flx_store_db_run(&txn->store->db, FLX_SQL_ROLLBACK, NULL);
    }
}

static bool transaction_is_empty(const transaction *txn)
{
    return memcmp(&txn->marks, &txn->store->marks, sizeof txn->marks) == 0;
}

/* Writes the marks and commits. After FLX_OK it is on disk; after an error it has not happened, but
 * for a failed sync, whose outcome only the next open can tell (README.md, rule 6). */
static flx_status transaction_commit(transaction *txn, flx_error *reterr)
{
    flx_catalog_store *store = txn->store;
    const flx_store_db *db = &store->db;
    txn->marks.version++;
    (void)sqlite3_bind_int64(db->one[FLX_SQL_STATE_SET], 1, (sqlite3_int64)txn->marks.version);
    flx_status status = flx_store_db_run(db, FLX_SQL_STATE_SET, reterr);
    for (size_t kind = 0; status == FLX_OK && kind < FLX_KIND_COUNT; kind++) {
        if (txn->touched[kind]) {
            sqlite3_stmt *stmt = db->one[FLX_SQL_FEED_SET];
            (void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)kind);
            (void)sqlite3_bind_int64(stmt, 2, (sqlite3_int64)txn->marks.next_seq[kind]);
            status = flx_store_db_run(db, FLX_SQL_FEED_SET, reterr);
        }
    }
    if (status == FLX_OK) {
        status = flx_store_db_run(db, FLX_SQL_COMMIT, reterr);
        const int code = sqlite3_extended_errcode(db->db);
        store->failed =
            status != FLX_OK && (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC);
    }
    if (status == FLX_OK) {
        store->marks = txn->marks;
        store->snapshot = flx_catalog_unref(store->snapshot);
        (void)pthread_cond_broadcast(&store->grown);
    }
    return status;
}

/* Ends a transaction one way or the other, and the caller's turn with it. */
static flx_status transaction_end(transaction *txn, flx_status status, flx_error *reterr)
{
    flx_catalog_store *store = txn->store;
    const bool has_changes = status == FLX_OK && !transaction_is_empty(txn);
    if (has_changes) {
        status = transaction_commit(txn, reterr);
    }
    transaction_roll_back(txn);
    const uint64_t version = store->marks.version;
    flx_store_unlock(store);
    if (has_changes && status == FLX_OK && store->changed != NULL) {
        store->changed(store->arg, version);
    }
    return status;
}

static flx_status write_change(transaction *txn, flx_kind kind, const char *op, const char *key,
                               const char *object, flx_error *reterr)
{
    const flx_store_db *db = &txn->store->db;
    const uint64_t seq = txn->marks.next_seq[kind]++;
    txn->touched[kind] = true;
    sqlite3_stmt *add = db->one[FLX_SQL_CHANGE_ADD];
    (void)sqlite3_bind_int64(add, 1, kind);
    (void)sqlite3_bind_int64(add, 2, (sqlite3_int64)seq);
    (void)sqlite3_bind_text(add, 3, op, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(add, 4, key, -1, SQLITE_STATIC);
    if (object != NULL) {
        (void)sqlite3_bind_text(add, 5, object, -1, SQLITE_STATIC);
    }
    const flx_status status = flx_store_db_run(db, FLX_SQL_CHANGE_ADD, reterr);
    if (status != FLX_OK || seq < txn->store->change_rows_max) {
        return status;
    }
    sqlite3_stmt *prune = db->one[FLX_SQL_CHANGE_PRUNE];
    (void)sqlite3_bind_int64(prune, 1, kind);
    (void)sqlite3_bind_int64(prune, 2, (sqlite3_int64)(seq + 1 - txn->store->change_rows_max));
    return flx_store_db_run(db, FLX_SQL_CHANGE_PRUNE, reterr);
}

/* Takes the reference; NULL means that making it failed. */
static flx_status json_text(json_t *json, char **ret_text, flx_error *reterr)
{
    if (json == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "json: out of memory");
    }
    const flx_status status = flx_json_write(json, ret_text, reterr);
    json_decref(json);
    return status;
}

/* Adds a line to the kind's change log; `entry` NULL: a deletion. */
static flx_status add_change(transaction *txn, flx_kind kind, const char *op, const flx_key *key,
                             const flx_entry *entry, flx_error *reterr)
{
    char *key_json = NULL;
    char *object_json = NULL;
    flx_status status = json_text(flx_key_to_json(kind, key), &key_json, reterr);
    if (status == FLX_OK && entry != NULL) {
        status = json_text(flx_entry_to_json(entry), &object_json, reterr);
    }
    if (status == FLX_OK) {
        status = write_change(txn, kind, op, key_json, object_json, reterr);
    }
    flx_free(key_json);
    flx_free(object_json);
    return status;
}

/* ---- one entry ---- */

/* *ret_found false: there is none. */
static flx_status find_entry(flx_catalog_store *store, flx_kind kind, const flx_key *key,
                             bool *ret_found, flx_entry *ret_entry, flx_error *reterr)
{
    sqlite3_stmt *stmt = store->db.of_kind[kind][FLX_SQL_GET];
    flx_store_db_bind_key(stmt, kind, key);
    const int code = sqlite3_step(stmt);
    flx_status status = FLX_OK;
    *ret_found = code == SQLITE_ROW;
    if (code == SQLITE_ROW) {
        status = flx_store_db_read_entry(&store->db, stmt, kind, ret_entry, reterr);
    } else if (code != SQLITE_DONE) {
        status = flx_store_db_fail(&store->db, "read", reterr);
    }
    flx_store_db_reset(stmt);
    return status;
}

static flx_status not_found(flx_kind kind, const flx_key *key, flx_error *reterr)
{
    char text[3 * FLX_NAME_MAX + 3];
    return flx_fail(reterr, FLX_ERR_NOT_FOUND, "%s '%s' does not exist", flx_kind_name(kind),
                    flx_key_text(key, text, sizeof text));
}

/* What an entry lives in: the tenant of a namespace, the namespace of the others. */
static flx_status parent_missing(flx_kind kind, const flx_key *key, flx_error *reterr)
{
    flx_key parent = {.tenant = key->tenant};
    if (kind == FLX_KIND_NAMESPACE) {
        return not_found(FLX_KIND_TENANT, &parent, reterr);
    }
    parent.namespace_ = key->namespace_;
    return not_found(FLX_KIND_NAMESPACE, &parent, reterr);
}

static flx_status insert_entry(transaction *txn, const flx_entry *entry, const flx_key *key,
                               flx_error *reterr)
{
    const flx_store_db *db = &txn->store->db;
    sqlite3_stmt *stmt = db->of_kind[entry->kind][FLX_SQL_INSERT];
    flx_store_db_bind_entry(stmt, entry);
    const int code = sqlite3_step(stmt);
    flx_status status = FLX_OK;
    if (code == SQLITE_CONSTRAINT_FOREIGNKEY) {
        status = parent_missing(entry->kind, key, reterr);
    } else if (code != SQLITE_DONE) {
        status = flx_store_db_fail(db, "insert", reterr);
    } else if (sqlite3_last_insert_rowid(db->db) > UINT32_MAX) {
        status =
            flx_fail(reterr, FLX_ERR_AGAIN, "%s: all ids are used up", flx_kind_name(entry->kind));
    }
    flx_store_db_reset(stmt);
    return status;
}

static flx_status create_entry(transaction *txn, const flx_entry *entry, bool *ret_created,
                               flx_error *reterr)
{
    flx_catalog_store *store = txn->store;
    const flx_kind kind = entry->kind;
    const flx_key key = flx_entry_key(entry);
    flx_entry there;
    bool found = false;
    flx_status status = flx_entry_check(entry, &store->abilities, reterr);
    if (status == FLX_OK) {
        status = find_entry(store, kind, &key, &found, &there, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    if (found) {
        char text[3 * FLX_NAME_MAX + 3];
        *ret_created = false;
        return flx_entry_equal(entry, &there)
                   ? FLX_OK
                   : flx_fail(reterr, FLX_ERR_CONFLICT, "%s '%s' exists and is not the same",
                              flx_kind_name(kind), flx_key_text(&key, text, sizeof text));
    }
    if (txn->marks.count[kind] >= store->entries_max) {
        return flx_fail(reterr, FLX_ERR_AGAIN, "%s: there are %u, which is the limit",
                        flx_kind_name(kind), store->entries_max);
    }
    status = insert_entry(txn, entry, &key, reterr);
    if (status == FLX_OK) {
        txn->marks.count[kind]++;
        *ret_created = true;
        status = add_change(txn, kind, "created", &key, entry, reterr);
    }
    return status;
}

flx_status flx_catalog_store_create(flx_catalog_store *store, const flx_entry *entries,
                                    size_t count, bool *ret_created, flx_error *reterr)
{
    FLX_ASSERT(count > 0 && count <= FLX_STORE_BATCH_MAX);
    bool created[FLX_STORE_BATCH_MAX];
    transaction txn;
    flx_status status = transaction_begin(store, &txn, reterr);
    if (status != FLX_OK) {
        return status;
    }
    for (size_t i = 0; status == FLX_OK && i < count; i++) {
        status = create_entry(&txn, &entries[i], &created[i], reterr);
    }
    status = transaction_end(&txn, status, reterr);
    if (status == FLX_OK && ret_created != NULL) {
        memcpy(ret_created, created, count * sizeof created[0]);
    }
    return status;
}

flx_status flx_catalog_store_get(flx_catalog_store *store, flx_kind kind, const flx_key *key,
                                 flx_entry *ret_entry, flx_error *reterr)
{
    bool found = false;
    flx_status status = flx_key_check(kind, key, reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_store_lock(store);
    flx_entry entry = {.kind = kind};
    status = find_entry(store, kind, key, &found, &entry, reterr);
    flx_store_unlock(store);
    if (status == FLX_OK && !found) {
        status = not_found(kind, key, reterr);
    }
    if (status == FLX_OK) {
        *ret_entry = entry;
    }
    return status;
}

static flx_status update_entry(transaction *txn, const flx_entry *entry, const flx_key *key,
                               flx_error *reterr)
{
    const flx_store_db *db = &txn->store->db;
    sqlite3_stmt *stmt = db->of_kind[entry->kind][FLX_SQL_UPDATE];
    flx_store_db_bind_entry(stmt, entry);
    flx_status status =
        sqlite3_step(stmt) == SQLITE_DONE ? FLX_OK : flx_store_db_fail(db, "update", reterr);
    flx_store_db_reset(stmt);
    return status == FLX_OK ? add_change(txn, entry->kind, "updated", key, entry, reterr) : status;
}

static flx_status patch_entry(transaction *txn, flx_kind kind, const flx_key *key,
                              const json_t *body, flx_entry *ret_entry, flx_error *reterr)
{
    flx_catalog_store *store = txn->store;
    bool found = false;
    flx_entry before;
    flx_status status = find_entry(store, kind, key, &found, &before, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (!found) {
        return not_found(kind, key, reterr);
    }
    *ret_entry = before;
    status = flx_entry_patch_json(ret_entry, body, &store->abilities, reterr);
    if (status == FLX_OK && !flx_entry_equal(&before, ret_entry)) {
        status = update_entry(txn, ret_entry, key, reterr);
    }
    return status;
}

flx_status flx_catalog_store_patch(flx_catalog_store *store, flx_kind kind, const flx_key *key,
                                   const json_t *body, flx_entry *ret_entry, flx_error *reterr)
{
    flx_entry entry = {.kind = kind};
    transaction txn;
    flx_status status = flx_key_check(kind, key, reterr);
    if (status == FLX_OK) {
        status = transaction_begin(store, &txn, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    status = patch_entry(&txn, kind, key, body, &entry, reterr);
    status = transaction_end(&txn, status, reterr);
    if (status == FLX_OK) {
        *ret_entry = entry;
    }
    return status;
}

static flx_status delete_entry(transaction *txn, flx_kind kind, const flx_key *key,
                               flx_error *reterr)
{
    const flx_store_db *db = &txn->store->db;
    sqlite3_stmt *stmt = db->of_kind[kind][FLX_SQL_DELETE];
    char text[3 * FLX_NAME_MAX + 3];
    flx_entry entry;
    bool found = false;
    flx_status status = find_entry(txn->store, kind, key, &found, &entry, reterr);
    if (status == FLX_OK && found) {
        status = flx_store_db_drop_logs(db, &entry, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    flx_store_db_bind_key(stmt, kind, key);
    const int code = sqlite3_step(stmt);
    if (code == SQLITE_CONSTRAINT_FOREIGNKEY) {
        status = flx_fail(reterr, FLX_ERR_CONFLICT, "%s '%s' is not empty: it holds %s",
                          flx_kind_name(kind), flx_key_text(key, text, sizeof text),
                          kind == FLX_KIND_TENANT ? "namespaces" : "streams or caches");
    } else if (code != SQLITE_DONE) {
        status = flx_store_db_fail(db, "delete", reterr);
    } else if (sqlite3_changes(db->db) == 0) {
        status = not_found(kind, key, reterr);
    }
    flx_store_db_reset(stmt);
    if (status == FLX_OK) {
        txn->marks.count[kind]--;
        status = add_change(txn, kind, "deleted", key, NULL, reterr);
    }
    return status;
}

flx_status flx_catalog_store_delete(flx_catalog_store *store, flx_kind kind, const flx_key *key,
                                    flx_error *reterr)
{
    transaction txn;
    flx_status status = flx_key_check(kind, key, reterr);
    if (status == FLX_OK) {
        status = transaction_begin(store, &txn, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    status = delete_entry(&txn, kind, key, reterr);
    return transaction_end(&txn, status, reterr);
}
