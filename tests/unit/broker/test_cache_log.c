/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable caches: what an answer waits for, what a restart finds, values that are in the log only,
 * compaction, and what becomes of it when the disk is late, damaged or lost its power. CACHE.md, rules
 * 17 to 23. The disk is simulated, and jobs complete when and in which order a test says.
 */
#include "broker_rig.h"
#include "common/alloc.h"
#include "wire/flags.h"

#include <stdio.h>
#include <stdlib.h>

#define FEATURES (FLX_FEATURE_ERROR_CODES | FLX_FEATURE_CACHE_CONDITIONAL)

static hx_stream *client(hx *h, uint32_t worker)
{
    hx_stream *s = hx_open(hx_connect(h, worker), true);
    hx_auth_as(s, 0, FEATURES);
    return s;
}

static void greet(rig *r)
{
    run_io(r); /* logs are open */
    r->client = client(r->h, r->options.workers - 1);
}

#define WHERE "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"safe\""

static void ask(rig *r, const char *type, const char *key, const char *more)
{
    hx_json(r->client, "{\"type\":\"%s\"," WHERE ",\"key\":\"%s\"%s}", type, key, more);
}

/* The answer to what was asked; "" when there is none yet. */
static const char *answer(rig *r)
{
    assert_true(hx_run(r->h));
    return hx_read_json(r->client);
}

static const char *ask_now(rig *r, const char *type, const char *key, const char *more)
{
    ask(r, type, key, more);
    run_io(r);
    return hx_read_json(r->client);
}

static void put(rig *r, const char *key, const char *value_b64)
{
    char more[200];
    (void)snprintf(more, sizeof more, ",\"value\":\"%s\",\"request_id\":7", value_b64);
    assert_string_equal(ask_now(r, "cache_put", key, more),
                        "{\"type\":\"cache_ok\",\"request_id\":7}");
}

/* The member `name` of a JSON text, as it stands there; "" without it. */
static const char *member(const char *json, const char *name)
{
    static char value[4][20000];
    static unsigned turn;
    char *to = value[turn++ % 4];
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(json, wanted);
    to[0] = '\0';
    if (at != NULL) {
        at += strlen(wanted);
        const size_t len = *at == '"' ? strcspn(at + 1, "\"") : strcspn(at, ",}");
        (void)snprintf(to, sizeof value[0], "%.*s", (int)len, *at == '"' ? at + 1 : at);
    }
    return to;
}

static void expect(rig *r, const char *key, const char *value_b64, uint64_t version)
{
    const char *got = ask_now(r, "cache_get", key, ",\"request_id\":3");
    assert_string_equal(member(got, "type"), "cache_value");
    assert_string_equal(member(got, "value"), value_b64);
    if (version != 0) {
        assert_int_equal(strtoull(member(got, "version"), NULL, 10), version);
    }
}

static void expect_none(rig *r, const char *key)
{
    const char *got = ask_now(r, "cache_get", key, ",\"request_id\":3");
    assert_string_equal(member(got, "type"), "cache_value");
    assert_string_equal(member(got, "value"), "null");
}

/* Rule 17: versions are offsets, from 1 on, and stay. */
static void test_survives(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        rig *r = rig_new(workers, false, (flx_worker_limits){0});
        put(r, "a", "QQ==");
        put(r, "b", "Qg==");
        put(r, "a", "QTI=");
        assert_string_equal(member(ask_now(r, "cache_delete", "b", ",\"request_id\":9"), "value"),
                            "Qg==");
        (void)ask_now(r, "counter_add", "n", ",\"delta\":5,\"request_id\":1");
        for (int round = 0; round < 3; round++) {
            expect(r, "a", "QTI=", 3);
            expect_none(r, "b");
            assert_string_equal(
                member(ask_now(r, "counter_get", "n", ",\"request_id\":1"), "value"), "5");
            if (round == 0) {
                restart(r);
            } else {
                crash(r, SIM_LOSE, 1);
            }
        }
        assert_string_equal(
            member(ask_now(r, "counter_add", "n", ",\"delta\":2,\"request_id\":1"), "value"), "7");
        rig_free(r);
    }
}

/* Rule 18: no answer rests on what can be lost. */
static void test_answers_wait(void **state)
{
    (void)state;
    rig *r = rig_new(1, true, (flx_worker_limits){0});
    put(r, "a", "QQ==");
    hx_stream *other = client(r->h, 0);

    /* The put is not answered, and another reader hears neither the old nor the new value. */
    ask(r, "cache_put", "a", ",\"value\":\"QTI=\",\"request_id\":1");
    assert_string_equal(answer(r), "");
    hx_json(other, "{\"type\":\"cache_get\"," WHERE ",\"key\":\"a\",\"request_id\":2}");
    assert_true(hx_run(r->h));
    assert_string_equal(hx_read_json(other), "");
    run_io(r);
    assert_string_equal(answer(r), "{\"type\":\"cache_ok\",\"request_id\":1}");
    assert_string_equal(member(hx_read_json(other), "value"), "QTI=");

    /* Nor that a key is gone before its delete is safe; one that is not touched is read at once. */
    put(r, "b", "Qg==");
    ask(r, "cache_delete", "a", ",\"request_id\":1");
    assert_string_equal(answer(r), "");
    hx_json(other, "{\"type\":\"cache_get\"," WHERE ",\"key\":\"b\",\"request_id\":2}");
    assert_true(hx_run(r->h));
    assert_string_equal(member(hx_read_json(other), "value"), "Qg==");
    hx_json(other, "{\"type\":\"cache_get\"," WHERE ",\"key\":\"a\",\"request_id\":2}");
    assert_true(hx_run(r->h));
    assert_string_equal(hx_read_json(other), "");

    /* The power goes: what nobody was told did not happen. */
    crash(r, SIM_LOSE, 1);
    expect(r, "a", "QTI=", 2);
    rig_free(r);
}

/* A condition is checked against the newest value, and its failure waits for that one. */
static void test_conditions(void **state)
{
    (void)state;
    rig *r = rig_new(1, true, (flx_worker_limits){0});
    put(r, "a", "QQ==");
    hx_stream *other = client(r->h, 0);
    ask(r, "cache_put_if", "a",
        ",\"value\":\"QTI=\",\"condition\":{\"version\":1},\"request_id\":1");
    assert_string_equal(answer(r), "");
    hx_json(other, "{\"type\":\"cache_put_if\"," WHERE
                   ",\"key\":\"a\",\"value\":\"QTM=\",\"condition\":{\"version\":1},"
                   "\"request_id\":2}");
    assert_true(hx_run(r->h));
    assert_string_equal(hx_read_json(other), "");
    run_io(r);
    assert_string_equal(member(hx_read_json(r->client), "applied"), "true");
    assert_string_equal(member(hx_read_json(other), "applied"), "false");
    rig_free(r);
}

/* Tells whether a put is answered now, before any disk work, and after how many jobs otherwise. */
static size_t jobs_until_answered(rig *r, const char *key, const char *value_b64)
{
    char more[100];
    (void)snprintf(more, sizeof more, ",\"value\":\"%s\",\"request_id\":1", value_b64);
    ask(r, "cache_put", key, more);
    const char *got = answer(r);
    size_t jobs = 0;
    for (; got[0] == '\0' && jobs < 10; jobs++) {
        hx_advance_ms(r->h, 1);
        assert_true(hx_run(r->h));
        (void)hx_io(r->h, 0, 0);
        got = answer(r);
    }
    assert_string_equal(got, "{\"type\":\"cache_ok\",\"request_id\":1}");
    return jobs;
}

/* Rule 18: what an answer waits for is what its cache promises, from the next catalog on. */
static void test_promises(void **state)
{
    (void)state;
    rig *r = rig_new(1, true, (flx_worker_limits){0});
    const flx_promise promises[] = {
        flx_promise_durable(FLX_ACK_SYNCED),
        flx_promise_durable(FLX_ACK_WRITTEN),
        flx_promise_durable(FLX_ACK_ACCEPTED),
        {true, FLX_ACK_WRITTEN, FLX_FSYNC_NONE, 0},
    };
    for (size_t i = 0; i < COUNT(promises); i++) {
        hx_set_cache_promise(r->h, &promises[i]);
        run_io(r);
        const size_t jobs = jobs_until_answered(r, "a", "QQ==");
        assert_int_equal(jobs == 0, promises[i].ack == FLX_ACK_ACCEPTED);
        expect(r, "a", "QQ==", i + 1);
    }

    /* A put that waits for its sync is answered when less is promised; and the other way round what was
     * answered with less is read when it is synced. */
    hx_set_cache_promise(r->h, &promises[0]);
    run_io(r);
    ask(r, "cache_put", "b", ",\"value\":\"Qg==\",\"request_id\":1");
    assert_string_equal(answer(r), "");
    hx_set_cache_promise(r->h, &promises[2]);
    run_io(r);
    assert_string_equal(answer(r), "{\"type\":\"cache_ok\",\"request_id\":1}");
    assert_int_equal(jobs_until_answered(r, "b", "QjI="), 0);
    hx_set_cache_promise(r->h, &promises[0]);
    ask(r, "cache_get", "b", ",\"request_id\":2");
    assert_string_equal(answer(r), "");
    run_io(r);
    hx_advance_ms(r->h, 1);
    run_io(r);
    assert_string_equal(member(answer(r), "value"), "QjI=");
    crash(r, SIM_LOSE, 1);
    expect(r, "b", "QjI=", 6);
    rig_free(r);
}

/* `written` and `accepted` outlive an end that is asked for, and the sync comes by itself. */
static void test_weaker_promises_survive(void **state)
{
    (void)state;
    const flx_promise promises[] = {
        flx_promise_durable(FLX_ACK_WRITTEN),
        flx_promise_durable(FLX_ACK_ACCEPTED),
        {true, FLX_ACK_ACCEPTED, FLX_FSYNC_NONE, 0},
    };
    for (size_t i = 0; i < COUNT(promises); i++) {
        rig *r = rig_new(1, false, (flx_worker_limits){0});
        r->options.cache_promise = promises[i];
        hx_set_cache_promise(r->h, &promises[i]);
        put(r, "a", "QQ==");
        (void)ask_now(r, "counter_add", "n", ",\"delta\":5,\"request_id\":1");
        restart(r);
        expect(r, "a", "QQ==", 1);
        put(r, "a", "QTI=");
        hx_advance_ms(r->h, 300);
        run_io(r);
        crash(r, SIM_LOSE, 1); /* the power goes after the period */
        const bool is_synced = promises[i].fsync == FLX_FSYNC_PERIODIC;
        expect(r, "a", is_synced ? "QTI=" : "QQ==", is_synced ? 3 : 1);
        assert_string_equal(member(ask_now(r, "counter_get", "n", ",\"request_id\":1"), "value"),
                            "5");
        rig_free(r);
    }
}

/* Rules 4 and 17: an expiry is a moment, and what expired while nobody ran is gone. */
static void test_expiry(void **state)
{
    (void)state;
    rig *r = rig_new(1, false, (flx_worker_limits){0});
    (void)ask_now(r, "cache_put", "brief", ",\"value\":\"QQ==\",\"ttl_ms\":1000");
    (void)ask_now(r, "cache_put", "long", ",\"value\":\"Qg==\",\"ttl_ms\":60000000");
    restart(r);
    expect(r, "long", "Qg==", 2);
    r->options.wall_ms = 1500;
    restart(r);
    expect_none(r, "brief");
    expect(r, "long", "Qg==", 2);
    put(r, "next", "Qw==");
    expect(r, "next", "Qw==", 4); /* 3 was the delete of what had expired */
    r->options.wall_ms = 0;
    restart(r); /* and a clock that goes back does not bring it back */
    expect_none(r, "brief");
    rig_free(r);
}

/* A value of `groups` * 3 bytes, of one letter. */
static const char *long_value(char letter, uint32_t groups)
{
    static char text[4 * 4096 + 1];
    for (uint32_t i = 0; i < groups * 4; i++) {
        text[i] = letter;
    }
    text[(size_t)4 * groups] = '\0';
    return text;
}

static void put_long(rig *r, uint32_t number, char letter, uint32_t groups)
{
    static char more[20000];
    char key[16];
    (void)snprintf(key, sizeof key, "k%u", number);
    (void)snprintf(more, sizeof more, ",\"value\":\"%s\",\"request_id\":7",
                   long_value(letter, groups));
    assert_string_equal(ask_now(r, "cache_put", key, more),
                        "{\"type\":\"cache_ok\",\"request_id\":7}");
}

static const flx_worker_stats *stats_of(rig *r)
{
    return flx_worker_stats_of(hx_worker(r->h, 0));
}

/* Rule 19: eviction drops the value, not the entry, and is no change. */
static void test_values_away(void **state)
{
    (void)state;
    rig *r = rig_new(1, false, (flx_worker_limits){.cache_bytes = 65536});
    for (uint32_t i = 0; i < 100; i++) {
        put_long(r, i, (char)('A' + i % 26), i % 10 == 0 ? 2000 : 300);
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(flx_stat_get(&stats_of(r)->cache_entries), 100);
        assert_true(flx_stat_get(&stats_of(r)->cache_away) > 40);
        assert_true(flx_stat_get(&stats_of(r)->cache_bytes) <= 65536);
        for (uint32_t i = 0; i < 100; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i);
            expect(r, key, long_value((char)('A' + i % 26), i % 10 == 0 ? 2000 : 300), i + 1);
        }
        restart(r);
    }
    /* A delete answers what was there, wherever that is; and takes it away for good. */
    for (uint32_t i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", i);
        assert_string_equal(member(ask_now(r, "cache_delete", key, ",\"request_id\":1"), "value"),
                            long_value((char)('A' + i % 26), i % 10 == 0 ? 2000 : 300));
    }
    crash(r, SIM_LOSE, 1);
    assert_int_equal(flx_stat_get(&stats_of(r)->cache_entries), 0);
    rig_free(r);
}

static hx_stream *watch(rig *r, const char *what, char answer[512])
{
    hx_stream *events = hx_watch(hx_connect(r->h, 0), "safe", what, answer);
    assert_non_null(events);
    return events;
}

/* From the next start on: in batches what was told in JSON. */
static void watch_the_other_way(rig *r)
{
    r->options.watch_features_hi ^= FLX_FEATURE_HI_WATCH_BATCHES;
}

/* Rule 22: the whole history is there after a restart, and joins what is live. */
static void test_watch_history(void **state)
{
    (void)state;
    char answer[512];
    rig *r = rig_new(2, false, (flx_worker_limits){.shard_ring_frames = 4});
    for (uint32_t i = 0; i < 30; i++) {
        put_long(r, i % 7, (char)('A' + i % 26), 5);
    }
    for (int round = 0; round < 2; round++) {
        for (uint64_t from = 0; from < 31; from += 10) {
            char what[64];
            (void)snprintf(what, sizeof what, "\"prefix\":\"k\",\"from_offset\":%llu",
                           (unsigned long long)from);
            hx_stream *events = watch(r, what, answer);
            assert_null(strstr(answer, "\"resnapshot\":true"));
            assert_true(hx_run(r->h));
            for (uint64_t offset = from == 0 ? 1 : from; offset <= 30; offset++) {
                const hx_change change = hx_next_change(events);
                assert_true(change.is_change && change.has_value);
                assert_int_equal(change.offset, offset);
            }
            assert_false(hx_next_change(events).is_change);
        }
        watch_the_other_way(r);
        restart(r);
    }
    hx_stream *live = watch(r, "\"prefix\":\"k\",\"from_offset\":25", answer);
    put_long(r, 3, 'Z', 5);
    assert_true(hx_run(r->h));
    for (uint64_t offset = 25; offset <= 31; offset++) {
        assert_int_equal(hx_next_change(live).offset, offset);
    }
    assert_null(
        hx_watch(hx_connect(r->h, 0), "safe", "\"prefix\":\"\",\"from_offset\":33", answer));
    rig_free(r);
}

/* A snapshot has the values that are in the log only. */
static void test_watch_retained(void **state)
{
    (void)state;
    char answer[512];
    rig *r = rig_new(2, false, (flx_worker_limits){.cache_bytes = 131072});
    for (uint32_t i = 0; i < 120; i++) {
        put_long(r, i, (char)('A' + i % 26), 500);
    }
    (void)ask_now(r, "cache_delete", "k7", "");
    for (int round = 0; round < 2; round++) {
        bool seen[120] = {false};
        hx_stream *events = watch(r, "\"prefix\":\"k\",\"retained\":true", answer);
        assert_non_null(strstr(answer, "\"retained_count\":119"));
        run_io(r);
        for (int i = 0; i < 119; i++) {
            const hx_change change = hx_next_change(events);
            assert_true(change.is_change && change.has_value);
            const uint32_t key = (uint32_t)strtoul(change.key + 1, NULL, 10);
            assert_true(key < 120 && key != 7 && !seen[key]);
            assert_int_equal(change.offset, key + 1);
            assert_int_equal(change.len, 1500);
            seen[key] = true;
        }
        assert_false(hx_next_change(events).is_change);
        watch_the_other_way(r);
        restart(r);
    }
    rig_free(r);
}

/* Rule 21: what compaction takes away is what nobody needs; offsets stay; who wants the history before
 * is told what is there now instead. */
static void test_compaction(void **state)
{
    (void)state;
    char answer[512];
    rig *r = rig_new(1, false, (flx_worker_limits){.log_segment_bytes = 65536});
    put_long(r, 90, 'Q', 10);
    put_long(r, 91, 'R', 10);
    (void)ask_now(r, "cache_delete", "k91", "");
    (void)ask_now(r, "counter_add", "n", ",\"delta\":5,\"request_id\":1");
    for (uint32_t i = 0; i < 1500; i++) {
        put_long(r, i % 5, (char)('A' + i % 26), 300);
    }
    assert_true(flx_stat_get(&stats_of(r)->log_compactions) > 0);
    assert_true(flx_stat_get(&stats_of(r)->log_bytes) < 1228800);
    for (int round = 0; round < 2; round++) {
        expect(r, "k90", long_value('Q', 10), 1);
        expect_none(r, "k91");
        assert_string_equal(member(ask_now(r, "counter_get", "n", ",\"request_id\":1"), "value"),
                            "5");
        for (uint32_t i = 1495; i < 1500; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i % 5);
            expect(r, key, long_value((char)('A' + i % 26), 300), i + 5);
        }
        hx_stream *events = watch(r, "\"prefix\":\"k\",\"from_offset\":2", answer);
        assert_non_null(strstr(answer, "\"resnapshot\":true"));
        assert_true(hx_run(r->h));
        for (int i = 0; i < 6; i++) {
            assert_true(hx_next_change(events).is_change);
        }
        assert_false(hx_next_change(events).is_change);
        watch_the_other_way(r);
        crash(r, SIM_TEAR, 3);
    }
    rig_free(r);
}

/* Rule 21 needs a sync; where no rule asks for one, compaction does. */
static void test_compaction_asks_for_a_sync(void **state)
{
    (void)state;
    const flx_promise promise = {true, FLX_ACK_ACCEPTED, FLX_FSYNC_NONE, 0};
    rig *r = rig_new(1, false, (flx_worker_limits){.log_segment_bytes = 1048576});
    r->options.cache_promise = promise;
    hx_set_cache_promise(r->h, &promise);
    (void)ask_now(r, "counter_add", "n", ",\"delta\":5,\"request_id\":1");
    for (uint32_t i = 0; flx_stat_get(&stats_of(r)->log_compactions) == 0; i++) {
        assert_true(i < 1300); /* the second segment is not full by then */
        put_long(r, i % 5, (char)('A' + i % 26), 300);
        hx_advance_ms(r->h, 1);
        run_io(r);
    }
    restart(r);
    assert_string_equal(member(ask_now(r, "counter_get", "n", ",\"request_id\":1"), "value"), "5");
    rig_free(r);
}

/* Counters lie in the log of the values: each is kept with its newest sum, however often it was added
 * to, and beside a value under the same key. */
static void test_compaction_keeps_counters(void **state)
{
    (void)state;
    rig *r = rig_new(1, false, (flx_worker_limits){.log_segment_bytes = 65536});
    put_long(r, 2, 'Q', 10);
    for (uint32_t i = 0; i < 1500; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", i % 3);
        (void)ask_now(r, "counter_add", key, ",\"delta\":2,\"request_id\":1");
        put_long(r, 1, 'V', 300);
    }
    assert_true(flx_stat_get(&stats_of(r)->log_compactions) > 0);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 3; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i);
            assert_string_equal(
                member(ask_now(r, "counter_get", key, ",\"request_id\":1"), "value"), "1000");
        }
        expect(r, "k2", long_value('Q', 10), 1);
        expect_none(r, "k0");
        if (round == 0) {
            restart(r);
        } else {
            crash(r, SIM_LOSE, 1);
        }
    }
    rig_free(r);
}

/* What people are told of it. */
static void test_figures(void **state)
{
    (void)state;
    rig *r = rig_new(1, false, (flx_worker_limits){.cache_bytes = 65536});
    const uint32_t id = 10 | FLX_CACHE_LOG; /* as the harness numbers them */
    flx_log_figures figures;
    for (uint32_t i = 0; i < 100; i++) {
        put_long(r, i, 'V', 300);
    }
    (void)ask_now(r, "counter_add", "n", ",\"delta\":5,\"request_id\":1");
    for (int round = 0; round < 2; round++) {
        assert_true(flx_worker_log_figures(hx_worker(r->h, 0), id, 0, &figures));
        assert_string_equal(figures.state, "open");
        assert_true(figures.is_cache);
        assert_int_equal(figures.head, 0);
        assert_int_equal(figures.tail, 102);
        assert_int_equal(figures.entries, 100);
        assert_int_equal(figures.counters, 1);
        assert_in_range(figures.away, 40, 99);
        assert_int_equal(figures.away_bytes, figures.away * 900);
        assert_in_range(figures.memory_bytes, (100 - figures.away) * 900, 65536);
        assert_in_range(figures.live_bytes, 100 * 900, figures.bytes);
        assert_string_equal(figures.compaction, "idle");
        restart(r);
    }
    assert_false(flx_worker_log_figures(hx_worker(r->h, 0), id + 2, 0, &figures));
    rig_free(r);
}

static void flip_in_log(void *arg, const char *path, size_t len)
{
    sim_disk *sim = arg;
    if (strstr(path, "safe-c") != NULL && strstr(path, ".seg") != NULL && len > 1000) {
        sim_disk_flip(sim, path, (uint64_t)5600);
    }
}

/* Rule 23: a damaged log refuses its shard, and nothing else. */
static void test_damaged(void **state)
{
    (void)state;
    rig *r = rig_new(1, false, (flx_worker_limits){0});
    for (uint32_t i = 0; i < 20; i++) {
        put_long(r, i, 'A', 20);
    }
    hx_advance_ms(r->h, 1500);
    run_io(r);
    hx_free(r->h);
    sim_disk_each(r->sim, flip_in_log, r->sim);
    start(r);
    assert_non_null(strstr(hx_log_news(r->h), "damaged cache:t1/default/safe/0"));
    assert_string_equal(member(ask_now(r, "cache_get", "k1", ",\"request_id\":1"), "code"),
                        "storage");
    assert_string_equal(
        member(ask_now(r, "cache_put", "k1", ",\"value\":\"QQ==\",\"request_id\":1"), "code"),
        "storage");
    hx_json(r->client, "{\"type\":\"cache_put\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                       "\"cache\":\"safe4\",\"key\":\"a\",\"value\":\"QQ==\",\"request_id\":4}");
    run_io(r);
    assert_string_equal(hx_read_json(r->client), "{\"type\":\"cache_ok\",\"request_id\":4}");
    rig_free(r);
}

/* A failed sync ends the shard: what was on its way is an error, what was safe is still read. */
static void test_failed_sync(void **state)
{
    (void)state;
    rig *r = rig_new(1, false, (flx_worker_limits){0});
    put(r, "a", "QQ==");
    sim_disk_fail_sync(r->sim, 1);
    assert_string_equal(
        member(ask_now(r, "cache_put", "b", ",\"value\":\"QQ==\",\"request_id\":1"), "code"),
        "storage");
    expect(r, "a", "QQ==", 1);
    assert_string_equal(member(ask_now(r, "cache_get", "b", ",\"request_id\":1"), "code"),
                        "storage");
    restart(r);
    expect(r, "a", "QQ==", 1);
    put(r, "b", "Qg==");
    rig_free(r);
}

/* C8: whichever allocation fails, under way or while the log is opened, what was acknowledged stays. */
static void test_no_memory(void **state)
{
    (void)state;
    for (uint32_t nth = 1; nth < 90; nth++) {
        rig *r = rig_new(1, true, (flx_worker_limits){0});
        put(r, "a", "QQ==");
        flx_alloc_fail_nth(nth);
        ask(r, "cache_put", "b", ",\"value\":\"Qg==\",\"request_id\":1");
        ask(r, "cache_get", "a", ",\"request_id\":2");
        ask(r, "cache_delete", "c", ",\"request_id\":3");
        run_io(r);
        flx_alloc_fail_nth(0);
        const char *first = hx_read_json(r->client);
        const bool is_acked = strstr(first, "cache_ok") != NULL;
        r->client = client(r->h, 0);
        expect(r, "a", "QQ==", 1);

        hx_free(r->h); /* and again, without memory for the index */
        r->h = hx_new(&r->options);
        assert_non_null(r->h);
        flx_alloc_fail_nth(nth);
        run_io(r);
        flx_alloc_fail_nth(0);
        r->client = client(r->h, 0);
        const char *got = ask_now(r, "cache_get", "a", ",\"request_id\":3");
        assert_true(strcmp(member(got, "value"), "QQ==") == 0 ||
                    strcmp(member(got, "type"), "error") == 0);
        restart(r);
        expect(r, "a", "QQ==", 1);
        if (is_acked) {
            expect(r, "b", "Qg==", 2);
        }
        rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_survives),
        cmocka_unit_test(test_answers_wait),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_values_away),
        cmocka_unit_test(test_watch_history),
        cmocka_unit_test(test_watch_retained),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_failed_sync),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_promises),
        cmocka_unit_test(test_weaker_promises_survive),
        cmocka_unit_test(test_compaction_asks_for_a_sync),
        cmocka_unit_test(test_compaction_keeps_counters),
        cmocka_unit_test(test_figures),
    };
    rig_started = greet;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
