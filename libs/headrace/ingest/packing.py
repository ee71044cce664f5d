"""The columns of a frame as bytes: a serialized `MetricColumns`, made without a message. No I/O.

A message takes each number as a Python object, at some 40 ns. Most steps rise by one and most times hardly, which is a byte
each that is copied; values lie in memory as the wire wants them.
Encoding: https://protobuf.dev/programming-guides/encoding/ (packed fields, ZigZag).
"""

import operator
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

from headrace.api.tracking.v1.metrics_pb2 import MetricColumns

_STEPS, _TIMES, _VALUES = (bytes([number << 3 | 2]) for number in (1, 2, 3))
"""Tags: the fields' numbers, and that a length follows."""
_ZIGZAG: Final = bytes((2 * byte if byte < 128 else 511 - 2 * byte) & 0x7F for byte in range(256))
"""Of a signed byte from -64 to 63, its varint."""
_SHORT: Final = bytes([*range(64), *range(192, 256)])
"""Those signed bytes."""


def packed(steps: Iterable[Sequence[int]], times: Iterable[Sequence[int]], values: Iterable[Sequence[float]]) -> bytes:
    """The columns of all series, one series behind the other; at least one point, and as many of each."""
    return b"".join(
        (*_field(_STEPS, _deltas(steps)), *_field(_TIMES, _deltas(times)), *_field(_VALUES, _doubles(values)))
    )


def _field(tag: bytes, payload: bytes) -> tuple[bytes, bytes, bytes]:
    return tag, _varint(len(payload)), payload


def _deltas(columns: Iterable[Sequence[int]]) -> bytes:
    """Each item less the one before, the first less 0, as varints."""
    found: list[bytes] = []
    before: Sequence[int] = ()
    within, last = b"", 0
    for column in columns:
        if not column:
            continue
        if column is not before and column != before:  # series that were logged together have the same
            within = _within(column)
        before = column
        found += (_signed([column[0] - last]), within)
        last = column[-1]
    return b"".join(found)


def _within(column: Sequence[int]) -> bytes:
    """From the second item on."""
    if isinstance(column, range):
        return _signed([column.step]) * (len(column) - 1)
    if column[1:] == column[:-1]:
        return bytes(len(column) - 1)
    return _signed(list(map(operator.sub, column[1:], column)))


def _signed(numbers: list[int]) -> bytes:
    try:
        small = array("b", numbers).tobytes()
    except OverflowError:
        small = b"\x7f"
    if not small.translate(None, _SHORT):
        return small.translate(_ZIGZAG)
    field = MetricColumns(step_deltas=numbers).SerializeToString()
    start = next(at for at in range(1, len(field)) if field[at] < 0x80) + 1  # behind tag and length
    return field[start:]


def _doubles(columns: Iterable[Sequence[float]]) -> bytes:
    held = [column if isinstance(column, array) else array("d", column) for column in columns]
    if sys.byteorder == "big":
        held = [array("d", column) for column in held]
        for column in held:
            column.byteswap()
    parts: list[Any] = held  # arrays are buffers, which this Python's stubs do not know
    return b"".join(parts)


def _varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
