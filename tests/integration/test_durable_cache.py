# SPDX-License-Identifier: Apache-2.0
"""Durable caches through the real programs: what was acknowledged survives kill -9, expiries go on across
restarts, a watch goes on where it was, and so does one that begins at an old change.

FELIX_CACHE_KILL_ROUNDS says how often the node is killed under `felix cache put` (2 unless said); test_crash.py does it by
the hundred."""
import json
import os
import signal
import subprocess

from felix_node import BIN, Node, wait_until

ROUNDS = int(os.environ.get("FELIX_CACHE_KILL_ROUNDS", "2"))
WRITERS = 3

# Puts and deletes keys of its own, one after the other, and says what was acknowledged.
WRITER = r"""
i=$1; n=$2; felix=$3
while :; do
    key=w$i-$((n % 7)); n=$((n + 1))
    if [ $((n % 5)) -eq 0 ]; then
        echo "try $key -"; "$felix" cache del kept $key >/dev/null 2>&1
        case $? in 0|3) echo "ack $key -";; *) exit;; esac
    else
        echo "try $key $n"; "$felix" cache put kept $key $n >/dev/null 2>&1 || exit
        echo "ack $key $n"
    fi
done
"""


class Writer:
    def __init__(self, node, number, first):
        self.path = node.folder / f"writer-{number}-{first}.out"
        self.child = subprocess.Popen(
            ["sh", "-c", WRITER, "writer", str(number), str(first), str(BIN / "felix")],
            env=node.env, stdin=subprocess.DEVNULL, stdout=open(self.path, "wb"),
            start_new_session=True)

    def acked(self):
        return self.path.read_text().count("ack ")

    def end(self):
        os.killpg(self.child.pid, signal.SIGKILL)  # a put under way must not wait for the next node
        self.child.wait()
        rows = [row.split() for row in self.path.read_text().splitlines()]
        return [row for row in rows if len(row) == 3]


def value_of(node, key):
    answer = node.felix("cache", "get", "kept", key, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else "-"


def kill_rounds(node):
    """What a key holds after the kill is what was acknowledged last, or what was on its way."""
    may_be = {}
    acked = 0
    for round_ in range(ROUNDS):
        writers = [Writer(node, i, 1000 * round_) for i in range(WRITERS)]
        wait_until("some acknowledged changes",
                   lambda: all(writer.acked() >= 4 for writer in writers))
        node.process.kill()
        node.process.wait()
        for writer in writers:
            for what, key, value in writer.end():
                if what == "ack":
                    may_be[key] = {value}
                    acked += 1
                else:
                    may_be[key] = may_be.get(key, {"-"}) | {value}
        node.stop()
        node.start()
        for key, values in may_be.items():
            value = value_of(node, key)
            assert value in values, f"round {round_}: {key} is {value}, not one of {values}"
            may_be[key] = {value}
    assert acked > 0
    print(f"{ROUNDS} rounds, {acked} acknowledged changes, {len(may_be)} keys")
    return {key: next(iter(values)) for key, values in may_be.items()
            if next(iter(values)) != "-"}


def watch(node, *args):
    """The events of a watch that ends by itself."""
    text = node.felix("cache", "watch", "kept", "-o", "jsonl", *args).stdout
    return [row for row in map(json.loads, text.splitlines()) if "event" in row]


def fold(rows):
    state = {}
    for row in rows:
        if row["event"] == "put":
            state[row["key"]] = row["value"]
        else:
            state.pop(row["key"], None)
    return state


def promises(node):
    """An answer means what the cache says, from the create, and from an edit of a live one on."""
    node.felix("cache", "create", "quick", "--durable", "--ack", "written", "--fsync", "periodic",
               "--fsync-interval", "20ms")
    node.felix("cache", "put", "quick", "a", "1")
    shown = json.loads(node.felix("cache", "show", "quick").stdout)
    assert (shown["ack"], shown["fsync"], shown["fsync_interval_ms"]) == ("written", "periodic", 20)
    wait_until("the sync that comes by itself", lambda: json.loads(node.felix(
        "cache", "show", "quick").stdout)["log"][0]["last_sync_ms_ago"] is not None)
    node.felix("cache", "edit", "quick", "--ack", "synced")
    node.felix("cache", "put", "quick", "b", "2")
    node.felix("counter", "add", "quick", "n")
    shown = json.loads(node.felix("cache", "show", "quick").stdout)
    assert (shown["ack"], shown["fsync"]) == ("synced", "on_commit"), shown
    log = shown["log"][0]
    assert (log["state"], log["head"], log["tail"]) == ("open", 0, 4), log
    assert (log["cache"]["entries"], log["cache"]["counters"]) == (2, 1), log
    text = node.felix("cache", "show", "quick", "-o", "table").stdout
    assert "An answer means" in text and "entries 2, counters 1" in text, text
    for words in (["--fsync", "none"], ["--ack", "quorum"]):
        refused = node.felix("cache", "edit", "quick", *words, check=False)
        assert refused.returncode == 2 and words[0][2:] in refused.stderr, refused


def main():
    with Node() as node:
        promises(node)
        node.felix("cache", "create", "kept", "--durable")
        shown = json.loads(node.felix("cache", "show", "kept", "-o", "json").stdout)
        assert shown["durable"] is True
        node.felix("cache", "put", "kept", "brief", "gone", "--ttl", "2s")
        node.felix("cache", "put", "kept", "long", "there", "--ttl", "1h")
        node.felix("counter", "add", "kept", "n", "5")

        expected = kill_rounds(node)
        expected["long"] = "there"
        wait_until("the key to expire", lambda: value_of(node, "brief") == "-")
        assert node.felix("counter", "add", "kept", "n", "2").stdout.strip() == "7"

        # The whole history from its first change, and what is there now, both make the cache.
        retained = watch(node, "--retained", "--count", len(expected))
        assert fold(retained) == expected
        node.felix("cache", "put", "kept", "end", "1")
        expected["end"] = "1"
        path = node.folder / "history.jsonl"
        node.spawn("cache", "watch", "kept", "--from", 1, "-o", "jsonl", stdout=open(path, "wb"))
        wait_until("the history up to the last put", lambda: b'"end"' in path.read_bytes())
        history = [row for row in map(json.loads, path.read_text().split("\n")[:-1])
                   if "event" in row]
        offsets = [row["offset"] for row in history]
        assert offsets == sorted(set(offsets)), "each change once, in order"
        assert fold(history) == expected
        print(f"{len(history)} changes of history")


if __name__ == "__main__":
    main()
