/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/open_segment.h - a sealed segment that is being read: its file, and its index in memory.
 *
 * Finding a block in it takes no system call, and one read brings it; so a reader of history costs the
 * copy of its bytes and their checksum. The read cache keeps the OPEN_SEGMENTS_MAX used last, each in the list of
 * its journal too, which drops it when retention or compaction takes the file away. A fetch on its way
 * holds it meanwhile. Of this room only.
 *
 * Threads: made on any; everything else on the worker's, but for reading `file` and `index` while held.
 */
#ifndef FLX_STORAGE_OPEN_SEGMENT_H
#define FLX_STORAGE_OPEN_SEGMENT_H

#include "common/list.h"
#include "storage/journal.h"
#include "storage/segment.h"

typedef struct flx_open_segment {
    flx_list in_journal; /* linked while the cache keeps it */
    flx_list in_cache;   /* newest use first */
    flx_read_cache *cache;
    flx_file *file;
    flx_segment_index index;
    uint64_t base;
    uint32_t holds; /* it goes when the last is given back and nobody keeps it */
} flx_open_segment;

/* Opens it and reads its index. Blocking. The caller holds it. FLX_ERR_NOT_FOUND, FLX_ERR_CORRUPT,
 * FLX_ERR_IO, FLX_ERR_NOMEM. */
flx_status flx_open_segment_new(flx_disk *disk, const char *path, uint64_t base,
                                flx_open_segment **ret_open, flx_error *reterr);
/* Keeps it for the next reads, in place of the one unused longest; `kept` is the list of its journal. */
void flx_open_segment_keep(flx_open_segment *open, flx_read_cache *cache, flx_list *kept);
/* The one of `base` among `kept`, which counts as used now; NULL: none. It is not held. */
flx_open_segment *flx_open_segment_of(flx_list *kept, uint64_t base);
/* Nobody keeps it any more: it goes, unless it is held. */
void flx_open_segment_drop(flx_open_segment *open);
void flx_open_segment_hold(flx_open_segment *open);
/* NULL is fine. Always returns NULL. */
flx_open_segment *flx_open_segment_release(flx_open_segment *open);

#endif /* FLX_STORAGE_OPEN_SEGMENT_H */
