/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog snapshot: what is found, what is refused, and what memory failures leave. */
#include "common/alloc.h"
#include "metadata/catalog.h"
#include "metadata/catalog_builder.h"
#include "metadata/rules.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

#define S(text) ((flx_slice){(const uint8_t *)(text), sizeof(text) - 1})

static flx_status add_stream(flx_catalog_builder *builder, const char *tenant, const char *ns,
                             const char *name, uint32_t id, flx_error *reterr)
{
    flx_stream_info info;
    flx_stream_info_init(&info, tenant, ns, name);
    info.id = id;
    return flx_catalog_builder_stream(builder, &info, reterr);
}

static flx_status add_cache(flx_catalog_builder *builder, const char *tenant, const char *ns,
                            const char *name, flx_error *reterr)
{
    flx_cache_info info;
    flx_cache_info_init(&info, tenant, ns, name);
    return flx_catalog_builder_cache(builder, &info, reterr);
}

/* Two tenants whose joined names collide unless the parts are kept apart. */
static flx_status build_sample(flx_catalog **ret_catalog, flx_error *reterr)
{
    flx_catalog_builder *builder = flx_catalog_builder_new();
    if (builder == NULL) {
        return FLX_ERR_NOMEM;
    }
    flx_status status = add_stream(builder, "b", "y", "orders", 7, reterr);
    if (status == FLX_OK) {
        status = add_stream(builder, "a", "bc", "d", 3, reterr);
    }
    if (status == FLX_OK) {
        status = add_stream(builder, "ab", "c", "d", 0, reterr);
    }
    if (status == FLX_OK) {
        status = add_cache(builder, "a", "bc", "d", reterr);
    }
    if (status == FLX_OK) {
        status = flx_catalog_builder_namespace(builder, S("empty"), (flx_slice){NULL, 0}, reterr);
    }
    if (status == FLX_OK) {
        status = flx_catalog_builder_finish(builder, 42, ret_catalog, reterr);
    }
    (void)flx_catalog_builder_free(builder);
    return status;
}

static void finds_what_is_there(void **state)
{
    (void)state;
    static const struct {
        const char *what, *tenant, *ns, *name;
        uint32_t id; /* 0: not found */
    } rows[] = {
        {"a stream", "b", "y", "orders", 7},
        {"parts are not glued together", "a", "bc", "d", 3},
        {"the other way of gluing", "ab", "c", "d", 8},
        {"another name", "b", "y", "order", 0},
        {"a longer name", "b", "y", "orders2", 0},
        {"another tenant", "a", "y", "orders", 0},
        {"empty names", "", "", "", 0},
    };
    flx_error error = {0};
    flx_catalog *catalog = NULL;
    assert_int_equal(build_sample(&catalog, &error), FLX_OK);
    assert_int_equal(flx_catalog_version(catalog), 42);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const flx_stream_info *stream = flx_catalog_stream(
            catalog, slice_of(rows[i].tenant), slice_of(rows[i].ns), slice_of(rows[i].name));
        const uint32_t id = stream == NULL ? 0 : stream->id;
        if (id != rows[i].id) {
            fail_msg("%s: id %u, want %u", rows[i].what, id, rows[i].id);
        }
    }
    assert_non_null(flx_catalog_cache(catalog, S("a"), S("bc"), S("d")));
    assert_null(flx_catalog_cache(catalog, S("b"), S("y"), S("orders")));
    char longest[400];
    memset(longest, 'x', sizeof longest);
    const flx_slice too_long = {(const uint8_t *)longest, sizeof longest};
    assert_null(flx_catalog_stream(catalog, S("b"), S("y"), too_long));
    assert_null(flx_catalog_unref(catalog));
}

static void knows_tenants_and_namespaces(void **state)
{
    (void)state;
    flx_catalog *catalog = NULL;
    assert_int_equal(build_sample(&catalog, NULL), FLX_OK);
    const flx_slice none = {NULL, 0};
    assert_true(flx_catalog_has_namespace(catalog, S("a"), none));
    assert_true(flx_catalog_has_namespace(catalog, S("a"), S("bc")));
    assert_true(flx_catalog_has_namespace(catalog, S("empty"), none));
    assert_false(flx_catalog_has_namespace(catalog, S("empty"), S("bc")));
    assert_false(flx_catalog_has_namespace(catalog, S("c"), none));
    (void)flx_catalog_unref(catalog);
}

static void lists_in_order(void **state)
{
    (void)state;
    flx_catalog *catalog = NULL;
    assert_int_equal(build_sample(&catalog, NULL), FLX_OK);
    assert_int_equal(flx_catalog_stream_count(catalog), 3);
    assert_string_equal(flx_catalog_stream_at(catalog, 0)->tenant, "a");
    assert_string_equal(flx_catalog_stream_at(catalog, 1)->tenant, "ab");
    assert_string_equal(flx_catalog_stream_at(catalog, 2)->tenant, "b");
    assert_int_equal(flx_catalog_cache_count(catalog), 1);
    assert_int_equal(flx_catalog_cache_at(catalog, 0)->id, 1);
    flx_catalog *second = flx_catalog_ref(catalog);
    assert_ptr_equal(second, catalog);
    (void)flx_catalog_unref(second);
    assert_string_equal(flx_catalog_stream_at(catalog, 0)->name, "d"); /* still there */
    (void)flx_catalog_unref(catalog);
}

static void finds_each_of_many(void **state)
{
    (void)state;
    flx_catalog_builder *builder = flx_catalog_builder_new();
    char name[32];
    for (uint32_t i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        assert_int_equal(add_stream(builder, "t", "n", name, i + 1, NULL), FLX_OK);
    }
    flx_catalog *catalog = NULL;
    assert_int_equal(flx_catalog_builder_finish(builder, 1, &catalog, NULL), FLX_OK);
    (void)flx_catalog_builder_free(builder);
    const uint64_t before = flx_alloc_count();
    for (uint32_t i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        const flx_stream_info *stream = flx_catalog_stream(catalog, S("t"), S("n"), slice_of(name));
        assert_non_null(stream);
        assert_int_equal(stream->id, i + 1);
    }
    assert_int_equal(flx_alloc_count(), before); /* lookups allocate nothing */
    (void)flx_catalog_unref(catalog);
}

static void an_empty_catalog_finds_nothing(void **state)
{
    (void)state;
    flx_catalog_builder *builder = flx_catalog_builder_new();
    flx_catalog *catalog = NULL;
    assert_int_equal(flx_catalog_builder_finish(builder, 0, &catalog, NULL), FLX_OK);
    (void)flx_catalog_builder_free(builder);
    assert_null(flx_catalog_stream(catalog, S("t"), S("n"), S("s")));
    assert_false(flx_catalog_has_namespace(catalog, S("t"), (flx_slice){NULL, 0}));
    (void)flx_catalog_unref(catalog);
}

static void refuses_what_is_there_twice(void **state)
{
    (void)state;
    static const struct {
        const char *what, *first, *second, *message;
        uint32_t first_id, second_id;
    } rows[] = {
        {"a name", "s", "s", "catalog: stream 's' is there twice", 1, 2},
        {"an id", "s", "t", "catalog: stream id 5 is there twice", 5, 5},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_catalog_builder *builder = flx_catalog_builder_new();
        flx_error error = {0};
        flx_catalog *catalog = NULL;
        assert_int_equal(add_stream(builder, "t", "n", rows[i].first, rows[i].first_id, NULL),
                         FLX_OK);
        assert_int_equal(add_stream(builder, "t", "n", rows[i].second, rows[i].second_id, NULL),
                         FLX_OK);
        assert_int_equal(flx_catalog_builder_finish(builder, 1, &catalog, &error),
                         FLX_ERR_CONFLICT);
        assert_string_equal(error.message, rows[i].message);
        (void)flx_catalog_builder_free(builder);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        flx_catalog *catalog = NULL;
        flx_alloc_fail_nth(nth);
        const flx_status status = build_sample(&catalog, NULL);
        const int failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        (void)flx_catalog_unref(catalog);
        if (!failed) {
            assert_true(nth > 5);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_there),
        cmocka_unit_test(knows_tenants_and_namespaces),
        cmocka_unit_test(lists_in_order),
        cmocka_unit_test(finds_each_of_many),
        cmocka_unit_test(an_empty_catalog_finds_nothing),
        cmocka_unit_test(refuses_what_is_there_twice),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
