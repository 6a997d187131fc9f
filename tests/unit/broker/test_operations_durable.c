/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of operations on durable caches: one frame goes to several shards, on one, two and four
 * workers, with values that are on disk only, across restarts and power cuts. CACHE.md, rules 17 to 19
 * and 23.
 */
#include "broker_rig.h"
#include "common/alloc.h"
#include "operations_rig.h"
#include "unit.h"

#include <stddef.h>
#include <stdio.h>

#define SAFE        1 /* handles */
#define SAFE4       2
#define KEYS        240
#define VALUE_BYTES 900
#define POOL_BYTES  65536 /* of a worker: less than half of the values fit */

static hx_stream *client(hx *h, uint32_t worker)
{
    hx_stream *s = hx_open(hx_connect(h, worker), true);
    hx_auth_hi(s, 0x7fff, ALL_FEATURES, HI);
    add_open(SAFE, FLX_OPERATION_CACHE, "t1", "safe");
    add_open(SAFE4, FLX_OPERATION_CACHE, "t1", "safe4");
    send_added(s);
    assert_int_equal(run(h, s), 2);
    assert_int_equal(answers[1000 + SAFE4].shards, 4);
    return s;
}

static void greet(rig *r)
{
    run_io(r); /* logs are open */
    r->client = client(r->h, r->options.workers - 1);
}

static rig *small_rig(uint32_t workers, bool manual_io)
{
    return rig_new(workers, manual_io,
                   (flx_worker_limits){.cache_bytes = (uint64_t)POOL_BYTES * workers});
}

/* Sends what was added, if anything was, and does all that the disk is asked; returns how many answers came. */
static uint32_t run_batch(rig *r)
{
    if (request_len > 0) {
        send_added(r->client);
    }
    uint32_t count = run(r->h, r->client);
    for (uint32_t more = 1; more > 0;) {
        run_io(r);
        more = read_answers(r->client);
        count += more;
    }
    return count;
}

static const char *key_of(uint32_t number)
{
    static char key[16];
    (void)snprintf(key, sizeof key, "k%u", number);
    return key;
}

static uint8_t letter_of(uint32_t number, uint32_t round)
{
    return (uint8_t)('A' + (number + round) % 26);
}

static void add_value(uint16_t handle, uint32_t number, uint32_t round)
{
    static uint8_t bytes[VALUE_BYTES];
    memset(bytes, letter_of(number, round), sizeof bytes);
    add_put(handle, number, key_of(number), (flx_slice){bytes, sizeof bytes});
}

static void put_all(rig *r, uint16_t handle, uint32_t round)
{
    for (uint32_t first = 0; first < KEYS; first += 60) {
        for (uint32_t i = first; i < first + 60; i++) {
            add_value(handle, i, round);
        }
        assert_int_equal(run_batch(r), 60);
        for (uint32_t i = first; i < first + 60; i++) {
            assert_int_equal(answers[i].status, 0);
        }
    }
}

static void check_value(const got *answer, uint32_t number, uint32_t round)
{
    assert_int_equal(answer->status, 0);
    assert_int_equal(answer->flags, FLX_OPERATION_FOUND);
    assert_int_equal(answer->value_len, VALUE_BYTES);
    assert_int_equal(answer->value[0], letter_of(number, round));
}

/* All keys in one frame, with some that nobody put between them. */
static void check_all(rig *r, uint16_t handle, uint32_t round)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        add_get(handle, i, key_of(i));
        add_get(handle, KEYS + i, key_of(KEYS + i));
    }
    assert_int_equal(run_batch(r), 2 * KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        check_value(&answers[i], i, round);
        assert_int_equal(answers[KEYS + i].status, 0);
        assert_int_equal(answers[KEYS + i].flags, 0);
    }
}

static uint64_t sum_of(rig *r, size_t stat)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->options.workers; i++) {
        const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(r->h, i));
        sum += flx_stat_get((const _Atomic uint64_t *)(const void *)((const char *)stats + stat));
    }
    return sum;
}

#define SUM(member) sum_of(r, offsetof(flx_worker_stats, member))

/* Rules 17 and 19: wherever a value is, and whoever owns its shard, its get in a batch answers it. */
static void test_values_away(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        rig *r = small_rig(workers, false);
        put_all(r, SAFE4, 0);
        put_all(r, SAFE, 1);
        put_all(r, SAFE4, 2);
        for (int round = 0; round < 3; round++) {
            assert_int_equal(SUM(cache_entries), 2 * KEYS);
            assert_in_range(SUM(cache_away), 2 * KEYS - workers * (POOL_BYTES / VALUE_BYTES),
                            2 * KEYS);
            const uint64_t blocks = SUM(log_blocks_read);
            check_all(r, SAFE4, 2);
            check_all(r, SAFE, 1);
            assert_true(SUM(log_blocks_read) > blocks);
            if (round == 0) {
                restart(r);
            } else {
                crash(r, SIM_LOSE, 1);
            }
        }
        rig_free(r);
    }
}

/* A frame that puts, reads, deletes and puts again the same keys, whose values are away, is answered
 * in its order. */
static void test_order_within_a_frame(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        rig *r = small_rig(workers, false);
        put_all(r, SAFE4, 0);
        for (uint32_t i = 0; i < 100; i++) {
            const flx_operation remove = {.opcode = FLX_OPCODE_CACHE_DELETE,
                                          .handle = SAFE4,
                                          .id = 1000 + i,
                                          .key = slice_of(key_of(i))};
            add_get(SAFE4, 500 + i, key_of(i));
            add(&remove);
            add_get(SAFE4, 1500 + i, key_of(i));
            add_value(SAFE4, i, 1);
            add_get(SAFE4, 2000 + i, key_of(i));
        }
        assert_int_equal(run_batch(r), 500);
        for (uint32_t i = 0; i < 100; i++) {
            check_value(&answers[500 + i], i, 0);
            check_value(&answers[1000 + i], i, 0); /* what was removed */
            assert_int_equal(answers[1500 + i].flags, 0);
            check_value(&answers[2000 + i], i, 1);
        }
        rig_free(r);
    }
}

#define ROUNDS     4U
#define ROUND_GETS 8U
#define ROUND_PUTS 8U

/* A frame, and so a batch, of its own. Every other one begins with values that are on the disk, and are under
 * way when the log of SAFE is met. */
static void send_round(rig *r, uint32_t round)
{
    const flx_slice digit = {(const uint8_t *)"01234" + round, 1};
    if (round % 2 == 1) {
        for (uint32_t i = 0; i < ROUND_GETS; i++) {
            add_get(SAFE4, 100 * round + 50 + i, key_of(KEYS - 1 - i));
        }
        add_put(SAFE, 100 * round, key_of(0), digit);
    }
    for (uint32_t i = 0; i < ROUND_PUTS; i++) {
        add_put(SAFE4, 100 * round + 1 + i, key_of(i), digit);
    }
    send_added(r->client);
    assert_true(hx_run(r->h));
}

/* Operations on one key take effect in the order they were sent, also when what was sent first is in the
 * middle of a frame whose other keys are of a log that is still being opened. */
static void test_order_while_logs_open(void **state)
{
    (void)state;
    static const struct {
        uint32_t workers, home;
    } places[] = {{1, 0}, {2, 0}, {2, 1}}; /* who owns SAFE is the client's worker, or not */
    for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
        const uint32_t workers = places[place].workers;
        for (uint32_t opened = 0; opened < 24; opened++) {
            /* A pool for few values, so that the log that is open first has most of its own on the disk. */
            rig *r = rig_new(workers, true,
                             (flx_worker_limits){.cache_bytes = (uint64_t)16384 * workers,
                                                 .log_read_cache_bytes = 1});
            put_all(r, SAFE4, 0);
            add_value(SAFE, 0, 0);
            assert_int_equal(run_batch(r), 1);
            hx_free(r->h);
            r->h = hx_new(&r->options);
            r->client = client(r->h, places[place].home);
            /* The newest job first: the log of SAFE is open last. */
            for (uint32_t i = 0; i < opened; i++) {
                const size_t waiting = hx_io_waiting(r->h, i % workers);
                (void)(waiting > 0 && hx_io(r->h, i % workers, waiting - 1));
                assert_true(hx_run(r->h));
            }
            for (uint32_t round = 1; round <= ROUNDS; round++) {
                send_round(r, round);
            }
            assert_int_equal(run_batch(r), ROUNDS / 2 * (ROUND_GETS + 1) + ROUNDS * ROUND_PUTS);
            for (uint32_t i = 0; i < 8; i++) {
                add_get(SAFE4, i, key_of(i));
            }
            assert_int_equal(run_batch(r), 8);
            for (uint32_t i = 0; i < 8; i++) {
                assert_int_equal(answers[i].value[0], '4');
            }
            rig_free(r);
        }
    }
}

/* Rule 18: however far the disk has come when the power goes, what was answered is there; and nothing
 * was answered before the disk did anything. */
static void test_answered_is_safe(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        uint32_t answered = 0;
        for (uint32_t jobs = 0; answered < 40; jobs++) {
            bool is_sure[40] = {false};
            rig *r = small_rig(workers, true);
            for (uint32_t i = 0; i < 40; i++) {
                add_value(SAFE4, i, 0);
            }
            send_added(r->client);
            answered = run(r->h, r->client);
            for (uint32_t done = 0; done < jobs; done++) {
                for (uint32_t at = 0; at < workers && !hx_io(r->h, (done + at) % workers, 0);
                     at++) {
                }
                assert_true(hx_run(r->h));
                answered += read_answers(r->client);
            }
            assert_true(jobs > 0 || answered == 0);
            assert_true(jobs < 100);
            for (uint32_t i = 0; i < 40; i++) {
                is_sure[i] = answers[i].came && answers[i].status == 0;
            }
            crash(r, SIM_LOSE, jobs);
            for (uint32_t i = 0; i < 40; i++) {
                add_get(SAFE4, i, key_of(i));
            }
            assert_int_equal(run_batch(r), 40);
            for (uint32_t i = 0; i < 40; i++) {
                if (is_sure[i]) {
                    check_value(&answers[i], i, 0);
                }
            }
            rig_free(r);
        }
    }
}

static void add_put_if(uint32_t id, uint32_t number, uint64_t version, uint64_t ttl_ms)
{
    add(&(flx_operation){
        .opcode = FLX_OPCODE_CACHE_PUT_IF,
        .flags = (uint8_t)((version != 0 ? FLX_OPERATION_VERSION : 0) |
                           (ttl_ms != 0 ? FLX_OPERATION_TTL : 0)),
        .handle = SAFE4,
        .id = id,
        .version = version,
        .ttl_ms = ttl_ms,
        .key = slice_of(key_of(number)),
        .value = slice_of("next"),
    });
}

static void add_delete_if(uint32_t id, uint32_t number, uint64_t version)
{
    add(&(flx_operation){.opcode = FLX_OPCODE_CACHE_DELETE_IF,
                         .handle = SAFE4,
                         .id = id,
                         .version = version,
                         .key = slice_of(key_of(number))});
}

/* Rule 17: a version that was read before a restart, or a power cut, is the one to name after it. */
static void test_conditions_across_restarts(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 6; n++) {
        rig *r = small_rig(1U << n / 2, false);
        uint64_t versions[4];
        put_all(r, SAFE4, 0);
        for (uint32_t i = 0; i < 4; i++) {
            add_get(SAFE4, i, key_of(i));
        }
        assert_int_equal(run_batch(r), 4);
        for (uint32_t i = 0; i < 4; i++) {
            versions[i] = answers[i].version;
        }
        if (n % 2 == 0) {
            restart(r);
        } else {
            crash(r, SIM_LOSE, 1);
        }
        add_put_if(1, 0, versions[0] + 1, 0); /* not that one */
        add_put_if(2, 0, versions[0], 0);
        add_put_if(3, 0, versions[0], 0); /* it has moved on */
        add_delete_if(4, 1, versions[1]);
        add_delete_if(5, 1, versions[1]); /* it is gone */
        add_put_if(6, 2, 0, 0);           /* it is there */
        add_put_if(7, KEYS, 0, 0);        /* it is not */
        assert_int_equal(run_batch(r), 7);
        static const bool applied[] = {false, false, true, false, true, false, false, true};
        for (uint32_t id = 1; id <= 7; id++) {
            assert_int_equal(answers[id].status, 0);
            assert_int_equal((answers[id].flags & FLX_OPERATION_APPLIED) != 0, applied[id]);
        }
        assert_int_equal(answers[1].version, versions[0]);
        assert_true(answers[2].version > versions[0]);
        assert_int_equal(answers[3].version, answers[2].version);
        assert_int_equal(answers[6].version, versions[2]);
        const uint64_t version = answers[2].version;
        restart(r);
        add_get(SAFE4, 0, key_of(0));
        add_get(SAFE4, 1, key_of(1));
        add_get(SAFE4, 2, key_of(KEYS));
        assert_int_equal(run_batch(r), 3);
        assert_int_equal(answers[0].version, version);
        assert_memory_equal(answers[0].value, "next", 4);
        assert_int_equal(answers[1].flags, 0);
        assert_memory_equal(answers[2].value, "next", 4);
        rig_free(r);
    }
}

/* An expiry is a moment: it goes on while nobody runs, and a condition counts what has expired as not
 * there. */
static void test_expiry_across_restarts(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        rig *r = small_rig(workers, false);
        for (uint32_t i = 0; i < 40; i++) { /* every other one for a second */
            add_put_if(i, i, 0, i % 2 == 0 ? 1000 : 100000);
        }
        assert_int_equal(run_batch(r), 40);
        put_all(r, SAFE, 0); /* the values are away */
        r->options.wall_ms = 500;
        restart(r);
        for (uint32_t i = 0; i < 40; i++) {
            add_get(SAFE4, i, key_of(i));
        }
        assert_int_equal(run_batch(r), 40);
        for (uint32_t i = 0; i < 40; i++) {
            assert_int_equal(answers[i].flags, FLX_OPERATION_FOUND);
        }
        r->options.wall_ms = 1500;
        crash(r, SIM_LOSE, 1);
        for (uint32_t i = 0; i < 40; i++) {
            add_get(SAFE4, i, key_of(i));
            add_put_if(100 + i, i, 0, 0);
        }
        assert_int_equal(run_batch(r), 80);
        for (uint32_t i = 0; i < 40; i++) {
            assert_int_equal(answers[i].flags, i % 2 == 0 ? 0 : FLX_OPERATION_FOUND);
            assert_int_equal((answers[100 + i].flags & FLX_OPERATION_APPLIED) != 0, i % 2 == 0);
        }
        rig_free(r);
    }
}

/* Rule 23: who waits for a sync that fails is told; what was safe is still read, by the same batches. */
static void test_failed_sync(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        rig *r = small_rig(workers, false);
        put_all(r, SAFE, 0);
        put_all(r, SAFE4, 0);
        sim_disk_fail_sync(r->sim, 1);
        add_value(SAFE, 0, 1); /* its shard is the only one that is written */
        assert_int_equal(run_batch(r), 1);
        assert_int_equal(answers[0].status, FLX_CODE_STORAGE);
        for (uint32_t i = 1; i < KEYS; i++) {
            add_get(SAFE, i, key_of(i));
        }
        assert_int_equal(run_batch(r), KEYS - 1);
        for (uint32_t i = 1; i < KEYS; i++) {
            check_value(&answers[i], i, 0);
        }
        add_value(SAFE, 1, 1);
        assert_int_equal(run_batch(r), 1);
        assert_int_equal(answers[1].status, FLX_CODE_STORAGE);
        put_all(r, SAFE4, 1); /* others go on */
        restart(r);
        check_all(r, SAFE4, 1);
        put_all(r, SAFE, 2);
        check_all(r, SAFE, 2);
        rig_free(r);
    }
}

/* The Nth allocation fails, for every N, while a batch reads values from the log: each is answered once,
 * with its value or an error, and nothing is damaged by it. */
static void test_memory_may_run_out_anywhere(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        rig *r = small_rig(workers, false);
        put_all(r, SAFE4, 0);
        bool has_failed = true;
        for (uint64_t nth = 1; has_failed; nth++) {
            flx_alloc_fail_nth(nth);
            for (uint32_t i = 0; i < KEYS; i++) {
                add_get(SAFE4, i, key_of(i));
            }
            send_added(r->client);
            uint32_t count = run(r->h, r->client);
            for (uint32_t i = 0; i < 10; i++) {
                run_io(r);
                count += read_answers(r->client);
            }
            has_failed = flx_alloc_failed() != 0;
            flx_alloc_fail_nth(0);
            assert_true(has_failed || nth > 10);
            if (hx_is_reset(r->client)) {
                r->client = client(r->h, workers - 1);
            } else {
                assert_int_equal(count, KEYS);
                for (uint32_t i = 0; i < KEYS; i++) {
                    if (answers[i].status == 0) {
                        check_value(&answers[i], i, 0);
                    }
                }
            }
            assert_true(nth < 2000);
        }
        check_all(r, SAFE4, 0);
        rig_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_away),
        cmocka_unit_test(test_order_within_a_frame),
        cmocka_unit_test(test_order_while_logs_open),
        cmocka_unit_test(test_answered_is_safe),
        cmocka_unit_test(test_conditions_across_restarts),
        cmocka_unit_test(test_expiry_across_restarts),
        cmocka_unit_test(test_failed_sync),
        cmocka_unit_test(test_memory_may_run_out_anywhere),
    };
    rig_started = greet;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
