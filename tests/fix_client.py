"""All services that a client needs, in this process, and a client that works with them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

import headrace as hr
from fix_services import Running, running
from headrace_artifacts import app as artifacts
from headrace_events import app as events
from headrace_identity import app as identity
from headrace_kit.bus.choose import open_bus
from headrace_kit.testing.backends.processes import free_port
from headrace_kit.topics import partition_counts
from headrace_registry import app as registry
from headrace_tracking import app as tracking

R = TypeVar("R")


@asynccontextmanager
async def all_services(database: str, folder: Path, **settings: object) -> AsyncIterator[Running]:
    """Identity, tracking, artifacts, registry and events at one address."""
    bus = open_bus(tracking.Config(database=database, service_secret="x"))
    await asyncio.to_thread(bus.ensure_topics, partition_counts())
    await asyncio.to_thread(bus.close)
    apps = (identity, tracking, artifacts, registry, events)
    here = f"127.0.0.1:{free_port()}"
    # They ask one another: each must know the port before it is open.
    known = {"listen": here, "tracking": here, "artifacts": here, "registry": here, "identity": here}
    async with running(database, *apps, blobs_dir=folder / "blobs", **known, **settings) as made:
        yield made


@pytest.fixture
async def services(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with all_services(database, tmp_path) as made:
        yield made


async def with_client(services: Running, work: Callable[[hr.Client], R]) -> R:
    """Does some work with a client in a thread, as the services run in this one."""

    def do() -> R:
        with hr.Client(f"grpc://{services.address}", ingest=hr.IngestSettings(age_s=0.02)) as client:
            return work(client)

    return await asyncio.to_thread(do)
