# SPDX-License-Identifier: Apache-2.0
"""Processes of a run: the load programs, and what a server used while they worked.

Every process is started here or in a module that uses this one, and ended by its pid.
"""
import json
import os
import pathlib
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time

WAIT_S = 120  # a bound for hangs


class Failure(Exception):
    """A run that was not whole; its figures do not count."""


class Load:
    """One load program: lines of JSON from it, a line to it."""

    def __init__(self, words):
        self.words = [str(word) for word in words]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors)

    def expect(self, event, seconds=WAIT_S):
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.process.kill()
            self.process.wait()
            self.errors.seek(0)
            why = self.errors.read().decode(errors="replace").strip()
            raise Failure(f"{pathlib.Path(self.words[0]).name} {self.words[1]}: "
                          f"{why or 'no answer'}")
        said = json.loads(line)
        if said["event"] != event:
            raise Failure(f"{self.words[0]} said {said} instead of {event}")
        return said

    def go(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def close(self):
        try:
            self.process.stdin.close()  # that is how a load program is told to end
        except BrokenPipeError:
            pass  # it has ended
        end(self.process, WAIT_S, ask=False)
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None and self.process.poll() is None:
            self.process.kill()
        self.close()


def end(process, seconds, ask=True):
    """Ends one process of ours: asked first, killed after `seconds`."""
    if process.poll() is None and ask:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_s(pid):
    """Processor seconds of a process so far, to the nanosecond."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that ended just now
    return total / 1e9


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise Failure("no VmRSS")


# --- counting system calls: in a pass of its own, because counting disturbs ---

def calls_in_perf(text):
    """The count in the output of `perf stat -x, -e raw_syscalls:sys_enter`; None: not counted."""
    found = re.search(r"^(\d+),[^,]*,raw_syscalls:sys_enter,", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def calls_in_strace(text):
    """The total in the table of `strace -c`; None: there is none."""
    found = re.search(r"^100\.00 +[\d.]+ +\d+ +(\d+)(?: +\d+)? +total$", text, re.MULTILINE)
    return int(found.group(1)) if found else None


class CallCounter:
    """Counts the system calls of a process: with perf where it may, else with strace, which slows
    the process down so that it does more per call than otherwise."""

    ATTACH_S = 0.3

    def __init__(self, pid):
        self.output = tempfile.NamedTemporaryFile(prefix="felix-bench-calls-")
        self.tool = "perf" if shutil.which("perf") and os.geteuid() == 0 else "strace"
        if self.tool == "perf":
            words = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(pid),
                     "-o", self.output.name]
        else:
            words = ["strace", "-c", "-f", "-p", str(pid), "-o", self.output.name]
        try:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            self.process = None  # neither is installed: not counted
        time.sleep(self.ATTACH_S)

    def stop(self):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        end(self.process, 10, ask=False)
        text = pathlib.Path(self.output.name).read_text()
        self.output.close()
        return calls_in_perf(text) if self.tool == "perf" else calls_in_strace(text)


class Meter:
    """What a server uses between start and stop. Counts are taken only where `counting` says so."""

    def __init__(self, pid, allocations_file=None, counting=False):
        self.pid = pid
        self.allocations_file = allocations_file
        self.calls = CallCounter(pid) if counting else None
        self.allocations = self._allocations()
        self.cpu_s = cpu_s(pid)

    def _allocations(self):
        if self.allocations_file is None or not self.allocations_file.exists():
            return None
        return struct.unpack("=Q", self.allocations_file.read_bytes()[:8])[0]

    def stop(self, units):
        """Figures: cpu_s whole, counts a unit."""
        used = {"cpu_s": cpu_s(self.pid) - self.cpu_s, "rss_mib": resident(self.pid) / (1 << 20)}
        if self.calls is not None:
            calls = self.calls.stop()
            if calls is not None:
                used["calls"] = calls / units
            if self.allocations is not None:
                used["allocs"] = (self._allocations() - self.allocations) / units
        return used
