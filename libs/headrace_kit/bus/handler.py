"""The consumer loop for events: each handled once, in order of its key, in the transaction of its effect."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from typing_extensions import override

from headrace_kit.bus import (
    Assignment,
    Bus,
    BusBroken,
    BusError,
    BusUnavailable,
    Consumer,
    Partition,
    Producer,
    Received,
    Record,
    dead_letters,
)
from headrace_kit.bus.cloudevents import CloudEvent, MalformedEvent, from_received
from headrace_kit.telemetry import Telemetry
from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

HANDLED_EVENTS_DDL: Final = """
CREATE TABLE handled_events (
    tenant_id   text        NOT NULL,
    consumer    text        NOT NULL,
    event_id    text        NOT NULL,
    handle_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, consumer, event_id)
);
CREATE INDEX handled_events_by_time ON handled_events (handle_time);
"""
"""The table, as it stands in the first migration of every service that consumes events."""

Handle = Callable[[psycopg.Connection[Any], CloudEvent], None]

_POLL_S: Final = 0.5
_RECONNECT_S: Final = 1.0
_COMMIT_S: Final = 1.0
_FIRST_RETRY_S: Final = 0.1
_LAST_RETRY_S: Final = 10.0
_FORGET_AFTER_DAYS: Final = 7
_FORGET_EVERY_S: Final = 600.0
_FORGET_ROWS: Final = 10_000
_DEAD_LETTER_S: Final = 30.0
_POLL_RECORDS: Final = 100
_NO_TELEMETRY: Final = Telemetry()


class TryAgain(Exception):  # noqa: N818 - says what to do
    """Raised by a handler for what is not the event's fault and will pass: the event is tried for as long as it takes.

    Errors of the database's connection and of the bus are taken so without it.
    """


class TooManyDeadLetters(RuntimeError):  # noqa: N818 - says what it is
    """So many events in a row could not be handled that the fault is not with them."""


@dataclass(slots=True)
class _Trouble:
    """A record that failed. Its partition is held back, then read again from there."""

    offset: int
    failures: int = 0
    pause_s: float = _FIRST_RETRY_S
    held_until: float | None = None


class EventConsumer(Worker):
    """Hands events of some types to `handle`, as a member of a group; others are passed over.

    `handle(conn, event)` runs in a transaction with the note that the event was handled, in the role of `dsn`, which
    sees all tenants: it keeps to `event.tenant_id` itself. What it raises undoes the transaction, and the event is
    tried again after a growing pause: `attempts` times, then it goes to the topic `<topic>.dlq` with the reason, and
    the partition goes on. `TryAgain`, lost connections, deadlocks and an absent bus are tried without end.
    """

    def __init__(
        self,
        bus: Bus,
        group: str,
        topics: Sequence[str],
        types: Collection[str],
        handle: Handle,
        *,
        dsn: str,
        schema: str,
        on_death: Callable[[BaseException], None],
        attempts: int = 5,
        most_dead_letters: int = 100,
        telemetry: Telemetry = _NO_TELEMETRY,
    ) -> None:
        """`types` are full names of messages. After `most_dead_letters` without a success between them the thread
        dies, by TooManyDeadLetters: then the fault is with the handler.
        """
        super().__init__(f"{group} events", on_death)
        self._bus = bus
        self._group = group
        self._topics = topics
        self._types = frozenset(types)
        self._handle = handle
        self._dsn = dsn
        self._attempts = attempts
        self._most_dead_letters = most_dead_letters
        self._telemetry = telemetry
        self._dead_letters = 0
        self._troubles: dict[Partition, _Trouble] = {}
        self._forget_at = 0.0
        self._settled: dict[Partition, int] = {}
        """Where reading goes on after a crash, and is not committed yet."""
        self._commit_now = False
        self._commit_at = 0.0
        table = sql.Identifier(schema, "handled_events")
        self._note = sql.SQL(
            "INSERT INTO {} (tenant_id, consumer, event_id) VALUES (%(tenant_id)s, %(consumer)s, %(event_id)s)"
            " ON CONFLICT DO NOTHING"
        ).format(table)
        self._forget = sql.SQL(
            "DELETE FROM {table} WHERE (tenant_id, consumer, event_id) IN ("
            " SELECT tenant_id, consumer, event_id FROM {table}"
            " WHERE handle_time < now() - %(days)s * interval '1 day' LIMIT %(most)s)"
        ).format(table=table)

    @override
    def run(self, stopping: threading.Event) -> None:
        assignment = Assignment(on_lost=self._lost)
        with (
            closing(self._bus.producer()) as producer,
            closing(self._bus.consumer(self._group, self._topics, assignment)) as consumer,
        ):
            self._hurry = consumer.wakeup
            while not stopping.is_set():
                try:
                    with psycopg.connect(self._dsn, autocommit=True) as conn:
                        while not stopping.is_set() and not conn.broken:
                            self._turn(conn, consumer, producer, stopping)
                        self._commit(consumer)
                except (psycopg.OperationalError, BusUnavailable) as error:
                    log.warning("%s: trying again: %s", self.name, error)
                    stopping.wait(_RECONNECT_S)

    def _turn(
        self, conn: psycopg.Connection, consumer: Consumer, producer: Producer, stopping: threading.Event
    ) -> None:
        """Polls once, and handles what came; what of it was handled is committed however this ends.

        What was passed over is committed with it, or after a second: to read it again costs less than a commit for each.
        """
        self._let_go(consumer, time.monotonic())
        try:
            for received in consumer.poll(_POLL_S if not self._troubles else _FIRST_RETRY_S, _POLL_RECORDS):
                trouble = self._troubles.get(received.partition)
                if stopping.is_set():
                    break
                if trouble is not None and trouble.held_until is not None:
                    continue
                if self._done(conn, producer, received):
                    self._troubles.pop(received.partition, None)
                    self._settled[received.partition] = received.offset + 1
                else:
                    self._hold(consumer, received)
        finally:
            if self._commit_now or time.monotonic() > self._commit_at:
                self._commit(consumer)
        self._forget_old(conn)

    def _commit(self, consumer: Consumer) -> None:
        if self._settled:
            consumer.commit(self._settled)
        self._settled = {}
        self._commit_now = False
        self._commit_at = time.monotonic() + _COMMIT_S

    def _done(self, conn: psycopg.Connection, producer: Producer, received: Received) -> bool:
        """Handles a record; True when it is settled, be it as a dead letter, False when it must be tried again."""
        try:
            event = from_received(received)
            if event.type in self._types:
                self._commit_now = True
                with self._telemetry.span(event.type, "consumer", traceparent=event.traceparent):
                    self._handle_once(conn, event)
                self._dead_letters = 0
        except MalformedEvent as error:
            return self._bury(producer, received, error)
        except (psycopg.OperationalError, BusUnavailable, TryAgain) as error:
            log.warning("%s: %s waits: %s", self.name, _where(received), error)
            return False
        except BusBroken:
            raise
        except Exception as error:  # whatever a handler raises
            failures = self._count_failure(received)
            log.exception("%s: %s failed %d times", self.name, _where(received), failures)
            return failures >= self._attempts and self._bury(producer, received, error)
        return True

    def _handle_once(self, conn: psycopg.Connection, event: CloudEvent) -> None:
        values = {"tenant_id": event.tenant_id, "consumer": self._group, "event_id": event.id}
        with conn.transaction():
            if conn.execute(self._note, values).rowcount:
                self._handle(conn, event)

    def _count_failure(self, received: Received) -> int:
        trouble = self._troubles.get(received.partition)
        if trouble is None or trouble.offset != received.offset:
            trouble = self._troubles[received.partition] = _Trouble(received.offset)
        trouble.failures += 1
        return trouble.failures

    def _hold(self, consumer: Consumer, received: Received) -> None:
        """Keeps the partition back for a while, longer each time, and then has the record again."""
        trouble = self._troubles.get(received.partition)
        if trouble is None or trouble.offset != received.offset:
            trouble = self._troubles[received.partition] = _Trouble(received.offset)
        consumer.seek(received.partition, received.offset)
        consumer.pause([received.partition])
        trouble.held_until = time.monotonic() + trouble.pause_s
        trouble.pause_s = min(2 * trouble.pause_s, _LAST_RETRY_S)

    def _let_go(self, consumer: Consumer, now: float) -> None:
        for partition, trouble in self._troubles.items():
            if trouble.held_until is not None and now > trouble.held_until:
                trouble.held_until = None
                consumer.resume([partition])

    def _lost(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._troubles.pop(partition, None)
            self._settled.pop(partition, None)

    def _bury(self, producer: Producer, received: Received, error: Exception) -> bool:
        """Puts the record with its story on the dead-letter topic; False when the bus does not take it now."""
        story = dead_letters.story(
            received.partition, received.offset, f"{type(error).__name__}: {error}", consumer=self._group
        )
        reason = story["dlq_reason"].decode()
        try:
            topic = dead_letters.letters_of(received.partition.topic)
            letter = Record(topic, received.key, received.value, {**received.headers, **story})
            producer.publish(letter).result(_DEAD_LETTER_S)
        except BusBroken:
            raise
        except (BusError, TimeoutError) as failure:
            log.error("%s: %s waits to become a dead letter: %s", self.name, _where(received), failure)  # noqa: TRY400 - the bus's story, not ours
            return False
        self._commit_now = True
        self._dead_letters += 1
        log.error("%s: %s is a dead letter: %s", self.name, _where(received), reason)
        if self._dead_letters > self._most_dead_letters:
            raise TooManyDeadLetters(
                f"{self.name}: {self._dead_letters} events in a row became dead letters, the last because of"
                f" {reason}; nothing more is consumed until that is mended"
            )
        return True

    def _forget_old(self, conn: psycopg.Connection) -> None:
        """Deletes notes of events that the bus will not deliver again, now and then."""
        if time.monotonic() > self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_EVERY_S
            conn.execute(self._forget, {"days": _FORGET_AFTER_DAYS, "most": _FORGET_ROWS})


def _where(received: Received) -> str:
    return f"{received.partition.topic}/{received.partition.number} offset {received.offset}"
