"""Charts as numpy has them, and the charts that a whole history says."""

import math
from collections.abc import Sequence

import numpy as np

from fix_metrics import Point
from headrace.api.tracking.v1 import tracking_service_pb2 as pb

Row = tuple[int, int, str, str, str, str]
"""(start, count, minimum, maximum, first, last), values as texts: NaN equals itself, and 0.0 does not tell its sign."""


def rows(chart: pb.MetricChart) -> list[Row]:
    integers = (np.frombuffer(data, "<i8").tolist() for data in (chart.starts, chart.counts))
    doubles = (
        map(_text, np.frombuffer(data, "<f8").tolist())
        for data in (chart.minimums, chart.maximums, chart.firsts, chart.lasts)
    )
    return list(zip(*integers, *doubles, strict=True))


def within(points: Sequence[Point], axis: str, start: int | None, end: int | None) -> list[Point]:
    return [p for p in points if (start is None or _on(axis, p) >= start) and (end is None or _on(axis, p) < end)]


def naive(points: Sequence[Point], axis: str, width: int) -> list[Row]:
    """Made from one point after the other, in the order of the history."""
    buckets: dict[int, list[float]] = {}
    for point in points:
        buckets.setdefault(_on(axis, point) // width * width, []).append(point[2])
    return [_row(begin, values) for begin, values in sorted(buckets.items())]


def narrowest(points: Sequence[Point], axis: str, start: int | None, end: int | None, pixels: int) -> int:
    """The width that a chart of these pixels has."""
    numbers = [_on(axis, point) for point in points]
    first = min(numbers) if start is None else max(start, min(numbers))
    last = max(numbers) if end is None else min(end - 1, max(numbers))
    width = 1
    while last // width - first // width + 1 > 2 * pixels:
        width *= 2
    return width


def _row(begin: int, values: Sequence[float]) -> Row:
    numbers = [value for value in values if not math.isnan(value)] or values
    return (begin, len(values), *map(_text, (min(numbers), max(numbers), values[0], values[-1])))  # type: ignore[return-value] # four texts


def _text(value: float) -> str:
    return str(value + 0.0)


def _on(axis: str, point: Point) -> int:
    return point[1] if axis == "step" else point[0]
