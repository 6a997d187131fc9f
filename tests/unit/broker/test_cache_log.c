/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable caches: what an answer waits for, what a restart finds, values that are in the log only,
 * compaction, and what becomes of it when the disk is late, damaged or lost its power. CACHE.md, rules
 * 9 to 15. The disk is simulated, and jobs complete when and in which order a test says.
 */
#include "broker_harness.h"
#include "sim_disk.h"
#include "unit.h"
#include "wire/flags.h"

#include <stdio.h>
#include <stdlib.h>

#define FEATURES (FLX_FEATURE_ERROR_CODES | FLX_FEATURE_CACHE_CONDITIONAL)

/* A broker that can be started again on the same disk. */
typedef struct rig {
    sim_disk *sim;
    hx *h;
    hx_options options;
    hx_stream *client;
} rig;

/* All waiting jobs of all workers, oldest first, until nothing moves. */
static void run_io(rig *r)
{
    assert_true(hx_run(r->h));
    for (bool did = true; did;) {
        did = false;
        for (uint32_t i = 0; i < r->options.workers; i++) {
            while (hx_io(r->h, i, 0)) {
                did = true;
            }
        }
        assert_true(hx_run(r->h));
    }
}

static hx_stream *client(hx *h, uint32_t worker)
{
    hx_stream *s = hx_open(hx_connect(h, worker), true);
    hx_auth_as(s, 0, FEATURES);
    return s;
}

static void start(rig *r)
{
    r->options.disk = sim_disk_of(r->sim);
    r->h = hx_new(&r->options);
    assert_non_null(r->h);
    run_io(r);
    r->client = client(r->h, r->options.workers - 1);
}

static rig *rig_new(uint32_t workers, bool manual_io, flx_worker_limits limits)
{
    static rig r;
    r = (rig){.sim = sim_disk_new(),
              .options = {.workers = workers, .manual_io = manual_io, .limits = limits}};
    start(&r);
    return &r;
}

static void rig_free(rig *r)
{
    hx_free(r->h);
    flx_disk_free(sim_disk_of(r->sim));
}

/* The end the operator asks for. */
static void restart(rig *r)
{
    hx_free(r->h);
    start(r);
}

/* The power goes. */
static void crash(rig *r, sim_crash_mode mode, uint64_t seed)
{
    sim_disk_stop_at(r->sim, 1);
    hx_free(r->h);
    sim_disk_crash(r->sim, mode, seed);
    start(r);
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

/* Rule 9: versions are offsets, from 1 on, and stay. */
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

/* Rule 10: no answer rests on what can be lost. */
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

/* Rule 4 over restarts: an expiry is a moment, and what expired while nobody ran is gone. */
static void test_expiry(void **state)
{
    (void)state;
    rig *r = rig_new(1, false, (flx_worker_limits){0});
    (void)ask_now(r, "cache_put", "brief", ",\"value\":\"QQ==\",\"ttl_ms\":1000");
    (void)ask_now(r, "cache_put", "long", ",\"value\":\"Qg==\",\"ttl_ms\":60000000");
    restart(r);
    expect(r, "long", "Qg==", 2);
    hx_advance_ms(r->h, 1500);
    restart(r);
    expect_none(r, "brief");
    expect(r, "long", "Qg==", 2);
    hx_advance_ms(r->h, 2000);
    run_io(r);
    restart(r);
    expect_none(r, "brief");
    put(r, "next", "Qw==");
    expect(r, "next", "Qw==", 4); /* the delete of the expired key was 3 */
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_survives),
        cmocka_unit_test(test_answers_wait),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_expiry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
