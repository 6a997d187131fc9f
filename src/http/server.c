/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/server.c - libmicrohttpd behind route tables, with the limits it lacks.
 *
 * Certificates. libmicrohttpd reads its certificate once. A reload therefore starts a second daemon
 * on the same listening socket and tells the first to accept no more: its connections live on with
 * the old certificate and it is put away when the last has gone (or when too many wait).
 *
 * Time. libmicrohttpd only notices silence, so a peer that sends a byte every few seconds could
 * hold a connection for days. Every connection therefore has a phase and a time it began, and one
 * thread shuts the sockets of those that stay too long in one:
 *
 *     HEADERS ──first call──► BODY ──complete──► HANDLER ──answered──► SENDING ──► HEADERS ...
 *     timeout                 timeout            none                  6 x timeout
 */
#include "http/server.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_BYTES_MAX   (32 * 1024)
#define THREAD_STACK_BYTES (1024 * 1024)
#define PEM_BYTES_MAX      ((size_t)256 * 1024)
#define RETIRED_MAX        4
#define WATCH_INTERVAL_MS  250
#define SENDING_TIMEOUTS   6 /* an answer may be large and its reader far away */
#define CONNECTIONS_LIMIT  4096
/* TLS 1.3 and nothing else. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3"

typedef enum phase { PHASE_HEADERS, PHASE_BODY, PHASE_HANDLER, PHASE_SENDING } phase;

/* One connection, in the server's list from its start to its close. */
typedef struct connection {
    struct connection *next;
    struct connection *prev;
    uint64_t since_ns; /* begin of the phase */
    int socket;
    phase phase;
    bool ended; /* its socket was shut */
} connection;

struct flx_http_server {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a request ended, or the watcher must look up */
    connection *connections;
    uint32_t connection_count;
    uint32_t handling; /* requests between their headers and their end */
    bool stopping;
    _Atomic uint64_t requests;
    _Atomic uint64_t failures;
    _Atomic uint64_t too_slow;
    struct MHD_Daemon *daemon;
    struct MHD_Daemon *retired[RETIRED_MAX];
    size_t retired_count;
    pthread_t watcher;
    int listener; /* ours; each daemon has a duplicate */
    uint16_t port;
    char *certificate; /* PEM as served, NULL: plain HTTP */
    char *key;
    char *certificate_file;
    char *key_file;
    flx_http_table tables[FLX_HTTP_TABLES_MAX];
    size_t table_count;
    size_t body_max;
    uint32_t connections_max;
    uint32_t per_address_max;
    uint32_t timeout_s;
    void (*stopping_call)(void *arg);
    void *arg;
};

/* One request, from its first line to its end. */
typedef struct exchange {
    flx_http_server *server;
    flx_http_target target;
    flx_error target_error; /* status FLX_OK: the target is good */
    char *body;
    size_t len;
    size_t cap;
    bool begun;     /* the headers are complete */
    bool too_large; /* the body is thrown away; 413 when it ends */
    bool no_memory;
    char peer[INET6_ADDRSTRLEN];
} exchange;

/* ---- connections and their clock ---- */

static void lock(flx_http_server *server)
{
    const int code = pthread_mutex_lock(&server->lock);
    FLX_ASSERT(code == 0);
}

static void unlock(flx_http_server *server)
{
    const int code = pthread_mutex_unlock(&server->lock);
    FLX_ASSERT(code == 0);
}

static connection *connection_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static void add_connection(flx_http_server *server, struct MHD_Connection *conn, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    connection *added = flx_calloc(1, sizeof *added);
    *context = added;
    if (info == NULL || added == NULL) {
        /* A connection we cannot watch is one we cannot bound. */
        if (info != NULL) {
            (void)shutdown(info->connect_fd, SHUT_RDWR);
        }
        flx_free(added);
        *context = NULL;
        return;
    }
    added->socket = info->connect_fd;
    added->since_ns = flx_clock_monotonic_ns();
    lock(server);
    added->next = server->connections;
    if (added->next != NULL) {
        added->next->prev = added;
    }
    server->connections = added;
    server->connection_count++;
    unlock(server);
}

static void remove_connection(flx_http_server *server, connection *removed)
{
    lock(server);
    if (removed->next != NULL) {
        removed->next->prev = removed->prev;
    }
    if (removed->prev != NULL) {
        removed->prev->next = removed->next;
    } else {
        server->connections = removed->next;
    }
    server->connection_count--;
    (void)pthread_cond_broadcast(&server->changed);
    unlock(server);
    flx_free(removed);
}

/* libmicrohttpd says CLOSED before it closes the socket, so a socket in the list is open. */
static void on_connection(void *arg, struct MHD_Connection *conn, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    flx_http_server *server = arg;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        add_connection(server, conn, context);
    } else if (*context != NULL) {
        remove_connection(server, *context);
        *context = NULL;
    }
}

static void move(flx_http_server *server, struct MHD_Connection *conn, phase to)
{
    connection *moved = connection_of(conn);
    if (moved != NULL) {
        lock(server);
        moved->phase = to;
        moved->since_ns = flx_clock_monotonic_ns();
        unlock(server);
    }
}

static void end_slow_ones(flx_http_server *server, uint64_t now_ns)
{
    for (connection *at = server->connections; at != NULL; at = at->next) {
        const uint64_t factor = at->phase == PHASE_SENDING ? SENDING_TIMEOUTS : 1;
        const uint64_t limit_ns = factor * server->timeout_s * FLX_NS_PER_S;
        if (at->phase != PHASE_HANDLER && !at->ended && now_ns - at->since_ns > limit_ns) {
            at->ended = true;
            (void)shutdown(at->socket, SHUT_RDWR);
            atomic_fetch_add(&server->too_slow, 1);
        }
    }
}

static struct timespec soon(uint64_t ms)
{
    const uint64_t at = flx_clock_monotonic_ns() + ms * FLX_NS_PER_MS;
    return (struct timespec){.tv_sec = (time_t)(at / FLX_NS_PER_S),
                             .tv_nsec = (long)(at % FLX_NS_PER_S)};
}

static void *watch(void *arg)
{
    flx_http_server *server = arg;
    lock(server);
    while (!server->stopping) {
        end_slow_ones(server, flx_clock_monotonic_ns());
        const struct timespec until = soon(WATCH_INTERVAL_MS);
        (void)pthread_cond_timedwait(&server->changed, &server->lock, &until);
    }
    unlock(server);
    return NULL;
}

/* ---- one request ---- */

static void *on_target(void *arg, const char *raw, struct MHD_Connection *conn)
{
    (void)conn;
    exchange *ex = flx_calloc(1, sizeof *ex);
    if (ex != NULL) {
        ex->server = arg;
        if (flx_http_target_parse(&ex->target, raw, &ex->target_error) == FLX_OK) {
            ex->target_error.status = FLX_OK;
        }
    }
    return ex;
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **context,
                         enum MHD_RequestTerminationCode why)
{
    (void)why;
    flx_http_server *server = arg;
    exchange *ex = *context;
    *context = NULL;
    if (ex == NULL) {
        return;
    }
    move(server, conn, PHASE_HEADERS);
    if (ex->begun) {
        lock(server);
        server->handling--;
        (void)pthread_cond_broadcast(&server->changed);
        unlock(server);
    }
    flx_free(ex->body);
    flx_free(ex);
}

static const char *request_header(const void *source, const char *name)
{
    return MHD_lookup_connection_value((struct MHD_Connection *)(uintptr_t)source, MHD_HEADER_KIND,
                                       name);
}

/* The peer's id when it is one we would print, otherwise one of our own. */
static void choose_id(flx_http_request *request)
{
    const char *given = request->header(request->source, "X-Request-Id");
    const size_t len = given == NULL ? 0 : strlen(given);
    if (len > 0 && len <= FLX_HTTP_ID_MAX &&
        strspn(given, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len) {
        memcpy(request->id, given, len + 1);
        return;
    }
    uint8_t random[8] = {0};
    (void)gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        (void)snprintf(request->id + 2 * i, 3, "%02x", random[i]);
    }
}

static void find_peer(exchange *ex, struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL) {
        return;
    }
    if (info->client_addr->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, info->client_addr, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, ex->peer, sizeof ex->peer);
    } else if (info->client_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, info->client_addr, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, ex->peer, sizeof ex->peer);
    }
}

static enum MHD_Result send_answer(struct MHD_Connection *conn, flx_http_server *server,
                                   flx_http_response *response)
{
    struct MHD_Response *answer =
        MHD_create_response_from_buffer_with_free_callback(response->len, response->body, flx_free);
    if (answer == NULL) {
        flx_http_response_done(response);
        return MHD_NO; /* closes the connection */
    }
    response->body = NULL; /* the answer's now */
    if (response->content_type != NULL) {
        (void)MHD_add_response_header(answer, "Content-Type", response->content_type);
    }
    (void)MHD_add_response_header(answer, "Cache-Control", "no-store");
    (void)MHD_add_response_header(answer, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(answer, "X-Request-Id", response->request_id);
    for (size_t i = 0; i < response->header_count; i++) {
        (void)MHD_add_response_header(answer, response->headers[i].name,
                                      response->headers[i].value);
    }
    atomic_fetch_add(&server->requests, 1);
    if (response->status >= 500) {
        atomic_fetch_add(&server->failures, 1);
    }
    move(server, conn, PHASE_SENDING);
    const enum MHD_Result result = MHD_queue_response(conn, (unsigned)response->status, answer);
    MHD_destroy_response(answer);
    return result;
}

static void refuse_too_large(const flx_http_server *server, flx_http_response *response)
{
    char message[64];
    (void)snprintf(message, sizeof message, "body: larger than %zu bytes", server->body_max);
    flx_http_reply_error(response, 413, "too_large", message);
}

/* Finds the route and lets it answer. */
static void dispatch(const exchange *ex, flx_http_request *request, flx_http_response *response)
{
    const flx_http_server *server = ex->server;
    const flx_http_route *route = NULL;
    void *arg = NULL;
    char allow[64];
    if (ex->target_error.status != FLX_OK) {
        flx_http_reply_failure(response, &ex->target_error);
        return;
    }
    switch (flx_http_route_find(server->tables, server->table_count, request, &route, &arg, allow,
                                sizeof allow)) {
    case FLX_HTTP_NO_PATH:
        flx_http_reply_error(response, 404, "not_found", "there is no such path");
        return;
    case FLX_HTTP_NO_METHOD:
        (void)flx_http_response_header(response, "Allow", allow);
        flx_http_reply_error(response, 405, "method_not_allowed",
                             "the path does not know this method");
        return;
    case FLX_HTTP_MATCH:
        break;
    }
    if (ex->too_large) {
        refuse_too_large(server, response);
    } else if (ex->no_memory) {
        flx_http_reply_error(response, 503, "unavailable", "out of memory");
    } else {
        route->handle(arg, request, response);
    }
    if (response->status == 0) {
        flx_http_reply_error(response, 500, "internal", "the request was not answered");
    }
}

static enum MHD_Result answer(exchange *ex, struct MHD_Connection *conn, const char *method)
{
    flx_http_server *server = ex->server;
    flx_http_request request = {.method = method,
                                .target = &ex->target,
                                .body = {(const uint8_t *)ex->body, ex->len},
                                .peer = ex->peer,
                                .header = request_header,
                                .source = conn};
    flx_http_response response = {0};
    choose_id(&request);
    find_peer(ex, conn);
    response.request_id = request.id;
    move(server, conn, PHASE_HANDLER);
    dispatch(ex, &request, &response);
    return send_answer(conn, server, &response);
}

/* Keeps a piece of the body, or remembers that it is too much. */
static void take_body(exchange *ex, const char *piece, size_t len)
{
    if (ex->too_large || ex->no_memory || len > ex->server->body_max - ex->len) {
        ex->too_large = !ex->no_memory;
        return;
    }
    if (ex->len + len > ex->cap) {
        size_t cap = ex->cap == 0 ? 4096 : ex->cap;
        while (cap < ex->len + len) {
            cap *= 2;
        }
        char *body = flx_realloc(ex->body, cap);
        if (body == NULL) {
            ex->no_memory = true;
            return;
        }
        ex->body = body;
        ex->cap = cap;
    }
    memcpy(ex->body + ex->len, piece, len);
    ex->len += len;
}

static bool says_too_large(const exchange *ex, struct MHD_Connection *conn)
{
    const char *text = request_header(conn, "Content-Length");
    char *end = NULL;
    if (text == NULL) {
        return false;
    }
    errno = 0;
    const unsigned long long len = strtoull(text, &end, 10);
    return errno != 0 || len > ex->server->body_max;
}

/* libmicrohttpd calls this first when the headers are there, then for each piece of the body, and
 * once more, with nothing, when it is complete. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *piece,
                                  size_t *len, void **context)
{
    (void)arg;
    (void)url; /* decoded by libmicrohttpd; ours is in the exchange */
    (void)version;
    exchange *ex = *context;
    if (ex == NULL) {
        return MHD_NO; /* there was no memory for it */
    }
    if (!ex->begun) {
        ex->begun = true;
        lock(ex->server);
        ex->server->handling++;
        unlock(ex->server);
        move(ex->server, conn, PHASE_BODY);
        if (says_too_large(ex, conn)) {
            ex->too_large = true;
            return answer(ex, conn, method); /* before it is sent */
        }
        return MHD_YES;
    }
    if (*len > 0) {
        take_body(ex, piece, *len);
        *len = 0;
        return MHD_YES;
    }
    return answer(ex, conn, method);
}

/* ---- starting ---- */

static flx_status read_pem(const char *path, char **ret_text, flx_error *reterr)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return flx_fail_errno(reterr, errno, "open '%s'", path);
    }
    char *text = flx_alloc(PEM_BYTES_MAX);
    size_t len = 0;
    ssize_t got = text == NULL ? -1 : 1;
    while (got > 0 && len < PEM_BYTES_MAX - 1) {
        got = read(file, text + len, PEM_BYTES_MAX - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    const int code = errno;
    (void)close(file);
    if (text == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "read '%s': out of memory", path);
    }
    if (got != 0) {
        flx_free(text);
        return got < 0 ? flx_fail_errno(reterr, code, "read '%s'", path)
                       : flx_fail(reterr, FLX_ERR_INVALID, "'%s' is too large", path);
    }
    text[len] = '\0';
    *ret_text = text;
    return FLX_OK;
}

/* Whether the two belong together, asked before libmicrohttpd, which would only say no. */
static flx_status check_pair(const char *certificate, const char *key, const char *path,
                             flx_error *reterr)
{
    gnutls_certificate_credentials_t credentials;
    if (gnutls_certificate_allocate_credentials(&credentials) != 0) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "certificate: out of memory");
    }
    const gnutls_datum_t cert_pem = {(unsigned char *)(uintptr_t)certificate,
                                     (unsigned)strlen(certificate)};
    const gnutls_datum_t key_pem = {(unsigned char *)(uintptr_t)key, (unsigned)strlen(key)};
    const int code =
        gnutls_certificate_set_x509_key_mem(credentials, &cert_pem, &key_pem, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    return code >= 0 ? FLX_OK
                     : flx_fail(reterr, FLX_ERR_INVALID, "certificate '%s': %s", path,
                                gnutls_strerror(code));
}

static flx_status load_pair(const flx_http_server *server, char **ret_certificate, char **ret_key,
                            flx_error *reterr)
{
    char *certificate = NULL;
    char *key = NULL;
    flx_status status = read_pem(server->certificate_file, &certificate, reterr);
    if (status == FLX_OK) {
        status = read_pem(server->key_file, &key, reterr);
    }
    if (status == FLX_OK) {
        FLX_ASSERT(certificate != NULL && key != NULL);
        status = check_pair(certificate, key, server->certificate_file, reterr);
    }
    if (status != FLX_OK) {
        flx_free(certificate);
        flx_free(key);
        return status;
    }
    *ret_certificate = certificate;
    *ret_key = key;
    return FLX_OK;
}

static flx_status parse_address(const char *text, uint16_t port, struct sockaddr_storage *address,
                                socklen_t *ret_len, flx_error *reterr)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        memcpy(address, &v4, sizeof v4);
        *ret_len = sizeof v4;
        return FLX_OK;
    }
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        memcpy(address, &v6, sizeof v6);
        *ret_len = sizeof v6;
        return FLX_OK;
    }
    return flx_fail(reterr, FLX_ERR_INVALID, "listen address '%s': not an IP address", text);
}

static flx_status open_listener(flx_http_server *server, const char *address, uint16_t port,
                                flx_error *reterr)
{
    struct sockaddr_storage where = {0};
    socklen_t len = 0;
    const flx_status status = parse_address(address, port, &where, &len, reterr);
    if (status != FLX_OK) {
        return status;
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
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    memcpy(&v4, &where, sizeof v4);
    memcpy(&v6, &where, sizeof v6);
    server->port = ntohs(where.ss_family == AF_INET ? v4.sin_port : v6.sin6_port);
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
    const bool tls = server->certificate != NULL;
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, server->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, server->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem *extra = tls ? tls_options : &tls_options[3];
    /* The watcher is the finer clock; libmicrohttpd's is a second line behind it. */
    *ret_daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC | (tls ? MHD_USE_TLS : 0),
        0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_CONNECTION_LIMIT, server->connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        server->per_address_max, MHD_OPTION_CONNECTION_TIMEOUT, server->timeout_s + 1,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES_MAX, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)THREAD_STACK_BYTES, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, extra,
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
    return load_pair(server, &server->certificate, &server->key, reterr);
}

static void free_server(flx_http_server *server)
{
    if (server->listener >= 0) {
        (void)close(server->listener);
    }
    flx_free(server->certificate_file);
    flx_free(server->key_file);
    flx_free(server->certificate);
    if (server->key != NULL) {
        explicit_bzero(server->key, strlen(server->key));
    }
    flx_free(server->key);
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
    if (status == FLX_OK && pthread_create(&server->watcher, NULL, watch, server) != 0) {
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
    if (kept == RETIRED_MAX) {
        MHD_stop_daemon(server->retired[0]);
        for (size_t i = 1; i < RETIRED_MAX; i++) {
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
    char *certificate = NULL;
    char *key = NULL;
    *ret_changed = false;
    if (server->certificate == NULL) {
        return FLX_OK;
    }
    flx_status status = load_pair(server, &certificate, &key, reterr);
    if (status != FLX_OK) {
        return status;
    }
    FLX_ASSERT(certificate != NULL && key != NULL);
    if (strcmp(certificate, server->certificate) == 0 && strcmp(key, server->key) == 0) {
        flx_free(certificate);
        flx_free(key);
        return FLX_OK;
    }
    char *old_certificate = server->certificate;
    char *old_key = server->key;
    struct MHD_Daemon *fresh = NULL;
    server->certificate = certificate;
    server->key = key;
    status = start_daemon(server, &fresh, reterr);
    if (status != FLX_OK) {
        server->certificate = old_certificate;
        server->key = old_key;
        flx_free(certificate);
        flx_free(key);
        return status;
    }
    /* libmicrohttpd parsed the old texts when it started; it does not look at them again. */
    flx_free(old_certificate);
    explicit_bzero(old_key, strlen(old_key));
    flx_free(old_key);
    retire(server, server->daemon);
    server->daemon = fresh;
    *ret_changed = true;
    return FLX_OK;
}

static void wait_for_requests(flx_http_server *server, uint32_t grace_ms)
{
    const struct timespec until = soon(grace_ms);
    int code = 0;
    lock(server);
    while (code == 0 && server->handling > 0) {
        code = pthread_cond_timedwait(&server->changed, &server->lock, &until);
    }
    unlock(server);
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
    lock(server);
    server->stopping = true;
    (void)pthread_cond_broadcast(&server->changed);
    unlock(server);
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
    lock(server);
    ret_stats->connections = server->connection_count;
    unlock(server);
}
