/* SPDX-License-Identifier: Apache-2.0 */
/* storage/open_segment.c - see the header. */
#include "storage/open_segment.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/read_cache.h"

#define OPEN_SEGMENTS_MAX 32u /* descriptors, and about 25 KiB of index for 256 MiB of segment */

flx_status flx_open_segment_new(flx_disk *disk, const char *path, uint64_t base,
                                flx_open_segment **ret_open, flx_error *reterr)
{
    flx_open_segment *open = flx_calloc(1, sizeof *open);
    if (open == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "open a segment");
    }
    flx_status status = disk->ops->open(disk, path, FLX_DISK_READ, &open->file, reterr);
    if (status == FLX_OK) {
        status = flx_segment_index_read(open->file, base, &open->index, reterr);
    }
    open->base = base;
    open->holds = 1;
    if (status != FLX_OK) {
        (void)flx_open_segment_release(open);
        return status;
    }
    *ret_open = open;
    return FLX_OK;
}

void flx_open_segment_keep(flx_open_segment *open, flx_read_cache *cache, flx_list *kept)
{
    FLX_ASSERT(open->cache == NULL && open->holds > 0);
    open->cache = cache;
    flx_list_push_front(kept, &open->in_journal);
    flx_list_push_front(&cache->segments, &open->in_cache);
    cache->segment_count++;
    if (cache->segment_count > OPEN_SEGMENTS_MAX) {
        flx_list *oldest = flx_list_last(&cache->segments);
        flx_open_segment_drop(FLX_LIST_OWNER(oldest, flx_open_segment, in_cache));
    }
}

flx_open_segment *flx_open_segment_of(flx_list *kept, uint64_t base)
{
    FLX_LIST_EACH(node, kept)
    {
        flx_open_segment *open = FLX_LIST_OWNER(node, flx_open_segment, in_journal);
        if (open->base == base) {
            flx_list_remove(&open->in_cache);
            flx_list_push_front(&open->cache->segments, &open->in_cache);
            return open;
        }
    }
    return NULL;
}

static void open_free(flx_open_segment *open)
{
    flx_segment_index_done(&open->index);
    (void)flx_disk_close(open->file);
    flx_free(open);
}

void flx_open_segment_drop(flx_open_segment *open)
{
    FLX_ASSERT(open->cache != NULL && open->cache->segment_count > 0);
    open->cache->segment_count--;
    open->cache = NULL;
    flx_list_remove(&open->in_cache);
    flx_list_remove(&open->in_journal);
    if (open->holds == 0) {
        open_free(open);
    }
}

void flx_open_segment_hold(flx_open_segment *open)
{
    open->holds++;
}

flx_open_segment *flx_open_segment_release(flx_open_segment *open)
{
    if (open != NULL) {
        FLX_ASSERT(open->holds > 0);
        open->holds--;
        if (open->holds == 0 && open->cache == NULL) {
            open_free(open);
        }
    }
    return NULL;
}
