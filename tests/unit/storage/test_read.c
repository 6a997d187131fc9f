/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a journal: what is answered at once, what waits for a thread, and what is let go of. */
#include "common/alloc.h"
#include "journal_harness.h"
#include "unit.h"

#define BATCHES 80 /* of two records: a dozen segments of 2 KiB */

static void start(jh *h)
{
    jh_init(h, sim_disk_new());
    assert_int_equal(jh_open(h), FLX_OK);
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(jh_append(h, 2), FLX_OK);
        jh_run(h);
    }
}

static void finish(jh *h)
{
    jh_close(h);
    (void)flx_disk_free(sim_disk_of(h->sim));
}

static void run_all(jh *h)
{
    while (flx_io_manual_step(h->io, 0)) {
    }
}

static void no_done(flx_journal_read *read)
{
    (void)read;
}

/* Whether a read was answered at once; its bytes are given back. */
static bool is_read_at_once(jh *h, uint64_t offset, uint64_t *ret_next)
{
    flx_journal_read read = {.offset = offset, .done = no_done};
    const bool at_once = flx_journal_read_begin(h->journal, &read);
    run_all(h);
    assert_int_equal(read.status, FLX_OK);
    (void)flx_chunk_unref(read.range.chunk);
    *ret_next = read.next;
    return at_once;
}

static flx_read_cache_stats stats_of(const jh *h)
{
    flx_read_cache_stats stats;
    flx_read_cache_get_stats(h->cache, &stats);
    return stats;
}

/* Only the first block of a sealed segment waits, for the thread that opens it. */
static void what_is_in_memory_needs_no_thread(void **state)
{
    (void)state;
    jh h;
    start(&h);
    sim_disk_remember(h.sim, 1);
    flx_read_cache_begin_turn(h.cache, UINT64_C(1) << 20);
    flx_journal_marks marks;
    flx_journal_get_marks(h.journal, &marks);
    assert_true(marks.segments > 5);
    uint32_t waited = 0;
    for (uint64_t offset = 0; offset < marks.end;) {
        uint64_t next = 0;
        waited += !is_read_at_once(&h, offset, &next);
        assert_true(next > offset);
        offset = next;
    }
    assert_int_equal(waited, marks.segments - 1); /* the active one is open anyway */
    assert_int_equal(stats_of(&h).misses - stats_of(&h).now,
                     waited); /* and nothing was read ahead */
    finish(&h);
}

static void a_turn_bounds_what_the_worker_copies(void **state)
{
    (void)state;
    jh h;
    start(&h);
    sim_disk_remember(h.sim, 1);
    uint64_t offset = 0;
    (void)is_read_at_once(&h, 0, &offset);   /* opens the segment */
    flx_read_cache_begin_turn(h.cache, 600); /* a block is somewhat more than 256 bytes */
    uint32_t at_once = 0;
    for (int i = 0; i < 4; i++) {
        at_once += is_read_at_once(&h, offset, &offset);
    }
    assert_in_range(at_once, 1, 2);
    flx_read_cache_begin_turn(h.cache, 0); /* as before the first turn: none */
    const uint64_t before = stats_of(&h).now;
    for (int i = 0; i < 10; i++) {
        (void)is_read_at_once(&h, offset, &offset);
    }
    assert_int_equal(stats_of(&h).now, before);
    finish(&h);
}

/* Whichever reads the disk can answer: all bytes come, in order (jh_read_all looks at each). */
static void the_disk_decides_each_time(void **state)
{
    (void)state;
    jh h;
    start(&h);
    for (int walk = 0; walk < 6; walk++) {
        assert_int_equal(jh_read_all(&h, (uint64_t)walk * 2), 2 * (BATCHES - walk));
        jh_close(&h); /* and with it the cache */
        assert_int_equal(jh_open(&h), FLX_OK);
    }
    finish(&h);
}

/* A block is checked when it is read, also by the worker itself; what is broken is told by the thread. */
static void damage_is_seen_when_a_block_is_loaded(void **state)
{
    (void)state;
    jh h;
    start(&h);
    sim_disk_remember(h.sim, 1);
    flx_read_cache_begin_turn(h.cache, UINT64_C(1) << 20);
    uint64_t offset = 0;
    (void)is_read_at_once(&h, 0, &offset);
    const char *path = "logs/demo/00000000000000000000.seg";
    sim_disk_flip(h.sim, path, 8 * 700); /* in the second or third block */
    flx_journal_read read = {0};
    flx_status status = FLX_OK;
    for (; status == FLX_OK && offset < 20; offset = read.next) {
        status = jh_read(&h, offset, &read);
        if (status == FLX_OK) {
            (void)flx_chunk_unref(read.range.chunk);
        }
    }
    assert_int_equal(status, FLX_ERR_CORRUPT);
    assert_non_null(strstr(read.error.message, path));
    finish(&h);
}

/* The index is checked as well, when a segment is opened: a wrong place to look at would be no answer. */
static void a_damaged_index_is_told(void **state)
{
    (void)state;
    jh h;
    start(&h);
    const char *path = "logs/demo/00000000000000000000.seg";
    size_t len = 0;
    assert_non_null(sim_disk_content(h.sim, path, &len));
    for (size_t at = len - 150; at < len; at += 7) {
        flx_journal_read read;
        sim_disk_flip(h.sim, path, 8 * at);
        assert_int_equal(jh_read(&h, 3, &read), FLX_ERR_CORRUPT);
        sim_disk_flip(h.sim, path, 8 * at);
    }
    assert_int_equal(jh_read_all(&h, 0), 2 * BATCHES);
    finish(&h);
}

/* Retention closes what it takes away: nothing below the start is served, and no descriptor stays. */
static void retention_lets_go_of_open_segments(void **state)
{
    (void)state;
    jh h;
    start(&h);
    assert_int_equal(jh_read_all(&h, 0), 2 * BATCHES);
    h.options.retain_bytes = 4000;
    flx_journal_set_policy(h.journal, &h.options);
    const size_t open_before = sim_disk_open_files(h.sim);
    jh_later(&h, 2000);
    flx_journal_marks marks;
    flx_journal_get_marks(h.journal, &marks);
    assert_true(marks.start > 0);
    assert_true(sim_disk_open_files(h.sim) < open_before);
    flx_journal_read read;
    sim_disk_remember(h.sim, 1);
    assert_int_equal(jh_read(&h, 0, &read), FLX_ERR_TOO_OLD);
    assert_int_equal(jh_read_all(&h, marks.start), marks.end - marks.start);
    finish(&h);
}

/* However many segments and readers: what is kept for them has a bound, in bytes and in descriptors. */
static void a_hundred_readers_cost_what_the_cache_may_have(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    assert_int_equal(jh_open(&h), FLX_OK);
    for (int i = 0; i < 10 * BATCHES; i++) {
        assert_int_equal(jh_append(&h, 2), FLX_OK);
        jh_run(&h);
    }
    const uint64_t end = flx_journal_visible_end(h.journal);
    uint64_t offsets[100];
    for (size_t i = 0; i < COUNT(offsets); i++) {
        offsets[i] = end * i / COUNT(offsets); /* each at a place of its own */
    }
    for (int round = 0; round < 10; round++) {
        sim_disk_remember(h.sim, (uint32_t)round % 3);
        for (size_t i = 0; i < COUNT(offsets); i++) {
            flx_read_cache_begin_turn(h.cache, UINT64_C(1) << 20);
            (void)is_read_at_once(&h, offsets[i], &offsets[i]);
            assert_in_range(stats_of(&h).bytes, 1, 4096);
            assert_in_range(sim_disk_open_files(h.sim), 1, 32 + 4);
        }
    }
    finish(&h);
}

/* The Nth allocation fails in the middle of reading: a clean answer, and the next read is whole. */
static void without_memory_a_read_is_refused(void **state)
{
    (void)state;
    jh h;
    start(&h);
    for (uint64_t nth = 1; nth < 12; nth++) {
        flx_journal_read read;
        sim_disk_remember(h.sim, (uint32_t)nth % 3);
        const uint64_t offset = nth * 10;
        flx_alloc_fail_nth(nth);
        const flx_status status = jh_read(&h, offset, &read);
        flx_alloc_fail_nth(0);
        assert_true(status == FLX_OK || status == FLX_ERR_NOMEM);
        if (status == FLX_OK) {
            (void)flx_chunk_unref(read.range.chunk);
        }
        run_all(&h);
        assert_int_equal(jh_read_all(&h, offset), 2 * BATCHES - offset);
    }
    finish(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_memory_needs_no_thread),
        cmocka_unit_test(a_turn_bounds_what_the_worker_copies),
        cmocka_unit_test(the_disk_decides_each_time),
        cmocka_unit_test(damage_is_seen_when_a_block_is_loaded),
        cmocka_unit_test(a_damaged_index_is_told),
        cmocka_unit_test(retention_lets_go_of_open_segments),
        cmocka_unit_test(a_hundred_readers_cost_what_the_cache_may_have),
        cmocka_unit_test(without_memory_a_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
