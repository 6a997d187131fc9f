/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/change.h - one change of a cache shard, as its log keeps it: memory and disk alike.
 *
 *     offset  size  field
 *     0       1     kind           1 put, 2 delete, 3 counter
 *     1       1     cause          of a delete: 0 asked for, 1 expired, 2 evicted; otherwise 0
 *     2       2     zero
 *     4       4     key_len
 *     8       8     expires_at_ms  of a put: since 1970, 0 never; otherwise 0
 *     16      n     key
 *     16+n          value          put: the rest; delete: nothing; counter: the sum, 8 bytes
 *
 * Big-endian. The record's place in the log is not in it: that is the change's offset, and the
 * version of what it wrote. Applying all changes of a shard in their order, from any state that one
 * of them left, ends in the same state; so compaction may keep the newest of a key. A counter's
 * record has the sum, not what was added, for the same reason. docs/spec/changes.md.
 *
 * Pure; any thread.
 */
#ifndef FLX_WIRE_CHANGE_H
#define FLX_WIRE_CHANGE_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stddef.h>
#include <stdint.h>

#define FLX_CHANGE_HEAD_BYTES  16
#define FLX_CHANGE_COUNT_BYTES 8 /* what follows the key of a counter */

typedef enum flx_change_kind {
    FLX_CHANGE_KIND_PUT = 1,
    FLX_CHANGE_KIND_DELETE = 2,
    FLX_CHANGE_KIND_COUNTER = 3
} flx_change_kind;

typedef enum flx_change_cause {
    FLX_CHANGE_ASKED = 0,
    FLX_CHANGE_EXPIRED = 1,
    FLX_CHANGE_EVICTED = 2
} flx_change_cause;

typedef struct flx_change {
    uint8_t kind;  /* flx_change_kind */
    uint8_t cause; /* flx_change_cause */
    flx_slice key;
    flx_slice value;        /* put */
    uint64_t expires_at_ms; /* put */
    int64_t sum;            /* counter */
} flx_change;

size_t flx_change_bytes(const flx_change *change);
/* Writes flx_change_bytes() at `to` and returns the byte after them. The key is below 4 GiB. */
uint8_t *flx_change_write(uint8_t *to, const flx_change *change);
/* Borrows from `record`. FLX_ERR_PROTOCOL: not a change, or of a later version. */
flx_status flx_change_read(flx_slice record, flx_change *ret_change, flx_error *reterr);

#endif /* FLX_WIRE_CHANGE_H */
