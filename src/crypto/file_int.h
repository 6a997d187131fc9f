/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/file_int.h - small files of keys and certificates, read with checks. */
#ifndef FLX_CRYPTO_FILE_INT_H
#define FLX_CRYPTO_FILE_INT_H

#include "crypto/secret.h"

typedef enum flx_file_kind {
    FLX_FILE_PUBLIC,
    FLX_FILE_SECRET /* refused when others may read or the group may write */
} flx_file_kind;

/*
 * 1 .. len_max bytes of a regular file; the caller owns *ret_bytes (flx_secret_done).
 *
 * FLX_ERR_NOT_FOUND  there is none
 * FLX_ERR_CORRUPT    not a regular file, empty, larger, or changed while it was read
 * FLX_ERR_DENIED     a secret with a mode that lets others see it
 * FLX_ERR_IO, FLX_ERR_NOMEM
 */
flx_status flx_crypto_file_read(const char *path, size_t len_max, flx_file_kind kind,
                                flx_secret *ret_bytes, flx_error *reterr);

#endif /* FLX_CRYPTO_FILE_INT_H */
