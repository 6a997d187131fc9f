/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/json.h - JSON from strangers, read strictly; over jansson.
 *
 * A text is refused when it is larger or deeper than its limits, names a member twice, is followed
 * by anything, or is not an object or array. Getters look at one member each; a wrong type or range
 * is FLX_ERR_INVALID with a message that begins with the member's name: "shards: must be 1..1024".
 * A member that is null counts as absent. Unknown members are passed over, for callers newer than us.
 *
 * Threads: any; a json_t belongs to one thread at a time.
 */
#ifndef FLX_HTTP_JSON_H
#define FLX_HTTP_JSON_H

#include <felix/slice.h>
#include <felix/status.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_JSON_DEPTH_MAX 16

typedef enum flx_json_need { FLX_JSON_OPTIONAL = 0, FLX_JSON_REQUIRED = 1 } flx_json_need;

/* The caller owns *ret_json (json_decref). FLX_ERR_INVALID, FLX_ERR_TOO_LARGE. */
flx_status flx_json_parse(flx_slice text, size_t bytes_max, json_t **ret_json, flx_error *reterr);

/* A terminated text of one line, for flx_free; FLX_ERR_NOMEM. */
flx_status flx_json_write(const json_t *json, char **ret_text, flx_error *reterr);

/*
 * Getters. When an optional member is absent, *ret stays as it was, so callers put the default
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
/* FLX_ERR_INVALID unless `json` is an object; `what` names it in the message. */
flx_status flx_json_need_object(const json_t *json, const char *what, flx_error *reterr);

#endif /* FLX_HTTP_JSON_H */
