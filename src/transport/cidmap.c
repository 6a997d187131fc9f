/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connection id to connection: an open-addressing table with exact keys of 1 to 20 bytes.
 *
 * Ids of ours are random, but a client chooses the id of its first packet, so the hash is seeded.
 * Removing shifts the entries behind back, so there are no tombstones and a probe ends at the first
 * free entry. The table is at most two thirds full.
 */
#include "common/alloc.h"
#include "transport/quic_int.h"

#include <string.h>
#include <xxhash.h>

#define CAP_FIRST 64

void flx_cidmap_init(cidmap *map, uint64_t seed)
{
    *map = (cidmap){.seed = seed};
}

void flx_cidmap_done(cidmap *map)
{
    flx_free(map->entries);
    *map = (cidmap){0};
}

static uint32_t home_of(const cidmap *map, const uint8_t *bytes, size_t len)
{
    return (uint32_t)XXH3_64bits_withSeed(bytes, len, map->seed) & (map->cap - 1);
}

static bool is_id(const cidmap_entry *entry, const uint8_t *bytes, size_t len)
{
    return entry->id.len == len && memcmp(entry->id.bytes, bytes, len) == 0;
}

/* The entry of the id, or the free one where it would go. The table has a free entry. */
static uint32_t find(const cidmap *map, const uint8_t *bytes, size_t len)
{
    uint32_t i = home_of(map, bytes, len);
    while (map->entries[i].conn != NULL && !is_id(&map->entries[i], bytes, len))
        i = (i + 1) & (map->cap - 1);
    return i;
}

static bool grow(cidmap *map)
{
    cidmap wider = {
        .cap = map->cap == 0 ? CAP_FIRST : map->cap * 2, .count = map->count, .seed = map->seed};
    wider.entries = flx_calloc(wider.cap, sizeof *wider.entries);
    if (wider.entries == NULL)
        return false;
    for (uint32_t i = 0; i < map->cap; i++) {
        const cidmap_entry *entry = &map->entries[i];
        if (entry->conn != NULL)
            wider.entries[find(&wider, entry->id.bytes, entry->id.len)] = *entry;
    }
    flx_free(map->entries);
    *map = wider;
    return true;
}

bool flx_cidmap_put(cidmap *map, const uint8_t *bytes, size_t len, flx_quic_conn *conn)
{
    FLX_ASSERT(len <= NGTCP2_MAX_CIDLEN);
    FLX_ASSERT(conn != NULL);
    if ((map->count + 1) * 3 > map->cap * 2 && !grow(map))
        return false;
    cidmap_entry *entry = &map->entries[find(map, bytes, len)];
    if (entry->conn == NULL)
        map->count++;
    entry->id.len = (uint8_t)len;
    memcpy(entry->id.bytes, bytes, len);
    entry->conn = conn;
    return true;
}

flx_quic_conn *flx_cidmap_get(const cidmap *map, const uint8_t *bytes, size_t len)
{
    if (map->count == 0)
        return NULL;
    return map->entries[find(map, bytes, len)].conn;
}

/* Frees entry `hole` and moves back what probed past it. */
static void remove_at(cidmap *map, uint32_t hole)
{
    const uint32_t mask = map->cap - 1;
    uint32_t i = hole;
    for (;;) {
        i = (i + 1) & mask;
        const cidmap_entry *entry = &map->entries[i];
        if (entry->conn == NULL)
            break;
        const uint32_t home = home_of(map, entry->id.bytes, entry->id.len);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* its home lies behind the hole */
        map->entries[hole] = *entry;
        hole = i;
    }
    map->entries[hole].conn = NULL;
    map->count--;
}

void flx_cidmap_remove(cidmap *map, const uint8_t *bytes, size_t len)
{
    if (map->count == 0)
        return;
    const uint32_t i = find(map, bytes, len);
    if (map->entries[i].conn != NULL)
        remove_at(map, i);
}

void flx_cidmap_remove_conn(cidmap *map, const flx_quic_conn *conn)
{
    for (uint32_t i = 0; i < map->cap;) {
        if (map->entries[i].conn == conn)
            remove_at(map, i); /* another entry may have moved here: look again */
        else
            i++;
    }
}
