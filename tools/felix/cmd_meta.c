/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_meta.c - commands about the command: help, version, completion, docs. */
#include "args.h"
#include "commands.h"
#include "common/config.h"
#include "help.h"

#include <string.h>

static cli_exit no_such_help(cli_run *run, const char *noun, const char *word)
{
    const char *best = cli_nearest_word(noun, word);
    return cli_error(run, CLI_EXIT_USAGE, "'felix help' lists what there is",
                     "no help for '%s%s%.60s'%s%s%s", noun != NULL ? noun : "",
                     noun != NULL ? " " : "", word, best != NULL ? ", did you mean '" : "",
                     best != NULL ? best : "", best != NULL ? "'?" : "");
}

static cli_exit write_page(cli_run *run, const char *page)
{
    if (strcmp(page, "man") == 0) {
        cli_write_man(run->out);
    } else if (strcmp(page, "cli") == 0) {
        cli_write_markdown(run->out);
    } else if (strcmp(page, "configuration") == 0) {
        flx_config_write_markdown(run->out);
    } else {
        return cli_error(run, CLI_EXIT_USAGE, "pages are man, cli and configuration",
                         "no page '%.60s'", page);
    }
    return CLI_EXIT_OK;
}

cli_exit cli_cmd_help(cli_run *run)
{
    const char *first = cli_args_at(&run->args, 0);
    const char *second = cli_args_at(&run->args, 1);
    if (strcmp(run->args.command->verb, "docs") == 0) {
        return write_page(run, first);
    }
    if (first == NULL) {
        cli_help_all(run->out);
        return CLI_EXIT_OK;
    }
    const cli_noun *noun = cli_noun_find(first);
    if (noun != NULL && second == NULL) {
        cli_help_noun(run->out, noun);
        return CLI_EXIT_OK;
    }
    const char *verb = noun != NULL ? second : first;
    const char *of = noun != NULL ? noun->noun : NULL;
    const cli_command *command = cli_command_find(of, verb);
    if (command == NULL) {
        command = cli_command_find(of, cli_verb_canonical(verb));
    }
    if (command == NULL || command->hidden) {
        return no_such_help(run, of, verb);
    }
    cli_help_command(run->out, command);
    return CLI_EXIT_OK;
}

cli_exit cli_cmd_version(cli_run *run)
{
    static const cli_column columns[] = {{"VERSION", "version", false, 0}, {NULL, NULL, false, 0}};
    const cli_format format = cli_run_format(run, CLI_FORMAT_RAW, CLI_FORMAT_RAW);
    if (format == CLI_FORMAT_RAW) {
        (void)fputs("felix " FLX_VERSION "\n", run->out);
        return CLI_EXIT_OK;
    }
    cli_out out;
    cli_out_begin(&out, run->out, format, CLI_SHAPE_ONE, columns, "version", false);
    cli_out_row(&out, json_pack("{s:s}", "version", FLX_VERSION));
    return cli_out_end(&out) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

cli_exit cli_cmd_completion(cli_run *run)
{
    const char *shell = cli_args_at(&run->args, 0);
    if (!cli_write_completion(run->out, shell)) {
        return cli_error(run, CLI_EXIT_USAGE, "bash, zsh and fish are known",
                         "no completion for '%.60s'", shell);
    }
    return CLI_EXIT_OK;
}
