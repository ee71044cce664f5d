"""`headrace dead-letters`: what could not be handled is listed with its reason, and handled when it is sent once more."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fix_bus import BUSES, collect, until
from fix_metrics import frame, make_runs, pack
from fix_services import running
from fix_tracking import tracking_stub
from headrace.api.registry.v1 import registry_events_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import names, topics
from headrace_kit.bus import Bus, Record
from headrace_kit.bus.choose import open_bus
from headrace_kit.bus.cloudevents import CloudEvent
from headrace_kit.config import ServiceConfig
from headrace_tracking import app

FRAMES, VERSIONS = topics.FRAMES.name, topics.MODEL_VERSIONS.name
HEADRACE = Path(sys.executable).with_name("headrace")


class Installation:
    """A database and a bus, and the command line beside them."""

    def __init__(self, database: str, kafka: str) -> None:
        self.database = database
        self.kafka = kafka

    def bus(self) -> Bus:
        return open_bus(ServiceConfig(database=self.database, kafka=self.kafka))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [HEADRACE, "dead-letters", *arguments],
            env={**os.environ, "HEADRACE_DATABASE": self.database, "HEADRACE_KAFKA": self.kafka},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def listed(self, topic: str) -> list[dict[str, Any]]:
        done = self.run("list", topic, "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


@pytest.fixture
def installation(database: str) -> Installation:
    found = Installation(database, "")
    with closing(found.bus()) as bus:
        bus.ensure_topics(topics.partition_counts())
    return found


async def test_points_of_a_run_that_came_late_are_there_once(installation: Installation) -> None:
    late, producer_id = uuid.uuid4(), uuid.uuid4().bytes
    lost = pack("default", late, producer_id, [frame(1, {"loss": [(1000, 0, 0.5), (1001, 1, 0.25)]})])
    with closing(installation.bus()) as bus, closing(bus.producer()) as producer:
        for value in (lost.SerializeToString(), b"no pack at all"):
            producer.publish(Record(FRAMES, b"", value, partition=2)).result(30)
        async with running(installation.database, app) as services:
            with closing(bus.reader([f"{FRAMES}.dlq"], {})) as reader:
                await asyncio.to_thread(collect, reader, 2)
            second, first = sorted(installation.listed(FRAMES), key=lambda row: bool(row["subject"]))
            assert first["subject"] == f"tenant default run {late.hex}"
            assert "has no run" in first["reason"]
            assert "no FramePack" in second["reason"]
            people = installation.run("list")
            assert people.stdout.splitlines()[0].split() == ["TOPIC", "NUMBER", "TIME", "SUBJECT", "REASON"]

            make_runs(installation.database, "default", [late])
            for _ in range(2):  # the second time changes nothing
                done = installation.run("replay", FRAMES, "--all")
                assert (done.returncode, done.stdout.split()[0]) == (1, "1")
                assert f"letter {second['number']} was not sent: it is no FramePack" in done.stderr
            marker = frame(2, {"marker": [(1, 1, 1.0)]})
            producer.publish(
                Record(FRAMES, b"", pack("default", late, b"", [marker]).SerializeToString(), partition=2)
            ).result(30)
            stub = tracking_stub(services.channel)
            history: dict[str, Any] = {}
            while not history.get("marker"):
                for key in ("marker", "loss"):
                    request = pb.GetMetricHistoryRequest(run_id=late.hex, key=key)
                    history[key] = list((await stub.GetMetricHistory(request)).values)
            assert history["loss"] == [0.5, 0.25]


def test_events_come_again_as_they_were(installation: Installation) -> None:
    event = CloudEvent(
        id="an-event",
        type="headrace.api.registry.v1.ModelVersionPromoted",
        source="/headrace/registry",
        subject=names.model("default", "wine"),
        time=datetime.now(UTC),
        tenant_id="default",
        data=registry_events_pb2.ModelVersionPromoted(alias="production").SerializeToString(),
    )
    plain = event.to_record(VERSIONS, "wine")
    story = {"dlq_reason": b"ValueError: burnt", "dlq_topic": VERSIONS.encode(), "dlq_partition": b"1"}
    with closing(installation.bus()) as bus, closing(bus.producer()) as producer:
        for _ in range(3):
            letter = Record(f"{VERSIONS}.dlq", plain.key, plain.value, {**plain.headers, **story})
            producer.publish(letter).result(30)
        listed = installation.listed(VERSIONS)
        assert [(row["subject"], row["reason"]) for row in listed] == [(event.subject, "ValueError: burnt")] * 3
        done = installation.run("replay", VERSIONS, "--number", str(listed[1]["number"]), "--number", "77")
        assert (done.returncode, done.stdout.split()[0]) == (1, "1")
        assert "letter 77 was not sent: there is no letter of this number" in done.stderr
        with closing(bus.reader([VERSIONS], {})) as reader:
            (again,) = collect(reader, 1)
            assert (again.key, again.value, dict(again.headers)) == (plain.key, plain.value, dict(plain.headers))
            assert not reader.poll(0.5)


@pytest.mark.parametrize("kind", BUSES)
def test_lists_what_is_there_on_either_bus(kind: str, database: str, request: pytest.FixtureRequest) -> None:
    found = Installation(database, "" if kind == "postgres" else request.getfixturevalue("kafka"))
    with closing(found.bus()) as bus, closing(bus.producer()) as producer:
        bus.ensure_topics(topics.partition_counts())
        before = len(found.listed(VERSIONS))
        producer.publish(Record(f"{VERSIONS}.dlq", b"k", b"v", {"dlq_reason": b"why"})).result(30)
        until(lambda: len(found.listed(VERSIONS)) == before + 1)


def test_wrong_words_are_told(installation: Installation) -> None:
    wrong = installation.run("list", "headrace.no.such.v1")
    assert wrong.returncode == 1
    assert "no topic 'headrace.no.such.v1' has consumers; there are headrace.tracking.frames.v1" in wrong.stderr
    nothing = installation.run("list")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "no dead letters\n")
    assert installation.run("replay", FRAMES).returncode == 2
