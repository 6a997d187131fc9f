/* SPDX-License-Identifier: Apache-2.0 */
/* controlplane/api.c - the table of routes, and the door each request comes through. */
#include "controlplane/api.h"

#include "authz/permission.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"
#include "controlplane/api_int.h"
#include "crypto/base64url.h"
#include "crypto/jws.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_BYTES_MAX ((size_t)16 * 1024)

/* The order matters where a literal could be read as a parameter: feeds stand before entries. */
#define ALL_ROUTES(X) FLX_API_SYSTEM_ROUTES(X) FLX_API_FEED_ROUTES(X) FLX_API_ENTRY_ROUTES(X)

static const flx_http_route routes[] = {
#define ROUTE(method, pattern, handler, summary) {method, pattern, handler},
    ALL_ROUTES(ROUTE)
#undef ROUTE
};

static const flx_api_doc docs[] = {
#define DOC(method, pattern, handler, summary) {method, pattern, summary},
    ALL_ROUTES(DOC)
#undef DOC
};

const flx_api_doc *flx_api_docs(size_t *ret_count)
{
    *ret_count = sizeof docs / sizeof docs[0];
    return docs;
}

flx_http_table flx_api_table(flx_api *api)
{
    return (flx_http_table){
        .routes = routes, .count = sizeof routes / sizeof routes[0], .arg = api};
}

static flx_status make_verifiers(flx_api *api, flx_keyset *keyset, flx_error *reterr)
{
    static const char *const audiences[FLX_API_VERIFIERS] = {"felix-controlplane", "felix-broker"};
    const size_t count = api->options.accept_broker_audience ? FLX_API_VERIFIERS : 1;
    flx_status status = FLX_OK;
    for (size_t i = 0; status == FLX_OK && i < count; i++) {
        const flx_verifier_options options = {
            .issuer = "felix-auth", .audience = audiences[i], .leeway_s = 5};
        status = flx_verifier_new(&options, keyset, &api->verifiers[i], reterr);
    }
    return status;
}

flx_status flx_api_new(const flx_api_options *options, flx_api **ret_api, flx_error *reterr)
{
    FLX_ASSERT(options->store != NULL && options->keyset != NULL);
    const char *region = options->region_id == NULL ? "local" : options->region_id;
    const char *name = options->region_name == NULL ? region : options->region_name;
    flx_status status = flx_name_check("region", flx_slice_of(region), reterr);
    if (status == FLX_OK) {
        status = flx_display_name_check(name, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    flx_api *api = flx_calloc(1, sizeof *api);
    if (api == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "API: out of memory");
    }
    api->options = *options;
    (void)snprintf(api->region_id, sizeof api->region_id, "%s", region);
    (void)snprintf(api->region_name, sizeof api->region_name, "%s", name);
    if (pthread_mutex_init(&api->lock, NULL) != 0) {
        flx_free(api);
        return flx_fail(reterr, FLX_ERR_NOMEM, "API: out of memory");
    }
    status = make_verifiers(api, options->keyset, reterr);
    if (status != FLX_OK) {
        (void)flx_api_free(api);
        return status;
    }
    *ret_api = api;
    return FLX_OK;
}

flx_api *flx_api_free(flx_api *api)
{
    if (api != NULL) {
        for (size_t i = 0; i < FLX_API_VERIFIERS; i++) {
            (void)flx_verifier_free(api->verifiers[i]);
        }
        (void)pthread_mutex_destroy(&api->lock);
        flx_free(api);
    }
    return NULL;
}

void flx_api_set_keys(flx_api *api, flx_keyset *keyset)
{
    (void)pthread_mutex_lock(&api->lock);
    for (size_t i = 0; i < FLX_API_VERIFIERS; i++) {
        if (api->verifiers[i] != NULL) {
            flx_verifier_set_keys(api->verifiers[i], keyset);
        }
    }
    (void)pthread_mutex_unlock(&api->lock);
}

void flx_api_stopping(flx_api *api)
{
    flx_catalog_store_wake_all(api->options.store);
}

/* ---- the door ---- */

/*
 * The tenant a token says it is of, before anything of it is believed: it only chooses whose keys
 * the verifier tries, and the verifier holds the signed claim against it.
 */
static bool claimed_tenant(flx_slice token, char tenant[FLX_NAME_MAX + 1])
{
    const uint8_t *first = token.len == 0 ? NULL : memchr(token.ptr, '.', token.len);
    if (first == NULL || token.len > TOKEN_BYTES_MAX) {
        return false;
    }
    const uint8_t *payload = first + 1;
    const size_t rest = token.len - (size_t)(payload - token.ptr);
    const uint8_t *second = memchr(payload, '.', rest);
    if (second == NULL) {
        return false;
    }
    uint8_t *decoded = flx_alloc(TOKEN_BYTES_MAX);
    size_t len = 0;
    json_t *json = NULL;
    const char *text = NULL;
    const bool found =
        decoded != NULL &&
        flx_base64url_decode((flx_slice){payload, (size_t)(second - payload)}, decoded,
                             TOKEN_BYTES_MAX, &len) &&
        flx_json_parse_object((flx_slice){decoded, len}, TOKEN_BYTES_MAX, FLX_JWS_DEPTH_MAX,
                              "token payload", &json, NULL) == FLX_OK &&
        flx_json_get_text(json, "tid", FLX_JSON_REQUIRED, FLX_NAME_MAX, &text, NULL) == FLX_OK;
    if (found) {
        (void)snprintf(tenant, FLX_NAME_MAX + 1, "%s", text);
    }
    json_decref(json);
    flx_free(decoded);
    return found;
}

/* The grants of the request's token, a reference, with the lock held by the caller. */
static flx_status check_token(flx_api *api, const flx_http_request *request,
                              flx_grants **ret_grants, flx_error *reterr)
{
    const flx_slice token = flx_http_bearer(request);
    char tenant[FLX_NAME_MAX + 1];
    if (token.len == 0) {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "a bearer token is needed");
    }
    if (!claimed_tenant(token, tenant)) {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token: not a Felix access token");
    }
    const flx_slice tenant_id = flx_slice_of(tenant);
    const uint64_t now_us = flx_clock_wall_us();
    flx_status status =
        flx_verifier_check(api->verifiers[0], token, tenant_id, now_us, ret_grants, reterr);
    if (status != FLX_OK && api->verifiers[1] != NULL) {
        status = flx_verifier_check(api->verifiers[1], token, tenant_id, now_us, ret_grants, NULL);
    }
    return status;
}

static void refuse(flx_http_response *response, const flx_error *error)
{
    if (error->status == FLX_ERR_UNAUTHENTICATED) {
        (void)flx_http_response_header(response, "WWW-Authenticate", "Bearer");
    }
    flx_http_reply_failure(response, error);
}

bool flx_api_authenticated(flx_api *api, const flx_http_request *request,
                           flx_http_response *response)
{
    flx_error error = {0};
    flx_grants *grants = NULL;
    (void)pthread_mutex_lock(&api->lock);
    const flx_status status = check_token(api, request, &grants, &error);
    (void)flx_grants_unref(grants);
    (void)pthread_mutex_unlock(&api->lock);
    if (status != FLX_OK) {
        refuse(response, &error);
    }
    return status == FLX_OK;
}

bool flx_api_allowed(flx_api *api, const flx_http_request *request, flx_action action,
                     const flx_object *objects, size_t count, flx_http_response *response)
{
    bool allowed = false;
    flx_error error = {0};
    flx_grants *grants = NULL;
    (void)pthread_mutex_lock(&api->lock);
    flx_status status = check_token(api, request, &grants, &error);
    for (size_t i = 0; status == FLX_OK && i < count && !allowed; i++) {
        allowed = flx_grants_allow(grants, action, &objects[i]);
    }
    if (status == FLX_OK && !allowed) {
        char text[160];
        (void)flx_object_format(&objects[0], text, sizeof text);
        status = flx_fail(&error, FLX_ERR_DENIED, "needs %s on %s", flx_action_name(action), text);
    }
    (void)flx_grants_unref(grants);
    (void)pthread_mutex_unlock(&api->lock);
    if (status != FLX_OK) {
        refuse(response, &error);
    }
    return status == FLX_OK;
}

flx_action flx_api_guard(flx_kind kind, const flx_key *key, flx_object *ret_object)
{
    *ret_object =
        (flx_object){.tenant = key->tenant, .namespace_ = key->namespace_, .name = key->name};
    switch (kind) {
    case FLX_KIND_TENANT:
        *ret_object = (flx_object){.kind = FLX_OBJECT_CLUSTER};
        return FLX_ACTION_TENANT_MANAGE;
    case FLX_KIND_NAMESPACE:
        ret_object->kind = FLX_OBJECT_NAMESPACE;
        return FLX_ACTION_NS_MANAGE;
    case FLX_KIND_STREAM:
        ret_object->kind = FLX_OBJECT_STREAM;
        return FLX_ACTION_STREAM_MANAGE;
    case FLX_KIND_CACHE:
        ret_object->kind = FLX_OBJECT_CACHE;
        return FLX_ACTION_CACHE_MANAGE;
    case FLX_KIND_COUNT:
        break;
    }
    FLX_UNREACHABLE();
}
