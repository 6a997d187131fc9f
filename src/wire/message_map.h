/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/message_map.h - every JSON message of protocol v1, once. Structs, decoder, encoder, names and
 * tests are made from these rows. docs/spec/wire.md 4.
 *
 * A row of a field list is F(KIND, member, arg); the order is the order on the wire. The wire name
 * is the member's, but for namespace_ (a word C++ keeps for itself). Kinds:
 *
 *   STR B64 U16 U32 U64 I64 BOOL ENUM OBJ START CONDITION REFUSAL    must be there
 *   NAMESPACE                       STR, named `namespace` on the wire
 *   OPT_<kind>, RAW                 may be missing or null; left out when has_<member> is false
 *   NULL_B64, NULL_U64              may be missing or null; written as null when not has_<member>
 *   DEF_BOOL, DEF_U64, DEF_LIST_OBJ may be missing (false, 0, empty); always written
 *   FLAG                            BOOL that may be missing and is left out when false
 *   LIST_STR LIST_B64 LIST_U64 LIST_OBJ    member and member_count; must be there
 *   OPT_LIST_U16 OPT_LIST_OBJ       may be missing or null; left out when empty
 *
 * `arg` names the enum (ENUM) or the object (OBJ, LIST_OBJ); `_` where the kind needs none.
 */
#ifndef FLX_WIRE_MESSAGE_MAP_H
#define FLX_WIRE_MESSAGE_MAP_H

/* Shared beginnings. */
#define FLX_FIELDS_SPACE(F)                                                                        \
    F(STR, tenant_id, _)                                                                           \
    F(NAMESPACE, namespace_, _)
#define FLX_FIELDS_OF_STREAM(F)                                                                    \
    FLX_FIELDS_SPACE(F)                                                                            \
    F(STR, stream, _)
#define FLX_FIELDS_OF_CACHE(F)                                                                     \
    FLX_FIELDS_SPACE(F)                                                                            \
    F(STR, cache, _)
#define FLX_FIELDS_OF_KEY(F)                                                                       \
    FLX_FIELDS_OF_CACHE(F)                                                                         \
    F(STR, key, _)
#define FLX_FIELDS_OF_GROUP(F)                                                                     \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(U32, shard, _)                                                                               \
    F(STR, group, _)
#define FLX_FIELDS_OF_CLAIM(F)                                                                     \
    FLX_FIELDS_OF_GROUP(F)                                                                         \
    F(U64, offset, _)                                                                              \
    F(U64, request_id, _)

/* Objects inside messages, inner ones first. O(name): fields in FLX_FIELDS_<name>. */
#define FLX_OBJECT_MAP(O)                                                                          \
    O(detail)                                                                                      \
    O(broker)                                                                                      \
    O(owner)                                                                                       \
    O(change)                                                                                      \
    O(record)                                                                                      \
    O(group_record)                                                                                \
    O(assignment)                                                                                  \
    O(fence)                                                                                       \
    O(lease)                                                                                       \
    O(replica)                                                                                     \
    O(shard_view)                                                                                  \
    O(filter)                                                                                      \
    O(page)                                                                                        \
    O(subscription)

#define FLX_FIELDS_detail(F)                                                                       \
    F(OPT_STR, reason, _)                                                                          \
    F(OPT_U64, retry_after_ms, _)
#define FLX_FIELDS_broker(F)                                                                       \
    F(STR, node_id, _)                                                                             \
    F(STR, addr, _)
#define FLX_FIELDS_owner(F)                                                                        \
    F(U32, shard, _)                                                                               \
    F(OPT_STR, node_id, _)                                                                         \
    F(OPT_STR, addr, _)                                                                            \
    F(U64, generation, _)                                                                          \
    F(OPT_STR, unavailable, _)
#define FLX_FIELDS_change(F)                                                                       \
    F(ENUM, op, change_op)                                                                         \
    F(STR, key, _)                                                                                 \
    F(OPT_B64, value, _) /* a put has one, a delete none */
#define FLX_FIELDS_record(F)                                                                       \
    F(U64, offset, _)                                                                              \
    F(B64, payload, _)                                                                             \
    F(OPT_STR, publisher, _)                                                                       \
    F(U64, timestamp_micros, _)
#define FLX_FIELDS_group_record(F)                                                                 \
    F(U64, offset, _)                                                                              \
    F(B64, payload, _)                                                                             \
    F(OPT_U32, attempts, _)                                                                        \
    F(OPT_U64, skipped_before, _)                                                                  \
    F(OPT_STR, publisher, _)                                                                       \
    F(OPT_U64, timestamp_micros, _)
#define FLX_FIELDS_assignment(F)                                                                   \
    F(U64, generation, _)                                                                          \
    F(STR, leader, _)                                                                              \
    F(LIST_STR, replicas, _)                                                                       \
    F(FLAG, draining, _)                                                                           \
    F(OPT_STR, successor, _)
#define FLX_FIELDS_fence(F)                                                                        \
    F(LIST_STR, took, _)                                                                           \
    F(LIST_STR, pending, _)                                                                        \
    F(U64, attempts, _)                                                                            \
    F(OPT_U64, retry_in_ms, _)
#define FLX_FIELDS_lease(F)                                                                        \
    F(BOOL, held, _)                                                                               \
    F(OPT_U64, remaining_ms, _)
#define FLX_FIELDS_replica(F)                                                                      \
    F(STR, node_id, _)                                                                             \
    F(ENUM, role, replica_role)                                                                    \
    F(U64, next_offset, _)                                                                         \
    F(U64, lag, _)                                                                                 \
    F(BOOL, fence, _)                                                                              \
    F(ENUM, state, replica_state)                                                                  \
    F(OPT_STR, halted, _)
#define FLX_FIELDS_shard_view(F)                                                                   \
    F(STR, node_id, _)                                                                             \
    F(U32, shards, _)                                                                              \
    F(ENUM, role, shard_role)                                                                      \
    F(ENUM, phase, shard_phase)                                                                    \
    F(BOOL, serving, _)                                                                            \
    F(OPT_ENUM, reason, shard_reason)                                                              \
    F(OPT_STR, detail, _)                                                                          \
    F(OPT_U64, generation, _)                                                                      \
    F(OPT_OBJ, assignment, assignment)                                                             \
    F(OPT_OBJ, fence, fence)                                                                       \
    F(OPT_OBJ, lease, lease)                                                                       \
    F(OPT_U64, tail, _)                                                                            \
    F(OPT_U64, committed, _)                                                                       \
    F(OPT_U64, accepted_generation, _)                                                             \
    F(OPT_LIST_OBJ, replicas, replica)
#define FLX_FIELDS_filter(F)                                                                       \
    F(OPT_STR, tenant_id, _)                                                                       \
    F(OPT_NAMESPACE, namespace_, _)                                                                \
    F(OPT_STR, stream, _)                                                                          \
    F(OPT_U32, shard, _)                                                                           \
    F(OPT_STR, principal, _)                                                                       \
    F(OPT_BOOL, dropping, _)
#define FLX_FIELDS_page(F)                                                                         \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(U32, shard, _)                                                                               \
    F(U64, subscriber_id, _)
#define FLX_FIELDS_subscription(F)                                                                 \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(U32, shard, _)                                                                               \
    F(U64, subscriber_id, _)                                                                       \
    F(U64, subscription_id, _)                                                                     \
    F(OPT_U64, connection, _)                                                                      \
    F(OPT_STR, peer, _)                                                                            \
    F(OPT_STR, principal, _)                                                                       \
    F(ENUM, policy, queue_policy)                                                                  \
    F(U64, depth, _)                                                                               \
    F(U64, capacity, _)                                                                            \
    F(U64, dropped, _)                                                                             \
    F(OPT_U64, position, _)                                                                        \
    F(U64, tail, _)                                                                                \
    F(U64, age_ms, _)

/* Row: NAME, name (the wire's `type`, the union member, FLX_FIELDS_<name>), who may send it. */
#define FLX_MSG_MAP(M)                                                                             \
    /* session */                                                                                  \
    M(AUTH, auth, FLX_DIR_CLIENT)                                                                  \
    M(AUTH_OK, auth_ok, FLX_DIR_BROKER)                                                            \
    M(OK, ok, FLX_DIR_BROKER)                                                                      \
    M(ERROR, error, FLX_DIR_BROKER)                                                                \
    M(UNSUPPORTED, unsupported, FLX_DIR_BROKER)                                                    \
    M(EXTENSION, extension, FLX_DIR_BOTH)                                                          \
    /* topology and routing */                                                                     \
    M(NOT_LEADER, not_leader, FLX_DIR_BROKER)                                                      \
    M(TOPOLOGY, topology, FLX_DIR_CLIENT)                                                          \
    M(TOPOLOGY_VIEW, topology_view, FLX_DIR_BROKER)                                                \
    M(STREAM_SHARDS, stream_shards, FLX_DIR_CLIENT)                                                \
    M(STREAM_SHARDS_VIEW, stream_shards_view, FLX_DIR_BROKER)                                      \
    M(CACHE_SHARDS, cache_shards, FLX_DIR_CLIENT)                                                  \
    M(CACHE_SHARDS_VIEW, cache_shards_view, FLX_DIR_BROKER)                                        \
    M(SHARD_OWNERS, shard_owners, FLX_DIR_CLIENT)                                                  \
    M(SHARD_OWNERS_VIEW, shard_owners_view, FLX_DIR_BROKER)                                        \
    /* publishing */                                                                               \
    M(PUBLISH, publish, FLX_DIR_CLIENT)                                                            \
    M(PUBLISH_BATCH, publish_batch, FLX_DIR_CLIENT)                                                \
    M(PUBLISH_OK, publish_ok, FLX_DIR_BROKER)                                                      \
    M(PUBLISH_ERROR, publish_error, FLX_DIR_BROKER)                                                \
    M(PRODUCER_INIT, producer_init, FLX_DIR_CLIENT)                                                \
    M(PRODUCER_INIT_OK, producer_init_ok, FLX_DIR_BROKER)                                          \
    M(PUBLISH_IDEMPOTENT, publish_idempotent, FLX_DIR_CLIENT)                                      \
    M(PUBLISH_IF, publish_if, FLX_DIR_CLIENT)                                                      \
    M(PUBLISH_REFUSED, publish_refused, FLX_DIR_BROKER)                                            \
    /* subscribing */                                                                              \
    M(SUBSCRIBE, subscribe, FLX_DIR_CLIENT)                                                        \
    M(SUBSCRIBED, subscribed, FLX_DIR_BROKER)                                                      \
    M(SUBSCRIBE_CURSOR_ERROR, subscribe_cursor_error, FLX_DIR_BROKER)                              \
    M(EVENT_STREAM_HELLO, event_stream_hello, FLX_DIR_BROKER)                                      \
    M(SHARD_MOVED, shard_moved, FLX_DIR_BROKER)                                                    \
    M(SUBSCRIPTION_LAGGED, subscription_lagged, FLX_DIR_BROKER)                                    \
    M(EVENT, event, FLX_DIR_BROKER)                                                                \
    M(EVENT_BATCH, event_batch, FLX_DIR_BROKER)                                                    \
    /* cache */                                                                                    \
    M(CACHE_PUT, cache_put, FLX_DIR_CLIENT)                                                        \
    M(CACHE_GET, cache_get, FLX_DIR_CLIENT)                                                        \
    M(CACHE_DELETE, cache_delete, FLX_DIR_CLIENT)                                                  \
    M(CACHE_VALUE, cache_value, FLX_DIR_BROKER)                                                    \
    M(CACHE_OK, cache_ok, FLX_DIR_BROKER)                                                          \
    M(CACHE_PUT_IF, cache_put_if, FLX_DIR_CLIENT)                                                  \
    M(CACHE_DELETE_IF, cache_delete_if, FLX_DIR_CLIENT)                                            \
    M(CACHE_CONDITION_RESULT, cache_condition_result, FLX_DIR_BROKER)                              \
    M(CACHE_WATCH, cache_watch, FLX_DIR_CLIENT)                                                    \
    M(CACHE_WATCH_STARTED, cache_watch_started, FLX_DIR_BROKER)                                    \
    M(CACHE_EVENT, cache_event, FLX_DIR_BROKER)                                                    \
    M(CACHE_WATCH_LAGGED, cache_watch_lagged, FLX_DIR_BROKER)                                      \
    M(CACHE_WATCH_PROGRESS, cache_watch_progress, FLX_DIR_BROKER)                                  \
    M(COUNTER_ADD, counter_add, FLX_DIR_CLIENT)                                                    \
    M(COUNTER_GET, counter_get, FLX_DIR_CLIENT)                                                    \
    M(COUNTER_VALUE, counter_value, FLX_DIR_BROKER)                                                \
    /* commit and state */                                                                         \
    M(COMMIT, commit, FLX_DIR_CLIENT)                                                              \
    M(COMMIT_OK, commit_ok, FLX_DIR_BROKER)                                                        \
    M(STATE_GET, state_get, FLX_DIR_CLIENT)                                                        \
    M(STATE_VALUE, state_value, FLX_DIR_BROKER)                                                    \
    /* history */                                                                                  \
    M(OFFSET_FOR_TIME, offset_for_time, FLX_DIR_CLIENT)                                            \
    M(OFFSET_VALUE, offset_value, FLX_DIR_BROKER)                                                  \
    M(STREAM_READ, stream_read, FLX_DIR_CLIENT)                                                    \
    M(STREAM_RECORDS, stream_records, FLX_DIR_BROKER)                                              \
    /* consumer groups */                                                                          \
    M(GROUP_POLL, group_poll, FLX_DIR_CLIENT)                                                      \
    M(GROUP_RECORDS, group_records, FLX_DIR_BROKER)                                                \
    M(GROUP_ACK, group_ack, FLX_DIR_CLIENT)                                                        \
    M(GROUP_NACK, group_nack, FLX_DIR_CLIENT)                                                      \
    M(GROUP_EXTEND, group_extend, FLX_DIR_CLIENT)                                                  \
    M(GROUP_EXTENDED, group_extended, FLX_DIR_BROKER)                                              \
    M(GROUP_DEAD_LETTER, group_dead_letter, FLX_DIR_CLIENT)                                        \
    M(GROUP_DEAD_LETTERS, group_dead_letters, FLX_DIR_CLIENT)                                      \
    M(GROUP_DEAD_LETTER_LIST, group_dead_letter_list, FLX_DIR_BROKER)                              \
    M(GROUP_DISCARD, group_discard, FLX_DIR_CLIENT)                                                \
    M(GROUP_REDRIVE, group_redrive, FLX_DIR_CLIENT)                                                \
    M(GROUP_SEEK, group_seek, FLX_DIR_CLIENT)                                                      \
    M(GROUP_POSITION, group_position, FLX_DIR_BROKER)                                              \
    M(GROUP_DESCRIBE, group_describe, FLX_DIR_CLIENT)                                              \
    M(GROUP_INFO, group_info, FLX_DIR_BROKER)                                                      \
    M(GROUP_DELETE, group_delete, FLX_DIR_CLIENT)                                                  \
    M(GROUP_DELETED, group_deleted, FLX_DIR_BROKER)                                                \
    /* inspection */                                                                               \
    M(SHARD_INSPECT, shard_inspect, FLX_DIR_CLIENT)                                                \
    M(SHARD_INSPECT_INFO, shard_inspect_info, FLX_DIR_BROKER)                                      \
    M(SUBSCRIPTIONS_LIST, subscriptions_list, FLX_DIR_CLIENT)                                      \
    M(SUBSCRIPTIONS_LIST_INFO, subscriptions_list_info, FLX_DIR_BROKER)

/* ---- session ---- */
#define FLX_FIELDS_auth(F)                                                                         \
    F(STR, tenant_id, _)                                                                           \
    F(STR, token, _)                                                                               \
    F(OPT_U16, client_flags, _)                                                                    \
    F(OPT_U32, client_features, _)                                                                 \
    F(OPT_U32, client_features_hi, _)
#define FLX_FIELDS_auth_ok(F)                                                                      \
    F(U16, server_flags, _)                                                                        \
    F(OPT_U32, server_features, _)                                                                 \
    F(OPT_U32, server_features_hi, _)                                                              \
    F(OPT_LIST_U16, listener_ports, _)                                                             \
    F(OPT_U32, publish_window, _)                                                                  \
    F(OPT_U32, operation_window, _) /* docs/spec/extensions.md 1.1 */
#define FLX_FIELDS_ok(F)
#define FLX_FIELDS_error(F)                                                                        \
    F(STR, message, _)                                                                             \
    F(OPT_STR, code, _)                                                                            \
    F(OPT_STR, retry, _)                                                                           \
    F(OPT_OBJ, detail, detail)
#define FLX_FIELDS_unsupported(F)                                                                  \
    F(STR, request_type, _)                                                                        \
    F(OPT_STR, extension, _)                                                                       \
    F(OPT_U64, request_id, _)
#define FLX_FIELDS_extension(F)                                                                    \
    F(STR, name, _)                                                                                \
    F(OPT_U64, request_id, _)                                                                      \
    F(RAW, body, _)

/* ---- topology and routing ---- */
#define FLX_FIELDS_not_leader(F)                                                                   \
    F(STR, node_id, _)                                                                             \
    F(OPT_STR, addr, _)                                                                            \
    F(U64, generation, _)
#define FLX_FIELDS_topology(F)
#define FLX_FIELDS_topology_view(F) F(LIST_OBJ, brokers, broker)
#define FLX_FIELDS_stream_shards(F)                                                                \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(U64, request_id, _)
#define FLX_FIELDS_stream_shards_view(F)                                                           \
    F(U32, shards, _)                                                                              \
    F(U64, request_id, _)                                                                          \
    F(OPT_ENUM, routing, routing)
#define FLX_FIELDS_cache_shards(F)                                                                 \
    FLX_FIELDS_OF_CACHE(F)                                                                         \
    F(U64, request_id, _)
#define FLX_FIELDS_cache_shards_view(F)                                                            \
    F(U32, shards, _)                                                                              \
    F(U64, request_id, _)
#define FLX_FIELDS_shard_owners(F)                                                                 \
    FLX_FIELDS_SPACE(F)                                                                            \
    F(STR, name, _)                                                                                \
    F(ENUM, kind, owner_kind)                                                                      \
    F(U64, request_id, _)
#define FLX_FIELDS_shard_owners_view(F)                                                            \
    F(U64, request_id, _)                                                                          \
    F(LIST_OBJ, owners, owner)

/* ---- publishing ---- */
#define FLX_FIELDS_publish(F)                                                                      \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(B64, payload, _)                                                                             \
    F(OPT_B64, key, _)                                                                             \
    F(OPT_U64, request_id, _)                                                                      \
    F(OPT_ENUM, ack, ack_mode)
#define FLX_FIELDS_publish_batch(F)                                                                \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(LIST_B64, payloads, _)                                                                       \
    F(OPT_B64, key, _)                                                                             \
    F(OPT_U64, request_id, _)                                                                      \
    F(OPT_ENUM, ack, ack_mode)
#define FLX_FIELDS_publish_ok(F)                                                                   \
    F(U64, request_id, _)                                                                          \
    F(OPT_U64, offset, _)
#define FLX_FIELDS_publish_error(F)                                                                \
    F(U64, request_id, _)                                                                          \
    F(STR, message, _)                                                                             \
    F(OPT_STR, code, _)                                                                            \
    F(OPT_STR, retry, _)                                                                           \
    F(OPT_OBJ, detail, detail)
#define FLX_FIELDS_producer_init(F) F(U64, request_id, _)
#define FLX_FIELDS_producer_init_ok(F)                                                             \
    F(U64, request_id, _)                                                                          \
    F(U64, producer_id, _)
#define FLX_FIELDS_publish_idempotent(F)                                                           \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(LIST_B64, payloads, _)                                                                       \
    F(OPT_B64, key, _)                                                                             \
    F(U64, request_id, _)                                                                          \
    F(U64, producer_id, _)                                                                         \
    F(U64, sequence, _)
#define FLX_FIELDS_publish_if(F)                                                                   \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(LIST_B64, payloads, _)                                                                       \
    F(OPT_B64, key, _)                                                                             \
    F(U64, expected_offset, _)                                                                     \
    F(U64, request_id, _)
#define FLX_FIELDS_publish_refused(F)                                                              \
    F(U64, request_id, _)                                                                          \
    F(REFUSAL, reason, _)                                                                          \
    F(STR, message, _)

/* ---- subscribing ---- */
#define FLX_FIELDS_subscribe(F)                                                                    \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(OPT_U64, subscription_id, _)                                                                 \
    F(OPT_START, start, _)                                                                         \
    F(OPT_U32, shard, _)                                                                           \
    F(OPT_U32, queue_capacity, _)
#define FLX_FIELDS_subscribed(F)                                                                   \
    F(U64, subscription_id, _)                                                                     \
    F(OPT_U64, start_offset, _)                                                                    \
    F(OPT_U64, live_offset, _)                                                                     \
    F(OPT_U32, queue_capacity, _)
#define FLX_FIELDS_subscribe_cursor_error(F)                                                       \
    F(ENUM, reason, cursor_reason)                                                                 \
    F(U64, requested, _)                                                                           \
    F(U64, available, _)
#define FLX_FIELDS_event_stream_hello(F) F(U64, subscription_id, _)
#define FLX_FIELDS_shard_moved(F)                                                                  \
    F(U64, subscription_id, _)                                                                     \
    F(OPT_U64, resume_from, _)                                                                     \
    F(OPT_STR, node_id, _)                                                                         \
    F(OPT_STR, addr, _)                                                                            \
    F(U64, generation, _)
#define FLX_FIELDS_subscription_lagged(F)                                                          \
    F(U64, subscription_id, _)                                                                     \
    F(U64, resume_from, _)
#define FLX_FIELDS_event(F)                                                                        \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(B64, payload, _)                                                                             \
    F(OPT_U64, offset, _)
#define FLX_FIELDS_event_batch(F)                                                                  \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(LIST_B64, payloads, _)                                                                       \
    F(OPT_U64, base_offset, _)

/* ---- cache ---- */
#define FLX_FIELDS_cache_put(F)                                                                    \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(B64, value, _)                                                                               \
    F(OPT_U64, request_id, _)                                                                      \
    F(NULL_U64, ttl_ms, _)
#define FLX_FIELDS_cache_get(F)                                                                    \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(OPT_U64, request_id, _)
#define FLX_FIELDS_cache_delete(F)                                                                 \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(OPT_U64, request_id, _)
#define FLX_FIELDS_cache_value(F)                                                                  \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(NULL_B64, value, _)                                                                          \
    F(OPT_U64, request_id, _)                                                                      \
    F(OPT_U64, version, _)
#define FLX_FIELDS_cache_ok(F) F(U64, request_id, _)
#define FLX_FIELDS_cache_put_if(F)                                                                 \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(B64, value, _)                                                                               \
    F(OPT_U64, ttl_ms, _)                                                                          \
    F(CONDITION, condition, _)                                                                     \
    F(U64, request_id, _)
#define FLX_FIELDS_cache_delete_if(F)                                                              \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(U64, version, _)                                                                             \
    F(U64, request_id, _)
#define FLX_FIELDS_cache_condition_result(F)                                                       \
    F(BOOL, applied, _)                                                                            \
    F(OPT_U64, version, _)                                                                         \
    F(U64, request_id, _)
#define FLX_FIELDS_cache_watch(F)                                                                  \
    FLX_FIELDS_OF_CACHE(F)                                                                         \
    F(OPT_STR, key, _) /* exactly one of key and prefix: the session judges */                     \
    F(OPT_STR, prefix, _)                                                                          \
    F(OPT_U32, shard, _)                                                                           \
    F(OPT_U64, from_offset, _)                                                                     \
    F(FLAG, retained, _)                                                                           \
    F(OPT_U64, subscription_id, _)
#define FLX_FIELDS_cache_watch_started(F)                                                          \
    F(U64, subscription_id, _)                                                                     \
    F(U64, resume_offset, _)                                                                       \
    F(DEF_BOOL, resnapshot, _)                                                                     \
    F(OPT_U64, retained_count, _)
#define FLX_FIELDS_cache_event(F)                                                                  \
    F(STR, key, _)                                                                                 \
    F(OPT_B64, value, _)                                                                           \
    F(U64, offset, _)                                                                              \
    F(DEF_U64, expires_at_millis, _)
#define FLX_FIELDS_cache_watch_lagged(F)   F(U64, resume_from, _)
#define FLX_FIELDS_cache_watch_progress(F) F(U64, resume_from, _)
#define FLX_FIELDS_counter_add(F)                                                                  \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(I64, delta, _)                                                                               \
    F(U64, request_id, _)
#define FLX_FIELDS_counter_get(F)                                                                  \
    FLX_FIELDS_OF_KEY(F)                                                                           \
    F(U64, request_id, _)
#define FLX_FIELDS_counter_value(F)                                                                \
    F(OPT_I64, value, _)                                                                           \
    F(U64, request_id, _)

/* ---- commit and state ---- */
#define FLX_FIELDS_commit(F)                                                                       \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(B64, entity_key, _)                                                                          \
    F(B64, event, _)                                                                               \
    F(DEF_LIST_OBJ, changes, change)                                                               \
    F(U64, request_id, _)                                                                          \
    F(OPT_U64, expected_offset, _)
#define FLX_FIELDS_commit_ok(F)                                                                    \
    F(U64, request_id, _)                                                                          \
    F(U64, offset, _)
#define FLX_FIELDS_state_get(F)                                                                    \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(B64, entity_key, _)                                                                          \
    F(STR, key, _)                                                                                 \
    F(U64, request_id, _)
#define FLX_FIELDS_state_value(F)                                                                  \
    F(NULL_B64, value, _)                                                                          \
    F(OPT_U64, version, _)                                                                         \
    F(OPT_U64, as_of, _)                                                                           \
    F(U64, request_id, _)

/* ---- history ---- */
#define FLX_FIELDS_offset_for_time(F)                                                              \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(U32, shard, _)                                                                               \
    F(U64, at_micros, _)                                                                           \
    F(U64, request_id, _)
#define FLX_FIELDS_offset_value(F)                                                                 \
    F(OPT_U64, offset, _)                                                                          \
    F(U64, request_id, _)
#define FLX_FIELDS_stream_read(F)                                                                  \
    FLX_FIELDS_OF_STREAM(F)                                                                        \
    F(U32, shard, _)                                                                               \
    F(U64, from, _)                                                                                \
    F(OPT_U64, end, _)                                                                             \
    F(OPT_U32, max_records, _)                                                                     \
    F(OPT_U64, max_bytes, _)                                                                       \
    F(U64, request_id, _)
#define FLX_FIELDS_stream_records(F)                                                               \
    F(LIST_OBJ, records, record)                                                                   \
    F(U64, next_offset, _)                                                                         \
    F(U64, request_id, _)

/* ---- consumer groups ---- */
#define FLX_FIELDS_group_poll(F)                                                                   \
    FLX_FIELDS_OF_GROUP(F)                                                                         \
    F(U32, max_records, _)                                                                         \
    F(DEF_U64, wait_ms, _)                                                                         \
    F(U64, request_id, _)                                                                          \
    F(OPT_STR, consumer, _)                                                                        \
    F(FLAG, reclaim, _)                                                                            \
    F(OPT_U64, visibility_ms, _)
#define FLX_FIELDS_group_records(F)                                                                \
    F(LIST_OBJ, records, group_record)                                                             \
    F(U64, request_id, _)
#define FLX_FIELDS_group_ack(F) FLX_FIELDS_OF_CLAIM(F)
#define FLX_FIELDS_group_nack(F)                                                                   \
    FLX_FIELDS_OF_CLAIM(F)                                                                         \
    F(OPT_U64, delay_ms, _)                                                                        \
    F(OPT_U32, attempts, _)
#define FLX_FIELDS_group_extend(F)                                                                 \
    FLX_FIELDS_OF_GROUP(F)                                                                         \
    F(U64, offset, _)                                                                              \
    F(U32, attempts, _)                                                                            \
    F(U64, extend_ms, _)                                                                           \
    F(U64, request_id, _)
#define FLX_FIELDS_group_extended(F)                                                               \
    F(U64, visible_ms, _)                                                                          \
    F(U64, request_id, _)
#define FLX_FIELDS_group_dead_letter(F) FLX_FIELDS_OF_CLAIM(F)
#define FLX_FIELDS_group_dead_letters(F)                                                           \
    FLX_FIELDS_OF_GROUP(F)                                                                         \
    F(U64, request_id, _)
#define FLX_FIELDS_group_dead_letter_list(F)                                                       \
    F(LIST_U64, offsets, _)                                                                        \
    F(U64, request_id, _)
#define FLX_FIELDS_group_discard(F) FLX_FIELDS_OF_CLAIM(F)
#define FLX_FIELDS_group_redrive(F) FLX_FIELDS_OF_CLAIM(F)
#define FLX_FIELDS_group_seek(F)                                                                   \
    FLX_FIELDS_OF_GROUP(F)                                                                         \
    F(START, start, _)                                                                             \
    F(FLAG, if_new, _)                                                                             \
    F(U64, request_id, _)
#define FLX_FIELDS_group_position(F)                                                               \
    F(U64, offset, _)                                                                              \
    F(BOOL, moved, _)                                                                              \
    F(U64, request_id, _)
#define FLX_FIELDS_group_describe(F)                                                               \
    FLX_FIELDS_OF_GROUP(F)                                                                         \
    F(U64, request_id, _)
#define FLX_FIELDS_group_info(F)                                                                   \
    F(OPT_U64, committed, _)                                                                       \
    F(U64, tail, _)                                                                                \
    F(U64, in_flight, _)                                                                           \
    F(U64, owed, _)                                                                                \
    F(U64, dead_letters, _)                                                                        \
    F(U64, request_id, _)
#define FLX_FIELDS_group_delete(F)                                                                 \
    FLX_FIELDS_OF_GROUP(F)                                                                         \
    F(U64, request_id, _)
#define FLX_FIELDS_group_deleted(F)                                                                \
    F(BOOL, existed, _)                                                                            \
    F(U64, request_id, _)

/* ---- inspection ---- */
#define FLX_FIELDS_shard_inspect(F)                                                                \
    FLX_FIELDS_SPACE(F)                                                                            \
    F(STR, name, _)                                                                                \
    F(ENUM, kind, owner_kind)                                                                      \
    F(U32, shard, _)                                                                               \
    F(U64, request_id, _)
#define FLX_FIELDS_shard_inspect_info(F)                                                           \
    F(U64, request_id, _)                                                                          \
    F(OBJ, view, shard_view)
#define FLX_FIELDS_subscriptions_list(F)                                                           \
    F(U64, request_id, _)                                                                          \
    F(OPT_OBJ, filter, filter)                                                                     \
    F(OPT_U32, limit, _)                                                                           \
    F(OPT_OBJ, cursor, page)
#define FLX_FIELDS_subscriptions_list_info(F)                                                      \
    F(U64, request_id, _)                                                                          \
    F(STR, node_id, _)                                                                             \
    F(LIST_OBJ, subscriptions, subscription)                                                       \
    F(OPT_OBJ, next_cursor, page)

#endif /* FLX_WIRE_MESSAGE_MAP_H */
