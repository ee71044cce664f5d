"""Bins: what the points of a series come to, interval by interval of steps or of time; of them charts are made.

The bin `i` of width 2^shift holds the points whose step, or time in milliseconds, shifted right by `shift`, is `i`. So
bins of one width combine to those of any greater one, exactly. A chunk of many points keeps two levels of bins for
either axis (see `levels`): fine ones, compressed, and a few coarse ones, as they are, to be read by the thousand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from headrace_tracking import planes
from headrace_tracking.columns import BadColumns, Floats, Ints, Zstd
from headrace_tracking.segments import sizes_of, starts_of

FINE_POINTS: Final = 64
"""In a fine bin at least, on average. Half as many would take another half byte a point of a noisy curve."""
COARSE_POINTS: Final = 640
"""In a coarse bin at least, on average."""
_NUMBERS: Final = 6  # of a bin: id, count, minimum, maximum, first, last
_BYTES: Final = 8 * _NUMBERS
_MOST_BYTES: Final = 1 << 20  # of a chunk's bins unpacked: far more than a chunk has


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins that hold points, column by column."""

    ids: Ints
    """Ascending, each once; as they are read from chunks, once a chunk."""
    counts: Ints
    values: Floats
    """Four rows: minimum and maximum, NaN when all values are NaN and else not; value of the first and the last point."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Levels:
    """The bins that a chunk keeps for one axis."""

    fine_shift: int
    fine: bytes
    coarse_shift: int
    coarse: bytes


def of_points(axis: Ints, values: Floats, shift: int) -> Bins:
    """Of points in their order; `axis` holds their steps or their times."""
    return _reduced(*_by_id(axis >> shift, None, (values, values, values, values)))


def combined(parts: Sequence[Bins]) -> Bins:
    """Of bins of one width: every point of a part comes before every point of the parts behind it."""
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([part.ids for part in parts] or [np.empty(0, np.int64)])
    counts = np.concatenate([part.counts for part in parts] or [np.empty(0, np.int64)])
    values = np.concatenate([part.values for part in parts] or [np.empty((4, 0))], axis=1)
    return _reduced(*_by_id(ids, counts, values))


def levels(axis: Ints, values: Floats, starts: Ints, zstd: Zstd) -> list[Levels | None]:
    """What the chunks that begin at these starts keep; each needs twice COARSE_POINTS, so that a level may have two bins.

    None where steps go back: then bins do not stand in the order of their points, and which is the first or the last of
    two that are combined is not known.
    """
    sizes = sizes_of(starts, len(axis))
    falls = np.flatnonzero(axis[1:] < axis[:-1]) + 1
    falling = np.unique(np.searchsorted(starts, np.setdiff1d(falls, starts), "right") - 1)
    if len(falling):
        rises = np.ones(len(starts), np.bool_)
        rises[falling] = False
        kept = np.repeat(rises, sizes)
        found = iter(levels(axis[kept], values[kept], starts_of(sizes[rises]), zstd)) if rises.any() else iter(())
        return [next(found) if rising else None for rising in rises.tolist()]
    fine = _level(axis, None, (values, values, values, values), starts, sizes // FINE_POINTS)
    coarse = _level(fine.bins.ids, fine.bins.counts, fine.bins.values, fine.starts, sizes // COARSE_POINTS)
    rows = _table(coarse.bins).T
    return [
        Levels(shift, data, shift + further, rows[part].tobytes())
        for shift, data, further, part in zip(
            fine.shifts.tolist(), _packed(fine, zstd), coarse.shifts.tolist(), coarse.parts(), strict=True
        )
    ]


def narrowest(axis: Ints, most: int) -> int:
    """The least shift that leaves at most `most`, 2 or more, different numbers of rising ones."""
    # Neighbours differ after a shift when a bit differs that is not shifted out: no difference is taken that could
    # exceed 64 bits.
    changes = (axis[1:] ^ axis[:-1]).view(np.uint64)
    changes = changes[changes != 0]  # often there are few: points come in bursts
    if len(changes) < most:
        return 0
    return int(np.partition(changes, len(changes) - most)[len(changes) - most]).bit_length()


def width(first: int, last: int, most: int) -> int:
    """The least shift by which all numbers from first to last, both included, become at most `most`, 2 or more."""
    shift = 0
    while (last >> shift) - (first >> shift) >= most:
        shift += 1
    return shift


def read_fine(data: Sequence[bytes], bases: Sequence[int], zstd: Zstd) -> tuple[Bins, Sequence[int]]:
    """The fine bins of chunks, one chunk after the other, and how many each has.

    `bases` are the ids of each chunk's first bin. Raises BadColumns for damaged bytes.
    """
    raw = [zstd.decompress(one, _MOST_BYTES) for one in data]
    sizes = _sizes(raw)
    table = np.empty((_NUMBERS, sum(sizes), 8), np.uint8)
    at = 0
    for one, size in zip(raw, sizes, strict=True):
        table[:, at : at + size] = np.frombuffer(one, np.uint8).reshape(8, _NUMBERS, size).transpose(1, 2, 0)
        at += size
    numbers = table.view("<i8")[:, :, 0]
    return _of_table(numbers, numbers[0] + np.repeat(np.array(bases, np.int64), sizes)), sizes


def read_coarse(data: Sequence[bytes]) -> tuple[Bins, Sequence[int]]:
    """As `read_fine`, of coarse bins."""
    sizes = _sizes(data)
    numbers = np.frombuffer(b"".join(data), "<i8").reshape(-1, _NUMBERS).T
    return _of_table(numbers, numbers[0].astype(np.int64)), sizes


def widened(found: Bins, own_shifts: Ints, shift: int, first: int, last: int) -> Bins:
    """What lies between first and last (both included), in bins of a shift that is at least their own.

    Needs bins in the order of their points, of which each lies wholly inside or outside.
    """
    starts = found.ids << own_shifts
    inside = ((starts | ~(np.int64(-1) << own_shifts)) >= first) & (starts <= last)
    ids, values = found.ids >> (shift - own_shifts), found.values
    if inside.all():
        return _reduced(*_by_id(ids, found.counts, values))
    return _reduced(*_by_id(ids[inside], found.counts[inside], values[:, inside]))


class _Level(NamedTuple):
    """Bins of many chunks, one behind the other."""

    shifts: Ints
    """Of each chunk."""
    bins: Bins
    starts: Ints
    """Where each chunk's bins begin."""

    def parts(self) -> Iterator[slice]:
        """Where each chunk's bins are."""
        stops = np.append(self.starts[1:], len(self.bins)).tolist()
        return map(slice, self.starts.tolist(), stops)


def _level(axis: Ints, counts: Ints | None, values: Sequence[Floats] | Floats, starts: Ints, most: Ints) -> _Level:
    """Of chunks that begin at these starts, of rising numbers: each with at most so many bins."""
    sizes = sizes_of(starts, len(axis))
    ends = zip(axis[starts].tolist(), axis[starts + sizes - 1].tolist(), most.tolist(), strict=True)
    shifts = np.array([width(first, last, few) for first, last, few in ends], np.int64)
    ids = axis >> np.repeat(shifts, sizes)
    begins = _begins(ids, starts)
    found = np.searchsorted(begins, starts)
    gaps = np.flatnonzero((shifts > 0) & (4 * sizes_of(found, len(begins)) < most))
    if len(gaps):  # looking into them takes as long as the bins themselves
        for chunk in gaps.tolist():
            shifts[chunk] = narrowest(axis[starts[chunk] :][: sizes[chunk]], int(most[chunk]))
        ids = axis >> np.repeat(shifts, sizes)
        begins = _begins(ids, starts)
        found = np.searchsorted(begins, starts)
    return _Level(shifts, _reduced(ids, counts, values, begins), found)


def _sizes(data: Sequence[bytes]) -> list[int]:
    if any(len(one) % _BYTES for one in data):
        raise BadColumns("holds bins that are cut off")
    return [len(one) // _BYTES for one in data]


def _of_table(numbers: Ints, ids: Ints) -> Bins:
    values = np.ascontiguousarray(numbers[2:]).astype(np.int64, copy=False).view(np.float64)
    return Bins(ids, numbers[1].astype(np.int64, copy=False), values)


def _table(bins: Bins) -> Ints:
    table = np.empty((_NUMBERS, len(bins)), "<i8")
    table[0], table[1], table[2:] = bins.ids, bins.counts, bins.values.view(np.int64)
    return table


def _packed(level: _Level, zstd: Zstd) -> list[bytes]:
    """Of each chunk, ids from its first one on."""
    table = _table(level.bins)
    table[0] -= np.repeat(level.bins.ids[level.starts], sizes_of(level.starts, len(level.bins)))
    split = planes.split(table)
    return zstd.compress_all([split[:, :, part].tobytes() for part in level.parts()])


def _by_id(
    ids: Ints, counts: Ints | None, values: Sequence[Floats] | Floats
) -> tuple[Ints, Ints | None, Sequence[Floats] | Floats]:
    """Those of the same id side by side, in the order that they had."""
    if _rises(ids):
        return ids, counts, values
    order = np.argsort(ids, kind="stable")
    return ids[order], None if counts is None else counts[order], [row[order] for row in values]


def _begins(ids: Ints, starts: Ints) -> Ints:
    """Where the bins of rising ids begin: at each start, and wherever the id changes."""
    changes = np.empty(len(ids), np.bool_)
    changes[1:] = ids[1:] != ids[:-1]
    changes[starts] = True
    return np.flatnonzero(changes)


def _reduced(ids: Ints, counts: Ints | None, values: Sequence[Floats] | Floats, begins: Ints | None = None) -> Bins:
    """Of ids that rise between the begins, each once. `counts` None: each counts as one."""
    if not len(ids):
        return Bins(ids, ids, np.empty((4, 0)))
    low, high, first, last = values
    if begins is None:
        begins = _begins(ids, np.zeros(1, np.int64))
    ends = np.append(begins[1:], len(ids))
    # fmin and fmax pass over NaN wherever there is a number, and are slower.
    least, most = (np.fmin, np.fmax) if np.isnan(low).any() else (np.minimum, np.maximum)
    rows = (least.reduceat(low, begins), most.reduceat(high, begins), first[begins], last[ends - 1])
    return Bins(ids[begins], ends - begins if counts is None else np.add.reduceat(counts, begins), np.stack(rows))


def _rises(numbers: Ints) -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())
