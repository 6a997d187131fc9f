/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/grants.c - what the holder of a verified token may do.
 *
 *     +-------+---------+---------------+-----------------------+
 *     | head  | texts[] | permissions[] | bytes of all strings  |   one allocation
 *     +-------+---------+---------------+-----------------------+
 *                         sorted by action, first[a] .. first[a + 1] is action a
 *
 * A question looks at the grants of its action (and of the action that implies it) and at no other.
 * With few of them that is faster than any table; with many, decisions are remembered under the
 * whole question, so that a hash that collides costs time and never a wrong answer. The table is
 * allocated by the first question that wants it, and without memory there is none.
 */
#include "authz/grants_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define REMEMBER_ABOVE   8U  /* grants; up to here looking is cheaper than hashing */
#define REMEMBERED_COUNT 64U /* decisions, a power of two */
#define QUESTION_BYTES   112U

typedef struct decision {
    uint64_t hash;
    uint8_t len; /* 0: empty */
    bool allowed;
    uint8_t question[QUESTION_BYTES];
} decision;

typedef struct held_permission {
    flx_permission permission;
    uint32_t text_index;
} held_permission;

struct flx_grants {
    uint32_t refs; /* one thread's */
    flx_slice tenant;
    flx_slice subject;
    flx_slice actor;
    flx_slice may_act;
    uint64_t expires_s;
    uint64_t not_before_s;
    decision *decisions; /* REMEMBERED_COUNT of them; NULL until wanted */
    size_t text_count;
    flx_slice *texts;
    held_permission *permissions;
    uint32_t first[FLX_ACTION_COUNT + 1];
};

/* What a decision rests on, for the explanation. */
typedef enum verdict {
    VERDICT_ALLOWED,
    VERDICT_OTHER_TENANT,
    VERDICT_NO_ACTION,   /* nothing held for the action */
    VERDICT_NO_OBJECT,   /* held, but not for this object */
    VERDICT_GROUP_SCOPED /* a stream grant would do, but group grants narrow it to other groups */
} verdict;

/* --- building ----------------------------------------------------------------------------------*/

static size_t text_bytes(const flx_claims *claims)
{
    size_t bytes =
        claims->tenant.len + claims->subject.len + claims->actor.len + claims->may_act.len;
    for (size_t i = 0; i < json_array_size(claims->perms); i++) {
        bytes += json_string_length(json_array_get(claims->perms, i));
    }
    return bytes;
}

static flx_slice put_text(uint8_t **at, flx_slice text)
{
    if (text.ptr == NULL) {
        return (flx_slice){0};
    }
    memcpy(*at, text.ptr, text.len);
    const flx_slice copy = {*at, text.len};
    *at += text.len;
    return copy;
}

/* One block for all; the parts stand in falling order of alignment. */
static flx_grants *grants_alloc(const flx_claims *claims, size_t count, uint8_t **ret_bytes)
{
    const size_t permissions_at = sizeof(flx_grants);
    const size_t texts_at = permissions_at + count * sizeof(held_permission);
    const size_t bytes_at = texts_at + count * sizeof(flx_slice);
    uint8_t *block = flx_calloc(1, bytes_at + text_bytes(claims));
    if (block == NULL) {
        return NULL;
    }
    flx_grants *grants = (void *)block;
    grants->permissions = (void *)(block + permissions_at);
    grants->texts = (void *)(block + texts_at);
    *ret_bytes = block + bytes_at;
    return grants;
}

static_assert(sizeof(flx_grants) % _Alignof(held_permission) == 0, "the parts stay aligned");
static_assert(sizeof(held_permission) % _Alignof(flx_slice) == 0, "the parts stay aligned");

static void copy_claims(flx_grants *grants, const flx_claims *claims, uint8_t *at)
{
    grants->refs = 1;
    grants->expires_s = claims->expires_s;
    grants->not_before_s = claims->not_before_s;
    grants->tenant = put_text(&at, claims->tenant);
    grants->subject = put_text(&at, claims->subject);
    grants->actor = put_text(&at, claims->actor);
    grants->may_act = put_text(&at, claims->may_act);
    for (size_t i = 0; i < json_array_size(claims->perms); i++) {
        const json_t *item = json_array_get(claims->perms, i);
        const flx_slice text = {(const uint8_t *)json_string_value(item), json_string_length(item)};
        grants->texts[grants->text_count++] = put_text(&at, text);
    }
}

/*
 * Parses every string once to count and once to place, so that the array is sorted by action
 * without a second one. False: an unknown action.
 */
static bool index_permissions(flx_grants *grants)
{
    uint32_t next[FLX_ACTION_COUNT + 1] = {0};
    flx_permission permission;
    for (size_t i = 0; i < grants->text_count; i++) {
        const flx_status status = flx_permission_parse_token(grants->texts[i], &permission, NULL);
        if (status == FLX_ERR_NOT_FOUND) {
            return false;
        }
        if (status == FLX_OK) {
            next[permission.action + 1]++;
        }
    }
    for (unsigned action = 0; action < FLX_ACTION_COUNT; action++) {
        next[action + 1] += next[action];
    }
    memcpy(grants->first, next, sizeof next);
    for (size_t i = 0; i < grants->text_count; i++) {
        if (flx_permission_parse_token(grants->texts[i], &permission, NULL) == FLX_OK) {
            grants->permissions[next[permission.action]++] =
                (held_permission){permission, (uint32_t)i};
        }
    }
    return true;
}

flx_status flx_grants_new(const flx_claims *claims, flx_grants **ret_grants, flx_error *reterr)
{
    uint8_t *bytes = NULL;
    flx_grants *grants = grants_alloc(claims, json_array_size(claims->perms), &bytes);
    if (grants == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for grants");
    }
    copy_claims(grants, claims, bytes);
    if (!index_permissions(grants)) {
        (void)flx_grants_unref(grants);
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token: perms holds an unknown action");
    }
    *ret_grants = grants;
    return FLX_OK;
}

flx_grants *flx_grants_ref(flx_grants *grants)
{
    FLX_ASSERT(grants->refs > 0 && grants->refs < UINT32_MAX);
    grants->refs++;
    return grants;
}

flx_grants *flx_grants_unref(flx_grants *grants)
{
    if (grants != NULL) {
        FLX_ASSERT(grants->refs > 0);
        if (--grants->refs == 0) {
            flx_free(grants->decisions);
            flx_free(grants);
        }
    }
    return NULL;
}

/* --- asking ------------------------------------------------------------------------------------*/

flx_status flx_grants_check_time(const flx_grants *grants, uint64_t wall_s, uint32_t leeway_s,
                                 flx_error *reterr)
{
    if (wall_s >= grants->expires_s + leeway_s) {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token: expired %llu s ago",
                        (unsigned long long)(wall_s - grants->expires_s));
    }
    if (grants->not_before_s > wall_s + leeway_s) {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token: not valid for another %llu s",
                        (unsigned long long)(grants->not_before_s - wall_s));
    }
    return FLX_OK;
}

flx_slice flx_grants_tenant(const flx_grants *grants)
{
    return grants->tenant;
}

flx_slice flx_grants_subject(const flx_grants *grants)
{
    return grants->subject;
}

uint64_t flx_grants_expires_s(const flx_grants *grants)
{
    return grants->expires_s;
}

flx_slice flx_grants_actor(const flx_grants *grants)
{
    return grants->actor;
}

flx_slice flx_grants_may_act(const flx_grants *grants)
{
    return grants->may_act;
}

size_t flx_grants_count(const flx_grants *grants)
{
    return grants->text_count;
}

flx_slice flx_grants_permission(const flx_grants *grants, size_t index)
{
    FLX_ASSERT(index < grants->text_count);
    return grants->texts[index];
}

/* --- deciding ----------------------------------------------------------------------------------*/

static bool is_cluster_wide(flx_object_kind kind)
{
    return kind == FLX_OBJECT_CLUSTER || kind == FLX_OBJECT_NODE;
}

/* The action whose holder may do `action` too; `action` itself when there is none. */
static flx_action implying_action(flx_action action)
{
    if (action == FLX_ACTION_GROUP_CONSUME) {
        return FLX_ACTION_STREAM_SUBSCRIBE;
    }
    return action == FLX_ACTION_GROUP_MANAGE ? FLX_ACTION_STREAM_MANAGE : action;
}

/* A permission for exactly this action that covers the object; NULL when there is none. */
static const held_permission *find_for(const flx_grants *grants, flx_action action,
                                       const flx_object *object)
{
    for (uint32_t i = grants->first[action]; i < grants->first[action + 1]; i++) {
        if (flx_pattern_matches(&grants->permissions[i].permission.object, object)) {
            return &grants->permissions[i];
        }
    }
    return NULL;
}

static const held_permission *find(const flx_grants *grants, flx_action action,
                                   const flx_object *object)
{
    const held_permission *held = find_for(grants, action, object);
    const flx_action implying = implying_action(action);
    return held != NULL || implying == action ? held : find_for(grants, implying, object);
}

static bool holds_any(const flx_grants *grants, flx_action action)
{
    const flx_action implying = implying_action(action);
    return grants->first[action] < grants->first[action + 1] ||
           grants->first[implying] < grants->first[implying + 1];
}

/* Whether a group permission for this action names a group of this stream, whichever it is. */
static bool is_scoped_for(const flx_grants *grants, flx_action action, const flx_object *group)
{
    for (uint32_t i = grants->first[action]; i < grants->first[action + 1]; i++) {
        const flx_pattern *pattern = &grants->permissions[i].permission.object;
        if (pattern->kind != FLX_OBJECT_GROUP) {
            continue;
        }
        flx_object any = *group;
        if (pattern->segment_count == FLX_OBJECT_SEGMENTS_MAX) {
            any.group = pattern->segments[FLX_OBJECT_SEGMENTS_MAX - 1];
        }
        if (flx_pattern_matches(pattern, &any)) {
            return true;
        }
    }
    return false;
}

static bool is_scoped(const flx_grants *grants, flx_action action, const flx_object *group)
{
    const flx_action implying = implying_action(action);
    return is_scoped_for(grants, action, group) ||
           (implying != action && is_scoped_for(grants, implying, group));
}

/* docs/spec/auth.md 4: a group is reached by a permission for it, or by one for its stream as long
 * as no permission for a group of that stream says that only certain groups are meant. */
static verdict decide_group(const flx_grants *grants, flx_action action, const flx_object *group,
                            const held_permission **ret_held)
{
    *ret_held = find(grants, action, group);
    if (*ret_held != NULL) {
        return VERDICT_ALLOWED;
    }
    flx_object stream = *group;
    stream.kind = FLX_OBJECT_STREAM;
    stream.group = (flx_slice){0};
    *ret_held = group->group.len == 0 ? NULL : find(grants, action, &stream);
    if (*ret_held == NULL) {
        return VERDICT_NO_OBJECT;
    }
    return is_scoped(grants, action, group) ? VERDICT_GROUP_SCOPED : VERDICT_ALLOWED;
}

static verdict decide(const flx_grants *grants, flx_action action, const flx_object *object,
                      const held_permission **ret_held)
{
    *ret_held = NULL;
    if (!is_cluster_wide(object->kind) && !flx_slice_equal(object->tenant, grants->tenant)) {
        return VERDICT_OTHER_TENANT;
    }
    if (!holds_any(grants, action)) {
        return VERDICT_NO_ACTION;
    }
    if (object->kind == FLX_OBJECT_GROUP) {
        return decide_group(grants, action, object, ret_held);
    }
    *ret_held = find(grants, action, object);
    return *ret_held != NULL ? VERDICT_ALLOWED : VERDICT_NO_OBJECT;
}

/* --- remembering -------------------------------------------------------------------------------*/

static bool put_part(uint8_t question[QUESTION_BYTES], size_t *len, flx_slice part)
{
    if (part.len > 255 || *len + 1 + part.len > QUESTION_BYTES) {
        return false;
    }
    question[(*len)++] = (uint8_t)part.len;
    if (part.len > 0) {
        memcpy(question + *len, part.ptr, part.len);
        *len += part.len;
    }
    return true;
}

/* The whole question as bytes; 0 when it is too long to be remembered. */
static size_t write_question(flx_action action, const flx_object *object,
                             uint8_t question[QUESTION_BYTES])
{
    size_t len = 0;
    question[len++] = (uint8_t)action;
    question[len++] = (uint8_t)object->kind;
    const bool complete =
        put_part(question, &len, object->tenant) && put_part(question, &len, object->namespace_) &&
        put_part(question, &len, object->name) && put_part(question, &len, object->group);
    return complete ? len : 0;
}

bool flx_grants_allow(flx_grants *grants, flx_action action, const flx_object *object)
{
    FLX_ASSERT((unsigned)action < FLX_ACTION_COUNT);
    const held_permission *held = NULL;
    uint8_t question[QUESTION_BYTES];
    const size_t len = grants->first[FLX_ACTION_COUNT] > REMEMBER_ABOVE
                           ? write_question(action, object, question)
                           : 0;
    if (len > 0 && grants->decisions == NULL) {
        grants->decisions = flx_calloc(REMEMBERED_COUNT, sizeof *grants->decisions);
    }
    if (len == 0 || grants->decisions == NULL) {
        return decide(grants, action, object, &held) == VERDICT_ALLOWED;
    }
    const uint64_t hash = XXH3_64bits(question, len);
    decision *slot = &grants->decisions[hash & (REMEMBERED_COUNT - 1)];
    if (slot->hash == hash && slot->len == len && memcmp(slot->question, question, len) == 0) {
        return slot->allowed;
    }
    slot->hash = hash;
    slot->len = (uint8_t)len;
    slot->allowed = decide(grants, action, object, &held) == VERDICT_ALLOWED;
    memcpy(slot->question, question, len);
    return slot->allowed;
}

/* --- explaining --------------------------------------------------------------------------------*/

bool flx_grants_explain(const flx_grants *grants, flx_action action, const flx_object *object,
                        char *text, size_t cap)
{
    FLX_ASSERT((unsigned)action < FLX_ACTION_COUNT && cap > 0);
    const held_permission *held = NULL;
    const verdict result = decide(grants, action, object, &held);
    char name[256];
    (void)flx_object_format(object, name, sizeof name);
    const char *verb = flx_action_name(action);
    flx_slice permission = {(const uint8_t *)"", 0};
    if (held != NULL) {
        permission = grants->texts[held->text_index];
    }
    const int permission_len = (int)permission.len;
    const char *permission_text = (const char *)permission.ptr;
    switch (result) {
    case VERDICT_ALLOWED:
        (void)snprintf(text, cap, "%s on %s: allowed by %.*s", verb, name, permission_len,
                       permission_text);
        return true;
    case VERDICT_OTHER_TENANT:
        (void)snprintf(text, cap, "%s on %s: denied, the token is for tenant %.*s", verb, name,
                       (int)grants->tenant.len, (const char *)grants->tenant.ptr);
        return false;
    case VERDICT_NO_ACTION:
        (void)snprintf(text, cap, "%s on %s: denied, the token grants %s on nothing", verb, name,
                       verb);
        return false;
    case VERDICT_NO_OBJECT:
        (void)snprintf(text, cap, "%s on %s: denied, the token grants %s on other objects only",
                       verb, name, verb);
        return false;
    case VERDICT_GROUP_SCOPED:
        (void)snprintf(
            text, cap,
            "%s on %s: denied, %.*s would do, but a group permission narrows it to other "
            "groups of this stream",
            verb, name, permission_len, permission_text);
        return false;
    }
    FLX_UNREACHABLE();
}
