# SPDX-License-Identifier: Apache-2.0
"""The charts: well-formed, inside their page, true to scale (bench/driver/chart.py, drawings.py, doc.py)."""
import math
import unittest
import xml.etree.ElementTree as tree

import chart
import doc
import drawings

SVG = "{http://www.w3.org/2000/svg}"


class Axes(unittest.TestCase):
    def test_even_steps_begin_at_nought_and_cover(self):
        for high in (0.07, 1, 3.3, 9.99, 1200):
            ticks = chart.even_steps(high)
            self.assertEqual(ticks[0], 0)
            self.assertGreaterEqual(ticks[-1], high * (1 - 1e-9))
            self.assertLessEqual(len(ticks), 7)

    def test_decades_cover(self):
        for low, high in ((0.08, 11), (25, 26), (1, 1), (0.3, 90000)):
            ticks = chart.decades(low, high)
            self.assertLessEqual(ticks[0], low)
            self.assertGreaterEqual(ticks[-1], high)
            self.assertGreater(len(ticks), 1)

    def test_a_logarithmic_scale_keeps_ratios(self):
        scale = chart.Scale([1, 100], 0, 200, True)
        self.assertAlmostEqual(scale.at(10), 100)
        self.assertAlmostEqual(chart.Scale([0, 4], 10, 50, False).at(1), 20)


class Drawn(unittest.TestCase):
    FIGURES = {f"V/relay-{size}-x{fan_out}/{system}.per_cpu_s": 1e6 * (i + 1)
               for size in ("100B", "1KiB", "4KiB") for fan_out in (1, 10, 100)
               for i, system in enumerate(drawings.SYSTEMS)}
    FIGURES.update({f"V/latency-x{fan_out}-{regime}/{system}.{p}": value
                    for fan_out in (1, 10) for regime in ("quiet", "warm")
                    for system in drawings.SYSTEMS for p, value in (("p50", 40), ("p99", 300))})
    FIGURES.update({f"G/1KiB-x{fan_out}-b64.cpu_per_million": 0.7 for fan_out in (1, 10, 100, 1000)})
    FIGURES.update({f"V/acked-64/{system}.per_cpu_s": 5e5 for system in drawings.SYSTEMS})

    def test_each_chart_is_xml_of_its_own_and_stays_on_its_page(self):
        for name, draw in drawings.ALL.items():
            with self.subTest(name):
                root = tree.fromstring(draw(self.FIGURES))
                width, height = float(root.get("width")), float(root.get("height"))
                for node in root.iter():
                    for key, most in (("x", width), ("cx", width), ("x2", width), ("y", height),
                                      ("cy", height), ("y2", height)):
                        if node.get(key) is not None:
                            self.assertTrue(0 <= float(node.get(key)) <= most, (node.tag, key))
                self.assertIn("prefers-color-scheme", root.find(f"{SVG}style").text)
                self.assertNotIn("http", tree.tostring(root, encoding="unicode")
                                 .replace("http://www.w3.org/2000/svg", ""))

    def test_nothing_measured_is_no_chart(self):
        for draw in drawings.ALL.values():
            self.assertIsNone(draw({}))

    def test_a_bar_is_as_long_as_its_value(self):
        root = tree.fromstring(chart.bars("t", "u", [("a", 2.0), ("b", 4.0)]))
        widths = [float(node.get("width")) for node in root.findall(f"{SVG}rect")[1:]]
        self.assertTrue(math.isclose(widths[0] * 2, widths[1], abs_tol=0.2))

    def test_words_are_escaped(self):
        self.assertIn("a &lt; b", chart.bars("a < b", "u", [("c & d", 1)]))


class Page(unittest.TestCase):
    def test_only_what_is_between_the_marks_is_replaced(self):
        page = f"head\n{doc.begin('grid')}\nold\n{doc.end('grid')}\ntail\n"
        self.assertEqual(doc.replaced(page, "grid", "new\n"),
                         f"head\n{doc.begin('grid')}\nnew\n{doc.end('grid')}\ntail\n")

    def test_a_page_without_marks_is_left_alone(self):
        with self.assertRaises(ValueError):
            doc.replaced("no marks", "grid", "new")

    def test_the_page_has_all_marks(self):
        text = doc.PAGE.read_text()
        for part in doc.MARKS:
            self.assertEqual(doc.replaced(text, part, "x").count(doc.begin(part)), 1)


if __name__ == "__main__":
    unittest.main()
