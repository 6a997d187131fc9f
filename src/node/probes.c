/* SPDX-License-Identifier: Apache-2.0 */
/* node/probes.c - the answers of /live, /ready, /startup and /metrics. HTTP threads call these. */
#include "common/alloc.h"
#include "common/clock.h"
#include "node/exposition.h"
#include "node/node_int.h"

#include <string.h>
#include <time.h>

#define STUCK_NS          (10 * FLX_NS_PER_S) /* a loop that has not ticked so long is not alive */
#define METRICS_BYTES_MAX (4U << 20)

/* Idle loops sleep; a poke makes a healthy one tick, and the next probe sees it. */
static void report_live(void *arg, flx_health_report *report)
{
    const flx_node *node = arg;
    const uint64_t now_ns = flx_clock_monotonic_ns();
    for (uint32_t i = 0; i < node->worker_count; i++) {
        flx_worker_thread_poke(node->workers[i]);
    }
    if (!atomic_load(&node->started)) {
        return;
    }
    for (uint32_t i = 0; i < node->worker_count; i++) {
        uint64_t waited_ns = 0;
        while (flx_worker_thread_last_tick_ns(node->workers[i]) < now_ns && waited_ns < STUCK_NS) {
            const struct timespec pause = {.tv_nsec = (long)FLX_NS_PER_MS};
            (void)nanosleep(&pause, NULL);
            waited_ns = flx_clock_monotonic_ns() - now_ns;
        }
        if (flx_worker_thread_last_tick_ns(node->workers[i]) < now_ns) {
            flx_health_add(report, "a worker loop does not tick");
        }
    }
}

static void report_ready(void *arg, flx_health_report *report)
{
    flx_node *node = arg;
    if (!atomic_load(&node->started)) {
        flx_health_add(report, "starting");
    }
    if (atomic_load(&node->draining)) {
        flx_health_add(report, "draining");
    }
    flx_node_report_logs(node, report);
}

static void report_startup(void *arg, flx_health_report *report)
{
    const flx_node *node = arg;
    if (!atomic_load(&node->started)) {
        flx_health_add(report, "starting");
    }
}

static flx_status render_metrics(void *arg, char **ret_text, flx_error *reterr)
{
    flx_node *node = arg;
    flx_exposition exposition = {
        .workers = node->workers,
        .worker_count = atomic_load(&node->started) ? node->worker_count : 0,
        .started_wall_s = node->started_wall_s,
        .certificate_not_after_s = flx_credentials_not_after(node->credentials),
        .certificate_on_disk_not_after_s = atomic_load(&node->disk_not_after_s),
        .config_reloads = atomic_load(&node->reloads),
        .config_reload_failures = atomic_load(&node->reload_failures),
        .ready = atomic_load(&node->started) && !atomic_load(&node->draining) &&
                 flx_node_logs_are_open(node),
    };
    flx_catalog *catalog = NULL;
    if (flx_catalog_store_snapshot(node->store, &catalog, NULL) == FLX_OK) {
        exposition.catalog_version = flx_catalog_version(catalog);
        exposition.streams = flx_catalog_stream_count(catalog);
        exposition.caches = flx_catalog_cache_count(catalog);
        catalog = flx_catalog_unref(catalog);
    }
    flx_buffer buffer;
    flx_buffer_init(&buffer, METRICS_BYTES_MAX);
    flx_status status = flx_exposition_render(&exposition, &buffer);
    const char *text = status == FLX_OK ? flx_buffer_text(&buffer) : NULL;
    char *copy = text != NULL ? flx_strdup(text) : NULL;
    flx_buffer_done(&buffer);
    if (copy == NULL) {
        (void)strncpy(reterr->message, "the metrics do not fit the memory",
                      sizeof reterr->message - 1);
        reterr->status = FLX_ERR_NOMEM;
        return FLX_ERR_NOMEM;
    }
    *ret_text = copy;
    return FLX_OK;
}

void flx_node_probes(flx_node *node, flx_health *ret_health)
{
    *ret_health = (flx_health){
        .live = report_live,
        .ready = report_ready,
        .startup = report_startup,
        .metrics = render_metrics,
        .arg = node,
    };
}
