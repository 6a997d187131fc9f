# SPDX-License-Identifier: Apache-2.0
"""Watches and counters of a cache through the real programs: every change is heard, in order of its
part, also across a restart of the node; what is lost is said; counters count."""
import json
import subprocess

from felix_node import Node, wait_until


class Watch:
    """A `felix cache watch` that is live, and the cache as it folds it."""

    def __init__(self, node, *args):
        self.path = node.folder / f"watch-{len(node.children)}.jsonl"
        self.child = node.spawn("cache", "watch", "sessions", "-o", "jsonl", *args,
                                stdout=open(self.path, "wb"))
        wait_until("'watching' of felix cache watch",
                   lambda: b"watching" in self.child.stderr_path.read_bytes())

    def rows(self):
        # The last line may be half written.
        return [json.loads(line) for line in self.path.read_text().split("\n")[:-1]]

    def folded(self):
        state, offsets = {}, {}
        for row in self.rows():
            if row.get("notice") == "reset":
                state = {key: value for key, value in state.items() if value[0] != row["shard"]}
            elif row.get("event") == "put":
                state[row["key"]] = (row["shard"], row["value"])
            elif row.get("event") == "delete":
                state.pop(row["key"], None)
            if "event" in row and not row.get("retained"):
                assert row["offset"] > offsets.get(row["shard"], -1), "each change once, in order"
                offsets[row["shard"]] = row["offset"]
        return {key: value for key, (_, value) in state.items()}


def main():
    with Node() as node:
        node.felix("cache", "create", "sessions", "--shards", "4")
        for i in range(20):
            node.felix("cache", "put", "sessions", f"user/{i}", f"old-{i}")
        everything = Watch(node, "--retained")
        one = Watch(node, "user/3")
        expected = {f"user/{i}": f"old-{i}" for i in range(20)}
        wait_until("what was there", lambda: everything.folded() == expected)
        wait_until("four parts to be ready",
                   lambda: sum(r.get("notice") == "ready" for r in everything.rows()) == 4)
        assert one.rows() == []

        # Changes, deletes, expiry.
        node.felix("cache", "put", "sessions", "user/3", "new")
        node.felix("cache", "del", "sessions", "user/4")
        node.felix("cache", "put", "sessions", "brief", "soon gone", "--ttl", "500ms")
        expected["user/3"] = "new"
        del expected["user/4"]
        wait_until("the key to expire",
                   lambda: any(r.get("event") == "delete" and r["key"] == "brief"
                               for r in everything.rows()))
        wait_until("the changes", lambda: everything.folded() == expected)
        assert [(r["event"], r["value"]) for r in one.rows()] == [("put", "new")]

        # The keys, as a watch of one moment.
        keys = node.felix("cache", "keys", "sessions", "-o", "name").stdout.split()
        assert sorted(keys) == sorted(expected), keys
        some = node.felix("cache", "keys", "sessions", "--prefix", "user/1", "-o", "jsonl").stdout
        assert len(some.splitlines()) == 11, some

        # From an offset: what one watch heard, another can ask for again.
        change = next(r for r in everything.rows() if r.get("value") == "new")
        again = node.felix("cache", "watch", "sessions", "--prefix", "", "--shard", change["shard"],
                           "--from", change["offset"], "--count", "1")
        assert again.stdout == "put user/3 new\n", again.stdout
        future = node.felix("cache", "watch", "sessions", "user/3", "--from", 1 << 62, check=False)
        assert future.returncode != 0 and "future" in future.stderr, future
        missing = node.felix("cache", "watch", "nothing", "--context", "local", check=False,
                             env={"FELIX_NAMESPACE": "nowhere"})
        assert missing.returncode != 0, missing

        # Counters.
        assert node.felix("counter", "get", "sessions", "visits", check=False).returncode == 3
        assert node.felix("counter", "add", "sessions", "visits").stdout == "1\n"
        assert node.felix("counter", "add", "sessions", "visits", "41").stdout == "42\n"
        assert node.felix("counter", "add", "sessions", "visits", "--", "-2").stdout == "40\n"
        assert node.felix("counter", "get", "sessions", "visits").stdout == "40\n"
        assert node.felix("cache", "get", "sessions", "visits", check=False).returncode == 3
        refused = node.felix("counter", "add", "sessions", "visits", "x", check=False)
        assert refused.returncode == 2, refused

        # A restart empties a cache in memory: the watch says so, and hears what is written then.
        port = node.port
        node.stop()
        node.flags = (*node.flags, "--quic-bind", f"127.0.0.1:{port}")
        node.start()
        node.felix("cache", "put", "sessions", "user/9", "after")
        wait_until("the watch to have begun again",
                   lambda: everything.folded() == {"user/9": "after"})
        assert any(r.get("notice") == "reset" for r in everything.rows())

        # It ends when it is told to.
        for watch in (everything, one):
            watch.child.terminate()
            assert watch.child.wait(60) == 0, watch.child.stderr_path.read_text()


main()
