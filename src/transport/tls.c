/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 sessions on GnuTLS: suites, ALPN, certificate checks.
 *
 * Suites: AES-128-GCM first and the server's order wins, because published clients put AES-256
 * first and the fast path is half as wide there. X25519 first; one key share is offered.
 *
 * ALPN is the rule of docs/spec/wire.md 1: no list is fine (published clients send none), a list
 * with our id selects it, a list without it fails the handshake. GnuTLS does the first two when its
 * list is not mandatory, and would let the third pass, so a hook looks at the ClientHello.
 *
 * A session lives only as long as the handshake needs it. There are no tickets and nothing else
 * after the handshake, so a server frees it when the client's Finished came, a client when the
 * handshake is confirmed; that is more than half of what a connection would hold otherwise.
 */
#include "common/alloc.h"
#include "common/error.h"
#include "transport/quic_int.h"

#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdio.h>
#include <string.h>

#define PRIORITY                                                                                   \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"      \
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%DISABLE_TLS13_COMPAT_MODE:"       \
    "%SERVER_PRECEDENCE"
#define EXTENSION_ALPN 16

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static gnutls_priority_t priority; /* shared by all sessions, never changes */
static int init_result;

static void init(void)
{
    init_result = gnutls_global_init();
    if (init_result >= 0)
        init_result = gnutls_priority_init(&priority, PRIORITY, NULL);
}

flx_status flx_tls_init(flx_error *reterr)
{
    (void)pthread_once(&init_once, init);
    if (init_result < 0)
        return flx_fail(reterr, FLX_ERR_INTERNAL, "start GnuTLS: %s", gnutls_strerror(init_result));
    return FLX_OK;
}

static flx_quic_conn *conn_of(gnutls_session_t session)
{
    const ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
    return ref->user_data;
}

/* --- ALPN, server side ---------------------------------------------------------------------- */

static int note_alpn(void *arg, unsigned type, const unsigned char *data, unsigned len)
{
    (void)data;
    (void)len;
    if (type == EXTENSION_ALPN)
        *(bool *)arg = true;
    return 0;
}

static int on_client_hello(gnutls_session_t session, unsigned type, unsigned when,
                           unsigned incoming, const gnutls_datum_t *message)
{
    (void)type;
    (void)when;
    (void)incoming;
    bool offered = false;
    gnutls_datum_t selected;
    if (gnutls_alpn_get_selected_protocol(session, &selected) == 0)
        return 0;
    const int rv =
        gnutls_ext_raw_parse(&offered, note_alpn, message, GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
    if (rv < 0)
        return rv;
    if (offered || conn_of(session)->endpoint->options.alpn_required)
        return GNUTLS_E_NO_APPLICATION_PROTOCOL;
    return 0;
}

/* --- certificates --------------------------------------------------------------------------- */

static void note_reason(flx_quic_conn *conn, const char *text)
{
    flx_free(conn->tls_reason);
    conn->tls_reason = flx_strdup(text); /* without memory the alert's name must do */
}

/* Whether the leaf names `name` in a subject alternative name. The common name is not looked at. */
static bool leaf_has_name(gnutls_x509_crt_t leaf, const char *name)
{
    uint8_t ip[16];
    if (inet_pton(AF_INET, name, ip) == 1)
        return gnutls_x509_crt_check_ip(leaf, ip, 4, 0) != 0;
    if (inet_pton(AF_INET6, name, ip) == 1)
        return gnutls_x509_crt_check_ip(leaf, ip, 16, 0) != 0;

    bool has_dns = false;
    for (unsigned i = 0;; i++) {
        char buffer[256];
        size_t len = sizeof buffer;
        unsigned type = 0;
        const int rv = gnutls_x509_crt_get_subject_alt_name2(leaf, i, buffer, &len, &type, NULL);
        if (rv < 0 && rv != GNUTLS_E_SHORT_MEMORY_BUFFER)
            break;
        has_dns = has_dns || type == GNUTLS_SAN_DNSNAME;
    }
    return has_dns && gnutls_x509_crt_check_hostname(leaf, name) != 0;
}

static bool check_name(gnutls_session_t session, const char *name)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t leaf;
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(&leaf) < 0)
        return false;
    const bool good = gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) >= 0 &&
                      leaf_has_name(leaf, name);
    gnutls_x509_crt_deinit(leaf);
    return good;
}

static int refuse_certificate(gnutls_session_t session, unsigned status)
{
    gnutls_datum_t text;
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) >= 0) {
        note_reason(conn_of(session), (const char *)text.data);
        gnutls_free(text.data);
    }
    return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

static int on_verify(gnutls_session_t session)
{
    flx_quic_conn *conn = conn_of(session);
    char purpose[] = GNUTLS_KP_TLS_WWW_SERVER;
    char client_purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st data = {.type = GNUTLS_DT_KEY_PURPOSE_OID};
    data.data = (unsigned char *)(conn->server ? client_purpose : purpose);
    unsigned status = 0;
    const int rv = gnutls_certificate_verify_peers(session, &data, 1, &status);
    if (rv < 0) {
        note_reason(conn, gnutls_strerror(rv));
        return rv;
    }
    if (status != 0)
        return refuse_certificate(session, status);
    if (!conn->server && !check_name(session, conn->server_name)) {
        char text[128];
        (void)snprintf(text, sizeof text, "The certificate does not name '%s'.", conn->server_name);
        note_reason(conn, text);
        return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
    }
    return 0;
}

/* --- sessions ------------------------------------------------------------------------------- */

#if !defined(FLX_DEBUG)
/* GnuTLS writes SSLKEYLOGFILE by itself unless a session has its own function. */
static int keep_keys(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    (void)session;
    (void)label;
    (void)secret;
    return 0;
}
#endif

static bool is_ip(const char *name)
{
    uint8_t ip[16];
    return inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
}

static bool set_alpn(gnutls_session_t session, const char *alpn)
{
    const size_t len = strlen(alpn);
    unsigned char copy[256];
    FLX_ASSERT(len > 0 && len < sizeof copy);
    memcpy(copy, alpn, len + 1);
    const gnutls_datum_t id = {copy, (unsigned)len}; /* GnuTLS copies */
    return gnutls_alpn_set_protocols(session, &id, 1, 0) >= 0;
}

static bool start_server(flx_quic_conn *conn)
{
    gnutls_session_t session = conn->tls;
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_POST,
                                       on_client_hello);
    gnutls_certificate_server_set_request(
        session, flx_credentials_client_required(conn->endpoint->credentials) ? GNUTLS_CERT_REQUIRE
                                                                              : GNUTLS_CERT_IGNORE);
    return set_alpn(session, conn->endpoint->options.alpn) &&
           ngtcp2_crypto_gnutls_configure_server_session(session) == 0;
}

static bool start_client(flx_quic_conn *conn, const char *server_name, const char *alpn)
{
    gnutls_session_t session = conn->tls;
    if (!is_ip(server_name) &&
        gnutls_server_name_set(session, GNUTLS_NAME_DNS, server_name, strlen(server_name)) < 0)
        return false;
    if (alpn != NULL && !set_alpn(session, alpn))
        return false;
    return ngtcp2_crypto_gnutls_configure_client_session(session) == 0;
}

bool flx_tls_start(flx_quic_conn *conn, const char *server_name, const char *alpn)
{
    const unsigned flags = (conn->server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
                           GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_TICKETS |
                           GNUTLS_NO_END_OF_EARLY_DATA | GNUTLS_KEY_SHARE_TOP | GNUTLS_NO_SIGNAL;
    if (gnutls_init(&conn->tls, flags) < 0) {
        conn->tls = NULL;
        return false;
    }
    gnutls_session_t session = conn->tls;
    conn->credentials = flx_credentials_current(conn->endpoint->credentials);
    gnutls_session_set_ptr(session, &conn->ref);
    gnutls_handshake_set_timeout(session, 0); /* QUIC has its own */
#if !defined(FLX_DEBUG)
    gnutls_session_set_keylog_function(session, keep_keys);
#endif
    gnutls_session_set_verify_function(session, on_verify);
    if (gnutls_priority_set(session, priority) < 0 ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE,
                               flx_credential_set_gnutls(conn->credentials)) < 0)
        return false;
    if (!(conn->server ? start_server(conn) : start_client(conn, server_name, alpn)))
        return false;
    gnutls_handshake_set_secret_function(session, flx_aead_install_secret); /* README rule 9 */
    ngtcp2_conn_set_tls_native_handle(conn->qc, session);
    return true;
}

void flx_tls_release(flx_quic_conn *conn)
{
    if (conn->tls != NULL)
        gnutls_deinit(conn->tls);
    conn->tls = NULL;
    conn->credentials = flx_credential_set_unref(conn->credentials);
    flx_free(conn->server_name);
    conn->server_name = NULL;
    if (conn->qc != NULL)
        ngtcp2_conn_set_tls_native_handle(conn->qc, NULL);
}

void flx_tls_alert_text(uint8_t alert, char *text, size_t cap)
{
    const char *name = gnutls_alert_get_name((gnutls_alert_description_t)alert);
    (void)snprintf(text, cap, "TLS alert %u: %s", alert, name != NULL ? name : "unknown");
}
