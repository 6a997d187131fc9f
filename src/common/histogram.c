/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/histogram.c - log-linear buckets.
 *
 * The first 256 values have a bucket each. Above, an octave [2^e, 2^(e+1)) is cut into 128 equal
 * steps: shift the value right until it fits 8 bits; the shift is the octave, the 7 bits under the
 * leading one are the step.
 */
#include "common/histogram.h"

#include "common/assert.h"

#include <string.h>

#define STEPS ((uint64_t)1 << FLX_HISTOGRAM_STEP_BITS)

static uint32_t bucket_of(uint64_t value)
{
    if (value < 2 * STEPS) {
        return (uint32_t)value;
    }
    const unsigned shift = 63 - (unsigned)__builtin_clzll(value) - FLX_HISTOGRAM_STEP_BITS;
    return (uint32_t)(shift * STEPS + (value >> shift));
}

/* The largest value of a bucket. */
static uint64_t bucket_end(uint32_t bucket)
{
    if (bucket < 2 * STEPS) {
        return bucket;
    }
    const unsigned shift = bucket / (uint32_t)STEPS - 1;
    const uint64_t step = bucket % STEPS + STEPS;
    return ((step + 1) << shift) - 1;
}

void flx_histogram_init(flx_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->min = UINT64_MAX;
}

void flx_histogram_record_many(flx_histogram *histogram, uint64_t value, uint64_t count)
{
    if (count == 0) {
        return;
    }
    if (value > FLX_HISTOGRAM_VALUE_MAX) {
        value = FLX_HISTOGRAM_VALUE_MAX;
    }
    const uint32_t bucket = bucket_of(value);
    FLX_ASSERT(bucket < FLX_HISTOGRAM_BUCKETS);
    histogram->buckets[bucket] += count;
    histogram->count += count;
    histogram->sum += value * count;
    histogram->min = value < histogram->min ? value : histogram->min;
    histogram->max = value > histogram->max ? value : histogram->max;
}

void flx_histogram_record(flx_histogram *histogram, uint64_t value)
{
    flx_histogram_record_many(histogram, value, 1);
}

void flx_histogram_merge(flx_histogram *to, const flx_histogram *from)
{
    for (uint32_t i = 0; i < FLX_HISTOGRAM_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
    to->count += from->count;
    to->sum += from->sum;
    to->min = from->min < to->min ? from->min : to->min;
    to->max = from->max > to->max ? from->max : to->max;
}

uint64_t flx_histogram_percentile(const flx_histogram *histogram, double percent)
{
    if (histogram->count == 0) {
        return 0;
    }
    const double exact = percent / 100.0 * (double)histogram->count;
    uint64_t rank = exact <= 1 ? 1 : (uint64_t)exact; /* how many values must be at or below */
    if ((double)rank < exact && rank < histogram->count) {
        rank++;
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < FLX_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            const uint64_t end = bucket_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}

double flx_histogram_mean(const flx_histogram *histogram)
{
    return histogram->count == 0 ? 0 : (double)histogram->sum / (double)histogram->count;
}
