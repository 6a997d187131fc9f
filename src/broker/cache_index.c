/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_index.c - key -> entry, growing a piece at a time.
 *
 *      hash (32 bits)   [ leading bits: directory | ... | tag 7 | group 6 ]
 *
 *      directory   [ 00 | 01 | 10 | 11 ]             extendible hashing: several places may share a
 *                     │    │    └──┬──┘              segment; a full one is split, the directory
 *                     ▼    ▼       ▼                 doubles when a split needs one more bit
 *                  segment  segment  segment         at most 512 slots each
 *
 *      segment     tags    [ 1 byte a slot: 0 free, 1 grave, 128+7 bits of the hash ]
 *                  entries [ 8 bytes a slot ]        9 bytes a slot, full up to 7/8
 *
 * One big table would be simpler, but doubling it with a million entries stops the worker for tens
 * of milliseconds. Here the longest step is the split of one segment: 448 entries, some 30 us.
 *
 * A search looks at 8 tags at once, in aligned groups, and at an entry only when its tag agrees; it
 * ends at the first group with a free slot. So a removal leaves a grave only in a group that is full,
 * and graves go away when the segment is rebuilt. The leading bits of the hash also give a listing
 * an order that no split or rebuild disturbs (flx_cache_shard_list).
 */
#include "broker/cache_int.h"
#include "common/alloc.h"

#include <string.h>

#define GROUP         8 /* tags looked at together */
#define TAG_FREE      0
#define TAG_GRAVE     1
#define TAG_FULL      0x80
#define DEPTH_MAX     22
#define LOW_BITS      UINT64_C(0x0101010101010101)
#define HIGH_BITS     UINT64_C(0x8080808080808080)
#define SEGMENT_FIRST GROUP

static uint8_t tag_of(uint32_t hash)
{
    return (uint8_t)(TAG_FULL | (hash >> 6 & 0x7f));
}

static uint64_t load_group(const uint8_t *tags)
{
    uint64_t group = 0;
    memcpy(&group, tags, sizeof group);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    group = __builtin_bswap64(group);
#endif
    return group;
}

/* The high bit of each byte that equals `tag`. A byte above a true match may match falsely: the keys
 * are compared anyway, and for free slots (0) the lowest match, the only one used, is exact. */
static uint64_t match(uint64_t group, uint8_t tag)
{
    const uint64_t zero_where_equal = group ^ (LOW_BITS * tag);
    return (zero_where_equal - LOW_BITS) & ~zero_where_equal & HIGH_BITS;
}

static unsigned lowest(uint64_t matches)
{
    return (unsigned)__builtin_ctzll(matches) / 8;
}

static bool is_same_key(const cache_entry *entry, uint32_t hash, flx_slice key)
{
    return entry->hash == hash && entry->key_len == key.len &&
           (key.len == 0 || memcmp(entry->bytes, key.ptr, key.len) == 0);
}

/* --- one segment -------------------------------------------------------------------------------- */

static size_t segment_size(uint32_t cap)
{
    return sizeof(cache_segment) + cap * (sizeof(cache_entry *) + 1);
}

static cache_segment *segment_new(uint32_t cap, uint32_t depth)
{
    cache_segment *segment = flx_alloc(segment_size(cap));
    if (segment == NULL) {
        return NULL;
    }
    *segment = (cache_segment){.cap = (uint16_t)cap, .depth = (uint8_t)depth};
    segment->entries = (cache_entry **)(segment + 1);
    segment->tags = (uint8_t *)(segment->entries + cap);
    memset(segment->tags, TAG_FREE, cap);
    return segment;
}

static uint32_t used_max(uint32_t cap)
{
    return cap - cap / 8;
}

/* The slot of the first group on the way of this hash. */
static uint32_t first_slot(const cache_segment *segment, uint32_t hash)
{
    return hash * GROUP & (segment->cap - 1U);
}

static uint32_t next_group(const cache_segment *segment, uint32_t slot)
{
    return (slot + GROUP) & (segment->cap - 1U);
}

/* The slot of a key, or -1. Ends because at least one slot in eight is free. */
static int segment_find(const cache_segment *segment, uint32_t hash, flx_slice key)
{
    const uint8_t tag = tag_of(hash);
    for (uint32_t base = first_slot(segment, hash);; base = next_group(segment, base)) {
        const uint64_t group = load_group(segment->tags + base);
        for (uint64_t found = match(group, tag); found != 0; found &= found - 1) {
            const uint32_t slot = base + lowest(found);
            if (segment->tags[slot] == tag && is_same_key(segment->entries[slot], hash, key)) {
                return (int)slot;
            }
        }
        if (match(group, TAG_FREE) != 0) {
            return -1;
        }
    }
}

static int segment_slot_of(const cache_segment *segment, const cache_entry *entry)
{
    return segment_find(segment, entry->hash, cache_entry_key(entry));
}

static void segment_insert(cache_segment *segment, cache_entry *entry)
{
    FLX_ASSERT(segment->used < used_max(segment->cap));
    uint32_t base = first_slot(segment, entry->hash);
    uint64_t is_free = 0;
    while ((is_free = match(load_group(segment->tags + base), TAG_FREE)) == 0) {
        base = next_group(segment, base);
    }
    const uint32_t slot = base + lowest(is_free);
    segment->tags[slot] = tag_of(entry->hash);
    segment->entries[slot] = entry;
    segment->count++;
    segment->used++;
}

static void segment_remove(cache_segment *segment, uint32_t slot)
{
    const uint32_t base = slot & ~(uint32_t)(GROUP - 1);
    const bool ends_here = match(load_group(segment->tags + base), TAG_FREE) != 0;
    segment->tags[slot] = ends_here ? TAG_FREE : TAG_GRAVE;
    segment->count--;
    if (ends_here) {
        segment->used--;
    }
}

/* --- growing ------------------------------------------------------------------------------------ */

static uint32_t place_of(const cache_index *index, uint32_t hash)
{
    return index->depth == 0 ? 0 : hash >> (32 - index->depth);
}

/* Lets every place that showed `old` show `low` (its first half) and `high` (its second). */
static void show(cache_index *index, const cache_segment *old, uint32_t hash, cache_segment *low,
                 cache_segment *high)
{
    const uint32_t places = (uint32_t)1 << (index->depth - old->depth);
    const uint32_t first = place_of(index, hash) & ~(places - 1);
    for (uint32_t i = 0; i < places; i++) {
        FLX_DEBUG_ASSERT(index->directory[first + i] == old);
        index->directory[first + i] = i < places / 2 || places == 1 ? low : high;
    }
}

static bool directory_double(cache_index *index)
{
    const size_t count = (size_t)1 << index->depth;
    cache_segment **wider =
        index->depth == DEPTH_MAX ? NULL : flx_alloc(2 * count * sizeof(cache_segment *));
    if (wider == NULL) {
        return false;
    }
    for (size_t i = 0; i < 2 * count; i++) {
        wider[i] = index->directory[i / 2];
    }
    flx_free(index->directory);
    index->directory = wider;
    index->bytes += cache_heap_bytes(2 * count * sizeof(cache_segment *)) -
                    cache_heap_bytes(count * sizeof(cache_segment *));
    index->depth++;
    return true;
}

static void segment_drop(cache_index *index, cache_segment *segment)
{
    index->bytes -= cache_heap_bytes(segment_size(segment->cap));
    flx_free(segment);
}

static cache_segment *segment_make(cache_index *index, uint32_t cap, uint32_t depth)
{
    cache_segment *segment = segment_new(cap, depth);
    if (segment != NULL) {
        index->bytes += cache_heap_bytes(segment_size(cap));
    }
    return segment;
}

/* Copies what lives of a segment into one with `cap` slots, without the graves. */
static bool segment_rebuild(cache_index *index, cache_segment *old, uint32_t hash, uint32_t cap)
{
    cache_segment *fresh = segment_make(index, cap, old->depth);
    if (fresh == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < old->cap; i++) {
        if (old->tags[i] >= TAG_FULL) {
            segment_insert(fresh, old->entries[i]);
        }
    }
    show(index, old, hash, fresh, fresh);
    segment_drop(index, old);
    return true;
}

static bool segment_split(cache_index *index, cache_segment *old, uint32_t hash)
{
    if (old->depth == index->depth && !directory_double(index)) {
        return false;
    }
    const uint32_t depth = old->depth + 1U;
    cache_segment *low = segment_make(index, CACHE_SEGMENT_SLOTS, depth);
    cache_segment *high = low == NULL ? NULL : segment_make(index, CACHE_SEGMENT_SLOTS, depth);
    if (high == NULL) {
        if (low != NULL) {
            segment_drop(index, low);
        }
        return false;
    }
    for (uint32_t i = 0; i < old->cap; i++) {
        if (old->tags[i] >= TAG_FULL) {
            cache_entry *entry = old->entries[i];
            segment_insert((entry->hash >> (32 - depth) & 1) == 0 ? low : high, entry);
        }
    }
    show(index, old, hash, low, high);
    segment_drop(index, old);
    return true;
}

static bool create_first(cache_index *index)
{
    index->directory = flx_alloc(sizeof(cache_segment *));
    if (index->directory == NULL) {
        return false;
    }
    cache_segment *segment = segment_make(index, SEGMENT_FIRST, 0);
    if (segment == NULL) {
        flx_free(index->directory);
        index->directory = NULL;
        return false;
    }
    index->directory[0] = segment;
    index->depth = 0;
    index->bytes += cache_heap_bytes(sizeof(cache_segment *));
    return true;
}

bool cache_index_reserve(cache_index *index, uint32_t hash)
{
    if (index->directory == NULL && !create_first(index)) {
        return false;
    }
    for (;;) {
        cache_segment *segment = index->directory[place_of(index, hash)];
        const uint32_t cap = segment->cap;
        if (segment->used < used_max(cap)) {
            return true;
        }
        /* All in one half after a split is as good as impossible, and then it is split again. */
        const bool is_mostly_graves = segment->count <= cap / 2U;
        const bool has_grown = is_mostly_graves ? segment_rebuild(index, segment, hash, cap)
                               : cap < CACHE_SEGMENT_SLOTS
                                   ? segment_rebuild(index, segment, hash, cap * 2)
                                   : segment_split(index, segment, hash);
        if (!has_grown) {
            return false;
        }
    }
}

/* --- the rest ----------------------------------------------------------------------------------- */

void cache_index_done(cache_index *index)
{
    if (index->directory != NULL) {
        FLX_ASSERT(index->count == 0);
        const uint32_t count = (uint32_t)1 << index->depth;
        for (uint32_t i = 0; i < count;) {
            cache_segment *segment = index->directory[i];
            i += (uint32_t)1 << (index->depth - segment->depth); /* all places that show it */
            segment_drop(index, segment);
        }
        flx_free(index->directory);
        *index = (cache_index){0};
    }
}

cache_entry *cache_index_find(const cache_index *index, uint32_t hash, flx_slice key)
{
    if (index->directory == NULL) {
        return NULL;
    }
    const cache_segment *segment = index->directory[place_of(index, hash)];
    const int slot = segment_find(segment, hash, key);
    return slot < 0 ? NULL : segment->entries[slot];
}

void cache_index_insert(cache_index *index, cache_entry *entry)
{
    segment_insert(index->directory[place_of(index, entry->hash)], entry);
    index->count++;
}

void cache_index_replace(cache_index *index, const cache_entry *old, cache_entry *entry)
{
    cache_segment *segment = index->directory[place_of(index, old->hash)];
    const int slot = segment_slot_of(segment, old);
    FLX_ASSERT(slot >= 0 && segment->entries[slot] == old);
    segment->entries[slot] = entry;
}

void cache_index_remove(cache_index *index, const cache_entry *entry)
{
    cache_segment *segment = index->directory[place_of(index, entry->hash)];
    const int slot = segment_slot_of(segment, entry);
    FLX_ASSERT(slot >= 0 && segment->entries[slot] == entry);
    segment_remove(segment, (uint32_t)slot);
    index->count--;
}

const cache_segment *cache_index_segment(const cache_index *index, uint32_t hash, uint64_t *ret_end)
{
    const cache_segment *segment = index->directory[place_of(index, hash)];
    const unsigned shift = 32U - segment->depth;
    *ret_end = (((uint64_t)hash >> shift) + 1) << shift;
    return segment;
}

cache_entry *cache_index_any(const cache_index *index, uint64_t *from)
{
    while (index->count > 0 && *from <= UINT32_MAX) {
        uint64_t end = 0;
        const cache_segment *segment = cache_index_segment(index, (uint32_t)*from, &end);
        for (uint32_t i = 0; segment->count > 0 && i < segment->cap; i++) {
            if (segment->tags[i] >= TAG_FULL) {
                return segment->entries[i];
            }
        }
        *from = end;
    }
    return NULL;
}
