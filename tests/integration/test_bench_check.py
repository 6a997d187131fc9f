# SPDX-License-Identifier: Apache-2.0
"""`make bench-check` can fail: what it compares, with measurements made up from the committed baseline."""
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECK = ROOT / "bench" / "check"
sys.path[:0] = [str(CHECK), str(CHECK.parent)]
import counts  # noqa: E402

ALONE = "publish 256 B, acked, 64 in flight"
AMONG_IDLE = "publish 256 B, acked, 10000 idle subscriptions"
AWAY = "publish 256 B, acked, fan-out 1, 4 workers"  # the one row with something of every kind

DUMP = """\
desc: Trigger: Client Request: a row
ob=(1) /build/bin/bench_core_path
fl=(1) /src/broker/shard.c
fn=(1) append
10 100
fi=(2) /src/wire/bytes.h
+3 20
fe=(1)
calls=7 0
12 9000
cob=(2) /usr/lib/libc.so.6
cfn=(9) memcpy
calls=1 0
* 500
fl=(3) /tests/support/broker_harness.c
fn=(2) hx_step
30 4000
ob=(2)
fl=(4) memmove.S
fn=(9)
1 700
ob=(1)
fl=(1)
fn=(3) seal
-2 3
"""


class BenchCheck(unittest.TestCase):
    def setUp(self):
        self.measured = json.loads((CHECK / "baseline.json").read_text())
        self.baseline = copy.deepcopy(self.measured)

    def check(self):
        with tempfile.TemporaryDirectory() as folder:
            measured, baseline = pathlib.Path(folder, "measured"), pathlib.Path(folder, "baseline")
            measured.write_text(json.dumps(self.measured))
            baseline.write_text(json.dumps(self.baseline))
            return subprocess.run([CHECK / "run", "--measured", measured, "--baseline", baseline],
                                  capture_output=True, text=True, timeout=60)

    def passes(self):
        done = self.check()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def fails(self, word):
        done = self.check()
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("WORSE: " + word, done.stdout)

    def test_what_is_as_it_was_passes(self):
        self.assertNotIn("WORSE", self.passes())

    def test_six_percent_more_of_any_count_fails_and_four_do_not(self):
        for kind in ("instructions", "allocations", "copied_bytes", "mails"):
            with self.subTest(kind):
                self.setUp()
                self.baseline["cases"][AWAY][kind] = 1000
                self.measured["cases"][AWAY][kind] = 1040
                self.passes()
                self.measured["cases"][AWAY][kind] = 1060
                self.fails(f"{AWAY}: {kind}")

    def test_an_allocation_or_a_mail_per_record_that_was_not_there_fails(self):
        for kind in ("allocations", "mails"):
            with self.subTest(kind):
                self.setUp()
                self.baseline["cases"][ALONE][kind] = 0
                self.measured["cases"][ALONE][kind] = 0.01
                self.fails(f"{ALONE}: {kind}")

    def test_what_got_better_is_a_note(self):
        self.measured["cases"][AWAY]["instructions"] *= 0.9
        self.assertIn("better, keep it", self.passes())

    def test_another_compiler_leaves_the_instructions_out_and_says_so(self):
        self.measured["made_with"]["compiler"] = "gcc 99"
        self.measured["cases"][AWAY]["instructions"] *= 2
        self.assertIn("INSTRUCTIONS ARE NOT COMPARED: the baseline is of compiler", self.passes())
        self.measured["cases"][AWAY]["copied_bytes"] *= 2
        self.fails(f"{AWAY}: copied_bytes")

    def test_without_the_tools_it_says_so(self):
        self.measured["made_with"]["valgrind"] = None
        del self.measured["live"]
        for row in self.measured["cases"].values():
            del row["instructions"]
        said = self.passes()
        self.assertIn("INSTRUCTIONS ARE NOT COMPARED: valgrind is not installed", said)
        self.assertIn("SYSTEM CALLS ARE NOT COMPARED", said)

    def test_a_row_is_not_lost_and_a_new_one_wants_its_baseline(self):
        row = self.measured["cases"].pop(ALONE)
        self.fails(f"{ALONE}: is in the baseline and was not measured")
        self.measured["cases"] |= {ALONE: row, "new": row}
        self.fails("new: has no baseline")

    def test_cost_stays_flat_whatever_the_baseline_says(self):
        for side in (self.measured, self.baseline):
            side["cases"][AMONG_IDLE]["instructions"] *= 1.1
        self.fails(f"{AMONG_IDLE}: instructions")

    def test_system_calls_have_a_wide_margin(self):
        for name in self.measured["live"]:
            with self.subTest(name):
                self.setUp()
                self.baseline["live"][name] = 1
                self.measured["live"][name] = 2.9
                self.passes()
                self.measured["live"][name] = 3.1
                self.fails(f"live, {name}")

    def test_instructions_of_libc_and_of_the_harness_are_left_out(self):
        self.assertEqual(counts.felix_instructions(DUMP), ("a row", 123))

    def test_the_harness_counts(self):
        program = pathlib.Path(os.environ["FELIX_BIN_DIR"]) / "bench_core_path"
        said = subprocess.run([program, "--counts", "--only", AWAY], capture_output=True, text=True,
                              check=True, timeout=120).stdout
        head, row = map(json.loads, said.splitlines())
        self.assertIn("compiler", head)
        self.assertEqual(row["case"], AWAY)
        for kind in ("allocations", "copied_bytes", "mails"):
            self.assertGreater(row[kind], 0, kind)


if __name__ == "__main__":
    unittest.main(verbosity=2)
