# SPDX-License-Identifier: Apache-2.0
"""The raw protocol suite over an independent QUIC implementation (aioquic); run by
test_independent_quic.py. Arguments: host, port, token, CA file."""
import asyncio
import base64
import json
import struct
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

host, port, token, ca_file = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
NAME = {"tenant_id": "t1", "namespace": "default"}
WAIT_S = 20


def frame(message, flags=0):
    body = message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
    return struct.pack(">IHHI", 0x464C5831, 1, flags, len(body)) + body


class Felix(QuicConnectionProtocol):
    """Collects bytes a stream; `read` hands out whole frames."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.data, self.ended, self.changed, self.closed = {}, set(), asyncio.Event(), None

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self.data.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.end_stream:
                self.ended.add(event.stream_id)
        elif isinstance(event, ConnectionTerminated):
            self.closed = event
        self.changed.set()

    def open(self, *messages, fin=False):
        stream = self._quic.get_next_available_stream_id()
        self.write(stream, b"".join(m if isinstance(m, bytes) else frame(m) for m in messages), fin)
        return stream

    def write(self, stream, data, fin=False):
        self._quic.send_stream_data(stream, data, fin)
        self.transmit()

    async def until(self, check):
        async def loop():
            while True:
                value = check()
                if value is not None:
                    return value
                self.changed.clear()
                await self.changed.wait()
        return await asyncio.wait_for(loop(), WAIT_S)

    async def read(self, stream):
        """One frame: (flags, payload); None when the peer ended the stream."""
        def take():
            data = self.data.get(stream, b"")
            if len(data) >= 12:
                magic, version, flags, length = struct.unpack(">IHHI", data[:12])
                assert magic == 0x464C5831 and version == 1
                if len(data) >= 12 + length:
                    body = bytes(data[12:12 + length])
                    del data[:12 + length]
                    return flags, body
            return (None, None) if stream in self.ended else None
        return await self.until(take)

    async def read_json(self, stream):
        flags, body = await self.read(stream)
        assert flags == 0, flags
        return json.loads(body)


AUTH = {"type": "auth", "tenant_id": "t1", "token": token}


async def raw_suite(client):
    # 1. Legacy auth is answered `ok`.
    control = client.open(AUTH)
    assert await client.read_json(control) == {"type": "ok"}

    # 2. A half-closed subscribe stream stays subscribed; the event stream begins with its hello.
    subscribe = client.open(AUTH, {"type": "subscribe", **NAME, "stream": "conformance"}, fin=True)
    assert await client.read_json(subscribe) == {"type": "ok"}
    subscribed = await client.read_json(subscribe)
    assert subscribed["type"] == "subscribed", subscribed
    events = await client.until(lambda: next((s for s in client.data if s & 3 == 3), None))
    assert await client.read_json(events) == {
        "type": "event_stream_hello", "subscription_id": subscribed["subscription_id"]}
    for request_id, text in ((1, b"alpha"), (2, b"beta")):
        client.write(control, frame({"type": "publish", **NAME, "stream": "conformance",
                                     "payload": base64.b64encode(text).decode(),
                                     "request_id": request_id, "ack": "per_message"}))
        assert await client.read_json(control) == {"type": "publish_ok", "request_id": request_id}
    payloads = []
    while len(payloads) < 2:
        flags, body = await client.read(events)
        assert flags == 0x0004, f"a client that never negotiated gets plain shared batches: {flags:#x}"
        (count,), at = struct.unpack(">I", body[:4]), 4
        for _ in range(count):
            (length,) = struct.unpack(">I", body[at:at + 4])
            payloads.append(body[at + 4:at + 4 + length])
            at += 4 + length
        assert at == len(body)
    assert payloads == [b"alpha", b"beta"]

    # 3. cache_put without request_id is answered `ok`; the value lapses after its TTL.
    cache = {**NAME, "cache": "primary", "key": "raw"}
    client.write(control, frame({"type": "cache_put", **cache, "value": "djE=", "ttl_ms": 100}))
    assert await client.read_json(control) == {"type": "ok"}
    client.write(control, frame({"type": "cache_get", **cache}))
    assert await client.read_json(control) == {"type": "cache_value", **cache, "value": "djE="}
    for _ in range(200):
        await asyncio.sleep(0.15)
        client.write(control, frame({"type": "cache_get", **cache}))
        answer = await client.read_json(control)
        if answer["value"] is None:
            break
    assert answer == {"type": "cache_value", **cache, "value": None}


async def bad_input(client):
    # A request before auth: an error, then the end of the stream.
    stream = client.open({"type": "cache_get", **NAME, "cache": "primary", "key": "k"})
    assert (await client.read_json(stream))["type"] == "error"
    assert await client.read(stream) == (None, None)
    # An unknown flag bit: an error, the payload is skipped, the stream lives on.
    stream = client.open({**AUTH, "client_flags": 7, "client_features": 0x800})
    assert (await client.read_json(stream))["type"] == "auth_ok"
    client.write(stream, frame(b"whatever", flags=0x8000))
    answer = await client.read_json(stream)
    assert answer["type"] == "error" and answer["code"] == "invalid_request", answer
    client.write(stream, frame({"type": "stream_shards", **NAME, "stream": "conformance", "request_id": 5}))
    assert await client.read_json(stream) == {"type": "stream_shards_view", "shards": 1, "request_id": 5}


async def main():
    for alpn in (None, ["felix/1"]):
        configuration = QuicConfiguration(is_client=True, alpn_protocols=alpn, server_name="localhost")
        configuration.load_verify_locations(ca_file)
        async with connect(host, port, configuration=configuration, create_protocol=Felix) as client:
            await raw_suite(client)
            await bad_input(client)
            print("raw suite with ALPN", alpn, "ok")
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["other/1"], server_name="localhost")
    configuration.load_verify_locations(ca_file)
    try:
        async with connect(host, port, configuration=configuration, create_protocol=Felix) as client:
            raise AssertionError("a foreign ALPN was accepted")
    except ConnectionError:
        print("foreign ALPN refused: ok")


asyncio.run(main())
