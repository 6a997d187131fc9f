/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/core_path.c - what does the broker's core cost per record, without packets and sockets?
 *
 * One worker, one thread, the transport of the tests: publish frames go through wire, session,
 * shard and fan-out to subscribers that take every byte at once. Prints nanoseconds and allocations
 * per publish and per delivery. The work is the same in every run; only the time differs.
 *
 *     bench_core_path [rounds]
 */
#include "broker_harness.h"
#include "common/alloc.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_FRAMES 16 /* publish frames that arrive in one tick */

typedef struct load {
    const char *name;
    size_t payload;
    uint32_t batch;
    uint32_t fan_out;
    bool acked;
    uint16_t flags; /* the subscribers' */
} load;

#define PLAIN 0x27   /* shared frames with offsets: sent as they lie */
#define TIMED 0x4027 /* as published clients of 0.6 ask: rewritten once for all */

static const load loads[] = {
    {"256 B, single, acked, fan-out 1", 256, 1, 1, true, PLAIN},
    {"256 B, single, no ack, fan-out 1", 256, 1, 1, false, PLAIN},
    {"100 B x 64, fan-out 1", 100, 64, 1, false, PLAIN},
    {"1 KiB x 64, fan-out 1", 1024, 64, 1, false, PLAIN},
    {"1 KiB x 64, fan-out 10", 1024, 64, 10, false, PLAIN},
    {"1 KiB x 64, fan-out 1000", 1024, 64, 1000, false, PLAIN},
    {"100 B x 64, fan-out 100", 100, 64, 100, false, PLAIN},
    {"100 B x 64, fan-out 100, times", 100, 64, 100, false, TIMED},
    {"1 KiB x 64, fan-out 1000, times", 1024, 64, 1000, false, TIMED},
};

static void run(const load *what, uint32_t rounds)
{
    static uint8_t frame[128 * 1024];
    hx *h = hx_new(&(hx_options){.count_only = true});
    hx_conn *conn = hx_connect(h, 0);
    hx_stream *publisher = hx_open(conn, true);
    hx_auth(publisher);
    for (uint32_t i = 0; i < what->fan_out; i++) {
        hx_stream *s = hx_open(conn, true);
        hx_auth_as(s, what->flags, 0);
        hx_json(s, "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
                   "\"stream\":\"demo\"}");
        hx_fin(s);
    }
    (void)hx_run(h);
    const size_t len = hx_publish_frame(frame, sizeof frame, "demo", what->acked ? 1 : 0,
                                        what->payload, what->batch);
    uint64_t begin_ns = 0;
    uint64_t begin_allocs = 0;
    for (uint32_t i = 0; i < rounds + rounds / 4; i++) {
        if (i == rounds / 4) { /* warm */
            begin_allocs = flx_alloc_count();
            begin_ns = flx_clock_monotonic_ns();
        }
        for (int j = 0; j < TICK_FRAMES; j++) {
            hx_send(publisher, frame, len);
        }
        hx_step(h);
    }
    const double ns = (double)(flx_clock_monotonic_ns() - begin_ns);
    const double allocs = (double)(flx_alloc_count() - begin_allocs);
    const double publishes = (double)rounds * TICK_FRAMES;
    const double deliveries = publishes * what->batch * what->fan_out;
    (void)printf("%-34s %9.0f ns/publish %8.2f ns/delivery %7.4f allocations/publish\n", what->name,
                 ns / publishes, ns / deliveries, allocs / publishes);
    hx_free(h);
}

int main(int argc, char **argv)
{
    const uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000;
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        run(&loads[i], loads[i].fan_out > 100 ? rounds / 10 : rounds);
    }
    return 0;
}
