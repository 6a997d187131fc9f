/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to records: every byte arrives once, whatever the reads and the batches are. */
#include "lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* Feeds `text` in pieces and writes records as <a><b>, batches ended by |. */
static void cut(const char *text, size_t len, size_t piece, size_t count_max, size_t bytes_max,
                char *ret_seen, size_t cap)
{
    cli_lines lines;
    size_t seen = 0;
    const flx_slice *records = NULL;
    size_t count = 0;
    assert_int_equal(cli_lines_init(&lines, count_max, bytes_max, 1000, NULL), FLX_OK);
    for (size_t at = 0; at <= len; at += piece) {
        uint8_t *room = NULL;
        size_t room_len = 0;
        const size_t part = len - at < piece ? len - at : piece;
        assert_int_equal(cli_lines_room(&lines, &room, &room_len, NULL), FLX_OK);
        assert_true(room_len >= part);
        memcpy(room, text + at, part);
        cli_lines_filled(&lines, part);
        if (at + piece > len) {
            cli_lines_finish(&lines);
        }
        while ((count = cli_lines_take(&lines, false, &records)) > 0) {
            for (size_t i = 0; i < count; i++) {
                seen += (size_t)snprintf(ret_seen + seen, cap - seen, "<%.*s>", (int)records[i].len,
                                         (const char *)records[i].ptr);
            }
            seen += (size_t)snprintf(ret_seen + seen, cap - seen, "|");
        }
    }
    assert_false(cli_lines_waits(&lines));
    cli_lines_done(&lines);
}

typedef struct cut_row {
    const char *name;
    const char *text;
    const char *records;
} cut_row;

static void a_line_is_a_record_however_it_was_read(void **state)
{
    (void)state;
    static const cut_row rows[] = {
        {"nothing", "", ""},
        {"one line", "a\n", "<a>|"},
        {"no newline at the end", "a\nb", "<a><b>|"},
        {"empty lines are records", "\n\na\n\n", "<><><a><>|"},
        {"carriage returns stay", "a\r\nb\n", "<a\r><b>|"},
        {"batches of four", "1\n2\n3\n4\n5\n6\n", "<1><2><3><4>|<5><6>|"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t piece = 1; piece <= 16; piece++) {
            char seen[256] = "";
            cut(rows[i].text, strlen(rows[i].text), piece, 4, 100, seen, sizeof seen);
            if (strcmp(seen, rows[i].records) != 0) {
                fail_msg("%s, read by %zu: %s", rows[i].name, piece, seen);
            }
        }
    }
}

static void batches_keep_to_their_bytes(void **state)
{
    (void)state;
    char seen[256] = "";
    cut("aaaa\nbb\nccccccccccccc\ndd\ne\n", 27, 64, 100, 6, seen, sizeof seen);
    assert_string_equal(seen, "<aaaa><bb>|<ccccccccccccc>|<dd><e>|");
}

static void any_byte_may_be_in_a_line(void **state)
{
    (void)state;
    cli_lines lines;
    uint8_t *room = NULL;
    size_t room_len = 0;
    const flx_slice *records = NULL;
    static const uint8_t bytes[] = {0, 1, 255, '\n', 0, '\n'};
    assert_int_equal(cli_lines_init(&lines, 4, 100, 100, NULL), FLX_OK);
    assert_int_equal(cli_lines_room(&lines, &room, &room_len, NULL), FLX_OK);
    memcpy(room, bytes, sizeof bytes);
    cli_lines_filled(&lines, sizeof bytes);
    assert_int_equal(cli_lines_take(&lines, true, &records), 2);
    assert_memory_equal(records[0].ptr, bytes, 3);
    assert_int_equal(records[0].len, 3);
    assert_int_equal(records[1].len, 1);
    cli_lines_done(&lines);
}

static void lines_wait_for_their_batch_until_flushed(void **state)
{
    (void)state;
    cli_lines lines;
    uint8_t *room = NULL;
    size_t room_len = 0;
    const flx_slice *records = NULL;
    assert_int_equal(cli_lines_init(&lines, 4, 100, 100, NULL), FLX_OK);
    assert_int_equal(cli_lines_room(&lines, &room, &room_len, NULL), FLX_OK);
    memcpy(room, "a\nb\nopen", 8);
    cli_lines_filled(&lines, 8);
    assert_int_equal(cli_lines_take(&lines, false, &records), 0);
    assert_true(cli_lines_waits(&lines));
    assert_int_equal(cli_lines_take(&lines, true, &records), 2);
    assert_false(cli_lines_waits(&lines));
    assert_int_equal(cli_lines_take(&lines, true, &records), 0); /* the open line stays */
    cli_lines_finish(&lines);
    assert_int_equal(cli_lines_take(&lines, true, &records), 1);
    assert_memory_equal(records[0].ptr, "open", 4);
    cli_lines_done(&lines);
}

static void a_line_that_is_too_long_is_named(void **state)
{
    (void)state;
    cli_lines lines;
    uint8_t *room = NULL;
    size_t room_len = 0;
    const flx_slice *records = NULL;
    flx_error error = {0};
    assert_int_equal(cli_lines_init(&lines, 4, 100, 1000, NULL), FLX_OK);
    assert_int_equal(cli_lines_room(&lines, &room, &room_len, NULL), FLX_OK);
    memset(room, 'x', 2000);
    memcpy(room, "a\nb\n", 4);
    cli_lines_filled(&lines, 2000);
    assert_int_equal(cli_lines_take(&lines, true, &records), 2);
    assert_int_equal(cli_lines_room(&lines, &room, &room_len, &error), FLX_ERR_TOO_LARGE);
    assert_string_equal(error.message, "line 3 is longer than 1000 bytes");
    cli_lines_done(&lines);
}

/* Ten megabytes through a buffer of half a one: it moves and grows, and nothing is lost. */
static void long_inputs_go_through(void **state)
{
    (void)state;
    cli_lines lines;
    const flx_slice *records = NULL;
    uint64_t fed = 0;
    uint64_t taken = 0;
    size_t count = 0;
    assert_int_equal(cli_lines_init(&lines, 100, 300000, 20000000, NULL), FLX_OK);
    for (int i = 0; i < 100; i++) {
        uint8_t *room = NULL;
        size_t room_len = 0;
        assert_int_equal(cli_lines_room(&lines, &room, &room_len, NULL), FLX_OK);
        room_len = room_len < 100000 ? room_len : 100000;
        memset(room, 'x', room_len);
        room[room_len / 2] = i % 7 == 0 ? '\n' : 'y'; /* lines of about 700 kB */
        fed += room_len - (i % 7 == 0 ? 1 : 0);
        cli_lines_filled(&lines, room_len);
        if (i == 99) {
            cli_lines_finish(&lines);
        }
        while ((count = cli_lines_take(&lines, true, &records)) > 0) {
            for (size_t j = 0; j < count; j++) {
                taken += records[j].len;
            }
        }
    }
    assert_int_equal(taken, fed);
    assert_int_equal(lines.line, 16);
    cli_lines_done(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_a_record_however_it_was_read),
        cmocka_unit_test(batches_keep_to_their_bytes),
        cmocka_unit_test(any_byte_may_be_in_a_line),
        cmocka_unit_test(lines_wait_for_their_batch_until_flushed),
        cmocka_unit_test(a_line_that_is_too_long_is_named),
        cmocka_unit_test(long_inputs_go_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
