/* SPDX-License-Identifier: Apache-2.0 */
/* common/slice.h - slices made from terminated text, and compared. Pure. */
#ifndef FLX_COMMON_SLICE_H
#define FLX_COMMON_SLICE_H

#include <felix/slice.h>

#include <stdbool.h>
#include <string.h>

/* Borrows `text` without its terminator. */
static inline flx_slice flx_slice_of(const char *text)
{
    return (flx_slice){(const uint8_t *)text, strlen(text)};
}

/* Not in constant time: for secrets there is flx_equal_ct. */
static inline bool flx_slice_equal(flx_slice left, flx_slice right)
{
    return left.len == right.len && (left.len == 0 || memcmp(left.ptr, right.ptr, left.len) == 0);
}

/* Whether the slice holds exactly `text`. */
static inline bool flx_slice_is(flx_slice slice, const char *text)
{
    return flx_slice_equal(slice, flx_slice_of(text));
}

#endif /* FLX_COMMON_SLICE_H */
