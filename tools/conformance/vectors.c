/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vectors.c - golden frames against this codec, both ways.
 *
 * A vector is a JSON file: name, payload_hex, frame_hex, and what they mean, either payload_json (the
 * exact text of a JSON message) or kind, flags and the fields. The frame is decoded, every field the
 * file names is compared, and encoding again must give the same bytes.
 */
#include "common/alloc.h"
#include "common/slice.h"
#include "suite.h"
#include "wire/ack.h"
#include "wire/change_batch.h"
#include "wire/event.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/operation.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <dirent.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_BYTES_MAX ((size_t)1 << 20)

typedef struct golden {
    const json_t *file;
    uint8_t *frame;
    size_t frame_len;
    uint8_t *payload;
    size_t payload_len;
    uint16_t flags;
    uint8_t *again; /* what encoding gave */
    size_t again_len;
    char why[256];
} golden;

static bool wrong(golden *vector, const char *format, ...) FLX_PRINTF(2, 3);
static bool wrong(golden *vector, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(vector->why, sizeof vector->why, format, args);
    va_end(args);
    return false;
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* The bytes of a hex member; false when it is missing or no lower-case hex. */
static bool hex_member(golden *vector, const char *name, uint8_t **ret_bytes, size_t *ret_len)
{
    const char *hex = json_string_value(json_object_get(vector->file, name));
    if (hex == NULL || strlen(hex) % 2 != 0 || strlen(hex) / 2 > VECTOR_BYTES_MAX) {
        return wrong(vector, "%s is missing or no hex", name);
    }
    const size_t len = strlen(hex) / 2;
    uint8_t *bytes = flx_alloc(len);
    for (size_t i = 0; bytes != NULL && i < len; i++) {
        const int high = digit(hex[2 * i]);
        const int low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            flx_free(bytes);
            return wrong(vector, "%s has a letter that is no hex", name);
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return bytes != NULL;
}

/* ---- fields ------------------------------------------------------------------------------------- */

/* A member that is absent claims nothing. Where numbers came as reals the comparison is only near;
 * encoding again then settles the last bits. */
static bool number_is(golden *vector, const char *name, uint64_t value)
{
    const json_t *member = json_object_get(vector->file, name);
    if (member == NULL) {
        return true;
    }
    const bool same = json_is_integer(member)
                          ? (uint64_t)json_integer_value(member) == value
                          : json_is_real(member) && json_real_value(member) == (double)value;
    return same || wrong(vector, "%s is %llu", name, (unsigned long long)value);
}

static bool text_is(golden *vector, const char *name, flx_slice value)
{
    const json_t *member = json_object_get(vector->file, name);
    if (member == NULL) {
        return true;
    }
    const char *text = json_is_null(member) ? "" : json_string_value(member);
    if (text == NULL) {
        return wrong(vector, "%s is no string", name);
    }
    const size_t len = json_is_null(member) ? 0 : json_string_length(member);
    return (len == value.len &&
            memcmp(text, value.ptr == NULL ? (const uint8_t *)"" : value.ptr, len) == 0) ||
           wrong(vector, "%s is '%.*s'", name, (int)value.len, (const char *)value.ptr);
}

static bool payload_is(golden *vector, size_t index, flx_slice value)
{
    const json_t *list = json_object_get(vector->file, "payloads_utf8");
    const json_t *item = json_array_get(list, index);
    if (list == NULL) {
        return true;
    }
    return (item != NULL && json_string_length(item) == value.len &&
            memcmp(json_string_value(item), value.ptr == NULL ? (const uint8_t *)"" : value.ptr,
                   value.len) == 0) ||
           wrong(vector, "payload %zu is another", index);
}

static bool count_is(golden *vector, size_t count)
{
    const json_t *list = json_object_get(vector->file, "payloads_utf8");
    return list == NULL || json_array_size(list) == count || wrong(vector, "%zu payloads", count);
}

/* ---- the kinds ------------------------------------------------------------------------------- */

static bool check_publish(golden *vector)
{
    flx_error error;
    flx_publish publish;
    const flx_slice payload = {vector->payload, vector->payload_len};
    if (flx_publish_decode(vector->flags, payload, &publish, &error) != FLX_OK) {
        return wrong(vector, "%s", error.message);
    }
    bool same = text_is(vector, "tenant_id", publish.tenant_id) &&
                text_is(vector, "namespace", publish.namespace_) &&
                text_is(vector, "stream", publish.stream) && count_is(vector, publish.count);
    if (same && flx_publish_is_acked(&publish)) {
        const char *mode = publish.ack == FLX_ACK_PER_MESSAGE ? "per_message" : "per_batch";
        same = number_is(vector, "request_id", publish.request_id) &&
               text_is(vector, "ack_mode", flx_slice_of(mode));
    }
    if (same && flx_publish_is_keyed(&publish)) {
        same = text_is(vector, "key_utf8", publish.key);
    }
    if (same && flx_publish_is_idempotent(&publish)) {
        same = number_is(vector, "producer_id", publish.producer_id) &&
               number_is(vector, "sequence", publish.sequence);
    }
    flx_slice rest = publish.region;
    flx_slice record;
    for (size_t i = 0; same && flx_records_next(&rest, &record); i++) {
        same = payload_is(vector, i, record);
    }
    if (same) {
        uint8_t *end = flx_publish_head_encode(&publish, vector->again);
        memcpy(end, publish.region.ptr, publish.region.len);
        vector->again_len = (size_t)(end - vector->again) + publish.region.len;
    }
    return same;
}

static bool check_ack(golden *vector)
{
    flx_error error;
    flx_publish_ack ack;
    const flx_slice payload = {vector->payload, vector->payload_len};
    if (flx_publish_ack_decode(vector->flags, payload, &ack, &error) != FLX_OK) {
        return wrong(vector, "%s", error.message);
    }
    const char *status = ack.ok ? "ok" : "error";
    const char *retry = flx_retry_name(flx_retry_from_byte(ack.retry));
    const bool same =
        text_is(vector, "status", flx_slice_of(status)) &&
        number_is(vector, "request_id", ack.request_id) &&
        text_is(vector, "message", ack.message) && number_is(vector, "code", ack.code) &&
        text_is(vector, "retry", flx_slice_of(retry)) && text_is(vector, "reason", ack.reason) &&
        number_is(vector, "retry_after_ms", ack.retry_after_ms) &&
        text_is(vector, "node_id", ack.node_id) && text_is(vector, "addr", ack.addr) &&
        number_is(vector, "generation", ack.generation) && number_is(vector, "offset", ack.offset);
    if (same) {
        vector->again_len = (size_t)(flx_publish_ack_encode(&ack, vector->again) - vector->again);
    }
    return same;
}

static bool check_event(golden *vector)
{
    flx_error error;
    flx_event_batch batch;
    const flx_slice payload = {vector->payload, vector->payload_len};
    if (flx_event_batch_decode(vector->flags, payload, &batch, &error) != FLX_OK) {
        return wrong(vector, "%s", error.message);
    }
    bool same = number_is(vector, "subscription_id", batch.subscription_id) &&
                number_is(vector, "base_offset", batch.base_offset) &&
                number_is(vector, "skipped_before", batch.skipped_before) &&
                text_is(vector, "publisher", batch.publisher) && count_is(vector, batch.count);
    flx_event_iter iter;
    flx_event_record record;
    flx_event_iter_init(&iter, &batch);
    const json_t *times = json_object_get(vector->file, "timestamps_micros");
    for (size_t i = 0; same && flx_event_iter_next(&iter, &record); i++) {
        same = payload_is(vector, i, record.payload);
        const json_t *time = json_array_get(times, i);
        if (same && time != NULL && (uint64_t)json_integer_value(time) != record.timestamp_us) {
            same = wrong(vector, "time %zu is %llu", i, (unsigned long long)record.timestamp_us);
        }
    }
    if (same) {
        uint8_t *end = flx_event_head_encode(&batch, vector->again);
        memcpy(end, batch.region.ptr, batch.region.len);
        vector->again_len = (size_t)(end - vector->again) + batch.region.len;
    }
    return same;
}

#define OPERATIONS_MAX 65536

/* Decodes one and appends it again. */
static bool repeat_operation(golden *vector, const flx_operation_head *head, bool is_request)
{
    flx_error error;
    uint8_t *to = vector->again + vector->again_len;
    if (is_request) {
        flx_operation operation;
        if (flx_operation_decode(head, &operation, &error) != FLX_OK) {
            return wrong(vector, "%s", error.message);
        }
        to = flx_operation_encode(&operation, to);
    } else {
        flx_operation_answer answer;
        if (flx_operation_answer_decode(head, &answer, &error) != FLX_OK) {
            return wrong(vector, "%s", error.message);
        }
        to = flx_operation_answer_encode(&answer, to);
    }
    vector->again_len = (size_t)(to - vector->again);
    return true;
}

/* The list beside the frame says what is in it; its members are looked up as a vector's own are. */
static bool check_operations(golden *vector, bool is_request)
{
    uint32_t count;
    flx_error error;
    flx_slice rest = {vector->payload, vector->payload_len};
    if (flx_operations_check(rest, OPERATIONS_MAX, &count, &error) != FLX_OK) {
        return wrong(vector, "%s", error.message);
    }
    const json_t *file = vector->file;
    const json_t *list = json_object_get(file, "operations");
    bool same = json_array_size(list) == count || wrong(vector, "%u operations", count);
    flx_operation_head head;
    for (size_t i = 0; same && flx_operations_next(&rest, &head); i++) {
        uint8_t *body = NULL;
        size_t body_len = 0;
        vector->file = json_array_get(list, i);
        same = number_is(vector, "opcode", head.opcode) && number_is(vector, "flags", head.flags) &&
               number_is(vector, "id", head.id) &&
               number_is(vector, is_request ? "handle" : "status", head.handle) &&
               hex_member(vector, "body_hex", &body, &body_len) &&
               ((body_len == head.body.len && memcmp(body, head.body.ptr, body_len) == 0) ||
                wrong(vector, "body %zu is another", i)) &&
               repeat_operation(vector, &head, is_request);
        flx_free(body);
    }
    vector->file = file;
    return same;
}

/* The value of the change that `vector->file` is just now: null for a delete. */
static bool value_is(golden *vector, const flx_change *change)
{
    uint8_t *value = NULL;
    size_t len = 0;
    if (json_is_null(json_object_get(vector->file, "value_hex"))) {
        return change->kind == FLX_CHANGE_KIND_DELETE || wrong(vector, "a put");
    }
    if (change->kind != FLX_CHANGE_KIND_PUT) {
        return wrong(vector, "a delete");
    }
    const bool same = hex_member(vector, "value_hex", &value, &len) &&
                      ((len == change->value.len && memcmp(value, change->value.ptr, len) == 0) ||
                       wrong(vector, "the value is another"));
    flx_free(value);
    return same;
}

static bool check_changes(golden *vector)
{
    flx_error error;
    flx_change_batch batch;
    const json_t *file = vector->file;
    const json_t *list = json_object_get(file, "changes");
    if (flx_change_batch_decode((flx_slice){vector->payload, vector->payload_len}, &batch,
                                &error) != FLX_OK) {
        return wrong(vector, "%s", error.message);
    }
    const char *kind = batch.kind == FLX_CHANGE_BATCH_SNAPSHOT ? "snapshot" : "changes";
    bool same =
        (json_array_size(list) == batch.count || wrong(vector, "%u changes", batch.count)) &&
        number_is(vector, "end", batch.end) &&
        text_is(vector, "batch", (flx_slice){(const uint8_t *)kind, strlen(kind)});
    uint8_t *to = flx_change_batch_head_put(vector->again, batch.kind, batch.end, batch.count);
    flx_change change;
    uint64_t offset;
    for (size_t i = 0; same && flx_change_batch_next(&batch, &offset, &change); i++) {
        vector->file = json_array_get(list, i);
        same = number_is(vector, "offset", offset) && text_is(vector, "key_utf8", change.key) &&
               number_is(vector, "expires_at_millis", change.expires_at_ms) &&
               value_is(vector, &change);
        to = flx_change_batch_record_put(to, batch.end, offset, &change);
    }
    vector->file = file;
    vector->again_len = (size_t)(to - vector->again);
    return same;
}

static bool check_json(golden *vector)
{
    const json_t *member = json_object_get(vector->file, "payload_json");
    if (json_string_length(member) != vector->payload_len ||
        memcmp(json_string_value(member), vector->payload, vector->payload_len) != 0) {
        return wrong(vector, "payload_json and payload_hex differ");
    }
    flx_error error;
    flx_msg msg;
    flx_arena arena;
    flx_arena_init(&arena, VECTOR_BYTES_MAX);
    uint8_t *json = flx_alloc(vector->payload_len); /* decoded in place */
    bool same = json != NULL;
    if (same) {
        memcpy(json, vector->payload, vector->payload_len);
        same = flx_msg_decode(&arena, json, vector->payload_len, &msg, &error) == FLX_OK ||
               wrong(vector, "%s", error.message);
    }
    if (same) {
        flx_writer writer;
        flx_writer_init(&writer, vector->again, VECTOR_BYTES_MAX);
        flx_msg_encode(&msg, &writer);
        vector->again_len = writer.len;
    }
    flx_free(json);
    flx_arena_done(&arena);
    return same;
}

/* ---- one file --------------------------------------------------------------------------------------- */

static bool check_meaning(golden *vector)
{
    const char *kind = json_string_value(json_object_get(vector->file, "kind"));
    if (kind == NULL) {
        return vector->flags == 0 ? check_json(vector) : wrong(vector, "no kind is given");
    }
    if (strcmp(kind, "binary_publish_batch") == 0 ||
        strcmp(kind, "binary_acked_publish_batch") == 0) {
        return check_publish(vector);
    }
    if (strcmp(kind, "binary_publish_ack") == 0) {
        return check_ack(vector);
    }
    if (strcmp(kind, "binary_event_batch") == 0) {
        return check_event(vector);
    }
    if (strcmp(kind, "operations") == 0 || strcmp(kind, "operation_answers") == 0) {
        return check_operations(vector, strcmp(kind, "operations") == 0);
    }
    if (strcmp(kind, "change_batch") == 0) {
        return check_changes(vector);
    }
    return wrong(vector, "unknown kind '%s'", kind);
}

static bool check_vector(golden *vector)
{
    if (!hex_member(vector, "frame_hex", &vector->frame, &vector->frame_len) ||
        !hex_member(vector, "payload_hex", &vector->payload, &vector->payload_len)) {
        return false;
    }
    flx_frame_header header;
    const flx_slice frame = {vector->frame, vector->frame_len};
    if (flx_frame_header_decode(frame, FLX_FRAME_BYTES_MAX, &header) != FLX_FRAME_CHECK_OK) {
        return wrong(vector, "the frame's header does not decode");
    }
    vector->flags = header.flags;
    if (header.len != vector->payload_len ||
        vector->frame_len != FLX_FRAME_HEADER_BYTES + header.len ||
        memcmp(vector->frame + FLX_FRAME_HEADER_BYTES, vector->payload, vector->payload_len) != 0) {
        return wrong(vector, "frame_hex and payload_hex differ");
    }
    vector->again = flx_alloc(VECTOR_BYTES_MAX);
    if (vector->again == NULL || !number_is(vector, "flags", header.flags) ||
        !check_meaning(vector)) {
        return false;
    }
    uint8_t head[FLX_FRAME_HEADER_BYTES];
    flx_frame_header_encode(vector->flags, (uint32_t)vector->again_len, head);
    if (vector->again_len != vector->payload_len ||
        memcmp(vector->again, vector->payload, vector->payload_len) != 0 ||
        memcmp(head, vector->frame, sizeof head) != 0) {
        return wrong(vector, "encoding it again gives other bytes");
    }
    return true;
}

static bool check_file(const char *folder, const char *file_name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, file_name);
    json_error_t error;
    json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (file == NULL) { /* numbers above INT64_MAX: jansson has them as reals only */
        file = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    }
    golden vector = {.file = file};
    const char *name = json_string_value(json_object_get(file, "name"));
    const bool ok = file != NULL ? check_vector(&vector)
                                 : wrong(&vector, "line %d: %s", error.line, error.text);
    if (ok) {
        (void)printf("ok %s\n", name != NULL ? name : file_name);
    } else {
        (void)printf("FAIL %s: %s\n", name != NULL ? name : file_name, vector.why);
    }
    flx_free(vector.frame);
    flx_free(vector.payload);
    flx_free(vector.again);
    json_decref(file);
    return ok;
}

static int is_json(const struct dirent *entry)
{
    const size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

int vectors_check(const char *folder)
{
    struct dirent **files = NULL;
    const int count = scandir(folder, &files, is_json, alphasort);
    if (count <= 0) {
        (void)fprintf(stderr, "felix-conformance: no vectors (*.json) in '%s'\n", folder);
        free(files);
        return -1;
    }
    int failures = 0;
    for (int i = 0; i < count; i++) {
        failures += !check_file(folder, files[i]->d_name);
        free(files[i]);
    }
    free(files);
    return failures;
}
