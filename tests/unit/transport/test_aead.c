/* SPDX-License-Identifier: Apache-2.0 */
/* The fast packet protection against GnuTLS's, bit for bit. */
#include "transport/quic_int.h"
#include "unit.h"

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#define TAG 16

static void fill(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245U + 12345U;
        bytes[i] = (uint8_t)(seed >> 16);
    }
}

static void compare_seal(size_t key_len)
{
    static uint8_t plain[65536];
    static uint8_t ours[65536 + TAG];
    static uint8_t theirs[65536 + TAG];
    uint8_t key_bytes[32];
    uint8_t nonce[12];
    uint8_t aad[32];
    fill(key_bytes, sizeof key_bytes, 1);
    fill(plain, sizeof plain, 2);
    const gnutls_datum_t datum = {key_bytes, (unsigned)key_len};
    gnutls_aead_cipher_hd_t reference;
    assert_int_equal(gnutls_aead_cipher_init(&reference,
                                             key_len == 16 ? GNUTLS_CIPHER_AES_128_GCM
                                                           : GNUTLS_CIPHER_AES_256_GCM,
                                             &datum),
                     0);
    packet_key *key = flx_aead_key_new(key_bytes, key_len);
    assert_non_null(key);
    assert_true(flx_aead_key_ready(key));
    assert_true(flx_aead_key_ready(key));
    for (size_t len = 0; len <= 2000; len = len < 300 ? len + 1 : len + 97) {
        fill(nonce, sizeof nonce, (unsigned)len + 3);
        fill(aad, sizeof aad, (unsigned)len + 4);
        const size_t aad_len = len % sizeof aad;
        size_t out_len = sizeof theirs;
        assert_int_equal(gnutls_aead_cipher_encrypt(reference, nonce, sizeof nonce, aad, aad_len,
                                                    TAG, plain, len, theirs, &out_len),
                         0);
        flx_aead_seal(key, ours, plain, len, nonce, aad, aad_len);
        assert_int_equal(out_len, len + TAG);
        assert_memory_equal(ours, theirs, out_len);

        /* In place, as ngtcp2 calls it, and back. */
        memcpy(ours, plain, len);
        flx_aead_seal(key, ours, ours, len, nonce, aad, aad_len);
        assert_memory_equal(ours, theirs, out_len);
        assert_true(flx_aead_open(key, ours, theirs, out_len, nonce, aad, aad_len));
        assert_memory_equal(ours, plain, len);

        theirs[(len * 7) % out_len] ^= (uint8_t)(1U << (len % 8));
        assert_false(flx_aead_open(key, ours, theirs, out_len, nonce, aad, aad_len));
    }
    assert_false(flx_aead_open(key, ours, theirs, TAG - 1, nonce, aad, 0));
    assert_null(flx_aead_key_free(key));
    gnutls_aead_cipher_deinit(reference);
}

static void compare_mask(size_t key_len)
{
    uint8_t key_bytes[32];
    uint8_t sample[16];
    uint8_t mask[16];
    uint8_t reference_mask[16];
    uint8_t zero[16] = {0};
    fill(key_bytes, sizeof key_bytes, 5);
    const gnutls_datum_t datum = {key_bytes, (unsigned)key_len};
    const gnutls_datum_t iv = {zero, sizeof zero};
    packet_key *key = flx_aead_hp_new(key_bytes, key_len);
    assert_non_null(key);
    for (unsigned i = 0; i < 50; i++) {
        gnutls_cipher_hd_t reference; /* one block of CBC from a zero vector is one block of ECB */
        assert_int_equal(gnutls_cipher_init(&reference,
                                            key_len == 16 ? GNUTLS_CIPHER_AES_128_CBC
                                                          : GNUTLS_CIPHER_AES_256_CBC,
                                            &datum, &iv),
                         0);
        fill(sample, sizeof sample, i + 6);
        assert_int_equal(gnutls_cipher_encrypt2(reference, sample, 16, reference_mask, 16), 0);
        gnutls_cipher_deinit(reference);
        flx_aead_hp_mask(key, mask, sample);
        assert_memory_equal(mask, reference_mask, 16);
    }
    assert_null(flx_aead_key_free(key));
}

static void test_same_bits(void **state)
{
    (void)state;
    if (!flx_aead_available()) {
        print_message("no libipsec-mb or no AES instructions here: GnuTLS seals all packets\n");
        assert_false(flx_aead_serves(GNUTLS_CIPHER_AES_128_GCM));
        return;
    }
    compare_seal(16);
    compare_seal(32);
    compare_mask(16);
    compare_mask(32);
}

static void test_choice(void **state)
{
    (void)state;
    assert_false(flx_aead_serves(GNUTLS_CIPHER_CHACHA20_POLY1305));
    assert_int_equal(flx_aead_serves(GNUTLS_CIPHER_AES_256_GCM), flx_aead_available());
    flx_aead_disable_for_tests(true);
    assert_false(flx_aead_serves(GNUTLS_CIPHER_AES_128_GCM));
    flx_aead_disable_for_tests(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
