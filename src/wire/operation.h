/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/operation.h - operation frames (flag 0x8000): many small requests and their answers, by id.
 * docs/spec/extensions.md. Pure; any thread.
 *
 * A payload is operations one behind the other, each a head of 12 bytes and a body:
 *
 *      0             4        5       6             8          12         12 + length
 *     +-------------+--------+-------+-------------+----------+----------+
 *     | u32 length  | u8     | u8    | u16 handle  | u32      | body     |   from a client
 *     | of the body | opcode | flags | u16 status  | id       |          |   from a broker
 *     +-------------+--------+-------+-------------+----------+----------+
 *
 * flx_operations_check() looks at the lengths of a whole payload; after that its operations are
 * taken off one by one without doubt. What a body holds is a row of FLX_OPERATION_MAP, from which
 * the decoder, the encoder and the measuring come; a body is judged by itself, so that one bad
 * operation spoils no other.
 */
#ifndef FLX_WIRE_OPERATION_H
#define FLX_WIRE_OPERATION_H

#include "wire/code.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_OPERATION_HEAD_BYTES 12
#define FLX_OPERATION_HANDLE_MAX 255 /* handles of one stream are 0 .. 255 */

/* A status beside the codes of wire/code.h: the broker does not serve this operation. */
#define FLX_OPERATION_UNSUPPORTED UINT16_C(0xFFFF)

/*
 * Row: NAME, opcode, fields of the request, fields of the answer. A field is TYPE(member) or
 * TYPE_IF(member, flag); the flags of a side are exactly those its fields name and those in
 * MARK(flag), which say yes or no by themselves. docs/spec/extensions.md 1.4 says what they mean.
 */
#define FLX_OPERATION_MAP(X)                                                                       \
    X(OPEN, 0x01, open, opened)                                                                    \
    X(PLACEMENT, 0x02, placement, placed)                                                          \
    X(CACHE_GET, 0x10, key, value)                                                                 \
    X(CACHE_PUT, 0x11, put, nothing)                                                               \
    X(CACHE_DELETE, 0x12, key, value)                                                              \
    X(CACHE_PUT_IF, 0x13, put_if, condition)                                                       \
    X(CACHE_DELETE_IF, 0x14, delete_if, condition)                                                 \
    X(COUNTER_ADD, 0x20, counter_add, counter)                                                     \
    X(COUNTER_GET, 0x21, key, counter)                                                             \
    X(GROUP_POLL, 0x30, group_poll, group_records)                                                 \
    X(GROUP_ACK, 0x31, group_offset, nothing)                                                      \
    X(GROUP_NACK, 0x32, group_nack, nothing)                                                       \
    X(GROUP_EXTEND, 0x33, group_extend, group_extended)                                            \
    X(GROUP_DEAD_LETTER, 0x34, group_offset, nothing)                                              \
    X(GROUP_DEAD_LETTERS, 0x35, group, group_offsets)                                              \
    X(GROUP_DISCARD, 0x36, group_offset, nothing)                                                  \
    X(GROUP_REDRIVE, 0x37, group_offset, nothing)                                                  \
    X(GROUP_SEEK, 0x38, group_seek, group_position)                                                \
    X(GROUP_DESCRIBE, 0x39, group, group_info)                                                     \
    X(GROUP_DELETE, 0x3A, group, group_deleted)

typedef enum flx_opcode {
    FLX_OPCODE_NONE = 0,
#define FLX_OPCODE_ENUM(name, opcode, request, answer) FLX_OPCODE_##name = (opcode),
    FLX_OPERATION_MAP(FLX_OPCODE_ENUM)
#undef FLX_OPCODE_ENUM
} flx_opcode;

/* What an OPEN names. */
typedef enum flx_operation_object {
    FLX_OPERATION_STREAM = 0,
    FLX_OPERATION_CACHE = 1
} flx_operation_object;

/* What a PLACEMENT asks for. */
typedef enum flx_placement_kind {
    FLX_PLACEMENT_PUBLISH = 0,
    FLX_PLACEMENT_SUBSCRIBE = 1,
    FLX_PLACEMENT_CACHE = 2,
    FLX_PLACEMENT_WATCH = 3
} flx_placement_kind;

/* Where a group begins to read: values of `start`. */
typedef enum flx_operation_start {
    FLX_OPERATION_LATEST = 0,
    FLX_OPERATION_EARLIEST = 1,
    FLX_OPERATION_OFFSET = 2
} flx_operation_start;

/* Flags of requests. */
enum {
    FLX_OPERATION_KEYED = 0x01,      /* PLACEMENT: by key, not by shard */
    FLX_OPERATION_TTL = 0x01,        /* CACHE_PUT, CACHE_PUT_IF */
    FLX_OPERATION_VERSION = 0x02,    /* CACHE_PUT_IF: with it "this version", without "absent" */
    FLX_OPERATION_CONSUMER = 0x01,   /* GROUP_POLL */
    FLX_OPERATION_VISIBILITY = 0x02, /* GROUP_POLL */
    FLX_OPERATION_RECLAIM = 0x04,    /* GROUP_POLL */
    FLX_OPERATION_DELAY = 0x01,      /* GROUP_NACK */
    FLX_OPERATION_ATTEMPTS = 0x02,   /* GROUP_NACK */
    FLX_OPERATION_IF_NEW = 0x01      /* GROUP_SEEK */
};

/* Flags of answers. */
enum {
    FLX_OPERATION_FOUND = 0x01, /* CACHE_GET, CACHE_DELETE, COUNTER_*, GROUP_DESCRIBE (committed) */
    FLX_OPERATION_APPLIED = 0x01,   /* CACHE_PUT_IF, CACHE_DELETE_IF */
    FLX_OPERATION_VERSIONED = 0x02, /* CACHE_PUT_IF, CACHE_DELETE_IF */
    FLX_OPERATION_MOVED = 0x01,     /* GROUP_SEEK */
    FLX_OPERATION_EXISTED = 0x01,   /* GROUP_DELETE */
    FLX_OPERATION_DETAIL = 0x01     /* every answer that fails */
};

/* One operation as it lies in a payload. */
typedef struct flx_operation_head {
    uint8_t opcode; /* flx_opcode, or one this version does not know */
    uint8_t flags;
    union {
        uint16_t handle; /* of a request */
        uint16_t status; /* of an answer: 0, a flx_code, FLX_OPERATION_UNSUPPORTED, or unknown */
    };
    uint32_t id;
    flx_slice body;
} flx_operation_head;

/* A request. Only the members of its opcode's row mean anything; one that the flags leave out is 0. */
typedef struct flx_operation {
    uint8_t opcode;
    uint8_t flags;
    uint16_t handle;
    uint32_t id;
    uint8_t kind;  /* OPEN: flx_operation_object; PLACEMENT: flx_placement_kind */
    uint8_t start; /* GROUP_SEEK: flx_operation_start */
    uint32_t shard;
    uint32_t max_records;
    uint32_t attempts;
    uint64_t version;
    uint64_t ttl_ms;
    uint64_t delta; /* of a counter: two's complement */
    uint64_t offset;
    uint64_t wait_ms;
    uint64_t visibility_ms;
    uint64_t delay_ms;
    uint64_t extend_ms;
    flx_slice tenant, namespace_, name;
    flx_slice key;
    flx_slice value;
    flx_slice group, consumer;
} flx_operation;

/* An answer. status 0: the members of its opcode's row; otherwise retry, message and, with DETAIL,
 * reason and retry_after_ms. */
typedef struct flx_operation_answer {
    uint8_t opcode;
    uint8_t flags;
    uint16_t status;
    uint32_t id;
    uint8_t retry;   /* flx_retry as sent, see flx_retry_from_byte */
    uint8_t routing; /* OPEN of a stream: 0 modulo, 1 jump hash */
    uint16_t workers;
    uint16_t worker; /* below workers, which is at least 1 */
    uint32_t shards;
    uint64_t version;
    uint64_t counter; /* two's complement */
    uint64_t offset;
    uint64_t visible_ms;
    uint64_t committed, tail, in_flight, owed, dead_letters;
    uint64_t retry_after_ms;
    flx_slice value;
    flx_slice records; /* see flx_group_record_next */
    flx_slice offsets; /* u64 each */
    flx_slice message, reason;
} flx_operation_answer;

/* One record of a GROUP_POLL's answer. */
typedef struct flx_group_record {
    uint64_t offset;
    uint64_t timestamp_us;   /* 0: not known */
    uint64_t skipped_before; /* 0: none */
    uint32_t attempts;       /* 0: not said */
    flx_slice publisher;     /* empty: not known */
    flx_slice payload;
} flx_group_record;

/* "cache_get"; NULL for a number this version does not know. */
const char *flx_opcode_name(uint8_t opcode);

/* FLX_OK when `payload` is 1 .. count_max whole operations, *ret_count of them; FLX_ERR_PROTOCOL. */
flx_status flx_operations_check(flx_slice payload, uint32_t count_max, uint32_t *ret_count,
                                flx_error *reterr);
/* Takes the next operation off the front of a checked payload; false at its end. */
bool flx_operations_next(flx_slice *payload, flx_operation_head *ret_head);

/* Slices point into the body. FLX_ERR_UNSUPPORTED: an unknown opcode (opcode, id and handle are
 * set in any case); FLX_ERR_PROTOCOL: flags that the row does not have, a short body, bytes left
 * over, text that is not UTF-8, an unknown kind or start, a worker there is not. */
flx_status flx_operation_decode(const flx_operation_head *head, flx_operation *ret_operation,
                                flx_error *reterr);
flx_status flx_operation_answer_decode(const flx_operation_head *head,
                                       flx_operation_answer *ret_answer, flx_error *reterr);

/* Bytes of head and body. */
size_t flx_operation_bytes(const flx_operation *operation);
size_t flx_operation_answer_bytes(const flx_operation_answer *answer);
/* Writes head and body and returns the byte after them. Asserts what decode would refuse. */
uint8_t *flx_operation_encode(const flx_operation *operation, uint8_t *to);
uint8_t *flx_operation_answer_encode(const flx_operation_answer *answer, uint8_t *to);

/* Just the head, for who writes the body himself. */
uint8_t *flx_operation_head_put(uint8_t *to, const flx_operation_head *head);

/* Takes the next record off a checked region; false at its end. */
bool flx_group_record_next(flx_slice *records, flx_group_record *ret_record);
/* FLX_OK when `records` is whole records and nothing else; FLX_ERR_PROTOCOL. Decoding did it. */
flx_status flx_group_records_check(flx_slice records, flx_error *reterr);
size_t flx_group_record_bytes(const flx_group_record *record);
uint8_t *flx_group_record_put(const flx_group_record *record, uint8_t *to);

#endif /* FLX_WIRE_OPERATION_H */
