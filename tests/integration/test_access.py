# SPDX-License-Identifier: Apache-2.0
"""Who is let in and who is not: certificates, tokens, tenants. Each refusal is one line, has its exit
code, and no token is ever printed."""
import re

from felix_node import Node

DEV = ["stream.publish:stream:t1/*/*", "stream.subscribe:stream:t1/*/*"]


def refused(done, code, *words):
    """One line of error with this exit code; `felix pub` says its counts after it, as always."""
    text = re.sub(r"\n\d+ sent, \d+ acked$", "", done.stderr.strip())
    assert done.returncode == code, f"exit {done.returncode} instead of {code}: {text}"
    assert len(text.splitlines()) == 1, f"not one line: {text}"
    for word in words:
        assert word in text.lower(), f"'{word}' is not in: {text}"


def main():
    with Node() as node:
        node.felix("stream", "create", "orders")
        node.felix("pub", "orders", "hello")

        # A certificate authority that did not sign the broker's certificate.
        foreign = node.folder / "foreign"
        with Node() as other:
            foreign.write_bytes(open(other.ca_file, "rb").read())
        refused(node.felix("pub", "orders", "x", "--ca-file", foreign, check=False), 7, "certificate")

        # Tokens: tampered, expired, not yet valid, of another tenant, without the permission, none.
        head, body, signature = node.token.split(".")
        tampered = ".".join([head, body, ("A" if signature[0] != "A" else "B") + signature[1:]])
        mint = lambda *args: node.mint("felix-broker", *args)
        rows = [
            ("tampered", tampered, 6),
            ("expired", mint("t1", -7200, 60, *DEV), 6),
            ("not yet valid", mint("t1", 7200, 3600, *DEV), 6),
            ("of another tenant", mint("t2", 0, 3600, "stream.publish:stream:t2/*/*"), 6),
            ("for another audience", node.mint("felix-controlplane", "t1", 0, 3600, *DEV), 6),
            ("without the permission", mint("t1", 0, 3600, "cache.read:cache:t1/*/*"), 5),
            ("not a token", "hello", 6),
        ]
        for name, token, code in rows:
            done = node.felix("pub", "orders", "x", env={"FELIX_TOKEN": token.strip()}, check=False)
            print(name, "->", done.returncode, done.stderr.strip())
            refused(done, code)
            assert token.strip() not in done.stderr or token == "hello", "a token was printed"

        # Another tenant's name is forbidden whether it exists or not.
        refused(node.felix("pub", "t2/default/orders", "x", check=False), 5)
        refused(node.felix("sub", "t2/default/orders", "--count", "1", check=False), 5)
        refused(node.felix("cache", "get", "t2/default/primary", "k", check=False), 5)

        # The broker kept going, and its log has neither tokens nor payloads.
        node.felix("pub", "orders", "payload-that-must-not-be-logged")
        log = (node.folder / "up.log").read_text(errors="replace")
        assert node.token not in log and tampered not in log
        assert "payload-that-must-not-be-logged" not in log

        # Key files and tokens are for their owner only.
        for path in list(node.data.rglob("*.key")) + list(node.data.rglob("*.token")) + \
                list(node.data.rglob("issuer.pem")):
            assert path.stat().st_mode & 0o077 == 0, f"{path} may be read by others"


if __name__ == "__main__":
    main()
