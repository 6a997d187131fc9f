/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/histogram.h - latencies from a nanosecond to 18 minutes, each known to 0.8 %.
 *
 * Log-linear like HdrHistogram: 128 equal steps an octave, values below 256 exact. Recording is two
 * shifts and an increment. A fixed 35 KiB, no allocation; several are merged by adding. Used by
 * benches and `felix bench`; the node's metrics have coarser ones (broker/stats.h). One thread at
 * a time.
 */
#ifndef FLX_COMMON_HISTOGRAM_H
#define FLX_COMMON_HISTOGRAM_H

#include <stdint.h>

#define FLX_HISTOGRAM_STEP_BITS 7
#define FLX_HISTOGRAM_VALUE_MAX ((UINT64_C(1) << 40) - 1) /* larger ones are counted as this */
#define FLX_HISTOGRAM_BUCKETS   ((40 - FLX_HISTOGRAM_STEP_BITS + 1) << FLX_HISTOGRAM_STEP_BITS)

typedef struct flx_histogram {
    uint64_t count;
    uint64_t sum; /* of the values as given, clipped to the maximum */
    uint64_t min; /* exact; UINT64_MAX when empty */
    uint64_t max; /* exact; 0 when empty */
    uint64_t buckets[FLX_HISTOGRAM_BUCKETS];
} flx_histogram;

void flx_histogram_init(flx_histogram *histogram);
void flx_histogram_record(flx_histogram *histogram, uint64_t value);
/* `count` times the same value, e.g. to correct for coordinated omission. */
void flx_histogram_record_many(flx_histogram *histogram, uint64_t value, uint64_t count);
/* Adds all of `from` to `to`. */
void flx_histogram_merge(flx_histogram *to, const flx_histogram *from);
/* The value that `percent` (0..100) of all values do not pass, at most 0.8 % too high and never above
 * the maximum; 0 when empty. */
uint64_t flx_histogram_percentile(const flx_histogram *histogram, double percent);
double flx_histogram_mean(const flx_histogram *histogram); /* 0 when empty */

#endif /* FLX_COMMON_HISTOGRAM_H */
