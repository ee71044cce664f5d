"""Points of one series as arrays: in order, each once, and what one side has and the other lacks. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.records import MetricHistory

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Points:
    """Columns of the same length."""

    steps: Ints
    times: Ints
    """Milliseconds since 1970-01-01 UTC."""
    values: Floats

    @classmethod
    def of(cls, history: MetricHistory) -> "Points":
        """Without copying, unless there are NaN: they are all made the same."""
        values = np.asarray(history.values)
        if (odd := np.isnan(values)).any():
            values = np.where(odd, np.nan, values)
        return cls(np.asarray(history.steps), np.asarray(history.times_ms), values)

    @classmethod
    def joined(cls, parts: "Sequence[Points]") -> "Points":
        """One behind the other; none for none."""
        if len(parts) == 1:
            return parts[0]
        kinds = (np.int64, np.int64, np.float64)
        columns = zip(*((part.steps, part.times, part.values) for part in parts), strict=True) if parts else ((),) * 3
        return cls(*(np.concatenate([np.empty(0, kind), *them]) for kind, them in zip(kinds, columns, strict=True)))

    def __len__(self) -> int:
        return len(self.values)

    def at(self, places: NDArray[np.bool_] | Ints | slice) -> "Points":
        """Those there."""
        return Points(self.steps[places], self.times[places], self.values[places])


def each_once(points: Points) -> Points:
    """In order of (time, step, bits of the value); of equal ones the first."""
    bits, times, steps = _bits(points), points.times, points.steps
    rising = (times[1:] > times[:-1]) | ((times[1:] == times[:-1]) & (steps[1:] > steps[:-1]))
    if rising.all():  # the usual case
        return points
    order = np.lexsort((bits, steps, times))
    times, steps, bits = times[order], steps[order], bits[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (times[1:] != times[:-1]) | (steps[1:] != steps[:-1]) | (bits[1:] != bits[:-1])
    return points.at(order[first])


def lacking(wanted: Points, present: Points) -> Points:
    """Those wanted that are not, to the bit, among those present."""
    return wanted.at(~np.isin(_rows(wanted), _rows(present)))


def _bits(points: Points) -> Ints:
    return points.values.view(np.int64)


def _rows(points: Points) -> NDArray[np.void]:
    table = np.column_stack((points.times, points.steps, _bits(points)))
    return table.view([("time", np.int64), ("step", np.int64), ("bits", np.int64)]).reshape(-1)
