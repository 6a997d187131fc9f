/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a folder of its own, and entries made from JSON as an API would. */
#ifndef FLX_TESTS_STORE_RIG_H
#define FLX_TESTS_STORE_RIG_H

#include "common/json.h"
#include "metadata/store.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct fixture {
    char directory[64];
    flx_catalog_store *store;
    uint64_t told_version; /* what the change callback said last */
    unsigned told;         /* how often */
    bool durable;          /* what the node is able to offer */
} fixture;

/* "t", "t/n" or "t/n/s". */
static inline flx_key key_of(const char *path)
{
    flx_key key = {0};
    flx_slice *const parts[] = {&key.tenant, &key.namespace_, &key.name};
    for (size_t i = 0; i < COUNT(parts) && *path != '\0'; i++) {
        const size_t len = strcspn(path, "/");
        *parts[i] = (flx_slice){(const uint8_t *)path, len};
        path += len + (path[len] == '/');
    }
    return key;
}

static inline void on_change(void *arg, uint64_t version)
{
    fixture *fix = arg;
    fix->told_version = version;
    fix->told++;
}

static inline flx_status open_store(fixture *fix, uint32_t change_rows_max, flx_error *reterr)
{
    const flx_catalog_store_options options = {.directory = fix->directory,
                                               .change_rows_max = change_rows_max,
                                               .entries_max = 50,
                                               .busy_timeout_ms = 1,
                                               .abilities = {.durable = fix->durable},
                                               .changed = on_change,
                                               .arg = fix};
    return flx_catalog_store_open(&options, &fix->store, reterr);
}

static inline void remove_files(const fixture *fix)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm",
                                        "catalog.db-journal"};
    char path[128];
    for (size_t i = 0; i < COUNT(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fix->directory, names[i]);
        (void)unlink(path);
    }
}

static inline int set_up(void **state)
{
    fixture *fix = calloc(1, sizeof *fix);
    assert_non_null(fix);
    (void)snprintf(fix->directory, sizeof fix->directory, "/tmp/felix-store-XXXXXX");
    assert_non_null(mkdtemp(fix->directory));
    flx_error error = {0};
    if (open_store(fix, 0, &error) != FLX_OK) {
        fail_msg("%s", error.message);
    }
    *state = fix;
    return 0;
}

static inline int tear_down(void **state)
{
    fixture *fix = *state;
    (void)flx_catalog_store_close(fix->store);
    remove_files(fix);
    (void)rmdir(fix->directory);
    free(fix);
    return 0;
}

static inline json_t *json_of(const char *text)
{
    json_t *json = NULL;
    flx_error error = {0};
    if (flx_json_parse(slice_of(text), 65536, 16, "body", &json, &error) != FLX_OK) {
        fail_msg("%s: %s", text, error.message);
    }
    return json;
}

/* Creates an entry of the kind at `where` from a JSON body. */
static inline flx_status create(fixture *fix, flx_kind kind, const char *where, const char *body,
                                bool *ret_created, flx_error *reterr)
{
    const flx_key key = key_of(where);
    json_t *json = json_of(body);
    flx_entry entry;
    flx_status status = flx_entry_from_json(
        kind, &key, json, flx_catalog_store_abilities(fix->store), &entry, reterr);
    json_decref(json);
    return status == FLX_OK ? flx_catalog_store_create(fix->store, &entry, 1, ret_created, reterr)
                            : status;
}

static inline flx_status patch(fixture *fix, flx_kind kind, const char *path, const char *body,
                               flx_entry *ret_entry, flx_error *reterr)
{
    const flx_key key = key_of(path);
    json_t *json = json_of(body);
    const flx_status status =
        flx_catalog_store_patch(fix->store, kind, &key, json, ret_entry, reterr);
    json_decref(json);
    return status;
}

static inline void create_place(fixture *fix)
{
    bool created = false;
    assert_int_equal(create(fix, FLX_KIND_TENANT, "", "{\"tenant_id\":\"t\"}", &created, NULL),
                     FLX_OK);
    assert_true(created);
    assert_int_equal(create(fix, FLX_KIND_NAMESPACE, "t", "{\"namespace\":\"n\"}", &created, NULL),
                     FLX_OK);
    assert_true(created);
}

#endif /* FLX_TESTS_STORE_RIG_H */
