"""Compares what clients noted as acknowledged with what the public API shows. Knows nothing of the code under test.

    python check.py URI SECONDS RECORD...

Waits up to so many seconds until what is acknowledged shows. Prints a JSON object a record, all counts in points.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from headrace.client import Client
from headrace.retry import Policy

SERIES = (("up", 1), ("down", -1))


@dataclass
class Verdict:
    """What became of one client's points."""

    record: str
    acknowledged: int = 0
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


def main(uri: str, seconds: float, records: list[str]) -> None:
    """Judges each."""
    until = time.monotonic() + seconds
    with Client(uri, policy=Policy(first_patience_s=seconds, patience_s=seconds)) as client:
        for record in records:
            print(json.dumps(asdict(judged(client, Path(record), until))), flush=True)


def judged(client: Client, record: Path, until: float) -> Verdict:
    """The verdict on one client; on one that never had a run, that nothing is wrong."""
    run_id, acked, verdict = "", 0, Verdict(record.name)
    for word, *values in read(record):
        if word == "RUN":
            run_id = values[0]
        elif word == "ACKED":
            acked = int(values[0])
        elif word == "DONE":
            verdict.dropped = int(values[1])
    for key, sign in SERIES if run_id else ():
        found = client.metric_history(run_id, key)
        while len(set(found.steps)) < acked and time.monotonic() < until:
            time.sleep(0.1)
            found = client.metric_history(run_id, key)
        add(verdict, acked, list(found.steps), [sign * value for value in found.values])
    return verdict


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


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
