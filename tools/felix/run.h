/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.h - one run of the command: its words, its surroundings, and how it speaks.
 *
 * Results go to `out`, everything said about them to `err`. An error is one line: what failed, on
 * what, what to do next. Handlers take all they need from here, so tests can run them.
 */
#ifndef FELIX_CLI_RUN_H
#define FELIX_CLI_RUN_H

#include "args.h"
#include "context.h"
#include "output.h"

#include <stdio.h>

struct cli_run {
    cli_args args;
    char *const *environment;
    FILE *out;
    FILE *err;
    bool out_is_terminal;
    bool err_is_terminal;
    cli_settings settings; /* filled by cli_run_settings */
    bool has_settings;
};

/* Runs argv (without the program's name); the exit code. */
cli_exit cli_main(int argc, char *const *argv, char *const *environment, FILE *out, FILE *err);

/* The value of an environment variable, NULL when it is not set. */
const char *cli_env(const cli_run *run, const char *name);

/* "felix: MESSAGE; NEXT" on err; `next` NULL: nothing more to say. Returns `code`. */
cli_exit cli_error(const cli_run *run, cli_exit code, const char *next, const char *format, ...)
    FLX_PRINTF(4, 5);

/*
 * "felix: WHAT: message of the error; what to do next", the last from the status. Returns the exit
 * code of the status.
 */
cli_exit cli_failed(const cli_run *run, const flx_error *error, const char *format, ...)
    FLX_PRINTF(3, 4);

/* Writes out what was printed. False: it cannot be read any more, and the command ends with *ret_exit:
 * well when who read has seen enough. */
bool cli_flush(const cli_run *run, cli_exit *ret_exit);

/* A line on err about the progress of things: "felix: created stream 'a'". */
void cli_say(const cli_run *run, const char *format, ...) FLX_PRINTF(2, 3);

/*
 * The settings of this run (flag, environment, context, default), resolved once. On failure the
 * error was printed and *ret_exit is set.
 */
const cli_settings *cli_run_settings(cli_run *run, cli_exit *ret_exit);

/* The format of -o, or `on_terminal`/`otherwise` when it is not given. */
cli_format cli_run_format(const cli_run *run, cli_format on_terminal, cli_format otherwise);

/* Flags as numbers. False: it was said what is wrong, and the exit code is CLI_EXIT_USAGE. */
bool cli_flag_u64(const cli_run *run, const char *name, uint64_t min, uint64_t max,
                  uint64_t *ret_value);
bool cli_flag_size(const cli_run *run, const char *name, uint64_t min, uint64_t max,
                   uint64_t *ret_bytes);
bool cli_flag_duration_us(const cli_run *run, const char *name, uint64_t *ret_us);
/* --timeout in milliseconds. */
bool cli_flag_timeout_ms(const cli_run *run, uint32_t *ret_ms);

#endif /* FELIX_CLI_RUN_H */
