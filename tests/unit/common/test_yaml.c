/* SPDX-License-Identifier: Apache-2.0 */
/* What of YAML is read, what is refused and where the finger points. */
#include "common/alloc.h"
#include "common/yaml.h"
#include "unit.h"

#include <stdio.h>

static flx_yaml *parse(const char *text)
{
    flx_yaml *yaml = NULL;
    flx_error error = {0};
    const flx_status status = flx_yaml_parse(slice_of(text), "t.yaml", &yaml, &error);
    if (status != FLX_OK) {
        fail_msg("%s", error.message);
    }
    return yaml;
}

static void maps_become_dotted_paths(void **state)
{
    (void)state;
    flx_yaml *yaml = parse("current: local\n"
                           "contexts:\n"
                           "  local:\n"
                           "    addresses: [\"127.0.0.1:5000\", 'b:2']\n"
                           "    dev: true\n"
                           "    token: ~\n");
    assert_int_equal(flx_yaml_count(yaml), 6);
    assert_string_equal(flx_yaml_find(yaml, "current")->text, "local");
    assert_int_equal(flx_yaml_find(yaml, "contexts")->kind, FLX_YAML_MAP);
    const flx_yaml_entry *list = flx_yaml_find(yaml, "contexts.local.addresses");
    assert_int_equal(list->kind, FLX_YAML_LIST);
    assert_int_equal(list->item_count, 2);
    assert_string_equal(list->items[0], "127.0.0.1:5000");
    assert_string_equal(list->items[1], "b:2");
    const flx_yaml_entry *dev = flx_yaml_find(yaml, "contexts.local.dev");
    assert_string_equal(dev->text, "true");
    assert_int_equal(dev->line, 5);
    assert_int_equal(dev->column, 5);
    assert_int_equal(flx_yaml_find(yaml, "contexts.local.token")->kind, FLX_YAML_NULL);
    assert_null(flx_yaml_find(yaml, "contexts.other"));
    (void)flx_yaml_free(yaml);
}

static void empty_documents_have_no_entries(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "# only a comment\n", "---\n", "{}", "\n\n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        flx_yaml *yaml = parse(texts[i]);
        assert_int_equal(flx_yaml_count(yaml), 0);
        (void)flx_yaml_free(yaml);
    }
}

static void quoted_null_is_text(void **state)
{
    (void)state;
    flx_yaml *yaml = parse("a: \"null\"\nb: ''\n");
    assert_string_equal(flx_yaml_find(yaml, "a")->text, "null");
    assert_string_equal(flx_yaml_find(yaml, "b")->text, "");
    (void)flx_yaml_free(yaml);
}

typedef struct refused {
    const char *name;
    const char *text;
    const char *place; /* how the message begins */
    const char *says;
} refused;

static const refused refused_rows[] = {
    {"anchor", "a: &x 1\n", "t.yaml:1:4: ", "anchors"},
    {"anchor on a map", "a: &x {b: 1}\n", "t.yaml:1:4: ", "anchors"},
    {"alias", "a: 1\nb: *a\n", "t.yaml:2:4: ", "aliases"},
    {"tag", "a: !!str 1\n", "t.yaml:1:4: ", "tags"},
    {"tag on a list", "a: !x [1]\n", "t.yaml:1:4: ", "tags"},
    {"duplicate key", "a: 1\nb: 2\na: 3\n", "t.yaml:3:1: ", "already given in line 1"},
    {"duplicate map", "a: {b: 1}\na: {c: 1}\n", "t.yaml:2:1: ", "already given in line 1"},
    {"duplicate in a nested map", "m:\n  a: 1\n  a: 2\n", "t.yaml:3:3: ", "'m.a'"},
    {"second document", "a: 1\n---\nb: 2\n", "t.yaml:2:1: ", "second document"},
    {"list of maps", "a: [{b: 1}]\n", "t.yaml:1:5: ", "plain values"},
    {"list of lists", "a: [[1]]\n", "t.yaml:1:5: ", "plain values"},
    {"a list at the top", "- a\n", "t.yaml:1:1: ", "key: value"},
    {"a value at the top", "hello\n", "t.yaml:1:1: ", "key: value"},
    {"dotted key", "a.b: 1\n", "t.yaml:1:1: ", "nest maps"},
    {"empty key", "'': 1\n", "t.yaml:1:1: ", "empty"},
    {"map as key", "{a: 1}: 2\n", "t.yaml:1:1: ", "plain word"},
    {"zero byte", "a: \"x\\0y\"\n", "t.yaml:1:4: ", "zero byte"},
    {"not YAML", "a: [1\n", "t.yaml:", ""},
    {"nested too deeply", "a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}\n", "t.yaml:1:", "deeply"},
};

static void refusals_point_at_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused_rows); i++) {
        const refused *row = &refused_rows[i];
        flx_yaml *yaml = NULL;
        flx_error error = {0};
        const flx_status status = flx_yaml_parse(slice_of(row->text), "t.yaml", &yaml, &error);
        if (status == FLX_OK || strncmp(error.message, row->place, strlen(row->place)) != 0 ||
            strstr(error.message, row->says) == NULL) {
            fail_msg("%s: %s", row->name, error.message);
        }
        assert_null(yaml);
    }
}

static void large_documents_are_refused(void **state)
{
    (void)state;
    flx_yaml *yaml = NULL;
    flx_error error = {0};
    const size_t len = FLX_YAML_BYTES_MAX + 1;
    char *text = flx_alloc(len);
    assert_non_null(text);
    memset(text, '#', len);
    assert_int_equal(flx_yaml_parse((flx_slice){(const uint8_t *)text, len}, "big", &yaml, &error),
                     FLX_ERR_TOO_LARGE);
    size_t used = (size_t)snprintf(text, len, "a: [");
    for (int i = 0; i < FLX_YAML_ENTRIES_MAX; i++) {
        used += (size_t)snprintf(text + used, len - used, "1,");
    }
    used += (size_t)snprintf(text + used, len - used, "]\n");
    assert_int_equal(flx_yaml_parse((flx_slice){(const uint8_t *)text, used}, "big", &yaml, &error),
                     FLX_ERR_TOO_LARGE);
    flx_free(text);
}

static void missing_files_are_named(void **state)
{
    (void)state;
    flx_yaml *yaml = NULL;
    flx_error error = {0};
    assert_int_equal(flx_yaml_read("/nonexistent/x.yaml", &yaml, &error), FLX_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nonexistent/x.yaml"));
}

/* Every allocation of ours may fail: the parse says so, nothing leaks, nothing is left behind. */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    const flx_slice text = slice_of("a: 1\nb: {c: [x, y]}\n");
    for (uint64_t nth = 1; nth < 100; nth++) {
        flx_yaml *yaml = NULL;
        flx_alloc_fail_nth(nth);
        const flx_status status = flx_yaml_parse(text, "t.yaml", &yaml, NULL);
        const int failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        if (!failed) {
            assert_int_equal(status, FLX_OK);
            (void)flx_yaml_free(yaml);
            return;
        }
        assert_int_equal(status, FLX_ERR_NOMEM);
        assert_null(yaml);
    }
    fail_msg("the loop did not end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_become_dotted_paths),
        cmocka_unit_test(empty_documents_have_no_entries),
        cmocka_unit_test(quoted_null_is_text),
        cmocka_unit_test(refusals_point_at_the_place),
        cmocka_unit_test(large_documents_are_refused),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
