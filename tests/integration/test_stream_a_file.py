# SPDX-License-Identifier: Apache-2.0
"""A real log file through the node to four subscribers, one of them stopped on purpose.

The other three get every line in order; the stopped one, once it runs again, is told what it
missed (policy `lag`), and what it did get is the file too, with one announced hole.
"""
import json
import signal
import subprocess

from felix_node import Node, WAIT_S, wait_until


def make_log(path, lines):
    """A log file as servers write them: lines of many lengths, an empty one now and then."""
    with open(path, "w", encoding="utf-8") as out:
        for i in range(lines):
            if i % 977 == 5:
                out.write("\n")
            else:
                out.write(f"2026-11-24T10:{i // 60 % 60:02}:{i % 60:02}Z web-{i % 7} GET /item/{i} "
                          f"{'x' * (i * 31 % 400)} 200\n")


def feed(pub, source, outputs, chunk=256 * 1024):
    """Hands the file to `felix pub --lines` as a server would write it: no faster than the readers
    that are not stopped take it, so that only the stopped one can fall behind."""
    given = 0
    for start in range(0, len(source), chunk):
        pub.stdin.write(source[start:start + chunk])
        pub.stdin.flush()
        given += len(source[start:start + chunk])
        floor = given - 128 * 1024
        wait_until("the readers to keep up",
                   lambda: all(o.stat().st_size >= floor for o in outputs))
    pub.stdin.close()


def stopped_subscriber_is_told(node, source):
    lines = source.split(b"\n")[:-1]
    node.felix("stream", "create", "logs")
    outputs = [node.folder / f"sub-{i}.out" for i in range(3)]
    readers = [node.subscriber("logs", "--count", len(lines), "-o", "raw", stdout=open(o, "wb"))
               for o in outputs]
    slow_out = node.folder / "slow.out"
    slow = node.subscriber("logs", "-o", "jsonl", stdout=open(slow_out, "wb"))
    slow.send_signal(signal.SIGSTOP)

    pub = node.spawn("pub", "--lines", "logs", stdin=subprocess.PIPE)
    feed(pub, source, outputs)
    assert pub.wait(WAIT_S) == 0, pub.stderr_path.read_bytes()
    last = pub.stderr_path.read_text().strip().splitlines()[-1]
    assert last.endswith(f"{len(lines)} sent, {len(lines)} acked"), last

    for reader, output in zip(readers, outputs):
        assert reader.wait(WAIT_S) == 0, reader.stderr_path.read_bytes()
        got = output.read_bytes().split(b"\n")[:-1]
        assert got == lines, f"{output.name}: {len(got)} of {len(lines)} lines, or another order"

    slow.send_signal(signal.SIGCONT)
    wait_until("the stopped subscriber to be told what it missed",
               lambda: b'"notice"' in slow_out.read_bytes())
    # It is live again afterwards: a line published now arrives.
    node.felix("pub", "logs", "the last line")
    wait_until("the last line", lambda: b"the last line" in slow_out.read_bytes())
    slow.send_signal(signal.SIGTERM)
    slow.wait(WAIT_S)
    print((node.folder / "slow.out").read_bytes()[-600:].decode(errors="replace"))

    # What it was given is dense but for the holes it was told about, and each line is the file's.
    expected, missed = None, 0
    for row in map(json.loads, slow_out.read_bytes().splitlines()):
        if row.get("notice") == "gap":
            assert expected is None or row["offset"] == expected, row
            missed += row["missed"]
            expected = row["gap_end"]
            continue
        assert expected is None or row["offset"] == expected, (row["offset"], expected)
        expected = row["offset"] + 1
        if row["offset"] < len(lines):
            assert row["payload"].encode() == lines[row["offset"]]
    assert missed > 0
    print(f"the stopped subscriber was told of {missed} missed records")


def full_speed_without_loss(node, source):
    """As fast as the command reads it, with the default rings: nobody misses anything."""
    lines = source.count(b"\n")
    node.felix("stream", "create", "fast")
    output = node.folder / "fast.out"
    reader = node.subscriber("fast", "--count", lines, "-o", "raw", stdout=open(output, "wb"))
    done = node.felix("pub", "--lines", "fast", input=source)
    assert done.stderr.decode().strip().endswith(f"{lines} sent, {lines} acked"), done.stderr
    assert reader.wait(WAIT_S) == 0
    assert output.read_bytes() == source


def main():
    # A ring that the file overruns many times, so that the stopped subscriber must lag.
    with Node("--shard-ring-bytes", "1MiB") as node:
        path = node.folder / "app.log"
        make_log(path, 60000)
        source = path.read_bytes()
        stopped_subscriber_is_told(node, source)
    with Node() as node:
        full_speed_without_loss(node, source)


if __name__ == "__main__":
    main()
