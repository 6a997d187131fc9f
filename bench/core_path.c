/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/core_path.c - what does the broker's core cost per record, without packets and sockets?
 *
 * Workers in one thread, with the transport and the clock of the tests: what a publisher (or a
 * client of a cache) sends goes in as packets of 1,200 bytes would bring it, through wire, session,
 * shard and fan-out, to subscribers that take every byte at once. The work is the same in every
 * run; only the time differs.
 *
 *     bench_core_path [--only TEXT] [rounds]    a table: nanoseconds and counts per record
 *     bench_core_path [--only TEXT] --counts    the counts of a fixed number of rounds, as JSON
 *
 * bench/check/run runs --counts under callgrind and compares: between the warm-up and the end of a
 * row callgrind counts, and its figures are dumped under the row's name. A new row of THE TABLE is
 * all that a new case needs; `make bench-check UPDATE=1` then gives it its baseline.
 *
 * What is counted: allocations through common/alloc.h; bytes copied by calls of memcpy and memmove,
 * which the linker leads through here (copies of a few bytes that the compiler writes itself are not
 * seen, nor is what realloc moves); mails between workers.
 */
#include "broker_harness.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/operation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else /* tools/setup installs it; without it there are no instructions, and bench/check/run says so */
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

#define PACKET_BYTES   1200 /* of a stream that one packet carries */
#define TICK_BYTES_MAX ((size_t)4 << 20)
#define SUBS_OF_A_CONN 1000
#define WARM_UP_ROUNDS 160 /* goes round the ring, which is small here */
#define COUNTED_ROUNDS 128
#define TABLE_ROUNDS   2000
#define RING_BYTES     (4 << 20)
#define RING_FRAMES    64
#define PLAIN          0x27   /* shared frames with offsets: sent as they lie */
#define TIMED          0x4027 /* as published clients of 0.6 ask: rewritten once for all */
#define PRIMARY        "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"primary\""

typedef struct load load;

struct load {
    const char *name;
    const char *like; /* the row it must cost the same as, whatever stands beside it; or NULL */
    size_t (*request)(const load *what, uint8_t *to, size_t cap); /* one frame */
    size_t payload;
    uint32_t batch;
    uint32_t frames;  /* of one stream in one tick */
    uint32_t streams; /* that send */
    uint32_t fan_out;
    bool acked;
    bool timed;       /* subscribers want times, as published clients do */
    uint32_t workers; /* 4: publisher, shard and subscribers are on three different ones */
    uint32_t idle;    /* subscriptions of another stream */
    bool operations;  /* frames of operations on the cache */
    bool stalled;     /* one more subscriber that takes nothing */
};

static size_t publish(const load *what, uint8_t *to, size_t cap)
{
    return hx_publish_frame(to, cap, "demo", what->acked ? 1 : 0, what->payload, what->batch);
}

static size_t json(uint8_t *to, size_t cap, const char *text)
{
    const size_t len = strlen(text);
    if (cap < FLX_FRAME_HEADER_BYTES + len) {
        abort();
    }
    flx_frame_header_encode(0, (uint32_t)len, to);
    memcpy(to + FLX_FRAME_HEADER_BYTES, text, len);
    return FLX_FRAME_HEADER_BYTES + len;
}

static size_t cache_put(const load *what, uint8_t *to, size_t cap)
{
    (void)what; /* 100 bytes: 136 characters */
    return json(to, cap,
                "{\"type\":\"cache_put\"," PRIMARY ",\"key\":\"here\",\"value\":\""
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\"}");
}

static size_t cache_hit(const load *what, uint8_t *to, size_t cap)
{
    (void)what;
    return json(to, cap, "{\"type\":\"cache_get\"," PRIMARY ",\"key\":\"here\"}");
}

static size_t cache_miss(const load *what, uint8_t *to, size_t cap)
{
    (void)what;
    return json(to, cap, "{\"type\":\"cache_get\"," PRIMARY ",\"key\":\"gone\"}");
}

static size_t operations(const flx_operation *operation, uint32_t count, uint8_t *to, size_t cap)
{
    uint8_t *end = to + FLX_FRAME_HEADER_BYTES;
    if (cap < FLX_FRAME_HEADER_BYTES + count * flx_operation_bytes(operation)) {
        abort();
    }
    for (uint32_t i = 0; i < count; i++) {
        end = flx_operation_encode(operation, end);
    }
    const size_t len = (size_t)(end - to) - FLX_FRAME_HEADER_BYTES;
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)len, to);
    return FLX_FRAME_HEADER_BYTES + len;
}

#define TEXT(literal) ((flx_slice){(const uint8_t *)(literal), sizeof(literal) - 1})

static size_t operation_open(uint8_t *to, size_t cap)
{
    return operations(&(flx_operation){.opcode = FLX_OPCODE_OPEN,
                                       .kind = FLX_OPERATION_CACHE,
                                       .tenant = TEXT("t1"),
                                       .namespace_ = TEXT("default"),
                                       .name = TEXT("primary")},
                      1, to, cap);
}

static size_t operation_put(const load *what, uint8_t *to, size_t cap)
{
    static const uint8_t value[100];
    return operations(&(flx_operation){.opcode = FLX_OPCODE_CACHE_PUT,
                                       .key = TEXT("here"),
                                       .value = {value, sizeof value}},
                      what->batch, to, cap);
}

static size_t operation_get(const load *what, uint8_t *to, size_t cap)
{
    return operations(&(flx_operation){.opcode = FLX_OPCODE_CACHE_GET, .key = TEXT("here")},
                      what->batch, to, cap);
}

#define SINGLE .request = publish, .payload = 256, .batch = 1, .frames = 64, .streams = 1
#define BATCHES(bytes)                                                                             \
    .request = publish, .payload = (bytes), .batch = 64, .frames = 16, .streams = 1
#define ASKS(what)   .request = (what), .batch = 1, .frames = 1, .streams = 16
#define ASKS64(what) .request = (what), .batch = 64, .frames = 1, .streams = 16, .operations = true
#define ACKED_ALONE  "publish 256 B, acked, 64 in flight"
#define FAN_OUT_10   "publish 100 B x 64, fan-out 10"

/* THE TABLE. */
static const load loads[] = {
    {ACKED_ALONE, SINGLE, .acked = true},
    {"publish 256 B, acked, 10000 idle subscriptions", SINGLE, .like = ACKED_ALONE, .acked = true,
     .idle = 10000},
    {"publish 256 B, acked, fan-out 1", SINGLE, .acked = true, .fan_out = 1},
    {"publish 256 B, acked, fan-out 1, 4 workers", SINGLE, .acked = true, .fan_out = 1,
     .workers = 4},
    {"publish 100 B x 64, fan-out 1", BATCHES(100), .fan_out = 1},
    {FAN_OUT_10, BATCHES(100), .fan_out = 10},
    {"publish 100 B x 64, fan-out 10, one stalled", BATCHES(100), .like = FAN_OUT_10, .fan_out = 10,
     .stalled = true},
    {"publish 100 B x 64, fan-out 10, 4 workers", BATCHES(100), .fan_out = 10, .workers = 4},
    {"publish 100 B x 64, fan-out 1000", BATCHES(100), .fan_out = 1000},
    {"publish 1 KiB x 64, fan-out 10", BATCHES(1024), .fan_out = 10},
    {"publish 1 KiB x 64, fan-out 10, times", BATCHES(1024), .fan_out = 10, .timed = true},
    {"cache put 100 B, JSON", ASKS(cache_put)},
    {"cache get 100 B, JSON, hit", ASKS(cache_hit)},
    {"cache get, JSON, miss", ASKS(cache_miss)},
    {"cache put 100 B, operations x 64", ASKS64(operation_put)},
    {"cache get 100 B, operations x 64, hit", ASKS64(operation_get)},
};

/* ---- copies, as the linker leads them here ---- */

static uint64_t copied_bytes;

#define COUNTED_COPY(name)                                                                         \
    void *__real_##name(void *to, const void *from, size_t len);                                   \
    void *__wrap_##name(void *to, const void *from, size_t len);                                   \
    void *__wrap_##name(void *to, const void *from, size_t len)                                    \
    {                                                                                              \
        copied_bytes += len;                                                                       \
        return __real_##name(to, from, len);                                                       \
    }
#define COUNTED_COPY_CHECKED(name)                                                                 \
    void *__real_##name(void *to, const void *from, size_t len, size_t room);                      \
    void *__wrap_##name(void *to, const void *from, size_t len, size_t room);                      \
    void *__wrap_##name(void *to, const void *from, size_t len, size_t room)                       \
    {                                                                                              \
        copied_bytes += len;                                                                       \
        return __real_##name(to, from, len, room);                                                 \
    }
COUNTED_COPY(memcpy)
COUNTED_COPY(memmove)
COUNTED_COPY_CHECKED(__memcpy_chk)
COUNTED_COPY_CHECKED(__memmove_chk)

/* ---- one row ---- */

typedef struct figures {
    uint64_t ns, allocations, copied, mails;
    uint64_t records, deliveries; /* in the same rounds */
} figures;

/* `count` subscriptions, a thousand a connection, answered together. The last connection, or NULL. */
static hx_conn *subscribe(hx *h, uint32_t worker, const char *stream, uint16_t flags,
                          uint32_t count)
{
    hx_conn *conn = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (i % SUBS_OF_A_CONN == 0) {
            (void)hx_run(h);
            conn = hx_connect(h, worker);
        }
        hx_stream *s = hx_open(conn, true);
        hx_json(s,
                "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\",\"client_flags\":%u,"
                "\"client_features\":0}",
                hx_token(h), (unsigned)flags);
        hx_json(s,
                "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                "\"stream\":\"%s\"}",
                stream);
        hx_fin(s);
    }
    (void)hx_run(h);
    return conn;
}

static uint64_t stat_of(hx *h, uint32_t workers, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < workers; i++) {
        const char *stats = (const char *)flx_worker_stats_of(hx_worker(h, i));
        sum += flx_stat_get((const _Atomic uint64_t *)(const void *)(stats + offset));
    }
    return sum;
}

/* What the workers say they did: records appended and cache requests served. */
static uint64_t records_of(hx *h, uint32_t workers)
{
    return stat_of(h, workers, offsetof(flx_worker_stats, published_records)) +
           stat_of(h, workers, offsetof(flx_worker_stats, cache_gets)) +
           stat_of(h, workers, offsetof(flx_worker_stats, cache_writes));
}

static uint64_t deliveries_of(hx *h, uint32_t workers)
{
    return stat_of(h, workers, offsetof(flx_worker_stats, delivered_records));
}

typedef struct senders {
    hx_stream *streams[16];
    uint8_t *tick; /* the bytes one stream sends in a tick */
    size_t len;
} senders;

static void senders_init(senders *all, hx *h, const load *what, uint32_t worker)
{
    all->tick = malloc(TICK_BYTES_MAX);
    all->len = 0;
    if (all->tick == NULL || what->streams > sizeof all->streams / sizeof all->streams[0]) {
        abort();
    }
    for (uint32_t i = 0; i < what->frames; i++) {
        all->len += what->request(what, all->tick + all->len, TICK_BYTES_MAX - all->len);
    }
    hx_conn *conn = hx_connect(h, worker);
    for (uint32_t i = 0; i < what->streams; i++) {
        all->streams[i] = hx_open(conn, true);
        if (what->operations) {
            hx_auth_hi(all->streams[i], PLAIN, FLX_FEATURE_EXTENDED, FLX_FEATURE_HI_OPERATIONS);
            uint8_t open[256];
            hx_feed(all->streams[i], open, operation_open(open, sizeof open));
            (void)hx_run(h);
        } else {
            hx_auth(all->streams[i]);
        }
    }
}

static void rounds_run(hx *h, const load *what, const senders *all, uint32_t rounds)
{
    for (uint32_t round = 0; round < rounds; round++) {
        hx_advance_ms(h, 1);
        for (uint32_t i = 0; i < what->streams; i++) {
            for (size_t at = 0; at < all->len; at += PACKET_BYTES) {
                const size_t left = all->len - at;
                hx_feed(all->streams[i], all->tick + at, left < PACKET_BYTES ? left : PACKET_BYTES);
            }
        }
        hx_step(h);
    }
    (void)hx_run(h); /* what is between workers arrives */
}

/* Nothing of a row may be refused or lost: its figures would be those of something else. */
static void must_be(const load *what, const char *of, uint64_t is, uint64_t expected)
{
    if (is != expected) {
        (void)fprintf(stderr, "core_path: %s: %" PRIu64 " %s instead of %" PRIu64 "\n", what->name,
                      is, of, expected);
        exit(1);
    }
}

static figures measure(const load *what, uint32_t rounds)
{
    const uint32_t workers = what->workers == 0 ? 1 : what->workers;
    hx *h = hx_new(&(hx_options){
        .workers = workers,
        .count_only = true,
        .limits = {.shard_ring_bytes = RING_BYTES, .shard_ring_frames = RING_FRAMES}});
    const uint32_t owner = flx_worker_owner(1, 0, workers); /* of "demo" and of "primary" */
    const uint32_t home = (owner + 1) % workers;
    const uint32_t readers = (owner + 2) % workers;
    const uint16_t flags = what->timed ? TIMED : PLAIN;
    (void)subscribe(h, readers, "oldest", flags, what->idle);
    (void)subscribe(h, readers, "demo", flags, what->fan_out);
    if (what->stalled) {
        hx_stall(hx_accept(subscribe(h, readers, "demo", flags, 1)), true);
    }
    const bool hits = what->request == cache_hit || what->request == operation_get;
    if (hits) { /* there must be something to hit */
        senders writer;
        const load once = {.name = what->name, .request = cache_put, .frames = 1, .streams = 1};
        senders_init(&writer, h, &once, home);
        rounds_run(h, &once, &writer, 1);
        free(writer.tick);
    }
    senders all;
    senders_init(&all, h, what, home);
    rounds_run(h, what, &all, WARM_UP_ROUNDS);

    const uint64_t records = records_of(h, workers);
    const uint64_t deliveries = deliveries_of(h, workers);
    figures before = {
        .allocations = flx_alloc_count(), .copied = copied_bytes, .mails = hx_mails(h)};
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    before.ns = flx_clock_monotonic_ns();
    rounds_run(h, what, &all, rounds);
    figures got = {.ns = flx_clock_monotonic_ns() - before.ns,
                   .allocations = flx_alloc_count() - before.allocations,
                   .copied = copied_bytes - before.copied,
                   .mails = hx_mails(h) - before.mails};
    CALLGRIND_DUMP_STATS_AT(what->name);
    CALLGRIND_STOP_INSTRUMENTATION;

    got.records = records_of(h, workers) - records;
    got.deliveries = deliveries_of(h, workers) - deliveries;
    must_be(what, "records", got.records,
            (uint64_t)rounds * what->streams * what->frames * what->batch);
    must_be(what, "deliveries", got.deliveries, got.records * what->fan_out);
    must_be(what, "hits", stat_of(h, workers, offsetof(flx_worker_stats, cache_hits)) > 0, hits);
    free(all.tick);
    hx_free(h);
    return got;
}

/* ---- what is printed ---- */

#ifdef __clang__
#define COMPILER "clang " __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif
#ifdef FLX_DEBUG
#define BUILD ", debug"
#else
#define BUILD ""
#endif

static void print_counts(const load *what, const figures *got)
{
    (void)printf("{\"case\":\"%s\",\"like\":%s%s%s,\"records\":%" PRIu64 ",\"fan_out\":%" PRIu32
                 ",\"allocations\":%" PRIu64 ",\"copied_bytes\":%" PRIu64 ",\"mails\":%" PRIu64
                 "}\n",
                 what->name, what->like == NULL ? "" : "\"",
                 what->like == NULL ? "null" : what->like, what->like == NULL ? "" : "\"",
                 got->records, what->fan_out, got->allocations, got->copied, got->mails);
    (void)fflush(stdout);
}

static void print_row(const load *what, const figures *got)
{
    const double records = (double)got->records;
    (void)printf("%-48s %9.1f ns %8.4f allocations %8.1f bytes copied %7.4f mails", what->name,
                 (double)got->ns / records, (double)got->allocations / records,
                 (double)got->copied / records, (double)got->mails / records);
    if (what->fan_out > 1) {
        (void)printf("; %6.2f ns a delivery", (double)got->ns / (double)got->deliveries);
    }
    (void)printf("\n");
}

int main(int argc, char **argv)
{
    bool counts = false;
    const char *only = "";
    uint32_t rounds = TABLE_ROUNDS;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--counts") == 0) {
            counts = true;
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else {
            rounds = (uint32_t)strtoul(argv[i], NULL, 10);
        }
    }
    if (counts) {
        (void)printf("{\"compiler\":\"%s\"}\n", COMPILER BUILD);
    }
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        const load *what = &loads[i];
        if (strstr(what->name, only) == NULL) {
            continue;
        }
        const uint32_t slower = what->fan_out > 100 ? 10 : 1;
        const figures got = measure(what, counts ? COUNTED_ROUNDS / slower : rounds / slower);
        (counts ? print_counts : print_row)(what, &got);
    }
    return 0;
}
