# SPDX-License-Identifier: Apache-2.0
"""System calls of a release node per record, counted by strace.

How many there are depends on how the machine schedules the processes, so these figures have a wide
margin; they find a call per record where there was one per batch, not a tenth more.
"""
import pathlib
import re
import shutil
import tempfile
import time

from node import Failure, Node

SUMMARY_S = 20  # how long the tracer may take to write after the node has ended


def acked(node):
    """256 B, every message a frame of its own, 64 in flight."""
    count = 100000
    with node.load("pubsub", "acked", "--stream", node.fresh(), "--size", 256, "--inflight", 64,
                   "--count", count, "--warm-up", 1000) as load:
        load.expect("warm")
        load.go()
        result = load.expect("result")
    if result["failed"]:
        raise Failure(f"acked: {result['failed']} publishes failed")
    return count


def fan_out(node):
    """100 B x 64 to 10 subscribers, a connection each."""
    count, subs = 64000, 10
    words = ["--stream", node.fresh(), "--count", count, "--warm-up", 640, "--subs", subs,
             "--progress", node.progress_file()]
    with node.load("pubsub", "sub", "--conns", subs, *words) as sub:
        sub.expect("ready")
        with node.load("pubsub", "pub", "--size", 100, "--batch", 64, "--window", 1 << 20,
                       *words) as pub:
            pub.expect("warm")
            sub.expect("warm")
            pub.go()
            received = sub.expect("result")
            pub.expect("result")
    if received["lost"] or received["gaps"] or received["wrong"]:
        raise Failure(f"fan-out: not every message arrived: {received}")
    return count


def nothing(_node):
    return 0


def calls_of(bin_dir, run, folder):
    """Runs a node under strace; its system calls from start to end, and what `run` answers."""
    summary = folder / f"{run.__name__}.calls"
    # -D: the node stays our child, and the tracer is its grandchild. Every thread is followed.
    # One worker: where a shard lies must not decide how often threads wake each other.
    node = Node(bin_dir, "--workers", "1", under=("strace", "-D", "-f", "-c", "-o", summary))
    try:
        records = run(node)
    finally:
        node.close()
    end = time.monotonic() + SUMMARY_S
    while time.monotonic() < end:
        total = summary.exists() and re.search(r"^\s*100\.00 .*\btotal$", summary.read_text(), re.M)
        if total:
            # % time, seconds, usecs/call, calls, [errors], total
            return int(total.group(0).split()[3]), records
        time.sleep(0.05)
    raise Failure("strace wrote no summary")


def count(bin_dir):
    """{name: system calls per record}, without those of starting and ending; None without strace."""
    if shutil.which("strace") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="felix-check-") as folder:
        around, _ = calls_of(bin_dir, nothing, pathlib.Path(folder))
        live = {}
        for name, run in (("256 B acked, 64 in flight", acked),
                          ("100 B x 64, fan-out 10", fan_out)):
            calls, records = calls_of(bin_dir, run, pathlib.Path(folder))
            live[name] = round(max(0, calls - around) / records, 4)
    return live
