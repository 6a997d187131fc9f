/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does the log cost beside the disk? Goals P6 (its floor part), P7 and P12.
 *
 *      bench_storage DIR [SECONDS [MIB [threads]]]    threads: not io_uring
 *
 * append    batches of one 256 B record through a journal with on_commit, `window` of them waiting for their
 *           sync, against the same process writing the same bytes with pwrite + fdatasync: one
 *           at a time, and in pieces as large as the journal's groups were
 * replay    MIB (1024) of 1 KiB records in batches of 64, read back block by block from the page cache
 *           without the read cache: processor time of the whole process
 * reopen    that log opened again: time, and bytes that were scanned
 */
#include "common/clock.h"
#include "common/loop.h"
#include "need.h"
#include "storage/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct bench {
    flx_disk *disk;
    flx_store *store;
    flx_loop *loop;
    flx_io *io;
    flx_journal *journal;
    flx_journal_report report;
    bool is_closed;
} bench;

static flx_error error;

static double cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void open_log(bench *b, const char *name, flx_journal_sync sync)
{
    const flx_journal_options options = {.sync = sync};
    NEED(flx_journal_open(b->store, name, true, &options, flx_clock_wall_us(), &b->journal,
                          &b->report, &error));
    flx_journal_attach(b->journal, b->io, NULL, NULL);
}

static void closed(void *arg, flx_journal *journal)
{
    (void)journal;
    ((bench *)arg)->is_closed = true;
}

static void close_log(bench *b)
{
    flx_journal_close(b->journal, closed, b);
    flx_io_drain(b->io);
    b->journal = flx_journal_free(b->journal);
}

static void put_record(uint8_t *at, uint32_t len)
{
    memset(at, 'x', len + 4);
    at[0] = 0;
    at[1] = 0;
    at[2] = (uint8_t)(len >> 8);
    at[3] = (uint8_t)len;
}

/* Appends for a while with `window` not yet synced; returns syncs through the mean group. */
static double run_append(bench *b, uint32_t window, double seconds)
{
    uint8_t record[260];
    put_record(record, 256);
    open_log(b, "append", FLX_JOURNAL_SYNC_ON_COMMIT);
    const uint64_t begin = flx_clock_monotonic_ns();
    const uint64_t until = begin + (uint64_t)(seconds * 1e9);
    const double cpu = cpu_s();
    const uint64_t first = flx_journal_end(b->journal);
    uint64_t groups = 0;
    uint64_t now = begin;
    while (now < until) {
        const uint64_t synced = flx_journal_synced(b->journal);
        while (flx_journal_end(b->journal) - synced < window) {
            const flx_journal_batch batch = {
                .count = 1, .region = {record, sizeof record}, .time_us = now / 1000};
            uint64_t offset = 0;
            NEED(flx_journal_append(b->journal, &batch, &offset, &error));
        }
        flx_journal_tick(b->journal, now, now / 1000);
        while (flx_journal_synced(b->journal) == synced) {
            NEED(flx_loop_step(b->loop, FLX_LOOP_NEVER, &error));
        }
        groups++;
        now = flx_clock_monotonic_ns();
    }
    const double took = (double)(now - begin) / 1e9;
    const double acks = (double)(flx_journal_synced(b->journal) - first);
    const double mean = acks / (double)groups;
    (void)printf("append 256 B, %4u in flight: %9.0f acks/s, %7.1f us a group of %6.1f, "
                 "%5.2f us of CPU an ack (%s)\n",
                 window, acks / took, took * 1e6 / (double)groups, mean,
                 (cpu_s() - cpu) * 1e6 / acks, flx_io_name(b->io));
    close_log(b);
    return mean;
}

static void run_floor(const char *directory, size_t bytes, double seconds)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/floor", directory);
    const int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    uint8_t *data = calloc(1, bytes);
    if (fd < 0 || data == NULL) {
        perror("floor");
        exit(1);
    }
    const uint64_t begin = flx_clock_monotonic_ns();
    const uint64_t until = begin + (uint64_t)(seconds * 1e9);
    uint64_t count = 0;
    uint64_t now = begin;
    for (; now < until; now = flx_clock_monotonic_ns()) {
        if (pwrite(fd, data, bytes, (off_t)(count * bytes)) != (ssize_t)bytes ||
            fdatasync(fd) != 0) {
            perror("floor");
            exit(1);
        }
        count++;
    }
    (void)printf("floor: pwrite + fdatasync of %6zu B: %9.0f a second, %7.1f us each\n", bytes,
                 (double)count * 1e9 / (double)(now - begin),
                 (double)(now - begin) / 1e3 / (double)count);
    free(data);
    (void)close(fd);
    (void)unlink(path);
}

static void read_done(flx_journal_read *read)
{
    *(bool *)read->arg = true;
}

static void fill(bench *b, uint64_t bytes)
{
    enum { RECORDS = 64, LEN = 1024 };
    flx_chunk *holder = flx_chunk_new(RECORDS * (LEN + 4));
    if (holder == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < RECORDS; i++) {
        put_record(holder->data + i * (LEN + 4), LEN);
    }
    holder->len = holder->cap;
    const flx_journal_batch batch = {
        .count = RECORDS, .region = {holder->data, holder->len}, .holder = holder, .time_us = 1};
    for (uint64_t done = 0; done < bytes; done += holder->len) {
        uint64_t offset = 0;
        flx_status status;
        while ((status = flx_journal_append(b->journal, &batch, &offset, &error)) ==
               FLX_ERR_AGAIN) {
            NEED(flx_loop_step(b->loop, FLX_LOOP_NEVER, &error));
        }
        NEED(status);
        flx_journal_tick(b->journal, flx_clock_monotonic_ns(), 1);
    }
    flx_io_drain(b->io);
    (void)flx_chunk_unref(holder);
}

static void run_replay(bench *b, const char *name)
{
    const uint64_t begin = flx_clock_monotonic_ns();
    const double cpu = cpu_s();
    uint64_t bytes = 0;
    uint64_t blocks = 0;
    bool is_done = false;
    flx_journal_read read = {.done = read_done, .arg = &is_done};
    for (;;) {
        is_done = flx_journal_read_begin(b->journal, &read);
        while (!is_done) {
            NEED(flx_loop_step(b->loop, FLX_LOOP_NEVER, &error));
        }
        NEED(read.status);
        if (read.range.chunk == NULL) {
            break;
        }
        bytes += flx_range_len(&read.range);
        blocks++;
        (void)flx_chunk_unref(read.range.chunk);
        read.offset = read.next;
    }
    const double took = (double)(flx_clock_monotonic_ns() - begin) / 1e9;
    (void)printf("replay 1 KiB%s: %.0f MB in %" PRIu64 " blocks: %.2f GB/s, %.3f CPU-s per GB\n",
                 name, (double)bytes / 1e6, blocks, (double)bytes / 1e9 / took,
                 (cpu_s() - cpu) * 1e9 / (double)bytes);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s DIR [SECONDS [MIB [threads]]]\n", argv[0]);
        return 2;
    }
    const double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    const uint64_t mib = argc > 3 ? strtoull(argv[3], NULL, 10) : 1024;
    bench b = {0};
    NEED(flx_disk_posix_new(argv[1], true, &b.disk, &error));
    NEED(flx_store_open(b.disk, FLX_STORE_CREATE, flx_clock_wall_us(), &b.store, &error));
    NEED(flx_loop_new(NULL, &b.loop, &error));
    const flx_io_options io = {.without_uring = argc > 4 && strcmp(argv[4], "threads") == 0};
    NEED(flx_io_new(b.loop, &io, &b.io, &error));
    static const uint32_t windows[] = {1, 64, 1024};
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        const double mean = run_append(&b, windows[i], seconds);
        run_floor(argv[1], (size_t)(mean * (256 + 4 + FLX_STORED_HEAD_BYTES)), seconds);
    }
    open_log(&b, "replay", FLX_JOURNAL_SYNC_NONE);
    fill(&b, mib << 20);
    run_replay(&b, "");
    close_log(&b);
    const uint64_t begin = flx_clock_monotonic_ns();
    open_log(&b, "replay", FLX_JOURNAL_SYNC_NONE);
    (void)printf("reopen %.0f MB in %u segments: %.1f ms, %.1f MB scanned\n",
                 (double)b.report.bytes / 1e6, b.report.segments,
                 (double)(flx_clock_monotonic_ns() - begin) / 1e6,
                 (double)b.report.scanned_bytes / 1e6);
    close_log(&b);
    (void)flx_store_remove(b.store, "replay", NULL);
    (void)flx_store_remove(b.store, "append", NULL);
    b.io = flx_io_free(b.io);
    b.loop = flx_loop_free(b.loop);
    b.store = flx_store_free(b.store);
    b.disk = flx_disk_free(b.disk);
    return 0;
}
