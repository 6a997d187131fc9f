/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/map.h - hash map from bytes to items that carry their own key.
 *
 * Open addressing, robin hood, with the hash beside the pointer: a lookup touches the item once,
 * when all 64 bits of the hash agree. Removing shifts back, so there are no tombstones. Grows by
 * doubling at 7/8 in one go: for tables of names and ids. (The cache, with millions of entries, has
 * an index of its own that grows a piece at a time.)
 *
 * Items belong to the caller and stay where they are; the key an item shows must not change while
 * it is in. The order of iteration is random a process. No locks: a map belongs to one thread.
 */
#ifndef FLX_COMMON_MAP_H
#define FLX_COMMON_MAP_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct flx_map_slot {
    uint64_t hash;
    void *item; /* NULL: free */
} flx_map_slot;

typedef struct flx_map {
    flx_slice (*key_of)(const void *item);
    flx_map_slot *slots; /* NULL until the first put */
    size_t cap;          /* a power of two, or 0 */
    size_t count;
} flx_map;

/* `key_of` borrows the key out of an item. Nothing is allocated yet. */
void flx_map_init(flx_map *map, flx_slice (*key_of)(const void *item));
/* Frees the table, not the items. */
void flx_map_done(flx_map *map);

/* Room for `count` items, so that this many puts cannot fail. FLX_ERR_NOMEM. */
flx_status flx_map_reserve(flx_map *map, size_t count);

/* The item with this key, or NULL. */
void *flx_map_get(const flx_map *map, flx_slice key);

/* Puts `item` in; *ret_old (may be NULL) gets the one with the same key that it took the place of,
 * or NULL. FLX_ERR_NOMEM: the map is as before. */
flx_status flx_map_put(flx_map *map, void *item, void **ret_old);

/* Takes the item with this key out and returns it, or NULL. */
void *flx_map_remove(flx_map *map, flx_slice key);

/* The next item of an iteration that begins with *cursor = 0, NULL at the end. The map must not
 * change meanwhile; to empty it, use flx_map_pop. */
void *flx_map_next(const flx_map *map, size_t *cursor);

/* As flx_map_next, taking each item out, so that its owner may free it. NULL at the end; items that
 * wrapped around the end of the table to its front are found in their turn. */
void *flx_map_pop(flx_map *map, size_t *cursor);

#endif /* FLX_COMMON_MAP_H */
