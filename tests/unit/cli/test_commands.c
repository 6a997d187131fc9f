/* SPDX-License-Identifier: Apache-2.0 */
/* The table holds together: what it promises parses, and every document made from it has it all. */
#include "args.h"
#include "common/config.h"
#include "help.h"
#include "run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* What a writer writes; the caller frees. */
static char *written(void (*write)(FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    write(out);
    (void)fclose(out);
    return text;
}

static void flags_do_not_clash(const cli_command *command)
{
    char name[64];
    for (const cli_flag *flag = command->flags; flag != NULL && flag->name != NULL; flag++) {
        for (const cli_flag *other = cli_global_flags; other->name != NULL; other++) {
            if (strcmp(flag->name, other->name) == 0 ||
                (flag->letter != 0 && flag->letter == other->letter)) {
                fail_msg("%s: --%s is a global flag", cli_command_name(command, name, 64),
                         flag->name);
            }
        }
        for (const cli_flag *other = command->flags; other != flag; other++) {
            assert_string_not_equal(flag->name, other->name);
            assert_false(flag->letter != 0 && flag->letter == other->letter);
        }
    }
}

static void rows_keep_the_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *command = &cli_commands[i];
        assert_non_null(command->run);
        assert_true(strlen(command->summary) <= 64);
        assert_true(command->summary[strlen(command->summary) - 1] != '.');
        assert_true(command->noun == NULL || cli_noun_find(command->noun) != NULL);
        assert_true(command->noun != NULL || cli_noun_find(command->verb) == NULL);
        assert_true(command->hidden || command->examples != NULL);
        assert_ptr_equal(cli_command_find(command->noun, command->verb), command);
        flags_do_not_clash(command);
    }
}

/* Splits an example into words; enough for what examples use: blanks, single quotes, # and <. */
static int split(char *line, char *words[16])
{
    int count = 0;
    for (char *at = line; *at != '\0' && count < 16;) {
        at += strspn(at, " ");
        if (*at == '#' || *at == '<' || *at == '>' || *at == '\0') {
            break;
        }
        char *end = *at == '\'' ? strchr(at + 1, '\'') : at + strcspn(at, " ");
        assert_non_null(end);
        words[count++] = *at == '\'' ? at + 1 : at;
        at = end + (*end != '\0');
        *end = '\0';
    }
    return count;
}

static void check_example(const cli_command *command, const char *example, size_t len)
{
    char line[256];
    char *words[16];
    cli_args args;
    flx_error error = {0};
    assert_true(len < sizeof line);
    memcpy(line, example, len);
    line[len] = '\0';
    assert_non_null(strstr(line, " # ")); /* each says what it does */
    const int count = split(line, words);
    assert_string_equal(words[0], "felix");
    if (cli_args_parse(count - 1, words + 1, &args, &error) != FLX_OK) {
        fail_msg("%.*s: %s", (int)len, example, error.message);
    }
    assert_ptr_equal(args.command, command);
}

static void examples_parse_as_their_command(void **state)
{
    (void)state;
    for (size_t i = 0; i < cli_command_count; i++) {
        for (const char *at = cli_commands[i].examples; at != NULL && *at != '\0';) {
            const size_t len = strcspn(at, "\n");
            check_example(&cli_commands[i], at, len);
            at += len + (at[len] == '\n');
        }
    }
}

/* Every document made from the table names every command, and every flag where it has flags. */
static void documents_have_every_command_and_flag(void **state)
{
    (void)state;
    char *markdown = written(cli_write_markdown);
    char *overview = written(cli_help_all);
    char *man = written(cli_write_man);
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *command = &cli_commands[i];
        char name[64];
        char heading[96];
        if (command->hidden) {
            continue;
        }
        (void)cli_command_name(command, name, sizeof name);
        (void)snprintf(heading, sizeof heading, "### felix %s\n", name);
        assert_non_null(strstr(markdown, heading));
        assert_non_null(strstr(overview, command->summary));
        (void)snprintf(heading, sizeof heading, ".SS felix %s ", name);
        assert_non_null(strstr(man, heading));
        for (const cli_flag *flag = command->flags; flag != NULL && flag->name != NULL; flag++) {
            (void)snprintf(heading, sizeof heading, "--%s", flag->name);
            assert_non_null(strstr(markdown, heading));
        }
    }
    free(markdown);
    free(overview);
    free(man);
}

static void write_named(FILE *out, const char *shell)
{
    assert_true(cli_write_completion(out, shell));
}

static void completion_knows_every_word(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t s = 0; s < 3; s++) {
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        assert_non_null(out);
        write_named(out, shells[s]);
        (void)fclose(out);
        for (size_t i = 0; i < cli_command_count; i++) {
            assert_true(cli_commands[i].hidden || strstr(text, cli_commands[i].verb) != NULL);
        }
        free(text);
    }
    assert_false(cli_write_completion(stderr, "tcsh"));
}

/* Runs a command line; what it writes to both streams. The caller frees. */
static cli_exit run_line(const char *const *words, char **ret_out, char **ret_err)
{
    size_t out_len = 0;
    size_t err_len = 0;
    char copies[12][64];
    char *argv[12];
    char *environment[] = {NULL};
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        (void)snprintf(copies[argc], sizeof copies[argc], "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    FILE *out = open_memstream(ret_out, &out_len);
    FILE *err = open_memstream(ret_err, &err_len);
    const cli_exit code = cli_main(argc, argv, environment, out, err);
    (void)fclose(out);
    (void)fclose(err);
    return code;
}

typedef struct run_row {
    const char *words[8];
    cli_exit code;
    const char *out; /* somewhere in it; NULL: nothing is written */
    const char *err;
} run_row;

static const run_row run_rows[] = {
    {{"version"}, CLI_EXIT_OK, "felix " FLX_VERSION "\n", NULL},
    {{"--version"}, CLI_EXIT_OK, "felix " FLX_VERSION "\n", NULL},
    {{"version", "-o", "json"}, CLI_EXIT_OK, "{\n  \"version\": \"" FLX_VERSION "\"\n}\n", NULL},
    {{"help"}, CLI_EXIT_OK, "Usage: felix COMMAND", NULL},
    {{"help", "stream", "create"}, CLI_EXIT_OK, "felix stream create - create a stream", NULL},
    {{"help", "stream"}, CLI_EXIT_OK, "list the streams", NULL},
    {{"stream", "create", "--help"}, CLI_EXIT_OK, "--durable", NULL},
    {{"stream"}, CLI_EXIT_USAGE, NULL, "stream create"},
    {{NULL}, CLI_EXIT_USAGE, NULL, "Usage: felix COMMAND"},
    {{"help", "steram"},
     CLI_EXIT_USAGE,
     NULL,
     "felix: no help for 'steram', did you mean 'stream'?; 'felix help' lists what there is\n"},
    {{"nope"},
     CLI_EXIT_USAGE,
     NULL,
     "felix: unknown command 'nope'; 'felix help' lists what there is\n"},
    {{"pub"},
     CLI_EXIT_USAGE,
     NULL,
     "felix: 'pub' needs STREAM [TEXT]; 'felix help pub' shows how it is used\n"},
    {{"completion", "ksh"},
     CLI_EXIT_USAGE,
     NULL,
     "felix: no completion for 'ksh'; bash, zsh and fish are known\n"},
    {{"pub", "orders", "x"},
     CLI_EXIT_USAGE,
     NULL,
     "felix: no tenant is known; 'felix up' writes a context with one, or give --tenant\n"},
    {{"pub", "orders", "x", "--tenant", "t1"},
     CLI_EXIT_UNAUTHENTICATED,
     NULL,
     "felix: no token is known; set FELIX_TOKEN, or name a file with --token-file\n"},
    {{"pub", "orders", "x", "--batch", "0"},
     CLI_EXIT_USAGE,
     NULL,
     "felix: --batch 0 is out of range, 1 to 65536\n"},
    {{"pub", "orders", "x", "--lines"}, CLI_EXIT_USAGE, NULL, "give a text or --lines, not both"},
    {{"sub", "orders", "--from", "soon"}, CLI_EXIT_USAGE, NULL, "--from: 'soon' is no start"},
    {{"stream", "show", "a//b", "--tenant", "t1"}, CLI_EXIT_USAGE, NULL, "is no name of a stream"},
    {{"cache", "get", "c", ""}, CLI_EXIT_USAGE, NULL, "the key is empty"},
    {{"sub", "a", "--timeout", "soon"}, CLI_EXIT_USAGE, NULL, "--timeout: 'soon' is no duration"},
    {{"up", "--quik-bind", "x"}, CLI_EXIT_USAGE, NULL, "did you mean '--quic-bind'?"},
    {{"up", "--data=/nonexistent", "--print-config"},
     CLI_EXIT_OK,
     "data_dir: \"/nonexistent\"\n",
     NULL},
    {{"up", "--print-config", "--origin"},
     CLI_EXIT_OK,
     "quic_bind: \"127.0.0.1:5000\"  # program\n",
     NULL},
};

static void runs_end_with_the_right_words_and_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof run_rows / sizeof run_rows[0]; i++) {
        const run_row *row = &run_rows[i];
        char *out = NULL;
        char *err = NULL;
        const cli_exit code = run_line(row->words, &out, &err);
        const bool out_fits = row->out != NULL ? strstr(out, row->out) != NULL : out[0] == '\0';
        const bool err_fits = row->err != NULL ? strstr(err, row->err) != NULL : err[0] == '\0';
        if (code != row->code || !out_fits || !err_fits) {
            fail_msg("row %zu: code %d\nout: %s\nerr: %s", i, code, out, err);
        }
        free(out);
        free(err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_keep_the_rules),
        cmocka_unit_test(examples_parse_as_their_command),
        cmocka_unit_test(documents_have_every_command_and_flag),
        cmocka_unit_test(completion_knows_every_word),
        cmocka_unit_test(runs_end_with_the_right_words_and_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
