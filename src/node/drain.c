/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/drain.c - how a node stops without losing what it accepted.
 *
 *     not ready  ->  predrain (load balancers look away)  ->  workers drain: no new work, what was
 *     accepted is answered  ->  connections closed with a reason  ->  nothing left to do
 *
 * Each step has a bound, and a second signal ends all waiting.
 */
#include "common/clock.h"
#include "node/node_int.h"

#include <time.h>

#define STEP_NS       (5 * FLX_NS_PER_MS)
#define CLOSE_WAIT_NS (2 * FLX_NS_PER_S) /* for CONNECTION_CLOSE to be written */

typedef struct wait_for {
    const flx_node *node;
    bool (*hurry)(void *arg);
    void *arg;
} wait_for;

/* Waits until every worker says yes, `bound_ns` have passed, or there is a hurry. */
static bool all_workers(const wait_for *wait, bool (*is_done)(const flx_worker_thread *thread),
                        uint64_t bound_ns)
{
    const uint64_t begin_ns = flx_clock_monotonic_ns();
    for (;;) {
        uint32_t done = 0;
        for (uint32_t i = 0; i < wait->node->worker_count; i++) {
            flx_worker_thread_poke(wait->node->workers[i]);
            done += is_done(wait->node->workers[i]);
        }
        if (done == wait->node->worker_count) {
            return true;
        }
        if (flx_clock_monotonic_ns() - begin_ns >= bound_ns || wait->hurry(wait->arg)) {
            return false;
        }
        const struct timespec pause = {.tv_nsec = (long)STEP_NS};
        (void)nanosleep(&pause, NULL);
    }
}

static bool never(const flx_worker_thread *thread)
{
    (void)thread;
    return false;
}

void flx_node_drain(flx_node *node, bool (*hurry)(void *arg), void *arg)
{
    const flx_config *config = flx_node_config(node);
    const wait_for wait = {.node = node, .hurry = hurry, .arg = arg};
    const uint64_t begin_ns = flx_clock_monotonic_ns();
    atomic_store(&node->draining, true);
    FLX_LOG(node->options.log, FLX_LOG_INFO, "node.draining", "stopping: no new work");
    if (config->shutdown_predrain_ms > 0) {
        (void)all_workers(&wait, never, config->shutdown_predrain_ms * FLX_NS_PER_MS);
    }
    for (uint32_t i = 0; i < node->worker_count; i++) {
        flx_worker_thread_drain(node->workers[i]);
    }
    const bool drained = all_workers(&wait, flx_worker_thread_is_drained,
                                     config->shutdown_drain_timeout_ms * FLX_NS_PER_MS);
    for (uint32_t i = 0; i < node->worker_count; i++) {
        flx_worker_thread_close_all(node->workers[i]);
    }
    (void)all_workers(&wait, flx_worker_thread_is_closed, CLOSE_WAIT_NS);
    FLX_LOG(node->options.log, drained ? FLX_LOG_INFO : FLX_LOG_WARN, "node.drained",
            drained ? "stopped: everything accepted was answered"
                    : "stopped before everything accepted was answered",
            flx_kv_f64("seconds", (double)(flx_clock_monotonic_ns() - begin_ns) / 1e9));
}
