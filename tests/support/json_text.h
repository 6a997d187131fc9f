/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/json_text.h - what a JSON text says, looked up as text. */
#ifndef FLX_TESTS_JSON_TEXT_H
#define FLX_TESTS_JSON_TEXT_H

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number of the first member of that name, which must be there. */
static inline uint64_t number_in(const char *json, const char *field)
{
    char name[64];
    (void)snprintf(name, sizeof name, "\"%s\":", field);
    const char *found = strstr(json, name);
    assert_non_null(found);
    return strtoull(found + strlen(name), NULL, 10);
}

#endif /* FLX_TESTS_JSON_TEXT_H */
