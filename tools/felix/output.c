/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - JSON objects to every format a user may ask for. */
#include "output.h"

#include "common/assert.h"

#include <stdlib.h>
#include <string.h>

#define JSON_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9))

static const char *const format_names[] = {"table", "wide", "json", "jsonl", "yaml", "name", "raw"};

bool cli_format_parse(const char *text, cli_format *ret_format)
{
    for (size_t i = 0; i < sizeof format_names / sizeof format_names[0]; i++) {
        if (strcmp(text, format_names[i]) == 0) {
            *ret_format = (cli_format)i;
            return true;
        }
    }
    return false;
}

void cli_write_visible(FILE *file, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (byte == '\t') {
            (void)fputs("\\t", file);
        } else if (byte == '\n') {
            (void)fputs("\\n", file);
        } else if (byte < 0x20 || byte == 0x7f) {
            (void)fprintf(file, "\\x%02x", byte);
        } else {
            (void)fputc(byte, file);
        }
    }
}

/* --- one cell --- */

static char *cell_text(json_t *value);

/* "a=1 b=2" of what an object says; members that are null say nothing. */
static void write_members(FILE *file, json_t *object)
{
    const char *blank = "";
    const char *key = NULL;
    json_t *member = NULL;
    json_object_foreach(object, key, member)
    {
        if (!json_is_null(member)) {
            char *text = cell_text(member);
            (void)fprintf(file, "%s%s=%s", blank, key, text != NULL ? text : "?");
            free(text);
            blank = " ";
        }
    }
}

/* The value as a table shows it; the caller frees. NULL: out of memory. */
static char *cell_text(json_t *value)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    if (file == NULL) {
        return NULL;
    }
    if (json_is_string(value)) {
        cli_write_visible(file, json_string_value(value), json_string_length(value));
    } else if (json_is_array(value)) {
        size_t index = 0;
        json_t *item = NULL;
        json_array_foreach(value, index, item)
        {
            char *inner = cell_text(item);
            (void)fprintf(file, "%s%s", index > 0 ? "," : "", inner != NULL ? inner : "?");
            free(inner);
        }
    } else if (json_is_object(value)) {
        write_members(file, value);
    } else if (value == NULL || json_is_null(value)) {
        (void)fputc('-', file);
    } else if (json_is_real(value)) {
        (void)fprintf(file, "%.3f", json_real_value(value));
    } else {
        char *dumped = json_dumps(value, JSON_FLAGS);
        (void)fputs(dumped != NULL ? dumped : "?", file);
        free(dumped);
    }
    if (len == 0 && fflush(file) == 0 && len == 0) {
        (void)fputc('-', file);
    }
    return fclose(file) == 0 ? text : NULL;
}

/* Letters, not bytes: UTF-8 continuation bytes take no room. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xC0U) != 0x80U;
    }
    return width;
}

static bool is_shown(const cli_out *out, const cli_column *column)
{
    return !column->wide || out->format == CLI_FORMAT_WIDE;
}

static void write_padded(FILE *file, const char *text, size_t width, bool last)
{
    (void)fputs(text, file);
    for (size_t used = text_width(text); !last && used < width + 2; used++) {
        (void)fputc(' ', file);
    }
    if (!last && text_width(text) > width + 1) {
        (void)fputc(' ', file);
    }
}

static bool is_last(const cli_out *out, const cli_column *column)
{
    for (column++; column->title != NULL; column++) {
        if (is_shown(out, column)) {
            return false;
        }
    }
    return true;
}

/* --- tables --- */

static void write_title_row(cli_out *out, const size_t *widths)
{
    for (size_t i = 0; out->columns[i].title != NULL; i++) {
        if (is_shown(out, &out->columns[i])) {
            (void)fputs(out->colour ? "\033[1m" : "", out->file);
            write_padded(out->file, out->columns[i].title, widths[i],
                         is_last(out, &out->columns[i]));
            (void)fputs(out->colour ? "\033[0m" : "", out->file);
        }
    }
    (void)fputc('\n', out->file);
}

static void write_table_row(cli_out *out, const json_t *row, const size_t *widths)
{
    for (size_t i = 0; out->columns[i].title != NULL; i++) {
        if (!is_shown(out, &out->columns[i])) {
            continue;
        }
        char *text = cell_text(json_object_get(row, out->columns[i].field));
        out->failed = out->failed || text == NULL;
        write_padded(out->file, text != NULL ? text : "?", widths[i],
                     is_last(out, &out->columns[i]));
        free(text);
    }
    (void)fputc('\n', out->file);
}

#define COLUMNS_MAX 24

/* The widest cell of each column, the title included. */
static void measure(cli_out *out, size_t widths[COLUMNS_MAX])
{
    for (size_t i = 0; out->columns[i].title != NULL; i++) {
        FLX_ASSERT(i < COLUMNS_MAX);
        widths[i] = strlen(out->columns[i].title);
        size_t index = 0;
        json_t *row = NULL;
        json_array_foreach(out->rows, index, row)
        {
            char *text = cell_text(json_object_get(row, out->columns[i].field));
            const size_t width = text != NULL ? text_width(text) : 0;
            widths[i] = width > widths[i] ? width : widths[i];
            free(text);
        }
    }
}

static void write_list_table(cli_out *out)
{
    size_t widths[COLUMNS_MAX];
    measure(out, widths);
    write_title_row(out, widths);
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(out->rows, index, row)
    {
        write_table_row(out, row, widths);
    }
}

/* One object upright: "TITLE: value" a line, every column it has. */
static void write_upright(cli_out *out, const json_t *row)
{
    size_t width = 0;
    for (const cli_column *column = out->columns; column->title != NULL; column++) {
        const size_t len = strlen(column->title) + 1;
        width = len > width ? len : width;
    }
    for (const cli_column *column = out->columns; column->title != NULL; column++) {
        char title[64];
        json_t *value = json_object_get(row, column->field);
        if (value == NULL) {
            continue;
        }
        char *text = cell_text(value);
        out->failed = out->failed || text == NULL;
        (void)snprintf(title, sizeof title, "%s:", column->title);
        write_padded(out->file, title, width, false);
        (void)fprintf(out->file, "%s\n", text != NULL ? text : "?");
        free(text);
    }
}

static void stream_widths(const cli_out *out, size_t widths[COLUMNS_MAX])
{
    for (size_t i = 0; out->columns[i].title != NULL; i++) {
        FLX_ASSERT(i < COLUMNS_MAX);
        const size_t title = strlen(out->columns[i].title);
        widths[i] = out->columns[i].width > title ? out->columns[i].width : title;
    }
}

/* --- JSON and YAML --- */

static void write_json(cli_out *out, const json_t *value, size_t flags)
{
    if (json_dumpf(value, out->file, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) != 0) {
        out->failed = true;
    }
}

/* Scalars are written as JSON: every JSON scalar is a YAML one, and none is ambiguous. */
static void write_yaml(cli_out *out, json_t *value, unsigned indent)
{
    const char *key = NULL;
    json_t *member = NULL;
    size_t index = 0;
    if (json_is_object(value) && json_object_size(value) > 0) {
        bool first = true;
        json_object_foreach(value, key, member)
        {
            for (unsigned i = 0; !first && i < indent; i++) {
                (void)fputc(' ', out->file);
            }
            first = false;
            const bool nested = (json_is_object(member) && json_object_size(member) > 0) ||
                                (json_is_array(member) && json_array_size(member) > 0);
            (void)fprintf(out->file, nested ? "%s:\n%*s" : "%s: %*s", key,
                          nested ? (int)indent + 2 : 0, "");
            write_yaml(out, member, indent + 2);
        }
        return;
    }
    if (json_is_array(value) && json_array_size(value) > 0) {
        json_array_foreach(value, index, member)
        {
            for (unsigned i = 0; index > 0 && i < indent; i++) {
                (void)fputc(' ', out->file);
            }
            (void)fputs("- ", out->file);
            write_yaml(out, member, indent + 2);
        }
        return;
    }
    write_json(out, value, JSON_COMPACT);
    (void)fputc('\n', out->file);
}

/* --- rows --- */

static void write_field(cli_out *out, const json_t *row)
{
    const json_t *value = json_object_get(row, out->name_field);
    if (json_is_string(value)) {
        (void)fwrite(json_string_value(value), 1, json_string_length(value), out->file);
    } else if (value != NULL) {
        write_json(out, value, JSON_COMPACT);
    }
    (void)fputc('\n', out->file);
}

static void write_json_row(cli_out *out, const json_t *row)
{
    if (out->shape == CLI_SHAPE_ONE) {
        write_json(out, row, JSON_INDENT(2));
        (void)fputc('\n', out->file);
        return;
    }
    (void)fputs(out->count == 0 ? "[\n" : ",\n", out->file);
    write_json(out, row, JSON_COMPACT);
}

static void write_yaml_row(cli_out *out, json_t *row)
{
    if (out->shape != CLI_SHAPE_ONE) {
        (void)fputs("- ", out->file);
    }
    write_yaml(out, row, out->shape == CLI_SHAPE_ONE ? 0 : 2);
}

static void write_table(cli_out *out, json_t *row)
{
    size_t widths[COLUMNS_MAX];
    if (out->shape == CLI_SHAPE_ONE) {
        write_upright(out, row);
    } else if (out->shape == CLI_SHAPE_STREAM) {
        stream_widths(out, widths);
        if (out->count == 0) {
            write_title_row(out, widths);
        }
        write_table_row(out, row, widths);
    } else if (out->rows == NULL || json_array_append(out->rows, row) != 0) {
        out->failed = true;
    }
}

void cli_out_begin(cli_out *out, FILE *file, cli_format format, cli_shape shape,
                   const cli_column *columns, const char *name_field, bool colour)
{
    memset(out, 0, sizeof *out);
    out->file = file;
    out->format = format;
    out->shape = shape;
    out->columns = columns;
    out->name_field = name_field;
    out->colour = colour;
    const bool table = format == CLI_FORMAT_TABLE || format == CLI_FORMAT_WIDE;
    if (table && shape == CLI_SHAPE_LIST) {
        out->rows = json_array();
    }
}

void cli_out_row(cli_out *out, json_t *row)
{
    if (row == NULL) {
        out->failed = true;
        return;
    }
    switch (out->format) {
    case CLI_FORMAT_TABLE:
    case CLI_FORMAT_WIDE:
        write_table(out, row);
        break;
    case CLI_FORMAT_JSON:
        write_json_row(out, row);
        break;
    case CLI_FORMAT_JSONL:
        write_json(out, row, JSON_COMPACT);
        (void)fputc('\n', out->file);
        break;
    case CLI_FORMAT_YAML:
        write_yaml_row(out, row);
        break;
    case CLI_FORMAT_NAME:
    case CLI_FORMAT_RAW:
        write_field(out, row);
        break;
    }
    json_decref(row);
    out->count++;
}

bool cli_out_end(cli_out *out)
{
    const bool list = out->shape != CLI_SHAPE_ONE;
    if (out->format == CLI_FORMAT_JSON && list) {
        (void)fputs(out->count == 0 ? "[]\n" : "\n]\n", out->file);
    } else if (out->format == CLI_FORMAT_YAML && list && out->count == 0) {
        (void)fputs("[]\n", out->file);
    } else if (out->rows != NULL && out->count > 0) {
        write_list_table(out);
    }
    json_decref(out->rows);
    out->rows = NULL;
    return fflush(out->file) == 0 && ferror(out->file) == 0 && !out->failed;
}
