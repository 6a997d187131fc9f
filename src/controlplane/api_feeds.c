/* SPDX-License-Identifier: Apache-2.0 */
/*
 * controlplane/api_feeds.c - snapshots and changes, for whoever keeps a copy of the catalog.
 *
 *     GET .../snapshot                    {"items":[...],"next_seq":7}
 *     GET .../changes?since=7&wait_ms=... {"items":[{"seq","op","key","stream"}],"next_seq":9}
 */
#include "common/assert.h"
#include "common/json.h"
#include "controlplane/api_int.h"

#include <string.h>

/* ---- snapshots ---- */

static flx_status add_entry(void *arg, const flx_entry *entry)
{
    return json_array_append_new(arg, flx_entry_to_json(entry)) == 0 ? FLX_OK : FLX_ERR_NOMEM;
}

static bool may_follow(flx_api *api, const flx_http_request *request, flx_http_response *response)
{
    const flx_object cluster = {.kind = FLX_OBJECT_CLUSTER};
    return flx_api_allowed(api, request, FLX_ACTION_NODE_VIEW, &cluster, 1, response);
}

static void reply_feed(json_t *items_take, uint64_t next_seq, flx_status status, flx_error *error,
                       flx_http_response *response)
{
    if (status != FLX_OK) {
        error->status = status; /* a visit that ran out of memory has no message */
        json_decref(items_take);
        flx_http_reply_failure(response, error);
        return;
    }
    FLX_ASSERT(next_seq <= INT64_MAX);
    flx_http_reply_json(
        response, 200,
        json_pack("{s:o, s:I}", "items", items_take, "next_seq", (json_int_t)next_seq));
}

static void snapshot(flx_api *api, flx_kind kind, const flx_http_request *request,
                     flx_http_response *response)
{
    if (!may_follow(api, request, response)) {
        return;
    }
    flx_error error = {0};
    uint64_t next_seq = 0;
    json_t *items = json_array();
    const flx_status status = flx_catalog_store_feed_snapshot(api->options.store, kind, add_entry,
                                                              items, &next_seq, &error);
    reply_feed(items, next_seq, status, &error, response);
}

/* ---- changes ---- */

typedef struct feed {
    json_t *items;
    flx_kind kind;
} feed;

/* A new reference; NULL when memory is out. */
static json_t *decode(flx_slice text)
{
    json_t *json = text.len == 0 ? json_null() : NULL;
    if (json == NULL) {
        (void)flx_json_parse_own(text, "change", &json, NULL);
    }
    return json;
}

static flx_status add_change(void *arg, const flx_change *change)
{
    const feed *into = arg;
    json_t *key = decode(change->key);
    json_t *item = json_pack("{s:I, s:s%, s:O, s:o}", "seq", (json_int_t)change->seq, "op",
                             (const char *)change->op.ptr, change->op.len, "key", key,
                             flx_kind_name(into->kind), decode(change->object));
    /* Published consumers look for a tenant's id under its own name. */
    const bool named = into->kind != FLX_KIND_TENANT ||
                       (item != NULL && json_object_set(item, "tenant_id", key) == 0);
    json_decref(key);
    if (!named) {
        json_decref(item);
        return FLX_ERR_NOMEM;
    }
    return json_array_append_new(into->items, item) == 0 ? FLX_OK : FLX_ERR_NOMEM;
}

/* Waits when the query says so and there is room for one more that waits. */
static void wait_for_change(flx_api *api, flx_kind kind, uint64_t since, uint64_t wait_ms)
{
    if (wait_ms == 0) {
        return;
    }
    if (atomic_fetch_add(&api->waiters, 1) < FLX_API_WAITERS_MAX) {
        flx_catalog_store_wait(api->options.store, kind, since, (uint32_t)wait_ms);
    }
    atomic_fetch_sub(&api->waiters, 1);
}

static void changes(flx_api *api, flx_kind kind, const flx_http_request *request,
                    flx_http_response *response)
{
    if (!may_follow(api, request, response)) {
        return;
    }
    flx_error error = {0};
    uint64_t since = 0;
    uint64_t wait_ms = 0;
    flx_status status = flx_http_query_u64(request, "since", 0, INT64_MAX, &since, &error);
    if (status == FLX_OK) {
        status = flx_http_query_u64(request, "wait_ms", 0, FLX_API_WAIT_MS_MAX, &wait_ms, &error);
    }
    if (status != FLX_OK) {
        flx_http_reply_failure(response, &error);
        return;
    }
    wait_for_change(api, kind, since, wait_ms);
    uint64_t next_seq = 0;
    feed into = {.items = json_array(), .kind = kind};
    status = flx_catalog_store_changes(api->options.store, kind, since, FLX_API_CHANGES_LIMIT,
                                       add_change, &into, &next_seq, &error);
    reply_feed(into.items, next_seq, status, &error, response);
}

FLX_API_HANDLER(flx_api_tenant_snapshot, snapshot, FLX_KIND_TENANT)
FLX_API_HANDLER(flx_api_tenant_changes, changes, FLX_KIND_TENANT)
FLX_API_HANDLER(flx_api_namespace_snapshot, snapshot, FLX_KIND_NAMESPACE)
FLX_API_HANDLER(flx_api_namespace_changes, changes, FLX_KIND_NAMESPACE)
FLX_API_HANDLER(flx_api_stream_snapshot, snapshot, FLX_KIND_STREAM)
FLX_API_HANDLER(flx_api_stream_changes, changes, FLX_KIND_STREAM)
FLX_API_HANDLER(flx_api_cache_snapshot, snapshot, FLX_KIND_CACHE)
FLX_API_HANDLER(flx_api_cache_changes, changes, FLX_KIND_CACHE)
