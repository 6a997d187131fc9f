/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - from argv to an exit code, and the words on the way. */
#include "run.h"

#include "common/assert.h"
#include "common/config.h"
#include "common/error.h"
#include "help.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

const char *cli_env(const cli_run *run, const char *name)
{
    const size_t len = strlen(name);
    for (char *const *at = run->environment; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=') {
            return *at + len + 1;
        }
    }
    return NULL;
}

static bool wants_colour(const cli_run *run, bool terminal)
{
    const char *no_colour = cli_env(run, "NO_COLOR");
    const char *term = cli_env(run, "TERM");
    return terminal && (no_colour == NULL || no_colour[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

static void write_line(const cli_run *run, bool error, const char *message, const char *next)
{
    const bool colour = error && wants_colour(run, run->err_is_terminal);
    (void)fprintf(run->err, "%sfelix:%s %s%s%s\n", colour ? "\033[31m" : "",
                  colour ? "\033[0m" : "", message, next != NULL ? "; " : "",
                  next != NULL ? next : "");
    (void)fflush(run->err);
}

cli_exit cli_error(const cli_run *run, cli_exit code, const char *next, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    write_line(run, true, message, next);
    return code;
}

void cli_say(const cli_run *run, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    write_line(run, false, message, NULL);
}

/* What to do next, when the failure itself says nothing better. */
static const char *next_step(flx_status status)
{
    switch (status) {
    case FLX_ERR_UNAVAILABLE:
    case FLX_ERR_CLOSED:
        return "'felix doctor' looks for the cause, 'felix up' starts a node here";
    case FLX_ERR_UNAUTHENTICATED:
        return "the token is wrong or has expired: 'felix context show --origin' says where it "
               "came from";
    case FLX_ERR_DENIED:
        return "the token does not allow it: ask for a role that does, or use another token";
    case FLX_ERR_TIMEOUT:
        return "try again, give it longer with --timeout, or look with 'felix doctor'";
    case FLX_ERR_AGAIN:
        return "the node is busy: try again in a moment";
    case FLX_ERR_NOMEM:
        return "free some memory and try again";
    case FLX_ERR_UNKNOWN_OUTCOME:
        return "it may or may not have happened: look before trying again";
    case FLX_ERR_UNSUPPORTED:
        return "the node is older than this command, or does not offer it";
    case FLX_ERR_TOO_OLD:
        return "--from earliest begins with the oldest that is kept";
    case FLX_ERR_IN_FUTURE:
        return "--from latest waits for what comes next";
    default:
        return NULL;
    }
}

cli_exit cli_failed(const cli_run *run, const flx_error *error, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *cause = error->message[0] != '\0' ? error->message : flx_status_text(error->status);
    const bool led = strncmp(cause, what, strlen(what)) == 0;
    return cli_error(run, cli_exit_of(error->status), next_step(error->status), "%s%s%s",
                     led ? "" : what, led ? "" : ": ", cause);
}

bool cli_flush(const cli_run *run, cli_exit *ret_exit)
{
    if (fflush(run->out) == 0) {
        return true;
    }
    *ret_exit = errno == EPIPE ? CLI_EXIT_OK
                               : cli_error(run, CLI_EXIT_FAILURE, NULL, "write standard output: %s",
                                           strerrordesc_np(errno));
    return false;
}

static const char *flag_of(const void *arg, const char *name)
{
    const cli_run *run = arg;
    return cli_args_has(&run->args, name) ? cli_args_flag(&run->args, name) : NULL;
}

const cli_settings *cli_run_settings(cli_run *run, cli_exit *ret_exit)
{
    flx_error error = {0};
    const cli_settings_inputs inputs = {flag_of, run, run->environment};
    if (run->has_settings) {
        return &run->settings;
    }
    const flx_status status = cli_settings_resolve(&inputs, &run->settings, &error);
    if (status == FLX_ERR_NOT_FOUND) {
        *ret_exit = cli_error(run, CLI_EXIT_NOT_FOUND, "'felix context ls' lists them", "%s",
                              error.message);
        return NULL;
    }
    if (status != FLX_OK) {
        *ret_exit = cli_failed(run, &error, "contexts");
        return NULL;
    }
    run->has_settings = true;
    return &run->settings;
}

cli_format cli_run_format(const cli_run *run, cli_format on_terminal, cli_format otherwise)
{
    cli_format format = run->out_is_terminal ? on_terminal : otherwise;
    const char *asked = cli_args_flag(&run->args, "output");
    if (asked != NULL) {
        const bool known = cli_format_parse(asked, &format);
        FLX_ASSERT(known); /* the parser checked the choice */
    }
    return format;
}

static bool out_of_range(const cli_run *run, const char *name, uint64_t min, uint64_t max)
{
    (void)cli_error(run, CLI_EXIT_USAGE, NULL, "--%s %s is out of range, %llu to %llu", name,
                    cli_args_flag(&run->args, name), (unsigned long long)min,
                    (unsigned long long)max);
    return false;
}

static bool bad_flag(const cli_run *run, const char *name, const flx_error *error)
{
    (void)cli_error(run, CLI_EXIT_USAGE, NULL, "--%s: %s", name, error->message);
    return false;
}

bool cli_flag_u64(const cli_run *run, const char *name, uint64_t min, uint64_t max,
                  uint64_t *ret_value)
{
    flx_error error = {0};
    if (flx_parse_u64(cli_args_flag(&run->args, name), ret_value, &error) != FLX_OK) {
        return bad_flag(run, name, &error);
    }
    return (*ret_value >= min && *ret_value <= max) || out_of_range(run, name, min, max);
}

bool cli_flag_size(const cli_run *run, const char *name, uint64_t min, uint64_t max,
                   uint64_t *ret_bytes)
{
    flx_error error = {0};
    if (flx_parse_size(cli_args_flag(&run->args, name), ret_bytes, &error) != FLX_OK) {
        return bad_flag(run, name, &error);
    }
    return (*ret_bytes >= min && *ret_bytes <= max) || out_of_range(run, name, min, max);
}

bool cli_flag_duration_us(const cli_run *run, const char *name, uint64_t *ret_us)
{
    flx_error error = {0};
    if (flx_parse_duration(cli_args_flag(&run->args, name), 1000000, ret_us, &error) != FLX_OK) {
        return bad_flag(run, name, &error);
    }
    return true;
}

bool cli_flag_timeout_ms(const cli_run *run, uint32_t *ret_ms)
{
    uint64_t us = 0;
    if (!cli_flag_duration_us(run, "timeout", &us)) {
        return false;
    }
    if (us < 1000 || us / 1000 >= UINT32_MAX) {
        return out_of_range(run, "timeout", 1, UINT32_MAX / 1000);
    }
    *ret_ms = (uint32_t)(us / 1000);
    return true;
}

/* Points at the help that fits what was understood. */
static cli_exit usage_error(const cli_run *run, const flx_error *error)
{
    char name[64];
    char next[128];
    if (run->args.command == NULL) {
        (void)snprintf(next, sizeof next, "'felix help%s%s' lists what there is",
                       run->args.only_noun != NULL ? " " : "",
                       run->args.only_noun != NULL ? run->args.only_noun->noun : "");
    } else {
        (void)snprintf(next, sizeof next, "'felix help %s' shows how it is used",
                       cli_command_name(run->args.command, name, sizeof name));
    }
    return cli_error(run, CLI_EXIT_USAGE, next, "%s", error->message);
}

static cli_exit dispatch(cli_run *run)
{
    const cli_args *args = &run->args;
    if (args->command == NULL && args->only_noun != NULL) {
        cli_help_noun(args->help ? run->out : run->err, args->only_noun);
        return args->help ? CLI_EXIT_OK : CLI_EXIT_USAGE;
    }
    if (args->command == NULL) {
        cli_help_all(args->help ? run->out : run->err);
        return args->help ? CLI_EXIT_OK : CLI_EXIT_USAGE;
    }
    if (args->help) {
        cli_help_command(run->out, args->command);
        return CLI_EXIT_OK;
    }
    return args->command->run(run);
}

cli_exit cli_main(int argc, char *const *argv, char *const *environment, FILE *out, FILE *err)
{
    cli_run run = {.environment = environment, .out = out, .err = err};
    flx_error error = {0};
    run.out_is_terminal = fileno(out) >= 0 && isatty(fileno(out)) == 1;
    run.err_is_terminal = fileno(err) >= 0 && isatty(fileno(err)) == 1;
    const bool version = argc == 1 && strcmp(argv[0], "--version") == 0;
    char *const version_words[] = {(char[]){"version"}};
    const flx_status status =
        cli_args_parse(version ? 1 : argc, version ? version_words : argv, &run.args, &error);
    return status == FLX_OK ? dispatch(&run) : usage_error(&run, &error);
}
