# SPDX-License-Identifier: Apache-2.0
"""What vanishes from a data directory is missed: a log that is gone is never made anew in silence, and the operator
has a way on. What was deleted is gone, also when the node ended in the middle of it.

Crash points are made by hand, so that they are always the same: files are put back where a node that was killed there
would have left them.
"""
import json
import shutil
import signal

from felix_node import Node


def lines_of(node, stream):
    return node.felix("peek", stream, "--from", "earliest", "--count", 100000, "-o",
                      "raw").stdout.splitlines()


def log_of(node, stream):
    return next((node.data / "log" / "logs").glob(stream + "-*"))


def line_of(node, event):
    rows = (node.folder / "up.log").read_text().splitlines()
    return next((row for row in rows[::-1] if f'"{event}"' in row), "")


def a_log_that_is_gone_is_refused(node):
    node.felix("stream", "create", "gone", "--durable")
    node.felix("stream", "create", "here", "--durable")
    for stream in ("gone", "here"):
        node.felix("pub", stream, "acknowledged")
    directory = log_of(node, "gone")
    assert node.stop() == 0
    shutil.rmtree(directory)
    node.start()
    assert lines_of(node, "here") == ["acknowledged"]
    refused = node.felix("pub", "gone", "x", check=False)
    assert refused.returncode != 0 and "log" in refused.stderr, refused
    told = line_of(node, "log.damaged")
    assert directory.name in told and "--accept-loss" in told, told
    assert '"damaged"' in node.felix("stream", "show", "gone", "-o", "json").stdout
    assert not directory.exists(), "it was made anew"
    found = node.felix("log", "verify", node.data, check=False)
    assert found.returncode == 1, found
    assert f"DAMAGED logs/{directory.name}/state" in found.stdout, found.stdout
    assert "accept-loss" in found.stderr, found.stderr


def a_loss_is_accepted(node):
    name = next((node.data / "log" / "register").glob("gone-*")).name.removesuffix(".log")
    busy = node.felix("log", "repair", node.data, name, "--accept-loss", check=False)
    assert busy.returncode != 0, "the node runs"
    assert node.stop() == 0
    whole = log_of(node, "here").name
    refused = node.felix("log", "repair", node.data, whole, "--accept-loss", check=False)
    assert refused.returncode != 0 and "not damaged" in refused.stderr, refused
    assert node.felix("log", "repair", node.data, name, "--yes", check=False).returncode != 0
    node.felix("log", "repair", node.data, name, "--accept-loss")
    node.felix("log", "verify", node.data)
    node.start()
    node.felix("pub", "gone", "begun again")
    assert lines_of(node, "gone") == ["begun again"]
    assert lines_of(node, "here") == ["acknowledged"]


def states_of(node):
    rows = node.felix("log", "ls", node.data, "-o", "jsonl").stdout.splitlines()
    return {row["name"]: row["state"] for row in map(json.loads, rows)}


def a_deletion_that_was_interrupted_is_ended(node):
    """Killed behind the catalog's transaction: with the log in place; struck from the register; in the
    trash; and gone."""
    logs, register, trash = (node.data / "log" / d for d in ("logs", "register", "trash"))
    for point in ("in place", "struck out", "in the trash", "gone"):
        node.felix("stream", "create", "brief", "--durable", "--shards", 2)
        node.felix("pub", "--lines", "brief", input="".join(f"{i}\n" for i in range(50)))
        names = [path.name for path in logs.glob("brief-*")]
        assert names
        assert node.stop() == 0
        kept = node.folder / "kept"
        for name in names:
            shutil.copytree(logs / name, kept / name)
            shutil.copy(register / (name + ".log"), kept / (name + ".log"))
        node.start()
        node.felix("stream", "rm", "brief", "--yes")
        node.stop(signal.SIGKILL)
        for name in names if point != "gone" else []:
            where = trash / (name + ".0123456789ab") if point == "in the trash" else logs / name
            shutil.rmtree(where, ignore_errors=True)
            shutil.copytree(kept / name, where)
            if point == "in place":
                shutil.copy(kept / (name + ".log"), register)
        if point in ("in place", "struck out"):
            assert {states_of(node)[name] for name in names} == {"deleted"}, states_of(node)
        node.start()
        assert not [path for path in logs.iterdir() if path.name in names], point
        assert not list(trash.iterdir()), point
        assert not list(register.glob("brief-*")), point
        node.felix("stream", "create", "brief", "--durable")
        assert lines_of(node, "brief") == [], "a new stream begins anew"
        node.felix("stream", "rm", "brief", "--yes")
        shutil.rmtree(kept)
    assert '"log.removed"' in line_of(node, "log.removed")


def an_orphan_is_told_and_left(node):
    """A log that the catalog never heard of: of a catalog that was lost, say."""
    whole = log_of(node, "here")
    assert node.stop() == 0
    orphan = whole.with_name("unheard-of-77-0-00000000")
    shutil.copytree(whole, orphan)
    assert states_of(node)[orphan.name] == "orphan"
    assert states_of(node)[whole.name] == "owned"
    node.start()
    assert orphan.name in line_of(node, "log.orphan")
    assert states_of(node)[orphan.name] == "-", "the catalog is the running node's"
    assert node.felix("log", "export", node.data, orphan.name).stdout == "acknowledged\n"
    assert node.stop() == 0
    refused = node.felix("log", "rm", node.data, whole.name, "--yes", check=False)
    assert refused.returncode != 0 and "delete that instead" in refused.stderr, refused
    assert node.felix("log", "rm", node.data, orphan.name, check=False).returncode == 2
    node.felix("log", "rm", node.data, orphan.name, "--yes")
    assert orphan.name not in states_of(node)
    node.start()
    assert lines_of(node, "here") == ["acknowledged"]


def logs_that_are_not_there(node, other):
    """The whole directory is gone, or is another node's: nothing is made anew, and the rest of the node serves."""
    logs = node.data / "log"
    node.felix("stream", "create", "light")
    for change in ("gone", "another"):
        assert node.stop() == 0
        logs.rename(node.folder / "log")
        if change == "another":
            shutil.copytree(other.data / "log", logs)
        node.start()
        told = line_of(node, "logs.lost")
        assert "--accept-loss" in told and str(logs) in told, told
        refused = node.felix("pub", "here", "x", check=False)
        assert refused.returncode != 0, refused
        node.felix("pub", "light", "still")
        assert lines_of(node, "light") == ["still"]
        node.felix("stream", "rm", "light", "--yes")
        node.felix("stream", "create", "light")
        assert node.stop() == 0
        shutil.rmtree(logs)
        (node.folder / "log").rename(logs)
        node.start()
        assert lines_of(node, "here") == ["acknowledged"], "it was put back"
    assert node.stop() == 0
    refused = node.felix("log", "repair", node.data, "--accept-loss", check=False)
    assert refused.returncode != 0 and "are there" in refused.stderr, refused
    shutil.rmtree(logs)
    node.felix("log", "repair", node.data, "--accept-loss")
    node.start()
    node.felix("pub", "here", "begun again")
    assert lines_of(node, "here") == ["begun again"]


def main():
    with Node() as node:
        a_log_that_is_gone_is_refused(node)
        a_loss_is_accepted(node)
        a_deletion_that_was_interrupted_is_ended(node)
        an_orphan_is_told_and_left(node)
        with Node() as other:
            assert other.stop() == 0
            logs_that_are_not_there(node, other)
            other.start()


if __name__ == "__main__":
    main()
