# SPDX-License-Identifier: Apache-2.0
"""felix-conformance against a node: the raw suite, every kind of bad input, the client scenarios;
with one worker and with three, so that shards live on other threads than their clients. The context
of `felix up` is one for development, so felix-conformance makes the streams it needs."""
import subprocess

from felix_node import BIN, Node

PERMISSIONS_OF_NOBODY = ["stream.publish:stream:t1/default/nothing-else"]


def main():
    for workers in ("1", "3"):
        with Node("--workers", workers) as node:
            refused = node.folder / "refused.token"
            refused.write_text(node.mint("felix-broker", "t1", 0, 3600, *PERMISSIONS_OF_NOBODY))
            done = subprocess.run([BIN / "felix-conformance", "--refused-token-file", refused],
                                  env=node.env, capture_output=True, text=True, timeout=200)
            print(f"---- {workers} worker(s)")
            print(done.stdout, done.stderr)
            assert done.returncode == 0, "the broker does not conform"


if __name__ == "__main__":
    main()
