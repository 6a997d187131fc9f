/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/unit.h - cmocka with the headers it wants in front, in an order that stays, and the
 * two words every table of cases needs. */
#ifndef FLX_TESTS_UNIT_H
#define FLX_TESTS_UNIT_H

#include "common/slice.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static inline flx_slice slice_of(const char *text)
{
    return flx_slice_of(text);
}

#endif /* FLX_TESTS_UNIT_H */
