/* SPDX-License-Identifier: Apache-2.0 */
/* http/health.c - the probes. */
#include "http/health.h"

#include "common/alloc.h"
#include "common/error.h"
#include "common/slice.h"

#include <string.h>

void flx_health_add(flx_health_report *report, const char *reason)
{
    if (report->count < FLX_HEALTH_REASONS_MAX) {
        report->reasons[report->count++] = reason;
    }
}

void flx_health_note(flx_health_report *report, const char *note)
{
    if (report->note_count < FLX_HEALTH_REASONS_MAX) {
        report->notes[report->note_count++] = note;
    }
}

static void append(json_t *array, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, json_string(texts[i]));
    }
}

void flx_health_reply(flx_http_response *response, const flx_health_report *report)
{
    if (report->count == 0 && report->note_count == 0) {
        flx_http_reply_json(response, 200, json_pack("{s:s}", "status", "ok"));
        return;
    }
    const bool is_down = report->count > 0;
    json_t *reasons = json_array();
    append(reasons, report->reasons, report->count);
    append(reasons, report->notes, report->note_count);
    flx_http_reply_json(response, is_down ? 503 : 200,
                        json_pack("{s:s, s:o}", "status", is_down ? "unavailable" : "degraded",
                                  "reasons", reasons));
}

static void reply(void (*ask)(void *arg, flx_health_report *report), void *arg,
                  flx_http_response *response)
{
    flx_health_report report = {0};
    if (ask != NULL) {
        ask(arg, &report);
    }
    flx_health_reply(response, &report);
}

static void live(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    const flx_health *health = arg;
    reply(health->live, health->arg, response);
}

static void ready(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    const flx_health *health = arg;
    reply(health->ready, health->arg, response);
}

static void startup(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    const flx_health *health = arg;
    reply(health->startup != NULL ? health->startup : health->ready, health->arg, response);
}

static void metrics(void *arg, const flx_http_request *request, flx_http_response *response)
{
    (void)request;
    const flx_health *health = arg;
    char *text = NULL;
    flx_error error = {0};
    if (health->metrics == NULL) {
        flx_http_reply_error(response, 404, "not_found", "there are no metrics here");
    } else if (health->metrics(health->arg, &text, &error) != FLX_OK) {
        flx_http_reply_failure(response, &error);
    } else {
        flx_http_reply(response, 200, "text/plain; version=0.0.4; charset=utf-8",
                       flx_slice_of(text));
        flx_free(text);
    }
}

static const flx_http_route routes[] = {
    {"GET", "/live", live},        {"GET", "/livez", live},      {"GET", "/ready", ready},
    {"GET", "/readyz", ready},     {"GET", "/healthz", ready},   {"GET", "/startup", startup},
    {"GET", "/startupz", startup}, {"GET", "/metrics", metrics},
};

flx_http_table flx_health_table(const flx_health *health)
{
    return (flx_http_table){.routes = routes,
                            .count = sizeof routes / sizeof routes[0],
                            .arg = (void *)(uintptr_t)health};
}
