"""The outbox and its relay on a real PostgreSQL: what committed is published, all of it, in the order of its key."""

import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import psycopg
import pytest
from hypothesis import strategies as st

from fix_bus import WAIT, Place, collect, open_place, until
from headrace.api.registry.v1 import registry_events_pb2, registry_pb2
from headrace_kit import names, outbox
from headrace_kit.bus import BusBroken, BusUnavailable, Partition, Producer, Received, Record
from headrace_kit.bus.cloudevents import from_received
from headrace_kit.bus.handler import HANDLED_EVENTS_DDL
from headrace_kit.bus.postgres import PostgresBus
from headrace_kit.db import as_role, request_role, worker_role
from headrace_kit.migrate import Schema
from headrace_kit.outbox import OUTBOX_DDL, OutboxEvent, OutboxRelay

ROOT = Path(__file__).parents[2]


@dataclass
class Recorder:
    """A producer that keeps what it is given; `refuse` says what becomes of the next records."""

    published: list[Record] = field(default_factory=list)
    refuse: Callable[[Record], Exception | None] = lambda _: None

    def publish(self, record: Record) -> Future[tuple[Partition, int]]:
        future: Future[tuple[Partition, int]] = Future()
        error = self.refuse(record)
        if error is not None:
            future.set_exception(error)
        else:
            self.published.append(record)
            future.set_result((Partition(record.topic, 0), len(self.published)))
        return future

    def flush(self, timeout: float) -> bool:
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def dsn(database: str) -> str:
    """A database with an outbox in the schema `things`, and things that transactions lock."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA things")
        conn.execute("SET search_path = things")
        conn.execute(OUTBOX_DDL)
        conn.execute("ALTER TABLE outbox ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()")  # for HorizonRelay
        conn.execute("CREATE TABLE things (key text PRIMARY KEY, version int NOT NULL)")
    return database


def thing(key: str, version: int, topic: str = "test.things") -> OutboxEvent:
    return OutboxEvent("things", "default", uuid.uuid4(), topic, key, "Changed", key, f"{key}{version}".encode(), "")


def relay_to(producer: Producer, dsn: str, deaths: list[BaseException] | None = None) -> OutboxRelay:
    return OutboxRelay(dsn, "things", producer, no_death if deaths is None else deaths.append)


def no_death(error: BaseException) -> None:
    raise AssertionError from error


class CursorRelay(OutboxRelay):
    """What everybody writes first: reads behind the last number it saw. Numbers are taken before commit."""

    last = 0

    def _read(self, conn: psycopg.Connection) -> list[outbox._Waiting]:
        rows = [row for row in super()._read(conn) if row.seq > self.last]
        self.last = max((row.seq for row in rows), default=self.last)
        return rows


class HorizonRelay(OutboxRelay):
    """What is often advised: by transaction id, below the oldest transaction that still runs."""

    def _read(self, conn: psycopg.Connection) -> list[outbox._Waiting]:
        rows = conn.execute(
            "SELECT seq FROM things.outbox WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, seq"
        )
        order = {seq: place for place, (seq,) in enumerate(rows)}
        return sorted((row for row in super()._read(conn) if row.seq in order), key=lambda row: order[row.seq])


# A schedule is what happens, one after the other, on a few connections: (connection, what, which thing).
# "change" takes the lock of a thing and appends an event of it, as every service does; a thing that another
# transaction has locked is left alone, as the connection would only wait.
KEYS = ["a", "b", "c"]
CONNECTIONS = 3
Step = tuple[int, str, str]
steps = st.tuples(
    st.integers(0, CONNECTIONS - 1),
    st.sampled_from(["change", "change", "change", "other", "commit", "commit", "rollback", "relay"]),
    st.sampled_from(KEYS),
)
schedules = st.lists(steps, max_size=25)


class Machine:
    """Real connections, on which schedules are played."""

    def __init__(self, dsn: str, stack: ExitStack) -> None:
        self.conns = [stack.enter_context(psycopg.connect(dsn)) for _ in range(CONNECTIONS)]
        self.relaying = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        self.dsn = dsn

    def play(self, schedule: Sequence[Step], kind: type[OutboxRelay] = OutboxRelay) -> tuple[list[str], list[str]]:
        """Returns the events in the order in which their transactions committed, and in that of the bus."""
        self.relaying.execute("TRUNCATE things.outbox, things.things")
        self.relaying.execute("INSERT INTO things.things SELECT unnest(%s::text[]), 0", [KEYS])
        recorder = Recorder()
        relay = kind(self.dsn, "things", recorder, no_death)
        self.open: list[list[str]] = [[] for _ in self.conns]
        self.locked: dict[str, int] = {}
        self.committed: list[str] = []
        for connection, what, key in schedule:
            if what == "relay":
                self.relay(relay)
            else:
                self.step(connection, what, key)
        for connection in range(CONNECTIONS):
            self.step(connection, "commit", "")
        while self.relay(relay):
            pass
        return self.committed, [record.value.decode() for record in recorder.published]

    def step(self, connection: int, what: str, key: str) -> None:
        conn = self.conns[connection]
        if what == "change" and self.locked.get(key, connection) == connection:
            self.locked[key] = connection
            row = conn.execute(
                "UPDATE things.things SET version = version + 1 WHERE key = %s RETURNING version", [key]
            ).fetchone()
            assert row
            outbox.append_event_sync(conn, thing(key, row[0]))
            self.open[connection].append(f"{key}{row[0]}")
        elif what == "other":  # a write that takes a transaction id, long before the lock of a thing perhaps
            conn.execute("SELECT pg_current_xact_id()")
        elif what in {"commit", "rollback"}:
            if what == "commit":
                self.committed += self.open[connection]
                conn.commit()
            else:
                conn.rollback()
            self.open[connection] = []
            self.locked = {k: owner for k, owner in self.locked.items() if owner != connection}

    def relay(self, relay: OutboxRelay) -> bool:
        rows = relay._read(self.relaying)
        return bool(rows) and relay._relay(self.relaying, rows, threading.Event())


def in_order(events: Sequence[str], like: Sequence[str]) -> bool:
    return all([e for e in events if e[0] == key] == [e for e in like if e[0] == key] for key in KEYS)


@contextmanager
def machine(dsn: str) -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(dsn, stack)


def test_what_commits_is_published_once_and_in_the_order_of_its_key(dsn: str) -> None:
    with machine(dsn) as on:

        @hypothesis.settings(deadline=None, max_examples=150)
        @hypothesis.given(schedules)
        def holds(schedule: list[Step]) -> None:
            committed, published = on.play(schedule)
            assert sorted(published) == sorted(committed)
            assert in_order(published, committed)

        holds()


FIND = hypothesis.settings(deadline=None, max_examples=2_000, phases=[hypothesis.Phase.generate])


def test_the_schedules_catch_a_relay_that_remembers_the_last_number(dsn: str) -> None:
    def loses(schedule: list[Step]) -> bool:
        committed, published = on.play(schedule, CursorRelay)
        return bool(set(committed) - set(published))

    with machine(dsn) as on:
        hypothesis.find(schedules, loses, settings=FIND)
        assert loses([(0, "change", "a"), (1, "change", "b"), (1, "commit", ""), (1, "relay", ""), (0, "commit", "")])


def test_the_schedules_catch_a_relay_that_orders_by_transaction_id(dsn: str) -> None:
    def reorders(schedule: list[Step]) -> bool:
        committed, published = on.play(schedule, HorizonRelay)
        return len(published) == len(committed) and not in_order(published, committed)

    with machine(dsn) as on:
        hypothesis.find(schedules, reorders, settings=FIND)
        assert reorders(
            [(0, "other", ""), (1, "change", "a"), (1, "commit", ""), (0, "change", "a"), (0, "commit", "")]
        )


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(
    keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=12), refused=st.lists(st.booleans(), max_size=30)
)
@hypothesis.example(keys=["a", "a"], refused=[True])
def test_what_the_bus_refuses_is_not_overtaken(keys: list[str], refused: list[bool]) -> None:
    """The bus refuses any records of a batch and takes the others; the relay tries until all are there."""
    answers = iter(refused)
    recorder = Recorder(refuse=lambda _: BusUnavailable("not now") if next(answers, False) else None)
    left = [outbox._Waiting(n, key, Record("t", key.encode(), f"{key}{n}".encode())) for n, key in enumerate(keys)]
    expected = [row.record.value.decode() for row in left]

    class Table:
        def execute(self, _: object, values: dict[str, list[int]]) -> None:
            left[:] = [row for row in left if row.seq not in values["seqs"]]

    relay = relay_to(recorder, "")
    while left:
        relay._relay(Table(), list(left), threading.Event())  # type: ignore[arg-type]  # the one method it calls
    published = [record.value.decode() for record in recorder.published]
    assert sorted(published) == sorted(expected)
    assert in_order(published, expected)


def append_in_transactions(dsn: str, count: int, seed: int, committed: list[tuple[str, int]]) -> None:
    """Random transactions, some rolled back, some slow."""
    chance = random.Random(seed)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for _ in range(count):
            done = []
            undone = chance.random() < 0.2
            with conn.transaction(force_rollback=undone):
                for key in sorted(chance.sample(KEYS, chance.randint(1, 2))):  # sorted: no deadlocks
                    row = conn.execute(
                        "UPDATE things.things SET version = version + 1 WHERE key = %s RETURNING version", [key]
                    ).fetchone()
                    assert row
                    outbox.append_event_sync(conn, thing(key, row[0]))
                    done.append((key, row[0]))
                time.sleep(chance.choice([0, 0, 0.002, 0.01]))
            committed += [] if undone else done


@pytest.fixture(params=["postgres", pytest.param("kafka", marks=pytest.mark.real)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with open_place(request.param, request) as place:
        yield place


@contextmanager
def running(*relays: OutboxRelay) -> Iterator[None]:
    for relay in relays:
        relay.start()
    try:
        yield
    finally:
        for relay in relays:
            relay.close()
        assert all(relay.join(15) for relay in relays)


def by_key(records: Sequence[Received]) -> dict[str, list[int]]:
    """Versions in the order of their keys, as a consumer that remembers ids sees them."""
    seen: set[str] = set()
    found: defaultdict[str, list[int]] = defaultdict(list)
    for record in records:
        event = from_received(record)
        if event.id not in seen:
            seen.add(event.id)
            found[event.subject].append(int(event.data[1:]))
    return dict(found)


def remaining(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute("SELECT count(*) FROM things.outbox").fetchone()
    assert row
    return int(row[0])


def things(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO things.things SELECT unnest(%s::text[]), 0", [KEYS])


def test_writers_at_the_same_time_and_two_relays(place: Place, dsn: str) -> None:
    things(dsn)
    place.bus.ensure_topics({"test.things": 3})
    start = place.bus.end_offsets(["test.things"])
    committed: list[tuple[str, int]] = []
    with (
        closing(place.bus.producer()) as producer,
        closing(place.bus.reader(["test.things"], start)) as reader,
        running(relay_to(producer, dsn), relay_to(producer, dsn)),
    ):
        writers = [
            threading.Thread(target=append_in_transactions, args=(dsn, 60, seed, committed)) for seed in range(4)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        found = collect(reader, len(committed))
        until(lambda: remaining(dsn) == 0)
        found += reader.poll(0.5)
    assert len(found) == len(committed)
    last = {key: max(version for k, version in committed if k == key) for key in KEYS}
    assert by_key(found) == {key: list(range(1, last[key] + 1)) for key in KEYS}


RELAY_PROCESS = """
import sys, threading
from headrace_kit.bus.postgres import PostgresBus
from headrace_kit.outbox import OutboxRelay
bus = PostgresBus(sys.argv[2])
OutboxRelay(sys.argv[1], "things", bus.producer(), print).start()
print("started", flush=True)
threading.Event().wait()
"""


def test_a_relay_that_is_killed_loses_nothing(dsn: str) -> None:
    things(dsn)
    bus_dsn = as_role(dsn, worker_role("bus"))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/libs:{ROOT}/services"}
    committed: list[tuple[str, int]] = []
    with closing(PostgresBus(bus_dsn)) as bus, closing(bus.producer()) as producer:
        bus.ensure_topics({"test.things": 3})
        writer = threading.Thread(target=append_in_transactions, args=(dsn, 400, 1, committed))
        writer.start()
        for seconds in (0.05, 0.1, 0.2, 0.3):
            relay = subprocess.Popen(
                [sys.executable, "-c", RELAY_PROCESS, dsn, bus_dsn], env=environment, stdout=subprocess.PIPE
            )
            assert relay.stdout
            assert relay.stdout.readline() == b"started\n"
            time.sleep(seconds)
            relay.kill()
            relay.communicate()
        with running(relay_to(producer, dsn)):
            writer.join()
            until(lambda: remaining(dsn) == 0)
        with closing(bus.reader(["test.things"], {})) as reader:
            # A killed relay leaves some twice: there are more of them than were committed.
            found = collect(reader, sum(bus.end_offsets(["test.things"]).values()))
    last = {key: max(version for k, version in committed if k == key) for key in KEYS}
    assert by_key(found) == {key: list(range(1, last[key] + 1)) for key in KEYS}


def test_a_relay_publishes_what_comes_and_what_is_left_when_it_is_closed(dsn: str) -> None:
    recorder = Recorder()
    relay = relay_to(recorder, dsn)
    with psycopg.connect(dsn, autocommit=True) as conn, running(relay):
        until(lambda: conn.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchone())
        outbox.append_event_sync(conn, thing("a", 1))
        until(lambda: recorder.published)
        with conn.transaction():
            for version in range(2, 900):
                outbox.append_event_sync(conn, thing("a", version))
        relay.close()
    assert [r.value.decode() for r in recorder.published] == [f"a{n}" for n in range(1, 900)]
    assert remaining(dsn) == 0


def test_a_relay_waits_for_the_bus_and_for_the_database(dsn: str) -> None:
    away = threading.Event()
    away.set()
    recorder = Recorder(refuse=lambda _: BusUnavailable("away") if away.is_set() else None)
    with psycopg.connect(dsn, autocommit=True) as conn, running(relay_to(recorder, dsn)):
        outbox.append_event_sync(conn, thing("a", 1))
        time.sleep(0.5)
        away.clear()
        until(lambda: len(recorder.published) == 1)
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database() AND query LIKE '%%things%%outbox%%'"
        )
        outbox.append_event_sync(conn, thing("a", 2))
        until(lambda: len(recorder.published) == 2)


def test_a_broken_bus_is_told_as_a_death(dsn: str) -> None:
    deaths: list[BaseException] = []
    relay = relay_to(Recorder(refuse=lambda _: BusBroken("its thread died")), dsn, deaths)
    with psycopg.connect(dsn, autocommit=True) as conn:
        outbox.append_event_sync(conn, thing("a", 1))
    relay.start()
    assert relay.join(WAIT)
    assert [type(death) for death in deaths] == [BusBroken]


async def test_an_event_is_written_by_the_tenant_itself_in_its_transaction(database: str) -> None:
    registry = as_role(database, request_role("registry"))
    created = registry_events_pb2.ModelCreated(model=registry_pb2.Model(name="cookies"))
    subject = names.model("default", "cookies")
    async with await psycopg.AsyncConnection.connect(registry, autocommit=True) as conn:
        async with conn.transaction(force_rollback=True):
            await conn.execute("SELECT set_config('headrace.tenant', 'default', true)")
            await outbox.append(conn, subject, created)
        async with conn.transaction():
            await conn.execute("SELECT set_config('headrace.tenant', 'default', true)")
            written = await outbox.append(conn, subject, created, key="a key")
        await conn.execute("SELECT set_config('headrace.tenant', 'other', false)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await outbox.append(conn, subject, created)
    recorder = Recorder()
    with running(OutboxRelay(as_role(database, worker_role("registry")), "registry", recorder, no_death)):
        until(lambda: recorder.published)
    (record,) = recorder.published
    event = from_received(Received(Partition(record.topic, 0), 0, record.key, record.value, record.headers, 0))
    assert (record.topic, record.key) == ("headrace.registry.models.v1", b"a key")
    assert (event.id, event.type) == (str(written.event_id), "headrace.api.registry.v1.ModelCreated")
    assert (event.source, event.subject, event.tenant_id) == ("/headrace/registry", subject, "default")
    assert event.data == created.SerializeToString()


def test_an_event_larger_than_its_topic_is_refused_where_it_is_written() -> None:
    large = registry_events_pb2.ModelCreated(model=registry_pb2.Model(name="x" * (1 << 20)))
    with pytest.raises(ValueError, match="takes 1048576"):
        outbox.event(names.model("default", "x"), large)


def test_every_service_has_the_same_tables(database: str, schemas: Sequence[Schema]) -> None:
    """As OUTBOX_DDL and HANDLED_EVENTS_DDL say, whichever of them a service has."""
    columns = (
        "SELECT column_name, data_type, is_nullable, column_default, is_identity FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY column_name"
    )
    indexes = "SELECT replace(indexdef, schemaname || '.', '') FROM pg_indexes WHERE schemaname = %s AND tablename = %s"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA said")
        conn.execute("SET search_path = said")
        conn.execute(OUTBOX_DDL)
        conn.execute(HANDLED_EVENTS_DDL)
        found = 0
        for schema in schemas:
            for table in ("outbox", "handled_events"):
                theirs = [conn.execute(q, [schema.name, table]).fetchall() for q in (columns, indexes)]
                if any(theirs):
                    found += 1
                    said = [conn.execute(q, ["said", table]).fetchall() for q in (columns, indexes)]
                    assert (theirs[0], sorted(theirs[1])) == (said[0], sorted(said[1])), f"{schema.name}.{table}"
    assert found >= 4
