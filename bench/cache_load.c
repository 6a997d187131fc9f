/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/cache_load.c - how fast does a cache answer, and at what cost of the broker's processor?
 *
 *     bench_cache_load --cache C --op get|put|miss|fill --size 100 --outstanding 256 --conns 8 --count N
 *                      [--keys 10000] [--filled] [--json]
 *
 * As operations where the broker offers them (docs/spec/extensions.md), with --json as version 1 has it.
 * --outstanding requests are always under way, spread over the connections; the answer to one sends
 * the next. Gets are of keys that were put before, and a miss counts as wrong; with --op miss they are of
 * keys that nobody put, and a hit does. The keys are put before the warm-up, unless they are there (--filled);
 * with --op fill, putting each of them once, one after the other, is what is measured.
 */
#include "common/xorshift.h"
#include "load.h"

#include <semaphore.h>
#include <time.h>

#define KEY_NUMBERS UINT64_C(1000000000000) /* twelve digits */
#define KEY_BYTES   16
#define RUN_WAIT_S  300  /* a bound for hangs */
#define FILLING     1024 /* puts under way while keys are put, as operations */

typedef struct asker asker;
typedef struct slot {
    asker *a;
    flx_cache *cache;
    uint64_t sent_ns;
    char key[KEY_BYTES + 1];
} slot;

struct asker {
    bool put;
    bool miss;     /* gets of what is not there */
    bool in_order; /* each key once, from the first on */
    uint64_t next; /* in_order: number of the next key */
    flx_slice value;
    uint64_t keys;
    uint64_t random;
    uint64_t left;
    uint64_t going;
    uint64_t wrong;
    sem_t done;
    flx_histogram latency;
};
static asker the_asker;

static void on_answer(void *arg, const flx_cache_result *result);

static void ask(slot *s)
{
    asker *a = s->a;
    flx_error error = {0};
    const uint64_t number = (a->in_order ? a->next++ : flx_xorshift(&a->random)) % a->keys;
    (void)snprintf(s->key, sizeof s->key, "%s-%012llu", a->miss ? "non" : "key",
                   (unsigned long long)(number % KEY_NUMBERS));
    const flx_slice key = {(const uint8_t *)s->key, KEY_BYTES};
    s->sent_ns = flx_clock_monotonic_ns();
    const flx_status status =
        a->put ? flx_cache_put_async(s->cache, key, a->value, FLX_TTL_NONE, on_answer, s, &error)
               : flx_cache_get_async(s->cache, key, on_answer, s, &error);
    if (status != FLX_OK) {
        load_die("ask: %s", error.message);
    }
}

static void on_answer(void *arg, const flx_cache_result *result)
{
    slot *s = arg;
    asker *a = s->a;
    flx_histogram_record(&a->latency, flx_clock_monotonic_ns() - s->sent_ns);
    if (result->status != FLX_OK || (!a->put && result->entry->found == a->miss)) {
        a->wrong++;
    }
    if (a->left > 0) {
        a->left--;
        ask(s);
    } else if (--a->going == 0) {
        (void)sem_post(&a->done);
    }
}

static void run(asker *a, slot *slots, uint64_t outstanding, uint64_t count)
{
    flx_histogram_init(&a->latency);
    outstanding = outstanding < count ? outstanding : count;
    a->going = outstanding;
    a->left = count - outstanding;
    for (uint64_t i = 0; i < outstanding; i++) {
        ask(&slots[i]);
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RUN_WAIT_S;
    LOAD_CHECK(sem_timedwait(&a->done, &until) == 0);
}

/* Each key once, as fast as may be. */
static void fill(asker *a, slot *slots, uint64_t outstanding)
{
    const bool put = a->put;
    a->put = a->in_order = true;
    run(a, slots, outstanding, a->keys);
    LOAD_CHECK(a->wrong == 0);
    a->put = put;
    a->in_order = false;
}

int main(int argc, char **argv)
{
    load_init(argc, argv);
    asker *a = &the_asker;
    char latency[256];
    flx_error error = {0};
    flx_cache *caches[LOAD_CONNECTIONS_MAX] = {NULL};
    const uint64_t outstanding = load_number("--outstanding", 1);
    const uint32_t conns = (uint32_t)load_number("--conns", 1);
    const char *op = load_text("--op", "get");
    const bool is_fill = strcmp(op, "fill") == 0;
    a->put = is_fill || strcmp(op, "put") == 0;
    a->miss = strcmp(op, "miss") == 0;
    a->keys = load_number("--keys", 1000);
    a->random = 88172645463325252U;
    const size_t size = (size_t)load_number("--size", 100);
    uint8_t *bytes = malloc(size);
    const uint64_t slot_count = outstanding < FILLING ? FILLING : outstanding;
    slot *slots = calloc(slot_count, sizeof *slots);
    LOAD_CHECK(bytes != NULL && slots != NULL && a->keys > 0 && outstanding > 0);
    LOAD_CHECK(conns > 0 && conns <= LOAD_CONNECTIONS_MAX && sem_init(&a->done, 0, 0) == 0);
    memset(bytes, 'v', size);
    a->value = (flx_slice){bytes, size};
    flx_client *client = load_connect(conns, (uint32_t)((outstanding + conns - 1) / conns));
    for (uint32_t i = 0; i < conns; i++) {
        if (flx_cache_new(client, load_text("--cache", "bench"), &caches[i], &error) != FLX_OK) {
            load_die("cache: %s", error.message);
        }
    }
    for (uint64_t i = 0; i < slot_count; i++) {
        slots[i].a = a;
        slots[i].cache = caches[i % conns];
    }
    if (!is_fill && !load_flag("--filled")) {
        fill(a, slots, load_flag("--json") ? outstanding : FILLING);
    }
    if (!is_fill) {
        run(a, slots, outstanding, load_number("--warm-up", 1000));
    }
    a->in_order = is_fill;
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return EXIT_FAILURE;
    }
    const double cpu_s = load_cpu_s();
    const uint64_t start_ns = flx_clock_monotonic_ns();
    run(a, slots, outstanding, is_fill ? a->keys : load_number("--count", 20000));
    load_histogram_text(&a->latency, latency, sizeof latency);
    load_say("{\"event\":\"result\",\"wrong\":%llu,\"start_ns\":%llu,\"end_ns\":%llu,"
             "\"cpu_s\":%.6f,%s}",
             (unsigned long long)a->wrong, (unsigned long long)start_ns,
             (unsigned long long)flx_clock_monotonic_ns(), load_cpu_s() - cpu_s, latency);
    for (uint32_t i = 0; i < conns; i++) {
        flx_cache_free(caches[i]);
    }
    flx_client_free(client);
    free(slots);
    free(bytes);
    return EXIT_SUCCESS;
}
