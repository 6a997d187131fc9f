/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/file.c - key and certificate files.
 *
 * common/file.h replaces files; what it does not do is create one that must not be there yet, and
 * read one that nobody else may read. Creating: the content is written under another name, synced and
 * linked into place. link() refuses an existing name, so of two processes that start at once one
 * creates and the other reads; rename() would let the second destroy the first one's key.
 *
 * Reading follows symbolic links, because Kubernetes mounts secrets through them, and allows the
 * group to read, because fsGroup sets 0640; anybody else is refused.
 */
#include "common/file.h"

#include "common/assert.h"
#include "common/error.h"
#include "crypto/digest.h"
#include "crypto/file_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A check on the open descriptor, so that what is checked is what is read. */
static flx_status check_file(int fd, const char *path, size_t len_max, flx_file_kind kind,
                             size_t *ret_len, flx_error *reterr)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return flx_fail_errno(reterr, errno, "stat '%s'", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "'%s' is not a regular file", path);
    }
    if (kind == FLX_FILE_SECRET && (info.st_mode & 027) != 0) {
        return flx_fail(reterr, FLX_ERR_DENIED,
                        "'%s' holds a secret but its mode is %04o: chmod 0600 it", path,
                        (unsigned)(info.st_mode & 07777));
    }
    if (info.st_size <= 0 || (uint64_t)info.st_size > len_max) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "'%s' has %lld bytes, expected 1 to %zu", path,
                        (long long)info.st_size, len_max);
    }
    *ret_len = (size_t)info.st_size;
    return FLX_OK;
}

/* Exactly `len` bytes; a file that shrinks meanwhile is damaged. */
static flx_status read_all(int fd, const char *path, uint8_t *bytes, size_t len, flx_error *reterr)
{
    size_t done = 0;
    while (done < len) {
        const ssize_t n = read(fd, bytes + done, len - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return flx_fail_errno(reterr, errno, "read '%s'", path);
        }
        if (n == 0) {
            return flx_fail(reterr, FLX_ERR_CORRUPT, "'%s' changed while it was read", path);
        }
        done += (size_t)n;
    }
    return FLX_OK;
}

flx_status flx_crypto_file_read(const char *path, size_t len_max, flx_file_kind kind,
                                flx_secret *ret_bytes, flx_error *reterr)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return flx_fail(reterr, FLX_ERR_NOT_FOUND, "'%s' does not exist", path);
    }
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "open '%s'", path);
    }
    size_t len = 0;
    flx_secret bytes = {0};
    flx_status status = check_file(fd, path, len_max, kind, &len, reterr);
    if (status == FLX_OK) {
        status = flx_secret_init(&bytes, len, reterr);
    }
    if (status == FLX_OK) {
        status = read_all(fd, path, bytes.bytes, len, reterr);
    }
    (void)close(fd);
    if (status != FLX_OK) {
        flx_secret_done(&bytes);
        return status;
    }
    *ret_bytes = bytes;
    return FLX_OK;
}

static flx_status write_all(int fd, const char *path, flx_slice bytes, flx_error *reterr)
{
    size_t done = 0;
    while (done < bytes.len) {
        const ssize_t n = write(fd, bytes.ptr + done, bytes.len - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return flx_fail_errno(reterr, errno, "write '%s'", path);
        }
        done += (size_t)n;
    }
    if (fsync(fd) != 0) {
        return flx_fail_errno(reterr, errno, "sync '%s'", path);
    }
    return FLX_OK;
}

static flx_status write_temporary(const char *path, flx_slice bytes, mode_t mode, flx_error *reterr)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "create '%s'", path);
    }
    flx_status status = write_all(fd, path, bytes, reterr);
    if (close(fd) != 0 && status == FLX_OK) {
        status = flx_fail_errno(reterr, errno, "close '%s'", path);
    }
    if (status != FLX_OK) {
        (void)unlink(path);
    }
    return status;
}

/* Makes the new name itself durable. */
static flx_status sync_folder_of(const char *path, flx_error *reterr)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return flx_dir_sync(".", reterr);
    }
    const int len = slash == path ? 1 : (int)(slash - path);
    (void)snprintf(folder, sizeof folder, "%.*s", len, path);
    return flx_dir_sync(folder, reterr);
}

/* Gives the finished file its name; the temporary one is gone afterwards in any case. */
static flx_status place(const char *temporary, const char *path, flx_error *reterr)
{
    const int rc = link(temporary, path);
    const int link_errno = errno;
    (void)unlink(temporary);
    if (rc == 0) {
        return sync_folder_of(path, reterr);
    }
    if (link_errno == EEXIST) {
        return flx_fail(reterr, FLX_ERR_CONFLICT, "'%s' exists already", path);
    }
    return flx_fail_errno(reterr, link_errno, "write '%s'", path);
}

static flx_status create(const char *path, flx_slice bytes, mode_t mode, flx_error *reterr)
{
    uint8_t mark[6];
    flx_status status = flx_random(mark, sizeof mark, reterr);
    if (status != FLX_OK) {
        return status;
    }
    char hex[2 * sizeof mark + 1];
    flx_hex((flx_slice){mark, sizeof mark}, hex);
    char temporary[PATH_MAX];
    const int len = snprintf(temporary, sizeof temporary, "%s.%s.tmp", path, hex);
    if (len < 0 || (size_t)len >= sizeof temporary) {
        return flx_fail(reterr, FLX_ERR_INVALID, "the path is longer than %d bytes", PATH_MAX);
    }
    status = write_temporary(temporary, bytes, mode, reterr);
    return status == FLX_OK ? place(temporary, path, reterr) : status;
}

flx_status flx_crypto_file_write(const char *path, flx_slice bytes, flx_file_kind kind,
                                 bool replace, flx_error *reterr)
{
    FLX_ASSERT(bytes.len > 0);
    const mode_t mode = kind == FLX_FILE_SECRET ? 0600 : 0644;
    return replace ? flx_file_write_atomic(path, bytes, mode, reterr)
                   : create(path, bytes, mode, reterr);
}
