/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/read_cache.h - blocks of segments in memory, shared by who reads them. Of this room only.
 *
 * A block is whole batches of one segment, checked, and the range of offsets it answers for. It is in
 * the list of its journal and in the cache's order of use. The worker's thread.
 */
#ifndef FLX_STORAGE_READ_CACHE_H
#define FLX_STORAGE_READ_CACHE_H

#include "common/chunk.h"
#include "common/list.h"
#include "storage/journal.h"

typedef struct flx_block {
    flx_list in_journal;
    flx_list in_cache;     /* newest use first */
    flx_read_cache *cache; /* NULL: kept by nobody */
    flx_chunk *chunk;
    uint64_t first; /* offsets [first, next) are answered from it */
    uint64_t next;
    uint64_t segment;  /* base offset of its file */
    uint64_t position; /* of the first byte in the file */
} flx_block;

/* Takes the chunk. NULL: no memory, the chunk is the caller's. */
flx_block *flx_block_new(flx_chunk *chunk);
/* Out of its lists, and freed. Always returns NULL. */
flx_block *flx_block_free(flx_block *block);
/* Puts a block into the cache, in place of the ones unused longest. */
void flx_read_cache_put(flx_read_cache *cache, flx_block *block);
/* It was used now. */
void flx_read_cache_touch(flx_block *block);

struct flx_read_cache {
    flx_list blocks;
    flx_list segments; /* open ones (open_segment.h), newest use first */
    uint32_t segment_count;
    uint64_t bytes_max;
    uint64_t now_left; /* bytes the worker may still copy itself in this turn */
    flx_read_cache_stats stats;
};

#endif /* FLX_STORAGE_READ_CACHE_H */
