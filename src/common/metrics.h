/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/metrics.h - counters, gauges and histograms, written without locks, summed when asked.
 *
 *      family  felix_publish_total {tenant="acme"}      series = an index into every slot's cells
 *
 *      slot of worker 0   [ 5 | 0 | 17 | ... ]    each written by one thread only: a relaxed load
 *      slot of worker 1   [ 9 | 2 |  0 | ... ]    and a relaxed store, no locked instruction
 *      slot of http       [ 0 | 0 |  1 | ... ]
 *      scrape             [14 | 2 | 18 | ... ]    the sum, as Prometheus text
 *
 * Names follow Prometheus: base units (_seconds, _bytes), counters end in _total. Labels are few and
 * their values bounded: past `cells_max` a new series is a sink that counts for nobody, and
 * felix_metrics_series_dropped_total says how many were refused. Series live as long as the registry.
 *
 * Threads: making series and rendering take a lock, any thread. Writing takes none, and belongs to
 * the thread of the slot. A scrape sees each cell as of some moment, not all as of one.
 */
#ifndef FLX_COMMON_METRICS_H
#define FLX_COMMON_METRICS_H

#include "common/buffer.h"

#include <stdatomic.h>
#include <stdint.h>

#define FLX_METRIC_LABELS_MAX 4

typedef struct flx_metrics flx_metrics;

/* One thread's cells. */
typedef struct flx_metrics_slot {
    _Atomic uint64_t *cells;
} flx_metrics_slot;

/* A series: the index of its first cell. */
typedef uint32_t flx_metric;

typedef struct flx_label {
    const char *name;
    const char *value;
} flx_label;

/* How the integers of a series are shown. */
typedef enum flx_metric_unit {
    FLX_METRIC_PLAIN,      /* as they are: counts and bytes */
    FLX_METRIC_NS_SECONDS, /* nanoseconds, shown as seconds */
    FLX_METRIC_US_SECONDS,
    FLX_METRIC_MS_SECONDS
} flx_metric_unit;

/* What a family is; a constant of the program, borrowed until the registry is freed. */
typedef struct flx_metric_family {
    const char *name;
    const char *help;
    flx_metric_unit unit;
} flx_metric_family;

/* Zero means the default written beside a field. */
typedef struct flx_metrics_options {
    uint32_t slots;     /* threads that write: workers and helpers; at least 1 */
    uint32_t cells_max; /* 16384 cells a slot; a counter or gauge takes 1, a histogram 54 */
} flx_metrics_options;

/* FLX_ERR_NOMEM. */
flx_status flx_metrics_new(const flx_metrics_options *options, flx_metrics **ret_metrics,
                           flx_error *reterr);
/* After the last write by any thread. NULL is fine. Always returns NULL. */
flx_metrics *flx_metrics_free(flx_metrics *metrics);

/* The cells of thread number `index`. Valid until the registry is freed. */
flx_metrics_slot *flx_metrics_slot_at(flx_metrics *metrics, uint32_t index);

/*
 * The series of a family with these label values (copied; label names are borrowed like the
 * family); the same one when it exists. Never fails: what does not fit gets the sink.
 */
flx_metric flx_metrics_counter(flx_metrics *metrics, const flx_metric_family *what,
                               const flx_label *labels, uint32_t label_count);
/* Each slot holds its share; the gauge is their sum. */
flx_metric flx_metrics_gauge(flx_metrics *metrics, const flx_metric_family *what,
                             const flx_label *labels, uint32_t label_count);
/*
 * Two buckets an octave. FLX_METRIC_NS_SECONDS: 1 us .. 69 s; FLX_METRIC_PLAIN: 16 .. 1 Gi.
 * Other units are not for histograms.
 */
flx_metric flx_metrics_histogram(flx_metrics *metrics, const flx_metric_family *what,
                                 const flx_label *labels, uint32_t label_count);

static inline void flx_metric_add(flx_metrics_slot *slot, flx_metric metric, uint64_t count)
{
    const uint64_t before = atomic_load_explicit(&slot->cells[metric], memory_order_relaxed);
    atomic_store_explicit(&slot->cells[metric], before + count, memory_order_relaxed);
}

/* Gauges may go down: their sum is signed, each slot's share may be negative. */
static inline void flx_metric_sub(flx_metrics_slot *slot, flx_metric metric, uint64_t count)
{
    flx_metric_add(slot, metric, 0 - count);
}

static inline void flx_metric_set(flx_metrics_slot *slot, flx_metric metric, int64_t value)
{
    atomic_store_explicit(&slot->cells[metric], (uint64_t)value, memory_order_relaxed);
}

/* Records one value in a histogram. */
void flx_metric_observe(flx_metrics_slot *slot, flx_metric metric, flx_metric_unit unit,
                        uint64_t value);

/* The sum over all slots now (counters and gauges), for tests and for `felix top`. */
uint64_t flx_metrics_read(const flx_metrics *metrics, flx_metric metric);

/*
 * Appends all families in Prometheus text format 0.0.4, in order of their first series.
 * FLX_ERR_NOMEM, FLX_ERR_TOO_LARGE: as of the buffer; its content is then cut somewhere.
 */
flx_status flx_metrics_render(flx_metrics *metrics, flx_buffer *buffer);

#endif /* FLX_COMMON_METRICS_H */
