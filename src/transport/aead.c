/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet protection: AES-GCM through libipsec-mb where the processor has AES and carry-less
 * multiplication, through GnuTLS everywhere else and for ChaCha20.
 *
 * ngtcp2 calls encrypt, decrypt and hp_mask with two handles: what algorithm (aead, hp) and which
 * key (aead_ctx, hp_ctx). For ours the first is the address of a tag in this file, the second a
 * packet_key. Initial and Retry packets always carry the helper's handles, so every callback looks
 * at the tag and passes on what is not ours. Only the two delete callbacks get no algorithm: there a
 * connection's list of its keys (at most a dozen) says whose the handle is.
 *
 * The library picks its code at run time (SSE, AVX, AVX512 with VAES); only the header mask is ours:
 * one AES block with the instructions themselves, compiled for them by attribute and reached only
 * when the processor has them.
 */
#include "common/alloc.h"
#include "transport/quic_int.h"

#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <string.h>

#if defined(FLX_HAVE_IPSEC_MB)
#include <intel-ipsec-mb.h>
#include <wmmintrin.h>
#endif

#define TAG_LEN       16
#define IV_LEN        12
#define HP_ROUNDS_MAX 14

/* Their addresses are the handles. */
static char aead_tag;
static char hp_tag;

/*
 * GCM wants a kilobyte of tables a key, and ngtcp2 derives the keys of the next update ahead, which
 * most connections never use: so tables are made at the first packet.
 */
struct packet_key {
    TAILQ_ENTRY(packet_key) link;
    bool wide; /* 256 bits */
    uint8_t bytes_len;
#if defined(FLX_HAVE_IPSEC_MB)
    struct gcm_key_data *tables; /* NULL: not made yet, or a key of header protection */
    /* The key while its tables are not made; of header protection, all round keys (hp_bytes). */
    _Alignas(16) uint8_t bytes[];
#endif
};

static atomic_bool disabled;

void flx_aead_disable_for_tests(bool off)
{
    atomic_store(&disabled, off);
}

#if defined(FLX_HAVE_IPSEC_MB)

static pthread_once_t manager_once = PTHREAD_ONCE_INIT;
static IMB_MGR *manager; /* never changes after the once: the direct calls only read it */

static void manager_start(void)
{
    const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    IMB_MGR *mgr = alloc_mb_mgr(0);
    if (mgr == NULL)
        return;
    init_mb_mgr_auto(mgr, NULL);
    if ((mgr->features & needed) != needed || (mgr->features & IMB_FEATURE_AESNI_EMU) != 0) {
        free_mb_mgr(mgr);
        return;
    }
    manager = mgr;
}

bool flx_aead_available(void)
{
    (void)pthread_once(&manager_once, manager_start);
    return manager != NULL && !atomic_load_explicit(&disabled, memory_order_relaxed);
}

static packet_key *key_alloc(size_t key_len, size_t bytes)
{
    FLX_ASSERT(key_len == 16 || key_len == 32);
    packet_key *key = flx_calloc(1, sizeof *key + bytes);
    if (key != NULL)
        *key = (packet_key){.wide = key_len == 32, .bytes_len = (uint8_t)bytes};
    return key;
}

packet_key *flx_aead_key_new(const uint8_t *key, size_t key_len)
{
    packet_key *made = key_alloc(key_len, key_len);
    if (made != NULL)
        memcpy(made->bytes, key, key_len);
    return made;
}

bool flx_aead_key_ready(packet_key *key)
{
    if (key->tables != NULL)
        return true;
    key->tables = flx_aligned_alloc(64, sizeof *key->tables);
    if (key->tables == NULL)
        return false;
    if (key->wide)
        IMB_AES256_GCM_PRE(manager, key->bytes, key->tables);
    else
        IMB_AES128_GCM_PRE(manager, key->bytes, key->tables);
    explicit_bzero(key->bytes, key->bytes_len);
    return true;
}

static size_t hp_bytes(size_t key_len)
{
    return key_len == 32 ? (size_t)16 * 15 : (size_t)16 * 11;
}

packet_key *flx_aead_hp_new(const uint8_t *key, size_t key_len)
{
    _Alignas(16) uint8_t decrypt_keys[16 * (HP_ROUNDS_MAX + 1)];
    packet_key *made = key_alloc(key_len, hp_bytes(key_len));
    if (made == NULL)
        return NULL;
    if (made->wide)
        IMB_AES_KEYEXP_256(manager, key, made->bytes, decrypt_keys);
    else
        IMB_AES_KEYEXP_128(manager, key, made->bytes, decrypt_keys);
    explicit_bzero(decrypt_keys, sizeof decrypt_keys);
    return made;
}

void flx_aead_seal(const packet_key *key, uint8_t *dest, const uint8_t *plain, size_t len,
                   const uint8_t *nonce, const uint8_t *aad, size_t aad_len)
{
    struct gcm_context_data context;
    if (key->wide)
        IMB_AES256_GCM_ENC(manager, key->tables, &context, dest, plain, len, nonce, aad, aad_len,
                           dest + len, TAG_LEN);
    else
        IMB_AES128_GCM_ENC(manager, key->tables, &context, dest, plain, len, nonce, aad, aad_len,
                           dest + len, TAG_LEN);
}

bool flx_aead_open(const packet_key *key, uint8_t *dest, const uint8_t *sealed, size_t len,
                   const uint8_t *nonce, const uint8_t *aad, size_t aad_len)
{
    struct gcm_context_data context;
    uint8_t tag[TAG_LEN];
    if (len < TAG_LEN)
        return false;
    const size_t plain_len = len - TAG_LEN;
    if (key->wide)
        IMB_AES256_GCM_DEC(manager, key->tables, &context, dest, sealed, plain_len, nonce, aad,
                           aad_len, tag, TAG_LEN);
    else
        IMB_AES128_GCM_DEC(manager, key->tables, &context, dest, sealed, plain_len, nonce, aad,
                           aad_len, tag, TAG_LEN);
    unsigned difference = 0; /* in constant time */
    for (size_t i = 0; i < TAG_LEN; i++)
        difference |= (unsigned)(tag[i] ^ sealed[plain_len + i]);
    return difference == 0;
}

__attribute__((target("aes,sse2"))) void
flx_aead_hp_mask(const packet_key *key, uint8_t ret_mask[16], const uint8_t sample[16])
{
    const size_t rounds = key->wide ? 14 : 10;
    const uint8_t *k = key->bytes;
    __m128i block = _mm_loadu_si128((const __m128i *)(const void *)sample);
    block = _mm_xor_si128(block, _mm_load_si128((const __m128i *)(const void *)k));
    for (size_t i = 1; i < rounds; i++)
        block =
            _mm_aesenc_si128(block, _mm_load_si128((const __m128i *)(const void *)(k + 16 * i)));
    block = _mm_aesenclast_si128(block,
                                 _mm_load_si128((const __m128i *)(const void *)(k + 16 * rounds)));
    _mm_storeu_si128((__m128i *)(void *)ret_mask, block);
}

packet_key *flx_aead_key_free(packet_key *key)
{
    if (key == NULL)
        return NULL;
    if (key->tables != NULL)
        explicit_bzero(key->tables, sizeof *key->tables);
    flx_free(key->tables);
    explicit_bzero(key->bytes, key->bytes_len);
    flx_free(key);
    return NULL;
}

#else /* no libipsec-mb: nothing is ours, GnuTLS does it all */

bool flx_aead_available(void)
{
    return false;
}

packet_key *flx_aead_key_new(const uint8_t *key, size_t key_len)
{
    (void)key;
    (void)key_len;
    return NULL;
}

bool flx_aead_key_ready(packet_key *key)
{
    (void)key;
    return false;
}

packet_key *flx_aead_hp_new(const uint8_t *key, size_t key_len)
{
    (void)key;
    (void)key_len;
    return NULL;
}

void flx_aead_seal(const packet_key *key, uint8_t *dest, const uint8_t *plain, size_t len,
                   const uint8_t *nonce, const uint8_t *aad, size_t aad_len)
{
    (void)key, (void)dest, (void)plain, (void)len, (void)nonce, (void)aad, (void)aad_len;
    FLX_UNREACHABLE();
}

bool flx_aead_open(const packet_key *key, uint8_t *dest, const uint8_t *sealed, size_t len,
                   const uint8_t *nonce, const uint8_t *aad, size_t aad_len)
{
    (void)key, (void)dest, (void)sealed, (void)len, (void)nonce, (void)aad, (void)aad_len;
    FLX_UNREACHABLE();
}

void flx_aead_hp_mask(const packet_key *key, uint8_t ret_mask[16], const uint8_t sample[16])
{
    (void)key, (void)ret_mask, (void)sample;
    FLX_UNREACHABLE();
}

packet_key *flx_aead_key_free(packet_key *key)
{
    FLX_ASSERT(key == NULL);
    return NULL;
}

#endif

static size_t cipher_key_len(gnutls_cipher_algorithm_t cipher)
{
    return cipher == GNUTLS_CIPHER_AES_256_GCM ? 32 : 16;
}

bool flx_aead_serves(gnutls_cipher_algorithm_t cipher)
{
    return flx_aead_available() &&
           (cipher == GNUTLS_CIPHER_AES_128_GCM || cipher == GNUTLS_CIPHER_AES_256_GCM);
}

/* --- what ngtcp2 calls ---------------------------------------------------------------------- */

static int on_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
                      const uint8_t *nonce, size_t nonce_len, const uint8_t *aad, size_t aad_len)
{
    if (aead->native_handle != &aead_tag)
        return ngtcp2_crypto_encrypt_cb(dest, aead, ctx, plain, len, nonce, nonce_len, aad,
                                        aad_len);
    FLX_DEBUG_ASSERT(nonce_len == IV_LEN);
    if (!flx_aead_key_ready(ctx->native_handle))
        return NGTCP2_ERR_CALLBACK_FAILURE;
    flx_aead_seal(ctx->native_handle, dest, plain, len, nonce, aad, aad_len);
    return 0;
}

static int on_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed, size_t len,
                      const uint8_t *nonce, size_t nonce_len, const uint8_t *aad, size_t aad_len)
{
    if (aead->native_handle != &aead_tag)
        return ngtcp2_crypto_decrypt_cb(dest, aead, ctx, sealed, len, nonce, nonce_len, aad,
                                        aad_len);
    if (!flx_aead_key_ready(ctx->native_handle))
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return flx_aead_open(ctx->native_handle, dest, sealed, len, nonce, aad, aad_len)
               ? 0
               : NGTCP2_ERR_DECRYPT;
}

static int on_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
                      const ngtcp2_crypto_cipher_ctx *ctx, const uint8_t *sample)
{
    if (hp->native_handle != &hp_tag)
        return ngtcp2_crypto_hp_mask_cb(dest, hp, ctx, sample);
    uint8_t mask[16];
    flx_aead_hp_mask(ctx->native_handle, mask, sample);
    memcpy(dest, mask, NGTCP2_HP_MASKLEN);
    return 0;
}

/* Frees the handle if it is one of ours. */
static bool keys_drop(flx_quic_conn *conn, void *handle)
{
    packet_key *key;
    for (key = TAILQ_FIRST(&conn->keys); key != NULL; key = TAILQ_NEXT(key, link)) {
        if (key != handle)
            continue;
        TAILQ_REMOVE(&conn->keys, key, link);
        (void)flx_aead_key_free(key);
        return true;
    }
    return false;
}

static void on_delete_aead(ngtcp2_conn *qc, ngtcp2_crypto_aead_ctx *ctx, void *user_data)
{
    if (ctx->native_handle != NULL && keys_drop(user_data, ctx->native_handle))
        ctx->native_handle = NULL;
    else
        ngtcp2_crypto_delete_crypto_aead_ctx_cb(qc, ctx, user_data);
}

static void on_delete_cipher(ngtcp2_conn *qc, ngtcp2_crypto_cipher_ctx *ctx, void *user_data)
{
    if (ctx->native_handle != NULL && keys_drop(user_data, ctx->native_handle))
        ctx->native_handle = NULL;
    else
        ngtcp2_crypto_delete_crypto_cipher_ctx_cb(qc, ctx, user_data);
}

static bool expand(uint8_t *dest, size_t len, const ngtcp2_crypto_md *md, const uint8_t *secret,
                   size_t secret_len, const char *label)
{
    return ngtcp2_crypto_hkdf_expand_label(dest, len, md, secret, secret_len,
                                           (const uint8_t *)label, strlen(label)) == 0;
}

/* The packet key of a traffic secret, listed with the connection. NULL: out of memory. */
static packet_key *key_from_secret(flx_quic_conn *conn, const ngtcp2_crypto_md *md, size_t key_len,
                                   const uint8_t *secret, size_t secret_len, const char *label)
{
    uint8_t bytes[32];
    packet_key *key = NULL;
    if (expand(bytes, key_len, md, secret, secret_len, label))
        key = strcmp(label, "quic hp") == 0 ? flx_aead_hp_new(bytes, key_len)
                                            : flx_aead_key_new(bytes, key_len);
    explicit_bzero(bytes, sizeof bytes);
    if (key != NULL)
        TAILQ_INSERT_TAIL(&conn->keys, key, link);
    return key;
}

/* Which key length this connection's suite has; the suite itself hides behind our tag. */
static size_t conn_key_len(const flx_quic_conn *conn)
{
    const packet_key *any = TAILQ_FIRST(&conn->keys);
    FLX_ASSERT(any != NULL);
    return any->wide ? 32 : 16;
}

static int on_update_key(ngtcp2_conn *qc, uint8_t *rx_secret, uint8_t *tx_secret,
                         ngtcp2_crypto_aead_ctx *rx_ctx, uint8_t *rx_iv,
                         ngtcp2_crypto_aead_ctx *tx_ctx, uint8_t *tx_iv, const uint8_t *current_rx,
                         const uint8_t *current_tx, size_t secret_len, void *user_data)
{
    flx_quic_conn *conn = user_data;
    const ngtcp2_crypto_ctx *ctx = ngtcp2_conn_get_crypto_ctx(qc);
    if (ctx->aead.native_handle != &aead_tag)
        return ngtcp2_crypto_update_key_cb(qc, rx_secret, tx_secret, rx_ctx, rx_iv, tx_ctx, tx_iv,
                                           current_rx, current_tx, secret_len, user_data);

    const ngtcp2_crypto_md *md = &ctx->md;
    const size_t key_len = conn_key_len(conn);
    if (!expand(rx_secret, secret_len, md, current_rx, secret_len, "quic ku") ||
        !expand(tx_secret, secret_len, md, current_tx, secret_len, "quic ku") ||
        !expand(rx_iv, IV_LEN, md, rx_secret, secret_len, "quic iv") ||
        !expand(tx_iv, IV_LEN, md, tx_secret, secret_len, "quic iv"))
        return NGTCP2_ERR_CALLBACK_FAILURE;

    packet_key *rx = key_from_secret(conn, md, key_len, rx_secret, secret_len, "quic key");
    packet_key *tx = key_from_secret(conn, md, key_len, tx_secret, secret_len, "quic key");
    if (rx == NULL || tx == NULL) {
        if (rx != NULL)
            (void)keys_drop(conn, rx);
        if (tx != NULL)
            (void)keys_drop(conn, tx);
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    rx_ctx->native_handle = rx;
    tx_ctx->native_handle = tx;
    return 0;
}

void flx_aead_callbacks(ngtcp2_callbacks *callbacks)
{
    callbacks->encrypt = on_encrypt;
    callbacks->decrypt = on_decrypt;
    callbacks->hp_mask = on_hp_mask;
    callbacks->update_key = on_update_key;
    callbacks->delete_crypto_aead_ctx = on_delete_aead;
    callbacks->delete_crypto_cipher_ctx = on_delete_cipher;
}

/* --- what GnuTLS calls ---------------------------------------------------------------------- */

/* Says once that this connection's packets are ours; the encryption limits stay the helper's. */
static void tag_conn(ngtcp2_conn *qc, gnutls_session_t session)
{
    ngtcp2_crypto_ctx ctx = {0};
    if (ngtcp2_conn_get_crypto_ctx(qc)->aead.native_handle != NULL)
        return;
    (void)ngtcp2_crypto_ctx_tls(&ctx, session);
    ctx.aead.native_handle = &aead_tag;
    ctx.aead.max_overhead = TAG_LEN;
    ctx.hp.native_handle = &hp_tag;
    ngtcp2_conn_set_crypto_ctx(qc, &ctx);
}

static int install(ngtcp2_conn *qc, bool handshake, bool sending, const uint8_t *secret,
                   size_t secret_len, packet_key *key, packet_key *hp, const uint8_t iv[IV_LEN])
{
    const ngtcp2_crypto_aead_ctx aead_ctx = {.native_handle = key};
    const ngtcp2_crypto_cipher_ctx hp_ctx = {.native_handle = hp};
    if (handshake)
        return sending ? ngtcp2_conn_install_tx_handshake_key(qc, &aead_ctx, iv, IV_LEN, &hp_ctx)
                       : ngtcp2_conn_install_rx_handshake_key(qc, &aead_ctx, iv, IV_LEN, &hp_ctx);
    return sending
               ? ngtcp2_conn_install_tx_key(qc, secret, secret_len, &aead_ctx, iv, IV_LEN, &hp_ctx)
               : ngtcp2_conn_install_rx_key(qc, secret, secret_len, &aead_ctx, iv, IV_LEN, &hp_ctx);
}

static int install_direction(flx_quic_conn *conn, gnutls_session_t session, bool handshake,
                             bool sending, const uint8_t *secret, size_t secret_len)
{
    const ngtcp2_crypto_md *md = &ngtcp2_conn_get_crypto_ctx(conn->qc)->md;
    const size_t key_len = cipher_key_len(gnutls_cipher_get(session));
    uint8_t iv[IV_LEN];
    if (!expand(iv, IV_LEN, md, secret, secret_len, "quic iv"))
        return -1;

    packet_key *key = key_from_secret(conn, md, key_len, secret, secret_len, "quic key");
    packet_key *hp = key_from_secret(conn, md, key_len, secret, secret_len, "quic hp");
    if (key != NULL && hp != NULL &&
        install(conn->qc, handshake, sending, secret, secret_len, key, hp, iv) == 0)
        return 0;
    if (key != NULL)
        (void)keys_drop(conn, key);
    if (hp != NULL)
        (void)keys_drop(conn, hp);
    return -1;
}

int flx_aead_install_secret(gnutls_session_t session, gnutls_record_encryption_level_t level,
                            const void *rx_secret, const void *tx_secret, size_t secret_len)
{
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
    flx_quic_conn *conn = ref->user_data;
    const ngtcp2_crypto_level quic_level =
        ngtcp2_crypto_gnutls_from_gnutls_record_encryption_level(level);

    /* The choice is made once, at the first secret: a connection never mixes the two. */
    const void *handle = ngtcp2_conn_get_crypto_ctx(conn->qc)->aead.native_handle;
    const bool ours =
        handle == NULL ? flx_aead_serves(gnutls_cipher_get(session)) : handle == &aead_tag;
    if (!ours || quic_level == NGTCP2_CRYPTO_LEVEL_EARLY) {
        if (rx_secret != NULL &&
            ngtcp2_crypto_derive_and_install_rx_key(conn->qc, NULL, NULL, NULL, quic_level,
                                                    rx_secret, secret_len) != 0)
            return -1;
        if (tx_secret != NULL &&
            ngtcp2_crypto_derive_and_install_tx_key(conn->qc, NULL, NULL, NULL, quic_level,
                                                    tx_secret, secret_len) != 0)
            return -1;
        return 0;
    }

    const bool handshake = quic_level == NGTCP2_CRYPTO_LEVEL_HANDSHAKE;
    tag_conn(conn->qc, session);
    if (rx_secret != NULL &&
        install_direction(conn, session, handshake, false, rx_secret, secret_len) != 0)
        return -1;
    if (tx_secret != NULL &&
        install_direction(conn, session, handshake, true, tx_secret, secret_len) != 0)
        return -1;
    return 0;
}
