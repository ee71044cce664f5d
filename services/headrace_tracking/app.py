"""Wiring of the tracking service."""

from dataclasses import dataclass
from typing import Final

from headrace.api.tracking.v1 import tracking_service_pb2
from headrace.api.tracking.v1.tracking_service_pb2_grpc import add_TrackingServiceServicer_to_server
from headrace_kit.bus.choose import open_bus
from headrace_kit.config import ServiceConfig, setting
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.outbox import OutboxRelay
from headrace_kit.rpc import Servicer
from headrace_tracking import store
from headrace_tracking.metric_path import start_metric_path
from headrace_tracking.service import TrackingService

SCHEMA: Final = Schema("tracking", "headrace_tracking")


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the tracking service."""

    merge_metrics: bool = setting(
        True, "Whether this process makes full chunks of small ones beside its other work; one process must."
    )


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    await require_current(config.database, SCHEMA)
    db = await runner.resource(_database(config, None))
    finder = await runner.resource(_database(config, worker_role(SCHEMA.name)))
    bus = runner.bus(open_bus(config))
    everyone = as_role(config.database, worker_role(SCHEMA.name))
    runner.relay(OutboxRelay(everyone, SCHEMA.name, runner.producer(bus.producer()), runner.fail))
    metrics = await start_metric_path(config, runner, db, bus, merge=config.merge_metrics)
    runner.check(db.check)
    runner.serve(
        Servicer(
            tracking_service_pb2.DESCRIPTOR.services_by_name["TrackingService"],
            add_TrackingServiceServicer_to_server,
            TrackingService(db, finder, metrics),
        )
    )


def _database(config: Config, role: str | None) -> Database:
    return Database(
        config.database,
        SCHEMA.name,
        connections=config.database_connections,
        constraints=store.CONSTRAINTS,
        role=role,
    )
