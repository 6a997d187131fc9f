/* SPDX-License-Identifier: Apache-2.0 */
/* node/node_int.h - what the files of a node share: its parts, in the order they are started. */
#ifndef FLX_NODE_NODE_INT_H
#define FLX_NODE_NODE_INT_H

#include "controlplane/api.h"
#include "http/health.h"
#include "http/server.h"
#include "metadata/store.h"
#include "node/identity.h"
#include "node/node.h"
#include "node/settings.h"
#include "node/worker_thread.h"

#include <stdatomic.h>

struct flx_node {
    flx_node_options options;
    flx_config_set *reloaded; /* the newest configuration read at SIGHUP; NULL: none yet */

    flx_identity identity;
    flx_keyset *keys;
    _Atomic(char *) jwks_text; /* the tenants' JWKS, made once; HTTP threads read it; NULL: none */
    flx_credentials *credentials;
    flx_catalog_store *store;
    flx_disk *disk;         /* DATA_DIR/log */
    flx_store *logs;        /* on it; NULL: they are lost */
    flx_status logs_status; /* then FLX_ERR_CORRUPT */
    flx_api *api;
    flx_http_server *api_server;

    flx_quic_group *group;
    flx_seats *seats;
    flx_worker_thread **workers;
    uint32_t worker_count;
    uint32_t workers_made;

    flx_health health;
    flx_http_server *health_server;

    char quic_address[80];
    char api_address[80];
    char health_address[80];

    uint64_t started_wall_s;
    _Atomic bool started;
    _Atomic bool draining;
    _Atomic bool logs_opened;  /* all that were there at the start */
    _Atomic bool logs_dropped; /* something was deleted: its notes are looked at */
    _Atomic uint64_t reloads;
    _Atomic uint64_t reload_failures;
    _Atomic int64_t disk_not_after_s;
};

static inline const flx_config *flx_node_config(const flx_node *node)
{
    return flx_config_values(node->reloaded != NULL ? node->reloaded : node->options.config);
}

/* node/reload.c: certificates and keys again, at SIGHUP or when their directory changed. False: what
 * was there before counts; it was logged and counted. */
bool flx_node_reload_certificates(flx_node *node, const char *cause);
void flx_node_reload(flx_node *node);
/* Reads the keys that tokens are checked with, from the issuer or the JWKS file. */
flx_status flx_node_load_keys(flx_node *node, flx_keyset **ret_keys, flx_error *reterr);
const char *flx_node_certificate_file(const flx_node *node);
const char *flx_node_key_file(const flx_node *node);

/* node/logs.c: the disk below durable streams. */
flx_status flx_node_open_logs(flx_node *node, flx_error *reterr);
void flx_node_close_logs(flx_node *node);
/* node/log_sweep.c: removes the logs of what was deleted when the node ended, and tells of orphans.
 * Before the workers. */
flx_status flx_node_sweep_logs(flx_node *node, flx_error *reterr);
/* Now and then: ends the notes of deletions whose logs are gone. */
void flx_node_settle_logs(flx_node *node);
void flx_node_log_news(void *arg, const flx_log_news *news);
/* What the logs of a stream hold now, as JSON; NULL: out of memory. Any thread but a worker's. */
json_t *flx_node_log_figures(void *arg, flx_kind kind, uint32_t id, uint32_t shards);
/* Whether those that were there at the start are open, or known to be damaged. */
bool flx_node_logs_are_open(flx_node *node);
void flx_node_report_logs(flx_node *node, flx_health_report *report);

/* node/probes.c: what /live, /ready and /metrics answer. */
void flx_node_probes(flx_node *node, flx_health *ret_health);

/* node/drain.c: from the first signal to no connection. `hurry` is polled; true ends it at once. */
void flx_node_drain(flx_node *node, bool (*hurry)(void *arg), void *arg);

#endif /* FLX_NODE_NODE_INT_H */
