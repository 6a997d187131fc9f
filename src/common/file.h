/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/file.h - whole small files: read with a limit, replace or create atomically, make directories.
 *
 * For configuration, keys and state files; logs of data have storage/. These block. Any thread.
 */
#ifndef FLX_COMMON_FILE_H
#define FLX_COMMON_FILE_H

#include "common/buffer.h"

#include <sys/types.h>

/*
 * Reads a whole file behind the content of `buffer`; buffer->max is the limit.
 *
 * FLX_ERR_NOT_FOUND  there is no such file
 * FLX_ERR_TOO_LARGE  the file is larger than the limit
 * FLX_ERR_INVALID    it is not a regular file, a pipe or a character device
 * FLX_ERR_IO, FLX_ERR_NOMEM
 */
flx_status flx_file_read(const char *path, flx_buffer *buffer, flx_error *reterr);

/*
 * Replaces a file: after FLX_OK the new content survives a power cut, after a failure or a crash the
 * old one is there, whole. Writes a temporary file beside it (PATH.tmp-XXXXXX, created with `mode`),
 * syncs it, renames it over, syncs the directory.
 *
 * FLX_ERR_IO  with the old file in place, or, when only the last sync failed, the new one
 */
flx_status flx_file_write_atomic(const char *path, flx_slice content, mode_t mode,
                                 flx_error *reterr);

/*
 * The same for a file that is not there yet; one that is stays as it was.
 *
 * FLX_ERR_CONFLICT  it exists
 * FLX_ERR_IO        with no file, or, when only the last sync failed, the new one
 */
flx_status flx_file_create_atomic(const char *path, flx_slice content, mode_t mode,
                                  flx_error *reterr);

/*
 * Makes a directory and its missing parents, each with mode 0700. One that exists is fine.
 *
 * FLX_ERR_CONFLICT  something that is no directory has the name of one
 * FLX_ERR_INVALID   the path is empty or too long
 * FLX_ERR_IO
 */
flx_status flx_dir_make(const char *path, flx_error *reterr);

/* Syncs a directory, so that names made or removed in it survive a power cut. FLX_ERR_IO. */
flx_status flx_dir_sync(const char *path, flx_error *reterr);

#endif /* FLX_COMMON_FILE_H */
