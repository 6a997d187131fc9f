/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/file.c - reading key and certificate files; common/file.h writes them.
 *
 * Reading follows symbolic links, because Kubernetes mounts secrets through them, and allows the
 * group to read, because fsGroup sets 0640; anybody else is refused.
 */
#include "common/error.h"
#include "crypto/file_int.h"

#include <errno.h>
#include <fcntl.h>
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
