/* SPDX-License-Identifier: Apache-2.0 */
/* floor.h - what the floor programs share: options, time, percentiles, a pair of credentials. */
#ifndef FLX_BENCH_FLOOR_H
#define FLX_BENCH_FLOOR_H

#include "common/clock.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FLOOR_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* The number behind `--name`, or `otherwise`. */
static inline uint64_t floor_option(int argc, char **argv, const char *name, uint64_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return otherwise;
}

static inline double floor_cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* `--pin 1`: the client on processor 0, the server on 1, so that two busy ones do not share one. */
static inline void floor_pin(int argc, char **argv, bool server)
{
    cpu_set_t set;
    if (floor_option(argc, argv, "--pin", 0) == 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(server ? 1 : 0, &set);
    FLOOR_CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
}

static inline struct sockaddr_in floor_loopback(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int floor_compare(const void *a, const void *b)
{
    uint64_t x;
    uint64_t y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* One line of JSON: the percentiles of `count` samples in nanoseconds. Sorts them. */
static inline void floor_report(const char *name, uint64_t *samples, size_t count, double cpu_s)
{
    qsort(samples, count, sizeof *samples, floor_compare);
    (void)printf("{\"bench\":\"%s\",\"count\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,"
                 "\"p999_us\":%.1f,\"max_us\":%.1f,\"client_cpu_us_each\":%.2f}\n",
                 name, count, (double)samples[count / 2] / 1e3,
                 (double)samples[count * 99 / 100] / 1e3, (double)samples[count * 999 / 1000] / 1e3,
                 (double)samples[count - 1] / 1e3, cpu_s * 1e6 / (double)count);
}

#endif /* FLX_BENCH_FLOOR_H */
