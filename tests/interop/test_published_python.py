# SPDX-License-Identifier: Apache-2.0
"""The published Python package felix-client 0.6.x, unmodified, against a node."""
import subprocess

from durable import across_a_kill, free_address
from felix_node import Node
from interop import python_with

HERE = __file__.rsplit("/", 1)[0]


def tampered(token):
    head, body, signature = token.split(".")
    return ".".join([head, body, ("A" if signature[0] != "A" else "B") + signature[1:]])


def main():
    python = python_with("felix-client==0.6.2")
    with Node() as node:
        node.felix("stream", "create", "interop")
        node.felix("stream", "create", "interop-sharded", "--shards", "4")
        done = subprocess.run([python, f"{HERE}/felix_python_client.py", f"{node.host}:{node.port}",
                               node.token, node.ca_file, tampered(node.token)],
                              capture_output=True, text=True, timeout=200, env=node.env)
        print(done.stdout, done.stderr)
        assert done.returncode == 0, "the published client was not content"
    with Node("--quic-bind", free_address()) as node:
        across_a_kill(node, python, f"{HERE}/felix_python_durable.py")


if __name__ == "__main__":
    main()
