/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The golden frames of tests/vectors/wire: each is read, decoded, held against the fields written
 * beside it, encoded again to the same bytes, and refused when any of its bytes are missing.
 */
#include "unit.h"
#include "wire/ack.h"
#include "wire/change_batch.h"
#include "wire/event.h"
#include "wire/frame.h"
#include "wire/json.h"
#include "wire/message.h"
#include "wire/operation.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <dirent.h>
#include <stdio.h>

#define FILE_BYTES_MAX 16384
#define COUNT_MAX      64

typedef struct golden_change {
    uint64_t offset;
    uint64_t expires;
    flx_slice key;
    flx_slice value; /* as hex */
    bool has_value;
} golden_change;

/* One file. Numbers and texts of binary frames that a file does not name stay zero and empty. */
typedef struct golden {
    uint8_t file[FILE_BYTES_MAX];
    size_t file_len;
    uint8_t payload[FILE_BYTES_MAX / 2];
    size_t payload_len;
    uint8_t frame[FILE_BYTES_MAX / 2];
    size_t frame_len;
    flx_slice payload_json;
    flx_slice kind;
    uint64_t flags;
    flx_slice status, message, ack_mode, key, tenant_id, namespace_, stream, retry, reason, node_id,
        addr, publisher;
    uint64_t request_id, producer_id, sequence, code, retry_after_ms, generation, offset,
        subscription_id, base_offset, skipped_before;
    flx_slice payloads[COUNT_MAX];
    size_t payloads_count;
    uint64_t stamps[COUNT_MAX];
    size_t stamps_count;
    flx_operation_head operations[COUNT_MAX]; /* bodies as hex */
    size_t operations_count;
    flx_slice batch; /* the kind of one of changes */
    uint64_t end;
    golden_change changes[COUNT_MAX];
    size_t changes_count;
} golden;

static size_t unhex(flx_slice hex, uint8_t *to)
{
    assert_true(hex.len % 2 == 0 && hex.len / 2 <= FILE_BYTES_MAX / 2);
    for (size_t i = 0; i < hex.len / 2; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf((const char *)hex.ptr + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
    return hex.len / 2;
}

static void read_text(flx_json *json, flx_slice *to)
{
    if (!flx_json_take_null(json)) {
        assert_true(flx_json_string(json, to));
    }
}

static void read_list(flx_json *json, golden *vector, bool stamps)
{
    assert_true(flx_json_array_begin(json));
    for (bool first = true; flx_json_element(json, first) == FLX_JSON_ITEM; first = false) {
        if (stamps) {
            assert_true(flx_json_u64(json, &vector->stamps[vector->stamps_count++]));
        } else {
            assert_true(flx_json_string(json, &vector->payloads[vector->payloads_count++]));
        }
        assert_true(vector->payloads_count < COUNT_MAX && vector->stamps_count < COUNT_MAX);
    }
}

static void read_operation(flx_json *json, flx_operation_head *head)
{
    flx_slice key;
    assert_true(flx_json_object_begin(json));
    for (bool first = true; flx_json_member(json, first, &key) == FLX_JSON_ITEM; first = false) {
        uint64_t number;
        if (flx_slice_is(key, "body_hex")) {
            assert_true(flx_json_string(json, &head->body));
            continue;
        }
        assert_true(flx_json_u64(json, &number));
        if (flx_slice_is(key, "opcode")) {
            head->opcode = (uint8_t)number;
        } else if (flx_slice_is(key, "flags")) {
            head->flags = (uint8_t)number;
        } else if (flx_slice_is(key, "id")) {
            head->id = (uint32_t)number;
        } else {
            assert_true(flx_slice_is(key, "handle") || flx_slice_is(key, "status"));
            head->handle = (uint16_t)number;
        }
    }
}

static void read_operations(flx_json *json, golden *vector)
{
    assert_true(flx_json_array_begin(json));
    for (bool first = true; flx_json_element(json, first) == FLX_JSON_ITEM; first = false) {
        assert_true(vector->operations_count < COUNT_MAX);
        read_operation(json, &vector->operations[vector->operations_count++]);
    }
}

static void read_change(flx_json *json, golden_change *change)
{
    flx_slice key;
    assert_true(flx_json_object_begin(json));
    for (bool first = true; flx_json_member(json, first, &key) == FLX_JSON_ITEM; first = false) {
        if (flx_slice_is(key, "offset")) {
            assert_true(flx_json_u64(json, &change->offset));
        } else if (flx_slice_is(key, "expires_at_millis")) {
            assert_true(flx_json_u64(json, &change->expires));
        } else if (flx_slice_is(key, "key_utf8")) {
            assert_true(flx_json_string(json, &change->key));
        } else {
            assert_true(flx_slice_is(key, "value_hex"));
            change->has_value = !flx_json_take_null(json);
            assert_true(!change->has_value || flx_json_string(json, &change->value));
        }
    }
}

static void read_changes(flx_json *json, golden *vector)
{
    assert_true(flx_json_array_begin(json));
    for (bool first = true; flx_json_element(json, first) == FLX_JSON_ITEM; first = false) {
        assert_true(vector->changes_count < COUNT_MAX);
        read_change(json, &vector->changes[vector->changes_count++]);
    }
}

static void read_member(flx_json *json, golden *vector, flx_slice key)
{
    const struct {
        const char *name;
        flx_slice *to;
    } texts[] = {
        {"payload_json", &vector->payload_json},
        {"kind", &vector->kind},
        {"status", &vector->status},
        {"message", &vector->message},
        {"ack_mode", &vector->ack_mode},
        {"key_utf8", &vector->key},
        {"tenant_id", &vector->tenant_id},
        {"namespace", &vector->namespace_},
        {"stream", &vector->stream},
        {"retry", &vector->retry},
        {"reason", &vector->reason},
        {"node_id", &vector->node_id},
        {"addr", &vector->addr},
        {"publisher", &vector->publisher},
        {"batch", &vector->batch},
    };
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {
        {"flags", &vector->flags},
        {"request_id", &vector->request_id},
        {"producer_id", &vector->producer_id},
        {"sequence", &vector->sequence},
        {"code", &vector->code},
        {"retry_after_ms", &vector->retry_after_ms},
        {"generation", &vector->generation},
        {"offset", &vector->offset},
        {"subscription_id", &vector->subscription_id},
        {"base_offset", &vector->base_offset},
        {"skipped_before", &vector->skipped_before},
        {"end", &vector->end},
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (flx_slice_is(key, texts[i].name)) {
            read_text(json, texts[i].to);
            return;
        }
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        if (flx_slice_is(key, numbers[i].name)) {
            assert_true(flx_json_u64(json, numbers[i].to));
            return;
        }
    }
    flx_slice hex;
    if (flx_slice_is(key, "payloads_utf8") || flx_slice_is(key, "timestamps_micros")) {
        read_list(json, vector, flx_slice_is(key, "timestamps_micros"));
    } else if (flx_slice_is(key, "operations")) {
        read_operations(json, vector);
    } else if (flx_slice_is(key, "changes")) {
        read_changes(json, vector);
    } else if (flx_slice_is(key, "payload_hex")) {
        assert_true(flx_json_string(json, &hex));
        vector->payload_len = unhex(hex, vector->payload);
    } else if (flx_slice_is(key, "frame_hex")) {
        assert_true(flx_json_string(json, &hex));
        vector->frame_len = unhex(hex, vector->frame);
    } else {
        assert_true(
            flx_slice_is(key, "name")); /* a field this test does not know would go unchecked */
        assert_true(flx_json_skip(json, NULL));
    }
}

static void load(const char *name, golden *vector)
{
    char path[512];
    memset(vector, 0, sizeof *vector);
    (void)snprintf(path, sizeof path, "%s/vectors/wire/%s", FLX_TESTS_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    vector->file_len = fread(vector->file, 1, sizeof vector->file, file);
    (void)fclose(file);
    assert_in_range(vector->file_len, 1, sizeof vector->file - 1);

    flx_json json;
    flx_json_init(&json, vector->file, vector->file_len);
    assert_true(flx_json_object_begin(&json));
    flx_slice key;
    for (bool first = true; flx_json_member(&json, first, &key) == FLX_JSON_ITEM; first = false) {
        read_member(&json, vector, key);
    }
    assert_true(flx_json_finish(&json));
    assert_null(json.error);
}

/* ---- each kind: decode, compare, encode ---- */

static flx_slice payload_of(const golden *vector)
{
    return (flx_slice){vector->payload, vector->payload_len};
}

static flx_msg_type check_message(const golden *vector)
{
    uint8_t json[FILE_BYTES_MAX / 2];
    uint8_t out[FILE_BYTES_MAX / 2];
    flx_arena arena;
    flx_msg msg;
    flx_writer writer;
    assert_true(flx_slice_equal(vector->payload_json, payload_of(vector)));
    flx_arena_init(&arena, 1 << 20);
    memcpy(json, vector->payload, vector->payload_len);
    assert_int_equal(flx_msg_decode(&arena, json, vector->payload_len, &msg, NULL), FLX_OK);
    flx_writer_init(&writer, out, sizeof out);
    flx_msg_encode_frame(&msg, &writer);
    assert_int_equal(writer.len, vector->frame_len);
    assert_memory_equal(out, vector->frame, vector->frame_len);
    assert_int_equal(flx_msg_frame_bytes(&msg), vector->frame_len);
    for (size_t len = 0; len < vector->payload_len; len++) {
        flx_msg cut;
        memcpy(json, vector->payload, vector->payload_len);
        flx_arena_reset(&arena);
        assert_int_equal(flx_msg_decode(&arena, json, len, &cut, NULL), FLX_ERR_PROTOCOL);
    }
    flx_arena_done(&arena);
    return msg.type;
}

static void check_payloads(const golden *vector, flx_slice region)
{
    flx_slice payload;
    for (size_t i = 0; i < vector->payloads_count; i++) {
        assert_true(flx_records_next(&region, &payload));
        assert_true(flx_slice_equal(payload, vector->payloads[i]));
    }
    assert_false(flx_records_next(&region, &payload));
}

static void check_publish(const golden *vector)
{
    const uint16_t flags = (uint16_t)vector->flags;
    flx_publish publish;
    assert_int_equal(flx_publish_decode(flags, payload_of(vector), &publish, NULL), FLX_OK);
    assert_true(publish.request_id == vector->request_id);
    assert_true(publish.producer_id == vector->producer_id);
    assert_true(publish.sequence == vector->sequence);
    assert_true(flx_slice_equal(publish.key, vector->key));
    assert_true(flx_slice_equal(publish.tenant_id, vector->tenant_id));
    assert_true(flx_slice_equal(publish.namespace_, vector->namespace_));
    assert_true(flx_slice_equal(publish.stream, vector->stream));
    assert_int_equal(publish.count, vector->payloads_count);
    assert_true(
        vector->ack_mode.len == 0
            ? publish.ack == FLX_ACK_NONE
            : flx_slice_equal(vector->ack_mode, flx_enum_word(&flx_ack_mode_names, publish.ack)));
    check_payloads(vector, publish.region);

    uint8_t out[FILE_BYTES_MAX / 2];
    uint8_t *at = flx_publish_head_encode(&publish, out);
    assert_int_equal(at - out, flx_publish_head_bytes(&publish));
    memcpy(at, publish.region.ptr, publish.region.len);
    assert_int_equal((size_t)(at - out) + publish.region.len, vector->payload_len);
    assert_memory_equal(out, vector->payload, vector->payload_len);
}

static void check_ack(const golden *vector)
{
    flx_publish_ack ack;
    assert_int_equal(
        flx_publish_ack_decode((uint16_t)vector->flags, payload_of(vector), &ack, NULL), FLX_OK);
    assert_int_equal(ack.ok, flx_slice_is(vector->status, "ok"));
    assert_true(ack.request_id == vector->request_id);
    assert_true(flx_slice_equal(ack.message, vector->message));
    assert_int_equal(ack.code, vector->code);
    assert_true(vector->retry.len == 0 || ack.retry == flx_retry_find(vector->retry));
    assert_true(flx_slice_equal(ack.reason, vector->reason));
    assert_true(ack.retry_after_ms == vector->retry_after_ms);
    assert_true(flx_slice_equal(ack.node_id, vector->node_id));
    assert_true(flx_slice_equal(ack.addr, vector->addr));
    assert_true(ack.generation == vector->generation);
    assert_true(ack.offset == vector->offset);

    uint8_t out[FILE_BYTES_MAX / 2];
    assert_int_equal(flx_publish_ack_encode(&ack, out) - out, vector->payload_len);
    assert_memory_equal(out, vector->payload, vector->payload_len);
}

static void check_event(const golden *vector)
{
    flx_event_batch batch;
    flx_event_iter iter;
    flx_event_record record;
    assert_int_equal(
        flx_event_batch_decode((uint16_t)vector->flags, payload_of(vector), &batch, NULL), FLX_OK);
    assert_true(batch.subscription_id == vector->subscription_id);
    assert_true(batch.base_offset == vector->base_offset);
    assert_true(batch.skipped_before == vector->skipped_before);
    assert_true(flx_slice_equal(batch.publisher, vector->publisher));
    assert_int_equal(batch.count, vector->payloads_count);
    flx_event_iter_init(&iter, &batch);
    for (size_t i = 0; i < vector->payloads_count; i++) {
        assert_true(flx_event_iter_next(&iter, &record));
        assert_true(flx_slice_equal(record.payload, vector->payloads[i]));
        assert_true(record.offset == vector->base_offset + i);
        assert_true(record.timestamp_us == vector->stamps[i]);
    }
    assert_false(flx_event_iter_next(&iter, &record));

    uint8_t out[FILE_BYTES_MAX / 2];
    uint8_t *at = flx_event_frame_head_encode(&batch, out);
    memcpy(at, batch.region.ptr, batch.region.len);
    assert_int_equal((size_t)(at - out) + batch.region.len, vector->frame_len);
    assert_memory_equal(out, vector->frame, vector->frame_len);
}

static void check_changes(const golden *vector)
{
    uint8_t again[FILE_BYTES_MAX / 2];
    uint8_t value[FILE_BYTES_MAX / 2];
    flx_change_batch batch;
    assert_int_equal(flx_change_batch_decode(payload_of(vector), &batch, NULL), FLX_OK);
    assert_int_equal(batch.kind, flx_slice_is(vector->batch, "snapshot"));
    assert_true(batch.end == vector->end);
    assert_int_equal(batch.count, vector->changes_count);
    uint8_t *to = flx_change_batch_head_put(again, batch.kind, batch.end, batch.count);
    assert_int_equal(to - again, FLX_CHANGE_BATCH_HEAD_BYTES);
    for (size_t i = 0; i < vector->changes_count; i++) {
        const golden_change *wanted = &vector->changes[i];
        flx_change change;
        uint64_t offset;
        assert_true(flx_change_batch_next(&batch, &offset, &change));
        assert_true(offset == wanted->offset && change.expires_at_ms == wanted->expires);
        assert_int_equal(change.kind == FLX_CHANGE_KIND_PUT, wanted->has_value);
        assert_true(flx_slice_equal(change.key, wanted->key));
        assert_true(flx_slice_equal(change.value, (flx_slice){value, unhex(wanted->value, value)}));
        const uint8_t *from = to;
        to = flx_change_batch_record_put(to, vector->end, offset, &change);
        assert_int_equal(to - from, flx_change_batch_record_bytes(vector->end, offset, &change));
    }
    assert_true(flx_slice_equal((flx_slice){again, (size_t)(to - again)}, payload_of(vector)));
}

/* Every shorter payload, copied to memory that ends where it ends, must be refused. */
static void check_cut_binary(const golden *vector)
{
    const uint16_t flags = (uint16_t)vector->flags;
    for (size_t len = 0; len < vector->payload_len; len++) {
        uint8_t *cut = malloc(len + 1);
        assert_non_null(cut);
        memcpy(cut, vector->payload, len);
        const flx_slice payload = {cut, len};
        flx_publish publish;
        flx_publish_ack ack;
        flx_event_batch batch;
        flx_change_batch changes;
        if (flx_slice_is(vector->kind,
                         "change_batch")) { /* what it is says the stream, not the flags */
            assert_int_not_equal(flx_change_batch_decode(payload, &changes, NULL), FLX_OK);
        }
        assert_int_not_equal(flx_publish_decode(flags, payload, &publish, NULL), FLX_OK);
        assert_int_not_equal(flx_publish_ack_decode(flags, payload, &ack, NULL), FLX_OK);
        assert_int_not_equal(flx_event_batch_decode(flags, payload, &batch, NULL), FLX_OK);
        free(cut);
    }
}

/* One operation: what it decodes to is encoded to the same bytes. */
static void check_operation(const flx_operation_head *head, bool is_request)
{
    uint8_t again[FILE_BYTES_MAX / 2];
    flx_operation operation;
    flx_operation_answer answer;
    const uint8_t *end;
    if (is_request) {
        assert_int_equal(flx_operation_decode(head, &operation, NULL), FLX_OK);
        end = flx_operation_encode(&operation, again);
        assert_int_equal(end - again, flx_operation_bytes(&operation));
    } else {
        assert_int_equal(flx_operation_answer_decode(head, &answer, NULL), FLX_OK);
        end = flx_operation_answer_encode(&answer, again);
        assert_int_equal(end - again, flx_operation_answer_bytes(&answer));
    }
    const uint8_t *body = again + FLX_OPERATION_HEAD_BYTES;
    assert_true(flx_slice_equal((flx_slice){body, (size_t)(end - body)}, head->body));
    assert_int_equal(memcmp(again, head->body.ptr - FLX_OPERATION_HEAD_BYTES, 12), 0);
}

static void check_operations(const golden *vector)
{
    uint8_t body[FILE_BYTES_MAX / 2];
    uint32_t count;
    flx_slice rest = payload_of(vector);
    assert_int_equal(flx_operations_check(rest, COUNT_MAX, &count, NULL), FLX_OK);
    assert_int_equal(count, vector->operations_count);
    assert_int_not_equal(flx_operations_check(rest, count - 1, &count, NULL), FLX_OK);
    for (uint32_t i = 0; i < vector->operations_count; i++) {
        const flx_operation_head *wanted = &vector->operations[i];
        flx_operation_head head;
        assert_true(flx_operations_next(&rest, &head));
        assert_int_equal(head.opcode, wanted->opcode);
        assert_int_equal(head.flags, wanted->flags);
        assert_int_equal(head.handle, wanted->handle);
        assert_int_equal(head.id, wanted->id);
        assert_true(flx_slice_equal(head.body, (flx_slice){body, unhex(wanted->body, body)}));
        check_operation(&head, flx_slice_is(vector->kind, "operations"));
    }
    assert_int_equal(rest.len, 0);
}

/* The frame, given to a reader whole and byte by byte. */
static void check_frame(const golden *vector)
{
    flx_frame_reader reader;
    flx_frame frame;
    flx_slice input = {vector->frame, vector->frame_len};
    flx_frame_reader_init(&reader, FLX_FRAME_BYTES_MAX);
    if (vector->flags == FLX_FLAG_OPERATIONS) {
        flx_frame_reader_allow_extension(&reader);
    }
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_READY);
    assert_int_equal(frame.flags, vector->flags);
    assert_true(flx_slice_equal(frame.payload, payload_of(vector)));
    for (size_t i = 0; i + 1 < vector->frame_len; i++) {
        input = (flx_slice){vector->frame + i, 1};
        assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_MORE);
        assert_false(flx_frame_reader_is_idle(&reader));
    }
    input = (flx_slice){vector->frame + vector->frame_len - 1, 1};
    assert_int_equal(flx_frame_reader_next(&reader, &input, &frame, NULL), FLX_FRAME_READY);
    assert_true(flx_slice_equal(frame.payload, payload_of(vector)));
    flx_frame_reader_done(&reader);
}

static flx_msg_type check_vector(const golden *vector)
{
    flx_msg_type type = FLX_MSG_UNKNOWN;
    check_frame(vector);
    if (vector->kind.len == 0) {
        return check_message(vector);
    }
    if (flx_slice_is(vector->kind, "operations") ||
        flx_slice_is(vector->kind, "operation_answers")) {
        check_operations(vector);
        return type;
    }
    check_cut_binary(vector);
    if (flx_slice_is(vector->kind, "change_batch")) {
        check_changes(vector);
    } else if (flx_slice_is(vector->kind, "binary_publish_ack")) {
        check_ack(vector);
    } else if (flx_slice_is(vector->kind, "binary_event_batch")) {
        check_event(vector);
    } else {
        assert_true(flx_slice_is(vector->kind, "binary_publish_batch") ||
                    flx_slice_is(vector->kind, "binary_acked_publish_batch"));
        check_publish(vector);
    }
    return type;
}

static golden current;

static void all_files_hold_and_cover_every_message(void **state)
{
    (void)state;
    bool seen[FLX_MSG_TYPE_END] = {false};
    uint16_t flags_seen = 0;
    size_t count = 0;
    DIR *folder = opendir(FLX_TESTS_DIR "/vectors/wire");
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        const char *end = strrchr(entry->d_name, '.');
        if (end == NULL || strcmp(end, ".json") != 0) {
            continue;
        }
        load(entry->d_name, &current);
        seen[check_vector(&current)] = true;
        flags_seen |= (uint16_t)current.flags;
        count++;
    }
    (void)closedir(folder);
    assert_in_range(count, 140, 1000);
    for (size_t type = FLX_MSG_UNKNOWN + 1; type < FLX_MSG_TYPE_END; type++) {
        if (!seen[type]) {
            fail_msg("no vector of message '%s'", flx_msg_name((flx_msg_type)type));
        }
    }
    assert_int_equal(flags_seen, FLX_FLAGS_KNOWN | FLX_FLAG_OPERATIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_files_hold_and_cover_every_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
