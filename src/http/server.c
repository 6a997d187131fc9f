/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/server.c - libmicrohttpd behind route tables, with the limits it lacks: starting, reloading,
 * stopping.
 *
 * libmicrohttpd reads its certificate once. A reload therefore starts a second daemon on the same
 * listening socket and tells the first to accept no more: its connections live on with the old
 * certificate and it is put away when the last has gone (or when too many wait).
 */
#include "http/server.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/sockaddr.h"
#include "http/server_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_BYTES_MAX   (32 * 1024)
#define THREAD_STACK_BYTES (1024 * 1024)
#define CONNECTIONS_LIMIT  4096
/* TLS 1.3 and nothing else. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3"

static flx_status open_listener(flx_http_server *server, const char *address, uint16_t port,
                                flx_error *reterr)
{
    struct sockaddr_storage where = {0};
    socklen_t len = 0;
    if (!flx_sockaddr_parse(address, port, &where, &len)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "listen address '%s': not an IP address", address);
    }
    const int one = 1;
    server->listener = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->listener < 0) {
        return flx_fail_errno(reterr, errno, "listen on %s", address);
    }
    (void)setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server->listener, (struct sockaddr *)&where, len) != 0 ||
        listen(server->listener, SOMAXCONN) != 0) {
        const int code = errno;
        (void)flx_fail_errno(reterr, code, "listen on %s port %u", address, (unsigned)port);
        if (code != EADDRINUSE) {
            return FLX_ERR_IO;
        }
        if (reterr != NULL) {
            reterr->status = FLX_ERR_CONFLICT;
        }
        return FLX_ERR_CONFLICT;
    }
    if (getsockname(server->listener, (struct sockaddr *)&where, &len) != 0) {
        return flx_fail_errno(reterr, errno, "listen on %s", address);
    }
    server->port = flx_sockaddr_port((const struct sockaddr *)&where);
    return FLX_OK;
}

/* A daemon of libmicrohttpd on our listening socket, with the certificate of the moment. */
static flx_status start_daemon(flx_http_server *server, struct MHD_Daemon **ret_daemon,
                               flx_error *reterr)
{
    const int listener = fcntl(server->listener, F_DUPFD_CLOEXEC, 0);
    if (listener < 0) {
        return flx_fail_errno(reterr, errno, "duplicate the listening socket");
    }
    const bool tls = server->pair.certificate.data != NULL;
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, server->pair.certificate.data},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, server->pair.key.data},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem *extra = tls ? tls_options : &tls_options[3];
    /* The watcher is the finer clock; libmicrohttpd's is a second line behind it. */
    *ret_daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC | (tls ? MHD_USE_TLS : 0),
        0, NULL, NULL, flx_http_on_request, server, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_CONNECTION_LIMIT, server->connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        server->per_address_max, MHD_OPTION_CONNECTION_TIMEOUT, server->timeout_s + 1,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES_MAX, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)THREAD_STACK_BYTES, MHD_OPTION_URI_LOG_CALLBACK, flx_http_on_target, server,
        MHD_OPTION_NOTIFY_COMPLETED, flx_http_on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        flx_http_on_connection, server, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, extra,
        MHD_OPTION_END);
    if (*ret_daemon == NULL) {
        (void)close(listener);
        return flx_fail(reterr, FLX_ERR_IO, "listen on port %u: the HTTP server did not start",
                        (unsigned)server->port);
    }
    return FLX_OK;
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value == 0 ? standard : value;
}

static flx_status copy_options(flx_http_server *server, const flx_http_server_options *options,
                               flx_error *reterr)
{
    FLX_ASSERT(options->table_count <= FLX_HTTP_TABLES_MAX);
    FLX_ASSERT(options->connections_max <= CONNECTIONS_LIMIT);
    memcpy(server->tables, options->tables, options->table_count * sizeof options->tables[0]);
    server->table_count = options->table_count;
    server->body_max = options->body_max == 0 ? FLX_HTTP_BODY_MAX : options->body_max;
    server->connections_max = or_default(options->connections_max, FLX_HTTP_CONNECTIONS_MAX);
    server->per_address_max = or_default(options->per_address_max, FLX_HTTP_PER_ADDRESS_MAX);
    server->timeout_s = or_default(options->timeout_s, FLX_HTTP_TIMEOUT_S);
    server->stopping_call = options->stopping;
    server->arg = options->arg;
    if (options->certificate_file == NULL) {
        return FLX_OK;
    }
    if (options->key_file == NULL) {
        return flx_fail(reterr, FLX_ERR_INVALID, "certificate '%s': its key file is not named",
                        options->certificate_file);
    }
    server->certificate_file = flx_strdup(options->certificate_file);
    server->key_file = flx_strdup(options->key_file);
    if (server->certificate_file == NULL || server->key_file == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP server: out of memory");
    }
    return flx_http_pair_load(server->certificate_file, server->key_file, &server->pair, reterr);
}

static void free_server(flx_http_server *server)
{
    if (server->listener >= 0) {
        (void)close(server->listener);
    }
    flx_free(server->certificate_file);
    flx_free(server->key_file);
    flx_http_pair_done(&server->pair);
    (void)pthread_mutex_destroy(&server->lock);
    (void)pthread_cond_destroy(&server->changed);
    flx_free(server);
}

static flx_status make_locks(flx_http_server *server, flx_error *reterr)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    const int cond = pthread_cond_init(&server->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    if (cond != 0) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP server: out of memory");
    }
    if (pthread_mutex_init(&server->lock, NULL) != 0) {
        (void)pthread_cond_destroy(&server->changed);
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP server: out of memory");
    }
    return FLX_OK;
}

flx_status flx_http_server_start(const flx_http_server_options *options,
                                 flx_http_server **ret_server, flx_error *reterr)
{
    flx_http_server *server = flx_calloc(1, sizeof *server);
    if (server == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "HTTP server: out of memory");
    }
    server->listener = -1;
    flx_status status = make_locks(server, reterr);
    if (status != FLX_OK) {
        flx_free(server);
        return status;
    }
    status = copy_options(server, options, reterr);
    if (status == FLX_OK) {
        status = open_listener(server, options->address == NULL ? "127.0.0.1" : options->address,
                               options->port, reterr);
    }
    if (status == FLX_OK && pthread_create(&server->watcher, NULL, flx_http_watch, server) != 0) {
        status = flx_fail(reterr, FLX_ERR_NOMEM, "HTTP server: no thread");
    }
    if (status != FLX_OK) {
        free_server(server);
        return status;
    }
    status = start_daemon(server, &server->daemon, reterr);
    if (status != FLX_OK) {
        (void)flx_http_server_stop(server, 0);
        return status;
    }
    *ret_server = server;
    return FLX_OK;
}

uint16_t flx_http_server_port(const flx_http_server *server)
{
    return server->port;
}

/* ---- reloading and stopping ---- */

/* Accepts no more; the duplicate of the listening socket is ours again. */
static void quiesce(struct MHD_Daemon *daemon)
{
    const MHD_socket listener = MHD_quiesce_daemon(daemon);
    if (listener != MHD_INVALID_SOCKET) {
        (void)close(listener);
    }
}

static bool is_idle(struct MHD_Daemon *daemon)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info != NULL && info->num_connections == 0;
}

/* Puts a daemon aside until its connections end. When too many wait, the oldest is stopped. */
static void retire(flx_http_server *server, struct MHD_Daemon *daemon)
{
    size_t kept = 0;
    for (size_t i = 0; i < server->retired_count; i++) {
        if (is_idle(server->retired[i])) {
            MHD_stop_daemon(server->retired[i]);
        } else {
            server->retired[kept++] = server->retired[i];
        }
    }
    if (kept == FLX_HTTP_RETIRED_MAX) {
        MHD_stop_daemon(server->retired[0]);
        for (size_t i = 1; i < FLX_HTTP_RETIRED_MAX; i++) {
            server->retired[i - 1] = server->retired[i];
        }
        kept--;
    }
    server->retired[kept++] = daemon;
    server->retired_count = kept;
    quiesce(daemon);
}

flx_status flx_http_server_reload(flx_http_server *server, bool *ret_changed, flx_error *reterr)
{
    *ret_changed = false;
    if (server->pair.certificate.data == NULL) {
        return FLX_OK;
    }
    flx_http_pair pair = {0};
    flx_status status =
        flx_http_pair_load(server->certificate_file, server->key_file, &pair, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (flx_http_pair_equal(&pair, &server->pair)) {
        flx_http_pair_done(&pair);
        return FLX_OK;
    }
    flx_http_pair old = server->pair;
    struct MHD_Daemon *fresh = NULL;
    server->pair = pair;
    status = start_daemon(server, &fresh, reterr);
    if (status != FLX_OK) {
        server->pair = old;
        flx_http_pair_done(&pair);
        return status;
    }
    /* libmicrohttpd parsed the old texts when it started; it does not look at them again. */
    flx_http_pair_done(&old);
    retire(server, server->daemon);
    server->daemon = fresh;
    *ret_changed = true;
    return FLX_OK;
}

static void wait_for_requests(flx_http_server *server, uint32_t grace_ms)
{
    const struct timespec until = flx_http_soon(grace_ms);
    int code = 0;
    flx_http_server_lock(server);
    while (code == 0 && server->handling > 0) {
        code = pthread_cond_timedwait(&server->changed, &server->lock, &until);
    }
    flx_http_server_unlock(server);
}

flx_http_server *flx_http_server_stop(flx_http_server *server, uint32_t grace_ms)
{
    if (server == NULL) {
        return NULL;
    }
    if (server->daemon != NULL) {
        quiesce(server->daemon);
    }
    if (server->stopping_call != NULL) {
        server->stopping_call(server->arg);
    }
    wait_for_requests(server, grace_ms);
    if (server->daemon != NULL) {
        MHD_stop_daemon(server->daemon);
    }
    for (size_t i = 0; i < server->retired_count; i++) {
        MHD_stop_daemon(server->retired[i]);
    }
    flx_http_server_lock(server);
    server->stopping = true;
    (void)pthread_cond_broadcast(&server->changed);
    flx_http_server_unlock(server);
    (void)pthread_join(server->watcher, NULL);
    FLX_ASSERT(server->connection_count == 0 && server->handling == 0);
    free_server(server);
    return NULL;
}

void flx_http_server_stats(flx_http_server *server, flx_http_stats *ret_stats)
{
    ret_stats->requests = atomic_load(&server->requests);
    ret_stats->failures = atomic_load(&server->failures);
    ret_stats->too_slow = atomic_load(&server->too_slow);
    flx_http_server_lock(server);
    ret_stats->connections = server->connection_count;
    flx_http_server_unlock(server);
}
