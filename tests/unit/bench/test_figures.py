# SPDX-License-Identifier: Apache-2.0
"""What the bench driver makes of runs: medians, ratios, bars, tables (bench/driver/figures.py)."""
import unittest

import figures
from rows import Measure


def entries(measures, runs, results=None):
    return {e["figure"]: e for e in figures.summarise("R", measures, runs,
                                                      {} if results is None else results)}


class Summary(unittest.TestCase):
    def test_median_and_spread_of_the_runs(self):
        cost = entries([Measure("cost", "us")], [{"cost": 3}, {"cost": 1}, {"cost": 10}])["cost"]
        self.assertEqual((cost["median"], cost["min"], cost["max"]), (3, 1, 10))
        self.assertIsNone(cost["goal"])
        self.assertIsNone(cost["ratio"])

    def test_goal_of_other_rows_and_floor(self):
        results = {"other.p50": 10}
        measures = [Measure("p50", "us", lambda r: 1.3 * r["other.p50"], lambda r: r.get("none"))]
        p50 = entries(measures, [{"p50": 26}], results)["p50"]
        self.assertAlmostEqual(p50["ratio"], 2.0)
        self.assertIsNone(p50["over_floor"])
        self.assertEqual(results["R.p50"], 26)

    def test_a_figure_only_one_run_has(self):
        calls = entries([Measure("calls", "/unit"), Measure("allocs", "/unit")],
                        [{"calls": 0.5}, {}])
        self.assertEqual(calls["calls"]["median"], 0.5)
        self.assertNotIn("allocs", calls)

    def test_over_one_is_missed_for_a_least_too(self):
        self.assertAlmostEqual(figures.ratio(50, 100, least=True), 2.0)
        self.assertAlmostEqual(figures.ratio(200, 100), 2.0)
        self.assertIsNone(figures.ratio(5, None))
        self.assertIsNone(figures.ratio(0, 5, least=True))


class Text(unittest.TestCase):
    def test_numbers(self):
        for value, text in ((0.12345, "0.123"), (999.6, "1e+03"), (1234.5, "1234"),
                            (1234567, "1,234,567")):
            self.assertEqual(figures.number(value), text)

    def test_a_bar_is_cut_to_an_eighth(self):
        self.assertEqual(figures.bar(0.5, cells=4), "██")
        self.assertEqual(figures.bar(1 / 32, cells=4), "▏")
        self.assertEqual(figures.bar(7.0, cells=4), "████")
        self.assertEqual(figures.bar(0, cells=4), "")

    def test_colour_and_bars_only_when_asked(self):
        row = {"name": "R", "what": "w", "notes": [],
               "figures": list(entries([Measure("c", "us", 1.0)], [{"c": 2.0}]).values())}
        plain = figures.row_text(row)
        self.assertNotIn("█", plain)
        self.assertIn("2.00 x", plain)
        self.assertIn("█", figures.row_text(row, bars=True))
        self.assertNotIn("\x1b", figures.row_text(row, bars=True))
        self.assertIn("\x1b[31m", figures.row_text(row, bars=True, colour=True))

    def test_goal_table_marks_what_is_missed(self):
        found = entries([Measure("c", "us", 1.0), Measure("d", "us")], [{"c": 2.0, "d": 5}])
        row = {"name": "R", "what": "w", "figures": list(found.values()), "notes": ["lost messages"]}
        table = "\n".join(figures.goals_table([row]))
        self.assertIn("**2.00**", table)
        self.assertIn("d 5 us", table)
        self.assertIn("not counted: lost messages", table)

    def test_grid_table_says_why_a_row_is_empty(self):
        row = {"name": "G/x", "what": "w", "figures": [], "notes": ["no such thing\nmore"]}
        self.assertIn("no such thing", figures.grid_table([row])[-1])
        cells = {line.count("|") for line in figures.grid_table([row])}
        self.assertEqual(len(cells), 1)


if __name__ == "__main__":
    unittest.main()
