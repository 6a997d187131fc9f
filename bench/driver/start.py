# SPDX-License-Identifier: Apache-2.0
"""How long a node takes from exec to ready, and what that costs: a node of its own, started again and again.

Ready is what an orchestrator hears: /ready answers 200, so every log is open. The page cache is as the end
of the node before left it.
"""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time

from process import WAIT_S, Failure, Load, cpu_s, end
from work import MB, default_batch


class Starts:
    """A data directory and the node in it, which may be ended in two ways."""

    def __init__(self, bin_dir, *flags):
        self.bin = bin_dir
        self.flags = flags
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="felix-bench-start-"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("FELIX_")}
        self.env["XDG_CONFIG_HOME"] = str(self.folder / "config")
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            end(self.process, 10)
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Figures of one start."""
        with open(self.folder / "log", "ab") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(
                [self.bin / "felix", "up", "--data", self.folder / "data", "--ephemeral-ports",
                 *self.flags], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=log)
        health = http.client.HTTPConnection(self._health_address(), timeout=WAIT_S)
        said = time.monotonic()
        while not self._is_ready(health):
            if time.monotonic() - began > WAIT_S:
                raise Failure("felix up is not ready")
            time.sleep(0.002)
        health.close()
        return {"lost": 0, "ready_s": time.monotonic() - began, "said_s": said - began,
                "cpu_s": cpu_s(self.process.pid)}

    def _health_address(self):
        for line in self.process.stdout:
            found = re.search(rb"health +http://(\S+)/ready", line)
            if found:
                return found.group(1).decode()
        raise Failure("felix up ended: " + (self.folder / "log").read_text()[-500:])

    @staticmethod
    def _is_ready(health):
        health.request("GET", "/ready")
        answer = health.getresponse()
        answer.read()
        return answer.status == 200

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.stdout.read()  # the rest of its banner
        self.process.wait(WAIT_S)
        self.process.stdout.close()
        self.process = None

    def context(self):
        said = subprocess.run([self.bin / "felix", "context", "show", "-o", "json"], env=self.env,
                              check=True, capture_output=True, timeout=WAIT_S)
        return json.loads(said.stdout)

    def create(self, prefix, count):
        """Durable streams of one shard; their names."""
        context = self.context()
        host, port = context["controlplane"].rsplit("/", 1)[1].rsplit(":", 1)
        api = http.client.HTTPSConnection(
            host, int(port), context=ssl.create_default_context(cafile=context["ca_file"]),
            timeout=WAIT_S)
        token = pathlib.Path(context["admin_token_file"]).read_text().strip()
        path = f"/v1/tenants/{context['tenant']}/namespaces/{context['namespace']}/streams"
        names = [f"{prefix}-{i}" for i in range(count)]
        for name in names:
            api.request("POST", path, json.dumps({"stream": name, "shards": 1, "kind": "Stream",
                                                  "durable": True}),
                        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
            answer = api.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise Failure(f"create stream: {answer.status} {text.decode()}")
        api.close()
        return names

    def publish(self, stream, size, count):
        """Returns when all is acknowledged, which is synced."""
        context = self.context()
        with Load([self.bin / "bench_pubsub", "pub", "--stream", stream, "--size", size, "--batch",
                   default_batch(size), "--warm-up", count, "--count", 0,
                   "--address", context["addresses"][0], "--token-file", context["token_file"],
                   "--ca-file", context["ca_file"], "--tenant", context["tenant"]]) as load:
            load.expect("warm")

    def segments(self):
        return list((self.folder / "data").rglob("*.seg"))

    def forget_pages(self):
        """As after a reboot: what is on the disk leaves the page cache."""
        for path in self.segments():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fresh(bin_dir):
    """The first start in an empty directory: keys and certificates are made."""
    with Starts(bin_dir) as node:
        return node.start()


def again(bin_dir, streams, megabytes, how=signal.SIGTERM, is_cold=False):
    """A start with `streams` durable streams, one of which has `megabytes` of 1 KiB records; before it the
    node was ended with the signal `how`."""
    with Starts(bin_dir) as node:
        node.start()
        names = node.create("bench", streams)
        if megabytes > 0:
            node.publish(names[0], 1024, int(megabytes * MB / 1024))
        node.stop(how)
        if is_cold:
            node.forget_pages()
        figures = node.start()
        figures["gb"] = sum(path.stat().st_size for path in node.segments()) / 1e9
    return figures
