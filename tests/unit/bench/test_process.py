# SPDX-License-Identifier: Apache-2.0
"""What the bench driver reads of other tools' output (bench/driver/process.py, peer.py)."""
import os
import time
import unittest

import peer
import process

PERF = """# started on Tue Nov 24 11:55:00 2026

4711,,raw_syscalls:sys_enter,98000000,100.00,,
"""
STRACE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 75.00    0.000300           3       100         2 sendmsg
 25.00    0.000100           2        50           recvmmsg
------ ----------- ----------- --------- --------- ------------------
100.00    0.000400           2       150         2 total
"""


class Calls(unittest.TestCase):
    def test_perf(self):
        self.assertEqual(process.calls_in_perf(PERF), 4711)
        self.assertIsNone(process.calls_in_perf("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"))
        self.assertIsNone(process.calls_in_perf(""))

    def test_strace(self):
        self.assertEqual(process.calls_in_strace(STRACE), 150)
        self.assertEqual(process.calls_in_strace(STRACE.replace("150         2", "150          ")), 150)
        self.assertIsNone(process.calls_in_strace("strace: attach: Operation not permitted"))


class Versions(unittest.TestCase):
    def test_as_each_program_says_it(self):
        for program, said, version in (
                ("nats-server", "nats-server: v2.9.10", "nats-server 2.9.10"),
                ("redis-server", "Redis server v=7.0.15 sha=00000000:0 bits=64", "redis-server 7.0.15"),
                ("mosquitto", "mosquitto version 2.0.11\n\nmosquitto is an MQTT", "mosquitto 2.0.11"),
                ("mosquitto", "no idea", "mosquitto")):
            self.assertEqual(peer.version_in(program, said), version)


class Meters(unittest.TestCase):
    def test_own_processor_time_and_memory_grow(self):
        before = process.cpu_s(os.getpid())
        sum(range(200000))
        time.sleep(0.001)  # the kernel counts a thread when it stops running
        self.assertGreater(process.cpu_s(os.getpid()), before)
        self.assertGreater(process.resident(os.getpid()), 1 << 20)

    def test_a_program_that_fails_is_a_failure_with_its_words(self):
        with self.assertRaises(process.Failure) as caught, \
                process.Load(["/bin/sh", "-c", "echo broken >&2; exit 1"]) as load:
            load.expect("ready")
        self.assertIn("broken", str(caught.exception))

    def test_a_program_out_of_turn_is_a_failure(self):
        with self.assertRaises(process.Failure), \
                process.Load(["/bin/sh", "-c", "echo '{\"event\":\"warm\"}'; cat"]) as load:
            load.expect("ready")
        self.assertIsNotNone(load.process.poll())


if __name__ == "__main__":
    unittest.main()
