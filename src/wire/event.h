/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/event.h - binary event batches (flags 0x0004, legacy 0x0002). docs/spec/wire.md 3.3.
 *
 *     head (size known before it is written) | record region, shared by all subscribers
 *
 * Only the form with timestamps differs behind the head: there each record has its time in front,
 * so the region is rewritten once for all who asked for that. Pure; any thread.
 */
#ifndef FLX_WIRE_EVENT_H
#define FLX_WIRE_EVENT_H

#include "wire/flags.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_EVENT_HEAD_BYTES_MAX      (8 + 8 + 8 + 1 + 255 + 4)
#define FLX_EVENT_PUBLISHER_BYTES_MAX 255

typedef struct flx_event_batch {
    uint16_t flags; /* 0x0002 or 0x0004, and which of the parts below are there */
    uint32_t count;
    uint64_t subscription_id; /* with 0x0002 */
    uint64_t base_offset;     /* with 0x0020: record i has offset base_offset + i */
    uint64_t skipped_before;  /* with 0x0800: offsets right below base_offset that hold no event */
    flx_slice publisher;      /* with 0x2000 */
    flx_slice region;         /* records, each with a u64 time in front with 0x4000 */
} flx_event_batch;

/* Bytes of the payload before the region, the count included. Depends on flags and publisher.len. */
size_t flx_event_head_bytes(const flx_event_batch *batch);

/* Writes them and returns the byte after. */
uint8_t *flx_event_head_encode(const flx_event_batch *batch, uint8_t *to);

/* Writes a frame header and the head in front of a region of region.len bytes; the region itself is
 * not touched. `to` has FLX_FRAME_HEADER_BYTES + flx_event_head_bytes(). */
uint8_t *flx_event_frame_head_encode(const flx_event_batch *batch, uint8_t *to);

/* Rewrites a plain region of `count` records with one time before each; `to` has
 * region.len + 8 * count bytes. Returns the byte after. */
uint8_t *flx_event_region_stamp(flx_slice region, uint64_t timestamp_us, uint8_t *to);

/* Slices point into `payload`; the region is checked. FLX_ERR_PROTOCOL: flags that do not go
 * together, a short body, a publisher that is not UTF-8, bytes left over, offsets that wrap. */
flx_status flx_event_batch_decode(uint16_t flags, flx_slice payload, flx_event_batch *ret_batch,
                                  flx_error *reterr);

typedef struct flx_event_record {
    uint64_t offset;       /* with 0x0020, else the index in the batch */
    uint64_t timestamp_us; /* with 0x4000, else 0 */
    flx_slice payload;
} flx_event_record;

typedef struct flx_event_iter {
    flx_slice rest;
    uint64_t offset;
    bool stamped;
} flx_event_iter;

/* Walks a decoded batch. */
void flx_event_iter_init(flx_event_iter *iter, const flx_event_batch *batch);
bool flx_event_iter_next(flx_event_iter *iter, flx_event_record *ret_record);

#endif /* FLX_WIRE_EVENT_H */
