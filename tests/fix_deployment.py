"""A fake of the artifacts service, promotions as the registry tells them, and a router like the gateway's."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import grpc
from google.protobuf.message import Message

from fix_services import as_tenant
from headrace.api.artifacts.v1 import artifact_service_pb2 as artifacts_pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import (
    ArtifactServiceServicer,
    add_ArtifactServiceServicer_to_server,
)
from headrace.api.deployment.v1 import deployment_pb2, route_service_pb2
from headrace.api.deployment.v1 import deployment_service_pb2 as pb
from headrace.api.deployment.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from headrace.api.deployment.v1.route_service_pb2_grpc import RouteServiceStub
from headrace.api.registry.v1 import registry_events_pb2, registry_pb2
from headrace_kit import names, topics
from headrace_kit.bus.cloudevents import CloudEvent, from_received
from headrace_kit.bus.postgres import PostgresBus
from headrace_kit.db import as_role, worker_role

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class FakeArtifacts(ArtifactServiceServicer):
    """Folders by (tenant, model)."""

    folders: dict[tuple[str, str], Path] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    """Paths whose bytes do not have their digest."""
    renamed: dict[str, str] = field(default_factory=dict)
    away: int = 0
    """How many calls still fail."""
    held: set[str] = field(default_factory=set)
    """Models whose files do not come before they are let go."""
    downloads: int = 0
    address: str = ""

    def add(self, tenant: str, folder: Path) -> str:
        model_id = f"m-{uuid4().hex}"
        self.folders[tenant, model_id] = folder
        return model_id

    def ListArtifacts(self, request: artifacts_pb.ListArtifactsRequest, context: Any) -> Any:
        if self.away:
            self.away -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the store is away")
        while request.owner.model_id in self.held:
            time.sleep(0.01)
        metadata = dict(context.invocation_metadata())
        folder = self.folders.get((metadata["x-headrace-tenant"], request.owner.model_id))
        if folder is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.owner.model_id}")
        assert folder is not None
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        start = int(request.page_token or 0)
        page = files[start : start + 2]
        return artifacts_pb.ListArtifactsResponse(
            artifacts=[self._artifact(folder, path, request.owner) for path in page],
            next_page_token=str(start + 2) if start + 2 < len(files) else "",
        )

    def DownloadArtifact(self, request: artifacts_pb.DownloadArtifactRequest, context: Any) -> Iterator[Any]:
        self.downloads += 1
        data = Path(request.artifact_id).read_bytes()
        yield artifacts_pb.DownloadArtifactResponse(artifact=artifacts_pb2.Artifact(artifact_id=request.artifact_id))
        for start in range(0, len(data), 1000):
            yield artifacts_pb.DownloadArtifactResponse(part=data[start : start + 1000])

    def _artifact(self, folder: Path, path: Path, owner: artifacts_pb2.Owner) -> artifacts_pb2.Artifact:
        name = str(path.relative_to(folder))
        data = b"other" if name in self.spoilt else path.read_bytes()
        return artifacts_pb2.Artifact(
            artifact_id=str(path),
            owner=owner,
            path=self.renamed.get(name, name),
            size_bytes=len(data),
            sha256=hashlib.sha256(data).digest(),
        )


@contextmanager
def fake_artifacts() -> Iterator[FakeArtifacts]:
    fake = FakeArtifacts()  # pyright: ignore[reportAbstractUsage] # only the stub file says that; the rest answers UNIMPLEMENTED
    server = grpc.server(ThreadPoolExecutor(4))
    add_ArtifactServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield fake
    server.stop(None).wait()


@dataclass
class Registry:
    """Tells promotions as the registry does."""

    publish: Callable[[str, str, Message], None]

    def promote(
        self, model: str, version: int, model_id: str, alias: str = "production", tenant: str = "default"
    ) -> None:
        row = registry_pb2.ModelVersion(model_name=model, version=version, model_id=model_id)
        self.publish(tenant, model, registry_events_pb2.ModelVersionPromoted(version=row, alias=alias))

    def delete_alias(self, model: str, alias: str = "production", tenant: str = "default") -> None:
        self.publish(tenant, model, registry_events_pb2.ModelAliasDeleted(model_name=model, alias=alias, version=1))


@contextmanager
def fake_registry(database: str) -> Iterator[Registry]:
    bus = PostgresBus(as_role(database, worker_role("bus")))
    bus.ensure_topics(topics.partition_counts())
    with closing(bus), closing(bus.producer()) as producer:

        def publish(tenant: str, model: str, message: Message) -> None:
            event = CloudEvent(
                id=str(uuid4()),
                type=message.DESCRIPTOR.full_name,
                source="/headrace/registry",
                subject=names.model(tenant, model),
                time=datetime.now(UTC),
                tenant_id=tenant,
                data=message.SerializeToString(),
                traceparent=TRACE,
            )
            record = event.to_record(topics.MODEL_VERSIONS.name, names.model(tenant, model))
            producer.publish(record).result(10)

        yield Registry(publish)


def told(database: str) -> list[Any]:
    """What the deployment service has emitted so far, in order."""
    bus = PostgresBus(as_role(database, worker_role("bus")))
    with closing(bus), closing(bus.reader([topics.DEPLOYMENTS.name], {})) as reader:
        events = [from_received(received) for received in reader.poll(5)]
        return [topics.EVENT_TYPES[event.type][1].FromString(event.data) for event in events]


@dataclass
class Watcher:
    """The deployment service, as clients and routers see it."""

    channel: grpc.aio.Channel
    tenant: str = "default"
    tables: list[route_service_pb2.WatchRoutesResponse] = field(default_factory=list)

    @property
    def stub(self) -> Any:
        return DeploymentServiceStub(self.channel)

    async def get(self, name: str = "wine") -> deployment_pb2.Deployment:
        request = pb.GetDeploymentRequest(name=name)
        return (await self.stub.GetDeployment(request, metadata=as_tenant(self.tenant))).deployment

    async def history(self, name: str = "wine") -> list[str]:
        """What happened, oldest first, as "what version"."""
        request = pb.ListDeploymentHistoryRequest(name=name, page_size=1000)
        entries = (await self.stub.ListDeploymentHistory(request, metadata=as_tenant(self.tenant))).entries
        return [f"{entry.what} {entry.version}" for entry in reversed(entries)]

    async def until(
        self, happens: Callable[[deployment_pb2.Deployment], object], name: str = "wine", seconds: float = 60
    ) -> deployment_pb2.Deployment:
        """Waits until it is true of the deployment."""
        deadline = time.monotonic() + seconds
        found = None
        while time.monotonic() < deadline:
            try:
                found = await self.get(name)
            except grpc.aio.AioRpcError as error:
                if error.code() not in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE}:
                    raise
            if found is not None and happens(found):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"did not happen within {seconds} s; it is {found}")

    async def serves(self, version: int, name: str = "wine") -> deployment_pb2.Deployment:
        serving = deployment_pb2.Deployment.STATE_SERVING
        return await self.until(lambda d: d.state == serving and d.serving_version == version, name)

    async def routed(self, happens: Callable[[deployment_pb2.Route], object], name: str = "wine") -> Any:
        """Waits until it is true of the route that routers are told."""
        deadline = time.monotonic() + 60
        while (found := self.route(name)) is None or not happens(found):
            assert time.monotonic() < deadline, f"did not happen in time; it is {found}"
            await asyncio.sleep(0.02)
        return found

    def route(self, name: str = "wine") -> deployment_pb2.Route | None:
        table = self.tables[-1].routes if self.tables else []
        return next((r for r in table if (r.tenant_id, r.deployment_name) == (self.tenant, name)), None)


@asynccontextmanager
async def routing(watcher: Watcher, acknowledge: bool = True) -> AsyncIterator[Watcher]:
    """Follows the route table as a router does."""

    async def follow() -> None:
        stub: Any = RouteServiceStub(watcher.channel)
        while True:
            call = stub.WatchRoutes(metadata=as_tenant(""))
            try:
                await call.write(route_service_pb2.WatchRoutesRequest(generation=0))
                async for table in call:
                    watcher.tables.append(table)
                    if acknowledge:
                        await call.write(route_service_pb2.WatchRoutesRequest(generation=table.generation))
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)

    task = asyncio.create_task(follow())
    try:
        yield watcher
    finally:
        task.cancel()
        await asyncio.wait({task})


@dataclass
class Load:
    """Requests through the routes, without a break; every one that is not answered counts."""

    watcher: Watcher
    body: object
    answers: list[tuple[float, int, Any]] = field(default_factory=list)
    """When it was asked, which version answered, and what."""
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                route = self.watcher.route()
                if route is not None and route.addresses:
                    asked = time.monotonic()
                    try:
                        url = f"http://{route.addresses[0]}/invocations"
                        async with http.post(url, json=self.body) as answer:
                            self.answers.append((asked, route.version, (await answer.json()).get("predictions")))
                    except aiohttp.ClientError as error:
                        self.failures.append(repr(error))
                await asyncio.sleep(0.001)


@asynccontextmanager
async def load(watcher: Watcher, body: object, clients: int = 3) -> AsyncIterator[Load]:
    made = Load(watcher, body)
    tasks = {asyncio.create_task(made.run()) for _ in range(clients)}
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
