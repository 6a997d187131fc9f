/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/map.c - robin hood hashing: whoever is further from home keeps the slot.
 *
 * Probe distances stay short and even that way (about 2 on average at 7/8 full), a search for what
 * is not there ends as soon as it meets an item closer to its home than the search is to its own,
 * and removal pulls the followers one slot back until one of them is at home.
 */
#include "common/map.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/hash.h"
#include "common/slice.h"

#include <string.h>

#define MAP_CAP_FIRST 8
#define MAP_CAP_MAX   ((size_t)1 << 40)

/* How far slot `index` is from where the item with this hash wants to be. */
static size_t distance(const flx_map *map, uint64_t hash, size_t index)
{
    return (index - (size_t)hash) & (map->cap - 1);
}

static bool is_same_key(const flx_map *map, const void *item, flx_slice key)
{
    return flx_slice_equal(map->key_of(item), key);
}

/* The slot of a key; map->cap when it is not in. */
static size_t find(const flx_map *map, uint64_t hash, flx_slice key)
{
    if (map->cap == 0) {
        return map->cap;
    }
    size_t index = (size_t)hash & (map->cap - 1);
    for (size_t far = 0;; far++, index = (index + 1) & (map->cap - 1)) {
        const flx_map_slot *slot = &map->slots[index];
        if (slot->item == NULL || distance(map, slot->hash, index) < far) {
            return map->cap;
        }
        if (slot->hash == hash && is_same_key(map, slot->item, key)) {
            return index;
        }
    }
}

/* Puts a slot in that is not there yet; there is room. */
static void place(flx_map *map, flx_map_slot incoming)
{
    size_t index = (size_t)incoming.hash & (map->cap - 1);
    for (size_t far = 0; map->slots[index].item != NULL;
         far++, index = (index + 1) & (map->cap - 1)) {
        const size_t other_far = distance(map, map->slots[index].hash, index);
        if (other_far < far) {
            const flx_map_slot displaced = map->slots[index];
            map->slots[index] = incoming;
            incoming = displaced;
            far = other_far;
        }
    }
    map->slots[index] = incoming;
}

static flx_status resize(flx_map *map, size_t cap)
{
    flx_map_slot *slots = cap > MAP_CAP_MAX ? NULL : flx_calloc(cap, sizeof *slots);
    if (slots == NULL) {
        return FLX_ERR_NOMEM;
    }
    const flx_map old = *map;
    map->slots = slots;
    map->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].item != NULL) {
            place(map, old.slots[i]);
        }
    }
    flx_free(old.slots);
    return FLX_OK;
}

static size_t count_max(size_t cap)
{
    return cap - cap / 8;
}

void flx_map_init(flx_map *map, flx_slice (*key_of)(const void *item))
{
    *map = (flx_map){.key_of = key_of};
}

void flx_map_done(flx_map *map)
{
    flx_free(map->slots);
    map->slots = NULL;
    map->cap = 0;
    map->count = 0;
}

flx_status flx_map_reserve(flx_map *map, size_t count)
{
    size_t cap = map->cap == 0 ? MAP_CAP_FIRST : map->cap;
    while (count_max(cap) < count && cap <= MAP_CAP_MAX) {
        cap *= 2;
    }
    return cap == map->cap ? FLX_OK : resize(map, cap);
}

void *flx_map_get(const flx_map *map, flx_slice key)
{
    if (map->count == 0) {
        return NULL;
    }
    const size_t index = find(map, flx_hash(key), key);
    return index == map->cap ? NULL : map->slots[index].item;
}

flx_status flx_map_put(flx_map *map, void *item, void **ret_old)
{
    FLX_ASSERT(item != NULL);
    const flx_slice key = map->key_of(item);
    const uint64_t hash = flx_hash(key);
    const size_t index = find(map, hash, key);
    void *old = NULL;
    if (index < map->cap) {
        old = map->slots[index].item;
        map->slots[index].item = item;
    } else {
        const flx_status status = flx_map_reserve(map, map->count + 1);
        if (status != FLX_OK) {
            return status;
        }
        place(map, (flx_map_slot){hash, item});
        map->count++;
    }
    if (ret_old != NULL) {
        *ret_old = old;
    }
    return FLX_OK;
}

static void *remove_at(flx_map *map, size_t index)
{
    void *item = map->slots[index].item;
    for (;;) {
        const size_t next = (index + 1) & (map->cap - 1);
        if (map->slots[next].item == NULL || distance(map, map->slots[next].hash, next) == 0) {
            break;
        }
        map->slots[index] = map->slots[next];
        index = next;
    }
    map->slots[index].item = NULL;
    map->count--;
    return item;
}

void *flx_map_remove(flx_map *map, flx_slice key)
{
    if (map->count == 0) {
        return NULL;
    }
    const size_t index = find(map, flx_hash(key), key);
    return index == map->cap ? NULL : remove_at(map, index);
}

void *flx_map_next(const flx_map *map, size_t *cursor)
{
    while (*cursor < map->cap) {
        void *item = map->slots[(*cursor)++].item;
        if (item != NULL) {
            return item;
        }
    }
    return NULL;
}

void *flx_map_pop(flx_map *map, size_t *cursor)
{
    while (*cursor < map->cap) {
        if (map->slots[*cursor].item != NULL) {
            return remove_at(map, *cursor); /* a follower may shift into this slot: stay */
        }
        (*cursor)++;
    }
    return NULL;
}
