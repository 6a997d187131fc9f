/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/cache_hit_ratio.c - Does S3-FIFO keep the right entries, and what do a get and a put cost?
 *
 * First question: the same traces go through our cache and through two plain references, LRU and
 * FIFO, that hold as many entries as ours did. A miss is followed by a put, as a cache before a
 * database is used. Traces: Zipf keys, alone and with a quarter of requests for keys that never come
 * again (scans, crawlers). The first half of a trace warms up, the second is counted.
 *
 * Second question: with a million entries of 100 bytes, the time of a get and of a put that overwrites,
 * for random keys; and what an entry costs beside its key and value, as the allocator counts it.
 * (Build it with the release preset: under a sanitizer neither figure means anything.)
 *
 * usage: bench_cache_hit_ratio [requests a trace, 2000000] [entries of the second part, 1000000]
 */
#include "broker/cache.h"
#include "common/clock.h"
#include "common/xorshift.h"

#include <malloc.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECTS     200000 /* keys of the Zipf part */
#define VALUE_BYTES 100
#define NOW_US      UINT64_C(1700000000000000)
#define NONE        UINT32_MAX

static uint64_t random_state = 88172645463325252U;

static uint64_t random_next(void) /* the trace is the same in every run */
{
    return flx_xorshift(&random_state);
}

static void *must(void *memory)
{
    if (memory == NULL) {
        (void)fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

/* --- traces --------------------------------------------------------------------------------------- */

typedef struct trace {
    uint32_t *keys;
    uint32_t count;
    uint32_t key_count; /* keys are below it */
} trace;

static uint32_t zipf_pick(const double *sums)
{
    const double at = (double)(random_next() >> 11) * 0x1p-53 * sums[OBJECTS - 1];
    uint32_t low = 0, high = OBJECTS - 1;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (sums[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static trace trace_make(uint32_t count, double skew, bool with_scans)
{
    double *sums = must(malloc(OBJECTS * sizeof *sums));
    double sum = 0;
    for (uint32_t i = 0; i < OBJECTS; i++) {
        sum += pow(i + 1, -skew);
        sums[i] = sum;
    }
    trace made = {.keys = must(malloc(count * sizeof(uint32_t))), .count = count};
    made.key_count = OBJECTS;
    for (uint32_t i = 0; i < count; i++) {
        const bool is_scan = with_scans && random_next() % 4 == 0;
        made.keys[i] = is_scan ? made.key_count++ : zipf_pick(sums);
    }
    free(sums);
    return made;
}

/* --- the references ------------------------------------------------------------------------------- */

typedef struct queue {
    uint32_t *next, *prev; /* by key; the last place is the head */
    bool *is_in;
    uint32_t head;
    uint32_t count;
} queue;

static void queue_remove(queue *all, uint32_t key)
{
    all->next[all->prev[key]] = all->next[key];
    all->prev[all->next[key]] = all->prev[key];
    all->is_in[key] = false;
    all->count--;
}

static void queue_push(queue *all, uint32_t key)
{
    all->next[key] = all->next[all->head];
    all->prev[key] = all->head;
    all->prev[all->next[key]] = key;
    all->next[all->head] = key;
    all->is_in[key] = true;
    all->count++;
}

/* The hit ratio of the second half with room for `cap` entries; FIFO when hits do not move. */
static double run_queue(const trace *input, uint32_t cap, bool hits_move)
{
    queue all = {.next = must(malloc((input->key_count + 1) * sizeof(uint32_t))),
                 .prev = must(malloc((input->key_count + 1) * sizeof(uint32_t))),
                 .is_in = must(calloc(input->key_count + 1, sizeof(bool))),
                 .head = input->key_count};
    all.next[all.head] = all.head;
    all.prev[all.head] = all.head;
    uint32_t hits = 0;
    for (uint32_t i = 0; i < input->count; i++) {
        const uint32_t key = input->keys[i];
        const bool is_hit = all.is_in[key];
        hits += is_hit && i >= input->count / 2;
        if (is_hit && hits_move) {
            queue_remove(&all, key);
        }
        if (!is_hit || hits_move) {
            if (all.count == cap) {
                queue_remove(&all, all.prev[all.head]);
            }
            queue_push(&all, key);
        }
    }
    free(all.next);
    free(all.prev);
    free(all.is_in);
    return (double)hits / (double)(input->count - input->count / 2);
}

/* --- ours ------------------------------------------------------------------------------------------ */

static const uint8_t value[VALUE_BYTES];

static void put_key(flx_cache_shard *shard, const void *key, size_t key_len)
{
    const flx_cache_write write = {.key = {key, key_len}, .value = {value, sizeof value}};
    flx_cache_outcome outcome;
    flx_error error;
    if (flx_cache_shard_put(shard, &write, NOW_US, &outcome, &error) != FLX_OK) {
        (void)fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

static void open_cache(uint64_t bytes_max, flx_cache_pool **pool, flx_cache_shard **shard)
{
    const flx_cache_options options = {.bytes_max = bytes_max};
    flx_error error;
    if (flx_cache_pool_new(&options, NOW_US, pool, &error) != FLX_OK ||
        flx_cache_shard_new(*pool, NULL, shard, &error) != FLX_OK) {
        (void)fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

/* The hit ratio of the second half; ret_entries gets how many entries it held in the end. */
static double run_cache(const trace *input, uint64_t bytes_max, uint32_t *ret_entries)
{
    flx_cache_pool *pool = NULL;
    flx_cache_shard *shard = NULL;
    open_cache(bytes_max, &pool, &shard);
    uint32_t hits = 0;
    for (uint32_t i = 0; i < input->count; i++) {
        flx_cache_item item;
        const flx_slice key = {(const uint8_t *)&input->keys[i], sizeof(uint32_t)};
        const bool is_hit = flx_cache_shard_get(shard, key, NOW_US, &item);
        hits += is_hit && i >= input->count / 2;
        if (!is_hit) {
            put_key(shard, key.ptr, key.len);
        }
    }
    flx_cache_stats stats;
    flx_cache_pool_stats(pool, &stats);
    *ret_entries = (uint32_t)stats.entries;
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
    return (double)hits / (double)(input->count - input->count / 2);
}

static void compare(uint32_t requests)
{
    const double skews[] = {0.8, 0.9, 1.0, 1.1};
    const uint64_t budgets[] = {400 << 10, 4000 << 10}; /* about 1 and 11 % of the objects */
    (void)printf("%u keys, %u requests a trace; hit ratios in percent\n", OBJECTS, requests);
    (void)printf("%-6s %-6s %8s %8s %8s %8s\n", "skew", "scans", "entries", "s3-fifo", "lru",
                 "fifo");
    for (int scans = 0; scans < 2; scans++) {
        for (size_t s = 0; s < sizeof skews / sizeof skews[0]; s++) {
            const trace input = trace_make(requests, skews[s], scans != 0);
            for (size_t b = 0; b < sizeof budgets / sizeof budgets[0]; b++) {
                uint32_t entries = 0;
                const double ours = run_cache(&input, budgets[b], &entries);
                (void)printf("%-6.1f %-6s %8u %8.2f %8.2f %8.2f\n", skews[s],
                             scans != 0 ? "25 %" : "none", entries, 100 * ours,
                             100 * run_queue(&input, entries, true),
                             100 * run_queue(&input, entries, false));
            }
            free(input.keys);
        }
    }
}

/* --- the second question ---------------------------------------------------------------------------- */

typedef struct big_key {
    uint64_t words[2]; /* 16 bytes, as ids often are */
} big_key;

static void time_operations(uint32_t entries)
{
    flx_cache_pool *pool = NULL;
    flx_cache_shard *shard = NULL;
    open_cache(UINT64_C(8) << 30, &pool, &shard);
    const size_t before = mallinfo2().uordblks;
    uint64_t longest_ns = 0;
    uint64_t last_ns = flx_clock_monotonic_ns();
    const uint64_t start_ns = last_ns;
    for (uint32_t i = 0; i < entries; i++) {
        const big_key key = {{i, ~(uint64_t)i}};
        put_key(shard, &key, sizeof key);
        const uint64_t now_ns = flx_clock_monotonic_ns();
        longest_ns = now_ns - last_ns > longest_ns ? now_ns - last_ns : longest_ns;
        last_ns = now_ns;
    }
    const double fill_ns = (double)(last_ns - start_ns) / entries;
    const double payload = sizeof(big_key) + VALUE_BYTES;
    const double cost = (double)(mallinfo2().uordblks - before) / entries - payload;
    uint32_t hits = 0;
    const uint64_t get_start_ns = flx_clock_monotonic_ns();
    for (uint32_t i = 0; i < entries; i++) {
        const uint64_t number = random_next() % entries;
        const big_key key = {{number, ~number}};
        flx_cache_item item;
        hits += flx_cache_shard_get(shard, (flx_slice){(const uint8_t *)&key, sizeof key}, NOW_US,
                                    &item);
    }
    const uint64_t put_start_ns = flx_clock_monotonic_ns();
    for (uint32_t i = 0; i < entries; i++) {
        const uint64_t number = random_next() % entries;
        const big_key key = {{number, ~number}};
        put_key(shard, &key, sizeof key);
    }
    const uint64_t end_ns = flx_clock_monotonic_ns();
    (void)printf("%u entries: new %.0f ns (longest %.0f us), get %.0f ns, overwrite %.0f ns, "
                 "%.1f bytes beside key and value, %u of %u read\n",
                 entries, fill_ns, (double)longest_ns / 1000,
                 (double)(put_start_ns - get_start_ns) / entries,
                 (double)(end_ns - put_start_ns) / entries, cost, hits, entries);
    (void)flx_cache_shard_free(shard);
    (void)flx_cache_pool_free(pool);
}

int main(int argc, char **argv)
{
    const uint32_t requests = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000000;
    const uint32_t entries = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
    if (requests < 2 || entries < 1) {
        (void)fprintf(stderr, "usage: bench_cache_hit_ratio [REQUESTS [ENTRIES]]\n");
        return 2;
    }
    compare(requests);
    time_operations(entries);
    return 0;
}
