/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_list.c - all entries of a prefix, a page at a time, in the order of their hashes: so a
 * cursor is a number, and what comes and goes meanwhile moves nothing else.
 */
#include "broker/cache_int.h"

#include <string.h>

#define LIST_SEGMENTS_MAX 8 /* segments a page looks at */

static bool has_prefix(const cache_entry *entry, flx_slice prefix)
{
    return entry->key_len >= prefix.len &&
           (prefix.len == 0 || memcmp(entry->bytes, prefix.ptr, prefix.len) == 0);
}

/* The entries of a segment that are listed, by hash. Shell sort: qsort may allocate. */
static uint32_t gather(const cache_segment *segment, flx_slice prefix, uint64_t from,
                       uint64_t now_us, const cache_entry *found[CACHE_SEGMENT_SLOTS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < segment->cap; i++) {
        const cache_entry *entry = (segment->tags[i] & 0x80) != 0 ? segment->entries[i] : NULL;
        if (entry != NULL && entry->hash >= from && !cache_entry_is_expired(entry, now_us) &&
            has_prefix(entry, prefix)) {
            found[count++] = entry;
        }
    }
    static const uint32_t gaps[] = {132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        const uint32_t gap = gaps[g];
        for (uint32_t i = gap; i < count; i++) {
            const cache_entry *entry = found[i];
            uint32_t j = i;
            for (; j >= gap && found[j - gap]->hash > entry->hash; j -= gap) {
                found[j] = found[j - gap];
            }
            found[j] = entry;
        }
    }
    return count;
}

uint32_t flx_cache_shard_list(const flx_cache_shard *shard, flx_slice prefix, uint64_t now_us,
                              uint32_t limit, flx_cache_cursor *cursor,
                              bool (*each)(void *arg, const flx_cache_item *item), void *arg)
{
    const cache_entry *found[CACHE_SEGMENT_SLOTS];
    uint32_t listed = 0;
    bool has_enough = limit == 0;
    cache_unpark(shard->pool);
    for (int i = 0; i < LIST_SEGMENTS_MAX && !has_enough && !cursor->is_done; i++) {
        uint64_t end = (uint64_t)UINT32_MAX + 1;
        uint32_t count = 0;
        if (shard->index.count > 0) {
            const cache_segment *segment =
                cache_index_segment(&shard->index, (uint32_t)cursor->next, &end);
            count = gather(segment, prefix, cursor->next, now_us, found);
        }
        for (uint32_t j = 0; j < count; j++) {
            if (has_enough && found[j]->hash != found[j - 1]->hash) {
                cursor->next = found[j]->hash;
                return listed;
            }
            const flx_cache_item item = cache_entry_item(found[j]);
            const bool goes_on = each(arg, &item);
            listed++;
            has_enough = has_enough || !goes_on || listed >= limit;
        }
        cursor->next = end;
        cursor->is_done = end > UINT32_MAX;
    }
    return listed;
}
