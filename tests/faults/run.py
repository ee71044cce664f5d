"""Plays seeded schedules of faults under load, and counts: points acknowledged, lost, doubled. `make faults` runs it.

    python tests/faults/run.py --count 500 --seed 1

Every schedule is made from its seed alone: `--seed S --count 1` plays schedule S again.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from faults.place import Client, Died, Place, Process, check, open_place
from faults.schedule import Fault, draw

CLIENTS: Final = 3
_TOGETHER: Final = 5  # schedules that are judged at a time: a group without a member takes six seconds to notice
_SHOWN_S: Final = 90.0
_WRONG: Final = ("lost", "doubled", "disordered", "foreign", "dropped")


@dataclass
class Totals:
    """What came out."""

    schedules: int = 0
    points: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        points = self.points
        return (
            f"schedules: {self.schedules}, points acknowledged: {points['acknowledged']:,},"
            f" lost: {points['lost']:,}, doubled: {points['doubled']:,}, out of order: {points['disordered']:,},"
            f" failures: {len(self.failures)}"
        )


def play_all(first_seed: int, count: int, folder: Path, say: Callable[[str], None] = print) -> Totals:
    """Plays `count` schedules on one place; says every failing seed with its schedule."""
    totals = Totals()
    with open_place(folder) as place:
        records: list[Path] = []
        for seed in range(first_seed, first_seed + count):
            began = time.monotonic()
            records += _play_one(place, seed, totals, say)
            totals.schedules += 1
            say(f"seed {seed}, {time.monotonic() - began:.1f} s: {'; '.join(map(str, draw(seed)))}")
            if totals.schedules % _TOGETHER == 0 or totals.schedules == count:
                _judge(place, records[-_TOGETHER * CLIENTS :], totals, say)
        # A frame that was written a second time may come late.
        again = Totals()
        _judge(place, records, again, say)
        totals.points, totals.failures = again.points, totals.failures + again.failures
    return totals


def _play_one(place: Place, seed: int, totals: Totals, say: Callable[[str], None]) -> list[Path]:
    clients = [Client(place.uri, place.folder / f"{seed}-{n}.record", seed * CLIENTS + n) for n in range(CLIENTS)]
    faults = draw(seed)
    try:
        for client in clients:
            client.wait_ready()
        _do(faults, {**place.processes, "client": clients[0]})
        place.wait_ready()
        for client in clients:
            client.finish()
    except Died as death:
        _fail(seed, f"ended by itself: {death}", totals, say)
        place.wait_ready()
    finally:
        for client in clients:
            client.kill()
    return [client.record for client in clients]


def _do(faults: list[Fault], processes: dict[str, Process]) -> None:
    began = time.monotonic()
    steps: list[tuple[float, Callable[[], None]]] = []
    for fault in faults:
        process = processes[fault.target]
        begin, end = (process.kill, process.launch) if fault.kind == "kill" else (process.pause, process.resume)
        steps += [(fault.at_s, begin), (fault.at_s + fault.for_s, end)]
    for at_s, step in sorted(steps, key=lambda step: step[0]):
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        step()


def _judge(place: Place, records: list[Path], totals: Totals, say: Callable[[str], None]) -> None:
    for verdict in check(place, records, _SHOWN_S):
        totals.points.update({name: n for name, n in verdict.items() if isinstance(n, int)})
        if any(verdict[name] for name in _WRONG):
            _fail(int(verdict["record"].split("-")[0]), str(verdict), totals, say)


def _fail(seed: int, how: str, totals: Totals, say: Callable[[str], None]) -> None:
    totals.failures.append(f"seed {seed} ({'; '.join(map(str, draw(seed)))}): {how}")
    say(totals.failures[-1])


def main() -> None:
    """For `make faults`; exit code 1 when a schedule failed, and then the logs stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headrace-faults-"))
    totals = play_all(asked.seed, asked.count, folder, lambda line: print(line, flush=True))
    print(totals)
    if totals.failures:
        sys.exit(f"logs and records are in {folder}; play a seed again with: make faults SEED=<seed> COUNT=1")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
