/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted run in which the Nth allocation fails, for every N until none does: no crash, no leak,
 * no broken invariant; and the broker still serves afterwards.
 */
#include "broker_harness.h"
#include "common/alloc.h"
#include "unit.h"
#include "wire/flags.h"

static void script(hx *h, uint32_t workers)
{
    hx_conn *conn = hx_connect(h, 0);
    hx_conn *far = hx_connect(h, workers - 1);
    if (conn == NULL || far == NULL) {
        return;
    }
    hx_stream *p = hx_open(conn, true);
    hx_auth_as(p, 0x7fff, 0xffffffff);
    hx_stream *events = hx_subscribe(far, "demo", "", 0x6027, FLX_FEATURE_SUBSCRIPTION_LAGGED);
    hx_stream *json = hx_subscribe(conn, "wide", ",\"shard\":1", 0, 0);
    for (uint64_t i = 1; i <= 20; i++) {
        hx_publish(p, "demo", i, NULL, "a record of some length to be carried", 3);
        hx_publish(p, "wide", i, "key", "keyed", 1);
    }
    (void)hx_run(h);
    hx_json(p, "{\"type\":\"publish_idempotent\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
               "\"stream\":\"demo\",\"payloads\":[\"YQ==\"],\"request_id\":1,\"producer_id\":5,"
               "\"sequence\":0}");
    static uint8_t frame[20000];
    const size_t len = hx_publish_frame(frame, sizeof frame, "demo", 77, 15000, 1);
    for (size_t at = 0; at < len; at += 1000) {
        hx_send(p, frame + at, len - at < 1000 ? len - at : 1000);
    }
    hx_json(p, "{\"type\":\"cache_put\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":"
               "\"cached\",\"key\":\"k\",\"value\":\"Y2FjaGVk\",\"ttl_ms\":100}");
    hx_json(p, "{\"type\":\"cache_get\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":"
               "\"cached\",\"key\":\"k\"}");
    hx_json(p, "{\"type\":\"stream_read\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
               "\"stream\":\"demo\",\"shard\":0,\"from\":0,\"request_id\":1}");
    char answer[512];
    hx_stream *watch =
        hx_watch(far, "cached", "\"prefix\":\"\",\"shard\":0,\"retained\":true", answer);
    hx_stream *key = hx_watch(conn, "cached", "\"key\":\"k\",\"from_offset\":0", answer);
    for (int i = 0; i < 3; i++) {
        hx_json(p,
                "{\"type\":\"cache_put\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":"
                "\"cached\",\"key\":\"k\",\"value\":\"Y2FjaGVk\",\"ttl_ms\":%d}",
                100 * i);
        hx_json(p,
                "{\"type\":\"counter_add\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                "\"cache\":\"cached\",\"key\":\"c%d\",\"delta\":1,\"request_id\":1}",
                i);
        hx_advance_ms(h, 50);
        (void)hx_run(h);
    }
    if (key != NULL) {
        hx_stop(key);
    }
    (void)watch;
    (void)hx_run(h);
    hx_stream *old = hx_subscribe(far, "demo", ",\"start\":\"earliest\"", 0x27, 0);
    if (events != NULL) {
        hx_stop(events);
    }
    (void)json;
    (void)old;
    (void)hx_run(h);
    hx_disconnect(far);
}

static bool serves(hx *h)
{
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *s = hx_open(conn, true);
    hx_auth(s);
    hx_publish(s, "wide", 9, "another", "x", 1);
    (void)hx_run(h);
    return hx_read(s).is_frame;
}

static void loop(uint32_t workers)
{
    for (uint64_t nth = 1; nth < 5000; nth++) {
        hx *h = hx_new(&(hx_options){.workers = workers, .mailbox = 8});
        assert_non_null(h);
        flx_alloc_fail_nth(nth);
        script(h, workers);
        const bool failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_true(serves(h));
        hx_free(h);
        if (!failed) {
            assert_true(nth > 30);
            return;
        }
    }
    fail_msg("the run never came to its end");
}

static void test_one_worker(void **state)
{
    (void)state;
    loop(1);
}

static void test_two_workers(void **state)
{
    (void)state;
    loop(2);
}

static void test_set_up(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 1000; nth++) {
        flx_alloc_fail_nth(nth);
        hx *h = hx_new(&(hx_options){.workers = 2});
        const bool failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        if (h != NULL) {
            hx_free(h);
        }
        if (!failed) {
            return;
        }
    }
    fail_msg("the set-up never came to its end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_worker),
                                       cmocka_unit_test(test_two_workers),
                                       cmocka_unit_test(test_set_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
