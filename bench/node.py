# SPDX-License-Identifier: Apache-2.0
"""A release node of its own for measuring, and the load programs that talk to it.

Processes are started here and ended by their pid; everything lives in one scratch folder.
"""
import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import ssl
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
        self.process = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def expect(self, event):
        readable, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.process.kill()
            why = self.process.stderr.read().decode(errors="replace").strip()
            raise Failure(f"{pathlib.Path(self.words[0]).name}: {why or 'no answer'}")
        said = json.loads(line)
        if said["event"] != event:
            raise Failure(f"{self.words[0]} said {said} instead of {event}")
        return said

    def go(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None and self.process.poll() is None:
            self.process.kill()
        self.close()


class Node:
    def __init__(self, bin_dir, *flags, under=()):
        """`under`: words before the command, of a tracer that leaves the node our child."""
        self.bin = pathlib.Path(bin_dir).resolve()
        self.flags = flags
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="felix-bench-"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("FELIX_")}
        self.env["XDG_CONFIG_HOME"] = str(self.folder / "config")
        self.api = None
        self.names = 0
        self.made = []
        self.log = open(self.folder / "up.log", "wb")
        self.process = subprocess.Popen(
            [*under, self.bin / "felix", "up", "--data", self.folder / "data", "--ephemeral-ports", *flags],
            env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.context = self._await_context()
        self.common = ["--address", self.context["addresses"][0],
                       "--token-file", self.context["token_file"],
                       "--ca-file", self.context["ca_file"], "--tenant", self.context["tenant"]]

    def _await_context(self):
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failure("felix up ended: " + (self.folder / "up.log").read_text())
            if (self.folder / "config" / "felix" / "config.yaml").exists():
                if self.felix("doctor", check=False).returncode == 0:
                    return json.loads(self.felix("context", "show", "-o", "json").stdout)
            time.sleep(0.02)
        raise Failure("felix up is not ready")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def felix(self, *args, check=True):
        return subprocess.run([self.bin / "felix", *map(str, args)], env=self.env, check=check,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S)

    def fresh(self, kind="stream"):
        """A new stream or cache; its name."""
        self.names += 1
        name = f"bench-{self.names}"
        self.felix(kind, "create", name)
        self.made.append((kind, name))
        return name

    def forget(self):
        """Removes what fresh() made, so that a run does not carry the memory of those before."""
        while self.made:
            self.felix(*self.made[-1][:1], "rm", self.made[-1][1], "--yes")
            self.made.pop()

    def create_many(self, prefix, count):
        """Streams through the REST API over one connection."""
        if self.api is None:
            host, port = self.context["controlplane"].rsplit("/", 1)[1].rsplit(":", 1)
            tls = ssl.create_default_context(cafile=self.context["ca_file"])
            self.api = http.client.HTTPSConnection(host, int(port), context=tls, timeout=WAIT_S)
        token = pathlib.Path(self.context["admin_token_file"]).read_text().strip()
        path = (f"/v1/tenants/{self.context['tenant']}/namespaces/{self.context['namespace']}"
                "/streams")
        for i in range(count):
            self.api.request("POST", path, json.dumps({"stream": f"{prefix}-{i}", "shards": 1,
                                                       "kind": "Stream"}),
                             {"Authorization": f"Bearer {token}",
                              "Content-Type": "application/json"})
            answer = self.api.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise Failure(f"create stream: {answer.status} {text.decode()}")

    def load(self, program, *words):
        return Load([self.bin / f"bench_{program}", *words, *self.common])

    def progress_file(self):
        self.names += 1
        return self.folder / f"progress-{self.names}"

    def cpu_s(self):
        """Processor seconds of the node so far, to the nanosecond."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failure("no VmRSS")
