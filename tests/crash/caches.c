/* SPDX-License-Identifier: Apache-2.0 */
/* caches.c - see caches.h. */
#include "caches.h"

#include "common/assert.h"
#include "common/clock.h"
#include "common/slice.h"
#include "ledger.h" /* ledger_random */
#include "router/router.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OUT_MAX         32
#define SESSION_OPS     600
#define VALUE_MAX       2000
#define TTL_LONG_MS     UINT64_C(3600000)
#define REQUEST_WAIT_MS 30000

static uint64_t now_ms(void)
{
    return flx_clock_wall_us() / 1000;
}

__attribute__((format(printf, 2, 3))) static void broke(caches *all, const char *format, ...)
{
    if (all->is_broken) {
        return;
    }
    all->is_broken = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(all->why, sizeof all->why, format, args);
    va_end(args);
}

/* --- keys and values --- */

static flx_slice key_text(size_t index, char buffer[24])
{
    (void)snprintf(buffer, 24, "key/%03zu", index);
    return flx_slice_of(buffer);
}

static size_t value_bytes(size_t index, uint64_t number, uint8_t ret_bytes[VALUE_MAX])
{
    uint64_t state = number * CACHE_KEYS + index;
    const uint64_t head[2] = {index, number};
    const size_t len = sizeof head + ledger_random(&state) % 1200;
    memcpy(ret_bytes, head, sizeof head);
    for (size_t at = sizeof head; at < len; at++) {
        ret_bytes[at] = (uint8_t)(ledger_random(&state) >> 56);
    }
    return len;
}

/* The number of a value that was read under a key; breaks when nobody wrote it. */
static uint64_t number_of(caches *all, size_t index, flx_slice value)
{
    uint64_t head[2] = {0, 0};
    uint8_t expected[VALUE_MAX];
    if (value.len >= sizeof head) {
        memcpy(head, value.ptr, sizeof head);
    }
    if (head[0] != index || head[1] == 0 || value_bytes(index, head[1], expected) != value.len ||
        memcmp(expected, value.ptr, value.len) != 0) {
        broke(all, "key %zu has %zu bytes that nobody wrote", index, value.len);
    }
    return head[1];
}

static bool key_index(caches *all, flx_slice key, size_t *ret_index)
{
    char text[24];
    unsigned index = 0;
    if (key.len < sizeof text) {
        memcpy(text, key.ptr, key.len);
        text[key.len] = '\0';
        if (sscanf(text, "key/%u", &index) == 1 && index < CACHE_KEYS) { /* NOLINT(cert-err34-c) */
            *ret_index = index;
            return true;
        }
    }
    broke(all, "a key that nobody wrote, of %zu bytes", key.len);
    return false;
}

/* --- requests --- */

void caches_init(caches *all, uint64_t seed)
{
    memset(all, 0, sizeof *all);
    (void)pthread_mutex_init(&all->lock, NULL);
    all->random = seed;
}

void caches_done(caches *all)
{
    caches_close(all, true);
    (void)pthread_mutex_destroy(&all->lock);
}

void caches_begin(caches *all)
{
    memset(all->keys, 0, sizeof all->keys);
    memset(all->counters, 0, sizeof all->counters);
    memset(all->next_offset, 0, sizeof all->next_offset);
}

static bool is_unanswered(const flx_cache_result *result)
{
    return result->status == FLX_ERR_UNKNOWN_OUTCOME ||
           (result->error != NULL && result->error->retry == FLX_RETRY_OUTCOME_UNKNOWN);
}

/* A request has ended; whether it was answered with success. */
static bool ended(caches *all, const flx_cache_result *result)
{
    all->out--;
    all->acked += result->status == FLX_OK ? 1 : 0;
    all->unanswered += is_unanswered(result) ? 1 : 0;
    return result->status == FLX_OK;
}

/* Whether it may be absent by now: it is nothing, or its end may have come. */
static bool may_be_absent(const cache_value *value)
{
    return value->number == 0 ||
           (value->gone_ms != 0 && value->gone_ms < now_ms() + TTL_LONG_MS / 2);
}

static caches *the; /* whose callbacks these are: there is one */

static void check_shown(caches *all, size_t index, const cache_key *key,
                        const flx_cache_entry *entry, uint64_t asked_ms)
{
    const uint64_t number = entry->found ? number_of(all, index, entry->value) : 0;
    if (number != key->is.number && !(number == 0 && may_be_absent(&key->is))) {
        broke(all, "key %zu was answered as %" PRIu64 ", it is %" PRIu64, index, number,
              key->is.number);
    }
    if (number != 0 && key->is.gone_ms != 0 && asked_ms > key->is.gone_ms) {
        broke(all, "key %zu was shown %" PRIu64 " ms behind its end", index,
              asked_ms - key->is.gone_ms);
    }
}

static void on_written(void *arg, const flx_cache_result *result)
{
    caches *all = the;
    cache_key *key = arg;
    (void)pthread_mutex_lock(&all->lock);
    const bool is_delete = key->new_.number == 0;
    key->is_out = false;
    if (ended(all, result)) {
        if (is_delete) {
            check_shown(all, (size_t)(key - all->keys), key, result->entry, 0);
        }
        if (key->new_.gone_ms != 0) {
            key->new_.gone_ms += now_ms(); /* it began to run before this answer */
        }
        key->is = key->new_;
        key->is_open = false;
    } else if (!is_unanswered(result)) {
        key->is_open = false;
    } else if (key->new_.gone_ms != 0) {
        key->new_.gone_ms += now_ms();
    }
    (void)pthread_mutex_unlock(&all->lock);
}

static void on_read(void *arg, const flx_cache_result *result)
{
    caches *all = the;
    cache_key *key = arg;
    (void)pthread_mutex_lock(&all->lock);
    key->is_out = false;
    if (ended(all, result)) {
        check_shown(all, (size_t)(key - all->keys), key, result->entry, key->new_.gone_ms);
    }
    (void)pthread_mutex_unlock(&all->lock);
}

/* One random request for a key that has none. */
static void ask(caches *all, size_t index)
{
    char text[24];
    uint8_t bytes[VALUE_MAX];
    cache_key *key = &all->keys[index];
    const flx_slice name = key_text(index, text);
    const uint64_t dice = ledger_random(&all->random) % 100;
    const uint64_t ttl_ms = dice < 4 ? 1 + dice * 10 : dice < 8 ? TTL_LONG_MS : 0;
    flx_status status = FLX_OK;
    (void)pthread_mutex_lock(&all->lock);
    const bool reads = dice >= 90;
    const bool deletes = dice >= 75 && !reads;
    key->is_out = true;
    key->is_open = !reads;
    key->new_ = (cache_value){deletes || reads ? 0 : ++all->last_number, reads ? now_ms() : ttl_ms};
    const uint64_t number = key->new_.number;
    all->out++;
    all->session_ops++;
    (void)pthread_mutex_unlock(&all->lock);
    if (reads) {
        status = flx_cache_get_async(all->cache, name, on_read, key, NULL);
    } else if (deletes) {
        status = flx_cache_delete_async(all->cache, name, on_written, key, NULL);
    } else {
        const flx_slice value = {bytes, value_bytes(index, number, bytes)};
        status = flx_cache_put_async(all->cache, name, value, ttl_ms, on_written, key, NULL);
    }
    if (status != FLX_OK) {
        (void)pthread_mutex_lock(&all->lock);
        key->is_out = key->is_open = false;
        all->out--;
        (void)pthread_mutex_unlock(&all->lock);
    }
}

static void on_counted(void *arg, const flx_counter_result *result)
{
    caches *all = the;
    cache_counter *counter = arg;
    (void)pthread_mutex_lock(&all->lock);
    counter->is_out = false;
    all->out--;
    if (result->status == FLX_OK) {
        counter->sum += counter->delta;
        counter->delta = 0;
        all->acked++;
        if (result->value != counter->sum) {
            broke(all, "counter %zu answered %" PRId64 ", it is %" PRId64,
                  (size_t)(counter - all->counters), result->value, counter->sum);
        }
    } else if (result->status != FLX_ERR_UNKNOWN_OUTCOME) {
        counter->delta = 0;
    } else {
        all->unanswered++;
    }
    (void)pthread_mutex_unlock(&all->lock);
}

static void count(caches *all, size_t index)
{
    char text[24];
    cache_counter *counter = &all->counters[index];
    (void)pthread_mutex_lock(&all->lock);
    counter->is_out = true;
    counter->delta = 1 + (int64_t)(ledger_random(&all->random) % 1000);
    all->out++;
    all->session_ops++;
    (void)pthread_mutex_unlock(&all->lock);
    if (flx_counter_add_async(all->cache, key_text(index, text), counter->delta, on_counted,
                              counter, NULL) != FLX_OK) {
        (void)pthread_mutex_lock(&all->lock);
        counter->is_out = false;
        counter->delta = 0;
        all->out--;
        (void)pthread_mutex_unlock(&all->lock);
    }
}

void caches_feed(caches *all)
{
    for (int tries = 0; tries < OUT_MAX; tries++) {
        const size_t index = ledger_random(&all->random) % (CACHE_KEYS + CACHE_COUNTERS);
        (void)pthread_mutex_lock(&all->lock);
        const bool has_room = all->out < OUT_MAX && all->session_ops < SESSION_OPS;
        const bool is_free = index < CACHE_KEYS ? !all->keys[index].is_out
                                                : !all->counters[index - CACHE_KEYS].is_out;
        (void)pthread_mutex_unlock(&all->lock);
        if (!has_room) {
            return;
        }
        if (is_free && index < CACHE_KEYS) {
            ask(all, index);
        } else if (is_free) {
            count(all, index - CACHE_KEYS);
        }
    }
}

/* --- watches --- */

static void on_change(void *arg, const flx_cache_change *change)
{
    caches *all = arg;
    size_t index = 0;
    (void)pthread_mutex_lock(&all->lock);
    if (change->shard >= CACHE_SHARDS) {
        broke(all, "a change of shard %u", change->shard);
    } else if (change->kind == FLX_CACHE_CHANGE_RESET) {
        all->resets++;
        for (size_t i = 0; i < CACHE_KEYS; i++) {
            all->keys[i].folded = all->keys[i].shard == change->shard ? 0 : all->keys[i].folded;
        }
    } else if (change->kind != FLX_CACHE_CHANGE_READY && key_index(all, change->key, &index)) {
        if (!change->is_retained && change->offset < all->next_offset[change->shard]) {
            broke(all, "the watch heard offset %" PRIu64 " of shard %u behind %" PRIu64,
                  change->offset, change->shard, all->next_offset[change->shard] - 1);
        }
        if (!change->is_retained) {
            all->next_offset[change->shard] = change->offset + 1;
        }
        all->changes++;
        all->keys[index].shard = change->shard;
        all->keys[index].folded =
            change->kind == FLX_CACHE_CHANGE_PUT ? number_of(all, index, change->value) : 0;
    }
    (void)pthread_mutex_unlock(&all->lock);
}

static void on_listed(void *arg, const flx_cache_change *change)
{
    caches *all = arg;
    size_t index = 0;
    (void)pthread_mutex_lock(&all->lock);
    if (change->shard >= CACHE_SHARDS) {
        broke(all, "a change of shard %u", change->shard);
    } else if (change->kind == FLX_CACHE_CHANGE_READY) {
        all->is_listed[change->shard] = true;
    } else if (change->kind == FLX_CACHE_CHANGE_RESET) {
        broke(all, "a watch of one start began again");
    } else if (change->is_retained && all->is_listed[change->shard]) {
        broke(all, "more of what was there behind READY");
    } else if (change->is_retained && key_index(all, change->key, &index)) {
        all->keys[index].listed = number_of(all, index, change->value);
        all->listed[change->shard]++;
    }
    (void)pthread_mutex_unlock(&all->lock);
}

static void on_watch_end(void *arg, const flx_error *error)
{
    caches *all = arg;
    if (error->status != FLX_ERR_CLOSED && error->status != FLX_ERR_CANCELED) {
        (void)pthread_mutex_lock(&all->lock);
        broke(all, "a watch ended: %s", error->message);
        (void)pthread_mutex_unlock(&all->lock);
    }
}

static flx_status watch(caches *all, flx_client *client, flx_cache_change_fn change_fn,
                        flx_cache_watch **ret_watch, flx_error *reterr)
{
    flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    options.from = FLX_WATCH_FROM_RETAINED;
    options.change_fn = change_fn;
    options.end_fn = on_watch_end;
    options.arg = all;
    return flx_cache_watch_new(client, CACHE_NAME, &options, ret_watch, reterr);
}

flx_status caches_open(caches *all, flx_client *client, flx_client *steady, flx_error *reterr)
{
    the = all;
    all->session_ops = 0;
    memset(all->is_listed, 0, sizeof all->is_listed);
    memset(all->listed, 0, sizeof all->listed);
    all->listing_ms = now_ms();
    for (size_t i = 0; i < CACHE_KEYS; i++) {
        all->keys[i].listed = 0;
    }
    flx_status status = flx_cache_new(client, CACHE_NAME, &all->cache, reterr);
    if (status == FLX_OK) {
        status = watch(all, client, on_listed, &all->listing, reterr);
    }
    if (status == FLX_OK && all->watch == NULL) {
        status = watch(all, steady, on_change, &all->watch, reterr);
    }
    return status;
}

void caches_close(caches *all, bool forever)
{
    all->listing = flx_cache_watch_free(all->listing);
    all->cache = flx_cache_free(all->cache);
    if (forever) {
        all->watch = flx_cache_watch_free(all->watch);
    }
}

/* --- judging --- */

/* What the listing says of a key, which had no request since the node came up. */
static void settle(caches *all, size_t index)
{
    cache_key *key = &all->keys[index];
    const cache_value *found = NULL;
    const cache_value *const may_be[2] = {&key->is, &key->new_};
    bool may_be_gone = false;
    for (int i = 0; i < (key->is_open ? 2 : 1); i++) {
        may_be_gone = may_be_gone || may_be_absent(may_be[i]);
        found = may_be[i]->number == key->listed ? may_be[i] : found;
    }
    if (found == NULL && !(key->listed == 0 && may_be_gone)) {
        broke(all,
              "lost: key %zu is %" PRIu64 ", neither %" PRIu64 " that was acknowledged nor %" PRIu64
              " that was on its way",
              index, key->listed, key->is.number, key->is_open ? key->new_.number : key->is.number);
    } else if (found != NULL && found->number != 0 && found->gone_ms != 0 &&
               all->listing_ms > found->gone_ms) {
        broke(all, "key %zu was shown %" PRIu64 " ms behind its end", index,
              all->listing_ms - found->gone_ms);
    }
    key->is = found != NULL ? *found : (cache_value){0};
    key->is_open = false;
}

static void settle_counter(caches *all, size_t index)
{
    char text[24];
    flx_error error = {0};
    bool found = false;
    int64_t value = 0;
    cache_counter *counter = &all->counters[index];
    if (flx_counter_get(all->cache, key_text(index, text), REQUEST_WAIT_MS, &found, &value,
                        &error) != FLX_OK) {
        broke(all, "counter %zu cannot be read: %s", index, error.message);
    } else if (value != counter->sum && value != counter->sum + counter->delta) {
        broke(all,
              "lost: counter %zu is %" PRId64 ", neither %" PRId64
              " that was acknowledged nor %" PRId64 " more",
              index, value, counter->sum, counter->delta);
    }
    counter->sum = value;
    counter->delta = 0;
}

static bool is_whole(const caches *all)
{
    bool yes = true;
    for (int i = 0; i < CACHE_SHARDS; i++) {
        yes = yes && all->is_listed[i];
    }
    return yes;
}

/* A key was not told by the listing: does a get know it? For the message. */
static void ask_of_missing(caches *all, size_t index)
{
    char text[24];
    flx_cache_entry entry = {.found = false};
    flx_error error = {0};
    const flx_status status =
        flx_cache_get(all->cache, key_text(index, text), REQUEST_WAIT_MS, &entry, &error);
    (void)fprintf(
        stderr,
        "crash: the listing told %u and %u keys; a get of key %zu: %s, %s, version %" PRIu64 "\n",
        all->listed[0], all->listed[1], index, flx_status_name(status),
        entry.found ? "found" : "absent", entry.version);
    flx_cache_entry_release(&entry);
}

bool caches_are_settled(caches *all)
{
    size_t missing = CACHE_KEYS;
    (void)pthread_mutex_lock(&all->lock);
    const bool is_listed = is_whole(all);
    const bool was = all->listing == NULL;
    if (is_listed && !was) {
        for (size_t i = 0; i < CACHE_KEYS; i++) {
            settle(all, i);
            missing = missing == CACHE_KEYS && all->is_broken ? i : missing;
        }
    }
    (void)pthread_mutex_unlock(&all->lock);
    if (missing < CACHE_KEYS) {
        ask_of_missing(all, missing);
    }
    if (is_listed && !was) {
        all->listing = flx_cache_watch_free(all->listing);
        for (size_t i = 0; i < CACHE_COUNTERS; i++) {
            settle_counter(all, i);
        }
    }
    return is_listed;
}

/* A key whose value has its end behind it is gone, whether or not anybody said so. */
static bool is_folded(const cache_key *key, uint64_t at_ms)
{
    const bool is_gone = key->is.gone_ms != 0 && at_ms > key->is.gone_ms;
    return key->folded == (is_gone ? 0 : key->is.number) ||
           (key->is.gone_ms != 0 && !is_gone && key->folded == 0);
}

bool caches_are_quiet(caches *all)
{
    (void)pthread_mutex_lock(&all->lock);
    bool yes = all->out == 0;
    const uint64_t at_ms = now_ms();
    for (size_t i = 0; i < CACHE_KEYS && yes; i++) {
        yes = is_folded(&all->keys[i], at_ms);
    }
    (void)pthread_mutex_unlock(&all->lock);
    return yes;
}

flx_status caches_put_last(caches *all, uint32_t *ret_shard, flx_error *reterr)
{
    char text[24];
    uint8_t bytes[VALUE_MAX];
    cache_key *key = &all->keys[0];
    const uint64_t number = ++all->last_number;
    const flx_slice name = key_text(0, text);
    const flx_slice value = {bytes, value_bytes(0, number, bytes)};
    const flx_status status =
        flx_cache_put(all->cache, name, value, FLX_TTL_NONE, REQUEST_WAIT_MS, reterr);
    if (status == FLX_OK) {
        key->is = (cache_value){.number = number};
        *ret_shard = flx_route_shard(FLX_ROUTING_MODULO, name, CACHE_SHARDS);
    }
    return status;
}

const char *caches_why(caches *all, char *buffer, size_t cap)
{
    (void)pthread_mutex_lock(&all->lock);
    const bool is_broken = all->is_broken;
    if (is_broken) {
        (void)snprintf(buffer, cap, "%s: %s", CACHE_NAME, all->why);
    }
    (void)pthread_mutex_unlock(&all->lock);
    return is_broken ? buffer : NULL;
}

void caches_explain(caches *all)
{
    (void)pthread_mutex_lock(&all->lock);
    (void)fprintf(stderr, "crash: %s: %u under way; listed: %u keys%s, %u keys%s\n", CACHE_NAME,
                  all->out, all->listed[0], all->is_listed[0] ? ", all" : "", all->listed[1],
                  all->is_listed[1] ? ", all" : "");
    for (size_t i = 0; i < CACHE_KEYS; i++) {
        if (!is_folded(&all->keys[i], now_ms())) {
            (void)fprintf(stderr, "crash: key %zu is %" PRIu64 ", the watch has %" PRIu64 "\n", i,
                          all->keys[i].is.number, all->keys[i].folded);
        }
    }
    (void)pthread_mutex_unlock(&all->lock);
}
