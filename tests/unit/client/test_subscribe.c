/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribing: starts, shards, both ways to take messages, and every way to go on after a loss. */
#include "rig.h"
#include "wire/flags.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>

static flx_subscriber *subscribe(rig *r, flx_from from, uint64_t offset)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_subscriber *subscriber = NULL;
    options.from = from;
    options.offset = offset;
    RIG_OK(flx_subscriber_new(r->client, "demo", &options, &subscriber, err));
    RIG_OK(flx_subscriber_wait(subscriber, RIG_WAIT_MS, err));
    return subscriber;
}

static void append(rig *r, unsigned first, unsigned end)
{
    char text[16];
    for (; first < end; first++) {
        (void)snprintf(text, sizeof(text), "m%u", first);
        mock_broker_append(r->broker, "demo", 0, text);
    }
}

static void expect(flx_subscriber *subscriber, unsigned first, unsigned end)
{
    char text[16];
    for (; first < end; first++) {
        (void)snprintf(text, sizeof(text), "m%u", first);
        rig_expect(subscriber, first, text);
    }
}

static void starts(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 10);
    flx_subscriber *latest = subscribe(&r, FLX_FROM_LATEST, 0);
    flx_subscriber *earliest = subscribe(&r, FLX_FROM_EARLIEST, 0);
    flx_subscriber *offset = subscribe(&r, FLX_FROM_OFFSET, 7);
    append(&r, 10, 12);
    expect(latest, 10, 12);
    expect(earliest, 0, 12);
    expect(offset, 7, 12);
    uint64_t position = 0;
    assert_true(flx_subscriber_position(offset, 0, &position));
    assert_int_equal(position, 12);
    flx_message message;
    assert_int_equal(flx_subscriber_receive(offset, 0, &message, NULL), FLX_ERR_AGAIN);
    latest = flx_subscriber_free(latest);
    earliest = flx_subscriber_free(earliest);
    offset = flx_subscriber_free(offset);
    rig_stop(&r);
}

static flx_subscriber *subscribe_at_time(rig *r, uint64_t time_us)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_subscriber *subscriber = NULL;
    options.from = FLX_FROM_TIME;
    options.time_us = time_us;
    RIG_OK(flx_subscriber_new(r->client, "demo", &options, &subscriber, err));
    RIG_OK(flx_subscriber_wait(subscriber, RIG_WAIT_MS, err));
    return subscriber;
}

/* The record at offset n of the mock has the time n. */
static void starts_at_a_time(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, &(mock_rules){.tells_start = true});
    append(&r, 0, 10);
    flx_subscriber *found = subscribe_at_time(&r, 7);
    flx_subscriber *later = subscribe_at_time(&r, 11);
    assert_int_equal(mock_broker_counts(r.broker).time_questions, 1 + 2);
    append(&r, 10, 13);
    expect(found, 7, 13);
    expect(later, 10, 13); /* the tail: what came after nothing was found */
    found = flx_subscriber_free(found);
    later = flx_subscriber_free(later);
    rig_stop(&r);
}

/* What comes between "nothing is that late" and the subscription is not lost. */
static void a_time_that_comes_while_asking(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, &(mock_rules){.tells_start = true, .late_record = true});
    append(&r, 0, 10);
    flx_subscriber *subscriber = subscribe_at_time(&r, 10);
    rig_expect(subscriber, 10, "late");
    append(&r, 11, 13);
    expect(subscriber, 11, 13);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

/* Who waits no longer is told what the subscriber is still being refused with. */
static void a_wait_in_vain_says_why(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, &(mock_rules){.stream_unknown = true});
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_subscriber *subscriber = NULL;
    flx_error error = {0};
    options.shard = 0;
    options.not_found_ms = 10 * RIG_WAIT_MS;
    RIG_OK(flx_subscriber_new(r.client, "demo", &options, &subscriber, err));
    while (mock_broker_counts(r.broker).subscribes < 2) /* the first refusal was read by then */
        (void)poll(NULL, 0, 1);
    assert_int_equal(flx_subscriber_wait(subscriber, 1, &error), FLX_ERR_TIMEOUT);
    assert_non_null(strstr(error.message, "no such stream"));
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void a_time_without_a_broker_that_finds_it(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, &(mock_rules){.features_withheld = FLX_FEATURE_RECORD_TIMESTAMPS});
    append(&r, 0, 3);
    flx_subscriber *subscriber = subscribe_at_time(&r, 2);
    expect(subscriber, 0, 3);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void all_shards(void **state)
{
    (void)state;
    const mock_rules rules = {.shards = 4};
    rig r = {0};
    rig_start_with(&r, &rules);
    uint32_t shards = 0;
    RIG_OK(flx_client_stream_shards(r.client, "demo", RIG_WAIT_MS, &shards, err));
    assert_int_equal(shards, 4);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_LATEST, 0);
    for (uint32_t i = 0; i < 4; i++)
        mock_broker_append(r.broker, "demo", i, "x");
    bool seen[4] = {false};
    for (int i = 0; i < 4; i++) {
        flx_message message;
        RIG_OK(flx_subscriber_receive(subscriber, RIG_WAIT_MS, &message, err));
        assert_int_equal(message.offset, 0);
        seen[message.shard] = true;
        flx_message_release(&message);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

/* A connection that comes and goes loses and repeats nothing. */
static void resumes_where_it_was(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_EARLIEST, 0);
    for (unsigned i = 0; i < 10; i++) {
        append(&r, i * 10, i * 10 + 5);
        expect(subscriber, i * 10, i * 10 + 5);
        mock_broker_kick(r.broker);
        append(&r, i * 10 + 5, i * 10 + 10);
        expect(subscriber, i * 10 + 5, i * 10 + 10);
    }
    flx_subscriber_stats stats = {.struct_size = sizeof(stats)};
    flx_subscriber_get_stats(subscriber, &stats);
    assert_int_equal(stats.received, 100);
    assert_int_equal(stats.gaps, 0);
    assert_true(stats.resumes >= 9); /* the last events may come before their `subscribed` */
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void too_old_is_a_gap(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 10);
    mock_broker_trim(r.broker, 4);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_OFFSET, 1);
    rig_expect_gap(subscriber, FLX_GAP_TOO_OLD, 1, 4);
    expect(subscriber, 4, 10);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void lagged_is_a_gap(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 5);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_EARLIEST, 0);
    expect(subscriber, 0, 5);
    mock_broker_skip(r.broker, 3);
    mock_broker_lag(r.broker, 8);
    append(&r, 8, 10);
    rig_expect_gap(subscriber, FLX_GAP_LAGGED, 5, 8);
    expect(subscriber, 8, 10);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void jump_is_a_gap(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 2);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_EARLIEST, 0);
    expect(subscriber, 0, 2);
    mock_broker_skip(r.broker, 5);
    append(&r, 7, 8);
    rig_expect_gap(subscriber, FLX_GAP_MISSING, 2, 7);
    expect(subscriber, 7, 8);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

/* The broker comes back with nothing: that is told, and it goes on live. */
static void forgotten_is_a_gap(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 5);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_EARLIEST, 0);
    expect(subscriber, 0, 5);
    mock_broker_forget(r.broker);
    mock_broker_kick(r.broker);
    rig_expect_gap(subscriber, FLX_GAP_RESET, 5, 0);
    while (mock_broker_counts(r.broker).subscribes < 3)
        usleep(1000);
    mock_broker_append(r.broker, "demo", 0, "new");
    rig_expect(subscriber, 0, "new");
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void endings(void **state)
{
    static const struct {
        const char *name;
        mock_rules rules;
        flx_from from;
        flx_status status;
    } rows[] = {
        {"an unknown stream", {.stream_unknown = true}, FLX_FROM_LATEST, FLX_ERR_NOT_FOUND},
        {"unknown, by its number of shards",
         {.stream_unknown = true, .features_withheld = 0x20},
         FLX_FROM_LATEST,
         FLX_ERR_NOT_FOUND},
        {"a start in the future", {0}, FLX_FROM_OFFSET, FLX_ERR_IN_FUTURE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig r = {0};
        rig_start_with(&r, &rows[i].rules);
        flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
        flx_subscriber *subscriber;
        flx_message message;
        flx_error error = {0};
        options.from = rows[i].from;
        options.offset = 99;
        options.not_found_ms = 20;
        RIG_OK(flx_subscriber_new(r.client, "demo", &options, &subscriber, err));
        const flx_status status = flx_subscriber_wait(subscriber, RIG_WAIT_MS, &error);
        if (status != rows[i].status)
            fail_msg("%s: %s: %s", rows[i].name, flx_status_name(status), error.message);
        assert_int_equal(flx_subscriber_receive(subscriber, RIG_WAIT_MS, &message, NULL), status);
        subscriber = flx_subscriber_free(subscriber);
        rig_stop(&r);
    }
}

typedef struct heard {
    _Atomic uint32_t count;
    _Atomic uint32_t ends;
    flx_message kept;
    flx_subscriber *free_me;
} heard;

static void hear(void *arg, const flx_message *message)
{
    heard *h = arg;
    if (h->count == 0)
        assert_int_equal(flx_message_keep(message, &h->kept, NULL), FLX_OK);
    h->count++;
    if (h->free_me != NULL && h->count == 3)
        h->free_me = flx_subscriber_free(h->free_me);
}

static void hear_end(void *arg, const flx_error *error)
{
    heard *h = arg;
    (void)error;
    h->ends++;
}

static flx_subscriber *listen_to(rig *r, heard *h)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_subscriber *subscriber = NULL;
    options.from = FLX_FROM_EARLIEST;
    options.message_fn = hear;
    options.end_fn = hear_end;
    options.arg = h;
    options.timestamps = true;
    options.publishers = true;
    RIG_OK(flx_subscriber_new(r->client, "demo", &options, &subscriber, err));
    return subscriber;
}

static void callbacks(void **state)
{
    (void)state;
    rig r = {0};
    heard h = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 100);
    flx_subscriber *subscriber = listen_to(&r, &h);
    while (h.count < 100)
        usleep(1000);
    subscriber = flx_subscriber_free(subscriber);
    rig_check_text(h.kept.payload, "m0"); /* kept messages outlive it */
    rig_check_text(h.kept.publisher, "tester");
    assert_int_equal(h.kept.timestamp_us, 1000000);
    flx_message_release(&h.kept);
    assert_int_equal(h.ends, 0); /* freed, not ended */
    rig_stop(&r);
}

static void free_in_its_callback(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 100);
    heard h = {0};
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    options.message_fn = hear;
    options.arg = &h;
    RIG_OK(flx_subscriber_new(r.client, "demo", &options, &h.free_me, err));
    RIG_OK(flx_subscriber_wait(h.free_me, RIG_WAIT_MS, err));
    append(&r, 100, 200);
    while (h.free_me != NULL)
        usleep(1000);
    flx_message_release(&h.kept);
    rig_stop(&r);
    assert_int_equal(h.count, 3);
}

static void client_freed_first(void **state)
{
    (void)state;
    rig r = {0};
    heard h = {0};
    rig_start_with(&r, NULL);
    append(&r, 0, 1);
    flx_subscriber *subscriber = listen_to(&r, &h);
    while (h.count < 1)
        usleep(1000);
    r.client = flx_client_free(r.client);
    assert_int_equal(h.ends, 1);
    assert_int_equal(flx_subscriber_wait(subscriber, 10, NULL), FLX_ERR_CLOSED);
    subscriber = flx_subscriber_free(subscriber);
    flx_message_release(&h.kept);
    mock_broker_stop(r.broker);
}

/* Nobody receives: the window holds the broker back, and nothing is lost. */
static void slow_reader_holds_the_broker_back(void **state)
{
    (void)state;
    static char large[20001];
    rig r = {0};
    r.broker = mock_broker_start();
    flx_client_options client_options = rig_options(&r);
    client_options.stream_window_bytes = 100000;
    RIG_OK(flx_client_connect(&client_options, RIG_WAIT_MS, &r.client, err));
    memset(large, 'x', sizeof(large) - 1);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_LATEST, 0);
    for (int i = 0; i < 100; i++)
        mock_broker_append(r.broker, "demo", 0, large);
    flx_subscriber_stats stats = {.struct_size = sizeof(stats)};
    do {
        usleep(1000);
        flx_subscriber_get_stats(subscriber, &stats);
    } while (stats.queue_bytes < 60000);
    assert_true(stats.queue_bytes <= 100000);
    for (uint64_t i = 0; i < 100; i++)
        rig_expect(subscriber, i, large);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

/* A frame larger than the window still arrives. */
static void frame_above_the_window(void **state)
{
    (void)state;
    const size_t len = 1000000;
    rig r = {0};
    r.broker = mock_broker_start();
    flx_client_options client_options = rig_options(&r);
    client_options.stream_window_bytes = 65536;
    RIG_OK(flx_client_connect(&client_options, RIG_WAIT_MS, &r.client, err));
    char *large = malloc(len + 1);
    memset(large, 'y', len);
    large[len] = '\0';
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_LATEST, 0);
    mock_broker_append(r.broker, "demo", 0, large);
    mock_broker_append(r.broker, "demo", 0, "small");
    rig_expect(subscriber, 0, large);
    rig_expect(subscriber, 1, "small");
    free(large);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void dropping_is_told(void **state)
{
    (void)state;
    const mock_rules rules = {.batch_max = 1};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_subscriber *subscriber;
    options.full = FLX_FULL_DROP;
    options.queue_bytes_max = 30; /* m0 .. m4 of six bytes each */
    RIG_OK(flx_subscriber_new(r.client, "demo", &options, &subscriber, err));
    RIG_OK(flx_subscriber_wait(subscriber, RIG_WAIT_MS, err));
    append(&r, 0, 9);
    /* A second subscriber has all nine when the first has seen or dropped them. */
    flx_subscriber *other = subscribe(&r, FLX_FROM_EARLIEST, 0);
    expect(other, 0, 9);
    expect(subscriber, 0, 5);
    append(&r, 9, 10);
    rig_expect_gap(subscriber, FLX_GAP_DROPPED, 5, 9);
    expect(subscriber, 9, 10);
    other = flx_subscriber_free(other);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void forms_of_events(void **state)
{
    static const struct {
        const char *name;
        mock_rules rules;
    } rows[] = {
        {"json", {.json_events = true}},
        {"ids of the broker's, told after the first events", {.own_ids = true}},
        {"one record a frame", {.batch_max = 1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig r = {0};
        rig_start_with(&r, &rows[i].rules);
        append(&r, 0, 200);
        flx_subscriber *subscriber = subscribe(&r, FLX_FROM_EARLIEST, 0);
        expect(subscriber, 0, 200);
        append(&r, 200, 210);
        expect(subscriber, 200, 210);
        subscriber = flx_subscriber_free(subscriber);
        rig_stop(&r);
    }
}

/* A broker that does not number messages: what a reconnect may have lost is told as unknown. */
static void without_offsets(void **state)
{
    (void)state;
    const mock_rules rules = {.no_offsets = true};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_LATEST, 0);
    flx_message message;
    append(&r, 0, 1);
    RIG_OK(flx_subscriber_receive(subscriber, RIG_WAIT_MS, &message, err));
    assert_false(message.has_offset);
    rig_check_text(message.payload, "m0");
    flx_message_release(&message);
    mock_broker_kick(r.broker);
    rig_expect_gap(subscriber, FLX_GAP_UNKNOWN, 0, 0);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void descriptor(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_LATEST, 0);
    struct pollfd fd = {.fd = flx_subscriber_fd(subscriber), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    append(&r, 0, 3);
    assert_int_equal(poll(&fd, 1, RIG_WAIT_MS), 1);
    expect(subscriber, 0, 3);
    assert_int_equal(poll(&fd, 1, 0), 0);
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
}

static void messages_outlive_the_subscriber(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_subscriber *subscriber = subscribe(&r, FLX_FROM_LATEST, 0);
    flx_message messages[8];
    size_t count = 0;
    append(&r, 0, 1);
    RIG_OK(flx_subscriber_receive_many(subscriber, RIG_WAIT_MS, messages, 8, &count, err));
    subscriber = flx_subscriber_free(subscriber);
    rig_stop(&r);
    assert_int_equal(count, 1);
    rig_check_text(messages[0].payload, "m0");
    flx_message_release(&messages[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts),
        cmocka_unit_test(starts_at_a_time),
        cmocka_unit_test(a_time_that_comes_while_asking),
        cmocka_unit_test(a_time_without_a_broker_that_finds_it),
        cmocka_unit_test(a_wait_in_vain_says_why),
        cmocka_unit_test(all_shards),
        cmocka_unit_test(resumes_where_it_was),
        cmocka_unit_test(too_old_is_a_gap),
        cmocka_unit_test(lagged_is_a_gap),
        cmocka_unit_test(jump_is_a_gap),
        cmocka_unit_test(forgotten_is_a_gap),
        cmocka_unit_test(endings),
        cmocka_unit_test(callbacks),
        cmocka_unit_test(free_in_its_callback),
        cmocka_unit_test(client_freed_first),
        cmocka_unit_test(slow_reader_holds_the_broker_back),
        cmocka_unit_test(frame_above_the_window),
        cmocka_unit_test(dropping_is_told),
        cmocka_unit_test(forms_of_events),
        cmocka_unit_test(without_offsets),
        cmocka_unit_test(descriptor),
        cmocka_unit_test(messages_outlive_the_subscriber),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
