/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/change_batch.h - changes of a cache as a watch hears them in binary: frames with
 * FLX_FLAG_CHANGE_BATCH on its event stream. docs/spec/extensions.md 3.
 *
 *      offset 0      1         9         13
 *     +-------------+---------+---------+--------+--------+---
 *     | u8 kind     | u64 end | u32     | record | record | ...
 *     | of batch    |         | records |        |        |
 *     +-------------+---------+---------+--------+--------+---
 *
 *     record:  u8 kind | varint distance | varint key length | key
 *              0x81: u64 expires_at_ms   | 0x01, 0x81: varint value length | value
 *
 * The offset of a record is `end` minus its distance. So one head serves what changed, whose
 * distances are small, and what was there before the watch began, whose offsets are in no order;
 * and a batch says how far its watch has come even where nothing in it is that new. Nothing of a
 * record depends on who reads it: a batch is written once for all watches of a filter.
 *
 * Pure; any thread.
 */
#ifndef FLX_WIRE_CHANGE_BATCH_H
#define FLX_WIRE_CHANGE_BATCH_H

#include "wire/change.h"

#include <stdbool.h>

#define FLX_CHANGE_BATCH_HEAD_BYTES 13

typedef enum flx_change_batch_kind {
    FLX_CHANGE_BATCH_CHANGES = 0, /* in order; all below `end` was told with this one */
    FLX_CHANGE_BATCH_SNAPSHOT = 1 /* puts of what was there; changes begin at `end` */
} flx_change_batch_kind;

typedef struct flx_change_batch {
    uint8_t kind; /* flx_change_batch_kind */
    uint64_t end;
    uint32_t count;
    flx_slice records;
} flx_change_batch;

/* Of a change, put or delete, at `offset`, below `end`. */
size_t flx_change_batch_record_bytes(uint64_t end, uint64_t offset, const flx_change *change);
/* Writes that many bytes at `to` and returns the byte after them. */
uint8_t *flx_change_batch_record_put(uint8_t *to, uint64_t end, uint64_t offset,
                                     const flx_change *change);
/* Writes FLX_CHANGE_BATCH_HEAD_BYTES and returns the byte after them. */
uint8_t *flx_change_batch_head_put(uint8_t *to, flx_change_batch_kind kind, uint64_t end,
                                   uint32_t count);

/*
 * Borrows from `payload`, all of which is checked: a batch is taken whole or not at all.
 * FLX_ERR_PROTOCOL: an unknown kind, lengths or a count that do not add up, a varint that is not the
 * shortest, a key that is not UTF-8, an offset outside [0, end), changes out of order, a snapshot
 * with a delete.
 */
flx_status flx_change_batch_decode(flx_slice payload, flx_change_batch *ret_batch,
                                   flx_error *reterr);

/* Takes the next record off the front of a decoded batch; false at its end. */
bool flx_change_batch_next(flx_change_batch *batch, uint64_t *ret_offset, flx_change *ret_change);

#endif /* FLX_WIRE_CHANGE_BATCH_H */
