/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of processors: what is taken, in which order, and what is refused. */
#include "common/cpus.h"
#include "unit.h"

static void lists_are_read_in_their_order(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
        uint32_t cpus[6];
    } rows[] = {
        {"", 0, {0}},         {"3", 1, {3}},      {"0,2,4-7", 6, {0, 2, 4, 5, 6, 7}},
        {"5-5,1", 2, {5, 1}}, {"1,1", 2, {1, 1}}, /* two workers may share one */
        {"1023", 1, {1023}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t cpus[6] = {0};
        size_t count = 99;
        assert_int_equal(flx_cpus_parse(rows[i].text, cpus, 6, &count, NULL), FLX_OK);
        assert_int_equal(count, rows[i].count);
        assert_memory_equal(cpus, rows[i].cpus, sizeof cpus);
    }
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ",",     "1,",   ",1",  "1,,2",          "a", "1-", "-1", "7-4", "1 2",
        "1-2-3", "1024", "0-6", "99999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint32_t cpus[6];
        size_t count = 0;
        flx_error error = {0};
        assert_int_equal(flx_cpus_parse(texts[i], cpus, 6, &count, &error), FLX_ERR_INVALID);
        assert_non_null(strstr(error.message, texts[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read_in_their_order),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
