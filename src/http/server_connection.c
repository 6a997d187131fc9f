/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/server_connection.c - the list of connections, and the clock that bounds them.
 *
 * libmicrohttpd only notices silence, so a peer that sends a byte every few seconds could hold a
 * connection for days. Every connection therefore has a phase and a time it began, and one thread
 * shuts the sockets of those that stay too long in one:
 *
 *     HEADERS ──first call──► BODY ──complete──► HANDLER ──answered──► SENDING ──► HEADERS ...
 *     timeout                 timeout            none                  6 x timeout
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "http/server_int.h"

#include <sys/socket.h>

#define WATCH_INTERVAL_MS 250
#define SENDING_TIMEOUTS  6 /* an answer may be large and its reader far away */

/* One connection, in the server's list from its start to its close. */
struct flx_http_connection {
    flx_http_connection *next;
    flx_http_connection *prev;
    uint64_t since_ns; /* begin of the phase */
    int socket;
    flx_http_phase phase;
    bool ended; /* its socket was shut */
};

void flx_http_server_lock(flx_http_server *server)
{
    const int code = pthread_mutex_lock(&server->lock);
    FLX_ASSERT(code == 0);
}

void flx_http_server_unlock(flx_http_server *server)
{
    const int code = pthread_mutex_unlock(&server->lock);
    FLX_ASSERT(code == 0);
}

static flx_http_connection *connection_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static void add_connection(flx_http_server *server, struct MHD_Connection *conn, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    flx_http_connection *added = flx_calloc(1, sizeof *added);
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
    flx_http_server_lock(server);
    added->next = server->connections;
    if (added->next != NULL) {
        added->next->prev = added;
    }
    server->connections = added;
    server->connection_count++;
    flx_http_server_unlock(server);
}

static void remove_connection(flx_http_server *server, flx_http_connection *removed)
{
    flx_http_server_lock(server);
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
    flx_http_server_unlock(server);
    flx_free(removed);
}

/* libmicrohttpd says CLOSED before it closes the socket, so a socket in the list is open. */
void flx_http_on_connection(void *arg, struct MHD_Connection *conn, void **context,
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

void flx_http_connection_move(flx_http_server *server, struct MHD_Connection *conn,
                              flx_http_phase to)
{
    flx_http_connection *moved = connection_of(conn);
    if (moved != NULL) {
        flx_http_server_lock(server);
        moved->phase = to;
        moved->since_ns = flx_clock_monotonic_ns();
        flx_http_server_unlock(server);
    }
}

static void end_slow_ones(flx_http_server *server, uint64_t now_ns)
{
    for (flx_http_connection *at = server->connections; at != NULL; at = at->next) {
        const uint64_t factor = at->phase == FLX_HTTP_PHASE_SENDING ? SENDING_TIMEOUTS : 1;
        const uint64_t limit_ns = factor * server->timeout_s * FLX_NS_PER_S;
        if (at->phase != FLX_HTTP_PHASE_HANDLER && !at->ended && now_ns - at->since_ns > limit_ns) {
            at->ended = true;
            (void)shutdown(at->socket, SHUT_RDWR);
            atomic_fetch_add(&server->too_slow, 1);
        }
    }
}

struct timespec flx_http_soon(uint64_t ms)
{
    const uint64_t at = flx_clock_monotonic_ns() + ms * FLX_NS_PER_MS;
    return (struct timespec){.tv_sec = (time_t)(at / FLX_NS_PER_S),
                             .tv_nsec = (long)(at % FLX_NS_PER_S)};
}

void *flx_http_watch(void *arg)
{
    flx_http_server *server = arg;
    flx_http_server_lock(server);
    while (!server->stopping) {
        end_slow_ones(server, flx_clock_monotonic_ns());
        const struct timespec until = flx_http_soon(WATCH_INTERVAL_MS);
        (void)pthread_cond_timedwait(&server->changed, &server->lock, &until);
    }
    flx_http_server_unlock(server);
    return NULL;
}
