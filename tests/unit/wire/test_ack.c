/* SPDX-License-Identifier: Apache-2.0 */
/* The binary publish ack: what may stand together, and round trips over every set of flags. */
#include "unit.h"
#include "wire/ack.h"
#include "wire/frame.h"

#include <felix/status.h>

enum { ACK = 0x10, OWNER = 0x80, CODE = 0x200, DETAIL = 0x400, OFFSET = 0x1000 };

static void malformed_acks(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t flags;
        size_t len;
        const char *body;
        bool accepted;
    } rows[] = {
        {"ok", ACK, 11, "\0\0\0\0\0\0\0\0\1\0\0", true},
        {"error", ACK, 12, "\1\0\0\0\0\0\0\0\1\0\1x", true},
        {"error without a word", ACK, 11, "\1\0\0\0\0\0\0\0\1\0\0", true},
        {"no ack bit", OWNER, 11, "\0\0\0\0\0\0\0\0\1\0\0", false},
        {"no flags", 0, 11, "\0\0\0\0\0\0\0\0\1\0\0", false},
        {"a client's bit", ACK | 0x40, 11, "\0\0\0\0\0\0\0\0\1\0\0", false},
        {"an event's bit", ACK | 0x20, 11, "\0\0\0\0\0\0\0\0\1\0\0", false},
        {"status 2", ACK, 11, "\2\0\0\0\0\0\0\0\1\0\0", false},
        {"ok with a message", ACK, 12, "\0\0\0\0\0\0\0\0\1\0\1x", false},
        {"ok with a code", ACK | CODE, 14, "\0\0\0\0\0\0\0\0\1\0\0\0\3\2", false},
        {"error with a code", ACK | CODE, 14, "\1\0\0\0\0\0\0\0\1\0\0\0\3\2", true},
        {"code 0", ACK | CODE, 14, "\1\0\0\0\0\0\0\0\1\0\0\0\0\2", false},
        {"retry class of the future", ACK | CODE, 14, "\1\0\0\0\0\0\0\0\1\0\0\0\3\x63", true},
        {"detail without a code", ACK | DETAIL, 21, "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0",
         false},
        {"code and offset", ACK | CODE | OFFSET, 22, "\1\0\0\0\0\0\0\0\1\0\0\0\3\2\0\0\0\0\0\0\0\0",
         false},
        {"error with an offset", ACK | OFFSET, 19, "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0", false},
        {"ok with an offset", ACK | OFFSET, 19, "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0", true},
        {"message not UTF-8", ACK, 12, "\1\0\0\0\0\0\0\0\1\0\1\xff", false},
        {"owner not UTF-8", ACK | OWNER, 24, "\0\0\0\0\0\0\0\0\1\0\0\0\1\xff\0\0\0\0\0\0\0\0\0\0",
         false},
        {"byte left over", ACK, 12, "\0\0\0\0\0\0\0\0\1\0\0\0", false},
        {"message past the end", ACK, 12, "\1\0\0\0\0\0\0\0\1\0\2x", false},
        {"empty", ACK, 0, "", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_publish_ack ack;
        const flx_slice payload = {(const uint8_t *)rows[i].body, rows[i].len};
        const flx_status status = flx_publish_ack_decode(rows[i].flags, payload, &ack, NULL);
        if (status != (rows[i].accepted ? FLX_OK : FLX_ERR_PROTOCOL)) {
            fail_msg("%s: %d", rows[i].name, (int)status);
        }
    }
}

static void round_trips(void **state)
{
    (void)state;
    int count = 0;
    for (unsigned flags = 0; flags < 0x8000; flags += ACK) {
        if ((flags & ACK) == 0 || !flx_flags_valid((uint16_t)flags, FLX_DIR_BROKER)) {
            continue;
        }
        flx_publish_ack in = {.flags = (uint16_t)flags, .ok = (flags & CODE) == 0};
        in.request_id = UINT64_MAX;
        in.message = in.ok ? slice_of("") : slice_of("why");
        in.code = (flags & CODE) != 0 ? 999 : 0;
        in.retry = (flags & CODE) != 0 ? FLX_RETRY_REDIRECT : 0;
        in.reason = (flags & DETAIL) != 0 ? slice_of("reason") : slice_of("");
        in.retry_after_ms = (flags & DETAIL) != 0 ? 250 : 0;
        in.node_id = (flags & OWNER) != 0 ? slice_of("broker-1") : slice_of("");
        in.generation = (flags & OWNER) != 0 ? 8 : 0;
        in.offset = (flags & OFFSET) != 0 ? 41 : 0;
        uint8_t out[256];
        flx_publish_ack back;
        const size_t len = (size_t)(flx_publish_ack_encode(&in, out) - out);
        assert_int_equal(len, flx_publish_ack_bytes(&in));
        const flx_slice payload = {out, len};
        assert_int_equal(flx_publish_ack_decode(in.flags, payload, &back, NULL), FLX_OK);
        assert_int_equal(back.ok, in.ok);
        assert_int_equal(back.code, in.code);
        assert_int_equal(back.retry, in.retry);
        assert_int_equal(back.reason.len, in.reason.len);
        assert_int_equal(back.node_id.len, in.node_id.len);
        assert_true(back.retry_after_ms == in.retry_after_ms && back.offset == in.offset);
        assert_true(back.generation == in.generation && back.request_id == in.request_id);
        count++;
    }
    assert_int_equal(count, 8); /* owner x {nothing, offset, code, code and detail} */
}

static void short_form_of_a_success(void **state)
{
    (void)state;
    uint8_t out[FLX_PUBLISH_ACK_OK_FRAME_BYTES_MAX];
    const uint64_t offset = 41;
    assert_int_equal(flx_publish_ack_ok_frame(7, NULL, out) - out, FLX_FRAME_HEADER_BYTES + 11);
    assert_int_equal(flx_publish_ack_ok_frame(7, &offset, out) - out, sizeof out);
    flx_frame_header header;
    assert_int_equal(flx_frame_header_decode((flx_slice){out, sizeof out}, 100, &header),
                     FLX_FRAME_CHECK_OK);
    const flx_publish_ack general = {.flags = FLX_FLAG_BINARY_PUBLISH_ACK |
                                              FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET,
                                     .ok = true,
                                     .request_id = 7,
                                     .offset = 41};
    uint8_t expected[sizeof out];
    flx_frame_header_encode(general.flags, (uint32_t)flx_publish_ack_bytes(&general), expected);
    assert_ptr_equal(flx_publish_ack_encode(&general, expected + FLX_FRAME_HEADER_BYTES),
                     expected + sizeof expected);
    assert_memory_equal(out, expected, sizeof out);
    flx_publish_ack ack;
    const flx_slice payload = {out + FLX_FRAME_HEADER_BYTES, header.len};
    assert_int_equal(flx_publish_ack_decode(header.flags, payload, &ack, NULL), FLX_OK);
    assert_true(ack.ok && ack.request_id == 7 && ack.offset == 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_acks),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(short_form_of_a_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
