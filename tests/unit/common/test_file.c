/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers and small files: bounds, atomic replacement, directories, failures. */
#include "common/alloc.h"
#include "common/buffer.h"
#include "common/file.h"
#include "folder.h"
#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t names_in_folder(void)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    size_t count = 0;
    while (readdir(directory) != NULL) {
        count++;
    }
    (void)closedir(directory);
    return count - 2; /* . and .. */
}

static void test_buffer_bounds(void **state)
{
    (void)state;
    flx_buffer buffer;
    flx_buffer_init(&buffer, 1000);
    assert_int_equal(flx_buffer_append_text(&buffer, "hello"), FLX_OK);
    assert_int_equal(flx_buffer_printf(&buffer, " %d", 42), FLX_OK);
    assert_string_equal(flx_buffer_text(&buffer), "hello 42");
    assert_int_equal(flx_buffer_printf(&buffer, "%0600d", 7), FLX_OK);
    assert_int_equal(buffer.len, 608);
    assert_int_equal(flx_buffer_printf(&buffer, "%0600d", 7), FLX_ERR_TOO_LARGE);
    assert_int_equal(buffer.len, 608);
    flx_buffer_consume(&buffer, 6);
    assert_memory_equal(buffer.data, "42000", 5);
    uint8_t *room = NULL;
    assert_int_equal(flx_buffer_reserve(&buffer, 398, &room), FLX_OK); /* exactly full */
    buffer.len += 398;
    assert_int_equal(flx_buffer_append(&buffer, "x", 1), FLX_ERR_TOO_LARGE);
    assert_null(flx_buffer_text(&buffer));
    flx_buffer_consume(&buffer, 1000);
    assert_int_equal(buffer.len, 0);
    flx_buffer_done(&buffer);
    flx_alloc_fail_nth(1);
    assert_int_equal(flx_buffer_append(&buffer, "x", 1), FLX_ERR_NOMEM);
    flx_alloc_fail_nth(0);
    flx_buffer_done(&buffer);
}

static void expect_content(const char *path, const char *content)
{
    flx_buffer buffer;
    flx_error error;
    flx_buffer_init(&buffer, 100);
    assert_int_equal(flx_file_read(path, &buffer, &error), FLX_OK);
    assert_string_equal(flx_buffer_text(&buffer), content);
    flx_buffer_done(&buffer);
}

static void test_write_then_read(void **state)
{
    (void)state;
    flx_error error;
    struct stat info;
    const char *path = path_of("state.json");
    assert_int_equal(flx_file_write_atomic(path, slice_of("one"), 0600, &error), FLX_OK);
    expect_content(path, "one");
    assert_int_equal(flx_file_write_atomic(path, slice_of("two, longer"), 0640, &error), FLX_OK);
    expect_content(path, "two, longer");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(flx_file_write_atomic(path, slice_of(""), 0600, &error), FLX_OK);
    expect_content(path, "");
    assert_int_equal(names_in_folder(), 1); /* no temporary file is left */
}

static void test_creating_destroys_nothing(void **state)
{
    (void)state;
    flx_error error;
    struct stat info;
    const char *path = path_of("key");
    const size_t names = names_in_folder();
    assert_int_equal(flx_file_create_atomic(path, slice_of("first"), 0600, &error), FLX_OK);
    assert_int_equal(flx_file_create_atomic(path, slice_of("second"), 0644, &error),
                     FLX_ERR_CONFLICT);
    expect_content(path, "first");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(names_in_folder(), names + 1); /* no temporary file is left */
    assert_int_equal(flx_file_create_atomic(path_of("no/such"), slice_of("x"), 0600, &error),
                     FLX_ERR_IO);
}

static void test_read_limits(void **state)
{
    (void)state;
    flx_error error;
    const char *path = path_of("plain");
    assert_int_equal(flx_file_write_atomic(path, slice_of("0123456789"), 0600, &error), FLX_OK);
    const struct {
        size_t max;
        flx_status status;
    } rows[] = {{10, FLX_OK}, {11, FLX_OK}, {9, FLX_ERR_TOO_LARGE}, {0, FLX_ERR_TOO_LARGE}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_buffer buffer;
        flx_buffer_init(&buffer, rows[i].max);
        assert_int_equal(flx_file_read(path, &buffer, &error), rows[i].status);
        assert_int_equal(buffer.len, rows[i].status == FLX_OK ? 10 : 0);
        flx_buffer_done(&buffer);
    }
}

static void test_failures_are_told_apart(void **state)
{
    (void)state;
    flx_error error = {0};
    flx_buffer buffer;
    flx_buffer_init(&buffer, 100);
    assert_int_equal(flx_file_read(path_of("missing"), &buffer, &error), FLX_ERR_NOT_FOUND);
    assert_int_equal(error.status, FLX_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "missing"));
    assert_int_equal(flx_file_read(folder, &buffer, &error), FLX_ERR_INVALID);
    assert_int_equal(flx_file_write_atomic(path_of("no/such"), slice_of("x"), 0600, &error),
                     FLX_ERR_IO);
    flx_alloc_fail_nth(1);
    assert_int_equal(flx_file_read(path_of("plain"), &buffer, &error), FLX_ERR_NOMEM);
    flx_alloc_fail_nth(0);
    flx_buffer_done(&buffer);
}

static void test_directories(void **state)
{
    (void)state;
    flx_error error;
    struct stat info;
    assert_int_equal(flx_dir_make(path_of("a/b//c/"), &error), FLX_OK);
    assert_int_equal(flx_dir_make(path_of("a/b/c"), &error), FLX_OK); /* it exists: fine */
    assert_int_equal(stat(path_of("a/b"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(flx_dir_make("/", &error), FLX_OK);
    assert_int_equal(flx_dir_make("", &error), FLX_ERR_INVALID);
    assert_int_equal(flx_dir_make(path_of("plain"), &error), FLX_ERR_CONFLICT);
    assert_int_equal(flx_dir_make(path_of("plain/below"), &error), FLX_ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer_bounds),
        cmocka_unit_test(test_write_then_read),
        cmocka_unit_test(test_creating_destroys_nothing),
        cmocka_unit_test(test_read_limits),
        cmocka_unit_test(test_failures_are_told_apart),
        cmocka_unit_test(test_directories),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
