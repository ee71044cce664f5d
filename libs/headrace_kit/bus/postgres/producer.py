"""Delivery to the bus in PostgreSQL: what is published while one transaction runs goes into the next, together."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import psycopg
from typing_extensions import override

from headrace_kit.bus import BusBroken, BusError, BusUnavailable, Partition, UnknownTopic
from headrace_kit.bus.handover import Handover, Pending, Position
from headrace_kit.bus.partitioning import partition_of
from headrace_kit.bus.postgres import store
from headrace_kit.bus.postgres.connections import connect
from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

_IDLE_S: Final = 1.0
_FIRST_RETRY_S: Final = 0.05
_LAST_RETRY_S: Final = 2.0
_PARTITIONS_FOR_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Written:
    """Records appended by a transaction that may have been committed."""

    records: Sequence[Pending]
    positions: Sequence[Position]

    def tell(self) -> None:
        """It was committed."""
        for pending, position in zip(self.records, self.positions, strict=True):
            pending.succeed(position)


class Writer(Worker):
    """Takes batches and writes each in a transaction, in order, until it is durable or its time ran out."""

    def __init__(self, dsn: str, handover: Handover) -> None:
        super().__init__("bus producer", self._died)
        self._dsn = dsn
        self._handover = handover
        self._conn: psycopg.Connection | None = None
        self._id = uuid4()
        self._batch: list[Pending] = []
        self._number = 0
        self._in_doubt: _Written | None = None
        self._partitions: dict[str, dict[int, int]] = {}  # ids by topic and number
        self._partitions_until = 0.0

    @override
    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._batch = self._handover.take(_IDLE_S)
            self._number += 1
            wait = _FIRST_RETRY_S
            while self._batch and not self._deliver(stopping):
                stopping.wait(wait)
                wait = min(2 * wait, _LAST_RETRY_S)
        self._disconnect()

    def _deliver(self, stopping: threading.Event) -> bool:
        """Tries once; True when every record of the batch has its result or its error."""
        try:
            if self._conn is None:
                self._conn = connect(self._dsn)
            self._write(self._conn, [pending for pending in self._batch if not pending.future.done()])
        except psycopg.OperationalError as error:
            log.warning("could not write %d records to the bus, trying again: %s", len(self._batch), error)
            self._disconnect()
            late = BusUnavailable(f"PostgreSQL did not take the record in time: {error}")
            now = time.monotonic()
            self._fail(late, lambda pending: stopping.is_set() or now > pending.deadline)
        except psycopg.Error as error:
            log.exception("PostgreSQL refused %d records of the bus", len(self._batch))
            self._disconnect()
            self._fail(BusError(f"PostgreSQL refused the batch that the record was in: {error}"))
        done = all(pending.future.done() for pending in self._batch)
        if done:
            self._in_doubt = None
        return done

    def _write(self, conn: psycopg.Connection, batch: Sequence[Pending]) -> None:
        """Writes the batch, unless that was done by a commit whose answer was lost."""
        self._learn_partitions(conn, {pending.record.topic for pending in batch})
        places = [(pending, place) for pending in batch if (place := self._place(pending)) is not None]
        if not places:
            return
        with conn.transaction() as transaction:
            if not store.claim_batch(conn, self._id, self._number):
                raise psycopg.Rollback(transaction)  # there is nothing to do, and no second commit to be in doubt
            offsets = store.append(conn, [(partition_id, pending.record) for pending, (partition_id, _) in places])
            positions = [(partition, offset) for (_, (_, partition)), offset in zip(places, offsets, strict=True)]
            self._in_doubt = _Written([pending for pending, _ in places], positions)
        if self._in_doubt is not None:
            self._in_doubt.tell()
            self._in_doubt = None

    def _learn_partitions(self, conn: psycopg.Connection, topics: set[str]) -> None:
        """Of topics that are new to us, and now and then of all, as partitions may be added."""
        if time.monotonic() < self._partitions_until and topics <= self._partitions.keys():
            return
        found: dict[str, dict[int, int]] = {}
        for partition, partition_id in store.partition_ids(conn, sorted(topics | self._partitions.keys())).items():
            found.setdefault(partition.topic, {})[partition.number] = partition_id
        self._partitions = found
        self._partitions_until = time.monotonic() + _PARTITIONS_FOR_S

    def _place(self, pending: Pending) -> tuple[int, Partition] | None:
        """Where the record goes; None when its future had to be failed."""
        record = pending.record
        ids = self._partitions.get(record.topic)
        if not ids:
            pending.fail(UnknownTopic(f"topic {record.topic} does not exist: make it with `headrace topics`"))
            return None
        number = partition_of(record.key, len(ids)) if record.partition is None else record.partition
        if number not in ids:
            pending.fail(BusError(f"topic {record.topic} has {len(ids)} partitions, and no partition {number}"))
            return None
        return ids[number], Partition(record.topic, number)

    def _fail(self, error: BusError, which: Callable[[Pending], bool] = lambda _: True) -> None:
        for pending in self._batch:
            if which(pending):
                pending.fail(error)

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _died(self, error: BaseException) -> None:
        self._handover.close(BusBroken(f"the thread that writes to the bus died: {error!r}"))
