/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/catalog_int.h - the inside of a snapshot, shared by catalog.c and catalog_builder.c.
 *
 * Three sorted arrays, each with an open-addressing index of positions beside it:
 *
 *     streams [ a/x/1 | a/x/2 | b/y/1 ]      index [ 0 | 2 | 0 | 1 | 3 | 0 | 0 | 0 ]
 *                                                    0 = empty, else position + 1
 */
#ifndef FLX_METADATA_CATALOG_INT_H
#define FLX_METADATA_CATALOG_INT_H

#include "metadata/catalog.h"

#include <stdatomic.h>

/* A tenant (namespace_ empty) or a namespace. */
typedef struct flx_place {
    char tenant[FLX_NAME_MAX + 1];
    char namespace_[FLX_NAME_MAX + 1];
} flx_place;

typedef struct flx_name_index {
    uint32_t *slots; /* position + 1, 0 = empty */
    uint32_t mask;   /* slots - 1; a power of two, at least twice the entries */
} flx_name_index;

struct flx_catalog {
    _Atomic uint32_t refs;
    uint64_t version;
    flx_stream_info *streams;
    flx_cache_info *caches;
    flx_place *places;
    size_t stream_count;
    size_t cache_count;
    size_t place_count;
    flx_name_index stream_index;
    flx_name_index cache_index;
    flx_name_index place_index;
};

/* The hash of a path; the parts are at most FLX_NAME_MAX bytes each. */
uint64_t flx_path_hash(const flx_slice part[3]);

#endif /* FLX_METADATA_CATALOG_INT_H */
