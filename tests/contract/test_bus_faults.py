"""What every bus bears: members and servers that are killed, processes that stand still, connections that are cut."""

import gc
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from fix_bus import (
    BUSES,
    WAIT,
    Place,
    collect,
    done,
    member_process,
    open_place,
    own_place,
    publish,
    quiet,
    until,
    values,
)
from headrace_kit.bus import (
    BusUnavailable,
    Partition,
    Producer,
    Record,
)
from headrace_kit.bus.postgres import PostgresBus, store
from headrace_kit.bus.postgres.consumer import Cursor
from headrace_kit.db import as_role, worker_role

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def refused_sockets() -> Iterator[None]:
    """kafka-python leaves sockets whose connection was refused to the garbage collector, and pytest keeps them with
    what was logged until the next test: they must not show in those of another file.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(params=BUSES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with open_place(request.param, request) as place:
        yield place


@pytest.fixture
def producer(place: Place) -> Iterator[Producer]:
    with closing(place.bus.producer()) as producer:
        yield producer


def test_takes_over_from_a_member_that_was_killed(place: Place, producer: Producer) -> None:
    topic = place.topic(2)
    publish(producer, topic, ["a", "b", "c", "d"])
    with member_process(place, topic, topic) as victim, closing(place.bus.consumer(topic, [topic])) as consumer:
        found = 0
        while found < 4:
            found += victim.polled()
        victim.ask(commit=True)
        victim.process.kill()
        victim.process.wait()
        publish(producer, topic, ["a", "b", "c", "d"], 4)
        found_here = collect(consumer, 4)
        assert sorted(values(found_here)) == [4, 5, 6, 7]


def test_a_member_that_stood_still_commits_nothing(place: Place, producer: Producer) -> None:
    topic = place.topic(1)
    publish(producer, topic, ["k"] * 10)
    with member_process(place, topic, topic) as sleeper:
        while sleeper.polled() < 10:
            pass
        sleeper.process.send_signal(signal.SIGSTOP)
        with closing(place.bus.consumer(topic, [topic])) as consumer:
            records = collect(consumer, 10)
            consumer.commit(done(records[:3]))
            sleeper.process.send_signal(signal.SIGCONT)
            sleeper.ask(commit=True)
        sleeper.process.kill()
        sleeper.process.wait()
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        assert values(collect(consumer, 7)) == [3, 4, 5, 6, 7, 8, 9]


@pytest.mark.real
def test_a_join_that_ended_behind_a_polls_back_is_not_forgotten(request: pytest.FixtureRequest) -> None:
    with open_place("kafka", request) as place:
        topic = place.topic(2)
        with closing(place.bus.consumer(topic, [topic])) as consumer:
            until(lambda: len(consumer.assignment()) == 2, consumer)
            library: Any = getattr(consumer, "_consumer")  # noqa: B009 - what is no part of the port
            place.bus.ensure_topics({topic: 4})
            library._cluster.request_update()
            while library._coordinator._join_task is None:  # begins to join anew, and does not wait for that
                library.poll(timeout_ms=0)
            until(lambda: library._coordinator._join_task.is_done)
            until(lambda: len(consumer.assignment()) == 4, consumer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgres", pytest.param("kafka", marks=pytest.mark.real)])
def test_survives_a_kill_of_the_server(kind: str) -> None:
    with own_place(kind) as (place, server):
        topic = place.topic(3)
        with (
            closing(place.bus.producer()) as producer,
            closing(place.bus.consumer(topic, [topic])) as consumer,
            closing(place.bus.reader([topic], {})) as reader,
        ):
            publish(producer, topic, [str(i) for i in range(100)])
            assert sorted(values(collect(consumer, 100, commit=True))) == list(range(100))
            futures = [producer.publish(Record(topic, str(i).encode(), str(i).encode())) for i in range(100, 2000)]
            server.kill()
            collected = list(consumer.poll(1.0))
            futures += [producer.publish(Record(topic, str(i).encode(), str(i).encode())) for i in range(2000, 2100)]
            server.start()
            positions = [future.result(60) for future in futures]
            assert len(set(positions)) == 2000
            found = collect(reader, 2100, seconds=60)
            assert sorted(set(values(found))) == list(range(2100))
            while not set(range(100, 2100)) <= set(values(collected)):
                collected += collect(consumer, 1)
            publish(producer, topic, ["after"], 2100)
            assert 2100 in values(collect(consumer, 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgres", pytest.param("kafka", marks=pytest.mark.real)])
def test_says_when_the_server_stays_away(kind: str) -> None:
    with own_place(kind, delivery_timeout_s=3.0, away_limit_s=3.0) as (place, server):
        topic = place.topic(1)
        with closing(place.bus.producer()) as producer:
            consumer = place.bus.consumer(topic, [topic])
            publish(producer, topic, ["k"])
            collect(consumer, 1)
            server.kill()
            future = producer.publish(Record(topic, b"k", b"1"))
            with pytest.raises(BusUnavailable):
                until(lambda: False, consumer)
            with pytest.raises(BusUnavailable):
                future.result(20)
            with pytest.raises(BusUnavailable):
                consumer.commit({Partition(topic, 0): 1})
            with pytest.raises(BusUnavailable):
                place.bus.end_offsets([topic])
            consumer.close()
            server.start()
            publish(producer, topic, ["k"])


class FailingRead:
    """A connection whose second read of records fails."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self._conn = conn
        self.reads = 0

    def execute(self, *args: Any) -> Any:
        return self._conn.execute(*args)

    def cursor(self, **kwargs: Any) -> Any:
        self.reads += 1
        if self.reads == 2:
            raise psycopg.OperationalError("the connection was lost")
        return self._conn.cursor(**kwargs)


def test_a_read_that_fails_halfway_passes_over_nothing(database: str) -> None:
    dsn = as_role(database, worker_role("bus"))
    with (
        closing(PostgresBus(dsn)) as bus,
        closing(bus.producer()) as producer,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        bus.ensure_topics({"t": 2})
        for number in (0, 1):
            producer.publish(Record("t", b"", b"%d" % number, partition=number)).result(WAIT)
        cursor = Cursor()
        for partition, partition_id in store.partition_ids(conn, ["t"]).items():
            cursor.add(partition, partition_id, 0)
        failing = FailingRead(conn)
        with pytest.raises(psycopg.OperationalError):
            cursor.fetch(failing, 10)  # type: ignore[arg-type]  # the two methods it needs
        assert sorted(values(cursor.fetch(conn, 10))) == [0, 1]
        assert not cursor.fetch(conn, 10)


class CuttingProxy:
    """Stands before PostgreSQL and cuts connections at their COMMIT: every other time before it, else behind it."""

    def __init__(self, dsn: str) -> None:
        parts = conninfo.conninfo_to_dict(dsn)
        host, port = str(parts["host"]), parts["port"]
        self._target = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(str(port)))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = conninfo.make_conninfo(
            dsn, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable", gssencmode="disable"
        )
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
                server.connect(self._target)
                for source, sink, ours in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._forward, args=(source, sink, ours), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, ours: bool) -> None:
        with source, sink, suppress(OSError):
            while data := source.recv(65_536):
                if ours and b"COMMIT" in data:
                    self.cuts += 1
                    if self.cuts % 2:
                        source.shutdown(socket.SHUT_RDWR)
                        sink.sendall(data)
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)


def test_a_connection_lost_in_a_commit_writes_no_record_twice(database: str) -> None:
    dsn = as_role(database, worker_role("bus"))
    with (
        closing(CuttingProxy(dsn)) as proxy,
        closing(PostgresBus(dsn)) as bus,
        closing(PostgresBus(proxy.dsn).producer()) as producer,
    ):
        bus.ensure_topics({"t": 2})
        positions = [producer.publish(Record("t", str(i).encode(), str(i).encode())).result(WAIT) for i in range(20)]
        assert proxy.cuts >= 20
        with closing(bus.reader(["t"], {})) as reader:
            found = collect(reader, 20)
            quiet(reader)
    assert {(r.partition, r.offset): int(r.value) for r in found} == {p: i for i, p in enumerate(positions)}
