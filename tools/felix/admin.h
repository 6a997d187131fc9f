/* SPDX-License-Identifier: Apache-2.0 */
/* admin.h - what the commands about streams and caches as things share. */
#ifndef FELIX_CLI_ADMIN_H
#define FELIX_CLI_ADMIN_H

#include "output.h"
#include "run.h"
#include "session.h"

#include <jansson.h>

/* What differs between the two nouns. */
typedef struct cli_resource {
    const char *word;       /* "stream" */
    const char *collection; /* "streams" */
    const char *name_field; /* the member that holds the name */
    const cli_column *columns;
    const cli_column *upright;
} cli_resource;

extern const cli_resource cli_streams;
extern const cli_resource cli_caches;

/* The name of the first argument and its REST path. False: it was said why not. */
bool cli_admin_path(cli_run *run, const cli_resource *kind, cli_name *ret_name, char ret_path[512],
                    cli_exit *ret_exit);

/* Writes one entry in the format asked for; takes `body`. */
cli_exit cli_admin_write(cli_run *run, const cli_resource *kind, json_t *body);

/* Says that it does not exist, and what lists those that do. */
cli_exit cli_admin_missing(const cli_run *run, const cli_resource *kind, const cli_name *name);

#endif /* FELIX_CLI_ADMIN_H */
