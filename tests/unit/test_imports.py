"""Checksums and differences of points: whatever the order, and to the bit."""

import math
import random
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.imports import checksum
from headrace.imports.checksum import Total
from headrace.imports.points import Points, each_once, lacking
from headrace.imports.seen import Seen
from headrace.records import MetricHistory

INT64 = st.integers(-(2**62) + 1, 2**62 - 1)
POINT = st.tuples(
    st.integers(-3, 3) | INT64, st.integers(-3, 3) | INT64, st.sampled_from([0.0, -0.0, math.nan, 1.5]) | st.floats()
)
SERIES = st.lists(POINT, max_size=30)


def points(rows: list[tuple[int, int, float]]) -> Points:
    history = MetricHistory("k")
    for step, time, value in rows:
        history.steps.append(step)
        history.times_ms.append(time)
        history.values.append(value)
    return Points.of(history)


def bits(found: Points) -> list[tuple[int, int, int]]:
    return list(zip(found.steps.tolist(), found.times.tolist(), found.values.view(np.int64).tolist(), strict=True))


@given(SERIES, st.randoms())
def test_the_order_of_points_does_not_matter(rows: list[tuple[int, int, float]], draw: random.Random) -> None:
    total = checksum.of_points("r", "k", points(rows))
    mixed = list(rows)
    draw.shuffle(mixed)
    cut = len(mixed) // 2
    parts = checksum.of_points("r", "k", points(mixed[:cut])) + checksum.of_points("r", "k", points(mixed[cut:]))
    assert parts == total
    assert total.count == len(rows)


@given(SERIES, POINT)
def test_another_point_is_another_checksum(rows: list[tuple[int, int, float]], other: tuple[int, int, float]) -> None:
    total = checksum.of_points("r", "k", points([*rows, other]))
    step, time, value = other
    changed = [(step + 1, time, value), (step, time - 1, value), (step, time, 2.5 if value != 2.5 else 3.5)]
    for one in changed:
        assert checksum.of_points("r", "k", points([*rows, one])) != total
    assert checksum.of_points("r", "l", points([*rows, other])) != total
    assert checksum.of_points("s", "k", points([*rows, other])) != total
    assert checksum.of_points("r", "k", points(rows)) != total


@given(SERIES, SERIES)
def test_what_is_lacking_makes_both_sides_the_same(
    wanted: list[tuple[int, int, float]], present: list[tuple[int, int, float]]
) -> None:
    source, target = each_once(points(wanted)), each_once(points(present))
    sent = lacking(source, target)
    assert set(bits(sent)) == set(bits(source)) - set(bits(target))
    assert len(bits(sent)) == len(set(bits(sent)))
    assert len(lacking(source, Points.joined([target, sent]))) == 0


@given(SERIES)
def test_each_once_is_a_set_in_order(rows: list[tuple[int, int, float]]) -> None:
    found = bits(each_once(points(rows)))
    assert set(found) == set(bits(points(rows)))
    assert [(time, step) for step, time, _ in found] == sorted((time, step) for step, time, _ in found)
    assert len(found) == len(set(found))


@given(st.lists(st.tuples(st.text(), st.text()), max_size=8), st.randoms())
def test_rows_are_told_apart(rows: list[tuple[str, str]], draw: random.Random) -> None:
    total = checksum.total(checksum.row(*row) for row in rows)
    mixed = list(rows)
    draw.shuffle(mixed)
    assert checksum.total(checksum.row(*row) for row in mixed) == total
    assert checksum.row("ab", "c") != checksum.row("a", "bc")
    assert checksum.row("1") != checksum.row(1)
    assert checksum.row(None) != checksum.row("None")


def test_what_was_seen_is_kept_and_may_be_lost(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    seen = Seen(file)
    seen.add("run a", "mark", {"points": Total(3, 2**127 + 5, 7)})
    seen.add("run b", "", {"points": Total(1)})
    seen.save()
    again = Seen(file)
    assert again.totals("run a", "mark") == {"points": Total(3, 2**127 + 5, 7)}
    assert again.totals("run a", "other") is None
    assert again.totals("run b", "") is None
    file.write_text("{")
    assert Seen(file).totals("run a", "mark") is None
