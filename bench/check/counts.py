# SPDX-License-Identifier: Apache-2.0
"""The counts of bench_core_path per record, and the instructions of the same rounds by callgrind.

Instructions are those of Felix: what libc does for it depends on the processor libc finds and is
counted by call instead (allocations, bytes copied); what the harness does is not counted.
"""
import json
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile

OURS_OF_THE_HARNESS = re.compile(r"/(broker_harness\w*|core_path)\.[ch]$")
LIBC = re.compile(r"/(libc\.so|libc-|ld-linux)")
LIMIT_S = 300  # a bound for hangs


def felix_instructions(text):
    """The row's name and the instructions Felix executed in one dump of callgrind."""
    row = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
    if row is None:
        return None, 0  # the dump at the end of the process
    names = {}

    def name_of(word):
        number, _, name = word.partition(" ")
        if name:
            names[number] = name
        return names[number]

    total, counted, in_libc, is_inclusive = 0, True, False, False
    files = {"fl": ""}
    for line in text.splitlines():
        if line.startswith("ob="):
            in_libc = LIBC.search(name_of("ob" + line[3:])) is not None
        elif line.startswith("fl="):
            files["fl"] = name_of("fl" + line[3:])
        elif line[:3] in ("fi=", "fe=") or line.startswith("cfi="):
            name_of("fl" + line.split("=", 1)[1])
        elif line.startswith("cob="):
            name_of("ob" + line[4:])
        elif line.startswith("fn="):
            counted = not in_libc and not OURS_OF_THE_HARNESS.search(files["fl"])
        elif line.startswith("calls="):
            is_inclusive = True
        elif line[:1] in "0123456789+-*" and line:
            if counted and not is_inclusive:
                total += int(line.split()[1])
            is_inclusive = False
    return row.group(1), total


def valgrind_version():
    if shutil.which("valgrind") is None:
        return None
    said = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def count(bin_dir):
    """{"made_with": ..., "cases": {name: {"instructions": ..., ...}}}; instructions only with valgrind."""
    program = pathlib.Path(bin_dir).resolve() / "bench_core_path"
    valgrind = valgrind_version()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="felix-check-"))
    try:
        words = [program, "--counts"]
        if valgrind is not None:
            words = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet",
                     f"--callgrind-out-file={folder}/out", *words]
        said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S)
        instructions = dict(felix_instructions(dump.read_text())
                            for dump in folder.iterdir())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    head, *rows = map(json.loads, said.stdout.splitlines())
    cases = {}
    for row in rows:
        records = row["records"]
        figures = {}
        if row["case"] in instructions:
            figures["instructions"] = round(instructions[row["case"]] / records, 2)
        for kind in ("allocations", "copied_bytes", "mails"):
            figures[kind] = round(row[kind] / records, 4)
        cases[row["case"]] = {"like": row["like"], "fan_out": row["fan_out"], **figures}
    return {"made_with": {"compiler": head["compiler"], "valgrind": valgrind,
                          "machine": platform.machine()},
            "cases": cases}
