/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/json.h - a strict pull parser for RFC 8259 text that decodes in place, and its counterpart.
 *
 * There is no tree and no allocation. The caller walks the text it knows the shape of; what it does
 * not know it skips, and skipping checks as strictly as reading: grammar, UTF-8, escapes, paired
 * surrogates, depth. Numbers are whole u64 or i64, never doubles. Reading a string or base64 value
 * rewrites its bytes (the result is never longer), so a value is read once; keys, skipped and raw
 * values stay as they are.
 *
 * Each function answers false on the first error and json->error says what it was, in static text;
 * a parser that failed is not used again.
 */
#ifndef FLX_WIRE_JSON_H
#define FLX_WIRE_JSON_H

#include "wire/writer.h"

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_JSON_DEPTH_MAX     16
#define FLX_JSON_KEY_BYTES_MAX 64 /* a longer key with escapes is nobody's and reads as empty */

typedef struct flx_json {
    uint8_t *at;
    uint8_t *end;
    const char *error; /* NULL until something failed */
    unsigned depth;    /* of the object or array the parser is in */
    uint8_t key[FLX_JSON_KEY_BYTES_MAX];
} flx_json;

/* Borrows `text` and rewrites it. */
void flx_json_init(flx_json *json, uint8_t *text, size_t len);

/* After the last value: nothing but white space may follow. */
bool flx_json_finish(flx_json *json);

/* What follows a value of an object or array. */
typedef enum flx_json_step { FLX_JSON_ITEM, FLX_JSON_END, FLX_JSON_ERROR } flx_json_step;

/* Enters an object. Then flx_json_member() until it says FLX_JSON_END, reading or skipping one
 * value after each FLX_JSON_ITEM. `first` is true for the first call. The key is valid until the
 * next key. */
bool flx_json_object_begin(flx_json *json);
flx_json_step flx_json_member(flx_json *json, bool first, flx_slice *ret_key);

/* The same for arrays. */
bool flx_json_array_begin(flx_json *json);
flx_json_step flx_json_element(flx_json *json, bool first);

/* The first byte of the next value, 0 at the end of the text: tells a string from an object. */
uint8_t flx_json_peek(flx_json *json);

/* Takes a null if that is what comes; false (and no error) otherwise. */
bool flx_json_take_null(flx_json *json);

/* One value of that type. A string is UTF-8 without escapes, a base64 value its bytes; both lie in
 * the text, which they rewrote. */
bool flx_json_string(flx_json *json, flx_slice *ret_text);
bool flx_json_base64(flx_json *json, flx_slice *ret_bytes);
bool flx_json_u64(flx_json *json, uint64_t *ret_value);
bool flx_json_i64(flx_json *json, int64_t *ret_value);
bool flx_json_bool(flx_json *json, bool *ret_value);

/* Passes over any value; *ret_raw (may be NULL) is its text. */
bool flx_json_skip(flx_json *json, flx_slice *ret_raw);

/* ---- writing: compact, with the fewest escapes; the writer remembers when it is full ---- */

void flx_json_put_string(flx_writer *writer, flx_slice text);
void flx_json_put_base64(flx_writer *writer, flx_slice bytes);
void flx_json_put_u64(flx_writer *writer, uint64_t value);
void flx_json_put_i64(flx_writer *writer, int64_t value);

#endif /* FLX_WIRE_JSON_H */
