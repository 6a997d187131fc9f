/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/journal_harness.h - one journal on a simulated disk, its disk work done when told to.
 *
 * Records say their own offset, so a reader can check every byte: record i is "i:" and a filler whose
 * length and content follow from i.
 */
#ifndef FLX_TESTS_JOURNAL_HARNESS_H
#define FLX_TESTS_JOURNAL_HARNESS_H

#include "sim_disk.h"
#include "storage/journal.h"

typedef struct jh {
    sim_disk *sim; /* the test's */
    flx_store *store;
    flx_io *io;
    flx_read_cache *cache;
    flx_journal *journal;
    flx_journal_options options;
    flx_journal_report report;
    flx_error error;
    uint64_t now_ns;
    uint64_t now_us;
    uint64_t acked;    /* the highest mark `synced` that was told */
    uint64_t promised; /* the highest promise that was answered */
    uint64_t epoch;    /* the highest epoch that was answered */
    bool is_closed;
    uint64_t now_bytes; /* what a turn of reading may copy itself; 1 MiB */
    uint32_t walks;
    flx_journal_errand errand;
} jh;

/* A small journal that rolls often: segments of 2 KiB, blocks of 256 bytes. */
void jh_init(jh *h, sim_disk *sim);
/* Opens store and journal; the harness keeps what fails, h->error says why. */
flx_status jh_open(jh *h);
/* Stages a batch of `count` records. */
flx_status jh_append(jh *h, uint32_t count);
/* A tick; then everything that waits, as long as something does. */
void jh_tick(jh *h);
void jh_run(jh *h);
/* `ms` later, a tick and all that follows. */
void jh_later(jh *h, uint64_t ms);
void jh_promise(jh *h, uint64_t epoch);
void jh_epoch(jh *h, uint64_t epoch);
/* The whole way down. */
void jh_close(jh *h);

/* Reads [from, what is visible) and checks every byte; returns the records seen. Fails the test. One call
 * in three the disk has nothing in memory, one in three all, one in three every second read. */
uint64_t jh_read_all(jh *h, uint64_t from);
/* One read, run to its end. */
flx_status jh_read(jh *h, uint64_t offset, flx_journal_read *ret_read);
/* Whether the records of a batch are those of their offsets. */
bool jh_is_right(const flx_stored *stored);

#endif /* FLX_TESTS_JOURNAL_HARNESS_H */
