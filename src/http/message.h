/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/message.h - one request as handlers see it, and the answer they give. Pure; no I/O.
 *
 * The target ("/v1/a%2Fb?x=1") is taken apart here and not by the HTTP library, so that an encoded
 * slash stays inside its segment: what is authorized is exactly what the route matched.
 */
#ifndef FLX_HTTP_MESSAGE_H
#define FLX_HTTP_MESSAGE_H

#include <felix/slice.h>
#include <felix/status.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_HTTP_TARGET_MAX   4096 /* bytes, terminator included */
#define FLX_HTTP_SEGMENTS_MAX 16
#define FLX_HTTP_QUERY_MAX    16
#define FLX_HTTP_PARAMS_MAX   8
#define FLX_HTTP_HEADERS_MAX  8
#define FLX_HTTP_ID_MAX       64
#define FLX_HTTP_DEPTH_MAX    16 /* levels of JSON in a body */

/* A target taken apart; everything points into `text`, decoded and terminated. */
typedef struct flx_http_target {
    char text[FLX_HTTP_TARGET_MAX];
    const char *segments[FLX_HTTP_SEGMENTS_MAX];
    size_t segment_count;
    struct {
        const char *name;
        const char *value;
    } query[FLX_HTTP_QUERY_MAX];
    size_t query_count;
} flx_http_target;

/* FLX_ERR_INVALID: too long, too many parts, a bad escape, a zero or control character inside,
 * a segment "." or "..", or a query name twice. A slash at the end is an empty last segment. */
flx_status flx_http_target_parse(flx_http_target *target, const char *raw, flx_error *reterr);

typedef struct flx_http_param {
    const char *name; /* of the pattern; not terminated at the brace: use flx_http_param_get */
    size_t name_len;
    const char *value;
} flx_http_param;

typedef struct flx_http_request {
    const char *method;
    const flx_http_target *target;
    flx_http_param params[FLX_HTTP_PARAMS_MAX];
    size_t param_count;
    flx_slice body;
    char id[FLX_HTTP_ID_MAX + 1]; /* X-Request-Id, or made by the server */
    const char *peer;             /* "127.0.0.1", for logs */
    /* A request header by its name, any case; NULL when there is none. */
    const char *(*header)(const void *source, const char *name);
    const void *source;
} flx_http_request;

typedef struct flx_http_response {
    int status; /* 0: the handler did not answer, which the server calls 500 */
    const char *content_type;
    char *body; /* owned; freed by flx_http_response_done */
    size_t len;
    struct {
        const char *name; /* static */
        char value[128];
    } headers[FLX_HTTP_HEADERS_MAX];
    size_t header_count;
    const char *request_id; /* what error bodies carry; borrowed */
} flx_http_response;

/* The value of {name} in the matched pattern; asserts that the pattern has it. */
const char *flx_http_param_get(const flx_http_request *request, const char *name);
/* NULL when the query does not name it. */
const char *flx_http_query_get(const flx_http_request *request, const char *name);
/* A number of the query. *ret stays as it was when it is not named. */
flx_status flx_http_query_u64(const flx_http_request *request, const char *name, uint64_t min,
                              uint64_t max, uint64_t *ret, flx_error *reterr);
/* The token of "Authorization: Bearer TOKEN"; len 0 when there is none. */
flx_slice flx_http_bearer(const flx_http_request *request);

/* Copies the text. `content_type` is static. */
void flx_http_reply(flx_http_response *response, int status, const char *content_type,
                    flx_slice body);
/* Takes the reference, also on failure; NULL (out of memory) becomes a 500. */
void flx_http_reply_json(flx_http_response *response, int status, json_t *json_take);
/* {"code","message","request_id"} */
void flx_http_reply_error(flx_http_response *response, int status, const char *code,
                          const char *message);
/* The status and code of docs/spec/control-plane.md 1 for an error of ours. */
void flx_http_reply_failure(flx_http_response *response, const flx_error *error);
/* Dropped when there are FLX_HTTP_HEADERS_MAX already or the value is too long; false then. */
bool flx_http_response_header(flx_http_response *response, const char *name, const char *value);
void flx_http_response_done(flx_http_response *response);

typedef void (*flx_http_handler)(void *arg, const flx_http_request *request,
                                 flx_http_response *response);

/* "GET" "/v1/tenants/{tenant}": literal segments and {params}; the first row that matches wins, so
 * a literal stands above the parameter it would also be. Patterns are static. */
typedef struct flx_http_route {
    const char *method;
    const char *pattern;
    flx_http_handler handle;
} flx_http_route;

/* Routes with the argument their handlers get. The rows are borrowed as long as they are served. */
typedef struct flx_http_table {
    const flx_http_route *routes;
    size_t count;
    void *arg;
} flx_http_table;

typedef enum flx_http_match {
    FLX_HTTP_NO_PATH,   /* 404 */
    FLX_HTTP_NO_METHOD, /* 405; `allow` names what there is */
    FLX_HTTP_MATCH
} flx_http_match;

/* Finds the row for a request and fills its params. HEAD is answered by the GET row. */
flx_http_match flx_http_route_find(const flx_http_table *tables, size_t table_count,
                                   flx_http_request *request, const flx_http_route **ret_route,
                                   void **ret_arg, char *allow, size_t allow_size);

#endif /* FLX_HTTP_MESSAGE_H */
