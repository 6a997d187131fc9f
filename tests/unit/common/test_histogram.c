/* SPDX-License-Identifier: Apache-2.0 */
/* The latency histogram: percentiles against sorted values, merging, edges. */
#include "common/histogram.h"
#include "unit.h"

#define VALUES 10000

static int compare(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static void test_percentiles_are_within_one_percent(void **state)
{
    (void)state;
    static flx_histogram whole, half, other;
    static uint64_t values[VALUES];
    flx_histogram_init(&whole);
    flx_histogram_init(&half);
    flx_histogram_init(&other);
    srandom(9);
    double sum = 0;
    for (size_t i = 0; i < VALUES; i++) {
        values[i] = (uint64_t)random() >> (random() % 31);
        flx_histogram_record(&whole, values[i]);
        flx_histogram_record(i % 2 == 0 ? &half : &other, values[i]);
        sum += (double)values[i];
    }
    flx_histogram_merge(&half, &other);
    assert_memory_equal(&half, &whole, sizeof whole);
    qsort(values, VALUES, sizeof values[0], compare);
    const double percents[] = {0, 1, 10, 50, 90, 99, 99.9, 99.99, 100};
    for (size_t i = 0; i < COUNT(percents); i++) {
        const double rank = percents[i] / 100 * VALUES;
        const size_t index = rank <= 1 ? 0 : (size_t)(rank + 0.9999) - 1;
        const uint64_t exact = values[index];
        const uint64_t told = flx_histogram_percentile(&whole, percents[i]);
        assert_true(told >= exact);
        assert_true((double)(told - exact) <= 0.008 * (double)exact);
    }
    assert_int_equal(whole.min, values[0]);
    assert_int_equal(whole.max, values[VALUES - 1]);
    assert_true(flx_histogram_mean(&whole) == sum / VALUES);
}

static void test_edges(void **state)
{
    (void)state;
    static flx_histogram histogram;
    flx_histogram_init(&histogram);
    assert_int_equal(flx_histogram_percentile(&histogram, 50), 0);
    flx_histogram_record_many(&histogram, 7, 0);
    assert_int_equal(histogram.count, 0);
    for (uint64_t value = 0; value < 256; value++) { /* exact */
        flx_histogram_init(&histogram);
        flx_histogram_record_many(&histogram, value, 3);
        assert_int_equal(flx_histogram_percentile(&histogram, 50), value);
    }
    flx_histogram_init(&histogram);
    flx_histogram_record(&histogram, UINT64_MAX);
    assert_int_equal(flx_histogram_percentile(&histogram, 100), FLX_HISTOGRAM_VALUE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_are_within_one_percent),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
