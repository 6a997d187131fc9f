/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/inline.h - what the compiler is told about the data path.
 *
 * What each publish and each pull does is one piece of code, and what is rare stands beside it: left
 * to itself the compiler shares a function as soon as it has a second caller, and a record costs up
 * to two fifths more. `make bench-check` is what says whether a function deserves either word.
 */
#ifndef FLX_COMMON_INLINE_H
#define FLX_COMMON_INLINE_H

#define FLX_HOT  static inline __attribute__((always_inline))
#define FLX_COLD static __attribute__((noinline))

#endif /* FLX_COMMON_INLINE_H */
