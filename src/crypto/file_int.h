/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/file_int.h - small files of keys and certificates: read with checks, written whole. */
#ifndef FLX_CRYPTO_FILE_INT_H
#define FLX_CRYPTO_FILE_INT_H

#include "crypto/secret.h"

#include <sys/types.h>

typedef enum flx_file_kind {
    FLX_FILE_PUBLIC, /* 0644 when written */
    FLX_FILE_SECRET  /* 0600 when written; refused when others may read or the group may write */
} flx_file_kind;

/* 1 .. len_max bytes of a regular file. NOT_FOUND, CORRUPT, DENIED, IO, NOMEM. */
flx_status flx_crypto_file_read(const char *path, size_t len_max, flx_file_kind kind,
                                flx_secret *ret_bytes, flx_error *reterr);

/*
 * Writes a whole file: after a crash there is the old one, the new one, or none. Without `replace`
 * a file that is there stays as it is: FLX_ERR_CONFLICT.
 */
flx_status flx_crypto_file_write(const char *path, flx_slice bytes, flx_file_kind kind,
                                 bool replace, flx_error *reterr);

#endif /* FLX_CRYPTO_FILE_INT_H */
