# SPDX-License-Identifier: Apache-2.0
"""Durable streams through real programs: a restart keeps everything, `kill -9` loses no acknowledged
line, a damaged log stops its shard and nothing else until `felix log` has mended it, and a subscriber goes on
where it was.

FELIX_KILL_ROUNDS says how often the node is killed under `felix pub --lines` (4 unless said); test_crash.py does it by
the hundred.
"""
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

from felix_node import Node, WAIT_S, free_address, wait_until

ROUNDS = int(os.environ.get("FELIX_KILL_ROUNDS", "4"))


def offsets_and_lines(node, stream, start="earliest"):
    """Every record of a stream of one shard, as (offset, payload)."""
    out = node.felix("peek", stream, "--from", start, "--count", 10_000_000, "-o", "jsonl").stdout
    rows = [json.loads(row) for row in out.splitlines()]
    return [(row["offset"], row["payload"]) for row in rows]


def check_dense(rows, first=0):
    for i, (offset, _) in enumerate(rows):
        assert offset == first + i, f"offset {offset} where {first + i} was expected"


def a_restart_keeps_all(node):
    node.felix("stream", "create", "orders", "--durable")
    node.felix("stream", "create", "four", "--durable", "--shards", 4, "--ack", "written",
               "--fsync", "periodic", "--fsync-interval", "50ms")
    show = node.felix("stream", "show", "four").stdout
    assert '"ack": "written"' in show and '"fsync": "periodic"' in show and "50" in show, show
    lines = "".join(f"line {i}\n" for i in range(2000))
    node.felix("pub", "--lines", "orders", input=lines)
    node.felix("pub", "--lines", "four", input=lines)
    assert node.stop() == 0
    node.start()
    rows = offsets_and_lines(node, "orders")
    check_dense(rows)
    assert [line for _, line in rows] == lines.splitlines()
    assert len(node.felix("peek", "four", "--from", "earliest", "--count", 100000, "-o",
                          "raw").stdout.splitlines()) == 2000
    node.felix("pub", "orders", "one more")
    rows = offsets_and_lines(node, "orders", "1999")
    assert rows == [(1999, "line 1999"), (2000, "one more")], rows


class Publisher:
    """Publishes numbered lines through one `felix pub --lines`, and knows which were acknowledged: those
    the command reports when it ends, counted from the front, for acks come in order."""

    def __init__(self, node, stream, begin):
        self.begin = begin
        self.child = node.spawn("pub", "--lines", stream, stdin=subprocess.PIPE)
        self.given = 0

    def feed(self, seconds):
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                block = "".join(f"{self.begin + self.given + i:09d}\n" for i in range(50))
                self.child.stdin.write(block.encode())
                self.child.stdin.flush()
                self.given += 50
                time.sleep(0.001)
        except BrokenPipeError:
            pass

    def acked(self):
        """Ends it, and answers how many lines from the front were acknowledged."""
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        for _ in range(2):  # the second one does not wait for answers of a node that is gone
            time.sleep(0.05)
            if self.child.poll() is None:
                self.child.send_signal(signal.SIGINT)
        self.child.wait(WAIT_S)
        text = self.child.stderr_path.read_text()
        for row in text.splitlines()[::-1]:
            if " acked" in row:
                return int(row.split(" sent, ")[1].split(" acked")[0])
        assert "nobody listens" in text, f"no count of acks in: {text}"
        return 0  # it was killed before the first of them


def kill_rounds(node):
    """Round by round: lines are published, the node is killed in the middle, and what it had acknowledged
    must be there after the next start, in order, each line once; at the end everything is read again and
    must be what the rounds saw."""
    node.felix("stream", "create", "killed", "--durable")
    seen = []
    given = 0
    total_acked = 0
    for round_ in range(ROUNDS):
        publisher = Publisher(node, "killed", given)
        publisher.feed(0.25 + 0.03 * (round_ % 7))  # long enough to connect
        node.process.kill()
        node.process.wait()
        acked = publisher.acked()
        node.stop()
        node.start()
        rows = offsets_and_lines(node, "killed", len(seen))
        check_dense(rows, len(seen))
        new = [int(line) for _, line in rows]
        assert new == sorted(set(new)), "a line came twice, or in another order"
        assert new[:acked] == list(range(given, given + acked)), \
            f"round {round_}: {acked} acknowledged, {len(new)} there, first {new[:3]}"
        assert not new or new[-1] < given + publisher.given
        seen += new
        given += publisher.given
        total_acked += acked
    rows = offsets_and_lines(node, "killed")
    check_dense(rows)
    assert [int(line) for _, line in rows] == seen, "what was there has changed"
    assert total_acked > 0
    print(f"{ROUNDS} rounds, {total_acked} acknowledged lines, {len(seen)} records")


def a_subscriber_goes_on(node):
    """One `felix sub` across two restarts: no gap, nothing twice."""
    node.felix("stream", "create", "watched", "--durable")
    out = node.folder / "watched.out"
    sub = node.spawn("sub", "watched", "--from", "earliest", "--count", 300, "-o", "raw",
                     stdout=open(out, "wb"))
    for part in range(3):
        lines = "".join(f"{part * 100 + i}\n" for i in range(100))
        node.felix("pub", "--lines", "watched", input=lines)
        if part < 2:
            wait_until("the lines to be there",
                       lambda: len(out.read_bytes().splitlines()) == part * 100 + 100)
            if part == 0:
                assert node.stop() == 0
            else:
                node.process.kill()
                node.process.wait()
                node.stop()
            node.start()
    assert sub.wait(WAIT_S) == 0, sub.stderr_path.read_bytes()
    assert [int(line) for line in out.read_bytes().split()] == list(range(300))


def ready(node):
    try:
        with urllib.request.urlopen(f"http://{node.health}/ready", timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def a_damaged_log_stops_its_shard_only(node):
    node.felix("stream", "create", "bad", "--durable")
    node.felix("stream", "create", "good", "--durable")
    for stream in ("bad", "good"):
        node.felix("pub", "--lines", stream, input="".join(f"{i}\n" for i in range(500)))
    time.sleep(1.2)  # the checkpoint that says how much must be there
    assert node.stop() == 0
    segment = next(iter((node.data / "log" / "logs").glob("bad-*/*.seg")))
    with open(segment, "r+b") as file:
        file.seek(segment.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    node.start()
    assert len(offsets_and_lines(node, "good")) == 500
    failed = node.felix("pub", "bad", "x", check=False)
    assert failed.returncode != 0 and "log" in failed.stderr, failed.stderr
    status, body = ready(node)
    assert status == 200 and "degraded" in body and "log.damaged" in body, body
    log = (node.folder / "up.log").read_text()
    line = next(row for row in log.splitlines() if '"log.damaged"' in row)
    assert "t1/default/bad/0" in line and segment.name in line, line


def felix_log_mends_it(node):
    """`felix log` on the data directory: verify finds the damage, repair ends the log there, and what is
    left serves again."""
    assert node.stop() == 0
    name = next((node.data / "log" / "logs").glob("bad-*")).name
    found = node.felix("log", "verify", node.data, check=False)
    assert found.returncode == 1 and "t1/default/bad/0" in found.stdout + found.stderr, found
    assert node.felix("log", "repair", node.data, name, check=False).returncode == 2, "without --yes"
    node.felix("log", "repair", node.data, name, "--yes")
    node.felix("log", "verify", node.data)
    left = node.felix("log", "export", node.data, name).stdout.splitlines()
    assert left == [str(i) for i in range(len(left))], left
    assert list((node.data / "log" / "aside").iterdir()), "what was taken out is kept"
    node.start()
    node.felix("pub", "bad", "after")
    assert [line for _, line in offsets_and_lines(node, "bad")] == left + ["after"]


def a_policy_is_edited(node):
    """On a live stream: what cannot be promised is refused and changes nothing; the rest counts at once, and is
    kept."""
    node.felix("stream", "create", "edited", "--durable")
    node.felix("stream", "create", "light")
    before = node.felix("stream", "show", "edited", "-o", "json").stdout
    for flags in (("--fsync", "none"), ("--fsync", "periodic"), ("--ack", "quorum"),
                  ("--ack", "synced", "--fsync", "none"), ("--retain-records", "-1")):
        refused = node.felix("stream", "edit", "edited", *flags, check=False)
        assert refused.returncode != 0, flags
    for flags in (("--ack", "synced"), ("--ack", "written"), ("--fsync", "on_commit")):
        assert node.felix("stream", "edit", "light", *flags, check=False).returncode != 0, flags
    import json
    policy = lambda text: {k: json.loads(text)[k] for k in ("ack", "fsync")}
    assert policy(node.felix("stream", "show", "edited", "-o", "json").stdout) == policy(before)
    child = node.subscriber("edited", "-o", "raw", "--count", 3)
    node.felix("pub", "edited", "synced")
    node.felix("stream", "edit", "edited", "--ack", "written", "--fsync", "none")
    node.felix("pub", "edited", "written")
    node.felix("stream", "edit", "edited", "--ack", "synced", "--fsync", "on_commit",
               "--retain-records", 1000)
    node.felix("pub", "edited", "synced again")
    assert child.communicate(timeout=WAIT_S)[0].decode().split("\n")[:3] == ["synced", "written",
                                                                         "synced again"]
    node.stop(signal.SIGKILL)
    node.start()
    show = json.loads(node.felix("stream", "show", "edited", "-o", "json").stdout)
    assert show["ack"] == "synced" and show["fsync"] == "on_commit", show
    assert len(offsets_and_lines(node, "edited")) == 3


def main():
    with Node("--quic-bind", free_address()) as node:
        a_restart_keeps_all(node)
        a_policy_is_edited(node)
        a_subscriber_goes_on(node)
        kill_rounds(node)
        a_damaged_log_stops_its_shard_only(node)
        felix_log_mends_it(node)


if __name__ == "__main__":
    main()
