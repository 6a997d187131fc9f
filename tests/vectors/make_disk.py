#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files of docs/spec/disk.md: one of each structure, built from the page and not by the
program, so that a change of either is noticed. Run it in this folder: python3 make_disk.py"""
import pathlib
import struct

TABLE = []
for n in range(256):
    c = n
    for _ in range(8):
        c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    TABLE.append(c)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


STORE = bytes(range(16))
LOG = bytes(range(100, 116))
TAG = crc32c(LOG)


def front(magic, rest):
    return magic + struct.pack(">II", 1, crc32c(rest)) + rest


def batch(kind, base, skipped, time_us, epoch, synced, producer, sequence, producer_epoch, publisher,
          records, columns):
    region = b"".join(struct.pack(">I", len(r)) + r for r in records)
    present = sum(1 << i for i, c in enumerate(columns) if c is not None)
    tail = b"".join(struct.pack(">I", len(c)) + c for c in columns if c is not None)
    rest = struct.pack(">IBBBBB3xIII", TAG, 1, kind, 0, present, len(publisher), len(records), len(region),
                       len(tail))
    rest += struct.pack(">QQQQQQQI", base, skipped, time_us, epoch, synced, producer, sequence, producer_epoch)
    rest += publisher + region + tail
    return struct.pack(">II", len(rest) + 4, crc32c(rest)) + rest


plain = batch(0, 1000, 0, 1700000000000001, 3, 990, 0, 0, 0, b"", [b"one", b"", b"three"],
              [None, None, None])
full = batch(4, 1007, 4, 1700000000000002, 3, 1003, 0x1122334455667788, 42, 9, b"somebody",
             [b"put"], [b"\x00\x03key", None, struct.pack(">Q", 1700000000000000)])
header = front(b"FLXSEG\r\n", STORE + LOG + struct.pack(">QQQI20x", 1000, 3, 1700000000000000, 1))
index = struct.pack(">QQQ", 1000, 1700000000000001, 96)
trailer = struct.pack(">IQQQQQQQQ12xI", 1, 1000, 1008, 4, 2, 1700000000000001, 1700000000000002, 3,
                      96 + len(plain) + len(full), 1) + b"FLXEND\r\n"
footer = index + struct.pack(">I", crc32c(index + trailer)) + trailer
state = front(b"FLXLOG\r\n", STORE + LOG + struct.pack(">QQQQQIHH", 4, 3, 1008, 1000, 1005, 2, 9, 0) +
              struct.pack(">QQQQ", 1, 0, 3, 1000) + b"t1/demo/0")
store = front(b"FLXDIR\r\n", STORE + struct.pack(">QI20x", 1700000000000000, 1))
store_old = front(b"FLXDIR\r\n", STORE + struct.pack(">QI20x", 1700000000000000, 0))
register = front(b"FLXREG\r\n", STORE + LOG + struct.pack(">Q8x", 1700000000000000))

here = pathlib.Path(__file__).parent / "disk"
for name, data in {"batch_plain": plain, "batch_full": full, "segment": header + plain + full + footer,
                   "state": state, "store": store, "store_old": store_old, "register": register}.items():
    (here / (name + ".bin")).write_bytes(data)
    print(name, len(data))
