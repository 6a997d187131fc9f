# SPDX-License-Identifier: Apache-2.0
"""A real node for tests: starts `felix up` in a scratch folder and hands out its context.

    with Node() as node:
        node.felix("stream", "create", "orders")
        out = node.felix("peek", "orders", "--from", "earliest").stdout

Everything (data, configuration, CA, tokens) lives in one temporary folder that is removed at the
end. Processes are ended by their pid. FELIX_BIN_DIR names the folder with the programs.
"""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BIN = pathlib.Path(os.environ.get("FELIX_BIN_DIR", "build/dev/bin")).resolve()
WAIT_S = 60  # a bound for hangs, never a speed test


def wait_until(what, check, seconds=WAIT_S):
    """Polls `check` until it answers something true; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for: {what}")


def free_address():
    """A UDP address a node can keep over its lives: below the ports the kernel deals out, so that no client is given it
    while the node is dead."""
    while True:
        address = ("127.0.0.1", random.randrange(20000, 32000))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(address)
            except OSError:
                continue
        return f"{address[0]}:{address[1]}"


class Node:
    def __init__(self, *flags, env=None, data=None):
        self.flags = flags
        self.extra_env = env or {}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="felix-test-"))
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.process = None
        self.children = []

    # -- life ---------------------------------------------------------------------------------
    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *failure):
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
                child.wait()
        code = self.stop()
        log = (self.folder / "up.log").read_text(errors="replace")
        if failure[0] is not None or code != 0:
            print("---- log of the node ----")
            print(log[-6000:])
        shutil.rmtree(self.folder, ignore_errors=True)
        if failure[0] is None:
            assert code == 0, f"felix up ended with {code}"

    @property
    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("FELIX_")}
        env["XDG_CONFIG_HOME"] = str(self.folder / "config")
        env["NO_COLOR"] = "1"
        env.update(self.extra_env)
        return env

    def start(self):
        context = self.folder / "config" / "felix" / "config.yaml"
        if context.exists():
            context.unlink()
        self.log = open(self.folder / "up.log", "ab")
        self.process = subprocess.Popen(
            [BIN / "felix", "up", "--data", self.data, "--ephemeral-ports", *self.flags],
            env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(
                    "felix up ended: " + (self.folder / "up.log").read_text(errors="replace"))
            return context.exists() and self.felix("doctor", check=False).returncode == 0

        wait_until("the node to answer", ready)
        self.context = json.loads(self.felix("context", "show", "-o", "json").stdout)
        self.ca_file = self.context["ca_file"]
        self.token = pathlib.Path(self.context["token_file"]).read_text().strip()
        host, port = self.context["addresses"][0].rsplit(":", 1)
        self.host, self.port = host.strip("[]"), int(port)
        started = next(row for row in (self.folder / "up.log").read_text().splitlines()[::-1]
                       if '"node.started"' in row)
        self.health = json.loads(started)["health"]

    def stop(self, sig=signal.SIGTERM):
        """Ends the node and answers its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        code, self.process = self.process.returncode, None
        return code

    def mint(self, audience, tenant, begin_s, ttl_s, *permissions):
        """A token of this node's issuer, good or bad."""
        done = subprocess.run([BIN / "mint_token", self.data / "keys" / "issuer.pem", audience, tenant,
                               str(begin_s), str(ttl_s), *permissions],
                              capture_output=True, text=True, timeout=WAIT_S, check=True)
        return done.stdout.strip()

    # -- commands -----------------------------------------------------------------------------
    def felix(self, *args, check=True, input=None, env=None):
        """Runs the command to its end. Output is text unless `input` is bytes."""
        done = subprocess.run(
            [BIN / "felix", *map(str, args)], env={**self.env, **(env or {})}, input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True, text=not isinstance(input, bytes), timeout=WAIT_S)
        if check and done.returncode != 0:
            raise AssertionError(f"felix {' '.join(map(str, args))}: exit {done.returncode}\n"
                                 f"{done.stdout}\n{done.stderr}")
        return done

    def spawn(self, *args, stdout=None, stdin=subprocess.DEVNULL, env=None):
        """Starts the command and leaves it running; stderr is collected in a file."""
        stderr = open(self.folder / f"child-{len(self.children)}.err", "wb+")
        child = subprocess.Popen([BIN / "felix", *map(str, args)],
                                 env={**self.env, **(env or {})}, stdin=stdin,
                                 stdout=stdout or subprocess.PIPE, stderr=stderr)
        child.stderr_path = pathlib.Path(stderr.name)
        self.children.append(child)
        return child

    def subscriber(self, stream, *args, stdout=None):
        """A `felix sub` that is live: it has said so."""
        child = self.spawn("sub", stream, *args, stdout=stdout)
        wait_until("'subscribed' of felix sub",
                   lambda: b"subscribed" in child.stderr_path.read_bytes())
        return child
