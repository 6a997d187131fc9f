/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/reload.c - new certificates, keys and settings into a running node, disconnecting nobody.
 *
 * What is wrong keeps the old in place and says so; a half of a certificate and key pair that was
 * replaced in two steps is simply tried again at the next change.
 */
#include "authz/token.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/slice.h"
#include "crypto/jwks.h"
#include "crypto/pki.h"
#include "node/node_int.h"

#include <string.h>

#define JWKS_FILE_BYTES_MAX (64U << 10)

const char *flx_node_certificate_file(const flx_node *node)
{
    const char *configured = flx_node_config(node)->tls_cert;
    return configured[0] != '\0' ? configured : node->identity.cert_file;
}

const char *flx_node_key_file(const flx_node *node)
{
    const char *configured = flx_node_config(node)->tls_key;
    return configured[0] != '\0' ? configured : node->identity.key_file;
}

static flx_status keys_of_issuer(flx_node *node, flx_keyset **ret_keys, flx_error *reterr)
{
    /* The issuer's key is the same as long as the node runs: never replaced under a reader. */
    char *json = atomic_load(&node->jwks_text);
    if (json == NULL) {
        flx_public_key *key = flx_signing_key_public(node->identity.issuer);
        const flx_status status = flx_jwks_encode(&key, 1, &json, reterr);
        if (status != FLX_OK) {
            return status;
        }
        atomic_store(&node->jwks_text, json);
    }
    const flx_slice text = flx_slice_of(json);
    return flx_keyset_parse_jwks(NULL, text, ret_keys, reterr);
}

flx_status flx_node_load_keys(flx_node *node, flx_keyset **ret_keys, flx_error *reterr)
{
    const char *path = flx_node_config(node)->jwks_file;
    if (path[0] == '\0') {
        return keys_of_issuer(node, ret_keys, reterr);
    }
    flx_buffer text;
    flx_buffer_init(&text, JWKS_FILE_BYTES_MAX);
    flx_status status = flx_file_read(path, &text, reterr);
    if (status == FLX_OK) {
        status = flx_keyset_parse_jwks(NULL, flx_buffer_slice(&text), ret_keys, reterr);
    }
    flx_buffer_done(&text);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "jwks_file '%s'", path);
    }
    return status;
}

/* The development certificate is made again when it is gone or near its end. */
static flx_status renew_own_certificate(flx_node *node, flx_error *reterr)
{
    if (!node->options.embedded || flx_node_config(node)->tls_cert[0] != '\0') {
        return FLX_OK;
    }
    char dir[PATH_MAX];
    (void)memcpy(dir, node->identity.ca_file, sizeof dir);
    char *slash = strrchr(dir, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    flx_pki_result made;
    const flx_pki_options pki = {.names = NULL, .name_count = 0};
    return flx_pki_ensure(dir, &pki, flx_clock_wall_us() / 1000000, &made, reterr);
}

bool flx_node_reload_certificates(flx_node *node, const char *cause)
{
    flx_error error = {0};
    bool changed = false;
    flx_status status = renew_own_certificate(node, &error);
    if (status == FLX_OK) {
        status = flx_credentials_reload(node->credentials, &changed, &error);
    }
    if (status == FLX_OK && node->api_server != NULL) {
        bool api_changed = false;
        status = flx_http_server_reload(node->api_server, &api_changed, &error);
    }
    /* What is on disk and could not be taken over is another one than what is served. */
    atomic_store(&node->disk_not_after_s,
                 status == FLX_OK ? flx_credentials_not_after(node->credentials) : 0);
    if (status != FLX_OK) {
        atomic_store(&node->disk_not_after_s, 0); /* what lies on the disk is not what is served */
        (void)atomic_fetch_add(&node->reload_failures, 1);
        FLX_LOG(node->options.log, FLX_LOG_ERROR, "certificate.reload_failed",
                "certificate not reloaded, the old one is served", flx_kv_str("cause", cause),
                flx_kv_err(&error));
        return false;
    }
    atomic_store(&node->disk_not_after_s, flx_credentials_not_after(node->credentials));
    if (changed) {
        FLX_LOG(node->options.log, FLX_LOG_INFO, "certificate.reloaded",
                "new handshakes get the new certificate", flx_kv_str("cause", cause),
                flx_kv_i64("not_after", flx_credentials_not_after(node->credentials)));
    }
    return true;
}

static bool reload_keys(flx_node *node)
{
    flx_error error = {0};
    flx_keyset *keys = NULL;
    if (flx_node_load_keys(node, &keys, &error) != FLX_OK) {
        (void)atomic_fetch_add(&node->reload_failures, 1);
        FLX_LOG(node->options.log, FLX_LOG_ERROR, "keys.reload_failed",
                "token keys not reloaded, the old ones count", flx_kv_err(&error));
        return false;
    }
    for (uint32_t i = 0; i < node->worker_count; i++) {
        flx_worker_thread_set_keys(node->workers[i], keys);
    }
    flx_api_set_keys(node->api, keys);
    node->keys = flx_keyset_unref(node->keys);
    node->keys = keys;
    return true;
}

static void report_change(void *arg, const flx_config_key *key, const char *from, const char *to)
{
    const flx_node *node = arg;
    FLX_LOG(node->options.log, FLX_LOG_INFO, "config.changed",
            key->live ? "a key has a new value" : "a key has a new value that needs a restart",
            flx_kv_str("key", key->name), flx_kv_str("from", from), flx_kv_str("to", to));
}

void flx_node_reload(flx_node *node)
{
    flx_error error = {0};
    flx_config_set *set = NULL;
    if (node->options.reload != NULL) {
        if (node->options.reload(node->options.reload_arg, &set, &error) != FLX_OK) {
            (void)atomic_fetch_add(&node->reload_failures, 1);
            FLX_LOG(node->options.log, FLX_LOG_ERROR, "config.reload_failed",
                    "configuration not reloaded, the old one counts", flx_kv_err(&error));
            return;
        }
        const flx_config_set *running =
            node->reloaded != NULL ? node->reloaded : node->options.config;
        const size_t restart = flx_config_diff(running, set, report_change, node);
        if (restart > 0) {
            FLX_LOG(node->options.log, FLX_LOG_WARN, "config.restart_needed",
                    "some changes apply at the next start", flx_kv_u64("keys", restart));
        }
        node->reloaded = flx_config_set_free(node->reloaded);
        node->reloaded = set;
        flx_log_set_level(node->options.log, (flx_log_level)flx_config_values(set)->log_level);
    }
    const bool has_keys = reload_keys(node);
    if (flx_node_reload_certificates(node, "SIGHUP") && has_keys) {
        (void)atomic_fetch_add(&node->reloads, 1);
        FLX_LOG(node->options.log, FLX_LOG_INFO, "node.reloaded",
                "configuration, token keys and certificates were read again");
    }
}
