/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args.h - the words of a command line, taken apart by the table. Pure: messages come back as text.
 *
 * Flags may stand anywhere: --name value, --name=value, -n value, -nvalue; "--" ends them. A flag
 * that is given twice counts the last time.
 */
#ifndef FELIX_CLI_ARGS_H
#define FELIX_CLI_ARGS_H

#include "command.h"

#include <felix/status.h>

#define CLI_POSITIONALS_MAX 64
#define CLI_FLAGS_MAX       48 /* of one command with the global ones */

typedef struct cli_args {
    const cli_command *command;
    const char *positionals[CLI_POSITIONALS_MAX];
    size_t positional_count;
    struct {
        const cli_flag *flag;
        const char *value; /* switches: "true" */
    } given[CLI_FLAGS_MAX];
    size_t given_count;
    char *const *raw; /* the words after the command's name, for raw_args */
    int raw_count;
    bool help;                 /* --help or -h stands somewhere */
    const cli_noun *only_noun; /* "felix stream": a noun without a verb */
} cli_args;

/*
 * Parses argv without the program's name. The texts are borrowed.
 * FLX_ERR_INVALID: a message that says which word and what is near it; *ret_args has the command if
 * that much was understood, so that a caller can point at its help.
 */
flx_status cli_args_parse(int argc, char *const *argv, cli_args *ret_args, flx_error *reterr);

/* The known word that was perhaps meant: a verb of `noun`, or with NULL a command or noun. NULL: none. */
const char *cli_nearest_word(const char *noun, const char *word);

/* The value of a flag: as given, else its preset, else NULL. The flag must be in the table. */
const char *cli_args_flag(const cli_args *args, const char *name);
/* Whether a switch is on, or a flag was given at all. */
bool cli_args_has(const cli_args *args, const char *name);
/* The positional at `index`, NULL when there are fewer. */
const char *cli_args_at(const cli_args *args, size_t index);

#endif /* FELIX_CLI_ARGS_H */
