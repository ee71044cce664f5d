"""A few of the schedules that `make faults` plays by the hundred, and that the checker sees each way to be wrong."""

import os
from pathlib import Path

import pytest

from faults.check import Verdict, add, spooled
from faults.run import play_all
from headrace.ingest.columns import Block
from headrace.ingest.frames import Limits, make_frames
from headrace.ingest.spool import Owner, SpoolFile


@pytest.mark.real
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    said: list[str] = []
    totals = play_all(range(1, 26), tmp_path, said.append)
    print("\n".join(said), totals, sep="\n")
    assert not totals.failures
    assert totals.schedules == 25
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
