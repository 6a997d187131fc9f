/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/catalog_builder.c - three growing arrays, sorted and indexed at the end.
 *
 * Places may be named many times (every stream names its own) and are made unique when the
 * snapshot is finished; streams and caches must be unique already, by name and by id.
 */
#include "metadata/catalog_builder.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/slice.h"
#include "metadata/catalog_int.h"
#include "metadata/rules.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX ((size_t)1 << 24) /* of one kind; keeps every position in 32 bits */

typedef struct item_pile {
    void *items;
    size_t size; /* of one item */
    size_t count;
    size_t cap;
} item_pile;

struct flx_catalog_builder {
    item_pile streams;
    item_pile caches;
    item_pile places;
    uint32_t stream_id_max;
    uint32_t cache_id_max;
};

flx_catalog_builder *flx_catalog_builder_new(void)
{
    flx_catalog_builder *builder = flx_calloc(1, sizeof *builder);
    if (builder != NULL) {
        builder->streams.size = sizeof(flx_stream_info);
        builder->caches.size = sizeof(flx_cache_info);
        builder->places.size = sizeof(flx_place);
    }
    return builder;
}

flx_catalog_builder *flx_catalog_builder_free(flx_catalog_builder *builder)
{
    if (builder != NULL) {
        flx_free(builder->streams.items);
        flx_free(builder->caches.items);
        flx_free(builder->places.items);
        flx_free(builder);
    }
    return NULL;
}

/* Room for one more item at the end, not counted yet; NULL when there is none. */
static void *pile_room(item_pile *pile)
{
    if (pile->count == pile->cap) {
        const size_t cap = pile->cap == 0 ? 16 : pile->cap * 2;
        void *items = cap > ENTRIES_MAX ? NULL : flx_realloc(pile->items, cap * pile->size);
        if (items == NULL) {
            return NULL;
        }
        pile->items = items;
        pile->cap = cap;
    }
    return (char *)pile->items + pile->count * pile->size;
}

static flx_status no_memory(flx_error *reterr)
{
    return flx_fail(reterr, FLX_ERR_NOMEM, "catalog: out of memory");
}

static flx_status add_place(flx_catalog_builder *builder, flx_slice tenant, flx_slice namespace_,
                            flx_error *reterr)
{
    flx_place *place = pile_room(&builder->places);
    if (place == NULL) {
        return no_memory(reterr);
    }
    memset(place, 0, sizeof *place);
    memcpy(place->tenant, tenant.ptr, tenant.len);
    if (namespace_.len > 0) {
        memcpy(place->namespace_, namespace_.ptr, namespace_.len);
    }
    builder->places.count++;
    return FLX_OK;
}

flx_status flx_catalog_builder_namespace(flx_catalog_builder *builder, flx_slice tenant,
                                         flx_slice namespace_, flx_error *reterr)
{
    flx_status status = flx_name_check("tenant_id", tenant, reterr);
    if (status == FLX_OK && namespace_.len > 0) {
        status = flx_name_check("namespace", namespace_, reterr);
    }
    if (status == FLX_OK) {
        status = add_place(builder, tenant, (flx_slice){NULL, 0}, reterr);
    }
    if (status == FLX_OK && namespace_.len > 0) {
        status = add_place(builder, tenant, namespace_, reterr);
    }
    return status;
}

/* Takes the id as given, or the next one. */
static uint32_t settle_id(uint32_t id, uint32_t *id_max)
{
    if (id == 0) {
        id = *id_max + 1;
    }
    if (id > *id_max) {
        *id_max = id;
    }
    return id;
}

flx_status flx_catalog_builder_stream(flx_catalog_builder *builder, const flx_stream_info *info,
                                      flx_error *reterr)
{
    flx_status status = flx_stream_info_check(info, NULL, reterr);
    if (status == FLX_OK) {
        status = flx_catalog_builder_namespace(builder, flx_slice_of(info->tenant),
                                               flx_slice_of(info->namespace_), reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    flx_stream_info *stream = pile_room(&builder->streams);
    if (stream == NULL) {
        return no_memory(reterr);
    }
    *stream = *info;
    stream->id = settle_id(info->id, &builder->stream_id_max);
    builder->streams.count++;
    return FLX_OK;
}

flx_status flx_catalog_builder_cache(flx_catalog_builder *builder, const flx_cache_info *info,
                                     flx_error *reterr)
{
    flx_status status = flx_cache_info_check(info, NULL, reterr);
    if (status == FLX_OK) {
        status = flx_catalog_builder_namespace(builder, flx_slice_of(info->tenant),
                                               flx_slice_of(info->namespace_), reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    flx_cache_info *cache = pile_room(&builder->caches);
    if (cache == NULL) {
        return no_memory(reterr);
    }
    *cache = *info;
    cache->id = settle_id(info->id, &builder->cache_id_max);
    builder->caches.count++;
    return FLX_OK;
}

static int compare_paths(const char *a, const char *b, size_t parts)
{
    int order = 0;
    for (size_t i = 0; order == 0 && i < parts; i++) {
        order = strcmp(a + i * (FLX_NAME_MAX + 1), b + i * (FLX_NAME_MAX + 1));
    }
    return order;
}

static int compare_streams(const void *a, const void *b)
{
    return compare_paths(((const flx_stream_info *)a)->tenant, ((const flx_stream_info *)b)->tenant,
                         3);
}

static int compare_caches(const void *a, const void *b)
{
    return compare_paths(((const flx_cache_info *)a)->tenant, ((const flx_cache_info *)b)->tenant,
                         3);
}

static int compare_places(const void *a, const void *b)
{
    return compare_paths(((const flx_place *)a)->tenant, ((const flx_place *)b)->tenant, 2);
}

static int compare_ids(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a;
    const uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void pile_sort(item_pile *pile, int (*compare)(const void *, const void *))
{
    if (pile->count > 1) {
        qsort(pile->items, pile->count, pile->size, compare);
    }
}

static void drop_repeated_places(item_pile *places)
{
    flx_place *items = places->items;
    size_t kept = 0;
    for (size_t i = 0; i < places->count; i++) {
        if (kept == 0 || compare_places(&items[kept - 1], &items[i]) != 0) {
            items[kept++] = items[i];
        }
    }
    places->count = kept;
}

/* `id` is the first field of both infos. */
static_assert(offsetof(flx_stream_info, id) == 0 && offsetof(flx_cache_info, id) == 0,
              "an info begins with its id");

/* Sorted by name, equal names are neighbours; ids are sorted apart, to find equal ones. */
static flx_status check_unique(const item_pile *pile, size_t path_offset, const char *what,
                               flx_error *reterr)
{
    uint32_t *ids = flx_calloc(pile->count, sizeof *ids);
    if (ids == NULL) {
        return no_memory(reterr);
    }
    flx_status status = FLX_OK;
    for (size_t i = 0; i < pile->count; i++) {
        const char *item = (const char *)pile->items + i * pile->size;
        memcpy(&ids[i], item, sizeof ids[i]);
        if (i > 0 && compare_paths(item - pile->size + path_offset, item + path_offset, 3) == 0) {
            status = flx_fail(reterr, FLX_ERR_CONFLICT, "catalog: %s '%s' is there twice", what,
                              item + path_offset + (size_t)2 * (FLX_NAME_MAX + 1));
        }
    }
    if (pile->count > 1) {
        qsort(ids, pile->count, sizeof *ids, compare_ids);
    }
    for (size_t i = 1; status == FLX_OK && i < pile->count; i++) {
        if (ids[i] == ids[i - 1]) {
            status = flx_fail(reterr, FLX_ERR_CONFLICT, "catalog: %s id %u is there twice", what,
                              ids[i]);
        }
    }
    flx_free(ids);
    return status;
}

/* Fills an index for the items of a pile; `parts` names of the path at `path_offset` count. */
static flx_status build_index(const item_pile *pile, size_t path_offset, size_t parts,
                              flx_name_index *index, flx_error *reterr)
{
    uint32_t slots = 2;
    while (slots < pile->count * 2) {
        slots *= 2;
    }
    index->slots = flx_calloc(slots, sizeof *index->slots);
    if (index->slots == NULL) {
        return no_memory(reterr);
    }
    index->mask = slots - 1;
    for (size_t i = 0; i < pile->count; i++) {
        const char *path = (const char *)pile->items + i * pile->size + path_offset;
        flx_slice part[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
        for (size_t p = 0; p < parts; p++) {
            part[p] = flx_slice_of(path + p * (FLX_NAME_MAX + 1));
        }
        uint32_t slot = (uint32_t)flx_path_hash(part) & index->mask;
        while (index->slots[slot] != 0) {
            slot = (slot + 1) & index->mask;
        }
        index->slots[slot] = (uint32_t)i + 1;
    }
    return FLX_OK;
}

static flx_status index_all(flx_catalog_builder *builder, flx_catalog *catalog, flx_error *reterr)
{
    flx_status status = build_index(&builder->streams, offsetof(flx_stream_info, tenant), 3,
                                    &catalog->stream_index, reterr);
    if (status == FLX_OK) {
        status = build_index(&builder->caches, offsetof(flx_cache_info, tenant), 3,
                             &catalog->cache_index, reterr);
    }
    return status == FLX_OK ? build_index(&builder->places, 0, 2, &catalog->place_index, reterr)
                            : status;
}

/* Gives the items away and leaves the pile empty. */
static void *pile_take(item_pile *pile, size_t *ret_count)
{
    void *items = pile->items;
    *ret_count = pile->count;
    pile->items = NULL;
    pile->count = 0;
    pile->cap = 0;
    return items;
}

flx_status flx_catalog_builder_finish(flx_catalog_builder *builder, uint64_t version,
                                      flx_catalog **ret_catalog, flx_error *reterr)
{
    pile_sort(&builder->streams, compare_streams);
    pile_sort(&builder->caches, compare_caches);
    pile_sort(&builder->places, compare_places);
    drop_repeated_places(&builder->places);
    flx_status status =
        check_unique(&builder->streams, offsetof(flx_stream_info, tenant), "stream", reterr);
    if (status == FLX_OK) {
        status = check_unique(&builder->caches, offsetof(flx_cache_info, tenant), "cache", reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    flx_catalog *catalog = flx_calloc(1, sizeof *catalog);
    if (catalog == NULL) {
        return no_memory(reterr);
    }
    atomic_init(&catalog->refs, 1);
    catalog->version = version;
    status = index_all(builder, catalog, reterr);
    if (status != FLX_OK) {
        (void)flx_catalog_unref(catalog);
        return status;
    }
    catalog->streams = pile_take(&builder->streams, &catalog->stream_count);
    catalog->caches = pile_take(&builder->caches, &catalog->cache_count);
    catalog->places = pile_take(&builder->places, &catalog->place_count);
    builder->stream_id_max = 0;
    builder->cache_id_max = 0;
    *ret_catalog = catalog;
    return FLX_OK;
}
