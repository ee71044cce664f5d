"""Runs services inside the test's own event loop, on a real port, wired by their own `app.start`."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, cast

import grpc

from headrace.api.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from headrace_kit import rpc, telemetry
from headrace_kit.auth import NoIdentity, service_metadata
from headrace_kit.lifecycle import Runner

if TYPE_CHECKING:
    from headrace.api.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

SECRET = "secret-of-the-tests"


@dataclass(frozen=True)
class Running:
    """Services that run; `channel` reaches them all."""

    address: str
    channel: grpc.aio.Channel
    runner: Runner


def as_tenant(tenant_id: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a call for this tenant; without it, calls are for the tenant "default"."""
    return service_metadata(SECRET, tenant_id)


def identity_stub(channel: grpc.aio.Channel) -> "IdentityServiceAsyncStub":
    """The identity service behind a channel; its asyncio form is known to the stub files alone."""
    return cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))


@asynccontextmanager
async def running(database: str, *apps: ModuleType, **settings: object) -> AsyncIterator[Running]:
    """Starts the apps in one process on a free port, all with these settings; drains them at the end."""
    values = {"listen": "127.0.0.1:0", "database": database, "auth": "open", "service_secret": SECRET, **settings}
    known = [{field.name for field in dataclasses.fields(app.Config)} for app in apps]
    assert values.keys() <= set().union(*known), f"no app has {values.keys() - set().union(*known)}"
    configs = [
        app.Config(**{name: value for name, value in values.items() if name in names})
        for app, names in zip(apps, known, strict=True)
    ]
    runner = Runner(configs[0], telemetry=telemetry.Telemetry(), identity=NoIdentity())
    ready = asyncio.Event()
    try:
        for app, config in zip(apps, configs, strict=True):
            await app.start(config, runner)
    except BaseException:
        await runner.drain()
        raise
    serving = asyncio.create_task(runner.run(ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    channel = rpc.channel(runner.address)
    try:
        yield Running(runner.address, channel, runner)
    finally:
        await channel.close()
        runner.stop()
        await serving
