/* SPDX-License-Identifier: Apache-2.0 */
/* One description, seven formats; records as JSON; starts and times as people write them. */
#include "output.h"
#include "record.h"
#include "timespec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static const cli_column columns[] = {{"NAME", "name", false, 0},
                                     {"SHARDS", "shards", false, 0},
                                     {"OWNERS", "owners", true, 0},
                                     {NULL, NULL, false, 0}};

static char *render(cli_format format, cli_shape shape, size_t rows)
{
    char *text = NULL;
    size_t len = 0;
    cli_out out;
    FILE *file = open_memstream(&text, &len);
    assert_non_null(file);
    cli_out_begin(&out, file, format, shape, columns, "name", false);
    if (rows > 0) {
        cli_out_row(&out, json_pack("{s:s, s:i, s:[s,s]}", "name", "orders", "shards", 12, "owners",
                                    "a", "b"));
    }
    if (rows > 1) {
        cli_out_row(&out, json_pack("{s:s, s:n, s:[]}", "name", "x\ty", "shards", "owners"));
    }
    assert_true(cli_out_end(&out));
    (void)fclose(file);
    return text;
}

typedef struct format_row {
    const char *name;
    cli_format format;
    cli_shape shape;
    size_t rows;
    const char *text;
} format_row;

static const format_row format_rows[] = {
    {"table", CLI_FORMAT_TABLE, CLI_SHAPE_LIST, 2, "NAME    SHARDS\norders  12\nx\\ty    -\n"},
    {"wide", CLI_FORMAT_WIDE, CLI_SHAPE_LIST, 2,
     "NAME    SHARDS  OWNERS\norders  12      a,b\nx\\ty    -       -\n"},
    {"an empty table is nothing", CLI_FORMAT_TABLE, CLI_SHAPE_LIST, 0, ""},
    {"upright", CLI_FORMAT_TABLE, CLI_SHAPE_ONE, 1, "NAME:    orders\nSHARDS:  12\nOWNERS:  a,b\n"},
    {"json list", CLI_FORMAT_JSON, CLI_SHAPE_LIST, 2,
     "[\n{\"name\":\"orders\",\"shards\":12,\"owners\":[\"a\",\"b\"]},\n"
     "{\"name\":\"x\\ty\",\"shards\":null,\"owners\":[]}\n]\n"},
    {"empty json list", CLI_FORMAT_JSON, CLI_SHAPE_LIST, 0, "[]\n"},
    {"jsonl", CLI_FORMAT_JSONL, CLI_SHAPE_STREAM, 1,
     "{\"name\":\"orders\",\"shards\":12,\"owners\":[\"a\",\"b\"]}\n"},
    {"yaml list", CLI_FORMAT_YAML, CLI_SHAPE_LIST, 2,
     "- name: \"orders\"\n  shards: 12\n  owners:\n    - \"a\"\n    - \"b\"\n"
     "- name: \"x\\ty\"\n  shards: null\n  owners: []\n"},
    {"yaml object", CLI_FORMAT_YAML, CLI_SHAPE_ONE, 1,
     "name: \"orders\"\nshards: 12\nowners:\n  - \"a\"\n  - \"b\"\n"},
    {"name", CLI_FORMAT_NAME, CLI_SHAPE_LIST, 2, "orders\nx\ty\n"},
    {"stream table", CLI_FORMAT_TABLE, CLI_SHAPE_STREAM, 1, "NAME  SHARDS\norders 12\n"},
};

static void each_format_says_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof format_rows / sizeof format_rows[0]; i++) {
        const format_row *row = &format_rows[i];
        char *text = render(row->format, row->shape, row->rows);
        if (strcmp(text, row->text) != 0) {
            fail_msg("%s:\n%s", row->name, text);
        }
        free(text);
    }
}

static void formats_are_known_by_name(void **state)
{
    (void)state;
    cli_format format = CLI_FORMAT_TABLE;
    assert_true(cli_format_parse("jsonl", &format));
    assert_int_equal(format, CLI_FORMAT_JSONL);
    assert_false(cli_format_parse("xml", &format));
}

typedef struct record_row {
    const char *payload;
    size_t len;
    const char *json;
} record_row;

static void payloads_are_text_or_base64(void **state)
{
    (void)state;
    static const record_row rows[] = {
        {"hello", 5, "{\"shard\":3,\"offset\":7,\"payload\":\"hello\"}"},
        {"", 0, "{\"shard\":3,\"offset\":7,\"payload\":\"\"}"},
        {"\xc3\xa9", 2, "{\"shard\":3,\"offset\":7,\"payload\":\"\xc3\xa9\"}"},
        {"\xff", 1, "{\"shard\":3,\"offset\":7,\"payload_base64\":\"/w==\"}"},
        {"a\0b", 3, "{\"shard\":3,\"offset\":7,\"payload_base64\":\"YQBi\"}"},
        {"\xc0\x80", 2, "{\"shard\":3,\"offset\":7,\"payload_base64\":\"wIA=\"}"},
        {"\xed\xa0\x80", 3, "{\"shard\":3,\"offset\":7,\"payload_base64\":\"7aCA\"}"},
        {"\xe2\x82", 2, "{\"shard\":3,\"offset\":7,\"payload_base64\":\"4oI=\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const flx_message message = {.shard = 3,
                                     .has_offset = true,
                                     .offset = 7,
                                     .payload = {(const uint8_t *)rows[i].payload, rows[i].len}};
        json_t *json = cli_record_json(&message);
        char *text = json_dumps(json, JSON_COMPACT);
        assert_string_equal(text, rows[i].json);
        free(text);
        json_decref(json);
    }
}

static void gaps_say_what_is_missing(void **state)
{
    (void)state;
    const flx_message gap = {.kind = FLX_MESSAGE_GAP,
                             .gap_reason = FLX_GAP_LAGGED,
                             .shard = 1,
                             .has_offset = true,
                             .offset = 5,
                             .gap_end = 125};
    json_t *json = cli_gap_json(&gap);
    char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text, "{\"notice\":\"gap\",\"reason\":\"lagged\",\"shard\":1,\"offset\":5,"
                              "\"gap_end\":125,\"missed\":120}");
    free(text);
    json_decref(json);
}

#define NOW_US UINT64_C(1769860800000000) /* 2026-01-31T12:00:00Z */

typedef struct from_row {
    const char *text;
    cli_from from;
} from_row;

static void starts_are_read_as_people_write_them(void **state)
{
    (void)state;
    static const from_row rows[] = {
        {"latest", {CLI_FROM_LATEST, 0, 0}},
        {"earliest", {CLI_FROM_EARLIEST, 0, 0}},
        {"0", {CLI_FROM_OFFSET, 0, 0}},
        {"18446744073709551615", {CLI_FROM_OFFSET, UINT64_MAX, 0}},
        {"2h", {CLI_FROM_TIME, 0, NOW_US - UINT64_C(7200000000)}},
        {"250ms", {CLI_FROM_TIME, 0, NOW_US - 250000}},
        {"99999d", {CLI_FROM_TIME, 0, 0}},
        {"@1769860800", {CLI_FROM_TIME, 0, NOW_US}},
        {"@2026-01-31T12:00:00Z", {CLI_FROM_TIME, 0, NOW_US}},
        {"@2026-01-31 12:00:00.25Z", {CLI_FROM_TIME, 0, NOW_US + 250000}},
        {"@2026-01-31T14:00:00+02:00", {CLI_FROM_TIME, 0, NOW_US}},
        {"@2026-01-31T06:30:00-05:30", {CLI_FROM_TIME, 0, NOW_US}},
        {"@2026-01-31", {CLI_FROM_TIME, 0, NOW_US - UINT64_C(43200000000)}},
        {"@2024-02-29", {CLI_FROM_TIME, 0, UINT64_C(1709164800000000)}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cli_from from;
        flx_error error = {0};
        if (cli_from_parse(rows[i].text, NOW_US, &from, &error) != FLX_OK) {
            fail_msg("%s: %s", rows[i].text, error.message);
        }
        assert_int_equal(from.kind, rows[i].from.kind);
        assert_int_equal(from.offset, rows[i].from.offset);
        assert_int_equal(from.time_us, rows[i].from.time_us);
    }
}

static void other_starts_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"",
                                       "soon",
                                       "-1",
                                       "2 h",
                                       "2x",
                                       "@",
                                       "@soon",
                                       "@2026-13-01",
                                       "@2026-02-29",
                                       "@1969-01-01",
                                       "@2026-01-31T25:00:00Z",
                                       "@2026-01-31T12:00:00",
                                       "@2026-01-31T12:00:00.Z",
                                       "@2026-01-31T12:00:00Zx",
                                       "earliest ",
                                       "18446744073709551616"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cli_from from;
        if (cli_from_parse(rows[i], NOW_US, &from, NULL) != FLX_ERR_INVALID) {
            fail_msg("%s", rows[i]);
        }
    }
}

static void times_are_written_as_rfc_3339(void **state)
{
    (void)state;
    char text[40];
    cli_time_format(NOW_US, text, sizeof text);
    assert_string_equal(text, "2026-01-31T12:00:00Z");
    cli_time_format(NOW_US + 42, text, sizeof text);
    assert_string_equal(text, "2026-01-31T12:00:00.000042Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_format_says_the_same),
        cmocka_unit_test(formats_are_known_by_name),
        cmocka_unit_test(payloads_are_text_or_base64),
        cmocka_unit_test(gaps_say_what_is_missing),
        cmocka_unit_test(starts_are_read_as_people_write_them),
        cmocka_unit_test(other_starts_are_refused),
        cmocka_unit_test(times_are_written_as_rfc_3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
