/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/jwks.h - a JWK Set (RFC 7517) of Ed25519 public keys: reading one, writing one.
 *
 * Reading passes over keys of another kind, curve or use, as RFC 7517 section 5 asks, and refuses a
 * document that publishes a private half. Threads: any.
 */
#ifndef FLX_CRYPTO_JWKS_H
#define FLX_CRYPTO_JWKS_H

#include "crypto/key.h"

#define FLX_JWKS_BYTES_MAX 65536U
#define FLX_JWKS_KEYS_MAX  64U /* in one set: what a token with an unknown kid may cost */

typedef struct flx_jwk {
    char *kid; /* owned; the thumbprint when the document names none */
    flx_public_key *key;
} flx_jwk;

typedef struct flx_jwks {
    flx_jwk *keys; /* in the order of the document */
    size_t count;
} flx_jwks;

/*
 * FLX_ERR_INVALID    not a JWK Set, a kid twice, a private key, a key that is no point
 * FLX_ERR_TOO_LARGE  past the limits above
 * FLX_ERR_NOMEM
 */
flx_status flx_jwks_decode(flx_slice json, flx_jwks *ret_jwks, flx_error *reterr);
void flx_jwks_done(flx_jwks *jwks);

/* {"keys":[...]} of these keys with their thumbprints; flx_free(*ret_text). Borrows `keys`. */
flx_status flx_jwks_encode(flx_public_key *const *keys, size_t count, char **ret_text,
                           flx_error *reterr);

#endif /* FLX_CRYPTO_JWKS_H */
