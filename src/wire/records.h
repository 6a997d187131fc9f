/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/records.h - the record region: what a publish carries, disk and memory keep, events carry.
 *
 *     +---------+---------+---------+---------+
 *     | u32 len | payload | u32 len | payload | ...     big-endian
 *     +---------+---------+---------+---------+
 *
 * A region is checked once, where it enters; after that it is walked without doubt.
 */
#ifndef FLX_WIRE_RECORDS_H
#define FLX_WIRE_RECORDS_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_RECORD_HEAD_BYTES 4

/* FLX_OK when `region` is exactly `count` whole records; FLX_ERR_PROTOCOL otherwise. */
flx_status flx_records_check(flx_slice region, uint32_t count, flx_error *reterr);

/* Takes the next record off the front of a checked region; false at its end. */
bool flx_records_next(flx_slice *region, flx_slice *ret_payload);

/* Writes one record at `to` and returns the byte after it. The payload is at most 4 GiB - 1. */
uint8_t *flx_records_put(uint8_t *to, flx_slice payload);

/* Bytes of one record of `payload_len` bytes. */
static inline size_t flx_record_bytes(size_t payload_len)
{
    return FLX_RECORD_HEAD_BYTES + payload_len;
}

#endif /* FLX_WIRE_RECORDS_H */
