/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/server.h - a small HTTP(S) listener for the REST API, health and metrics.
 *
 * It serves tables of routes (http/message.h). Nothing of a peer is unbounded: connections, requests
 * at once from one address, bytes of header and body, and the time each phase may take (README.md).
 *
 * Threads: one that accepts, one for each connection (handlers may wait, long polls do), and one
 * that ends what takes too long. Handlers run on connection threads, several at once, and may call
 * anything here but stop.
 */
#ifndef FLX_HTTP_SERVER_H
#define FLX_HTTP_SERVER_H

#include "http/message.h"

#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_HTTP_BODY_MAX        ((size_t)1 << 20)
#define FLX_HTTP_CONNECTIONS_MAX 256U
#define FLX_HTTP_PER_ADDRESS_MAX 64U
#define FLX_HTTP_TIMEOUT_S       10U
#define FLX_HTTP_TABLES_MAX      8

typedef struct flx_http_server flx_http_server;

typedef struct flx_http_server_options {
    const char *address;          /* "127.0.0.1", "::", copied; NULL: 127.0.0.1 */
    uint16_t port;                /* 0: any free one, see flx_http_server_port */
    const char *certificate_file; /* PEM chain; copied. NULL: plain HTTP */
    const char *key_file;
    const flx_http_table *tables; /* copied; the routes in them are borrowed until stop */
    size_t table_count;           /* <= FLX_HTTP_TABLES_MAX */
    size_t body_max;              /* bytes; 0: FLX_HTTP_BODY_MAX */
    uint32_t connections_max;     /* 0: FLX_HTTP_CONNECTIONS_MAX; at most 4096 */
    uint32_t per_address_max;     /* 0: FLX_HTTP_PER_ADDRESS_MAX */
    uint32_t timeout_s;           /* to send the headers, then the body, then to take the answer */
    void (*stopping)(void *arg);  /* stop has begun: end the waits of handlers. NULL: none wait */
    void *arg;
} flx_http_server_options;

/*
 * Starts to serve.
 *
 * FLX_ERR_INVALID    the address, or a certificate and key that are no pair
 * FLX_ERR_NOT_FOUND  the certificate or key file is missing
 * FLX_ERR_TOO_LARGE  one of them has 256 KiB or more
 * FLX_ERR_CONFLICT   the port is taken
 * FLX_ERR_IO, FLX_ERR_NOMEM
 */
flx_status flx_http_server_start(const flx_http_server_options *options,
                                 flx_http_server **ret_server, flx_error *reterr);

/* The port it listens on. */
uint16_t flx_http_server_port(const flx_http_server *server);

/*
 * Reads certificate and key again; new connections get the new ones, running ones keep theirs.
 * *ret_changed: they differ. On error the old ones stay. Fails as start does, for its files and for
 * lack of memory. One thread at a time.
 */
flx_status flx_http_server_reload(flx_http_server *server, bool *ret_changed, flx_error *reterr);

/* Takes no more connections, gives requests in progress `grace_ms` to end, then frees.
 * NULL is fine. Always returns NULL. */
flx_http_server *flx_http_server_stop(flx_http_server *server, uint32_t grace_ms);

typedef struct flx_http_stats {
    uint64_t requests;    /* answered, whatever the status */
    uint64_t failures;    /* of them 5xx */
    uint64_t too_slow;    /* connections ended by the clock */
    uint32_t connections; /* now */
} flx_http_stats;

/* Counts since the start. Any thread. */
void flx_http_server_stats(flx_http_server *server, flx_http_stats *ret_stats);

#endif /* FLX_HTTP_SERVER_H */
