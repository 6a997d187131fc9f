# SPDX-License-Identifier: Apache-2.0
"""The rows of the bench: names, volumes, and what a lossy or unequal run is worth (bench/driver/)."""
import unittest

import grid
import versus
import work
from rows import GOAL_ROWS

ALL = GOAL_ROWS + grid.rows() + versus.rows()


class Rows(unittest.TestCase):
    def test_each_name_once_each_with_a_command(self):
        names = [row.name for row in ALL]
        self.assertEqual(len(names), len(set(names)))
        for row in ALL:
            self.assertTrue(row.command.startswith(("bench_", "felix up ")), row.name)
            self.assertTrue(row.measures, row.name)

    def test_the_grid_has_every_payload_fan_out_and_way(self):
        names = {row.name for row in grid.rows()}
        for size in grid.PAYLOADS:
            for batch in (1, 64):
                for acks in ("batch", "none"):
                    self.assertIn(grid.name_of(size, 1, batch, acks, 1), names)
            for fan_out in grid.FAN_OUTS:
                self.assertIn(grid.name_of(size, fan_out, 64, "batch", 1), names)

    def test_a_run_moves_much_more_than_a_window_unless_it_would_take_minutes(self):
        for size in (1024, 4096, 16384):
            self.assertGreater(grid.volume(size, 1, 64) * size, 10 * (8 << 20))
        self.assertGreaterEqual(grid.volume(16384, 1000, 64), 600)

    def test_systems_take_turns(self):
        groups = {}
        for row in versus.rows():
            groups.setdefault(row.group, []).append(row.system)
        for group, systems in groups.items():
            self.assertIn(tuple(systems), (versus.PUBSUB, versus.CACHES, versus.LOGS), group)


class RelayFigures(unittest.TestCase):
    RECEIVED = {"lost": 0, "wrong": 0, "gaps": 0, "end_ns": 2_000_000_000, "cpu_s": 0.5, "count": 0}
    SENT = [{"failed": 0, "start_ns": 1_000_000_000, "cpu_s": 0.25}]

    def figures(self, **changed):
        relay = work.Relay(1000, 10, 1000, batch=1)
        return relay.figures({"cpu_s": 0.1, "rss_mib": 5}, {**self.RECEIVED, **changed}, self.SENT)

    def test_a_second_of_ten_thousand_deliveries(self):
        figures = self.figures()
        self.assertAlmostEqual(figures["rate"], 10000)
        self.assertAlmostEqual(figures["cpu_per_million"], 10)
        self.assertAlmostEqual(figures["cpu_per_gb"], 10)
        self.assertAlmostEqual(figures["mb_s"], 10)
        self.assertAlmostEqual(figures["per_cpu_s"], 100000)
        self.assertAlmostEqual(figures["pub_cpu_us"], 250)
        self.assertEqual(figures["lost"], 0)
        self.assertNotIn("p50", figures)  # nothing was timed

    def test_anything_missing_double_or_out_of_place_voids_it(self):
        for what in ("lost", "wrong", "gaps"):
            self.assertEqual(self.figures(**{what: 1})["lost"], 1)


class Versus(unittest.TestCase):
    @staticmethod
    def report(**per_system):
        rows = [{"name": f"V/acked-64/{system}", "what": f"{system}: work", "notes": [],
                 "figures": [{"figure": key, "median": value} for key, value in values.items()]}
                for system, values in per_system.items()]
        return {"rows": rows, "peers": {}}

    def test_behind_names_the_best_peer(self):
        report = self.report(felix={"rate": 5, "p50": 3}, nats={"rate": 9, "p50": 4},
                             redis={"rate": 7, "p50": 2})
        found = versus.behind(versus.by_group(report["rows"]))
        self.assertEqual(found, [("V/acked-64", "rate", "nats", 9, 5),
                                 ("V/acked-64", "p50", "redis", 2, 3)])

    def test_ahead_is_said_too(self):
        report = self.report(felix={"per_cpu_s": 5}, nats={"per_cpu_s": 4})
        self.assertEqual(versus.behind(versus.by_group(report["rows"])), [])
        self.assertIn("ahead of every peer", versus.table(report, str))

    def test_ratio_to_the_best_peer_in_the_terms_of_the_row(self):
        def row(name, **values):
            return {"name": name, "what": "", "notes": [],
                    "figures": [{"figure": k, "median": v} for k, v in values.items()]}
        report = {"rows": [row("P3/1KiB", cpu_per_gb=1.0), row("P1/quiet", p50=30, p99=50),
                           row("V/relay-1KiB-x1/felix", per_cpu_s=1e6),
                           row("V/relay-1KiB-x1/nats", per_cpu_s=250e3),
                           row("V/relay-1KiB-x1/redis", per_cpu_s=100e3),
                           row("V/latency-x1-quiet/nats", p50=60),
                           row("V/latency-x1-quiet/redis")]}
        versus.add_peer_ratios(report)
        gigabyte, latency = report["rows"][0]["figures"][0], report["rows"][1]["figures"][0]
        self.assertAlmostEqual(gigabyte["over_peer"], 1.024 / 4)
        self.assertAlmostEqual(latency["over_peer"], 0.5)
        self.assertNotIn("over_peer", report["rows"][1]["figures"][1])

    def test_every_pair_names_rows_there_are(self):
        names = {row.name for row in ALL}
        groups = {row.group for row in ALL}
        for name, (group, _) in versus.BESIDE.items():
            if not (name.startswith("P4") and name.endswith("-x1")):  # P3 is that
                self.assertIn(name, names)
            self.assertIn(group, groups)

    def test_no_whole_run_of_ours_is_not_being_ahead(self):
        text = versus.table(self.report(felix={}, nats={"per_cpu_s": 4}), str)
        self.assertIn("acked-64: no whole run of Felix", text)
        self.assertNotIn("ahead of every peer in", text)

    def test_a_peer_that_is_not_there_says_so(self):
        report = self.report(felix={"per_cpu_s": 5}, nats={})
        report["rows"][1]["notes"] = ["nats-server is not installed (bench/setup)"]
        self.assertIn("| nats | nats-server is not installed", versus.table(report, str))


if __name__ == "__main__":
    unittest.main()
