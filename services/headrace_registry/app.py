"""Wiring of the registry service."""

import asyncio
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from headrace.api.registry.v1 import registry_service_pb2, webhook_service_pb2
from headrace.api.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from headrace.api.registry.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
from headrace_kit import topics
from headrace_kit.bus import Bus
from headrace_kit.bus.choose import open_bus
from headrace_kit.bus.handler import EventConsumer
from headrace_kit.config import ServiceConfig, setting
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.outbox import OutboxRelay
from headrace_kit.rpc import Servicer
from headrace_kit.threads import Threads
from headrace_registry import store
from headrace_registry.logged_models import LoggedModels
from headrace_registry.service import RegistryService
from headrace_registry.webhooks import addresses, payloads, recorder
from headrace_registry.webhooks.courier import Courier
from headrace_registry.webhooks.post import Poster
from headrace_registry.webhooks.rules import Reach
from headrace_registry.webhooks.seal import Seal
from headrace_registry.webhooks.sender import Plan, Sender
from headrace_registry.webhooks.service import TESTS, WebhookService

SCHEMA: Final = Schema("registry", "headrace_registry")
_LEASE_S: Final = 30.0  # beyond the longest attempt: for the look-up of the name, and a thread that waits for its turn


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the registry service."""

    webhook_http: bool = setting(False, "Whether webhooks may have http addresses; else https alone.")
    webhook_networks: tuple[str, ...] = setting(
        (), "Networks that webhooks may reach beside the public internet, such as 10.1.0.0/16, with commas between."
    )
    webhook_key: str = setting(
        "", "Encrypts the secrets of webhooks; empty means a key made of service_secret.", secret=True
    )
    webhook_threads: int = setting(16, "Deliveries of webhooks at the same time; a tenant gets half of them.")
    webhook_timeout_seconds: float = setting(30.0, "How long a receiver may take to answer.")
    webhook_retries: int = setting(3, "How often a delivery is tried again after 429, 5xx or no answer.")
    webhook_retry_seconds: float = setting(
        2.0, "How long before the first of these; each pause is eight times as long."
    )

    @override
    def problems(self) -> list[str]:
        found = super().problems()
        least = {
            "webhook_threads": 1,
            "webhook_timeout_seconds": 1,
            "webhook_retries": 0,
            "webhook_retry_seconds": 0.01,
        }
        for name, most in least.items():
            if getattr(self, name) < most:
                found.append(f"{name}: must be at least {most}, got {getattr(self, name)}")
        try:
            addresses.networks(self.webhook_networks)
        except ValueError as error:
            found.append(f"webhook_networks: {error}")
        return found


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
    await _tell_webhooks(config, runner, bus, db)


async def _tell_webhooks(config: Config, runner: Runner, bus: Bus, db: Database) -> None:
    """Its own events come back over the bus and become deliveries, which the sender posts."""
    everyone = as_role(config.database, worker_role(SCHEMA.name))
    reach = Reach(http=config.webhook_http, networks=addresses.networks(config.webhook_networks))
    seal = Seal(config.webhook_key or config.service_secret)
    poster = Poster(reach, timeout_s=config.webhook_timeout_seconds)
    courier = Courier(poster.post, seal)
    plan = Plan(
        threads=config.webhook_threads,
        lease_s=config.webhook_timeout_seconds + _LEASE_S,
        retries=config.webhook_retries,
        first_pause_s=config.webhook_retry_seconds,
    )
    runner.worker(Sender(everyone, courier, poster.abort, plan, runner.fail, runner.telemetry))
    heard = (topics.MODELS, topics.MODEL_VERSIONS)
    await asyncio.to_thread(bus.ensure_topics, topics.partition_counts(heard))
    runner.worker(
        EventConsumer(
            bus,
            recorder.GROUP,
            [topic.name for topic in heard],
            payloads.CONSUMED,
            recorder.record,
            dsn=everyone,
            schema=SCHEMA.name,
            on_death=runner.fail,
            telemetry=runner.telemetry,
        )
    )
    tests = await runner.resource(Threads(TESTS, "webhook test"))
    runner.serve(
        Servicer(
            webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
            add_WebhookServiceServicer_to_server,
            WebhookService(db, reach, seal, courier, tests.executor),
        )
    )
