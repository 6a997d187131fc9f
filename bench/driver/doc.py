# SPDX-License-Identifier: Apache-2.0
"""Renews the tables of docs/performance.md, each between its two marks."""
import pathlib

import figures
import versus

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "performance.md"
MARKS = {"goals": ("P", "F"), "grid": ("G",), "peers": ("V",), "commands": ("P", "F", "G", "V")}


def begin(part):
    return f"<!-- {part}: written by bench/run --write-doc -->"


def end(part):
    return f"<!-- end of {part} -->"


def part_text(part, report):
    rows = [row for row in report["rows"] if row["name"][0] in MARKS[part]]
    if not rows:
        return "\nNot measured yet.\n\n"
    if part == "peers":
        return figures.about_line({**report, "rows": rows}).join(("\n", "\n")) + \
            versus.table(report, figures.number) + "\n"
    if part == "commands":
        return "\n" + "\n".join(figures.commands(rows)) + "\n\n"
    table = figures.goals_table(rows) if part == "goals" else figures.grid_table(rows)
    return "\n" + figures.about_line({**report, "rows": rows}) + "\n\n" + "\n".join(table) + "\n\n"


def replaced(page, part, text):
    """The page with what stands between the marks of a part replaced."""
    head, found, rest = page.partition(begin(part))
    _, closed, tail = rest.partition(end(part))
    if not found or not closed:
        raise ValueError(f"docs/performance.md has no marks for {part}")
    return head + begin(part) + "\n" + text + end(part) + tail


def write(report):
    page = PAGE.read_text()
    for part in MARKS:
        page = replaced(page, part, part_text(part, report))
    PAGE.write_text(page)
