/* SPDX-License-Identifier: Apache-2.0 */
/* The in-process raw protocol suite of docs/spec/conformance.md 1 and 2, step by step. */
#include "broker_harness.h"
#include "unit.h"

static void test_legacy_auth_is_answered_ok(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_json(s, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\"}", hx_token(h));
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s), "{\"type\":\"ok\"}");
    hx_free(h);
}

static void test_subscribe_then_publish(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *s = hx_open(conn, true);
    hx_auth(s);
    hx_json(s, "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
               "\"stream\":\"demo\"}");
    hx_fin(s);
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s), "{\"type\":\"subscribed\",\"subscription_id\":1}");
    assert_true(hx_is_finished(s));
    hx_stream *events = hx_accept(conn);
    assert_non_null(events);
    assert_string_equal(hx_read_json(events),
                        "{\"type\":\"event_stream_hello\",\"subscription_id\":1}");

    hx_stream *p = hx_open(conn, true);
    hx_auth(p);
    hx_json(p, "{\"type\":\"publish\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":"
               "\"demo\",\"payload\":\"YWxwaGE=\",\"request_id\":1,\"ack\":\"per_message\"}");
    hx_json(p, "{\"type\":\"publish\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"stream\":"
               "\"demo\",\"payload\":\"YmV0YQ==\",\"request_id\":2,\"ack\":\"per_message\"}");
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(p), "{\"type\":\"publish_ok\",\"request_id\":1}");
    assert_string_equal(hx_read_json(p), "{\"type\":\"publish_ok\",\"request_id\":2}");
    assert_string_equal(hx_next_event(events).text, "alpha");
    assert_string_equal(hx_next_event(events).text, "beta");
    assert_false(hx_next_event(events).is_event);
    hx_free(h);
}

static void test_cache_put_get_expire(void **state)
{
    (void)state;
    static const char get[] = "{\"type\":\"cache_get\",\"tenant_id\":\"t1\",\"namespace\":"
                              "\"default\",\"cache\":\"primary\",\"key\":\"k\"}";
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_auth(s);
    hx_json(s, "{\"type\":\"cache_put\",\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":"
               "\"primary\",\"key\":\"k\",\"value\":\"Y2FjaGVk\",\"ttl_ms\":100}");
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s), "{\"type\":\"ok\"}");
    hx_json(s, "%s", get);
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s),
                        "{\"type\":\"cache_value\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                        "\"cache\":\"primary\",\"key\":\"k\",\"value\":\"Y2FjaGVk\"}");
    hx_advance_ms(h, 150);
    hx_json(s, "%s", get);
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s),
                        "{\"type\":\"cache_value\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                        "\"cache\":\"primary\",\"key\":\"k\",\"value\":null}");
    hx_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_legacy_auth_is_answered_ok),
        cmocka_unit_test(test_subscribe_then_publish),
        cmocka_unit_test(test_cache_put_get_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
