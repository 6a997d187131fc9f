/* SPDX-License-Identifier: Apache-2.0 */
/* Compact JWS: the vector of RFC 8037, what is refused, and rhonabwy as a second opinion. */
#include "common/alloc.h"
#include "crypto/base64url.h"
#include "crypto/jwks.h"
#include "crypto/jws.h"
#include "unit.h"

#include <rhonabwy.h>
#include <stdio.h>

static const char RFC_D[] = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
static const char RFC_X[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

static flx_signing_key *key;

static int make_key(void **state)
{
    (void)state;
    uint8_t seed[32];
    size_t len = 0;
    return flx_base64url_decode(slice_of(RFC_D), seed, sizeof seed, &len) &&
                   flx_signing_key_from_seed((flx_slice){seed, len}, &key, NULL) == FLX_OK
               ? 0
               : -1;
}

static int drop_key(void **state)
{
    (void)state;
    key = flx_signing_key_unref(key);
    return 0;
}

/* Puts a token together from its parts as they are, signed when `sign` is set. */
static void build(const char *header, const char *payload, bool sign, char *token)
{
    size_t at = flx_base64url_encode(slice_of(header), token);
    token[at++] = '.';
    at += flx_base64url_encode(slice_of(payload), token + at);
    uint8_t signature[FLX_SIGNATURE_BYTES] = {0};
    if (sign) {
        assert_int_equal(
            flx_signing_key_sign(key, (flx_slice){(uint8_t *)token, at}, signature, NULL), FLX_OK);
    }
    token[at++] = '.';
    at += flx_base64url_encode((flx_slice){signature, sizeof signature}, token + at);
    token[at] = '\0';
}

/* RFC 8037 appendix A.4 */
static const char RFC_TOKEN[] =
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

static void test_rfc8037_vector(void **state)
{
    (void)state;
    flx_jws jws;
    assert_int_equal(flx_jws_decode(slice_of(RFC_TOKEN), &jws, NULL), FLX_OK);
    assert_false(jws.has_kid);
    assert_int_equal(jws.payload.len, strlen("Example of Ed25519 signing"));
    assert_memory_equal(jws.payload.ptr, "Example of Ed25519 signing", jws.payload.len);
    assert_true(flx_jws_verify(&jws, flx_signing_key_public(key)));
    flx_jws_done(&jws);
    char token[512];
    build("{\"alg\":\"EdDSA\"}", "Example of Ed25519 signing", true, token);
    assert_string_equal(token, RFC_TOKEN); /* Ed25519 is deterministic */
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const kids[] = {NULL, "k1", "quoted \" and \\ slashed"};
    for (size_t i = 0; i < COUNT(kids); i++) {
        flx_secret token;
        flx_jws jws;
        assert_int_equal(flx_jws_sign(key, kids[i], slice_of("{\"a\":1}"), &token, NULL), FLX_OK);
        assert_int_equal(flx_jws_decode(flx_secret_slice(&token), &jws, NULL), FLX_OK);
        assert_true(jws.has_kid);
        assert_string_equal(
            jws.kid, kids[i] != NULL ? kids[i] : flx_public_key_id(flx_signing_key_public(key)));
        assert_true(flx_jws_verify(&jws, flx_signing_key_public(key)));
        flx_jws_done(&jws);
        flx_secret_done(&token);
    }
}

/* README.md, rules 1, 3. */
static void test_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *says; /* NULL: accepted */
    } rows[] = {
        {"{\"alg\":\"EdDSA\"}", NULL},
        {"{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"a\"}", NULL},
        {"{\"alg\":\"EdDSA\",\"jwk\":{\"kty\":\"OKP\"},\"later\":1}", NULL},
        {"{\"alg\":\"none\"}", "not EdDSA"},
        {"{\"alg\":\"HS256\"}", "not EdDSA"},
        {"{\"alg\":\"ES256\"}", "not EdDSA"},
        {"{\"alg\":\"eddsa\"}", "not EdDSA"},
        {"{\"alg\":\"EdDSA \"}", "not EdDSA"},
        {"{\"alg\":\"Ed25519\"}", "not EdDSA"},
        {"{\"alg\":[\"EdDSA\"]}", "alg is missing"},
        {"{}", "alg is missing"},
        {"{\"alg\":\"EdDSA\",\"alg\":\"none\"}", "member twice"},
        {"{\"alg\":\"EdDSA\",\"crit\":[\"exp\"]}", "crit"},
        {"{\"alg\":\"EdDSA\",\"b64\":false}", "b64"},
        {"{\"alg\":\"EdDSA\",\"b64\":true}", "b64"},
        {"{\"alg\":\"EdDSA\",\"kid\":7}", "kid"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"\"}", "kid"},
        {"{\"alg\":\"EdDSA\",\"kid\":null}", "kid"},
        {"{\"alg\":\"EdDSA\"} x", "not JSON"},
        {"{\"alg\":\"EdDSA\",}", "not JSON"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"a\\u0000b\"}", "not JSON"},
        {"[\"EdDSA\"]", "must be a JSON object"},
        {"", "empty"},
        {"{\"alg\":\"EdDSA\",\"x\":[[[[[[[[1]]]]]]]]}", "deeper than 8"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char token[1024];
        flx_jws jws = {0};
        flx_error error = {0};
        build(rows[i].header, "{}", true, token);
        const flx_status status = flx_jws_decode(slice_of(token), &jws, &error);
        if (rows[i].says == NULL
                ? status != FLX_OK
                : status != FLX_ERR_INVALID || strstr(error.message, rows[i].says) == NULL) {
            fail_msg("%s: %s '%s'", rows[i].header, flx_status_name(status), error.message);
        }
        flx_jws_done(&jws);
    }
}

/* README.md, rule 2. */
static void test_shapes(void **state)
{
    (void)state;
    char long_kid[1600];
    char big_header[4096];
    memset(long_kid, 'k', 129);
    long_kid[129] = '\0';
    char header[2048];
    (void)snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", long_kid);
    build(header, "{}", true, big_header);
    const struct {
        const char *name;
        const char *token;
    } rows[] = {
        {"empty", ""},
        {"no dot", "abc"},
        {"one dot", "abc.def"},
        {"three dots", "a.b.c.d"},
        {"only dots", ".."},
        {"padding", "eyJhbGciOiJFZERTQSJ9=.e30.AAAA"},
        {"unsecured", "eyJhbGciOiJub25lIn0.e30."},
        {"short signature", "eyJhbGciOiJFZERTQSJ9.e30.AAAA"},
        {"kid of 129", big_header},
        {"white space before", " eyJhbGciOiJFZERTQSJ9.e30.AAAA"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_jws jws = {0};
        if (flx_jws_decode(slice_of(rows[i].token), &jws, NULL) != FLX_ERR_INVALID) {
            fail_msg("accepted: %s", rows[i].name);
        }
    }
    /* A header at the limit is read, one past it is not. */
    memset(long_kid, ' ', 1500);
    long_kid[1500] = '\0';
    (void)snprintf(header, sizeof header, "{%.*s\"alg\":\"EdDSA\"}", 1024 - 15, long_kid);
    assert_int_equal(strlen(header), 1024);
    build(header, "{}", true, big_header);
    flx_jws jws = {0};
    assert_int_equal(flx_jws_decode(slice_of(big_header), &jws, NULL), FLX_OK);
    flx_jws_done(&jws);
    (void)snprintf(header, sizeof header, "{%.*s\"alg\":\"EdDSA\"}", 1025 - 15, long_kid);
    build(header, "{}", true, big_header);
    assert_int_equal(flx_jws_decode(slice_of(big_header), &jws, NULL), FLX_ERR_INVALID);
}

/* Every single-character change of a token is refused, or at least does not verify. */
static void test_every_change_is_noticed(void **state)
{
    (void)state;
    char token[512];
    build("{\"alg\":\"EdDSA\"}", "{\"tid\":\"t1\"}", true, token);
    const size_t len = strlen(token);
    for (size_t i = 0; i < len; i++) {
        const char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        flx_jws jws = {0};
        if (flx_jws_decode(slice_of(token), &jws, NULL) == FLX_OK &&
            flx_jws_verify(&jws, flx_signing_key_public(key))) {
            fail_msg("changed at %zu and still valid", i);
        }
        flx_jws_done(&jws);
        token[i] = was;
    }
}

static void test_too_large(void **state)
{
    (void)state;
    static uint8_t payload[FLX_JWS_BYTES_MAX];
    memset(payload, 'x', sizeof payload);
    flx_secret token = {0};
    flx_error error = {0};
    assert_int_equal(flx_jws_sign(key, NULL, (flx_slice){payload, sizeof payload}, &token, &error),
                     FLX_ERR_TOO_LARGE);
    flx_jws jws = {0};
    assert_int_equal(flx_jws_decode((flx_slice){payload, sizeof payload}, &jws, &error),
                     FLX_ERR_INVALID);
    static uint8_t larger[FLX_JWS_BYTES_MAX + 1];
    assert_int_equal(flx_jws_decode((flx_slice){larger, sizeof larger}, &jws, &error),
                     FLX_ERR_TOO_LARGE);
    /* 16 KiB exactly can be made and read. */
    assert_int_equal(flx_jws_sign(key, "k", (flx_slice){payload, 12000}, &token, NULL), FLX_OK);
    assert_int_equal(flx_jws_decode(flx_secret_slice(&token), &jws, NULL), FLX_OK);
    flx_jws_done(&jws);
    flx_secret_done(&token);
}

static jwk_t *oracle_key(bool with_private)
{
    char json[256];
    (void)snprintf(json, sizeof json,
                   "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"x\":\"%s\"%s%s%s}",
                   RFC_X, with_private ? ",\"d\":\"" : "", with_private ? RFC_D : "",
                   with_private ? "\"" : "");
    jwk_t *jwk = NULL;
    assert_int_equal(r_jwk_init(&jwk), RHN_OK);
    assert_int_equal(r_jwk_import_from_json_str(jwk, json), RHN_OK);
    return jwk;
}

static void test_oracle_reads_ours(void **state)
{
    (void)state;
    flx_secret token;
    assert_int_equal(flx_jws_sign(key, "k1", slice_of("{\"a\":1}"), &token, NULL), FLX_OK);
    jws_t *oracle = NULL;
    jwk_t *jwk = oracle_key(false);
    assert_int_equal(r_jws_init(&oracle), RHN_OK);
    assert_int_equal(r_jws_parse(oracle, (const char *)token.bytes, 0), RHN_OK);
    assert_int_equal(r_jws_verify_signature(oracle, jwk, 0), RHN_OK);
    assert_string_equal(r_jws_get_header_str_value(oracle, "kid"), "k1");
    size_t len = 0;
    const unsigned char *payload = r_jws_get_payload(oracle, &len);
    assert_int_equal(len, 7);
    assert_memory_equal(payload, "{\"a\":1}", 7);
    r_jws_free(oracle);
    r_jwk_free(jwk);
    flx_secret_done(&token);
}

static void test_ours_reads_oracle(void **state)
{
    (void)state;
    jws_t *oracle = NULL;
    jwk_t *jwk = oracle_key(true);
    assert_int_equal(r_jws_init(&oracle), RHN_OK);
    assert_int_equal(r_jws_set_alg(oracle, R_JWA_ALG_EDDSA), RHN_OK);
    assert_int_equal(r_jws_set_payload(oracle, (const unsigned char *)"{\"b\":2}", 7), RHN_OK);
    char *token = r_jws_serialize(oracle, jwk, 0);
    assert_non_null(token);
    flx_jws jws;
    assert_int_equal(flx_jws_decode(slice_of(token), &jws, NULL), FLX_OK);
    assert_true(flx_jws_verify(&jws, flx_signing_key_public(key)));
    assert_memory_equal(jws.payload.ptr, "{\"b\":2}", 7);
    flx_jws_done(&jws);
    r_free(token);
    r_jws_free(oracle);
    r_jwk_free(jwk);
}

static void test_without_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        flx_secret token = {0};
        flx_jws jws = {0};
        flx_alloc_fail_nth(nth);
        flx_status status = flx_jws_sign(key, "k1", slice_of("{\"a\":1}"), &token, NULL);
        if (status == FLX_OK) {
            status = flx_jws_decode(flx_secret_slice(&token), &jws, NULL);
        }
        failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        flx_jws_done(&jws);
        flx_secret_done(&token);
        assert_true(nth < 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8037_vector),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_every_change_is_noticed),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_oracle_reads_ours),
        cmocka_unit_test(test_ours_reads_oracle),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, make_key, drop_key);
}
