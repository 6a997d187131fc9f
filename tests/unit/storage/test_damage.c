/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal C2: what is damaged is noticed. A bit flips anywhere in any file, files are missing, cut or of
 * another log: the log is refused with a message that says where, or serves every byte right, or
 * answers FLX_ERR_CORRUPT to who reads just that. Never other bytes, never silently less.
 */
#include "common/clock.h"
#include "journal_harness.h"
#include "unit.h"

#include <stdio.h>

static void fill(jh *h, int batches)
{
    for (int i = 0; i < batches; i++) {
        assert_int_equal(jh_append(h, 1 + (uint32_t)i % 3), FLX_OK);
        jh_run(h);
    }
}

/* A store that was closed properly, and its end. */
static sim_disk *closed_store(uint64_t *ret_end)
{
    jh h;
    jh_init(&h, sim_disk_new());
    assert_int_equal(jh_open(&h), FLX_OK);
    fill(&h, 30);
    jh_epoch(&h, 2);
    fill(&h, 9);
    *ret_end = flx_journal_end(h.journal);
    jh_close(&h);
    return h.sim;
}

/* Reads on over what is broken, a record at a time. Returns the reads that found corruption. */
static uint64_t read_around(jh *h)
{
    uint64_t broken = 0;
    const uint64_t end = flx_journal_end(h->journal);
    for (uint64_t offset = flx_journal_start(h->journal); offset < end;) {
        flx_journal_read read;
        const flx_status status = jh_read(h, offset, &read);
        if (status != FLX_OK) {
            assert_int_equal(status, FLX_ERR_CORRUPT);
            assert_non_null(strstr(read.error.message, ".seg"));
            broken++;
            offset++;
            continue;
        }
        flx_slice rest = {NULL, 0};
        if (read.range.chunk != NULL) {
            rest = flx_range_slice(&read.range);
        }
        flx_stored stored;
        while (flx_stored_next(&rest, &stored)) {
            assert_true(jh_is_right(&stored));
        }
        (void)flx_chunk_unref(read.range.chunk);
        assert_true(read.next > offset);
        offset = read.next;
    }
    return broken;
}

typedef struct outcome {
    uint64_t refused;
    uint64_t broken;
    uint64_t healed;
} outcome;

static void look(jh *h, uint64_t end, outcome *seen)
{
    const flx_status status = jh_open(h);
    if (status != FLX_OK) {
        assert_true(status == FLX_ERR_CORRUPT || status == FLX_ERR_UNSUPPORTED);
        assert_true(strlen(h->error.message) > 10);
        seen->refused++;
    } else {
        assert_int_equal(flx_journal_end(h->journal), end); /* not silently less */
        const uint64_t broken = read_around(h);
        seen->broken += broken > 0;
        seen->healed += broken == 0;
    }
    jh_close(h);
}

typedef struct flips {
    sim_disk *sim;
    uint64_t end;
    outcome seen;
} flips;

static void flip_each(void *arg, const char *path, size_t len)
{
    flips *run = arg;
    for (size_t byte = 0; byte < len; byte++) {
        jh h;
        jh_init(&h, sim_disk_clone(run->sim));
        sim_disk_flip(h.sim, path, byte * 8 + byte % 8);
        look(&h, run->end, &run->seen);
        (void)flx_disk_free(sim_disk_of(h.sim));
    }
}

static void a_bit_flips_anywhere(void **state)
{
    (void)state;
    flips run = {0};
    run.sim = closed_store(&run.end);
    sim_disk_each(run.sim, flip_each, &run);
    assert_true(run.seen.refused > 100); /* state, store, headers, the active segment */
    assert_true(run.seen.broken > 1000); /* sealed batches, found when they are read */
    assert_true(run.seen.healed > 100);  /* footers, made again from the batches */
    (void)flx_disk_free(sim_disk_of(run.sim));
}

static void lose_each(void *arg, const char *path, size_t len)
{
    (void)len;
    flips *run = arg;
    if (strcmp(path, "lock") == 0 || strncmp(path, "register/", 9) == 0) {
        return; /* the first holds nothing; an entry is made again (test_register) */
    }
    jh h;
    jh_init(&h, sim_disk_clone(run->sim));
    sim_disk_lose(h.sim, path);
    assert_int_equal(jh_open(&h), FLX_ERR_CORRUPT);
    assert_non_null(strstr(h.error.message, "missing"));
    run->seen.refused++;
    jh_close(&h);
    (void)flx_disk_free(sim_disk_of(h.sim));
}

static void any_file_is_missing(void **state)
{
    (void)state;
    flips run = {0};
    run.sim = closed_store(&run.end);
    sim_disk_each(run.sim, lose_each, &run);
    assert_true(run.seen.refused > 5);
    (void)flx_disk_free(sim_disk_of(run.sim));
}

static void last_segment(void *arg, const char *path, size_t len)
{
    (void)len;
    char *last = arg;
    if (strstr(path, ".seg") != NULL && strcmp(path, last) > 0) {
        (void)snprintf(last, FLX_DISK_PATH_MAX, "%s", path);
    }
}

/* Below the checkpoint a shorter active segment is damage, wherever it ends. */
static void the_active_segment_is_cut(void **state)
{
    (void)state;
    uint64_t end = 0;
    sim_disk *sim = closed_store(&end);
    char path[FLX_DISK_PATH_MAX] = "";
    sim_disk_each(sim, last_segment, path);
    size_t len = 0;
    (void)sim_disk_content(sim, path, &len);
    assert_true(len > 200);
    for (size_t at = 0; at < len; at++) {
        jh h;
        jh_init(&h, sim_disk_clone(sim));
        sim_disk_cut(h.sim, path, at);
        assert_int_equal(jh_open(&h), FLX_ERR_CORRUPT);
        jh_close(&h);
        (void)flx_disk_free(sim_disk_of(h.sim));
    }
    (void)flx_disk_free(sim_disk_of(sim));
}

/*
 * Rule 6, without a checkpoint: the process was killed. Damage below what the last group proves to be
 * synced is refused; only damage in the last group itself looks like a torn tail.
 */
static void evidence_lies_in_later_batches(void **state)
{
    (void)state;
    jh h;
    jh_init(&h, sim_disk_new());
    h.options.segment_bytes = 1 << 20;
    assert_int_equal(jh_open(&h), FLX_OK);
    fill(&h, 20);
    const uint64_t before_last = flx_journal_end(h.journal);
    flx_journal_marks marks;
    flx_journal_get_marks(h.journal, &marks);
    const uint64_t last_at = marks.bytes;
    fill(&h, 1);
    sim_disk *copy = sim_disk_clone(h.sim); /* as it is now: nobody said goodbye */
    jh_close(&h);
    (void)flx_disk_free(sim_disk_of(h.sim));
    char path[FLX_DISK_PATH_MAX] = "";
    sim_disk_each(copy, last_segment, path);
    size_t len = 0;
    (void)sim_disk_content(copy, path, &len);
    for (size_t byte = FLX_SEGMENT_HEADER_BYTES; byte < len; byte++) {
        jh_init(&h, sim_disk_clone(copy));
        sim_disk_flip(h.sim, path, byte * 8 + byte % 8);
        const flx_status status = jh_open(&h);
        if (byte < last_at) {
            assert_int_equal(status, FLX_ERR_CORRUPT);
            assert_non_null(strstr(h.error.message, "offset"));
        } else {
            assert_int_equal(status, FLX_OK);
            assert_int_equal(flx_journal_end(h.journal), before_last);
            assert_int_equal(h.report.cut_bytes, len - last_at);
            assert_int_equal(h.report.cut_at, before_last);
            assert_int_equal(jh_read_all(&h, 0), before_last);
        }
        jh_close(&h);
        (void)flx_disk_free(sim_disk_of(h.sim));
    }
    (void)flx_disk_free(sim_disk_of(copy));
}

/* A payload that looks like a batch is no evidence: the tag of a log is its own. */
static void a_payload_is_no_evidence(void **state)
{
    (void)state;
    uint8_t log_id[FLX_DISK_ID_BYTES] = {1};
    uint8_t forged[256];
    flx_stored fake = {
        .tag = flx_stored_tag(log_id),
        .count = 1,
        .base_offset = UINT64_MAX / 2,
        .synced_below = UINT64_MAX / 2,
        .epoch = 1,
        .region = slice_of("1234"),
    };
    uint8_t *end = flx_stored_head_encode(&fake, forged);
    memcpy(end, "1234", 4);
    const flx_slice inner = {forged, (size_t)(end - forged) + 4};
    flx_stored stored;
    size_t len = 0;
    assert_int_equal(flx_stored_decode(inner, fake.tag, &stored, &len), FLX_OK);
    log_id[0] = 2;
    assert_int_equal(flx_stored_decode(inner, flx_stored_tag(log_id), &stored, &len),
                     FLX_ERR_CORRUPT);
}

/* Two stores: a log, or a segment of it, is not at home in the other. */
static void files_of_another_store(void **state)
{
    (void)state;
    uint64_t end = 0;
    sim_disk *one = closed_store(&end);
    sim_disk *two = closed_store(&end);
    static const char *const paths[] = {"store", "logs/demo/state",
                                        "logs/demo/00000000000000000000.seg"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        jh h;
        jh_init(&h, sim_disk_clone(one));
        size_t len = 0;
        size_t other_len = 0;
        uint8_t *to = sim_disk_content(h.sim, paths[i], &len);
        const uint8_t *from = sim_disk_content(two, paths[i], &other_len);
        assert_int_equal(len, other_len);
        memcpy(to, from, len);
        assert_int_equal(jh_open(&h), FLX_ERR_CORRUPT);
        assert_non_null(strstr(h.error.message, "another"));
        jh_close(&h);
        (void)flx_disk_free(sim_disk_of(h.sim));
    }
    (void)flx_disk_free(sim_disk_of(one));
    (void)flx_disk_free(sim_disk_of(two));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bit_flips_anywhere),
        cmocka_unit_test(any_file_is_missing),
        cmocka_unit_test(the_active_segment_is_cut),
        cmocka_unit_test(evidence_lies_in_later_batches),
        cmocka_unit_test(a_payload_is_no_evidence),
        cmocka_unit_test(files_of_another_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
