"""Packs points into frames, column by column. No I/O."""

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat
from operator import mul
from typing import Final, TypeVar

from headrace.api.tracking.v1.metrics_pb2 import Frame, SeriesHeader
from headrace.ingest.columns import FAR as FAR  # noqa: PLC0414 - a limit of the points below too
from headrace.ingest.columns import Block
from headrace.ingest.packing import packed

N = TypeVar("N", int, float)

_KEY: Final = re.compile(r"[/\w.\- :]{1,250}")
_SEQ_BYTES: Final = 11  # tag and value of Frame.seq at its longest: it is set after the size was checked


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest frame that may be made."""

    points: int
    size_bytes: int


@lru_cache(maxsize=4096)  # asked for each key of each frame, and the answer is always the same
def key_problem(key: object) -> str:
    """What is wrong with the key of a series; empty where nothing is. The server's rule, which is MLflow's."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return f'{str(key)[:80]!r} is no key: 1 to 250 characters of letters, digits, "_", "-", ".", " ", ":" and "/"'
    if posixpath.normpath(key) != key or key.startswith(("/", "..")) or key == ".":
        return f'{key[:80]!r} is no key: no "/" or ".." at its beginning, no "/" at its end, no "//", "/./" or "/../"'
    return ""


def make_frames(blocks: Sequence[Block], limits: Limits) -> Iterator[Frame]:
    """Frames without seq that hold all points, each series in the order given.

    The keys must be good, and the blocks together must not have more points than a frame may have.
    """
    yield from _fitting(blocks, limits.size_bytes)


def as_blocks(
    keys: Sequence[str],
    values: Sequence[float],
    steps: Sequence[int],
    seconds: Sequence[float],
    refuse: Callable[[str, int], None],
) -> list[Block]:
    """Single points, given as columns, as a block for each key. Keys that were logged together share steps and times.

    Points under a key that the server would refuse are left out and told by `refuse(problem, how many)`: in a frame,
    they would take all its other points with them.
    """
    blocks: list[Block] = []
    row_steps: Sequence[int] = ()
    row_seconds: Sequence[float] = ()
    times: list[int] = []
    for key, at in _places(keys).items():
        of_values, of_steps, of_seconds = _at(values, at), _at(steps, at), _at(seconds, at)
        if problem := key_problem(key):
            refuse(problem, len(of_values))
            continue
        if of_steps != row_steps:
            row_steps = of_steps
        if of_seconds != row_seconds:
            row_seconds = of_seconds
            times = list(map(int, map(mul, row_seconds, repeat(1000.0))))
        blocks.append(Block(key, of_values, row_steps, times))
    return blocks


def _at(column: Sequence[N], places: slice | list[int]) -> Sequence[N]:
    return column[places] if isinstance(places, slice) else [column[n] for n in places]


def _places(keys: Sequence[str]) -> dict[str, slice] | dict[str, list[int]]:
    """Where each key occurs. A training loop logs the same keys again and again: then every n-th is the same."""
    known = list(dict.fromkeys(keys))
    period = len(known)
    if known and (known * (len(keys) // period + 1))[: len(keys)] == keys:
        return {key: slice(number, None, period) for number, key in enumerate(known)}
    places: dict[str, list[int]] = {key: [] for key in known}
    for number, key in enumerate(keys):
        places[key].append(number)
    return places


def points_of(frame: Frame) -> int:
    """How many points a frame holds."""
    return sum(series.count for series in frame.series)


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
    columns = packed(
        [block.steps for block in in_order], [block.times for block in in_order], [block.values for block in in_order]
    )
    headers = [SeriesHeader(key=key, count=sum(map(len, of_key))) for key, of_key in series.items()]
    return Frame(series=headers, columns=columns)
