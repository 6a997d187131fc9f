/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/node.c - the parts of a node, started in the order they need each other and ended in reverse.
 *
 *     identity ── credentials ──┐
 *         └───── keys ──────────┼─► workers ─► UDP
 *     store ── catalog ─────────┘
 *       └───── API (HTTPS)             health (HTTP) sees all of them
 *
 * A change in the store makes a new catalog snapshot, which every worker takes over whole. The
 * calling thread keeps signals, certificate folders and the log's counts; it never touches data.
 */
#include "authz/issuer.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/loop.h"
#include "common/signals.h"
#include "common/slice.h"
#include "common/sockaddr.h"
#include "node/certificate_watch.h"
#include "node/node_int.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOUSEKEEPING_NS   FLX_NS_PER_S
#define HTTP_GRACE_MS     1000
#define CA_FILE_BYTES_MAX (64U << 10)

/* ---- the catalog ------------------------------------------------------------------------------ */

/* On the thread that made the change; workers learn of it before the change is answered. */
/* Waits until all workers have it: who hears that a stream was created may publish to it at once, through
 * any of them. */
static void on_catalog_changed(void *arg, uint64_t version)
{
    flx_node *node = arg;
    flx_catalog *catalog = NULL;
    flx_error error;
    if (flx_catalog_store_snapshot(node->store, &catalog, &error) != FLX_OK) {
        FLX_LOG(node->options.log, FLX_LOG_ERROR, "catalog.snapshot_failed",
                "workers keep the catalog they have", flx_kv_err(&error));
        return;
    }
    for (uint32_t i = 0; i < node->workers_made; i++) {
        flx_worker_thread_set_catalog(node->workers[i], catalog);
    }
    for (uint32_t i = 0; i < node->workers_made; i++) {
        flx_worker_thread_await_catalog(node->workers[i], version);
    }
    catalog = flx_catalog_unref(catalog);
}

/* The tenant, namespace and cache that a development node has from the start. */
static flx_status seed_catalog(flx_node *node, flx_error *reterr)
{
    flx_entry entries[3];
    memset(entries, 0, sizeof entries);
    entries[0].kind = FLX_KIND_TENANT;
    (void)strcpy(entries[0].tenant.tenant, FLX_DEV_TENANT);
    (void)strcpy(entries[0].tenant.display_name, FLX_DEV_TENANT);
    entries[1].kind = FLX_KIND_NAMESPACE;
    (void)strcpy(entries[1].namespace_.tenant, FLX_DEV_TENANT);
    (void)strcpy(entries[1].namespace_.namespace_, FLX_DEV_NAMESPACE);
    (void)strcpy(entries[1].namespace_.display_name, FLX_DEV_NAMESPACE);
    entries[2].kind = FLX_KIND_CACHE;
    flx_cache_info_init(&entries[2].cache, FLX_DEV_TENANT, FLX_DEV_NAMESPACE, FLX_DEV_CACHE);
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        const flx_status status =
            flx_catalog_store_create(node->store, &entries[i], 1, NULL, reterr);
        if (status != FLX_OK && status != FLX_ERR_CONFLICT) { /* changed by its owner since */
            return status;
        }
    }
    return FLX_OK;
}

static flx_status open_store(flx_node *node, flx_error *reterr)
{
    const flx_config *config = flx_node_config(node);
    const flx_catalog_store_options options = {
        .directory = config->data_dir,
        .abilities = {.durable = true},
        .changed = on_catalog_changed,
        .arg = node,
    };
    flx_status status = flx_catalog_store_open(&options, &node->store, reterr);
    if (status == FLX_OK && node->options.embedded) {
        status = seed_catalog(node, reterr);
    }
    return status;
}

/* ---- identity, certificates, keys ------------------------------------------------------------- */

flx_status flx_node_check(const flx_config *config, bool embedded, flx_error *reterr)
{
    if (config->data_dir[0] == '\0') {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "data_dir is not set; the catalog needs a directory: --data-dir DIR");
    }
    if (!embedded && config->jwks_file[0] == '\0') {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "jwks_file is not set; without it no token can be checked");
    }
    if (!embedded && config->tls_cert[0] == '\0') {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "tls_cert and tls_key are not set; there is no mode without TLS");
    }
    return FLX_OK;
}

static flx_status open_identity(flx_node *node, flx_error *reterr)
{
    const flx_config *config = flx_node_config(node);
    const bool embedded = node->options.embedded;
    const flx_status status = flx_node_check(config, embedded, reterr);
    return status != FLX_OK
               ? status
               : flx_identity_open(config->data_dir, embedded, NULL, flx_clock_wall_us() / 1000000,
                                   &node->identity, reterr);
}

/* The CA for clients that do not look into the data directory. */
static flx_status export_ca(const flx_node *node, flx_error *reterr)
{
    const char *path = flx_node_config(node)->tls_cert_export;
    if (path[0] == '\0') {
        return FLX_OK;
    }
    if (!node->options.embedded) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "tls_cert_export is for a node that makes its own certificate");
    }
    flx_buffer text;
    flx_buffer_init(&text, CA_FILE_BYTES_MAX);
    flx_status status = flx_file_read(node->identity.ca_file, &text, reterr);
    if (status == FLX_OK) {
        status = flx_file_write_atomic(path, flx_buffer_slice(&text), 0644, reterr);
    }
    flx_buffer_done(&text);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "tls_cert_export '%s'", path);
    }
    return status;
}

static flx_status open_credentials(flx_node *node, flx_error *reterr)
{
    const flx_config *config = flx_node_config(node);
    const flx_credentials_options options = {
        .certificate_file = flx_node_certificate_file(node),
        .key_file = flx_node_key_file(node),
        .ca_file = config->tls_client_ca[0] != '\0' ? config->tls_client_ca : NULL,
        .client_certificate_required = config->tls_require_client_cert,
    };
    flx_status status = flx_credentials_new(true, &options, &node->credentials, reterr);
    if (status == FLX_OK) {
        atomic_store(&node->disk_not_after_s, flx_credentials_not_after(node->credentials));
        status = export_ca(node, reterr);
    }
    if (status == FLX_OK) {
        status = flx_node_load_keys(node, &node->keys, reterr);
    }
    return status;
}

/* ---- workers ---------------------------------------------------------------------------------- */

static void unmake_workers(flx_node *node)
{
    for (uint32_t i = 0; i < node->workers_made; i++) {
        flx_worker_thread_stop(node->workers[i]); /* all of them, before any mailbox goes */
    }
    for (uint32_t i = 0; i < node->workers_made; i++) {
        node->workers[i] = flx_worker_thread_free(node->workers[i]);
    }
    node->workers_made = 0;
}

/* Makes the workers on one address; port 0 becomes the one the first of them got. On failure none
 * is left. */
static flx_status bind_workers(flx_node *node, const flx_worker_thread_options *common,
                               bool any_port, flx_error *reterr)
{
    const char *text = flx_node_config(node)->quic_bind;
    flx_worker_thread_options options = *common;
    struct sockaddr_storage address;
    flx_status status =
        flx_settings_address(text, any_port, &address, &options.address_len, reterr);
    options.address = (const struct sockaddr *)&address;
    for (uint32_t i = 0; status == FLX_OK && i < node->worker_count; i++) {
        options.index = i;
        options.cpu = flx_settings_cpu(flx_node_config(node), i);
        options.seed = common->seed + i;
        status = flx_worker_thread_new(&options, &node->workers[i], reterr);
        if (status == FLX_OK) {
            node->workers_made++;
            flx_worker_thread_address(node->workers[0], &address, &options.address_len);
        }
    }
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "listen on %s", text);
        unmake_workers(node);
        return status;
    }
    flx_settings_address_text(&address, node->quic_address, sizeof node->quic_address);
    return FLX_OK;
}

static flx_status make_workers(flx_node *node, flx_error *reterr)
{
    const flx_config *config = flx_node_config(node);
    flx_quic_options quic;
    flx_worker_limits limits;
    flx_settings_quic(config, &quic);
    flx_settings_limits(config, &limits);
    node->worker_count = flx_settings_workers(config);
    node->workers = flx_calloc(node->worker_count, sizeof(flx_worker_thread *));
    if (node->workers == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "start the workers: out of memory");
    }
    flx_status status = flx_seats_new(&node->seats, reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_worker_thread_options options = {
        .count = node->worker_count,
        .busy_poll_us = config->busy_poll_us,
        .adaptive_poll = config->adaptive_poll,
        .credentials = node->credentials,
        .issuer = FLX_TOKEN_ISSUER,
        .audience = FLX_TOKEN_AUDIENCE_BROKER,
        .keys = node->keys,
        .limits = &limits,
        .logs = node->logs,
        .without_uring = !config->log_io_uring,
        .io_threads = config->log_io_threads,
        .log_news = flx_node_log_news,
        .log_news_arg = node,
        .seats = node->seats,
        .peers = node->workers,
    };
    status = flx_random(&options.seed, sizeof options.seed, reterr);
    if (status == FLX_OK) {
        status = flx_quic_group_new(node->worker_count, node->identity.transport_secret.bytes,
                                    &quic, &node->group, reterr);
    }
    if (status == FLX_OK) {
        status = flx_catalog_store_snapshot(node->store, &options.catalog, reterr);
    }
    options.group = node->group;
    if (status == FLX_OK) {
        status = bind_workers(node, &options, false, reterr);
        if (status == FLX_ERR_CONFLICT && config->ephemeral_ports) {
            status = bind_workers(node, &options, true, reterr);
        }
    }
    options.catalog = flx_catalog_unref(options.catalog);
    for (uint32_t i = 0; status == FLX_OK && i < node->worker_count; i++) {
        status = flx_worker_thread_start(node->workers[i], reterr);
    }
    return status;
}

/* ---- HTTP ------------------------------------------------------------------------------------- */

static flx_status give_jwks(void *arg, const char *tenant, char **ret_json, flx_error *reterr)
{
    const flx_node *node = arg;
    flx_catalog *catalog = NULL;
    flx_status status = flx_catalog_store_snapshot(node->store, &catalog, reterr);
    if (status != FLX_OK) {
        return status;
    }
    const flx_slice name = flx_slice_of(tenant);
    const bool known = flx_catalog_has_namespace(catalog, name, (flx_slice){NULL, 0});
    catalog = flx_catalog_unref(catalog);
    const char *text = atomic_load(&node->jwks_text);
    if (!known || text == NULL) {
        return flx_fail(reterr, FLX_ERR_NOT_FOUND, "no tenant '%s'", tenant);
    }
    *ret_json = flx_strdup(text);
    return *ret_json != NULL ? FLX_OK : flx_fail(reterr, FLX_ERR_NOMEM, "out of memory");
}

static void stop_long_polls(void *arg)
{
    flx_api_stopping(arg);
}

/* Starts a listener on host:port and writes down where it is. */
static flx_status start_http_at(const char *bind_text, bool any_port,
                                flx_http_server_options *options, char *ret_address, size_t cap,
                                flx_http_server **ret_server, flx_error *reterr)
{
    struct sockaddr_storage address;
    socklen_t address_len = 0;
    flx_status status = flx_settings_address(bind_text, any_port, &address, &address_len, reterr);
    if (status != FLX_OK) {
        return status;
    }
    char host[FLX_SOCKADDR_HOST_MAX];
    flx_sockaddr_host((const struct sockaddr *)&address, host);
    options->address = host;
    options->port = flx_sockaddr_port((const struct sockaddr *)&address);
    status = flx_http_server_start(options, ret_server, reterr);
    if (status == FLX_OK) {
        flx_sockaddr_set_port(&address, flx_http_server_port(*ret_server));
        flx_settings_address_text(&address, ret_address, cap);
    }
    return status;
}

/* The same; a busy port is taken from the system where the configuration allows it. */
static flx_status start_http(const flx_node *node, const char *bind_text,
                             flx_http_server_options *options, char *ret_address, size_t cap,
                             flx_http_server **ret_server, flx_error *reterr)
{
    flx_status status =
        start_http_at(bind_text, false, options, ret_address, cap, ret_server, reterr);
    if (status == FLX_ERR_CONFLICT && flx_node_config(node)->ephemeral_ports) {
        status = start_http_at(bind_text, true, options, ret_address, cap, ret_server, reterr);
    }
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "listen on %s", bind_text);
    }
    return status;
}

static flx_status start_api(flx_node *node, flx_error *reterr)
{
    const flx_config *config = flx_node_config(node);
    const flx_api_options options = {
        .store = node->store,
        .keyset = node->keys,
        .region_id = config->region_id,
        .live = node->health.live,
        .ready = node->health.ready,
        .jwks = give_jwks,
        .logs = flx_node_log_figures,
        .arg = node,
    };
    flx_status status = flx_api_new(&options, &node->api, reterr);
    if (status != FLX_OK) {
        return status;
    }
    const flx_http_table table = flx_api_table(node->api);
    flx_http_server_options server = {
        .certificate_file = flx_node_certificate_file(node),
        .key_file = flx_node_key_file(node),
        .tables = &table,
        .table_count = 1,
        .stopping = stop_long_polls,
        .arg = node->api,
    };
    return start_http(node, config->controlplane_bind, &server, node->api_address,
                      sizeof node->api_address, &node->api_server, reterr);
}

static flx_status start_health(flx_node *node, flx_error *reterr)
{
    const flx_http_table table = flx_health_table(&node->health);
    flx_http_server_options server = {.tables = &table, .table_count = 1};
    return start_http(node, flx_node_config(node)->metrics_bind, &server, node->health_address,
                      sizeof node->health_address, &node->health_server, reterr);
}

/* ---- life ------------------------------------------------------------------------------------- */

flx_status flx_node_start(const flx_node_options *options, flx_node **ret_node, flx_error *reterr)
{
    flx_node *node = flx_calloc(1, sizeof *node);
    if (node == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "start the node: out of memory");
    }
    flx_signals_block(NULL);
    node->options = *options;
    node->identity.lock_fd = -1;
    node->started_wall_s = flx_clock_wall_us() / 1000000;
    flx_node_probes(node, &node->health);
    static flx_status (*const steps[])(flx_node *, flx_error *) = {
        open_identity, open_credentials, open_store,   flx_node_open_logs,
        make_workers,  start_api,        start_health,
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const flx_status status = steps[i](node, reterr);
        if (status != FLX_OK) {
            (void)flx_node_free(node);
            return status;
        }
    }
    atomic_store(&node->started, true);
    char host[HOST_NAME_MAX + 1] = "";
    (void)gethostname(host, sizeof host - 1);
    const char *node_id = flx_node_config(node)->node_id;
    FLX_LOG(options->log, FLX_LOG_INFO, "node.started", "the node serves",
            flx_kv_str("node", node_id[0] != '\0' ? node_id : host),
            flx_kv_str("quic", node->quic_address), flx_kv_str("api", node->api_address),
            flx_kv_str("health", node->health_address), flx_kv_u64("workers", node->worker_count));
    *ret_node = node;
    return FLX_OK;
}

void flx_node_facts_get(const flx_node *node, flx_node_facts *ret_facts)
{
    const bool embedded = node->options.embedded;
    const bool own_certificate = embedded && flx_node_config(node)->tls_cert[0] == '\0';
    *ret_facts = (flx_node_facts){
        .ca_file = own_certificate ? node->identity.ca_file : NULL,
        .token_file = embedded ? node->identity.dev_token_file : NULL,
        .admin_token_file = embedded ? node->identity.admin_token_file : NULL,
        .data_dir = flx_node_config(node)->data_dir,
        .tenant = embedded ? FLX_DEV_TENANT : NULL,
        .namespace_ = FLX_DEV_NAMESPACE,
        .workers = node->worker_count,
    };
    memcpy(ret_facts->quic_address, node->quic_address, sizeof ret_facts->quic_address);
    memcpy(ret_facts->api_address, node->api_address, sizeof ret_facts->api_address);
    memcpy(ret_facts->health_address, node->health_address, sizeof ret_facts->health_address);
}

flx_node *flx_node_free(flx_node *node)
{
    if (node == NULL) {
        return NULL;
    }
    atomic_store(&node->draining, true);
    node->health_server = flx_http_server_stop(node->health_server, HTTP_GRACE_MS);
    node->api_server = flx_http_server_stop(node->api_server, HTTP_GRACE_MS);
    node->api = flx_api_free(node->api);
    unmake_workers(node);
    flx_free(node->workers);
    node->group = flx_quic_group_free(node->group);
    flx_node_close_logs(node);
    node->seats = flx_seats_free(node->seats);
    node->store = flx_catalog_store_close(node->store);
    node->credentials = flx_credentials_free(node->credentials);
    node->keys = flx_keyset_unref(node->keys);
    flx_free(atomic_load(&node->jwks_text));
    flx_identity_close(&node->identity);
    node->reloaded = flx_config_set_free(node->reloaded);
    flx_free(node);
    return NULL;
}

/* ---- the thread that watches ------------------------------------------------------------------ */

typedef struct node_watcher {
    flx_node *node;
    flx_loop *loop;
    flx_signals signals;
    flx_certificate_watch certificates;
    flx_timer housekeeping;
    int stop_signals; /* SIGTERM and SIGINT so far */
} node_watcher;

static void on_signal(void *arg, int number)
{
    node_watcher *watcher = arg;
    if (number == SIGHUP) {
        flx_node_reload(watcher->node);
    } else if (number == SIGTERM || number == SIGINT) {
        watcher->stop_signals++;
        flx_loop_stop(watcher->loop);
    }
}

static void on_certificates_changed(void *arg)
{
    (void)flx_node_reload_certificates(arg, "changed on disk");
}

static void on_housekeeping(void *arg, uint64_t now_ns)
{
    node_watcher *watcher = arg;
    flx_log_tick(watcher->node->options.log);
    (void)flx_loop_timer_set(watcher->loop, &watcher->housekeeping, now_ns + HOUSEKEEPING_NS);
}

/* While the node drains, the loop is turned now and then, and a second signal is seen. */
static bool second_signal(void *arg)
{
    node_watcher *watcher = arg;
    (void)flx_loop_step(watcher->loop, 0, NULL);
    return watcher->stop_signals > 1;
}

flx_status flx_node_run(flx_node *node, flx_error *reterr)
{
    node_watcher watcher = {.node = node};
    flx_status status = flx_loop_new(NULL, &watcher.loop, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = flx_signals_start(&watcher.signals, watcher.loop, on_signal, &watcher, reterr);
    if (status != FLX_OK) {
        goto free_loop;
    }
    const char *const files[] = {
        flx_node_certificate_file(node),
        flx_node_key_file(node),
        flx_node_config(node)->tls_client_ca,
    };
    status = flx_certificate_watch_start(&watcher.certificates, watcher.loop, files,
                                         sizeof files / sizeof files[0], on_certificates_changed,
                                         node, reterr);
    if (status != FLX_OK) {
        goto stop_signals;
    }
    watcher.housekeeping = (flx_timer){.fire = on_housekeeping, .arg = &watcher};
    on_housekeeping(&watcher, flx_loop_now_ns(watcher.loop));
    status = flx_loop_run(watcher.loop, reterr);
    if (status == FLX_OK) {
        flx_node_drain(node, second_signal, &watcher);
    }
    flx_loop_timer_cancel(watcher.loop, &watcher.housekeeping);
    flx_certificate_watch_stop(&watcher.certificates);

stop_signals:
    flx_signals_stop(&watcher.signals);
free_loop:
    watcher.loop = flx_loop_free(watcher.loop);
    return status;
}
