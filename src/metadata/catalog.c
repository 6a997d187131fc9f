/* SPDX-License-Identifier: Apache-2.0 */
/* metadata/catalog.c - reading a snapshot. Nothing here writes to one but the reference count. */
#include "metadata/catalog.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "metadata/catalog_int.h"

#include <string.h>
#include <xxhash.h>

flx_catalog *flx_catalog_ref(const flx_catalog *catalog)
{
    /* The count is the one thing about a snapshot that changes; readers hold it const. */
    flx_catalog *counted = (flx_catalog *)(uintptr_t)catalog;
    atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
    return counted;
}

flx_catalog *flx_catalog_unref(flx_catalog *catalog)
{
    if (catalog == NULL) {
        return NULL;
    }
    /* Release orders this holder's reads before the free; acquire orders the free after all. */
    const uint32_t before = atomic_fetch_sub_explicit(&catalog->refs, 1, memory_order_acq_rel);
    FLX_ASSERT(before > 0);
    if (before == 1) {
        flx_free(catalog->streams);
        flx_free(catalog->caches);
        flx_free(catalog->places);
        flx_free(catalog->stream_index.slots);
        flx_free(catalog->cache_index.slots);
        flx_free(catalog->place_index.slots);
        flx_free(catalog);
    }
    return NULL;
}

uint64_t flx_catalog_version(const flx_catalog *catalog)
{
    return catalog->version;
}

/* A zero between the parts keeps "ab","c" apart from "a","bc": no name holds one. */
uint64_t flx_path_hash(const flx_slice part[3])
{
    uint8_t joined[3 * (FLX_NAME_MAX + 1)];
    size_t len = 0;
    for (size_t i = 0; i < 3; i++) {
        FLX_ASSERT(part[i].len <= FLX_NAME_MAX);
        if (part[i].len > 0) {
            memcpy(joined + len, part[i].ptr, part[i].len);
        }
        len += part[i].len;
        joined[len++] = 0;
    }
    return XXH3_64bits(joined, len);
}

static bool part_equal(const char *name, flx_slice part)
{
    return (part.len == 0 || memcmp(name, part.ptr, part.len) == 0) && name[part.len] == '\0';
}

/*
 * The element of `array` (elements of `size` bytes that begin a path at `offset`, its parts
 * FLX_NAME_MAX + 1 bytes apart) with that path, or NULL.
 */
static const void *find(const flx_name_index *index, const void *array, size_t size, size_t offset,
                        size_t parts, const flx_slice part[3])
{
    for (size_t i = 0; i < 3; i++) {
        if (part[i].len > FLX_NAME_MAX) {
            return NULL;
        }
    }
    uint32_t slot = (uint32_t)flx_path_hash(part) & index->mask;
    /* Ends: the index is at most half full, so an empty slot always comes. */
    while (index->slots[slot] != 0) {
        const char *element = (const char *)array + (index->slots[slot] - 1) * size;
        size_t i = 0;
        while (i < parts && part_equal(element + offset + i * (FLX_NAME_MAX + 1), part[i])) {
            i++;
        }
        if (i == parts) {
            return element;
        }
        slot = (slot + 1) & index->mask;
    }
    return NULL;
}

/* find() walks the names as one run of equal fields. */
static_assert(offsetof(flx_stream_info, namespace_) ==
                      offsetof(flx_stream_info, tenant) + FLX_NAME_MAX + 1 &&
                  offsetof(flx_stream_info, name) ==
                      offsetof(flx_stream_info, namespace_) + FLX_NAME_MAX + 1,
              "names of a stream are adjacent");
static_assert(offsetof(flx_cache_info, namespace_) ==
                      offsetof(flx_cache_info, tenant) + FLX_NAME_MAX + 1 &&
                  offsetof(flx_cache_info, name) ==
                      offsetof(flx_cache_info, namespace_) + FLX_NAME_MAX + 1,
              "names of a cache are adjacent");
static_assert(offsetof(flx_place, namespace_) == FLX_NAME_MAX + 1, "names of a place are adjacent");

const flx_stream_info *flx_catalog_stream(const flx_catalog *catalog, flx_slice tenant,
                                          flx_slice namespace_, flx_slice name)
{
    const flx_slice part[3] = {tenant, namespace_, name};
    return find(&catalog->stream_index, catalog->streams, sizeof *catalog->streams,
                offsetof(flx_stream_info, tenant), 3, part);
}

const flx_cache_info *flx_catalog_cache(const flx_catalog *catalog, flx_slice tenant,
                                        flx_slice namespace_, flx_slice name)
{
    const flx_slice part[3] = {tenant, namespace_, name};
    return find(&catalog->cache_index, catalog->caches, sizeof *catalog->caches,
                offsetof(flx_cache_info, tenant), 3, part);
}

size_t flx_catalog_stream_count(const flx_catalog *catalog)
{
    return catalog->stream_count;
}

const flx_stream_info *flx_catalog_stream_at(const flx_catalog *catalog, size_t index)
{
    FLX_ASSERT(index < catalog->stream_count);
    return &catalog->streams[index];
}

size_t flx_catalog_cache_count(const flx_catalog *catalog)
{
    return catalog->cache_count;
}

const flx_cache_info *flx_catalog_cache_at(const flx_catalog *catalog, size_t index)
{
    FLX_ASSERT(index < catalog->cache_count);
    return &catalog->caches[index];
}

bool flx_catalog_has_namespace(const flx_catalog *catalog, flx_slice tenant, flx_slice namespace_)
{
    const flx_slice part[3] = {tenant, namespace_, {NULL, 0}};
    return find(&catalog->place_index, catalog->places, sizeof *catalog->places, 0, 2, part) !=
           NULL;
}
