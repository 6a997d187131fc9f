/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/store.c - a data directory: made once, locked, and its logs listed and removed.
 *
 * Making: lock, logs/, trash/, register/, then DIR/store last and atomically. So a directory without
 * DIR/store holds no record yet, unless somebody took the file away: then logs/ or register/ is not empty
 * and opening refuses, because logs of an unknown disk must not be served as ours.
 *
 * A store of before there was a register gets one when it is opened for changing: an entry for every log
 * it has, then DIR/store says that the register is complete.
 *
 * Removing a log: it is struck from the register first, so that it is never missed; then one rename into
 * the trash, synced, is the whole decision. What is in the trash is nobody's; emptying it is done again
 * at the next opening if a crash interrupts it.
 */
#include "storage/store.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/inspect_int.h"
#include "storage/register.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct flx_store {
    flx_disk *disk;
    flx_file *lock;
    flx_store_file file; /* what DIR/store says */
};

bool flx_log_name_is_valid(const char *name)
{
    const size_t len = strlen(name);
    return len > 0 && len <= FLX_LOG_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

void flx_disk_id_make(uint8_t ret_id[FLX_DISK_ID_BYTES])
{
    const ssize_t got = getrandom(ret_id, FLX_DISK_ID_BYTES, 0);
    FLX_ASSERT(got == FLX_DISK_ID_BYTES); /* so few bytes are never interrupted */
}

/* ---- names in a directory ------------------------------------------------------------------- */

typedef struct names {
    char **names;
    size_t count;
    size_t cap;
} names;

static flx_status names_add(void *arg, const flx_disk_entry *entry)
{
    names *list = arg;
    if (list->count == list->cap) {
        const size_t cap = list->cap == 0 ? 64 : list->cap * 2;
        char **grown = flx_realloc(list->names, cap * sizeof grown[0]);
        if (grown == NULL) {
            return FLX_ERR_NOMEM;
        }
        list->names = grown;
        list->cap = cap;
    }
    list->names[list->count] = flx_strdup(entry->name);
    if (list->names[list->count] == NULL) {
        return FLX_ERR_NOMEM;
    }
    list->count++;
    return FLX_OK;
}

static void names_done(names *list)
{
    for (size_t i = 0; i < list->count; i++) {
        flx_free(list->names[i]);
    }
    flx_free(list->names);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static flx_status names_read(flx_disk *disk, const char *path, names *ret_list, flx_error *reterr)
{
    *ret_list = (names){NULL, 0, 0};
    const flx_status status = disk->ops->list(disk, path, names_add, ret_list, reterr);
    if (status == FLX_ERR_NOMEM) {
        (void)flx_fail(reterr, status, "list '%s'", path);
    }
    if (ret_list->count > 1) {
        qsort(ret_list->names, ret_list->count, sizeof ret_list->names[0], by_name);
    }
    return status;
}

/* ---- removing ------------------------------------------------------------------------------- */

static flx_status remove_log_dir(flx_disk *disk, const char *path, flx_error *reterr)
{
    names files;
    flx_status status = names_read(disk, path, &files, reterr);
    for (size_t i = 0; i < files.count && status == FLX_OK; i++) {
        char file[FLX_DISK_PATH_MAX];
        (void)snprintf(file, sizeof file, "%s/%s", path, files.names[i]);
        status = disk->ops->unlink(disk, file, reterr);
    }
    names_done(&files);
    return status == FLX_OK ? disk->ops->remove_dir(disk, path, reterr) : status;
}

static flx_status empty_trash(flx_disk *disk, flx_error *reterr)
{
    names logs;
    flx_status status = names_read(disk, "trash", &logs, reterr);
    for (size_t i = 0; i < logs.count && status == FLX_OK; i++) {
        char path[FLX_DISK_PATH_MAX];
        (void)snprintf(path, sizeof path, "trash/%s", logs.names[i]);
        status = remove_log_dir(disk, path, reterr);
    }
    names_done(&logs);
    return status;
}

flx_status flx_store_remove(flx_store *store, const char *name, flx_error *reterr)
{
    if (!flx_log_name_is_valid(name)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "'%s' is no name of a log", name);
    }
    flx_disk *disk = store->disk;
    uint8_t id[FLX_DISK_ID_BYTES];
    flx_disk_id_make(id);
    char from[FLX_DISK_PATH_MAX];
    char to[FLX_DISK_PATH_MAX];
    (void)snprintf(from, sizeof from, "logs/%s", name);
    /* A name of its own, so that a log made and removed again finds none of its kind there. */
    (void)snprintf(to, sizeof to, "trash/%s.%02x%02x%02x%02x%02x%02x", name, id[0], id[1], id[2],
                   id[3], id[4], id[5]);
    flx_status status = flx_register_remove(store, name, reterr);
    if (status == FLX_OK) {
        status = disk->ops->rename(disk, from, to, reterr);
    }
    if (status == FLX_OK) {
        status = disk->ops->sync_dir(disk, "trash", reterr);
    }
    if (status == FLX_OK) {
        status = disk->ops->sync_dir(disk, "logs", reterr);
    }
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "remove log '%s'", name);
        return status;
    }
    (void)remove_log_dir(disk, to, NULL);
    return FLX_OK;
}

/* The logs that are there and those that should be, each once, in order. */
static flx_status names_of_logs(const flx_store *store, names *ret_list, flx_error *reterr)
{
    names entries;
    flx_status status = names_read(store->disk, "logs", ret_list, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = names_read(store->disk, FLX_REGISTER_DIRECTORY, &entries, reterr);
    if (status == FLX_ERR_NOT_FOUND) { /* of before there was one */
        status = FLX_OK;
    }
    char name[FLX_LOG_NAME_MAX + 1];
    for (size_t i = 0; i < entries.count && status == FLX_OK; i++) {
        if (flx_register_name_parse(entries.names[i], name)) {
            const flx_disk_entry entry = {.name = name};
            status = names_add(ret_list, &entry);
        }
    }
    names_done(&entries);
    if (status == FLX_ERR_NOMEM) {
        (void)flx_fail(reterr, status, "list the logs");
    }
    if (ret_list->count > 1) {
        qsort(ret_list->names, ret_list->count, sizeof ret_list->names[0], by_name);
    }
    return status;
}

flx_status flx_store_list(const flx_store *store, flx_status (*each)(void *arg, const char *name),
                          void *arg, flx_error *reterr)
{
    names logs;
    flx_status status = names_of_logs(store, &logs, reterr);
    for (size_t i = 0; i < logs.count && status == FLX_OK; i++) {
        const bool is_again = i > 0 && strcmp(logs.names[i], logs.names[i - 1]) == 0;
        if (!is_again && flx_log_name_is_valid(logs.names[i])) {
            status = each(arg, logs.names[i]);
        }
    }
    names_done(&logs);
    return status;
}

static flx_status any_file(void *arg, const flx_disk_entry *entry)
{
    (void)entry;
    *(bool *)arg = true;
    return FLX_OK;
}

flx_status flx_store_has(const flx_store *store, const char *name, bool *ret_has, flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    (void)snprintf(path, sizeof path, "logs/%s", name);
    *ret_has = false;
    const flx_status status = store->disk->ops->list(store->disk, path, any_file, ret_has, reterr);
    return status == FLX_ERR_NOT_FOUND ? FLX_OK : status;
}

/* ---- the register --------------------------------------------------------------------------- */

static flx_status store_write(const flx_store *store, flx_error *reterr)
{
    uint8_t bytes[FLX_STORE_FILE_BYTES];
    flx_store_file_encode(&store->file, bytes);
    return flx_disk_replace(store->disk, "", "store", bytes, sizeof bytes, reterr);
}

/* What has no readable state is refused with or without an entry. */
static flx_status register_log(flx_store *store, const char *name, uint64_t now_us,
                               flx_error *reterr)
{
    flx_inspect_files files;
    flx_status status = flx_inspect_files_read(store, name, &files, reterr);
    if (status == FLX_OK && files.has_state) {
        status = flx_register_add(store, name, files.state.log_id, now_us, reterr);
    }
    flx_inspect_files_done(&files);
    return status;
}

static flx_status register_all(flx_store *store, uint64_t now_us, flx_error *reterr)
{
    names logs;
    flx_status status = names_read(store->disk, "logs", &logs, reterr);
    for (size_t i = 0; i < logs.count && status == FLX_OK; i++) {
        if (flx_log_name_is_valid(logs.names[i])) {
            status = register_log(store, logs.names[i], now_us, reterr);
        }
    }
    names_done(&logs);
    if (status == FLX_OK) {
        store->file.has_register = true;
        status = store_write(store, reterr);
    }
    return status;
}

static flx_status register_check(const flx_store *store, flx_error *reterr)
{
    names entries;
    flx_status status = names_read(store->disk, FLX_REGISTER_DIRECTORY, &entries, reterr);
    if (status == FLX_ERR_NOT_FOUND && store->file.has_register) {
        status = flx_fail(reterr, FLX_ERR_CORRUPT,
                          "'" FLX_REGISTER_DIRECTORY "' is missing: which logs should be here? put "
                          "it back, or make an empty one if all of them are");
    } else if (status == FLX_ERR_NOT_FOUND) {
        status = FLX_OK;
    }
    names_done(&entries);
    return status;
}

/* ---- opening -------------------------------------------------------------------------------- */

static flx_status store_make(flx_store *store, uint64_t now_us, flx_error *reterr)
{
    names logs;
    names entries;
    flx_status status = names_read(store->disk, "logs", &logs, reterr);
    const flx_status registered = names_read(store->disk, FLX_REGISTER_DIRECTORY, &entries, reterr);
    status = status == FLX_OK ? registered : status;
    if (status == FLX_OK && logs.count + entries.count > 0) {
        status = flx_fail(reterr, FLX_ERR_CORRUPT,
                          "'store' is missing beside %zu logs: whose are they? put it back from a "
                          "backup, or move 'logs' and '" FLX_REGISTER_DIRECTORY "' aside",
                          logs.count > entries.count ? logs.count : entries.count);
    }
    names_done(&logs);
    names_done(&entries);
    if (status != FLX_OK) {
        return status;
    }
    flx_disk_id_make(store->file.store_id);
    store->file.created_us = now_us;
    store->file.has_register = true;
    return store_write(store, reterr);
}

static flx_status store_read(flx_store *store, flx_error *reterr)
{
    flx_file *file = NULL;
    flx_status status = store->disk->ops->open(store->disk, "store", FLX_DISK_READ, &file, reterr);
    if (status != FLX_OK) {
        return status;
    }
    uint8_t bytes[FLX_STORE_FILE_BYTES + 1];
    size_t len = 0;
    status = file->disk->ops->read(file, bytes, sizeof bytes, 0, &len, reterr);
    if (status == FLX_OK) {
        status = flx_store_file_decode((flx_slice){bytes, len}, &store->file, reterr);
    }
    (void)flx_disk_close(file);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "'store'");
        return status;
    }
    return register_check(store, reterr);
}

/* What every store has, synced before DIR/store says that it is one. Some may have been tidied away by
 * hand; a register that should be there was looked for before. */
static flx_status make_folders(flx_disk *disk, flx_error *reterr)
{
    flx_status status = disk->ops->make_dir(disk, "logs", reterr);
    if (status == FLX_OK) {
        status = disk->ops->make_dir(disk, "trash", reterr);
    }
    if (status == FLX_OK) {
        status = disk->ops->make_dir(disk, FLX_REGISTER_DIRECTORY, reterr);
    }
    return status == FLX_OK ? disk->ops->sync_dir(disk, "", reterr) : status;
}

/* Everything that changes a store needs its lock. */
static flx_status store_lock(flx_store *store, flx_store_how how, uint64_t now_us,
                             flx_error *reterr)
{
    flx_disk *disk = store->disk;
    flx_status status = disk->ops->open(disk, "lock", FLX_DISK_LOCK, &store->lock, reterr);
    if (status == FLX_ERR_CONFLICT) {
        (void)flx_fail(reterr, status, "another process has this data directory open");
    }
    if (status == FLX_OK) {
        status = store_read(store, reterr);
    }
    if (status == FLX_ERR_NOT_FOUND && how == FLX_STORE_CREATE) {
        status = make_folders(disk, reterr);
        return status == FLX_OK ? store_make(store, now_us, reterr) : status;
    }
    if (status == FLX_OK) {
        status = make_folders(disk, reterr);
    }
    if (status == FLX_OK && !store->file.has_register) {
        status = register_all(store, now_us, reterr);
    }
    return status == FLX_OK ? empty_trash(disk, reterr) : status;
}

flx_status flx_store_open(flx_disk *disk, flx_store_how how, uint64_t now_us, flx_store **ret_store,
                          flx_error *reterr)
{
    flx_store *store = flx_calloc(1, sizeof *store);
    if (store == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "open the store");
    }
    store->disk = disk;
    flx_status status = FLX_OK;
    if (how != FLX_STORE_CREATE) {
        status = store_read(store, reterr); /* first: what is no store is left as it is */
    }
    if (status == FLX_OK && how != FLX_STORE_LOOK) {
        status = store_lock(store, how, now_us, reterr);
    }
    if (status != FLX_OK) {
        (void)flx_store_free(store);
        return status;
    }
    *ret_store = store;
    return FLX_OK;
}

flx_store *flx_store_free(flx_store *store)
{
    if (store != NULL) {
        store->lock = flx_disk_close(store->lock);
        flx_free(store);
    }
    return NULL;
}

flx_disk *flx_store_disk(const flx_store *store)
{
    return store->disk;
}

const uint8_t *flx_store_id(const flx_store *store)
{
    return store->file.store_id;
}
