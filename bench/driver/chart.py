# SPDX-License-Identifier: Apache-2.0
"""Small SVG charts: points on a logarithmic scale, lines over two of them, bars.

One file stands alone: no font, script or image from elsewhere. Colours follow the reader's light or
dark setting through a media query, and every series has a shape beside its colour. Each mark carries
a <title>, so that pointing at it says the figure.
"""
import math
from xml.sax.saxutils import escape, quoteattr

from figures import number

WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 190, 30, 64, 52
LINE = 30  # height of a row of points or bars
SHAPES = ("circle", "square", "triangle", "diamond", "cross")
# ink, dim, rule, paper, and one colour a series.
LIGHT = ("#1f2328", "#59636e", "#d1d9e0", "#ffffff",
         "#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989")
DARK = ("#f0f6fc", "#9198a1", "#3d444d", "#0d1117",
        "#4493f8", "#f0883e", "#3fb950", "#ab7df8", "#db61a2")


def palette(colours):
    ink, dim, rule, paper, *series = colours
    rules = [f"text{{fill:{ink}}}", f".dim{{fill:{dim}}}", f".rule{{stroke:{rule}}}",
             f".paper{{fill:{paper}}}", f".goal{{stroke:{ink}}}"]
    rules += [f".s{i}{{fill:{colour};stroke:{colour}}}" for i, colour in enumerate(series)]
    return "".join([*rules, f".hollow{{fill:{paper}}}", ".path{fill:none}"])


STYLE = (f"text{{font:13px system-ui,sans-serif}}.title{{font-weight:600;font-size:15px}}"
         f".goal{{stroke-width:2;stroke-dasharray:2 2}}.path{{stroke-width:2}}{palette(LIGHT)}"
         f"@media(prefers-color-scheme:dark){{{palette(DARK)}}}")


def text(x, y, words, kind="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def shape(index, x, y, title, hollow=False):
    """The mark of a series: its colour and its own form."""
    kind = SHAPES[index % len(SHAPES)]
    points = {"square": [(-5, -5), (5, -5), (5, 5), (-5, 5)],
              "triangle": [(0, -6), (6, 5), (-6, 5)],
              "diamond": [(0, -7), (6, 0), (0, 7), (-6, 0)],
              "cross": [(-2, -6), (2, -6), (2, -2), (6, -2), (6, 2), (2, 2), (2, 6), (-2, 6),
                        (-2, 2), (-6, 2), (-6, -2), (-2, -2)]}
    style = f'class="s{index % 5}{" hollow" if hollow else ""}" stroke-width="1.5"'
    inner = f"<title>{escape(title)}</title>"
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {style}>{inner}</circle>'
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points[kind])
    return f'<polygon points="{corners}" {style}>{inner}</polygon>'


def decades(low, high):
    """1-2-5 steps that cover low..high, both positive, not too many of them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [factor * 10.0 ** power for power in range(first, last + 1) for factor in steps]
    below = max([tick for tick in ticks if tick <= low], default=ticks[0])
    above = min([tick for tick in ticks if tick >= high and tick > below], default=below * 10)
    return [tick for tick in ticks if below <= tick < above] + [above]


def even_steps(high):
    """0 and round steps up to at least `high`."""
    raw = high / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [step * i for i in range(math.ceil(high / step - 1e-9) + 1)]


class Scale:
    """A value to a place on the page."""

    def __init__(self, ticks, start, end, logarithmic):
        self.ticks, self.start, self.end, self.logarithmic = ticks, start, end, logarithmic

    def at(self, value):
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def legend(names, y):
    parts, x = [], LEFT
    for index, name in enumerate(names):
        parts += [shape(index, x, y - 4, name), text(x + 11, y, name, "dim")]
        x += 30 + 7.5 * len(name)
    return parts


def page(title, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" aria-label={quoteattr(title)}>'
            f"<title>{escape(title)}</title><style>{STYLE}</style>"
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>'
            + "\n".join([text(16, 24, title, "title"), *parts]) + "</svg>\n")


def x_axis(scale, top, bottom, label):
    parts = [f'<line class="rule" x1="{scale.at(tick):.1f}" x2="{scale.at(tick):.1f}" y1="{top}" '
             f'y2="{bottom}"/>' + text(scale.at(tick), bottom + 18, number(tick), "dim", "middle")
             for tick in scale.ticks]
    return parts + [text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, label, "dim", "middle")]


def points(title, unit, names, rows):
    """
    A row a piece of work, a mark a series, on a logarithmic scale.

    rows: [(label, {series: value or (from, to)}, {"goal": value})]; a pair is drawn as a full mark, a
    hollow one and the line between them.
    """
    values = [v for _, series, extra in rows for one in [*series.values(), *extra.values()]
              for v in (one if isinstance(one, tuple) else (one,)) if v]
    bottom = TOP + LINE * len(rows)
    scale = Scale(decades(min(values), max(values)), LEFT, WIDTH - RIGHT, True)
    parts = legend(names, 48) + x_axis(scale, TOP, bottom, unit)
    for i, (label, series, extra) in enumerate(rows):
        y = TOP + LINE * (i + 0.5)
        parts.append(text(LEFT - 14, y + 4, label, "", "end"))
        for name, value in extra.items():
            x = scale.at(value)
            parts.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 12:.1f}" '
                         f'y2="{y + 12:.1f}"><title>{escape(f"{name} {number(value)}")}</title></line>')
        for name, value in reversed(series.items()):  # the first one lies on top
            parts += marks(scale, names.index(name), name, value, unit, y)
    return page(title, bottom + BOTTOM, parts)


def marks(scale, index, name, value, unit, y):
    if not isinstance(value, tuple):
        return [shape(index, scale.at(value), y, f"{name}: {number(value)} {unit}")]
    low, high = value
    y += (index - 1.5) * 4  # ranges of several series must not hide each other
    return [f'<line class="s{index % 5}" x1="{scale.at(low):.1f}" x2="{scale.at(high):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}" stroke-width="1.5"/>',
            shape(index, scale.at(low), y, f"{name} p50: {number(low)} {unit}"),
            shape(index, scale.at(high), y, f"{name} p99: {number(high)} {unit}", True)]


def lines(title, x_label, y_label, series):
    """Lines over two logarithmic scales, so that equal slopes are equal ratios. {name: [(x, y)]}"""
    xs = sorted({x for one in series.values() for x, _ in one})
    ys = [y for one in series.values() for _, y in one]
    left, right, bottom = LEFT - 100, WIDTH - RIGHT - 10, TOP + 260
    across = Scale([xs[0], xs[-1]], left, right, True)
    upwards = Scale(decades(min(ys), max(ys)), bottom, TOP, True)
    parts = legend(list(series), 48)
    for tick in upwards.ticks:
        y = upwards.at(tick)
        parts += [f'<line class="rule" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
                  text(left - 10, y + 4, number(tick), "dim", "end")]
    parts += [text(across.at(x), bottom + 18, number(x), "dim", "middle") for x in xs]
    parts.append(text((left + right) / 2, bottom + 38, x_label, "dim", "middle"))
    middle = (TOP + bottom) / 2
    parts.append(f'<g transform="rotate(-90 24 {middle})">'
                 + text(24, middle, y_label, "dim", "middle") + "</g>")
    for index, (name, one) in enumerate(series.items()):
        path = " ".join(f"{across.at(x):.1f},{upwards.at(y):.1f}" for x, y in one)
        parts.append(f'<polyline class="s{index % 5} path" points="{path}"/>')
        parts += [shape(index, across.at(x), upwards.at(y), f"{name}, {number(x)}: {number(y)}")
                  for x, y in one]
    return page(title, bottom + BOTTOM, parts)


def bars(title, unit, rows):
    """rows: [(label, value)] from nought, the figure written behind each bar."""
    bottom = TOP - 20 + LINE * len(rows)
    scale = Scale(even_steps(max(value for _, value in rows)), LEFT, WIDTH - RIGHT - 70, False)
    parts = x_axis(scale, TOP - 20, bottom, unit)
    for i, (label, value) in enumerate(rows):
        y = TOP - 20 + LINE * i
        parts += [text(LEFT - 14, y + LINE / 2 + 4, label, "", "end"),
                  f'<rect class="s{i % 5}" x="{LEFT}" y="{y + 6}" height="{LINE - 12}" '
                  f'width="{scale.at(value) - LEFT:.1f}"/>',
                  text(scale.at(value) + 8, y + LINE / 2 + 4, number(value))]
    return page(title, bottom + BOTTOM, parts)
