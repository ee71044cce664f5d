"""Dead letters: what a consumer could not handle, to be looked at, and sent to it once more when the cause is mended."""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from headrace_kit.bus import Bus, Partition, Producer, Received, Record

_POLL_S: Final = 1.0
_PUBLISH_S: Final = 30.0
_STORY: Final = "dlq_"
_REASON_CHARACTERS: Final = 1_000


def letters_of(topic: str) -> str:
    """The topic that holds the dead letters of a topic."""
    return f"{topic}.dlq"


def story(where: Partition, offset: int, reason: str, **more: str) -> dict[str, bytes]:
    """Headers that say why a record became a dead letter, and where it lay; a `DeadLetter` reads them."""
    told = {
        "reason": reason[:_REASON_CHARACTERS],
        "topic": where.topic,
        "partition": str(where.number),
        "offset": str(offset),
        **more,
    }
    return {_STORY + name: text.encode() for name, text in told.items()}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record with the story of its failure."""

    topic: str
    """Where it failed."""
    number: int
    """Its offset among the dead letters of that topic."""
    time: datetime
    """When it was given up."""
    reason: str
    record: Received

    @property
    def whole(self) -> bool:
        """Whether all bytes are there: of a record that was too large with its story only the beginning is."""
        return self._story("bytes", str(len(self.record.value))) == str(len(self.record.value))

    @property
    def partition(self) -> int | None:
        """In which partition of its topic it lay."""
        number = self._story("partition", "")
        return int(number) if number.isdigit() else None

    def _story(self, name: str, default: str) -> str:
        return self.record.headers.get(_STORY + name, default.encode()).decode(errors="replace")


Again = Callable[[DeadLetter], Record]
"""What to publish so that the letter is handled once more. Raises ValueError with why it cannot be."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of letters that were to be sent again."""

    sent: tuple[int, ...]
    """Their numbers."""
    left: dict[int, str]
    """Number → why it was not sent."""


def kept(bus: Bus, topic: str) -> Iterator[DeadLetter]:
    """The dead letters of a topic that there are now, oldest first. Raises BusUnavailable."""
    letters = letters_of(topic)
    ends = bus.end_offsets([letters])
    with closing(bus.reader([letters], {})) as reader:
        while any(reader.positions().get(partition, 0) < end for partition, end in ends.items()):
            for received in reader.poll(_POLL_S):
                if received.offset < ends.get(received.partition, 0):
                    yield _letter(topic, received)


def replay(bus: Bus, topic: str, again: Again, chosen: Collection[int] | None) -> Replayed:
    """Publishes the letters of these numbers, or all, anew, in their order; returns when what was sent is durable.

    They stay among the dead letters. Whoever consumes the topic must bear to have a record twice, as it must anyway.
    Raises BusUnavailable, and TimeoutError after half a minute; what was published before takes its way.
    """
    sent: list[int] = []
    left: dict[int, str] = {}
    with closing(bus.producer()) as producer:
        for letter in kept(bus, topic):
            if chosen is not None and letter.number not in chosen:
                continue
            try:
                _publish(producer, letter, again)
            except ValueError as error:
                left[letter.number] = str(error)
            else:
                sent.append(letter.number)
    missing = set(chosen or ()) - set(sent) - left.keys()
    return Replayed(tuple(sent), left | dict.fromkeys(missing, "there is no letter of this number"))


def as_it_was(letter: DeadLetter) -> Record:
    """The record without the story, for consumers that know what they have handled."""
    headers = {name: value for name, value in letter.record.headers.items() if not name.startswith(_STORY)}
    return Record(letter.topic, letter.record.key, letter.record.value, headers)


def _publish(producer: Producer, letter: DeadLetter, again: Again) -> None:
    if not letter.whole:
        raise ValueError(f"only its first {len(letter.record.value)} bytes were kept")
    producer.publish(again(letter)).result(_PUBLISH_S)


def _letter(topic: str, received: Received) -> DeadLetter:
    reason = received.headers.get(f"{_STORY}reason", b"").decode(errors="replace")
    return DeadLetter(topic, received.offset, datetime.fromtimestamp(received.time_ms / 1000, UTC), reason, received)
