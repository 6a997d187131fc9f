# SPDX-License-Identifier: Apache-2.0
"""One run of each kind of work, against a node or a peer: words to the load programs in, figures out.

Every answer has "lost" (anything that makes the run void), `cpu_us` or `cpu_per_million` of the
server, the resident memory of it, and in a counting pass `calls` and `allocs` a unit. A unit is what
the figure's name says: a delivery for relay(), a message for latency() and acked(), a request for
cache().
"""
import contextlib

import disk

MB = 1e6


def seconds_between(start, end):
    return (end - start) / 1e9


def per_unit(used, units):
    """The server's figures a unit, from what a meter said."""
    figures = {key: value for key, value in used.items() if key != "cpu_s"}
    figures["cpu_us"] = used["cpu_s"] * 1e6 / units
    return figures


def percentiles(result):
    return {key: result[f"{key}_us"] for key in ("p50", "p99", "p999", "max")}


def measured(system, load, *seconds):
    """One load program's measured part, which may take `seconds`: what it says, and what the server used
    meanwhile."""
    with load:
        load.expect("warm")
        meter = system.meter()
        load.go()
        result = load.expect("result", *seconds)
        used = meter.stop(result["count"])
    return result, used


def latency(system, *words, count, size=256):
    """One message in flight, until the last subscriber has it."""
    result, used = measured(system, system.latency("--stream", system.fresh(), "--size", size,
                                                   "--count", count, *words))
    figures = per_unit(used, result["count"])
    figures.update(percentiles(result), lost=result["wrong"],
                   tail=result["p99_us"] / result["p50_us"],
                   client_cpu_us=result["cpu_s"] * 1e6 / result["count"])
    return figures


def default_batch(size):
    """As many as make 64 KiB."""
    return max(1, min(1024, 65536 // max(size, 1)))


class Relay:
    """`count` messages to `subs` subscribers, a connection each, from one or several publishers."""

    def __init__(self, size, subs, count, batch=None, acks="batch", publishers=1, window=None,
                 jumbo=0, ring=1.0):
        self.size = size
        self.subs = subs
        self.batch = batch or default_batch(size)
        self.publishers = publishers
        batches = 20 if subs < 1000 else 4  # at least
        self.count = max(count, batches * self.batch * publishers) // publishers  # of each publisher
        self.acks = acks
        self.window = window
        self.jumbo = jumbo
        self.ring = ring  # how much of the ring the warm-up goes round

    def warm_up(self, ring_bytes):
        """Messages of each publisher: once round the ring, unless that is too much for so many."""
        around = min(ring_bytes, 400 * MB / self.subs) * min(1, self.ring) / max(self.size, 64)
        return max(self.batch * 4, self.count // 10, int(around / self.publishers))

    def words(self, system):
        words = ["--stream", system.fresh(), "--subs", self.subs, "--publishers", self.publishers,
                 "--progress", system.progress_file()]
        return words + (["--udp-payload-max", self.jumbo] if self.jumbo else [])

    def run(self, system):
        words = self.words(system)
        warm_up = self.warm_up(system.ring_bytes)
        all_of_it = ["--count", self.count * self.publishers,
                     "--warm-up", warm_up * self.publishers]
        each = ["--count", self.count, "--warm-up", warm_up, "--size", self.size,
                "--batch", self.batch, "--acks", self.acks,
                "--window", self.window or system.window]
        with contextlib.ExitStack() as stack:
            sub = stack.enter_context(system.pubsub("sub", "--conns", self.subs, *words,
                                                    *all_of_it))
            sub.expect("ready")
            pubs = [stack.enter_context(system.pubsub("pub", "--publisher", i, *words, *each))
                    for i in range(self.publishers)]
            for pub in pubs:
                pub.expect("warm")
            sub.expect("warm")
            meter = system.meter()
            for pub in pubs:
                pub.go()
            received = sub.expect("result")
            used = meter.stop(self.count * self.publishers * self.subs)
            sent = [pub.expect("result") for pub in pubs]
        return self.figures(used, received, sent)

    def figures(self, used, received, sent):
        messages = self.count * self.publishers
        deliveries = messages * self.subs
        seconds = seconds_between(min(one["start_ns"] for one in sent), received["end_ns"])
        figures = per_unit(used, deliveries)
        figures.update(
            lost=(received["lost"] + received["wrong"] + received["gaps"]
                  + sum(one["failed"] for one in sent)),
            rate=deliveries / seconds, mb_s=deliveries * self.size / seconds / MB,
            cpu_per_million=figures["cpu_us"], broker_cpu=used["cpu_s"] / seconds,
            per_cpu_s=deliveries / used["cpu_s"],
            pub_cpu_us=sum(one["cpu_s"] for one in sent) * 1e6 / messages,
            sub_cpu_us=received["cpu_s"] * 1e6 / deliveries)
        if self.size > 0:
            figures["cpu_per_gb"] = used["cpu_s"] / (deliveries * self.size / 1e9)
        if received["count"] > 0:
            figures.update(percentiles(received))
        return figures


FETCHED = "felix_log_block_fetches_total"
SERVED = "felix_log_blocks_read_total"


class Replay:
    """`subs` readers, a connection each, of the `count` messages that a stream has, from the earliest."""

    def __init__(self, size, subs, count):
        self.size = size
        self.subs = subs
        self.count = count

    def fill(self, system):
        return system.filled(self.size, default_batch(self.size), self.count)

    def load(self, system, stream):
        """The readers, connected, that wait for their go."""
        return system.pubsub("replay", "--stream", stream, "--subs", self.subs, "--conns", self.subs,
                             "--count", self.count, "--warm-up", 0)

    def run(self, system):
        stream = self.fill(system)
        with self.load(system, stream) as readers:
            readers.expect("warm")
            blocks = system.figures(FETCHED, SERVED)
            meter = system.meter()
            readers.go()
            start_ns = readers.expect("began")["start_ns"]
            received = readers.expect("result")
            used = meter.stop(self.count * self.subs)
            blocks = {name: value - blocks[name]
                      for name, value in system.figures(FETCHED, SERVED).items()}
        return self.figures(used, received, start_ns, blocks)

    def figures(self, used, received, start_ns, blocks):
        deliveries = self.count * self.subs
        seconds = seconds_between(start_ns, received["end_ns"])
        figures = per_unit(used, deliveries)
        figures.update(
            lost=received["lost"] + received["wrong"] + received["gaps"],
            rate=deliveries / seconds, mb_s=deliveries * self.size / seconds / MB,
            cpu_per_gb=used["cpu_s"] / (deliveries * self.size / 1e9),
            cpu_per_million=figures["cpu_us"], broker_cpu=used["cpu_s"] / seconds,
            per_cpu_s=deliveries / used["cpu_s"],
            sub_cpu_us=received["cpu_s"] * 1e6 / deliveries,
            reads=blocks[FETCHED], served_per_read=blocks[SERVED] / max(1, blocks[FETCHED]))
        return figures


def replay_beside(system, latency_count, megabytes):
    """latency() of a stream in memory while one reader has the history of another, a durable one."""
    history = Replay(1024, 1, int(megabytes * MB / 1024))
    stream = history.fill(system)
    with history.load(system, stream) as reader, \
         system.latency("--stream", system.fresh(), "--size", 256, "--count",
                        latency_count) as players:
        reader.expect("warm")
        players.expect("warm")
        reader.go()
        reader.expect("began")
        players.go()
        played = players.expect("result")
        received = reader.expect("result")
    figures = percentiles(played)
    figures["lost"] = (played["wrong"] + received["lost"] + received["wrong"] + received["gaps"])
    return figures


def stream_read(system, count, size, records):
    """History asked for a page at a time."""
    stream = Replay(size, 1, count).fill(system)
    result, used = measured(system, system.load("stream_read", "--stream", stream, "--count", count,
                                                "--records", records))
    figures = per_unit(used, result["count"])
    seconds = seconds_between(result["start_ns"], result["end_ns"])
    figures.update(lost=result["wrong"], rate=result["count"] / seconds,
                   cpu_per_million=figures["cpu_us"],
                   client_cpu_us=result["cpu_s"] * 1e6 / result["count"])
    return figures


def requests(system, load, wrong, *seconds):
    """What acked() and cache() share: requests answered one by one."""
    result, used = measured(system, load, *seconds)
    figures = per_unit(used, result["count"])
    figures.update(percentiles(result), lost=result[wrong],
                   rate=result["count"] / seconds_between(result["start_ns"], result["end_ns"]),
                   per_cpu_s=result["count"] / used["cpu_s"],
                   client_cpu_us=result["cpu_s"] * 1e6 / result["count"])
    return figures


GROUPS, GROUP_BYTES = "felix_log_writes_total", "felix_log_write_bytes_total"


def against_disk(system, records, inflight, size, run):
    """Synced requests that write `records`. Beside them the disk alone: our own append and fdatasync, as if
    all that is in flight were one write, and fio with writes as large as the node's were."""
    appends = disk.appends_a_second(system.folder, size * inflight)
    before = system.figures(GROUPS, GROUP_BYTES)
    figures = run()
    groups, group_bytes = (after - before[name] for name, after in
                            system.figures(GROUPS, GROUP_BYTES).items())
    group = records / groups
    figures.update(sync_us=1e6 / appends, of_floor=figures["rate"] / (appends * inflight),
                   group=group, group_bytes=group_bytes / groups)
    for kind, writes in disk.fio_floors(system.folder, round(group_bytes / groups)).items():
        figures[f"fio_{kind}_us"] = 1e6 / writes
        figures[f"of_fio_{kind}"] = figures["rate"] / (writes * group)
    return figures


def durable(system, count, warm_up, inflight, size):
    """acked() on a durable stream, synced."""
    return against_disk(system, count + warm_up, inflight, size, lambda: requests(
        system, system.pubsub("acked", "--stream", system.fresh("stream", "--durable"), "--size", size,
                              "--inflight", inflight, "--count", count, "--warm-up", warm_up),
        "failed"))


def durable_puts(system, count, warm_up, inflight, size):
    """Puts into a durable cache, synced, as operations over one connection; of keys that are there."""
    words = ["--cache", system.fresh("cache", "--durable"), "--size", size]
    filled = requests(system, system.cache(*words, "--op", "fill", "--outstanding", 64), "wrong")
    figures = against_disk(system, count + warm_up, inflight, size, lambda: requests(
        system, system.cache(*words, "--op", "put", "--filled", "--outstanding", inflight, "--count",
                             count, "--warm-up", warm_up), "wrong"))
    figures["lost"] += filled["lost"]
    return figures


FILL_S = 600  # for ten million entries on a slow disk
KEY_BYTES = 16  # of bench_cache_load


def large_cache(system, entries, count, size=100):
    """A durable cache of so many entries: filled, read and written, and opened again by a node that was
    ended. Memory is the node's own count after that, beside keys and values, and what the process grew
    by over one that was empty."""
    empty = system.resident()
    name = system.fresh("cache", "--durable")

    def ask(op, outstanding, *words, seconds=FILL_S):
        return requests(system, system.cache("--cache", name, "--op", op, "--size", size, "--keys",
                                             entries, "--outstanding", outstanding, *words),
                        "wrong", seconds)
    fill = ask("fill", 1024, "--conns", 4)
    few = ("--filled", "--count", count)
    gets, many_gets, puts = ask("get", 1, *few), ask("get", 64, *few), ask("put", 64, *few)
    reopen_s, reopen_cpu_s = system.restart()
    log = system.show("cache", name)["log"]
    there = sum(shard["cache"]["entries"] for shard in log)
    kept = sum(shard["cache"]["memory_bytes"] + shard["cache"]["bytes_on_disk_only"] for shard in log)
    grown = system.resident() - empty + sum(shard["cache"]["bytes_on_disk_only"] for shard in log)
    again = ask("get", 64, *few)
    payload = KEY_BYTES + size
    return {"lost": abs(there - entries) + sum(run["lost"] for run in
                                               (fill, gets, many_gets, puts, again)),
            "memory_b": kept / entries - payload, "resident_b": grown / entries - payload,
            "fill_rate": fill["rate"], "fill_cpu_us": fill["cpu_us"],
            "get_p50": gets["p50"], "get_p99": gets["p99"], "get_cpu_us": many_gets["cpu_us"],
            "put_p50": puts["p50"], "put_p99": puts["p99"], "put_cpu_us": puts["cpu_us"],
            "file_mb": sum(shard["bytes"] for shard in log) / MB, "reopen_s": reopen_s,
            "reopen_cpu_us": reopen_cpu_s * 1e6 / entries}


def acked(system, count, warm_up, inflight=64, size=256):
    """Every message a frame of its own, the next when one is acknowledged."""
    return requests(system, system.pubsub("acked", "--stream", system.fresh(), "--size", size,
                                          "--inflight", inflight, "--count", count,
                                          "--warm-up", warm_up), "failed")


def cache(system, op, count, outstanding=1, conns=1, size=100, *words):
    """Requests of one kind, always `outstanding` under way over `conns` connections."""
    return requests(system, system.cache("--cache", system.fresh("cache"), "--op", op,
                                         "--size", size, "--outstanding", outstanding,
                                         "--conns", conns, "--count", count, *words), "wrong")
