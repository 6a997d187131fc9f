/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/message.h - the JSON messages as C structs, decoded in place and encoded in one pass.
 *
 * struct flx_msg_auth, flx_msg_auth_ok, ... hold the fields of wire/message_map.h under their wire
 * names; an optional field has a `bool has_<name>` before it, a list a `<name>_count` behind it, and
 * `namespace` is called namespace_. Binary fields (base64 on the wire) are plain bytes here.
 *
 * A decoded message borrows: its slices point into the JSON it came from, which the decoder
 * rewrites (unescaped, base64 taken off), its lists into the arena. Pure; any thread.
 */
#ifndef FLX_WIRE_MESSAGE_H
#define FLX_WIRE_MESSAGE_H

#include "common/chunk.h"
#include "wire/arena.h"
#include "wire/code.h"
#include "wire/enums.h"
#include "wire/message_map.h"
#include "wire/writer.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_MSG_LIST_COUNT_MAX 262144 /* items of one list; an arena may bound it lower */

typedef enum flx_msg_type {
    FLX_MSG_UNKNOWN = 0, /* a type this version does not know; see flx_msg.unknown */
#define FLX_MSG_ENUM(NAME, name, dir) FLX_MSG_##NAME,
    FLX_MSG_MAP(FLX_MSG_ENUM)
#undef FLX_MSG_ENUM
        FLX_MSG_TYPE_END
} flx_msg_type;

/* Where to begin: "latest", "earliest" or {"offset": n}. */
typedef enum flx_start_kind {
    FLX_START_LATEST,
    FLX_START_EARLIEST,
    FLX_START_OFFSET
} flx_start_kind;
typedef struct flx_start {
    flx_start_kind kind;
    uint64_t offset; /* with OFFSET */
} flx_start;

/* What a conditional put expects: "absent" or {"version": n}. */
typedef enum flx_condition_kind { FLX_CONDITION_ABSENT, FLX_CONDITION_VERSION } flx_condition_kind;
typedef struct flx_condition {
    flx_condition_kind kind;
    uint64_t version; /* with VERSION */
} flx_condition;

/* Why an idempotent or conditional publish was refused. */
typedef enum flx_refusal_kind {
    FLX_REFUSAL_SEQUENCE_GAP, /* expected */
    FLX_REFUSAL_UNKNOWN_PRODUCER,
    FLX_REFUSAL_SEQUENCE_EXPIRED,
    FLX_REFUSAL_SEQUENCE_REUSED,
    FLX_REFUSAL_OFFSET_MISMATCH, /* tail */
    FLX_REFUSAL_NOT_LEADER       /* node_id, addr */
} flx_refusal_kind;
typedef struct flx_refusal {
    flx_refusal_kind kind;
    uint64_t expected;
    uint64_t tail;
    flx_slice node_id;
    bool has_addr;
    flx_slice addr;
} flx_refusal;

/* How each kind of field looks in a struct. */
#define FLX_MEMBER_STR(name, arg)       flx_slice name;
#define FLX_MEMBER_NAMESPACE(name, arg) flx_slice name;
#define FLX_MEMBER_B64(name, arg)       flx_slice name;
#define FLX_MEMBER_U16(name, arg)       uint16_t name;
#define FLX_MEMBER_U32(name, arg)       uint32_t name;
#define FLX_MEMBER_U64(name, arg)       uint64_t name;
#define FLX_MEMBER_I64(name, arg)       int64_t name;
#define FLX_MEMBER_BOOL(name, arg)      bool name;
#define FLX_MEMBER_FLAG(name, arg)      bool name;
#define FLX_MEMBER_DEF_BOOL(name, arg)  bool name;
#define FLX_MEMBER_DEF_U64(name, arg)   uint64_t name;
#define FLX_MEMBER_ENUM(name, arg)      flx_##arg name;
#define FLX_MEMBER_OBJ(name, arg)       struct flx_msg_##arg name;
#define FLX_MEMBER_START(name, arg)     flx_start name;
#define FLX_MEMBER_CONDITION(name, arg) flx_condition name;
#define FLX_MEMBER_REFUSAL(name, arg)   flx_refusal name;
#define FLX_MEMBER_OPT_NAMESPACE(name, arg)                                                        \
    bool has_namespace;                                                                            \
    flx_slice name;
#define FLX_MEMBER_OPT_STR(name, arg)                                                              \
    bool has_##name;                                                                               \
    flx_slice name;
#define FLX_MEMBER_OPT_B64(name, arg)  FLX_MEMBER_OPT_STR(name, arg)
#define FLX_MEMBER_NULL_B64(name, arg) FLX_MEMBER_OPT_STR(name, arg)
#define FLX_MEMBER_RAW(name, arg)      FLX_MEMBER_OPT_STR(name, arg)
#define FLX_MEMBER_OPT_U16(name, arg)                                                              \
    bool has_##name;                                                                               \
    uint16_t name;
#define FLX_MEMBER_OPT_U32(name, arg)                                                              \
    bool has_##name;                                                                               \
    uint32_t name;
#define FLX_MEMBER_OPT_U64(name, arg)                                                              \
    bool has_##name;                                                                               \
    uint64_t name;
#define FLX_MEMBER_NULL_U64(name, arg) FLX_MEMBER_OPT_U64(name, arg)
#define FLX_MEMBER_OPT_I64(name, arg)                                                              \
    bool has_##name;                                                                               \
    int64_t name;
#define FLX_MEMBER_OPT_BOOL(name, arg)                                                             \
    bool has_##name;                                                                               \
    bool name;
#define FLX_MEMBER_OPT_ENUM(name, arg)                                                             \
    bool has_##name;                                                                               \
    flx_##arg name;
#define FLX_MEMBER_OPT_OBJ(name, arg)                                                              \
    bool has_##name;                                                                               \
    struct flx_msg_##arg name;
#define FLX_MEMBER_OPT_START(name, arg)                                                            \
    bool has_##name;                                                                               \
    flx_start name;
#define FLX_MEMBER_LIST_STR(name, arg)                                                             \
    const flx_slice *name;                                                                         \
    size_t name##_count;
#define FLX_MEMBER_LIST_B64(name, arg) FLX_MEMBER_LIST_STR(name, arg)
#define FLX_MEMBER_LIST_U64(name, arg)                                                             \
    const uint64_t *name;                                                                          \
    size_t name##_count;
#define FLX_MEMBER_OPT_LIST_U16(name, arg)                                                         \
    const uint16_t *name;                                                                          \
    size_t name##_count;
#define FLX_MEMBER_LIST_OBJ(name, arg)                                                             \
    const struct flx_msg_##arg *name;                                                              \
    size_t name##_count;
#define FLX_MEMBER_DEF_LIST_OBJ(name, arg) FLX_MEMBER_LIST_OBJ(name, arg)
#define FLX_MEMBER_OPT_LIST_OBJ(name, arg) FLX_MEMBER_LIST_OBJ(name, arg)

#define FLX_MEMBER(kind, name, arg) FLX_MEMBER_##kind(name, arg)

/* NOLINTBEGIN(clang-analyzer-optin.performance.Padding): members stand as they do on the wire. */
/* struct flx_msg_detail, flx_msg_broker, flx_msg_record, ...: the objects inside messages. */
#define FLX_OBJECT_STRUCT(name)                                                                    \
    typedef struct flx_msg_##name {                                                                \
        FLX_FIELDS_##name(FLX_MEMBER)                                                              \
    } flx_msg_##name;
FLX_OBJECT_MAP(FLX_OBJECT_STRUCT)
#undef FLX_OBJECT_STRUCT

/* A message without fields is one byte, as in C++. */
#define FLX_MSG_STRUCT(NAME, name, dir)                                                            \
    struct flx_msg_##name {                                                                        \
        FLX_FIELDS_##name(FLX_MEMBER) uint8_t reserved_;                                           \
    };
FLX_MSG_MAP(FLX_MSG_STRUCT)
#undef FLX_MSG_STRUCT
/* NOLINTEND(clang-analyzer-optin.performance.Padding) */

/* What can be read of a message whose type is not known: enough to answer `unsupported`. */
typedef struct flx_msg_unknown {
    flx_slice type_name;
    bool has_request_id;
    uint64_t request_id;
} flx_msg_unknown;

typedef struct flx_msg {
    flx_msg_type type;
    union {
        flx_msg_unknown unknown;
#define FLX_MSG_MEMBER(NAME, name, dir) struct flx_msg_##name name;
        FLX_MSG_MAP(FLX_MSG_MEMBER)
#undef FLX_MSG_MEMBER
    };
} flx_msg;

/*
 * Decodes `len` bytes of JSON, rewriting them. *ret_msg borrows them and the arena (which the caller
 * resets between messages; its earlier contents stay valid).
 *
 * FLX_ERR_PROTOCOL     not JSON, or not this message: a field missing, twice, or of another type
 * FLX_ERR_UNSUPPORTED  well-formed JSON of an unknown type; *ret_msg IS written: type
 *                      FLX_MSG_UNKNOWN and `unknown`
 * FLX_ERR_TOO_LARGE    a list is longer than FLX_MSG_LIST_COUNT_MAX or the arena's bound
 * FLX_ERR_NOMEM
 */
flx_status flx_msg_decode(flx_arena *arena, uint8_t *json, size_t len, flx_msg *ret_msg,
                          flx_error *reterr);

/* Appends the message as compact JSON: `type` first, then the fields in their order. What does not
 * fit is counted, not written: see flx_writer. The strings must be UTF-8 (debug assert). */
void flx_msg_encode(const flx_msg *msg, flx_writer *writer);

/* Appends a whole frame, header included. */
void flx_msg_encode_frame(const flx_msg *msg, flx_writer *writer);

/* Bytes of the whole frame. */
size_t flx_msg_frame_bytes(const flx_msg *msg);

/*
 * Appends a whole frame to *chunk, the chunk its caller writes to (NULL: none yet). When it does not
 * fit, the caller's reference goes to a new chunk of at least `chunk_bytes`, and the old one lives on
 * with whoever holds ranges of it. *ret_range owns a reference of its own.
 * FLX_ERR_NOMEM, FLX_ERR_TOO_LARGE (above FLX_FRAME_BYTES_MAX): nothing changed.
 */
flx_status flx_msg_append_frame(const flx_msg *msg, flx_chunk **chunk, size_t chunk_bytes,
                                flx_range *ret_range, flx_error *reterr);

/* Who may send this type. FLX_MSG_UNKNOWN: nobody is known to; answers FLX_DIR_BOTH. */
flx_dir flx_msg_sender(flx_msg_type type);
static inline bool flx_msg_may_send(flx_msg_type type, flx_dir sender)
{
    return ((unsigned)flx_msg_sender(type) & (unsigned)sender) != 0;
}

/* The wire's name of a type ("auth_ok"); "unknown" for FLX_MSG_UNKNOWN. Static memory. */
const char *flx_msg_name(flx_msg_type type);

/* The type of a name; FLX_MSG_UNKNOWN when there is none. */
flx_msg_type flx_msg_find(flx_slice name);

#endif /* FLX_WIRE_MESSAGE_H */
