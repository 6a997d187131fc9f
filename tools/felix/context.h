/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context.h - where a command talks to, and as whom.
 *
 * Contexts live in one YAML file ($FELIX_CONFIG, else $XDG_CONFIG_HOME/felix/config.yaml), written
 * whole and atomically with mode 0600. A run takes each value from the strongest place that has it:
 * flag, environment, context, default; it remembers which.
 */
#ifndef FELIX_CLI_CONTEXT_H
#define FELIX_CLI_CONTEXT_H

#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CLI_VALUE_MAX   512
#define CLI_CONTEXT_MAX 64 /* letters of a name */

/* The values of a context. What is not said is "". */
typedef struct cli_context {
    char name[CLI_CONTEXT_MAX + 1];
    char addresses[CLI_VALUE_MAX]; /* "host:port,host:port" */
    char tenant[CLI_VALUE_MAX];
    char namespace_[CLI_VALUE_MAX];
    char token_file[CLI_VALUE_MAX];
    char ca_file[CLI_VALUE_MAX];
    char controlplane[CLI_VALUE_MAX]; /* https://host:port */
    char admin_token_file[CLI_VALUE_MAX];
    char server_name[CLI_VALUE_MAX];
    bool dev; /* pub and sub create what is missing */
} cli_context;

/* One text value, for everything that goes over all of them. */
typedef struct cli_context_field {
    const char *name; /* in the file and in JSON */
    const char *flag;
    const char *env;
    const char *env_alias; /* NULL: none */
    const char *preset;
    size_t offset; /* in cli_context */
} cli_context_field;

#define CLI_CONTEXT_FIELDS 8
extern const cli_context_field cli_context_fields[CLI_CONTEXT_FIELDS];

static inline char *cli_context_value(cli_context *context, const cli_context_field *field)
{
    return (char *)context + field->offset;
}

static inline const char *cli_context_value_const(const cli_context *context,
                                                  const cli_context_field *field)
{
    return (const char *)context + field->offset;
}

/* The file. */
typedef struct cli_contexts {
    cli_context *items;
    size_t count;
    char current[CLI_CONTEXT_MAX + 1]; /* "": none */
} cli_contexts;

/* Where the file is. False: no home directory is known, or the path is too long. */
bool cli_contexts_path(const char *flag, char *const *environment, char *ret_path, size_t cap);

/* Reads it; a missing file is an empty one. FLX_ERR_INVALID with line and column; IO; NOMEM. */
flx_status cli_contexts_load(const char *path, cli_contexts *ret_contexts, flx_error *reterr);
/* Writes it: a new file beside it, synced, renamed over it; directories are made (0700). */
flx_status cli_contexts_save(const char *path, const cli_contexts *contexts, flx_error *reterr);
void cli_contexts_done(cli_contexts *contexts);

cli_context *cli_contexts_find(const cli_contexts *contexts, const char *name);
/* Adds or replaces. FLX_ERR_INVALID: not a name; NOMEM. */
flx_status cli_contexts_put(cli_contexts *contexts, const cli_context *context, flx_error *reterr);
/* False: there is none. */
bool cli_contexts_remove(cli_contexts *contexts, const char *name);

/* Letters, digits, _ and -. */
bool cli_context_name_is_valid(const char *name);

/* The values of one run. */
typedef struct cli_settings {
    cli_context values; /* name "": no context is in use */
    const char *token;  /* of the environment; NULL: the file counts */
    const char *admin_token;
    char config_path[CLI_VALUE_MAX];
    char name_origin[96];
    char origins[CLI_CONTEXT_FIELDS]
                [96]; /* "--tenant", "FELIX_TENANT", "context local", "default" */
    char dev_origin[96];
} cli_settings;

/* What the resolution is made from; `flag` answers the value of a global flag or NULL. */
typedef struct cli_settings_inputs {
    const char *(*flag)(const void *arg, const char *name);
    const void *flag_arg;
    char *const *environment;
} cli_settings_inputs;

/* FLX_ERR_NOT_FOUND: the context named does not exist; FLX_ERR_INVALID, IO: the file is wrong. */
flx_status cli_settings_resolve(const cli_settings_inputs *inputs, cli_settings *ret_settings,
                                flx_error *reterr);

#endif /* FELIX_CLI_CONTEXT_H */
