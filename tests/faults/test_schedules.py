"""A few of the schedules that `make faults` plays by the hundred, and that the checker sees each way to be wrong."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults.check import Verdict, add, spooled
from faults.judge import WRONG
from faults.run import Play, play_all
from headrace.ingest.columns import Block
from headrace.ingest.frames import Limits, make_frames
from headrace.ingest.spool import Owner, SpoolFile


@pytest.mark.real
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    said: list[str] = []
    totals = play_all(range(1, 9), tmp_path, said.append)
    print("\n".join(said), totals, sep="\n")
    assert not totals.failures
    assert totals.schedules == 8
    assert totals.points["acknowledged"] > 0
    assert totals.points["again"] > 0
    assert totals.points["spooled"] > 0


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([0, 1, 2, 3], {}),
        ([0, 1, 2], {}),
        ([0, 2, 3], {"lost": 1, "disordered": 2}),
        ([0, 1], {"lost": 1}),
        ([0, 1, 1, 2], {"doubled": 1}),
        ([0, 2, 1], {"disordered": 1}),
    ],
)
def test_the_checker_sees_what_is_wrong(steps: list[int], wrong: dict[str, int]) -> None:
    verdict = Verdict("r")
    add(verdict, 3, steps, [float(step) for step in steps])
    found = {name: getattr(verdict, name) for name in ("lost", "doubled", "disordered", "foreign", "dropped")}
    assert {name: count for name, count in found.items() if count} == wrong


def test_the_checker_reads_a_spool_file_up_to_its_torn_end(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, Owner("run", "00" * 16, "grpc://127.0.0.1:1"), 1 << 20)
    for seq in range(1, 5):
        steps = range(5 * seq - 5, 5 * seq)
        blocks = [Block(key, [float(step) for step in steps], steps, [1] * 5) for key in ("up", "down")]
        (frame,) = make_frames(blocks, Limits(10, 1 << 20))
        frame.seq = seq
        file.append(frame)
    file.release()
    assert spooled(file.path) == {"up": 20, "down": 20}
    os.truncate(file.path, file.path.stat().st_size - 1)
    assert spooled(file.path) == {"up": 15, "down": 15}


class Said:
    """A judge that says at each asking how many points of a record do not show."""

    def __init__(self, missing: dict[str, list[int]]) -> None:
        self._missing = missing
        self._open: deque[str] = deque()

    def give(self, records: Iterable[Path]) -> None:
        self._open += [record.name for record in records]

    def verdicts(self, *, wait: bool) -> Iterator[dict[str, Any]]:
        assert wait
        while self._open:
            name = self._open.popleft()
            yield {**dict.fromkeys(WRONG, 0), "record": name, "acknowledged": 10, "lost": self._missing[name].pop(0)}


@pytest.mark.parametrize(("last", "late", "failures"), [(0, 2, 0), (5, 1, 2)])
def test_what_shows_once_the_faults_rest_is_late_and_not_lost(
    tmp_path: Path, last: int, late: int, failures: int
) -> None:
    records = [tmp_path / f"{seed}-0.record" for seed in (1, 2, 3)]
    judge = Said({"1-0.record": [5, 0, 0], "2-0.record": [0, 0], "3-0.record": [5, last, last]})
    place = SimpleNamespace(uri="grpc://127.0.0.1:1", folder=tmp_path, wait_ready=lambda: None)
    with ThreadPoolExecutor(1) as hands:
        play = Play(cast("Any", place), cast("Any", judge), hands, lambda _: None)
        play.play([])  # ends its clients
        for record in records:
            judge.give([record])
            for verdict in judge.verdicts(wait=True):
                play._look_at(verdict)
        play._records = records
        play.finish()
    assert (play.totals.late, len(play.totals.failures)) == (late, failures)
    assert play.totals.points == {"acknowledged": 30, "lost": last, **dict.fromkeys(set(WRONG) - {"lost"}, 0)}
