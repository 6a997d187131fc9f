/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.h - what was published to a stream, what was answered, and so what may be read.
 *
 * A lane is one publisher with one key, so its messages lie in one shard, in their order. A message says in its
 * payload who it is, and its bytes follow from that: what is read needs no copy to be checked against. The
 * rules that a reading is held to are those of docs/semantics.md:
 *
 *   acknowledged           is there, at the offset of the answer
 *   refused, or never sent is not there
 *   without an answer      is there or not; but a batch whole or not at all, and none is missing in
 *                          front of a later one that was sent in the same session
 *   everything             once, in the order of its lane, at dense offsets, and never again otherwise
 *
 * A session is one life of the node. Pure: no clock, no node, no thread; the caller locks.
 */
#ifndef FLX_CRASH_LEDGER_H
#define FLX_CRASH_LEDGER_H

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_LANES_MAX   64
#define LEDGER_SHARDS_MAX  16
#define LEDGER_PAYLOAD_MIN 16u
#define LEDGER_NO_OFFSET   UINT64_MAX

typedef enum ledger_answer {
    LEDGER_OUT = 0,   /* no answer yet */
    LEDGER_ACKED,     /* it is there */
    LEDGER_REFUSED,   /* it is not there */
    LEDGER_UNANSWERED /* the node was gone before it answered */
} ledger_answer;

typedef struct ledger_message {
    uint64_t offset; /* of the answer or of the reading, LEDGER_NO_OFFSET before */
    uint32_t session;
    uint32_t left; /* messages of its batch behind it */
    uint8_t answer;
    bool is_read;
    bool is_passed; /* a later one of its lane was read, it was not */
    bool is_hole;   /* ... and that one was sent in the same session */
} ledger_message;

typedef struct ledger_lane {
    uint32_t id;
    uint32_t shard;
    bool is_exact; /* an idempotent producer: nothing may be missing in front of anything */
    uint32_t payload_min;
    uint32_t payload_max;
    ledger_message *messages; /* from `first` on; what is settled is forgotten */
    uint64_t first;
    size_t count;
    size_t cap;
    uint64_t next_read; /* sequence */
} ledger_lane;

typedef struct ledger_shard {
    uint64_t start;   /* retention took what is below */
    uint64_t next;    /* offset of the next reading */
    bool is_retained; /* its beginning may go */
    uint32_t *marks;  /* of every offset that was read: a hash of who lies there */
    size_t marks_cap;
    ledger_lane *batch_lane; /* a batch is being read: who must be next; NULL: none */
    uint64_t batch_sequence;
    uint32_t batch_left;
} ledger_shard;

typedef struct ledger_counts {
    uint64_t sent;
    uint64_t acked;
    uint64_t refused;
    uint64_t unanswered;
    uint64_t unanswered_read; /* of these, what turned out to be there */
    uint64_t read;
} ledger_counts;

typedef struct ledger {
    uint64_t seed;
    uint32_t session;
    ledger_lane lanes[LEDGER_LANES_MAX];
    uint32_t lane_count;
    ledger_shard shards[LEDGER_SHARDS_MAX];
    uint32_t shard_count;
    ledger_counts counts;
    bool is_broken;
    char why[256]; /* the first rule that was broken */
} ledger;

/* Zeroed by the caller before. */
void ledger_init(ledger *book, uint64_t seed, uint32_t shards);
void ledger_done(ledger *book);

ledger_lane *ledger_lane_add(ledger *book, uint32_t shard, uint32_t payload_min,
                             uint32_t payload_max);

/* The size of a message, and its bytes: `ret_payload` has payload_max of the lane. */
size_t ledger_payload(const ledger *book, const ledger_lane *lane, uint64_t sequence,
                      uint8_t *ret_payload);

/* `count` messages are about to be sent as one batch; the sequence of the first. */
uint64_t ledger_send(ledger *book, ledger_lane *lane, uint32_t count);
/* How that batch ended. `offset` is its first message's, LEDGER_NO_OFFSET when it was not told. */
void ledger_answered(ledger *book, ledger_lane *lane, uint64_t sequence, ledger_answer answer,
                     uint64_t offset);
/* The node was killed: what has no answer will get none. Lanes that send again keep theirs open. */
void ledger_end_session(ledger *book);

/* One record was read, the next of its shard. */
void ledger_read(ledger *book, uint32_t shard, uint64_t offset, flx_slice payload);
/* One record was read again, any of those that were read before. */
void ledger_read_again(ledger *book, uint32_t shard, uint64_t offset, flx_slice payload);
/* The shard begins at `start` now. */
void ledger_begins_at(ledger *book, uint32_t shard, uint64_t start);
/* Whether all that is acknowledged was read. */
bool ledger_is_even(const ledger *book);

/* Writes down the first reason only. */
__attribute__((format(printf, 2, 3))) void ledger_break(ledger *book, const char *format, ...);

/* The generator of the whole checker: splitmix64. */
static inline uint64_t ledger_random(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9e3779b97f4a7c15));
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#endif /* FLX_CRASH_LEDGER_H */
