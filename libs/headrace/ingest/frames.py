"""Packs points into frames, column by column. No I/O."""

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final

from headrace.api.tracking.v1.metrics_pb2 import Frame, MetricColumns, SeriesHeader
from headrace.ingest.columns import FAR as FAR  # noqa: PLC0414 - a limit of the points below too
from headrace.ingest.columns import Block, deltas, joined

Point = tuple[str, float, int, int]
"""Key, value, step, milliseconds since 1970-01-01 UTC."""

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
        good = _with_good_keys(points[start : start + limits.points], refuse)
        yield from _fitting(_as_blocks(good), limits.size_bytes)


def make_mixed_frames(
    items: Sequence[Point | Block], limits: Limits, refuse: Callable[[str, int], None]
) -> Iterator[Frame]:
    """As `make_frames`, of single points and blocks as they came; the keys of blocks must be good.

    The items together must not have more points than a frame may have.
    """
    blocks: list[Block] = []
    for single, some in groupby(items, key=lambda item: type(item) is tuple):
        if single:
            blocks += _as_blocks(_with_good_keys(list(some), refuse))  # type: ignore[arg-type] # tuples are points
        else:
            blocks += some  # type: ignore[arg-type] # and what is no tuple is a block
    yield from _fitting(blocks, limits.size_bytes)


def points_of(frame: Frame) -> int:
    """How many points a frame holds."""
    return sum(series.count for series in frame.series)


def _with_good_keys(points: Sequence[Point], refuse: Callable[[str, int], None]) -> Sequence[Point]:
    bad = {key: problem for key in {point[0] for point in points} if (problem := key_problem(key))}
    for key, problem in bad.items():
        refuse(problem, sum(point[0] == key for point in points))
    return [point for point in points if point[0] not in bad] if bad else points


def _as_blocks(points: Sequence[Point]) -> list[Block]:
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point[0], []).append(point)
    made = []
    for key, of_key in series.items():
        _, values, steps, times = zip(*of_key, strict=True)
        made.append(Block(key, values, steps, times))
    return made


def _fitting(blocks: Sequence[Block], most_bytes: int) -> Iterator[Frame]:
    if not blocks:
        return
    frame = _pack(blocks)
    if frame.ByteSize() + _SEQ_BYTES <= most_bytes or (len(blocks) == 1 and len(blocks[0]) == 1):
        yield frame
        return
    if len(blocks) > 1:
        parts = blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]
    else:
        half = len(blocks[0]) // 2
        parts = [blocks[0].cut(0, half)], [blocks[0].cut(half, len(blocks[0]))]
    for part in parts:
        yield from _fitting(part, most_bytes)


def _pack(blocks: Sequence[Block]) -> Frame:
    series: dict[str, list[Block]] = {}
    for block in blocks:
        series.setdefault(block.key, []).append(block)
    in_order = tuple(chain.from_iterable(series.values()))
    columns = MetricColumns(
        step_deltas=deltas([block.steps for block in in_order]),
        time_deltas=deltas([block.times for block in in_order]),
        values=joined([block.values for block in in_order]),
    )
    headers = [SeriesHeader(key=key, count=sum(map(len, of_key))) for key, of_key in series.items()]
    return Frame(series=headers, columns=columns.SerializeToString())
