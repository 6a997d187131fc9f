/* SPDX-License-Identifier: Apache-2.0 */
/* JWK sets: what is read, what is passed over, what is refused, what is written. */
#include "common/alloc.h"
#include "crypto/jwks.h"
#include "unit.h"

#include <stdio.h>

#define X  "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
#define ED "\"kty\":\"OKP\",\"crv\":\"Ed25519\"," X

static void test_read(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t count;
        const char *kid; /* of the first */
    } rows[] = {
        {"{\"keys\":[]}", 0, NULL},
        {"{\"keys\":[{" ED ",\"kid\":\"k1\",\"alg\":\"EdDSA\",\"use\":\"sig\"}]}", 1, "k1"},
        {"{\"keys\":[{" ED "}]}", 1, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\"},{" ED ",\"kid\":\"b\"}]}", 1,
         "b"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"X25519\"," X "}]}", 0, NULL},
        {"{\"keys\":[{" ED ",\"use\":\"enc\"}]}", 0, NULL},
        {"{\"keys\":[{" ED ",\"alg\":\"ES256\"}]}", 0, NULL},
        {"{\"keys\":[{" ED ",\"kid\":\"a\"},{" ED ",\"kid\":\"b\"}],\"more\":true}", 2, "a"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_jwks jwks;
        flx_error error = {0};
        if (flx_jwks_decode(slice_of(rows[i].json), &jwks, &error) != FLX_OK) {
            fail_msg("%s: %s", rows[i].json, error.message);
        }
        assert_int_equal(jwks.count, rows[i].count);
        if (rows[i].count > 0) {
            assert_string_equal(jwks.keys[0].kid, rows[i].kid);
        }
        flx_jwks_done(&jwks);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *says;
    } rows[] = {
        {"", "empty"},
        {"[]", "must be a JSON object"},
        {"{}", "no array"},
        {"{\"keys\":{}}", "no array"},
        {"{\"keys\":[7]}", "key 0: not an object"},
        {"{\"keys\":[{" ED ",\"d\":\"AA\"}]}", "private key"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"d\":\"AA\"}]}", "private key"},
        {"{\"keys\":[{" ED ",\"kid\":\"a\"},{" ED ",\"kid\":\"a\"}]}",
         "key 1: its kid stands there"},
        {"{\"keys\":[{" ED ",\"kid\":1}]}", "kid is not"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}]}", "x is not"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}", "1 bytes, expected 32"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"A=\"}]}", "x is not"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
         "not a point"},
        {"{\"keys\":[],\"keys\":[]}", "member twice"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_jwks jwks;
        flx_error error = {0};
        const flx_status status = flx_jwks_decode(slice_of(rows[i].json), &jwks, &error);
        if (status != FLX_ERR_INVALID || strstr(error.message, rows[i].says) == NULL) {
            fail_msg("%s: %s '%s'", rows[i].json, flx_status_name(status), error.message);
        }
    }
}

static void test_too_many(void **state)
{
    (void)state;
    char json[1024] = "{\"keys\":[";
    for (unsigned i = 0; i <= FLX_JWKS_KEYS_MAX; i++) {
        (void)strcat(json, i == 0 ? "{}" : ",{}");
    }
    (void)strcat(json, "]}");
    flx_jwks jwks;
    assert_int_equal(flx_jwks_decode(slice_of(json), &jwks, NULL), FLX_ERR_TOO_LARGE);
}

static void test_round_trip(void **state)
{
    (void)state;
    flx_public_key *keys[3];
    flx_signing_key *made[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(flx_signing_key_generate(&made[i], NULL), FLX_OK);
        keys[i] = flx_signing_key_public(made[i]);
    }
    char *json = NULL;
    assert_int_equal(flx_jwks_encode(keys, 3, &json, NULL), FLX_OK);
    assert_non_null(strstr(json, "\"use\":\"sig\""));
    assert_null(strstr(json, "\"d\""));
    flx_jwks jwks;
    assert_int_equal(flx_jwks_decode(slice_of(json), &jwks, NULL), FLX_OK);
    assert_int_equal(jwks.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(jwks.keys[i].kid, flx_public_key_id(keys[i]));
        assert_memory_equal(flx_public_key_x(jwks.keys[i].key).ptr, flx_public_key_x(keys[i]).ptr,
                            FLX_PUBLIC_KEY_BYTES);
        flx_signing_key_unref(made[i]);
    }
    flx_jwks_done(&jwks);
    flx_free(json);
}

static void test_without_memory(void **state)
{
    (void)state;
    flx_signing_key *made = NULL;
    assert_int_equal(flx_signing_key_generate(&made, NULL), FLX_OK);
    flx_public_key *keys[1] = {flx_signing_key_public(made)};
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        char *json = NULL;
        flx_jwks jwks = {0};
        flx_alloc_fail_nth(nth);
        flx_status status = flx_jwks_encode(keys, 1, &json, NULL);
        if (status == FLX_OK) {
            status = flx_jwks_decode(slice_of(json), &jwks, NULL);
        }
        failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        flx_jwks_done(&jwks);
        flx_free(json);
        assert_true(nth < 500);
    }
    flx_signing_key_unref(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),           cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many),       cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
