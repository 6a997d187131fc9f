/* SPDX-License-Identifier: Apache-2.0 */
/* wire/code.c - codes and classes by number and by name. */
#include "wire/code.h"

#include "common/slice.h"

#include <string.h>

typedef struct code_row {
    flx_code code;
    flx_retry retry;
    flx_status status;
    const char *name;
} code_row;

/* In the order of the numbers, which have no gaps: row i is number i + 1. */
static const code_row rows[] = {
#define ROW(name, number, text, retry, status)                                                     \
    {FLX_CODE_##name, FLX_RETRY_##retry, FLX_##status, text},
    FLX_CODE_MAP(ROW)
#undef ROW
};

static const char *const retry_names[] = {"",         "retry",           "retry_after",
                                          "redirect", "outcome_unknown", "fatal"};

static const code_row *find_row(uint16_t code)
{
    const size_t count = sizeof rows / sizeof rows[0];
    return code >= 1 && code <= count ? &rows[code - 1] : NULL;
}

static flx_slice slice_or_none(const char *text)
{
    return text != NULL ? flx_slice_of(text) : (flx_slice){0};
}

const char *flx_code_name(uint16_t code)
{
    const code_row *row = find_row(code);
    return row != NULL ? row->name : NULL;
}

flx_slice flx_code_slice(uint16_t code)
{
    return slice_or_none(flx_code_name(code));
}

uint16_t flx_code_find(flx_slice name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (flx_slice_is(name, rows[i].name)) {
            return (uint16_t)rows[i].code;
        }
    }
    return FLX_CODE_NONE;
}

flx_retry flx_code_retry(uint16_t code)
{
    const code_row *row = find_row(code);
    return row != NULL ? row->retry : FLX_RETRY_FATAL;
}

flx_status flx_code_status(uint16_t code, flx_retry retry)
{
    const code_row *row = find_row(code);
    if (row != NULL) {
        return row->status;
    }
    switch (retry) {
    case FLX_RETRY_NOW:
    case FLX_RETRY_REDIRECT:
        return FLX_ERR_UNAVAILABLE;
    case FLX_RETRY_AFTER:
        return FLX_ERR_AGAIN;
    case FLX_RETRY_OUTCOME_UNKNOWN:
        return FLX_ERR_UNKNOWN_OUTCOME;
    case FLX_RETRY_NONE:
    case FLX_RETRY_FATAL:
        break;
    }
    return FLX_ERR_INTERNAL;
}

const char *flx_retry_name(flx_retry retry)
{
    return retry_names[flx_retry_from_byte((uint8_t)retry)];
}

flx_slice flx_retry_slice(flx_retry retry)
{
    return slice_or_none(flx_retry_name(retry));
}

flx_retry flx_retry_find(flx_slice name)
{
    for (int i = FLX_RETRY_NOW; i < FLX_RETRY_FATAL; i++) {
        if (flx_slice_is(name, retry_names[i])) {
            return (flx_retry)i;
        }
    }
    return FLX_RETRY_FATAL;
}

flx_retry flx_retry_from_byte(uint8_t byte)
{
    return byte >= FLX_RETRY_NOW && byte <= FLX_RETRY_FATAL ? (flx_retry)byte : FLX_RETRY_FATAL;
}
