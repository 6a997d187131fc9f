/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/message_table.c - the tables made from wire/message_map.h, and the names of the messages.
 *
 * Each object's fields stand in a function of their own, because there `owner` can name the struct
 * that offsetof needs without the rows having to repeat it.
 */
#include "common/assert.h"
#include "wire/message_int.h"

#include <string.h>

/* name, wire name, type, item, presence, member beside it, enum names, object */
#define ROW(member, word, type, item, presence, other, names, object)                              \
    {",\"" word "\":",                                                                             \
     sizeof(",\"" word "\":") - 1,                                                                 \
     type,                                                                                         \
     item,                                                                                         \
     presence,                                                                                     \
     (uint16_t)offsetof(owner, member),                                                            \
     other,                                                                                        \
     names,                                                                                        \
     object},
#define HAS(member)   (uint16_t) offsetof(owner, has_##member)
#define COUNT(member) (uint16_t) offsetof(owner, member##_count)

#define PLAIN(member, type) ROW(member, #member, type, 0, PRESENT, 0, NULL, NULL)
#define MAYBE(member, type) ROW(member, #member, type, 0, PRESENT_OR_HAS, HAS(member), NULL, NULL)
#define LIST(member, item, presence)                                                               \
    ROW(member, #member, TYPE_LIST, item, presence, COUNT(member), NULL, NULL)
#define LIST_OF(member, arg, presence)                                                             \
    ROW(member, #member, TYPE_LIST, TYPE_OBJ, presence, COUNT(member), NULL, arg##_object)

#define FIELD_STR(member, arg)       PLAIN(member, TYPE_STR)
#define FIELD_NAMESPACE(member, arg) ROW(member, "namespace", TYPE_STR, 0, PRESENT, 0, NULL, NULL)
#define FIELD_B64(member, arg)       PLAIN(member, TYPE_B64)
#define FIELD_U16(member, arg)       PLAIN(member, TYPE_U16)
#define FIELD_U32(member, arg)       PLAIN(member, TYPE_U32)
#define FIELD_U64(member, arg)       PLAIN(member, TYPE_U64)
#define FIELD_I64(member, arg)       PLAIN(member, TYPE_I64)
#define FIELD_BOOL(member, arg)      PLAIN(member, TYPE_BOOL)
#define FIELD_START(member, arg)     PLAIN(member, TYPE_START)
#define FIELD_CONDITION(member, arg) PLAIN(member, TYPE_CONDITION)
#define FIELD_REFUSAL(member, arg)   PLAIN(member, TYPE_REFUSAL)
#define FIELD_ENUM(member, arg)                                                                    \
    ROW(member, #member, TYPE_ENUM, 0, PRESENT, 0, &flx_##arg##_names, NULL)
#define FIELD_OBJ(member, arg)      ROW(member, #member, TYPE_OBJ, 0, PRESENT, 0, NULL, arg##_object)
#define FIELD_FLAG(member, arg)     ROW(member, #member, TYPE_BOOL, 0, OMITTED_AT_ZERO, 0, NULL, NULL)
#define FIELD_DEF_BOOL(member, arg) ROW(member, #member, TYPE_BOOL, 0, DEFAULTED, 0, NULL, NULL)
#define FIELD_DEF_U64(member, arg)  ROW(member, #member, TYPE_U64, 0, DEFAULTED, 0, NULL, NULL)
#define FIELD_OPT_STR(member, arg)  MAYBE(member, TYPE_STR)
#define FIELD_OPT_NAMESPACE(member, arg)                                                           \
    ROW(member, "namespace", TYPE_STR, 0, PRESENT_OR_HAS, HAS(namespace), NULL, NULL)
#define FIELD_OPT_B64(member, arg)   MAYBE(member, TYPE_B64)
#define FIELD_OPT_U16(member, arg)   MAYBE(member, TYPE_U16)
#define FIELD_OPT_U32(member, arg)   MAYBE(member, TYPE_U32)
#define FIELD_OPT_U64(member, arg)   MAYBE(member, TYPE_U64)
#define FIELD_OPT_I64(member, arg)   MAYBE(member, TYPE_I64)
#define FIELD_OPT_BOOL(member, arg)  MAYBE(member, TYPE_BOOL)
#define FIELD_OPT_START(member, arg) MAYBE(member, TYPE_START)
#define FIELD_RAW(member, arg)       MAYBE(member, TYPE_RAW)
#define FIELD_OPT_ENUM(member, arg)                                                                \
    ROW(member, #member, TYPE_ENUM, 0, PRESENT_OR_HAS, HAS(member), &flx_##arg##_names, NULL)
#define FIELD_OPT_OBJ(member, arg)                                                                 \
    ROW(member, #member, TYPE_OBJ, 0, PRESENT_OR_HAS, HAS(member), NULL, arg##_object)
#define FIELD_NULL_B64(member, arg)                                                                \
    ROW(member, #member, TYPE_B64, 0, PRESENT_OR_NULL, HAS(member), NULL, NULL)
#define FIELD_NULL_U64(member, arg)                                                                \
    ROW(member, #member, TYPE_U64, 0, PRESENT_OR_NULL, HAS(member), NULL, NULL)
#define FIELD_LIST_STR(member, arg)     LIST(member, TYPE_STR, PRESENT)
#define FIELD_LIST_B64(member, arg)     LIST(member, TYPE_B64, PRESENT)
#define FIELD_LIST_U64(member, arg)     LIST(member, TYPE_U64, PRESENT)
#define FIELD_OPT_LIST_U16(member, arg) LIST(member, TYPE_U16, OMITTED_EMPTY)
#define FIELD_LIST_OBJ(member, arg)     LIST_OF(member, arg, PRESENT)
#define FIELD_DEF_LIST_OBJ(member, arg) LIST_OF(member, arg, DEFAULTED)
#define FIELD_OPT_LIST_OBJ(member, arg) LIST_OF(member, arg, OMITTED_EMPTY)

#define FIELD(kind, member, arg) FIELD_##kind(member, arg)

/* The row of zeros at the end keeps the list of a message without fields from being empty. */
#define OBJECT(name)                                                                               \
    static const flx_object *name##_object(void)                                                   \
    {                                                                                              \
        typedef struct flx_msg_##name owner;                                                       \
        static const flx_field fields[] = {FLX_FIELDS_##name(FIELD){0}};                           \
        static const flx_object table = {fields, sizeof fields / sizeof fields[0] - 1,             \
                                         sizeof(owner)};                                           \
        static_assert(sizeof fields / sizeof fields[0] <= 33, "a mask of 32 fields");              \
        return &table;                                                                             \
    }
#define MESSAGE_OBJECT(NAME, name, dir) OBJECT(name)
FLX_OBJECT_MAP(OBJECT)
FLX_MSG_MAP(MESSAGE_OBJECT)

#define TYPE_PREFIX(name) "{\"type\":\"" #name "\""
static const message_row rows[] = {{NULL, "", 0, FLX_DIR_BOTH, "unknown"},
#define MESSAGE_ROW(NAME, name, dir)                                                               \
    {name##_object, TYPE_PREFIX(name), sizeof TYPE_PREFIX(name) - 1, dir, #name},
                                   FLX_MSG_MAP(MESSAGE_ROW)
#undef MESSAGE_ROW
};
static_assert(sizeof rows / sizeof rows[0] == FLX_MSG_TYPE_END, "a row for each type");

const message_row *flx_message_row(flx_msg_type type)
{
    FLX_ASSERT(type > FLX_MSG_UNKNOWN && type < FLX_MSG_TYPE_END);
    return &rows[type];
}

flx_dir flx_msg_sender(flx_msg_type type)
{
    FLX_ASSERT(type < FLX_MSG_TYPE_END);
    return (flx_dir)rows[type].sender;
}

const char *flx_msg_name(flx_msg_type type)
{
    FLX_ASSERT(type < FLX_MSG_TYPE_END);
    return rows[type].name;
}

size_t flx_list_item_bytes(const flx_field *field)
{
    switch (field->item) {
    case TYPE_STR:
    case TYPE_B64:
        return sizeof(flx_slice);
    case TYPE_U16:
        return sizeof(uint16_t);
    case TYPE_U64:
        return sizeof(uint64_t);
    default:
        FLX_ASSERT(field->item == TYPE_OBJ);
        return field->object()->size;
    }
}

/* ---- names ---- */

/* Grouped by length; within a length the busiest first. A type left out here, or put under another
 * length, is found by the unit test that looks up every row. */
#define IS(NAME, word)                                                                             \
    if (memcmp(name.ptr, word, sizeof(word) - 1) == 0) {                                           \
        return FLX_MSG_##NAME;                                                                     \
    }

flx_msg_type flx_msg_find(flx_slice name)
{
    switch (name.len) {
    case 2:
        IS(OK, "ok")
        break;
    case 4:
        IS(AUTH, "auth")
        break;
    case 5:
        IS(ERROR, "error")
        IS(EVENT, "event")
        break;
    case 6:
        IS(COMMIT, "commit")
        break;
    case 7:
        IS(PUBLISH, "publish")
        IS(AUTH_OK, "auth_ok")
        break;
    case 8:
        IS(CACHE_OK, "cache_ok")
        IS(TOPOLOGY, "topology")
        break;
    case 9:
        IS(CACHE_GET, "cache_get")
        IS(CACHE_PUT, "cache_put")
        IS(SUBSCRIBE, "subscribe")
        IS(GROUP_ACK, "group_ack")
        IS(COMMIT_OK, "commit_ok")
        IS(EXTENSION, "extension")
        IS(STATE_GET, "state_get")
        break;
    case 10:
        IS(PUBLISH_OK, "publish_ok")
        IS(GROUP_POLL, "group_poll")
        IS(SUBSCRIBED, "subscribed")
        IS(PUBLISH_IF, "publish_if")
        IS(GROUP_NACK, "group_nack")
        IS(NOT_LEADER, "not_leader")
        IS(GROUP_SEEK, "group_seek")
        IS(GROUP_INFO, "group_info")
        break;
    case 11:
        IS(CACHE_VALUE, "cache_value")
        IS(CACHE_EVENT, "cache_event")
        IS(EVENT_BATCH, "event_batch")
        IS(COUNTER_ADD, "counter_add")
        IS(COUNTER_GET, "counter_get")
        IS(CACHE_WATCH, "cache_watch")
        IS(SHARD_MOVED, "shard_moved")
        IS(STATE_VALUE, "state_value")
        IS(STREAM_READ, "stream_read")
        IS(UNSUPPORTED, "unsupported")
        break;
    case 12:
        IS(CACHE_DELETE, "cache_delete")
        IS(CACHE_PUT_IF, "cache_put_if")
        IS(CACHE_SHARDS, "cache_shards")
        IS(SHARD_OWNERS, "shard_owners")
        IS(OFFSET_VALUE, "offset_value")
        IS(GROUP_EXTEND, "group_extend")
        IS(GROUP_DELETE, "group_delete")
        break;
    case 13:
        IS(PUBLISH_BATCH, "publish_batch")
        IS(PUBLISH_ERROR, "publish_error")
        IS(GROUP_RECORDS, "group_records")
        IS(COUNTER_VALUE, "counter_value")
        IS(STREAM_SHARDS, "stream_shards")
        IS(PRODUCER_INIT, "producer_init")
        IS(TOPOLOGY_VIEW, "topology_view")
        IS(GROUP_DISCARD, "group_discard")
        IS(GROUP_REDRIVE, "group_redrive")
        IS(GROUP_DELETED, "group_deleted")
        IS(SHARD_INSPECT, "shard_inspect")
        break;
    case 14:
        IS(GROUP_EXTENDED, "group_extended")
        IS(GROUP_POSITION, "group_position")
        IS(GROUP_DESCRIBE, "group_describe")
        IS(STREAM_RECORDS, "stream_records")
        break;
    case 15:
        IS(PUBLISH_REFUSED, "publish_refused")
        IS(CACHE_DELETE_IF, "cache_delete_if")
        IS(OFFSET_FOR_TIME, "offset_for_time")
        break;
    case 16:
        IS(PRODUCER_INIT_OK, "producer_init_ok")
        break;
    case 17:
        IS(CACHE_SHARDS_VIEW, "cache_shards_view")
        IS(SHARD_OWNERS_VIEW, "shard_owners_view")
        IS(GROUP_DEAD_LETTER, "group_dead_letter")
        break;
    case 18:
        IS(PUBLISH_IDEMPOTENT, "publish_idempotent")
        IS(EVENT_STREAM_HELLO, "event_stream_hello")
        IS(STREAM_SHARDS_VIEW, "stream_shards_view")
        IS(CACHE_WATCH_LAGGED, "cache_watch_lagged")
        IS(GROUP_DEAD_LETTERS, "group_dead_letters")
        IS(SHARD_INSPECT_INFO, "shard_inspect_info")
        IS(SUBSCRIPTIONS_LIST, "subscriptions_list")
        break;
    case 19:
        IS(SUBSCRIPTION_LAGGED, "subscription_lagged")
        IS(CACHE_WATCH_STARTED, "cache_watch_started")
        break;
    case 20:
        IS(CACHE_WATCH_PROGRESS, "cache_watch_progress")
        break;
    case 22:
        IS(SUBSCRIBE_CURSOR_ERROR, "subscribe_cursor_error")
        IS(CACHE_CONDITION_RESULT, "cache_condition_result")
        IS(GROUP_DEAD_LETTER_LIST, "group_dead_letter_list")
        break;
    case 23:
        IS(SUBSCRIPTIONS_LIST_INFO, "subscriptions_list_info")
        break;
    default:
        break;
    }
    return FLX_MSG_UNKNOWN;
}
#undef IS
