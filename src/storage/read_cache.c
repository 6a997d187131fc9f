/* SPDX-License-Identifier: Apache-2.0 */
/* storage/read_cache.c - blocks in order of use, up to a number of bytes. */
#include "storage/read_cache.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

flx_status flx_read_cache_new(uint64_t bytes_max, flx_read_cache **ret_cache)
{
    flx_read_cache *cache = flx_calloc(1, sizeof *cache);
    if (cache == NULL) {
        return FLX_ERR_NOMEM;
    }
    flx_list_init(&cache->blocks);
    flx_list_init(&cache->segments);
    cache->bytes_max = bytes_max;
    *ret_cache = cache;
    return FLX_OK;
}

flx_read_cache *flx_read_cache_free(flx_read_cache *cache)
{
    if (cache != NULL) {
        FLX_ASSERT(flx_list_is_empty(&cache->blocks)); /* its journals dropped theirs */
        FLX_ASSERT(flx_list_is_empty(&cache->segments));
        flx_free(cache);
    }
    return NULL;
}

void flx_read_cache_get_stats(const flx_read_cache *cache, flx_read_cache_stats *ret_stats)
{
    *ret_stats = cache->stats;
}

void flx_read_cache_begin_turn(flx_read_cache *cache, uint64_t bytes)
{
    cache->now_left = bytes;
}

static uint64_t cost(const flx_block *block)
{
    return sizeof *block + sizeof *block->chunk + block->chunk->cap;
}

flx_block *flx_block_new(flx_chunk *chunk)
{
    flx_block *block = flx_calloc(1, sizeof *block);
    if (block != NULL) {
        block->chunk = chunk;
    }
    return block;
}

flx_block *flx_block_free(flx_block *block)
{
    if (block->cache != NULL) {
        block->cache->stats.bytes -= cost(block);
    }
    flx_list_remove(&block->in_cache);
    flx_list_remove(&block->in_journal);
    (void)flx_chunk_unref(block->chunk);
    flx_free(block);
    return NULL;
}

void flx_read_cache_touch(flx_block *block)
{
    if (block->cache != NULL) {
        flx_list_remove(&block->in_cache);
        flx_list_push_front(&block->cache->blocks, &block->in_cache);
    }
}

void flx_read_cache_put(flx_read_cache *cache, flx_block *block)
{
    FLX_ASSERT(block->cache == NULL);
    block->cache = cache;
    cache->stats.bytes += cost(block);
    flx_list_push_front(&cache->blocks, &block->in_cache);
    while (cache->stats.bytes > cache->bytes_max) {
        flx_list *oldest = flx_list_last(&cache->blocks);
        if (oldest == &block->in_cache) {
            break; /* one block is kept, however large: somebody is about to read it */
        }
        (void)flx_block_free(FLX_LIST_OWNER(oldest, flx_block, in_cache));
    }
}
