/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/enums.h - the closed word lists of protocol v1: one table a list, its C enum, its names.
 *
 * A word that is not in its list is refused on input: nothing here grows without a feature bit.
 * Error codes are open (a peer may know more than we do) and live in wire/code.h.
 */
#ifndef FLX_WIRE_ENUMS_H
#define FLX_WIRE_ENUMS_H

#include <felix/slice.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who may send it. */
typedef enum flx_dir { FLX_DIR_CLIENT = 1, FLX_DIR_BROKER = 2, FLX_DIR_BOTH = 3 } flx_dir;

/* E(prefix, NAME, "word"): values count from 0 in the order of the list. */
#define FLX_ACK_MODE_MAP(E)                                                                        \
    E(FLX_ACK, NONE, "none")                                                                       \
    E(FLX_ACK, PER_MESSAGE, "per_message") /* 1 in binary frames */                                \
    E(FLX_ACK, PER_BATCH, "per_batch")     /* 2 in binary frames */

#define FLX_OWNER_KIND_MAP(E)                                                                      \
    E(FLX_OWNER_KIND, STREAM, "stream")                                                            \
    E(FLX_OWNER_KIND, CACHE, "cache")

#define FLX_ROUTING_MAP(E)                                                                         \
    E(FLX_ROUTING, MODULO, "modulo")                                                               \
    E(FLX_ROUTING, JUMP_HASH, "jump_hash")

#define FLX_CURSOR_REASON_MAP(E)                                                                   \
    E(FLX_CURSOR, TOO_OLD, "too_old")                                                              \
    E(FLX_CURSOR, IN_FUTURE, "in_future")

#define FLX_CHANGE_OP_MAP(E)                                                                       \
    E(FLX_CHANGE, PUT, "put")                                                                      \
    E(FLX_CHANGE, DELETE, "delete")

#define FLX_SHARD_ROLE_MAP(E)                                                                      \
    E(FLX_SHARD_ROLE, LEADER, "leader")                                                            \
    E(FLX_SHARD_ROLE, FOLLOWER, "follower")                                                        \
    E(FLX_SHARD_ROLE, NONE, "none")

#define FLX_SHARD_PHASE_MAP(E)                                                                     \
    E(FLX_SHARD_PHASE, UNASSIGNED, "unassigned")                                                   \
    E(FLX_SHARD_PHASE, OPENING, "opening")                                                         \
    E(FLX_SHARD_PHASE, FENCING, "fencing")                                                         \
    E(FLX_SHARD_PHASE, ACTIVE, "active")                                                           \
    E(FLX_SHARD_PHASE, DRAINING, "draining")                                                       \
    E(FLX_SHARD_PHASE, CLOSED, "closed")                                                           \
    E(FLX_SHARD_PHASE, FAILED, "failed")

#define FLX_SHARD_REASON_MAP(E)                                                                    \
    E(FLX_SHARD_REASON, NOT_ASSIGNED_HERE, "not_assigned_here")                                    \
    E(FLX_SHARD_REASON, OPENING, "opening")                                                        \
    E(FLX_SHARD_REASON, FENCING, "fencing")                                                        \
    E(FLX_SHARD_REASON, FAILED, "failed")                                                          \
    E(FLX_SHARD_REASON, DRAINING, "draining")                                                      \
    E(FLX_SHARD_REASON, LEASE_LAPSED, "lease_lapsed")                                              \
    E(FLX_SHARD_REASON, BEHIND_GENERATION, "behind_generation")

#define FLX_REPLICA_ROLE_MAP(E)                                                                    \
    E(FLX_REPLICA_ROLE, FOLLOWER, "follower")                                                      \
    E(FLX_REPLICA_ROLE, LEARNER, "learner")

#define FLX_REPLICA_STATE_MAP(E)                                                                   \
    E(FLX_REPLICA_STATE, SHIPPING, "shipping")                                                     \
    E(FLX_REPLICA_STATE, STALLED, "stalled")                                                       \
    E(FLX_REPLICA_STATE, COPYING, "copying")                                                       \
    E(FLX_REPLICA_STATE, REBUILDING, "rebuilding")                                                 \
    E(FLX_REPLICA_STATE, HALTED, "halted")                                                         \
    E(FLX_REPLICA_STATE, FENCING, "fencing")

#define FLX_QUEUE_POLICY_MAP(E)                                                                    \
    E(FLX_QUEUE_POLICY, BLOCK, "block")                                                            \
    E(FLX_QUEUE_POLICY, DROP_NEW, "drop_new")                                                      \
    E(FLX_QUEUE_POLICY, DROP_OLD, "drop_old")

#define FLX_ENUM_VALUE(prefix, name, word) prefix##_##name,
typedef enum flx_ack_mode { FLX_ACK_MODE_MAP(FLX_ENUM_VALUE) } flx_ack_mode;
typedef enum flx_owner_kind { FLX_OWNER_KIND_MAP(FLX_ENUM_VALUE) } flx_owner_kind;
typedef enum flx_routing { FLX_ROUTING_MAP(FLX_ENUM_VALUE) } flx_routing;
typedef enum flx_cursor_reason { FLX_CURSOR_REASON_MAP(FLX_ENUM_VALUE) } flx_cursor_reason;
typedef enum flx_change_op { FLX_CHANGE_OP_MAP(FLX_ENUM_VALUE) } flx_change_op;
typedef enum flx_shard_role { FLX_SHARD_ROLE_MAP(FLX_ENUM_VALUE) } flx_shard_role;
typedef enum flx_shard_phase { FLX_SHARD_PHASE_MAP(FLX_ENUM_VALUE) } flx_shard_phase;
typedef enum flx_shard_reason { FLX_SHARD_REASON_MAP(FLX_ENUM_VALUE) } flx_shard_reason;
typedef enum flx_replica_role { FLX_REPLICA_ROLE_MAP(FLX_ENUM_VALUE) } flx_replica_role;
typedef enum flx_replica_state { FLX_REPLICA_STATE_MAP(FLX_ENUM_VALUE) } flx_replica_state;
typedef enum flx_queue_policy { FLX_QUEUE_POLICY_MAP(FLX_ENUM_VALUE) } flx_queue_policy;
#undef FLX_ENUM_VALUE

/* One word list as data: words[i] is the word of value i. */
typedef struct flx_enum_names {
    const flx_slice *words;
    size_t count;
} flx_enum_names;

extern const flx_enum_names flx_ack_mode_names;
extern const flx_enum_names flx_owner_kind_names;
extern const flx_enum_names flx_routing_names;
extern const flx_enum_names flx_cursor_reason_names;
extern const flx_enum_names flx_change_op_names;
extern const flx_enum_names flx_shard_role_names;
extern const flx_enum_names flx_shard_phase_names;
extern const flx_enum_names flx_shard_reason_names;
extern const flx_enum_names flx_replica_role_names;
extern const flx_enum_names flx_replica_state_names;
extern const flx_enum_names flx_queue_policy_names;

/* The value of a word; false when the list has no such word. Pure; any thread. */
bool flx_enum_find(const flx_enum_names *names, flx_slice word, uint32_t *ret_value);

/* The word of a value, which must be one of the list. Static memory. */
flx_slice flx_enum_word(const flx_enum_names *names, uint32_t value);

#endif /* FLX_WIRE_ENUMS_H */
