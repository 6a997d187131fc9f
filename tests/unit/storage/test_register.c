/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule 14: a store knows the logs it has made. What vanished is damage and never made anew by itself; what
 * was deleted is not missed; a loss is accepted on demand. Each also when the world stops in the middle.
 */
#include "common/clock.h"
#include "journal_harness.h"
#include "storage/inspect.h"
#include "storage/register.h"
#include "unit.h"

#include <stdio.h>

#define DEMO "logs/demo"

static sim_disk *store_with(uint32_t batches)
{
    jh h;
    jh_init(&h, sim_disk_new());
    assert_int_equal(jh_open(&h), FLX_OK);
    for (uint32_t i = 0; i < batches; i++) {
        assert_int_equal(jh_append(&h, 2), FLX_OK);
        jh_run(&h);
    }
    assert_int_equal(h.acked, 2 * batches);
    jh_close(&h);
    return h.sim;
}

/* Opens what `sim` has; the end of the log. */
static uint64_t open_whole(sim_disk *sim)
{
    jh h;
    jh_init(&h, sim);
    if (jh_open(&h) != FLX_OK) {
        fail_msg("%s", h.error.message);
    }
    const uint64_t end = flx_journal_end(h.journal);
    assert_int_equal(jh_read_all(&h, flx_journal_start(h.journal)),
                     end - flx_journal_start(h.journal));
    jh_close(&h);
    return end;
}

/* Refused, in words that name the log and the way on, and left as it is. */
static void refused(sim_disk *sim, const char *word)
{
    jh h;
    jh_init(&h, sim);
    for (int i = 0; i < 2; i++) { /* and not made by the first try */
        assert_int_equal(jh_open(&h), FLX_ERR_CORRUPT);
        assert_non_null(strstr(h.error.message, word));
        assert_non_null(strstr(h.error.message, DEMO));
        assert_non_null(strstr(h.error.message, "felix log repair DIR demo --accept-loss"));
        jh_close(&h);
    }
}

static flx_store *store_of(sim_disk *sim, flx_store_how how)
{
    flx_store *store = NULL;
    flx_error error;
    if (flx_store_open(sim_disk_of(sim), how, 1, &store, &error) != FLX_OK) {
        fail_msg("%s", error.message);
    }
    return store;
}

typedef struct told {
    char file[FLX_DISK_PATH_MAX];
    char what[200];
} told;

static void problem_seen(void *arg, const flx_inspect_problem *problem)
{
    told *seen = arg;
    (void)snprintf(seen->file, sizeof seen->file, "%s", problem->file);
    (void)snprintf(seen->what, sizeof seen->what, "%s", problem->what);
}

static uint32_t problems_of(sim_disk *sim, told *ret_told)
{
    const flx_inspect_visit visit = {.problem = problem_seen, .arg = ret_told};
    flx_inspect_summary summary;
    flx_store *store = store_of(sim, FLX_STORE_LOOK);
    assert_int_equal(flx_inspect_log(store, "demo", &visit, &summary, NULL), FLX_OK);
    store = flx_store_free(store);
    return summary.problems;
}

/* ---- what vanished -------------------------------------------------------------------------- */

static void a_log_that_vanished_is_damaged(void **state)
{
    (void)state;
    static const struct {
        const char *lost;
        const char *word;
        const char *file; /* that `felix log verify` names */
    } rows[] = {
        {DEMO, "nothing of it is", DEMO "/state"},
        {DEMO "/00000000000000000000.seg", "no segment is", DEMO "/00000000000000000000.seg"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (uint32_t batches = 0; batches <= 5; batches += 5) { /* also when it holds nothing */
            sim_disk *sim = store_with(batches);
            sim_disk_lose(sim, rows[i].lost);
            told seen = {.file = ""};
            assert_int_equal(problems_of(sim, &seen), 1);
            assert_string_equal(seen.file, rows[i].file);
            assert_true(strlen(seen.what) > 10);
            refused(sim, rows[i].word);
            assert_int_equal(problems_of(sim, &seen), 1);
            (void)flx_disk_free(sim_disk_of(sim));
        }
    }
}

/* Before the first checkpoint nothing but the register knows that there was something. */
static void a_log_is_missed_from_its_first_ack_on(void **state)
{
    (void)state;
    uint32_t acked = 0;
    for (uint64_t nth = 1;; nth++) {
        jh h;
        jh_init(&h, sim_disk_new());
        sim_disk_stop_at(h.sim, nth);
        if (jh_open(&h) == FLX_OK && jh_append(&h, 1) == FLX_OK) {
            jh_run(&h);
        }
        const bool is_acked = h.acked > 0;
        jh_close(&h);
        const bool was_stopped = sim_disk_is_stopped(h.sim);
        sim_disk_crash(h.sim, SIM_LOSE, nth);
        sim_disk *whole = sim_disk_clone(h.sim);
        assert_true(open_whole(whole) >= h.acked); /* a half made log is no loss */
        sim_disk_lose(h.sim, DEMO);
        if (is_acked) {
            refused(h.sim, "nothing of it is");
            acked++;
        }
        (void)flx_disk_free(sim_disk_of(h.sim));
        (void)flx_disk_free(sim_disk_of(whole));
        if (!was_stopped) {
            break;
        }
    }
    assert_true(acked > 2);
}

static void another_log_in_its_place(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, store_with(3));
    h.store = store_of(h.sim, FLX_STORE_EXISTING);
    flx_journal *other = NULL;
    assert_int_equal(
        flx_journal_open(h.store, "other", true, NULL, h.now_us, &other, NULL, &h.error), FLX_OK);
    other = flx_journal_free(other);
    h.store = flx_store_free(h.store);
    sim_disk_lose(h.sim, DEMO);
    flx_disk *disk = sim_disk_of(h.sim);
    assert_int_equal(disk->ops->rename(disk, "logs/other", DEMO, NULL), FLX_OK);
    told seen = {.file = ""};
    assert_int_equal(problems_of(h.sim, &seen), 1);
    assert_non_null(strstr(seen.what, "another log"));
    refused(h.sim, "another log is");
    (void)flx_disk_free(disk);
}

/* An entry that is damaged says no less; one that is missing was taken by a crash. Both are mended. */
static void an_entry_is_mended_by_its_log(void **state)
{
    (void)state;
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        sim_disk *sim = store_with(3);
        if (is_lost == 1) {
            sim_disk_lose(sim, "register/demo.log");
        } else {
            sim_disk_flip(sim, "register/demo.log", 300);
            sim_disk *gone = sim_disk_clone(sim);
            sim_disk_lose(gone, DEMO);
            refused(gone, "nothing of it is");
            (void)flx_disk_free(sim_disk_of(gone));
        }
        assert_int_equal(open_whole(sim), 6);
        flx_registered entry;
        flx_store *store = store_of(sim, FLX_STORE_LOOK);
        assert_int_equal(flx_register_look(store, "demo", &entry, NULL), FLX_OK);
        assert_true(entry.is_there && entry.is_readable);
        store = flx_store_free(store);
        (void)flx_disk_free(sim_disk_of(sim));
    }
}

static void a_register_that_vanished_is_damage(void **state)
{
    (void)state;
    sim_disk *sim = store_with(3);
    sim_disk_lose(sim, "register");
    static const flx_store_how hows[] = {FLX_STORE_CREATE, FLX_STORE_EXISTING, FLX_STORE_LOOK};
    for (size_t i = 0; i < COUNT(hows); i++) {
        flx_store *store = NULL;
        flx_error error;
        assert_int_equal(flx_store_open(sim_disk_of(sim), hows[i], 1, &store, &error),
                         FLX_ERR_CORRUPT);
        assert_non_null(strstr(error.message, "'register' is missing"));
    }
    flx_disk *disk = sim_disk_of(sim);
    assert_int_equal(disk->ops->make_dir(disk, "register", NULL), FLX_OK); /* what it says to do */
    assert_int_equal(open_whole(sim), 6);
    (void)flx_disk_free(disk);
}

/* ---- deletion ------------------------------------------------------------------------------- */

/* Whole or gone, and never missed. */
static void a_deletion_may_stop_anywhere(void **state)
{
    (void)state;
    sim_disk *before = store_with(5);
    static const sim_crash_mode modes[] = {SIM_LOSE, SIM_TEAR, SIM_REORDER};
    uint32_t gone = 0;
    uint32_t whole = 0;
    for (size_t mode = 0; mode < COUNT(modes); mode++) {
        bool was_stopped = true;
        for (uint64_t nth = 1; was_stopped; nth++) {
            sim_disk *sim = sim_disk_clone(before);
            flx_store *store = store_of(sim, FLX_STORE_EXISTING);
            sim_disk_stop_at(sim, nth);
            const flx_status status = flx_store_remove(store, "demo", NULL);
            store = flx_store_free(store);
            was_stopped = sim_disk_is_stopped(sim);
            sim_disk_crash(sim, modes[mode], nth);
            const uint64_t end = open_whole(sim); /* made anew when it is gone */
            assert_true(end == 0 || end == 10);
            if (status == FLX_OK) {
                assert_int_equal(end, 0);
            }
            gone += end == 0;
            whole += end == 10;
            (void)flx_disk_free(sim_disk_of(sim));
        }
    }
    assert_true(gone >= 6 && whole >= 6);
    (void)flx_disk_free(sim_disk_of(before));
}

/* ---- accepting a loss ----------------------------------------------------------------------- */

static void a_whole_log_is_not_given_up(void **state)
{
    (void)state;
    sim_disk *sim = store_with(3);
    flx_store *store = store_of(sim, FLX_STORE_EXISTING);
    char aside[FLX_DISK_PATH_MAX];
    assert_int_equal(flx_inspect_forget(store, "demo", aside, NULL), FLX_ERR_CONFLICT);
    assert_int_equal(flx_inspect_forget(store, "strange", aside, NULL), FLX_ERR_NOT_FOUND);
    store = flx_store_free(store);
    assert_int_equal(open_whole(sim), 6);
    (void)flx_disk_free(sim_disk_of(sim));
}

static void a_loss_is_accepted_on_demand(void **state)
{
    (void)state;
    static const char *const lost[] = {DEMO, DEMO "/state", DEMO "/00000000000000000000.seg"};
    for (size_t i = 0; i < COUNT(lost); i++) {
        sim_disk *before = store_with(3);
        sim_disk_lose(before, lost[i]);
        bool was_stopped = true;
        for (uint64_t nth = 1; was_stopped; nth++) {
            sim_disk *sim = sim_disk_clone(before);
            const uint64_t bytes = sim_disk_bytes(sim);
            char aside[FLX_DISK_PATH_MAX];
            flx_store *store = store_of(sim, FLX_STORE_EXISTING);
            sim_disk_stop_at(sim, nth);
            flx_status status = flx_inspect_forget(store, "demo", aside, NULL);
            store = flx_store_free(store);
            was_stopped = sim_disk_is_stopped(sim);
            sim_disk_crash(sim, SIM_REORDER, nth);
            if (was_stopped) { /* again: as damaged as before, or done */
                store = store_of(sim, FLX_STORE_EXISTING);
                status = flx_inspect_forget(store, "demo", aside, NULL);
                assert_true(status == FLX_OK || status == FLX_ERR_NOT_FOUND);
                store = flx_store_free(store);
            } else {
                assert_int_equal(status, FLX_OK);
                assert_int_equal(aside[0] == '\0', i == 0);
            }
            /* Nothing but the entry is deleted. */
            assert_true(sim_disk_bytes(sim) + FLX_REGISTER_ENTRY_BYTES >= bytes);
            assert_int_equal(open_whole(sim), 0);
            (void)flx_disk_free(sim_disk_of(sim));
        }
        (void)flx_disk_free(sim_disk_of(before));
    }
}

/* ---- a store of before ---------------------------------------------------------------------- */

static sim_disk *old_store(void)
{
    sim_disk *sim = store_with(5);
    sim_disk_lose(sim, "register");
    size_t len = 0;
    uint8_t *bytes = sim_disk_content(sim, "store", &len);
    flx_store_file file;
    assert_int_equal(flx_store_file_decode((flx_slice){bytes, len}, &file, NULL), FLX_OK);
    file.has_register = false;
    flx_store_file_encode(&file, bytes);
    return sim;
}

static void an_old_store_is_looked_at_as_it_is(void **state)
{
    (void)state;
    sim_disk *sim = old_store();
    told seen;
    const uint64_t changes = sim_disk_changes(sim);
    assert_int_equal(problems_of(sim, &seen), 0);
    assert_int_equal(sim_disk_changes(sim), changes);
    (void)flx_disk_free(sim_disk_of(sim));
}

static void an_old_store_gets_a_register(void **state)
{
    (void)state;
    sim_disk *before = old_store();
    bool was_stopped = true;
    for (uint64_t nth = 1; was_stopped; nth++) {
        sim_disk *sim = sim_disk_clone(before);
        flx_store *store = NULL;
        sim_disk_stop_at(sim, nth);
        (void)flx_store_open(sim_disk_of(sim), FLX_STORE_CREATE, 1, &store, NULL);
        store = flx_store_free(store);
        was_stopped = sim_disk_is_stopped(sim);
        sim_disk_crash(sim, SIM_REORDER, nth);
        store = store_of(sim, FLX_STORE_CREATE); /* without opening the log */
        store = flx_store_free(store);
        sim_disk *gone = sim_disk_clone(sim);
        assert_int_equal(open_whole(sim), 10);
        sim_disk_lose(gone, DEMO);
        refused(gone, "nothing of it is");
        (void)flx_disk_free(sim_disk_of(sim));
        (void)flx_disk_free(sim_disk_of(gone));
    }
    (void)flx_disk_free(sim_disk_of(before));
}

/* ---- lists ---------------------------------------------------------------------------------- */

static flx_status name_add(void *arg, const char *name)
{
    (void)strcat(strcat(arg, name), " ");
    return FLX_OK;
}

static void a_list_has_what_should_be_there(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "a-b", "a.b", "b"};
    sim_disk *sim = sim_disk_new();
    flx_store *store = store_of(sim, FLX_STORE_CREATE);
    for (size_t i = 0; i < COUNT(names); i++) {
        flx_journal *journal = NULL;
        assert_int_equal(flx_journal_open(store, names[i], true, NULL, 1, &journal, NULL, NULL),
                         FLX_OK);
        journal = flx_journal_free(journal);
    }
    sim_disk_lose(sim, "logs/a-b");
    sim_disk_lose(sim, "register/b.log");
    char text[64] = "";
    assert_int_equal(flx_store_list(store, name_add, text, NULL), FLX_OK);
    assert_string_equal(text, "a a-b a.b b ");
    bool has = true;
    assert_int_equal(flx_store_has(store, "a-b", &has, NULL), FLX_OK);
    assert_false(has);
    assert_int_equal(flx_store_has(store, "b", &has, NULL), FLX_OK);
    assert_true(has);
    store = flx_store_free(store);
    (void)flx_disk_free(sim_disk_of(sim));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_that_vanished_is_damaged),
        cmocka_unit_test(a_log_is_missed_from_its_first_ack_on),
        cmocka_unit_test(another_log_in_its_place),
        cmocka_unit_test(an_entry_is_mended_by_its_log),
        cmocka_unit_test(a_register_that_vanished_is_damage),
        cmocka_unit_test(a_deletion_may_stop_anywhere),
        cmocka_unit_test(a_whole_log_is_not_given_up),
        cmocka_unit_test(a_loss_is_accepted_on_demand),
        cmocka_unit_test(an_old_store_is_looked_at_as_it_is),
        cmocka_unit_test(an_old_store_gets_a_register),
        cmocka_unit_test(a_list_has_what_should_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
