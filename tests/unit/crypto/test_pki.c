/* SPDX-License-Identifier: Apache-2.0 */
/* The node's own CA: made once, renewed in time, and a chain that GnuTLS, openssl and webpki take. */
#include "common/alloc.h"
#include "crypto/certificate.h"
#include "crypto/pki.h"
#include "crypto/secret.h"
#include "folder.h"
#include "unit.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY   UINT64_C(86400)
#define NOW_S UINT64_C(1800000000) /* a fixed day, so that nothing here depends on today */

static int set_up(void **state)
{
    (void)umask(022); /* the modes below are what is left of 0666 */
    return make_folder(state);
}

static flx_secret read_text(const char *name)
{
    flx_secret bytes = {0};
    FILE *file = fopen(path_of(name), "rb");
    assert_non_null(file);
    assert_int_equal(flx_secret_init(&bytes, 8192, NULL), FLX_OK);
    bytes.len = fread(bytes.bytes, 1, 8192, file);
    (void)fclose(file);
    return bytes;
}

static flx_pki_result ensure(uint64_t wall_s, const char *const *names, size_t count)
{
    flx_pki_result result = {0};
    flx_error error = {0};
    const flx_pki_options options = {names, count};
    if (flx_pki_ensure(folder, &options, wall_s, &result, &error) != FLX_OK) {
        fail_msg("ensure: %s", error.message);
    }
    return result;
}

static flx_status verify(const char *name, uint64_t wall_s, flx_error *error)
{
    flx_secret chain = read_text("server.pem");
    flx_secret ca = read_text("ca.pem");
    const flx_status status = flx_certificates_verify(flx_secret_slice(&chain),
                                                      flx_secret_slice(&ca), name, wall_s, error);
    flx_secret_done(&chain);
    flx_secret_done(&ca);
    return status;
}

/* README.md, rules 4, 8. */
static void test_first_start(void **state)
{
    (void)state;
    const flx_pki_result result = ensure(NOW_S, NULL, 0);
    assert_true(result.ca_made && result.server_made);
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"ca.pem", 0644}, {"ca.key", 0600}, {"server.pem", 0644}, {"server.key", 0600}};
    for (size_t i = 0; i < 4; i++) {
        struct stat info;
        assert_int_equal(stat(path_of(files[i].name), &info), 0);
        assert_int_equal(info.st_mode & 0755U, files[i].mode);
    }
    flx_certificate_info infos[4];
    size_t count = 0;
    assert_int_equal(flx_certificates_inspect_file(path_of("server.pem"), infos, 4, &count, NULL),
                     FLX_OK);
    assert_int_equal(count, 2);
    assert_string_equal(infos[0].names, "DNS:localhost, IP:127.0.0.1, IP:::1");
    assert_string_equal(infos[0].subject, "CN=localhost,O=Felix");
    assert_string_equal(infos[0].issuer, infos[1].subject);
    assert_false(infos[0].is_ca);
    assert_false(infos[0].self_signed);
    assert_true(infos[1].is_ca);
    assert_true(infos[1].self_signed);
    assert_int_equal(infos[0].not_before_s, NOW_S - 3600);
    assert_int_equal(infos[0].not_after_s, NOW_S + 397 * DAY);
    assert_int_equal(infos[1].not_after_s, NOW_S + 3652 * DAY);
    assert_int_equal(strlen(infos[0].serial), 32);
    assert_string_not_equal(infos[0].serial, infos[1].serial);
}

/* The extensions webpki looks at, read back from the leaf (README.md, rule 7). */
static void test_leaf_extensions(void **state)
{
    (void)state;
    flx_secret pem = read_text("server.pem");
    gnutls_x509_crt_t leaf;
    const gnutls_datum_t data = {pem.bytes, (unsigned)pem.len};
    assert_int_equal(gnutls_x509_crt_init(&leaf), 0);
    assert_int_equal(gnutls_x509_crt_import(leaf, &data, GNUTLS_X509_FMT_PEM), 0);
    assert_int_equal(gnutls_x509_crt_get_version(leaf), 3);
    unsigned ca = 1;
    unsigned critical = 0;
    assert_true(gnutls_x509_crt_get_basic_constraints(leaf, &critical, &ca, NULL) >= 0);
    assert_int_equal(ca, 0);
    char oid[64];
    size_t oid_len = sizeof oid;
    assert_true(gnutls_x509_crt_get_key_purpose_oid(leaf, 0, oid, &oid_len, &critical) >= 0);
    assert_string_equal(oid, GNUTLS_KP_TLS_WWW_SERVER);
    uint8_t id[64];
    size_t id_len = sizeof id;
    assert_int_equal(gnutls_x509_crt_get_subject_key_id(leaf, id, &id_len, &critical), 0);
    id_len = sizeof id;
    assert_int_equal(gnutls_x509_crt_get_authority_key_id(leaf, id, &id_len, &critical), 0);
    unsigned bits = 0;
    assert_int_equal(gnutls_x509_crt_get_pk_algorithm(leaf, &bits), GNUTLS_PK_ECDSA);
    assert_int_equal(bits, 256);
    gnutls_x509_crt_deinit(leaf);
    flx_secret_done(&pem);
}

static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t wall_s;
        const char *says; /* NULL: taken */
    } rows[] = {
        {"localhost", NOW_S, NULL},
        {"127.0.0.1", NOW_S, NULL},
        {"::1", NOW_S, NULL},
        {NULL, NOW_S, NULL},
        {"localhost", NOW_S + 396 * DAY, NULL},
        {"example.org", NOW_S, "not for 'example.org' but DNS:localhost"},
        {"10.0.0.1", NOW_S, "not for '10.0.0.1'"},
        {"localhost", NOW_S + 398 * DAY, "expired 86400 s ago"},
        {"localhost", NOW_S - 3700, "not valid for another 100 s"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_error error = {0};
        const flx_status status = verify(rows[i].name, rows[i].wall_s, &error);
        if (rows[i].says == NULL
                ? status != FLX_OK
                : status != FLX_ERR_DENIED || strstr(error.message, rows[i].says) == NULL) {
            fail_msg("row %zu: %s '%s'", i, flx_status_name(status), error.message);
        }
    }
}

static void test_bad_chains(void **state)
{
    (void)state;
    flx_secret chain = read_text("server.pem");
    flx_secret ca = read_text("ca.pem");
    flx_error error = {0};
    /* The CA itself as a server certificate: rustls says CaUsedAsEndEntity. */
    assert_int_equal(
        flx_certificates_verify(flx_secret_slice(&ca), flx_secret_slice(&ca), NULL, NOW_S, &error),
        FLX_ERR_DENIED);
    assert_int_equal(flx_certificates_verify((flx_slice){ca.bytes, 0}, flx_secret_slice(&ca), NULL,
                                             NOW_S, &error),
                     FLX_ERR_INVALID);
    assert_int_equal(flx_certificates_verify(flx_secret_slice(&chain),
                                             (flx_slice){(const uint8_t *)"no pem", 6}, NULL, NOW_S,
                                             &error),
                     FLX_ERR_INVALID);
    /* The leaf itself handed out as trusted: taken, as webpki does with an exact anchor. */
    const char *end = strstr((const char *)chain.bytes, "-----END CERTIFICATE-----");
    assert_non_null(end);
    const flx_slice leaf = {chain.bytes, (size_t)(end - (const char *)chain.bytes) + 26};
    assert_int_equal(flx_certificates_verify(leaf, leaf, "localhost", NOW_S, &error), FLX_OK);
    /* Another CA. */
    char first[72];
    (void)snprintf(first, sizeof first, "%.70s", folder);
    (void)snprintf(folder, sizeof folder, "%s-b", first);
    (void)ensure(NOW_S, NULL, 0);
    flx_secret other = read_text("ca.pem");
    assert_int_equal(flx_certificates_verify(flx_secret_slice(&chain), flx_secret_slice(&other),
                                             "localhost", NOW_S, &error),
                     FLX_ERR_DENIED);
    assert_non_null(strstr(error.message, "no trusted certificate issued"));
    (void)remove_folder(NULL);
    (void)snprintf(folder, sizeof folder, "%s", first);
    flx_secret_done(&other);
    flx_secret_done(&chain);
    flx_secret_done(&ca);
}

/* openssl as a second opinion where it is installed; nothing else here needs it. */
static void test_openssl_agrees(void **state)
{
    (void)state;
    if (system("command -v openssl >/dev/null") != 0) {
        print_message("openssl is not installed: its opinion was not asked\n");
        skip();
    }
    char command[512];
    (void)snprintf(command, sizeof command,
                   "openssl verify -x509_strict -attime %llu -purpose sslserver -verify_hostname "
                   "localhost -CAfile '%s/ca.pem' '%s/server.pem' >/dev/null",
                   (unsigned long long)NOW_S, folder, folder);
    assert_int_equal(system(command), 0);
}

/* certtool knows only the time of day, so it looks at a folder of its own made now. */
static void test_certtool_agrees(void **state)
{
    (void)state;
    char saved[72];
    (void)snprintf(saved, sizeof saved, "%.70s", folder);
    (void)snprintf(folder, sizeof folder, "%s-c", saved);
    (void)ensure((uint64_t)time(NULL), NULL, 0);
    char command[512];
    (void)snprintf(command, sizeof command,
                   "certtool --verify --verify-hostname localhost --verify-purpose "
                   "1.3.6.1.5.5.7.3.1 --load-ca-certificate '%s/ca.pem' --infile '%s/server.pem' "
                   ">/dev/null",
                   folder, folder);
    assert_int_equal(system(command), 0);
    (void)remove_folder(NULL);
    (void)snprintf(folder, sizeof folder, "%s", saved);
}

/* README.md, rules 5, 6. */
static void test_kept_and_renewed(void **state)
{
    (void)state;
    flx_pki_result result = ensure(NOW_S + DAY, NULL, 0);
    assert_false(result.ca_made || result.server_made);
    result = ensure(NOW_S + 366 * DAY, NULL, 0); /* 31 days left */
    assert_false(result.ca_made || result.server_made);
    result = ensure(NOW_S + 368 * DAY, NULL, 0); /* 29 days left */
    assert_true(!result.ca_made && result.server_made);
    assert_int_equal(verify("localhost", NOW_S + 700 * DAY, NULL), FLX_OK);

    static const char *const names[] = {"broker.example.org", "10.1.2.3", "LOCALHOST",
                                        "*.felix.test"};
    result = ensure(NOW_S + 368 * DAY, names, 4);
    assert_true(!result.ca_made && result.server_made);
    assert_int_equal(verify("broker.example.org", NOW_S + 369 * DAY, NULL), FLX_OK);
    assert_int_equal(verify("10.1.2.3", NOW_S + 369 * DAY, NULL), FLX_OK);
    assert_int_equal(verify("a.felix.test", NOW_S + 369 * DAY, NULL), FLX_OK);
    static const char *const other_order[] = {"*.felix.test", "10.1.2.3", "broker.example.org"};
    result = ensure(NOW_S + 368 * DAY, other_order, 3);
    assert_false(result.ca_made || result.server_made);

    result = ensure(NOW_S + 3630 * DAY, NULL, 0); /* 22 days of the CA left */
    assert_true(result.ca_made && result.server_made);
    assert_int_equal(verify("localhost", NOW_S + 3640 * DAY, NULL), FLX_OK);
}

static flx_status try_ensure(flx_error *error)
{
    flx_pki_result result;
    const flx_pki_options options = {0};
    return flx_pki_ensure(folder, &options, NOW_S + 3630 * DAY, &result, error);
}

/* README.md, rule 5. */
static void test_damage(void **state)
{
    (void)state;
    flx_error error = {0};
    /* The leaf can always be issued again. */
    assert_int_equal(truncate(path_of("server.pem"), 100), 0);
    assert_true(ensure(NOW_S + 3630 * DAY, NULL, 0).server_made);
    assert_int_equal(unlink(path_of("server.key")), 0);
    assert_true(ensure(NOW_S + 3630 * DAY, NULL, 0).server_made);
    /* A key that others may read is refused. */
    assert_int_equal(chmod(path_of("server.key"), 0644), 0);
    assert_int_equal(try_ensure(&error), FLX_ERR_DENIED);
    assert_non_null(strstr(error.message, "server.key"));
    assert_int_equal(chmod(path_of("server.key"), 0600), 0);
    /* The CA is never replaced in silence. */
    assert_int_equal(rename(path_of("ca.key"), path_of("away")), 0);
    assert_int_equal(try_ensure(&error), FLX_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "put it back"));
    assert_int_equal(rename(path_of("server.key"), path_of("ca.key")), 0);
    assert_int_equal(try_ensure(&error), FLX_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "is not the key of ca.pem"));
    assert_int_equal(rename(path_of("away"), path_of("ca.key")), 0);
    assert_int_equal(try_ensure(&error), FLX_OK);
    /* A first start that was cut short after the first file. */
    assert_int_equal(unlink(path_of("ca.pem")), 0);
    assert_true(ensure(NOW_S + 3630 * DAY, NULL, 0).ca_made);
    assert_int_equal(verify("localhost", NOW_S + 3630 * DAY, &error), FLX_OK);
}

/* The clock was ahead when the certificates were made, and has been set right. */
static void test_clock(void **state)
{
    (void)state;
    char saved[72];
    (void)snprintf(saved, sizeof saved, "%.70s", folder);
    (void)snprintf(folder, sizeof folder, "%s-t", saved);
    (void)ensure(NOW_S + 10 * DAY, NULL, 0);
    const flx_pki_result result = ensure(NOW_S, NULL, 0);
    assert_true(result.ca_made && result.server_made);
    assert_int_equal(verify("localhost", NOW_S, NULL), FLX_OK);
    static const uint64_t wrong[] = {0, 1000, UINT64_MAX};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        flx_pki_result none;
        const flx_pki_options options = {0};
        flx_error error;
        assert_int_equal(flx_pki_ensure(folder, &options, wrong[i], &none, &error),
                         FLX_ERR_UNAVAILABLE);
    }
    (void)remove_folder(NULL);
    (void)snprintf(folder, sizeof folder, "%s", saved);
}

static void test_bad_names(void **state)
{
    (void)state;
    static const char *const rows[] = {"",          ".",        "a..b",    "a.", ".a",
                                       "a b",       "http://x", "x/y",     "*",  "a.*.b",
                                       "1.2.3.4/8", "[::1]",    "\xc3\xa4"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_pki_result result;
        const flx_pki_options options = {&rows[i], 1};
        flx_error error = {0};
        if (flx_pki_ensure(folder, &options, NOW_S, &result, &error) != FLX_ERR_INVALID) {
            fail_msg("accepted '%s'", rows[i]);
        }
    }
}

static void test_without_memory(void **state)
{
    (void)state;
    char saved[72];
    (void)snprintf(saved, sizeof saved, "%.70s", folder);
    (void)snprintf(folder, sizeof folder, "%s-m", saved);
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        flx_pki_result result;
        const flx_pki_options options = {0};
        flx_alloc_fail_nth(nth);
        const flx_status status = flx_pki_ensure(folder, &options, NOW_S, &result, NULL);
        failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        assert_true(nth < 100);
    }
    assert_int_equal(verify("localhost", NOW_S, NULL), FLX_OK);
    (void)remove_folder(NULL);
    (void)snprintf(folder, sizeof folder, "%s", saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_start),
        cmocka_unit_test(test_leaf_extensions),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_bad_chains),
        cmocka_unit_test(test_openssl_agrees),
        cmocka_unit_test(test_certtool_agrees),
        cmocka_unit_test(test_kept_and_renewed),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
