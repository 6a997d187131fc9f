/* SPDX-License-Identifier: Apache-2.0 */
/* The offline tools: verify finds what is wrong and says where, repair keeps what is whole and moves the
 * rest aside. */
#include "common/clock.h"
#include "journal_harness.h"
#include "storage/inspect.h"
#include "unit.h"

#include <stdio.h>

typedef struct seen {
    uint64_t records;
    uint32_t segments;
    uint32_t problems;
    uint64_t offset; /* of the first problem */
} seen;

static void segment_seen(void *arg, const flx_inspect_segment *segment)
{
    (void)segment;
    ((seen *)arg)->segments++;
}

static flx_status batch_seen(void *arg, const flx_stored *stored, uint64_t segment,
                             uint64_t position)
{
    (void)segment;
    (void)position;
    assert_true(jh_is_right(stored));
    ((seen *)arg)->records += stored->count;
    return FLX_OK;
}

static void problem_seen(void *arg, const flx_inspect_problem *problem)
{
    seen *all = arg;
    assert_non_null(strstr(problem->file, "logs/demo/"));
    all->offset = all->problems == 0 ? problem->offset : all->offset;
    all->problems++;
}

static sim_disk *closed_store(uint64_t *ret_end)
{
    jh h;
    jh_init(&h, sim_disk_new());
    assert_int_equal(jh_open(&h), FLX_OK);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(jh_append(&h, 2), FLX_OK);
        jh_run(&h);
    }
    *ret_end = flx_journal_end(h.journal);
    jh_close(&h);
    return h.sim;
}

static flx_inspect_summary verify(sim_disk *sim, seen *ret_seen)
{
    flx_store *store = NULL;
    flx_inspect_summary summary;
    const flx_inspect_visit visit = {segment_seen, batch_seen, problem_seen, ret_seen};
    *ret_seen = (seen){0};
    assert_int_equal(flx_store_open(sim_disk_of(sim), FLX_STORE_LOOK, 0, &store, NULL), FLX_OK);
    assert_int_equal(flx_inspect_log(store, "demo", &visit, &summary, NULL), FLX_OK);
    store = flx_store_free(store);
    return summary;
}

static void a_whole_log_has_no_problems(void **state)
{
    (void)state;
    uint64_t end = 0;
    sim_disk *sim = closed_store(&end);
    const uint64_t changes = sim_disk_changes(sim);
    seen all;
    const flx_inspect_summary summary = verify(sim, &all);
    assert_int_equal(all.records, end);
    assert_int_equal(all.problems, 0);
    assert_int_equal(summary.end, end);
    assert_int_equal(summary.checkpoint_end, end);
    assert_int_equal(summary.segments, all.segments);
    assert_string_equal(summary.label, "t1/default/demo/0");
    assert_int_equal(sim_disk_changes(sim), changes); /* looking changes nothing */
    (void)flx_disk_free(sim_disk_of(sim));
}

typedef struct run {
    sim_disk *sim;
    uint64_t end;
    uint32_t repaired;
    uint32_t harmless;
} run;

static void break_and_repair(void *arg, const char *path, size_t len)
{
    run *all = arg;
    if (strstr(path, ".seg") == NULL) {
        return;
    }
    for (size_t byte = 0; byte < len; byte += 29) {
        jh h;
        jh_init(&h, sim_disk_clone(all->sim));
        sim_disk_flip(h.sim, path, byte * 8);
        seen found;
        const flx_inspect_summary before = verify(h.sim, &found);
        assert_true(before.problems + before.harmless > 0); /* C2: found offline */
        flx_store *store = NULL;
        uint64_t end = 0;
        char aside[FLX_DISK_PATH_MAX];
        assert_int_equal(flx_store_open(sim_disk_of(h.sim), FLX_STORE_EXISTING, 0, &store, NULL),
                         FLX_OK);
        const flx_status status = flx_inspect_repair(store, "demo", &end, aside, &h.error);
        store = flx_store_free(store);
        if (before.problems == 0) {
            assert_int_equal(status, FLX_ERR_CONFLICT);
            end = all->end;
            all->harmless++;
        } else {
            assert_int_equal(status, FLX_OK);
            assert_int_equal(end, found.offset);
            all->repaired++;
        }
        if (jh_open(&h) != FLX_OK) {
            fail_msg("%s byte %zu: %s", path, byte, h.error.message);
        }
        assert_int_equal(flx_journal_end(h.journal), end);
        assert_int_equal(jh_read_all(&h, 0), end);
        assert_int_equal(jh_append(&h, 1), FLX_OK);
        jh_run(&h);
        assert_int_equal(h.acked, end + 1);
        jh_close(&h);
        (void)flx_disk_free(sim_disk_of(h.sim));
    }
}

static void what_is_broken_is_found_and_repaired(void **state)
{
    (void)state;
    run all = {0};
    all.sim = closed_store(&all.end);
    sim_disk_each(all.sim, break_and_repair, &all);
    assert_true(all.repaired > 50);
    assert_true(all.harmless > 5);
    (void)flx_disk_free(sim_disk_of(all.sim));
}

/* The path of the second segment: the lowest that is not the first. */
static void second_segment(void *arg, const char *path, size_t len)
{
    (void)len;
    char *second = arg;
    const bool is_first = strstr(path, "/00000000000000000000.seg") != NULL;
    if (strstr(path, ".seg") != NULL && !is_first &&
        (second[0] == '\0' || strcmp(path, second) < 0)) {
        (void)snprintf(second, FLX_DISK_PATH_MAX, "%s", path);
    }
}

static void nothing_is_deleted(void **state)
{
    (void)state;
    uint64_t end = 0;
    sim_disk *sim = closed_store(&end);
    char second[FLX_DISK_PATH_MAX] = "";
    sim_disk_each(sim, second_segment, second);
    const uint64_t base = strtoull(second + strlen("logs/demo/"), NULL, 10);
    assert_true(base > 0);
    sim_disk_lose(sim, second);
    size_t len = 0;
    seen found;
    assert_true(verify(sim, &found).problems > 0);
    flx_store *store = NULL;
    char aside[FLX_DISK_PATH_MAX];
    const uint64_t bytes = sim_disk_bytes(sim);
    assert_int_equal(flx_store_open(sim_disk_of(sim), FLX_STORE_EXISTING, 0, &store, NULL), FLX_OK);
    assert_int_equal(flx_inspect_repair(store, "demo", &end, aside, NULL), FLX_OK);
    assert_int_equal(end, base);
    store = flx_store_free(store);
    assert_true(sim_disk_bytes(sim) >= bytes);
    char path[FLX_DISK_PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/00000000000000000000.seg", aside);
    assert_non_null(sim_disk_content(sim, path, &len));
    (void)flx_disk_free(sim_disk_of(sim));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_log_has_no_problems),
        cmocka_unit_test(what_is_broken_is_found_and_repaired),
        cmocka_unit_test(nothing_is_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
