/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/watch.c - what does a watch cost: the snapshot a key, and a change a watch?
 *
 *     bench_watch --cache C --watches 1000 --keys 100000 --changes 20000 --rate 10000 --size 100
 *                 [--conns 50]
 *
 * Fills the cache, then begins all watches at once with what is there (the first result, when the
 * last of them has all of it), then changes keys at a rate until every watch has heard every change
 * (the second). A watch that has to begin again makes the run void.
 */
#include "load.h"

#define KEY_BYTES 16
#define BURST     100 /* puts at once; the pauses between bursts make the rate */
#define PUTS_OUT  512

typedef struct counts {
    _Atomic uint64_t retained;
    _Atomic uint64_t ready;
    _Atomic uint64_t changes;
    _Atomic uint64_t resets;
    _Atomic uint64_t failed;
    _Atomic uint64_t puts_out;
} counts;
static counts all;

static void on_change(void *arg, const flx_cache_change *change)
{
    (void)arg;
    switch (change->kind) {
    case FLX_CACHE_CHANGE_PUT:
        atomic_fetch_add(change->is_retained ? &all.retained : &all.changes, 1);
        break;
    case FLX_CACHE_CHANGE_DELETE:
        atomic_fetch_add(&all.failed, 1); /* evicted: the cache is too small for the question */
        break;
    case FLX_CACHE_CHANGE_RESET:
        atomic_fetch_add(&all.resets, 1);
        break;
    case FLX_CACHE_CHANGE_READY:
        atomic_fetch_add(&all.ready, 1);
        break;
    }
}

static void on_end(void *arg, const flx_error *error)
{
    (void)arg;
    if (error->status != FLX_ERR_CLOSED) {
        load_die("a watch ended: %s", error->message);
    }
}

static void on_put(void *arg, const flx_cache_result *result)
{
    (void)arg;
    if (result->status != FLX_OK) {
        atomic_fetch_add(&all.failed, 1);
    }
    atomic_fetch_sub(&all.puts_out, 1);
}

/* Waits until `counter` is `goal`; nothing for LOAD_STALL_MS ends the run. */
static void await(const _Atomic uint64_t *counter, uint64_t goal, const char *what)
{
    uint64_t last = atomic_load(counter);
    uint64_t since_ns = flx_clock_monotonic_ns();
    while (atomic_load(counter) < goal) {
        load_sleep_us(1000);
        const uint64_t now = atomic_load(counter);
        if (now != last) {
            last = now;
            since_ns = flx_clock_monotonic_ns();
        }
        if (flx_clock_monotonic_ns() - since_ns > (uint64_t)LOAD_STALL_MS * 1000000) {
            load_die("%s: %llu of %llu", what, (unsigned long long)now, (unsigned long long)goal);
        }
    }
}

static void put_number(flx_cache *cache, uint64_t number, flx_slice value)
{
    char text[KEY_BYTES + 1];
    flx_error error = {0};
    (void)snprintf(text, sizeof text, "key-%012llu", (unsigned long long)(number % 1000000000000U));
    while (atomic_load(&all.puts_out) >= PUTS_OUT) {
        load_sleep_us(100);
    }
    atomic_fetch_add(&all.puts_out, 1);
    if (flx_cache_put_async(cache, (flx_slice){(const uint8_t *)text, KEY_BYTES}, value,
                            FLX_TTL_NONE, on_put, NULL, &error) != FLX_OK) {
        load_die("put: %s", error.message);
    }
}

static void await_puts(void)
{
    while (atomic_load(&all.puts_out) > 0) {
        load_sleep_us(100);
    }
}

/* Keys 0, 1, ... again and again; `rate` 0: as fast as it goes. */
static void write_keys(flx_cache *cache, uint64_t count, uint64_t keys, uint64_t rate,
                       flx_slice value)
{
    const uint64_t start_ns = flx_clock_monotonic_ns();
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t due_ns = rate == 0 ? 0 : start_ns + i / BURST * BURST * 1000000000 / rate;
        while (i % BURST == 0 && flx_clock_monotonic_ns() < due_ns) {
            load_sleep_us(500);
        }
        put_number(cache, i % keys, value);
    }
    await_puts();
}

static void say_result(const char *event, uint64_t count, uint64_t start_ns, double cpu_s)
{
    load_say("{\"event\":\"%s\",\"count\":%llu,\"wrong\":%llu,\"start_ns\":%llu,\"end_ns\":%llu,"
             "\"cpu_s\":%.6f}",
             event, (unsigned long long)count,
             (unsigned long long)(atomic_load(&all.failed) + atomic_load(&all.resets)),
             (unsigned long long)start_ns, (unsigned long long)flx_clock_monotonic_ns(),
             load_cpu_s() - cpu_s);
}

int main(int argc, char **argv)
{
    load_init(argc, argv);
    const char *name = load_text("--cache", "bench");
    const uint64_t watches = load_number("--watches", 100);
    const uint64_t keys = load_number("--keys", 10000);
    const uint64_t changes = load_number("--changes", 20000);
    const uint32_t conns = (uint32_t)load_number("--conns", 50);
    const size_t size = (size_t)load_number("--size", 100);
    flx_error error = {0};
    uint8_t *bytes = malloc(size);
    flx_cache_watch **made = calloc(watches, sizeof(flx_cache_watch *));
    LOAD_CHECK(bytes != NULL && made != NULL && keys > 0 && conns <= LOAD_CONNECTIONS_MAX);
    memset(bytes, 'v', size);
    const flx_slice value = {bytes, size};
    flx_client *client = load_connect(conns, 1);
    flx_client *writer = load_connect(1, PUTS_OUT);
    flx_cache *cache = NULL;
    if (flx_cache_new(writer, name, &cache, &error) != FLX_OK) {
        load_die("cache: %s", error.message);
    }
    write_keys(cache, keys, keys, 0, value);
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return EXIT_FAILURE;
    }
    double cpu_s = load_cpu_s();
    uint64_t start_ns = flx_clock_monotonic_ns();
    flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    options.shard = 0;
    options.from = FLX_WATCH_FROM_RETAINED;
    options.change_fn = on_change;
    options.end_fn = on_end;
    for (uint64_t i = 0; i < watches; i++) {
        if (flx_cache_watch_new(client, name, &options, &made[i], &error) != FLX_OK) {
            load_die("watch: %s", error.message);
        }
    }
    await(&all.retained, watches * keys, "snapshot");
    await(&all.ready, watches, "ready");
    say_result("snapshot", watches * keys, start_ns, cpu_s);
    if (!load_await_line()) {
        return EXIT_FAILURE;
    }
    cpu_s = load_cpu_s();
    start_ns = flx_clock_monotonic_ns();
    write_keys(cache, changes, keys, load_number("--rate", 10000), value);
    await(&all.changes, watches * changes, "changes");
    say_result("result", watches * changes, start_ns, cpu_s);
    for (uint64_t i = 0; i < watches; i++) {
        flx_cache_watch_free(made[i]);
    }
    flx_cache_free(cache);
    flx_client_free(writer);
    flx_client_free(client);
    free(made);
    free(bytes);
    return EXIT_SUCCESS;
}
