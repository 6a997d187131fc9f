/* SPDX-License-Identifier: Apache-2.0 */
/*
 * controlplane/api_entries.c - tenants, namespaces, streams, caches: list, create, get, patch,
 * delete, and many at once.
 *
 * The four kinds differ in a table row (which parts their path has), not in code. Every handler is
 * the same walk: 401, then 400 for names and body, then 403, then the store (404, 409).
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"
#include "controlplane/api_int.h"
#include "crypto/base64url.h"
#include "http/server.h"

#include <string.h>

#define STAR ((flx_slice){(const uint8_t *)"*", 1})

static flx_status read_body(const flx_http_request *request, json_t **ret_json, flx_error *reterr)
{
    return flx_json_parse(request->body, FLX_HTTP_BODY_MAX, FLX_HTTP_DEPTH_MAX, "body", ret_json,
                          reterr);
}

/* What a list or create of the kind is inside of: nothing, a tenant, a namespace. */
static flx_status read_place(flx_kind kind, const flx_http_request *request, flx_key *ret_place,
                             flx_error *reterr)
{
    flx_status status = FLX_OK;
    memset(ret_place, 0, sizeof *ret_place);
    if (kind != FLX_KIND_TENANT) {
        ret_place->tenant = flx_slice_of(flx_http_param_get(request, "tenant"));
        status = flx_name_check("tenant_id", ret_place->tenant, reterr);
    }
    if (status == FLX_OK && (kind == FLX_KIND_STREAM || kind == FLX_KIND_CACHE)) {
        ret_place->namespace_ = flx_slice_of(flx_http_param_get(request, "namespace"));
        status = flx_name_check("namespace", ret_place->namespace_, reterr);
    }
    return status;
}

/* The whole key of one entry, from the path. */
static flx_status read_key(flx_kind kind, const flx_http_request *request, flx_key *ret_key,
                           flx_error *reterr)
{
    memset(ret_key, 0, sizeof *ret_key);
    ret_key->tenant = flx_slice_of(flx_http_param_get(request, "tenant"));
    if (kind != FLX_KIND_TENANT) {
        ret_key->namespace_ = flx_slice_of(flx_http_param_get(request, "namespace"));
    }
    if (kind == FLX_KIND_STREAM || kind == FLX_KIND_CACHE) {
        ret_key->name = flx_slice_of(flx_http_param_get(request, "name"));
    }
    return flx_key_check(kind, ret_key, reterr);
}

static bool may(flx_api *api, const flx_http_request *request, flx_kind kind, const flx_key *key,
                flx_http_response *response)
{
    flx_object object;
    const flx_action action = flx_api_guard(kind, key, &object);
    return flx_api_allowed(api, request, action, &object, 1, response);
}

/* ---- lists ---- */

/* A page being filled. */
typedef struct page {
    json_t *items;
    flx_entry last;
} page;

static flx_status add_to_page(void *arg, const flx_entry *entry)
{
    page *filled = arg;
    filled->last = *entry;
    return json_array_append_new(filled->items, flx_entry_to_json(entry)) == 0 ? FLX_OK
                                                                               : FLX_ERR_NOMEM;
}

/* A cursor is the last part of the key the page ended with. */
static flx_slice *last_part(flx_kind kind, flx_key *key)
{
    if (kind == FLX_KIND_TENANT) {
        return &key->tenant;
    }
    return kind == FLX_KIND_NAMESPACE ? &key->namespace_ : &key->name;
}

static flx_status read_cursor(const flx_http_request *request, uint8_t decoded[FLX_NAME_MAX],
                              flx_slice *ret_name, flx_error *reterr)
{
    const char *text = flx_http_query_get(request, "cursor");
    size_t len = 0;
    *ret_name = (flx_slice){NULL, 0};
    if (text == NULL) {
        return FLX_OK;
    }
    if (!flx_base64url_decode(flx_slice_of(text), decoded, FLX_NAME_MAX, &len) ||
        !flx_name_is_valid((flx_slice){decoded, len})) {
        return flx_fail(reterr, FLX_ERR_INVALID, "cursor: not one that a list gave");
    }
    *ret_name = (flx_slice){decoded, len};
    return FLX_OK;
}

static void reply_page(flx_kind kind, page *filled, bool more, flx_http_response *response)
{
    json_t *json = json_pack("{s:o}", "items", filled->items);
    if (json != NULL && more) {
        char cursor[FLX_NAME_MAX * 2];
        flx_key key = flx_entry_key(&filled->last);
        const size_t len = flx_base64url_encode(*last_part(kind, &key), cursor);
        if (json_object_set_new(json, "next_cursor", json_stringn(cursor, len)) != 0) {
            json_decref(json);
            json = NULL;
        }
    }
    flx_http_reply_json(response, 200, json);
}

static flx_status fill_page(flx_api *api, flx_kind kind, const flx_key *place,
                            const flx_http_request *request, page *filled, bool *ret_more,
                            flx_error *reterr)
{
    uint64_t limit = FLX_API_PAGE_DEFAULT;
    uint8_t decoded[FLX_NAME_MAX];
    flx_slice name;
    flx_key after = *place;
    flx_status status = flx_http_query_u64(request, "limit", 1, FLX_STORE_PAGE_MAX, &limit, reterr);
    if (status == FLX_OK) {
        status = read_cursor(request, decoded, &name, reterr);
    }
    if (status == FLX_OK && kind != FLX_KIND_TENANT) { /* a list of nowhere is a mistake */
        const flx_kind parent = kind == FLX_KIND_NAMESPACE ? FLX_KIND_TENANT : FLX_KIND_NAMESPACE;
        flx_entry there;
        status = flx_catalog_store_get(api->options.store, parent, place, &there, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    *last_part(kind, &after) = name;
    return flx_catalog_store_list(api->options.store, kind, place, name.len > 0 ? &after : NULL,
                                  (size_t)limit, add_to_page, filled, ret_more, reterr);
}

static void list(flx_api *api, flx_kind kind, const flx_http_request *request,
                 flx_http_response *response)
{
    flx_error error = {0};
    flx_key place;
    if (!flx_api_authenticated(api, request, response)) {
        return;
    }
    if (read_place(kind, request, &place, &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    flx_key all = place;
    *last_part(kind, &all) = STAR;
    if (!may(api, request, kind, &all, response)) {
        return;
    }
    page filled = {.items = json_array()};
    bool more = false;
    const flx_status status = fill_page(api, kind, &place, request, &filled, &more, &error);
    if (status != FLX_OK) {
        error.status = status; /* a visit that ran out of memory has no message */
        json_decref(filled.items);
        flx_http_reply_failure(response, &error);
        return;
    }
    reply_page(kind, &filled, more, response);
}

/* ---- one ---- */

static void create(flx_api *api, flx_kind kind, const flx_http_request *request,
                   flx_http_response *response)
{
    flx_error error = {0};
    flx_key place;
    flx_entry entry;
    json_t *body = NULL;
    bool created = false;
    if (!flx_api_authenticated(api, request, response)) {
        return;
    }
    flx_status status = read_place(kind, request, &place, &error);
    if (status == FLX_OK) {
        status = read_body(request, &body, &error);
    }
    if (status == FLX_OK) {
        status = flx_entry_from_json(
            kind, &place, body, flx_catalog_store_abilities(api->options.store), &entry, &error);
    }
    json_decref(body);
    if (status == FLX_OK) {
        const flx_key key = flx_entry_key(&entry);
        if (!may(api, request, kind, &key, response)) {
            return;
        }
        status = flx_catalog_store_create(api->options.store, &entry, 1, &created, &error);
    }
    if (status != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    flx_http_reply_json(response, created ? 201 : 200, flx_entry_to_json(&entry));
}

/* The key of the request when it may be touched; false: the answer is given. */
static bool admit(flx_api *api, flx_kind kind, const flx_http_request *request, flx_key *key,
                  flx_http_response *response)
{
    flx_error error = {0};
    if (!flx_api_authenticated(api, request, response)) {
        return false;
    }
    if (read_key(kind, request, key, &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return false;
    }
    return may(api, request, kind, key, response);
}

/* What is on the disk, as far as the node says. */
static void add_logs(const flx_api *api, flx_kind kind, uint32_t id, uint32_t shards, json_t *json)
{
    json_t *logs =
        api->options.logs == NULL ? NULL : api->options.logs(api->options.arg, kind, id, shards);
    if (logs != NULL) {
        (void)json_object_set_new(json, "log", logs);
    }
}

static void reply_entry(flx_api *api, flx_kind kind, const flx_key *key,
                        flx_http_response *response)
{
    flx_error error = {0};
    flx_entry entry;
    if (flx_catalog_store_get(api->options.store, kind, key, &entry, &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    json_t *json = flx_entry_to_json(&entry);
    if (json != NULL && kind == FLX_KIND_STREAM && entry.stream.promise.durable) {
        add_logs(api, kind, entry.stream.id, entry.stream.shards, json);
    } else if (json != NULL && kind == FLX_KIND_CACHE && entry.cache.promise.durable) {
        add_logs(api, kind, entry.cache.id, entry.cache.shards, json);
    }
    flx_http_reply_json(response, 200, json);
}

static void get(flx_api *api, flx_kind kind, const flx_http_request *request,
                flx_http_response *response)
{
    flx_key key;
    if (admit(api, kind, request, &key, response)) {
        reply_entry(api, kind, &key, response);
    }
}

static void patch(flx_api *api, flx_kind kind, const flx_http_request *request,
                  flx_http_response *response)
{
    flx_error error = {0};
    flx_key key;
    flx_entry entry;
    json_t *body = NULL;
    if (!admit(api, kind, request, &key, response)) {
        return;
    }
    flx_status status = read_body(request, &body, &error);
    if (status == FLX_OK) {
        status = flx_catalog_store_patch(api->options.store, kind, &key, body, &entry, &error);
    }
    json_decref(body);
    if (status != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    flx_http_reply_json(response, 200, flx_entry_to_json(&entry));
}

static void delete_one(flx_api *api, flx_kind kind, const flx_http_request *request,
                       flx_http_response *response)
{
    flx_error error = {0};
    flx_key key;
    if (!admit(api, kind, request, &key, response)) {
        return;
    }
    if (flx_catalog_store_delete(api->options.store, kind, &key, &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    flx_http_reply(response, 204, NULL, (flx_slice){NULL, 0});
}

/* ---- many: {"streams":[...],"caches":[...]} ---- */

typedef struct batch {
    flx_entry *entries;
    bool *created;
    size_t count;
} batch;

static bool is_in_batch(const batch *many, const flx_entry *entry)
{
    const flx_key key = flx_entry_key(entry);
    for (size_t i = 0; i < many->count; i++) {
        const flx_key other = flx_entry_key(&many->entries[i]);
        if (many->entries[i].kind == entry->kind && flx_slice_equal(other.name, key.name)) {
            return true;
        }
    }
    return false;
}

/* Adds the items of one member; the message of a bad one names its place: "streams[3]: ...". */
static flx_status add_items(const flx_api *api, batch *many, flx_kind kind, const char *member,
                            const flx_key *place, const json_t *body, flx_error *reterr)
{
    const json_t *items = NULL;
    flx_status status = flx_json_get_array(body, member, FLX_JSON_OPTIONAL,
                                           FLX_STORE_BATCH_MAX - many->count, &items, reterr);
    const size_t count = items == NULL ? 0 : json_array_size(items);
    for (size_t i = 0; status == FLX_OK && i < count; i++) {
        flx_entry entry;
        status =
            flx_entry_from_json(kind, place, json_array_get(items, i),
                                flx_catalog_store_abilities(api->options.store), &entry, reterr);
        if (status == FLX_OK && is_in_batch(many, &entry)) {
            status = flx_fail(reterr, FLX_ERR_INVALID, "%s: the name is there twice",
                              flx_kind_name(kind));
        }
        if (status != FLX_OK) {
            flx_error_prefix(reterr, "%s[%zu]", member, i);
        } else {
            many->entries[many->count++] = entry;
        }
    }
    return status;
}

static flx_status read_batch(const flx_api *api, const flx_http_request *request,
                             const flx_key *place, batch *many, flx_error *reterr)
{
    json_t *body = NULL;
    many->entries = flx_calloc(FLX_STORE_BATCH_MAX, sizeof *many->entries);
    many->created = flx_calloc(FLX_STORE_BATCH_MAX, sizeof *many->created);
    if (many->entries == NULL || many->created == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "resources: out of memory");
    }
    flx_status status = read_body(request, &body, reterr);
    if (status == FLX_OK) {
        status = flx_json_need_object(body, "body", reterr);
    }
    if (status == FLX_OK) {
        status = add_items(api, many, FLX_KIND_STREAM, "streams", place, body, reterr);
    }
    if (status == FLX_OK) {
        status = add_items(api, many, FLX_KIND_CACHE, "caches", place, body, reterr);
    }
    json_decref(body);
    if (status == FLX_OK && many->count == 0) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "resources: there are none");
    }
    return status;
}

static json_t *batch_answer(const batch *many, int *ret_status)
{
    json_t *streams = json_array();
    json_t *caches = json_array();
    *ret_status = 200;
    for (size_t i = 0; i < many->count; i++) {
        const flx_entry *entry = &many->entries[i];
        json_t *to = entry->kind == FLX_KIND_STREAM ? streams : caches;
        *ret_status = many->created[i] ? 201 : *ret_status;
        json_t *item = json_pack("{s:s, s:o}", "status", many->created[i] ? "created" : "unchanged",
                                 flx_kind_name(entry->kind), flx_entry_to_json(entry));
        if (json_array_append_new(to, item) != 0) {
            json_decref(streams);
            json_decref(caches);
            return NULL;
        }
    }
    return json_pack("{s:o, s:o}", "streams", streams, "caches", caches);
}

static void create_many(flx_api *api, const flx_http_request *request, batch *many,
                        flx_http_response *response)
{
    flx_error error = {0};
    flx_key place;
    flx_status status = read_place(FLX_KIND_STREAM, request, &place, &error);
    if (status == FLX_OK) {
        status = read_batch(api, request, &place, many, &error);
    }
    for (size_t i = 0; status == FLX_OK && i < many->count; i++) {
        const flx_key key = flx_entry_key(&many->entries[i]);
        if (!may(api, request, many->entries[i].kind, &key, response)) {
            return;
        }
    }
    if (status == FLX_OK) {
        status = flx_catalog_store_create(api->options.store, many->entries, many->count,
                                          many->created, &error);
    }
    if (status != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    int http = 200;
    json_t *answer = batch_answer(many, &http);
    flx_http_reply_json(response, http, answer);
}

void flx_api_resources(void *arg, const flx_http_request *request, flx_http_response *response)
{
    batch many = {0};
    if (flx_api_authenticated(arg, request, response)) {
        create_many(arg, request, &many, response);
    }
    flx_free(many.entries);
    flx_free(many.created);
}

/* ---- the handlers ---- */

/* A tenant's own administrators may look at it, but not make or remove tenants. */
void flx_api_tenant_get(void *arg, const flx_http_request *request, flx_http_response *response)
{
    flx_api *api = arg;
    flx_error error = {0};
    flx_key key;
    if (!flx_api_authenticated(api, request, response)) {
        return;
    }
    if (read_key(FLX_KIND_TENANT, request, &key, &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    const flx_object objects[] = {{.kind = FLX_OBJECT_TENANT, .tenant = key.tenant},
                                  {.kind = FLX_OBJECT_CLUSTER}};
    if (flx_api_allowed(api, request, FLX_ACTION_TENANT_MANAGE, objects, 2, response)) {
        reply_entry(api, FLX_KIND_TENANT, &key, response);
    }
}

FLX_API_HANDLER(flx_api_tenants_list, list, FLX_KIND_TENANT)
FLX_API_HANDLER(flx_api_tenants_create, create, FLX_KIND_TENANT)
FLX_API_HANDLER(flx_api_tenant_delete, delete_one, FLX_KIND_TENANT)
FLX_API_HANDLER(flx_api_namespaces_list, list, FLX_KIND_NAMESPACE)
FLX_API_HANDLER(flx_api_namespaces_create, create, FLX_KIND_NAMESPACE)
FLX_API_HANDLER(flx_api_namespace_get, get, FLX_KIND_NAMESPACE)
FLX_API_HANDLER(flx_api_namespace_delete, delete_one, FLX_KIND_NAMESPACE)
FLX_API_HANDLER(flx_api_streams_list, list, FLX_KIND_STREAM)
FLX_API_HANDLER(flx_api_streams_create, create, FLX_KIND_STREAM)
FLX_API_HANDLER(flx_api_stream_get, get, FLX_KIND_STREAM)
FLX_API_HANDLER(flx_api_stream_patch, patch, FLX_KIND_STREAM)
FLX_API_HANDLER(flx_api_stream_delete, delete_one, FLX_KIND_STREAM)
FLX_API_HANDLER(flx_api_caches_list, list, FLX_KIND_CACHE)
FLX_API_HANDLER(flx_api_caches_create, create, FLX_KIND_CACHE)
FLX_API_HANDLER(flx_api_cache_get, get, FLX_KIND_CACHE)
FLX_API_HANDLER(flx_api_cache_patch, patch, FLX_KIND_CACHE)
FLX_API_HANDLER(flx_api_cache_delete, delete_one, FLX_KIND_CACHE)
