/* SPDX-License-Identifier: Apache-2.0 */
/* common/error.h - filling a flx_error, one line at the place of failure. Any thread. */
#ifndef FLX_COMMON_ERROR_H
#define FLX_COMMON_ERROR_H

#include <felix/status.h>

/* Sets *reterr (NULL: nothing) and returns `status`: return flx_fail(reterr, FLX_ERR_IO, "..."). */
flx_status flx_fail(flx_error *reterr, flx_status status, const char *format, ...) FLX_PRINTF(3, 4);

/* As flx_fail, with the errno of the system call that failed; its text ends the message. */
flx_status flx_fail_errno(flx_error *reterr, int sys_errno, const char *format, ...)
    FLX_PRINTF(3, 4);

/* Puts context before the message of an error that is already set: "load 'x.yaml': " + message. */
void flx_error_prefix(flx_error *reterr, const char *format, ...) FLX_PRINTF(2, 3);

#ifdef __clang_analyzer__
/* The analyser sees one file at a time: this tells it that a failure never answers FLX_OK. */
#define flx_fail(reterr, status, ...) ((void)(flx_fail)((reterr), (status), __VA_ARGS__), (status))
#define flx_fail_errno(reterr, sys_errno, ...)                                                     \
    ((void)(flx_fail_errno)((reterr), (sys_errno), __VA_ARGS__), FLX_ERR_IO)
#endif

#endif /* FLX_COMMON_ERROR_H */
