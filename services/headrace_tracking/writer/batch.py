"""What one poll brought: records to frames, frames to the points of each series."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Self
from uuid import UUID

import numpy as np
from google.protobuf.message import DecodeError

from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.bus import Partition, Received
from headrace_kit.errors import InvalidField
from headrace_tracking import columns
from headrace_tracking.columns import BadColumns, Coded, Columns, Zstd
from headrace_tracking.frames import PRODUCER_ID_BYTES, HeaderCheck, points_of
from headrace_tracking.segments import Segments, starts_of
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


class Gathered(NamedTuple):
    """The points of some series."""

    names: list[Series]
    """No two the same."""
    points: Segments
    """Of each in order."""

    @classmethod
    def of(cls, series: Mapping[Series, Columns]) -> Self:
        """Those that have points."""
        full = {name: points for name, points in series.items() if len(points)}
        return cls(list(full), Segments.of(list(full.values())))

    @classmethod
    def joined(cls, one: "Gathered", other: "Gathered") -> Self:
        """Those of both, which have none in common."""
        return cls(one.names + other.names, Segments.joined(one.points, other.points))


def gather(arrivals: Sequence[Arrival], zstd: Zstd, check: HeaderCheck) -> tuple[Gathered, list[Letter]]:
    """Frames to series. Of a frame either all points are taken, or none, and there is a letter."""
    good: list[Arrival] = []
    letters: list[Letter] = []
    for arrival in arrivals:
        frame = arrival.routed.frame
        if not frame.series and not frame.columns:
            continue  # stands for a frame that an edge refused
        try:
            check(frame)
        except InvalidField as error:
            letters.append(arrival.letter(error.message))
        else:
            good.append(arrival)
    coded = [Coded(frame.columns, frame.encoding, points_of(frame)) for frame in (a.routed.frame for a in good)]
    parts = _Parts()
    for arrival, points in zip(good, columns.decode_all(coded, zstd), strict=True):
        if isinstance(points, BadColumns):
            letters.append(arrival.letter(f"columns: {points}"))
        else:
            parts.add(arrival, points)
    return parts.gathered(), letters


class _Parts:
    """Where the points of each series are, in the order of their frames."""

    def __init__(self) -> None:
        self._of_run: defaultdict[tuple[Run, bool], defaultdict[str, list[Columns]]]
        self._of_run = defaultdict(lambda: defaultdict(list))

    def add(self, arrival: Arrival, points: Columns) -> None:
        of_key = self._of_run[arrival.run, arrival.unary]
        start = 0
        for series in arrival.routed.frame.series:
            stop = start + series.count
            of_key[series.key].append(points[start:stop])
            start = stop

    def gathered(self) -> Gathered:
        names = [Series(*run, key, unary) for (run, unary), of_key in self._of_run.items() for key in of_key]
        parts = [parts for of_key in self._of_run.values() for parts in of_key.values()]
        sizes = np.array([sum(map(len, of_series)) for of_series in parts], np.int64)
        whole = Segments(Columns.joined(list(chain.from_iterable(parts))), starts_of(sizes))
        return Gathered(names, whole.ordered())
