/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing to a broker: order, offsets, bounds, refusals, loss. Each callback comes exactly once. */
#include "rig.h"

#include <stdatomic.h>

typedef struct tally {
    _Atomic uint32_t ok, unknown, other;
    _Atomic uint64_t last_offset;
    _Atomic int last_status;
    flx_publisher *free_me; /* freed by the first callback */
} tally;

static void tell(void *arg, const flx_publish_result *result)
{
    tally *t = arg;
    t->last_status = result->status;
    if (result->has_offset)
        t->last_offset = result->offset;
    if (result->status == FLX_OK)
        t->ok++;
    else if (result->status == FLX_ERR_UNKNOWN_OUTCOME)
        t->unknown++;
    else
        t->other++;
    assert_true((result->status == FLX_OK) == (result->error == NULL));
    flx_publisher *publisher = t->free_me;
    t->free_me = NULL; /* freeing it calls back here for the rest */
    publisher = flx_publisher_free(publisher);
}

static uint32_t told(const tally *t)
{
    return t->ok + t->unknown + t->other;
}

static void one_and_wait(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_publisher *publisher;
    uint64_t offset;
    RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publisher, err));
    for (uint64_t i = 0; i < 10; i++) {
        RIG_OK(flx_publisher_publish_wait(publisher, NULL, flx_slice_of("hello"), RIG_WAIT_MS,
                                          &offset, err));
        assert_int_equal(offset, i);
    }
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

/* Messages share frames, keep their order, and each learns its own offset. */
static void many_with_callbacks(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_publisher *publisher;
    tally t = {0};
    const flx_publisher_options options = {
        .struct_size = sizeof(options), .batch_count_max = 100, .block_ms = RIG_WAIT_MS};
    RIG_OK(flx_publisher_new(r.client, "demo", &options, &publisher, err));
    for (int i = 0; i < 20000; i++)
        RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("0123456789"), tell, &t, err));
    RIG_OK(flx_publisher_flush(publisher, RIG_WAIT_MS, err));
    assert_int_equal(t.ok, 20000);
    assert_int_equal(t.last_offset, 19999);
    const mock_counts counts = mock_broker_counts(r.broker);
    assert_int_equal(counts.records, 20000);
    assert_true(counts.publishes >= 200 && counts.publishes < 20000);
    flx_publisher_stats stats = {.struct_size = sizeof(stats)};
    flx_publisher_get_stats(publisher, &stats);
    assert_int_equal(stats.accepted, 20000);
    assert_int_equal(stats.acked, 20000);
    assert_int_equal(stats.inflight_bytes, 0);
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

/* linger_us holds a frame back until it is full, flushed or old enough. */
static void linger(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_publisher *publisher;
    tally t = {0};
    const flx_publisher_options options = {
        .struct_size = sizeof(options), .linger_us = 600000000, .batch_count_max = 10};
    RIG_OK(flx_publisher_new(r.client, "demo", &options, &publisher, err));
    for (int i = 0; i < 25; i++)
        RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), tell, &t, err));
    while (t.ok < 20)
        usleep(1000);
    RIG_OK(flx_publisher_flush(publisher, RIG_WAIT_MS, err));
    assert_int_equal(t.ok, 25);
    assert_int_equal(mock_broker_counts(r.broker).publishes, 3);
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

static void batches_and_keys(void **state)
{
    (void)state;
    const mock_rules rules = {.shards = 4};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_publisher *publisher;
    tally t = {0};
    const flx_slice key = flx_slice_of("\x02key");
    const flx_slice empty = {NULL, 0};
    const flx_slice three[] = {flx_slice_of("a"), flx_slice_of(""), flx_slice_of("c")};
    RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publisher, err));
    RIG_OK(flx_publisher_publish_batch(publisher, &key, three, 3, tell, &t, err));
    RIG_OK(flx_publisher_publish(publisher, &empty, flx_slice_of("d"), tell, &t, err));
    RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("e"), tell, &t, err));
    RIG_OK(flx_publisher_flush(publisher, RIG_WAIT_MS, err));
    assert_int_equal(t.ok, 3); /* the batch has one callback */
    const mock_counts counts = mock_broker_counts(r.broker);
    assert_int_equal(counts.records, 5);
    assert_int_equal(counts.publishes, 3); /* three keys, three frames */
    assert_int_equal(flx_publisher_publish_batch(publisher, NULL, three, 0, NULL, NULL, NULL),
                     FLX_ERR_INVALID);
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

static void ack_modes(void **state)
{
    (void)state;
    static const flx_acks modes[] = {FLX_ACKS_PER_BATCH, FLX_ACKS_PER_MESSAGE, FLX_ACKS_NONE};
    rig r = {0};
    rig_start_with(&r, NULL);
    for (size_t i = 0; i < 3; i++) {
        flx_publisher *publisher;
        tally t = {0};
        const uint32_t before = mock_broker_counts(r.broker).publishes;
        const flx_publisher_options options = {
            .struct_size = sizeof(options), .acks = modes[i], .linger_us = 600000000};
        RIG_OK(flx_publisher_new(r.client, "demo", &options, &publisher, err));
        for (int j = 0; j < 10; j++)
            RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), tell, &t, err));
        RIG_OK(flx_publisher_flush(publisher, RIG_WAIT_MS, err));
        assert_int_equal(t.ok, 10);
        publisher = flx_publisher_free(publisher);
        const mock_counts counts = mock_broker_counts(r.broker);
        assert_int_equal(counts.records,
                         10 * (i + 1)); /* flushed means arrived, without acks too */
        assert_int_equal(counts.publishes - before, modes[i] == FLX_ACKS_PER_MESSAGE ? 10 : 1);
    }
    rig_stop(&r);
}

static void bound_is_told(void **state)
{
    (void)state;
    const mock_rules silent = {.publish_silent = true};
    rig r = {0};
    rig_start_with(&r, &silent);
    flx_publisher *publisher;
    flx_status status = FLX_OK;
    tally t = {0};
    int taken = 0;
    const flx_publisher_options options = {.struct_size = sizeof(options),
                                           .inflight_bytes_max = 4096};
    RIG_OK(flx_publisher_new(r.client, "demo", &options, &publisher, err));
    while (status == FLX_OK && taken < 1000) {
        status = flx_publisher_publish(publisher, NULL, flx_slice_of("0123456789"), tell, &t, NULL);
        taken += status == FLX_OK;
    }
    assert_int_equal(status, FLX_ERR_AGAIN);
    assert_in_range(taken, 1, 4096 / 14);
    assert_int_equal(flx_publisher_flush(publisher, 20, NULL), FLX_ERR_TIMEOUT);
    publisher = flx_publisher_free(publisher);
    assert_int_equal(told(&t), (uint32_t)taken); /* sent or not, each once */
    assert_int_equal(t.ok, 0);
    rig_stop(&r);
}

/* The broker's window holds frames back; nothing is lost by it. */
static void small_window(void **state)
{
    (void)state;
    const mock_rules rules = {.publish_window = 2};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_publisher *publisher;
    tally t = {0};
    const flx_publisher_options options = {.struct_size = sizeof(options),
                                           .acks = FLX_ACKS_PER_MESSAGE,
                                           .block_ms = RIG_WAIT_MS,
                                           .inflight_batches_max = 50};
    RIG_OK(flx_publisher_new(r.client, "demo", &options, &publisher, err));
    for (int i = 0; i < 1000; i++)
        RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), tell, &t, err));
    RIG_OK(flx_publisher_flush(publisher, RIG_WAIT_MS, err));
    assert_int_equal(t.ok, 1000);
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

static void refusals(void **state)
{
    static const struct {
        const char *name;
        uint16_t code;
        uint32_t retry_timeout_ms;
        flx_status status;
    } rows[] = {
        {"forbidden is reported", 2, 0, FLX_ERR_DENIED},
        {"forbidden is not tried again", 2, RIG_WAIT_MS, FLX_ERR_DENIED},
        {"overload is reported", 10, 0, FLX_ERR_AGAIN},
        {"overload is tried again when asked", 10, RIG_WAIT_MS, FLX_OK},
        {"an unavailable shard too", 5, RIG_WAIT_MS, FLX_OK},
        {"an unknown outcome never is", 7, RIG_WAIT_MS, FLX_ERR_UNKNOWN_OUTCOME},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const mock_rules rules = {.publish_refused = 1, .refuse_code = rows[i].code};
        rig r = {0};
        rig_start_with(&r, &rules);
        flx_publisher *publisher;
        flx_error error = {0};
        const flx_publisher_options options = {.struct_size = sizeof(options),
                                               .retry_timeout_ms = rows[i].retry_timeout_ms};
        RIG_OK(flx_publisher_new(r.client, "demo", &options, &publisher, err));
        const flx_status status = flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"),
                                                             RIG_WAIT_MS, NULL, &error);
        if (status != rows[i].status)
            fail_msg("%s: %s: %s", rows[i].name, flx_status_name(status), error.message);
        assert_int_equal(error.code, status == FLX_OK ? 0 : rows[i].code);
        publisher = flx_publisher_free(publisher);
        rig_stop(&r);
    }
}

/* What was sent and not answered is unknown and is not sent again; what had not left goes on. */
static void lost_connection(void **state)
{
    (void)state;
    const mock_rules silent = {.publish_silent = true};
    const mock_rules good = {0};
    rig r = {0};
    rig_start_with(&r, &silent);
    flx_publisher *publisher;
    tally t = {0};
    RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publisher, err));
    for (int i = 0; i < 3; i++)
        RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), tell, &t, err));
    while (mock_broker_counts(r.broker).records < 3)
        usleep(1000);
    mock_broker_set(r.broker, &good);
    mock_broker_kick(r.broker);
    while (t.unknown < 3)
        usleep(1000); /* what leaves before the loss is noticed would be unknown as well */
    RIG_OK(flx_publisher_publish_wait(publisher, NULL, flx_slice_of("y"), RIG_WAIT_MS, NULL, err));
    assert_int_equal(t.unknown, 3);
    assert_int_equal(mock_broker_counts(r.broker).records, 4);
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

static void not_offered(void **state)
{
    (void)state;
    const mock_rules rules = {.flags_withheld = 0x0040};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_publisher *publisher;
    const flx_slice key = flx_slice_of("k");
    RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publisher, err));
    assert_int_equal(
        flx_publisher_publish_wait(publisher, &key, flx_slice_of("x"), RIG_WAIT_MS, NULL, NULL),
        FLX_ERR_UNSUPPORTED);
    RIG_OK(flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"), RIG_WAIT_MS, NULL, err));
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

/* Advice that makes no sense costs the advice and nothing else (README rule 13). */
static void placed_astray(void **state)
{
    (void)state;
    const mock_rules rules = {.operation_window = 16, .placement_astray = true};
    rig r = {0};
    rig_start_with(&r, &rules);
    flx_publisher *publisher;
    RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publisher, err));
    RIG_OK(flx_publisher_publish_wait(publisher, NULL, flx_slice_of("x"), RIG_WAIT_MS, NULL, err));
    assert_int_equal(mock_broker_counts(r.broker).operation_frames, 1); /* it was asked */
    publisher = flx_publisher_free(publisher);
    rig_stop(&r);
}

/* A callback frees its own publisher: its other callbacks still come, before free returns. */
static void free_in_callback(void **state)
{
    (void)state;
    rig r = {0};
    rig_start_with(&r, NULL);
    flx_publisher *publisher;
    const flx_publisher_options options = {.struct_size = sizeof(options), .linger_us = 600000000};
    RIG_OK(flx_publisher_new(r.client, "demo", &options, &publisher, err));
    tally t = {.free_me = publisher};
    for (int i = 0; i < 100; i++)
        RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), tell, &t, err));
    (void)flx_publisher_flush(publisher, 0, NULL);
    while (told(&t) < 100)
        usleep(1000);
    assert_int_equal(t.ok, 100);
    rig_stop(&r);
}

/* The client goes first: everything owed is called back, and the handle is freed after it. */
static void client_freed_first(void **state)
{
    (void)state;
    const mock_rules silent = {.publish_silent = true};
    rig r = {0};
    rig_start_with(&r, &silent);
    flx_publisher *publisher;
    tally t = {0};
    RIG_OK(flx_publisher_new(r.client, "demo", NULL, &publisher, err));
    for (int i = 0; i < 5; i++)
        RIG_OK(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), tell, &t, err));
    r.client = flx_client_free(r.client);
    assert_int_equal(told(&t), 5);
    assert_int_equal(flx_publisher_publish(publisher, NULL, flx_slice_of("x"), tell, &t, NULL),
                     FLX_ERR_CLOSED);
    publisher = flx_publisher_free(publisher);
    mock_broker_stop(r.broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_and_wait),
        cmocka_unit_test(many_with_callbacks),
        cmocka_unit_test(linger),
        cmocka_unit_test(batches_and_keys),
        cmocka_unit_test(ack_modes),
        cmocka_unit_test(bound_is_told),
        cmocka_unit_test(small_window),
        cmocka_unit_test(refusals),
        cmocka_unit_test(lost_connection),
        cmocka_unit_test(not_offered),
        cmocka_unit_test(placed_astray),
        cmocka_unit_test(free_in_callback),
        cmocka_unit_test(client_freed_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
