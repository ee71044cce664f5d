"""Wiring of the artifacts service."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from headrace.api.artifacts.v1 import artifact_service_pb2
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import add_ArtifactServiceServicer_to_server
from headrace_artifacts import collector, store
from headrace_artifacts.collector import Collector, Purges, Times
from headrace_artifacts.multipart import InParts, Multipart
from headrace_artifacts.owners import Owners
from headrace_artifacts.placing import Placing
from headrace_artifacts.service import ArtifactService
from headrace_artifacts.sweeper import Sweeper
from headrace_artifacts.transfer import Limits
from headrace_artifacts.versions import Versions
from headrace_kit import topics
from headrace_kit.blobs import BlobError
from headrace_kit.blobs.config import StoreConfig, open_blobs
from headrace_kit.bus import Bus
from headrace_kit.bus.choose import open_bus
from headrace_kit.bus.handler import EventConsumer
from headrace_kit.config import setting
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.outbox import MANY_S, OutboxRelay
from headrace_kit.rpc import Servicer
from headrace_kit.threads import Threads

SCHEMA: Final = Schema("artifacts", "headrace_artifacts")
_POSITIVE: Final = (
    "upload_slots",
    "upload_wait_seconds",
    "upload_idle_seconds",
    "upload_lease_seconds",
    "download_threads",
    "artifact_most_bytes",
    "multipart_upload_seconds",
    "multipart_wait_seconds",
)


@dataclass(frozen=True, kw_only=True)
class Config(StoreConfig):
    """Settings of the artifacts service."""

    blobs_dir: Path = setting(Path("headrace-artifacts"), "Folder that keeps the files; not used with an S3 store.")
    upload_slots: int = setting(16, "Uploads at the same time.")
    upload_wait_seconds: float = setting(20.0, "How long an upload waits for its turn before it is told to come back.")
    upload_idle_seconds: float = setting(60.0, "How long the next part of an upload may take to come.")
    upload_lease_seconds: float = setting(900.0, "How long after a crash half-done uploads are deleted.")
    download_threads: int = setting(16, "Threads that read from the store; downloads share them, part by part.")
    artifact_most_bytes: int = setting(75 << 30, "The largest artifact; at most 10,000 times s3_part_bytes.")
    multipart_upload_seconds: float = setting(
        86_400.0, "How long an upload in parts may take, from its start; then its parts are deleted."
    )
    multipart_wait_seconds: float = setting(
        300.0, "How long a part waits for its turn: MLflow's client does not come back with one."
    )
    purged_model_grace_seconds: float = setting(
        300.0, "How long after a model was purged its files are deleted, unless a version is made of it meanwhile."
    )

    @override
    def problems(self) -> list[str]:
        found = super().problems()
        if self.s3_endpoint and self.artifact_most_bytes > self.s3().most_bytes:
            found.append(f"artifact_most_bytes: must be at most {self.s3().most_bytes} with this s3_part_bytes")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                found.append(f"{name}: must be more than 0, got {getattr(self, name)}")
        if self.purged_model_grace_seconds < 0:
            found.append(f"purged_model_grace_seconds: must be 0 or more, got {self.purged_model_grace_seconds}")
        return found


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    await require_current(config.database, SCHEMA)
    blobs = open_blobs(config, config.blobs_dir)
    try:
        await asyncio.to_thread(blobs.check)
    except BlobError as error:
        raise RuntimeError(f"the artifact store cannot be used: {error}") from error
    db = await runner.resource(
        Database(config.database, SCHEMA.name, connections=config.database_connections, constraints=store.CONSTRAINTS)
    )
    owners = await runner.resource(Owners(config.tracking, config.service_secret, runner.telemetry))
    writing = await runner.resource(Threads(config.upload_slots, "upload"))
    reading = await runner.resource(Threads(config.download_threads, "download"))
    everyone = as_role(config.database, worker_role(SCHEMA.name))
    sweeper = runner.worker(Sweeper(everyone, blobs, runner.fail))
    bus = runner.bus(open_bus(config))
    relay = OutboxRelay(everyone, SCHEMA.name, runner.producer(bus.producer()), runner.fail, round_s=MANY_S)
    runner.relay(relay)
    await _collect(config, runner, bus, sweeper)
    placing = Placing(db, config.upload_slots, config.upload_lease_seconds, sweeper.wake)
    limits = Limits(config.artifact_most_bytes, config.upload_idle_seconds)
    multipart = Multipart(
        db,
        blobs,
        owners,
        placing,
        InParts(config.multipart_upload_seconds, config.multipart_wait_seconds, limits),
        writing=writing.executor,
        secret=config.service_secret,
    )
    service = ArtifactService(
        db,
        blobs,
        owners,
        placing,
        await runner.resource(multipart),
        slot_wait_s=config.upload_wait_seconds,
        limits=limits,
        writing=writing.executor,
        reading=reading.executor,
        secret=config.service_secret,
    )
    runner.check(db.check)
    runner.serve(
        Servicer(
            artifact_service_pb2.DESCRIPTOR.services_by_name["ArtifactService"],
            add_ArtifactServiceServicer_to_server,
            service,
        )
    )


async def _collect(config: Config, runner: Runner, bus: Bus, sweeper: Sweeper) -> None:
    """What tracking purges goes here too."""
    everyone = as_role(config.database, worker_role(SCHEMA.name))
    times = Times(grace=config.purged_model_grace_seconds)
    versions = Versions(config.registry, config.service_secret)
    worker = runner.worker(Collector(everyone, versions, sweeper.wake, times, runner.fail))
    runs = topics.RUNS
    await asyncio.to_thread(bus.ensure_topics, topics.partition_counts([runs]))
    runner.worker(
        EventConsumer(
            bus,
            collector.GROUP,
            [runs.name],
            collector.CONSUMED,
            Purges(times, worker.wake),
            dsn=everyone,
            schema=SCHEMA.name,
            on_death=runner.fail,
            telemetry=runner.telemetry,
        )
    )
