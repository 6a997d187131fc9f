/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction: what is kept stays under its offset, the rest is a hole that says so; also when the world
 * stops in the middle. */
#include "common/clock.h"
#include "journal_harness.h"
#include "unit.h"

static void fill(jh *h, int batches)
{
    for (int i = 0; i < batches; i++) {
        (void)jh_append(h, 1 + (uint32_t)i % 5);
        jh_run(h);
    }
}

static uint64_t keep[1000];

/* Every `step`th offset below `end` is kept. */
static size_t choose(uint64_t end, uint64_t step)
{
    size_t count = 0;
    for (uint64_t offset = 0; offset < end; offset += step) {
        keep[count] = offset;
        count++;
    }
    return count;
}

static flx_status compact(jh *h, size_t count)
{
    h->errand = (flx_journal_errand){0};
    flx_journal_compact_begin(h->journal, flx_journal_sealed_end(h->journal), keep, count,
                              &h->errand);
    while (flx_io_manual_step(h->io, 0)) {
    }
    return h->errand.status;
}

/* Reads everything; below `dense_from` only multiples of `step` are there. Returns what was seen. */
static uint64_t check(jh *h, uint64_t dense_from, uint64_t step)
{
    uint64_t seen = 0;
    uint64_t expected_end = 0;
    for (uint64_t offset = 0; offset < flx_journal_visible_end(h->journal);) {
        flx_journal_read read;
        if (jh_read(h, offset, &read) != FLX_OK) {
            fail_msg("%s", read.error.message);
        }
        flx_slice rest = {NULL, 0};
        if (read.range.chunk != NULL) {
            rest = flx_range_slice(&read.range);
        }
        flx_stored stored;
        while (flx_stored_next(&rest, &stored)) {
            assert_true(jh_is_right(&stored));
            assert_true(stored.base_offset - stored.skipped_before <= expected_end);
            for (uint64_t i = stored.base_offset; i < flx_stored_end(&stored); i++) {
                assert_true(i >= dense_from || i % step == 0);
            }
            expected_end = flx_stored_end(&stored);
            seen += stored.count;
        }
        (void)flx_chunk_unref(read.range.chunk);
        assert_true(read.next > offset);
        offset = read.next;
        expected_end = expected_end > offset ? expected_end : offset;
    }
    return seen;
}

static uint64_t present(uint64_t sealed_end, uint64_t end, uint64_t step)
{
    return (sealed_end + step - 1) / step + (end - sealed_end);
}

static void offsets_stay_and_holes_are_marked(void **state)
{
    (void)state;
    static const uint64_t steps[] = {2, 7, 50, 1000};
    for (size_t i = 0; i < COUNT(steps); i++) {
        jh h;
        jh_init(&h, sim_disk_new());
        sim_disk_remember(h.sim, 1); /* readers keep segments open, which are then replaced */
        assert_int_equal(jh_open(&h), FLX_OK);
        fill(&h, 80);
        const uint64_t end = flx_journal_end(h.journal);
        const uint64_t sealed_end = flx_journal_sealed_end(h.journal);
        const uint64_t step = steps[i];
        assert_int_equal(check(&h, 0, 1), end);
        flx_journal_marks before;
        flx_journal_get_marks(h.journal, &before);
        int errands = 0;
        while (compact(&h, choose(end, step)) == FLX_OK) {
            errands++;
            assert_true(errands < 20);
        }
        assert_int_equal(h.errand.status, FLX_ERR_CONFLICT);
        assert_true(errands > 0);
        flx_journal_marks after;
        flx_journal_get_marks(h.journal, &after);
        assert_true(after.bytes < before.bytes && after.segments < before.segments);
        assert_int_equal(after.collapsed_below, sealed_end);
        assert_int_equal(after.end, end);
        assert_int_equal(check(&h, sealed_end, step), present(sealed_end, end, step));
        fill(&h, 10);
        jh_close(&h);
        assert_int_equal(jh_open(&h), FLX_OK);
        assert_int_equal(flx_journal_collapsed_below(h.journal), sealed_end);
        const uint64_t now = flx_journal_end(h.journal);
        assert_int_equal(check(&h, sealed_end, step), present(sealed_end, now, step));
        jh_close(&h);
        (void)flx_disk_free(sim_disk_of(h.sim));
    }
}

static void the_world_stops_while_compacting(void **state)
{
    (void)state;
    for (int mode = SIM_LOSE; mode <= SIM_REORDER; mode++) {
        for (uint64_t nth = 1;; nth++) {
            jh h;
            jh_init(&h, sim_disk_new());
            assert_int_equal(jh_open(&h), FLX_OK);
            fill(&h, 60);
            const uint64_t end = flx_journal_end(h.journal);
            const uint64_t sealed_end = flx_journal_sealed_end(h.journal);
            const size_t count = choose(end, 5);
            sim_disk_stop_at(h.sim, nth);
            while (compact(&h, count) == FLX_OK) {
            }
            const bool was_stopped = sim_disk_is_stopped(h.sim);
            jh_close(&h);
            sim_disk_crash(h.sim, (sim_crash_mode)mode, nth);
            if (jh_open(&h) != FLX_OK) {
                fail_msg("mode %d, change %llu: %s", mode, (unsigned long long)nth,
                         h.error.message);
            }
            assert_int_equal(flx_journal_end(h.journal), end);
            assert_true(check(&h, 0, 1) >= present(sealed_end, end, 5));
            while (compact(&h, count) == FLX_OK) {
            }
            assert_int_equal(check(&h, sealed_end, 5), present(sealed_end, end, 5));
            jh_close(&h);
            (void)flx_disk_free(sim_disk_of(h.sim));
            if (!was_stopped) {
                assert_true(nth > 15);
                break;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_stay_and_holes_are_marked),
        cmocka_unit_test(the_world_stops_while_compacting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
