# SPDX-License-Identifier: Apache-2.0
"""One `felix cache watch` that lives across restarts of the node, killed and clean, of a durable cache: every change comes
once and in order, none is missing, and folding them gives the cache. The node keeps its address; the watch finds it
again by itself."""
import json

from felix_node import Node, free_address, wait_until

RESTARTS = ("kill", "stop", "kill", "kill", "stop")
KEYS = 40


class Watch:
    """What one `felix cache watch -o jsonl` has printed so far."""

    def __init__(self, node, *args):
        self.path = node.folder / f"watch-{len(node.children)}.jsonl"
        self.child = node.spawn("cache", "watch", "kept", "-o", "jsonl", *args,
                                stdout=open(self.path, "wb"))
        wait_until("'watching'", lambda: b"watching" in self.child.stderr_path.read_bytes())

    def rows(self):
        return [json.loads(line) for line in self.path.read_text().split("\n")[:-1]]

    def events(self):
        return [row for row in self.rows() if "event" in row]

    def changes(self):
        return [row for row in self.events() if not row.get("retained")]

    def resets(self):
        return [row for row in self.rows() if row.get("notice") == "reset"]

    def folded(self):
        state = {}
        for row in self.events():
            if row["event"] == "put":
                state[row["key"]] = row["value"]
            else:
                state.pop(row["key"], None)
        return state

    def ends(self):
        self.child.terminate()
        assert self.child.wait(60) == 0, self.child.stderr_path.read_text()


class Writer:
    """Puts, deletes and expiries, and the cache as it should be."""

    def __init__(self, node):
        self.node, self.count, self.state = node, 0, {}

    def write(self):
        """One of each; all are answered before it returns."""
        for _ in range(4):
            self.count += 1
            key = f"app/{self.count * 7 % KEYS}"
            self.node.felix("cache", "put", "kept", key, f"v{self.count}")
            self.state[key] = f"v{self.count}"
        gone = sorted(self.state)[self.count % len(self.state)]
        self.node.felix("cache", "del", "kept", gone)
        del self.state[gone]
        self.node.felix("cache", "put", "kept", "app/brief", "soon gone", "--ttl", "1ms")
        self.node.felix("cache", "put", "kept", "other", f"{self.count}")


def again(node, how):
    if how == "kill":
        node.process.kill()
        node.process.wait()
        node.stop()
    else:
        assert node.stop() == 0
    node.start()


def each_once_and_in_order(watch):
    offsets = {}
    for row in watch.changes():
        offsets.setdefault(row["shard"], []).append(row["offset"])
    for shard, seen in offsets.items():
        assert seen == sorted(set(seen)), f"shard {shard}: {seen}"
    return offsets


def main():
    with Node("--quic-bind", free_address()) as node:
        node.felix("cache", "create", "kept", "--durable", "--shards", "2")
        writer = Writer(node)
        writer.write()
        before = dict(writer.state)
        retained = Watch(node, "--prefix", "app/", "--retained")
        live = Watch(node, "--prefix", "app/")
        wait_until("what was there", lambda: retained.folded() == before)
        for how in RESTARTS:
            writer.write()
            again(node, how)
            writer.write()
            wait_until("all changes so far", lambda: retained.folded() == writer.state)
        assert "other" not in retained.folded()
        assert retained.resets() == [] and live.resets() == [], "a durable cache keeps every change"

        # The one that began with what was there and the one that began behind it heard the same changes.
        offsets = each_once_and_in_order(retained)
        wait_until("the live one", lambda: len(live.changes()) == len(retained.changes()))
        assert each_once_and_in_order(live) == offsets
        brief = [r["event"] for r in live.events() if r["key"] == "app/brief"]
        # A value of 1 ms may be over before its put is served: then the put is told as the delete it is.
        assert brief.count("delete") == 2 * len(RESTARTS), f"each expiry is a change: {brief}"
        assert ("put", "put") not in zip(brief, brief[1:]), f"each expiry is a change: {brief}"

        # A watch from the first change of all, begun now, hears what they heard, and what was before them.
        for shard in offsets:
            history = Watch(node, "--prefix", "app/", "--shard", shard, "--from", 1)
            wait_until("the history", lambda: {r["offset"] for r in history.changes()} >=
                       set(offsets[shard]))
            seen = each_once_and_in_order(history)[shard]
            assert seen[-len(offsets[shard]):] == offsets[shard], "no gap, and nothing else"
            history.ends()

        # And from the middle, across one more kill.
        shard, seen = max(offsets.items(), key=lambda item: len(item[1]))
        middle = Watch(node, "--prefix", "app/", "--shard", shard, "--from", seen[len(seen) // 2])
        again(node, "kill")
        writer.write()
        wait_until("all changes", lambda: retained.folded() == writer.state)
        last = each_once_and_in_order(retained)[shard]
        wait_until("the middle one",
                   lambda: [r["offset"] for r in middle.changes()] == last[len(seen) // 2:])
        for watch in (retained, live, middle):
            watch.ends()
        print(f"{len(retained.changes())} changes heard across {len(RESTARTS) + 1} restarts")


if __name__ == "__main__":
    main()
