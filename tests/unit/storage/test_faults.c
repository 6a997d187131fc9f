/* SPDX-License-Identifier: Apache-2.0 */
/* Goal C8: the Nth allocation fails, for every N of a scripted run until none does: no crash, no leak,
 * nothing acknowledged is lost, and afterwards the log serves. */
#include "common/alloc.h"
#include "common/clock.h"
#include "journal_harness.h"
#include "unit.h"

static void append_large(jh *h)
{
    enum { LEN = 5000 };
    flx_chunk *holder = flx_chunk_new(LEN);
    if (holder == NULL) {
        return;
    }
    memset(holder->data, 0, LEN);
    holder->data[2] = (LEN - 4) >> 8;
    holder->data[3] = (LEN - 4) & 0xff;
    holder->len = LEN;
    const flx_journal_batch batch = {
        .count = 1,
        .region = {holder->data, LEN},
        .holder = holder,
        .time_us = h->now_us,
    };
    uint64_t offset = 0;
    (void)flx_journal_append(h->journal, &batch, &offset, NULL);
    (void)flx_chunk_unref(holder);
}

static void look_around(jh *h, uint64_t offset)
{
    flx_journal_read read;
    (void)jh_read(h, offset, &read);
    (void)flx_chunk_unref(read.range.chunk);
}

static void script(jh *h)
{
    if (jh_open(h) != FLX_OK) {
        return;
    }
    for (int i = 0; i < 40; i++) {
        (void)jh_append(h, 2);
        if (i % 3 == 0) {
            jh_later(h, 1500);
        }
        if (i % 5 == 0) {
            look_around(h, (uint64_t)i / 2);
        }
    }
    append_large(h);
    jh_promise(h, 2);
    jh_epoch(h, 3);
    (void)jh_append(h, 1);
    jh_later(h, 1500);
    look_around(h, 0);
    look_around(h, flx_journal_start(h->journal));
}

static void the_nth_allocation_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        jh h;
        jh_init(&h, sim_disk_new());
        h.options.retain_bytes = 5000;
        flx_alloc_fail_nth(nth);
        script(&h);
        const bool has_failed = flx_alloc_failed() != 0;
        flx_alloc_fail_nth(0);
        if (h.journal != NULL) {
            assert_int_not_equal(flx_journal_state_of(h.journal), FLX_JOURNAL_FAILED);
            jh_later(&h, 1500);
            jh_later(&h, 1500);
            assert_int_equal(h.acked, flx_journal_end(h.journal));
        }
        const uint64_t acked = h.acked;
        jh_close(&h);
        assert_int_equal(jh_open(&h), FLX_OK);
        assert_int_equal(flx_journal_end(h.journal), acked);
        assert_int_equal(jh_append(&h, 1), FLX_OK);
        jh_run(&h);
        assert_int_equal(h.acked, acked + 1);
        jh_close(&h);
        (void)flx_disk_free(sim_disk_of(h.sim));
        if (!has_failed) {
            assert_true(nth > 50);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_nth_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
