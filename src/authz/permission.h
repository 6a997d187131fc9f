/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/permission.h - permission strings, "action:kind:segments", and the one matcher for them.
 *
 * Two readers share one grammar (docs/spec/auth.md 3). Writing (policies, minting) is strict:
 * what could never match, or could be read in two ways, is refused with the reason. Reading a token
 * is lenient in one place: "stream:t/" and one "*" stands for all the rest of t.
 * Pure, any thread.
 */
#ifndef FLX_AUTHZ_PERMISSION_H
#define FLX_AUTHZ_PERMISSION_H

#include "authz/token.h"

#define FLX_PERMISSION_BYTES_MAX 1024U
#define FLX_TOKEN_PERMS_MAX      1024U /* permissions of one token */
#define FLX_OBJECT_SEGMENTS_MAX  4U

/* What is granted: segments are names, or "*" from some position on. Borrows the text. */
typedef struct flx_pattern {
    flx_object_kind kind;
    uint8_t segment_count;
    flx_slice segments[FLX_OBJECT_SEGMENTS_MAX];
} flx_pattern;

typedef struct flx_permission {
    flx_action action;
    flx_pattern object;
} flx_permission;

/*
 * Reads what somebody wants to grant.
 *
 * FLX_ERR_NOT_FOUND  no such action; the message names the nearest
 * FLX_ERR_INVALID    the object is none that can be granted, or not one of this action
 * FLX_ERR_TOO_LARGE  longer than FLX_PERMISSION_BYTES_MAX
 */
flx_status flx_permission_parse(flx_slice text, flx_permission *ret_permission, flx_error *reterr);

/*
 * Reads a permission of a verified token. FLX_ERR_NOT_FOUND: the action is unknown (the token is
 * refused). FLX_ERR_INVALID: the object can match nothing (the permission is passed over).
 */
flx_status flx_permission_parse_token(flx_slice text, flx_permission *ret_permission,
                                      flx_error *reterr);

/* Reads an object alone ("stream:t/ns/name"), strictly. */
flx_status flx_pattern_parse(flx_slice text, flx_pattern *ret_pattern, flx_error *reterr);

/*
 * Whether the pattern covers the object: a "*" stands for one whole segment, at the end for all the
 * rest. An object segment that is "*" ("every stream of ns") is covered by "*" only.
 */
bool flx_pattern_matches(const flx_pattern *pattern, const flx_object *object);

/* Whether everything `inner` covers is covered by `outer`; for narrowing (docs/spec/auth.md 5). */
bool flx_pattern_covers(const flx_pattern *outer, const flx_pattern *inner);

/* "stream:t/ns/name" into `text`, cut at `cap`; returns the length it has or would have. */
size_t flx_object_format(const flx_object *object, char *text, size_t cap);

#endif /* FLX_AUTHZ_PERMISSION_H */
