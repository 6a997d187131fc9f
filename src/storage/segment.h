/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/segment.h - one file of a log: made, sealed, scanned, looked up. Blocking.
 *
 * What is known about the batches of a segment is its tally: it grows with every batch, whether the
 * journal has just written it or a scan reads it back, and becomes the footer when the segment is
 * sealed. So what append says and what recovery finds come from the same lines.
 *
 * Threads: any, one at a time a segment, except reading.
 */
#ifndef FLX_STORAGE_SEGMENT_H
#define FLX_STORAGE_SEGMENT_H

#include "storage/disk.h"
#include "storage/format.h"

typedef struct flx_segment_tally {
    uint64_t base;     /* offset the segment begins with */
    uint64_t end;      /* behind the last record */
    uint64_t position; /* bytes into the file, behind the last batch */
    uint64_t records;
    uint64_t batches;
    uint64_t time_first_us;
    uint64_t time_last_us;
    uint64_t epoch_last;
    uint64_t synced_below; /* the highest any batch proves */
    flx_segment_mark *marks;
    uint32_t mark_count;
    uint32_t mark_cap;
} flx_segment_tally;

void flx_segment_tally_init(flx_segment_tally *tally, uint64_t base);
void flx_segment_tally_done(flx_segment_tally *tally);
/* Room for the marks of `bytes` more, so that adding cannot fail. FLX_ERR_NOMEM. */
flx_status flx_segment_tally_reserve(flx_segment_tally *tally, uint64_t batches, uint64_t bytes,
                                     uint32_t block_bytes);
/* The next batch, `bytes` long, lies behind what was there. Room was reserved. */
void flx_segment_tally_add(flx_segment_tally *tally, const flx_stored *stored, uint64_t bytes,
                           uint32_t block_bytes);
/* The block that holds `offset`: where it begins, and where the next does (the end: position). */
void flx_segment_tally_block(const flx_segment_tally *tally, uint64_t offset, uint64_t *ret_from,
                             uint64_t *ret_to);

/* "DIRECTORY/00000000000000000042.seg". */
void flx_segment_path(const char *directory, uint64_t base, char path[FLX_DISK_PATH_MAX]);
/* Whether a file name is one of a segment, and of which. */
bool flx_segment_name_parse(const char *name, uint64_t *ret_base);

/*
 * Makes an empty segment: under another name, synced, renamed, directory synced. So a name that ends
 * in .seg always has a whole header behind it. What was there under the name is replaced.
 */
flx_status flx_segment_create(flx_disk *disk, const char *directory,
                              const flx_segment_header *header, flx_file **ret_file,
                              flx_error *reterr);

/* Reads and checks the header, against the name and the ids (`log_id` NULL: any log's).
 * FLX_ERR_CORRUPT, FLX_ERR_UNSUPPORTED, FLX_ERR_NOT_FOUND, FLX_ERR_IO. */
flx_status flx_segment_open(flx_disk *disk, const char *directory, uint64_t base,
                            const uint8_t *store_id, const uint8_t *log_id, flx_disk_open_how how,
                            flx_file **ret_file, flx_segment_header *ret_header, flx_error *reterr);

/* Cuts what is behind the data, syncs that, then writes index and trailer there and syncs again. */
flx_status flx_segment_seal(flx_file *file, const flx_segment_tally *tally, flx_error *reterr);
/* Reads and checks them. FLX_ERR_CORRUPT: it is not sealed, or its footer is damaged. */
flx_status flx_segment_footer_read(flx_file *file, uint64_t base, flx_segment_trailer *ret_trailer,
                                   uint64_t *ret_file_bytes, flx_error *reterr);

/* The footer of a sealed segment in memory. */
typedef struct flx_segment_index {
    flx_segment_trailer trailer;
    uint8_t *marks; /* trailer.mark_count of FLX_SEGMENT_MARK_BYTES; owned */
} flx_segment_index;

/* Reads and checks it, as above. The caller ends it with flx_segment_index_done. */
flx_status flx_segment_index_read(flx_file *file, uint64_t base, flx_segment_index *ret_index,
                                  flx_error *reterr);
void flx_segment_index_done(flx_segment_index *index);

typedef enum flx_segment_by { FLX_SEGMENT_BY_OFFSET, FLX_SEGMENT_BY_TIME } flx_segment_by;

/* The last block that begins at or before `key` (by offset) or before it (by time), else the first;
 * *ret_next is the offset the block behind it begins with, or the segment's end. FLX_ERR_CORRUPT: it
 * points outside the data. What lies there is still checked by who reads it. */
flx_status flx_segment_index_find(const flx_segment_index *index, flx_segment_by by, uint64_t key,
                                  uint64_t *ret_from, uint64_t *ret_to, uint64_t *ret_next);

typedef struct flx_segment_scan {
    flx_file *file;
    uint64_t file_bytes;
    uint32_t block_bytes;
    uint32_t tag;      /* of the log's batches */
    bool is_compacted; /* offsets may be missing */
    bool joins;        /* begins in the middle: the first batch is the next, whatever its offset */
    /* Called for each batch, may be NULL. An answer other than FLX_OK ends the scan. */
    flx_status (*each)(void *arg, const flx_stored *stored, uint64_t position);
    void *arg;
} flx_segment_scan;

/*
 * Reads batches from tally->position on until the file ends or something else than the next batch
 * comes; the tally has what was whole. Where it stopped is tally->position: the file's end, or a
 * break. FLX_ERR_IO, FLX_ERR_NOMEM, what `each` answers; a break is FLX_OK.
 */
flx_status flx_segment_scan_run(const flx_segment_scan *scan, flx_segment_tally *tally,
                                flx_error *reterr);

/* Looks beyond a break for whole batches that come after it: *ret_synced_below is the highest offset
 * they prove to have been synced, 0 when there are none. */
flx_status flx_segment_look_beyond(const flx_segment_scan *scan, const flx_segment_tally *tally,
                                   uint64_t *ret_synced_below, flx_error *reterr);

/* Behind the whole batches: where the zeros begin that reach to the end of the file. At the batches' end:
 * nothing is torn, what is there is room for more (docs/spec/disk.md 2). */
flx_status flx_segment_blank_from(const flx_segment_scan *scan, const flx_segment_tally *tally,
                                  uint64_t *ret_position, flx_error *reterr);

#endif /* FLX_STORAGE_SEGMENT_H */
