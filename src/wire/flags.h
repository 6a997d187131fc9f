/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/flags.h - the frame flag bits and the feature bits. docs/spec/wire.md 2 and 5.
 *
 * Flags say how one frame's payload is laid out; features say which messages and fields a peer
 * understands. They are separate number spaces. Neither is ever inferred from a version.
 */
#ifndef FLX_WIRE_FLAGS_H
#define FLX_WIRE_FLAGS_H

#include "wire/enums.h"

#include <stdbool.h>
#include <stdint.h>

/* Row: NAME, bit, who may set it. */
#define FLX_FLAG_MAP(X)                                                                            \
    X(BINARY_PUBLISH_BATCH, 0x0001, FLX_DIR_CLIENT)                                                \
    X(BINARY_EVENT_BATCH, 0x0002, FLX_DIR_BROKER)        /* legacy, with a subscription id */      \
    X(BINARY_EVENT_BATCH_SHARED, 0x0004, FLX_DIR_BROKER) /* what brokers send */                   \
    X(BINARY_PUBLISH_ACKED, 0x0008, FLX_DIR_CLIENT)      /* with 0x0001 */                         \
    X(BINARY_PUBLISH_ACK, 0x0010, FLX_DIR_BROKER)                                                  \
    X(EVENT_BATCH_OFFSETS, 0x0020, FLX_DIR_BROKER)                                                 \
    X(BINARY_PUBLISH_KEYED, 0x0040, FLX_DIR_CLIENT)      /* with 0x0001 */                         \
    X(BINARY_PUBLISH_ACK_OWNER, 0x0080, FLX_DIR_BROKER)  /* with 0x0010 */                         \
    X(BINARY_PUBLISH_IDEMPOTENT, 0x0100, FLX_DIR_CLIENT) /* with 0x0001 and 0x0008 */              \
    X(BINARY_PUBLISH_ACK_CODE, 0x0200, FLX_DIR_BROKER)   /* with 0x0010, failures */               \
    X(BINARY_PUBLISH_ACK_DETAIL, 0x0400, FLX_DIR_BROKER) /* with 0x0200 */                         \
    X(EVENT_BATCH_SKIPPED, 0x0800, FLX_DIR_BROKER)       /* with 0x0020 */                         \
    X(BINARY_PUBLISH_ACK_OFFSET, 0x1000, FLX_DIR_BROKER) /* with 0x0010, success */                \
    X(EVENT_BATCH_PUBLISHER, 0x2000, FLX_DIR_BROKER)                                               \
    X(EVENT_BATCH_TIMESTAMPS, 0x4000, FLX_DIR_BROKER)

enum {
#define FLX_FLAG_ENUM(name, bit, dir) FLX_FLAG_##name = (bit),
    FLX_FLAG_MAP(FLX_FLAG_ENUM)
#undef FLX_FLAG_ENUM
        FLX_FLAGS_ORIGINAL_V1 = 0x0007, /* what a peer that never negotiated is assumed to have */
    FLX_FLAGS_KNOWN = 0x7FFF,           /* of version 1 */
    /* Alone, and in no flags word: each comes with a feature. docs/spec/extensions.md 1.1, 3.1 */
    FLX_FLAG_OPERATIONS = 0x8000,  /* both ways, on a bidirectional stream: HI_OPERATIONS */
    FLX_FLAG_CHANGE_BATCH = 0x8000 /* broker, on the event stream of a watch: HI_WATCH_BATCHES */
};

/* Row: NAME, bit of the first word. */
#define FLX_FEATURE_MAP(X)                                                                         \
    X(TOPOLOGY, 0x1)                                                                               \
    X(REDIRECT, 0x2)                                                                               \
    X(CACHE_DELETE, 0x4)                                                                           \
    X(CONSUMER_GROUP, 0x8)                                                                         \
    X(GROUP_DEAD_LETTERS, 0x10)                                                                    \
    X(STREAM_SHARDS, 0x20)                                                                         \
    X(CACHE_WATCH, 0x40)                                                                           \
    X(CACHE_WATCH_RETAINED, 0x80)                                                                  \
    X(COUNTERS, 0x100)                                                                             \
    X(IDEMPOTENT_PRODUCER, 0x200)                                                                  \
    X(CACHE_SHARDS, 0x400)                                                                         \
    X(ERROR_CODES, 0x800)                                                                          \
    X(SHARD_MOVED, 0x1000)                                                                         \
    X(UNSUPPORTED, 0x2000)                                                                         \
    X(SEQUENCE_REUSED, 0x4000)                                                                     \
    X(PUBLISH_PIPELINE, 0x8000)                                                                    \
    X(ATOMIC_COMMIT, 0x10000)                                                                      \
    X(STREAM_PUBLISH_WINDOW, 0x20000)                                                              \
    X(SHARD_OWNERS, 0x40000)                                                                       \
    X(ACK_ON_COMMIT, 0x80000)                                                                      \
    X(GROUP_CONSUMER, 0x100000)                                                                    \
    X(SUBSCRIPTION_LAGGED, 0x200000)                                                               \
    X(GROUP_SKIPPED, 0x400000)                                                                     \
    X(GROUP_PUBLISHER, 0x800000)                                                                   \
    X(GROUP_ADMIN, 0x1000000)                                                                      \
    X(CACHE_CONDITIONAL, 0x2000000)                                                                \
    X(RECORD_TIMESTAMPS, 0x4000000)                                                                \
    X(GROUP_CLAIM_CONTROL, 0x8000000)                                                              \
    X(PUBLISH_CONDITIONAL, 0x10000000)                                                             \
    X(STREAM_READ, 0x20000000)                                                                     \
    X(SUBSCRIBE_QUEUE, 0x40000000)                                                                 \
    X(EXTENDED, 0x80000000) /* marker: the *_hi word counts */

/* Row: NAME, bit of the extended word. */
#define FLX_FEATURE_HI_MAP(X)                                                                      \
    X(INSPECT, 0x1)                                                                                \
    X(WATCH_BATCHES, 0x20000000)  /* ours: docs/spec/extensions.md 3 */                            \
    X(WATCH_PROGRESS, 0x40000000) /* ours: docs/spec/extensions.md 2 */                            \
    X(OPERATIONS, 0x80000000)     /* ours: docs/spec/extensions.md 1 */

/* Macros, not an enum: the top bit does not fit an int. */
#define FLX_FEATURE_TOPOLOGY              UINT32_C(0x1)
#define FLX_FEATURE_REDIRECT              UINT32_C(0x2)
#define FLX_FEATURE_CACHE_DELETE          UINT32_C(0x4)
#define FLX_FEATURE_CONSUMER_GROUP        UINT32_C(0x8)
#define FLX_FEATURE_GROUP_DEAD_LETTERS    UINT32_C(0x10)
#define FLX_FEATURE_STREAM_SHARDS         UINT32_C(0x20)
#define FLX_FEATURE_CACHE_WATCH           UINT32_C(0x40)
#define FLX_FEATURE_CACHE_WATCH_RETAINED  UINT32_C(0x80)
#define FLX_FEATURE_COUNTERS              UINT32_C(0x100)
#define FLX_FEATURE_IDEMPOTENT_PRODUCER   UINT32_C(0x200)
#define FLX_FEATURE_CACHE_SHARDS          UINT32_C(0x400)
#define FLX_FEATURE_ERROR_CODES           UINT32_C(0x800)
#define FLX_FEATURE_SHARD_MOVED           UINT32_C(0x1000)
#define FLX_FEATURE_UNSUPPORTED           UINT32_C(0x2000)
#define FLX_FEATURE_SEQUENCE_REUSED       UINT32_C(0x4000)
#define FLX_FEATURE_PUBLISH_PIPELINE      UINT32_C(0x8000)
#define FLX_FEATURE_ATOMIC_COMMIT         UINT32_C(0x10000)
#define FLX_FEATURE_STREAM_PUBLISH_WINDOW UINT32_C(0x20000)
#define FLX_FEATURE_SHARD_OWNERS          UINT32_C(0x40000)
#define FLX_FEATURE_ACK_ON_COMMIT         UINT32_C(0x80000)
#define FLX_FEATURE_GROUP_CONSUMER        UINT32_C(0x100000)
#define FLX_FEATURE_SUBSCRIPTION_LAGGED   UINT32_C(0x200000)
#define FLX_FEATURE_GROUP_SKIPPED         UINT32_C(0x400000)
#define FLX_FEATURE_GROUP_PUBLISHER       UINT32_C(0x800000)
#define FLX_FEATURE_GROUP_ADMIN           UINT32_C(0x1000000)
#define FLX_FEATURE_CACHE_CONDITIONAL     UINT32_C(0x2000000)
#define FLX_FEATURE_RECORD_TIMESTAMPS     UINT32_C(0x4000000)
#define FLX_FEATURE_GROUP_CLAIM_CONTROL   UINT32_C(0x8000000)
#define FLX_FEATURE_PUBLISH_CONDITIONAL   UINT32_C(0x10000000)
#define FLX_FEATURE_STREAM_READ           UINT32_C(0x20000000)
#define FLX_FEATURE_SUBSCRIBE_QUEUE       UINT32_C(0x40000000)
#define FLX_FEATURE_EXTENDED              UINT32_C(0x80000000)
#define FLX_FEATURE_HI_INSPECT            UINT32_C(0x1)
#define FLX_FEATURE_HI_WATCH_BATCHES      UINT32_C(0x20000000)
#define FLX_FEATURE_HI_WATCH_PROGRESS     UINT32_C(0x40000000)
#define FLX_FEATURE_HI_OPERATIONS         UINT32_C(0x80000000)

/* The bits of `flags` this version does not know; not 0: the frame must be refused, not masked. */
static inline uint16_t flx_flags_unknown(uint16_t flags)
{
    return (uint16_t)(flags & ~FLX_FLAGS_KNOWN);
}

/*
 * Whether `sender` (FLX_DIR_CLIENT or FLX_DIR_BROKER) may send a frame with exactly these flags:
 * only known bits, only its own, and every bit with the bits it belongs to. 0 (JSON) is valid.
 */
bool flx_flags_valid(uint16_t flags, flx_dir sender);

/* The known bits that `sender` may set. */
uint16_t flx_flags_of(flx_dir sender);

/* Names for logs and `felix doctor`: "BINARY_PUBLISH_ACKED". NULL when no single known bit. */
const char *flx_flag_name(uint16_t bit);
const char *flx_feature_name(uint32_t bit);
const char *flx_feature_hi_name(uint32_t bit);

#endif /* FLX_WIRE_FLAGS_H */
