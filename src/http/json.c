/* SPDX-License-Identifier: Apache-2.0 */
/* http/json.c - limits jansson does not have, and getters that say which member was wrong. */
#include "http/json.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <string.h>

/*
 * jansson recurses once a level and bounds that at 2048 when it is compiled; our own bound is
 * checked before it runs. Brackets inside strings do not count. What is not JSON is jansson's to
 * find.
 */
static bool is_too_deep(flx_slice text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > FLX_JSON_DEPTH_MAX) {
                return true;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

flx_status flx_json_parse(flx_slice text, size_t bytes_max, json_t **ret_json, flx_error *reterr)
{
    if (text.len > bytes_max) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "body: larger than %zu bytes", bytes_max);
    }
    if (text.len == 0) {
        return flx_fail(reterr, FLX_ERR_INVALID, "body: empty, expected JSON");
    }
    if (is_too_deep(text)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "body: nested deeper than %d levels",
                        FLX_JSON_DEPTH_MAX);
    }
    json_error_t cause;
    json_t *json = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &cause);
    if (json == NULL) {
        if (json_error_code(&cause) == json_error_out_of_memory) {
            return flx_fail(reterr, FLX_ERR_NOMEM, "body: out of memory");
        }
        /* Not cause.text: it quotes the body, which may hold a secret. */
        return flx_fail(reterr, FLX_ERR_INVALID, "body: not JSON, or a member twice, at line %d",
                        cause.line);
    }
    *ret_json = json;
    return FLX_OK;
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

flx_status flx_json_need_object(const json_t *json, const char *what, flx_error *reterr)
{
    return json_is_object(json)
               ? FLX_OK
               : flx_fail(reterr, FLX_ERR_INVALID, "%s: must be a JSON object", what);
}

/* FLX_OK with *ret_value NULL when an optional member is absent. */
static flx_status member_of(const json_t *object, const char *member, flx_json_need need,
                            const json_t **ret_value, flx_error *reterr)
{
    const json_t *value = json_object_get(object, member);
    if (value == NULL || json_is_null(value)) {
        *ret_value = NULL;
        return need == FLX_JSON_OPTIONAL
                   ? FLX_OK
                   : flx_fail(reterr, FLX_ERR_INVALID, "%s: is missing", member);
    }
    *ret_value = value;
    return FLX_OK;
}

flx_status flx_json_get_text(const json_t *object, const char *member, flx_json_need need,
                             size_t bytes_max, const char **ret, flx_error *reterr)
{
    const json_t *value;
    const flx_status status = member_of(object, member, need, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    if (!json_is_string(value)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be a string", member);
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
    const json_t *value;
    const flx_status status = member_of(object, member, need, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    if (!json_is_integer(value)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be an integer", member);
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
    const json_t *value;
    const flx_status status = member_of(object, member, need, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    if (!json_is_boolean(value)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be true or false", member);
    }
    *ret = json_is_true(value);
    return FLX_OK;
}

flx_status flx_json_get_object(const json_t *object, const char *member, flx_json_need need,
                               const json_t **ret, flx_error *reterr)
{
    const json_t *value;
    const flx_status status = member_of(object, member, need, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    if (!json_is_object(value)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be an object", member);
    }
    *ret = value;
    return FLX_OK;
}

flx_status flx_json_get_array(const json_t *object, const char *member, flx_json_need need,
                              size_t count_max, const json_t **ret, flx_error *reterr)
{
    const json_t *value;
    const flx_status status = member_of(object, member, need, &value, reterr);
    if (status != FLX_OK || value == NULL) {
        return status;
    }
    if (!json_is_array(value)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: must be an array", member);
    }
    if (json_array_size(value) > count_max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: more than %zu items", member, count_max);
    }
    *ret = value;
    return FLX_OK;
}
