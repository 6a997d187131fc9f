/* SPDX-License-Identifier: Apache-2.0 */
/* The executors on a real file system: every job comes back once, on the loop's thread; a journal
 * through each of them; a store is locked. */
#include "common/clock.h"
#include "common/loop.h"
#include "folder.h"
#include "journal_harness.h"
#include "unit.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

typedef flx_status (*make_io)(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                              flx_error *reterr);

typedef struct count_job {
    flx_io_job job;
    uint64_t ran; /* written on an I/O thread, read after `done` */
    uint32_t left;
    uint32_t *done;
    flx_io *io;
} count_job;

static void count_run(flx_io_job *job)
{
    ((count_job *)(void *)job)->ran++;
}

static void count_done(flx_io_job *job)
{
    count_job *mine = (count_job *)(void *)job;
    (*mine->done)++;
    mine->left--;
    if (mine->left > 0) {
        flx_io_submit(mine->io, job);
    }
}

static void jobs_come_back(make_io make)
{
    flx_loop *loop = NULL;
    flx_io *io = NULL;
    assert_int_equal(flx_loop_new(NULL, &loop, NULL), FLX_OK);
    assert_int_equal(make(loop, NULL, &io, NULL), FLX_OK);
    uint32_t done = 0;
    static count_job jobs[50];
    for (size_t i = 0; i < COUNT(jobs); i++) {
        jobs[i] = (count_job){
            .job = {.kind = FLX_IO_CALL, .run = count_run, .done = count_done},
            .left = 20,
            .done = &done,
            .io = io,
        };
        flx_io_submit(io, &jobs[i].job);
    }
    assert_int_equal(done, 0); /* never from inside */
    for (int i = 0; i < 10 || (done < 500 && i < 100000); i++) {
        assert_int_equal(flx_loop_step(loop, flx_clock_monotonic_ns() + FLX_NS_PER_S, NULL),
                         FLX_OK);
    }
    flx_io_drain(io);
    assert_int_equal(done, COUNT(jobs) * 20);
    for (size_t i = 0; i < COUNT(jobs); i++) {
        assert_int_equal(jobs[i].ran, 20);
    }
    io = flx_io_free(io);
    loop = flx_loop_free(loop);
}

static void closed(void *arg, flx_journal *journal)
{
    (void)journal;
    *(bool *)arg = true;
}

static void append_one(flx_journal *journal, uint64_t i)
{
    uint8_t record[20] = {0, 0, 0, 16};
    memcpy(record + 4, &i, sizeof i);
    const flx_journal_batch batch = {.count = 1, .region = {record, sizeof record}, .time_us = i};
    uint64_t offset = 0;
    assert_int_equal(flx_journal_append(journal, &batch, &offset, NULL), FLX_OK);
    assert_int_equal(offset, i);
}

static void opened(flx_journal_opening *opening)
{
    *(bool *)opening->arg = true;
}

static void a_journal_on_a_real_disk(make_io make, const char *name)
{
    flx_disk *disk = NULL;
    flx_store *store = NULL;
    flx_store *second = NULL;
    flx_loop *loop = NULL;
    flx_io *io = NULL;
    flx_error error = {0};
    assert_int_equal(flx_disk_posix_new(path_of(name), true, &disk, &error), FLX_OK);
    assert_int_equal(flx_store_open(disk, FLX_STORE_CREATE, 1, &store, &error), FLX_OK);
    assert_int_equal(flx_store_open(disk, FLX_STORE_CREATE, 1, &second, &error), FLX_ERR_CONFLICT);
    assert_int_equal(flx_loop_new(NULL, &loop, NULL), FLX_OK);
    assert_int_equal(make(loop, NULL, &io, NULL), FLX_OK);
    for (uint64_t round = 0; round < 2; round++) {
        bool is_open = false;
        flx_journal_opening opening = {
            .store = store,
            .name = "demo",
            .may_create = true,
            .options = {.segment_bytes = 4096},
            .now_us = 1,
            .opened = opened,
            .arg = &is_open,
        };
        flx_journal_open_begin(&opening, io);
        flx_io_drain(io);
        assert_true(is_open);
        assert_int_equal(opening.status, FLX_OK);
        flx_journal *journal = opening.journal;
        assert_int_equal(flx_journal_end(journal), round * 300);
        flx_journal_attach(journal, io, NULL, NULL);
        for (uint64_t i = 0; i < 300; i++) {
            append_one(journal, round * 300 + i);
            flx_journal_tick(journal, flx_clock_monotonic_ns(), 1);
            assert_int_equal(flx_loop_step(loop, 0, NULL), FLX_OK);
        }
        flx_io_drain(io);
        assert_int_equal(flx_journal_synced(journal), round * 300 + 300);
        bool is_closed = false;
        flx_journal_close(journal, closed, &is_closed);
        flx_io_drain(io);
        assert_true(is_closed);
        journal = flx_journal_free(journal);
    }
    assert_int_equal(flx_store_remove(store, "demo", &error), FLX_OK);
    assert_int_equal(flx_store_remove(store, "demo", &error), FLX_ERR_NOT_FOUND);
    io = flx_io_free(io);
    loop = flx_loop_free(loop);
    store = flx_store_free(store);
    disk = flx_disk_free(disk);
}

static void threads(void **state)
{
    (void)state;
    jobs_come_back(flx_io_threads_new);
    a_journal_on_a_real_disk(flx_io_threads_new, "threads");
}

/* io_uring where the kernel allows it, threads where not: both say which. */
static void what_the_probe_chooses(void **state)
{
    (void)state;
    jobs_come_back(flx_io_new);
    a_journal_on_a_real_disk(flx_io_new, "probe");
    flx_io *io = NULL;
    assert_int_equal(flx_io_new(NULL, NULL, &io, NULL), FLX_OK);
    print_message("executor: %s\n", flx_io_name(io));
    io = flx_io_free(io);
}

/* Rule 15: what was just written is in memory. Past the end there is nothing, and that is no answer. */
static void what_is_in_memory_is_read_now(void **state)
{
    (void)state;
    flx_disk *disk = NULL;
    flx_file *file = NULL;
    uint8_t bytes[8] = {0};
    assert_int_equal(flx_disk_posix_new(path_of("now"), true, &disk, NULL), FLX_OK);
    assert_int_equal(disk->ops->open(disk, "file", FLX_DISK_CREATE, &file, NULL), FLX_OK);
    assert_int_equal(flx_disk_write(file, "abcdefgh", 8, 0, NULL), FLX_OK);
    const bool is_there = file->disk->ops->read_now(file, bytes, 8, 0);
    if (is_there) { /* not every file system can say so without waiting */
        assert_memory_equal(bytes, "abcdefgh", 8);
    } else {
        print_message("this file system never reads without waiting\n");
    }
    assert_false(file->disk->ops->read_now(file, bytes, 8, 4));
    assert_false(file->disk->ops->read_now(file, bytes, 1, 100));
    file = flx_disk_close(file);
    disk = flx_disk_free(disk);
}

typedef struct one_write {
    flx_io_job job;
    uint32_t done;
} one_write;

static void write_is_done(flx_io_job *job)
{
    ((one_write *)(void *)job)->done++;
}

/* A write that ends in the middle breaks its pair: the job comes back once, failed, and says so; the next
 * one, which fits, is fine. */
static void a_broken_pair(make_io make, const char *name)
{
    static uint8_t bytes[16384];
    flx_disk *disk = NULL;
    flx_file *file = NULL;
    flx_io *io = NULL;
    struct rlimit before;
    assert_int_equal(flx_disk_posix_new(path_of(name), true, &disk, NULL), FLX_OK);
    assert_int_equal(disk->ops->open(disk, "file", FLX_DISK_CREATE, &file, NULL), FLX_OK);
    assert_int_equal(make(NULL, NULL, &io, NULL), FLX_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {10000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct iovec iov = {bytes, sizeof bytes};
    one_write mine = {.job = {.kind = FLX_IO_WRITE,
                              .sync = true,
                              .file = file,
                              .iov = &iov,
                              .iov_count = 1,
                              .done = write_is_done}};
    flx_io_submit(io, &mine.job);
    flx_io_drain(io);
    assert_int_equal(mine.done, 1);
    assert_int_equal(mine.job.status, FLX_ERR_IO);
    assert_false(mine.job.wrote);
    iov.iov_len = 10000;
    flx_io_submit(io, &mine.job);
    flx_io_drain(io);
    assert_int_equal(mine.done, 2);
    assert_int_equal(mine.job.status, FLX_OK);
    assert_true(mine.job.wrote);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    io = flx_io_free(io);
    file = flx_disk_close(file);
    disk = flx_disk_free(disk);
}

static void short_writes(void **state)
{
    (void)state;
    a_broken_pair(flx_io_threads_new, "short-threads");
    a_broken_pair(flx_io_new, "short-probe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_memory_is_read_now),
        cmocka_unit_test(threads),
        cmocka_unit_test(what_the_probe_chooses),
        cmocka_unit_test(short_writes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
