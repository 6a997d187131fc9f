/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 keys against the published vectors of RFC 8032 and RFC 8037. */
#include "common/alloc.h"
#include "crypto/base64url.h"
#include "crypto/key.h"
#include "unit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* RFC 8037 appendix A.1 to A.3: a private key, its public half, its thumbprint. */
static const char RFC_D[] = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
static const char RFC_X[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
static const char RFC_THUMBPRINT[] = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

static flx_signing_key *rfc_key(void)
{
    uint8_t seed[32];
    size_t len = 0;
    flx_signing_key *key = NULL;
    assert_true(flx_base64url_decode(slice_of(RFC_D), seed, sizeof seed, &len));
    assert_int_equal(flx_signing_key_from_seed((flx_slice){seed, len}, &key, NULL), FLX_OK);
    return key;
}

static void test_rfc8037(void **state)
{
    (void)state;
    flx_signing_key *key = rfc_key();
    flx_public_key *pub = flx_signing_key_public(key);
    char x[44] = {0};
    (void)flx_base64url_encode(flx_public_key_x(pub), x);
    assert_string_equal(x, RFC_X);
    assert_string_equal(flx_public_key_id(pub), RFC_THUMBPRINT);
    key = flx_signing_key_unref(key);
    assert_null(key);
}

/* RFC 8032 section 7.1, test 1: the empty message under the same key. */
static void test_rfc8032_signature(void **state)
{
    (void)state;
    static const uint8_t expected[FLX_SIGNATURE_BYTES] = {
        0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72, 0x90, 0x86, 0xe2, 0xcc, 0x80,
        0x6e, 0x82, 0x8a, 0x84, 0x87, 0x7f, 0x1e, 0xb8, 0xe5, 0xd9, 0x74, 0xd8, 0x73,
        0xe0, 0x65, 0x22, 0x49, 0x01, 0x55, 0x5f, 0xb8, 0x82, 0x15, 0x90, 0xa3, 0x3b,
        0xac, 0xc6, 0x1e, 0x39, 0x70, 0x1c, 0xf9, 0xb4, 0x6b, 0xd2, 0x5b, 0xf5, 0xf0,
        0x59, 0x5b, 0xbe, 0x24, 0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b};
    flx_signing_key *key = rfc_key();
    uint8_t signature[FLX_SIGNATURE_BYTES];
    assert_int_equal(flx_signing_key_sign(key, slice_of(""), signature, NULL), FLX_OK);
    assert_memory_equal(signature, expected, sizeof expected);
    flx_public_key *pub = flx_signing_key_public(key);
    assert_true(flx_public_key_verify(pub, slice_of(""), (flx_slice){signature, 64}));
    assert_false(flx_public_key_verify(pub, slice_of("x"), (flx_slice){signature, 64}));
    assert_false(flx_public_key_verify(pub, slice_of(""), (flx_slice){signature, 63}));
    for (size_t bit = 0; bit < 512; bit += 37) {
        signature[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_false(flx_public_key_verify(pub, slice_of(""), (flx_slice){signature, 64}));
        signature[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    flx_signing_key_unref(key);
}

/* S + L is the same scalar; were it accepted, a token would have two valid texts (RFC 8032 5.1.7). */
static void test_malleable_signature_refused(void **state)
{
    (void)state;
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,
                                      0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
                                      0,    0,    0,    0,    0,    0,    0,    0,
                                      0,    0,    0,    0,    0,    0,    0,    0x10};
    flx_signing_key *key = rfc_key();
    uint8_t signature[FLX_SIGNATURE_BYTES];
    assert_int_equal(flx_signing_key_sign(key, slice_of("m"), signature, NULL), FLX_OK);
    unsigned carry = 0;
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_false(flx_public_key_verify(flx_signing_key_public(key), slice_of("m"),
                                       (flx_slice){signature, 64}));
    flx_signing_key_unref(key);
}

static void test_bad_points(void **state)
{
    (void)state;
    uint8_t x[32] = {0}; /* 0: of order four */
    flx_public_key *key = NULL;
    assert_int_equal(flx_public_key_new((flx_slice){x, 32}, &key, NULL), FLX_ERR_INVALID);
    x[0] = 1; /* the identity */
    assert_int_equal(flx_public_key_new((flx_slice){x, 32}, &key, NULL), FLX_ERR_INVALID);
    x[0] = 2; /* no point at all */
    assert_int_equal(flx_public_key_new((flx_slice){x, 32}, &key, NULL), FLX_ERR_INVALID);
    assert_int_equal(flx_public_key_new((flx_slice){x, 31}, &key, NULL), FLX_ERR_INVALID);
    assert_null(key);
}

static void test_pem_round_trip(void **state)
{
    (void)state;
    flx_signing_key *key = NULL;
    flx_signing_key *again = NULL;
    flx_secret pem;
    assert_int_equal(flx_signing_key_generate(&key, NULL), FLX_OK);
    assert_int_equal(flx_signing_key_to_pem(key, &pem, NULL), FLX_OK);
    assert_non_null(strstr((const char *)pem.bytes, "-----BEGIN PRIVATE KEY-----"));
    assert_int_equal(flx_signing_key_from_pem(flx_secret_slice(&pem), &again, NULL), FLX_OK);
    assert_string_equal(flx_public_key_id(flx_signing_key_public(key)),
                        flx_public_key_id(flx_signing_key_public(again)));
    flx_secret_done(&pem);
    flx_signing_key_unref(key);
    flx_signing_key_unref(again);
}

/* A P-256 key, made for this test and used nowhere. */
static const char OTHER_KIND[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\n"
    "-----END PRIVATE KEY-----\n";

static void test_bad_pem(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "", "nothing", OTHER_KIND,
        "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_signing_key *key = NULL;
        flx_error error = {0};
        assert_int_equal(flx_signing_key_from_pem(slice_of(rows[i]), &key, &error),
                         FLX_ERR_INVALID);
        assert_null(key);
        assert_null(strstr(error.message, "MC4C"));
    }
}

static void test_file(void **state)
{
    (void)state;
    char path[] = "/tmp/felix-key-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    (void)unlink(path);
    flx_signing_key *made = NULL;
    flx_signing_key *read_back = NULL;
    assert_int_equal(flx_signing_key_load_or_create(path, &made, NULL), FLX_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(flx_signing_key_load_or_create(path, &read_back, NULL), FLX_OK);
    assert_string_equal(flx_public_key_id(flx_signing_key_public(made)),
                        flx_public_key_id(flx_signing_key_public(read_back)));
    assert_int_equal(chmod(path, 0644), 0);
    flx_signing_key *none = NULL;
    assert_int_equal(flx_signing_key_load_or_create(path, &none, NULL), FLX_ERR_DENIED);
    assert_null(none);
    (void)unlink(path);
    flx_signing_key_unref(made);
    flx_signing_key_unref(read_back);
}

static void test_without_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        flx_signing_key *key = NULL;
        flx_secret pem = {0};
        flx_alloc_fail_nth(nth);
        flx_status status = flx_signing_key_generate(&key, NULL);
        if (status == FLX_OK) {
            status = flx_signing_key_to_pem(key, &pem, NULL);
        }
        failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        flx_secret_done(&pem);
        flx_signing_key_unref(key);
        assert_true(nth < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8037),
        cmocka_unit_test(test_rfc8032_signature),
        cmocka_unit_test(test_malleable_signature_refused),
        cmocka_unit_test(test_bad_points),
        cmocka_unit_test(test_pem_round_trip),
        cmocka_unit_test(test_bad_pem),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
