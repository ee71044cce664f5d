"""What the bench makes of its measurements: turns, CPU seconds, ratios and verdicts."""

import subprocess
import sys

import pytest

from rig import table
from rig.cpu import Meter
from rig.figures import Beside, Figure, Round, in_turn, per_million


def test_contestants_take_turns_and_the_first_comes_last_too() -> None:
    order: list[str] = []

    def contestant(name: str) -> Round:
        order.append(name)
        return Round(1_000, 0.5, {"clients": 0.001})

    found = in_turn({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, 2)
    assert order == ["a", "b", "a", "b", "a"]
    assert [len(found["a"]), len(found["b"])] == [3, 2]
    assert found["a"][0].rate == 2_000
    assert per_million(found["a"]) == {"clients": pytest.approx(1.0)}


def test_cpu_seconds_of_children_count_while_they_run_and_when_they_have_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        meter = Meter({"those": [process.pid], "others": []})
        assert process.stdout is not None
        process.stdout.readline()
        spent = meter.spent()
        process.communicate("\n")
    assert spent["those"] >= 0.25
    assert spent["others"] == 0


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([0.4], "aim"), ([0.7], "floor"), ([1.5], "**below the floor**"), ([0.4, 1.5, 1.6], "**below the floor**")],
)
def test_medians_are_held_against_floor_and_aim(values: list[float], verdict: str) -> None:
    assert Figure("log", "µs", values, 1.0, 0.5, more_is_better=False).verdict == verdict


def test_a_ratio_below_the_wanted_one_is_below_the_floor() -> None:
    figure = Figure("rate", "points/s", [2e6], 1.5e6, 3e6, beside=[Beside("MLflow", [10e3], 150)])
    assert figure.ratio(figure.beside[0]) == pytest.approx(200)
    assert figure.verdict == "floor"
    figure.beside.append(Beside("FastTrackML", [100e3], 40))
    assert figure.verdict == "**below the floor**"
    figure.cpu["Headrace"] = {"clients": 0.5, "Kafka": 0.25}
    text = table.markdown([figure], {"cores": 2})
    assert "MLflow 10.0 k: 200x (wanted 150x); FastTrackML 100.0 k: 20x (wanted 40x)" in text
    assert "| rate | Headrace | 0.75 | clients 0.5, Kafka 0.25 |" in text
