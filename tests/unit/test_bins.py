"""Bins: the fewest bits are shifted out, and what is combined is what the points themselves say."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_metrics import Point, columns_of
from headrace_tracking import bins, chunks
from headrace_tracking.columns import Zstd
from headrace_tracking.segments import Segments

FAR = 2**63
NUMBERS = st.one_of(st.integers(-5, 60), st.integers(-FAR, FAR - 1), st.sampled_from([-FAR, -1, 0, FAR - 1]))
VALUES = st.sampled_from([0.0, 1.5, -2.0, math.nan, math.inf, -math.inf])


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=40), st.integers(2, 8))
def test_the_narrowest_bins_that_are_few_enough(numbers: list[int], most: int) -> None:
    def few(shift: int) -> bool:
        return len({number >> shift for number in numbers}) <= most

    shift = bins.narrowest(np.array(sorted(numbers), np.int64), most)
    assert few(shift)
    assert not shift or not few(shift - 1)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, VALUES), min_size=1, max_size=40), st.integers(0, 63), st.integers(0, 63))
def test_bins_of_bins_are_bins_of_points(points: list[tuple[int, float]], one: int, other: int) -> None:
    own, shift = sorted((one, other))
    axis = np.array(sorted(number for number, _ in points), np.int64)
    values = np.array([value for _, value in points])
    fine = bins.of_points(axis, values, own)
    found = bins.widened(fine, np.full(len(fine), own), shift, -FAR, FAR - 1)
    expected = bins.of_points(axis, values, shift)
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.counts.tolist() == expected.counts.tolist()
    assert np.array_equal(found.values, expected.values, equal_nan=True)


def test_levels_are_kept_of_large_chunks_whose_steps_do_not_go_back() -> None:
    zstd = Zstd()

    def chunk(points: list[Point]) -> chunks.Chunk:
        [(_, made)] = chunks.cut(Segments.of([columns_of(points)]), zstd)
        return made

    few = chunk([(i, i, 1.0) for i in range(chunks.LEAST_BINNED - 1)])
    assert (few.step_bins, few.time_bins, few.least_step, few.greatest_step) == (None, None, 0, 2046)
    back = chunk([(i, -i, 1.0) for i in range(3000)])
    assert (back.step_bins, back.least_step, back.greatest_step) == (None, -2999, 0)
    assert back.time_bins is not None
    full = chunk([(i, i * 2, 1.0) for i in range(10_000)])
    assert full.step_bins is not None
    assert (full.step_bins.fine_shift, full.step_bins.coarse_shift) == (8, 11)
    # A gap in the middle of a chunk does not make all its bins wide.
    gap = chunk([(i + (i > 5000) * 10**9, i, 1.0) for i in range(10_000)])
    assert gap.time_bins is not None
    assert gap.time_bins.fine_shift <= 8
