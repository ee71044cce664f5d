"""The transactional outbox: an event is a row written with its fact; a relay publishes it afterwards.

Every service's first migration holds `OUTBOX_DDL`. Append in the transaction of the fact, **after** the write that locks
the resource whose name is the key: then `seq` grows in the order in which transactions on that resource commit.

Why by `seq`, and not by transaction id below the snapshot's horizon: rows are deleted when they are published, so one
that commits late is found late and never passed over. A transaction id is taken at the first write, which may be long
before the lock of the resource; of two transactions the second on a resource may have the lower one, and be told first.
And the horizon makes every event wait for the oldest transaction of the whole server.
"""

import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Final, LiteralString

import psycopg
from google.protobuf.message import Message
from psycopg import sql
from typing_extensions import override

from headrace_kit import names, telemetry, topics
from headrace_kit.bell import Bell
from headrace_kit.bus import BusBroken, Producer, Record
from headrace_kit.bus.cloudevents import CloudEvent
from headrace_kit.worker import Worker

log = logging.getLogger(__name__)

OUTBOX_DDL: Final = """
CREATE TABLE outbox (
    tenant_id   text        NOT NULL,
    event_id    uuid        NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    topic       text        NOT NULL,
    key         text        NOT NULL,
    type        text        NOT NULL,
    subject     text        NOT NULL,
    value       bytea       NOT NULL,
    traceparent text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, event_id)
);
"""
"""The table, as it stands in the first migration of every service that emits events."""

MANY_S: Final = 0.05
"""`round_s` for events that are many, and for one of which nobody waits."""
_BATCH: Final = 200
_POLL_S: Final = 0.5
_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 10.0
_DRAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event to be published; `schema` is where its outbox is."""

    schema: str
    tenant_id: str
    event_id: uuid.UUID
    topic: str
    key: str
    type: str
    subject: str
    value: bytes
    traceparent: str


def event(subject: str, message: Message, *, key: str | None = None, traceparent: str | None = None) -> OutboxEvent:
    """The event that `message` is, about the resource whose full name is `subject`, in the trace given or under way.

    Events with one key keep their order; it is the subject unless given. Raises KeyError for a message that no topic
    of `topics` holds, ValueError for one that is larger than its topic takes.
    """
    topic, _ = topics.EVENT_TYPES[message.DESCRIPTOR.full_name]
    value = message.SerializeToString()
    if len(value) > topic.max_bytes:
        raise ValueError(f"{subject}: its event has {len(value)} bytes, {topic.name} takes {topic.max_bytes}")
    return OutboxEvent(
        schema=topic.producer,
        tenant_id=names.tenant_of(subject),
        event_id=uuid.uuid4(),
        topic=topic.name,
        key=subject if key is None else key,
        type=message.DESCRIPTOR.full_name,
        subject=subject,
        value=value,
        traceparent=telemetry.current_traceparent() if traceparent is None else traceparent,
    )


async def append(
    conn: psycopg.AsyncConnection[Any], subject: str, message: Message, *, key: str | None = None
) -> OutboxEvent:
    """Writes the event that `message` is to the service's outbox, in the caller's transaction; see `event`."""
    return await append_event(conn, event(subject, message, key=key))


async def append_event(conn: psycopg.AsyncConnection[Any], row: OutboxEvent) -> OutboxEvent:
    """Writes an event, in the caller's transaction."""
    await conn.execute(_insert(row.schema, _ONE), asdict(row))
    return row


async def append_events(conn: psycopg.AsyncConnection[Any], rows: Sequence[OutboxEvent]) -> None:
    """Writes events of one schema in their order, in the caller's transaction."""
    if rows:
        columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(OutboxEvent)}
        await conn.execute(_insert(rows[0].schema, _MANY), columns)


def append_event_sync(conn: psycopg.Connection[Any], row: OutboxEvent) -> OutboxEvent:
    """As `append_event`, for threads."""
    conn.execute(_insert(row.schema, _ONE), asdict(row))
    return row


_ONE: Final[LiteralString] = (
    "VALUES (%(tenant_id)s, %(event_id)s, %(topic)s, %(key)s, %(type)s, %(subject)s, %(value)s, %(traceparent)s)"
)
_MANY: Final[LiteralString] = (
    "SELECT * FROM unnest(%(tenant_id)s::text[], %(event_id)s::uuid[], %(topic)s::text[], %(key)s::text[],"
    " %(type)s::text[], %(subject)s::text[], %(value)s::bytea[], %(traceparent)s::text[])"
)
"""From a list a column; of one event it takes several times as long as `_ONE`."""


@lru_cache
def _insert(schema: str, rows: LiteralString) -> sql.Composed:
    """The events, and a call to the relay, which hears it when the transaction commits."""
    return sql.SQL(
        "WITH added AS ("
        " INSERT INTO {} (tenant_id, event_id, topic, key, type, subject, value, traceparent) {})"
        " SELECT pg_notify({}, '')"
    ).format(sql.Identifier(schema, "outbox"), sql.SQL(rows), sql.Literal(_channel(schema)))


def _channel(schema: str) -> str:
    return f"{schema}_outbox"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row of the outbox, as it will be published."""

    seq: int
    key: str
    record: Record


class OutboxRelay(Worker):
    """Publishes what commits in a schema's outbox: at least once, the events of one key in their order.

    `dsn` is of a role that sees all tenants. Of several relays of a schema one works, and the others stand by.
    A bus that is away makes it wait. When asked to stop it first publishes what is left, for five seconds at most.
    An event after a pause goes at once; under load all of `round_s` go in one call of the bus.
    """

    def __init__(
        self,
        dsn: str,
        schema: str,
        producer: Producer,
        on_death: Callable[[BaseException], None],
        *,
        round_s: float = 0.02,
    ) -> None:
        super().__init__(f"{schema} outbox relay", on_death)
        self._bell = Bell()
        self._hurry = self._bell.ring
        self._round_s = round_s
        self._dsn = dsn
        self._schema = schema
        self._producer = producer
        table = sql.Identifier(schema, "outbox")
        self._select = sql.SQL(
            "SELECT seq, tenant_id, event_id, topic, key, type, subject, value, traceparent, create_time"
            " FROM {} ORDER BY seq LIMIT %(limit)s"
        ).format(table)
        self._delete = sql.SQL("DELETE FROM {} WHERE seq = ANY(%(seqs)s)").format(table)

    @override
    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                with self._bell, psycopg.connect(self._dsn, autocommit=True) as conn:
                    self._serve(conn, stopping)
            except psycopg.OperationalError as error:
                log.warning("%s: the database is away, trying again: %s", self.name, error)
                stopping.wait(_RETRY_S)

    def _serve(self, conn: psycopg.Connection, stopping: threading.Event) -> None:
        while not self._is_first(conn):
            if stopping.wait(_POLL_S):
                return
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(_channel(self._schema))))
        retry = _RETRY_S
        while not stopping.is_set():
            began = time.monotonic()
            rows = self._read(conn)
            if not rows:
                self._bell.notes(conn, _POLL_S)
            elif self._relay(conn, rows, stopping):
                retry = _RETRY_S
                stopping.wait(max(0.0, began + self._round_s - time.monotonic()))
            else:
                stopping.wait(retry)
                retry = min(2 * retry, _LAST_RETRY_S)
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline and (rows := self._read(conn)) and self._relay(conn, rows, stopping):
            pass

    def _is_first(self, conn: psycopg.Connection) -> bool:
        """Takes the lock that the one working relay of the schema holds as long as its connection lives."""
        row = conn.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0))", {"name": f"outbox {self._schema}"}
        ).fetchone()
        return bool(row and row[0])

    def _read(self, conn: psycopg.Connection) -> list[_Waiting]:
        rows = conn.cursor(binary=True).execute(self._select, {"limit": _BATCH})
        return [
            _Waiting(
                seq,
                key,
                CloudEvent(
                    id=str(event_id),
                    type=kind,
                    source=f"/headrace/{self._schema}",
                    subject=subject,
                    time=create_time,
                    tenant_id=tenant_id,
                    data=value,
                    traceparent=traceparent,
                ).to_record(topic, key),
            )
            for seq, tenant_id, event_id, topic, key, kind, subject, value, traceparent, create_time in rows
        ]

    def _relay(self, conn: psycopg.Connection, rows: Sequence[_Waiting], stopping: threading.Event) -> bool:
        """Publishes the rows and deletes those that are durable; False when some are not."""
        durable: list[int] = []
        failure: BaseException | None = None
        for wave in _waves(rows):
            published = [self._producer.publish(row.record) for row in wave]
            failure = _wait(published, stopping)
            results = zip(wave, published, strict=True)
            durable += [row.seq for row, future in results if future.done() and not future.exception()]
            if failure is not None:
                break
        conn.execute(self._delete, {"seqs": durable})
        if isinstance(failure, BusBroken):
            raise failure
        if failure is not None:
            log.warning("%s: events wait, the bus does not take them: %s", self.name, failure)
        return failure is None


def _waves(rows: Iterable[_Waiting]) -> Iterable[list[_Waiting]]:
    """The first event of every key, then the second of those that have one, and so on.

    Behind a record that failed the next may get through. With one of a key under way at a time none can overtake.
    """
    seen: defaultdict[tuple[str, str], int] = defaultdict(int)
    waves: defaultdict[int, list[_Waiting]] = defaultdict(list)
    for row in rows:
        place = (row.record.topic, row.key)
        waves[seen[place]].append(row)
        seen[place] += 1
    return waves.values()


def _wait(published: Sequence[Future[Any]], stopping: threading.Event) -> BaseException | None:
    """Waits for all results, when asked to stop for five seconds at most; returns what kept one from being durable."""
    deadline = float("inf")
    while futures.wait(published, timeout=_POLL_S).not_done:
        if stopping.is_set():
            deadline = min(deadline, time.monotonic() + _DRAIN_S)
        if time.monotonic() > deadline:
            return TimeoutError("the relay was asked to stop before the bus acknowledged them")
    return next((error for future in published if (error := future.exception())), None)
