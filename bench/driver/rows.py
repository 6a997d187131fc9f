# SPDX-License-Identifier: Apache-2.0
"""The rows of the goals: what is measured for each, and how one run of it goes.

A row's run answers a dict of figures (driver/work.py). `measures` says which of them are shown, and
what each is held against: a goal and a floor, each a number, or a function of the results so far
(medians by "ROW.figure"), or None.
"""
import dataclasses
import json
import re
import signal
import subprocess
import tempfile
import time
import typing

import start
import work

SEND_FLOOR_US = 5.0  # one small packet sent, measured on the machine of the goals
COUNTS = ("calls", "allocs")  # figures of the counting pass


@dataclasses.dataclass
class Measure:
    key: str
    unit: str
    goal: typing.Any = None  # number, function of results, or None: for information
    floor: typing.Any = None
    least: bool = False  # the goal is a least, not a most: a rate


@dataclasses.dataclass
class Row:
    name: str
    what: str
    profile: tuple  # flags of `felix up`
    run: typing.Callable  # (bench) -> dict
    measures: list
    command: str
    warm: bool = False
    full_only: bool = False
    fresh_node: bool = False
    system: str = "felix"  # or a peer's name
    group: str = ""  # rows of a group take turns, run by run


def all_but_shown(row, figures):
    """Measures for the figures that a row has but does not name: information, never a goal."""
    units = {"calls": "/unit", "allocs": "/unit", "rss_mib": "MiB", "p50": "us", "p99": "us",
             "p999": "us", "max": "us"}
    named = {measure.key for measure in row.measures}
    return [Measure(key, unit) for key, unit in units.items()
            if key in figures and key not in named]


def scaled(bench, count):
    return max(200, int(count * bench.scale))


# --- latency ---

def floor(bench, *words):
    done = subprocess.run([bench.bin / "bench_quic_pingpong", "--size", "256", "--count",
                           str(scaled(bench, 10000)), *words],
                          capture_output=True, timeout=120, check=True)
    return json.loads(done.stdout)


def latency(bench, *words, count=10000, size=256, with_floor=False):
    figures = {}
    if with_floor:
        measured = floor(bench)
        figures["floor_p50"] = measured["p50_us"]
        figures["floor_p99"] = measured["p99_us"]
    figures.update(work.latency(bench.node, *words, count=scaled(bench, count), size=size))
    if with_floor:
        figures["over_floor"] = figures["p50"] / figures["floor_p50"]
    return figures


def transport_floor(bench):
    """What sending and receiving a GB costs over our transport with nothing above it."""
    done = subprocess.run([bench.bin / "bench_quic_bulk", "--mb", str(int(600 * bench.scale) + 100)],
                          capture_output=True, timeout=120, check=True, text=True)
    said = {one["bench"]: one for one in map(json.loads, done.stdout.splitlines())}
    return {"lost": 0, "send": said["quic_bulk_send"]["cpu_s_per_gb"],
            "receive": said["quic_bulk_receive"]["cpu_s_per_gb"],
            "mb_s": said["quic_bulk_receive"]["mb_per_s"]}


FLOOR = Row("F/transport", "one QUIC stream between two processes, no broker", (), transport_floor,
            [Measure("send", "CPU-s/GB"), Measure("receive", "CPU-s/GB"), Measure("mb_s", "MB/s")],
            "bench_quic_bulk")


def relay_floor(size, fan_out):
    """CPU-s a million deliveries that receiving once and sending to each costs without a broker."""
    def at(results):
        if "F/transport.send" not in results or size < 1024:
            return None  # below, it is messages and not bytes that cost
        gigabytes = size * 1e6 / 1e9
        return gigabytes * (results["F/transport.send"] + results["F/transport.receive"] / fan_out)
    return at


def p1(regime, warm):
    name = f"P1/{regime}"
    return Row(name, f"256 B, one in flight, fan-out 1, {regime}", (),
               lambda b: latency(b, with_floor=True),
               [Measure("over_floor", "x floor", 1.3),
                Measure("p50", "us", floor=lambda r: r.get(f"{name}.floor_p50")),
                Measure("floor_p50", "us"), Measure("floor_p99", "us"),
                Measure("tail", "x p50", 2.5), Measure("p99", "us"),
                Measure("p999", "us", 1000.0), Measure("max", "us"), Measure("cpu_us", "us")],
               "bench_latency --size 256 --subs 1; bench_quic_pingpong --size 256", warm=warm)


def p1_variant(name, what, words, profile=(), goal=None, warm=False):
    return Row(name, what, profile, lambda b: latency(b, *words),
               [Measure("p50", "us", goal), Measure("p99", "us"), Measure("p999", "us"),
                Measure("cpu_us", "us")],
               "bench_latency --size 256 --subs 1 " + " ".join(words), warm=warm)


def p2(fan_out, one_conn, warm=True):
    words = ["--subs", str(fan_out)] + (["--one-conn"] if one_conn else [])
    regime = "warm" if warm else "quiet"

    def goal(results):
        p50 = results.get(f"P1/{regime}.p50")
        if p50 is None:
            return None
        return 1.3 * p50 if one_conn else p50 + fan_out * 1.3 * SEND_FLOOR_US

    kind = "one connection" if one_conn else "own connections"
    return Row(f"P2/{fan_out}-{'one' if one_conn else 'own'}-{regime}",
               f"256 B, one in flight, last of {fan_out}, {kind}, {regime}", (),
               lambda b: latency(b, *words, count=40000 // (fan_out + 4)),
               [Measure("p50", "us", goal), Measure("p99", "us"), Measure("cpu_us", "us")],
               "bench_latency --size 256 " + " ".join(words), warm=warm)


# --- throughput ---

def relay(bench, size, subs, count, batch=None, jumbo=0, window=None):
    return work.Relay(size, subs, scaled(bench, count), batch, jumbo=jumbo, window=window,
                      ring=bench.scale).run(bench.node)


def text_size(size):
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


JUMBO = 8952


def p3(size, jumbo=False, megabytes=300):
    count = int(megabytes * work.MB / size) if size > 100 else 2000000
    measures = [Measure("rate", "/s"), Measure("mb_s", "MB/s"), Measure("broker_cpu", "cores"),
                Measure("sub_cpu_us", "us"), Measure("pub_cpu_us", "us")]
    if size >= 1024:
        floor_per_gb = None if jumbo else (
            lambda r: r["F/transport.send"] + r["F/transport.receive"]
            if "F/transport.send" in r else None)
        measures.insert(0, Measure("cpu_per_gb", "CPU-s/GB", 0.9 if jumbo else 1.3, floor_per_gb))
    else:
        measures.insert(0, Measure("cpu_per_million", "CPU-s/M", 0.25))
    profile = ("--udp-payload-max", str(JUMBO)) if jumbo else ()
    name = f"P3/{text_size(size).replace(' ', '')}{'-jumbo' if jumbo else ''}"
    return Row(name, f"batched, fan-out 1, {text_size(size)}{', jumbo' if jumbo else ''}", profile,
               lambda b: relay(b, size, 1, count, jumbo=JUMBO if jumbo else 0), measures,
               f"bench_pubsub pub --size {size} --batch {work.default_batch(size)}; "
               "bench_pubsub sub --subs 1")


P4_GOALS = {100: 0.10, 1024: 0.75, 4096: 3.1}


def p4(size, fan_out, jumbo=False, full_only=False):
    deliveries = {100: 4000000, 1024: 800000, 4096: 200000}[size]
    count = max(600 if size > 100 else 2000, deliveries // fan_out)
    name = f"P4/{text_size(size).replace(' ', '')}-x{fan_out}{'-jumbo' if jumbo else ''}"
    goal = 0.55 if jumbo else P4_GOALS[size]
    floor_ = None if jumbo else relay_floor(size, fan_out)
    measures = [Measure("cpu_per_million", "CPU-s/M", goal, floor_), Measure("rate", "/s"),
                Measure("mb_s", "MB/s"), Measure("broker_cpu", "cores"),
                Measure("sub_cpu_us", "us")]
    flags = ("--max-connections-per-ip", "0")
    if jumbo:
        flags += ("--udp-payload-max", str(JUMBO))
    batch = max(1, min(256, 16384 // size)) if fan_out >= 1000 else None
    window = (1 << 20) if fan_out >= 1000 else None
    return Row(name, f"fan-out {fan_out}, {text_size(size)}{', jumbo' if jumbo else ''}", flags,
               lambda b: relay(b, size, fan_out, count, batch, JUMBO if jumbo else 0, window),
               measures, f"bench_pubsub pub --size {size}; bench_pubsub sub --subs {fan_out}",
               full_only=full_only)


# --- requests ---

def acked(bench, count=100000):
    return work.acked(bench.node, scaled(bench, count), scaled(bench, 140000))


P5 = Row("P5", "unbatched acked publishes, 64 in flight, 256 B, in memory", (), acked,
         [Measure("cpu_us", "us", 2.0), Measure("rate", "/s"), Measure("p50", "us"),
          Measure("p99", "us"), Measure("client_cpu_us", "us")],
         "bench_pubsub acked --size 256 --inflight 64")


P6_COUNTS = {1: 2000, 64: 60000, 1000: 150000}  # libfelix keeps 1024 batches at the most


def p6(size, inflight):
    """Durable and synced: group commit against the disk alone, in writes as large as ours were."""
    name = f"P6/{text_size(size).replace(' ', '')}-{inflight}"
    count = P6_COUNTS[inflight] // (1 if size < 1024 else 4)
    measures = [Measure("rate", "/s"), Measure("p50", "us"), Measure("p99", "us"),
                Measure("sync_us", "us"), Measure("cpu_us", "us"), Measure("of_floor", "x"),
                Measure("of_fio_grows", "x"), Measure("of_fio_laid", "x"), Measure("group", "each"),
                Measure("group_bytes", "B"), Measure("fio_grows_us", "us"),
                Measure("fio_laid_us", "us"), Measure("client_cpu_us", "us")]
    if inflight == 1:
        measures[1] = Measure("p50", "us", lambda r: 1.2 * r[f"{name}.sync_us"] +
                              r["P1/quiet.p50"] if "P1/quiet.p50" in r else None)
    elif inflight == 64 and size == 256:
        measures[0] = Measure("rate", "/s", 150000, least=True)
        measures[4] = Measure("cpu_us", "us", 4.0)  # P5's durable part, its disk work included
    elif inflight == 1000:
        measures[6] = Measure("of_fio_grows", "x", 0.95, least=True)
    return Row(name, f"durable, synced, {text_size(size)}, {inflight} in flight", (),
               lambda b: work.durable(b.node, scaled(b, count), scaled(b, count // 5), inflight,
                                      size),
               measures, f"bench_pubsub acked --size {size} --inflight {inflight}, on a stream "
               "created --durable")


def p6_cache(outstanding):
    """The same of a durable cache: what a put waits for."""
    size, count = 256, P6_COUNTS[outstanding]
    return Row(f"P6/cache-put-{outstanding}", f"puts into a durable cache, synced, {size} B, {outstanding} "
               "in flight, one connection", (),
               lambda b: work.durable_puts(b.node, scaled(b, count), scaled(b, count // 5), outstanding,
                                           size),
               [Measure("rate", "/s"), Measure("p50", "us"), Measure("p99", "us"),
                Measure("sync_us", "us"), Measure("cpu_us", "us"), Measure("of_floor", "x"),
                Measure("of_fio_grows", "x"), Measure("group", "each"), Measure("group_bytes", "B")],
               f"bench_cache_load --op put --size {size} --outstanding {outstanding}, on a cache "
               "created --durable")


def p7(size, subs, megabytes):
    """History of a durable stream, from the page cache: it was written just before."""
    count = int(megabytes * work.MB / size / subs)
    name = f"P7/{text_size(size).replace(' ', '')}{f'-x{subs}' if subs > 1 else ''}"
    per_gb = 0.83 if size == 1024 else None
    measures = [Measure("cpu_per_gb", "CPU-s/GB", per_gb,
                        lambda r: r.get("F/transport.send")), Measure("mb_s", "MB/s"),
                Measure("rate", "/s"), Measure("broker_cpu", "cores"),
                Measure("sub_cpu_us", "us"), Measure("reads", "blocks"),
                Measure("served_per_read", "x")]
    if size < 1024:
        measures.insert(0, Measure("cpu_per_million", "CPU-s/M"))
    readers = "one reader" if subs == 1 else f"{subs} readers at once"
    return Row(name, f"replay of a durable stream, {text_size(size)}, {readers}",
               ("--max-connections-per-ip", "0"),
               lambda b: work.Replay(size, subs, scaled(b, count)).run(b.node), measures,
               f"bench_pubsub replay --subs {subs}, of what bench_pubsub pub --size {size} --batch "
               f"{work.default_batch(size)} wrote to a stream created --durable")


def beside_replay(bench):
    """The same latency twice: without and with a reader of another stream's history beside it."""
    alone = latency(bench, count=10000)
    figures = work.replay_beside(bench.node, scaled(bench, 10000), 3000 * bench.scale)
    figures.update(p99_ratio=figures["p99"] / alone["p99"], p50_without=alone["p50"],
                   p99_without=alone["p99"])
    return figures


P7_LIVE = Row("P7/live", "256 B, one in flight, beside a reader of another stream's history", (),
              beside_replay,
              [Measure("p99_ratio", "x without"), Measure("p50", "us"),
               Measure("p50_without", "us"), Measure("p99", "us"), Measure("p99_without", "us")],
              "bench_latency --size 256 --subs 1, beside bench_pubsub replay --subs 1", warm=True)


def p7_pages(records):
    return Row(f"P7/stream-read-{records}", f"stream_read of a durable stream, 1 KiB, {records} records "
               "an answer (JSON)", (),
               lambda b: work.stream_read(b.node, scaled(b, 200000), 1024, records),
               [Measure("cpu_per_million", "CPU-s/M"), Measure("rate", "/s"),
                Measure("client_cpu_us", "us")],
               f"bench_stream_read --records {records}")


def cache(bench, op, outstanding, conns, count, size, form):
    return work.cache(bench.node, op, scaled(bench, count), outstanding, conns, size, *form)


def p8(op, outstanding, conns, count):
    measures = [Measure("rate", "/s"), Measure("p99", "us"), Measure("client_cpu_us", "us")]
    if outstanding == 1:
        measures = [Measure("p50", "us", lambda r: r.get("P1/quiet.p50")),
                    Measure("cpu_us", "us")] + measures
    else:
        measures = [Measure("cpu_us", "us", 4.0 if outstanding == 256 else None),
                    Measure("p50", "us")] + measures
    return Row(f"P8/{op}-{outstanding}", f"cache {op} as JSON, 100 B, {outstanding} outstanding, "
               f"{conns} connection{'s' if conns > 1 else ''}", (),
               lambda b: cache(b, op, outstanding, conns, count, 100, ("--json",)), measures,
               f"bench_cache_load --json --op {op} --size 100 --outstanding {outstanding} "
               f"--conns {conns}")


def p8_binary(op):
    return Row(f"P8/bin-{op}-256", f"cache {op} as operations, 256 B, 256 outstanding, "
               "8 connections", (), lambda b: cache(b, op, 256, 8, 400000, 256, ()),
               [Measure("cpu_us", "us", 0.67), Measure("p50", "us"), Measure("rate", "/s"),
                Measure("p99", "us"), Measure("client_cpu_us", "us")],
               f"bench_cache_load --op {op} --size 256 --outstanding 256 --conns 8")


# --- growth ---

MANY = ("--max-connections-per-ip", "0", "--max-client-connections", "100000")


def idle(bench):
    node = bench.node
    with node.load("idle", "--stream", node.fresh(), "--conns", bench.conns) as load:
        load.expect("warm")
        cpu_s, resident = node.cpu_s(), node.resident()
        load.go()
        opened = load.expect("ready")["opened"] - 60
        cpu_s = node.cpu_s() - cpu_s
        time.sleep(2)  # what the handshakes needed is given back by then, or never
        resident = node.resident() - resident
        later = node.cpu_s()
        time.sleep(3)
        later = node.cpu_s() - later
        load.process.kill()
    return {"lost": 0, "kib": resident / opened / 1024, "connect_us": cpu_s * 1e6 / opened,
            "idle_us_s": later * 1e6 / 3 / opened}


P9 = Row("P9", "idle connections with one subscription each", MANY, idle,
         [Measure("kib", "KiB", 48.0), Measure("connect_us", "us", 900.0),
          Measure("idle_us_s", "us/s")],
         "bench_idle --conns N", fresh_node=True)


def among_streams(count):
    def run(bench):
        node = bench.node
        if getattr(node, "streams_made", 0) < count:
            node.create_many("filler", count)
            node.streams_made = count
        return acked(bench)
    return run


def among_idle(count):
    def run(bench):
        node = bench.node
        with node.load("idle", "--stream", node.fresh(), "--conns", count) as load:
            load.expect("warm")
            load.go()
            load.expect("ready")
            time.sleep(1)
            figures = acked(bench)
            load.process.kill()
        return figures
    return run


def p13(kind, count, run, first, full_only=False):
    goal = (lambda r: 1.1 * r[first + ".cpu_us"] if first + ".cpu_us" in r else None)
    # One worker: where the shard lies must not decide the comparison.
    return Row(f"P13/{kind}-{count}", f"P5 with {count} {kind}", MANY + ("--workers", "1"), run,
               [Measure("cpu_us", "us", goal if first else None), Measure("rate", "/s")],
               f"bench_pubsub acked --size 256 --inflight 64, {count} {kind}",
               full_only=full_only, fresh_node=kind == "idle")


def stalled(bench):
    """The same latency twice, side by side: without and with one subscriber that never reads."""
    node = bench.node
    quiet = latency(bench, "--subs", "2", count=10000, size=1024)
    stream = node.fresh()
    before = node.resident()
    with node.load("pubsub", "stall", "--stream", stream) as load:
        load.expect("ready")
        with node.load("latency", "--stream", stream, "--size", 1024, "--subs", 2, "--warm-up",
                       8000, "--count", scaled(bench, 10000)) as players:
            players.expect("warm")
            players.go()
            result = players.expect("result")
        grown = node.resident() - before
    return {"lost": result["wrong"], "p99": result["p99_us"], "p99_without": quiet["p99"],
            "p50": result["p50_us"], "p50_without": quiet["p50"],
            "p99_ratio": result["p99_us"] / quiet["p99"], "grown_mib": grown / (1 << 20)}


P14 = Row("P14", "1 KiB, fan-out 2, one stalled subscriber beside them", (), stalled,
          [Measure("p99_ratio", "x without", 1.10), Measure("p50", "us"),
           Measure("p50_without", "us"), Measure("p99", "us"), Measure("p99_without", "us"),
           Measure("grown_mib", "MiB", 64.0)],
          "bench_latency --size 1024 --subs 2, beside bench_pubsub stall", warm=True)



def watch(bench, watches, keys, changes, form):
    node = bench.node
    with node.load("watch", "--cache", node.fresh("cache"), "--watches", watches, "--keys", keys,
                   "--changes", scaled(bench, changes), *([form] if form else [])) as load:
        load.expect("warm")
        before = node.cpu_s()
        load.go()
        snapshot = load.expect("snapshot")
        between = node.cpu_s()
        load.go()
        result = load.expect("result")
        after = node.cpu_s()
    return {"lost": snapshot["wrong"] + result["wrong"],
            "snapshot_us": (between - before) * 1e6 / snapshot["count"],
            "snapshot_s": (snapshot["end_ns"] - snapshot["start_ns"]) / 1e9,
            "change_us": (after - between) * 1e6 / result["count"],
            "rss_mib": node.resident() / (1 << 20),
            "rate": result["count"] / ((result["end_ns"] - result["start_ns"]) / 1e9)}


def p10(watches, keys, changes, form="", full_only=False):
    """The goal's size is 1,000 x 100,000, in --full. `form`: a word of bench_watch."""
    how = "as published clients hear it, " if form else ""
    return Row(f"P10/{form.strip('-') + '-' if form else ''}{watches}x{keys}",
               f"snapshot of {keys:,} keys to {watches:,} watches, then 10,000 changes/s, {how}100 B",
               (), lambda b: watch(b, watches, keys, changes, form),
               [Measure("change_us", "us", None if form else 0.10), Measure("snapshot_us", "us"),
                Measure("snapshot_s", "s"), Measure("rate", "/s"), Measure("rss_mib", "MiB")],
               f"bench_watch --watches {watches} --keys {keys} --changes {changes} {form}".strip(),
               full_only=full_only)


def cache_log(bench, entries, budget_mib):
    with tempfile.TemporaryDirectory(prefix="felix-bench-") as folder:
        done = subprocess.run([bench.bin / "bench_cache_log", folder, str(entries), str(budget_mib)],
                              capture_output=True, text=True, check=True)
    text = done.stdout

    def figure(pattern):
        return float(re.search(pattern, text).group(1))
    return {"lost": 0, "reopen_s": figure(r"reopen: ([0-9.]+) s"),
            "memory_b": figure(r"value: ([0-9.]+) B"),
            "get_us": figure(r"in memory: .*p50 ([0-9.]+)"),
            "away_us": figure(r"from the log: .*p50 ([0-9.]+)")}


def p8_log(entries, budget_mib, full_only=False):
    return Row(f"P8/log-{entries}", f"a durable cache of {entries} entries, half of the values on disk only",
               (), lambda b: cache_log(b, entries, budget_mib),
               [Measure("memory_b", "B/entry", 96.0), Measure("get_us", "us"),
                Measure("away_us", "us"), Measure("reopen_s", "s")],
               f"bench_cache_log DIR {entries} {budget_mib}", full_only=full_only)


def p8_large(entries, full_only=False):
    """A durable cache through a node, all values in memory."""
    return Row(f"P8/node-{entries}", f"a node with a durable cache of {entries:,} entries of 16 + 100 B, "
               "synced, one shard", ("--cache-memory-bytes", "4GiB"),
               lambda b: work.large_cache(b.node, entries, scaled(b, 20000)),
               [Measure("memory_b", "B/entry", 96.0), Measure("resident_b", "B/entry"),
                Measure("reopen_s", "s"), Measure("reopen_cpu_us", "us/entry"),
                Measure("get_p50", "us"), Measure("get_p99", "us"), Measure("get_cpu_us", "us"),
                Measure("put_p50", "us"), Measure("put_p99", "us"), Measure("put_cpu_us", "us"),
                Measure("fill_rate", "/s"), Measure("fill_cpu_us", "us"), Measure("file_mb", "MB")],
               f"bench_cache_load --op fill --keys {entries}, then --op get and --op put with --filled, "
               "and felix up again", full_only=full_only, fresh_node=True)


def p12(name, what, goal_s, run, full_only=False):
    return Row(f"P12/{name}", f"felix up, from exec to /ready: {what}", (), run,
               [Measure("ready_s", "s", goal_s), Measure("said_s", "s"), Measure("cpu_s", "CPU-s"),
                Measure("gb", "GB")],
               "felix up --data DIR", full_only=full_only)


P12_GB = 1.2  # four sealed segments and an active one of 130 MB

P12 = [
    p12("fresh", "an empty directory", 1.0, lambda b: start.fresh(b.bin)),
    p12("again", "a directory without logs", 1.0, lambda b: start.again(b.bin, 0, 0)),
    p12("streams-1000", "1,000 durable streams", 1.0, lambda b: start.again(b.bin, 1000, 0)),
    p12("streams-1000-kill", "1,000 durable streams, after kill -9", 1.0,
        lambda b: start.again(b.bin, 1000, 0, signal.SIGKILL)),
    p12("log", f"{P12_GB} GB of log", 2.0,
        lambda b: start.again(b.bin, 1, 1000 * P12_GB * b.scale)),
    # 260 MB leave the active segment all but full: the most there can be to scan.
    p12("log-kill", "a full active segment, after kill -9", 2.0,
        lambda b: start.again(b.bin, 1, 260, signal.SIGKILL)),
    p12("log-kill-cold", "the same, and the disk has to be read", 2.0,
        lambda b: start.again(b.bin, 1, 260, signal.SIGKILL, True)),
    p12("log-10GB", "10 GB of log", 2.0, lambda b: start.again(b.bin, 1, 10000), full_only=True),
]

BUSY = ("--workers", "1", "--busy-poll-us", "1000")

GOAL_ROWS = [
    FLOOR,
    p1("quiet", False), p1("warm", True),
    p1_variant("P1/quiet-one-conn", "the same, publisher and subscriber share a connection",
               ["--one-conn"]),
    p1_variant("P1/warm-no-ack", "the same without acknowledgements", ["--acks", "none"],
               warm=True),
    p2(10, False, False), p2(10, False), p2(10, True), p2(100, False), p2(100, True),
    p3(100), p3(1024), p3(4096), p3(16384), P5,
    p6(256, 1), p6(256, 64), p6(256, 1000), p6(4096, 1), p6(4096, 64), p6(4096, 1000),
    p6_cache(1), p6_cache(64),
    p7(1024, 1, 800), p7(1024, 10, 4000), p7(100, 1, 400), p7(16384, 1, 800), P7_LIVE,
    p7_pages(100), p7_pages(1000),
    p8("get", 1, 1, 5000), p8("get", 16, 1, 30000), p8("get", 256, 8, 60000),
    p8("put", 1, 1, 5000), p8("put", 16, 1, 30000), p8("put", 256, 8, 60000),
    p8("miss", 256, 8, 60000),
    p8_binary("get"), p8_binary("put"),
    P14,
    p1_variant("P1/busy-poll", "the same, quiet, the broker polls one core", [], BUSY,
               goal=lambda r: 0.6 * r["P1/quiet.p50"] if "P1/quiet.p50" in r else None),
    p3(1024, True), p3(4096, True), p3(16384, True),
    p4(100, 10), p4(100, 100), p4(100, 1000, full_only=True),
    p4(1024, 10), p4(1024, 100), p4(1024, 1000),
    p4(4096, 10), p4(4096, 100), p4(4096, 1000, full_only=True),
    p4(1024, 10, jumbo=True), p4(1024, 100, jumbo=True, full_only=True),
    P9,
    p13("streams", 1, acked, None),
    p13("streams", 1000, among_streams(999), "P13/streams-1"),
    p13("streams", 10000, among_streams(9999), "P13/streams-1", full_only=True),
    p13("idle", 10, among_idle(10), None),
    p13("idle", 2000, among_idle(2000), "P13/idle-10"),
    p13("idle", 10000, among_idle(10000), "P13/idle-10", full_only=True),
    *P12,
    p10(100, 10000, 20000), p10(100, 10000, 20000, "--json"), p10(1000, 10000, 20000),
    p10(1000, 100000, 50000, full_only=True),
    p8_log(1000000, 128), p8_log(10000000, 1280, full_only=True),
    p8_large(1000000), p8_large(10000000, full_only=True),
]
