/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/server_request.c - one request, from its first line to its end.
 *
 * libmicrohttpd calls on_target with the raw target, on_request once the headers are there and then
 * with each piece of the body, and on_completed in any case. What is too large is refused before it
 * is read when it says so, and thrown away when it does not (README.md, rule 3).
 */
#include "common/alloc.h"
#include "common/error.h"
#include "common/sockaddr.h"
#include "http/server_int.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    char peer[FLX_SOCKADDR_HOST_MAX];
} exchange;

void *flx_http_on_target(void *arg, const char *raw, struct MHD_Connection *conn)
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

void flx_http_on_completed(void *arg, struct MHD_Connection *conn, void **context,
                           enum MHD_RequestTerminationCode why)
{
    (void)why;
    flx_http_server *server = arg;
    exchange *ex = *context;
    *context = NULL;
    if (ex == NULL) {
        return;
    }
    flx_http_connection_move(server, conn, FLX_HTTP_PHASE_HEADERS);
    if (ex->begun) {
        flx_http_server_lock(server);
        server->handling--;
        (void)pthread_cond_broadcast(&server->changed);
        flx_http_server_unlock(server);
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
    if (info != NULL && info->client_addr != NULL) {
        flx_sockaddr_host(info->client_addr, ex->peer);
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
    flx_http_connection_move(server, conn, FLX_HTTP_PHASE_SENDING);
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
    flx_http_connection_move(server, conn, FLX_HTTP_PHASE_HANDLER);
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
enum MHD_Result flx_http_on_request(void *arg, struct MHD_Connection *conn, const char *url,
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
        flx_http_server_lock(ex->server);
        ex->server->handling++;
        flx_http_server_unlock(ex->server);
        flx_http_connection_move(ex->server, conn, FLX_HTTP_PHASE_BODY);
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
