/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/unit.h - cmocka with the headers it wants in front, in an order that stays. */
#ifndef FLX_TESTS_UNIT_H
#define FLX_TESTS_UNIT_H

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

#endif /* FLX_TESTS_UNIT_H */
