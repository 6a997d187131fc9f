/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_harness.h"

#include "common/assert.h"
#include "common/clock.h"
#include "unit.h"
#include "wire/records.h"

#include <inttypes.h>
#include <stdio.h>

#define RECORD_MAX 400

static size_t record_text(uint64_t offset, char text[RECORD_MAX])
{
    const int head = snprintf(text, RECORD_MAX, "%" PRIu64 ":", offset);
    const size_t filler = (size_t)(offset * 37 % 150);
    memset(text + head, 'a' + (int)(offset % 26), filler);
    return (size_t)head + filler;
}

void jh_init(jh *h, sim_disk *sim)
{
    *h = (jh){
        .sim = sim,
        .now_ns = FLX_NS_PER_S,
        .now_us = UINT64_C(1700000000000000),
        .now_bytes = UINT64_C(1) << 20,
        .options = {.segment_bytes = 2048, .block_bytes = 256, .label = "t1/default/demo/0"},
    };
}

static void moved(void *arg, flx_journal *journal)
{
    jh *h = arg;
    const uint64_t synced = flx_journal_synced(journal);
    h->acked = synced > h->acked ? synced : h->acked;
}

flx_status jh_open(jh *h)
{
    const flx_journal_events events = {moved, h};
    flx_status status =
        flx_store_open(sim_disk_of(h->sim), FLX_STORE_CREATE, h->now_us, &h->store, &h->error);
    if (status == FLX_OK) {
        status = flx_io_manual_new(&h->io, &h->error);
    }
    if (status == FLX_OK) {
        status = flx_read_cache_new(4096, &h->cache);
    }
    if (status == FLX_OK) {
        status = flx_journal_open(h->store, "demo", true, &h->options, h->now_us, &h->journal,
                                  &h->report, &h->error);
    }
    if (status == FLX_OK) {
        flx_journal_attach(h->journal, h->io, h->cache, &events);
        h->is_closed = false;
    }
    return status;
}

flx_status jh_append(jh *h, uint32_t count)
{
    static uint8_t region[RECORD_MAX * 1000];
    FLX_ASSERT(count <= 1000);
    uint8_t *at = region;
    for (uint32_t i = 0; i < count; i++) {
        char text[RECORD_MAX];
        const size_t len = record_text(flx_journal_end(h->journal) + i, text);
        at = flx_records_put(at, (flx_slice){(const uint8_t *)text, len});
    }
    h->now_us++;
    const flx_journal_batch batch = {
        .count = count,
        .region = {region, (size_t)(at - region)},
        .time_us = h->now_us,
        .publisher = slice_of("somebody"),
        .producer_id = 7,
        .sequence = h->now_us,
    };
    uint64_t offset = 0;
    return flx_journal_append(h->journal, &batch, &offset, &h->error);
}

void jh_tick(jh *h)
{
    h->now_ns += FLX_NS_PER_US;
    flx_journal_tick(h->journal, h->now_ns, h->now_us);
}

void jh_run(jh *h)
{
    jh_tick(h);
    while (flx_io_manual_step(h->io, 0)) {
    }
}

void jh_later(jh *h, uint64_t ms)
{
    h->now_ns += ms * FLX_NS_PER_MS;
    h->now_us += ms * 1000;
    jh_run(h);
}

static void promised(flx_journal_errand *errand)
{
    jh *h = errand->arg;
    if (errand->status == FLX_OK) {
        h->promised = errand->number;
    }
}

static void epoch_began(flx_journal_errand *errand)
{
    jh *h = errand->arg;
    if (errand->status == FLX_OK) {
        h->epoch = errand->number;
        h->promised = errand->number;
    }
}

void jh_promise(jh *h, uint64_t epoch)
{
    h->errand = (flx_journal_errand){.done = promised, .arg = h};
    flx_journal_promise_begin(h->journal, epoch, &h->errand);
    jh_run(h);
}

void jh_epoch(jh *h, uint64_t epoch)
{
    h->errand = (flx_journal_errand){.done = epoch_began, .arg = h};
    flx_journal_epoch_begin(h->journal, epoch, &h->errand);
    jh_run(h);
}

static void closed(void *arg, flx_journal *journal)
{
    jh *h = arg;
    (void)journal;
    h->is_closed = true;
}

void jh_close(jh *h)
{
    if (h->journal != NULL) {
        flx_journal_close(h->journal, closed, h);
        while (flx_io_manual_step(h->io, 0)) {
        }
        assert_true(h->is_closed);
        moved(h, h->journal);
        h->journal = flx_journal_free(h->journal);
    }
    h->cache = flx_read_cache_free(h->cache);
    h->io = flx_io_free(h->io);
    h->store = flx_store_free(h->store);
}

bool jh_is_right(const flx_stored *stored)
{
    flx_slice rest = stored->region;
    flx_slice payload;
    uint64_t offset = stored->base_offset;
    while (flx_records_next(&rest, &payload)) {
        char text[RECORD_MAX];
        const size_t len = record_text(offset, text);
        if (payload.len != len || memcmp(payload.ptr, text, len) != 0) {
            return false;
        }
        offset++;
    }
    return offset == flx_stored_end(stored);
}

static void read_done(flx_journal_read *read)
{
    (void)read;
}

flx_status jh_read(jh *h, uint64_t offset, flx_journal_read *ret_read)
{
    *ret_read = (flx_journal_read){.offset = offset, .done = read_done};
    flx_read_cache_begin_turn(h->cache, h->now_bytes);
    if (!flx_journal_read_begin(h->journal, ret_read)) {
        while (ret_read->journal != NULL) {
            assert_true(flx_io_manual_step(h->io, 0));
        }
    }
    return ret_read->status;
}

uint64_t jh_read_all(jh *h, uint64_t from)
{
    uint64_t offset = from;
    uint64_t records = 0;
    sim_disk_remember(h->sim, h->walks++ % 3);
    for (;;) {
        flx_journal_read read;
        if (jh_read(h, offset, &read) != FLX_OK) {
            fail_msg("read %" PRIu64 ": %s", offset, read.error.message);
        }
        flx_slice rest = {NULL, 0};
        if (read.range.chunk != NULL) {
            rest = flx_range_slice(&read.range);
        }
        flx_stored stored;
        uint64_t next = offset;
        while (flx_stored_next(&rest, &stored)) {
            assert_true(stored.base_offset - stored.skipped_before <= next);
            assert_true(flx_stored_end(&stored) > next);
            assert_true(jh_is_right(&stored));
            next = flx_stored_end(&stored);
            records += stored.count;
        }
        (void)flx_chunk_unref(read.range.chunk);
        assert_true(read.next >= next);
        if (read.next == offset) {
            break;
        }
        offset = read.next;
    }
    sim_disk_remember(h->sim, 0);
    assert_int_equal(offset, flx_journal_visible_end(h->journal));
    return records;
}
