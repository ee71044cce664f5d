"""Buses for tests: on either backend, in processes of their own, on servers that may die; and ways to wait."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace_kit.bus import Bus, Consumer, Partition, Producer, Reader, Received, Record
from headrace_kit.bus.kafka import KafkaBus, KafkaConfig
from headrace_kit.bus.postgres import SCHEMA, PostgresBus
from headrace_kit.db import as_role, worker_role
from headrace_kit.migrate import migrate
from headrace_kit.testing.backends import Server, open_backends

WAIT = 30.0
LOCAL = {"HEADRACE_TEST_BACKENDS": "local"}


def open_bus(kind: str, address: str, *, delivery_timeout_s: float = 60.0, away_limit_s: float = 30.0) -> Bus:
    if kind == "kafka":
        config = KafkaConfig(bootstrap=address, delivery_timeout_s=delivery_timeout_s, away_limit_s=away_limit_s)
        return KafkaBus(config)
    return PostgresBus(address, delivery_timeout_s=delivery_timeout_s, away_limit_s=away_limit_s)


@dataclass(frozen=True)
class Place:
    """A bus, and how a process of its own finds it."""

    kind: str
    address: str
    bus: Bus

    def topic(self, partitions: int) -> str:
        name = f"test.{uuid.uuid4().hex}"
        self.bus.ensure_topics({name: partitions})
        return name


BUSES = ["postgres", pytest.param("kafka", marks=pytest.mark.real)]


@contextmanager
def open_place(kind: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The bus in the test's database, or on the run's Kafka."""
    address = request.getfixturevalue("database" if kind == "postgres" else "kafka")
    if kind == "postgres":
        address = as_role(address, worker_role("bus"))
    with closing(open_bus(kind, address)) as bus:
        yield Place(kind, address, bus)


def collect(source: Consumer | Reader, count: int, *, commit: bool = False, seconds: float = WAIT) -> list[Received]:
    """Polls until so many records came; fails when they do not."""
    found: list[Received] = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records after {seconds} s"
        records = source.poll(0.5)
        if commit and records:
            source.commit(done(records))  # type: ignore[union-attr]  # only asked of consumers
        found += records
    return found


def until(condition: Callable[[], Any], *polled: Consumer | Reader, seconds: float = WAIT) -> list[Received]:
    """Polls until the condition holds; returns what came meanwhile."""
    found: list[Received] = []
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        for source in polled:
            found += source.poll(0.05)
        if not polled:
            time.sleep(0.02)
    return found


def quiet(source: Consumer | Reader, seconds: float = 1.5) -> None:
    """Nothing comes any more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert not source.poll(0.2)


def done(records: Sequence[Received]) -> dict[Partition, int]:
    return {record.partition: record.offset + 1 for record in records}


def publish(producer: Producer, topic: str, keys: Sequence[str], start: int = 0) -> list[tuple[Partition, int]]:
    """A record a key, valued by its number; waits until all are durable."""
    futures = [producer.publish(Record(topic, k.encode(), str(start + i).encode())) for i, k in enumerate(keys)]
    return [future.result(WAIT) for future in futures]


def values(records: Sequence[Received]) -> list[int]:
    return [int(record.value) for record in records]


class Polling:
    """A consumer that a thread of its own polls, as in a service, until it is told to close it."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.records: list[Received] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def assignment(self) -> frozenset[Partition]:
        return self.consumer.assignment()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(self.consumer) as consumer:
            while not self._stop.is_set():
                records = consumer.poll(0.3)
                self.records += records
                consumer.commit(done(records))


class Member:
    """A consumer in a process of its own, which does as it is told: see `member` below."""

    def __init__(self, place: Place, group: str, topic: str) -> None:
        command = [sys.executable, __file__, place.kind, place.address, group, topic]
        root = Path(__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": f"{root}/libs:{root}/services:{root}/tests"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, **what: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def polled(self) -> int:
        """Lets it poll until it has records; how many."""
        deadline = time.monotonic() + WAIT
        while not (count := self.ask(poll=0.5)):
            assert time.monotonic() < deadline
        assert isinstance(count, int)
        return count


@contextmanager
def member_process(place: Place, group: str, topic: str) -> Iterator[Member]:
    member = Member(place, group, topic)
    try:
        yield member
    finally:
        member.process.kill()
        member.process.communicate()


def member(kind: str, address: str, group: str, topic: str) -> None:
    """The other side of `Member`: polls, and commits all that it ever polled, when asked to."""
    bus = open_bus(kind, address)
    consumer = bus.consumer(group, [topic])
    offsets: dict[Partition, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        answer = 0
        if "poll" in order:
            records = consumer.poll(order["poll"])
            offsets |= done(records)
            answer = len(records)
        if "commit" in order:
            consumer.commit(offsets)
        print(json.dumps(answer), flush=True)


@contextmanager
def own_place(kind: str, **limits: float) -> Iterator[tuple[Place, Server[str]]]:
    """A bus on a server that only this test uses."""
    name: Any = kind
    with open_backends({name}, environ={**os.environ, **LOCAL}) as backends:
        address = backends.postgres if kind == "postgres" else backends.kafka
        if kind == "postgres":
            migrate(address, [SCHEMA])
            address = as_role(address, worker_role("bus"))
        with closing(open_bus(kind, address, **limits)) as bus:
            yield Place(kind, address, bus), backends.servers[name]


if __name__ == "__main__":
    member(*sys.argv[1:])
