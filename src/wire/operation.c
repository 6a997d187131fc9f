/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/operation.c - operations from their rows.
 *
 * A row names the fields of a body in order. Decoder, encoder and measuring walk the same row, so
 * they cannot disagree; a new operation is a line in FLX_OPERATION_MAP and, when its fields are new
 * together, a FIELDS_ line here.
 */
#include "wire/operation.h"

#include "common/assert.h"
#include "common/error.h"
#include "wire/bytes.h"
#include "wire/utf8.h"

#include <string.h>

/* ---- rows ---- */

typedef enum op_field_type {
    FIELD_U8,
    FIELD_U16,
    FIELD_U32,
    FIELD_U64,
    FIELD_TEXT,    /* u16 length, UTF-8 */
    FIELD_KEY,     /* u32 length, UTF-8: a key with something behind it */
    FIELD_KEY_END, /* UTF-8 up to the end of the body */
    FIELD_END,     /* bytes up to the end of the body */
    FIELD_MARK     /* no bytes: the flag is all */
} op_field_type;

typedef struct op_field {
    uint8_t type; /* op_field_type */
    uint8_t flag; /* there only with this one; 0: always */
    uint16_t at;  /* offsetof the member */
} op_field;

typedef struct op_row {
    const op_field *fields;
    uint8_t count;
    uint8_t flags; /* that belong to the opcode */
} op_row;

/* F(type, member, flag) */
#define FIELDS_nothing(F)
/* requests */
#define FIELDS_open(F)      F(U8, kind, 0) F(TEXT, tenant, 0) F(TEXT, namespace_, 0) F(TEXT, name, 0)
#define FIELDS_placement(F) FIELDS_open(F) F(U32, shard, 0) F(END, key, FLX_OPERATION_KEYED)
#define FIELDS_key(F)       F(KEY_END, key, 0)
#define FIELDS_put(F)       F(U64, ttl_ms, FLX_OPERATION_TTL) F(KEY, key, 0) F(END, value, 0)
#define FIELDS_put_if(F)                                                                           \
    F(U64, ttl_ms, FLX_OPERATION_TTL)                                                              \
    F(U64, version, FLX_OPERATION_VERSION) F(KEY, key, 0) F(END, value, 0)
#define FIELDS_delete_if(F)    F(U64, version, 0) F(KEY_END, key, 0)
#define FIELDS_counter_add(F)  F(U64, delta, 0) F(KEY_END, key, 0)
#define FIELDS_group(F)        F(U32, shard, 0) F(TEXT, group, 0)
#define FIELDS_group_offset(F) FIELDS_group(F) F(U64, offset, 0)
#define FIELDS_group_nack(F)                                                                       \
    FIELDS_group_offset(F) F(U64, delay_ms, FLX_OPERATION_DELAY)                                   \
        F(U32, attempts, FLX_OPERATION_ATTEMPTS)
#define FIELDS_group_extend(F) FIELDS_group_offset(F) F(U32, attempts, 0) F(U64, extend_ms, 0)
#define FIELDS_group_poll(F)                                                                       \
    FIELDS_group(F) F(U32, max_records, 0) F(U64, wait_ms, 0)                                      \
        F(TEXT, consumer, FLX_OPERATION_CONSUMER) F(U64, visibility_ms, FLX_OPERATION_VISIBILITY)  \
            F(MARK, kind, FLX_OPERATION_RECLAIM)
#define FIELDS_group_seek(F)                                                                       \
    FIELDS_group(F) F(U8, start, 0) F(U64, offset, 0) F(MARK, kind, FLX_OPERATION_IF_NEW)
/* answers */
#define FIELDS_opened(F) F(U32, shards, 0) F(U8, routing, 0)
#define FIELDS_placed(F) F(U16, workers, 0) F(U16, worker, 0)
#define FIELDS_value(F)  F(U64, version, FLX_OPERATION_FOUND) F(END, value, FLX_OPERATION_FOUND)
#define FIELDS_condition(F)                                                                        \
    F(MARK, routing, FLX_OPERATION_APPLIED) F(U64, version, FLX_OPERATION_VERSIONED)
#define FIELDS_counter(F)        F(U64, counter, FLX_OPERATION_FOUND)
#define FIELDS_group_records(F)  F(END, records, 0)
#define FIELDS_group_extended(F) F(U64, visible_ms, 0)
#define FIELDS_group_offsets(F)  F(END, offsets, 0)
#define FIELDS_group_position(F) F(U64, offset, 0) F(MARK, routing, FLX_OPERATION_MOVED)
#define FIELDS_group_info(F)                                                                       \
    F(U64, committed, FLX_OPERATION_FOUND)                                                         \
    F(U64, tail, 0) F(U64, in_flight, 0) F(U64, owed, 0) F(U64, dead_letters, 0)
#define FIELDS_group_deleted(F) F(MARK, routing, FLX_OPERATION_EXISTED)
#define FIELDS_failure(F)                                                                          \
    F(U8, retry, 0)                                                                                \
    F(TEXT, message, 0)                                                                            \
    F(TEXT, reason, FLX_OPERATION_DETAIL) F(U64, retry_after_ms, FLX_OPERATION_DETAIL)

#define REQUEST_FIELD(type_, member, flag_)                                                        \
    {FIELD_##type_, (flag_), (uint16_t)offsetof(flx_operation, member)},
#define ANSWER_FIELD(type_, member, flag_)                                                         \
    {FIELD_##type_, (flag_), (uint16_t)offsetof(flx_operation_answer, member)},
#define OR_FLAG(type_, member, flag_)  | (flag_)
#define PLUS_ONE(type_, member, flag_) +1
#define FIELDS_LIST(FIELD, fields_)    ((const op_field[]){FIELDS_##fields_(FIELD){0}})
#define ROW(FIELD, fields_)                                                                        \
    {                                                                                              \
        FIELDS_LIST(FIELD, fields_), (uint8_t)(0 FIELDS_##fields_(PLUS_ONE)),                      \
            (uint8_t)(0 FIELDS_##fields_(OR_FLAG))                                                 \
    }

#define OPCODES 64 /* the table's length; all opcodes lie below it */

static const op_row request_rows[OPCODES] = {
#define REQUEST_ROW(name, opcode, request, answer) [opcode] = ROW(REQUEST_FIELD, request),
    FLX_OPERATION_MAP(REQUEST_ROW)
#undef REQUEST_ROW
};

static const op_row answer_rows[OPCODES] = {
#define ANSWER_ROW(name, opcode, request, answer) [opcode] = ROW(ANSWER_FIELD, answer),
    FLX_OPERATION_MAP(ANSWER_ROW)
#undef ANSWER_ROW
};

static const op_row failure_row = ROW(ANSWER_FIELD, failure);

static const op_row *row_of(const op_row *rows, uint8_t opcode)
{
    return opcode < OPCODES && rows[opcode].fields != NULL ? &rows[opcode] : NULL;
}

const char *flx_opcode_name(uint8_t opcode)
{
    static const char *const names[OPCODES] = {
#define OPCODE_NAME(name, opcode, request, answer) [opcode] = #name,
        FLX_OPERATION_MAP(OPCODE_NAME)
#undef OPCODE_NAME
    };
    return opcode < OPCODES ? names[opcode] : NULL;
}

/* ---- heads ---- */

flx_status flx_operations_check(flx_slice payload, uint32_t count_max, uint32_t *ret_count,
                                flx_error *reterr)
{
    uint32_t count = 0;
    const uint8_t *at = payload.ptr;
    size_t left = payload.len;
    while (left > 0) {
        if (left < FLX_OPERATION_HEAD_BYTES || left - FLX_OPERATION_HEAD_BYTES < flx_get_u32(at)) {
            return flx_fail(reterr, FLX_ERR_PROTOCOL, "operations: cut off in number %u", count);
        }
        if (count == count_max) {
            return flx_fail(reterr, FLX_ERR_PROTOCOL, "operations: more than %u", count_max);
        }
        const size_t len = FLX_OPERATION_HEAD_BYTES + (size_t)flx_get_u32(at);
        at += len;
        left -= len;
        count++;
    }
    if (count == 0) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "operations: none");
    }
    *ret_count = count;
    return FLX_OK;
}

bool flx_operations_next(flx_slice *payload, flx_operation_head *ret_head)
{
    if (payload->len == 0) {
        return false;
    }
    FLX_ASSERT(payload->len >= FLX_OPERATION_HEAD_BYTES);
    const uint8_t *at = payload->ptr;
    const uint32_t len = flx_get_u32(at);
    FLX_ASSERT(payload->len - FLX_OPERATION_HEAD_BYTES >= len);
    ret_head->opcode = at[4];
    ret_head->flags = at[5];
    ret_head->handle = flx_get_u16(at + 6);
    ret_head->id = flx_get_u32(at + 8);
    ret_head->body = (flx_slice){at + FLX_OPERATION_HEAD_BYTES, len};
    payload->ptr += FLX_OPERATION_HEAD_BYTES + len;
    payload->len -= FLX_OPERATION_HEAD_BYTES + len;
    return true;
}

uint8_t *flx_operation_head_put(uint8_t *to, const flx_operation_head *head)
{
    to = flx_put_u32(to, (uint32_t)head->body.len);
    to = flx_put_u8(to, head->opcode);
    to = flx_put_u8(to, head->flags);
    to = flx_put_u16(to, head->handle);
    return flx_put_u32(to, head->id);
}

/* ---- bodies ---- */

static void *member(void *object, const op_field *field)
{
    return (uint8_t *)object + field->at;
}

static const void *const_member(const void *object, const op_field *field)
{
    return (const uint8_t *)object + field->at;
}

/* False: text that is not UTF-8. What is missing reads as 0 or empty. */
static bool read_field(const op_field *field, bool is_there, flx_cursor *cursor, void *object)
{
    flx_cursor absent = flx_cursor_of((flx_slice){NULL, 0});
    flx_cursor *from = is_there ? cursor : &absent;
    flx_slice *slice = member(object, field);
    switch ((op_field_type)field->type) {
    case FIELD_U8:
        *(uint8_t *)member(object, field) = flx_cursor_u8(from);
        return true;
    case FIELD_U16:
        *(uint16_t *)member(object, field) = flx_cursor_u16(from);
        return true;
    case FIELD_U32:
        *(uint32_t *)member(object, field) = flx_cursor_u32(from);
        return true;
    case FIELD_U64:
        *(uint64_t *)member(object, field) = flx_cursor_u64(from);
        return true;
    case FIELD_TEXT:
        *slice = flx_cursor_text(from);
        return flx_utf8_is_valid(*slice);
    case FIELD_KEY:
        *slice = flx_cursor_bytes(from, flx_cursor_u32(from));
        return flx_utf8_is_valid(*slice);
    case FIELD_KEY_END:
        *slice = flx_cursor_bytes(from, flx_cursor_left(from));
        return flx_utf8_is_valid(*slice);
    case FIELD_END:
        *slice = flx_cursor_bytes(from, flx_cursor_left(from));
        return true;
    case FIELD_MARK:
        return true;
    }
    FLX_UNREACHABLE();
}

static flx_status read_row(const op_row *row, const flx_operation_head *head, void *object,
                           flx_error *reterr)
{
    if ((head->flags & ~row->flags) != 0) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "operation: unknown flags 0x%02x", head->flags);
    }
    flx_cursor cursor = flx_cursor_of(head->body);
    for (unsigned i = 0; i < row->count; i++) {
        const op_field *field = &row->fields[i];
        const bool is_there = field->flag == 0 || (head->flags & field->flag) != 0;
        if (!read_field(field, is_there, &cursor, object)) {
            return flx_fail(reterr, FLX_ERR_PROTOCOL, "operation: a text is not UTF-8");
        }
    }
    if (!flx_cursor_is_done(&cursor)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "operation: a body of the wrong length");
    }
    return FLX_OK;
}

static size_t row_bytes(const op_row *row, uint8_t flags, const void *object)
{
    static const uint8_t fixed[] = {
        [FIELD_U8] = 1,   [FIELD_U16] = 2, [FIELD_U32] = 4, [FIELD_U64] = 8,
        [FIELD_TEXT] = 2, [FIELD_KEY] = 4, [FIELD_MARK] = 0};
    size_t bytes = 0;
    for (unsigned i = 0; i < row->count; i++) {
        const op_field *field = &row->fields[i];
        if (field->flag != 0 && (flags & field->flag) == 0) {
            continue;
        }
        bytes += fixed[field->type];
        if (field->type >= FIELD_TEXT && field->type <= FIELD_END) {
            bytes += ((const flx_slice *)const_member(object, field))->len;
        }
    }
    return bytes;
}

static uint8_t *write_field(const op_field *field, const void *object, uint8_t *to)
{
    const void *from = const_member(object, field);
    const flx_slice *slice = from;
    switch ((op_field_type)field->type) {
    case FIELD_U8:
        return flx_put_u8(to, *(const uint8_t *)from);
    case FIELD_U16:
        return flx_put_u16(to, *(const uint16_t *)from);
    case FIELD_U32:
        return flx_put_u32(to, *(const uint32_t *)from);
    case FIELD_U64:
        return flx_put_u64(to, *(const uint64_t *)from);
    case FIELD_TEXT:
        FLX_ASSERT(slice->len <= UINT16_MAX && flx_utf8_is_valid(*slice));
        return flx_put_text(to, *slice);
    case FIELD_KEY:
        FLX_ASSERT(slice->len <= UINT32_MAX && flx_utf8_is_valid(*slice));
        return flx_put_bytes(flx_put_u32(to, (uint32_t)slice->len), *slice);
    case FIELD_KEY_END:
        FLX_ASSERT(flx_utf8_is_valid(*slice));
        return flx_put_bytes(to, *slice);
    case FIELD_END:
        return flx_put_bytes(to, *slice);
    case FIELD_MARK:
        return to;
    }
    FLX_UNREACHABLE();
}

static uint8_t *write_row(const op_row *row, uint8_t flags, const void *object, uint8_t *to)
{
    FLX_ASSERT((flags & ~row->flags) == 0);
    for (unsigned i = 0; i < row->count; i++) {
        const op_field *field = &row->fields[i];
        if (field->flag == 0 || (flags & field->flag) != 0) {
            to = write_field(field, object, to);
        }
    }
    return to;
}

/* ---- requests ---- */

static bool values_are_known(const flx_operation *operation)
{
    switch (operation->opcode) {
    case FLX_OPCODE_OPEN:
        return operation->kind <= FLX_OPERATION_CACHE;
    case FLX_OPCODE_PLACEMENT:
        return operation->kind <= FLX_PLACEMENT_WATCH;
    case FLX_OPCODE_GROUP_SEEK:
        return operation->start <= FLX_OPERATION_OFFSET;
    default:
        return true;
    }
}

flx_status flx_operation_decode(const flx_operation_head *head, flx_operation *ret_operation,
                                flx_error *reterr)
{
    const op_row *row = row_of(request_rows, head->opcode);
    ret_operation->opcode = head->opcode;
    ret_operation->flags = head->flags;
    ret_operation->handle = head->handle;
    ret_operation->id = head->id;
    if (row == NULL) {
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED, "operation: unknown opcode 0x%02x",
                        head->opcode);
    }
    const flx_status status = read_row(row, head, ret_operation, reterr);
    if (status == FLX_OK && !values_are_known(ret_operation)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "operation: an unknown kind or start");
    }
    return status;
}

size_t flx_operation_bytes(const flx_operation *operation)
{
    const op_row *row = row_of(request_rows, operation->opcode);
    FLX_ASSERT(row != NULL);
    return FLX_OPERATION_HEAD_BYTES + row_bytes(row, operation->flags, operation);
}

uint8_t *flx_operation_encode(const flx_operation *operation, uint8_t *to)
{
    const op_row *row = row_of(request_rows, operation->opcode);
    FLX_ASSERT(row != NULL && values_are_known(operation));
    uint8_t *const body = to + FLX_OPERATION_HEAD_BYTES;
    uint8_t *const end = write_row(row, operation->flags, operation, body);
    const flx_operation_head head = {.opcode = operation->opcode,
                                     .flags = operation->flags,
                                     .handle = operation->handle,
                                     .id = operation->id,
                                     .body = {body, (size_t)(end - body)}};
    FLX_ASSERT(head.body.len <= UINT32_MAX);
    (void)flx_operation_head_put(to, &head);
    return end;
}

/* ---- answers ---- */

static const op_row *answer_row(uint8_t opcode, uint16_t status)
{
    return status != 0 ? &failure_row : row_of(answer_rows, opcode);
}

flx_status flx_operation_answer_decode(const flx_operation_head *head,
                                       flx_operation_answer *ret_answer, flx_error *reterr)
{
    const op_row *row = answer_row(head->opcode, head->status);
    ret_answer->opcode = head->opcode;
    ret_answer->flags = head->flags;
    ret_answer->status = head->status;
    ret_answer->id = head->id;
    if (row == NULL) {
        return flx_fail(reterr, FLX_ERR_UNSUPPORTED, "answer: unknown opcode 0x%02x", head->opcode);
    }
    flx_status status = read_row(row, head, ret_answer, reterr);
    if (status != FLX_OK || head->status != 0) {
        return status;
    }
    if (head->opcode == FLX_OPCODE_GROUP_POLL) {
        status = flx_group_records_check(ret_answer->records, reterr);
    } else if (head->opcode == FLX_OPCODE_PLACEMENT && ret_answer->worker >= ret_answer->workers) {
        status = flx_fail(reterr, FLX_ERR_PROTOCOL, "answer: worker %u of %u", ret_answer->worker,
                          ret_answer->workers);
    } else if (head->opcode == FLX_OPCODE_GROUP_DEAD_LETTERS &&
               ret_answer->offsets.len % sizeof(uint64_t) != 0) {
        status = flx_fail(reterr, FLX_ERR_PROTOCOL, "answer: half an offset");
    }
    return status;
}

size_t flx_operation_answer_bytes(const flx_operation_answer *answer)
{
    const op_row *row = answer_row(answer->opcode, answer->status);
    FLX_ASSERT(row != NULL);
    return FLX_OPERATION_HEAD_BYTES + row_bytes(row, answer->flags, answer);
}

uint8_t *flx_operation_answer_encode(const flx_operation_answer *answer, uint8_t *to)
{
    const op_row *row = answer_row(answer->opcode, answer->status);
    FLX_ASSERT(row != NULL);
    FLX_ASSERT(answer->opcode != FLX_OPCODE_PLACEMENT || answer->status != 0 ||
               answer->worker < answer->workers);
    uint8_t *const body = to + FLX_OPERATION_HEAD_BYTES;
    uint8_t *const end = write_row(row, answer->flags, answer, body);
    const flx_operation_head head = {.opcode = answer->opcode,
                                     .flags = answer->flags,
                                     .status = answer->status,
                                     .id = answer->id,
                                     .body = {body, (size_t)(end - body)}};
    FLX_ASSERT(head.body.len <= UINT32_MAX);
    (void)flx_operation_head_put(to, &head);
    return end;
}

/* ---- records of a group ---- */

static flx_group_record read_record(flx_cursor *cursor)
{
    flx_group_record record;
    record.offset = flx_cursor_u64(cursor);
    record.timestamp_us = flx_cursor_u64(cursor);
    record.skipped_before = flx_cursor_u64(cursor);
    record.attempts = flx_cursor_u32(cursor);
    record.publisher = flx_cursor_text(cursor);
    record.payload = flx_cursor_bytes(cursor, flx_cursor_u32(cursor));
    return record;
}

flx_status flx_group_records_check(flx_slice records, flx_error *reterr)
{
    flx_cursor cursor = flx_cursor_of(records);
    while (!cursor.is_short && flx_cursor_left(&cursor) > 0) {
        if (!flx_utf8_is_valid(read_record(&cursor).publisher)) {
            return flx_fail(reterr, FLX_ERR_PROTOCOL, "group record: a publisher is not UTF-8");
        }
    }
    if (cursor.is_short) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "group record: cut off");
    }
    return FLX_OK;
}

bool flx_group_record_next(flx_slice *records, flx_group_record *ret_record)
{
    if (records->len == 0) {
        return false;
    }
    flx_cursor cursor = flx_cursor_of(*records);
    *ret_record = read_record(&cursor);
    FLX_ASSERT(!cursor.is_short);
    *records = (flx_slice){cursor.at, flx_cursor_left(&cursor)};
    return true;
}

size_t flx_group_record_bytes(const flx_group_record *record)
{
    return 8 + 8 + 8 + 4 + 2 + record->publisher.len + 4 + record->payload.len;
}

uint8_t *flx_group_record_put(const flx_group_record *record, uint8_t *to)
{
    FLX_ASSERT(record->publisher.len <= UINT16_MAX && record->payload.len <= UINT32_MAX);
    to = flx_put_u64(to, record->offset);
    to = flx_put_u64(to, record->timestamp_us);
    to = flx_put_u64(to, record->skipped_before);
    to = flx_put_u32(to, record->attempts);
    to = flx_put_text(to, record->publisher);
    return flx_put_bytes(flx_put_u32(to, (uint32_t)record->payload.len), record->payload);
}
