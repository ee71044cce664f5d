"""Whole columns of points: what `log_columns` takes, read into memory of our own. No I/O."""

import operator
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

FAR: Final = 1 << 62
"""Steps and times lie between -FAR and FAR, so that the difference of any two is a 64-bit number."""

_INT64: Final = ("q", "l")  # of numpy on Linux and on Windows; the size is looked at too


@dataclass(frozen=True, slots=True)
class Block:
    """Points of one series that follow one another: three columns of the same length."""

    key: str
    values: Sequence[float]
    steps: Sequence[int]
    times: Sequence[int]
    """Milliseconds since 1970-01-01 UTC."""

    def __len__(self) -> int:
        return len(self.values)

    def cut(self, start: int, stop: int) -> "Block":
        """The points from `start` up to, without, `stop`."""
        part = slice(start, stop)
        return Block(self.key, self.values[part], self.steps[part], self.times[part])


def read(steps: Any, columns: Mapping[str, Any], times: Any, now_ms: int) -> list[Block]:
    """A block a column. Copies: the caller may change the arrays afterwards.

    Without steps they count from 0, without times all are `now_ms`. Raises ValueError that names the column where
    something is no number, no whole step, no time, or the lengths differ.
    """
    blocks: list[Block] = []
    read_steps: Sequence[int] | None = None if steps is None else whole_numbers(steps)
    read_times: Sequence[int] | None = None if times is None else _milliseconds(times)
    for key, given in columns.items():
        values = _numbers(key, given)
        at = range(len(values)) if read_steps is None else read_steps
        ms = array("q", (now_ms,)) * len(values) if read_times is None else read_times
        for name, column in (("steps", at), ("times", ms)):
            if len(column) != len(values):
                raise ValueError(f"{key!s:.80}: {len(values)} values, but {len(column)} {name}")
        blocks.append(Block(key, values, at, ms))
    return blocks


def count(column: Any) -> int:
    """How many points a column that is not acceptable would have been; 1 where it does not say."""
    try:
        return max(1, len(column))
    except TypeError:
        return 1


def whole(step: object) -> int:
    """The step as a plain int; ValueError for what is none, or too far out. None is 0."""
    if step is None:
        return 0
    try:
        number = operator.index(step)  # type: ignore[arg-type] # what has no __index__ is told
    except TypeError:
        number = FAR
    if not -FAR < number < FAR:
        raise ValueError(f"step {step!r:.80} is no whole number between -2**62 and 2**62")
    return number


def number(value: Any) -> float:
    """A number as a float, or what `item()` of an array or tensor of one item answers. Raises whatever those raise."""
    try:
        return float(value)
    except TypeError:
        if not hasattr(value, "item"):
            raise
        return float(value.item())


def whole_numbers(steps: Any) -> Sequence[int]:
    """A column of steps; a range stays one. ValueError names the first that is not acceptable."""
    if isinstance(steps, range):
        if steps:
            whole(steps[0])
            whole(steps[-1])
        return steps
    held = _held(steps, _INT64, "q")
    if held is None:
        items = _listed(steps)
        try:
            held = array("q", items)
        except (TypeError, OverflowError):
            return array("q", map(whole, items))
    if held:
        whole(min(held))
        whole(max(held))
    return held


def milliseconds(time: datetime | float) -> int:
    """A datetime or seconds since 1970, in milliseconds; ValueError where it is too far out or no number."""
    seconds = time.timestamp() if isinstance(time, datetime) else float(time)
    try:
        ms = round(seconds * 1000)
    except (ValueError, OverflowError):
        ms = FAR
    if not -FAR < ms < FAR:
        raise ValueError(f"the time {time!r} is too far from 1970")
    return ms


def _numbers(key: str, values: Any) -> Sequence[float]:
    try:
        held = _held(values, ("d",), "d")
        return array("d", _listed(values)) if held is None else held
    except Exception as error:
        # Whatever a value's own __float__ raises.
        raise ValueError(f"{key!s:.80}: {values!r:.80} is no column of numbers ({error!s:.200})") from error


def _milliseconds(times: Any) -> Sequence[int]:
    return array("q", map(milliseconds, _listed(times)))


def _held(column: Any, formats: Sequence[str], kind: str) -> "array[Any] | None":
    """A copy of the bytes of an array that already holds 64-bit items of this kind; None for anything else."""
    try:
        view = memoryview(column)
    except (TypeError, ValueError, BufferError):
        return None
    if view.ndim != 1 or view.format not in formats or view.itemsize != 8:
        return None
    held = array(kind)
    held.frombytes(view.tobytes())
    return held


def _listed(values: Any) -> Sequence[Any]:
    """The items as Python's own numbers, which are much faster to go through than an array's."""
    listed = values.tolist() if hasattr(values, "tolist") else values
    return listed if isinstance(listed, list | tuple) else list(listed)
