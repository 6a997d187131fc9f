# SPDX-License-Identifier: Apache-2.0
"""make demo, smaller: three subscribers have every line, the stopped one goes on, kill -9 loses nothing that was
acknowledged, and the watchers equal the cache."""
import os
import pathlib
import subprocess

from felix_node import BIN

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    env = {k: v for k, v in os.environ.items() if not k.startswith("FELIX_")}
    done = subprocess.run([ROOT / "tools" / "demo", BIN, "60000", "150"], env=env, capture_output=True,
                          text=True, timeout=200)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, "the demo failed"
    for i in (1, 2, 3):
        assert f"subscriber {i} has every line, in order" in done.stdout
    assert "the stopped one runs again" in done.stdout
    assert "and the cache says hello" in done.stdout
    assert "nothing acknowledged is lost" in done.stdout
    assert "150 of 150 watchers equal the cache" in done.stdout


if __name__ == "__main__":
    main()
