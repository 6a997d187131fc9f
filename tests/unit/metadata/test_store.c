/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: its rules, its lists and its feed of changes. */
#include "store_rig.h"

#include <pthread.h>

/* README.md, rules 3, 4, 11. */
static void rules_of_create(void **state)
{
    static const struct {
        const char *what;
        flx_kind kind;
        const char *where, *body;
        flx_status status;
        const char *message; /* begins with */
        bool created;
    } rows[] = {
        {"a namespace without its tenant", FLX_KIND_NAMESPACE, "t", "{\"namespace\":\"n\"}",
         FLX_ERR_NOT_FOUND, "tenant 't' does not exist", false},
        {"a tenant", FLX_KIND_TENANT, "", "{\"tenant_id\":\"t\",\"display_name\":\"T\"}", FLX_OK,
         "", true},
        {"the same again", FLX_KIND_TENANT, "", "{\"tenant_id\":\"t\",\"display_name\":\"T\"}",
         FLX_OK, "", false},
        {"another under its name", FLX_KIND_TENANT, "",
         "{\"tenant_id\":\"t\",\"display_name\":\"U\"}", FLX_ERR_CONFLICT,
         "tenant 't' exists and is not the same", false},
        {"no name", FLX_KIND_TENANT, "", "{}", FLX_ERR_INVALID, "tenant_id: is missing", false},
        {"a name of another type", FLX_KIND_TENANT, "", "{\"tenant_id\":7}", FLX_ERR_INVALID,
         "tenant_id: must be a string", false},
        {"a name that is none", FLX_KIND_TENANT, "", "{\"tenant_id\":\"-t\"}", FLX_ERR_INVALID,
         "tenant_id: must be 1..128", false},
        {"a stream without its namespace", FLX_KIND_STREAM, "t/n", "{\"stream\":\"s\"}",
         FLX_ERR_NOT_FOUND, "namespace 't/n' does not exist", false},
        {"a namespace", FLX_KIND_NAMESPACE, "t", "{\"namespace\":\"n\"}", FLX_OK, "", true},
        {"defaults said aloud are the same", FLX_KIND_NAMESPACE, "t",
         "{\"namespace\":\"n\",\"display_name\":\"n\",\"tenant_id\":\"t\"}", FLX_OK, "", false},
        {"a stream", FLX_KIND_STREAM, "t/n",
         "{\"stream\":\"s\",\"kind\":\"Stream\",\"shards\":4,\"retention\":{\"max_age_seconds\":"
         "null,\"max_size_bytes\":1024},\"consistency\":\"Leader\",\"delivery\":\"AtLeastOnce\","
         "\"durable\":false}",
         FLX_OK, "", true},
        {"other shards", FLX_KIND_STREAM, "t/n", "{\"stream\":\"s\",\"shards\":5}",
         FLX_ERR_CONFLICT, "stream 't/n/s' exists and is not the same", false},
        {"no shards", FLX_KIND_STREAM, "t/n", "{\"stream\":\"z\",\"shards\":0}", FLX_ERR_INVALID,
         "shards: must be 1..1024", false},
        {"too many shards", FLX_KIND_STREAM, "t/n", "{\"stream\":\"z\",\"shards\":1025}",
         FLX_ERR_INVALID, "shards: must be 1..1024", false},
        {"shards as a text", FLX_KIND_STREAM, "t/n", "{\"stream\":\"z\",\"shards\":\"4\"}",
         FLX_ERR_INVALID, "shards: must be an integer", false},
        {"an unknown kind", FLX_KIND_STREAM, "t/n", "{\"stream\":\"z\",\"kind\":\"Topic\"}",
         FLX_ERR_INVALID, "kind: must be Stream, Queue or Cache", false},
        {"a kind with a tail", FLX_KIND_STREAM, "t/n",
         "{\"stream\":\"z\",\"delivery\":\"AtLeastOnceX\"}", FLX_ERR_INVALID,
         "delivery: must be AtMostOnce or AtLeastOnce", false},
        {"a durable stream without a log", FLX_KIND_STREAM, "t/n",
         "{\"stream\":\"z\",\"durable\":true}", FLX_ERR_UNSUPPORTED,
         "durable: a durable stream needs a data directory", false},
        {"a sync of nothing", FLX_KIND_STREAM, "t/n", "{\"stream\":\"z\",\"fsync\":\"periodic\"}",
         FLX_ERR_INVALID, "fsync: a stream that is not durable", false},
        {"a promise memory cannot keep", FLX_KIND_STREAM, "t/n",
         "{\"stream\":\"z\",\"ack\":\"synced\"}", FLX_ERR_INVALID,
         "ack: a stream that is not durable", false},
        {"an unknown policy", FLX_KIND_STREAM, "t/n", "{\"stream\":\"z\",\"slow_policy\":\"wait\"}",
         FLX_ERR_INVALID, "slow_policy: must be", false},
        {"a retention of nothing", FLX_KIND_STREAM, "t/n",
         "{\"stream\":\"z\",\"retention\":{\"max_size_bytes\":0}}", FLX_ERR_INVALID,
         "max_size_bytes: must be 1..", false},
        {"another place than the path", FLX_KIND_STREAM, "t/n",
         "{\"stream\":\"z\",\"namespace\":\"m\"}", FLX_ERR_INVALID,
         "namespace: differs from the path", false},
        {"unknown members are passed over", FLX_KIND_STREAM, "t/n",
         "{\"stream\":\"y\",\"new_in_v9\":[1]}", FLX_OK, "", true},
        {"a cache", FLX_KIND_CACHE, "t/n", "{\"cache\":\"s\",\"display_name\":\"S\"}", FLX_OK, "",
         true},
        {"a control character", FLX_KIND_CACHE, "t/n",
         "{\"cache\":\"z\",\"display_name\":\"a\\u0007\"}", FLX_ERR_INVALID,
         "display_name:", false},
        {"quorum without replicas", FLX_KIND_CACHE, "t/n",
         "{\"cache\":\"z\",\"consistency\":\"Quorum\"}", FLX_ERR_UNSUPPORTED,
         "consistency: Quorum needs replicas", false},
    };
    fixture *fix = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_error error = {0};
        bool created = false;
        const flx_status status =
            create(fix, rows[i].kind, rows[i].where, rows[i].body, &created, &error);
        if (status != rows[i].status || created != rows[i].created ||
            strncmp(error.message, rows[i].message, strlen(rows[i].message)) != 0) {
            fail_msg("%s: %s, created %d, '%s'", rows[i].what, flx_status_name(status), created,
                     error.message);
        }
    }
    assert_int_equal(fix->told, 5); /* once for each that was created, never else */
}

/* README.md, rules 4, 11. */
static void rules_of_patch(void **state)
{
    static const struct {
        const char *what;
        flx_kind kind;
        const char *path, *body;
        flx_status status;
        const char *message;
    } rows[] = {
        {"nothing", FLX_KIND_STREAM, "t/n/s", "{}", FLX_OK, ""},
        {"retention", FLX_KIND_STREAM, "t/n/s", "{\"retention\":{\"max_size_bytes\":9}}", FLX_OK,
         ""},
        {"the shape as it is", FLX_KIND_STREAM, "t/n/s",
         "{\"shards\":1,\"stream\":\"s\",\"slow_policy\":\"block\"}", FLX_OK, ""},
        {"the shape", FLX_KIND_STREAM, "t/n/s", "{\"shards\":2}", FLX_ERR_INVALID,
         "shards: is fixed at create"},
        {"the routing", FLX_KIND_STREAM, "t/n/s", "{\"routing\":\"jump_hash\"}", FLX_ERR_INVALID,
         "routing: is fixed at create"},
        {"durability", FLX_KIND_STREAM, "t/n/s", "{\"durable\":true}", FLX_ERR_INVALID,
         "durable: is fixed at create"},
        {"an array", FLX_KIND_STREAM, "t/n/s", "[]", FLX_ERR_INVALID,
         "body: must be a JSON object"},
        {"what is not there", FLX_KIND_STREAM, "t/n/r", "{}", FLX_ERR_NOT_FOUND,
         "stream 't/n/r' does not exist"},
        {"a cache", FLX_KIND_CACHE, "t/n/c", "{\"display_name\":\"C\"}", FLX_OK, ""},
        {"a tenant", FLX_KIND_TENANT, "t", "{\"display_name\":\"T\"}", FLX_OK, ""},
    };
    fixture *fix = *state;
    create_place(fix);
    bool created = false;
    assert_int_equal(create(fix, FLX_KIND_STREAM, "t/n", "{\"stream\":\"s\"}", &created, NULL),
                     FLX_OK);
    assert_int_equal(create(fix, FLX_KIND_CACHE, "t/n", "{\"cache\":\"c\"}", &created, NULL),
                     FLX_OK);
    flx_entry entry;
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_error error = {0};
        const flx_status status =
            patch(fix, rows[i].kind, rows[i].path, rows[i].body, &entry, &error);
        if (status != rows[i].status ||
            strncmp(error.message, rows[i].message, strlen(rows[i].message)) != 0) {
            fail_msg("%s: %s '%s'", rows[i].what, flx_status_name(status), error.message);
        }
    }
    const flx_key key = key_of("t/n/s");
    assert_int_equal(flx_catalog_store_get(fix->store, FLX_KIND_STREAM, &key, &entry, NULL),
                     FLX_OK);
    assert_int_equal(entry.stream.retention_bytes, 9);
    assert_int_equal(entry.stream.slow_policy, FLX_SLOW_BLOCK);
    assert_int_equal(fix->told, 4 + 4); /* four creates, four patches that changed something */
}

static const flx_promise *promise_of(const flx_entry *entry)
{
    return entry->kind == FLX_KIND_CACHE ? &entry->cache.promise : &entry->stream.promise;
}

/* README.md, rule 4: what is promised of what is durable, and what it takes to keep it. */
static void promises_of_what_is_durable(void **state)
{
    static const struct {
        const char *body; /* behind the name and "durable" */
        flx_status status;
        const char *message;
        flx_ack_rule ack;
        flx_fsync_rule fsync;
        uint32_t fsync_ms;
    } rows[] = {
        {"", FLX_OK, "", FLX_ACK_SYNCED, FLX_FSYNC_ON_COMMIT, 0},
        {",\"consistency\":\"Leader\"", FLX_OK, "", FLX_ACK_SYNCED, FLX_FSYNC_ON_COMMIT, 0},
        {",\"ack\":\"written\"", FLX_OK, "", FLX_ACK_WRITTEN, FLX_FSYNC_PERIODIC, 250},
        {",\"ack\":\"accepted\"", FLX_OK, "", FLX_ACK_ACCEPTED, FLX_FSYNC_PERIODIC, 250},
        {",\"ack\":\"written\",\"fsync\":\"none\"", FLX_OK, "", FLX_ACK_WRITTEN, FLX_FSYNC_NONE, 0},
        {",\"ack\":\"written\",\"fsync\":\"on_commit\"", FLX_OK, "", FLX_ACK_WRITTEN,
         FLX_FSYNC_ON_COMMIT, 0},
        {",\"ack\":\"written\",\"fsync\":\"periodic\",\"fsync_interval_ms\":20", FLX_OK, "",
         FLX_ACK_WRITTEN, FLX_FSYNC_PERIODIC, 20},
        {",\"ack\":\"often\"", FLX_ERR_INVALID, "ack: must be accepted, written", 0, 0, 0},
        {",\"fsync\":\"periodic\"", FLX_ERR_INVALID, "fsync: ack synced needs on_commit", 0, 0, 0},
        {",\"fsync\":\"none\"", FLX_ERR_INVALID, "fsync: ack synced needs on_commit", 0, 0, 0},
        {",\"fsync\":\"often\"", FLX_ERR_INVALID, "fsync: must be none, periodic or", 0, 0, 0},
        {",\"fsync_interval_ms\":20", FLX_ERR_INVALID, "fsync_interval_ms: only with", 0, 0, 0},
        {",\"ack\":\"written\",\"fsync_interval_ms\":0", FLX_ERR_INVALID,
         "fsync_interval_ms: must be", 0, 0, 0},
        {",\"ack\":\"quorum\"", FLX_ERR_UNSUPPORTED, "ack: quorum needs replicas", 0, 0, 0},
    };
    static const flx_kind kinds[] = {FLX_KIND_STREAM, FLX_KIND_CACHE};
    fixture *fix = *state;
    (void)flx_catalog_store_close(fix->store);
    fix->durable = true;
    assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
    create_place(fix);
    for (size_t n = 0; n < COUNT(rows) * COUNT(kinds); n++) {
        const flx_kind kind = kinds[n / COUNT(rows)];
        const size_t i = n % COUNT(rows);
        char body[256];
        char path[16];
        bool created = false;
        flx_error error = {0};
        (void)snprintf(body, sizeof body, "{\"%s\":\"s%zu\",\"durable\":true%s}",
                       flx_kind_name(kind), i, rows[i].body);
        (void)snprintf(path, sizeof path, "t/n/s%zu", i);
        const flx_status status = create(fix, kind, "t/n", body, &created, &error);
        if (status != rows[i].status ||
            strncmp(error.message, rows[i].message, strlen(rows[i].message)) != 0) {
            fail_msg("%s: %s, '%s'", body, flx_status_name(status), error.message);
        }
        if (status == FLX_OK) {
            flx_entry entry;
            const flx_key key = key_of(path);
            assert_int_equal(flx_catalog_store_get(fix->store, kind, &key, &entry, NULL), FLX_OK);
            assert_true(promise_of(&entry)->durable);
            assert_int_equal(promise_of(&entry)->ack, rows[i].ack);
            assert_int_equal(promise_of(&entry)->fsync, rows[i].fsync);
            assert_int_equal(promise_of(&entry)->fsync_ms, rows[i].fsync_ms);
        }
    }
    flx_entry entry;
    for (size_t i = 0; i < COUNT(kinds);
         i++) { /* less may be asked for later, and the sync follows */
        assert_int_equal(patch(fix, kinds[i], "t/n/s0", "{\"ack\":\"written\"}", &entry, NULL),
                         FLX_OK);
        assert_int_equal(promise_of(&entry)->fsync, FLX_FSYNC_PERIODIC);
        assert_int_equal(promise_of(&entry)->fsync_ms, 250);
        assert_int_equal(patch(fix, kinds[i], "t/n/s0", "{\"durable\":false}", &entry, NULL),
                         FLX_ERR_INVALID);
        assert_int_equal(patch(fix, kinds[i], "t/n/s0", "{\"ack\":\"synced\"}", &entry, NULL),
                         FLX_OK);
        assert_int_equal(promise_of(&entry)->fsync, FLX_FSYNC_ON_COMMIT);
        assert_int_equal(promise_of(&entry)->fsync_ms, 0);
    }
    assert_int_equal(
        patch(fix, FLX_KIND_STREAM, "t/n/s0", "{\"retention\":{\"max_records\":7}}", &entry, NULL),
        FLX_OK);
    assert_int_equal(entry.stream.retention_records, 7);
}

/* README.md, rule 10. */
static void a_place_is_deleted_empty(void **state)
{
    static const struct {
        const char *what;
        flx_kind kind;
        const char *path;
        flx_status status;
        const char *message;
    } rows[] = {
        {"a tenant with a namespace", FLX_KIND_TENANT, "t", FLX_ERR_CONFLICT,
         "tenant 't' is not empty: it holds namespaces"},
        {"a namespace with a stream", FLX_KIND_NAMESPACE, "t/n", FLX_ERR_CONFLICT,
         "namespace 't/n' is not empty: it holds streams or caches"},
        {"the stream", FLX_KIND_STREAM, "t/n/s", FLX_OK, ""},
        {"the stream again", FLX_KIND_STREAM, "t/n/s", FLX_ERR_NOT_FOUND,
         "stream 't/n/s' does not exist"},
        {"the namespace", FLX_KIND_NAMESPACE, "t/n", FLX_OK, ""},
        {"the tenant", FLX_KIND_TENANT, "t", FLX_OK, ""},
        {"no name", FLX_KIND_TENANT, "", FLX_ERR_INVALID, "tenant_id: must be"},
    };
    fixture *fix = *state;
    create_place(fix);
    bool created = false;
    assert_int_equal(create(fix, FLX_KIND_STREAM, "t/n", "{\"stream\":\"s\"}", &created, NULL),
                     FLX_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_error error = {0};
        const flx_key key = key_of(rows[i].path);
        const flx_status status = flx_catalog_store_delete(fix->store, rows[i].kind, &key, &error);
        if (status != rows[i].status ||
            strncmp(error.message, rows[i].message, strlen(rows[i].message)) != 0) {
            fail_msg("%s: %s '%s'", rows[i].what, flx_status_name(status), error.message);
        }
    }
}

/* README.md, rule 5. */
static void a_batch_is_all_or_nothing(void **state)
{
    fixture *fix = *state;
    create_place(fix);
    flx_entry batch[3];
    memset(batch, 0, sizeof batch);
    batch[0].kind = FLX_KIND_STREAM;
    flx_stream_info_init(&batch[0].stream, "t", "n", "a");
    batch[1].kind = FLX_KIND_CACHE;
    flx_cache_info_init(&batch[1].cache, "t", "n", "b");
    batch[2].kind = FLX_KIND_STREAM;
    flx_stream_info_init(&batch[2].stream, "t", "elsewhere", "c");
    bool created[3] = {false, false, false};
    const unsigned told = fix->told;
    assert_int_equal(flx_catalog_store_create(fix->store, batch, 3, created, NULL),
                     FLX_ERR_NOT_FOUND);
    const flx_key key = key_of("t/n/a");
    flx_entry entry;
    assert_int_equal(flx_catalog_store_get(fix->store, FLX_KIND_STREAM, &key, &entry, NULL),
                     FLX_ERR_NOT_FOUND);
    assert_int_equal(fix->told, told);
    assert_int_equal(flx_catalog_store_create(fix->store, batch, 2, created, NULL), FLX_OK);
    assert_true(created[0] && created[1]);
    assert_int_equal(flx_catalog_store_get(fix->store, FLX_KIND_STREAM, &key, &entry, NULL),
                     FLX_OK);
    assert_int_equal(entry.stream.id, 1); /* the batch that failed used no id */
}

static const flx_stream_info *find_stream(const flx_catalog *catalog, const char *path)
{
    const flx_key key = key_of(path);
    return flx_catalog_stream(catalog, key.tenant, key.namespace_, key.name);
}

/* README.md, rule 2. */
static void ids_are_never_used_again(void **state)
{
    fixture *fix = *state;
    create_place(fix);
    bool created = false;
    static const char *const bodies[] = {"{\"stream\":\"a\"}", "{\"stream\":\"b\"}",
                                         "{\"stream\":\"c\"}"};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        assert_int_equal(create(fix, FLX_KIND_STREAM, "t/n", bodies[i], &created, NULL), FLX_OK);
    }
    const flx_key newest = key_of("t/n/c");
    assert_int_equal(flx_catalog_store_delete(fix->store, FLX_KIND_STREAM, &newest, NULL), FLX_OK);
    fix->store = flx_catalog_store_close(fix->store);
    assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
    assert_int_equal(create(fix, FLX_KIND_STREAM, "t/n", bodies[2], &created, NULL), FLX_OK);

    flx_catalog *catalog = NULL;
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &catalog, NULL), FLX_OK);
    assert_int_equal(find_stream(catalog, "t/n/a")->id, 1);
    assert_int_equal(find_stream(catalog, "t/n/b")->id, 2);
    assert_int_equal(find_stream(catalog, "t/n/c")->id, 4); /* not 3 again */
    assert_int_equal(flx_catalog_version(catalog), fix->told_version);
    assert_int_equal(fix->told_version, 7); /* versions go on over a reopen too */

    flx_catalog *same = NULL;
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &same, NULL), FLX_OK);
    assert_ptr_equal(same, catalog);
    (void)flx_catalog_unref(same);
    const flx_key gone = key_of("t/n/a");
    assert_int_equal(flx_catalog_store_delete(fix->store, FLX_KIND_STREAM, &gone, NULL), FLX_OK);
    assert_non_null(find_stream(catalog, "t/n/a")); /* a snapshot never changes */
    (void)flx_catalog_unref(catalog);
}

/* Collects what a list or feed hands out, as "a b c". */
typedef struct collected {
    char text[512];
} collected;

static void append(collected *all, const char *text, size_t len)
{
    const size_t used = strlen(all->text);
    (void)snprintf(all->text + used, sizeof all->text - used, "%s%.*s", used == 0 ? "" : " ",
                   (int)len, text);
}

static flx_status collect_entry(void *arg, const flx_entry *entry)
{
    char text[400];
    const flx_key key = flx_entry_key(entry);
    (void)flx_key_text(&key, text, sizeof text);
    append(arg, text, strlen(text));
    return FLX_OK;
}

static flx_status collect_change(void *arg, const flx_change *change)
{
    char text[128];
    (void)snprintf(text, sizeof text, "%llu:%.*s%s", (unsigned long long)change->seq,
                   (int)change->op.len, (const char *)change->op.ptr,
                   change->object.len == 0 ? "!" : "");
    append(arg, text, strlen(text));
    return FLX_OK;
}

static void lists_page_by_name(void **state)
{
    static const struct {
        const char *what;
        flx_kind kind;
        const char *where, *after; /* NULL: from the first */
        size_t limit;
        const char *listed;
        bool more;
    } rows[] = {
        {"all tenants", FLX_KIND_TENANT, "", NULL, 10, "t u", false},
        {"one tenant", FLX_KIND_TENANT, "", NULL, 1, "t", true},
        {"tenants after", FLX_KIND_TENANT, "", "t", 1, "u", false},
        {"namespaces of a tenant", FLX_KIND_NAMESPACE, "t", NULL, 10, "t/m t/n", false},
        {"streams of a namespace", FLX_KIND_STREAM, "t/n", NULL, 2, "t/n/a t/n/b", true},
        {"the rest", FLX_KIND_STREAM, "t/n", "t/n/b", 2, "t/n/c", false},
        {"an exact page has no more", FLX_KIND_STREAM, "t/n", NULL, 3, "t/n/a t/n/b t/n/c", false},
        {"of another namespace", FLX_KIND_STREAM, "t/m", NULL, 9, "t/m/z", false},
        {"of nowhere", FLX_KIND_STREAM, "u/n", NULL, 9, "", false},
    };
    fixture *fix = *state;
    create_place(fix);
    bool created = false;
    assert_int_equal(create(fix, FLX_KIND_TENANT, "", "{\"tenant_id\":\"u\"}", &created, NULL),
                     FLX_OK);
    assert_int_equal(create(fix, FLX_KIND_NAMESPACE, "t", "{\"namespace\":\"m\"}", &created, NULL),
                     FLX_OK);
    static const char *const bodies[] = {"{\"stream\":\"c\"}", "{\"stream\":\"a\"}",
                                         "{\"stream\":\"b\"}"};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        assert_int_equal(create(fix, FLX_KIND_STREAM, "t/n", bodies[i], &created, NULL), FLX_OK);
    }
    assert_int_equal(create(fix, FLX_KIND_STREAM, "t/m", "{\"stream\":\"z\"}", &created, NULL),
                     FLX_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const flx_key where = key_of(rows[i].where);
        const flx_key after = key_of(rows[i].after == NULL ? "" : rows[i].after);
        collected all = {{0}};
        bool more = false;
        assert_int_equal(flx_catalog_store_list(fix->store, rows[i].kind, &where,
                                                rows[i].after == NULL ? NULL : &after,
                                                rows[i].limit, collect_entry, &all, &more, NULL),
                         FLX_OK);
        if (strcmp(all.text, rows[i].listed) != 0 || more != rows[i].more) {
            fail_msg("%s: '%s' more %d", rows[i].what, all.text, more);
        }
    }
}

/* README.md, rule 7. */
static void the_change_log_is_dense_and_pruned(void **state)
{
    static const struct {
        const char *what;
        uint64_t since;
        size_t limit;
        const char *changes;
        uint64_t next_seq;
    } rows[] = {
        /* since 1: the first is above it, so the consumer takes a fresh snapshot */
        {"pruned away", 1, 9, "3:updated 4:updated 5:deleted!", 6},
        {"all that is kept", 3, 9, "3:updated 4:updated 5:deleted!", 6},
        {"a page", 3, 2, "3:updated 4:updated", 5},
        {"the next page", 5, 2, "5:deleted!", 6},
        {"nothing new", 6, 2, "", 6},
        {"from the future", 99, 2, "", 6},
        {"from the far future", UINT64_MAX, 2, "", 6},
    };
    fixture *fix = *state;
    fix->store = flx_catalog_store_close(fix->store);
    assert_int_equal(open_store(fix, 3, NULL), FLX_OK);
    create_place(fix);
    bool created = false;
    flx_entry entry;
    assert_int_equal(create(fix, FLX_KIND_CACHE, "t/n", "{\"cache\":\"c\"}", &created, NULL),
                     FLX_OK);
    static const char *const patches[] = {"{\"display_name\":\"1\"}", "{\"display_name\":\"2\"}",
                                          "{\"display_name\":\"2\"}", "{\"display_name\":\"3\"}"};
    for (size_t i = 0; i < COUNT(patches); i++) {
        assert_int_equal(patch(fix, FLX_KIND_CACHE, "t/n/c", patches[i], &entry, NULL), FLX_OK);
    }
    const flx_key key = key_of("t/n/c");
    assert_int_equal(flx_catalog_store_delete(fix->store, FLX_KIND_CACHE, &key, NULL), FLX_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        collected all = {{0}};
        uint64_t next_seq = 0;
        assert_int_equal(flx_catalog_store_changes(fix->store, FLX_KIND_CACHE, rows[i].since,
                                                   rows[i].limit, collect_change, &all, &next_seq,
                                                   NULL),
                         FLX_OK);
        if (strcmp(all.text, rows[i].changes) != 0 || next_seq != rows[i].next_seq) {
            fail_msg("%s: '%s' next %llu", rows[i].what, all.text, (unsigned long long)next_seq);
        }
    }
    collected all = {{0}};
    uint64_t next_seq = 0;
    assert_int_equal(flx_catalog_store_feed_snapshot(fix->store, FLX_KIND_NAMESPACE, collect_entry,
                                                     &all, &next_seq, NULL),
                     FLX_OK);
    assert_string_equal(all.text, "t/n");
    assert_int_equal(next_seq, 2);
}

static void *wait_for_tenant(void *arg)
{
    fixture *fix = arg;
    flx_catalog_store_wait(fix->store, FLX_KIND_TENANT, 1, 60000);
    return NULL;
}

static void a_wait_ends_with_the_change(void **state)
{
    fixture *fix = *state;
    pthread_t waiter;
    assert_int_equal(pthread_create(&waiter, NULL, wait_for_tenant, fix), 0);
    create_place(fix);
    assert_int_equal(pthread_join(waiter, NULL), 0);
    flx_catalog_store_wait(fix->store, FLX_KIND_TENANT, 2, 1); /* times out */
    assert_int_equal(pthread_create(&waiter, NULL, wait_for_tenant, fix), 0);
    flx_catalog_store_wake_all(fix->store);
    assert_int_equal(pthread_join(waiter, NULL), 0);
    flx_catalog_store_wait(fix->store, FLX_KIND_TENANT, 99, 60000); /* nothing waits any more */
}

static void has_a_limit_of_entries(void **state)
{
    fixture *fix = *state;
    char body[64];
    flx_error error = {0};
    bool created = false;
    for (int i = 0; i < 50; i++) {
        (void)snprintf(body, sizeof body, "{\"tenant_id\":\"t%d\"}", i);
        assert_int_equal(create(fix, FLX_KIND_TENANT, "", body, &created, NULL), FLX_OK);
    }
    assert_int_equal(create(fix, FLX_KIND_TENANT, "", "{\"tenant_id\":\"u\"}", &created, &error),
                     FLX_ERR_AGAIN);
    assert_string_equal(error.message, "tenant: there are 50, which is the limit");
    const flx_key key = key_of("t7");
    assert_int_equal(flx_catalog_store_delete(fix->store, FLX_KIND_TENANT, &key, NULL), FLX_OK);
    assert_int_equal(create(fix, FLX_KIND_TENANT, "", "{\"tenant_id\":\"u\"}", &created, NULL),
                     FLX_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rules_of_create, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_of_patch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(promises_of_what_is_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_place_is_deleted_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_is_all_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_are_never_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_page_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_change_log_is_dense_and_pruned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wait_ends_with_the_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(has_a_limit_of_entries, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
