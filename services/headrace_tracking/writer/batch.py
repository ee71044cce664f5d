"""What one poll brought: records to frames, frames to the points of each series."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from google.protobuf.message import DecodeError

from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.bus import Partition, Received
from headrace_kit.errors import InvalidField
from headrace_tracking import chunks, columns
from headrace_tracking.columns import BadColumns, Columns, Zstd
from headrace_tracking.frames import PRODUCER_ID_BYTES, HeaderCheck, points_of
from headrace_tracking.writer.letters import Letter, letter_of
from headrace_tracking.writer.store import Run, Series, Stream

_MOST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame and where it lay."""

    stream: Stream
    routed: metrics_pb2.RoutedFrame
    partition: Partition
    offset: int

    @property
    def run(self) -> Run:
        """Whose points."""
        return Run(self.stream.tenant_id, self.stream.run_id)

    @property
    def unary(self) -> bool:
        """From a unary call: without a sequence, its points a set."""
        return not self.stream.producer_id

    def letter(self, reason: str) -> Letter:
        """This frame as a dead letter."""
        return letter_of(self.routed, reason, self.partition, self.offset)


@dataclass(slots=True)
class Arrived:
    """The frames of some records, in order, and what could not be read as one."""

    frames: list[Arrival]
    letters: list[Letter]


def read(records: Sequence[Received]) -> Arrived:
    """Takes the records apart; the columns stay as they are."""
    arrived = Arrived([], [])
    for record in records:
        try:
            pack = metrics_pb2.FramePack.FromString(record.value)
        except DecodeError as error:
            reason = f"the record is no FramePack: {error}"
            arrived.letters.append(Letter(record.value, reason, record.partition, record.offset))
            continue
        for routed in pack.frames:
            found = _arrival(routed, record.partition, record.offset)
            if isinstance(found, str):
                arrived.letters.append(letter_of(routed, found, record.partition, record.offset))
            else:
                arrived.frames.append(found)
    return arrived


def _arrival(routed: metrics_pb2.RoutedFrame, partition: Partition, offset: int) -> Arrival | str:
    """The frame with its address, or what is wrong with that."""
    try:
        run_id = UUID(routed.run_id)
    except ValueError:
        return f"run_id: must be 32 hexadecimal digits, got {routed.run_id!r}"
    if not routed.tenant_id or "\0" in routed.tenant_id:
        return f"tenant_id: got {routed.tenant_id!r}"
    producer_id = routed.producer_id
    if producer_id and (len(producer_id) != PRODUCER_ID_BYTES or not 0 < routed.frame.seq <= _MOST_SEQ):
        return (
            f"a producer_id has {PRODUCER_ID_BYTES} bytes and a seq from 1 to {_MOST_SEQ},"
            f" got {len(producer_id)} and {routed.frame.seq}"
        )
    return Arrival(Stream(routed.tenant_id, run_id, producer_id), routed, partition, offset)


class Gathering:
    """Points of applied frames, gathered series by series."""

    def __init__(self, zstd: Zstd, check: HeaderCheck) -> None:
        self.letters: list[Letter] = []
        self._parts: defaultdict[Series, list[Columns]] = defaultdict(list)
        self._zstd = zstd
        self._check = check

    def add(self, arrival: Arrival) -> None:
        """Takes a frame's points, all of them; or none, and writes its letter."""
        frame = arrival.routed.frame
        if not frame.series and not frame.columns:
            return  # stands for a frame that an edge refused
        try:
            self._check(frame)
            points = columns.decode(frame.columns, frame.encoding, points_of(frame), self._zstd)
        except InvalidField as error:
            self.letters.append(arrival.letter(error.message))
            return
        except BadColumns as error:
            self.letters.append(arrival.letter(f"columns: {error}"))
            return
        start = 0
        for series in frame.series:
            name = Series(*arrival.run, series.key, arrival.unary)
            self._parts[name].append(points[start : start + series.count])
            start += series.count

    def series(self) -> dict[Series, Columns]:
        """The points of each series in their order; those of unary calls without repeats."""
        found = {name: chunks.ordered(Columns.joined(parts)) for name, parts in self._parts.items()}
        return {
            name: chunks.without_repeats(points) if name.once_per_point else points for name, points in found.items()
        }
