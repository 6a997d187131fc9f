/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/assert.h - what only our own bug can break.
 *
 * FLX_ASSERT stays on in release and stops the process with file, line and condition.
 * FLX_DEBUG_ASSERT is for checks that cost; FLX_UNREACHABLE ends a complete switch. Never assert
 * what a peer, a disk, an operator or an API user controls.
 */
#ifndef FLX_COMMON_ASSERT_H
#define FLX_COMMON_ASSERT_H

#include <assert.h> /* static_assert */

_Noreturn void flx_assert_failed(const char *condition, const char *file, int line);

#define FLX_ASSERT(condition)                                                                      \
    ((__builtin_expect(!(condition), 0)) ? flx_assert_failed(#condition, __FILE__, __LINE__)       \
                                         : (void)0)

#if defined(FLX_DEBUG)
#define FLX_DEBUG_ASSERT(condition) FLX_ASSERT(condition)
#else
#define FLX_DEBUG_ASSERT(condition) ((void)sizeof(!(condition)))
#endif

#define FLX_UNREACHABLE() flx_assert_failed("unreachable", __FILE__, __LINE__)

#endif /* FLX_COMMON_ASSERT_H */
