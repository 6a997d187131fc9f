/* SPDX-License-Identifier: Apache-2.0 */
/* http/message.c - targets, routes and replies, without a socket in sight. */
#include "http/message.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- targets ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes %XX (and '+' in a query) in place; false for a bad escape or a control character. */
static bool decode(char *text, bool in_query)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        char c = *from;
        if (c == '%') {
            const int high = hex_digit(from[1]);
            const int low = high < 0 ? -1 : hex_digit(from[2]);
            if (low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            from += 2;
        } else if (c == '+' && in_query) {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f) {
            return false;
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

static flx_status bad_target(const char *why, flx_error *reterr)
{
    return flx_fail(reterr, FLX_ERR_INVALID, "path: %s", why);
}

static flx_status add_segment(flx_http_target *target, char *segment, flx_error *reterr)
{
    if (target->segment_count == FLX_HTTP_SEGMENTS_MAX) {
        return bad_target("too many segments", reterr);
    }
    if (!decode(segment, false)) {
        return bad_target("a bad escape or a control character", reterr);
    }
    if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0) {
        return bad_target("a segment of dots", reterr);
    }
    target->segments[target->segment_count++] = segment;
    return FLX_OK;
}

static flx_status add_query(flx_http_target *target, char *name, flx_error *reterr)
{
    char *value = strchr(name, '=');
    if (value != NULL) {
        *value++ = '\0';
    } else {
        value = name + strlen(name); /* "?dry_run": named, and empty */
    }
    if (target->query_count == FLX_HTTP_QUERY_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "query: too many names");
    }
    if (!decode(name, true) || !decode(value, true)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "query: a bad escape or a control character");
    }
    for (size_t i = 0; i < target->query_count; i++) {
        if (strcmp(target->query[i].name, name) == 0) {
            return flx_fail(reterr, FLX_ERR_INVALID, "%.64s: is in the query twice", name);
        }
    }
    target->query[target->query_count].name = name;
    target->query[target->query_count].value = value;
    target->query_count++;
    return FLX_OK;
}

/* Cuts `text` at each `separator` and hands the pieces on. */
static flx_status split(flx_http_target *target, char *text, char separator,
                        flx_status (*add)(flx_http_target *, char *, flx_error *),
                        flx_error *reterr)
{
    flx_status status = FLX_OK;
    for (char *piece = text; status == FLX_OK && piece != NULL;) {
        char *end = strchr(piece, separator);
        if (end != NULL) {
            *end++ = '\0';
        }
        status = add(target, piece, reterr);
        piece = end;
    }
    return status;
}

flx_status flx_http_target_parse(flx_http_target *target, const char *raw, flx_error *reterr)
{
    memset(target, 0, sizeof *target);
    const size_t len = strlen(raw);
    if (len >= sizeof target->text || raw[0] != '/') {
        return bad_target("does not begin with a slash, or is too long", reterr);
    }
    memcpy(target->text, raw, len + 1);
    char *query = strchr(target->text, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    const flx_status status = split(target, target->text + 1, '/', add_segment, reterr);
    if (status != FLX_OK || query == NULL || *query == '\0') {
        return status;
    }
    return split(target, query, '&', add_query, reterr);
}

/* ---- requests ---- */

const char *flx_http_param_get(const flx_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->param_count; i++) {
        if (strlen(name) == request->params[i].name_len &&
            memcmp(name, request->params[i].name, request->params[i].name_len) == 0) {
            return request->params[i].value;
        }
    }
    FLX_UNREACHABLE();
}

const char *flx_http_query_get(const flx_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->target->query_count; i++) {
        if (strcmp(request->target->query[i].name, name) == 0) {
            return request->target->query[i].value;
        }
    }
    return NULL;
}

flx_status flx_http_query_u64(const flx_http_request *request, const char *name, uint64_t min,
                              uint64_t max, uint64_t *ret, flx_error *reterr)
{
    const char *text = flx_http_query_get(request, name);
    if (text == NULL) {
        return FLX_OK;
    }
    uint64_t value = 0;
    size_t len = 0;
    bool ok = text[0] != '\0';
    for (; ok && text[len] != '\0'; len++) {
        const uint64_t digit = (uint64_t)(text[len] - '0');
        ok = text[len] >= '0' && text[len] <= '9' && value <= (UINT64_MAX - digit) / 10;
        value = ok ? value * 10 + digit : value;
    }
    if (!ok || value < min || value > max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be %llu..%llu", name,
                        (unsigned long long)min, (unsigned long long)max);
    }
    *ret = value;
    return FLX_OK;
}

flx_slice flx_http_bearer(const flx_http_request *request)
{
    const char *value = request->header(request->source, "Authorization");
    if (value == NULL || strncasecmp(value, "Bearer ", 7) != 0) {
        return (flx_slice){NULL, 0};
    }
    value += 7;
    value += strspn(value, " ");
    return flx_slice_of(value);
}

/* ---- replies ---- */

static void set_body(flx_http_response *response, int status, const char *content_type, char *body,
                     size_t len)
{
    flx_free(response->body);
    response->status = status;
    response->content_type = content_type;
    response->body = body;
    response->len = len;
}

void flx_http_reply(flx_http_response *response, int status, const char *content_type,
                    flx_slice body)
{
    char *copy = NULL;
    if (body.len > 0) {
        copy = flx_strndup((const char *)body.ptr, body.len);
        if (copy == NULL) {
            set_body(response, 500, NULL, NULL, 0);
            return;
        }
    }
    set_body(response, status, body.len > 0 ? content_type : NULL, copy, body.len);
}

void flx_http_reply_json(flx_http_response *response, int status, json_t *json_take)
{
    char *text = NULL;
    if (json_take == NULL || flx_json_write(json_take, &text, NULL) != FLX_OK) {
        set_body(response, 500, NULL, NULL, 0); /* a body would want memory too */
    } else {
        set_body(response, status, "application/json", text, strlen(text));
    }
    json_decref(json_take);
}

void flx_http_reply_error(flx_http_response *response, int status, const char *code,
                          const char *message)
{
    json_t *json = json_pack("{s:s, s:s, s:s?}", "code", code, "message", message, "request_id",
                             response->request_id);
    if (json == NULL) { /* a message with bytes that are not UTF-8 */
        json = json_pack("{s:s, s:s, s:s?}", "code", code, "message", code, "request_id",
                         response->request_id);
    }
    flx_http_reply_json(response, status, json);
}

void flx_http_reply_failure(flx_http_response *response, const flx_error *error)
{
    static const struct {
        flx_status status;
        int http;
        const char *code;
    } rows[] = {
        {FLX_ERR_INVALID, 400, "validation_error"},
        {FLX_ERR_UNSUPPORTED, 400, "validation_error"},
        {FLX_ERR_UNAUTHENTICATED, 401, "unauthorized"},
        {FLX_ERR_DENIED, 403, "forbidden"},
        {FLX_ERR_NOT_FOUND, 404, "not_found"},
        {FLX_ERR_CONFLICT, 409, "conflict"},
        {FLX_ERR_TOO_LARGE, 413, "too_large"},
        {FLX_ERR_AGAIN, 409, "limit_reached"},
        {FLX_ERR_UNAVAILABLE, 503, "unavailable"},
        {FLX_ERR_NOMEM, 503, "unavailable"},
        {FLX_ERR_CLOSED, 503, "unavailable"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].status == error->status) {
            flx_http_reply_error(response, rows[i].http, rows[i].code, error->message);
            return;
        }
    }
    /* Paths and causes inside are for our log, not for strangers. */
    flx_http_reply_error(response, 500, "internal", "the request failed inside the server");
}

bool flx_http_response_header(flx_http_response *response, const char *name, const char *value)
{
    if (response->header_count == FLX_HTTP_HEADERS_MAX ||
        strlen(value) >= sizeof response->headers[0].value) {
        return false;
    }
    response->headers[response->header_count].name = name;
    (void)snprintf(response->headers[response->header_count].value,
                   sizeof response->headers[0].value, "%s", value);
    response->header_count++;
    return true;
}

void flx_http_response_done(flx_http_response *response)
{
    flx_free(response->body);
    response->body = NULL;
    response->len = 0;
}

/* ---- routes ---- */

/* Whether the path of the request is the pattern; fills the params when it is. */
static bool path_matches(const char *pattern, flx_http_request *request)
{
    const flx_http_target *target = request->target;
    size_t segment = 0;
    request->param_count = 0;
    FLX_ASSERT(*pattern == '/');
    do {
        const char *piece = pattern + 1;
        const size_t len = strcspn(piece, "/");
        if (segment == target->segment_count) {
            return false;
        }
        const char *value = target->segments[segment++];
        if (piece[0] == '{') {
            FLX_ASSERT(request->param_count < FLX_HTTP_PARAMS_MAX && piece[len - 1] == '}');
            if (value[0] == '\0') {
                return false;
            }
            request->params[request->param_count++] =
                (flx_http_param){.name = piece + 1, .name_len = len - 2, .value = value};
        } else if (strlen(value) != len || memcmp(value, piece, len) != 0) {
            return false;
        }
        pattern = piece + len;
    } while (*pattern == '/');
    return segment == target->segment_count;
}

static void add_allowed(char *allow, size_t size, const char *method)
{
    const size_t used = strlen(allow);
    if (strstr(allow, method) == NULL) {
        (void)snprintf(allow + used, size - used, "%s%s", used == 0 ? "" : ", ", method);
    }
}

flx_http_match flx_http_route_find(const flx_http_table *tables, size_t table_count,
                                   flx_http_request *request, const flx_http_route **ret_route,
                                   void **ret_arg, char *allow, size_t allow_size)
{
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    flx_http_match match = FLX_HTTP_NO_PATH;
    allow[0] = '\0';
    for (size_t table = 0; table < table_count; table++) {
        for (size_t i = 0; i < tables[table].count; i++) {
            const flx_http_route *route = &tables[table].routes[i];
            if (!path_matches(route->pattern, request)) {
                continue;
            }
            if (strcmp(route->method, method) == 0) {
                *ret_route = route;
                *ret_arg = tables[table].arg;
                return FLX_HTTP_MATCH;
            }
            add_allowed(allow, allow_size, route->method);
            match = FLX_HTTP_NO_METHOD;
        }
    }
    return match;
}
