/* SPDX-License-Identifier: Apache-2.0 */
/* exit.h - how the command ends, as scripts rely on it. The rows are also the table of the manual. */
#ifndef FELIX_CLI_EXIT_H
#define FELIX_CLI_EXIT_H

#include <felix/status.h>

#define CLI_EXIT_MAP(X)                                                                            \
    X(OK, 0, "done")                                                                               \
    X(FAILURE, 1, "failed in a way that has no code of its own")                                   \
    X(USAGE, 2, "the command line or the configuration is wrong")                                  \
    X(NOT_FOUND, 3, "what was asked for does not exist")                                           \
    X(CONFLICT, 4, "it conflicts with what is there")                                              \
    X(DENIED, 5, "the token does not allow it")                                                    \
    X(UNAUTHENTICATED, 6, "the token is missing, wrong or expired")                                \
    X(UNAVAILABLE, 7, "no node answers, or no quorum")                                             \
    X(TIMEOUT, 8, "no answer in time")                                                             \
    X(PARTIAL, 9, "some of it was done, the rest not or not surely")

typedef enum cli_exit {
#define CLI_EXIT_ENUM(name, value, text) CLI_EXIT_##name = (value),
    CLI_EXIT_MAP(CLI_EXIT_ENUM)
#undef CLI_EXIT_ENUM
} cli_exit;

cli_exit cli_exit_of(flx_status status);

#endif /* FELIX_CLI_EXIT_H */
