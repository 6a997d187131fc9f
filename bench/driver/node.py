# SPDX-License-Identifier: Apache-2.0
"""A release node of its own for measuring. Everything of it lives in one scratch folder."""
import http.client
import json
import os
import pathlib
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from process import WAIT_S, Failure, Load, cpu_s, end, resident
from server import Server


class Node(Server):
    name = "felix"
    window = 8 << 20  # bytes of payload a publisher may be ahead of the slowest subscriber
    ring_bytes = 72 << 20  # a little more than the ring of a shard, whose memory is new at first

    def __init__(self, bin_dir, *flags, counting=False, under=()):
        """`under`: words before the command, of a tracer that leaves the node our child."""
        self.flags = flags
        self.under = under
        self.api = None
        self.made = []
        super().__init__("felix-bench-", bin_dir, counting)

    def start(self):
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("FELIX_")}
        self.env["XDG_CONFIG_HOME"] = str(self.folder / "config")
        env = dict(self.env)
        counter = self.bin.parent / "lib" / "libbench_allocs.so"
        if self.counting and counter.exists():
            self.allocations_file = self.folder / "allocations"
            env.update(LD_PRELOAD=str(counter), FELIX_BENCH_ALLOCS=str(self.allocations_file))
        self.said_before = (self.folder / "log").stat().st_size
        self.process = subprocess.Popen(
            [*self.under, self.bin / "felix", "up", "--data", self.folder / "data", "--ephemeral-ports",
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
                raise Failure("felix up ended: " + self.said())
            if (self.folder / "config" / "felix" / "config.yaml").exists():
                if self.felix("doctor", check=False).returncode == 0:
                    return json.loads(self.felix("context", "show", "-o", "json").stdout)
            time.sleep(0.02)
        raise Failure("felix up is not ready")

    def restart(self):
        """Ends it as an operator does and starts it with what it left; seconds until it is ready, and the
        processor time of that."""
        end(self.process, WAIT_S)
        self.api = None
        begin = time.monotonic()
        self.start()
        self._await_ready()
        return time.monotonic() - begin, self.cpu_s()

    def _await_ready(self):
        """Until its logs are open; its doctor is content before."""
        limit = time.monotonic() + WAIT_S
        while time.monotonic() < limit:
            said = (self.folder / "log").read_bytes()[self.said_before:].decode(errors="replace")
            address = re.search(r"health +(http://\S+)/ready", said)
            try:
                if address and urllib.request.urlopen(address.group(1) + "/ready", timeout=WAIT_S):
                    return
            except urllib.error.HTTPError:
                pass  # 503: not yet
            time.sleep(0.01)
        raise Failure("felix up opens its logs for too long")

    def show(self, kind, name):
        """What `felix KIND show` says of it."""
        return json.loads(self.felix(kind, "show", name, "-o", "json").stdout)

    def felix(self, *args, check=True):
        return subprocess.run([self.bin / "felix", *map(str, args)], env=self.env, check=check,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S)

    def fresh(self, kind="stream", *words):
        """A new stream or cache, made with `words`; its name."""
        name = self.next_name("bench")
        self.felix(kind, "create", name, *words)
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

    def filled(self, size, batch, count):
        """A durable stream with so many messages in it; its name."""
        stream = self.fresh("stream", "--durable")
        with self.pubsub("pub", "--stream", stream, "--size", size, "--batch", batch, "--warm-up",
                         count, "--count", 0) as pub:
            pub.expect("warm")
        return stream

    def load(self, program, *words):
        return Load([self.bin / f"bench_{program}", *words, *self.common])

    def pubsub(self, role, *words):
        return self.load("pubsub", role, *words)

    def latency(self, *words):
        return self.load("latency", *words)

    def cache(self, *words):
        return self.load("cache_load", *words)

    def figures(self, *names):
        """Values of /metrics by name, of all workers together."""
        said = (self.folder / "log").read_text()
        address = re.search(r"health +(http://\S+)/ready", said).group(1)
        with urllib.request.urlopen(address + "/metrics", timeout=WAIT_S) as answer:
            text = answer.read().decode()
        return {name: sum(float(value) for value in
                          re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))
                for name in names}

    def cpu_s(self):
        return cpu_s(self.process.pid)

    def resident(self):
        return resident(self.process.pid)
