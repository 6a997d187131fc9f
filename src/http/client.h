/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/client.h - one HTTP request at a time, for the CLI, for JWKS and for OIDC; over libcurl.
 *
 * https only, or http to a loopback address when told so; TLS 1.2 at the least, certificates always
 * checked; no redirects, no proxies of the environment, no cookies; everything has a limit.
 *
 * Threads: a client is one thread's at a time. It keeps its connection between calls. The first
 * client of a process must be made before there are other threads, or after flx_http_client_init.
 */
#ifndef FLX_HTTP_CLIENT_H
#define FLX_HTTP_CLIENT_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct flx_http_client flx_http_client;

typedef struct flx_http_client_options {
    const char *ca_file;         /* PEM; copied; NULL: the system's store */
    uint32_t connect_timeout_ms; /* 0: 2000 */
    uint32_t timeout_ms;         /* of the whole exchange; 0: 5000 */
    size_t body_max;             /* of an answer; 0: 1 MiB */
    bool loopback_http;          /* http:// to 127.0.0.0/8, ::1 and localhost is allowed */
} flx_http_client_options;

typedef struct flx_http_call {
    const char *method; /* "GET" */
    const char *url;
    const char *bearer;  /* a token, NULL: none */
    flx_slice body;      /* sent as JSON when not empty */
    uint32_t timeout_ms; /* instead of the client's, for long polls; 0: the client's */
} flx_http_call;

typedef struct flx_http_answer {
    int status;
    char *body; /* terminated; owned, freed by flx_http_answer_done */
    size_t len;
} flx_http_answer;

/* Once a process. Safe to call again. */
flx_status flx_http_client_init(flx_error *reterr);

/* Copies `options`. FLX_ERR_NOMEM, FLX_ERR_INTERNAL (libcurl does not start). */
flx_status flx_http_client_new(const flx_http_client_options *options, flx_http_client **ret_client,
                               flx_error *reterr);
/* NULL is fine. Always returns NULL. */
flx_http_client *flx_http_client_free(flx_http_client *client);

/*
 * Sends one request and waits; the caller owns *ret_answer (flx_http_answer_done).
 *
 * FLX_OK for any answer, a 500 too: look at its status.
 * FLX_ERR_INVALID (URL), FLX_ERR_UNAVAILABLE (no connection), FLX_ERR_TIMEOUT, FLX_ERR_TOO_LARGE,
 * FLX_ERR_DENIED (the certificate is not trusted), FLX_ERR_PROTOCOL, FLX_ERR_NOMEM.
 */
flx_status flx_http_client_call(flx_http_client *client, const flx_http_call *call,
                                flx_http_answer *ret_answer, flx_error *reterr);
void flx_http_answer_done(flx_http_answer *answer);

/* The status of ours for an answer of the control plane, with its message: FLX_OK below 300,
 * otherwise filled from {"code","message"} where the body is that. */
flx_status flx_http_answer_status(const flx_http_answer *answer, flx_error *reterr);

#endif /* FLX_HTTP_CLIENT_H */
