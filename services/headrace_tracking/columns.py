"""The columns of a frame, between their bytes (`MetricColumns`) and numpy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
import zstandard
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from headrace.api.tracking.v1 import metrics_pb2

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_LEVEL: Final = 1  # level 3 takes as long and saves nothing on metrics
_POINT_BYTES: Final = 28  # at most: two varints of 10 bytes and a double
_MARGIN_BYTES: Final = 64  # tags and lengths of the three columns
_TAGS: Final = {0x0A: 0, 0x12: 1, 0x1A: 2}  # fields 1 to 3, each as bytes with their length
_VARINT_BYTES: Final = 10


class BadColumns(Exception):  # noqa: N818 - says what it is
    """These bytes are no columns of so many points; the message says why."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Points, column by column; the three arrays have the same length."""

    steps: Ints
    times: Ints
    """Milliseconds since 1970-01-01 UTC."""
    values: Floats
    """NaN and infinities keep their bits."""

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, part: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        return type(self)(self.steps[part], self.times[part], self.values[part])

    @classmethod
    def joined(cls, parts: Sequence["Columns"]) -> "Columns":
        """One after the other; of a single part the part itself."""
        if len(parts) == 1:
            return parts[0]
        return Columns(
            np.concatenate([part.steps for part in parts] or [np.empty(0, np.int64)]),
            np.concatenate([part.times for part in parts] or [np.empty(0, np.int64)]),
            np.concatenate([part.values for part in parts] or [np.empty(0, np.float64)]),
        )


class Coded(NamedTuple):
    """Columns as they come in a frame."""

    data: bytes
    encoding: metrics_pb2.Encoding
    points: int
    """By the frame's header."""


class _Fields(NamedTuple):
    """Of a `MetricColumns`, its packed fields, none of them empty but for the missing ones."""

    steps: bytes
    times: bytes
    values: bytes


class Zstd:
    """A compressor and a decompressor, kept because making them takes longer than a small chunk. For one thread."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._decompressor = zstandard.ZstdDecompressor()

    def compress_all(self, data: Sequence[bytes]) -> list[bytes]:
        """Each by itself, with its size and a checksum inside; none may be empty.

        All in one call: each call of the library lets other threads run, and has to wait for them when it comes back.
        """
        if not data:
            return []
        found = self._compressor.multi_compress_to_buffer(list(data))
        return [found[number].tobytes() for number in range(len(found))]

    def decompress(self, data: bytes, most: int) -> bytes:
        """Raises BadColumns for damage, and for anything that says or turns out to be more than `most` bytes."""
        try:
            # The size said inside would be allocated unseen, whatever limit is given to the decompressor.
            size = zstandard.frame_content_size(data)
            if size > most:
                raise BadColumns(f"holds {size} bytes uncompressed, where its points need at most {most}")
            return self._decompressor.decompress(data, max_output_size=most, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise BadColumns(f"cannot be decompressed: {error}") from error


def rank(columns: Columns) -> Floats:
    """The values as they compete: NaN as 0, as MLflow has it."""
    return np.where(np.isnan(columns.values), 0.0, columns.values)


def bits(columns: Columns) -> Ints:
    """The values' bits."""
    return columns.values.view(np.int64)


def packed(column: Ints | Floats) -> bytes:
    """A column as plain memory on the wire: 8 bytes a number, little-endian."""
    return column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()


def encode(columns: Columns) -> bytes:
    """A serialized `MetricColumns`."""
    message = metrics_pb2.MetricColumns(
        step_deltas=_deltas(columns.steps).tolist(),
        time_deltas=_deltas(columns.times).tolist(),
        values=columns.values.tolist(),
    )
    return message.SerializeToString()


def decode_all(frames: Sequence[Coded], zstd: Zstd) -> list[Columns | BadColumns]:
    """The inverse, of many frames at once: the points of each, or why its bytes do not hold exactly so many."""
    if not frames:
        return []
    plain = [_plain(frame, zstd) for frame in frames]
    usual: list[_Fields] = []
    for data in plain:
        fields = None if isinstance(data, BadColumns) else _fields(data)
        if fields is None:
            break
        usual.append(fields)
    points = np.array([frame.points for frame in frames], np.int64)
    if len(usual) == len(frames) and points.all():
        together = _read(usual, points)
        if together is not None:
            return list(together)
    # Any of them is of another form, or damaged: one by one, which takes longer, to see which.
    return [_parsed(data, frame.points) for data, frame in zip(plain, frames, strict=True)]


def _plain(frame: Coded, zstd: Zstd) -> bytes | BadColumns:
    if frame.encoding == metrics_pb2.ENCODING_UNSPECIFIED:
        return frame.data
    if frame.encoding != metrics_pb2.ENCODING_ZSTD:
        return BadColumns(f"has the encoding {frame.encoding}, which is not known")
    try:
        return zstd.decompress(frame.data, _MARGIN_BYTES + frame.points * _POINT_BYTES)
    except BadColumns as error:
        return error


def _parsed(data: bytes | BadColumns, points: int) -> Columns | BadColumns:
    """Every form that protobuf allows."""
    if isinstance(data, BadColumns):
        return data
    try:
        message = metrics_pb2.MetricColumns.FromString(data)
    except DecodeError as error:
        return BadColumns(f"is no MetricColumns: {error}")
    steps, times, values = message.step_deltas, message.time_deltas, message.values
    if not len(steps) == len(times) == len(values) == points:
        return BadColumns(
            f"holds {len(steps)} steps, {len(times)} times and {len(values)} values, where the series count {points}"
        )
    # Differences wrap around: so does their sum, and every int64 comes back.
    return Columns(
        np.cumsum(np.fromiter(steps, np.int64, points)),
        np.cumsum(np.fromiter(times, np.int64, points)),
        np.fromiter(values, np.float64, points),
    )


def _deltas(column: Ints) -> Ints:
    deltas = column.copy()
    deltas[1:] -= column[:-1]
    return deltas


def _fields(data: bytes) -> _Fields | None:
    """The form every writer of packed fields makes, each column once; None for anything else."""
    parts = [b"", b"", b""]
    at = 0
    while at < len(data):
        which = _TAGS.get(data[at])
        size, at = _length(data, at + 1)
        if which is None or not 0 < size <= len(data) - at or parts[which]:
            return None
        parts[which] = data[at : at + size]
        at += size
    return _Fields(*parts)


def _read(frames: Sequence[_Fields], points: Ints) -> Iterator[Columns] | None:
    """The points of each frame; None where one has not so many, or its varints are cut off or too long."""
    steps = _varints([frame.steps for frame in frames], points)
    times = _varints([frame.times for frame in frames], points)
    sizes = np.array([len(frame.values) for frame in frames], np.int64)
    if steps is None or times is None or not np.array_equal(sizes, 8 * points):
        return None
    values = np.frombuffer(b"".join([frame.values for frame in frames]), "<f8").astype(np.float64, copy=False)
    stops = np.cumsum(points)
    found = Columns(
        _sums(_zigzag(steps), stops - points, points), _sums(_zigzag(times), stops - points, points), values
    )
    ends = stops.tolist()
    return (found[start:stop] for start, stop in zip([0, *ends], ends, strict=False))


def _sums(deltas: Ints, starts: Ints, sizes: Ints) -> Ints:
    """Running sums that begin anew at each start. Differences wrap around: so do their sums, and every int64 comes back."""
    sums = np.cumsum(deltas)
    before = sums[starts] - deltas[starts]
    return sums - np.repeat(before, sizes)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """The varint at this place and where it ends; (0, ...) when it is cut off or needs more than five bytes."""
    value = 0
    for index in range(5):
        if at + index >= len(data):
            break
        value |= (data[at + index] & 0x7F) << (7 * index)
        if data[at + index] < 0x80:
            return value, at + index + 1
    return 0, at


def _varints(parts: Sequence[bytes], counts: Ints) -> NDArray[np.uint64] | None:
    """All varints of these packed fields; None when one does not hold so many, ends within one, or one is too long."""
    raw = np.frombuffer(b"".join(parts), np.uint8)
    stops = np.cumsum([len(part) for part in parts])
    last = raw < 0x80
    more = np.flatnonzero(~last)  # bytes that others follow: few, as most differences are small
    # The varint that ends a field ends where the field does, and so many lie before it.
    if (
        not len(raw)
        or not last[stops - 1].all()
        or not np.array_equal(stops - np.searchsorted(more, stops), np.cumsum(counts))
    ):
        return None
    found = raw[last].astype(np.uint64)
    if not len(more):
        return found
    owners = more - np.arange(len(more))
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    sizes = np.diff(firsts, append=len(more))
    longest = int(sizes.max())
    if longest >= _VARINT_BYTES:
        return None
    longer, starts = owners[firsts], more[firsts]
    value = found[longer] << (7 * sizes).astype(np.uint64)
    for index in range(longest):
        has = np.flatnonzero(sizes > index)
        value[has] |= (raw[starts[has] + index] & 0x7F).astype(np.uint64) << np.uint64(7 * index)
    found[longer] = value
    return found


def _zigzag(coded: NDArray[np.uint64]) -> Ints:
    """In place: fresh memory for so many numbers costs more than the arithmetic."""
    signs = coded & np.uint64(1)
    np.negative(signs, out=signs)
    coded >>= np.uint64(1)
    coded ^= signs
    return coded.view(np.int64)
