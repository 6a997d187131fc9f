/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/scratch.h - where a worker writes what it sends besides shared frames: acks, answers, heads.
 *
 * Append-only chunks, one after the other; a range of one is handed to the transport, which drops
 * its reference when the peer acknowledged the bytes. A chunk nobody refers to any more is written
 * again, so a steady flow allocates nothing. Threads: one worker.
 */
#ifndef FLX_BROKER_SCRATCH_H
#define FLX_BROKER_SCRATCH_H

#include "common/chunk.h"
#include "wire/message.h"

#include <felix/slice.h>

#define FLX_SCRATCH_CHUNK_BYTES (64u << 10)
#define FLX_SCRATCH_KEPT        32

typedef struct flx_scratch {
    flx_chunk *chunk;
    flx_chunk *retired[FLX_SCRATCH_KEPT]; /* full, waiting for their readers; a ring */
    uint32_t oldest;
    uint32_t count;
} flx_scratch;

void flx_scratch_init(flx_scratch *scratch);
void flx_scratch_done(flx_scratch *scratch);

/* Room for `len` bytes, to be committed before the next reserve; NULL when memory is out. More than
 * a chunk gets a chunk of its own. */
uint8_t *flx_scratch_reserve(flx_scratch *scratch, size_t len);
/* The first `len` bytes of what was reserved, with a reference for the caller. */
flx_range flx_scratch_commit(flx_scratch *scratch, size_t len);

/* Copies bytes in; false when memory is out. */
bool flx_scratch_copy(flx_scratch *scratch, flx_slice bytes, flx_range *ret_range);

/* Encodes a message as a frame. FLX_ERR_TOO_LARGE: it is more than a frame may hold. FLX_ERR_NOMEM. */
flx_status flx_scratch_message(flx_scratch *scratch, const flx_msg *msg, flx_range *ret_range);

#endif /* FLX_BROKER_SCRATCH_H */
