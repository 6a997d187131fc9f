# SPDX-License-Identifier: Apache-2.0
"""Other systems' servers, with TLS 1.3 and the settings of bench/peers/, measured like a node.

A Peer has what a Node has as far as the rows need it: fresh(), pubsub(), latency(), cache(), meter().
"""
import os
import pathlib
import shutil
import socket
import string
import subprocess
import time

from process import Failure, Load
from server import Server

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "peers"
READY_S = 20


class Kind:
    """One peer: its program, how it is started, what version it says it is."""

    def __init__(self, name, protocol, program, start, window, relay_rate):
        self.name = name
        self.protocol = protocol
        self.program = program
        self.start = start            # words behind the program; CONF stands for the settings
        self.window = window          # bytes of payload ahead of the slowest: what it does best with
        self.relay_rate = relay_rate  # deliveries a second to expect at most; sizes a run

    def path(self):
        """The installed program, or the one that FELIX_BENCH_NATS (REDIS, MOSQUITTO) names; None."""
        places = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
        wanted = os.environ.get(f"FELIX_BENCH_{self.name.upper()}", self.program)
        return shutil.which(wanted, path=places)

    def version(self):
        """What it says of itself, e.g. 'nats-server v2.9.10'."""
        flag = "-h" if self.program == "mosquitto" else "--version"
        said = subprocess.run([self.path(), flag], capture_output=True, text=True, timeout=20)
        return version_in(self.program, said.stdout + said.stderr)


def version_in(program, text):
    """'nats-server: v2.9.10', 'Redis server v=7.0.15 sha=..', 'mosquitto version 2.0.11'."""
    for word in text.replace("=", " ").split():
        if word.lstrip("v")[:1].isdigit() and "." in word:
            return f"{program} {word.lstrip('v')}"
    return program


KINDS = {kind.name: kind for kind in (
    Kind("nats", "nats", "nats-server", ["-c", "CONF"], 8 << 20, 2500000),
    Kind("redis", "redis", "redis-server", ["CONF"], 1 << 20, 3000000),
    Kind("mosquitto", "mqtt", "mosquitto", ["-c", "CONF"], 1 << 20, 130000),
)}


def make_certificates(folder):
    """An authority of our own and a certificate for localhost, both only for this run."""
    (folder / "ca.cfg").write_text('cn = "bench"\nca\ncert_signing_key\nexpiration_days = 2\n')
    (folder / "server.cfg").write_text('cn = "localhost"\ndns_name = "localhost"\n'
                                       "tls_www_server\nsigning_key\nexpiration_days = 2\n")
    steps = [["--generate-privkey", "--ecc", "--curve", "secp256r1", "--outfile", "ca.key"],
             ["--generate-self-signed", "--load-privkey", "ca.key", "--template", "ca.cfg",
              "--outfile", "ca.pem"],
             ["--generate-privkey", "--ecc", "--curve", "secp256r1", "--outfile", "server.key"],
             ["--generate-certificate", "--load-privkey", "server.key", "--load-ca-certificate",
              "ca.pem", "--load-ca-privkey", "ca.key", "--template", "server.cfg", "--outfile",
              "server.pem"]]
    for step in steps:
        done = subprocess.run(["certtool", *step], cwd=folder, capture_output=True, text=True,
                              timeout=30)
        if done.returncode != 0:
            raise Failure(f"certtool: {done.stderr.strip()}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer(Server):
    ring_bytes = 0  # none keeps what it relayed

    def __init__(self, kind, bin_dir, counting=False):
        if kind.path() is None:
            raise Failure(f"{kind.program} is not installed (bench/setup)")
        self.kind = kind
        self.name = kind.name
        self.window = kind.window
        super().__init__("felix-bench-peer-", bin_dir, counting)

    def start(self):
        self.folder.chmod(0o755)  # mosquitto gives up being root before it reads the key
        make_certificates(self.folder)
        (self.folder / "server.key").chmod(0o644)
        port = free_port()
        settings = string.Template((FOLDER / f"{self.name}.conf").read_text()).substitute(
            PORT=port, DIR=self.folder, CA=self.folder / "ca.pem", CERT=self.folder / "server.pem",
            KEY=self.folder / "server.key")
        conf = self.folder / "conf"
        conf.write_text(settings)
        words = [str(conf) if word == "CONF" else word for word in self.kind.start]
        self.process = subprocess.Popen([self.kind.path(), *words], cwd=self.folder,
                                        stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT)
        self.common = ["--protocol", self.kind.protocol, "--port", port,
                       "--ca-file", self.folder / "ca.pem"]
        self._await_port(port)

    def _await_port(self, port):
        limit = time.monotonic() + READY_S
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended: {self.said()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failure(f"{self.name} is not ready")

    def fresh(self, _kind="stream"):
        """Topics need not be made."""
        return self.next_name("bench")

    def filled(self, size, batch, count):
        """A stream that keeps so many messages: of JetStream on disk, of Redis in memory."""
        stream = self.fresh()
        with self._load("fill", "--stream", stream, "--size", size, "--batch", batch, "--count", count,
                        "--keep-bytes", 2 * count * (size + 100)) as fill:
            fill.expect("warm")
        return stream

    @staticmethod
    def figures(*names):
        """It has no blocks of a log to count."""
        return dict.fromkeys(names, 0)

    def forget(self):
        pass

    def _load(self, role, *words):
        return Load([self.bin / "bench_peer_load", role, *words, *self.common])

    def pubsub(self, role, *words):
        return self._load(role, *words)

    def latency(self, *words):
        return self._load("latency", *words)

    def cache(self, *words):
        return self._load("cache", *words)
