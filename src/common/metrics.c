/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/metrics.c - the registry behind the cells.
 *
 *      cells of every slot:  [ sink, SINK_CELLS | series 1 | series 2 | ... ]
 *      a counter or gauge    1 cell
 *      a histogram           [ sum | 53 buckets ]; the last one has no upper bound
 *
 * A family is a chain of series, in the order they were made. Slots are allocated whole at the start,
 * so a series never moves and writers need to know nothing but its index.
 */
#include "common/metrics.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CELLS_DEFAULT 16384
#define CELLS_MIN     256
#define CELLS_MAX     (1U << 22)
#define SLOTS_MAX     1024
#define CACHE_LINE    64
#define LINE_CELLS    (CACHE_LINE / sizeof(uint64_t))
#define BUCKETS       53 /* two an octave over 26 octaves, and one for what is above */
#define SINK_CELLS    (1 + BUCKETS)
#define FIRST_NS      10 /* the first bucket ends at 2^10 ns = 1.024 us, the last at 69 s */
#define FIRST_PLAIN   4  /* at 16; the last at 1 Gi */

typedef enum metric_kind { COUNTER, GAUGE, HISTOGRAM } metric_kind;

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

typedef struct series {
    struct series *next; /* in its family */
    flx_metric metric;
    uint32_t label_count;
    flx_label labels[FLX_METRIC_LABELS_MAX]; /* values are in `text` */
    char text[];
} series;

typedef struct family {
    struct family *next;
    const flx_metric_family *what;
    metric_kind kind;
    series *first;
    series *last;
} family;

struct flx_metrics {
    uint32_t slot_count;
    uint32_t cell_count; /* taken so far */
    uint32_t cells_max;
    void *cells; /* of all slots, one allocation */
    flx_metrics_slot *slots;
    pthread_mutex_t lock; /* guards the families; cells are nobody's business but atomics */
    family *first;
    family *last;
    _Atomic uint64_t dropped; /* series that got the sink */
};

/* --- life ---------------------------------------------------------------------------------------- */

static bool slots_make(flx_metrics *metrics, uint32_t count)
{
    /* Each slot begins on a cache line of its own: no thread's writes slow another's. */
    const size_t stride = (metrics->cells_max + LINE_CELLS - 1) / LINE_CELLS * LINE_CELLS;
    metrics->slots = flx_calloc(count, sizeof *metrics->slots);
    metrics->cells = flx_aligned_alloc(CACHE_LINE, count * stride * sizeof(uint64_t));
    if (metrics->slots == NULL || metrics->cells == NULL) {
        return false;
    }
    _Atomic uint64_t *cells = metrics->cells;
    for (size_t i = 0; i < count * stride; i++) {
        atomic_init(&cells[i], 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        metrics->slots[i].cells = cells + i * stride;
    }
    metrics->slot_count = count;
    return true;
}

flx_status flx_metrics_new(const flx_metrics_options *options, flx_metrics **ret_metrics,
                           flx_error *reterr)
{
    FLX_ASSERT(options->slots > 0 && options->slots <= SLOTS_MAX);
    flx_metrics *metrics = flx_calloc(1, sizeof *metrics);
    if (metrics == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make a metrics registry");
    }
    const uint32_t wanted = options->cells_max == 0 ? CELLS_DEFAULT : options->cells_max;
    metrics->cells_max = wanted < CELLS_MIN ? CELLS_MIN : wanted > CELLS_MAX ? CELLS_MAX : wanted;
    metrics->cell_count = SINK_CELLS;
    (void)pthread_mutex_init(&metrics->lock, NULL);
    if (!slots_make(metrics, options->slots)) {
        (void)flx_metrics_free(metrics);
        return flx_fail(reterr, FLX_ERR_NOMEM, "make a metrics registry");
    }
    *ret_metrics = metrics;
    return FLX_OK;
}

static void family_free(family *one)
{
    while (one->first != NULL) {
        series *next = one->first->next;
        flx_free(one->first);
        one->first = next;
    }
    flx_free(one);
}

flx_metrics *flx_metrics_free(flx_metrics *metrics)
{
    if (metrics == NULL) {
        return NULL;
    }
    while (metrics->first != NULL) {
        family *next = metrics->first->next;
        family_free(metrics->first);
        metrics->first = next;
    }
    flx_free(metrics->cells);
    flx_free(metrics->slots);
    (void)pthread_mutex_destroy(&metrics->lock);
    flx_free(metrics);
    return NULL;
}

flx_metrics_slot *flx_metrics_slot_at(flx_metrics *metrics, uint32_t index)
{
    FLX_ASSERT(index < metrics->slot_count);
    return &metrics->slots[index];
}

/* --- making series; with the lock held ------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
    const size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static bool is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
    return *text != '\0' && strspn(text, letters) > 0 &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

/* Names are constants of the program: a bad one is a bug. */
static void check_names(const flx_metric_family *what, metric_kind kind, const flx_label *labels,
                        uint32_t label_count)
{
    FLX_ASSERT(is_name(what->name));
    FLX_ASSERT(ends_with(what->name, "_total") == (kind == COUNTER));
    FLX_ASSERT(what->unit == FLX_METRIC_PLAIN || ends_with(what->name, "_seconds") ||
               ends_with(what->name, "_seconds_total"));
    FLX_ASSERT(label_count <= FLX_METRIC_LABELS_MAX);
    for (uint32_t i = 0; i < label_count; i++) {
        FLX_ASSERT(is_name(labels[i].name));
    }
}

static bool has_labels(const series *one, const flx_label *labels, uint32_t label_count)
{
    if (one->label_count != label_count) {
        return false;
    }
    for (uint32_t i = 0; i < label_count; i++) {
        if (strcmp(one->labels[i].name, labels[i].name) != 0 ||
            strcmp(one->labels[i].value, labels[i].value) != 0) {
            return false;
        }
    }
    return true;
}

static family *family_of(flx_metrics *metrics, const flx_metric_family *what, metric_kind kind)
{
    for (family *one = metrics->first; one != NULL; one = one->next) {
        if (strcmp(one->what->name, what->name) == 0) {
            FLX_ASSERT(one->kind == kind && one->what->unit == what->unit);
            return one;
        }
    }
    family *made = flx_alloc(sizeof *made);
    if (made != NULL) {
        *made = (family){.what = what, .kind = kind};
        if (metrics->last == NULL) {
            metrics->first = made;
        } else {
            metrics->last->next = made;
        }
        metrics->last = made;
    }
    return made;
}

static series *series_new(const flx_label *labels, uint32_t label_count)
{
    size_t text_len = 0;
    for (uint32_t i = 0; i < label_count; i++) {
        text_len += strlen(labels[i].value) + 1;
    }
    series *made = flx_alloc(sizeof *made + text_len);
    if (made == NULL) {
        return NULL;
    }
    *made = (series){.label_count = label_count};
    char *at = made->text;
    for (uint32_t i = 0; i < label_count; i++) {
        const size_t len = strlen(labels[i].value) + 1;
        memcpy(at, labels[i].value, len);
        made->labels[i] = (flx_label){labels[i].name, at};
        at += len;
    }
    return made;
}

/* NULL: there is no room. */
static const series *series_of(flx_metrics *metrics, family *one, const flx_label *labels,
                               uint32_t label_count)
{
    for (const series *at = one->first; at != NULL; at = at->next) {
        if (has_labels(at, labels, label_count)) {
            return at;
        }
    }
    const uint32_t cells = one->kind == HISTOGRAM ? 1 + BUCKETS : 1;
    series *made =
        cells > metrics->cells_max - metrics->cell_count ? NULL : series_new(labels, label_count);
    if (made != NULL) {
        made->metric = metrics->cell_count;
        metrics->cell_count += cells;
        if (one->last == NULL) {
            one->first = made;
        } else {
            one->last->next = made;
        }
        one->last = made;
    }
    return made;
}

static flx_metric make(flx_metrics *metrics, const flx_metric_family *what, metric_kind kind,
                       const flx_label *labels, uint32_t label_count)
{
    check_names(what, kind, labels, label_count);
    (void)pthread_mutex_lock(&metrics->lock);
    family *one = family_of(metrics, what, kind);
    const series *made = one == NULL ? NULL : series_of(metrics, one, labels, label_count);
    const flx_metric metric = made == NULL ? 0 : made->metric;
    (void)pthread_mutex_unlock(&metrics->lock);
    if (made == NULL) {
        (void)atomic_fetch_add(&metrics->dropped, 1);
    }
    return metric;
}

flx_metric flx_metrics_counter(flx_metrics *metrics, const flx_metric_family *what,
                               const flx_label *labels, uint32_t label_count)
{
    return make(metrics, what, COUNTER, labels, label_count);
}

flx_metric flx_metrics_gauge(flx_metrics *metrics, const flx_metric_family *what,
                             const flx_label *labels, uint32_t label_count)
{
    return make(metrics, what, GAUGE, labels, label_count);
}

flx_metric flx_metrics_histogram(flx_metrics *metrics, const flx_metric_family *what,
                                 const flx_label *labels, uint32_t label_count)
{
    FLX_ASSERT(what->unit == FLX_METRIC_PLAIN || what->unit == FLX_METRIC_NS_SECONDS);
    return make(metrics, what, HISTOGRAM, labels, label_count);
}

/* --- histograms ----------------------------------------------------------------------------------- */

static unsigned first_exponent(flx_metric_unit unit)
{
    return unit == FLX_METRIC_NS_SECONDS ? FIRST_NS : FIRST_PLAIN;
}

/* The upper bound of a bucket, which it includes: 1, 1.5, 2, 3, 4, 6, ... times 2^first. */
static uint64_t bucket_end(uint32_t bucket, unsigned first)
{
    const uint64_t octave = UINT64_C(1) << (first + bucket / 2);
    return bucket % 2 == 0 ? octave : octave + octave / 2;
}

/* The first bucket whose end the value does not pass. */
static uint32_t bucket_of(uint64_t value, unsigned first)
{
    if (value <= UINT64_C(1) << first) {
        return 0;
    }
    const uint64_t below = value - 1; /* ends are inclusive */
    const unsigned exponent = 63 - (unsigned)__builtin_clzll(below);
    const uint32_t half = below >> (exponent - 1) & 1;
    const uint32_t bucket = 2 * (exponent - first) + half + 1;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

void flx_metric_observe(flx_metrics_slot *slot, flx_metric metric, flx_metric_unit unit,
                        uint64_t value)
{
    flx_metric_add(slot, metric, value);
    flx_metric_add(slot, metric + 1 + bucket_of(value, first_exponent(unit)), 1);
}

/* --- rendering; with the lock held ----------------------------------------------------------------- */

uint64_t flx_metrics_read(const flx_metrics *metrics, flx_metric metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < metrics->slot_count; i++) {
        sum += atomic_load_explicit(&metrics->slots[i].cells[metric], memory_order_relaxed);
    }
    return sum;
}

static flx_status put_escaped(flx_buffer *buffer, const char *text, bool is_label)
{
    flx_status status = FLX_OK;
    for (; *text != '\0' && status == FLX_OK; text++) {
        status = *text == '\n'              ? flx_buffer_append(buffer, "\\n", 2)
                 : *text == '\\'            ? flx_buffer_append(buffer, "\\\\", 2)
                 : *text == '"' && is_label ? flx_buffer_append(buffer, "\\\"", 2)
                                            : flx_buffer_append(buffer, text, 1);
    }
    return status;
}

/* name_suffix{label="value",le="..."} and a space. */
static flx_status put_name(flx_buffer *buffer, const family *one, const series *at,
                           const char *suffix, const char *le)
{
    flx_status status = flx_buffer_printf(buffer, "%s%s", one->what->name, suffix);
    const char *separator = "{";
    for (uint32_t i = 0; i < at->label_count && status == FLX_OK; i++) {
        status = flx_buffer_printf(buffer, "%s%s=\"", separator, at->labels[i].name);
        if (status == FLX_OK) {
            status = put_escaped(buffer, at->labels[i].value, true);
        }
        if (status == FLX_OK) {
            status = flx_buffer_append_text(buffer, "\"");
        }
        separator = ",";
    }
    if (le != NULL && status == FLX_OK) {
        status = flx_buffer_printf(buffer, "%sle=\"%s\"", separator, le);
        separator = ",";
    }
    if (status != FLX_OK) {
        return status;
    }
    return flx_buffer_append_text(buffer, *separator == ',' ? "} " : " ");
}

/* A whole number in its unit, as exact decimal text: no locale, no rounding. */
static void format_value(char text[48], flx_metric_unit unit, bool is_signed, uint64_t value)
{
    static const uint64_t per_second[] = {1, 1000000000, 1000000, 1000};
    static const int digits[] = {0, 9, 6, 3};
    const bool is_negative = is_signed && (int64_t)value < 0;
    const uint64_t size = is_negative ? 0 - value : value;
    const char *sign = is_negative ? "-" : "";
    if (unit == FLX_METRIC_PLAIN) {
        (void)snprintf(text, 48, "%s%llu", sign, (unsigned long long)size);
    } else {
        (void)snprintf(text, 48, "%s%llu.%0*llu", sign,
                       (unsigned long long)(size / per_second[unit]), digits[unit],
                       (unsigned long long)(size % per_second[unit]));
    }
}

static flx_status put_sample(flx_buffer *buffer, const family *one, const series *at,
                             const char *suffix, const char *le, const char *value)
{
    const flx_status status = put_name(buffer, one, at, suffix, le);
    return status != FLX_OK ? status : flx_buffer_printf(buffer, "%s\n", value);
}

static flx_status put_histogram(const flx_metrics *metrics, flx_buffer *buffer, const family *one,
                                const series *at)
{
    const unsigned first = first_exponent(one->what->unit);
    char end[48], value[48];
    uint64_t count = 0;
    flx_status status = FLX_OK;
    for (uint32_t i = 0; i < BUCKETS && status == FLX_OK; i++) {
        count += flx_metrics_read(metrics, at->metric + 1 + i);
        format_value(value, FLX_METRIC_PLAIN, false, count);
        format_value(end, one->what->unit, false, bucket_end(i, first));
        status = put_sample(buffer, one, at, "_bucket", i == BUCKETS - 1 ? "+Inf" : end, value);
    }
    if (status == FLX_OK) { /* the count of the buckets, so that the two always agree */
        status = put_sample(buffer, one, at, "_count", NULL, value);
    }
    if (status == FLX_OK) {
        format_value(value, one->what->unit, false, flx_metrics_read(metrics, at->metric));
        status = put_sample(buffer, one, at, "_sum", NULL, value);
    }
    return status;
}

static flx_status put_series(const flx_metrics *metrics, flx_buffer *buffer, const family *one,
                             const series *at)
{
    if (one->kind == HISTOGRAM) {
        return put_histogram(metrics, buffer, one, at);
    }
    char value[48];
    format_value(value, one->what->unit, one->kind == GAUGE, flx_metrics_read(metrics, at->metric));
    return put_sample(buffer, one, at, "", NULL, value);
}

static flx_status put_head(flx_buffer *buffer, const char *name, const char *help, metric_kind kind)
{
    flx_status status = flx_buffer_printf(buffer, "# HELP %s ", name);
    if (status == FLX_OK) {
        status = put_escaped(buffer, help, false);
    }
    return status != FLX_OK ? status
                            : flx_buffer_printf(buffer, "\n# TYPE %s %s\n", name, kind_names[kind]);
}

static flx_status put_family(const flx_metrics *metrics, flx_buffer *buffer, const family *one)
{
    if (one->first == NULL) {
        return FLX_OK;
    }
    flx_status status = put_head(buffer, one->what->name, one->what->help, one->kind);
    for (const series *at = one->first; at != NULL && status == FLX_OK; at = at->next) {
        status = put_series(metrics, buffer, one, at);
    }
    return status;
}

flx_status flx_metrics_render(flx_metrics *metrics, flx_buffer *buffer)
{
    static const char dropped[] = "felix_metrics_series_dropped_total";
    (void)pthread_mutex_lock(&metrics->lock);
    flx_status status = FLX_OK;
    for (const family *one = metrics->first; one != NULL && status == FLX_OK; one = one->next) {
        status = put_family(metrics, buffer, one);
    }
    (void)pthread_mutex_unlock(&metrics->lock);
    if (status == FLX_OK) {
        status = put_head(buffer, dropped, "Series that found no room in the registry.", COUNTER);
    }
    if (status == FLX_OK) {
        status = flx_buffer_printf(buffer, "%s %llu\n", dropped,
                                   (unsigned long long)atomic_load(&metrics->dropped));
    }
    return status;
}
