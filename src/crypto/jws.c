/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/jws.c - one compact JWS, taken apart and put together.
 *
 *     base64url(header) '.' base64url(payload) '.' base64url(signature, 64 bytes)
 *     '----------- signed_part ------------'
 *
 * The order of the checks is the order of their price: size, two dots, signature length, header.
 * The payload is decoded but not looked at here: it is nobody's word until the signature holds.
 */
#include "crypto/jws.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"
#include "crypto/base64url.h"

#include <string.h>

typedef struct token_parts {
    flx_slice header;
    flx_slice payload;
    flx_slice signature;
} token_parts;

/* Cuts at the two dots; a third one, or none, is not a compact JWS. */
static bool split(flx_slice token, token_parts *ret_parts)
{
    const uint8_t *end = token.ptr + token.len;
    const uint8_t *first = memchr(token.ptr, '.', token.len);
    if (first == NULL) {
        return false;
    }
    const uint8_t *second = memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL) {
        return false;
    }
    ret_parts->header = (flx_slice){token.ptr, (size_t)(first - token.ptr)};
    ret_parts->payload = (flx_slice){first + 1, (size_t)(second - first - 1)};
    ret_parts->signature = (flx_slice){second + 1, (size_t)(end - second - 1)};
    return true;
}

static flx_status read_kid(const json_t *header, flx_jws *jws, flx_error *reterr)
{
    if (json_object_get(header, "kid") == NULL) {
        return FLX_OK;
    }
    flx_slice kid = {0};
    if (!flx_json_find_text(header, "kid", &kid) || kid.len == 0 ||
        kid.len > FLX_JWS_KID_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token header: kid is not a string of 1 to %u",
                        FLX_JWS_KID_BYTES_MAX);
    }
    memcpy(jws->kid, kid.ptr, kid.len);
    jws->kid[kid.len] = '\0';
    jws->has_kid = true;
    return FLX_OK;
}

/* Members nobody here understands are passed over, as RFC 7515 section 4 asks; those that change
 * what the signature means are not. Keys that a token brings along (jwk, x5c) are never used. */
static flx_status check_header(const json_t *header, flx_jws *jws, flx_error *reterr)
{
    flx_slice alg = {0};
    if (!flx_json_find_text(header, "alg", &alg)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token header: alg is missing");
    }
    if (!flx_slice_is(alg, "EdDSA")) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token header: alg is not EdDSA");
    }
    if (json_object_get(header, "crit") != NULL) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token header: crit is not supported");
    }
    if (json_object_get(header, "b64") != NULL) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token header: b64 is not supported");
    }
    return read_kid(header, jws, reterr);
}

static flx_status decode_header(flx_slice text, flx_jws *jws, flx_error *reterr)
{
    uint8_t bytes[FLX_JWS_HEADER_BYTES_MAX];
    size_t len = 0;
    if (!flx_base64url_decode(text, bytes, sizeof bytes, &len)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token header: not base64url, or past %u bytes",
                        FLX_JWS_HEADER_BYTES_MAX);
    }
    json_t *header = NULL;
    flx_status status = flx_json_parse_object((flx_slice){bytes, len}, sizeof bytes,
                                              FLX_JWS_DEPTH_MAX, "token header", &header, reterr);
    if (status == FLX_OK) {
        status = check_header(header, jws, reterr);
        json_decref(header);
    }
    return status;
}

static flx_status decode_payload(flx_slice text, flx_jws *jws, flx_error *reterr)
{
    const size_t cap = flx_base64url_decoded_len(text.len);
    jws->buffer = flx_alloc(cap);
    if (jws->buffer == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a token");
    }
    size_t len = 0;
    if (!flx_base64url_decode(text, jws->buffer, cap, &len)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token payload: not base64url");
    }
    jws->payload = (flx_slice){jws->buffer, len};
    return FLX_OK;
}

static flx_status decode_parts(const token_parts *parts, flx_jws *jws, flx_error *reterr)
{
    size_t len = 0;
    if (!flx_base64url_decode(parts->signature, jws->signature, sizeof jws->signature, &len) ||
        len != sizeof jws->signature) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token signature: not %d bytes of base64url",
                        FLX_SIGNATURE_BYTES);
    }
    const flx_status status = decode_header(parts->header, jws, reterr);
    return status == FLX_OK ? decode_payload(parts->payload, jws, reterr) : status;
}

flx_status flx_jws_decode(flx_slice token, flx_jws *ret_jws, flx_error *reterr)
{
    if (token.len > FLX_JWS_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "token has %zu bytes, the limit is %u",
                        token.len, FLX_JWS_BYTES_MAX);
    }
    token_parts parts = {0};
    if (token.len == 0 || !split(token, &parts)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "token is not header.payload.signature");
    }
    flx_jws jws = {0};
    jws.signed_part = (flx_slice){token.ptr, parts.header.len + 1 + parts.payload.len};
    const flx_status status = decode_parts(&parts, &jws, reterr);
    if (status != FLX_OK) {
        flx_jws_done(&jws);
        return status;
    }
    *ret_jws = jws;
    return FLX_OK;
}

void flx_jws_done(flx_jws *jws)
{
    flx_free(jws->buffer);
    *jws = (flx_jws){0};
}

bool flx_jws_verify(const flx_jws *jws, const flx_public_key *key)
{
    return flx_public_key_verify(key, jws->signed_part,
                                 (flx_slice){jws->signature, sizeof jws->signature});
}

/* {"alg":"EdDSA","kid":...,"typ":"JWT"} as text in flx_alloc memory. */
static flx_status encode_header(const char *kid, char **ret_text, flx_error *reterr)
{
    const size_t kid_len = strlen(kid);
    if (kid_len == 0 || kid_len > FLX_JWS_KID_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "kid has %zu bytes, expected 1 to %u", kid_len,
                        FLX_JWS_KID_BYTES_MAX);
    }
    json_t *header = json_pack("{s:s,s:s,s:s}", "alg", "EdDSA", "kid", kid, "typ", "JWT");
    if (header == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory, or a kid that is not UTF-8");
    }
    const flx_status status = flx_json_write(header, ret_text, reterr);
    json_decref(header);
    return status;
}

/* Fills `text`, which has exactly the room: header '.' payload '.' signature. */
static flx_status write_token(const flx_signing_key *key, flx_slice header, flx_slice payload,
                              char *text, size_t len, flx_error *reterr)
{
    size_t at = flx_base64url_encode(header, text);
    text[at++] = '.';
    at += flx_base64url_encode(payload, text + at);
    uint8_t signature[FLX_SIGNATURE_BYTES];
    const flx_status status =
        flx_signing_key_sign(key, (flx_slice){(const uint8_t *)text, at}, signature, reterr);
    if (status != FLX_OK) {
        return status;
    }
    text[at++] = '.';
    at += flx_base64url_encode((flx_slice){signature, sizeof signature}, text + at);
    FLX_ASSERT(at == len);
    return FLX_OK;
}

static flx_status sign_parts(const flx_signing_key *key, flx_slice header, flx_slice payload,
                             flx_secret *ret_token, flx_error *reterr)
{
    const size_t len = flx_base64url_encoded_len(header.len) + 1 +
                       flx_base64url_encoded_len(payload.len) + 1 +
                       flx_base64url_encoded_len(FLX_SIGNATURE_BYTES);
    if (len > FLX_JWS_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE,
                        "the token would have %zu bytes, the limit is %u", len, FLX_JWS_BYTES_MAX);
    }
    flx_secret token = {0};
    flx_status status = flx_secret_init(&token, len, reterr);
    if (status == FLX_OK) {
        status = write_token(key, header, payload, (char *)token.bytes, len, reterr);
    }
    if (status != FLX_OK) {
        flx_secret_done(&token);
        return status;
    }
    *ret_token = token;
    return FLX_OK;
}

flx_status flx_jws_sign(const flx_signing_key *key, const char *kid, flx_slice payload,
                        flx_secret *ret_token, flx_error *reterr)
{
    char *header = NULL;
    const char *id = kid != NULL ? kid : flx_public_key_id(flx_signing_key_public(key));
    flx_status status = encode_header(id, &header, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = sign_parts(key, flx_slice_of(header), payload, ret_token, reterr);
    flx_free(header);
    return status;
}
