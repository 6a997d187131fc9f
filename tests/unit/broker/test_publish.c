/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing: forms, answers and their order, offsets, idempotence, conditions, budgets, quotas. */
#include "broker_harness.h"
#include "unit.h"
#include "wire/ack.h"
#include "wire/code.h"

#define ALL     0x7fffu
#define OF_DEMO "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"demo\""
#define OF_WIDE "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":\"wide\""

static flx_publish_ack read_ack(hx_stream *s)
{
    flx_publish_ack ack = {0};
    const hx_got got = hx_read(s);
    assert_true(got.is_frame);
    assert_int_equal(
        flx_publish_ack_decode(got.flags, (flx_slice){got.payload, got.len}, &ack, NULL), FLX_OK);
    return ack;
}

static void test_every_acked_form_is_answered_in_order(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers++) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_auth_as(s, ALL, FLX_FEATURE_ERROR_CODES);
        hx_publish(s, "wide", 1, "k0", "a", 2);
        hx_publish(s, "wide", 2, "k1", "b", 1);
        hx_publish(s, "no", 3, NULL, "c", 1);
        hx_publish(s, "wide", 0, "k2", "not answered", 1);
        hx_publish(s, "wide", 4, NULL, "d", 1);
        hx_json(s, "{\"type\":\"publish_batch\"," OF_WIDE ",\"payloads\":[\"YQ==\",\"Yg==\"],"
                   "\"key\":\"azA=\",\"request_id\":5,\"ack\":\"per_batch\"}");
        hx_json(s, "{\"type\":\"publish_batch\"," OF_WIDE
                   ",\"payloads\":[],\"request_id\":6,\"ack\":\"per_batch\"}");
        assert_true(hx_run(h));
        assert_int_equal(read_ack(s).request_id, 1);
        assert_int_equal(read_ack(s).request_id, 2);
        const flx_publish_ack error = read_ack(s);
        assert_false(error.ok);
        assert_int_equal(error.code, FLX_CODE_NOT_FOUND);
        assert_int_equal(error.retry, FLX_RETRY_AFTER);
        assert_int_equal(read_ack(s).request_id, 4);
        assert_string_equal(hx_read_json(s),
                            "{\"type\":\"publish_ok\",\"request_id\":5,\"offset\":4}");
        assert_string_equal(hx_read_json(s), "{\"type\":\"publish_ok\",\"request_id\":6}");
        hx_free(h);
    }
}

static void test_offsets_are_told_to_who_offered(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_stream *with = hx_open(hx_connect(h, 0), true);
    hx_stream *without = hx_open(hx_connect(h, 0), true);
    hx_auth_as(with, ALL, 0);
    hx_auth_as(without, 0x7f, 0);
    hx_publish(with, "demo", 1, NULL, "a", 3);
    hx_publish(without, "demo", 2, NULL, "b", 1);
    hx_publish(with, "demo", 3, NULL, "c", 1);
    assert_true(hx_run(h));
    assert_int_equal(read_ack(with).offset, 0);
    assert_int_equal(read_ack(with).offset, 4);
    assert_int_equal(read_ack(without).flags, FLX_FLAG_BINARY_PUBLISH_ACK);
    hx_free(h);
}

/* A window's worth of publishes that another worker must answer stops the reading of the stream. */
static void test_window_stops_the_reading(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2, .limits = {.publish_window = 4}});
    const uint32_t away = flx_worker_owner(1, 0, 2) == 0 ? 1 : 0;
    hx_stream *s = hx_open(hx_connect(h, away), true);
    hx_auth(s);
    for (uint64_t id = 1; id <= 10; id++) {
        hx_publish(s, "demo", id, NULL, "x", 1);
    }
    assert_true(hx_unconsumed(s) > 0);
    assert_true(hx_run(h));
    assert_int_equal(hx_unconsumed(s), 0);
    for (uint64_t id = 1; id <= 10; id++) {
        assert_int_equal(read_ack(s).request_id, id);
    }
    hx_free(h);
}

static void test_many_acks_are_one_write(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    uint8_t frame[512];
    const size_t len = hx_publish_frame(frame, sizeof frame, "demo", 1, 10, 1);
    const uint64_t before = hx_bytes_out(s);
    for (int i = 0; i < 1000; i++) {
        hx_send(s, frame, len);
    }
    assert_true(hx_run(h));
    assert_int_equal(hx_bytes_out(s) - before, 1000 * 23);
    assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 0))->acks), 1000);
    hx_free(h);
}

static void publish_idempotent(hx_stream *s, uint64_t id, uint64_t producer, uint64_t sequence,
                               const char *payload)
{
    hx_json(s,
            "{\"type\":\"publish_idempotent\"," OF_DEMO
            ",\"payloads\":[\"%s\"],\"request_id\":%llu,"
            "\"producer_id\":%llu,\"sequence\":%llu}",
            payload, (unsigned long long)id, (unsigned long long)producer,
            (unsigned long long)sequence);
    assert_true(hx_run(hx_of(s)));
}

static void test_idempotent_producer(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        hx_stream *s = hx_open(hx_connect(h, 0), true);
        hx_auth_as(s, ALL, FLX_FEATURE_SEQUENCE_REUSED);
        hx_stream *old = hx_open(hx_connect(h, 0), true);
        hx_auth_as(old, ALL, 0);
        hx_json(s, "{\"type\":\"producer_init\",\"request_id\":1}");
        assert_true(hx_run(h));
        const char *init = hx_read_json(s);
        const uint64_t producer =
            strtoull(strstr(init, "\"producer_id\":") + strlen("\"producer_id\":"), NULL, 10);
        static const struct {
            uint64_t sequence;
            const char *payload;
            const char *answer;
        } cases[] = {
            {1, "YQ==", "\"reason\":\"unknown_producer\""},
            {0, "YQ==", "\"publish_ok\",\"request_id\":2,\"offset\":0}"},
            {1, "Yg==", "\"publish_ok\",\"request_id\":2,\"offset\":1}"},
            {0, "YQ==", "\"publish_ok\",\"request_id\":2,\"offset\":0}"},
            {1, "Yw==", "\"reason\":\"sequence_reused\""},
            {5, "Yw==", "\"reason\":{\"sequence_gap\":{\"expected\":2}}"},
            {2, "Yw==", "\"publish_ok\",\"request_id\":2,\"offset\":2}"},
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            publish_idempotent(s, 2, producer, cases[i].sequence, cases[i].payload);
            assert_non_null(strstr(hx_read_json(s), cases[i].answer));
        }
        publish_idempotent(old, 3, producer, 1, "Yw=="); /* reads no sequence_reused */
        assert_string_equal(hx_read_json(old),
                            "{\"type\":\"publish_ok\",\"request_id\":3,\"offset\":1}");
        for (uint64_t sequence = 3; sequence < 70; sequence++) {
            publish_idempotent(s, 4, producer, sequence, "YQ==");
            assert_non_null(strstr(hx_read_json(s), "publish_ok"));
        }
        publish_idempotent(s, 5, producer, 2, "Yw==");
        assert_non_null(strstr(hx_read_json(s), "\"reason\":\"sequence_expired\""));
        hx_free(h);
    }
}

static void test_publish_if(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth_as(s, ALL, 0);
    static const struct {
        const char *rest;
        const char *answer;
    } cases[] = {
        {"\"payloads\":[\"YQ==\"],\"expected_offset\":0",
         "\"publish_ok\",\"request_id\":1,\"offset\":0"},
        {"\"payloads\":[\"YQ==\"],\"expected_offset\":0",
         "\"reason\":{\"offset_mismatch\":{\"tail\":1}}"},
        {"\"payloads\":[],\"expected_offset\":1", "publish_error"},
        {"\"payloads\":[\"YQ==\",\"YQ==\"],\"expected_offset\":1", "\"offset\":1"},
        {"\"payloads\":[\"YQ==\"],\"expected_offset\":3", "\"offset\":3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hx_json(s, "{\"type\":\"publish_if\"," OF_DEMO ",%s,\"request_id\":1}", cases[i].rest);
        assert_true(hx_run(h));
        assert_non_null(strstr(hx_read_json(s), cases[i].answer));
    }
    hx_free(h);
}

static void test_byte_budget(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2, .limits = {.identity_publish_bytes = 100}});
    const uint32_t away = flx_worker_owner(1, 0, 2) == 0 ? 1 : 0;
    hx_stream *s = hx_open(hx_connect(h, away), true);
    hx_auth_as(s, ALL, 0);
    const char *sixty = "012345678901234567890123456789012345678901234567890123456789";
    hx_publish(s, "demo", 1, NULL, sixty, 1);
    hx_publish(s, "demo", 2, NULL, sixty, 1);
    assert_true(hx_run(h));
    hx_publish(s, "demo", 3, NULL, sixty, 1);
    assert_true(hx_run(h));
    assert_true(read_ack(s).ok);
    const flx_publish_ack full = read_ack(s);
    assert_int_equal(full.code, FLX_CODE_OVERLOADED);
    assert_memory_equal(full.reason.ptr, "publish_queue_full", full.reason.len);
    assert_true(full.retry_after_ms > 0);
    assert_true(read_ack(s).ok); /* the budget was given back */
    hx_free(h);
}

static void test_unacked_over_the_budget_is_dropped_and_counted(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.workers = 2, .limits = {.process_publish_bytes = 200}});
    const uint32_t away = flx_worker_owner(1, 0, 2) == 0 ? 1 : 0;
    hx_stream *s = hx_open(hx_connect(h, away), true);
    hx_auth(s);
    for (int i = 0; i < 20; i++) {
        hx_publish(s, "demo", 0, NULL, "0123456789", 1);
    }
    const flx_worker_stats *stats = flx_worker_stats_of(hx_worker(h, away));
    assert_int_equal(flx_stat_get(&stats->dropped[FLX_DROP_OVERLOADED]), 13);
    assert_true(hx_run(h));
    hx_publish(s, "demo", 0, NULL, "0123456789", 1);
    assert_int_equal(flx_stat_get(&stats->dropped[FLX_DROP_OVERLOADED]), 13);
    assert_true(hx_run(h));
    assert_int_equal(flx_stat_get(&flx_worker_stats_of(hx_worker(h, 1 - away))->published_records),
                     8);
    hx_free(h);
}

static void test_tenant_quota(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.limits = {.tenant_records_per_s = 10}});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth_as(s, ALL, 0);
    hx_publish(s, "demo", 1, NULL, "a", 15); /* a burst is 10; the debt is 5 */
    hx_publish(s, "demo", 2, NULL, "b", 1);
    assert_true(hx_run(h));
    assert_true(read_ack(s).ok);
    const flx_publish_ack over = read_ack(s);
    assert_memory_equal(over.reason.ptr, "tenant_quota", over.reason.len);
    assert_int_equal(over.retry_after_ms, 501);
    hx_advance_ms(h, 701);
    hx_publish(s, "demo", 3, NULL, "c", 1);
    assert_true(hx_run(h));
    assert_true(read_ack(s).ok);
    hx_free(h);
}

static void test_large_batches_are_shared_not_copied(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *events = hx_subscribe(conn, "demo", "", 0x27, 0);
    hx_stream *s = hx_open(conn, true);
    hx_auth(s);
    static uint8_t frame[300000];
    const size_t len = hx_publish_frame(frame, sizeof frame, "demo", 9, 100000, 2);
    for (size_t at = 0; at < len; at += 1400) {
        hx_send(s, frame + at, len - at < 1400 ? len - at : 1400);
    }
    assert_true(hx_run(h));
    assert_int_equal(hx_next_event(events).len, 100000);
    const hx_event second = hx_next_event(events);
    assert_int_equal(second.offset, 1);
    assert_int_equal(second.len, 100000);
    hx_free(h);
}

static void test_catalog_swap(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        hx *h = hx_new(&(hx_options){.workers = workers});
        hx_conn *conn = hx_connect(h, 0);
        hx_stream *events = hx_subscribe(conn, "demo", "", 0x27, 0);
        hx_stream *s = hx_open(conn, true);
        hx_auth_as(s, ALL, 0);
        hx_publish(s, "demo", 1, NULL, "a", 1);
        assert_true(hx_run(h));
        assert_true(read_ack(s).ok);
        hx_set_catalog(h, false);
        hx_publish(s, "demo", 2, NULL, "b", 1);
        assert_true(hx_run(h));
        assert_int_equal(read_ack(s).code, FLX_CODE_NOT_FOUND);
        assert_string_equal(hx_next_event(events).text, "a");
        assert_false(hx_next_event(events).is_event);
        assert_true(hx_is_finished(events));
        hx_set_catalog(h, true);
        hx_publish(s, "demo", 3, NULL, "c", 1);
        assert_true(hx_run(h));
        assert_int_equal(read_ack(s).offset, 0);
        hx_free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_acked_form_is_answered_in_order),
        cmocka_unit_test(test_offsets_are_told_to_who_offered),
        cmocka_unit_test(test_window_stops_the_reading),
        cmocka_unit_test(test_many_acks_are_one_write),
        cmocka_unit_test(test_idempotent_producer),
        cmocka_unit_test(test_publish_if),
        cmocka_unit_test(test_byte_budget),
        cmocka_unit_test(test_unacked_over_the_budget_is_dropped_and_counted),
        cmocka_unit_test(test_tenant_quota),
        cmocka_unit_test(test_large_batches_are_shared_not_copied),
        cmocka_unit_test(test_catalog_swap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
