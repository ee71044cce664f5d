"""The consumers and readers of the bus on Kafka."""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# The stubs that pyright brings are of kafka-python 2; mypy sees none, and checks what is ours.

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal

import kafka
from kafka import errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import OffsetAndMetadata, TopicPartition
from typing_extensions import override

from headrace_kit.bus import Assignment, BusError, BusUnavailable, Partition, Received
from headrace_kit.bus.kafka.config import KafkaConfig
from headrace_kit.bus.kafka.translation import make_no_topics, ours, received, theirs, translated

log = logging.getLogger(__name__)

_REQUEST_BYTES: Final = 4 << 20
_FETCH_BYTES: Final = 32 << 20
_POLL_LIMIT_MS: Final = 300_000
_JOIN_MS: Final = 5_000
_SLICE_S: Final = 0.1
_PROBE_AFTER_S: Final = 5.0
_PROBE_MS: Final = 2_000
_LOOK_S: Final = 2.0
_CLOSE_MS: Final = 5_000


class _Poller:
    """The part that consumers and readers share: polling in slices, and noticing that Kafka stays away."""

    def __init__(self, config: KafkaConfig, topics: Sequence[str], group: str | None) -> None:
        self._config = config
        self._topics = topics
        self._group = group
        self._consumer: kafka.KafkaConsumer | None = None
        self._answered = time.monotonic()
        self._hurried = False
        self._closed = False

    def poll(self, timeout: float, max_records: int = 500) -> Sequence[Received]:
        """See `Consumer` and `Reader`."""
        deadline = time.monotonic() + timeout
        while True:
            if self._closed:
                raise BusError("this consumer is closed")
            left = max(0.0, deadline - time.monotonic())
            try:
                with translated():
                    records = self._poll_once(self._connected(), min(left, _SLICE_S), max_records)
                    self._note_answer(bool(records))
            except BusUnavailable:
                if time.monotonic() > self._answered + self._config.away_limit_s:
                    raise
                time.sleep(min(left, _SLICE_S))
                records = []
            if records or time.monotonic() >= deadline or self._hurried:
                self._hurried = False
                return records

    def wakeup(self) -> None:
        """See `Consumer`; within a slice."""
        self._hurried = True

    def close(self) -> None:
        """See `Consumer` and `Reader`."""
        self._closed = True
        if self._consumer is not None:
            with translated():
                self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)

    def _open(self, consumer: kafka.KafkaConsumer) -> None:
        """Says what is to be read, once."""
        raise NotImplementedError

    def _poll_once(self, consumer: kafka.KafkaConsumer, timeout: float, max_records: int) -> list[Received]:
        found = consumer.poll(timeout_ms=timeout * 1000, max_records=max_records)
        return [received(record) for records in found.values() for record in records]

    def _connected(self) -> kafka.KafkaConsumer:
        if self._consumer is None:
            session_ms = round(self._config.session_timeout_s * 1000)
            consumer = kafka.KafkaConsumer(
                **self._config.client(),
                group_id=self._group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                partition_assignment_strategy=[CooperativeStickyAssignor],
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=session_ms // 4,
                max_poll_interval_ms=_POLL_LIMIT_MS,
                fetch_max_bytes=_FETCH_BYTES,
                max_partition_fetch_bytes=_REQUEST_BYTES,
                metrics_enabled=False,
            )
            make_no_topics(consumer._cluster)  # noqa: SLF001 - see there
            if self._group is not None:
                # What kafka-python gives as the limit of a change of the group. Its heartbeats keep the other: how long
                # a member may go without a poll.
                join_ms = round(self._config.join_limit_s * 1000)
                consumer._coordinator.config["max_poll_interval_ms"] = join_ms  # noqa: SLF001 - has no option of its own
            self._open(consumer)
            self._consumer = consumer
        return self._consumer

    def _note_answer(self, answered: bool) -> None:
        """kafka-python's poll never says that Kafka is away: after some silence, this asks it something."""
        now = time.monotonic()
        if not answered and now > self._answered + _PROBE_AFTER_S:
            self._connected().end_offsets([TopicPartition(self._topics[0], 0)], timeout_ms=_PROBE_MS)
            answered = True
        if answered:
            self._answered = now


class KafkaReader(_Poller):
    """Implements `Reader`."""

    def __init__(
        self,
        config: KafkaConfig,
        topics: Sequence[str],
        positions: Mapping[Partition, int],
        partitions: Callable[[Sequence[str]], Sequence[Partition]],
    ) -> None:
        super().__init__(config, topics, None)
        self._positions = positions
        self._partitions = partitions
        self._look_at = 0.0

    def positions(self) -> Mapping[Partition, int]:
        """See `Reader`."""
        known = dict(self._positions)
        if self._consumer is not None:
            for tp in self._consumer.assignment():
                position = self._consumer.position(tp, timeout_ms=0)
                known[ours(tp)] = known.get(ours(tp), 0) if position is None else position
        return known

    @override
    def _open(self, consumer: kafka.KafkaConsumer) -> None:
        self._look_at = 0.0

    @override
    def _poll_once(self, consumer: kafka.KafkaConsumer, timeout: float, max_records: int) -> list[Received]:
        if time.monotonic() > self._look_at:
            known = consumer.assignment()
            new = [p for p in self._partitions(self._topics) if theirs(p) not in known]
            if new:
                consumer.assign([*known, *map(theirs, new)])
            for partition in new:
                if partition in self._positions:
                    consumer.seek(theirs(partition), self._positions[partition])
            self._look_at = time.monotonic() + _LOOK_S
        if not consumer.assignment():
            time.sleep(timeout)
            return []
        return super()._poll_once(consumer, timeout, max_records)


class _Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]  # the library is untyped
    """Keeps what kafka-python tells of assignments on its own thread, where nothing may block, for the polling one.

    Partitions that were gained are paused, if asked, until the polling thread knows where to go on.
    """

    def __init__(self, consumer: kafka.KafkaConsumer, *, hold: bool) -> None:
        self.told: deque[tuple[Literal["gained", "lost"], list[Partition]]] = deque()
        self._consumer = consumer
        self._hold = hold

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self._hold:
            self._consumer.pause(*assigned)
        self.told.append(("gained", [ours(tp) for tp in sorted(assigned)]))

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self.told.append(("lost", [ours(tp) for tp in sorted(revoked)]))


class KafkaConsumer(_Poller):
    """Implements `Consumer`."""

    def __init__(self, config: KafkaConfig, group: str, topics: Sequence[str], assignment: Assignment) -> None:
        super().__init__(config, topics, group)
        self._callbacks = assignment
        self._listener: _Listener | None = None
        self._owned: set[Partition] = set()
        self._uncommitted: dict[Partition, int] = {}
        self._polled: list[Received] = []

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See `Consumer`. While the group is changing hands Kafka takes none; then the next poll commits them."""
        self._uncommitted |= {p: offset for p, offset in offsets.items() if p in self._owned}
        with translated():
            self._commit(self._connected())

    def assignment(self) -> frozenset[Partition]:
        """See `Consumer`."""
        return frozenset(self._owned)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer`."""
        if mine := self._present(partitions):
            self._connected().pause(*mine)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer`."""
        if mine := self._present(partitions):
            self._connected().resume(*mine)

    def seek(self, partition: Partition, offset: int) -> None:
        """See `Consumer`."""
        if partition not in self._owned:
            raise ValueError(f"{partition} is not in the assignment")
        self._forget([partition])
        if self._present([partition]):
            self._connected().seek(theirs(partition), offset)

    @override
    def close(self) -> None:
        if not self._closed:
            self._lose(list(self._owned))
            super().close()

    @override
    def _open(self, consumer: kafka.KafkaConsumer) -> None:
        self._listener = _Listener(consumer, hold=self._callbacks.start_at is not None)
        consumer.subscribe(list(self._topics), listener=self._listener)

    @override
    def _poll_once(self, consumer: kafka.KafkaConsumer, timeout: float, max_records: int) -> list[Received]:
        # A join that ends between two polls of kafka-python 3.0.12 is thrown away and begun again, by everybody: it gets
        # the time to end within one.
        coordinator = consumer._coordinator  # noqa: SLF001 - nothing else waits for a join alone
        # One that a change of metadata began it forgets altogether, heartbeats with it, when the poll ends before the join.
        if coordinator._join_task is not None:  # noqa: SLF001
            coordinator.request_rejoin()
        if coordinator.need_rejoin() and not coordinator.coordinator_unknown():
            coordinator.poll(timeout_ms=_JOIN_MS)
            timeout = 0.0
        if not self._polled:
            self._polled = super()._poll_once(consumer, timeout, max_records)
        self._hear()
        self._commit(consumer)
        records, self._polled = self._polled, []
        return records

    def _hear(self) -> None:
        """Takes note of what kafka-python told, and calls back; a callback that raises is called again next time."""
        while self._listener is not None and self._listener.told:
            what, partitions = self._listener.told[0]
            if what == "gained":
                self._gain(partitions)
            else:
                self._lose([p for p in partitions if p in self._owned])
            self._listener.told.popleft()

    def _gain(self, partitions: Sequence[Partition]) -> None:
        start = self._callbacks.start_at(partitions) if self._callbacks.start_at else {}
        self._owned |= set(partitions)
        for partition, offset in start.items():
            self.seek(partition, offset)
        self.resume(partitions)

    def _lose(self, partitions: Sequence[Partition]) -> None:
        if partitions and self._callbacks.on_lost:
            self._callbacks.on_lost(partitions)
        for partition in partitions:
            self._owned.discard(partition)
            self._uncommitted.pop(partition, None)
        self._forget(partitions)

    def _forget(self, partitions: Collection[Partition]) -> None:
        """Records that were polled and not returned, because a callback raised, are not wanted any more."""
        self._polled = [record for record in self._polled if record.partition not in partitions]

    def _commit(self, consumer: kafka.KafkaConsumer) -> None:
        if not self._uncommitted:
            return
        offsets = {theirs(p): OffsetAndMetadata(offset, "", -1) for p, offset in self._uncommitted.items()}
        try:
            consumer.commit(offsets, timeout_ms=self._config.patience_ms)
        except errors.RebalanceInProgressError:
            return
        except _NO_LONGER_A_MEMBER as error:
            log.info("group %s went on without this member; its commit is left out: %s", self._group, error)
        self._uncommitted = {}

    def _present(self, partitions: Sequence[Partition]) -> list[TopicPartition]:
        """Those that kafka-python has now: it may have lost some that we still have to be told of."""
        known = self._connected().assignment()
        return [tp for p in partitions if p in self._owned and (tp := theirs(p)) in known]


_NO_LONGER_A_MEMBER: Final = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
)
