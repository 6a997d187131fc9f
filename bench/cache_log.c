/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does a durable cache cost at N entries: memory beside keys and values, a read from memory and one
 * from the log, and opening it again?
 *
 *      bench_cache_log DIR [ENTRIES [BUDGET_MIB]]
 *
 * fill     ENTRIES (1,000,000) puts of 16 + 100 B as records of a log, 64 in a batch
 * reopen   that log opened, read block by block, and the index made from it (broker/cache_log.c does the
 *          same between other work): time, and memory an entry by the pool's own count and by the process's
 * get      of random keys: hits in memory, and values read back from the log, one at a time, from
 *          the page cache
 */
#include "broker/cache.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/xorshift.h"
#include "need.h"
#include "storage/journal.h"
#include "wire/records.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES   16
#define KEY_NUMBERS UINT64_C(1000000000000000) /* fifteen digits */
#define VALUE_BYTES 100
#define BATCH       64
#define GETS        200000
#define AWAY_GETS   20000
#define BLOCK_BYTES (32u << 10) /* as the broker's */

typedef struct bench {
    flx_store *store;
    flx_loop *loop;
    flx_io *io;
    flx_journal *journal;
    flx_cache_pool *pool;
    flx_cache_shard *shard;
    uint64_t entries;
} bench;

static flx_error error;
static uint64_t random_state = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
    return flx_xorshift(&random_state) % below;
}

static flx_slice key_of(uint64_t number, char to[KEY_BYTES + 1])
{
    (void)snprintf(to, KEY_BYTES + 1, "k%015" PRIu64, number % KEY_NUMBERS);
    return (flx_slice){(const uint8_t *)to, KEY_BYTES};
}

static double seconds_since(uint64_t begin_ns)
{
    return (double)(flx_clock_monotonic_ns() - begin_ns) / 1e9;
}

/* ---- the log ---- */

static void open_log(bench *b)
{
    const flx_journal_options options = {.sync = FLX_JOURNAL_SYNC_NONE,
                                         .visible = FLX_JOURNAL_VISIBLE_WRITTEN,
                                         .segment_bytes = 2u << 20,
                                         .block_bytes = BLOCK_BYTES};
    flx_journal_report report;
    NEED(flx_journal_open(b->store, "cache", true, &options, flx_clock_wall_us(), &b->journal,
                          &report, &error));
    flx_journal_attach(b->journal, b->io, NULL, NULL);
}

static void closed(void *arg, flx_journal *journal)
{
    (void)arg;
    (void)journal;
}

static void close_log(bench *b)
{
    flx_journal_close(b->journal, closed, b);
    flx_io_drain(b->io);
    b->journal = flx_journal_free(b->journal);
}

static void fill(bench *b)
{
    static uint8_t region[BATCH * (4 + FLX_CHANGE_HEAD_BYTES + KEY_BYTES + VALUE_BYTES)];
    static const uint8_t value[VALUE_BYTES] = {1};
    char key[KEY_BYTES + 1];
    const uint64_t begin = flx_clock_monotonic_ns();
    for (uint64_t done = 0; done < b->entries; done += BATCH) {
        uint8_t *to = region;
        for (uint64_t i = 0; i < BATCH; i++) {
            const flx_change change = {.kind = FLX_CHANGE_KIND_PUT,
                                       .key = key_of(done + i, key),
                                       .value = {value, sizeof value}};
            const uint32_t len = (uint32_t)flx_change_bytes(&change);
            *to++ = (uint8_t)(len >> 24);
            *to++ = (uint8_t)(len >> 16);
            *to++ = (uint8_t)(len >> 8);
            *to++ = (uint8_t)len;
            to = flx_change_write(to, &change);
        }
        const flx_journal_batch batch = {
            .kind = FLX_STORED_CACHE, .count = BATCH, .region = {region, sizeof region}};
        uint64_t offset;
        flx_status status;
        while ((status = flx_journal_append(b->journal, &batch, &offset, &error)) ==
               FLX_ERR_AGAIN) {
            NEED(flx_loop_step(b->loop, FLX_LOOP_NEVER, &error));
        }
        NEED(status);
        flx_journal_tick(b->journal, flx_clock_monotonic_ns(), flx_clock_wall_us());
    }
    flx_io_drain(b->io);
    (void)printf("fill: %" PRIu64 " entries of %d + %d B in %.1f s\n", b->entries, KEY_BYTES,
                 VALUE_BYTES, seconds_since(begin));
}

/* ---- reading ---- */

static void read_done(flx_journal_read *read)
{
    *(bool *)read->arg = true;
}

/* One block of the log; its reference is the caller's. */
static flx_range read_block(bench *b, uint64_t offset, uint64_t *ret_next)
{
    bool is_done;
    flx_journal_read read = {.offset = offset, .done = read_done, .arg = &is_done};
    is_done = flx_journal_read_begin(b->journal, &read);
    while (!is_done) {
        NEED(flx_loop_step(b->loop, FLX_LOOP_NEVER, &error));
    }
    NEED(read.status);
    *ret_next = read.next;
    return read.range;
}

static uint64_t kept_end(void *arg)
{
    return flx_journal_visible_end(((bench *)arg)->journal);
}

static flx_status refuse(void *arg, size_t key_len, size_t value_len)
{
    (void)arg;
    (void)key_len;
    (void)value_len;
    return FLX_ERR_AGAIN;
}

static void restore(bench *b, flx_range block)
{
    flx_slice rest = flx_range_slice(&block);
    flx_stored stored;
    while (flx_stored_next(&rest, &stored)) {
        uint64_t offset = stored.base_offset;
        flx_slice record;
        while (flx_records_next(&stored.region, &record)) {
            flx_change change;
            NEED(flx_change_read(record, &change, &error));
            NEED(flx_cache_shard_restore(b->shard, &change, offset++));
        }
    }
}

static void reopen(bench *b, uint64_t budget)
{
    const struct mallinfo2 before = mallinfo2();
    const uint64_t begin = flx_clock_monotonic_ns();
    open_log(b);
    const double opened = seconds_since(begin);
    const flx_cache_options options = {.bytes_max = budget};
    const flx_change_log log = {.reserve = refuse, .arg = b, .kept_end = kept_end};
    NEED(flx_cache_pool_new(&options, flx_clock_wall_us(), &b->pool, &error));
    NEED(flx_cache_shard_new(b->pool, &log, &b->shard, &error));
    uint64_t offset = 0;
    while (offset < flx_journal_end(b->journal)) {
        flx_range block = read_block(b, offset, &offset);
        restore(b, block);
        (void)flx_chunk_unref(block.chunk);
    }
    const double took = seconds_since(begin);
    const struct mallinfo2 after = mallinfo2();
    flx_cache_stats stats;
    flx_cache_pool_stats(b->pool, &stats);
    const double n = (double)stats.entries;
    const double payload =
        (double)(stats.entries * KEY_BYTES) + (double)((stats.entries - stats.away) * VALUE_BYTES);
    (void)printf("reopen: %.2f s, of which %.2f s to open the log; %.2f us an entry; %" PRIu64
                 " of %" PRIu64 " values are away\n",
                 took, opened, took * 1e6 / n, stats.away, stats.entries);
    (void)printf("memory an entry beside key and value: %.1f B by the pool, %.1f B by the heap\n",
                 ((double)stats.bytes - payload) / n,
                 ((double)(after.uordblks + after.hblkhd) -
                  (double)(before.uordblks + before.hblkhd) - payload) /
                     n);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right ? 1 : 0;
}

static void report(const char *what, uint64_t *times, size_t count)
{
    if (count == 0) {
        (void)printf("get, %s: none\n", what);
        return;
    }
    qsort(times, count, sizeof times[0], by_number);
    (void)printf("get, %s: %zu, p50 %.2f us, p99 %.2f us\n", what, count,
                 (double)times[count / 2] / 1e3, (double)times[count - 1 - count / 100] / 1e3);
}

static void get(bench *b)
{
    static uint64_t here[GETS];
    static uint64_t away[AWAY_GETS];
    size_t here_count = 0;
    size_t away_count = 0;
    for (int i = 0; i < GETS; i++) {
        char text[KEY_BYTES + 1];
        flx_cache_item item;
        const flx_slice key = key_of(draw(b->entries), text);
        const uint64_t begin = flx_clock_monotonic_ns();
        if (!flx_cache_shard_get(b->shard, key, 0, &item)) {
            (void)fprintf(stderr, "bench: '%s' is missing\n", text);
            exit(1);
        }
        if (!item.is_away) {
            here[here_count++] = flx_clock_monotonic_ns() - begin;
        } else if (away_count < AWAY_GETS) {
            uint64_t next;
            flx_range block = read_block(b, item.version, &next);
            away[away_count++] = flx_clock_monotonic_ns() - begin;
            (void)flx_chunk_unref(block.chunk);
        }
    }
    report("in memory", here, here_count);
    report("from the log", away, away_count);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench_cache_log DIR [ENTRIES [BUDGET_MIB]]\n");
        return 2;
    }
    bench b = {.entries = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000};
    const uint64_t budget = (argc > 3 ? strtoull(argv[3], NULL, 10) : 1024) << 20;
    flx_disk *disk = NULL;
    b.entries -= b.entries % BATCH;
    NEED(flx_loop_new(NULL, &b.loop, &error));
    NEED(flx_io_new(b.loop, NULL, &b.io, &error));
    NEED(flx_disk_posix_new(argv[1], true, &disk, &error));
    NEED(flx_store_open(disk, FLX_STORE_CREATE, flx_clock_wall_us(), &b.store, &error));
    open_log(&b);
    fill(&b);
    close_log(&b);
    reopen(&b, budget);
    get(&b);
    close_log(&b);
    (void)flx_cache_shard_free(b.shard);
    (void)flx_cache_pool_free(b.pool);
    (void)flx_store_free(b.store);
    (void)flx_io_free(b.io);
    (void)flx_disk_free(disk);
    (void)flx_loop_free(b.loop);
    return 0;
}
