# SPDX-License-Identifier: Apache-2.0
"""A release node of its own for measuring. Everything of it lives in one scratch folder."""
import http.client
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import tempfile
import time

from process import WAIT_S, Failure, Load, Meter, cpu_s, end, resident


class Node:
    name = "felix"
    window = 8 << 20  # bytes of payload a publisher may be ahead of the slowest subscriber
    ring_bytes = 72 << 20  # a little more than the ring of a shard, whose memory is new at first

    def __init__(self, bin_dir, *flags, counting=False):
        self.bin = pathlib.Path(bin_dir).resolve()
        self.flags = flags
        self.counting = counting
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="felix-bench-"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("FELIX_")}
        self.env["XDG_CONFIG_HOME"] = str(self.folder / "config")
        self.api = None
        self.names = 0
        self.made = []
        self.process = None
        self.log = open(self.folder / "up.log", "wb")
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        env = dict(self.env)
        self.allocations_file = None
        counter = self.bin.parent / "lib" / "libbench_allocs.so"
        if self.counting and counter.exists():
            self.allocations_file = self.folder / "allocations"
            env.update(LD_PRELOAD=str(counter), FELIX_BENCH_ALLOCS=str(self.allocations_file))
        self.process = subprocess.Popen(
            [self.bin / "felix", "up", "--data", self.folder / "data", "--ephemeral-ports",
             *self.flags], env=env, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT)
        self.context = self._await_context()
        self.common = ["--address", self.context["addresses"][0],
                       "--token-file", self.context["token_file"],
                       "--ca-file", self.context["ca_file"], "--tenant", self.context["tenant"]]

    def _await_context(self):
        limit = time.monotonic() + WAIT_S
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                raise Failure("felix up ended: " + (self.folder / "up.log").read_text())
            if (self.folder / "config" / "felix" / "config.yaml").exists():
                if self.felix("doctor", check=False).returncode == 0:
                    return json.loads(self.felix("context", "show", "-o", "json").stdout)
            time.sleep(0.02)
        raise Failure("felix up is not ready")

    def close(self):
        if self.process is not None:
            end(self.process, 10)
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

    def pubsub(self, role, *words):
        return self.load("pubsub", role, *words)

    def latency(self, *words):
        return self.load("latency", *words)

    def cache(self, *words):
        return self.load("cache_load", *words)

    def progress_file(self):
        self.names += 1
        return self.folder / f"progress-{self.names}"

    def meter(self):
        return Meter(self.process.pid, self.allocations_file, self.counting)

    def cpu_s(self):
        return cpu_s(self.process.pid)

    def resident(self):
        return resident(self.process.pid)
