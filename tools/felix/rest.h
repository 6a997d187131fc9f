/* SPDX-License-Identifier: Apache-2.0 */
/* rest.h - one call of the control plane's REST API with the token of an administrator. */
#ifndef FELIX_CLI_REST_H
#define FELIX_CLI_REST_H

#include "run.h"

#include <jansson.h>

/* What came back. Nothing was printed; cli_rest_failed does that. */
typedef struct cli_rest_answer {
    cli_exit code;   /* CLI_EXIT_OK for 2xx */
    int http_status; /* 0: no answer came */
    json_t *body;    /* NULL: none; the caller decref()s it */
    char message[300];
} cli_rest_answer;

/* `path` begins with /v1/; `body` (NULL: none) is borrowed. */
void cli_rest_call(cli_run *run, const char *method, const char *path, const json_t *body,
                   cli_rest_answer *ret_answer);

/* Prints "felix: WHAT: why; what to do next" and returns the exit code. */
cli_exit cli_rest_failed(const cli_run *run, const cli_rest_answer *answer, const char *format, ...)
    FLX_PRINTF(3, 4);

#endif /* FELIX_CLI_REST_H */
