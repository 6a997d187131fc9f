/* SPDX-License-Identifier: Apache-2.0 */
/* Operation frames: what is malformed and how, the meaning of each field, records of a group. The
 * golden frames of test_vectors hold the bytes. */
#include "unit.h"
#include "wire/operation.h"

#include <felix/status.h>

#define BODY_MAX 64

static void payloads_that_do_not_add_up(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t len;
        const char *bytes;
        uint32_t count; /* 0: refused */
    } rows[] = {
        {"nothing", 0, "", 0},
        {"half a head", 11, "\0\0\0\0\x10\0\0\0\0\0\0", 0},
        {"a head", 12, "\0\0\0\0\x10\0\0\0\0\0\0\1", 1},
        {"a body that is not there", 12, "\0\0\0\1\x10\0\0\0\0\0\0\1", 0},
        {"a body of 4 GiB", 13, "\xff\xff\xff\xff\x10\0\0\0\0\0\0\1k", 0},
        {"a body", 13, "\0\0\0\1\x10\0\0\0\0\0\0\1k", 1},
        {"two", 25, "\0\0\0\1\x10\0\0\0\0\0\0\1k\0\0\0\0\x10\0\0\0\0\0\0\2", 2},
        {"a byte left over", 14, "\0\0\0\1\x10\0\0\0\0\0\0\1kk", 0},
        {"three, one too many", 36,
         "\0\0\0\0\x10\0\0\0\0\0\0\1\0\0\0\0\x10\0\0\0\0\0\0\2\0\0\0\0\x10\0\0\0\0\0\0\3", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const flx_slice payload = {(const uint8_t *)rows[i].bytes, rows[i].len};
        uint32_t count = 0;
        const flx_status status = flx_operations_check(payload, 2, &count, NULL);
        if (status != (rows[i].count > 0 ? FLX_OK : FLX_ERR_PROTOCOL) || count != rows[i].count) {
            fail_msg("%s", rows[i].name);
        }
    }
}

static void malformed_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t opcode;
        uint8_t flags;
        size_t len;
        const char *body;
        flx_status status;
    } rows[] = {
        {"get", FLX_OPCODE_CACHE_GET, 0, 1, "k", FLX_OK},
        {"get of the empty key", FLX_OPCODE_CACHE_GET, 0, 0, "", FLX_OK},
        {"get with a flag", FLX_OPCODE_CACHE_GET, 1, 1, "k", FLX_ERR_PROTOCOL},
        {"get, not UTF-8", FLX_OPCODE_CACHE_GET, 0, 1, "\xff", FLX_ERR_PROTOCOL},
        {"put", FLX_OPCODE_CACHE_PUT, 0, 6, "\0\0\0\1kv", FLX_OK},
        {"put of bytes", FLX_OPCODE_CACHE_PUT, 0, 6, "\0\0\0\1k\xff", FLX_OK},
        {"put, key past the end", FLX_OPCODE_CACHE_PUT, 0, 6, "\0\0\0\3kv", FLX_ERR_PROTOCOL},
        {"put, key not UTF-8", FLX_OPCODE_CACHE_PUT, 0, 6, "\0\0\0\1\xffv", FLX_ERR_PROTOCOL},
        {"put, ttl missing", FLX_OPCODE_CACHE_PUT, 1, 6, "\0\0\0\1kv", FLX_ERR_PROTOCOL},
        {"put with a version", FLX_OPCODE_CACHE_PUT, 2, 14, "\0\0\0\0\0\0\0\7\0\0\0\1kv",
         FLX_ERR_PROTOCOL},
        {"put_if with a version", FLX_OPCODE_CACHE_PUT_IF, 2, 14, "\0\0\0\0\0\0\0\7\0\0\0\1kv",
         FLX_OK},
        {"delete_if", FLX_OPCODE_CACHE_DELETE_IF, 0, 9, "\0\0\0\0\0\0\0\7k", FLX_OK},
        {"delete_if, no version", FLX_OPCODE_CACHE_DELETE_IF, 0, 7, "\0\0\0\0\0\0\7",
         FLX_ERR_PROTOCOL},
        {"open", FLX_OPCODE_OPEN, 0, 10, "\1\0\1t\0\1n\0\1c", FLX_OK},
        {"open, unknown kind", FLX_OPCODE_OPEN, 0, 10, "\2\0\1t\0\1n\0\1c", FLX_ERR_PROTOCOL},
        {"open, byte left over", FLX_OPCODE_OPEN, 0, 11, "\1\0\1t\0\1n\0\1cc", FLX_ERR_PROTOCOL},
        {"placement", FLX_OPCODE_PLACEMENT, 0, 14, "\2\0\1t\0\1n\0\1c\0\0\0\1", FLX_OK},
        {"placement by key", FLX_OPCODE_PLACEMENT, 1, 15, "\2\0\1t\0\1n\0\1c\0\0\0\0\xff", FLX_OK},
        {"placement, unknown kind", FLX_OPCODE_PLACEMENT, 0, 14, "\4\0\1t\0\1n\0\1c\0\0\0\1",
         FLX_ERR_PROTOCOL},
        {"placement without a key", FLX_OPCODE_PLACEMENT, 0, 15, "\2\0\1t\0\1n\0\1c\0\0\0\1k",
         FLX_ERR_PROTOCOL},
        {"group", FLX_OPCODE_GROUP_DESCRIBE, 0, 7, "\0\0\0\1\0\1g", FLX_OK},
        {"seek, unknown start", FLX_OPCODE_GROUP_SEEK, 0, 16, "\0\0\0\1\0\1g\3\0\0\0\0\0\0\0\0",
         FLX_ERR_PROTOCOL},
        {"opcode 0", 0, 0, 1, "k", FLX_ERR_UNSUPPORTED},
        {"an opcode of the future", 0x7F, 0xFF, 1, "k", FLX_ERR_UNSUPPORTED},
        {"opcode 255", 0xFF, 0, 1, "k", FLX_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_operation operation;
        const flx_operation_head head = {.opcode = rows[i].opcode,
                                         .flags = rows[i].flags,
                                         .handle = 9,
                                         .id = 77,
                                         .body = {(const uint8_t *)rows[i].body, rows[i].len}};
        if (flx_operation_decode(&head, &operation, NULL) != rows[i].status) {
            fail_msg("%s", rows[i].name);
        }
        assert_int_equal(operation.id, 77); /* whatever is wrong, it can be answered */
        assert_int_equal(operation.opcode, rows[i].opcode);
    }
}

static void malformed_answers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t opcode;
        uint8_t flags;
        uint16_t status;
        size_t len;
        const char *body;
        flx_status expected;
    } rows[] = {
        {"miss", FLX_OPCODE_CACHE_GET, 0, 0, 0, "", FLX_OK},
        {"miss with bytes", FLX_OPCODE_CACHE_GET, 0, 0, 1, "v", FLX_ERR_PROTOCOL},
        {"hit of nothing", FLX_OPCODE_CACHE_GET, 1, 0, 8, "\0\0\0\0\0\0\0\1", FLX_OK},
        {"hit without a version", FLX_OPCODE_CACHE_GET, 1, 0, 7, "\0\0\0\0\0\0\1",
         FLX_ERR_PROTOCOL},
        {"put", FLX_OPCODE_CACHE_PUT, 0, 0, 0, "", FLX_OK},
        {"put with a flag", FLX_OPCODE_CACHE_PUT, 1, 0, 0, "", FLX_ERR_PROTOCOL},
        {"failure", FLX_OPCODE_CACHE_PUT, 0, 3, 4, "\2\0\1x", FLX_OK},
        {"failure of a code of the future", FLX_OPCODE_CACHE_PUT, 0, 999, 4, "\2\0\1x", FLX_OK},
        {"failure of an unknown opcode", 0x7F, 0, 0xFFFF, 3, "\5\0\0", FLX_OK},
        {"failure without its message", FLX_OPCODE_CACHE_PUT, 0, 3, 1, "\2", FLX_ERR_PROTOCOL},
        {"failure, message not UTF-8", FLX_OPCODE_CACHE_PUT, 0, 3, 4, "\2\0\1\xff",
         FLX_ERR_PROTOCOL},
        {"failure, detail missing", FLX_OPCODE_CACHE_PUT, 1, 3, 4, "\2\0\1x", FLX_ERR_PROTOCOL},
        {"success of an unknown opcode", 0x7F, 0, 0, 0, "", FLX_ERR_UNSUPPORTED},
        {"placed on the last worker", FLX_OPCODE_PLACEMENT, 0, 0, 4, "\0\3\0\2", FLX_OK},
        {"placed on a worker there is not", FLX_OPCODE_PLACEMENT, 0, 0, 4, "\0\3\0\3",
         FLX_ERR_PROTOCOL},
        {"placed among no workers", FLX_OPCODE_PLACEMENT, 0, 0, 4, "\0\0\0\0", FLX_ERR_PROTOCOL},
        {"half an offset", FLX_OPCODE_GROUP_DEAD_LETTERS, 0, 0, 4, "\0\0\0\1", FLX_ERR_PROTOCOL},
        {"half a record", FLX_OPCODE_GROUP_POLL, 0, 0, 4, "\0\0\0\1", FLX_ERR_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_operation_answer answer;
        const flx_operation_head head = {.opcode = rows[i].opcode,
                                         .flags = rows[i].flags,
                                         .status = rows[i].status,
                                         .body = {(const uint8_t *)rows[i].body, rows[i].len}};
        if (flx_operation_answer_decode(&head, &answer, NULL) != rows[i].expected) {
            fail_msg("%s", rows[i].name);
        }
    }
}

/* What decode gave for the one operation in `bytes`. */
static flx_operation decoded(const uint8_t *bytes, size_t len)
{
    flx_operation_head head;
    flx_operation operation;
    uint32_t count;
    flx_slice payload = {bytes, len};
    assert_int_equal(flx_operations_check(payload, 1, &count, NULL), FLX_OK);
    assert_true(flx_operations_next(&payload, &head));
    memset(&operation, 0xA5, sizeof operation); /* what is left out must become 0 all the same */
    assert_int_equal(flx_operation_decode(&head, &operation, NULL), FLX_OK);
    return operation;
}

static void fields_come_back(void **state)
{
    (void)state;
    uint8_t bytes[BODY_MAX + 64];
    const flx_operation put_if = {.opcode = FLX_OPCODE_CACHE_PUT_IF,
                                  .flags = FLX_OPERATION_VERSION,
                                  .handle = 255,
                                  .id = UINT32_MAX,
                                  .version = UINT64_MAX,
                                  .key = slice_of("key"),
                                  .value = slice_of("value")};
    flx_operation read = decoded(bytes, (size_t)(flx_operation_encode(&put_if, bytes) - bytes));
    assert_int_equal(read.handle, 255);
    assert_int_equal(read.id, UINT32_MAX);
    assert_true(read.version == UINT64_MAX);
    assert_int_equal(read.ttl_ms, 0);
    assert_memory_equal(read.key.ptr, "key", 3);
    assert_int_equal(read.key.len, 3);
    assert_memory_equal(read.value.ptr, "value", 5);

    const flx_operation poll = {.opcode = FLX_OPCODE_GROUP_POLL,
                                .flags = FLX_OPERATION_CONSUMER | FLX_OPERATION_RECLAIM,
                                .shard = 7,
                                .group = slice_of("workers"),
                                .max_records = 10,
                                .wait_ms = 1000,
                                .consumer = slice_of("w-1")};
    read = decoded(bytes, (size_t)(flx_operation_encode(&poll, bytes) - bytes));
    assert_int_equal(read.shard, 7);
    assert_int_equal(read.max_records, 10);
    assert_int_equal(read.wait_ms, 1000);
    assert_int_equal(read.visibility_ms, 0);
    assert_memory_equal(read.group.ptr, "workers", 7);
    assert_memory_equal(read.consumer.ptr, "w-1", 3);
    assert_int_equal(read.flags, poll.flags);
}

static void records_of_a_group(void **state)
{
    (void)state;
    uint8_t bytes[256];
    const flx_group_record records[] = {
        {.offset = 10, .payload = slice_of("a")},
        {.offset = 12,
         .timestamp_us = 5,
         .skipped_before = 1,
         .attempts = 2,
         .publisher = slice_of("app-1"),
         .payload = slice_of("")},
    };
    uint8_t *end = bytes;
    for (size_t i = 0; i < COUNT(records); i++) {
        uint8_t *next = flx_group_record_put(&records[i], end);
        assert_int_equal(next - end, flx_group_record_bytes(&records[i]));
        end = next;
    }
    flx_slice region = {bytes, (size_t)(end - bytes)};
    assert_int_equal(flx_group_records_check(region, NULL), FLX_OK);
    region.len--;
    assert_int_equal(flx_group_records_check(region, NULL), FLX_ERR_PROTOCOL);
    region.len++;
    for (size_t i = 0; i < COUNT(records); i++) {
        flx_group_record record;
        assert_true(flx_group_record_next(&region, &record));
        assert_int_equal(record.offset, records[i].offset);
        assert_int_equal(record.timestamp_us, records[i].timestamp_us);
        assert_int_equal(record.skipped_before, records[i].skipped_before);
        assert_int_equal(record.attempts, records[i].attempts);
        assert_int_equal(record.publisher.len, records[i].publisher.len);
        assert_int_equal(record.payload.len, records[i].payload.len);
    }
    assert_int_equal(region.len, 0);
}

static void opcodes_have_names(void **state)
{
    (void)state;
    assert_string_equal(flx_opcode_name(FLX_OPCODE_CACHE_PUT_IF), "CACHE_PUT_IF");
    assert_string_equal(flx_opcode_name(0x3A), "GROUP_DELETE");
    assert_null(flx_opcode_name(0));
    assert_null(flx_opcode_name(0x3B));
    assert_null(flx_opcode_name(0xFF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_that_do_not_add_up), cmocka_unit_test(malformed_bodies),
        cmocka_unit_test(malformed_answers),           cmocka_unit_test(fields_come_back),
        cmocka_unit_test(records_of_a_group),          cmocka_unit_test(opcodes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
