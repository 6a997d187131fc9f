# SPDX-License-Identifier: Apache-2.0
"""Felix beside its peers: the same work, the same load programs' words, taking turns run by run.

A row is one system at one piece of work; rows of the same work form a group, in which the systems
take turns, so that a slow minute of the machine is everybody's. What is comparable and what is not,
and every server's settings: bench/peers/README.md.
"""
import work
from peer import KINDS
from rows import Measure, Row, scaled, text_size

PUBSUB = ("felix", "nats", "redis", "mosquitto")
CACHES = ("felix", "redis")
LOGS = ("felix", "nats", "redis")  # Redis keeps what it replays in memory, JetStream on disk as Felix
FLAGS = ("--max-connections-per-ip", "0")

LATENCY = [Measure("p50", "us"), Measure("p99", "us"), Measure("p999", "us"),
           Measure("cpu_us", "us"), Measure("client_cpu_us", "us")]
RELAY = [Measure("rate", "/s"), Measure("per_cpu_s", "/CPU-s"), Measure("mb_s", "MB/s"),
         Measure("p50", "us"), Measure("p99", "us"), Measure("pub_cpu_us", "us"),
         Measure("sub_cpu_us", "us")]
REQUESTS = [Measure("rate", "/s"), Measure("per_cpu_s", "/CPU-s"), Measure("p50", "us"),
            Measure("p99", "us"), Measure("client_cpu_us", "us")]


PROGRAMS = {"latency": "bench_latency", "pub": "bench_pubsub pub", "sub": "bench_pubsub sub",
            "acked": "bench_pubsub acked", "replay": "bench_pubsub replay", "cache": "bench_cache_load"}


def command(system, roles):
    """The load programs of a row: [(role, words)]."""
    return "; ".join(f"{PROGRAMS[role] if system == 'felix' else f'bench_peer_load {role}'} {words}"
                     for role, words in roles)


def rows_of(group, what, systems, run, measures, roles, warm=False):
    return [Row(f"{group}/{system}", f"{system}: {what}", FLAGS if system == "felix" else (),
                (lambda b, system=system: run(b, b.system(system))), measures,
                command(system, roles), warm=warm, system=system, group=group)
            for system in systems]


def latency(fan_out, warm):
    regime = "warm" if warm else "quiet"
    return rows_of(f"V/latency-x{fan_out}-{regime}",
                   f"256 B, one in flight, last of {fan_out}, {regime}", PUBSUB,
                   lambda b, s: work.latency(s, "--subs", fan_out, size=256,
                                             count=scaled(b, 8000 if fan_out == 1 else 4000)),
                   LATENCY, [("latency", f"--size 256 --subs {fan_out}")], warm)


def volume(system, size, fan_out):
    """Messages of a run of about a second: by what the system relays at most, and by bytes."""
    rate = KINDS[system].relay_rate if system != "felix" else 6e6
    return int(max(1000, min(rate, 500e6 / size) / fan_out * (0.5 if fan_out == 1 else 1)))


def relay(size, fan_out):
    return rows_of(f"V/relay-{text_size(size).replace(' ', '')}-x{fan_out}",
                   f"{text_size(size)}, batched, fan-out {fan_out}", PUBSUB,
                   lambda b, s: work.Relay(size, fan_out, scaled(b, volume(s.name, size, fan_out)),
                                           ring=b.scale).run(s),
                   RELAY, [("pub", f"--size {size} --batch {work.default_batch(size)}"),
                           ("sub", f"--subs {fan_out}")])


def acked():
    return rows_of("V/acked-64", "unbatched acknowledged publishes, 64 in flight, 256 B, in memory",
                   PUBSUB, lambda b, s: work.acked(s, scaled(b, 80000), scaled(b, 40000)),
                   REQUESTS, [("acked", "--size 256 --inflight 64")])


def replay(subs, count):
    readers = "one reader" if subs == 1 else f"{subs} readers at once"
    return rows_of(f"V/replay-x{subs}", f"replay of what was kept, 1 KiB, {readers}", LOGS,
                   lambda b, s: work.Replay(1024, subs, scaled(b, count)).run(s),
                   [Measure("rate", "/s"), Measure("per_cpu_s", "/CPU-s"), Measure("mb_s", "MB/s"),
                    Measure("sub_cpu_us", "us")],
                   [("replay", f"--subs {subs} --count {count}")])


def cache(op, outstanding, conns, count):
    return rows_of(f"V/cache-{op}-{outstanding}",
                   f"cache {op}, 100 B, {outstanding} outstanding, {conns} "
                   f"connection{'s' if conns > 1 else ''}", CACHES,
                   lambda b, s: work.cache(s, op, scaled(b, count), outstanding, conns), REQUESTS,
                   [("cache", f"--op {op} --size 100 --outstanding {outstanding} --conns {conns}")])


def rows():
    groups = [latency(fan_out, warm) for warm in (False, True) for fan_out in (1, 10)]
    groups += [relay(size, fan_out) for size in (100, 1024, 4096) for fan_out in (1, 10, 100)]
    groups += [acked(), replay(1, 200000), replay(10, 200000)]
    groups += [cache(op, outstanding, conns, count) for op in ("get", "put")
               for outstanding, conns, count in ((1, 1, 5000), (16, 1, 60000), (256, 8, 150000))]
    return [row for group in groups for row in group]


# --- the table ---

def by_group(results_rows):
    """{group: {system: {figure: entry}}}, in the order met."""
    groups = {}
    for row in results_rows:
        if row["name"].startswith("V/"):
            group, _, system = row["name"].rpartition("/")
            groups.setdefault(group, {})[system] = {e["figure"]: e for e in row["figures"]}
    return groups


# Under full load the time of a delivery is that of the window before it, which differs; so relay
# rows are not compared by it.
COMPARED = {"V/latency": ("p50", "p99", "cpu_us"), "V/relay": ("rate", "per_cpu_s"),
            "V/acked": ("rate", "per_cpu_s", "p50", "p99"),
            "V/replay": ("rate", "per_cpu_s"),
            "V/cache": ("rate", "per_cpu_s", "p50", "p99")}
SMALLER = ("p50", "p99", "cpu_us")


def behind(groups):
    """Where Felix is not ahead: (group, figure, best peer, its median, ours)."""
    found = []
    for group, systems in groups.items():
        ours = systems.get("felix", {})
        for figure in COMPARED[group.partition("-")[0]]:
            theirs = [(entries[figure]["median"], system) for system, entries in systems.items()
                      if system != "felix" and figure in entries]
            if figure not in ours or not theirs:
                continue
            best, system = min(theirs) if figure in SMALLER else max(theirs)
            mine = ours[figure]["median"]
            if mine > best if figure in SMALLER else mine < best:
                found.append((group, figure, system, best, mine))
    return found


# Which group of peers' rows a row of ours is beside, and by what: a time in us, or the server's CPU of
# a unit. Sizes for the rows whose figure is a GB. Names of rows that there are not do no harm.
BESIDE = {"P1/quiet": ("V/latency-x1-quiet", "p50"), "P1/warm": ("V/latency-x1-warm", "p50"),
          "P2/10-own-quiet": ("V/latency-x10-quiet", "p50"),
          "P2/10-own-warm": ("V/latency-x10-warm", "p50"), "P5": ("V/acked-64", "cpu_us")}
BESIDE.update({f"P8/{op}-{outstanding}": (f"V/cache-{op}-{outstanding}", figure)
               for op in ("get", "put")
               for outstanding, figure in ((1, "p50"), (16, "cpu_us"), (256, "cpu_us"))})
SIZES = (("100B", 100), ("1KiB", 1024), ("4KiB", 4096))
for _text, _size in SIZES:
    BESIDE[f"P3/{_text}"] = (f"V/relay-{_text}-x1",
                             "cpu_per_million" if _size < 1024 else "cpu_per_gb")
    for _fan_out in (1, 10, 100):
        for _name in (f"P4/{_text}-x{_fan_out}", f"G/{_text}-x{_fan_out}-b64"):
            BESIDE[_name] = (f"V/relay-{_text}-x{_fan_out}", "cpu_per_million")


def best_of_peers(systems, figure, size):
    """The best peer's median in the terms of `figure`; None: none was measured."""
    costs = []
    for system, entries in systems.items():
        if system == "felix" or not entries:
            continue
        if figure == "p50":
            costs.append(entries["p50"]["median"])
        else:  # us of CPU a unit, which is CPU-s a million
            cost = 1e6 / entries["per_cpu_s"]["median"]
            costs.append(cost * 1000 / size if figure == "cpu_per_gb" else cost)
    return min(costs, default=None)


def add_peer_ratios(report):
    """Writes `over_peer` into our figures that a peer has too: how many times the best one's."""
    groups = by_group(report["rows"])
    for row in report["rows"]:
        group, figure = BESIDE.get(row["name"], ("", ""))
        size = next((size for text, size in SIZES if f"/{text}" in row["name"]), 0)
        best = best_of_peers(groups.get(group, {}), figure, size)
        for entry in row["figures"]:
            entry.pop("over_peer", None)
            if best and entry["figure"] == figure:
                entry["over_peer"] = entry["median"] / best


def line(first, system, figures, notes, number):
    """One system's line; without a whole run it says why."""
    if not figures:
        return f"| {first} | {system} | {notes[0] if notes else 'no whole run'} | | | | | |"

    def cell(key):
        return number(figures[key]["median"]) if key in figures else ""
    per_cpu_s = cell("per_cpu_s") or number(1e6 / figures["cpu_us"]["median"])
    return (f"| {first} | {system} | {cell('rate')} | {per_cpu_s} | {cell('p50')} | {cell('p99')} | "
            f"{cell('p999')} | {cell('client_cpu_us') or cell('sub_cpu_us')} |")


def table(report, number):
    """Markdown: a line a system and piece of work, then where Felix is not ahead."""
    groups = by_group(report["rows"])
    if not groups:
        return ""
    rows_ = {row["name"]: row for row in report["rows"]}
    lines = ["", "Versions: " + ", ".join(report.get("peers", {}).values()) + ".", "",
             "| work | system | /s | per broker CPU-s | p50 us | p99 us | p999 us | client CPU us |",
             "|---|---|---|---|---|---|---|---|"]
    for group, systems in groups.items():
        for i, (system, figures) in enumerate(systems.items()):
            row = rows_[f"{group}/{system}"]
            first = f"{group[2:]}<br>{row['what'].partition(': ')[2]}" if i == 0 else ""
            lines.append(line(first, system, figures, row["notes"], number))
    missed = [f"- {group[2:]}, {figure}: Felix {number(mine)}, {system} {number(best)}"
              for group, figure, system, best, mine in behind(groups)]
    missed += [f"- {group[2:]}: no whole run of Felix" for group, systems in groups.items()
               if not systems.get("felix")]
    lines += [""]
    if missed:
        lines += ["Where Felix is not ahead of every peer:", "", *missed]
    else:
        lines += ["Felix is ahead of every peer in rate, work a broker-CPU-second, p50 and p99 "
                  "wherever the table compares them."]
    return "\n".join(lines) + "\n"
