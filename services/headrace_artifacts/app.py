"""Wiring of the artifacts service."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from headrace.api.artifacts.v1 import artifact_service_pb2
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import add_ArtifactServiceServicer_to_server
from headrace_artifacts import store
from headrace_artifacts.owners import Owners
from headrace_artifacts.service import ArtifactService, Uploads
from headrace_artifacts.sweeper import Sweeper
from headrace_artifacts.transfer import Limits
from headrace_kit.blobs import BlobError, Blobs
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs, S3Config
from headrace_kit.bus.choose import open_bus
from headrace_kit.config import ServiceConfig, setting
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.outbox import OutboxRelay
from headrace_kit.rpc import Servicer

SCHEMA: Final = Schema("artifacts", "headrace_artifacts")
_LEAST_PART_BYTES: Final = 5 << 20  # of every S3 store
_POSITIVE: Final = (
    "upload_slots",
    "upload_wait_seconds",
    "upload_idle_seconds",
    "upload_lease_seconds",
    "download_threads",
    "artifact_most_bytes",
)


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the artifacts service."""

    blobs_dir: Path = setting(Path("headrace-artifacts"), "Folder that keeps the files; not used with an S3 store.")
    s3_endpoint: str = setting("", "S3 store that keeps the files, host:port; empty keeps them in blobs_dir.")
    s3_access_key: str = setting("", "Access key of the S3 store.")
    s3_secret_key: str = setting("", "Secret key of the S3 store.", secret=True)
    s3_bucket: str = setting("headrace", "Bucket of the S3 store; made where it is missing.")
    s3_prefix: str = setting("", 'Put before every key in the bucket, such as "headrace/".')
    s3_region: str = setting("us-east-1", "Region of the S3 store.")
    s3_secure: bool = setting(True, "Whether the S3 store is reached over TLS.")
    s3_part_bytes: int = setting(
        8 << 20, "Parts in which files go up; each upload holds three, a file may have 10,000."
    )
    upload_slots: int = setting(16, "Uploads at the same time.")
    upload_wait_seconds: float = setting(20.0, "How long an upload waits for its turn before it is told to come back.")
    upload_idle_seconds: float = setting(60.0, "How long the next part of an upload may take to come.")
    upload_lease_seconds: float = setting(900.0, "How long after a crash half-done uploads are deleted.")
    download_threads: int = setting(16, "Threads that read from the store; downloads share them, part by part.")
    artifact_most_bytes: int = setting(75 << 30, "The largest artifact; at most 10,000 times s3_part_bytes.")

    @override
    def problems(self) -> list[str]:
        found = super().problems()
        if self.s3_endpoint and not (self.s3_access_key and self.s3_secret_key):
            found.append("s3_endpoint: needs s3_access_key and s3_secret_key")
        if "://" in self.s3_endpoint:
            found.append(f"s3_endpoint: must be host:port without a scheme, got {self.s3_endpoint!r}")
        if self.s3_part_bytes < _LEAST_PART_BYTES:
            found.append(f"s3_part_bytes: must be at least {_LEAST_PART_BYTES}, got {self.s3_part_bytes}")
        elif self.s3_endpoint and self.artifact_most_bytes > _s3(self).most_bytes:
            found.append(f"artifact_most_bytes: must be at most {_s3(self).most_bytes} with this s3_part_bytes")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                found.append(f"{name}: must be more than 0, got {getattr(self, name)}")
        return found


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    await require_current(config.database, SCHEMA)
    blobs: Blobs = S3Blobs(_s3(config)) if config.s3_endpoint else FileBlobs(config.blobs_dir)
    try:
        await asyncio.to_thread(blobs.check)
    except BlobError as error:
        raise RuntimeError(f"the artifact store cannot be used: {error}") from error
    db = await runner.resource(
        Database(config.database, SCHEMA.name, connections=config.database_connections, constraints=store.CONSTRAINTS)
    )
    owners = await runner.resource(Owners(config.tracking, config.service_secret, runner.telemetry))
    writing = await runner.resource(_Threads(config.upload_slots, "upload"))
    reading = await runner.resource(_Threads(config.download_threads, "download"))
    everyone = as_role(config.database, worker_role(SCHEMA.name))
    sweeper = runner.worker(Sweeper(everyone, blobs, runner.fail))
    producer = runner.producer(runner.bus(open_bus(config)).producer())
    runner.relay(OutboxRelay(everyone, SCHEMA.name, producer, runner.fail))
    service = ArtifactService(
        db,
        blobs,
        owners,
        Uploads(
            slots=config.upload_slots,
            slot_wait_s=config.upload_wait_seconds,
            lease_s=config.upload_lease_seconds,
            limits=Limits(config.artifact_most_bytes, config.upload_idle_seconds),
        ),
        writing=writing.executor,
        reading=reading.executor,
        sweep=sweeper.wake,
    )
    runner.check(db.check)
    runner.serve(
        Servicer(
            artifact_service_pb2.DESCRIPTOR.services_by_name["ArtifactService"],
            add_ArtifactServiceServicer_to_server,
            service,
        )
    )


def _s3(config: Config) -> S3Config:
    return S3Config(
        endpoint=config.s3_endpoint,
        access_key=config.s3_access_key,
        secret_key=config.s3_secret_key,
        bucket=config.s3_bucket,
        prefix=config.s3_prefix,
        region=config.s3_region,
        secure=config.s3_secure,
        upload_part_bytes=config.s3_part_bytes,
    )


class _Threads:
    """Threads that end with the process's resources."""

    def __init__(self, most: int, name: str) -> None:
        self.executor = ThreadPoolExecutor(most, thread_name_prefix=name)

    async def open(self) -> None:
        """They start when there is something to do."""

    async def close(self) -> None:
        """The calls have ended; what hangs in the store is left behind."""
        self.executor.shutdown(wait=False, cancel_futures=True)
