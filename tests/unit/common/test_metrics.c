/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics registry: the text Prometheus reads, sums over slots, the bound on series. */
#include "common/alloc.h"
#include "common/metrics.h"
#include "unit.h"

#include <pthread.h>

#define THREADS 3
#define ADDS    20000

static flx_metrics *registry(uint32_t slots, uint32_t cells_max)
{
    const flx_metrics_options options = {.slots = slots, .cells_max = cells_max};
    flx_metrics *metrics = NULL;
    flx_error error;
    assert_int_equal(flx_metrics_new(&options, &metrics, &error), FLX_OK);
    return metrics;
}

static const char *render(flx_metrics *metrics, flx_buffer *buffer)
{
    flx_buffer_clear(buffer);
    assert_int_equal(flx_metrics_render(metrics, buffer), FLX_OK);
    return flx_buffer_text(buffer);
}

static const flx_metric_family published = {"felix_publish_total", "Records\npublished.",
                                            FLX_METRIC_PLAIN};
static const flx_metric_family queued = {"felix_queued_bytes", "Bytes queued.", FLX_METRIC_PLAIN};
static const flx_metric_family lag = {"felix_lag_seconds", "Lag.", FLX_METRIC_MS_SECONDS};
static const flx_metric_family latency = {"felix_latency_seconds", "Latency.",
                                          FLX_METRIC_NS_SECONDS};
static const flx_metric_family sizes = {"felix_batch_bytes", "Sizes.", FLX_METRIC_PLAIN};

static void test_text(void **state)
{
    (void)state;
    flx_metrics *metrics = registry(2, 0);
    flx_metrics_slot *one = flx_metrics_slot_at(metrics, 0);
    flx_metrics_slot *two = flx_metrics_slot_at(metrics, 1);
    const flx_label acme = {"tenant", "acme"};
    const flx_label odd[] = {{"tenant", "a\"b\\c\nd"}, {"kind", "x"}};
    const flx_metric a = flx_metrics_counter(metrics, &published, &acme, 1);
    const flx_metric bytes = flx_metrics_gauge(metrics, &queued, NULL, 0);
    const flx_metric seconds = flx_metrics_gauge(metrics, &lag, NULL, 0);
    const flx_metric b = flx_metrics_counter(metrics, &published, odd, 2);
    assert_int_equal(flx_metrics_counter(metrics, &published, &acme, 1), a);
    assert_int_not_equal(a, b);
    flx_metric_add(one, a, 3);
    flx_metric_add(two, a, 4);
    flx_metric_add(one, b, 1);
    flx_metric_add(one, bytes, 10);
    flx_metric_sub(two, bytes, 25); /* taken on another thread than it was put on */
    flx_metric_set(one, seconds, 1500);
    assert_int_equal(flx_metrics_read(metrics, a), 7);
    flx_buffer buffer;
    flx_buffer_init(&buffer, 1 << 20);
    assert_string_equal(render(metrics, &buffer),
                        "# HELP felix_publish_total Records\\npublished.\n"
                        "# TYPE felix_publish_total counter\n"
                        "felix_publish_total{tenant=\"acme\"} 7\n"
                        "felix_publish_total{tenant=\"a\\\"b\\\\c\\nd\",kind=\"x\"} 1\n"
                        "# HELP felix_queued_bytes Bytes queued.\n"
                        "# TYPE felix_queued_bytes gauge\n"
                        "felix_queued_bytes -15\n"
                        "# HELP felix_lag_seconds Lag.\n"
                        "# TYPE felix_lag_seconds gauge\n"
                        "felix_lag_seconds 1.500\n"
                        "# HELP felix_metrics_series_dropped_total Series that found no room in "
                        "the registry.\n"
                        "# TYPE felix_metrics_series_dropped_total counter\n"
                        "felix_metrics_series_dropped_total 0\n");
    flx_buffer_done(&buffer);
    (void)flx_metrics_free(metrics);
}

static void test_histogram_buckets(void **state)
{
    (void)state;
    const struct {
        uint64_t value;
        const char *line; /* the first bucket it is in, counting 1; the one below counts 0 */
    } rows[] = {
        {0, "felix_latency_seconds_bucket{le=\"0.000001024\"} 1\n"},
        {1024, "felix_latency_seconds_bucket{le=\"0.000001024\"} 1\n"},
        {1025, "le=\"0.000001024\"} 0\nfelix_latency_seconds_bucket{le=\"0.000001536\"} 1\n"},
        {1536, "le=\"0.000001024\"} 0\nfelix_latency_seconds_bucket{le=\"0.000001536\"} 1\n"},
        {1537, "le=\"0.000001536\"} 0\nfelix_latency_seconds_bucket{le=\"0.000002048\"} 1\n"},
        {1000000000, "le=\"0.805306368\"} 0\nfelix_latency_seconds_bucket{le=\"1.073741824\"} 1\n"},
        {UINT64_C(51539607552),
         "le=\"51.539607552\"} 1\nfelix_latency_seconds_bucket{le=\"+Inf\"} 1\n"},
        {UINT64_C(1) << 50,
         "le=\"51.539607552\"} 0\nfelix_latency_seconds_bucket{le=\"+Inf\"} 1\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_metrics *metrics = registry(1, 0);
        const flx_metric metric = flx_metrics_histogram(metrics, &latency, NULL, 0);
        flx_metric_observe(flx_metrics_slot_at(metrics, 0), metric, latency.unit, rows[i].value);
        flx_buffer buffer;
        flx_buffer_init(&buffer, 1 << 20);
        const char *text = render(metrics, &buffer);
        if (strstr(text, rows[i].line) == NULL) {
            fail_msg("%llu:\n%s", (unsigned long long)rows[i].value, text);
        }
        assert_non_null(strstr(text, "felix_latency_seconds_count 1\n"));
        flx_buffer_done(&buffer);
        (void)flx_metrics_free(metrics);
    }
}

static void test_histogram_of_sizes(void **state)
{
    (void)state;
    flx_metrics *metrics = registry(2, 0);
    const flx_label label = {"stream", "s"};
    const flx_metric metric = flx_metrics_histogram(metrics, &sizes, &label, 1);
    flx_metric_observe(flx_metrics_slot_at(metrics, 0), metric, sizes.unit, 100);
    flx_metric_observe(flx_metrics_slot_at(metrics, 1), metric, sizes.unit, 5);
    flx_buffer buffer;
    flx_buffer_init(&buffer, 1 << 20);
    const char *text = render(metrics, &buffer);
    assert_non_null(strstr(text, "felix_batch_bytes_bucket{stream=\"s\",le=\"16\"} 1\n"));
    assert_non_null(strstr(text, "felix_batch_bytes_bucket{stream=\"s\",le=\"96\"} 1\n"));
    assert_non_null(strstr(text, "felix_batch_bytes_bucket{stream=\"s\",le=\"128\"} 2\n"));
    assert_non_null(strstr(text, "felix_batch_bytes_count{stream=\"s\"} 2\n"
                                 "felix_batch_bytes_sum{stream=\"s\"} 105\n"));
    flx_buffer_done(&buffer);
    (void)flx_metrics_free(metrics);
}

/* Past the bound, series count for nobody, say so, and disturb nobody. */
static void test_series_are_bounded(void **state)
{
    (void)state;
    flx_metrics *metrics = registry(1, 256);
    flx_metrics_slot *slot = flx_metrics_slot_at(metrics, 0);
    const flx_metric first = flx_metrics_counter(metrics, &published, NULL, 0);
    for (int i = 0; i < 10; i++) {
        const char value[] = {(char)('a' + i), '\0'};
        const flx_label label = {"tenant", value};
        const flx_metric metric = flx_metrics_histogram(metrics, &latency, &label, 1);
        flx_metric_observe(slot, metric, latency.unit, UINT64_MAX);
    }
    assert_int_equal(flx_metrics_read(metrics, first), 0);
    flx_buffer buffer;
    flx_buffer_init(&buffer, 1 << 20);
    const char *text = render(metrics, &buffer);
    assert_non_null(strstr(text, "{tenant=\"a\",le=\"+Inf\"} 1\n"));
    assert_null(strstr(text, "{tenant=\"j\""));
    assert_non_null(strstr(text, "felix_metrics_series_dropped_total 7\n"));
    flx_buffer_done(&buffer);
    flx_buffer_init(&buffer, 300); /* an answer that may not be longer */
    assert_int_equal(flx_metrics_render(metrics, &buffer), FLX_ERR_TOO_LARGE);
    flx_buffer_done(&buffer);
    (void)flx_metrics_free(metrics);
}

typedef struct writer {
    pthread_t thread;
    flx_metrics *metrics;
    uint32_t index;
} writer;

static void *write_many(void *arg)
{
    const writer *self = arg;
    flx_metrics_slot *slot = flx_metrics_slot_at(self->metrics, self->index);
    const flx_metric metric = flx_metrics_counter(self->metrics, &published, NULL, 0);
    for (int i = 0; i < ADDS; i++) {
        flx_metric_add(slot, metric, 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    flx_metrics *metrics = registry(THREADS, 0);
    writer writers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        writers[i] = (writer){.metrics = metrics, .index = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_many, &writers[i]), 0);
    }
    flx_buffer buffer;
    flx_buffer_init(&buffer, 1 << 20);
    for (int i = 0; i < 20; i++) {
        (void)render(metrics, &buffer);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    }
    assert_non_null(strstr(render(metrics, &buffer), "felix_publish_total 60000\n"));
    flx_buffer_done(&buffer);
    (void)flx_metrics_free(metrics);
}

static void test_every_failed_allocation(void **state)
{
    (void)state;
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        const flx_metrics_options options = {.slots = 2};
        flx_metrics *metrics = NULL;
        flx_error error;
        flx_alloc_fail_nth(nth);
        if (flx_metrics_new(&options, &metrics, &error) == FLX_OK) {
            const flx_label label = {"tenant", "t"};
            const flx_metric metric = flx_metrics_counter(metrics, &published, &label, 1);
            flx_metric_add(flx_metrics_slot_at(metrics, 1), metric, 1); /* the sink, if need be */
            flx_buffer buffer;
            flx_buffer_init(&buffer, 1 << 16);
            const flx_status status = flx_metrics_render(metrics, &buffer);
            assert_true(status == FLX_OK || status == FLX_ERR_NOMEM);
            flx_buffer_done(&buffer);
        }
        has_failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        (void)flx_metrics_free(metrics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_histogram_buckets),
        cmocka_unit_test(test_histogram_of_sizes),
        cmocka_unit_test(test_series_are_bounded),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
