/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/counter.h - the counters of one cache shard: sums that are added to, never overwritten.
 *
 * A counter is apart from a value under the same key. It has no expiry and is never evicted: past
 * the budget of its worker no new one is made, and those that are there go on. Each add is a record
 * of the shard's log (broker/cache.h), which holds the sum.
 *
 * Pure. Threads: one worker.
 */
#ifndef FLX_BROKER_COUNTER_H
#define FLX_BROKER_COUNTER_H

#include "broker/cache.h"
#include "common/map.h"

/* What all counters of a worker may hold together. */
typedef struct flx_counter_budget {
    uint64_t bytes;
    uint64_t bytes_max;
    uint64_t count;
} flx_counter_budget;

typedef struct flx_counters {
    flx_map map;
    flx_counter_budget *budget; /* borrowed */
    flx_change_log log;
    uint64_t record_bytes; /* of the newest records: what compaction would leave */
} flx_counters;

/* Nothing is allocated yet. Copies `log`; borrows the budget until done. */
void flx_counters_init(flx_counters *counters, flx_counter_budget *budget,
                       const flx_change_log *log);
void flx_counters_done(flx_counters *counters);

/*
 * Adds to the counter, which begins at 0. Nothing is changed by a failure:
 * FLX_ERR_CONFLICT  the sum would leave 64 bits
 * FLX_ERR_UNAVAILABLE  the counter is new, and the budget is used up
 * FLX_ERR_NOMEM, or what the log answered
 */
flx_status flx_counters_add(flx_counters *counters, flx_slice key, int64_t delta, int64_t *ret_sum);
/* A change the log holds already, as it is read back: whatever the budget says. FLX_ERR_NOMEM. */
flx_status flx_counters_restore(flx_counters *counters, flx_slice key, int64_t sum,
                                uint64_t offset);
/* Walks the offsets of the newest records, from a cursor of 0 on; nothing may change meanwhile. */
bool flx_counters_next(const flx_counters *counters, size_t *cursor, uint64_t *ret_offset);
/* False: it was never written. */
bool flx_counters_get(const flx_counters *counters, flx_slice key, int64_t *ret_sum);

#endif /* FLX_BROKER_COUNTER_H */
