# SPDX-License-Identifier: Apache-2.0
"""From the runs of a row to what people read: medians, ratios, the table, bars. Decides, does no I/O."""
import statistics

BAR_CELLS = 24
FULL, PARTS = "█", " ▏▎▍▌▋▊▉"


def number(value):
    if value >= 10000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def held_against(what, results):
    """A goal or floor: a number, or a function of the medians so far."""
    return what(results) if callable(what) else what


def ratio(median, against, least=False):
    """How many times the goal; over 1 is missed, for a least as for a most. None: nothing to hold to."""
    if against is None or against == 0 or (least and median == 0):
        return None
    return against / median if least else median / against


def summarise(name, measures, runs, results):
    """One entry a measure: median, spread, goal, floor, ratios. Adds the medians to `results`."""
    for key in set().union(*runs):
        values = [run[key] for run in runs if key in run]
        results[f"{name}.{key}"] = statistics.median(values)
    entries = []
    for measure in measures:
        values = [run[measure.key] for run in runs if measure.key in run]
        if not values:
            continue
        median = statistics.median(values)
        goal, floor = held_against(measure.goal, results), held_against(measure.floor, results)
        entries.append({"figure": measure.key, "unit": measure.unit, "median": median,
                        "min": min(values), "max": max(values), "goal": goal,
                        "ratio": ratio(median, goal, measure.least), "least": measure.least,
                        "floor": floor, "over_floor": ratio(median, floor)})
    return entries


# --- for a terminal ---

def bar(share, cells=BAR_CELLS):
    """A bar of `share` (0..1) of its cells, to an eighth of one."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    part = PARTS[eighths % 8] if eighths % 8 else ""
    return FULL * (eighths // 8) + part


def coloured(text, missed, colour):
    if not colour:
        return text
    return f"\x1b[{31 if missed else 32}m{text}\x1b[0m"


def entry_line(entry, bars=False, colour=False):
    sign = ">=" if entry.get("least") else "<="
    goal = f"{sign} {number(entry['goal'])}" if entry["goal"] else ""
    held = f"{entry['ratio']:.2f} x" if entry["ratio"] else ""
    floor = f"{entry['over_floor']:.2f} x floor" if entry.get("over_floor") else ""
    text = (f"    {entry['figure']:<16}{number(entry['median']):>12} {entry['unit']:<10}{goal:>12}"
            f"{held:>9}{floor:>14}   {number(entry['min'])} .. {number(entry['max'])}")
    if bars and entry["ratio"]:
        # Half of the bar is the goal.
        text += "   " + coloured(bar(entry["ratio"] / 2), entry["ratio"] > 1, colour)
    return text


def row_text(row, bars=False, colour=False):
    lines = [f"\n{row['name']}: {row['what']}"]
    lines += [entry_line(entry, bars, colour) for entry in row["figures"]]
    lines += [f"    not counted: {note.splitlines()[0] if note else 'unknown'}"
              for note in row["notes"]]
    return "\n".join(lines)


# --- for docs/performance.md ---

def over(entry, key):
    """A ratio, marked when it is over one and says that we are behind; a floor is never reached."""
    if not entry.get(key):
        return ""
    text = f"{entry[key]:.2f}"
    return f"**{text}**" if entry[key] > 1 and key != "over_floor" else text


def goal_lines(row):
    """The figures of a row that have a goal or a peer, a line each; the others in the first line's last cell."""
    held = [e for e in row["figures"] if e["goal"] or e.get("over_peer")] or row["figures"][:1]
    also = ", ".join(f"{e['figure']} {number(e['median'])} {e['unit']}"
                     for e in row["figures"] if e not in held)
    lines = []
    for i, e in enumerate(held):
        name = f"{row['name']}<br>{row['what']}" if i == 0 else ""
        goal = number(e["goal"]) if e["goal"] else ""
        held_to = over(e, "ratio")
        floor, peer = over(e, "over_floor"), over(e, "over_peer")
        lines.append(f"| {name} | {e['figure']}, {e['unit']} | {goal} | {number(e['median'])} | "
                     f"{held_to} | {floor} | {peer} | {number(e['min'])} .. {number(e['max'])} | "
                     f"{also if i == 0 else ''} |")
    lines += [f"| {row['name'] if not held else ''} | not counted: "
              f"{note.splitlines()[0] if note else ''} | | | | | | | |" for note in row["notes"]]
    return lines


def goals_table(rows):
    lines = ["| row | figure | goal | median | ratio | x floor | x best peer | min .. max | also |",
             "|---|---|---|---|---|---|---|---|---|"]
    return lines + [line for row in rows for line in goal_lines(row)]


GRID_COLUMNS = (("rate", "/s"), ("cpu_per_million", "broker CPU-s/M"), ("pub_cpu_us", "pub CPU us"),
                ("sub_cpu_us", "sub CPU us"), ("p50", "p50 us"), ("p99", "p99 us"),
                ("p999", "p999 us"), ("max", "max us"), ("calls", "calls"), ("allocs", "allocs"),
                ("rss_mib", "RSS MiB"))


def grid_table(rows):
    """A line a row: every figure, the ratios to the goal, floor and best peer where there are."""
    lines = ["| row | " + " | ".join(title for _, title in GRID_COLUMNS) + " | x goal | x floor "
             "| x best peer |", "|---|" + "---|" * (len(GRID_COLUMNS) + 3)]
    for row in rows:
        entries = {e["figure"]: e for e in row["figures"]}
        cells = [number(entries[key]["median"]) if key in entries else "" for key, _ in GRID_COLUMNS]
        cost = entries.get("cpu_per_million", {})
        cells += [over(cost, key) for key in ("ratio", "over_floor", "over_peer")]
        if not row["figures"] and row["notes"]:
            cells[0] = row["notes"][0].splitlines()[0]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return lines


def about_line(report):
    loads = [row["load"] for row in report["rows"]]
    commits = " ".join(sorted({f"`{row['commit']}`" for row in report["rows"]}))
    about = report["about"]
    return (f"Commit {commits}, {about['date']}; {about['processors']} processors "
            f"({about['processor']}), {about['system']}, kernel {about['kernel']}; load average of "
            f"the machine after a row {min(loads):.1f} to {max(loads):.1f} (the benchmark's own "
            f"processes count for about 2); {report['runs']} runs, scale {report['scale']:g}; "
            f"`{report['command']}`.")


def commands(rows):
    lines = []
    for row in rows:
        flags = " ".join(row["profile"])
        lines.append(f"- {row['name']}: `{row['command']}`"
                     f"{f'; `felix up {flags}`' if flags else ''}"
                     f"{'; warm' if row['warm'] else ''}")
    return lines
