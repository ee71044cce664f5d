"""What `headrace up`, `serve`, `migrate` and `topics` do; called by the CLI with its parsed arguments."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import grpc
import psycopg

from headrace.api.common.v1 import access_pb2
from headrace.api.identity.v1 import identity_service_pb2
from headrace.api.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from headrace_kit import config, lifecycle, migrate
from headrace_kit.auth import service_metadata
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.lifecycle import Runner
from headrace_kit.topics import TOPICS
from headrace_server import embedded, services
from headrace_server.dead_letters import list_dead_letters, replay_dead_letters
from headrace_server.schemas import SCHEMAS

__all__ = [
    "create_tenant",
    "list_dead_letters",
    "migrate_database",
    "replay_dead_letters",
    "serve",
    "topics",
    "up",
]


def up(args: argparse.Namespace) -> int:
    """All services in one process, embedded."""
    options = embedded.Options(
        data_dir=Path(args.data_dir).expanduser().absolute(),
        host=args.host,
        http_port=args.http_port,
        grpc_port=args.grpc_port,
    )
    lifecycle.logging_to_stderr({"HEADRACE_LOG_LEVEL": "WARNING", **os.environ})
    try:
        embedded.up(options, _say)
    except (embedded.CannotStart, config.ConfigError, migrate.MigrationError) as error:
        return _fail(f"headrace up: {error}")
    return 0


def serve(args: argparse.Namespace) -> int:
    """Some services in one process, with settings from the environment."""
    if len(args.services) == 1:
        (name,) = args.services
        app = services.app(name)
        lifecycle.main(name, app.Config, app.start)
        return 0
    names = [name for name in services.NAMES if name in args.services]
    lifecycle.main("+".join(names), config.ServiceConfig, _start_all(names))
    return 0


def migrate_database(args: argparse.Namespace) -> int:
    """Brings the schemas of all services up to date; with --check only tells what is missing, exit code 1 then."""
    dsn = os.environ.get("HEADRACE_DATABASE", config.ServiceConfig.database)
    try:
        if args.check:
            missing = migrate.pending(dsn, SCHEMAS)
            _say("\n".join(missing) if missing else "nothing to apply")
            return 1 if missing else 0
        applied = migrate.migrate(dsn, SCHEMAS)
    except (migrate.MigrationError, psycopg.Error) as error:
        return _fail(f"headrace migrate: {error}")
    for name in applied:
        _say(f"applied {name}")
    _say(f"{len(applied)} applied, the database is up to date")
    return 0


def topics(args: argparse.Namespace) -> int:
    """Makes the topics that are missing, and lists all."""
    del args
    environ = {"HEADRACE_SERVICE_SECRET": "-", **os.environ}
    ensure_all_topics(config.load(config.ServiceConfig, environ))
    for topic in TOPICS:
        _say(
            f"{topic.name}  {topic.partitions} partitions, kept {topic.retention_s // 86_400} days, by {topic.producer}"
        )
    return 0


def create_tenant(args: argparse.Namespace) -> int:
    """Makes a tenant, where it is missing, and prints a token of an admin: the way in for the first one.

    Proves itself by HEADRACE_SERVICE_SECRET to the identity service at HEADRACE_IDENTITY.
    """
    try:
        settings = config.load(config.ServiceConfig, {"HEADRACE_LISTEN": "127.0.0.1:0", **os.environ})
    except config.ConfigError as error:
        return _fail(f"headrace tenants create: {error}")
    metadata = service_metadata(settings.service_secret, args.tenant)
    with grpc.insecure_channel(settings.identity) as channel:
        stub = IdentityServiceStub(channel)
        try:
            stub.CreateTenant(
                identity_service_pb2.CreateTenantRequest(tenant_id=args.tenant), metadata=metadata, timeout=10
            )
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                return _fail(f"headrace tenants create: {settings.identity} says: {error.details()}")
        request = identity_service_pb2.CreateTokenRequest(name=args.token_name, role=access_pb2.ROLE_ADMIN)
        _say(stub.CreateToken(request, metadata=metadata, timeout=10).secret)
    return 0


def _start_all(names: list[str]) -> Any:
    async def start(_settings: config.ServiceConfig, runner: Runner) -> None:
        for name in names:
            app = services.app(name)
            await app.start(config.load(app.Config, os.environ), runner)

    return start


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the words of a command


def _fail(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201 - the words of a command
    return 1
