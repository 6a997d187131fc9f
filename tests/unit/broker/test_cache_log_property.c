/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random walk over a durable cache: puts, deletes, expiries, counters and reads, watches that resume
 * across restarts, disk jobs that complete in any order, restarts and power cuts, with a pool so small
 * that most values are in the log only, and a log so short-lived that it is compacted again and again.
 *
 * Whatever happens: a read finds what was acknowledged or seen last, or something newer that was asked
 * for; what one found is still there after a power cut (C1); and what a watch folds, from its snapshot
 * or any earlier change on, through every restart, equals the cache when all is quiet (C4).
 */
#include "broker_rig.h"
#include "common/xorshift.h"
#include "wire/flags.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS    1500
#define KEYS     60
#define WATCHES  6
#define SEEDS    8
#define ATTEMPTS 60000
#define GONE     0 /* of a delete, or nothing was ever written */

#define WHERE "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"safe\""

/* What was asked for under a key, in order: values are numbers, GONE a delete. */
typedef struct line {
    uint32_t tried[ATTEMPTS / KEYS];
    uint32_t count;
    uint32_t sure; /* index + 1 of the newest that was acknowledged or seen; 0: nothing ever was */
} line;

typedef struct reader {
    hx_stream *events; /* NULL: to be opened again */
    uint64_t next;     /* where to go on */
    uint64_t resume;
    bool is_whole;         /* it has seen a change, or all of its snapshot */
    uint64_t folded[KEYS]; /* version; 0: not there */
} reader;

typedef struct model {
    sim_disk *sim;
    hx *h;
    hx_options options;
    uint64_t seed, random;
    hx_stream *writer, *getter;
    struct {
        uint32_t key;
        uint32_t index;
    } asked[512]; /* of the writer, unanswered: answers come in order */
    uint32_t asked_first, asked_end;
    line keys[KEYS];
    uint32_t number;
    int64_t sum, sum_sure; /* of a counter */
    reader readers[WATCHES];
    uint32_t reader_count;
    uint64_t changes, resnapshots, restarts, compactions;
} model;

static uint32_t draw(model *m, uint32_t below)
{
    return (uint32_t)((flx_xorshift(&m->random) >> 11) % below);
}

static void run_all(model *m)
{
    run_disks(m->h, 1);
}

/* ---- writing ---- */

#define SUM_KEY KEYS /* answers of the counter */

static void asked(model *m, uint32_t key, uint32_t index)
{
    m->asked[m->asked_end % 512].key = key;
    m->asked[m->asked_end++ % 512].index = index;
    assert_true(m->asked_end - m->asked_first <= 512);
}

static void write_some(model *m)
{
    static char pad[16001];
    if (m->asked_end - m->asked_first >= 400) {
        return;
    }
    if (draw(m, 12) == 0) {
        m->sum++;
        asked(m, SUM_KEY, (uint32_t)m->sum);
        hx_json(m->writer,
                "{\"type\":\"counter_add\"," WHERE ",\"key\":\"n\",\"delta\":1,\"request_id\":1}");
        return;
    }
    const uint32_t key = draw(m, KEYS);
    line *l = &m->keys[key];
    assert_true(l->count < ATTEMPTS / KEYS);
    asked(m, key, l->count);
    if (draw(m, 5) == 0) {
        l->tried[l->count++] = GONE;
        hx_json(m->writer, "{\"type\":\"cache_delete\"," WHERE ",\"key\":\"k%u\"}", key);
        return;
    }
    l->tried[l->count++] = ++m->number;
    const uint32_t pads = draw(m, 12) == 0 ? draw(m, 3000) : draw(m, 1600);
    memset(pad, 'A', (size_t)4 * pads);
    pad[(size_t)4 * pads] = '\0';
    hx_json(m->writer,
            "{\"type\":\"cache_put\"," WHERE ",\"key\":\"k%u\",\"value\":\"%08u%s\","
            "\"request_id\":1}",
            key, m->number, pad);
}

static void learn(model *m, uint32_t key, uint32_t index)
{
    if (index + 1 > m->keys[key].sure) {
        m->keys[key].sure = index + 1;
    }
}

static void read_answers(model *m)
{
    for (const char *answer; (answer = hx_read_json(m->writer))[0] != '\0';) {
        const uint32_t key = m->asked[m->asked_first % 512].key;
        const uint32_t index = m->asked[m->asked_first % 512].index;
        assert_true(m->asked_first != m->asked_end);
        m->asked_first++;
        if (strstr(answer, "\"type\":\"error\"") != NULL) {
            fail_msg("seed %llu: %s", (unsigned long long)m->seed, answer);
        }
        if (key == SUM_KEY) {
            m->sum_sure = index;
        } else {
            learn(m, key, index);
        }
    }
}

/* ---- reading ---- */

/* Asks for the key and checks the answer; its version, 0: it is not there. */
static uint64_t read_key(model *m, uint32_t key)
{
    read_answers(m);
    const uint32_t sure =
        m->keys[key].sure; /* what is answered while it is read may come after it */
    hx_json(m->getter, "{\"type\":\"cache_get\"," WHERE ",\"key\":\"k%u\",\"request_id\":2}", key);
    run_all(m);
    read_answers(m);
    const char *answer = hx_read_json(m->getter);
    const char *value = strstr(answer, "\"value\":");
    if (value == NULL) {
        fail_msg("seed %llu: %s", (unsigned long long)m->seed, answer);
        return 0;
    }
    value += strlen("\"value\":");
    const uint32_t number = *value == '"' ? (uint32_t)strtoul(value + 1, NULL, 10) : GONE;
    line *l = &m->keys[key];
    for (uint32_t i = sure == 0 ? 0 : sure - 1; i < l->count; i++) {
        if (l->tried[i] == number) {
            learn(m, key, i);
            const char *version = strstr(answer, "\"version\":");
            return number == GONE ? 0 : strtoull(version + strlen("\"version\":"), NULL, 10);
        }
    }
    if (number != GONE || sure != 0) {
        fail_msg("seed %llu: k%u is %u, sure is %u (try %u of %u)", (unsigned long long)m->seed,
                 key, number, sure == 0 ? 0 : l->tried[sure - 1], sure, l->count);
    }
    return 0;
}

/* ---- watching ---- */

static void open_reader(model *m, reader *r)
{
    char what[80];
    char answer[512];
    if (r->next == 0) {
        (void)snprintf(what, sizeof what, "\"prefix\":\"k\",\"retained\":true");
        memset(r->folded, 0, sizeof r->folded);
    } else {
        (void)snprintf(what, sizeof what, "\"prefix\":\"k\",\"from_offset\":%llu",
                       (unsigned long long)r->next);
    }
    run_all(m);
    read_answers(m);
    r->events = hx_watch(hx_connect(m->h, 0), "safe", what, answer);
    if (r->events == NULL) {
        fail_msg("seed %llu: %s", (unsigned long long)m->seed, answer);
    }
    if (strstr(answer, "\"resnapshot\":true") != NULL) {
        memset(r->folded, 0, sizeof r->folded);
        m->resnapshots++;
    }
    r->is_whole = r->next != 0 && strstr(answer, "\"resnapshot\":true") == NULL;
    r->resume =
        strtoull(strstr(answer, "\"resume_offset\":") + strlen("\"resume_offset\":"), NULL, 10);
    r->next = r->resume;
}

static void read_events(model *m, reader *r)
{
    hx_change change;
    if (r->events == NULL) {
        return;
    }
    while ((change = hx_next_told(r->events)).is_change || change.is_mark) {
        if (change.is_mark) { /* of a batch: from here it may go on */
            assert_true(change.offset >= r->next);
            r->next = change.offset;
            r->is_whole = true;
            continue;
        }
        const uint32_t key = (uint32_t)strtoul(change.key + 1, NULL, 10);
        assert_true(key < KEYS);
        if (change.offset >= r->resume) {
            assert_true(change.offset >= r->next);
            r->next = change.offset + 1;
            r->is_whole = true;
        }
        r->folded[key] = change.has_value ? change.offset : 0;
        m->changes++;
    }
    if (change.is_lagged) {
        r->next = change.offset;
        r->events = NULL;
    }
}

/* ---- lives ---- */

static void begin_life(model *m)
{
    m->options.disk = sim_disk_of(m->sim);
    m->options.watch_features_hi = draw(m, 2) * FLX_FEATURE_HI_WATCH_BATCHES;
    sim_disk_remember(m->sim, draw(m, 4)); /* what a worker reads itself, and what a thread does */
    m->h = hx_new(&m->options);
    assert_non_null(m->h);
    run_all(m);
    m->writer = hx_open(hx_connect(m->h, 0), true);
    m->getter = hx_open(hx_connect(m->h, 0), true);
    hx_auth_as(m->writer, 0, FLX_FEATURE_ERROR_CODES);
    hx_auth_as(m->getter, 0, FLX_FEATURE_ERROR_CODES | FLX_FEATURE_CACHE_CONDITIONAL);
    m->asked_first = m->asked_end;
}

static void end_life(model *m)
{
    read_answers(m);
    for (uint32_t i = 0; i < m->reader_count; i++) {
        reader *r = &m->readers[i];
        read_events(m, r);
        if (!r->is_whole) {
            r->next = 0; /* in the middle of a snapshot */
        }
        r->events = NULL;
    }
    m->compactions += flx_stat_get(&flx_worker_stats_of(hx_worker(m->h, 0))->log_compactions);
    const bool is_clean = draw(m, 3) == 0;
    if (!is_clean) {
        sim_disk_stop_at(m->sim, 1);
    }
    hx_free(m->h);
    if (!is_clean) {
        sim_disk_crash(m->sim, (sim_crash_mode)draw(m, 3), draw(m, 1000000));
    }
    m->options.wall_ms += 1000;
    m->restarts++;
    begin_life(m);
    /* What is there now is all there will be of what was on its way. */
    for (uint32_t key = 0; key < KEYS; key++) {
        line *l = &m->keys[key];
        (void)read_key(m, key);
        l->count = l->sure;
    }
    hx_json(m->getter, "{\"type\":\"counter_get\"," WHERE ",\"key\":\"n\",\"request_id\":2}");
    run_all(m);
    const char *value = strstr(hx_read_json(m->getter), "\"value\":");
    const int64_t sum = value == NULL || strncmp(value, "\"value\":null", 12) == 0
                            ? 0
                            : strtoll(value + strlen("\"value\":"), NULL, 10);
    assert_true(sum >= m->sum_sure && sum <= m->sum);
    m->sum = sum;
    m->sum_sure = sum;
}

static void compare(model *m)
{
    run_all(m);
    for (uint32_t i = 0; i < m->reader_count; i++) {
        for (int round = 0; round < 4; round++) {
            if (m->readers[i].events == NULL) {
                open_reader(m, &m->readers[i]);
            }
            run_all(m);
            read_events(m, &m->readers[i]);
        }
        m->readers[i].is_whole = true;
    }
    read_answers(m);
    for (uint32_t key = 0; key < KEYS; key++) {
        const uint64_t version = read_key(m, key);
        for (uint32_t i = 0; i < m->reader_count; i++) {
            if (m->readers[i].folded[key] != version) {
                const reader *r = &m->readers[i];
                fail_msg("seed %llu: k%u is at %llu, watch %u says %llu (resumed at %llu, now at "
                         "%llu, %s)",
                         (unsigned long long)m->seed, key, (unsigned long long)version, i,
                         (unsigned long long)r->folded[key], (unsigned long long)r->resume,
                         (unsigned long long)r->next, r->events == NULL ? "ended" : "live");
            }
        }
    }
}

static void step(model *m)
{
    const uint32_t what = draw(m, 60);
    if (what < 30) {
        for (uint32_t left = draw(m, 12); left > 0; left--) {
            write_some(m);
        }
    } else if (what == 30 && m->reader_count < WATCHES) {
        reader *r = &m->readers[m->reader_count++];
        memset(r, 0, sizeof *r);
        r->next = draw(m, 2) == 0 ? 0 : 1;
        open_reader(m, r);
    } else if (what < 34 && m->reader_count > 0) {
        reader *r = &m->readers[draw(m, m->reader_count)];
        if (r->events == NULL) {
            open_reader(m, r);
        } else {
            hx_stall(r->events, draw(m, 2) == 0);
        }
    } else if (what == 34) {
        hx_advance_ms(m->h, draw(m, 400));
    } else if (what == 35 && draw(m, 5) == 0) {
        end_life(m);
    } else if (what < 40) {
        (void)read_key(m, draw(m, KEYS));
    } else if (what < 54) {
        for (uint32_t left = draw(m, 6); left > 0; left--) {
            (void)hx_io(m->h, 0, draw(m, 3));
        }
    } else {
        read_answers(m);
        for (uint32_t i = 0; i < m->reader_count; i++) {
            read_events(m, &m->readers[i]);
        }
    }
    if (draw(m, 3) != 0) {
        hx_step(m->h);
    }
}

static void walk(uint64_t seed)
{
    static model m;
    memset(&m, 0, sizeof m);
    m.seed = seed;
    m.random = seed * 2654435761u + 1;
    m.options = (hx_options){.workers = 1,
                             .manual_io = true,
                             .limits = {.shard_ring_frames = 6,
                                        .pull_bytes = 8192,
                                        .cache_bytes = 1 << 16,
                                        .log_segment_bytes = 65536,
                                        .log_read_cache_bytes = 1 << 20}};
    m.sim = sim_disk_new();
    begin_life(&m);
    for (int i = 0; i < STEPS; i++) {
        step(&m);
        if (i % 250 == 249) {
            for (uint32_t r = 0; r < m.reader_count; r++) {
                if (m.readers[r].events != NULL) {
                    hx_stall(m.readers[r].events, false);
                }
            }
            compare(&m);
        }
    }
    m.compactions += flx_stat_get(&flx_worker_stats_of(hx_worker(m.h, 0))->log_compactions);
    const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(m.h, 0));
    print_message("seed %llu: %u puts, %llu events, %llu restarts, %llu compactions, %llu "
                  "resnapshots, %llu away\n",
                  (unsigned long long)seed, m.number, (unsigned long long)m.changes,
                  (unsigned long long)m.restarts, (unsigned long long)m.compactions,
                  (unsigned long long)m.resnapshots,
                  (unsigned long long)flx_stat_get(&stats->cache_away));
    assert_true(m.compactions > 0 && m.restarts > 0);
    assert_true(flx_stat_get(&stats->cache_away) > 0);
    hx_free(m.h);
    flx_disk_free(sim_disk_of(m.sim));
}

static void test_walks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        walk(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
