/* SPDX-License-Identifier: Apache-2.0 */
/* Where a subscription goes on: each surprise of client/resume.h, its answer and its notice. */
#include "client/resume.h"
#include "unit.h"

static void check_start(const flx_resume *resume, flx_start_kind kind, uint64_t offset)
{
    const flx_start start = flx_resume_start(resume);
    assert_int_equal(start.kind, kind);
    if (kind == FLX_START_OFFSET)
        assert_int_equal(start.offset, offset);
}

static void check_gap(flx_gap gap, flx_gap_reason reason, uint64_t from, uint64_t end)
{
    assert_int_equal(gap.reason, reason);
    assert_int_equal(gap.from, from);
    assert_int_equal(gap.end, end);
}

static flx_gap events(flx_resume *resume, uint64_t base, uint32_t count, uint32_t *ret_skip)
{
    return flx_resume_events(resume, &base, 0, count, ret_skip);
}

static void begins_as_asked(void **state)
{
    (void)state;
    flx_resume resume;
    flx_resume_init(&resume, FLX_FROM_LATEST, 0);
    check_start(&resume, FLX_START_LATEST, 0);
    flx_resume_init(&resume, FLX_FROM_EARLIEST, 0);
    check_start(&resume, FLX_START_EARLIEST, 0);
    flx_resume_init(&resume, FLX_FROM_OFFSET, 9);
    check_start(&resume, FLX_START_OFFSET, 9);
}

static void goes_on_after_the_last_one(void **state)
{
    (void)state;
    flx_resume resume;
    uint32_t skip;
    flx_resume_init(&resume, FLX_FROM_LATEST, 0);
    check_gap(flx_resume_subscribed(&resume, NULL), FLX_GAP_NONE, 0, 0);
    check_gap(events(&resume, 10, 5, &skip), FLX_GAP_NONE, 0, 0);
    flx_resume_lost(&resume);
    check_start(&resume, FLX_START_OFFSET, 15);
    check_gap(flx_resume_subscribed(&resume, NULL), FLX_GAP_NONE, 0, 0);
    /* What comes twice is skipped, whole or in part. */
    check_gap(events(&resume, 10, 5, &skip), FLX_GAP_NONE, 0, 0);
    assert_int_equal(skip, 5);
    check_gap(events(&resume, 13, 5, &skip), FLX_GAP_NONE, 0, 0);
    assert_int_equal(skip, 2);
    check_gap(events(&resume, 20, 1, &skip), FLX_GAP_MISSING, 18, 20);
}

static void offsets_without_events_are_no_gap(void **state)
{
    (void)state;
    flx_resume resume;
    uint32_t skip;
    const uint64_t base = 8;
    flx_resume_init(&resume, FLX_FROM_OFFSET, 5);
    check_gap(flx_resume_events(&resume, &base, 3, 1, &skip), FLX_GAP_NONE, 0, 0);
    flx_resume_init(&resume, FLX_FROM_OFFSET, 5);
    check_gap(flx_resume_events(&resume, &base, 2, 1, &skip), FLX_GAP_MISSING, 5, 6);
}

static void a_start_the_broker_told(void **state)
{
    (void)state;
    flx_resume resume;
    const uint64_t start = 40;
    flx_resume_init(&resume, FLX_FROM_LATEST, 0);
    (void)flx_resume_subscribed(&resume, &start);
    flx_resume_lost(&resume); /* before any event */
    check_start(&resume, FLX_START_OFFSET, 40);
}

static void nothing_known_is_an_unknown_gap(void **state)
{
    (void)state;
    flx_resume resume;
    flx_resume_init(&resume, FLX_FROM_LATEST, 0);
    (void)flx_resume_subscribed(&resume, NULL);
    flx_resume_lost(&resume);
    check_start(&resume, FLX_START_LATEST, 0);
    check_gap(flx_resume_subscribed(&resume, NULL), FLX_GAP_UNKNOWN, 0, 0);
    check_gap(flx_resume_subscribed(&resume, NULL), FLX_GAP_NONE, 0, 0);
    /* From earliest it begins again, and nothing is missed. */
    flx_resume_init(&resume, FLX_FROM_EARLIEST, 0);
    (void)flx_resume_subscribed(&resume, NULL);
    flx_resume_lost(&resume);
    check_gap(flx_resume_subscribed(&resume, NULL), FLX_GAP_NONE, 0, 0);
}

static void cursor_errors(void **state)
{
    (void)state;
    flx_resume resume;
    flx_gap gap;
    flx_resume_init(&resume, FLX_FROM_OFFSET, 3);
    assert_true(flx_resume_cursor_error(&resume, FLX_CURSOR_TOO_OLD, 7, &gap));
    check_gap(gap, FLX_GAP_TOO_OLD, 3, 7);
    check_start(&resume, FLX_START_OFFSET, 7);
    /* A broker that contradicts itself must not make us ask for ever. */
    assert_false(flx_resume_cursor_error(&resume, FLX_CURSOR_TOO_OLD, 7, &gap));

    flx_resume_init(&resume, FLX_FROM_OFFSET, 99);
    assert_false(flx_resume_cursor_error(&resume, FLX_CURSOR_IN_FUTURE, 7, &gap));
    (void)flx_resume_subscribed(&resume, NULL);
    assert_true(flx_resume_cursor_error(&resume, FLX_CURSOR_IN_FUTURE, 7, &gap));
    check_gap(gap, FLX_GAP_RESET, 99, 7);
    check_start(&resume, FLX_START_LATEST, 0);
}

static void lagged_and_moved(void **state)
{
    (void)state;
    flx_resume resume;
    uint64_t from = 8;
    flx_resume_init(&resume, FLX_FROM_OFFSET, 5);
    check_gap(flx_resume_lagged(&resume, 9), FLX_GAP_LAGGED, 5, 9);
    check_start(&resume, FLX_START_OFFSET, 9);
    flx_resume_moved(&resume, &from); /* behind us: we were further */
    check_start(&resume, FLX_START_OFFSET, 9);
    from = 12;
    flx_resume_moved(&resume, &from);
    check_start(&resume, FLX_START_OFFSET, 12);
}

static void a_time_is_found(void **state)
{
    (void)state;
    flx_resume resume;
    const uint64_t found = 30;
    flx_resume_init(&resume, FLX_FROM_TIME, 0);
    assert_true(flx_resume_wants_offset(&resume));
    flx_resume_found(&resume, &found);
    assert_false(flx_resume_wants_offset(&resume));
    check_start(&resume, FLX_START_OFFSET, 30);
}

/* Nothing that late is there: what comes between the answer and the subscription is not lost. */
static void a_time_after_everything(void **state)
{
    (void)state;
    static const struct {
        bool came_meanwhile;
        uint64_t found, start;
    } rows[] = {{false, 0, 40}, {true, 38, 38}, {true, 41, 41}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        flx_resume resume;
        const uint64_t tail = 40;
        flx_resume_init(&resume, FLX_FROM_TIME, 0);
        flx_resume_found(&resume, NULL);
        assert_false(flx_resume_wants_offset(&resume));
        check_start(&resume, FLX_START_LATEST, 0);
        flx_resume_lost(&resume); /* before it was answered */
        check_start(&resume, FLX_START_LATEST, 0);
        check_gap(flx_resume_subscribed(&resume, &tail), FLX_GAP_NONE, 0, 0);
        assert_true(flx_resume_wants_offset(&resume));
        flx_resume_found(&resume, rows[i].came_meanwhile ? &rows[i].found : NULL);
        assert_false(flx_resume_wants_offset(&resume));
        check_start(&resume, FLX_START_OFFSET, rows[i].start);
        check_gap(flx_resume_subscribed(&resume, &rows[i].start), FLX_GAP_NONE, 0, 0);
        assert_false(flx_resume_wants_offset(&resume));
    }
}

static void a_time_nobody_can_find(void **state)
{
    (void)state;
    flx_resume resume;
    flx_resume_init(&resume, FLX_FROM_TIME, 0);
    flx_resume_cannot_find(&resume);
    check_start(&resume, FLX_START_EARLIEST, 0);
    /* Nor can anybody who does not say where a subscription starts. */
    flx_resume_init(&resume, FLX_FROM_TIME, 0);
    flx_resume_found(&resume, NULL);
    check_gap(flx_resume_subscribed(&resume, NULL), FLX_GAP_NONE, 0, 0);
    assert_false(flx_resume_wants_offset(&resume));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_as_asked),
        cmocka_unit_test(goes_on_after_the_last_one),
        cmocka_unit_test(offsets_without_events_are_no_gap),
        cmocka_unit_test(a_start_the_broker_told),
        cmocka_unit_test(nothing_known_is_an_unknown_gap),
        cmocka_unit_test(cursor_errors),
        cmocka_unit_test(lagged_and_moved),
        cmocka_unit_test(a_time_is_found),
        cmocka_unit_test(a_time_after_everything),
        cmocka_unit_test(a_time_nobody_can_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
