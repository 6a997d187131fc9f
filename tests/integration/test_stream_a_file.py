# SPDX-License-Identifier: Apache-2.0
"""A real log file through the node to four subscribers, one of them stopped on purpose.

The other three get every line in order; the stopped one, once it runs again, is told what it
missed (policy `lag`), and what it did get is the file too, with one announced hole.
"""
import json
import pathlib
import signal
import subprocess

from felix_node import Node, wait_until


def make_log(path, lines):
    """A log file as servers write them: lines of many lengths, an empty one now and then."""
    with open(path, "w", encoding="utf-8") as out:
        for i in range(lines):
            if i % 977 == 5:
                out.write("\n")
            else:
                out.write(f"2026-11-24T10:{i // 60 % 60:02}:{i % 60:02}Z web-{i % 7} GET /item/{i} "
                          f"{'x' * (i * 31 % 400)} 200\n")


def main():
    # A ring that the file overruns many times, so that the stopped subscriber must lag.
    with Node("--shard-ring-bytes", "1MiB") as node:
        source = node.folder / "app.log"
        make_log(source, 60000)
        lines = source.read_bytes().split(b"\n")[:-1]
        node.felix("stream", "create", "logs")

        outputs = [node.folder / f"sub-{i}.out" for i in range(3)]
        readers = [node.subscriber("logs", "--count", len(lines), "-o", "raw", stdout=open(o, "wb"))
                   for o in outputs]
        slow_out = node.folder / "slow.out"
        slow = node.subscriber("logs", "-o", "jsonl", stdout=open(slow_out, "wb"))
        slow.send_signal(signal.SIGSTOP)

        pub = subprocess.run(
            [str(pathlib.Path(node.process.args[0])), "pub", "--lines", "logs"],
            stdin=open(source, "rb"), env=node.env, capture_output=True, timeout=120)
        last = pub.stderr.decode().strip().splitlines()[-1]
        assert pub.returncode == 0, pub.stderr
        assert last == f"{len(lines)} sent, {len(lines)} acked", last

        for reader, output in zip(readers, outputs):
            assert reader.wait(120) == 0, reader.stderr_path.read_bytes()
            got = output.read_bytes().split(b"\n")[:-1]
            assert got == lines, f"{output.name}: {len(got)} of {len(lines)} lines, or another order"

        slow.send_signal(signal.SIGCONT)

        def told():
            return any(b'"lagged"' in row for row in slow_out.read_bytes().splitlines())

        wait_until("the stopped subscriber to be told what it missed", told)
        # It is live again afterwards: a line published now arrives.
        node.felix("pub", "logs", "the last line")
        wait_until("the last line", lambda: b"the last line" in slow_out.read_bytes())
        slow.send_signal(signal.SIGTERM)
        slow.wait(60)

        # What it was given is dense but for the holes it was told about.
        expected = None
        missed = 0
        for row in map(json.loads, slow_out.read_bytes().splitlines()):
            if row.get("event") == "lagged":
                missed += row["missed"]
                expected = None if row.get("resume") is None else row["resume"]
                continue
            if expected is not None:
                assert row["offset"] == expected, (row["offset"], expected)
            expected = row["offset"] + 1
            if row["offset"] < len(lines):
                assert row["payload"].encode() == lines[row["offset"]]
        assert missed > 0
        print(f"stopped subscriber was told of {missed} missed records")


if __name__ == "__main__":
    main()
