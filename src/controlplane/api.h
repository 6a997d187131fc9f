/* SPDX-License-Identifier: Apache-2.0 */
/*
 * controlplane/api.h - the REST API over the catalog's store (docs/spec/control-plane.md).
 *
 * A table of routes for http/server.h. Who asks is found first (401), then what is asked (400),
 * then whether it may be (403), and only then whether it exists: without the grant a missing thing
 * and a present one look alike.
 *
 * Threads: handlers run on HTTP threads, several at once; the token verifier is guarded by a lock
 * here. flx_api_set_keys from any thread. Free it after the server has stopped.
 */
#ifndef FLX_CONTROLPLANE_API_H
#define FLX_CONTROLPLANE_API_H

#include "authz/token.h"
#include "http/health.h"
#include "http/message.h"
#include "metadata/store.h"

#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

#define FLX_API_WAIT_MS_MAX   25000U /* of a long poll */
#define FLX_API_WAITERS_MAX   64U    /* long polls at once; one more is answered at once */
#define FLX_API_CHANGES_LIMIT 1000U  /* changes of one page */
#define FLX_API_PAGE_DEFAULT  1000U

typedef struct flx_api flx_api;

typedef struct flx_api_options {
    flx_catalog_store *store;    /* borrowed until free */
    flx_keyset *keyset;          /* a reference is taken */
    const char *region_id;       /* copied; NULL: "local" */
    const char *region_name;     /* copied; NULL: the id */
    bool accept_broker_audience; /* tokens for felix-broker are good here too */
    /* Filled by the node; NULL: always well. Run on HTTP threads. */
    void (*live)(void *arg, flx_health_report *report);
    void (*ready)(void *arg, flx_health_report *report);
    /* The JWKS document of a tenant, terminated, for flx_free. FLX_ERR_NOT_FOUND: no such tenant.
     * NULL: the route answers 404. */
    flx_status (*jwks)(void *arg, const char *tenant, char **ret_json, flx_error *reterr);
    /* What the logs of a durable stream or cache hold now, an object a shard; NULL: out of memory. The caller
     * owns it. NULL: this process has no logs. */
    json_t *(*logs)(void *arg, flx_kind kind, uint32_t id, uint32_t shards);
    void *arg;
} flx_api_options;

/* FLX_ERR_NOMEM, FLX_ERR_INVALID (the region). */
flx_status flx_api_new(const flx_api_options *options, flx_api **ret_api, flx_error *reterr);
flx_api *flx_api_free(flx_api *api); /* NULL is fine. Always returns NULL. */

/* The table to give to a server; good until free. */
flx_http_table flx_api_table(flx_api *api);

/* New keys for tokens from now on; takes a reference. */
void flx_api_set_keys(flx_api *api, flx_keyset *keyset);

/* Ends long polls, now and from now on: for flx_http_server_options.stopping. */
void flx_api_stopping(flx_api *api);

#endif /* FLX_CONTROLPLANE_API_H */
