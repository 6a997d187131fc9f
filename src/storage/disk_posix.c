/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/disk_posix.c - a directory of a real file system.
 *
 * Everything is opened below one directory descriptor, so that a rename of the data directory's parent
 * or a change of the working directory moves nothing under our feet. Interrupted and short calls go
 * on until done or failed; a write of no bytes that says success counts as no room.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/file.h"
#include "storage/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct disk_posix {
    flx_disk base;
    int root; /* directory descriptor */
} disk_posix;

static disk_posix *posix_of(flx_disk *disk)
{
    return (disk_posix *)(void *)disk; /* base is the first member */
}

/* The statuses disk.h promises; flx_fail_errno only knows FLX_ERR_IO. */
static flx_status fail(flx_error *reterr, int sys_errno, const char *what, const char *path)
{
    flx_status status = flx_fail_errno(reterr, sys_errno, "%s '%s'", what, path);
    if (sys_errno == ENOSPC || sys_errno == EDQUOT) {
        status = FLX_ERR_AGAIN;
    } else if (sys_errno == ENOENT) {
        status = FLX_ERR_NOT_FOUND;
    } else if (sys_errno == EWOULDBLOCK) {
        status = FLX_ERR_CONFLICT;
    }
    if (reterr != NULL) {
        reterr->status = status;
    }
    return status;
}

static const char *root_or(const char *path)
{
    return path[0] == '\0' ? "." : path;
}

static flx_status posix_open(flx_disk *disk, const char *path, flx_disk_open_how how,
                             flx_file **ret_file, flx_error *reterr)
{
    static const int flags[] = {
        [FLX_DISK_READ] = O_RDONLY,
        [FLX_DISK_WRITE] = O_RDWR,
        [FLX_DISK_CREATE] = O_RDWR | O_CREAT | O_TRUNC,
        [FLX_DISK_LOCK] = O_RDWR | O_CREAT,
    };
    flx_file *file = flx_alloc(sizeof *file);
    if (file == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "open '%s'", path);
    }
    file->disk = disk;
    file->fd = openat(posix_of(disk)->root, path, flags[how] | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file->fd < 0) {
        const int sys_errno = errno;
        flx_free(file);
        return fail(reterr, sys_errno, "open", path);
    }
    if (how == FLX_DISK_LOCK && flock(file->fd, LOCK_EX | LOCK_NB) != 0) {
        const int sys_errno = errno;
        (void)close(file->fd);
        flx_free(file);
        return fail(reterr, sys_errno, "lock", path);
    }
    *ret_file = file;
    return FLX_OK;
}

static void posix_close(flx_file *file)
{
    (void)close(file->fd);
    flx_free(file);
}

/* What is left of `iov` behind `done` bytes, as at most `cap` pieces in `rest`. */
static size_t iov_rest(const struct iovec *iov, size_t iov_count, uint64_t done, struct iovec *rest,
                       size_t cap)
{
    size_t count = 0;
    for (size_t i = 0; i < iov_count && count < cap; i++) {
        if (done >= iov[i].iov_len) {
            done -= iov[i].iov_len;
            continue;
        }
        rest[count].iov_base = (uint8_t *)iov[i].iov_base + done;
        rest[count].iov_len = iov[i].iov_len - (size_t)done;
        done = 0;
        count++;
    }
    return count;
}

static flx_status posix_write(flx_file *file, const struct iovec *iov, size_t iov_count,
                              uint64_t offset, flx_error *reterr)
{
    uint64_t len = 0;
    for (size_t i = 0; i < iov_count; i++) {
        len += iov[i].iov_len;
    }
    struct iovec rest[64];
    const struct iovec *next = iov;
    size_t next_count = iov_count;
    for (uint64_t done = 0; done < len;) {
        const ssize_t wrote = pwritev(file->fd, next, (int)next_count, (off_t)(offset + done));
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return fail(reterr, wrote < 0 ? errno : ENOSPC, "write", "the segment");
        }
        done += (uint64_t)wrote;
        next = rest;
        next_count = iov_rest(iov, iov_count, done, rest, sizeof rest / sizeof rest[0]);
    }
    return FLX_OK;
}

static flx_status posix_read(flx_file *file, void *to, size_t len, uint64_t offset, size_t *ret_len,
                             flx_error *reterr)
{
    size_t done = 0;
    while (done < len) {
        const ssize_t got =
            pread(file->fd, (uint8_t *)to + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail(reterr, errno, "read", "the file");
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_len = done;
    return FLX_OK;
}

static bool posix_read_now(flx_file *file, void *to, size_t len, uint64_t offset)
{
    const struct iovec piece = {to, len};
    return preadv2(file->fd, &piece, 1, (off_t)offset, RWF_NOWAIT) == (ssize_t)len;
}

static flx_status posix_sync(flx_file *file, flx_error *reterr)
{
    return fdatasync(file->fd) == 0 ? FLX_OK : fail(reterr, errno, "sync", "the file");
}

static flx_status posix_size(flx_file *file, uint64_t *ret_bytes, flx_error *reterr)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return fail(reterr, errno, "look at", "the file");
    }
    *ret_bytes = (uint64_t)info.st_size;
    return FLX_OK;
}

static flx_status posix_truncate(flx_file *file, uint64_t bytes, flx_error *reterr)
{
    return ftruncate(file->fd, (off_t)bytes) == 0 ? FLX_OK : fail(reterr, errno, "cut", "the file");
}

static flx_status posix_rename(flx_disk *disk, const char *from, const char *to, flx_error *reterr)
{
    const int root = posix_of(disk)->root;
    return renameat(root, from, root, to) == 0 ? FLX_OK : fail(reterr, errno, "rename", from);
}

static flx_status posix_unlink(flx_disk *disk, const char *path, flx_error *reterr)
{
    return unlinkat(posix_of(disk)->root, path, 0) == 0 ? FLX_OK
                                                        : fail(reterr, errno, "remove", path);
}

static flx_status posix_make_dir(flx_disk *disk, const char *path, flx_error *reterr)
{
    return mkdirat(posix_of(disk)->root, path, 0700) == 0 || errno == EEXIST
               ? FLX_OK
               : fail(reterr, errno, "make directory", path);
}

static flx_status posix_remove_dir(flx_disk *disk, const char *path, flx_error *reterr)
{
    return unlinkat(posix_of(disk)->root, path, AT_REMOVEDIR) == 0
               ? FLX_OK
               : fail(reterr, errno, "remove directory", path);
}

static int open_dir(flx_disk *disk, const char *path)
{
    return openat(posix_of(disk)->root, root_or(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static flx_status posix_sync_dir(flx_disk *disk, const char *path, flx_error *reterr)
{
    const int fd = open_dir(disk, path);
    if (fd < 0) {
        return fail(reterr, errno, "open directory", path);
    }
    const int sys_errno = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return sys_errno == 0 ? FLX_OK : fail(reterr, sys_errno, "sync directory", path);
}

static bool is_directory(int fd, const struct dirent *found)
{
    struct stat info;
    if (found->d_type != DT_UNKNOWN) {
        return found->d_type == DT_DIR;
    }
    return fstatat(fd, found->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
}

static flx_status posix_list(flx_disk *disk, const char *path,
                             flx_status (*each)(void *arg, const flx_disk_entry *entry), void *arg,
                             flx_error *reterr)
{
    const int fd = open_dir(disk, path);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        const int sys_errno = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return fail(reterr, sys_errno, "list", path);
    }
    flx_status status = FLX_OK;
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(stream); /* the stream is ours alone */
        if (found == NULL) {
            status = errno == 0 ? FLX_OK : fail(reterr, errno, "list", path);
            break;
        }
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) {
            continue;
        }
        const flx_disk_entry entry = {found->d_name, is_directory(fd, found)};
        status = each(arg, &entry);
        if (status != FLX_OK) {
            break;
        }
    }
    (void)closedir(stream);
    return status;
}

static void posix_free(flx_disk *disk)
{
    (void)close(posix_of(disk)->root);
    flx_free(posix_of(disk));
}

static const flx_disk_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .write = posix_write,
    .read = posix_read,
    .read_now = posix_read_now,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .make_dir = posix_make_dir,
    .remove_dir = posix_remove_dir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .free = posix_free,
};

flx_status flx_disk_posix_new(const char *directory, bool create, flx_disk **ret_disk,
                              flx_error *reterr)
{
    if (create) {
        const flx_status status = flx_dir_make(directory, reterr);
        if (status != FLX_OK) {
            return status;
        }
    }
    disk_posix *posix = flx_alloc(sizeof *posix);
    if (posix == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "open '%s'", directory);
    }
    posix->base.ops = &posix_ops;
    posix->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (posix->root < 0) {
        const int sys_errno = errno;
        flx_free(posix);
        return fail(reterr, sys_errno, "open directory", directory);
    }
    *ret_disk = &posix->base;
    return FLX_OK;
}
