/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki.h - certificates for tests, made on the spot in a directory of the test's own.
 *
 * A test sees which certificate it presents: a CA, then leaves with a name, a lifetime and an issuer.
 */
#ifndef FLX_TESTS_PKI_H
#define FLX_TESTS_PKI_H

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PKI_CHECK(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "pki: %s\n", #condition);                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct pki {
    char dir[64];
    gnutls_x509_crt_t ca;
    gnutls_x509_privkey_t ca_key;
    unsigned serial;
} pki;

/* What a leaf is; zero: names localhost and 127.0.0.1, valid now, signed by the CA. */
typedef struct pki_leaf {
    const char *dns; /* NULL: localhost */
    long from_s;     /* seconds from now; 0: a minute ago */
    long until_s;    /* 0: in an hour */
    bool self_signed;
    bool client;
    bool common_name_only; /* no subject alternative name */
} pki_leaf;

static inline const char *pki_path(const pki *p, const char *name, char path[128])
{
    (void)snprintf(path, 128, "%s/%s", p->dir, name);
    return path;
}

static inline void pki_write(const pki *p, const char *name, const char *suffix,
                             const gnutls_datum_t *pem)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s.%s", p->dir, name, suffix);
    FILE *file = fopen(path, "w");
    PKI_CHECK(file != NULL);
    PKI_CHECK(fwrite(pem->data, 1, pem->size, file) == pem->size);
    PKI_CHECK(fclose(file) == 0);
}

static inline void pki_save(const pki *p, const char *name, gnutls_x509_crt_t crt,
                            gnutls_x509_privkey_t key)
{
    gnutls_datum_t pem;
    PKI_CHECK(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem) == 0);
    pki_write(p, name, "pem", &pem);
    gnutls_free(pem.data);
    PKI_CHECK(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem) == 0);
    pki_write(p, name, "key", &pem);
    gnutls_free(pem.data);
}

static inline gnutls_x509_privkey_t pki_key(void)
{
    gnutls_x509_privkey_t key;
    PKI_CHECK(gnutls_x509_privkey_init(&key) == 0);
    PKI_CHECK(gnutls_x509_privkey_generate(
                  key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) == 0);
    return key;
}

static inline gnutls_x509_crt_t pki_crt(pki *p, const char *name, gnutls_x509_privkey_t key,
                                        long from_s, long until_s)
{
    gnutls_x509_crt_t crt;
    const unsigned serial = htonl(++p->serial);
    PKI_CHECK(gnutls_x509_crt_init(&crt) == 0);
    PKI_CHECK(gnutls_x509_crt_set_version(crt, 3) == 0);
    PKI_CHECK(gnutls_x509_crt_set_serial(crt, &serial, sizeof serial) == 0);
    PKI_CHECK(gnutls_x509_crt_set_activation_time(crt, time(NULL) + from_s) == 0);
    PKI_CHECK(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + until_s) == 0);
    PKI_CHECK(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                            (unsigned)strlen(name)) == 0);
    PKI_CHECK(gnutls_x509_crt_set_key(crt, key) == 0);
    return crt;
}

/* A directory with ca.pem and ca.key. */
static inline void pki_start(pki *p)
{
    memset(p, 0, sizeof *p);
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/flx-pki-XXXXXX");
    PKI_CHECK(mkdtemp(p->dir) != NULL);
    p->ca_key = pki_key();
    p->ca = pki_crt(p, "Felix test CA", p->ca_key, -3600, 86400);
    PKI_CHECK(gnutls_x509_crt_set_basic_constraints(p->ca, 1, -1) == 0);
    PKI_CHECK(
        gnutls_x509_crt_set_key_usage(p->ca, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN) == 0);
    PKI_CHECK(gnutls_x509_crt_sign2(p->ca, p->ca, p->ca_key, GNUTLS_DIG_SHA256, 0) == 0);
    pki_save(p, "ca", p->ca, p->ca_key);
}

/* NAME.pem and NAME.key. */
static inline void pki_make(pki *p, const char *name, const pki_leaf *leaf)
{
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    const char *dns = leaf->dns != NULL ? leaf->dns : "localhost";
    gnutls_x509_privkey_t key = pki_key();
    gnutls_x509_crt_t crt = pki_crt(p, dns, key, leaf->from_s != 0 ? leaf->from_s : -60,
                                    leaf->until_s != 0 ? leaf->until_s : 3600);
    if (!leaf->common_name_only) {
        PKI_CHECK(gnutls_x509_crt_set_subject_alt_name(
                      crt, GNUTLS_SAN_DNSNAME, dns, (unsigned)strlen(dns), GNUTLS_FSAN_SET) == 0);
        if (leaf->dns == NULL)
            PKI_CHECK(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback, 4,
                                                           GNUTLS_FSAN_APPEND) == 0);
    }
    PKI_CHECK(gnutls_x509_crt_set_basic_constraints(crt, 0, -1) == 0);
    PKI_CHECK(gnutls_x509_crt_set_key_purpose_oid(
                  crt, leaf->client ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER, 0) == 0);
    PKI_CHECK(gnutls_x509_crt_sign2(crt, leaf->self_signed ? crt : p->ca,
                                    leaf->self_signed ? key : p->ca_key, GNUTLS_DIG_SHA256,
                                    0) == 0);
    pki_save(p, name, crt, key);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

/* crl.pem, which revokes NAME.pem. */
static inline void pki_revoke(pki *p, const char *name)
{
    char path[128];
    char file_name[64];
    gnutls_datum_t pem;
    gnutls_x509_crt_t crt;
    gnutls_x509_crl_t crl;
    (void)snprintf(file_name, sizeof file_name, "%s.pem", name);
    PKI_CHECK(gnutls_load_file(pki_path(p, file_name, path), &pem) == 0);
    PKI_CHECK(gnutls_x509_crt_init(&crt) == 0 && gnutls_x509_crl_init(&crl) == 0);
    PKI_CHECK(gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM) == 0);
    gnutls_free(pem.data);
    PKI_CHECK(gnutls_x509_crl_set_version(crl, 2) == 0);
    PKI_CHECK(gnutls_x509_crl_set_this_update(crl, time(NULL) - 60) == 0);
    PKI_CHECK(gnutls_x509_crl_set_next_update(crl, time(NULL) + 3600) == 0);
    PKI_CHECK(gnutls_x509_crl_set_crt(crl, crt, time(NULL) - 30) == 0);
    PKI_CHECK(gnutls_x509_crl_sign2(crl, p->ca, p->ca_key, GNUTLS_DIG_SHA256, 0) == 0);
    PKI_CHECK(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem) == 0);
    pki_write(p, "crl", "pem", &pem);
    gnutls_free(pem.data);
    gnutls_x509_crl_deinit(crl);
    gnutls_x509_crt_deinit(crt);
}

static inline void pki_stop(pki *p)
{
    char command[128];
    gnutls_x509_crt_deinit(p->ca);
    gnutls_x509_privkey_deinit(p->ca_key);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
    PKI_CHECK(system(command) == 0); /* NOLINT(cert-env33-c): a directory we named */
}

#endif /* FLX_TESTS_PKI_H */
