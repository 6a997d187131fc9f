/* SPDX-License-Identifier: Apache-2.0 */
/* Coming up, being refused, going away: the client itself, in its three ways to run. */
#include "common/alloc.h"
#include "rig.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>

static void connects(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    assert_int_equal(flx_client_get_state(r.client), FLX_CLIENT_CONNECTED);
    flx_server_info info = {.struct_size = sizeof(info)};
    flx_client_server_info(r.client, &info);
    assert_int_equal(info.publish_window, 64);
    assert_int_equal(info.connects, 1);
    assert_string_equal(info.peer, mock_broker_address(r.broker));
    assert_int_equal(flx_client_fd(r.client), -1);
    rig_stop(&r);
}

/* A name is looked up beside the loop; what does not answer is passed over. */
static void addresses_are_tried_in_turn(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    char addresses[128];
    const char *port = strchr(mock_broker_address(r.broker), ':');
    (void)snprintf(addresses, sizeof(addresses), "no-such-host.invalid:1, localhost%s, 127.0.0.1%s",
                   port, port);
    flx_client_options options = rig_options(&r);
    options.addresses = addresses;
    options.connect_timeout_ms = 2000;
    RIG_OK(flx_client_connect(&options, RIG_WAIT_MS, &r.client, err));
    rig_stop(&r);
}

static void refused(void **state)
{
    (void)state;
    const mock_rules rules = {.auth_refused = true};
    rig r = {.broker = mock_broker_start()};
    flx_error error;
    mock_broker_set(r.broker, &rules);
    const flx_client_options options = rig_options(&r);
    /* At once, whatever the timeout. */
    assert_int_equal(flx_client_connect(&options, FLX_WAIT_FOREVER, &r.client, &error),
                     FLX_ERR_UNAUTHENTICATED);
    assert_int_equal(error.code, 1);
    assert_int_equal(error.retry, FLX_RETRY_FATAL);
    mock_broker_stop(r.broker);
}

/* Another CA: the certificate is not trusted, and no setting turns that off. */
static void not_trusted(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    mock_broker *other = mock_broker_start();
    flx_client_options options = rig_options(&r);
    flx_error error;
    options.ca_file = mock_broker_ca_file(other);
    const flx_status status = flx_client_connect(&options, 3000, &r.client, &error);
    if (status != FLX_ERR_UNTRUSTED)
        fail_msg("%s: %s", flx_status_name(status), error.message);
    mock_broker_stop(other);
    mock_broker_stop(r.broker);
}

static void nobody_there(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    flx_client_options options = rig_options(&r);
    flx_error error;
    options.addresses = "127.0.0.1:9"; /* discard: nobody speaks QUIC there */
    assert_int_equal(flx_client_connect(&options, 50, &r.client, &error), FLX_ERR_UNAVAILABLE);
    assert_non_null(strstr(error.message, "127.0.0.1:9"));
    mock_broker_stop(r.broker);
}

static void wrong_options(void **state)
{
    static const struct {
        const char *name, *addresses, *tenant, *cert_file;
    } rows[] = {
        {"no address", NULL, "t1", NULL},           {"an empty one", "", "t1", NULL},
        {"no tenant", "127.0.0.1", NULL, NULL},     {"a bad port", "127.0.0.1:x", "t1", NULL},
        {"a cert, no key", "127.0.0.1", "t1", "c"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
        flx_client *client;
        options.addresses = rows[i].addresses;
        options.tenant = rows[i].tenant;
        options.cert_file = rows[i].cert_file;
        if (flx_client_new(&options, &client, NULL) != FLX_ERR_INVALID)
            fail_msg("%s was accepted", rows[i].name);
    }
}

static void pool(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    flx_client_options options = rig_options(&r);
    flx_publisher *publishers[6];
    options.connections = 3;
    RIG_OK(flx_client_connect(&options, RIG_WAIT_MS, &r.client, err));
    for (size_t i = 0; i < 6; i++) {
        RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publishers[i], err));
        RIG_OK(flx_publisher_publish_wait(publishers[i], NULL, flx_slice_of("x"), RIG_WAIT_MS, NULL,
                                          err));
    }
    assert_int_equal(mock_broker_counts(r.broker).connections, 3);
    for (size_t i = 0; i < 6; i++)
        publishers[i] = flx_publisher_free(publishers[i]);
    rig_stop(&r);
}

typedef struct watcher {
    _Atomic int connected, waiting, closed;
    flx_client *free_me;
} watcher;

static void watch(void *arg, flx_client_state now, const flx_error *error)
{
    watcher *w = arg;
    w->connected += now == FLX_CLIENT_CONNECTED;
    w->waiting += now == FLX_CLIENT_WAITING;
    assert_true((now == FLX_CLIENT_WAITING) == (error != NULL));
    if (now == FLX_CLIENT_CONNECTED && w->free_me != NULL)
        w->free_me = flx_client_free(w->free_me);
    w->closed += now == FLX_CLIENT_CLOSED;
}

static void states(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    watcher w = {0};
    flx_client_options options = rig_options(&r);
    options.state_fn = watch;
    options.state_arg = &w;
    RIG_OK(flx_client_connect(&options, RIG_WAIT_MS, &r.client, err));
    mock_broker_kick(r.broker);
    while (w.connected < 2)
        usleep(1000);
    assert_true(w.waiting >= 1);
    r.client = flx_client_free(r.client);
    assert_int_equal(w.closed, 1);
    mock_broker_stop(r.broker);
}

static void freed_in_its_callback(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    watcher w = {0};
    flx_client_options options = rig_options(&r);
    options.state_fn = watch;
    options.state_arg = &w;
    options.foreign_loop = true; /* so that the test knows when it is over */
    RIG_OK(flx_client_new(&options, &w.free_me, err));
    flx_client *client = w.free_me;
    while (w.closed == 0)
        (void)flx_client_process(client, NULL);
    mock_broker_stop(r.broker);
}

/* ---- a foreign loop ---- */

static void run_until(flx_client *client, const _Atomic int *done)
{
    while (*done == 0) {
        struct pollfd fd = {.fd = flx_client_fd(client), .events = POLLIN};
        const int64_t us = flx_client_next_timeout_us(client);
        (void)poll(&fd, 1, us == INT64_MAX ? 1000 : (int)((us + 999) / 1000));
        RIG_OK(flx_client_process(client, err));
    }
}

typedef struct once {
    _Atomic int done;
    flx_status status;
    flx_client *client;
} once;

static void published(void *arg, const flx_publish_result *result)
{
    once *o = arg;
    flx_error error;
    o->status = result->status;
    /* A waiting call from a callback would wait for itself. */
    assert_int_equal(flx_client_wait_connected(o->client, 10, &error), FLX_ERR_INVALID);
    o->done = 1;
}

static void foreign_loop(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    flx_client_options options = rig_options(&r);
    flx_publisher *publisher;
    flx_subscriber *subscriber;
    options.foreign_loop = true;
    RIG_OK(flx_client_new(&options, &r.client, err));
    once o = {.client = r.client};
    flx_subscriber_options from = FLX_SUBSCRIBER_OPTIONS_INIT;
    from.from = FLX_FROM_EARLIEST;
    RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publisher, err));
    RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("m"), published, &o, err));
    run_until(r.client, &o.done);
    assert_int_equal(o.status, FLX_OK);

    /* Waiting calls drive the same loop. */
    RIG_OK(flx_subscriber_new(r.client, "demo", &from, &subscriber, err));
    rig_expect(subscriber, 0, "m");
    RIG_OK(flx_publisher_publish_wait(publisher, NULL, flx_slice_of("n"), RIG_WAIT_MS, NULL, err));
    rig_expect(subscriber, 1, "n");
    subscriber = flx_subscriber_free(subscriber);
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

/* Freeing does not wait for anybody: not for a handshake, not for a name server. */
static void freed_while_connecting(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:9", "no-such-host.invalid:1"};
    (void)state;
    rig r = {.broker = mock_broker_start()};
    for (size_t i = 0; i < 2; i++) {
        flx_client_options options = rig_options(&r);
        options.addresses = addresses[i];
        RIG_OK(flx_client_new(&options, &r.client, err));
        r.client = flx_client_free(r.client);
    }
    mock_broker_stop(r.broker);
}

/* Out of memory anywhere in making a client is an error, not a crash or a leak. */
static void out_of_memory(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    flx_client_options options = rig_options(&r);
    options.foreign_loop = true; /* everything on this thread, so the count is stable */
    for (uint64_t nth = 1; nth < 10000; nth++) {
        r.client = NULL;
        flx_alloc_fail_nth(nth);
        const flx_status status = flx_client_new(&options, &r.client, NULL);
        const bool failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_true(status == FLX_OK || (failed && status == FLX_ERR_NOMEM));
        r.client = flx_client_free(r.client);
        if (!failed)
            break;
    }
    mock_broker_stop(r.broker);
}

static size_t give_token(void *arg, char *buffer, size_t cap)
{
    _Atomic int *calls = arg;
    (*calls)++;
    assert_true(cap > 3);
    memcpy(buffer, "tok", 3);
    return 3;
}

static void token_function(void **state)
{
    (void)state;
    rig r = {.broker = mock_broker_start()};
    _Atomic int calls = 0;
    flx_client_options options = rig_options(&r);
    options.token = NULL;
    options.token_fn = give_token;
    options.token_arg = &calls;
    RIG_OK(flx_client_connect(&options, RIG_WAIT_MS, &r.client, err));
    assert_true(calls >= 1);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects),
        cmocka_unit_test(addresses_are_tried_in_turn),
        cmocka_unit_test(refused),
        cmocka_unit_test(not_trusted),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(pool),
        cmocka_unit_test(states),
        cmocka_unit_test(freed_in_its_callback),
        cmocka_unit_test(foreign_loop),
        cmocka_unit_test(freed_while_connecting),
        cmocka_unit_test(token_function),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
