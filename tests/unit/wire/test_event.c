/* SPDX-License-Identifier: Apache-2.0 */
/* Event batches: what is refused, every set of flags there and back, and the stamped region. */
#include "unit.h"
#include "wire/event.h"
#include "wire/records.h"

enum {
    LEGACY = 0x0002,
    SHARED = 0x0004,
    OFFSETS = 0x0020,
    SKIPPED = 0x0800,
    PUBLISHER = 0x2000,
    STAMPS = 0x4000
};

static void malformed_batches(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t flags;
        size_t len;
        const char *body;
        bool accepted;
    } rows[] = {
        {"no events", SHARED, 4, "\0\0\0\0", true},
        {"one event", SHARED, 9, "\0\0\0\1\0\0\0\1x", true},
        {"no flags", 0, 4, "\0\0\0\0", false},
        {"no form", OFFSETS, 12, "\0\0\0\0\0\0\0\0\0\0\0\0", false},
        {"both forms", SHARED | LEGACY, 12, "\0\0\0\0\0\0\0\0\0\0\0\0", false},
        {"skipped without offsets", SHARED | SKIPPED, 12, "\0\0\0\0\0\0\0\0\0\0\0\0", false},
        {"an ack's bit", SHARED | 0x10, 4, "\0\0\0\0", false},
        {"a client's bit", SHARED | 0x01, 4, "\0\0\0\0", false},
        {"unknown bit", SHARED | 0x8000, 4, "\0\0\0\0", false},
        {"short count", SHARED, 3, "\0\0\0", false},
        {"event past the end", SHARED, 9, "\0\0\0\1\0\0\0\2x", false},
        {"byte left over", SHARED, 5, "\0\0\0\0x", false},
        {"half a stamp", SHARED | STAMPS, 12, "\0\0\0\1\0\0\0\0\0\0\0\0", false},
        {"publisher past the end", SHARED | PUBLISHER, 5, "\5\0\0\0\0", false},
        {"publisher not UTF-8", SHARED | PUBLISHER, 6, "\1\xff\0\0\0\0", false},
        {"offsets wrap", SHARED | OFFSETS, 16, "\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\1\0\0\0\0",
         false},
        {"more skipped than there are", SHARED | OFFSETS | SKIPPED, 20,
         "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0", false},
        {"all skipped", SHARED | OFFSETS | SKIPPED, 20, "\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\2\0\0\0\0",
         true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_event_batch batch;
        const flx_slice payload = {(const uint8_t *)rows[i].body, rows[i].len};
        const flx_status status = flx_event_batch_decode(rows[i].flags, payload, &batch, NULL);
        if (status != (rows[i].accepted ? FLX_OK : FLX_ERR_PROTOCOL)) {
            fail_msg("%s: %d", rows[i].name, (int)status);
        }
    }
}

/* The region is made once, as a broker does, and put behind the head of each variant. */
static void one_region_serves_every_variant(void **state)
{
    (void)state;
    uint8_t plain[64];
    uint8_t stamped[128];
    const char *payloads[] = {"one", "", "three"};
    uint8_t *end = plain;
    for (size_t i = 0; i < 3; i++) {
        end = flx_records_put(end, slice_of(payloads[i]));
    }
    const flx_slice region = {plain, (size_t)(end - plain)};
    const size_t stamped_len = (size_t)(flx_event_region_stamp(region, 99, stamped) - stamped);
    assert_int_equal(stamped_len, region.len + 3 * 8);

    int count = 0;
    for (unsigned flags = 0; flags < 0x8000; flags += 2) {
        if ((flags & (LEGACY | SHARED)) == 0 || !flx_flags_valid((uint16_t)flags, FLX_DIR_BROKER)) {
            continue;
        }
        flx_event_batch in = {.flags = (uint16_t)flags,
                              .count = 3,
                              .subscription_id = 9,
                              .base_offset = 41,
                              .skipped_before = 2,
                              .publisher = slice_of("app")};
        in.region = (flags & STAMPS) != 0 ? (flx_slice){stamped, stamped_len} : region;
        uint8_t out[512];
        uint8_t *at = flx_event_head_encode(&in, out);
        assert_int_equal(at - out, flx_event_head_bytes(&in));
        assert_in_range(at - out, 4, FLX_EVENT_HEAD_BYTES_MAX);
        memcpy(at, in.region.ptr, in.region.len);
        flx_event_batch back;
        const flx_slice payload = {out, (size_t)(at - out) + in.region.len};
        assert_int_equal(flx_event_batch_decode((uint16_t)flags, payload, &back, NULL), FLX_OK);
        assert_int_equal(back.subscription_id, (flags & LEGACY) != 0 ? 9 : 0);
        assert_int_equal(back.base_offset, (flags & OFFSETS) != 0 ? 41 : 0);
        assert_int_equal(back.skipped_before, (flags & SKIPPED) != 0 ? 2 : 0);
        assert_int_equal(back.publisher.len, (flags & PUBLISHER) != 0 ? 3 : 0);
        flx_event_iter iter;
        flx_event_record record;
        flx_event_iter_init(&iter, &back);
        for (size_t i = 0; i < 3; i++) {
            assert_true(flx_event_iter_next(&iter, &record));
            assert_int_equal(record.payload.len, strlen(payloads[i]));
            assert_memory_equal(record.payload.ptr, payloads[i], record.payload.len);
            assert_int_equal(record.offset, back.base_offset + i);
            assert_int_equal(record.timestamp_us, (flags & STAMPS) != 0 ? 99 : 0);
        }
        assert_false(flx_event_iter_next(&iter, &record));
        count++;
    }
    assert_int_equal(count, 2 * 3 * 4); /* form x {-, offsets, skipped} x publisher x stamps */
}

static void longest_publisher(void **state)
{
    (void)state;
    uint8_t name[FLX_EVENT_PUBLISHER_BYTES_MAX];
    uint8_t out[FLX_EVENT_HEAD_BYTES_MAX];
    memset(name, 'p', sizeof name);
    const flx_event_batch in = {.flags = LEGACY | OFFSETS | SKIPPED | PUBLISHER,
                                .publisher = {name, sizeof name}};
    assert_int_equal(flx_event_head_encode(&in, out) - out, sizeof out);
    flx_event_batch back;
    assert_int_equal(flx_event_batch_decode(in.flags, (flx_slice){out, sizeof out}, &back, NULL),
                     FLX_OK);
    assert_int_equal(back.publisher.len, sizeof name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_batches),
        cmocka_unit_test(one_region_serves_every_variant),
        cmocka_unit_test(longest_publisher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
