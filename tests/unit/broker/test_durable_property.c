/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random walk over durable streams: publishes, subscribes at any offset, stalls, ends, disk jobs that
 * complete in any order, restarts and power cuts, with rings so small that readers fall out of them all
 * the time. Whatever happens, each subscriber sees every record from where it began in dense offsets,
 * all see the same record at an offset, what one saw is still there after a power cut, and so is what was
 * acknowledged (README.md, rules 18 to 20).
 */
#include "broker_rig.h"
#include "common/xorshift.h"
#include "wire/ack.h"
#include "wire/event.h"
#include "wire/flags.h"

#include <stdio.h>

#define STEPS       400
#define SUBS_MAX    12
#define RECORDS_MAX 20000
#define NOBODY      UINT32_MAX

typedef struct reader {
    hx_stream *events;
    uint64_t next;
    bool is_first; /* latest: nothing came yet */
    bool stalled;
} reader;

typedef struct model {
    sim_disk *sim;
    hx *h;
    hx_options options;
    uint64_t seed;
    uint64_t random;
    uint32_t workers;
    const char *stream;
    hx_conn *conns[4];
    hx_stream *publishers[4];
    reader readers[SUBS_MAX];
    uint32_t reader_count;
    uint32_t published;              /* numbers of records; request ids are one more */
    uint32_t at_offset[RECORDS_MAX]; /* number of the record there, NOBODY: not known */
    uint64_t safe_end;               /* offsets below were acknowledged or seen */
    uint64_t delivered;
    uint64_t restarts;
} model;

static uint32_t draw(model *m, uint32_t below)
{
    return (uint32_t)((flx_xorshift(&m->random) >> 11) % below);
}

/* Everybody must agree on what lies at an offset, for ever once somebody saw or was told it. */
static void learn(model *m, uint64_t offset, uint32_t number)
{
    assert_true(offset < RECORDS_MAX);
    if (m->at_offset[offset] != NOBODY && m->at_offset[offset] != number) {
        fail_msg("seed %llu: offset %llu held %u, now %u", (unsigned long long)m->seed,
                 (unsigned long long)offset, m->at_offset[offset], number);
    }
    m->at_offset[offset] = number;
    m->safe_end = offset >= m->safe_end ? offset + 1 : m->safe_end;
}

static void read_acks(model *m)
{
    for (uint32_t i = 0; i < m->workers; i++) {
        for (hx_got got = hx_read(m->publishers[i]); got.is_frame;
             got = hx_read(m->publishers[i])) {
            flx_publish_ack ack;
            assert_int_equal(
                flx_publish_ack_decode(got.flags, (flx_slice){got.payload, got.len}, &ack, NULL),
                FLX_OK);
            if ((got.flags & FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET) != 0 && ack.code == 0) {
                learn(m, ack.offset, (uint32_t)ack.request_id - 1);
            }
        }
    }
}

static void read_all(model *m, reader *r)
{
    hx_event event;
    while ((event = hx_next_event(r->events)).is_event) {
        if (r->is_first) {
            r->is_first = false;
            r->next = event.offset;
        }
        if (event.offset != r->next) {
            fail_msg("seed %llu: expected offset %llu, got %llu", (unsigned long long)m->seed,
                     (unsigned long long)r->next, (unsigned long long)event.offset);
        }
        learn(m, event.offset, (uint32_t)strtoul(event.text, NULL, 10));
        r->next++;
        m->delivered++;
    }
    assert_false(event.is_lagged); /* nobody is too slow for a log */
}

static void publish_some(model *m)
{
    static char text[9000];
    const uint32_t n = m->published++;
    const uint32_t pad = draw(m, 10) == 0 ? draw(m, 8000) : draw(m, 60);
    const int len = snprintf(text, sizeof text, "%u.", n);
    memset(text + len, 'a' + (int)(n % 26), pad);
    text[len + (int)pad] = '\0';
    hx_publish(m->publishers[draw(m, m->workers)], m->stream, draw(m, 4) == 0 ? 0 : n + 1, NULL,
               text, 1);
}

static void run_all(model *m)
{
    run_disks(m->h, m->workers);
}

static void subscribe_some(model *m)
{
    if (m->reader_count == SUBS_MAX) {
        return;
    }
    run_all(m); /* the harness wants the answer at once */
    read_acks(m);
    reader *r = &m->readers[m->reader_count];
    memset(r, 0, sizeof *r);
    char extra[64] = "";
    const uint32_t how = draw(m, 3);
    r->is_first = how == 0;
    if (how == 1) {
        (void)snprintf(extra, sizeof extra, ",\"start\":\"earliest\"");
    } else if (how == 2) {
        r->next = m->safe_end == 0 ? 0 : draw(m, (uint32_t)m->safe_end + 1);
        (void)snprintf(extra, sizeof extra, ",\"start\":{\"offset\":%llu}",
                       (unsigned long long)r->next);
    }
    r->events = hx_subscribe(m->conns[draw(m, m->workers)], m->stream, extra,
                             0x27 | (draw(m, 4) == 0 ? FLX_FLAG_EVENT_BATCH_TIMESTAMPS : 0),
                             draw(m, 2) == 0 ? FLX_FEATURE_SUBSCRIPTION_LAGGED : 0);
    if (r->events == NULL) {
        fail_msg("seed %llu: no subscription at '%s'", (unsigned long long)m->seed, extra);
    }
    m->reader_count++;
}

static void begin_life(model *m)
{
    m->options.disk = sim_disk_of(m->sim);
    sim_disk_remember(m->sim, draw(m, 4)); /* what a worker reads itself, and what a thread does */
    m->h = hx_new(&m->options);
    assert_non_null(m->h);
    run_all(m);
    for (uint32_t i = 0; i < m->workers; i++) {
        m->conns[i] = hx_connect(m->h, i);
        m->publishers[i] = hx_open(m->conns[i], true);
        hx_auth_as(m->publishers[i],
                   0x27 | FLX_FLAG_BINARY_PUBLISH_ACK | FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET,
                   FLX_FEATURE_PUBLISH_PIPELINE);
    }
    m->reader_count = 0;
}

static void end_life(model *m)
{
    read_acks(m);
    for (uint32_t i = 0; i < m->reader_count; i++) {
        read_all(m, &m->readers[i]);
    }
    /* `written` survives the process, not the power. */
    const bool is_clean = draw(m, 3) == 0 || strcmp(m->stream, "written") == 0;
    if (!is_clean) {
        sim_disk_stop_at(m->sim, 1);
    }
    hx_free(m->h);
    if (!is_clean) {
        sim_disk_crash(m->sim, (sim_crash_mode)draw(m, 3), draw(m, 1000000));
    }
    for (uint64_t i = m->safe_end; i < RECORDS_MAX; i++) {
        m->at_offset[i] = NOBODY;
    }
    m->restarts++;
    begin_life(m);
}

static void step(model *m)
{
    const uint32_t what = draw(m, 40);
    if (what < 18) {
        for (uint32_t left = draw(m, 20); left > 0; left--) {
            publish_some(m);
        }
    } else if (what < 22) {
        subscribe_some(m);
    } else if (what < 26 && m->reader_count > 0) {
        reader *r = &m->readers[draw(m, m->reader_count)];
        r->stalled = !r->stalled;
        hx_stall(r->events, r->stalled);
    } else if (what == 26 && m->reader_count > 0) {
        const uint32_t i = draw(m, m->reader_count);
        hx_stop(m->readers[i].events);
        m->readers[i] = m->readers[--m->reader_count];
    } else if (what == 27) {
        hx_advance_ms(m->h, draw(m, 400));
    } else if (what == 28 && draw(m, 4) == 0) {
        end_life(m);
    } else if (what < 36) {
        for (uint32_t left = draw(m, 6); left > 0; left--) {
            (void)hx_io(m->h, draw(m, m->workers), draw(m, 3));
        }
    } else {
        read_acks(m);
        for (uint32_t i = 0; i < m->reader_count; i++) {
            if (!m->readers[i].stalled) {
                read_all(m, &m->readers[i]);
            }
        }
    }
    if (draw(m, 3) != 0) {
        hx_step(m->h);
    }
}

static void walk(uint64_t seed)
{
    static const char *const streams[] = {"logged", "written", "kept", "accepted"};
    static model m;
    memset(&m, 0, sizeof m);
    m.seed = seed;
    m.random = seed * 2654435761u + 1;
    m.workers = (uint32_t)(seed % 4 + 1);
    m.stream = streams[seed / 4 % 3]; /* what was accepted only may be lost */
    m.options = (hx_options){.workers = m.workers,
                             .mailbox = 32,
                             .manual_io = true,
                             .limits = {.shard_ring_frames = 8,
                                        .shard_ring_bytes = 65536,
                                        .publish_window = 16,
                                        .pull_bytes = 8192,
                                        .block_ms = 20,
                                        .log_segment_bytes = 16384,
                                        .log_read_cache_bytes = 1 << 20}};
    for (uint64_t i = 0; i < RECORDS_MAX; i++) {
        m.at_offset[i] = NOBODY;
    }
    m.sim = sim_disk_new();
    begin_life(&m);
    for (int i = 0; i < STEPS; i++) {
        step(&m);
    }
    for (uint32_t i = 0; i < m.reader_count; i++) {
        hx_stall(m.readers[i].events, false);
    }
    for (int i = 0; i < 3; i++) {
        run_all(&m);
        hx_advance_ms(m.h, 500);
    }
    run_all(&m);
    read_acks(&m);
    for (uint32_t i = 0; i < m.reader_count; i++) {
        read_all(&m, &m.readers[i]);
    }
    for (uint32_t i = 0; i < m.reader_count; i++) {
        if (!m.readers[i].is_first && m.readers[i].next < m.safe_end) {
            fail_msg("seed %llu: a reader is at %llu of %llu", (unsigned long long)seed,
                     (unsigned long long)m.readers[i].next, (unsigned long long)m.safe_end);
        }
    }
    for (uint32_t i = 0; i < m.workers; i++) {
        const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(m.h, i));
        assert_int_equal(flx_stat_get(&stats->publish_bytes), 0);
        assert_int_equal(flx_stat_get(&stats->dropped[FLX_DROP_SLOW_LAG]), 0);
    }
    assert_true(m.safe_end > 0);
    hx_free(m.h);
    flx_disk_free(sim_disk_of(m.sim));
}

static void test_walks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        walk(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
