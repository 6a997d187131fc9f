# SPDX-License-Identifier: Apache-2.0
"""The life of a node: ready, reload without a disconnect, drain at SIGTERM, restart, a busy port,
a busy data directory, a damaged catalog."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import urllib.request

from felix_node import BIN, Node, wait_until


def http(node, path):
    try:
        with urllib.request.urlopen(f"http://{node.health}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def main():
    with Node("--node-id", "node-of-the-test") as node:
        assert "node-of-the-test" in (node.folder / "up.log").read_text()

        # Health and metrics.
        for path in ("/live", "/ready", "/startup", "/livez", "/readyz", "/healthz"):
            assert http(node, path)[0] == 200, path
        node.felix("stream", "create", "orders")
        node.felix("pub", "orders", "one")
        status, metrics = http(node, "/metrics")
        assert status == 200 and "felix_build_info" in metrics
        assert "\nfelix_published_records_total 1\n" in metrics, metrics
        if shutil.which("promtool"):
            subprocess.run(["promtool", "check", "metrics"], input=metrics, text=True, check=True)
        assert http(node, "/nothing")[0] == 404

        # SIGHUP renews the certificate and disconnects nobody.
        live = node.subscriber("orders", "--count", "2", "-o", "raw")
        for name in ("server.pem", "server.key"):
            (node.data / "tls" / name).unlink()
        renewed = node.data / "tls" / "server.pem"
        node.process.send_signal(signal.SIGHUP)
        wait_until("the renewed certificate", renewed.exists)
        wait_until("the reload to be counted",
                   lambda: "\nfelix_config_reloads_total 1\n" in http(node, "/metrics")[1])
        assert "\nfelix_certificate_on_disk_is_served 1\n" in http(node, "/metrics")[1]
        node.felix("doctor")
        node.felix("pub", "orders", "two")
        node.felix("pub", "orders", "three")
        out, _ = live.communicate(timeout=60)
        assert live.returncode == 0 and out == b"two\nthree\n", out

        # A second node on the same data directory is refused, and says why.
        second = subprocess.run([BIN / "felix", "up", "--data", node.data, "--ephemeral-ports"],
                                env=node.env, capture_output=True, text=True, timeout=60)
        assert second.returncode == 4, second
        assert "in use" in second.stderr and len(second.stderr.strip().splitlines()) == 1, second.stderr

        # A broker that could not start says so when it is asked to check its configuration.
        check = subprocess.run([BIN / "felix-broker", "--check-config"], env=node.env,
                               capture_output=True, text=True, timeout=60)
        assert check.returncode == 2 and "data_dir" in check.stderr, check

        # Where nobody listens a command says so, and does not wait for its whole --timeout (which
        # would be longer than this test may take).
        lost = node.felix("pub", "orders", "x", "--address", "127.0.0.1:9", "--timeout", "1h",
                          check=False)
        assert lost.returncode == 7 and "nobody listens" in lost.stderr, lost

        # Looking at a stream that is not there does not make it.
        assert node.felix("peek", "never-made", check=False).returncode == 3

        # A busy port is an error that names the address.
        busy = subprocess.run([BIN / "felix", "up", "--data", node.folder / "other",
                               "--quic-bind", f"{node.host}:{node.port}",
                               "--metrics-bind", "127.0.0.1:0", "--controlplane-bind", "127.0.0.1:0"],
                              env=node.env, capture_output=True, text=True, timeout=60)
        assert busy.returncode == 4 and str(node.port) in busy.stderr, busy

        # What the catalog holds survives a restart; a subscriber comes back by itself.
        comes_back = node.spawn("sub", "orders", "-o", "raw", stdout=open(node.folder / "back.out", "wb"))
        wait_until("subscribed", lambda: b"subscribed" in comes_back.stderr_path.read_bytes())
        port = node.port
        assert node.stop() == 0, "SIGTERM drains and exits 0"
        node.flags = ("--quic-bind", f"127.0.0.1:{port}")
        node.start()
        assert node.port == port
        names = [row["stream"] for row in json.loads(node.felix("stream", "ls", "-o", "json").stdout)]
        assert "orders" in names, names

        def published():
            node.felix("pub", "orders", "after the restart")
            return b"after the restart" in (node.folder / "back.out").read_bytes()

        wait_until("the subscriber to come back", published)
        comes_back.send_signal(signal.SIGTERM)
        comes_back.wait(60)

        # A damaged catalog is refused and left alone.
        assert node.stop() == 0
        catalog = node.data / "catalog.db"
        for extra in node.data.glob("catalog.db-*"):
            extra.unlink()
        good = catalog.read_bytes()
        catalog.write_bytes(b"not a catalog at all" * 200)
        bad = subprocess.run([BIN / "felix", "up", "--data", node.data, "--ephemeral-ports"],
                             env=node.env, capture_output=True, text=True, timeout=60)
        assert bad.returncode == 1 and "catalog.db" in bad.stderr, bad
        assert catalog.read_bytes() == b"not a catalog at all" * 200
        catalog.write_bytes(good)
        node.start()


if __name__ == "__main__":
    main()
