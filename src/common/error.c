/* SPDX-License-Identifier: Apache-2.0 */
/* common/error.c - statuses as text, and errors filled in one line. */
#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *flx_status_text(flx_status status)
{
    switch (status) {
#define STATUS_TEXT(name, value, text)                                                             \
    case FLX_##name:                                                                               \
        return text;
        FLX_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

/* "ERR_NOT_FOUND" -> "not_found", spelled once in the table. */
const char *flx_status_name(flx_status status)
{
    static const struct {
        flx_status status;
        const char *name;
    } names[] = {
        {FLX_OK, "ok"},
        {FLX_ERR_NOMEM, "out_of_memory"},
        {FLX_ERR_INVALID, "invalid"},
        {FLX_ERR_AGAIN, "limit_reached"},
        {FLX_ERR_IO, "io"},
        {FLX_ERR_NOT_FOUND, "not_found"},
        {FLX_ERR_CONFLICT, "conflict"},
        {FLX_ERR_DENIED, "denied"},
        {FLX_ERR_UNAUTHENTICATED, "unauthenticated"},
        {FLX_ERR_UNAVAILABLE, "unavailable"},
        {FLX_ERR_TIMEOUT, "timeout"},
        {FLX_ERR_CANCELED, "canceled"},
        {FLX_ERR_CLOSED, "closed"},
        {FLX_ERR_PROTOCOL, "protocol"},
        {FLX_ERR_TOO_LARGE, "too_large"},
        {FLX_ERR_CORRUPT, "corrupt"},
        {FLX_ERR_UNSUPPORTED, "unsupported"},
        {FLX_ERR_LAGGED, "lagged"},
        {FLX_ERR_TOO_OLD, "too_old"},
        {FLX_ERR_IN_FUTURE, "in_future"},
        {FLX_ERR_UNKNOWN_OUTCOME, "unknown_outcome"},
        {FLX_ERR_INTERNAL, "internal"},
        {FLX_ERR_UNTRUSTED, "untrusted"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].status == status) {
            return names[i].name;
        }
    }
    return "unknown";
}

#undef flx_fail /* macros in the eyes of the analyser */
#undef flx_fail_errno

FLX_PRINTF(4, 0)
static void fill(flx_error *reterr, flx_status status, int sys_errno, const char *format,
                 va_list args)
{
    memset(reterr, 0, sizeof *reterr);
    reterr->status = status;
    reterr->sys_errno = sys_errno;
    (void)vsnprintf(reterr->message, sizeof reterr->message, format, args);
}

flx_status flx_fail(flx_error *reterr, flx_status status, const char *format, ...)
{
    if (reterr != NULL) {
        va_list args;
        va_start(args, format);
        fill(reterr, status, 0, format, args);
        va_end(args);
    }
    return status;
}

flx_status flx_fail_errno(flx_error *reterr, int sys_errno, const char *format, ...)
{
    if (reterr != NULL) {
        va_list args;
        va_start(args, format);
        fill(reterr, FLX_ERR_IO, sys_errno, format, args);
        va_end(args);
        const size_t len = strlen(reterr->message);
        char text[80];
        (void)snprintf(reterr->message + len, sizeof reterr->message - len, ": %s",
                       strerror_r(sys_errno, text, sizeof text));
    }
    return FLX_ERR_IO;
}

void flx_error_prefix(flx_error *reterr, const char *format, ...)
{
    if (reterr == NULL) {
        return;
    }
    char cause[sizeof reterr->message];
    memcpy(cause, reterr->message, sizeof cause);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reterr->message, sizeof reterr->message, format, args);
    va_end(args);
    const size_t len = strlen(reterr->message);
    (void)snprintf(reterr->message + len, sizeof reterr->message - len, ": %s", cause);
}
