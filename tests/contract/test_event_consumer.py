"""The consumer of events on both buses: each event takes effect once, in its order, and a bad one stops nobody."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from fix_bus import BUSES, WAIT, Place, collect, open_place, until
from headrace_kit.bus import Partition, Producer, Record
from headrace_kit.bus.cloudevents import CloudEvent
from headrace_kit.bus.handler import HANDLED_EVENTS_DDL, EventConsumer, TooManyDeadLetters, TryAgain

CHANGED = "headrace.test.Changed"


@dataclass
class Stage:
    """A topic with its dead letters, a database with effects, and what the handler does with events by their data."""

    place: Place
    topic: str
    dsn: str
    producer: Producer
    behave: dict[bytes, Callable[[psycopg.Connection[Any], int], None]] = field(default_factory=dict)
    tries: dict[bytes, int] = field(default_factory=dict)
    deaths: list[BaseException] = field(default_factory=list)

    def handle(self, conn: psycopg.Connection[Any], event: CloudEvent) -> None:
        self.tries[event.data] = self.tries.get(event.data, 0) + 1
        conn.execute("INSERT INTO things.effects (data) VALUES (%s)", [event.data])
        if event.data in self.behave:
            self.behave[event.data](conn, self.tries[event.data])

    def effects(self) -> list[bytes]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return [data for (data,) in conn.execute("SELECT data FROM things.effects ORDER BY id")]

    def send(self, data: bytes, *, partition: int = 0, event_id: str = "", kind: str = CHANGED) -> None:
        event = CloudEvent(
            id=event_id or str(uuid.uuid4()),
            type=kind,
            source="/test",
            subject="tenants/default/things/a",
            time=datetime.now(UTC),
            tenant_id="default",
            data=data,
        )
        record = event.to_record(self.topic, "key")
        self.send_record(Record(record.topic, record.key, record.value, record.headers, partition))

    def send_record(self, record: Record) -> None:
        self.producer.publish(record).result(WAIT)

    @contextmanager
    def consuming(self, attempts: int = 5, most_dead_letters: int = 100) -> Iterator[EventConsumer]:
        consumer = EventConsumer(
            self.place.bus,
            self.topic,
            [self.topic],
            [CHANGED],
            self.handle,
            dsn=self.dsn,
            schema="things",
            on_death=self.deaths.append,
            attempts=attempts,
            most_dead_letters=most_dead_letters,
        )
        consumer.start()
        try:
            yield consumer
        finally:
            consumer.close()
            assert consumer.join(WAIT)

    def until_effects(self, *expected: bytes) -> None:
        until(lambda: len(self.effects()) >= len(expected))
        assert self.effects() == list(expected)


@pytest.fixture(params=BUSES)
def stage(request: pytest.FixtureRequest, database: str) -> Iterator[Stage]:
    with open_place(request.param, request) as place, closing(place.bus.producer()) as producer:
        topic = place.topic(2)
        place.bus.ensure_topics({f"{topic}.dlq": 1})
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("CREATE SCHEMA things")
            conn.execute("SET search_path = things")
            conn.execute(HANDLED_EVENTS_DDL)
            conn.execute("CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY, data bytea NOT NULL)")
        yield Stage(place, topic, database, producer)


def fail(_: psycopg.Connection[Any], tries: int) -> None:
    raise ValueError(f"try {tries}")


def test_an_event_takes_effect_once(stage: Stage) -> None:
    stage.send(b"1", event_id="one")
    stage.send(b"1", event_id="one")
    stage.send(b"not for us", kind="headrace.test.Other")
    with stage.consuming():
        stage.send(b"2")
        stage.until_effects(b"1", b"2")
    stage.send(b"1", event_id="one")
    stage.send(b"3")
    with stage.consuming():
        stage.until_effects(b"1", b"2", b"3")
    assert stage.tries == {b"1": 1, b"2": 1, b"3": 1}
    assert not stage.deaths


def test_a_failed_try_leaves_nothing_and_holds_back_only_its_partition(stage: Stage) -> None:
    def fail_twice(conn: psycopg.Connection[Any], tries: int) -> None:
        if tries <= 2:
            fail(conn, tries)

    stage.behave[b"bad"] = fail_twice
    stage.send(b"bad", partition=0)
    stage.send(b"behind", partition=0)
    stage.send(b"beside", partition=1)
    with stage.consuming():
        stage.until_effects(b"beside", b"bad", b"behind")
    assert stage.tries == {b"bad": 3, b"behind": 1, b"beside": 1}


def test_what_passes_by_itself_is_tried_without_end(stage: Stage) -> None:
    def wait_for_it(conn: psycopg.Connection[Any], tries: int) -> None:
        if tries == 1:
            raise TryAgain("the other side is not up")
        if tries == 2:
            raise psycopg.errors.DeadlockDetected("again")
        if tries == 3:
            with psycopg.connect(stage.dsn, autocommit=True) as killer:
                killer.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
            conn.execute("SELECT 1")

    stage.behave[b"1"] = wait_for_it
    stage.send(b"1")
    stage.send(b"2")
    with stage.consuming(attempts=1):
        stage.until_effects(b"1", b"2")
    assert stage.tries == {b"1": 4, b"2": 1}
    assert not stage.deaths


def test_what_cannot_be_handled_becomes_a_dead_letter(stage: Stage) -> None:
    stage.behave[b"bad"] = fail
    stage.send(b"bad", event_id="the bad one")
    stage.send_record(Record(stage.topic, b"k", b"no event", {"some": b"header"}, partition=0))
    stage.send(b"good")
    with stage.consuming(attempts=3):
        stage.until_effects(b"good")
    assert stage.tries == {b"bad": 3, b"good": 1}
    with closing(stage.place.bus.reader([f"{stage.topic}.dlq"], {})) as reader:
        bad, no_event = collect(reader, 2)
    assert (bad.key, bad.value, bad.headers["ce_id"]) == (b"key", b"bad", b"the bad one")
    assert {name: value for name, value in bad.headers.items() if name.startswith("dlq_")} == {
        "dlq_reason": b"ValueError: try 3",
        "dlq_consumer": stage.topic.encode(),
        "dlq_topic": stage.topic.encode(),
        "dlq_partition": b"0",
        "dlq_offset": b"0",
    }
    assert (no_event.value, no_event.headers["some"]) == (b"no event", b"header")
    assert b"header ce_specversion is missing" in no_event.headers["dlq_reason"]
    assert stage.place.bus.end_offsets([stage.topic])[Partition(stage.topic, 0)] == 3


def test_too_many_dead_letters_end_the_process(stage: Stage) -> None:
    for number in range(6):
        stage.behave[b"%d" % number] = fail
        stage.send(b"%d" % number)
    with stage.consuming(attempts=1, most_dead_letters=3) as consumer:
        assert consumer.join(WAIT)
    assert [type(death) for death in stage.deaths] == [TooManyDeadLetters]
    assert "ValueError: try 1" in str(stage.deaths[0])
    assert stage.effects() == []


def test_notes_of_long_ago_are_forgotten(stage: Stage) -> None:
    with psycopg.connect(stage.dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO things.handled_events SELECT 'default', 'c', n::text, now() - n * interval '1 day'"
            " FROM generate_series(0, 20) AS n"
        )
        with stage.consuming():
            stage.send(b"1")
            stage.until_effects(b"1")
        assert conn.execute("SELECT count(*) FROM things.handled_events WHERE consumer = 'c'").fetchone() == (7,)


def test_closing_does_not_wait_for_what_is_held_back(stage: Stage) -> None:
    stage.behave[b"1"] = fail
    stage.send(b"1")
    with stage.consuming(attempts=1_000):
        until(lambda: stage.tries.get(b"1", 0) >= 3)
    assert stage.tries[b"1"] < 1_000
