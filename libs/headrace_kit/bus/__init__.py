"""The event bus as services see it: partitioned, ordered, durable topics; Kafka or PostgreSQL behind it.

Words: a record is *durable* when its publish future has a result: it survives a kill -9 of any process.
Consumers of a group share the partitions of their topics; a partition belongs to one member at a time,
and its records arrive in order of offset. Delivery is at least once: the place from which a group goes on
is what was committed, by `commit` here or by the consumer itself in the transaction of its effect
(then `start_at` says where to go on).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Protocol

MAX_RECORD_BYTES: Final = (1 << 20) + (64 << 10)
"""The most that key, value and headers of a record may take together: a value of 1 MiB and room for the rest."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One ordered part of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is published. Records with the same key keep their order."""

    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)
    partition: int | None = None
    """Where the producer chooses itself; otherwise a hash of the key decides."""


@dataclass(frozen=True, slots=True)
class Received:
    """A record as it stands on the bus."""

    partition: Partition
    offset: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]
    time_ms: int


class Producer(Protocol):
    """Publishes from any thread."""

    def publish(self, record: Record) -> Future[tuple[Partition, int]]:
        """Hands the record over and returns at once; the result is where it stands, set when it is durable.

        The future fails with `BusUnavailable` when the bus stays away longer than the delivery timeout, with
        `RecordTooLarge` and with `UnknownTopic`; it cannot be cancelled. Records of one partition become durable in
        the order of the calls; but when one fails, later ones may not: who cannot bear that waits for each result.
        Nothing bounds what is under way: whoever publishes does. Callbacks of the future must not block.
        """
        ...

    def flush(self, timeout: float) -> bool:
        """Waits until nothing is under way; False when the time ran out."""
        ...

    def close(self) -> None:
        """Flushes for a bounded time, fails what is left, frees everything."""
        ...


class Consumer(Protocol):
    """Reads as one member of a group, from one thread."""

    def poll(self, timeout: float, max_records: int = 500) -> Sequence[Received]:
        """Waits at most `timeout` seconds for records, some more while the group changes; may return fewer or none.

        Assignment callbacks run inside this call. Raises `BusUnavailable` when the bus stays away, half a minute or
        so; a shorter absence only looks like no records. A member that does not poll for five minutes, or for half
        a minute while the group changes, loses its partitions, as does one whose process stands still for seconds.
        """
        ...

    def wakeup(self) -> None:
        """Ends the poll under way, or the next one, soon; never blocks, any thread may call it."""
        ...

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Keeps for the group that every record below these offsets is done; raises `BusUnavailable`.

        Partitions that this member has lost, as `on_lost` said or will say, are left out: the new owner commits them.
        """
        ...

    def assignment(self) -> frozenset[Partition]:
        """The partitions that this member has now."""
        ...

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Holds these back from `poll`, without giving them up."""
        ...

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Lets them through again."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Goes on from this offset in a partition of the assignment."""
        ...

    def close(self) -> None:
        """Gives the partitions up at once, so that others need not wait for a timeout."""
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a consumer is told about its partitions; both run on the polling thread, inside `poll` or `close`."""

    start_at: Callable[[Sequence[Partition]], Mapping[Partition, int]] | None = None
    """Called with partitions just gained; returns where to go on, for those it knows (else the committed offset)."""
    on_lost: Callable[[Sequence[Partition]], None] | None = None
    """Called with partitions about to go, or gone."""


class Reader(Protocol):
    """Reads whole topics outside any group, at positions of its own: for subscriptions and replays."""

    def poll(self, timeout: float, max_records: int = 500) -> Sequence[Received]:
        """As `Consumer.poll`."""
        ...

    def wakeup(self) -> None:
        """As `Consumer.wakeup`."""
        ...

    def positions(self) -> Mapping[Partition, int]:
        """For every partition, the offset from which the next `poll` goes on; from the polling thread.

        Everything below was returned, or is no longer there: after a first record lost to retention the position is
        at the oldest left, so that a reader which wants all before some offset knows when it has it. A partition whose
        place is not known yet (nothing was asked of the bus) stands where it was told to begin.
        """
        ...

    def close(self) -> None:
        """Frees everything."""
        ...


class Bus(Protocol):
    """Opens producers and consumers; `ensure_topics` makes what is missing."""

    def producer(self) -> Producer:
        """Opens a producer."""
        ...

    def consumer(self, group: str, topics: Sequence[str], assignment: Assignment | None = None) -> Consumer:
        """Opens a member of `group`. Where nothing is committed yet, it begins at the first record."""
        ...

    def reader(self, topics: Sequence[str], positions: Mapping[Partition, int]) -> Reader:
        """Opens a reader of all partitions of the topics; where `positions` says nothing, at the first record."""
        ...

    def end_offsets(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """For every partition, the offset that the next record gets."""
        ...

    def ensure_topics(self, topics: Mapping[str, int]) -> None:
        """Makes topics that are missing, with so many partitions; adds partitions where there are fewer."""
        ...

    def close(self) -> None:
        """Closes what is shared; producers and consumers are closed by whoever opened them."""
        ...


class BusError(Exception):
    """Base of the errors of a bus."""


class BusUnavailable(BusError):  # noqa: N818 - reads as what it is where it is raised
    """The bus did not answer in time; trying again may help."""


class BusBroken(BusError):  # noqa: N818 - reads as what it is where it is raised
    """A thread of the bus died: nothing helps but a new process."""


class RecordTooLarge(BusError):  # noqa: N818 - reads as what it is where it is raised
    """The record is larger than `MAX_RECORD_BYTES`."""


class UnknownTopic(BusError):  # noqa: N818 - reads as what it is where it is raised
    """The topic was never made: `ensure_topics` makes it."""
