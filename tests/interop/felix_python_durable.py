# SPDX-License-Identifier: Apache-2.0
"""What the published Python client does across a kill -9 of the node; run twice by test_published_python.py (durable.py).
Arguments: address, token, CA file, a file of its own, `before` or `after`."""
import json
import sys

import felix

address, token, ca_file, path, word = sys.argv[1:6]
T, NS = "t1", "default"
client = felix.Client(address, tenant_id=T, token=token, ca_file=ca_file)


def take(subscription, count):
    events = []
    while len(events) < count:
        event = subscription.next_event(timeout=20)
        assert event is not None, f"only {len(events)} of {count} events came"
        events.append(getattr(event, "event", event))
    return events


def expect_cursor_error(call):
    try:
        call()
    except felix.CursorError as error:
        return str(error)
    raise AssertionError("an impossible start was accepted")


def before():
    for i in range(100):
        client.publish(T, NS, "kept", b"m%d" % i, at_least_once=i % 2 == 0)
    with client.subscribe(T, NS, "kept", start="earliest") as events:
        assert [e.offset for e in take(events, 100)] == list(range(100))
    for i in range(40):
        client.publish(T, NS, "kept-sharded", b"k%d:%d" % (i % 7, i), key=b"k%d" % (i % 7))
    with client.subscribe_sharded(T, NS, "kept-sharded", start="earliest") as events:
        take(events, 40)
        positions = events.positions()
    for i in range(64): # 8 MiB where 4 may stay
        client.publish(T, NS, "short", bytes(131072))
    client.cache_put(T, NS, "kept", "w/1", b"one")
    with client.watch_cache(T, NS, "kept", felix.CacheWatchFilter.prefix("w/"), retained=True) as watch:
        assert watch.retained_count == 1
        first = watch.recv(timeout=20)
        client.cache_put(T, NS, "kept", "w/2", b"two")
        client.cache_delete(T, NS, "kept", "w/1")
        put, gone = watch.recv(timeout=20), watch.recv(timeout=20)
    assert first.offset < put.offset < gone.offset
    assert client.counter_add(T, NS, "kept", "visits", 41) == 41
    json.dump({"positions": positions, "put": put.offset, "gone": gone.offset}, open(path, "w"))
    print("before the kill: ok")


def after():
    known = json.load(open(path))
    with client.subscribe(T, NS, "kept", start="earliest") as events:
        assert [(e.offset, e.payload) for e in take(events, 100)] == \
            [(i, b"m%d" % i) for i in range(100)]
    with client.subscribe(T, NS, "kept", start=60) as events:
        assert take(events, 1)[0].offset == 60, "a start at an offset is exact"
        client.publish(T, NS, "kept", b"after", at_least_once=True)
        assert take(events, 40)[-1].payload == b"after", "history and live join"
    print("offsets after the kill: ok")

    # Nothing of what was read comes again, and what is new comes.
    positions = {int(shard): offset for shard, offset in known["positions"].items()}
    with client.subscribe_sharded(T, NS, "kept-sharded", resume=positions) as events:
        client.publish(T, NS, "kept-sharded", b"new", key=b"k1")
        assert take(events, 1)[0].payload == b"new"
    print("positions after the kill: ok")

    expect_cursor_error(lambda: client.subscribe(T, NS, "short", start=0))
    expect_cursor_error(lambda: client.subscribe(T, NS, "short", start=10**6))
    with client.subscribe(T, NS, "short", start="earliest") as events:
        assert take(events, 1)[0].offset > 0
    print("cursor errors: ok")

    assert client.cache_get(T, NS, "kept", "w/2") == b"two"
    assert client.cache_get(T, NS, "kept", "w/1") is None
    prefix = felix.CacheWatchFilter.prefix("w/")
    with client.watch_cache(T, NS, "kept", prefix, start=known["put"]) as watch:
        assert watch.resume_offset == known["put"] and not watch.resnapshot
        put, gone = watch.recv(timeout=20), watch.recv(timeout=20)
        assert (put.key, put.value, put.offset) == ("w/2", b"two", known["put"])
        assert (gone.key, gone.value, gone.offset) == ("w/1", None, known["gone"])
        client.cache_put(T, NS, "kept", "w/3", b"three")
        assert watch.recv(timeout=20).key == "w/3"
    with client.watch_cache(T, NS, "kept", prefix, retained=True) as watch:
        state = {}
        for _ in range(watch.retained_count):
            change = watch.recv(timeout=20)
            state[change.key] = change.value
        assert state == {"w/2": b"two", "w/3": b"three"}
    expect_cursor_error(lambda: client.watch_cache(T, NS, "kept", prefix, start=2**62))
    print("watches after the kill: ok")

    assert client.counter_get(T, NS, "kept", "visits") == 41
    assert client.counter_add(T, NS, "kept", "visits", 1) == 42
    print("counters after the kill: ok")


{"before": before, "after": after}[word]()
