/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_context.c - felix context: list, show, use, set, rm. */
#include "commands.h"
#include "common/nearest.h"

#include <string.h>

/* The file's path and contents. False: it was said what is wrong. */
static bool open_file(cli_run *run, char path[CLI_VALUE_MAX], cli_contexts *contexts,
                      cli_exit *ret_exit)
{
    flx_error error = {0};
    const char *flag =
        cli_args_has(&run->args, "config") ? cli_args_flag(&run->args, "config") : NULL;
    if (!cli_contexts_path(flag, run->environment, path, CLI_VALUE_MAX)) {
        *ret_exit = cli_error(run, CLI_EXIT_FAILURE, "set HOME, or name a file with --config",
                              "contexts: no place to keep them");
        return false;
    }
    if (cli_contexts_load(path, contexts, &error) != FLX_OK) {
        *ret_exit = cli_failed(run, &error, "contexts");
        return false;
    }
    return true;
}

static cli_exit save_file(cli_run *run, const char *path, const cli_contexts *contexts)
{
    flx_error error = {0};
    if (cli_contexts_save(path, contexts, &error) != FLX_OK) {
        return cli_failed(run, &error, "contexts");
    }
    return CLI_EXIT_OK;
}

static cli_exit no_such_context(cli_run *run, const cli_contexts *contexts, const char *name)
{
    const char *best = NULL;
    unsigned distance = ~0u;
    for (size_t i = 0; i < contexts->count; i++) {
        flx_nearest_offer(name, contexts->items[i].name, &best, &distance);
    }
    return cli_error(run, CLI_EXIT_NOT_FOUND, "'felix context ls' lists them",
                     "there is no context '%.64s'%s%s%s", name,
                     best != NULL ? ", did you mean '" : "", best != NULL ? best : "",
                     best != NULL ? "'?" : "");
}

static json_t *addresses_json(const char *addresses)
{
    json_t *list = json_array();
    for (const char *at = addresses; *at != '\0';) {
        const size_t len = strcspn(at, ",");
        const size_t blank = strspn(at, " ");
        (void)json_array_append_new(list, json_stringn(at + blank, len > blank ? len - blank : 0));
        at += len + (at[len] == ',');
    }
    return list;
}

/* The documented form; what is not set is an empty text. */
static json_t *context_json(const cli_context *context)
{
    json_t *row =
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "name", context->name,
                  "addresses", addresses_json(context->addresses), "tenant", context->tenant,
                  "namespace", context->namespace_, "token_file", context->token_file, "ca_file",
                  context->ca_file, "controlplane", context->controlplane, "admin_token_file",
                  context->admin_token_file, "dev", (int)context->dev);
    if (row != NULL && context->server_name[0] != '\0') {
        (void)json_object_set_new(row, "server_name", json_string(context->server_name));
    }
    return row;
}

cli_exit cli_cmd_context_ls(cli_run *run)
{
    static const cli_column columns[] = {{"CURRENT", "mark", false, 0},
                                         {"NAME", "name", false, 0},
                                         {"ADDRESSES", "addresses", false, 0},
                                         {"TENANT", "tenant", false, 0},
                                         {"NAMESPACE", "namespace", false, 0},
                                         {"DEV", "dev", false, 0},
                                         {"CONTROLPLANE", "controlplane", true, 0},
                                         {"CA", "ca_file", true, 0},
                                         {"TOKEN", "token_file", true, 0},
                                         {NULL, NULL, false, 0}};
    char path[CLI_VALUE_MAX];
    cli_contexts contexts = {0};
    cli_exit code = CLI_EXIT_OK;
    if (!open_file(run, path, &contexts, &code)) {
        return code;
    }
    const cli_format format = cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSONL);
    const bool table = format == CLI_FORMAT_TABLE || format == CLI_FORMAT_WIDE;
    cli_out out;
    cli_out_begin(&out, run->out, format, CLI_SHAPE_LIST, columns, "name", run->out_is_terminal);
    for (size_t i = 0; i < contexts.count; i++) {
        json_t *row = context_json(&contexts.items[i]);
        const bool current = strcmp(contexts.items[i].name, contexts.current) == 0;
        if (row != NULL) {
            (void)json_object_set_new(row, table ? "mark" : "current",
                                      table ? json_string(current ? "*" : " ")
                                            : json_boolean(current));
        }
        cli_out_row(&out, row);
    }
    if (contexts.count == 0 && run->err_is_terminal) {
        cli_say(run, "no contexts in %s; 'felix up' makes one, so does 'felix context set'", path);
    }
    cli_contexts_done(&contexts);
    return cli_out_end(&out) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

/* With --origin each member has a second one that says where it came from. */
static json_t *add_origins(json_t *row, const cli_settings *settings)
{
    json_t *origins = json_object();
    (void)json_object_set_new(origins, "name", json_string(settings->name_origin));
    for (size_t i = 0; i < CLI_CONTEXT_FIELDS; i++) {
        (void)json_object_set_new(origins, cli_context_fields[i].name,
                                  json_string(settings->origins[i]));
    }
    (void)json_object_set_new(origins, "dev", json_string(settings->dev_origin));
    (void)json_object_set_new(origins, "token",
                              json_string(settings->token != NULL ? "environment" : "token_file"));
    (void)json_object_set_new(row, "origin", origins);
    (void)json_object_set_new(row, "config", json_string(settings->config_path));
    return row;
}

static void write_origin_line(FILE *out, const char *name, const char *value, const char *origin)
{
    (void)fprintf(out, "%-17s %-40s %s\n", name, value[0] != '\0' ? value : "-", origin);
}

static void write_origin_table(cli_run *run, const cli_settings *settings)
{
    write_origin_line(run->out, "VALUE", "", "FROM");
    write_origin_line(run->out, "name", settings->values.name, settings->name_origin);
    for (size_t i = 0; i < CLI_CONTEXT_FIELDS; i++) {
        write_origin_line(run->out, cli_context_fields[i].name,
                          cli_context_value_const(&settings->values, &cli_context_fields[i]),
                          settings->origins[i]);
    }
    write_origin_line(run->out, "token", settings->token != NULL ? "(set)" : "(from token_file)",
                      settings->token != NULL ? "FELIX_TOKEN" : "token_file");
    write_origin_line(run->out, "dev", settings->values.dev ? "true" : "false",
                      settings->dev_origin);
    write_origin_line(run->out, "config", settings->config_path, "");
}

cli_exit cli_cmd_context_show(cli_run *run)
{
    static const cli_column columns[] = {{"Name", "name", false, 0},
                                         {"Addresses", "addresses", false, 0},
                                         {"Tenant", "tenant", false, 0},
                                         {"Namespace", "namespace", false, 0},
                                         {"Token file", "token_file", false, 0},
                                         {"CA file", "ca_file", false, 0},
                                         {"Control plane", "controlplane", false, 0},
                                         {"Admin token file", "admin_token_file", false, 0},
                                         {"Dev", "dev", false, 0},
                                         {NULL, NULL, false, 0}};
    cli_exit code = CLI_EXIT_OK;
    const cli_settings *settings = cli_run_settings(run, &code);
    if (settings == NULL) {
        return code;
    }
    const cli_format format = cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSON);
    const bool origin = cli_args_has(&run->args, "origin");
    const bool table = format == CLI_FORMAT_TABLE || format == CLI_FORMAT_WIDE;
    if (origin && (table || (!run->out_is_terminal && !cli_args_has(&run->args, "output")))) {
        write_origin_table(run, settings);
        return CLI_EXIT_OK;
    }
    cli_out out;
    cli_out_begin(&out, run->out, format, CLI_SHAPE_ONE, columns, "name", run->out_is_terminal);
    json_t *row = context_json(&settings->values);
    cli_out_row(&out, origin && row != NULL ? add_origins(row, settings) : row);
    return cli_out_end(&out) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

cli_exit cli_cmd_context_use(cli_run *run)
{
    char path[CLI_VALUE_MAX];
    cli_contexts contexts = {0};
    cli_exit code = CLI_EXIT_OK;
    const char *name = cli_args_at(&run->args, 0);
    if (!open_file(run, path, &contexts, &code)) {
        return code;
    }
    if (cli_contexts_find(&contexts, name) == NULL) {
        code = no_such_context(run, &contexts, name);
    } else {
        (void)snprintf(contexts.current, sizeof contexts.current, "%s", name);
        code = save_file(run, path, &contexts);
    }
    if (code == CLI_EXIT_OK) {
        cli_say(run, "the current context is '%s' now", name);
    }
    cli_contexts_done(&contexts);
    return code;
}

/* Takes what was given by flags over into the context. False: something is too long. */
static bool take_flags(cli_run *run, cli_context *context)
{
    for (size_t i = 0; i < CLI_CONTEXT_FIELDS; i++) {
        const cli_context_field *field = &cli_context_fields[i];
        if (!cli_args_has(&run->args, field->flag)) {
            continue;
        }
        const char *value = cli_args_flag(&run->args, field->flag);
        if (strlen(value) >= CLI_VALUE_MAX) {
            (void)cli_error(run, CLI_EXIT_USAGE, NULL, "--%s is longer than %d bytes", field->flag,
                            CLI_VALUE_MAX - 1);
            return false;
        }
        (void)snprintf(cli_context_value(context, field), CLI_VALUE_MAX, "%s", value);
    }
    context->dev = context->dev || cli_args_has(&run->args, "dev");
    return true;
}

cli_exit cli_cmd_context_set(cli_run *run)
{
    char path[CLI_VALUE_MAX];
    cli_contexts contexts = {0};
    cli_context context = {0};
    flx_error error = {0};
    cli_exit code = CLI_EXIT_OK;
    const char *name = cli_args_at(&run->args, 0);
    if (!open_file(run, path, &contexts, &code)) {
        return code;
    }
    const cli_context *there = cli_contexts_find(&contexts, name);
    if (there != NULL) {
        context = *there;
    }
    (void)snprintf(context.name, sizeof context.name, "%s",
                   strlen(name) <= CLI_CONTEXT_MAX ? name : "/");
    if (!take_flags(run, &context)) {
        code = CLI_EXIT_USAGE;
    } else if (cli_contexts_put(&contexts, &context, &error) != FLX_OK) {
        code = cli_failed(run, &error, "context");
    } else {
        if (cli_args_has(&run->args, "use") || contexts.count == 1) {
            (void)snprintf(contexts.current, sizeof contexts.current, "%s", name);
        }
        code = save_file(run, path, &contexts);
    }
    if (code == CLI_EXIT_OK) {
        cli_say(run, "%s context '%s' in %s", there != NULL ? "changed" : "created", name, path);
    }
    cli_contexts_done(&contexts);
    return code;
}

cli_exit cli_cmd_context_rm(cli_run *run)
{
    char path[CLI_VALUE_MAX];
    cli_contexts contexts = {0};
    cli_exit code = CLI_EXIT_OK;
    const char *name = cli_args_at(&run->args, 0);
    if (!open_file(run, path, &contexts, &code)) {
        return code;
    }
    code = cli_contexts_remove(&contexts, name) ? save_file(run, path, &contexts)
                                                : no_such_context(run, &contexts, name);
    if (code == CLI_EXIT_OK) {
        cli_say(run, "removed context '%s'", name);
    }
    cli_contexts_done(&contexts);
    return code;
}
