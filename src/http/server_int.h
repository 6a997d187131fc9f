/* SPDX-License-Identifier: Apache-2.0 */
/* http/server_int.h - what the files of the server share: its state, and who does what. */
#ifndef FLX_HTTP_SERVER_INT_H
#define FLX_HTTP_SERVER_INT_H

#include "common/buffer.h"
#include "http/server.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define FLX_HTTP_RETIRED_MAX 4

/* A certificate and its key as PEM, terminated; without data: plain HTTP. */
typedef struct flx_http_pair {
    flx_buffer certificate;
    flx_buffer key;
} flx_http_pair;

typedef struct flx_http_connection flx_http_connection;

struct flx_http_server {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a request ended, or the watcher must look up; monotonic clock */
    flx_http_connection *connections;
    uint32_t connection_count;
    uint32_t handling; /* requests between their headers and their end */
    bool stopping;
    _Atomic uint64_t requests;
    _Atomic uint64_t failures;
    _Atomic uint64_t too_slow;
    struct MHD_Daemon *daemon;
    struct MHD_Daemon *retired[FLX_HTTP_RETIRED_MAX];
    size_t retired_count;
    pthread_t watcher;
    int listener; /* ours; each daemon has a duplicate */
    uint16_t port;
    flx_http_pair pair; /* as served */
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

void flx_http_server_lock(flx_http_server *server);
void flx_http_server_unlock(flx_http_server *server);

/* ---- server_connection.c: connections and their clock ---- */

typedef enum flx_http_phase {
    FLX_HTTP_PHASE_HEADERS,
    FLX_HTTP_PHASE_BODY,
    FLX_HTTP_PHASE_HANDLER,
    FLX_HTTP_PHASE_SENDING
} flx_http_phase;

/* The connection begins a phase, and its clock starts again. */
void flx_http_connection_move(flx_http_server *server, struct MHD_Connection *conn,
                              flx_http_phase to);

/* MHD_OPTION_NOTIFY_CONNECTION; `arg` is the server. */
void flx_http_on_connection(void *arg, struct MHD_Connection *conn, void **context,
                            enum MHD_ConnectionNotificationCode what);

/* The watcher's thread: ends what is too slow until server->stopping. */
void *flx_http_watch(void *arg);

/* A time on the clock of server->changed. */
struct timespec flx_http_soon(uint64_t ms);

/* ---- server_request.c: one request; the three are libmicrohttpd's callbacks ---- */

void *flx_http_on_target(void *arg, const char *raw, struct MHD_Connection *conn);
enum MHD_Result flx_http_on_request(void *arg, struct MHD_Connection *conn, const char *url,
                                    const char *method, const char *version, const char *piece,
                                    size_t *len, void **context);
void flx_http_on_completed(void *arg, struct MHD_Connection *conn, void **context,
                           enum MHD_RequestTerminationCode why);

/* ---- server_pair.c: the certificate and its key ---- */

/* Reads both files and checks that they belong together. FLX_ERR_NOT_FOUND, FLX_ERR_TOO_LARGE,
 * FLX_ERR_INVALID (no pair, not a file), FLX_ERR_IO, FLX_ERR_NOMEM. */
flx_status flx_http_pair_load(const char *certificate_file, const char *key_file,
                              flx_http_pair *ret_pair, flx_error *reterr);
bool flx_http_pair_equal(const flx_http_pair *left, const flx_http_pair *right);
/* Wipes the key and frees both; a zeroed pair is fine. */
void flx_http_pair_done(flx_http_pair *pair);

#endif /* FLX_HTTP_SERVER_INT_H */
