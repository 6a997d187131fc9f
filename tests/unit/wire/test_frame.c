/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope and the reader: headers, limits, skipping, what is copied and what is not. */
#include "common/alloc.h"
#include "unit.h"
#include "wire/bytes.h"
#include "wire/frame.h"

static void headers_are_judged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t len;
        uint8_t bytes[12];
        flx_frame_check check;
    } rows[] = {
        {"nothing", 0, {0}, FLX_FRAME_CHECK_MORE},
        {"one byte", 1, "F", FLX_FRAME_CHECK_MORE},
        {"wrong first byte", 1, "G", FLX_FRAME_CHECK_BAD_MAGIC},
        {"wrong fourth byte", 4, "FLX2", FLX_FRAME_CHECK_BAD_MAGIC},
        {"magic only", 4, "FLX1", FLX_FRAME_CHECK_MORE},
        {"half a version", 5, {'F', 'L', 'X', '1', 0}, FLX_FRAME_CHECK_MORE},
        {"version 0", 6, {'F', 'L', 'X', '1', 0, 0}, FLX_FRAME_CHECK_BAD_VERSION},
        {"version 2", 6, {'F', 'L', 'X', '1', 0, 2}, FLX_FRAME_CHECK_BAD_VERSION},
        {"version 257", 6, {'F', 'L', 'X', '1', 1, 1}, FLX_FRAME_CHECK_BAD_VERSION},
        {"no length", 8, {'F', 'L', 'X', '1', 0, 1, 0, 9}, FLX_FRAME_CHECK_MORE},
        {"whole", 12, {'F', 'L', 'X', '1', 0, 1, 0x12, 0x34, 0, 0, 1, 0}, FLX_FRAME_CHECK_OK},
        {"one above the limit",
         12,
         {'F', 'L', 'X', '1', 0, 1, 0, 0, 0, 0, 1, 1},
         FLX_FRAME_CHECK_TOO_LARGE},
        {"4 GiB",
         12,
         {'F', 'L', 'X', '1', 0, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF},
         FLX_FRAME_CHECK_TOO_LARGE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_frame_header header = {0, 0};
        const flx_slice bytes = {rows[i].bytes, rows[i].len};
        const flx_frame_check check = flx_frame_header_decode(bytes, 256, &header);
        if (check != rows[i].check) {
            fail_msg("%s: %d", rows[i].name, (int)check);
        }
        if (check == FLX_FRAME_CHECK_OK) {
            assert_int_equal(header.flags, 0x1234);
            assert_int_equal(header.len, 256);
        }
    }
}

/* Appends a frame of `len` bytes that count up from `seed`. */
static size_t put_frame(uint8_t *to, uint16_t flags, size_t len, uint8_t seed)
{
    flx_frame_header_encode(flags, (uint32_t)len, to);
    for (size_t i = 0; i < len; i++) {
        to[FLX_FRAME_HEADER_BYTES + i] = (uint8_t)(seed + i);
    }
    return FLX_FRAME_HEADER_BYTES + len;
}

static void assert_payload(const flx_frame *frame, size_t len, uint8_t seed)
{
    assert_int_equal(frame->payload.len, len);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(frame->payload.ptr[i], (uint8_t)(seed + i));
    }
}

static void whole_binary_frame_is_not_copied(void **state)
{
    (void)state;
    uint8_t bytes[64];
    const size_t len = put_frame(bytes, 0x0001, 20, 3);
    flx_slice input = {bytes, len};
    flx_frame_reader reader;
    flx_frame frame;
    flx_frame_reader_init(&reader, 100);
    const uint64_t before = flx_alloc_count();
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_READY);
    assert_ptr_equal(frame.payload.ptr, bytes + FLX_FRAME_HEADER_BYTES);
    assert_null(frame.chunk);
    assert_null(frame.json);
    assert_payload(&frame, 20, 3);
    assert_true(flx_frame_reader_is_idle(&reader));
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_MORE);
    assert_true(flx_alloc_count() == before);
    flx_frame_reader_done(&reader);
}

static void json_is_given_in_memory_that_may_be_written(void **state)
{
    (void)state;
    uint8_t bytes[64];
    const size_t len = put_frame(bytes, 0, 20, 3);
    flx_frame_reader reader;
    flx_frame frame;
    flx_frame_reader_init(&reader, 100);
    uint64_t allocated = 0;
    for (int i = 0; i < 3; i++) {
        flx_slice input = {bytes, len};
        const uint64_t before = flx_alloc_count();
        assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_READY);
        allocated += flx_alloc_count() - before;
        assert_non_null(frame.json);
        assert_ptr_equal(frame.json, frame.payload.ptr);
        assert_payload(&frame, 20, 3);
        memset(frame.json, 'x', 20);
    }
    assert_true(allocated == 1); /* the same chunk serves them all */
    flx_frame_reader_done(&reader);
}

/* Frames of many sizes cut into slices of many sizes come out the same. */
static void any_cut_gives_the_same_frames(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 11, 12, 13, 100, 5000, 20000};
    enum { FRAMES = COUNT(lens) };
    static uint8_t bytes[40000];
    size_t total = 0;
    for (size_t i = 0; i < FRAMES; i++) {
        total += put_frame(bytes + total, i % 2 == 0 ? 0x0001 : 0, lens[i], (uint8_t)i);
    }
    static const size_t cuts[] = {1, 2, 7, 12, 13, 64, 1000, 4096, 40000};
    for (size_t c = 0; c < COUNT(cuts); c++) {
        flx_frame_reader reader;
        flx_frame_reader_init(&reader, 20000);
        size_t count = 0;
        for (size_t at = 0; at < total; at += cuts[c]) {
            flx_slice input = {bytes + at, total - at < cuts[c] ? total - at : cuts[c]};
            flx_frame frame;
            while (flx_frame_reader_next(&reader, &input, &frame, NULL) == FLX_FRAME_READY) {
                assert_in_range(count, 0, FRAMES - 1);
                assert_payload(&frame, lens[count], (uint8_t)count);
                count++;
            }
            assert_int_equal(input.len, 0);
        }
        assert_int_equal(count, FRAMES);
        assert_true(flx_frame_reader_is_idle(&reader));
        flx_frame_reader_done(&reader);
    }
}

static void reference_keeps_a_gathered_payload(void **state)
{
    (void)state;
    uint8_t bytes[64];
    const size_t len = put_frame(bytes, 0x0001, 20, 3);
    flx_frame_reader reader;
    flx_frame frame;
    flx_chunk *kept = NULL;
    flx_frame_reader_init(&reader, 100);
    for (int round = 0; round < 2; round++) {
        flx_slice head = {bytes, 15};
        flx_slice tail = {bytes + 15, len - 15};
        assert_int_equal(flx_frame_reader_next(&reader, &head, &frame, NULL), FLX_FRAME_MORE);
        assert_int_equal(flx_frame_reader_next(&reader, &tail, &frame, NULL), FLX_FRAME_READY);
        assert_non_null(frame.chunk);
        assert_ptr_equal(frame.payload.ptr, frame.chunk->data);
        if (round == 0) {
            kept = flx_chunk_ref(frame.chunk);
            memset(bytes + FLX_FRAME_HEADER_BYTES, 0, 20);
        }
    }
    assert_ptr_not_equal(kept, frame.chunk); /* the second frame did not overwrite the first */
    assert_int_equal(kept->data[0], 3);
    assert_int_equal(kept->data[19], 22);
    flx_frame_reader_done(&reader);
    (void)flx_chunk_unref(kept);
}

static void memory_follows_what_arrives(void **state)
{
    (void)state;
    static uint8_t bytes[FLX_FRAME_HEADER_BYTES + 100000];
    (void)put_frame(bytes, 0x0001, 100000, 0);
    flx_frame_header_encode(0x0001, FLX_FRAME_BYTES_MAX, bytes);
    flx_frame_reader reader;
    flx_frame frame;
    flx_frame_reader_init(&reader, FLX_FRAME_BYTES_MAX);
    flx_slice input = {bytes, FLX_FRAME_HEADER_BYTES};
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_MORE);
    assert_null(reader.chunk); /* announced 16 MiB, sent none */
    for (size_t sent = 0; sent < 100000; sent += 1000) {
        input = (flx_slice){bytes + FLX_FRAME_HEADER_BYTES + sent, 1000};
        assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_MORE);
        assert_in_range(reader.chunk->cap, sent + 1000, 4 * (sent + 1000) + 4096);
    }
    flx_frame_reader_done(&reader);
}

/* Feeds a frame in parts of 1000 bytes; how many allocations that took. */
static uint64_t feed_in_parts(flx_frame_reader *reader, const uint8_t *bytes, size_t len)
{
    flx_frame frame;
    flx_frame_step step = FLX_FRAME_MORE;
    const uint64_t before = flx_alloc_count();
    for (size_t at = 0; at < len; at += 1000) {
        assert_int_equal(step, FLX_FRAME_MORE);
        flx_slice input = {bytes + at, len - at < 1000 ? len - at : 1000};
        step = flx_frame_reader_next(reader, &input, &frame, NULL);
    }
    assert_int_equal(step, FLX_FRAME_READY);
    return flx_alloc_count() - before;
}

/* A second frame like the first is gathered where it stays. What was sent long ago proves nothing,
 * and nothing proves more than GATHER_BYTES_PROVEN. */
static void who_has_sent_a_frame_is_believed(void **state)
{
    (void)state;
    static uint8_t large[FLX_FRAME_HEADER_BYTES + 1000000];
    static uint8_t small[FLX_FRAME_HEADER_BYTES + 5000];
    size_t large_len = put_frame(large, 0x0001, 100000, 0);
    const size_t small_len = put_frame(small, 0x0001, 5000, 0);
    flx_frame_reader reader;
    flx_frame_reader_init(&reader, FLX_FRAME_BYTES_MAX);
    assert_true(feed_in_parts(&reader, large, large_len) > 1);
    assert_int_equal(feed_in_parts(&reader, large, large_len), 1);
    assert_int_equal(feed_in_parts(&reader, small, small_len), 1);
    assert_true(reader.chunk->cap < 10000);
    assert_true(feed_in_parts(&reader, large, large_len) > 1);

    large_len = put_frame(large, 0x0001, 1000000, 0);
    (void)feed_in_parts(&reader, large, large_len);
    flx_frame frame;
    flx_slice input = {large, FLX_FRAME_HEADER_BYTES + 1};
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_MORE);
    assert_in_range(reader.chunk->cap, 100000, 262144);
    flx_frame_reader_done(&reader);
}

static void large_chunk_is_given_back(void **state)
{
    (void)state;
    static uint8_t bytes[FLX_FRAME_HEADER_BYTES + 100000];
    const size_t len = put_frame(bytes, 0, 100000, 0);
    flx_frame_reader reader;
    flx_frame frame;
    flx_frame_reader_init(&reader, 100000);
    flx_slice input = {bytes, len};
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_READY);
    assert_non_null(reader.chunk);
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_MORE);
    assert_null(reader.chunk);
    flx_frame_reader_done(&reader);
}

static void unknown_flags_are_told_and_skipped(void **state)
{
    (void)state;
    static const size_t cuts[] = {1, 5, 200};
    uint8_t bytes[200];
    size_t total = put_frame(bytes, 0x8001, 50, 0);
    total += put_frame(bytes + total, 0x8000, 0, 0);
    total += put_frame(bytes + total, 0x0001, 10, 9);
    for (size_t c = 0; c < COUNT(cuts); c++) {
        flx_frame_reader reader;
        flx_frame_reader_init(&reader, 100);
        int refused = 0;
        int ready = 0;
        for (size_t at = 0; at < total; at += cuts[c]) {
            flx_slice input = {bytes + at, total - at < cuts[c] ? total - at : cuts[c]};
            flx_frame frame;
            flx_frame_step step;
            while ((step = flx_frame_reader_next(&reader, &input, &frame, NULL)) !=
                   FLX_FRAME_MORE) {
                if (step == FLX_FRAME_REFUSED) {
                    assert_int_equal(frame.flags, refused == 0 ? 0x8001 : 0x8000);
                    assert_int_equal(frame.payload.len, refused == 0 ? 50 : 0);
                    refused++;
                } else {
                    assert_int_equal(step, FLX_FRAME_READY);
                    assert_payload(&frame, 10, 9);
                    ready++;
                }
            }
        }
        assert_int_equal(refused, 2);
        assert_int_equal(ready, 1);
        flx_frame_reader_done(&reader);
    }
}

static void failures_stay(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t header[12];
        flx_status status;
    } rows[] = {
        {"magic", {'H', 'T', 'T', 'P'}, FLX_ERR_PROTOCOL},
        {"version", {'F', 'L', 'X', '1', 0, 3}, FLX_ERR_PROTOCOL},
        {"length", {'F', 'L', 'X', '1', 0, 1, 0, 0, 0, 1, 0, 1}, FLX_ERR_TOO_LARGE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_frame_reader reader;
        flx_frame frame;
        flx_error error;
        flx_frame_reader_init(&reader, FLX_FRAME_BYTES_MAX_UNAUTHENTICATED);
        flx_slice input = {rows[i].header, 12};
        assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, &error), FLX_FRAME_FAILED);
        assert_int_equal(error.status, rows[i].status);
        assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_FAILED);
        assert_false(flx_frame_reader_is_idle(&reader));
        flx_frame_reader_done(&reader);
    }
}

static void limit_can_be_raised_between_frames(void **state)
{
    (void)state;
    uint8_t bytes[64];
    const size_t len = put_frame(bytes, 0x0001, 40, 1);
    flx_frame_reader reader;
    flx_frame frame;
    flx_frame_reader_init(&reader, 39);
    flx_frame_reader_limit(&reader, 40);
    flx_slice input = {bytes, len};
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_READY);
    flx_frame_reader_done(&reader);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static uint8_t bytes[FLX_FRAME_HEADER_BYTES + 50000];
    const size_t len = put_frame(bytes, 0, 50000, 0);
    int failures = 0;
    for (uint64_t nth = 1;; nth++) {
        flx_frame_reader reader;
        flx_frame frame;
        flx_error error;
        flx_frame_step step = FLX_FRAME_MORE;
        flx_frame_reader_init(&reader, FLX_FRAME_BYTES_MAX);
        flx_alloc_fail_nth(nth);
        for (size_t at = 0; at < len && step == FLX_FRAME_MORE; at += 500) {
            flx_slice input = {bytes + at, len - at < 500 ? len - at : 500};
            step = flx_frame_reader_next(&reader, &input, &frame, &error);
        }
        const int failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        flx_frame_reader_done(&reader);
        if (!failed) {
            assert_int_equal(step, FLX_FRAME_READY);
            break;
        }
        assert_int_equal(step, FLX_FRAME_FAILED);
        assert_int_equal(error.status, FLX_ERR_NOMEM);
        failures++;
    }
    assert_in_range(failures, 2, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_judged),
        cmocka_unit_test(whole_binary_frame_is_not_copied),
        cmocka_unit_test(json_is_given_in_memory_that_may_be_written),
        cmocka_unit_test(any_cut_gives_the_same_frames),
        cmocka_unit_test(reference_keeps_a_gathered_payload),
        cmocka_unit_test(memory_follows_what_arrives),
        cmocka_unit_test(who_has_sent_a_frame_is_believed),
        cmocka_unit_test(large_chunk_is_given_back),
        cmocka_unit_test(unknown_flags_are_told_and_skipped),
        cmocka_unit_test(failures_stay),
        cmocka_unit_test(limit_can_be_raised_between_frames),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
