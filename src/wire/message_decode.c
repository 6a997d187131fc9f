/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/message_decode.c - JSON to message structs, driven by the tables.
 *
 * The type is nearly always the first member, and the fields nearly always come in the order of the
 * table: so each member is first held against the field after the last one, and only what does not
 * match is searched for. When the type is not first, one pass that changes nothing looks for it,
 * and the text is read from its beginning again.
 */
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/json.h"
#include "wire/message.h"
#include "wire/message_int.h"

#include <string.h>

#define LIST_COUNT_FIRST 16 /* items a list has room for to begin with */

typedef struct msg_decoder {
    flx_json json;
    flx_arena *arena;
    flx_status status;   /* of what is not the parser's fault: memory, bounds */
    const char *problem; /* NULL: see json.error */
    flx_slice culprit;   /* the member it happened at */
    bool type_seen;      /* at the top: the member `type` has been passed */
} msg_decoder;

static bool decode_object(msg_decoder *decoder, const flx_object *object, bool is_top, bool first,
                          void *body);

static bool refuse(msg_decoder *decoder, flx_status status, const char *text)
{
    decoder->status = status;
    decoder->problem = text;
    return false;
}

/* ---- single values ---- */

static bool decode_bounded(msg_decoder *decoder, uint64_t max, uint64_t *ret_value)
{
    if (!flx_json_u64(&decoder->json, ret_value)) {
        return false;
    }
    return *ret_value <= max ? true : refuse(decoder, FLX_ERR_PROTOCOL, "a number is out of range");
}

static bool decode_u16(msg_decoder *decoder, uint16_t *to)
{
    uint64_t value;
    if (!decode_bounded(decoder, UINT16_MAX, &value)) {
        return false;
    }
    *to = (uint16_t)value;
    return true;
}

static bool decode_u32(msg_decoder *decoder, uint32_t *to)
{
    uint64_t value;
    if (!decode_bounded(decoder, UINT32_MAX, &value)) {
        return false;
    }
    *to = (uint32_t)value;
    return true;
}

static bool decode_enum(msg_decoder *decoder, const flx_enum_names *names, void *to)
{
    flx_slice word;
    uint32_t value;
    if (!flx_json_string(&decoder->json, &word)) {
        return false;
    }
    if (!flx_enum_find(names, word, &value)) {
        return refuse(decoder, FLX_ERR_PROTOCOL, "not one of its words");
    }
    static_assert(sizeof(flx_ack_mode) == sizeof value, "enums are words");
    memcpy(to, &value, sizeof value);
    return true;
}

/* ---- tagged values: a word, or an object of one member named after the case ---- */

/* Reads the word, or enters the object and reads its one key. */
static bool open_tag(msg_decoder *decoder, flx_slice *ret_tag, bool *ret_is_object)
{
    *ret_is_object = flx_json_peek(&decoder->json) == '{';
    if (!*ret_is_object) {
        return flx_json_string(&decoder->json, ret_tag);
    }
    if (!flx_json_object_begin(&decoder->json)) {
        return false;
    }
    switch (flx_json_member(&decoder->json, true, ret_tag)) {
    case FLX_JSON_ITEM:
        return true;
    case FLX_JSON_END:
        return refuse(decoder, FLX_ERR_PROTOCOL, "an empty case");
    case FLX_JSON_ERROR:
        break;
    }
    return false;
}

static bool close_tag(msg_decoder *decoder)
{
    flx_slice key;
    switch (flx_json_member(&decoder->json, false, &key)) {
    case FLX_JSON_END:
        return true;
    case FLX_JSON_ITEM:
        return refuse(decoder, FLX_ERR_PROTOCOL, "more than one case");
    case FLX_JSON_ERROR:
        break;
    }
    return false;
}

static bool unknown_case(msg_decoder *decoder)
{
    return refuse(decoder, FLX_ERR_PROTOCOL, "not one of its cases");
}

static bool decode_start(msg_decoder *decoder, flx_start *to)
{
    flx_slice tag;
    bool is_object;
    if (!open_tag(decoder, &tag, &is_object)) {
        return false;
    }
    if (is_object && flx_slice_is(tag, "offset")) {
        to->kind = FLX_START_OFFSET;
        return flx_json_u64(&decoder->json, &to->offset) && close_tag(decoder);
    }
    if (!is_object && flx_slice_is(tag, "latest")) {
        to->kind = FLX_START_LATEST;
        return true;
    }
    if (!is_object && flx_slice_is(tag, "earliest")) {
        to->kind = FLX_START_EARLIEST;
        return true;
    }
    return unknown_case(decoder);
}

static bool decode_condition(msg_decoder *decoder, flx_condition *to)
{
    flx_slice tag;
    bool is_object;
    if (!open_tag(decoder, &tag, &is_object)) {
        return false;
    }
    if (is_object && flx_slice_is(tag, "version")) {
        to->kind = FLX_CONDITION_VERSION;
        return flx_json_u64(&decoder->json, &to->version) && close_tag(decoder);
    }
    if (!is_object && flx_slice_is(tag, "absent")) {
        to->kind = FLX_CONDITION_ABSENT;
        return true;
    }
    return unknown_case(decoder);
}

/* Reads {"<name>": u64, ...}: what two refusals carry. Unknown members are passed over. */
static bool decode_one_u64(msg_decoder *decoder, const char *name, uint64_t *to)
{
    bool seen = false;
    if (!flx_json_object_begin(&decoder->json)) {
        return false;
    }
    for (bool first = true;; first = false) {
        flx_slice key;
        const flx_json_step step = flx_json_member(&decoder->json, first, &key);
        if (step == FLX_JSON_ERROR) {
            return false;
        }
        if (step == FLX_JSON_END) {
            return seen ? true : refuse(decoder, FLX_ERR_PROTOCOL, "missing");
        }
        if (!flx_slice_is(key, name)) {
            if (!flx_json_skip(&decoder->json, NULL)) {
                return false;
            }
            continue;
        }
        if (seen) {
            return refuse(decoder, FLX_ERR_PROTOCOL, "there twice");
        }
        if (!flx_json_u64(&decoder->json, to)) {
            return false;
        }
        seen = true;
    }
}

/* The owner inside a refusal has the fields of an owner in a topology, but the address may miss. */
static bool decode_leader(msg_decoder *decoder, flx_refusal *to)
{
    bool seen = false;
    if (!flx_json_object_begin(&decoder->json)) {
        return false;
    }
    for (bool first = true;; first = false) {
        flx_slice key;
        const flx_json_step step = flx_json_member(&decoder->json, first, &key);
        if (step == FLX_JSON_ERROR) {
            return false;
        }
        if (step == FLX_JSON_END) {
            return seen ? true : refuse(decoder, FLX_ERR_PROTOCOL, "missing");
        }
        const bool is_node = flx_slice_is(key, "node_id");
        const bool is_addr = flx_slice_is(key, "addr");
        if ((is_node && seen) || (is_addr && to->has_addr)) {
            return refuse(decoder, FLX_ERR_PROTOCOL, "there twice");
        }
        bool fine;
        if (is_node) {
            seen = true;
            fine = flx_json_string(&decoder->json, &to->node_id);
        } else if (is_addr && !flx_json_take_null(&decoder->json)) {
            to->has_addr = true;
            fine = flx_json_string(&decoder->json, &to->addr);
        } else {
            fine = is_addr || flx_json_skip(&decoder->json, NULL);
        }
        if (!fine) {
            return false;
        }
    }
}

static bool decode_refusal(msg_decoder *decoder, flx_refusal *to)
{
    static const struct {
        const char *tag;
        flx_refusal_kind kind;
    } words[] = {
        {"unknown_producer", FLX_REFUSAL_UNKNOWN_PRODUCER},
        {"sequence_expired", FLX_REFUSAL_SEQUENCE_EXPIRED},
        {"sequence_reused", FLX_REFUSAL_SEQUENCE_REUSED},
    };
    flx_slice tag;
    bool is_object;
    if (!open_tag(decoder, &tag, &is_object)) {
        return false;
    }
    if (is_object && flx_slice_is(tag, "sequence_gap")) {
        to->kind = FLX_REFUSAL_SEQUENCE_GAP;
        return decode_one_u64(decoder, "expected", &to->expected) && close_tag(decoder);
    }
    if (is_object && flx_slice_is(tag, "offset_mismatch")) {
        to->kind = FLX_REFUSAL_OFFSET_MISMATCH;
        return decode_one_u64(decoder, "tail", &to->tail) && close_tag(decoder);
    }
    if (is_object && flx_slice_is(tag, "not_leader")) {
        to->kind = FLX_REFUSAL_NOT_LEADER;
        return decode_leader(decoder, to) && close_tag(decoder);
    }
    for (size_t i = 0; !is_object && i < sizeof words / sizeof words[0]; i++) {
        if (flx_slice_is(tag, words[i].tag)) {
            to->kind = words[i].kind;
            return true;
        }
    }
    return unknown_case(decoder);
}

/* ---- values by type ---- */

static bool decode_value(msg_decoder *decoder, uint8_t type, const flx_field *field, void *to)
{
    switch ((field_type)type) {
    case TYPE_STR:
        return flx_json_string(&decoder->json, to);
    case TYPE_B64:
        return flx_json_base64(&decoder->json, to);
    case TYPE_U16:
        return decode_u16(decoder, to);
    case TYPE_U32:
        return decode_u32(decoder, to);
    case TYPE_U64:
        return flx_json_u64(&decoder->json, to);
    case TYPE_I64:
        return flx_json_i64(&decoder->json, to);
    case TYPE_BOOL:
        return flx_json_bool(&decoder->json, to);
    case TYPE_ENUM:
        return decode_enum(decoder, field->names, to);
    case TYPE_OBJ:
        return flx_json_object_begin(&decoder->json) &&
               decode_object(decoder, field->object(), false, true, to);
    case TYPE_RAW:
        return flx_json_skip(&decoder->json, to);
    case TYPE_START:
        return decode_start(decoder, to);
    case TYPE_CONDITION:
        return decode_condition(decoder, to);
    case TYPE_REFUSAL:
        return decode_refusal(decoder, to);
    case TYPE_LIST:
        break;
    }
    FLX_UNREACHABLE();
}

static bool out_of_memory(msg_decoder *decoder)
{
    return decoder->arena->at_bound
               ? refuse(decoder, FLX_ERR_TOO_LARGE, "more items than the bound allows")
               : refuse(decoder, FLX_ERR_NOMEM, "no memory for its items");
}

/* Room for one item more; `items` is NULL at first. */
static uint8_t *grow_list(msg_decoder *decoder, uint8_t *items, size_t item_bytes, size_t count,
                          size_t *cap)
{
    if (count < *cap) {
        return items;
    }
    if (count == FLX_MSG_LIST_COUNT_MAX) {
        (void)refuse(decoder, FLX_ERR_TOO_LARGE, "more items than the bound allows");
        return NULL;
    }
    const size_t wanted = items == NULL ? LIST_COUNT_FIRST : *cap * 2;
    uint8_t *grown = items == NULL ? flx_arena_alloc(decoder->arena, wanted * item_bytes)
                                   : flx_arena_extend(decoder->arena, items, *cap * item_bytes,
                                                      wanted * item_bytes);
    if (grown == NULL) {
        (void)out_of_memory(decoder);
        return NULL;
    }
    *cap = wanted;
    return grown;
}

static bool decode_list(msg_decoder *decoder, const flx_field *field, void *to, size_t *ret_count)
{
    const size_t item_bytes = flx_list_item_bytes(field);
    uint8_t *items = NULL;
    size_t cap = 0;
    size_t count = 0;
    if (!flx_json_array_begin(&decoder->json)) {
        return false;
    }
    for (;; count++) {
        const flx_json_step step = flx_json_element(&decoder->json, count == 0);
        if (step == FLX_JSON_ERROR) {
            return false;
        }
        if (step == FLX_JSON_END) {
            break;
        }
        items = grow_list(decoder, items, item_bytes, count, &cap);
        if (items == NULL ||
            !decode_value(decoder, field->item, field, items + count * item_bytes)) {
            return false;
        }
    }
    memcpy(to, &items, sizeof items);
    *ret_count = count;
    return true;
}

static bool decode_field(msg_decoder *decoder, const flx_field *field, uint8_t *body)
{
    const bool nullable = field->presence == PRESENT_OR_HAS || field->presence == PRESENT_OR_NULL ||
                          field->presence == OMITTED_EMPTY;
    if (nullable && flx_json_take_null(&decoder->json)) {
        return true;
    }
    if (field->type == TYPE_LIST) {
        return decode_list(decoder, field, body + field->offset,
                           (size_t *)(void *)(body + field->other));
    }
    if (field->presence == PRESENT_OR_HAS || field->presence == PRESENT_OR_NULL) {
        *(bool *)(body + field->other) = true;
    }
    return decode_value(decoder, field->type, field, body + field->offset);
}

/* ---- objects ---- */

/* The field of a name: the `expected` one if it is that, else by search. -1: none has it. */
static int find_field(const flx_object *object, unsigned expected, flx_slice key)
{
    if (expected < object->count && flx_slice_equal(key, field_name(&object->fields[expected]))) {
        return (int)expected;
    }
    for (unsigned i = 0; i < object->count; i++) {
        if (flx_slice_equal(key, field_name(&object->fields[i]))) {
            return (int)i;
        }
    }
    return -1;
}

static bool check_missing(msg_decoder *decoder, const flx_object *object, uint32_t seen)
{
    for (unsigned i = 0; i < object->count; i++) {
        if ((seen & (UINT32_C(1) << i)) == 0 && object->fields[i].presence == PRESENT) {
            decoder->culprit = field_name(&object->fields[i]);
            return refuse(decoder, FLX_ERR_PROTOCOL, "missing");
        }
    }
    return true;
}

/* A member no field is named after: at the top the type, which has been read; else anything. */
static bool pass_member(msg_decoder *decoder, bool is_top, flx_slice key)
{
    if (is_top && flx_slice_is(key, "type")) {
        if (decoder->type_seen) {
            return refuse(decoder, FLX_ERR_PROTOCOL, "there twice");
        }
        decoder->type_seen = true;
    }
    return flx_json_skip(&decoder->json, NULL);
}

/* Reads members until the object ends; it has been entered. `first`: none has been read yet. */
static bool decode_object(msg_decoder *decoder, const flx_object *object, bool is_top, bool first,
                          void *body)
{
    uint32_t seen = 0;
    unsigned expected = 0;
    memset(body, 0, object->size);
    for (;; first = false) {
        flx_slice key;
        const flx_json_step step = flx_json_member(&decoder->json, first, &key);
        if (step != FLX_JSON_ITEM) {
            return step == FLX_JSON_END && check_missing(decoder, object, seen);
        }
        decoder->culprit = key;
        const int index = find_field(object, expected, key);
        if (index < 0) {
            if (!pass_member(decoder, is_top, key)) {
                return false;
            }
            continue;
        }
        const uint32_t bit = UINT32_C(1) << index;
        if ((seen & bit) != 0) {
            return refuse(decoder, FLX_ERR_PROTOCOL, "there twice");
        }
        seen |= bit;
        expected = (unsigned)index + 1;
        if (!decode_field(decoder, &object->fields[index], body)) {
            return false;
        }
    }
}

/* ---- the type ---- */

/* What one pass over the text that changes nothing learns of it. */
typedef struct msg_envelope {
    flx_slice type_raw; /* with its quotes; ptr NULL: there is none */
    bool has_request_id;
    uint64_t request_id;
} msg_envelope;

/* Reads members until the end of the object. */
static bool scan_envelope(flx_json *json, bool first, msg_envelope *envelope)
{
    for (;; first = false) {
        flx_slice key;
        flx_slice raw;
        const flx_json_step step = flx_json_member(json, first, &key);
        if (step != FLX_JSON_ITEM) {
            return step == FLX_JSON_END && flx_json_finish(json);
        }
        const bool is_type = flx_slice_is(key, "type") && envelope->type_raw.ptr == NULL;
        const bool is_request_id = flx_slice_is(key, "request_id");
        uint8_t *const value = json->at;
        if (!flx_json_skip(json, &raw)) {
            return false;
        }
        if (is_type) {
            envelope->type_raw = raw;
        }
        if (is_request_id) {
            flx_json number;
            flx_json_init(&number, value, (size_t)(json->at - value));
            envelope->has_request_id =
                flx_json_u64(&number, &envelope->request_id) && flx_json_finish(&number);
        }
    }
}

/* Looks the type up without touching the text: read from a copy. A longer one is not known. */
static flx_msg_type find_raw(flx_slice raw)
{
    uint8_t copy[FLX_JSON_KEY_BYTES_MAX];
    if (raw.len > sizeof copy) {
        return FLX_MSG_UNKNOWN;
    }
    memcpy(copy, raw.ptr, raw.len);
    flx_json json;
    flx_slice name;
    flx_json_init(&json, copy, raw.len);
    return flx_json_string(&json, &name) ? flx_msg_find(name) : FLX_MSG_UNKNOWN;
}

static flx_status fail_json(const flx_json *json, const uint8_t *text, flx_error *reterr)
{
    return flx_fail(reterr, FLX_ERR_PROTOCOL, "message: %s at byte %zu", json->error,
                    (size_t)(json->at - text));
}

/* The whole text is well-formed; says what an `unsupported` answer needs. */
static flx_status answer_unknown(uint8_t *json, const msg_envelope *envelope, flx_msg *ret_msg,
                                 flx_error *reterr)
{
    flx_json parser;
    flx_slice name;
    flx_json_init(&parser, json + (envelope->type_raw.ptr - json), envelope->type_raw.len);
    if (!flx_json_string(&parser, &name)) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "message: its type is not a string");
    }
    memset(ret_msg, 0, sizeof *ret_msg);
    ret_msg->type = FLX_MSG_UNKNOWN;
    ret_msg->unknown.type_name = name;
    ret_msg->unknown.has_request_id = envelope->has_request_id;
    ret_msg->unknown.request_id = envelope->request_id;
    return flx_fail(reterr, FLX_ERR_UNSUPPORTED, "message: unknown type '%.*s'",
                    (int)(name.len < 64 ? name.len : 64), (const char *)name.ptr);
}

/* The type is not the first member, or not a known one: finds out, and fails or starts over. */
static flx_status find_type_slowly(flx_json *json, uint8_t *text, size_t len, flx_msg *ret_msg,
                                   flx_error *reterr)
{
    msg_envelope envelope;
    memset(&envelope, 0, sizeof envelope);
    flx_json_init(json, text, len);
    if (!flx_json_object_begin(json) || !scan_envelope(json, true, &envelope)) {
        return fail_json(json, text, reterr);
    }
    if (envelope.type_raw.ptr == NULL) {
        return flx_fail(reterr, FLX_ERR_PROTOCOL, "message: it has no type");
    }
    ret_msg->type = find_raw(envelope.type_raw);
    if (ret_msg->type == FLX_MSG_UNKNOWN) {
        return answer_unknown(text, &envelope, ret_msg, reterr);
    }
    flx_json_init(json, text, len);
    return flx_json_object_begin(json) ? FLX_OK : fail_json(json, text, reterr);
}

/* Whether the first member is a known type; reads it if so. Changes nothing. */
static flx_msg_type find_type_first(flx_json *json)
{
    flx_slice key;
    flx_slice raw;
    if (!flx_json_object_begin(json) || flx_json_member(json, true, &key) != FLX_JSON_ITEM ||
        !flx_slice_is(key, "type") || !flx_json_skip(json, &raw) || raw.len < 2) {
        return FLX_MSG_UNKNOWN;
    }
    const flx_slice name = {raw.ptr + 1, raw.len - 2};
    return raw.ptr[0] == '"' ? flx_msg_find(name) : FLX_MSG_UNKNOWN;
}

static flx_status fail_message(const msg_decoder *decoder, const uint8_t *text, flx_msg_type type,
                               flx_error *reterr)
{
    const int len = (int)(decoder->culprit.len < 64 ? decoder->culprit.len : 64);
    const flx_status status = decoder->problem != NULL ? decoder->status : FLX_ERR_PROTOCOL;
    return flx_fail(reterr, status, "message '%s': field '%.*s': %s at byte %zu",
                    flx_msg_name(type), len, (const char *)decoder->culprit.ptr,
                    decoder->problem != NULL ? decoder->problem : decoder->json.error,
                    (size_t)(decoder->json.at - text));
}

/* What the rows cannot say: a put of a commit has a value, a delete has none. */
static bool check_changes(msg_decoder *decoder, struct flx_msg_commit *commit)
{
    for (size_t i = 0; i < commit->changes_count; i++) {
        if ((commit->changes[i].op == FLX_CHANGE_PUT) != commit->changes[i].has_value) {
            return refuse(decoder, FLX_ERR_PROTOCOL, "a put has a value, a delete has none");
        }
    }
    return true;
}

flx_status flx_msg_decode(flx_arena *arena, uint8_t *json, size_t len, flx_msg *ret_msg,
                          flx_error *reterr)
{
    msg_decoder decoder = {.arena = arena, .culprit = {(const uint8_t *)"", 0}};
    flx_json_init(&decoder.json, json, len);
    flx_msg msg;
    msg.type = find_type_first(&decoder.json);
    decoder.type_seen = msg.type != FLX_MSG_UNKNOWN;
    if (!decoder.type_seen) {
        const flx_status status = find_type_slowly(&decoder.json, json, len, &msg, reterr);
        if (status == FLX_ERR_UNSUPPORTED) {
            *ret_msg = msg;
        }
        if (status != FLX_OK) {
            return status;
        }
    }
    const flx_object *object = flx_message_row(msg.type)->object();
    uint8_t *body = (uint8_t *)&msg + MESSAGE_BODY_OFFSET;
    bool fine = decode_object(&decoder, object, true, !decoder.type_seen, body) &&
                flx_json_finish(&decoder.json);
    if (fine && msg.type == FLX_MSG_COMMIT) {
        fine = check_changes(&decoder, &msg.commit);
    }
    if (!fine) {
        return fail_message(&decoder, json, msg.type, reterr);
    }
    ret_msg->type = msg.type;
    memcpy((uint8_t *)ret_msg + MESSAGE_BODY_OFFSET, body, object->size);
    return FLX_OK;
}
