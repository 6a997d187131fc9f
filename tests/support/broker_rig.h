/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/broker_rig.h - a broker that can be ended and started again on the same simulated disk. */
#ifndef FLX_TESTS_BROKER_RIG_H
#define FLX_TESTS_BROKER_RIG_H

#include "broker_harness.h"
#include "sim_disk.h"
#include "unit.h"

typedef struct rig {
    sim_disk *sim;
    hx *h;
    hx_options options;
    hx_stream *client; /* the test's own */
} rig;

/* What a test does after each start; NULL: nothing, its logs are not even open. */
static void (*rig_started)(rig *r);

/* All waiting disk jobs of all workers, oldest first, until nothing moves. */
static inline void run_disks(hx *h, uint32_t workers)
{
    assert_true(hx_run(h));
    for (bool did = true; did;) {
        did = false;
        for (uint32_t i = 0; i < workers; i++) {
            while (hx_io(h, i, 0)) {
                did = true;
            }
        }
        assert_true(hx_run(h));
    }
}

static inline void run_io(rig *r)
{
    run_disks(r->h, r->options.workers);
}

static inline void start(rig *r)
{
    r->options.disk = sim_disk_of(r->sim);
    r->h = hx_new(&r->options);
    assert_non_null(r->h);
    assert_true(hx_run(r->h));
    if (rig_started != NULL) {
        rig_started(r);
    }
}

/* One at a time. */
static inline rig *rig_new(uint32_t workers, bool manual_io, flx_worker_limits limits)
{
    static rig r;
    r = (rig){.sim = sim_disk_new(),
              .options = {.workers = workers, .manual_io = manual_io, .limits = limits}};
    start(&r);
    return &r;
}

static inline void rig_free(rig *r)
{
    hx_free(r->h);
    flx_disk_free(sim_disk_of(r->sim));
}

/* The end the operator asks for. */
static inline void restart(rig *r)
{
    hx_free(r->h);
    start(r);
}

/* The power goes. */
static inline void crash(rig *r, sim_crash_mode mode, uint64_t seed)
{
    sim_disk_stop_at(r->sim, 1);
    hx_free(r->h);
    sim_disk_crash(r->sim, mode, seed);
    start(r);
}

#endif /* FLX_TESTS_BROKER_RIG_H */
