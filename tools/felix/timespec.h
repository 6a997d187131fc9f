/* SPDX-License-Identifier: Apache-2.0 */
/* timespec.h - where a subscription begins, as people write it. Pure: the time is an argument. */
#ifndef FELIX_CLI_TIMESPEC_H
#define FELIX_CLI_TIMESPEC_H

#include <felix/status.h>

#include <stddef.h>
#include <stdint.h>

typedef enum cli_from_kind {
    CLI_FROM_LATEST,
    CLI_FROM_EARLIEST,
    CLI_FROM_OFFSET,
    CLI_FROM_TIME
} cli_from_kind;

typedef struct cli_from {
    cli_from_kind kind;
    uint64_t offset;  /* CLI_FROM_OFFSET */
    uint64_t time_us; /* CLI_FROM_TIME, since 1970 */
} cli_from;

/*
 * "latest", "earliest", "42", "@2026-01-31T12:00:00Z" (also with a fraction, an offset such as
 * +02:00, or the date alone), "@1769860800", "2h". FLX_ERR_INVALID names the forms.
 */
flx_status cli_from_parse(const char *text, uint64_t now_us, cli_from *ret_from, flx_error *reterr);

/* RFC 3339, UTC, microseconds where there are any: 20 to 27 letters. `cap` at least 32. */
void cli_time_format(uint64_t time_us, char *text, size_t cap);

#endif /* FELIX_CLI_TIMESPEC_H */
