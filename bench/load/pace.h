/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load/pace.h - what every publishing load program does: stamp its messages, and stay at most a
 * window ahead of the slowest subscriber, so that what is measured is relaying and not dropping.
 */
#ifndef FLX_BENCH_LOAD_PACE_H
#define FLX_BENCH_LOAD_PACE_H

#include "load.h"

typedef struct load_pace {
    uint64_t size;     /* of a payload */
    uint64_t batch;    /* payloads sent together */
    uint64_t sequence; /* of the next message */
    uint64_t window;   /* messages ahead of the slowest subscriber */
    uint64_t slowest;  /* as seen last */
    uint64_t subs;
    uint64_t publisher; /* which one we are of --publishers */
    uint64_t publishers;
    _Atomic uint64_t *progress;
} load_pace;

/* Of --size, --batch, --window (bytes of payload), --subs, --publisher, --publishers, --progress. */
void load_pace_init(load_pace *pace);
/* Waits until the next batch has room. */
void load_pace_wait(load_pace *pace);
/* Stamps the heads of `count` payloads, `stride` bytes apart, as far as a stamp fits. */
void load_pace_stamp(const load_pace *pace, uint8_t *payloads, uint64_t stride, uint64_t count);

#endif /* FLX_BENCH_LOAD_PACE_H */
