/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines.h - bytes in, batches of lines out. Pure: the caller reads, publishes and knows the time.
 *
 *     |...taken...| line\n line\n line\n | line whose end has not come | room |
 *                 ^first                 ^open                         ^len   ^cap
 *
 * A record is a line without its newline; an empty line is an empty record, a carriage return is a
 * byte like any other. A last line without newline counts once cli_lines_finish was called. Nothing
 * is copied but an open line that has to move to the front to make room.
 */
#ifndef FELIX_CLI_LINES_H
#define FELIX_CLI_LINES_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cli_lines {
    uint8_t *bytes;
    size_t cap;
    size_t len;
    size_t first; /* where the records not yet taken begin */
    size_t open;  /* where the line begins whose end has not come */
    flx_slice *records;
    size_t count;      /* whole lines that wait for their batch to fill */
    size_t count_max;  /* records a batch */
    size_t bytes_max;  /* bytes a batch; one larger record is a batch of its own */
    size_t record_max; /* bytes a record */
    uint64_t line;     /* lines seen, for messages */
    bool finished;
} cli_lines;

/* FLX_ERR_NOMEM. */
flx_status cli_lines_init(cli_lines *lines, size_t count_max, size_t bytes_max, size_t record_max,
                          flx_error *reterr);
void cli_lines_done(cli_lines *lines);

/*
 * Where to read to, and how much. It may move bytes, so slices taken before are gone.
 * FLX_ERR_TOO_LARGE: the open line is longer than record_max; the message has its number. NOMEM.
 */
flx_status cli_lines_room(cli_lines *lines, uint8_t **ret_bytes, size_t *ret_len,
                          flx_error *reterr);
/* Says that `len` bytes were read there. */
void cli_lines_filled(cli_lines *lines, size_t len);
/* No more bytes come: an open line is a record now. */
void cli_lines_finish(cli_lines *lines);

/*
 * Takes a batch: a full one, or with `flush` whatever whole lines there are. 0: none. The slices
 * are valid until the next cli_lines_room.
 */
size_t cli_lines_take(cli_lines *lines, bool flush, const flx_slice **ret_records);
/* Whether whole lines wait that make no full batch. */
bool cli_lines_waits(const cli_lines *lines);

#endif /* FELIX_CLI_LINES_H */
