/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/health.h - /live /ready /startup /metrics, and what Kubernetes calls them.
 *
 *     GET /live, /livez            200 {"status":"ok"}: the loops tick; peers never matter
 *     GET /ready, /readyz, /healthz  200, or 503 with the reasons
 *     GET /startup, /startupz      200 once started
 *     GET /metrics                 Prometheus text
 *
 *     {"status":"unavailable","reasons":["draining"]}
 *     {"status":"degraded","reasons":["no room on the disk"]}     with 200: a part of it is not well
 *
 * The node gives the callbacks; they run on HTTP threads, several at once.
 */
#ifndef FLX_HTTP_HEALTH_H
#define FLX_HTTP_HEALTH_H

#include "http/message.h"

#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>

#define FLX_HEALTH_REASONS_MAX 8

/* Why a probe fails; none: it is well, or `notes` say what is not. Texts are short, static, and hold no secret. */
typedef struct flx_health_report {
    const char *reasons[FLX_HEALTH_REASONS_MAX];
    size_t count;
    const char *notes[FLX_HEALTH_REASONS_MAX];
    size_t note_count;
} flx_health_report;

/* One more reason; beyond the limit it is dropped (the probe fails all the same). */
void flx_health_add(flx_health_report *report, const char *reason);
/* A part does not work, and the rest does: the probe answers 200 and says so. */
void flx_health_note(flx_health_report *report, const char *note);

typedef struct flx_health {
    void (*live)(void *arg, flx_health_report *report);    /* NULL: always well */
    void (*ready)(void *arg, flx_health_report *report);   /* NULL: always well */
    void (*startup)(void *arg, flx_health_report *report); /* NULL: as ready */
    /* The text of all metrics, terminated, for flx_free. NULL callback: 404. */
    flx_status (*metrics)(void *arg, char **ret_text, flx_error *reterr);
    void *arg;
} flx_health;

/* The table to give to a server. `health` is borrowed as long as it is served. */
flx_http_table flx_health_table(const flx_health *health);

/* {"status"[,"reasons"]} with 200 or 503. */
void flx_health_reply(flx_http_response *response, const flx_health_report *report);

#endif /* FLX_HTTP_HEALTH_H */
