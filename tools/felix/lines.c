/* SPDX-License-Identifier: Apache-2.0 */
/* lines.c - see lines.h for the picture. */
#include "lines.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <string.h>

#define READ_BYTES ((size_t)256 * 1024) /* room that is offered at least */

flx_status cli_lines_init(cli_lines *lines, size_t count_max, size_t bytes_max, size_t record_max,
                          flx_error *reterr)
{
    FLX_ASSERT(count_max > 0 && bytes_max > 0 && record_max > 0);
    memset(lines, 0, sizeof *lines);
    lines->count_max = count_max;
    lines->bytes_max = bytes_max;
    lines->record_max = record_max;
    lines->cap = 2 * READ_BYTES + bytes_max;
    lines->bytes = flx_alloc(lines->cap);
    lines->records = flx_calloc(count_max, sizeof *lines->records);
    if (lines->bytes == NULL || lines->records == NULL) {
        cli_lines_done(lines);
        return flx_fail(reterr, FLX_ERR_NOMEM, "input: out of memory");
    }
    return FLX_OK;
}

void cli_lines_done(cli_lines *lines)
{
    flx_free(lines->bytes);
    flx_free(lines->records);
    memset(lines, 0, sizeof *lines);
}

/* Moves what is left to the front, where records wait as well as the open line. */
static void compact(cli_lines *lines)
{
    if (lines->first > 0) {
        memmove(lines->bytes, lines->bytes + lines->first, lines->len - lines->first);
        lines->open -= lines->first;
        lines->len -= lines->first;
        lines->first = 0;
    }
}

flx_status cli_lines_room(cli_lines *lines, uint8_t **ret_bytes, size_t *ret_len, flx_error *reterr)
{
    FLX_ASSERT(!lines->finished);
    if (lines->len - lines->open > lines->record_max) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "line %llu is longer than %zu bytes",
                        (unsigned long long)lines->line + 1, lines->record_max);
    }
    if (lines->cap - lines->len < READ_BYTES) {
        compact(lines);
    }
    if (lines->cap - lines->len < READ_BYTES) {
        const size_t cap = lines->cap * 2;
        uint8_t *grown = flx_realloc(lines->bytes, cap);
        if (grown == NULL) {
            return flx_fail(reterr, FLX_ERR_NOMEM, "input: out of memory");
        }
        lines->bytes = grown;
        lines->cap = cap;
    }
    *ret_bytes = lines->bytes + lines->len;
    *ret_len = lines->cap - lines->len;
    return FLX_OK;
}

void cli_lines_filled(cli_lines *lines, size_t len)
{
    FLX_ASSERT(len <= lines->cap - lines->len);
    lines->len += len;
}

void cli_lines_finish(cli_lines *lines)
{
    lines->finished = true;
}

/* The end of the line that begins at `start`, and where the next one begins. */
static bool find_line(const cli_lines *lines, size_t start, size_t *ret_end, size_t *ret_next)
{
    if (start >= lines->len) {
        return false;
    }
    const uint8_t *newline = memchr(lines->bytes + start, '\n', lines->len - start);
    if (newline != NULL) {
        *ret_end = (size_t)(newline - lines->bytes);
        *ret_next = *ret_end + 1;
        return true;
    }
    *ret_end = lines->len;
    *ret_next = lines->len;
    return lines->finished;
}

size_t cli_lines_take(cli_lines *lines, bool flush, const flx_slice **ret_records)
{
    size_t count = 0;
    size_t bytes = 0;
    size_t at = lines->first;
    size_t end = 0;
    size_t next = 0;
    bool full = false;
    while (!full && find_line(lines, at, &end, &next)) {
        const size_t len = end - at;
        if (count > 0 && bytes + len > lines->bytes_max) {
            full = true;
            break;
        }
        lines->records[count++] = (flx_slice){lines->bytes + at, len};
        bytes += len;
        at = next;
        full = count == lines->count_max || bytes >= lines->bytes_max;
    }
    lines->open = at > lines->open ? at : lines->open;
    if (!full && !flush && !lines->finished) {
        lines->count = count; /* they wait */
        return 0;
    }
    lines->first = at;
    lines->line += count;
    lines->count = 0;
    *ret_records = lines->records;
    return count;
}

bool cli_lines_waits(const cli_lines *lines)
{
    return lines->count > 0;
}
