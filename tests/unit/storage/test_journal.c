/* SPDX-License-Identifier: Apache-2.0 */
/* One journal: append, group commit, marks, rolling, reopening, reading. */
#include "common/clock.h"
#include "journal_harness.h"
#include "unit.h"

static jh *start(jh *h)
{
    jh_init(h, sim_disk_new());
    assert_int_equal(jh_open(h), FLX_OK);
    return h;
}

static void finish(jh *h)
{
    jh_close(h);
    (void)flx_disk_free(sim_disk_of(h->sim));
}

static void an_append_is_acknowledged_when_it_is_synced(void **state)
{
    (void)state;
    jh h;
    start(&h);
    assert_true(h.report.created);
    assert_int_equal(jh_append(&h, 3), FLX_OK);
    assert_int_equal(flx_journal_end(h.journal), 3);
    jh_tick(&h);
    assert_int_equal(h.acked, 0); /* on its way */
    assert_true(flx_io_manual_step(h.io, 0));
    assert_int_equal(h.acked, 3);
    assert_int_equal(jh_read_all(&h, 0), 3);
    finish(&h);
}

/* What comes while a write is on its way is the next write, and shares its sync. */
static void a_sync_is_shared(void **state)
{
    (void)state;
    jh h;
    start(&h);
    assert_int_equal(jh_append(&h, 1), FLX_OK);
    jh_tick(&h);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(jh_append(&h, 1), FLX_OK);
        jh_tick(&h);
        assert_int_equal(flx_io_in_flight(h.io), 1);
    }
    const uint64_t before = sim_disk_changes(h.sim);
    assert_true(flx_io_manual_step(h.io, 0));
    assert_int_equal(h.acked, 1);
    assert_true(flx_io_manual_step(h.io, 0));
    assert_int_equal(h.acked, 11);
    assert_int_equal(sim_disk_changes(h.sim) - before, 4); /* two writes, two syncs */
    finish(&h);
}

static size_t active_bytes(jh *h)
{
    size_t len = 0;
    (void)sim_disk_content(h->sim, "logs/demo/00000000000000000000.seg", &len);
    return len;
}

/* While commits are small, zeros lie ready behind the tail; a clean end cuts them off. */
static void small_commits_get_room(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    h.options.segment_bytes = 1 << 20;
    h.options.room_bytes = 32 << 10;
    assert_int_equal(jh_open(&h), FLX_OK);
    flx_journal_marks marks;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(jh_append(&h, 2), FLX_OK);
        jh_run(&h);
        flx_journal_get_marks(h.journal, &marks);
        assert_true(active_bytes(&h) >= marks.bytes);
    }
    assert_true(active_bytes(&h) >= marks.bytes + (4 << 10));
    assert_true(active_bytes(&h) <= marks.bytes + (72 << 10)); /* a step and a half, and a page */
    assert_int_equal(jh_read_all(&h, 0), marks.end);
    jh_close(&h);
    assert_int_equal(active_bytes(&h), marks.bytes);
    (void)flx_disk_free(sim_disk_of(h.sim));
}

/* A write that would reach into zeros being written waits for them. */
static void a_write_does_not_enter_room_being_made(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    h.options.segment_bytes = 1 << 20;
    h.options.room_bytes = 16 << 10;
    assert_int_equal(jh_open(&h), FLX_OK);
    while (flx_io_in_flight(h.io) < 2) { /* a write, and room behind it */
        while (flx_io_manual_step(h.io, 0)) {
        }
        assert_int_equal(jh_append(&h, 1), FLX_OK);
        jh_tick(&h);
    }
    assert_true(flx_io_manual_step(h.io, 0)); /* the write; now only the room is out */
    const uint64_t acked = h.acked;
    assert_int_equal(jh_append(&h, 100), FLX_OK); /* more than is left in front of it */
    jh_tick(&h);
    assert_int_equal(flx_io_in_flight(h.io), 1);
    while (flx_io_manual_step(h.io, 0)) {
    }
    assert_int_equal(h.acked, acked + 100);
    assert_int_equal(jh_read_all(&h, 0), flx_journal_end(h.journal));
    jh_close(&h);
    assert_int_equal(jh_open(&h), FLX_OK);
    assert_int_equal(jh_read_all(&h, 0), acked + 100);
    finish(&h);
}

static void segments_roll_and_reopen(void **state)
{
    (void)state;
    jh h;
    start(&h);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(jh_append(&h, 1 + (uint32_t)i % 4), FLX_OK);
        jh_run(&h);
    }
    flx_journal_marks marks;
    flx_journal_get_marks(h.journal, &marks);
    assert_true(marks.segments > 5);
    assert_int_equal(marks.end, h.acked);
    assert_int_equal(jh_read_all(&h, 0), marks.end);
    assert_in_range(jh_read_all(&h, 77), marks.end - 77, marks.end - 77 + 3);
    jh_close(&h);
    assert_int_equal(jh_open(&h), FLX_OK);
    flx_journal_marks again;
    flx_journal_get_marks(h.journal, &again);
    assert_int_equal(again.end, marks.end);
    assert_int_equal(again.segments, marks.segments);
    assert_false(h.report.created);
    assert_int_equal(h.report.cut_bytes, 0);
    assert_int_equal(jh_read_all(&h, 0), marks.end);
    assert_string_equal(flx_journal_label(h.journal), "t1/default/demo/0");
    finish(&h);
}

static void the_end_is_readable_and_the_future_is_not(void **state)
{
    (void)state;
    jh h;
    start(&h);
    assert_int_equal(jh_append(&h, 5), FLX_OK);
    flx_journal_read read;
    assert_int_equal(jh_read(&h, 0, &read), FLX_OK); /* nothing is visible yet */
    assert_null(read.range.chunk);
    assert_int_equal(read.next, 0);
    assert_int_equal(jh_read(&h, 1, &read), FLX_ERR_IN_FUTURE);
    jh_run(&h);
    assert_int_equal(jh_read(&h, 5, &read), FLX_OK);
    assert_int_equal(read.next, 5);
    assert_int_equal(jh_read(&h, 6, &read), FLX_ERR_IN_FUTURE);
    finish(&h);
}

static void many_readers_share_one_read(void **state)
{
    (void)state;
    jh h;
    start(&h);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(jh_append(&h, 2), FLX_OK);
        jh_run(&h);
    }
    flx_read_cache_stats before;
    flx_read_cache_get_stats(h.cache, &before);
    flx_journal_read reads[20];
    flx_journal_read first;
    assert_int_equal(jh_read(&h, 0, &first), FLX_OK);
    for (size_t i = 0; i < COUNT(reads); i++) {
        assert_int_equal(jh_read(&h, 0, &reads[i]), FLX_OK);
        assert_ptr_equal(reads[i].range.chunk, first.range.chunk);
        (void)flx_chunk_unref(reads[i].range.chunk);
    }
    (void)flx_chunk_unref(first.range.chunk);
    flx_read_cache_stats after;
    flx_read_cache_get_stats(h.cache, &after);
    assert_int_equal(after.hits - before.hits, 20);
    assert_in_range(after.misses - before.misses, 1, 2); /* and the one read ahead */
    assert_in_range(after.bytes, 1, 4096);
    while (flx_io_manual_step(h.io, 0)) {
    }
    finish(&h);
}

static void periodic_acks_written_and_syncs_later(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    h.options.sync = FLX_JOURNAL_SYNC_PERIODIC;
    assert_int_equal(jh_open(&h), FLX_OK);
    assert_int_equal(jh_append(&h, 4), FLX_OK);
    jh_run(&h);
    assert_int_equal(flx_journal_written(h.journal), 4);
    assert_int_equal(flx_journal_synced(h.journal), 0);
    assert_int_equal(jh_read_all(&h, 0), 4);
    const uint64_t due = flx_journal_deadline_ns(h.journal);
    assert_in_range(due, h.now_ns + 249 * FLX_NS_PER_MS, h.now_ns + 251 * FLX_NS_PER_MS);
    jh_later(&h, 251);
    assert_int_equal(flx_journal_synced(h.journal), 4);
    finish(&h);
}

/* A rule that asks for a sync covers what was written before it came, and what was on its way then. */
static void a_stricter_rule_syncs_what_is_there(void **state)
{
    (void)state;
    for (int is_on_its_way = 0; is_on_its_way < 2; is_on_its_way++) {
        jh h;
        jh_init(&h, sim_disk_new());
        h.options.sync = FLX_JOURNAL_SYNC_NONE;
        assert_int_equal(jh_open(&h), FLX_OK);
        assert_int_equal(jh_append(&h, 4), FLX_OK);
        jh_tick(&h);
        if (!is_on_its_way) {
            jh_run(&h);
            assert_int_equal(flx_journal_written(h.journal), 4);
        }
        assert_int_equal(flx_journal_synced(h.journal), 0);
        h.options.sync = FLX_JOURNAL_SYNC_ON_COMMIT;
        flx_journal_set_policy(h.journal, &h.options);
        jh_run(&h);
        jh_later(&h, 1);
        assert_int_equal(flx_journal_synced(h.journal), 4);
        finish(&h);
    }
}

/* Where no rule asks for a sync, somebody may. */
static void a_sync_may_be_asked_for(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    h.options.sync = FLX_JOURNAL_SYNC_NONE;
    assert_int_equal(jh_open(&h), FLX_OK);
    jh_later(&h, 1);
    flx_journal_sync_soon(h.journal); /* of nothing */
    assert_int_equal(flx_journal_deadline_ns(h.journal), FLX_JOURNAL_NEVER);
    assert_int_equal(jh_append(&h, 4), FLX_OK);
    jh_run(&h);
    jh_later(&h, 60000);
    assert_int_equal(flx_journal_synced(h.journal), 0);
    flx_journal_sync_soon(h.journal);
    assert_in_range(flx_journal_deadline_ns(h.journal), 0, h.now_ns);
    jh_later(&h, 0);
    assert_int_equal(flx_journal_synced(h.journal), 4);
    finish(&h);
}

static void found(flx_journal_find *find)
{
    *(bool *)find->arg = true;
}

static void time_finds_an_offset(void **state)
{
    (void)state;
    jh h;
    start(&h);
    const uint64_t first_us = h.now_us + 1;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(jh_append(&h, 1), FLX_OK);
        jh_run(&h);
    }
    for (uint64_t i = 0; i < 103; i++) {
        bool is_found = false;
        flx_journal_find ask = {.time_us = first_us + i, .done = found, .arg = &is_found};
        is_found = flx_journal_find_begin(h.journal, &ask);
        while (!is_found) {
            assert_true(flx_io_manual_step(h.io, 0));
        }
        assert_int_equal(ask.status, FLX_OK);
        assert_int_equal(ask.offset, i < 100 ? i : 100);
    }
    finish(&h);
}

static void retention_takes_whole_segments(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    h.options.retain_bytes = 6000;
    assert_int_equal(jh_open(&h), FLX_OK);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(jh_append(&h, 1), FLX_OK);
        jh_run(&h);
    }
    flx_journal_marks marks;
    flx_journal_get_marks(h.journal, &marks);
    assert_true(marks.start > 0);
    assert_in_range(marks.bytes, 6000, 6000 + 3 * 2400);
    flx_journal_read read;
    assert_int_equal(jh_read(&h, marks.start - 1, &read), FLX_ERR_TOO_OLD);
    assert_int_equal(jh_read_all(&h, marks.start), marks.end - marks.start);
    jh_close(&h);
    assert_int_equal(jh_open(&h), FLX_OK);
    assert_int_equal(flx_journal_start(h.journal), marks.start);
    assert_int_equal(jh_read_all(&h, marks.start), marks.end - marks.start);
    finish(&h);
}

/* Rule 4: the disk is full; what was appended waits and is written when there is room. */
static void a_full_disk_refuses_and_recovers(void **state)
{
    (void)state;
    jh h;
    start(&h);
    assert_int_equal(jh_append(&h, 5), FLX_OK);
    jh_run(&h);
    sim_disk_set_room(h.sim, sim_disk_bytes(h.sim) + 100);
    assert_int_equal(jh_append(&h, 5), FLX_OK);
    jh_run(&h);
    assert_int_equal(flx_journal_state_of(h.journal), FLX_JOURNAL_FULL);
    assert_int_equal(flx_journal_error(h.journal)->sys_errno, 28);
    assert_int_equal(jh_append(&h, 1), FLX_ERR_AGAIN);
    assert_int_equal(h.acked, 5);
    assert_int_equal(jh_read_all(&h, 0), 5); /* reading goes on */
    jh_later(&h, 1100);
    assert_int_equal(flx_journal_state_of(h.journal), FLX_JOURNAL_FULL);
    sim_disk_set_room(h.sim, UINT64_MAX);
    jh_later(&h, 1100);
    assert_int_equal(flx_journal_state_of(h.journal), FLX_JOURNAL_OPEN);
    assert_int_equal(h.acked, 10);
    assert_int_equal(jh_append(&h, 1), FLX_OK);
    jh_run(&h);
    assert_int_equal(jh_read_all(&h, 0), 11);
    finish(&h);
}

/* Rule 3: a failed sync is never made good by the next one. */
static void a_failed_sync_ends_the_journal(void **state)
{
    (void)state;
    jh h;
    start(&h);
    assert_int_equal(jh_append(&h, 5), FLX_OK);
    jh_run(&h);
    sim_disk_fail_sync(h.sim, 1);
    assert_int_equal(jh_append(&h, 5), FLX_OK);
    jh_run(&h);
    assert_int_equal(flx_journal_state_of(h.journal), FLX_JOURNAL_FAILED);
    assert_int_equal(h.acked, 5);
    assert_int_equal(jh_append(&h, 1), FLX_ERR_IO);
    assert_int_equal(flx_journal_deadline_ns(h.journal), FLX_JOURNAL_NEVER);
    jh_close(&h);
    assert_int_equal(h.acked, 5);
    /* The process comes back first, with the pages the kernel calls clean; then the power goes. */
    assert_int_equal(jh_open(&h), FLX_OK);
    const uint64_t seen = flx_journal_end(h.journal);
    assert_true(seen >= 5);
    assert_int_equal(jh_read_all(&h, 0), seen);
    jh_close(&h);
    sim_disk_crash(h.sim, SIM_LOSE, 1);
    assert_int_equal(jh_open(&h), FLX_OK);
    assert_int_equal(flx_journal_end(h.journal), seen);
    assert_int_equal(jh_read_all(&h, 0), seen);
    finish(&h);
}

static void epochs_and_promises_last(void **state)
{
    (void)state;
    jh h;
    start(&h);
    assert_int_equal(jh_append(&h, 5), FLX_OK);
    jh_run(&h);
    jh_promise(&h, 4);
    assert_int_equal(h.promised, 4);
    jh_epoch(&h, 3);
    assert_int_equal(h.errand.status, FLX_ERR_CONFLICT); /* below the promise */
    jh_epoch(&h, 4);
    assert_int_equal(h.errand.status, FLX_OK);
    assert_int_equal(jh_append(&h, 5), FLX_OK);
    jh_run(&h);
    jh_close(&h);
    assert_int_equal(jh_open(&h), FLX_OK);
    flx_log_epoch epochs[4];
    assert_int_equal(flx_journal_epochs(h.journal, epochs, 4), 2);
    assert_int_equal(epochs[0].epoch, 4);
    assert_int_equal(epochs[0].first_offset, 5);
    assert_int_equal(epochs[1].epoch, 1);
    assert_int_equal(flx_journal_promised(h.journal), 4);
    assert_int_equal(jh_read_all(&h, 0), 10);
    finish(&h);
}

static void too_much_pending_is_refused(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    h.options.pending_bytes_max = 1000;
    assert_int_equal(jh_open(&h), FLX_OK);
    int taken = 0;
    while (jh_append(&h, 1) == FLX_OK) {
        taken++;
        assert_true(taken < 100);
    }
    assert_int_equal(h.error.status, FLX_ERR_AGAIN);
    assert_int_equal(flx_journal_state_of(h.journal), FLX_JOURNAL_OPEN);
    jh_run(&h);
    assert_int_equal(jh_append(&h, 1), FLX_OK);
    jh_run(&h);
    assert_int_equal(jh_read_all(&h, 0), (uint64_t)taken + 1);
    finish(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_is_acknowledged_when_it_is_synced),
        cmocka_unit_test(a_sync_is_shared),
        cmocka_unit_test(small_commits_get_room),
        cmocka_unit_test(a_write_does_not_enter_room_being_made),
        cmocka_unit_test(segments_roll_and_reopen),
        cmocka_unit_test(the_end_is_readable_and_the_future_is_not),
        cmocka_unit_test(many_readers_share_one_read),
        cmocka_unit_test(periodic_acks_written_and_syncs_later),
        cmocka_unit_test(a_stricter_rule_syncs_what_is_there),
        cmocka_unit_test(a_sync_may_be_asked_for),
        cmocka_unit_test(time_finds_an_offset),
        cmocka_unit_test(retention_takes_whole_segments),
        cmocka_unit_test(a_full_disk_refuses_and_recovers),
        cmocka_unit_test(a_failed_sync_ends_the_journal),
        cmocka_unit_test(epochs_and_promises_last),
        cmocka_unit_test(too_much_pending_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
