# SPDX-License-Identifier: Apache-2.0
"""The grid: which crossings of payload, fan-out, batch, acknowledgement and publishers are rows.

All of them would be 384; what a crossing says that its neighbours do not is what counts. So there is
one plane for each question:

- payload x batch x acknowledgement, at fan-out 1 and one publisher: what a message and a byte cost;
- payload x fan-out, batches of 64, acknowledged: what a delivery costs;
- fan-out with a message a frame: many small frames to many readers;
- several publishers: whether they get into each other's way.

The goals of P3 to P5 stand beside the rows that they speak of; the floor is the transport alone.
"""
import work
from rows import P4_GOALS, Measure, Row, relay_floor, scaled, text_size

PAYLOADS = (0, 100, 256, 1024, 4096, 16384)
FAN_OUTS = (10, 100, 1000)
FLAGS = ("--max-connections-per-ip", "0")

# How much a run moves, so that it takes about a second: deliveries, by what limits them.
BYTES_A_RUN = 400e6
DELIVERIES_A_RUN = 3e6
FRAMES_A_RUN = 250e3  # a message a frame


def volume(size, fan_out, batch):
    """Messages published in a run; many times what all buffers between the processes hold."""
    deliveries = min(DELIVERIES_A_RUN, BYTES_A_RUN / max(size, 1))
    messages = deliveries / fan_out
    if batch == 1:
        messages = min(messages, FRAMES_A_RUN / max(1, fan_out / 10))
    return int(max(600, messages))


def goal(size, fan_out, batch):
    """CPU-s a million deliveries: what goals P3 and P4 ask of batched publishes."""
    if batch < 64 or size not in P4_GOALS:
        return None
    if fan_out >= 10:
        return P4_GOALS[size]
    return 0.25 if size == 100 else 1.3 * size / 1000


def name_of(size, fan_out, batch, acks, publishers):
    return (f"G/{text_size(size).replace(' ', '')}-x{fan_out}-b{batch}"
            f"{'' if acks == 'batch' else '-noack'}{f'-p{publishers}' if publishers > 1 else ''}")


def row(size, fan_out=1, batch=64, acks="batch", publishers=1, full_only=True):
    window = (1 << 20) if fan_out >= 1000 else None
    count = volume(size, fan_out, batch)

    def run(bench):
        return work.Relay(size, fan_out, scaled(bench, count), batch, acks, publishers, window,
                          ring=bench.scale).run(bench.node)

    what = (f"{text_size(size)}, fan-out {fan_out}, "
            f"{f'batches of {batch}' if batch > 1 else 'a message a frame'}, "
            f"{'acknowledged' if acks == 'batch' else 'not acknowledged'}"
            f"{f', {publishers} publishers' if publishers > 1 else ''}")
    measures = [Measure("cpu_per_million", "CPU-s/M", goal(size, fan_out, batch),
                        relay_floor(size, fan_out)),
                Measure("rate", "/s"), Measure("mb_s", "MB/s"), Measure("pub_cpu_us", "us"),
                Measure("sub_cpu_us", "us")]
    command = (f"bench_pubsub pub --size {size} --batch {batch} --acks {acks}"
               f"{f' --publishers {publishers}' if publishers > 1 else ''}; "
               f"bench_pubsub sub --subs {fan_out}")
    return Row(name_of(size, fan_out, batch, acks, publishers), what, FLAGS, run, measures, command,
               full_only=full_only)


def rows():
    plane = [row(size, batch=batch, acks=acks, full_only=size not in (0, 256))
             for size in PAYLOADS for batch in (64, 1) for acks in ("batch", "none")]
    plane += [row(size, fan_out, full_only=(size, fan_out) != (100, 1000))
              for size in PAYLOADS for fan_out in FAN_OUTS]
    plane += [row(256, fan_out, 1) for fan_out in FAN_OUTS]
    plane += [row(size, fan_out, batch, publishers=4, full_only=(size, fan_out) != (100, 1))
              for size in (100, 1024) for fan_out in (1, 10) for batch in (64, 1)]
    return plane
