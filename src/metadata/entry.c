/* SPDX-License-Identifier: Apache-2.0 */
/* metadata/entry.c - the four kinds as JSON, out and in. */
#include "metadata/entry.h"

#include "common/assert.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"

#include <stdio.h>
#include <string.h>

#define WORD_BYTES_MAX 256 /* of a text member; what it may say is checked after */

/* Copies a text of at most `size - 1` bytes; a longer one becomes "?", which no rule accepts. */
static void copy_word(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", strlen(from) < size ? from : "?");
}

/* `slice` was checked to be a name. */
static void copy_name(char *to, flx_slice slice)
{
    FLX_ASSERT(slice.len <= FLX_NAME_MAX);
    if (slice.len > 0) {
        memcpy(to, slice.ptr, slice.len);
    }
    to[slice.len] = '\0';
}

const char *flx_kind_name(flx_kind kind)
{
    static const char *const names[FLX_KIND_COUNT] = {"tenant", "namespace", "stream", "cache"};
    FLX_ASSERT((unsigned)kind < FLX_KIND_COUNT);
    return names[kind];
}

flx_key flx_entry_key(const flx_entry *entry)
{
    switch (entry->kind) {
    case FLX_KIND_TENANT:
        return (flx_key){.tenant = flx_slice_of(entry->tenant.tenant)};
    case FLX_KIND_NAMESPACE:
        return (flx_key){.tenant = flx_slice_of(entry->namespace_.tenant),
                         .namespace_ = flx_slice_of(entry->namespace_.namespace_)};
    case FLX_KIND_STREAM:
        return (flx_key){.tenant = flx_slice_of(entry->stream.tenant),
                         .namespace_ = flx_slice_of(entry->stream.namespace_),
                         .name = flx_slice_of(entry->stream.name)};
    case FLX_KIND_CACHE:
        return (flx_key){.tenant = flx_slice_of(entry->cache.tenant),
                         .namespace_ = flx_slice_of(entry->cache.namespace_),
                         .name = flx_slice_of(entry->cache.name)};
    case FLX_KIND_COUNT:
        break;
    }
    FLX_UNREACHABLE();
}

flx_status flx_key_check(flx_kind kind, const flx_key *key, flx_error *reterr)
{
    flx_status status = flx_name_check("tenant_id", key->tenant, reterr);
    if (status == FLX_OK && kind != FLX_KIND_TENANT) {
        status = flx_name_check("namespace", key->namespace_, reterr);
    }
    if (status == FLX_OK && (kind == FLX_KIND_STREAM || kind == FLX_KIND_CACHE)) {
        status = flx_name_check(flx_kind_name(kind), key->name, reterr);
    }
    return status;
}

const char *flx_key_text(const flx_key *key, char *text, size_t size)
{
    (void)snprintf(text, size, "%.*s%s%.*s%s%.*s", (int)key->tenant.len,
                   (const char *)key->tenant.ptr, key->namespace_.len > 0 ? "/" : "",
                   (int)key->namespace_.len, (const char *)key->namespace_.ptr,
                   key->name.len > 0 ? "/" : "", (int)key->name.len, (const char *)key->name.ptr);
    return text;
}

bool flx_entry_equal(const flx_entry *a, const flx_entry *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case FLX_KIND_TENANT:
        return strcmp(a->tenant.tenant, b->tenant.tenant) == 0 &&
               strcmp(a->tenant.display_name, b->tenant.display_name) == 0;
    case FLX_KIND_NAMESPACE:
        return strcmp(a->namespace_.tenant, b->namespace_.tenant) == 0 &&
               strcmp(a->namespace_.namespace_, b->namespace_.namespace_) == 0 &&
               strcmp(a->namespace_.display_name, b->namespace_.display_name) == 0;
    case FLX_KIND_STREAM:
        return flx_stream_info_equal(&a->stream, &b->stream);
    case FLX_KIND_CACHE:
        return flx_cache_info_equal(&a->cache, &b->cache);
    case FLX_KIND_COUNT:
        break;
    }
    FLX_UNREACHABLE();
}

flx_status flx_entry_check(const flx_entry *entry, const flx_abilities *abilities,
                           flx_error *reterr)
{
    if (entry->kind == FLX_KIND_STREAM) {
        return flx_stream_info_check(&entry->stream, abilities, reterr);
    }
    if (entry->kind == FLX_KIND_CACHE) {
        return flx_cache_info_check(&entry->cache, abilities, reterr);
    }
    const flx_key key = flx_entry_key(entry);
    const flx_status status = flx_key_check(entry->kind, &key, reterr);
    const char *display_name = entry->kind == FLX_KIND_TENANT ? entry->tenant.display_name
                                                              : entry->namespace_.display_name;
    return status == FLX_OK ? flx_display_name_check(display_name, reterr) : status;
}

/* ---- out ---- */

/* json_pack's "I" wants a json_int_t; the rules keep every number within it. */
static json_t *bound_to_json(uint64_t bound)
{
    return bound == 0 ? json_null() : json_integer((json_int_t)bound);
}

static bool set_promise(const flx_promise *promise, json_t *json)
{
    bool ok = json_object_set_new(json, "durable", json_boolean(promise->durable)) == 0 &&
              json_object_set_new(json, "ack", json_string(flx_ack_rule_name(promise->ack))) == 0;
    if (ok && promise->durable) {
        ok = json_object_set_new(json, "fsync", json_string(flx_fsync_rule_name(promise->fsync))) ==
             0;
    }
    if (ok && promise->fsync == FLX_FSYNC_PERIODIC) {
        ok = json_object_set_new(json, "fsync_interval_ms", json_integer(promise->fsync_ms)) == 0;
    }
    return ok;
}

/* What most streams do not have, told only of those that do. */
static bool set_stream_options(const flx_stream_info *stream, json_t *json)
{
    json_t *retention = json_object_get(json, "retention");
    bool ok = true;
    if (stream->region[0] != '\0') {
        ok = json_object_set_new(json, "region", json_string(stream->region)) == 0;
    }
    if (ok && stream->retention_records > 0) {
        ok = json_object_set_new(retention, "max_records",
                                 json_integer((json_int_t)stream->retention_records)) == 0;
    }
    return ok;
}

static json_t *stream_to_json(const flx_stream_info *stream)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:{s:o, s:o}, s:s, s:s, s:s, s:s}", "tenant_id",
                  stream->tenant, "namespace", stream->namespace_, "stream", stream->name, "kind",
                  stream->kind, "shards", (json_int_t)stream->shards, "replication_factor",
                  (json_int_t)stream->replication_factor, "retention", "max_age_seconds",
                  bound_to_json(stream->retention_age_s), "max_size_bytes",
                  bound_to_json(stream->retention_bytes), "consistency", stream->consistency,
                  "delivery", stream->delivery, "routing", flx_routing_name(stream->routing),
                  "slow_policy", flx_slow_policy_name(stream->slow_policy));
    if (json == NULL || !set_promise(&stream->promise, json) || !set_stream_options(stream, json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *cache_to_json(const flx_cache_info *cache)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "tenant_id", cache->tenant, "namespace",
                  cache->namespace_, "cache", cache->name, "display_name", cache->display_name,
                  "shards", (json_int_t)cache->shards, "replication_factor",
                  (json_int_t)cache->replication_factor, "consistency", cache->consistency);
    if (json == NULL || !set_promise(&cache->promise, json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *flx_entry_to_json(const flx_entry *entry)
{
    switch (entry->kind) {
    case FLX_KIND_TENANT:
        return json_pack("{s:s, s:s}", "tenant_id", entry->tenant.tenant, "display_name",
                         entry->tenant.display_name);
    case FLX_KIND_NAMESPACE:
        return json_pack("{s:s, s:s, s:s}", "tenant_id", entry->namespace_.tenant, "namespace",
                         entry->namespace_.namespace_, "display_name",
                         entry->namespace_.display_name);
    case FLX_KIND_STREAM:
        return stream_to_json(&entry->stream);
    case FLX_KIND_CACHE:
        return cache_to_json(&entry->cache);
    case FLX_KIND_COUNT:
        break;
    }
    FLX_UNREACHABLE();
}

static json_t *slice_to_json(flx_slice slice)
{
    return json_stringn((const char *)slice.ptr, slice.len);
}

json_t *flx_key_to_json(flx_kind kind, const flx_key *key)
{
    switch (kind) {
    case FLX_KIND_TENANT:
        return slice_to_json(key->tenant);
    case FLX_KIND_NAMESPACE:
        return json_pack("{s:o, s:o}", "tenant_id", slice_to_json(key->tenant), "namespace",
                         slice_to_json(key->namespace_));
    case FLX_KIND_STREAM:
    case FLX_KIND_CACHE:
        return json_pack("{s:o, s:o, s:o}", "tenant_id", slice_to_json(key->tenant), "namespace",
                         slice_to_json(key->namespace_), flx_kind_name(kind),
                         slice_to_json(key->name));
    case FLX_KIND_COUNT:
        break;
    }
    FLX_UNREACHABLE();
}

/* ---- in ---- */

/* Reads an optional text member over what `field` (of `size` bytes) holds. */
static flx_status read_word(const json_t *body, const char *member, char *field, size_t size,
                            flx_error *reterr)
{
    const char *word = NULL;
    const flx_status status =
        flx_json_get_text(body, member, FLX_JSON_OPTIONAL, WORD_BYTES_MAX, &word, reterr);
    if (status == FLX_OK && word != NULL) {
        copy_word(field, size, word);
    }
    return status;
}

static flx_status read_display_name(const json_t *body, char *field, flx_error *reterr)
{
    const char *text = NULL;
    const flx_status status = flx_json_get_text(body, "display_name", FLX_JSON_OPTIONAL,
                                                FLX_DISPLAY_NAME_MAX, &text, reterr);
    if (status == FLX_OK && text != NULL) {
        copy_word(field, FLX_DISPLAY_NAME_MAX + 1, text);
    }
    return status;
}

static flx_status read_count(const json_t *body, const char *member, uint32_t max, uint32_t *field,
                             flx_error *reterr)
{
    uint64_t value = *field;
    const flx_status status =
        flx_json_get_u64(body, member, FLX_JSON_OPTIONAL, 1, max, &value, reterr);
    if (status == FLX_OK) {
        *field = (uint32_t)value;
    }
    return status;
}

/* The name an entry gets: a member that must be there and be a name. */
static flx_status read_name(const json_t *body, const char *member, flx_slice *ret_name,
                            flx_error *reterr)
{
    const char *text = NULL;
    flx_status status =
        flx_json_get_text(body, member, FLX_JSON_REQUIRED, WORD_BYTES_MAX, &text, reterr);
    if (status == FLX_OK) {
        status = flx_name_check(member, flx_slice_of(text), reterr);
    }
    if (status == FLX_OK) {
        *ret_name = flx_slice_of(text);
    }
    return status;
}

/* A place is told by the path of the request; a body that says another one is a mistake. */
static flx_status check_same_place(const json_t *body, const char *member, flx_slice place,
                                   flx_error *reterr)
{
    const char *text = NULL;
    const flx_status status =
        flx_json_get_text(body, member, FLX_JSON_OPTIONAL, WORD_BYTES_MAX, &text, reterr);
    if (status == FLX_OK && text != NULL && !flx_slice_is(place, text)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: differs from the path of the request",
                        member);
    }
    return status;
}

/* `retention` is replaced whole: a bound that is left out or null is no bound. */
static flx_status read_retention(const json_t *body, flx_stream_info *stream, flx_error *reterr)
{
    const json_t *retention = NULL;
    flx_status status =
        flx_json_get_object(body, "retention", FLX_JSON_OPTIONAL, &retention, reterr);
    if (status != FLX_OK || retention == NULL) {
        return status;
    }
    uint64_t age_s = 0;
    uint64_t bytes = 0;
    uint64_t records = 0;
    status = flx_json_get_u64(retention, "max_age_seconds", FLX_JSON_OPTIONAL, 1, INT64_MAX, &age_s,
                              reterr);
    if (status == FLX_OK) {
        status = flx_json_get_u64(retention, "max_size_bytes", FLX_JSON_OPTIONAL, 1, INT64_MAX,
                                  &bytes, reterr);
    }
    if (status == FLX_OK) {
        status = flx_json_get_u64(retention, "max_records", FLX_JSON_OPTIONAL, 1, INT64_MAX,
                                  &records, reterr);
    }
    if (status == FLX_OK) {
        stream->retention_records = records;
        stream->retention_age_s = age_s;
        stream->retention_bytes = bytes;
    }
    return status;
}

static flx_status read_slow_policy(const json_t *body, flx_stream_info *stream, flx_error *reterr)
{
    const char *word = NULL;
    const flx_status status =
        flx_json_get_text(body, "slow_policy", FLX_JSON_OPTIONAL, WORD_BYTES_MAX, &word, reterr);
    if (status == FLX_OK && word != NULL &&
        !flx_slow_policy_from_name(flx_slice_of(word), &stream->slow_policy)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "slow_policy: must be lag, drop_new, drop_old or block");
    }
    return status;
}

static flx_ack_rule natural_ack(const flx_promise *promise, const char *consistency)
{
    return flx_ack_rule_default(promise->durable, strcmp(consistency, "Quorum") == 0);
}

/* An ack nobody chose follows the storage: it stays the natural one when that changes. */
static flx_status read_ack(const json_t *body, bool was_natural, const char *consistency,
                           flx_promise *promise, flx_error *reterr)
{
    const char *word = NULL;
    const flx_status status =
        flx_json_get_text(body, "ack", FLX_JSON_OPTIONAL, WORD_BYTES_MAX, &word, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (word != NULL && !flx_ack_rule_from_name(flx_slice_of(word), &promise->ack)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "ack: must be accepted, written, synced or quorum");
    }
    if (word == NULL && was_natural) {
        promise->ack = natural_ack(promise, consistency);
    }
    return FLX_OK;
}

/* A rule nobody chose follows the ack, as the ack follows the storage. */
static flx_status read_fsync(const json_t *body, bool was_natural, flx_promise *promise,
                             flx_error *reterr)
{
    const char *word = NULL;
    flx_status status =
        flx_json_get_text(body, "fsync", FLX_JSON_OPTIONAL, WORD_BYTES_MAX, &word, reterr);
    if (status == FLX_OK && word != NULL &&
        !flx_fsync_rule_from_name(flx_slice_of(word), &promise->fsync)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "fsync: must be none, periodic or on_commit");
    }
    if (status == FLX_OK && word == NULL && was_natural) {
        promise->fsync = flx_fsync_rule_default(promise->durable, promise->ack);
    }
    uint64_t interval_ms = promise->fsync != FLX_FSYNC_PERIODIC ? 0
                           : promise->fsync_ms == 0             ? FLX_FSYNC_MS_DEFAULT
                                                                : promise->fsync_ms;
    if (status == FLX_OK) {
        status = flx_json_get_u64(body, "fsync_interval_ms", FLX_JSON_OPTIONAL, 1, FLX_FSYNC_MS_MAX,
                                  &interval_ms, reterr);
    }
    if (status == FLX_OK) {
        promise->fsync_ms = (uint32_t)interval_ms;
    }
    return status;
}

/* Where the records live and what an answer means: each follows the one before where nobody chose. */
static flx_status read_promise(const json_t *body, char *consistency, size_t size,
                               flx_promise *promise, flx_error *reterr)
{
    const bool was_natural = promise->ack == natural_ack(promise, consistency);
    const bool was_natural_fsync =
        promise->fsync == flx_fsync_rule_default(promise->durable, promise->ack);
    flx_status status = read_word(body, "consistency", consistency, size, reterr);
    if (status == FLX_OK) {
        status = flx_json_get_bool(body, "durable", FLX_JSON_OPTIONAL, &promise->durable, reterr);
    }
    if (status == FLX_OK) {
        status = read_ack(body, was_natural, consistency, promise, reterr);
    }
    return status == FLX_OK ? read_fsync(body, was_natural_fsync, promise, reterr) : status;
}

/* The members a create and a patch share. */
static flx_status read_stream_policies(const json_t *body, flx_stream_info *stream,
                                       flx_error *reterr)
{
    flx_status status = read_retention(body, stream, reterr);
    if (status == FLX_OK) {
        status = read_word(body, "delivery", stream->delivery, sizeof stream->delivery, reterr);
    }
    if (status == FLX_OK) {
        status = read_slow_policy(body, stream, reterr);
    }
    return status == FLX_OK ? read_promise(body, stream->consistency, sizeof stream->consistency,
                                           &stream->promise, reterr)
                            : status;
}

/* The members that stay as they were created. */
static flx_status read_stream_shape(const json_t *body, flx_stream_info *stream, flx_error *reterr)
{
    flx_status status = read_word(body, "kind", stream->kind, sizeof stream->kind, reterr);
    if (status == FLX_OK) {
        status = read_count(body, "shards", FLX_SHARDS_MAX, &stream->shards, reterr);
    }
    if (status == FLX_OK) {
        status = read_count(body, "replication_factor", FLX_REPLICATION_FACTOR_MAX,
                            &stream->replication_factor, reterr);
    }
    if (status == FLX_OK) {
        status = read_word(body, "region", stream->region, sizeof stream->region, reterr);
    }
    const char *routing = NULL;
    if (status == FLX_OK) {
        status =
            flx_json_get_text(body, "routing", FLX_JSON_OPTIONAL, WORD_BYTES_MAX, &routing, reterr);
    }
    if (status == FLX_OK && routing != NULL &&
        !flx_routing_from_name(flx_slice_of(routing), &stream->routing)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "routing: must be modulo or jump_hash");
    }
    return status;
}

static flx_status read_cache(const json_t *body, flx_cache_info *cache, flx_error *reterr)
{
    flx_status status = read_display_name(body, cache->display_name, reterr);
    if (status == FLX_OK) {
        status = read_count(body, "shards", FLX_SHARDS_MAX, &cache->shards, reterr);
    }
    if (status == FLX_OK) {
        status = read_count(body, "replication_factor", FLX_REPLICATION_FACTOR_MAX,
                            &cache->replication_factor, reterr);
    }
    return status == FLX_OK ? read_promise(body, cache->consistency, sizeof cache->consistency,
                                           &cache->promise, reterr)
                            : status;
}

/* An entry of the kind with every default and the names of its key, which were checked. */
static void entry_init(flx_kind kind, const flx_key *key, flx_entry *entry)
{
    memset(entry, 0, sizeof *entry);
    entry->kind = kind;
    switch (kind) {
    case FLX_KIND_TENANT:
        copy_name(entry->tenant.tenant, key->tenant);
        copy_name(entry->tenant.display_name, key->tenant);
        return;
    case FLX_KIND_NAMESPACE:
        copy_name(entry->namespace_.tenant, key->tenant);
        copy_name(entry->namespace_.namespace_, key->namespace_);
        copy_name(entry->namespace_.display_name, key->namespace_);
        return;
    case FLX_KIND_STREAM:
        flx_stream_info_init(&entry->stream, "", "", "");
        copy_name(entry->stream.tenant, key->tenant);
        copy_name(entry->stream.namespace_, key->namespace_);
        copy_name(entry->stream.name, key->name);
        return;
    case FLX_KIND_CACHE:
        flx_cache_info_init(&entry->cache, "", "", "");
        copy_name(entry->cache.tenant, key->tenant);
        copy_name(entry->cache.namespace_, key->namespace_);
        copy_name(entry->cache.name, key->name);
        copy_name(entry->cache.display_name, key->name);
        return;
    case FLX_KIND_COUNT:
        break;
    }
    FLX_UNREACHABLE();
}

/* The whole key: the place from the path, the last part from the body. */
static flx_status read_key(flx_kind kind, const flx_key *where, const json_t *body,
                           flx_key *ret_key, flx_error *reterr)
{
    flx_key key = *where;
    flx_status status = FLX_OK;
    if (kind == FLX_KIND_TENANT) {
        status = read_name(body, "tenant_id", &key.tenant, reterr);
    } else if (kind == FLX_KIND_NAMESPACE) {
        status = read_name(body, "namespace", &key.namespace_, reterr);
    } else {
        status = read_name(body, flx_kind_name(kind), &key.name, reterr);
    }
    if (status == FLX_OK && kind != FLX_KIND_TENANT) {
        status = check_same_place(body, "tenant_id", key.tenant, reterr);
    }
    if (status == FLX_OK && kind != FLX_KIND_TENANT) {
        status = check_same_place(body, "namespace", key.namespace_, reterr);
    }
    if (status == FLX_OK) {
        status = flx_key_check(kind, &key, reterr);
    }
    if (status == FLX_OK) {
        *ret_key = key;
    }
    return status;
}

flx_status flx_entry_from_json(flx_kind kind, const flx_key *where, const json_t *body,
                               const flx_abilities *abilities, flx_entry *ret_entry,
                               flx_error *reterr)
{
    flx_key key = {0};
    flx_status status = flx_json_need_object(body, "body", reterr);
    if (status == FLX_OK) {
        status = read_key(kind, where, body, &key, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    flx_entry entry;
    entry_init(kind, &key, &entry);
    if (kind == FLX_KIND_TENANT) {
        status = read_display_name(body, entry.tenant.display_name, reterr);
    } else if (kind == FLX_KIND_NAMESPACE) {
        status = read_display_name(body, entry.namespace_.display_name, reterr);
    } else if (kind == FLX_KIND_CACHE) {
        status = read_cache(body, &entry.cache, reterr);
    } else {
        status = read_stream_shape(body, &entry.stream, reterr);
        if (status == FLX_OK) {
            status = read_stream_policies(body, &entry.stream, reterr);
        }
    }
    if (status == FLX_OK) {
        status = flx_entry_check(&entry, abilities, reterr);
    }
    if (status == FLX_OK) {
        *ret_entry = entry;
    }
    return status;
}

/* What cannot change may be named in a patch, but only as it is. */
static flx_status check_fixed(const flx_entry *entry, const json_t *body, flx_error *reterr)
{
    static const char *const fixed[] = {
        "tenant_id",          "namespace", "stream",  "cache",  "shards",
        "replication_factor", "kind",      "routing", "region", "durable"};
    json_t *now = flx_entry_to_json(entry);
    if (now == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "json: out of memory");
    }
    flx_status status = FLX_OK;
    for (size_t i = 0; status == FLX_OK && i < sizeof fixed / sizeof fixed[0]; i++) {
        const json_t *said = json_object_get(body, fixed[i]);
        if (said != NULL && !json_is_null(said) &&
            json_equal(said, json_object_get(now, fixed[i])) == 0) {
            status = flx_fail(reterr, FLX_ERR_INVALID, "%s: is fixed at create", fixed[i]);
        }
    }
    json_decref(now);
    return status;
}

flx_status flx_entry_patch_json(flx_entry *entry, const json_t *body,
                                const flx_abilities *abilities, flx_error *reterr)
{
    flx_entry changed = *entry;
    flx_status status = flx_json_need_object(body, "body", reterr);
    if (status == FLX_OK) {
        status = check_fixed(entry, body, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    switch (entry->kind) {
    case FLX_KIND_TENANT:
        status = read_display_name(body, changed.tenant.display_name, reterr);
        break;
    case FLX_KIND_NAMESPACE:
        status = read_display_name(body, changed.namespace_.display_name, reterr);
        break;
    case FLX_KIND_STREAM:
        status = read_stream_policies(body, &changed.stream, reterr);
        break;
    case FLX_KIND_CACHE:
        status = read_cache(body, &changed.cache, reterr);
        break;
    case FLX_KIND_COUNT:
        FLX_UNREACHABLE();
    }
    if (status == FLX_OK) {
        status = flx_entry_check(&changed, abilities, reterr);
    }
    if (status == FLX_OK) {
        *entry = changed;
    }
    return status;
}
