/* SPDX-License-Identifier: Apache-2.0 */
/* storage/disk.c - what every disk does alike: small files replaced whole, pieces written. */
#include "storage/disk.h"

#include "common/assert.h"
#include "common/error.h"

#include <stdio.h>

flx_disk *flx_disk_free(flx_disk *disk)
{
    if (disk != NULL) {
        disk->ops->free(disk);
    }
    return NULL;
}

flx_file *flx_disk_close(flx_file *file)
{
    if (file != NULL) {
        file->disk->ops->close(file);
    }
    return NULL;
}

flx_status flx_disk_write(flx_file *file, const void *bytes, size_t len, uint64_t offset,
                          flx_error *reterr)
{
    union {
        const void *read;
        void *write; /* struct iovec serves both directions */
    } base = {bytes};
    const struct iovec piece = {base.write, len};
    return file->disk->ops->write(file, &piece, 1, offset, reterr);
}

flx_status flx_disk_read_all(flx_file *file, void *to, size_t len, uint64_t offset,
                             flx_error *reterr)
{
    size_t got = 0;
    const flx_status status = file->disk->ops->read(file, to, len, offset, &got, reterr);
    if (status == FLX_OK && got < len) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "the file ends at byte %llu",
                        (unsigned long long)(offset + got));
    }
    return status;
}

flx_status flx_disk_replace(flx_disk *disk, const char *directory, const char *name,
                            const void *bytes, size_t len, flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    char temporary[FLX_DISK_PATH_MAX];
    const char *slash = directory[0] == '\0' ? "" : "/";
    const int path_len = snprintf(path, sizeof path, "%s%s%s", directory, slash, name);
    const int len_needed = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    FLX_ASSERT(path_len > 0 && (size_t)len_needed < sizeof temporary);

    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, temporary, FLX_DISK_CREATE, &file, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_disk_write(file, bytes, len, 0, reterr);
    if (status == FLX_OK) {
        status = disk->ops->sync(file, reterr);
    }
    file = flx_disk_close(file);
    if (status == FLX_OK) {
        status = disk->ops->rename(disk, temporary, path, reterr);
    }
    if (status != FLX_OK) {
        (void)disk->ops->unlink(disk, temporary, NULL);
        return status;
    }
    return disk->ops->sync_dir(disk, directory, reterr);
}
