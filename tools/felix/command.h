/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - what a command is. All of them stand in one table (commands.c), and help, manual,
 * completion, docs/ops/cli.md and "did you mean" are read off it, so none can be forgotten there.
 */
#ifndef FELIX_CLI_COMMAND_H
#define FELIX_CLI_COMMAND_H

#include "exit.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_run cli_run;

/* One flag. The last row of a list has name NULL. */
typedef struct cli_flag {
    const char *name;  /* without dashes */
    const char *value; /* NULL: a switch. Lower-case words with | between are its choices. */
    const char *doc;
    const char *preset; /* the value when it is not given; NULL: none */
    char letter;        /* 'o' for -o; 0: none */
} cli_flag;

typedef struct cli_command {
    const char *noun; /* NULL: the verb stands alone */
    const char *verb;
    const char *args;      /* "STREAM [TEXT]": [] optional, ... repeated */
    const cli_flag *flags; /* beside the global ones; NULL: none */
    const char *summary;   /* one line */
    const char *details;   /* NULL, or sentences */
    const char *examples;  /* NULL, or lines "command # what it does" */
    cli_exit (*run)(cli_run *run);
    bool raw_args; /* the words after the name go to run as they are (felix up) */
    bool hidden;
} cli_command;

extern const cli_command cli_commands[];
extern const size_t cli_command_count;
extern const cli_flag cli_global_flags[]; /* every command takes these */

/* A noun and what it is about, for help; with an alias or NULL. The last row has noun NULL. */
typedef struct cli_noun {
    const char *noun;
    const char *alias;
    const char *summary;
} cli_noun;
extern const cli_noun cli_nouns[];

/* Other spellings of verbs that people have in their fingers: "list" is "ls". */
const char *cli_verb_canonical(const char *verb);
/* The noun a word means, NULL when it is none. */
const cli_noun *cli_noun_find(const char *word);
/* NULL when there is none. noun NULL: a command that stands alone. */
const cli_command *cli_command_find(const char *noun, const char *verb);

/* The positional arguments that `args` asks for. *ret_max SIZE_MAX: any number. */
void cli_command_arity(const cli_command *command, size_t *ret_min, size_t *ret_max);

/* "stream create" or "pub", into `text`. */
const char *cli_command_name(const cli_command *command, char *text, size_t cap);

#endif /* FELIX_CLI_COMMAND_H */
