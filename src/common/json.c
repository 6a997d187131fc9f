/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/json.c - jansson, with two things mended, and getters that say which member was wrong.
 *
 * It recurses once a level and bounds that at 2048 when it is compiled, so depth is counted before
 * it runs. And its lexer passes over a failed allocation: the byte that found no room is left out
 * of the text, and "tenant-12" may come out as "tenant-1" with no error. So jansson allocates
 * through us, and a document during whose reading an allocation failed is refused, whatever jansson
 * says (README.md, rule 9).
 */
#include "common/json.h"

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

/* Whether brackets nest deeper than allowed; those inside texts do not count. What is not JSON is
 * counted somehow and left for jansson to refuse. */
static bool is_too_deep(flx_slice text, unsigned depth_max)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > depth_max) {
                return true;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static flx_status load(flx_slice text, size_t flags, const char *what, json_t **ret_json,
                       flx_error *reterr)
{
    json_error_t cause;
    alloc_failed = false;
    json_t *json = json_loadb((const char *)text.ptr, text.len, flags, &cause);
    if (alloc_failed) {
        json_decref(json);
        return flx_fail(reterr, FLX_ERR_NOMEM, "%s: out of memory", what);
    }
    if (json == NULL) {
        /* Not cause.text: it quotes the document, which may hold a secret. */
        const bool twice = json_error_code(&cause) == json_error_duplicate_key;
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: %s, at line %d", what,
                        twice ? "a member twice" : "not JSON", cause.line);
    }
    *ret_json = json;
    return FLX_OK;
}

flx_status flx_json_parse(flx_slice text, size_t bytes_max, unsigned depth_max, const char *what,
                          json_t **ret_json, flx_error *reterr)
{
    if (text.len > bytes_max) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "%s: larger than %zu bytes", what, bytes_max);
    }
    if (text.len == 0) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: empty, expected JSON", what);
    }
    if (is_too_deep(text, depth_max)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: nested deeper than %u levels", what,
                        depth_max);
    }
    return load(text, JSON_REJECT_DUPLICATES, what, ret_json, reterr);
}

flx_status flx_json_parse_object(flx_slice text, size_t bytes_max, unsigned depth_max,
                                 const char *what, json_t **ret_object, flx_error *reterr)
{
    json_t *json = NULL;
    flx_status status = flx_json_parse(text, bytes_max, depth_max, what, &json, reterr);
    if (status == FLX_OK) {
        status = flx_json_need_object(json, what, reterr);
    }
    if (status != FLX_OK) {
        json_decref(json);
        return status;
    }
    *ret_object = json;
    return FLX_OK;
}

flx_status flx_json_parse_own(flx_slice text, const char *what, json_t **ret_json,
                              flx_error *reterr)
{
    return load(text, JSON_DECODE_ANY, what, ret_json, reterr);
}

flx_status flx_json_write(const json_t *json, char **ret_text, flx_error *reterr)
{
    const size_t len = json_dumpb(json, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    char *text = len == 0 ? NULL : flx_alloc(len + 1);
    if (text == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "json: out of memory");
    }
    const size_t written = json_dumpb(json, text, len, JSON_COMPACT | JSON_ENCODE_ANY);
    FLX_ASSERT(written <= len);
    if (written != len) { /* the second pass ran out of memory */
        flx_free(text);
        return flx_fail(reterr, FLX_ERR_NOMEM, "json: out of memory");
    }
    text[len] = '\0';
    *ret_text = text;
    return FLX_OK;
}

static const char *const type_names[] = {[JSON_OBJECT] = "an object",
                                         [JSON_ARRAY] = "an array",
                                         [JSON_STRING] = "a string",
                                         [JSON_INTEGER] = "an integer",
                                         [JSON_TRUE] = "true or false"};

/* A member of a type, JSON_TRUE for both booleans. FLX_OK with *ret_value NULL when it is optional
 * and absent. */
static flx_status member_of(const json_t *object, const char *member, flx_json_need need,
                            json_type type, const json_t **ret_value, flx_error *reterr)
{
    const json_t *value = json_object_get(object, member);
    if (value == NULL || json_is_null(value)) {
        *ret_value = NULL;
        return need == FLX_JSON_OPTIONAL
                   ? FLX_OK
                   : flx_fail(reterr, FLX_ERR_INVALID, "%s: is missing", member);
    }
    if ((json_is_boolean(value) ? JSON_TRUE : json_typeof(value)) != type) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be %s", member, type_names[type]);
    }
    *ret_value = value;
    return FLX_OK;
}

flx_status flx_json_get_text(const json_t *object, const char *member, flx_json_need need,
                             size_t bytes_max, const char **ret, flx_error *reterr)
{
    const json_t *value = NULL;
    const flx_status status = member_of(object, member, need, JSON_STRING, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    if (json_string_length(value) > bytes_max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: longer than %zu bytes", member, bytes_max);
    }
    *ret = json_string_value(value);
    FLX_ASSERT(strlen(*ret) == json_string_length(value)); /* jansson was not told JSON_ALLOW_NUL */
    return FLX_OK;
}

flx_status flx_json_get_u64(const json_t *object, const char *member, flx_json_need need,
                            uint64_t min, uint64_t max, uint64_t *ret, flx_error *reterr)
{
    const json_t *value = NULL;
    const flx_status status = member_of(object, member, need, JSON_INTEGER, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    const json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number < min || (uint64_t)number > max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be %llu..%llu", member,
                        (unsigned long long)min, (unsigned long long)max);
    }
    *ret = (uint64_t)number;
    return FLX_OK;
}

flx_status flx_json_get_bool(const json_t *object, const char *member, flx_json_need need,
                             bool *ret, flx_error *reterr)
{
    const json_t *value = NULL;
    const flx_status status = member_of(object, member, need, JSON_TRUE, &value, reterr);
    if (status == FLX_OK && value != NULL) {
        *ret = json_is_true(value);
    }
    return status;
}

flx_status flx_json_get_object(const json_t *object, const char *member, flx_json_need need,
                               const json_t **ret, flx_error *reterr)
{
    const json_t *value = NULL;
    const flx_status status = member_of(object, member, need, JSON_OBJECT, &value, reterr);
    if (status == FLX_OK && value != NULL) {
        *ret = value;
    }
    return status;
}

flx_status flx_json_get_array(const json_t *object, const char *member, flx_json_need need,
                              size_t count_max, const json_t **ret, flx_error *reterr)
{
    const json_t *value = NULL;
    const flx_status status = member_of(object, member, need, JSON_ARRAY, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    if (json_array_size(value) > count_max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: more than %zu items", member, count_max);
    }
    *ret = value;
    return FLX_OK;
}

bool flx_json_find_text(const json_t *object, const char *member, flx_slice *ret_text)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_string(value)) {
        return false;
    }
    *ret_text = (flx_slice){(const uint8_t *)json_string_value(value), json_string_length(value)};
    return true;
}

flx_status flx_json_need_object(const json_t *json, const char *what, flx_error *reterr)
{
    return json_is_object(json)
               ? FLX_OK
               : flx_fail(reterr, FLX_ERR_INVALID, "%s: must be a JSON object", what);
}
