/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of changes: each reason to refuse one, and round trips of what is drawn by lot. The golden
 * bytes are in tests/vectors/wire/change_batch*.json, for test_vectors.
 */
#include "unit.h"
#include "wire/bytes.h"
#include "wire/change_batch.h"

#include <string.h>

#define HEAD(kind, end, count) kind "\0\0\0\0\0\0\0" end "\0\0\0" count

static void malformed_batches(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        size_t len;
        const char *bytes;
    } rows[] = {
        {"short body", 0, ""},
        {"short body", 12, HEAD("\0", "\1", "\0")},
        {"an unknown kind of batch", 13, HEAD("\2", "\1", "\0")},
        {"bytes left over", 14, HEAD("\0", "\1", "\0") "\0"},
        {"short body", 13, HEAD("\0", "\1", "\1")},
        {"short body", 15, HEAD("\0", "\1", "\1") "\2\1"},
        {"short body", 17, HEAD("\0", "\1", "\1") "\2\1\2k"},
        {"short body", 17, HEAD("\0", "\1", "\1") "\1\1\1k"}, /* a put without a value */
        {"short body", 18, HEAD("\0", "\1", "\1") "\1\1\1k\1"},
        {"short body", 20, HEAD("\0", "\1", "\1") "\x81\1\1k\0\0\0"}, /* of its expiry */
        {"bytes left over", 18, HEAD("\0", "\1", "\1") "\2\1\1kv"},   /* a delete with a value */
        {"an unknown kind of record", 18, HEAD("\0", "\1", "\1") "\0\1\1k\0"},
        {"an unknown kind of record", 18, HEAD("\0", "\1", "\1") "\3\1\1k\0"}, /* a counter */
        {"an unknown kind of record", 18, HEAD("\0", "\1", "\1") "\x82\1\1k\0"},
        {"an unknown kind of record", 26,
         HEAD("\0", "\1", "\1") "\x81\1\1k\0\0\0\0\0\0\0\0\0"},              /* expires at 0 */
        {"an unknown kind of record", 17, HEAD("\1", "\1", "\1") "\2\1\1k"}, /* of a snapshot */
        {"an offset out of range", 17, HEAD("\0", "\1", "\1") "\2\0\1k"},
        {"an offset out of range", 17, HEAD("\0", "\1", "\1") "\2\2\1k"},
        {"offsets out of order", 21, HEAD("\0", "\5", "\2") "\2\2\1k\2\2\1k"},
        {"offsets out of order", 21, HEAD("\0", "\5", "\2") "\2\1\1k\2\2\1k"},
        {"a key that is not UTF-8", 17, HEAD("\0", "\1", "\1") "\2\1\1\xff"},
        {"short body", 18, HEAD("\0", "\1", "\1") "\2\x81\0\1k"}, /* longer than it need be */
        {"short body", 26, HEAD("\0", "\1", "\1") "\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\1k"},
        {"short body", 26, HEAD("\0", "\1", "\1") "\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1k"},
        {"short body", 26, HEAD("\0", "\1", "\1") "\2\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1k"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        flx_change_batch batch = {.count = 77};
        flx_error error = {0};
        const flx_slice payload = {(const uint8_t *)rows[i].bytes, rows[i].len};
        assert_int_equal(flx_change_batch_decode(payload, &batch, &error), FLX_ERR_PROTOCOL);
        if (strstr(error.message, rows[i].why) == NULL) {
            fail_msg("row %zu: %s instead of %s", i, error.message, rows[i].why);
        }
        assert_int_equal(batch.count, 77);
    }
}

/* A snapshot may list its keys in any order, as often as it likes. */
static void a_snapshot_has_no_order(void **state)
{
    (void)state;
    static const char bytes[] = HEAD("\1", "\5", "\3") "\1\1\1a\0\1\5\1b\0\1\3\0\0";
    flx_change_batch batch;
    assert_int_equal(flx_change_batch_decode((flx_slice){(const uint8_t *)bytes, sizeof bytes - 1},
                                             &batch, NULL),
                     FLX_OK);
    static const uint64_t offsets[] = {4, 0, 2};
    uint64_t offset;
    flx_change change;
    for (size_t i = 0; i < 3; i++) {
        assert_true(flx_change_batch_next(&batch, &offset, &change));
        assert_int_equal(offset, offsets[i]);
    }
    assert_false(flx_change_batch_next(&batch, &offset, &change));
}

static void varints_are_as_short_as_they_can_be(void **state)
{
    (void)state;
    static const uint64_t values[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX, UINT64_MAX / 2, 1 << 21, 300};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t out[10];
        const size_t len = flx_varint_bytes(values[i]);
        assert_in_range(len, 1, 10);
        assert_ptr_equal(flx_put_varint(out, values[i]), out + len);
        flx_cursor cursor = flx_cursor_of((flx_slice){out, len});
        assert_true(flx_cursor_varint(&cursor) == values[i]);
        assert_true(flx_cursor_is_done(&cursor));
        for (size_t cut = 0; cut < len; cut++) {
            cursor = flx_cursor_of((flx_slice){out, cut});
            assert_true(flx_cursor_varint(&cursor) == 0 && cursor.is_short);
        }
    }
}

static uint64_t draw(uint64_t *random, uint64_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (*random >> 11) % below;
}

static void random_batches(void **state)
{
    (void)state;
    uint64_t random = 0x5eed;
    static const uint8_t letters[300] = "k";
    for (int round = 0; round < 2000; round++) {
        static uint8_t bytes[64 * 1024];
        flx_change changes[40];
        uint64_t offsets[40];
        const uint32_t count = (uint32_t)draw(&random, 40);
        const bool is_snapshot = draw(&random, 2) == 0;
        uint64_t end = draw(&random, 2) == 0 ? 0 : UINT64_MAX / 2;
        for (uint32_t i = 0; i < count; i++) {
            const bool is_put = is_snapshot || draw(&random, 3) > 0;
            offsets[i] = end + draw(&random, 500);
            end = offsets[i] + 1;
            changes[i] =
                (flx_change){.kind = is_put ? FLX_CHANGE_KIND_PUT : FLX_CHANGE_KIND_DELETE,
                             .key = {letters, draw(&random, sizeof letters)},
                             .value = {letters, is_put ? draw(&random, sizeof letters) : 0},
                             .expires_at_ms = is_put ? draw(&random, 2) * UINT64_MAX : 0};
        }
        end += draw(&random, 2) * 1000;
        uint8_t *to = flx_change_batch_head_put(bytes, is_snapshot, end, count);
        for (uint32_t i = 0; i < count; i++) {
            to = flx_change_batch_record_put(to, end, offsets[i], &changes[i]);
        }
        flx_change_batch batch;
        const flx_slice payload = {bytes, (size_t)(to - bytes)};
        assert_int_equal(flx_change_batch_decode(payload, &batch, NULL), FLX_OK);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t offset;
            flx_change change;
            assert_true(flx_change_batch_next(&batch, &offset, &change));
            assert_true(offset == offsets[i] && change.kind == changes[i].kind);
            assert_int_equal(change.key.len, changes[i].key.len);
            assert_int_equal(change.value.len, changes[i].value.len);
            assert_true(change.expires_at_ms == changes[i].expires_at_ms);
        }
        assert_int_equal(batch.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_batches),
        cmocka_unit_test(a_snapshot_has_no_order),
        cmocka_unit_test(varints_are_as_short_as_they_can_be),
        cmocka_unit_test(random_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
