/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions: the implications and the scoping of groups (docs/spec/auth.md 4), and the issuer. */
#include "authz/issuer.h"
#include "authz/token.h"
#include "common/alloc.h"
#include "crypto/jwks.h"
#include "unit.h"

#include <stdio.h>

#define NOW_S UINT64_C(1800000000)

static flx_signing_key *key;
static flx_verifier *verifier;

static int set_up(void **state)
{
    (void)state;
    flx_keyset *keyset = NULL;
    char *json = NULL;
    if (flx_signing_key_generate(&key, NULL) != FLX_OK) {
        return -1;
    }
    flx_public_key *pub = flx_signing_key_public(key);
    const flx_verifier_options options = {"felix-auth", "felix-broker", 60, 0};
    const bool ok = flx_jwks_encode(&pub, 1, &json, NULL) == FLX_OK &&
                    flx_keyset_parse_jwks(NULL, slice_of(json), &keyset, NULL) == FLX_OK &&
                    flx_verifier_new(&options, keyset, &verifier, NULL) == FLX_OK;
    flx_free(json);
    flx_keyset_unref(keyset);
    return ok ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    verifier = flx_verifier_free(verifier);
    key = flx_signing_key_unref(key);
    return 0;
}

static flx_token_claims claims_of(const char *const *perms, size_t count)
{
    return (flx_token_claims){
        .tenant = "t", .subject = "alice", .perms = perms, .perm_count = count, .ttl_s = 900};
}

/* Through the issuer and the verifier, as in life. */
static flx_grants *grants_of(const char *const *perms, size_t count)
{
    const flx_token_claims claims = claims_of(perms, count);
    flx_secret token;
    flx_grants *grants = NULL;
    flx_error error = {0};
    if (flx_issuer_mint(key, &claims, NOW_S, &token, &error) != FLX_OK ||
        flx_verifier_check(verifier, flx_secret_slice(&token), slice_of("t"), NOW_S * 1000000,
                           &grants, &error) != FLX_OK) {
        fail_msg("%s", error.message);
    }
    flx_secret_done(&token);
    return grants;
}

static flx_object object(flx_object_kind kind, const char *name, const char *group)
{
    return (flx_object){kind, slice_of("t"), slice_of("a"), slice_of(name), slice_of(group)};
}

/* README.md, rule 8. */
static void test_decisions(void **state)
{
    (void)state;
    const flx_object stream = object(FLX_OBJECT_STREAM, "s", "");
    const flx_object cache = object(FLX_OBJECT_CACHE, "s", "");
    const flx_object group = object(FLX_OBJECT_GROUP, "s", "g");
    const flx_object other_group = object(FLX_OBJECT_GROUP, "s", "h");
    const flx_object group_elsewhere = object(FLX_OBJECT_GROUP, "x", "h");
    const flx_object cluster = {.kind = FLX_OBJECT_CLUSTER};
    const struct {
        const char *name;
        const char *perms[3];
        flx_action action;
        const flx_object *asked;
        bool expected;
        const char *says;
    } rows[] = {
        {"named",
         {"stream.publish:stream:t/a/s"},
         FLX_ACTION_STREAM_PUBLISH,
         &stream,
         true,
         "allowed by stream.publish:stream:t/a/s"},
        {"other action",
         {"stream.publish:stream:t/a/s"},
         FLX_ACTION_STREAM_SUBSCRIBE,
         &stream,
         false,
         "grants stream.subscribe on nothing"},
        {"other object",
         {"stream.publish:stream:t/a/x"},
         FLX_ACTION_STREAM_PUBLISH,
         &stream,
         false,
         "on other objects only"},
        {"nothing held", {NULL}, FLX_ACTION_CACHE_READ, &cache, false, "on nothing"},
        {"cache is no stream",
         {"stream.publish:stream:t/a/*"},
         FLX_ACTION_CACHE_WRITE,
         &cache,
         false,
         "on nothing"},
        {"cluster", {"node.view:cluster:*"}, FLX_ACTION_NODE_VIEW, &cluster, true, "allowed by"},
        /* Implications. */
        {"subscribe implies consume",
         {"stream.subscribe:stream:t/a/s"},
         FLX_ACTION_GROUP_CONSUME,
         &group,
         true,
         "allowed by stream.subscribe"},
        {"manage implies group manage",
         {"stream.manage:stream:t/a/*"},
         FLX_ACTION_GROUP_MANAGE,
         &group,
         true,
         "allowed by stream.manage"},
        {"subscribe does not imply group manage",
         {"stream.subscribe:stream:t/a/s"},
         FLX_ACTION_GROUP_MANAGE,
         &group,
         false,
         "on nothing"},
        {"manage does not imply consume",
         {"stream.manage:stream:t/a/s"},
         FLX_ACTION_GROUP_CONSUME,
         &group,
         false,
         "on nothing"},
        {"manage does not imply publish",
         {"stream.manage:stream:t/a/s"},
         FLX_ACTION_STREAM_PUBLISH,
         &stream,
         false,
         "on nothing"},
        {"consume does not imply subscribe",
         {"group.consume:stream:t/a/s"},
         FLX_ACTION_STREAM_SUBSCRIBE,
         &stream,
         false,
         "on nothing"},
        {"publish does not imply consume",
         {"stream.publish:stream:t/a/s"},
         FLX_ACTION_GROUP_CONSUME,
         &group,
         false,
         "on nothing"},
        /* Scoping. */
        {"group grant",
         {"group.consume:group:t/a/s/g"},
         FLX_ACTION_GROUP_CONSUME,
         &group,
         true,
         "allowed by group.consume"},
        {"group grant, other group",
         {"group.consume:group:t/a/s/g"},
         FLX_ACTION_GROUP_CONSUME,
         &other_group,
         false,
         "on other objects only"},
        {"a stream grant is narrowed by a group grant",
         {"stream.subscribe:stream:t/a/s", "group.consume:group:t/a/s/g"},
         FLX_ACTION_GROUP_CONSUME,
         &other_group,
         false,
         "narrows it to other groups"},
        {"and the named group stays",
         {"stream.subscribe:stream:t/a/s", "group.consume:group:t/a/s/g"},
         FLX_ACTION_GROUP_CONSUME,
         &group,
         true,
         "allowed by group.consume"},
        {"other streams are not narrowed",
         {"stream.subscribe:stream:t/a/*", "group.consume:group:t/a/s/g"},
         FLX_ACTION_GROUP_CONSUME,
         &group_elsewhere,
         true,
         "allowed by stream.subscribe"},
        {"other actions are not narrowed",
         {"stream.manage:stream:t/a/s", "group.consume:group:t/a/s/g"},
         FLX_ACTION_GROUP_MANAGE,
         &other_group,
         true,
         "allowed by stream.manage"},
        {"stream grant of a group action",
         {"group.consume:stream:t/a/s"},
         FLX_ACTION_GROUP_CONSUME,
         &other_group,
         true,
         "allowed by group.consume:stream"},
        {"every group",
         {"group.consume:group:t/a/*/*"},
         FLX_ACTION_GROUP_CONSUME,
         &other_group,
         true,
         "allowed by"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t count = 0;
        while (count < 3 && rows[i].perms[count] != NULL) {
            count++;
        }
        flx_grants *grants = grants_of(rows[i].perms, count);
        char why[256];
        const bool allowed = flx_grants_allow(grants, rows[i].action, rows[i].asked);
        const bool explained =
            flx_grants_explain(grants, rows[i].action, rows[i].asked, why, sizeof why);
        if (allowed != rows[i].expected || explained != allowed ||
            strstr(why, rows[i].says) == NULL) {
            fail_msg("%s: %d, '%s'", rows[i].name, allowed, why);
        }
        flx_grants_unref(grants);
    }
}

/* README.md, rule 5. */
static void test_other_tenant(void **state)
{
    (void)state;
    static const char *const perms[] = {"stream.publish:stream:t/*/*"};
    flx_grants *grants = grants_of(perms, 1);
    flx_object asked = object(FLX_OBJECT_STREAM, "s", "");
    char why[64];
    assert_true(flx_grants_allow(grants, FLX_ACTION_STREAM_PUBLISH, &asked));
    asked.tenant = slice_of("u");
    assert_false(flx_grants_allow(grants, FLX_ACTION_STREAM_PUBLISH, &asked));
    assert_false(flx_grants_explain(grants, FLX_ACTION_STREAM_PUBLISH, &asked, why, sizeof why));
    asked.tenant = (flx_slice){0};
    assert_false(flx_grants_allow(grants, FLX_ACTION_STREAM_PUBLISH, &asked));
    flx_grants_unref(grants);
}

/* Many grants: decisions are remembered. The answers are those of the explanation, which never are,
 * over more questions than fit; and after the first question nothing is allocated. */
static void test_remembered_decisions(void **state)
{
    (void)state;
    char texts[100][64];
    const char *perms[100];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "stream.%s:stream:t/a/s%d",
                       i % 2 == 0 ? "publish" : "subscribe", i);
        perms[i] = texts[i];
    }
    flx_grants *grants = grants_of(perms, 100);
    uint64_t before = 0;
    for (int i = 0; i < 3000; i++) {
        char name[200];
        const int length = i % 50 == 0 ? 150 : 0; /* too long to be remembered */
        (void)snprintf(name, sizeof name, "s%d%0*d", i * 7 % 120, length, 0);
        name[length == 0 ? strlen(name) - 1 : strlen(name)] = '\0';
        const flx_action action = i % 3 == 0 ? FLX_ACTION_STREAM_PUBLISH : FLX_ACTION_GROUP_CONSUME;
        const flx_object asked =
            i % 3 == 0 ? object(FLX_OBJECT_STREAM, name, "") : object(FLX_OBJECT_GROUP, name, "g");
        char why[16];
        const bool allowed = flx_grants_allow(grants, action, &asked);
        assert_int_equal(allowed, flx_grants_explain(grants, action, &asked, why, sizeof why));
        assert_int_equal(allowed, flx_grants_allow(grants, action, &asked));
        if (i == 10) {
            before = flx_alloc_count();
        }
    }
    assert_int_equal(flx_alloc_count(), before);
    flx_grants_unref(grants);
}

/* Without memory for the table the answer is the same. */
static void test_decides_without_memory(void **state)
{
    (void)state;
    char texts[20][64];
    const char *perms[20];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "stream.publish:stream:t/a/s%d", i);
        perms[i] = texts[i];
    }
    flx_grants *grants = grants_of(perms, 20);
    const flx_object asked = object(FLX_OBJECT_STREAM, "s7", "");
    flx_alloc_fail_nth(1);
    assert_true(flx_grants_allow(grants, FLX_ACTION_STREAM_PUBLISH, &asked));
    assert_true(flx_alloc_failed());
    flx_alloc_fail_nth(0);
    flx_grants_unref(grants);
}

static void test_principal_id(void **state)
{
    (void)state;
    char id[FLX_PRINCIPAL_ID_CHARS + 1];
    assert_int_equal(flx_principal_id("https://idp.example", "alice", id, NULL), FLX_OK);
    /* printf 'https://idp.example|alice' | sha256sum */
    assert_string_equal(id, "8844f38bbb223c85782d86fb1620b14b563ee3d8fc15e4fb78c3e8f2e1f41806");
}

/* README.md, rule 8. */
static void test_expansion(void **state)
{
    (void)state;
    static const char *const tenant[] = {"tenant.manage:tenant:t", "stream.publish:stream:t/*/*"};
    static const char *const expected[] = {
        "tenant.manage:tenant:t",        "ns.manage:namespace:t/*",
        "stream.manage:stream:t/*/*",    "stream.publish:stream:t/*/*",
        "stream.subscribe:stream:t/*/*", "cache.manage:cache:t/*/*",
        "cache.read:cache:t/*/*",        "cache.write:cache:t/*/*"};
    flx_perm_list list;
    assert_int_equal(flx_perms_expand(tenant, 2, &list, NULL), FLX_OK);
    assert_int_equal(list.count, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(list.items[i], expected[i]);
    }
    flx_perm_list_done(&list);
    static const char *const every[] = {"ns.manage:namespace:t/*"};
    assert_int_equal(flx_perms_expand(every, 1, &list, NULL), FLX_OK);
    assert_int_equal(list.count, 7);
    flx_perm_list_done(&list);
    static const char *const one[] = {"ns.manage:namespace:t/a", "tenant.manage:cluster:*"};
    assert_int_equal(flx_perms_expand(one, 2, &list, NULL), FLX_OK);
    assert_int_equal(list.count, 2); /* nothing is brought along */
    flx_perm_list_done(&list);
}

static void test_mint_refuses(void **state)
{
    (void)state;
    static const char *const unknown[] = {"stream.fly:stream:t/a/b"};
    static const char *const wide[] = {"stream.publish:stream:*"};
    static const char *const foreign[] = {"stream.publish:stream:u/a/b"};
    flx_token_claims rows[7];
    for (size_t i = 0; i < 7; i++) {
        rows[i] = claims_of(NULL, 0);
    }
    rows[0] = claims_of(unknown, 1);
    rows[1] = claims_of(wide, 1);
    rows[2] = claims_of(foreign, 1);
    rows[3].tenant = NULL;
    rows[4].subject = "";
    rows[5].ttl_s = 0;
    rows[6].subject = "\xff\xfe"; /* not UTF-8 */
    static const char *const says[] = {"no such action", "must be named", "not one of tenant 't'",
                                       "tenant",         "subject",       "one second",
                                       "UTF-8"};
    for (size_t i = 0; i < 7; i++) {
        flx_secret token = {0};
        flx_error error = {0};
        if (flx_issuer_mint(key, &rows[i], NOW_S, &token, &error) == FLX_OK ||
            strstr(error.message, says[i]) == NULL) {
            fail_msg("row %zu: '%s'", i, error.message);
        }
        assert_null(token.bytes);
    }
}

static void test_mint_without_memory(void **state)
{
    (void)state;
    static const char *const perms[] = {"tenant.manage:tenant:t"};
    flx_token_claims claims = claims_of(perms, 1);
    claims.actor = "bob";
    claims.may_act = "carol";
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        flx_secret token = {0};
        flx_alloc_fail_nth(nth);
        const flx_status status = flx_issuer_mint(key, &claims, NOW_S, &token, NULL);
        failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        flx_secret_done(&token);
        assert_true(nth < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_other_tenant),
        cmocka_unit_test(test_remembered_decisions),
        cmocka_unit_test(test_decides_without_memory),
        cmocka_unit_test(test_principal_id),
        cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_mint_refuses),
        cmocka_unit_test(test_mint_without_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
