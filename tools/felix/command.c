/* SPDX-License-Identifier: Apache-2.0 */
/* command.c - finding things in the table, and what its words mean. */
#include "command.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

const char *cli_verb_canonical(const char *verb)
{
    static const char *const spellings[][2] = {
        {"list", "ls"},       {"delete", "rm"}, {"remove", "rm"},  {"del", "rm"},
        {"describe", "show"}, {"get", "show"},  {"new", "create"}, {"publish", "pub"},
        {"subscribe", "sub"}, {"set", "put"},
    };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        if (strcmp(verb, spellings[i][0]) == 0) {
            return spellings[i][1];
        }
    }
    return verb;
}

const cli_noun *cli_noun_find(const char *word)
{
    for (const cli_noun *row = cli_nouns; row->noun != NULL; row++) {
        const size_t len = strlen(row->noun);
        const bool plural = strncmp(word, row->noun, len) == 0 && strcmp(word + len, "s") == 0;
        if (strcmp(word, row->noun) == 0 || plural ||
            (row->alias != NULL && strcmp(word, row->alias) == 0)) {
            return row;
        }
    }
    return NULL;
}

const cli_command *cli_command_find(const char *noun, const char *verb)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *command = &cli_commands[i];
        const bool same_noun = noun == NULL
                                   ? command->noun == NULL
                                   : command->noun != NULL && strcmp(command->noun, noun) == 0;
        if (same_noun && strcmp(command->verb, verb) == 0) {
            return command;
        }
    }
    return NULL;
}

void cli_command_arity(const cli_command *command, size_t *ret_min, size_t *ret_max)
{
    *ret_min = 0;
    *ret_max = 0;
    for (const char *at = command->args; *at != '\0';) {
        const size_t len = strcspn(at, " ");
        *ret_min += *at != '[';
        *ret_max = len > 3 && strstr(at, "...") != NULL && strstr(at, "...") < at + len
                       ? SIZE_MAX
                       : *ret_max + 1;
        at += len;
        at += strspn(at, " ");
    }
}

const char *cli_command_name(const cli_command *command, char *text, size_t cap)
{
    (void)snprintf(text, cap, "%s%s%s", command->noun != NULL ? command->noun : "",
                   command->noun != NULL ? " " : "", command->verb);
    return text;
}

cli_exit cli_exit_of(flx_status status)
{
    switch (status) {
    case FLX_OK:
        return CLI_EXIT_OK;
    case FLX_ERR_INVALID:
        return CLI_EXIT_USAGE;
    case FLX_ERR_NOT_FOUND:
        return CLI_EXIT_NOT_FOUND;
    case FLX_ERR_CONFLICT:
        return CLI_EXIT_CONFLICT;
    case FLX_ERR_DENIED:
        return CLI_EXIT_DENIED;
    case FLX_ERR_UNAUTHENTICATED:
        return CLI_EXIT_UNAUTHENTICATED;
    case FLX_ERR_UNAVAILABLE:
    case FLX_ERR_UNTRUSTED: /* whoever answers is not the node */
    case FLX_ERR_CLOSED:
    case FLX_ERR_AGAIN:
        return CLI_EXIT_UNAVAILABLE;
    case FLX_ERR_TIMEOUT:
        return CLI_EXIT_TIMEOUT;
    case FLX_ERR_UNKNOWN_OUTCOME:
    case FLX_ERR_LAGGED:
        return CLI_EXIT_PARTIAL;
    default:
        return CLI_EXIT_FAILURE;
    }
}
