/* SPDX-License-Identifier: Apache-2.0 */
/* The in-memory cache against a plain model, under eviction, under failed allocations. */
#include "broker/cache.h"
#include "common/alloc.h"
#include "common/hash.h"
#include "unit.h"

#include <malloc.h>
#include <stdio.h>

#define NOW_US      UINT64_C(1700000000000000) /* some day of 2023 */
#define MODEL_KEYS  400
#define MODEL_STEPS 60000
#define SHARDS      2
#define BIG         (FLX_CACHE_CHUNK_BYTES + 100)
#define ENTRIES     200000
#define VALUE_BYTES 100

static flx_cache_pool *pool_of(uint64_t bytes_max)
{
    const flx_cache_options options = {.bytes_max = bytes_max};
    flx_cache_pool *pool = NULL;
    flx_error error;
    assert_int_equal(flx_cache_pool_new(&options, NOW_US, &pool, &error), FLX_OK);
    return pool;
}

static flx_cache_shard *shard_of(flx_cache_pool *pool)
{
    flx_cache_shard *shard = NULL;
    flx_error error;
    assert_int_equal(flx_cache_shard_new(pool, NULL, &shard, &error), FLX_OK);
    return shard;
}

static flx_cache_outcome put(flx_cache_shard *shard, flx_cache_write write, uint64_t now_us)
{
    flx_cache_outcome outcome = {0};
    flx_error error;
    assert_int_equal(flx_cache_shard_put(shard, &write, now_us, &outcome, &error), FLX_OK);
    return outcome;
}

static flx_cache_outcome delete_if(flx_cache_shard *shard, flx_slice key, uint64_t version,
                                   uint64_t now_us)
{
    flx_cache_outcome outcome = {0};
    assert_int_equal(flx_cache_shard_delete_if(shard, key, version, now_us, &outcome), FLX_OK);
    return outcome;
}

static flx_cache_outcome put_text(flx_cache_shard *shard, const char *key, const char *value)
{
    return put(shard, (flx_cache_write){.key = slice_of(key), .value = slice_of(value)}, NOW_US);
}

static void expect_text(flx_cache_shard *shard, const char *key, const char *value)
{
    flx_cache_item item;
    assert_true(flx_cache_shard_get(shard, slice_of(key), NOW_US, &item));
    assert_int_equal(item.value.len, strlen(value));
    assert_memory_equal(item.value.ptr, value, item.value.len);
}

static void test_story(void **state)
{
    (void)state;
    flx_cache_pool *pool = pool_of(0);
    flx_cache_shard *shard = shard_of(pool);
    flx_cache_item item;
    assert_false(flx_cache_shard_get(shard, slice_of("a"), NOW_US, &item));
    const flx_cache_outcome first = put_text(shard, "a", "one");
    assert_true(first.applied && first.version > NOW_US);
    expect_text(shard, "a", "one");
    const flx_cache_outcome second = put_text(shard, "a", "a longer value than the one before it");
    assert_true(second.version > first.version);
    expect_text(shard, "a", "a longer value than the one before it");
    (void)put_text(shard, "", ""); /* the empty key is a key, the empty value is a value */
    expect_text(shard, "", "");

    assert_int_equal(flx_cache_shard_delete(shard, slice_of("a"), NOW_US, &item), FLX_OK);
    assert_int_equal(item.version, second.version);
    assert_memory_equal(item.value.ptr, "a longer", 8); /* until the next call */
    assert_int_equal(flx_cache_shard_delete(shard, slice_of("a"), NOW_US, &item),
                     FLX_ERR_NOT_FOUND);

    flx_cache_stats stats;
    flx_cache_pool_stats(pool, &stats);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.hits, 3);
    assert_int_equal(stats.misses, 1);
    assert_int_equal(stats.writes, 4);
    (void)flx_cache_shard_free(shard);
    flx_cache_pool_stats(pool, &stats);
    assert_int_equal(stats.bytes, 0);
    (void)flx_cache_pool_free(pool);
}

static void test_conditions(void **state)
{
    (void)state;
    flx_cache_pool *pool = pool_of(0);
    flx_cache_shard *shard = shard_of(pool);
    flx_cache_write write = {.key = slice_of("k"), .value = slice_of("v")};
    write.condition = FLX_CACHE_IF_VERSION;
    write.version = 7;
    flx_cache_outcome outcome = put(shard, write, NOW_US);
    assert_true(!outcome.applied && outcome.version == 0); /* nothing there */
    write.condition = FLX_CACHE_IF_ABSENT;
    outcome = put(shard, write, NOW_US);
    assert_true(outcome.applied);
    const uint64_t version = outcome.version;
    outcome = put(shard, write, NOW_US);
    assert_true(!outcome.applied && outcome.version == version);
    write.condition = FLX_CACHE_IF_VERSION;
    write.version = version;
    outcome = put(shard, write, NOW_US);
    assert_true(outcome.applied && outcome.version > version);
    assert_false(delete_if(shard, write.key, version, NOW_US).applied);
    const flx_cache_outcome gone = delete_if(shard, write.key, outcome.version, NOW_US);
    assert_true(gone.applied && gone.version == 0);
    assert_int_equal(delete_if(shard, write.key, outcome.version, NOW_US).version, 0);
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

static void test_expiry(void **state)
{
    (void)state;
    flx_cache_pool *pool = pool_of(0);
    flx_cache_shard *shard = shard_of(pool);
    const uint64_t now_ms = NOW_US / 1000;
    flx_cache_item item;
    flx_cache_stats stats;
    flx_cache_write write = {.key = slice_of("k"), .value = slice_of("v")};
    write.expires_at_ms = now_ms + 10;
    assert_int_equal(flx_cache_pool_next_expiry_ms(pool), UINT64_MAX);
    (void)put(shard, write, NOW_US);
    assert_true(flx_cache_pool_next_expiry_ms(pool) <= now_ms + 10);
    assert_true(flx_cache_shard_get(shard, write.key, NOW_US + 9999, &item));
    assert_int_equal(item.expires_at_ms, now_ms + 10);
    assert_false(
        flx_cache_shard_get(shard, write.key, NOW_US + 10000, &item)); /* lazily, exactly then */

    (void)put(shard, write, NOW_US);
    write.expires_at_ms = 0; /* a put without one takes the expiry away */
    (void)put(shard, write, NOW_US);
    assert_false(flx_cache_pool_expire(pool, NOW_US + 20000, 100));
    assert_true(flx_cache_shard_get(shard, write.key, NOW_US + 20000, &item));

    write.expires_at_ms = now_ms + 30; /* expired by the pass, unread */
    (void)put(shard, write, NOW_US + 20000);
    while (flx_cache_pool_expire(pool, NOW_US + 30000, 1)) {
    }
    flx_cache_pool_stats(pool, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.expirations, 2);

    (void)put_text(shard, "k", "v");
    write.expires_at_ms = now_ms; /* past already: as if written and expired at once */
    assert_true(put(shard, write, NOW_US).applied);
    assert_false(flx_cache_shard_get(shard, write.key, NOW_US, &item));
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

static void test_limits(void **state)
{
    (void)state;
    flx_cache_pool *pool = pool_of(1 << 20);
    flx_cache_shard *shard = shard_of(pool);
    flx_error error;
    flx_cache_outcome outcome;
    uint8_t *bytes = calloc(1, 1 << 20);
    const struct {
        size_t key_len, value_len;
        flx_status status;
    } rows[] = {
        {FLX_CACHE_KEY_MAX, 10, FLX_OK},
        {FLX_CACHE_KEY_MAX + 1, 10, FLX_ERR_TOO_LARGE},
        {1, (1 << 18) - 1, FLX_OK}, /* a quarter of the pool */
        {1, (1 << 18) + 1, FLX_ERR_TOO_LARGE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const flx_cache_write write = {.key = {bytes, rows[i].key_len},
                                       .value = {bytes, rows[i].value_len}};
        assert_int_equal(flx_cache_shard_put(shard, &write, NOW_US, &outcome, &error),
                         rows[i].status);
    }
    free(bytes);
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

/* A large value keeps the chunk it came in, and a reader keeps it beyond its deletion. */
static void test_large_values_are_shared(void **state)
{
    (void)state;
    flx_cache_pool *pool = pool_of(0);
    flx_cache_shard *shard = shard_of(pool);
    flx_chunk *chunk = flx_chunk_new(BIG + 50);
    assert_non_null(chunk);
    memset(chunk->data, 'x', BIG + 50);
    chunk->len = BIG + 50;
    flx_cache_item item;
    const flx_cache_write write = {
        .key = slice_of("big"), .value = {chunk->data + 50, BIG}, .chunk = chunk};
    (void)put(shard, write, NOW_US);
    assert_true(flx_cache_shard_get(shard, write.key, NOW_US, &item));
    assert_ptr_equal(item.chunk, chunk);
    assert_ptr_equal(item.value.ptr, chunk->data + 50);
    assert_int_equal(item.value.len, BIG);
    assert_int_equal(flx_cache_shard_delete(shard, write.key, NOW_US, NULL), FLX_OK);
    assert_int_equal(flx_cache_shard_delete(shard, write.key, NOW_US, NULL), FLX_ERR_NOT_FOUND);
    assert_true(flx_chunk_is_sole(chunk));

    flx_chunk *roomy = flx_chunk_new(10 * BIG); /* not worth keeping for a tenth of it */
    assert_non_null(roomy);
    memset(roomy->data, 'y', BIG);
    roomy->len = BIG;
    (void)put(
        shard,
        (flx_cache_write){.key = slice_of("big"), .value = {roomy->data, BIG}, .chunk = roomy},
        NOW_US);
    assert_true(flx_chunk_is_sole(roomy));
    assert_true(flx_cache_shard_get(shard, slice_of("big"), NOW_US, &item));
    flx_chunk *kept = flx_chunk_ref(item.chunk); /* copied once, into a chunk of its own */
    (void)put_text(shard, "big", "small now");
    assert_int_equal(kept->data[BIG - 1], 'y');
    (void)flx_chunk_unref(kept);
    (void)flx_chunk_unref(roomy);
    (void)flx_chunk_unref(chunk);
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

/* --- against a model ----------------------------------------------------------------------------- */

typedef struct model_entry {
    bool is_there;
    uint8_t fill;
    size_t len;
    uint64_t version;
    uint64_t expires_at_ms;
} model_entry;

typedef struct model {
    model_entry entries[SHARDS][MODEL_KEYS];
    uint64_t now_us;
    uint64_t version_max;
} model;

static size_t key_text(size_t number, char text[300])
{
    /* Some keys are long, and all share beginnings, so that prefixes mean something. */
    const int len =
        snprintf(text, 300, "user/%zu/%*s%zu", number % 7, number % 50 == 0 ? 200 : 0, "", number);
    assert_true(len > 0 && len < 300);
    return (size_t)len;
}

static model_entry *living(model *all, size_t shard, size_t key)
{
    model_entry *entry = &all->entries[shard][key];
    if (entry->expires_at_ms != 0 && entry->expires_at_ms <= all->now_us / 1000) {
        *entry = (model_entry){0};
    }
    return entry;
}

static size_t random_len(void)
{
    switch (random() % 8) {
    case 0:
        return 0;
    case 1:
        return BIG + (size_t)random() % 100;
    default:
        return (size_t)random() % 300;
    }
}

static void model_put(model *all, flx_cache_shard *shard, size_t shard_number, size_t key)
{
    static uint8_t value[BIG + 100];
    char text[300];
    model_entry *entry = living(all, shard_number, key);
    flx_cache_write write = {.key = {(const uint8_t *)text, key_text(key, text)},
                             .value = {value, random_len()}};
    const uint8_t fill = (uint8_t)random();
    memset(value, fill, write.value.len);
    if (random() % 2 == 0) {
        write.expires_at_ms = all->now_us / 1000 + (uint64_t)random() % 3000;
    }
    bool should_apply = true;
    if (random() % 4 == 0) {
        write.condition = FLX_CACHE_IF_ABSENT;
        should_apply = !entry->is_there;
    } else if (random() % 4 == 0) {
        write.condition = FLX_CACHE_IF_VERSION;
        write.version = random() % 2 == 0 ? entry->version : all->version_max;
        should_apply = entry->is_there && entry->version == write.version;
    }
    const flx_cache_outcome outcome = put(shard, write, all->now_us);
    assert_int_equal(outcome.applied, should_apply);
    if (!should_apply) {
        assert_int_equal(outcome.version, entry->is_there ? entry->version : 0);
        return;
    }
    assert_true(outcome.version > all->version_max);
    all->version_max = outcome.version;
    *entry = (model_entry){true, fill, write.value.len, outcome.version, write.expires_at_ms};
    (void)living(all, shard_number, key); /* expired at once */
}

static void compare_item(const model_entry *entry, const flx_cache_item *item)
{
    assert_true(entry->is_there);
    assert_int_equal(item->value.len, entry->len);
    assert_int_equal(item->version, entry->version);
    assert_int_equal(item->expires_at_ms, entry->expires_at_ms);
    assert_int_equal(item->chunk != NULL, entry->len >= FLX_CACHE_CHUNK_BYTES);
    for (size_t i = 0; i < item->value.len; i += 1 + item->value.len / 5) {
        assert_int_equal(item->value.ptr[i], entry->fill);
    }
}

static void model_read(model *all, flx_cache_shard *shard, size_t shard_number, size_t key)
{
    char text[300];
    const flx_slice name = {(const uint8_t *)text, key_text(key, text)};
    model_entry *entry = living(all, shard_number, key);
    flx_cache_item item;
    bool is_there = false;
    switch (random() % 4) {
    case 0:
        is_there = flx_cache_shard_delete(shard, name, all->now_us, &item) == FLX_OK;
        break;
    case 1: {
        const bool is_right = random() % 2 == 0;
        const uint64_t version = is_right ? entry->version : entry->version + 1;
        const flx_cache_outcome outcome = delete_if(shard, name, version, all->now_us);
        assert_int_equal(outcome.applied, entry->is_there && is_right);
        if (outcome.applied) {
            *entry = (model_entry){0};
        }
        return;
    }
    default:
        is_there = flx_cache_shard_get(shard, name, all->now_us, &item);
        if (is_there) {
            compare_item(entry, &item);
        }
        assert_int_equal(is_there, entry->is_there);
        return;
    }
    assert_int_equal(is_there, entry->is_there);
    if (is_there) {
        compare_item(entry, &item);
        *entry = (model_entry){0};
    }
}

typedef struct listing {
    model *all;
    size_t shard;
    flx_slice prefix;
    uint8_t seen[MODEL_KEYS];
    size_t count;
} listing;

static bool list_one(void *arg, const flx_cache_item *item)
{
    listing *self = arg;
    char text[300];
    assert_true(item->key.len < sizeof text);
    memcpy(text, item->key.ptr, item->key.len);
    text[item->key.len] = '\0';
    const size_t key = strtoul(text + strlen("user/0/"), NULL, 10);
    assert_true(key < MODEL_KEYS && self->seen[key] == 0); /* once */
    assert_memory_equal(text, self->prefix.ptr, self->prefix.len);
    self->seen[key] = 1;
    compare_item(&self->all->entries[self->shard][key], item);
    self->count++;
    return true;
}

/* Lists in small pages and compares with the model: each living key with the prefix, once. */
static void model_list(model *all, const flx_cache_shard *shard, size_t shard_number)
{
    const flx_slice prefixes[] = {slice_of(""), slice_of("user/3/"), slice_of("user/9/")};
    for (size_t p = 0; p < 3; p++) {
        listing self = {.all = all, .shard = shard_number, .prefix = prefixes[p]};
        flx_cache_cursor cursor = {0};
        while (!cursor.is_done) {
            (void)flx_cache_shard_list(shard, prefixes[p], all->now_us, 7, &cursor, list_one,
                                       &self);
        }
        size_t expected = 0;
        for (size_t key = 0; key < MODEL_KEYS; key++) {
            char text[300];
            (void)key_text(key, text);
            expected += living(all, shard_number, key)->is_there &&
                        memcmp(text, prefixes[p].ptr, prefixes[p].len) == 0;
        }
        assert_int_equal(self.count, expected);
    }
}

static void test_follows_the_model(void **state)
{
    (void)state;
    static model all;
    memset(&all, 0, sizeof all);
    all.now_us = NOW_US;
    srandom(11);
    flx_cache_pool *pool = pool_of(0); /* large enough: nothing is evicted */
    flx_cache_shard *shards[SHARDS] = {shard_of(pool), shard_of(pool)};
    for (int i = 0; i < MODEL_STEPS; i++) {
        const size_t shard = (size_t)random() % SHARDS;
        const size_t key = (size_t)random() % MODEL_KEYS;
        if (random() % 2 == 0) {
            model_put(&all, shards[shard], shard, key);
        } else {
            model_read(&all, shards[shard], shard, key);
        }
        if (i % 10 == 0) {
            all.now_us += (uint64_t)random() % 20000;
        }
        if (i % 100 == 0) {
            (void)flx_cache_pool_expire(pool, all.now_us, 50);
        }
        if (i % 2000 == 0) {
            model_list(&all, shards[shard], shard);
        }
    }
    size_t expected = 0;
    for (size_t i = 0; i < SHARDS * MODEL_KEYS; i++) {
        expected += living(&all, i / MODEL_KEYS, i % MODEL_KEYS)->is_there;
    }
    while (flx_cache_pool_expire(pool, all.now_us, 100)) {
    }
    flx_cache_stats stats;
    flx_cache_pool_stats(pool, &stats);
    assert_int_equal(stats.entries, expected);
    assert_int_equal(stats.evictions, 0);
    for (size_t i = 0; i < SHARDS; i++) {
        while (!flx_cache_shard_clear(shards[i], 10)) {
        }
        (void)flx_cache_shard_free(shards[i]);
    }
    flx_cache_pool_stats(pool, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.bytes, 0);
    (void)flx_cache_pool_free(pool);
}

/* --- the log below -------------------------------------------------------------------------------- */

#define LOG_KEYS 60

/* A log that folds what it is told, and refuses now and then. */
typedef struct folding_log {
    uint64_t next; /* offset */
    bool is_reserved;
    uint32_t refusals;
    uint8_t is_there[LOG_KEYS];
    uint64_t version[LOG_KEYS];
    uint8_t fill[LOG_KEYS];
    uint32_t causes[3];
} folding_log;

static flx_status log_reserve(void *arg, size_t key_len, size_t value_len)
{
    folding_log *log = arg;
    (void)value_len;
    assert_int_equal(key_len, 1);
    if (random() % 7 == 0) {
        log->refusals++;
        return FLX_ERR_AGAIN;
    }
    log->is_reserved = true;
    return FLX_OK;
}

static uint64_t log_append(void *arg, const flx_change *change)
{
    folding_log *log = arg;
    assert_true(log->is_reserved); /* each record had its room reserved */
    log->is_reserved = false;
    const uint8_t key = change->key.ptr[0];
    log->is_there[key] = change->kind == FLX_CHANGE_KIND_PUT;
    log->version[key] = log->next;
    log->fill[key] = change->value.len > 0 ? change->value.ptr[0] : 0;
    log->causes[change->cause] += change->kind == FLX_CHANGE_KIND_DELETE;
    return log->next++;
}

static void compare_with_log(flx_cache_shard *shard, const folding_log *log, uint64_t now_us)
{
    for (uint8_t key = 0; key < LOG_KEYS; key++) {
        flx_cache_item item;
        const bool is_there = flx_cache_shard_peek(shard, (flx_slice){&key, 1}, now_us, &item);
        assert_int_equal(is_there, log->is_there[key]);
        if (is_there) {
            assert_int_equal(item.version, log->version[key]);
            assert_int_equal(item.value.ptr[0], log->fill[key]);
        }
    }
}

/* Folding the log gives the cache, whatever was refused, expired and evicted on the way. */
static void test_every_change_is_a_record(void **state)
{
    (void)state;
    static uint8_t value[6000];
    folding_log log = {.next = 5000};
    const flx_change_log below = {log_reserve, log_append, &log};
    flx_cache_pool *pool = pool_of(100 << 10);
    flx_cache_shard *shard = NULL;
    assert_int_equal(flx_cache_shard_new(pool, &below, &shard, NULL), FLX_OK);
    uint64_t now_us = NOW_US;
    srandom(5);
    for (int i = 0; i < 20000; i++) {
        const uint8_t key = (uint8_t)(random() % LOG_KEYS);
        const flx_slice name = {&key, 1};
        flx_cache_outcome outcome = {0};
        memset(value, (int)(random() % 250) + 1, sizeof value);
        const flx_cache_write write = {
            .key = name,
            .value = {value, 1 + (size_t)random() % 5000},
            .expires_at_ms = random() % 2 == 0 ? 0 : now_us / 1000 + (uint64_t)random() % 2000,
            .condition = random() % 4 == 0 ? FLX_CACHE_IF_ABSENT : FLX_CACHE_ALWAYS};
        const long what = random() % 10;
        const uint64_t before = log.next;
        flx_status status = FLX_OK;
        if (what < 7) {
            status = flx_cache_shard_put(shard, &write, now_us, &outcome, NULL);
            assert_true(status == FLX_ERR_AGAIN || !outcome.applied || outcome.version >= before);
        } else if (what == 7) {
            status = flx_cache_shard_delete(shard, name, now_us, NULL);
        } else if (what == 8) {
            status = flx_cache_shard_delete_if(shard, name, log.version[key], now_us, &outcome);
        } else {
            flx_cache_item item;
            (void)flx_cache_shard_get(shard, name, now_us, &item);
        }
        assert_true(status == FLX_OK || status == FLX_ERR_AGAIN || status == FLX_ERR_NOT_FOUND);
        log.is_reserved = false; /* what was reserved and not used is given back */
        now_us += (uint64_t)random() % 2000;
        if (i % 50 == 0) {
            for (int pass = 0; pass < 50; pass++) { /* refusals are tried again */
                (void)flx_cache_pool_expire(pool, now_us, 1000);
            }
            compare_with_log(shard, &log, now_us);
        }
    }
    assert_true(log.refusals > 100 && log.causes[FLX_CHANGE_ASKED] > 100);
    assert_true(log.causes[FLX_CHANGE_EXPIRED] > 100 && log.causes[FLX_CHANGE_EVICTED] > 100);
    (void)flx_cache_shard_free(shard); /* the shard is gone with its log: no records */
    (void)flx_cache_pool_free(pool);
}

/* --- growing, listing while it grows, what an entry costs ----------------------------------------- */

static uint64_t number_expires_at_ms; /* of what put_number writes */

static flx_cache_outcome put_number(flx_cache_shard *shard, uint32_t number, size_t value_len)
{
    static const uint8_t value[VALUE_BYTES * 10];
    const flx_cache_write write = {.key = {(const uint8_t *)&number, sizeof number},
                                   .value = {value, value_len},
                                   .expires_at_ms = number_expires_at_ms};
    return put(shard, write, NOW_US);
}

static bool has_number(flx_cache_shard *shard, uint32_t number)
{
    flx_cache_item item;
    return flx_cache_shard_get(shard, (flx_slice){(const uint8_t *)&number, sizeof number}, NOW_US,
                               &item);
}

typedef struct seen_numbers {
    uint8_t times[20000];
} seen_numbers;

static bool see_number(void *arg, const flx_cache_item *item)
{
    seen_numbers *self = arg;
    uint32_t number;
    memcpy(&number, item->key.ptr, sizeof number);
    assert_true(number < sizeof self->times);
    self->times[number]++;
    return true;
}

/* Keys 0..9999 are there all the time and are listed once, while as many others come and split
 * segments under the listing. */
static void test_a_listing_survives_growth(void **state)
{
    (void)state;
    flx_cache_pool *pool = pool_of(0);
    flx_cache_shard *shard = shard_of(pool);
    static seen_numbers seen;
    uint32_t next = 0;
    for (; next < 10000; next++) {
        (void)put_number(shard, next, 1);
    }
    flx_cache_cursor cursor = {0};
    while (!cursor.is_done) {
        (void)flx_cache_shard_list(shard, slice_of(""), NOW_US, 50, &cursor, see_number, &seen);
        for (int i = 0; i < 60 && next < 20000; i++) {
            (void)put_number(shard, next++, 1);
        }
    }
    assert_int_equal(next, 20000);
    for (uint32_t i = 0; i < 20000; i++) {
        assert_true(i < 10000 ? seen.times[i] == 1 : seen.times[i] <= 1);
    }
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

/* The sanitizers' count of what was asked for; absent without them. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* The heap in use: exact with the C library's allocator; with a sanitizer's what was asked for. */
static size_t heap_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes != NULL
               ? __sanitizer_get_current_allocated_bytes()
               : mallinfo2().uordblks;
}

/* Rule 5: an entry costs at most 96 bytes beside its key and value, counted and real. */
static void test_overhead_of_an_entry(void **state)
{
    number_expires_at_ms = *(const uint64_t *)*state;
    flx_cache_pool *pool = pool_of(UINT64_C(1) << 30);
    flx_cache_shard *shard = shard_of(pool);
    const size_t before = heap_bytes();
    for (uint32_t i = 0; i < ENTRIES; i++) {
        (void)put_number(shard, i, VALUE_BYTES);
    }
    flx_cache_stats stats;
    flx_cache_pool_stats(pool, &stats);
    const size_t payload = (size_t)ENTRIES * (VALUE_BYTES + sizeof(uint32_t));
    const double real = (double)(heap_bytes() - before - payload) / ENTRIES;
    const double counted = (double)(stats.bytes - payload) / ENTRIES;
    print_message("overhead of an entry: %.1f bytes counted, %.1f by the allocator\n", counted,
                  real);
    assert_true(counted <= FLX_CACHE_ENTRY_BYTES);
    assert_true(real <= FLX_CACHE_ENTRY_BYTES);
    assert_true(real <= counted + 1); /* the budget counts at least what is used */
    for (uint32_t i = 0; i < ENTRIES; i += 7) {
        assert_true(has_number(shard, i));
    }
    number_expires_at_ms = 0;
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

/* --- eviction ------------------------------------------------------------------------------------ */

static void test_the_budget_holds_and_the_popular_stay(void **state)
{
    (void)state;
    const uint64_t bytes_max = 1 << 20;
    flx_cache_pool *pool = pool_of(bytes_max);
    flx_cache_shard *shards[SHARDS] = {shard_of(pool), shard_of(pool)};
    flx_cache_stats stats;
    /* 200 keys are read all the time; a flood of keys nobody reads goes through both shards. */
    for (uint32_t i = 0; i < 60000; i++) {
        if (i < 200) {
            (void)put_number(shards[0], i, VALUE_BYTES);
        }
        (void)has_number(shards[0], i % 200);
        (void)put_number(shards[i % SHARDS], 1000 + i, 1 + i % (VALUE_BYTES * 10 - 1));
        flx_cache_pool_stats(pool, &stats);
        assert_true(stats.bytes <= bytes_max);
    }
    assert_true(stats.evictions > 50000);
    size_t kept = 0;
    for (uint32_t i = 0; i < 200; i++) {
        kept += has_number(shards[0], i);
    }
    assert_true(kept >= 195);
    flx_cache_stats parts[SHARDS];
    for (size_t i = 0; i < SHARDS; i++) {
        flx_cache_shard_stats(shards[i], &parts[i]);
        (void)flx_cache_shard_free(shards[i]);
    }
    assert_int_equal(parts[0].entries + parts[1].entries, stats.entries);
    assert_int_equal(parts[0].evictions + parts[1].evictions, stats.evictions);
    (void)flx_cache_pool_free(pool);
}

/* The largest value there may be is not evicted by its own put, whatever fills the pool. */
static void test_a_write_never_evicts_itself(void **state)
{
    (void)state;
    flx_cache_pool *pool = pool_of(1 << 16);
    flx_cache_shard *shard = shard_of(pool);
    uint8_t *value = calloc(1, 1 << 14);
    for (uint32_t i = 0; i < 500; i++) {
        const flx_cache_write write = {.key = {(const uint8_t *)&i, sizeof i},
                                       .value = {value, i % 3 == 0 ? (1 << 14) - 4 : i}};
        (void)put(shard, write, NOW_US);
        assert_true(has_number(shard, i));
        assert_true(has_number(shard, i));
        flx_cache_stats stats;
        flx_cache_pool_stats(pool, &stats);
        assert_true(stats.bytes <= 1 << 16);
    }
    free(value);
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

/* --- failed allocations --------------------------------------------------------------------------- */

/* Writes until an allocation fails; what was answered FLX_OK is there, what failed changed nothing. */
static flx_status write_some(flx_cache_pool *pool, flx_cache_shard **ret_shard)
{
    static uint8_t value[BIG];
    flx_error error;
    flx_status status = flx_cache_shard_new(pool, NULL, ret_shard, &error);
    for (uint32_t i = 0; status == FLX_OK && i < 700; i++) { /* splits the first segment */
        flx_cache_outcome outcome;
        flx_cache_write write = {.key = {(const uint8_t *)&i, sizeof i},
                                 .value = {value, i % 100 == 0 ? BIG : 10}};
        write.expires_at_ms = i % 3 == 0 ? NOW_US / 1000 + 5 : 0;
        status = flx_cache_shard_put(*ret_shard, &write, NOW_US, &outcome, &error);
        if (status == FLX_OK && i % 50 == 0) { /* and replaces it by a larger one */
            write.value.len = 200;
            status = flx_cache_shard_put(*ret_shard, &write, NOW_US, &outcome, &error);
            if (status != FLX_OK) {
                assert_true(has_number(*ret_shard, i));
            }
        } else if (status != FLX_OK) {
            assert_false(has_number(*ret_shard, i));
        }
    }
    return status;
}

static void test_every_failed_allocation(void **state)
{
    (void)state;
    flx_hash_seed_set(42); /* the same splits in every run */
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        flx_cache_pool *pool = NULL;
        flx_cache_shard *shard = NULL;
        flx_error error;
        const flx_cache_options options = {.bytes_max = 64 << 10};
        flx_alloc_fail_nth(nth);
        flx_status status = flx_cache_pool_new(&options, NOW_US, &pool, &error);
        if (status == FLX_OK) {
            status = write_some(pool, &shard);
        }
        has_failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        /* A failed table of ghosts is the one failure that is nobody's business. */
        assert_true(status == FLX_OK || (has_failed && status == FLX_ERR_NOMEM));
        assert_null(flx_cache_shard_free(shard));
        assert_null(flx_cache_pool_free(pool));
    }
}

int main(void)
{
    static uint64_t never = 0, next_day_ms = NOW_US / 1000 + UINT64_C(86400000);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_story),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_large_values_are_shared),
        cmocka_unit_test(test_follows_the_model),
        cmocka_unit_test(test_every_change_is_a_record),
        cmocka_unit_test(test_a_listing_survives_growth),
        {"overhead of an entry", test_overhead_of_an_entry, NULL, NULL, &never},
        {"overhead of one that expires", test_overhead_of_an_entry, NULL, NULL, &next_day_ms},
        cmocka_unit_test(test_the_budget_holds_and_the_popular_stay),
        cmocka_unit_test(test_a_write_never_evicts_itself),
        cmocka_unit_test(test_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
