/* SPDX-License-Identifier: Apache-2.0 */
/* controlplane/api_int.h - what the files of the API share. */
#ifndef FLX_CONTROLPLANE_API_INT_H
#define FLX_CONTROLPLANE_API_INT_H

#include "controlplane/api.h"

#include <pthread.h>
#include <stdatomic.h>

#define FLX_API_VERIFIERS 2 /* for felix-controlplane, and felix-broker when that is accepted */

struct flx_api {
    flx_api_options options;
    char region_id[FLX_NAME_MAX + 1];
    char region_name[FLX_DISPLAY_NAME_MAX + 1];
    pthread_mutex_t lock; /* of the verifiers and all grants from them */
    flx_verifier *verifiers[FLX_API_VERIFIERS];
    _Atomic uint32_t waiters;
};

/* Whether the request has a token that is good; false: the answer (401) is given. */
bool flx_api_authenticated(flx_api *api, const flx_http_request *request,
                           flx_http_response *response);
/* Whether its token allows the action on one of the objects; false: the answer (401 or 403, naming
 * the first object) is given. */
bool flx_api_allowed(flx_api *api, const flx_http_request *request, flx_action action,
                     const flx_object *objects, size_t count, flx_http_response *response);

/* The object that guards an entry of the kind, and the action on it. A `*` in the last part of the
 * key stands for all of them, which is what a list wants. */
flx_action flx_api_guard(flx_kind kind, const flx_key *key, flx_object *ret_object);

/* Routes of single entries and lists (api_entries.c), of feeds (api_feeds.c) and of the system
 * (api_system.c). One row a route: method, pattern, handler, what it does (for openapi.json). */
#define FLX_API_SYSTEM_ROUTES(X)                                                                   \
    X("GET", "/v1/system/info", flx_api_system_info, "Region, version and features")               \
    X("GET", "/v1/system/health", flx_api_system_live, "Whether the process works")                \
    X("GET", "/v1/system/live", flx_api_system_live, "Whether the process works")                  \
    X("GET", "/v1/system/ready", flx_api_system_ready, "Whether it takes requests, and why not")   \
    X("GET", "/v1/regions", flx_api_regions, "Regions")                                            \
    X("GET", "/v1/regions/{region}", flx_api_region, "One region")                                 \
    X("GET", "/v1/openapi.json", flx_api_openapi, "This document")                                 \
    X("GET", "/v1/tenants/{tenant}/.well-known/jwks.json", flx_api_jwks, "Keys of a tenant")

#define FLX_API_FEED_ROUTES(X)                                                                     \
    X("GET", "/v1/tenants/snapshot", flx_api_tenant_snapshot, "All tenants and where to go on")    \
    X("GET", "/v1/tenants/changes", flx_api_tenant_changes, "Changes of tenants")                  \
    X("GET", "/v1/namespaces/snapshot", flx_api_namespace_snapshot, "All namespaces")              \
    X("GET", "/v1/namespaces/changes", flx_api_namespace_changes, "Changes of namespaces")         \
    X("GET", "/v1/streams/snapshot", flx_api_stream_snapshot, "All streams")                       \
    X("GET", "/v1/streams/changes", flx_api_stream_changes, "Changes of streams")                  \
    X("GET", "/v1/caches/snapshot", flx_api_cache_snapshot, "All caches")                          \
    X("GET", "/v1/caches/changes", flx_api_cache_changes, "Changes of caches")

#define FLX_API_NAMESPACE_PATH "/v1/tenants/{tenant}/namespaces/{namespace}"

#define FLX_API_ENTRY_ROUTES(X)                                                                    \
    X("GET", "/v1/tenants", flx_api_tenants_list, "List tenants")                                  \
    X("POST", "/v1/tenants", flx_api_tenants_create, "Create a tenant")                            \
    X("GET", "/v1/tenants/{tenant}", flx_api_tenant_get, "One tenant")                             \
    X("DELETE", "/v1/tenants/{tenant}", flx_api_tenant_delete, "Delete an empty tenant")           \
    X("GET", "/v1/tenants/{tenant}/namespaces", flx_api_namespaces_list, "List namespaces")        \
    X("POST", "/v1/tenants/{tenant}/namespaces", flx_api_namespaces_create, "Create a namespace")  \
    X("GET", FLX_API_NAMESPACE_PATH, flx_api_namespace_get, "One namespace")                       \
    X("DELETE", FLX_API_NAMESPACE_PATH, flx_api_namespace_delete, "Delete an empty namespace")     \
    X("POST", FLX_API_NAMESPACE_PATH "/resources", flx_api_resources, "Create many, all or none")  \
    X("GET", FLX_API_NAMESPACE_PATH "/streams", flx_api_streams_list, "List streams")              \
    X("POST", FLX_API_NAMESPACE_PATH "/streams", flx_api_streams_create, "Create a stream")        \
    X("GET", FLX_API_NAMESPACE_PATH "/streams/{name}", flx_api_stream_get, "One stream")           \
    X("PATCH", FLX_API_NAMESPACE_PATH "/streams/{name}", flx_api_stream_patch, "Change a stream")  \
    X("DELETE", FLX_API_NAMESPACE_PATH "/streams/{name}", flx_api_stream_delete,                   \
      "Delete a stream")                                                                           \
    X("GET", FLX_API_NAMESPACE_PATH "/caches", flx_api_caches_list, "List caches")                 \
    X("POST", FLX_API_NAMESPACE_PATH "/caches", flx_api_caches_create, "Create a cache")           \
    X("GET", FLX_API_NAMESPACE_PATH "/caches/{name}", flx_api_cache_get, "One cache")              \
    X("PATCH", FLX_API_NAMESPACE_PATH "/caches/{name}", flx_api_cache_patch, "Change a cache")     \
    X("DELETE", FLX_API_NAMESPACE_PATH "/caches/{name}", flx_api_cache_delete, "Delete a cache")

#define FLX_API_DECLARE(method, pattern, handler, summary)                                         \
    void handler(void *arg, const flx_http_request *request, flx_http_response *response);
/* Some handlers answer two routes; declaring one twice is fine. */
FLX_API_SYSTEM_ROUTES(FLX_API_DECLARE)
FLX_API_FEED_ROUTES(FLX_API_DECLARE)
FLX_API_ENTRY_ROUTES(FLX_API_DECLARE)
#undef FLX_API_DECLARE

/* The handler of a route whose function takes the kind it is about. */
#define FLX_API_HANDLER(name, does, kind)                                                          \
    void name(void *arg, const flx_http_request *request, flx_http_response *response)             \
    {                                                                                              \
        does(arg, kind, request, response);                                                        \
    }

typedef struct flx_api_doc {
    const char *method;
    const char *pattern;
    const char *summary;
} flx_api_doc;

/* One row a route, in the order of the table. */
const flx_api_doc *flx_api_docs(size_t *ret_count);

#endif /* FLX_CONTROLPLANE_API_INT_H */
