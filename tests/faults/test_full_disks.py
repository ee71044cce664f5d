"""A full disk at the spool, at PostgreSQL and at the broker: nothing acknowledged is lost, and there is a way back."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

import headrace as hr
from fake_headrace import serving
from faults.check import read
from faults.disks import fill, small_disk
from faults.judge import WRONG, open_judge
from faults.place import open_services
from faults.processes import READY_S, Client, Service
from headrace import errors, retry
from headrace_kit.bus.postgres import SCHEMA as BUS
from headrace_kit.migrate import migrate
from headrace_kit.testing.backends import processes
from headrace_kit.testing.backends.processes import PostgresServer, ProcessServer, kafka_answers
from headrace_tracking.app import SCHEMA as TRACKING

pytestmark = [pytest.mark.real, pytest.mark.faults, pytest.mark.timeout(400)]

SOME = 1_000
"""Points."""


@dataclass
class Place:
    """One tracking service on backends of its own, and a client that logs to it."""

    folder: Path
    uri: str
    service: Service
    client: Client

    @property
    def acknowledged(self) -> int:
        """Points of each streamed series, by the client's own note."""
        return max((int(words[1]) for words in read(self.client.record) if words[0] == "ACKED"), default=0)

    @property
    def log(self) -> str:
        """What the service said."""
        return (self.folder / "tracking.log").read_text()

    def until_acknowledged(self, more: int) -> None:
        """Until so many more are."""
        enough = self.acknowledged + more
        until(lambda: self.acknowledged >= enough)

    def finish(self) -> None:
        """The client ends well, and all that was acknowledged shows, once and in order."""
        self.service.wait_ready()
        self.client.finish()
        with open_judge(self.uri, self.folder) as judge:
            judge.give([self.client.record])
            (verdict,) = judge.verdicts(wait=True)
        assert not any(verdict[name] for name in WRONG), verdict
        assert verdict["acknowledged"] > SOME


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 2 * READY_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def place(folder: Path, postgres: PostgresServer, kafka: ProcessServer[str] | None) -> Iterator[Place]:
    """Starts the servers; without Kafka the bus is in PostgreSQL."""
    with ExitStack() as stack:
        for server in (kafka, postgres) if kafka else (postgres,):
            stack.callback(server.kill)
            server.start()
        migrate(postgres.address, [BUS, TRACKING])
        address = kafka.address if kafka else ""
        uri, services = stack.enter_context(open_services(folder, postgres.address, address, {"tracking": {}}))
        services["tracking"].wait_ready()
        client = Client(uri, folder, "client")
        stack.callback(client.kill)
        client.play(folder / "0-0.record", 1)
        client.wait_ready()
        found = Place(folder, uri, services["tracking"], client)
        found.until_acknowledged(SOME)
        yield found


@pytest.mark.parametrize("bus", ["kafka", "postgres"])
def test_postgresql(tmp_path: Path, bus: str) -> None:
    """With Kafka, acknowledgements go on; a bus in PostgreSQL is full with it."""
    with small_disk(tmp_path / "disk", 200) as disk, ExitStack() as stack:
        server = processes.postgres(disk / "pg")
        kafka = processes.kafka(tmp_path / "kafka") if bus == "kafka" else None
        at = stack.enter_context(place(tmp_path, server, kafka))
        trouble = "the metric writer starts again" if kafka else "records to the bus, trying again"
        ballast = fill(disk)
        until(lambda: trouble in at.log)
        if kafka:  # what was acknowledged waits there
            at.until_acknowledged(SOME)
        ballast.unlink()
        if not answers(server.address):  # it ends itself where its log cannot be written
            server.kill()
            server.start()
        at.until_acknowledged(SOME)
        at.finish()


def test_the_broker(tmp_path: Path) -> None:
    """Kafka halts when it cannot write its log, and needs whatever started it to do so again; nothing else does."""
    with small_disk(tmp_path / "disk", 100) as disk, ExitStack() as stack:
        server = processes.kafka(disk / "kafka")
        at = stack.enter_context(place(tmp_path, processes.postgres(tmp_path / "pg"), server))
        host, _, port = server.address.partition(":")
        ballast = fill(disk)
        until(lambda: not kafka_answers(host, int(port)))
        ballast.unlink()
        server.kill()
        server.start()
        at.until_acknowledged(SOME)
        at.finish()


@pytest.mark.parametrize("strict", [False, True])
def test_the_spool(tmp_path: Path, strict: bool) -> None:
    """Points stay in memory, and what that cannot hold is counted; with room again, the spool goes on."""
    limits = hr.IngestSettings(
        age_s=0.01, kept_bytes=10_000, queue_points=100, frame_points=100, block_s=0.05,
        spool_dir=str(tmp_path / "disk"), strict=strict,
    )  # fmt: skip
    quick = retry.Policy(first_delay_s=0.01, most_delay_s=0.05, patience_s=0.2, first_patience_s=0.2)
    with (
        small_disk(tmp_path / "disk", 1) as disk,
        serving() as fake,
        hr.Client(fake.uri, ingest=limits, policy=quick) as client,
    ):
        run = client.start_run(capture=False)
        run.log({"k": 0}, step=0)
        run.flush()
        fake.stop()
        ballast = fill(disk)
        raised, logged = 0, 1
        while not run.lost_points:
            try:
                run.log({"k": logged}, step=logged)
            except errors.InvalidRequest:
                raised += 1
            logged += 1
        assert bool(raised) == strict
        ballast.unlink()
        until(lambda: any(disk.glob("*.spool")))
        fake.start()
        run.flush()
        steps = [step for step, _, _ in fake.ingest.points(run.id)["k"]]
        assert len(set(steps)) == len(steps) == logged - run.lost_points
        assert list(disk.iterdir()) == []
        run.end()


def answers(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn):
            return True
    except psycopg.OperationalError:
        return False
