/* SPDX-License-Identifier: Apache-2.0 */
/* The callers' side of a watch: a subscriber (subscriber.c) whose records are changes (watching.c). */
#include "client/subscriber_int.h"
#include "common/alloc.h"
#include "common/error.h"
#include "wire/utf8.h"

#include <felix/watch.h>

#include <string.h>

#define FILTER_BYTES_MAX 65535

struct flx_cache_watch {
    flx_subscriber *subscriber;
    flx_cache_change_fn change_fn;
    flx_end_fn end_fn;
    void *arg;
};

/* ---- making ---- */

static flx_status read_options(const flx_cache_watch_options *from,
                               flx_cache_watch_options *options, flx_error *reterr)
{
    const flx_cache_watch_options defaults = FLX_CACHE_WATCH_OPTIONS_INIT;
    *options = defaults;
    if (from != NULL) {
        if (from->struct_size < sizeof(size_t) || from->struct_size > sizeof(*options))
            return flx_fail(reterr, FLX_ERR_INVALID,
                            "options.struct_size is not one of this library");
        memcpy(options, from, from->struct_size);
    }
    if (options->from > FLX_WATCH_FROM_OFFSET)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.from is no such value");
    if (options->key.ptr != NULL && options->key.len == 0)
        return flx_fail(reterr, FLX_ERR_INVALID, "an empty key");
    return FLX_OK;
}

static flx_status make_watching(const flx_cache_watch_options *options, flx_watching **ret_watching,
                                flx_error *reterr)
{
    const bool is_key = options->key.ptr != NULL;
    const flx_slice filter = is_key ? options->key : options->prefix;
    if (filter.len > FILTER_BYTES_MAX)
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a key or prefix of %zu bytes", filter.len);
    if (filter.len > 0 &&
        (memchr(filter.ptr, '\0', filter.len) != NULL || !flx_utf8_is_valid(filter)))
        return flx_fail(reterr, FLX_ERR_INVALID, "a key or prefix that is not UTF-8 text");
    flx_watching *watching = flx_calloc(1, sizeof(*watching) + filter.len);
    if (watching == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a watch");
    watching->is_key = is_key;
    watching->from = options->from;
    watching->len = filter.len;
    if (filter.len > 0)
        memcpy(watching->text, filter.ptr, filter.len);
    *ret_watching = watching;
    return FLX_OK;
}

static void on_message(void *arg, const flx_message *message)
{
    const flx_cache_watch *watch = arg;
    flx_cache_change change;
    flx_watching_read(message, &change);
    watch->change_fn(watch->arg, &change);
}

static void on_end(void *arg, const flx_error *error)
{
    const flx_cache_watch *watch = arg;
    watch->end_fn(watch->arg, error);
}

/* The subscriber behind it. A key is one shard, whichever it is. */
static flx_status make_subscriber(flx_cache_watch *watch, flx_client *client, const char *cache,
                                  const flx_cache_watch_options *options, flx_error *reterr)
{
    flx_subscriber_options inner = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_watching *watching = NULL;
    flx_status status = make_watching(options, &watching, reterr);
    if (status != FLX_OK)
        return status;
    inner.shard = watching->is_key ? 0 : options->shard;
    inner.from = options->from == FLX_WATCH_FROM_OFFSET ? FLX_FROM_OFFSET : FLX_FROM_LATEST;
    inner.offset = options->offset;
    inner.no_resume = options->no_resume;
    inner.not_found_ms = options->not_found_ms;
    inner.message_fn = options->change_fn != NULL ? on_message : NULL;
    inner.end_fn = options->end_fn != NULL ? on_end : NULL;
    inner.arg = watch;
    status = flx_subscriber_make(client, cache, &inner, watching, &watch->subscriber, reterr);
    if (status != FLX_OK)
        flx_free(watching);
    return status;
}

flx_status flx_cache_watch_new(flx_client *client, const char *cache,
                               const flx_cache_watch_options *options, flx_cache_watch **ret_watch,
                               flx_error *reterr)
{
    flx_cache_watch_options given;
    flx_status status = read_options(options, &given, reterr);
    if (status != FLX_OK)
        return status;
    flx_cache_watch *watch = flx_calloc(1, sizeof(*watch));
    if (watch == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a watch");
    watch->change_fn = given.change_fn;
    watch->end_fn = given.end_fn;
    watch->arg = given.arg;
    status = make_subscriber(watch, client, cache, &given, reterr);
    if (status != FLX_OK) {
        flx_free(watch);
        return status;
    }
    *ret_watch = watch;
    return FLX_OK;
}

flx_cache_watch *flx_cache_watch_free(flx_cache_watch *watch)
{
    if (watch != NULL) {
        flx_subscriber_free(watch->subscriber);
        flx_free(watch);
    }
    return NULL;
}

/* ---- receiving ---- */

flx_status flx_cache_watch_wait(flx_cache_watch *watch, uint32_t timeout_ms, flx_error *reterr)
{
    return flx_subscriber_wait(watch->subscriber, timeout_ms, reterr);
}

flx_status flx_cache_watch_receive(flx_cache_watch *watch, uint32_t timeout_ms,
                                   flx_cache_change *ret_change, flx_error *reterr)
{
    flx_message message;
    const flx_status status =
        flx_subscriber_receive(watch->subscriber, timeout_ms, &message, reterr);
    if (status == FLX_OK)
        flx_watching_read(&message, ret_change); /* the hold changes hands */
    return status;
}

uint32_t flx_cache_watch_shards(flx_cache_watch *watch)
{
    flx_subscriber *subscriber = watch->subscriber;
    (void)pthread_mutex_lock(&subscriber->mutex);
    const uint32_t shards = subscriber->shard_count;
    (void)pthread_mutex_unlock(&subscriber->mutex);
    return shards;
}

int flx_cache_watch_fd(flx_cache_watch *watch)
{
    return flx_subscriber_fd(watch->subscriber);
}

bool flx_cache_watch_position(flx_cache_watch *watch, uint32_t shard, uint64_t *ret_next_offset)
{
    return flx_subscriber_position(watch->subscriber, shard, ret_next_offset);
}

/* ---- changes ---- */

flx_status flx_cache_change_keep(const flx_cache_change *change, flx_cache_change *ret_change,
                                 flx_error *reterr)
{
    /* A message has two slices too, and keeps them the same way. */
    const flx_message borrowed = {
        .payload = change->key, .publisher = change->value, .hold = change->hold};
    flx_message kept;
    const flx_status status = flx_message_keep(&borrowed, &kept, reterr);
    if (status != FLX_OK)
        return status;
    *ret_change = *change;
    ret_change->key = kept.payload;
    ret_change->value = kept.publisher;
    ret_change->hold = kept.hold;
    return FLX_OK;
}

void flx_cache_change_release(flx_cache_change *change)
{
    if (change == NULL)
        return;
    flx_message message = {.hold = change->hold};
    flx_message_release(&message);
    memset(change, 0, sizeof(*change));
}
