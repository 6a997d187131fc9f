/* SPDX-License-Identifier: Apache-2.0 */
/* help.h - the table of commands for people and shells. Everything here is read off commands.c. */
#ifndef FELIX_CLI_HELP_H
#define FELIX_CLI_HELP_H

#include "command.h"

#include <stdio.h>

void cli_help_all(FILE *out);
void cli_help_noun(FILE *out, const cli_noun *noun);
void cli_help_command(FILE *out, const cli_command *command);

/* docs/ops/cli.md and felix.1. */
void cli_write_markdown(FILE *out);
void cli_write_man(FILE *out);

/* False: no such shell. */
bool cli_write_completion(FILE *out, const char *shell);

#endif /* FELIX_CLI_HELP_H */
