/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_up.c - felix up: a node in the foreground, with defaults for one machine.
 *
 * The configuration is that of any node (common/config.h); what differs are presets: loopback
 * addresses and a data directory. Once the node answers, the context 'local' is written, so that
 * the next command on this machine just works.
 */
#include "commands.h"
#include "common/config.h"
#include "common/log.h"
#include "node/node.h"
#include "process.h"

#include <string.h>

#define WORDS_MAX 256

/* The words of the command line as the configuration takes them, and our own flags out of them. */
typedef struct up_words {
    char *words[WORDS_MAX];
    int count;
    bool no_context;
    char data_flag[16];
} up_words;

typedef struct up_state {
    cli_run *run;
    up_words words;
    char data_dir[CLI_VALUE_MAX];
    flx_config_preset presets[4];
} up_state;

static bool take_words(cli_run *run, up_words *words)
{
    (void)snprintf(words->data_flag, sizeof words->data_flag, "--data-dir");
    if (run->args.raw_count >= WORDS_MAX) {
        (void)cli_error(run, CLI_EXIT_USAGE, NULL, "too many arguments");
        return false;
    }
    for (int i = 0; i < run->args.raw_count; i++) {
        char *word = run->args.raw[i];
        if (strcmp(word, "--no-context") == 0) {
            words->no_context = true;
        } else if (strcmp(word, "--data") == 0) {
            words->words[words->count++] = words->data_flag;
        } else if (strncmp(word, "--data=", 7) == 0 && words->count + 1 < WORDS_MAX) {
            words->words[words->count++] = words->data_flag;
            words->words[words->count++] = word + 7;
        } else {
            words->words[words->count++] = word;
        }
    }
    return true;
}

/* $XDG_STATE_HOME/felix, else ~/.local/state/felix. */
static bool usual_data_dir(const cli_run *run, char dir[CLI_VALUE_MAX])
{
    const char *state = cli_env(run, "XDG_STATE_HOME");
    const char *home = cli_env(run, "HOME");
    int len = -1;
    if (state != NULL && state[0] == '/') {
        len = snprintf(dir, CLI_VALUE_MAX, "%s/felix", state);
    } else if (home != NULL && home[0] == '/') {
        len = snprintf(dir, CLI_VALUE_MAX, "%s/.local/state/felix", home);
    }
    return len > 0 && len < CLI_VALUE_MAX;
}

static void report(void *arg, bool warning, const char *message)
{
    const up_state *state = arg;
    if (warning) {
        cli_say(state->run, "warning: %s", message);
    } else {
        (void)cli_error(state->run, CLI_EXIT_USAGE, NULL, "%s", message);
    }
}

static flx_status load(void *arg, flx_config_set **ret_set, flx_error *reterr)
{
    up_state *state = arg;
    size_t count = 0;
    state->presets[count++] = (flx_config_preset){"quic_bind", "127.0.0.1:5000"};
    state->presets[count++] = (flx_config_preset){"metrics_bind", "127.0.0.1:8080"};
    state->presets[count++] = (flx_config_preset){"controlplane_bind", "127.0.0.1:8443"};
    if (usual_data_dir(state->run, state->data_dir)) {
        state->presets[count++] = (flx_config_preset){"data_dir", state->data_dir};
    }
    const flx_config_inputs inputs = {.argc = state->words.count,
                                      .argv = state->words.words,
                                      .environment = state->run->environment,
                                      .presets = state->presets,
                                      .preset_count = count,
                                      .report = report,
                                      .report_arg = state};
    return flx_config_load(&inputs, ret_set, reterr);
}

/* What the flags ask for besides running. False: run. */
static bool inform(cli_run *run, const flx_config_set *set, cli_exit *ret_exit)
{
    *ret_exit = CLI_EXIT_OK;
    switch (flx_config_wanted(set)) {
    case FLX_CONFIG_RUN:
    case FLX_CONFIG_HELP: /* answered before we are called */
        return false;
    case FLX_CONFIG_CHECK:
        cli_say(run, "the configuration is fine");
        return true;
    case FLX_CONFIG_PRINT:
        flx_config_print(set, false, run->out);
        return true;
    case FLX_CONFIG_PRINT_ORIGIN:
        flx_config_print(set, true, run->out);
        return true;
    case FLX_CONFIG_VERSION:
        (void)fputs("felix " FLX_VERSION "\n", run->out);
        return true;
    }
    return false;
}

/* A busy port names its user, where the kernel lets us see. False: no port of ours is busy. */
static bool name_port_owner(const cli_run *run, const flx_config *config)
{
    const struct {
        const char *address;
        bool udp;
    } ports[] = {{config->quic_bind, true},
                 {config->metrics_bind, false},
                 {config->controlplane_bind, false}};
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        char host[FLX_HOST_MAX];
        uint16_t port = 0;
        cli_port_owner owner;
        if (flx_address_split(ports[i].address, host, &port, NULL) == FLX_OK && port != 0 &&
            cli_port_owner_find(ports[i].udp, port, &owner)) {
            (void)cli_error(run, CLI_EXIT_CONFLICT,
                            "end it, or take free ports with --ephemeral-ports",
                            "start: %s port %u is in use by %s (process %d)",
                            ports[i].udp ? "udp" : "tcp", port, owner.command, (int)owner.pid);
            return true;
        }
    }
    return false;
}

static cli_exit start_failed(const cli_run *run, const flx_config *config, const flx_error *error)
{
    const bool about_port =
        error->status == FLX_ERR_CONFLICT && strstr(error->message, "listen on") != NULL;
    if (about_port && name_port_owner(run, config)) {
        return CLI_EXIT_CONFLICT;
    }
    return about_port ? cli_error(run, CLI_EXIT_CONFLICT,
                                  "end whoever has it, or take free ports with --ephemeral-ports",
                                  "start: %s", error->message)
                      : cli_failed(run, error, "start");
}

static void set_text(char value[CLI_VALUE_MAX], const char *text)
{
    (void)snprintf(value, CLI_VALUE_MAX, "%s", text != NULL ? text : "");
}

static void context_of(const flx_node_facts *facts, cli_context *context)
{
    memset(context, 0, sizeof *context);
    (void)snprintf(context->name, sizeof context->name, "local");
    set_text(context->addresses, facts->quic_address);
    set_text(context->tenant, facts->tenant);
    set_text(context->namespace_, facts->namespace_);
    set_text(context->token_file, facts->token_file);
    set_text(context->ca_file, facts->ca_file);
    set_text(context->admin_token_file, facts->admin_token_file);
    if (facts->api_address[0] != '\0') {
        (void)snprintf(context->controlplane, sizeof context->controlplane, "https://%s",
                       facts->api_address);
    }
    context->dev = true;
}

/* The node runs whether or not this works: a failure is a warning. */
static void write_context(cli_run *run, const flx_node_facts *facts)
{
    char path[CLI_VALUE_MAX];
    cli_contexts contexts = {0};
    cli_context context;
    flx_error error = {0};
    if (!cli_contexts_path(NULL, run->environment, path, sizeof path)) {
        cli_say(run, "warning: no context was written: set HOME, or FELIX_CONFIG to a file");
        return;
    }
    context_of(facts, &context);
    flx_status status = cli_contexts_load(path, &contexts, &error);
    if (status == FLX_OK) {
        status = cli_contexts_put(&contexts, &context, &error);
    }
    if (status == FLX_OK) {
        if (contexts.current[0] == '\0' || cli_contexts_find(&contexts, contexts.current) == NULL) {
            (void)snprintf(contexts.current, sizeof contexts.current, "%s", context.name);
        }
        status = cli_contexts_save(path, &contexts, &error);
    }
    if (status != FLX_OK) {
        cli_say(run, "warning: the context 'local' was not written: %s", error.message);
    } else if (strcmp(contexts.current, context.name) != 0) {
        cli_say(run, "the current context is '%s'; use this node with --context local",
                contexts.current);
    }
    cli_contexts_done(&contexts);
}

static void banner(const cli_run *run, const flx_node_facts *facts, bool has_context)
{
    (void)fprintf(run->out,
                  "felix " FLX_VERSION " is up, with %u worker%s\n\n"
                  "  clients   %s   (QUIC, TLS 1.3; tenant %s, namespace %s)\n"
                  "  REST API  https://%s\n"
                  "  health    http://%s/ready   /metrics\n",
                  facts->workers, facts->workers == 1 ? "" : "s", facts->quic_address,
                  facts->tenant, facts->namespace_, facts->api_address, facts->health_address);
    if (facts->ca_file != NULL) {
        (void)fprintf(run->out, "  trust     %s\n", facts->ca_file);
    }
    (void)fprintf(run->out, "  token     %s\n  data      %s\n", facts->token_file, facts->data_dir);
    if (has_context) {
        (void)fputs("\nIn another terminal:\n\n"
                    "  felix sub logs\n"
                    "  felix pub logs hello\n"
                    "  felix cache put primary greeting hello --ttl 1h\n"
                    "  felix doctor\n",
                    run->out);
    }
    (void)fputs("\nCtrl-C stops it.\n", run->out);
    (void)fflush(run->out);
}

static cli_exit run_node(up_state *state, const flx_config_set *set, flx_log *log)
{
    const flx_node_options options = {
        .config = set, .log = log, .reload = load, .reload_arg = state, .embedded = true};
    flx_node_facts facts;
    flx_node *node = NULL;
    flx_error error = {0};
    if (flx_node_start(&options, &node, &error) != FLX_OK) {
        return start_failed(state->run, flx_config_values(set), &error);
    }
    flx_node_facts_get(node, &facts);
    if (!state->words.no_context) {
        write_context(state->run, &facts);
    }
    banner(state->run, &facts, !state->words.no_context);
    const flx_status status = flx_node_run(node, &error);
    (void)flx_node_free(node);
    return status == FLX_OK ? CLI_EXIT_OK : cli_failed(state->run, &error, "node");
}

/* Lines of the node go to standard error, as text on a terminal. */
static cli_exit run_logged(up_state *state, const flx_config_set *set)
{
    const flx_config *config = flx_config_values(set);
    const flx_log_options options = {.component = "felix",
                                     .fd = fileno(state->run->err),
                                     .level = (flx_log_level)config->log_level,
                                     .format = (flx_log_format)config->log_format};
    flx_log *log = NULL;
    flx_error error = {0};
    if (flx_log_new(&options, &log, &error) != FLX_OK) {
        return cli_failed(state->run, &error, "log");
    }
    const cli_exit code = run_node(state, set, log);
    (void)flx_log_free(log);
    return code;
}

cli_exit cli_cmd_up(cli_run *run)
{
    up_state state = {.run = run};
    flx_config_set *set = NULL;
    flx_error error = {0};
    cli_exit code = CLI_EXIT_USAGE;
    if (!take_words(run, &state.words)) {
        return CLI_EXIT_USAGE;
    }
    if (load(&state, &set, &error) != FLX_OK) {
        return CLI_EXIT_USAGE; /* every problem was reported */
    }
    if (!inform(run, set, &code)) {
        code = run_logged(&state, set);
    }
    (void)flx_config_set_free(set);
    return code;
}
