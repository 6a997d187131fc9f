#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/vectors/wire/*.json: golden frames of protocol v1 (docs/spec/wire.md) and its
extensions (docs/spec/extensions.md).

The bytes are put together here from the layouts, without any of the C code, so that the vectors
test the codec instead of repeating it. Run it again after adding a row and commit what it wrote.

A JSON message has payload_json, payload_hex and frame_hex. A binary frame has kind, flags, its
fields, payload_hex and frame_hex.
"""
import json
import pathlib
import struct

FOLDER = pathlib.Path(__file__).parent / "wire"
STREAM = {"tenant_id": "t1", "namespace": "default", "stream": "demo"}
CACHE = {"tenant_id": "t1", "namespace": "default", "cache": "primary"}
KEY = {**CACHE, "key": "demo-key"}
GROUP = {**STREAM, "shard": 2, "group": "workers"}
U64_MAX = 18446744073709551615

# name -> (type, fields in order); the type is the name unless said otherwise.
MESSAGES = [
    ("auth_extended_features", "auth", {"tenant_id": "t1", "token": "demo-token", "client_flags": 25, "client_features": 2147483649, "client_features_hi": 1}),
    ("auth_ok", "auth_ok", {"server_flags": 25}),
    ("auth_ok_extended_features", "auth_ok", {"server_flags": 25, "server_features": 2147483649, "server_features_hi": 1}),
    ("auth_with_capabilities", "auth", {"tenant_id": "t1", "token": "demo-token", "client_flags": 25}),
    ("cache_get", "cache_get", KEY),
    ("cache_put", "cache_put", {**KEY, "value": "Y2FjaGVk", "ttl_ms": 1000}),
    ("cache_value", "cache_value", {**KEY, "value": "Y2FjaGVk"}),
    ("error", "error", {"message": "oops"}),
    ("event", "event", {**STREAM, "payload": "d29ybGQ="}),
    ("ok", "ok", {}),
    ("publish", "publish", {**STREAM, "payload": "aGVsbG8="}),
    ("subscribe", "subscribe", STREAM),
    # Session.
    ("auth_legacy", "auth", {"tenant_id": "t1", "token": ""}),
    ("auth_ok_full", "auth_ok", {"server_flags": 32767, "server_features": 4294967295, "server_features_hi": 1, "listener_ports": [5000, 5002, 65535], "publish_window": 256}),
    ("auth_operations", "auth", {"tenant_id": "t1", "token": "demo-token", "client_flags": 32767, "client_features": 4294967295, "client_features_hi": 2147483648}),
    ("auth_watch_batches", "auth", {"tenant_id": "t1", "token": "demo-token", "client_flags": 32767, "client_features": 4294967295, "client_features_hi": 3758096384}),
    ("auth_ok_operations", "auth_ok", {"server_flags": 32767, "server_features": 4294967295, "server_features_hi": 2147483648, "operation_window": 1024}),
    ("error_coded", "error", {"message": "tenant over its rate", "code": "overloaded", "retry": "retry_after", "detail": {"reason": "tenant_quota", "retry_after_ms": 250}}),
    ("error_escaped", "error", {"message": "quote \" slash \\ / tab \t line \n return \r back \b feed \f bell \u0007 zero \u0000 del \u007f \u00e9 \u20ac \U0001d11e"}),
    ("unsupported", "unsupported", {"request_type": "rename"}),
    ("unsupported_extension", "unsupported", {"request_type": "extension", "extension": "trace", "request_id": 4}),
    ("extension", "extension", {"name": "trace"}),
    ("extension_with_body", "extension", {"name": "trace", "request_id": 4, "body": {"a": [1, -2.5, True, None, "x"]}}),
    # Topology and routing.
    ("not_leader", "not_leader", {"node_id": "broker-1", "addr": "10.0.0.2:5000", "generation": 7}),
    ("not_leader_no_addr", "not_leader", {"node_id": "broker-1", "generation": 7}),
    ("topology", "topology", {}),
    ("topology_view", "topology_view", {"brokers": [{"node_id": "broker-0", "addr": "10.0.0.1:5000"}, {"node_id": "broker-1", "addr": "10.0.0.2:5000"}]}),
    ("topology_view_empty", "topology_view", {"brokers": []}),
    ("stream_shards", "stream_shards", {**STREAM, "request_id": 1}),
    ("stream_shards_view", "stream_shards_view", {"shards": 4, "request_id": 1}),
    ("stream_shards_view_jump_hash", "stream_shards_view", {"shards": 4, "request_id": 1, "routing": "jump_hash"}),
    ("cache_shards", "cache_shards", {**CACHE, "request_id": 2}),
    ("cache_shards_view", "cache_shards_view", {"shards": 0, "request_id": 2}),
    ("shard_owners", "shard_owners", {"tenant_id": "t1", "namespace": "default", "name": "demo", "kind": "stream", "request_id": 3}),
    ("shard_owners_cache", "shard_owners", {"tenant_id": "t1", "namespace": "default", "name": "primary", "kind": "cache", "request_id": 3}),
    ("shard_owners_view", "shard_owners_view", {"request_id": 3, "owners": [{"shard": 0, "generation": 0}, {"shard": 1, "node_id": "broker-1", "addr": "10.0.0.2:5000", "generation": 7}, {"shard": 2, "generation": 8, "unavailable": "moving"}]}),
    # Publishing.
    ("publish_acked", "publish", {**STREAM, "payload": "aGVsbG8=", "key": "azc=", "request_id": 7, "ack": "per_message"}),
    ("publish_empty", "publish", {**STREAM, "payload": "", "key": "", "ack": "none"}),
    ("publish_batch", "publish_batch", {**STREAM, "payloads": ["aGVsbG8=", "d29ybGQ=", ""], "key": "azc=", "request_id": 8, "ack": "per_batch"}),
    ("publish_batch_plain", "publish_batch", {**STREAM, "payloads": []}),
    ("publish_ok", "publish_ok", {"request_id": 7}),
    ("publish_ok_offset", "publish_ok", {"request_id": U64_MAX, "offset": 41}),
    ("publish_error", "publish_error", {"request_id": 7, "message": "stream not found"}),
    ("publish_error_coded", "publish_error", {"request_id": 7, "message": "queue is full", "code": "overloaded", "retry": "retry_after", "detail": {"reason": "publish_queue_full"}}),
    ("producer_init", "producer_init", {"request_id": 1}),
    ("producer_init_ok", "producer_init_ok", {"request_id": 1, "producer_id": U64_MAX}),
    ("publish_idempotent", "publish_idempotent", {**STREAM, "payloads": ["YQ==", "YmI="], "key": "azc=", "request_id": 2, "producer_id": U64_MAX, "sequence": 0}),
    ("publish_if", "publish_if", {**STREAM, "payloads": ["YQ=="], "expected_offset": 12, "request_id": 3}),
    ("publish_refused_sequence_gap", "publish_refused", {"request_id": 2, "reason": {"sequence_gap": {"expected": 5}}, "message": "expected 5"}),
    ("publish_refused_unknown_producer", "publish_refused", {"request_id": 2, "reason": "unknown_producer", "message": "unknown producer"}),
    ("publish_refused_sequence_expired", "publish_refused", {"request_id": 2, "reason": "sequence_expired", "message": "too old"}),
    ("publish_refused_sequence_reused", "publish_refused", {"request_id": 2, "reason": "sequence_reused", "message": "other payloads"}),
    ("publish_refused_offset_mismatch", "publish_refused", {"request_id": 3, "reason": {"offset_mismatch": {"tail": 13}}, "message": "tail is 13"}),
    ("publish_refused_not_leader", "publish_refused", {"request_id": 3, "reason": {"not_leader": {"node_id": "broker-1", "addr": "10.0.0.2:5000"}}, "message": "not the leader"}),
    ("publish_refused_not_leader_no_addr", "publish_refused", {"request_id": 3, "reason": {"not_leader": {"node_id": "broker-1"}}, "message": "not the leader"}),
    # Subscribing.
    ("subscribe_latest", "subscribe", {**STREAM, "start": "latest"}),
    ("subscribe_earliest", "subscribe", {**STREAM, "subscription_id": 9, "start": "earliest", "shard": 3}),
    ("subscribe_offset", "subscribe", {**STREAM, "subscription_id": 9, "start": {"offset": 100}, "shard": 3, "queue_capacity": 64}),
    ("subscribed", "subscribed", {"subscription_id": 9}),
    ("subscribed_durable", "subscribed", {"subscription_id": 9, "start_offset": 100, "live_offset": 140, "queue_capacity": 64}),
    ("subscribe_cursor_error_too_old", "subscribe_cursor_error", {"reason": "too_old", "requested": 1, "available": 100}),
    ("subscribe_cursor_error_in_future", "subscribe_cursor_error", {"reason": "in_future", "requested": 1000, "available": 140}),
    ("event_stream_hello", "event_stream_hello", {"subscription_id": 9}),
    ("shard_moved", "shard_moved", {"subscription_id": 9, "resume_from": 141, "node_id": "broker-1", "addr": "10.0.0.2:5000", "generation": 8}),
    ("shard_moved_in_memory", "shard_moved", {"subscription_id": 9, "generation": 8}),
    ("subscription_lagged", "subscription_lagged", {"subscription_id": 9, "resume_from": 120}),
    ("event_offset", "event", {**STREAM, "payload": "d29ybGQ=", "offset": 41}),
    ("event_batch", "event_batch", {**STREAM, "payloads": ["YQ==", "YmI="], "base_offset": 41}),
    # Cache.
    ("cache_put_forever", "cache_put", {**KEY, "value": "", "request_id": 5, "ttl_ms": None}),
    ("cache_get_numbered", "cache_get", {**KEY, "request_id": 5}),
    ("cache_delete", "cache_delete", {**KEY, "request_id": 5}),
    ("cache_value_miss", "cache_value", {**KEY, "value": None, "request_id": 5}),
    ("cache_value_version", "cache_value", {**KEY, "value": "Y2FjaGVk", "request_id": 5, "version": 77}),
    ("cache_ok", "cache_ok", {"request_id": 5}),
    ("cache_put_if_absent", "cache_put_if", {**KEY, "value": "Y2FjaGVk", "condition": "absent", "request_id": 5}),
    ("cache_put_if_version", "cache_put_if", {**KEY, "value": "Y2FjaGVk", "ttl_ms": 1000, "condition": {"version": 77}, "request_id": 5}),
    ("cache_delete_if", "cache_delete_if", {**KEY, "version": 77, "request_id": 5}),
    ("cache_condition_result", "cache_condition_result", {"applied": True, "version": 78, "request_id": 5}),
    ("cache_condition_result_refused", "cache_condition_result", {"applied": False, "request_id": 5}),
    ("cache_watch_key", "cache_watch", {**CACHE, "key": "demo-key", "retained": True, "subscription_id": 6}),
    ("cache_watch_prefix", "cache_watch", {**CACHE, "prefix": "demo-", "shard": 1, "from_offset": 50}),
    ("cache_watch_started", "cache_watch_started", {"subscription_id": 6, "resume_offset": 50, "resnapshot": False}),
    ("cache_watch_started_retained", "cache_watch_started", {"subscription_id": 6, "resume_offset": 50, "resnapshot": True, "retained_count": 3}),
    ("cache_event", "cache_event", {"key": "demo-key", "value": "Y2FjaGVk", "offset": 51, "expires_at_millis": 1700000000000}),
    ("cache_event_deleted", "cache_event", {"key": "demo-key", "offset": 52, "expires_at_millis": 0}),
    ("cache_watch_lagged", "cache_watch_lagged", {"resume_from": 52}),
    ("cache_watch_progress", "cache_watch_progress", {"resume_from": 53}),
    ("counter_add", "counter_add", {**KEY, "delta": -9223372036854775808, "request_id": 5}),
    ("counter_get", "counter_get", {**KEY, "request_id": 5}),
    ("counter_value", "counter_value", {"value": 9223372036854775807, "request_id": 5}),
    ("counter_value_absent", "counter_value", {"request_id": 5}),
    # Commit and state.
    ("commit", "commit", {**STREAM, "entity_key": "b3JkZXItMQ==", "event": "cGFpZA==", "changes": [{"op": "put", "key": "status", "value": "cGFpZA=="}, {"op": "delete", "key": "draft"}], "request_id": 5, "expected_offset": 12}),
    ("commit_no_changes", "commit", {**STREAM, "entity_key": "", "event": "", "changes": [], "request_id": 5}),
    ("commit_ok", "commit_ok", {"request_id": 5, "offset": 12}),
    ("state_get", "state_get", {**STREAM, "entity_key": "b3JkZXItMQ==", "key": "status", "request_id": 5}),
    ("state_value", "state_value", {"value": "cGFpZA==", "version": 12, "as_of": 14, "request_id": 5}),
    ("state_value_absent", "state_value", {"value": None, "request_id": 5}),
    # History.
    ("offset_for_time", "offset_for_time", {**STREAM, "shard": 0, "at_micros": 1700000000000000, "request_id": 5}),
    ("offset_value", "offset_value", {"offset": 12, "request_id": 5}),
    ("offset_value_none", "offset_value", {"request_id": 5}),
    ("stream_read", "stream_read", {**STREAM, "shard": 0, "from": 10, "request_id": 5}),
    ("stream_read_bounded", "stream_read", {**STREAM, "shard": 0, "from": 10, "end": 20, "max_records": 5, "max_bytes": 4096, "request_id": 5}),
    ("stream_records", "stream_records", {"records": [{"offset": 10, "payload": "YQ==", "timestamp_micros": 1700000000000000}, {"offset": 11, "payload": "YmI=", "publisher": "app-1", "timestamp_micros": 0}], "next_offset": 12, "request_id": 5}),
    # Consumer groups.
    ("group_poll", "group_poll", {**GROUP, "max_records": 10, "wait_ms": 0, "request_id": 5}),
    ("group_poll_consumer", "group_poll", {**GROUP, "max_records": 10, "wait_ms": 1000, "request_id": 5, "consumer": "w-1", "reclaim": True, "visibility_ms": 60000}),
    ("group_records", "group_records", {"records": [{"offset": 10, "payload": "YQ=="}, {"offset": 12, "payload": "YmI=", "attempts": 2, "skipped_before": 1, "publisher": "app-1", "timestamp_micros": 1700000000000000}], "request_id": 5}),
    ("group_ack", "group_ack", {**GROUP, "offset": 10, "request_id": 5}),
    ("group_nack", "group_nack", {**GROUP, "offset": 10, "request_id": 5}),
    ("group_nack_delayed", "group_nack", {**GROUP, "offset": 10, "request_id": 5, "delay_ms": 500, "attempts": 2}),
    ("group_extend", "group_extend", {**GROUP, "offset": 10, "attempts": 1, "extend_ms": 30000, "request_id": 5}),
    ("group_extended", "group_extended", {"visible_ms": 30000, "request_id": 5}),
    ("group_dead_letter", "group_dead_letter", {**GROUP, "offset": 10, "request_id": 5}),
    ("group_dead_letters", "group_dead_letters", {**GROUP, "request_id": 5}),
    ("group_dead_letter_list", "group_dead_letter_list", {"offsets": [3, U64_MAX], "request_id": 5}),
    ("group_discard", "group_discard", {**GROUP, "offset": 3, "request_id": 5}),
    ("group_redrive", "group_redrive", {**GROUP, "offset": 3, "request_id": 5}),
    ("group_seek", "group_seek", {**GROUP, "start": "earliest", "request_id": 5}),
    ("group_seek_if_new", "group_seek", {**GROUP, "start": {"offset": 4}, "if_new": True, "request_id": 5}),
    ("group_position", "group_position", {"offset": 4, "moved": True, "request_id": 5}),
    ("group_describe", "group_describe", {**GROUP, "request_id": 5}),
    ("group_info", "group_info", {"committed": 9, "tail": 12, "in_flight": 2, "owed": 1, "dead_letters": 0, "request_id": 5}),
    ("group_info_new", "group_info", {"tail": 12, "in_flight": 0, "owed": 0, "dead_letters": 0, "request_id": 5}),
    ("group_delete", "group_delete", {**GROUP, "request_id": 5}),
    ("group_deleted", "group_deleted", {"existed": False, "request_id": 5}),
    # Inspection.
    ("shard_inspect", "shard_inspect", {"tenant_id": "t1", "namespace": "default", "name": "demo", "kind": "stream", "shard": 0, "request_id": 5}),
    ("shard_inspect_info", "shard_inspect_info", {"request_id": 5, "view": {"node_id": "", "shards": 1, "role": "leader", "phase": "active", "serving": True}}),
    ("shard_inspect_info_full", "shard_inspect_info", {"request_id": 5, "view": {"node_id": "broker-0", "shards": 4, "role": "follower", "phase": "fencing", "serving": False, "reason": "lease_lapsed", "detail": "no lease", "generation": 7, "assignment": {"generation": 7, "leader": "broker-0", "replicas": ["broker-1", "broker-2"], "draining": True, "successor": "broker-1"}, "fence": {"took": ["broker-1"], "pending": [], "attempts": 2, "retry_in_ms": 100}, "lease": {"held": True, "remaining_ms": 900}, "tail": 12, "committed": 11, "accepted_generation": 6, "replicas": [{"node_id": "broker-1", "role": "follower", "next_offset": 12, "lag": 0, "fence": True, "state": "shipping"}, {"node_id": "broker-2", "role": "learner", "next_offset": 2, "lag": 10, "fence": False, "state": "halted", "halted": "disk full"}]}}),
    ("subscriptions_list", "subscriptions_list", {"request_id": 5}),
    ("subscriptions_list_filtered", "subscriptions_list", {"request_id": 5, "filter": {"tenant_id": "t1", "namespace": "default", "stream": "demo", "shard": 0, "principal": "app-1", "dropping": False}, "limit": 10, "cursor": {**STREAM, "shard": 0, "subscriber_id": 3}}),
    ("subscriptions_list_info", "subscriptions_list_info", {"request_id": 5, "node_id": "", "subscriptions": []}),
    ("subscriptions_list_info_full", "subscriptions_list_info", {"request_id": 5, "node_id": "broker-0", "subscriptions": [{**STREAM, "shard": 0, "subscriber_id": 3, "subscription_id": 9, "connection": 4, "peer": "127.0.0.1:40000", "principal": "app-1", "policy": "drop_new", "depth": 0, "capacity": 512, "dropped": 0, "position": 12, "tail": 12, "age_ms": 1500}], "next_cursor": {**STREAM, "shard": 0, "subscriber_id": 3}}),
]


def u8(n):
    return struct.pack(">B", n)


def u16(n):
    return struct.pack(">H", n)


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def text(s):
    return u16(len(s.encode())) + s.encode()


def frame(flags, payload):
    return u32(0x464C5831) + u16(1) + u16(flags) + u32(len(payload)) + payload


def records(payloads, stamps=None):
    out = b""
    for i, payload in enumerate(payloads):
        out += (u64(stamps[i]) if stamps else b"") + u32(len(payload.encode())) + payload.encode()
    return out


def publish(name, payloads, ack=None, request_id=None, producer=None, key=None):
    flags, body, fields = 0x0001, b"", {}
    if ack:
        flags |= 0x0008
        body += u64(request_id) + u8({"per_message": 1, "per_batch": 2}[ack])
        fields.update(request_id=request_id, ack_mode=ack)
    if producer:
        flags |= 0x0100
        body += u64(producer[0]) + u64(producer[1])
        fields.update(producer_id=producer[0], sequence=producer[1])
    if key is not None:
        flags |= 0x0040
        body += text(key)
        fields.update(key_utf8=key)
    body += text("t1") + text("default") + text("demo") + u32(len(payloads)) + records(payloads)
    kind = "binary_acked_publish_batch" if ack else "binary_publish_batch"
    fields.update(STREAM, payloads_utf8=payloads)
    return name, kind, flags, fields, body


RETRY = {"retry": 1, "retry_after": 2, "redirect": 3, "outcome_unknown": 4, "fatal": 5}


def ack(name, request_id, message=None, code=None, detail=None, owner=None, offset=None):
    flags = 0x0010
    fields = {"status": "error" if message else "ok", "request_id": request_id, "message": message}
    body = u8(1 if message else 0) + u64(request_id) + text(message or "")
    if code:
        flags |= 0x0200
        body += u16(code[0]) + u8(RETRY[code[1]])
        fields.update(code=code[0], retry=code[1])
    if detail:
        flags |= 0x0400
        body += text(detail[0]) + u64(detail[1])
        fields.update(reason=detail[0], retry_after_ms=detail[1])
    if owner:
        flags |= 0x0080
        body += text(owner[0]) + text(owner[1] or "") + u64(owner[2])
        fields.update(node_id=owner[0], addr=owner[1], generation=owner[2])
    if offset is not None:
        flags |= 0x1000
        body += u64(offset)
        fields.update(offset=offset)
    return name, "binary_publish_ack", flags, fields, body


def event(name, payloads, subscription=None, base=None, skipped=None, publisher=None, stamps=None):
    flags, body, fields = 0x0004, b"", {}
    if subscription is not None:
        flags = 0x0002
        body += u64(subscription)
        fields.update(subscription_id=subscription)
    if base is not None:
        flags |= 0x0020
        body += u64(base)
        fields.update(base_offset=base)
    if skipped is not None:
        flags |= 0x0800
        body += u64(skipped)
        fields.update(skipped_before=skipped)
    if publisher is not None:
        flags |= 0x2000
        body += u8(len(publisher.encode())) + publisher.encode()
        fields.update(publisher=publisher)
    if stamps:
        flags |= 0x4000
        fields.update(timestamps_micros=stamps)
    body += u32(len(payloads)) + records(payloads, stamps)
    fields.update(payloads_utf8=payloads)
    return name, "binary_event_batch", flags, fields, body


BINARY = [
    ack("binary_publish_ack_error", 9, "stream not found"),
    ack("binary_publish_ack_ok", 7),
    publish("binary_publish_acked", ["hello"], "per_batch", 7),
    publish("binary_publish_acked_keyed", ["hello"], "per_batch", 7, key="k7"),
    publish("binary_publish_keyed", ["hello"], key="k7"),
    publish("binary_publish", ["hello", "", "world"]),
    publish("binary_publish_empty_batch", []),
    publish("binary_publish_empty_key", ["hello"], key=""),
    publish("binary_publish_acked_per_message", ["hello"], "per_message", U64_MAX),
    publish("binary_publish_idempotent", ["a", "bb"], "per_batch", 7, (U64_MAX, 0)),
    publish("binary_publish_idempotent_keyed", ["a", "bb"], "per_batch", 7, (12, 3), "k7"),
    ack("binary_publish_ack_offset", 7, offset=41),
    ack("binary_publish_ack_owner", 7, owner=("broker-1", "10.0.0.2:5000", 8)),
    ack("binary_publish_ack_owner_no_addr", 7, owner=("broker-1", None, 8), offset=41),
    ack("binary_publish_ack_code", 9, "stream not found", (3, "retry_after")),
    ack("binary_publish_ack_unknown_code", 9, "new trouble", (999, "retry")),
    ack("binary_publish_ack_detail", 9, "tenant over its rate", (10, "retry_after"), ("tenant_quota", 250)),
    event("binary_event_batch", ["hello", "", "world"]),
    event("binary_event_batch_offsets", ["hello", "world"], base=41),
    event("binary_event_batch_skipped", ["hello"], base=41, skipped=2),
    event("binary_event_batch_publisher", ["hello"], base=41, publisher="app-1"),
    event("binary_event_batch_timestamps", ["hello", "world"], stamps=[1700000000000000, 1700000000000000]),
    event("binary_event_batch_all", ["hello", "world"], base=41, skipped=1, publisher="app-1", stamps=[1700000000000000, 1700000000000001]),
    event("binary_event_batch_legacy", ["hello"], subscription=9),
    event("binary_event_batch_legacy_all", ["hello"], subscription=9, base=41, skipped=1, publisher="", stamps=[0]),
]


# ---- operations: docs/spec/extensions.md 1 ----


def key(s):
    return u32(len(s.encode())) + s.encode()


def i64(n):
    return struct.pack(">q", n)


def operation(opcode, number, ident, body=b"", flags=0):
    """One operation: `number` is the handle of a request, the status of an answer."""
    return opcode, flags, number, ident, body


NAMES = text("t1") + text("default")
OPEN_CACHE = u8(1) + NAMES + text("primary")
OPEN_STREAM = u8(0) + NAMES + text("demo")
G = u32(2) + text("workers")


def failure(opcode, ident, status, retry, message, detail=None):
    body = u8(RETRY[retry]) + text(message)
    if detail:
        body += text(detail[0]) + u64(detail[1])
    return operation(opcode, status, ident, body, 1 if detail else 0)


def record(offset, payload, stamp=0, skipped=0, attempts=0, publisher=""):
    return u64(offset) + u64(stamp) + u64(skipped) + u32(attempts) + text(publisher) + u32(len(payload)) + payload


OPERATIONS = [
    ("operations_open_and_get", "operations", [operation(0x01, 0, 1, OPEN_CACHE), operation(0x10, 0, 2, b"demo-key"), operation(0x10, 0, 4294967295, "schl\u00fcssel".encode())]),
    ("operations_open_stream", "operations", [operation(0x01, 255, 1, OPEN_STREAM)]),
    ("operations_placement", "operations", [operation(0x02, 0, 1, OPEN_STREAM + u32(3)), operation(0x02, 0, 2, u8(1) + NAMES + text("demo") + u32(0)), operation(0x02, 0, 3, u8(2) + NAMES + text("primary") + u32(0) + b"demo-key", 1), operation(0x02, 0, 4, OPEN_STREAM + u32(0) + b"\xff\x00", 1)]),
    ("operations_cache", "operations", [operation(0x11, 0, 1, key("demo-key") + b"cached"), operation(0x11, 0, 2, u64(1000) + key("demo-key"), 1), operation(0x12, 0, 3, b"demo-key"), operation(0x13, 0, 4, key("demo-key") + b"cached"), operation(0x13, 0, 5, u64(1000) + u64(77) + key("") + b"\x00\xff", 3), operation(0x14, 0, 6, u64(U64_MAX) + b"demo-key"), operation(0x10, 0, 7)]),
    ("operations_counter", "operations", [operation(0x20, 1, 1, i64(-9223372036854775808) + b"demo-key"), operation(0x21, 1, 2, b"demo-key")]),
    ("operations_group", "operations", [operation(0x30, 2, 1, G + u32(10) + u64(0)), operation(0x30, 2, 2, G + u32(10) + u64(1000) + text("w-1") + u64(60000), 7), operation(0x31, 2, 3, G + u64(10)), operation(0x32, 2, 4, G + u64(10)), operation(0x32, 2, 5, G + u64(10) + u64(500) + u32(2), 3), operation(0x33, 2, 6, G + u64(10) + u32(1) + u64(30000)), operation(0x34, 2, 7, G + u64(10)), operation(0x35, 2, 8, G), operation(0x36, 2, 9, G + u64(3)), operation(0x37, 2, 10, G + u64(3)), operation(0x38, 2, 11, G + u8(1) + u64(0)), operation(0x38, 2, 12, G + u8(2) + u64(4), 1), operation(0x39, 2, 13, G), operation(0x3A, 2, 14, G)]),
    ("operation_answers_cache", "operation_answers", [operation(0x01, 0, 1, u32(4) + u8(0)), operation(0x10, 0, 2, u64(77) + b"cached", 1), operation(0x10, 0, 3), operation(0x10, 0, 4, u64(78), 1), operation(0x11, 0, 5), operation(0x12, 0, 6, u64(77) + b"cached", 1), operation(0x13, 0, 7, u64(79), 3), operation(0x13, 0, 8, u64(77), 2), operation(0x14, 0, 9, b"", 1), operation(0x14, 0, 10)]),
    ("operation_answers_open_jump_hash", "operation_answers", [operation(0x01, 0, 1, u32(1) + u8(1))]),
    ("operation_answers_placement", "operation_answers", [operation(0x02, 0, 1, u16(4) + u16(3))]),
    ("operation_answers_counter", "operation_answers", [operation(0x20, 0, 1, i64(-1), 1), operation(0x21, 0, 2)]),
    ("operation_answers_group", "operation_answers", [operation(0x30, 0, 1), operation(0x30, 0, 2, record(10, b"a") + record(12, b"", 1700000000000000, 1, 2, "app-1")), operation(0x31, 0, 3), operation(0x32, 0, 4), operation(0x33, 0, 5, u64(30000)), operation(0x34, 0, 6), operation(0x35, 0, 7, u64(3) + u64(U64_MAX)), operation(0x36, 0, 8), operation(0x37, 0, 9), operation(0x38, 0, 10, u64(4), 1), operation(0x39, 0, 11, u64(9) + u64(12) + u64(2) + u64(1) + u64(0), 1), operation(0x39, 0, 12, u64(12) + u64(0) + u64(0) + u64(0)), operation(0x3A, 0, 13, b"", 1)]),
    ("operation_answers_failures", "operation_answers", [failure(0x10, 1, 3, "retry_after", "cache not found"), failure(0x11, 2, 10, "retry_after", "out of memory", ("publish_queue_full", 250)), failure(0x20, 3, 65535, "fatal", "unsupported"), failure(0x7F, 4, 65535, "fatal", ""), failure(0x10, 5, 999, "retry", "new trouble")]),
]


def operations_payload(rows):
    return b"".join(u32(len(body)) + u8(opcode) + u8(flags) + u16(number) + u32(ident) + body for opcode, flags, number, ident, body in rows)


def operations_fields(kind, rows):
    number_name = "handle" if kind == "operations" else "status"
    return {"kind": kind, "flags": 0x8000, "operations": [{"opcode": opcode, "flags": flags, number_name: number, "id": ident, "body_hex": body.hex()} for opcode, flags, number, ident, body in rows]}


# ---- batches of changes: docs/spec/extensions.md 3 ----


def varint(n):
    low = b""
    while n >= 0x80:
        low += u8(n & 0x7F | 0x80)
        n >>= 7
    return low + u8(n)


def put(offset, key, value=b"", expires=0):
    return offset, key, value, expires


def delete(offset, key):
    return offset, key, None, 0


CHANGES = [
    ("change_batch", "changes", 44, [put(41, "demo-key", b"cached"), delete(42, "demo-key"), put(43, "schl\u00fcssel", b"\x00\xff", 1700000000000)]),
    ("change_batch_others_between", "changes", 1000, [put(7, "k"), delete(900, "k")]),
    ("change_batch_empty", "changes", 53, []),
    ("change_batch_long", "changes", 2, [put(0, "k" * 128, b"v" * 300), delete(1, "")]),
    ("change_batch_snapshot", "snapshot", 1700000000000100, [put(1700000000000099, "demo-key", b"cached"), put(1, "b"), put(1700000000000000, "c", b"", 1800000000000)]),
    ("change_batch_far", "snapshot", U64_MAX, [put(0, "first", b"a")]),
]


def change(end, row):
    offset, key, value, expires = row
    body = u8(0x02 if value is None else 0x81 if expires else 0x01) + varint(end - offset) + varint(len(key.encode())) + key.encode()
    if expires:
        body += u64(expires)
    return body if value is None else body + varint(len(value)) + value


def change_batch_payload(kind, end, rows):
    return u8(kind == "snapshot") + u64(end) + u32(len(rows)) + b"".join(change(end, row) for row in rows)


def change_batch_fields(kind, end, rows):
    return {"kind": "change_batch", "flags": 0x8000, "batch": kind, "end": end, "changes": [{"offset": offset, "key_utf8": key, "value_hex": None if value is None else value.hex(), "expires_at_millis": expires} for offset, key, value, expires in rows]}


def write(name, fields, payload, flags):
    row = {"name": name, **fields, "payload_hex": payload.hex(), "frame_hex": frame(flags, payload).hex()}
    (FOLDER / (name + ".json")).write_text(json.dumps(row, indent=2) + "\n")


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, kind, fields in MESSAGES:
        payload = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
        write(name, {"payload_json": payload}, payload.encode(), 0)
    for name, kind, flags, fields, payload in BINARY:
        write(name, {"kind": kind, "flags": flags, **fields}, payload, flags)
    for name, kind, rows in OPERATIONS:
        write(name, operations_fields(kind, rows), operations_payload(rows), 0x8000)
    for name, kind, end, rows in CHANGES:
        write(name, change_batch_fields(kind, end, rows), change_batch_payload(kind, end, rows), 0x8000)


if __name__ == "__main__":
    main()
