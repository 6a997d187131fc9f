/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/pki.c - the certificates of a node that was given none.
 *
 * Every step leaves a folder the next start can go on from. Keys are made first and kept: a renewed
 * certificate uses the key that is there, so a renewal is the atomic replacement of one file and a
 * key and its certificate cannot fall apart in a crash between two. What the next start finds:
 *
 *     ca.key  ca.pem   server.key  server.pem
 *       -       -          -           -        first start: make all
 *       x       -          *           *        the first start was cut short: nobody has seen a
 *                                               CA certificate yet, make it for this key
 *       -       x          *           *        the CA key was taken away: refused, because a new
 *                                               CA would silently lock every client out
 *       x       x          *        missing, foreign, stale or of other names: issue a leaf
 */
#include "crypto/pki.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/file.h"
#include "crypto/certificate_int.h"
#include "crypto/digest.h"
#include "crypto/file_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DAY_S          UINT64_C(86400)
#define BACKDATE_S     UINT64_C(3600) /* for clients whose clock is behind */
#define CA_LIFE_S      (3652 * DAY_S)
#define LEAF_LIFE_S    (397 * DAY_S)         /* what browsers take at most is 398 */
#define CLOCK_MIN_S    UINT64_C(1600000000)  /* 2020; a board without a battery says 1970 */
#define CLOCK_MAX_S    UINT64_C(64000000000) /* 3998; ASN.1 ends with 9999 */
#define RENEW_BEFORE_S (30 * DAY_S)
#define SERIAL_BYTES   16
#define KEY_ID_BYTES   20
#define NAME_BYTES     256
#define NAMES_TEXT_MAX ((size_t)(FLX_PKI_NAMES_MAX + 3) * (NAME_BYTES + 8))
#define PEM_BYTES_MAX  ((size_t)65536)

typedef struct subject_name {
    char text[NAME_BYTES]; /* "DNS:localhost", "IP:::1" */
} subject_name;

typedef struct pki {
    const char *dir;
    uint64_t wall_s;
    gnutls_x509_privkey_t ca_key;
    gnutls_x509_crt_t ca;
    gnutls_x509_privkey_t leaf_key;
    subject_name *names; /* sorted, each once */
    size_t name_count;
    char *names_text; /* as flx_certificate_names writes them */
} pki;

/* --- names -------------------------------------------------------------------------------------*/

/* Lower-case letters, digits, '-' and '_' in labels of 1 to 63; "*." may stand in front. */
static bool is_dns_name(const char *name)
{
    const char *at = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
    size_t label = 0;
    for (; *at != '\0'; at++) {
        const bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                           (*at >= '0' && *at <= '9') || *at == '-' || *at == '_';
        if (*at == '.' && label == 0) {
            return false;
        }
        if (*at != '.' && !plain) {
            return false;
        }
        label = *at == '.' ? 0 : label + 1;
        if (label > 63) {
            return false;
        }
    }
    return label > 0;
}

static flx_status read_name(const char *name, subject_name *ret_name, flx_error *reterr)
{
    uint8_t address[16];
    char canonical[INET6_ADDRSTRLEN];
    const int family = inet_pton(AF_INET, name, address) == 1    ? AF_INET
                       : inet_pton(AF_INET6, name, address) == 1 ? AF_INET6
                                                                 : 0;
    if (family != 0) {
        (void)inet_ntop(family, address, canonical, sizeof canonical);
        (void)snprintf(ret_name->text, sizeof ret_name->text, "IP:%s", canonical);
        return FLX_OK;
    }
    if (strlen(name) > 250 || !is_dns_name(name)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "'%.100s' is neither a DNS name nor an address",
                        name);
    }
    (void)snprintf(ret_name->text, sizeof ret_name->text, "DNS:%s", name);
    for (char *c = ret_name->text + 4; *c != '\0'; c++) {
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    }
    return FLX_OK;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const subject_name *)left)->text, ((const subject_name *)right)->text);
}

static void drop_repeats(pki *state)
{
    size_t kept = 0;
    for (size_t i = 0; i < state->name_count; i++) {
        if (kept == 0 || strcmp(state->names[kept - 1].text, state->names[i].text) != 0) {
            state->names[kept++] = state->names[i];
        }
    }
    state->name_count = kept;
}

/* All names, sorted: so the same set always makes the same text, and a changed one another. */
static flx_status collect_names(pki *state, const flx_pki_options *options, flx_error *reterr)
{
    static const char *const always[] = {"localhost", "127.0.0.1", "::1"};
    const size_t always_count = sizeof always / sizeof always[0];
    if (options->name_count > FLX_PKI_NAMES_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%zu names, at most %d fit", options->name_count,
                        FLX_PKI_NAMES_MAX);
    }
    state->names = flx_calloc(options->name_count + always_count, sizeof *state->names);
    state->names_text = flx_calloc(1, NAMES_TEXT_MAX);
    if (state->names == NULL || state->names_text == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for names");
    }
    for (size_t i = 0; i < options->name_count + always_count; i++) {
        const char *name = i < always_count ? always[i] : options->names[i - always_count];
        const flx_status status = read_name(name, &state->names[i], reterr);
        if (status != FLX_OK) {
            return status;
        }
    }
    state->name_count = options->name_count + always_count;
    qsort(state->names, state->name_count, sizeof *state->names, compare_names);
    drop_repeats(state);
    size_t len = 0;
    for (size_t i = 0; i < state->name_count; i++) {
        len += (size_t)snprintf(state->names_text + len, NAMES_TEXT_MAX - len, "%s%s",
                                i == 0 ? "" : ", ", state->names[i].text);
    }
    return FLX_OK;
}

/* --- files -------------------------------------------------------------------------------------*/

static flx_status file_path(const pki *state, const char *name, char path[PATH_MAX],
                            flx_error *reterr)
{
    const int len = snprintf(path, PATH_MAX, "%s/%s", state->dir, name);
    if (len < 0 || len >= PATH_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "the folder's path is too long");
    }
    return FLX_OK;
}

static flx_status read_file(const pki *state, const char *name, flx_file_kind kind,
                            flx_secret *ret_bytes, flx_error *reterr)
{
    char path[PATH_MAX];
    const flx_status status = file_path(state, name, path, reterr);
    return status == FLX_OK ? flx_crypto_file_read(path, PEM_BYTES_MAX, kind, ret_bytes, reterr)
                            : status;
}

static flx_status write_file(const pki *state, const char *name, flx_slice bytes,
                             flx_file_kind kind, flx_error *reterr)
{
    char path[PATH_MAX];
    const flx_status status = file_path(state, name, path, reterr);
    const mode_t mode = kind == FLX_FILE_SECRET ? 0600 : 0644;
    return status == FLX_OK ? flx_file_write_atomic(path, bytes, mode, reterr) : status;
}

static flx_status damaged(const pki *state, const char *name, const char *how, flx_error *reterr)
{
    return flx_fail(reterr, FLX_ERR_CORRUPT, "'%s/%s' %s", state->dir, name, how);
}

static flx_status write_key(const pki *state, const char *name, gnutls_x509_privkey_t key,
                            flx_error *reterr)
{
    gnutls_datum_t pem = {0};
    const int rc =
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "a key as PEM");
    }
    const flx_status status =
        write_file(state, name, (flx_slice){pem.data, pem.size}, FLX_FILE_SECRET, reterr);
    flx_wipe(pem.data, pem.size);
    gnutls_free(pem.data);
    return status;
}

/* --- keys --------------------------------------------------------------------------------------*/

static flx_status make_key(const pki *state, const char *name, gnutls_x509_privkey_t key,
                           flx_error *reterr)
{
    const int rc = gnutls_x509_privkey_generate(
        key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "generate a P-256 key");
    }
    return write_key(state, name, key, reterr);
}

/* The key of a file, made when there is none. *ret_made says which. */
static flx_status load_or_make_key(const pki *state, const char *name, gnutls_x509_privkey_t *key,
                                   bool *ret_made, flx_error *reterr)
{
    const int init_rc = gnutls_x509_privkey_init(key);
    if (init_rc < 0) {
        *key = NULL;
        return flx_crypto_fail(reterr, init_rc, FLX_ERR_INTERNAL, "a private key");
    }
    flx_secret pem = {0};
    const flx_status status = read_file(state, name, FLX_FILE_SECRET, &pem, reterr);
    *ret_made = status == FLX_ERR_NOT_FOUND;
    if (status == FLX_ERR_NOT_FOUND) {
        return make_key(state, name, *key, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    const gnutls_datum_t data = flx_crypto_datum(flx_secret_slice(&pem));
    const int rc =
        gnutls_x509_privkey_import2(*key, &data, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
    flx_secret_done(&pem);
    return rc < 0 ? damaged(state, name, "is not a private key in PEM", reterr) : FLX_OK;
}

/* Whether the certificate is about this key. */
static bool is_key_of(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
    uint8_t crt_id[KEY_ID_BYTES];
    uint8_t key_id[KEY_ID_BYTES];
    size_t crt_len = sizeof crt_id;
    size_t key_len = sizeof key_id;
    return gnutls_x509_crt_get_key_id(crt, 0, crt_id, &crt_len) >= 0 &&
           gnutls_x509_privkey_get_key_id(key, 0, key_id, &key_len) >= 0 && crt_len == key_len &&
           memcmp(crt_id, key_id, crt_len) == 0;
}

/* --- certificates ------------------------------------------------------------------------------*/

/* Good now and for a while. One from the future was made while the clock was wrong. */
static bool is_current(gnutls_x509_crt_t crt, uint64_t wall_s)
{
    const int64_t now_s = (int64_t)wall_s;
    const int64_t before_s = (int64_t)gnutls_x509_crt_get_activation_time(crt);
    const int64_t after_s = (int64_t)gnutls_x509_crt_get_expiration_time(crt);
    return before_s <= now_s && after_s >= now_s + (int64_t)RENEW_BEFORE_S;
}

/* What both kinds have: version, a random serial, dates, the key and its identifier. */
static int fill_common(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *dn,
                       uint64_t not_before_s, uint64_t not_after_s)
{
    uint8_t serial[SERIAL_BYTES];
    uint8_t key_id[KEY_ID_BYTES];
    size_t key_id_len = sizeof key_id;
    int rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40); /* positive, and never short */
    rc = rc < 0 ? rc : gnutls_x509_crt_set_version(crt, 3);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_dn(crt, dn, NULL);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_activation_time(crt, (time_t)not_before_s);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_expiration_time(crt, (time_t)not_after_s);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_key(crt, key);
    rc = rc < 0 ? rc : gnutls_x509_crt_get_key_id(crt, 0, key_id, &key_id_len);
    return rc < 0 ? rc : gnutls_x509_crt_set_subject_key_id(crt, key_id, key_id_len);
}

static int fill_ca(const pki *state, gnutls_x509_crt_t crt)
{
    /* The name holds a piece of the key's id, so that a bundle of several Felix CAs has no two
     * certificates of one name with different keys. */
    uint8_t key_id[KEY_ID_BYTES];
    size_t len = sizeof key_id;
    int rc = gnutls_x509_privkey_get_key_id(state->ca_key, 0, key_id, &len);
    if (rc < 0) {
        return rc;
    }
    char hex[9];
    char dn[64];
    flx_hex((flx_slice){key_id, 4}, hex);
    (void)snprintf(dn, sizeof dn, "CN=Felix local CA %s,O=Felix", hex);
    rc = fill_common(crt, state->ca_key, dn, state->wall_s - BACKDATE_S, state->wall_s + CA_LIFE_S);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_basic_constraints(crt, 1, 0);
    rc = rc < 0
             ? rc
             : gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
    return rc < 0 ? rc : gnutls_x509_crt_sign2(crt, crt, state->ca_key, GNUTLS_DIG_SHA256, 0);
}

static int add_name(gnutls_x509_crt_t crt, const subject_name *name, unsigned flags)
{
    if (strncmp(name->text, "DNS:", 4) == 0) {
        return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name->text + 4,
                                                    (unsigned)strlen(name->text + 4), flags);
    }
    FLX_ASSERT(strncmp(name->text, "IP:", 3) == 0);
    uint8_t address[16];
    const bool v4 = inet_pton(AF_INET, name->text + 3, address) == 1;
    if (!v4 && inet_pton(AF_INET6, name->text + 3, address) != 1) {
        return GNUTLS_E_INVALID_REQUEST;
    }
    return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address, v4 ? 4 : 16,
                                                flags);
}

static int add_ca_key_id(gnutls_x509_crt_t crt, gnutls_x509_crt_t ca)
{
    uint8_t key_id[64];
    size_t len = sizeof key_id;
    const int rc = gnutls_x509_crt_get_subject_key_id(ca, key_id, &len, NULL);
    return rc < 0 ? rc : gnutls_x509_crt_set_authority_key_id(crt, key_id, len);
}

static int fill_leaf(const pki *state, gnutls_x509_crt_t crt)
{
    const uint64_t ca_end_s = (uint64_t)gnutls_x509_crt_get_expiration_time(state->ca);
    const uint64_t end_s = state->wall_s + LEAF_LIFE_S;
    int rc = fill_common(crt, state->leaf_key, "CN=localhost,O=Felix", state->wall_s - BACKDATE_S,
                         end_s < ca_end_s ? end_s : ca_end_s);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
    rc = rc < 0 ? rc : gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
    for (size_t i = 0; rc >= 0 && i < state->name_count; i++) {
        rc = add_name(crt, &state->names[i], i == 0 ? GNUTLS_FSAN_SET : GNUTLS_FSAN_APPEND);
    }
    rc = rc < 0 ? rc : add_ca_key_id(crt, state->ca);
    return rc < 0 ? rc : gnutls_x509_crt_sign2(crt, state->ca, state->ca_key, GNUTLS_DIG_SHA256, 0);
}

/* Writes `first` and, when not NULL, `second` as one PEM file. */
static flx_status write_certificates(const pki *state, const char *name, gnutls_x509_crt_t first,
                                     gnutls_x509_crt_t second, flx_error *reterr)
{
    gnutls_datum_t pem[2] = {{0}};
    int rc = gnutls_x509_crt_export2(first, GNUTLS_X509_FMT_PEM, &pem[0]);
    if (rc >= 0 && second != NULL) {
        rc = gnutls_x509_crt_export2(second, GNUTLS_X509_FMT_PEM, &pem[1]);
    }
    const size_t len = (size_t)pem[0].size + pem[1].size;
    uint8_t *both = rc < 0 ? NULL : flx_alloc(len);
    flx_status status = FLX_OK;
    if (rc < 0) {
        status = flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "a certificate as PEM");
    } else if (both == NULL) {
        status = flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a certificate");
    } else {
        memcpy(both, pem[0].data, pem[0].size);
        if (pem[1].size > 0) {
            memcpy(both + pem[0].size, pem[1].data, pem[1].size);
        }
        status = write_file(state, name, (flx_slice){both, len}, FLX_FILE_PUBLIC, reterr);
    }
    flx_free(both);
    gnutls_free(pem[0].data);
    gnutls_free(pem[1].data);
    return status;
}

/* The first certificate of a file. FLX_ERR_NOT_FOUND, FLX_ERR_CORRUPT. */
static flx_status load_certificate(const pki *state, const char *name, gnutls_x509_crt_t *ret_crt,
                                   flx_error *reterr)
{
    flx_secret pem = {0};
    const flx_status status = read_file(state, name, FLX_FILE_PUBLIC, &pem, reterr);
    if (status != FLX_OK) {
        return status;
    }
    gnutls_x509_crt_t crt = NULL;
    int rc = gnutls_x509_crt_init(&crt);
    if (rc >= 0) {
        const gnutls_datum_t data = flx_crypto_datum(flx_secret_slice(&pem));
        rc = gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_PEM);
    }
    flx_secret_done(&pem);
    if (rc < 0) {
        if (crt != NULL) {
            gnutls_x509_crt_deinit(crt);
        }
        return damaged(state, name, "is not a certificate in PEM", reterr);
    }
    *ret_crt = crt;
    return FLX_OK;
}

/* --- the two steps -----------------------------------------------------------------------------*/

static flx_status make_ca(pki *state, flx_error *reterr)
{
    gnutls_x509_crt_t crt = NULL;
    int rc = gnutls_x509_crt_init(&crt);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "a certificate");
    }
    rc = fill_ca(state, crt);
    const flx_status status =
        rc < 0 ? flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "make the CA certificate")
               : write_certificates(state, "ca.pem", crt, NULL, reterr);
    if (status != FLX_OK) {
        gnutls_x509_crt_deinit(crt);
        return status;
    }
    if (state->ca != NULL) {
        gnutls_x509_crt_deinit(state->ca);
    }
    state->ca = crt;
    return FLX_OK;
}

/* A CA certificate without its key can issue nothing, and must not be replaced in silence. */
static flx_status check_ca_key_present(const pki *state, flx_error *reterr)
{
    char pem[PATH_MAX];
    char key[PATH_MAX];
    flx_status status = file_path(state, "ca.pem", pem, reterr);
    if (status == FLX_OK) {
        status = file_path(state, "ca.key", key, reterr);
    }
    struct stat info;
    if (status == FLX_OK && stat(pem, &info) == 0 && stat(key, &info) != 0 && errno == ENOENT) {
        status = damaged(state, "ca.key", "is missing beside ca.pem; put it back, or remove both",
                         reterr);
    }
    return status;
}

static flx_status ensure_ca(pki *state, bool *ret_made, flx_error *reterr)
{
    bool key_made = false;
    flx_status status = check_ca_key_present(state, reterr);
    if (status == FLX_OK) {
        status = load_or_make_key(state, "ca.key", &state->ca_key, &key_made, reterr);
    }
    if (status == FLX_OK) {
        status = load_certificate(state, "ca.pem", &state->ca, reterr);
        *ret_made = status == FLX_ERR_NOT_FOUND;
        if (status == FLX_ERR_NOT_FOUND) {
            return make_ca(state, reterr);
        }
    }
    if (status != FLX_OK) {
        return status;
    }
    if (!is_key_of(state->ca, state->ca_key)) {
        return damaged(state, "ca.key", "is not the key of ca.pem", reterr);
    }
    *ret_made = !is_current(state->ca, state->wall_s);
    return *ret_made ? make_ca(state, reterr) : FLX_OK;
}

static bool leaf_is_good(const pki *state, gnutls_x509_crt_t leaf, char *scratch)
{
    unsigned problems = 0;
    const int rc =
        gnutls_x509_crt_verify(leaf, &state->ca, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &problems);
    if (rc < 0 || problems != 0 || !is_key_of(leaf, state->leaf_key) ||
        !is_current(leaf, state->wall_s)) {
        return false;
    }
    flx_certificate_names(leaf, scratch, NAMES_TEXT_MAX);
    return strcmp(scratch, state->names_text) == 0;
}

static flx_status make_leaf(const pki *state, flx_error *reterr)
{
    gnutls_x509_crt_t crt = NULL;
    int rc = gnutls_x509_crt_init(&crt);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "a certificate");
    }
    rc = fill_leaf(state, crt);
    const flx_status status =
        rc < 0 ? flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "make the server certificate")
               : write_certificates(state, "server.pem", crt, state->ca, reterr);
    gnutls_x509_crt_deinit(crt);
    return status;
}

static flx_status ensure_leaf(pki *state, bool ca_made, bool *ret_made, flx_error *reterr)
{
    bool key_made = false;
    flx_status status = load_or_make_key(state, "server.key", &state->leaf_key, &key_made, reterr);
    if (status != FLX_OK) {
        return status;
    }
    gnutls_x509_crt_t leaf = NULL;
    status = load_certificate(state, "server.pem", &leaf, reterr);
    if (status != FLX_OK && status != FLX_ERR_NOT_FOUND && status != FLX_ERR_CORRUPT) {
        return status;
    }
    bool good = false;
    if (status == FLX_OK) {
        char *scratch = flx_calloc(1, NAMES_TEXT_MAX);
        if (scratch == NULL) {
            gnutls_x509_crt_deinit(leaf);
            return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for names");
        }
        good = !ca_made && leaf_is_good(state, leaf, scratch); /* the file also holds the CA */
        flx_free(scratch);
        gnutls_x509_crt_deinit(leaf);
    }
    *ret_made = !good;
    return good ? FLX_OK : make_leaf(state, reterr);
}

static void pki_done(pki *state)
{
    if (state->ca != NULL) {
        gnutls_x509_crt_deinit(state->ca);
    }
    if (state->ca_key != NULL) {
        gnutls_x509_privkey_deinit(state->ca_key);
    }
    if (state->leaf_key != NULL) {
        gnutls_x509_privkey_deinit(state->leaf_key);
    }
    flx_free(state->names);
    flx_free(state->names_text);
}

flx_status flx_pki_ensure(const char *dir, const flx_pki_options *options, uint64_t wall_s,
                          flx_pki_result *ret_result, flx_error *reterr)
{
    if (wall_s < CLOCK_MIN_S || wall_s > CLOCK_MAX_S) {
        return flx_fail(reterr, FLX_ERR_UNAVAILABLE,
                        "the clock is wrong (%llu s since 1970): no certificate can be made",
                        (unsigned long long)wall_s);
    }
    pki state = {.dir = dir, .wall_s = wall_s};
    flx_pki_result result = {0};
    flx_status status = collect_names(&state, options, reterr);
    if (status == FLX_OK) {
        status = flx_dir_make(dir, reterr);
    }
    if (status == FLX_OK) {
        status = ensure_ca(&state, &result.ca_made, reterr);
    }
    if (status == FLX_OK) {
        status = ensure_leaf(&state, result.ca_made, &result.server_made, reterr);
    }
    pki_done(&state);
    if (status == FLX_OK) {
        *ret_result = result;
    }
    return status;
}
