# SPDX-License-Identifier: Apache-2.0
"""felix-broker as an operator runs it: a configuration file, certificates and a JWKS of their own, the
catalog over REST, tokens of an issuer elsewhere, a rotated key at SIGHUP, SIGTERM."""
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.request

from felix_node import BIN, WAIT_S, Node, wait_until

DEV = ["stream.publish:stream:acme/*/*", "stream.subscribe:stream:acme/*/*"]


class Broker:
    def __init__(self, folder, issuer_node):
        self.folder, self.node = folder, issuer_node
        folder.mkdir()
        for name in ("server.pem", "server.key", "ca.pem"):
            shutil.copy(issuer_node.data / "tls" / name, folder / name)
        (folder / "server.key").chmod(0o600)
        self.jwks = folder / "jwks.json"
        self.jwks.write_bytes(self.fetch_jwks())
        (folder / "broker.yaml").write_text(f"""\
data_dir: {folder}/data
quic_bind: 127.0.0.1:0
metrics_bind: 127.0.0.1:0
controlplane_bind: 127.0.0.1:0
tls_cert: {folder}/server.pem
tls_key: {folder}/server.key
jwks_file: {self.jwks}
workers: 2
log_format: json
""")
        self.log = folder / "broker.log"
        self.process = subprocess.Popen([BIN / "felix-broker", "--config", folder / "broker.yaml"],
                                        env=issuer_node.env, stdin=subprocess.DEVNULL,
                                        stderr=open(self.log, "wb"))
        started = wait_until("felix-broker", lambda: [
            json.loads(row) for row in self.log.read_text().splitlines() if '"node.started"' in row])
        self.quic, self.api, self.health = (started[0][key] for key in ("quic", "api", "health"))

    def fetch_jwks(self):
        trust = ssl.create_default_context(cafile=self.node.ca_file)
        url = self.node.context["controlplane"] + "/v1/tenants/t1/.well-known/jwks.json"
        with urllib.request.urlopen(url, context=trust, timeout=WAIT_S) as answer:
            return answer.read()

    def rest(self, token, path, body):
        trust = ssl.create_default_context(cafile=self.folder / "ca.pem")
        request = urllib.request.Request(f"https://{self.api}{path}", json.dumps(body).encode(),
                                         {"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, context=trust, timeout=WAIT_S) as answer:
            return answer.status

    def felix(self, token, *args, check=True):
        return self.node.felix("--address", self.quic, "--tenant", "acme", "--ca-file",
                               self.folder / "ca.pem", *args, env={"FELIX_TOKEN": token},
                               check=check)


def main():
    with Node() as node:
        broker = Broker(node.folder / "broker", node)
        try:
            admin = node.mint("felix-controlplane", "acme", 0, 3600, "tenant.manage:cluster:*",
                              "tenant.manage:tenant:acme", "ns.manage:namespace:acme/*")
            assert broker.rest(admin, "/v1/tenants",
                               {"tenant_id": "acme", "display_name": "Acme"}) == 201
            assert broker.rest(admin, "/v1/tenants/acme/namespaces",
                               {"namespace": "default", "display_name": "default"}) == 201
            assert broker.rest(admin, "/v1/tenants/acme/namespaces/default/streams",
                               {"stream": "orders", "kind": "Stream", "shards": 2}) == 201

            user = node.mint("felix-broker", "acme", 0, 3600, *DEV)
            for i in range(10):
                broker.felix(user, "pub", "orders", f"order {i}", "--key", f"k{i}")
            out = broker.felix(user, "peek", "orders", "-o", "raw").stdout
            assert sorted(out.split("\n")[:-1]) == sorted(f"order {i}" for i in range(10)), out

            # The broker makes no streams by itself, and the dev token of the other node is a stranger.
            assert broker.felix(user, "pub", "missing", "x", check=False).returncode in (3, 5)
            assert broker.felix(node.token, "pub", "orders", "x", check=False).returncode == 6

            # The issuer's key goes away at SIGHUP: tokens of it are refused from then on.
            broker.jwks.write_text('{"keys":[]}')
            os.kill(broker.process.pid, signal.SIGHUP)
            wait_until("the old key to be refused", lambda: broker.felix(
                user, "pub", "orders", "x", check=False).returncode == 6)
            broker.jwks.write_text("not json")
            os.kill(broker.process.pid, signal.SIGHUP)
            wait_until("a broken file to be told", lambda: '"keys.reload_failed"' in
                       broker.log.read_text())
            broker.jwks.write_bytes(broker.fetch_jwks())
            os.kill(broker.process.pid, signal.SIGHUP)
            wait_until("the key to be good again", lambda: broker.felix(
                user, "pub", "orders", "x", check=False).returncode == 0)

            broker.process.send_signal(signal.SIGTERM)
            assert broker.process.wait(WAIT_S) == 0
            assert user not in broker.log.read_text()
        finally:
            if broker.process.poll() is None:
                broker.process.kill()
                broker.process.wait()
            print(broker.log.read_text()[-3000:])


if __name__ == "__main__":
    main()
