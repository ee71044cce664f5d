"""Frames that cannot be applied: kept on the dead-letter topic, counted, and a limit to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit.bus import MAX_RECORD_BYTES, Partition, Producer, Record
from headrace_kit.bus.dead_letters import DeadLetter, letters_of, story

_PUBLISH_S: Final = 30.0
_HEADERS_BYTES: Final = 8192
_WINDOW: Final = 1000


@dataclass(frozen=True, slots=True)
class Letter:
    """Bytes that could not be applied, why, and where they lay."""

    value: bytes
    """A `FramePack` with one frame; where not even that could be read, the record."""
    reason: str
    partition: Partition
    offset: int


def letter_of(frame: metrics_pb2.RoutedFrame, reason: str, partition: Partition, offset: int) -> Letter:
    """The letter of one frame."""
    return Letter(metrics_pb2.FramePack(frames=[frame]).SerializeToString(), reason, partition, offset)


def subject(letter: DeadLetter) -> str:
    """Whose points they are; empty where that cannot be read."""
    try:
        pack = metrics_pb2.FramePack.FromString(letter.record.value)
    except DecodeError:
        return ""
    return ", ".join(dict.fromkeys(f"tenant {routed.tenant_id} run {routed.run_id}" for routed in pack.frames))


def again(letter: DeadLetter) -> Record:
    """What brings the points of a dead frame to the writer once more. Raises ValueError for what is no frame.

    Its seq was passed over for good, so they come as points of a unary call do: as a set, each once however often the
    letter is sent.
    """
    try:
        pack = metrics_pb2.FramePack.FromString(letter.record.value)
    except DecodeError as error:
        raise ValueError(f"it is no FramePack: {error}") from error
    for routed in pack.frames:
        routed.ClearField("producer_id")
        routed.frame.ClearField("seq")
    return Record(letter.topic, b"", pack.SerializeToString(), partition=letter.partition)


def publish(producer: Producer, letters: Sequence[Letter]) -> None:
    """Returns when all are durable. Raises BusUnavailable, or TimeoutError after half a minute.

    Done before the transaction that passes them over commits: a crash in between brings a letter twice, never not at all.
    """
    # A record that is not ours may be as large as the bus takes, without the headers that come on top here.
    most = MAX_RECORD_BYTES - _HEADERS_BYTES
    futures = [
        producer.publish(
            Record(
                topic=letters_of(letter.partition.topic),
                key=b"",
                value=letter.value[:most],
                headers=story(letter.partition, letter.offset, letter.reason, bytes=str(len(letter.value))),
            )
        )
        for letter in letters
    ]
    for future in futures:
        future.result(_PUBLISH_S)


class TooManyPoisonFrames(Exception):  # noqa: N818 - says what it is
    """Most frames fail: what is wrong is more likely this writer than the frames."""


class PoisonShare:
    """Watches the share of frames that fail among the last one to two thousand."""

    def __init__(self) -> None:
        self._frames = 0
        self._poison = 0

    def count(self, frames: int, letters: Sequence[Letter]) -> None:
        """Adds these frames, of which `letters` failed. Raises TooManyPoisonFrames at more than half of a thousand."""
        self._frames += frames
        self._poison += len(letters)
        if self._frames < _WINDOW:
            return
        if self._poison * 2 > self._frames:
            where = letters[-1] if letters else None
            raise TooManyPoisonFrames(
                f"{self._poison} of the last {self._frames} frames cannot be applied; the writer stops before it passes"
                f" over more of them (last: {where.reason} at {where.partition} offset {where.offset})"
                if where
                else f"{self._poison} of the last {self._frames} frames cannot be applied; the writer stops"
            )
        if self._frames >= 2 * _WINDOW:
            self._frames //= 2
            self._poison //= 2
