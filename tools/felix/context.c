/* SPDX-License-Identifier: Apache-2.0 */
/* context.c - the contexts in memory, and the resolution of a run's settings. */
#include "context.h"

#include "common/alloc.h"
#include "common/error.h"
#include "common/nearest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(NAME, FLAG, ENV, ALIAS, PRESET, member)                                              \
    {                                                                                              \
        NAME, FLAG, ENV, ALIAS, PRESET, offsetof(cli_context, member)                              \
    }

const cli_context_field cli_context_fields[CLI_CONTEXT_FIELDS] = {
    FIELD("addresses", "address", "FELIX_ADDRESS", "FELIX_BROKERS", "127.0.0.1:5000", addresses),
    FIELD("tenant", "tenant", "FELIX_TENANT", "FELIX_AUTH_TENANT", "", tenant),
    FIELD("namespace", "namespace", "FELIX_NAMESPACE", NULL, "default", namespace_),
    FIELD("token_file", "token-file", "FELIX_TOKEN_FILE", NULL, "", token_file),
    FIELD("ca_file", "ca-file", "FELIX_CA_FILE", NULL, "", ca_file),
    FIELD("controlplane", "controlplane", "FELIX_CONTROLPLANE_URL", NULL, "https://127.0.0.1:8443",
          controlplane),
    FIELD("admin_token_file", "admin-token-file", "FELIX_ADMIN_TOKEN_FILE", NULL, "",
          admin_token_file),
    FIELD("server_name", "server-name", "FELIX_SERVER_NAME", NULL, "", server_name),
};

bool cli_context_name_is_valid(const char *name)
{
    const size_t len = strlen(name);
    return len > 0 && len <= CLI_CONTEXT_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

cli_context *cli_contexts_find(const cli_contexts *contexts, const char *name)
{
    for (size_t i = 0; i < contexts->count; i++) {
        if (strcmp(contexts->items[i].name, name) == 0) {
            return &contexts->items[i];
        }
    }
    return NULL;
}

flx_status cli_contexts_put(cli_contexts *contexts, const cli_context *context, flx_error *reterr)
{
    if (!cli_context_name_is_valid(context->name)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "'%.70s' is no context name; letters, digits, _ and - make one",
                        context->name);
    }
    cli_context *there = cli_contexts_find(contexts, context->name);
    if (there != NULL) {
        *there = *context;
        return FLX_OK;
    }
    cli_context *grown = flx_realloc(contexts->items, (contexts->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "context '%s': out of memory", context->name);
    }
    contexts->items = grown;
    grown[contexts->count++] = *context;
    return FLX_OK;
}

bool cli_contexts_remove(cli_contexts *contexts, const char *name)
{
    cli_context *there = cli_contexts_find(contexts, name);
    if (there == NULL) {
        return false;
    }
    const size_t index = (size_t)(there - contexts->items);
    memmove(there, there + 1, (contexts->count - index - 1) * sizeof *there);
    contexts->count--;
    if (strcmp(contexts->current, name) == 0) {
        contexts->current[0] = '\0';
    }
    return true;
}

void cli_contexts_done(cli_contexts *contexts)
{
    flx_free(contexts->items);
    memset(contexts, 0, sizeof *contexts);
}

/* --- resolution --- */

static const char *env_value(char *const *environment, const char *name)
{
    const size_t len = strlen(name);
    for (char *const *at = environment; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=' && (*at)[len + 1] != '\0') {
            return *at + len + 1;
        }
    }
    return NULL;
}

bool cli_contexts_path(const char *flag, char *const *environment, char *ret_path, size_t cap)
{
    const char *given = flag != NULL ? flag : env_value(environment, "FELIX_CONFIG");
    const char *base = env_value(environment, "XDG_CONFIG_HOME");
    const char *home = env_value(environment, "HOME");
    int len = -1;
    if (given != NULL) {
        len = snprintf(ret_path, cap, "%s", given);
    } else if (base != NULL && base[0] == '/') { /* the standard has relative ones ignored */
        len = snprintf(ret_path, cap, "%s/felix/config.yaml", base);
    } else if (home != NULL) {
        len = snprintf(ret_path, cap, "%s/.config/felix/config.yaml", home);
    }
    return len >= 0 && (size_t)len < cap;
}

static flx_status unknown_context(const cli_contexts *contexts, const char *name,
                                  const char *origin, const char *path, flx_error *reterr)
{
    const char *best = NULL;
    unsigned distance = ~0u;
    for (size_t i = 0; i < contexts->count; i++) {
        flx_nearest_offer(name, contexts->items[i].name, &best, &distance);
    }
    return flx_fail(reterr, FLX_ERR_NOT_FOUND, "context '%.64s' (%s) is not in %s%s%s%s", name,
                    origin, path, best != NULL ? ", did you mean '" : "", best != NULL ? best : "",
                    best != NULL ? "'?" : "");
}

/* Which context is in use: --context, FELIX_CONTEXT, the file's current one, or none. */
static flx_status pick_context(const cli_settings_inputs *inputs, const cli_contexts *contexts,
                               cli_settings *settings, flx_error *reterr)
{
    const char *name = inputs->flag(inputs->flag_arg, "context");
    const char *origin = "--context";
    if (name == NULL) {
        name = env_value(inputs->environment, "FELIX_CONTEXT");
        origin = "FELIX_CONTEXT";
    }
    if (name == NULL && contexts->current[0] != '\0') {
        name = contexts->current;
        origin = "current";
    }
    if (name == NULL) {
        (void)snprintf(settings->name_origin, sizeof settings->name_origin, "none");
        return FLX_OK;
    }
    const cli_context *context = cli_contexts_find(contexts, name);
    if (context == NULL) {
        return unknown_context(contexts, name, origin, settings->config_path, reterr);
    }
    settings->values = *context;
    (void)snprintf(settings->name_origin, sizeof settings->name_origin, "%s", origin);
    return FLX_OK;
}

static flx_status resolve_field(const cli_settings_inputs *inputs, const cli_context_field *field,
                                char origin[96], cli_context *values, flx_error *reterr)
{
    char *value = cli_context_value(values, field);
    const char *stronger = inputs->flag(inputs->flag_arg, field->flag);
    if (stronger != NULL) {
        (void)snprintf(origin, 96, "--%s", field->flag);
    } else if ((stronger = env_value(inputs->environment, field->env)) != NULL) {
        (void)snprintf(origin, 96, "%s", field->env);
    } else if (field->env_alias != NULL &&
               (stronger = env_value(inputs->environment, field->env_alias)) != NULL) {
        (void)snprintf(origin, 96, "%s", field->env_alias);
    } else if (value[0] != '\0') {
        (void)snprintf(origin, 96, "context %s", values->name);
        return FLX_OK;
    } else {
        stronger = field->preset;
        (void)snprintf(origin, 96, "default");
    }
    if (strlen(stronger) >= CLI_VALUE_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%s is longer than %d bytes", origin,
                        CLI_VALUE_MAX - 1);
    }
    (void)snprintf(value, CLI_VALUE_MAX, "%s", stronger);
    return FLX_OK;
}

flx_status cli_settings_resolve(const cli_settings_inputs *inputs, cli_settings *ret_settings,
                                flx_error *reterr)
{
    cli_contexts contexts = {0};
    cli_settings *settings = ret_settings;
    flx_status status = FLX_OK;
    memset(settings, 0, sizeof *settings);
    if (cli_contexts_path(inputs->flag(inputs->flag_arg, "config"), inputs->environment,
                          settings->config_path, sizeof settings->config_path)) {
        status = cli_contexts_load(settings->config_path, &contexts, reterr);
    }
    if (status == FLX_OK) {
        status = pick_context(inputs, &contexts, settings, reterr);
    }
    for (size_t i = 0; status == FLX_OK && i < CLI_CONTEXT_FIELDS; i++) {
        status = resolve_field(inputs, &cli_context_fields[i], settings->origins[i],
                               &settings->values, reterr);
    }
    (void)snprintf(settings->dev_origin, sizeof settings->dev_origin, "%s%s",
                   settings->values.name[0] != '\0' ? "context " : "default",
                   settings->values.name);
    /* A file named on the command line is meant; otherwise the token itself is the nearest thing. */
    if (inputs->flag(inputs->flag_arg, "token-file") == NULL) {
        settings->token = env_value(inputs->environment, "FELIX_TOKEN");
        if (settings->token == NULL) {
            settings->token = env_value(inputs->environment, "FELIX_AUTH_TOKEN");
        }
    }
    if (inputs->flag(inputs->flag_arg, "admin-token-file") == NULL) {
        settings->admin_token = env_value(inputs->environment, "FELIX_ADMIN_TOKEN");
        if (settings->admin_token == NULL) {
            settings->admin_token = env_value(inputs->environment, "FELIX_CONTROLPLANE_TOKEN");
        }
    }
    cli_contexts_done(&contexts);
    return status;
}
