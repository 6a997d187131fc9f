# SPDX-License-Identifier: Apache-2.0
"""Which charts there are, and of which rows. Each answers SVG, or None when its rows are missing."""
import chart
from rows import P4_GOALS

SYSTEMS = ["felix", "nats", "redis", "mosquitto"]


def medians(report):
    """{"ROW.figure": median}."""
    return {f"{row['name']}.{entry['figure']}": entry["median"]
            for row in report["rows"] for entry in row["figures"]}


def of_systems(figures, group, figure):
    """{system: median} of a group of peers' rows, as far as measured."""
    found = {system: figures.get(f"{group}/{system}.{figure}") for system in SYSTEMS}
    return {system: value for system, value in found.items() if value}


def delivery_cost(figures):
    rows = []
    for size, text in ((100, "100B"), (1024, "1KiB"), (4096, "4KiB")):
        for fan_out in (1, 10, 100):
            rate = of_systems(figures, f"V/relay-{text}-x{fan_out}", "per_cpu_s")
            if rate:
                goal = {"goal": P4_GOALS[size]} if fan_out > 1 else {}
                rows.append((f"{text[:-3] + ' KiB' if 'KiB' in text else '100 B'}, fan-out {fan_out}",
                             {system: 1e6 / value for system, value in rate.items()}, goal))
    return rows and chart.points("Broker CPU of a delivery, batched, TLS 1.3 (dashed: goal)",
                                 "microseconds, logarithmic; left is better", SYSTEMS, rows) or None


def latency(figures):
    names = [*SYSTEMS, "QUIC floor"]
    rows = []
    for fan_out in (1, 10):
        for regime in ("quiet", "warm"):
            group = f"V/latency-x{fan_out}-{regime}"
            p50, p99 = of_systems(figures, group, "p50"), of_systems(figures, group, "p99")
            series = {system: (p50[system], p99[system]) for system in p50 if system in p99}
            floor = [figures.get(f"P1/{regime}.floor_{p}") for p in ("p50", "p99")]
            if fan_out == 1 and all(floor):
                series["QUIC floor"] = tuple(floor)
            if series:
                rows.append((f"fan-out {fan_out}, {regime}", series, {}))
    return rows and chart.points("Publish to delivery, 256 B, one in flight (full: p50, hollow: p99)",
                                 "microseconds, logarithmic; left is better", names, rows) or None


def flatness(figures):
    series = {}
    for text, name in (("100B", "100 B"), ("1KiB", "1 KiB"), ("4KiB", "4 KiB")):
        found = [(fan_out, figures.get(f"G/{text}-x{fan_out}-b64.cpu_per_million"))
                 for fan_out in (1, 10, 100, 1000)]
        points = [(fan_out, value) for fan_out, value in found if value]
        if len(points) > 1:
            series[name] = points
    return series and chart.lines("Broker CPU of a delivery by fan-out, batches of 64",
                                  "subscribers, a connection each (logarithmic)",
                                  "microseconds a delivery (logarithmic)", series) or None


def unbatched(figures):
    rate = of_systems(figures, "V/acked-64", "per_cpu_s")
    return rate and chart.bars("Unbatched acknowledged publishes, 256 B, 64 in flight",
                               "publishes a broker-CPU-second; right is better",
                               list(rate.items())) or None


ALL = {"delivery-cost": delivery_cost, "latency": latency, "flatness": flatness,
       "unbatched": unbatched}
