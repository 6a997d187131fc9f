# SPDX-License-Identifier: Apache-2.0
"""The pages say what the programs do: generated pages are as the tables in code make them, what pages
name exists, every metric of a node is explained and every explained one is there, and every
check of felix-conformance is listed."""
import pathlib
import re
import subprocess
import urllib.request

from felix_node import BIN, Node

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def run(*words):
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def same(what, there, documented):
    assert not there - documented, f"{what} without a word in docs: {sorted(there - documented)}"
    assert not documented - there, f"{what} in docs only: {sorted(documented - there)}"


def explained_metrics():
    names = set()
    for row in (DOCS / "ops" / "metrics.md").read_text().splitlines():
        if row.startswith("| `"):
            names |= set(re.findall(r"`((?:felix|process)_[a-z0-9_]+)`", row.split("|")[1]))
    return names


def metrics_of(node):
    with urllib.request.urlopen(f"http://{node.health}/metrics", timeout=60) as answer:
        return set(re.findall(r"^# TYPE (\S+) ", answer.read().decode(), re.MULTILINE))


def main():
    run(ROOT / "tools" / "docs", BIN, "--check")
    run(ROOT / "tools" / "check-docs")

    check = r'^    \{"((?:raw|bad|pubsub|ack|sharded|cache|error|retry|client)\.[a-z_]+)", "'
    run_by_code = set()
    for name in ("raw_suite.c", "scenarios.c"):
        path = ROOT / "tools" / "conformance" / name
        run_by_code |= set(re.findall(check, path.read_text(), re.MULTILINE))
    listed = set(re.findall(r"`((?:raw|bad|pubsub|ack|sharded|cache|error|retry|client)\.[a-z_]+)`",
                            "\n".join(row.split("|")[1] for row in
                                      (DOCS / "spec" / "conformance.md").read_text().splitlines()
                                      if row.startswith("| `"))))
    same("checks", run_by_code, listed)

    with Node() as node:
        same("metrics", metrics_of(node), explained_metrics())


if __name__ == "__main__":
    main()
