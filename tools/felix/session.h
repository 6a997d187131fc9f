/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - a client of libfelix made from the settings of a run. */
#ifndef FELIX_CLI_SESSION_H
#define FELIX_CLI_SESSION_H

#include "run.h"

#include <felix/felix.h>

/* What differs between commands; zero is fine. */
typedef struct cli_session_options {
    uint32_t connections;
    uint32_t cache_streams;
    bool tell_states; /* say on err when the connection is lost and back */
} cli_session_options;

/* Connects and authenticates. False: it was said why not, *ret_exit is set. */
bool cli_session_open(cli_run *run, const cli_session_options *options, flx_client **ret_client,
                      cli_exit *ret_exit);

/*
 * Makes sure that a stream exists before data goes to it. With `may_create`, in a context marked dev
 * a missing one is created, which is said on err. *ret_shards may be 0 when the broker does not tell.
 */
bool cli_session_need_stream(cli_run *run, flx_client *client, const char *stream, bool may_create,
                             uint32_t *ret_shards, cli_exit *ret_exit);

/* The same for a cache; a missing one is created in dev contexts only. */
bool cli_session_need_cache(cli_run *run, const char *cache, cli_exit *ret_exit);

/* A name taken apart; what is left out comes from the settings. Points into `text`. */
typedef struct cli_name {
    char text[3 * 129];
    const char *tenant;
    const char *namespace_;
    const char *name;
} cli_name;

/* `what` is "stream" or "cache". False: not a name; it was said. */
bool cli_name_split(cli_run *run, const char *what, const char *full, cli_name *ret_name,
                    cli_exit *ret_exit);

#endif /* FELIX_CLI_SESSION_H */
