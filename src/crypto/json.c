/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/json.c - jansson, with two things mended.
 *
 * Its depth limit is 2048, so depth is counted before. And its lexer passes over a failed
 * allocation: the byte that found no room is left out of the string, and "tenant-12" may come out
 * as "tenant-1" with no error. So jansson allocates through us, and a document during whose reading
 * an allocation failed is refused, whatever jansson says.
 */
#include "crypto/json.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <string.h>

static _Thread_local bool alloc_failed; /* since the reading of this document began */

static void *alloc_noted(size_t size)
{
    void *memory = flx_alloc(size);
    alloc_failed = alloc_failed || memory == NULL;
    return memory;
}

/* Before main, because jansson keeps the functions in two plain globals. Memory from flx_alloc is
 * malloc's, so what others free or allocated with malloc stays right. */
__attribute__((constructor)) static void install_alloc(void)
{
    json_set_alloc_funcs(alloc_noted, flx_free);
}

/* Whether brackets nest deeper than allowed. Text that is not JSON is counted somehow; the parser
 * refuses it later. */
static bool is_too_deep(flx_slice text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > FLX_CRYPTO_JSON_DEPTH_MAX) {
                return true;
            }
        } else if (!in_string && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

flx_status flx_crypto_json_decode(flx_slice text, size_t len_max, const char *what,
                                  json_t **ret_object, flx_error *reterr)
{
    if (text.len > len_max) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "%s has %zu bytes, the limit is %zu", what,
                        text.len, len_max);
    }
    if (text.len == 0 || is_too_deep(text)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s is %s", what,
                        text.len == 0 ? "empty" : "nested too deep");
    }
    json_error_t error;
    alloc_failed = false;
    json_t *object = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (alloc_failed) {
        json_decref(object);
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for %s", what);
    }
    if (object == NULL) {
        const enum json_error_code code = json_error_code(&error);
        return flx_fail(reterr, FLX_ERR_INVALID, "%s %s", what,
                        code == json_error_duplicate_key ? "has a member twice" : "is not JSON");
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return flx_fail(reterr, FLX_ERR_INVALID, "%s is not a JSON object", what);
    }
    *ret_object = object;
    return FLX_OK;
}

bool flx_crypto_json_string(const json_t *object, const char *member, flx_slice *ret_text)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_string(value)) {
        return false;
    }
    *ret_text = (flx_slice){(const uint8_t *)json_string_value(value), json_string_length(value)};
    return true;
}

flx_status flx_crypto_json_encode(const json_t *object, char **ret_text, size_t *ret_len,
                                  flx_error *reterr)
{
    const size_t len = json_dumpb(object, NULL, 0, JSON_COMPACT);
    char *text = len == 0 ? NULL : flx_alloc(len + 1);
    if (text == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for JSON text");
    }
    const size_t written = json_dumpb(object, text, len, JSON_COMPACT);
    FLX_ASSERT(written <= len);
    if (written == 0) {
        flx_free(text);
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for JSON text");
    }
    text[written] = '\0';
    *ret_text = text;
    *ret_len = written;
    return FLX_OK;
}
