/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/disk.h - what a log asks of a disk, one call at a time, blocking.
 *
 * The seam where the world enters: disk_posix.c is a directory of a real file system, and
 * tests/support/sim_disk.h is one in memory that forgets, tears and reorders what was not synced,
 * fills up, fails and stops at the Nth call. Recovery, rolling, retention and the offline tools call
 * it directly; the hot path reaches it through storage/io.h.
 *
 * Paths are relative to the directory the disk was opened on, with '/' between names and no "..".
 *
 * Durability, as the rules of README.md count on it:
 *   - the content and size of a file survive a power cut once a sync that began after the write is OK;
 *   - a name made, renamed or removed survives once the sync_dir of its directory is OK;
 *   - a rename is seen wholly or not at all.
 *
 * FLX_ERR_AGAIN is always "no room" (ENOSPC, EDQUOT) and FLX_ERR_NOT_FOUND "no such name"; other
 * failures of the world are FLX_ERR_IO with sys_errno. After a failed sync nothing is known about
 * what was written since the last good one, and a later good sync does not change that.
 *
 * Threads: any thread may call; two calls on one file at once must not overlap in bytes.
 */
#ifndef FLX_STORAGE_DISK_H
#define FLX_STORAGE_DISK_H

#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define FLX_DISK_PATH_MAX 512

typedef struct flx_disk flx_disk;

/* An open file. Implementations embed it. */
typedef struct flx_file {
    flx_disk *disk;
    int fd; /* of the kernel, for io_uring; -1 when it is no file of the kernel */
} flx_file;

typedef enum flx_disk_open_how {
    FLX_DISK_READ,   /* it must be there */
    FLX_DISK_WRITE,  /* read and write; it must be there */
    FLX_DISK_CREATE, /* read and write; what is there is emptied */
    FLX_DISK_LOCK    /* made when absent; locked against other processes until closed.
                        FLX_ERR_CONFLICT: somebody else holds it */
} flx_disk_open_how;

typedef struct flx_disk_entry {
    const char *name; /* valid during the call */
    bool is_directory;
} flx_disk_entry;

typedef struct flx_disk_ops {
    flx_status (*open)(flx_disk *disk, const char *path, flx_disk_open_how how, flx_file **ret_file,
                       flx_error *reterr);
    void (*close)(flx_file *file);
    /* All of it, or an error; after an error any part may be there. */
    flx_status (*write)(flx_file *file, const struct iovec *iov, size_t iov_count, uint64_t offset,
                        flx_error *reterr);
    /* Up to `len` bytes; fewer only at the end of the file. */
    flx_status (*read)(flx_file *file, void *to, size_t len, uint64_t offset, size_t *ret_len,
                       flx_error *reterr);
    /* Exactly `len` bytes, and only if that needs no disk: for a thread that must not wait. False: it
     * would, or they are not there, or nobody can say; what `to` holds then means nothing. */
    bool (*read_now)(flx_file *file, void *to, size_t len, uint64_t offset);
    flx_status (*sync)(flx_file *file, flx_error *reterr); /* content and size: fdatasync */
    flx_status (*size)(flx_file *file, uint64_t *ret_bytes, flx_error *reterr);
    flx_status (*truncate)(flx_file *file, uint64_t bytes, flx_error *reterr);
    flx_status (*rename)(flx_disk *disk, const char *from, const char *to, flx_error *reterr);
    flx_status (*unlink)(flx_disk *disk, const char *path, flx_error *reterr);
    flx_status (*make_dir)(flx_disk *disk, const char *path, flx_error *reterr); /* there: fine */
    flx_status (*remove_dir)(flx_disk *disk, const char *path, flx_error *reterr);
    flx_status (*sync_dir)(flx_disk *disk, const char *path, flx_error *reterr); /* "": the root */
    /* Calls `each` for every name in it, in no order, until it answers other than FLX_OK. */
    flx_status (*list)(flx_disk *disk, const char *path,
                       flx_status (*each)(void *arg, const flx_disk_entry *entry), void *arg,
                       flx_error *reterr);
    void (*free)(flx_disk *disk);
} flx_disk_ops;

struct flx_disk {
    const flx_disk_ops *ops;
};

/*
 * A directory of the real file system, made (mode 0700, parents too) when `create` says so.
 * FLX_ERR_NOT_FOUND, FLX_ERR_IO, FLX_ERR_NOMEM. Copies `directory`; the caller owns *ret_disk.
 */
flx_status flx_disk_posix_new(const char *directory, bool create, flx_disk **ret_disk,
                              flx_error *reterr);
/* Its files must be closed. NULL is fine. Always returns NULL. */
flx_disk *flx_disk_free(flx_disk *disk);

/* Closes a file. NULL is fine. Always returns NULL. */
flx_file *flx_disk_close(flx_file *file);

/* One piece, at `offset`. Fails as ops->write. */
flx_status flx_disk_write(flx_file *file, const void *bytes, size_t len, uint64_t offset,
                          flx_error *reterr);

/* Exactly `len` bytes. FLX_ERR_CORRUPT: the file ends before. */
flx_status flx_disk_read_all(flx_file *file, void *to, size_t len, uint64_t offset,
                             flx_error *reterr);

/*
 * Replaces a whole small file so that a crash leaves the old content or the new: PATH.tmp is written
 * and synced, renamed over PATH, and the directory synced. After a failure either content may be
 * there, and the caller must not count on the new one.
 */
flx_status flx_disk_replace(flx_disk *disk, const char *directory, const char *name,
                            const void *bytes, size_t len, flx_error *reterr);

#endif /* FLX_STORAGE_DISK_H */
