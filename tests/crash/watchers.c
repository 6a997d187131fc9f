/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix-watchers - a thousand watches of one cache, each of which folds what it hears; whatever happens to the
 * node meanwhile, all of them must equal the cache in the end.
 *
 *     felix-watchers ADDRESSES CA_FILE TOKEN_FILE CACHE [WATCHERS [CONNECTIONS [WRITES]]]
 *
 * Says "writing" on stdout when all are live, then puts, deletes and lets expire, in three parts with a pause
 * between them; says "part N" when one is done and goes on when it gets a line on stdin, so that tools/demo
 * can kill the node anywhere and say when it has. What was under way then may be there or not: the cache itself is what
 * the watchers are held to, read key by key at the end. Exit 0: all are equal and heard each change once.
 *
 * Public API only: this is also how a program keeps a mirror of a cache (include/felix/watch.h).
 */
#include <felix/felix.h>

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS          500
#define SHARDS_MAX    16
#define WATCHERS_MAX  10000
#define PARTS         3
#define REQUESTS_MAX  64 /* under way at once */
#define EXPIRY_MS_MAX 400
#define WAIT_MS       60000
#define QUIET_MS      (EXPIRY_MS_MAX + 100)

/* What one watch has made of what it heard: the number under each key, 0 for none. Written by its loop
 * thread; the end is read when nothing changes any more. */
typedef struct mirror {
    flx_cache_watch *watch;
    _Atomic uint64_t number[KEYS];
    uint8_t shard[KEYS];
    uint64_t next_offset[SHARDS_MAX];
    _Atomic uint64_t heard;
} mirror;

typedef struct watchers {
    mirror *mirrors;
    uint64_t count;
    uint64_t truth[KEYS];    /* the cache, read at the end */
    _Atomic uint64_t out;    /* requests under way */
    _Atomic uint64_t failed; /* requests that were not answered with success */
    _Atomic uint64_t resets;
    _Atomic uint64_t wrong; /* changes that came twice or out of order */
} watchers;

static watchers all;

static void sleep_ms(long ms)
{
    const struct timespec span = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&span, NULL);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("watchers: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(EXIT_FAILURE);
}

static void say(const char *words, uint64_t number)
{
    (void)printf("%s %" PRIu64 "\n", words, number);
    (void)fflush(stdout);
}

/* --- folding --- */

static size_t key_of(flx_slice key)
{
    char text[16] = "";
    memcpy(text, key.ptr, key.len < sizeof text - 1 ? key.len : sizeof text - 1);
    return (size_t)strtoull(text + 1, NULL, 10) % KEYS; /* "k17" */
}

static uint64_t number_of(flx_slice value)
{
    char text[24] = "";
    memcpy(text, value.ptr, value.len < sizeof text - 1 ? value.len : sizeof text - 1);
    return strtoull(text, NULL, 10);
}

static void forget_shard(mirror *m, uint32_t shard)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (m->shard[i] == shard) {
            atomic_store_explicit(&m->number[i], 0, memory_order_relaxed);
        }
    }
}

static void on_change(void *arg, const flx_cache_change *change)
{
    mirror *m = arg;
    if (change->kind == FLX_CACHE_CHANGE_RESET) {
        atomic_fetch_add(&all.resets, 1);
        forget_shard(m, change->shard);
        return;
    }
    if (change->kind == FLX_CACHE_CHANGE_READY || change->shard >= SHARDS_MAX) {
        return;
    }
    if (!change->is_retained) {
        if (change->offset < m->next_offset[change->shard]) {
            atomic_fetch_add(&all.wrong, 1);
        }
        m->next_offset[change->shard] = change->offset + 1;
    }
    const size_t key = key_of(change->key);
    m->shard[key] = (uint8_t)change->shard;
    atomic_store_explicit(&m->number[key],
                          change->kind == FLX_CACHE_CHANGE_PUT ? number_of(change->value) : 0,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&m->heard, 1, memory_order_release);
}

static void on_end(void *arg, const flx_error *error)
{
    (void)arg;
    if (error->status != FLX_ERR_CLOSED && error->status != FLX_ERR_CANCELED) {
        die("a watch ended: %s", error->message);
    }
}

static void watch_all(flx_client *client, const char *name)
{
    flx_error error = {0};
    flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    options.from = FLX_WATCH_FROM_RETAINED;
    options.change_fn = on_change;
    options.end_fn = on_end;
    for (uint64_t i = 0; i < all.count; i++) {
        options.arg = &all.mirrors[i];
        if (flx_cache_watch_new(client, name, &options, &all.mirrors[i].watch, &error) != FLX_OK) {
            die("watch: %s", error.message);
        }
    }
    for (uint64_t i = 0; i < all.count; i++) {
        if (flx_cache_watch_wait(all.mirrors[i].watch, WAIT_MS, &error) != FLX_OK) {
            die("watch: %s", error.message);
        }
    }
}

/* --- writing --- */

static void on_written(void *arg, const flx_cache_result *result)
{
    (void)arg;
    if (result->status != FLX_OK) {
        atomic_fetch_add(&all.failed, 1);
    }
    atomic_fetch_sub(&all.out, 1);
}

/* Puts, one in eight of them with an end, and one delete in six. */
static void write_one(flx_cache *cache, uint64_t number)
{
    char key[24];
    char value[24];
    const int key_len = snprintf(key, sizeof key, "k%" PRIu64, number * 7919 % KEYS);
    const int value_len = snprintf(value, sizeof value, "%" PRIu64, number);
    const flx_slice name = {(const uint8_t *)key, (size_t)key_len};
    while (atomic_load(&all.out) >= REQUESTS_MAX) {
        sleep_ms(1);
    }
    atomic_fetch_add(&all.out, 1);
    const flx_status status =
        number % 6 == 5
            ? flx_cache_delete_async(cache, name, on_written, NULL, NULL)
            : flx_cache_put_async(cache, name,
                                  (flx_slice){(const uint8_t *)value, (size_t)value_len},
                                  number % 8 == 1 ? 1 + number % EXPIRY_MS_MAX : FLX_TTL_NONE,
                                  on_written, NULL, NULL);
    if (status != FLX_OK) {
        atomic_fetch_sub(&all.out, 1);
        atomic_fetch_add(&all.failed, 1);
        sleep_ms(5);
    }
}

/* Whether somebody has said that he is done with the node. */
static bool has_word(void)
{
    char line[16];
    struct pollfd in = {.fd = 0, .events = POLLIN};
    return poll(&in, 1, 0) > 0 && fgets(line, sizeof line, stdin) != NULL;
}

/* One part; then goes on writing slowly until the word comes, so that the node is killed under writes. */
static uint64_t write_part(flx_cache *cache, uint64_t from, uint64_t count, int part)
{
    uint64_t number = from;
    for (; number < from + count; number++) {
        write_one(cache, number);
        if (number % 50 == 0) {
            sleep_ms(10); /* a thousand watches hear each of them */
        }
    }
    say("part", (uint64_t)part);
    while (!has_word()) {
        write_one(cache, number++);
        sleep_ms(5);
    }
    return number;
}

/* --- the end --- */

static void read_truth(flx_client *client, const char *name)
{
    flx_cache *cache = NULL;
    flx_error error = {0};
    if (flx_cache_new(client, name, &cache, &error) != FLX_OK) {
        die("cache: %s", error.message);
    }
    for (size_t i = 0; i < KEYS; i++) {
        char key[24];
        flx_cache_entry entry = {.found = false};
        const int len = snprintf(key, sizeof key, "k%zu", i);
        if (flx_cache_get(cache, (flx_slice){(const uint8_t *)key, (size_t)len}, WAIT_MS, &entry,
                          &error) != FLX_OK) {
            die("get: %s", error.message);
        }
        all.truth[i] = entry.found ? number_of(entry.value) : 0;
        flx_cache_entry_release(&entry);
    }
    (void)flx_cache_free(cache);
}

static bool is_equal(const mirror *m)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (atomic_load_explicit(&m->number[i], memory_order_relaxed) != all.truth[i]) {
            return false;
        }
    }
    return true;
}

static uint64_t equal_count(void)
{
    uint64_t equal = 0;
    for (uint64_t i = 0; i < all.count; i++) {
        equal += is_equal(&all.mirrors[i]) ? 1 : 0;
    }
    return equal;
}

static flx_client *connect_client(char **argv, uint32_t connections)
{
    flx_client *client = NULL;
    flx_error error = {0};
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    options.addresses = argv[1];
    options.ca_file = argv[2];
    options.token_file = argv[3];
    options.tenant = "t1";
    options.connections = connections;
    options.keepalive_ms = 250; /* how soon an idle connection learns that its node was killed */
    options.connect_timeout_ms = 2000;
    options.backoff_max_ms = 250;
    if (flx_client_connect(&options, WAIT_MS, &client, &error) != FLX_OK) {
        die("%s", error.message);
    }
    return client;
}

static uint64_t number_at(int argc, char **argv, int index, uint64_t otherwise, uint64_t max)
{
    const uint64_t number = argc > index ? strtoull(argv[index], NULL, 10) : otherwise;
    if (number == 0 || number > max) {
        die("'%s' is not a number from 1 to %" PRIu64, argv[index], max);
    }
    return number;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        (void)fprintf(stderr, "usage: felix-watchers ADDRESSES CA_FILE TOKEN_FILE CACHE "
                              "[WATCHERS [CONNECTIONS [WRITES]]]\n");
        return 2;
    }
    all.count = number_at(argc, argv, 5, 1000, WATCHERS_MAX);
    const uint32_t connections = (uint32_t)number_at(argc, argv, 6, 10, 60);
    const uint64_t writes = number_at(argc, argv, 7, 3000, 1000000);
    all.mirrors = calloc(all.count, sizeof *all.mirrors);
    flx_client *client = connect_client(argv, connections);
    flx_client *writer = connect_client(argv, 1);
    flx_cache *cache = NULL;
    if (all.mirrors == NULL || flx_cache_new(writer, argv[4], &cache, NULL) != FLX_OK) {
        die("out of memory");
    }
    watch_all(client, argv[4]);
    say("writing", all.count);
    uint64_t next = 1;
    for (int part = 1; part <= PARTS; part++) {
        next = write_part(cache, next, writes / PARTS, part);
    }
    while (atomic_load(&all.out) > 0) {
        sleep_ms(1);
    }
    sleep_ms(QUIET_MS); /* what has an end has reached it */
    read_truth(writer, argv[4]);
    const uint64_t start_ms = now_ms();
    while (equal_count() < all.count && now_ms() - start_ms < WAIT_MS) {
        sleep_ms(20);
    }
    const uint64_t equal = equal_count();
    uint64_t heard = 0;
    uint64_t there = 0;
    for (uint64_t i = 0; i < all.count; i++) {
        heard += atomic_load(&all.mirrors[i].heard);
        (void)flx_cache_watch_free(all.mirrors[i].watch);
    }
    for (size_t i = 0; i < KEYS; i++) {
        there += all.truth[i] != 0 ? 1 : 0;
    }
    (void)printf("%" PRIu64 " of %" PRIu64 " watchers equal the cache of %" PRIu64 " keys: %" PRIu64
                 " writes, %" PRIu64 " of them unanswered, %" PRIu64 " changes heard, %" PRIu64
                 " began again, %" PRIu64 " out of order\n",
                 equal, all.count, there, next - 1, atomic_load(&all.failed), heard,
                 atomic_load(&all.resets), atomic_load(&all.wrong));
    (void)flx_cache_free(cache);
    (void)flx_client_free(writer);
    (void)flx_client_free(client);
    free(all.mirrors);
    return equal == all.count && atomic_load(&all.wrong) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
