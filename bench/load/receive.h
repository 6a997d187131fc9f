/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load/receive.h - what every subscribing load program does with a message: check its place in the
 * order of its publisher, count it for the publisher that waits for the slowest, time one in 64.
 *
 * A receiver is one subscription and belongs to one thread. The end of a run is the arrival of the
 * last message at the last receiver; a message that is missing, double or out of place makes the run
 * void, which the report says.
 */
#ifndef FLX_BENCH_LOAD_RECEIVE_H
#define FLX_BENCH_LOAD_RECEIVE_H

#include "load.h"

#define LOAD_TIMED_EVERY 64

typedef struct load_receiver {
    _Atomic uint64_t *slots; /* one a publisher: how many of its messages are here */
    flx_histogram *latency;  /* shared by the receivers of a thread */
    _Atomic uint64_t received;
    uint64_t next_offset; /* UINT64_MAX before the first; for payloads too small for a stamp */
    uint64_t gaps;        /* told by the broker or the library */
    uint64_t wrong;       /* out of sequence */
    uint64_t end_ns;
} load_receiver;

typedef struct load_receivers {
    load_receiver *all;
    flx_histogram *latencies; /* one a thread */
    uint64_t count;
    uint64_t threads;
    uint64_t publishers;
    uint64_t warm; /* messages a receiver before the measured part */
    uint64_t whole;
    _Atomic uint64_t warm_ones; /* receivers that have them */
    _Atomic uint64_t whole_ones;
} load_receivers;

/* Of --subs, --publishers, --warm-up, --count and --progress; receiver i is of thread i % threads. */
void load_receivers_init(load_receivers *r, uint64_t threads);
void load_receivers_done(load_receivers *r);

/* `offset` UINT64_MAX: the broker does not tell one. */
void load_received(load_receivers *r, load_receiver *one, flx_slice payload, uint64_t offset);

/* Until `ones` receivers are there; false: nothing came for LOAD_STALL_MS. */
bool load_receivers_wait(load_receivers *r, _Atomic uint64_t *ones);
/* One line for the driver, "result". */
void load_receivers_report(const load_receivers *r, double cpu_s);

#endif /* FLX_BENCH_LOAD_RECEIVE_H */
