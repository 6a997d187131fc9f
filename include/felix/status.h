/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/status.h - how a call went.
 *
 * A function that can fail returns flx_status and takes a flx_error * last (NULL: not wanted).
 * The status is for code, the error for people and logs. What the broker answered (its code, how
 * to retry, after how long) travels in the error too.
 */
#ifndef FELIX_STATUS_H
#define FELIX_STATUS_H

#include <felix/export.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One row a status: name, value, text. Values are part of the ABI, so a row never changes; wire
 * codes have their own table (wire/code.h). */
#define FLX_STATUS_MAP(X)                                                                          \
    X(OK, 0, "success")                                                                            \
    X(ERR_NOMEM, -1, "out of memory")                                                              \
    X(ERR_INVALID, -2, "invalid argument")                                                         \
    X(ERR_AGAIN, -3, "a limit is reached, try again later")                                        \
    X(ERR_IO, -4, "input/output error")                                                            \
    X(ERR_NOT_FOUND, -5, "not found")                                                              \
    X(ERR_CONFLICT, -6, "conflicts with what is there")                                            \
    X(ERR_DENIED, -7, "permission denied")                                                         \
    X(ERR_UNAUTHENTICATED, -8, "not authenticated")                                                \
    X(ERR_UNAVAILABLE, -9, "not available now")                                                    \
    X(ERR_TIMEOUT, -10, "timed out")                                                               \
    X(ERR_CANCELED, -11, "canceled")                                                               \
    X(ERR_CLOSED, -12, "closed")                                                                   \
    X(ERR_PROTOCOL, -13, "the peer broke the protocol")                                            \
    X(ERR_TOO_LARGE, -14, "larger than the limit")                                                 \
    X(ERR_CORRUPT, -15, "damaged data")                                                            \
    X(ERR_UNSUPPORTED, -16, "not supported")                                                       \
    X(ERR_LAGGED, -17, "fell behind and missed records")                                           \
    X(ERR_TOO_OLD, -18, "before the oldest record kept")                                           \
    X(ERR_IN_FUTURE, -19, "after the newest record")                                               \
    X(ERR_UNKNOWN_OUTCOME, -20, "sent, outcome unknown")                                           \
    X(ERR_INTERNAL, -21, "internal error")                                                         \
    X(ERR_UNTRUSTED, -22, "the peer's certificate is not trusted")

typedef enum flx_status {
#define FLX_STATUS_ENUM(name, value, text) FLX_##name = (value),
    FLX_STATUS_MAP(FLX_STATUS_ENUM)
#undef FLX_STATUS_ENUM
} flx_status;

/* How a refused request may be tried again; the broker's word (docs/spec/wire.md, error codes). */
typedef enum flx_retry {
    FLX_RETRY_NONE = 0,            /* the failure did not come from the broker */
    FLX_RETRY_NOW = 1,             /* nothing happened, try again */
    FLX_RETRY_AFTER = 2,           /* nothing happened, wait retry_after_ms first */
    FLX_RETRY_REDIRECT = 3,        /* another broker owns it */
    FLX_RETRY_OUTCOME_UNKNOWN = 4, /* may have happened; trying again may do it twice */
    FLX_RETRY_FATAL = 5            /* trying again cannot help */
} flx_retry;

/* Why a call failed, for people and logs. Lives where the caller puts it; nothing to free. */
typedef struct flx_error {
    flx_status status;
    int sys_errno;           /* errno of the system call that failed, or 0 */
    uint16_t code;           /* the broker's error code, 0 when it did not come from one */
    uint8_t retry;           /* flx_retry */
    uint8_t reserved;        /* 0 */
    uint32_t retry_after_ms; /* 0: not said */
    char message[240];       /* one line, outermost cause first: "open 'a': read '0.log': ..." */
} flx_error;

/* The text of a status, "unknown status" for a value that is none. Static memory. Any thread. */
FLX_API const char *flx_status_text(flx_status status);

/* The name of a status as programs print it: "ok", "not_found". Static memory. Any thread. */
FLX_API const char *flx_status_name(flx_status status);

#ifdef __cplusplus
}
#endif

#endif /* FELIX_STATUS_H */
