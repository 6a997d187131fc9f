/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/certificate.c - certificates as people and clients see them.
 *
 * The verdict is the one of the strictest client we know (webpki): beside a valid chain it wants an
 * end entity that is no CA, is X.509 v3 and carries its names as subjectAltName. GnuTLS alone would
 * be content with less, and `felix doctor` would say all is well where a client refuses.
 */
#include "common/assert.h"
#include "common/error.h"
#include "crypto/certificate_int.h"
#include "crypto/digest.h"
#include "crypto/file_int.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

/* The certificates of one PEM text. */
typedef struct crt_list {
    gnutls_x509_crt_t *items; /* GnuTLS memory */
    unsigned count;
} crt_list;

gnutls_datum_t flx_crypto_datum(flx_slice bytes)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } pointer = {.in = bytes.ptr};
    FLX_ASSERT(bytes.len <= UINT32_MAX);
    return (gnutls_datum_t){pointer.out, (unsigned)bytes.len};
}

flx_status flx_crypto_fail(flx_error *reterr, int rc, flx_status status, const char *what)
{
    return flx_fail(reterr, rc == GNUTLS_E_MEMORY_ERROR ? FLX_ERR_NOMEM : status, "%s: %s", what,
                    gnutls_strerror(rc));
}

static void list_done(crt_list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        gnutls_x509_crt_deinit(list->items[i]);
    }
    gnutls_free(list->items);
    *list = (crt_list){0};
}

static flx_status list_parse(flx_slice pem, const char *what, crt_list *ret_list, flx_error *reterr)
{
    if (pem.len == 0 || pem.len > FLX_CERTIFICATES_PEM_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: %zu bytes of PEM, expected 1 to %u", what,
                        pem.len, FLX_CERTIFICATES_PEM_BYTES_MAX);
    }
    const gnutls_datum_t data = flx_crypto_datum(pem);
    crt_list list = {0};
    const int rc =
        gnutls_x509_crt_list_import2(&list.items, &list.count, &data, GNUTLS_X509_FMT_PEM, 0);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INVALID, what);
    }
    if (list.count == 0 || list.count > FLX_CERTIFICATES_MAX) {
        const unsigned count = list.count;
        list_done(&list);
        return flx_fail(reterr, count == 0 ? FLX_ERR_INVALID : FLX_ERR_TOO_LARGE,
                        "%s: %u certificates, expected 1 to %u", what, count, FLX_CERTIFICATES_MAX);
    }
    *ret_list = list;
    return FLX_OK;
}

/* --- looking -----------------------------------------------------------------------------------*/

/* Replaces the end of a text that was cut. */
static void mark_cut(char *text, size_t cap)
{
    if (cap >= 4) {
        memcpy(text + cap - 4, "...", 4);
    }
}

/* What would end a line or forge another is shown as '?'. */
static void make_printable(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}

static void put_dn(gnutls_x509_crt_t crt, bool issuer, char *text, size_t cap)
{
    gnutls_datum_t dn = {0};
    const int rc =
        issuer ? gnutls_x509_crt_get_issuer_dn3(crt, &dn, 0) : gnutls_x509_crt_get_dn3(crt, &dn, 0);
    text[0] = '\0';
    if (rc < 0) {
        return;
    }
    const int len = snprintf(text, cap, "%.*s", (int)dn.size, (const char *)dn.data);
    if (len > 0 && (size_t)len >= cap) {
        mark_cut(text, cap);
    }
    make_printable(text);
    gnutls_free(dn.data);
}

/* One subjectAltName as text; false for a kind that names no server. */
static bool name_to_text(unsigned type, const uint8_t *data, size_t len, char *text, size_t cap)
{
    char address[INET6_ADDRSTRLEN];
    switch (type) {
    case GNUTLS_SAN_DNSNAME:
        (void)snprintf(text, cap, "DNS:%.*s", (int)len, (const char *)data);
        return true;
    case GNUTLS_SAN_URI:
        (void)snprintf(text, cap, "URI:%.*s", (int)len, (const char *)data);
        return true;
    case GNUTLS_SAN_IPADDRESS:
        if ((len != 4 && len != 16) ||
            inet_ntop(len == 4 ? AF_INET : AF_INET6, data, address, sizeof address) == NULL) {
            return false;
        }
        (void)snprintf(text, cap, "IP:%s", address);
        return true;
    default:
        return false;
    }
}

void flx_certificate_names(gnutls_x509_crt_t crt, char *text, size_t cap)
{
    size_t len = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < 4U * FLX_CERTIFICATES_MAX; i++) {
        uint8_t data[256];
        size_t data_len = sizeof data;
        unsigned type = 0;
        const int rc = gnutls_x509_crt_get_subject_alt_name2(crt, i, data, &data_len, &type, NULL);
        if (rc == GNUTLS_E_SHORT_MEMORY_BUFFER) {
            continue;
        }
        if (rc < 0) {
            break; /* past the last one */
        }
        char name[280];
        if (!name_to_text(type, data, data_len, name, sizeof name)) {
            continue;
        }
        const int added = snprintf(text + len, cap - len, "%s%s", len == 0 ? "" : ", ", name);
        if (added < 0 || (size_t)added >= cap - len) {
            mark_cut(text, cap);
            break;
        }
        len += (size_t)added;
    }
    make_printable(text);
}

static void put_serial(gnutls_x509_crt_t crt, char *text, size_t cap)
{
    uint8_t serial[20];
    size_t len = sizeof serial;
    text[0] = '\0';
    if (gnutls_x509_crt_get_serial(crt, serial, &len) >= 0 && 2 * len < cap) {
        flx_hex((flx_slice){serial, len}, text);
    }
}

static bool is_ca(gnutls_x509_crt_t crt)
{
    unsigned ca = 0;
    return gnutls_x509_crt_get_basic_constraints(crt, NULL, &ca, NULL) >= 0 && ca != 0;
}

static bool is_self_signed(gnutls_x509_crt_t crt)
{
    unsigned problems = 0;
    return gnutls_x509_crt_check_issuer(crt, crt) != 0 &&
           gnutls_x509_crt_verify(crt, &crt, 1,
                                  GNUTLS_VERIFY_DISABLE_TIME_CHECKS | GNUTLS_VERIFY_DISABLE_CA_SIGN,
                                  &problems) >= 0 &&
           problems == 0;
}

static void describe(gnutls_x509_crt_t crt, flx_certificate_info *info)
{
    memset(info, 0, sizeof *info);
    put_dn(crt, false, info->subject, sizeof info->subject);
    put_dn(crt, true, info->issuer, sizeof info->issuer);
    flx_certificate_names(crt, info->names, sizeof info->names);
    put_serial(crt, info->serial, sizeof info->serial);
    info->not_before_s = (int64_t)gnutls_x509_crt_get_activation_time(crt);
    info->not_after_s = (int64_t)gnutls_x509_crt_get_expiration_time(crt);
    info->is_ca = is_ca(crt);
    info->self_signed = is_self_signed(crt);
}

static flx_status inspect(flx_slice pem, flx_certificate_info *ret_infos, size_t cap,
                          size_t *ret_count, flx_error *reterr)
{
    crt_list list = {0};
    const flx_status status = list_parse(pem, "certificates", &list, reterr);
    if (status != FLX_OK) {
        return status;
    }
    for (unsigned i = 0; i < list.count && i < cap; i++) {
        describe(list.items[i], &ret_infos[i]);
    }
    *ret_count = list.count;
    list_done(&list);
    return FLX_OK;
}

flx_status flx_certificates_inspect_file(const char *path, flx_certificate_info *ret_infos,
                                         size_t cap, size_t *ret_count, flx_error *reterr)
{
    flx_secret pem = {0};
    flx_status status =
        flx_crypto_file_read(path, FLX_CERTIFICATES_PEM_BYTES_MAX, FLX_FILE_PUBLIC, &pem, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = inspect(flx_secret_slice(&pem), ret_infos, cap, ret_count, reterr);
    flx_secret_done(&pem);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "'%s'", path);
    }
    return status;
}

/* --- judging -----------------------------------------------------------------------------------*/

static flx_status deny(flx_error *reterr, const char *reason)
{
    return flx_fail(reterr, FLX_ERR_DENIED, "%s", reason);
}

/* The dates of what the server shows; GnuTLS would ask the clock, we are given the time. */
static flx_status check_dates(const crt_list *chain, uint64_t wall_s, flx_error *reterr)
{
    for (unsigned i = 0; i < chain->count; i++) {
        const int64_t now_s = (int64_t)wall_s;
        const int64_t before_s = (int64_t)gnutls_x509_crt_get_activation_time(chain->items[i]);
        const int64_t after_s = (int64_t)gnutls_x509_crt_get_expiration_time(chain->items[i]);
        const char *which = i == 0 ? "the server certificate" : "a CA certificate of the chain";
        if (now_s < before_s) {
            return flx_fail(reterr, FLX_ERR_DENIED, "%s is not valid for another %lld s", which,
                            (long long)(before_s - now_s));
        }
        if (now_s > after_s) {
            return flx_fail(reterr, FLX_ERR_DENIED, "%s expired %lld s ago", which,
                            (long long)(now_s - after_s));
        }
    }
    return FLX_OK;
}

static bool has_names(gnutls_x509_crt_t leaf)
{
    char names[64];
    flx_certificate_names(leaf, names, sizeof names);
    return names[0] != '\0';
}

static flx_status check_leaf(gnutls_x509_crt_t leaf, const char *name, flx_error *reterr)
{
    if (gnutls_x509_crt_get_version(leaf) != 3) {
        return deny(reterr, "the server certificate is not X.509 v3");
    }
    if (is_ca(leaf)) {
        return deny(reterr, "the server certificate is marked as a CA (basicConstraints CA:TRUE)");
    }
    if (!has_names(leaf)) {
        return deny(reterr, "the server certificate has no subjectAltName; its CN does not count");
    }
    if (name != NULL && gnutls_x509_crt_check_hostname2(leaf, name, 0) == 0) {
        char names[160];
        flx_certificate_names(leaf, names, sizeof names);
        return flx_fail(reterr, FLX_ERR_DENIED, "the server certificate is not for '%.60s' but %s",
                        name, names);
    }
    return FLX_OK;
}

static const char *reason_of(unsigned problems)
{
    static const struct {
        unsigned bit;
        const char *reason;
    } reasons[] = {
        {GNUTLS_CERT_SIGNER_NOT_FOUND, "no trusted certificate issued the server certificate"},
        {GNUTLS_CERT_SIGNER_NOT_CA, "the issuer of the server certificate is not a CA"},
        {GNUTLS_CERT_INSECURE_ALGORITHM, "the chain uses an algorithm that is no longer secure"},
        {GNUTLS_CERT_SIGNATURE_FAILURE, "a signature in the chain does not hold"},
        {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "the chain breaks a constraint of its CA"},
        {GNUTLS_CERT_PURPOSE_MISMATCH, "the server certificate is not for servers (serverAuth)"},
        {GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS, "the chain has a critical extension nobody knows"},
        {GNUTLS_CERT_REVOKED, "the server certificate is revoked"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if ((problems & reasons[i].bit) != 0) {
            return reasons[i].reason;
        }
    }
    return "the chain is not trusted";
}

/* Signatures, constraints and purpose of the chain up to something in `cas`. */
static flx_status check_chain(const crt_list *chain, const crt_list *cas, flx_error *reterr)
{
    gnutls_x509_trust_list_t trust = NULL;
    int rc = gnutls_x509_trust_list_init(&trust, 0);
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "trust list");
    }
    static char server_auth[] = GNUTLS_KP_TLS_WWW_SERVER;
    gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)server_auth, .size = 0};
    unsigned problems = 0;
    rc = gnutls_x509_trust_list_add_cas(trust, cas->items, cas->count, 0);
    if (rc >= 0) {
        rc = gnutls_x509_trust_list_verify_crt2(trust, chain->items, chain->count, &purpose, 1,
                                                GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &problems, NULL);
    }
    gnutls_x509_trust_list_deinit(trust, 0); /* the certificates stay ours */
    if (rc < 0) {
        return flx_crypto_fail(reterr, rc, FLX_ERR_INTERNAL, "verify the chain");
    }
    return problems == 0 ? FLX_OK : deny(reterr, reason_of(problems));
}

flx_status flx_certificates_verify(flx_slice chain, flx_slice ca, const char *name, uint64_t wall_s,
                                   flx_error *reterr)
{
    crt_list shown = {0};
    crt_list trusted = {0};
    flx_status status = list_parse(chain, "the server's chain", &shown, reterr);
    if (status == FLX_OK) {
        status = list_parse(ca, "the trusted certificates", &trusted, reterr);
    }
    if (status == FLX_OK) {
        status = check_dates(&shown, wall_s, reterr);
    }
    if (status == FLX_OK) {
        status = check_chain(&shown, &trusted, reterr);
    }
    if (status == FLX_OK) {
        FLX_ASSERT(shown.count > 0);
        status = check_leaf(shown.items[0], name, reterr);
    }
    list_done(&trusted);
    list_done(&shown);
    return status;
}
