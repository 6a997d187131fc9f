/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/publish.h - the binary publish batch (flag 0x0001). docs/spec/wire.md 3.1.
 *
 * Decoding gives slices of the payload; the record region is checked and left where it is. Encoding
 * writes the head, to be put in front of a region that is already there. Pure; any thread.
 */
#ifndef FLX_WIRE_PUBLISH_H
#define FLX_WIRE_PUBLISH_H

#include "wire/enums.h"
#include "wire/flags.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct flx_publish {
    uint16_t flags;       /* 0x0001 and of 0x0008, 0x0040, 0x0100 those that are set */
    flx_ack_mode ack;     /* FLX_ACK_NONE without 0x0008 */
    uint64_t request_id;  /* with 0x0008 */
    uint64_t producer_id; /* with 0x0100, as is sequence */
    uint64_t sequence;
    flx_slice key; /* with 0x0040; an empty key is a key */
    flx_slice tenant_id;
    flx_slice namespace_;
    flx_slice stream;
    uint32_t count;
    flx_slice region; /* `count` records (wire/records.h) */
} flx_publish;

static inline bool flx_publish_is_acked(const flx_publish *publish)
{
    return (publish->flags & FLX_FLAG_BINARY_PUBLISH_ACKED) != 0;
}

static inline bool flx_publish_is_keyed(const flx_publish *publish)
{
    return (publish->flags & FLX_FLAG_BINARY_PUBLISH_KEYED) != 0;
}

static inline bool flx_publish_is_idempotent(const flx_publish *publish)
{
    return (publish->flags & FLX_FLAG_BINARY_PUBLISH_IDEMPOTENT) != 0;
}

/*
 * Decodes a frame with these flags. The slices point into `payload`.
 * FLX_ERR_PROTOCOL: flags that do not go together, a short body, invalid UTF-8 in a name, an ack
 * mode that is none, a record that does not fit, bytes left over. Then flx_publish_request_id()
 * may still say whom to answer.
 */
flx_status flx_publish_decode(uint16_t flags, flx_slice payload, flx_publish *ret_publish,
                              flx_error *reterr);

/* The request id of an acked batch, however malformed the rest is; false when it has none. */
bool flx_publish_request_id(uint16_t flags, flx_slice payload, uint64_t *ret_request_id);

/* Bytes of the payload before the region, the count included. */
size_t flx_publish_head_bytes(const flx_publish *publish);

/* Writes those bytes and returns the byte after them; flx_frame_header_encode(publish->flags,
 * head + region.len, ...) goes before. Names and key are at most 65535 bytes (asserted). */
uint8_t *flx_publish_head_encode(const flx_publish *publish, uint8_t *to);

#endif /* FLX_WIRE_PUBLISH_H */
