/* SPDX-License-Identifier: Apache-2.0 */
/* suite.h - checks as rows of a table, and the report over them. */
#ifndef FLX_CONFORMANCE_SUITE_H
#define FLX_CONFORMANCE_SUITE_H

#include "raw_client.h"

#include <stddef.h>

typedef enum check_result { CHECK_PASS, CHECK_FAIL, CHECK_SKIP } check_result;

typedef struct check_suite {
    const raw_target *target;
    char why[400]; /* of the last FAIL or SKIP */
} check_suite;

typedef struct check {
    const char *id;    /* "raw.legacy_auth", "pubsub.roundtrip" */
    const char *shows; /* one line for people */
    check_result (*run)(check_suite *suite);
} check;

/* Fills suite->why and answers FAIL (or SKIP): return check_fail(suite, "...", ...). */
check_result check_fail(check_suite *suite, const char *format, ...) FLX_PRINTF(2, 3);
check_result check_skip(check_suite *suite, const char *format, ...) FLX_PRINTF(2, 3);

extern const check raw_checks[];       /* end with a NULL id */
extern const check operation_checks[]; /* of extensions; skipped where they are not offered */
extern const check watch_checks[];
extern const check scenario_checks[];

/* What a single node in memory cannot show, and why; ends with a NULL id. */
typedef struct skipped {
    const char *id;
    const char *why;
} skipped;
extern const skipped skipped_scenarios[];

/* One line a vector: "ok NAME" or "FAIL NAME: why". The number of failures; -1: nothing to read. */
int vectors_check(const char *folder);

#endif /* FLX_CONFORMANCE_SUITE_H */
