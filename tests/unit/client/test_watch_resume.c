/* SPDX-License-Identifier: Apache-2.0 */
/* Where the watch of a shard goes on after whatever happened to it: the table of watch_resume.h. */
#include "client/watch_resume.h"
#include "unit.h"

static flx_watch_resume begun(flx_watch_from from, uint64_t at, bool resnapshot,
                              const uint64_t *count)
{
    flx_watch_resume resume;
    flx_watch_resume_init(&resume, from, at);
    const flx_watch_news news = flx_watch_resume_started(&resume, at, resnapshot, count);
    assert_int_equal(news.is_reset, resnapshot);
    return resume;
}

static void a_live_watch_goes_on_behind_what_came(void **state)
{
    (void)state;
    flx_watch_resume resume = begun(FLX_WATCH_FROM_LIVE, 100, false, NULL);
    assert_true(flx_watch_resume_is_placed(&resume));
    assert_false(flx_watch_resume_event(&resume, 105).is_skipped); /* holes are other keys */
    assert_true(flx_watch_resume_event(&resume, 105).is_skipped);
    flx_watch_resume_lost(&resume);
    assert_int_equal(resume.from, FLX_WATCH_FROM_OFFSET);
    assert_int_equal(resume.next, 106);
    const flx_watch_news news = flx_watch_resume_started(&resume, 106, false, NULL);
    assert_false(news.is_reset || news.is_ready);
}

static void what_was_there_is_counted_until_ready(void **state)
{
    (void)state;
    const uint64_t two = 2;
    flx_watch_resume resume = begun(FLX_WATCH_FROM_RETAINED, 100, false, &two);
    assert_false(flx_watch_resume_is_placed(&resume));
    flx_watch_news news = flx_watch_resume_event(&resume, 7);
    assert_true(news.is_retained && !news.is_ready);
    news = flx_watch_resume_event(&resume, 3); /* in any order */
    assert_true(news.is_retained && news.is_ready);
    assert_true(flx_watch_resume_is_placed(&resume));
    news = flx_watch_resume_event(&resume, 100);
    assert_false(news.is_retained || news.is_ready);
}

static void a_change_ends_what_was_there(void **state)
{
    (void)state;
    const uint64_t two = 2;
    flx_watch_resume resume = begun(FLX_WATCH_FROM_RETAINED, 100, false, &two);
    (void)flx_watch_resume_event(&resume, 7);
    const flx_watch_news news = flx_watch_resume_event(&resume, 101); /* the other one changed */
    assert_true(news.is_ready && !news.is_retained);
    assert_int_equal(resume.next, 102);
}

static void nothing_there_is_ready_at_once(void **state)
{
    (void)state;
    const uint64_t none = 0;
    flx_watch_resume resume;
    flx_watch_resume_init(&resume, FLX_WATCH_FROM_RETAINED, 0);
    assert_true(flx_watch_resume_started(&resume, 100, false, &none).is_ready);
    assert_true(flx_watch_resume_is_placed(&resume));
}

static void lost_within_what_was_there_begins_again(void **state)
{
    (void)state;
    const uint64_t two = 2;
    flx_watch_resume resume = begun(FLX_WATCH_FROM_RETAINED, 100, false, &two);
    (void)flx_watch_resume_event(&resume, 7);
    flx_watch_resume_lost(&resume);
    assert_int_equal(resume.from, FLX_WATCH_FROM_RETAINED);
    assert_true(flx_watch_resume_started(&resume, 200, false, &two).is_reset);
    /* And so does a lag that says nothing less helps. */
    flx_watch_resume_lagged(&resume, 0);
    assert_int_equal(resume.from, FLX_WATCH_FROM_RETAINED);
}

static void a_lag_goes_on_where_the_broker_says(void **state)
{
    (void)state;
    flx_watch_resume resume = begun(FLX_WATCH_FROM_LIVE, 100, false, NULL);
    flx_watch_resume_lagged(&resume, 150);
    assert_int_equal(resume.from, FLX_WATCH_FROM_OFFSET);
    assert_int_equal(resume.next, 150);
    assert_true(flx_watch_resume_started(&resume, 900, true, NULL).is_reset);
    flx_watch_resume_lagged(&resume, 10); /* below what we know: not to be believed */
    assert_int_equal(resume.from, FLX_WATCH_FROM_RETAINED);
}

static void a_broker_that_lost_its_memory(void **state)
{
    (void)state;
    flx_watch_resume resume;
    flx_watch_resume_init(&resume, FLX_WATCH_FROM_OFFSET, 100);
    assert_false(flx_watch_resume_in_future(&resume)); /* the caller's mistake */
    (void)flx_watch_resume_started(&resume, 100, false, NULL);
    assert_true(flx_watch_resume_in_future(&resume));
    const uint64_t none = 0;
    const flx_watch_news news = flx_watch_resume_started(&resume, 5, false, &none);
    assert_true(news.is_reset && news.is_ready);
    assert_false(flx_watch_resume_event(&resume, 5).is_skipped);
}

static void progress_moves_where_it_goes_on(void **state)
{
    (void)state;
    flx_watch_resume resume = begun(FLX_WATCH_FROM_LIVE, 100, false, NULL);
    assert_false(flx_watch_resume_progress(&resume, 150).is_skipped);
    assert_int_equal(resume.next, 150);
    assert_true(flx_watch_resume_progress(&resume, 120).is_skipped); /* never back */
    assert_int_equal(resume.next, 150);
    assert_false(flx_watch_resume_event(&resume, 150).is_skipped);
}

static void progress_ends_what_was_there(void **state)
{
    (void)state;
    flx_watch_resume resume = begun(FLX_WATCH_FROM_LIVE, 100, true, NULL); /* nobody counted */
    assert_true(flx_watch_resume_event(&resume, 7).is_retained);
    assert_true(flx_watch_resume_progress(&resume, 90).is_skipped);
    assert_false(flx_watch_resume_is_placed(&resume));
    (void)flx_watch_resume_progress(&resume, 100);
    assert_true(flx_watch_resume_is_placed(&resume));
    const uint64_t two = 2;
    resume = begun(FLX_WATCH_FROM_RETAINED, 100, false, &two);
    assert_true(flx_watch_resume_progress(&resume, 130).is_ready);
    assert_int_equal(resume.next, 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_live_watch_goes_on_behind_what_came),
        cmocka_unit_test(what_was_there_is_counted_until_ready),
        cmocka_unit_test(a_change_ends_what_was_there),
        cmocka_unit_test(nothing_there_is_ready_at_once),
        cmocka_unit_test(lost_within_what_was_there_begins_again),
        cmocka_unit_test(a_lag_goes_on_where_the_broker_says),
        cmocka_unit_test(a_broker_that_lost_its_memory),
        cmocka_unit_test(progress_moves_where_it_goes_on),
        cmocka_unit_test(progress_ends_what_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
