/* SPDX-License-Identifier: Apache-2.0 */
/* The parts by themselves: feed, shard, producers, scratch, handles, placement. */
#include "broker/event.h"
#include "broker/handles_int.h"
#include "broker/producer.h"
#include "broker/scratch.h"
#include "broker/shard.h"
#include "broker/worker.h"
#include "common/alloc.h"
#include "unit.h"

static const flx_shard_bounds bounds = {
    .ring_frames = 100, .ring_bytes = 100000, .gather_events = 64, .gather_bytes = 65536};

static uint64_t append(flx_shard *shard, const char *region, size_t len, uint32_t count,
                       flx_chunk *publisher)
{
    uint64_t offset;
    const flx_batch batch = {
        .region = {(const uint8_t *)region, len}, .count = count, .publisher = publisher};
    assert_int_equal(flx_shard_append(shard, &batch, 1000, &offset), FLX_OK);
    return offset;
}

static void test_shard_gathers_and_seals(void **state)
{
    (void)state;
    flx_shard shard;
    flx_shard_init(&shard, &bounds);
    flx_shard_seal(&shard); /* nothing is open */
    assert_int_equal(append(&shard, "\0\0\0\1a", 5, 1, NULL), 0);
    assert_int_equal(append(&shard, "\0\0\0\1b\0\0\0\0", 9, 2, NULL), 1);
    assert_true(flx_feed_is_empty(&shard.feed));
    flx_shard_seal(&shard);
    const flx_sealed *frame = flx_feed_at(&shard.feed, 0);
    assert_int_equal(frame->count, 3);
    assert_true(frame->joined);
    static const uint8_t expected[] = "FLX1\0\1\0\x24\0\0\0\x1a\0\0\0\0\0\0\0\0\0\0\0\3"
                                      "\0\0\0\1a\0\0\0\1b\0\0\0\0";
    assert_int_equal(flx_sealed_bytes(frame), sizeof expected - 1);
    assert_memory_equal(frame->head.chunk->data + frame->head.start, expected, sizeof expected - 1);
    flx_shard_done(&shard);
}

static void test_frames_break_at_the_bounds(void **state)
{
    (void)state;
    flx_shard shard;
    flx_shard_bounds small = bounds;
    small.gather_events = 2;
    flx_shard_init(&shard, &small);
    for (int i = 0; i < 5; i++) {
        (void)append(&shard, "\0\0\0\1a", 5, 1, NULL);
    }
    flx_shard_seal(&shard);
    assert_int_equal(shard.feed.end, 3);
    flx_chunk *one = flx_chunk_new(3);
    flx_chunk *same = flx_chunk_new(3);
    flx_chunk *other = flx_chunk_new(3);
    one->len = same->len = other->len = 3;
    memcpy(one->data, "one", 3);
    memcpy(same->data, "one", 3);
    memcpy(other->data, "two", 3);
    (void)append(&shard, "\0\0\0\1a", 5, 1, one);
    (void)append(&shard, "\0\0\0\1a", 5, 1, same);
    (void)append(&shard, "\0\0\0\1a", 5, 1, other);
    flx_shard_seal(&shard);
    assert_int_equal(shard.feed.end, 5);
    flx_chunk_unref(one);
    flx_chunk_unref(same);
    flx_chunk_unref(other);
    flx_shard_done(&shard);
}

static void test_feed_keeps_its_bounds(void **state)
{
    (void)state;
    flx_shard shard;
    flx_shard_bounds small = bounds;
    small.ring_bytes = 10 * 29;
    flx_shard_init(&shard, &small);
    for (uint64_t i = 0; i < 25; i++) {
        assert_int_equal(append(&shard, "\0\0\0\1a", 5, 1, NULL), i);
        flx_shard_seal(&shard);
        assert_true(shard.feed.bytes <= small.ring_bytes);
    }
    assert_int_equal(flx_feed_oldest_offset(&shard.feed), 15);
    for (uint64_t offset = 15; offset <= 25; offset++) {
        assert_int_equal(flx_feed_find(&shard.feed, offset), offset);
    }
    uint64_t found;
    assert_int_equal(flx_shard_resolve(&shard, FLX_SHARD_START_OFFSET, 14, &found),
                     FLX_ERR_TOO_OLD);
    assert_int_equal(found, 15);
    assert_int_equal(flx_shard_resolve(&shard, FLX_SHARD_START_OFFSET, 26, &found),
                     FLX_ERR_IN_FUTURE);
    assert_int_equal(found, 25);
    assert_int_equal(flx_shard_resolve(&shard, FLX_SHARD_START_EARLIEST, 0, &found), FLX_OK);
    assert_int_equal(found, 15);
    assert_false(flx_shard_offset_for_time(&shard, 1001, &found));
    assert_true(flx_shard_offset_for_time(&shard, 1000, &found));
    assert_int_equal(found, 15);
    flx_shard_done(&shard);
}

static void test_without_memory_nothing_is_appended(void **state)
{
    (void)state;
    flx_shard shard;
    flx_shard_init(&shard, &bounds);
    uint64_t offset;
    const flx_batch batch = {.region = {(const uint8_t *)"\0\0\0\1a", 5}, .count = 1};
    flx_alloc_fail_nth(1);
    assert_int_equal(flx_shard_append(&shard, &batch, 1, &offset), FLX_ERR_NOMEM);
    flx_alloc_fail_nth(0);
    assert_int_equal(shard.next_offset, 0);
    assert_int_equal(flx_shard_append(&shard, &batch, 1, &offset), FLX_OK);
    flx_alloc_fail_nth(1); /* the ring cannot be made: the frame is gone, offsets go on */
    flx_shard_seal(&shard);
    flx_alloc_fail_nth(0);
    assert_true(flx_feed_is_empty(&shard.feed));
    assert_int_equal(shard.feed.end, 1);
    assert_int_equal(flx_feed_oldest_offset(&shard.feed), 1);
    flx_shard_done(&shard);
}

static void test_published_digests(void **state)
{
    (void)state;
    assert_true(flx_crc64(0, (flx_slice){(const uint8_t *)"123456789", 9}) ==
                UINT64_C(0x995dc9bbdf1939fa));
    assert_true(flx_region_digest((flx_slice){(const uint8_t *)"\0\0\0\1a\0\0\0\2bb", 11}) ==
                UINT64_C(0xdbcb561aac95de1a));
}

static void test_the_most_silent_producer_is_forgotten(void **state)
{
    (void)state;
    flx_producers *producers = flx_producers_new();
    uint64_t value;
    for (uint64_t id = 0; id < FLX_PRODUCERS_MAX; id++) {
        assert_int_equal(flx_producers_prepare(producers, id), FLX_OK);
        flx_producers_record(producers, id, 0, 1, id);
    }
    flx_producers_record(producers, 0, 1, 1, 9999); /* not silent any more */
    assert_int_equal(flx_producers_prepare(producers, 1u << 20), FLX_OK);
    assert_int_equal(flx_producers_check(producers, 1, 1, 0, &value), FLX_PRODUCER_UNKNOWN);
    assert_int_equal(flx_producers_check(producers, 0, 1, 1, &value), FLX_PRODUCER_DUPLICATE);
    assert_int_equal(value, 9999);
    flx_producers_free(producers);
    assert_null(flx_producers_free(NULL));
}

static void test_scratch_writes_again_what_is_free(void **state)
{
    (void)state;
    flx_scratch scratch;
    flx_scratch_init(&scratch);
    static const uint8_t bytes[40000];
    flx_range kept;
    flx_range range;
    assert_true(flx_scratch_copy(&scratch, (flx_slice){bytes, sizeof bytes}, &kept));
    for (int i = 0; i < 100; i++) {
        assert_true(flx_scratch_copy(&scratch, (flx_slice){bytes, sizeof bytes}, &range));
        flx_chunk_unref(range.chunk);
    }
    const uint64_t before = flx_alloc_count();
    for (int i = 0; i < 100; i++) {
        assert_true(flx_scratch_copy(&scratch, (flx_slice){bytes, sizeof bytes}, &range));
        flx_chunk_unref(range.chunk);
    }
    assert_int_equal(flx_alloc_count(), before);
    flx_scratch_done(&scratch);
    flx_chunk_unref(kept.chunk);
}

static void test_handles_of_what_is_gone(void **state)
{
    (void)state;
    flx_handles handles = {0};
    int things[200];
    uint64_t names[200];
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(flx_handles_put(&handles, &things[i], &names[i]), FLX_OK);
    }
    flx_handles_drop(&handles, names[7]);
    assert_null(flx_handles_get(&handles, names[7]));
    assert_null(flx_handles_get(&handles, 0));
    uint64_t next;
    assert_int_equal(flx_handles_put(&handles, &things[0], &next), FLX_OK);
    assert_ptr_equal(flx_handles_get(&handles, next), &things[0]);
    assert_null(flx_handles_get(&handles, names[7]));
    assert_ptr_equal(flx_handles_get(&handles, names[199]), &things[199]);
    flx_handles_done(&handles);
}

static void test_shards_are_spread(void **state)
{
    (void)state;
    uint32_t counts[4] = {0};
    for (uint32_t id = 1; id <= 1000; id++) {
        counts[flx_worker_owner(id, 0, 4)]++;
        assert_int_not_equal(flx_worker_owner(id, 0, 4), flx_worker_owner(id, 1, 4));
    }
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(counts[i], 200, 300);
    }
    assert_string_equal(flx_drop_name(FLX_DROP_SLOW_LAG), "slow_lag");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shard_gathers_and_seals),
        cmocka_unit_test(test_frames_break_at_the_bounds),
        cmocka_unit_test(test_feed_keeps_its_bounds),
        cmocka_unit_test(test_without_memory_nothing_is_appended),
        cmocka_unit_test(test_published_digests),
        cmocka_unit_test(test_the_most_silent_producer_is_forgotten),
        cmocka_unit_test(test_scratch_writes_again_what_is_free),
        cmocka_unit_test(test_handles_of_what_is_gone),
        cmocka_unit_test(test_shards_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
