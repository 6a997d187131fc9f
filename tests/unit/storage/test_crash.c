/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal C1: the world stops at the Nth change of the disk, for every N of a scripted run, and what was not
 * synced is lost, torn or reordered. Afterwards the log opens, everything acknowledged is there,
 * in order and byte for byte, and it goes on.
 */
#include "common/clock.h"
#include "journal_harness.h"
#include "unit.h"

#include <stdio.h>

#define ROOM_BYTES 8192 /* steps as large as the segment is, commits up to 512 bytes are small */

static void appends(jh *h, uint32_t *turn, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        for (uint32_t j = 0; j <= *turn % 3; j++) {
            if (jh_append(h, 1 + (*turn + j) % 4) != FLX_OK) {
                return;
            }
        }
        (*turn)++;
        if (*turn % 4 == 0) {
            jh_tick(h); /* the next ones wait behind this write */
        } else if (*turn % 5 == 0) {
            jh_later(h, 1500); /* a checkpoint */
        } else {
            jh_run(h);
        }
    }
}

/* Appends, rolls, checkpoints, promises, changes of epoch, retention, a close and a reopening. */
static void script(jh *h)
{
    uint32_t turn = 0;
    if (jh_open(h) != FLX_OK) {
        return;
    }
    appends(h, &turn, 12);
    jh_promise(h, 2);
    appends(h, &turn, 6);
    jh_epoch(h, 3);
    appends(h, &turn, 12);
    jh_run(h);
    jh_close(h);
    if (jh_open(h) != FLX_OK) {
        return;
    }
    appends(h, &turn, 12);
    jh_run(h);
}

static void check(jh *h, const char *mode, uint64_t nth)
{
    const flx_status status = jh_open(h);
    if (status != FLX_OK) {
        fail_msg("%s at change %llu: %s", mode, (unsigned long long)nth, h->error.message);
    }
    flx_journal_marks marks;
    flx_journal_get_marks(h->journal, &marks);
    if (marks.end < h->acked) {
        fail_msg("%s at change %llu: %llu acknowledged, %llu there", mode, (unsigned long long)nth,
                 (unsigned long long)h->acked, (unsigned long long)marks.end);
    }
    assert_true(flx_journal_promised(h->journal) >= h->promised);
    assert_true(marks.epoch >= h->epoch);
    assert_int_equal(jh_read_all(h, marks.start), marks.end - marks.start);
    /* It goes on where it is, and that lasts too. */
    uint32_t turn = 7;
    appends(h, &turn, 9);
    jh_later(h, 1500);
    jh_later(h, 1500); /* a periodic sync is due after the write it covers */
    assert_int_equal(h->acked, flx_journal_end(h->journal));
    jh_close(h);
    sim_disk_crash(h->sim, SIM_LOSE, 1);
    assert_int_equal(jh_open(h), FLX_OK);
    assert_int_equal(flx_journal_end(h->journal), h->acked);
    assert_int_equal(h->report.cut_bytes, 0);
    const uint64_t start = flx_journal_start(h->journal);
    assert_int_equal(jh_read_all(h, start), h->acked - start);
    jh_close(h);
}

static void crash_with(sim_crash_mode mode, const char *name, flx_journal_sync sync, uint64_t seeds,
                       uint32_t room_bytes)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        for (uint64_t nth = 1;; nth++) {
            jh h;
            jh_init(&h, sim_disk_new());
            h.options.retain_bytes = 9000;
            h.options.sync = sync;
            h.options.room_bytes = room_bytes;
            sim_disk_stop_at(h.sim, nth);
            script(&h);
            jh_close(&h);
            const bool was_stopped = sim_disk_is_stopped(h.sim);
            sim_disk_crash(h.sim, mode, nth * 1000 + seed);
            check(&h, name, nth);
            (void)flx_disk_free(sim_disk_of(h.sim));
            if (!was_stopped) {
                assert_true(nth > 200); /* the script has not shrunk to nothing */
                break;
            }
        }
    }
}

static void crash_everywhere(sim_crash_mode mode, const char *name, flx_journal_sync sync,
                             uint64_t seeds)
{
    crash_with(mode, name, sync, seeds, FLX_JOURNAL_NO_ROOM);
}

/* Zeros are written ahead of the batches: any of them may be there, and none is a torn tail. */
static void zeros_ahead_change_nothing(void **state)
{
    (void)state;
    crash_with(SIM_LOSE, "room, lose", FLX_JOURNAL_SYNC_ON_COMMIT, 1, ROOM_BYTES);
    crash_with(SIM_TEAR, "room, tear", FLX_JOURNAL_SYNC_ON_COMMIT, 2, ROOM_BYTES);
    crash_with(SIM_REORDER, "room, reorder", FLX_JOURNAL_SYNC_ON_COMMIT, 2, ROOM_BYTES);
}

static void what_was_not_synced_is_lost(void **state)
{
    (void)state;
    crash_everywhere(SIM_LOSE, "lose", FLX_JOURNAL_SYNC_ON_COMMIT, 1);
}

static void what_was_not_synced_is_torn(void **state)
{
    (void)state;
    crash_everywhere(SIM_TEAR, "tear", FLX_JOURNAL_SYNC_ON_COMMIT, 3);
}

static void what_was_not_synced_is_reordered(void **state)
{
    (void)state;
    crash_everywhere(SIM_REORDER, "reorder", FLX_JOURNAL_SYNC_ON_COMMIT, 3);
}

/* With fewer syncs more is lost, but never what was told to be synced, and never the order. */
static void periodic_syncs_keep_what_they_cover(void **state)
{
    (void)state;
    crash_everywhere(SIM_LOSE, "lose", FLX_JOURNAL_SYNC_PERIODIC, 1);
    crash_everywhere(SIM_REORDER, "reorder", FLX_JOURNAL_SYNC_PERIODIC, 2);
}

/* Each sync in turn fails the way kernels do; then the process restarts, then the power goes. */
static void fail_every_sync(uint32_t room_bytes)
{
    for (uint64_t nth = 1;; nth++) {
        jh h;
        jh_init(&h, sim_disk_new());
        h.options.retain_bytes = 9000;
        h.options.room_bytes = room_bytes;
        sim_disk_fail_sync(h.sim, nth);
        script(&h);
        jh_close(&h);
        const bool is_over = sim_disk_fail_sync_is_due(h.sim);
        sim_disk_crash(h.sim, SIM_LOSE, nth);
        check(&h, "failed sync", nth);
        (void)flx_disk_free(sim_disk_of(h.sim));
        if (is_over) {
            assert_true(nth > 80);
            break;
        }
    }
}

static void every_sync_may_fail(void **state)
{
    (void)state;
    fail_every_sync(FLX_JOURNAL_NO_ROOM);
    fail_every_sync(ROOM_BYTES);
}

/* Room for one byte more each time: nothing acknowledged is lost, and with room it goes on. */
static void the_disk_fills_up_anywhere(void **state)
{
    (void)state;
    for (uint64_t room = 0; room < 12000; room += 61) {
        jh h;
        jh_init(&h, sim_disk_new());
        h.options.room_bytes = room % 2 == 0 ? FLX_JOURNAL_NO_ROOM : ROOM_BYTES;
        sim_disk_set_room(h.sim, room);
        script(&h);
        sim_disk_set_room(h.sim, UINT64_MAX);
        if (h.journal != NULL) {
            jh_later(&h, 1500);
            assert_int_not_equal(flx_journal_state_of(h.journal), FLX_JOURNAL_FAILED);
            assert_int_equal(h.acked, flx_journal_end(h.journal));
        }
        jh_close(&h);
        sim_disk_crash(h.sim, SIM_LOSE, room);
        check(&h, "room", room);
        (void)flx_disk_free(sim_disk_of(h.sim));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_synced_is_lost),
        cmocka_unit_test(zeros_ahead_change_nothing),
        cmocka_unit_test(what_was_not_synced_is_torn),
        cmocka_unit_test(what_was_not_synced_is_reordered),
        cmocka_unit_test(periodic_syncs_keep_what_they_cover),
        cmocka_unit_test(every_sync_may_fail),
        cmocka_unit_test(the_disk_fills_up_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
