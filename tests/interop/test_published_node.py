# SPDX-License-Identifier: Apache-2.0
"""The published npm package felix-client-linux-x64-gnu 0.5.0, unmodified, against a node."""
import platform
import subprocess

from durable import across_a_kill, free_address
from felix_node import Node
from interop import cannot_run, node_with
from test_published_python import tampered

HERE = __file__.rsplit("/", 1)[0]


def main():
    if platform.machine() != "x86_64":
        cannot_run("the published addon is for x86_64 only")
    folder = node_with("felix-client-linux-x64-gnu", "0.5.0")
    with Node() as node:
        node.felix("stream", "create", "interop")
        node.felix("stream", "create", "interop-sharded", "--shards", "4")
        done = subprocess.run(["node", f"{HERE}/felix_node_client.js", folder,
                               f"{node.host}:{node.port}", node.token, node.ca_file,
                               tampered(node.token)],
                              capture_output=True, text=True, timeout=200, env=node.env)
        print(done.stdout, done.stderr)
        assert done.returncode == 0, "the published client was not content"
    with Node("--quic-bind", free_address()) as node:
        across_a_kill(node, "node", f"{HERE}/felix_node_durable.js", folder)


if __name__ == "__main__":
    main()
