"""Wiring of the tracking service."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from typing_extensions import override

from headrace.api.tracking.v1 import tracking_service_pb2
from headrace.api.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from headrace_kit.blobs.config import StoreConfig, open_blobs
from headrace_kit.bus import Bus
from headrace_kit.bus.choose import open_bus
from headrace_kit.config import setting
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.outbox import MANY_S, OutboxRelay
from headrace_kit.rpc import Servicer
from headrace_tracking import store
from headrace_tracking.archiver.step import When
from headrace_tracking.archives import Archives
from headrace_tracking.metric_path import Storage, start_edge, start_workers
from headrace_tracking.purger.emptying import Emptying
from headrace_tracking.purger.loop import RunPurger
from headrace_tracking.search import plans
from headrace_tracking.service import TrackingService

SCHEMA: Final = Schema("tracking", "headrace_tracking")
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Config(StoreConfig):
    """Settings of the tracking service."""

    serve_tracking: bool = setting(
        True, "Whether this process answers calls and takes metrics in; without, it works on stored metrics only."
    )
    write_metrics: bool = setting(
        True, "Whether this process brings metrics from the bus into PostgreSQL; one must, several share the work."
    )
    merge_metrics: bool = setting(
        True, "Whether this process makes full chunks of small ones beside its other work; one process must."
    )
    archive_dir: Path | None = setting(
        None,
        "Folder that keeps the points of finished runs in Parquet files; not used with an S3 store. With neither, they"
        " stay in PostgreSQL. All tracking processes need the same one.",
    )
    archive_metrics: bool = setting(
        True, "Whether this process moves finished runs into Parquet files, where there is a place for them."
    )
    archive_after_seconds: float = setting(3600.0, "How long after its end a run is moved.")
    archive_least_points: int = setting(1000, "Runs of fewer points stay in PostgreSQL: a file would be larger.")
    purge_runs: bool = setting(
        True, "Whether this process frees what purged runs held, and purges what is old enough; one process must."
    )
    purge_after_days: float = setting(
        0.0,
        "How long deleted runs and experiments lie in the bin before they are purged; 0 keeps them until asked for.",
    )

    @override
    def problems(self) -> list[str]:
        found = super().problems()
        archives = self.archive_metrics and (self.s3_endpoint or self.archive_dir)
        if not (self.serve_tracking or self.write_metrics or self.merge_metrics or archives or self.purge_runs):
            found.append("serve_tracking: is false, as write_metrics and all other work is: nothing is left to do")
        if self.archive_after_seconds < 0:
            found.append(f"archive_after_seconds: must be 0 or more, got {self.archive_after_seconds}")
        if self.purge_after_days < 0:
            found.append(f"purge_after_days: must be 0 or more, got {self.purge_after_days}")
        if self.archive_least_points < 1:
            found.append(f"archive_least_points: must be 1 or more, got {self.archive_least_points}")
        return found

    def storage(self) -> Storage:
        """Where metrics are kept, and what is done to them there."""
        blobs = open_blobs(self, self.archive_dir or Path()) if self.s3_endpoint or self.archive_dir else None
        when = When(round(self.archive_after_seconds * 1000), self.archive_least_points)
        return Storage(
            blobs,
            write=self.write_metrics,
            merge=self.merge_metrics,
            archive=when if self.archive_metrics else None,
        )


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    await require_current(config.database, SCHEMA)
    bus = runner.bus(open_bus(config))
    storage = config.storage()
    archives = Archives(storage.blobs)
    if config.serve_tracking:
        await _serve(config, runner, bus, archives)
    await start_workers(config, runner, bus, storage, archives)
    if config.purge_runs:
        after_ms = round(config.purge_after_days * _DAY_MS) if config.purge_after_days else None
        runner.worker(RunPurger(config.database, after_ms, runner.fail))


async def _serve(config: Config, runner: Runner, bus: Bus, archives: Archives) -> None:
    db = await runner.resource(_database(config, None))
    finder = await runner.resource(_database(config, worker_role(SCHEMA.name), plans.SETTINGS))
    everyone = as_role(config.database, worker_role(SCHEMA.name))
    relay = OutboxRelay(everyone, SCHEMA.name, runner.producer(bus.producer()), runner.fail, round_s=MANY_S)
    runner.relay(relay)
    metrics = await start_edge(config, runner, db, bus, archives)
    runner.check(db.check)
    runner.serve(
        Servicer(
            tracking_service_pb2.DESCRIPTOR.services_by_name["TrackingService"],
            add_TrackingServiceServicer_to_server,
            TrackingService(db, finder, metrics, Emptying(config.database)),
        )
    )


def _database(config: Config, role: str | None, settings: Mapping[str, str] = MappingProxyType({})) -> Database:
    return Database(
        config.database,
        SCHEMA.name,
        connections=config.database_connections,
        constraints=store.CONSTRAINTS,
        role=role,
        settings=settings,
    )
