"""Points of many series in one set of columns, a segment each.

What numpy does costs a microsecond and more a call, however few the points are; for all series of a batch in one call,
it costs nanoseconds a point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from headrace_tracking.columns import Columns, Floats, Ints, bits, rank


@dataclass(frozen=True, slots=True)
class Segments:
    """One behind the other, none of them empty."""

    points: Columns
    starts: Ints
    """Where each begins; ascending, the first at 0."""

    @classmethod
    def of(cls, parts: Sequence[Columns]) -> Self:
        """Each part as one, but the empty ones."""
        full = [part for part in parts if len(part)]
        return cls(Columns.joined(full), starts_of(np.array([len(part) for part in full], np.int64)))

    @classmethod
    def joined(cls, one: "Segments", other: "Segments") -> "Segments":
        """Those of the other behind those of the one."""
        if not len(one) or not len(other):
            return one if len(one) else other
        starts = np.concatenate([one.starts, other.starts + len(one.points)])
        return Segments(Columns.joined([one.points, other.points]), starts)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> Columns:
        stop = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.points)
        return self.points[self.starts[number] : stop]

    @property
    def stops(self) -> Ints:
        """Where each ends."""
        return self.starts + self.sizes

    @property
    def sizes(self) -> Ints:
        """How many points each has."""
        return sizes_of(self.starts, len(self.points))

    def ordered(self) -> "Segments":
        """Each in the order of chunks: by (time, step, value), NaN taken as 0, bits last."""
        times, steps = self.points.times, self.points.steps
        rising = np.empty(len(times), np.bool_)
        rising[1:] = (times[1:] > times[:-1]) | ((times[1:] == times[:-1]) & (steps[1:] > steps[:-1]))
        rising[self.starts] = True
        if rising.all():
            return self
        owners = np.repeat(np.arange(len(self)), self.sizes)
        unordered = np.zeros(len(self), np.bool_)
        unordered[owners[~rising]] = True
        at = np.flatnonzero(unordered[owners])
        some = self.points[at]
        order = np.arange(len(times))
        order[at] = at[np.lexsort((bits(some), rank(some), some.steps, some.times, owners[at]))]
        return Segments(self.points[order], self.starts)

    def latest(self) -> Ints:
        """The index of each one's latest point: the greatest by (step, time, value), NaN taken as 0. Needs them in order."""
        steps = self.points.steps
        top = np.flatnonzero(steps == np.repeat(np.maximum.reduceat(steps, self.starts), self.sizes))
        # Of one step, time and value rise.
        return top[np.searchsorted(top, self.stops) - 1]

    def extremes(self) -> tuple[Floats, Floats]:
        """The least and the greatest value of each; NaN where all of them are."""
        values = self.points.values
        return np.fmin.reduceat(values, self.starts), np.fmax.reduceat(values, self.starts)

    def cut(self, most_points: int) -> tuple[Ints, "Segments"]:
        """Each in pieces of so many points, the last of fewer; and whose piece each is."""
        pieces = -(-self.sizes // most_points)
        owners = np.repeat(np.arange(len(self)), pieces)
        within = np.arange(len(owners)) - np.repeat(starts_of(pieces), pieces)
        return owners, Segments(self.points, self.starts[owners] + within * most_points)


def starts_of(sizes: Ints) -> Ints:
    """Where pieces of these sizes begin, one behind the other."""
    return np.cumsum(sizes) - sizes


def sizes_of(starts: Ints, end: int) -> Ints:
    """The sizes of pieces that begin at these starts, the last of which ends there."""
    return np.diff(starts, append=end)
