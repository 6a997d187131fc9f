/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random walk over a broker of one to four workers: publishes of any size, subscribes anywhere,
 * stalls, ends. Whatever happens, each subscriber sees every record from where it began, in dense
 * offsets and with the bytes that were published, except where a gap was announced: by
 * `subscription_lagged`, or (for one that cannot hear it) by the offsets themselves.
 */
#include "broker_harness.h"
#include "common/xorshift.h"
#include "unit.h"
#include "wire/flags.h"

#include <stdio.h>

#define STEPS       600
#define SUBS_MAX    24
#define RECORDS_MAX 40000

typedef struct reader {
    hx_stream *events;
    uint64_t next; /* offset expected */
    bool is_first; /* nothing came yet */
    bool hears;
    bool stalled;
} reader;

typedef struct model {
    hx *h;
    uint64_t random;
    uint32_t workers;
    const char *stream;
    hx_stream *publishers[4];
    hx_conn *conns[4];
    reader readers[SUBS_MAX];
    uint32_t reader_count;
    uint32_t published;
    uint32_t sizes[RECORDS_MAX];
    uint64_t delivered;
    uint64_t gaps;
} model;

static uint32_t draw(model *m, uint32_t below)
{
    return (uint32_t)((flx_xorshift(&m->random) >> 11) % below);
}

/* Record `n` is its number, a dot, and a number of letters that follows from n. */
static void publish_some(model *m)
{
    static char text[70000];
    const uint32_t n = m->published++;
    const uint32_t pad = draw(m, 20) == 0 ? draw(m, 60000) : draw(m, 100);
    const int len = snprintf(text, sizeof text, "%u.", n);
    memset(text + len, 'a' + (int)(n % 26), pad);
    text[len + (int)pad] = '\0';
    m->sizes[n] = (uint32_t)len + pad;
    hx_publish(m->publishers[draw(m, m->workers)], m->stream, draw(m, 2) == 0 ? n + 1 : 0, NULL,
               text, 1);
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
            assert_false(r->hears); /* it would have been told */
            assert_true(event.offset > r->next);
            m->gaps++;
            r->next = event.offset;
        }
        /* With publishers on several workers, which record got the offset is the owner's choice. */
        const unsigned long n = strtoul(event.text, NULL, 10);
        assert_true(n < m->published);
        assert_int_equal(event.len, m->sizes[n]);
        const char *dot = strchr(event.text, '.');
        assert_non_null(dot);
        if (event.len > (size_t)(dot - event.text) + 1) {
            assert_int_equal(dot[1], 'a' + (int)(n % 26));
        }
        if (m->workers == 1) {
            assert_int_equal(n, event.offset);
        }
        r->next++;
        m->delivered++;
    }
    if (event.is_lagged) {
        assert_true(r->hears);
        assert_true(r->is_first || event.offset >= r->next);
        m->gaps++;
        const uint32_t worker = draw(m, m->workers);
        char extra[64];
        (void)snprintf(extra, sizeof extra, ",\"start\":{\"offset\":%llu}",
                       (unsigned long long)event.offset);
        r->events =
            hx_subscribe(m->conns[worker], m->stream, extra, 0x27, FLX_FEATURE_SUBSCRIPTION_LAGGED);
        if (r->events == NULL) { /* too old by now */
            *r = m->readers[--m->reader_count];
            return;
        }
        r->next = event.offset;
        r->is_first = false;
        r->stalled = false;
    }
}

static void subscribe_some(model *m)
{
    static const char *const extras[] = {"", ",\"start\":\"earliest\"", ",\"queue_capacity\":5"};
    if (m->reader_count == SUBS_MAX) {
        return;
    }
    reader *r = &m->readers[m->reader_count];
    memset(r, 0, sizeof *r);
    /* `drop_new` and `drop_old` are what they say, also to who could hear more. */
    const bool is_told = strcmp(m->stream, "demo") == 0 || strcmp(m->stream, "wait") == 0;
    r->hears = draw(m, 2) == 0 && is_told;
    r->is_first = true;
    r->events = hx_subscribe(m->conns[draw(m, m->workers)], m->stream, extras[draw(m, 3)], 0x27,
                             r->hears ? FLX_FEATURE_SUBSCRIPTION_LAGGED : 0);
    assert_non_null(r->events);
    m->reader_count++;
}

static void step(model *m)
{
    const uint32_t what = draw(m, 20);
    if (what < 12) {
        for (uint32_t left = draw(m, 30); left > 0; left--) {
            publish_some(m);
        }
    } else if (what < 14) {
        subscribe_some(m);
    } else if (what < 17 && m->reader_count > 0) {
        reader *r = &m->readers[draw(m, m->reader_count)];
        r->stalled = !r->stalled;
        hx_stall(r->events, r->stalled);
    } else if (what == 17 && m->reader_count > 0) {
        const uint32_t i = draw(m, m->reader_count);
        hx_stop(m->readers[i].events);
        m->readers[i] = m->readers[--m->reader_count];
    } else if (what == 18) {
        hx_advance_ms(m->h, draw(m, 50));
    } else {
        for (uint32_t i = m->reader_count; i > 0; i--) {
            if (!m->readers[i - 1].stalled) {
                read_all(m, &m->readers[i - 1]);
            }
        }
    }
    if (draw(m, 3) != 0) {
        hx_step(m->h);
    }
}

static void walk(uint64_t seed, uint32_t workers, const char *stream)
{
    static model m;
    memset(&m, 0, sizeof m);
    m.random = seed * 2654435761u + 1;
    m.workers = workers;
    m.stream = stream;
    m.h = hx_new(&(hx_options){
        .workers = workers,
        .mailbox = 32, /* small: outboxes are used */
        .limits = {.shard_ring_frames = 64, .shard_ring_bytes = 1 << 20, .publish_window = 16}});
    for (uint32_t i = 0; i < workers; i++) {
        m.conns[i] = hx_connect(m.h, i);
        m.publishers[i] = hx_open(m.conns[i], true);
        hx_auth(m.publishers[i]);
    }
    for (int i = 0; i < STEPS; i++) {
        step(&m);
    }
    for (uint32_t i = 0; i < m.reader_count; i++) {
        hx_stall(m.readers[i].events, false);
    }
    (void)hx_run(m.h);
    hx_advance_ms(m.h, 5000);
    assert_true(hx_run(m.h));
    publish_some(&m); /* shows the gap to those whose last records were dropped */
    assert_true(hx_run(m.h));
    uint64_t stored = 0;
    for (uint32_t i = 0; i < workers; i++) {
        const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(m.h, i));
        stored += flx_stat_get(&stats->published_records);
        assert_int_equal(flx_stat_get(&stats->publish_bytes), 0);
        assert_int_equal(flx_stat_get(&stats->outbox_mails), 0);
    }
    for (uint32_t i = m.reader_count; i > 0; i--) {
        read_all(&m, &m.readers[i - 1]);
    }
    for (uint32_t i = 0; i < m.reader_count; i++) {
        if (!m.readers[i].is_first) {
            read_all(&m, &m.readers[i]);
            assert_int_equal(m.readers[i].next, stored); /* all caught up */
        }
    }
    assert_true(m.delivered > 0);
    hx_free(m.h);
}

static void test_walks(void **state)
{
    (void)state;
    static const char *const streams[] = {"demo", "newest", "oldest", "wait"};
    for (uint64_t seed = 1; seed <= 24; seed++) {
        walk(seed, (uint32_t)(seed % 4 + 1), streams[seed / 4 % 4]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
