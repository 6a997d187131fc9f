/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/permission.c - the grammar of permissions and the one matcher.
 *
 *     stream.publish : stream : t / payments / *
 *     '--action----'   'kind'   '-- segments --'
 *
 * A pattern is a run of names, then a run of "*". So a pattern is matched by comparing its names
 * and asking how many segments its stars may stand for; there is nothing to backtrack over. Forms
 * that the three readers of permissions (policy store, other brokers, ours) would read
 * differently - a star between names, inside a name, or for the tenant - match nothing here.
 */
#include "authz/permission.h"

#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES_MAX 128U /* of a segment that is written; tenants of tokens may be longer */

static const char *const action_names[] = {
    [FLX_ACTION_RBAC_VIEW] = "rbac.view",
    [FLX_ACTION_RBAC_POLICY_MANAGE] = "rbac.policy.manage",
    [FLX_ACTION_RBAC_ASSIGNMENT_MANAGE] = "rbac.assignment.manage",
    [FLX_ACTION_TENANT_MANAGE] = "tenant.manage",
    [FLX_ACTION_NS_MANAGE] = "ns.manage",
    [FLX_ACTION_STREAM_MANAGE] = "stream.manage",
    [FLX_ACTION_CACHE_MANAGE] = "cache.manage",
    [FLX_ACTION_STREAM_PUBLISH] = "stream.publish",
    [FLX_ACTION_STREAM_SUBSCRIBE] = "stream.subscribe",
    [FLX_ACTION_CACHE_READ] = "cache.read",
    [FLX_ACTION_CACHE_WRITE] = "cache.write",
    [FLX_ACTION_GROUP_CONSUME] = "group.consume",
    [FLX_ACTION_GROUP_MANAGE] = "group.manage",
    [FLX_ACTION_NODE_VIEW] = "node.view",
    [FLX_ACTION_NODE_MANAGE] = "node.manage",
    [FLX_ACTION_TOKEN_DELEGATE] = "token.delegate",
};

static_assert(sizeof action_names / sizeof action_names[0] == FLX_ACTION_COUNT,
              "a name for every action");

typedef struct kind_row {
    const char *name;
    uint8_t segment_count; /* of an object of this kind */
    uint8_t stars_max;     /* how many of them, the last ones, may be "*" in what is written */
} kind_row;

static const kind_row kinds[] = {
    [FLX_OBJECT_TENANT] = {"tenant", 1, 0}, [FLX_OBJECT_NAMESPACE] = {"namespace", 2, 1},
    [FLX_OBJECT_STREAM] = {"stream", 3, 2}, [FLX_OBJECT_CACHE] = {"cache", 3, 2},
    [FLX_OBJECT_GROUP] = {"group", 4, 2},   [FLX_OBJECT_CLUSTER] = {"cluster", 1, 1},
    [FLX_OBJECT_NODE] = {"node", 1, 0},
};

#define KIND_COUNT        (sizeof kinds / sizeof kinds[0])
#define KIND_BIT(kind)    (1U << (unsigned)FLX_OBJECT_##kind)
#define KINDS_EVERY       ((1U << KIND_COUNT) - 1)
#define KINDS_STREAM_SIDE (KIND_BIT(STREAM) | KIND_BIT(GROUP))

/* On what an action can be granted; anything else would sit in a policy and never match. */
static const uint32_t kinds_of_action[FLX_ACTION_COUNT] = {
    [FLX_ACTION_RBAC_VIEW] = KIND_BIT(TENANT),
    [FLX_ACTION_RBAC_POLICY_MANAGE] = KIND_BIT(TENANT),
    [FLX_ACTION_RBAC_ASSIGNMENT_MANAGE] = KIND_BIT(TENANT),
    [FLX_ACTION_TENANT_MANAGE] = KIND_BIT(TENANT) | KIND_BIT(CLUSTER),
    [FLX_ACTION_NS_MANAGE] = KIND_BIT(NAMESPACE),
    [FLX_ACTION_STREAM_MANAGE] = KINDS_STREAM_SIDE, /* a group through the implications */
    [FLX_ACTION_CACHE_MANAGE] = KIND_BIT(CACHE),
    [FLX_ACTION_STREAM_PUBLISH] = KIND_BIT(STREAM),
    [FLX_ACTION_STREAM_SUBSCRIBE] = KINDS_STREAM_SIDE,
    [FLX_ACTION_CACHE_READ] = KIND_BIT(CACHE),
    [FLX_ACTION_CACHE_WRITE] = KIND_BIT(CACHE),
    [FLX_ACTION_GROUP_CONSUME] = KINDS_STREAM_SIDE,
    [FLX_ACTION_GROUP_MANAGE] = KINDS_STREAM_SIDE,
    [FLX_ACTION_NODE_VIEW] = KIND_BIT(NODE) | KIND_BIT(CLUSTER),
    [FLX_ACTION_NODE_MANAGE] = KIND_BIT(NODE) | KIND_BIT(CLUSTER),
    [FLX_ACTION_TOKEN_DELEGATE] = KINDS_EVERY,
};

static bool is_star(flx_slice segment)
{
    return segment.len == 1 && segment.ptr[0] == '*';
}

const char *flx_action_name(flx_action action)
{
    const unsigned index = (unsigned)action;
    return index < FLX_ACTION_COUNT ? action_names[index] : NULL;
}

bool flx_action_from_name(flx_slice name, flx_action *ret_action)
{
    for (unsigned i = 0; i < FLX_ACTION_COUNT; i++) {
        if (flx_slice_is(name, action_names[i])) {
            *ret_action = (flx_action)i;
            return true;
        }
    }
    return false;
}

/* How many single-character edits lie between the two, for "did you mean". `word` is short. */
static size_t edit_distance(flx_slice word, const char *name)
{
    enum { LEN_MAX = 32 };
    size_t row[LEN_MAX + 1];
    const size_t name_len = strlen(name);
    FLX_ASSERT(word.len <= LEN_MAX);
    for (size_t i = 0; i <= word.len; i++) {
        row[i] = i;
    }
    for (size_t j = 1; j <= name_len; j++) {
        size_t diagonal = row[0];
        row[0] = j;
        for (size_t i = 1; i <= word.len; i++) {
            const size_t change = diagonal + (word.ptr[i - 1] == (uint8_t)name[j - 1] ? 0 : 1);
            const size_t insert = row[i] + 1;
            const size_t remove = row[i - 1] + 1;
            diagonal = row[i];
            row[i] = change < insert ? change : insert;
            row[i] = row[i] < remove ? row[i] : remove;
        }
    }
    return row[word.len];
}

/* The action most like the word; NULL when none is near. */
static const char *nearest_action(flx_slice word)
{
    const char *nearest = NULL;
    size_t best = 6;
    for (unsigned i = 0; word.len <= 32 && i < FLX_ACTION_COUNT; i++) {
        const size_t distance = edit_distance(word, action_names[i]);
        if (distance < best) {
            best = distance;
            nearest = action_names[i];
        }
    }
    return nearest;
}

static flx_status fail_action(flx_slice word, flx_error *reterr)
{
    const char *nearest = nearest_action(word);
    if (nearest == NULL) {
        return flx_fail(reterr, FLX_ERR_NOT_FOUND, "no such action");
    }
    return flx_fail(reterr, FLX_ERR_NOT_FOUND, "no such action, did you mean '%s'?", nearest);
}

/* Cuts at the first `mark`; false when there is none. */
static bool cut(flx_slice text, char mark, flx_slice *ret_head, flx_slice *ret_tail)
{
    const uint8_t *at = text.len == 0 ? NULL : memchr(text.ptr, mark, text.len);
    if (at == NULL) {
        return false;
    }
    *ret_head = (flx_slice){text.ptr, (size_t)(at - text.ptr)};
    *ret_tail = (flx_slice){at + 1, text.len - ret_head->len - 1};
    return true;
}

static bool kind_from_name(flx_slice name, flx_object_kind *ret_kind)
{
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        if (flx_slice_is(name, kinds[i].name)) {
            *ret_kind = (flx_object_kind)i;
            return true;
        }
    }
    return false;
}

/* Splits "kind:a/b/c" without judging it. False: too many segments, or an empty one. */
static bool split_segments(flx_slice text, flx_pattern *pattern)
{
    flx_slice head = {0};
    flx_slice tail = text;
    bool more = true;
    pattern->segment_count = 0;
    while (more) {
        more = cut(tail, '/', &head, &tail);
        const flx_slice segment = more ? head : tail;
        if (segment.len == 0 || pattern->segment_count == FLX_OBJECT_SEGMENTS_MAX) {
            return false;
        }
        pattern->segments[pattern->segment_count++] = segment;
    }
    return true;
}

static unsigned count_stars(const flx_pattern *pattern)
{
    unsigned stars = 0;
    for (unsigned i = 0; i < pattern->segment_count; i++) {
        stars += is_star(pattern->segments[i]) ? 1U : 0U;
    }
    return stars;
}

/* Names first, then stars, and no star inside a name. */
static bool is_well_formed(const flx_pattern *pattern)
{
    bool seen_star = false;
    for (unsigned i = 0; i < pattern->segment_count; i++) {
        const flx_slice segment = pattern->segments[i];
        const bool star = is_star(segment);
        if ((seen_star && !star) || (!star && memchr(segment.ptr, '*', segment.len) != NULL)) {
            return false;
        }
        seen_star = seen_star || star;
    }
    return true;
}

/* What every reader understands alike: the right to match something at all. */
static bool can_match(const flx_pattern *pattern)
{
    const kind_row *row = &kinds[pattern->kind];
    const bool first_star = is_star(pattern->segments[0]);
    if (!is_well_formed(pattern) || pattern->segment_count > row->segment_count) {
        return false;
    }
    if (pattern->kind == FLX_OBJECT_CLUSTER) {
        return first_star; /* cluster:* is a name, spelled exactly */
    }
    const bool last_star = is_star(pattern->segments[pattern->segment_count - 1]);
    return !first_star && (pattern->segment_count == row->segment_count || last_star);
}

/* A name that can be created (docs/spec/auth.md 3). */
static bool is_plain_name(flx_slice segment)
{
    if (segment.len > NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < segment.len; i++) {
        const uint8_t c = segment.ptr[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

static bool has_plain_names(const flx_pattern *pattern)
{
    for (unsigned i = 0; i < pattern->segment_count; i++) {
        if (!is_star(pattern->segments[i]) && !is_plain_name(pattern->segments[i])) {
            return false;
        }
    }
    return true;
}

/* Why a written object is refused; the table of docs/spec/auth.md 3 in code. */
static flx_status check_written(const flx_pattern *pattern, flx_error *reterr)
{
    const kind_row *row = &kinds[pattern->kind];
    if (pattern->kind == FLX_OBJECT_CLUSTER) {
        return can_match(pattern) ? FLX_OK
                                  : flx_fail(reterr, FLX_ERR_INVALID, "the cluster is 'cluster:*'");
    }
    if (is_star(pattern->segments[0])) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: the %s must be named, not '*'", row->name,
                        pattern->kind == FLX_OBJECT_NODE ? "node" : "tenant");
    }
    if (!is_well_formed(pattern)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "%s: '*' stands for whole segments, and only for the last ones", row->name);
    }
    if (pattern->segment_count != row->segment_count) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: %u segments, expected %u", row->name,
                        pattern->segment_count, row->segment_count);
    }
    if (count_stars(pattern) > row->stars_max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: at most %u segments may be '*'", row->name,
                        row->stars_max);
    }
    if (!has_plain_names(pattern)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: a name is 1 to %u of A-Z a-z 0-9 . _ -",
                        row->name, NAME_BYTES_MAX);
    }
    return FLX_OK;
}

/* "kind:segments" into a pattern nobody has judged yet. */
static flx_status parse_object(flx_slice text, flx_pattern *ret_pattern, flx_error *reterr)
{
    flx_slice kind = {0};
    flx_slice segments = {0};
    if (text.len > FLX_PERMISSION_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "more than %u bytes", FLX_PERMISSION_BYTES_MAX);
    }
    if (!cut(text, ':', &kind, &segments)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "the object is not 'kind:name'");
    }
    flx_pattern pattern = {0};
    if (!kind_from_name(kind, &pattern.kind)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "the object's kind is none of tenant, namespace, stream, cache, group, "
                        "cluster, node");
    }
    if (!split_segments(segments, &pattern)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s: an empty segment, or too many",
                        kinds[pattern.kind].name);
    }
    *ret_pattern = pattern;
    return FLX_OK;
}

flx_status flx_pattern_parse(flx_slice text, flx_pattern *ret_pattern, flx_error *reterr)
{
    flx_pattern pattern = {0};
    flx_status status = parse_object(text, &pattern, reterr);
    if (status == FLX_OK) {
        status = check_written(&pattern, reterr);
    }
    if (status == FLX_OK) {
        *ret_pattern = pattern;
    }
    return status;
}

flx_status flx_permission_parse(flx_slice text, flx_permission *ret_permission, flx_error *reterr)
{
    flx_slice name = {0};
    flx_slice object = {0};
    flx_permission permission = {0};
    if (text.len > FLX_PERMISSION_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "more than %u bytes", FLX_PERMISSION_BYTES_MAX);
    }
    if (!cut(text, ':', &name, &object)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "a permission is 'action:object'");
    }
    if (!flx_action_from_name(name, &permission.action)) {
        return fail_action(name, reterr);
    }
    const flx_status status = flx_pattern_parse(object, &permission.object, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if ((kinds_of_action[permission.action] & (1U << (unsigned)permission.object.kind)) == 0) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s cannot be granted on a %s",
                        action_names[permission.action], kinds[permission.object.kind].name);
    }
    *ret_permission = permission;
    return FLX_OK;
}

flx_status flx_permission_parse_token(flx_slice text, flx_permission *ret_permission,
                                      flx_error *reterr)
{
    flx_slice name = {0};
    flx_slice object = {0};
    flx_permission permission = {0};
    if (!cut(text, ':', &name, &object) || !flx_action_from_name(name, &permission.action)) {
        return flx_fail(reterr, FLX_ERR_NOT_FOUND, "no such action");
    }
    if (parse_object(object, &permission.object, NULL) != FLX_OK ||
        !can_match(&permission.object)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "an object that can match nothing");
    }
    *ret_permission = permission;
    return FLX_OK;
}

/* The segments of an object; how many its kind has. */
static unsigned object_segments(const flx_object *object,
                                flx_slice segments[FLX_OBJECT_SEGMENTS_MAX])
{
    static const uint8_t star[] = {'*'};
    switch (object->kind) {
    case FLX_OBJECT_TENANT:
        segments[0] = object->tenant;
        return 1;
    case FLX_OBJECT_NAMESPACE:
        segments[0] = object->tenant;
        segments[1] = object->namespace_;
        return 2;
    case FLX_OBJECT_STREAM:
    case FLX_OBJECT_CACHE:
    case FLX_OBJECT_GROUP:
        segments[0] = object->tenant;
        segments[1] = object->namespace_;
        segments[2] = object->name;
        segments[3] = object->group;
        return object->kind == FLX_OBJECT_GROUP ? 4 : 3;
    case FLX_OBJECT_CLUSTER:
        segments[0] = (flx_slice){star, sizeof star};
        return 1;
    case FLX_OBJECT_NODE:
        segments[0] = object->name;
        return 1;
    }
    FLX_UNREACHABLE();
}

bool flx_pattern_matches(const flx_pattern *pattern, const flx_object *object)
{
    if (pattern->kind != object->kind) {
        return false;
    }
    FLX_DEBUG_ASSERT(can_match(pattern)); /* so what it does not spell out lies under a star */
    flx_slice segments[FLX_OBJECT_SEGMENTS_MAX];
    const unsigned count = object_segments(object, segments);
    for (unsigned i = 0; i < count; i++) {
        if (segments[i].len == 0) {
            return false; /* no object has an empty name */
        }
        if (i >= pattern->segment_count) {
            continue;
        }
        if (!is_star(pattern->segments[i]) && !flx_slice_equal(pattern->segments[i], segments[i])) {
            return false;
        }
    }
    return true;
}

bool flx_pattern_covers(const flx_pattern *outer, const flx_pattern *inner)
{
    if (outer->kind != inner->kind) {
        return false;
    }
    for (unsigned i = 0; i < outer->segment_count; i++) {
        if (is_star(outer->segments[i])) {
            continue;
        }
        if (i >= inner->segment_count || !flx_slice_equal(outer->segments[i], inner->segments[i])) {
            return false;
        }
    }
    return true;
}

size_t flx_object_format(const flx_object *object, char *text, size_t cap)
{
    flx_slice segments[FLX_OBJECT_SEGMENTS_MAX];
    const unsigned count = object_segments(object, segments);
    int len = snprintf(text, cap, "%s:", kinds[object->kind].name);
    for (unsigned i = 0; i < count; i++) {
        const size_t at = (size_t)len < cap ? (size_t)len : cap;
        const int segment_len = segments[i].len > 4096 ? 4096 : (int)segments[i].len;
        len += snprintf(text + at, cap - at, "%s%.*s", i == 0 ? "" : "/", segment_len,
                        segment_len == 0 ? "" : (const char *)segments[i].ptr);
    }
    return (size_t)len;
}
