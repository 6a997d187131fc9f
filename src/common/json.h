/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/json.h - JSON documents of strangers, read strictly; a tree over jansson.
 *
 * For REST bodies, JOSE headers, claims and key sets. Messages of the wire have a pull parser of
 * their own (wire/json.h). A text is refused when it is larger or deeper than its limits, names a
 * member twice, is followed by anything, or is not an object or array. Getters look at one member
 * each; a wrong type or range is FLX_ERR_INVALID with a message that begins with the member's name:
 * "shards: must be 1..1024". A member that is null counts as absent. Unknown members are passed
 * over, for callers newer than us.
 *
 * Threads: any; a json_t belongs to one thread at a time.
 */
#ifndef FLX_COMMON_JSON_H
#define FLX_COMMON_JSON_H

#include <felix/slice.h>
#include <felix/status.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum flx_json_need { FLX_JSON_OPTIONAL = 0, FLX_JSON_REQUIRED = 1 } flx_json_need;

/*
 * Reads one object or array. `what` names the text in messages, which never quote it. The caller
 * owns *ret_json (json_decref).
 *
 * FLX_ERR_TOO_LARGE  more than `bytes_max` bytes
 * FLX_ERR_INVALID    not JSON, a member twice, nested deeper than `depth_max`
 * FLX_ERR_NOMEM
 */
flx_status flx_json_parse(flx_slice text, size_t bytes_max, unsigned depth_max, const char *what,
                          json_t **ret_json, flx_error *reterr);

/* The same, for what must be an object: an array is FLX_ERR_INVALID. */
flx_status flx_json_parse_object(flx_slice text, size_t bytes_max, unsigned depth_max,
                                 const char *what, json_t **ret_object, flx_error *reterr);

/* Any value from a text that this program wrote: no limits. FLX_ERR_INVALID, FLX_ERR_NOMEM. */
flx_status flx_json_parse_own(flx_slice text, const char *what, json_t **ret_json,
                              flx_error *reterr);

/* A terminated text of one line, for flx_free; it holds no zero byte. FLX_ERR_NOMEM. */
flx_status flx_json_write(const json_t *json, char **ret_text, flx_error *reterr);

/*
 * Getters: FLX_ERR_INVALID is their only failure. When an optional member is absent, *ret stays as it was, so callers put the default
 * there first. A text is borrowed from `object`, holds no zero and has at most `bytes_max` bytes.
 */
flx_status flx_json_get_text(const json_t *object, const char *member, flx_json_need need,
                             size_t bytes_max, const char **ret, flx_error *reterr);
flx_status flx_json_get_u64(const json_t *object, const char *member, flx_json_need need,
                            uint64_t min, uint64_t max, uint64_t *ret, flx_error *reterr);
flx_status flx_json_get_bool(const json_t *object, const char *member, flx_json_need need,
                             bool *ret, flx_error *reterr);
flx_status flx_json_get_object(const json_t *object, const char *member, flx_json_need need,
                               const json_t **ret, flx_error *reterr);
flx_status flx_json_get_array(const json_t *object, const char *member, flx_json_need need,
                              size_t count_max, const json_t **ret, flx_error *reterr);

/* The text of a member; false when it is absent or no text. Valid as long as the object. */
bool flx_json_find_text(const json_t *object, const char *member, flx_slice *ret_text);

/* FLX_ERR_INVALID unless `json` is an object; `what` names it in the message. */
flx_status flx_json_need_object(const json_t *json, const char *what, flx_error *reterr);

#endif /* FLX_COMMON_JSON_H */
