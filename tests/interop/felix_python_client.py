# SPDX-License-Identifier: Apache-2.0
"""What the published Python client does against a node; run by test_published_python.py in the
environment that has the package. Arguments: address, token, CA file, refused token."""
import sys
import time

import felix

address, token, ca_file, bad_token = sys.argv[1:5]
T, NS = "t1", "default"


def take(subscription, count):
    events = []
    while len(events) < count:
        event = subscription.next_event(timeout=20)
        assert event is not None, f"only {len(events)} of {count} events came"
        events.append(event)
    return events


with felix.Client(address, tenant_id=T, token=token, ca_file=ca_file) as client:
    print("connected to", client.endpoints())

    # Unkeyed: everything on shard 0, in order.
    with client.subscribe(T, NS, "interop") as events:
        for i in range(200):
            client.publish(T, NS, "interop", b"m%d" % i)
        assert [e.payload for e in take(events, 200)] == [b"m%d" % i for i in range(200)]
    print("publish and subscribe: ok")

    # Keyed on four shards: every record arrives, order per key.
    assert client.stream_shards(T, NS, "interop-sharded") == 4
    with client.subscribe_sharded(T, NS, "interop-sharded") as events:
        for i in range(200):
            client.publish(T, NS, "interop-sharded", b"k%d:%d" % (i % 7, i), key=b"k%d" % (i % 7))
        last = {}
        for record in take(events, 200):
            event = getattr(record, "event", record)
            key, number = event.payload.split(b":")
            assert int(number) > last.get(key, -1), "order per key"
            last[key] = int(number)
        assert len(last) == 7
    print("keyed publish: ok")

    # Binary-safe payloads of awkward sizes.
    with client.subscribe(T, NS, "interop") as events:
        sizes = [0, 1, 1199, 1200, 65535, 65536, 1 << 20]
        for size in sizes:
            client.publish(T, NS, "interop", bytes((size + j) & 255 for j in range(256)) * (size // 256 + 1))
        for size, event in zip(sizes, take(events, len(sizes))):
            assert event.payload == bytes((size + j) & 255 for j in range(256)) * (size // 256 + 1)
    print("payload sizes: ok")

    # Earliest from the replay ring.
    with client.subscribe(T, NS, "interop", start="earliest") as events:
        assert take(events, 1)[0].payload == b"m0"
    print("earliest: ok")

    # Cache.
    assert client.cache_get(T, NS, "primary", "absent") is None
    client.cache_put(T, NS, "primary", "k", b"v1")
    assert client.cache_get(T, NS, "primary", "k") == b"v1"
    client.cache_put(T, NS, "primary", "short", b"soon gone", ttl=0.2)
    assert client.cache_get(T, NS, "primary", "short") == b"soon gone"
    deadline = time.monotonic() + 20
    while client.cache_get(T, NS, "primary", "short") is not None:
        assert time.monotonic() < deadline, "the TTL passed and the key is still there"
        time.sleep(0.05)
    assert client.cache_delete(T, NS, "primary", "k") == b"v1"
    assert client.cache_get(T, NS, "primary", "k") is None
    print("cache: ok")

    # Watches: what is there, then every change; deletes without a value; from an offset; cursor errors.
    client.cache_put(T, NS, "primary", "w/1", b"old")
    key, prefix = felix.CacheWatchFilter.key("w/1"), felix.CacheWatchFilter.prefix("w/")
    with client.watch_cache(T, NS, "primary", prefix, retained=True) as watch:
        assert watch.retained_count == 1 and not watch.resnapshot
        first = watch.recv(timeout=20)
        assert (first.key, first.value) == ("w/1", b"old") and first.offset < watch.resume_offset
        client.cache_put(T, NS, "primary", "other", b"not for us")
        client.cache_put(T, NS, "primary", "w/2", b"two", ttl=3600)
        put = watch.recv(timeout=20)
        assert (put.key, put.value) == ("w/2", b"two") and put.offset >= watch.resume_offset
        assert put.expires_at_millis > time.time() * 1000
        client.cache_delete(T, NS, "primary", "w/1")
        gone = watch.recv(timeout=20)
        assert gone.key == "w/1" and gone.value is None and gone.offset > put.offset
    with client.watch_cache(T, NS, "primary", key, start=put.offset) as watch:
        assert watch.resume_offset == put.offset
        again = watch.recv(timeout=20)
        assert (again.key, again.offset) == ("w/1", gone.offset)
    with client.watch_cache(T, NS, "primary", prefix, start=1) as watch: # long gone
        assert watch.resnapshot and watch.recv(timeout=20).key == "w/2"
    try:
        client.watch_cache(T, NS, "primary", key, start=2**62)
        raise AssertionError("an offset in the future was accepted")
    except felix.CursorError:
        pass
    print("cache watches: ok")

    # Counters.
    assert client.counter_get(T, NS, "primary", "visits") is None
    assert client.counter_add(T, NS, "primary", "visits", 5) == 5
    assert client.counter_add(T, NS, "primary", "visits", -7) == -2
    assert client.counter_get(T, NS, "primary", "visits") == -2
    print("counters: ok")

    # Errors are typed.
    try:
        client.publish(T, NS, "never-created", b"x")
        raise AssertionError("an unknown stream was accepted")
    except felix.NotFoundError as error:
        assert error.code == "not_found", error.code
    assert client.stream_shards(T, NS, "never-created") == 0
    try:
        client.subscribe(T, NS, "interop", start=10**9)
        raise AssertionError("an offset in the future was accepted")
    except felix.CursorError:
        pass
    print("typed errors: ok")

try:
    felix.Client(address, tenant_id=T, token=bad_token, ca_file=ca_file)
    raise AssertionError("a tampered token was accepted")
except felix.AuthError:
    print("refused token: ok")

with felix.Client(address, tenant_id=T, token=token, ca_file=ca_file, offer_alpn=True) as client:
    client.cache_put(T, NS, "primary", "alpn", b"1")
print("ALPN offered: ok")
