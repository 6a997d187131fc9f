/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes on disk are those of docs/spec/disk.md: golden files made by tests/vectors/make_disk.py. */
#include "storage/crc.h"
#include "storage/format.h"
#include "unit.h"

#include <stdio.h>

static uint8_t golden[4096];

static flx_slice load(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/vectors/disk/%s.bin", FLX_TESTS_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t len = fread(golden, 1, sizeof golden, file);
    (void)fclose(file);
    assert_in_range(len, 1, sizeof golden - 1);
    return (flx_slice){golden, len};
}

static uint8_t store_id[FLX_DISK_ID_BYTES];
static uint8_t log_id[FLX_DISK_ID_BYTES];

static int make_ids(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < FLX_DISK_ID_BYTES; i++) {
        store_id[i] = i;
        log_id[i] = (uint8_t)(100 + i);
    }
    return 0;
}

static void a_crc_is_castagnoli(void **state)
{
    (void)state;
    assert_int_equal(flx_crc32c(slice_of("123456789")), 0xe3069283);
    const uint32_t first = flx_crc32c(slice_of("1234"));
    assert_int_equal(flx_crc32c_add(first, slice_of("56789")), 0xe3069283);
    assert_int_equal(flx_crc32c(slice_of("")), 0);
}

static flx_stored full_batch(void)
{
    return (flx_stored){
        .tag = flx_stored_tag(log_id),
        .kind = FLX_STORED_CACHE,
        .count = 1,
        .base_offset = 1007,
        .skipped_before = 4,
        .time_us = UINT64_C(1700000000000002),
        .epoch = 3,
        .synced_below = 1003,
        .producer_id = UINT64_C(0x1122334455667788),
        .sequence = 42,
        .producer_epoch = 9,
        .publisher = slice_of("somebody"),
        .region = {(const uint8_t *)"\0\0\0\3put", 7},
        .columns = {{(const uint8_t *)"\0\3key", 5},
                    {NULL, 0},
                    {(const uint8_t *)"\x00\x06\x0a\x24\x18\x1e\x40\x00", 8}},
    };
}

static void a_batch_is_its_golden_bytes(void **state)
{
    (void)state;
    const flx_slice bytes = load("batch_full");
    const flx_stored stored = full_batch();
    uint8_t made[512];
    assert_int_equal(flx_stored_bytes(&stored), bytes.len);
    uint8_t *at = flx_stored_head_encode(&stored, made);
    memcpy(at, stored.region.ptr, stored.region.len);
    at = flx_stored_columns_encode(&stored, at + stored.region.len);
    assert_int_equal(at - made, bytes.len);
    assert_memory_equal(made, bytes.ptr, bytes.len);
    flx_stored read;
    size_t len = 0;
    assert_int_equal(flx_stored_decode(bytes, stored.tag, &read, &len), FLX_OK);
    assert_int_equal(len, bytes.len);
    assert_int_equal(read.base_offset, 1007);
    assert_int_equal(read.skipped_before, 4);
    assert_int_equal(read.producer_id, stored.producer_id);
    assert_int_equal(read.producer_epoch, 9);
    assert_memory_equal(read.columns[0].ptr, "\0\3key", 5);
    assert_null(read.columns[1].ptr);
    assert_int_equal(read.columns[2].len, 8);
}

static void a_plain_batch_is_read(void **state)
{
    (void)state;
    flx_slice bytes = load("batch_plain");
    flx_stored read;
    size_t len = 0;
    assert_int_equal(flx_stored_decode(bytes, flx_stored_tag(log_id), &read, &len), FLX_OK);
    assert_int_equal(read.count, 3);
    assert_int_equal(read.synced_below, 990);
    assert_memory_equal(read.region.ptr, "\0\0\0\3one\0\0\0\0\0\0\0\5three", 20);
    assert_true(flx_stored_next(&bytes, &read));
    assert_int_equal(bytes.len, 0);
    assert_false(flx_stored_next(&bytes, &read));
}

/* Any byte changed, any length short: never a batch. */
static void a_broken_batch_is_found_out(void **state)
{
    (void)state;
    const flx_slice bytes = load("batch_full");
    flx_stored read;
    size_t len = 0;
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        golden[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        const flx_status status = flx_stored_decode(bytes, flx_stored_tag(log_id), &read, &len);
        assert_true(status == FLX_ERR_CORRUPT || (status == FLX_ERR_AGAIN && len > bytes.len));
        golden[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t cut = 0; cut < bytes.len; cut++) {
        assert_int_equal(
            flx_stored_decode((flx_slice){bytes.ptr, cut}, flx_stored_tag(log_id), &read, &len),
            FLX_ERR_AGAIN);
        assert_true(len > cut);
    }
}

static void a_segment_is_its_golden_bytes(void **state)
{
    (void)state;
    const flx_slice bytes = load("segment");
    const flx_segment_header header = {
        .base_offset = 1000,
        .epoch = 3,
        .created_us = UINT64_C(1700000000000000),
        .is_compacted = true,
    };
    flx_segment_header named = header;
    memcpy(named.store_id, store_id, sizeof store_id);
    memcpy(named.log_id, log_id, sizeof log_id);
    uint8_t made[FLX_SEGMENT_HEADER_BYTES];
    flx_segment_header_encode(&named, made);
    assert_memory_equal(made, bytes.ptr, sizeof made);
    flx_segment_trailer trailer;
    assert_int_equal(flx_segment_trailer_peek(bytes, bytes.len, &trailer), FLX_OK);
    assert_int_equal(trailer.end_offset, 1008);
    assert_int_equal(trailer.mark_count, 1);
    const flx_slice footer = {bytes.ptr + trailer.data_end, bytes.len - trailer.data_end};
    assert_int_equal(flx_segment_trailer_check(footer), FLX_OK);
    uint8_t again[FLX_SEGMENT_MARK_BYTES + FLX_SEGMENT_TRAILER_BYTES];
    const flx_segment_mark mark = {1000, UINT64_C(1700000000000001), 96};
    flx_segment_mark_encode(&mark, again);
    flx_segment_trailer_encode(&trailer, (flx_slice){again, FLX_SEGMENT_MARK_BYTES},
                               again + FLX_SEGMENT_MARK_BYTES);
    assert_int_equal(footer.len, sizeof again);
    assert_memory_equal(again, footer.ptr, sizeof again);
}

static void a_state_is_its_golden_bytes(void **state)
{
    (void)state;
    const flx_slice bytes = load("state");
    static flx_log_epoch epochs[FLX_LOG_STATE_EPOCHS_MAX];
    flx_log_state read;
    assert_int_equal(flx_log_state_decode(bytes, epochs, &read, NULL), FLX_OK);
    assert_int_equal(read.promised_epoch, 4);
    assert_int_equal(read.checkpoint_end, 1008);
    assert_int_equal(read.epoch_count, 2);
    assert_int_equal(epochs[1].first_offset, 1000);
    uint8_t made[256];
    assert_int_equal(flx_log_state_bytes(&read), bytes.len);
    flx_log_state_encode(&read, made);
    assert_memory_equal(made, bytes.ptr, bytes.len);
}

static void a_store_file_is_its_golden_bytes(void **state)
{
    (void)state;
    static const char *const files[] = {"store_old",
                                        "store"}; /* without a register, and with one */
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const flx_slice bytes = load(files[i]);
        flx_store_file read;
        assert_int_equal(flx_store_file_decode(bytes, &read, NULL), FLX_OK);
        assert_memory_equal(read.store_id, store_id, sizeof store_id);
        assert_int_equal(read.created_us, UINT64_C(1700000000000000));
        assert_int_equal(read.has_register, i == 1);
        uint8_t made[FLX_STORE_FILE_BYTES];
        flx_store_file_encode(&read, made);
        assert_int_equal(bytes.len, sizeof made);
        assert_memory_equal(made, bytes.ptr, sizeof made);
    }
}

static void a_register_entry_is_its_golden_bytes(void **state)
{
    (void)state;
    const flx_slice bytes = load("register");
    flx_register_entry read;
    assert_int_equal(flx_register_entry_decode(bytes, &read, NULL), FLX_OK);
    assert_memory_equal(read.store_id, store_id, sizeof store_id);
    assert_memory_equal(read.log_id, log_id, sizeof log_id);
    assert_int_equal(read.created_us, UINT64_C(1700000000000000));
    uint8_t made[FLX_REGISTER_ENTRY_BYTES];
    flx_register_entry_encode(&read, made);
    assert_int_equal(bytes.len, sizeof made);
    assert_memory_equal(made, bytes.ptr, sizeof made);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        golden[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_not_equal(flx_register_entry_decode(bytes, &read, NULL), FLX_OK);
        golden[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void a_later_version_is_refused_by_name(void **state)
{
    (void)state;
    const flx_slice bytes = load("store");
    flx_store_file read;
    flx_error error;
    golden[11] = 2;
    assert_int_equal(flx_store_file_decode(bytes, &read, &error), FLX_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "version 2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crc_is_castagnoli),
        cmocka_unit_test(a_batch_is_its_golden_bytes),
        cmocka_unit_test(a_plain_batch_is_read),
        cmocka_unit_test(a_broken_batch_is_found_out),
        cmocka_unit_test(a_segment_is_its_golden_bytes),
        cmocka_unit_test(a_state_is_its_golden_bytes),
        cmocka_unit_test(a_store_file_is_its_golden_bytes),
        cmocka_unit_test(a_register_entry_is_its_golden_bytes),
        cmocka_unit_test(a_later_version_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, make_ids, NULL);
}
