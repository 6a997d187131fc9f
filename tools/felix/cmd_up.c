/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_up.c - felix up: a node on this machine, in the foreground, and the context that finds it.
 *
 * The words after `up` are configuration flags (common/config.h), so everything a node can be told
 * can be told here; --data and --no-context are the two words of this command itself.
 */
#include "commands.h"

#include "common/alloc.h"
#include "common/config.h"
#include "common/log.h"
#include "node/node.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UP_WORDS_MAX 256
#define UP_CONTEXT   "local"

typedef struct up_words {
    char *config[UP_WORDS_MAX + 2]; /* for flx_config_load */
    int config_count;
    bool no_context;
} up_words;

typedef struct up_report {
    const cli_run *run;
    bool first; /* only the first problem is the error line; all are told */
} up_report;

/* Takes --data DIR and --no-context out of the words; --data becomes --data-dir. */
static bool take_words(const cli_run *run, up_words *ret_words)
{
    static char data_flag[] = "--data-dir";
    static char joined[PATH_MAX + 16];
    if (run->args.raw_count > UP_WORDS_MAX) {
        return false;
    }
    for (int i = 0; i < run->args.raw_count; i++) {
        char *word = run->args.raw[i];
        if (strcmp(word, "--no-context") == 0) {
            ret_words->no_context = true;
        } else if (strcmp(word, "--data") == 0) {
            ret_words->config[ret_words->config_count++] = data_flag;
        } else if (strncmp(word, "--data=", 7) == 0) {
            (void)snprintf(joined, sizeof joined, "--data-dir=%s", word + 7);
            ret_words->config[ret_words->config_count++] = joined;
        } else {
            ret_words->config[ret_words->config_count++] = word;
        }
    }
    return true;
}

static void default_data_dir(const cli_run *run, char *ret_path, size_t cap)
{
    const char *state = cli_env(run, "XDG_STATE_HOME");
    const char *home = cli_env(run, "HOME");
    if (state != NULL && state[0] == '/') {
        (void)snprintf(ret_path, cap, "%s/felix", state);
    } else {
        (void)snprintf(ret_path, cap, "%s/.local/state/felix", home != NULL ? home : "/var/lib");
    }
}

static void report_problem(void *arg, bool warning, const char *message)
{
    const up_report *report = arg;
    cli_say(report->run, "%s%s", warning ? "warning: " : "", message);
}

typedef struct up_load {
    cli_run *run;
    const up_words *words;
    char data_dir[PATH_MAX];
} up_load;

static flx_status load_config(void *arg, flx_config_set **ret_set, flx_error *reterr)
{
    up_load *load = arg;
    up_report report = {.run = load->run};
    const flx_config_preset presets[] = {
        {"quic_bind", "127.0.0.1:5000"},
        {"metrics_bind", "127.0.0.1:8080"},
        {"controlplane_bind", "127.0.0.1:8443"},
        {"data_dir", load->data_dir},
    };
    const flx_config_inputs inputs = {
        .argc = load->words->config_count,
        .argv = load->words->config,
        .environment = load->run->environment,
        .presets = presets,
        .preset_count = sizeof presets / sizeof presets[0],
        .report = report_problem,
        .report_arg = &report,
    };
    return flx_config_load(&inputs, ret_set, reterr);
}

/* Writes the context `local`, which is made the current one unless the user chose another. */
static flx_status write_context(const cli_run *run, const flx_node_facts *facts, flx_error *reterr)
{
    char path[CLI_VALUE_MAX];
    if (!cli_contexts_path(NULL, run->environment, path, sizeof path)) {
        reterr->status = FLX_ERR_INVALID;
        (void)snprintf(reterr->message, sizeof reterr->message,
                       "no home directory is known; set XDG_CONFIG_HOME");
        return FLX_ERR_INVALID;
    }
    cli_contexts contexts = {0};
    flx_status status = cli_contexts_load(path, &contexts, reterr);
    if (status != FLX_OK) {
        return status;
    }
    cli_context context = {.name = UP_CONTEXT, .dev = true};
    (void)snprintf(context.addresses, sizeof context.addresses, "%s", facts->quic_address);
    (void)snprintf(context.tenant, sizeof context.tenant, "%s", facts->tenant);
    (void)snprintf(context.namespace_, sizeof context.namespace_, "%s", facts->namespace_);
    (void)snprintf(context.token_file, sizeof context.token_file, "%s", facts->token_file);
    (void)snprintf(context.ca_file, sizeof context.ca_file, "%s", facts->ca_file);
    (void)snprintf(context.controlplane, sizeof context.controlplane, "https://%s",
                   facts->api_address);
    (void)snprintf(context.admin_token_file, sizeof context.admin_token_file, "%s",
                   facts->admin_token_file);
    status = cli_contexts_put(&contexts, &context, reterr);
    if (status == FLX_OK) {
        if (contexts.current[0] == '\0') {
            (void)snprintf(contexts.current, sizeof contexts.current, "%s", UP_CONTEXT);
        }
        status = cli_contexts_save(path, &contexts, reterr);
    }
    cli_contexts_done(&contexts);
    return status;
}

static void print_banner(const cli_run *run, const flx_node_facts *facts, bool has_context)
{
    (void)fprintf(run->out,
                  "felix %s is ready\n"
                  "\n"
                  "  clients     %s   (QUIC, TLS 1.3; tenant %s, namespace %s)\n"
                  "  REST API    https://%s\n"
                  "  health      http://%s/ready   /metrics\n"
                  "  trust       %s\n"
                  "  token       %s\n"
                  "\n",
                  FLX_VERSION, facts->quic_address, facts->tenant, facts->namespace_,
                  facts->api_address, facts->health_address, facts->ca_file, facts->token_file);
    if (has_context) {
        (void)fprintf(run->out, "In another terminal:\n"
                                "\n"
                                "  felix sub logs\n"
                                "  felix pub logs 'hello'\n"
                                "  felix cache put primary greeting hello --ttl 1h\n"
                                "  felix doctor\n"
                                "\n");
    }
    (void)fprintf(run->out, "Ctrl-C stops it.\n");
    (void)fflush(run->out);
}

static cli_exit run_node(cli_run *run, up_load *load, flx_config_set *set)
{
    const flx_config *config = flx_config_values(set);
    flx_error error = {0};
    flx_log *log = NULL;
    flx_node *node = NULL;
    const flx_log_options log_options = {
        .fd = STDERR_FILENO,
        .level = (flx_log_level)config->log_level,
        .format = config->log_format == FLX_CONFIG_LOG_AUTO
                      ? (run->err_is_terminal ? FLX_LOG_TEXT : FLX_LOG_JSON)
                      : (flx_log_format)config->log_format,
    };
    flx_status status = flx_log_new(&log_options, &log, &error);
    if (status != FLX_OK) {
        return cli_failed(run, &error, "start the log");
    }
    const flx_node_options options = {
        .config = set,
        .log = log,
        .reload = load_config,
        .reload_arg = load,
        .embedded = true,
    };
    cli_exit code = CLI_EXIT_OK;
    status = flx_node_start(&options, &node, &error);
    if (status != FLX_OK) {
        code = cli_failed(run, &error, "start the node");
        goto free_log;
    }
    flx_node_facts facts;
    flx_node_facts_get(node, &facts);
    if (!load->words->no_context) {
        status = write_context(run, &facts, &error);
        if (status != FLX_OK) {
            code = cli_failed(run, &error, "write the context '%s'", UP_CONTEXT);
            goto free_node;
        }
    }
    print_banner(run, &facts, !load->words->no_context);
    status = flx_node_run(node, &error);
    if (status != FLX_OK) {
        code = cli_failed(run, &error, "run the node");
    }

free_node:
    node = flx_node_free(node);
free_log:
    log = flx_log_free(log);
    return code;
}

cli_exit cli_cmd_up(cli_run *run)
{
    up_words words = {0};
    if (!take_words(run, &words)) {
        return cli_error(run, CLI_EXIT_USAGE, NULL, "up: more than %d words", UP_WORDS_MAX);
    }
    up_load load = {.run = run, .words = &words};
    default_data_dir(run, load.data_dir, sizeof load.data_dir);
    flx_config_set *set = NULL;
    flx_error error = {0};
    const flx_status status = load_config(&load, &set, &error);
    if (status != FLX_OK) {
        return cli_error(run, CLI_EXIT_USAGE, "'felix up --help' lists the keys",
                         "the configuration is wrong");
    }
    cli_exit code = CLI_EXIT_OK;
    switch (flx_config_wanted(set)) {
    case FLX_CONFIG_RUN:
        code = run_node(run, &load, set);
        break;
    case FLX_CONFIG_CHECK:
        cli_say(run, "the configuration is good");
        break;
    case FLX_CONFIG_PRINT:
        flx_config_print(set, false, run->out);
        break;
    case FLX_CONFIG_PRINT_ORIGIN:
        flx_config_print(set, true, run->out);
        break;
    case FLX_CONFIG_HELP:
        flx_config_write_help(run->out);
        break;
    case FLX_CONFIG_VERSION:
        (void)fprintf(run->out, "felix %s\n", FLX_VERSION);
        break;
    }
    set = flx_config_set_free(set);
    return code;
}
