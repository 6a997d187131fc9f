/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/key.c - Ed25519 on GnuTLS.
 *
 * A private key enters as PKCS#8 and nothing else: from a PEM file, or from a seed wrapped in the
 * sixteen bytes RFC 8410 puts before it. GnuTLS then computes the public half itself, so the two
 * can never disagree.
 */
#include "crypto/key.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/file.h"
#include "crypto/base64url.h"
#include "crypto/certificate_int.h"
#include "crypto/digest.h"
#include "crypto/file_int.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sodium/crypto_core_ed25519.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define PEM_BYTES_MAX 4096U /* a PKCS#8 Ed25519 key has about 120 */

struct flx_public_key {
    _Atomic uint32_t refs;
    gnutls_pubkey_t handle;
    uint8_t x[FLX_PUBLIC_KEY_BYTES];
    char id[FLX_KEY_ID_CHARS + 1];
};

struct flx_signing_key {
    _Atomic uint32_t refs;
    gnutls_x509_privkey_t stored; /* for export */
    gnutls_privkey_t handle;      /* for signing; refers to `stored` */
    flx_public_key *public_half;
};

/* RFC 7638: SHA-256 of the required members in lexical order, without white space. */
static flx_status compute_id(flx_public_key *key, flx_error *reterr)
{
    char x_text[FLX_KEY_ID_CHARS + 1] = {0};
    (void)flx_base64url_encode((flx_slice){key->x, sizeof key->x}, x_text);
    char json[128];
    const int len =
        snprintf(json, sizeof json, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", x_text);
    FLX_ASSERT(len > 0 && (size_t)len < sizeof json);
    uint8_t digest[FLX_SHA256_BYTES];
    const flx_status status =
        flx_sha256((flx_slice){(const uint8_t *)json, (size_t)len}, digest, reterr);
    if (status == FLX_OK) {
        (void)flx_base64url_encode((flx_slice){digest, sizeof digest}, key->id);
    }
    return status;
}

static flx_status import_x(flx_public_key *key, flx_error *reterr)
{
    int rc = gnutls_pubkey_init(&key->handle);
    if (rc < 0) {
        key->handle = NULL;
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "public key");
    }
    const gnutls_datum_t x = {key->x, sizeof key->x};
    rc = gnutls_pubkey_import_ecc_raw(key->handle, GNUTLS_ECC_CURVE_ED25519, &x, NULL);
    return rc < 0 ? flx_crypto_fail(reterr, rc, FLX_ERR_INVALID, "public key") : FLX_OK;
}

flx_status flx_public_key_new(flx_slice x, flx_public_key **ret_key, flx_error *reterr)
{
    if (x.len != FLX_PUBLIC_KEY_BYTES) {
        return flx_fail(reterr, FLX_ERR_INVALID, "public key: %zu bytes, expected %d", x.len,
                        FLX_PUBLIC_KEY_BYTES);
    }
    /* A point of small order would "verify" messages that nobody signed. */
    if (crypto_core_ed25519_is_valid_point(x.ptr) != 1) {
        return flx_fail(reterr, FLX_ERR_INVALID, "public key: not a point of Ed25519");
    }
    flx_public_key *key = flx_calloc(1, sizeof *key);
    if (key == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a public key");
    }
    atomic_init(&key->refs, 1);
    memcpy(key->x, x.ptr, sizeof key->x);
    flx_status status = compute_id(key, reterr);
    if (status == FLX_OK) {
        status = import_x(key, reterr);
    }
    if (status != FLX_OK) {
        (void)flx_public_key_unref(key);
        return status;
    }
    *ret_key = key;
    return FLX_OK;
}

flx_public_key *flx_public_key_ref(flx_public_key *key)
{
    atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
    return key;
}

flx_public_key *flx_public_key_unref(flx_public_key *key)
{
    if (key != NULL && atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) == 1) {
        if (key->handle != NULL) {
            gnutls_pubkey_deinit(key->handle);
        }
        flx_free(key);
    }
    return NULL;
}

flx_slice flx_public_key_x(const flx_public_key *key)
{
    return (flx_slice){key->x, sizeof key->x};
}

const char *flx_public_key_id(const flx_public_key *key)
{
    return key->id;
}

bool flx_public_key_verify(const flx_public_key *key, flx_slice message, flx_slice signature)
{
    if (signature.len != FLX_SIGNATURE_BYTES || message.len > UINT32_MAX) {
        return false;
    }
    const gnutls_datum_t data = flx_crypto_datum(message);
    const gnutls_datum_t sig = flx_crypto_datum(signature);
    return gnutls_pubkey_verify_data2(key->handle, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &sig) >= 0;
}

/* The public half, as GnuTLS computed it from the private one. */
static flx_status derive_public(flx_signing_key *key, flx_error *reterr)
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    gnutls_datum_t x = {0};
    const int rc = gnutls_privkey_export_ecc_raw2(key->handle, &curve, &x, NULL, NULL, 0);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "signing key");
    }
    const flx_status status =
        flx_public_key_new((flx_slice){x.data, x.size}, &key->public_half, reterr);
    gnutls_free(x.data);
    return status;
}

static flx_status import_private(flx_signing_key *key, flx_slice text, gnutls_x509_crt_fmt_t format,
                                 flx_error *reterr)
{
    int rc = gnutls_x509_privkey_init(&key->stored);
    if (rc < 0) {
        key->stored = NULL;
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "signing key");
    }
    const gnutls_datum_t data = flx_crypto_datum(text);
    rc = gnutls_x509_privkey_import_pkcs8(key->stored, &data, format, NULL, GNUTLS_PKCS_PLAIN);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INVALID, "signing key is not plain PKCS#8");
    }
    if (gnutls_x509_privkey_get_pk_algorithm(key->stored) != GNUTLS_PK_EDDSA_ED25519) {
        return flx_fail(reterr, FLX_ERR_INVALID, "signing key is not an Ed25519 key");
    }
    rc = gnutls_privkey_init(&key->handle);
    if (rc < 0) {
        key->handle = NULL;
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "signing key");
    }
    rc = gnutls_privkey_import_x509(key->handle, key->stored, 0);
    return rc < 0 ? flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "signing key")
                  : derive_public(key, reterr);
}

static flx_status signing_key_new(flx_slice text, gnutls_x509_crt_fmt_t format,
                                  flx_signing_key **ret_key, flx_error *reterr)
{
    flx_signing_key *key = flx_calloc(1, sizeof *key);
    if (key == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a signing key");
    }
    atomic_init(&key->refs, 1);
    const flx_status status = import_private(key, text, format, reterr);
    if (status != FLX_OK) {
        (void)flx_signing_key_unref(key);
        return status;
    }
    *ret_key = key;
    return FLX_OK;
}

flx_status flx_signing_key_from_seed(flx_slice seed, flx_signing_key **ret_key, flx_error *reterr)
{
    /* RFC 8410 section 7: PrivateKeyInfo, version 0, id-Ed25519, OCTET STRING in OCTET STRING. */
    static const uint8_t prefix[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                     0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    if (seed.len != FLX_KEY_SEED_BYTES) {
        return flx_fail(reterr, FLX_ERR_INVALID, "signing key: a seed of %zu bytes, expected %d",
                        seed.len, FLX_KEY_SEED_BYTES);
    }
    uint8_t der[sizeof prefix + FLX_KEY_SEED_BYTES];
    memcpy(der, prefix, sizeof prefix);
    memcpy(der + sizeof prefix, seed.ptr, seed.len);
    const flx_status status =
        signing_key_new((flx_slice){der, sizeof der}, GNUTLS_X509_FMT_DER, ret_key, reterr);
    flx_wipe(der, sizeof der);
    return status;
}

flx_status flx_signing_key_generate(flx_signing_key **ret_key, flx_error *reterr)
{
    uint8_t seed[FLX_KEY_SEED_BYTES];
    flx_status status = flx_random(seed, sizeof seed, reterr);
    if (status == FLX_OK) {
        status = flx_signing_key_from_seed((flx_slice){seed, sizeof seed}, ret_key, reterr);
    }
    flx_wipe(seed, sizeof seed);
    return status;
}

flx_status flx_signing_key_from_pem(flx_slice pem, flx_signing_key **ret_key, flx_error *reterr)
{
    if (pem.len == 0 || pem.len > PEM_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "signing key: %zu bytes of PEM, expected 1 to %u",
                        pem.len, PEM_BYTES_MAX);
    }
    return signing_key_new(pem, GNUTLS_X509_FMT_PEM, ret_key, reterr);
}

flx_status flx_signing_key_to_pem(const flx_signing_key *key, flx_secret *ret_pem,
                                  flx_error *reterr)
{
    gnutls_datum_t pem = {0};
    const int rc = gnutls_x509_privkey_export2_pkcs8(key->stored, GNUTLS_X509_FMT_PEM, NULL,
                                                     GNUTLS_PKCS_PLAIN, &pem);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "signing key as PEM");
    }
    const flx_status status =
        flx_secret_init_copy(ret_pem, (flx_slice){pem.data, pem.size}, reterr);
    flx_wipe(pem.data, pem.size);
    gnutls_free(pem.data);
    return status;
}

static flx_status load_key(const char *path, flx_signing_key **ret_key, flx_error *reterr)
{
    flx_secret pem;
    flx_status status = flx_secret_load(path, PEM_BYTES_MAX, &pem, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_signing_key_from_pem(flx_secret_slice(&pem), ret_key, reterr);
    flx_secret_done(&pem);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "'%s'", path);
    }
    return status;
}

static flx_status create_key(const char *path, flx_signing_key **ret_key, flx_error *reterr)
{
    flx_signing_key *key = NULL;
    flx_status status = flx_signing_key_generate(&key, reterr);
    if (status != FLX_OK) {
        return status;
    }
    FLX_ASSERT(key != NULL);
    flx_secret pem = {0};
    status = flx_signing_key_to_pem(key, &pem, reterr);
    if (status == FLX_OK) {
        status = flx_file_create_atomic(path, flx_secret_slice(&pem), 0600, reterr);
    }
    flx_secret_done(&pem);
    if (status != FLX_OK) {
        (void)flx_signing_key_unref(key);
        return status;
    }
    *ret_key = key;
    return FLX_OK;
}

flx_status flx_signing_key_load_or_create(const char *path, flx_signing_key **ret_key,
                                          flx_error *reterr)
{
    flx_status status = load_key(path, ret_key, reterr);
    if (status == FLX_ERR_NOT_FOUND) {
        status = create_key(path, ret_key, reterr);
    }
    /* Another process created it between the two looks: theirs counts. */
    return status == FLX_ERR_CONFLICT ? load_key(path, ret_key, reterr) : status;
}

flx_signing_key *flx_signing_key_ref(flx_signing_key *key)
{
    atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
    return key;
}

flx_signing_key *flx_signing_key_unref(flx_signing_key *key)
{
    if (key != NULL && atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) == 1) {
        (void)flx_public_key_unref(key->public_half);
        if (key->handle != NULL) {
            gnutls_privkey_deinit(key->handle);
        }
        if (key->stored != NULL) {
            gnutls_x509_privkey_deinit(key->stored);
        }
        flx_free(key);
    }
    return NULL;
}

flx_public_key *flx_signing_key_public(const flx_signing_key *key)
{
    return key->public_half;
}

flx_status flx_signing_key_sign(const flx_signing_key *key, flx_slice message,
                                uint8_t ret_signature[FLX_SIGNATURE_BYTES], flx_error *reterr)
{
    const gnutls_datum_t data = flx_crypto_datum(message);
    gnutls_datum_t signature = {0};
    const int rc =
        gnutls_privkey_sign_data2(key->handle, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &signature);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "sign");
    }
    FLX_ASSERT(signature.size == FLX_SIGNATURE_BYTES);
    memcpy(ret_signature, signature.data, FLX_SIGNATURE_BYTES);
    gnutls_free(signature.data);
    return FLX_OK;
}
