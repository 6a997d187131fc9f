/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - streams and caches are made and removed over the REST API, also while the node is being killed.
 *
 * The scratch stream is made, published to and removed again and again by a thread of its own: what was
 * answered must be so after the next start, and a stream made anew begins at offset 0.
 */
#ifndef FLX_CRASH_ADMIN_H
#define FLX_CRASH_ADMIN_H

#include "http/client.h"
#include "node.h"

#include <felix/felix.h>

#include <pthread.h>
#include <stdatomic.h>

/* One client; NULL until admin_open. One thread at a time. */
typedef struct admin {
    const node *node;
    flx_http_client *http;
    char token[8192];
} admin;

flx_status admin_open(admin *a, const node *n, flx_error *reterr);
void admin_close(admin *a);

/* POST, DELETE, GET of "streams" or "caches" under t1/default; the HTTP status, 0: no answer. `body` is what
 * a new one has behind its name. */
int admin_make(const admin *a, const char *kind, const char *name, const char *body);
int admin_remove(const admin *a, const char *kind, const char *name);
int admin_look(const admin *a, const char *kind, const char *name);
/* The sum of a metric over its labels; 0 when there is none. */
uint64_t admin_metric(const admin *a, const char *name);

typedef enum scratch_state {
    SCRATCH_ABSENT = 0, /* its removal was answered, or it never was */
    SCRATCH_MAYBE,      /* something was asked and not answered */
    SCRATCH_THERE
} scratch_state;

typedef struct scratch {
    const node *node;
    pthread_mutex_t lock; /* of client */
    flx_client *client;   /* of the session; NULL: it is about to be freed */
    pthread_t thread;
    bool runs;
    _Atomic bool stops;
    _Atomic bool is_checked; /* what was answered in the last session was looked at in this one */
    scratch_state state;
    uint64_t acked; /* messages of the stream there is */
    uint64_t sent;
    uint64_t removals; /* answered */
    char why[200];     /* written before is_broken */
    _Atomic bool is_broken;
} scratch;

void scratch_start(scratch *s, const node *n, flx_client *client);
/* Before the client is freed: nothing new is begun on it. */
void scratch_stop(scratch *s);
/* After that, which ends what waits on it. */
void scratch_join(scratch *s);

#endif /* FLX_CRASH_ADMIN_H */
