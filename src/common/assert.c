/* SPDX-License-Identifier: Apache-2.0 */
/* common/assert.c - the last words of a process that found its own bug. */
#include "common/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void flx_assert_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "felix: bug: '%s' does not hold at %s:%d\n", condition, file, line);
    abort();
}
