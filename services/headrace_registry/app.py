"""Wiring of the registry service."""

from dataclasses import dataclass
from typing import Final

from headrace.api.registry.v1 import registry_service_pb2
from headrace.api.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from headrace_kit.bus.choose import open_bus
from headrace_kit.config import ServiceConfig
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.outbox import OutboxRelay
from headrace_kit.rpc import Servicer
from headrace_registry import store
from headrace_registry.logged_models import LoggedModels
from headrace_registry.service import RegistryService

SCHEMA: Final = Schema("registry", "headrace_registry")


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the registry service."""


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    await require_current(config.database, SCHEMA)
    db = await runner.resource(
        Database(config.database, SCHEMA.name, connections=config.database_connections, constraints=store.CONSTRAINTS)
    )
    logged_models = await runner.resource(LoggedModels(config.tracking, config.service_secret, runner.telemetry))
    bus = runner.bus(open_bus(config))
    everyone = as_role(config.database, worker_role(SCHEMA.name))
    runner.relay(OutboxRelay(everyone, SCHEMA.name, runner.producer(bus.producer()), runner.fail))
    runner.check(db.check)
    runner.serve(
        Servicer(
            registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"],
            add_RegistryServiceServicer_to_server,
            RegistryService(db, logged_models.get),
        )
    )
