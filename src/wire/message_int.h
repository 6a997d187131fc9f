/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/message_int.h - the rows of wire/message_map.h as data, for the decoder and the encoder.
 *
 * A field is told by three things: its type on the wire, what its absence means, and where it lies
 * in its struct. An object is a list of fields; a message is an object with a type in front.
 */
#ifndef FLX_WIRE_MESSAGE_INT_H
#define FLX_WIRE_MESSAGE_INT_H

#include "wire/enums.h"
#include "wire/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum field_type {
    TYPE_STR,
    TYPE_B64,
    TYPE_U16,
    TYPE_U32,
    TYPE_U64,
    TYPE_I64,
    TYPE_BOOL,
    TYPE_ENUM,
    TYPE_OBJ,
    TYPE_RAW,
    TYPE_START,
    TYPE_CONDITION,
    TYPE_REFUSAL,
    TYPE_LIST /* of `item` */
} field_type;

typedef enum field_presence {
    PRESENT,         /* must be there */
    PRESENT_OR_HAS,  /* may be missing or null; left out without has_ */
    PRESENT_OR_NULL, /* may be missing or null; null without has_ */
    DEFAULTED,       /* may be missing, then zero; always written */
    OMITTED_AT_ZERO, /* may be missing, then zero; left out when zero (false, no items) */
    OMITTED_EMPTY    /* the same for a list, which may be null as well */
} field_presence;

typedef struct flx_field {
    const char *prefix; /* ,"name": as it is written */
    uint8_t prefix_len;
    uint8_t type;                             /* field_type */
    uint8_t item;                             /* field_type of a list's items */
    uint8_t presence;                         /* field_presence */
    uint16_t offset;                          /* of the value in the struct */
    uint16_t other;                           /* of has_<name>, or of <name>_count */
    const flx_enum_names *names;              /* of an enum */
    const struct flx_object *(*object)(void); /* of an object, or of the objects of a list */
} flx_field;

typedef struct flx_object {
    const flx_field *fields;
    uint8_t count; /* at most 32: a mask of those seen fits a word */
    uint16_t size; /* of the struct */
} flx_object;

typedef struct message_row {
    const flx_object *(*object)(void);
    const char *prefix; /* {"type":"name" as it is written */
    uint8_t prefix_len;
    uint8_t sender; /* flx_dir */
    const char *name;
} message_row;

/* `type` is a known type. */
const message_row *flx_message_row(flx_msg_type type);

static inline flx_slice field_name(const flx_field *field)
{
    const flx_slice name = {(const uint8_t *)field->prefix + 2, (size_t)field->prefix_len - 4};
    return name;
}

/* Bytes of one item of a list. */
size_t flx_list_item_bytes(const flx_field *field);

/* Where the fields of a message begin: the first byte of the union. */
#define MESSAGE_BODY_OFFSET offsetof(flx_msg, unknown)

#endif /* FLX_WIRE_MESSAGE_INT_H */
