/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/format.h - the bytes of a log: batches, segments, footers, state. docs/spec/disk.md.
 *
 *     segment   | header 96 | batch | batch | ... | batch | index | trailer 96 |   sealed
 *               | header 96 | batch | batch | ... | (torn?)                        active
 *     batch     | head 92 | publisher | record region | columns |
 *
 * Integers are big-endian, as on the wire, so that a region is the same bytes in a publish, on disk
 * and in an event. Every structure carries a CRC32C; decoders check it and everything they return
 * lies inside what they were given. Pure; any thread.
 */
#ifndef FLX_STORAGE_FORMAT_H
#define FLX_STORAGE_FORMAT_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_DISK_ID_BYTES         16
#define FLX_STORED_HEAD_BYTES     92
#define FLX_STORED_CRC_FROM       8           /* the CRC covers from here to the end */
#define FLX_STORED_BYTES_MAX      (64u << 20) /* of one batch; a longer length is a broken one */
#define FLX_STORED_PUBLISHER_MAX  255
#define FLX_SEGMENT_HEADER_BYTES  96
#define FLX_SEGMENT_TRAILER_BYTES 96
#define FLX_SEGMENT_MARK_BYTES    24 /* one entry of an index */
#define FLX_LOG_STATE_HEAD_BYTES  96
#define FLX_LOG_STATE_EPOCHS_MAX  1024
#define FLX_LOG_STATE_LABEL_MAX   512
#define FLX_LOG_STATE_BYTES_MAX                                                                    \
    (FLX_LOG_STATE_HEAD_BYTES + 16 * FLX_LOG_STATE_EPOCHS_MAX + FLX_LOG_STATE_LABEL_MAX)
#define FLX_STORE_FILE_BYTES     64
#define FLX_REGISTER_ENTRY_BYTES 64

/* What the records of a batch are. All kinds take offsets; a reader of a stream passes over what is
 * not data, and tells its client with skipped_before. Kinds this version does not know are kept. */
typedef enum flx_stored_kind {
    FLX_STORED_DATA = 0,     /* events of a stream */
    FLX_STORED_EPOCH = 1,    /* a leader began (replication) */
    FLX_STORED_PRODUCER = 2, /* what an idempotent producer has sent */
    FLX_STORED_GROUP = 3,    /* claims and settlements of a queue's group */
    FLX_STORED_CACHE = 4     /* puts, deletes and expiries of a cache */
} flx_stored_kind;

typedef enum flx_compression {
    FLX_COMPRESSION_NONE = 0,
    FLX_COMPRESSION_ZSTD = 1,
    FLX_COMPRESSION_LZ4 = 2
} flx_compression;

/* Columns beside the region, in this order; each is there when its bit is set. Their content is the
 * business of who reads them. */
#define FLX_COLUMN_KEYS    0x01u /* u16 length, key; count times */
#define FLX_COLUMN_HEADERS 0x02u
#define FLX_COLUMN_TIMES   0x04u /* u64 microseconds; count times */
#define FLX_COLUMN_COUNT   3

/* One batch as it lies in a segment. Slices point into the bytes it was decoded from. */
typedef struct flx_stored {
    uint32_t tag;        /* flx_stored_tag of its log */
    uint8_t kind;        /* flx_stored_kind */
    uint8_t compression; /* flx_compression, of the region */
    uint32_t count;      /* records, at least 1; record i has offset base_offset + i */
    uint64_t base_offset;
    uint64_t skipped_before; /* offsets right below base_offset that compaction took away */
    uint64_t time_us;        /* of the append; never less than that of the batch before */
    uint64_t epoch;          /* of the leader that appended it, at least 1 */
    uint64_t synced_below;   /* records below this offset were synced when it was appended */
    uint64_t producer_id;    /* 0: no idempotent producer */
    uint64_t sequence;
    uint32_t producer_epoch;
    flx_slice publisher; /* at most FLX_STORED_PUBLISHER_MAX bytes */
    flx_slice region;
    flx_slice columns[FLX_COLUMN_COUNT]; /* ptr NULL: not there */
} flx_stored;

static inline uint64_t flx_stored_end(const flx_stored *stored)
{
    return stored->base_offset + stored->count;
}

/* Four bytes that begin every batch of one log behind its CRC. They are drawn from the log's random id,
 * which no client sees, so that no payload can pass for a batch when one looks beyond a break. */
uint32_t flx_stored_tag(const uint8_t log_id[FLX_DISK_ID_BYTES]);

/* Bytes of the batch, length field included. */
size_t flx_stored_bytes(const flx_stored *stored);

/*
 * Writes head and publisher, which go in front of the region: FLX_STORED_HEAD_BYTES +
 * publisher.len bytes at `to`. Region and columns are read for the CRC and not moved. Returns the
 * byte after. Columns behind the region are written by flx_stored_columns_encode.
 */
uint8_t *flx_stored_head_encode(const flx_stored *stored, uint8_t *to);
size_t flx_stored_columns_bytes(const flx_stored *stored);
uint8_t *flx_stored_columns_encode(const flx_stored *stored, uint8_t *to);

/*
 * Decodes the batch of the log with this tag at the front of `bytes`; *ret_len is its length.
 *
 * FLX_ERR_AGAIN    it goes on behind the end of `bytes`: *ret_len is what it says it needs (at most
 *                  FLX_STORED_BYTES_MAX), or the bytes of a head
 * FLX_ERR_CORRUPT  no batch: a length, tag, CRC or part that cannot be
 */
flx_status flx_stored_decode(flx_slice bytes, uint32_t tag, flx_stored *ret_stored,
                             size_t *ret_len);

/* Walks whole batches whose CRCs were checked (what a read returned). False at the end. */
bool flx_stored_next(flx_slice *bytes, flx_stored *ret_stored);

/* Where the next batch might begin at or behind `from`, by its tag alone; bytes.len: nowhere. For
 * looking beyond a break. */
size_t flx_stored_seek_tag(flx_slice bytes, uint32_t tag, size_t from);

typedef struct flx_segment_header {
    uint8_t store_id[FLX_DISK_ID_BYTES];
    uint8_t log_id[FLX_DISK_ID_BYTES];
    uint64_t base_offset;
    uint64_t epoch; /* when it was made */
    uint64_t created_us;
    bool is_compacted; /* offsets may be missing in it */
} flx_segment_header;

void flx_segment_header_encode(const flx_segment_header *header,
                               uint8_t to[FLX_SEGMENT_HEADER_BYTES]);
/* FLX_ERR_CORRUPT; FLX_ERR_UNSUPPORTED: of a later version. */
flx_status flx_segment_header_decode(flx_slice bytes, flx_segment_header *ret_header,
                                     flx_error *reterr);

/* One entry of a sparse index: the first batch of a block. */
typedef struct flx_segment_mark {
    uint64_t offset; /* base_offset of the batch */
    uint64_t time_us;
    uint64_t position; /* bytes into the segment file */
} flx_segment_mark;

void flx_segment_mark_encode(const flx_segment_mark *mark, uint8_t to[FLX_SEGMENT_MARK_BYTES]);
void flx_segment_mark_decode(const uint8_t from[FLX_SEGMENT_MARK_BYTES],
                             flx_segment_mark *ret_mark);

/* What the last FLX_SEGMENT_TRAILER_BYTES of a sealed segment say about it. */
typedef struct flx_segment_trailer {
    uint64_t base_offset;
    uint64_t end_offset; /* behind the last record it had, whether that is still there or not */
    uint64_t records;    /* that are there */
    uint64_t batches;
    uint64_t time_first_us;
    uint64_t time_last_us;
    uint64_t epoch_last;
    uint64_t data_end;   /* bytes into the file: the index begins here */
    uint32_t mark_count; /* entries of the index */
} flx_segment_trailer;

/* `index` is the encoded marks, which the CRC covers too. */
void flx_segment_trailer_encode(const flx_segment_trailer *trailer, flx_slice index,
                                uint8_t to[FLX_SEGMENT_TRAILER_BYTES]);
/* Without the CRC, which needs the index: how much of the file's end to read. FLX_ERR_CORRUPT: this
 * is no trailer of a file of `file_bytes`. */
flx_status flx_segment_trailer_peek(flx_slice last_bytes, uint64_t file_bytes,
                                    flx_segment_trailer *ret_trailer);
/* `footer` is index and trailer. FLX_ERR_CORRUPT. */
flx_status flx_segment_trailer_check(flx_slice footer);

/* The history of leaders: `epoch` began at `first_offset`. */
typedef struct flx_log_epoch {
    uint64_t epoch;
    uint64_t first_offset;
} flx_log_epoch;

/* The small file beside the segments. Replaced whole and synced before an answer depends on it. */
typedef struct flx_log_state {
    uint8_t store_id[FLX_DISK_ID_BYTES];
    uint8_t log_id[FLX_DISK_ID_BYTES];
    uint64_t promised_epoch;   /* no leader of a lower epoch is followed any more */
    uint64_t checkpoint_epoch; /* everything below checkpoint_end, written up to this epoch, was */
    uint64_t checkpoint_end;   /* synced: less than that at recovery is damage */
    uint64_t start_offset;     /* the lowest record kept; segments below are on their way out */
    uint64_t collapsed_below;  /* compaction has been at work below this offset */
    const flx_log_epoch *epochs; /* both numbers rising; decoding fills the caller's array */
    uint32_t epoch_count;        /* at least 1 */
    flx_slice label;             /* what people call the log; UTF-8 */
} flx_log_state;

size_t flx_log_state_bytes(const flx_log_state *state);
void flx_log_state_encode(const flx_log_state *state, uint8_t *to);
/* `epochs` has room for FLX_LOG_STATE_EPOCHS_MAX; it and `bytes` stay borrowed by *ret_state.
 * FLX_ERR_CORRUPT, FLX_ERR_UNSUPPORTED. */
flx_status flx_log_state_decode(flx_slice bytes, flx_log_epoch *epochs, flx_log_state *ret_state,
                                flx_error *reterr);

/* DIR/store: which disk this is. */
typedef struct flx_store_file {
    uint8_t store_id[FLX_DISK_ID_BYTES];
    uint64_t created_us;
    bool has_register; /* false: made before there was one */
} flx_store_file;

void flx_store_file_encode(const flx_store_file *file, uint8_t to[FLX_STORE_FILE_BYTES]);
flx_status flx_store_file_decode(flx_slice bytes, flx_store_file *ret_file, flx_error *reterr);

/* DIR/register/NAME.log: this log was made here. */
typedef struct flx_register_entry {
    uint8_t store_id[FLX_DISK_ID_BYTES];
    uint8_t log_id[FLX_DISK_ID_BYTES];
    uint64_t created_us;
} flx_register_entry;

void flx_register_entry_encode(const flx_register_entry *entry,
                               uint8_t to[FLX_REGISTER_ENTRY_BYTES]);
flx_status flx_register_entry_decode(flx_slice bytes, flx_register_entry *ret_entry,
                                     flx_error *reterr);

#endif /* FLX_STORAGE_FORMAT_H */
