/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/node.h - a whole node from its parts: what felix-broker and `felix up` share.
 *
 * A node is worker threads over one UDP port, a catalog, keys, credentials, a health listener and,
 * when it is embedded, the control-plane API with the store and the token issuer behind it. The
 * thread that calls flx_node_run does the rare things: signals, reloads, certificate directories,
 * the drain.
 *
 * Start:  data directory - certificates - keys - store - API - workers - health - ready
 * Stop:   not ready - no new work - what was accepted is answered - connections closed - workers -
 *         API - store, in the order of their dependence.
 */
#ifndef FLX_NODE_NODE_H
#define FLX_NODE_NODE_H

#include "common/config.h"
#include "common/log.h"

#include <felix/status.h>

#include <stdbool.h>

typedef struct flx_node flx_node;

typedef struct flx_node_options {
    const flx_config_set *config; /* borrowed until freed */
    flx_log *log;                 /* borrowed until freed */
    /* Reads the configuration again at SIGHUP, as it was read at the start. NULL: SIGHUP renews
     * certificates only. The caller owns *ret_set once flx_node_run returned. */
    flx_status (*reload)(void *arg, flx_config_set **ret_set, flx_error *reterr);
    void *reload_arg;
    /* The node has a control plane of its own: catalog in the data directory, an issuer, tenant t1
     * with namespace default and the cache primary, a CA when no certificate is configured. */
    bool embedded;
} flx_node_options;

/* What a started node has; for contexts and the banner. Texts live as long as the node. */
typedef struct flx_node_facts {
    char quic_address[80]; /* host:port as bound, ready for a client */
    char api_address[80];  /* "" when not embedded */
    char health_address[80];
    const char *ca_file;          /* PEM to trust, NULL when the operator's own is served */
    const char *token_file;       /* of the development principal; NULL when not embedded */
    const char *admin_token_file; /* for the control-plane API; NULL when not embedded */
    const char *data_dir;         /* what is kept over restarts lies here */
    const char *tenant;           /* "t1"; NULL when not embedded */
    const char *namespace_;       /* "default" */
    unsigned workers;
} flx_node_facts;

/* Whether a node can run with this at all, before anything is touched: FLX_ERR_INVALID, in words. */
flx_status flx_node_check(const flx_config *config, bool embedded, flx_error *reterr);

/*
 * Starts everything; the node answers when this returns.
 *
 * FLX_ERR_INVALID   a configuration that cannot run, in words
 * FLX_ERR_CONFLICT  an address is in use, or another process holds the data directory
 * FLX_ERR_CORRUPT   the catalog is damaged; nothing was changed
 * FLX_ERR_IO, FLX_ERR_NOMEM
 */
flx_status flx_node_start(const flx_node_options *options, flx_node **ret_node, flx_error *reterr);

void flx_node_facts_get(const flx_node *node, flx_node_facts *ret_facts);

/* Serves until SIGTERM or SIGINT, then drains (a second signal: at once). SIGHUP reloads. The signals
 * are blocked by flx_node_start in all threads and read here. */
flx_status flx_node_run(flx_node *node, flx_error *reterr);

/* Ends what is left. NULL is fine. Always returns NULL. */
flx_node *flx_node_free(flx_node *node);

#endif /* FLX_NODE_NODE_H */
