/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the embedded store: whose it is, what is refused, what a failing world leaves. */
#include "common/alloc.h"
#include "store_rig.h"

#include <malloc.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void file_path(const fixture *fix, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", fix->directory, FLX_STORE_FILE);
}

/* README.md, rule 9. */
static void the_file_is_private_and_held(void **state)
{
    fixture *fix = *state;
    char path[128];
    struct stat info;
    file_path(fix, path, sizeof path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    fixture second = *fix;
    flx_error error = {0};
    assert_int_equal(open_store(&second, 0, &error), FLX_ERR_UNAVAILABLE);
    assert_non_null(strstr(error.message, "another process is using it"));

    fix->store = flx_catalog_store_close(fix->store);
    assert_int_equal(chmod(path, 0644), 0); /* a restored backup, say */
    assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void write_file(const char *path, const void *bytes, size_t len, long at)
{
    FILE *file = fopen(path, at < 0 ? "wb" : "r+b");
    assert_non_null(file);
    if (at > 0) {
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
    }
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static size_t read_file(const char *path, char *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t len = fread(bytes, 1, size, file);
    (void)fclose(file);
    return len;
}

/* README.md, rule 8. */
static void a_wrong_file_is_left_alone(void **state)
{
    static const struct {
        const char *what, *bytes, *sql; /* one of them makes the file */
        flx_status status;
        const char *message;
    } rows[] = {
        {"not a database",
         "these are somebody's notes, longer than a header of 100 bytes would "
         "be, so that nobody takes them for an empty file",
         NULL, FLX_ERR_CORRUPT, "not a database"},
        {"somebody's database", NULL, "CREATE TABLE notes(text)", FLX_ERR_CORRUPT,
         "not a Felix catalog"},
        {"another application's", NULL, "PRAGMA application_id = 77; CREATE TABLE t(a)",
         FLX_ERR_CORRUPT, "not a Felix catalog"},
    };
    fixture *fix = *state;
    char path[128];
    static char before[65536];
    static char after[65536];
    file_path(fix, path, sizeof path);
    for (size_t i = 0; i < COUNT(rows); i++) {
        fix->store = flx_catalog_store_close(fix->store);
        remove_files(fix);
        if (rows[i].bytes != NULL) {
            write_file(path, rows[i].bytes, strlen(rows[i].bytes), -1);
        } else {
            run_sql(path, rows[i].sql);
        }
        const size_t len = read_file(path, before, sizeof before);
        flx_error error = {0};
        const flx_status status = open_store(fix, 0, &error);
        if (status != rows[i].status || strstr(error.message, rows[i].message) == NULL) {
            fail_msg("%s: %s '%s'", rows[i].what, flx_status_name(status), error.message);
        }
        assert_int_equal(read_file(path, after, sizeof after), len);
        assert_memory_equal(before, after, len);
    }
}

/* Durable caches of before schema 5, which all answered when they were synced, promise just that. */
static void caches_of_an_older_schema(void **state)
{
    fixture *fix = *state;
    char path[128];
    file_path(fix, path, sizeof path);
    create_place(fix);
    fix->store = flx_catalog_store_close(fix->store);
    run_sql(path, "DELETE FROM migrations WHERE version = 5;"
                  "ALTER TABLE caches DROP COLUMN ack;"
                  "ALTER TABLE caches DROP COLUMN fsync;"
                  "ALTER TABLE caches DROP COLUMN fsync_ms;"
                  "INSERT INTO caches VALUES(1,'t','n','memory','m',1,1,'Leader',0),"
                  "(2,'t','n','disk','d',1,1,'Leader',1)");
    assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
    flx_entry entry;
    flx_key key = key_of("t/n/memory");
    assert_int_equal(flx_catalog_store_get(fix->store, FLX_KIND_CACHE, &key, &entry, NULL), FLX_OK);
    assert_int_equal(entry.cache.promise.ack, FLX_ACK_ACCEPTED);
    key = key_of("t/n/disk");
    assert_int_equal(flx_catalog_store_get(fix->store, FLX_KIND_CACHE, &key, &entry, NULL), FLX_OK);
    assert_int_equal(entry.cache.promise.ack, FLX_ACK_SYNCED);
    assert_int_equal(entry.cache.promise.fsync, FLX_FSYNC_ON_COMMIT);
}

/* README.md, rule 8. */
static void a_newer_or_damaged_catalog_is_refused(void **state)
{
    fixture *fix = *state;
    char path[128];
    file_path(fix, path, sizeof path);
    create_place(fix);
    fix->store = flx_catalog_store_close(fix->store);

    flx_error error = {0};
    run_sql(path, "INSERT INTO migrations VALUES(99, 0)");
    assert_int_equal(open_store(fix, 0, &error), FLX_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "schema 99"));
    run_sql(path, "DELETE FROM migrations WHERE version = 99");

    /* A row that could not have been written by us is found when it is read. */
    run_sql(path, "INSERT INTO streams VALUES(9,'t','n','s',0,1,0,0,0,0,0,0,'Stream','Leader',"
                  "'AtMostOnce','',0,0,0)");
    assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
    flx_catalog *catalog = NULL;
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &catalog, &error), FLX_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "a stream row is damaged: shards: must be 1..1024"));
    fix->store = flx_catalog_store_close(fix->store);

    char noise[4096];
    memset(noise, 0xa5, sizeof noise);
    write_file(path, noise, sizeof noise, 4096); /* the second page */
    assert_int_equal(open_store(fix, 0, &error), FLX_ERR_CORRUPT);
}

/* Nothing can be written beyond `bytes` in any file of this process. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* README.md, rule 5. */
static void a_full_disk_loses_nothing_acknowledged(void **state)
{
    fixture *fix = *state;
    (void)signal(SIGXFSZ, SIG_IGN);
    create_place(fix);
    char body[64];
    flx_error error = {0};
    bool created = false;
    int acknowledged = 0;
    flx_status status = FLX_OK;
    limit_files(400 * 1024);
    for (int i = 0; status == FLX_OK && i < 49; i++) {
        (void)snprintf(body, sizeof body, "{\"stream\":\"s%d\"}", i);
        status = create(fix, FLX_KIND_STREAM, "t/n", body, &created, &error);
        acknowledged += status == FLX_OK;
    }
    limit_files(RLIM_INFINITY);
    assert_int_equal(status, FLX_ERR_IO);
    assert_non_null(strstr(error.message, FLX_STORE_FILE));
    assert_true(acknowledged > 0);

    flx_catalog *catalog = NULL;
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &catalog, NULL), FLX_OK);
    assert_int_equal(flx_catalog_stream_count(catalog), acknowledged);
    (void)flx_catalog_unref(catalog);
    /* With room again it goes on, and the file agrees with what was said. */
    assert_int_equal(create(fix, FLX_KIND_STREAM, "t/n", body, &created, NULL), FLX_OK);
    assert_true(created);
    fix->store = flx_catalog_store_close(fix->store);
    assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &catalog, NULL), FLX_OK);
    assert_int_equal(flx_catalog_stream_count(catalog), acknowledged + 1);
    (void)flx_catalog_unref(catalog);
}

/* ---- a disk that fails on demand: SQLite's own file layer with two calls of ours in it ---- */

static struct {
    sqlite3_vfs vfs;
    const sqlite3_vfs *below;
    /* 0: the database, which is locked; 1: WAL and journal, which are not. xWrite and xSync below
     * are the same for both. */
    sqlite3_io_methods methods[2];
    const sqlite3_io_methods *below_methods;
    int count;   /* writes and syncs so far */
    int fail_at; /* the one that fails; 0: none */
    bool failed;
    bool sync_failed;
} disk;

static bool disk_fails(void)
{
    disk.count++;
    disk.failed = disk.failed || disk.count == disk.fail_at;
    return disk.count == disk.fail_at;
}

static int disk_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
    return disk_fails() ? SQLITE_IOERR_WRITE : disk.below_methods->xWrite(file, bytes, len, offset);
}

static int disk_sync(sqlite3_file *file, int flags)
{
    if (disk_fails()) {
        disk.sync_failed = true;
        return SQLITE_IOERR_FSYNC;
    }
    return disk.below_methods->xSync(file, flags);
}

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    (void)vfs;
    const int code =
        disk.below->xOpen((sqlite3_vfs *)(uintptr_t)disk.below, name, file, flags, ret_flags);
    if (code == SQLITE_OK && file->pMethods != NULL) {
        sqlite3_io_methods *methods = &disk.methods[(flags & SQLITE_OPEN_MAIN_DB) != 0 ? 0 : 1];
        disk.below_methods = file->pMethods;
        *methods = *file->pMethods;
        methods->xWrite = disk_write;
        methods->xSync = disk_sync;
        file->pMethods = methods;
    }
    return code;
}

static void disk_install(void)
{
    disk.below = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.below;
    disk.vfs.zName = "failing";
    disk.vfs.pNext = NULL;
    disk.vfs.xOpen = disk_open;
    assert_int_equal(sqlite3_vfs_register(&disk.vfs, 1), SQLITE_OK);
}

static void disk_remove(void)
{
    assert_int_equal(sqlite3_vfs_unregister(&disk.vfs), SQLITE_OK);
}

static size_t count_streams(fixture *fix)
{
    flx_catalog *catalog = NULL;
    assert_int_equal(flx_catalog_store_snapshot(fix->store, &catalog, NULL), FLX_OK);
    const size_t count = flx_catalog_stream_count(catalog);
    (void)flx_catalog_unref(catalog);
    return count;
}

/*
 * The Nth write or sync fails, for every N of two creates: the call says so, what was answered is
 * there, what was refused is not (a failed sync excepted, whose outcome only a reopen can tell), and
 * after a failed sync nothing is written until the store is opened again.
 */
static void keeps_its_word_on_a_failing_disk(void **state)
{
    fixture *fix = *state;
    bool met_failed_sync = false;
    fix->store = flx_catalog_store_close(fix->store);
    disk_install();
    for (int nth = 1;; nth++) {
        remove_files(fix);
        assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
        create_place(fix);
        disk.count = 0;
        disk.fail_at = nth;
        disk.failed = false;
        disk.sync_failed = false;
        bool created = false;
        const flx_status first =
            create(fix, FLX_KIND_STREAM, "t/n", "{\"stream\":\"a\"}", &created, NULL);
        const flx_status second =
            create(fix, FLX_KIND_STREAM, "t/n", "{\"stream\":\"b\"}", &created, NULL);
        disk.fail_at = 0;
        const size_t answered = (size_t)(first == FLX_OK) + (size_t)(second == FLX_OK);
        assert_true(first == FLX_OK || first == FLX_ERR_IO);
        assert_true(second == FLX_OK || second == FLX_ERR_IO);
        assert_int_equal(count_streams(fix), answered);
        if (disk.sync_failed) {
            flx_error error = {0};
            met_failed_sync = true;
            assert_int_equal(
                create(fix, FLX_KIND_STREAM, "t/n", "{\"stream\":\"c\"}", &created, &error),
                FLX_ERR_IO);
            assert_non_null(strstr(error.message, "an earlier sync failed"));
        }
        fix->store = flx_catalog_store_close(fix->store);
        assert_int_equal(open_store(fix, 0, NULL), FLX_OK);
        const size_t there = count_streams(fix);
        assert_true(there >= answered && there <= answered + (disk.sync_failed ? 1 : 0));
        fix->store = flx_catalog_store_close(fix->store);
        if (!disk.failed) {
            assert_int_equal(answered, 2);
            break;
        }
        assert_true(answered < 2);
    }
    disk_remove();
    assert_true(met_failed_sync);
}

/* SQLite's memory from our door too, so that a fault loop reaches into it. */
static void *sqlite_malloc(int size)
{
    return flx_alloc((size_t)size);
}
static void *sqlite_realloc(void *memory, int size)
{
    return flx_realloc(memory, (size_t)size);
}
static int sqlite_size(void *memory)
{
    return (int)malloc_usable_size(memory);
}
static int sqlite_roundup(int size)
{
    return (size + 7) & ~7;
}
static int sqlite_init(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}
static void sqlite_shutdown(void *arg)
{
    (void)arg;
}

/* Opens, creates, reads; the first failure ends it. */
static flx_status walk(fixture *fix)
{
    flx_status status = open_store(fix, 0, NULL);
    flx_entry entry;
    memset(&entry, 0, sizeof entry);
    if (status == FLX_OK) {
        entry.kind = FLX_KIND_TENANT;
        memcpy(entry.tenant.tenant, "t", 2);
        status = flx_catalog_store_create(fix->store, &entry, 1, NULL, NULL);
    }
    if (status == FLX_OK) {
        memset(&entry, 0, sizeof entry);
        entry.kind = FLX_KIND_NAMESPACE;
        memcpy(entry.namespace_.tenant, "t", 2);
        memcpy(entry.namespace_.namespace_, "n", 2);
        status = flx_catalog_store_create(fix->store, &entry, 1, NULL, NULL);
    }
    if (status == FLX_OK) {
        memset(&entry, 0, sizeof entry);
        entry.kind = FLX_KIND_STREAM;
        flx_stream_info_init(&entry.stream, "t", "n", "s");
        status = flx_catalog_store_create(fix->store, &entry, 1, NULL, NULL);
    }
    flx_catalog *catalog = NULL;
    if (status == FLX_OK) {
        status = flx_catalog_store_snapshot(fix->store, &catalog, NULL);
    }
    if (status == FLX_OK) {
        assert_int_equal(flx_catalog_stream_count(catalog), 1);
    }
    (void)flx_catalog_unref(catalog);
    return status;
}

/* Whatever allocation fails: the call says so, or did without; a second walk then succeeds. */
static void survives_failed_allocations(void **state)
{
    fixture *fix = *state;
    fix->store = flx_catalog_store_close(fix->store);
    uint64_t step = 1;
    for (uint64_t nth = 1;; nth += step) {
        remove_files(fix);
        flx_alloc_fail_nth(nth);
        const flx_status status = walk(fix);
        const int failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        if (status != FLX_OK && (status != FLX_ERR_NOMEM || !failed)) {
            fail_msg("allocation %llu: %s", (unsigned long long)nth, flx_status_name(status));
        }
        fix->store = flx_catalog_store_close(fix->store);
        if (status != FLX_OK) {
            assert_int_equal(walk(fix), FLX_OK);
            fix->store = flx_catalog_store_close(fix->store);
        }
        if (!failed) {
            assert_true(nth > 100);
            return;
        }
        step = nth < 40 ? 1 : 7; /* a prime step keeps the loop short and meets every phase */
    }
}

int main(void)
{
    const sqlite3_mem_methods memory = {sqlite_malloc,  flx_free,    sqlite_realloc,  sqlite_size,
                                        sqlite_roundup, sqlite_init, sqlite_shutdown, NULL};
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) != SQLITE_OK) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_file_is_private_and_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_file_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_or_damaged_catalog_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(caches_of_an_older_schema, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_its_word_on_a_failing_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_failed_allocations, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
