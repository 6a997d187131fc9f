# SPDX-License-Identifier: Apache-2.0
"""What a published client does before and after its node is killed with kill -9: its script runs twice, with `before` and
`after` as the last word, and leaves what it knows in a file in between."""
import socket
import subprocess


def free_address():
    """A UDP address the node keeps over its lives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def make(node):
    node.felix("stream", "create", "kept", "--durable")
    node.felix("stream", "create", "kept-sharded", "--durable", "--shards", "4")
    node.felix("stream", "create", "short", "--durable", "--retain-bytes", "4194304")
    node.felix("cache", "create", "kept", "--durable")


def run(node, *command):
    done = subprocess.run([*command], capture_output=True, text=True, timeout=200, env=node.env)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, "the published client was not content"


def across_a_kill(node, *command):
    """`command` gets the address, the token, the CA file, the file and the word behind it."""
    make(node)
    for word in ("before", "after"):
        run(node, *command, f"{node.host}:{node.port}", node.token, node.ca_file,
            str(node.folder / "known.json"), word)
        if word == "before":
            node.process.kill()
            node.process.wait()
            node.stop()
            node.start()
