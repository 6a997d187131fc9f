/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output.h - results as table, wide, json, jsonl, yaml, name or raw, from one description.
 *
 * A command makes each result a JSON object whose members are documented and stay; the columns say
 * which of them a table shows. So every command has every format, and none can drift.
 */
#ifndef FELIX_CLI_OUTPUT_H
#define FELIX_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum cli_format {
    CLI_FORMAT_TABLE,
    CLI_FORMAT_WIDE,
    CLI_FORMAT_JSON,
    CLI_FORMAT_JSONL,
    CLI_FORMAT_YAML,
    CLI_FORMAT_NAME,
    CLI_FORMAT_RAW
} cli_format;

/* False: no such format. */
bool cli_format_parse(const char *text, cli_format *ret_format);

typedef struct cli_column {
    const char *title; /* NULL ends the list */
    const char *field; /* the member */
    bool wide;         /* only with -o wide */
    unsigned width;    /* streams: room to keep, as widths cannot be known */
} cli_column;

typedef enum cli_shape {
    CLI_SHAPE_ONE,   /* one object; a table shows it upright */
    CLI_SHAPE_LIST,  /* a few; a table is aligned */
    CLI_SHAPE_STREAM /* any number, each is written when it comes */
} cli_shape;

typedef struct cli_out {
    FILE *file;
    const cli_column *columns;
    const char *name_field; /* -o name and -o raw write this member */
    json_t *rows;           /* tables of lists wait for all of them */
    size_t count;
    cli_format format;
    cli_shape shape;
    bool colour;
    bool failed; /* out of memory or the file is gone */
} cli_out;

void cli_out_begin(cli_out *out, FILE *file, cli_format format, cli_shape shape,
                   const cli_column *columns, const char *name_field, bool colour);
/* Takes the reference to `row`; NULL (out of memory) marks the output failed. */
void cli_out_row(cli_out *out, json_t *row);
/* False: memory ran out, or what was to be written could not be. */
bool cli_out_end(cli_out *out);

/* Text with control characters made visible, as a table shows it. */
void cli_write_visible(FILE *file, const char *text, size_t len);

#endif /* FELIX_CLI_OUTPUT_H */
