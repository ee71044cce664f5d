"""The registry beside a real tracking service, with what the tests of both need."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from fix_services import Running, as_tenant, running
from fix_tracking import Tracking, alone, tracking_stub
from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from headrace.api.tracking.v1 import tracking_pb2, tracking_service_pb2
from headrace_kit.bus.choose import open_bus
from headrace_kit.topics import partition_counts
from headrace_registry import app

if TYPE_CHECKING:
    from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub

    Registry = RegistryServiceAsyncStub
else:
    Registry = Any  # the async form exists in the stub file only


@dataclass(frozen=True)
class Platform:
    """Registry, tracking, and what was started with the registry."""

    services: Running
    registry: Registry
    tracking: Tracking

    async def logged_model(self, tenant_id: str = "default", *, run: bool = False) -> tracking_pb2.LoggedModel:
        """A logged model that is READY."""
        metadata = as_tenant(tenant_id)
        request = tracking_service_pb2.CreateLoggedModelRequest(name="wine")
        if run:
            made = await self.tracking.CreateRun(tracking_service_pb2.CreateRunRequest(), metadata=metadata)
            request.run_id = made.run.run_id
        model_id = (await self.tracking.CreateLoggedModel(request, metadata=metadata)).model.model_id
        ready = tracking_service_pb2.FinalizeLoggedModelRequest(
            model_id=model_id, state=tracking_pb2.LoggedModel.STATE_READY
        )
        return (await self.tracking.FinalizeLoggedModel(ready, metadata=metadata)).model

    async def model(self, name: str, versions: int = 0, tenant_id: str = "default") -> list[registry_pb2.ModelVersion]:
        """Registers a model and gives it so many versions."""
        metadata = as_tenant(tenant_id)
        await self.registry.CreateModel(pb.CreateModelRequest(name=name), metadata=metadata)
        logged = await self.logged_model(tenant_id)
        request = pb.CreateModelVersionRequest(model_name=name, model_id=logged.model_id)
        return [(await self.registry.CreateModelVersion(request, metadata=metadata)).version for _ in range(versions)]

    async def promote(self, name: str, version: int, alias: str = "", tenant_id: str = "default") -> int:
        """The version that had the alias before."""
        request = pb.PromoteModelVersionRequest(model_name=name, version=version, alias=alias)
        answer = await self.registry.PromoteModelVersion(request, metadata=as_tenant(tenant_id))
        return answer.previous_version


@asynccontextmanager
async def platform(database: str, *apps: ModuleType, **settings: Any) -> AsyncIterator[Platform]:
    """Runs tracking without its relay, and beside it the registry with other services, on a bus that has its topics."""
    await asyncio.to_thread(_make_topics, app.Config(database=database, **settings))
    async with (
        running(database, alone()) as tracking,
        running(database, app, *apps, tracking=tracking.address, **settings) as services,
    ):
        registry = cast("Registry", RegistryServiceStub(services.channel))
        yield Platform(services, registry, tracking_stub(tracking.channel))


def _make_topics(config: app.Config) -> None:
    bus = open_bus(config)
    bus.ensure_topics(partition_counts())
    bus.close()
