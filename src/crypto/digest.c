/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/digest.c - GnuTLS for the hash: it uses the processor's SHA instructions. */
#include "crypto/digest.h"

#include "common/error.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

flx_status flx_sha256(flx_slice bytes, uint8_t ret_digest[FLX_SHA256_BYTES], flx_error *reterr)
{
    const int rc = gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.ptr, bytes.len, ret_digest);
    if (rc < 0) {
        return flx_fail(reterr, FLX_ERR_INTERNAL, "sha-256: %s", gnutls_strerror(rc));
    }
    return FLX_OK;
}

void flx_hex(flx_slice bytes, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        ret_text[2 * i] = digits[bytes.ptr[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes.ptr[i] & 15];
    }
    ret_text[2 * bytes.len] = '\0';
}
