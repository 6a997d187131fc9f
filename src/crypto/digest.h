/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/digest.h - SHA-256 and hexadecimal text. Pure, any thread, no allocation. */
#ifndef FLX_CRYPTO_DIGEST_H
#define FLX_CRYPTO_DIGEST_H

#include <felix/slice.h>
#include <felix/status.h>

#define FLX_SHA256_BYTES 32

/* FLX_ERR_INTERNAL: the library refuses SHA-256. */
flx_status flx_sha256(flx_slice bytes, uint8_t ret_digest[FLX_SHA256_BYTES], flx_error *reterr);

/* Writes 2 * bytes.len lower-case digits and a terminator. */
void flx_hex(flx_slice bytes, char *ret_text);

#endif /* FLX_CRYPTO_DIGEST_H */
