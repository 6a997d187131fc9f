/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion.c - completion for bash, zsh and fish. The scripts are plain lists made from the table,
 * so completing never runs the command.
 */
#include "help.h"

#include <string.h>

/* Calls for each thing that may stand first: nouns and commands that stand alone. */
static void write_first_words(FILE *out, const char *separator)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        if (cli_commands[i].noun == NULL && !cli_commands[i].hidden) {
            (void)fprintf(out, "%s%s", cli_commands[i].verb, separator);
        }
    }
    for (const cli_noun *noun = cli_nouns; noun->noun != NULL; noun++) {
        (void)fprintf(out, "%s%s", noun->noun, noun[1].noun != NULL ? separator : "");
    }
}

static void write_verbs(FILE *out, const char *noun)
{
    const char *separator = "";
    for (size_t i = 0; i < cli_command_count; i++) {
        if (cli_commands[i].noun != NULL && strcmp(cli_commands[i].noun, noun) == 0) {
            (void)fprintf(out, "%s%s", separator, cli_commands[i].verb);
            separator = " ";
        }
    }
}

static void write_flag_words(FILE *out, const cli_flag *flags)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        (void)fprintf(out, " --%s", flags->name);
    }
}

/* Choices of a flag as words: the lower-case ones. */
static void write_choices(FILE *out, const char *value)
{
    const char *separator = "";
    while (*value != '\0') {
        const size_t len = strcspn(value, "|");
        if (value[0] >= 'a' && value[0] <= 'z') {
            (void)fprintf(out, "%s%.*s", separator, (int)len, value);
            separator = " ";
        }
        value += len + (value[len] == '|');
    }
}

static bool has_choices(const cli_flag *flag)
{
    return flag->value != NULL && strchr(flag->value, '|') != NULL;
}

/* Whether an earlier command has a flag of this name; a name means the same everywhere. */
static bool was_written(size_t before, const char *name)
{
    for (size_t i = 0; i < before; i++) {
        const cli_flag *flag = cli_commands[i].flags;
        for (; flag != NULL && flag->name != NULL; flag++) {
            if (strcmp(flag->name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void write_case_flags(FILE *out, const cli_flag *flags, size_t before)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        if (was_written(before, flags->name)) {
            continue;
        }
        if (has_choices(flags)) {
            (void)fprintf(out, "    --%s) list=\"", flags->name);
            write_choices(out, flags->value);
            (void)fputs("\" ;;\n", out);
        } else if (flags->value != NULL && strcmp(flags->value, "FILE") == 0) {
            (void)fprintf(out, "    --%s) files=1 ;;\n", flags->name);
        } else if (flags->value != NULL) {
            (void)fprintf(out, "    --%s) list=none ;;\n", flags->name);
        }
    }
}

/* "-o|-c|--output|...": the flags whose next word is their value. */
static void write_value_flags(FILE *out)
{
    (void)fputs("-o|-c|-n", out);
    for (const cli_flag *flag = cli_global_flags; flag->name != NULL; flag++) {
        if (flag->value != NULL) {
            (void)fprintf(out, "|--%s", flag->name);
        }
    }
}

/* Finds noun and verb among the words before the cursor; bash and zsh count words differently. */
static void write_word_loop(FILE *out, const char *loop, const char *word)
{
    (void)fprintf(out,
                  "    local value=\"\"\n    %s\n        if [ -n \"$value\" ]; then value=\"\"; "
                  "continue; fi\n"
                  "        case \"%s\" in\n        ",
                  loop, word);
    write_value_flags(out);
    (void)fprintf(out,
                  ") value=1 ;;\n"
                  "        -*) ;;\n"
                  "        *) if [ -z \"$first\" ]; then first=%s;"
                  " elif [ -z \"$second\" ]; then second=%s; fi ;;\n"
                  "        esac\n"
                  "    done\n",
                  word, word);
}

/* What follows the words so far: shared by bash and zsh, which both read this much shell. */
static void write_shell_body(FILE *out)
{
    (void)fputs("_felix_words() {\n"
                "    # $1: noun or command, $2: verb, $3: the word before the cursor\n"
                "    list=\"\" files=\"\"\n"
                "    case \"$1\" in\n    \"\") list=\"",
                out);
    write_first_words(out, " ");
    (void)fputs("\"; return ;;\n    help) list=\"", out);
    write_first_words(out, " ");
    (void)fputs("\"; return ;;\n    completion) list=\"bash zsh fish\"; return ;;\n    esac\n",
                out);
    (void)fputs("    case \"$3\" in\n    -o) list=\"", out);
    write_choices(out, cli_global_flags[0].value);
    (void)fputs("\" ;;\n", out);
    write_case_flags(out, cli_global_flags, 0);
    for (size_t i = 0; i < cli_command_count; i++) {
        write_case_flags(out, cli_commands[i].flags, i);
    }
    (void)fputs("    esac\n    [ -n \"$list$files\" ] && { [ \"$list\" = none ] && list=\"\"; "
                "return; }\n"
                "    case \"$1 $2\" in\n",
                out);
    for (const cli_noun *noun = cli_nouns; noun->noun != NULL; noun++) {
        (void)fprintf(out, "    \"%s \") list=\"", noun->noun);
        write_verbs(out, noun->noun);
        (void)fputs("\"; return ;;\n", out);
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *command = &cli_commands[i];
        if (command->hidden || command->flags == NULL) {
            continue;
        }
        (void)fprintf(out, command->noun != NULL ? "    \"%s %s\")" : "    \"%s%s \"*)",
                      command->noun != NULL ? command->noun : "", command->verb);
        (void)fputs(" list=\"", out);
        write_flag_words(out, command->flags);
        (void)fputs("\" ;;\n", out);
    }
    (void)fputs("    esac\n    list=\"$list", out);
    write_flag_words(out, cli_global_flags);
    (void)fputs(" --help\"\n}\n", out);
}

static void write_bash(FILE *out)
{
    (void)fputs("# bash completion of felix, made by 'felix completion bash'.\n", out);
    write_shell_body(out);
    (void)fputs("_felix() {\n"
                "    local list files first second i cur=${COMP_WORDS[COMP_CWORD]}\n",
                out);
    write_word_loop(out, "for ((i = 1; i < COMP_CWORD; i++)); do", "${COMP_WORDS[i]}");
    (void)fputs("    _felix_words \"$first\" \"$second\" \"${COMP_WORDS[COMP_CWORD-1]}\"\n"
                "    if [ -n \"$files\" ]; then\n"
                "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                "    else\n"
                "        mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$cur\")\n"
                "    fi\n"
                "}\n"
                "complete -o default -F _felix felix\n",
                out);
}

static void write_zsh(FILE *out)
{
    (void)fputs("#compdef felix\n# zsh completion of felix, made by 'felix completion zsh'.\n",
                out);
    write_shell_body(out);
    (void)fputs("_felix() {\n"
                "    local -a line=(\"${(@)words}\")\n"
                "    local list files first second i\n",
                out);
    write_word_loop(out, "for ((i = 2; i < CURRENT; i++)); do", "${line[i]}");
    (void)fputs(
        "    _felix_words \"$first\" \"$second\" \"${line[CURRENT-1]}\"\n"
        "    if [ -n \"$files\" ]; then _files; else compadd -- ${=list}; fi\n"
        "}\n"
        "if [ \"${funcstack[1]}\" = _felix ]; then _felix \"$@\"; else compdef _felix felix; fi\n",
        out);
}

/* Single quotes of fish: \ and ' are escaped. */
static void write_fish_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\') {
            (void)fputc('\\', out);
        }
        (void)fputc(*text, out);
    }
}

static void write_fish_flags(FILE *out, const cli_flag *flags, const char *condition)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        (void)fprintf(out, "complete -c felix%s -l %s", condition, flags->name);
        if (flags->letter != 0) {
            (void)fprintf(out, " -s %c", flags->letter);
        }
        if (has_choices(flags)) {
            (void)fputs(" -x -a '", out);
            write_choices(out, flags->value);
            (void)fputc('\'', out);
        } else if (flags->value != NULL) {
            (void)fputs(strcmp(flags->value, "FILE") == 0 ? " -r -F" : " -x", out);
        }
        (void)fputs(" -d '", out);
        write_fish_text(out, flags->doc);
        (void)fputs("'\n", out);
    }
}

static void write_fish_command(FILE *out, const cli_command *command)
{
    char condition[160];
    if (command->noun != NULL) {
        (void)fprintf(out,
                      "complete -c felix -f -n '__fish_seen_subcommand_from %s; and not "
                      "__fish_seen_subcommand_from ",
                      command->noun);
        write_verbs(out, command->noun);
        (void)fprintf(out, "' -a %s -d '", command->verb);
        (void)snprintf(condition, sizeof condition,
                       " -n '__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s'",
                       command->noun, command->verb);
    } else {
        (void)fprintf(out, "complete -c felix -f -n __fish_use_subcommand -a %s -d '",
                      command->verb);
        (void)snprintf(condition, sizeof condition, " -n '__fish_seen_subcommand_from %s'",
                       command->verb);
    }
    write_fish_text(out, command->summary);
    (void)fputs("'\n", out);
    write_fish_flags(out, command->flags, condition);
}

static void write_fish(FILE *out)
{
    (void)fputs("# fish completion of felix, made by 'felix completion fish'.\n", out);
    for (const cli_noun *noun = cli_nouns; noun->noun != NULL; noun++) {
        (void)fprintf(out, "complete -c felix -f -n __fish_use_subcommand -a %s -d '", noun->noun);
        write_fish_text(out, noun->summary);
        (void)fputs("'\n", out);
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        if (!cli_commands[i].hidden) {
            write_fish_command(out, &cli_commands[i]);
        }
    }
    (void)fputs(
        "complete -c felix -n '__fish_seen_subcommand_from completion' -x -a 'bash zsh fish'\n",
        out);
    write_fish_flags(out, cli_global_flags, "");
}

bool cli_write_completion(FILE *out, const char *shell)
{
    static const struct {
        const char *shell;
        void (*write)(FILE *);
    } shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shell, shells[i].shell) == 0) {
            shells[i].write(out);
            return true;
        }
    }
    return false;
}
