/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix-broker - a node for servers: configuration from file, environment and flags; certificates
 * and the keys of the token issuer are the operator's (tls_cert, tls_key, jwks_file).
 */
#include "common/config.h"
#include "common/log.h"
#include "node/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_FILE  "/etc/felix/broker.yaml"
#define EXIT_CONFIG  2
#define EXIT_STARTUP 1

extern char **environ;

typedef struct words {
    int argc;
    char *const *argv;
} words;

static void report_problem(void *arg, bool warning, const char *message)
{
    (void)arg;
    (void)fprintf(stderr, "felix-broker: %s%s\n", warning ? "warning: " : "", message);
}

static flx_status load_config(void *arg, flx_config_set **ret_set, flx_error *reterr)
{
    const words *given = arg;
    const flx_config_inputs inputs = {
        .argc = given->argc,
        .argv = given->argv,
        .environment = environ,
        .default_file = CONFIG_FILE,
        .report = report_problem,
    };
    return flx_config_load(&inputs, ret_set, reterr);
}

static int serve(const flx_config_set *set, words *given)
{
    const flx_config *config = flx_config_values(set);
    const flx_log_options log_options = {
        .component = "broker",
        .fd = STDERR_FILENO,
        .level = (flx_log_level)config->log_level,
        .format = (flx_log_format)config->log_format,
    };
    flx_error error = {0};
    flx_log *log = NULL;
    flx_node *node = NULL;
    flx_status status = flx_log_new(&log_options, &log, &error);
    const flx_node_options options = {
        .config = set, .log = log, .reload = load_config, .reload_arg = given};
    if (status == FLX_OK) {
        status = flx_node_start(&options, &node, &error);
    }
    if (status == FLX_OK) {
        status = flx_node_run(node, &error);
    }
    if (status != FLX_OK) {
        (void)fprintf(stderr, "felix-broker: %s\n", error.message);
    }
    node = flx_node_free(node);
    log = flx_log_free(log);
    return status == FLX_OK ? EXIT_SUCCESS : EXIT_STARTUP;
}

static int check(const flx_config *config)
{
    flx_error error = {0};
    if (flx_node_check(config, false, &error) != FLX_OK) {
        report_problem(NULL, false, error.message);
        return EXIT_CONFIG;
    }
    (void)printf("the configuration is good\n");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    words given = {.argc = argc - 1, .argv = argv + 1};
    flx_config_set *set = NULL;
    flx_error error = {0};
    if (load_config(&given, &set, &error) != FLX_OK) {
        return EXIT_CONFIG; /* every problem was reported */
    }
    int code = EXIT_SUCCESS;
    switch (flx_config_wanted(set)) {
    case FLX_CONFIG_RUN:
        code = serve(set, &given);
        break;
    case FLX_CONFIG_CHECK:
        code = check(flx_config_values(set));
        break;
    case FLX_CONFIG_PRINT:
        flx_config_print(set, false, stdout);
        break;
    case FLX_CONFIG_PRINT_ORIGIN:
        flx_config_print(set, true, stdout);
        break;
    case FLX_CONFIG_HELP:
        (void)printf("usage: felix-broker [--config FILE] [--KEY VALUE ...]\n\n");
        flx_config_write_help(stdout);
        break;
    case FLX_CONFIG_VERSION:
        (void)printf("felix-broker %s\n", FLX_VERSION);
        break;
    }
    set = flx_config_set_free(set);
    return code;
}
