"""A few of the schedules that `make faults` plays by the hundred, and that the checker sees each way to be wrong."""

from pathlib import Path

import pytest

from faults.check import Verdict, add
from faults.run import play_all


@pytest.mark.real
@pytest.mark.slow
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
