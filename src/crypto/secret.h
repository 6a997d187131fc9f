/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/secret.h - bytes that must not be left lying about, random bytes, comparison in constant time.
 *
 * Threads: any; a flx_secret belongs to one thread at a time.
 */
#ifndef FLX_CRYPTO_SECRET_H
#define FLX_CRYPTO_SECRET_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_SECRET_BYTES_MAX (1U << 20)

/* Owns its bytes and wipes them. One zero byte follows them, so text may be read as a string. */
typedef struct flx_secret {
    uint8_t *bytes; /* NULL after done */
    size_t len;
} flx_secret;

/* Zeroed bytes of our own. FLX_ERR_NOMEM. */
flx_status flx_secret_init(flx_secret *secret, size_t len, flx_error *reterr);
flx_status flx_secret_init_copy(flx_secret *secret, flx_slice bytes, flx_error *reterr);
/* Wipes and frees; a zeroed or done secret is fine. */
void flx_secret_done(flx_secret *secret);

static inline flx_slice flx_secret_slice(const flx_secret *secret)
{
    return (flx_slice){secret->bytes, secret->len};
}

/*
 * A file of exactly `len` secret bytes: reads it, or makes it from random bytes when there is none
 * (0600, complete or absent; of several racing processes all get the same bytes).
 *
 * FLX_ERR_DENIED   others may read it, or the group may write it: says which chmod mends it
 * FLX_ERR_CORRUPT  not a regular file, or of another size
 * FLX_ERR_IO, FLX_ERR_NOMEM, FLX_ERR_UNAVAILABLE (no random bytes)
 */
flx_status flx_secret_load_or_create(const char *path, size_t len, flx_secret *ret_secret,
                                     flx_error *reterr);

/* A secret file as it is, 1 .. len_max bytes, with the same checks; FLX_ERR_NOT_FOUND when absent. */
flx_status flx_secret_load(const char *path, size_t len_max, flx_secret *ret_secret,
                           flx_error *reterr);

/* Overwrites, and is not optimised away. */
void flx_wipe(void *bytes, size_t len);

/* Whether two runs of `len` bytes are equal; the time taken does not depend on where they differ. */
bool flx_equal_ct(const void *left, const void *right, size_t len);

/* Unpredictable bytes, fit for keys. FLX_ERR_UNAVAILABLE: the system has none. */
flx_status flx_random(void *bytes, size_t len, flx_error *reterr);

#endif /* FLX_CRYPTO_SECRET_H */
