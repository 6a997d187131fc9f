# SPDX-License-Identifier: Apache-2.0
"""What vanishes from a data directory is missed: a log that is gone is never made anew in silence, and the operator
has a way on."""
import shutil

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


def main():
    with Node() as node:
        a_log_that_is_gone_is_refused(node)
        a_loss_is_accepted(node)


if __name__ == "__main__":
    main()
