/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/producer.h - what a shard remembers of its idempotent producers, so that a batch sent
 * twice is appended once (docs/spec/wire.md 4).
 *
 * The last FLX_PRODUCER_BATCHES batches of each of at most FLX_PRODUCERS_MAX producers; the one
 * that was silent longest is forgotten first. Threads: one worker.
 */
#ifndef FLX_BROKER_PRODUCER_H
#define FLX_BROKER_PRODUCER_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

#define FLX_PRODUCER_BATCHES 64
#define FLX_PRODUCERS_MAX    4096

typedef struct flx_producers flx_producers;

typedef enum flx_producer_verdict {
    FLX_PRODUCER_APPEND,    /* the next one: append, then flx_producers_record */
    FLX_PRODUCER_DUPLICATE, /* seen: answer with the offset it got */
    FLX_PRODUCER_REUSED,    /* seen with other content; the offset is the original's */
    FLX_PRODUCER_GAP,       /* above the next one, which is told */
    FLX_PRODUCER_EXPIRED,   /* older than what is remembered */
    FLX_PRODUCER_UNKNOWN    /* never heard of and not at 0 */
} flx_producer_verdict;

flx_producers *flx_producers_new(void); /* NULL when memory is out */
flx_producers *flx_producers_free(flx_producers *producers);

/* *ret_value: the original offset, or the sequence expected after a gap. */
flx_producer_verdict flx_producers_check(flx_producers *producers, uint64_t id, uint64_t sequence,
                                         uint64_t digest, uint64_t *ret_value);
/* Makes room for `id`, so that record cannot fail afterwards. */
flx_status flx_producers_prepare(flx_producers *producers, uint64_t id);
/* The batch check said APPEND to is in the log at `offset`. */
void flx_producers_record(flx_producers *producers, uint64_t id, uint64_t sequence, uint64_t digest,
                          uint64_t offset);

/* The same for a batch read back from a log, in the order of its offsets: nothing was checked, and
 * what came before it may be unknown. FLX_ERR_NOMEM. */
flx_status flx_producers_restore(flx_producers *producers, uint64_t id, uint64_t sequence,
                                 uint64_t digest, uint64_t offset);

/* CRC-64/XZ continued from `crc` (0 at first). */
uint64_t flx_crc64(uint64_t crc, flx_slice bytes);
/* The digest of a region (`u32 length, payload` repeated) of well-formed records. */
uint64_t flx_region_digest(flx_slice region);

#endif /* FLX_BROKER_PRODUCER_H */
