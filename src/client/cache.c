/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cache: requests made and answers read. How they travel is the business of asks.c; the
 * waiting calls are the others with a waiter behind them.
 */
#include "client/client_int.h"
#include "client/names.h"
#include "client/places.h"
#include "client/waiter.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/flags.h"
#include "wire/utf8.h"

#include <felix/cache.h>

#include <string.h>

#define KEY_BYTES_MAX 65535

struct flx_cache {
    flx_member member;
    flx_scoped_name name;
    uint64_t serial; /* of this client's caches, from 1 on */
    flx_places places;
};

static void cache_service(flx_member *member)
{
    (void)member; /* a seat has news: the next request looks */
}

static void cache_end(flx_member *member, const flx_error *why)
{
    flx_cache *cache = (flx_cache *)member; /* its first member */
    flx_asks_cancel(member->client, member, why);
    flx_places_leave(&cache->places, &member->client->asks);
}

static void cache_destroy(flx_member *member)
{
    flx_cache *cache = (flx_cache *)member;
    flx_places_done(&cache->places);
    flx_free(cache);
}

static const flx_member_ops cache_ops = {
    .service = cache_service, .end = cache_end, .destroy = cache_destroy};

flx_status flx_cache_new(flx_client *client, const char *name, flx_cache **ret_cache,
                         flx_error *reterr)
{
    flx_cache *cache = flx_calloc(1, sizeof(*cache));
    if (cache == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a cache");
    flx_status status =
        flx_scoped_name_parse(name, client->options.tenant, client->options.default_namespace,
                              "cache", &cache->name, reterr);
    cache->serial = flx_asks_next_serial(&client->asks);
    if (status == FLX_OK)
        status = flx_member_init(&cache->member, &cache_ops, client, reterr);
    flx_places_init(&cache->places, &cache->member, &cache->name);
    if (status != FLX_OK) {
        flx_free(cache);
        return status;
    }
    *ret_cache = cache;
    return FLX_OK;
}

flx_cache *flx_cache_free(flx_cache *cache)
{
    if (cache != NULL)
        flx_member_free(&cache->member);
    return NULL;
}

/* ---- entries ---- */

void flx_cache_entry_keep(const flx_cache_entry *entry, flx_cache_entry *ret_entry)
{
    *ret_entry = *entry;
    if (entry->hold != NULL)
        (void)flx_chunk_ref(entry->hold);
}

void flx_cache_entry_release(flx_cache_entry *entry)
{
    if (entry == NULL)
        return;
    (void)flx_chunk_unref(entry->hold);
    memset(entry, 0, sizeof(*entry));
}

/* The answer's bytes live in the stream's buffer, so what a caller may keep is copied once. */
static bool fill_entry(const struct flx_msg_cache_value *value, flx_cache_entry *ret_entry)
{
    *ret_entry = (flx_cache_entry){.found = value->has_value,
                                   .has_version = value->has_version,
                                   .version = value->has_version ? value->version : 0};
    if (!value->has_value || value->value.len == 0)
        return true;
    flx_chunk *chunk = flx_chunk_new(value->value.len);
    if (chunk == NULL)
        return false;
    memcpy(chunk->data, value->value.ptr, value->value.len);
    chunk->len = (uint32_t)value->value.len;
    ret_entry->value = (flx_slice){chunk->data, value->value.len};
    ret_entry->hold = chunk;
    return true;
}

/* ---- answers ---- */

static flx_cache_fn done_of(const flx_ask *ask)
{
    flx_cache_fn done;
    memcpy(&done, &ask->user[0], sizeof(done)); /* a function does not convert to an object */
    return done;
}

static void report_counter(const flx_ask *ask, const flx_counter_result *result)
{
    flx_counter_fn done;
    memcpy(&done, &ask->user[0], sizeof(done));
    done(ask->user[1], result);
}

static bool is_of_counter(const flx_ask *ask)
{
    return (flx_msg_type)(uintptr_t)ask->user[2] == FLX_MSG_COUNTER_VALUE;
}

static void report_error(const flx_ask *ask, const flx_error *error)
{
    if (is_of_counter(ask)) {
        const flx_counter_result failed = {.status = error->status, .error = error};
        report_counter(ask, &failed);
        return;
    }
    const flx_cache_result result = {.status = error->status, .error = error};
    done_of(ask)(ask->user[1], &result);
}

static void report_value(const flx_ask *ask, const flx_msg *msg)
{
    flx_cache_entry entry;
    flx_error error;
    if (!fill_entry(&msg->cache_value, &entry)) {
        (void)flx_fail(&error, FLX_ERR_NOMEM, "a value of %zu bytes", msg->cache_value.value.len);
        report_error(ask, &error);
        return;
    }
    const flx_cache_result result = {.status = FLX_OK, .applied = true, .entry = &entry};
    done_of(ask)(ask->user[1], &result);
    flx_cache_entry_release(&entry);
}

static void report_condition(const flx_ask *ask, const flx_msg *msg)
{
    const struct flx_msg_cache_condition_result *answer = &msg->cache_condition_result;
    const flx_cache_entry entry = {.found = answer->has_version,
                                   .has_version = answer->has_version,
                                   .version = answer->has_version ? answer->version : 0};
    const flx_cache_result result = {.status = FLX_OK, .applied = answer->applied, .entry = &entry};
    done_of(ask)(ask->user[1], &result);
}

static void cache_answered(flx_ask *ask, flx_msg *msg, const flx_error *error)
{
    const flx_msg_type wanted = (flx_msg_type)(uintptr_t)ask->user[2];
    if (error != NULL) {
        report_error(ask, error);
    } else if (msg->type != wanted) {
        flx_error wrong;
        (void)flx_fail(&wrong, FLX_ERR_PROTOCOL, "a cache request was answered with %s",
                       flx_msg_name(msg->type));
        report_error(ask, &wrong);
    } else if (msg->type == FLX_MSG_CACHE_VALUE) {
        report_value(ask, msg);
    } else if (msg->type == FLX_MSG_CACHE_CONDITION_RESULT) {
        report_condition(ask, msg);
    } else if (msg->type == FLX_MSG_COUNTER_VALUE) {
        const flx_counter_result result = {
            .status = FLX_OK,
            .found = msg->counter_value.has_value,
            .value = msg->counter_value.has_value ? msg->counter_value.value : 0};
        report_counter(ask, &result);
    } else {
        const flx_cache_result result = {.status = FLX_OK, .applied = true};
        done_of(ask)(ask->user[1], &result);
    }
}

/* ---- requests ---- */

/* One request as all make it. */
typedef struct request {
    flx_cache *cache;
    flx_slice key;
    flx_cache_fn done;
    flx_counter_fn counter_done; /* instead */
    void *arg;
    uint64_t timeout_ns;
    uint32_t features;
    bool is_read;
    flx_msg_type answer; /* what success is answered with */
} request;

static flx_status check_key(flx_slice key, flx_error *reterr)
{
    if (key.len == 0 || key.len > KEY_BYTES_MAX)
        return flx_fail(reterr, key.len == 0 ? FLX_ERR_INVALID : FLX_ERR_TOO_LARGE,
                        "a key of %zu bytes (1 to %d)", key.len, KEY_BYTES_MAX);
    if (memchr(key.ptr, '\0', key.len) != NULL || !flx_utf8_is_valid(key))
        return flx_fail(reterr, FLX_ERR_INVALID, "a key that is not UTF-8 text");
    return FLX_OK;
}

static flx_status begin(const request *from, flx_ask **ret_ask, flx_error *reterr)
{
    flx_status status = check_key(from->key, reterr);
    if (status != FLX_OK)
        return status;
    flx_ask *ask;
    status = flx_ask_new(from->cache->member.client, &ask, reterr);
    if (status != FLX_OK)
        return status;
    ask->answered = cache_answered;
    ask->owner = &from->cache->member;
    ask->features = from->features;
    ask->is_read = from->is_read;
    ask->timeout_ns = from->timeout_ns;
    if (from->counter_done != NULL)
        memcpy(&ask->user[0], &from->counter_done, sizeof(from->counter_done));
    else
        memcpy(&ask->user[0], &from->done, sizeof(from->done));
    ask->user[1] = from->arg;
    ask->user[2] = (void *)(uintptr_t)from->answer;
    *ret_ask = ask;
    return FLX_OK;
}

#define SET_TARGET(target)                                                                         \
    do {                                                                                           \
        (target).tenant_id = flx_slice_of(name->tenant);                                           \
        (target).namespace_ = flx_slice_of(name->namespace_);                                      \
        (target).cache = flx_slice_of(name->name);                                                 \
        (target).request_id = request_id;                                                          \
    } while (0)

void flx_cache_msg_set_target(flx_msg *msg, const flx_scoped_name *name, uint64_t request_id)
{
    switch (msg->type) {
    case FLX_MSG_CACHE_GET:
        SET_TARGET(msg->cache_get);
        break;
    case FLX_MSG_CACHE_PUT:
        SET_TARGET(msg->cache_put);
        break;
    case FLX_MSG_CACHE_DELETE:
        SET_TARGET(msg->cache_delete);
        break;
    case FLX_MSG_CACHE_PUT_IF:
        SET_TARGET(msg->cache_put_if);
        break;
    case FLX_MSG_CACHE_DELETE_IF:
        SET_TARGET(msg->cache_delete_if);
        break;
    case FLX_MSG_COUNTER_ADD:
        SET_TARGET(msg->counter_add);
        break;
    case FLX_MSG_COUNTER_GET:
        SET_TARGET(msg->counter_get);
        break;
    default:
        FLX_UNREACHABLE();
    }
}

/* How the request travels, as an operation or in JSON, is decided when a channel takes it. */
static flx_status submit(const request *from, flx_operation *operation, flx_error *reterr)
{
    flx_ask *ask;
    flx_status status = begin(from, &ask, reterr);
    if (status != FLX_OK)
        return status;
    ask->name = &from->cache->name;
    ask->serial = from->cache->serial;
    ask->places = &from->cache->places;
    operation->key = from->key;
    status = flx_ask_encode_operation(ask, operation, reterr);
    if (status == FLX_OK)
        status = flx_ask_submit(ask, reterr);
    if (status != FLX_OK)
        flx_ask_discard(ask);
    return status;
}

static flx_status send_get(request *from, flx_error *reterr)
{
    flx_operation operation = {.opcode = FLX_OPCODE_CACHE_GET};
    from->is_read = true;
    from->answer = FLX_MSG_CACHE_VALUE;
    return submit(from, &operation, reterr);
}

static flx_status send_delete(request *from, flx_error *reterr)
{
    flx_operation operation = {.opcode = FLX_OPCODE_CACHE_DELETE};
    from->features = FLX_FEATURE_CACHE_DELETE;
    from->answer = FLX_MSG_CACHE_VALUE;
    return submit(from, &operation, reterr);
}

static flx_status send_put(request *from, flx_slice value, uint64_t ttl_ms, flx_error *reterr)
{
    flx_operation operation = {.opcode = FLX_OPCODE_CACHE_PUT,
                               .flags = ttl_ms != FLX_TTL_NONE ? FLX_OPERATION_TTL : 0,
                               .ttl_ms = ttl_ms,
                               .value = value};
    from->answer = FLX_MSG_CACHE_OK;
    return submit(from, &operation, reterr);
}

static flx_status send_put_if(request *from, flx_slice value, uint64_t ttl_ms, uint64_t version,
                              flx_error *reterr)
{
    const int condition = version != FLX_VERSION_ABSENT ? FLX_OPERATION_VERSION : 0;
    const int expiry = ttl_ms != FLX_TTL_NONE ? FLX_OPERATION_TTL : 0;
    flx_operation operation = {.opcode = FLX_OPCODE_CACHE_PUT_IF,
                               .flags = (uint8_t)(condition | expiry),
                               .ttl_ms = ttl_ms,
                               .version = version,
                               .value = value};
    from->features = FLX_FEATURE_CACHE_CONDITIONAL;
    from->answer = FLX_MSG_CACHE_CONDITION_RESULT;
    return submit(from, &operation, reterr);
}

static flx_status send_delete_if(request *from, uint64_t version, flx_error *reterr)
{
    flx_operation operation = {.opcode = FLX_OPCODE_CACHE_DELETE_IF, .version = version};
    from->features = FLX_FEATURE_CACHE_CONDITIONAL;
    from->answer = FLX_MSG_CACHE_CONDITION_RESULT;
    return submit(from, &operation, reterr);
}

static flx_status send_counter_add(request *from, int64_t delta, flx_error *reterr)
{
    flx_operation operation = {.opcode = FLX_OPCODE_COUNTER_ADD, .delta = (uint64_t)delta};
    from->features = FLX_FEATURE_COUNTERS;
    from->answer = FLX_MSG_COUNTER_VALUE;
    return submit(from, &operation, reterr);
}

static flx_status send_counter_get(request *from, flx_error *reterr)
{
    flx_operation operation = {.opcode = FLX_OPCODE_COUNTER_GET};
    from->features = FLX_FEATURE_COUNTERS;
    from->is_read = true;
    from->answer = FLX_MSG_COUNTER_VALUE;
    return submit(from, &operation, reterr);
}

/* ---- with a callback ---- */

static request async_request(flx_cache *cache, flx_slice key, flx_cache_fn done, void *arg)
{
    return (request){.cache = cache,
                     .key = key,
                     .done = done,
                     .arg = arg,
                     .timeout_ns =
                         cache->member.client->options.request_timeout_ms * FLX_NS_PER_MS};
}

flx_status flx_cache_get_async(flx_cache *cache, flx_slice key, flx_cache_fn done, void *arg,
                               flx_error *reterr)
{
    request from = async_request(cache, key, done, arg);
    return send_get(&from, reterr);
}

flx_status flx_cache_put_async(flx_cache *cache, flx_slice key, flx_slice value, uint64_t ttl_ms,
                               flx_cache_fn done, void *arg, flx_error *reterr)
{
    request from = async_request(cache, key, done, arg);
    return send_put(&from, value, ttl_ms, reterr);
}

flx_status flx_cache_delete_async(flx_cache *cache, flx_slice key, flx_cache_fn done, void *arg,
                                  flx_error *reterr)
{
    request from = async_request(cache, key, done, arg);
    return send_delete(&from, reterr);
}

flx_status flx_cache_put_if_async(flx_cache *cache, flx_slice key, flx_slice value, uint64_t ttl_ms,
                                  uint64_t version, flx_cache_fn done, void *arg, flx_error *reterr)
{
    request from = async_request(cache, key, done, arg);
    return send_put_if(&from, value, ttl_ms, version, reterr);
}

flx_status flx_cache_delete_if_async(flx_cache *cache, flx_slice key, uint64_t version,
                                     flx_cache_fn done, void *arg, flx_error *reterr)
{
    request from = async_request(cache, key, done, arg);
    return send_delete_if(&from, version, reterr);
}

flx_status flx_counter_add_async(flx_cache *cache, flx_slice key, int64_t delta,
                                 flx_counter_fn done, void *arg, flx_error *reterr)
{
    request from = async_request(cache, key, NULL, arg);
    from.counter_done = done;
    return send_counter_add(&from, delta, reterr);
}

flx_status flx_counter_get_async(flx_cache *cache, flx_slice key, flx_counter_fn done, void *arg,
                                 flx_error *reterr)
{
    request from = async_request(cache, key, NULL, arg);
    from.counter_done = done;
    return send_counter_get(&from, reterr);
}

/* ---- waiting ---- */

typedef struct cache_wait {
    flx_waiter waiter;
    request request;
    flx_cache_entry entry; /* kept when there is one */
    bool applied;
    flx_counter_result counter;
} cache_wait;

static void wait_counter_done(void *arg, const flx_counter_result *result)
{
    cache_wait *wait = arg;
    wait->counter = *result;
    flx_waiter_wake(&wait->waiter, result->error);
}

static void wait_done(void *arg, const flx_cache_result *result)
{
    cache_wait *wait = arg;
    wait->applied = result->applied;
    if (result->entry != NULL)
        flx_cache_entry_keep(result->entry, &wait->entry);
    flx_waiter_wake(&wait->waiter, result->error);
}

static flx_status wait_begin(cache_wait *wait, flx_cache *cache, flx_slice key, uint32_t timeout_ms,
                             flx_error *reterr)
{
    memset(wait, 0, sizeof(*wait));
    wait->request = (request){.cache = cache,
                              .key = key,
                              .done = wait_done,
                              .arg = wait,
                              .timeout_ns = flx_timeout_ns(timeout_ms)};
    return flx_waiter_init(&wait->waiter, cache->member.client, reterr);
}

flx_status flx_cache_get(flx_cache *cache, flx_slice key, uint32_t timeout_ms,
                         flx_cache_entry *ret_entry, flx_error *reterr)
{
    cache_wait wait;
    flx_status status = wait_begin(&wait, cache, key, timeout_ms, reterr);
    if (status != FLX_OK)
        return status;
    status = flx_waiter_wait(&wait.waiter, send_get(&wait.request, reterr), reterr);
    if (status == FLX_OK)
        *ret_entry = wait.entry;
    return status;
}

flx_status flx_cache_put(flx_cache *cache, flx_slice key, flx_slice value, uint64_t ttl_ms,
                         uint32_t timeout_ms, flx_error *reterr)
{
    cache_wait wait;
    const flx_status status = wait_begin(&wait, cache, key, timeout_ms, reterr);
    if (status != FLX_OK)
        return status;
    return flx_waiter_wait(&wait.waiter, send_put(&wait.request, value, ttl_ms, reterr), reterr);
}

flx_status flx_cache_delete(flx_cache *cache, flx_slice key, uint32_t timeout_ms,
                            flx_cache_entry *ret_removed, flx_error *reterr)
{
    cache_wait wait;
    flx_status status = wait_begin(&wait, cache, key, timeout_ms, reterr);
    if (status != FLX_OK)
        return status;
    status = flx_waiter_wait(&wait.waiter, send_delete(&wait.request, reterr), reterr);
    if (status == FLX_OK && ret_removed != NULL)
        *ret_removed = wait.entry;
    else
        flx_cache_entry_release(&wait.entry);
    return status;
}

static flx_status wait_condition(cache_wait *wait, flx_status accepted, bool *ret_applied,
                                 uint64_t *ret_version, flx_error *reterr)
{
    const flx_status status = flx_waiter_wait(&wait->waiter, accepted, reterr);
    if (status != FLX_OK)
        return status;
    *ret_applied = wait->applied;
    if (ret_version != NULL)
        *ret_version = wait->entry.version;
    return FLX_OK;
}

flx_status flx_cache_put_if(flx_cache *cache, flx_slice key, flx_slice value, uint64_t ttl_ms,
                            uint64_t version, uint32_t timeout_ms, bool *ret_applied,
                            uint64_t *ret_version, flx_error *reterr)
{
    cache_wait wait;
    const flx_status status = wait_begin(&wait, cache, key, timeout_ms, reterr);
    if (status != FLX_OK)
        return status;
    return wait_condition(&wait, send_put_if(&wait.request, value, ttl_ms, version, reterr),
                          ret_applied, ret_version, reterr);
}

flx_status flx_cache_delete_if(flx_cache *cache, flx_slice key, uint64_t version,
                               uint32_t timeout_ms, bool *ret_applied, uint64_t *ret_version,
                               flx_error *reterr)
{
    cache_wait wait;
    const flx_status status = wait_begin(&wait, cache, key, timeout_ms, reterr);
    if (status != FLX_OK)
        return status;
    return wait_condition(&wait, send_delete_if(&wait.request, version, reterr), ret_applied,
                          ret_version, reterr);
}

flx_status flx_counter_add(flx_cache *cache, flx_slice key, int64_t delta, uint32_t timeout_ms,
                           int64_t *ret_value, flx_error *reterr)
{
    cache_wait wait;
    flx_status status = wait_begin(&wait, cache, key, timeout_ms, reterr);
    if (status != FLX_OK)
        return status;
    wait.request.counter_done = wait_counter_done;
    status = flx_waiter_wait(&wait.waiter, send_counter_add(&wait.request, delta, reterr), reterr);
    if (status == FLX_OK)
        *ret_value = wait.counter.value;
    return status;
}

flx_status flx_counter_get(flx_cache *cache, flx_slice key, uint32_t timeout_ms, bool *ret_found,
                           int64_t *ret_value, flx_error *reterr)
{
    cache_wait wait;
    flx_status status = wait_begin(&wait, cache, key, timeout_ms, reterr);
    if (status != FLX_OK)
        return status;
    wait.request.counter_done = wait_counter_done;
    status = flx_waiter_wait(&wait.waiter, send_counter_get(&wait.request, reterr), reterr);
    if (status == FLX_OK) {
        *ret_found = wait.counter.found;
        *ret_value = wait.counter.value;
    }
    return status;
}
