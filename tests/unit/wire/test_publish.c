/* SPDX-License-Identifier: Apache-2.0 */
/* The binary publish batch and the record region: each reason to refuse one, and round trips. */
#include "unit.h"
#include "wire/bytes.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <stdio.h>

enum { PUBLISH = 0x01, ACKED = 0x08, KEYED = 0x40, IDEMPOTENT = 0x100 };

static void malformed_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t flags;
        size_t len;
        const char *body;
        bool accepted;
    } rows[] = {
        {"smallest", PUBLISH, 10, "\0\0\0\0\0\0\0\0\0\0", true},
        {"no flags", 0, 10, "\0\0\0\0\0\0\0\0\0\0", false},
        {"no batch bit", KEYED, 10, "\0\0\0\0\0\0\0\0\0\0", false},
        {"unknown bit", 0x8001, 10, "\0\0\0\0\0\0\0\0\0\0", false},
        {"a broker's bit", PUBLISH | 0x20, 10, "\0\0\0\0\0\0\0\0\0\0", false},
        {"idempotent, not acked", PUBLISH | IDEMPOTENT, 26,
         "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
         "\0\0\0\0\0\0\0\0\0\0",
         false},
        {"empty", PUBLISH, 0, "", false},
        {"byte left over", PUBLISH, 11, "\0\0\0\0\0\0\0\0\0\0\0", false},
        {"count without records", PUBLISH, 10, "\0\0\0\0\0\0\0\0\0\1", false},
        {"count of 4 billion", PUBLISH, 10, "\0\0\0\0\0\0\xff\xff\xff\xff", false},
        {"record past the end", PUBLISH, 15, "\0\0\0\0\0\0\0\0\0\1\0\0\0\2x", false},
        {"record of 4 GiB", PUBLISH, 15, "\0\0\0\0\0\0\0\0\0\1\xff\xff\xff\xffx", false},
        {"record fits", PUBLISH, 15, "\0\0\0\0\0\0\0\0\0\1\0\0\0\1x", true},
        {"name past the end", PUBLISH, 10, "\0\x10\0\0\0\0\0\0\0\0", false},
        {"tenant not UTF-8", PUBLISH, 11, "\0\1\xff\0\0\0\0\0\0\0\0", false},
        {"namespace not UTF-8", PUBLISH, 11, "\0\0\0\1\xff\0\0\0\0\0\0", false},
        {"stream not UTF-8", PUBLISH, 11, "\0\0\0\0\0\1\xff\0\0\0\0", false},
        {"key of any bytes", PUBLISH | KEYED, 13, "\0\1\xff\0\0\0\0\0\0\0\0\0\0", true},
        {"key past the end", PUBLISH | KEYED, 13, "\xff\xff\xff\0\0\0\0\0\0\0\0\0\0", false},
        {"ack mode 0", PUBLISH | ACKED, 19, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0", false},
        {"ack mode 1", PUBLISH | ACKED, 19, "\0\0\0\0\0\0\0\1\1\0\0\0\0\0\0\0\0\0\0", true},
        {"ack mode 2", PUBLISH | ACKED, 19, "\0\0\0\0\0\0\0\1\2\0\0\0\0\0\0\0\0\0\0", true},
        {"ack mode 3", PUBLISH | ACKED, 19, "\0\0\0\0\0\0\0\1\3\0\0\0\0\0\0\0\0\0\0", false},
        {"idempotent per message", PUBLISH | ACKED | IDEMPOTENT, 35,
         "\0\0\0\0\0\0\0\1\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", false},
        {"idempotent per batch", PUBLISH | ACKED | IDEMPOTENT, 35,
         "\0\0\0\0\0\0\0\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t *body = malloc(rows[i].len + 1); /* with nothing to read behind it but one byte */
        assert_non_null(body);
        memcpy(body, rows[i].body, rows[i].len);
        flx_publish publish;
        flx_error error;
        const flx_slice payload = {body, rows[i].len};
        const flx_status status = flx_publish_decode(rows[i].flags, payload, &publish, &error);
        if (status != (rows[i].accepted ? FLX_OK : FLX_ERR_PROTOCOL)) {
            fail_msg("%s: %d", rows[i].name, (int)status);
        }
        free(body);
    }
}

static void request_id_of_a_broken_batch(void **state)
{
    (void)state;
    static const uint8_t body[] = {0, 0, 0, 0, 0, 0, 0, 9, 77};
    uint64_t id = 0;
    assert_true(flx_publish_request_id(PUBLISH | ACKED, (flx_slice){body, 9}, &id));
    assert_true(id == 9);
    assert_true(flx_publish_request_id(PUBLISH | ACKED | 0x8000, (flx_slice){body, 8}, &id));
    assert_false(flx_publish_request_id(PUBLISH | ACKED, (flx_slice){body, 7}, &id));
    assert_false(flx_publish_request_id(PUBLISH, (flx_slice){body, 9}, &id));
    assert_false(flx_publish_request_id(ACKED, (flx_slice){body, 9}, &id));
    assert_false(flx_publish_request_id(PUBLISH | ACKED, (flx_slice){NULL, 0}, &id));
}

/* Every valid set of flags, with names from nothing to the longest, comes back as it went in. */
static void round_trips(void **state)
{
    (void)state;
    static uint8_t longest[65535];
    static uint8_t out[4 * 65535 + 200];
    memset(longest, 'n', sizeof longest);
    const flx_slice names[] = {{longest, 0}, {longest, 1}, {longest, sizeof longest}};
    for (uint16_t flags = 0; flags < 0x200; flags++) {
        if (flags == 0 || !flx_flags_valid(flags, FLX_DIR_CLIENT)) {
            continue;
        }
        for (size_t n = 0; n < 3; n++) {
            flx_publish in = {.flags = flags,
                              .tenant_id = names[n],
                              .namespace_ = slice_of("ns"),
                              .stream = names[n],
                              .count = 3};
            in.ack = flx_publish_is_acked(&in) ? FLX_ACK_PER_BATCH : FLX_ACK_NONE;
            in.request_id = flx_publish_is_acked(&in) ? UINT64_C(0x0102030405060708) : 0;
            in.producer_id = flx_publish_is_idempotent(&in) ? UINT64_MAX : 0;
            in.sequence = flx_publish_is_idempotent(&in) ? 5 : 0;
            in.key = flx_publish_is_keyed(&in) ? names[n] : (flx_slice){NULL, 0};
            uint8_t *region = flx_publish_head_encode(&in, out);
            assert_int_equal(region - out, flx_publish_head_bytes(&in));
            uint8_t *end = flx_records_put(region, slice_of("one"));
            end = flx_records_put(end, slice_of(""));
            end = flx_records_put(end, slice_of("three"));
            flx_publish back;
            const flx_slice payload = {out, (size_t)(end - out)};
            assert_int_equal(flx_publish_decode(flags, payload, &back, NULL), FLX_OK);
            assert_int_equal(back.ack, in.ack);
            assert_true(back.request_id == in.request_id && back.sequence == in.sequence);
            assert_true(back.producer_id == in.producer_id && back.count == 3);
            assert_int_equal(back.key.len, in.key.len);
            assert_int_equal(back.tenant_id.len, names[n].len);
            assert_int_equal(back.stream.len, names[n].len);
            assert_ptr_equal(back.region.ptr, region);
        }
    }
}

static void regions_are_counted(void **state)
{
    (void)state;
    uint8_t out[64];
    uint8_t *end = flx_records_put(out, slice_of("ab"));
    end = flx_records_put(end, slice_of(""));
    const flx_slice region = {out, (size_t)(end - out)};
    flx_error error;
    assert_int_equal(region.len, flx_record_bytes(2) + flx_record_bytes(0));
    assert_int_equal(flx_records_check(region, 2, NULL), FLX_OK);
    assert_int_equal(flx_records_check(region, 1, &error), FLX_ERR_PROTOCOL);
    assert_string_equal(error.message, "records: bytes after 1");
    assert_int_equal(flx_records_check(region, 3, &error), FLX_ERR_PROTOCOL);
    assert_string_equal(error.message, "records: fewer than 3");
    assert_int_equal(flx_records_check((flx_slice){NULL, 0}, 0, NULL), FLX_OK);
    assert_int_equal(flx_records_check((flx_slice){NULL, 0}, 1, NULL), FLX_ERR_PROTOCOL);

    flx_slice rest = region;
    flx_slice payload;
    assert_true(flx_records_next(&rest, &payload));
    assert_int_equal(payload.len, 2);
    assert_true(flx_records_next(&rest, &payload));
    assert_int_equal(payload.len, 0);
    assert_false(flx_records_next(&rest, &payload));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_bodies),
        cmocka_unit_test(request_id_of_a_broken_batch),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(regions_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
