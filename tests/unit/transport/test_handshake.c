/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets a connection: ALPN, certificates, names, reloads, client certificates. */
#include "rig.h"

/* --- ALPN: docs/spec/wire.md 1 --------------------------------------------------------------- */

typedef struct alpn_case {
    const char *name;
    const char *offered;
    bool required;
    bool accepted;
} alpn_case;

static const alpn_case alpn_cases[] = {
    {"a client without ALPN is accepted", NULL, false, true},
    {"a client that offers ours is accepted", FLX_QUIC_ALPN, false, true},
    {"a client that offers another is refused", "h3", false, false},
    {"the internal protocol is another", FLX_QUIC_ALPN_INTERNAL, false, false},
    {"without ALPN where it is required", NULL, true, false},
    {"with ALPN where it is required", FLX_QUIC_ALPN, true, true},
};

static void test_alpn(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof alpn_cases / sizeof alpn_cases[0]; i++) {
        const alpn_case *row = &alpn_cases[i];
        rig r;
        rig_conn c;
        rig_start(&r, &(flx_quic_options){.alpn_required = row->required}, NULL);
        rig_dial(&r, &c, "localhost", row->offered);
        RIG_UNTIL(&r, c.connected || c.closed);
        if (c.connected != row->accepted)
            fail_msg("%s: %s", row->name, c.why.reason);
        if (!row->accepted) {
            assert_int_equal(c.why.kind, FLX_QUIC_CLOSE_HANDSHAKE);
            assert_int_equal(c.why.code, 0x100 + 120); /* no_application_protocol */
        }
        rig_stop(&r);
    }
}

/* --- certificates ---------------------------------------------------------------------------- */

typedef struct certificate_case {
    const char *name;
    pki_leaf leaf;
    const char *ca;
    const char *dial;
    const char *reason; /* part of it; NULL: accepted */
} certificate_case;

static const certificate_case certificate_cases[] = {
    {"a good one", {0}, "ca.pem", "localhost", NULL},
    {"by address", {0}, "ca.pem", "127.0.0.1", NULL},
    {"another name", {0}, "ca.pem", "example.org", "does not name 'example.org'"},
    {"another address", {0}, "ca.pem", "127.0.0.2", "does not name '127.0.0.2'"},
    {"only a common name", {.common_name_only = true}, "ca.pem", "localhost", "does not name"},
    {"expired", {.from_s = -7200, .until_s = -3600}, "ca.pem", "localhost", "expired"},
    {"not valid yet", {.from_s = 3600, .until_s = 7200}, "ca.pem", "localhost", "not yet"},
    {"an unknown issuer", {.self_signed = true}, "ca.pem", "localhost", "NOT trusted"},
    {"self-signed and trusted itself", {.self_signed = true}, "leaf.pem", "localhost", NULL},
    {"for clients only", {.client = true}, "ca.pem", "localhost", "NOT trusted"},
};

static void test_certificates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof certificate_cases / sizeof certificate_cases[0]; i++) {
        const certificate_case *row = &certificate_cases[i];
        rig r;
        rig_conn c;
        rig_start(&r, NULL, NULL);
        pki_make(&r.pki, "leaf", &row->leaf);
        rig_unlisten(&r);
        r.server_credentials = flx_credentials_free(r.server_credentials);
        r.server_credentials = rig_server_credentials(&r, "leaf");
        rig_listen(&r, NULL);
        r.client = flx_quic_endpoint_free(r.client);
        r.client_credentials = flx_credentials_free(r.client_credentials);
        r.client_credentials = rig_client_credentials(&r, row->ca);
        assert_int_equal(flx_quic_client(r.loop, NULL, r.client_credentials, &r.client_events, &r,
                                         &r.client, NULL),
                         FLX_OK);
        rig_dial(&r, &c, row->dial, NULL);
        RIG_UNTIL(&r, c.connected || c.closed);
        if (c.connected != (row->reason == NULL))
            fail_msg("%s: %s", row->name, c.why.reason);
        if (row->reason != NULL && strstr(c.why.reason, row->reason) == NULL)
            fail_msg("%s: the reason is '%s'", row->name, c.why.reason);
        rig_stop(&r);
    }
}

static void test_reload(void **state)
{
    (void)state;
    rig r;
    rig_conn before;
    rig_conn after;
    bool changed = true;
    rig_start(&r, NULL, NULL);
    rig_connect(&r, &before);

    assert_int_equal(flx_credentials_reload(r.server_credentials, &changed, NULL), FLX_OK);
    assert_false(changed);
    const int64_t not_after = flx_credentials_not_after(r.server_credentials);
    assert_true(not_after > time(NULL));

    pki_make(&r.pki, "server", &(pki_leaf){.dns = "other.example", .until_s = 7200});
    assert_int_equal(flx_credentials_reload(r.server_credentials, &changed, NULL), FLX_OK);
    assert_true(changed);
    assert_true(flx_credentials_not_after(r.server_credentials) > not_after);

    rig_dial(&r, &after, "other.example", NULL);
    RIG_UNTIL(&r, after.connected || after.closed);
    assert_true(after.connected);
    assert_false(before.closed); /* it lives on */

    /* A broken file changes nothing. */
    char path[128];
    FILE *file = fopen(pki_path(&r.pki, "server.pem", path), "w");
    assert_non_null(file);
    assert_int_equal(fputs("nonsense\n", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    flx_error error;
    assert_int_equal(flx_credentials_reload(r.server_credentials, &changed, &error),
                     FLX_ERR_INVALID);
    rig_dial(&r, &after, "other.example", NULL);
    RIG_UNTIL(&r, after.connected || after.closed);
    assert_true(after.connected);
    rig_stop(&r);
}

static flx_credentials *mutual(rig *r, bool server, const char *name, bool crl)
{
    char files[4][128];
    char buffer[64];
    flx_credentials *credentials = NULL;
    flx_error error;
    (void)snprintf(buffer, sizeof buffer, "%s.pem", name);
    (void)pki_path(&r->pki, buffer, files[0]);
    (void)snprintf(buffer, sizeof buffer, "%s.key", name);
    (void)pki_path(&r->pki, buffer, files[1]);
    (void)pki_path(&r->pki, "ca.pem", files[2]);
    (void)pki_path(&r->pki, "crl.pem", files[3]);
    const flx_credentials_options options = {.certificate_file = files[0],
                                             .key_file = files[1],
                                             .ca_file = files[2],
                                             .crl_file = crl ? files[3] : NULL,
                                             .client_certificate_required = server};
    assert_int_equal(flx_credentials_new(server, &options, &credentials, &error), FLX_OK);
    return credentials;
}

static void with_client_certificate(const char *name, bool crl, bool accepted)
{
    rig r;
    rig_conn c;
    rig_start(&r, NULL, NULL);
    pki_make(&r.pki, "alice", &(pki_leaf){.dns = "alice.example", .client = true});
    pki_revoke(&r.pki, "alice");
    rig_unlisten(&r);
    r.server_credentials = flx_credentials_free(r.server_credentials);
    r.server_credentials = mutual(&r, true, "server", crl);
    rig_listen(&r, NULL);
    if (name != NULL) {
        r.client = flx_quic_endpoint_free(r.client);
        r.client_credentials = flx_credentials_free(r.client_credentials);
        r.client_credentials = mutual(&r, false, name, false);
        assert_int_equal(flx_quic_client(r.loop, NULL, r.client_credentials, &r.client_events, &r,
                                         &r.client, NULL),
                         FLX_OK);
    }
    rig_dial(&r, &c, "localhost", NULL);
    /* A client is connected before the server has judged its certificate. */
    RIG_UNTIL(&r, r.accepted > 0 || c.closed);
    assert_int_equal(r.accepted, accepted ? 1 : 0);
    if (accepted)
        assert_true(flx_quic_conn_peer_certificate(r.server_conn).len > 100);
    rig_stop(&r);
}

static void test_client_certificates(void **state)
{
    (void)state;
    with_client_certificate("alice", false, true);
    with_client_certificate("alice", true, false); /* revoked */
    with_client_certificate(NULL, false, false);
}

static void test_bad_options(void **state)
{
    (void)state;
    flx_credentials *credentials = NULL;
    flx_error error;
    assert_int_equal(flx_credentials_new(true, &(flx_credentials_options){0}, &credentials, &error),
                     FLX_ERR_INVALID);
    assert_int_equal(flx_credentials_new(false,
                                         &(flx_credentials_options){.ca_file = "/nonexistent/ca"},
                                         &credentials, &error),
                     FLX_ERR_IO);
    assert_non_null(strstr(error.message, "/nonexistent/ca"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alpn),        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_reload),      cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
