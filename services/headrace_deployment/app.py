"""Wiring of the deployment service."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.api.deployment.v1 import deployment_service_pb2, route_service_pb2
from headrace.api.deployment.v1.deployment_service_pb2_grpc import add_DeploymentServiceServicer_to_server
from headrace.api.deployment.v1.route_service_pb2_grpc import add_RouteServiceServicer_to_server
from headrace_deployment import events
from headrace_deployment.board import RouteBoard
from headrace_deployment.cache import ModelCache
from headrace_deployment.reconciler import Reconciler
from headrace_deployment.service import DeploymentService, RouteService
from headrace_deployment.store import reads
from headrace_deployment.targets.local import LocalTarget
from headrace_deployment.tasks import Limits
from headrace_kit import topics
from headrace_kit.bus.choose import open_bus
from headrace_kit.bus.handler import EventConsumer
from headrace_kit.config import ServiceConfig, setting
from headrace_kit.db import Database, as_role, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.outbox import OutboxRelay
from headrace_kit.rpc import Servicer

SCHEMA: Final = Schema("deployment", "headrace_deployment")


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the deployment service."""

    work_dir: Path = setting(Path("headrace-deployments"), "Folder for the files and the output of models that run.")
    deploy_aliases: tuple[str, ...] = setting(
        ("production", "champion"), "Aliases that are kept answering requests, with commas between."
    )
    start_seconds: float = setting(60.0, "How long a model may take from its process's start to its first answer.")
    fetch_seconds: float = setting(300.0, "How long fetching a model's files may take.")
    instance_drain_seconds: int = setting(30, "How long requests may take to end when a version is replaced.")
    keep_instances_on_stop: bool = setting(False, "Whether models go on answering while this service is stopped.")
    standby_instance: bool = setting(
        True, "Whether a process waits for the next model: it starts in 0.1 s, not 2 s, for 180 MB of memory."
    )
    allow_model_code: bool = setting(
        False, "Whether models may run code when they are loaded (Python callables, pickles)."
    )
    trusted_model_types: tuple[str, ...] = setting(
        (), "Types that models may contain beside those skops trusts, module.Class, with commas between."
    )
    model_threads: int = setting(4, "Predictions that one instance makes at a time.")
    model_memory_mb: int = setting(4096, "Most memory of one instance, in MiB; 0 is no limit.")
    model_file_mb: int = setting(1024, "Largest file an instance may write, its log included, in MiB; 0 is no limit.")
    model_cache_mb: int = setting(20480, "Room for the files of models in work_dir, in MiB.")

    def problems(self) -> list[str]:
        """As in ServiceConfig."""
        found = super().problems()
        least = {"start_seconds": 1, "fetch_seconds": 1, "instance_drain_seconds": 1, "model_threads": 1}
        least |= {"model_memory_mb": 0, "model_file_mb": 0, "model_cache_mb": 1}
        return found + [
            f"{name}: must be at least {most}, got {getattr(self, name)}"
            for name, most in least.items()
            if getattr(self, name) < most
        ]


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    await require_current(config.database, SCHEMA)
    dsn = as_role(config.database, worker_role(SCHEMA.name))
    db = await runner.resource(
        Database(config.database, SCHEMA.name, connections=config.database_connections, constraints=reads.CONSTRAINTS)
    )
    everyone = await runner.resource(
        Database(
            config.database, SCHEMA.name, connections=2, constraints=reads.CONSTRAINTS, role=worker_role(SCHEMA.name)
        )
    )
    board = await runner.resource(RouteBoard(everyone))
    target = _target(config)
    cache = ModelCache(
        config.work_dir,
        config.artifacts,
        config.service_secret,
        runner.telemetry,
        limit_s=config.fetch_seconds,
        most_bytes=config.model_cache_mb << 20,
    )
    bus = runner.bus(open_bus(config))
    runner.relay(OutboxRelay(dsn, SCHEMA.name, runner.producer(bus.producer()), runner.fail))
    runner.worker(
        EventConsumer(
            bus,
            "deployment",
            [topics.MODEL_VERSIONS.name],
            events.CONSUMED,
            events.Promotions(config.deploy_aliases, target.prepare),
            dsn=dsn,
            schema=SCHEMA.name,
            on_death=runner.fail,
            telemetry=runner.telemetry,
        )
    )
    runner.worker(
        Reconciler(
            dsn,
            target,
            cache,
            Limits(start=config.start_seconds, drain=config.instance_drain_seconds),
            runner.telemetry,
            keep_instances=config.keep_instances_on_stop,
            routes_changed=board.poke,
            on_death=runner.fail,
        )
    )
    runner.on_drain(board.end)
    runner.check(db.check)
    deployments = deployment_service_pb2.DESCRIPTOR.services_by_name["DeploymentService"]
    runner.serve(Servicer(deployments, add_DeploymentServiceServicer_to_server, DeploymentService(db)))
    routes = route_service_pb2.DESCRIPTOR.services_by_name["RouteService"]
    runner.serve(Servicer(routes, add_RouteServiceServicer_to_server, RouteService(board)))


def _target(config: Config) -> LocalTarget:
    """Processes of this machine, with what all of them are told."""
    options = {
        "--threads": config.model_threads,
        "--memory-bytes": config.model_memory_mb << 20,
        "--file-bytes": config.model_file_mb << 20,
        "--open-files": 4096,
        "--drain-seconds": config.instance_drain_seconds,
        "--trusted-types": ",".join(config.trusted_model_types),
    }
    arguments = [str(part) for option in options.items() for part in option]
    if config.allow_model_code:
        arguments.append("--allow-code")
    return LocalTarget(config.work_dir / "instances", arguments, environ=os.environ, standby=config.standby_instance)
