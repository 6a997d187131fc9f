/* SPDX-License-Identifier: Apache-2.0 */
/* The pending frames of a publisher: how they fill, leave, end, and what the bounds say. */
#include "client/pending.h"
#include "common/alloc.h"
#include "unit.h"
#include "wire/frame.h"
#include "wire/records.h"

static flx_pending_options defaults(void)
{
    return (flx_pending_options){.tenant = flx_slice_of("t1"),
                                 .namespace_ = flx_slice_of("default"),
                                 .stream = flx_slice_of("demo"),
                                 .batch_count_max = 10,
                                 .batch_bytes_max = 1000,
                                 .inflight_bytes_max = 100000,
                                 .inflight_count_max = 100,
                                 .inflight_batches_max = 8};
}

static flx_pending make(flx_pending_options options)
{
    flx_pending pending;
    assert_int_equal(flx_pending_init(&pending, &options, NULL), FLX_OK);
    return pending;
}

static void ignore(void *arg, const flx_publish_result *result)
{
    (void)arg;
    (void)result;
}

static size_t end(flx_pending *pending, uint64_t id)
{
    flx_pending_done dones[4];
    size_t total = 0;
    flx_pending_end(pending, id);
    for (size_t count = 1; count > 0; total += count)
        count = flx_pending_take_dones(pending, id, dones, 4);
    return total;
}

static void end_all(flx_pending *pending)
{
    while (pending->first < pending->next)
        (void)end(pending, pending->first);
    flx_pending_done_all(pending);
}

static flx_status add(flx_pending *pending, const char *payload)
{
    return flx_pending_add(pending, NULL, flx_slice_of(payload), ignore, NULL, 1, NULL);
}

/* What is taken is exactly what the wire wants. */
static void frames_are_whole(void **state)
{
    (void)state;
    flx_pending pending = make(defaults());
    const flx_slice key = flx_slice_of("k7");
    flx_range range;
    uint64_t id;
    assert_int_equal(flx_pending_add(&pending, &key, flx_slice_of("hello"), NULL, NULL, 1, NULL),
                     FLX_OK);
    assert_int_equal(flx_pending_add(&pending, &key, flx_slice_of(""), NULL, NULL, 1, NULL),
                     FLX_OK);
    assert_false(flx_pending_take(&pending, 1, &range, &id)); /* still open */
    flx_pending_seal(&pending);
    assert_true(flx_pending_take(&pending, 1, &range, &id));

    const flx_slice bytes = flx_range_slice(&range);
    flx_frame_header header;
    flx_publish publish;
    assert_int_equal(flx_frame_header_decode(bytes, FLX_FRAME_BYTES_MAX, &header),
                     FLX_FRAME_CHECK_OK);
    assert_int_equal(header.len, bytes.len - FLX_FRAME_HEADER_BYTES);
    const flx_slice payload = {bytes.ptr + FLX_FRAME_HEADER_BYTES, header.len};
    assert_int_equal(flx_publish_decode(header.flags, payload, &publish, NULL), FLX_OK);
    assert_int_equal(publish.request_id, id);
    assert_int_equal(publish.count, 2);
    assert_int_equal(publish.ack, FLX_ACK_PER_BATCH);
    assert_int_equal(publish.key.len, 2);
    assert_memory_equal(publish.stream.ptr, "demo", 4);
    (void)flx_chunk_unref(range.chunk);
    end_all(&pending);
}

static void frames_close_when_full(void **state)
{
    (void)state;
    flx_pending pending = make(defaults());
    const flx_slice keys[] = {flx_slice_of("a"), flx_slice_of("b")};
    for (int i = 0; i < 10; i++)
        assert_int_equal(add(&pending, "x"), FLX_OK);
    assert_true(flx_pending_has_unsent(&pending)); /* ten is full */
    assert_int_equal(pending.next, 2);
    for (size_t i = 0; i < 4; i++) /* another key, another frame */
        assert_int_equal(
            flx_pending_add(&pending, &keys[i / 2], flx_slice_of("x"), NULL, NULL, 1, NULL),
            FLX_OK);
    assert_int_equal(pending.next, 4);
    assert_int_equal(add(&pending, "unkeyed"), FLX_OK);
    assert_int_equal(pending.next, 5);
    end_all(&pending);
}

static void bounds(void **state)
{
    static char large[1200];
    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    flx_pending_options options = defaults();
    options.batch_count_max = 1;
    flx_pending pending = make(options);
    for (int i = 0; i < 8; i++)
        assert_int_equal(add(&pending, "x"), FLX_OK);
    assert_int_equal(add(&pending, "x"), FLX_ERR_AGAIN); /* frames */
    assert_int_equal(end(&pending, 3), 1);               /* in the middle: no room yet */
    assert_int_equal(add(&pending, "x"), FLX_ERR_AGAIN);
    assert_int_equal(end(&pending, 1), 1);
    assert_int_equal(add(&pending, "x"), FLX_OK);
    end_all(&pending);

    options = defaults();
    options.inflight_bytes_max = 1000;
    pending = make(options);
    assert_int_equal(add(&pending, large), FLX_OK); /* alone it may be larger than the bound */
    assert_int_equal(add(&pending, "x"), FLX_ERR_AGAIN);
    end_all(&pending);

    options = defaults();
    options.inflight_count_max = 3;
    pending = make(options);
    for (int i = 0; i < 3; i++)
        assert_int_equal(add(&pending, "x"), FLX_OK);
    assert_int_equal(add(&pending, "x"), FLX_ERR_AGAIN); /* callbacks */
    assert_int_equal(flx_pending_add(&pending, NULL, flx_slice_of("x"), NULL, NULL, 1, NULL),
                     FLX_OK);
    end_all(&pending);
}

static void too_large(void **state)
{
    (void)state;
    flx_pending pending = make(defaults());
    const flx_slice huge = {(const uint8_t *)"", FLX_FRAME_BYTES_MAX + 1U};
    const flx_slice long_key = {(const uint8_t *)"", 65536};
    assert_int_equal(flx_pending_add(&pending, NULL, huge, NULL, NULL, 1, NULL), FLX_ERR_TOO_LARGE);
    assert_int_equal(flx_pending_add(&pending, &long_key, flx_slice_of("x"), NULL, NULL, 1, NULL),
                     FLX_ERR_TOO_LARGE);
    const flx_slice two[] = {{(const uint8_t *)"", FLX_FRAME_BYTES_MAX / 2},
                             {(const uint8_t *)"", FLX_FRAME_BYTES_MAX / 2}};
    assert_int_equal(flx_pending_add_batch(&pending, NULL, two, 2, NULL, NULL, 1, NULL),
                     FLX_ERR_TOO_LARGE);
    end_all(&pending);
}

/* A refused frame is sent again, the same bytes under the same id, when its time has come. */
static void refused_and_again(void **state)
{
    (void)state;
    flx_pending_options options = defaults();
    options.keep_sent = true;
    flx_pending pending = make(options);
    flx_range first;
    flx_range again;
    uint64_t id;
    uint64_t id_again;
    assert_int_equal(add(&pending, "x"), FLX_OK);
    flx_pending_seal(&pending);
    assert_true(flx_pending_take(&pending, 1, &first, &id));
    assert_non_null(flx_pending_find_sent(&pending, id));
    flx_pending_refuse(&pending, id, 100);
    assert_null(flx_pending_find_sent(&pending, id));
    assert_int_equal(flx_pending_retry_due_ns(&pending), 100);
    assert_false(flx_pending_take_retry(&pending, 99, &again, &id_again));
    assert_true(flx_pending_take_retry(&pending, 100, &again, &id_again));
    assert_int_equal(id, id_again);
    assert_ptr_equal(first.chunk, again.chunk);
    assert_int_equal(first.start, again.start);
    (void)flx_chunk_unref(first.chunk);
    (void)flx_chunk_unref(again.chunk);
    end_all(&pending);
}

static void given_back(void **state)
{
    (void)state;
    flx_pending pending = make(defaults());
    flx_range ranges[2];
    uint64_t ids[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(add(&pending, "x"), FLX_OK);
        flx_pending_seal(&pending);
        assert_true(flx_pending_take(&pending, 1, &ranges[i], &ids[i]));
    }
    flx_pending_untake(&pending, ids[1], ranges[1]);
    flx_pending_untake(&pending, ids[0], ranges[0]);
    assert_int_equal(pending.sent_count, 0);
    uint64_t id;
    assert_true(flx_pending_take(&pending, 1, &ranges[0], &id));
    assert_int_equal(id, ids[0]); /* in order again */
    (void)flx_chunk_unref(ranges[0].chunk);
    end_all(&pending);
}

/* Under way it allocates nothing: chunks that came back are written again. */
static void steady_state_allocates_nothing(void **state)
{
    (void)state;
    flx_pending_options options = defaults();
    options.inflight_bytes_max = 1U << 20;
    flx_pending pending = make(options);
    static uint8_t bytes[10000];
    uint64_t before = 0;
    for (int i = 0; i < 1000; i++) {
        flx_range range;
        uint64_t id;
        const flx_slice payload = {bytes, sizeof(bytes)};
        if (i == 100)
            before = flx_alloc_count();
        assert_int_equal(flx_pending_add(&pending, NULL, payload, ignore, NULL, 1, NULL), FLX_OK);
        flx_pending_seal(&pending);
        assert_true(flx_pending_take(&pending, 1, &range, &id));
        (void)flx_chunk_unref(range.chunk); /* the transport: sent and acknowledged */
        assert_int_equal(end(&pending, id), 1);
    }
    assert_int_equal(flx_alloc_count(), before);
    end_all(&pending);
}

static void out_of_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        const flx_pending_options options = defaults();
        const flx_slice key = flx_slice_of("key");
        flx_pending pending;
        flx_alloc_fail_nth(nth);
        flx_status status = flx_pending_init(&pending, &options, NULL);
        const bool made = status == FLX_OK;
        if (made)
            status = flx_pending_add(&pending, &key, flx_slice_of("x"), ignore, NULL, 1, NULL);
        const bool failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        if (made) {
            /* Nothing was taken, and it goes on. */
            assert_int_equal(pending.next, failed ? 1 : 2);
            assert_int_equal(add(&pending, "y"), FLX_OK);
            end_all(&pending);
        } else {
            flx_pending_done_all(&pending);
        }
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_whole),
        cmocka_unit_test(frames_close_when_full),
        cmocka_unit_test(bounds),
        cmocka_unit_test(too_large),
        cmocka_unit_test(refused_and_again),
        cmocka_unit_test(given_back),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
