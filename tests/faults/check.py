"""Compares what clients noted as acknowledged with what the public API shows. Knows nothing of the code under test.

    python check.py URI SECONDS < names of records

Waits for each record up to so many seconds until what is acknowledged shows, then prints a JSON object, all counts in points.
"""

import json
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from headrace.api.tracking.v1.metrics_pb2 import Frame, MetricColumns
from headrace.client import Client
from headrace.errors import TimedOut
from headrace.records import MetricHistory
from headrace.retry import Policy

SIGNS = {"up": 1, "down": -1, "once": 1}
"""Series → the value of a point by its step."""


@dataclass
class Verdict:
    """What became of one client's points."""

    record: str
    acknowledged: int = 0
    """By the server; or in a spool file whose process is gone, and which was sent since."""
    again: int = 0
    """Of these, sent in calls that were made more than once."""
    spooled: int = 0
    """Of these, by the spool file alone."""
    shown: int = 0
    lost: int = 0
    """Acknowledged, and not shown."""
    doubled: int = 0
    """Shown once more than logged."""
    disordered: int = 0
    """Shown out of order, or though one before it is not."""
    foreign: int = 0
    """Shown with a value that was not logged."""
    dropped: int = 0
    """Given up by the client, by its own account."""


def main(uri: str, seconds: float) -> None:
    """Judges each."""
    with Client(uri, policy=Policy(first_patience_s=seconds, patience_s=seconds)) as client:
        for record in sys.stdin:
            print(json.dumps(asdict(judged(client, Path(record.strip()), time.monotonic() + seconds))), flush=True)


def judged(client: Client, record: Path, until: float) -> Verdict:
    """The verdict on one client; on one that never had a run, that nothing is wrong."""
    run_id, acked, verdict = "", dict.fromkeys(SIGNS, 0), Verdict(record.name)
    for word, *values in read(record):
        if word == "RUN":
            run_id = values[0]
        elif word == "ACKED":
            acked |= dict.fromkeys(("up", "down"), int(values[0]))
        elif word == "ONCE":
            acked["once"], verdict.again = int(values[0]), int(values[1])
        elif word == "SPOOLED":
            verdict.spooled += max(0, int(values[1]) - acked[values[0]])
            acked[values[0]] = max(int(values[1]), acked[values[0]])
        elif word == "DONE":
            verdict.dropped = int(values[0])
    for key, sign in SIGNS.items() if run_id else ():
        found = history(client, run_id, key, until)
        while len(set(found.steps)) < acked[key] and time.monotonic() < until:
            time.sleep(0.1)
            found = history(client, run_id, key, until)
        add(verdict, acked[key], list(found.steps), [sign * value for value in found.values])
    return verdict


def history(client: Client, run_id: str, key: str, until: float) -> MetricHistory:
    """What shows now. Asks again when a call had no answer: that is the fate of one to a service that is frozen."""
    while True:
        try:
            return client.metric_history(run_id, key)
        except TimedOut:
            if time.monotonic() > until:
                raise


def read(record: Path) -> Iterator[list[str]]:
    """Whole lines; a client that was killed may have left half of one."""
    whole = record.read_text().rpartition("\n")[0] if record.exists() else ""
    return (line.split() for line in whole.splitlines())


def add(verdict: Verdict, acked: int, steps: list[int], values: list[float]) -> None:
    """Adds what is found of one series."""
    shown = set(steps)
    verdict.acknowledged += acked
    verdict.shown += len(steps)
    verdict.lost += len(set(range(acked)) - shown)
    verdict.doubled += len(steps) - len(shown)
    verdict.foreign += sum(value != step for step, value in zip(steps, values, strict=True))
    first_missing = next(step for step in range(len(steps) + 1) if step not in shown)
    verdict.disordered += sum(step > first_missing for step in shown)
    verdict.disordered += sum(after < before for before, after in pairwise(steps))


def spooled(file: Path) -> dict[str, int]:
    """Series → how many of its first points are acknowledged or in this spool file, as docs/durability.md promises."""
    ends: dict[str, int] = {}
    data, at = file.read_bytes(), 8
    frames: list[Frame] = []
    while len(payload := data[at + 8 :]) and len(head := data[at : at + 8]) == 8:
        length, crc = struct.unpack("<II", head)
        if length > len(payload) or zlib.crc32(payload[:length]) != crc:
            break
        frames += [Frame.FromString(payload[:length])] if at > 8 else []  # the first record says whose they are
        at += 8 + length
    for frame in frames:
        steps = list(accumulate(MetricColumns.FromString(frame.columns).step_deltas))
        for series, last in zip(frame.series, accumulate(series.count for series in frame.series), strict=True):
            ends[series.key] = steps[last - 1] + 1
    return ends


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
