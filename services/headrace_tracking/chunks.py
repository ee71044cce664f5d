"""Chunks: the points of one series as they lie in PostgreSQL, in one order, compressed; and that order itself.

Points are ordered by (time, step, value), NaN taken as 0, bits last: so that every point has its place.
A chunk's bytes (layout 1) are its step deltas, time deltas and values, 8 bytes each, little-endian, rearranged so that
the lowest bytes of all numbers come first, then the next: mostly zeros, of which zstd makes nothing. On a noisy loss curve
this takes 7.6 bytes a point where plain columns take 10, and compresses in a sixth of the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from headrace_tracking import bins
from headrace_tracking.bins import Levels
from headrace_tracking.columns import BadColumns, Columns, Ints, Zstd

MOST_POINTS: Final = 10_000
"""In a chunk: large enough that rows do not rule, small enough to be read for one page."""

LEAST_BINNED: Final = 2048
"""Points of a chunk that keeps bins: a smaller one is read as soon as its bins are, and there are many such to write."""

_FEW: Final = 256  # of them Python finds the least sooner than numpy


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where ordered points begin and end; by them chunks are found."""

    first_time_ms: int
    first_step: int
    last_time_ms: int
    last_step: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an archive has the points of a chunk: so many rows of a row group, from this one on."""

    archive_id: UUID
    row_group: int
    first_row: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Points of one series in their order."""

    points: int
    bounds: Bounds
    least_step: int
    greatest_step: int
    data: bytes
    """Empty when an archive has the points."""
    step_bins: Levels | None
    """None for few points, as `time_bins`, and where steps go back."""
    time_bins: Levels | None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What a row of `metric_chunks` says of its bytes; `archives.columns_of` makes points of it."""

    points: int
    data: bytes | None
    """None when an archive has them, which the others then name."""
    archive_id: UUID | None
    row_group: int | None
    first_row: int | None


def ordered(columns: Columns) -> Columns:
    """The points in their order."""
    times, steps = columns.times, columns.steps
    rising = (times[1:] > times[:-1]) | ((times[1:] == times[:-1]) & (steps[1:] > steps[:-1]))
    if rising.all():
        return columns
    return columns[np.lexsort((bits(columns), rank(columns), steps, times))]


def rank(columns: Columns) -> NDArray[np.float64]:
    """The values as they compete: NaN as 0, as MLflow has it."""
    return np.where(np.isnan(columns.values), 0.0, columns.values)


def bits(columns: Columns) -> Ints:
    """The values' bits."""
    return columns.values.view(np.int64)


def without_repeats(columns: Columns) -> Columns:
    """Ordered points, of equal ones (to the bit) only the first."""
    kept = np.ones(len(columns), np.bool_)
    kept[1:] = (
        (columns.times[1:] != columns.times[:-1])
        | (columns.steps[1:] != columns.steps[:-1])
        | (bits(columns)[1:] != bits(columns)[:-1])
    )
    return columns[kept]


def absent(columns: Columns, present: Columns) -> Columns:
    """The points that are not (to the bit) among the others."""
    return columns[~np.isin(_rows(columns), _rows(present))]


def latest(columns: Columns) -> int:
    """The index of the latest point: the greatest by (step, time, value), NaN taken as 0. Needs at least one point."""
    top = np.flatnonzero(columns.steps == columns.steps.max())
    if len(top) > 1:
        top = top[columns.times[top] == columns.times[top].max()]
    if len(top) > 1:
        top = top[[np.argmax(rank(columns[top]))]]
    return int(top[0])


def count_before(columns: Columns, time_ms: int, step: int) -> int:
    """How many of ordered points come before this time and step."""
    earlier = int(np.searchsorted(columns.times, time_ms))
    same = columns.steps[earlier : np.searchsorted(columns.times, time_ms, "right")]
    return earlier + int((same < step).sum())


def extremes(columns: Columns) -> tuple[float | None, float | None]:
    """The least and the greatest value, NaN left out; None where nothing else is left. Needs at least one point."""
    least = np.fmin.reduce(columns.values).item()
    return (None, None) if isnan(least) else (least, np.fmax.reduce(columns.values).item())


def cut(columns: Columns, zstd: Zstd, most_points: int = MOST_POINTS) -> Iterator[Chunk]:
    """Chunks of ordered points."""
    for part in _parts(columns, most_points):
        yield _chunk(part, zstd, _pack(part, zstd), None)


def archived(
    columns: Columns, zstd: Zstd, archive_id: UUID, row_group: int, most_points: int = MOST_POINTS
) -> Iterator[Chunk]:
    """Chunks of ordered points, all that this row group has."""
    first_row = 0
    for part in _parts(columns, most_points):
        yield _chunk(part, zstd, b"", Place(archive_id, row_group, first_row))
        first_row += len(part)


def _chunk(part: Columns, zstd: Zstd, data: bytes, place: Place | None) -> Chunk:
    binned = len(part) >= LEAST_BINNED
    return Chunk(
        len(part),
        bounds(part),
        *extent(part.steps),
        data=data,
        step_bins=bins.levels(part.steps, part.values, zstd) if binned else None,
        time_bins=bins.levels(part.times, part.values, zstd) if binned else None,
        place=place,
    )


def _parts(columns: Columns, most_points: int) -> Iterator[Columns]:
    for start in range(0, len(columns), most_points):
        yield columns[start : start + most_points]


def bounds(columns: Columns) -> Bounds:
    """Of ordered points, at least one."""
    times, steps = columns.times, columns.steps
    return Bounds(int(times[0]), int(steps[0]), int(times[-1]), int(steps[-1]))


def extent(numbers: Ints) -> tuple[int, int]:
    """The least and the greatest, of at least one."""
    if len(numbers) <= _FEW:
        few = numbers.tolist()
        return min(few), max(few)
    return int(numbers.min()), int(numbers.max())


def unpack(points: int, data: bytes, zstd: Zstd) -> Columns:
    """The points of a chunk. Raises BadColumns when the bytes are not those that were stored."""
    raw = zstd.decompress(data, points * 24)
    if len(raw) != points * 24:
        raise BadColumns(f"holds {len(raw)} bytes, where {points} points have {points * 24}")
    parts = np.frombuffer(raw, np.uint8).reshape(8, 3 * points)
    numbers = np.empty((3 * points, 8), np.uint8)
    for at in range(8):  # a column at a time: a third of what numpy's own transposing takes
        numbers[:, at] = parts[at]
    block = numbers.view("<i8").reshape(3, points)
    return Columns(np.cumsum(block[0]), np.cumsum(block[1]), block[2].astype(np.int64, copy=False).view(np.float64))


def _pack(columns: Columns, zstd: Zstd) -> bytes:
    block = np.empty((3, len(columns)), "<i8")
    block[0], block[1], block[2] = columns.steps, columns.times, bits(columns)
    block[:2, 1:] -= block[:2, :-1].copy()
    return zstd.compress(block.reshape(-1).view(np.uint8).reshape(-1, 8).T.tobytes())


def _rows(columns: Columns) -> NDArray[np.void]:
    table = np.column_stack((columns.times, columns.steps, bits(columns)))
    return table.view([("time", np.int64), ("step", np.int64), ("bits", np.int64)]).reshape(-1)
