/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/register.c - the entries of the register.
 *
 * An entry is a file of its own, not a line in a list: logs are made and deleted by the I/O threads of
 * all workers at once, and none of them waits for another's.
 */
#include "storage/register.h"

#include "common/error.h"

#include <stdio.h>
#include <string.h>

#define SUFFIX     ".log" /* so that no entry is named as the .tmp of another */
#define SUFFIX_LEN (sizeof SUFFIX - 1)

static void entry_path(const char *name, char ret_path[FLX_DISK_PATH_MAX])
{
    (void)snprintf(ret_path, FLX_DISK_PATH_MAX, FLX_REGISTER_DIRECTORY "/%s" SUFFIX, name);
}

bool flx_register_name_parse(const char *file, char ret_name[FLX_LOG_NAME_MAX + 1])
{
    const size_t len = strlen(file);
    if (len <= SUFFIX_LEN || len - SUFFIX_LEN > FLX_LOG_NAME_MAX ||
        strcmp(file + len - SUFFIX_LEN, SUFFIX) != 0) {
        return false;
    }
    memcpy(ret_name, file, len - SUFFIX_LEN);
    ret_name[len - SUFFIX_LEN] = '\0';
    return flx_log_name_is_valid(ret_name);
}

flx_status flx_register_look(const flx_store *store, const char *name, flx_registered *ret_entry,
                             flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    entry_path(name, path);
    flx_disk *disk = flx_store_disk(store);
    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, path, FLX_DISK_READ, &file, reterr);
    if (status == FLX_ERR_NOT_FOUND) {
        *ret_entry = (flx_registered){.is_there = false};
        return FLX_OK;
    }
    uint8_t bytes[FLX_REGISTER_ENTRY_BYTES + 1];
    size_t len = 0;
    if (status == FLX_OK) {
        status = disk->ops->read(file, bytes, sizeof bytes, 0, &len, reterr);
        (void)flx_disk_close(file);
    }
    if (status != FLX_OK) {
        return status;
    }
    flx_register_entry entry;
    *ret_entry = (flx_registered){.is_there = true};
    if (flx_register_entry_decode((flx_slice){bytes, len}, &entry, NULL) == FLX_OK &&
        memcmp(entry.store_id, flx_store_id(store), FLX_DISK_ID_BYTES) == 0) {
        ret_entry->is_readable = true;
        memcpy(ret_entry->log_id, entry.log_id, FLX_DISK_ID_BYTES);
    }
    return FLX_OK;
}

flx_status flx_register_add(const flx_store *store, const char *name,
                            const uint8_t log_id[FLX_DISK_ID_BYTES], uint64_t now_us,
                            flx_error *reterr)
{
    flx_register_entry entry = {.created_us = now_us};
    memcpy(entry.store_id, flx_store_id(store), FLX_DISK_ID_BYTES);
    memcpy(entry.log_id, log_id, FLX_DISK_ID_BYTES);
    uint8_t bytes[FLX_REGISTER_ENTRY_BYTES];
    flx_register_entry_encode(&entry, bytes);
    char file[FLX_LOG_NAME_MAX + sizeof SUFFIX];
    (void)snprintf(file, sizeof file, "%s" SUFFIX, name);
    return flx_disk_replace(flx_store_disk(store), FLX_REGISTER_DIRECTORY, file, bytes,
                            sizeof bytes, reterr);
}

flx_status flx_register_remove(const flx_store *store, const char *name, flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    entry_path(name, path);
    flx_disk *disk = flx_store_disk(store);
    const flx_status status = disk->ops->unlink(disk, path, reterr);
    if (status == FLX_ERR_NOT_FOUND) {
        return FLX_OK;
    }
    return status == FLX_OK ? disk->ops->sync_dir(disk, FLX_REGISTER_DIRECTORY, reterr) : status;
}
