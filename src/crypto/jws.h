/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/jws.h - compact JWS (RFC 7515) with one algorithm: EdDSA over Ed25519 (RFC 8037).
 *
 * There is no algorithm to choose, so there is none to confuse: a header whose alg is anything but
 * "EdDSA" is refused before a key is looked at. Refused too: crit, b64, duplicate members, text
 * that is not strict base64url, and anything past the limits below.
 *
 * No error message holds a byte of a token. Threads: any.
 */
#ifndef FLX_CRYPTO_JWS_H
#define FLX_CRYPTO_JWS_H

#include "crypto/key.h"

#define FLX_JWS_BYTES_MAX        16384U
#define FLX_JWS_HEADER_BYTES_MAX 1024U /* decoded */
#define FLX_JWS_KID_BYTES_MAX    128U
#define FLX_JWS_DEPTH_MAX        8U /* levels of JSON, in key sets too */

/* A token taken apart, not yet verified. */
typedef struct flx_jws {
    flx_slice signed_part; /* header '.' payload, inside the caller's token */
    flx_slice payload;     /* decoded, inside `buffer` */
    uint8_t *buffer;       /* owned */
    bool has_kid;
    char kid[FLX_JWS_KID_BYTES_MAX + 1];
    uint8_t signature[FLX_SIGNATURE_BYTES];
} flx_jws;

/*
 * Borrows `token` until flx_jws_done. Nothing in *ret_jws may be believed before flx_jws_verify.
 *
 * FLX_ERR_TOO_LARGE  past FLX_JWS_BYTES_MAX
 * FLX_ERR_INVALID    not a compact JWS, or a header we do not accept; the message says what
 * FLX_ERR_NOMEM
 */
flx_status flx_jws_decode(flx_slice token, flx_jws *ret_jws, flx_error *reterr);
void flx_jws_done(flx_jws *jws);

/* Whether `key` signed the token. Claims are not looked at. */
bool flx_jws_verify(const flx_jws *jws, const flx_public_key *key);

/*
 * Signs `payload` (JSON, copied). The header is {"alg":"EdDSA","kid":...,"typ":"JWT"} with the
 * key's thumbprint, or with `kid` when that is not NULL. The token is text in a secret.
 *
 * FLX_ERR_TOO_LARGE  the token would not be accepted back
 * FLX_ERR_INVALID    `kid` is empty or longer than FLX_JWS_KID_BYTES_MAX
 * FLX_ERR_INTERNAL   GnuTLS did not sign
 * FLX_ERR_NOMEM
 */
flx_status flx_jws_sign(const flx_signing_key *key, const char *kid, flx_slice payload,
                        flx_secret *ret_token, flx_error *reterr);

#endif /* FLX_CRYPTO_JWS_H */
