/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/secret.c - memory that wipes itself, and the files it comes from. */
#include "crypto/secret.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/file.h"
#include "crypto/file_int.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

flx_status flx_secret_init(flx_secret *secret, size_t len, flx_error *reterr)
{
    FLX_ASSERT(len <= FLX_SECRET_BYTES_MAX);
    uint8_t *bytes = flx_calloc(1, len + 1);
    if (bytes == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a secret");
    }
    *secret = (flx_secret){bytes, len};
    return FLX_OK;
}

flx_status flx_secret_init_copy(flx_secret *secret, flx_slice bytes, flx_error *reterr)
{
    const flx_status status = flx_secret_init(secret, bytes.len, reterr);
    if (status == FLX_OK && bytes.len > 0) {
        memcpy(secret->bytes, bytes.ptr, bytes.len);
    }
    return status;
}

static flx_status init_random(flx_secret *secret, size_t len, flx_error *reterr)
{
    flx_secret fresh = {0};
    flx_status status = flx_secret_init(&fresh, len, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_random(fresh.bytes, len, reterr);
    if (status != FLX_OK) {
        flx_secret_done(&fresh);
        return status;
    }
    *secret = fresh;
    return FLX_OK;
}

void flx_secret_done(flx_secret *secret)
{
    if (secret->bytes != NULL) {
        flx_wipe(secret->bytes, secret->len);
    }
    flx_free(secret->bytes);
    *secret = (flx_secret){0};
}

flx_status flx_secret_load(const char *path, size_t len_max, flx_secret *ret_secret,
                           flx_error *reterr)
{
    FLX_ASSERT(len_max <= FLX_SECRET_BYTES_MAX);
    return flx_crypto_file_read(path, len_max, FLX_FILE_SECRET, ret_secret, reterr);
}

static flx_status load_exactly(const char *path, size_t len, flx_secret *ret_secret,
                               flx_error *reterr)
{
    flx_secret secret = {0};
    const flx_status status = flx_secret_load(path, FLX_SECRET_BYTES_MAX, &secret, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (secret.len != len) {
        const size_t found = secret.len;
        flx_secret_done(&secret);
        return flx_fail(reterr, FLX_ERR_CORRUPT, "'%s' has %zu bytes, expected %zu", path, found,
                        len);
    }
    *ret_secret = secret;
    return FLX_OK;
}

flx_status flx_secret_load_or_create(const char *path, size_t len, flx_secret *ret_secret,
                                     flx_error *reterr)
{
    FLX_ASSERT(len > 0 && len <= FLX_SECRET_BYTES_MAX);
    flx_status status = load_exactly(path, len, ret_secret, reterr);
    if (status != FLX_ERR_NOT_FOUND) {
        return status;
    }
    flx_secret fresh = {0};
    status = init_random(&fresh, len, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_file_create_atomic(path, flx_secret_slice(&fresh), 0600, reterr);
    if (status == FLX_OK) {
        *ret_secret = fresh;
        return FLX_OK;
    }
    flx_secret_done(&fresh);
    /* Somebody else was first: theirs counts. */
    return status == FLX_ERR_CONFLICT ? load_exactly(path, len, ret_secret, reterr) : status;
}

void flx_wipe(void *bytes, size_t len)
{
    gnutls_memset(bytes, 0, len);
}

bool flx_equal_ct(const void *left, const void *right, size_t len)
{
    return len == 0 || gnutls_memcmp(left, right, len) == 0;
}

flx_status flx_random(void *bytes, size_t len, flx_error *reterr)
{
    if (len == 0) {
        return FLX_OK;
    }
    const int rc = gnutls_rnd(GNUTLS_RND_KEY, bytes, len);
    if (rc < 0) {
        return flx_fail(reterr, FLX_ERR_UNAVAILABLE, "random bytes: %s", gnutls_strerror(rc));
    }
    return FLX_OK;
}
