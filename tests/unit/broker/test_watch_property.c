/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random walk over caches of one to four workers: puts, deletes, conditions, expiry, eviction and
 * counters, under watches of keys and prefixes that come, stall, lag, resume and go; with rings of a
 * few frames, mailboxes of a few mails, and in some runs memory that fails.
 *
 * Whatever happens (goal C4): what a watch folds out of its events equals the cache when all is
 * quiet; offsets of changes only grow, and without counters are dense for who watches everything;
 * two watches never disagree about an offset, one in JSON and one in batches neither; and where
 * something is missing the watch was told.
 */
#include "broker_harness.h"
#include "common/alloc.h"
#include "common/xorshift.h"
#include "json_text.h"
#include "unit.h"
#include "wire/flags.h"

#include <stdio.h>

#define STEPS       600
#define KEYS        150
#define WATCHES_MAX 16
#define LOG_MAX     8192
#define SEEDS       12

static const char *const prefixes[] = {"", "k", "k1", "k2", "none"};

typedef struct cell {
    bool is_there;
    uint64_t offset;
    size_t len;
    char first; /* letter of the value */
} cell;

typedef struct reader {
    hx_stream *events;
    char what[64];      /* its filter, as JSON */
    const char *prefix; /* NULL: of one key */
    uint32_t key;
    uint64_t resume; /* changes begin here; what is older is the snapshot */
    uint64_t next;   /* no change below it comes any more */
    bool in_batches; /* negotiated */
    bool is_live;    /* a change came, so the snapshot is over */
    bool stalled;
    cell folded[KEYS];
} reader;

typedef struct told { /* what somebody was told about an offset */
    uint64_t offset;
    uint32_t key;
    cell value;
} told;

typedef struct model {
    hx *h;
    uint64_t random;
    uint32_t workers;
    bool has_counters;
    hx_stream *writers[4];
    hx_conn *conns[4];
    reader readers[WATCHES_MAX];
    uint32_t reader_count;
    told log[LOG_MAX]; /* [offset % LOG_MAX] */
    uint64_t changes;
    uint64_t lags;
    uint64_t notices;
    uint64_t marks;
    uint64_t resnapshots;
    uint64_t snapshots;
} model;

static uint32_t draw(model *m, uint32_t below)
{
    return (uint32_t)((flx_xorshift(&m->random) >> 11) % below);
}

#define OF_PRIMARY "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"primary\""

/* ---- writing ---- */

/* Base64 of 3 * groups bytes of one letter. */
static const char *value_of(model *m, uint32_t groups)
{
    static const char *const letters[] = {"YWFh", "YmJi", "Y2Nj", "ZGRk"};
    static char text[4 * 3000 + 1];
    const char *letter = letters[draw(m, 4)];
    for (uint32_t i = 0; i < groups; i++) {
        memcpy(text + (size_t)4 * i, letter, 4);
    }
    text[4 * groups] = '\0';
    return text;
}

static void write_some(model *m)
{
    hx_stream *s = m->writers[draw(m, m->workers)];
    const uint32_t key = draw(m, KEYS);
    const uint32_t groups = draw(m, 30) == 0 ? 1400 + draw(m, 1500) : draw(m, 900);
    switch (draw(m, m->has_counters ? 8 : 7)) {
    case 0:
    case 1:
        hx_json(s, "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"k%u\",\"value\":\"%s\"}", key,
                value_of(m, groups));
        break;
    case 2:
        hx_json(s,
                "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"k%u\",\"value\":\"%s\","
                "\"ttl_ms\":%u}",
                key, value_of(m, groups), draw(m, 3000));
        break;
    case 3:
    case 4:
        hx_json(s, "{\"type\":\"cache_delete\"," OF_PRIMARY ",\"key\":\"k%u\"}", key);
        break;
    case 5:
        hx_json(s,
                "{\"type\":\"cache_put_if\"," OF_PRIMARY ",\"key\":\"k%u\",\"value\":\"%s\","
                "\"condition\":\"absent\",\"request_id\":1}",
                key, value_of(m, groups));
        break;
    case 6: /* a read may be what finds an entry expired */
        hx_json(s, "{\"type\":\"cache_get\"," OF_PRIMARY ",\"key\":\"k%u\"}", key);
        break;
    default:
        hx_json(s,
                "{\"type\":\"counter_add\"," OF_PRIMARY ",\"key\":\"k%u\",\"delta\":1,"
                "\"request_id\":1}",
                key);
        break;
    }
}

/* ---- watching ---- */

/* Opens the watch of a reader, from `extra` on, and often holds it up in the middle of what comes
 * first. False: the broker has no memory for it now. */
static bool reader_open(model *m, reader *r, const char *extra)
{
    hx_conn *conn = m->conns[draw(m, m->workers)];
    hx_stream *s = hx_open(conn, true);
    r->in_batches = draw(m, 2) == 0; /* another time in the other form: offsets are the same */
    hx_auth_hi(s, 0x7fff, 0xffffffff,
               FLX_FEATURE_HI_WATCH_PROGRESS | (r->in_batches ? FLX_FEATURE_HI_WATCH_BATCHES : 0));
    hx_json(s, "{\"type\":\"cache_watch\"," OF_PRIMARY ",%s%s}", r->what, extra);
    hx_fin(s);
    r->events = NULL;
    r->is_live = false;
    for (int i = 0; i < 30 && r->events == NULL; i++) {
        hx_step(m->h);
        r->events = hx_accept(conn);
    }
    const char *answer = hx_read_json(s);
    if (strstr(answer, "cache_watch_started") == NULL || r->events == NULL) {
        if (r->events != NULL) {
            hx_stop(r->events);
        }
        return false;
    }
    (void)hx_read_json(r->events); /* the hello */
    r->stalled = draw(m, 2) == 0;
    hx_stall(r->events, r->stalled);
    r->resume = number_in(answer, "resume_offset");
    r->next = r->resume;
    if (strstr(answer, "\"resnapshot\":true") != NULL) {
        memset(r->folded, 0, sizeof r->folded);
        m->resnapshots++;
    }
    return true;
}

static void watch_some(model *m)
{
    if (m->reader_count == WATCHES_MAX) {
        return;
    }
    reader *r = &m->readers[m->reader_count];
    memset(r, 0, sizeof *r);
    if (draw(m, 3) == 0) {
        r->key = draw(m, KEYS);
        (void)snprintf(r->what, sizeof r->what, "\"key\":\"k%u\"", r->key);
    } else {
        r->prefix = prefixes[draw(m, sizeof prefixes / sizeof prefixes[0])];
        (void)snprintf(r->what, sizeof r->what, "\"prefix\":\"%s\"", r->prefix);
    }
    /* From 0: what is there, told as a new snapshot, since nothing is kept from there. */
    m->snapshots++;
    if (reader_open(m, r, draw(m, 2) == 0 ? ",\"retained\":true" : ",\"from_offset\":0")) {
        m->reader_count++;
    }
}

static void remember(model *m, uint32_t key, const cell *value)
{
    told *known = &m->log[value->offset % LOG_MAX];
    if (known->offset == value->offset) {
        assert_int_equal(known->key, key);
        assert_int_equal(known->value.is_there, value->is_there);
        assert_int_equal(known->value.len, value->len);
        assert_int_equal(known->value.first, value->first);
    }
    *known = (told){value->offset, key, *value};
}

static void take(model *m, reader *r, const hx_change *change)
{
    const uint32_t key = (uint32_t)strtoul(change->key + 1, NULL, 10);
    assert_true(change->key[0] == 'k' && key < KEYS);
    assert_true(r->prefix == NULL ? key == r->key
                                  : strncmp(change->key, r->prefix, strlen(r->prefix)) == 0);
    const cell value = {change->has_value, change->offset, change->len, change->value[0]};
    remember(m, key, &value);
    assert_int_equal(change->is_retained, r->in_batches && change->offset < r->resume);
    if (change->offset < r->resume) { /* of the snapshot: in any order, each key once */
        assert_false(r->is_live);
        assert_true(change->has_value && !r->folded[key].is_there);
    } else {
        assert_true(change->offset >= r->next);
        if (!m->has_counters && r->prefix != NULL && r->prefix[0] == '\0') {
            assert_int_equal(change->offset, r->next);
        }
        r->is_live = true;
        r->next = change->offset + 1;
    }
    r->folded[key] = value;
    m->changes++;
}

/* Forgets reader `i`; false, as there is nothing more to read of it. */
static bool forget(model *m, uint32_t i)
{
    m->readers[i] = m->readers[--m->reader_count];
    return false;
}

/* Reads what came. False: the reader is gone, another took its place. */
static bool read_all(model *m, uint32_t i)
{
    reader *r = &m->readers[i];
    hx_change change;
    while ((change = hx_next_told(r->events)).is_change || change.is_progress || change.is_mark) {
        if (change.is_change) {
            take(m, r, &change);
            continue;
        }
        assert_true(change.offset >= r->next && change.offset >= r->resume);
        r->is_live = true;
        r->next = change.offset; /* nothing of its keys comes below */
        m->notices += change.is_progress ? 1 : 0;
        m->marks += change.is_mark ? 1 : 0;
    }
    if (!change.is_lagged) {
        /* Without memory a stream is reset: that is heard as well, and the client begins again. */
        return !hx_is_reset(r->events) && !hx_is_finished(r->events) ? true : forget(m, i);
    }
    m->lags++;
    assert_true(change.offset == 0 || change.offset >= r->next);
    char extra[64];
    (void)snprintf(extra, sizeof extra, ",\"from_offset\":%llu", (unsigned long long)change.offset);
    return reader_open(m, r, extra) || forget(m, i);
}

static void settle(model *m)
{
    hx_advance_ms(m->h, 5000);                 /* whoever is quiet may be told so */
    for (int round = 0; round < 12; round++) { /* who lags opens again, and reads on */
        for (uint32_t i = 0; i < m->reader_count; i++) {
            m->readers[i].stalled = false;
            hx_stall(m->readers[i].events, false);
        }
        assert_true(hx_run(m->h));
        for (uint32_t i = 0; i < m->reader_count;) {
            i += read_all(m, i) ? 1 : 0;
        }
    }
}

/* ---- comparing ---- */

static void compare(model *m)
{
    hx_conn *conn = hx_connect(m->h, 0);
    hx_stream *s = hx_open(conn, true);
    hx_auth(s);
    for (uint32_t key = 0; key < KEYS; key++) {
        hx_json(s, "{\"type\":\"cache_get\"," OF_PRIMARY ",\"key\":\"k%u\"}", key);
        assert_true(hx_run(m->h));
        const char *answer = hx_read_json(s);
        const char *value = strstr(answer, "\"value\":");
        assert_non_null(value);
        const bool is_there = value[strlen("\"value\":")] == '"';
        const char *text = value + strlen("\"value\":\"");
        const size_t groups = is_there ? (size_t)(strchr(text, '"') - text) / 4 : 0;
        for (uint32_t i = 0; i < m->reader_count; i++) {
            const reader *r = &m->readers[i];
            char name[16];
            (void)snprintf(name, sizeof name, "k%u", key);
            const bool is_watched = r->prefix == NULL
                                        ? r->key == key
                                        : strncmp(name, r->prefix, strlen(r->prefix)) == 0;
            const cell *folded = &r->folded[key];
            if (folded->is_there != (is_watched && is_there)) {
                print_message("key %u of %s: %d there, %d folded\n", key, r->what, is_there,
                              folded->is_there);
            }
            assert_int_equal(folded->is_there, is_watched && is_there);
            if (folded->is_there) {
                assert_int_equal(folded->len, 3 * groups);
                assert_true(groups == 0 || folded->first == "abcd"[text[1] == 'W'   ? 0
                                                                   : text[1] == 'm' ? 1
                                                                   : text[1] == '2' ? 2
                                                                                    : 3]);
            }
        }
    }
    hx_disconnect(conn);
    assert_true(hx_run(m->h));
}

/* ---- the walk ---- */

static void step(model *m, bool may_fail)
{
    if (may_fail && draw(m, 20) == 0) {
        flx_alloc_fail_nth(1 + draw(m, 6));
    }
    switch (draw(m, 16)) {
    case 0:
        watch_some(m);
        break;
    case 1:
        if (m->reader_count > 0) {
            reader *r = &m->readers[draw(m, m->reader_count)];
            r->stalled = !r->stalled;
            hx_stall(r->events, r->stalled);
        }
        break;
    case 2:
        if (m->reader_count > 0 && draw(m, 4) == 0) {
            const uint32_t i = draw(m, m->reader_count);
            hx_stop(m->readers[i].events);
            (void)forget(m, i);
        }
        break;
    case 3:
        hx_advance_ms(m->h, draw(m, 400));
        break;
    case 4:
        (void)hx_run(m->h);
        break;
    default: /* several in a tick, so that one tick may be more than a ring holds */
        for (uint32_t count = draw(m, 4) == 0 ? 1 + draw(m, 20) : 1; count > 0; count--) {
            write_some(m);
        }
        break;
    }
    hx_step(m->h);
    flx_alloc_fail_nth(0);
}

static void drain_writers(model *m)
{
    for (uint32_t w = 0; w < m->workers; w++) {
        while (hx_read(m->writers[w]).is_frame) {
        }
        if (hx_is_reset(m->writers[w]) || hx_is_finished(m->writers[w])) { /* memory was out */
            m->writers[w] = hx_open(hx_connect(m->h, w), true);
            hx_auth_as(m->writers[w], 0x7fff, 0xffffffff);
        }
    }
}

static void run_walk(uint64_t seed, uint32_t workers, bool may_fail)
{
    static model m;
    memset(&m, 0, sizeof m);
    m.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    m.workers = workers;
    m.has_counters = seed % 2 == 0;
    m.h = hx_new(
        &(hx_options){.workers = workers,
                      .mailbox = 4 + draw(&m, 60),
                      .limits = {.shard_ring_frames = 2 + draw(&m, 100),
                                 .outbox_mails = 4,
                                 .pull_bytes = 1 + draw(&m, 30000),
                                 .frame_events_max = 1 + draw(&m, 8),
                                 .cache_bytes = (uint64_t)workers * (64 + draw(&m, 600)) * 1024}});
    assert_non_null(m.h);
    for (uint32_t w = 0; w < workers; w++) {
        m.conns[w] = hx_connect(m.h, w);
        m.writers[w] = hx_open(hx_connect(m.h, w), true);
        hx_auth_as(m.writers[w], 0x7fff, 0xffffffff);
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        step(&m, may_fail);
        for (uint32_t r = 0; r < m.reader_count;) {
            r += read_all(&m, r) ? 1 : 0;
        }
        if (i % 50 == 0) {
            drain_writers(&m);
        }
        if (i % 100 == 99) {
            settle(&m);
            drain_writers(&m);
            compare(&m);
        }
    }
    print_message("seed %llu, %u workers: %llu changes, %llu marks, %llu notices, %llu lags, %llu "
                  "resnapshots of %llu\n",
                  (unsigned long long)seed, workers, (unsigned long long)m.changes,
                  (unsigned long long)m.marks, (unsigned long long)m.notices,
                  (unsigned long long)m.lags, (unsigned long long)m.resnapshots,
                  (unsigned long long)m.snapshots);
    assert_true(m.changes > 100 && m.marks > 20 && (may_fail || m.notices > 0));
    hx_free(m.h);
}

static void test_one_to_four_workers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_walk(seed, (uint32_t)(seed % 4) + 1, false);
    }
}

static void test_memory_that_fails(void **state)
{
    (void)state;
    for (uint64_t seed = 101; seed <= 100 + SEEDS; seed++) {
        run_walk(seed, (uint32_t)(seed % 4) + 1, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_to_four_workers),
        cmocka_unit_test(test_memory_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
