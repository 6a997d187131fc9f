/* SPDX-License-Identifier: Apache-2.0 */
/* docs.c - the table of commands as docs/ops/cli.md and felix.1. */
#include "common/config.h"
#include "help.h"

#include <string.h>

typedef void (*command_fn)(FILE *out, const cli_command *command);

/* Standalone commands first, then noun by noun, as help lists them. */
static void each_command(FILE *out, command_fn write, void (*write_noun)(FILE *, const cli_noun *))
{
    for (size_t i = 0; i < cli_command_count; i++) {
        if (cli_commands[i].noun == NULL && !cli_commands[i].hidden) {
            write(out, &cli_commands[i]);
        }
    }
    for (const cli_noun *noun = cli_nouns; noun->noun != NULL; noun++) {
        write_noun(out, noun);
        for (size_t i = 0; i < cli_command_count; i++) {
            const cli_command *command = &cli_commands[i];
            if (command->noun != NULL && strcmp(command->noun, noun->noun) == 0) {
                write(out, command);
            }
        }
    }
}

/* --- Markdown --- */

static void write_cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        (void)fputs(*text == '|' ? "\\|" : (char[]){*text, '\0'}, out);
    }
}

static void markdown_flags(FILE *out, const cli_flag *flags)
{
    (void)fputs("\n| flag | default | meaning |\n|---|---|---|\n", out);
    for (; flags->name != NULL; flags++) {
        (void)fputs("| `", out);
        if (flags->letter != 0) {
            (void)fprintf(out, "-%c`, `", flags->letter);
        }
        (void)fprintf(out, "--%s%s", flags->name, flags->value != NULL ? " " : "");
        write_cell(out, flags->value != NULL ? flags->value : "");
        (void)fprintf(out, "` | %s | ", flags->preset != NULL ? flags->preset : "");
        write_cell(out, flags->doc);
        (void)fputs(" |\n", out);
    }
}

static void markdown_command(FILE *out, const cli_command *command)
{
    char name[64];
    (void)cli_command_name(command, name, sizeof name);
    (void)fprintf(out, "\n### felix %s\n\n`felix %s%s%s`: %s.\n", name, name,
                  command->args[0] != '\0' ? " " : "", command->args, command->summary);
    if (command->details != NULL) {
        (void)fprintf(out, "\n%s\n", command->details);
    }
    if (command->flags != NULL) {
        markdown_flags(out, command->flags);
    }
    if (command->examples != NULL) {
        (void)fprintf(out, "\n```sh\n%s\n```\n", command->examples);
    }
}

static void markdown_noun(FILE *out, const cli_noun *noun)
{
    (void)fprintf(out, "\n## %s\n\n%s.\n", noun->noun, noun->summary);
}

void cli_write_markdown(FILE *out)
{
    (void)fputs(
        "# The felix command\n\n"
        "<!-- Written by tools/docs from tools/felix/commands.c; edit that. -->\n\n"
        "A noun, then a verb: `felix stream create orders`. Commands that carry data stand "
        "alone: `felix pub orders hello`. STREAM and CACHE are `NAME`, `NAMESPACE/NAME` or "
        "`TENANT/NAMESPACE/NAME`; what is left out comes from the context.\n\n"
        "Results go to standard output, everything said about them to standard error. On a "
        "terminal results are tables; otherwise JSON, a line each, or whatever `-o` asks "
        "for. Members of JSON objects are documented here by the columns of `-o wide` and "
        "stay what they are. Errors are one line: what failed, on what, what to do next.\n\n"
        "## Exit codes\n\n| code | meaning |\n|---|---|\n",
        out);
#define EXIT_ROW(name, value, text) (void)fprintf(out, "| %d | %s |\n", value, text);
    CLI_EXIT_MAP(EXIT_ROW)
#undef EXIT_ROW
    (void)fputs("\n## Flags of every command\n", out);
    markdown_flags(out, cli_global_flags);
    (void)fputs("\n## Commands\n", out);
    each_command(out, markdown_command, markdown_noun);
}

/* --- man --- */

/* Text of the table in roff: dashes are minus signs, a leading dot or quote is hidden. */
static void write_roff(FILE *out, const char *text, size_t len)
{
    if (len > 0 && (text[0] == '.' || text[0] == '\'')) {
        (void)fputs("\\&", out);
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-') {
            (void)fputs("\\-", out);
        } else if (text[i] == '\\') {
            (void)fputs("\\e", out);
        } else {
            (void)fputc(text[i], out);
        }
    }
}

static void write_roff_text(FILE *out, const char *text)
{
    write_roff(out, text, strlen(text));
}

static void man_flags(FILE *out, const cli_flag *flags)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        (void)fputs(".TP\n\\fB", out);
        if (flags->letter != 0) {
            (void)fprintf(out, "\\-%c\\fR, \\fB", flags->letter);
        }
        (void)fputs("\\-\\-", out);
        write_roff_text(out, flags->name);
        (void)fputs("\\fR", out);
        if (flags->value != NULL) {
            (void)fputs(" \\fI", out);
            write_roff_text(out, flags->value);
            (void)fputs("\\fR", out);
        }
        (void)fputc('\n', out);
        write_roff_text(out, flags->doc);
        if (flags->preset != NULL) {
            (void)fputs(" (", out);
            write_roff_text(out, flags->preset);
            (void)fputc(')', out);
        }
        (void)fputs(".\n", out);
    }
}

static void man_examples(FILE *out, const char *examples)
{
    (void)fputs(".PP\n.EX\n", out);
    while (*examples != '\0') {
        const size_t len = strcspn(examples, "\n");
        write_roff(out, examples, len);
        (void)fputc('\n', out);
        examples += len + (examples[len] == '\n');
    }
    (void)fputs(".EE\n", out);
}

static void man_command(FILE *out, const cli_command *command)
{
    char name[64];
    (void)fputs(".SS felix ", out);
    write_roff_text(out, cli_command_name(command, name, sizeof name));
    (void)fputc(' ', out);
    write_roff_text(out, command->args);
    (void)fputc('\n', out);
    write_roff_text(out, command->summary);
    (void)fputs(".\n", out);
    if (command->details != NULL) {
        (void)fputs(".PP\n", out);
        write_roff_text(out, command->details);
        (void)fputc('\n', out);
    }
    man_flags(out, command->flags);
    if (command->examples != NULL) {
        man_examples(out, command->examples);
    }
}

static void man_noun(FILE *out, const cli_noun *noun)
{
    (void)fputs(".SH ", out);
    for (const char *at = noun->noun; *at != '\0'; at++) {
        (void)fputc(*at - 'a' + 'A', out);
    }
    (void)fputc('\n', out);
    write_roff_text(out, noun->summary);
    (void)fputs(".\n", out);
}

void cli_write_man(FILE *out)
{
    (void)fputs(
        ".\\\" Written by tools/docs from tools/felix/commands.c; edit that.\n"
        ".TH FELIX 1 \"\" \"felix " FLX_VERSION "\" \"User Commands\"\n"
        ".SH NAME\nfelix \\- streams and caches over QUIC\n"
        ".SH SYNOPSIS\n.B felix\n\\fICOMMAND\\fR [\\fIARGUMENTS\\fR] [\\fIFLAGS\\fR]\n"
        ".SH DESCRIPTION\n"
        "A noun, then a verb; commands that carry data stand alone. STREAM and CACHE are NAME, "
        "NAMESPACE/NAME or TENANT/NAMESPACE/NAME. Results go to standard output, everything "
        "said about them to standard error.\n"
        ".SH OPTIONS\n",
        out);
    man_flags(out, cli_global_flags);
    (void)fputs(".SH COMMANDS\n", out);
    each_command(out, man_command, man_noun);
    (void)fputs(".SH EXIT STATUS\n", out);
#define EXIT_ROW(name, value, text) (void)fprintf(out, ".TP\n%d\n%s.\n", value, text);
    CLI_EXIT_MAP(EXIT_ROW)
#undef EXIT_ROW
    (void)fputs(".SH FILES\n.TP\n$XDG_CONFIG_HOME/felix/config.yaml\nContexts; FELIX_CONFIG names "
                "another file.\n"
                ".SH CONFIGURATION OF A NODE\n"
                "Flags of \\fBfelix up\\fR and keys of its configuration file.\n",
                out);
    flx_config_write_man(out);
}
