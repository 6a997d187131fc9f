# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the real node under load, by the hundred: tests/crash/README.md has the rules. Before that the checker
itself: an acknowledged batch is cut off a log behind its back, a message is published twice, and each must be found.

FELIX_CRASH_ROUNDS says how many rounds, SEED which choices; `make soak` runs thousands."""
import os
import subprocess
import tempfile

from felix_node import BIN

ROUNDS = os.environ.get("FELIX_CRASH_ROUNDS", "200")
SABOTAGE = {"tail": "crash: crash-small: lost: ", "cache": "crash: crash-cache: lost: ",
            "twice": "crash: crash-small: twice: "}


def crash(*args):
    seed = ["--seed", os.environ["SEED"]] if "SEED" in os.environ else []
    return subprocess.run([BIN / "felix-crash", "--bin", BIN, *args, *seed], text=True, check=False,
                          stderr=subprocess.PIPE)


def the_checker_finds_what_is_wrong():
    for how, finding in SABOTAGE.items():
        with tempfile.TemporaryDirectory() as folder:
            done = crash("--rounds", "30", "--sabotage", how, "--under", folder)
        assert "crash: sabotage was done" in done.stderr, f"{how}: {done.stderr}"
        assert done.returncode == 1 and finding in done.stderr, f"{how}: {done.stderr}"


def every_rule_holds():
    done = crash("--rounds", ROUNDS)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    the_checker_finds_what_is_wrong()
    every_rule_holds()
