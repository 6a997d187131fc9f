/* SPDX-License-Identifier: Apache-2.0 */
/* From a token to grants: every claim that can be wrong, the choice of keys, what is remembered. */
#include "authz/issuer.h"
#include "authz/token.h"
#include "common/alloc.h"
#include "crypto/base64url.h"
#include "crypto/jwks.h"
#include "crypto/jws.h"
#include "unit.h"

#include <stdio.h>

#define NOW_S UINT64_C(1800000000)
#define US    UINT64_C(1000000)

static flx_signing_key *keys[3]; /* of t1: 0 and 1; of t2: 2 */

static int make_keys(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        uint8_t seed[32];
        memset(seed, i + 1, sizeof seed);
        if (flx_signing_key_from_seed((flx_slice){seed, sizeof seed}, &keys[i], NULL) != FLX_OK) {
            return -1;
        }
    }
    return 0;
}

static int drop_keys(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        keys[i] = flx_signing_key_unref(keys[i]);
    }
    return 0;
}

static char *jwks_of(int first, int count)
{
    flx_public_key *publics[3];
    for (int i = 0; i < count; i++) {
        publics[i] = flx_signing_key_public(keys[first + i]);
    }
    char *json = NULL;
    assert_int_equal(flx_jwks_encode(publics, (size_t)count, &json, NULL), FLX_OK);
    return json;
}

/* t1 has two keys, t2 has one. */
static flx_keyset *make_keyset(void)
{
    flx_keyset *one = NULL;
    flx_keyset *both = NULL;
    char *json = jwks_of(0, 2);
    assert_int_equal(flx_keyset_parse_jwks("t1", slice_of(json), &one, NULL), FLX_OK);
    flx_free(json);
    json = jwks_of(2, 1);
    assert_int_equal(flx_keyset_replace(one, "t2", slice_of(json), &both, NULL), FLX_OK);
    flx_free(json);
    flx_keyset_unref(one);
    return both;
}

static flx_verifier *make_verifier(uint32_t remembered_max)
{
    flx_keyset *keyset = make_keyset();
    flx_verifier *verifier = NULL;
    const flx_verifier_options options = {"felix-auth", "felix-broker", 60, remembered_max};
    assert_int_equal(flx_verifier_new(&options, keyset, &verifier, NULL), FLX_OK);
    flx_keyset_unref(keyset);
    return verifier;
}

static flx_secret sign(int key, const char *kid, const char *claims)
{
    flx_secret token;
    assert_int_equal(flx_jws_sign(keys[key], kid, slice_of(claims), &token, NULL), FLX_OK);
    return token;
}

static flx_status check(flx_verifier *verifier, const flx_secret *token, const char *tenant,
                        uint64_t wall_s, flx_error *error)
{
    flx_grants *grants = NULL;
    const flx_status status = flx_verifier_check(verifier, flx_secret_slice(token),
                                                 slice_of(tenant), wall_s * US, &grants, error);
    flx_grants_unref(grants);
    return status;
}

/* Claims with one part changed: the rows below give the part, the rest is good. */
#define ISS   "\"iss\":\"felix-auth\","
#define AUD   "\"aud\":\"felix-broker\","
#define SUB   "\"sub\":\"abc\","
#define TID   "\"tid\":\"t1\","
#define DATES "\"iat\":1799999990,\"exp\":1800000900,"
#define PERMS "\"perms\":[\"stream.publish:stream:t1/a/*\"]"

/* README.md, rules 1, 7, 9. */
static void test_claims(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *claims;
        const char *says; /* NULL: accepted */
    } rows[] = {
        {"good", "{" ISS AUD SUB TID DATES PERMS "}", NULL},
        {"aud array", "{" ISS "\"aud\":[\"x\",\"felix-broker\"]," SUB TID DATES PERMS "}", NULL},
        {"unknown claims", "{" ISS AUD SUB TID DATES PERMS ",\"x\":{\"y\":[1]}}", NULL},
        {"jti", "{" ISS AUD SUB TID DATES PERMS ",\"jti\":\"j\"}", NULL},
        {"no permissions", "{" ISS AUD SUB TID DATES "\"perms\":[]}", NULL},
        {"fractions", "{" ISS AUD SUB TID "\"iat\":1799999990.5,\"exp\":1.8000009e9," PERMS "}",
         NULL},
        {"nbf passed", "{" ISS AUD SUB TID DATES "\"nbf\":1799999000," PERMS "}", NULL},
        {"nbf within leeway", "{" ISS AUD SUB TID DATES "\"nbf\":1800000060," PERMS "}", NULL},
        {"exp within leeway", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":1799999941," PERMS "}", NULL},
        {"act", "{" ISS AUD SUB TID DATES PERMS ",\"act\":{\"sub\":\"d\"}}", NULL},
        {"act with more",
         "{" ISS AUD SUB TID DATES PERMS ",\"act\":{\"sub\":\"d\",\"act\":{\"sub\":\"e\"}}}", NULL},
        {"may_act", "{" ISS AUD SUB TID DATES PERMS ",\"may_act\":{\"sub\":\"d\"}}", NULL},
        {"grant that matches nothing",
         "{" ISS AUD SUB TID DATES "\"perms\":[\"stream.publish:stream:*\"]}", NULL},

        {"iss missing", "{" AUD SUB TID DATES PERMS "}", "iss"},
        {"iss other", "{\"iss\":\"felix-auth2\"," AUD SUB TID DATES PERMS "}", "iss"},
        {"iss no string", "{\"iss\":1," AUD SUB TID DATES PERMS "}", "iss"},
        {"aud missing", "{" ISS SUB TID DATES PERMS "}", "aud"},
        {"aud other", "{" ISS "\"aud\":\"felix-controlplane\"," SUB TID DATES PERMS "}", "aud"},
        {"aud empty array", "{" ISS "\"aud\":[]," SUB TID DATES PERMS "}", "aud"},
        {"aud object", "{" ISS "\"aud\":{\"felix-broker\":1}," SUB TID DATES PERMS "}", "aud"},
        {"tid missing", "{" ISS AUD SUB DATES PERMS "}", "tid is not"},
        {"tid other", "{" ISS AUD SUB "\"tid\":\"t2\"," DATES PERMS "}", "another tenant"},
        {"tid longer", "{" ISS AUD SUB "\"tid\":\"t11\"," DATES PERMS "}", "another tenant"},
        {"tid number", "{" ISS AUD SUB "\"tid\":1," DATES PERMS "}", "tid is not"},
        {"sub missing", "{" ISS AUD TID DATES PERMS "}", "sub"},
        {"sub empty", "{" ISS AUD "\"sub\":\"\"," TID DATES PERMS "}", "sub"},
        {"exp missing", "{" ISS AUD SUB TID "\"iat\":1799999990," PERMS "}", "exp"},
        {"exp text", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":\"1800000900\"," PERMS "}", "exp"},
        {"exp negative", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":-1," PERMS "}", "exp"},
        {"exp absurd", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":1e300," PERMS "}", "exp"},
        {"exp past 2^53", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":9223372036854775807," PERMS "}",
         "exp"},
        {"exp past 2^63", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":9223372036854775808," PERMS "}",
         "JSON"},
        {"expired", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":1799999940," PERMS "}",
         "expired 60 s ago"},
        {"iat missing", "{" ISS AUD SUB TID "\"exp\":1800000900," PERMS "}", "iat"},
        {"iat in the future",
         "{" ISS AUD SUB TID "\"iat\":1800000061,\"exp\":1800000900," PERMS "}",
         "not valid for another 61 s"},
        {"nbf in the future", "{" ISS AUD SUB TID DATES "\"nbf\":1800000061," PERMS "}",
         "not valid for another 61 s"},
        {"nbf text", "{" ISS AUD SUB TID DATES "\"nbf\":\"1\"," PERMS "}", "nbf"},
        {"perms missing", "{" ISS AUD SUB TID "\"iat\":1,\"exp\":1800000900}", "perms"},
        {"perms text", "{" ISS AUD SUB TID DATES "\"perms\":\"stream.publish:stream:t1/a/b\"}",
         "perms"},
        {"perms of numbers", "{" ISS AUD SUB TID DATES "\"perms\":[1]}", "perms"},
        {"unknown action", "{" ISS AUD SUB TID DATES "\"perms\":[\"stream.fly:stream:t1/a/b\"]}",
         "unknown action"},
        {"no action", "{" ISS AUD SUB TID DATES "\"perms\":[\"stream\"]}", "unknown action"},
        {"act text", "{" ISS AUD SUB TID DATES PERMS ",\"act\":\"d\"}", "act"},
        {"act without sub", "{" ISS AUD SUB TID DATES PERMS ",\"act\":{}}", "act"},
        {"act null", "{" ISS AUD SUB TID DATES PERMS ",\"act\":null}", "act"},
        {"may_act empty", "{" ISS AUD SUB TID DATES PERMS ",\"may_act\":{\"sub\":\"\"}}",
         "may_act"},
        {"a claim twice", "{" ISS AUD SUB TID TID DATES PERMS "}", "member twice"},
        {"not an object", "[]", "must be a JSON object"},
        {"not JSON", "hello", "not JSON"},
        {"nested", "{\"a\":[[[[[[[[[]]]]]]]]]}", "deeper than 8"},
    };
    flx_verifier *verifier = make_verifier(0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_secret token = sign(0, NULL, rows[i].claims);
        for (int round = 0; round < 2; round++) { /* the second is remembered, or is not */
            flx_error error = {0};
            const flx_status status = check(verifier, &token, "t1", NOW_S, &error);
            if (rows[i].says == NULL ? status != FLX_OK
                                     : status != FLX_ERR_UNAUTHENTICATED ||
                                           error.status != FLX_ERR_UNAUTHENTICATED ||
                                           strstr(error.message, rows[i].says) == NULL) {
                fail_msg("%s: %s '%s'", rows[i].name, flx_status_name(status), error.message);
            }
            /* No message may hold a piece of the token. */
            for (size_t at = 0; at + 16 <= token.len; at += 8) {
                char piece[17] = {0};
                memcpy(piece, token.bytes + at, 16);
                assert_null(strstr(error.message, piece));
            }
        }
        flx_secret_done(&token);
    }
    flx_verifier_free(verifier);
}

static const char GOOD[] = "{" ISS AUD SUB TID DATES PERMS "}";

static void test_key_choice(void **state)
{
    (void)state;
    const struct {
        const char *name;
        int key;
        const char *kid;
        const char *tenant;
        bool accepted;
    } rows[] = {
        {"first key by its kid", 0, NULL, "t1", true},
        {"second key by its kid", 1, NULL, "t1", true},
        {"unknown kid: every other key is tried", 1, "nobody", "t1", true},
        {"kid of the other key", 1, flx_public_key_id(flx_signing_key_public(keys[0])), "t1", true},
        {"key of another tenant", 2, NULL, "t1", false},
        {"key of another tenant under our kid", 2,
         flx_public_key_id(flx_signing_key_public(keys[0])), "t1", false},
        {"a tenant without keys", 0, NULL, "t3", false},
    };
    flx_verifier *verifier = make_verifier(0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_secret token = sign(rows[i].key, rows[i].kid, GOOD);
        flx_error error = {0};
        const flx_status status = check(verifier, &token, rows[i].tenant, NOW_S, &error);
        if (status != (rows[i].accepted ? FLX_OK : FLX_ERR_UNAUTHENTICATED)) {
            fail_msg("%s: %s", rows[i].name, error.message);
        }
        flx_secret_done(&token);
    }
    flx_verifier_free(verifier);
}

static void test_texts(void **state)
{
    (void)state;
    static const char none[] = "eyJhbGciOiJub25lIn0.e30."; /* {"alg":"none"} */
    static const char hs256[] =
        "eyJhbGciOiJIUzI1NiJ9.e30."
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAA";
    static uint8_t huge[20000];
    memset(huge, 'a', sizeof huge);
    flx_verifier *verifier = make_verifier(0);
    const struct {
        const char *name;
        flx_slice token;
        flx_slice tenant;
    } rows[] = {
        {"empty", {NULL, 0}, slice_of("t1")},
        {"alg none", slice_of(none), slice_of("t1")},
        {"alg HS256", slice_of(hs256), slice_of("t1")},
        {"not a token", slice_of("hello"), slice_of("t1")},
        {"oversized", {huge, sizeof huge}, slice_of("t1")},
        {"no tenant", slice_of(none), {NULL, 0}},
        {"tenant of 257", slice_of(none), {huge, 257}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_grants *grants = NULL;
        if (flx_verifier_check(verifier, rows[i].token, rows[i].tenant, NOW_S * US, &grants,
                               NULL) != FLX_ERR_UNAUTHENTICATED) {
            fail_msg("%s", rows[i].name);
        }
        assert_null(grants);
    }
    flx_verifier_free(verifier);
}

/* A change anywhere in header, payload or signature is refused, also after the real one is known. */
static void test_tampered(void **state)
{
    (void)state;
    flx_verifier *verifier = make_verifier(0);
    flx_secret token = sign(0, NULL, GOOD);
    assert_int_equal(check(verifier, &token, "t1", NOW_S, NULL), FLX_OK);
    for (size_t at = 0; at < token.len; at += 5) {
        const uint8_t was = token.bytes[at];
        token.bytes[at] = was == 'A' ? 'B' : 'A';
        assert_int_equal(check(verifier, &token, "t1", NOW_S, NULL), FLX_ERR_UNAUTHENTICATED);
        token.bytes[at] = was;
    }
    assert_int_equal(check(verifier, &token, "t1", NOW_S, NULL), FLX_OK);
    flx_secret_done(&token);
    flx_verifier_free(verifier);
}

static void test_grants_tell(void **state)
{
    (void)state;
    flx_verifier *verifier = make_verifier(0);
    flx_secret token = sign(0, NULL,
                            "{" ISS AUD SUB TID DATES PERMS
                            ",\"act\":{\"sub\":\"actor\"},\"may_act\":{\"sub\":\"m\"}}");
    flx_grants *grants = NULL;
    assert_int_equal(flx_verifier_check(verifier, flx_secret_slice(&token), slice_of("t1"),
                                        NOW_S * US, &grants, NULL),
                     FLX_OK);
    flx_secret_done(&token);
    flx_verifier_free(verifier); /* grants outlive their verifier */
    assert_memory_equal(flx_grants_tenant(grants).ptr, "t1", 2);
    assert_memory_equal(flx_grants_subject(grants).ptr, "abc", 3);
    assert_memory_equal(flx_grants_actor(grants).ptr, "actor", 5);
    assert_memory_equal(flx_grants_may_act(grants).ptr, "m", 1);
    assert_int_equal(flx_grants_expires_s(grants), 1800000900);
    assert_int_equal(flx_grants_count(grants), 1);
    assert_memory_equal(flx_grants_permission(grants, 0).ptr, "stream.publish:stream:t1/a/*", 28);
    flx_grants_ref(grants);
    flx_grants_unref(grants);
    flx_grants_unref(grants);
}

/* README.md, rules 2, 3. */
static void test_remembered(void **state)
{
    (void)state;
    flx_verifier *verifier = make_verifier(0);
    flx_secret token = sign(0, NULL, GOOD);
    flx_grants *first = NULL;
    flx_grants *second = NULL;
    assert_int_equal(flx_verifier_check(verifier, flx_secret_slice(&token), slice_of("t1"),
                                        NOW_S * US, &first, NULL),
                     FLX_OK);
    const uint64_t before = flx_alloc_count();
    assert_int_equal(flx_verifier_check(verifier, flx_secret_slice(&token), slice_of("t1"),
                                        NOW_S * US, &second, NULL),
                     FLX_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(flx_alloc_count(), before);
    /* Known or not, tenant and time are looked at. */
    flx_error error;
    assert_int_equal(check(verifier, &token, "t2", NOW_S, &error), FLX_ERR_UNAUTHENTICATED);
    assert_non_null(strstr(error.message, "another tenant"));
    assert_int_equal(check(verifier, &token, "t1", NOW_S + 959, &error), FLX_OK);
    assert_int_equal(check(verifier, &token, "t1", NOW_S - 100, &error), FLX_ERR_UNAUTHENTICATED);
    assert_int_equal(check(verifier, &token, "t1", NOW_S + 960, &error), FLX_ERR_UNAUTHENTICATED);
    assert_non_null(strstr(error.message, "expired 60 s ago"));
    flx_grants_unref(first);
    flx_grants_unref(second);
    flx_secret_done(&token);
    flx_verifier_free(verifier);
}

/* README.md, rule 2. */
static void test_keys_change(void **state)
{
    (void)state;
    flx_verifier *verifier = make_verifier(0);
    flx_secret by_first = sign(0, NULL, GOOD);
    assert_int_equal(check(verifier, &by_first, "t1", NOW_S, NULL), FLX_OK);
    char *json = jwks_of(1, 1);
    flx_keyset *without = NULL;
    assert_int_equal(flx_keyset_parse_jwks("t1", slice_of(json), &without, NULL), FLX_OK);
    flx_free(json);
    flx_verifier_set_keys(verifier, without);
    flx_keyset_unref(without);
    assert_int_equal(check(verifier, &by_first, "t1", NOW_S, NULL), FLX_ERR_UNAUTHENTICATED);
    flx_secret_done(&by_first);
    flx_verifier_free(verifier);
}

/* With room for two, the one not used for longest is forgotten; all of them still verify. */
static void test_bounded(void **state)
{
    (void)state;
    flx_verifier *verifier = make_verifier(2);
    flx_grants *first[3] = {NULL};
    flx_secret tokens[3];
    for (int i = 0; i < 3; i++) {
        char claims[512];
        (void)snprintf(claims, sizeof claims, "{" ISS AUD TID DATES PERMS ",\"sub\":\"s%d\"}", i);
        tokens[i] = sign(0, NULL, claims);
    }
    const int order[] = {0, 1, 0, 2};
    for (int i = 0; i < 4; i++) {
        flx_grants_unref(first[order[i]]);
        assert_int_equal(flx_verifier_check(verifier, flx_secret_slice(&tokens[order[i]]),
                                            slice_of("t1"), NOW_S * US, &first[order[i]], NULL),
                         FLX_OK);
    }
    const bool kept[] = {true, false, true}; /* 1 went when 2 came; it is asked last */
    const int ask[] = {0, 2, 1};
    for (int i = 0; i < 3; i++) {
        flx_grants *again = NULL;
        assert_int_equal(flx_verifier_check(verifier, flx_secret_slice(&tokens[ask[i]]),
                                            slice_of("t1"), NOW_S * US, &again, NULL),
                         FLX_OK);
        assert_int_equal(again == first[ask[i]], kept[ask[i]]);
        flx_grants_unref(again);
    }
    for (int i = 0; i < 3; i++) {
        flx_grants_unref(first[i]);
        flx_secret_done(&tokens[i]);
    }
    flx_verifier_free(verifier);
}

static void test_keysets(void **state)
{
    (void)state;
    flx_keyset *keyset = make_keyset();
    assert_true(flx_keyset_has_tenant(keyset, slice_of("t1")));
    assert_true(flx_keyset_has_tenant(keyset, slice_of("t2")));
    assert_false(flx_keyset_has_tenant(keyset, slice_of("t")));
    assert_false(flx_keyset_has_tenant(keyset, slice_of("t3")));
    /* Two hundred tenants, added from the middle outwards, then every other one removed. */
    char *json = jwks_of(0, 1);
    for (int i = 0; i < 200; i++) {
        char name[16];
        flx_keyset *next = NULL;
        (void)snprintf(name, sizeof name, "n%03d", i * 77 % 200);
        assert_int_equal(flx_keyset_replace(keyset, name, slice_of(json), &next, NULL), FLX_OK);
        flx_keyset_unref(keyset);
        keyset = next;
    }
    for (int i = 0; i < 200; i += 2) {
        char name[16];
        flx_keyset *next = NULL;
        (void)snprintf(name, sizeof name, "n%03d", i);
        assert_int_equal(flx_keyset_replace(keyset, name, (flx_slice){NULL, 0}, &next, NULL),
                         FLX_OK);
        flx_keyset_unref(keyset);
        keyset = next;
    }
    for (int i = 0; i < 200; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%03d", i);
        assert_int_equal(flx_keyset_has_tenant(keyset, slice_of(name)), i % 2 == 1);
    }
    assert_true(flx_keyset_has_tenant(keyset, slice_of("t1")));
    /* Keys of every tenant: what `felix up` uses. */
    flx_keyset *every = NULL;
    assert_int_equal(flx_keyset_parse_jwks(NULL, slice_of(json), &every, NULL), FLX_OK);
    assert_true(flx_keyset_has_tenant(every, slice_of("anybody")));
    flx_keyset *bad = NULL;
    assert_int_equal(flx_keyset_parse_jwks("", slice_of(json), &bad, NULL), FLX_ERR_INVALID);
    assert_int_equal(flx_keyset_parse_jwks("t", (flx_slice){NULL, 0}, &bad, NULL), FLX_ERR_INVALID);
    flx_free(json);
    flx_keyset_unref(every);
    flx_keyset_unref(keyset);
}

static void test_without_memory(void **state)
{
    (void)state;
    flx_secret token = sign(0, NULL, GOOD);
    char *json = jwks_of(0, 2);
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        flx_keyset *one = NULL;
        flx_keyset *keyset = NULL;
        flx_verifier *verifier = NULL;
        flx_grants *grants = NULL;
        const flx_verifier_options options = {"felix-auth", "felix-broker", 60, 64};
        flx_alloc_fail_nth(nth);
        flx_status status = flx_keyset_parse_jwks(NULL, slice_of(json), &one, NULL);
        if (status == FLX_OK) {
            status = flx_keyset_replace(one, "t1", slice_of(json), &keyset, NULL);
        }
        if (status == FLX_OK) {
            status = flx_verifier_new(&options, keyset, &verifier, NULL);
        }
        if (status == FLX_OK) {
            status = flx_verifier_check(verifier, flx_secret_slice(&token), slice_of("t1"),
                                        NOW_S * US, &grants, NULL);
        }
        failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        flx_grants_unref(grants);
        flx_verifier_free(verifier);
        flx_keyset_unref(keyset);
        flx_keyset_unref(one);
        assert_true(nth < 1000);
    }
    flx_free(json);
    flx_secret_done(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims),      cmocka_unit_test(test_key_choice),
        cmocka_unit_test(test_texts),       cmocka_unit_test(test_tampered),
        cmocka_unit_test(test_grants_tell), cmocka_unit_test(test_remembered),
        cmocka_unit_test(test_keys_change), cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_keysets),     cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
