"""Subscriptions through the gRPC port, on both buses: nothing lost, nothing twice, nothing of another tenant."""

import asyncio
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import grpc
import psycopg
import pytest
from google.protobuf.message import Message
from kafka import KafkaAdminClient
from kafka.structs import TopicPartition

from fix_services import Running, as_tenant, running
from headrace.api.artifacts.v1 import artifacts_events_pb2
from headrace.api.events.v1 import event_service_pb2 as pb
from headrace.api.events.v1.event_service_pb2_grpc import EventServiceStub, add_EventServiceServicer_to_server
from headrace.api.registry.v1 import registry_events_pb2
from headrace_events import app, positions
from headrace_events.hub import Hub
from headrace_events.past import Past
from headrace_events.service import EventService
from headrace_events.tail import TOPICS, Tail
from headrace_kit.bus import Bus, Partition
from headrace_kit.bus.choose import open_bus
from headrace_kit.bus.cloudevents import CloudEvent
from headrace_kit.lifecycle import Runner
from headrace_kit.rpc import Servicer
from headrace_kit.topics import EVENT_TYPES, partition_counts

DELETED = "headrace.api.registry.v1.ModelDeleted"
ARTIFACT_DELETED = "headrace.api.artifacts.v1.ArtifactDeleted"


@pytest.fixture(params=["postgres", "kafka"])
def settings(request: pytest.FixtureRequest, database: str) -> dict[str, Any]:
    """Settings of a service with this bus."""
    return {"database": database, "kafka": request.getfixturevalue("kafka") if request.param == "kafka" else ""}


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def serve(settings: dict[str, Any], bus: Bus) -> Serve:
    """Runs the event service, with these settings besides."""
    return lambda service=app, **more: running(settings["database"], service, kafka=settings["kafka"], **more)


@pytest.fixture
def bus(settings: dict[str, Any]) -> Iterator[Bus]:
    bus = open_bus(app.Config(**settings, service_secret="x"))
    bus.ensure_topics(partition_counts())
    yield bus
    bus.close()


@pytest.fixture
def tenant() -> str:
    """Kafka is shared by the run, its topics too: every test has a tenant of its own."""
    return f"t{uuid.uuid4().hex}"


Publish = Callable[..., list[str]]
"""(names of models, ...) → the events' ids, when they are durable."""


@pytest.fixture
def publish(bus: Bus, tenant: str) -> Iterator[Publish]:
    producer = bus.producer()

    def send(*names: str, of: str = tenant, message: Message | None = None) -> list[str]:
        events = [cloud_event(of, name, message or registry_events_pb2.ModelDeleted(name=name)) for name in names]
        sent = [producer.publish(e.to_record(EVENT_TYPES[e.type][0].name, e.subject)) for e in events]
        for future in sent:
            future.result(30)
        return [event.id for event in events]

    yield send
    producer.close()


def cloud_event(tenant_id: str, name: str, message: Message) -> CloudEvent:
    return CloudEvent(
        id=str(uuid.uuid4()),
        type=message.DESCRIPTOR.full_name,
        source="/headrace/registry",
        subject=f"tenants/{tenant_id}/models/{name}",
        time=datetime(2026, 5, 4, 3, 2, 1, 500_000, UTC),
        tenant_id=tenant_id,
        data=message.SerializeToString(),
        traceparent="00-11111111111111111111111111111111-2222222222222222-01",
    )


class Stream:
    """A subscription."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.cursor = ""

    async def answer(self) -> pb.SubscribeResponse:
        async with asyncio.timeout(30):
            answer = await self.call.read()
        if answer is grpc.aio.EOF:
            raise await _error(self.call)
        self.cursor = answer.cursor
        return cast("pb.SubscribeResponse", answer)

    async def events(self, count: int) -> list[pb.Event]:
        found: list[pb.Event] = []
        while len(found) < count:
            answer = await self.answer()
            if answer.HasField("event"):
                found.append(answer.event)
        return found

    async def silent(self, seconds: float = 0.5) -> bool:
        """Whether no event comes for so long; the stream is of no use afterwards."""
        try:
            async with asyncio.timeout(seconds):
                await self.events(1)
        except TimeoutError:
            return True
        return False


async def _error(call: Any) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )


@asynccontextmanager
async def subscribed(services: Running, tenant_id: str, **request: Any) -> AsyncIterator[Stream]:
    call = EventServiceStub(services.channel).Subscribe(pb.SubscribeRequest(**request), metadata=as_tenant(tenant_id))
    stream = Stream(call)
    try:
        first = await stream.answer()
        assert not first.HasField("event")
        assert first.cursor
        yield stream
    finally:
        call.cancel()


def ids(events: Sequence[pb.Event]) -> list[str]:
    return [event.id for event in events]


async def test_what_happens_after_the_first_answer_arrives(serve: Serve, tenant: str, publish: Publish) -> None:
    async with serve() as services:
        await asyncio.to_thread(publish, "before")
        async with subscribed(services, tenant) as stream, subscribed(services, f"{tenant}x") as other:
            (sent,) = await asyncio.to_thread(publish, "wine")
            found = await stream.events(1)
            while found[-1].id != sent:  # "before" may be published before the service reads its end of the bus
                found = await stream.events(1)
            event = found[-1]
            assert (event.type, event.source) == (DELETED, "/headrace/registry")
            assert event.subject == f"tenants/{tenant}/models/wine"
            assert event.time.ToJsonString() == "2026-05-04T03:02:01.500Z"
            assert registry_events_pb2.ModelDeleted.FromString(event.data).name == "wine"
            assert event.traceparent.startswith("00-1111")
            assert await other.silent()


async def test_earliest_tells_all_of_each_resource_in_order_and_goes_on(
    serve: Serve, tenant: str, publish: Publish
) -> None:
    names = [f"m{number % 7}" for number in range(2_500)]  # more than one stretch, more than the hub waits with
    sent = await asyncio.to_thread(publish, *names)
    async with serve() as services, subscribed(services, tenant, **{"from": pb.START_EARLIEST}) as stream:
        found = await stream.events(len(sent))
        by_subject: dict[str, list[str]] = defaultdict(list)
        for event in found:
            by_subject[event.subject].append(event.id)
        for model in range(7):
            assert by_subject[f"tenants/{tenant}/models/m{model}"] == sent[model::7]
        later = await asyncio.to_thread(publish, "m0")
        assert ids(await stream.events(1)) == later


async def test_resuming_from_any_cursor_neither_loses_nor_repeats(serve: Serve, tenant: str, publish: Publish) -> None:
    """One publisher goes on while a subscriber reads a few, is cut off, and resumes, again and again."""
    random_ = random.Random(4)
    sent: list[str] = []
    done = asyncio.Event()

    async def publish_on() -> None:
        for _ in range(40):
            names = [f"m{random_.randrange(5)}" for _ in range(random_.randint(1, 40))]
            sent.extend(await asyncio.to_thread(publish, *names))
            await asyncio.sleep(random_.random() * 0.05)
        done.set()

    # Told its cursor so often, a subscriber that has everything does not wait for the publisher's last word.
    async with serve(event_idle_seconds=0.1) as services:
        async with subscribed(services, tenant) as first:
            cursor = first.cursor
        publisher = asyncio.create_task(publish_on())
        found: list[str] = []
        while not done.is_set() or len(found) < len(sent):
            async with subscribed(services, tenant, cursor=cursor) as stream:
                for _ in range(random_.randint(1, 60)):
                    if done.is_set() and len(found) >= len(sent):
                        break
                    answer = await stream.answer()
                    cursor = answer.cursor
                    if answer.HasField("event"):
                        found.append(answer.event.id)
        await publisher
        async with subscribed(services, tenant, cursor=cursor) as stream:
            assert await stream.silent()
    assert len(found) == len(set(found))
    assert set(found) == set(sent)


async def test_types_and_subjects_are_filtered(serve: Serve, tenant: str, publish: Publish) -> None:
    deleted = artifacts_events_pb2.ArtifactDeleted(artifact_id="a")
    async with serve() as services:
        async with (
            subscribed(services, tenant, types=[ARTIFACT_DELETED]) as by_type,
            subscribed(services, tenant, subject_prefix=f"tenants/{tenant}/models/w") as by_subject,
        ):
            one, two = await asyncio.to_thread(publish, "wine", "tea")
            (three,) = await asyncio.to_thread(lambda: publish("tea", message=deleted))
            (four,) = await asyncio.to_thread(publish, "water")
            assert ids(await by_type.events(1)) == [three]
            # In any order, as they are of two resources.
            assert set(ids(await by_subject.events(2))) == {one, four}
        async with subscribed(services, tenant, types=[ARTIFACT_DELETED], **{"from": pb.START_EARLIEST}) as past:
            assert ids(await past.events(1)) == [three]
        assert two


@pytest.mark.parametrize(
    ("request_", "field", "problem"),
    [
        ({"types": ["ModelCreated"]}, "types[0]", "there are headrace.api.artifacts.v1.ArtifactDeleted, "),
        ({"subject_prefix": "models/wine"}, "subject_prefix", "must begin with 'tenants/"),
        ({"cursor": "no cursor"}, "cursor", "was not issued by Headrace"),
        ({"cursor": positions.encode({Partition(TOPICS[0], 0): 1 << 40})}, "cursor", "is ahead of the bus"),
        ({"from": 7}, "from", "must be one of START_UNSPECIFIED, START_LATEST, START_EARLIEST"),
    ],
)
async def test_bad_input_names_the_field(
    serve: Serve, tenant: str, request_: dict[str, Any], field: str, problem: str
) -> None:
    async with serve() as services:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async with subscribed(services, tenant, **request_):
                pass
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (refused.value.details() or "").startswith(f"{field}: ")
        assert problem in (refused.value.details() or "")


async def test_idle_subscription_is_told_its_cursor(serve: Serve, tenant: str, publish: Publish) -> None:
    async with serve(event_idle_seconds=0.2) as services:
        async with subscribed(services, tenant) as stream:
            first = stream.cursor
            await asyncio.to_thread(lambda: publish("wine", of=f"{tenant}x"))
            while stream.cursor == first:
                assert not (await stream.answer()).HasField("event")
        (sent,) = await asyncio.to_thread(publish, "wine")
        async with subscribed(services, tenant, cursor=stream.cursor) as again:
            assert ids(await again.events(1)) == [sent]


async def test_cursor_older_than_retention_begins_at_the_oldest(
    serve: Serve, settings: dict[str, Any], tenant: str, publish: Publish, bus: Bus
) -> None:
    async with serve() as services:
        async with subscribed(services, tenant) as stream:
            cursor = stream.cursor
        await asyncio.to_thread(publish, *["lost"] * 50)
        _forget(settings, bus)
        kept = await asyncio.to_thread(publish, *["kept"] * 5)
        async with subscribed(services, tenant, cursor=cursor) as stream:
            assert ids(await stream.events(5)) == kept
        _forget(settings, bus)  # now the whole of the past is gone: nothing arrives that would show its end
        async with subscribed(services, tenant, cursor=cursor) as stream:
            (later,) = await asyncio.to_thread(publish, "later")
            assert ids(await stream.events(1)) == [later]


def _forget(settings: dict[str, Any], bus: Bus) -> None:
    """Deletes what lies on the bus, as retention does."""
    if not settings["kafka"]:
        with psycopg.connect(settings["database"]) as conn:
            conn.execute("DELETE FROM bus.records")
        return
    ends = {TopicPartition(p.topic, p.number): offset for p, offset in bus.end_offsets(TOPICS).items()}
    admin = KafkaAdminClient(bootstrap_servers=settings["kafka"])
    admin.delete_records(ends)
    admin.close()


async def test_slow_subscriber_is_ended_and_gets_the_rest_from_its_cursor(
    serve: Serve, tenant: str, publish: Publish
) -> None:
    big = registry_events_pb2.ModelDeleted(name="x" * 200_000)
    async with serve() as services:
        async with subscribed(services, tenant) as stream:
            sent = []
            for _ in range(12):
                sent += await asyncio.to_thread(lambda: publish(*["wine"] * 20, message=big))
            found: list[str] = []
            cursor = stream.cursor
            with pytest.raises(grpc.aio.AioRpcError) as ended:  # noqa: PT012 - which answer is the last is unknown
                while True:
                    answer = await stream.answer()
                    found.append(answer.event.id)
                    cursor = answer.cursor
        assert ended.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "from the last cursor" in (ended.value.details() or "")
        assert found == sent[: len(found)]
        assert len(found) < len(sent)
        async with subscribed(services, tenant, cursor=cursor) as stream:
            assert ids(await stream.events(len(sent) - len(found))) == sent[len(found) :]


async def test_stopping_service_ends_subscriptions_at_once(serve: Serve, tenant: str) -> None:
    async with serve(drain_seconds=30.0) as services, subscribed(services, tenant) as stream:
        services.runner.stop()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await asyncio.wait_for(stream.answer(), 20)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_many_idle_subscriptions_go_with_their_callers(serve: Serve, tenant: str, publish: Publish) -> None:
    hubs: list[Hub] = []

    async def start(config: app.Config, runner: Runner) -> None:
        """As app.start does it, with the hub in sight."""
        bus = runner.bus(open_bus(config))
        hubs.append(Hub())
        past = await runner.resource(Past(bus, readers=2))
        runner.worker(Tail(bus, hubs[0], runner.fail))
        runner.on_drain(hubs[0].close)
        service = EventService(hubs[0], past, idle_s=30)
        descriptor = pb.DESCRIPTOR.services_by_name["EventService"]
        runner.serve(Servicer(descriptor, add_EventServiceServicer_to_server, service))

    async with serve(SimpleNamespace(Config=app.Config, start=start)) as services:
        async with AsyncExitStack() as stack:
            # All at once, as they come back after a restart.
            opening = (stack.enter_async_context(subscribed(services, tenant)) for _ in range(2_000))
            streams = await asyncio.gather(*opening)
            assert hubs[0].subscriptions == 2_000
            (sent,) = await asyncio.to_thread(publish, "wine")
            answers = await asyncio.gather(*(stream.answer() for stream in streams))
            assert {answer.event.id for answer in answers} == {sent}
        async with asyncio.timeout(60):
            while hubs[0].subscriptions:  # noqa: ASYNC110 - nothing tells when the server has noticed
                await asyncio.sleep(0.05)
