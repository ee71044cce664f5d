"""Packs points into frames, column by column. No I/O."""

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import sub
from typing import Final

from headrace.api.tracking.v1.metrics_pb2 import Frame, MetricColumns, SeriesHeader

Point = tuple[str, float, int, int]
"""Key, value, step, milliseconds since 1970-01-01 UTC."""

FAR: Final = 1 << 62
"""Steps and times lie between -FAR and FAR, so that the difference of any two is a 64-bit number."""

_KEY: Final = re.compile(r"[/\w.\- :]{1,250}")
_SEQ_BYTES: Final = 11  # tag and value of Frame.seq at its longest: it is set after the size was checked


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest frame that may be made."""

    points: int
    size_bytes: int


def key_problem(key: object) -> str:
    """What is wrong with the key of a series; empty where nothing is. The server's rule, which is MLflow's."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return f'{str(key)[:80]!r} is no key: 1 to 250 characters of letters, digits, "_", "-", ".", " ", ":" and "/"'
    if posixpath.normpath(key) != key or key.startswith(("/", "..")) or key == ".":
        return f'{key[:80]!r} is no key: no "/" or ".." at its beginning, no "/" at its end, no "//", "/./" or "/../"'
    return ""


def make_frames(points: Sequence[Point], limits: Limits, refuse: Callable[[str, int], None]) -> Iterator[Frame]:
    """Frames without seq that hold all points, each series in the order given.

    Points under a key that the server would refuse are left out and told by `refuse(problem, how many)`: in a frame,
    they would take all its other points with them.
    """
    for start in range(0, len(points), limits.points):
        yield from _fitting(_with_good_keys(points[start : start + limits.points], refuse), limits.size_bytes)


def points_of(frame: Frame) -> int:
    """How many points a frame holds."""
    return sum(series.count for series in frame.series)


def _with_good_keys(points: Sequence[Point], refuse: Callable[[str, int], None]) -> Sequence[Point]:
    bad = {key: problem for key in {point[0] for point in points} if (problem := key_problem(key))}
    for key, problem in bad.items():
        refuse(problem, sum(point[0] == key for point in points))
    return [point for point in points if point[0] not in bad] if bad else points


def _fitting(points: Sequence[Point], most_bytes: int) -> Iterator[Frame]:
    if not points:
        return
    frame = _pack(points)
    if len(points) == 1 or frame.ByteSize() + _SEQ_BYTES <= most_bytes:
        yield frame
        return
    half = len(points) // 2
    yield from _fitting(points[:half], most_bytes)
    yield from _fitting(points[half:], most_bytes)


def _pack(points: Sequence[Point]) -> Frame:
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point[0], []).append(point)
    _, values, steps, times = zip(*chain.from_iterable(series.values()), strict=True)
    columns = MetricColumns(step_deltas=_deltas(steps), time_deltas=_deltas(times), values=values)
    headers = [SeriesHeader(key=key, count=len(of_key)) for key, of_key in series.items()]
    return Frame(series=headers, columns=columns.SerializeToString())


def _deltas(column: Sequence[int]) -> Iterator[int]:
    """Each item less the one before, the first less 0."""
    return map(sub, column, chain((0,), column))
