# SPDX-License-Identifier: Apache-2.0
"""An independent QUIC implementation (aioquic) completes the handshake and the raw suite."""
import subprocess

from felix_node import Node
from interop import python_with

HERE = __file__.rsplit("/", 1)[0]


def main():
    python = python_with("aioquic==1.2.0")
    with Node() as node:
        node.felix("stream", "create", "conformance")
        done = subprocess.run([python, f"{HERE}/raw_suite_aioquic.py", node.host, str(node.port),
                               node.token, node.ca_file],
                              capture_output=True, text=True, timeout=200, env=node.env)
        print(done.stdout, done.stderr)
        assert done.returncode == 0, "the independent client was not content"


if __name__ == "__main__":
    main()
