/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/jwks.c - JWK sets; docs/spec/auth.md 2 shows one. */
#include "crypto/jwks.h"

#include "common/alloc.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"
#include "crypto/base64url.h"
#include "crypto/jws.h"

#include <string.h>

static bool member_is(const json_t *jwk, const char *member, const char *value)
{
    flx_slice text = {0};
    return flx_json_find_text(jwk, member, &text) && flx_slice_is(text, value);
}

/* Missing is fine: use and alg are optional (RFC 7517 section 4). */
static bool member_is_or_missing(const json_t *jwk, const char *member, const char *value)
{
    return json_object_get(jwk, member) == NULL || member_is(jwk, member, value);
}

/* Whether the key is one for Ed25519 signatures; others are passed over. */
static bool is_ours(const json_t *jwk)
{
    return member_is(jwk, "kty", "OKP") && member_is(jwk, "crv", "Ed25519") &&
           member_is_or_missing(jwk, "use", "sig") && member_is_or_missing(jwk, "alg", "EdDSA");
}

static bool has_kid(const flx_jwks *jwks, const char *kid)
{
    for (size_t i = 0; i < jwks->count; i++) {
        if (strcmp(jwks->keys[i].kid, kid) == 0) {
            return true;
        }
    }
    return false;
}

static flx_status read_point(const json_t *jwk, flx_public_key **ret_key, flx_error *reterr)
{
    flx_slice text = {0};
    uint8_t x[FLX_PUBLIC_KEY_BYTES];
    size_t len = 0;
    if (!flx_json_find_text(jwk, "x", &text) || !flx_base64url_decode(text, x, sizeof x, &len)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "x is not base64url of %d bytes",
                        FLX_PUBLIC_KEY_BYTES);
    }
    return flx_public_key_new((flx_slice){x, len}, ret_key, reterr);
}

/* The name the document gives the key, else its thumbprint. */
static flx_status read_name(const json_t *jwk, const flx_public_key *key, char **ret_kid,
                            flx_error *reterr)
{
    flx_slice text = {0};
    if (json_object_get(jwk, "kid") == NULL) {
        text = (flx_slice){(const uint8_t *)flx_public_key_id(key), FLX_KEY_ID_CHARS};
    } else if (!flx_json_find_text(jwk, "kid", &text) || text.len == 0 ||
               text.len > FLX_JWS_KID_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "kid is not a string of 1 to %u",
                        FLX_JWS_KID_BYTES_MAX);
    }
    char *kid = flx_strndup((const char *)text.ptr, text.len);
    if (kid == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a key id");
    }
    *ret_kid = kid;
    return FLX_OK;
}

static flx_status add_key(const json_t *jwk, flx_jwks *jwks, flx_error *reterr)
{
    if (!json_is_object(jwk)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "not an object");
    }
    if (json_object_get(jwk, "d") != NULL) {
        return flx_fail(reterr, FLX_ERR_INVALID, "holds a private key, which must be replaced now");
    }
    if (!is_ours(jwk)) {
        return FLX_OK;
    }
    flx_jwk *entry = &jwks->keys[jwks->count];
    flx_status status = read_point(jwk, &entry->key, reterr);
    if (status == FLX_OK) {
        status = read_name(jwk, entry->key, &entry->kid, reterr);
    }
    if (status == FLX_OK && has_kid(jwks, entry->kid)) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "its kid stands there twice");
    }
    if (status != FLX_OK) {
        entry->key = flx_public_key_unref(entry->key);
        flx_free(entry->kid);
        entry->kid = NULL;
        return status;
    }
    jwks->count++;
    return FLX_OK;
}

static flx_status add_keys(const json_t *document, flx_jwks *jwks, flx_error *reterr)
{
    const json_t *keys = json_object_get(document, "keys");
    if (!json_is_array(keys)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "JWK set has no array 'keys'");
    }
    const size_t count = json_array_size(keys);
    if (count > FLX_JWKS_KEYS_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "JWK set has %zu keys, the limit is %u", count,
                        FLX_JWKS_KEYS_MAX);
    }
    jwks->keys = flx_calloc(count, sizeof *jwks->keys);
    if (jwks->keys == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a JWK set");
    }
    for (size_t i = 0; i < count; i++) {
        const flx_status status = add_key(json_array_get(keys, i), jwks, reterr);
        if (status != FLX_OK) {
            flx_error_prefix(reterr, "JWK set, key %zu", i);
            return status;
        }
    }
    return FLX_OK;
}

flx_status flx_jwks_decode(flx_slice json, flx_jwks *ret_jwks, flx_error *reterr)
{
    json_t *document = NULL;
    flx_status status = flx_json_parse_object(json, FLX_JWKS_BYTES_MAX, FLX_JWS_DEPTH_MAX,
                                              "JWK set", &document, reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_jwks jwks = {0};
    status = add_keys(document, &jwks, reterr);
    json_decref(document);
    if (status != FLX_OK) {
        flx_jwks_done(&jwks);
        return status;
    }
    *ret_jwks = jwks;
    return FLX_OK;
}

void flx_jwks_done(flx_jwks *jwks)
{
    for (size_t i = 0; i < jwks->count; i++) {
        flx_free(jwks->keys[i].kid);
        (void)flx_public_key_unref(jwks->keys[i].key);
    }
    flx_free(jwks->keys);
    *jwks = (flx_jwks){0};
}

/* One JWK; NULL when memory is out. */
static json_t *encode_key(const flx_public_key *key)
{
    char x[FLX_KEY_ID_CHARS + 1] = {0};
    (void)flx_base64url_encode(flx_public_key_x(key), x);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "kty", "OKP", "kid", flx_public_key_id(key),
                     "alg", "EdDSA", "use", "sig", "crv", "Ed25519", "x", x);
}

flx_status flx_jwks_encode(flx_public_key *const *keys, size_t count, char **ret_text,
                           flx_error *reterr)
{
    json_t *array = json_array();
    bool complete = array != NULL;
    for (size_t i = 0; complete && i < count; i++) {
        complete = json_array_append_new(array, encode_key(keys[i])) == 0;
    }
    json_t *document = complete ? json_pack("{s:O}", "keys", array) : NULL;
    json_decref(array);
    if (document == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a JWK set");
    }
    const flx_status status = flx_json_write(document, ret_text, reterr);
    json_decref(document);
    return status;
}
