/* SPDX-License-Identifier: Apache-2.0 */
/* wire/ack.h - the binary answer to an acked publish (flag 0x0010). docs/spec/wire.md 3.2. Pure. */
#ifndef FLX_WIRE_ACK_H
#define FLX_WIRE_ACK_H

#include "wire/flags.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_PUBLISH_ACK_TEXT_MAX 65535 /* bytes of message, reason, node id, address */

typedef struct flx_publish_ack {
    uint16_t flags; /* 0x0010 and which of the parts below are there */
    bool ok;
    uint8_t retry; /* with CODE: flx_retry as sent, see flx_retry_from_byte */
    uint16_t code; /* with CODE: flx_code or a number we do not know; never 0 */
    uint64_t request_id;
    flx_slice message;       /* empty when ok */
    flx_slice reason;        /* with DETAIL */
    uint64_t retry_after_ms; /* with DETAIL; 0: not said */
    flx_slice node_id;       /* with OWNER: who owns the shard now */
    flx_slice addr;          /* with OWNER; empty: not known */
    uint64_t generation;     /* with OWNER */
    uint64_t offset;         /* with OFFSET: of the first record */
} flx_publish_ack;

/* Slices point into `payload`. FLX_ERR_PROTOCOL: flags that do not go together or with the status,
 * a short body, invalid UTF-8, bytes left over. */
flx_status flx_publish_ack_decode(uint16_t flags, flx_slice payload, flx_publish_ack *ret_ack,
                                  flx_error *reterr);

/* Bytes of the payload. */
size_t flx_publish_ack_bytes(const flx_publish_ack *ack);

/* Writes the payload and returns the byte after it. Asserts what decode would refuse. */
uint8_t *flx_publish_ack_encode(const flx_publish_ack *ack, uint8_t *to);

/* The most a frame (header included) of an ok ack with an offset, or without, takes. */
#define FLX_PUBLISH_ACK_OK_FRAME_BYTES_MAX (12 + 11 + 8)

/* Writes the whole frame of a success: flags 0x0010, with 0x1000 when `offset` is not NULL. */
uint8_t *flx_publish_ack_ok_frame(uint64_t request_id, const uint64_t *offset, uint8_t *to);

#endif /* FLX_WIRE_ACK_H */
