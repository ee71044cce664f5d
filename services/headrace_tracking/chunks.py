"""Chunks: the points of one series as they lie in PostgreSQL, in one order, compressed; and that order itself.

Points are ordered by (time, step, value), NaN taken as 0, bits last: so that every point has its place.
A chunk's bytes (layout 1) are its step deltas, time deltas and values, 8 bytes each, little-endian, as `planes` of
bytes: mostly zeros, of which zstd makes nothing. On a noisy loss curve this takes 7.6 bytes a point where plain columns take 10, and compresses in a sixth of the time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from headrace_tracking import bins, planes
from headrace_tracking.bins import Levels
from headrace_tracking.columns import BadColumns, Columns, Ints, Zstd, bits
from headrace_tracking.segments import Segments, starts_of

MOST_POINTS: Final = 10_000
"""In a chunk: large enough that rows do not rule, small enough to be read for one page."""

LEAST_BINNED: Final = 2048
"""Points of a chunk that keeps bins: a smaller one is read as soon as its bins are, and there are many such to write."""


class Bounds(NamedTuple):
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


class Chunk(NamedTuple):
    """Points of one series in their order."""

    points: int
    least_step: int
    greatest_step: int
    bounds: Bounds
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
    return Segments.of([columns]).ordered().points


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


def count_before(columns: Columns, time_ms: int, step: int) -> int:
    """How many of ordered points come before this time and step."""
    earlier = int(np.searchsorted(columns.times, time_ms))
    same = columns.steps[earlier : np.searchsorted(columns.times, time_ms, "right")]
    return earlier + int((same < step).sum())


def cut(series: Segments, zstd: Zstd, most_points: int = MOST_POINTS) -> Iterator[tuple[int, Chunk]]:
    """Chunks of ordered points, and the number of the series of each."""
    owners, parts = series.cut(most_points)
    split = planes.split(_deltas(parts))
    ends = zip(parts.starts.tolist(), parts.stops.tolist(), strict=True)
    packed = zstd.compress_all([split[:, :, start:stop].tobytes() for start, stop in ends])
    return zip(owners.tolist(), _chunks(parts, packed, repeat(None), zstd), strict=True)


def archived(
    columns: Columns, zstd: Zstd, archive_id: UUID, row_group: int, most_points: int = MOST_POINTS
) -> Iterator[Chunk]:
    """Chunks of ordered points, all that this row group has."""
    _, parts = Segments.of([columns]).cut(most_points)
    places = (Place(archive_id, row_group, start) for start in parts.starts.tolist())
    return _chunks(parts, repeat(b""), places, zstd)


def _chunks(parts: Segments, data: Iterable[bytes], places: Iterable[Place | None], zstd: Zstd) -> Iterator[Chunk]:
    if not len(parts):
        return
    steps, starts = parts.points.steps, parts.starts
    least, greatest = np.minimum.reduceat(steps, starts), np.maximum.reduceat(steps, starts)
    columns = (parts.sizes, least, greatest)
    facts = (*(column.tolist() for column in columns), bounds(parts), data, *_bins(parts, zstd), places)
    yield from map(Chunk._make, zip(*facts))  # noqa: B905 - two may be endless


def _bins(parts: Segments, zstd: Zstd) -> tuple[list[Levels | None], list[Levels | None]]:
    """Of each part, by steps and by times."""
    sizes, points = parts.sizes, parts.points
    large = sizes >= LEAST_BINNED
    if not large.any():
        return [None] * len(parts), [None] * len(parts)
    if not large.all():
        points = points[np.repeat(large, sizes)]
    starts = starts_of(sizes[large])

    def along(axis: Ints) -> list[Levels | None]:
        found = iter(bins.levels(axis, points.values, starts, zstd))
        return [next(found) if one else None for one in large.tolist()]

    return along(points.steps), along(points.times)


def bounds(parts: Segments) -> Iterator[Bounds]:
    """Of each one's ordered points."""
    times, steps, first, last = parts.points.times, parts.points.steps, parts.starts, parts.stops - 1
    columns = (times[first], steps[first], times[last], steps[last])
    return map(Bounds, *(column.tolist() for column in columns))


def unpack(points: int, data: bytes, zstd: Zstd) -> Columns:
    """The points of a chunk. Raises BadColumns when the bytes are not those that were stored."""
    raw = zstd.decompress(data, points * 24)
    if len(raw) != points * 24:
        raise BadColumns(f"holds {len(raw)} bytes, where {points} points have {points * 24}")
    block = planes.joined(raw, 3)
    return Columns(np.cumsum(block[0]), np.cumsum(block[1]), block[2].astype(np.int64, copy=False).view(np.float64))


def _deltas(parts: Segments) -> NDArray[np.int64]:
    """Three rows: steps and times of each less those before, of each part's first less nothing; values' bits."""
    points, starts = parts.points, parts.starts
    block = np.empty((3, len(points)), "<i8")
    for row, column in zip(block, (points.steps, points.times), strict=False):
        row[1:] = column[1:] - column[:-1]
        row[starts] = column[starts]
    block[2] = bits(points)
    return block


def _rows(columns: Columns) -> NDArray[np.void]:
    table = np.column_stack((columns.times, columns.steps, bits(columns)))
    return table.view([("time", np.int64), ("step", np.int64), ("bits", np.int64)]).reshape(-1)
