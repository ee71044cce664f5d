"""The schemas of all services, in the order in which they are migrated."""

from typing import Final

from headrace_artifacts import app as artifacts
from headrace_deployment import app as deployment
from headrace_identity import app as identity
from headrace_kit.bus.postgres import SCHEMA as BUS
from headrace_kit.migrate import Schema
from headrace_registry import app as registry
from headrace_tracking import app as tracking

SCHEMAS: Final[tuple[Schema, ...]] = (
    BUS,
    identity.SCHEMA,
    tracking.SCHEMA,
    artifacts.SCHEMA,
    registry.SCHEMA,
    deployment.SCHEMA,
)
