/* SPDX-License-Identifier: Apache-2.0 */
/* help.c - the table of commands on a terminal. */
#include "help.h"

#include "common/config.h"

#include <string.h>

#define WIDTH      96
#define FLAG_WIDTH 32

/* Words of a paragraph, broken at WIDTH with an indent. */
static void write_wrapped(FILE *out, const char *text, unsigned indent)
{
    unsigned column = 0;
    while (*text != '\0') {
        const size_t len = strcspn(text, " ");
        if (column == 0 || column + len + 1 > WIDTH) {
            (void)fprintf(out, "%s%*s", column > 0 ? "\n" : "", (int)indent, "");
            column = indent;
        } else {
            (void)fputc(' ', out);
            column++;
        }
        (void)fwrite(text, 1, len, out);
        column += (unsigned)len;
        text += len;
        text += strspn(text, " ");
    }
    (void)fputc('\n', out);
}

static void write_flags(FILE *out, const cli_flag *flags)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        char spelled[96];
        (void)snprintf(spelled, sizeof spelled, "%c%c%s --%s%s%s", flags->letter != 0 ? '-' : ' ',
                       flags->letter != 0 ? flags->letter : ' ', flags->letter != 0 ? "," : " ",
                       flags->name, flags->value != NULL ? " " : "",
                       flags->value != NULL ? flags->value : "");
        const bool wide = strlen(spelled) > FLAG_WIDTH;
        (void)fprintf(out, "  %-*s%s%-*s%s", wide ? 0 : FLAG_WIDTH, spelled, wide ? "\n" : " ",
                      wide ? FLAG_WIDTH + 3 : 0, "", flags->doc);
        if (flags->preset != NULL) {
            (void)fprintf(out, " (%s)", flags->preset);
        }
        (void)fputc('\n', out);
    }
}

static void write_examples(FILE *out, const char *examples)
{
    while (examples != NULL && *examples != '\0') {
        const size_t len = strcspn(examples, "\n");
        (void)fprintf(out, "  %.*s\n", (int)len, examples);
        examples += len + (examples[len] == '\n');
    }
}

static void write_row(FILE *out, const cli_command *command)
{
    char name[64];
    char spelled[128];
    (void)snprintf(spelled, sizeof spelled, "%s %s", cli_command_name(command, name, sizeof name),
                   command->args);
    (void)fprintf(out, "  %-28s %s\n", spelled, command->summary);
}

static void write_rows(FILE *out, const char *noun)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *command = &cli_commands[i];
        const bool same = noun == NULL ? command->noun == NULL
                                       : command->noun != NULL && strcmp(command->noun, noun) == 0;
        if (same && !command->hidden) {
            write_row(out, command);
        }
    }
}

void cli_help_all(FILE *out)
{
    (void)fputs("felix - streams and caches over QUIC\n\n"
                "Usage: felix COMMAND [ARGUMENTS] [FLAGS]\n\nCommands:\n",
                out);
    write_rows(out, NULL);
    for (const cli_noun *noun = cli_nouns; noun->noun != NULL; noun++) {
        (void)fprintf(out, "\n%s - %s:\n", noun->noun, noun->summary);
        write_rows(out, noun->noun);
    }
    (void)fputs("\nFlags of every command:\n", out);
    write_flags(out, cli_global_flags);
    (void)fputs("\nSTREAM and CACHE are NAME, NAMESPACE/NAME or TENANT/NAMESPACE/NAME.\n"
                "'felix help COMMAND' has details and examples; 'man felix' the exit codes.\n",
                out);
}

void cli_help_noun(FILE *out, const cli_noun *noun)
{
    (void)fprintf(out, "felix %s - %s\n\n", noun->noun, noun->summary);
    write_rows(out, noun->noun);
    (void)fprintf(out, "\n'felix help %s VERB' has details and examples.\n", noun->noun);
}

void cli_help_command(FILE *out, const cli_command *command)
{
    char name[64];
    (void)cli_command_name(command, name, sizeof name);
    (void)fprintf(out, "felix %s - %s\n\nUsage: felix %s%s%s [FLAGS]\n", name, command->summary,
                  name, command->args[0] != '\0' ? " " : "", command->args);
    if (command->details != NULL) {
        (void)fputc('\n', out);
        write_wrapped(out, command->details, 0);
    }
    if (command->flags != NULL) {
        (void)fputs("\nFlags:\n", out);
        write_flags(out, command->flags);
    }
    if (command->examples != NULL) {
        (void)fputs("\nExamples:\n", out);
        write_examples(out, command->examples);
    }
    if (command->raw_args) {
        flx_config_write_help(out); /* its words are those of the configuration */
        return;
    }
    (void)fputs("\nFlags of every command:\n", out);
    write_flags(out, cli_global_flags);
}
