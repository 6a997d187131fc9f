/* SPDX-License-Identifier: Apache-2.0 */
/* Rule 12: what the catalog remembers for the disk below it, over restarts. */
#include "metadata/store_logs.h"
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

typedef struct fixture {
    char directory[64];
    flx_catalog_store *store;
} fixture;

static void open_store(fixture *fix)
{
    const flx_catalog_store_options options = {.directory = fix->directory,
                                               .abilities = {.durable = true}};
    flx_error error;
    if (flx_catalog_store_open(&options, &fix->store, &error) != FLX_OK) {
        fail_msg("%s", error.message);
    }
}

static void reopen(fixture *fix)
{
    fix->store = flx_catalog_store_close(fix->store);
    open_store(fix);
}

static void create(fixture *fix, flx_entry *entry)
{
    assert_int_equal(flx_catalog_store_create(fix->store, entry, 1, NULL, NULL), FLX_OK);
}

static int set_up(void **state)
{
    fixture *fix = calloc(1, sizeof *fix);
    assert_non_null(fix);
    (void)snprintf(fix->directory, sizeof fix->directory, "/tmp/felix-store-XXXXXX");
    assert_non_null(mkdtemp(fix->directory));
    open_store(fix);
    flx_entry entry = {.kind = FLX_KIND_TENANT};
    (void)strcpy(entry.tenant.tenant, "t1");
    (void)strcpy(entry.tenant.display_name, "t1");
    create(fix, &entry);
    entry = (flx_entry){.kind = FLX_KIND_NAMESPACE};
    (void)strcpy(entry.namespace_.tenant, "t1");
    (void)strcpy(entry.namespace_.namespace_, "n");
    (void)strcpy(entry.namespace_.display_name, "n");
    create(fix, &entry);
    *state = fix;
    return 0;
}

static int tear_down(void **state)
{
    fixture *fix = *state;
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm"};
    fix->store = flx_catalog_store_close(fix->store);
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[96];
        (void)snprintf(path, sizeof path, "%s/%s", fix->directory, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(fix->directory);
    free(fix);
    return 0;
}

static flx_key key_of(const char *name)
{
    return (flx_key){slice_of("t1"), slice_of("n"), slice_of(name)};
}

static void create_stream(fixture *fix, const char *name, bool durable, uint32_t shards)
{
    flx_entry entry = {.kind = FLX_KIND_STREAM};
    flx_stream_info_init(&entry.stream, "t1", "n", name);
    entry.stream.shards = shards;
    if (durable) {
        entry.stream.promise = flx_promise_durable(FLX_ACK_SYNCED);
    }
    create(fix, &entry);
}

static flx_status delete (fixture *fix, flx_kind kind, const char *name)
{
    const flx_key key = key_of(name);
    return flx_catalog_store_delete(fix->store, kind, &key, NULL);
}

typedef struct seen {
    flx_dropped dropped[8];
    size_t count;
} seen;

static flx_status note_seen(void *arg, const flx_dropped *dropped)
{
    seen *all = arg;
    assert_true(all->count < COUNT(all->dropped));
    all->dropped[all->count++] = *dropped;
    return FLX_OK;
}

static seen notes_of(fixture *fix)
{
    seen all = {.count = 0};
    assert_int_equal(flx_catalog_store_dropped(fix->store, note_seen, &all, NULL), FLX_OK);
    return all;
}

static void a_deletion_leaves_a_note(void **state)
{
    fixture *fix = *state;
    create_stream(fix, "light", false, 1);
    create_stream(fix, "heavy", true, 3);
    flx_entry cache = {.kind = FLX_KIND_CACHE};
    flx_cache_info_init(&cache.cache, "t1", "n", "settings");
    cache.cache.promise = flx_promise_durable(FLX_ACK_SYNCED);
    create(fix, &cache);
    assert_int_equal(notes_of(fix).count, 0);
    assert_int_equal(delete (fix, FLX_KIND_STREAM, "light"), FLX_OK); /* has no log */
    assert_int_equal(delete (fix, FLX_KIND_STREAM, "never"), FLX_ERR_NOT_FOUND);
    assert_int_equal(notes_of(fix).count, 0);
    assert_int_equal(delete (fix, FLX_KIND_STREAM, "heavy"), FLX_OK);
    assert_int_equal(delete (fix, FLX_KIND_CACHE, "settings"), FLX_OK);
    create_stream(fix, "heavy", true, 1); /* another one of that name: another id, another note */
    assert_int_equal(delete (fix, FLX_KIND_STREAM, "heavy"), FLX_OK);
    reopen(fix);
    const seen all = notes_of(fix);
    assert_int_equal(all.count, 3);
    assert_int_equal(all.dropped[0].kind, FLX_KIND_STREAM);
    assert_string_equal(all.dropped[0].tenant, "t1");
    assert_string_equal(all.dropped[0].namespace_, "n");
    assert_string_equal(all.dropped[0].name, "heavy");
    assert_int_equal(all.dropped[0].shards, 3);
    assert_true(all.dropped[0].dropped_at_ms > UINT64_C(1700000000000));
    assert_int_equal(all.dropped[1].shards, 1);
    assert_true(all.dropped[1].id > all.dropped[0].id);
    assert_int_equal(all.dropped[2].kind, FLX_KIND_CACHE);
    assert_string_equal(all.dropped[2].name, "settings");
}

static void a_note_ends_alone(void **state)
{
    fixture *fix = *state;
    create_stream(fix, "a", true, 1);
    create_stream(fix, "b", true, 1);
    assert_int_equal(delete (fix, FLX_KIND_STREAM, "a"), FLX_OK);
    assert_int_equal(delete (fix, FLX_KIND_STREAM, "b"), FLX_OK);
    const uint32_t id = notes_of(fix).dropped[0].id;
    flx_catalog *before = NULL;
    flx_catalog *after = NULL;
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &before, NULL), FLX_OK);
    assert_int_equal(flx_catalog_store_dropped_done(fix->store, FLX_KIND_CACHE, id, NULL), FLX_OK);
    assert_int_equal(notes_of(fix).count, 2); /* a cache has the same numbers */
    assert_int_equal(flx_catalog_store_dropped_done(fix->store, FLX_KIND_STREAM, id, NULL), FLX_OK);
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &after, NULL), FLX_OK);
    assert_int_equal(flx_catalog_version(after), flx_catalog_version(before)); /* no change */
    before = flx_catalog_unref(before);
    after = flx_catalog_unref(after);
    reopen(fix);
    assert_int_equal(notes_of(fix).count, 1);
    assert_string_equal(notes_of(fix).dropped[0].name, "b");
}

static void the_store_of_logs_is_remembered(void **state)
{
    fixture *fix = *state;
    const uint8_t one[FLX_LOG_STORE_ID_BYTES] = {1};
    const uint8_t two[FLX_LOG_STORE_ID_BYTES] = {2};
    uint8_t id[FLX_LOG_STORE_ID_BYTES];
    bool is_known = true;
    assert_int_equal(flx_catalog_store_get_log_store(fix->store, &is_known, id, NULL), FLX_OK);
    assert_false(is_known);
    assert_int_equal(flx_catalog_store_set_log_store(fix->store, one, NULL), FLX_OK);
    assert_int_equal(flx_catalog_store_set_log_store(fix->store, two, NULL), FLX_OK);
    reopen(fix);
    assert_int_equal(flx_catalog_store_get_log_store(fix->store, &is_known, id, NULL), FLX_OK);
    assert_true(is_known);
    assert_memory_equal(id, two, sizeof two);
    assert_int_equal(flx_catalog_store_set_log_store(fix->store, NULL, NULL), FLX_OK);
    assert_int_equal(flx_catalog_store_get_log_store(fix->store, &is_known, id, NULL), FLX_OK);
    assert_false(is_known);
}

/* What `felix log ls` does beside a stopped node. */
static void a_look_changes_nothing(void **state)
{
    fixture *fix = *state;
    create_stream(fix, "a", true, 1);
    flx_catalog_store_options options = {
        .directory = fix->directory, .only_looks = true, .busy_timeout_ms = 1};
    flx_catalog_store *look = NULL;
    assert_int_equal(flx_catalog_store_open(&options, &look, NULL), FLX_ERR_UNAVAILABLE);
    fix->store = flx_catalog_store_close(fix->store);
    assert_int_equal(flx_catalog_store_open(&options, &look, NULL), FLX_OK);
    flx_catalog *catalog = NULL;
    assert_int_equal(flx_catalog_store_snapshot(look, &catalog, NULL), FLX_OK);
    assert_int_equal(flx_catalog_stream_count(catalog), 1);
    catalog = flx_catalog_unref(catalog);
    const flx_key key = key_of("a");
    assert_int_not_equal(flx_catalog_store_delete(look, FLX_KIND_STREAM, &key, NULL), FLX_OK);
    look = flx_catalog_store_close(look);
    open_store(fix);
    assert_int_equal(delete (fix, FLX_KIND_STREAM, "a"), FLX_OK);
    options.directory = "/tmp/felix-store-that-is-not-there";
    assert_int_equal(flx_catalog_store_open(&options, &look, NULL), FLX_ERR_IO);
    assert_int_not_equal(access(options.directory, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_deletion_leaves_a_note, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_note_ends_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_store_of_logs_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_changes_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
