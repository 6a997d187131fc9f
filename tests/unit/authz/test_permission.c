/* SPDX-License-Identifier: Apache-2.0 */
/* Permission strings and the one matcher: the tables of docs/spec/auth.md 3. */
#include "authz/permission.h"
#include "unit.h"

#include <stdio.h>

static void test_action_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FLX_ACTION_COUNT; i++) {
        const char *name = flx_action_name((flx_action)i);
        flx_action action = FLX_ACTION_COUNT;
        assert_non_null(name);
        assert_true(flx_action_from_name(slice_of(name), &action));
        assert_int_equal(action, i);
    }
    assert_null(flx_action_name(FLX_ACTION_COUNT));
    flx_action action;
    assert_false(flx_action_from_name(slice_of("stream"), &action));
    assert_false(flx_action_from_name(slice_of("stream.publish "), &action));
    assert_false(flx_action_from_name(slice_of("Stream.Publish"), &action));
    assert_false(flx_action_from_name(slice_of(""), &action));
}

static void test_written(void **state)
{
    (void)state;
    static const struct {
        const char *permission;
        flx_status expected;
        const char *says;
    } rows[] = {
        /* Every form there is. */
        {"tenant.manage:tenant:t1", FLX_OK, ""},
        {"tenant.manage:cluster:*", FLX_OK, ""},
        {"rbac.view:tenant:t1", FLX_OK, ""},
        {"rbac.policy.manage:tenant:t1", FLX_OK, ""},
        {"ns.manage:namespace:t1/a", FLX_OK, ""},
        {"ns.manage:namespace:t1/*", FLX_OK, ""},
        {"stream.publish:stream:t1/a/orders", FLX_OK, ""},
        {"stream.publish:stream:t1/a/*", FLX_OK, ""},
        {"stream.publish:stream:t1/*/*", FLX_OK, ""},
        {"cache.read:cache:t1/a/c", FLX_OK, ""},
        {"cache.write:cache:t1/*/*", FLX_OK, ""},
        {"group.consume:group:t1/a/s/g", FLX_OK, ""},
        {"group.consume:group:t1/a/s/*", FLX_OK, ""},
        {"group.manage:group:t1/a/*/*", FLX_OK, ""},
        {"group.consume:stream:t1/a/s", FLX_OK, ""},
        {"node.view:cluster:*", FLX_OK, ""},
        {"node.manage:node:broker-1", FLX_OK, ""},
        {"token.delegate:tenant:t1", FLX_OK, ""},
        /* What the reference's control plane refuses too. */
        {"tenant.manage:tenant:*", FLX_ERR_INVALID, "tenant must be named"},
        {"stream.publish:stream:*", FLX_ERR_INVALID, "tenant must be named"},
        {"stream.publish:stream:*/*", FLX_ERR_INVALID, "tenant must be named"},
        {"stream.publish:stream:t1/*/orders", FLX_ERR_INVALID, "only for the last ones"},
        {"node.view:cluster:nodes", FLX_ERR_INVALID, "'cluster:*'"},
        {"node.manage:node:*", FLX_ERR_INVALID, "node must be named"},
        {"group.consume:group:t1/*/s/g", FLX_ERR_INVALID, "only for the last ones"},
        {"group.consume:group:t1/a/*/g", FLX_ERR_INVALID, "only for the last ones"},
        /* What could be read in two ways, or never match. */
        {"stream.publish:stream:t1/a/ord*", FLX_ERR_INVALID, "whole segments"},
        {"stream.publish:stream:t1/a/**", FLX_ERR_INVALID, "whole segments"},
        {"stream.publish:stream:t1/*", FLX_ERR_INVALID, "2 segments, expected 3"},
        {"stream.publish:stream:t1/a", FLX_ERR_INVALID, "2 segments, expected 3"},
        {"stream.publish:stream:t1/a/b/c", FLX_ERR_INVALID, "4 segments, expected 3"},
        {"stream.publish:stream:t1/a/b/c/d", FLX_ERR_INVALID, "too many"},
        {"stream.publish:stream:t1//b", FLX_ERR_INVALID, "empty segment"},
        {"stream.publish:stream:", FLX_ERR_INVALID, "empty segment"},
        {"stream.publish:stream:t1/a/b/", FLX_ERR_INVALID, "empty segment"},
        {"group.consume:group:t1/*/*/*", FLX_ERR_INVALID, "at most 2 segments"},
        {"stream.publish:stream:t1/a/:id", FLX_ERR_INVALID, "A-Z a-z"},
        {"stream.publish:stream:t1/a/b c", FLX_ERR_INVALID, "A-Z a-z"},
        {"stream.publish:stream:t1/a/b\n", FLX_ERR_INVALID, "A-Z a-z"},
        {"stream.publish:topic:t1/a/b", FLX_ERR_INVALID, "kind is none of"},
        {"stream.publish:t1/a/b", FLX_ERR_INVALID, "not 'kind:name'"},
        {"stream.publish", FLX_ERR_INVALID, "'action:object'"},
        {"", FLX_ERR_INVALID, "'action:object'"},
        {"stream.publish:cache:t1/a/b", FLX_ERR_INVALID, "cannot be granted on a cache"},
        {"tenant.manage:stream:t1/a/b", FLX_ERR_INVALID, "cannot be granted on a stream"},
        /* Actions nobody knows. */
        {"stream.publsh:stream:t1/a/b", FLX_ERR_NOT_FOUND, "did you mean 'stream.publish'?"},
        {"cache.reed:cache:t1/a/b", FLX_ERR_NOT_FOUND, "did you mean 'cache.read'?"},
        {"frobnicate-everything:stream:t1/a/b", FLX_ERR_NOT_FOUND, "no such action"},
        {":stream:t1/a/b", FLX_ERR_NOT_FOUND, "no such action"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_permission permission;
        flx_error error = {0};
        const flx_status status =
            flx_permission_parse(slice_of(rows[i].permission), &permission, &error);
        if (status != rows[i].expected || strstr(error.message, rows[i].says) == NULL) {
            fail_msg("'%s': %s '%s'", rows[i].permission, flx_status_name(status), error.message);
        }
    }
}

static void test_too_long(void **state)
{
    (void)state;
    char long_text[1100];
    memset(long_text, 'a', sizeof long_text);
    flx_permission permission;
    assert_int_equal(flx_permission_parse((flx_slice){(uint8_t *)long_text, sizeof long_text},
                                          &permission, NULL),
                     FLX_ERR_TOO_LARGE);
    memcpy(long_text, "stream.publish:stream:t/a/", 26);
    assert_int_equal(
        flx_permission_parse((flx_slice){(uint8_t *)long_text, 26 + 128}, &permission, NULL),
        FLX_OK);
    assert_int_equal(
        flx_permission_parse((flx_slice){(uint8_t *)long_text, 26 + 129}, &permission, NULL),
        FLX_ERR_INVALID);
}

static void test_of_a_token(void **state)
{
    (void)state;
    static const struct {
        const char *permission;
        flx_status expected;
    } rows[] = {
        {"stream.publish:stream:t1/a/b", FLX_OK},
        {"stream.publish:stream:t1/*", FLX_OK}, /* the rest of t1 */
        {"group.consume:group:t1/*", FLX_OK},
        {"stream.publish:cache:t1/a/b", FLX_OK}, /* harmless: no request asks it */
        {"stream.publish:stream:*", FLX_ERR_INVALID},
        {"stream.publish:stream:*/*", FLX_ERR_INVALID},
        {"stream.publish:stream:t1/*/b", FLX_ERR_INVALID},
        {"stream.publish:stream:t1/a/b*", FLX_ERR_INVALID},
        {"stream.publish:stream:t1", FLX_ERR_INVALID},
        {"node.view:cluster:nodes", FLX_ERR_INVALID},
        {"node.view:node:*", FLX_ERR_INVALID},
        {"stream.publish:elsewhere", FLX_ERR_INVALID},
        {"stream.publish:", FLX_ERR_INVALID},
        {"stream.fly:stream:t1/a/b", FLX_ERR_NOT_FOUND},
        {"stream.publish", FLX_ERR_NOT_FOUND},
        {"", FLX_ERR_NOT_FOUND},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_permission permission;
        if (flx_permission_parse_token(slice_of(rows[i].permission), &permission, NULL) !=
            rows[i].expected) {
            fail_msg("'%s'", rows[i].permission);
        }
    }
}

/* "stream:t/ns/name" as an object; "" for a part that is missing. */
static flx_object object(flx_object_kind kind, const char *tenant, const char *ns, const char *name,
                         const char *group)
{
    return (flx_object){kind, slice_of(tenant), slice_of(ns), slice_of(name), slice_of(group)};
}

/* README.md, rule 6. */
static void test_matches(void **state)
{
    (void)state;
    const flx_object_kind S = FLX_OBJECT_STREAM;
    const flx_object_kind G = FLX_OBJECT_GROUP;
    const struct {
        const char *permission;
        flx_object asked;
        bool expected;
    } rows[] = {
        {"stream.publish:stream:t/a/b", object(S, "t", "a", "b", ""), true},
        {"stream.publish:stream:t/a/b", object(S, "t", "a", "bb", ""), false},
        {"stream.publish:stream:t/a/b", object(S, "t", "a", "B", ""), false},
        {"stream.publish:stream:t/a/b", object(S, "t", "aa", "b", ""), false},
        {"stream.publish:stream:t/a/b", object(S, "tt", "a", "b", ""), false},
        {"stream.publish:stream:t/a/b", object(FLX_OBJECT_CACHE, "t", "a", "b", ""), false},
        {"stream.publish:stream:t/a/*", object(S, "t", "a", "b", ""), true},
        {"stream.publish:stream:t/a/*", object(S, "t", "b", "b", ""), false},
        {"stream.publish:stream:t/a/*", object(S, "t", "a", "", ""), false},
        {"stream.publish:stream:t/*/*", object(S, "t", "x", "y", ""), true},
        {"stream.publish:stream:t/*/*", object(S, "u", "x", "y", ""), false},
        {"stream.publish:stream:t/*", object(S, "t", "x", "y", ""), true},
        {"stream.publish:stream:t/*", object(S, "u", "x", "y", ""), false},
        /* "Every stream of a" is asked as a star, and only a star answers it. */
        {"stream.publish:stream:t/a/*", object(S, "t", "a", "*", ""), true},
        {"stream.publish:stream:t/a/b", object(S, "t", "a", "*", ""), false},
        {"ns.manage:namespace:t/*", object(FLX_OBJECT_NAMESPACE, "t", "*", "", ""), true},
        {"ns.manage:namespace:t/a", object(FLX_OBJECT_NAMESPACE, "t", "*", "", ""), false},
        {"group.consume:group:t/a/s/g", object(G, "t", "a", "s", "g"), true},
        {"group.consume:group:t/a/s/g", object(G, "t", "a", "s", "h"), false},
        {"group.consume:group:t/a/s/*", object(G, "t", "a", "s", "h"), true},
        {"group.consume:group:t/a/*/*", object(G, "t", "a", "x", "h"), true},
        {"group.consume:group:t/a/*/*", object(G, "t", "b", "x", "h"), false},
        {"node.view:cluster:*", object(FLX_OBJECT_CLUSTER, "", "", "", ""), true},
        {"node.view:node:n1", object(FLX_OBJECT_NODE, "", "", "n1", ""), true},
        {"node.view:node:n1", object(FLX_OBJECT_NODE, "", "", "n2", ""), false},
        {"node.view:node:n1", object(FLX_OBJECT_CLUSTER, "", "", "", ""), false},
        {"tenant.manage:tenant:t", object(FLX_OBJECT_TENANT, "t", "", "", ""), true},
        {"tenant.manage:tenant:t", object(FLX_OBJECT_TENANT, "", "", "", ""), false},
        /* A name that contains a separator is one segment, never two. */
        {"stream.publish:stream:t/a/b", object(S, "t/a", "b", "c", ""), false},
        {"stream.publish:stream:t/a/*", object(S, "t", "a/b", "c", ""), false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_permission permission;
        assert_int_equal(
            flx_permission_parse_token(slice_of(rows[i].permission), &permission, NULL), FLX_OK);
        if (flx_pattern_matches(&permission.object, &rows[i].asked) != rows[i].expected) {
            char name[128];
            (void)flx_object_format(&rows[i].asked, name, sizeof name);
            fail_msg("row %zu: %s on %s", i, rows[i].permission, name);
        }
    }
}

static void test_covers(void **state)
{
    (void)state;
    static const struct {
        const char *outer;
        const char *inner;
        bool expected;
    } rows[] = {
        {"stream:t/*/*", "stream:t/a/b", true},   {"stream:t/*/*", "stream:t/a/*", true},
        {"stream:t/a/*", "stream:t/*/*", false},  {"stream:t/a/b", "stream:t/a/b", true},
        {"stream:t/a/b", "stream:t/a/*", false},  {"stream:t/a/*", "stream:u/a/b", false},
        {"stream:t/a/*", "cache:t/a/b", false},   {"cluster:*", "cluster:*", true},
        {"group:t/a/*/*", "group:t/a/s/*", true}, {"node:a", "node:b", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_pattern outer;
        flx_pattern inner;
        assert_int_equal(flx_pattern_parse(slice_of(rows[i].outer), &outer, NULL), FLX_OK);
        assert_int_equal(flx_pattern_parse(slice_of(rows[i].inner), &inner, NULL), FLX_OK);
        if (flx_pattern_covers(&outer, &inner) != rows[i].expected) {
            fail_msg("%s over %s", rows[i].outer, rows[i].inner);
        }
    }
}

static void test_format(void **state)
{
    (void)state;
    char name[32];
    flx_object asked = object(FLX_OBJECT_GROUP, "t", "a", "s", "g");
    assert_int_equal(flx_object_format(&asked, name, sizeof name), 13);
    assert_string_equal(name, "group:t/a/s/g");
    assert_int_equal(flx_object_format(&asked, name, 8), 13);
    assert_string_equal(name, "group:t");
    asked.kind = FLX_OBJECT_CLUSTER;
    (void)flx_object_format(&asked, name, sizeof name);
    assert_string_equal(name, "cluster:*");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_action_names), cmocka_unit_test(test_written),
        cmocka_unit_test(test_too_long),     cmocka_unit_test(test_of_a_token),
        cmocka_unit_test(test_matches),      cmocka_unit_test(test_covers),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
