# SPDX-License-Identifier: Apache-2.0
"""What got worse, what got better: a pure function of two measurements."""

ALLOWED = 0.05  # of a count that is the same in every run
LIVE_ALLOWED = 2.0  # system calls of a live run: three times as many
# A count this small is a rounding of the round it was taken in: per record.
SLACK = {"instructions": 0.5, "allocations": 0.002, "copied_bytes": 1.0, "mails": 0.002}


class Verdict:
    def __init__(self):
        self.worse = []
        self.notes = []

    def judge(self, what, now, then, allowed, slack):
        if now > then * (1 + allowed) + slack:
            self.worse.append(f"{what}: {now:g}, was {then:g}{percent(now, then)}")
        elif now < then * (1 - allowed) - slack:
            self.notes.append(f"{what}: {now:g}, was {then:g}{percent(now, then)}: better, keep it "
                              "with make bench-check UPDATE=1")


def percent(now, then):
    return f" ({100 * (now - then) / then:+.1f} %)" if then > 0 else ""


def not_compared(now, then):
    """Why instructions cannot be compared; None when they can."""
    if now["made_with"]["valgrind"] is None:
        return "valgrind is not installed (tools/setup installs it)"
    for part, is_now in now["made_with"].items():
        if is_now != then["made_with"][part]:
            return f"the baseline is of {part} {then['made_with'][part]}, this is {is_now}"
    return None


def compare(now, then):
    verdict = Verdict()
    without = not_compared(now, then)
    if without is not None:
        verdict.notes.append(f"INSTRUCTIONS ARE NOT COMPARED: {without}")
    for name in sorted(then["cases"].keys() - now["cases"].keys()):
        verdict.worse.append(f"{name}: is in the baseline and was not measured")
    for name, figures in now["cases"].items():
        if name not in then["cases"]:
            verdict.worse.append(f"{name}: has no baseline; make bench-check UPDATE=1 gives it one")
            continue
        for kind, slack in SLACK.items():
            if kind == "instructions" and without is not None:
                continue
            verdict.judge(f"{name}: {kind} per record", figures[kind], then["cases"][name][kind],
                          ALLOWED, slack)
        like = now["cases"].get(figures["like"])
        for kind, slack in SLACK.items() if like else ():
            if kind in figures and figures[kind] > like[kind] * (1 + ALLOWED) + slack:
                verdict.worse.append(f"{name}: {kind} per record: {figures[kind]:g}, and "
                                     f"{like[kind]:g} without what stands beside it")
    if "live" not in now:
        verdict.notes.append("SYSTEM CALLS ARE NOT COMPARED: strace is not installed (tools/setup "
                             "installs it)")
    for name, calls in now.get("live", {}).items():
        if name not in then["live"]:
            verdict.worse.append(f"{name}: has no baseline; make bench-check UPDATE=1 gives it one")
            continue
        verdict.judge(f"live, {name}: system calls per record", calls, then["live"][name],
                      LIVE_ALLOWED, 0.01)
    return verdict
