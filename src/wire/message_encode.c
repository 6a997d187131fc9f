/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/message_encode.c - message structs to JSON, driven by the tables.
 *
 * Each field's `,"name":` is ready in the table, so a message is a run of copies. The payload's
 * length is known only at the end; the frame header in front is filled in then.
 */
#include "common/assert.h"
#include "common/error.h"
#include "wire/frame.h"
#include "wire/json.h"
#include "wire/message.h"
#include "wire/message_int.h"
#include "wire/utf8.h"

#include <string.h>

#define PUT(writer, text) flx_writer_put(writer, text, sizeof(text) - 1)

static void encode_fields(const flx_object *object, const uint8_t *body, bool first,
                          flx_writer *writer);

static void put_string(flx_writer *writer, flx_slice text)
{
    FLX_DEBUG_ASSERT(flx_utf8_is_valid(text));
    flx_json_put_string(writer, text);
}

static void put_bool(flx_writer *writer, bool value)
{
    if (value) {
        PUT(writer, "true");
    } else {
        PUT(writer, "false");
    }
}

static void encode_start(const flx_start *start, flx_writer *writer)
{
    switch (start->kind) {
    case FLX_START_LATEST:
        PUT(writer, "\"latest\"");
        return;
    case FLX_START_EARLIEST:
        PUT(writer, "\"earliest\"");
        return;
    case FLX_START_OFFSET:
        PUT(writer, "{\"offset\":");
        flx_json_put_u64(writer, start->offset);
        PUT(writer, "}");
        return;
    }
    FLX_UNREACHABLE();
}

static void encode_condition(const flx_condition *condition, flx_writer *writer)
{
    switch (condition->kind) {
    case FLX_CONDITION_ABSENT:
        PUT(writer, "\"absent\"");
        return;
    case FLX_CONDITION_VERSION:
        PUT(writer, "{\"version\":");
        flx_json_put_u64(writer, condition->version);
        PUT(writer, "}");
        return;
    }
    FLX_UNREACHABLE();
}

static void encode_refusal(const flx_refusal *refusal, flx_writer *writer)
{
    switch (refusal->kind) {
    case FLX_REFUSAL_SEQUENCE_GAP:
        PUT(writer, "{\"sequence_gap\":{\"expected\":");
        flx_json_put_u64(writer, refusal->expected);
        PUT(writer, "}}");
        return;
    case FLX_REFUSAL_UNKNOWN_PRODUCER:
        PUT(writer, "\"unknown_producer\"");
        return;
    case FLX_REFUSAL_SEQUENCE_EXPIRED:
        PUT(writer, "\"sequence_expired\"");
        return;
    case FLX_REFUSAL_SEQUENCE_REUSED:
        PUT(writer, "\"sequence_reused\"");
        return;
    case FLX_REFUSAL_OFFSET_MISMATCH:
        PUT(writer, "{\"offset_mismatch\":{\"tail\":");
        flx_json_put_u64(writer, refusal->tail);
        PUT(writer, "}}");
        return;
    case FLX_REFUSAL_NOT_LEADER:
        PUT(writer, "{\"not_leader\":{\"node_id\":");
        put_string(writer, refusal->node_id);
        if (refusal->has_addr) {
            PUT(writer, ",\"addr\":");
            put_string(writer, refusal->addr);
        }
        PUT(writer, "}}");
        return;
    }
    FLX_UNREACHABLE();
}

static void encode_enum(const flx_field *field, const void *from, flx_writer *writer)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    put_string(writer, flx_enum_word(field->names, value));
}

static void encode_value(uint8_t type, const flx_field *field, const void *from, flx_writer *writer)
{
    switch ((field_type)type) {
    case TYPE_STR:
        put_string(writer, *(const flx_slice *)from);
        return;
    case TYPE_B64:
        flx_json_put_base64(writer, *(const flx_slice *)from);
        return;
    case TYPE_U16:
        flx_json_put_u64(writer, *(const uint16_t *)from);
        return;
    case TYPE_U32:
        flx_json_put_u64(writer, *(const uint32_t *)from);
        return;
    case TYPE_U64:
        flx_json_put_u64(writer, *(const uint64_t *)from);
        return;
    case TYPE_I64:
        flx_json_put_i64(writer, *(const int64_t *)from);
        return;
    case TYPE_BOOL:
        put_bool(writer, *(const bool *)from);
        return;
    case TYPE_ENUM:
        encode_enum(field, from, writer);
        return;
    case TYPE_OBJ:
        PUT(writer, "{");
        encode_fields(field->object(), from, true, writer);
        return;
    case TYPE_RAW:
        flx_writer_put(writer, ((const flx_slice *)from)->ptr, ((const flx_slice *)from)->len);
        return;
    case TYPE_START:
        encode_start(from, writer);
        return;
    case TYPE_CONDITION:
        encode_condition(from, writer);
        return;
    case TYPE_REFUSAL:
        encode_refusal(from, writer);
        return;
    case TYPE_LIST:
        break;
    }
    FLX_UNREACHABLE();
}

static size_t list_count(const flx_field *field, const uint8_t *body)
{
    size_t count;
    memcpy(&count, body + field->other, sizeof count);
    return count;
}

static void encode_list(const flx_field *field, const uint8_t *body, flx_writer *writer)
{
    const size_t count = list_count(field, body);
    const size_t item_bytes = flx_list_item_bytes(field);
    const uint8_t *items;
    memcpy(&items, body + field->offset, sizeof items);
    FLX_ASSERT(count == 0 || items != NULL);
    PUT(writer, "[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            PUT(writer, ",");
        }
        encode_value(field->item, field, items + i * item_bytes, writer);
    }
    PUT(writer, "]");
}

/* Whether the field is written, and whether as null. */
static bool is_written(const flx_field *field, const uint8_t *body, bool *ret_null)
{
    *ret_null = false;
    switch ((field_presence)field->presence) {
    case PRESENT:
    case DEFAULTED:
        return true;
    case PRESENT_OR_HAS:
        return *(const bool *)(body + field->other);
    case PRESENT_OR_NULL:
        *ret_null = !*(const bool *)(body + field->other);
        return true;
    case OMITTED_AT_ZERO:
        return *(const bool *)(body + field->offset);
    case OMITTED_EMPTY:
        return list_count(field, body) > 0;
    }
    FLX_UNREACHABLE();
}

/* Writes the fields and the closing brace. `first`: no member stands before them, so the comma of
 * the first is left off. */
static void encode_fields(const flx_object *object, const uint8_t *body, bool first,
                          flx_writer *writer)
{
    for (unsigned i = 0; i < object->count; i++) {
        const flx_field *field = &object->fields[i];
        bool null;
        if (!is_written(field, body, &null)) {
            continue;
        }
        flx_writer_put(writer, field->prefix + (first ? 1 : 0),
                       (size_t)field->prefix_len - (first ? 1 : 0));
        first = false;
        if (null) {
            PUT(writer, "null");
        } else if (field->type == TYPE_LIST) {
            encode_list(field, body, writer);
        } else {
            encode_value(field->type, field, body + field->offset, writer);
        }
    }
    PUT(writer, "}");
}

void flx_msg_encode(const flx_msg *msg, flx_writer *writer)
{
    const message_row *row = flx_message_row(msg->type);
    flx_writer_put(writer, row->prefix, row->prefix_len);
    encode_fields(row->object(), (const uint8_t *)msg + MESSAGE_BODY_OFFSET, false, writer);
}

void flx_msg_encode_frame(const flx_msg *msg, flx_writer *writer)
{
    uint8_t *header = flx_writer_take(writer, FLX_FRAME_HEADER_BYTES);
    const size_t start = writer->len;
    flx_msg_encode(msg, writer);
    if (header != NULL && flx_writer_fits(writer)) {
        FLX_ASSERT(writer->len - start <= UINT32_MAX);
        flx_frame_header_encode(0, (uint32_t)(writer->len - start), header);
    }
}

size_t flx_msg_frame_bytes(const flx_msg *msg)
{
    flx_writer writer;
    flx_writer_init(&writer, NULL, 0);
    flx_msg_encode_frame(msg, &writer);
    return writer.len;
}

/* Writes to the room of a chunk; false when it does not fit. *ret_bytes is what it takes. */
static bool append(const flx_msg *msg, flx_chunk *chunk, flx_range *ret_range, size_t *ret_bytes)
{
    flx_writer writer;
    flx_writer_init(&writer, chunk->data + chunk->len, flx_chunk_room(chunk));
    flx_msg_encode_frame(msg, &writer);
    *ret_bytes = writer.len;
    if (!flx_writer_fits(&writer) || writer.len > FLX_FRAME_BYTES_MAX + FLX_FRAME_HEADER_BYTES) {
        return false;
    }
    ret_range->chunk = flx_chunk_ref(chunk);
    ret_range->start = chunk->len;
    chunk->len += (uint32_t)writer.len;
    ret_range->end = chunk->len;
    return true;
}

flx_status flx_msg_append_frame(const flx_msg *msg, flx_chunk **chunk, size_t chunk_bytes,
                                flx_range *ret_range, flx_error *reterr)
{
    size_t bytes;
    if (*chunk == NULL) {
        bytes = flx_msg_frame_bytes(msg);
    } else if (append(msg, *chunk, ret_range, &bytes)) {
        return FLX_OK;
    }
    if (bytes > FLX_FRAME_BYTES_MAX + FLX_FRAME_HEADER_BYTES) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "message '%s': %zu bytes",
                        flx_msg_name(msg->type), bytes);
    }
    flx_chunk *fresh = flx_chunk_new(bytes > chunk_bytes ? bytes : chunk_bytes);
    if (fresh == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "message '%s': no memory", flx_msg_name(msg->type));
    }
    const bool fits = append(msg, fresh, ret_range, &bytes);
    FLX_ASSERT(fits);
    (void)flx_chunk_unref(*chunk);
    *chunk = fresh;
    return FLX_OK;
}
