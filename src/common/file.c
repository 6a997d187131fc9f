/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/file.c - whole small files.
 *
 * Replacing: the content is synced before the rename, or a crash could leave the new name on empty
 * blocks; the directory is synced after it, or the rename itself could be forgotten. A crash in
 * between leaves PATH.tmp-XXXXXX, which nobody reads and the operator may delete.
 *
 * Creating: the same, but linked into place. link() refuses an existing name, so of two processes
 * that start at once one creates and the other reads; rename() would let the second destroy the
 * first one's key.
 */
#include "common/file.h"

#include "common/assert.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP 65536

static flx_status read_to_end(int fd, const char *path, flx_buffer *buffer, flx_error *reterr)
{
    for (;;) {
        const size_t left = buffer->max - buffer->len;
        /* One byte more than fits is asked for, to tell a file that ends there from a larger one. */
        uint8_t extra = 0;
        uint8_t *room = &extra;
        const size_t want = left == 0 ? 1 : left < READ_STEP ? left : READ_STEP;
        if (left > 0 && flx_buffer_reserve(buffer, want, &room) != FLX_OK) {
            return flx_fail(reterr, FLX_ERR_NOMEM, "read '%s'", path);
        }
        const ssize_t got = read(fd, room, want);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return flx_fail_errno(reterr, errno, "read '%s'", path);
        }
        if (got == 0) {
            return FLX_OK;
        }
        if (left == 0) {
            return flx_fail(reterr, FLX_ERR_TOO_LARGE, "read '%s': larger than %zu bytes", path,
                            buffer->max);
        }
        buffer->len += (size_t)got;
    }
}

flx_status flx_file_read(const char *path, flx_buffer *buffer, flx_error *reterr)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        const int sys_errno = errno;
        const flx_status status = flx_fail_errno(reterr, sys_errno, "open '%s'", path);
        if (sys_errno != ENOENT && sys_errno != ENOTDIR) {
            return status;
        }
        if (reterr != NULL) {
            reterr->status = FLX_ERR_NOT_FOUND;
        }
        return FLX_ERR_NOT_FOUND;
    }
    const size_t len_before = buffer->len;
    struct stat info;
    flx_status status = FLX_OK;
    if (fstat(fd, &info) != 0) {
        status = flx_fail_errno(reterr, errno, "look at '%s'", path);
    } else if (S_ISDIR(info.st_mode) || S_ISBLK(info.st_mode) || S_ISSOCK(info.st_mode)) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "read '%s': not a file", path);
    } else {
        status = read_to_end(fd, path, buffer, reterr);
    }
    (void)close(fd);
    if (status != FLX_OK) {
        buffer->len = len_before;
    }
    return status;
}

/* The directory a path lies in, as text in `directory`. */
static void directory_of(const char *path, char directory[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        memcpy(directory, ".", 2);
        return;
    }
    const size_t len = slash == path ? 1 : (size_t)(slash - path);
    memcpy(directory, path, len);
    directory[len] = '\0';
}

flx_status flx_dir_sync(const char *path, flx_error *reterr)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "open directory '%s'", path);
    }
    const bool is_synced = fsync(fd) == 0;
    const int sys_errno = errno;
    (void)close(fd);
    return is_synced ? FLX_OK : flx_fail_errno(reterr, sys_errno, "sync directory '%s'", path);
}

static bool write_all(int fd, flx_slice content)
{
    while (content.len > 0) {
        const ssize_t wrote = write(fd, content.ptr, content.len);
        if (wrote < 0 && errno != EINTR) {
            return false;
        }
        if (wrote > 0) {
            content.ptr += wrote;
            content.len -= (size_t)wrote;
        }
    }
    return true;
}

/* Fills, syncs and closes the temporary file. */
static flx_status fill_temporary(int fd, const char *path, flx_slice content, mode_t mode,
                                 flx_error *reterr)
{
    flx_status status = FLX_OK;
    if (fchmod(fd, mode) != 0 || !write_all(fd, content)) {
        status = flx_fail_errno(reterr, errno, "write '%s'", path);
    } else if (fsync(fd) != 0) {
        status = flx_fail_errno(reterr, errno, "sync '%s'", path);
    }
    if (close(fd) != 0 && status == FLX_OK) {
        status = flx_fail_errno(reterr, errno, "close '%s'", path);
    }
    return status;
}

/* The content under a name of its own beside `path`, complete and synced. */
static flx_status write_beside(const char *path, flx_slice content, mode_t mode,
                               char temporary[PATH_MAX], flx_error *reterr)
{
    const int len = snprintf(temporary, PATH_MAX, "%s.tmp-XXXXXX", path);
    if (len < 0 || len >= PATH_MAX) {
        return flx_fail_errno(reterr, ENAMETOOLONG, "write '%s'", path);
    }
    const int fd = mkostemp(temporary, O_CLOEXEC); /* with mode 0600 until it is complete */
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "create '%s'", temporary);
    }
    const flx_status status = fill_temporary(fd, temporary, content, mode, reterr);
    if (status != FLX_OK) {
        (void)unlink(temporary);
    }
    return status;
}

/* Makes a name given or taken in the directory of `path` durable. */
static flx_status sync_directory_of(const char *path, flx_error *reterr)
{
    char directory[PATH_MAX];
    directory_of(path, directory);
    return flx_dir_sync(directory, reterr);
}

flx_status flx_file_write_atomic(const char *path, flx_slice content, mode_t mode,
                                 flx_error *reterr)
{
    char temporary[PATH_MAX];
    const flx_status status = write_beside(path, content, mode, temporary, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (rename(temporary, path) != 0) {
        const int sys_errno = errno;
        (void)unlink(temporary);
        return flx_fail_errno(reterr, sys_errno, "rename '%s' to '%s'", temporary, path);
    }
    return sync_directory_of(path, reterr);
}

flx_status flx_file_create_atomic(const char *path, flx_slice content, mode_t mode,
                                  flx_error *reterr)
{
    char temporary[PATH_MAX];
    const flx_status status = write_beside(path, content, mode, temporary, reterr);
    if (status != FLX_OK) {
        return status;
    }
    const bool linked = link(temporary, path) == 0;
    const int sys_errno = errno;
    (void)unlink(temporary);
    if (!linked) {
        return sys_errno == EEXIST ? flx_fail(reterr, FLX_ERR_CONFLICT, "'%s' exists already", path)
                                   : flx_fail_errno(reterr, sys_errno, "create '%s'", path);
    }
    return sync_directory_of(path, reterr);
}

static flx_status make_one(const char *path, flx_error *reterr)
{
    if (mkdir(path, 0700) == 0) {
        return FLX_OK;
    }
    const int sys_errno = errno;
    struct stat info;
    if (stat(path, &info) == 0) { /* EEXIST, or EROFS and EACCES of a parent that is there */
        return S_ISDIR(info.st_mode) ? FLX_OK
                                     : flx_fail(reterr, FLX_ERR_CONFLICT,
                                                "make directory '%s': a file is there", path);
    }
    return flx_fail_errno(reterr, sys_errno, "make directory '%s'", path);
}

flx_status flx_dir_make(const char *path, flx_error *reterr)
{
    char part[PATH_MAX];
    const size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        return flx_fail(reterr, FLX_ERR_INVALID, "make directory '%.60s': no such name", path);
    }
    memcpy(part, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (part[i] == '/' && part[i - 1] != '/') {
            part[i] = '\0';
            const flx_status status = make_one(part, reterr);
            if (status != FLX_OK) {
                return status;
            }
            part[i] = '/';
        }
    }
    return make_one(part, reterr);
}
