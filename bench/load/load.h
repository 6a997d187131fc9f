/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - what the load programs share: options, clients, words with the driver, own CPU time.
 *
 * A load program says what happens in lines of JSON on stdout ({"event":"ready"}, "warm", "result")
 * and waits for a line on stdin where the driver decides when to go on; bench/run reads and writes
 * them. Anything unexpected ends the program with a line on stderr and exit 1, so that no figure
 * comes from a run that was not whole.
 */
#ifndef FLX_BENCH_LOAD_H
#define FLX_BENCH_LOAD_H

#include "common/clock.h"
#include "common/histogram.h"

#include <felix/felix.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_CONNECTIONS_MAX 60 /* of one client: one loop thread */
#define LOAD_WAIT_MS         60000
#define LOAD_STALL_MS        15000 /* nothing for so long ends a run */

#define LOAD_PUBLISHERS_MAX 16
#define LOAD_SEQUENCE_BITS  48 /* of a stamp's sequence; above them is which publisher sent it */

/* At the head of every payload that is large enough. */
typedef struct load_stamp {
    uint64_t sequence;
    uint64_t sent_ns;
} load_stamp;

#define LOAD_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            load_die("%s:%d: %s", __FILE__, __LINE__, #condition);                                 \
    } while (0)

__attribute__((format(printf, 1, 2), noreturn)) void load_die(const char *format, ...);

/* The command line is kept by load_init(); `--name value` and `--name`. */
void load_init(int argc, char **argv);
const char *load_text(const char *name, const char *otherwise);
uint64_t load_number(const char *name, uint64_t otherwise);
bool load_flag(const char *name);

/* A connected client of --address, --tenant, --token-file, --ca-file, --udp-payload-max, --busy-us. */
flx_client *load_connect(uint32_t connections, uint32_t cache_streams);

/* One line to the driver. */
__attribute__((format(printf, 1, 2))) void load_say(const char *format, ...);
/* Waits for a line of the driver; false when it closed the pipe. */
bool load_await_line(void);
/* Processor time of this process so far. */
double load_cpu_s(void);
/* Members of a JSON object, in microseconds, without braces: "count":..,"p50_us":.. */
void load_histogram_text(const flx_histogram *histogram, char *text, size_t cap);
void load_sleep_us(uint64_t us);

/*
 * How far each subscriber is, shared between processes through a small file (--progress): a
 * publisher that must not outrun the slowest reader looks here. NULL without the option.
 */
_Atomic uint64_t *load_progress(uint64_t count);

#endif /* FLX_BENCH_LOAD_H */
