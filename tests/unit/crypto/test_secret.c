/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in memory and in files: made once, complete or absent, and nobody else's to read. */
#include "common/alloc.h"
#include "crypto/secret.h"
#include "folder.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_file(const char *path, size_t len, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    uint8_t bytes[256] = {7};
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static void test_memory(void **state)
{
    (void)state;
    flx_secret secret;
    assert_int_equal(
        flx_secret_init_copy(&secret, (flx_slice){(const uint8_t *)"swordfish", 9}, NULL), FLX_OK);
    assert_string_equal((const char *)secret.bytes, "swordfish"); /* terminated */
    flx_secret_done(&secret);
    assert_null(secret.bytes);
    assert_int_equal(secret.len, 0);
    flx_secret_done(&secret); /* twice is fine */
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(flx_equal_ct("abc", "abc", 3));
    assert_false(flx_equal_ct("abc", "abd", 3));
    assert_false(flx_equal_ct("xbc", "abc", 3));
    assert_true(flx_equal_ct(NULL, NULL, 0));
}

static void test_random(void **state)
{
    (void)state;
    uint8_t first[32] = {0};
    uint8_t second[32] = {0};
    assert_int_equal(flx_random(first, sizeof first, NULL), FLX_OK);
    assert_int_equal(flx_random(second, sizeof second, NULL), FLX_OK);
    assert_memory_not_equal(first, second, sizeof first);
    assert_int_equal(flx_random(NULL, 0, NULL), FLX_OK);
}

/* README.md, rule 4. */
static void test_created_then_read(void **state)
{
    (void)state;
    const char *path = path_of("created");
    flx_secret made;
    flx_secret again;
    assert_int_equal(flx_secret_load_or_create(path, 32, &made, NULL), FLX_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(info.st_nlink, 1); /* the temporary name is gone */
    assert_int_equal(flx_secret_load_or_create(path, 32, &again, NULL), FLX_OK);
    assert_memory_equal(made.bytes, again.bytes, 32);
    flx_secret_done(&made);
    flx_secret_done(&again);
}

/* Eight processes start at once; all must end with the same bytes. */
static void test_race(void **state)
{
    (void)state;
    const char *path = path_of("race");
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    for (int i = 0; i < 8; i++) {
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            flx_secret secret;
            const bool ok = flx_secret_load_or_create(path, 32, &secret, NULL) == FLX_OK &&
                            write(pipes[1], secret.bytes, 32) == 32;
            _exit(ok ? 0 : 1);
        }
    }
    uint8_t first[32];
    uint8_t other[32];
    assert_int_equal(read(pipes[0], first, 32), 32);
    for (int i = 1; i < 8; i++) {
        assert_int_equal(read(pipes[0], other, 32), 32);
        assert_memory_equal(first, other, 32);
    }
    for (int i = 0; i < 8; i++) {
        int status = 0;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

/* README.md, rule 4. */
static void test_refused_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t len;
        mode_t mode;
        flx_status expected;
        const char *says;
    } rows[] = {
        {"world-readable", 32, 0644, FLX_ERR_DENIED, "chmod 0600"},
        {"group-writable", 32, 0660, FLX_ERR_DENIED, "chmod 0600"},
        {"group-readable", 32, 0640, FLX_OK, ""}, /* Kubernetes fsGroup */
        {"read-only", 32, 0400, FLX_OK, ""},
        {"short", 31, 0600, FLX_ERR_CORRUPT, "31 bytes, expected 32"},
        {"long", 33, 0600, FLX_ERR_CORRUPT, "33 bytes, expected 32"},
        {"empty", 0, 0600, FLX_ERR_CORRUPT, "0 bytes"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *path = path_of(rows[i].name);
        write_file(path, rows[i].len, rows[i].mode);
        flx_secret secret = {0};
        flx_error error = {0};
        const flx_status status = flx_secret_load_or_create(path, 32, &secret, &error);
        if (status != rows[i].expected || strstr(error.message, rows[i].says) == NULL) {
            fail_msg("%s: %s, '%s'", rows[i].name, flx_status_name(status), error.message);
        }
        flx_secret_done(&secret);
    }
}

static void test_not_a_file(void **state)
{
    (void)state;
    flx_secret secret;
    flx_error error;
    assert_int_equal(flx_secret_load_or_create(folder, 32, &secret, &error), FLX_ERR_CORRUPT);
    assert_int_equal(flx_secret_load(path_of("none"), 64, &secret, &error), FLX_ERR_NOT_FOUND);
    assert_int_equal(flx_secret_load_or_create(path_of("no/folder"), 32, &secret, &error),
                     FLX_ERR_IO);
    assert_int_equal(error.sys_errno, ENOENT);
}

static void test_without_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        char name[32];
        (void)snprintf(name, sizeof name, "nomem-%u", (unsigned)nth);
        flx_secret secret = {0};
        flx_alloc_fail_nth(nth);
        const flx_status status = flx_secret_load_or_create(path_of(name), 32, &secret, NULL);
        failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        assert_int_equal(status, failed ? FLX_ERR_NOMEM : FLX_OK);
        flx_secret_done(&secret);
        assert_true(nth < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),     cmocka_unit_test(test_equal),
        cmocka_unit_test(test_random),     cmocka_unit_test(test_created_then_read),
        cmocka_unit_test(test_race),       cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_not_a_file), cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
