/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/key.h - Ed25519 keys and their names.
 *
 * A key's id is its RFC 7638 thumbprint: base64url of SHA-256 over the canonical JWK. So the same
 * key has the same id everywhere, and nobody has to invent one.
 *
 * Threads: keys do not change once made; any thread may sign, verify, ref and unref.
 */
#ifndef FLX_CRYPTO_KEY_H
#define FLX_CRYPTO_KEY_H

#include "crypto/secret.h"

#define FLX_PUBLIC_KEY_BYTES 32
#define FLX_KEY_SEED_BYTES   32
#define FLX_SIGNATURE_BYTES  64
#define FLX_KEY_ID_CHARS     43 /* base64url of 32 bytes */

typedef struct flx_public_key flx_public_key;   /* counted */
typedef struct flx_signing_key flx_signing_key; /* private and public half; counted */

/* `x` is the public key as it stands in a JWK. FLX_ERR_INVALID: of a wrong length or no point. */
flx_status flx_public_key_new(flx_slice x, flx_public_key **ret_key, flx_error *reterr);
flx_public_key *flx_public_key_ref(flx_public_key *key);
flx_public_key *flx_public_key_unref(flx_public_key *key); /* NULL is fine; returns NULL */

/* Valid as long as the key: 32 bytes, and the thumbprint as a string. */
flx_slice flx_public_key_x(const flx_public_key *key);
const char *flx_public_key_id(const flx_public_key *key);

/* Whether `signature` is this key's Ed25519 signature (RFC 8032) of `message`. */
bool flx_public_key_verify(const flx_public_key *key, flx_slice message, flx_slice signature);

/* A new key from the system's randomness. FLX_ERR_INTERNAL (GnuTLS failed), FLX_ERR_NOMEM. */
flx_status flx_signing_key_generate(flx_signing_key **ret_key, flx_error *reterr);
/* The 32 bytes RFC 8032 calls the private key. */
flx_status flx_signing_key_from_seed(flx_slice seed, flx_signing_key **ret_key, flx_error *reterr);
/* PKCS#8 "PRIVATE KEY". FLX_ERR_INVALID: no such key, or not Ed25519. The text is never quoted. */
flx_status flx_signing_key_from_pem(flx_slice pem, flx_signing_key **ret_key, flx_error *reterr);
flx_status flx_signing_key_to_pem(const flx_signing_key *key, flx_secret *ret_pem,
                                  flx_error *reterr);
/* A PEM file: reads it, or makes one (0600, atomic). Fails as flx_secret_load_or_create. */
flx_status flx_signing_key_load_or_create(const char *path, flx_signing_key **ret_key,
                                          flx_error *reterr);
flx_signing_key *flx_signing_key_ref(flx_signing_key *key);
flx_signing_key *flx_signing_key_unref(flx_signing_key *key);

/* Borrowed, valid as long as the signing key; ref it to keep it. */
flx_public_key *flx_signing_key_public(const flx_signing_key *key);

/* Ed25519 (RFC 8032), so the same message has the same signature. FLX_ERR_INTERNAL, FLX_ERR_NOMEM. */
flx_status flx_signing_key_sign(const flx_signing_key *key, flx_slice message,
                                uint8_t ret_signature[FLX_SIGNATURE_BYTES], flx_error *reterr);

#endif /* FLX_CRYPTO_KEY_H */
