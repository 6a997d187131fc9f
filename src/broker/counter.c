/* SPDX-License-Identifier: Apache-2.0 */
/* broker/counter.c - a map from keys to sums; the contract is in the header. */
#include "broker/counter.h"

#include "common/alloc.h"

#include <string.h>

#define COUNTER_TABLE_BYTES 32 /* a counter's share of the map, when it is half full */

typedef struct counter {
    int64_t sum;
    uint64_t offset; /* of the record that says so */
    uint32_t key_len;
    uint8_t key[];
} counter;

static flx_slice counter_key(const void *item)
{
    const counter *self = item;
    return (flx_slice){self->key, self->key_len};
}

static uint64_t counter_record_bytes(size_t key_len)
{
    return sizeof(uint32_t) + FLX_CHANGE_HEAD_BYTES + key_len + FLX_CHANGE_COUNT_BYTES;
}

static uint64_t counter_cost(size_t key_len)
{
    return sizeof(counter) + key_len + COUNTER_TABLE_BYTES;
}

void flx_counters_init(flx_counters *counters, flx_counter_budget *budget,
                       const flx_change_log *log)
{
    flx_map_init(&counters->map, counter_key);
    counters->budget = budget;
    counters->log = *log;
}

void flx_counters_done(flx_counters *counters)
{
    size_t cursor = 0;
    counter *item;
    while ((item = flx_map_pop(&counters->map, &cursor)) != NULL) {
        counters->budget->bytes -= counter_cost(item->key_len);
        counters->budget->count--;
        flx_free(item);
    }
    flx_map_done(&counters->map);
}

/* A counter of 0, in the map. */
static flx_status counter_add(flx_counters *counters, flx_slice key, counter **ret_counter)
{
    flx_counter_budget *budget = counters->budget;
    counter *item = flx_calloc(1, sizeof *item + key.len);
    if (item == NULL) {
        return FLX_ERR_NOMEM;
    }
    item->key_len = (uint32_t)key.len;
    if (key.len > 0) {
        memcpy(item->key, key.ptr, key.len);
    }
    if (flx_map_put(&counters->map, item, NULL) != FLX_OK) {
        flx_free(item);
        return FLX_ERR_NOMEM;
    }
    budget->bytes += counter_cost(key.len);
    budget->count++;
    counters->record_bytes += counter_record_bytes(key.len);
    *ret_counter = item;
    return FLX_OK;
}

static flx_status counter_new(flx_counters *counters, flx_slice key, counter **ret_counter)
{
    const flx_counter_budget *budget = counters->budget;
    return budget->bytes + counter_cost(key.len) > budget->bytes_max
               ? FLX_ERR_UNAVAILABLE
               : counter_add(counters, key, ret_counter);
}

flx_status flx_counters_add(flx_counters *counters, flx_slice key, int64_t delta, int64_t *ret_sum)
{
    counter *item = flx_map_get(&counters->map, key);
    int64_t sum;
    if (__builtin_add_overflow(item == NULL ? 0 : item->sum, delta, &sum)) {
        return FLX_ERR_CONFLICT;
    }
    flx_status status = counters->log.reserve(counters->log.arg, key.len, FLX_CHANGE_COUNT_BYTES);
    if (status == FLX_OK && item == NULL) {
        status = counter_new(counters, key, &item);
    }
    if (status != FLX_OK) {
        return status;
    }
    item->sum = sum;
    const flx_change change = {.kind = FLX_CHANGE_KIND_COUNTER, .key = key, .sum = sum};
    item->offset = counters->log.append(counters->log.arg, &change);
    *ret_sum = sum;
    return FLX_OK;
}

flx_status flx_counters_restore(flx_counters *counters, flx_slice key, int64_t sum, uint64_t offset)
{
    counter *item = flx_map_get(&counters->map, key);
    const flx_status status = item == NULL ? counter_add(counters, key, &item) : FLX_OK;
    if (status == FLX_OK) {
        item->sum = sum;
        item->offset = offset;
    }
    return status;
}

bool flx_counters_next(const flx_counters *counters, size_t *cursor, uint64_t *ret_offset)
{
    const counter *item = flx_map_next(&counters->map, cursor);
    if (item != NULL) {
        *ret_offset = item->offset;
    }
    return item != NULL;
}

bool flx_counters_get(const flx_counters *counters, flx_slice key, int64_t *ret_sum)
{
    const counter *item = flx_map_get(&counters->map, key);
    if (item != NULL) {
        *ret_sum = item->sum;
    }
    return item != NULL;
}
