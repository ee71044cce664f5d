"""Wiring of the identity service."""

from dataclasses import dataclass
from typing import Final

from headrace.api.identity.v1 import identity_service_pb2
from headrace.api.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from headrace_identity import store
from headrace_identity.contents import Contents
from headrace_identity.service import IdentityService
from headrace_kit.config import ServiceConfig, setting
from headrace_kit.db import Database, worker_role
from headrace_kit.lifecycle import Runner
from headrace_kit.migrate import Schema, require_current
from headrace_kit.rpc import Servicer

SCHEMA: Final = Schema("identity", "headrace_identity")


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the identity service."""

    token_key: str = setting(
        "", "Key of the tokens' HMAC; changing it ends all tokens. Empty: service_secret.", secret=True
    )


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    await require_current(config.database, SCHEMA)
    db = await runner.resource(
        Database(config.database, SCHEMA.name, connections=config.database_connections, constraints=store.CONSTRAINTS)
    )
    everyone = await runner.resource(
        Database(
            config.database,
            SCHEMA.name,
            connections=config.database_connections,
            constraints=store.CONSTRAINTS,
            role=worker_role(SCHEMA.name),
        )
    )
    contents = await runner.resource(Contents(config.tracking, config.registry, config.service_secret))
    service = IdentityService(db, everyone, config.token_key or config.service_secret, contents.of)
    runner.identify_by(service)
    runner.check(db.check)
    runner.serve(
        Servicer(
            identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"],
            add_IdentityServiceServicer_to_server,
            service,
        )
    )
